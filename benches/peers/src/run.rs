//! All cells: each in fresh processes, one after the other, in rounds.
//!
//! In rounds, and not one cell after another, so that whatever disturbs the machine for a while
//! hits one process of each cell and not all processes of one.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cell::{PEERS, WORKLOADS};

/// A process that takes longer is ended: the crate does not get through the workload.
const PATIENCE: Duration = Duration::from_secs(120);

struct Options<'a> {
    out: &'a str,
    quick: bool,
    best: usize,
    peers: Vec<&'a str>,
    workloads: Vec<&'a str>,
    hosts: Vec<&'a str>,
}

fn options<'a>(words: &[&'a str]) -> Option<Options<'a>> {
    let (out, mut rest) = words.split_first()?;
    let mut options =
        Options { out, quick: false, best: 3, peers: vec![], workloads: vec![], hosts: vec![] };
    while let [word, more @ ..] = rest {
        rest = more;
        let mut value = || -> Option<&'a str> {
            let (value, more) = rest.split_first()?;
            rest = more;
            Some(value)
        };
        match *word {
            "--quick" => (options.quick, options.best) = (true, 1),
            "--best" => options.best = value()?.parse().ok()?,
            "--peer" => options.peers.push(value()?),
            "--workload" => options.workloads.push(value()?),
            "--host" => options.hosts.push(value()?),
            _ => return None,
        }
    }
    Some(options)
}

pub fn all(words: &[&str]) -> Result<(), String> {
    let options = options(words).ok_or_else(|| crate::USAGE.to_owned())?;
    let mut out = std::fs::File::create(options.out).map_err(|error| error.to_string())?;
    let wanted = |list: &[&str], name: &str| list.is_empty() || list.contains(&name);
    for round in 0..options.best {
        for (workload, full, quick) in WORKLOADS {
            for host in ["ct", "mt"] {
                if !wanted(&options.workloads, workload) || !wanted(&options.hosts, host) {
                    continue;
                }
                for peer in PEERS.into_iter().filter(|peer| wanted(&options.peers, peer)) {
                    let count = if options.quick { quick } else { full };
                    let row = cell(peer, workload, host, count)?;
                    out.write_all(row.as_bytes()).map_err(|error| error.to_string())?;
                }
            }
            eprintln!("round {}: {workload}", round + 1);
        }
    }
    Ok(())
}

/// What a fresh process has printed: a row, or nothing.
fn cell(peer: &str, workload: &str, host: &str, count: usize) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.args(["cell", peer, workload, host, &count.to_string()]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let begin = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            eprintln!("{peer} {workload} {host}: not done within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        eprintln!("{peer} {workload} {host}: failed");
        return Ok(String::new());
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

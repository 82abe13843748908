//! Makes the corpora of the fuzz targets: `cargo run -p lictor-sim --example corpus -- fuzz/corpus`.
//!
//! Seeded inputs are tried in order, and one is kept if something happens in it that happened in
//! none before: a call of some kind that leads to actions of some kinds, or a fault of some code in
//! a text. The same inputs come out on every machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lictor_kernel::tree::{Action, Stage};
use lictor_sim::fuzz;
use lictor_sim::operation::{
    Bytes, Call, Dynamic, Operation, Seen, Session, Static, Subject, dynamic_setup, operation,
    supervisor_setup,
};
use lictor_sim::plan::{Plan, Profile, Reading};
use lictor_sim::scenario::Scenario;
use lictor_sim::stream::{Purpose, Streams};
use lictor_topology::{NoEnvironment, Options, Topology};

/// Files of one target.
const FILES_MAX: usize = 200;

/// No file is longer: what is long is slow.
const BYTES_MAX: usize = 6_000;

/// Inputs that are tried for each.
const TRIED: u64 = 4_000;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".to_owned());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let texts = |folder: &str| texts(&root.join(folder));
    let mut topologies = texts("examples");
    topologies.extend(texts("examples/bad"));
    let mut plans = texts("examples/plans");
    plans.extend(generated(&topologies));
    let folder = Path::new(&folder);
    keep(folder, "supervisor", &bytes, &supervisor, fuzz::supervisor)?;
    keep(folder, "dynamic", &bytes, &dynamic, fuzz::dynamic)?;
    keep(folder, "registry_router", &bytes, &pairs, fuzz::registry_router)?;
    keep(folder, "topology", &|seed| mutated(&topologies, seed), &topology, fuzz::topology)?;
    keep(folder, "plan", &|seed| mutated(&plans, seed), &plan, fuzz::plan)
}

/// Tries inputs, keeps those that are worth it, and plays each as the fuzz target does.
fn keep(
    folder: &Path,
    target: &str,
    make: &dyn Fn(u64) -> Vec<u8>,
    features: &dyn Fn(&[u8]) -> BTreeSet<String>,
    play: fn(&[u8]),
) -> std::io::Result<()> {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder)?;
    let mut seen = BTreeSet::new();
    let mut kept = 0;
    for seed in 0..TRIED {
        let input = make(seed);
        if input.len() > BYTES_MAX {
            continue;
        }
        let before = seen.len();
        seen.extend(features(&input));
        if seen.len() > before && kept < FILES_MAX {
            play(&input);
            std::fs::write(folder.join(format!("{seed:04}")), &input)?;
            kept += 1;
        }
    }
    eprintln!("{target}: {kept} inputs, {} features", seen.len());
    Ok(())
}

fn bytes(seed: u64) -> Vec<u8> {
    let streams = Streams::new(seed);
    let len = 24 + streams.below(Purpose::User, 0, 0, 200);
    (1..=len).map(|n| streams.draw(Purpose::User, 0, n).to_le_bytes()[0]).collect()
}

fn supervisor(data: &[u8]) -> BTreeSet<String> {
    let mut bytes = Bytes::new(data);
    let (config, specs, begin) = supervisor_setup(&mut bytes);
    let subject = Static::new(&config, &specs);
    subject.map_or_else(|_| BTreeSet::new(), |subject| told(Session::new(subject, begin), bytes))
}

fn dynamic(data: &[u8]) -> BTreeSet<String> {
    let mut bytes = Bytes::new(data);
    let (config, begin) = dynamic_setup(&mut bytes);
    let subject = Dynamic::new(&config);
    subject.map_or_else(|_| BTreeSet::new(), |subject| told(Session::new(subject, begin), bytes))
}

fn told<S: Subject>(mut session: Session<S>, mut bytes: Bytes<'_>) -> BTreeSet<String> {
    let mut features = BTreeSet::new();
    let first = (bytes.byte() != 255).then_some(Operation::Begin);
    let rest = core::iter::from_fn(|| operation(&mut bytes));
    for operation in first.into_iter().chain(rest).take(120) {
        let mut tell = |_, call, seen: &Seen| {
            features.insert(feature(call, seen));
        };
        if session.play_told(operation, &mut tell).is_err() {
            break;
        }
    }
    features
}

/// What kind of call led to what kinds of actions.
fn feature(call: Call, seen: &Seen) -> String {
    let word = |text: String| text.split([' ', '(', '{']).next().unwrap_or("").to_owned();
    let call = match call {
        Call::Fact(_, event) => word(format!("{event:?}")),
        Call::Command(_, command) => word(format!("{command:?}")) + &seen.accepted.to_string(),
        Call::Start | Call::Timeout | Call::Shutdown(_) | Call::Kill => word(format!("{call:?}")),
    };
    let actions = seen.actions.iter().take(4).map(|action| match action {
        Action::Start { .. } => "start".to_owned(),
        Action::Signal { signal, .. } => format!("{signal:?}"),
        Action::Supervisor { stage: Stage::Exited(reason), .. } => format!("{reason:?}"),
        Action::Supervisor { stage, .. } => format!("{stage:?}"),
        Action::Removed { why, .. } => word(format!("{why:?}")),
        Action::Report { report, .. } => word(format!("{report:?}")),
    });
    format!("{call}: {}", actions.collect::<Vec<_>>().join(" "))
}

/// Neighbours of bytes: registries have no calls to listen to.
fn pairs(data: &[u8]) -> BTreeSet<String> {
    let three = |w: &[u8]| format!("{} {} {}", w[0] % 12, w[3] % 12, w[6] % 12);
    data.windows(7).map(three).collect()
}

fn texts(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

fn read(text: &str) -> Option<Topology> {
    lictor_topology::check("t", text.as_bytes(), &Options::new(&NoEnvironment)).topology
}

/// Plans of the example topologies: they carry their topology in themselves.
fn generated(topologies: &[String]) -> Vec<String> {
    let mut plans = Vec::new();
    for topology in topologies.iter().filter_map(|text| read(text)) {
        let Ok(scenario) = Scenario::new(topology, 2) else { continue };
        let scenario = Arc::new(scenario);
        let profile = Profile { operations: 2..=5, faults: 1..=4, ..Profile::default() };
        plans.extend((0..20).map(|seed| Plan::generate(&scenario, seed, &profile).to_yaml()));
    }
    plans
}

/// A text with a few lines left out, repeated, swapped, or with one character changed.
fn mutated(texts: &[String], seed: u64) -> Vec<u8> {
    let streams = Streams::new(seed);
    let draw = |n, bound: usize| {
        usize::try_from(streams.below(Purpose::User, 1, n, bound as u64)).unwrap_or(0)
    };
    let Some(text) = texts.get(draw(0, texts.len())) else { return Vec::new() };
    let mut lines: Vec<&str> = text.lines().collect();
    lines.retain(|line| !line.trim_start().starts_with('#'));
    for n in 0..streams.below(Purpose::User, 2, 0, 5) {
        let (at, to) = (draw(10 + n, lines.len().max(1)), draw(20 + n, lines.len().max(1)));
        match draw(30 + n, 3) {
            _ if lines.is_empty() => {}
            0 => drop(lines.remove(at)),
            1 => lines.insert(to, lines[at]),
            _ => lines.swap(at, to),
        }
    }
    let mut bytes = lines.join("\n").into_bytes();
    bytes.push(b'\n');
    if seed % 3 == 2 {
        let at = draw(40, bytes.len());
        bytes[at] = b":-{}[],'\"0#&*!|>a \n"[draw(41, 19)];
    }
    bytes
}

fn topology(data: &[u8]) -> BTreeSet<String> {
    let checked = lictor_topology::check("t", data, &Options::new(&NoEnvironment));
    codes(checked.diagnostics.iter().map(|fault| (fault.code, fault.path.clone())))
}

fn plan(data: &[u8]) -> BTreeSet<String> {
    match Plan::read("p", data, &Reading::default()) {
        Ok(plan) => BTreeSet::from([format!("{:?}", plan.size())]),
        Err(faults) => codes(faults.iter().map(|fault| (fault.code, fault.path.clone()))),
    }
}

/// What kinds of faults at what kinds of places.
fn codes(faults: impl Iterator<Item = (&'static str, impl core::fmt::Debug)>) -> BTreeSet<String> {
    let kind = |(code, path): (&str, _)| {
        let path = format!("{path:?}").replace(|c: char| c.is_ascii_digit(), "");
        let place = path.rsplit('.').next().unwrap_or("");
        format!("{code} {place}")
    };
    faults.map(kind).chain([String::new()]).collect()
}

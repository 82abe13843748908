//! `lictor policy compare`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lictor::topology::{Diagnostics, ProcessEnvironment};
use lictor_sim::policy::{
    CrashFile, Policy, Settings, common_children, compare, read_crashes, read_policies,
};

use crate::Outcome;
use crate::args::{CompareArgs, PolicyArgs, PolicyCommand};
use crate::output::{complain, print, style};
use crate::progress::Meter;

/// No file that this command reads may be longer.
const LONGEST: u64 = 16 * 1024 * 1024;

pub(crate) fn policy(args: &PolicyArgs) -> Outcome {
    match &args.command {
        PolicyCommand::Compare(args) => run(args).unwrap_or_else(|outcome| outcome),
    }
}

fn run(args: &CompareArgs) -> Result<Outcome, Outcome> {
    let (policies, crashes) = read_files(args)?;
    let settings = Settings {
        seeds: args.seeds.unwrap_or(crashes.seeds),
        duration: args.time.unwrap_or(crashes.duration),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    if settings.duration.is_zero() {
        complain("error: a run must be longer than no time at all; give a longer --for\n");
        return Err(Outcome::BadInput);
    }
    if let Some(path) = &args.html {
        // Before the work, and without touching what is there.
        let writable = OpenOptions::new().create(true).append(true).open(path);
        writable.map_err(|error| cannot("write", path, &error))?;
    }
    let meter = Meter::new("runs");
    let tell = |progress: lictor_sim::policy::Progress| meter.tell(progress.done, progress.total);
    let compared = compare(&policies, &crashes.crashes, &settings, &tell);
    meter.finish();
    let comparison = compared.map_err(|error| {
        complain(&format!("error: {error}\n"));
        Outcome::BadInput
    })?;
    if let Some(path) = &args.html {
        let written = std::fs::write(path, comparison.to_html());
        written.map_err(|error| cannot("write", path, &error))?;
    }
    let text = if args.json {
        serde_json::to_string(&comparison).unwrap_or_default() + "\n"
    } else {
        comparison.to_table()
    };
    print(&text).map_err(|_| Outcome::Failed)?;
    Ok(Outcome::Clean)
}

/// Reads both files and says all that is wrong with them.
fn read_files(args: &CompareArgs) -> Result<(Vec<Policy>, CrashFile), Outcome> {
    let text = load(&args.policies).map_err(|error| cannot("read", &args.policies, &error))?;
    let name = args.policies.display().to_string();
    let policies = read_policies(&name, &text, &ProcessEnvironment);
    say(args, &policies.diagnostics);
    let text = load(&args.crashes).map_err(|error| cannot("read", &args.crashes, &error))?;
    let name = args.crashes.display().to_string();
    let folder = args.crashes.parent().map(Path::to_owned).unwrap_or_default();
    let known = policies.value.as_ref().map(|file| common_children(&file.policies));
    let mut open = |name: &str| load(&folder.join(name));
    let crashes = read_crashes(&name, &text, &ProcessEnvironment, known.as_deref(), &mut open);
    for diagnostics in &crashes.diagnostics {
        say(args, diagnostics);
    }
    match (policies.value, crashes.value) {
        (Some(policies), Some(crashes)) => Ok((policies.policies, crashes)),
        _ => Err(Outcome::BadInput),
    }
}

/// Faults and warnings: as text on standard error, or with `--json` as a line of it.
fn say(args: &CompareArgs, diagnostics: &Diagnostics) {
    if diagnostics.is_empty() {
        return;
    }
    if args.json {
        let line = serde_json::to_string(diagnostics).unwrap_or_default();
        // If the reader is gone, so is the need to say it.
        let _ = print(&(line + "\n"));
    } else {
        complain(&diagnostics.render(style(&io::stderr())));
    }
}

fn load(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // One more, so that what is too long is seen to be.
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Outcome {
    complain(&format!("error: cannot {what} {}: {error}\n", path.display()));
    Outcome::BadInput
}

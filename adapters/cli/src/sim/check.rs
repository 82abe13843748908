//! `lictor sim check`: everything that can happen to a tree, up to a depth.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lictor_sim::exhaustive::{self, CheckError, Counterexample, Limits, Progress};
use lictor_sim::operation::Fault;
use serde_json::{Value, json};

use crate::Outcome;
use crate::output;
use crate::source::Source;

/// Searches everything that can happen to a tree, up to a depth.
///
/// Every start comes up, fails or is ignored; every agent crashes, ends, stops in time or too late;
/// deadlines are met or missed; a shutdown comes: in every order, through the kernel that runs in
/// production. After each move the rules S1 to S9 are checked: one live incarnation of a child, no
/// restart beyond the budget, start and stop in order, and so on. Agents run no code of their own
/// here, so their types need not be known.
///
/// Exits with 1 if a rule is broken, and shows a shortest history to it.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The topology file.
    pub(crate) file: PathBuf,
    /// How many moves are made from the first start, and from where everyone is up.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) depth: u32,
    /// How many different states are visited at most. Each takes 40 bytes, and those of the present
    /// depth, up to 40000 of them, some kilobytes.
    #[arg(long, value_name = "M", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_states: u32,
    /// Writes the result as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) fn check(args: &CheckArgs) -> Outcome {
    let source = Source::read_tree(&args.file);
    let Some(topology) = &source.topology else {
        output::complain(&source.render(output::style(&std::io::stderr())));
        return Outcome::BadInput;
    };
    let states = usize::try_from(args.max_states).unwrap_or(usize::MAX);
    let limits = Limits { depth: args.depth, states, ..Limits::default() };
    let mut meter = Meter::new();
    let searched = exhaustive::check(topology, limits, &mut |progress| meter.show(progress));
    let seconds = meter.end();
    let (result, outcome) = match searched {
        Ok(found) => {
            let outcome = match found.counterexample {
                None => Outcome::Clean,
                Some(_) => Outcome::Failed,
            };
            (Result { file: &source.file, found, seconds }, outcome)
        }
        Err(CheckError::Start(fault)) => {
            let counterexample = Counterexample {
                from: "the first start".to_owned(),
                operations: Vec::new(),
                fault,
                lines: Vec::new(),
            };
            let found = exhaustive::Outcome {
                states: 0,
                transitions: 0,
                depth: 0,
                complete: false,
                cut: false,
                counterexample: Some(counterexample),
            };
            (Result { file: &source.file, found, seconds }, Outcome::Failed)
        }
        Err(error) => {
            output::complain(&format!("{}: {error}\n", source.file));
            return Outcome::BadInput;
        }
    };
    let text = if args.json { result.json().to_string() + "\n" } else { result.text() };
    if output::print(&text).is_err() { Outcome::Failed } else { outcome }
}

/// What was found, and how long that took.
struct Result<'a> {
    file: &'a str,
    found: exhaustive::Outcome,
    seconds: f64,
}

impl Result<'_> {
    fn rates(&self) -> (u64, u64) {
        let states = u64::try_from(self.found.states).unwrap_or(u64::MAX);
        (rate(states, self.seconds), rate(self.found.transitions, self.seconds))
    }

    fn text(&self) -> String {
        let Self { file, found, seconds } = self;
        let exhaustive::Outcome { states, transitions, depth, .. } = found;
        let Some(broken) = &found.counterexample else {
            let scope = match (found.complete, found.cut) {
                (true, _) => "everything there is".to_owned(),
                (_, true) => format!("cut short by --max-states, complete to depth {depth}"),
                (_, false) => format!("everything to depth {depth}"),
            };
            let (states_rate, rate) = self.rates();
            return format!(
                "{file}: no rule is broken; {states} states, {transitions} moves, {scope}; \
                 {seconds:.1}s, {states_rate} states/s, {rate} moves/s\n"
            );
        };
        let moves = broken.operations.len();
        let mut text = format!("{file}: {}\n", broken.fault);
        text += &format!("after {moves} moves from: {}\n", broken.from);
        for line in &broken.lines {
            text += &format!("  {line}\n");
        }
        text + &format!("found among {states} states in {seconds:.1}s; no history is shorter\n")
    }

    fn json(&self) -> Value {
        let found = &self.found;
        let broken = found.counterexample.as_ref().map(|broken| {
            let rule = match &broken.fault {
                Fault::Broken { rule, .. } => rule,
                Fault::Differs { .. } => "model",
            };
            let what = match &broken.fault {
                Fault::Broken { what, .. } => what.clone(),
                Fault::Differs { .. } => broken.fault.to_string(),
            };
            let moves = broken.operations.len();
            let (from, history) = (&broken.from, &broken.lines);
            json!({ "rule": rule, "what": what, "from": from, "moves": moves, "history": history })
        });
        let (states_rate, rate) = self.rates();
        json!({
            "file": self.file,
            "ok": broken.is_none(),
            "states": found.states,
            "moves": found.transitions,
            "depth": found.depth,
            "complete": found.complete,
            "cut": found.cut,
            "seconds": self.seconds,
            "states_per_second": states_rate,
            "moves_per_second": rate,
            "broken": broken,
        })
    }
}

/// Events a second, rounded down.
#[expect(clippy::cast_possible_truncation, reason = "a rate for people to read")]
fn rate(events: u64, seconds: f64) -> u64 {
    let millis = (seconds * 1000.0).max(1.0) as u64;
    events.saturating_mul(1000) / millis
}

/// Shows on standard error how far it has come, once it takes longer than a second.
struct Meter {
    begun: Instant,
    next: Duration,
    terminal: bool,
    shown: bool,
}

impl Meter {
    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { begun: Instant::now(), next: Duration::from_secs(1), terminal, shown: false }
    }

    fn show(&mut self, progress: Progress) {
        let elapsed = self.begun.elapsed();
        if elapsed < self.next {
            return;
        }
        let every = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(5) };
        self.next = elapsed + every;
        self.shown = true;
        let Progress { depth, states, transitions, frontier, done } = progress;
        let rate = rate(transitions, elapsed.as_secs_f64());
        let percent = done * 100 / frontier.max(1);
        let text = format!("depth {depth}: {percent}% done, {states} states, {rate} moves/s");
        if self.terminal {
            output::complain(&format!("\r\x1b[K{text}"));
        } else {
            output::complain(&format!("{text}\n"));
        }
    }

    /// Clears the line; the seconds that it took.
    fn end(&self) -> f64 {
        if self.terminal && self.shown {
            output::complain("\r\x1b[K");
        }
        self.begun.elapsed().as_secs_f64()
    }
}

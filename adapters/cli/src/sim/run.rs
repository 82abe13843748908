//! `lictor sim run`: one plan.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lictor_sim::engine::Engine;
use lictor_sim::marks::Mark;
use lictor_sim::outcome::{Options, Outcome as Ran};
use lictor_sim::plan::{Plan, duration_text};
use lictor_sim::trace::Trace;
use serde_json::{Value, json};

use super::meter::{long, per_second, plural, short, thousands};
use super::{EngineArg, complain_of, failure, input, with_model, write_file};
use crate::{Outcome, output};

/// Runs one plan, and says whether every invariant held.
///
/// The same plan always runs the same way, here and on every other machine: its digest says so. (On
/// turmoil, in a process of its own: DETERMINISM.md.)
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The plan; `-` is standard input.
    file: PathBuf,
    /// What runs it.
    #[arg(long, value_enum, default_value = "kernel")]
    engine: EngineArg,
    /// Runs the reference model of supervision beside the kernels; a difference is a violation
    /// `MODEL`. On the engine `kernel`, and not where waits have jitter.
    #[arg(long)]
    model: bool,
    /// Writes everything that happened to this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Writes the result as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &RunArgs) -> Outcome {
    let engine = args.engine.built_in().and_then(|engine| with_model(engine, args.model));
    let Some(engine) = engine else { return Outcome::BadInput };
    let Some(plan) = input::plan(&args.file, engine) else { return Outcome::BadInput };
    let options = Options { trace: args.trace.is_some(), model: args.model, ..Options::default() };
    let begun = Instant::now();
    let ran = match engine.run(&plan, options) {
        Ok(ran) => ran,
        Err(error) => {
            complain_of(&args.file.display().to_string(), &error);
            return Outcome::BadInput;
        }
    };
    let took = begun.elapsed();
    if let Some(file) = &args.trace
        && let Err(outcome) = write_trace(file, &plan, &ran)
    {
        return outcome;
    }
    let result = Report { file: &args.file, engine, plan: &plan, ran: &ran, took };
    let text = if args.json { result.json().to_string() + "\n" } else { result.text() };
    if output::print(&text).is_err() { Outcome::Failed } else { verdict(&ran) }
}

/// The exit status of a run.
pub(super) fn verdict(ran: &Ran) -> Outcome {
    if ran.violation.is_some() { Outcome::Failed } else { Outcome::Clean }
}

/// Writes every record of a run as a line of JSON.
pub(super) fn write_trace(file: &Path, plan: &Plan, ran: &Ran) -> Result<(), Outcome> {
    let trace = Trace::new(plan);
    write_file(file, |out| {
        for (number, record) in (0..).zip(&ran.trace) {
            writeln!(out, "{}", trace.json(number, record))?;
        }
        Ok(())
    })
}

/// What a plan is, in numbers.
pub(super) fn size_text(plan: &Plan) -> String {
    let (faults, operations, nodes) = plan.size();
    let [nodes, operations, faults] =
        [plural(nodes, "node"), plural(operations, "operation"), plural(faults, "fault")];
    format!("{nodes}, {operations}, {faults}")
}

struct Report<'a> {
    file: &'a Path,
    engine: Engine,
    plan: &'a Plan,
    ran: &'a Ran,
    took: Duration,
}

impl Report<'_> {
    fn text(&self) -> String {
        let Self { file, plan, ran, took, .. } = self;
        let head = match &ran.violation {
            None => format!("{}: every invariant held\n", file.display()),
            Some(violation) => {
                let text = Trace::new(plan).names(&violation.to_string());
                format!("{}: violates {text}\n", file.display())
            }
        };
        let reached: Vec<&str> = ran.marks.reached().map(Mark::name).collect();
        let reached = if reached.is_empty() { "nothing".to_owned() } else { reached.join(", ") };
        let again = match &ran.violation {
            None => String::new(),
            Some(_) => failure::replay(file, self.engine, ran) + "\n",
        };
        format!(
            "{head}  {}; {} to break, {} to heal\n  {} events, {} records, {} faults took effect, \
             in {} ({} events/s)\n  digest {:016x}\n  reached {reached}\n{again}",
            size_text(plan),
            duration_text(plan.horizon),
            duration_text(plan.calm),
            thousands(ran.events),
            thousands(ran.records),
            thousands(ran.faults),
            long(*took),
            short(per_second(ran.events, *took)),
            ran.digest,
        )
    }

    fn json(&self) -> Value {
        let Self { file, engine, plan, ran, took } = self;
        let (faults, operations, nodes) = plan.size();
        json!({
            "file": file.display().to_string(),
            "engine": engine.word(),
            "nodes": nodes,
            "operations": operations,
            "faults": faults,
            "events": ran.events,
            "records": ran.records,
            "faults_injected": ran.faults,
            "seconds": took.as_secs_f64(),
            "events_per_second": per_second(ran.events, *took).round(),
            "digest": format!("{:016x}", ran.digest),
            "violation": ran.violation.as_ref().map(|seen| seen.named(&plan.scenario)),
            "sometimes_reached": ran.marks.reached().map(Mark::name).collect::<Vec<_>>(),
        })
    }
}

//! `lictor sim replay`: one plan again, with all that happened in it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use lictor_sim::engine::{Engine, EngineError};
use lictor_sim::outcome::{Options, Outcome as Ran};
use lictor_sim::plan::Plan;
use lictor_sim::report::{Report, divergence};
use lictor_sim::trace::Trace;

use super::run::{size_text, verdict, write_trace};
use super::{EngineArg, complain_of, failure, input, with_model, write_file};
use crate::{Outcome, duration, output};

/// Runs a plan again, and shows what happened in it.
///
/// Without --explain it shows everything up to the violation, or to the end.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The plan, such as `plan.min.yaml` of a failure; `-` is standard input.
    file: PathBuf,
    /// What runs it.
    #[arg(long, value_enum, default_value = "kernel")]
    engine: EngineArg,
    /// Shows nothing after the record of this number, or after this time: `17`, `1.5s`. Records
    /// count from 0.
    #[arg(long, value_name = "N|TIME", value_parser = until)]
    until: Option<Until>,
    /// Shows only what led to the violation, or to the last record that is shown.
    #[arg(long)]
    explain: bool,
    /// Writes a page that shows the run to this file; it needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Runs the reference model of supervision beside the kernels; a difference is a violation
    /// `MODEL`. On the engine `kernel`, and not where waits have jitter. Without it this is done
    /// where nothing else is violated.
    #[arg(long)]
    model: bool,
    /// Writes everything that happened to this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Runs the plan again, on both kinds of queue, and shows where the runs differ, if they do.
    #[arg(long)]
    check_determinism: bool,
}

/// Where to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    Record(usize),
    /// In nanoseconds.
    Time(u128),
}

fn until(text: &str) -> Result<Until, String> {
    if let Ok(record) = text.parse() {
        return Ok(Until::Record(record));
    }
    duration::parse(text).map(|time| Until::Time(time.as_nanos()))
}

impl ReplayArgs {
    /// How many records are shown.
    fn shown(&self, ran: &Ran) -> usize {
        match self.until {
            None => ran.trace.len(),
            Some(Until::Record(last)) => ran.trace.len().min(last.saturating_add(1)),
            Some(Until::Time(time)) => {
                ran.trace.partition_point(|record| u128::from(record.at.as_nanos()) <= time)
            }
        }
    }
}

pub(super) fn replay(args: &ReplayArgs) -> Outcome {
    let engine = args.engine.built_in().and_then(|engine| with_model(engine, args.model));
    let Some(engine) = engine else { return Outcome::BadInput };
    let Some(plan) = input::plan(&args.file, engine) else { return Outcome::BadInput };
    let ran = match runs(engine, &plan, args.model) {
        Ok(ran) => ran,
        Err(error) => {
            complain_of(&args.file.display().to_string(), &error);
            return Outcome::BadInput;
        }
    };
    let report = Report::new(&plan, &ran, engine).until(args.shown(&ran));
    let page =
        |file: &Path| write_file(file, |out| out.write_all(report.timeline_html().as_bytes()));
    let html = args.html.as_ref().map(|file| page(file));
    let trace = args.trace.as_ref().map(|file| write_trace(file, &plan, &ran));
    if let Some(Err(outcome)) = html.into_iter().chain(trace).find(Result::is_err) {
        return outcome;
    }
    let (text, same) = match args.check_determinism.then(|| differences(engine, &plan, &ran)) {
        None => (String::new(), true),
        Some(None) => ("every run of it is the same\n".to_owned(), true),
        Some(Some(text)) => (text, false),
    };
    let text = shown(args, &report, &plan, &ran) + &text;
    if output::print(&text).is_err() || !same { Outcome::Failed } else { verdict(&ran) }
}

/// Runs the plan. What violates nothing by itself may still differ from the model, as `explore` has
/// found it: so a plan alone shows again what it was kept for.
fn runs(engine: Engine, plan: &Plan, model: bool) -> Result<Ran, EngineError> {
    let run = |model| engine.run(plan, Options { trace: true, model, ..Options::default() });
    let ran = run(model)?;
    if model || engine != Engine::Kernel || ran.violation.is_some() {
        return Ok(ran);
    }
    let beside = run(true)?;
    Ok(if beside.violation.is_some() { beside } else { ran })
}

/// Where other runs of the plan differ from this one, if one does.
fn differences(engine: Engine, plan: &Plan, ran: &Ran) -> Option<String> {
    let run = |plan: &Plan, options| match engine.run(plan, options) {
        Ok(ran) => ran,
        Err(error) => unreachable!("{error}, and it has run"),
    };
    let other = failure::other(&run, plan, ran)?;
    Some(
        divergence::text(plan, ran, &other).unwrap_or_else(|| "two runs of it differ\n".to_owned()),
    )
}

fn shown(args: &ReplayArgs, report: &Report<'_>, plan: &Plan, ran: &Ran) -> String {
    let mut text = if args.explain { report.explain() } else { report.timeline_text() };
    text += &format!("{}: {}\n", args.file.display(), size_text(plan));
    text += &match &ran.violation {
        Some(violation) => {
            let named = Trace::new(plan).names(&violation.to_string());
            format!("violates {named} (record {})\n", violation.record)
        }
        None => "every invariant held\n".to_owned(),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_record_and_anything_else_a_time() {
        assert_eq!(until("17"), Ok(Until::Record(17)));
        assert_eq!(until("1.5s"), Ok(Until::Time(1_500_000_000)));
        assert_eq!(until("20ms"), Ok(Until::Time(20_000_000)));
        for text in ["", "-1", "x", "1 year"] {
            assert!(until(text).is_err(), "{text}");
        }
    }
}

//! `lictor sim replay`: one plan again, with all that happened in it.

use std::path::PathBuf;

use lictor_sim::outcome::{Options, Outcome as Ran};
use lictor_sim::plan::Plan;
use lictor_sim::report::Report;
use lictor_sim::trace::Trace;

use super::run::{size_text, verdict, write_trace};
use super::{EngineArg, input};
use crate::{Outcome, output};

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
    /// Shows nothing after the record of this number; they count from 0.
    #[arg(long, value_name = "N")]
    until: Option<usize>,
    /// Shows only what led to the violation, or to the last record that is shown.
    #[arg(long)]
    explain: bool,
    /// Writes a page that shows the run to this file; it is complete in itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes everything that happened to this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(super) fn replay(args: &ReplayArgs) -> Outcome {
    let Some(engine) = args.engine.built_in() else { return Outcome::BadInput };
    let Some(plan) = input::plan(&args.file, engine) else { return Outcome::BadInput };
    let options = Options { trace: true, ..Options::default() };
    let ran = match engine.run(&plan, options) {
        Ok(ran) => ran,
        Err(error) => {
            output::complain(&format!("error: {error}\n"));
            return Outcome::BadInput;
        }
    };
    let report = Report::new(&plan, &ran, engine);
    let report = args.until.map_or(report, |until| report.until(until.saturating_add(1)));
    let page = |file| std::fs::write(file, report.timeline_html());
    let html = args.html.as_ref().map(|file| (file, page(file)));
    let trace = args.trace.as_ref().map(|file| (file, write_trace(file, &plan, &ran)));
    for (file, written) in html.into_iter().chain(trace) {
        if let Err(error) = written {
            output::complain(&format!("error: cannot write {}: {error}\n", file.display()));
            return Outcome::BadInput;
        }
    }
    if output::print(&text(args, &plan, &ran, report)).is_err() {
        Outcome::Failed
    } else {
        verdict(&ran)
    }
}

fn text(args: &ReplayArgs, plan: &Plan, ran: &Ran, report: Report<'_>) -> String {
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

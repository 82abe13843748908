//! What is kept and shown of a run: a folder for each failure, a timeline as text and as a page,
//! and what led to what.
//!
//! Nothing here reads or writes a file, and nothing knows an engine: a report is made of a plan and
//! of the records of a run. So the same run always has the same report, to the last byte.
#![allow(clippy::wildcard_enum_match_arm, reason = "most kinds of records concern most not at all")]

mod causes;
pub mod divergence;
mod explain;
mod faults;
mod html;
mod lives;
mod repro;
mod text;
mod words;

use serde_json::{Value, json};

pub use self::explain::{SLICE_MAX, Slice};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::invariants::Violation;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::record::Record;
use crate::shrink::Shrunk;

/// The version of the files of a failure.
pub const FORMAT: u32 = 1;

/// A digest is kept after every so many records.
pub const DIGEST_EVERY: usize = 1_000;

/// A run of a plan, with its trace, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    plan: &'a Plan,
    ran: &'a Outcome,
    engine: Engine,
    /// Of the trace, what is shown.
    records: &'a [Record],
}

impl<'a> Report<'a> {
    /// Of a run that has kept its trace.
    #[must_use]
    pub fn new(plan: &'a Plan, ran: &'a Outcome, engine: Engine) -> Self {
        Self { plan, ran, engine, records: &ran.trace }
    }

    /// Without what comes after so many records.
    #[must_use]
    pub fn until(self, records: usize) -> Self {
        Self { records: &self.records[..self.records.len().min(records)], ..self }
    }

    /// The violation, if it is among what is shown.
    fn violation(&self) -> Option<&'a Violation> {
        let seen = |violation: &&Violation| violation.record < self.records.len() as u64;
        self.ran.violation.as_ref().filter(seen)
    }

    /// What led to the violation; to the last record that is shown, if there is none.
    #[must_use]
    pub fn slice(&self) -> Slice {
        Slice::of(self.plan, self.records, self.violation())
    }

    /// The slice as text, the newest record last.
    #[must_use]
    pub fn explain(&self) -> String {
        explain::text(self.plan, self.records, self.violation())
    }

    /// A line for each record, with a column for each node.
    #[must_use]
    pub fn timeline_text(&self) -> String {
        text::timeline(self.plan, self.records, &self.slice(), self.violation())
    }

    /// A page that shows the run, complete in itself.
    #[must_use]
    pub fn timeline_html(&self) -> String {
        html::page(self)
    }
}

/// The digests of a run after every [`DIGEST_EVERY`] records, as they stand in files.
#[must_use]
pub fn digests(records: &[Record]) -> Vec<String> {
    let mut digest = Digest::default();
    let mut digests = Vec::with_capacity(records.len() / DIGEST_EVERY);
    for chunk in records.chunks_exact(DIGEST_EVERY) {
        chunk.iter().for_each(|record| record.digest(&mut digest));
        digests.push(digest.to_string());
    }
    digests
}

/// A failure that was found and shrunk.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The commit that it was built from, as far as it is known.
    pub commit: &'a str,
    /// What ran the plan.
    pub engine: Engine,
    /// The seed of the plan.
    pub seed: u64,
    /// What was found with that plan.
    pub found: &'a Violation,
    /// The plan as the seed made it.
    pub original: &'a Plan,
    /// What is left of it.
    pub shrunk: &'a Shrunk,
    /// The run of what is left, with its trace.
    pub ran: &'a Outcome,
    /// Another run of it, with its trace, if two runs of the plan differ.
    pub again: Option<&'a Outcome>,
}

impl Failure<'_> {
    /// The files of the folder that is kept of it: name and text.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let plan = &self.shrunk.plan;
        let report = Report::new(plan, self.ran, self.engine);
        let differs = self.again.and_then(|again| divergence::text(plan, self.ran, again));
        let mut files = vec![
            ("failure.json", self.facts()),
            ("plan.min.yaml", plan.to_yaml()),
            ("plan.full.yaml", self.original.to_yaml()),
            ("timeline.txt", report.timeline_text()),
            ("timeline.html", report.timeline_html()),
            ("explain.txt", report.explain()),
            ("repro.rs", self.repro()),
        ];
        files.extend(differs.map(|text| ("first_divergence.txt", text)));
        files
    }

    /// The test to paste.
    #[must_use]
    pub fn repro(&self) -> String {
        repro::test(&self.shrunk.plan, self.seed, self.engine, self.found.invariant)
    }

    fn facts(&self) -> String {
        let seen = self.ran.violation.as_ref().unwrap_or(self.found);
        let seen = seen.named(&self.shrunk.plan.scenario);
        let facts = json!({
            "format": FORMAT,
            "version": self.version,
            "commit": self.commit,
            "engine": self.engine.word(),
            "seed": self.seed,
            "invariant": self.found.invariant,
            "text": seen.text,
            "at": seen.at.as_nanos(),
            "node": seen.node.0,
            "record": seen.record,
            "found": self.found.named(&self.original.scenario),
            "original": sizes(self.original),
            "shrunk": sizes(&self.shrunk.plan),
            "shrink_runs": self.shrunk.runs,
            "minimal": self.shrunk.minimal,
            "records": self.ran.records,
            "digest": format!("{:016x}", self.ran.digest),
            "digests_every": DIGEST_EVERY,
            "digests": digests(&self.ran.trace),
        });
        format!("{facts:#}\n")
    }
}

fn sizes(plan: &Plan) -> Value {
    let (faults, operations, nodes) = plan.size();
    json!({ "faults": faults, "operations": operations, "nodes": nodes })
}

#[cfg(test)]
mod tests;

//! Where two runs of one plan part.

use std::fmt::Write as _;

use super::words;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::record::Record;

/// Records that are shown before the runs part, and after.
const CONTEXT: usize = 10;

/// The number of the first record in which two runs differ; `None` if they do not.
#[must_use]
pub fn first(one: &[Record], other: &[Record]) -> Option<usize> {
    let both = one.len().min(other.len());
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    differs.or_else(|| (one.len() != other.len()).then_some(both))
}

/// What two runs of a plan have in common last, and where they part. Both must have their traces.
///
/// `None` if they are the same.
#[must_use]
pub fn text(plan: &Plan, one: &Outcome, other: &Outcome) -> Option<String> {
    let at = first(&one.trace, &other.trace)?;
    let mut text = format!("two runs of one plan part at record {at}\n\n");
    let from = at.saturating_sub(CONTEXT);
    let _ = writeln!(text, "the last that is the same in both:");
    lines(&mut text, plan, &one.trace, from, at);
    for (title, run) in [("one run", one), ("the other run", other)] {
        let (records, digest) = (run.records, run.digest);
        let _ = writeln!(text, "\n{title} ({records} records, digest {digest:016x}):");
        if at >= run.trace.len() {
            text += "       has nothing more\n";
        }
        lines(&mut text, plan, &run.trace, at, run.trace.len().min(at + 1 + CONTEXT));
    }
    if let (Some(one), Some(other)) = (one.trace.get(at), other.trace.get(at)) {
        let _ = write!(text, "\nthe first that differs, in full:\n  {one:?}\n  {other:?}\n");
    }
    Some(text)
}

fn lines(text: &mut String, plan: &Plan, records: &[Record], from: usize, to: usize) {
    for (index, record) in records.iter().enumerate().take(to).skip(from) {
        let at = words::instant(record.at);
        let what = words::sentence(plan, record);
        let _ = writeln!(text, "{index:>6} {at:>15}  {:>4}  {what}", record.node.0);
    }
}

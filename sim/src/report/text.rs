//! A run as lines: one for each record, with a column for each node in which every name has a
//! character that shows its state.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::explain::{Slice, named};
use super::lives::{Lives, Span, State};
use super::words;
use crate::invariants::Violation;
use crate::plan::Plan;
use crate::record::{Ending, Fate, NodeIx, Record, What, Who};
use crate::trace;

/// Runs with more records have their quiet stretches left out.
const LONG: usize = 1_000;

/// The last records of a run, of which none is left out.
const LAST: usize = 200;

/// So many quiet records in a row are a quiet stretch.
const QUIET: usize = 8;

/// Names that have a character in the column of a node.
const SHOWN: usize = 16;

/// The whole text.
pub(super) fn timeline(
    plan: &Plan,
    records: &[Record],
    slice: &Slice,
    violation: Option<&Violation>,
) -> String {
    let lives = Lives::of(plan, records);
    let columns = columns(plan, records, &lives, violation);
    let mut text = head(plan, &columns, violation);
    let mut cursors = vec![0; plan.scenario.len()];
    let stretches = stretches(records);
    let mut stretches = stretches.iter().peekable();
    let in_slice: BTreeSet<u32> = slice.records.iter().copied().collect();
    let mut index = 0;
    while index < records.len() {
        if let Some((from, to)) = stretches.next_if(|(from, _)| *from == index) {
            quiet(&mut text, records, *from, *to);
            index = *to;
            continue;
        }
        let record = &records[index];
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let at = words::instant(record.at);
        let _ = write!(text, "{index:>6} {at:>15}  ");
        for column in &columns {
            for who in column {
                text.push(state(&lives.spans[usize::from(who.0)], &mut cursors, *who, number));
            }
            text.push_str("  ");
        }
        let mark = if in_slice.contains(&number) { '*' } else { ' ' };
        let what = words::sentence(plan, record);
        let _ = writeln!(text, "{:>2} {mark} {what}", record.node.0);
        index += 1;
    }
    text + &foot(plan, violation)
}

/// The character of a name at a record; records come in order.
fn state(spans: &[Span], cursors: &mut [usize], who: Who, record: u32) -> char {
    let cursor = &mut cursors[usize::from(who.0)];
    while spans.get(*cursor).is_some_and(|span| span.from <= record) {
        *cursor += 1;
    }
    let span = cursor.checked_sub(1).map(|index| spans[index]);
    span.map_or(State::Absent, |span| span.state).glyph()
}

/// The names that each node's column shows. Of many, those that matter most.
fn columns(
    plan: &Plan,
    records: &[Record],
    lives: &Lives,
    violation: Option<&Violation>,
) -> Vec<Vec<Who>> {
    let mut told: BTreeSet<Who> = violation.map(|v| named(&v.text).collect()).unwrap_or_default();
    let last = records.last().and_then(|record| match record.what {
        What::Start(it) | What::Started(it) | What::Exited(it, _) => Some(it.who),
        _ => None,
    });
    told.extend(last);
    let of = |node: NodeIx| {
        let all = plan.scenario.all().filter(|(_, entity)| entity.node == node);
        let changes = |who: Who| lives.spans[usize::from(who.0)].len();
        let mut names: Vec<Who> = all.map(|(who, _)| who).filter(|who| changes(*who) > 0).collect();
        names.sort_by_key(|who| (!told.contains(who), std::cmp::Reverse(changes(*who)), *who));
        names.truncate(SHOWN);
        names.sort_unstable();
        names
    };
    plan.scenario.node_ids().map(of).collect()
}

fn head(plan: &Plan, columns: &[Vec<Who>], violation: Option<&Violation>) -> String {
    let mut text = String::new();
    if let Some(violation) = violation {
        let violation = trace::names(&plan.scenario, &violation.to_string());
        let _ = writeln!(text, "violates {violation}\n");
    }
    let states: Vec<String> =
        State::ALL.iter().map(|state| format!("{} {}", state.glyph(), state.word())).collect();
    let _ = writeln!(text, "states: {}", states.join(", "));
    text += "* led to the violation, or to the last record\n\n";
    for (node, column) in columns.iter().enumerate() {
        let name = |who: &Who| plan.scenario.entity(*who).name.as_str();
        let names: Vec<&str> = column.iter().map(name).collect();
        let all = plan.scenario.all().filter(|(_, entity)| usize::from(entity.node.0) == node);
        let rest = all.count() - names.len();
        let rest =
            if rest > 0 { format!(" (and {rest} that are not shown)") } else { String::new() };
        let _ = writeln!(text, "node {node}: {}{rest}", names.join(", "));
    }
    text += "\nrecord         instant  ";
    for (node, column) in columns.iter().enumerate() {
        let width = column.len();
        let title = format!("{node}");
        let _ = write!(text, "{:<width$}  ", if title.len() > width { "" } else { &title });
    }
    text + "on   what\n"
}

fn foot(plan: &Plan, violation: Option<&Violation>) -> String {
    violation.map_or_else(String::new, |violation| {
        let what = trace::names(&plan.scenario, &violation.text);
        format!("{:>6} {:>15}  ==> {}: {what}\n", "", "", violation.invariant)
    })
}

/// The quiet stretches that are left out, as ranges of records.
fn stretches(records: &[Record]) -> Vec<(usize, usize)> {
    if records.len() <= LONG {
        return Vec::new();
    }
    let end = records.len() - LAST;
    let (mut found, mut from) = (Vec::new(), 0);
    for (index, record) in records[..=end].iter().enumerate() {
        if index < end && is_quiet(&record.what) {
            continue;
        }
        if index - from >= QUIET {
            found.push((from, index));
        }
        from = index + 1;
    }
    found
}

/// What happens all the time when all is well.
const fn is_quiet(what: &What) -> bool {
    matches!(
        what,
        What::Sent(..)
            | What::Queued(..)
            | What::Delivered(..)
            | What::Ended(_, Fate::Handled)
            | What::Answered(_, Ending::Answered)
            | What::FrameSent(_)
    ) || matches!(what, What::Sees(_, Some(_)))
}

fn quiet(text: &mut String, records: &[Record], from: usize, to: usize) {
    let (first, last) = (words::instant(records[from].at), words::instant(records[to - 1].at));
    let _ = writeln!(
        text,
        "   ... {} records left out, {from} to {}, {first} to {last}: messages and frames, and all \
         went well",
        to - from,
        to - 1,
    );
}

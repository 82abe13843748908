//! The causal slice: of all that happened, what led to the violation.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::causes::Causes;
use super::words;
use crate::invariants::Violation;
use crate::plan::Plan;
use crate::record::{MessageId, Record, What, Who};
use crate::trace;

/// Records of a slice, at most. What is left out is the oldest.
pub const SLICE_MAX: usize = 200;

/// What led to the last of some records, or to a violation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The numbers of its records, oldest first.
    pub records: Vec<u32>,
    /// For each of them, those that led to it directly.
    pub causes: Vec<Vec<u32>>,
    /// The faults of the plan that are in it.
    pub faults: Vec<u32>,
    /// The operations of the plan that are in it.
    pub operations: Vec<u32>,
    /// Causes that are known and were left out, since there were too many.
    pub left_out: usize,
}

impl Slice {
    /// Of these records, which end with the violation if there is one.
    #[must_use]
    pub fn of(plan: &Plan, records: &[Record], violation: Option<&Violation>) -> Self {
        let causes = Causes::of(plan, records);
        let mut open = BTreeSet::new();
        if let Some(last) = records.len().checked_sub(1) {
            open.insert(u32::try_from(last).unwrap_or(u32::MAX));
        }
        if let Some(violation) = violation {
            open.extend(
                named(&violation.text).filter_map(|who| causes.of_name.get(&who)).flatten(),
            );
            let messages = messages(&violation.text);
            open.extend(messages.iter().filter_map(|id| causes.of_message.get(id)));
        }
        let mut taken = Vec::new();
        while taken.len() < SLICE_MAX
            && let Some(record) = open.pop_last()
        {
            open.extend(causes.to(record as usize));
            taken.push(record);
        }
        taken.reverse();
        let mut slice = Self {
            causes: taken.iter().map(|record| causes.to(*record as usize).to_vec()).collect(),
            records: taken,
            faults: Vec::new(),
            operations: Vec::new(),
            left_out: open.len(),
        };
        slice.name_the_plans(records);
        slice
    }

    fn name_the_plans(&mut self, records: &[Record]) {
        for record in &self.records {
            match records[*record as usize].what {
                What::Fault(number, true) => self.faults.push(number),
                What::Operation(number) => self.operations.push(number),
                _ => {}
            }
        }
    }

    /// As text: what of the plan it contains, then a line for each record, the newest last.
    #[must_use]
    pub fn text(&self, plan: &Plan, records: &[Record]) -> String {
        let mut text = String::new();
        let scenario = &plan.scenario;
        for number in &self.faults {
            if let Some(fault) = plan.faults.get(*number as usize) {
                let _ = writeln!(text, "fault {number}: {}", fault.text(scenario));
            }
        }
        for number in &self.operations {
            if let Some(operation) = plan.operations.get(*number as usize) {
                let _ = writeln!(text, "operation {number}: {}", operation.text(scenario));
            }
        }
        if self.faults.is_empty() && self.operations.is_empty() {
            text += "no fault and no operation of the plan leads there\n";
        }
        text += "\nrecord         instant  node\n";
        if self.left_out > 0 {
            let _ = writeln!(text, "       ... and what led to {} earlier records", self.left_out);
        }
        for (index, causes) in self.records.iter().zip(&self.causes) {
            let record = &records[*index as usize];
            let line = words::sentence(plan, record);
            let at = words::instant(record.at);
            let _ = write!(text, "{index:>6} {at:>15}  {:>4}  {line}", record.node.0);
            if !causes.is_empty() {
                let causes: Vec<String> = causes.iter().map(u32::to_string).collect();
                let _ = write!(text, "   <- {}", causes.join(", "));
            }
            text.push('\n');
        }
        text
    }
}

/// The names that the text of a violation speaks of, by number.
pub(super) fn named(text: &str) -> impl Iterator<Item = Who> {
    let numbers = text.split("Who(").skip(1);
    numbers.filter_map(|rest| rest.split_once(')')?.0.parse().ok()).map(Who)
}

/// The messages that the text of a violation speaks of.
fn messages(text: &str) -> Vec<MessageId> {
    let who = |text: &str| named(text).next();
    let messages = text.split("MessageId { ").skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once(" }")?;
        let (ticker, rest) = inside.strip_prefix("ticker: ")?.split_once(", number: ")?;
        let (number, copy) = rest.split_once(", copy: ")?;
        Some(MessageId { ticker: who(ticker), number: number.parse().ok()?, copy: who(copy) })
    });
    messages.collect()
}

/// The slice of a run up to one of its records, with a head that says of what.
pub(super) fn text(plan: &Plan, records: &[Record], violation: Option<&Violation>) -> String {
    let slice = Slice::of(plan, records, violation);
    let head = match violation {
        Some(violation) => {
            let violation = trace::names(&plan.scenario, &violation.to_string());
            format!("what led to the violation of {violation}")
        }
        None => "what led to the last record".to_owned(),
    };
    let (shown, all) = (slice.records.len(), records.len());
    format!("{head}\n({shown} of {all} records)\n\n{}", slice.text(plan, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_messages_of_a_violation_are_found() {
        let id = MessageId { ticker: Some(Who(3)), number: 7, copy: None };
        let other = MessageId { ticker: None, number: 0, copy: Some(Who(12)) };
        let text = format!("{id:?} is given to {:?} after {other:?}", Who(5));
        assert_eq!(messages(&text), [id, other]);
        assert_eq!(named(&text).collect::<Vec<_>>(), [Who(3), Who(5), Who(12)]);
        assert!(messages("MessageId { ticker: x, number: 1 }").is_empty());
        assert!(named("Who(x) Who(").next().is_none());
    }
}

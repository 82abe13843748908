//! S10 for a node whose operating-system process stands still: it does nothing, so that nobody can
//! say that it owns anything then; and it notes whether a pause was longer than a lease.
//!
//! Source: simulation.md section 2 (a pause is a fault like any other); kernel rule H7. What the
//! node may do after the pause is judged as ever: whatever slept through its lease may handle
//! nothing, which is in `placed`. Deadlines of a node that is to stand still may be late, as with
//! late timers; liveness counts from the healing, and that ends every pause.

use std::collections::{BTreeMap, BTreeSet};

use lictor_kernel::Instant;

use super::Verdict;
use super::books::Books;
use crate::fault::Kind;
use crate::marks::{Mark, Marks};
use crate::plan::Plan;
use crate::record::{Here, NodeIx, Record, What, Who};

#[derive(Clone, Debug)]
pub(super) struct Pauses {
    /// By number of the fault: whether it is one.
    pauses: Vec<bool>,
    /// Who stands still, and by which faults.
    still: BTreeSet<(NodeIx, u32)>,
    /// What nodes run for others, and until when it may go on.
    leases: BTreeMap<(NodeIx, Who), Instant>,
}

impl Pauses {
    /// `None` if no node of this plan ever stands still.
    pub(super) fn new(plan: &Plan) -> Option<Box<Self>> {
        let pauses: Vec<bool> = plan.faults.iter().map(|fault| fault.kind == Kind::Pause).collect();
        let any = pauses.iter().any(|is| *is);
        any.then(|| Box::new(Self { pauses, still: BTreeSet::new(), leases: BTreeMap::new() }))
    }

    fn is_still(&self, node: NodeIx) -> bool {
        self.still.range((node, 0)..=(node, u32::MAX)).next().is_some()
    }

    pub(super) fn see(&mut self, books: &Books, record: &Record, marks: &mut Marks) -> Verdict {
        let node = record.node;
        match record.what {
            What::Fault(number, begins) if self.pauses.get(number as usize) == Some(&true) => {
                let on = books.on.get(usize::from(node.0)) == Some(&true);
                if begins && on {
                    self.still.insert((node, number));
                } else if self.still.remove(&(node, number)) && !self.is_still(node) {
                    let all = (node, Who(0))..=(node, Who(u16::MAX));
                    if self.leases.range(all).any(|(_, until)| *until <= record.at) {
                        marks.reach(Mark::LeaseSleptThrough);
                    }
                }
            }
            What::Halted => {
                self.still.retain(|(at, _)| *at != node);
                self.leases.retain(|(at, _), _| *at != node);
            }
            What::Here(process, Here::Leased(until)) => {
                self.leases.insert((node, process.who), until);
            }
            What::Here(process, Here::Ended(_) | Here::Failed | Here::Ignored) => {
                self.leases.remove(&(node, process.who));
            }
            _ => {}
        }
        if does_something(&record.what) && self.is_still(node) {
            return Err(format!("node {} stands still, and then: {:?}", node.0, record.what));
        }
        Ok(())
    }
}

/// Whether the process of a node must run for this. What is lost on its way, and what is done to
/// the node, needs none.
const fn does_something(what: &What) -> bool {
    matches!(
        what,
        What::Start(_)
            | What::Signal(..)
            | What::Started(_)
            | What::StartIgnored(_)
            | What::StartFailed(_)
            | What::Exited(..)
            | What::Supervisor { .. }
            | What::Status(..)
            | What::Sent(..)
            | What::Queued(..)
            | What::Delivered(..)
            | What::PutBack(..)
            | What::Answered(..)
            | What::FrameSent(_)
            | What::PeerUp(_)
            | What::PeerDown(_)
            | What::Operation(_)
            | What::Here(..)
            | What::Placed(..)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reading;

    #[test]
    fn a_node_that_stands_still_does_nothing_until_it_goes_on_or_ends() {
        let text = b"topology: {supervision: {children: [{agent: {name: a, type: t}}]}}\n\
                     nodes: 2\nhorizon: 9s\nfaults:\n  - {at: 1s, pause: 1, lasts: 2s}\n  \
                     - {at: 2s, pause: 1, lasts: 2s}\n";
        let plan = Plan::read("p", text, &Reading::default()).unwrap();
        let (first, second) = (What::Fault(0, true), What::Fault(1, true));
        let (up, booted) = (What::PeerUp(NodeIx(0)), What::Booted(1));
        for (records, holds) in [
            (vec![booted, up], true),
            (vec![booted, first, up], false),
            (vec![booted, first, What::FrameLost(NodeIx(0))], true),
            (vec![booted, first, second, What::Fault(0, false), up], false),
            (vec![booted, first, second, What::Fault(0, false), What::Fault(1, false), up], true),
            (vec![booted, first, What::Halted, What::Booted(2), up], true),
            // There was nobody to stand still.
            (vec![first, booted, up], true),
        ] {
            let mut pauses = Pauses::new(&plan).unwrap();
            let (mut books, mut marks) = (Books::new(&plan), Marks::default());
            let verdict = records.iter().try_for_each(|what| {
                let record = Record { at: Instant::ZERO, node: NodeIx(1), what: *what };
                pauses.see(&books, &record, &mut marks)?;
                books.update(&record);
                Ok::<_, String>(())
            });
            assert_eq!(verdict.is_ok(), holds, "{records:?}");
        }
    }
}

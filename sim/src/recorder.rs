//! Where records go: into the digest, past the invariants and the marks, and onto the trace.

use lictor_kernel::Instant;

use crate::digest::Digest;
use crate::invariants::{Checks, Violation};
use crate::marks::{Mark, Marks};
use crate::plan::Plan;
use crate::record::{NodeIx, Record, What};

#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) digest: Digest,
    pub(crate) records: u64,
    pub(crate) checks: Checks,
    pub(crate) violation: Option<Violation>,
    pub(crate) marks: Marks,
    pub(crate) trace: Option<Vec<Record>>,
}

impl Recorder {
    pub(crate) fn new(plan: &Plan, trace: bool) -> Self {
        Self {
            digest: Digest::default(),
            records: 0,
            checks: Checks::new(plan),
            violation: None,
            marks: Marks::default(),
            trace: trace.then(Vec::new),
        }
    }

    /// Of the kernel world.
    pub(crate) fn of_kernel_world(plan: &Plan, trace: bool) -> Self {
        Self { checks: Checks::of_kernel_world(plan), ..Self::new(plan, trace) }
    }

    #[inline]
    pub(crate) fn put(&mut self, at: Instant, node: NodeIx, what: What) {
        if self.violation.is_some() {
            return;
        }
        let record = Record { at, node, what };
        self.records += 1;
        record.digest(&mut self.digest);
        if let Some(trace) = &mut self.trace {
            trace.push(record);
        }
        if let Err(violation) = self.checks.see(&record, &mut self.marks) {
            self.violation = Some(violation);
        }
    }

    /// Something else than an invariant has found this.
    pub(crate) fn violated(
        &mut self,
        invariant: &'static str,
        at: Instant,
        node: NodeIx,
        text: String,
    ) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, at, node, text, record: self.records });
        }
    }

    pub(crate) const fn reach(&mut self, mark: Mark) {
        self.marks.reach(mark);
    }
}

//! Where records go: into the digest, past the invariants and the marks, and onto the trace.

use lictor_kernel::Instant;

use crate::digest::Digest;
use crate::invariants::{Checks, Violation};
use crate::marks::{Mark, Marks};
use crate::plan::Plan;
use crate::record::{NodeIx, Record, What};

#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) digest: Digest,
    pub(super) records: u64,
    pub(super) checks: Checks,
    pub(super) violation: Option<Violation>,
    pub(super) marks: Marks,
    pub(super) trace: Option<Vec<Record>>,
}

impl Recorder {
    pub(super) fn new(plan: &Plan, trace: bool) -> Self {
        Self {
            digest: Digest::default(),
            records: 0,
            checks: Checks::new(plan),
            violation: None,
            marks: Marks::default(),
            trace: trace.then(Vec::new),
        }
    }

    #[inline]
    pub(super) fn put(&mut self, at: Instant, node: NodeIx, what: What) {
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

    pub(super) const fn reach(&mut self, mark: Mark) {
        self.marks.reach(mark);
    }
}

//! What must hold, whatever happens: one file for each, with its source.
//!
//! An invariant sees records and keeps books of its own. It shares nothing with the kernel and
//! nothing with the world, so it can judge any engine; and it costs a few nanoseconds a record, so
//! that all of them can be on all the time.

mod s01_one_incarnation;

use std::fmt;

use lictor_kernel::Instant;
use serde::Serialize;

use crate::plan::Plan;
use crate::record::{NodeIx, Record};

/// An invariant that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Violation {
    /// Which: `S1` to `S14`, `L1` to `L7`.
    pub invariant: &'static str,
    /// When it showed, on the world's clock, in nanoseconds.
    #[serde(serialize_with = "as_nanos")]
    pub at: Instant,
    /// Where it showed.
    pub node: NodeIx,
    /// What was expected and what was seen.
    pub text: String,
    /// The number of the record at which it showed, from 0.
    pub record: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_nanos<S: serde::Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(at.as_nanos())
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = std::time::Duration::from_nanos(self.at.as_nanos());
        write!(f, "{} at {seconds:?} on node {}: {}", self.invariant, self.node.0, self.text)
    }
}

/// What an invariant says of a record that it finds wrong.
pub(crate) type Verdict = Result<(), String>;

/// One rule.
pub(crate) trait Invariant {
    /// Its number.
    const ID: &'static str;

    /// Takes a record in.
    fn see(&mut self, record: &Record) -> Verdict;

    /// The run is over, in good order: nothing was cut short.
    fn finish(&mut self) -> Verdict {
        Ok(())
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Checks {
    records: u64,
    s01: s01_one_incarnation::OneIncarnation,
}

impl Checks {
    /// For a run of this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self { records: 0, s01: s01_one_incarnation::OneIncarnation::new(plan) }
    }

    /// Takes a record in. Allocates nothing unless something is wrong.
    ///
    /// # Errors
    /// The first invariant that it violates.
    #[inline]
    pub fn see(&mut self, record: &Record) -> Result<(), Violation> {
        self.records += 1;
        self.judge(record, |this| this.s01.see(record), "S1")
    }

    #[inline]
    fn judge(
        &mut self,
        record: &Record,
        verdict: impl FnOnce(&mut Self) -> Verdict,
        id: &'static str,
    ) -> Result<(), Violation> {
        let number = self.records - 1;
        verdict(self).map_err(|text| Violation {
            invariant: id,
            at: record.at,
            node: record.node,
            text,
            record: number,
        })
    }
}

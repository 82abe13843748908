//! Calls in flight: which answer belongs to which question, and when a question is given up.
//!
//! Each call ends exactly once: by its reply, its deadline, the end of its callee, or its caller.
//! Ids only grow, so an id below the next one that is not pending has ended; nothing about ended
//! calls is stored, and yet a late reply is told from one to a call that never was. Matching by
//! reply address instead, as civitas does, needs a subscription per call and cannot tell these.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use crate::time::Deadlines;
use crate::{CallId, ExitReason, Instant};

/// Why a call was not begun.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BeginError {
    /// As many calls are in flight as may be.
    TooManyCalls,
    /// All ids have been given out; ids are never reused.
    IdsExhausted,
}

impl fmt::Display for BeginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyCalls => "too many calls in flight",
            Self::IdsExhausted => "all ids for calls have been used",
        })
    }
}

impl core::error::Error for BeginError {}

/// What becomes of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReplyOutcome {
    /// It ended its call: hand it to the caller.
    Delivered,
    /// Its call has ended, or its deadline has passed: drop it. A second reply is late, too.
    Late,
    /// No such call was ever begun here: drop it.
    Unknown,
}

/// How a call ended other than by a reply or by its caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallOutcome {
    /// Its deadline came.
    TimedOut,
    /// Its callee ended first.
    CalleeDown(ExitReason),
}

/// A call that ended without a reply: tell the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ended {
    /// Which call.
    pub call: CallId,
    /// How it ended.
    pub outcome: CallOutcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Pending<C> {
    callee: C,
    deadline: Instant,
}

/// The calls in flight of one node. `C` names a callee; the caller chooses the type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Calls<C: Ord> {
    limit: usize,
    first: CallId,
    next: Option<CallId>,
    pending: BTreeMap<CallId, Pending<C>>,
    by_callee: BTreeSet<(C, CallId)>,
    deadlines: Deadlines<CallId>,
    late: u64,
    unknown: u64,
}

impl<C: Ord + Copy> Calls<C> {
    /// No calls; ids start at `first`, and at most `limit` calls are in flight at once.
    #[must_use]
    pub fn new(first: CallId, limit: usize) -> Self {
        Self {
            limit,
            first,
            next: Some(first),
            pending: BTreeMap::new(),
            by_callee: BTreeSet::new(),
            deadlines: Deadlines::default(),
            late: 0,
            unknown: 0,
        }
    }

    /// Begins a call of `callee`. It times out at `deadline`, which may already have passed; at
    /// [`Instant::MAX`] it never does. `O(log n)`. (C1, C6)
    ///
    /// # Errors
    /// [`BeginError::TooManyCalls`] at the limit; [`BeginError::IdsExhausted`].
    pub fn begin(&mut self, callee: C, deadline: Instant) -> Result<CallId, BeginError> {
        if self.pending.len() >= self.limit {
            return Err(BeginError::TooManyCalls);
        }
        let call = self.next.ok_or(BeginError::IdsExhausted)?;
        self.next = call.0.checked_add(1).map(CallId);
        self.pending.insert(call, Pending { callee, deadline });
        self.by_callee.insert((callee, call));
        if deadline < Instant::MAX {
            self.deadlines.set(deadline, call);
        }
        Ok(call)
    }

    /// Takes a reply that arrived at `now`. `O(log n)`. (C2, C3, C4)
    ///
    /// A reply at exactly the deadline is delivered. After it, the reply is late even if
    /// [`Calls::handle_timeout`] has not run yet; the call then still ends as timed out, there.
    pub fn reply(&mut self, now: Instant, call: CallId) -> ReplyOutcome {
        match self.pending.get(&call) {
            Some(pending) if now <= pending.deadline => {
                self.end(call);
                ReplyOutcome::Delivered
            }
            None if call < self.first || self.next.is_some_and(|next| call >= next) => {
                self.unknown = self.unknown.saturating_add(1);
                ReplyOutcome::Unknown
            }
            Some(_) | None => {
                self.late = self.late.saturating_add(1);
                ReplyOutcome::Late
            }
        }
    }

    /// Ends a call whose caller lost interest, and says whether it was in flight. `O(log n)`.
    pub fn cancel(&mut self, call: CallId) -> bool {
        self.end(call).is_some()
    }

    /// Ends all calls of a callee that ended, and pushes them in the order of their begin.
    /// `O(calls ended * log n)`. (C5)
    pub fn callee_down(&mut self, callee: C, reason: ExitReason, ended: &mut Vec<Ended>) {
        let range = (callee, CallId(0))..=(callee, CallId(u64::MAX));
        while let Some((_, call)) = self.by_callee.range(range.clone()).next().copied() {
            self.end(call);
            ended.push(Ended { call, outcome: CallOutcome::CalleeDown(reason) });
        }
    }

    /// The earliest deadline. It changes with every call that begins or ends.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Ends the calls whose deadline is at or before `now`, and pushes them in the order of
    /// (deadline, id). The replies of that same instant must be in first. Without a due deadline
    /// it does nothing. `O(calls ended * log n)`. (C3)
    pub fn handle_timeout(&mut self, now: Instant, ended: &mut Vec<Ended>) {
        while let Some((_, call)) = self.deadlines.pop_due(now) {
            self.end(call);
            ended.push(Ended { call, outcome: CallOutcome::TimedOut });
        }
    }

    fn end(&mut self, call: CallId) -> Option<Pending<C>> {
        let pending = self.pending.remove(&call)?;
        let indexed = self.by_callee.remove(&(pending.callee, call));
        assert!(indexed, "every pending call is indexed by its callee");
        self.deadlines.clear(pending.deadline, call);
        Some(pending)
    }

    /// The callee of a call in flight.
    #[must_use]
    pub fn callee(&self, call: CallId) -> Option<C> {
        self.pending.get(&call).map(|pending| pending.callee)
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no call is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many replies were late, since the start.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// How many replies were to calls that never were, since the start.
    #[must_use]
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }
}

//! Who waits for the answers to calls over the wire.
//!
//! The kernel ends a call with its node, an answer ends it, and neither hears of an asker that has
//! given up. So those who have gone are looked for: when there are twice as many as the last time,
//! which costs each call a constant; and now and then when no more calls may be open, since to look
//! at each refusal would cost a walk through all.

use std::collections::BTreeMap;

use lictor_kernel::node::Callee;
use lictor_kernel::{CallId, Calls, Instant, NodeId};

use crate::message::{ReplyTo, Value};

/// How few open calls are not worth a sweep.
const SWEEP_MIN: usize = 1024;

/// Of so many calls that find no room one makes room.
const REFUSALS: u32 = 64;

/// As many calls as may be are open.
#[derive(Debug)]
pub(super) struct TooMany;

#[derive(Default)]
pub(super) struct Asks {
    open: BTreeMap<CallId, ReplyTo<Value>>,
    /// When there are so many, those whose asker has gone are dropped.
    sweep_at: usize,
    /// Calls that found no room at first, since the start.
    refused: u32,
}

impl Asks {
    /// Begins a call; its deadline is the asker's affair.
    pub(super) fn begin(
        &mut self,
        calls: &mut Calls<Callee>,
        node: NodeId,
        asker: ReplyTo<Value>,
    ) -> Result<CallId, TooMany> {
        if self.open.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.sweep(calls);
        }
        let mut begun = calls.begin(Callee::Node(node), Instant::MAX);
        if begun.is_err() {
            if self.refused.is_multiple_of(REFUSALS) {
                self.sweep(calls);
                begun = calls.begin(Callee::Node(node), Instant::MAX);
            }
            self.refused = self.refused.wrapping_add(1);
        }
        let call = begun.map_err(|_| TooMany)?;
        self.open.insert(call, asker);
        Ok(call)
    }

    /// Takes the asker of a call that has ended.
    pub(super) fn take(&mut self, call: CallId) -> Option<ReplyTo<Value>> {
        self.open.remove(&call)
    }

    fn sweep(&mut self, calls: &mut Calls<Callee>) {
        self.open.retain(|call, asker| asker.is_open() || !calls.cancel(*call));
        self.sweep_at = self.open.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::reply_slot;

    const NODE: NodeId = NodeId(7);

    #[test]
    fn askers_that_have_gone_are_forgotten_with_their_calls() {
        let (mut asks, mut calls) = (Asks::default(), Calls::new(CallId(0), 1 << 20));
        for _ in 0..10 * SWEEP_MIN {
            let (asker, reply) = reply_slot();
            asks.begin(&mut calls, NODE, ReplyTo::new(asker)).unwrap();
            drop(reply);
            assert!(asks.open.len() <= SWEEP_MIN && calls.len() == asks.open.len());
        }
    }

    #[test]
    fn askers_that_have_gone_make_room_where_as_many_as_may_be_are_open() {
        let limit = 2 * SWEEP_MIN - 1;
        let (mut asks, mut calls) = (Asks::default(), Calls::new(CallId(0), limit));
        let mut waiting = Vec::new();
        for _ in 0..limit {
            let (asker, reply) = reply_slot();
            asks.begin(&mut calls, NODE, ReplyTo::new(asker)).unwrap();
            waiting.push(reply);
        }
        waiting.clear();
        let mut begin = || asks.begin(&mut calls, NODE, ReplyTo::new(reply_slot().0)).is_ok();
        assert!((0..REFUSALS).any(|_| begin()), "no more calls for ever");
    }
}

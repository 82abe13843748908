//! Our open questions to foreign agents, and their streams.
//!
//! An answer must come to the address that was given with the question **and** carry its
//! correlation id: civitas compares the address only. Both are random, so nobody can answer for
//! another.

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_runtime::{ReplyFailure, ReplyTo, Value};

use crate::stream::Sink;

/// Where an answer goes.
pub(crate) enum Asker {
    Reply(ReplyTo<Value>),
    Stream(Arc<Sink>),
}

struct Call {
    correlation: String,
    callee: Arc<str>,
    asker: Asker,
}

/// All of them, by the last part of the address to which the answer comes.
#[derive(Default)]
pub(crate) struct Calls {
    open: BTreeMap<String, Call>,
    /// When there are so many, those whose asker has gone are dropped.
    sweep_at: usize,
}

const SWEEP_MIN: usize = 256;

impl Calls {
    /// Remembers a question; `Err` gives the asker back when too many are open.
    pub(crate) fn begin(
        &mut self,
        limit: usize,
        key: String,
        correlation: String,
        callee: Arc<str>,
        asker: Asker,
    ) -> Result<(), Asker> {
        if self.open.len() >= self.sweep_at.max(SWEEP_MIN).min(limit) {
            self.open.retain(|_, call| call.asker.is_open());
            self.sweep_at = self.open.len() * 2;
        }
        if self.open.len() >= limit {
            return Err(asker);
        }
        self.open.insert(key, Call { correlation, callee, asker });
        Ok(())
    }

    /// Takes the asker of a question that has its one answer.
    pub(crate) fn take(&mut self, key: &str, correlation: Option<&str>) -> Option<Asker> {
        self.open.get(key).filter(|call| correlation == Some(&*call.correlation))?;
        self.open.remove(key).map(|call| call.asker)
    }

    /// The stream that a frame belongs to.
    pub(crate) fn stream(&self, key: &str, correlation: Option<&str>) -> Option<Arc<Sink>> {
        let call = self.open.get(key)?;
        match &call.asker {
            Asker::Stream(sink) if correlation == Some(&*call.correlation) => {
                Some(Arc::clone(sink))
            }
            Asker::Stream(_) | Asker::Reply(_) => None,
        }
    }

    /// Forgets a question.
    pub(crate) fn end(&mut self, key: &str) -> Option<Asker> {
        self.open.remove(key).map(|call| call.asker)
    }

    /// The askers of all questions to an agent that will not answer any more.
    pub(crate) fn take_to(&mut self, callee: &str) -> Vec<Asker> {
        let all = std::mem::take(&mut self.open);
        let (lost, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, call)| *call.callee == *callee);
        self.open = kept.into_iter().collect();
        lost.into_iter().map(|(_, call)| call.asker).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

impl Asker {
    fn is_open(&self) -> bool {
        match self {
            Self::Reply(reply_to) => reply_to.is_open(),
            Self::Stream(sink) => sink.is_open(),
        }
    }

    /// There will be no answer.
    pub(crate) fn fail(self, failure: ReplyFailure) {
        match self {
            // An asker that has given up need not be told.
            Self::Reply(reply_to) => drop(reply_to.fail(failure)),
            Self::Stream(sink) => sink.fail("the producer is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use lictor_runtime::reply::reply_slot;

    use super::*;

    fn begin(calls: &mut Calls, limit: usize, number: usize, asker: ReplyTo<Value>) -> bool {
        let (key, callee) = (number.to_string(), Arc::from("a"));
        calls.begin(limit, key.clone(), key, callee, Asker::Reply(asker)).is_ok()
    }

    // Who has given up waiting takes up no room, however little there is.
    #[test]
    fn questions_whose_askers_have_gone_make_room() {
        for limit in [1, 2, SWEEP_MIN, 3 * SWEEP_MIN] {
            let mut calls = Calls::default();
            let mut waiting = Vec::new();
            for number in 0..limit {
                let (reply_to, reply) = reply_slot();
                assert!(begin(&mut calls, limit, number, ReplyTo::new(reply_to)));
                waiting.push(reply);
            }
            let (reply_to, _reply) = reply_slot();
            assert!(!begin(&mut calls, limit, limit, ReplyTo::new(reply_to)), "all are waiting");
            waiting.clear();
            let (reply_to, _reply) = reply_slot();
            assert!(begin(&mut calls, limit, limit + 1, ReplyTo::new(reply_to)), "of {limit}");
            assert_eq!(calls.len(), 1);
        }
    }
}

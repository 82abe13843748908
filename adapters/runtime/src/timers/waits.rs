//! The waits of a runtime in firing order: by deadline, then by registration.
//!
//! They are those for room and for credit, the limits of deliveries, timers, and the alarm of the
//! driver; the deadlines of calls are in `calls`. Most have one of a few time-outs, so nearly
//! every new deadline is the latest of all: it is appended to a line, and leaves a gap there when
//! the wait is over. The others are in a map. A wait then costs neither an allocation nor a walk; a
//! map for all costs both, since the one wait of a sender that waits again and again comes and
//! goes.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use lictor_kernel::Instant;

pub(super) type Key = (Instant, u64);

#[derive(Default)]
pub(super) struct Waits {
    /// Ascending; `None` is the gap of a wait that is over. Neither end is a gap.
    line: VecDeque<(Key, Option<Waker>)>,
    gaps: usize,
    rest: BTreeMap<Key, Waker>,
}

impl Waits {
    pub(super) fn len(&self) -> usize {
        self.line.len() - self.gaps + self.rest.len()
    }

    pub(super) fn insert(&mut self, key: Key, waker: Waker) {
        if self.line.back().is_some_and(|(last, _)| *last > key) {
            self.rest.insert(key, waker);
        } else {
            self.line.push_back((key, Some(waker)));
        }
    }

    fn find(&self, key: Key) -> Option<usize> {
        // The newest is looked for most often.
        match self.line.back() {
            Some((last, _)) if *last == key => Some(self.line.len() - 1),
            _ => self.line.binary_search_by(|(at, _)| at.cmp(&key)).ok(),
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Waker> {
        match self.find(key) {
            Some(at) => self.line[at].1.as_mut(),
            None => self.rest.get_mut(&key),
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        let Some(at) = self.find(key) else { return self.rest.remove(&key) };
        let waker = self.line[at].1.take()?;
        self.gaps += 1;
        self.trim();
        Some(waker)
    }

    /// Takes the gaps at both ends away, and all of them when most of the line is gaps: `O(1)` for
    /// each wait that was ever in it.
    fn trim(&mut self) {
        while self.line.front().is_some_and(|(_, waker)| waker.is_none()) {
            self.line.pop_front();
            self.gaps -= 1;
        }
        while self.line.back().is_some_and(|(_, waker)| waker.is_none()) {
            self.line.pop_back();
            self.gaps -= 1;
        }
        const FEW: usize = 64;
        if self.gaps > FEW && self.gaps > self.line.len() / 2 {
            self.line.retain(|(_, waker)| waker.is_some());
            self.gaps = 0;
        }
        if self.line.is_empty() && self.line.capacity() > 4 * FEW {
            self.line = VecDeque::new();
        }
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<Key> {
        let line = self.line.front().map(|(key, _)| *key);
        let rest = self.rest.first_key_value().map(|(key, _)| *key);
        line.into_iter().chain(rest).min()
    }

    /// The wakers of all, in no order.
    pub(super) fn all(&self) -> Vec<(Key, Waker)> {
        let line = self.line.iter().filter_map(|(key, waker)| Some((*key, waker.clone()?)));
        line.chain(self.rest.iter().map(|(key, it)| (*key, it.clone()))).collect()
    }
}

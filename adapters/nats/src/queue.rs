//! What a broker's two sides share: what is subscribed to, what waits to be sent, and how much of
//! what was sent the server is known to have.
//!
//! A *probe* is a message to ourselves behind what was sent: when it comes back, the server has had
//! all that went before it. Probes pace the sender (no more than a window is on its way), end a
//! flush, and make a subscription ready.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_nats::Subject;
use bytes::Bytes;
use futures_util::stream::AbortHandle;
use lictor_runtime::broker::{AddressError, Subscription};
use lictor_runtime::transport::SendError;

/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 1 << 16;

/// What a frame that waits costs besides its bytes.
const OVERHEAD: usize = 64;

/// Bytes on their way that no probe has confirmed, beyond which nothing more is sent.
const WINDOW: u64 = 1 << 22;

/// After so many bytes a probe is sent.
const PROBE_BYTES: u64 = 1 << 18;

/// Bytes that are handed to the client in one go.
const BATCH: usize = 1 << 16;

/// A frame that waits to be sent.
pub(crate) type Post = (Subject, Bytes);

#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    pub(crate) wanted: BTreeSet<Subscription>,
    /// Counts the changes of what is wanted.
    pub(crate) version: u64,
    /// What the server was asked for over the present client.
    pub(crate) in_force: BTreeMap<Subscription, AbortHandle>,
    /// Whether a task moves frames, and which.
    pub(crate) running: bool,
    pub(crate) runs: u64,
    /// The connection that is there.
    pub(crate) connection: Option<u64>,
    /// The connection has been gone for so long that nothing is kept.
    pub(crate) given_up: bool,
    /// What the server takes at most, in bytes.
    pub(crate) payload_most: usize,
    waiting: VecDeque<Post>,
    bytes: usize,
    /// Frames that were taken from publishers; handed to the client; known to be there, or lost.
    taken: u64,
    handed: u64,
    settled: u64,
    /// Bytes handed to the client; of these, confirmed; when the last probe was sent.
    sent: u64,
    confirmed: u64,
    probed: u64,
    probes: VecDeque<Probe>,
    next_probe: u64,
    /// Somebody waits for all to be settled.
    pub(crate) flushing: bool,
}

/// A probe that is on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    id: u64,
    handed: u64,
    sent: u64,
    /// What was wanted, if readiness hangs on it.
    ready: Option<u64>,
}

/// What a probe that came back means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Confirmed {
    /// Everything that is wanted is in force.
    pub(crate) is_ready: bool,
}

/// What is not waited for any more, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GivenUp {
    /// Those that no client was given.
    pub(crate) waited: u64,
    /// Those of which a client that was lost may have sent some.
    pub(crate) unconfirmed: u64,
}

impl Queue {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            wanted: BTreeSet::new(),
            version: 0,
            in_force: BTreeMap::new(),
            running: false,
            runs: 0,
            connection: None,
            given_up: false,
            payload_most: 1 << 20,
            waiting: VecDeque::new(),
            bytes: 0,
            taken: 0,
            handed: 0,
            settled: 0,
            sent: 0,
            confirmed: 0,
            probed: 0,
            probes: VecDeque::new(),
            next_probe: 0,
            flushing: false,
        }
    }

    /// Takes a frame, or says why not.
    pub(crate) fn put(&mut self, subject: Subject, frame: Bytes) -> Result<(), SendError> {
        if !self.running {
            return Err(SendError::Closed);
        }
        if frame.len() > self.payload_most {
            return Err(SendError::TooLarge);
        }
        if self.given_up {
            return Err(SendError::Unreachable);
        }
        let cost = subject.len() + frame.len() + OVERHEAD;
        // A frame alone always finds room.
        if self.bytes + cost > self.most && !self.waiting.is_empty() {
            return Err(SendError::Full);
        }
        self.bytes += cost;
        self.taken += 1;
        self.waiting.push_back((subject, frame));
        Ok(())
    }

    pub(crate) fn want(&mut self, to: Subscription) -> Result<bool, AddressError> {
        to.check()?;
        if self.wanted.len() >= SUBSCRIPTIONS_MAX && !self.wanted.contains(&to) {
            return Err(AddressError::TooMany);
        }
        let is_new = self.wanted.insert(to);
        self.version += u64::from(is_new);
        Ok(is_new)
    }

    /// Moves what fits into the window, up to a batch.
    pub(crate) fn batch(&mut self, batch: &mut Vec<Post>) {
        let mut bytes = 0;
        while bytes < BATCH
            && self.sent - self.confirmed < WINDOW
            && let Some((subject, frame)) = self.waiting.pop_front()
        {
            let cost = subject.len() + frame.len() + OVERHEAD;
            self.bytes -= cost;
            bytes += cost;
            self.sent += cost as u64;
            self.handed += 1;
            batch.push((subject, frame));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a probe should follow what was sent; `idle`: it has been quiet for a while.
    pub(crate) fn wants_probe(&self, idle: bool) -> bool {
        let behind = self.sent - self.probed;
        behind >= PROBE_BYTES
            || behind > 0 && self.is_empty() && (self.flushing || idle && self.probes.is_empty())
    }

    /// Whether something was sent that no probe follows yet.
    pub(crate) const fn is_unprobed(&self) -> bool {
        self.sent > self.probed
    }

    pub(crate) fn awaits_probe(&self) -> bool {
        !self.probes.is_empty()
    }

    /// The number of a probe that is sent now; `ready` is what is wanted, if it is to make it
    /// ready. It stands for all that are on their way, as well.
    pub(crate) fn probe(&mut self, ready: Option<u64>) -> u64 {
        let ready = ready.or_else(|| self.probes.iter().rev().find_map(|probe| probe.ready));
        self.next_probe += 1;
        self.probed = self.sent;
        let (id, handed, sent) = (self.next_probe, self.handed, self.sent);
        self.probes.push_back(Probe { id, handed, sent, ready });
        id
    }

    /// A probe came back.
    pub(crate) fn confirm(&mut self, id: u64) -> Confirmed {
        let mut is_ready = false;
        while let Some(probe) = self.probes.front().copied().filter(|probe| probe.id <= id) {
            self.probes.pop_front();
            self.settled = self.settled.max(probe.handed);
            self.confirmed = self.confirmed.max(probe.sent);
            is_ready |= probe.ready == Some(self.version);
        }
        self.flushing &= self.settled < self.taken;
        Confirmed { is_ready }
    }

    /// A connection is there: nothing of the last one is on its way any more. How many frames were,
    /// unconfirmed, is returned.
    pub(crate) fn connected(&mut self, connection: u64) -> u64 {
        let unconfirmed = self.handed.saturating_sub(self.settled);
        self.connection = Some(connection);
        self.settled = self.settled.max(self.handed);
        self.probes.clear();
        self.confirmed = self.sent;
        self.given_up = false;
        unconfirmed
    }

    /// Throws away what waits, and says how much it was, and how much had been handed to a client
    /// without being confirmed: that is not to be waited for, either.
    pub(crate) fn give_up(&mut self) -> GivenUp {
        let waited = self.waiting.len() as u64;
        let unconfirmed = self.handed.saturating_sub(self.settled);
        self.waiting.clear();
        self.bytes = 0;
        self.handed = self.taken;
        self.settled = self.taken;
        self.flushing = false;
        GivenUp { waited, unconfirmed }
    }

    /// A flush of all that was taken until now begins; returns what it waits for.
    pub(crate) fn flush(&mut self) -> u64 {
        self.flushing |= self.settled < self.taken;
        self.taken
    }

    /// Whether that has been reached, or cannot be.
    pub(crate) const fn is_flushed(&self, taken: u64) -> bool {
        self.settled >= taken || !self.running || self.given_up
    }

    /// Whether a message that came by the subscription below this prefix comes by a narrower one,
    /// too.
    pub(crate) fn has_narrower(&self, prefix: &str, address: &Arc<str>) -> bool {
        if self.in_force.len() < 2 {
            return false;
        }
        let has = |subscription: Subscription| self.in_force.contains_key(&subscription);
        let dots = address.match_indices('.').map(|(at, _)| at + 1);
        has(Subscription::Address(Arc::clone(address)))
            || dots
                .filter(|end| *end > prefix.len())
                .any(|end| has(Subscription::below(&address[..end])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(most: usize) -> Queue {
        Queue { running: true, ..Queue::new(most) }
    }

    fn put(queue: &mut Queue, bytes: usize) -> Result<(), SendError> {
        queue.put("a".into(), Bytes::from(vec![0; bytes]))
    }

    #[test]
    fn a_queue_refuses_beyond_its_bytes_and_takes_again() {
        let mut queue = running(1000);
        assert_eq!(put(&mut queue, 100_000), Ok(()), "alone it finds room");
        assert_eq!(put(&mut queue, 1), Err(SendError::Full));
        let mut batch = Vec::new();
        queue.batch(&mut batch);
        assert_eq!(batch.len(), 1);
        assert_eq!(put(&mut queue, 1), Ok(()));
        assert_eq!(put(&mut queue, 1 << 21), Err(SendError::TooLarge));
        queue.given_up = true;
        assert_eq!(put(&mut queue, 1), Err(SendError::Unreachable));
        queue.running = false;
        assert_eq!(put(&mut queue, 1), Err(SendError::Closed));
    }

    #[test]
    fn no_more_than_a_window_is_under_way_until_a_probe_comes_back() {
        let mut queue = running(1 << 30);
        for _ in 0..100 {
            assert_eq!(put(&mut queue, 1 << 17), Ok(()));
        }
        let (mut batch, mut last) = (Vec::new(), 0);
        loop {
            queue.batch(&mut batch);
            if batch.len() == last {
                break;
            }
            last = batch.len();
        }
        assert_eq!(last, 32, "4 MiB, and the one that passes it");
        assert!(queue.wants_probe(false));
        let target = queue.flush();
        let id = queue.probe(None);
        assert!(!queue.is_flushed(target));
        assert!(!queue.confirm(id).is_ready);
        queue.batch(&mut batch);
        assert!(batch.len() > last, "it goes on");
        let handed = batch.len() as u64;
        let given_up = GivenUp { waited: 100 - handed, unconfirmed: handed - last as u64 };
        assert_eq!(queue.give_up(), given_up);
        assert_eq!(queue.connected(2), 0, "each frame is counted once");
        assert!(queue.is_flushed(target), "it cannot be any more");
    }

    #[test]
    fn a_new_connection_has_a_window_of_its_own() {
        let mut queue = running(1 << 30);
        let mut batch = Vec::new();
        for connection in 1..4 {
            for _ in 0..40 {
                assert_eq!(put(&mut queue, 1 << 17), Ok(()));
            }
            batch.clear();
            (0..100).for_each(|_| queue.batch(&mut batch));
            assert_eq!(batch.len(), 32, "the window is full");
            queue.probe(None);
            assert_eq!(queue.connected(connection), 32, "none of them is confirmed");
        }
    }

    #[test]
    fn readiness_is_of_the_newest_wish_and_of_this_connection() {
        let mut queue = running(1000);
        assert_eq!(queue.want(Subscription::address("a")), Ok(true));
        let old = queue.probe(Some(queue.version));
        assert_eq!(queue.want(Subscription::address("b")), Ok(true));
        assert_eq!(queue.want(Subscription::address("b")), Ok(false), "twice is as once");
        assert!(!queue.confirm(old).is_ready, "b is not in force");
        let lost = queue.probe(Some(queue.version));
        assert_eq!(queue.connected(2), 0, "no frame was under way");
        assert!(!queue.confirm(lost).is_ready, "that was another connection");
        let asked = queue.probe(Some(queue.version));
        let again = queue.probe(None);
        assert!(asked < again && queue.confirm(again).is_ready, "the second stands for the first");
    }

    #[test]
    fn the_narrowest_subscription_has_the_message() {
        let mut queue = running(1000);
        let address: Arc<str> = "a.b.c".into();
        let force = |queue: &mut Queue, subscription| {
            let (handle, _) = AbortHandle::new_pair();
            queue.in_force.insert(subscription, handle);
        };
        force(&mut queue, Subscription::below("a."));
        assert!(!queue.has_narrower("a.", &address));
        force(&mut queue, Subscription::below("a.b."));
        assert!(queue.has_narrower("a.", &address));
        assert!(!queue.has_narrower("a.b.", &address));
        force(&mut queue, Subscription::address("a.b.c"));
        assert!(queue.has_narrower("a.b.", &address));
        assert!(!queue.has_narrower("a.b.", &"a.b.d".into()));
    }
}

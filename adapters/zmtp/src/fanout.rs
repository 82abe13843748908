//! The side that publishes: who wants what, and a bounded queue for each.
//!
//! One slow peer must not slow the others, and must not take memory without end. So each has a
//! queue of its own with a bound in bytes, and what does not fit is dropped **for that peer only**,
//! counted, and told to whoever asks. The newest is dropped, not the oldest: what was taken stays
//! taken, in order, as libzmq does it. The bytes of a message are shared between all queues.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt::{self, Display};

use bytes::Bytes;

use crate::Message;
use crate::subscriptions::{Subscriptions, Wish};

/// A connection, by a number that its driver chose and does not use again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub u64);

/// What a message in a queue counts for besides its bytes.
const MESSAGE_COST: usize = 64;

/// What a subscription counts for besides its bytes.
const SUBSCRIPTION_COST: usize = 64;

/// How much is held, at most.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FanoutLimits {
    /// Peers at a time.
    pub peers: usize,
    /// Bytes that wait for one peer; a message counts 64 more than its bytes.
    pub queue_bytes: usize,
    /// Bytes of the subscriptions of one peer; each counts 64 more than its bytes.
    pub subscription_bytes: usize,
}

impl FanoutLimits {
    /// 1024 peers, 8 MiB in a queue, 4 MiB of subscriptions, which are some 40,000.
    pub const DEFAULT: Self =
        Self { peers: 1024, queue_bytes: 8 << 20, subscription_bytes: 4 << 20 };
}

/// There are as many peers as may be, or one of this number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddPeerError {
    /// The limit is reached.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// There is a peer of this number.
    Known,
}

impl Display for AddPeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { limit } => write!(f, "there are {limit} peers, and no more may be"),
            Self::Known => f.write_str("there is a peer of this number"),
        }
    }
}

impl Error for AddPeerError {}

/// Why a wish of a peer was not taken. The driver closes its connection: a peer that believes it
/// has subscribed would wait for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Its subscriptions have reached their limit.
    TooMany {
        /// Bytes that all of them may have.
        limit: usize,
    },
    /// There is no such peer.
    UnknownPeer,
}

impl Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { limit } => {
                write!(f, "the subscriptions of one peer are above {limit} bytes")
            }
            Self::UnknownPeer => f.write_str("there is no such peer"),
        }
    }
}

impl Error for SubscribeError {}

/// What became of one message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Published {
    /// Peers in whose queue it is.
    pub queued: usize,
    /// Peers that want it and whose queue is full.
    pub dropped: usize,
}

/// What became of messages, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Messages that came to be published.
    pub messages: u64,
    /// Of these, those that nobody wanted.
    pub unwanted: u64,
    /// Copies that were put into a queue.
    pub queued: u64,
    /// Copies for which a queue had no room.
    pub dropped: u64,
    /// Copies that were taken from a queue, to be sent.
    pub taken: u64,
    /// Copies that were in a queue when its peer left.
    pub left: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Outbox {
    queue: VecDeque<Message>,
    bytes: usize,
    dropped: u64,
    prefixes: BTreeSet<Bytes>,
    prefix_bytes: usize,
}

/// The peers of a publishing socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fanout {
    limits: FanoutLimits,
    subscriptions: Subscriptions,
    peers: BTreeMap<PeerId, Outbox>,
    tally: Tally,
    /// Scratch: empty between calls.
    wanting: Vec<PeerId>,
}

impl Fanout {
    /// Nobody, yet.
    #[must_use]
    pub fn new(limits: FanoutLimits) -> Self {
        Self {
            limits,
            subscriptions: Subscriptions::default(),
            peers: BTreeMap::new(),
            tally: Tally::default(),
            wanting: Vec::new(),
        }
    }

    /// Adds a peer that wants nothing, yet.
    ///
    /// # Errors
    /// [`AddPeerError`]; nothing has changed then.
    pub fn add(&mut self, peer: PeerId) -> Result<(), AddPeerError> {
        if self.peers.contains_key(&peer) {
            return Err(AddPeerError::Known);
        }
        if self.peers.len() >= self.limits.peers {
            return Err(AddPeerError::TooMany { limit: self.limits.peers });
        }
        self.peers.insert(peer, Outbox::default());
        Ok(())
    }

    /// Forgets a peer and what waits for it, and pushes a [`Wish::Cancel`] for each prefix that
    /// only this one wanted. Says how many messages were left. `O(its subscriptions)`.
    pub fn remove(&mut self, peer: PeerId, changes: &mut Vec<Wish>) -> usize {
        let Some(outbox) = self.peers.remove(&peer) else { return 0 };
        for prefix in outbox.prefixes {
            if self.subscriptions.remove(&prefix, peer) {
                changes.push(Wish::Cancel(prefix));
            }
        }
        let left = outbox.queue.len();
        self.tally.left = self.tally.left.saturating_add(left as u64);
        left
    }

    /// Takes in a wish of a peer, and pushes it on if it is the first of this prefix to come or the
    /// last one to go. A wish that is there, or a cancelled one that is not, changes nothing.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing has changed then.
    pub fn wish(
        &mut self,
        peer: PeerId,
        wish: Wish,
        changes: &mut Vec<Wish>,
    ) -> Result<(), SubscribeError> {
        let outbox = self.peers.get_mut(&peer).ok_or(SubscribeError::UnknownPeer)?;
        match wish {
            Wish::Subscribe(prefix) => {
                if outbox.prefixes.contains(&prefix) {
                    return Ok(());
                }
                let bytes = outbox.prefix_bytes + prefix.len() + SUBSCRIPTION_COST;
                if bytes > self.limits.subscription_bytes {
                    let limit = self.limits.subscription_bytes;
                    return Err(SubscribeError::TooMany { limit });
                }
                outbox.prefix_bytes = bytes;
                outbox.prefixes.insert(prefix.clone());
                if self.subscriptions.add(prefix.clone(), peer) {
                    changes.push(Wish::Subscribe(prefix));
                }
            }
            Wish::Cancel(prefix) => {
                if outbox.prefixes.remove(&prefix) {
                    outbox.prefix_bytes -= prefix.len() + SUBSCRIPTION_COST;
                    if self.subscriptions.remove(&prefix, peer) {
                        changes.push(Wish::Cancel(prefix));
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts a message into the queue of everybody who wants it, once each, and pushes to `woken`
    /// those whose queue was empty before. `O(topic + peers that want it)`.
    pub fn publish(&mut self, message: &Message, woken: &mut Vec<PeerId>) -> Published {
        let mut wanting = core::mem::take(&mut self.wanting);
        let mut prefixes = 0;
        self.subscriptions.matching(message.topic(), |peers| {
            prefixes += 1;
            wanting.extend(peers);
        });
        if prefixes > 1 {
            wanting.sort_unstable();
            wanting.dedup();
        }
        let mut published = Published::default();
        let cost = message.wire().len() + MESSAGE_COST;
        for peer in wanting.drain(..) {
            let Some(outbox) = self.peers.get_mut(&peer) else { continue };
            if outbox.bytes + cost > self.limits.queue_bytes {
                outbox.dropped = outbox.dropped.saturating_add(1);
                published.dropped += 1;
                continue;
            }
            if outbox.queue.is_empty() {
                woken.push(peer);
            }
            outbox.bytes += cost;
            outbox.queue.push_back(message.clone());
            published.queued += 1;
        }
        self.wanting = wanting;
        let tally = &mut self.tally;
        tally.messages = tally.messages.saturating_add(1);
        let nobody = published == Published::default();
        tally.unwanted = tally.unwanted.saturating_add(u64::from(nobody));
        tally.queued = tally.queued.saturating_add(published.queued as u64);
        tally.dropped = tally.dropped.saturating_add(published.dropped as u64);
        published
    }

    /// Moves messages that wait for a peer to `messages`, in order: at least one, if there is one,
    /// and no further one that would bring them above `bytes`.
    pub fn take(&mut self, peer: PeerId, bytes: usize, messages: &mut Vec<Message>) {
        let Some(outbox) = self.peers.get_mut(&peer) else { return };
        let mut taken = 0;
        while let Some(message) = outbox.queue.front() {
            let length = message.wire().len();
            if taken > 0 && taken + length > bytes {
                break;
            }
            taken += length;
            outbox.bytes -= length + MESSAGE_COST;
            messages.extend(outbox.queue.pop_front());
            self.tally.taken = self.tally.taken.saturating_add(1);
        }
        if outbox.queue.is_empty() && outbox.queue.capacity() > 1024 {
            // After a burst.
            outbox.queue = VecDeque::new();
        }
    }

    /// Messages that wait for a peer, and what they count for in bytes.
    #[must_use]
    pub fn waiting(&self, peer: PeerId) -> (usize, usize) {
        self.peers.get(&peer).map_or((0, 0), |outbox| (outbox.queue.len(), outbox.bytes))
    }

    /// Messages dropped for a peer for want of room, since it was added.
    #[must_use]
    pub fn dropped(&self, peer: PeerId) -> u64 {
        self.peers.get(&peer).map_or(0, |outbox| outbox.dropped)
    }

    /// The peers, in the order of their numbers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// What became of messages, since the start.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }
}

//! The side that hears: what is wanted, and what each publisher has yet to be told of it.
//!
//! What a publisher must be told is kept as the difference between what it knows and what is
//! wanted, not as a queue: a wish that is taken back before it was sent vanishes. So a publisher
//! that reads nothing makes this end hold no more than what is wanted and what it was told, and one
//! that comes back is told everything, once.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::subscriptions::{Wish, walk};
use crate::{AddPeerError, PeerId};

/// The wishes of a hearing socket, and its publishers.
///
/// The number of wishes has no bound here: they are the caller's own, or those of a
/// [`Fanout`](crate::Fanout), which bounds them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Upstream {
    peers_max: usize,
    wanted: BTreeMap<Bytes, ()>,
    /// What each has yet to be told: the prefixes whose state it has wrong.
    peers: BTreeMap<PeerId, BTreeMap<Bytes, bool>>,
}

impl Upstream {
    /// Nothing is wanted yet, and of at most so many publishers.
    #[must_use]
    pub const fn new(peers_max: usize) -> Self {
        Self { peers_max, wanted: BTreeMap::new(), peers: BTreeMap::new() }
    }

    /// Adds a publisher, which knows nothing and must be told all that is wanted.
    ///
    /// # Errors
    /// [`AddPeerError`]; nothing has changed then.
    pub fn add(&mut self, peer: PeerId) -> Result<(), AddPeerError> {
        if self.peers.contains_key(&peer) {
            return Err(AddPeerError::Known);
        }
        if self.peers.len() >= self.peers_max {
            return Err(AddPeerError::TooMany { limit: self.peers_max });
        }
        let untold = self.wanted.keys().map(|prefix| (prefix.clone(), true)).collect();
        self.peers.insert(peer, untold);
        Ok(())
    }

    /// Forgets a publisher, and says whether it was one.
    pub fn remove(&mut self, peer: PeerId) -> bool {
        self.peers.remove(&peer).is_some()
    }

    /// Takes in a wish, and pushes to `woken` the publishers that had nothing to be told before and
    /// have now. `O(publishers)`. One that changes nothing is passed over.
    pub fn wish(&mut self, wish: Wish, woken: &mut Vec<PeerId>) {
        let (prefix, wants) = match wish {
            Wish::Subscribe(prefix) => (prefix, true),
            Wish::Cancel(prefix) => (prefix, false),
        };
        let changes = if wants {
            self.wanted.insert(prefix.clone(), ()).is_none()
        } else {
            self.wanted.remove(&prefix).is_some()
        };
        if !changes {
            return;
        }
        for (peer, untold) in &mut self.peers {
            // States alternate, so what is untold is the opposite, and now untrue.
            if untold.remove(&prefix).is_none() {
                if untold.is_empty() {
                    woken.push(*peer);
                }
                untold.insert(prefix.clone(), wants);
            }
        }
    }

    /// The next wish that a publisher must be told; the caller tells it.
    pub fn next(&mut self, peer: PeerId) -> Option<Wish> {
        let (prefix, wants) = self.peers.get_mut(&peer)?.pop_first()?;
        Some(if wants { Wish::Subscribe(prefix) } else { Wish::Cancel(prefix) })
    }

    /// Whether a topic is wanted. Publishers may send what is not.
    #[must_use]
    pub fn wants(&self, topic: &[u8]) -> bool {
        let mut found = false;
        walk(&self.wanted, topic, |()| {
            found = true;
            false
        });
        found
    }

    /// What is wanted, in order.
    pub fn wanted(&self) -> impl Iterator<Item = &Bytes> {
        self.wanted.keys()
    }

    /// The publishers, in the order of their numbers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }
}

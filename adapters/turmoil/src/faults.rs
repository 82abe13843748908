//! Faults of connections that a network below cannot make: of what is written, and by whom.
//!
//! turmoil loses, delays and cuts whole segments between two hosts. What a half-dead peer or a
//! broken proxy does to a stream (answers nothing, ends in the middle of a frame, writes nonsense)
//! is done here, at the writing end; the reading end is the ordinary one and knows nothing of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lictor_kernel::{NodeId, Prng};

/// What is written in the place of what waits for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Spoil {
    /// The first half of it, and then the end of the connection.
    Partial,
    /// So many bytes that mean nothing; the connection goes on.
    Garbage {
        /// How many.
        bytes: usize,
        /// Of which ones.
        seed: u64,
    },
}

/// The faults of a simulation, shared by the transports of all its nodes.
#[derive(Debug, Default)]
pub struct WireFaults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By pair, the lower node first: how many faults refuse it.
    refused: BTreeMap<(NodeId, NodeId), u32>,
    /// By direction: how many faults swallow it.
    half_open: BTreeMap<(NodeId, NodeId), u32>,
    /// By direction: what is to be written next.
    spoils: BTreeMap<(NodeId, NodeId), Spoil>,
}

fn change(counts: &mut BTreeMap<(NodeId, NodeId), u32>, pair: (NodeId, NodeId), begins: bool) {
    let count = counts.entry(pair).or_default();
    *count = if begins { count.saturating_add(1) } else { count.saturating_sub(1) };
}

impl WireFaults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection between two nodes ends with its next write, a beat at the latest, and new
    /// ones are refused; or they are no longer.
    pub fn refuse(&self, a: NodeId, b: NodeId, begins: bool) {
        change(&mut self.state().refused, (a.min(b), a.max(b)), begins);
    }

    /// What one node writes to another comes to nothing, while the connection stays open; or it
    /// comes again.
    pub fn half_open(&self, from: NodeId, to: NodeId, begins: bool) {
        change(&mut self.state().half_open, (from, to), begins);
    }

    /// The next write of one node to another is another one, once.
    pub fn spoil(&self, from: NodeId, to: NodeId, spoil: Spoil) {
        self.state().spoils.insert((from, to), spoil);
    }

    /// What was to be spoilt and was not is not.
    pub fn heal(&self) {
        self.state().spoils.clear();
    }

    pub(crate) fn is_refused(&self, a: NodeId, b: NodeId) -> bool {
        self.state().refused.get(&(a.min(b), a.max(b))).is_some_and(|count| *count > 0)
    }

    pub(crate) fn is_half_open(&self, from: NodeId, to: NodeId) -> bool {
        self.state().half_open.get(&(from, to)).is_some_and(|count| *count > 0)
    }

    pub(crate) fn spoilt(&self, from: NodeId, to: NodeId) -> Option<Spoil> {
        self.state().spoils.remove(&(from, to))
    }
}

/// Bytes that mean nothing.
pub(crate) fn garbage(bytes: usize, seed: u64) -> Vec<u8> {
    let mut prng = Prng::new(seed);
    let mut garbage = Vec::with_capacity(bytes);
    while garbage.len() < bytes {
        let left = bytes - garbage.len();
        garbage.extend(prng.next_u64().to_le_bytes().into_iter().take(left));
    }
    garbage
}

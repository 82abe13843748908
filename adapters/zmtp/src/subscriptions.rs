//! Who wants which topics: prefixes in order, and the peers of each.
//!
//! A topic is wanted by whoever has subscribed to a prefix of it. All prefixes of a topic are found
//! by going down the ordered set: the greatest entry that is not above the topic either is a prefix
//! of it, or says by its first difference how short the next one must be. So a topic costs a few
//! looks and at worst one for each of its bytes, and a subscription costs one entry. The
//! alternative, a trie of bytes, is a little faster and takes a node for each byte of each
//! subscription, which is what a hostile peer would send.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use bytes::Bytes;

use crate::PeerId;

/// A wish of a subscriber, on its way to publishers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wish {
    /// It wants messages whose topic begins so.
    Subscribe(Bytes),
    /// It wants them no more.
    Cancel(Bytes),
}

/// The prefixes, and the peers of each.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Subscriptions(BTreeMap<Bytes, BTreeSet<PeerId>>);

impl Subscriptions {
    /// Adds a peer to a prefix, and says whether it is the first one there.
    pub(crate) fn add(&mut self, prefix: Bytes, peer: PeerId) -> bool {
        let peers = self.0.entry(prefix).or_default();
        peers.insert(peer);
        peers.len() == 1
    }

    /// Takes a peer from a prefix, and says whether it was the last one there.
    pub(crate) fn remove(&mut self, prefix: &[u8], peer: PeerId) -> bool {
        let Some(peers) = self.0.get_mut(prefix) else { return false };
        if !peers.remove(&peer) || !peers.is_empty() {
            return false;
        }
        self.0.remove(prefix);
        true
    }

    /// Calls `found` with the peers of each prefix of `topic`, the longest prefix first.
    pub(crate) fn matching(&self, topic: &[u8], mut found: impl FnMut(&BTreeSet<PeerId>)) {
        walk(&self.0, topic, |peers| {
            found(peers);
            true
        });
    }
}

/// Visits the entries whose key is a prefix of `topic`, the longest first, until `visit` says no.
pub(crate) fn walk<V>(
    entries: &BTreeMap<Bytes, V>,
    topic: &[u8],
    mut visit: impl FnMut(&V) -> bool,
) {
    let mut rest = Some(topic);
    while let Some(key) = rest {
        let below = (Bound::Unbounded, Bound::Included(key));
        let Some((entry, value)) = entries.range::<[u8], _>(below).next_back() else { return };
        let common = entry.iter().zip(key).take_while(|(a, b)| a == b).count();
        let is_prefix = common == entry.len();
        if is_prefix && !visit(value) {
            return;
        }
        // Every further prefix is shorter than this one, or than the first difference.
        let next = if is_prefix { common.checked_sub(1) } else { Some(common) };
        rest = next.and_then(|length| key.get(..length));
    }
}

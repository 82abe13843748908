//! The list of all names, as it goes out to one peer: in bursts, as small as the wire needs.
//!
//! A wire whose queue is shorter than a burst loses the end of each. That the next list begins one
//! further on is not enough: a name that was brought ends with its lease before its turn comes
//! again, and the peer never holds all at once. So a list that is asked for again soon has bursts
//! of half the size, down to where it would take too long for a lease. Nobody can tell us what the
//! queue holds: it may be anywhere on the way.

use core::ops::Bound;
use core::time::Duration;

use super::{Frame, Membership, Output, World, after};
use crate::{Instant, NameId, NodeId};

/// How far the list for one peer is.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct List {
    /// It is on its way: when it goes on.
    pub(super) burst_at: Option<Instant>,
    /// Claims left of it.
    left: usize,
    /// The last name that was sent in a list.
    cursor: Option<NameId>,
    /// How often the size of a burst is halved.
    halved: u32,
    /// When the last burst of the list before was sent, or that list broke off.
    ended: Option<Instant>,
}

impl List {
    /// It does not go on. What was learnt of the wire is kept: it may be what the peer is given up
    /// for.
    pub(super) fn breaks_off(&mut self, now: Instant) {
        if self.burst_at.take().is_some() {
            self.ended = Some(now);
        }
    }
}

impl Membership {
    pub(super) fn begin_list(&mut self, now: Instant, node: NodeId, world: &mut World<'_>) {
        // One more than all, so that the next list begins one further on: a wire that takes only
        // the head of each burst takes another one each time.
        let all = self.published.len();
        let all = if all == 0 { 0 } else { all.saturating_add(1) };
        let (lease, most) = (self.config.lease, self.config.burst.max(1));
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let list = &mut peer.list;
        // One list at a time: what is on its way goes on, and the next answer tells the rest.
        if list.burst_at.is_some() {
            return;
        }
        // Of one that does not answer nobody knows whether anything is brought to it.
        if let Some(ended) = list.ended.filter(|_| peer.detector.is_some()) {
            if now.saturating_since(ended) > lease {
                list.halved = list.halved.saturating_sub(1);
            } else if size(most, list.halved) > 1 {
                // What is more than all is no size of a burst: halving it would change nothing.
                while size(most, list.halved) > all.max(1) {
                    list.halved = list.halved.saturating_add(1);
                }
                list.halved = list.halved.saturating_add(1);
            }
        }
        list.left = all;
        self.burst(now, node, world);
    }

    /// Sends the next claims of the list.
    pub(super) fn burst(&mut self, now: Instant, node: NodeId, world: &mut World<'_>) {
        let all = self.published.len();
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let list = &mut peer.list;
        let most = self.config.burst.max(1);
        let least = least(all, self.config.burst_pause, self.config.lease);
        let count = list.left.min(size(most, list.halved).max(least.min(most)));
        let start = list.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let after_cursor = self.published.range((start, Bound::Unbounded));
        for (name, published) in
            after_cursor.chain(&self.published).chain(&self.published).take(count)
        {
            let (epoch, name, claim) = (self.config.epoch, *name, published.claim);
            world.out.push(Output::Send(node, Frame::Claim { epoch, name, claim }));
            list.cursor = Some(name);
        }
        list.left = list.left.saturating_sub(count);
        let pause = now.saturating_add(self.config.burst_pause).max(after(now));
        list.burst_at = (list.left > 0).then_some(pause);
        if list.burst_at.is_none() && count > 0 {
            list.ended = Some(now);
        }
    }
}

/// Claims of a burst, after so many halvings.
fn size(most: usize, halved: u32) -> usize {
    most.checked_shr(halved).unwrap_or(0).max(1)
}

/// The smallest burst with which a list of so many names takes no more than half a lease.
fn least(all: usize, pause: Duration, lease: Duration) -> usize {
    let takes = pause.as_nanos().saturating_mul(all as u128);
    let least = takes.div_ceil((lease.as_nanos() / 2).max(1));
    usize::try_from(least).unwrap_or(usize::MAX)
}

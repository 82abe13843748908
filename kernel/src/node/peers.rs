//! The node among others: what its membership decides, and the names that come and go with peers.

use alloc::vec::Vec;

use super::{Action, Callee, Node};
use crate::membership::{self, AddPeerError, Frame, Output, PeerChange, TagSet, TagSets};
use crate::{ExitReason, Instant, InternError, Membership, NameId, NodeId};

impl Node {
    /// Makes a node a peer: it is asked from now on until it answers, and watched while it does.
    /// Says whether it is new. Pushes the first question. (M1)
    ///
    /// # Errors
    /// [`AddPeerError`]; nothing has changed then.
    pub fn add_peer(
        &mut self,
        now: Instant,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) -> Result<bool, AddPeerError> {
        let added = self
            .with_membership(actions, |membership, world| membership.add_peer(now, node, world));
        if self.membership.has_peers() {
            self.publish_all(actions);
        }
        self.carry_remote(now, actions);
        added
    }

    /// Gives a peer up and asks it no more; says whether it was one. (M3)
    pub fn remove_peer(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) -> bool {
        self.peer_down(now, node, actions);
        let removed = self.membership.remove_peer(node);
        self.publish_to_nobody();
        self.forget_owner(now, node);
        self.carry_remote(now, actions);
        removed
    }

    /// Says goodbye to every peer that is there: their leases of our names end at once. (M7)
    ///
    /// A goodbye says as well that nothing runs here for others any more, and that nothing will
    /// again in this boot. While something does, nothing is said, and the peers find out. (H14)
    pub fn leave(&mut self, actions: &mut Vec<Action>) {
        self.host.leave();
        if self.host.alive() > 0 {
            return;
        }
        self.membership.leave(&mut self.outputs.0);
        let goodbyes = self.outputs.0.drain(..).filter_map(|output| match output {
            Output::Send(node, frame) => Some(Action::Send(node, frame)),
            Output::Peer(..) => None,
        });
        actions.extend(goodbyes);
    }

    /// The id of a name in a frame that comes in. It is forgotten again when nothing refers to it.
    ///
    /// # Errors
    /// As [`Names::intern`](crate::Names::intern).
    pub fn intern_remote(&mut self, name: &str) -> Result<NameId, InternError> {
        // An id that is about to be forgotten must not be given out again.
        self.forget_released();
        self.names.intern(name)
    }

    /// The number of a set of capabilities in a frame that comes in. `O(tags * log n)`.
    ///
    /// # Errors
    /// As [`Names::intern_tag`](crate::Names::intern_tag), and at the limit of sets.
    pub fn intern_tags<'a>(
        &mut self,
        tags: impl IntoIterator<Item = &'a str>,
    ) -> Result<TagSet, InternError> {
        let mut set = Vec::new();
        for tag in tags {
            set.push(self.tags.intern_tag(tag)?);
        }
        set.sort_unstable();
        set.dedup();
        self.sets.intern(&set)
    }

    /// Who the peers are, and whether they answer.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The interned sets of capabilities.
    #[must_use]
    pub const fn tag_sets(&self) -> &TagSets {
        &self.sets
    }

    pub(super) fn hear(
        &mut self,
        now: Instant,
        node: NodeId,
        frame: Frame,
        actions: &mut Vec<Action>,
    ) {
        // A stranger may become the first peer.
        if self.membership.has_peers() || matches!(frame, Frame::Hello { .. }) {
            self.publish_all(actions);
        }
        self.with_membership(actions, |membership, world| {
            membership.hear(now, node, frame, world);
        });
        if let Frame::Bye { epoch } = frame {
            self.work.0.bye(node, epoch);
        }
        if let Frame::Claim { name, .. } | Frame::Withdraw { name, .. } = frame {
            self.release_name(name);
        }
        self.release_unclaimed();
        self.publish_to_nobody();
    }

    pub(super) fn peer_reachable(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) {
        self.with_membership(actions, |membership, world| {
            membership.peer_reachable(now, node, world.out);
        });
        if self.membership.has_peers() {
            // A stranger may have become the first peer.
            self.publish_all(actions);
        }
    }

    pub(super) fn fire_peers(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(node) = self.membership.pop_due(now) {
            self.with_membership(actions, |membership, world| {
                membership.fire(now, node, world);
            });
            if !self.membership.is_peer(node) {
                self.forget_silent(node);
            }
        }
        self.publish_to_nobody();
    }

    /// A peer is gone, whether it was known or not: so are its names, and the calls to it have
    /// nobody to answer them.
    pub(super) fn peer_down(&mut self, now: Instant, node: NodeId, actions: &mut Vec<Action>) {
        self.with_membership(actions, |membership, world| {
            membership.peer_down(now, node, world);
        });
        self.lose(node, actions);
    }

    fn lose(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        self.registry.node_down(node, &mut self.changes.0);
        actions.extend(self.changes.0.drain(..).map(Action::Watch));
        self.calls.callee_down(Callee::Node(node), ExitReason::NoConnection, &mut self.ended.0);
        actions.extend(self.ended.0.drain(..).map(Action::CallEnded));
        self.release_unclaimed();
    }

    /// Lets the membership act, and carries what it decided into the other parts.
    fn with_membership<R>(
        &mut self,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Membership, &mut membership::World<'_>) -> R,
    ) -> R {
        let mut out = core::mem::take(&mut self.outputs.0);
        let mut world = membership::World {
            registry: &mut self.registry,
            names: &self.names,
            sets: &mut self.sets,
            changes: &mut self.changes.0,
            out: &mut out,
            found: &mut self.detections.0,
        };
        let result = act(&mut self.membership, &mut world);
        actions.extend(self.changes.0.drain(..).map(Action::Watch));
        for output in out.drain(..) {
            match output {
                Output::Send(node, frame) => actions.push(Action::Send(node, frame)),
                Output::Peer(node, change) => {
                    actions.push(Action::Peer(node, change));
                    self.work.0.peer(node, change);
                    if change == PeerChange::Down {
                        self.lose(node, actions);
                    }
                }
            }
        }
        self.outputs.0 = out;
        result
    }

    /// From now on changes of local names are published, and what there is, is.
    fn publish_all(&mut self, actions: &mut Vec<Action>) {
        if self.registry.edited().is_none() {
            self.registry.keep_track(true);
            let locals: Vec<NameId> = self.registry.locals().collect();
            if let Some(edited) = self.registry.edited() {
                edited.locals = locals;
            }
            self.publish(actions);
        }
    }

    /// Without peers there is nothing to keep track of.
    fn publish_to_nobody(&mut self) {
        if !self.membership.has_peers() && self.registry.edited().is_some() {
            self.registry.keep_track(false);
            self.membership.forget_published();
        }
    }

    /// Tells the peers how the local names that were edited are doing now.
    pub(super) fn publish(&mut self, actions: &mut Vec<Action>) {
        let Some(edited) = self.registry.edited() else { return };
        if edited.locals.is_empty() {
            return;
        }
        let mut names = core::mem::take(&mut edited.locals);
        names.sort_unstable();
        names.dedup();
        self.with_membership(actions, |membership, world| {
            for name in &names {
                membership.publish(*name, world);
            }
        });
        names.clear();
        if let Some(edited) = self.registry.edited() {
            edited.locals = names;
        }
    }

    /// Names that lost their last claim can go.
    pub(super) fn release_unclaimed(&mut self) {
        let Some(edited) = self.registry.edited() else { return };
        let mut names = core::mem::take(&mut edited.claims);
        for name in names.drain(..) {
            self.release_name(name);
        }
        if let Some(edited) = self.registry.edited() {
            edited.claims = names;
        }
    }

    /// A name that nothing refers to is forgotten: at once if nobody else was told of it, else
    /// with the next call.
    pub(super) fn release_name(&mut self, name: NameId) {
        if self.uses(name) {
            return;
        }
        if self.registry.edited().is_some() {
            self.released.insert(name);
        } else {
            self.names.remove(name);
        }
    }

    pub(super) fn forget_released(&mut self) {
        while let Some(name) = self.released.pop_first() {
            if !self.uses(name) {
                self.names.remove(name);
            }
        }
    }
}

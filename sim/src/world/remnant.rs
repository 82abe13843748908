//! A boot of a node that is taken for dead and lives on: the operator has started the node anew,
//! and the older one was only out of sight. It goes on with what it runs for other nodes, cut off
//! from all, until its leases are over; its own tree is gone with its place, since a node has one
//! boot at a time that owns (rule H12).
//!
//! It takes no part in anything else: its mailboxes are gone with the node, so that its processes
//! get no messages. What counts is that they could.

use lictor_kernel::node::{self, Action, Node};
use lictor_kernel::remote::HOSTED;
use lictor_kernel::{ExitReason, Instant, NameId, supervisor, tree};

use super::process::{Proc, Slot, State};
use super::{Event, World};
use crate::clock::Clock;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, NodeIx, What, Who};

/// An older boot of a node.
#[derive(Debug)]
pub(super) struct Remnant {
    /// Its number, behind those of the nodes.
    pub(super) ix: NodeIx,
    of: NodeIx,
    boot: u32,
    kernel: Node,
    /// The entity behind each of its names.
    who: Vec<Option<Who>>,
    clock: Clock,
    /// When it wants to be woken, on the world's clock.
    pub(super) due: Option<Instant>,
    slots: Vec<Slot>,
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// Whether this is the number of an older boot.
    pub(super) fn is_remnant(&self, node: NodeIx) -> bool {
        usize::from(node.0) >= self.nodes.len()
    }

    fn remnant(&self, node: NodeIx) -> Option<usize> {
        self.remnants.iter().position(|older| older.ix == node)
    }

    /// The clock of a node, or of an older boot of one.
    pub(super) fn clock(&self, node: NodeIx) -> Clock {
        match self.remnant(node) {
            Some(at) => self.remnants[at].clock,
            None => self.nodes[usize::from(node.0) % self.nodes.len()].clock,
        }
    }

    /// The kernel of a node or of an older boot, and who is behind one of its names.
    pub(super) fn kernel_of(&self, node: NodeIx, name: NameId) -> (&Node, Option<Who>) {
        match self.remnant(node) {
            Some(at) => {
                let older = &self.remnants[at];
                (&older.kernel, older.who.get(name.0 as usize).copied().flatten())
            }
            None => {
                let this = &self.nodes[usize::from(node.0) % self.nodes.len()];
                (&this.kernel, this.who(name))
            }
        }
    }

    /// Where the processes of a name on this node may be.
    pub(super) fn slots_of(&self, node: NodeIx, who: Who) -> &[Slot] {
        match self.remnant(node) {
            Some(at) => &self.remnants[at].slots,
            None => &self.agents[usize::from(who.0)].slots,
        }
    }

    pub(super) fn keep_slot(&mut self, node: NodeIx, who: Who, slot: Slot) {
        match self.remnant(node) {
            Some(at) => self.remnants[at].slots.push(slot),
            None => self.agents[usize::from(who.0)].slots.push(slot),
        }
    }

    /// A node is taken for dead and boots anew, and what it runs for others lives on.
    pub(super) fn outlives(&mut self, node: NodeIx) {
        if !self.node(node).on {
            return;
        }
        self.is_gone_at_last(node);
        let older = u8::try_from(self.nodes.len()).unwrap_or(u8::MAX).saturating_add(node.0);
        let mut in_hand = Vec::new();
        let mut slots = Vec::new();
        for (who, host) in (0..).map(Who).zip(&self.hosts) {
            if *host != Some(node) {
                continue;
            }
            for slot in std::mem::take(&mut self.agents[usize::from(who.0)].slots) {
                let proc = &mut self.procs[slot.index as usize];
                proc.node = NodeIx(older);
                proc.passing = false;
                in_hand.extend(proc.in_hand.take());
                slots.push(slot);
            }
        }
        let this = self.node(node);
        let (boot, clock) = (this.boot, this.clock);
        let kernel = std::mem::replace(&mut this.kernel, Node::new(node::Config::default()));
        let who = std::mem::take(&mut this.who);
        // It may stand still, and its older boot goes on all the same.
        let due = this.due.or_else(|| kernel.poll_timeout().map(|at| clock.when(at)));
        self.put(node, What::Outlives(boot, true));
        let (ix, of) = (NodeIx(older), node);
        self.remnants.push(Remnant { ix, of, boot, kernel, who, clock, due, slots });
        self.halt(node);
        for index in in_hand {
            self.messages[index as usize].holder = None;
            self.no_longer_waits(index);
            self.message_ends(node, index, Fate::Gone, Ending::Gone);
        }
        self.boots(node);
    }

    /// The older boot of a node is gone, with what it ran.
    pub(super) fn is_gone_at_last(&mut self, node: NodeIx) {
        let Some(at) = self.remnants.iter().position(|older| older.of == node) else { return };
        let older = self.remnants.remove(at);
        for slot in older.slots {
            if let Some(proc) = self.live(slot) {
                proc.state = State::Gone;
                self.free.push(slot.index);
            }
        }
        self.put(node, What::Outlives(older.boot, false));
    }

    /// Lets the kernel of an older boot act, and carries out what it wants of what it runs.
    pub(super) fn step_remnant(
        &mut self,
        node: NodeIx,
        act: impl FnOnce(&mut Node, Instant, &mut Vec<Action>),
    ) {
        let now = self.now;
        let Some(at) = self.remnant(node) else { return };
        let older = &mut self.remnants[at];
        let mut actions = Vec::new();
        act(&mut older.kernel, older.clock.shows(now), &mut actions);
        older.due = older.kernel.poll_timeout().map(|at| older.clock.when(at));
        for action in actions {
            match action {
                Action::Supervision(
                    action @ (tree::Action::Start { process }
                    | tree::Action::Signal { process, .. }),
                ) if process.supervisor == HOSTED => self.hosts_for_another(node, action),
                Action::Leased { .. } => self.remote_action(node, action),
                // Nobody hears it, and its tree is gone.
                Action::Supervision(_)
                | Action::Status { .. }
                | Action::CallEnded(_)
                | Action::Send(..)
                | Action::Peer(..)
                | Action::Watch(_)
                | Action::Remote(..)
                | Action::Diverted(_)
                | Action::Placed { .. }
                | Action::Hosted { .. } => {}
            }
        }
    }

    pub(super) fn wakes_remnant(&mut self, node: NodeIx) {
        self.step_remnant(node, |kernel, now, actions| kernel.handle_timeout(now, actions));
    }

    /// A process of an older boot has come up.
    pub(super) fn remnant_up(&mut self, slot: Slot) {
        let Some(proc) = self.live(slot) else { return };
        proc.state = State::Up;
        let (node, process, id) = (proc.node, proc.process, proc.id);
        self.put_life(slot, What::Started(process));
        self.tell_host(node, id, supervisor::Event::Started { pid: id.pid });
    }

    /// A process of an older boot has ended.
    pub(super) fn remnant_dies(&mut self, slot: Slot, reason: ExitReason) {
        let Some(&mut Proc { node, process, id, .. }) = self.live(slot) else { return };
        self.put_life(slot, What::Exited(process, reason));
        if let Some(proc) = self.live(slot) {
            proc.state = State::Gone;
        }
        self.free.push(slot.index);
        if let Some(at) = self.remnant(node) {
            self.remnants[at].slots.retain(|other| *other != slot);
        }
        self.tell_host(node, id, supervisor::Event::Exited { pid: id.pid, reason });
    }
}

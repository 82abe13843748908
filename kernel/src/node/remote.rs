//! The node as owner and as host: what it decides about children on other nodes, and what it runs
//! for others.
//!
//! The parts tell each other facts: a peer that is given up ends processes, their ends are facts to
//! supervisors, and what these want next is an order to a host. All of it is one queue of work that
//! is empty between calls, worked off in the order in which it came up.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use super::{Action, Callee, DeclareNameError, Node};
use crate::membership::PeerChange;
use crate::remote::{Decision, Frame, HOSTED, Host, Hosting, Placement, Stage};
use crate::supervisor::Event;
use crate::{
    ChildKind, Declaration, DeclareError, ExitReason, Instant, NameId, NodeId, Owner, ProcessId,
    Signal, Status, tree,
};

/// What is still to be carried on, and buffers for what comes of it.
#[derive(Default, Debug)]
pub(super) struct Work {
    items: VecDeque<Item>,
    decisions: Vec<Decision>,
    hosting: Vec<Hosting>,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Peer(NodeId, PeerChange),
    Bye(NodeId, u64),
    Start(ProcessId),
    Signal(ProcessId, Signal),
    Decision(Decision),
    Hosting(Hosting),
}

impl Work {
    pub(super) fn peer(&mut self, node: NodeId, change: PeerChange) {
        self.items.push_back(Item::Peer(node, change));
    }

    pub(super) fn bye(&mut self, node: NodeId, epoch: u64) {
        self.items.push_back(Item::Bye(node, epoch));
    }
}

impl Node {
    /// Declares the name of a child that runs on another node, before its first start; its child
    /// has the same number. The name is announced by that node and not by this one. (H1, H13)
    ///
    /// # Errors
    /// [`DeclareNameError`]: a bad name, one that is taken, or a limit. Nothing has changed then.
    pub fn place(&mut self, name: &str, node: NodeId) -> Result<NameId, DeclareNameError> {
        self.forget_released();
        let id = self.names.intern(name).map_err(DeclareNameError::Name)?;
        let placed = if self.is_local(id) {
            Err(DeclareNameError::Registry(DeclareError::Taken))
        } else {
            self.placement.place(id, node).map_err(DeclareNameError::Place)
        };
        if !self.uses(id) {
            self.names.remove(id);
        }
        placed.map(|()| id)
    }

    /// This node may run agents of this name for others. The name is declared when one of them
    /// orders it. (H5)
    ///
    /// # Errors
    /// [`DeclareNameError`]: a bad name or capability, or a limit. Nothing has changed then.
    pub fn offer(&mut self, name: &str, capabilities: &[&str]) -> Result<NameId, DeclareNameError> {
        self.forget_released();
        let mut tags = Vec::with_capacity(capabilities.len());
        for capability in capabilities {
            tags.push(self.tags.intern_tag(capability).map_err(DeclareNameError::Capability)?);
        }
        let id = self.names.intern(name).map_err(DeclareNameError::Name)?;
        if !self.host.offer(id, tags) {
            if !self.uses(id) {
                self.names.remove(id);
            }
            return Err(DeclareNameError::TooManyOffers);
        }
        Ok(id)
    }

    /// What runs here for others is asked to end, and killed at the deadline; nothing more is
    /// started for them in this boot. (H14)
    pub fn stop_hosting(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        actions: &mut Vec<Action>,
    ) {
        self.with_host(|host, out| host.shutdown(now, deadline, out));
        self.carry_remote(now, actions);
    }

    /// The children of this node on others.
    #[must_use]
    pub const fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The children of others on this node.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Whether anything refers to a name, so that it must keep its number.
    pub(super) fn uses(&self, name: NameId) -> bool {
        self.registry.refers_to(name)
            || self.placement.node_of(name).is_some()
            || self.host.offered(name).is_some()
    }

    fn is_local(&self, name: NameId) -> bool {
        matches!(self.registry.owner(name), Some((Owner::Local(_), _)))
    }

    /// Queues what the tree wants of a child on another node, and says whether it is one.
    pub(super) fn is_for_another(&mut self, action: tree::Action) -> bool {
        let (process, item) = match action {
            tree::Action::Start { process } => (process, Item::Start(process)),
            tree::Action::Signal { process, signal } => (process, Item::Signal(process, signal)),
            tree::Action::Supervisor { .. }
            | tree::Action::Removed { .. }
            | tree::Action::Report { .. } => return false,
        };
        let is = self.placement.node_of(NameId(process.pid.child.0)).is_some();
        if is {
            self.work.0.items.push_back(item);
        }
        is
    }

    /// The status of a child on another node is kept by its owner, and announced by its host.
    pub(super) fn set_placed(
        &mut self,
        name: NameId,
        status: Status,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(before) = self.placement.status(name) else { return false };
        if before != status {
            self.placement.set_status(name, status);
            actions.push(Action::Status { name, status });
        }
        true
    }

    pub(super) fn hear_remote(&mut self, now: Instant, node: NodeId, frame: Frame) {
        if !self.membership.is_peer(node) {
            return;
        }
        match frame {
            Frame::Order { name, .. } => {
                let is_free = !self.is_local(name) && self.placement.node_of(name).is_none();
                self.with_host(|host, out| host.hear(now, node, frame, is_free, out));
            }
            Frame::Renewed { .. } => {
                self.with_host(|host, out| host.hear(now, node, frame, true, out));
            }
            Frame::Report { .. } | Frame::Renew { .. } => {
                self.with_placement(|placement, out| placement.hear(now, node, frame, out));
            }
        }
    }

    pub(super) fn hosted_fact(&mut self, now: Instant, fact: Event, actions: &mut Vec<Action>) {
        let ended = match fact {
            Event::Started { .. } => None,
            Event::StartIgnored { pid } | Event::StartFailed { pid } => {
                Some((pid, ExitReason::Crashed))
            }
            Event::Exited { pid, reason } => Some((pid, reason)),
        };
        if let Some((pid, reason)) = ended {
            let callee = Callee::Process(ProcessId { supervisor: HOSTED, pid });
            self.calls.callee_down(callee, reason, &mut self.ended.0);
            actions.extend(self.ended.0.drain(..).map(Action::CallEnded));
        }
        self.with_host(|host, out| host.fact(now, fact, out));
    }

    pub(super) fn forget_owner(&mut self, now: Instant, node: NodeId) {
        self.with_host(|host, out| host.forget(now, node, out));
    }

    pub(super) fn forget_silent(&mut self, node: NodeId) {
        self.with_host(|host, _| host.forget_silent(node));
    }

    pub(super) fn fire_remote(&mut self, now: Instant) {
        self.with_placement(|placement, out| placement.handle_timeout(now, out));
        self.with_host(|host, out| host.handle_timeout(now, out));
    }

    fn with_placement(&mut self, act: impl FnOnce(&mut Placement, &mut Vec<Decision>)) {
        let work = &mut self.work.0;
        act(&mut self.placement, &mut work.decisions);
        work.items.extend(work.decisions.drain(..).map(Item::Decision));
    }

    fn with_host(&mut self, act: impl FnOnce(&mut Host, &mut Vec<Hosting>)) {
        let work = &mut self.work.0;
        act(&mut self.host, &mut work.hosting);
        work.items.extend(work.hosting.drain(..).map(Item::Hosting));
    }

    /// Carries on what the parts want of each other until nothing is left. Ends because each fact
    /// answers one order, and an order is answered at once only when it is to end.
    pub(super) fn carry_remote(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(item) = self.work.0.items.pop_front() {
            match item {
                Item::Peer(node, change) => self.peer_changed(now, node, change),
                Item::Bye(node, boot) => {
                    self.with_placement(|placement, out| placement.left(now, node, boot, out));
                    self.with_host(|host, out| host.left(now, node, boot, out));
                }
                Item::Start(process) => {
                    self.with_placement(|placement, out| placement.start(now, process, out));
                }
                Item::Signal(process, signal) => {
                    self.with_placement(|placement, out| {
                        placement.signal(now, process, signal, out);
                    });
                }
                Item::Decision(decision) => self.decided(now, decision, actions),
                Item::Hosting(hosting) => self.hosts(hosting, actions),
            }
        }
    }

    fn peer_changed(&mut self, now: Instant, node: NodeId, change: PeerChange) {
        match change {
            PeerChange::Up(boot) => {
                self.with_placement(|placement, out| placement.peer_up(now, node, boot, out));
                self.with_host(|host, out| host.peer_up(now, node, boot, out));
            }
            PeerChange::Down => {
                self.with_placement(|placement, out| placement.peer_down(now, node, out));
                self.with_host(|host, out| host.peer_down(now, node, out));
            }
            PeerChange::Suspect => {}
        }
    }

    fn decided(&mut self, now: Instant, decision: Decision, actions: &mut Vec<Action>) {
        match decision {
            Decision::Send(node, frame) => actions.push(Action::Remote(node, frame)),
            Decision::Released(name) => self.release_name(name),
            Decision::Tell(process, node, stage) => {
                actions.push(Action::Placed { process, node, stage });
                let pid = process.pid;
                let fact = match stage {
                    Stage::Waiting | Stage::Ordered(_) => return,
                    Stage::Started => Event::Started { pid },
                    Stage::Ignored => Event::StartIgnored { pid },
                    Stage::Failed(_) => Event::StartFailed { pid },
                    Stage::Exited(reason) => Event::Exited { pid, reason },
                };
                self.note_fact(process.supervisor, fact, actions);
                self.with_tree(actions, |tree, out| {
                    tree.handle(now, process.supervisor, fact, out);
                });
            }
        }
    }

    fn hosts(&mut self, hosting: Hosting, actions: &mut Vec<Action>) {
        match hosting {
            Hosting::Send(node, frame) => actions.push(Action::Remote(node, frame)),
            Hosting::Start(process) => {
                actions.push(Action::Supervision(tree::Action::Start { process }));
            }
            Hosting::Signal(process, signal) => {
                actions.push(Action::Supervision(tree::Action::Signal { process, signal }));
            }
            Hosting::Leased(process, until) => actions.push(Action::Leased { process, until }),
            Hosting::Take(name) => self.take_name(name, actions),
            Hosting::GiveBack(name) => {
                self.put_status(name, Status::Down, actions);
                actions.push(Action::Hosted { name, here: false });
                self.retract(name, actions);
            }
            Hosting::Status(_, Some(process), status) => {
                self.set_process(process, status, actions);
                self.publish(actions);
            }
            Hosting::Status(name, None, status) => {
                self.put_status(name, status, actions);
                self.publish(actions);
            }
        }
    }

    fn take_name(&mut self, name: NameId, actions: &mut Vec<Action>) {
        let tags = self.host.offered(name).map(<[NameId]>::to_vec).unwrap_or_default();
        let declaration = Declaration {
            process: None,
            status: Status::Starting,
            kind: ChildKind::Worker,
            capabilities: &tags,
        };
        // The host has asked whether it is free; what the registry has no room for runs without
        // being found by others.
        let _ = self.registry.declare(name, declaration, &mut self.changes.0);
        let changes = mem::take(&mut self.changes.0);
        actions.extend(changes.into_iter().map(Action::Watch));
        actions.push(Action::Hosted { name, here: true });
        self.publish(actions);
    }
}

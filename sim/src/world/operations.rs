//! What the plan lets somebody do.

use std::sync::Arc;

use lictor_kernel::node::Action;
use lictor_kernel::tree::{Body, PlannedChild};
use lictor_kernel::{ChildId, ExitReason, Instant, NameId, Node, Shutdown, Status, SupervisorId};

use super::process::State;
use super::{Event, World};
use crate::marks::Mark;
use crate::model::tree::{Call, PLAN};
use crate::plan::Act;
use crate::queue::EventQueue;
use crate::record::{MessageId, NodeIx, What, Who};

impl<Q: EventQueue<Event>> World<'_, Q> {
    pub(super) fn operate(&mut self, number: u32) {
        let operation = self.plan.operations[number as usize];
        let node = operation.node;
        let this = self.node(node);
        if !this.on {
            return;
        }
        self.put(node, What::Operation(number));
        let id = MessageId::of_operation(number);
        match operation.act {
            Act::Tell(to) => self.send(node, id, to, None),
            Act::Ask(to, within) => self.send(node, id, to, Some(within)),
            Act::Broadcast => self.broadcast(node, id),
            Act::Spawn(who) => self.refused(node, number, Self::spawn, who),
            Act::Despawn(who) => self.refused(node, number, Self::despawn, who),
            Act::Terminate(who) => self.refused(node, number, Self::terminate, who),
            Act::Restart(who) => self.refused(node, number, Self::restart, who),
            Act::Suspend(who) => self.suspend(who),
            Act::Resume(who) => self.resume(who),
            Act::End(who, reason) => self.end(who, reason),
            Act::Stop(within) => self.stop_tree(node, within),
            Act::TellWithin(to, ttl) => self.tell_within(node, id, to, ttl),
            Act::Publish(by, pattern) => self.publish(node, number, by, pattern),
            Act::TellCapable(tag) => self.tell_capable(node, number, tag),
            Act::SendAfter(who, delay) => self.send_after(node, number, who, delay),
            Act::Look(who) => self.look(node, number, who),
            Act::Claim(who) if self.claim(node, who) => {}
            Act::Unclaim(who) if self.unclaim(node, who) => {}
            Act::Claim(_) | Act::Unclaim(_) => self.put(node, What::Refused(number)),
        }
    }

    /// Carries out a command, and says if nothing comes of it.
    fn refused(
        &mut self,
        node: NodeIx,
        number: u32,
        command: fn(&mut Self, Who) -> bool,
        who: Who,
    ) {
        if !command(self, who) {
            self.put(node, What::Refused(number));
        }
    }

    /// A message to everybody who can be reached, in the order of their numbers.
    fn broadcast(&mut self, node: NodeIx, id: MessageId) {
        let scenario = Arc::clone(&self.plan.scenario);
        for (who, _) in scenario.all() {
            if scenario.agent(who).is_some() && self.node(node).name(who).is_some() {
                self.send(node, MessageId { copy: Some(who), ..id }, who, None);
            }
        }
    }

    /// An agent ends by itself.
    pub(super) fn end(&mut self, who: Who, reason: ExitReason) {
        let slots = self.agents[usize::from(who.0)].slots.clone();
        for slot in slots {
            if self.live(slot).is_some_and(|proc| proc.state == State::Up) {
                self.dies(slot, reason);
            }
        }
    }

    fn parent(&self, who: Who) -> Option<Who> {
        self.plan.scenario.entity(who).parent
    }

    /// Whether the child was admitted.
    fn spawn(&mut self, who: Who) -> bool {
        let node = self.node_of(who);
        let Some(parent) = self.parent(who) else { return false };
        let this = self.node(node);
        let Some(supervisor) = this.supervisor(parent) else { return false };
        if !this.on || this.name(who).is_some_and(|name| this.kernel.registry().contains(name)) {
            return false;
        }
        let again = this.name(who).is_some();
        let kind = self.plan.scenario.kind(who);
        if !self.declare(node, who, kind) {
            return false;
        }
        if again {
            self.recorder.reach(Mark::NameReused);
        }
        let Some(name) = self.node(node).name(who) else { return false };
        let spec = self.plan.scenario.entity(who).spec;
        let child = PlannedChild { id: ChildId(name.0), spec, body: Body::Worker };
        let state = &mut self.agents[usize::from(who.0)];
        state.suspended = false;
        let call = Call::Spawn(supervisor, child.clone());
        self.step_tree(
            node,
            |_| call,
            |kernel, now, actions| {
                let spawned = kernel.spawn(now, supervisor, child, Some(PLAN), actions).is_ok();
                if !spawned {
                    kernel.retract(name, actions);
                }
                spawned
            },
        )
    }

    fn despawn(&mut self, who: Who) -> bool {
        let how = Some(Shutdown::BrutalKill);
        let call = |supervisor, child| Call::Terminate(supervisor, child, how);
        self.command(who, call, |kernel, now, supervisor, child, actions| {
            kernel.terminate_child(now, supervisor, child, how, actions).is_ok()
        })
    }

    /// A supervisor that is busy refuses; whoever asks may ask again.
    fn terminate(&mut self, who: Who) -> bool {
        let call = |supervisor, child| Call::Terminate(supervisor, child, None);
        self.command(who, call, |kernel, now, supervisor, child, actions| {
            kernel.terminate_child(now, supervisor, child, None, actions).is_ok()
        })
    }

    fn restart(&mut self, who: Who) -> bool {
        self.command(who, Call::Restart, |kernel, now, supervisor, child, actions| {
            kernel.restart_child(now, supervisor, child, actions).is_ok()
        })
    }

    fn command(
        &mut self,
        who: Who,
        call: impl FnOnce(SupervisorId, ChildId) -> Call,
        act: impl FnOnce(&mut Node, Instant, SupervisorId, ChildId, &mut Vec<Action>) -> bool,
    ) -> bool {
        let node = self.node_of(who);
        let Some(parent) = self.parent(who) else { return false };
        let this = self.node(node);
        let (Some(NameId(id)), Some(supervisor), true) =
            (this.name(who), this.supervisor(parent), this.on)
        else {
            return false;
        };
        let call = call(supervisor, ChildId(id));
        self.step_tree(
            node,
            |_| call,
            |kernel, now, actions| act(kernel, now, supervisor, ChildId(id), actions),
        )
    }

    /// The node says that it has a name, which is that of an agent of another one. There is no
    /// process behind it.
    fn claim(&mut self, node: NodeIx, who: Who) -> bool {
        let has_left = self.node(node).ended;
        if has_left
            || self.hosts[usize::from(who.0)].is_some()
            || self.node_of(who) == node
            || self.node(node).claims.contains_key(&who)
        {
            return false;
        }
        let kind = self.plan.scenario.kind(who);
        let claimed = self.declare(node, who, kind);
        self.reset_due(node);
        claimed
    }

    /// The node does not say so any more.
    fn unclaim(&mut self, node: NodeIx, who: Who) -> bool {
        let Some(name) = self.node(node).claims.remove(&who) else { return false };
        self.step_kernel(node, |kernel, _, actions| kernel.retract(name, actions));
        true
    }

    fn suspend(&mut self, who: Who) {
        let node = self.home_of(who);
        if self.up(who).is_none() || self.agents[usize::from(who.0)].suspended {
            return;
        }
        self.agents[usize::from(who.0)].suspended = true;
        self.set_status(node, who, Status::Suspended);
    }

    pub(super) fn resume(&mut self, who: Who) {
        let node = self.home_of(who);
        if !std::mem::take(&mut self.agents[usize::from(who.0)].suspended) {
            return;
        }
        if self.up(who).is_some() {
            self.set_status(node, who, Status::Up);
        }
        self.next_message(who);
    }

    /// As the driver does: a suspension is the name's.
    pub(super) fn set_status(&mut self, node: NodeIx, who: Who, status: Status) {
        let scenario = Arc::clone(&self.plan.scenario);
        let this = self.node(node);
        let text = &scenario.entity(who).name;
        let Some(name) = this.name(who).or_else(|| this.kernel.names().lookup(text)) else {
            return;
        };
        self.step_kernel(node, |kernel, _, actions| {
            // One that is ending already cannot be suspended, and need not be.
            let _ = kernel.set_status(name, status, actions);
        });
        self.put(node, What::Status(who, status));
    }
}

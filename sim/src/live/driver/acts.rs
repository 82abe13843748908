//! What the plan lets somebody do.

use std::future::Future;
use std::sync::Arc;

use lictor_kernel::Status;
use lictor_runtime::{ControlError, Runtime, Value};

use super::super::ledger::Phase;
use super::super::tree::TYPE;
use super::{Driver, Ground};
use crate::marks::Mark;
use crate::plan::Act;
use crate::record::{MessageId, NodeIx, What, Who};

/// A command to a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Command {
    Spawn,
    Despawn,
    Terminate,
    Restart,
}

impl<G: Ground> Driver<G> {
    pub(super) fn operate(&mut self, number: u32) {
        let operation = self.live.plan.operations[number as usize];
        let node = operation.node;
        if !self.live.with(|ledger| ledger.node(node).on) {
            return;
        }
        self.live.put(node, What::Operation(number));
        let id = MessageId::of_operation(number);
        match operation.act {
            Act::Tell(to) => self.live.tell(node, id, to),
            Act::Ask(to, within) => self.live.ask(node, id, to, within),
            Act::Broadcast => self.broadcast(node, id),
            Act::Spawn(who) => self.command(node, number, Command::Spawn, who),
            Act::Despawn(who) => self.command(node, number, Command::Despawn, who),
            Act::Terminate(who) => self.command(node, number, Command::Terminate, who),
            Act::Restart(who) => self.command(node, number, Command::Restart, who),
            Act::Suspend(who) => self.suspend(who),
            Act::Resume(who) => self.resume(who),
            Act::End(who, reason) => self.live.end(who, reason),
            Act::Stop(within) => self.stop_tree(node, within),
            Act::TellWithin(to, ttl) => self.live.tell_within(node, id, to, ttl),
            Act::TellCapable(tag) => self.live.tell_capable(node, number, tag),
            Act::SendAfter(who, delay) => self.live.send_after(node, number, who, delay),
            // `Engine::can` has refused the plan.
            Act::Claim(_) | Act::Unclaim(_) | Act::Publish(..) | Act::Look(_) => {
                self.live.put(node, What::Refused(number))
            }
        }
    }

    /// A message to everybody on this node, in the order of their numbers.
    fn broadcast(&self, node: NodeIx, id: MessageId) {
        let plan = Arc::clone(&self.live.plan);
        for (who, entity) in plan.scenario.all() {
            let here = entity.node == node && plan.scenario.agent(who).is_some();
            if here && self.live.with(|ledger| ledger.agent(who).declared) {
                self.live.tell(node, MessageId { copy: Some(who), ..id }, who);
            }
        }
    }

    /// Carries out a command, and says if nothing comes of it.
    fn command(&self, node: NodeIx, number: u32, command: Command, who: Who) {
        let live = Arc::clone(&self.live);
        let at = live.plan.scenario.entity(who).node;
        let runs = live.with(|ledger| ledger.node(at).on && !ledger.node(at).ended);
        let Some(runtime) = live.runtime(at).filter(|_| runs) else {
            return live.put(node, What::Refused(number));
        };
        let again = live.with(|ledger| ledger.agent(who).declared);
        if command == Command::Spawn && live.with(|ledger| ledger.agent(who).present) {
            return live.put(node, What::Refused(number));
        }
        let inside = Arc::clone(&self.live);
        live.spawn(at, async move {
            let name = inside.text(who);
            let done = match command {
                Command::Spawn => {
                    let parent = inside.plan.scenario.entity(who).parent;
                    let parent = parent.map_or("", |parent| inside.text(parent));
                    runtime.spawn(parent, TYPE, name, Value::Null).await
                }
                Command::Despawn => runtime.despawn(name).await,
                Command::Terminate => runtime.terminate_child(name).await,
                Command::Restart => runtime.restart_child(name).await,
            };
            inside.with(|ledger| match done {
                Ok(()) | Err(ControlError::StartFailed { .. } | ControlError::NotRunning) => {
                    if command == Command::Spawn && again {
                        ledger.reach(Mark::NameReused);
                    }
                }
                Err(_) => {
                    if command == Command::Spawn {
                        ledger.agent(who).present = false;
                    }
                    ledger.put(node, What::Refused(number));
                }
            });
        });
    }

    fn suspend(&self, who: Who) {
        let up = self.live.with(|ledger| {
            let agent = ledger.agent(who);
            agent.phase == Phase::Up && !agent.suspended
        });
        if up {
            self.control(who, true, move |runtime, name| async move {
                runtime.suspend(&name, "the plan").await
            });
        }
    }

    fn resume(&self, who: Who) {
        if self.live.with(|ledger| ledger.agent(who).suspended) {
            self.control(who, false, move |runtime, name| async move {
                runtime.resume(&name, "the plan").await
            });
        }
    }

    fn control<F>(
        &self,
        who: Who,
        suspends: bool,
        act: impl FnOnce(Runtime, String) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), ControlError>> + Send,
    {
        let node = self.live.plan.home(who);
        let live = Arc::clone(&self.live);
        let Some(runtime) = live.runtime(node) else { return };
        let inside = Arc::clone(&self.live);
        live.spawn(node, async move {
            let name = inside.text(who).to_owned();
            let done = act(runtime, name).await.is_ok();
            inside.with(|ledger| {
                if done {
                    let agent = ledger.agent(who);
                    agent.suspended = suspends;
                    let is_up = agent.phase == Phase::Up;
                    let status = if suspends { Status::Suspended } else { Status::Up };
                    if is_up {
                        ledger.put(node, What::Status(who, status));
                    }
                }
            });
        });
    }
}

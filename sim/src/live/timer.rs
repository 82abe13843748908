//! What bounds a message in the real runtime: its time to live, or the timer that sends it.
//!
//! The books foretell each mailbox, so they must know at which instant a timer of an agent puts its
//! message there: the task that does it is looked into, as frames are on their way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::{Executor, Message, Task, Value};
use serde_json::json;

use super::Live;
use super::client::{TIMER, message};
use super::ledger::{Ledger, Phase, Place};
use crate::plan::{Act, Plan};
use crate::record::{Fate, MessageId, NodeIx, Process, What, Who};

/// A timer that an agent has set and whose task is not there yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    pub(super) id: MessageId,
    pub(super) process: Process,
    pub(super) at: Instant,
}

/// Whether agents of this plan set timers.
pub(super) fn has_timers(plan: &Plan) -> bool {
    plan.operations.iter().any(|operation| matches!(operation.act, Act::SendAfter(..)))
}

/// What tells an agent to set a timer.
pub(super) fn order(process: Process, number: u32, delay: Duration) -> Message {
    let nanos = crate::plan::nanos(delay);
    Message::new(TIMER, json!([process.supervisor, process.incarnation, number, nanos]))
}

/// The operation and the delay in such an order, if it is to this incarnation.
pub(super) fn ordered(payload: &Value, process: Process) -> Option<(u32, Duration)> {
    let [supervisor, incarnation, number, nanos] = payload.as_array()?.as_slice() else {
        return None;
    };
    let is_for = (supervisor.as_u64()?, incarnation.as_u64()?);
    let number = u32::try_from(number.as_u64()?).ok()?;
    let delay = Duration::from_nanos(nanos.as_u64()?);
    (is_for == (process.supervisor, process.incarnation)).then_some((number, delay))
}

/// The task of a timer, looked into.
pub(super) struct Timed {
    pub(super) task: Task,
    pub(super) live: Arc<Live>,
    pub(super) executor: Arc<dyn Executor>,
    pub(super) timer: Timer,
    /// Its message is in the mailbox, or waits for room there.
    pub(super) came: bool,
}

impl Future for Timed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { task, live, executor, timer, came } = self.get_mut();
        if !*came && executor.now() >= timer.at {
            *came = live.with(|ledger| ledger.timer_comes(*timer));
        }
        let polled = task.as_mut().poll(cx);
        if *came && polled.is_ready() {
            // It waited for room, and its incarnation has ended.
            live.with(|ledger| ledger.timer_gives_up(timer.id));
        }
        polled
    }
}

impl Ledger {
    /// A message is over at this instant, by the clock of its receiver's node.
    pub(super) fn expires(&mut self, id: MessageId, at: Instant) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.expires = at;
        }
    }

    /// The time of a timer is over: its message comes, unless its incarnation has ended.
    fn timer_comes(&mut self, Timer { id, process, .. }: Timer) -> bool {
        let who = process.who;
        if !self.is(process) || self.agent(who).let_go == Some(process) {
            return false;
        }
        let node = self.node_of(who);
        self.sent(node, id, who, false);
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.only_for = Some(process);
        }
        self.leaves(node, id, who);
        true
    }

    fn timer_gives_up(&mut self, id: MessageId) {
        let Some(letter) = self.letters.get(&id).copied() else { return };
        if letter.place == Place::Waiting {
            let node = self.node_of(letter.to);
            self.no_longer_waits(id);
            self.ends(node, id, Fate::NoRoom);
        }
    }

    /// The messages at the head of a mailbox whose time is over are dead letters, now that their
    /// turn has come.
    pub(super) fn drops_over(&mut self, who: Who, process: Process, before: Option<MessageId>) {
        let node = self.node_of(who);
        let clock = self.nodes[usize::from(node.0)].executor.clone();
        while let Some(id) = self.agent(who).mailbox.front().copied()
            && before != Some(id)
        {
            let Some(letter) = self.letters.get(&id).copied() else { return };
            let is_over = letter.expires < Instant::MAX
                && clock.as_ref().is_some_and(|c| c.now() >= letter.expires);
            let fate = match letter.only_for {
                Some(other) if other != process => Fate::DeadLetter,
                _ if is_over => Fate::Expired,
                _ => return,
            };
            self.agent(who).mailbox.pop_front();
            self.ends(node, id, fate);
            self.lets_in(node, who);
        }
    }

    /// As [`Ledger::drops_over`], if the agent has nothing in hand and takes messages: then it has
    /// looked at all that is queued.
    pub(super) fn idle_drops_over(&mut self, who: Who) {
        let agent = self.agent(who);
        let idle = agent.phase == Phase::Up
            && agent.in_hand.is_none()
            && !agent.told
            && !agent.suspended
            && agent.interrupt.is_none();
        if let Some(process) = agent.process.filter(|_| idle) {
            self.drops_over(who, process, None);
        }
    }

    /// So many messages of an agent have become dead letters, as far as the books know. The runtime
    /// counts what it says to itself besides.
    pub(crate) fn counted(&mut self, node: NodeIx, who: Who, dead: u64) {
        let known = self.agent(who).dead;
        if dead < known {
            let text = format!("{who:?} has {known} dead letters, and the runtime counts {dead}");
            self.violated("S12", node, text);
        }
    }
}

impl Live {
    /// Sends a message with a time to live from a node.
    pub(crate) fn tell_within(
        self: &Arc<Self>,
        node: NodeIx,
        id: MessageId,
        to: Who,
        ttl: Duration,
    ) {
        use lictor_runtime::SendOptions;
        self.with(|ledger| ledger.sent(node, id, to, false));
        let live = Arc::clone(self);
        self.spawn(node, async move {
            let Some(runtime) = live.runtime(node) else { return };
            let Some(executor) = live.executor(node) else { return };
            let until = executor.now().saturating_add(ttl);
            let hop = live.with(|ledger| {
                ledger.expires(id, until);
                ledger.leaves(node, id, to)
            });
            let told = match runtime.raw(live.text(to)) {
                Ok(to) => to.send_with(message(id, hop), SendOptions::new().ttl(ttl)).await,
                Err(error) => Err(error),
            };
            let told = told.map_err(|error| super::client::fate_of(&error));
            live.with(|ledger| ledger.told(node, id, hop, told));
        });
    }

    /// Sends a message to one of those that offer something.
    pub(crate) fn tell_capable(
        self: &Arc<Self>,
        node: NodeIx,
        number: u32,
        tag: crate::plan::Short,
    ) {
        let live = Arc::clone(self);
        self.spawn(node, async move {
            let Some(runtime) = live.runtime(node) else { return };
            let to = runtime.capable(tag.as_str()).ok();
            let to = to.and_then(|name| live.plan.scenario.named(&name));
            match to {
                Some(to) => {
                    live.tell_at_once(node, MessageId::of_operation(number), to, &runtime).await
                }
                None => live.put(node, What::Refused(number)),
            }
        });
    }

    /// Lets an agent send itself a message later on.
    pub(crate) fn send_after(
        self: &Arc<Self>,
        node: NodeIx,
        number: u32,
        who: Who,
        delay: Duration,
    ) {
        let up = self.with(|ledger| {
            let agent = ledger.agent(who);
            agent.process.filter(|_| agent.phase == Phase::Up)
        });
        let Some(process) = up else { return self.put(node, What::Refused(number)) };
        // It is told where it is.
        let home = self.plan.home(who);
        let live = Arc::clone(self);
        self.spawn(home, async move {
            let Some(runtime) = live.runtime(home) else { return };
            if let Ok(agent) = runtime.raw(live.text(who)) {
                // One that ends meanwhile sets no timer.
                let _ = agent.send_priority(order(process, number, delay)).await;
            }
        });
    }
}

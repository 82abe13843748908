//! Senders: what operations and tickers do, through the runtime's own doors.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lictor_kernel::ExitReason;
use lictor_runtime::{AskError, Executor, Message, Runtime, SendError, Task, Value};
use serde_json::json;

use super::Live;
use super::ledger::Phase;
use crate::plan::nanos;
use crate::record::{Ending, Fate, MessageId, NodeIx, Process, Who};

/// The type of every message of a plan.
pub(super) const LETTER: &str = "letter";

/// What an agent answers, and what it answers if it does so once more.
pub(super) const FIRST: u64 = 0;
pub(super) const SECOND: u64 = 1;

/// The type of the message that ends an idle agent.
pub(super) const END: &str = "end";

/// The type of the message that lets an agent set a timer.
pub(super) const TIMER: &str = "timer";

/// A message of this name, on this hop.
pub(super) fn message(id: MessageId, hop: u32) -> Message {
    let half = |who: Option<Who>| who.map(|who| who.0);
    Message::new(LETTER, json!([half(id.ticker), id.number, half(id.copy), hop]))
}

/// The name of a message, and its hop.
pub(super) fn name_of(payload: &Value) -> Option<(MessageId, u32)> {
    let [ticker, number, copy, hop] = payload.as_array()?.as_slice() else { return None };
    let who = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok()).map(Who);
    let whole = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let id = MessageId { ticker: who(ticker), number: whole(number)?, copy: who(copy) };
    Some((id, whole(hop)?))
}

/// What a refusal means for the message.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else: nobody was there for it")]
pub(super) const fn fate_of(error: &SendError) -> Fate {
    match error {
        SendError::Down { .. } => Fate::Down,
        SendError::Full { .. } => Fate::Full,
        SendError::Timeout { .. } => Fate::NoRoom,
        SendError::WireFull { .. } => Fate::LinkFull,
        _ => Fate::Unknown,
    }
}

/// Waits for one or the other; true for the first.
pub(super) async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) -> bool {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| {
        // The other one first: an end comes before a timer of the same instant.
        if other.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        one.as_mut().poll(cx).map(|()| true)
    })
    .await
}

impl Live {
    pub(crate) fn runtime(&self, node: NodeIx) -> Option<Runtime> {
        self.with(|ledger| ledger.node(node).runtime.clone())
    }

    pub(crate) fn executor(&self, node: NodeIx) -> Option<Arc<dyn Executor>> {
        self.with(|ledger| ledger.node(node).executor.clone())
    }

    /// Runs something on a node, unless it is down; as soon as it can, if it is just booting.
    pub(crate) fn spawn(&self, node: NodeIx, task: impl Future<Output = ()> + Send + 'static) {
        let task: Task = Box::pin(task);
        let ready = self.with(|ledger| {
            let book = ledger.node(node);
            match &book.executor {
                Some(executor) => Some((Arc::clone(executor), task)),
                None if book.on => {
                    book.pending.push(task);
                    None
                }
                None => None,
            }
        });
        if let Some((executor, task)) = ready {
            executor.spawn(task);
        }
    }

    pub(crate) fn text(&self, who: Who) -> &str {
        &self.plan.scenario.entity(who).name
    }

    /// Sends a message from a node.
    pub(crate) fn tell(self: &Arc<Self>, node: NodeIx, id: MessageId, to: Who) {
        self.with(|ledger| ledger.sent(node, id, to, false));
        let live = Arc::clone(self);
        self.spawn(node, async move {
            let Some(runtime) = live.runtime(node) else { return };
            live.goes(node, id, to, &runtime).await;
        });
    }

    /// As [`Live::tell`], from within the node.
    pub(super) async fn tell_at_once(
        &self,
        node: NodeIx,
        id: MessageId,
        to: Who,
        runtime: &Runtime,
    ) {
        self.with(|ledger| ledger.sent(node, id, to, false));
        self.goes(node, id, to, runtime).await;
    }

    async fn goes(&self, node: NodeIx, id: MessageId, to: Who, runtime: &Runtime) {
        let hop = self.with(|ledger| ledger.leaves(node, id, to));
        let told = runtime.send(self.text(to), message(id, hop)).await;
        let told = told.map_err(|error| fate_of(&error));
        self.with(|ledger| ledger.told(node, id, hop, told));
    }

    /// Asks from a node.
    pub(crate) fn ask(self: &Arc<Self>, node: NodeIx, id: MessageId, to: Who, within: Duration) {
        self.with(|ledger| ledger.sent(node, id, to, true));
        let live = Arc::clone(self);
        self.spawn(node, async move {
            let Some(runtime) = live.runtime(node) else { return };
            let hop = live.with(|ledger| ledger.leaves(node, id, to));
            let asked = runtime.ask(live.text(to), message(id, hop), within).await;
            if let Ok(answer) = &asked
                && *answer != FIRST
            {
                let text = format!("{id:?} is answered by {answer}, which came second");
                live.with(|ledger| ledger.violated("S11", node, text));
            }
            let (told, ending) = match asked {
                Ok(_) => (Some(Ok(())), Ending::Answered),
                Err(AskError::NotSent(error)) => (Some(Err(fate_of(&error))), Ending::Failed),
                Err(AskError::Timeout { .. }) => (None, Ending::TimedOut),
                Err(_) => (None, Ending::Failed),
            };
            live.with(|ledger| {
                match told {
                    Some(told) => ledger.told(node, id, hop, told),
                    // On another node it waits by a clock of its own.
                    None if ledger.node_of(to) == node && ledger.still_waits(id, hop) => {
                        ledger.told(node, id, hop, Err(Fate::NoRoom));
                    }
                    None => {}
                }
                ledger.answered(node, id, ending);
            });
        });
    }

    /// An agent ends by itself, unless it is not up.
    pub(crate) fn end(self: &Arc<Self>, who: Who, reason: ExitReason) {
        let now = self.with(|ledger| {
            let agent = ledger.agent(who);
            if agent.phase != Phase::Up || agent.interrupt.is_some() {
                return None;
            }
            agent.interrupt = Some(reason);
            let idle = agent.in_hand.is_none();
            let process = agent.process;
            ledger.stir(who);
            process.filter(|_| idle)
        });
        // One that has a message in hand looks for itself; an idle one is told.
        let Some(process) = now else { return };
        let node = self.plan.home(who);
        let live = Arc::clone(self);
        self.spawn(node, async move {
            let Some(runtime) = live.runtime(node) else { return };
            let name = live.text(who);
            if !live.with(|ledger| ledger.is(process)) {
                return;
            }
            let hosted = live.with(|ledger| ledger.is_hosted(who));
            if reason == ExitReason::Crashed && !hosted {
                // It may have been stopped meanwhile.
                let _ = runtime.restart_agent(name, "the plan").await;
            } else if let Ok(agent) = runtime.raw(name) {
                let end = Message::new(END, json!([process.supervisor, process.incarnation]));
                let _ = agent.send_priority(end).await;
            }
        });
    }

    /// As [`Live::end`] for a crash of this very incarnation, which may also be about to stop.
    pub(crate) fn crash(self: &Arc<Self>, process: Process) {
        let stops = self.with(|ledger| {
            let agent = ledger.agent(process.who);
            let stops = agent.process == Some(process) && agent.phase == Phase::Stopping;
            if stops {
                agent.interrupt = Some(ExitReason::Crashed);
                ledger.stir(process.who);
            }
            stops || !ledger.is(process)
        });
        if !stops {
            self.end(process.who, ExitReason::Crashed);
        }
    }

    /// Lets an incarnation crash after a time.
    pub(super) fn crash_later(self: &Arc<Self>, process: Process, after: u64) {
        let node = self.plan.home(process.who);
        let Some(executor) = self.executor(node) else { return };
        let live = Arc::clone(self);
        self.spawn(node, async move {
            // Inside, where a host's clock is that of the simulation.
            let at = executor.now().saturating_add(Duration::from_nanos(after));
            let sleep = executor.sleep_until(at);
            let gone = live.until(process.who, |ledger| (!ledger.is(process)).then_some(()));
            if either(sleep, gone).await {
                live.crash(process);
            }
        });
    }

    /// The sending of a ticker, for one incarnation.
    pub(super) fn tick(self: &Arc<Self>, process: Process) {
        let who = process.who;
        let node = self.plan.home(who);
        let Some(executor) = self.executor(node) else { return };
        let live = Arc::clone(self);
        self.spawn(node, async move {
            let mut at = executor.now();
            loop {
                let Some(agent) = live.plan.scenario.agent(who) else { return };
                let Some(ticks) = &agent.behaviour.ticks else { return };
                let number = live.with(|ledger| {
                    let goes_on = ledger.works(process) && !ledger.calm;
                    let book = ledger.agent(who);
                    let number = book.ticks;
                    book.ticks += u32::from(goes_on);
                    goes_on.then_some((number, book.suspended))
                });
                let Some((number, suspended)) = number else { return };
                if ticks.count.is_some_and(|count| number >= count) {
                    return live.end(who, ExitReason::Normal);
                }
                if let (Some(to), false) = (agent.ticks_to, suspended) {
                    let id = MessageId { ticker: Some(who), number, copy: None };
                    match ticks.ask {
                        Some(within) => live.ask(node, id, to, within),
                        None => live.tell(node, id, to),
                    }
                }
                at = at.saturating_add(Duration::from_nanos(nanos(ticks.every)));
                let over = live.until(who, |ledger| (!ledger.works(process)).then_some(()));
                if !either(executor.sleep_until(at), over).await {
                    return;
                }
            }
        });
    }
}

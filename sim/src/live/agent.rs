//! An agent that behaves as a scenario says, in the real runtime.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::ExitReason;
use lictor_runtime::{Agent, AgentError, Context, Message};

use super::Live;
use super::client::{END, FIRST, SECOND, TIMER, either, fate_of, message as letter, name_of};
use super::ledger::Phase;
use super::mailbox::Then;
use super::timer::{Timer, ordered};
use crate::record::{Fate, Here, MessageId, Process, What, Who};
use crate::stream::Purpose;

/// Answers that are given twice, in a million.
const TWICE: u32 = 250_000;

/// One incarnation.
pub(super) struct ModelAgent {
    live: Arc<Live>,
    who: Who,
    /// `None` if its node has gone meanwhile.
    process: Option<Process>,
    /// It ends by its own doing, and has nothing to do before.
    over: bool,
    /// Messages that its checkpoint knows of.
    kept: u64,
}

impl ModelAgent {
    pub(super) fn new(live: Arc<Live>, who: Who) -> Self {
        let process = live.with(|ledger| ledger.agent(who).process);
        Self { live, who, process, over: false, kept: 0 }
    }

    /// Waits until this incarnation is to end at once.
    async fn interrupted(&self, process: Process) -> ExitReason {
        let who = self.who;
        let told = move |ledger: &mut super::Ledger| {
            let here = ledger.is(process);
            ledger.agent(who).interrupt.filter(|_| here)
        };
        self.live.until(who, told).await
    }

    /// Works for a time, unless it is to end before.
    async fn works(&self, cx: &Context<Self>, process: Process, takes: u64) -> Option<ExitReason> {
        let mut reason = None;
        let interrupted = async { reason = Some(self.interrupted(process).await) };
        let whole = either(cx.sleep(Duration::from_nanos(takes)), interrupted).await;
        reason.filter(|_| !whole)
    }
}

/// Timers end with their incarnation, and its memory does.
impl Drop for ModelAgent {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            self.live.with(|ledger| {
                if ledger.is(process) {
                    ledger.agent(self.who).let_go = Some(process);
                }
            });
        }
    }
}

/// A message in hand: however the handling ends, something becomes of it.
struct Hand<'a> {
    live: &'a Live,
    process: Process,
    id: MessageId,
    held: bool,
}

impl Hand<'_> {
    fn lay_down(mut self, fate: Option<Fate>) {
        self.held = false;
        self.live.with(|ledger| ledger.lays_down(self.process, self.id, fate));
    }

    fn drop_for(mut self, reason: ExitReason) {
        self.held = false;
        self.live.with(|ledger| ledger.drops(self.process, self.id, reason));
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        if self.held {
            self.live.with(|ledger| ledger.drops(self.process, self.id, ExitReason::Killed));
        }
    }
}

impl Agent for ModelAgent {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        let (live, who) = (Arc::clone(&self.live), self.who);
        let gone = || AgentError::new("its node is gone");
        let process = self.process.ok_or_else(gone)?;
        let takes = live.with(|ledger| {
            let agent = ledger.agent(who);
            let (nth, slow) = (agent.starts, agent.effects.slow_start);
            let knobs = ledger.plan.knobs.start;
            ledger.between(Purpose::Start, who, nth, knobs).saturating_add(slow)
        });
        cx.sleep(Duration::from_nanos(takes)).await;
        let hangs = |ledger: &mut super::Ledger| {
            (ledger.agent(who).effects.hang_in_start == 0).then_some(())
        };
        live.until(who, hangs).await;
        let behaviour = live.plan.scenario.agent(who).map(|agent| &agent.behaviour);
        let every = behaviour.and_then(|behaviour| behaviour.fail_start_every);
        let (fails, ignores, crash_loop) = live.with(|ledger| {
            let calm = ledger.calm;
            let agent = ledger.agent(who);
            let by_itself = every.is_some_and(|n| agent.starts.is_multiple_of(n)) && !calm;
            let effects = agent.effects;
            (effects.crash_in_start > 0 || by_itself, effects.ignore_start > 0, effects.crash_loop)
        });
        self.over = fails || ignores;
        if fails {
            return Err(AgentError::new("the plan lets it fail"));
        }
        if ignores {
            cx.ignore_start();
            return Ok(());
        }
        if live.with(|ledger| ledger.has_disks) {
            let found = self.restores(cx, process).await;
            self.over = found.is_err();
            self.kept = found?;
        }
        // Told here and not by the driver, which hears of it only after the first message may have
        // been taken.
        live.with(|ledger| {
            if ledger.is(process) {
                let node = ledger.node_of(who);
                ledger.agent(who).phase = Phase::Up;
                let hosted = ledger.is_hosted(who);
                let up =
                    if hosted { What::Here(process, Here::Up) } else { What::Started(process) };
                ledger.put(node, up);
                // It looks at what is queued before anything can end it.
                ledger.idle_drops_over(who);
                ledger.stir(who);
            }
        });
        if let Some(after) = crash_loop {
            live.crash_later(process, after);
        }
        if behaviour.is_some_and(|behaviour| behaviour.ticks.is_some()) {
            live.tick(process);
        }
        Ok(())
    }

    async fn handle(
        &mut self,
        mut message: Message,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        let live = Arc::clone(&self.live);
        let Some(process) = self.process else { return Ok(()) };
        if message.kind() == END {
            let of = serde_json::json!([process.supervisor, process.incarnation]);
            if *message.payload() == of {
                self.over = true;
                // What runs for another node has nobody here who restarts it: it fails by itself.
                let interrupt = live.with(|ledger| ledger.agent(process.who).interrupt);
                if interrupt == Some(ExitReason::Crashed) {
                    return Err(AgentError::new("the plan lets it crash"));
                }
                cx.stop();
            }
            return Ok(());
        }
        if message.kind() == TIMER {
            self.sets_timer(cx, process, &message);
            return Ok(());
        }
        let Some((id, _)) = name_of(message.payload()) else { return Ok(()) };
        let Some(job) = live.with(|ledger| ledger.delivers(process, id)) else { return Ok(()) };
        let hand = Hand { live: &live, process, id, held: true };
        if let Some(reason) = self.works(cx, process, job.takes).await {
            self.over = true;
            hand.drop_for(reason);
            if reason.is_clean() {
                message.reply(FIRST);
                cx.stop();
                return Ok(());
            }
            return Err(AgentError::new("the plan lets it crash"));
        }
        match self.kept_after(cx, live.with(|ledger| ledger.worked(process, id))).await {
            Then::Nothing => {
                hand.lay_down(None);
                Ok(())
            }
            Then::Fail => {
                self.over = true;
                hand.drop_for(ExitReason::Crashed);
                Err(AgentError::new("it fails at this message"))
            }
            Then::NoWay => {
                hand.lay_down(Some(Fate::Unknown));
                Ok(())
            }
            Then::Answer => {
                hand.lay_down(Some(Fate::Handled));
                self.answers(&mut message, id);
                Ok(())
            }
            Then::Pass(next) => self.pass_on(cx, hand, message, next).await,
        }
    }

    async fn stop(&mut self, cx: &mut Context<Self>) {
        let (live, who) = (Arc::clone(&self.live), self.who);
        let Some(process) = self.process else { return };
        let (here, interrupt) = live.with(|ledger| {
            let here = ledger.is(process);
            let agent = ledger.agent(who);
            let interrupt = agent.interrupt;
            if here && !self.over && interrupt.is_none() {
                agent.phase = Phase::Stopping;
                ledger.stir(who);
            }
            (here, interrupt)
        });
        if !here || self.over || interrupt.is_some() {
            // It was to crash, and was told to stop before it came to that.
            if here && !self.over && interrupt == Some(ExitReason::Crashed) {
                crash();
            }
            return;
        }
        let goes = |ledger: &mut super::Ledger| {
            let agent = ledger.agent(who);
            (agent.effects.ignore_shutdown == 0 || agent.interrupt.is_some()).then_some(())
        };
        live.until(who, goes).await;
        let (takes, crashes) = live.with(|ledger| {
            let agent = ledger.agent(who);
            let (nth, effects) = (agent.starts, agent.effects);
            let knobs = ledger.plan.knobs.stop;
            let takes = ledger.between(Purpose::Stop, who, nth, knobs);
            (takes.saturating_add(effects.slow_stop), effects.crash_in_stop > 0)
        });
        if self.works(cx, process, takes).await.is_some() || crashes {
            crash();
        }
    }
}

impl ModelAgent {
    /// Reads its checkpoint: how many messages it knows of.
    async fn restores(&self, cx: &Context<Self>, process: Process) -> Result<u64, AgentError> {
        let found: Option<(u16, u64)> = cx.restore().await?;
        self.live.with(|ledger| {
            let node = ledger.node_of(self.who);
            if let Some((whose, _)) = found.filter(|(whose, _)| *whose != self.who.0) {
                let (who, whose) = (self.who, Who(whose));
                let text = format!("{who:?} is given the checkpoint of {whose:?}");
                ledger.violated("S2", node, text);
            }
            if ledger.is(process) {
                ledger.put(node, What::Restored(process, found.map(|(_, kept)| kept)));
            }
        });
        Ok(found.map_or(0, |(_, kept)| kept))
    }

    /// Answers, and now and then once more: whoever asked must not hear of that.
    fn answers(&self, message: &mut Message, id: MessageId) {
        let Some(to) = message.take_reply_to() else { return };
        let drawn = (u64::from(self.who.0), u64::from(id.number));
        let streams = self.live.with(|ledger| ledger.streams);
        let twice = streams.chance(Purpose::Twice, drawn.0, drawn.1, TWICE);
        let again = twice.then(|| to.duplicate());
        to.send(FIRST.into());
        if let Some(again) = again {
            again.send(SECOND.into());
        }
    }

    /// Sets the timer that an operation wants.
    fn sets_timer(&self, cx: &Context<Self>, process: Process, order: &Message) {
        let Some((number, delay)) = ordered(order.payload(), process) else { return };
        let live = &self.live;
        if !live.with(|ledger| ledger.is(process)) {
            return;
        }
        let id = MessageId::of_operation(number);
        let at = cx.runtime().now().saturating_add(delay);
        live.with(|ledger| ledger.timer = Some(Timer { id, process, at }));
        cx.send_after(delay, letter(id, 1));
        live.with(|ledger| ledger.timer = None);
    }

    /// Writes its checkpoint, if it goes on after the message. It fails if it cannot.
    async fn kept_after(&mut self, cx: &Context<Self>, then: Then) -> Then {
        let goes_on = !matches!(then, Then::Fail | Then::Nothing);
        if !goes_on || !self.live.with(|ledger| ledger.has_disks) {
            return then;
        }
        self.kept += 1;
        let done = cx.checkpoint(&(self.who.0, self.kept)).await;
        if done.is_ok() { then } else { Then::Fail }
    }

    /// Passes a message on, and is not free until it is in.
    async fn pass_on(
        &mut self,
        cx: &Context<Self>,
        hand: Hand<'_>,
        mut message: Message,
        next: Who,
    ) -> Result<(), AgentError> {
        let live = Arc::clone(&self.live);
        let (process, id) = (hand.process, hand.id);
        let node = live.plan.home(self.who);
        let hop = live.with(|ledger| ledger.leaves(node, id, next));
        let mut on = letter(id, hop);
        if let Some(reply_to) = message.take_reply_to() {
            on = on.with_reply_to(reply_to);
        }
        let mut told = None;
        let mut reason = None;
        let send = async { told = Some(cx.send(live.text(next), on).await) };
        let interrupted = async { reason = Some(self.interrupted(process).await) };
        if !either_first(send, interrupted).await
            && let Some(reason) = reason
        {
            self.over = true;
            hand.drop_for(reason);
            return Err(AgentError::new("the plan lets it crash"));
        }
        let told = told.unwrap_or(Ok(())).map_err(|error| fate_of(&error));
        live.with(|ledger| ledger.told(node, id, hop, told));
        hand.lay_down(None);
        Ok(())
    }
}

/// Without the hook of the process, which would write it to standard error.
fn crash() {
    resume_unwind(Box::new("the plan lets it crash in its stop"));
}

/// As [`either`], but the first of the two comes first: a message that has room is in.
async fn either_first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) -> bool {
    !either(other, one).await
}

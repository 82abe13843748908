//! One incarnation of an agent: its loop, and the guard around it.
//!
//! Whatever happens inside (a return, an error, a panic, a kill, the host going away), the driver
//! hears of exactly one end. Panics of the agent's methods are caught at the method, so that the
//! loop still knows which message was in hand; the guard around the loop catches what is left.

mod borrowed;
mod hand;
mod life;

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use lictor_kernel::{ErrorDecision, ExitReason, Instant, Lifecycle, LifecycleState};

use pin_project_lite::pin_project;

use self::borrowed::Borrowed;
use self::hand::Hand;
pub(crate) use self::life::Life;
use crate::agent::{Agent, InHandPolicy};
use crate::cell::{AnyCell, Cell, Control, Envelope, Launch, OnlyFor};
use crate::context::{Context, Ending};
use crate::error::AgentError;
use crate::events::EventKind;
use crate::executor::Task;
use crate::inbox::{Fact, Outcome};
use crate::mailbox::{Accept, Popped};
use crate::reply::ReplyFailure;
use crate::runtime::Shared;
use crate::spans;

/// How an agent's incarnations work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Work {
    /// Redeliveries of one message before it counts as failed for good.
    pub(crate) max_retries: u32,
    /// How long one delivery may take, in nanoseconds; [`Work::NO_LIMIT`] if that is not bounded.
    pub(crate) handle_timeout: u64,
    /// What becomes of the message in hand at a crash.
    pub(crate) in_hand: InHandPolicy,
}

impl Work {
    /// 584 years.
    pub(crate) const NO_LIMIT: u64 = u64::MAX;

    /// What an agent does of which nothing else is said.
    pub(crate) const DEFAULT: Self =
        Self { max_retries: 3, handle_timeout: Self::NO_LIMIT, in_hand: InHandPolicy::Drop };

    /// How long one delivery may take, if that is bounded.
    fn time(self) -> Option<Duration> {
        (self.handle_timeout < Self::NO_LIMIT).then(|| Duration::from_nanos(self.handle_timeout))
    }
}

/// After this many messages in one poll the agent lets others run.
const MESSAGES_PER_POLL: u32 = 128;

pin_project! {
    /// Reports one end, and ends at once when killed. The body lives inside: an incarnation is one
    /// allocation.
    struct Guarded<F> {
        #[pin]
        body: Option<F>,
        life: Arc<Life>,
        // The waker that the life was told last.
        registered: Option<Waker>,
        shared: Arc<Shared>,
    }

    impl<F> PinnedDrop for Guarded<F> {
        fn drop(this: Pin<&mut Self>) {
            // Dropped unfinished: the host is going away.
            if this.body.is_some() {
                this.end(Outcome::Exited { reason: ExitReason::Killed, detail: None });
            }
        }
    }
}

impl<F> Guarded<F> {
    fn end(self: Pin<&mut Self>, outcome: Outcome) {
        let mut this = self.project();
        // The body goes first: what it holds (a message in hand) is settled before the driver
        // hears of the end and starts the next incarnation. Where its drop panics it is gone, too.
        let _ = catch_unwind(AssertUnwindSafe(|| this.body.as_mut().set(None)));
        this.shared.inbox.fact(Fact { process: this.life.process, outcome });
    }
}

impl<F: Future<Output = Outcome>> Future for Guarded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        if this.registered.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            this.life.register(cx);
            *this.registered = Some(cx.waker().clone());
        }
        if this.life.is_killed() {
            self.end(Outcome::Exited { reason: ExitReason::Killed, detail: None });
            return Poll::Ready(());
        }
        if this.life.is_over(|| this.shared.executor.now()) {
            self.end(Outcome::Exited { reason: ExitReason::NoConnection, detail: None });
            return Poll::Ready(());
        }
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => {
                self.end(outcome);
                Poll::Ready(())
            }
            Err(panic) => {
                let detail = Some(panic_text(&*panic));
                self.end(Outcome::Exited { reason: ExitReason::Crashed, detail });
                Poll::Ready(())
            }
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> Arc<str> {
    if let Some(text) = panic.downcast_ref::<&str>() {
        Arc::from(*text)
    } else if let Some(text) = panic.downcast_ref::<String>() {
        Arc::from(text.as_str())
    } else {
        Arc::from("panicked without a text")
    }
}

/// Makes incarnations of `A` for one cell.
pub(crate) struct Launcher<A: Agent> {
    pub(crate) cell: Arc<Cell<A::Message>>,
    /// In a box of its own: most factories capture nothing, and such a box is no allocation.
    pub(crate) factory: Box<dyn Fn() -> A + Send + Sync>,
    pub(crate) work: Work,
}

impl<A: Agent> Launch for Launcher<A> {
    fn cell(&self) -> Arc<dyn AnyCell> {
        Arc::<Cell<A::Message>>::clone(&self.cell)
    }

    fn launch(self: Arc<Self>, life: Arc<Life>) -> Task {
        let shared = Arc::clone(&self.cell.core.shared);
        let incarnation = Incarnation { launcher: self, life: Arc::clone(&life) };
        let body = Some(incarnation.run());
        Box::pin(Guarded { body, life, registered: None, shared })
    }
}

/// What a start has led to, if not to an agent that is up, and whether its `stop` is called then.
fn not_up<A: Agent>(started: Handling, cx: &Context<A>) -> Option<(Outcome, bool)> {
    match started {
        Ok(Ok(())) if cx.ending == Ending::Ignore => Some((Outcome::Ignored, false)),
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some((Outcome::StartFailed { detail: error.to_string().into() }, true)),
        Err(panic) => Some((Outcome::StartFailed { detail: panic }, false)),
    }
}

/// The end that the agent has asked for.
fn asked_end<A: Agent>(cx: &Context<A>) -> Option<Next> {
    match &cx.ending {
        Ending::No | Ending::Ignore => None,
        Ending::Stop => Some(Next::Stop(ExitReason::Normal)),
        Ending::Fail(reason) => Some(Next::Crash(Arc::clone(reason))),
    }
}

struct Incarnation<A: Agent> {
    launcher: Arc<Launcher<A>>,
    life: Arc<Life>,
}

/// Where the loop goes after a message or a control.
enum Next {
    Go,
    Stop(ExitReason),
    /// The agent has failed, by an error of its own or because somebody said so.
    Crash(Arc<str>),
    /// The state is not to be trusted: no `stop` hook.
    Panicked(Arc<str>),
}

/// What the loop has got: one place for all of it, since a future keeps room for each value that
/// may live across one of its waits, also for what has been moved out of.
enum Turn<'a, A: Agent> {
    Message(Hand<'a, A>),
    Next(Next),
}

impl<A: Agent> Incarnation<A> {
    /// The life of one incarnation.
    ///
    /// One future with all waits in it, and each value in the smallest block that will do: what an
    /// idle agent keeps of memory is decided here more than anywhere else.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep `self` twice")]
    #[expect(clippy::too_many_lines, reason = "each future inside costs every agent its room")]
    fn run(self) -> impl Future<Output = Outcome> {
        async move {
            let incarnation = self.cell().core.begin_incarnation();
            let mut lifecycle = Lifecycle::new(incarnation, self.launcher.work.max_retries);
            self.show(&lifecycle);
            let mut agent;
            let mut cx;
            {
                let started = {
                    let span = spans::start(&self.cell().core.name, incarnation);
                    let make = || span.in_scope(|| (self.launcher.factory)());
                    agent = match catch_unwind(AssertUnwindSafe(make)) {
                        Ok(agent) => agent,
                        Err(panic) => return Outcome::StartFailed { detail: panic_text(&*panic) },
                    };
                    cx = Context::new(Arc::clone(self.cell()), incarnation);
                    let mut start = pin!(agent.start(&mut cx));
                    poll_fn(|task| span.in_scope(|| poll_caught(start.as_mut(), task))).await
                };
                let failed = not_up(started, &cx);
                if let Some((_, true)) = &failed {
                    let _ = self.stop(&mut agent, &mut cx).await;
                }
                if let Some((outcome, _)) = failed {
                    return outcome;
                }
            }
            self.came_up(&mut lifecycle);
            let end = 'working: {
                let mut in_this_poll = 0;
                let mut mailbox = Borrowed::of(self.cell());
                if let Some(end) = asked_end(&cx) {
                    break 'working end;
                }
                loop {
                    if self.must_not_go_on() {
                        // It may have been told while a method blocked the thread. What is queued
                        // is not for us any more; the guard ends us as soon as we let it.
                        mailbox.give_back();
                        std::future::pending::<()>().await;
                    }
                    let accept = accepted(lifecycle.state());
                    let mut turn = Turn::Next(Next::Go);
                    let popped = poll_fn(|task| mailbox.poll_next(task, accept)).await;
                    self.begin(popped, &mut agent, &cx, &mut lifecycle, &mut turn);
                    // All in this one future: what is moved through several on the way of each
                    // message costs more than the message.
                    while let Turn::Message(hand) = &mut turn {
                        let message = hand.message();
                        let handled = if self.is_watched() {
                            mailbox.give_back();
                            Box::pin(self.handle_watched(&mut agent, &mut cx, message)).await
                        } else {
                            let mut handle = pin!(agent.handle(message, &mut cx));
                            poll_fn(|task| {
                                let handled = poll_caught(handle.as_mut(), task);
                                if handled.is_pending() {
                                    mailbox.give_back();
                                }
                                handled
                            })
                            .await
                        };
                        let next = if let Ok(Ok(())) = handled {
                            hand.done();
                            Some(Next::Go)
                        } else {
                            // The message may go back, in front of what was behind it.
                            mailbox.give_back();
                            self.failed(&mut agent, hand, handled)
                        };
                        if let Some(next) = next {
                            turn = Turn::Next(next);
                        }
                    }
                    if let Turn::Next(next @ (Next::Stop(_) | Next::Crash(_) | Next::Panicked(_))) =
                        turn
                    {
                        break 'working next;
                    }
                    if let Some(end) = asked_end(&cx) {
                        break 'working end;
                    }
                    in_this_poll += 1;
                    if in_this_poll == MESSAGES_PER_POLL {
                        in_this_poll = 0;
                        mailbox.give_back();
                        yield_now().await;
                    }
                }
            };
            let _ = match &end {
                Next::Panicked(_) | Next::Crash(_) => lifecycle.crashed(),
                Next::Go | Next::Stop(_) => lifecycle.stop(),
            };
            self.show(&lifecycle);
            let stopped = if matches!(end, Next::Panicked(_)) {
                Ok(())
            } else {
                self.stop(&mut agent, &mut cx).await
            };
            match (end, stopped) {
                (Next::Panicked(detail) | Next::Crash(detail), _) | (_, Err(detail)) => {
                    Outcome::Exited { reason: ExitReason::Crashed, detail: Some(detail) }
                }
                (Next::Stop(reason), Ok(())) => Outcome::Exited { reason, detail: None },
                (Next::Go, Ok(())) => Outcome::Exited { reason: ExitReason::Normal, detail: None },
            }
        }
    }

    fn cell(&self) -> &Arc<Cell<A::Message>> {
        &self.launcher.cell
    }

    /// The agent's last method.
    async fn stop(&self, agent: &mut A, cx: &mut Context<A>) -> Result<(), Arc<str>> {
        if spans::handles_wanted() {
            let span = spans::stop(&self.cell().core.name, cx.incarnation());
            // In a box, so that those whom nobody watches need not keep room for it.
            return Box::pin(spans::within(span, caught(agent.stop(cx)))).await;
        }
        let mut stop = pin!(agent.stop(cx));
        poll_fn(|task| poll_caught(stop.as_mut(), task)).await
    }

    /// The end of the start: from here on it works.
    fn came_up(&self, lifecycle: &mut Lifecycle) {
        // A refusal of the machine is no fault from here on, but says that it is there already.
        let _ = lifecycle.started();
        let core = &self.cell().core;
        if core.is_suspended() {
            let _ = lifecycle.suspend();
        }
        self.show(lifecycle);
        let outcome = Outcome::Started { incarnation: lifecycle.incarnation() };
        core.shared.inbox.fact(Fact { process: self.life.process, outcome });
    }

    /// Whether it was killed, or its lease is over.
    fn must_not_go_on(&self) -> bool {
        self.life.is_killed() || self.life.is_over(|| self.cell().core.shared.executor.now())
    }

    /// Takes what has come.
    #[inline]
    fn begin<'a>(
        &'a self,
        popped: Popped<Control, Envelope<A::Message>>,
        agent: &mut A,
        cx: &Context<A>,
        lifecycle: &'a mut Lifecycle,
        turn: &mut Turn<'a, A>,
    ) {
        match popped {
            Popped::Control(control) => {
                *turn = Turn::Next(self.control(agent, lifecycle, control));
            }
            Popped::Message(_, envelope) if self.is_over(cx, &envelope) => {
                self.cell().dead_letter(envelope, ReplyFailure::Expired);
            }
            Popped::Message(lane, envelope) => {
                *turn = Turn::Message(Hand::take(self, lifecycle, lane, envelope));
            }
            Popped::Drained => *turn = Turn::Next(Next::Stop(ExitReason::Shutdown)),
        }
    }

    /// Makes the state visible from outside.
    fn show(&self, lifecycle: &Lifecycle) {
        self.cell().core.set_status(lifecycle.state().into());
    }

    /// Whether the message's time to live is over, or that of the incarnation whose timer sent it.
    fn is_over(&self, cx: &Context<A>, envelope: &Envelope<A::Message>) -> bool {
        let is_for_another =
            envelope.only_for.is_some_and(|it| it != OnlyFor::of(cx.incarnation()));
        let now = || self.cell().core.shared.executor.now();
        is_for_another || (envelope.expires < Instant::MAX && envelope.expires <= now())
    }

    fn control(&self, agent: &mut A, lifecycle: &mut Lifecycle, control: Control) -> Next {
        let core = &self.cell().core;
        if control.is_wish() {
            core.wish_taken();
        }
        let name = Arc::clone(&core.name);
        let hook = |act: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(act)).err();
        let (panic, next) = match control {
            Control::Shutdown { process } if process != self.life.process => (None, Next::Go),
            // While it drains, the end of the queue stops it.
            Control::Shutdown { .. } if core.drains() => (None, Next::Go),
            Control::Shutdown { .. } => (None, Next::Stop(ExitReason::Shutdown)),
            Control::Restart { process, .. } if process != self.life.process => (None, Next::Go),
            Control::Restart { by, .. } => {
                (None, Next::Crash(format!("restart asked by {by}").into()))
            }
            Control::Suspend { reason } => {
                // One that began suspended still hears why.
                let _ = lifecycle.suspend();
                self.show(lifecycle);
                let panic = hook(&mut || agent.on_suspend(&reason));
                core.shared.emit(EventKind::Suspended { name, reason });
                (panic, Next::Go)
            }
            Control::Resume { approver } => {
                // One that began after the suspension was lifted still hears who did it.
                let _ = lifecycle.resume(&approver);
                self.show(lifecycle);
                let panic = hook(&mut || agent.on_resume(&approver));
                core.shared.emit(EventKind::Resumed { name, approver });
                (panic, Next::Go)
            }
            Control::ChildTerminated { child, reason } => {
                (hook(&mut || agent.on_child_terminated(&child, reason)), Next::Go)
            }
        };
        panic.map_or(next, |panic| Next::Panicked(panic_text(&*panic)))
    }

    /// Whether somebody listens to each delivery, or the time for it is bounded.
    #[inline]
    fn is_watched(&self) -> bool {
        self.launcher.work.handle_timeout < Work::NO_LIMIT || spans::handles_wanted()
    }

    /// One delivery of a message, where somebody listens or the time for it is bounded. Most are
    /// neither, and the loop does without this future.
    async fn handle_watched(
        &self,
        agent: &mut A,
        cx: &mut Context<A>,
        message: A::Message,
    ) -> Handling {
        let handle = caught(async {
            let Some(timeout) = self.launcher.work.time() else {
                return agent.handle(message, cx).await;
            };
            let shared = Arc::clone(&self.cell().core.shared);
            let deadline = shared.executor.now().saturating_add(timeout);
            let handled = shared.timers.timeout(deadline, agent.handle(message, cx)).await;
            handled.unwrap_or_else(|_| {
                Err(AgentError::new(format!("one message took longer than {timeout:?}")))
            })
        });
        if spans::handles_wanted() {
            let core = &self.cell().core;
            return spans::within(spans::handle(&core.name, core.starts()), handle).await;
        }
        handle.await
    }

    /// A delivery that has not gone well: what the agent and the kernel make of it. `None` if the
    /// message is in hand once more.
    #[cold]
    fn failed(&self, agent: &mut A, hand: &mut Hand<'_, A>, handled: Handling) -> Option<Next> {
        let error = match handled {
            Ok(Ok(())) => return Some(Next::Go),
            Ok(Err(error)) => error,
            Err(panic) => {
                hand.failed(ReplyFailure::Crashed);
                return Some(Next::Panicked(panic));
            }
        };
        let attempt = hand.attempt();
        let action = match catch_unwind(AssertUnwindSafe(|| agent.on_error(&error, attempt))) {
            Ok(action) => action,
            Err(panic) => {
                hand.failed(ReplyFailure::Crashed);
                return Some(Next::Panicked(panic_text(&*panic)));
            }
        };
        Some(match hand.on_error(action) {
            ErrorDecision::Redeliver { .. } => {
                if hand.again() {
                    return None;
                }
                hand.failed(ReplyFailure::Crashed);
                Next::Crash(error.to_string().into())
            }
            ErrorDecision::Crash => {
                hand.failed(ReplyFailure::Crashed);
                Next::Crash(error.to_string().into())
            }
            ErrorDecision::Discard => {
                hand.skipped();
                Next::Go
            }
            ErrorDecision::Stop => {
                hand.stopped();
                Next::Stop(ExitReason::Normal)
            }
        })
    }
}

/// What a suspended agent takes, and any other.
const fn accepted(state: LifecycleState) -> Accept {
    match state {
        LifecycleState::Suspended => Accept::ControlOnly,
        LifecycleState::Initializing
        | LifecycleState::Running
        | LifecycleState::Stopping
        | LifecycleState::Stopped
        | LifecycleState::Crashed => Accept::All,
    }
}

/// What became of one delivery: the agent's own result, or what its panic said.
type Handling = Result<Result<(), AgentError>, Arc<str>>;

/// Catches panics of a future, wherever in it they happen.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Arc<str>> {
    let mut future = pin!(future);
    poll_fn(|cx| poll_caught(future.as_mut(), cx)).await
}

fn poll_caught<F: Future>(
    future: Pin<&mut F>,
    cx: &mut TaskContext<'_>,
) -> Poll<Result<F::Output, Arc<str>>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
    }
}

/// Lets everything else that is ready run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<A: Agent> Debug for Incarnation<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:?})", self.life.process)
    }
}

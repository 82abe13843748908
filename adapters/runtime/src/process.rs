//! One incarnation of an agent: its loop, and the guard around it.
//!
//! Whatever happens inside (a return, an error, a panic, a kill, the host going away), the driver
//! hears of exactly one end. Panics of the agent's methods are caught at the method, so that the
//! loop still knows which message was in hand; the guard around the loop catches what is left.

mod borrowed;
mod hand;

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use lictor_kernel::{ErrorDecision, ExitReason, Instant, Lifecycle, LifecycleState, ProcessId};

use pin_project_lite::pin_project;

use self::borrowed::Borrowed;
use self::hand::Hand;
use crate::agent::{Agent, InHandPolicy};
use crate::cell::{AnyCell, Cell, Control, Envelope, Launch, OnlyFor};
use crate::context::{Context, Ending};
use crate::error::AgentError;
use crate::events::EventKind;
use crate::executor::{Executor, Task};
use crate::inbox::{Fact, Inbox, Outcome};
use crate::mailbox::{Accept, Lane, Popped};
use crate::reply::ReplyFailure;
use crate::spans;
use crate::sync::{Mutex, wake};

/// How an agent's incarnations work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Work {
    /// Redeliveries of one message before it counts as failed for good.
    pub(crate) max_retries: u32,
    /// How long one delivery may take.
    pub(crate) handle_timeout: Option<Duration>,
    /// What becomes of the message in hand at a crash.
    pub(crate) in_hand: InHandPolicy,
}

/// After this many messages in one poll the agent lets others run.
const MESSAGES_PER_POLL: u32 = 128;

/// The outside's hold on an incarnation: kill it.
#[derive(Debug)]
pub(crate) struct Life {
    killed: AtomicBool,
    /// From this instant on, in nanoseconds, it handles nothing: it runs here for another node,
    /// which may start it elsewhere then. At the end of time for all others.
    lease: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Life {
    pub(crate) fn new() -> Self {
        let lease = AtomicU64::new(Instant::MAX.as_nanos());
        Self { killed: AtomicBool::new(false), lease, waker: Mutex::new(None) }
    }

    pub(crate) fn lease_until(&self, until: Instant) {
        self.lease.store(until.as_nanos(), Ordering::Release);
    }

    /// Whether its lease is over. The driver kills it then; but after a pause of the whole
    /// operating-system process, the agent may be polled before the driver is. Only what is leased
    /// reads the clock.
    fn is_over(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.lease.load(Ordering::Acquire);
        until < Instant::MAX.as_nanos() && until <= now().as_nanos()
    }

    /// Ends the incarnation at its next await.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    fn register(&self, cx: &TaskContext<'_>) {
        let mut waker = self.waker.lock();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            let stale = waker.replace(cx.waker().clone());
            drop(waker);
            drop(stale);
        }
    }
}

/// How an incarnation ended.
#[derive(Debug)]
struct End {
    outcome: Outcome,
}

impl End {
    const fn exited(reason: ExitReason, detail: Option<Arc<str>>) -> Self {
        Self { outcome: Outcome::Exited { reason, detail } }
    }
}

const fn start_failed(detail: Arc<str>) -> End {
    End { outcome: Outcome::StartFailed { detail } }
}

pin_project! {
    /// Reports one end, and ends at once when killed. The body lives inside: an incarnation is one
    /// allocation.
    struct Guarded<F> {
        #[pin]
        body: Option<F>,
        life: Arc<Life>,
        // The waker that the life was told last.
        registered: Option<Waker>,
        inbox: Arc<Inbox>,
        process: ProcessId,
        executor: Arc<dyn Executor>,
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
        this.inbox.fact(Fact { process: *this.process, outcome });
    }
}

impl<F: Future<Output = End>> Future for Guarded<F> {
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
        if this.life.is_over(|| this.executor.now()) {
            self.end(Outcome::Exited { reason: ExitReason::NoConnection, detail: None });
            return Poll::Ready(());
        }
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| body.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(end)) => {
                self.end(end.outcome);
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
    pub(crate) factory: Arc<dyn Fn() -> A + Send + Sync>,
    pub(crate) work: Work,
}

impl<A: Agent> Launch for Launcher<A> {
    fn cell(&self) -> Arc<dyn AnyCell> {
        Arc::<Cell<A::Message>>::clone(&self.cell)
    }

    fn launch(&self, process: ProcessId, life: Arc<Life>) -> Task {
        let cell = Arc::clone(&self.cell);
        let inbox = Arc::clone(&cell.core.shared.inbox);
        let incarnation = Incarnation {
            cell,
            inbox: Arc::clone(&inbox),
            life: Arc::clone(&life),
            process,
            work: self.work,
            factory: Arc::clone(&self.factory),
        };
        let executor = Arc::clone(&self.cell.core.shared.executor);
        let body = Some(incarnation.run());
        Box::pin(Guarded { body, life, registered: None, inbox, process, executor })
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
    cell: Arc<Cell<A::Message>>,
    inbox: Arc<Inbox>,
    life: Arc<Life>,
    process: ProcessId,
    work: Work,
    factory: Arc<dyn Fn() -> A + Send + Sync>,
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

impl<A: Agent> Incarnation<A> {
    /// The life of one incarnation.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep `self` twice")]
    fn run(self) -> impl Future<Output = End> {
        async move {
            let incarnation = self.cell.core.begin_incarnation();
            let mut lifecycle = Lifecycle::new(incarnation, self.work.max_retries);
            self.show(&lifecycle);
            let span = spans::start(&self.cell.core.name, incarnation);
            let make = || span.in_scope(|| (self.factory)());
            let mut agent = match catch_unwind(AssertUnwindSafe(make)) {
                Ok(agent) => agent,
                Err(panic) => {
                    return start_failed(panic_text(&*panic));
                }
            };
            let mut cx = Context::new(Arc::clone(&self.cell), incarnation);
            let started = {
                // Here and below a future is pinned where it is made: each further one around it
                // would be room that an idle agent keeps.
                let mut start = pin!(agent.start(&mut cx));
                poll_fn(|task| span.in_scope(|| poll_caught(start.as_mut(), task))).await
            };
            drop(span);
            let (end, may_stop) = match started {
                Ok(Ok(())) if cx.ending == Ending::Ignore => {
                    (Ok(End { outcome: Outcome::Ignored }), false)
                }
                Ok(Ok(())) => {
                    let end = self.work_as(incarnation, &mut agent, &mut cx, &mut lifecycle).await;
                    let may_stop = !matches!(end, Next::Panicked(_));
                    (Err(end), may_stop)
                }
                Ok(Err(error)) => (Ok(start_failed(error.to_string().into())), true),
                Err(panic) => (Ok(start_failed(panic)), false),
            };
            let stopped = if may_stop {
                let span = spans::stop(&self.cell.core.name, incarnation);
                let mut stop = pin!(agent.stop(&mut cx));
                poll_fn(|task| span.in_scope(|| poll_caught(stop.as_mut(), task))).await
            } else {
                Ok(())
            };
            match (end, stopped) {
                (Ok(end), _) => end,
                (Err(Next::Panicked(detail) | Next::Crash(detail)), _) | (Err(_), Err(detail)) => {
                    End::exited(ExitReason::Crashed, Some(detail))
                }
                (Err(Next::Stop(reason)), Ok(())) => End::exited(reason, None),
                (Err(Next::Go), Ok(())) => End::exited(ExitReason::Normal, None),
            }
        }
    }

    /// From the end of the start to the beginning of the stop.
    async fn work_as(
        &self,
        incarnation: u64,
        agent: &mut A,
        cx: &mut Context<A>,
        lifecycle: &mut Lifecycle,
    ) -> Next {
        // A refusal of the machine is no fault from here on, but says that it is there already.
        let _ = lifecycle.started();
        if self.cell.core.is_suspended() {
            let _ = lifecycle.suspend();
        }
        self.show(lifecycle);
        let outcome = Outcome::Started { incarnation };
        self.inbox.fact(Fact { process: self.process, outcome });
        let end = self.work(agent, cx, lifecycle).await;
        let _ = match &end {
            Next::Panicked(_) | Next::Crash(_) => lifecycle.crashed(),
            Next::Go | Next::Stop(_) => lifecycle.stop(),
        };
        self.show(lifecycle);
        end
    }

    /// Makes the state visible from outside.
    fn show(&self, lifecycle: &Lifecycle) {
        self.cell.core.set_status(lifecycle.state().into());
    }

    /// Handles controls and messages until something ends the incarnation.
    async fn work(&self, agent: &mut A, cx: &mut Context<A>, lifecycle: &mut Lifecycle) -> Next {
        let mut in_this_poll = 0;
        let mut mailbox = Borrowed::of(&self.cell);
        if let Some(end) = asked_end(cx) {
            return end;
        }
        loop {
            if self.life.is_killed() || self.life.is_over(|| self.cell.core.shared.executor.now()) {
                // It may have been while a method blocked the thread. What is queued is not for
                // us any more; the guard ends us as soon as we let it.
                mailbox.give_back();
                std::future::pending::<()>().await;
            }
            let accept = accepted(lifecycle.state());
            let claimed = if accept == Accept::All { mailbox.claim() } else { None };
            let popped = match claimed {
                Some(envelope) => Popped::Message(Lane::Normal, envelope),
                None => poll_fn(|cx| mailbox.poll_pop(cx, accept)).await,
            };
            let next = match popped {
                Popped::Control(control) => self.control(agent, lifecycle, control),
                Popped::Message(_, envelope) if self.is_over(cx, &envelope) => {
                    self.cell.dead_letter(envelope, ReplyFailure::Expired);
                    Next::Go
                }
                Popped::Message(lane, mut envelope) => {
                    // All in this one future: what is moved through several on the way of each
                    // message costs more than the message.
                    let mut hand = Hand::take(self, lifecycle, lane, &mut envelope);
                    let mut message = envelope.message;
                    loop {
                        let handled = if self.is_watched() {
                            mailbox.give_back();
                            Box::pin(self.handle_watched(agent, cx, message)).await
                        } else {
                            let mut handle = pin!(agent.handle(message, cx));
                            poll_fn(|cx| {
                                let handled = poll_caught(handle.as_mut(), cx);
                                if handled.is_pending() {
                                    mailbox.give_back();
                                }
                                handled
                            })
                            .await
                        };
                        if let Ok(Ok(())) = handled {
                            hand.done();
                            break Next::Go;
                        }
                        // The message may go back, in front of what was behind it.
                        mailbox.give_back();
                        match self.failed(agent, &mut hand, handled) {
                            Ok(next) => break next,
                            Err(again) => message = again,
                        }
                    }
                }
                Popped::Drained => Next::Stop(ExitReason::Shutdown),
            };
            if !matches!(next, Next::Go) {
                return next;
            }
            if let Some(end) = asked_end(cx) {
                return end;
            }
            in_this_poll += 1;
            if in_this_poll == MESSAGES_PER_POLL {
                in_this_poll = 0;
                mailbox.give_back();
                yield_now().await;
            }
        }
    }

    /// Whether the message's time to live is over, or that of the incarnation whose timer sent it.
    fn is_over(&self, cx: &Context<A>, envelope: &Envelope<A::Message>) -> bool {
        let is_for_another =
            envelope.only_for.is_some_and(|it| it != OnlyFor::of(cx.incarnation()));
        let now = || self.cell.core.shared.executor.now();
        is_for_another || (envelope.expires < Instant::MAX && envelope.expires <= now())
    }

    fn control(&self, agent: &mut A, lifecycle: &mut Lifecycle, control: Control) -> Next {
        let core = &self.cell.core;
        if control.is_wish() {
            core.wish_taken();
        }
        let name = Arc::clone(&core.name);
        let hook = |act: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(act)).err();
        let (panic, next) = match control {
            Control::Shutdown { process } if process != self.process => (None, Next::Go),
            // While it drains, the end of the queue stops it.
            Control::Shutdown { .. } if core.drains() => (None, Next::Go),
            Control::Shutdown { .. } => (None, Next::Stop(ExitReason::Shutdown)),
            Control::Restart { process, .. } if process != self.process => (None, Next::Go),
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
        self.work.handle_timeout.is_some() || spans::handles_wanted()
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
            let Some(timeout) = self.work.handle_timeout else {
                return agent.handle(message, cx).await;
            };
            let shared = Arc::clone(&self.cell.core.shared);
            let deadline = shared.executor.now().saturating_add(timeout);
            let handled = shared.timers.timeout(deadline, agent.handle(message, cx)).await;
            handled.unwrap_or_else(|_| {
                Err(AgentError::new(format!("one message took longer than {timeout:?}")))
            })
        });
        if spans::handles_wanted() {
            let core = &self.cell.core;
            return spans::within(spans::handle(&core.name, core.starts()), handle).await;
        }
        handle.await
    }

    /// A delivery that has not gone well: what the agent and the kernel make of it. `Err` is the
    /// message once more.
    #[cold]
    fn failed(
        &self,
        agent: &mut A,
        hand: &mut Hand<'_, A>,
        handled: Handling,
    ) -> Result<Next, A::Message> {
        let error = match handled {
            Ok(Ok(())) => return Ok(Next::Go),
            Ok(Err(error)) => error,
            Err(panic) => {
                hand.failed(ReplyFailure::Crashed);
                return Ok(Next::Panicked(panic));
            }
        };
        let attempt = hand.attempt();
        let action = match catch_unwind(AssertUnwindSafe(|| agent.on_error(&error, attempt))) {
            Ok(action) => action,
            Err(panic) => {
                hand.failed(ReplyFailure::Crashed);
                return Ok(Next::Panicked(panic_text(&*panic)));
            }
        };
        Ok(match hand.on_error(action) {
            ErrorDecision::Redeliver { .. } => {
                if let Some(again) = hand.again() {
                    return Err(again);
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
        write!(f, "Incarnation({:?})", self.process)
    }
}

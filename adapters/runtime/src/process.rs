//! One incarnation of an agent: its loop, and the guard around it.
//!
//! Whatever happens inside (a return, an error, a panic, a kill, the host going away), the driver
//! hears of exactly one end. Panics of the agent's methods are caught at the method, so that the
//! loop still knows which message was in hand; the guard around the loop catches what is left.

mod borrowed;
mod desk;
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

use lictor_kernel::{ExitReason, Instant, Lifecycle, ProcessId};

use pin_project_lite::pin_project;

use self::desk::{Desk, End as Ended};
use crate::agent::{Agent, InHandPolicy};
use crate::cell::{AnyCell, Cell, Launch};
use crate::context::{Context, Ending};
use crate::error::AgentError;
use crate::executor::{Executor, Task};
use crate::inbox::{Fact, Inbox, Outcome};
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

struct Incarnation<A: Agent> {
    cell: Arc<Cell<A::Message>>,
    inbox: Arc<Inbox>,
    life: Arc<Life>,
    process: ProcessId,
    work: Work,
    factory: Arc<dyn Fn() -> A + Send + Sync>,
}

impl<A: Agent> Incarnation<A> {
    /// The life of one incarnation.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep `self` twice")]
    fn run(self) -> impl Future<Output = End> {
        async move {
            let incarnation = self.cell.core.begin_incarnation();
            let lifecycle = Lifecycle::new(incarnation, self.work.max_retries);
            self.cell.core.set_status(lifecycle.state().into());
            let span = spans::start(&self.cell.core.name, incarnation);
            let make = || span.in_scope(|| (self.factory)());
            let mut agent = match catch_unwind(AssertUnwindSafe(make)) {
                Ok(agent) => agent,
                Err(panic) => {
                    return start_failed(panic_text(&*panic));
                }
            };
            let mut cx = Context::new(Arc::clone(&self.cell), incarnation);
            let mut desk = Desk::of(&self, lifecycle);
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
                    desk.started(incarnation);
                    let end = desk.work(&mut agent, &mut cx).await;
                    desk.ended(&end);
                    let may_stop = !matches!(end, Ended::Panicked(_));
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
                (Err(Ended::Panicked(detail) | Ended::Crash(detail)), _)
                | (Err(_), Err(detail)) => End::exited(ExitReason::Crashed, Some(detail)),
                (Err(Ended::Stop(reason)), Ok(())) => End::exited(reason, None),
            }
        }
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
}

/// What became of one delivery: the agent's own result, or what its panic said.
type Handling = Result<Result<(), AgentError>, Arc<str>>;

/// Catches panics of a future, wherever in it they happen.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Arc<str>> {
    let mut future = pin!(future);
    poll_fn(|cx| poll_caught(future.as_mut(), cx)).await
}

#[inline]
fn poll_caught<F: Future>(
    future: Pin<&mut F>,
    cx: &mut TaskContext<'_>,
) -> Poll<Result<F::Output, Arc<str>>> {
    let mut polled = Poll::Pending;
    match catch_unwind(AssertUnwindSafe(|| polled = future.poll(cx))) {
        Ok(()) => polled.map(Ok),
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

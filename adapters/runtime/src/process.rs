//! One incarnation of an agent: its life, and the guard around it; the loop is at the `desk`.
//!
//! Whatever happens inside (a return, an error, a panic, a kill, the host going away), the driver
//! hears of exactly one end. Panics of the agent's methods are caught at the method, so that the
//! loop still knows which message was in hand; the guard around the loop catches what is left.

mod borrowed;
mod desk;
mod hand;
mod life;

use std::any::Any;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use lictor_kernel::{ExitReason, LifecycleState};

use pin_project_lite::pin_project;

use self::desk::{Desk, End};
pub(crate) use self::life::Life;
use crate::agent::{Agent, InHandPolicy};
use crate::cell::{AnyCell, Cell, Core, Launch};
use crate::context::{Context, Ending};
use crate::error::AgentError;
use crate::executor::Task;
use crate::inbox::{Fact, Outcome};
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

pin_project! {
    /// Reports one end, and ends at once when killed. The body lives inside: an incarnation is one
    /// allocation.
    struct Guarded<F> {
        // Until the end. That it is over needs no room of its own: then there is no life.
        #[pin]
        alive: Option<Alive<F>>,
    }

    impl<F> PinnedDrop for Guarded<F> {
        fn drop(this: Pin<&mut Self>) {
            // Dropped unfinished: the host is going away.
            this.end(Outcome::Exited { reason: ExitReason::Killed, detail: None });
        }
    }
}

pin_project! {
    struct Alive<F> {
        #[pin]
        body: F,
        life: Arc<Life>,
        // The waker that the life was told last.
        registered: Option<Waker>,
        shared: Arc<Shared>,
    }
}

impl<F> Guarded<F> {
    fn end(self: Pin<&mut Self>, outcome: Outcome) {
        let mut alive = self.project().alive;
        let Some(Alive { life, shared, .. }) = alive.as_ref().get_ref() else { return };
        let (process, shared) = (life.process, Arc::clone(shared));
        // The body goes first: what it holds (a message in hand) is settled before the driver
        // hears of the end and starts the next incarnation. Where its drop panics it is gone, too.
        let _ = catch_unwind(AssertUnwindSafe(|| alive.as_mut().set(None)));
        shared.inbox.fact(Fact { process, outcome });
    }
}

impl<F: Future<Output = Outcome>> Future for Guarded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(this) = self.as_mut().project().alive.as_pin_mut() else {
            return Poll::Ready(());
        };
        let this = this.project();
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
        match catch_unwind(AssertUnwindSafe(|| this.body.poll(cx))) {
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
pub(crate) struct Launcher<A: Agent, F: ?Sized> {
    pub(crate) cell: Arc<Cell<A::Message>>,
    /// Last and of no known size, so that it lies in here: most factories capture nothing.
    pub(crate) factory: F,
}

/// A launcher, whatever its factory is.
type AnyLauncher<A> = Launcher<A, dyn Fn() -> A + Send + Sync>;

impl<A: Agent, F: Fn() -> A + Send + Sync + 'static> Launch for Launcher<A, F> {
    fn core(&self) -> &Core {
        &self.cell.core
    }

    fn cell(&self) -> Arc<dyn AnyCell> {
        Arc::<Cell<A::Message>>::clone(&self.cell)
    }

    fn launch(self: Arc<Self>, life: Arc<Life>) -> Task {
        let shared = Arc::clone(&self.cell.core.shared);
        let launcher: Arc<AnyLauncher<A>> = self;
        let incarnation = Incarnation { launcher, life: Arc::clone(&life) };
        let body = incarnation.run();
        Box::pin(Guarded { alive: Some(Alive { body, life, registered: None, shared }) })
    }
}

/// What a start has led to, if not to an agent that is up, and whether its `stop` is called then.
fn not_up<A: Agent>(started: Handling, cx: &Context<A>) -> Option<(Outcome, bool)> {
    match started {
        Ok(Ok(())) if matches!(cx.ending(), Some(Ending::Ignore)) => {
            Some((Outcome::Ignored, false))
        }
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some((Outcome::StartFailed { detail: error.to_string().into() }, true)),
        Err(panic) => Some((Outcome::StartFailed { detail: panic }, false)),
    }
}

struct Incarnation<A: Agent> {
    launcher: Arc<AnyLauncher<A>>,
    life: Arc<Life>,
}

impl<A: Agent> Incarnation<A> {
    /// The life of one incarnation.
    ///
    /// One future with all waits in it, and each value in the smallest block that will do: what an
    /// idle agent keeps of memory is decided here more than anywhere else.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep `self` twice")]
    fn run(self) -> impl Future<Output = Outcome> {
        async move {
            let incarnation = self.cell().core.begin_incarnation();
            self.cell().core.set_status(LifecycleState::Initializing.into());
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
            let end = {
                let mut desk = Desk::of(&self, cx.incarnation());
                desk.started();
                let end = desk.work(&mut agent, &mut cx).await;
                desk.ended(&end);
                end
            };
            let stopped = if matches!(end, End::Panicked(_)) {
                Ok(())
            } else {
                self.stop(&mut agent, &mut cx).await
            };
            match (end, stopped) {
                (End::Panicked(detail) | End::Crash(detail), _) | (_, Err(detail)) => {
                    Outcome::Exited { reason: ExitReason::Crashed, detail: Some(detail) }
                }
                (End::Stop(reason), Ok(())) => Outcome::Exited { reason, detail: None },
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

    /// Whether somebody listens to each delivery, or the time for it is bounded.
    #[inline]
    fn is_watched(&self) -> bool {
        self.cell().core.work().handle_timeout < Work::NO_LIMIT || spans::handles_wanted()
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
            let Some(timeout) = self.cell().core.work().time() else {
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

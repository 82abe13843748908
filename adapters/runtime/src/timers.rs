//! Many waits, one sleep.
//!
//! A call with a deadline is made millions of times a second and nearly always answered long
//! before. So a wait here is an entry in a map and not a timer of the host: only the earliest one
//! is, and a single background task holds it. Removing a wait does not touch that task. Its sleep
//! may then end early for what is left; it takes the next deadline and sleeps on, or parks without
//! a sleep. So a clock that only advances when everybody sleeps is bothered at most once per
//! armed sleep, and never while nothing has been registered.
//!
//! A call is bounded rather than waited for (`Bounded`): the one waker of its asker is in its
//! slot, and when it is over nobody comes here to say so. What is over is swept out by those that
//! come later.

mod calls;
mod waits;

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lictor_kernel::Instant;

pub(crate) use self::calls::Bounded;
use self::calls::Calls;
use self::waits::{Key, Waits};
use crate::executor::{Executor, Role, Task};
use crate::sync::{Mutex, wake};

/// The deadline came before the future was ready.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Elapsed;

impl Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl Error for Elapsed {}

/// The waits of one runtime. Dropping it ends its background task.
pub struct Timers {
    shared: Arc<Shared>,
}

struct Shared {
    executor: Arc<dyn Executor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waits: Waits,
    calls: Calls,
    registered: u64,
    /// Whether the background task lives.
    spawned: bool,
    /// The background task, when it is not already on its way.
    background: Option<Waker>,
    /// The instant at which the background task will look again by itself.
    armed: Option<Instant>,
    /// Waits registered before this one have lost the background task: the host may be gone.
    given_up: u64,
    closed: bool,
}

impl Timers {
    /// No waits yet, and no background task: the first wait spawns it on `executor`.
    #[must_use]
    pub fn new(executor: Arc<dyn Executor>) -> Self {
        Self { shared: Arc::new(Shared { executor, state: Mutex::new(State::default()) }) }
    }

    /// The host's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.executor.now()
    }

    /// Waits until `deadline`. [`Instant::MAX`] never comes, nor does any once the host is gone.
    ///
    /// The wait is registered when the future is first polled and removed when it is dropped, each
    /// in `O(log n)`. Waits with one deadline end in the order of their registration.
    pub fn wait_until(&self, deadline: Instant) -> Wait<'_> {
        Wait { shared: &self.shared, deadline, key: None }
    }

    /// Runs `future` until `deadline`. A future that is ready wins over a deadline that has passed,
    /// and one that is ready at once registers nothing.
    ///
    /// # Errors
    /// [`Elapsed`], when the deadline came first, or the host has gone and it cannot come: whoever
    /// waits on another host must not wait for ever.
    pub async fn timeout<F: Future>(
        &self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut wait = self.wait_until(deadline);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            wait.poll_end(cx).map(|_| Err(Elapsed))
        })
        .await
    }

    /// Tells what is bounded when its deadline has come, or cannot come because the host is gone,
    /// unless it is over by then.
    pub(crate) fn bound(&self, deadline: Instant, call: Arc<dyn Bounded>) {
        self.shared.register(deadline, |state, key| state.calls.insert(key, call));
    }

    /// How many waits are registered. `O(n)`.
    #[must_use]
    pub fn len(&self) -> usize {
        let state = self.shared.state.lock();
        state.waits.len() + state.calls.len()
    }

    /// Whether no wait is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        let background = state.background.take();
        drop(state);
        if let Some(background) = background {
            wake(background);
        }
    }
}

impl Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("waits", &self.len()).finish_non_exhaustive()
    }
}

/// Future of [`Timers::wait_until`].
#[must_use = "a wait is registered when it is first polled"]
pub struct Wait<'a> {
    shared: &'a Arc<Shared>,
    deadline: Instant,
    /// Set from the registration to the end.
    key: Option<Key>,
}

/// How a wait ended.
enum End {
    Due,
    GivenUp,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_end(cx) {
            Poll::Ready(End::Due) => Poll::Ready(()),
            // It is not due: what waits for it alone must not happen early. Should the host live
            // on after all, it will be.
            Poll::Ready(End::GivenUp) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Wait<'_> {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(key) = self.key else {
            if self.deadline < Instant::MAX {
                let waker = cx.waker().clone();
                let insert = |state: &mut State, key| state.waits.insert(key, waker);
                self.key = Some(self.shared.register(self.deadline, insert));
            }
            return Poll::Pending;
        };
        let mut state = self.shared.state.lock();
        let given_up = key.1 < state.given_up;
        let Some(waker) = state.waits.get_mut(key) else {
            drop(state);
            self.key = None;
            // Polled again, it is over again.
            self.deadline = Instant::ZERO;
            return Poll::Ready(End::Due);
        };
        if !waker.will_wake(cx.waker()) {
            let stale = std::mem::replace(waker, cx.waker().clone());
            drop(state);
            drop(stale);
        }
        if given_up { Poll::Ready(End::GivenUp) } else { Poll::Pending }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let mut state = self.shared.state.lock();
            let removed = state.waits.remove(key);
            drop(state);
            drop(removed);
        }
    }
}

impl Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Shared {
    fn register(self: &Arc<Self>, deadline: Instant, insert: impl FnOnce(&mut State, Key)) -> Key {
        let mut state = self.state.lock();
        let key = (deadline, state.registered);
        state.registered += 1;
        insert(&mut state, key);
        let spawn = !state.spawned;
        let mut background = None;
        if spawn {
            state.spawned = true;
        } else if state.armed.is_none_or(|armed| deadline < armed) {
            // Those that register next need not wake it again for this instant or later.
            state.armed = Some(deadline);
            background = state.background.take();
        }
        drop(state);
        if spawn {
            self.spawn();
        }
        if let Some(background) = background {
            wake(background);
        }
        key
    }

    #[cold]
    fn spawn(self: &Arc<Self>) {
        let background = Box::pin(Background { shared: Arc::clone(self), sleep: None });
        self.executor.spawn_as(Role::Timers, background);
    }

    /// Takes the waits that are due and arms the next one.
    ///
    /// Returns `None` when the task has to end.
    fn fire(&self, background: &Waker) -> Option<(Vec<Due>, Option<Instant>, Option<Waker>)> {
        let now = self.executor.now();
        let mut due = Vec::new();
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        while let Some(next) = state.pop_due(now) {
            due.push(next);
        }
        let first = state.calls.first().into_iter().chain(state.waits.first());
        state.armed = first.min().map(|(deadline, _)| deadline);
        let armed = state.armed;
        let stale = state.background.replace(background.clone());
        Some((due, armed, stale))
    }
}

impl State {
    /// Takes what comes first, if it is due.
    fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let (wait, call) = (self.waits.first(), self.calls.first());
        let first = wait.into_iter().chain(call).min().filter(|(deadline, _)| *deadline <= now)?;
        if call == Some(first) {
            return self.calls.take(first).map(Due::Call);
        }
        self.waits.remove(first).map(Due::Wait)
    }
}

/// What is told that its deadline has come.
enum Due {
    Wait(Waker),
    Call(Arc<dyn Bounded>),
}

impl Due {
    fn tell(self) {
        let waker = match self {
            Self::Wait(waker) => Some(waker),
            Self::Call(call) => call.due(),
        };
        if let Some(waker) = waker {
            wake(waker);
        }
    }
}

/// The one task that sleeps for all waits.
struct Background {
    shared: Arc<Shared>,
    sleep: Option<(Instant, Task)>,
}

impl Future for Background {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some((due, armed, stale)) = self.shared.fire(cx.waker()) else {
                return Poll::Ready(());
            };
            drop(stale);
            due.into_iter().for_each(Due::tell);
            let Some(deadline) = armed else {
                self.sleep = None;
                return Poll::Pending;
            };
            if self.sleep.as_ref().is_none_or(|(at, _)| *at != deadline) {
                self.sleep = Some((deadline, self.shared.executor.sleep_until(deadline)));
            }
            let Some((_, sleep)) = &mut self.sleep else { return Poll::Pending };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The host may have dropped us while waits are registered, as a shut-down does: those that
        // bound something else are told. The next one to register tries again.
        let mut state = self.shared.state.lock();
        state.spawned = false;
        state.armed = None;
        state.given_up = state.registered;
        let own = state.background.take();
        let waits = state.waits.all().into_iter().map(|(key, waker)| (key, Due::Wait(waker)));
        let calls = state.calls.take_all().into_iter().map(|(key, call)| (key, Due::Call(call)));
        let mut all: Vec<_> = waits.chain(calls).collect();
        drop(state);
        drop(own);
        all.sort_by_key(|(key, _)| *key);
        all.into_iter().for_each(|(_, due)| due.tell());
    }
}

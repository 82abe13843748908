//! A host of a node whose timers may be late, and whose clock may be ahead or run fast.
//!
//! A sleep is until the node's clock shows something. So when the clock leaps, all that sleep here
//! look again: a deadline that it has leapt over is due now.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::{Executor, Role, Task};

use crate::clock::Clock;
use crate::live::ClockChange;

/// A host. See the [module](self).
pub(super) struct Host {
    inner: Arc<dyn Executor>,
    watch: Arc<Mutex<Watch>>,
}

/// The clock of a host, and who waits by it.
struct Watch {
    clock: Clock,
    /// In nanoseconds.
    late: u64,
    /// How often the clock was changed.
    changes: u64,
    sleepers: Vec<Waker>,
}

impl Host {
    pub(super) fn new(inner: Arc<dyn Executor>) -> Arc<Self> {
        let watch = Watch { clock: Clock::new(), late: 0, changes: 0, sleepers: Vec::new() };
        Arc::new(Self { inner, watch: Arc::new(Mutex::new(watch)) })
    }

    /// Does something to its clock or its timers.
    pub(super) fn change(&self, change: ClockChange) {
        let now = self.inner.now();
        let mut watch = locked(&self.watch);
        match change {
            // Sleeps that have begun end as they would have.
            ClockChange::Late(by) => {
                watch.late = by;
                return;
            }
            ClockChange::Leap(by) => watch.clock.leap(now, by),
            ClockChange::Drift(per_million) => watch.clock.drift(now, per_million),
        }
        watch.changes += 1;
        let sleepers = std::mem::take(&mut watch.sleepers);
        drop(watch);
        sleepers.into_iter().for_each(Waker::wake);
    }
}

fn locked(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl Executor for Host {
    fn now(&self) -> Instant {
        locked(&self.watch).clock.shows(self.inner.now())
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let (inner, watch) = (Arc::clone(&self.inner), Arc::clone(&self.watch));
        let late = locked(&watch).late;
        Box::pin(Sleep { inner, watch, deadline, late, sleep: None })
    }

    fn spawn(&self, task: Task) {
        self.inner.spawn(task);
    }

    fn spawn_as(&self, role: Role<'_>, task: Task) {
        self.inner.spawn_as(role, task);
    }
}

/// Until the clock of a host shows this.
struct Sleep {
    inner: Arc<dyn Executor>,
    watch: Arc<Mutex<Watch>>,
    deadline: Instant,
    late: u64,
    /// By the world's clock, as it was translated after so many changes.
    sleep: Option<(u64, Task)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { inner, watch, deadline, late, sleep } = self.get_mut();
        let (clock, changes) = {
            let mut watch = locked(watch);
            if !watch.sleepers.iter().any(|known| known.will_wake(cx.waker())) {
                watch.sleepers.push(cx.waker().clone());
            }
            (watch.clock, watch.changes)
        };
        if sleep.as_ref().is_none_or(|(known, _)| *known != changes) {
            let at = clock.when(*deadline).saturating_add(Duration::from_nanos(*late));
            *sleep = Some((changes, inner.sleep_until(at)));
        }
        match sleep {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

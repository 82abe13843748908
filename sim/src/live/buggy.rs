//! An executor on which tasks let others go first and are woken for nothing, now and then, and on
//! which those that bring a message to a mailbox are looked into.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use lictor_kernel::Instant;
use lictor_runtime::{Executor, Role, Task};

use super::Live;
use super::tap::Entering;
use super::timer::{Timed, has_timers};
use crate::buggify::Point;
use crate::record::NodeIx;

/// The executor of a boot of a node. See the [module](self).
struct Buggy {
    inner: Arc<dyn Executor>,
    live: Arc<Live>,
    /// Node and boot.
    whose: u64,
    spawned: AtomicU64,
    wavers: bool,
}

/// The executor of a boot of a node: the one that it has, unless the plan wants more.
pub(super) fn buggy(
    live: &Arc<Live>,
    (node, boot): (NodeIx, u32),
    inner: &Arc<dyn Executor>,
) -> Arc<dyn Executor> {
    let points = [Point::ExtraYield, Point::SpuriousWake];
    let wavers = live.with(|ledger| points.into_iter().any(|point| ledger.buggify.has(point)));
    if !wavers && !has_timers(&live.plan) && live.plan.scenario.nodes() < 2 {
        return Arc::clone(inner);
    }
    let whose = u64::from(node.0) << 48 | u64::from(boot) << 32;
    let (inner, live, spawned) = (Arc::clone(inner), Arc::clone(live), AtomicU64::new(0));
    Arc::new(Buggy { inner, live, whose, spawned, wavers })
}

impl fmt::Debug for Buggy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl Buggy {
    fn wrap(&self, task: Task) -> Task {
        if !self.wavers {
            return task;
        }
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let whose = self.whose | (number & 0xffff_ffff);
        Box::pin(Wavering { task, live: Arc::clone(&self.live), whose, polls: 0 })
    }
}

impl Executor for Buggy {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.inner.sleep_until(deadline)
    }

    fn spawn(&self, task: Task) {
        self.inner.spawn(self.wrap(task));
    }

    fn spawn_as(&self, role: Role<'_>, task: Task) {
        let is_timer = matches!(role, Role::Delayed(_));
        let is_remote = matches!(role, Role::Remote(_));
        let (timer, entrant) = self.live.with(|ledger| {
            let timer = ledger.timer.take_if(|_| is_timer);
            (timer, ledger.entrant.take_if(|_| is_remote))
        });
        let live = Arc::clone(&self.live);
        let task: Task = if let Some(timer) = timer {
            let executor = Arc::clone(&self.inner);
            Box::pin(Timed { task, live, executor, timer, came: false })
        } else if let Some(entrant) = entrant {
            Box::pin(Entering { task, live, entrant })
        } else {
            task
        };
        self.inner.spawn_as(role, self.wrap(task));
    }
}

/// A task that does not always go on at once.
struct Wavering {
    task: Task,
    live: Arc<Live>,
    whose: u64,
    polls: u64,
}

impl Future for Wavering {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { task, live, whose, polls } = self.get_mut();
        *polls += 1;
        let fires = |point| live.with(|ledger| ledger.buggify.fires(point, *whose, *polls));
        if fires(Point::ExtraYield) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = task.as_mut().poll(cx);
        if polled.is_pending() && fires(Point::SpuriousWake) {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

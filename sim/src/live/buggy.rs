//! An executor on which tasks let others go first and are woken for nothing, now and then.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use lictor_kernel::Instant;
use lictor_runtime::{Executor, Role, Task};

use super::Live;
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
}

/// The executor of a boot of a node: the one that it has, unless the plan wants more.
pub(super) fn buggy(
    live: &Arc<Live>,
    (node, boot): (NodeIx, u32),
    inner: &Arc<dyn Executor>,
) -> Arc<dyn Executor> {
    let wanted = live.with(|ledger| {
        let wavers = [Point::ExtraYield, Point::SpuriousWake];
        wavers.into_iter().any(|point| ledger.buggify.has(point)) || has_timers(&ledger.plan)
    });
    if !wanted {
        return Arc::clone(inner);
    }
    let whose = u64::from(node.0) << 48 | u64::from(boot) << 32;
    let (inner, live, spawned) = (Arc::clone(inner), Arc::clone(live), AtomicU64::new(0));
    Arc::new(Buggy { inner, live, whose, spawned })
}

impl fmt::Debug for Buggy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl Buggy {
    fn wrap(&self, task: Task) -> Task {
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
        let timer = self.live.with(|ledger| ledger.timer.take_if(|_| is_timer));
        let task: Task = match timer {
            Some(timer) => {
                let (live, executor) = (Arc::clone(&self.live), Arc::clone(&self.inner));
                Box::pin(Timed { task, live, executor, timer, came: false })
            }
            None => task,
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

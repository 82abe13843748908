//! Sleeps: entries in one map, in the order of their deadlines and then of their registration.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lictor_kernel::Instant;

use super::core::{Core, State};
use super::ready::Entry;
use crate::stream::{Purpose, mix};

/// Deadline and registration, in nanoseconds.
pub(super) type Key = (u64, u64);

/// What happens when a timer ends.
pub(super) enum Timer {
    /// The sleep was to end then; later than its key, if it is late.
    Wake(Waker, u64),
    /// A task that was woken and is slow is ready.
    Ready(Entry),
}

/// A sleep. It is registered when it is first polled: only then is it known who sleeps.
pub(super) struct Sleep {
    core: Arc<Core>,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    New,
    Waiting(Key),
    Over,
}

impl Sleep {
    pub(super) const fn new(core: Arc<Core>, deadline: Instant) -> Self {
        Self { core, deadline, stage: Stage::New }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { core, deadline, stage } = self.get_mut();
        let mut state = core.state();
        match *stage {
            Stage::Over => return Poll::Ready(()),
            Stage::New if *deadline <= core.now() => {
                *stage = Stage::Over;
                return Poll::Ready(());
            }
            // It never comes, so it is no timer: who waits for it alone is deadlocked.
            Stage::New if *deadline == Instant::MAX => return Poll::Pending,
            Stage::New => {
                let at = state.when(core, *deadline);
                *stage = Stage::Waiting(
                    state.add_timer(at, Timer::Wake(cx.waker().clone(), deadline.as_nanos())),
                );
                return Poll::Pending;
            }
            Stage::Waiting(_) => {}
        }
        let Stage::Waiting(key) = *stage else { return Poll::Ready(()) };
        let Some(Timer::Wake(waker, _)) = state.timers.get_mut(&key) else {
            *stage = Stage::Over;
            return Poll::Ready(());
        };
        if !waker.will_wake(cx.waker()) {
            let stale = std::mem::replace(waker, cx.waker().clone());
            drop(state);
            drop(stale);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Stage::Waiting(key) = self.stage {
            let removed = self.core.state().timers.remove(&key);
            drop(removed);
        }
    }
}

impl State {
    pub(super) fn add_timer(&mut self, at: u64, timer: Timer) -> Key {
        let key = (at, self.registered);
        self.registered += 1;
        self.timers.insert(key, timer);
        key
    }

    /// Whether a sleep should have ended and is late. Who waits for it may see the time, and go on
    /// without a wake.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        let mut timers = self.timers.values();
        timers.any(|timer| matches!(timer, Timer::Wake(_, due) if *due <= now.as_nanos()))
    }

    /// When a sleep until `deadline` ends: then, or later if the configuration says so.
    fn when(&mut self, core: &Core, deadline: Instant) -> u64 {
        let config = &core.config;
        if config.late_timers == 0 {
            return deadline.as_nanos();
        }
        let Some(slot) = self.current.and_then(|slot| self.slots.get_mut(slot as usize)) else {
            return deadline.as_nanos();
        };
        let (whose, n) = (slot.identity, slot.sleeps);
        slot.sleeps += 1;
        if !core.streams.chance(Purpose::Clock, whose, n, config.late_timers) {
            return deadline.as_nanos();
        }
        self.counters.late_timers += 1;
        let most = u64::try_from(config.late_by.as_nanos()).unwrap_or(u64::MAX);
        let late = core.streams.between(Purpose::Clock, mix(whose), n, 1, most.max(1));
        deadline.as_nanos().saturating_add(late)
    }
}

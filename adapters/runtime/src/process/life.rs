//! The outside's hold on an incarnation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Waker};

use lictor_kernel::{Instant, ProcessId};

use crate::sync::{Mutex, wake};

/// Until when the killed live.
const KILLED: u64 = 0;

/// The outside's hold on an incarnation: kill it.
#[derive(Debug)]
pub(crate) struct Life {
    /// Whose life it is.
    pub(crate) process: ProcessId,
    /// From this instant on, in nanoseconds, it handles nothing: it runs here for another node,
    /// which may start it elsewhere then. At the end of time for all others, and at its beginning
    /// for one that was killed.
    until: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Life {
    pub(crate) fn new(process: ProcessId) -> Self {
        let until = AtomicU64::new(Instant::MAX.as_nanos());
        Self { process, until, waker: Mutex::new(None) }
    }

    pub(crate) fn lease_until(&self, until: Instant) {
        // Whoever was killed stays so. Only the driver gets here and to the kill.
        if !self.is_killed() {
            self.until.store(until.as_nanos().max(1), Ordering::Release);
        }
    }

    /// Whether it was killed, or its lease is over. The driver kills it then; but after a pause of
    /// the whole operating-system process, the agent may be polled before the driver is. Only what
    /// is leased reads the clock.
    pub(super) fn is_over(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until < Instant::MAX.as_nanos() && until <= now().as_nanos()
    }

    /// Ends the incarnation at its next await.
    pub(crate) fn kill(&self) {
        self.until.store(KILLED, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    pub(super) fn is_killed(&self) -> bool {
        self.until.load(Ordering::Acquire) == KILLED
    }

    pub(super) fn register(&self, cx: &TaskContext<'_>) {
        let mut waker = self.waker.lock();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            let stale = waker.replace(cx.waker().clone());
            drop(waker);
            drop(stale);
        }
    }
}

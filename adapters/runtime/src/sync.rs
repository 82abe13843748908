//! The locks and flags of the data path: std's, or loom's under `cfg(loom)`.
//!
//! `Arc` is always std's: loom's cannot hold a trait object, and what we want explored are the
//! interleavings of the locks, not those of reference counts.

#[cfg(loom)]
use loom::sync as host;
#[cfg(not(loom))]
use std::sync as host;

pub(crate) use host::atomic::{AtomicBool, AtomicU32, Ordering};
pub(crate) use host::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::task::Waker;

/// Wakes a task that is not ours.
///
/// Its waker is foreign code: a panic there must not become that of whoever had news for it, nor
/// keep the news from those who are told next.
pub(crate) fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// A mutex without poisoning.
///
/// No user code runs under our locks, so a poisoned one can only mean that an assertion of ours
/// failed; the state is then no worse for the next caller than it was for the one that panicked.
#[derive(Debug)]
pub(crate) struct Mutex<T>(host::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(host::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read-write lock without poisoning, for the same reason as [`Mutex`].
#[derive(Debug)]
pub(crate) struct RwLock<T>(host::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(host::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

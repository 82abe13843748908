//! The kernel's time: an instant is a number of nanoseconds that the caller hands in.
//!
//! There is no `now()` here on purpose. All arithmetic saturates: a deadline that would lie after
//! the end of time is the end of time, never a wrapped one in the past.

use alloc::collections::BTreeSet;
use core::time::Duration;

/// A point in monotonic time: nanoseconds since the driver's origin.
///
/// Only differences mean anything; instants of two drivers are not comparable.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ZERO: Self = Self(0);
    /// The end of time, about 584 years after the origin: a deadline here never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the origin, or [`Instant::MAX`] if that overflows.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// The instant `secs` seconds after the origin, or [`Instant::MAX`] if that overflows.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `duration`, or [`Instant::MAX`] if that overflows.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// This instant minus `duration`, or [`Instant::ZERO`] if that lies before the origin.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// The time from `earlier` to this instant, zero if `earlier` is in fact later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds, `u64::MAX` (584 years) if it is longer.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Deadlines in the order in which they fall due: by instant, then by key.
///
/// Setting, clearing and popping are `O(log n)`. The owner of a key remembers its instant, so that
/// it can clear it again; there are no timer ids and hence no stale timers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Deadlines<K: Ord>(BTreeSet<(Instant, K)>);

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds a deadline. Setting the same pair twice is one deadline.
    pub fn set(&mut self, at: Instant, key: K) {
        self.0.insert((at, key));
    }

    /// Removes a deadline and says whether it was there.
    pub fn clear(&mut self, at: Instant, key: K) -> bool {
        self.0.remove(&(at, key))
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest deadline that is due at `now`, its own instant included.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }

    /// Removes and returns the earliest deadline that is strictly before `now`.
    pub fn pop_before(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? >= now {
            return None;
        }
        self.0.pop_first()
    }

    /// How many deadlines are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no deadline is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

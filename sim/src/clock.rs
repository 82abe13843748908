//! A node's clock: it may be ahead of the world's, and may run fast.
//!
//! The world's clock is the one by which events are ordered; a node is only ever told its own. What
//! it wants to be woken at is translated back, rounded up, so that it is never woken early.

use lictor_kernel::Instant;

/// Where a node's clock is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    /// An instant of the world.
    world: u64,
    /// What the clock showed then.
    shown: u64,
    /// By how many parts in a million it runs fast.
    drift: u64,
}

const MILLION: u128 = 1_000_000;

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { world: 0, shown: 0, drift: 0 }
    }

    /// What the clock shows.
    pub(crate) fn shows(&self, now: Instant) -> Instant {
        let passed = now.as_nanos().saturating_sub(self.world);
        let passed = if self.drift == 0 {
            passed
        } else {
            let fast = u128::from(passed) * (MILLION + u128::from(self.drift)) / MILLION;
            u64::try_from(fast).unwrap_or(u64::MAX)
        };
        Instant::from_nanos(self.shown.saturating_add(passed))
    }

    /// The first instant of the world at which the clock shows this or more.
    pub(crate) fn when(&self, shown: Instant) -> Instant {
        if shown == Instant::MAX {
            return Instant::MAX;
        }
        let passed = shown.as_nanos().saturating_sub(self.shown);
        let passed = if self.drift == 0 {
            passed
        } else {
            let slow = (u128::from(passed) * MILLION).div_ceil(MILLION + u128::from(self.drift));
            u64::try_from(slow).unwrap_or(u64::MAX)
        };
        Instant::from_nanos(self.world.saturating_add(passed))
    }

    /// Puts the clock forward. It never goes back: it is monotonic.
    pub(crate) fn leap(&mut self, now: Instant, by: u64) {
        let shown = self.shows(now).as_nanos().saturating_add(by);
        (self.world, self.shown) = (now.as_nanos(), shown);
    }

    /// Lets the clock run fast from now on, by this many parts in a million.
    pub(crate) fn drift(&mut self, now: Instant, per_million: u64) {
        self.leap(now, 0);
        self.drift = per_million;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_comes_back_to_its_instant_and_never_early() {
        let mut clock = Clock::new();
        clock.leap(Instant::from_millis(10), 5_000);
        clock.drift(Instant::from_millis(20), 250_000);
        for nanos in [20_000_000, 20_000_001, 77_777_777, 1_000_000_007] {
            let now = Instant::from_nanos(nanos);
            let shown = clock.shows(now);
            let back = clock.when(shown);
            assert!(back <= now && clock.shows(back) >= shown, "{now:?}");
        }
        assert_eq!(clock.when(Instant::MAX), Instant::MAX);
        assert_eq!(clock.shows(Instant::MAX), Instant::MAX);
    }
}

//! How long to wait before a restart.
//!
//! The input is the occupancy of the restart window, not a lifetime count: as old crashes leave the
//! window the wait shrinks by itself. Jitter is applied inside the cap, so that children that are
//! all at the cap still spread out; a jitter that the cap cuts off synchronises them.
//! All arithmetic is on whole nanoseconds and saturates.

use core::time::Duration;

use crate::time::nanos;
use crate::{Instant, Prng};

/// How the wait grows with the number of crashes `n` in the window.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Curve {
    /// No wait at all: restart at once.
    None,
    /// `base`, whatever `n` is.
    #[default]
    Constant,
    /// `base * n`.
    Linear,
    /// `base * 2^(n - 1)`.
    Exponential,
}

/// How the wait is spread.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Up to a quarter more: uniform in `[d, 1.25 d)`; where that would pass the cap the interval
    /// is
    /// moved down so that it ends at the cap (civitas adds first and then cuts, which leaves none).
    Quarter,
    /// Uniform in `[0, d]`.
    Full,
    /// Uniform in `[base, 3 * previous wait]`, capped; grows by itself, whatever the curve.
    Decorrelated,
}

/// A backoff policy.
///
/// ```
/// use core::time::Duration;
/// use lictor_kernel::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1));
/// let waits: Vec<u128> = (1..=6).map(|n| backoff.curve_delay(n).as_millis()).collect();
/// assert_eq!(waits, [50, 100, 200, 400, 800, 1000]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Backoff {
    /// Growth.
    pub curve: Curve,
    /// The first wait.
    pub base: Duration,
    /// No wait is longer than this.
    pub max: Duration,
    /// Spread.
    pub jitter: Jitter,
    /// A child that was up at least this long when it crashed waits as after its first crash.
    /// `None` leaves the decay to the window alone.
    pub stable_after: Option<Duration>,
}

impl Default for Backoff {
    /// One second, constant, capped at 60 (civitas' default).
    fn default() -> Self {
        Self::constant(Duration::from_secs(1))
    }
}

impl Backoff {
    /// Restart at once.
    pub const NONE: Self = Self {
        curve: Curve::None,
        base: Duration::ZERO,
        max: Duration::ZERO,
        jitter: Jitter::None,
        stable_after: None,
    };

    /// The same wait each time.
    #[must_use]
    pub const fn constant(base: Duration) -> Self {
        Self {
            curve: Curve::Constant,
            base,
            max: Duration::from_secs(60),
            jitter: Jitter::None,
            stable_after: None,
        }
    }

    /// A wait that grows by `base` with every crash in the window, up to `max`.
    #[must_use]
    pub const fn linear(base: Duration, max: Duration) -> Self {
        Self { curve: Curve::Linear, max, ..Self::constant(base) }
    }

    /// A wait that doubles with every crash in the window, up to `max`.
    #[must_use]
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self { curve: Curve::Exponential, max, ..Self::constant(base) }
    }

    /// The same policy with another spread.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The same policy, starting over for a child that had been up at least this long.
    #[must_use]
    pub const fn stable_after(self, period: Duration) -> Self {
        Self { stable_after: Some(period), ..self }
    }

    /// The wait by the curve alone, capped, for `n` crashes in the window (0 counts as 1).
    #[must_use]
    pub fn curve_delay(&self, n: u32) -> Duration {
        let base = nanos(self.base);
        let n = n.max(1);
        let raw = match self.curve {
            Curve::None => 0,
            Curve::Constant => base,
            Curve::Linear => base.saturating_mul(u64::from(n)),
            Curve::Exponential => {
                let factor = 1_u64.checked_shl(n.saturating_sub(1)).unwrap_or(u64::MAX);
                base.saturating_mul(factor)
            }
        };
        Duration::from_nanos(raw.min(nanos(self.max)))
    }
}

/// What a backoff remembers of one child between crashes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct BackoffState {
    /// In nanoseconds: each child has one.
    previous: u64,
}

impl BackoffState {
    /// The wait before the restart of a child that was up since `up_since` and crashed at `at` as
    /// the `occupancy`-th crash in the window. Never longer than [`Backoff::max`].
    pub fn next_delay(
        &mut self,
        backoff: &Backoff,
        occupancy: u32,
        up_since: Option<Instant>,
        at: Instant,
        prng: &mut Prng,
    ) -> Duration {
        let stable = match (backoff.stable_after, up_since) {
            (Some(period), Some(since)) => at.saturating_since(since) >= period,
            (Some(_) | None, _) => false,
        };
        let n = if stable { 1 } else { occupancy };
        if n <= 1 {
            self.previous = 0;
        }
        let delay = self.spread(backoff, n, prng);
        self.previous = nanos(delay);
        delay
    }

    fn spread(self, backoff: &Backoff, n: u32, prng: &mut Prng) -> Duration {
        let delay = nanos(backoff.curve_delay(n));
        let max = nanos(backoff.max);
        let spread = match (backoff.curve, backoff.jitter) {
            (Curve::None, _) | (_, Jitter::None) => delay,
            (_, Jitter::Quarter) => {
                let width = delay / 4;
                let low = delay.min(max.saturating_sub(width));
                low.saturating_add(prng.below(width.max(1)))
            }
            (_, Jitter::Full) => prng.below(delay.saturating_add(1)),
            (_, Jitter::Decorrelated) => {
                let low = nanos(backoff.base).min(max);
                let high = self.previous.saturating_mul(3).clamp(low, max);
                low.saturating_add(prng.below(high.saturating_sub(low).saturating_add(1)))
            }
        };
        Duration::from_nanos(spread.min(max))
    }
}

//! The restart budget: how many restarts a supervisor may make within a sliding window.
//!
//! Half-open: a crash exactly `period` old no longer counts. (OTP floors to whole seconds and
//! counts
//! an entry that is exactly `period` old; over whole seconds our window with `period + 1 s` is
//! OTP's.)
//! A counter that resets after a quiet gap would be simpler, but it loses every slow, steady
//! crasher, which is the common peer defect; so the instants themselves are kept.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;

/// How many restarts are allowed within which time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Intensity {
    /// Restarts allowed within the window. 0 means that the first crash exhausts the budget.
    pub max_restarts: u32,
    /// The length of the window. Zero is refused by every machine's `new`.
    pub period: Duration,
}

impl Default for Intensity {
    /// Three restarts within 60 seconds.
    fn default() -> Self {
        Self { max_restarts: 3, period: Duration::from_secs(60) }
    }
}

/// What the budget says of one more crash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Within the budget; `occupancy` crashes are in the window, this one included (at least 1).
    Restart {
        /// Crashes in the window, this one included.
        occupancy: u32,
    },
    /// The budget is used up.
    GiveUp,
}

/// The crashes that still count. Holds at most `max_restarts + 1` entries.
///
/// ```
/// use core::time::Duration;
/// use lictor_kernel::{Instant, Intensity, RestartWindow, Verdict};
///
/// let intensity = Intensity { max_restarts: 1, period: Duration::from_secs(5) };
/// let mut window = RestartWindow::new(intensity);
/// assert_eq!(window.record(Instant::from_secs(0)), Verdict::Restart { occupancy: 1 });
/// // Five seconds later the first crash is exactly as old as the window, and no longer counts.
/// assert_eq!(window.record(Instant::from_secs(5)), Verdict::Restart { occupancy: 1 });
/// assert_eq!(window.record(Instant::from_secs(6)), Verdict::GiveUp);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RestartWindow {
    intensity: Intensity,
    crashes: VecDeque<Instant>,
}

impl RestartWindow {
    /// An empty window.
    #[must_use]
    pub const fn new(intensity: Intensity) -> Self {
        Self { intensity, crashes: VecDeque::new() }
    }

    /// Records a crash at `at` and says whether the budget allows a restart.
    ///
    /// A crash earlier than one already recorded (its handling was held up by a sweep) takes its
    /// place in time; it never makes a newer entry expire. `O(max_restarts)` worst, `O(1)` usual.
    pub fn record(&mut self, at: Instant) -> Verdict {
        let later = self.crashes.iter().rev().take_while(|crash| **crash > at).count();
        let position = self.crashes.len().saturating_sub(later);
        self.crashes.insert(position, at);
        let newest = self.crashes.back().copied().unwrap_or(at);
        self.expire(newest);
        let occupancy = u32::try_from(self.crashes.len()).unwrap_or(u32::MAX);
        if occupancy > self.intensity.max_restarts {
            // The newest decide about every crash to come: one more than the budget is enough.
            if occupancy > self.intensity.max_restarts.saturating_add(1) {
                self.crashes.pop_front();
            }
            return Verdict::GiveUp;
        }
        Verdict::Restart { occupancy }
    }

    /// Forgets all crashes.
    pub fn clear(&mut self) {
        self.crashes.clear();
    }

    /// Crashes that count at `now`.
    #[must_use]
    pub fn occupancy(&self, now: Instant) -> u32 {
        let live = self.crashes.iter().filter(|crash| self.counts(**crash, now)).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// The budget that this window enforces.
    #[must_use]
    pub const fn intensity(&self) -> Intensity {
        self.intensity
    }

    fn counts(&self, crash: Instant, now: Instant) -> bool {
        now.saturating_since(crash) < self.intensity.period
    }

    fn expire(&mut self, now: Instant) {
        while self.crashes.front().is_some_and(|crash| !self.counts(*crash, now)) {
            self.crashes.pop_front();
        }
    }
}

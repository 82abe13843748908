//! The time of day, told from outside.
//!
//! What goes between machines carries wall time, which may be set back and differs from node to
//! node; whatever reads it here is told the present time and how far clocks may differ. The
//! runtime's own clock, which never goes back, means nothing on another machine.

use std::fmt::Debug;
use std::time::Duration;

use crate::value::Float;

/// Milliseconds since 1970-01-01 00:00 UTC, leap seconds left out.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnixTime(u64);

impl UnixTime {
    /// So many milliseconds after the start of 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start of 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Seconds since the start of 1970, as a message has them.
    #[must_use]
    pub fn as_seconds(self) -> Float {
        let seconds = Duration::from_millis(self.0).as_secs_f64();
        Float::new(seconds).unwrap_or(Float::ZERO)
    }

    /// This much later.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This much earlier, but not before 1970.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

/// Whole milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a pure machine must be told by its host: the time of day, and bytes nobody can guess.
pub trait Ambient: Debug + Send + Sync + 'static {
    /// The time of day.
    fn unix_time(&self) -> UnixTime;

    /// Sixteen random bytes; `None` if the host has none to give, and then nothing is sent.
    fn nonce(&self) -> Option<[u8; 16]>;
}

//! Whether a peer is still there.
//!
//! Think of listening for breath. The heartbeat method asks again and again, and gives up after a
//! number of unanswered questions in a row. The accrual method only listens, learns the rhythm, and
//! gives up when the silence has become too unlikely; it needs no timeout that fits every network.
//!
//! The hard case is a peer that was replaced: an answer of the old incarnation must not keep the
//! new one alive, nor the reverse, so a detector watches one incarnation. Another is our own stall:
//! after a long sleep one question counts as missed, not all that would have been asked meanwhile.
//! A late answer clears the misses before it: does the peer live, not is it fast, is the question.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Instant;
use crate::phi::{self, Arrivals};
use crate::time::nanos;

/// The greatest number of intervals that an accrual detector may keep.
pub const DETECTOR_WINDOW_MAX: u32 = 1000;
/// The greatest threshold of an accrual detector, in thousandths: a phi of 1000.
pub const PHI_MILLI_MAX: u32 = 1_000_000;

/// How a peer is watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DetectorConfig {
    /// Ask, and count the questions that stay unanswered.
    Heartbeat {
        /// From one probe to the next. Not zero.
        interval: Duration,
        /// How long an answer may take. Not zero. A probe is never sent while one is open, so a
        /// timeout above the interval stretches the interval.
        timeout: Duration,
        /// How many misses in a row mean that the peer is down. Not zero.
        threshold: u32,
    },
    /// Listen, and weigh the silence against the rhythm so far.
    PhiAccrual(PhiAccrual),
}

/// The settings of an accrual detector, named as in Akka.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PhiAccrual {
    /// The phi at which the peer is down, in thousandths: 8000 is Akka's 8.0, one wrong verdict in
    /// 10^8. At half of it the peer is suspect. 1 to [`PHI_MILLI_MAX`].
    pub threshold_milli: u32,
    /// How many intervals are remembered: 2 to [`DETECTOR_WINDOW_MAX`].
    pub window: u32,
    /// The least standard deviation that is assumed. Not zero.
    pub min_std_deviation: Duration,
    /// A silence that is always forgiven, on top of the mean.
    pub acceptable_pause: Duration,
    /// The interval that is assumed before any was seen. Not zero.
    pub first_heartbeat_estimate: Duration,
}

impl PhiAccrual {
    /// Akka's defaults: phi 8, 1000 intervals, 100 ms deviation, no pause, 1 s first estimate.
    pub const AKKA: Self = Self {
        threshold_milli: 8000,
        window: 1000,
        min_std_deviation: Duration::from_millis(100),
        acceptable_pause: Duration::ZERO,
        first_heartbeat_estimate: Duration::from_secs(1),
    };
}

/// Why a configuration was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DetectorError {
    /// The interval, or the first estimate of it, is zero.
    ZeroInterval,
    /// The timeout is zero.
    ZeroTimeout,
    /// The threshold is zero, or above [`PHI_MILLI_MAX`].
    Threshold,
    /// The window is below 2 or above [`DETECTOR_WINDOW_MAX`].
    Window,
    /// The least standard deviation is zero.
    ZeroDeviation,
}

impl fmt::Display for DetectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroInterval => f.write_str("the heartbeat interval cannot be zero"),
            Self::ZeroTimeout => f.write_str("the heartbeat timeout cannot be zero"),
            Self::Threshold => f.write_str("the threshold is zero or too great"),
            Self::Window => write!(f, "the window holds 2 to {DETECTOR_WINDOW_MAX} intervals"),
            Self::ZeroDeviation => f.write_str("the least standard deviation cannot be zero"),
        }
    }
}

impl core::error::Error for DetectorError {}

/// What is thought of the peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Health {
    /// It answers.
    Alive,
    /// It is overdue.
    Suspect,
    /// It is given up. Only a reset or a newer incarnation ends this.
    Down,
}

/// What a deadline brought about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Detection {
    /// Send a probe.
    Probe,
    /// The peer became suspect.
    Suspect,
    /// The peer is down. Pushed once, and nothing after it.
    Down,
}

/// What a heartbeat changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Heard {
    /// Nothing: the peer was alive before.
    Alive,
    /// The peer was suspect, and is alive.
    Recovered,
    /// A newer incarnation answers; from now on it is the one that is watched.
    Renewed,
    /// It came from an older incarnation, or after the peer was down or had to be.
    Ignored,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Method {
    Asking { next_probe: Instant, answer_by: Option<Instant>, misses: u32 },
    Listening { arrivals: Arrivals, last: Instant, suspect_at: Instant, down_at: Instant },
}

/// Watches one incarnation of one peer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FailureDetector {
    config: DetectorConfig,
    /// The `y` at which an accrual detector suspects and gives up; unused when asking.
    critical: (i64, i64),
    incarnation: u64,
    health: Health,
    method: Method,
}

impl FailureDetector {
    /// Begins to watch `incarnation` at `now`: alive, the first probe one interval from now, the
    /// first heartbeat expected as estimated. `O(1)`. (F1)
    ///
    /// # Errors
    /// [`DetectorError`], variant by variant, for a setting outside its stated bounds.
    pub fn new(
        config: DetectorConfig,
        now: Instant,
        incarnation: u64,
    ) -> Result<Self, DetectorError> {
        let critical = match config {
            DetectorConfig::Heartbeat { interval, timeout, threshold } => {
                if interval.is_zero() {
                    return Err(DetectorError::ZeroInterval);
                }
                if timeout.is_zero() {
                    return Err(DetectorError::ZeroTimeout);
                }
                if threshold == 0 {
                    return Err(DetectorError::Threshold);
                }
                (0, 0)
            }
            DetectorConfig::PhiAccrual(phi) => {
                if !(1..=PHI_MILLI_MAX).contains(&phi.threshold_milli) {
                    return Err(DetectorError::Threshold);
                }
                if !(2..=DETECTOR_WINDOW_MAX).contains(&phi.window) {
                    return Err(DetectorError::Window);
                }
                if phi.min_std_deviation.is_zero() {
                    return Err(DetectorError::ZeroDeviation);
                }
                if phi.first_heartbeat_estimate.is_zero() {
                    return Err(DetectorError::ZeroInterval);
                }
                let suspect = phi.threshold_milli.div_ceil(2);
                (phi::critical_y(suspect), phi::critical_y(phi.threshold_milli))
            }
        };
        let method = fresh(&config, critical, now);
        Ok(Self { config, critical, incarnation, health: Health::Alive, method })
    }

    /// Takes a sign of life of `incarnation` at `now`, an answer or any other message. `O(1)`.
    /// (F3, F4, F5)
    ///
    /// If the deadline that means down lies before `now`, the sign comes too late even if
    /// [`FailureDetector::handle_timeout`] has not run yet. At exactly that deadline it is in time.
    pub fn heartbeat(&mut self, now: Instant, incarnation: u64) -> Heard {
        if incarnation > self.incarnation {
            self.reset(now, incarnation);
            return Heard::Renewed;
        }
        let too_late = self.health == Health::Down || self.down_at().is_some_and(|at| at < now);
        if incarnation < self.incarnation || too_late {
            return Heard::Ignored;
        }
        match &mut self.method {
            Method::Asking { next_probe, answer_by, misses } => {
                *next_probe = now.max(*next_probe);
                *answer_by = None;
                *misses = 0;
            }
            Method::Listening { arrivals, last, suspect_at, down_at } => {
                arrivals.record(nanos(now.saturating_since(*last)));
                *last = now.max(*last);
                (*suspect_at, *down_at) =
                    silence_ends(&self.config, self.critical, arrivals, *last);
            }
        }
        let before = core::mem::replace(&mut self.health, Health::Alive);
        if before == Health::Alive { Heard::Alive } else { Heard::Recovered }
    }

    /// The next deadline; `None` when the peer is down, until a reset. A deadline at
    /// [`Instant::MAX`] never comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let at = match (&self.method, self.health) {
            (_, Health::Down) => return None,
            (Method::Asking { next_probe, answer_by, .. }, _) => answer_by.unwrap_or(*next_probe),
            (Method::Listening { suspect_at, .. }, Health::Alive) => *suspect_at,
            (Method::Listening { down_at, .. }, Health::Suspect) => *down_at,
        };
        (at < Instant::MAX).then_some(at)
    }

    /// Does what is due at `now`, its own instant included: pushes [`Detection::Down`] alone, or
    /// [`Detection::Suspect`] and [`Detection::Probe`] in this order, each at most once. If
    /// nothing is due it does nothing. `O(1)`. (F2, F6)
    pub fn handle_timeout(&mut self, now: Instant, detections: &mut Vec<Detection>) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.down_at().is_some_and(|at| at <= now) {
            self.health = Health::Down;
            detections.push(Detection::Down);
            return;
        }
        let missed = match &mut self.method {
            Method::Listening { .. } => true,
            Method::Asking { answer_by, misses, .. } => match answer_by.take() {
                Some(_) => {
                    *misses = misses.saturating_add(1);
                    true
                }
                None => false,
            },
        };
        if missed && self.health == Health::Alive {
            self.health = Health::Suspect;
            detections.push(Detection::Suspect);
        }
        self.probe(now, detections);
    }

    fn probe(&mut self, now: Instant, detections: &mut Vec<Detection>) {
        if let (
            DetectorConfig::Heartbeat { interval, timeout, .. },
            Method::Asking { next_probe, answer_by: answer_by @ None, .. },
        ) = (self.config, &mut self.method)
            && *next_probe <= now
        {
            *answer_by = Some(now.saturating_add(timeout));
            *next_probe = now.saturating_add(interval);
            detections.push(Detection::Probe);
        }
    }

    /// When the peer will be down if nothing is heard and nothing else comes first.
    fn down_at(&self) -> Option<Instant> {
        match (&self.method, self.config) {
            (Method::Listening { down_at, .. }, _) => Some(*down_at),
            (
                Method::Asking { answer_by, misses, .. },
                DetectorConfig::Heartbeat { threshold, .. },
            ) if misses.saturating_add(1) >= threshold => *answer_by,
            (Method::Asking { .. }, _) => None,
        }
        .filter(|at| *at < Instant::MAX)
    }

    /// Forgets everything and begins to watch `incarnation` at `now`, as [`FailureDetector::new`].
    pub fn reset(&mut self, now: Instant, incarnation: u64) {
        self.incarnation = incarnation;
        self.health = Health::Alive;
        self.method = fresh(&self.config, self.critical, now);
    }

    /// What is thought of the peer, as of the last call.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// The incarnation that is watched.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Misses in a row; zero for an accrual detector.
    #[must_use]
    pub const fn misses(&self) -> u32 {
        match self.method {
            Method::Asking { misses, .. } => misses,
            Method::Listening { .. } => 0,
        }
    }

    /// Phi at `now` in thousandths, rounded down; `None` unless this is an accrual detector.
    /// The verdict at a deadline is the same as comparing this with the threshold. (F7)
    #[must_use]
    pub fn phi_milli(&self, now: Instant) -> Option<u32> {
        let (Method::Listening { arrivals, last, .. }, DetectorConfig::PhiAccrual(phi)) =
            (&self.method, self.config)
        else {
            return None;
        };
        let (mean, deviation) = expected(&phi, arrivals);
        Some(phi::phi_milli(nanos(now.saturating_since(*last)), mean, deviation))
    }
}

fn fresh(config: &DetectorConfig, critical: (i64, i64), now: Instant) -> Method {
    match config {
        DetectorConfig::Heartbeat { interval, .. } => {
            Method::Asking { next_probe: now.saturating_add(*interval), answer_by: None, misses: 0 }
        }
        DetectorConfig::PhiAccrual(phi) => {
            let window = usize::try_from(phi.window).unwrap_or(usize::MAX);
            let arrivals = Arrivals::new(window, nanos(phi.first_heartbeat_estimate));
            let (suspect_at, down_at) = silence_ends(config, critical, &arrivals, now);
            Method::Listening { arrivals, last: now, suspect_at, down_at }
        }
    }
}

/// The mean with the forgiven pause, and the deviation but not less than the least, in nanoseconds.
fn expected(phi: &PhiAccrual, arrivals: &Arrivals) -> (u64, u64) {
    let (mean, deviation) = arrivals.distribution();
    let mean = mean.saturating_add(nanos(phi.acceptable_pause));
    (mean, deviation.max(nanos(phi.min_std_deviation)))
}

/// When a silence since `last` makes the peer suspect, and down.
fn silence_ends(
    config: &DetectorConfig,
    critical: (i64, i64),
    arrivals: &Arrivals,
    last: Instant,
) -> (Instant, Instant) {
    let DetectorConfig::PhiAccrual(phi) = config else { return (Instant::MAX, Instant::MAX) };
    let (mean, deviation) = expected(phi, arrivals);
    let after = |y| {
        let silence = phi::nanos_until(y, mean, deviation);
        last.saturating_add(Duration::from_nanos(silence))
    };
    (after(critical.0), after(critical.1))
}

//! Property tests of restart policies: strategies for [proptest](mod@proptest), and a [`Life`] to
//! judge.
//!
//! A [`Spec`] is a supervisor and its children, a [`History`] is which of them crashed when, and
//! [`Spec::live`] lets the kernel's own supervisor live through it, in virtual time and without
//! chance, so that a failing history can be shrunk. What is left out of a history moves nothing
//! else of it.
//!
//! ```
//! use std::time::Duration;
//! use lictor_kernel::supervisor::Config;
//! use lictor_kernel::{Backoff, Intensity};
//! use lictor_sim::prop::{Spec, histories};
//! use proptest::prelude::*;
//!
//! let intensity = Intensity { max_restarts: 5, period: Duration::from_secs(10) };
//! let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(2));
//! let policy = Spec::new(Config { intensity, backoff, ..Config::default() }, 3);
//!
//! proptest!(|(history in histories(3, 0..=5, Duration::from_secs(60)))| {
//!     let life = policy.live(&history);
//!     prop_assert!(life.gave_up().is_none(), "{life}");   // five crashes are in the budget
//!     prop_assert!(life.longest_down() <= Duration::from_secs(4), "{life}");
//! });
//! ```
//!
//! `cargo run -p lictor-sim --features proptest --example property_test_a_restart_policy` shows
//! what a policy that does not hold what it promises is shrunk to.

mod life;

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use lictor_kernel::supervisor::{Config, Strategy as Together};
use lictor_kernel::{Backoff, ChildId, ChildSpec, Curve, ExitReason, Intensity, Jitter, Restart};
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::select;

pub use life::{Life, What};

/// A supervisor, its children, and how long they take.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Spec {
    /// How it works. Must be one that the kernel accepts.
    pub config: Config,
    /// Its children, in start order. Child `n` has the id `n`.
    pub children: Vec<ChildSpec>,
    /// How long a child takes to come up. Zero counts as a nanosecond.
    pub start_time: Duration,
    /// How long a child takes to stop when it is told to.
    pub stop_time: Duration,
}

impl Spec {
    /// So many transient workers, which take a millisecond to start and to stop.
    #[must_use]
    pub fn new(config: Config, children: u32) -> Self {
        let children = (0..children).map(|_| ChildSpec::worker()).collect();
        let (start_time, stop_time) = (Duration::from_millis(1), Duration::from_millis(1));
        Self { config, children, start_time, stop_time }
    }

    /// Lives through a history: starts the children, lets them crash, and goes on until nothing is
    /// left to do.
    ///
    /// # Panics
    /// If the kernel refuses the configuration.
    #[must_use]
    pub fn live(&self, history: &History) -> Life {
        life::live(self, history)
    }
}

/// A child ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Crash {
    /// When, counted from when all children were up. If the child is down then, nothing happens.
    pub at: Duration,
    /// Who.
    pub child: ChildId,
    /// Why.
    pub reason: Reason,
}

/// Why a child of a history ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// It failed.
    Crashed,
    /// It was killed from outside.
    Killed,
    /// It had finished: no crash to a transient child.
    Normal,
}

impl From<Reason> for ExitReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Crashed => Self::Crashed,
            Reason::Killed => Self::Killed,
            Reason::Normal => Self::Normal,
        }
    }
}

/// Who crashed when, in order of time.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct History {
    /// The crashes, earliest first.
    pub crashes: Vec<Crash>,
}

impl FromIterator<Crash> for History {
    fn from_iter<I: IntoIterator<Item = Crash>>(crashes: I) -> Self {
        let mut crashes: Vec<Crash> = crashes.into_iter().collect();
        crashes.sort();
        Self { crashes }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Crash { at, child, reason } in &self.crashes {
            writeln!(f, "{at:>10.3?}  child {}  {reason:?}", child.0)?;
        }
        Ok(())
    }
}

/// Histories of `children` children with so many crashes within a time, by milliseconds.
///
/// Shrinks by leaving crashes out, then to earlier times, lower children and plain crashes.
pub fn histories(
    children: u32,
    crashes: impl Into<SizeRange>,
    within: Duration,
) -> impl Strategy<Value = History> {
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let crash = (0..=within, 0..children.max(1), reason()).prop_map(|(at, child, reason)| Crash {
        at: Duration::from_millis(at),
        child: ChildId(child),
        reason,
    });
    vec(crash, crashes).prop_map(|crashes| crashes.into_iter().collect())
}

/// Why a child ends: mostly a plain crash.
fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![8 => Just(Reason::Crashed), 1 => Just(Reason::Killed), 1 => Just(Reason::Normal)]
}

/// Supervisors with so many children: every strategy, restart type, curve and jitter; budgets of at
/// most 10 restarts within at most two minutes, waits of at most a minute.
///
/// Shrinks to fewer children, a smaller budget, no jitter and shorter waits.
pub fn specs(children: RangeInclusive<u32>) -> impl Strategy<Value = Spec> {
    let together = select(vec![Together::OneForOne, Together::RestForOne, Together::OneForAll]);
    let restarts = select(vec![Restart::Transient, Restart::Permanent, Restart::Temporary]);
    let size = |count: &u32| usize::try_from((*count).max(1)).unwrap_or(usize::MAX);
    let count = size(children.start())..=size(children.end());
    let intensity = (0_u32..=10, 1_u64..=120).prop_map(|(max_restarts, seconds)| Intensity {
        max_restarts,
        period: Duration::from_secs(seconds),
    });
    let times = (0_u64..=50, 0_u64..=50);
    (together, intensity, backoffs(), vec(restarts, count), times, any::<u64>()).prop_map(
        |(strategy, intensity, backoff, restarts, (start, stop), seed)| {
            let child = |restart| ChildSpec { restart, ..ChildSpec::worker() };
            Spec {
                config: Config { strategy, intensity, backoff, seed, ..Config::default() },
                children: restarts.into_iter().map(child).collect(),
                start_time: Duration::from_millis(start),
                stop_time: Duration::from_millis(stop),
            }
        },
    )
}

/// Backoff policies: every curve and jitter, waits of at most a minute.
pub fn backoffs() -> impl Strategy<Value = Backoff> {
    let curves = select(vec![Curve::None, Curve::Constant, Curve::Linear, Curve::Exponential]);
    let jitters = select(vec![Jitter::None, Jitter::Quarter, Jitter::Full, Jitter::Decorrelated]);
    let stable = proptest::option::of(1_u64..=60);
    let waits = (0_u64..=5_000, 0_u64..=55_000);
    (curves, jitters, waits, stable).prop_map(|(curve, jitter, (base, more), stable)| Backoff {
        curve,
        base: Duration::from_millis(base),
        max: Duration::from_millis(base + more),
        jitter,
        stable_after: stable.map(Duration::from_secs),
    })
}

//! Draws in the order in which one thing makes them.

use std::time::Duration;

use crate::stream::{Purpose, Streams};

/// The draws of one thing that is being made: the first, the second, and so on. What one thing
/// draws never depends on what another one drew.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    streams: Streams,
    whose: u64,
    drawn: u64,
}

/// What draws. The numbers are part of what a seed means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// How much of everything.
    Plan,
    /// The nature of the world.
    Knobs,
    /// Which faults, and around whom.
    Swarm,
    /// An operation, by number.
    Operation(u32),
    /// A fault, by number.
    Fault(u32),
    /// A sequence of faults that belong together, by number.
    Story(u32),
    /// Who runs on another node.
    Place,
    /// Messages that are not plain, and looks, by number.
    Send(u32),
}

impl Dice {
    pub(super) fn new(streams: Streams, of: Of) -> Self {
        let whose = match of {
            Of::Plan => 0,
            Of::Knobs => 1,
            Of::Swarm => 2,
            Of::Operation(number) => 1 << 32 | u64::from(number),
            Of::Fault(number) => 2 << 32 | u64::from(number),
            Of::Story(number) => 3 << 32 | u64::from(number),
            Of::Place => 4 << 32,
            Of::Send(number) => 5 << 32 | u64::from(number),
        };
        Self { streams, whose, drawn: 0 }
    }

    /// In `0..bound`; 0 if there is nothing below.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        self.streams.below(Purpose::Plan, self.whose, self.drawn, bound)
    }

    /// In `from..=to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.drawn += 1;
        self.streams.between(Purpose::Plan, self.whose, self.drawn, from, to)
    }

    /// As [`Dice::between`], for small numbers.
    pub(super) fn small(&mut self, from: u32, to: u32) -> u32 {
        u32::try_from(self.between(u64::from(from), u64::from(to))).unwrap_or(to)
    }

    /// In `from..=to`, each order of magnitude as likely as any other. `from` is at least 1.
    pub(super) fn scale(&mut self, from: u64, to: u64) -> u64 {
        if to <= from {
            return from;
        }
        let low = from.max(1);
        let octaves = u64::from((to / low).ilog2()) + 1;
        let low = low << self.below(octaves);
        self.between(low, low.saturating_mul(2).saturating_sub(1).min(to))
    }

    /// As [`Dice::scale`], for times.
    pub(super) fn time(&mut self, from: Duration, to: Duration) -> Duration {
        Duration::from_nanos(self.scale(super::nanos(from), super::nanos(to)))
    }

    /// Up to this.
    pub(super) fn part_of(&mut self, time: Duration) -> Duration {
        Duration::from_nanos(self.below(super::nanos(time).saturating_add(1)))
    }

    /// Once in so many.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(of.len() as u64)).ok()?;
        of.get(index).copied()
    }
}

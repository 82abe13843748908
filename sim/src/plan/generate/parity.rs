//! Plans for comparing engines: nothing is close to anything else.

use std::time::Duration;

use lictor_kernel::Instant;

use super::super::dice::{Dice, Of};
use super::super::{Act, HORIZON_MAX, Knobs};
use super::Maker;
use crate::fault::{Fault, Kind, Place, Target, Unit};

/// The least time between two things, in milliseconds.
pub(super) const APART: u64 = 20;

impl Maker<'_> {
    /// Operations and faults, one after the other: as many as fit the horizon, which grows to a
    /// minute at most for those that are asked for.
    pub(super) fn parity(&mut self, operations: u32, faults: u32) {
        let ms = Duration::from_millis;
        let us = Duration::from_micros;
        let just = |time: Duration| (time, time);
        self.grid = 1_000_000;
        self.knobs = Knobs {
            start: just(ms(1)),
            stop: just(ms(1)),
            handle: just(us(100)),
            latency: just(ms(1)),
            ..Knobs::default()
        };
        let mut dice = Dice::new(self.streams, Of::Swarm);
        let here = |kind: &Kind| self.allows(*kind) && kind.facts().amount != Unit::PerMillion;
        let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(here).collect();
        let faults = if kinds.is_empty() { 0 } else { faults };
        // Beginnings and ends of faults, and operations, each in a slot of its own. The gaps are
        // odd, so that what the tree does by itself at round times seldom coincides.
        let slots = u64::from(operations) + 2 * u64::from(faults);
        let mut at = 100;
        let times: Vec<u64> = (0..slots)
            .map(|_| {
                at += dice.between(APART + 1, 3 * APART);
                at
            })
            .collect();
        self.horizon = ms(at + 100).min(HORIZON_MAX);
        let mut free: Vec<bool> = vec![true; times.len()];
        for number in 0..faults {
            let dice = &mut Dice::new(self.streams, Of::Fault(number));
            self.apart_fault(&kinds, &times, &mut free, dice);
        }
        let left = times.iter().zip(&free).filter(|(_, free)| **free).map(|(at, _)| *at);
        for (number, at) in (0..operations).zip(left) {
            let dice = &mut Dice::new(self.streams, Of::Operation(number));
            if let Some(act) = self.apart_act(dice) {
                self.operation(Instant::from_millis(at), act, dice);
            }
        }
    }

    fn apart_fault(&mut self, kinds: &[Kind], times: &[u64], free: &mut [bool], dice: &mut Dice) {
        let Some(kind) = dice.pick(kinds) else { return };
        let facts = kind.facts();
        let first = usize::try_from(dice.below(times.len() as u64)).unwrap_or(0);
        let Some(begin) = (first..times.len()).find(|slot| free[*slot]) else { return };
        let target = match facts.place {
            Place::World => Some(Target::World),
            Place::Node => Some(Target::Node(self.node(dice))),
            Place::Link if self.stock.nodes > 1 => {
                let (from, to) = self.link(dice);
                Some(Target::Link(from, to))
            }
            Place::Link => None,
            Place::Agent => dice.pick(&self.stock.agents).map(Target::Who),
            Place::Supervisor => dice.pick(&self.stock.supervisors).map(Target::Who),
        };
        let Some(target) = target else { return };
        let mut lasts = 0;
        if facts.lasts {
            let after = begin + 1 + usize::try_from(dice.below(8)).unwrap_or(0);
            let Some(end) = (after..times.len()).find(|slot| free[*slot]) else { return };
            free[end] = false;
            lasts = times[end] - times[begin];
        }
        free[begin] = false;
        let amount = match facts.amount {
            Unit::None | Unit::PerMillion => 0,
            Unit::Time => dice.between(30, 90) * 1_000_000,
            Unit::Count => dice.between(1, 8).min(*kind.amounts().end()),
        };
        let (at, lasts) = (Instant::from_millis(times[begin]), Duration::from_millis(lasts));
        self.fault(Fault { at, lasts, kind, target, amount });
    }

    fn apart_act(&self, dice: &mut Dice) -> Option<Act> {
        let agent = dice.pick(&self.stock.agents)?;
        Some(match dice.below(12) {
            0 => Act::Broadcast,
            1 => dice.pick(&self.stock.pool).map_or(Act::Tell(agent), Act::Spawn),
            2 => dice.pick(&self.stock.pool).map_or(Act::Tell(agent), Act::Despawn),
            3 => Act::Terminate(agent),
            4 | 5 => Act::Restart(agent),
            6 | 7 => Act::Tell(agent),
            8 => match dice.below(3) {
                0 => Act::Tell(agent),
                // As well.
                1 => Act::TellWithin(agent, Duration::from_secs(30)),
                _ => dice.pick(&self.stock.tags).map_or(Act::Tell(agent), Act::TellCapable),
            },
            // Longer than anything that could come between.
            _ => Act::Ask(agent, Duration::from_secs(30)),
        })
    }
}

//! Messages that are not plain, and looks at supervisors, by half of the plans: besides what they
//! have anyway, so that a seed means the same of everything else.

use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};

use super::super::dice::{Dice, Of};
use super::super::{Act, Short, nanos};
use super::Maker;
use crate::record::Who;

/// So many at most in a plan, and a few more.
const MOST: u32 = 32;

/// One of them for so many plain operations.
const SHARE: u32 = 6;

impl Maker<'_> {
    /// Adds some to the so many plain operations that there are.
    pub(super) fn send(&mut self, plain: u32) {
        let mut dice = Dice::new(self.streams, Of::Send(0));
        if plain == 0 || self.stock.agents.is_empty() || dice.one_in(2) {
            return;
        }
        let enough = self.operations.len().saturating_add(MOST as usize);
        for number in 1..=dice.small(1, (plain / SHARE).clamp(4, MOST)) {
            let dice = &mut Dice::new(self.streams, Of::Send(number));
            let at = self.near(dice);
            self.one_send(at, dice);
            if self.operations.len() >= enough {
                return;
            }
        }
    }

    /// Some instant, or soon after something else happens.
    fn near(&self, dice: &mut Dice) -> Instant {
        let operations = self.operations.iter().map(|operation| operation.at);
        let others: Vec<Instant> = self.faults.iter().map(|f| f.at).chain(operations).collect();
        match dice.pick(&others).filter(|_| dice.one_in(2)) {
            Some(other) => {
                let later = dice.scale(1_000, 50_000_000);
                let at = other.as_nanos().saturating_add(later);
                self.on_grid(at.min(nanos(self.horizon)))
            }
            None => self.instant(dice),
        }
    }

    fn one_send(&mut self, at: Instant, dice: &mut Dice) {
        let modelled = self.profile.engine.is_modelled();
        let us = Duration::from_micros;
        let Some(who) = dice.pick(&self.stock.agents) else { return };
        match dice.below(5) {
            0 => {
                let ttl = dice.time(us(10), us(100_000));
                self.burst(at, Act::TellWithin(who, ttl), dice);
            }
            1 => {
                let delay = dice.time(us(10), us(1_000_000));
                self.burst(at, Act::SendAfter(who, delay), dice);
                if dice.one_in(2) {
                    // Its messages may be queued by then, and its timers out.
                    let late = dice.scale(1_000, 1_000_000);
                    let crash = at.saturating_add(delay).saturating_add(Duration::from_nanos(late));
                    if crash.as_nanos() <= nanos(self.horizon) {
                        self.operation(crash, Act::End(who, ExitReason::Crashed), dice);
                    }
                }
            }
            2 => {
                if let Some(tag) = dice.pick(&self.stock.tags) {
                    self.burst(at, Act::TellCapable(tag), dice);
                }
            }
            3 if modelled => {
                let pattern = self.pattern(who, dice);
                if let Some(pattern) = Short::new(&pattern) {
                    self.operation(at, Act::Publish(who, pattern), dice);
                }
            }
            4 if modelled => {
                if let Some(who) = dice.pick(&self.stock.supervisors) {
                    self.operation(at, Act::Look(who), dice);
                }
            }
            _ => {}
        }
    }

    /// The same several times over.
    fn burst(&mut self, at: Instant, act: Act, dice: &mut Dice) {
        for _ in 0..dice.between(1, 4) {
            self.operation(at, act, dice);
        }
    }

    /// Everybody, whoever is called like this one, or just this one.
    fn pattern(&self, who: Who, dice: &mut Dice) -> String {
        let name = &self.scenario.entity(who).name;
        let first = name.chars().next().filter(char::is_ascii_alphanumeric).unwrap_or('a');
        match dice.below(5) {
            0 | 1 => "*".to_owned(),
            2 => format!("{first}*"),
            3 => format!("[!{first}]*"),
            _ => name.clone(),
        }
    }
}

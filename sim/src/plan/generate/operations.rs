//! What somebody does: mostly messages, and now and then something to the tree itself.

use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};

use super::super::dice::{Dice, Of};
use super::super::{Act, Operation, nanos};
use super::Maker;
use crate::record::{NodeIx, Who};

/// What is done with an agent by turns.
const TERMINATED: u8 = 1;
const SUSPENDED: u8 = 2;
const SPAWNED: u8 = 4;
const CLAIMED: u8 = 8;

/// How likely each kind of operation is in this plan.
struct Weights {
    tell: u64,
    ask: u64,
    broadcast: u64,
    spawn: u64,
    terminate: u64,
    suspend: u64,
    end: u64,
    claim: u64,
}

impl Weights {
    fn draw(dice: &mut Dice, spawns: bool, claims: bool) -> Self {
        let tell = dice.between(0, 60);
        let ask = dice.between(if tell == 0 { 10 } else { 0 }, 60);
        let mut rare = |most: u64| if dice.one_in(2) { dice.between(1, most) } else { 0 };
        Self {
            tell,
            ask: ask.max(5),
            broadcast: rare(2),
            spawn: if spawns { rare(12) } else { 0 },
            terminate: rare(4),
            suspend: rare(4),
            end: rare(3),
            claim: if claims { rare(3) } else { 0 },
        }
    }

    fn list(&self) -> [u64; 8] {
        let Self { tell, ask, broadcast, spawn, terminate, suspend, end, claim } = *self;
        [tell, ask, broadcast, spawn, terminate, suspend, end, claim]
    }
}

impl Maker<'_> {
    /// Adds so many operations, in the order of their instants.
    pub(super) fn operate(&mut self, count: u32) {
        let mut dice = Dice::new(self.streams, Of::Swarm);
        let claims = self.stock.nodes > 1 && self.profile.engine.is_modelled();
        let weights = Weights::draw(&mut dice, !self.stock.pool.is_empty(), claims).list();
        let total: u64 = weights.iter().sum();
        // In bursts of so many; within one, all in an instant or a little apart.
        let burst = 1 << dice.below(6);
        let apart = dice.pick(&[0, 1_000, 100_000]).unwrap_or(0);
        // Few names that come and go are often reused.
        let names = dice.between(1, 4);
        let mut states = vec![0_u8; self.scenario.len()];
        let span = nanos(self.horizon);
        for number in 0..count {
            let dice = &mut Dice::new(self.streams, Of::Operation(number));
            let slot = u64::from(number / burst * burst);
            let at = (u128::from(span) * u128::from(slot)) / u128::from(count.max(1));
            let within = u64::from(number % burst).saturating_mul(apart);
            let at = u64::try_from(at).unwrap_or(span).saturating_add(within).min(span);
            let at = if burst == 1 {
                // Anywhere before the next.
                let gap = span / u64::from(count.max(1));
                self.on_grid(at.saturating_add(dice.below(gap)).min(span))
            } else {
                self.on_grid(at)
            };
            let mut draw = dice.below(total);
            let kind = weights.iter().position(|weight| match draw.checked_sub(*weight) {
                Some(rest) => {
                    draw = rest;
                    false
                }
                None => true,
            });
            if let Some(act) = self.act(kind.unwrap_or(0), names, &mut states, dice) {
                self.operation(at, act, dice);
            }
        }
        self.stop(&mut dice);
    }

    fn act(&self, kind: usize, names: u64, states: &mut [u8], dice: &mut Dice) -> Option<Act> {
        let stock = &self.stock;
        Some(match kind {
            0 => Act::Tell(self.receiver(states, dice)?),
            1 => {
                let us = Duration::from_micros;
                Act::Ask(self.receiver(states, dice)?, dice.time(us(200), us(5_000_000)))
            }
            2 => Act::Broadcast,
            3 => {
                // The pool lists the names of each dynamic supervisor one after the other.
                let pools = (stock.pool.len() / crate::scenario::POOL) as u64;
                let index = dice.below(pools) * crate::scenario::POOL as u64 + dice.below(names);
                let who = *stock.pool.get(usize::try_from(index).ok()?)?;
                let spawned = turn(states, who, SPAWNED, dice);
                if spawned { Act::Spawn(who) } else { Act::Despawn(who) }
            }
            4 => {
                let who = dice.pick(&stock.children)?;
                let down = turn(states, who, TERMINATED, dice);
                if down { Act::Terminate(who) } else { Act::Restart(who) }
            }
            5 => {
                let who = dice.pick(&stock.agents)?;
                let suspended = turn(states, who, SUSPENDED, dice);
                if suspended { Act::Suspend(who) } else { Act::Resume(who) }
            }
            7 => {
                let who = dice.pick(&stock.agents)?;
                let claimed = turn(states, who, CLAIMED, dice);
                if claimed { Act::Claim(who) } else { Act::Unclaim(who) }
            }
            _ => {
                let reasons = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::Crashed];
                Act::End(self.receiver(states, dice)?, dice.pick(&reasons)?)
            }
        })
    }

    /// An agent: mostly one that is there from the start or was spawned.
    fn receiver(&self, states: &[u8], dice: &mut Dice) -> Option<Who> {
        if !self.stock.pool.is_empty() && (dice.one_in(8) || self.stock.agents.is_empty()) {
            let who = dice.pick(&self.stock.pool)?;
            let spawned = states.get(usize::from(who.0)).is_some_and(|state| state & SPAWNED != 0);
            if spawned || dice.one_in(4) || self.stock.agents.is_empty() {
                return Some(who);
            }
        }
        dice.pick(&self.stock.agents)
    }

    /// Adds an operation: what is done to a name is done where it lives, messages come from
    /// anywhere.
    pub(super) fn operation(&mut self, at: Instant, act: Act, dice: &mut Dice) {
        let node = match act {
            Act::Tell(_)
            | Act::TellWithin(..)
            | Act::TellCapable(_)
            | Act::Ask(..)
            | Act::Broadcast
            | Act::Stop(_) => self.node(dice),
            Act::Spawn(who)
            | Act::Despawn(who)
            | Act::Terminate(who)
            | Act::Restart(who)
            | Act::Suspend(who)
            | Act::Resume(who)
            | Act::Publish(who, _)
            | Act::SendAfter(who, _)
            | Act::Look(who)
            | Act::End(who, _) => self.scenario.entity(who).node,
            Act::Claim(who) | Act::Unclaim(who) => self.other_node(who, dice),
        };
        self.operations.push(Operation { at, node, act });
    }

    /// A node that is not the agent's: mostly the same one, so that it takes back what it says.
    fn other_node(&self, who: Who, dice: &mut Dice) -> NodeIx {
        let nodes = u64::from(self.stock.nodes);
        let others = nodes.saturating_sub(1).max(1);
        let which = u64::from(who.0).saturating_add(u64::from(dice.one_in(4))) % others;
        let owner = u64::from(self.scenario.entity(who).node.0);
        NodeIx(u8::try_from((owner + 1 + which) % nodes).unwrap_or(0))
    }

    /// Now and then a node is stopped near the end.
    fn stop(&mut self, dice: &mut Dice) {
        if dice.one_in(12) {
            let span = nanos(self.horizon);
            let at = self.on_grid(span - dice.below(span / 10 + 1));
            let within = dice.time(Duration::from_millis(1), Duration::from_secs(5));
            self.operation(at, Act::Stop(within), dice);
        }
    }
}

/// Turns what is done with an agent by turns, and says whether it is on now. Now and then it is
/// done twice in a row: that is an error that must be told, and change nothing.
fn turn(states: &mut [u8], who: Who, of: u8, dice: &mut Dice) -> bool {
    let Some(state) = states.get_mut(usize::from(who.0)) else { return false };
    if !dice.one_in(10) {
        *state ^= of;
    }
    *state & of != 0
}

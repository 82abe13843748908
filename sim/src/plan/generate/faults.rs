//! Single faults of a swarm.

use std::time::Duration;

use super::super::dice::{Dice, Of};
use super::super::nanos;
use super::Maker;
use super::stories::Story;
use crate::fault::{Fault, Group, Kind, Place, Target, Unit};
use crate::record::{NodeIx, Who};
use crate::scenario::Scenario;

/// Kinds that are switched one by one, all by one draw.
const DRAWN_AT_ONCE: u32 = Kind::Outlive as u32;

/// What a seed has left on, and around whom its faults come.
pub(super) struct Swarm {
    pub(super) kinds: Vec<Kind>,
    /// A few agents that are hit more often than others.
    pub(super) focus: [Option<Who>; 3],
}

impl Maker<'_> {
    /// Adds so many faults, and the stories of this seed on top of them.
    pub(super) fn swarm(&mut self, count: u32) {
        let mut dice = Dice::new(self.streams, Of::Fault(u32::MAX));
        let Some(swarm) = self.switch(&mut dice) else { return };
        // Many plans with few faults, few with many: a failure is then small from the start.
        let count = match dice.below(4) {
            0 => count.min(2),
            1 => count.min(6),
            2 => count / 2,
            _ => count,
        };
        let mut number = 0;
        for story in Story::ALL {
            if self.profile.faults.end() > &0 && dice.one_in(4) && self.tells(*story, &swarm) {
                let dice = &mut Dice::new(self.streams, Of::Story(number));
                self.story(*story, &swarm, dice);
                number += 1;
            }
        }
        for number in 0..count {
            let dice = &mut Dice::new(self.streams, Of::Fault(number));
            if let Some(fault) = dice.pick(&swarm.kinds).and_then(|kind| {
                let target = self.target(kind, &swarm, dice)?;
                Some(self.draw(kind, target, dice))
            }) {
                self.fault(fault);
            }
        }
    }

    /// Switches groups and kinds off. `None` if nothing is possible here.
    fn switch(&self, dice: &mut Dice) -> Option<Swarm> {
        let here = |kind: &Kind| self.allows(*kind) && self.has_place(*kind);
        let possible: Vec<Kind> = Kind::ALL.iter().copied().filter(here).collect();
        let all = possible.is_empty() || dice.one_in(8);
        let groups = dice.below(1 << Group::ALL.len());
        // What a seed means must not change with the number of kinds: those from there on are
        // switched with their groups alone.
        let kinds = dice.below(1 << DRAWN_AT_ONCE);
        let on = |kind: &Kind| {
            let of_group = groups >> (kind.facts().group as u32) & 1 == 1;
            let single = *kind as u32 >= DRAWN_AT_ONCE || kinds >> (*kind as u32) & 1 == 1;
            all || (of_group && single)
        };
        let mut left: Vec<Kind> = possible.iter().copied().filter(on).collect();
        if left.is_empty() {
            left.push(dice.pick(&possible)?);
        }
        let focus = [(); 3].map(|()| dice.pick(&self.stock.agents));
        Some(Swarm { kinds: left, focus })
    }

    fn has_place(&self, kind: Kind) -> bool {
        match kind.facts().place {
            Place::World | Place::Node => true,
            Place::Link => self.stock.nodes > 1,
            Place::Agent => !self.stock.agents.is_empty() || !self.stock.pool.is_empty(),
            Place::Supervisor => !self.stock.supervisors.is_empty(),
        }
    }

    fn target(&self, kind: Kind, swarm: &Swarm, dice: &mut Dice) -> Option<Target> {
        Some(match kind.facts().place {
            Place::World => Target::World,
            Place::Node => Target::Node(self.node(dice)),
            Place::Link => {
                let (from, to) = self.link(dice);
                Target::Link(from, to)
            }
            Place::Agent => Target::Who(self.agent(swarm, dice)?),
            Place::Supervisor => Target::Who(dice.pick(&self.stock.supervisors)?),
        })
    }

    /// Two nodes, not the same.
    pub(super) fn link(&self, dice: &mut Dice) -> (NodeIx, NodeIx) {
        let from = self.node(dice);
        let nodes = u64::from(self.stock.nodes);
        let on = 1 + dice.below(nodes.saturating_sub(1));
        let to = (u64::from(from.0) + on) % nodes.max(1);
        (from, NodeIx(u8::try_from(to).unwrap_or(0)))
    }

    /// An agent, mostly one of the few.
    pub(super) fn agent(&self, swarm: &Swarm, dice: &mut Dice) -> Option<Who> {
        if dice.below(3) < 2
            && let Some(Some(who)) = dice.pick(&swarm.focus)
        {
            return Some(who);
        }
        if !self.stock.pool.is_empty() && (dice.one_in(4) || self.stock.agents.is_empty()) {
            return dice.pick(&self.stock.pool);
        }
        dice.pick(&self.stock.agents)
    }

    pub(super) fn draw(&self, kind: Kind, target: Target, dice: &mut Dice) -> Fault {
        let at = self.instant(dice);
        let lasts = if kind == Kind::Pause {
            self.stands_still(dice)
        } else if kind.facts().lasts {
            self.lasts(dice)
        } else {
            Duration::ZERO
        };
        let amount = self.amount(kind, target, dice);
        Fault { at, lasts, kind, target, amount }
    }

    /// From a moment to half the run; now and then as long as it takes for a peer to be given up.
    pub(super) fn lasts(&self, dice: &mut Dice) -> Duration {
        let knobs = &self.knobs;
        if dice.one_in(8) {
            let rounds = knobs.heartbeat.saturating_add(knobs.heartbeat_timeout);
            return rounds.saturating_mul(knobs.heartbeat_threshold);
        }
        dice.time(Duration::from_micros(500), (self.horizon / 2).max(Duration::from_millis(1)))
    }

    /// As [`Maker::lasts`], mostly about as long as others wait for the node, or as long as what it
    /// runs for them may go on.
    pub(super) fn stands_still(&self, dice: &mut Dice) -> Duration {
        let knobs = &self.knobs;
        let given_up = knobs.heartbeat.saturating_mul(knobs.heartbeat_threshold);
        let about = [given_up, knobs.child_lease.unwrap_or(given_up), knobs.lease];
        match dice.pick(&about).filter(|_| !dice.one_in(3)) {
            Some(about) => (about / 2).saturating_add(dice.part_of(about)),
            None => self.lasts(dice),
        }
    }

    fn amount(&self, kind: Kind, target: Target, dice: &mut Dice) -> u64 {
        let ms = |ms: u64| ms * 1_000_000;
        let most = *kind.amounts().end();
        match (kind, kind.facts().amount) {
            (_, Unit::None) => 0,
            (Kind::Drift, _) => dice.scale(1, 100_000),
            (_, Unit::PerMillion) if dice.one_in(8) => most,
            (_, Unit::PerMillion) => dice.scale(1_000, most),
            (Kind::CrashLoop, _) => dice.scale(ms(1), ms(2_000)),
            (Kind::Flap, _) => dice.scale(ms(1), nanos(self.horizon / 4).max(ms(1))),
            (Kind::Skew, _) => dice.scale(ms(1), ms(10_000)),
            (Kind::SlowReceiver | Kind::Slow, _) => dice.scale(ms(1) / 100, ms(100)),
            (_, Unit::Time) => dice.scale(ms(1) / 10, ms(3_000)),
            (Kind::CrashAtEdge | Kind::RestartBroker, _) => dice.below(most + 1),
            (Kind::FillMailbox, _) => fill(self.scenario, target, dice),
            (_, Unit::Count) => dice.scale(1, 100),
        }
    }
}

/// Messages that fill a mailbox and some more; a few hundred of one that is large.
pub(super) fn fill(scenario: &Scenario, target: Target, dice: &mut Dice) -> u64 {
    const MOST: u64 = 1_500;
    let size = match target {
        Target::Who(who) => scenario.agent(who).map_or(1, |agent| u64::from(agent.mailbox.size)),
        Target::World | Target::Node(_) | Target::Link(..) => 1,
    };
    // All of a large one would be most of the run.
    if size > 200 && !dice.one_in(8) {
        return dice.scale(1, 200);
    }
    size.saturating_add(dice.scale(1, 16)).min(MOST)
}

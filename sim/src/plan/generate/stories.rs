//! Sequences of faults that together reach what a single one hardly ever does.

use std::time::Duration;

use lictor_kernel::{Instant, Intensity};

use super::super::dice::Dice;
use super::super::{Act, nanos};
use super::faults::{Swarm, fill};
use super::{Maker, WINDOW_MAX};
use crate::fault::{Fault, Kind, Target};
use crate::record::{NodeIx, Who};
use crate::scenario::Role;

/// A sequence of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Story {
    /// A crash loop that uses up one budget after the other, up to the root.
    Escalation,
    /// As many crashes as the budget allows, and one more when the first leaves the window.
    Edge,
    /// Several siblings crash in one instant, or while the others are being stopped for it.
    Together,
    /// A child crashes whenever its siblings are stopped.
    Sweep,
    /// A crash whose restart does not come up.
    HangingStart,
    /// A child that does not stop is stopped.
    IgnoredStop,
    /// A mailbox fills while its agent is slow, and the agent then crashes.
    FullMailbox,
    /// A node is cut off or gone for about as long as its names hold.
    Absence,
    /// A host is taken for dead, now and then just after answers to it came late.
    Outlived,
    /// Orders to a host come twice and late, while what they are about ends again and again.
    OldOrders,
    /// A node boots anew while what it has just said is held up.
    OldNews,
    /// A node stands still for longer than the leases of what it runs for others, which have work.
    Sleep,
}

impl Story {
    pub(super) const ALL: &'static [Self] = &[
        Self::Escalation,
        Self::Edge,
        Self::Together,
        Self::Sweep,
        Self::HangingStart,
        Self::IgnoredStop,
        Self::FullMailbox,
        Self::Absence,
        Self::Outlived,
        Self::OldOrders,
        Self::OldNews,
        Self::Sleep,
    ];

    /// The kinds of which a plan must be allowed to have all.
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Escalation => &[Kind::CrashLoop],
            Self::Edge => &[Kind::Crash, Kind::CrashAtEdge],
            Self::Together => &[Kind::CrashAll, Kind::Crash],
            Self::Sweep => &[Kind::CrashInSweep, Kind::Crash],
            Self::HangingStart => &[Kind::HangInStart, Kind::Crash],
            Self::IgnoredStop => &[Kind::IgnoreShutdown],
            Self::FullMailbox => &[Kind::FillMailbox],
            Self::Absence => &[Kind::Partition, Kind::PowerLoss],
            Self::Outlived => &[Kind::Outlive],
            Self::OldOrders => &[Kind::Duplicate, Kind::Reorder, Kind::CrashLoop],
            Self::OldNews => &[Kind::Jam, Kind::PowerLoss],
            Self::Sleep => &[Kind::Pause],
        }
    }
}

const fn instant(kind: Kind, at: Instant, target: Target, amount: u64) -> Fault {
    Fault { at, lasts: Duration::ZERO, kind, target, amount }
}

const fn lasting(kind: Kind, at: Instant, target: Target, lasts: Duration, amount: u64) -> Fault {
    Fault { at, lasts, kind, target, amount }
}

impl Maker<'_> {
    /// Whether a story can be told here. Of a mix of one group, those with a kind of that group
    /// are: a mix says which faults a plan has on its own, not what it takes to show them.
    pub(super) fn tells(&self, story: Story, swarm: &Swarm) -> bool {
        let nodes = self.scenario.nodes();
        let engine = self.profile.engine;
        let runs = |kind: &Kind| kind.facts().engines.has(engine);
        let kinds = story.kinds();
        kinds.iter().all(runs)
            && kinds.iter().any(|kind| self.profile.allows(*kind, nodes))
            && (!matches!(story, Story::Absence | Story::OldNews) || nodes > 1)
            && (!matches!(story, Story::Outlived | Story::OldOrders | Story::Sleep)
                || self.knobs.child_lease.is_some())
            && swarm.focus.iter().any(Option::is_some)
    }

    pub(super) fn story(&mut self, story: Story, swarm: &Swarm, dice: &mut Dice) {
        let Some(Some(who)) = dice.pick(&swarm.focus) else { return };
        // In the first half, so that something can come of it.
        let at = self.on_grid(dice.below(nanos(self.horizon) / 2 + 1));
        match story {
            Story::Escalation => self.escalation(who, at, dice),
            Story::Edge => self.edge(who, at, dice),
            Story::Together => self.together(who, at, dice),
            Story::Sweep => self.sweep(who, at, dice),
            Story::HangingStart => self.hanging_start(who, at, dice),
            Story::IgnoredStop => self.ignored_stop(who, at, dice),
            Story::FullMailbox => self.full_mailbox(who, at, dice),
            Story::Absence => self.absence(at, dice),
            Story::Outlived => self.outlived(at, dice),
            Story::OldOrders => self.old_orders(at, dice),
            Story::OldNews => self.old_news(who, at, dice),
            Story::Sleep => self.sleep(at, dice),
        }
    }

    fn escalation(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let target = Target::Who(who);
        let after = dice.scale(100_000, 100_000_000);
        self.fault(lasting(Kind::CrashLoop, at, target, self.horizon, after));
    }

    /// What counts towards the edge: all that crashes under the same supervisor.
    fn edge(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let Some(Intensity { max_restarts, period }) = self.scenario.intensity_over(who) else {
            return;
        };
        let longest = *self.profile.horizon.end();
        if period.is_zero() || period > WINDOW_MAX.max(longest) || max_restarts > 6 {
            self.fault(instant(Kind::Crash, at, Target::Who(who), 0));
            self.fault(instant(Kind::CrashAtEdge, at, Target::Who(who), dice.below(3)));
            return;
        }
        let around = at.saturating_add(period).saturating_add(Duration::from_secs(1));
        self.horizon = self.horizon.max(Duration::from_nanos(around.as_nanos()));
        let crashes = max_restarts.max(1);
        let siblings = self.siblings(who);
        // In one instant if there are siblings for it, else spread over the window.
        let step = if siblings.len() >= crashes as usize && dice.one_in(2) {
            0
        } else {
            nanos(period) / (u64::from(crashes) + 2)
        };
        for number in 0..crashes {
            let on = Duration::from_nanos(step.saturating_mul(u64::from(number)));
            let whose = if step == 0 { siblings[number as usize] } else { who };
            let crash = instant(Kind::Crash, at.saturating_add(on), Target::Who(whose), 0);
            self.fault(crash);
        }
        // A nanosecond before the first has left the window, exactly then, or after.
        let edge = at.saturating_add(period);
        let nanosecond = Duration::from_nanos(1);
        let edge = match dice.below(3) {
            0 => edge.saturating_sub(nanosecond),
            1 => edge,
            _ => edge.saturating_add(nanosecond),
        };
        if dice.one_in(3) {
            let last = at.saturating_add(Duration::from_nanos(1));
            self.fault(instant(Kind::CrashAtEdge, last, Target::Who(who), dice.below(3)));
        } else {
            self.fault(instant(Kind::Crash, edge, Target::Who(who), 0));
        }
    }

    fn together(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let siblings = self.siblings(who);
        if dice.one_in(3) {
            if let Some(parent) = self.scenario.entity(who).parent {
                self.fault(instant(Kind::CrashAll, at, Target::Who(parent), 0));
            }
            return;
        }
        let apart = dice.pick(&[0, 0, 1, self.grid, 500_000]).unwrap_or(0);
        let many = usize::try_from(dice.between(2, 4)).unwrap_or(2);
        let first = usize::try_from(dice.below(siblings.len() as u64)).unwrap_or(0);
        let whose = siblings.iter().cycle().skip(first).take(many.min(siblings.len()));
        let mut at = at;
        for who in whose {
            self.fault(instant(Kind::Crash, at, Target::Who(*who), 0));
            at = at.saturating_add(Duration::from_nanos(apart));
        }
    }

    fn sweep(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        // The supervisor above, or the one above that.
        let parent = self.scenario.entity(who).parent;
        let above = parent.and_then(|parent| self.scenario.entity(parent).parent);
        let target = if dice.one_in(3) { above.or(parent) } else { parent };
        let Some(target) = target else { return };
        let lasts = self.lasts(dice).max(Duration::from_millis(50));
        self.fault(lasting(Kind::CrashInSweep, at, Target::Who(target), lasts, 0));
        for _ in 0..dice.between(1, 3) {
            let within = Duration::from_nanos(dice.below(nanos(lasts)));
            let crash = instant(Kind::Crash, at.saturating_add(within), Target::Who(who), 0);
            self.fault(crash);
        }
    }

    fn hanging_start(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let whose = self.scenario.entity(who);
        // Longer than its start may take, if it may not take as long as it likes.
        let limit = whose.spec.start_timeout.unwrap_or(Duration::from_millis(500));
        let lasts = limit.saturating_mul(dice.small(1, 4));
        self.fault(lasting(Kind::HangInStart, at, Target::Who(who), lasts, 0));
        self.fault(instant(Kind::Crash, at, Target::Who(who), 0));
        if dice.one_in(2) {
            let crash = at.saturating_add(lasts / 2);
            for sibling in self.siblings(who).into_iter().filter(|sibling| *sibling != who) {
                self.fault(instant(Kind::Crash, crash, Target::Who(sibling), 0));
            }
        }
    }

    fn ignored_stop(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let lasts = dice.time(Duration::from_millis(10), self.horizon);
        self.fault(lasting(Kind::IgnoreShutdown, at, Target::Who(who), lasts, 0));
        let during = at.saturating_add(Duration::from_nanos(dice.below(nanos(lasts))));
        if during.as_nanos() > nanos(self.horizon) {
            return;
        }
        // Who wants it to stop: somebody outside, or the crash of a sibling.
        let crash = self.siblings(who).into_iter().find(|sibling| *sibling != who);
        match crash.filter(|_| dice.one_in(2)) {
            Some(sibling) if self.profile.allows(Kind::Crash, self.scenario.nodes()) => {
                self.fault(instant(Kind::Crash, during, Target::Who(sibling), 0));
            }
            Some(_) | None => self.operation(during, Act::Terminate(who), dice),
        }
    }

    fn full_mailbox(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let target = Target::Who(who);
        let lasts = dice.time(Duration::from_millis(20), Duration::from_secs(2));
        if self.allows(Kind::Slow) {
            let each = dice.scale(1_000_000, 50_000_000);
            self.fault(lasting(Kind::Slow, at, target, lasts, each));
        }
        let burst = at.saturating_add(lasts / 4);
        let messages = fill(self.scenario, target, dice);
        self.fault(instant(Kind::FillMailbox, burst, target, messages));
        if self.allows(Kind::Crash) && dice.one_in(2) {
            let crash = at.saturating_add(lasts / 2);
            self.fault(instant(Kind::Crash, crash, target, 0));
        }
    }

    fn absence(&mut self, at: Instant, dice: &mut Dice) {
        let knobs = &self.knobs;
        let (from, to) = self.link(dice);
        // About as long as it takes to be given up, or as long as names hold.
        let given_up = knobs.heartbeat.saturating_mul(knobs.heartbeat_threshold);
        let about = if dice.one_in(2) { given_up } else { knobs.lease };
        let lasts = (about / 2).saturating_add(Duration::from_nanos(dice.below(nanos(about))));
        let fault = match dice.below(4) {
            0 => lasting(Kind::PowerLoss, at, Target::Node(from), lasts, 0),
            1 => lasting(Kind::CrashNode, at, Target::Node(from), lasts, 0),
            2 => lasting(Kind::OneWay, at, Target::Link(from, to), lasts, 0),
            _ => lasting(Kind::Partition, at, Target::Link(from, to), lasts, 0),
        };
        if self.allows(fault.kind) {
            self.fault(fault);
        }
    }

    fn outlived(&mut self, at: Instant, dice: &mut Dice) {
        let all = || self.scenario.all().map(|(who, entity)| (entity.node, self.host_of(who)));
        let pairs: Vec<(NodeIx, NodeIx)> =
            all().filter_map(|(owner, host)| Some((owner, host?))).collect();
        let Some((owner, host)) = dice.pick(&pairs) else { return };
        let lease = self.knobs.child_lease.unwrap_or_default();
        let lasts = lease.saturating_mul(dice.small(1, 4));
        if dice.one_in(2) {
            return self.fault(lasting(Kind::Outlive, at, Target::Node(host), lasts, 0));
        }
        // Answers take a good part of a lease, and the last questions are lost.
        let takes = (lease / 4).saturating_add(Duration::from_nanos(dice.below(nanos(lease / 2))));
        let slow = at.saturating_add(lease);
        let (there, back) = (Target::Link(owner, host), Target::Link(host, owner));
        self.fault(lasting(Kind::Latency, at, there, lease, nanos(takes)));
        let unheard = slow.saturating_sub(takes / 2).max(at);
        self.fault(lasting(Kind::OneWay, unheard, back, takes, 0));
        let dead = slow.saturating_add(Duration::from_nanos(dice.below(nanos(takes))));
        self.fault(lasting(Kind::Outlive, dead, Target::Node(host), lasts, 0));
    }

    fn old_orders(&mut self, at: Instant, dice: &mut Dice) {
        let all = || self.scenario.all().map(|(who, entity)| (who, entity.node));
        let placed: Vec<(Who, NodeIx, NodeIx)> =
            all().filter_map(|(who, owner)| Some((who, owner, self.host_of(who)?))).collect();
        let Some((who, owner, host)) = dice.pick(&placed) else { return };
        let lease = self.knobs.child_lease.unwrap_or_default();
        let lasts = lease.saturating_mul(dice.small(1, 3));
        let there = Target::Link(owner, host);
        self.fault(lasting(Kind::Duplicate, at, there, lasts, 1_000_000));
        self.fault(lasting(Kind::Reorder, at, there, lasts, dice.between(200_000, 600_000)));
        let ends = dice.scale(1_000, 1_000_000);
        self.fault(lasting(Kind::CrashLoop, at, Target::Who(who), lasts, ends));
        self.fault(instant(Kind::Crash, at, Target::Who(who), 0));
    }

    fn old_news(&mut self, who: Who, at: Instant, dice: &mut Dice) {
        let node = self.host_of(who).unwrap_or_else(|| self.scenario.entity(who).node);
        let nodes = u64::from(self.stock.nodes);
        let on = 1 + dice.below(nodes.saturating_sub(1));
        let other = NodeIx(u8::try_from((u64::from(node.0) + on) % nodes.max(1)).unwrap_or(0));
        let lasts = dice.time(Duration::from_millis(5), self.knobs.heartbeat);
        self.fault(lasting(Kind::Jam, at, Target::Link(node, other), lasts, 0));
        // It says that the agent is gone, perhaps that it is there again, and is gone itself.
        self.fault(instant(Kind::Crash, at, Target::Who(who), 0));
        let gone = at.saturating_add(dice.part_of(lasts / 2));
        let anew = dice.time(Duration::from_micros(500), lasts.max(Duration::from_millis(1)));
        let kind = if dice.one_in(2) { Kind::PowerLoss } else { Kind::CrashNode };
        self.fault(lasting(kind, gone, Target::Node(node), anew, 0));
    }

    fn sleep(&mut self, at: Instant, dice: &mut Dice) {
        let all = || self.scenario.all().map(|(who, _)| who);
        let placed: Vec<(Who, NodeIx)> =
            all().filter_map(|who| Some((who, self.host_of(who)?))).collect();
        let Some((who, host)) = dice.pick(&placed) else { return };
        let target = Target::Who(who);
        let messages = dice.scale(2, 64);
        if self.allows(Kind::FillMailbox) {
            self.fault(instant(Kind::FillMailbox, at, target, messages));
        }
        let lease = self.knobs.child_lease.unwrap_or_default();
        let lasts = lease.saturating_add(dice.part_of(lease.saturating_mul(2)));
        // With some of it in hand, or before any has come.
        let falls = at.saturating_add(dice.part_of(self.knobs.latency.1.saturating_mul(4)));
        self.fault(lasting(Kind::Pause, falls, Target::Node(host), lasts, 0));
    }

    /// The agents under the same supervisor, itself included, in start order.
    fn siblings(&self, who: Who) -> Vec<Who> {
        let parent = self.scenario.entity(who).parent;
        let below = parent.map(|parent| &self.scenario.entity(parent).role);
        match below {
            Some(Role::Supervisor(_, below) | Role::Dynamic(_, below)) => below
                .iter()
                .copied()
                .filter(|child| self.scenario.agent(*child).is_some())
                .collect(),
            Some(Role::Agent(_)) | None => vec![who],
        }
    }
}

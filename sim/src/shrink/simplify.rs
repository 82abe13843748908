//! Short and round: times, amounts, and the nature of the world.

use std::time::Duration;

use lictor_kernel::Instant;

use super::Search;
use crate::fault::{Fault, Unit};
use crate::plan::{Act, CALM_MAX, Knobs, Plan, nanos};

/// What is round, the roundest first.
const ROUND: [u64; 4] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000];

/// Seconds that are easy to read.
const SMALL: [u64; 6] = [0, 1, 2, 5, 10, 20];

impl Search<'_, '_> {
    pub(super) fn simplify(&mut self) {
        self.knobs();
        self.earlier();
        for round in ROUND {
            // All at once is one run, and often enough.
            if self.change(|plan| round_all(plan, round)) {
                break;
            }
        }
        for index in 0..self.best.faults.len() {
            self.one_fault(index);
        }
        for index in 0..self.best.operations.len() {
            self.one_operation(index);
        }
        self.horizon();
    }

    /// The usual world, or at least one without chance.
    fn knobs(&mut self) {
        let usual = Knobs::default();
        if self.with_knobs(|knobs| *knobs = usual) {
            return;
        }
        let set: [fn(&mut Knobs, Knobs); 12] = [
            |knobs, usual| knobs.start = usual.start,
            |knobs, usual| knobs.stop = usual.stop,
            |knobs, usual| knobs.handle = usual.handle,
            |knobs, usual| knobs.latency = usual.latency,
            |knobs, usual| knobs.send_timeout = usual.send_timeout,
            |knobs, usual| knobs.heartbeat = usual.heartbeat,
            |knobs, usual| knobs.heartbeat_timeout = usual.heartbeat_timeout,
            |knobs, usual| knobs.heartbeat_threshold = usual.heartbeat_threshold,
            |knobs, usual| knobs.lease = usual.lease,
            |knobs, usual| knobs.link_capacity = usual.link_capacity,
            |knobs, usual| knobs.medium = usual.medium,
            |knobs, usual| knobs.buggify = usual.buggify,
        ];
        for set in set {
            self.with_knobs(|knobs| set(knobs, usual));
        }
    }

    /// A slower world needs longer to heal: without it, a shrunk plan would blame the system for a
    /// run that is too short.
    fn with_knobs(&mut self, change: impl FnOnce(&mut Knobs)) -> bool {
        self.change(|plan| {
            change(&mut plan.knobs);
            plan.calm = plan.calm.max(plan.calm_needed());
        })
    }

    /// Everything earlier, by as much as the first thing is late.
    fn earlier(&mut self) {
        let first_fault = self.best.faults.first().map(|fault| fault.at);
        let first_operation = self.best.operations.first().map(|operation| operation.at);
        let first = [first_fault, first_operation].into_iter().flatten().min();
        let Some(first) = first.map(Instant::as_nanos) else { return };
        // All is up after a second in any ordinary world.
        for begin in [0, 1_000_000_000] {
            if first > begin && self.change(|plan| shift(plan, first - begin)) {
                return;
            }
        }
    }

    fn one_fault(&mut self, index: usize) {
        let Some(fault) = self.best.faults.get(index).copied() else { return };
        self.round(fault.at.as_nanos(), &|plan, at| {
            plan.faults[index].at = Instant::from_nanos(at);
        });
        let set = |plan: &mut Plan, lasts| {
            plan.faults[index].lasts = Duration::from_nanos(lasts);
        };
        self.smaller(1, nanos(fault.lasts), &set);
        let range = fault.kind.amounts();
        let set = |plan: &mut Plan, amount| plan.faults[index].amount = amount;
        if fault.kind.facts().amount != Unit::None {
            self.smaller(*range.start(), fault.amount, &set);
        }
    }

    fn one_operation(&mut self, index: usize) {
        let Some(operation) = self.best.operations.get(index).copied() else { return };
        self.round(operation.at.as_nanos(), &|plan, at| {
            plan.operations[index].at = Instant::from_nanos(at);
        });
        if let Act::Ask(_, time)
        | Act::Stop(time)
        | Act::TellWithin(_, time)
        | Act::SendAfter(_, time) = operation.act
        {
            let set = |plan: &mut Plan, nanos| match &mut plan.operations[index].act {
                Act::Ask(_, time)
                | Act::Stop(time)
                | Act::TellWithin(_, time)
                | Act::SendAfter(_, time) => *time = Duration::from_nanos(nanos),
                Act::Tell(_)
                | Act::Broadcast
                | Act::Spawn(_)
                | Act::Despawn(_)
                | Act::Terminate(_)
                | Act::Restart(_)
                | Act::Suspend(_)
                | Act::Resume(_)
                | Act::End(..)
                | Act::Claim(_)
                | Act::Unclaim(_)
                | Act::Publish(..)
                | Act::TellCapable(_)
                | Act::Look(_) => {}
            };
            self.smaller(1, nanos(time), &set);
        }
    }

    /// A small whole number of seconds, or the roundest value at or below this one. An instant must
    /// not pass that of its neighbour: what is changed by number must keep its number.
    fn round(&mut self, value: u64, set: &dyn Fn(&mut Plan, u64)) {
        let small = SMALL.iter().map(|seconds| seconds * ROUND[0]);
        let rounded = ROUND.iter().map(|round| value - value % round);
        for at in small.filter(|small| *small < value).chain(rounded) {
            if at == value {
                return;
            }
            let mut candidate = self.best.clone();
            set(&mut candidate, at);
            if in_order(&candidate) && self.take(candidate) {
                return;
            }
        }
    }

    /// The least value, or half of it as often as that goes, and then round.
    fn smaller(&mut self, least: u64, value: u64, set: &dyn Fn(&mut Plan, u64)) {
        if value <= least || self.change(|plan| set(plan, least)) {
            return;
        }
        let mut value = value;
        while value / 2 > least && self.change(|plan| set(plan, value / 2)) {
            value /= 2;
        }
        for round in ROUND {
            let rounded = value - value % round;
            if rounded > least && self.change(|plan| set(plan, rounded)) {
                return;
            }
        }
    }

    /// No longer than something happens, if that is enough; and a round time to heal, which may be
    /// longer than it was.
    fn horizon(&mut self) {
        let faults = self.best.faults.iter().map(Fault::ends);
        let operations = self.best.operations.iter().map(|operation| operation.at);
        let last = faults.chain(operations).max().unwrap_or(Instant::ZERO).as_nanos();
        for round in ROUND {
            let horizon = Duration::from_nanos(last.max(1).next_multiple_of(round));
            if horizon < self.best.horizon && self.change(|plan| plan.horizon = horizon) {
                break;
            }
        }
        let set = |plan: &mut Plan, horizon| plan.horizon = Duration::from_nanos(horizon);
        self.smaller(last.max(ROUND[3]), nanos(self.best.horizon), &set);
        self.change(|plan| {
            let calm = nanos(plan.calm).next_multiple_of(ROUND[0]);
            plan.calm = Duration::from_nanos(calm).min(CALM_MAX);
        });
    }
}

fn in_order(plan: &Plan) -> bool {
    plan.faults.is_sorted_by_key(|fault| fault.at)
        && plan.operations.is_sorted_by_key(|operation| operation.at)
}

fn round_all(plan: &mut Plan, round: u64) {
    let down = |nanos: u64| nanos - nanos % round;
    for fault in &mut plan.faults {
        fault.at = Instant::from_nanos(down(fault.at.as_nanos()));
    }
    for operation in &mut plan.operations {
        operation.at = Instant::from_nanos(down(operation.at.as_nanos()));
    }
}

fn shift(plan: &mut Plan, by: u64) {
    let by = Duration::from_nanos(by);
    for fault in &mut plan.faults {
        fault.at = fault.at.saturating_sub(by);
    }
    for operation in &mut plan.operations {
        operation.at = operation.at.saturating_sub(by);
    }
}

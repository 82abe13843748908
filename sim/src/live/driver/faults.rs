//! What the plan breaks, and how it mends.
#![allow(clippy::wildcard_enum_match_arm, reason = "kinds that are other engines' do nothing")]

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::ExitReason;

use super::super::ledger::Phase;
use super::{ClockChange, Driver, Ground, LinkChange, Todo};
use crate::fault::{Fault, Group, Kind, Target};
use crate::link::Spoilt;
use crate::record::{MessageId, NodeIx, Process, What, Who};

impl<G: Ground> Driver<G> {
    fn fault(&self, number: u32) -> Fault {
        self.live.plan.faults[number as usize]
    }

    pub(super) fn begins(&mut self, number: u32) {
        let fault = self.fault(number);
        if self.live.with(|ledger| ledger.calm) {
            return;
        }
        self.injected += 1;
        self.live.put(self.place(&fault), What::Fault(number, true));
        if fault.kind.facts().lasts {
            self.live.with(|ledger| ledger.active.insert(number));
            self.after(crate::plan::nanos(fault.lasts), Todo::Ends(number));
        }
        self.changes(number, &fault, true);
    }

    pub(super) fn ends(&mut self, number: u32) {
        if !self.live.with(|ledger| ledger.active.remove(&number)) {
            return;
        }
        let fault = self.fault(number);
        self.live.put(self.place(&fault), What::Fault(number, false));
        self.changes(number, &fault, false);
    }

    fn place(&self, fault: &Fault) -> NodeIx {
        match fault.target {
            Target::Node(node) | Target::Link(node, _) => node,
            Target::Who(who) => self.live.plan.scenario.entity(who).node,
            Target::World => NodeIx(0),
        }
    }

    fn changes(&mut self, number: u32, fault: &Fault, begins: bool) {
        if matches!(fault.kind.facts().group, Group::Scheduling | Group::Async) {
            if let Some(after) = self.ground.task(fault, begins) {
                self.after(after.max(1_000), Todo::Turns(number));
            }
            return;
        }
        match fault.target {
            Target::Who(who) => self.at_agent(number, fault, who, begins),
            _ => self.at_node(number, fault, begins),
        }
    }

    /// A fault at an agent, or at all below a supervisor, begins or ends.
    fn at_agent(&mut self, number: u32, fault: &Fault, who: Who, begins: bool) {
        let amount = fault.amount;
        let up = self.live.with(|ledger| {
            let agent = ledger.agent(who);
            agent.effects.change(fault.kind, amount, begins);
            let up = agent.process.filter(|_| agent.phase == Phase::Up);
            ledger.stir(who);
            up
        });
        match fault.kind {
            Kind::CrashLoop if begins => {
                if let Some(process) = up {
                    self.live.crash_later(process, amount);
                }
            }
            Kind::Crash => self.live.end(who, ExitReason::Crashed),
            Kind::Exit => self.live.end(who, ExitReason::Normal),
            Kind::CrashAll => self.crash_all(who),
            Kind::CrashAtEdge => self.crash_at_edge(who, amount),
            Kind::FillMailbox => self.fill(number, who, amount),
            _ => {}
        }
    }

    /// In one instant, and in start order: none is spared because another went.
    fn crash_all(&self, who: Who) {
        let all = self.live.plan.scenario.agents_below(who);
        let up: Vec<Process> = self.live.with(|ledger| {
            let up = |who: Who| {
                let agent = ledger.agent(who);
                agent.process.filter(|_| agent.phase == Phase::Up)
            };
            all.into_iter().filter_map(up).collect()
        });
        let node = self.live.plan.home(who);
        let live = Arc::clone(&self.live);
        self.live.spawn(node, async move {
            for process in up {
                live.crash(process);
                live.until(process.who, |ledger| (!ledger.is(process)).then_some(())).await;
            }
        });
    }

    /// The agent crashes just when its last end leaves the restart window.
    fn crash_at_edge(&mut self, who: Who, amount: u64) {
        let last = self.live.with(|ledger| ledger.agent(who).last_end);
        let window = self.live.plan.scenario.intensity_over(who);
        let edge = last.zip(window).map(|(last, window)| last.saturating_add(window.period));
        let nanosecond = Duration::from_nanos(1);
        let at = edge.map(|edge| match amount {
            0 => edge.saturating_sub(nanosecond),
            1 => edge,
            _ => edge.saturating_add(nanosecond),
        });
        match at.filter(|at| *at > self.ground.now() && *at < self.live.plan.heals()) {
            Some(at) => self.push(at.as_nanos(), Todo::Crashes(who)),
            None => self.live.end(who, ExitReason::Crashed),
        }
    }

    /// Many messages come at once, from the agent's own node.
    fn fill(&self, number: u32, who: Who, amount: u64) {
        let node = self.live.plan.home(who);
        if !self.live.with(|ledger| ledger.node(node).on) {
            return;
        }
        let first = u32::try_from(self.live.plan.operations.len()).unwrap_or(u32::MAX);
        for n in 0..u32::try_from(amount.min(2_000)).unwrap_or(u32::MAX) {
            let nth = first.saturating_add(number.saturating_mul(2_000)).saturating_add(n);
            self.live.tell(node, MessageId::of_operation(nth), who);
        }
    }

    /// A fault at a node or a link begins or ends.
    #[allow(clippy::collapsible_match, reason = "the end of a flap tunes nothing")]
    fn at_node(&mut self, number: u32, fault: &Fault, begins: bool) {
        let amount = fault.amount;
        match (fault.kind, fault.target) {
            (Kind::CrashNode | Kind::PowerLoss, Target::Node(node)) if begins => {
                self.halts(node, fault.kind == Kind::CrashNode);
                if fault.kind == Kind::PowerLoss {
                    self.live.with(|ledger| {
                        let now = ledger.now;
                        ledger.node(node).disk.lose(now);
                    });
                }
            }
            (Kind::CrashNode | Kind::PowerLoss, Target::Node(node)) => self.boots(node),
            (Kind::Pause, Target::Node(node)) if begins => self.pauses(number, node),
            (Kind::Pause, Target::Node(node)) => self.goes_on(number, node),
            (Kind::LateTimers, Target::Node(node)) => {
                self.ground.clock(node, ClockChange::Late(if begins { amount } else { 0 }));
            }
            (Kind::Skew, Target::Node(node)) if begins => {
                self.ground.clock(node, ClockChange::Leap(amount));
            }
            (Kind::Drift, Target::Node(node)) => {
                self.ground.clock(node, ClockChange::Drift(if begins { amount } else { 0 }));
            }
            (Kind::LoseUnsynced | Kind::CorruptStore | Kind::FullStore, Target::Node(node)) => {
                self.live.with(|ledger| {
                    let now = ledger.now;
                    ledger.node(node).disk.change(now, fault, begins);
                });
            }
            (Kind::SlowReceiver, Target::Node(node)) => {
                self.ground.link(LinkChange::Slow(node, if begins { amount } else { 0 }));
            }
            (Kind::Flap, _) if begins => {
                self.flapping.insert(number, false);
                self.turns(number);
            }
            (Kind::Flap, target) => {
                let is_cut = self.flapping.remove(&number).unwrap_or(false);
                let links = is_cut.then_some(LinkChange::Cut(target, fault.kind, false));
                links.into_iter().for_each(|change| self.ground.link(change));
            }
            (Kind::Partition | Kind::OneWay | Kind::Isolate | Kind::Bridge, target) => {
                self.ground.link(LinkChange::Cut(target, fault.kind, begins));
            }
            (Kind::Jam, Target::Link(a, b)) => {
                self.ground.link(LinkChange::Jam(a, b, begins));
            }
            (Kind::Reset, Target::Link(a, b)) => self.ground.link(LinkChange::Reset(a, b)),
            (Kind::Refuse, Target::Link(a, b)) => {
                self.ground.link(LinkChange::Refuse(a, b, begins));
            }
            (Kind::HalfOpen, Target::Link(a, b)) => {
                self.ground.link(LinkChange::HalfOpen(a, b, begins));
            }
            (Kind::PartialFrame, Target::Link(a, b)) => {
                self.ground.link(LinkChange::Spoil(a, b, Spoilt::Partial));
            }
            (Kind::Garbage, Target::Link(a, b)) => {
                self.ground.link(LinkChange::Spoil(a, b, Spoilt::Garbage(amount)));
            }
            (kind, Target::Link(a, b)) => {
                let amount = begins.then_some(amount);
                self.ground.link(LinkChange::Tune(a, b, kind, amount));
            }
            _ => {}
        }
    }

    /// A fault that goes on and off turns.
    pub(super) fn turns(&mut self, number: u32) {
        if !self.live.with(|ledger| ledger.active.contains(&number)) {
            return;
        }
        let fault = self.fault(number);
        if fault.kind != Kind::Flap {
            return self.changes(number, &fault, true);
        }
        let Some(on) = self.flapping.get_mut(&number) else { return };
        *on = !*on;
        let begins = *on;
        self.ground.link(LinkChange::Cut(fault.target, fault.kind, begins));
        self.after(fault.amount.max(1_000_000), Todo::Turns(number));
    }
}

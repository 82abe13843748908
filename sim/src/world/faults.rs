//! What the plan breaks, and how it mends.
#![allow(clippy::wildcard_enum_match_arm, reason = "kinds that are other engines' do nothing")]

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::ExitReason;

use super::process::State;
use super::{Event, World};
use crate::fault::{Fault, Kind, Target};
use crate::plan::nanos;
use crate::queue::EventQueue;
use crate::record::{MessageId, NodeIx, What, Who};

impl<Q: EventQueue<Event>> World<'_, Q> {
    fn fault(&self, number: u32) -> Fault {
        self.plan.faults[number as usize]
    }

    pub(super) fn begins(&mut self, number: u32) {
        let fault = self.fault(number);
        if !fault.kind.facts().engines.kernel || self.calm {
            return;
        }
        self.injected += 1;
        self.put(self.place(&fault), What::Fault(number, true));
        if fault.kind.facts().lasts {
            self.active.insert(number);
            self.after(nanos(fault.lasts), Event::Ends(number));
        }
        match fault.target {
            Target::Who(who) => self.at_agent(number, &fault, who, true),
            Target::Node(_) | Target::Link(..) | Target::World => {
                self.at_node(number, &fault, true);
            }
        }
    }

    pub(super) fn ends(&mut self, number: u32) {
        if !self.active.remove(&number) {
            return;
        }
        let fault = self.fault(number);
        self.put(self.place(&fault), What::Fault(number, false));
        match fault.target {
            Target::Who(who) => self.at_agent(number, &fault, who, false),
            Target::Node(_) | Target::Link(..) | Target::World => {
                self.at_node(number, &fault, false);
            }
        }
    }

    fn place(&self, fault: &Fault) -> NodeIx {
        match fault.target {
            Target::Node(node) | Target::Link(node, _) => node,
            Target::Who(who) => self.node_of(who),
            Target::World => NodeIx(0),
        }
    }

    /// A fault at an agent, or at all below a supervisor, begins or ends.
    fn at_agent(&mut self, number: u32, fault: &Fault, who: Who, begins: bool) {
        let amount = fault.amount;
        let state = &mut self.agents[usize::from(who.0)];
        state.effects.change(fault.kind, amount, begins);
        let (effects, slots) = (state.effects, state.slots.clone());
        match fault.kind {
            Kind::HangInStart if effects.hang_in_start == 0 => {
                for slot in slots {
                    self.comes_up(slot);
                }
            }
            Kind::IgnoreShutdown if effects.ignore_shutdown == 0 => {
                for slot in slots {
                    if self.live(slot).is_some_and(|proc| proc.state == State::Stopping) {
                        self.begins_to_stop(slot);
                    }
                }
            }
            Kind::CrashLoop if begins => {
                if let Some(slot) = self.up(who) {
                    self.after(amount, Event::Dies(slot, ExitReason::Crashed));
                }
            }
            Kind::Crash => self.end(who, ExitReason::Crashed),
            Kind::Exit => self.end(who, ExitReason::Normal),
            Kind::CrashAll => self.crash_all(who),
            Kind::CrashAtEdge => self.crash_at_edge(who, amount),
            Kind::RepeatExit => self.repeat_end(who),
            Kind::FillMailbox => self.fill(number, who, amount),
            _ => {}
        }
    }

    fn crash_all(&mut self, who: Who) {
        let scenario = Arc::clone(&self.plan.scenario);
        for agent in scenario.agents_below(who) {
            // In one instant, but one after the other: none is spared because another went.
            if let Some(slot) = self.up(agent) {
                self.after(0, Event::Dies(slot, ExitReason::Crashed));
            }
        }
    }

    /// The agent crashes just when its last end leaves the restart window.
    fn crash_at_edge(&mut self, who: Who, amount: u64) {
        let (Some(last), Some(intensity)) =
            (self.agents[usize::from(who.0)].last_end, self.plan.scenario.intensity_over(who))
        else {
            return self.end(who, ExitReason::Crashed);
        };
        let edge = last.saturating_add(intensity.period);
        let nanosecond = Duration::from_nanos(1);
        let at = match amount {
            0 => edge.saturating_sub(nanosecond),
            1 => edge,
            _ => edge.saturating_add(nanosecond),
        };
        if at <= self.now || at >= self.plan.heals() {
            return self.end(who, ExitReason::Crashed);
        }
        self.queue.push(at.as_nanos(), Event::Crashes(who));
    }

    /// Many messages come at once, from the agent's own node.
    fn fill(&mut self, number: u32, who: Who, amount: u64) {
        let node = self.home_of(who);
        if !self.node(node).on {
            return;
        }
        let most = 2_000.min(amount);
        let first = u32::try_from(self.plan.operations.len()).unwrap_or(u32::MAX);
        for n in 0..u32::try_from(most).unwrap_or(u32::MAX) {
            let nth = first.saturating_add(number.saturating_mul(2_000)).saturating_add(n);
            self.send(node, MessageId::of_operation(nth), who, None);
        }
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// A fault at a node or a link begins or ends.
    fn at_node(&mut self, number: u32, fault: &Fault, begins: bool) {
        let amount = fault.amount;
        match (fault.kind, fault.target) {
            (Kind::CrashNode | Kind::PowerLoss, Target::Node(node)) if begins => {
                self.halt(node);
                if fault.kind == Kind::CrashNode {
                    self.hang_up(node);
                } else {
                    self.disk_fails(node);
                }
            }
            (Kind::CrashNode | Kind::PowerLoss, Target::Node(node)) => self.boots(node),
            (Kind::Pause, Target::Node(node)) if begins => self.pauses(number, node),
            (Kind::Pause, Target::Node(node)) => self.goes_on(number, node),
            (Kind::Outlive, Target::Node(node)) if begins => self.outlives(node),
            (Kind::Outlive, Target::Node(node)) => self.is_gone_at_last(node),
            (Kind::Skew, Target::Node(node)) if begins => {
                let now = self.now;
                self.node(node).clock.leap(now, amount);
                self.reset_due(node);
            }
            (Kind::Drift, Target::Node(node)) => {
                let now = self.now;
                self.node(node).clock.drift(now, if begins { amount } else { 0 });
                self.reset_due(node);
            }
            (Kind::LateTimers, Target::Node(node)) => {
                self.node(node).late = if begins { amount } else { 0 };
                self.reset_due(node);
            }
            (Kind::SlowConsumer | Kind::RestartBroker | Kind::Redeliver | Kind::HighWater, _) => {
                self.at_broker_fault(fault, begins)
            }
            (Kind::LoseUnsynced | Kind::CorruptStore | Kind::FullStore, Target::Node(node)) => {
                let now = self.now;
                self.disks[usize::from(node.0)].change(now, fault, begins);
            }
            (_, target) => self.at_link(number, target, fault, begins),
        }
    }

    /// The power of a node has failed, and what its disk had not synced is gone.
    fn disk_fails(&mut self, node: NodeIx) {
        let now = self.now;
        if let Some(disk) = self.disks.get_mut(usize::from(node.0)) {
            disk.lose(now);
        }
    }

    /// A fault that goes on and off turns.
    pub(super) fn turns(&mut self, number: u32) {
        if !self.active.contains(&number) {
            return;
        }
        let fault = self.fault(number);
        self.flap(number, &fault);
        self.after(fault.amount.max(1_000_000), Event::Turns(number));
    }
}

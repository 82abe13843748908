//! Which faults of a plan have touched what is recorded.

use std::collections::BTreeMap;

use lictor_kernel::{Instant, Signal};

use crate::fault::{Fault, Kind, Target};
use crate::plan::Plan;
use crate::record::{Fate, NodeIx, Record, What, Who};

/// Faults that hold now, by where they are.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    plan: &'a Plan,
    agents: BTreeMap<Who, Vec<Held>>,
    /// At nodes, links and the world.
    others: Vec<Held>,
    begun: BTreeMap<u32, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    number: u32,
    /// The record of its beginning.
    record: u32,
    until: Instant,
}

impl<'a> Faults<'a> {
    pub(super) const fn new(plan: &'a Plan) -> Self {
        Self { plan, agents: BTreeMap::new(), others: Vec::new(), begun: BTreeMap::new() }
    }

    /// A fault begins or ends; the record of its beginning, at its end.
    pub(super) fn turns(&mut self, number: u32, begins: bool, record: u32) -> Option<u32> {
        if !begins {
            return self.begun.get(&number).copied();
        }
        self.begun.insert(number, record);
        let fault = self.plan.faults.get(number as usize)?;
        let until = if later(fault.kind) { Instant::MAX } else { fault.ends() };
        let held = Held { number, record, until };
        match fault.target {
            Target::Who(who) => {
                for agent in self.plan.scenario.agents_below(who) {
                    self.agents.entry(agent).or_default().push(held);
                }
            }
            Target::World | Target::Node(_) | Target::Link(..) => self.others.push(held),
        }
        None
    }

    /// Those at an agent that can have led to this record of it.
    pub(super) fn at_agent(&mut self, who: Who, record: &Record, found: &mut Vec<u32>) {
        let Some(held) = self.agents.get_mut(&who) else { return };
        held.retain(|held| held.until >= record.at);
        let faults = &self.plan.faults;
        let touching =
            held.iter().filter(|held| touches(faults[held.number as usize].kind, &record.what));
        found.extend(touching.map(|held| held.record));
    }

    /// Those that can have halted or booted a node.
    pub(super) fn at_node(&mut self, node: NodeIx, record: &Record, found: &mut Vec<u32>) {
        self.expire(record.at);
        let ends = |fault: &Fault| {
            matches!(fault.kind, Kind::CrashNode | Kind::PowerLoss)
                && fault.target == Target::Node(node)
        };
        found.extend(self.holding().filter(|(fault, _)| ends(fault)).map(|(_, record)| record));
    }

    /// Those that can have cost a frame from one node to another.
    pub(super) fn at_link(
        &mut self,
        from: NodeIx,
        to: NodeIx,
        record: &Record,
        found: &mut Vec<u32>,
    ) {
        self.expire(record.at);
        let covers = |fault: &Fault| costs_frames(fault.kind) && covers(fault, from, to);
        found.extend(self.holding().filter(|(fault, _)| covers(fault)).map(|(_, record)| record));
    }

    fn expire(&mut self, now: Instant) {
        self.others.retain(|held| held.until >= now);
    }

    fn holding(&self) -> impl Iterator<Item = (&Fault, u32)> {
        let fault = |number: u32| &self.plan.faults[number as usize];
        self.others.iter().map(move |held| (fault(held.number), held.record))
    }
}

/// Whether a kind that happens in an instant takes effect at a later one.
const fn later(kind: Kind) -> bool {
    matches!(kind, Kind::CrashAtEdge | Kind::DropFuture | Kind::PanicInPoll | Kind::FillMailbox)
}

/// Whether a fault of this kind at an agent can have led to such a record.
fn touches(kind: Kind, what: &What) -> bool {
    let started = matches!(what, What::Started(_) | What::StartFailed(_));
    let killed = matches!(what, What::Signal(_, Signal::Kill));
    let died = matches!(what, What::Exited(..) | What::Ended(_, Fate::Crashed) | What::PutBack(..));
    match kind {
        Kind::CrashInStart => matches!(what, What::StartFailed(_)),
        Kind::IgnoreStart => matches!(what, What::StartIgnored(_)),
        Kind::HangInStart => started || killed,
        Kind::SlowStart => started,
        Kind::IgnoreShutdown | Kind::SlowStop => killed || matches!(what, What::Exited(..)),
        Kind::Slow | Kind::Starve | Kind::SpuriousWake => matches!(what, What::Ended(..)),
        Kind::FillMailbox => matches!(what, What::Ended(..)),
        Kind::RepeatExit => matches!(what, What::Stale(_)),
        Kind::Crash
        | Kind::CrashLoop
        | Kind::CrashInStop
        | Kind::Exit
        | Kind::CrashAll
        | Kind::CrashAtEdge
        | Kind::CrashInSweep
        | Kind::DropFuture
        | Kind::PanicInPoll => died,
        _ => false,
    }
}

const fn costs_frames(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Partition
            | Kind::OneWay
            | Kind::Isolate
            | Kind::Bridge
            | Kind::Flap
            | Kind::Loss
            | Kind::Overflow
            | Kind::Refuse
            | Kind::Reset
            | Kind::HalfOpen
            | Kind::PartialFrame
            | Kind::Garbage
            | Kind::SlowConsumer
            | Kind::HighWater
            | Kind::RestartBroker
    )
}

/// Whether a fault is on the way from one node to another.
fn covers(fault: &Fault, from: NodeIx, to: NodeIx) -> bool {
    match fault.target {
        Target::World => true,
        Target::Node(node) if fault.kind == Kind::Bridge => node != from && node != to,
        Target::Node(node) => node == from || node == to,
        Target::Link(a, b) => {
            let both = matches!(fault.kind, Kind::Partition | Kind::Flap | Kind::Jam | Kind::Reset);
            (a, b) == (from, to) || both && (b, a) == (from, to)
        }
        Target::Who(_) => false,
    }
}

//! Makes a plan in which nothing meets: what the plan does waits until nothing has happened for a
//! while, and nothing will.
//!
//! A run knows what a plan cannot: when agents send by themselves, when a restart that was put off
//! is due, how long a stop takes. So the plan is run once, and what it does is put off by a
//! millisecond at a time until its instant is quiet. It keeps its own list:
//! in the queue of the world, what was put off would be in the way of other things that were.
#![allow(clippy::wildcard_enum_match_arm, reason = "most events are not the plan's doing")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};

use super::process::Slot;
use super::script::Script;
use super::{Event, World};
use crate::fault::{Fault, Kind, Target};
use crate::outcome::Options;
use crate::plan::{Operation, Plan, nanos};
use crate::queue::{EventQueue, HeapQueue};
use crate::record::Who;
use crate::stream::mix;

/// What the plan has yet to do, and when it has done what.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    /// When something last happened.
    last: u64,
    todo: BTreeMap<(u64, u64), Event>,
    pushed: u64,
    operations: Vec<Instant>,
    begins: Vec<Instant>,
    ends: Vec<Option<Instant>>,
    /// When real connections are between two states, if that counts: from, to.
    shut: Vec<(u64, u64)>,
    wire: bool,
    /// Faults that lead to something that meets something else.
    meet: BTreeSet<u32>,
    margin: u64,
    /// When a process was last told to end, and when a ticker last sent.
    sweep: Option<u64>,
    tick: Option<u64>,
    /// A ticker that has just come up: it sends at once, which follows and does not meet.
    fresh: Option<Slot>,
    /// Whether those came near each other.
    met: bool,
}

/// How often one thing is put off at most; then it happens where it is.
const TRIES: u32 = 5_000;

/// By how much it is put off.
const STEP: u64 = 1_000_000;

/// The plan, with what it does moved so that nothing happens within `margin` of it, as far as there
/// is such an instant.
///
/// With `wire`, nothing is sent while real connections are between two states: some time after a
/// link was cut, when one end may know and the other not, and some time after it was mended.
///
/// What comes by itself may meet too: the sweep that a restart begins, and a message of a ticker.
/// Then all is tried a little later and with other draws, a few times.
pub(crate) fn settle(plan: &Plan, margin: Duration, wire: bool) -> Plan {
    let mut found = None;
    for later in 0..SHIFTS {
        // With other draws, too: what follows from a message of a ticker does not move against it.
        let seed = if later == 0 { plan.seed } else { mix(plan.seed ^ later) };
        let tried = Plan { seed, ..plan.clone() };
        let (moved, met) = settle_from(&tried, margin, wire, later * SHIFT);
        if !met {
            return moved;
        }
        found.get_or_insert(moved);
    }
    found.unwrap_or_else(|| plan.clone())
}

/// How often the whole plan is tried, each time so much later.
const SHIFTS: u64 = 32;
const SHIFT: u64 = 7_000_000;

/// How near what comes by itself may come to each other: what the coarsest clock makes of one or
/// two waits.
const NEAR: u64 = 4_000_000;

/// As [`settle`], everything so much later; and whether things have met all the same.
fn settle_from(plan: &Plan, margin: Duration, wire: bool, later: u64) -> (Plan, bool) {
    let mut world = World::new(plan, Options::default(), HeapQueue::default());
    world.script = Script::none(plan);
    let mut settling = Settling {
        last: 0,
        todo: BTreeMap::new(),
        pushed: 0,
        operations: plan.operations.iter().map(|operation| operation.at).collect(),
        begins: plan.faults.iter().map(|fault| fault.at).collect(),
        ends: vec![None; plan.faults.len()],
        shut: Vec::new(),
        wire,
        meet: BTreeSet::new(),
        margin: nanos(margin),
        sweep: None,
        tick: None,
        fresh: None,
        met: false,
    };
    for (n, operation) in (0..).zip(&plan.operations) {
        settling.push(operation.at.as_nanos() + later, Event::Operation(n));
    }
    for (n, fault) in (0..).zip(&plan.faults) {
        settling.push(fault.at.as_nanos() + later, Event::Begins(n));
    }
    world.settling = Some(Box::new(settling));
    let (heals, calm) = world.settles_down(nanos(margin));
    let Some(settled) = world.settling.take() else { return (plan.clone(), false) };
    if !settled.meet.is_empty() {
        let mut without = plan.clone();
        let meets = |n: usize| u32::try_from(n).is_ok_and(|n| settled.meet.contains(&n));
        without.faults =
            (0..).zip(&plan.faults).filter(|(n, _)| !meets(*n)).map(|(_, fault)| *fault).collect();
        return settle_from(&without, margin, wire, later);
    }
    let mut moved = plan.clone();
    let at = |(operation, at): (&Operation, &Instant)| Operation { at: *at, ..*operation };
    moved.operations = plan.operations.iter().zip(&settled.operations).map(at).collect();
    moved.operations.sort_by_key(|operation| operation.at);
    for (n, fault) in moved.faults.iter_mut().enumerate() {
        fault.at = settled.begins[n];
        if let Some(end) = settled.ends[n] {
            fault.lasts = end.saturating_since(fault.at);
        }
    }
    moved.faults.sort_by_key(|fault| fault.at);
    moved.horizon = heals.saturating_since(Instant::ZERO);
    moved.calm = calm.saturating_since(heals);
    (moved, settled.met)
}

/// How long after a cut a connection is as it was.
const SURPRISED: Duration = Duration::from_millis(700);

/// How long after a cut everybody knows.
const KNOWN: Duration = Duration::from_millis(4_000);

/// How long before a mending nothing is begun.
const BEFORE: Duration = Duration::from_millis(500);

/// How long after a mending everybody is connected and knows.
const RECOVERED: Duration = Duration::from_millis(4_500);

/// How long a cut lasts at least, so that everybody knows before its end.
const CUT_LEAST: Duration = Duration::from_secs(6);

/// Whether a fault cuts connections.
pub(crate) const fn is_of_wire(fault: &Fault) -> bool {
    matches!(
        fault.kind,
        Kind::Partition
            | Kind::OneWay
            | Kind::Isolate
            | Kind::Bridge
            | Kind::CrashNode
            | Kind::PowerLoss
    )
}

/// The plan without the faults that transports weather in different ways, each cut long enough that
/// everybody comes to know of it.
pub(crate) fn for_wire(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.faults.retain(|fault| {
        !matches!(fault.kind, Kind::Jam | Kind::Latency | Kind::Flap | Kind::Reset)
    });
    for fault in plan.faults.iter_mut().filter(|fault| is_of_wire(fault)) {
        fault.lasts = fault.lasts.max(CUT_LEAST);
    }
    plan
}

/// The faults that let an agent crash again and again.
fn loops_at(plan: &Plan, who: Who) -> impl Iterator<Item = u32> {
    let is_one =
        move |fault: &Fault| fault.kind == Kind::CrashLoop && fault.target == Target::Who(who);
    (0..).zip(&plan.faults).filter(move |(_, fault)| is_one(fault)).map(|(n, _)| n)
}

impl Settling {
    fn push(&mut self, at: u64, event: Event) {
        self.pushed += 1;
        self.todo.insert((at, self.pushed), event);
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// Does all that the plan does, each when it is quiet. Says when the world healed, and when it
    /// was to be calm.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest is not the plan's doing")]
    fn settles_down(&mut self, margin: u64) -> (Instant, Instant) {
        for node in self.plan.scenario.node_ids() {
            self.boots(node);
        }
        let mut floor = 0;
        while let Some((at, event)) = self.next_todo() {
            if let Some(until) = self.is_shut(at.max(floor), event) {
                if let Some(settling) = &mut self.settling {
                    settling.push(until, event);
                }
                continue;
            }
            self.waits_for_quiet(at.max(floor), margin);
            // What follows at once must not be taken for what was to come.
            floor = self.now.as_nanos().saturating_add(margin);
            let now = self.now;
            let Some(settling) = &mut self.settling else { break };
            match event {
                Event::Operation(n) => settling.operations[n as usize] = now,
                Event::Begins(n) => settling.begins[n as usize] = now,
                Event::Ends(n) => settling.ends[n as usize] = Some(now),
                _ => {}
            }
            self.does(event);
        }
        self.waits_for_quiet(self.plan.heals().as_nanos().max(floor), margin);
        let heals = self.now;
        self.heals();
        let calm = heals.saturating_add(self.plan.calm);
        self.waits_for_quiet(calm.as_nanos(), margin);
        (heals, self.now)
    }

    /// Until when something has to wait for the wire.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest does not wait for it")]
    fn is_shut(&mut self, at: u64, event: Event) -> Option<u64> {
        let plan = self.plan;
        let settling = self.settling.as_mut().filter(|settling| settling.wire)?;
        let cuts = match event {
            Event::Begins(n) => Some(&plan.faults[n as usize]).filter(|fault| is_of_wire(fault)),
            Event::Operation(_) => None,
            _ => return None,
        };
        let last = settling.shut.iter().map(|(_, until)| *until).max().unwrap_or(0);
        match cuts {
            // One after the other.
            Some(_) if at < last => Some(last),
            Some(fault) => {
                let end = at.saturating_add(nanos(fault.lasts));
                let (known, before) = (nanos(KNOWN), nanos(BEFORE));
                settling.shut = vec![
                    (at.saturating_add(nanos(SURPRISED)), at.saturating_add(known)),
                    (end.saturating_sub(before), end.saturating_add(nanos(RECOVERED))),
                ];
                None
            }
            None if matches!(event, Event::Begins(_)) => None,
            None => {
                let shut = settling.shut.iter().find(|(from, until)| (*from..*until).contains(&at));
                shut.map(|(_, until)| *until)
            }
        }
    }

    /// The next thing that the plan does; the end of a fault comes in when it is due.
    fn next_todo(&mut self) -> Option<(u64, Event)> {
        loop {
            let first = self.settling.as_ref()?.todo.keys().next().copied();
            let until = match first {
                Some((at, _)) => Instant::from_nanos(at),
                None if self.active.is_empty() => return None,
                None => Instant::MAX,
            };
            let known = self.settling.as_ref()?.pushed;
            while self.settling.as_ref().is_some_and(|settling| settling.pushed == known)
                && self.step(until)
            {}
            let settling = self.settling.as_mut()?;
            if settling.pushed == known || first.is_none() {
                return settling.todo.pop_first().map(|((at, _), event)| (at, event));
            }
        }
    }

    /// Lets time pass until nothing has happened for a while, and nothing will; not before `at`.
    fn waits_for_quiet(&mut self, mut at: u64, margin: u64) {
        for _ in 0..TRIES {
            while self.step(Instant::from_nanos(at)) {}
            let last = self.settling.as_ref().map_or(0, |settling| settling.last);
            let next = self.queue.next_at().unwrap_or(u64::MAX);
            let due = self.nodes.iter().filter_map(|node| node.due).min();
            let next = next.min(due.map_or(u64::MAX, Instant::as_nanos));
            if at.saturating_sub(last) >= margin && next.saturating_sub(at) >= margin {
                break;
            }
            at = at.saturating_add(STEP);
        }
        self.now = self.now.max(Instant::from_nanos(at));
    }

    /// A ticker has come up.
    pub(super) fn notes_ticker(&mut self, slot: Slot) {
        if let Some(settling) = &mut self.settling {
            settling.fresh = Some(slot);
        }
    }

    /// A process was told to end, or a ticker sends.
    pub(super) fn notes_one_of(&mut self, ticker: Option<Slot>) {
        let (now, over) = (self.now.as_nanos(), self.calm);
        let Some(settling) = self.settling.as_mut().filter(|_| !over) else { return };
        if ticker.is_some() && ticker == settling.fresh {
            settling.fresh = None;
            return;
        }
        let (here, there) = match ticker {
            None => (&mut settling.sweep, settling.tick),
            Some(_) => (&mut settling.tick, settling.sweep),
        };
        *here = Some(now);
        settling.met |= there.is_some_and(|there| now - there < NEAR);
    }

    /// Something has happened that is not the plan's doing.
    pub(super) fn notes_something(&mut self) {
        let now = self.now.as_nanos();
        if let Some(settling) = &mut self.settling {
            settling.last = now;
        }
    }

    /// Whether an event is the plan's doing and has to wait.
    pub(super) fn is_put_off(&mut self, event: Event) -> bool {
        let (now, ends) = (self.now.as_nanos(), matches!(event, Event::Ends(_)));
        let Some(settling) = &mut self.settling else { return false };
        if ends {
            settling.push(now, event);
            return true;
        }
        // What a fault has put off, of one agent or another, must not meet what comes by itself.
        if let Event::Dies(slot, ExitReason::Crashed) = event
            && let Some(proc) = self.procs.get(slot.index as usize)
            && proc.generation == slot.generation
        {
            let who = proc.process.who;
            let looping = self.agents[usize::from(who.0)].effects.crash_loop.is_some();
            let close = now.saturating_sub(settling.last) < settling.margin
                || self.queue.next_at().is_some_and(|next| next - now < settling.margin);
            if looping && close {
                settling.meet.extend(loops_at(self.plan, who));
            }
        }
        settling.last = now;
        false
    }
}

//! An operating-system process that stands still: SIGSTOP, a virtual machine that is moved, a page
//! that takes long. Nothing of the node runs and no timer fires, but its clock goes on, and what
//! comes to it waits where the network keeps it.
//!
//! The hard case is the end. All that has waited can run in that instant, and nothing says what
//! runs first: an agent may go on before its node's kernel has seen that a lease is over. So the
//! seed decides. What is one after the other all the same keeps its order: what a connection
//! brings, what one process does, what the plan does on the node.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::Wire;
use super::process::Slot;
use super::{Event, World};
use crate::fault::Target;
use crate::queue::EventQueue;
use crate::record::{NodeIx, Who};
use crate::stream::{Purpose, mix};

/// A node that stands still.
#[derive(Debug)]
pub(super) struct Still {
    node: NodeIx,
    /// The faults that hold it.
    by: BTreeSet<u32>,
    /// What would have happened on it since, in order: no more than its peers and its own
    /// processes have under way.
    waits: Vec<Event>,
}

/// What keeps its order when all goes on, as a number: its kind, and which.
const fn line(kind: u64, which: u64) -> u64 {
    kind << 40 | which
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// Whether a node stands still.
    pub(super) fn is_still(&self, node: NodeIx) -> bool {
        self.still.iter().any(|still| still.node == node)
    }

    /// A node begins to stand still.
    pub(super) fn pauses(&mut self, number: u32, node: NodeIx) {
        if !self.node(node).on {
            return;
        }
        match self.still.iter_mut().find(|still| still.node == node) {
            Some(still) => drop(still.by.insert(number)),
            None => {
                let by = BTreeSet::from([number]);
                self.still.push(Still { node, by, waits: Vec::new() });
            }
        }
        self.reset_due(node);
    }

    /// A fault by which a node stands still ends, and with the last one it goes on.
    pub(super) fn goes_on(&mut self, number: u32, node: NodeIx) {
        let Some(at) = self.still.iter().position(|still| still.node == node) else { return };
        let still = &mut self.still[at];
        if !still.by.remove(&number) || !still.by.is_empty() {
            return;
        }
        let waits = self.still.remove(at).waits;
        self.reset_due(node);
        // Its kernel is woken as one of them, once, if anything is due.
        let due = self.node(node).due.filter(|due| *due <= self.now);
        let mut turns: Vec<(u64, Option<Event>)> = Vec::with_capacity(waits.len() + 1);
        // Of each line: how many there were, and the turn of the last.
        let mut lines: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let whose = u64::from(node.0) << 32 | u64::from(number);
        let all = waits.into_iter().map(Some).chain(due.map(|_| None));
        for event in all {
            let line = event.map_or(line(0, 0), |event| self.line_of(event));
            let (n, turn) = lines.entry(line).or_default();
            *turn = self.streams.draw(Purpose::Pause, whose ^ mix(line), *n).max(*turn);
            *n += 1;
            turns.push((*turn, event));
        }
        turns.sort_by_key(|(turn, _)| *turn);
        for (_, event) in turns {
            match event {
                Some(event) => self.does(event),
                None if self.node(node).on => self.wake(node),
                None => {}
            }
        }
    }

    /// A node has ended while it stood still: what waited finds nobody.
    pub(super) fn stands_no_more(&mut self, node: NodeIx) {
        let Some(at) = self.still.iter().position(|still| still.node == node) else { return };
        for event in self.still.remove(at).waits {
            self.after(0, event);
        }
    }

    /// Whether something has to wait since a node stands still on which it would happen.
    pub(super) fn has_to_wait(&mut self, event: Event) -> bool {
        let Some(node) = self.place_of(event) else { return false };
        match self.still.iter_mut().find(|still| still.node == node) {
            Some(still) => {
                still.waits.push(event);
                true
            }
            None => false,
        }
    }

    fn of_slot(&self, slot: Slot) -> Option<NodeIx> {
        let proc = self.procs.get(slot.index as usize)?;
        (proc.generation == slot.generation).then_some(proc.node)
    }

    /// Where something happens; `None` for what is not a node's, as what a broker does.
    fn place_of(&self, event: Event) -> Option<NodeIx> {
        match event {
            Event::Operation(number) => self.place_of_operation(number),
            Event::Begins(number) | Event::Ends(number) => {
                match self.plan.faults[number as usize].target {
                    Target::Who(who) => Some(self.home_of(who)),
                    Target::World | Target::Node(_) | Target::Link(..) => None,
                }
            }
            Event::Up(slot)
            | Event::Done(slot, _)
            | Event::Dies(slot, _)
            | Event::Tick(slot)
            | Event::Timer(slot, _) => self.of_slot(slot),
            Event::Crashes(who) => Some(self.home_of(who)),
            Event::Deadline(number) => self.questions[number as usize].map(|open| open.node),
            Event::NoRoom(message) => Some(self.home_of(self.messages[message as usize].to)),
            Event::Arrives(frame) if self.brokered.is_none() => {
                Some(self.frames[frame as usize].to)
            }
            Event::Wire(wire) => match wire {
                Wire::Connects(node, _) | Wire::Learns(node, ..) => Some(node),
                Wire::Delivers(frame, _) => Some(self.frames[frame as usize].to),
                Wire::Stored(frame, _) | Wire::NobodyThere(frame, _) | Wire::Again(frame) => {
                    Some(self.frames[frame as usize].from)
                }
                Wire::HungUp(..) | Wire::Handled(..) | Wire::Due => None,
            },
            // With a broker it is the broker that hears nonsense.
            Event::Breaks(_, to) => Some(to).filter(|_| self.brokered.is_none()),
            Event::Disconnected(node, _) | Event::Mend(node) => Some(node),
            Event::Arrives(_) | Event::Turns(_) | Event::Heals | Event::Calm => None,
        }
    }

    /// Where an operation is done, or where it is carried out if that stands still.
    fn place_of_operation(&self, number: u32) -> Option<NodeIx> {
        let places = self.plan.places_of(self.plan.operations[number as usize]);
        places.into_iter().find(|node| self.is_still(*node))
    }

    fn line_of(&self, event: Event) -> u64 {
        let of = |slot: Slot| {
            let proc = self.procs.get(slot.index as usize);
            line(1, proc.map_or(u64::MAX >> 32, |proc| u64::from(proc.process.who.0)))
        };
        match event {
            Event::Up(slot)
            | Event::Done(slot, _)
            | Event::Dies(slot, _)
            | Event::Tick(slot)
            | Event::Timer(slot, _) => of(slot),
            Event::Arrives(frame) => line(2, u64::from(self.frames[frame as usize].from.0)),
            Event::Breaks(peer, _) | Event::Disconnected(_, peer) => line(2, u64::from(peer.0)),
            Event::Wire(_) => line(3, 0),
            Event::Operation(_) => line(4, 0),
            Event::Begins(_) | Event::Ends(_) | Event::Turns(_) => line(5, 0),
            Event::Crashes(Who(who)) => line(6, u64::from(who)),
            Event::Deadline(number) => line(7, u64::from(number)),
            Event::NoRoom(message) => line(8, u64::from(message)),
            Event::Mend(_) | Event::Heals | Event::Calm => line(9, 0),
        }
    }
}

//! Modelled processes: what an agent's incarnation does in the eyes of its supervisor.

use lictor_kernel::{ExitReason, Instant, Pid, ProcessId, Signal, supervisor};
use lictor_topology::InHand;

use super::{Event, World};
use crate::buggify::Point;
use crate::disk::Failed;
use crate::marks::Mark;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, NodeIx, Process, What, Who};
use crate::scenario::Role;
use crate::stream::Purpose;

/// How much longer a kill takes at most where what is simulated misbehaves, in nanoseconds.
const SLOW_KILL: u64 = 50_000_000;

/// A process of the world. Generations tell it from others that have had its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// How far a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It comes up.
    Starting,
    /// It handles messages.
    Up,
    /// It was told to stop and is about to.
    Stopping,
    /// It was killed and is about to be gone.
    Killed,
    /// Its place is free.
    Gone,
}

/// One incarnation of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proc {
    pub(super) generation: u32,
    pub(super) node: NodeIx,
    pub(super) process: Process,
    pub(super) id: ProcessId,
    pub(super) state: State,
    /// It was told to stop, and will once it is free to.
    pub(super) told: bool,
    /// The message in hand.
    pub(super) in_hand: Option<u32>,
    /// It waits to pass on what it has in hand.
    pub(super) passing: bool,
    /// Messages that this incarnation was given.
    pub(super) given: u64,
    /// Messages that its checkpoint knows of.
    pub(super) kept: u64,
    /// By the clock of its node: it may handle nothing from then on.
    pub(super) until: Instant,
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// The process in this slot, unless it has gone since.
    pub(super) fn live(&mut self, slot: Slot) -> Option<&mut Proc> {
        let proc = self.procs.get_mut(slot.index as usize)?;
        (proc.generation == slot.generation && proc.state != State::Gone).then_some(proc)
    }

    /// The kernel wants a process started.
    pub(super) fn launch(&mut self, node: NodeIx, process: Process, id: ProcessId) {
        self.put(node, What::Start(process));
        let slot = self.takes_place(node, process, id);
        self.agents[usize::from(process.who.0)].slots.push(slot);
        self.begins_to_start(slot);
    }

    /// A place for a process that comes up.
    pub(super) fn takes_place(&mut self, node: NodeIx, process: Process, id: ProcessId) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.procs.push(Proc {
                generation: 0,
                node,
                process,
                id,
                state: State::Gone,
                told: false,
                in_hand: None,
                passing: false,
                given: 0,
                kept: 0,
                until: Instant::MAX,
            });
            u32::try_from(self.procs.len() - 1).unwrap_or(u32::MAX)
        });
        let proc = &mut self.procs[index as usize];
        *proc = Proc {
            generation: proc.generation.wrapping_add(1),
            node,
            process,
            id,
            state: State::Starting,
            told: false,
            in_hand: None,
            passing: false,
            given: 0,
            kept: 0,
            until: Instant::MAX,
        };
        Slot { index, generation: proc.generation }
    }

    /// A process begins to come up.
    pub(super) fn begins_to_start(&mut self, slot: Slot) {
        let Some(&mut Proc { process, .. }) = self.live(slot) else { return };
        let agent = &mut self.agents[usize::from(process.who.0)];
        agent.starts += 1;
        agent.closed = false;
        let (nth, slow) = (agent.starts, agent.effects.slow_start);
        let (from, to) = self.plan.knobs.start;
        let takes = self.between(Purpose::Start, process.who, nth, from, to);
        self.after(takes.saturating_add(slow), Event::Up(slot));
    }

    /// A process would be up by now.
    pub(super) fn comes_up(&mut self, slot: Slot) {
        let Some(&mut Proc { node, process, state: State::Starting, .. }) = self.live(slot) else {
            return;
        };
        if self.is_remnant(node) {
            return self.remnant_up(slot);
        }
        let agent = &self.agents[usize::from(process.who.0)];
        let effects = agent.effects;
        if effects.hang_in_start > 0 {
            // The end of the fault lets it go on.
            return;
        }
        let every = self.behaviour(process.who).and_then(|b| b.fail_start_every);
        let by_itself = every.is_some_and(|n| agent.starts.is_multiple_of(n)) && !self.calm;
        if effects.crash_in_start > 0 || by_itself {
            self.put_life(slot, What::StartFailed(process));
            return self.ended(slot, |pid| supervisor::Event::StartFailed { pid });
        }
        if effects.ignore_start > 0 {
            self.put_life(slot, What::StartIgnored(process));
            return self.ended(slot, |pid| supervisor::Event::StartIgnored { pid });
        }
        let Ok(kept) = self.restores(node, process) else {
            self.put_life(slot, What::StartFailed(process));
            return self.ended(slot, |pid| supervisor::Event::StartFailed { pid });
        };
        let Some(proc) = self.live(slot) else { return };
        proc.kept = kept;
        let told = proc.told;
        proc.state = if told { State::Stopping } else { State::Up };
        let id = proc.id;
        self.put_life(slot, What::Started(process));
        if let Some(after) = effects.crash_loop {
            self.after(after, Event::Dies(slot, ExitReason::Crashed));
        }
        if self.behaviour(process.who).is_some_and(|b| b.ticks.is_some()) {
            self.notes_ticker(slot);
            self.after(0, Event::Tick(slot));
        }
        if !told {
            // What waits for it is there, and the kernel hears of it later: as in the runtime,
            // where an agent goes on in the poll in which it has come up.
            self.next_message(process.who);
        }
        let event = supervisor::Event::Started { pid: id.pid };
        self.tell_kernel(node, id, event);
        if self.buggify.fires(Point::StartToldTwice, u64::from(process.who.0), id.pid.incarnation) {
            self.tell_kernel(node, id, event);
        }
        if told {
            self.begins_to_stop(slot);
        }
    }

    /// Reads an agent's checkpoint, if agents have some: how many messages it knows of.
    fn restores(&mut self, node: NodeIx, process: Process) -> Result<u64, Failed> {
        let (streams, now) = (self.streams, self.now);
        let Some(disk) = self.disks.get_mut(usize::from(node.0)) else { return Ok(0) };
        let found = disk.read(streams, now, process.who)?;
        self.put(node, What::Restored(process, found));
        Ok(found.unwrap_or(0))
    }

    /// Writes an agent's checkpoint, if agents have some.
    pub(super) fn checkpoints(&mut self, slot: Slot) -> Result<(), Failed> {
        let now = self.now;
        let Some(proc) = self.live(slot) else { return Ok(()) };
        proc.kept += 1;
        let (node, who, kept) = (proc.node, proc.process.who, proc.kept);
        match self.disks.get_mut(usize::from(node.0)) {
            Some(disk) => disk.write(now, who, Some(kept)),
            None => Ok(()),
        }
    }

    /// The kernel wants a process to end.
    pub(super) fn signal(&mut self, node: NodeIx, process: Process, signal: Signal) {
        self.put(node, What::Signal(process, signal));
        self.notes_one_of(None);
        self.crash_in_sweep(process.who);
        let agent = &self.agents[usize::from(process.who.0)];
        let slot = agent.slots.iter().copied().find(|slot| {
            self.procs.get(slot.index as usize).is_some_and(|proc| proc.process == process)
        });
        if let Some(slot) = slot {
            self.signalled(slot, signal);
        }
    }

    /// A process is told to end.
    pub(super) fn signalled(&mut self, slot: Slot, signal: Signal) {
        let Some(&mut Proc { process, .. }) = self.live(slot) else { return };
        match signal {
            Signal::Kill => {
                let kills = self.agents[usize::from(process.who.0)].starts;
                let takes = self.streams.between(
                    Purpose::Stop,
                    u64::from(process.who.0) | 1 << 32,
                    kills,
                    0,
                    50_000,
                );
                let Some(proc) = self.live(slot) else { return };
                if proc.told {
                    self.recorder.reach(Mark::KilledAtDeadline);
                }
                let Some(proc) = self.live(slot) else { return };
                proc.state = State::Killed;
                let whose = u64::from(process.who.0);
                let more = self.buggify.amount(Point::SlowKill, whose, kills, SLOW_KILL);
                self.after(takes.saturating_add(more), Event::Dies(slot, ExitReason::Killed));
            }
            Signal::Shutdown => {
                let Some(proc) = self.live(slot) else { return };
                proc.told = true;
                if proc.state == State::Up && proc.in_hand.is_none() {
                    proc.state = State::Stopping;
                    self.begins_to_stop(slot);
                }
            }
        }
    }

    /// A process that was told to stop has nothing in hand any more.
    pub(super) fn begins_to_stop(&mut self, slot: Slot) {
        let Some(proc) = self.live(slot) else { return };
        let who = proc.process.who;
        let agent = &self.agents[usize::from(who.0)];
        let effects = agent.effects;
        if effects.ignore_shutdown > 0 {
            // A kill ends it, or the end of the fault.
            return;
        }
        let (from, to) = self.plan.knobs.stop;
        let nth = agent.starts;
        let takes = self.between(Purpose::Stop, who, nth, from, to);
        let reason =
            if effects.crash_in_stop > 0 { ExitReason::Crashed } else { ExitReason::Shutdown };
        self.after(takes.saturating_add(effects.slow_stop), Event::Dies(slot, reason));
    }

    /// A process ends now, if it still lives.
    pub(super) fn dies(&mut self, slot: Slot, reason: ExitReason) {
        let Some(proc) = self.live(slot) else { return };
        let (node, process) = (proc.node, proc.process);
        match (proc.state, reason) {
            // It was killed meanwhile, and that comes first.
            (State::Killed, reason) if reason != ExitReason::Killed => return,
            (State::Starting, ExitReason::Shutdown) => return,
            _ => {}
        }
        if self.is_remnant(node) {
            return self.remnant_dies(slot, reason);
        }
        self.settle_in_hand(slot, reason);
        self.put_life(slot, What::Exited(process, reason));
        self.ended(slot, |pid| supervisor::Event::Exited { pid, reason });
    }

    /// What becomes of the message that a dying process has in hand.
    fn settle_in_hand(&mut self, slot: Slot, reason: ExitReason) {
        let Some(proc) = self.live(slot) else { return };
        let Some(index) = proc.in_hand.take() else { return };
        let (node, who, passing) = (proc.node, proc.process.who, proc.passing);
        // Nothing more comes to it, also when it is free by what follows.
        (proc.passing, proc.told) = (false, true);
        self.messages[index as usize].holder = None;
        if passing {
            self.no_longer_waits(index);
        }
        if reason.is_clean() {
            // It ended by itself, and this was its last message.
            return self.message_ends(node, index, Fate::Handled, Ending::Answered);
        }
        let Some(agent) = self.plan.scenario.agent(who) else { return };
        let message = &mut self.messages[index as usize];
        match agent.in_hand {
            InHand::Redeliver if message.attempt < agent.max_retries => {
                message.attempt += 1;
                // Also a timer's: that the next incarnation gets it is what the policy asks for.
                message.bounds.only_for = None;
                let id = message.id;
                self.agents[usize::from(who.0)].mailbox.push_front(index);
                self.put(node, What::PutBack(id, who));
            }
            InHand::Redeliver | InHand::DeadLetter => {
                self.message_ends(node, index, Fate::DeadLetter, Ending::Failed);
            }
            InHand::Drop => self.message_ends(node, index, Fate::Crashed, Ending::Failed),
        }
    }

    /// A process is gone, and the kernel is told by this event.
    fn ended(&mut self, slot: Slot, event: impl FnOnce(Pid) -> supervisor::Event) {
        let Some(proc) = self.live(slot) else { return };
        proc.state = State::Gone;
        let (node, id, who) = (proc.node, proc.id, proc.process.who);
        self.free.push(slot.index);
        let agent = &mut self.agents[usize::from(who.0)];
        agent.slots.retain(|other| *other != slot);
        agent.last_end = Some(self.now);
        let event = event(id.pid);
        agent.last_fact = Some((id, event));
        self.tell_kernel(node, id, event);
        if self.buggify.fires(Point::EndToldTwice, u64::from(who.0), id.pid.incarnation) {
            self.tell_kernel(node, id, event);
        }
        self.maybe_parts(node);
    }

    /// The kernel is told once more how the last incarnation of an agent ended.
    pub(super) fn repeat_end(&mut self, who: Who) {
        let node = self.home_of(who);
        if let Some((id, event)) = self.agents[usize::from(who.0)].last_fact
            && self.node(node).on
        {
            self.tell_kernel(node, id, event);
        }
    }

    /// While a fault wants it, the stop of a child is the crash of another one.
    pub(super) fn crash_in_sweep(&mut self, who: Who) {
        let entity = |who: Who| self.plan.scenario.entity(who);
        let Some(parent) = entity(who).parent else { return };
        if self.agents[usize::from(parent.0)].effects.crash_in_sweep == 0 {
            return;
        }
        let (Role::Supervisor(_, children) | Role::Dynamic(_, children)) = &entity(parent).role
        else {
            return;
        };
        let spared = |slot: &Slot| !self.procs[slot.index as usize].told;
        let other = children.iter().filter(|child| **child != who);
        let other = other.filter_map(|child| self.up(*child)).find(spared);
        if let Some(slot) = other {
            self.after(0, Event::Dies(slot, ExitReason::Crashed));
        }
    }

    /// The incarnation of an agent that is up, if there is one.
    pub(super) fn up(&self, who: Who) -> Option<Slot> {
        let agent = &self.agents[usize::from(who.0)];
        agent.slots.iter().copied().find(|slot| {
            self.procs
                .get(slot.index as usize)
                .is_some_and(|proc| proc.generation == slot.generation && proc.state == State::Up)
        })
    }
}

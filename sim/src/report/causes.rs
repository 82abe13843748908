//! What led to what, worked out from the records alone.
//!
//! Records name no causes, so that every engine can tell them. But they name processes, messages,
//! supervisors and links, and they stand in order; and what a kernel decides in a step stands right
//! behind the fact that it decides upon. That is enough for the causes that people ask for. A
//! record can have several: the start of a process has the restart that was scheduled, or the end
//! of who was there before and the fact upon which its supervisor acts.
//!
//! The order in which one node does unrelated things is no cause here. Strictly, everything on a
//! node happens before everything later on it; a slice by that rule would be the whole run.

use std::collections::{BTreeMap, BTreeSet};

use lictor_kernel::dynamic_supervisor::Budget;
use lictor_kernel::{ExitReason, Instant};

use super::faults::Faults;
use crate::plan::{Act, Plan};
use crate::record::{Fate, MessageId, NodeIx, Process, Record, Stage, What, Who};
use crate::scenario::Role;

/// For each record, the numbers of those that led to it.
#[derive(Debug, Default)]
pub(super) struct Causes {
    starts: Vec<usize>,
    all: Vec<u32>,
    /// The records that tell most about each name: its last ones.
    pub(super) of_name: BTreeMap<Who, Vec<u32>>,
    /// The last record of each message.
    pub(super) of_message: BTreeMap<MessageId, u32>,
    /// The last records of all that has not come to its end: processes, messages, questions.
    pub(super) unfinished: Vec<u32>,
}

impl Causes {
    /// Of all records up to the last of these.
    pub(super) fn of(plan: &Plan, records: &[Record]) -> Self {
        let mut builder = Builder::new(plan, records);
        let mut causes = Self { starts: vec![0], ..Self::default() };
        for (index, record) in (0..).zip(records) {
            builder.found.clear();
            builder.see(index, record);
            builder.found.sort_unstable();
            builder.found.dedup();
            builder.found.retain(|cause| *cause < index);
            causes.all.extend_from_slice(&builder.found);
            causes.starts.push(causes.all.len());
        }
        causes.unfinished = builder.unfinished();
        for (who, name) in builder.names {
            causes.of_name.insert(who, name.last.into_iter().chain(name.status).collect());
        }
        causes.of_message = builder.messages.into_iter().map(|(id, it)| (id, it.last)).collect();
        causes
    }

    /// What led to a record, oldest first.
    pub(super) fn to(&self, record: usize) -> &[u32] {
        &self.all[self.starts[record]..self.starts[record + 1]]
    }
}

/// What is known of an incarnation.
#[derive(Default)]
struct Life {
    last: Option<u32>,
    /// It was told to end.
    told: Option<u32>,
    /// It was given a message.
    given: Option<u32>,
}

/// What is known of a name.
#[derive(Default)]
struct Name {
    /// The last record of its life, whichever incarnation.
    last: Option<u32>,
    status: Option<u32>,
    scheduled: Option<u32>,
    /// The failure before its last one that its supervisor still counts.
    counted: Option<u32>,
    /// The last operation at it.
    operation: Option<u32>,
    process: Option<Process>,
}

struct Letter {
    last: u32,
    to: Who,
    /// It is a question, of which nobody has told the asker how it ended.
    asks: bool,
    ended: bool,
}

struct Builder<'a> {
    plan: &'a Plan,
    records: &'a [Record],
    faults: Faults<'a>,
    lives: BTreeMap<Process, Life>,
    names: BTreeMap<Who, Name>,
    /// By node and incarnation of a supervisor.
    supervisors: BTreeMap<(NodeIx, u64), u32>,
    /// The last failure under each; of each child, where each has a budget of its own.
    failures: BTreeMap<(NodeIx, u64, Option<Who>), u32>,
    /// Restarts that are put off, by node and when they are due; on a clock that is ahead that is
    /// not when they come. Of several that are due at once, the last.
    timers: BTreeMap<(NodeIx, u64), u32>,
    messages: BTreeMap<MessageId, Letter>,
    operations: BTreeMap<u32, u32>,
    /// By node: the last fact that its kernel was told.
    facts: BTreeMap<NodeIx, u32>,
    /// By node: when it booted or halted last.
    boots: BTreeMap<NodeIx, u32>,
    /// From node to node: the last frame that was sent, and that was lost.
    sent: BTreeMap<(NodeIx, NodeIx), u32>,
    lost: BTreeMap<(NodeIx, NodeIx), u32>,
    /// Of a node about a peer: the last change.
    views: BTreeMap<(NodeIx, NodeIx), u32>,
    off: BTreeSet<NodeIx>,
    found: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a Plan, records: &'a [Record]) -> Self {
        Self {
            plan,
            records,
            faults: Faults::new(plan),
            lives: BTreeMap::new(),
            names: BTreeMap::new(),
            supervisors: BTreeMap::new(),
            failures: BTreeMap::new(),
            timers: BTreeMap::new(),
            messages: BTreeMap::new(),
            operations: BTreeMap::new(),
            facts: BTreeMap::new(),
            boots: BTreeMap::new(),
            sent: BTreeMap::new(),
            lost: BTreeMap::new(),
            views: BTreeMap::new(),
            off: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    fn at(&self, index: u32) -> Instant {
        self.records[index as usize].at
    }

    fn name(&mut self, who: Who) -> &mut Name {
        self.names.entry(who).or_default()
    }

    fn life(&mut self, process: Process) -> &mut Life {
        self.lives.entry(process).or_default()
    }

    /// The fact upon which the kernel of a node decides something now; or what it has waited for.
    fn fact(&mut self, node: NodeIx, now: Instant) {
        let told = self.facts.get(&node).filter(|fact| self.at(**fact) == now);
        let due = || self.timers.get(&(node, now.as_nanos()));
        let fact = told.or_else(due).copied();
        self.found.extend(fact);
    }

    /// A record of a process: it comes after the last one, and is the last one of its name.
    fn goes_on(&mut self, index: u32, process: Process) {
        let before = self.life(process).last.replace(index);
        self.found.extend(before);
        let name = self.name(process.who);
        name.last = Some(index);
        name.process = Some(process);
    }

    fn see(&mut self, index: u32, record: &Record) {
        match record.what {
            What::Start(it) => self.start(index, record, it),
            What::Signal(it, _) => self.signal(index, record, it),
            What::Started(it) | What::StartIgnored(it) | What::Restored(it, _) => {
                self.faults.at_agent(it.who, record, &mut self.found);
                self.goes_on(index, it);
                self.facts.insert(record.node, index);
            }
            What::StartFailed(it) => self.ends(index, record, it, true),
            What::Exited(it, reason) => {
                self.ends(index, record, it, !reason.is_clean() && reason != ExitReason::Killed);
            }
            What::Supervisor { who, id, process, stage } => {
                self.stage(index, record, (who, id, process), stage);
            }
            What::RestartScheduled { who, delay, .. } => {
                let name = self.name(who);
                let causes = [name.last.replace(index), name.counted];
                name.scheduled = Some(index);
                self.found.extend(causes.into_iter().flatten());
                let due = record.at.as_nanos().saturating_add(delay);
                self.timers.insert((record.node, due), index);
            }
            What::RestartsExhausted { supervisor, child } => {
                let name = self.name(child);
                let causes = [name.last, name.counted];
                self.found.extend(causes.into_iter().flatten());
                self.supervisors.insert((record.node, supervisor), index);
                self.facts.insert(record.node, index);
            }
            What::ShutdownError(it, _) | What::Stale(it) => {
                let last = self.life(it).last;
                self.found.extend(last);
            }
            What::Removed(who) => {
                self.fact(record.node, record.at);
                let last = self.name(who).last.replace(index);
                self.found.extend(last);
            }
            What::Status(who, _) => {
                let name = self.name(who);
                let last = name.last.or(name.operation);
                name.status = Some(index);
                self.found.extend(last);
                if last.is_none_or(|last| self.at(last) != record.at) {
                    self.fact(record.node, record.at);
                }
            }
            _ => self.messages(index, record),
        }
    }

    fn start(&mut self, index: u32, record: &Record, it: Process) {
        self.why_it_starts(record, it.who);
        if self.found.is_empty() {
            self.found.extend(self.supervisors.get(&(record.node, it.supervisor)));
        }
        self.goes_on(index, it);
    }

    /// The restart that was put off; or what was there before, and the fact upon which it starts.
    fn why_it_starts(&mut self, record: &Record, who: Who) {
        let name = self.name(who);
        if let Some(scheduled) = name.scheduled.take() {
            self.found.push(scheduled);
            let due = self.timers.get(&(record.node, record.at.as_nanos()));
            if due != Some(&scheduled) {
                // It did not wait for it.
                self.fact(record.node, record.at);
            }
            return;
        }
        let causes = [name.last, name.counted];
        self.found.extend(causes.into_iter().flatten());
        self.fact(record.node, record.at);
    }

    fn signal(&mut self, index: u32, record: &Record, it: Process) {
        if let Some(told) = self.life(it).told {
            // It did not end in time.
            self.found.push(told);
            self.faults.at_agent(it.who, record, &mut self.found);
        } else {
            self.fact(record.node, record.at);
        }
        self.goes_on(index, it);
        self.life(it).told = Some(index);
    }

    /// A process ends, and its supervisor is told; whether that counts as a failure.
    fn ends(&mut self, index: u32, record: &Record, it: Process, failed: bool) {
        self.why_it_ends(record, it);
        self.goes_on(index, it);
        self.facts.insert(record.node, index);
        if failed && self.life(it).told.is_none() {
            self.counts(index, record, it);
        }
    }

    /// A failure counts with those before it that are in the same window.
    fn counts(&mut self, index: u32, record: &Record, it: Process) {
        let parent = self.plan.scenario.entity(it.who).parent;
        let role = parent.map(|parent| &self.plan.scenario.entity(parent).role);
        let own = matches!(role, Some(Role::Dynamic(config, _)) if config.budget == Budget::Child);
        let under = (record.node, it.supervisor, own.then_some(it.who));
        let window = self.plan.scenario.intensity_over(it.who);
        let before = self.failures.insert(under, index).filter(|before| {
            window
                .is_none_or(|window| record.at.saturating_since(self.at(*before)) <= window.period)
        });
        self.name(it.who).counted = before;
    }

    fn why_it_ends(&mut self, record: &Record, it: Process) {
        let Life { told, given, .. } = *self.life(it);
        let before = self.found.len();
        self.found.extend(told);
        self.faults.at_agent(it.who, record, &mut self.found);
        let operation = self.name(it.who).operation;
        self.found.extend(operation.filter(|index| self.at(*index) == record.at));
        if self.found.len() == before {
            self.found.extend(given);
        }
    }

    fn stage(
        &mut self,
        index: u32,
        record: &Record,
        (who, id, process): (Who, u64, Option<Process>),
        stage: Stage,
    ) {
        let before = self.supervisors.insert((record.node, id), index);
        self.found.extend(before);
        match process {
            Some(it) => {
                if stage == Stage::Initializing {
                    self.why_it_starts(record, who);
                }
                let told = self.life(it).told;
                self.found.extend(told);
                self.goes_on(index, it);
            }
            None => {
                let booted = self.boots.get(&record.node);
                self.found.extend(booted.filter(|_| before.is_none()));
                self.name(who).last = Some(index);
            }
        }
        if stage != Stage::Initializing {
            self.fact(record.node, record.at);
            self.facts.insert(record.node, index);
        }
        if let (Some(it), Stage::Exited(reason)) = (process, stage)
            && !reason.is_clean()
            && self.life(it).told.is_none()
        {
            self.counts(index, record, it);
        }
    }

    fn messages(&mut self, index: u32, record: &Record) {
        match record.what {
            What::Sent(id, to, asks) => {
                self.who_sends(id, record);
                let letter = Letter { last: index, to, asks, ended: false };
                let before = self.messages.insert(id, letter).map(|before| before.last);
                self.found.extend(before);
            }
            What::Queued(id, to) => {
                self.letter(index, id);
                if let Some(letter) = self.messages.get_mut(&id) {
                    letter.to = to;
                }
            }
            What::Delivered(id, it) => {
                self.letter(index, id);
                let life = self.life(it);
                life.given = Some(index);
                let last = life.last;
                self.found.extend(last);
            }
            What::PutBack(id, who) => {
                self.letter(index, id);
                self.faults.at_agent(who, record, &mut self.found);
            }
            What::Ended(id, fate) => self.ended(index, record, id, fate),
            What::Answered(id, _) => {
                self.letter(index, id);
                if let Some(letter) = self.messages.get_mut(&id) {
                    letter.asks = false;
                }
            }
            What::Suppressed(id) | What::LateAnswer(id) => self.letter(index, id),
            _ => self.world(index, record),
        }
    }

    fn unfinished(&self) -> Vec<u32> {
        let letters = self.messages.values().filter(|letter| letter.asks || !letter.ended);
        let lives = self.names.values().filter_map(|name| name.last).filter(|last| {
            matches!(
                self.records[*last as usize].what,
                What::Start(_)
                    | What::Started(_)
                    | What::Signal(..)
                    | What::Supervisor { stage: Stage::Initializing | Stage::Ready, .. }
            )
        });
        letters.map(|letter| letter.last).chain(lives).collect()
    }

    /// A record of a message: it comes after the last one.
    fn letter(&mut self, index: u32, id: MessageId) {
        if let Some(letter) = self.messages.get_mut(&id) {
            self.found.push(std::mem::replace(&mut letter.last, index));
        }
    }

    fn who_sends(&mut self, id: MessageId, record: &Record) {
        let cause = match id.ticker {
            Some(ticker) => self.name(ticker).last,
            None => self.operations.get(&id.number).copied(),
        };
        match cause {
            Some(cause) => self.found.push(cause),
            // A fault can send, too.
            None => self.fact(record.node, record.at),
        }
    }

    fn ended(&mut self, index: u32, record: &Record, id: MessageId, fate: Fate) {
        let to = self.messages.get_mut(&id).map(|letter| {
            letter.ended = true;
            letter.to
        });
        self.letter(index, id);
        match (fate, to) {
            (Fate::Handled, Some(to)) => self.faults.at_agent(to, record, &mut self.found),
            (Fate::Crashed, Some(to)) => {
                self.faults.at_agent(to, record, &mut self.found);
                let operation = self.name(to).operation;
                self.found.extend(operation.filter(|index| self.at(*index) == record.at));
            }
            (
                Fate::Down | Fate::DeadLetter | Fate::Unknown | Fate::NoRoom | Fate::Full,
                Some(to),
            ) => {
                let name = self.name(to);
                let why = name.status.or(name.last);
                self.found.extend(why);
            }
            (Fate::Gone, _) => self.found.extend(self.boots.get(&record.node)),
            (Fate::Lost | Fate::LinkFull, _) => {
                let lost = (index > 0).then(|| index - 1);
                let is_loss =
                    |index: &u32| matches!(self.records[*index as usize].what, What::FrameLost(_));
                self.found.extend(lost.filter(is_loss));
            }
            _ => {}
        }
    }

    fn world(&mut self, index: u32, record: &Record) {
        let node = record.node;
        match record.what {
            What::FrameSent(to) => self.frame_sent(index, record, to),
            What::FrameLost(to) => {
                self.faults.at_link(node, to, record, &mut self.found);
                self.found.extend(self.sent.get(&(node, to)));
                self.found.extend(self.boots.get(&to).filter(|_| self.off.contains(&to)));
                self.lost.insert((node, to), index);
            }
            What::PeerUp(peer) => {
                self.found.extend(self.views.insert((node, peer), index));
                self.found.extend(self.boots.get(&peer));
            }
            What::PeerDown(peer) => {
                self.found.extend(self.views.insert((node, peer), index));
                self.found.extend(self.lost.get(&(peer, node)));
                self.found.extend(self.lost.get(&(node, peer)));
                self.found.extend(self.boots.get(&peer).filter(|_| self.off.contains(&peer)));
                self.facts.insert(node, index);
            }
            What::Sees(who, _) => {
                let name = self.name(who);
                let last: Vec<u32> = name.last.into_iter().chain(name.status).collect();
                self.found.extend(last);
                let home = self.plan.scenario.entity(who).node;
                self.found.extend(self.views.get(&(node, home)));
            }
            What::Booted(_) => self.turns(index, record, false),
            What::Halted => self.turns(index, record, true),
            _ => self.of_plan(index, record),
        }
    }

    /// A frame that carries a message leaves right behind a record of that message.
    fn frame_sent(&mut self, index: u32, record: &Record, to: NodeIx) {
        let before = index.checked_sub(1).map(|index| self.records[index as usize]);
        let id = before.filter(|before| before.at == record.at && before.node == record.node);
        let id = id.and_then(|before| match before.what {
            What::Sent(id, ..) | What::Delivered(id, _) | What::Ended(id, _) => Some(id),
            _ => None,
        });
        match id {
            Some(id) => self.letter(index, id),
            None => self.fact(record.node, record.at),
        }
        self.sent.insert((record.node, to), index);
    }

    /// A node boots or halts.
    fn turns(&mut self, index: u32, record: &Record, off: bool) {
        let node = record.node;
        self.found.extend(self.boots.insert(node, index));
        self.faults.at_node(node, record, &mut self.found);
        self.fact(node, record.at);
        self.facts.insert(node, index);
        if off {
            self.off.insert(node);
        } else {
            self.off.remove(&node);
        }
        let gone = self.names.iter_mut().filter(|(who, name)| {
            off && name.last.is_some() && self.plan.scenario.entity(**who).node == node
        });
        for (_, name) in gone {
            (name.last, name.scheduled) = (Some(index), None);
        }
    }

    fn of_plan(&mut self, index: u32, record: &Record) {
        match record.what {
            What::Operation(number) => {
                self.operations.insert(number, index);
                self.facts.insert(record.node, index);
                let operation = self.plan.operations.get(number as usize);
                if let Some(who) = operation.and_then(|operation| at_whom(operation.act)) {
                    self.name(who).operation = Some(index);
                    self.facts.insert(self.plan.scenario.entity(who).node, index);
                }
            }
            What::Refused(number) => {
                self.found.extend(self.operations.get(&number));
                self.fact(record.node, record.at);
            }
            What::Fault(number, begins) => {
                let begun = self.faults.turns(number, begins, index);
                self.found.extend(begun);
                self.facts.insert(record.node, index);
            }
            What::Healed | What::Calm => {
                for node in self.plan.scenario.node_ids() {
                    self.facts.insert(node, index);
                }
            }
            _ => {}
        }
    }
}

/// Whom an operation does something to; a message is not that.
const fn at_whom(act: Act) -> Option<Who> {
    match act {
        Act::Spawn(who)
        | Act::Despawn(who)
        | Act::Terminate(who)
        | Act::Restart(who)
        | Act::Suspend(who)
        | Act::Resume(who)
        | Act::Publish(who, _)
        | Act::SendAfter(who, _)
        | Act::Look(who)
        | Act::End(who, _) => Some(who),
        Act::Tell(_)
        | Act::TellWithin(..)
        | Act::TellCapable(_)
        | Act::Ask(..)
        | Act::Broadcast
        | Act::Stop(_)
        | Act::Claim(_)
        | Act::Unclaim(_) => None,
    }
}

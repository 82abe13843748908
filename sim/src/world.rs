//! Tier 1: nodes of the real kernel in a world without async: a heap of events, modelled processes,
//! modelled links, and clocks that are only ever stepped to the next thing that happens.
//!
//! Everything that the kernel decides is decided by the kernel; everything that it is told comes
//! from here. A world never polls: a node is woken exactly at its `poll_timeout`, so a deadline
//! that the kernel forgets to announce is a child that is never restarted, and is found.
//!
//! The hard case is order within an instant. What happens at one instant happens in the order in
//! which it was put into the queue; deadlines of nodes that are due come after it (rule A2), node
//! by node. Nothing that a node does takes effect on another within the instant.
//!
//! Files: `node` boots nodes and carries out what their kernels want, `process` models agents,
//! `message` their mailboxes, `network` the links, `cuts` what breaks them, `broker` what may stand
//! between them, `faults`, `operations` and `sends` the plan, `beside` the reference model,
//! `pause` a node that stands still, `placed` what nodes run for each other, `remnant` a boot that
//! is taken for dead and lives on.

mod beside;
mod broker;
mod cuts;
mod faults;
mod message;
mod network;
mod node;
mod operations;
mod pause;
mod placed;
mod process;
mod remnant;
mod script;
mod sends;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lictor_kernel::{CallId, ExitReason, Instant};

use self::broker::{Brokered, Wire};
use self::message::{AgentState, Message, Open};
use self::network::{Frame, Relay};
use self::node::SimNode;
use self::pause::Still;
pub(crate) use self::placed::config as remote_config;
use self::process::{Proc, Slot};
use self::remnant::Remnant;
use self::script::Script;
use self::settle::Settling;
pub(crate) use self::settle::{for_wire, settle};
use crate::buggify::Buggify;
use crate::disk::{Disk, has_disks};
use crate::fault::Kind;
use crate::link::Links;
use crate::outcome::{Options, Outcome, Queue};
use crate::plan::{Plan, nanos};
use crate::queue::{CalendarQueue, EventQueue, HeapQueue};
use crate::record::{NodeIx, What, Who};
use crate::recorder::Recorder;
use crate::stream::{Purpose, Streams, mix};

/// Something that will happen in a world.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// An operation of the plan.
    Operation(u32),
    /// A fault of the plan begins.
    Begins(u32),
    /// A fault of the plan ends.
    Ends(u32),
    /// A fault that goes on and off turns.
    Turns(u32),
    /// A process would be up.
    Up(Slot),
    /// A process has worked on a message.
    Done(Slot, u32),
    /// A process ends.
    Dies(Slot, ExitReason),
    /// An agent crashes, whichever incarnation it is by then.
    Crashes(Who),
    /// A ticker sends.
    Tick(Slot),
    /// The timer that an operation has set has come.
    Timer(Slot, u32),
    /// A question runs into its deadline.
    Deadline(u32),
    /// A sender has waited long enough for room.
    NoRoom(u32),
    /// A frame arrives.
    Arrives(u32),
    /// Something happens on a connection to the broker.
    Wire(Wire),
    /// The connection between two nodes breaks.
    Breaks(NodeIx, NodeIx),
    /// The connection to this node has ended.
    Disconnected(NodeIx, NodeIx),
    /// A node whose tree has ended boots again.
    Mend(NodeIx),
    /// Faults are over.
    Heals,
    /// Everything must be well again.
    Calm,
}

/// How long the end of everything may take after the calm.
const LAST_STOP: Duration = Duration::from_secs(60);

/// Runs a plan on the kernel's own engine.
#[must_use]
pub fn run(plan: &Plan, options: Options) -> Outcome {
    match options.queue {
        Queue::Heap => World::new(plan, options, HeapQueue::default()).run(),
        Queue::Calendar => World::new(plan, options, CalendarQueue::default()).run(),
    }
}

/// As [`run`], but each start, stop and message takes up to so many nanoseconds more, drawn anew by
/// this number. Nothing else is: a run that comes out otherwise was near another one.
pub(crate) fn run_a_trifle_later(plan: &Plan, options: Options, draw: u64, most: u64) -> Outcome {
    let mut world = World::new(plan, options, HeapQueue::default());
    world.trifles = Some((Streams::new(mix(plan.seed ^ draw)), most));
    world.run()
}

struct World<'p, Q> {
    plan: &'p Plan,
    options: Options,
    streams: Streams,
    /// What durations are longer by, at most: see [`run_a_trifle_later`].
    trifles: Option<(Streams, u64)>,
    buggify: Buggify,
    script: Script<'p>,
    queue: Q,
    now: Instant,
    events: u64,
    injected: u64,
    /// Faults are over: nothing fails by itself any more, and nobody sends.
    calm: bool,
    /// The last stop has begun.
    ending: bool,
    nodes: Vec<SimNode>,
    agents: Vec<AgentState>,
    procs: Vec<Proc>,
    free: Vec<u32>,
    messages: Vec<Message>,
    /// `None` when it has ended.
    questions: Vec<Option<Open>>,
    /// The kernel's number for each that went to another node.
    called: BTreeMap<u32, CallId>,
    links: Links,
    /// Of each node, if anything becomes of disks in this plan.
    disks: Vec<Disk<u64>>,
    frames: Vec<Frame>,
    /// Nodes that have passed a question on to another.
    relays: Vec<Relay>,
    /// Where the processes of each agent run, if not with its supervisor.
    hosts: Vec<Option<NodeIx>>,
    /// Boots that are taken for dead.
    remnants: Vec<Remnant>,
    /// Nodes that stand still.
    still: Vec<Still>,
    /// From one node to another, in which boot of the one, the newest boot of the other that it has
    /// heard.
    heard: Vec<(u32, u64)>,
    /// The same of messages and answers: what has come of an older boot is not taken after that.
    taken: Vec<(u32, u32)>,
    /// What stands between the nodes, unless their links are direct.
    brokered: Option<Box<Brokered>>,
    /// Faults that hold.
    active: BTreeSet<u32>,
    /// Of those, the ones that go on and off, and whether they are on.
    flapping: BTreeMap<u32, bool>,
    recorder: Recorder,
    /// The plan is made so that nothing meets.
    settling: Option<Box<Settling>>,
}

impl<'p, Q: EventQueue<Event>> World<'p, Q> {
    fn new(plan: &'p Plan, options: Options, queue: Q) -> Self {
        let scenario = &plan.scenario;
        Self {
            plan,
            options,
            streams: Streams::new(plan.seed),
            trifles: None,
            buggify: Buggify::new(plan),
            script: Script::new(plan),
            queue,
            now: Instant::ZERO,
            events: 0,
            injected: 0,
            calm: false,
            ending: false,
            nodes: scenario.node_ids().map(|node| SimNode::new(node, scenario)).collect(),
            agents: vec![AgentState::default(); scenario.len()],
            procs: Vec::new(),
            free: Vec::new(),
            messages: Vec::with_capacity(plan.operations.len()),
            questions: Vec::new(),
            called: BTreeMap::new(),
            links: Links::new(scenario.nodes()),
            disks: if has_disks(plan) {
                vec![Disk::default(); scenario.nodes()]
            } else {
                Vec::new()
            },
            frames: Vec::new(),
            relays: Vec::new(),
            hosts: scenario.all().map(|(who, _)| plan.host_of(who)).collect(),
            remnants: Vec::new(),
            still: Vec::new(),
            heard: vec![(0, 0); scenario.nodes() * scenario.nodes()],
            taken: vec![(0, 0); scenario.nodes() * scenario.nodes()],
            brokered: Brokered::new(plan.knobs.medium, scenario.nodes()).map(Box::new),
            active: BTreeSet::new(),
            flapping: BTreeMap::new(),
            recorder: Recorder::of_kernel_world(plan, options.trace),
            settling: None,
        }
    }

    fn run(mut self) -> Outcome {
        self.run_to_end()
    }

    fn run_to_end(&mut self) -> Outcome {
        for node in self.plan.scenario.node_ids() {
            self.boots(node);
        }
        let end = self.plan.ends().saturating_add(LAST_STOP);
        let until = self.options.until.unwrap_or(Instant::MAX).min(end);
        let cut = self.options.until.is_some_and(|until| until < end);
        let mut spent = false;
        while self.recorder.violation.is_none() && !spent && self.step(until) {
            spent = self.events >= self.options.events_max;
        }
        if self.recorder.violation.is_none() && !cut && !spent {
            self.put(NodeIx(0), What::Over);
        }
        Outcome {
            digest: self.recorder.digest.value(),
            events: self.events,
            records: self.recorder.records,
            faults: self.injected,
            violation: self.recorder.violation.clone(),
            marks: self.recorder.marks,
            fired: self.buggify.fired,
            trace: self.recorder.trace.take().unwrap_or_default(),
            ended: self.now,
            cut_short: spent.then(|| self.busiest()),
        }
    }

    /// Who was given the most messages, or has sent the most.
    fn busiest(&self) -> Option<Who> {
        let all = self.plan.scenario.all().map(|(who, _)| who);
        let work = |who: &Who| {
            let state = &self.agents[usize::from(who.0)];
            state.given.max(u64::from(state.ticks)).max(state.starts)
        };
        all.filter(|who| work(who) > 0).max_by_key(work)
    }

    /// Lets the next thing happen, unless it lies after `until`. Says whether something did.
    fn step(&mut self, until: Instant) -> bool {
        let (scripted, queued) = (self.script.next_at(), self.queue.next_at());
        // Of one instant what the plan says comes before what follows from it.
        let from_script = match (scripted, queued) {
            (Some(scripted), Some(queued)) => scripted <= queued,
            (scripted, _) => scripted.is_some(),
        };
        let event_at = if from_script { scripted } else { queued };
        let mut due: Option<(Instant, NodeIx)> = None;
        let remnants = self.remnants.iter().map(|older| (older.due, older.ix));
        for (at, node) in self.nodes.iter().map(|node| (node.due, node.ix)).chain(remnants) {
            if let Some(at) = at
                && due.is_none_or(|(first, _)| at < first)
            {
                due = Some((at, node));
            }
        }
        // Events of an instant come before the deadlines of that instant.
        let deadline_first = match (event_at, due) {
            (None, None) => return false,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(event), Some((at, _))) => at.as_nanos() < event,
        };
        let at = if deadline_first {
            due.map_or(Instant::MAX, |(at, _)| at)
        } else {
            Instant::from_nanos(event_at.unwrap_or(u64::MAX))
        };
        if at > until || at == Instant::MAX {
            return false;
        }
        self.now = self.now.max(at);
        self.events += 1;
        match (deadline_first, due) {
            (true, Some((_, node))) => {
                self.notes_something();
                self.wake(node);
            }
            _ => {
                let event =
                    if from_script { self.script.pop() } else { self.queue.pop().map(|(_, e)| e) };
                if let Some(event) = event {
                    self.happens(event);
                }
            }
        }
        true
    }

    fn happens(&mut self, event: Event) {
        if self.settling.is_some() && self.is_put_off(event) {
            return;
        }
        self.does(event);
    }

    fn does(&mut self, event: Event) {
        if !self.still.is_empty() && self.has_to_wait(event) {
            return;
        }
        match event {
            Event::Operation(n) => self.operate(n),
            Event::Begins(n) => self.begins(n),
            Event::Ends(n) => self.ends(n),
            Event::Turns(n) => self.turns(n),
            Event::Up(slot) => self.comes_up(slot),
            Event::Done(slot, message) => self.done(slot, message),
            Event::Dies(slot, reason) => self.dies(slot, reason),
            Event::Crashes(who) => self.end(who, ExitReason::Crashed),
            Event::Tick(slot) => self.tick(slot),
            Event::Timer(slot, number) => self.timer(slot, number),
            Event::Deadline(number) => self.deadline(number),
            Event::NoRoom(message) => self.no_room(message),
            Event::Arrives(frame) => self.arrives(frame),
            Event::Wire(wire) => self.over_wire(wire),
            Event::Breaks(from, to) => self.breaks_between(from, to),
            Event::Disconnected(node, peer) => self.disconnected(node, peer),
            Event::Mend(node) => self.mend(node),
            Event::Heals => self.heals(),
            Event::Calm => self.is_calm(),
        }
    }

    /// Faults are over, and what was broken for good is mended.
    fn heals(&mut self) {
        // First everybody goes on who stands still: what ends then is done on somebody who runs.
        let count = u32::try_from(self.plan.faults.len()).unwrap_or(u32::MAX);
        let pauses = |n: &u32| self.plan.faults[*n as usize].kind == Kind::Pause;
        let (first, rest): (Vec<u32>, Vec<u32>) = (0..count).partition(pauses);
        for n in first.into_iter().chain(rest) {
            self.ends(n);
        }
        self.links.heal();
        self.calm = true;
        self.put(NodeIx(0), What::Healed);
        for node in self.plan.scenario.node_ids() {
            self.mend(node);
        }
    }

    /// Everything must be well again; then everything is stopped.
    fn is_calm(&mut self) {
        self.views();
        self.put(NodeIx(0), What::Calm);
        self.ending = true;
        for node in self.plan.scenario.node_ids() {
            self.stop_tree(node, LAST_STOP / 2);
        }
    }

    #[inline]
    fn put(&mut self, node: NodeIx, what: What) {
        self.recorder.put(self.now, node, what);
    }

    fn after(&mut self, nanos: u64, event: Event) {
        self.queue.push(self.now.as_nanos().saturating_add(nanos), event);
    }

    fn between(&self, purpose: Purpose, who: Who, nth: u64, from: Duration, to: Duration) -> u64 {
        let whose = u64::from(who.0);
        let takes = self.streams.between(purpose, whose, nth, nanos(from), nanos(to));
        let Some((streams, most)) = self.trifles else { return takes };
        takes.saturating_add(streams.between(purpose, whose, nth, 0, most))
    }

    /// Where its supervisor lives.
    fn node_of(&self, who: Who) -> NodeIx {
        self.plan.scenario.entity(who).node
    }

    /// Where its processes run, and its mailbox is.
    fn home_of(&self, who: Who) -> NodeIx {
        self.hosts[usize::from(who.0)].unwrap_or_else(|| self.node_of(who))
    }
}

//! The books of a run: nodes, agents, messages, questions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use lictor_kernel::remote::HOSTED;
use lictor_kernel::{ExitReason, Instant, NameId, ProcessId};
use lictor_runtime::{Executor, Runtime, Task, Value};

use super::tap::Entrant;
use super::timer::Timer;
use crate::buggify::Buggify;
use crate::disk::{Disk, has_disks};
use crate::effects::Effects;
use crate::marks::Mark;
use crate::plan::Plan;
use crate::record::{Ending, Fate, MessageId, NodeIx, Process, What, Who};
use crate::recorder::Recorder;
use crate::stream::{Purpose, Streams};

/// A node.
#[derive(Default)]
pub(crate) struct NodeBook {
    pub(crate) on: bool,
    pub(crate) boot: u32,
    /// Somebody has stopped its tree.
    pub(crate) stopped: bool,
    /// Its tree has ended.
    pub(crate) ended: bool,
    /// Its tree was up once.
    pub(crate) ready: bool,
    /// It was mended after the healing.
    pub(crate) mended: bool,
    pub(crate) names: BTreeMap<NameId, Who>,
    /// It outlives boots.
    pub(crate) disk: Disk<Value>,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) executor: Option<Arc<dyn Executor>>,
    /// What waits for the executor: as much as the plan does within a step of the ground.
    pub(crate) pending: Vec<Task>,
}

/// How far an incarnation is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    #[default]
    Gone,
    Starting,
    Up,
    Stopping,
}

/// An agent's name, and its newest incarnation.
#[derive(Default)]
pub(crate) struct AgentBook {
    pub(crate) mailbox: VecDeque<MessageId>,
    pub(crate) waiting: VecDeque<MessageId>,
    /// The runtime has its mailbox.
    pub(crate) present: bool,
    /// Its name was there once in this boot of its node.
    pub(crate) declared: bool,
    /// Down for good: everything is refused.
    pub(crate) closed: bool,
    pub(crate) suspended: bool,
    pub(crate) starts: u64,
    pub(crate) given: u64,
    pub(crate) ticks: u32,
    pub(crate) last_end: Option<Instant>,
    pub(crate) effects: Effects,
    pub(crate) process: Option<Process>,
    pub(crate) phase: Phase,
    /// It was told to stop.
    pub(crate) told: bool,
    /// It is to end at once, for this reason.
    pub(crate) interrupt: Option<ExitReason>,
    pub(crate) in_hand: Option<MessageId>,
    /// Messages that this incarnation was given.
    pub(crate) given_here: u64,
    /// Dead letters of this boot, as far as the ledger knows.
    pub(super) dead: u64,
    /// The incarnation whose agent is no more, though nobody has heard of its end yet.
    pub(super) let_go: Option<Process>,
    wakers: Vec<Waker>,
}

/// Where a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// With its sender, or between nodes.
    Away,
    /// It waits for room.
    Waiting,
    Queued,
    InHand,
    Ended,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter {
    pub(crate) to: Who,
    /// How often it was sent on.
    pub(crate) hop: u32,
    /// It is at the end of this hop already.
    pub(crate) arrived: bool,
    pub(crate) place: Place,
    pub(crate) attempt: u32,
    pub(crate) asks: bool,
    /// The mailbox refuses it for this reason, as the ledger foretells.
    pub(crate) refused: Option<Fate>,
    /// When its time to live is over, by the clock of its receiver's node.
    pub(super) expires: Instant,
    /// The incarnation whose timer has sent it.
    pub(super) only_for: Option<Process>,
}

/// The books. See the [module](self).
pub(crate) struct Ledger {
    pub(crate) plan: Arc<Plan>,
    pub(crate) streams: Streams,
    pub(crate) buggify: Buggify,
    pub(crate) now: Instant,
    pub(crate) recorder: Recorder,
    pub(crate) calm: bool,
    pub(crate) ending: bool,
    pub(crate) nodes: Vec<NodeBook>,
    pub(crate) agents: Vec<AgentBook>,
    pub(crate) letters: BTreeMap<MessageId, Letter>,
    /// Those that have not ended, and where they were asked.
    pub(crate) questions: BTreeMap<MessageId, NodeIx>,
    /// Faults that hold.
    pub(crate) active: std::collections::BTreeSet<u32>,
    /// Nodes whose tree has ended after the healing, to be booted again.
    pub(crate) to_mend: Vec<NodeIx>,
    pub(crate) to_wake: Vec<Waker>,
    /// Whether agents keep checkpoints.
    pub(crate) has_disks: bool,
    /// By name: on which node its processes run and its mailbox is.
    pub(super) homes: Vec<NodeIx>,
    /// By host and its number for a name: the process that it runs for another node.
    pub(super) hosted: BTreeMap<(NodeIx, NameId), (u64, Process)>,
    /// What is being set at this moment.
    pub(super) timer: Option<Timer>,
    /// What a frame brings at this moment, if there is no room for it.
    pub(super) entrant: Option<Entrant>,
}

impl Ledger {
    pub(crate) fn new(plan: &Arc<Plan>, trace: bool) -> Self {
        let scenario = &plan.scenario;
        Self {
            plan: Arc::clone(plan),
            streams: Streams::new(plan.seed),
            buggify: Buggify::new(plan),
            now: Instant::ZERO,
            recorder: Recorder::new(plan, trace),
            calm: false,
            ending: false,
            nodes: scenario.node_ids().map(|_| NodeBook::default()).collect(),
            agents: scenario.all().map(|_| AgentBook::default()).collect(),
            letters: BTreeMap::new(),
            questions: BTreeMap::new(),
            active: std::collections::BTreeSet::new(),
            to_mend: Vec::new(),
            to_wake: Vec::new(),
            has_disks: has_disks(plan),
            homes: scenario.all().map(|(who, _)| plan.home(who)).collect(),
            hosted: BTreeMap::new(),
            timer: None,
            entrant: None,
        }
    }

    pub(crate) fn put(&mut self, node: NodeIx, what: What) {
        self.recorder.put(self.now, node, what);
    }

    pub(crate) fn reach(&mut self, mark: Mark) {
        self.recorder.reach(mark);
    }

    /// The runtime does something that it should not.
    pub(crate) fn violated(&mut self, invariant: &'static str, node: NodeIx, text: String) {
        self.recorder.violated(invariant, self.now, node, text);
    }

    pub(crate) fn node(&mut self, node: NodeIx) -> &mut NodeBook {
        &mut self.nodes[usize::from(node.0)]
    }

    pub(crate) fn agent(&mut self, who: Who) -> &mut AgentBook {
        &mut self.agents[usize::from(who.0)]
    }

    /// Where the processes of a name run, and its mailbox is.
    pub(crate) fn node_of(&self, who: Who) -> NodeIx {
        self.homes[usize::from(who.0)]
    }

    /// Whether they run on another node than their supervisor.
    pub(super) fn is_hosted(&self, who: Who) -> bool {
        self.node_of(who) != self.plan.scenario.entity(who).node
    }

    /// Who was given the most messages, or has sent the most.
    pub(crate) fn busiest(&self) -> Option<Who> {
        let all = self.plan.scenario.all().map(|(who, _)| who);
        let work = |who: &Who| {
            let book = &self.agents[usize::from(who.0)];
            book.given.max(u64::from(book.ticks)).max(book.starts)
        };
        all.filter(|who| work(who) > 0).max_by_key(work)
    }

    /// Wakes this waker when something about the agent changes.
    pub(crate) fn listen(&mut self, who: Who, waker: &Waker) {
        let wakers = &mut self.agent(who).wakers;
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Something about the agent has changed.
    pub(crate) fn stir(&mut self, who: Who) {
        let wakers = std::mem::take(&mut self.agent(who).wakers);
        self.to_wake.extend(wakers);
    }

    /// The process that a node's kernel means.
    pub(crate) fn process(&self, node: NodeIx, id: ProcessId) -> Option<Process> {
        if id.supervisor == HOSTED {
            let known = self.hosted.get(&(node, NameId(id.pid.child.0)));
            let is_it = |known: &&(u64, Process)| known.0 == id.pid.incarnation;
            return known.filter(is_it).map(|(_, process)| *process);
        }
        let names = &self.nodes[usize::from(node.0)].names;
        let who = *names.get(&NameId(id.pid.child.0))?;
        let (supervisor, incarnation) = (id.supervisor.0, id.pid.incarnation);
        Some(Process { who, supervisor, incarnation })
    }

    /// A draw of an agent's own, in nanoseconds.
    pub(crate) fn between(
        &self,
        purpose: Purpose,
        who: Who,
        nth: u64,
        (from, to): (std::time::Duration, std::time::Duration),
    ) -> u64 {
        let nanos = crate::plan::nanos;
        self.streams.between(purpose, u64::from(who.0), nth, nanos(from), nanos(to))
    }

    /// The kernel wants this process started.
    pub(crate) fn launched(&mut self, process: Process) {
        let agent = self.agent(process.who);
        agent.starts += 1;
        agent.closed = false;
        agent.process = Some(process);
        agent.phase = Phase::Starting;
        // The next boot of an owner gives the same numbers again.
        agent.let_go = None;
        (agent.told, agent.interrupt, agent.in_hand, agent.given_here) = (false, None, None, 0);
        self.stir(process.who);
    }

    /// A process is gone.
    pub(crate) fn gone(&mut self, process: Process) {
        let now = self.now;
        let agent = self.agent(process.who);
        if agent.process == Some(process) {
            agent.process = None;
            agent.phase = Phase::Gone;
            agent.last_end = Some(now);
            self.stir(process.who);
        }
    }

    /// Whether this is the incarnation that lives.
    pub(crate) fn is(&self, process: Process) -> bool {
        self.agents[usize::from(process.who.0)].process == Some(process)
    }

    /// The asker learns how its question has ended, unless it has already.
    pub(crate) fn question_ends(&mut self, id: MessageId, ending: Ending) {
        match self.questions.remove(&id) {
            Some(node) => {
                if ending == Ending::TimedOut {
                    self.reach(Mark::AskTimedOut);
                }
                self.put(node, What::Answered(id, ending));
            }
            None if ending == Ending::Answered => self.reach(Mark::LateAnswer),
            None => {}
        }
    }

    /// A node ends at once, with all that it holds.
    pub(crate) fn halt(&mut self, node: NodeIx) {
        self.node(node).on = false;
        self.put(node, What::Halted);
        let plan = Arc::clone(&self.plan);
        for (who, entity) in plan.scenario.all() {
            if self.node_of(who) != node {
                continue;
            }
            let agent = self.agent(who);
            (agent.process, agent.phase) = (None, Phase::Gone);
            agent.present = false;
            agent.declared = false;
            (agent.dead, agent.let_go) = (0, None);
            let in_hand = agent.in_hand.take();
            if let Some(id) = in_hand {
                self.no_longer_waits(id);
                self.ends(node, id, Fate::Gone);
            }
            if matches!(entity.role, crate::scenario::Role::Agent(_)) {
                self.close(node, who, Fate::Gone);
            }
            self.stir(who);
        }
        let open: Vec<MessageId> = self
            .questions
            .iter()
            .filter(|(_, asked_at)| **asked_at == node)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.question_ends(id, Ending::Gone);
        }
    }

    /// A tree has ended, and so has everything that waited in it.
    pub(crate) fn tree_ended(&mut self, node: NodeIx, reason: ExitReason) {
        if reason == ExitReason::RestartsExhausted {
            self.reach(Mark::EscalatedToRoot);
        }
        let mend = self.calm && !self.ending;
        let this = self.node(node);
        this.ended = true;
        // A start that fails, and an end that was asked for, leave nothing: the names are free.
        let undone = !this.ready || this.stopped;
        // Its last crash was before the healing, and it took its time to end.
        if mend && !std::mem::replace(&mut this.mended, true) {
            self.to_mend.push(node);
        }
        let plan = Arc::clone(&self.plan);
        for (who, entity) in plan.scenario.all() {
            let is_here = entity.node == node && !self.is_hosted(who);
            if is_here && matches!(entity.role, crate::scenario::Role::Agent(_)) {
                self.close(node, who, Fate::DeadLetter);
                self.agent(who).present &= !undone;
            }
        }
    }

    /// A node boots: what was known of its names is not any more.
    pub(crate) fn boots(&mut self, node: NodeIx) -> u32 {
        let this = self.node(node);
        let boot = this.boot + 1;
        let disk = std::mem::take(&mut this.disk);
        *this = NodeBook { on: true, boot, mended: this.mended, disk, ..NodeBook::default() };
        if boot > 1 {
            self.reach(Mark::Rebooted);
        }
        self.put(node, What::Booted(boot));
        let plan = Arc::clone(&self.plan);
        for (who, _) in plan.scenario.all() {
            if self.node_of(who) != node {
                continue;
            }
            let agent = self.agent(who);
            (agent.closed, agent.suspended) = (false, false);
        }
        boot
    }

    /// What is left when everybody has gone: messages between nodes that never came.
    pub(crate) fn lost_at_last(&mut self) {
        let lost: Vec<MessageId> = self
            .letters
            .iter()
            .filter(|(_, letter)| letter.place == Place::Away)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            let node = self.node_of(self.letters[&id].to);
            self.ends(node, id, Fate::Lost);
        }
    }
}

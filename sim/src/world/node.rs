//! Nodes: one real kernel each, and what carries out what it wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::membership;
use lictor_kernel::node::{self, Action, Config, Node};
use lictor_kernel::remote::HOSTED;
use lictor_kernel::supervisor::{self, Report};
use lictor_kernel::tree::{self};
use lictor_kernel::{
    CallId, ChildId, ChildKind, DetectorConfig, ExitReason, Instant, NameId, NodeId, Owner,
    ProcessId, RegistryLimits, Status, SupervisorId,
};

use super::beside::Beside;
use super::network::Called;
use super::process::State;
use super::{Event, World};
use crate::buggify::Point;
use crate::clock::Clock;
use crate::marks::Mark;
use crate::model::tree::{Call, PLAN};
use crate::plan::Knobs;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, NodeIx, Process, Stage, What, Who};
use crate::scenario::{Role, Scenario};
use crate::stream::Purpose;

/// A node of the world.
#[derive(Debug)]
pub(super) struct SimNode {
    pub(super) ix: NodeIx,
    pub(super) kernel: Node,
    /// Whether it runs.
    pub(super) on: bool,
    /// How often it has booted.
    pub(super) boot: u32,
    /// Whether somebody has stopped its tree.
    pub(super) stopped: bool,
    /// Whether its tree has ended.
    pub(super) ended: bool,
    /// Whether it has said goodbye: after that, when nothing runs here for others either.
    pub(super) left: bool,
    /// Whether it was mended after the healing: once, or a tree that always fails would look well.
    mended: bool,
    pub(super) clock: Clock,
    /// How late its timers fire, in nanoseconds.
    pub(super) late: u64,
    /// How long it takes over each frame, in nanoseconds.
    pub(super) slow: u64,
    /// Its questions to other nodes, by the kernel's number for each.
    pub(super) calls: BTreeMap<CallId, Called>,
    /// When it wants to be woken, on the world's clock.
    pub(super) due: Option<Instant>,
    /// When it was last woken, and how often at that instant.
    woken: (Instant, u32),
    /// The name of each entity on this node.
    names: Vec<Option<NameId>>,
    /// Names of other nodes' agents that this node says it has.
    pub(super) claims: BTreeMap<Who, NameId>,
    /// The entity behind each name.
    pub(super) who: Vec<Option<Who>>,
    /// The incarnation that each supervisor runs as.
    supervisors: Vec<Option<u64>>,
    /// By incarnation of a supervisor: whose it is.
    incarnations: Vec<(u64, Who)>,
    pub(super) actions: Vec<Action>,
    /// The reference model of its supervision.
    pub(super) beside: Beside,
}

/// How late a timer is at most where what is simulated misbehaves, in nanoseconds.
const LATE_MOST: u64 = 1_000_000;

/// How often a node may be woken at one instant. Time does not go on while a deadline is due.
const WAKES: u32 = 10_000;

/// The kernel of a node, as it boots for the n-th time.
fn kernel(node: NodeIx, boot: u32, seed: u64, knobs: &Knobs) -> Node {
    let membership = membership::Config {
        node: NodeId(u64::from(node.0)),
        epoch: u64::from(boot),
        detector: DetectorConfig::Heartbeat {
            interval: knobs.heartbeat,
            timeout: knobs.heartbeat_timeout,
            threshold: knobs.heartbeat_threshold,
        },
        ask_every: knobs.heartbeat,
        lease: knobs.lease,
        ..membership::Config::default()
    };
    let limits = RegistryLimits::DEFAULT;
    let remote = super::placed::config(boot, knobs);
    Node::new(Config { seed, limits, max_calls: 1 << 20, membership, remote })
}

impl SimNode {
    pub(super) fn new(ix: NodeIx, scenario: &Scenario) -> Self {
        Self {
            ix,
            kernel: Node::new(Config::default()),
            on: false,
            boot: 0,
            stopped: false,
            ended: false,
            left: false,
            mended: false,
            clock: Clock::new(),
            late: 0,
            slow: 0,
            calls: BTreeMap::new(),
            due: None,
            woken: (Instant::ZERO, 0),
            names: vec![None; scenario.len()],
            claims: BTreeMap::new(),
            who: Vec::new(),
            supervisors: vec![None; scenario.len()],
            incarnations: Vec::new(),
            actions: Vec::new(),
            beside: Beside::default(),
        }
    }

    pub(super) fn name(&self, who: Who) -> Option<NameId> {
        self.names[usize::from(who.0)]
    }

    pub(super) fn who(&self, name: NameId) -> Option<Who> {
        self.who.get(name.0 as usize).copied().flatten()
    }

    /// The incarnation that a supervisor runs as now.
    pub(super) fn supervisor(&self, who: Who) -> Option<SupervisorId> {
        self.supervisors[usize::from(who.0)].map(SupervisorId)
    }

    fn bind(&mut self, who: Who, name: NameId, is_own: bool) {
        if is_own {
            self.own(who, name);
        } else {
            self.claims.insert(who, name);
            self.knows(who, name);
        }
    }

    /// The name of an entity of this node.
    pub(super) fn own(&mut self, who: Who, name: NameId) {
        self.names[usize::from(who.0)] = Some(name);
        self.knows(who, name);
    }

    /// Who is behind a name.
    pub(super) fn knows(&mut self, who: Who, name: NameId) {
        let at = name.0 as usize;
        if self.who.len() <= at {
            self.who.resize(at + 1, None);
        }
        self.who[at] = Some(who);
    }

    pub(super) fn process(&self, id: ProcessId) -> Option<Process> {
        let who = self.who(NameId(id.pid.child.0))?;
        let (supervisor, incarnation) = (id.supervisor.0, id.pid.incarnation);
        Some(Process { who, supervisor, incarnation })
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    pub(super) fn node(&mut self, node: NodeIx) -> &mut SimNode {
        &mut self.nodes[usize::from(node.0)]
    }

    /// A node boots, and starts its tree.
    pub(super) fn boots(&mut self, node: NodeIx) {
        let this = self.node(node);
        if this.on {
            return;
        }
        let boot = this.boot + 1;
        let seed = self.streams.draw(Purpose::Routing, u64::from(node.0), u64::from(boot));
        let scenario = Arc::clone(&self.plan.scenario);
        let this = self.node(node);
        let (clock, late, slow) = (this.clock, this.late, this.slow);
        let mended = this.mended;
        *this = SimNode::new(node, &scenario);
        (this.on, this.boot, this.clock) = (true, boot, clock);
        (this.late, this.slow, this.mended) = (late, slow, mended);
        self.node(node).kernel = kernel(node, boot, seed, &self.plan.knobs);
        if boot > 1 {
            self.recorder.reach(Mark::Rebooted);
        }
        self.put(node, What::Booted(boot));
        self.declare_all(node);
        let root = scenario.root(node);
        let streams = self.streams;
        let this = self.node(node);
        let id = |who: Who| ChildId(this.name(who).map_or(u32::MAX, |name| name.0));
        let plan = Arc::new(scenario.tree(streams, boot, root, &id));
        let wanted = self.options.model && !self.has_children_elsewhere(node);
        self.node(node).beside = Beside::new(wanted, &plan);
        let start = Call::Start(Arc::clone(&plan));
        self.step_tree(
            node,
            |_| start,
            |kernel, now, actions| {
                let started = kernel.start(now, &plan, actions);
                debug_assert!(started.is_ok(), "a topology that was read can be started");
            },
        );
        self.joins(node);
    }

    /// Every name that is there from the start, in the order of the runtime.
    fn declare_all(&mut self, node: NodeIx) {
        let scenario = Arc::clone(&self.plan.scenario);
        for (who, entity) in scenario.all() {
            let pool = matches!(&entity.role, Role::Agent(agent) if agent.pool);
            let host = self.hosts[usize::from(who.0)];
            if host.is_some() {
                self.declare_placed(node, who);
            } else if entity.node == node && !pool {
                let kind = scenario.kind(who);
                self.declare(node, who, kind);
            }
            if self.home_of(who) == node {
                let state = &mut self.agents[usize::from(who.0)];
                (state.closed, state.suspended) = (false, false);
                state.last_fact = None;
                state.slots.clear();
            }
        }
    }

    /// Declares a name; false if that is refused.
    pub(super) fn declare(&mut self, node: NodeIx, who: Who, kind: ChildKind) -> bool {
        let scenario = Arc::clone(&self.plan.scenario);
        let tags: Vec<&str> = scenario
            .agent(who)
            .map(|agent| agent.capabilities.iter().map(String::as_str).collect())
            .unwrap_or_default();
        let name = &scenario.entity(who).name;
        let this = self.node(node);
        let mut actions = std::mem::take(&mut this.actions);
        let declared = this.kernel.declare(name, kind, &tags, &mut actions);
        if let Ok(id) = declared {
            this.bind(who, id, scenario.entity(who).node == node);
        }
        self.perform(node, actions);
        declared.is_ok()
    }

    /// Lets a node's kernel act, and carries out what it wants.
    pub(super) fn step_kernel<R>(
        &mut self,
        node: NodeIx,
        act: impl FnOnce(&mut Node, Instant, &mut Vec<Action>) -> R,
    ) -> R {
        let now = self.now;
        let this = self.node(node);
        let mut actions = std::mem::take(&mut this.actions);
        let shown = this.clock.shows(now);
        let result = act(&mut this.kernel, shown, &mut actions);
        self.perform(node, actions);
        self.reset_due(node);
        result
    }

    /// When the node wants to be woken now.
    pub(super) fn reset_due(&mut self, node: NodeIx) {
        let still = self.is_still(node);
        let this = self.node(node);
        let at = if this.on && !still { this.kernel.poll_timeout() } else { None };
        let late = Duration::from_nanos(this.late);
        let due = at.map(|at| (at, this.clock.when(at).saturating_add(late)));
        if !self.buggify.has(Point::LateTimer) {
            self.node(node).due = due.map(|(_, due)| due);
            return;
        }
        // By the deadline, and not by how often it was asked for: that is no news.
        let (whose, buggify) = (u64::from(node.0), &mut self.buggify);
        let mut late =
            |at: Instant| buggify.amount(Point::LateTimer, whose, at.as_nanos(), LATE_MOST);
        let due = due.map(|(at, due)| due.saturating_add(Duration::from_nanos(late(at))));
        self.node(node).due = due;
    }

    /// A node is woken for nothing, now and then.
    pub(super) fn wakes_for_nothing(&mut self, node: NodeIx) {
        let now = self.now.as_nanos();
        if self.buggify.fires(Point::SpuriousWake, u64::from(node.0), now) && self.node(node).on {
            self.wake(node);
        }
    }

    pub(super) fn wake(&mut self, node: NodeIx) {
        if self.is_remnant(node) {
            return self.wakes_remnant(node);
        }
        let now = self.now;
        let this = self.node(node);
        let times = if this.woken.0 == now { this.woken.1 + 1 } else { 1 };
        this.woken = (now, times);
        if times > WAKES {
            let text = format!("a deadline has fired {WAKES} times, and is due yet");
            return self.recorder.violated("L6", now, node, text);
        }
        self.step_tree(
            node,
            |_| Call::Timeout,
            |kernel, now, actions| kernel.handle_timeout(now, actions),
        );
    }

    /// Tells the kernel what a process did.
    pub(super) fn tell_kernel(&mut self, node: NodeIx, id: ProcessId, event: supervisor::Event) {
        if id.supervisor == HOSTED {
            // No supervisor of this node's is told.
            return self.tell_host(node, id, event);
        }
        let call = |_| Call::Fact(id.supervisor, event);
        self.step_tree(node, call, |kernel, now, actions| {
            kernel.handle(now, node::Event::Supervision(id.supervisor, event), actions);
        });
    }

    /// Carries out, in order, and gives the buffer back.
    pub(super) fn perform(&mut self, node: NodeIx, mut actions: Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Supervision(action) => self.supervision(node, action),
                Action::Status { name, status } => self.status(node, name, status),
                Action::Send(..)
                | Action::CallEnded(_)
                | Action::Peer(..)
                | Action::Watch(_)
                | Action::Remote(..)
                | Action::Placed { .. }
                | Action::Hosted { .. }
                | Action::Diverted(_)
                | Action::Leased { .. } => self.peer_action(node, action),
            }
        }
        self.node(node).actions = actions;
    }

    fn supervision(&mut self, node: NodeIx, action: tree::Action) {
        match action {
            tree::Action::Start { process } | tree::Action::Signal { process, .. }
                if process.supervisor == HOSTED =>
            {
                self.hosts_for_another(node, action);
            }
            tree::Action::Start { process } => {
                if let Some(known) = self.node(node).process(process) {
                    self.launch(node, known, process);
                }
            }
            tree::Action::Signal { process, signal } => {
                if let Some(known) = self.node(node).process(process) {
                    self.signal(node, known, signal);
                }
            }
            tree::Action::Supervisor { supervisor, process, stage } => {
                self.stage(node, supervisor, process, stage);
            }
            tree::Action::Removed { child, why, spawner, .. } => {
                let Some(who) = self.node(node).who(NameId(child.0)) else { return };
                self.put(node, What::Removed(who));
                if why.is_some() && spawner != Some(PLAN) {
                    let text = format!("whoever spawned {who:?} is not told that it is gone");
                    self.recorder.violated("S13", self.now, node, text);
                }
                if why.is_some() {
                    self.close(node, who, Fate::DeadLetter, Ending::Failed);
                }
            }
            tree::Action::Report { supervisor, report } => self.report(node, supervisor, report),
        }
    }

    fn stage(
        &mut self,
        node: NodeIx,
        supervisor: SupervisorId,
        process: Option<ProcessId>,
        stage: tree::Stage,
    ) {
        let known = process.and_then(|id| self.node(node).process(id));
        let who = known.map_or_else(|| self.plan.scenario.root(node), |process| process.who);
        let at = usize::from(who.0);
        let this = self.node(node);
        let stage = match stage {
            tree::Stage::Initializing => {
                this.supervisors[at] = Some(supervisor.0);
                this.incarnations.push((supervisor.0, who));
                Stage::Initializing
            }
            tree::Stage::Ready => Stage::Ready,
            tree::Stage::Exited(reason) => {
                if this.supervisors[at] == Some(supervisor.0) {
                    this.supervisors[at] = None;
                }
                Stage::Exited(reason)
            }
        };
        let id = supervisor.0;
        self.put(node, What::Supervisor { who, id, process: known, stage });
        if let (Stage::Exited(reason), None) = (stage, process) {
            self.tree_ended(node, reason);
        }
    }

    /// A node's tree is gone: so is everything that waited in it.
    fn tree_ended(&mut self, node: NodeIx, reason: ExitReason) {
        if reason == ExitReason::RestartsExhausted {
            self.recorder.reach(Mark::EscalatedToRoot);
        }
        let calm = self.calm && !self.ending;
        let this = self.node(node);
        this.ended = true;
        this.claims.clear();
        // Its last crash was before the healing, and it took its time to end.
        if calm && !std::mem::replace(&mut this.mended, true) {
            self.after(0, Event::Mend(node));
        }
        self.goodbye(node);
        self.close_all(node, Fate::DeadLetter, Ending::Failed);
    }

    /// A node without a tree says goodbye, as a runtime does: what it asked of others has failed.
    pub(super) fn parts(&mut self, node: NodeIx) {
        self.node(node).left = true;
        self.step_kernel(node, |kernel, now, actions| {
            kernel.leave(actions);
            let peers: Vec<NodeId> = kernel.membership().peers().map(|(peer, _)| peer).collect();
            for peer in peers {
                kernel.remove_peer(now, peer, actions);
            }
        });
    }

    pub(super) fn close_all(&mut self, node: NodeIx, fate: Fate, ending: Ending) {
        let scenario = Arc::clone(&self.plan.scenario);
        for (who, entity) in scenario.all() {
            let is_here = entity.node == node && self.hosts[usize::from(who.0)].is_none();
            if is_here && matches!(entity.role, Role::Agent(_)) {
                self.close(node, who, fate, ending);
            }
        }
    }

    fn report(&mut self, node: NodeIx, supervisor: SupervisorId, report: Report) {
        let now = self.now;
        let this = self.node(node);
        let shown = this.clock.shows(now);
        let who = |child: ChildId| this.who(NameId(child.0));
        let process = |pid| this.process(ProcessId { supervisor, pid });
        let what = match report {
            Report::RestartScheduled { child, at } => who(child).map(|who| {
                let delay = crate::plan::nanos(at.saturating_since(shown));
                What::RestartScheduled { who, supervisor: supervisor.0, delay }
            }),
            Report::RestartsExhausted { child } => {
                who(child).map(|child| What::RestartsExhausted { supervisor: supervisor.0, child })
            }
            Report::ShutdownError { pid, reason } => {
                process(pid).map(|process| What::ShutdownError(process, reason))
            }
            Report::StaleEvent { pid } => process(pid).map(What::Stale),
            Report::ChildTerminated { .. } | Report::StartFailed { .. } => None,
        };
        if let Some(what) = what {
            self.put(node, what);
        }
    }

    fn status(&mut self, node: NodeIx, name: NameId, status: Status) {
        let is_here = |who: &Who| self.node_of(*who) == node || self.home_of(*who) == node;
        let Some(who) = self.nodes[usize::from(node.0)].who(name).filter(is_here) else {
            // A name that is only claimed: there is no process of it here.
            return;
        };
        self.put(node, What::Status(who, status));
        if self.hosts[usize::from(who.0)].is_some() {
            // It ends with the name, on the node that has it.
            return;
        }
        if status == Status::Down && self.plan.scenario.agent(who).is_some() {
            self.close(node, who, Fate::DeadLetter, Ending::Failed);
        }
    }

    /// Stops a node's tree in good order.
    pub(super) fn stop_tree(&mut self, node: NodeIx, within: Duration) {
        let this = self.node(node);
        if !this.on || this.ended {
            return;
        }
        this.stopped = true;
        self.stops_hosting(node, within);
        let call = |now: Instant| Call::Shutdown(Some(now.saturating_add(within)));
        self.step_tree(node, call, |kernel, now, actions| {
            kernel.shutdown(now, Some(now.saturating_add(within)), actions);
        });
    }

    /// A node ends at once, with all that it holds.
    pub(super) fn halt(&mut self, node: NodeIx) {
        if !self.node(node).on {
            return;
        }
        let this = self.node(node);
        (this.on, this.due) = (false, None);
        self.put(node, What::Halted);
        self.stands_no_more(node);
        self.leaves_broker(node);
        let scenario = Arc::clone(&self.plan.scenario);
        let home: Vec<NodeIx> = scenario.all().map(|(who, _)| self.home_of(who)).collect();
        let here = || scenario.all().filter(|(who, _)| home[usize::from(who.0)] == node);
        // First nobody lives any more: what ends below must not give anybody a next message.
        let mut in_hand = Vec::new();
        for (who, _) in here() {
            for slot in std::mem::take(&mut self.agents[usize::from(who.0)].slots) {
                let proc = &mut self.procs[slot.index as usize];
                proc.state = State::Gone;
                in_hand.extend(proc.in_hand.take());
                self.free.push(slot.index);
            }
        }
        for index in in_hand {
            self.no_longer_waits(index);
            self.message_ends(node, index, Fate::Gone, Ending::Gone);
        }
        for (who, _) in here().filter(|(who, _)| scenario.agent(*who).is_some()) {
            self.close(node, who, Fate::Gone, Ending::Gone);
        }
        for number in 0..self.questions.len() {
            if self.questions[number].is_some_and(|open| open.node == node) {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                self.question_ends(number, Ending::Gone);
            }
        }
    }

    /// A node that is gone, or whose tree has ended by itself, boots again.
    pub(super) fn mend(&mut self, node: NodeIx) {
        let this = self.node(node);
        if this.on && this.ended && !this.stopped {
            self.halt(node);
        }
        self.boots(node);
    }

    /// Says for each node that runs where it sees the agents of the others.
    pub(super) fn views(&mut self) {
        let scenario = Arc::clone(&self.plan.scenario);
        for node in scenario.node_ids().filter(|_| scenario.nodes() > 1) {
            for (who, entity) in scenario.all() {
                let runs = self.node(node).on && !self.node(node).ended;
                let here = self.home_of(who) == node || self.node(node).claims.contains_key(&who);
                if !runs || here || scenario.agent(who).is_none() {
                    continue;
                }
                let kernel = &self.node(node).kernel;
                let name = kernel.names().lookup(&entity.name);
                let entry = name.and_then(|name| kernel.registry().lookup(name));
                let sees = entry.map(|entry| match entry.owner {
                    Owner::Local(_) => node,
                    Owner::Remote { node, .. } => NodeIx::of(node),
                });
                self.put(node, What::Sees(who, sees));
            }
        }
    }
}

//! What is put under any input: each machine behind the same calls.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::dynamic_supervisor::{self, Budget, DynamicSupervisor, SpawnerId};
use lictor_kernel::supervisor::{self, Event, Supervisor};
use lictor_kernel::tree::{self, Body, Machine, Plan, PlannedChild, Tree};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, ExitReason, Instant, Intensity, Jitter,
    Node, NodeId, Pid, ProcessId, Restart, Shutdown, Strategy as Restarts, SupervisorId, node,
};
use proptest::prelude::*;

const CHILDREN: u32 = 6;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Start,
    Started(usize),
    Ignored(usize),
    Failed(usize),
    Exited(usize, ExitReason),
    /// About a process that may never have been.
    Stray(u64, ChildId, u64),
    Timeout,
    Shutdown(Option<u64>),
    Kill,
    Add(u64, ChildId, ChildSpec, bool),
    Terminate(u64, ChildId),
    Restart(u64, ChildId),
    Delete(u64, ChildId),
    PeerDown(u64),
}

/// What came of a call.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Told {
    pub(crate) fact: Option<(ProcessId, Event)>,
    pub(crate) starts: Vec<ProcessId>,
    pub(crate) signals: Vec<ProcessId>,
    /// Exits of the whole.
    pub(crate) exits: usize,
    pub(crate) actions: usize,
    /// All of it, as text.
    text: String,
}

#[derive(Clone, PartialEq, Debug)]
enum Kind {
    Static(Box<Supervisor>),
    Dynamic(Box<DynamicSupervisor>),
    Tree(Box<Tree>),
    Node(Box<Node>),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Subject {
    kind: Kind,
    plan: Arc<Plan>,
    /// A tree or a node can be started anew; here it is once.
    started: bool,
}

fn nanos(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    prop_oneof![9 => range.prop_map(Duration::from_nanos), 1 => Just(Duration::MAX)]
}

fn any_spec() -> impl Strategy<Value = ChildSpec> {
    let restart =
        prop::sample::select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary]);
    let shutdown = prop_oneof![
        Just(Shutdown::BrutalKill),
        nanos(0..5).prop_map(Shutdown::Timeout),
        Just(Shutdown::Infinity),
    ];
    let start_timeout = proptest::option::weighted(0.3, nanos(0..4));
    (restart, shutdown, prop::bool::weighted(0.2), start_timeout).prop_map(
        |(restart, shutdown, significant, start_timeout)| ChildSpec {
            restart,
            shutdown,
            significant: significant && restart != Restart::Permanent,
            start_timeout,
            ..ChildSpec::worker()
        },
    )
}

fn any_config() -> impl Strategy<Value = supervisor::Config> {
    let strategy =
        prop::sample::select(vec![Restarts::OneForOne, Restarts::OneForAll, Restarts::RestForOne]);
    let backoff = prop_oneof![
        2 => Just(Backoff::NONE),
        1 => nanos(0..4).prop_map(|base| {
            let policy = Backoff::exponential(base, base.saturating_mul(8));
            policy.jitter(Jitter::Decorrelated).stable_after(base)
        }),
    ];
    let auto_shutdown =
        prop::sample::select(vec![AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]);
    (strategy, backoff, auto_shutdown, 0..4_u32, nanos(1..9), any::<u64>()).prop_map(
        |(strategy, backoff, auto_shutdown, max_restarts, period, seed)| supervisor::Config {
            strategy,
            intensity: Intensity { max_restarts, period },
            backoff,
            auto_shutdown,
            max_children: CHILDREN,
            seed,
            ..supervisor::Config::default()
        },
    )
}

fn dynamic(config: &supervisor::Config) -> Plan {
    let budget = if config.seed.is_multiple_of(2) { Budget::Child } else { Budget::Shared };
    Plan::Dynamic(dynamic_supervisor::Config {
        intensity: config.intensity,
        budget,
        backoff: config.backoff,
        auto_shutdown: config.auto_shutdown,
        max_children: Some(CHILDREN),
        seed: config.seed,
        ..dynamic_supervisor::Config::default()
    })
}

pub(crate) fn any_static_plan() -> impl Strategy<Value = Arc<Plan>> {
    (any_config(), prop::collection::vec(any_spec(), 0..4)).prop_map(|(config, specs)| {
        let children = (0..).zip(specs).map(|(id, spec)| worker(ChildId(id), spec)).collect();
        Arc::new(Plan::Static { config, children })
    })
}

fn worker(id: ChildId, spec: ChildSpec) -> PlannedChild {
    PlannedChild { id, spec, body: Body::Worker }
}

/// Up to three levels; the children of all have different numbers.
pub(crate) fn any_plan() -> impl Strategy<Value = Arc<Plan>> {
    let level = || (any_config(), prop::collection::vec((any_spec(), 0..4_u8), 1..3));
    prop::collection::vec(level(), 1..4).prop_map(|levels| {
        let mut id = 0;
        let mut below: Option<Plan> = None;
        for (config, specs) in levels.into_iter().rev() {
            let mut children = Vec::new();
            for (spec, body) in specs {
                let kind = ChildKind::Supervisor;
                let (spec, body) = match (body, below.take()) {
                    (0 | 1, Some(plan)) => {
                        (ChildSpec { kind, ..spec }, Body::Supervisor(Arc::new(plan)))
                    }
                    (2, rest) => {
                        below = rest;
                        (ChildSpec { kind, ..spec }, Body::Supervisor(Arc::new(dynamic(&config))))
                    }
                    (_, rest) => {
                        below = rest;
                        (spec, Body::Worker)
                    }
                };
                children.push(PlannedChild { id: ChildId(id), spec, body });
                id += 1;
            }
            if let Some(plan) = below.take() {
                let body = Body::Supervisor(Arc::new(plan));
                children.push(PlannedChild {
                    id: ChildId(id),
                    spec: ChildSpec::supervisor(),
                    body,
                });
                id += 1;
            }
            below = Some(Plan::Static { config, children });
        }
        Arc::new(below.expect("at least one level"))
    })
}

pub(crate) fn any_call() -> impl Strategy<Value = Call> {
    let which = || prop_oneof![4 => 0..3_usize, 1 => 0..30_usize];
    let id = || (0..9_u32).prop_map(ChildId);
    let at = || 0..5_u64;
    let reason = prop::sample::select(vec![
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::Killed,
        ExitReason::Crashed,
        ExitReason::Crashed,
    ]);
    prop_oneof![
        4 => Just(Call::Start),
        16 => which().prop_map(Call::Started),
        2 => which().prop_map(Call::Ignored),
        3 => which().prop_map(Call::Failed),
        12 => (which(), reason).prop_map(|(which, reason)| Call::Exited(which, reason)),
        1 => (at(), id(), any::<u64>()).prop_map(|(at, id, n)| Call::Stray(at, id, n)),
        6 => Just(Call::Timeout),
        1 => proptest::option::of(prop_oneof![0..9_u64, any::<u64>()]).prop_map(Call::Shutdown),
        1 => prop::bool::weighted(0.3).prop_map(|k| if k { Call::Kill } else { Call::Timeout }),
        5 => (at(), id(), any_spec(), prop::bool::weighted(0.3))
            .prop_map(|(at, id, spec, tree)| Call::Add(at, id, spec, tree)),
        2 => (at(), id()).prop_map(|(at, id)| Call::Terminate(at, id)),
        2 => (at(), id()).prop_map(|(at, id)| Call::Restart(at, id)),
        2 => (at(), id()).prop_map(|(at, id)| Call::Delete(at, id)),
        1 => at().prop_map(Call::PeerDown),
    ]
}

/// The n-th process from the last.
fn nth_last(started: &[ProcessId], which: usize) -> ProcessId {
    let never = ProcessId {
        supervisor: SupervisorId(0),
        pid: Pid { child: ChildId(99), incarnation: u64::MAX },
    };
    started.iter().rev().nth(which).copied().unwrap_or(never)
}

/// A child to add: a worker, or a small supervisor.
fn addition(id: ChildId, spec: ChildSpec, tree: bool) -> PlannedChild {
    if !tree {
        return worker(id, spec);
    }
    let children = vec![worker(ChildId(100 + id.0), spec)];
    let auto_shutdown = AutoShutdown::AnySignificant;
    let config = supervisor::Config { auto_shutdown, ..supervisor::Config::default() };
    let body = Body::Supervisor(Arc::new(Plan::Static { config, children }));
    PlannedChild { id, spec: ChildSpec { kind: ChildKind::Supervisor, ..spec }, body }
}

impl Subject {
    fn of(kind: Kind, plan: &Arc<Plan>) -> Self {
        Self { kind, plan: Arc::clone(plan), started: false }
    }

    /// The root of a plan as a machine alone; what it supervises are processes like others.
    pub(crate) fn alone(plan: &Arc<Plan>) -> Self {
        let Plan::Static { config, children } = &**plan else { panic!("the root is static") };
        let specs: Vec<_> = children.iter().map(|child| (child.id, child.spec)).collect();
        let machine = Supervisor::new(config.clone(), &specs).expect("a valid configuration");
        Self::of(Kind::Static(Box::new(machine)), plan)
    }

    pub(crate) fn dynamic(seed: u64) -> Self {
        let config = supervisor::Config {
            intensity: Intensity { max_restarts: 2, period: Duration::from_nanos(9) },
            backoff: Backoff::linear(Duration::from_nanos(1), Duration::from_nanos(seed % 9 + 1)),
            auto_shutdown: AutoShutdown::AnySignificant,
            seed,
            ..supervisor::Config::default()
        };
        let plan = Arc::new(dynamic(&config));
        let Plan::Dynamic(config) = &*plan else { unreachable!("it was just made") };
        let machine = DynamicSupervisor::new(config.clone()).expect("a valid configuration");
        Self::of(Kind::Dynamic(Box::new(machine)), &plan)
    }

    pub(crate) fn tree(plan: &Arc<Plan>) -> Self {
        Self::of(Kind::Tree(Box::default()), plan)
    }

    pub(crate) fn node(plan: &Arc<Plan>) -> Self {
        let mut node = Node::new(node::Config::default());
        for number in 0..9 {
            let name = format!("n{number}");
            let id = node.declare(&name, ChildKind::Worker, &[], &mut Vec::new());
            assert_eq!(id.map(|id| id.0), Ok(number));
        }
        Self::of(Kind::Node(Box::new(node)), plan)
    }

    fn the_tree(&self) -> Option<&Tree> {
        match &self.kind {
            Kind::Tree(tree) => Some(tree),
            Kind::Node(node) => Some(node.tree()),
            Kind::Static(_) | Kind::Dynamic(_) => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Static(machine) => machine.poll_timeout(),
            Kind::Dynamic(machine) => machine.poll_timeout(),
            Kind::Tree(tree) => tree.poll_timeout(),
            Kind::Node(node) => node.poll_timeout(),
        }
    }

    /// It has ended.
    pub(crate) fn is_stopped(&self) -> bool {
        match &self.kind {
            Kind::Static(machine) => machine.is_stopped(),
            Kind::Dynamic(machine) => machine.is_stopped(),
            Kind::Tree(_) | Kind::Node(_) => {
                self.started && self.the_tree().is_some_and(Tree::is_empty)
            }
        }
    }

    pub(crate) fn children(&self) -> usize {
        match &self.kind {
            Kind::Static(machine) => machine.which_children().count(),
            Kind::Dynamic(machine) => machine.which_children().count(),
            Kind::Tree(_) | Kind::Node(_) => self.the_tree().map_or(0, Tree::len),
        }
    }

    /// No table grows beyond its limit.
    pub(crate) fn children_max(&self) -> usize {
        match &self.kind {
            Kind::Static(_) | Kind::Dynamic(_) => CHILDREN as usize,
            // Each supervisor at most once; those that were added have an id below 9 each.
            Kind::Tree(_) | Kind::Node(_) => 1 + 3 * CHILDREN as usize * CHILDREN as usize,
        }
    }

    pub(crate) fn call(&mut self, now: Instant, call: Call, started: &[ProcessId]) -> Told {
        let fact = fact(call, started);
        let mut told = Told { fact, ..Told::default() };
        if matches!(call, Call::Start) && std::mem::replace(&mut self.started, true) {
            return told;
        }
        match &mut self.kind {
            Kind::Static(machine) => on_static(machine, now, call, &mut told),
            Kind::Dynamic(machine) => on_dynamic(machine, now, call, &mut told),
            Kind::Tree(tree) => on_tree(tree, &self.plan, now, call, &mut told),
            Kind::Node(node) => on_node(node, &self.plan, now, call, &mut told),
        }
        told
    }
}

fn fact(call: Call, started: &[ProcessId]) -> Option<(ProcessId, Event)> {
    let which = |n| nth_last(started, n);
    Some(match call {
        Call::Started(n) => (which(n), Event::Started { pid: which(n).pid }),
        Call::Ignored(n) => (which(n), Event::StartIgnored { pid: which(n).pid }),
        Call::Failed(n) => (which(n), Event::StartFailed { pid: which(n).pid }),
        Call::Exited(n, reason) => (which(n), Event::Exited { pid: which(n).pid, reason }),
        Call::Stray(at, child, incarnation) => {
            let process =
                ProcessId { supervisor: SupervisorId(at), pid: Pid { child, incarnation } };
            (process, Event::Exited { pid: process.pid, reason: ExitReason::Crashed })
        }
        Call::Start
        | Call::Timeout
        | Call::Shutdown(_)
        | Call::Kill
        | Call::Add(..)
        | Call::Terminate(..)
        | Call::Restart(..)
        | Call::Delete(..)
        | Call::PeerDown(_) => return None,
    })
}

fn on_static(machine: &mut Supervisor, now: Instant, call: Call, told: &mut Told) {
    let mut out = Vec::new();
    match call {
        Call::Start => machine.start(now, &mut out),
        Call::Timeout => machine.handle_timeout(now, &mut out),
        Call::Shutdown(by) => machine.shutdown(now, by.map(Instant::from_nanos), &mut out),
        Call::Kill => machine.kill(now, &mut out),
        Call::Add(_, id, spec, _) => refusable(machine.start_child(now, id, spec, &mut out)),
        Call::Terminate(_, id) => refusable(machine.terminate_child(now, id, &mut out)),
        Call::Restart(_, id) => refusable(machine.restart_child(now, id, &mut out)),
        Call::Delete(_, id) => refusable(machine.delete_child(now, id, &mut out)),
        Call::Started(_)
        | Call::Ignored(_)
        | Call::Failed(_)
        | Call::Exited(..)
        | Call::Stray(..)
        | Call::PeerDown(_) => {
            if let Some((_, event)) = told.fact {
                machine.handle(now, event, &mut out);
            }
        }
    }
    use supervisor::Action as A;
    let process = |pid| ProcessId { supervisor: SupervisorId(0), pid };
    for action in &out {
        match action {
            A::Start { pid } => told.starts.push(process(*pid)),
            A::Signal { pid, .. } => told.signals.push(process(*pid)),
            A::Exit { .. } => told.exits += 1,
            A::Ready | A::Removed { .. } | A::Report(_) => {}
        }
    }
    (told.actions, told.text) = (out.len(), format!("{out:?}"));
}

fn on_dynamic(machine: &mut DynamicSupervisor, now: Instant, call: Call, told: &mut Told) {
    let mut out = Vec::new();
    match call {
        Call::Start => machine.start(&mut out),
        Call::Timeout => machine.handle_timeout(now, &mut out),
        Call::Shutdown(by) => machine.shutdown(now, by.map(Instant::from_nanos), &mut out),
        Call::Kill => machine.kill(now, &mut out),
        Call::Add(at, id, spec, _) => {
            refusable(machine.spawn(now, id, spec, Some(SpawnerId(at)), &mut out));
        }
        Call::Terminate(_, id) => refusable(machine.terminate_child(now, id, None, &mut out)),
        Call::Restart(at, _) | Call::Delete(at, _) => machine.forget_spawner(SpawnerId(at)),
        Call::Started(_)
        | Call::Ignored(_)
        | Call::Failed(_)
        | Call::Exited(..)
        | Call::Stray(..)
        | Call::PeerDown(_) => {
            if let Some((_, event)) = told.fact {
                machine.handle(now, event, &mut out);
            }
        }
    }
    use dynamic_supervisor::Action as A;
    let process = |pid| ProcessId { supervisor: SupervisorId(0), pid };
    for action in &out {
        match action {
            A::Start { pid } => told.starts.push(process(*pid)),
            A::Signal { pid, .. } => told.signals.push(process(*pid)),
            A::Exit { .. } => told.exits += 1,
            A::Ready | A::Removed { .. } | A::Report(_) => {}
        }
    }
    (told.actions, told.text) = (out.len(), format!("{out:?}"));
}

fn note(action: tree::Action, told: &mut Told) {
    use tree::Action as A;
    match action {
        A::Start { process } => told.starts.push(process),
        A::Signal { process, .. } => told.signals.push(process),
        A::Supervisor { process: None, stage: tree::Stage::Exited(_), .. } => told.exits += 1,
        A::Supervisor { .. } | A::Removed { .. } | A::Report { .. } => {}
    }
}

fn on_tree(tree: &mut Tree, plan: &Arc<Plan>, now: Instant, call: Call, told: &mut Told) {
    let mut out = Vec::new();
    match call {
        Call::Start => assert!(tree.start(now, plan, &mut out).is_ok()),
        Call::Timeout => tree.handle_timeout(now, &mut out),
        Call::Shutdown(by) => tree.shutdown(now, by.map(Instant::from_nanos), &mut out),
        Call::Add(at, id, spec, sub) => {
            let (at, child) = (SupervisorId(at), addition(id, spec, sub));
            match tree.supervisor(at) {
                Some(Machine::Dynamic(_)) => refusable(tree.spawn(now, at, child, None, &mut out)),
                Some(Machine::Static(_)) | None => {
                    refusable(tree.start_child(now, at, child, &mut out));
                }
            }
        }
        Call::Terminate(at, id) => {
            refusable(tree.terminate_child(now, SupervisorId(at), id, None, &mut out));
        }
        Call::Restart(at, id) => refusable(tree.restart_child(now, SupervisorId(at), id, &mut out)),
        Call::Delete(at, id) => refusable(tree.delete_child(now, SupervisorId(at), id, &mut out)),
        Call::Started(_)
        | Call::Ignored(_)
        | Call::Failed(_)
        | Call::Exited(..)
        | Call::Stray(..)
        | Call::Kill
        | Call::PeerDown(_) => {
            if let Some((process, event)) = told.fact {
                tree.handle(now, process.supervisor, event, &mut out);
            }
        }
    }
    out.iter().for_each(|action| note(*action, told));
    (told.actions, told.text) = (out.len(), format!("{out:?}"));
}

fn on_node(node: &mut Node, plan: &Arc<Plan>, now: Instant, call: Call, told: &mut Told) {
    let mut out = Vec::new();
    match call {
        Call::Start => assert!(node.start(now, plan, &mut out).is_ok()),
        Call::Timeout => node.handle_timeout(now, &mut out),
        Call::Shutdown(by) => node.shutdown(now, by.map(Instant::from_nanos), &mut out),
        Call::Add(at, id, spec, sub) => {
            let (at, child) = (SupervisorId(at), addition(id, spec, sub));
            match node.tree().supervisor(at) {
                Some(Machine::Dynamic(_)) => refusable(node.spawn(now, at, child, None, &mut out)),
                Some(Machine::Static(_)) | None => {
                    refusable(node.start_child(now, at, child, &mut out));
                }
            }
        }
        Call::Terminate(at, id) => {
            refusable(node.terminate_child(now, SupervisorId(at), id, None, &mut out));
        }
        Call::Restart(at, id) => refusable(node.restart_child(now, SupervisorId(at), id, &mut out)),
        Call::Delete(at, id) => refusable(node.delete_child(now, SupervisorId(at), id, &mut out)),
        Call::PeerDown(peer) => {
            node.handle(now, node::Event::PeerDown(NodeId(peer)), &mut out);
        }
        Call::Started(_)
        | Call::Ignored(_)
        | Call::Failed(_)
        | Call::Exited(..)
        | Call::Stray(..)
        | Call::Kill => {
            if let Some((process, event)) = told.fact {
                let event = node::Event::Supervision(process.supervisor, event);
                node.handle(now, event, &mut out);
            }
        }
    }
    for action in &out {
        if let node::Action::Supervision(action) = action {
            note(*action, told);
        }
    }
    (told.actions, told.text) = (out.len(), format!("{out:?}"));
}

/// A command may be refused.
fn refusable<T>(_answer: T) {}

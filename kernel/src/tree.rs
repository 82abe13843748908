//! A tree of supervisors: what one machine decides is carried to the machines above and below it.
//!
//! A supervisor under a supervisor is, to its parent, a child like any other: it is started, told to
//! stop, and exits. The tree translates: a `Start` of such a child makes a fresh machine from its
//! plan (so a restarted subtree has its original children, fresh incarnations and an empty window),
//! a `Signal` becomes a shutdown of that machine, and the machine's `Exit` becomes the parent's
//! `Exited`. All this happens within one step, by a work list instead of recursion; only what
//! concerns workers leaves the tree.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dynamic_supervisor::{self, DynamicSupervisor, Removal, SpawnError, SpawnerId};
use crate::scratch::Scratch;
use crate::supervisor::{
    self, ChildState, ConfigError, Counts, DeleteChildError, Event, Report, RestartChildError,
    StartChildError, Supervisor, TerminateChildError,
};
use crate::{
    ChildId, ChildSpec, Deadlines, ExitReason, Instant, NameId, Pid, ProcessId, Shutdown, Signal,
    SupervisorId,
};

/// A supervisor before it runs. Shared, because every restart begins from it again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Plan {
    /// A static supervisor and its children, in start order.
    Static {
        /// How it works.
        config: supervisor::Config,
        /// Its children.
        children: Vec<PlannedChild>,
    },
    /// A dynamic supervisor.
    Dynamic(dynamic_supervisor::Config),
}

/// A child before it runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlannedChild {
    /// Its id under its supervisor.
    pub id: ChildId,
    /// Its specification.
    pub spec: ChildSpec,
    /// What runs there.
    pub body: Body,
}

/// What runs as a child.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Body {
    /// Something outside the kernel.
    Worker,
    /// A supervisor.
    Supervisor(Arc<Plan>),
}

impl Plan {
    /// Checks this plan and all plans below it.
    ///
    /// # Errors
    /// The first [`ConfigError`] in start order.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut rest: Vec<&Self> = Vec::from([self]);
        while let Some(plan) = rest.pop() {
            drop(plan.machine(SupervisorId(0))?);
            if let Self::Static { children, .. } = plan {
                rest.extend(children.iter().rev().filter_map(|child| match &child.body {
                    Body::Supervisor(plan) => Some(&**plan),
                    Body::Worker => None,
                }));
            }
        }
        Ok(())
    }

    /// A fresh machine. Its jitter depends on which incarnation it is.
    fn machine(&self, id: SupervisorId) -> Result<Machine, ConfigError> {
        let mix = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match self {
            Self::Static { config, children } => {
                let specs: Vec<_> = children.iter().map(|child| (child.id, child.spec)).collect();
                let config = supervisor::Config { seed: config.seed ^ mix, ..config.clone() };
                Supervisor::new(config, &specs).map(Machine::Static)
            }
            Self::Dynamic(config) => {
                let seed = config.seed ^ mix;
                let config = dynamic_supervisor::Config { seed, ..config.clone() };
                DynamicSupervisor::new(config).map(Machine::Dynamic)
            }
        }
    }
}

/// One supervisor at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Machine {
    /// A static supervisor.
    Static(Supervisor),
    /// A dynamic supervisor.
    Dynamic(DynamicSupervisor),
}

/// What the driver must do or may want to know, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Start this worker; answer with one of the three start events.
    Start {
        /// Which.
        process: ProcessId,
    },
    /// Tell this worker to end; answer with [`Event::Exited`] when it has.
    Signal {
        /// Which.
        process: ProcessId,
        /// How.
        signal: Signal,
    },
    /// A supervisor has come one step further in its life.
    Supervisor {
        /// Which incarnation.
        supervisor: SupervisorId,
        /// The process that it is to its own supervisor; `None` for the root.
        process: Option<ProcessId>,
        /// Where it is now.
        stage: Stage,
    },
    /// A child is forgotten; its id is free.
    Removed {
        /// Under which supervisor.
        supervisor: SupervisorId,
        /// Which.
        child: ChildId,
        /// Who had asked for it, if it was spawned.
        spawner: Option<SpawnerId>,
        /// Why, if its supervisor is a dynamic one.
        why: Option<Removal>,
    },
    /// Something an operator wants to read.
    Report {
        /// Who reports.
        supervisor: SupervisorId,
        /// What.
        report: Report,
    },
}

/// The life of a supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// It exists and begins to start its children.
    Initializing,
    /// All its children are up.
    Ready,
    /// It is gone, and so are all its children.
    Exited(ExitReason),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Slot {
    machine: Machine,
    /// The process that it is to its parent.
    process: Option<ProcessId>,
    /// What runs as each child that is not a worker.
    bodies: BTreeMap<ChildId, Arc<Plan>>,
    /// The supervisors that now run as children.
    running: BTreeMap<ChildId, SupervisorId>,
    ready: bool,
    /// As it stands in `Tree::deadlines`.
    deadline: Option<Instant>,
}

/// An action of one machine that is still to be carried on.
type Work = (SupervisorId, Step);

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(Pid),
    Signal(Pid, Signal),
    Ready,
    Exit(ExitReason),
    Out(Action),
}

/// A tree of supervisors under one root.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Tree {
    slots: BTreeMap<SupervisorId, Slot>,
    root: Option<SupervisorId>,
    next: u64,
    deadlines: Deadlines<SupervisorId>,
    /// When the stop of the whole tree must be over.
    stop_by: Option<Instant>,
    work: Scratch<VecDeque<Work>>,
    out_static: Scratch<Vec<supervisor::Action>>,
    out_dynamic: Scratch<Vec<dynamic_supervisor::Action>>,
}

impl Tree {
    /// Starts a tree.
    ///
    /// # Errors
    /// [`ConfigError`] if any supervisor in it cannot be; nothing was started then.
    ///
    /// # Panics
    /// If the tree still runs: one tree has one root.
    pub fn start(
        &mut self,
        now: Instant,
        plan: &Arc<Plan>,
        actions: &mut Vec<Action>,
    ) -> Result<SupervisorId, ConfigError> {
        assert!(self.root.is_none(), "one tree has one root");
        plan.check()?;
        self.stop_by = None;
        let id = self.create(now, plan, None, actions);
        self.root = Some(id);
        self.work_off(now, actions);
        Ok(id)
    }

    /// Takes in a fact about a worker. Deadlines earlier than `now` fire first, in order.
    pub fn handle(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        self.catch_up(now, actions);
        self.feed(now, supervisor, event, actions);
        self.work_off(now, actions);
    }

    /// When [`Tree::handle_timeout`] must be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Fires every deadline up to and including `now`. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        while let Some((_, id)) = self.deadlines.pop_due(now) {
            self.fire(now, id, actions);
        }
    }

    /// Tells the root to stop. `deadline` bounds the stop of the whole tree.
    pub fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        let Some(root) = self.root else { return };
        self.stop_by = match (self.stop_by, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let bound = self.stop_by;
        // Supervisors that are being stopped already must hear of a new bound too.
        let ids: Vec<SupervisorId> = self.slots.keys().copied().collect();
        for id in ids {
            if id == root || self.slots.get(&id).is_some_and(|slot| slot.machine.is_stopping()) {
                self.step(id, |machine, out| machine.shutdown(now, bound, out));
                self.work_off(now, actions);
            }
        }
    }

    /// Adds a child to a static supervisor and starts it; see [`Supervisor::start_child`].
    ///
    /// # Errors
    /// See [`StartChildError`]; an unknown or dynamic supervisor is `NotRunning`, and so is a body
    /// that is a plan which cannot be.
    pub fn start_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        child: PlannedChild,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, StartChildError> {
        if let Body::Supervisor(plan) = &child.body {
            plan.check().map_err(|_| StartChildError::NotRunning)?;
        }
        self.catch_up(now, actions);
        let PlannedChild { id, spec, body } = child;
        let result = self.step(supervisor, |machine, out| match machine {
            Machine::Static(s) => s.start_child(now, id, spec, out.fixed),
            Machine::Dynamic(_) => Err(StartChildError::NotRunning),
        });
        let result = result.unwrap_or(Err(StartChildError::NotRunning));
        if result.is_ok() {
            self.set_body(supervisor, id, body);
        }
        self.work_off(now, actions);
        result
    }

    /// Spawns a child under a dynamic supervisor; see [`DynamicSupervisor::spawn`].
    ///
    /// # Errors
    /// See [`SpawnError`]; an unknown or static supervisor is `NotRunning`, and so is a body that is
    /// a plan which cannot be.
    pub fn spawn(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        child: PlannedChild,
        spawner: Option<SpawnerId>,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, SpawnError> {
        if let Body::Supervisor(plan) = &child.body {
            plan.check().map_err(|_| SpawnError::NotRunning)?;
        }
        self.catch_up(now, actions);
        let PlannedChild { id, spec, body } = child;
        let result = self.step(supervisor, |machine, out| match machine {
            Machine::Dynamic(d) => d.spawn(now, id, spec, spawner, out.dynamic),
            Machine::Static(_) => Err(SpawnError::NotRunning),
        });
        let result = result.unwrap_or(Err(SpawnError::NotRunning));
        if result.is_ok() {
            self.set_body(supervisor, id, body);
        }
        self.work_off(now, actions);
        result
    }

    /// Stops a child; see [`Supervisor::terminate_child`], [`DynamicSupervisor::terminate_child`].
    /// `how` replaces the child's own shutdown, under a dynamic supervisor only.
    ///
    /// # Errors
    /// See [`TerminateChildError`]; an unknown supervisor is `NotRunning`.
    pub fn terminate_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        id: ChildId,
        how: Option<Shutdown>,
        actions: &mut Vec<Action>,
    ) -> Result<(), TerminateChildError> {
        self.catch_up(now, actions);
        let result = self.step(supervisor, |machine, out| match machine {
            Machine::Static(s) => s.terminate_child(now, id, out.fixed).map(|_| ()),
            Machine::Dynamic(d) => match d.terminate_child(now, id, how, out.dynamic) {
                true => Ok(()),
                false => Err(TerminateChildError::NotFound),
            },
        });
        self.work_off(now, actions);
        result.unwrap_or(Err(TerminateChildError::NotRunning))
    }

    /// Starts a child that is down; see [`Supervisor::restart_child`].
    ///
    /// # Errors
    /// See [`RestartChildError`]; an unknown or dynamic supervisor is `NotRunning`.
    pub fn restart_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, RestartChildError> {
        self.catch_up(now, actions);
        let result = self.step(supervisor, |machine, out| match machine {
            Machine::Static(s) => s.restart_child(now, id, out.fixed),
            Machine::Dynamic(_) => Err(RestartChildError::NotRunning),
        });
        self.work_off(now, actions);
        result.unwrap_or(Err(RestartChildError::NotRunning))
    }

    /// Forgets a child that is down; see [`Supervisor::delete_child`].
    ///
    /// # Errors
    /// See [`DeleteChildError`]; an unknown or dynamic supervisor is `NotRunning`.
    pub fn delete_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<(), DeleteChildError> {
        self.catch_up(now, actions);
        let result = self.step(supervisor, |machine, out| match machine {
            Machine::Static(s) => s.delete_child(now, id, out.fixed),
            Machine::Dynamic(_) => Err(DeleteChildError::NotRunning),
        });
        self.work_off(now, actions);
        result.unwrap_or(Err(DeleteChildError::NotRunning))
    }

    /// The supervisor with this id, while it runs.
    #[must_use]
    pub fn supervisor(&self, id: SupervisorId) -> Option<&Machine> {
        self.slots.get(&id).map(|slot| &slot.machine)
    }

    /// The supervisor that now runs as this child.
    #[must_use]
    pub fn running_as(&self, supervisor: SupervisorId, child: ChildId) -> Option<SupervisorId> {
        self.slots.get(&supervisor)?.running.get(&child).copied()
    }

    /// The name of a supervisor that runs, by the convention that a child's id is its name's number;
    /// `None` for the root.
    #[must_use]
    pub fn name_of(&self, supervisor: SupervisorId) -> Option<NameId> {
        let process = self.slots.get(&supervisor)?.process?;
        Some(NameId(process.pid.child.0))
    }

    /// The root, while it runs.
    #[must_use]
    pub const fn root(&self) -> Option<SupervisorId> {
        self.root
    }

    /// How many supervisors run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// The machinery: one machine steps, and its actions are carried on until none is left.
impl Tree {
    fn catch_up(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((_, id)) = self.deadlines.pop_before(now) {
            self.fire(now, id, actions);
        }
    }

    fn fire(&mut self, now: Instant, id: SupervisorId, actions: &mut Vec<Action>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.deadline = None;
        }
        self.step(id, |machine, out| machine.handle_timeout(now, out));
        self.work_off(now, actions);
    }

    /// Makes a machine and lets it begin.
    fn create(
        &mut self,
        now: Instant,
        plan: &Arc<Plan>,
        process: Option<ProcessId>,
        actions: &mut Vec<Action>,
    ) -> SupervisorId {
        let id = SupervisorId(self.next);
        self.next = self.next.saturating_add(1);
        let Ok(machine) = plan.machine(id) else {
            unreachable!("every plan is checked before it is accepted")
        };
        let bodies = match &**plan {
            Plan::Static { children, .. } => children
                .iter()
                .filter_map(|child| match &child.body {
                    Body::Supervisor(plan) => Some((child.id, Arc::clone(plan))),
                    Body::Worker => None,
                })
                .collect(),
            Plan::Dynamic(_) => BTreeMap::new(),
        };
        let running = BTreeMap::new();
        let slot = Slot { machine, process, bodies, running, ready: false, deadline: None };
        self.slots.insert(id, slot);
        actions.push(Action::Supervisor { supervisor: id, process, stage: Stage::Initializing });
        self.step(id, |machine, out| machine.start(now, out));
        id
    }

    /// Lets one machine act and puts what it wants before all other work, in its order.
    fn step<R>(
        &mut self,
        id: SupervisorId,
        act: impl FnOnce(&mut Machine, &mut Out<'_>) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(&id)?;
        let mut out = Out { fixed: &mut self.out_static.0, dynamic: &mut self.out_dynamic.0 };
        let result = act(&mut slot.machine, &mut out);
        let deadline = slot.machine.poll_timeout();
        if slot.deadline != deadline {
            if let Some(old) = slot.deadline {
                self.deadlines.clear(old, id);
            }
            if let Some(at) = deadline {
                self.deadlines.set(at, id);
            }
            slot.deadline = deadline;
        }
        let work = &mut self.work.0;
        for action in self.out_static.0.drain(..).rev() {
            work.push_front((id, Step::of_static(id, action)));
        }
        for action in self.out_dynamic.0.drain(..).rev() {
            work.push_front((id, Step::of_dynamic(id, action)));
        }
        Some(result)
    }

    fn feed(&mut self, now: Instant, id: SupervisorId, event: Event, actions: &mut Vec<Action>) {
        if self.step(id, |machine, out| machine.handle(now, event, out)).is_none() {
            let (Event::Started { pid }
            | Event::StartIgnored { pid }
            | Event::StartFailed { pid }
            | Event::Exited { pid, .. }) = event;
            let report = Report::StaleEvent { pid };
            actions.push(Action::Report { supervisor: id, report });
        }
    }

    /// Carries machines' actions on until only what leaves the tree is left. Ends because every
    /// step starts, stops or reports something, and each machine waits for an answer after it.
    fn work_off(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((id, step)) = self.work.0.pop_front() {
            match step {
                Step::Out(action) => {
                    if let Action::Removed { child, .. } = action
                        && let Some(slot) = self.slots.get_mut(&id)
                    {
                        slot.bodies.remove(&child);
                    }
                    actions.push(action);
                }
                Step::Start(pid) => self.start_process(now, id, pid, actions),
                Step::Signal(pid, signal) => self.signal(now, id, pid, signal, actions),
                Step::Ready => self.ready(now, id, actions),
                Step::Exit(reason) => self.exited(now, id, reason, actions),
            }
        }
    }

    fn start_process(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        let process = ProcessId { supervisor, pid };
        let plan = self.slots.get(&supervisor).and_then(|slot| slot.bodies.get(&pid.child));
        let Some(plan) = plan.cloned() else {
            actions.push(Action::Start { process });
            return;
        };
        let id = self.create(now, &plan, Some(process), actions);
        if let Some(slot) = self.slots.get_mut(&supervisor) {
            slot.running.insert(pid.child, id);
        }
    }

    fn signal(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        pid: Pid,
        signal: Signal,
        actions: &mut Vec<Action>,
    ) {
        let Some(id) = self.running_as(supervisor, pid.child) else {
            let process = ProcessId { supervisor, pid };
            actions.push(Action::Signal { process, signal });
            return;
        };
        let bound = self.stop_by;
        self.step(id, |machine, out| match signal {
            Signal::Shutdown => machine.shutdown(now, bound, out),
            Signal::Kill => machine.kill(now, out),
        });
    }

    fn ready(&mut self, now: Instant, id: SupervisorId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.ready = true;
        let process = slot.process;
        actions.push(Action::Supervisor { supervisor: id, process, stage: Stage::Ready });
        if let Some(ProcessId { supervisor, pid }) = process {
            self.feed(now, supervisor, Event::Started { pid }, actions);
        }
    }

    fn exited(
        &mut self,
        now: Instant,
        id: SupervisorId,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.remove(&id) else { return };
        if let Some(at) = slot.deadline {
            self.deadlines.clear(at, id);
        }
        let (supervisor, process) = (id, slot.process);
        actions.push(Action::Supervisor { supervisor, process, stage: Stage::Exited(reason) });
        let Some(ProcessId { supervisor, pid }) = process else {
            self.root = None;
            return;
        };
        if let Some(parent) = self.slots.get_mut(&supervisor) {
            parent.running.remove(&pid.child);
        }
        let event = match slot.ready {
            true => Event::Exited { pid, reason },
            false => Event::StartFailed { pid },
        };
        self.feed(now, supervisor, event, actions);
    }

    fn set_body(&mut self, supervisor: SupervisorId, id: ChildId, body: Body) {
        if let (Some(slot), Body::Supervisor(plan)) = (self.slots.get_mut(&supervisor), body) {
            slot.bodies.insert(id, plan);
        }
    }
}

struct Out<'a> {
    fixed: &'a mut Vec<supervisor::Action>,
    dynamic: &'a mut Vec<dynamic_supervisor::Action>,
}

impl Step {
    fn of_static(supervisor: SupervisorId, action: supervisor::Action) -> Self {
        use supervisor::Action as A;
        match action {
            A::Start { pid } => Self::Start(pid),
            A::Signal { pid, signal } => Self::Signal(pid, signal),
            A::Ready => Self::Ready,
            A::Exit { reason } => Self::Exit(reason),
            A::Report(report) => Self::Out(Action::Report { supervisor, report }),
            A::Removed { child } => {
                Self::Out(Action::Removed { supervisor, child, spawner: None, why: None })
            }
        }
    }

    fn of_dynamic(supervisor: SupervisorId, action: dynamic_supervisor::Action) -> Self {
        use dynamic_supervisor::Action as A;
        match action {
            A::Start { pid } => Self::Start(pid),
            A::Signal { pid, signal } => Self::Signal(pid, signal),
            A::Ready => Self::Ready,
            A::Exit { reason } => Self::Exit(reason),
            A::Report(report) => Self::Out(Action::Report { supervisor, report }),
            A::Removed { child, spawner, why } => {
                Self::Out(Action::Removed { supervisor, child, spawner, why: Some(why) })
            }
        }
    }
}

impl Machine {
    /// The state of one child, `None` if it is unknown.
    #[must_use]
    pub fn child(&self, id: ChildId) -> Option<ChildState> {
        match self {
            Self::Static(machine) => machine.child(id),
            Self::Dynamic(machine) => machine.child(id),
        }
    }

    /// All children: in start order if static, by id if dynamic.
    #[must_use]
    pub fn which_children(&self) -> Vec<(ChildId, ChildState)> {
        match self {
            Self::Static(machine) => machine.which_children().collect(),
            Self::Dynamic(machine) => machine.which_children().collect(),
        }
    }

    /// Numbers of children.
    #[must_use]
    pub fn count_children(&self) -> Counts {
        match self {
            Self::Static(machine) => machine.count_children(),
            Self::Dynamic(machine) => machine.count_children(),
        }
    }

    /// Whether a phase is under way, so that commands answer `Busy`. Never for a dynamic one.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        match self {
            Self::Static(machine) => machine.is_busy(),
            Self::Dynamic(_) => false,
        }
    }

    fn is_stopping(&self) -> bool {
        match self {
            Self::Static(machine) => matches!(machine.phase(), supervisor::Phase::Stopping { .. }),
            Self::Dynamic(machine) => !machine.is_running(),
        }
    }

    fn start(&mut self, now: Instant, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.start(now, out.fixed),
            Self::Dynamic(machine) => machine.start(out.dynamic),
        }
    }

    fn handle(&mut self, now: Instant, event: Event, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.handle(now, event, out.fixed),
            Self::Dynamic(machine) => machine.handle(now, event, out.dynamic),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.handle_timeout(now, out.fixed),
            Self::Dynamic(machine) => machine.handle_timeout(now, out.dynamic),
        }
    }

    fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.shutdown(now, deadline, out.fixed),
            Self::Dynamic(machine) => machine.shutdown(now, deadline, out.dynamic),
        }
    }

    fn kill(&mut self, now: Instant, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.kill(now, out.fixed),
            Self::Dynamic(machine) => machine.kill(now, out.dynamic),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Static(machine) => machine.poll_timeout(),
            Self::Dynamic(machine) => machine.poll_timeout(),
        }
    }
}

//! A tree of supervisors: what one machine decides is carried to the machines above and below it.
//!
//! A supervisor under a supervisor is, to its parent, a child like any other: it is started, told
//! to
//! stop, and exits. The tree translates: a `Start` of such a child makes a fresh machine from its
//! plan (so a restarted subtree has its original children, fresh incarnations and an empty window),
//! a `Signal` becomes a shutdown of that machine, and the machine's `Exit` becomes the parent's
//! `Exited`. All this happens within one step, by a work list instead of recursion; only what
//! concerns workers leaves the tree.

mod machine;
mod plan;
mod work;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::machine::Machine;
pub use self::plan::{Body, Plan, PlannedChild};
use crate::dynamic_supervisor::{self, Removal, SpawnError, SpawnerId};
use crate::scratch::Scratch;
use crate::supervisor::{
    self, ConfigError, DeleteChildError, Event, Report, RestartChildError, StartChildError,
    TerminateChildError,
};
use crate::{
    ChildId, Deadlines, ExitReason, Instant, NameId, Pid, ProcessId, Shutdown, Signal, SupervisorId,
};

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
    /// How much of what it wants is still to be carried on; none between calls.
    pending: usize,
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

    /// Adds a child to a static supervisor and starts it; see
    /// [`Supervisor::start_child`](crate::Supervisor::start_child).
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

    /// Spawns a child under a dynamic supervisor; see
    /// [`DynamicSupervisor::spawn`](crate::DynamicSupervisor::spawn).
    ///
    /// # Errors
    /// See [`SpawnError`]; an unknown or static supervisor is `NotRunning`, and so is a body that
    /// is
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

    /// Forgets a spawner that is gone for good, in every dynamic supervisor; see
    /// [`DynamicSupervisor::forget_spawner`](crate::DynamicSupervisor::forget_spawner).
    pub fn forget_spawner(&mut self, spawner: SpawnerId) {
        for slot in self.slots.values_mut() {
            if let Machine::Dynamic(machine) = &mut slot.machine {
                machine.forget_spawner(spawner);
            }
        }
    }

    /// Stops a child; see [`Supervisor::terminate_child`](crate::Supervisor::terminate_child),
    /// [`DynamicSupervisor::terminate_child`](crate::DynamicSupervisor::terminate_child).
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

    /// Starts a child that is down; see
    /// [`Supervisor::restart_child`](crate::Supervisor::restart_child).
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

    /// Forgets a child that is down; see
    /// [`Supervisor::delete_child`](crate::Supervisor::delete_child).
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

    /// The name of a supervisor that runs, by the convention that a child's id is its name's
    /// number;
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

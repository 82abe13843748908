//! A tree of reference supervisors: what one decides is carried to those above and below it.
//!
//! It is told what the kernel's tree is told and says what that should say. The supervisors in it
//! are the slow models of this module and share nothing with the kernel's. What joins them is
//! written anew from rules N1 to N9 of SEMANTICS.md: a started child with a plan is a supervisor, a
//! signal to it is its shutdown, its end is its parent's child's. The order is that of one list of
//! things to do, in which what somebody has just decided comes before what others had.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lictor_kernel::dynamic_supervisor::SpawnerId;
use lictor_kernel::supervisor::{ChildState, Event, Report};
use lictor_kernel::tree::{Action, Body, Plan, PlannedChild, Stage};
use lictor_kernel::{
    ChildId, ChildSpec, ExitReason, Instant, Jitter, Pid, ProcessId, Shutdown, Signal, SupervisorId,
};
use lictor_kernel::{dynamic_supervisor, supervisor};

use super::{Input, Model, dynamic};

/// Calls to one supervisor after which it is followed no longer: its model runs over all of them
/// again for each.
const CALLS_MAX: usize = 400;

/// One call to the kernel's tree.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Start(Arc<Plan>),
    Fact(SupervisorId, Event),
    Timeout,
    Shutdown(Option<Instant>),
    /// A child of a dynamic supervisor.
    Spawn(SupervisorId, PlannedChild),
    Terminate(SupervisorId, ChildId, Option<Shutdown>),
    Restart(SupervisorId, ChildId),
}

/// Who spawns all that a plan spawns.
pub(crate) const PLAN: SpawnerId = SpawnerId(0);

#[derive(Clone, Debug)]
enum Machine {
    Static(Model),
    Dynamic(dynamic::Model),
}

/// What can be seen of a supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Look {
    pub(crate) children: Vec<(ChildId, ChildState)>,
    pub(crate) timeout: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Slot {
    machine: Machine,
    process: Option<ProcessId>,
    bodies: BTreeMap<ChildId, Arc<Plan>>,
    running: BTreeMap<ChildId, SupervisorId>,
    ready: bool,
    stopping: bool,
    look: Look,
}

/// One call to one supervisor, of either kind.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Start,
    Event(Event),
    Timeout,
    Shutdown(Option<Instant>),
    Kill,
    Spawn(ChildId, ChildSpec),
    Terminate(ChildId, Option<Shutdown>),
    Restart(ChildId),
}

impl Asked {
    const fn of_static(self) -> Option<Input> {
        Some(match self {
            Self::Start => Input::Start,
            Self::Event(event) => Input::Event(event),
            Self::Timeout => Input::Timeout,
            Self::Shutdown(by) => Input::Shutdown(by),
            Self::Kill => Input::Kill,
            Self::Terminate(id, _) => Input::TerminateChild(id),
            Self::Restart(id) => Input::RestartChild(id),
            Self::Spawn(..) => return None,
        })
    }

    /// Whether a spawn was accepted.
    fn of_dynamic(self, model: &mut dynamic::Model, now: Instant) -> bool {
        match self {
            Self::Start => model.start(),
            Self::Event(event) => model.handle(now, event),
            Self::Timeout => model.timeout(now),
            Self::Shutdown(by) => model.shutdown(now, by),
            Self::Kill => model.kill(now),
            Self::Spawn(id, spec) => return model.spawn(now, id, spec, Some(PLAN)).is_ok(),
            Self::Terminate(id, how) => {
                model.terminate(now, id, how);
            }
            Self::Restart(_) => {}
        }
        false
    }
}

#[derive(Clone, Copy, Debug)]
enum Todo {
    Start(Pid),
    Signal(Pid, Signal),
    Ready,
    Exit(ExitReason),
    Out(Action),
}

/// The tree. See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    slots: BTreeMap<SupervisorId, Slot>,
    root: Option<SupervisorId>,
    next: u64,
    stop_by: Option<Instant>,
    todo: VecDeque<(SupervisorId, Todo)>,
    actions: Vec<Action>,
    /// Somebody in it was called too often to be followed.
    too_long: bool,
}

/// Whether models foretell all that a plan does: waits that are drawn they do not.
pub(crate) fn foretells(plan: &Plan) -> bool {
    match plan {
        Plan::Dynamic(config) => config.backoff.jitter == Jitter::None,
        Plan::Static { config, children } => {
            let below = children.iter().all(|child| match &child.body {
                Body::Worker => true,
                Body::Supervisor(plan) => foretells(plan),
            });
            config.backoff.jitter == Jitter::None && below
        }
    }
}

impl Tree {
    /// What the kernel's tree should say to this call; `None` once it is followed no longer.
    pub(crate) fn call(&mut self, now: Instant, call: &Call) -> Option<Vec<Action>> {
        match call {
            Call::Start(plan) => {
                self.stop_by = None;
                self.root = Some(self.create(now, plan, None));
            }
            Call::Fact(supervisor, event) => {
                self.fire_before(now);
                self.tell(now, *supervisor, *event);
            }
            Call::Timeout => {
                self.fire_before(now);
                while let Some(id) = self.due(|at| at <= now) {
                    self.fire(now, id);
                }
            }
            Call::Shutdown(by) => self.shutdown(now, *by),
            Call::Spawn(supervisor, child) => {
                self.fire_before(now);
                let spawned = self.step(now, *supervisor, Asked::Spawn(child.id, child.spec));
                if let (Some(true), Body::Supervisor(plan)) = (spawned, &child.body)
                    && let Some(slot) = self.slots.get_mut(supervisor)
                {
                    slot.bodies.insert(child.id, Arc::clone(plan));
                }
            }
            Call::Terminate(supervisor, id, how) => {
                self.fire_before(now);
                self.step(now, *supervisor, Asked::Terminate(*id, *how));
            }
            Call::Restart(supervisor, id) => {
                self.fire_before(now);
                self.step(now, *supervisor, Asked::Restart(*id));
            }
        }
        self.work_off(now);
        let actions = std::mem::take(&mut self.actions);
        (!self.too_long).then_some(actions)
    }

    /// The supervisors that run, and how each looks.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (SupervisorId, &Look)> {
        self.slots.iter().map(|(id, slot)| (*id, &slot.look))
    }

    /// The first supervisor whose deadline is due: the earliest, and of one instant the oldest.
    fn due(&self, is_due: impl Fn(Instant) -> bool) -> Option<SupervisorId> {
        let due = self.slots.iter().filter_map(|(id, slot)| Some((slot.look.timeout?, *id)));
        due.filter(|(at, _)| is_due(*at)).min().map(|(_, id)| id)
    }

    fn fire_before(&mut self, now: Instant) {
        while let Some(id) = self.due(|at| at < now) {
            self.fire(now, id);
        }
    }

    fn fire(&mut self, now: Instant, id: SupervisorId) {
        self.step(now, id, Asked::Timeout);
        self.work_off(now);
    }

    fn shutdown(&mut self, now: Instant, by: Option<Instant>) {
        self.fire_before(now);
        let Some(root) = self.root else { return };
        self.stop_by = match (self.stop_by, by) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let all: Vec<SupervisorId> = self.slots.keys().copied().collect();
        for id in all {
            if id == root || self.slots.get(&id).is_some_and(|slot| slot.stopping) {
                self.step(now, id, Asked::Shutdown(self.stop_by));
                self.work_off(now);
            }
        }
    }

    fn create(
        &mut self,
        now: Instant,
        plan: &Arc<Plan>,
        process: Option<ProcessId>,
    ) -> SupervisorId {
        let id = SupervisorId(self.next);
        self.next += 1;
        let (machine, bodies) = match &**plan {
            Plan::Static { config, children } => {
                let specs = children.iter().map(|child| (child.id, child.spec)).collect();
                let bodies = children.iter().filter_map(|child| match &child.body {
                    Body::Supervisor(plan) => Some((child.id, Arc::clone(plan))),
                    Body::Worker => None,
                });
                (Machine::Static(Model::new(config.clone(), specs)), bodies.collect())
            }
            Plan::Dynamic(config) => {
                (Machine::Dynamic(dynamic::Model::new(config.clone())), BTreeMap::new())
            }
        };
        let (running, look) = (BTreeMap::new(), Look::default());
        let (ready, stopping) = (false, false);
        self.slots.insert(id, Slot { machine, process, bodies, running, ready, stopping, look });
        self.actions.push(Action::Supervisor {
            supervisor: id,
            process,
            stage: Stage::Initializing,
        });
        self.step(now, id, Asked::Start);
        id
    }

    /// Lets one supervisor decide, if it runs; whether a spawn was accepted. What it wants comes
    /// before what others want, and after what it wanted itself.
    fn step(&mut self, now: Instant, id: SupervisorId, input: Asked) -> Option<bool> {
        let slot = self.slots.get_mut(&id)?;
        let mut accepted = false;
        let made = match &mut slot.machine {
            Machine::Static(model) => {
                let Some(input) = input.of_static() else { return Some(false) };
                let made = static_todo(model, id, now, input);
                self.too_long |= model.log().len() > CALLS_MAX;
                made
            }
            Machine::Dynamic(model) => {
                accepted = input.of_dynamic(model, now);
                dynamic_todo(model, id)
            }
        };
        (slot.look, slot.stopping) = (made.look, made.stopping);
        let own = self.todo.iter().rposition(|(whose, _)| *whose == id);
        for (at, todo) in (own.map_or(0, |at| at + 1)..).zip(made.todo) {
            self.todo.insert(at, (id, todo));
        }
        Some(accepted)
    }

    fn tell(&mut self, now: Instant, id: SupervisorId, event: Event) {
        if self.step(now, id, Asked::Event(event)).is_none() {
            let (Event::Started { pid }
            | Event::StartIgnored { pid }
            | Event::StartFailed { pid }
            | Event::Exited { pid, .. }) = event;
            let report = Report::StaleEvent { pid };
            self.actions.push(Action::Report { supervisor: id, report });
        }
    }

    fn work_off(&mut self, now: Instant) {
        while let Some((id, todo)) = self.todo.pop_front() {
            match todo {
                Todo::Out(action) => {
                    if let (Action::Removed { child, .. }, Some(slot)) =
                        (action, self.slots.get_mut(&id))
                    {
                        slot.bodies.remove(&child);
                    }
                    self.actions.push(action);
                }
                Todo::Start(pid) => self.start(now, ProcessId { supervisor: id, pid }),
                Todo::Signal(pid, signal) => {
                    self.signal(now, ProcessId { supervisor: id, pid }, signal);
                }
                Todo::Ready => self.ready(now, id),
                Todo::Exit(reason) => self.exit(now, id, reason),
            }
        }
    }

    fn start(&mut self, now: Instant, process: ProcessId) {
        let child = process.pid.child;
        let parent = self.slots.get(&process.supervisor);
        match parent.and_then(|slot| slot.bodies.get(&child)).cloned() {
            None => self.actions.push(Action::Start { process }),
            Some(plan) => {
                let id = self.create(now, &plan, Some(process));
                if let Some(slot) = self.slots.get_mut(&process.supervisor) {
                    slot.running.insert(child, id);
                }
            }
        }
    }

    fn signal(&mut self, now: Instant, process: ProcessId, signal: Signal) {
        let Some(parent) = self.slots.get(&process.supervisor) else { return };
        let below = parent.running.get(&process.pid.child).copied();
        let is_it = |id: &SupervisorId| {
            self.slots.get(id).is_some_and(|slot| slot.process == Some(process))
        };
        match below.filter(is_it) {
            Some(id) if signal == Signal::Kill => {
                self.step(now, id, Asked::Kill);
            }
            Some(id) => {
                self.step(now, id, Asked::Shutdown(self.stop_by));
            }
            None if parent.has_worker(process.pid) => {
                self.actions.push(Action::Signal { process, signal });
            }
            // A supervisor that has gone in this very step.
            None => {}
        }
    }

    fn ready(&mut self, now: Instant, id: SupervisorId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.ready = true;
        let process = slot.process;
        self.actions.push(Action::Supervisor { supervisor: id, process, stage: Stage::Ready });
        if let Some(ProcessId { supervisor, pid }) = process {
            self.tell(now, supervisor, Event::Started { pid });
        }
    }

    fn exit(&mut self, now: Instant, id: SupervisorId, reason: ExitReason) {
        let Some(Slot { process, ready, .. }) = self.slots.remove(&id) else { return };
        let stage = Stage::Exited(reason);
        self.actions.push(Action::Supervisor { supervisor: id, process, stage });
        let Some(ProcessId { supervisor, pid }) = process else {
            self.root = None;
            return;
        };
        if let Some(parent) = self.slots.get_mut(&supervisor) {
            parent.running.remove(&pid.child);
        }
        let event = match ready {
            true => Event::Exited { pid, reason },
            false => Event::StartFailed { pid },
        };
        self.tell(now, supervisor, event);
    }
}

impl Slot {
    fn has_worker(&self, pid: Pid) -> bool {
        let alive = |(_, state): &(ChildId, ChildState)| {
            matches!(state, ChildState::Starting(now) | ChildState::Up(now)
                | ChildState::Stopping(now) if *now == pid)
        };
        self.look.children.iter().any(alive) && !self.bodies.contains_key(&pid.child)
    }
}

/// What came of a call to a model: what it wants, and how it looks then.
struct Made {
    todo: Vec<Todo>,
    look: Look,
    stopping: bool,
}

fn static_todo(model: &mut Model, id: SupervisorId, now: Instant, input: Input) -> Made {
    use supervisor::Action as A;
    let step = model.step(now, input);
    let todo = step.actions.into_iter().map(|action| match action {
        A::Start { pid } => Todo::Start(pid),
        A::Signal { pid, signal } => Todo::Signal(pid, signal),
        A::Ready => Todo::Ready,
        A::Exit { reason } => Todo::Exit(reason),
        A::Report(report) => Todo::Out(Action::Report { supervisor: id, report }),
        A::Removed { child } => {
            Todo::Out(Action::Removed { supervisor: id, child, spawner: None, why: None })
        }
    });
    let look = Look { children: step.children, timeout: step.timeout };
    Made { todo: todo.collect(), look, stopping: step.stopping }
}

fn dynamic_todo(model: &mut dynamic::Model, id: SupervisorId) -> Made {
    use dynamic_supervisor::Action as A;
    let actions = std::mem::take(&mut model.actions);
    let todo = actions.into_iter().map(|action| match action {
        A::Start { pid } => Todo::Start(pid),
        A::Signal { pid, signal } => Todo::Signal(pid, signal),
        A::Ready => Todo::Ready,
        A::Exit { reason } => Todo::Exit(reason),
        A::Report(report) => Todo::Out(Action::Report { supervisor: id, report }),
        A::Removed { child, spawner, why } => {
            Todo::Out(Action::Removed { supervisor: id, child, spawner, why: Some(why) })
        }
    });
    let look = Look { children: model.children(), timeout: model.poll_timeout() };
    Made { todo: todo.collect(), look, stopping: !model.phase().0 }
}

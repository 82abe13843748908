//! The machines that can be explored: one static supervisor, one dynamic one, a whole node.

use core::hash::{Hash, Hasher};
use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_kernel::dynamic_supervisor::SpawnError;
use lictor_kernel::node::{self, Node};
use lictor_kernel::supervisor::{self, ChildState, Phase};
use lictor_kernel::tree::{Action, Body, Machine, Plan, PlannedChild, Stage};
use lictor_kernel::{
    ChildId, ChildKind, ChildSpec, DynamicSupervisor, ExitReason, Instant, NameId, Owner, Pid,
    ProcessId, Supervisor, SupervisorId, dynamic_supervisor,
};

use super::{Call, Command, Fault, Planned, Seen, Standing, Subject, World};
use crate::model::{self, Input, Model, Reply, drive};

/// The only supervisor there is.
const ALONE: SupervisorId = SupervisorId(0);

/// A static supervisor, and the model beside it.
#[derive(Clone, Debug)]
pub struct Static {
    kernel: Supervisor,
    model: Option<Model>,
    specs: Arc<[(ChildId, ChildSpec)]>,
    begun: bool,
}

impl Hash for Static {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kernel.hash(state);
    }
}

impl Static {
    /// A machine, in lock-step with its model.
    ///
    /// # Errors
    /// [`supervisor::ConfigError`], as the machine says.
    pub fn new(
        config: &supervisor::Config,
        specs: &[(ChildId, ChildSpec)],
    ) -> Result<Self, supervisor::ConfigError> {
        let kernel = Supervisor::new(config.clone(), specs)?;
        let model = Some(Model::new(config.clone(), specs.to_vec()));
        Ok(Self { kernel, model, specs: specs.into(), begun: false })
    }

    /// The same without a model: for waits that are drawn, which no model foretells.
    #[must_use]
    pub fn without_model(self) -> Self {
        Self { model: None, ..self }
    }

    /// The machine.
    #[must_use]
    pub const fn kernel(&self) -> &Supervisor {
        &self.kernel
    }
}

const fn input(call: Call) -> Option<Input> {
    Some(match call {
        Call::Start => Input::Start,
        Call::Fact(_, event) => Input::Event(event),
        Call::Timeout => Input::Timeout,
        Call::Shutdown(by) => Input::Shutdown(by),
        Call::Kill => Input::Kill,
        Call::Command(_, Command::Add { id, spec, .. }) => Input::StartChild(id, spec),
        Call::Command(_, Command::Terminate { id, .. }) => Input::TerminateChild(id),
        Call::Command(_, Command::Restart(id)) => Input::RestartChild(id),
        Call::Command(_, Command::Delete(id)) => Input::DeleteChild(id),
        Call::Command(_, Command::Forget(_)) => return None,
    })
}

impl Subject for Static {
    fn call(&mut self, now: Instant, call: Call) -> Result<Seen, Fault> {
        let Some(input) = input(call) else {
            let timeout = self.kernel.poll_timeout();
            return Ok(Seen { actions: vec![], timeout, accepted: false, added: None });
        };
        let step = drive(&mut self.kernel, now, input);
        if let Some(model) = &mut self.model {
            let expected = model.step(now, input);
            if step != expected {
                let (kernel, model) = (format!("{step:?}"), format!("{expected:?}"));
                return Err(Fault::Differs { kernel, model });
            }
        }
        let mut actions = Vec::new();
        let begins = matches!(self.kernel.phase(), Phase::New);
        if !begins && !core::mem::replace(&mut self.begun, true) {
            actions.push(initializing());
        }
        actions.extend(step.actions.iter().map(|action| of_static(*action)));
        let added = match &step.reply {
            Some(Reply::StartChild(Ok(pid))) => Some(pid.child),
            Some(_) | None => None,
        };
        let accepted = match &step.reply {
            Some(Reply::StartChild(reply)) => reply.is_ok(),
            Some(Reply::TerminateChild(reply)) => reply.is_ok(),
            Some(Reply::RestartChild(reply)) => reply.is_ok(),
            Some(Reply::DeleteChild(reply)) => reply.is_ok(),
            None => false,
        };
        Ok(Seen { actions, timeout: step.timeout, accepted, added })
    }

    fn planned(&self, _process: Option<ProcessId>) -> Option<Planned> {
        Some(planned_static(self.kernel.config(), self.specs.to_vec()))
    }

    fn standing(&self, _supervisor: SupervisorId) -> Standing {
        standing_static(&self.kernel)
    }
}

/// A dynamic supervisor, and the model beside it.
#[derive(Clone, Debug)]
pub struct Dynamic {
    kernel: DynamicSupervisor,
    model: Option<model::dynamic::Model>,
    begun: bool,
    killed: bool,
}

impl Hash for Dynamic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kernel.hash(state);
    }
}

impl Dynamic {
    /// A machine, in lock-step with its model.
    ///
    /// # Errors
    /// [`supervisor::ConfigError`], as the machine says.
    pub fn new(config: &dynamic_supervisor::Config) -> Result<Self, supervisor::ConfigError> {
        let kernel = DynamicSupervisor::new(config.clone())?;
        let model = Some(model::dynamic::Model::new(config.clone()));
        Ok(Self { kernel, model, begun: false, killed: false })
    }

    /// The same without a model: for waits that are drawn, which no model foretells.
    #[must_use]
    pub fn without_model(self) -> Self {
        Self { model: None, ..self }
    }

    /// The machine.
    #[must_use]
    pub const fn kernel(&self) -> &DynamicSupervisor {
        &self.kernel
    }

    fn look(&self) -> Look {
        let phase = (self.kernel.is_running(), self.kernel.is_stopped());
        let children = self.kernel.which_children().collect();
        (children, self.kernel.poll_timeout(), phase, self.kernel.spawners())
    }
}

/// All that can be seen from outside.
type Look = (Vec<(ChildId, ChildState)>, Option<Instant>, (bool, bool), usize);

/// What a command answered.
#[derive(PartialEq, Eq, Debug)]
enum Answered {
    Nothing,
    Spawn(Result<Pid, SpawnError>),
    Terminate(bool),
}

type Out<'a> = &'a mut Vec<dynamic_supervisor::Action>;

/// Makes the call to the machine.
fn on_dynamic(kernel: &mut DynamicSupervisor, now: Instant, call: Call, out: Out<'_>) -> Answered {
    match call {
        Call::Start => kernel.start(out),
        Call::Fact(_, event) => kernel.handle(now, event, out),
        Call::Timeout => kernel.handle_timeout(now, out),
        Call::Shutdown(by) => kernel.shutdown(now, by, out),
        Call::Kill => kernel.kill(now, out),
        Call::Command(_, Command::Add { id, spec, spawner }) => {
            return Answered::Spawn(kernel.spawn(now, id, spec, spawner, out));
        }
        Call::Command(_, Command::Terminate { id, how }) => {
            return Answered::Terminate(kernel.terminate_child(now, id, how, out));
        }
        Call::Command(_, Command::Forget(spawner)) => kernel.forget_spawner(spawner),
        Call::Command(_, Command::Restart(_) | Command::Delete(_)) => {}
    }
    Answered::Nothing
}

/// The same to the model.
fn on_model(model: &mut model::dynamic::Model, now: Instant, call: Call) -> Answered {
    match call {
        Call::Start => model.start(),
        Call::Fact(_, event) => model.handle(now, event),
        Call::Timeout => model.timeout(now),
        Call::Shutdown(by) => model.shutdown(now, by),
        Call::Kill => model.kill(now),
        Call::Command(_, Command::Add { id, spec, spawner }) => {
            return Answered::Spawn(model.spawn(now, id, spec, spawner));
        }
        Call::Command(_, Command::Terminate { id, how }) => {
            return Answered::Terminate(model.terminate(now, id, how));
        }
        Call::Command(_, Command::Forget(spawner)) => model.forget(spawner),
        Call::Command(_, Command::Restart(_) | Command::Delete(_)) => {}
    }
    Answered::Nothing
}

impl Subject for Dynamic {
    fn call(&mut self, now: Instant, call: Call) -> Result<Seen, Fault> {
        let mut out = Vec::new();
        let reply = on_dynamic(&mut self.kernel, now, call, &mut out);
        let accepted = matches!(reply, Answered::Spawn(Ok(_)) | Answered::Terminate(true));
        self.killed |= call == Call::Kill;
        let kernel = (reply, &out, self.look());
        if let Some(model) = &mut self.model {
            let reply = on_model(model, now, call);
            let actions = core::mem::take(&mut model.actions);
            let look = (model.children(), model.poll_timeout(), model.phase(), model.spawners());
            let model = (reply, &actions, look);
            if kernel != model {
                let (kernel, model) = (format!("{kernel:?}"), format!("{model:?}"));
                return Err(Fault::Differs { kernel, model });
            }
        }
        let mut actions = Vec::new();
        let begins = !self.kernel.is_running() && out.is_empty();
        if !begins && !core::mem::replace(&mut self.begun, true) {
            actions.push(initializing());
        }
        actions.extend(out.iter().map(|action| of_dynamic(*action)));
        let added = match call {
            Call::Command(_, Command::Add { id, .. }) if accepted => Some(id),
            Call::Start | Call::Fact(..) | Call::Timeout | Call::Shutdown(_) => None,
            Call::Kill | Call::Command(..) => None,
        };
        Ok(Seen { actions, timeout: self.kernel.poll_timeout(), accepted, added })
    }

    fn planned(&self, _process: Option<ProcessId>) -> Option<Planned> {
        Some(planned_dynamic(self.kernel.config()))
    }

    fn standing(&self, _supervisor: SupervisorId) -> Standing {
        let standing = standing_dynamic(&self.kernel);
        let asks = standing == Standing::Killing && !self.killed;
        if asks { Standing::Stopping } else { standing }
    }
}

/// A whole node: a tree of supervisors, and the names of all that is in it.
#[derive(Clone, Debug)]
pub struct Whole {
    node: Node,
    shape: Arc<Shape>,
}

/// What does not change.
#[derive(Debug)]
struct Shape {
    plan: Arc<Plan>,
    /// What was planned for each supervisor below the root.
    below: BTreeMap<ChildId, Planned>,
    names: Vec<NameId>,
}

impl Hash for Whole {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
    }
}

impl Whole {
    /// A node that has not started; every name of the plan must be declared in it.
    #[must_use]
    pub fn new(node: Node, plan: Arc<Plan>) -> Self {
        let (mut below, mut names) = (BTreeMap::new(), Vec::new());
        let mut rest = vec![Arc::clone(&plan)];
        while let Some(plan) = rest.pop() {
            let Plan::Static { children, .. } = &*plan else { continue };
            for child in children {
                names.push(NameId(child.id.0));
                if let Body::Supervisor(plan) = &child.body {
                    below.insert(child.id, planned(plan));
                    rest.push(Arc::clone(plan));
                }
            }
        }
        Self { node, shape: Arc::new(Shape { plan, below, names }) }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// A child by command: its name is made of its supervisor's and the number that was asked for.
    fn add(
        &mut self,
        now: Instant,
        at: SupervisorId,
        (number, spec): (ChildId, ChildSpec),
        out: &mut Vec<node::Action>,
    ) -> Option<ChildId> {
        let parent = self.node.tree().name_of(at);
        let parent = parent.and_then(|name| self.node.names().resolve(name)).unwrap_or("root");
        let name = format!("{parent}.added{}", number.0);
        let name = self.node.declare(&name, ChildKind::Worker, &[], out).ok()?;
        let child = PlannedChild { id: ChildId(name.0), spec, body: Body::Worker };
        let added = match self.node.tree().supervisor(at) {
            Some(Machine::Static(_)) => self.node.start_child(now, at, child, out).is_ok(),
            Some(Machine::Dynamic(_)) => self.node.spawn(now, at, child, None, out).is_ok(),
            None => false,
        };
        if !added {
            self.node.retract(name, out);
        }
        added.then_some(ChildId(name.0))
    }

    fn command(
        &mut self,
        now: Instant,
        at: SupervisorId,
        command: Command,
        out: &mut Vec<node::Action>,
    ) -> (bool, Option<ChildId>) {
        match command {
            Command::Add { id, spec, .. } => {
                let added = self.add(now, at, (id, spec), out);
                (added.is_some(), added)
            }
            Command::Terminate { id, how } => {
                (self.node.terminate_child(now, at, id, how, out).is_ok(), None)
            }
            Command::Restart(id) => (self.node.restart_child(now, at, id, out).is_ok(), None),
            Command::Delete(id) => (self.node.delete_child(now, at, id, out).is_ok(), None),
            Command::Forget(spawner) => {
                self.node.forget_spawner(spawner);
                (true, None)
            }
        }
    }
}

impl Subject for Whole {
    fn call(&mut self, now: Instant, call: Call) -> Result<Seen, Fault> {
        let mut out = Vec::new();
        let (mut accepted, mut added) = (false, None);
        match call {
            Call::Start => {
                if self.node.tree().is_empty()
                    && let Err(error) = self.node.start(now, &self.shape.plan, &mut out)
                {
                    return Err(Fault::Broken { rule: "S4", what: error.to_string() });
                }
            }
            Call::Fact(supervisor, event) => {
                self.node.handle(now, node::Event::Supervision(supervisor, event), &mut out);
            }
            Call::Timeout => self.node.handle_timeout(now, &mut out),
            Call::Shutdown(by) => self.node.shutdown(now, by, &mut out),
            Call::Kill => {}
            Call::Command(at, command) => {
                (accepted, added) = self.command(now, at, command, &mut out);
            }
        }
        let of_tree = |action: &node::Action| match action {
            node::Action::Supervision(action) => Some(*action),
            node::Action::Status { .. } | node::Action::CallEnded(_) => None,
            node::Action::Send(..) | node::Action::Peer(..) | node::Action::Watch(_) => None,
            node::Action::Remote(..)
            | node::Action::Placed { .. }
            | node::Action::Hosted { .. }
            | node::Action::Diverted(_)
            | node::Action::Leased { .. } => None,
        };
        let actions = out.iter().filter_map(of_tree).collect();
        Ok(Seen { actions, timeout: self.node.poll_timeout(), accepted, added })
    }

    fn planned(&self, process: Option<ProcessId>) -> Option<Planned> {
        match process {
            None => Some(planned(&self.shape.plan)),
            Some(process) => self.shape.below.get(&process.pid.child).cloned(),
        }
    }

    fn standing(&self, supervisor: SupervisorId) -> Standing {
        match self.node.tree().supervisor(supervisor) {
            None => Standing::Gone,
            Some(Machine::Static(machine)) => standing_static(machine),
            Some(Machine::Dynamic(machine)) => standing_dynamic(machine),
        }
    }

    fn label(&self, child: ChildId) -> String {
        let name = self.node.names().resolve(NameId(child.0));
        name.map_or_else(|| format!("child{}", child.0), ToOwned::to_owned)
    }

    fn names(&self, world: &World) -> Result<(), Fault> {
        let broken = |what: String| Err(Fault::Broken { rule: "S9", what });
        let owner = |name: NameId| {
            self.node.registry().lookup(name).and_then(|entry| match entry.owner {
                Owner::Local(process) => process,
                Owner::Remote { .. } => None,
            })
        };
        for live in &world.live {
            let name = NameId(live.process.pid.child.0);
            if owner(name) != Some(live.process) {
                return broken(format!(
                    "{:?} has lost its name to {:?}",
                    live.process,
                    owner(name)
                ));
            }
        }
        for name in &self.shape.names {
            if let Some(process) = owner(*name)
                && world.find(process).is_none()
            {
                return broken(format!("{process:?} is gone and has its name"));
            }
        }
        for child in &world.removed {
            let again = world.live.iter().any(|live| live.process.pid.child == *child);
            if !again && self.node.registry().contains(NameId(child.0)) {
                return broken(format!("{child:?} is forgotten and its name is not free"));
            }
        }
        Ok(())
    }
}

fn planned(plan: &Plan) -> Planned {
    match plan {
        Plan::Static { config, children } => {
            let children = children.iter().map(|child| (child.id, child.spec)).collect();
            planned_static(config, children)
        }
        Plan::Dynamic(config) => planned_dynamic(config),
    }
}

const fn planned_static(
    config: &supervisor::Config,
    children: Vec<(ChildId, ChildSpec)>,
) -> Planned {
    let (strategy, intensity, backoff) = (Some(config.strategy), config.intensity, config.backoff);
    Planned { strategy, intensity, shared: true, backoff, children }
}

fn planned_dynamic(config: &dynamic_supervisor::Config) -> Planned {
    let shared = config.budget == dynamic_supervisor::Budget::Shared;
    let (intensity, backoff) = (config.intensity, config.backoff);
    Planned { strategy: None, intensity, shared, backoff, children: Vec::new() }
}

fn standing_static(machine: &Supervisor) -> Standing {
    match machine.phase() {
        Phase::Running => Standing::Settled,
        Phase::Starting | Phase::Restarting | Phase::Command { .. } => Standing::Busy,
        Phase::Stopping { reason: ExitReason::Killed } => Standing::Killing,
        Phase::Stopping { .. } => Standing::Stopping,
        Phase::New | Phase::Stopped { .. } => Standing::Gone,
    }
}

/// One that stops does not say whether it kills.
fn standing_dynamic(machine: &DynamicSupervisor) -> Standing {
    if machine.is_running() {
        Standing::Settled
    } else if machine.is_stopped() {
        Standing::Gone
    } else {
        Standing::Killing
    }
}

const fn initializing() -> Action {
    Action::Supervisor { supervisor: ALONE, process: None, stage: Stage::Initializing }
}

const fn of_static(action: supervisor::Action) -> Action {
    use supervisor::Action as A;
    match action {
        A::Start { pid } => Action::Start { process: ProcessId { supervisor: ALONE, pid } },
        A::Signal { pid, signal } => {
            Action::Signal { process: ProcessId { supervisor: ALONE, pid }, signal }
        }
        A::Ready => Action::Supervisor { supervisor: ALONE, process: None, stage: Stage::Ready },
        A::Exit { reason } => {
            let stage = Stage::Exited(reason);
            Action::Supervisor { supervisor: ALONE, process: None, stage }
        }
        A::Report(report) => Action::Report { supervisor: ALONE, report },
        A::Removed { child } => {
            Action::Removed { supervisor: ALONE, child, spawner: None, why: None }
        }
    }
}

const fn of_dynamic(action: dynamic_supervisor::Action) -> Action {
    use dynamic_supervisor::Action as A;
    match action {
        A::Start { pid } => Action::Start { process: ProcessId { supervisor: ALONE, pid } },
        A::Signal { pid, signal } => {
            Action::Signal { process: ProcessId { supervisor: ALONE, pid }, signal }
        }
        A::Ready => Action::Supervisor { supervisor: ALONE, process: None, stage: Stage::Ready },
        A::Exit { reason } => {
            let stage = Stage::Exited(reason);
            Action::Supervisor { supervisor: ALONE, process: None, stage }
        }
        A::Report(report) => Action::Report { supervisor: ALONE, report },
        A::Removed { child, spawner, why } => {
            Action::Removed { supervisor: ALONE, child, spawner, why: Some(why) }
        }
    }
}

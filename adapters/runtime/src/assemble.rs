//! From specifications to a world that can be started: everything is checked before anything runs.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use lictor_kernel::node::DeclareNameError;
use lictor_kernel::remote::PlaceError;
use lictor_kernel::tree::{Body, Plan, PlannedChild};
use lictor_kernel::{ChildId, ChildKind, ChildSpec, DeclareError, NameId, Names, NodeId, Table};

use crate::directory::NameHasher;
use crate::driver::{Elsewhere, Place, Role, World};
use crate::error::StartError;
use crate::runtime::Shared;
use crate::spec::{AgentSpec, Child, DynamicSupervisor, Supervisor};

impl World {
    /// Declares every name of the tree, makes every cell, and returns the kernel's plan. On an
    /// error the world is left for [`World::tear_down`]. The specifications are only borrowed: what
    /// the user's factories hold must not be dropped under the lock of the world.
    pub(crate) fn assemble(
        &mut self,
        shared: &Arc<Shared>,
        root: &mut Supervisor,
    ) -> Result<Arc<Plan>, StartError> {
        check_names(root)?;
        self.now = shared.executor.now();
        let (plan, id) = self.add_supervisor(shared, root, None)?;
        self.root = Some(id);
        let plan = Arc::new(plan);
        plan.check().map_err(|error| StartError::BadSupervisor {
            name: self.places.get(id).map(|place| place.name().to_string()).unwrap_or_default(),
            detail: error.to_string(),
        })?;
        Ok(plan)
    }

    /// A supervisor and everything below it. The depth of the recursion is that of the tree, which
    /// [`check_names`] has bounded.
    fn add_supervisor(
        &mut self,
        shared: &Arc<Shared>,
        supervisor: &mut Supervisor,
        parent: Option<ChildId>,
    ) -> Result<(Plan, ChildId), StartError> {
        let Supervisor { name, config, children, .. } = supervisor;
        let id = self.declare(name, ChildKind::Supervisor, &[])?;
        let strategy = config.strategy;
        // It has its place before anything below it can fail: only what has one is given back.
        let spelled = self.spelled_once(id, name);
        self.place(id, parent, Role::supervisor(spelled, strategy));
        let mut planned = Vec::with_capacity(children.len());
        for child in children {
            planned.push(self.add_child(shared, child, id)?);
        }
        let plan = Plan::Static { config: config.clone(), children: planned };
        check_one(name, &plan, &self.places)?;
        let Plan::Static { children: planned, .. } = &plan else { unreachable!("made above") };
        let ids = planned.iter().map(|child| child.id).collect();
        if let Some(Place { role: Role::Supervisor(fixed), .. }) = self.places.get_mut(id) {
            fixed.children = ids;
        }
        Ok((plan, id))
    }

    fn add_child(
        &mut self,
        shared: &Arc<Shared>,
        child: &mut Child,
        parent: ChildId,
    ) -> Result<PlannedChild, StartError> {
        match child {
            Child::Agent(agent) => {
                let spec = agent.child;
                let id = self.add_agent(shared, agent, parent)?;
                Ok(PlannedChild { id, spec, body: Body::Worker })
            }
            Child::Supervisor(supervisor) => {
                let spec = supervisor.child;
                let (plan, id) = self.add_supervisor(shared, supervisor, Some(parent))?;
                Ok(PlannedChild { id, spec, body: Body::Supervisor(Arc::new(plan)) })
            }
            Child::Dynamic(supervisor) => self.add_dynamic(supervisor, parent),
        }
    }

    fn add_dynamic(
        &mut self,
        supervisor: &DynamicSupervisor,
        parent: ChildId,
    ) -> Result<PlannedChild, StartError> {
        let DynamicSupervisor { name, config, child: spec, template } = supervisor;
        let id = self.declare(name, ChildKind::Supervisor, &[])?;
        let plan = Plan::Dynamic(config.clone());
        let spelled = self.spelled_once(id, name);
        self.place(id, Some(parent), Role::dynamic(spelled, *template));
        check_one(name, &plan, &self.places)?;
        Ok(PlannedChild { id, spec: *spec, body: Body::Supervisor(Arc::new(plan)) })
    }

    /// Declares an agent, makes its cell, and enters it into the directory.
    pub(crate) fn add_agent(
        &mut self,
        shared: &Arc<Shared>,
        agent: &mut AgentSpec,
        parent: ChildId,
    ) -> Result<ChildId, StartError> {
        let own = shared.config.membership.node;
        if let Some((node, called)) = agent.on.clone().filter(|(node, _)| *node != own) {
            return self.add_placed(shared, &agent.name, parent, node, called);
        }
        let Some(build) = agent.build.take() else {
            let detail = "it runs in another process, and this one is meant".to_owned();
            return Err(StartError::BadName { name: agent.name.clone(), detail });
        };
        let tags: Vec<&str> = agent.capabilities.iter().map(String::as_str).collect();
        let id = match self.declare(&agent.name, ChildKind::Worker, &tags) {
            Ok(id) => id,
            Err(error) => {
                // What it holds is the user's.
                agent.build = Some(build);
                return Err(error);
            }
        };
        let name = self.spelled_once(id, &agent.name);
        let launch = build(agent, Arc::clone(&name), Arc::clone(shared));
        let cell = launch.cell();
        // The registry has just accepted the name, and the directory follows the registry.
        let _ = self.directory.insert(name, cell);
        self.place(id, Some(parent), Role::Agent(launch));
        Ok(id)
    }

    /// An agent that runs on another node.
    fn add_placed(
        &mut self,
        shared: &Shared,
        name: &str,
        parent: ChildId,
        node: NodeId,
        called: Arc<str>,
    ) -> Result<ChildId, StartError> {
        if shared.peers.is_none() {
            let detail = format!("it is placed on {called:?}, and there is no transport");
            return Err(StartError::BadName { name: name.to_owned(), detail });
        }
        let id = self.node.place(name, node).map_err(|error| named(name, error))?;
        if let Some(recorder) = &self.recorder {
            recorder.name(id, name);
        }
        let id = ChildId(id.0);
        let name = self.spelled_once(id, name);
        let elsewhere = Elsewhere { name, node: called, starts: 0, waits: None };
        self.place(id, Some(parent), Role::Placed(Box::new(elsewhere)));
        Ok(id)
    }

    /// An agent that may run here for other nodes.
    pub(crate) fn add_offer(
        &mut self,
        shared: &Arc<Shared>,
        agent: &mut AgentSpec,
    ) -> Result<(), StartError> {
        let name = agent.name.clone();
        let Some(build) = agent.build.take() else {
            let detail = "only its name is known: there is nothing to run".to_owned();
            return Err(StartError::BadName { name, detail });
        };
        let tags: Vec<&str> = agent.capabilities.iter().map(String::as_str).collect();
        let offered = self.node.offer(&name, &tags).map_err(|error| named(&name, error));
        match offered {
            Ok(id) => {
                if let Some(recorder) = &self.recorder {
                    recorder.name(id, &name);
                }
                let spelled = self.spelled_once(ChildId(id.0), &name);
                let launch = build(agent, spelled, Arc::clone(shared));
                self.hosting.offers.insert(ChildId(id.0), launch);
                Ok(())
            }
            Err(error) => {
                agent.build = Some(build);
                Err(error)
            }
        }
    }

    /// The name as the kernel has it, so that there is one copy of it.
    fn spelled_once(&self, id: ChildId, name: &str) -> Arc<str> {
        self.node.names().shared(NameId(id.0)).unwrap_or_else(|| Arc::from(name))
    }

    fn place(&mut self, id: ChildId, parent: Option<ChildId>, role: Role) {
        self.places.insert(id, Place { parent, role });
    }

    fn declare(
        &mut self,
        name: &str,
        kind: ChildKind,
        capabilities: &[&str],
    ) -> Result<ChildId, StartError> {
        let declared = self.node.declare(name, kind, capabilities, &mut self.actions);
        self.tell_peers();
        if let (Ok(id), Some(recorder)) = (&declared, &self.recorder) {
            recorder.name(*id, name);
        }
        declared.map(|name| ChildId(name.0)).map_err(|error| named(name, error))
    }
}

fn named(name: &str, error: DeclareNameError) -> StartError {
    let name = name.to_owned();
    if error == DeclareNameError::Registry(DeclareError::Taken)
        || error == DeclareNameError::Place(PlaceError::Taken)
    {
        return StartError::DuplicateName { name };
    }
    StartError::BadName { name, detail: error.to_string() }
}

/// Deeper trees are refused: every level costs a step of recursion when the tree is assembled.
const DEPTH_MAX: usize = 256;

/// Checks all names before the first is declared: the grammar, and that each is used once.
fn check_names(root: &Supervisor) -> Result<(), StartError> {
    let mut seen = Seen::default();
    let mut rest = vec![(root, 1)];
    while let Some((supervisor, depth)) = rest.pop() {
        check_name(&mut seen, &supervisor.name)?;
        if depth > DEPTH_MAX {
            let detail = format!("more than {DEPTH_MAX} supervisors on top of each other");
            return Err(StartError::BadSupervisor { name: supervisor.name.clone(), detail });
        }
        for child in &supervisor.children {
            match child {
                Child::Agent(agent) => check_name(&mut seen, &agent.name)?,
                Child::Dynamic(dynamic) => check_name(&mut seen, &dynamic.name)?,
                Child::Supervisor(below) => rest.push((below, depth + 1)),
            }
        }
    }
    Ok(())
}

/// Only asked whether a name is in it.
type Seen<'a> = HashSet<&'a str, BuildHasherDefault<NameHasher>>;

fn check_name<'a>(seen: &mut Seen<'a>, name: &'a str) -> Result<(), StartError> {
    Names::check(name).map_err(|error| StartError::BadName {
        name: name.to_owned(),
        detail: error.to_string(),
    })?;
    if seen.insert(name) {
        return Ok(());
    }
    Err(StartError::DuplicateName { name: name.to_owned() })
}

/// Checks one supervisor, so that an error can name it and its child.
fn check_one(name: &str, plan: &Plan, places: &Table<ChildId, Place>) -> Result<(), StartError> {
    use lictor_kernel::supervisor::ConfigError;
    // Only the supervisor itself: what is below has been checked, and is not looked at again.
    plan.check_alone().map_err(|error| {
        let mut detail = error.to_string();
        if let ConfigError::BadCombination(id) = error {
            let child = places.get(id).map_or("?", |place| &**place.name());
            detail = format!(
                "child {child:?} is significant, so it must not be permanent and the \
                 supervisor's auto_shutdown must not be never"
            );
        }
        StartError::BadSupervisor { name: name.to_owned(), detail }
    })
}

/// What a spawned child is supervised by: its dynamic supervisor's template.
pub(crate) const fn spawned(template: ChildSpec, id: ChildId) -> PlannedChild {
    PlannedChild { id, spec: template, body: Body::Worker }
}

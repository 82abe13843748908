//! Every interleaving of a topology's own tree, at small depth.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_kernel::dynamic_supervisor::{self, Budget};
use lictor_kernel::node::{self, DeclareNameError, Node};
use lictor_kernel::supervisor::{self, ConfigError};
use lictor_kernel::tree::{Body, Plan, PlannedChild};
use lictor_kernel::{ChildId, ChildKind, ChildSpec, Instant, Restart, SupervisorId};
use lictor_topology::{
    Budget as FileBudget, Child, DynamicSupervisorNode, SupervisorNode, Topology,
};

use super::{Limits, Moves, Outcome, Progress, explore};
use crate::operation::{Command, Fault, Operation, Session, Whole};

/// Children of a dynamic supervisor at one time, in a search.
const SPAWNED_MAX: usize = 2;

/// Why a topology cannot be searched.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CheckError {
    /// A name cannot be one.
    Name(String, DeclareNameError),
    /// A supervisor cannot be.
    Config(ConfigError),
    /// The first start goes wrong although everyone comes up as asked.
    Start(Fault),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, error) => write!(f, "{name:?}: {error}"),
            Self::Config(error) => error.fmt(f),
            Self::Start(fault) => write!(f, "the first start: {fault}"),
        }
    }
}

impl core::error::Error for CheckError {}

/// Searches everything that the world can do to the tree of a topology: from its first start, and
/// from where everyone is up.
///
/// Starts come up, fail or are ignored; agents that are up crash or end normally; those that were
/// told to stop do, or crash, or are late and killed; deadlines are met or just missed; a shutdown
/// comes, with and without a bound; each dynamic supervisor is asked for up to two children, and to
/// end them. There is no model of a whole tree: the rules S1 to S9 are what is checked, and L2.
///
/// # Errors
/// [`CheckError`] if there is nothing to search.
pub fn check(
    topology: &Topology,
    limits: Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, CheckError> {
    let mut build = Build { node: Node::new(node::Config::default()), restarts: BTreeMap::new() };
    let plan = Arc::new(build.supervisor(&topology.root)?);
    plan.check().map_err(CheckError::Config)?;
    let restarts = build.restarts;
    let mut new = Session::new(Whole::new(build.node, plan), Instant::from_secs(1));
    new.play(Operation::Begin).map_err(CheckError::Start)?;
    let mut up = new.clone();
    up.obey(u32::MAX).map_err(CheckError::Start)?;
    let roots = [("the first start".to_owned(), new), ("everyone is up".to_owned(), up)];
    let moves = Moves::default();
    let of = |session: &Session<Whole>| {
        let mut list = moves.of(session);
        if !session.world.has_ended() {
            spawns(session, &restarts, &mut list);
        }
        list
    };
    Ok(explore(&roots, &of, limits, progress))
}

/// What a dynamic supervisor may be asked for.
fn spawns(
    session: &Session<Whole>,
    restarts: &BTreeMap<ChildId, Restart>,
    moves: &mut Vec<Operation>,
) {
    let tree = session.subject.node().tree();
    for (at, id) in session.world.supervisors().enumerate() {
        let name = tree.name_of(id).map(|name| ChildId(name.0));
        let Some(restart) = name.and_then(|name| restarts.get(&name)) else { continue };
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        let children: Vec<ChildId> = children(session, id);
        if children.len() < SPAWNED_MAX {
            let spec = ChildSpec { restart: *restart, ..ChildSpec::worker() };
            for number in 0..2 {
                let command = Command::Add { id: ChildId(number), spec, spawner: None };
                moves.push(Operation::Command { at, command });
            }
        }
        for id in children {
            moves.push(Operation::Command { at, command: Command::Terminate { id, how: None } });
        }
    }
}

fn children(session: &Session<Whole>, id: SupervisorId) -> Vec<ChildId> {
    let machine = session.subject.node().tree().supervisor(id);
    machine.map_or_else(Vec::new, |machine| {
        machine.which_children().into_iter().map(|(id, _)| id).collect()
    })
}

/// A tree that is being made of a file's.
struct Build {
    node: Node,
    /// The restart type of what a dynamic supervisor spawns.
    restarts: BTreeMap<ChildId, Restart>,
}

impl Build {
    fn declare(&mut self, name: &str, kind: ChildKind) -> Result<ChildId, CheckError> {
        let id = self.node.declare(name, kind, &[], &mut Vec::new());
        let id = id.map_err(|error| CheckError::Name(name.to_owned(), error))?;
        Ok(ChildId(id.0))
    }

    /// One supervisor and what is below it; the parser bounds the depth.
    fn supervisor(&mut self, node: &SupervisorNode) -> Result<Plan, CheckError> {
        let mut children = Vec::with_capacity(node.children.len());
        for child in &node.children {
            children.push(self.child(child)?);
        }
        let config = supervisor::Config {
            strategy: node.strategy,
            intensity: node.intensity,
            backoff: node.backoff,
            auto_shutdown: node.auto_shutdown,
            ..supervisor::Config::default()
        };
        Ok(Plan::Static { config, children })
    }

    fn child(&mut self, child: &Child) -> Result<PlannedChild, CheckError> {
        let spec = child.spec();
        let id = self.declare(child.name(), spec.kind)?;
        let body = match child {
            Child::Supervisor(node) => Body::Supervisor(Arc::new(self.supervisor(node)?)),
            Child::DynamicSupervisor(node) => {
                self.restarts.insert(id, node.child_restart);
                Body::Supervisor(Arc::new(Plan::Dynamic(dynamic(node))))
            }
            // The topology is of our own version and has no other kind.
            Child::Agent(_) | Child::GenServer(_) | _ => Body::Worker,
        };
        Ok(PlannedChild { id, spec, body })
    }
}

fn dynamic(node: &DynamicSupervisorNode) -> dynamic_supervisor::Config {
    dynamic_supervisor::Config {
        intensity: node.intensity,
        budget: match node.budget {
            FileBudget::Child => Budget::Child,
            FileBudget::Shared => Budget::Shared,
        },
        backoff: node.backoff,
        max_children: node.limits.max_children,
        max_total_spawns: node.limits.max_total_spawns.map(u64::from),
        max_children_per_spawner: node.limits.max_children_per_spawner,
        max_total_spawns_per_spawner: node.limits.max_total_spawns_per_spawner.map(u64::from),
        ..dynamic_supervisor::Config::default()
    }
}

//! A topology as worlds need it: every supervisor and agent a number, spread over nodes.
//!
//! A topology describes one tree. With several nodes the children of its root are dealt out, one
//! node after the other, and each node has a root of its own with the same policy: what was one
//! tree is then several that reach each other by name. Where the topology says in which process an
//! agent runs, the tree stays whole, on the first node, and those processes are the others.

mod behaviour;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::tree::{self, Body, PlannedChild};
use lictor_kernel::{ChildId, ChildKind, ChildSpec, Intensity, dynamic_supervisor, supervisor};
use lictor_topology::{
    AgentNode, Budget, Child, DynamicSupervisorNode, InHand, MailboxPolicy, SupervisorNode,
    Topology,
};

pub use self::behaviour::{Behaviour, Ticks};
use crate::record::{NodeIx, Who};
use crate::stream::{Purpose, Streams};

/// Nodes of one world.
pub const NODES_MAX: usize = 64;

/// Supervisors and agents of one scenario, those that can be spawned included.
pub const NAMES_MAX: usize = 60_000;

/// Names that can be spawned under each dynamic supervisor.
pub const POOL: usize = 6;

/// What a name stands for.
#[derive(Clone, PartialEq, Debug)]
pub struct Entity {
    /// The name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What its supervisor knows of it.
    pub spec: ChildSpec,
    /// Its supervisor; `None` for a root.
    pub parent: Option<Who>,
    /// Where it lives; its supervisor does, too.
    pub node: NodeIx,
    /// Where its processes run, if the topology puts them into another process than the tree.
    pub host: Option<NodeIx>,
}

/// What an entity is.
#[derive(Clone, PartialEq, Debug)]
pub enum Role {
    /// A supervisor with fixed children, in start order.
    Supervisor(supervisor::Config, Vec<Who>),
    /// A dynamic supervisor and the names that can be spawned under it.
    Dynamic(dynamic_supervisor::Config, Vec<Who>),
    /// An agent.
    Agent(Agent),
}

/// What a world knows of an agent.
#[derive(Clone, PartialEq, Debug)]
pub struct Agent {
    /// How it behaves.
    pub behaviour: Behaviour,
    /// To whom it passes on what it gets: [`Behaviour::forward_to`], looked up.
    pub forward: Forward,
    /// To whom it sends by itself: [`Ticks::to`], looked up.
    pub ticks_to: Option<Who>,
    /// Its mailbox.
    pub mailbox: MailboxPolicy,
    /// What becomes of the message in hand at a crash.
    pub in_hand: InHand,
    /// How often a message is given again.
    pub max_retries: u32,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// Whether it is not there from the start, but can be spawned.
    pub pool: bool,
}

/// To whom an agent passes on what it gets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Forward {
    /// To nobody: it handles it itself.
    #[default]
    No,
    /// To this agent.
    To(Who),
    /// To a name that nobody has.
    Nowhere,
}

/// A topology, spread over nodes.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    topology: Topology,
    entities: Vec<Entity>,
    roots: Vec<Who>,
    numbers: BTreeMap<String, Who>,
}

/// Why there is no such scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScenarioError {
    /// No node, or more than [`NODES_MAX`].
    Nodes(usize),
    /// More than [`NAMES_MAX`] names.
    Names(usize),
    /// Two things have this name: spawned children and the roots of further nodes get names that
    /// are made from those of the topology.
    Taken(String),
    /// These agents pass messages on in a circle: a message would never come to an end.
    Circle(Vec<String>),
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => {
                write!(f, "a world has 1 to {NODES_MAX} nodes, not {nodes}")
            }
            Self::Names(names) => {
                write!(f, "a world has at most {NAMES_MAX} supervisors and agents, not {names}")
            }
            Self::Circle(names) => write!(
                f,
                "messages would go round for ever: {} passes them on to itself{}; let one of them \
                 handle what it gets, without `forward_to`",
                names.first().map_or("an agent", String::as_str),
                if names.len() > 1 {
                    format!(" by way of {}", names[1..].join(", "))
                } else {
                    String::new()
                },
            ),
            Self::Taken(name) => write!(
                f,
                "the name {name:?} is needed for the simulation (a spawned child, or the root of \
                 another node); rename the one in the topology"
            ),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Spreads a topology over nodes.
    ///
    /// # Errors
    /// See [`ScenarioError`].
    pub fn new(topology: Topology, nodes: usize) -> Result<Self, ScenarioError> {
        if nodes == 0 || nodes > NODES_MAX {
            return Err(ScenarioError::Nodes(nodes));
        }
        let (entities, roots, numbers) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut scenario = Self { topology, entities, roots, numbers };
        let root = scenario.topology.root.clone();
        let hosts = Hosts::of(&root, nodes);
        for node in 0..nodes {
            let mut share = root.clone();
            if node > 0 {
                share.name = format!("{}-node-{node}", root.name);
            }
            let (first, step) = if hosts.of.is_empty() { (node, nodes) } else { (0, 1) };
            let children = root.children.iter().skip(first).step_by(step).cloned();
            share.children = if node > 0 && step == 1 { Vec::new() } else { children.collect() };
            // The spec of a root is nobody's business.
            let root = scenario.supervisor(&share, None, ix(node));
            scenario.roots.push(root);
        }
        for entity in &mut scenario.entities {
            entity.host = hosts.of.get(&entity.name).copied();
        }
        if scenario.entities.len() > NAMES_MAX {
            return Err(ScenarioError::Names(scenario.entities.len()));
        }
        let mut names: Vec<&str> = scenario.entities.iter().map(|e| e.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ScenarioError::Taken(pair[0].to_owned()));
        }
        scenario.look_up();
        match scenario.circle() {
            Some(names) => Err(ScenarioError::Circle(names)),
            None => Ok(scenario),
        }
    }

    /// Agents that pass on in a circle, if there are such: each passes on to one at most, so that
    /// from each there is one way, and a way of which no part was gone before is gone once.
    fn circle(&self) -> Option<Vec<String>> {
        let mut gone_from: Vec<Option<Who>> = vec![None; self.entities.len()];
        for (first, _) in self.all() {
            let mut at = first;
            while gone_from[usize::from(at.0)].is_none() {
                gone_from[usize::from(at.0)] = Some(first);
                let Some(Forward::To(next)) = self.agent(at).map(|agent| agent.forward) else {
                    break;
                };
                if gone_from[usize::from(next.0)] == Some(first) {
                    return Some(self.way_round(next));
                }
                at = next;
            }
        }
        None
    }

    /// The names of the circle that goes through an agent.
    fn way_round(&self, first: Who) -> Vec<String> {
        let (mut names, mut at) = (Vec::new(), first);
        loop {
            names.push(self.entity(at).name.clone());
            match self.agent(at).map(|agent| agent.forward) {
                Some(Forward::To(next)) if next != first => at = next,
                Some(Forward::To(_) | Forward::No | Forward::Nowhere) | None => return names,
            }
        }
    }

    /// Turns the names that agents send to into numbers, once.
    fn look_up(&mut self) {
        let numbers: BTreeMap<String, Who> =
            self.all().map(|(who, entity)| (entity.name.clone(), who)).collect();
        self.numbers.clone_from(&numbers);
        for entity in &mut self.entities {
            let Role::Agent(agent) = &mut entity.role else { continue };
            if let Some(name) = &agent.behaviour.forward_to {
                agent.forward = numbers.get(name).map_or(Forward::Nowhere, |who| Forward::To(*who));
            }
            let ticks = agent.behaviour.ticks.as_ref();
            agent.ticks_to = ticks.and_then(|ticks| numbers.get(&ticks.to).copied());
        }
    }

    fn add(&mut self, name: &str, role: Role, spec: ChildSpec, at: (Option<Who>, NodeIx)) -> Who {
        // Beyond the limit numbers repeat; the scenario is then refused as a whole.
        let who = Who(u16::try_from(self.entities.len()).unwrap_or(u16::MAX));
        let (parent, node) = at;
        self.entities.push(Entity { name: name.to_owned(), role, spec, parent, node, host: None });
        who
    }

    /// A supervisor and all below it, in the order in which the runtime declares them. The parser
    /// has bounded the depth.
    fn supervisor(&mut self, node: &SupervisorNode, parent: Option<Who>, at: NodeIx) -> Who {
        let config = supervisor::Config {
            strategy: node.strategy,
            intensity: node.intensity,
            backoff: node.backoff,
            auto_shutdown: node.auto_shutdown,
            ..supervisor::Config::default()
        };
        let role = Role::Supervisor(config, Vec::new());
        let who = self.add(&node.name, role, node.spec, (parent, at));
        let mut below = Vec::with_capacity(node.children.len());
        for child in &node.children {
            match child {
                Child::Supervisor(node) => below.push(self.supervisor(node, Some(who), at)),
                Child::DynamicSupervisor(node) => below.push(self.dynamic(node, who, at)),
                Child::Agent(node) | Child::GenServer(node) => {
                    let role = Role::Agent(agent(node));
                    below.push(self.add(&node.name, role, node.spec, (Some(who), at)));
                }
                // The crate of the topology is of our own version: there is no other kind.
                _ => {}
            }
        }
        if let Some(Entity { role: Role::Supervisor(_, children), .. }) =
            self.entities.get_mut(usize::from(who.0))
        {
            *children = below;
        }
        who
    }

    fn dynamic(&mut self, node: &DynamicSupervisorNode, parent: Who, at: NodeIx) -> Who {
        let limits = &node.limits;
        let config = dynamic_supervisor::Config {
            intensity: node.intensity,
            budget: match node.budget {
                Budget::Child => dynamic_supervisor::Budget::Child,
                Budget::Shared => dynamic_supervisor::Budget::Shared,
            },
            backoff: node.backoff,
            max_children: limits.max_children,
            max_total_spawns: limits.max_total_spawns.map(u64::from),
            max_children_per_spawner: limits.max_children_per_spawner,
            max_total_spawns_per_spawner: limits.max_total_spawns_per_spawner.map(u64::from),
            ..dynamic_supervisor::Config::default()
        };
        let role = Role::Dynamic(config, Vec::new());
        let who = self.add(&node.name, role, node.spec, (Some(parent), at));
        let spec = ChildSpec { restart: node.child_restart, ..ChildSpec::worker() };
        let pool: Vec<Who> = (0..POOL)
            .map(|n| {
                let facts = Agent { pool: true, ..agent(&AgentNode::new("", "")) };
                let name = format!("{}-{n}", node.name);
                self.add(&name, Role::Agent(facts), spec, (Some(who), at))
            })
            .collect();
        if let Some(Entity { role: Role::Dynamic(_, children), .. }) =
            self.entities.get_mut(usize::from(who.0))
        {
            *children = pool;
        }
        who
    }

    /// The topology, as it was given.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.roots.len()
    }

    /// The nodes.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = NodeIx> + use<> {
        (0..self.roots.len()).map(ix)
    }

    /// The root of a node.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn root(&self, node: NodeIx) -> Who {
        self.roots[usize::from(node.0)]
    }

    /// All supervisors and agents.
    pub fn all(&self) -> impl Iterator<Item = (Who, &Entity)> {
        (0..).map(Who).zip(&self.entities)
    }

    /// How many supervisors and agents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Never: a scenario has a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is no such number.
    #[must_use]
    pub fn entity(&self, who: Who) -> &Entity {
        &self.entities[usize::from(who.0)]
    }

    /// What is to be known of an agent; `None` for a supervisor.
    #[must_use]
    pub fn agent(&self, who: Who) -> Option<&Agent> {
        match &self.entity(who).role {
            Role::Agent(agent) => Some(agent),
            Role::Supervisor(..) | Role::Dynamic(..) => None,
        }
    }

    /// The number of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Who> {
        self.numbers.get(name).copied()
    }

    /// The restart budget that a child of this one's supervisor has a part in.
    #[must_use]
    pub fn intensity_over(&self, who: Who) -> Option<Intensity> {
        match &self.entity(self.entity(who).parent?).role {
            Role::Supervisor(config, _) => Some(config.intensity),
            Role::Dynamic(config, _) => Some(config.intensity),
            Role::Agent(_) => None,
        }
    }

    /// The agents at or below this one, in start order.
    #[must_use]
    pub fn agents_below(&self, who: Who) -> Vec<Who> {
        let mut found = Vec::new();
        let mut rest = vec![who];
        while let Some(who) = rest.pop() {
            match &self.entity(who).role {
                Role::Agent(_) => found.push(who),
                Role::Supervisor(_, below) | Role::Dynamic(_, below) => {
                    rest.extend(below.iter().rev());
                }
            }
        }
        found
    }

    /// The tree of a node as the kernel takes it; `id` gives the number of each name on that node.
    #[must_use]
    pub fn tree(
        &self,
        streams: Streams,
        boot: u32,
        root: Who,
        id: &dyn Fn(Who) -> ChildId,
    ) -> tree::Plan {
        let seed = streams.draw(Purpose::Jitter, u64::from(root.0), u64::from(boot));
        match &self.entity(root).role {
            Role::Supervisor(config, below) => tree::Plan::Static {
                config: supervisor::Config { seed, ..config.clone() },
                children: below
                    .iter()
                    .map(|child| {
                        let entity = self.entity(*child);
                        let body = match entity.role {
                            Role::Agent(_) => Body::Worker,
                            Role::Supervisor(..) | Role::Dynamic(..) => {
                                let plan = self.tree(streams, boot, *child, id);
                                Body::Supervisor(Arc::new(plan))
                            }
                        };
                        PlannedChild { id: id(*child), spec: entity.spec, body }
                    })
                    .collect(),
            },
            Role::Dynamic(config, _) => {
                tree::Plan::Dynamic(dynamic_supervisor::Config { seed, ..config.clone() })
            }
            Role::Agent(_) => unreachable!("an agent is no root"),
        }
    }

    /// The kind of an entity as the registry knows it.
    #[must_use]
    pub fn kind(&self, who: Who) -> ChildKind {
        match self.entity(who).role {
            Role::Agent(_) => ChildKind::Worker,
            Role::Supervisor(..) | Role::Dynamic(..) => ChildKind::Supervisor,
        }
    }

    /// The longest that a stop of everything may take by itself: the sum of all that is waited for.
    #[must_use]
    pub fn longest_stop(&self) -> Duration {
        use lictor_kernel::Shutdown;
        let one = |entity: &Entity| match entity.spec.shutdown {
            Shutdown::Timeout(timeout) => timeout,
            Shutdown::BrutalKill | Shutdown::Infinity => Duration::ZERO,
        };
        self.entities.iter().map(one).fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// On which node each agent runs that the topology puts into another process than the tree.
struct Hosts {
    of: BTreeMap<String, NodeIx>,
}

impl Hosts {
    /// The processes get the nodes after the first, in the order in which they appear, and share
    /// them if there are not enough. On one node nothing is elsewhere.
    fn of(root: &SupervisorNode, nodes: usize) -> Self {
        let (mut of, mut processes) = (BTreeMap::new(), Vec::new());
        let mut rest: Vec<&Child> = root.children.iter().rev().collect();
        while let Some(child) = rest.pop().filter(|_| nodes > 1) {
            if let Child::Supervisor(node) = child {
                rest.extend(node.children.iter().rev());
            }
            let (Child::Agent(node) | Child::GenServer(node)) = child else { continue };
            let Some(process) = &node.process else { continue };
            let at = processes.iter().position(|known| *known == process).unwrap_or_else(|| {
                processes.push(process);
                processes.len() - 1
            });
            of.insert(node.name.clone(), ix(1 + at % (nodes - 1)));
        }
        Self { of }
    }
}

fn ix(node: usize) -> NodeIx {
    NodeIx(u8::try_from(node).unwrap_or(u8::MAX))
}

fn agent(node: &AgentNode) -> Agent {
    Agent {
        behaviour: Behaviour::of(node),
        forward: Forward::No,
        ticks_to: None,
        mailbox: node.mailbox,
        in_hand: node.in_hand,
        max_retries: node.max_retries,
        capabilities: node.capabilities.clone(),
        pool: false,
    }
}

//! From a topology file to a tree that can be started.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lictor_kernel::dynamic_supervisor::Budget as KernelBudget;
use lictor_runtime::{
    AgentSpec, AgentTypes, DynamicSupervisor, InHandPolicy, Overflow, Setup, StartError,
    Supervisor, Value, remote_agent,
};
use lictor_tokio::NoRuntime;
use lictor_topology::{
    AgentNode, Budget, Checked, Child, Diagnostics, DynamicSupervisorNode, InHand, Options, Origin,
    Overflow as TopologyOverflow, ProcessEnvironment, SupervisorNode, Topology,
};

use crate::network::NetworkError;

/// Why a topology was not loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    Read {
        /// The file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// The file has faults; all of them are in here.
    Faults(Diagnostics),
    /// An agent cannot be set up as the topology says. From a file that is among its faults;
    /// [`root_from_topology`] does not look into one.
    BadAgent {
        /// The file.
        file: String,
        /// Its line, from 1; 0 if the topology did not come from a file.
        line: u32,
        /// Its column, from 1.
        column: u32,
        /// The agent.
        name: String,
        /// Why.
        detail: String,
    },
    /// The process has no part in what the topology says of processes.
    Network(NetworkError),
    /// The tree was not started.
    Start(StartError),
    /// The caller is not inside a tokio runtime.
    NoRuntime(NoRuntime),
}

impl Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, error } => write!(f, "cannot read {file}: {error}"),
            Self::Faults(faults) => Display::fmt(faults, f),
            Self::BadAgent { file, line, column, name, detail } => {
                write!(f, "{file}:{line}:{column}: agent {name:?}: {detail}")
            }
            Self::Network(error) => Display::fmt(error, f),
            Self::Start(error) => Display::fmt(error, f),
            Self::NoRuntime(error) => Display::fmt(error, f),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<NetworkError> for LoadError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl From<StartError> for LoadError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// Reads a topology, with `${VAR}` from the environment, and sets up every agent that it names, of
/// the given types. `file` only appears in faults; nothing is opened, and nothing is started.
///
/// All faults are found at once: those of the text, and each `config` that an agent type refuses.
#[must_use]
pub fn check(file: &str, text: &[u8], types: &AgentTypes) -> Checked {
    check_by(file, text, types, Options::new(&ProcessEnvironment))
}

/// As [`check`], by these options; the known types, and what is said to agents, are those of
/// `types`. With [`Options::process`] it is read for one process of those that the tree is spread
/// over, with [`Options::foreign`] for agents of other programs.
#[must_use]
pub fn check_by(file: &str, text: &[u8], types: &AgentTypes, options: Options<'_>) -> Checked {
    let known: Vec<&str> = types.names().collect();
    let each = |node: &AgentNode| set_up(types, node);
    lictor_topology::check(file, text, &options.known_types(&known).agents(&each))
}

/// Whether an agent of one of these types can be set up as a topology says: an
/// [`AgentCheck`](lictor_topology::AgentCheck) for who reads topologies inside other files. Nothing
/// is started.
///
/// # Errors
/// Why the type refuses, in a sentence. A type that is unknown is no error here: it has its own
/// fault.
pub fn set_up(types: &AgentTypes, node: &AgentNode) -> Result<(), String> {
    match types.make(&node.type_name, &setup(node)) {
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Reads no more of a file than shows that it is too long, so that a device cannot fill the memory.
///
/// # Errors
/// What the system says.
pub fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(lictor_topology::MAX_BYTES as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads a topology file, with `${VAR}` from the environment, and makes the tree that it describes
/// of the given agent types. Nothing is started. What the file places on other processes is only
/// supervised here.
///
/// # Errors
/// [`LoadError`], with every fault of the file.
pub fn load(path: &Path, types: &AgentTypes) -> Result<Supervisor, LoadError> {
    load_all(path, types).map(|(_, root)| root)
}

/// As [`load`], with the topology.
pub(crate) fn load_all(
    path: &Path,
    types: &AgentTypes,
) -> Result<(Topology, Supervisor), LoadError> {
    let file = path.display().to_string();
    let text = File::open(path).and_then(read_bounded);
    let text = text.map_err(|error| LoadError::Read { file: file.clone(), error })?;
    let checked = check(&file, &text, types);
    let topology = checked.topology.ok_or(LoadError::Faults(checked.diagnostics))?;
    let root = root_from_topology(&file, &topology, types)?;
    Ok((topology, root))
}

/// The tree that a topology describes, of the given agent types.
///
/// # Errors
/// [`LoadError::BadAgent`] for the first agent whose type is unknown or whose setup is refused.
pub fn root_from_topology(
    file: &str,
    topology: &Topology,
    types: &AgentTypes,
) -> Result<Supervisor, LoadError> {
    let away = topology.is_distributed();
    supervisor(&Source { file, types, away }, &topology.root)
}

/// The agents that a topology places on one of its processes, to be offered there
/// ([`Runtime::host`](lictor_runtime::Runtime::host)). How they are supervised is the affair of the
/// process of the tree.
///
/// # Errors
/// As [`root_from_topology`].
pub fn placed_on(
    file: &str,
    topology: &Topology,
    types: &AgentTypes,
    process: &str,
) -> Result<Vec<AgentSpec>, LoadError> {
    let source = Source { file, types, away: false };
    let here = topology.all_children().filter(|child| child.process() == Some(process));
    let agents = here.filter_map(|child| match child {
        Child::Agent(node) | Child::GenServer(node) => Some(agent(&source, node)),
        // Neither is ever placed, and there is no other kind of child.
        Child::Supervisor(_) | Child::DynamicSupervisor(_) | _ => None,
    });
    agents.collect()
}

struct Source<'a> {
    file: &'a str,
    types: &'a AgentTypes,
    /// Whether what is placed on a process is there and not here.
    away: bool,
}

/// One supervisor and what is below it; the parser bounds the depth.
fn supervisor(source: &Source<'_>, node: &SupervisorNode) -> Result<Supervisor, LoadError> {
    let mut tree = Supervisor::with_strategy(node.name.clone(), node.strategy)
        .max_restarts(node.intensity.max_restarts, node.intensity.period)
        .backoff(node.backoff)
        .auto_shutdown(node.auto_shutdown)
        .as_child(node.spec);
    for child in &node.children {
        tree = match child {
            Child::Supervisor(node) => tree.supervisor(supervisor(source, node)?),
            Child::DynamicSupervisor(node) => tree.dynamic(dynamic(node)),
            Child::Agent(node) | Child::GenServer(node) => tree.agent(agent(source, node)?),
            // The crate of the topology is of our own version: there is no other kind of child.
            _ => tree,
        };
    }
    Ok(tree)
}

fn dynamic(node: &DynamicSupervisorNode) -> DynamicSupervisor {
    let limits = &node.limits;
    DynamicSupervisor::new(node.name.clone())
        .as_child(node.spec)
        .max_restarts(node.intensity.max_restarts, node.intensity.period)
        .backoff(node.backoff)
        .budget(match node.budget {
            Budget::Child => KernelBudget::Child,
            Budget::Shared => KernelBudget::Shared,
        })
        .children_restart(node.child_restart)
        .max_children(limits.max_children)
        .max_total_spawns(limits.max_total_spawns.map(u64::from))
        .max_children_per_spawner(limits.max_children_per_spawner)
        .max_total_spawns_per_spawner(limits.max_total_spawns_per_spawner.map(u64::from))
}

fn setup(node: &AgentNode) -> Setup {
    let credentials = node.credentials.iter();
    Setup {
        name: node.name.clone(),
        config: if node.config.is_empty() { Value::Null } else { node.config.clone().into() },
        credentials: credentials.map(|(key, secret)| (key.to_owned(), secret.to_owned())).collect(),
    }
}

fn agent(source: &Source<'_>, node: &AgentNode) -> Result<AgentSpec, LoadError> {
    let bad = |detail: String| {
        let Origin { line, column } = node.origin;
        let (file, name) = (source.file.to_owned(), node.name.clone());
        LoadError::BadAgent { file, line, column, name, detail }
    };
    if let Some(process) = node.process.as_deref().filter(|_| source.away) {
        return Ok(remote_agent(node.name.clone(), process).as_child(node.spec));
    }
    let made = source.types.make(&node.type_name, &setup(node));
    let made = made.ok_or_else(|| bad(format!("unknown type {:?}", node.type_name)))?;
    let mut spec = made.map_err(|error| bad(error.to_string()))?;
    spec = spec
        .as_child(node.spec)
        .mailbox_size(node.mailbox.size)
        .overflow(match node.mailbox.overflow {
            TopologyOverflow::Wait => Overflow::Wait,
            TopologyOverflow::Reject => Overflow::Reject,
            TopologyOverflow::DropOldest => Overflow::DropOldest,
        })
        .max_retries(node.max_retries)
        .in_hand(match node.in_hand {
            InHand::Drop => InHandPolicy::Drop,
            InHand::Redeliver => InHandPolicy::Redeliver,
            InHand::DeadLetter => InHandPolicy::DeadLetter,
        });
    if let Some(timeout) = node.handle_timeout {
        spec = spec.handle_timeout(timeout);
    }
    // A list in the file replaces the type's own, as in civitas; no list leaves it.
    if !node.capabilities.is_empty() {
        spec = spec.capabilities(node.capabilities.clone());
    }
    Ok(spec)
}

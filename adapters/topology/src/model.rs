//! What a valid file says, as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use lictor_kernel::{AutoShutdown, Backoff, ChildSpec, Intensity, Restart, Strategy};
use serde_json::{Map, Value};

use crate::network::{Process, Security, Transport, TransportKind};

/// A whole file.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Topology {
    /// The supervisor at the top.
    pub root: SupervisorNode,
    /// How processes talk to each other.
    pub transport: Transport,
    /// The processes besides that of the tree: those that the file describes, then those that are
    /// only named where something is placed on them.
    pub processes: Vec<Process>,
    /// Keys, and what is signed and enciphered.
    pub security: Security,
}

impl Topology {
    /// A tree within one process.
    #[must_use]
    pub fn new(root: SupervisorNode) -> Self {
        Self {
            root,
            transport: Transport::default(),
            processes: Vec::new(),
            security: Security::default(),
        }
    }

    /// Whether it is spread over processes. Otherwise `process` says nothing.
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        self.transport.kind != TransportKind::InProcess
    }

    /// All children of all supervisors, each with its supervisor's before its own.
    pub fn all_children(&self) -> impl Iterator<Item = &Child> {
        let mut rest: Vec<&Child> = self.root.children.iter().rev().collect();
        std::iter::from_fn(move || {
            let child = rest.pop()?;
            if let Child::Supervisor(node) = child {
                rest.extend(node.children.iter().rev());
            }
            Some(child)
        })
    }
}

/// Where in the file something was written; 0 for what was not read from a file.
///
/// Every origin equals every other: two topologies are equal when they say the same, wherever they
/// say it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Origin {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl PartialEq for Origin {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

/// A supervisor with fixed children.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct SupervisorNode {
    /// Its name, unique in the file.
    pub name: String,
    /// Which children are restarted with the one that crashed.
    pub strategy: Strategy,
    /// The restart budget.
    pub intensity: Intensity,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// Whether the end of significant children ends the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// What its own supervisor knows of it. The root's is the default.
    pub spec: ChildSpec,
    /// Its children in start order.
    pub children: Vec<Child>,
    /// Where it was written.
    pub origin: Origin,
}

impl SupervisorNode {
    /// A supervisor with the defaults of the file format and no children yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            auto_shutdown: AutoShutdown::Never,
            spec: ChildSpec::supervisor(),
            children: Vec::new(),
            origin: Origin::default(),
        }
    }
}

/// One entry of `children`.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Child {
    /// `supervisor:`
    Supervisor(SupervisorNode),
    /// `agent:`, `type: agent` or `type: <agent type>`
    Agent(AgentNode),
    /// `type: gen_server`. Its type is `<module>.<class>`.
    GenServer(AgentNode),
    /// `type: dynamic_supervisor`
    DynamicSupervisor(DynamicSupervisorNode),
}

impl Child {
    /// The child's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Supervisor(node) => &node.name,
            Self::Agent(node) | Self::GenServer(node) => &node.name,
            Self::DynamicSupervisor(node) => &node.name,
        }
    }

    /// What the supervisor knows of the child.
    #[must_use]
    pub fn spec(&self) -> ChildSpec {
        match self {
            Self::Supervisor(node) => node.spec,
            Self::Agent(node) | Self::GenServer(node) => node.spec,
            Self::DynamicSupervisor(node) => node.spec,
        }
    }

    /// The process on which it is placed, if not that of the tree.
    #[must_use]
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::Supervisor(_) | Self::DynamicSupervisor(_) => None,
            Self::Agent(node) | Self::GenServer(node) => node.process.as_deref(),
        }
    }

    /// Where the child was written.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Supervisor(node) => node.origin,
            Self::Agent(node) | Self::GenServer(node) => node.origin,
            Self::DynamicSupervisor(node) => node.origin,
        }
    }
}

/// An agent.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct AgentNode {
    /// Its name, unique in the file.
    pub name: String,
    /// The key under which the application registered its factory.
    pub type_name: String,
    /// The process in which it runs, if not in that of the tree.
    pub process: Option<String>,
    /// What its supervisor knows of it.
    pub spec: ChildSpec,
    /// What it offers to others.
    pub capabilities: Vec<String>,
    /// Free-form facts about its capabilities.
    pub capability_metadata: Map<String, Value>,
    /// Secrets by provider.
    pub credentials: Credentials,
    /// Free-form settings, handed to the agent.
    pub config: Map<String, Value>,
    /// How long one `handle` may take. `None` waits without limit.
    pub handle_timeout: Option<Duration>,
    /// Its mailbox.
    pub mailbox: MailboxPolicy,
    /// How many times `on_error` may retry one message.
    pub max_retries: u32,
    /// What happens at a crash with the message that was being handled.
    pub in_hand: InHand,
    /// Where it was written.
    pub origin: Origin,
}

impl AgentNode {
    /// An agent with the defaults of the file format.
    #[must_use]
    pub fn new(name: impl Into<String>, type_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
            process: None,
            spec: ChildSpec::worker(),
            capabilities: Vec::new(),
            capability_metadata: Map::new(),
            credentials: Credentials::default(),
            config: Map::new(),
            handle_timeout: None,
            mailbox: MailboxPolicy::default(),
            max_retries: 3,
            in_hand: InHand::Drop,
            origin: Origin::default(),
        }
    }
}

/// Secrets by provider. `Debug` shows the providers only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// The secret for a provider.
    #[must_use]
    pub fn secret(&self, provider: &str) -> Option<&str> {
        self.0.get(provider).map(String::as_str)
    }

    /// All providers and secrets, by provider.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(provider, secret)| (provider.as_str(), secret.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Credentials {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The size of a mailbox and what happens when it is full.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MailboxPolicy {
    /// Messages that fit; at least 1.
    pub size: u32,
    /// What happens to one more.
    pub overflow: Overflow,
}

impl Default for MailboxPolicy {
    /// 1000 messages; senders wait.
    fn default() -> Self {
        Self { size: 1000, overflow: Overflow::Wait }
    }
}

/// What happens to a message that finds the mailbox full.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Overflow {
    /// Its sender waits for room, within the deadline.
    #[default]
    Wait,
    /// Its sender gets an error at once.
    Reject,
    /// The oldest message makes room.
    DropOldest,
}

/// What happens at a crash with the message that was being handled.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum InHand {
    /// It is dropped; its caller gets an error.
    #[default]
    Drop,
    /// The next incarnation handles it first.
    Redeliver,
    /// It becomes a dead letter.
    DeadLetter,
}

/// A supervisor whose children are started while it runs.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct DynamicSupervisorNode {
    /// Its name, unique in the file.
    pub name: String,
    /// What its own supervisor knows of it.
    pub spec: ChildSpec,
    /// How many children it may have.
    pub limits: SpawnLimits,
    /// The restart type of its children.
    pub child_restart: Restart,
    /// The restart budget.
    pub intensity: Intensity,
    /// Who shares the budget.
    pub budget: Budget,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// Where it was written.
    pub origin: Origin,
}

impl DynamicSupervisorNode {
    /// A dynamic supervisor with the defaults of the file format.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            spec: ChildSpec::supervisor(),
            limits: SpawnLimits::default(),
            child_restart: Restart::Transient,
            intensity: Intensity::default(),
            budget: Budget::Child,
            backoff: Backoff::default(),
            origin: Origin::default(),
        }
    }
}

/// How many children a dynamic supervisor may have. `None` is unlimited.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct SpawnLimits {
    /// At one time.
    pub max_children: Option<u32>,
    /// Over its lifetime.
    pub max_total_spawns: Option<u32>,
    /// At one time, for one spawner.
    pub max_children_per_spawner: Option<u32>,
    /// Over its lifetime, for one spawner.
    pub max_total_spawns_per_spawner: Option<u32>,
}

/// Who shares a dynamic supervisor's restart budget.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Budget {
    /// Nobody: every child has its own.
    #[default]
    Child,
    /// All children, as in OTP.
    Shared,
}

//! What reading a file depends on besides its text.

use std::fmt;

use crate::model::AgentNode;
use crate::network::{Secret, TransportKind};

/// Where `${VAR}` finds its value. Any `Fn(&str) -> Option<String>` is one.
pub trait Environment {
    /// The value of a variable, or `None` when it is not set.
    fn variable(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// The variables of this process. One that is not Unicode reads as not set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// No variable is set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// What an application says to the agents of a file. Any `Fn(&AgentNode) -> Result<(), String>` is
/// one.
pub trait AgentCheck {
    /// Whether the agent can be set up as the file says.
    ///
    /// # Errors
    /// Why not, in a sentence. The first word in backquotes that is a key of the agent's `config`
    /// tells where in the file the fault is shown.
    fn check(&self, agent: &AgentNode) -> Result<(), String>;
}

impl<F: Fn(&AgentNode) -> Result<(), String>> AgentCheck for F {
    fn check(&self, agent: &AgentNode) -> Result<(), String> {
        self(agent)
    }
}

/// What becomes of an agent type that the application has not registered. One that is surely a slip
/// of a registered type, or of its namespace (all before the last dot), is an error whatever this
/// says.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Foreign {
    /// It is an error.
    #[default]
    Refuse,
    /// It is a warning: somebody else runs the file.
    Warn,
    /// It is good: nobody need know it.
    Accept,
}

/// What reading a file depends on besides its text.
///
/// The default knows no variables and accepts every agent type.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Where `${VAR}` finds its value.
    pub environment: &'a dyn Environment,
    /// The agent types that the application registered. `None` accepts every type.
    pub known_types: Option<&'a [&'a str]>,
    /// What becomes of other types.
    pub foreign: Foreign,
    /// The process for which the file is read: of agents it judges the types and the settings of
    /// those that are placed on it. `None` is the process of the tree, which judges all but those
    /// on processes that are `external` or have a `command`: these may have types of their own.
    pub process: Option<&'a str>,
    /// The settings in which agents name others: an agent type, and a key of its `config`. A name
    /// that no agent of the file has is warned of, unless the file has a dynamic supervisor, whose
    /// children may have it.
    pub names_in: &'a [(&'a str, &'a str)],
    /// What the application says to each agent whose own keys have no fault. `None` asks nobody.
    pub agents: Option<&'a dyn AgentCheck>,
    /// What holds instead of what the file says.
    pub overrides: Option<&'a Overrides>,
}

/// What holds instead of what a file says of its transport: flags of a command, for one. The reader
/// takes it for what the file says, so that all that depends on it is checked against it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Overrides {
    /// Over what processes talk.
    pub transport: Option<TransportKind>,
    /// Where processes publish, if it is ZeroMQ; a good address
    /// ([`is_zmq_address`](crate::is_zmq_address)).
    pub zmq_pub: Option<String>,
    /// Where they listen.
    pub zmq_sub: Option<String>,
    /// The servers, if it is NATS; good ones ([`is_nats_server`](crate::is_nats_server)).
    pub nats_servers: Option<Vec<Secret>>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            environment: &NoEnvironment,
            known_types: None,
            foreign: Foreign::Refuse,
            process: None,
            names_in: &[],
            agents: None,
            overrides: None,
        }
    }
}

impl<'a> Options<'a> {
    /// Variables from `environment`, every agent type accepted.
    #[must_use]
    pub fn new(environment: &'a dyn Environment) -> Self {
        Self { environment, ..Self::default() }
    }

    /// The same options, accepting only these agent types.
    #[must_use]
    pub fn known_types(self, types: &'a [&'a str]) -> Self {
        Self { known_types: Some(types), ..self }
    }

    /// The same options, where this becomes of types that are not known.
    #[must_use]
    pub fn foreign(self, foreign: Foreign) -> Self {
        Self { foreign, ..self }
    }

    /// The same options, where these settings name agents.
    #[must_use]
    pub fn names_in(self, settings: &'a [(&'a str, &'a str)]) -> Self {
        Self { names_in: settings, ..self }
    }

    /// The same options, read for this process.
    #[must_use]
    pub fn process(self, process: &'a str) -> Self {
        Self { process: Some(process), ..self }
    }

    /// The same options, with these overrides.
    #[must_use]
    pub fn overrides(self, overrides: &'a Overrides) -> Self {
        Self { overrides: Some(overrides), ..self }
    }

    /// The same options, with this said to each agent.
    #[must_use]
    pub fn agents(self, check: &'a dyn AgentCheck) -> Self {
        Self { agents: Some(check), ..self }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("known_types", &self.known_types).finish_non_exhaustive()
    }
}

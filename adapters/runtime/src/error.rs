//! What can go wrong between agents, each with its cause and who it concerns.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use crate::reply::ReplyFailure;

/// Why an agent failed: any error, or a text. It is what [`Agent`](crate::Agent) methods return.
///
/// It is not itself a [`std::error::Error`], so that `?` can turn any error into it.
pub struct AgentError(Box<dyn std::error::Error + Send + Sync>);

impl AgentError {
    /// An error with this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The cause, as the type that it had.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for AgentError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl Debug for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// Why a message was not sent. The receiver has not seen it, but for one case of
/// [`SendError::Unconfirmed`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// No agent has this name.
    Unknown {
        /// The name.
        name: Arc<str>,
    },
    /// The agent has ended for good, or for as long as nobody starts it again.
    Down {
        /// The name.
        name: Arc<str>,
    },
    /// The mailbox is full, and the sender may not wait: it asked not to, its agent rejects, or it
    /// is the agent itself.
    Full {
        /// The name.
        name: Arc<str>,
    },
    /// There was no room in the mailbox before the deadline.
    Timeout {
        /// The name.
        name: Arc<str>,
    },
    /// The agent does not understand the message: an unknown type, or a payload that does not fit.
    NotUnderstood {
        /// The name.
        name: Arc<str>,
        /// What is wrong.
        detail: String,
    },
    /// The type or name belongs to the system: applications cannot send control messages.
    Reserved {
        /// The type.
        kind: String,
    },
    /// The name is that of an agent of another type, or of a supervisor.
    WrongType {
        /// The name.
        name: Arc<str>,
    },
    /// No running agent has the capability.
    NoCapability {
        /// The capability.
        capability: String,
    },
    /// An agent asked itself: it could never answer.
    ToSelf {
        /// The name.
        name: Arc<str>,
    },
    /// The pattern is not one.
    BadPattern {
        /// What is wrong.
        detail: String,
    },
    /// The node that has the agent cannot be reached at present.
    Unreachable {
        /// The name.
        name: Arc<str>,
    },
    /// No more can be under way to the agent's node at present: what was sent waits there for room
    /// in mailboxes, or the queue of the wire is full.
    WireFull {
        /// The name.
        name: Arc<str>,
    },
    /// The message is too large for the wire to the agent's node.
    TooLarge {
        /// The name.
        name: Arc<str>,
        /// How many bytes it takes; zero if only the transport knows.
        bytes: usize,
        /// How many it may take.
        most: usize,
    },
    /// The stream of messages that are delivered at least once has as much as it may have.
    StreamFull {
        /// The name.
        name: Arc<str>,
    },
    /// That stream has refused the message.
    NotStored {
        /// The name.
        name: Arc<str>,
        /// Why.
        detail: String,
    },
    /// That stream has not said whether it has the message: the one failure after which the agent
    /// may see it nevertheless. To send it again may double it.
    Unconfirmed {
        /// The name.
        name: Arc<str>,
        /// What happened.
        detail: String,
    },
    /// The agent lives on another node, so its type cannot be checked here: use a raw reference.
    Remote {
        /// The name.
        name: Arc<str>,
    },
}

impl Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "no agent has the name {name:?}"),
            Self::Down { name } => write!(f, "agent {name:?} is down"),
            Self::Full { name } => write!(f, "the mailbox of {name:?} is full"),
            Self::Timeout { name } => {
                write!(f, "the mailbox of {name:?} had no room before the deadline")
            }
            Self::NotUnderstood { name, detail } => {
                write!(f, "agent {name:?} does not understand the message: {detail}")
            }
            Self::Reserved { kind } => {
                write!(f, "messages of type {kind:?} belong to the system and cannot be sent")
            }
            Self::WrongType { name } => write!(f, "{name:?} is not an agent of this type"),
            Self::NoCapability { capability } => {
                write!(f, "no running agent has the capability {capability:?}")
            }
            Self::ToSelf { name } => write!(f, "agent {name:?} cannot wait for its own answer"),
            Self::BadPattern { detail } => write!(f, "bad pattern: {detail}"),
            Self::Unreachable { name } => write!(f, "the node of {name:?} cannot be reached"),
            Self::WireFull { name } => {
                write!(f, "no more can be under way to the node of {name:?} at present")
            }
            Self::TooLarge { name, bytes, most } => {
                write!(f, "a message of {bytes} bytes to {name:?}; the wire takes {most}")
            }
            Self::StreamFull { name } => {
                write!(f, "the stream of messages has no room for one to {name:?}")
            }
            Self::NotStored { name, detail } => {
                write!(f, "the message to {name:?} is not stored: {detail}")
            }
            Self::Unconfirmed { name, detail } => {
                write!(f, "whether the message to {name:?} is stored is not known: {detail}")
            }
            Self::Remote { name } => {
                write!(f, "{name:?} lives on another node: use a raw reference")
            }
        }
    }
}

impl std::error::Error for SendError {}

/// Why a question has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AskError {
    /// The question was not sent: the agent has not seen it.
    NotSent(SendError),
    /// No answer before the deadline. The agent may or may not have seen the question.
    Timeout {
        /// The name.
        name: Arc<str>,
    },
    /// The question was taken into the mailbox and will not be answered: the agent crashed, was
    /// killed, stopped, or returned without replying; [`AskError::was_seen`] says whether it had
    /// the question in hand.
    Failed {
        /// The name.
        name: Arc<str>,
        /// How.
        failure: ReplyFailure,
    },
    /// The answer is not of the type that was asked for.
    BadReply {
        /// The name.
        name: Arc<str>,
        /// What is wrong.
        detail: String,
    },
}

impl AskError {
    /// Whether the agent has had the question in hand; `None` if nobody can know.
    #[must_use]
    pub const fn was_seen(&self) -> Option<bool> {
        match self {
            Self::NotSent(_) => Some(false),
            Self::Timeout { .. } => None,
            Self::Failed { failure: ReplyFailure::NoConnection, .. } => None,
            Self::Failed { failure, .. } => Some(failure.was_seen()),
            Self::BadReply { .. } => Some(true),
        }
    }
}

impl Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => Display::fmt(error, f),
            Self::Timeout { name } => write!(f, "agent {name:?} did not answer in time"),
            Self::Failed { name, failure } => write!(f, "agent {name:?}: {failure}"),
            Self::BadReply { name, detail } => {
                write!(f, "agent {name:?} answered with something else: {detail}")
            }
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotSent(error) => Some(error),
            Self::Timeout { .. } | Self::Failed { .. } | Self::BadReply { .. } => None,
        }
    }
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        Self::NotSent(error)
    }
}

/// Why a tree was not started. Nothing of it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The runtime has a tree already, or has stopped.
    AlreadyStarted,
    /// A name cannot be a name.
    BadName {
        /// The name.
        name: String,
        /// Why.
        detail: String,
    },
    /// Two agents or supervisors have the same name.
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A supervisor cannot work as it is set up.
    BadSupervisor {
        /// Its name.
        name: String,
        /// Why.
        detail: String,
    },
    /// An agent did not come up; what had started was stopped again.
    AgentFailed {
        /// Its name.
        name: String,
        /// What it said.
        detail: String,
    },
    /// The start was given up because the runtime was told to stop.
    Stopped,
    /// The topology names an agent type that is not registered, or gives it a bad configuration.
    BadAgent {
        /// The name of the agent.
        name: String,
        /// Why.
        detail: String,
    },
}

impl Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyStarted => f.write_str("the runtime has been started already"),
            Self::BadName { name, detail } => write!(f, "{name:?} cannot be a name: {detail}"),
            Self::DuplicateName { name } => write!(f, "the name {name:?} is used twice"),
            Self::BadSupervisor { name, detail } => write!(f, "supervisor {name:?}: {detail}"),
            Self::AgentFailed { name, detail } => {
                write!(f, "agent {name:?} failed to start: {detail}")
            }
            Self::Stopped => f.write_str("the runtime was stopped during its start"),
            Self::BadAgent { name, detail } => write!(f, "agent {name:?}: {detail}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why an operation on an agent or supervisor was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// The runtime has not started, is stopping, or has stopped.
    NotRunning,
    /// No agent or supervisor has this name.
    Unknown {
        /// The name.
        name: String,
    },
    /// The name is in use.
    NameTaken {
        /// The name.
        name: String,
    },
    /// A name cannot be a name.
    BadName {
        /// The name.
        name: String,
        /// Why.
        detail: String,
    },
    /// It cannot be done to this one, or not in the state that it is in.
    Refused {
        /// The name.
        name: String,
        /// Why.
        detail: String,
    },
    /// The agent did not come up.
    StartFailed {
        /// The name.
        name: String,
        /// What it said.
        detail: String,
    },
    /// No agent type of this name is registered.
    UnknownType {
        /// The type.
        kind: String,
    },
}

impl Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("the runtime is not running"),
            Self::Unknown { name } => write!(f, "nothing has the name {name:?}"),
            Self::NameTaken { name } => write!(f, "the name {name:?} is in use"),
            Self::BadName { name, detail } => write!(f, "{name:?} cannot be a name: {detail}"),
            Self::Refused { name, detail } => write!(f, "{name:?}: {detail}"),
            Self::StartFailed { name, detail } => {
                write!(f, "agent {name:?} failed to start: {detail}")
            }
            Self::UnknownType { kind } => write!(f, "no agent type {kind:?} is registered"),
        }
    }
}

impl std::error::Error for ControlError {}

//! Agents, mailboxes, references, and the driver that carries out the kernel's decisions.
//!
//! What the agents do can be followed with `tracing`: target `lictor`, spans `start`, `restart`,
//! `handle`, `stop`, `send` and `crash`.
//!
//! This crate names no executor: it runs on anything that implements [`Executor`].

// So that `messages!` finds serde under one path, whether it is used here or through `lictor`.
#[doc(hidden)]
pub use serde;

mod sync;

mod agent;
mod assemble;
pub mod broker;
mod cell;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
pub mod directory;
mod driver;
pub mod durable;
mod error;
mod events;
pub mod executor;
mod finite;
mod frame;
mod hosting;
mod inbox;
pub mod mailbox;
pub mod message;
mod peers;
mod process;
mod protocol;
mod recorder;
mod refs;
pub mod reply;
mod runtime;
mod server;
mod spans;
mod spec;
mod started;
mod store;
pub mod timers;
mod token;
pub mod transport;
mod types;
mod view;

pub use agent::{Agent, InHandPolicy};
pub use config::{Drain, OnRootExit, RuntimeConfig, RuntimeStatus, Terminated};
pub use context::{Context, TimerHandle};
pub use durable::Durable;
pub use error::{AgentError, AskError, ControlError, SendError, StartError};
pub use events::{EventKind, Events, RuntimeEvent, reason_name};
pub use executor::{Executor, Role, Task};
pub use lictor_kernel::ErrorAction;
pub use mailbox::Overflow;
pub use message::{DecodeError, Message, Protocol, ReplyTo, Request, Value};
pub use peers::WireCounters;
pub use recorder::{Passing, Recorder};
pub use refs::{AgentRef, RawRef, SendOptions};
pub use reply::{InHand, ReplyFailure};
pub use runtime::Runtime;
pub use server::{Server, ServerAgent, ServerContext, ServerMessage};
pub use spec::{AgentSpec, DynamicSupervisor, Supervisor, agent, remote_agent};
pub use started::Tree;
pub use store::{MemoryStore, StateStore, StoreError, StoreFuture};
pub use transport::Transport;
pub use types::{AgentTypes, Setup};
pub use view::{AgentInfo, AgentKind, Status, strategy_name};

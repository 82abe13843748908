//! What a program with agents usually needs: `use lictor::prelude::*;`.

use core::time::Duration;

pub use lictor_kernel::{AutoShutdown, Backoff, Jitter, Restart, Shutdown};
pub use lictor_runtime::{
    Agent, AgentError, AgentRef, AgentSpec, AgentTypes, AskError, Context, Drain,
    DynamicSupervisor, ErrorAction, Message, ReplyTo, Runtime, RuntimeConfig, SendError, Server,
    ServerContext, StartError, Supervisor, Tree, Value, agent, messages,
};

pub use crate::assembly::RuntimeExt as _;

pub use crate::json;

/// What an agent's methods return.
pub type Handled = Result<(), AgentError>;

/// This many milliseconds.
#[must_use]
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// This many seconds.
#[must_use]
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

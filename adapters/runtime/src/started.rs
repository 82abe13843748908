//! What a start returns.

use crate::agent::Agent;
use crate::error::SendError;
use crate::refs::{AgentRef, RawRef};
use crate::runtime::Runtime;

/// A tree that was started.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) runtime: Runtime,
}

impl Tree {
    /// As [`Runtime::agent`].
    ///
    /// # Errors
    /// As [`Runtime::agent`].
    pub fn agent<A: Agent>(&self, name: &str) -> Result<AgentRef<A>, SendError> {
        self.runtime.agent(name)
    }

    /// As [`Runtime::raw`].
    ///
    /// # Errors
    /// As [`Runtime::raw`].
    pub fn raw(&self, name: &str) -> Result<RawRef, SendError> {
        self.runtime.raw(name)
    }

    /// As [`Runtime::stop`].
    pub async fn stop(&self) {
        self.runtime.stop().await;
    }

    /// As [`Runtime::print_tree`].
    #[must_use]
    pub fn print(&self) -> String {
        self.runtime.print_tree()
    }

    /// The runtime that the tree runs in.
    #[must_use]
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

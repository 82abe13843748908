//! What a runtime shows of itself.

use lictor_kernel::Instant;

use super::{Phase, Runtime};
use crate::config::RuntimeStatus;
use crate::events::Events;
use crate::types::AgentTypes;
use crate::view::AgentInfo;

impl Runtime {
    /// Where the runtime is in its life.
    #[must_use]
    pub fn status(&self) -> RuntimeStatus {
        match self.shared.world().phase {
            Phase::New => RuntimeStatus::New,
            Phase::Starting => RuntimeStatus::Starting,
            Phase::Running => RuntimeStatus::Running,
            Phase::Stopping => RuntimeStatus::Stopping,
            Phase::Stopped => RuntimeStatus::Stopped,
            Phase::Failed => RuntimeStatus::Failed,
        }
    }

    /// All agents, dynamic children included, by name.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentInfo> {
        self.shared.world().agents()
    }

    /// The tree as text, dynamic children included.
    #[must_use]
    pub fn print_tree(&self) -> String {
        self.shared.world().print()
    }

    /// Watches what happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.events.watch()
    }

    /// Of how many spawners something is remembered.
    #[cfg(feature = "conformance")]
    pub(crate) fn remembered_spawners(&self) -> usize {
        self.shared.world().remembered_spawners()
    }

    /// The agent types that may be spawned by name.
    #[must_use]
    pub fn types(&self) -> &AgentTypes {
        &self.shared.config.types
    }

    /// The clock of the runtime's executor.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.executor.now()
    }
}

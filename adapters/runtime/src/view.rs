//! What a runtime looks like from outside: its agents, and its tree as text.

use std::sync::Arc;

use lictor_kernel::{ChildId, LifecycleState, NameId, Strategy};
use serde::Serialize;

use crate::driver::{Elsewhere, Place, Role, World};

/// What kind of thing has a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// An agent.
    Agent,
    /// A generic server.
    Server,
}

/// How an agent is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It is being started.
    Initializing,
    /// It handles messages.
    Running,
    /// It takes only control messages.
    Suspended,
    /// It is ending.
    Stopping,
    /// It has ended cleanly.
    Stopped,
    /// It has failed; it may be waiting for its restart.
    Crashed,
}

impl Status {
    const ALL: [Self; 6] = [
        Self::Initializing,
        Self::Running,
        Self::Suspended,
        Self::Stopping,
        Self::Stopped,
        Self::Crashed,
    ];

    /// As trees show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initializing => "INITIALIZING",
            Self::Running => "RUNNING",
            Self::Suspended => "SUSPENDED",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Crashed => "CRASHED",
        }
    }

    pub(crate) fn code(self) -> u8 {
        let at = Self::ALL.iter().position(|status| *status == self);
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
    }

    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Initializing)
    }
}

impl From<LifecycleState> for Status {
    fn from(state: LifecycleState) -> Self {
        match state {
            LifecycleState::Initializing => Self::Initializing,
            LifecycleState::Running => Self::Running,
            LifecycleState::Suspended => Self::Suspended,
            LifecycleState::Stopping => Self::Stopping,
            LifecycleState::Stopped => Self::Stopped,
            LifecycleState::Crashed => Self::Crashed,
        }
    }
}

/// One agent, as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AgentInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Agent or generic server.
    pub kind: AgentKind,
    /// How it is doing.
    pub status: Status,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// The supervisor it hangs under; empty for one that runs here for another node.
    pub supervisor: Arc<str>,
    /// The node that it is placed on, if not this one. Its counters are kept there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Arc<str>>,
    /// How often it has been started.
    pub starts: u64,
    /// Messages waiting.
    pub queued: u64,
    /// Messages taken into the mailbox since the name was declared.
    pub accepted: u64,
    /// Messages handled, to the end and without an error.
    pub handled: u64,
    /// Messages refused for want of room; their senders were told.
    pub rejected: u64,
    /// Messages that will not be handled, by whatever cause; one that was in hand at a crash and
    /// is not redelivered is among them. What was accepted is handled, or here, or queued, or in
    /// hand.
    pub dead_letters: u64,
}

/// A strategy as trees and topologies write it.
#[must_use]
pub const fn strategy_name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::OneForOne => "ONE_FOR_ONE",
        Strategy::OneForAll => "ONE_FOR_ALL",
        Strategy::RestForOne => "REST_FOR_ONE",
    }
}

impl World {
    pub(crate) fn agents(&self) -> Vec<AgentInfo> {
        let mut agents: Vec<AgentInfo> = Vec::new();
        for (id, place) in self.places.iter() {
            let supervisor = place.parent.and_then(|parent| self.places.get(parent));
            let supervisor = supervisor.map_or_else(|| Arc::from(""), |s| Arc::clone(s.name()));
            let launch = match &place.role {
                Role::Agent(launch) => launch,
                Role::Placed(elsewhere) => {
                    agents.push(self.elsewhere(id, place, elsewhere, supervisor));
                    continue;
                }
                Role::Supervisor(_) | Role::Dynamic(_) => continue,
            };
            let cell = launch.cell();
            let core = cell.core();
            let counters = cell.counters();
            agents.push(AgentInfo {
                name: Arc::clone(&core.name),
                kind: core.kind,
                status: core.status(),
                capabilities: core.capabilities().to_vec(),
                supervisor,
                on: None,
                starts: core.starts(),
                queued: cell.queued() as u64,
                accepted: counters.pushed,
                handled: core.handled(),
                rejected: counters.rejected + core.timed_out(),
                dead_letters: core.dead(),
            });
        }
        agents.sort_by(|a, b| a.name.cmp(&b.name));
        agents
    }

    fn elsewhere(
        &self,
        id: ChildId,
        place: &Place,
        elsewhere: &Elsewhere,
        supervisor: Arc<str>,
    ) -> AgentInfo {
        AgentInfo {
            name: Arc::clone(place.name()),
            kind: AgentKind::Agent,
            status: self.placed_status(id),
            capabilities: Vec::new(),
            supervisor,
            on: Some(Arc::clone(&elsewhere.node)),
            starts: elsewhere.starts,
            queued: 0,
            accepted: 0,
            handled: 0,
            rejected: 0,
            dead_letters: 0,
        }
    }

    fn placed_status(&self, id: ChildId) -> Status {
        match self.node.placement().status(NameId(id.0)) {
            Some(lictor_kernel::Status::Up) => Status::Running,
            Some(lictor_kernel::Status::Suspended) => Status::Suspended,
            Some(lictor_kernel::Status::Restarting) => Status::Crashed,
            Some(lictor_kernel::Status::Starting) => Status::Initializing,
            Some(lictor_kernel::Status::Down) | None => Status::Stopped,
        }
    }

    /// The tree as text. Iterative: a tree may be as deep as its author likes.
    pub(crate) fn print(&self) -> String {
        let Some(root) = self.root else { return "(no supervision tree)".to_owned() };
        let mut lines = Vec::new();
        let mut rest = vec![(root, String::new(), None)];
        while let Some((id, prefix, last)) = rest.pop() {
            let Some(place) = self.places.get(id) else { continue };
            let (connector, indent) = match last {
                None => ("", ""),
                Some(true) => ("└── ", "    "),
                Some(false) => ("├── ", "│   "),
            };
            lines.push(format!("{prefix}{connector}{}", self.label(id)));
            let prefix = format!("{prefix}{indent}");
            let mut is_last = true;
            for child in place.role.children().rev() {
                rest.push((child, prefix.clone(), Some(is_last)));
                is_last = false;
            }
        }
        lines.join("\n")
    }

    fn label(&self, id: ChildId) -> String {
        let Some(place) = self.places.get(id) else { return String::new() };
        let name = place.name();
        match &place.role {
            Role::Supervisor(fixed) => {
                format!("[sup] {name} ({})", strategy_name(fixed.strategy))
            }
            Role::Dynamic(_) => format!("[dyn] {name} ({})", self.supervisor_status(id).name()),
            Role::Placed(elsewhere) => {
                format!("[agent] {name} ({}) on {}", self.placed_status(id).name(), elsewhere.node)
            }
            Role::Agent(launch) => {
                let core = launch.core();
                let tag = match core.kind {
                    AgentKind::Agent => "[agent]",
                    AgentKind::Server => "[srv]",
                };
                format!("{tag} {name} ({})", core.status().name())
            }
        }
    }
}

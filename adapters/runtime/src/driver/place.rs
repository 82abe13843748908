//! What the driver knows of one name: where it hangs, and what runs there.

use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_kernel::{ChildId, ChildSpec, Strategy};

use super::Elsewhere;
use crate::cell::{AnyCell, Launch};

/// A name's place in the tree. What it is called, its role knows: an agent's cell does.
pub(crate) struct Place {
    pub(crate) parent: Option<ChildId>,
    pub(crate) role: Role,
}

impl Place {
    pub(crate) fn name(&self) -> &Arc<str> {
        match &self.role {
            Role::Agent(launch) => &launch.core().name,
            Role::Placed(elsewhere) => &elsewhere.name,
            Role::Supervisor(fixed) => &fixed.name,
            Role::Dynamic(spawning) => &spawning.name,
        }
    }

    /// Where the messages of what runs here wait, if it is an agent.
    pub(super) fn cell(&self) -> Option<Arc<dyn AnyCell>> {
        match &self.role {
            Role::Agent(launch) => Some(launch.cell()),
            Role::Placed(_) | Role::Supervisor(_) | Role::Dynamic(_) => None,
        }
    }
}

pub(crate) enum Role {
    Agent(Arc<dyn Launch>),
    /// It runs on another node.
    Placed(Box<Elsewhere>),
    Supervisor(Box<Fixed>),
    Dynamic(Box<Spawning>),
}

/// A static supervisor. In a box, as all that is not an agent: there are many agents.
pub(crate) struct Fixed {
    name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) children: Vec<ChildId>,
}

/// A dynamic supervisor.
pub(crate) struct Spawning {
    name: Arc<str>,
    pub(crate) template: ChildSpec,
    /// By number, which is the order in which their names came: one of many goes as cheaply as one
    /// of few, and a name that is known already may come late.
    pub(crate) children: BTreeSet<ChildId>,
}

impl Role {
    pub(crate) fn supervisor(name: Arc<str>, strategy: Strategy) -> Self {
        Self::Supervisor(Box::new(Fixed { name, strategy, children: Vec::new() }))
    }

    pub(crate) fn dynamic(name: Arc<str>, template: ChildSpec) -> Self {
        Self::Dynamic(Box::new(Spawning { name, template, children: BTreeSet::new() }))
    }

    pub(crate) fn children(&self) -> impl DoubleEndedIterator<Item = ChildId> {
        let (fixed, dynamic) = match self {
            Self::Agent(_) | Self::Placed(_) => (None, None),
            Self::Supervisor(fixed) => (Some(&fixed.children), None),
            Self::Dynamic(spawning) => (None, Some(&spawning.children)),
        };
        fixed.into_iter().flatten().chain(dynamic.into_iter().flatten()).copied()
    }
}

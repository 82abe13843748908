//! What the driver knows of one name: where it hangs, and what runs there.

use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_kernel::{ChildId, ChildSpec, Strategy};

use super::Elsewhere;
use crate::cell::{AnyCell, Launch};

/// A name's place in the tree.
pub(crate) struct Place {
    pub(crate) name: Arc<str>,
    pub(crate) parent: Option<ChildId>,
    pub(crate) role: Role,
}

impl Place {
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
    pub(crate) strategy: Strategy,
    pub(crate) children: Vec<ChildId>,
}

/// A dynamic supervisor.
pub(crate) struct Spawning {
    pub(crate) template: ChildSpec,
    /// By number, which is the order in which their names came: one of many goes as cheaply as one
    /// of few, and a name that is known already may come late.
    pub(crate) children: BTreeSet<ChildId>,
}

impl Role {
    pub(crate) fn supervisor(strategy: Strategy) -> Self {
        Self::Supervisor(Box::new(Fixed { strategy, children: Vec::new() }))
    }

    pub(crate) fn dynamic(template: ChildSpec) -> Self {
        Self::Dynamic(Box::new(Spawning { template, children: BTreeSet::new() }))
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

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
            Role::Placed(_) | Role::Supervisor { .. } | Role::Dynamic { .. } => None,
        }
    }
}

pub(crate) enum Role {
    Agent(Arc<dyn Launch>),
    /// It runs on another node.
    Placed(Elsewhere),
    Supervisor {
        strategy: Strategy,
        children: Vec<ChildId>,
    },
    Dynamic {
        template: ChildSpec,
        /// By number, which is the order in which their names came: one of many goes as cheaply as
        /// one of few, and a name that is known already may come late.
        children: BTreeSet<ChildId>,
    },
}

impl Role {
    pub(crate) fn children(&self) -> impl DoubleEndedIterator<Item = ChildId> {
        let (fixed, dynamic) = match self {
            Self::Agent(_) | Self::Placed(_) => (None, None),
            Self::Supervisor { children, .. } => (Some(children), None),
            Self::Dynamic { children, .. } => (None, Some(children)),
        };
        fixed.into_iter().flatten().chain(dynamic.into_iter().flatten()).copied()
    }
}

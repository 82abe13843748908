//! Either kind of supervisor, as the tree sees it.

use alloc::vec::Vec;

use crate::dynamic_supervisor::{self, DynamicSupervisor};
use crate::supervisor::{self, ChildState, Counts, Event, Supervisor};
use crate::{ChildId, Instant};

/// One supervisor at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Machine {
    /// A static supervisor.
    Static(Supervisor),
    /// A dynamic supervisor.
    Dynamic(DynamicSupervisor),
}

/// Where a machine pushes its actions.
pub(super) struct Out<'a> {
    pub(super) fixed: &'a mut Vec<supervisor::Action>,
    pub(super) dynamic: &'a mut Vec<dynamic_supervisor::Action>,
}

impl Machine {
    /// The state of one child, `None` if it is unknown.
    #[must_use]
    pub fn child(&self, id: ChildId) -> Option<ChildState> {
        match self {
            Self::Static(machine) => machine.child(id),
            Self::Dynamic(machine) => machine.child(id),
        }
    }

    /// All children: in start order if static, by id if dynamic.
    #[must_use]
    pub fn which_children(&self) -> Vec<(ChildId, ChildState)> {
        match self {
            Self::Static(machine) => machine.which_children().collect(),
            Self::Dynamic(machine) => machine.which_children().collect(),
        }
    }

    /// Numbers of children.
    #[must_use]
    pub fn count_children(&self) -> Counts {
        match self {
            Self::Static(machine) => machine.count_children(),
            Self::Dynamic(machine) => machine.count_children(),
        }
    }

    /// Whether a phase is under way, so that commands answer `Busy`. Never for a dynamic one.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        match self {
            Self::Static(machine) => machine.is_busy(),
            Self::Dynamic(_) => false,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        match self {
            Self::Static(machine) => matches!(machine.phase(), supervisor::Phase::Stopping { .. }),
            Self::Dynamic(machine) => !machine.is_running(),
        }
    }

    pub(super) fn start(&mut self, now: Instant, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.start(now, out.fixed),
            Self::Dynamic(machine) => machine.start(out.dynamic),
        }
    }

    pub(super) fn handle(&mut self, now: Instant, event: Event, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.handle(now, event, out.fixed),
            Self::Dynamic(machine) => machine.handle(now, event, out.dynamic),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.handle_timeout(now, out.fixed),
            Self::Dynamic(machine) => machine.handle_timeout(now, out.dynamic),
        }
    }

    pub(super) fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.shutdown(now, deadline, out.fixed),
            Self::Dynamic(machine) => machine.shutdown(now, deadline, out.dynamic),
        }
    }

    pub(super) fn kill(&mut self, now: Instant, out: &mut Out<'_>) {
        match self {
            Self::Static(machine) => machine.kill(now, out.fixed),
            Self::Dynamic(machine) => machine.kill(now, out.dynamic),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Static(machine) => machine.poll_timeout(),
            Self::Dynamic(machine) => machine.poll_timeout(),
        }
    }
}

//! What goes past all messages.

use std::sync::Arc;

use lictor_kernel::ProcessId;

/// What the runtime tells an agent, past all messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    /// To this process only: one that comes too late must not stop the next incarnation.
    Shutdown {
        process: ProcessId,
    },
    Suspend {
        reason: Arc<str>,
    },
    Resume {
        approver: Arc<str>,
    },
    /// To this process only, as well.
    Restart {
        process: ProcessId,
        by: Arc<str>,
    },
    ChildTerminated {
        child: Arc<str>,
        reason: &'static str,
    },
}

impl Control {
    /// Whether a caller has asked for it, so that nothing else bounds how many of it wait.
    pub(crate) const fn is_wish(&self) -> bool {
        match self {
            Self::Suspend { .. } | Self::Resume { .. } | Self::Restart { .. } => true,
            Self::Shutdown { .. } | Self::ChildTerminated { .. } => false,
        }
    }
}

/// How many wishes of callers may wait for an agent that does not come to them.
pub(crate) const WISHES_MAX: u16 = 1024;

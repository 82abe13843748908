//! What a supervisor knows of one child.

use alloc::sync::Arc;

use crate::backoff::BackoffState;
use crate::{ChildSpec, Instant, Pid};

/// A child as seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChildState {
    /// Being started.
    Starting(Pid),
    /// Alive, or dead with its death not handled yet.
    Up(Pid),
    /// Told to stop, not gone yet.
    Stopping(Pid),
    /// Without a process, to be started again at this instant.
    Restarting {
        /// When.
        at: Instant,
    },
    /// Without a process; the specification is kept.
    Down,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Child {
    /// Shared by children made alike: there may be very many of them.
    pub(super) spec: Arc<ChildSpec>,
    /// Position in the start order.
    pub(super) place: u64,
    pub(super) process: Process,
    pub(super) backoff: BackoffState,
}

/// The process of a child, if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Process {
    Down,
    /// `late`: it missed its start deadline and was killed. `was_up`: it came up all the same, and
    /// can no longer fail to start.
    Starting {
        pid: Pid,
        late: bool,
        was_up: bool,
    },
    Up {
        pid: Pid,
        since: Instant,
    },
    /// It ended; its death waits in the queue.
    Dead {
        pid: Pid,
        since: Instant,
    },
    /// `killed`: it has been told for the last time. `was_up`: it can no longer fail to start.
    Stopping {
        pid: Pid,
        killed: bool,
        was_up: bool,
    },
    /// `order`: its place among the restarts of one instant.
    Restarting {
        at: Instant,
        order: u64,
        retry: Retry,
    },
}

/// Why a child waits for its restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Retry {
    /// Its crash is counted; the wait is its backoff.
    Backoff,
    /// Its restart failed; that is still to be counted as a crash, behind the facts of the instant.
    FailedStart,
}

impl Child {
    pub(super) fn new(spec: Arc<ChildSpec>, place: u64) -> Self {
        Self { spec, place, process: Process::Down, backoff: BackoffState::default() }
    }
}

impl Process {
    pub(super) fn state(self) -> ChildState {
        match self {
            Self::Down => ChildState::Down,
            Self::Starting { pid, .. } => ChildState::Starting(pid),
            Self::Up { pid, .. } | Self::Dead { pid, .. } => ChildState::Up(pid),
            Self::Stopping { pid, .. } => ChildState::Stopping(pid),
            Self::Restarting { at, .. } => ChildState::Restarting { at },
        }
    }

    /// The process that events may speak of.
    pub(super) fn pid(self) -> Option<Pid> {
        match self {
            Self::Starting { pid, .. } | Self::Up { pid, .. } | Self::Stopping { pid, .. } => {
                Some(pid)
            }
            Self::Dead { .. } | Self::Down | Self::Restarting { .. } => None,
        }
    }

    pub(super) fn is_alive(self) -> bool {
        matches!(self, Self::Up { .. } | Self::Starting { .. } | Self::Stopping { .. })
    }

    /// Whether all_significant still counts it as there: a process, or one that will be.
    pub(super) fn is_present(self) -> bool {
        !matches!(self, Self::Down)
    }
}

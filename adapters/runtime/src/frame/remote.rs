//! What goes over the wire about children on other nodes.

use std::time::Duration;

use lictor_kernel::remote::{Frame, Refusal, Stamp, State, Ticket, Want};
use lictor_kernel::{ExitReason, NameId, SupervisorId};
use serde::{Deserialize, Serialize};

/// A frame of [`lictor_kernel::remote`], its name as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Remote {
    Order {
        from: u64,
        to: u64,
        name: String,
        start: Start,
        want: WireWant,
    },
    Report {
        from: u64,
        to: u64,
        name: String,
        start: Start,
        state: WireState,
        detail: Option<String>,
    },
    Renew {
        from: u64,
        to: u64,
        seq: u64,
    },
    Renewed {
        from: u64,
        to: u64,
        seq: u64,
        lease: u64,
    },
}

/// Which process of the name: the incarnations of its supervisor and of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    supervisor: u64,
    incarnation: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireWant {
    Run,
    Shutdown,
    Kill,
    Noted,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireState {
    Starting,
    Up,
    Ignored,
    Failed,
    NotOffered,
    Taken,
    Exited { reason: WireReason, came_up: bool },
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireReason {
    Normal,
    Shutdown,
    ShutdownBecause,
    Killed,
    Crashed,
    StartTimeout,
    NoConnection,
    RestartsExhausted,
}

super::same!(Want, WireWant, Run Shutdown Kill Noted Gone);
super::same!(WireWant, Want, Run Shutdown Kill Noted Gone);
super::same!(ExitReason, WireReason, Normal Shutdown ShutdownBecause Killed Crashed StartTimeout
    NoConnection RestartsExhausted);
super::same!(WireReason, ExitReason, Normal Shutdown ShutdownBecause Killed Crashed StartTimeout
    NoConnection RestartsExhausted);

impl From<Ticket> for Start {
    fn from(ticket: Ticket) -> Self {
        Self { supervisor: ticket.supervisor.0, incarnation: ticket.incarnation }
    }
}

impl From<Start> for Ticket {
    fn from(start: Start) -> Self {
        let supervisor = SupervisorId(start.supervisor);
        Self { supervisor, incarnation: start.incarnation }
    }
}

impl From<State> for WireState {
    fn from(state: State) -> Self {
        match state {
            State::Starting => Self::Starting,
            State::Up => Self::Up,
            State::Ignored => Self::Ignored,
            State::Failed => Self::Failed,
            State::Refused(Refusal::NotOffered) => Self::NotOffered,
            State::Refused(Refusal::Taken) => Self::Taken,
            State::Exited { reason, came_up } => Self::Exited { reason: reason.into(), came_up },
            State::Gone => Self::Gone,
        }
    }
}

impl From<WireState> for State {
    fn from(state: WireState) -> Self {
        match state {
            WireState::Starting => Self::Starting,
            WireState::Up => Self::Up,
            WireState::Ignored => Self::Ignored,
            WireState::Failed => Self::Failed,
            WireState::NotOffered => Self::Refused(Refusal::NotOffered),
            WireState::Taken => Self::Refused(Refusal::Taken),
            WireState::Exited { reason, came_up } => {
                Self::Exited { reason: reason.into(), came_up }
            }
            WireState::Gone => Self::Gone,
        }
    }
}

impl Remote {
    /// The name in it, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Order { name, .. } | Self::Report { name, .. } => Some(name),
            Self::Renew { .. } | Self::Renewed { .. } => None,
        }
    }

    /// What an end said of itself.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Report { detail, .. } => detail.as_deref(),
            Self::Order { .. } | Self::Renew { .. } | Self::Renewed { .. } => None,
        }
    }

    /// The kernel's frame, with the number that its name has here.
    pub(crate) fn frame(&self, id: Option<NameId>) -> Option<Frame> {
        Some(match *self {
            Self::Order { from, to, start, want, .. } => Frame::Order {
                stamp: Stamp { from, to },
                name: id?,
                ticket: start.into(),
                want: want.into(),
            },
            Self::Report { from, to, start, state, .. } => Frame::Report {
                stamp: Stamp { from, to },
                name: id?,
                ticket: start.into(),
                state: state.into(),
            },
            Self::Renew { from, to, seq } => Frame::Renew { stamp: Stamp { from, to }, seq },
            Self::Renewed { from, to, seq, lease } => Frame::Renewed {
                stamp: Stamp { from, to },
                seq,
                lease: Duration::from_nanos(lease),
            },
        })
    }

    /// The kernel's frame with its name as text, and what an end said of itself.
    pub(crate) fn spelled(frame: Frame, name: Option<&str>, detail: Option<&str>) -> Option<Self> {
        let Stamp { from, to } = frame.stamp();
        let text = |name: Option<&str>| name.map(str::to_owned);
        Some(match frame {
            Frame::Order { ticket, want, .. } => {
                let (name, start, want) = (text(name)?, ticket.into(), want.into());
                Self::Order { from, to, name, start, want }
            }
            Frame::Report { ticket, state, .. } => {
                let (name, start, detail) = (text(name)?, ticket.into(), text(detail));
                Self::Report { from, to, name, start, state: state.into(), detail }
            }
            Frame::Renew { seq, .. } => Self::Renew { from, to, seq },
            Frame::Renewed { seq, lease, .. } => {
                let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
                Self::Renewed { from, to, seq, lease }
            }
        })
    }
}

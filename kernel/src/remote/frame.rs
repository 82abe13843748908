//! What an owner and a host say to each other, and how long it holds.

use core::time::Duration;

use crate::{ExitReason, NameId, ProcessId, SupervisorId};

/// How remote children are treated. The owner's lease counts on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// How long a host may go on without an answer of the owner. (H6)
    pub lease: Duration,
    /// What the owner waits beyond a lease, for clocks whose rates differ: an eighth of the lease
    /// covers rates that differ by an eighth. (H9)
    pub margin: Duration,
    /// From one question for a lease to the next; several within a lease. Zero counts as a
    /// nanosecond.
    pub renew_every: Duration,
    /// From one order or report to its repetition. Zero counts as a nanosecond.
    pub repeat_every: Duration,
    /// Whether an older boot of this node may have given leases that still run. The first start of
    /// a child then waits a lease and the margin, counted from the first start of any. (H12)
    pub inherits: bool,
    /// Greatest number of children placed on other nodes.
    pub placed: usize,
    /// Greatest number of names that may be run here for others.
    pub offers: usize,
}

impl Default for Config {
    /// Leases of 5 s and 625 ms more, asked for each second; repetitions each second; an older boot
    /// may have left leases; 2^16 children placed, 2^16 names offered.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            margin: Duration::from_millis(625),
            renew_every: Duration::from_secs(1),
            repeat_every: Duration::from_secs(1),
            inherits: true,
            placed: 1 << 16,
            offers: 1 << 16,
        }
    }
}

/// Between which boots of the two nodes something is said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// The sender's boot; greater is newer.
    pub from: u64,
    /// The receiver's, as the sender knows it.
    pub to: u64,
}

/// Which process of a name, to those who do not supervise it: greater is newer within one boot of
/// the owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    /// The incarnation of the owner's supervisor.
    pub supervisor: SupervisorId,
    /// The incarnation of the child under it.
    pub incarnation: u64,
}

impl Ticket {
    /// The ticket of a process of the owner.
    #[must_use]
    pub const fn of(process: ProcessId) -> Self {
        Self { supervisor: process.supervisor, incarnation: process.pid.incarnation }
    }
}

/// What the owner wants of a process. It is repeated until a report shows that it is so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Want {
    /// Run it.
    Run,
    /// Let it finish what is in hand and stop.
    Shutdown,
    /// End it now.
    Kill,
    /// Its end is known here; tell it no more. The name stays.
    Noted,
    /// End it if it is there, and give the name back.
    Gone,
}

/// What the host says of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// The order is taken; the process is not up yet.
    Starting,
    /// It has come up, and has not ended.
    Up,
    /// It had nothing to start and is content.
    Ignored,
    /// It could not be started.
    Failed,
    /// The host does not run such a name.
    Refused(Refusal),
    /// It has ended.
    Exited {
        /// Why.
        reason: ExitReason,
        /// Whether it had come up.
        came_up: bool,
    },
    /// There is no such process here, and there will not be.
    Gone,
}

impl State {
    /// Whether the process does not run and never will again.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::Starting | Self::Up => false,
            Self::Ignored | Self::Failed | Self::Refused(_) | Self::Exited { .. } | Self::Gone => {
                true
            }
        }
    }
}

/// Why a host does not run a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// It was not given the name.
    NotOffered,
    /// The name is in use: in its own tree, or for another owner.
    Taken,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotOffered => "the node that it is placed on does not offer it",
            Self::Taken => "the node that it is placed on has another of this name",
        })
    }
}

/// What is said about remote children. Small and `Copy`, as
/// [`membership::Frame`](crate::membership::Frame), and over the same wire, which may lose, repeat,
/// reorder and hold frames back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Frame {
    /// The owner to the host: this is wanted.
    Order {
        /// Between which boots.
        stamp: Stamp,
        /// Of which name.
        name: NameId,
        /// Which process of it.
        ticket: Ticket,
        /// What.
        want: Want,
    },
    /// The host to the owner: so it is.
    Report {
        /// Between which boots.
        stamp: Stamp,
        /// Which name.
        name: NameId,
        /// Which process of it.
        ticket: Ticket,
        /// How it is.
        state: State,
    },
    /// The host to the owner: may I go on?
    Renew {
        /// Between which boots.
        stamp: Stamp,
        /// Which question.
        seq: u64,
    },
    /// The owner to the host: you may, for so long since you asked.
    Renewed {
        /// Between which boots.
        stamp: Stamp,
        /// Which question this answers.
        seq: u64,
        /// How long.
        lease: Duration,
    },
}

impl Frame {
    /// Between which boots it is.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        match *self {
            Self::Order { stamp, .. }
            | Self::Report { stamp, .. }
            | Self::Renew { stamp, .. }
            | Self::Renewed { stamp, .. } => stamp,
        }
    }
}

//! What happened, in the one form in which every engine tells it.
//!
//! Invariants, digests, traces and timelines know records and nothing else, so they cannot tell a
//! kernel world from the real runtime under turmoil. A record is small and `Copy`: names are
//! numbers of the scenario, reasons are the kernel's.

use lictor_kernel::{ExitReason, Instant, NodeId, Signal, Status, remote};
use serde::Serialize;

use crate::digest::Digest;

/// A supervisor or an agent of the scenario, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Who(pub u16);

/// A node of the world, by number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct NodeIx(pub u8);

impl NodeIx {
    /// The node of this number of kernels.
    pub(crate) fn of(node: NodeId) -> Self {
        Self(u8::try_from(node.0).unwrap_or(u8::MAX))
    }
}

/// One incarnation.
///
/// Ordered by age among those of one `who` on one boot of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Process {
    /// Of whom.
    pub who: Who,
    /// Under which incarnation of the supervisor; greater is newer.
    pub supervisor: u64,
    /// Which start under it; greater is newer.
    pub incarnation: u64,
}

/// A message, by where it comes from: the operation or the ticker that sent it, which of its
/// messages it is, and to which of several receivers it goes. So it has the same name on every
/// engine and in every run of the plan, whatever else happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId {
    /// The agent that sends it by itself; `None` for one that an operation sends.
    pub ticker: Option<Who>,
    /// The number of the operation, or of the tick.
    pub number: u32,
    /// The receiver of this copy, of a broadcast.
    pub copy: Option<Who>,
}

impl MessageId {
    /// The message of an operation.
    #[must_use]
    pub const fn of_operation(number: u32) -> Self {
        Self { ticker: None, number, copy: None }
    }

    fn words(self) -> u64 {
        let half = |who: Option<Who>| who.map_or(0xffff, |who| u64::from(who.0));
        half(self.ticker) << 48 | half(self.copy) << 32 | u64::from(self.number)
    }
}

/// How a message ended. Each ends exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// An incarnation has handled it, and it wanted no answer or has given its own.
    Handled,
    /// Its sender was told that the mailbox is full.
    Full,
    /// Its sender was told that the receiver is down for good.
    Down,
    /// Its sender was told that there is no such name, or nobody with the capability.
    Unknown,
    /// Its sender gave up waiting for room.
    NoRoom,
    /// Its sender was told that the link takes no more.
    LinkFull,
    /// In hand at a crash, and dropped as the agent's policy says.
    Crashed,
    /// In the mailbox when the name went down for good: a dead letter.
    DeadLetter,
    /// Evicted by a newer one.
    Evicted,
    /// Its time to live was over.
    Expired,
    /// Skipped by the agent's decision: a dead letter.
    Skipped,
    /// Lost between two nodes. The world knows; nobody in it does.
    Lost,
    /// Gone with the node that held it.
    Gone,
}

/// How a question ended for who asked. Each ends exactly once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With an answer.
    Answered,
    /// With an error that says what became of it.
    Failed,
    /// Its deadline came first.
    TimedOut,
    /// The node that asked is gone.
    Gone,
}

/// The life of a supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// It begins to start its children.
    Initializing,
    /// All its children are up.
    Ready,
    /// It and all its children are gone.
    Exited(ExitReason),
}

/// What becomes of a process on the node that runs it for another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Here {
    /// It is begun, for this boot of its owner.
    Begins(u32),
    /// It is up.
    Up,
    /// It had nothing to start.
    Ignored,
    /// It could not start.
    Failed,
    /// It is told to end.
    Told(Signal),
    /// It must not handle anything from this instant of the world on.
    Leased(Instant),
    /// It has ended.
    Ended(ExitReason),
}

/// What becomes of a process on another node, in the eyes of its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Placed {
    /// Its start waits for its host.
    Waiting,
    /// This boot of its host is told to run it.
    Ordered(u32),
}

/// A child as its supervisor shows it. The numbers are part of every digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// It has no process, and none is to come.
    Down,
    /// Its process is being started.
    Starting,
    /// Its process is there, or its end has not been handled yet.
    Up,
    /// Its process was told to end.
    Stopping,
    /// A process will be started for it at a set instant.
    Restarting,
}

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    /// When, on the world's clock.
    pub at: Instant,
    /// On which node.
    pub node: NodeIx,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// The kernel wants this process started.
    Start(Process),
    /// The kernel wants this process to end.
    Signal(Process, Signal),
    /// The kernel was told that the process is up.
    Started(Process),
    /// The kernel was told that there was nothing to start.
    StartIgnored(Process),
    /// The kernel was told that the start failed.
    StartFailed(Process),
    /// The kernel was told that the process ended.
    Exited(Process, ExitReason),
    /// A supervisor is here in its life; its process, unless it is a root.
    Supervisor {
        /// Whose.
        who: Who,
        /// Which incarnation of it.
        id: u64,
        /// The process that it is to its parent.
        process: Option<Process>,
        /// Where.
        stage: Stage,
    },
    /// The kernel has put a restart off.
    RestartScheduled {
        /// Of whom.
        who: Who,
        /// Under which incarnation of the supervisor.
        supervisor: u64,
        /// By how much, in nanoseconds of the node's clock.
        delay: u64,
    },
    /// The restart budget of this incarnation of a supervisor is used up by this child.
    RestartsExhausted {
        /// Which incarnation.
        supervisor: u64,
        /// Whose crash went over.
        child: Who,
    },
    /// A process told to stop ended otherwise.
    ShutdownError(Process, ExitReason),
    /// The kernel was told of a process that it knows to be gone.
    Stale(Process),
    /// The specification is forgotten.
    Removed(Who),
    /// An incarnation has found so many messages in its checkpoint, or no checkpoint.
    Restored(Process, Option<u64>),
    /// A name of this node is doing differently.
    Status(Who, Status),
    /// A message was sent; whether it asks.
    Sent(MessageId, Who, bool),
    /// A message was put into the mailbox of its receiver on this node.
    Queued(MessageId, Who),
    /// A message was given to an incarnation.
    Delivered(MessageId, Process),
    /// A message is put back, to be given to the next incarnation first.
    PutBack(MessageId, Who),
    /// A message has ended.
    Ended(MessageId, Fate),
    /// A question has ended for who asked.
    Answered(MessageId, Ending),
    /// A second copy of something came and was suppressed.
    Suppressed(MessageId),
    /// What came was late or belonged to no open question, and was dropped.
    LateAnswer(MessageId),
    /// A frame left for a node.
    FrameSent(NodeIx),
    /// A frame to a node was lost.
    FrameLost(NodeIx),
    /// A node hears from this peer (again).
    PeerUp(NodeIx),
    /// A node has given this peer up.
    PeerDown(NodeIx),
    /// A supervisor that is asked shows a child so.
    Shows(Who, Shown),
    /// A node sees this name at this owner, or nowhere.
    Sees(Who, Option<NodeIx>),
    /// The node has booted, for the n-th time.
    Booted(u32),
    /// The node is gone.
    Halted,
    /// An operation is carried out.
    Operation(u32),
    /// The operation was refused: nothing comes of it.
    Refused(u32),
    /// A fault begins or ends.
    Fault(u32, bool),
    /// Faults are over, and what was broken for good was mended: from here on liveness counts.
    Healed,
    /// The run is over.
    Over,
    /// The time to heal is over: what must be up is up, and all that follows is the last stop.
    Calm,
    /// A process that this node runs for another one; it has the name that its owner gave it.
    Here(Process, Here),
    /// A name that this node runs for another one is had here, or no longer.
    Has(Who, bool),
    /// A process of this node's on another one.
    Placed(Process, NodeIx, Placed),
    /// What this boot of the node runs for others begins to outlive it, or does no longer.
    Outlives(u32, bool),
}

impl Process {
    fn words(self, small: u64, word: u64) -> (u64, [u64; 3]) {
        (small | u64::from(self.who.0) << 16, [self.supervisor, self.incarnation, word])
    }
}

impl Here {
    const fn words(self) -> (u64, u64) {
        match self {
            Self::Begins(boot) => (0, boot as u64),
            Self::Up => (1, 0),
            Self::Ignored => (2, 0),
            Self::Failed => (3, 0),
            Self::Told(signal) => (4, signal as u64),
            Self::Leased(until) => (5, until.as_nanos()),
            Self::Ended(reason) => (6, reason as u64),
        }
    }
}

impl Record {
    /// Takes this record into a digest.
    pub fn digest(&self, digest: &mut Digest) {
        let (small, [first, second, third]) = self.what.payload();
        let head = u64::from(self.node.0) << 8 | u64::from(self.what.code());
        digest.words([self.at.as_nanos(), head, small, first, second, third]);
    }
}

impl What {
    /// How far a process is on another node, in the eyes of its owner.
    pub(crate) fn placed(process: Process, host: NodeId, stage: remote::Stage) -> Self {
        use remote::Stage as On;
        let placed = |stage| Self::Placed(process, NodeIx::of(host), stage);
        match stage {
            On::Waiting => placed(Placed::Waiting),
            On::Ordered(boot) => placed(Placed::Ordered(u32::try_from(boot).unwrap_or(u32::MAX))),
            On::Started => Self::Started(process),
            On::Ignored => Self::StartIgnored(process),
            On::Failed(_) => Self::StartFailed(process),
            On::Exited(reason) => Self::Exited(process, reason),
        }
    }

    /// A number that tells the kinds apart. Part of every committed digest: append only.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Start(_) => 0,
            Self::Signal(..) => 1,
            Self::Started(_) => 2,
            Self::StartIgnored(_) => 3,
            Self::StartFailed(_) => 4,
            Self::Exited(..) => 5,
            Self::Supervisor { .. } => 6,
            Self::RestartScheduled { .. } => 7,
            Self::RestartsExhausted { .. } => 8,
            Self::ShutdownError(..) => 9,
            Self::Stale(_) => 10,
            Self::Removed(_) => 11,
            Self::Status(..) => 12,
            Self::Sent(..) => 13,
            Self::Queued(..) => 14,
            Self::Delivered(..) => 15,
            Self::PutBack(..) => 16,
            Self::Ended(..) => 17,
            Self::Answered(..) => 18,
            Self::Suppressed(_) => 19,
            Self::LateAnswer(_) => 20,
            Self::FrameSent(_) => 21,
            Self::FrameLost(_) => 22,
            Self::PeerUp(_) => 23,
            Self::PeerDown(_) => 24,
            Self::Sees(..) => 25,
            Self::Booted(_) => 26,
            Self::Halted => 27,
            Self::Operation(_) => 28,
            Self::Fault(..) => 29,
            Self::Healed => 30,
            Self::Over => 31,
            Self::Calm => 32,
            Self::Refused(_) => 33,
            Self::Restored(..) => 34,
            Self::Here(..) => 35,
            Self::Has(..) => 36,
            Self::Placed(..) => 37,
            Self::Outlives(..) => 38,
            Self::Shows(..) => 39,
        }
    }

    /// All that a record says besides its kind: a small number, whose name in the upper half, and
    /// up to three words.
    fn payload(&self) -> (u64, [u64; 3]) {
        let of = |who: Who| u64::from(who.0) << 16;
        match *self {
            Self::Start(process)
            | Self::Started(process)
            | Self::StartIgnored(process)
            | Self::StartFailed(process)
            | Self::Stale(process) => process.words(0, 0),
            Self::Signal(process, signal) => process.words(signal as u64, 0),
            Self::Exited(process, reason) | Self::ShutdownError(process, reason) => {
                process.words(reason as u64, 0)
            }
            Self::Supervisor { who, id, process, stage } => {
                let stage = match stage {
                    Stage::Initializing => 0,
                    Stage::Ready => 1,
                    Stage::Exited(reason) => 2 + reason as u64,
                };
                match process {
                    Some(process) => process.words(stage, id),
                    None => (stage | of(who), [id, 0, 0]),
                }
            }
            Self::RestartScheduled { who, supervisor, delay } => (of(who), [supervisor, delay, 0]),
            Self::RestartsExhausted { supervisor, child } => (of(child), [supervisor, 0, 0]),
            Self::Restored(process, found) => {
                process.words(u64::from(found.is_some()), found.unwrap_or(0))
            }
            Self::Removed(who) => (of(who), [0; 3]),
            Self::Status(who, status) => (status as u64 | of(who), [0; 3]),
            Self::Shows(who, shown) => (shown as u64 | of(who), [0; 3]),
            Self::Sees(who, node) => (node.map_or(0xff, |n| u64::from(n.0)) | of(who), [0; 3]),
            Self::Sent(message, who, asks) => (u64::from(asks) | of(who), [message.words(), 0, 0]),
            Self::Queued(message, who) | Self::PutBack(message, who) => {
                (of(who), [message.words(), 0, 0])
            }
            Self::Delivered(message, process) => process.words(0, message.words()),
            Self::Ended(message, fate) => (fate as u64, [message.words(), 0, 0]),
            Self::Answered(message, ending) => (ending as u64, [message.words(), 0, 0]),
            Self::Suppressed(message) | Self::LateAnswer(message) => (0, [message.words(), 0, 0]),
            Self::FrameSent(to) | Self::FrameLost(to) | Self::PeerUp(to) | Self::PeerDown(to) => {
                (u64::from(to.0), [0; 3])
            }
            Self::Booted(number) | Self::Operation(number) | Self::Refused(number) => {
                (0, [u64::from(number), 0, 0])
            }
            Self::Fault(number, begins) => (u64::from(begins), [u64::from(number), 0, 0]),
            Self::Halted | Self::Healed | Self::Over | Self::Calm => (0, [0; 3]),
            Self::Here(process, here) => {
                let (kind, word) = here.words();
                process.words(kind, word)
            }
            Self::Has(who, here) => (u64::from(here) | of(who), [0; 3]),
            Self::Placed(process, node, stage) => {
                let boot = match stage {
                    Placed::Waiting => 0,
                    Placed::Ordered(boot) => u64::from(boot),
                };
                process.words(u64::from(node.0), boot)
            }
            Self::Outlives(boot, begins) => (u64::from(begins), [u64::from(boot), 0, 0]),
        }
    }
}

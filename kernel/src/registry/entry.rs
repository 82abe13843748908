//! What a registry holds, is told and answers.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::fmt;

use crate::{ChildId, ChildKind, Instant, NameId, NodeId, Pid, ProcessId, SupervisorId};

/// The greatest number of capabilities of one name.
pub const CAPABILITIES_MAX: usize = 64;

/// How an agent's name is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Status {
    /// It is coming up for the first time.
    Starting,
    /// It handles messages.
    Up,
    /// Its process ended, and a new one is coming; messages are kept up to the mailbox's bound.
    Restarting,
    /// It lives but holds its messages.
    Suspended,
    /// It is declared, has no process, and none is coming: sends must fail at once.
    Down,
}

impl Status {
    pub(super) const fn has_process(self) -> bool {
        matches!(self, Self::Starting | Self::Up | Self::Suspended)
    }
}

/// Who answers for a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// This node; the process if there is one at present.
    Local(Option<ProcessId>),
    /// Another node.
    Remote {
        /// Which node.
        node: NodeId,
        /// Which boot of it.
        epoch: u64,
        /// Which incarnation of the agent.
        incarnation: u64,
        /// Until when this holds unless it is renewed; at [`Instant::MAX`] for ever.
        lease_until: Instant,
    },
}

impl Owner {
    pub(super) fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Local(process), Self::Local(other)) => process == other,
            (
                Self::Remote { node: a, epoch: b, incarnation: c, lease_until: _ },
                Self::Remote { node: x, epoch: y, incarnation: z, lease_until: _ },
            ) => (a, b, c) == (x, y, z),
            (Self::Local(_), Self::Remote { .. }) | (Self::Remote { .. }, Self::Local(_)) => false,
        }
    }
}

/// What a lookup shows of a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Who answers for it.
    pub owner: Owner,
    /// How it is doing.
    pub status: Status,
    /// Agent or supervisor.
    pub kind: ChildKind,
    /// What it can do: sorted, each once.
    pub capabilities: Arc<[NameId]>,
}

/// What is said of a local name when it is declared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Declaration<'a> {
    /// The process, if there is one already.
    pub process: Option<ProcessId>,
    /// How it is doing.
    pub status: Status,
    /// Agent or supervisor.
    pub kind: ChildKind,
    /// What it can do, in any order; at most [`CAPABILITIES_MAX`].
    pub capabilities: &'a [NameId],
}

/// What another node says of one of its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Announcement<'a> {
    /// Which node.
    pub node: NodeId,
    /// Which boot of it; greater is newer.
    pub epoch: u64,
    /// Which incarnation of the agent; greater is newer within an epoch.
    pub incarnation: u64,
    /// Which announcement of this incarnation; greater is newer. Needed only if the rest differs.
    pub revision: u64,
    /// Until when it holds; at [`Instant::MAX`] for ever.
    pub lease_until: Instant,
    /// How it is doing.
    pub status: Status,
    /// Agent or supervisor.
    pub kind: ChildKind,
    /// What it can do, in any order; at most [`CAPABILITIES_MAX`].
    pub capabilities: &'a [NameId],
}

/// What became of an announcement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Merge {
    /// Lookups show this node's entry.
    Visible,
    /// Kept, but lookups show a local name or another node's greater claim.
    Hidden,
    /// Older than what is known of that node: ignored.
    Stale,
}

/// How much a registry may hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RegistryLimits {
    /// Local names.
    pub names: usize,
    /// Claims of remote nodes, over all names.
    pub claims: usize,
    /// Remote nodes whose epoch is remembered.
    pub nodes: usize,
    /// Memberships, over all groups.
    pub memberships: usize,
    /// Watches, over all watchers.
    pub watches: usize,
}

impl RegistryLimits {
    /// A million names and claims, 4096 nodes, a million memberships, 65536 watches.
    pub const DEFAULT: Self = Self {
        names: 1 << 20,
        claims: 1 << 20,
        nodes: 1 << 12,
        memberships: 1 << 20,
        watches: 1 << 16,
    };
}

macro_rules! error {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }

        impl core::error::Error for $name {}
    };
}

error! {
    /// Why a name was not declared.
    DeclareError {
        /// It is declared on this node already.
        Taken = "the name is taken",
        /// Up and suspended need a process.
        NoProcess = "this status needs a process",
        /// The limit of local names is reached.
        TooManyNames = "too many names",
        /// More than [`CAPABILITIES_MAX`] are given.
        TooManyCapabilities = "too many capabilities for one name",
    }
}

error! {
    /// Why what was said of a local name was not taken.
    UpdateError {
        /// The name is not declared on this node.
        NoSuchName = "no such name on this node",
        /// The process is older than one already known, or has ended before.
        Stale = "an older incarnation",
        /// Up and suspended need a process.
        NoProcess = "this status needs a process",
        /// More than [`CAPABILITIES_MAX`] are given.
        TooManyCapabilities = "too many capabilities for one name",
    }
}

error! {
    /// Why an announcement could not be kept.
    AnnounceError {
        /// The limit of claims is reached.
        TooManyClaims = "too many remote names",
        /// The limit of nodes is reached, and all of them have claims.
        TooManyNodes = "too many remote nodes",
        /// More than [`CAPABILITIES_MAX`] are given.
        TooManyCapabilities = "too many capabilities for one name",
    }
}

error! {
    /// Why a name did not join a group.
    JoinError {
        /// There is no such name.
        NoSuchName = "no such name",
        /// The limit of memberships is reached.
        TooManyMemberships = "too many group memberships",
    }
}

error! {
    /// Why a watch was not set.
    WatchError {
        /// The limit of watches is reached.
        TooManyWatches = "too many watches",
    }
}

/// Who watches. The caller chooses the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatcherId(pub u64);

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Watched {
    /// One name, whether it exists yet or not.
    Name(NameId),
    /// Every name.
    Everything,
}

/// What changed about a name, as lookups show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeKind {
    /// It appeared, with this status.
    Registered(Status),
    /// It is gone.
    Unregistered,
    /// Another process, incarnation or node answers for it, with this status.
    OwnerChanged(Status),
    /// The same owner is doing differently.
    StatusChanged(Status),
    /// The same owner, with the same status, is of another kind or can do other things.
    CapabilitiesChanged,
}

/// Something for a watcher to know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Change {
    /// Who is told.
    pub watcher: WatcherId,
    /// About which name.
    pub name: NameId,
    /// What happened.
    pub kind: ChangeKind,
}

/// Whether one capability is enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Match {
    /// At least one of those asked for.
    Any,
    /// Each of those asked for.
    All,
}

/// A name of this node. In pieces, since there may be very many: as an `Option` the process would
/// take a word more, and hardly any name has capabilities.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Local {
    supervisor: SupervisorId,
    incarnation: u64,
    child: ChildId,
    known: Known,
    pub(super) status: Status,
    pub(super) kind: ChildKind,
    capabilities: Option<Box<Arc<[NameId]>>>,
}

/// What is known of the processes of a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Known {
    /// There was none yet.
    None,
    /// The newest has ended.
    Ended,
    Alive,
}

impl Local {
    pub(super) fn new(
        process: Option<ProcessId>,
        status: Status,
        kind: ChildKind,
        capabilities: Arc<[NameId]>,
    ) -> Self {
        let mut local = Self {
            supervisor: SupervisorId(0),
            incarnation: 0,
            child: ChildId(0),
            known: Known::None,
            status,
            kind,
            capabilities: None,
        };
        local.set_capabilities(capabilities);
        if let Some(process) = process {
            local.set_process(process, status);
        }
        local
    }

    /// The newest process that is known.
    pub(super) const fn newest(&self) -> Option<ProcessId> {
        match self.known {
            Known::None => None,
            Known::Ended | Known::Alive => {
                let pid = Pid { child: self.child, incarnation: self.incarnation };
                Some(ProcessId { supervisor: self.supervisor, pid })
            }
        }
    }

    /// Whether that has not ended.
    pub(super) const fn is_alive(&self) -> bool {
        matches!(self.known, Known::Alive)
    }

    pub(super) const fn set_process(&mut self, process: ProcessId, status: Status) {
        let ProcessId { supervisor, pid: Pid { child, incarnation } } = process;
        (self.supervisor, self.incarnation, self.child) = (supervisor, incarnation, child);
        self.known = if status.has_process() { Known::Alive } else { Known::Ended };
        self.status = status;
    }

    /// Whatever its process: one that the status has none of has ended.
    pub(super) const fn set_status(&mut self, status: Status) {
        if self.is_alive() && !status.has_process() {
            self.known = Known::Ended;
        }
        self.status = status;
    }

    pub(super) fn capabilities(&self) -> Arc<[NameId]> {
        self.capabilities.as_ref().map_or_else(Arc::default, |some| Arc::clone(some))
    }

    pub(super) fn set_capabilities(&mut self, capabilities: Arc<[NameId]>) {
        self.capabilities = (!capabilities.is_empty()).then(|| Box::new(capabilities));
    }

    /// The process, if there is one at present.
    pub(super) const fn process(&self) -> Option<ProcessId> {
        if self.is_alive() { self.newest() } else { None }
    }

    /// Who answers for the name, and how it is doing.
    pub(super) const fn shown(&self) -> (Owner, Status) {
        (Owner::Local(self.process()), self.status)
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Claim {
    pub(super) epoch: u64,
    pub(super) incarnation: u64,
    pub(super) revision: u64,
    pub(super) lease_until: Instant,
    pub(super) status: Status,
    pub(super) kind: ChildKind,
    pub(super) capabilities: Arc<[NameId]>,
}

impl Claim {
    fn content(&self) -> (Status, bool, &[NameId]) {
        (self.status, self.kind == ChildKind::Supervisor, &self.capabilities)
    }

    /// The greater of two claims of one node to one name; `None` if `other` is older.
    pub(super) fn merge(&self, other: Self) -> Option<Self> {
        let stamp = |claim: &Self| (claim.epoch, claim.incarnation, claim.revision);
        match stamp(&other).cmp(&stamp(self)) {
            core::cmp::Ordering::Less => None,
            core::cmp::Ordering::Greater => Some(other),
            // A renewal. Should the contents differ all the same, the order must not decide.
            core::cmp::Ordering::Equal => {
                let lease_until = self.lease_until.max(other.lease_until);
                let greater = if other.content() > self.content() { other } else { self.clone() };
                Some(Self { lease_until, ..greater })
            }
        }
    }
}

/// What a watcher is told, if anything.
pub(super) fn difference(before: Option<&Entry>, after: Option<&Entry>) -> Option<ChangeKind> {
    match (before, after) {
        (None, None) => None,
        (None, Some(after)) => Some(ChangeKind::Registered(after.status)),
        (Some(_), None) => Some(ChangeKind::Unregistered),
        (Some(before), Some(after)) => {
            let is_same = (before.kind, &before.capabilities) == (after.kind, &after.capabilities);
            moved((before.owner, before.status), (after.owner, after.status))
                .or_else(|| (!is_same).then_some(ChangeKind::CapabilitiesChanged))
        }
    }
}

/// What a watcher is told of an entry that only its owner and its status can have changed of.
pub(super) fn moved(before: (Owner, Status), after: (Owner, Status)) -> Option<ChangeKind> {
    if !before.0.is_same(after.0) {
        Some(ChangeKind::OwnerChanged(after.1))
    } else if before.1 != after.1 {
        Some(ChangeKind::StatusChanged(after.1))
    } else {
        None
    }
}

/// The second halves of the pairs that start with `first`.
pub(super) fn members(
    pairs: &BTreeSet<(NameId, NameId)>,
    first: NameId,
) -> impl Iterator<Item = NameId> {
    pairs.range((first, NameId(0))..=(first, NameId(u32::MAX))).map(|(_, second)| *second)
}

/// Sorted, each once; `None` if there are too many.
pub(super) fn sorted(capabilities: &[NameId]) -> Option<Arc<[NameId]>> {
    if capabilities.len() > CAPABILITIES_MAX {
        return None;
    }
    if capabilities.is_empty() {
        // Most have none, and share that.
        return Some(Arc::default());
    }
    let set: BTreeSet<NameId> = capabilities.iter().copied().collect();
    Some(set.into_iter().collect())
}

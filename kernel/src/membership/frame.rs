//! What nodes say to each other about themselves, and how a node takes part.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{ChildKind, DetectorConfig, InternError, NameId, NodeId, Status};

/// What one node says to another of its membership. Small and `Copy`: the driver turns names into
/// text when it encodes, and interns the text of what comes in.
///
/// A transport may lose, repeat and reorder frames, and hold them beyond the end of their sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Frame {
    /// Are you there? And tell me all your names.
    Hello {
        /// The sender's boot; greater is newer.
        epoch: u64,
        /// Which question of the sender to this peer.
        seq: u64,
    },
    /// Are you there?
    Probe {
        /// The sender's boot.
        epoch: u64,
        /// Which question of the sender to this peer.
        seq: u64,
    },
    /// The answer to either question.
    Alive {
        /// The sender's boot.
        epoch: u64,
        /// Which question this answers.
        seq: u64,
        /// What the sender's public names come to at this moment.
        summary: Summary,
    },
    /// The sender has this name, and it is doing so.
    Claim {
        /// The sender's boot.
        epoch: u64,
        /// Which name.
        name: NameId,
        /// What there is to say of it.
        claim: Claim,
    },
    /// The sender does not have this name any more.
    Withdraw {
        /// The sender's boot.
        epoch: u64,
        /// Which name.
        name: NameId,
        /// All incarnations up to this one are gone.
        incarnation: u64,
    },
    /// The sender is going, with all its names.
    Bye {
        /// The sender's boot.
        epoch: u64,
    },
}

impl Frame {
    /// The boot of the sender.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        match *self {
            Self::Hello { epoch, .. }
            | Self::Probe { epoch, .. }
            | Self::Alive { epoch, .. }
            | Self::Claim { epoch, .. }
            | Self::Withdraw { epoch, .. }
            | Self::Bye { epoch } => epoch,
        }
    }
}

/// What a node says of one of its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    /// Which incarnation of the agent; greater is newer within an epoch.
    pub incarnation: u64,
    /// Which announcement; greater is newer within an incarnation.
    pub revision: u64,
    /// How it is doing.
    pub status: Status,
    /// Agent or supervisor.
    pub kind: ChildKind,
    /// What it can do.
    pub capabilities: TagSet,
}

/// What a set of claims comes to, whatever their order: two nodes that hold the same claims have
/// the same summary, and with other claims the digest differs but for one case in 2^64.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Summary {
    /// How many claims.
    pub count: u64,
    /// The sum of their stamps, each mixed with the text of its name.
    pub digest: u64,
}

impl Summary {
    pub(super) fn add(&mut self, text: &str, incarnation: u64, revision: u64) {
        self.count = self.count.wrapping_add(1);
        self.digest = self.digest.wrapping_add(stamp(text, incarnation, revision));
    }

    pub(super) fn remove(&mut self, text: &str, incarnation: u64, revision: u64) {
        self.count = self.count.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(stamp(text, incarnation, revision));
    }
}

/// FNV-1a over the text and the numbers, then the finalizer of SplitMix64, since sums need every
/// bit to matter.
fn stamp(text: &str, incarnation: u64, revision: u64) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let numbers = incarnation.to_le_bytes().into_iter().chain(revision.to_le_bytes());
    let hash = text.bytes().chain([0]).chain(numbers).fold(0xCBF2_9CE4_8422_2325, fold);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// What the node found out about a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerChange {
    /// It answers, with this boot; whatever was known of it before is forgotten.
    Up(u64),
    /// An answer is overdue.
    Suspect,
    /// It is given up: its names and the calls to it have ended.
    Down,
}

/// How a node takes part. Nodes that talk should be configured alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// This boot of it; must be greater at every start of the same node.
    pub epoch: u64,
    /// How a peer that answers is watched.
    pub detector: DetectorConfig,
    /// From one question to the next to a peer that does not answer, and to any peer under an
    /// accrual detector, which asks nothing by itself. Zero counts as a nanosecond.
    pub ask_every: Duration,
    /// How long a claim holds unless it is renewed; above several `ask_every` and probe intervals.
    pub lease: Duration,
    /// How many claims are sent at once to a peer that asks for all; zero counts as one.
    pub burst: usize,
    /// The pause after so many claims. Zero counts as a nanosecond.
    pub burst_pause: Duration,
    /// Greatest number of peers; further ones are refused.
    pub peers: usize,
    /// Whether a stranger that says hello becomes a peer. It is forgotten when it has not answered
    /// for a lease.
    pub admit: bool,
}

impl Default for Config {
    /// Node 0 of epoch 0; a probe each second, which may take one, down after three misses; asking
    /// anew each second; leases of 15 s; 256 claims each 10 ms; 4096 peers; strangers are admitted.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            node: NodeId(0),
            epoch: 0,
            detector: DetectorConfig::Heartbeat { interval: second, timeout: second, threshold: 3 },
            ask_every: second,
            lease: Duration::from_secs(15),
            burst: 256,
            burst_pause: Duration::from_millis(10),
            peers: 4096,
            admit: true,
        }
    }
}

/// A set of capabilities, interned by [`TagSets`] so that a claim is `Copy`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TagSet(pub u32);

impl TagSet {
    /// No capabilities.
    pub const EMPTY: Self = Self(0);
}

/// The sets of capabilities that this node has seen. Like tags, they outlive the names that have
/// them, and are bounded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TagSets {
    limit: usize,
    ids: BTreeMap<Arc<[NameId]>, TagSet>,
    sets: Vec<Arc<[NameId]>>,
}

impl TagSets {
    /// Only the empty set; it holds at most `limit` sets besides.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let empty: Arc<[NameId]> = Arc::from([]);
        let ids = BTreeMap::from([(Arc::clone(&empty), TagSet::EMPTY)]);
        Self { limit, ids, sets: Vec::from([empty]) }
    }

    /// The number of a set, whose tags are sorted, each once. `O(tags * log n)`.
    ///
    /// # Errors
    /// [`InternError::TooManyNames`] at the limit. A set that is already there is always found.
    pub fn intern(&mut self, tags: &[NameId]) -> Result<TagSet, InternError> {
        if let Some(set) = self.ids.get(tags) {
            return Ok(*set);
        }
        let next = u32::try_from(self.sets.len()).map_err(|_| InternError::TooManyNames)?;
        if self.sets.len() > self.limit {
            return Err(InternError::TooManyNames);
        }
        let tags: Arc<[NameId]> = tags.into();
        self.sets.push(Arc::clone(&tags));
        self.ids.insert(tags, TagSet(next));
        Ok(TagSet(next))
    }

    /// The tags of a set; none for a number that was never given.
    #[must_use]
    pub fn resolve(&self, set: TagSet) -> &[NameId] {
        let at = usize::try_from(set.0).unwrap_or(usize::MAX);
        self.sets.get(at).map_or(&[], |tags| tags)
    }
}

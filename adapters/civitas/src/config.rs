//! How a node takes part among civitas processes.

use std::error::Error;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::DetectorError;
use lictor_runtime::broker::AddressError;

use crate::codec::Format;
use crate::fleet::FleetConfig;

/// How a node takes part among civitas processes at a broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CivitasConfig {
    /// As whom this node announces, probes and asks for those who are no agents.
    pub node: Arc<str>,
    /// In what form messages travel.
    pub format: Format,
    /// How foreign processes are watched.
    pub fleet: FleetConfig,
    /// From one announcement of all our agents to the next; a runtime that starts later learns of
    /// them so (Z18). Not zero.
    pub announce_every: Duration,
    /// How long one of our agents may take for an answer: civitas' messages carry no deadline.
    pub call_timeout: Duration,
    /// Who may tell our agents to start anew, to suspend, to resume or to end: the senders, and
    /// with signing the signers. Nobody by default; such orders are refused and counted (D51, X6).
    pub obey: Vec<Arc<str>>,
    /// Questions and messages of foreign agents that may wait here at one time.
    pub waiting: usize,
    /// Our questions to foreign agents that may be open at one time.
    pub calls: usize,
}

impl CivitasConfig {
    /// A node of this name with civitas' defaults: announcements every 10 s, 30 s for an answer,
    /// 65,536 messages waiting and as many questions open.
    #[must_use]
    pub fn new(node: impl Into<Arc<str>>) -> Self {
        Self {
            node: node.into(),
            format: Format::default(),
            fleet: FleetConfig::default(),
            announce_every: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            obey: Vec::new(),
            waiting: 1 << 16,
            calls: 1 << 16,
        }
    }
}

/// Why a node cannot take part.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CivitasError {
    /// The configuration of the probes makes no sense.
    Detector(DetectorError),
    /// Announcements cannot be made every 0 seconds.
    AnnounceEvery,
    /// The name of the node is no address.
    Node(AddressError),
    /// The broker does not take a subscription.
    Subscribe(AddressError),
    /// The host has no random bytes to give: addresses could be guessed.
    Entropy,
}

impl Display for CivitasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detector(error) => write!(f, "probes of civitas processes: {error}"),
            Self::AnnounceEvery => f.write_str("`announce_every` cannot be zero"),
            Self::Node(error) => write!(f, "the name of the node: {error}"),
            Self::Subscribe(error) => write!(f, "the broker refuses a subscription: {error}"),
            Self::Entropy => f.write_str("the host has no random bytes"),
        }
    }
}

impl Error for CivitasError {}

/// What has been seen since the start. Every message that was not handled is in one of these.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct CivitasCounters {
    /// Messages that came for us, orders and probes included.
    pub received: u64,
    /// Messages that went out.
    pub sent: u64,
    /// Bytes that could not be read as a message.
    pub malformed: u64,
    /// Messages whose signature does not hold or is missing.
    pub unsigned: u64,
    /// Messages that the broker or this node's queue to it did not take.
    pub unsent: u64,
    /// Answers that nobody waits for (any more), or that answer something else.
    pub late: u64,
    /// Messages for our agents that had outlived their `ttl`.
    pub expired: u64,
    /// Messages that an agent of ours did not take.
    pub undelivered: u64,
    /// Orders by those who may not give them.
    pub disobeyed: u64,
    /// Announcements that were refused: an older process, or a table that is full.
    pub unannounced: u64,
    /// Messages that the broker says it has dropped.
    pub dropped: u64,
}

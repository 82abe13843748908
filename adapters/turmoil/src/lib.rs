//! Lictor over turmoil's simulated network: for tests of the wire, never in production.
//!
//! The executor is `lictor-tokio`'s, on the runtime that turmoil gives each host; what is here is a
//! [`Transport`] over turmoil's TCP: framing, heartbeats of its own, reconnection. Of two nodes the
//! one with the **lower number dials** and the other one only listens, so both ends agree that
//! there is one connection between them. A newer connection of the same peer replaces an older one.
//!
//! The hard case is the stream that has lost a segment: turmoil never repeats it, so the stream is
//! silent for ever, even after the network is whole again. Every link therefore beats, and one that
//! hears nothing for too long is torn down and dialled anew.
#![forbid(unsafe_code)]

#[cfg(not(tokio_unstable))]
compile_error!(
    "lictor-turmoil needs `--cfg tokio_unstable`: without it a panic in a spawned task passes \
     silently. `.cargo/config.toml` sets it; a RUSTFLAGS variable replaces that: repeat it there."
);

mod dial;
mod faults;
mod link;
mod links;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::NodeId;
use lictor_runtime::executor::Task;
use lictor_runtime::transport::{Frame, Inbox, SendError, Transport};
pub use lictor_tokio::TokioExecutor;

pub use crate::faults::{Spoil, WireFaults};
use crate::links::Links;

/// How a node reaches others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// This boot of it, greater at every start.
    pub epoch: u64,
    /// Where it listens.
    pub port: u16,
    /// The peers and the names of their hosts, which listen at the same port.
    pub peers: Vec<(NodeId, String)>,
    /// Of the jitter before another attempt.
    pub seed: u64,
    /// An idle link beats so often.
    pub beat_every: Duration,
    /// A link that hears nothing for so long is torn down. Above several beats.
    pub silent_after: Duration,
    /// How long a connection and its greeting may take.
    pub connect_timeout: Duration,
    /// The wait before the second attempt; doubled for each further one, up to `retry_max`. Half of
    /// it is fixed, half is jitter.
    pub retry_base: Duration,
    /// The longest wait.
    pub retry_max: Duration,
    /// Frames that wait for one peer; further ones are refused.
    pub queue: usize,
    /// Connections that have not greeted yet, and links; further connections are closed.
    pub links: usize,
}

impl Config {
    /// Defaults: port 7000, a beat each 200 ms, silent after 1 s, 1 s to connect, attempts after
    /// 50 ms to 1 s, 1024 frames, 64 links.
    #[must_use]
    pub fn new(node: NodeId, epoch: u64, peers: Vec<(NodeId, String)>) -> Self {
        Self {
            node,
            epoch,
            port: 7000,
            peers,
            seed: 0,
            beat_every: Duration::from_millis(200),
            silent_after: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            retry_base: Duration::from_millis(50),
            retry_max: Duration::from_secs(1),
            queue: 1024,
            links: 64,
        }
    }
}

/// What became of links, since the transport was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Links that came up.
    pub up: u64,
    /// Attempts to connect that were refused or failed.
    pub refused: u64,
    /// Attempts that took too long, greeting included.
    pub slow: u64,
    /// Greetings that were no greetings, or of somebody else, or of an older boot.
    pub bad_greeting: u64,
    /// Connections closed because there were too many.
    pub too_many: u64,
    /// Links that the peer closed.
    pub closed: u64,
    /// Links torn down because nothing was heard, or nothing whole.
    pub silent: u64,
    /// Links torn down for a length that cannot be.
    pub bad_length: u64,
    /// Links torn down for a kind of frame that there is not.
    pub bad_kind: u64,
    /// Links that failed otherwise.
    pub failed: u64,
    /// Links that gave way to a newer connection of the same peer.
    pub replaced: u64,
    /// Frames that were written.
    pub sent: u64,
    /// Frames that were read.
    pub received: u64,
    /// Frames that were lost with their link.
    pub lost: u64,
}

/// A transport over turmoil's TCP. It runs inside of a turmoil host.
pub struct TurmoilTransport {
    config: Arc<Config>,
    links: Arc<Links>,
}

impl TurmoilTransport {
    /// A transport with these settings; nothing is opened yet.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        Self::with_faults(config, Arc::default())
    }

    /// As [`TurmoilTransport::new`], with the faults that all transports of a simulation share.
    #[must_use]
    pub fn with_faults(config: Config, faults: Arc<WireFaults>) -> Arc<Self> {
        let known = config.peers.iter().map(|(node, _)| *node).collect();
        let links = Arc::new(Links::new(known, config.queue, faults));
        Arc::new(Self { config: Arc::new(config), links })
    }

    /// What became of its links.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.links.counters()
    }
}

impl Debug for TurmoilTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurmoilTransport").field("node", &self.config.node).finish_non_exhaustive()
    }
}

impl Transport for TurmoilTransport {
    fn peers(&self) -> Vec<NodeId> {
        self.config.peers.iter().map(|(node, _)| *node).collect()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        self.links.send(peer, frame)
    }

    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        Box::pin(dial::run(Arc::clone(&self.config), Arc::clone(&self.links), inbox))
    }
}

//! What a message broker must give: bytes to addresses.
//!
//! A [`Transport`](crate::Transport) knows peers; a broker (ZeroMQ's forwarder, NATS) knows
//! addresses, and whoever listens to one gets what is published there. Both our own nodes
//! ([`Mesh`]) and foreign ones, which know nothing of nodes, are reached through this one trait.
//! The alternative, a transport for each pair of broker and peer, would write reconnection,
//! readiness and drop counting four times.
//!
//! It promises no more than a transport does: it may lose, repeat and reorder; it never makes a
//! publisher wait.

mod address;
mod mesh;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

pub use address::{ADDRESS_BYTES_MAX, AddressError, Subscription, check_address};
pub use mesh::{Mesh, MeshConfig, MeshError};

use crate::executor::Task;
use crate::transport::{Frame, SendError};

/// What a broker says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BrokerEvent {
    /// What was subscribed to before this is in force, both ways: what is published from now on
    /// reaches whoever listens, and what others publish reaches us. Proved by a message that came
    /// back or by the broker's word, not by waiting. After every new connection again.
    Ready,
    /// The connection is gone, for this reason; it is sought again.
    Lost(Arc<str>),
    /// Somebody has published this. May be one of ours.
    Message {
        /// Where.
        address: Arc<str>,
        /// What.
        frame: Frame,
    },
    /// So many messages were thrown away since the last word of it, at this end or, as far as it
    /// says so, at the broker.
    Dropped(u64),
}

/// Where a broker puts what it hears. Cheap to clone.
#[derive(Clone)]
pub struct BrokerInbox(Arc<dyn Fn(BrokerEvent) -> bool + Send + Sync>);

impl BrokerInbox {
    /// An inbox that hands everything to `sink`, which must not block and says whether there was
    /// room.
    #[must_use]
    pub fn new(sink: impl Fn(BrokerEvent) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Says it. `false` if it was dropped for want of room.
    pub fn say(&self, event: BrokerEvent) -> bool {
        (self.0)(event)
    }
}

impl Debug for BrokerInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerInbox")
    }
}

/// What a broker must give.
///
/// Every adapter passes `conformance::broker`.
pub trait Broker: Debug + Send + Sync + 'static {
    /// Takes a frame for whoever listens to an address. Never blocks. What one publisher puts to
    /// one address arrives in that order, or is lost. Bounded, in bytes: a queue that nobody
    /// empties refuses at last. While the connection is gone frames may be kept within that bound,
    /// or refused.
    ///
    /// # Errors
    /// [`SendError`]; the frame is not sent then. `UnknownPeer` for what is no address
    /// ([`check_address`]).
    fn publish(&self, address: &str, frame: Frame) -> Result<(), SendError>;

    /// From now on what is published there comes to the inbox, over all connections to come. Twice
    /// is as once. May be called before and while it runs; [`BrokerEvent::Ready`] comes (again)
    /// when it is in force.
    ///
    /// # Errors
    /// [`AddressError`]; also when as many subscriptions as may be are there.
    fn subscribe(&self, to: Subscription) -> Result<(), AddressError>;

    /// No longer. What is on its way may still come.
    fn unsubscribe(&self, from: &Subscription);

    /// Moves frames until the task is dropped, which ends the connection at once. The task ends by
    /// itself only if the broker cannot go on. After a drop it may be called again; the
    /// subscriptions are still known then.
    fn run(self: Arc<Self>, inbox: BrokerInbox) -> Task;

    /// Is over when all that was published before has left this process, or cannot any more. Only
    /// makes progress while it runs.
    fn flush(self: Arc<Self>) -> Task;

    /// How long a runtime that ends waits for its last frames to leave. By default 1 s.
    fn linger(&self) -> Duration {
        Duration::from_secs(1)
    }
}

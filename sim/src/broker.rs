//! What a message broker guarantees, and what it does not: NATS, JetStream, ZeroMQ PUB/SUB.
//!
//! A pure machine: an event in, actions out, no clock and no chance but what it is given. It stands
//! between publishers and subscribers at the level of frames. How long anything is under way, and
//! what is lost on the way to it or from it, is the world's business; here is what the broker does.
//! Whoever runs above it may rely on the numbered lines and on nothing else; each has a test that
//! names it, and `tests/suites/broker_promises` plays the same cases to this model and to the real
//! brokers.
//!
//! **NATS**
//! - BK1: what one client publishes to one subject is delivered to each subscriber in that order.
//! - BK2: at most once: nothing is delivered twice to a subscriber.
//! - BK3: nothing is kept for who is not connected or not subscribed, nor delivered later.
//! - BK4: a client that does not take what comes is cut off once more than the bound is pending for
//!   it, and all that is pending is dropped. Nobody else notices.
//! - BK5: what is larger than the maximum is refused, and its publisher is told, and cut off.
//! - BK6: a request to a subject without subscribers is answered at once: no responders.
//! - BK7: a restart ends every connection and every subscription and drops what is pending, until
//!   the clients connect and subscribe anew.
//!
//! **JetStream**, on the same connections; one durable consumer for each subject
//! - BK8: at least once: what was acknowledged to its publisher is kept until it is acknowledged by
//!   its consumer, is a dead letter, or is lost with the state.
//! - BK9: what is published again under its id within the window is acknowledged and not stored.
//! - BK10: what is not acknowledged in time is delivered again, and not earlier, unless the broker
//!   is restarted. Time without a connection counts, deliveries without one do not.
//! - BK11: what was delivered the greatest number of times, since the last restart, is a dead
//!   letter when its time is over.
//! - BK12: no more than the bound is delivered and not acknowledged.
//! - BK13: a restart with state keeps what is stored and is not handled, and the ids of that; what
//!   was delivered, and how often, may be forgotten. One without loses all.
//! - BK20: what its consumer refuses is delivered again at once, as far as it may be; what its
//!   consumer ends is a dead letter.
//!
//! **ZeroMQ**, publishers and subscribers around a proxy
//! - BK14: the slow joiner: what is offered before the subscription has reached the publisher does
//!   not leave it.
//! - BK15: above the high-water mark what is newest is dropped, the peer stays, and nobody is told.
//! - BK16: what one peer publishes reaches each subscriber in that order.
//! - BK17: a peer that goes loses what is queued for it and its subscriptions.
//!
//! **All of them**
//! - BK18: what is published is delivered, dropped with a reason, or held; nothing else.
//! - BK19: the same events give the same actions.
//!
//! **Not guaranteed**, so nobody may need it: that anything published on NATS or ZeroMQ arrives;
//! any order between two publishers or two subjects; any order of what JetStream delivers again, or
//! that it comes only once; that an id is known after the window, or, once its
//! message was handled, after any restart; that a
//! publisher hears of drops; that those cut off or lost are told what they missed. Nor is anything
//! said here of queue groups, wildcards, streams with several consumers, or clusters.

mod nats;
mod outlet;
mod stream;
mod zeromq;

use std::time::Duration;

use lictor_kernel::Instant;

use self::nats::Nats;
use self::zeromq::Proxy;

/// What carries frames between nodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Medium {
    /// A link from each node to each other.
    #[default]
    Direct,
    /// A NATS server.
    NatsCore,
    /// A NATS server with `JetStream`, for messages; all else goes as on NATS.
    JetStream,
    /// A ZeroMQ proxy.
    ZeroMq,
}

impl Medium {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Direct, Self::NatsCore, Self::JetStream, Self::ZeroMq];

    /// Its word in plans.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::NatsCore => "nats",
            Self::JetStream => "jetstream",
            Self::ZeroMq => "zeromq",
        }
    }
}

/// Who is or was connected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Client(pub u8);

/// Under what something is published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subject(pub u8);

/// What is published. The number is the publisher's, and is its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Parcel(pub u32);

/// How something is published.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// To whoever is there.
    Plain,
    /// To whoever is there, and its publisher wants to know if nobody is.
    Request,
    /// Into the stream, on JetStream; on the others as [`Mode::Plain`].
    Stored,
}

/// What happened around the broker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A client has connected; a former connection of it has ended.
    Connected(Client),
    /// The connection of a client has ended.
    Disconnected(Client),
    /// The subscription of a client has come.
    Subscribed(Client, Subject),
    /// A forwarded subscription has come to a publisher.
    Learned(Client, Subject),
    /// A publisher wants to publish.
    Offered(Client, Subject, Parcel),
    /// What was published has come to the broker.
    Published {
        /// From whom.
        from: Client,
        /// Under which subject.
        to: Subject,
        /// What.
        parcel: Parcel,
        /// Its size in bytes.
        size: u32,
        /// How.
        mode: Mode,
    },
    /// A client has taken something off its connection.
    Taken(Client),
    /// A consumer has handled it.
    Handled(Client, Parcel),
    /// A consumer wants it again, at once.
    Refused(Client, Parcel),
    /// A consumer wants it never again.
    Ended(Client, Parcel),
    /// No more than this is pending for a client from now on; `None` is the usual.
    Bounded(Client, Option<usize>),
    /// What a consumer was given last is to be delivered to it again, this many.
    Repeat(Client, usize),
    /// The broker was started anew, with its state or without it.
    Restarted {
        /// Whether what was stored is still there.
        with_state: bool,
    },
}

/// Why something is not delivered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// Nobody has subscribed, or its publisher does not know of it.
    NobodyThere,
    /// Its publisher is not connected.
    NotConnected,
    /// Its subscriber was cut off, since it did not take what came.
    SlowConsumer,
    /// Its subscriber has gone.
    Disconnected,
    /// It is too large.
    TooLarge,
    /// It is above the high-water mark.
    HighWater,
    /// It was delivered often enough.
    DeadLetter,
    /// It went with the broker.
    Restarted,
}

/// What the broker does, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// What was offered leaves its publisher.
    Carry(Parcel),
    /// It is put on the connection of this client.
    Deliver {
        /// To whom.
        to: Client,
        /// What.
        parcel: Parcel,
        /// Not for the first time.
        again: bool,
    },
    /// It is not delivered, or to one client less.
    Dropped(Parcel, Why),
    /// It is stored, or was already.
    Stored {
        /// Whose it is.
        to: Client,
        /// What.
        parcel: Parcel,
        /// It was there before.
        known: bool,
    },
    /// It was handled, and is kept no more.
    Settled(Parcel),
    /// Nobody is there to answer.
    NoResponders(Client, Parcel),
    /// This client is cut off.
    CutOff(Client),
    /// A publisher is to be told that somebody has subscribed.
    Forward(Client, Subject),
}

/// The bounds of a broker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// How many clients there are, at most.
    pub clients: u8,
    /// Parcels on a connection that were not taken, at most.
    pub window: usize,
    /// Parcels pending for a client besides, at most.
    pub pending: usize,
    /// The greatest size.
    pub payload: u32,
    /// How long a consumer may take.
    pub ack_wait: Duration,
    /// How often something is delivered, at most.
    pub deliveries: u32,
    /// Parcels that a consumer was given and has not acknowledged, at most.
    pub unacknowledged: usize,
    /// How long the id of what was published is remembered.
    pub duplicates: Duration,
}

impl Default for Config {
    /// As the servers have it, but for counts instead of bytes pending, and dead letters, which
    /// have no default there.
    fn default() -> Self {
        Self {
            clients: 64,
            window: 64,
            pending: 1_000,
            payload: 1 << 20,
            ack_wait: Duration::from_secs(30),
            deliveries: 5,
            unacknowledged: 1_000,
            duplicates: Duration::from_secs(120),
        }
    }
}

/// A broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker(Engine);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Engine {
    /// With or without a stream.
    Nats(Nats),
    /// With the part of its publishers' sockets that decides what leaves.
    ZeroMq(Proxy),
}

impl Broker {
    /// The broker of a medium; none if links are direct.
    #[must_use]
    pub fn new(medium: Medium, config: Config) -> Option<Self> {
        match medium {
            Medium::Direct => None,
            Medium::NatsCore => Some(Self(Engine::Nats(Nats::new(config, false)))),
            Medium::JetStream => Some(Self(Engine::Nats(Nats::new(config, true)))),
            Medium::ZeroMq => Some(Self(Engine::ZeroMq(Proxy::new(config)))),
        }
    }

    /// Takes an event in. Events of clients that there cannot be do nothing.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        match &mut self.0 {
            Engine::Nats(nats) => nats.handle(now, event, actions),
            Engine::ZeroMq(proxy) => proxy.handle(event, actions),
        }
    }

    /// When [`Broker::handle_timeout`] must be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.0 {
            Engine::Nats(nats) => nats.poll_timeout(),
            Engine::ZeroMq(_) => None,
        }
    }

    /// Does what is due. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Engine::Nats(nats) = &mut self.0 {
            nats.handle_timeout(now, actions);
        }
    }

    /// How much it holds: what is pending and what is stored.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.0 {
            Engine::Nats(nats) => nats.held(),
            Engine::ZeroMq(proxy) => proxy.held(),
        }
    }
}

#[cfg(test)]
mod tests;

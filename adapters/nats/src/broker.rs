//! NATS as a broker.

use std::fmt::{self, Debug};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{ServerAddr, Subject};
use lictor_runtime::broker::{AddressError, Broker, BrokerInbox, Subscription, check_address};
use lictor_runtime::executor::Task;
use lictor_runtime::transport::{Frame, SendError};
use tokio::sync::Notify;

use crate::config::{NatsConfig, NatsError};
use crate::queue::Queue;
use crate::run;

/// A client of a NATS server.
///
/// Frames are put to the subject of their address, as civitas does. What waits is bounded in bytes;
/// the connection is sought again for ever; readiness is proved by a message that came back.
pub struct Nats {
    pub(crate) config: Arc<NatsConfig>,
    pub(crate) servers: Vec<ServerAddr>,
    queue: Mutex<Queue>,
    /// Something to do for who sends.
    pub(crate) stir: Notify,
    /// Something was settled.
    pub(crate) settled: Notify,
    pub(crate) counts: Counts,
}

/// What a client has seen since it was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct NatsCounters {
    /// Frames taken from publishers.
    pub published: u64,
    /// Frames handed to the inbox.
    pub received: u64,
    /// Frames that were kept for a connection, and given up.
    pub given_up: u64,
    /// Frames that were on their way to a server when its connection was lost. Some may have
    /// arrived, and those that the client still had go over the next connection.
    pub unconfirmed: u64,
    /// Frames that the server did not let this client publish.
    pub refused: u64,
    /// Messages dropped here because more came than was taken off.
    pub overrun: u64,
    /// Messages on our subjects whose address is none.
    pub malformed: u64,
    /// Connections.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) published: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) unconfirmed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) overrun: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) connections: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Nats {
    /// A client. It connects when it runs.
    ///
    /// # Errors
    /// [`NatsError`]: what of the configuration cannot be meant.
    pub fn new(config: NatsConfig) -> Result<Arc<Self>, NatsError> {
        let servers = config.check()?;
        let queue = Mutex::new(Queue::new(config.queue_bytes));
        Ok(Arc::new(Self {
            config: Arc::new(config),
            servers,
            queue,
            stir: Notify::new(),
            settled: Notify::new(),
            counts: Counts::default(),
        }))
    }

    /// What this client has seen.
    #[must_use]
    pub fn counters(&self) -> NatsCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        NatsCounters {
            published: read(&counts.published),
            received: read(&counts.received),
            given_up: read(&counts.given_up),
            unconfirmed: read(&counts.unconfirmed),
            refused: read(&counts.refused),
            overrun: read(&counts.overrun),
            malformed: read(&counts.malformed),
            connections: read(&counts.connections),
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subject(&self, address: &str) -> Subject {
        let prefix = &self.config.prefix;
        let mut subject = String::with_capacity(prefix.len() + address.len());
        subject.push_str(prefix);
        subject.push_str(address);
        subject.into()
    }
}

impl Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Broker for Nats {
    fn publish(&self, address: &str, frame: Frame) -> Result<(), SendError> {
        check_address(address).map_err(|_| SendError::UnknownPeer)?;
        let subject = self.subject(address);
        self.queue().put(subject, frame.into_bytes())?;
        add(&self.counts.published, 1);
        self.stir.notify_one();
        Ok(())
    }

    fn subscribe(&self, to: Subscription) -> Result<(), AddressError> {
        if self.queue().want(to)? {
            self.stir.notify_one();
        }
        Ok(())
    }

    fn unsubscribe(&self, from: &Subscription) {
        let mut queue = self.queue();
        queue.wanted.remove(from);
        let ended = queue.in_force.remove(from);
        drop(queue);
        if let Some(ended) = ended {
            ended.abort();
        }
    }

    fn run(self: Arc<Self>, inbox: BrokerInbox) -> Task {
        run::run(self, inbox)
    }

    fn flush(self: Arc<Self>) -> Task {
        let target = self.queue().flush();
        self.stir.notify_one();
        Box::pin(async move {
            loop {
                let mut settled = pin!(self.settled.notified());
                settled.as_mut().enable();
                if self.queue().is_flushed(target) {
                    return;
                }
                settled.await;
            }
        })
    }
}

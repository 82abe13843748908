//! At-least-once delivery on `JetStream`.
//!
//! One stream holds the messages of all agents, each under a subject of its own, until they are
//! handled; nothing else is in it: answers and what nodes tell each other stay on plain NATS. Every
//! name has one durable consumer, from which whatever node has the name pulls. A message that fails
//! for good goes to a second stream, of dead letters.

mod names;
mod serve;
mod store;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use lictor_runtime::broker::Subscription;
use lictor_runtime::durable::{Durable, Intake, MessageId, Storing};
use lictor_runtime::executor::Task;
use lictor_runtime::transport::Frame;
use tokio::time::Instant;

use crate::broker::add;
use crate::config::{NatsConfig, NatsError};
use crate::link::{Link, whole};

/// A node that is held up for a moment must not lose what it has, nor have it counted as handed out
/// again: after `deliveries` of that it would be a dead letter while it waits in a mailbox.
const ACK_WAIT_LEAST: Duration = Duration::from_millis(100);

/// How a stream of messages is kept and served.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StreamConfig {
    /// The stream. By default `LICTOR`.
    pub name: String,
    /// What the subjects of its messages begin with, before the agent's name; nothing else may be
    /// there. By default `lictor.stored.`.
    pub prefix: String,
    /// The stream of dead letters. By default `LICTOR_DEAD`.
    pub dead_name: String,
    /// And what its subjects begin with. By default `lictor.dead.`.
    pub dead_prefix: String,
    /// The most that the stream holds, in bytes; beyond it senders are refused. By default 256 MiB.
    pub max_bytes: u64,
    /// And in messages. By default a million.
    pub max_messages: u64,
    /// How long a message is kept that nobody handles. By default a week.
    pub max_age: Duration,
    /// On how many servers of a cluster it is. By default 1.
    pub replicas: usize,
    /// How long the server remembers the ids of messages, so that one that is sent twice is stored
    /// once. By default 2 minutes.
    pub remember_ids: Duration,
    /// How long a sender waits for the word that its message is stored, before it sends it again.
    /// By default 2 s.
    pub ack_timeout: Duration,
    /// How often it sends it. By default 5 times.
    pub store_attempts: u32,
    /// How long a node may be silent about a message before the server hands it out again: so long
    /// a message waits when its node dies. A node that lives says so in time, however long the
    /// handling takes. By default 30 s, at least 100 ms.
    pub ack_wait: Duration,
    /// Messages of one name that are handed out and not handled. By default 256.
    pub credit: u32,
    /// How often an agent may fail on a message before it is a dead letter. By default 5 times.
    pub attempts: u32,
    /// How often a message is handed out before it is a dead letter, whatever became of it: one
    /// that takes whole processes down must end. By default 25 times.
    pub deliveries: u32,
    /// The wait before the second attempt; each further one doubles it. By default 100 ms.
    pub retry_first: Duration,
    /// The longest wait between two attempts. By default 10 s.
    pub retry_most: Duration,
    /// A name that nobody has had for so long is forgotten. By default 30 days.
    pub forget_after: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            name: "LICTOR".to_owned(),
            prefix: "lictor.stored.".to_owned(),
            dead_name: "LICTOR_DEAD".to_owned(),
            dead_prefix: "lictor.dead.".to_owned(),
            max_bytes: 1 << 28,
            max_messages: 1_000_000,
            max_age: DAY * 7,
            replicas: 1,
            remember_ids: Duration::from_secs(120),
            ack_timeout: Duration::from_secs(2),
            store_attempts: 5,
            ack_wait: Duration::from_secs(30),
            credit: 256,
            attempts: 5,
            deliveries: 25,
            retry_first: Duration::from_millis(100),
            retry_most: Duration::from_secs(10),
            forget_after: DAY * 30,
        }
    }
}

impl StreamConfig {
    fn check(&self, nats: &NatsConfig) -> Result<(), NatsError> {
        for prefix in [&self.prefix, &self.dead_prefix] {
            let refused = |error| NatsError::Prefix { prefix: prefix.clone(), error };
            Subscription::below(prefix.as_str()).check().map_err(refused)?;
        }
        let prefixes = [&self.prefix, &self.dead_prefix, &nats.prefix];
        for (at, one) in prefixes.iter().enumerate() {
            for other in prefixes.iter().skip(at + 1) {
                if one.starts_with(other.as_str()) || other.starts_with(one.as_str()) {
                    let (one, other) = ((*one).clone(), (*other).clone());
                    return Err(NatsError::Overlap { one, other });
                }
            }
        }
        for name in [&self.name, &self.dead_name] {
            let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if name.is_empty() || !name.bytes().all(is_fine) {
                return Err(NatsError::Stream { name: name.clone() });
            }
        }
        let times = [
            ("max_age", self.max_age),
            ("remember_ids", self.remember_ids),
            ("ack_timeout", self.ack_timeout),
            ("ack_wait", self.ack_wait),
            ("retry_first", self.retry_first),
            ("forget_after", self.forget_after),
        ];
        let zero = times.iter().find(|(_, time)| time.is_zero()).map(|(what, _)| *what);
        let counts = [
            ("max_bytes", self.max_bytes),
            ("max_messages", self.max_messages),
            ("store_attempts", self.store_attempts.into()),
            ("credit", self.credit.into()),
            ("attempts", self.attempts.into()),
            ("deliveries", self.deliveries.into()),
        ];
        let zero = zero.or_else(|| counts.iter().find(|(_, count)| *count == 0).map(|it| it.0));
        if let Some(what) = zero {
            return Err(NatsError::Zero { what });
        }
        if self.ack_wait < ACK_WAIT_LEAST {
            return Err(NatsError::Short { what: "ack_wait", least: ACK_WAIT_LEAST });
        }
        // An id that is forgotten while its message is still being sent would double it.
        let attempt = self.ack_timeout.saturating_add(nats.retry_most);
        if attempt.saturating_mul(self.store_attempts) >= self.remember_ids {
            return Err(NatsError::ShortMemory);
        }
        Ok(())
    }

    fn stream(&self) -> Config {
        Config {
            name: self.name.clone(),
            subjects: vec![format!("{}>", self.prefix)],
            // What is handled goes, and a second consumer of a name would be refused.
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_bytes: bounded(self.max_bytes),
            max_messages: bounded(self.max_messages),
            max_age: self.max_age,
            num_replicas: self.replicas,
            duplicate_window: self.remember_ids,
            ..Config::default()
        }
    }

    fn dead_stream(&self) -> Config {
        Config {
            name: self.dead_name.clone(),
            subjects: vec![format!("{}>", self.dead_prefix)],
            retention: RetentionPolicy::Limits,
            // Here the oldest go: a full store of dead letters must not stop the living ones.
            discard: DiscardPolicy::Old,
            ..self.stream()
        }
    }
}

fn bounded(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What a stream has seen of its messages, since it was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct StreamCounters {
    /// Messages that were stored.
    pub stored: u64,
    /// Of these, those that had to be sent again, and were known to the server.
    pub stored_again: u64,
    /// Messages that were not stored, or of which that is not known.
    pub not_stored: u64,
    /// Messages that were handed to agents.
    pub delivered: u64,
    /// Messages that agents have handled.
    pub handled: u64,
    /// Messages that came again though they had been handled, or were dead letters, and were not
    /// given to agents.
    pub repeated: u64,
    /// Messages that agents have failed on and that will come again.
    pub failed: u64,
    /// Messages that went back unseen.
    pub returned: u64,
    /// Dead letters.
    pub dead: u64,
}

#[derive(Debug, Default)]
struct Counts {
    stored: AtomicU64,
    stored_again: AtomicU64,
    not_stored: AtomicU64,
    delivered: AtomicU64,
    handled: AtomicU64,
    repeated: AtomicU64,
    failed: AtomicU64,
    returned: AtomicU64,
    dead: AtomicU64,
}

/// Streams of messages on a NATS server with `JetStream`: hand it to `RuntimeConfig::durable`.
///
/// It has a connection of its own, made when it is first needed and kept until it is dropped.
pub struct JetStream {
    nats: Arc<NatsConfig>,
    servers: Vec<ServerAddr>,
    config: StreamConfig,
    /// Tells this object's messages from those of any other, whatever its node says of its boot.
    own: String,
    link: tokio::sync::Mutex<Option<Open>>,
    /// How many services of each name there are here, and the names that are known to be served
    /// somewhere, until when.
    served: Mutex<BTreeMap<Arc<str>, usize>>,
    known: Mutex<BTreeMap<Arc<str>, Instant>>,
    counts: Counts,
}

/// A connection, its streams seen to.
struct Open {
    link: Link,
    context: Context,
}

/// Why the streams cannot be used.
#[derive(Clone, Debug)]
struct NoStream(Arc<str>);

impl Display for NoStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JetStream {
    /// Streams at these servers. Nothing is connected before something is sent or served.
    ///
    /// # Errors
    /// [`NatsError`]: what of the configuration cannot be meant.
    pub fn new(nats: NatsConfig, config: StreamConfig) -> Result<Arc<Self>, NatsError> {
        let servers = nats.check()?;
        config.check(&nats)?;
        Ok(Arc::new(Self {
            nats: Arc::new(nats),
            servers,
            config,
            own: nuid::next().to_string(),
            link: tokio::sync::Mutex::new(None),
            served: Mutex::default(),
            known: Mutex::default(),
            counts: Counts::default(),
        }))
    }

    /// What this object has seen.
    #[must_use]
    pub fn counters(&self) -> StreamCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        StreamCounters {
            stored: read(&counts.stored),
            stored_again: read(&counts.stored_again),
            not_stored: read(&counts.not_stored),
            delivered: read(&counts.delivered),
            handled: read(&counts.handled),
            repeated: read(&counts.repeated),
            failed: read(&counts.failed),
            returned: read(&counts.returned),
            dead: read(&counts.dead),
        }
    }

    /// The connection, or the reason why there is none.
    async fn context(&self) -> Result<Context, NoStream> {
        let mut link = self.link.lock().await;
        if let Some(open) = &*link
            && !open.link.watch.seen().is_over
        {
            return Ok(open.context.clone());
        }
        *link = None;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(NoStream("JetStream needs tokio, and this is another host".into()));
        }
        let made = Link::connect(&self.nats, &self.servers, false).await.map_err(NoStream)?;
        let context = ContextBuilder::new()
            .timeout(self.config.ack_timeout)
            .max_ack_inflight(1 << 14)
            .build(made.client.clone());
        self.see_to_streams(&context).await?;
        *link = Some(Open { link: made, context: context.clone() });
        Ok(context)
    }

    /// Makes both streams, unless they are there: at the first connection, and when one was lost.
    async fn see_to_streams(&self, context: &Context) -> Result<(), NoStream> {
        self.see_to(context, self.config.stream()).await?;
        self.see_to(context, self.config.dead_stream()).await
    }

    /// Makes a stream, unless it is there. One that is there keeps its limits, which are its
    /// operator's, but must be of the right kind.
    async fn see_to(&self, context: &Context, config: Config) -> Result<(), NoStream> {
        let (name, subjects, retention) =
            (config.name.clone(), config.subjects.clone(), config.retention);
        let stream = context.get_or_create_stream(config).await;
        let stream = stream
            .map_err(|error| NoStream(format!("the stream {name:?}: {}", whole(&error)).into()))?;
        let found = &stream.cached_info().config;
        if found.subjects != subjects || found.retention != retention {
            let why = format!(
                "the stream {name:?} is there with subjects {:?} and retention {:?}, and \
                 {subjects:?} and {retention:?} are needed: name another, or remove it",
                found.subjects, found.retention,
            );
            return Err(NoStream(why.into()));
        }
        Ok(())
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, usize>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Instant>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    add(counter, 1);
}

impl Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream")
            .field("nats", &self.nats)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Durable for JetStream {
    fn store(&self, to: Arc<str>, id: MessageId, frame: Frame) -> Storing<'_> {
        Box::pin(self.put(to, id, frame))
    }

    fn serve(self: Arc<Self>, name: Arc<str>, intake: Intake, end: Task) -> Task {
        serve::serve(self, name, intake, end)
    }
}

/// The code of an error of the server, if it is one.
fn code_of(error: &(dyn std::error::Error + 'static)) -> Option<jetstream::ErrorCode> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<jetstream::Error>() {
            return Some(jetstream::Error::error_code(error));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut StreamConfig)) -> Result<(), NatsError> {
        let mut config = StreamConfig::default();
        change(&mut config);
        config.check(&NatsConfig::default())
    }

    #[test]
    fn times_without_sense_are_refused_and_nothing_overflows() {
        assert_eq!(checked(|_| ()), Ok(()));
        let forgets = |ack_timeout, store_attempts, remember_ids| {
            checked(|it| {
                it.ack_timeout = ack_timeout;
                it.store_attempts = store_attempts;
                it.remember_ids = remember_ids;
            })
        };
        let ms = Duration::from_millis;
        assert_eq!(forgets(Duration::MAX, 2, Duration::MAX), Err(NatsError::ShortMemory));
        assert_eq!(forgets(ms(2000), u32::MAX, ms(120_000)), Err(NatsError::ShortMemory));
        // Between two attempts it waits, up to `retry_most`.
        assert_eq!(forgets(ms(2000), 5, ms(10_001)), Err(NatsError::ShortMemory));
        assert_eq!(forgets(ms(2000), 5, ms(20_001)), Ok(()));
        let waits = |ack_wait| checked(|it| it.ack_wait = ack_wait);
        let short = NatsError::Short { what: "ack_wait", least: ACK_WAIT_LEAST };
        assert_eq!((waits(ms(99)), waits(ms(100))), (Err(short), Ok(())));
    }
}

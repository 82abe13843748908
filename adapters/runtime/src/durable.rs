//! At least once: a message is stored before its sender is told so, and is kept until it has been
//! handled.
//!
//! A [`Durable`] is a stream that outlives nodes (`JetStream`). Where a runtime has one, whatever
//! is sent without wanting an answer goes through it, to agents of this node as well: a send that
//! returns `Ok` is stored. The stream hands each message to the node that has the name, and hears
//! what became of it only when the agent's `handle` has returned. So a message that a crash or a
//! kill interrupts comes again, and one that was handled just before comes again only if nobody
//! could be told.
//!
//! It is a seam of its own and no part of a [`Transport`](crate::Transport): a wire knows nodes and
//! forgets; a stream knows names and remembers, also those of nodes that are not there.
//!
//! Questions, messages that may not wait ([`try_send`](crate::AgentRef::try_send)), broadcasts and
//! timers do not go through it: at most once, as without it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId, membership};
use serde::{Deserialize, Serialize};

use crate::cell::{Patience, Way};
use crate::error::SendError;
use crate::executor::{Role, Task};
use crate::frame::{encodable, of_stored, stored};
use crate::mailbox::Lane;
use crate::message::{Message, Value, is_reserved};
use crate::peers::failure_of;
use crate::process::caught;
use crate::reply::{ReplyFailure, reply_slot};
use crate::runtime::Shared;
use crate::token::Token;
use crate::transport::{FRAME_BYTES_MAX, Frame};

/// Which message it is, among all of all nodes: whatever is stored twice under one id is stored
/// once, within the time that the stream remembers ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId {
    /// The sender's node.
    pub node: NodeId,
    /// And its boot. A stream must not rely on it alone: not everybody counts boots.
    pub epoch: u64,
    /// The number of the message in that boot.
    pub number: u64,
}

/// Why a stream has not said that it has stored a message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StoreFailure {
    /// No agent of this name has ever been served: it would wait for nobody. Not stored.
    Unknown,
    /// The stream has as much as it may have. Not stored.
    Full,
    /// The message is larger than the stream takes. Not stored.
    TooLarge,
    /// The stream has refused it, for this reason. Not stored.
    Refused(String),
    /// There is no word of it. It may be stored.
    Unconfirmed(String),
}

impl Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no agent of this name was ever served by the stream"),
            Self::Full => f.write_str("the stream is full"),
            Self::TooLarge => f.write_str("the message is too large for the stream"),
            Self::Refused(why) => write!(f, "the stream has refused it: {why}"),
            Self::Unconfirmed(why) => write!(f, "it may or may not be stored: {why}"),
        }
    }
}

impl std::error::Error for StoreFailure {}

/// What [`Durable::store`] returns.
pub type Storing<'a> = Pin<Box<dyn Future<Output = Result<(), StoreFailure>> + Send + 'a>>;

/// What became of a message that a stream has handed out.
pub type Taking = Pin<Box<dyn Future<Output = Result<(), ReplyFailure>> + Send>>;

/// A stream of messages to names, which outlives the nodes.
pub trait Durable: Debug + Send + Sync + 'static {
    /// Stores a message for whoever has this name, now or later; ready when it is stored. Tries
    /// again under the same id as it sees fit, until it is dropped.
    fn store(&self, to: Arc<str>, id: MessageId, frame: Frame) -> Storing<'_>;

    /// Hands what is stored for this name to the intake, in order, and does with each message what
    /// the intake says became of it. When `end` is over it hands out no more, settles what it has
    /// handed out, and is over. Several nodes may serve one name at one time, as it moves; each
    /// message is handed to one of them.
    fn serve(self: Arc<Self>, name: Arc<str>, intake: Intake, end: Task) -> Task;

    /// How long a runtime that ends waits until everything is settled. By default 2 s.
    fn linger(&self) -> Duration {
        Duration::from_secs(2)
    }
}

/// Where a stream puts the messages of a name. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Arc<dyn Fn(Frame, Duration) -> Taking + Send + Sync>);

impl Intake {
    /// An intake that hands everything to `take`. Runtimes make their own; this is for tests of
    /// streams.
    #[must_use]
    pub fn new(take: impl Fn(Frame, Duration) -> Taking + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Gives a message, stored so long ago, to its agent. Ready when it has been handled, or will
    /// not be: `NotUnderstood`, `Expired` and `Skipped` are for good, after anything else it may be
    /// given again. Messages are queued in the order of the first polls.
    #[must_use]
    pub fn take(&self, frame: Frame, age: Duration) -> Taking {
        (self.0)(frame, age)
    }
}

impl Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intake")
    }
}

/// A stored message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Post {
    kind: String,
    payload: Value,
    sender: Option<String>,
    priority: bool,
    /// How long it may wait to be handled, from the storing, in nanoseconds.
    ttl: Option<u64>,
}

/// The stream of a runtime, and which names are served.
#[derive(Debug)]
pub(crate) struct Streams {
    durable: Arc<dyn Durable>,
    node: NodeId,
    epoch: u64,
    number: AtomicU64,
    /// What ends the service of each name.
    served: Mutex<BTreeMap<Arc<str>, Arc<Token>>>,
    /// Services that have not ended.
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    count: usize,
    /// Raised when there is none.
    none: Arc<Token>,
}

impl Streams {
    pub(crate) fn new(durable: Arc<dyn Durable>, membership: membership::Config) -> Arc<Self> {
        let membership::Config { node, epoch, .. } = membership;
        Arc::new(Self {
            durable,
            node,
            epoch,
            number: AtomicU64::new(0),
            served: Mutex::new(BTreeMap::new()),
            open: Mutex::new(Open { count: 0, none: Arc::new(Token::new()) }),
        })
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Token>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that has not ended.
struct Service(Arc<Streams>);

impl Service {
    fn begin(streams: &Arc<Streams>) -> Self {
        let mut open = streams.open();
        if open.count == 0 {
            open.none = Arc::new(Token::new());
        }
        open.count += 1;
        Self(Arc::clone(streams))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let mut open = self.0.open();
        open.count -= 1;
        let over = (open.count == 0).then(|| Arc::clone(&open.none));
        drop(open);
        if let Some(over) = over {
            over.raise();
        }
    }
}

impl Shared {
    /// Stores a message that wants no answer.
    pub(crate) async fn store(
        &self,
        streams: &Streams,
        name: &Arc<str>,
        way: Way,
        message: Message,
    ) -> Result<(), SendError> {
        let to = || Arc::clone(name);
        let (kind, payload, sender, _) = message.into_parts();
        if is_reserved(&kind) {
            return Err(SendError::Reserved { kind });
        }
        let left = || u64::try_from(way.expires.saturating_since(self.executor.now()).as_nanos());
        let post = Post {
            kind,
            payload,
            sender: sender.map(|sender| sender.to_string()),
            priority: way.lane == Lane::Priority,
            ttl: (way.expires < Instant::MAX).then(|| left().unwrap_or(u64::MAX)),
        };
        encodable(&post.payload).map_err(|error| error.of(name))?;
        let frame = stored(&post).map_err(|error| error.of(name))?;
        let (node, epoch) = (streams.node, streams.epoch);
        let number = streams.number.fetch_add(1, Ordering::Relaxed);
        let store = streams.durable.store(to(), MessageId { node, epoch, number }, frame);
        let stored = self.timers.timeout(way.patience.deadline(self), store).await;
        let unconfirmed = |detail| SendError::Unconfirmed { name: to(), detail };
        match stored {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreFailure::Unknown)) => Err(SendError::Unknown { name: to() }),
            Ok(Err(StoreFailure::Full)) => Err(SendError::StreamFull { name: to() }),
            Ok(Err(StoreFailure::TooLarge)) => {
                Err(SendError::TooLarge { name: to(), bytes: 0, most: FRAME_BYTES_MAX })
            }
            Ok(Err(StoreFailure::Refused(detail))) => {
                Err(SendError::NotStored { name: to(), detail })
            }
            Ok(Err(StoreFailure::Unconfirmed(detail))) => Err(unconfirmed(detail)),
            Err(_) => Err(unconfirmed("the stream did not answer before the deadline".to_owned())),
        }
    }

    /// The messages of a name are taken from now on. Does nothing if they are already.
    pub(crate) fn begin_service(self: &Arc<Self>, name: &Arc<str>) {
        let Some(streams) = &self.streams else { return };
        let end = Arc::new(Token::new());
        {
            let mut served = streams.served();
            if served.contains_key(name) {
                return;
            }
            served.insert(Arc::clone(name), Arc::clone(&end));
        }
        let (shared, own) = (Arc::clone(self), Arc::clone(name));
        let intake = Intake::new(move |frame, age| {
            let (shared, name) = (Arc::clone(&shared), Arc::clone(&own));
            // Whatever panics on this way must not end the stream.
            Box::pin(async move {
                caught(shared.take(name, frame, age)).await.unwrap_or(Err(ReplyFailure::Crashed))
            })
        });
        let end: Task = Box::pin(async move { end.raised().await });
        let serve = Arc::clone(&streams.durable).serve(Arc::clone(name), intake, end);
        let service = Service::begin(streams);
        let task = Box::pin(async move {
            let _service = service;
            serve.await;
        });
        self.executor.spawn_as(Role::Remote(name), task);
    }

    /// No more are taken.
    pub(crate) fn end_service(&self, name: &str) {
        let Some(streams) = &self.streams else { return };
        let end = streams.served().remove(name);
        if let Some(end) = end {
            end.raise();
        }
    }

    /// Waits until everything that was handed out is settled, or has been waited for long enough.
    pub(crate) async fn settle(&self) {
        let Some(streams) = &self.streams else { return };
        let none = {
            let open = streams.open();
            (open.count > 0).then(|| Arc::clone(&open.none))
        };
        if let Some(none) = none {
            let until = self.executor.now().saturating_add(streams.durable.linger());
            // Whatever is not settled by then comes again.
            let _ = self.timers.timeout(until, none.raised()).await;
        }
    }

    async fn take(
        self: Arc<Self>,
        name: Arc<str>,
        frame: Frame,
        age: Duration,
    ) -> Result<(), ReplyFailure> {
        let Some(post) = of_stored::<Post>(&frame) else { return Err(ReplyFailure::NotUnderstood) };
        let left = match post.ttl.map(Duration::from_nanos) {
            None => None,
            Some(ttl) => match ttl.checked_sub(age) {
                None | Some(Duration::ZERO) => return Err(ReplyFailure::Expired),
                left => left,
            },
        };
        let expires = left.map_or(Instant::MAX, |left| self.executor.now().saturating_add(left));
        let lane = if post.priority { Lane::Priority } else { Lane::Normal };
        let way = Way { expires, ..Way::new(lane, Patience::Until(Instant::MAX)) };
        let mut message = Message::new(post.kind, post.payload);
        if let Some(sender) = post.sender {
            message = message.sent_by(Arc::from(sender));
        }
        let cell = self.local(&name).ok_or(ReplyFailure::Down)?;
        let (receipt, outcome) = reply_slot();
        let receipt = Some(Receipt(Box::new(receipt)));
        let taken = cell.put_raw(way, message, receipt).await;
        taken.map_err(|error| failure_of(&error))?;
        outcome.await
    }
}

/// What a stored message carries into the mailbox: it tells the stream what became of it. Dropped,
/// it says that nothing did.
#[derive(Debug)]
pub(crate) struct Receipt(Box<crate::reply::ReplyTo<()>>);

impl Receipt {
    pub(crate) fn handled(self) {
        // The stream may have gone.
        let _ = self.0.send(());
    }

    pub(crate) fn failed(self, failure: ReplyFailure) {
        self.0.fail(failure);
    }
}

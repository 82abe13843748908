//! A name's place in the runtime: its mailbox, its status, its counters.
//!
//! A cell belongs to the name and not to an incarnation: it is made when the name is declared and
//! survives every restart, and so does what is queued in it. References point here.

mod control;
mod envelope;
mod sending;

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use lictor_kernel::Instant;

pub(crate) use self::control::{Control, WISHES_MAX};
pub(crate) use self::envelope::{Envelope, OnlyFor, Special};
pub(crate) use self::sending::Sending;
use crate::durable::Receipt;
use crate::error::SendError;
use crate::events::EventKind;
use crate::executor::Task;
use crate::mailbox::{Lane, Mailbox, MailboxConfig, Overflow, PushError};
use crate::message::{DecodeError, Message, Protocol, is_reserved};
use crate::process::{Life, Work};
use crate::reply::ReplyFailure;
use crate::runtime::Shared;
use crate::spans;
use crate::view::{AgentKind, Status};

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) lane: Lane,
    /// How long it may wait for room in the mailbox.
    pub(crate) patience: Patience,
    /// How long it may wait to be handled.
    pub(crate) expires: Instant,
    pub(crate) only_for: Option<OnlyFor>,
}

/// How long a message may wait for room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// As the runtime's configuration says.
    Default,
    /// From the moment at which it finds no room. Most messages find some: for them no clock is
    /// read.
    For(Duration),
    Until(Instant),
}

impl Patience {
    pub(crate) fn deadline(self, shared: &Shared) -> Instant {
        let from_now = |time| shared.executor.now().saturating_add(time);
        match self {
            Self::Default => from_now(shared.config.send_timeout),
            Self::For(time) => from_now(time),
            Self::Until(deadline) => deadline,
        }
    }
}

impl Way {
    pub(crate) const fn new(lane: Lane, patience: Patience) -> Self {
        Self { lane, patience, expires: Instant::MAX, only_for: None }
    }

    #[inline]
    fn envelope<P>(self, message: P) -> Envelope<P> {
        let is_usual = self.only_for.is_none() && self.expires == Instant::MAX;
        Envelope { message, special: if is_usual { None } else { self.special(None) } }
    }

    #[cold]
    fn special(self, receipt: Option<Receipt>) -> Option<Box<Special>> {
        let Self { only_for, expires, .. } = self;
        Special { attempt: 0, only_for, expires, receipt }.boxed()
    }
}

/// What a cell is, whatever its agent understands.
#[repr(C)]
pub(crate) struct Core {
    /// Next to what the consumer tells senders of its loan, which it writes for each message, too.
    handled: AtomicU64,
    pub(crate) name: Arc<str>,
    /// What few agents have.
    unusual: Option<Box<Unusual>>,
    pub(crate) shared: Arc<Shared>,
    starts: AtomicU64,
    dead: AtomicU64,
    timed_out: AtomicU64,
    pub(crate) kind: AgentKind,
    overflow: Overflow,
    status: AtomicU8,
    /// Controls on the way that callers have asked for: [`WISHES_MAX`] at most.
    wishes: AtomicU16,
    /// Stop only when the queue is empty.
    drain: AtomicBool,
    /// Somebody has suspended the name, and nobody has resumed it. An incarnation that comes
    /// meanwhile is suspended from its start.
    suspended: AtomicBool,
}

/// What is unusual about an agent: boxed, so that the others pay no more than a word for it.
struct Unusual {
    capabilities: Box<[String]>,
    work: Work,
}

impl Core {
    /// What it can do.
    pub(crate) fn capabilities(&self) -> &[String] {
        self.unusual.as_ref().map_or(&[], |it| &it.capabilities)
    }

    /// How its incarnations work.
    #[inline]
    pub(crate) fn work(&self) -> Work {
        self.unusual.as_ref().map_or(Work::DEFAULT, |it| it.work)
    }

    pub(crate) fn status(&self) -> Status {
        Status::from_code(self.status.load(Ordering::Acquire))
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.store(status.code(), Ordering::Release);
    }

    pub(crate) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_incarnation(&self) -> u64 {
        self.starts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One more message was handled. Only the one consumer calls it, so it need not be atomic as a
    /// whole.
    pub(crate) fn count_handled(&self) {
        self.handled.store(self.handled.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    pub(crate) fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    /// Senders that gave up waiting for room.
    pub(crate) fn timed_out(&self) -> u64 {
        self.timed_out.load(Ordering::Relaxed)
    }

    pub(crate) fn wishes(&self) -> u16 {
        self.wishes.load(Ordering::Relaxed)
    }

    /// The agent has come to one of them.
    pub(crate) fn wish_taken(&self) {
        self.wishes.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn drains(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    pub(crate) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Release);
    }

    /// The message that was in hand at a crash is dropped: the crash itself says so.
    pub(crate) fn count_dropped(&self) {
        self.dead.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dead(&self, count: u64, reason: ReplyFailure) {
        self.dead.fetch_add(count, Ordering::Relaxed);
        let reason = failure_name(reason);
        let name = Arc::clone(&self.name);
        self.shared.emit(EventKind::DeadLetters { name, count, reason });
    }
}

pub(crate) const fn failure_name(failure: ReplyFailure) -> &'static str {
    match failure {
        ReplyFailure::Unanswered => "unanswered",
        ReplyFailure::Crashed => "crashed",
        ReplyFailure::Stopped => "stopped",
        ReplyFailure::Down => "down",
        ReplyFailure::Killed => "killed",
        ReplyFailure::Evicted => "evicted",
        ReplyFailure::Skipped => "skipped",
        ReplyFailure::Unencodable => "unencodable",
        ReplyFailure::Expired => "expired",
        ReplyFailure::NoConnection => "no_connection",
        ReplyFailure::NotUnderstood => "not_understood",
        ReplyFailure::Refused => "refused",
    }
}

/// The cell of an agent that understands `P`. What a sender needs comes first, in one piece.
#[repr(C)]
pub(crate) struct Cell<P> {
    pub(crate) mailbox: Mailbox<Control, Envelope<P>>,
    pub(crate) core: Core,
}

/// Marks of a mailbox, as the runtime's configuration says: each message is encoded.
const ENCODES: u8 = 1;
/// A stream stores what wants no answer.
const STORES: u8 = 2;

/// What a mailbox says to a message.
type Pushed<P> = Result<Option<Envelope<P>>, PushError<Envelope<P>>>;

impl<P: Protocol> Cell<P> {
    pub(crate) fn new(
        name: Arc<str>,
        kind: AgentKind,
        capabilities: &[String],
        work: Work,
        mailbox: MailboxConfig,
        shared: Arc<Shared>,
    ) -> Self {
        let is_usual = capabilities.is_empty() && work == Work::DEFAULT;
        let unusual = || Box::new(Unusual { capabilities: capabilities.into(), work });
        let encodes = if shared.config.encode_messages { ENCODES } else { 0 };
        let stores = if shared.streams.is_some() { STORES } else { 0 };
        let core = Core {
            handled: AtomicU64::new(0),
            name,
            kind,
            unusual: (!is_usual).then(unusual),
            shared,
            overflow: mailbox.overflow,
            status: AtomicU8::new(Status::Initializing.code()),
            starts: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            wishes: AtomicU16::new(0),
            drain: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
        };
        Self { mailbox: Mailbox::new(mailbox).marked(encodes | stores), core }
    }

    #[inline(always)]
    fn encodes(&self) -> bool {
        self.mailbox.mark() & ENCODES != 0
    }

    /// Sends without waiting.
    #[inline(always)]
    pub(crate) fn try_send(&self, way: Way, message: P) -> Result<(), SendError> {
        if self.encodes() || spans::sends_wanted() || message.reserved().is_some() {
            return self.try_send_special(way, message);
        }
        self.try_put(way.lane, way.envelope(message))
    }

    #[cold]
    fn try_send_special(&self, way: Way, message: P) -> Result<(), SendError> {
        let _entered = spans::sends_wanted().then(|| spans::send(&self.core.name).entered());
        let message = self.as_it_arrives(message)?;
        self.try_put(way.lane, way.envelope(message))
    }

    #[inline]
    fn try_put(&self, lane: Lane, envelope: Envelope<P>) -> Result<(), SendError> {
        let pushed = self.mailbox.try_push(lane, envelope);
        self.sent(pushed)
    }

    /// Sends without waiting if that is possible; else the future is what has to be waited for.
    ///
    /// Nearly all messages find room. For them there is no future of its own, no clock and no
    /// allocation: the difference is most of the price of a message. Nor is there a call: a message
    /// that is handed over in memory is read in other pieces than it was written in, for which the
    /// processor waits longer than the call takes.
    #[inline(always)]
    pub(crate) fn start_send(&self, way: Way, message: P) -> Sending<'_> {
        if self.encodes() || spans::sends_wanted() || message.reserved().is_some() {
            return self.start_send_special(way, message);
        }
        match self.mailbox.offer(way.lane, way.envelope(message)) {
            Ok(None) => Sending::Done(Ok(())),
            pushed => self.not_taken(way, pushed),
        }
    }

    /// One that did not simply find room.
    #[cold]
    fn not_taken(&self, way: Way, pushed: Pushed<P>) -> Sending<'_> {
        match pushed {
            Err(PushError::Full(envelope)) if self.core.overflow == Overflow::Wait => {
                Sending::Waits(Box::pin(self.wait_for_room(way, envelope)))
            }
            pushed => Sending::Done(self.sent(pushed)),
        }
    }

    #[cold]
    fn start_send_special(&self, way: Way, message: P) -> Sending<'_> {
        if spans::sends_wanted() {
            return Sending::Waits(Box::pin(self.send_seen(way, message)));
        }
        match self.as_it_arrives(message) {
            Ok(message) => {
                let pushed = self.mailbox.offer(way.lane, way.envelope(message));
                self.not_taken(way, pushed)
            }
            Err(error) => Sending::Done(Err(error)),
        }
    }

    /// Sends what wants no answer: through the stream, where there is one; else as
    /// [`Cell::start_send`].
    #[inline(always)]
    pub(crate) fn start_tell(&self, way: Way, message: P) -> Sending<'_> {
        if self.mailbox.mark() & STORES != 0 {
            return Sending::Waits(Box::pin(self.store(way, message)));
        }
        self.start_send(way, message)
    }

    async fn store(&self, way: Way, message: P) -> Result<(), SendError> {
        let shared = &self.core.shared;
        let Some(streams) = &shared.streams else { return self.start_send(way, message).await };
        let message = self.as_raw(message)?;
        shared.store(streams, &self.core.name, way, message).await
    }

    /// What has become of a message that did not wait.
    #[cold]
    fn refused(&self, pushed: Pushed<P>) -> Result<(), SendError> {
        match pushed {
            Ok(None) => Ok(()),
            Ok(Some(evicted)) => {
                self.dead_letter(evicted, ReplyFailure::Evicted);
                Ok(())
            }
            Err(PushError::Full(envelope)) => {
                envelope.refuse(ReplyFailure::Evicted);
                Err(SendError::Full { name: Arc::clone(&self.core.name) })
            }
            Err(PushError::Closed(envelope)) => Err(self.refuse_closed(envelope)),
        }
    }

    #[inline]
    fn sent(&self, pushed: Pushed<P>) -> Result<(), SendError> {
        if matches!(pushed, Ok(None)) { Ok(()) } else { self.refused(pushed) }
    }

    /// As [`Cell::start_send`], where somebody listens.
    async fn send_seen(&self, way: Way, message: P) -> Result<(), SendError> {
        let send = async {
            let message = self.as_it_arrives(message)?;
            let envelope = way.envelope(message);
            if self.core.overflow == Overflow::Wait {
                return self.wait_for_room(way, envelope).await;
            }
            self.sent(self.mailbox.try_push(way.lane, envelope))
        };
        spans::within(spans::send(&self.core.name), send).await
    }

    async fn wait_for_room(&self, way: Way, envelope: Envelope<P>) -> Result<(), SendError> {
        let mut push = self.mailbox.push(way.lane, envelope);
        // A push that finds room is ready at once: it reads no clock and registers no timer.
        let pushed = match poll_fn(|cx| Poll::Ready(Pin::new(&mut push).poll(cx))).await {
            Poll::Ready(pushed) => Ok(pushed),
            Poll::Pending => {
                let shared = &self.core.shared;
                shared.timers.timeout(way.patience.deadline(shared), push).await
            }
        };
        match pushed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.refuse_closed(error.into_inner())),
            Err(_) => {
                self.core.timed_out.fetch_add(1, Ordering::Relaxed);
                Err(SendError::Timeout { name: Arc::clone(&self.core.name) })
            }
        }
    }

    fn refuse_closed(&self, envelope: Envelope<P>) -> SendError {
        envelope.refuse(ReplyFailure::Down);
        SendError::Down { name: Arc::clone(&self.core.name) }
    }

    /// The message as a stream stores it.
    fn as_raw(&self, message: P) -> Result<Message, SendError> {
        if let Some(kind) = message.reserved() {
            return Err(SendError::Reserved { kind: kind.to_owned() });
        }
        message.encode().map_err(|error| SendError::NotUnderstood {
            name: Arc::clone(&self.core.name),
            detail: error.0,
        })
    }

    /// The message, unless it is one that nobody may send; in the test mode that forces encoding,
    /// as a remote receiver would get it.
    #[inline]
    fn as_it_arrives(&self, message: P) -> Result<P, SendError> {
        if let Some(kind) = message.reserved() {
            return Err(SendError::Reserved { kind: kind.to_owned() });
        }
        if !self.encodes() {
            return Ok(message);
        }
        self.encoded(message)
    }

    #[cold]
    fn encoded(&self, message: P) -> Result<P, SendError> {
        self.understood(|| message.encode().and_then(P::decode))
    }

    /// A message that nobody will handle: counted, told, and its asker answered.
    pub(crate) fn dead_letter(&self, envelope: Envelope<P>, reason: ReplyFailure) {
        envelope.refuse(reason);
        self.core.count_dead(1, reason);
    }

    pub(crate) fn decode(&self, message: Message) -> Result<P, SendError> {
        if is_reserved(message.kind()) {
            return Err(SendError::Reserved { kind: message.kind().to_owned() });
        }
        self.understood(|| P::decode(message))
    }

    /// Reading and writing are the user's code. A message that panics there is one that is not
    /// understood: it may come from afar, and whoever asked is to hear of it at once.
    fn understood(&self, read: impl FnOnce() -> Result<P, DecodeError>) -> Result<P, SendError> {
        let read = catch_unwind(AssertUnwindSafe(read));
        let read = read.unwrap_or_else(|_| Err(DecodeError("its reading has panicked".to_owned())));
        read.map_err(|error| SendError::NotUnderstood {
            name: Arc::clone(&self.core.name),
            detail: error.0,
        })
    }
}

/// A cell whose protocol is not known statically.
pub(crate) trait AnyCell: Send + Sync {
    fn core(&self) -> &Core;
    fn queued(&self) -> usize;
    fn counters(&self) -> crate::mailbox::MailboxCounters;
    /// Tells the agent, however much waits: nobody could make good for a lost control. The number
    /// is bounded all the same: by the children that the agent has spawned, one stop for each
    /// incarnation, and [`WISHES_MAX`].
    fn control(&self, control: Control);
    /// Refuses messages from now on; what is queued becomes dead letters.
    fn close(&self, reason: ReplyFailure);
    /// Refuses messages from now on; what is queued is still handled.
    fn close_intake(&self);
    /// Takes messages again.
    fn reopen(&self);
    fn try_send_raw(&self, way: Way, message: Message) -> Result<(), SendError>;
    /// A question as by [`Cell::start_send`], anything else as by [`Cell::start_tell`].
    fn send_raw(&self, way: Way, message: Message) -> Sending<'_>;
    /// Queues what has come from elsewhere: another node, or a stream, which waits for the receipt.
    fn put_raw<'a>(
        &'a self,
        way: Way,
        message: Message,
        receipt: Option<Receipt>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn as_any(&self) -> &dyn Any;
}

impl<P: Protocol> AnyCell for Cell<P> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn queued(&self) -> usize {
        self.mailbox.len()
    }

    fn counters(&self) -> crate::mailbox::MailboxCounters {
        self.mailbox.counters()
    }

    fn control(&self, control: Control) {
        // Counted first: the agent may take it at once. Only the driver gets here.
        let wish = u16::from(control.is_wish());
        self.core.wishes.fetch_add(wish, Ordering::Relaxed);
        if self.mailbox.force_control(control).is_err() {
            // The agent has ended.
            self.core.wishes.fetch_sub(wish, Ordering::Relaxed);
        }
    }

    fn close(&self, reason: ReplyFailure) {
        let leftover = self.mailbox.close();
        for control in leftover.control {
            self.core.wishes.fetch_sub(u16::from(control.is_wish()), Ordering::Relaxed);
        }
        let count = leftover.messages.len() as u64;
        for envelope in leftover.messages {
            envelope.refuse(reason);
        }
        if count > 0 {
            self.core.count_dead(count, reason);
        }
    }

    fn close_intake(&self) {
        self.core.drain.store(true, Ordering::Release);
        self.mailbox.close_intake();
    }

    fn reopen(&self) {
        self.core.drain.store(false, Ordering::Release);
        self.mailbox.reopen();
    }

    fn try_send_raw(&self, way: Way, message: Message) -> Result<(), SendError> {
        self.try_send(way, self.decode(message)?)
    }

    fn send_raw(&self, way: Way, message: Message) -> Sending<'_> {
        let asks = message.wants_reply();
        match self.decode(message) {
            Ok(message) if asks => self.start_send(way, message),
            Ok(message) => self.start_tell(way, message),
            Err(error) => Sending::Done(Err(error)),
        }
    }

    fn put_raw<'a>(
        &'a self,
        way: Way,
        message: Message,
        receipt: Option<Receipt>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>> {
        Box::pin(async move {
            let message = self.decode(message)?;
            let message = self.as_it_arrives(message)?;
            let envelope = Envelope { message, special: way.special(receipt) };
            if self.core.overflow != Overflow::Wait {
                return self.try_put(way.lane, envelope);
            }
            self.wait_for_room(way, envelope).await
        })
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<P> Debug for Cell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("name", &self.core.name).finish_non_exhaustive()
    }
}

/// What can make incarnations for a cell.
pub(crate) trait Launch: Send + Sync {
    fn core(&self) -> &Core;
    fn cell(&self) -> Arc<dyn AnyCell>;
    /// The body of one incarnation.
    fn launch(self: Arc<Self>, life: Arc<Life>) -> Task;
}

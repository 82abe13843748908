//! Moves the bytes of one connection, in one task.
//!
//! Reading and writing are tried side by side, so a peer that does not read is still heard, and one
//! that sends without end is still written to. What waits is encoded in batches, one write for many
//! messages. Nothing waits for room anywhere: events go to an [`Owner`] that takes them at once.

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_zmtp::{Config, Connection, ConnectionError, Event, Message};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep_until, timeout};

use crate::bell::Bell;

/// Messages are encoded for one write until they have so many bytes.
pub(crate) const BATCH: usize = 64 << 10;

/// Read at once.
const READ: usize = 32 << 10;

/// Answers that wait, in bytes, above which a peer is not read: it asks and does not listen.
const ANSWERS_MAX: usize = 64 << 10;

/// How long the last words to a peer may take.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Whose connection it is.
pub(crate) trait Owner: Send + Sync {
    /// Takes events in. Never waits. An error ends the connection.
    fn hear(&self, events: &mut Vec<Event>) -> Result<(), Arc<str>>;
    /// Encodes what waits, at most about [`BATCH`].
    fn fill(&self, connection: &mut Connection, wire: &mut Wire);
    /// So many messages have been handed to the operating system whole.
    fn sent(&self, messages: u64);
    /// Rung when something waits.
    fn bell(&self) -> &Bell;
    /// The connection has ended.
    fn ended(&self, ended: &Ended);
}

/// The tokio clock as the kernel's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        let passed = tokio::time::Instant::now().saturating_duration_since(self.0);
        Instant::ZERO.saturating_add(passed)
    }

    fn of(self, at: Instant) -> tokio::time::Instant {
        let since = Duration::from_nanos(at.as_nanos());
        // Farther than anybody waits, where it is later than the host's clock can say.
        let far = Duration::from_secs(86_400 * 365);
        self.0.checked_add(since).unwrap_or_else(|| tokio::time::Instant::now() + far)
    }
}

/// Why a connection has ended.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The peer has closed it.
    Closed,
    Io(io::Error),
    Protocol(ConnectionError),
    /// The owner did not take what it sent.
    Refused(Arc<str>),
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer has closed the connection"),
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// How a connection has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) cause: Cause,
    /// Its handshake had been done.
    pub(crate) opened: bool,
    /// Messages that were encoded and not written whole.
    pub(crate) lost: u64,
    /// What the peer sent and nobody could use.
    pub(crate) ignored: u64,
}

/// What is being written, and where in it messages end.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
    written: usize,
    ends: VecDeque<usize>,
    answers: usize,
}

impl Wire {
    /// Appends a message.
    pub(crate) fn message(&mut self, connection: &mut Connection, message: &Message) {
        if connection.send(message, &mut self.bytes).is_ok() {
            self.ends.push_back(self.bytes.len());
        }
    }

    /// For commands.
    pub(crate) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    const fn is_written(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// So many bytes were written: says how many messages that completes.
    fn advance(&mut self, bytes: usize) -> u64 {
        self.written += bytes;
        let before = self.ends.len();
        while self.ends.front().is_some_and(|end| *end <= self.written) {
            self.ends.pop_front();
        }
        let done = before - self.ends.len();
        if self.is_written() {
            self.written = 0;
            self.answers = 0;
            self.bytes.clear();
            // One long message must not hold its room for ever.
            self.bytes.shrink_to(4 * BATCH);
        }
        done as u64
    }
}

/// What one look at the stream has found.
#[derive(Default)]
struct Step {
    read: usize,
    sent: u64,
    due: bool,
}

/// Moves bytes until the connection ends.
pub(crate) async fn drive<S, O>(
    mut stream: S,
    config: Arc<Config>,
    seed: [u8; 32],
    clock: Clock,
    owner: &O,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    O: Owner,
{
    let mut wire = Wire::default();
    let mut opened = false;
    let made = Connection::new(clock.now(), config, &seed, &mut wire.bytes);
    let mut connection = match made {
        Ok(connection) => connection,
        Err(error) => {
            let cause = Cause::Refused(error.to_string().into());
            return Ended { cause, opened, lost: 0, ignored: 0 };
        }
    };
    let cause = exchange(&mut stream, &mut connection, &mut wire, &mut opened, clock, owner).await;
    if matches!(cause, Cause::Protocol(_) | Cause::Refused(_)) {
        // It may want to know why.
        let _ = timeout(LAST_WORDS, stream.write_all(wire.rest())).await;
    }
    Ended { cause, opened, lost: wire.ends.len() as u64, ignored: connection.ignored() }
}

async fn exchange<S, O>(
    stream: &mut S,
    connection: &mut Connection,
    wire: &mut Wire,
    opened: &mut bool,
    clock: Clock,
    owner: &O,
) -> Cause
where
    S: AsyncRead + AsyncWrite + Unpin,
    O: Owner,
{
    let mut buffer = vec![0; READ];
    let mut events = Vec::new();
    let mut sleep = pin!(sleep_until(tokio::time::Instant::now()));
    let mut armed = None;
    loop {
        if wire.is_written() && connection.is_open() {
            owner.fill(connection, wire);
        }
        let deadline = connection.poll_timeout();
        if deadline != armed {
            armed = deadline;
            if let Some(at) = deadline {
                sleep.as_mut().reset(clock.of(at));
            }
        }
        let looked = poll_fn(|cx| {
            let sleep = armed.is_some().then_some(sleep.as_mut());
            look(stream, wire, &mut buffer, owner.bell(), sleep, cx)
        });
        let step = match looked.await {
            Ok(step) => step,
            Err(cause) => return cause,
        };
        if step.sent > 0 {
            owner.sent(step.sent);
        }
        let before = wire.bytes.len();
        let read = buffer.get(..step.read).unwrap_or_default();
        let heard = connection.handle_input(clock.now(), read, &mut wire.bytes, &mut events);
        *opened |= connection.is_open() || !events.is_empty();
        if let Err(refused) = owner.hear(&mut events) {
            return Cause::Refused(refused);
        }
        events.clear();
        if let Err(error) = heard {
            return Cause::Protocol(error);
        }
        if step.due {
            armed = None;
            if let Err(error) = connection.handle_timeout(clock.now(), &mut wire.bytes) {
                return Cause::Protocol(error);
            }
        }
        wire.answers += wire.bytes.len() - before;
    }
}

/// Writes, reads, listens to the bell and the clock; ready if any of them has something.
fn look<S>(
    stream: &mut S,
    wire: &mut Wire,
    buffer: &mut [u8],
    bell: &Bell,
    sleep: Option<Pin<&mut Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Step, Cause>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut step = Step::default();
    let mut moved = false;
    if !wire.is_written() {
        match Pin::new(&mut *stream).poll_write(cx, wire.rest()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Cause::Closed)),
            Poll::Ready(Ok(bytes)) => {
                step.sent = wire.advance(bytes);
                moved = true;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Cause::Io(error))),
            Poll::Pending => {}
        }
    }
    if wire.answers <= ANSWERS_MAX {
        let mut room = ReadBuf::new(buffer);
        match Pin::new(&mut *stream).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) if room.filled().is_empty() => {
                return Poll::Ready(Err(Cause::Closed));
            }
            Poll::Ready(Ok(())) => {
                step.read = room.filled().len();
                moved = true;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Cause::Io(error))),
            Poll::Pending => {}
        }
    }
    // While something is being written, the end of that is what is waited for.
    if wire.is_written() && bell.poll_rung(cx).is_ready() {
        moved = true;
    }
    if let Some(sleep) = sleep
        && sleep.poll(cx).is_ready()
    {
        step.due = true;
        moved = true;
    }
    if moved { Poll::Ready(Ok(step)) } else { Poll::Pending }
}

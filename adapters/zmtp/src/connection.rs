//! One connection: a greeting, a handshake, and then messages, subscriptions and heartbeats.
//!
//! The machine is told what was read and when, and appends what must be written to the caller's
//! buffer, in order. It holds no queue: what waits for a peer waits outside, where its bytes are
//! counted. Under CURVE the order of boxes is part of the protocol, so what is appended must be
//! written as it stands, nothing left out and nothing in between.
//!
//! The hard case is silence. A peer that has stopped reading, or whose host is gone, ends nothing;
//! so this end asks with PING, and anything at all that comes is an answer. A late answer counts if
//! it is there before [`Connection::handle_timeout`]: then it is this end that was late.

mod handshake;
mod watch;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use bytes::Bytes;
use lictor_kernel::Instant;

use crate::command::{self, CONTEXT_MAX};
use crate::curve::{PublicKey, SecretKey, Session};
use crate::frame::{Bounds, Decoder, Frame, Kind, put_header};
use crate::greeting::GREETING;
use crate::message::Assembly;
use crate::{Config, ConfigError, ConnectionError, Message, SocketType};
use handshake::Step;
use watch::Watch;

/// The name of a SUBSCRIBE with its length.
const SUBSCRIBE_NAME: usize = 10;

/// What came of what was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The handshake is over: messages and subscriptions may be sent. Once, and first.
    Open(Peer),
    /// A whole message has come. Only to sockets that hear.
    Message(Message),
    /// The peer wants messages whose topic begins so. Only to sockets that publish. It may be
    /// repeated, and wanting twice is wanting once.
    Subscribe(Bytes),
    /// The peer wants them no more. It may never have wanted them.
    Cancel(Bytes),
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The type of its socket.
    pub socket: SocketType,
    /// What it calls itself, and nothing proves; empty for nothing.
    pub identity: Vec<u8>,
    /// The minor version of ZMTP 3 that it speaks.
    pub minor: u8,
    /// Its long-term key, proved. Of CURVE only, and at the server only.
    pub key: Option<PublicKey>,
}

/// The connection is not open: before [`Event::Open`], or after its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NotOpen;

impl fmt::Display for NotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not open")
    }
}

impl Error for NotOpen {}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Greeting { bytes: [u8; GREETING], have: usize },
    Handshake(Step),
    Open,
    Ended,
}

/// One end of one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    decoder: Decoder,
    inner: Inner,
}

/// All but the decoder, which lends out what it has read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Inner {
    config: Arc<Config>,
    phase: Phase,
    /// Of the peer.
    minor: u8,
    /// Until the handshake has used it.
    seed: SecretKey,
    session: Option<Session>,
    assembly: Assembly,
    /// The rest of a message that nobody wants is on its way.
    skipping: bool,
    watch: Watch,
    ignored: u64,
    /// Scratch: what CURVE has opened.
    plain: Vec<u8>,
}

impl Connection {
    /// A connection whose stream is there, and whose greeting is appended to `wire`.
    ///
    /// `seed` must be unforeseeable and must not be used twice; CURVE makes its keys of it. Without
    /// CURVE it is not looked at.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration makes no sense.
    pub fn new(
        now: Instant,
        config: Arc<Config>,
        seed: &[u8; 32],
        wire: &mut Vec<u8>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let watch = Watch::new(now, config.handshake_timeout);
        wire.extend_from_slice(&handshake::greeting(&config).encode());
        let inner = Inner {
            phase: Phase::Greeting { bytes: [0; GREETING], have: 0 },
            minor: 0,
            seed: SecretKey::from_bytes(*seed),
            session: None,
            assembly: Assembly::default(),
            skipping: false,
            watch,
            ignored: 0,
            plain: Vec::new(),
            config,
        };
        Ok(Self { decoder: Decoder::default(), inner })
    }

    /// Takes in what was read, in pieces of any size. `O(bytes)`; it holds at most one frame and
    /// one message of it.
    ///
    /// Pushes events in the order in which their bytes came, and appends what must be written:
    /// steps of the handshake, and one PONG for each PING, which is never longer. Whoever cannot
    /// write must therefore stop reading at some point.
    ///
    /// # Errors
    /// [`ConnectionError`]: write what was appended if that can be done at once, and close the
    /// stream. Events pushed before still hold. Every later call is [`ConnectionError::Ended`].
    pub fn handle_input(
        &mut self,
        now: Instant,
        bytes: &[u8],
        wire: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        let taken = self.take(now, bytes, wire, events);
        if let Err(error) = &taken {
            self.end(error, wire);
        }
        taken
    }

    fn take(
        &mut self,
        now: Instant,
        mut bytes: &[u8],
        wire: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        let Self { decoder, inner } = self;
        if inner.phase == Phase::Ended {
            return Err(ConnectionError::Ended);
        }
        inner.watch.check_handshake(now, inner.config.handshake_timeout, true)?;
        if bytes.is_empty() {
            return Ok(());
        }
        inner.watch.heard();
        inner.greet(&mut bytes, wire)?;
        while let Some(frame) = decoder.next(&mut bytes, inner.bounds())? {
            match inner.phase {
                Phase::Greeting { .. } | Phase::Ended => return Err(ConnectionError::Unexpected),
                Phase::Handshake(_) => inner.shake(now, frame, wire, events)?,
                Phase::Open => inner.open_frame(now, frame, wire, events)?,
            }
        }
        Ok(())
    }

    /// The earliest moment at which [`Connection::handle_timeout`] has something to do. It may
    /// change with every call that has `&mut self`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.inner.phase {
            Phase::Ended => None,
            Phase::Greeting { .. } | Phase::Handshake(_) | Phase::Open => self.inner.watch.next(),
        }
    }

    /// Does what is due: appends a PING, or finds that the peer is gone. If nothing is, nothing.
    ///
    /// # Errors
    /// As [`Connection::handle_input`].
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        wire: &mut Vec<u8>,
    ) -> Result<(), ConnectionError> {
        if self.inner.phase == Phase::Ended {
            return Err(ConnectionError::Ended);
        }
        let due = self.inner.fire(now, wire);
        if let Err(error) = &due {
            self.end(error, wire);
        }
        due
    }

    /// Appends a message. Any peer may be sent any message: whether it wants it is not looked at.
    ///
    /// # Errors
    /// [`NotOpen`]; nothing is appended then.
    pub fn send(&mut self, message: &Message, wire: &mut Vec<u8>) -> Result<(), NotOpen> {
        self.inner.check_open()?;
        let Some(session) = &mut self.inner.session else {
            wire.extend_from_slice(message.wire());
            return Ok(());
        };
        let mut parts = message.parts().peekable();
        while let Some(part) = parts.next() {
            session.seal(Kind::Part { more: parts.peek().is_some() }, part, wire);
        }
        Ok(())
    }

    /// Appends the wish for messages whose topic begins with `prefix`, in the form that the peer's
    /// version knows.
    ///
    /// # Errors
    /// [`NotOpen`]; nothing is appended then.
    pub fn subscribe(&mut self, prefix: &[u8], wire: &mut Vec<u8>) -> Result<(), NotOpen> {
        self.inner.put_wish("SUBSCRIBE", 1, prefix, wire)
    }

    /// Appends the end of such a wish.
    ///
    /// # Errors
    /// [`NotOpen`]; nothing is appended then.
    pub fn cancel(&mut self, prefix: &[u8], wire: &mut Vec<u8>) -> Result<(), NotOpen> {
        self.inner.put_wish("CANCEL", 0, prefix, wire)
    }

    /// Whether messages may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.phase == Phase::Open
    }

    /// Commands and messages that this end has no use for, since the start.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.inner.ignored
    }

    fn end(&mut self, error: &ConnectionError, wire: &mut Vec<u8>) {
        if *error == ConnectionError::UnknownKey {
            // What libzmq says to a client that may not connect.
            command::put("ERROR", &[b"\x03400"], wire);
        }
        self.inner.phase = Phase::Ended;
        self.decoder = Decoder::default();
        self.inner.assembly = Assembly::default();
        self.inner.plain = Vec::new();
    }
}

impl Inner {
    fn check_open(&self) -> Result<(), NotOpen> {
        if self.phase == Phase::Open { Ok(()) } else { Err(NotOpen) }
    }

    fn bounds(&self) -> Bounds {
        let limits = &self.config.limits;
        match (&self.phase, &self.session) {
            (Phase::Open, None) => {
                let command = limits.topic.max(command::HANDSHAKE_MAX) + SUBSCRIBE_NAME;
                Bounds { part: limits.frame.max(limits.topic + 1), command }
            }
            (Phase::Open, Some(_)) => {
                let inside = limits.frame.max(limits.topic + SUBSCRIBE_NAME);
                let sealed = inside + Session::OVERHEAD;
                Bounds { part: sealed, command: sealed }
            }
            (Phase::Greeting { .. } | Phase::Handshake(_) | Phase::Ended, _) => {
                Bounds { part: 0, command: command::HANDSHAKE_MAX }
            }
        }
    }

    fn fire(&mut self, now: Instant, wire: &mut Vec<u8>) -> Result<(), ConnectionError> {
        self.watch.check_handshake(now, self.config.handshake_timeout, false)?;
        if let Some(heartbeat) = self.config.heartbeat
            && self.watch.fire(now, &heartbeat)?
        {
            let tenths = u16::try_from(heartbeat.ttl.as_millis() / 100).unwrap_or(u16::MAX);
            self.put_command("PING", &[&tenths.to_be_bytes()], wire);
        }
        self.watch.check_expiry(now)
    }

    fn put_command(&mut self, name: &str, content: &[&[u8]], wire: &mut Vec<u8>) {
        match &mut self.session {
            None => command::put(name, content, wire),
            Some(session) => session.seal(Kind::Command, &command::body(name, content), wire),
        }
    }

    fn put_wish(
        &mut self,
        name: &str,
        mark: u8,
        prefix: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), NotOpen> {
        self.check_open()?;
        if self.minor >= 1 {
            self.put_command(name, &[prefix], wire);
            return Ok(());
        }
        let mut body = Vec::with_capacity(1 + prefix.len());
        body.push(mark);
        body.extend_from_slice(prefix);
        let kind = Kind::Part { more: false };
        match &mut self.session {
            None => {
                put_header(kind, body.len(), wire);
                wire.extend_from_slice(&body);
            }
            Some(session) => session.seal(kind, &body, wire),
        }
        Ok(())
    }

    fn open_frame(
        &mut self,
        now: Instant,
        frame: Frame<'_>,
        wire: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        let Some(session) = &mut self.session else {
            return self.traffic(now, frame, wire, events);
        };
        if frame.kind == (Kind::Part { more: true }) {
            // What follows is said inside the box, where nobody can change it.
            return Err(ConnectionError::BadFlags { flags: 1 });
        }
        let mut plain = core::mem::take(&mut self.plain);
        let opened = session.open(frame.body, &mut plain);
        let result = opened.and_then(|kind| {
            let body = plain.get(1..).unwrap_or_default();
            self.traffic(now, Frame { kind, body }, wire, events)
        });
        self.plain = plain;
        result
    }

    fn traffic(
        &mut self,
        now: Instant,
        frame: Frame<'_>,
        wire: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        let Frame { kind, body } = frame;
        let more = match kind {
            Kind::Command => return self.command(now, body, wire, events),
            Kind::Part { more } => more,
        };
        let limits = &self.config.limits;
        if body.len() > limits.frame.max(limits.topic + 1) {
            let length = body.len() as u64;
            return Err(ConnectionError::FrameTooLong { length, limit: limits.frame });
        }
        if !self.config.socket.publishes() {
            let message = self.assembly.push(more, body, limits)?;
            events.extend(message.map(Event::Message));
            return Ok(());
        }
        // Subscriptions as version 3.0 has them.
        let is_whole = !more && !self.skipping;
        self.skipping = more;
        match body.split_first() {
            Some((1, prefix)) if is_whole => {
                events.push(Event::Subscribe(self.prefix(prefix)?));
            }
            Some((0, prefix)) if is_whole => events.push(Event::Cancel(self.prefix(prefix)?)),
            Some(_) | None => self.ignored = self.ignored.saturating_add(1),
        }
        Ok(())
    }

    fn command(
        &mut self,
        now: Instant,
        body: &[u8],
        wire: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        let (name, content) = command::split(body)?;
        match name {
            b"PING" => {
                let (ttl, context) =
                    content.split_first_chunk().ok_or(ConnectionError::BadCommand)?;
                if context.len() > CONTEXT_MAX {
                    return Err(ConnectionError::BadCommand);
                }
                self.watch.expect(now, u16::from_be_bytes(*ttl));
                self.put_command("PONG", &[context], wire);
            }
            b"PONG" => {}
            b"SUBSCRIBE" if self.config.socket.publishes() => {
                events.push(Event::Subscribe(self.prefix(content)?));
            }
            b"CANCEL" if self.config.socket.publishes() => {
                events.push(Event::Cancel(self.prefix(content)?));
            }
            b"ERROR" => return Err(command::reason(content)?),
            _ => self.ignored = self.ignored.saturating_add(1),
        }
        Ok(())
    }

    fn prefix(&self, prefix: &[u8]) -> Result<Bytes, ConnectionError> {
        let (length, limit) = (prefix.len(), self.config.limits.topic);
        if length > limit {
            return Err(ConnectionError::TopicTooLong { length, limit });
        }
        Ok(Bytes::copy_from_slice(prefix))
    }
}

//! Two ends, and the bytes between them, cut as the test likes.

use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_kernel::{Instant, Prng};
use lictor_zmtp::{
    Allow, Config, Connection, ConnectionError, Event, Message, SecretKey, Security, SocketType,
};

pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) wire: Vec<u8>,
    pub(crate) events: Vec<Event>,
    pub(crate) error: Option<ConnectionError>,
}

impl End {
    pub(crate) fn new(now: Instant, config: Config, seed: u8) -> Self {
        let mut wire = Vec::new();
        let connection = Connection::new(now, Arc::new(config), &[seed; 32], &mut wire).unwrap();
        Self { connection, wire, events: Vec::new(), error: None }
    }

    pub(crate) fn read(&mut self, now: Instant, bytes: &[u8]) {
        let read = self.connection.handle_input(now, bytes, &mut self.wire, &mut self.events);
        self.note(read);
    }

    pub(crate) fn wake(&mut self, now: Instant) {
        let woken = self.connection.handle_timeout(now, &mut self.wire);
        self.note(woken);
    }

    /// The first fault counts.
    fn note(&mut self, result: Result<(), ConnectionError>) {
        if self.error.is_none() {
            self.error = result.err();
        }
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        let message = |event: &Event| match event {
            Event::Message(message) => Some(message.clone()),
            Event::Open(_) | Event::Subscribe(_) | Event::Cancel(_) => None,
        };
        self.events.iter().filter_map(message).collect()
    }
}

/// A publisher and a subscriber.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) publisher: End,
    pub(crate) subscriber: End,
    cuts: Prng,
    longest: u64,
}

impl Pair {
    /// Pieces have up to `longest` bytes.
    pub(crate) fn new(publisher: Config, subscriber: Config, seed: u64, longest: u64) -> Self {
        let now = Instant::from_secs(1);
        Self {
            now,
            publisher: End::new(now, publisher, 1),
            subscriber: End::new(now, subscriber, 2),
            cuts: Prng::new(seed),
            longest,
        }
    }

    pub(crate) fn null() -> Self {
        let (publisher, subscriber) = (Config::new(SocketType::Pub), Config::new(SocketType::Sub));
        Self::new(publisher, subscriber, 0, 1 << 20)
    }

    /// Carries bytes both ways until there are none.
    pub(crate) fn settle(&mut self) {
        loop {
            let (a, b) = (&mut self.publisher, &mut self.subscriber);
            if a.wire.is_empty() && b.wire.is_empty() {
                return;
            }
            carry(self.now, a, b, &mut self.cuts, self.longest);
            carry(self.now, b, a, &mut self.cuts, self.longest);
        }
    }
}

fn carry(now: Instant, from: &mut End, to: &mut End, cuts: &mut Prng, longest: u64) {
    let length = usize::try_from(1 + cuts.below(longest)).unwrap().min(from.wire.len());
    let piece: Vec<u8> = from.wire.drain(..length).collect();
    if !piece.is_empty() {
        to.read(now, &piece);
    }
}

pub(crate) fn key(of: u8) -> SecretKey {
    SecretKey::from_bytes([of; 32])
}

/// A server that publishes, and lets in the holders of these keys.
pub(crate) fn curve_server(socket: SocketType, allowed: Option<&[u8]>) -> Config {
    let allow = allowed.map_or(Allow::Any, |keys| {
        Allow::Keys(keys.iter().map(|of| key(*of).public()).collect::<BTreeSet<_>>())
    });
    let security = Security::CurveServer { secret: key(10), allow };
    Config { security, ..Config::new(socket) }
}

/// A client with the key `of`.
pub(crate) fn curve_client(socket: SocketType, of: u8) -> Config {
    let secret = key(of);
    let security =
        Security::CurveClient { server: key(10).public(), public: secret.public(), secret };
    Config { security, ..Config::new(socket) }
}

pub(crate) fn message(topic: &str, content: &[u8]) -> Message {
    Message::new(topic.as_bytes(), &[content])
}

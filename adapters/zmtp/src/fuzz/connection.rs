//! A connection under any bytes, an honest peer whose bytes are tampered with, and time.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use lictor_kernel::Instant;

use super::Choices;
use crate::{
    Allow, Config, Connection, ConnectionError, Event, Heartbeat, Limits, Message, SecretKey,
    Security, SocketType,
};

const LIMITS: Limits = Limits { frame: 300, parts: 3, message: 400, topic: 40 };

struct End {
    connection: Connection,
    wire: Vec<u8>,
    events: Vec<Event>,
    error: Option<ConnectionError>,
}

impl End {
    fn new(config: Config, seed: u8) -> Self {
        let mut wire = Vec::new();
        let made = Connection::new(Instant::ZERO, Arc::new(config), &[seed; 32], &mut wire);
        let Ok(connection) = made else { panic!("the configuration is sound") };
        Self { connection, wire, events: Vec::new(), error: None }
    }

    fn read(&mut self, now: Instant, bytes: &[u8]) {
        let (wire, events) = (self.wire.len(), self.events.len());
        let read = self.connection.handle_input(now, bytes, &mut self.wire, &mut self.events);
        if let Some(ended) = &self.error {
            assert_eq!(read, Err(ConnectionError::Ended), "after {ended}");
            assert_eq!((self.wire.len(), self.events.len()), (wire, events));
        } else {
            self.error = read.err();
        }
        // A handshake says little, and a PONG is no longer than its PING.
        assert!(self.wire.len() - wire <= 1024 + bytes.len() * 5, "it says more than it hears");
        self.check();
    }

    fn wake(&mut self, now: Instant) {
        let before = self.connection.clone();
        let woken = self.connection.handle_timeout(now, &mut self.wire);
        if self.error.is_none() {
            self.error = woken.err();
        }
        if before.poll_timeout().is_none_or(|at| at > now) {
            assert_eq!(self.connection, before, "nothing was due");
        } else if let Some(next) = self.connection.poll_timeout() {
            assert!(next > now, "what was due is done");
        }
        self.check();
    }

    fn check(&self) {
        let ended = self.error.is_some();
        assert_eq!(self.connection.poll_timeout().is_none() && ended, ended, "no end of waiting");
        assert!(!(self.connection.is_open() && ended));
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Open(_) => assert_eq!(at, 0, "it opens once, and first"),
                Event::Message(message) => {
                    let lengths = message.parts().map(<[u8]>::len);
                    assert!(lengths.clone().all(|length| length <= LIMITS.frame));
                    assert!(lengths.clone().count() <= LIMITS.parts);
                    assert!(lengths.sum::<usize>() <= LIMITS.message);
                }
                Event::Subscribe(prefix) | Event::Cancel(prefix) => {
                    assert!(prefix.len() <= LIMITS.topic);
                }
            }
        }
    }
}

fn configs(choice: u8) -> (Config, Config) {
    let heartbeat = Heartbeat {
        every: Duration::from_secs(2),
        timeout: Duration::from_secs(3),
        ttl: Duration::from_secs(4),
    };
    let make = |socket| Config {
        limits: LIMITS,
        heartbeat: (choice & 4 != 0).then_some(heartbeat),
        ..Config::new(socket)
    };
    let sockets = if choice & 1 == 0 {
        (SocketType::XPub, SocketType::Sub)
    } else {
        (SocketType::XSub, SocketType::Pub)
    };
    let (mut subject, mut peer) = (make(sockets.0), make(sockets.1));
    let (server, client) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let as_client =
        Security::CurveClient { server: server.public(), public: client.public(), secret: client };
    let as_server = Security::CurveServer { secret: server, allow: Allow::Any };
    match choice & 0x18 {
        0x08 => (subject.security, peer.security) = (as_server, as_client),
        0x10 => (subject.security, peer.security) = (as_client, as_server),
        _ => {}
    }
    (subject, peer)
}

/// One end under any history: no panic, nothing beyond its limits, one end at most, deadlines that
/// mean something.
///
/// # Panics
/// If any of that is not so.
pub fn connection(data: &[u8]) {
    let mut choices = Choices(data);
    let choice = choices.byte();
    let (subject, peer) = configs(choice);
    let (mut subject, mut peer) = (End::new(subject, 1), End::new(peer, 2));
    let mut now = Instant::ZERO;
    if choice & 2 == 0 {
        // Most of what can go wrong comes after the handshake.
        for _ in 0..4 {
            exchange(now, &mut subject, &mut peer, usize::MAX);
        }
        assert!(subject.connection.is_open() && peer.connection.is_open());
    }
    let mut steps = 0;
    while !choices.is_over() && steps < 200 {
        steps += 1;
        match choices.byte() % 8 {
            0 => subject.read(now, choices.bytes(255)),
            1 => exchange(now, &mut subject, &mut peer, usize::from(choices.byte())),
            2 => {
                now = now.saturating_add(Duration::from_millis(u64::from(choices.byte()) * 40));
                subject.wake(now);
            }
            3 => {
                let (topic, content) = (choices.bytes(50), choices.bytes(255));
                let message = Message::new(topic, &[content]);
                let _ = peer.connection.send(&message, &mut peer.wire);
            }
            4 => {
                let _ = peer.connection.subscribe(choices.bytes(60), &mut peer.wire);
            }
            5 => {
                let _ = subject.connection.send(&Message::new(b"a", &[]), &mut subject.wire);
            }
            6 => {
                let at = usize::from(choices.byte());
                if let Some(byte) = peer.wire.get_mut(at) {
                    *byte ^= choices.byte();
                }
            }
            _ => {
                let _ = peer.connection.cancel(choices.bytes(60), &mut peer.wire);
            }
        }
    }
}

/// Carries some bytes to the subject, and all of its bytes to the peer.
fn exchange(now: Instant, subject: &mut End, peer: &mut End, most: usize) {
    let bytes: Vec<u8> = peer.wire.drain(..peer.wire.len().min(most)).collect();
    subject.read(now, &bytes);
    let bytes = core::mem::take(&mut subject.wire);
    let _ = peer.connection.handle_input(now, &bytes, &mut peer.wire, &mut peer.events);
}

//! CURVE: who may speak to whom, and what a change of a byte does.

use lictor_zmtp::{Config, ConfigError, Connection, ConnectionError, Event, Security, SocketType};

use crate::pair::{Pair, curve_client, curve_server, key, message};

fn open(server: Config, client: Config) -> Pair {
    let mut pair = Pair::new(server, client, 5, 64);
    pair.settle();
    pair
}

#[test]
fn the_server_learns_the_key_of_the_client() {
    let server = curve_server(SocketType::Pub, Some(&[20]));
    let pair = open(server, curve_client(SocketType::Sub, 20));
    assert_eq!((&pair.publisher.error, &pair.subscriber.error), (&None, &None));
    let [Event::Open(peer)] = &pair.publisher.events[..] else { panic!("it is open") };
    assert_eq!(peer.key, Some(key(20).public()));
}

#[test]
fn either_end_may_be_the_server() {
    let client = curve_client(SocketType::Pub, 20);
    let mut pair = open(client, curve_server(SocketType::XSub, None));
    let end = &mut pair.publisher;
    end.connection.send(&message("a", b"b"), &mut end.wire).unwrap();
    pair.settle();
    assert_eq!(pair.subscriber.messages(), [message("a", b"b")]);
}

#[test]
fn a_key_that_is_not_allowed_is_refused_and_told_so() {
    let server = curve_server(SocketType::Pub, Some(&[20, 21]));
    let pair = open(server, curve_client(SocketType::Sub, 22));
    assert_eq!(pair.publisher.error, Some(ConnectionError::UnknownKey));
    let reason = "400".to_owned();
    assert_eq!(pair.subscriber.error, Some(ConnectionError::Refused { reason }));
    assert!(pair.publisher.events.is_empty() && pair.subscriber.events.is_empty());
}

#[test]
fn a_client_that_takes_another_for_the_server_gets_nowhere() {
    let secret = key(20);
    let security =
        Security::CurveClient { server: key(99).public(), public: secret.public(), secret };
    let client = Config { security, ..Config::new(SocketType::Sub) };
    let pair = open(curve_server(SocketType::Pub, None), client);
    assert_eq!(pair.publisher.error, Some(ConnectionError::BadBox));
    assert!(pair.publisher.events.is_empty() && pair.subscriber.events.is_empty());
}

#[test]
fn a_public_key_that_is_not_of_the_secret_one_is_no_configuration() {
    let security = Security::CurveClient {
        server: key(10).public(),
        public: key(21).public(),
        secret: key(20),
    };
    let config = Config { security, ..Config::new(SocketType::Sub) };
    let made =
        Connection::new(lictor_kernel::Instant::ZERO, config.into(), &[0; 32], &mut Vec::new());
    assert_eq!(made.unwrap_err(), ConfigError::KeysDiffer);
}

#[test]
fn ends_of_different_security_part() {
    let (null, server) = (Config::new(SocketType::Sub), curve_server(SocketType::Pub, None));
    let pair = open(server.clone(), null.clone());
    let other = |name: &str| Some(ConnectionError::OtherMechanism { theirs: name.to_owned() });
    assert_eq!((pair.publisher.error, pair.subscriber.error), (other("NULL"), other("CURVE")));
    let pair = open(server, curve_server(SocketType::Sub, None));
    assert_eq!(pair.publisher.error, Some(ConnectionError::RolesClash));
    assert_eq!(pair.subscriber.error, Some(ConnectionError::RolesClash));
}

/// Nothing of a message is to be seen on the wire, and two connections share no bytes.
#[test]
fn what_is_sent_cannot_be_read_on_the_wire() {
    let wire = |seed| {
        let server = curve_server(SocketType::Pub, None);
        let mut pair = Pair::new(server, curve_client(SocketType::Sub, 20), seed, 64);
        pair.settle();
        let end = &mut pair.publisher;
        end.connection.send(&message("topic", b"nobody reads this"), &mut end.wire).unwrap();
        end.wire.clone()
    };
    let bytes = wire(1);
    let shows = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(shows(b"MESSAGE") && !shows(b"topic") && !shows(b"nobody"));
}

#[test]
fn a_message_that_is_changed_cut_or_sent_again_ends_the_connection() {
    let server = curve_server(SocketType::Pub, None);
    let pair = || open(server.clone(), curve_client(SocketType::Sub, 20));
    let mut first = pair();
    let end = &mut first.publisher;
    end.connection.send(&message("a", b"0123456789"), &mut end.wire).unwrap();
    let bytes = end.wire.clone();
    // The address of one byte, and the content.
    let second = 2 + 33 + 1;
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            let mut pair = pair();
            pair.subscriber.read(pair.now, &changed);
            // A length that has become greater leaves the end waiting for the rest.
            let waits = pair.subscriber.error.is_none();
            assert!(pair.subscriber.messages().is_empty(), "byte {at}, bit {bit}");
            let is_header = at == 1 || at == second + 1;
            assert!(!waits || is_header, "byte {at}, bit {bit}: nothing was noticed");
        }
    }
    let mut pair = pair();
    pair.subscriber.read(pair.now, &bytes);
    assert_eq!(pair.subscriber.messages().len(), 1);
    pair.subscriber.read(pair.now, &bytes);
    assert_eq!(pair.subscriber.error, Some(ConnectionError::BadNonce));
}

/// Every byte of every step of the handshake matters, padding aside.
#[test]
fn a_handshake_that_is_changed_does_not_open() {
    let recorded = |changed: Option<(bool, usize)>| {
        let server = curve_server(SocketType::Pub, None);
        let mut pair = Pair::new(server, curve_client(SocketType::Sub, 20), 0, 1 << 20);
        let (mut to_server, mut to_client) = (0, 0);
        for _ in 0..4 {
            let mut bytes = std::mem::take(&mut pair.subscriber.wire);
            flip(&mut bytes, to_server, changed.filter(|(up, _)| *up));
            to_server += bytes.len();
            pair.publisher.read(pair.now, &bytes);
            let mut bytes = std::mem::take(&mut pair.publisher.wire);
            flip(&mut bytes, to_client, changed.filter(|(up, _)| !*up));
            to_client += bytes.len();
            pair.subscriber.read(pair.now, &bytes);
        }
        let both = pair.publisher.connection.is_open() && pair.subscriber.connection.is_open();
        (both, to_server, to_client)
    };
    let (opened, to_server, to_client) = recorded(None);
    assert!(opened);
    for (up, length) in [(true, to_server), (false, to_client)] {
        for at in 64..length {
            // 72 bytes of the HELLO mean nothing.
            let padding = up && (64 + 2 + 6 + 2..64 + 2 + 6 + 2 + 72).contains(&at);
            let (opened, ..) = recorded(Some((up, at)));
            assert!(!opened || padding, "byte {at}, towards the server: {up}");
        }
    }
}

fn flip(bytes: &mut [u8], offset: usize, at: Option<(bool, usize)>) {
    if let Some(byte) = at.and_then(|(_, at)| bytes.get_mut(at.checked_sub(offset)?)) {
        *byte ^= 0x10;
    }
}

//! Peers that mean harm, or are broken.

use std::sync::LazyLock;

use lictor_kernel::Instant;
use lictor_zmtp::{Config, ConnectionError, Event, Limits, Message, SocketType, fuzz};
use proptest::prelude::*;

use crate::pair::{End, Pair, curve_client, curve_server};

const NOW: Instant = Instant::from_secs(1);

/// The bytes of a whole session, as the subject hears them.
fn session(subject: &Config, peer: &Config) -> Vec<u8> {
    let publishes = peer.socket.publishes();
    let (mut a, mut b) = (End::new(NOW, subject.clone(), 1), End::new(NOW, peer.clone(), 2));
    let mut heard = Vec::new();
    for round in 0..6 {
        if round == 4 && publishes {
            let message = Message::new(b"topic", &[b"one", &[2; 300], b""]);
            b.connection.send(&message, &mut b.wire).unwrap();
        } else if round == 4 {
            b.connection.subscribe(b"topic", &mut b.wire).unwrap();
            b.connection.cancel(b"topic", &mut b.wire).unwrap();
        }
        let bytes = std::mem::take(&mut b.wire);
        heard.extend_from_slice(&bytes);
        a.read(NOW, &bytes);
        b.read(NOW, &std::mem::take(&mut a.wire));
    }
    assert_eq!((a.error, b.error), (None, None));
    assert!(a.events.len() >= 2);
    heard
}

fn subjects() -> Vec<(Config, Config)> {
    let limits = Limits { frame: 400, parts: 4, message: 500, topic: 30 };
    let pairs = [
        (Config::new(SocketType::XSub), Config::new(SocketType::Pub)),
        (Config::new(SocketType::XPub), Config::new(SocketType::Sub)),
        (curve_server(SocketType::XSub, None), curve_client(SocketType::Pub, 20)),
        (curve_client(SocketType::Sub, 20), curve_server(SocketType::XPub, None)),
    ];
    pairs.into_iter().map(|(a, b)| (Config { limits, ..a }, Config { limits, ..b })).collect()
}

fn check(end: &End) {
    for event in &end.events {
        if let Event::Message(message) = event {
            assert!(message.parts().count() <= 4);
            assert!(message.parts().map(<[u8]>::len).sum::<usize>() <= 500);
        }
    }
    assert!(end.wire.len() < 4096, "it answers little");
}

#[test]
fn any_byte_may_be_changed_and_the_stream_may_end_anywhere() {
    for (subject, peer) in subjects() {
        let heard = session(&subject, &peer);
        for at in 0..heard.len() {
            let mut whole = End::new(NOW, subject.clone(), 1);
            whole.read(NOW, &heard[..at]);
            assert_eq!(whole.error, None, "an honest stream that is cut at {at} is no fault");
            for byte in [heard[at] ^ 1, heard[at] ^ 0x80, 0, 0xff, heard[at].wrapping_add(1)] {
                let mut changed = heard.clone();
                changed[at] = byte;
                let mut end = End::new(NOW, subject.clone(), 1);
                end.read(NOW, &changed);
                check(&end);
            }
        }
    }
}

/// What aborted the process of the `zeromq` crate's user: a length, and nothing behind it.
#[test]
fn a_length_is_refused_with_its_header_and_reserves_nothing() {
    let length = 1_u64 << 46;
    let header = |flags: u8| [&[flags][..], &length.to_be_bytes()].concat();
    for (subject, peer) in subjects() {
        let heard = session(&subject, &peer);
        let mut places = vec![64];
        // After the handshake: the end is open then.
        let opened = (64..heard.len()).find(|at| {
            let mut end = End::new(NOW, subject.clone(), 1);
            end.read(NOW, &heard[..*at]);
            end.connection.is_open()
        });
        places.push(opened.unwrap());
        for place in places {
            for flags in [2, 3, 6] {
                let mut end = End::new(NOW, subject.clone(), 1);
                end.read(NOW, &heard[..place]);
                let header = header(flags);
                end.read(NOW, &header[..8]);
                assert_eq!(end.error, None, "the length is not known yet");
                end.read(NOW, &header[8..]);
                let Some(ConnectionError::FrameTooLong { length: found, .. }) = end.error else {
                    panic!("{:?}", end.error)
                };
                assert_eq!(found, length);
            }
            let mut end = End::new(NOW, subject.clone(), 1);
            end.read(NOW, &heard[..place]);
            end.read(NOW, &[&[2][..], &u64::MAX.to_be_bytes()].concat());
            assert!(matches!(end.error, Some(ConnectionError::FrameTooLong { .. })));
        }
    }
}

#[test]
fn flags_that_do_not_exist_and_commands_of_no_form() {
    let bad = |bytes: &[u8]| {
        let mut pair = Pair::null();
        pair.settle();
        pair.subscriber.read(NOW, bytes);
        pair.subscriber.error.unwrap()
    };
    assert_eq!(bad(b"\x08"), ConnectionError::BadFlags { flags: 8 });
    assert_eq!(bad(b"\x05"), ConnectionError::BadFlags { flags: 5 }, "a command with more");
    for command in [&b"\x04\0"[..], b"\x04\x01\0", b"\x04\x02\x05P", b"\x04\x06\x04PING\0"] {
        assert_eq!(bad(command), ConnectionError::BadCommand, "{command:?}");
    }
    let reason = "no".to_owned();
    assert_eq!(bad(b"\x04\x09\x05ERROR\x02no"), ConnectionError::Refused { reason });
}

#[test]
fn handshakes_that_are_none() {
    let greeting = {
        let mut wire = Vec::new();
        let config = Config::new(SocketType::Pub).into();
        lictor_zmtp::Connection::new(NOW, config, &[0; 32], &mut wire).unwrap();
        wire
    };
    let bad = |bytes: &[u8]| {
        let mut end = End::new(NOW, Config::new(SocketType::Sub), 1);
        end.read(NOW, &greeting);
        end.read(NOW, bytes);
        end.error
    };
    // A message, a command of later, metadata that ends too early or says nothing of use.
    assert_eq!(bad(b"\0\0"), Some(ConnectionError::Unexpected));
    assert_eq!(bad(b"\x04\x07\x04PING\0\0"), Some(ConnectionError::Unexpected));
    assert_eq!(bad(b"\x04\x06\x05READY"), Some(ConnectionError::BadMetadata));
    assert_eq!(bad(b"\x04\x07\x05READY\x09"), Some(ConnectionError::BadMetadata));
    let lies = b"\x04\x19\x05READY\x0bSocket-Type\xff\xff\xff\xffPUB";
    assert_eq!(bad(lies), Some(ConnectionError::BadMetadata));
    let theirs = "PULL".to_owned();
    let pull = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PULL";
    assert_eq!(bad(pull), Some(ConnectionError::OtherSocket { theirs }));
    let refused = bad(b"\x04\x0a\x05ERROR\x03400");
    assert_eq!(refused, Some(ConnectionError::Refused { reason: "400".to_owned() }));
    assert_eq!(bad(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"), None);

    let mut old = greeting;
    old[10] = 1;
    let mut end = End::new(NOW, Config::new(SocketType::Sub), 1);
    end.read(NOW, &old[..11]);
    assert_eq!(end.error, Some(ConnectionError::OldVersion { major: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_history_keeps_its_limits(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz::connection(&data);
    }

    #[test]
    fn any_bytes_after_any_part_of_a_session(
        which in 0..4_usize,
        tail in prop::collection::vec(any::<u8>(), 0..300),
        cut: prop::sample::Index,
    ) {
        static SESSIONS: LazyLock<Vec<(Config, Vec<u8>)>> = LazyLock::new(|| {
            subjects().into_iter().map(|(a, b)| (a.clone(), session(&a, &b))).collect()
        });
        let (subject, heard) = &SESSIONS[which];
        let mut end = End::new(NOW, subject.clone(), 1);
        end.read(NOW, &heard[..cut.index(heard.len())]);
        for piece in tail.chunks(7) {
            end.read(NOW, piece);
        }
        check(&end);
    }
}

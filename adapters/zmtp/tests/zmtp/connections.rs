//! What two ends tell each other, however the bytes between them are cut.

use bytes::Bytes;
use lictor_zmtp::{Config, ConnectionError, Event, Limits, Message, NotOpen, SocketType};
use proptest::prelude::*;

use crate::pair::{Pair, curve_client, curve_server, message};

#[derive(Clone, Debug)]
enum Act {
    Send(Vec<Vec<u8>>),
    Subscribe(Vec<u8>),
    Cancel(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        prop::collection::vec(bytes(600), 1..5).prop_map(Act::Send),
        bytes(40).prop_map(Act::Subscribe),
        bytes(40).prop_map(Act::Cancel),
    ]
}

fn configs(curve: bool) -> (Config, Config) {
    if curve {
        (curve_server(SocketType::XPub, None), curve_client(SocketType::Sub, 20))
    } else {
        (Config::new(SocketType::XPub), Config::new(SocketType::Sub))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn all_that_is_sent_arrives_in_order(
        acts in prop::collection::vec(act(), 0..20),
        curve: bool,
        seed: u64,
        longest in prop_oneof![Just(1_u64), 1..20_u64, Just(100_000)],
    ) {
        let (publisher, subscriber) = configs(curve);
        let mut pair = Pair::new(publisher, subscriber, seed, longest);
        pair.settle();
        let (mut sent, mut wished) = (Vec::new(), Vec::new());
        for act in acts {
            match act {
                Act::Send(parts) => {
                    let rest: Vec<&[u8]> = parts[1..].iter().map(Vec::as_slice).collect();
                    let message = Message::new(&parts[0], &rest);
                    pair.publisher.connection.send(&message, &mut pair.publisher.wire).unwrap();
                    prop_assert!(message.parts().eq(parts.iter().map(Vec::as_slice)));
                    sent.push(message);
                }
                Act::Subscribe(prefix) => {
                    let end = &mut pair.subscriber;
                    end.connection.subscribe(&prefix, &mut end.wire).unwrap();
                    wished.push(Event::Subscribe(prefix.into()));
                }
                Act::Cancel(prefix) => {
                    let end = &mut pair.subscriber;
                    end.connection.cancel(&prefix, &mut end.wire).unwrap();
                    wished.push(Event::Cancel(prefix.into()));
                }
            }
        }
        pair.settle();
        prop_assert_eq!(&pair.publisher.error, &None);
        prop_assert_eq!(&pair.subscriber.error, &None);
        prop_assert_eq!(pair.subscriber.messages(), sent);
        prop_assert_eq!(&pair.publisher.events[1..], &wished);
    }
}

#[test]
fn each_end_is_told_once_who_the_other_is() {
    let publisher = Config { identity: b"office".to_vec(), ..Config::new(SocketType::Pub) };
    let mut pair = Pair::new(publisher, Config::new(SocketType::XSub), 0, 7);
    assert!(!pair.publisher.connection.is_open());
    pair.settle();
    let [Event::Open(peer)] = &pair.subscriber.events[..] else { panic!("open, and only that") };
    assert_eq!((peer.socket, &peer.identity[..]), (SocketType::Pub, &b"office"[..]));
    assert_eq!((peer.minor, peer.key), (1, None));
    let [Event::Open(peer)] = &pair.publisher.events[..] else { panic!("open, and only that") };
    assert_eq!(peer.socket, SocketType::XSub);
}

#[test]
fn sockets_that_do_not_go_together_part() {
    let mut pair = Pair::new(Config::new(SocketType::Pub), Config::new(SocketType::XPub), 0, 99);
    pair.settle();
    let theirs = "XPUB".to_owned();
    assert_eq!(pair.publisher.error, Some(ConnectionError::OtherSocket { theirs }));
    let theirs = "PUB".to_owned();
    assert_eq!(pair.subscriber.error, Some(ConnectionError::OtherSocket { theirs }));
}

#[test]
fn nothing_is_sent_before_the_handshake_and_after_the_end() {
    let mut pair = Pair::null();
    let (end, hello) = (&mut pair.publisher, message("a", b"b"));
    let before = end.wire.len();
    assert_eq!(end.connection.send(&hello, &mut end.wire), Err(NotOpen));
    assert_eq!(end.connection.subscribe(b"a", &mut end.wire), Err(NotOpen));
    end.read(pair.now, b"GET / HTTP/1.1\r\n");
    assert_eq!(end.error, Some(ConnectionError::NotZmtp));
    assert_eq!(end.connection.send(&hello, &mut end.wire), Err(NotOpen));
    assert_eq!(end.wire.len(), before);
    assert_eq!(end.connection.poll_timeout(), None);
    let again = end.connection.handle_input(pair.now, b"x", &mut end.wire, &mut end.events);
    assert_eq!(again, Err(ConnectionError::Ended));
}

/// A peer of 3.0, written by hand: its greeting, its READY, its subscriptions.
#[test]
fn a_peer_of_version_3_0_is_spoken_to_in_its_own_way() {
    let mut pair = Pair::null();
    let mut greeting = pair.publisher.wire[..64].to_vec();
    greeting[11] = 0;
    let subscriber = &mut pair.subscriber;
    subscriber.read(pair.now, &greeting);
    subscriber.read(pair.now, b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB");
    assert_eq!(subscriber.error, None);
    subscriber.wire.clear();
    subscriber.connection.subscribe(b"ab", &mut subscriber.wire).unwrap();
    subscriber.connection.cancel(b"ab", &mut subscriber.wire).unwrap();
    assert_eq!(subscriber.wire, b"\0\x03\x01ab\0\x03\0ab");
    // It does not know PING.
    assert_eq!(subscriber.connection.poll_timeout(), None);

    let publisher = &mut pair.publisher;
    greeting[11] = 0;
    publisher.read(pair.now, &greeting);
    publisher.read(pair.now, b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
    publisher.read(pair.now, b"\0\x03\x01ab\0\x03\0ab\0\x01\x01");
    let bytes = Bytes::from_static;
    let [_, rest @ ..] = &publisher.events[..] else { panic!("it is open") };
    assert_eq!(
        rest,
        [Event::Subscribe(bytes(b"ab")), Event::Cancel(bytes(b"ab")), Event::Subscribe(bytes(b"")),]
    );
}

/// 3.1 on the wire, byte for byte, as libzmq 4.3.5 writes and reads it.
#[test]
fn the_bytes_of_version_3_1() {
    let mut pair = Pair::null();
    assert_eq!(pair.publisher.wire[..12], *b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01");
    assert_eq!(pair.publisher.wire[12..33], *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    pair.settle();
    let end = &mut pair.subscriber;
    end.connection.subscribe(b"a\0", &mut end.wire).unwrap();
    end.connection.cancel(b"a\0", &mut end.wire).unwrap();
    assert_eq!(end.wire, b"\x04\x0c\x09SUBSCRIBEa\0\x04\x09\x06CANCELa\0");
    let end = &mut pair.publisher;
    end.connection.send(&message("a\0", &[7; 300]), &mut end.wire).unwrap();
    assert_eq!(end.wire[..4], *b"\x01\x02a\0");
    assert_eq!(end.wire[4..14], *b"\x02\0\0\0\0\0\0\x01\x2c\x07");
}

#[test]
fn what_an_end_has_no_use_for_is_passed_over_and_counted() {
    let mut pair = Pair::null();
    pair.settle();
    // An unknown command, messages to a publisher, a SUBSCRIBE to a subscriber.
    pair.publisher.read(pair.now, b"\x04\x04\x03NEW\0\x01x\x01\x01\x01\0\x02\x01y");
    assert_eq!((pair.publisher.connection.ignored(), &pair.publisher.error), (4, &None));
    pair.subscriber.read(pair.now, b"\x04\x0b\x09SUBSCRIBEa");
    assert_eq!((pair.subscriber.connection.ignored(), &pair.subscriber.error), (1, &None));
    assert_eq!((pair.publisher.events.len(), pair.subscriber.events.len()), (1, 1));
}

#[test]
fn messages_within_the_limits_pass_and_others_end_the_connection() {
    let limits = Limits { frame: 10, parts: 3, message: 25, topic: 4 };
    let both = |limits| {
        let subscriber = Config { limits, ..Config::new(SocketType::Sub) };
        let publisher = Config { limits, ..Config::new(SocketType::Pub) };
        let mut pair = Pair::new(publisher, subscriber, 3, 5);
        pair.settle();
        pair
    };
    let send = |parts: &[&[u8]]| {
        let mut pair = both(limits);
        let end = &mut pair.publisher;
        end.connection.send(&Message::new(parts[0], &parts[1..]), &mut end.wire).unwrap();
        pair.settle();
        pair.subscriber.error
    };
    assert_eq!(send(&[&[0; 10], &[0; 10], &[0; 5]]), None);
    let error = ConnectionError::FrameTooLong { length: 11, limit: 10 };
    assert_eq!(send(&[&[0; 11]]), Some(error));
    let error = ConnectionError::MessageTooLong { limit: 25 };
    assert_eq!(send(&[&[0; 10], &[0; 10], &[0; 6]]), Some(error));
    let error = ConnectionError::TooManyParts { limit: 3 };
    assert_eq!(send(&[b"", b"", b"", b""]), Some(error));

    let subscribe = |prefix: &[u8]| {
        let mut pair = both(limits);
        let end = &mut pair.subscriber;
        end.connection.subscribe(prefix, &mut end.wire).unwrap();
        pair.settle();
        pair.publisher.error
    };
    assert_eq!(subscribe(b"four"), None);
    let error = ConnectionError::TopicTooLong { length: 5, limit: 4 };
    assert_eq!(subscribe(b"fives"), Some(error));
}

//! What time does to a connection.

use std::time::Duration;

use lictor_kernel::Instant;
use lictor_zmtp::{Config, ConnectionError, Heartbeat, SocketType};

use crate::pair::{End, Pair, curve_client, curve_server, message};

const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(3);

fn beating(ttl: Duration) -> Config {
    let heartbeat = Some(Heartbeat { every: EVERY, timeout: TIMEOUT, ttl });
    Config { heartbeat, ..Config::new(SocketType::Pub) }
}

fn quiet() -> Config {
    Config { heartbeat: None, ..Config::new(SocketType::Sub) }
}

fn after(seconds: u64) -> Instant {
    // Pairs begin at one second.
    Instant::from_secs(1 + seconds)
}

#[test]
fn a_handshake_has_a_deadline_wherever_it_hangs() {
    let by = after(10);
    let error = ConnectionError::HandshakeTimeout { after: Duration::from_secs(10) };
    let full = {
        let server = curve_server(SocketType::Pub, None);
        let mut pair = Pair::new(server, curve_client(SocketType::Sub, 20), 0, 1 << 20);
        let greeting = pair.subscriber.wire.clone();
        pair.publisher.read(after(0), &greeting);
        let theirs = pair.publisher.wire.clone();
        pair.subscriber.wire.clear();
        pair.subscriber.read(after(0), &theirs);
        [greeting, pair.subscriber.wire].concat()
    };
    // Greeting and HELLO, cut anywhere: what is missing decides nothing.
    for length in [0, 1, 10, 63, 64, 65, 100, full.len()] {
        let mut end = End::new(after(0), curve_server(SocketType::Pub, None), 1);
        for byte in &full[..length] {
            end.read(after(9), &[*byte]);
        }
        assert_eq!((end.connection.poll_timeout(), &end.error), (Some(by), &None), "{length}");
        end.wake(after(9));
        assert_eq!(end.error, None, "not before its time");
        end.wake(by);
        assert_eq!(end.error, Some(error.clone()));
        assert_eq!(end.connection.poll_timeout(), None);
    }
    // Bytes that come at the deadline are in time; later ones are not, even if nobody woke it.
    let mut end = End::new(after(0), Config::new(SocketType::Pub), 1);
    end.read(by, b"\xff");
    assert_eq!(end.error, None);
    end.read(by.saturating_add(Duration::from_nanos(1)), b"\0");
    assert_eq!(end.error, Some(error));
}

#[test]
fn a_peer_that_answers_is_kept_and_a_silent_one_is_not() {
    let mut pair = Pair::new(beating(Duration::ZERO), quiet(), 0, 999);
    pair.settle();
    for beat in 1..5 {
        pair.now = after(2 * beat);
        assert_eq!(pair.publisher.connection.poll_timeout(), Some(pair.now));
        pair.publisher.wake(pair.now);
        assert!(pair.publisher.wire.ends_with(b"\x04PING\0\0"));
        pair.settle();
        assert_eq!((&pair.publisher.error, &pair.subscriber.error), (&None, &None));
    }
    pair.publisher.wake(after(10));
    pair.publisher.wire.clear();
    pair.publisher.wake(after(12));
    assert_eq!(pair.publisher.error, None, "the next PING, and no answer to the last one");
    // Three seconds after the first PING that was not answered, not after the last one.
    assert_eq!(pair.publisher.connection.poll_timeout(), Some(after(13)));
    pair.publisher.wake(after(13));
    assert_eq!(pair.publisher.error, Some(ConnectionError::Silent { after: TIMEOUT }));
}

#[test]
fn anything_that_comes_is_an_answer_even_late() {
    let mut pair = Pair::new(beating(Duration::ZERO), quiet(), 0, 999);
    pair.settle();
    pair.publisher.wake(after(2));
    // One byte of a frame, and far beyond the deadline: this end was asleep, not the peer.
    pair.publisher.read(after(50), b"\x04");
    pair.publisher.wire.clear();
    pair.publisher.wake(after(50));
    assert_eq!(pair.publisher.error, None);
    assert!(pair.publisher.wire.ends_with(b"\x04PING\0\0"));
}

#[test]
fn a_peer_that_asks_to_be_given_up_is() {
    let mut pair = Pair::new(beating(Duration::from_secs(5)), quiet(), 0, 999);
    pair.settle();
    pair.now = after(2);
    pair.publisher.wake(after(2));
    assert!(pair.publisher.wire.ends_with(b"\x04PING\0\x32"), "fifty tenths");
    pair.settle();
    assert_eq!(pair.subscriber.connection.poll_timeout(), Some(after(7)));
    let mut other = Pair::new(beating(Duration::from_secs(5)), quiet(), 0, 999);
    std::mem::swap(&mut other.subscriber, &mut pair.subscriber);
    other.subscriber.wake(after(7));
    assert_eq!(other.subscriber.error, Some(ConnectionError::PeerExpired));
}

#[test]
fn a_message_renews_what_the_peer_has_asked_for() {
    let mut pair = Pair::new(beating(Duration::from_secs(5)), quiet(), 0, 999);
    pair.settle();
    pair.now = after(2);
    pair.publisher.wake(after(2));
    pair.settle();
    pair.now = after(4);
    let end = &mut pair.publisher;
    end.connection.send(&message("a", b""), &mut end.wire).unwrap();
    pair.settle();
    assert_eq!(pair.subscriber.connection.poll_timeout(), None);
}

#[test]
fn an_answer_repeats_the_context_of_the_question() {
    for curve in [false, true] {
        let mut pair = if curve {
            let server = curve_server(SocketType::Pub, None);
            Pair::new(server, curve_client(SocketType::Sub, 20), 0, 999)
        } else {
            Pair::null()
        };
        pair.settle();
        if !curve {
            pair.subscriber.read(pair.now, b"\x04\x0b\x04PING\0\0ctxt");
            assert_eq!(pair.subscriber.wire, b"\x04\x09\x04PONGctxt");
            pair.subscriber.read(pair.now, b"\x04\x18\x04PING\0\0seventeen bytes..");
            assert_eq!(pair.subscriber.error, Some(ConnectionError::BadCommand));
            continue;
        }
        // Under CURVE as well, and it counts as an answer.
        pair.now = after(5);
        pair.publisher.wake(after(5));
        pair.settle();
        assert_eq!(pair.publisher.connection.poll_timeout(), Some(after(10)));
        assert_eq!((&pair.publisher.error, &pair.subscriber.error), (&None, &None));
    }
}

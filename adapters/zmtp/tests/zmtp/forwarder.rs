//! The forwarder. That it equals a slow and obvious one is in `lictor_zmtp::fuzz::proxy`.

use bytes::Bytes;
use lictor_zmtp::{
    AddPeerError, FanoutLimits, Message, PeerId, Proxy, Published, SubscribeError, Upstream, Wish,
    fuzz,
};
use proptest::prelude::*;

use crate::pair::message;

const PUBLISHER: PeerId = PeerId(1);
const ANN: PeerId = PeerId(2);
const BOB: PeerId = PeerId(3);

fn limits() -> FanoutLimits {
    FanoutLimits { peers: 3, queue_bytes: 1000, subscription_bytes: 200 }
}

fn subscribe(prefix: &'static str) -> Wish {
    Wish::Subscribe(Bytes::from_static(prefix.as_bytes()))
}

fn cancel(prefix: &'static str) -> Wish {
    Wish::Cancel(Bytes::from_static(prefix.as_bytes()))
}

fn office() -> Proxy {
    let mut proxy = Proxy::new(limits());
    proxy.add_publisher(PUBLISHER).unwrap();
    proxy.add_subscriber(ANN).unwrap();
    proxy.add_subscriber(BOB).unwrap();
    proxy
}

fn told(proxy: &mut Proxy) -> Vec<Wish> {
    std::iter::from_fn(|| proxy.next_wish(PUBLISHER)).collect()
}

#[test]
fn a_prefix_goes_up_once_and_comes_down_with_the_last_who_wants_it() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    proxy.wish(ANN, subscribe("a"), &mut woken).unwrap();
    assert_eq!(woken, [PUBLISHER]);
    proxy.wish(BOB, subscribe("a"), &mut woken).unwrap();
    proxy.wish(BOB, subscribe("a"), &mut woken).unwrap();
    assert_eq!((told(&mut proxy), woken.len()), (vec![subscribe("a")], 1));
    proxy.wish(BOB, cancel("a"), &mut woken).unwrap();
    proxy.wish(BOB, cancel("a"), &mut woken).unwrap();
    assert_eq!((told(&mut proxy), woken.len()), (vec![], 1));
    // By its end and not by its word.
    proxy.remove(ANN, &mut woken);
    assert_eq!((told(&mut proxy), woken.len()), (vec![cancel("a")], 2));
}

#[test]
fn a_publisher_that_comes_later_is_told_everything() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    for prefix in ["b", "", "a"] {
        proxy.wish(ANN, subscribe(prefix), &mut woken).unwrap();
    }
    let late = PeerId(9);
    proxy.add_publisher(late).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| proxy.next_wish(late)).collect();
    assert_eq!(all, [subscribe(""), subscribe("a"), subscribe("b")]);
}

#[test]
fn a_wish_that_is_taken_back_before_it_was_told_is_never_told() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    proxy.wish(ANN, subscribe("a"), &mut woken).unwrap();
    proxy.wish(ANN, cancel("a"), &mut woken).unwrap();
    assert_eq!(told(&mut proxy), []);
}

#[test]
fn one_full_queue_costs_only_its_own_peer() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    for peer in [ANN, BOB] {
        proxy.wish(peer, subscribe(""), &mut woken).unwrap();
    }
    woken.clear();
    let big = message("a", &[0; 200]);
    let mut taken = Vec::new();
    for sent in 0..10_u64 {
        let published = proxy.message(&big, &mut woken);
        let fits = usize::from(sent < 3);
        assert_eq!(published, Published { queued: 1 + fits, dropped: 1 - fits }, "message {sent}");
        // Only Bob reads.
        proxy.take(BOB, usize::MAX, &mut taken);
    }
    assert_eq!((taken.len(), proxy.subscribers().dropped(ANN)), (10, 7));
    assert_eq!(proxy.subscribers().dropped(BOB), 0);
    assert_eq!(proxy.subscribers().waiting(ANN), (3, 3 * (2 + 1 + 2 + 200 + 64)));
    let tally = proxy.tally();
    assert_eq!((tally.messages, tally.queued, tally.dropped, tally.unwanted), (10, 13, 7, 0));
    assert_eq!(proxy.remove(ANN, &mut woken), 3);
    assert_eq!(proxy.tally().left, 3);
    assert_eq!(woken.iter().filter(|peer| **peer == ANN).count(), 1, "woken when it was empty");
}

#[test]
fn a_message_comes_once_however_many_prefixes_want_it() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    for prefix in ["", "a", "ab"] {
        proxy.wish(ANN, subscribe(prefix), &mut woken).unwrap();
    }
    proxy.wish(BOB, subscribe("abc"), &mut woken).unwrap();
    assert_eq!(proxy.message(&message("ab", b""), &mut woken).queued, 1);
    assert_eq!(proxy.message(&message("abcd", b""), &mut woken).queued, 2);
    assert_eq!(proxy.subscribers().waiting(ANN).0, 2);
}

// Defect: Z54
#[test]
fn what_nobody_wants_and_what_has_no_room_is_counted() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    proxy.message(&message("a", b""), &mut woken);
    proxy.wish(ANN, subscribe("b"), &mut woken).unwrap();
    proxy.message(&message("a", b""), &mut woken);
    let greater_than_any_queue = message("b", &[0; 2000]);
    assert_eq!(proxy.message(&greater_than_any_queue, &mut woken).dropped, 1);
    let tally = proxy.tally();
    assert_eq!((tally.messages, tally.unwanted, tally.dropped), (3, 2, 1));
}

#[test]
fn peers_and_subscriptions_have_limits() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    proxy.add_subscriber(PeerId(4)).unwrap();
    assert_eq!(proxy.add_subscriber(PeerId(5)), Err(AddPeerError::TooMany { limit: 3 }));
    assert_eq!(proxy.add_subscriber(ANN), Err(AddPeerError::Known));
    assert_eq!(proxy.add_publisher(PUBLISHER), Err(AddPeerError::Known));
    assert_eq!(
        proxy.wish(PeerId(77), subscribe("a"), &mut woken),
        Err(SubscribeError::UnknownPeer)
    );
    proxy.wish(ANN, subscribe("aa"), &mut woken).unwrap();
    proxy.wish(ANN, subscribe("bb"), &mut woken).unwrap();
    proxy.wish(ANN, subscribe("cc"), &mut woken).unwrap();
    let fourth = proxy.wish(ANN, subscribe("dd"), &mut woken);
    assert_eq!(fourth, Err(SubscribeError::TooMany { limit: 200 }));
    // What it has goes on, what is given back has room again, and others are not touched.
    proxy.wish(ANN, subscribe("aa"), &mut woken).unwrap();
    proxy.wish(ANN, cancel("aa"), &mut woken).unwrap();
    proxy.wish(ANN, subscribe("dd"), &mut woken).unwrap();
    proxy.wish(BOB, subscribe("aa"), &mut woken).unwrap();
}

#[test]
fn what_is_taken_is_bounded_in_bytes_but_never_nothing() {
    let (mut proxy, mut woken) = (office(), Vec::new());
    proxy.wish(ANN, subscribe(""), &mut woken).unwrap();
    for _ in 0..4 {
        proxy.message(&message("a", &[0; 95]), &mut woken);
    }
    let mut take = |bytes| {
        let mut taken: Vec<Message> = Vec::new();
        proxy.take(ANN, bytes, &mut taken);
        taken.len()
    };
    assert_eq!((take(1), take(200), take(199), take(1)), (1, 2, 1, 0));
}

#[test]
fn topics_match_by_prefix_only() {
    let mut upstream = Upstream::new(1);
    for prefix in ["ab", "abc\0", "b"] {
        upstream.wish(subscribe(prefix), &mut Vec::new());
    }
    for (topic, wanted) in
        [("ab", true), ("a", false), ("abz", true), ("abc\0x", true), ("ac", false), ("c", false)]
    {
        assert_eq!(upstream.wants(topic.as_bytes()), wanted, "{topic:?}");
    }
    upstream.wish(cancel("ab"), &mut Vec::new());
    assert!(!upstream.wants(b"abz") && upstream.wants(b"abc\0x") && upstream.wants(b"ba"));
    upstream.wish(subscribe(""), &mut Vec::new());
    assert!(upstream.wants(b""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_history_is_that_of_a_slow_and_obvious_forwarder(
        data in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        fuzz::proxy(&data);
    }
}

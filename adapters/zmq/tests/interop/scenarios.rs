//! What libzmq and we do to each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lictor_runtime::broker::{Broker, Subscription};
use lictor_zmq::{Allow, CurveConfig, ZmqConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::peer::{Peer, keys};
use crate::support::{Client, Forwarder, PATIENCE, config, curve, secret, until};

/// A forwarder of libzmq at these endpoints, or at free ones.
async fn libzmq(config: &mut ZmqConfig) -> Peer {
    let at = |text: String| text.replace(":0", ":*");
    let (publishers, subscribers) =
        (at(config.pub_addr.to_string()), at(config.sub_addr.to_string()));
    let server = config.curve.as_ref().and_then(|curve| curve.server_secret_key.clone());
    let server = server.map(|key| key.to_z85());
    let mut arguments = vec!["proxy", &publishers, &subscribers];
    arguments.extend(server.as_deref().map(String::as_str));
    let (peer, words) = Peer::start(&arguments).await;
    (config.pub_addr, config.sub_addr) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    peer
}

async fn foreign(kind: &str, config: &ZmqConfig) -> Peer {
    let to = if kind == "pub" { &config.pub_addr } else { &config.sub_addr };
    let (to, keys) = (to.to_string(), config.curve.as_ref().map(keys));
    let mut arguments = vec![kind, &to];
    arguments.extend(keys.as_deref());
    Peer::start(&arguments).await.0
}

/// A subscriber of libzmq, once its wish is in force: proved by a message of ours.
async fn hearing(config: &ZmqConfig, ours: &Client, wish: &str) -> Peer {
    let mut subscriber = foreign("sub", config).await;
    subscriber.wish(&format!("+{wish}")).await;
    subscriber.wish("+meet.sub~").await;
    meet(ours, &mut subscriber).await;
    subscriber
}

async fn meet(ours: &Client, subscriber: &mut Peer) {
    let sending = async {
        loop {
            ours.publish("meet.sub", b"-").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = sending => {}
        _ = subscriber.message() => {}
    }
    // Others may be on their way; the caller's addresses are not this one.
    subscriber.wish("-meet.sub~").await;
}

/// The next message that is not of [`meet`].
async fn next(subscriber: &mut Peer) -> (String, String, usize) {
    loop {
        let message = subscriber.message().await;
        if message.0 != "meet.sub~" {
            return message;
        }
    }
}

/// A publisher of libzmq, once it has learnt that we listen.
async fn speaking(config: &ZmqConfig, ours: &mut Client) -> Peer {
    let mut publisher = foreign("pub", config).await;
    let wanted = Subscription::address("meet.pub");
    ours.broker.subscribe(wanted.clone()).unwrap();
    loop {
        publisher.send("meet.pub~", 1, 9).await;
        let heard = tokio::time::timeout(Duration::from_millis(50), ours.message()).await;
        if heard.is_ok_and(|(address, _)| address == "meet.pub") {
            ours.broker.unsubscribe(&wanted);
            return publisher;
        }
    }
}

async fn expect(ours: &mut Client, address: &str, count: u32, size: usize) {
    for number in 0..count {
        let (found, content) = loop {
            let message = ours.message().await;
            if message.0 != "meet.pub" {
                break message;
            }
        };
        let text = String::from_utf8(content).unwrap();
        let number = number.to_string();
        assert_eq!((&*found, text.trim_end_matches('.')), (address, &*number));
        assert_eq!(text.len(), size.max(number.len()));
    }
}

/// Everybody with everybody, through whoever forwards.
async fn round(config: &ZmqConfig) {
    let mut one = Client::ready(config, &["one"]).await;
    let mut two = Client::ready(config, &["two"]).await;
    two.broker.subscribe(Subscription::below("_reply.2.")).unwrap();
    two.until_ready().await;

    // Ours to ours.
    for number in 0..200_u32 {
        one.publish("two", number.to_string().as_bytes()).unwrap();
    }
    expect(&mut two, "two", 200, 0).await;
    one.publish("_reply.2.call", b"0").unwrap();
    expect(&mut two, "_reply.2.call", 1, 0).await;

    // Ours to libzmq: an address, and a prefix without the zero byte.
    let mut subscriber = hearing(config, &one, "far").await;
    for (address, size) in [("far", 0), ("far.off", 300), ("farther", 70_000)] {
        one.publish(address, &vec![b'.'; size]).unwrap();
        assert_eq!(next(&mut subscriber).await, (format!("{address}~"), "-".to_owned(), size));
    }
    one.publish("fa", b"not wanted").unwrap();
    one.publish("two", b"not wanted").unwrap();
    one.publish("far", b"7").unwrap();
    assert_eq!(next(&mut subscriber).await, ("far~".to_owned(), "7".to_owned(), 1));
    assert_eq!(two.message().await.1, b"not wanted");

    // libzmq to ours, and to libzmq.
    let mut publisher = speaking(config, &mut one).await;
    publisher.send("one~", 300, 500).await;
    expect(&mut one, "one", 300, 500).await;
    publisher.send("far~", 2, 3).await;
    assert_eq!(next(&mut subscriber).await.1, "0");
    assert_eq!(next(&mut subscriber).await.1, "1");
    // What was cancelled ceases.
    subscriber.wish("-far").await;
    subscriber.wish("+else~").await;
    let publishing = async {
        loop {
            one.publish("far", b"5").unwrap();
            one.publish("else", b"5").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let only_else = async {
        // Some of the old ones may still come.
        while next(&mut subscriber).await.0 != "else~" {}
        let mut in_row = 0;
        while in_row < 20 {
            in_row = if next(&mut subscriber).await.0 == "else~" { in_row + 1 } else { 0 };
        }
    };
    tokio::select! {
        () = publishing => {}
        () = only_else => {}
    }
    assert_eq!(one.broker.counters().faulty + two.broker.counters().faulty, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_forwarder_of_libzmq() {
    let mut config = config();
    let _forwarder = libzmq(&mut config).await;
    round(&config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_forwarder_of_libzmq_under_curve() {
    let mut config = config();
    config.curve = Some(curve());
    let _forwarder = libzmq(&mut config).await;
    round(&config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_forwarder_of_ours() {
    let mut config = config();
    let forwarder = Forwarder::start(&mut config).await;
    round(&config).await;
    assert_eq!(forwarder.proxy.counters().faulty, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_forwarder_of_ours_under_curve() {
    let mut config = config();
    config.curve = Some(curve());
    let forwarder = Forwarder::start(&mut config).await;
    round(&config).await;
    assert_eq!(forwarder.proxy.counters().faulty, 0);

    // A key that is not allowed, of ours and of libzmq, gets nowhere.
    let stranger = CurveConfig {
        client_public_key: secret(9).public(),
        client_secret_key: secret(9),
        allow: Allow::Keys(BTreeSet::new()),
        ..curve()
    };
    let strange = ZmqConfig { curve: Some(stranger), ..config.clone() };
    let mut ours = Client::start(lictor_zmq::TokioNetwork, &strange, &["x"]);
    let reason = ours.until_lost().await;
    assert!(reason.contains("400"), "{reason}");
    let faulty = forwarder.proxy.counters().faulty;
    let _theirs = foreign("sub", &strange).await;
    until("libzmq is refused", || forwarder.proxy.counters().faulty > faulty).await;
}

/// Both directions come back by themselves, ours and those of libzmq.
#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_of_libzmq_is_killed_and_comes_back() {
    let mut config = config();
    let forwarder = libzmq(&mut config).await;
    let mut one = Client::ready(&config, &["one"]).await;
    let mut two = Client::ready(&config, &["two"]).await;
    forwarder.kill().await;
    one.until_lost().await;
    two.until_lost().await;
    // Kept, within its bound, until there is somebody again.
    one.publish("two", b"kept").unwrap();
    let _again = libzmq(&mut config).await;
    one.until_ready().await;
    two.until_ready().await;
    one.publish("two", b"0").unwrap();
    two.publish("one", b"0").unwrap();
    expect(&mut one, "one", 1, 0).await;
    let (_, first) = two.message().await;
    if first == b"kept" {
        expect(&mut two, "two", 1, 0).await;
    } else {
        assert_eq!(first, b"0", "it came before the subscription of the other was back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_of_ours_ends_and_peers_of_libzmq_come_back() {
    let mut config = config();
    let forwarder = Forwarder::start(&mut config).await;
    let mut ours = Client::ready(&config, &["one"]).await;
    let mut subscriber = hearing(&config, &ours, "far").await;
    let mut publisher = speaking(&config, &mut ours).await;
    forwarder.stop().await;
    ours.until_lost().await;
    let _again = Forwarder::start(&mut config).await;
    ours.until_ready().await;
    subscriber.wish("+meet.sub~").await;
    meet(&ours, &mut subscriber).await;
    ours.publish("far", b"3").unwrap();
    assert_eq!(next(&mut subscriber).await.1, "3");
    // The publisher of libzmq learns of our subscription in its own time.
    let heard = async {
        loop {
            publisher.send("one~", 1, 1).await;
            let heard = tokio::time::timeout(Duration::from_millis(50), ours.message()).await;
            if heard.is_ok_and(|(address, _)| address == "one") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("it comes back");
}

// Defect: Z54
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_stopped_slows_nobody_and_what_it_misses_is_counted() {
    let mut config = config();
    // It would be given up as silent otherwise, which is another story.
    config.heartbeat.timeout = Duration::from_secs(300);
    config.proxy.queue_bytes = 4 << 20;
    let forwarder = Forwarder::start(&mut config).await;
    let ours = Client::ready(&config, &[]).await;
    let stopped = hearing(&config, &ours, "load").await;
    let mut healthy = hearing(&config, &ours, "load").await;
    stopped.signal("-STOP").await;
    // Twenty megabytes: more than its queue and the buffers of its socket.
    let (rounds, each) = (40_u32, 500_u32);
    for round in 0..rounds {
        for number in 0..each {
            let content = format!("{:.<1000}", round * each + number);
            ours.publish("load", content.as_bytes()).unwrap();
        }
        for number in 0..each {
            let number = (round * each + number).to_string();
            assert_eq!(next(&mut healthy).await, ("load~".to_owned(), number, 1000));
        }
    }
    let counters = forwarder.proxy.counters();
    assert!(counters.dropped > 1000, "{counters:?}");
    stopped.signal("-CONT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_only_its_own_connection() {
    let mut config = config();
    let forwarder = Forwarder::start(&mut config).await;
    let mut ours = Client::ready(&config, &["one"]).await;
    let mut publisher = speaking(&config, &mut ours).await;
    let mut subscriber = hearing(&config, &ours, "far").await;
    let before = forwarder.proxy.counters();
    let length = (1_u64 << 46).to_be_bytes();
    let mut greeting = [0; 64];
    greeting[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01");
    greeting[12..16].copy_from_slice(b"NULL");
    let huge = [&greeting[..], &[2], &length].concat();
    for to in [&config.pub_addr, &config.sub_addr] {
        let address = to.to_string();
        let address = address.strip_prefix("tcp://").unwrap();
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 200], &huge] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        }
    }
    until("six faults", || forwarder.proxy.counters().faulty == before.faulty + 6).await;
    publisher.send("one~", 50, 10).await;
    expect(&mut ours, "one", 50, 10).await;
    ours.publish("far", b"1").unwrap();
    assert_eq!(next(&mut subscriber).await.1, "1");
    assert_eq!(forwarder.proxy.counters().opened, before.opened, "nobody had to come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_is_flushed_at_the_end() {
    let mut config = config();
    let _forwarder = libzmq(&mut config).await;
    let ours = Client::ready(&config, &[]).await;
    let mut subscriber = hearing(&config, &ours, "last").await;
    for number in 0..5000_u32 {
        ours.publish("last", number.to_string().as_bytes()).unwrap();
    }
    let flushed = tokio::time::timeout(PATIENCE, Arc::clone(&ours.broker).flush()).await;
    assert!(flushed.is_ok());
    ours.task.abort();
    for number in 0..5000_u32 {
        assert_eq!(next(&mut subscriber).await.1, number.to_string());
    }
}

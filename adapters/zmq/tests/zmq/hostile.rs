//! Peers that send what they should not.

use lictor_runtime::broker::{Broker, Subscription};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, Forwarder, config, until};

/// A peer by hand: the handshake of a socket of this type, then these bytes.
async fn raw(to: &lictor_zmq::Endpoint, socket: &[u8; 3], bytes: &[u8]) -> TcpStream {
    let to = to.to_string();
    let mut stream = TcpStream::connect(to.strip_prefix("tcp://").unwrap()).await.unwrap();
    let mut hello = vec![0; 64];
    hello[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01");
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03");
    hello.extend(socket);
    stream.write_all(&hello).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// What civitas' process was deaf for ever after.
// Defect: Z19
#[tokio::test]
async fn a_message_of_no_form_is_passed_over_and_counted() {
    let mut config = config();
    let _forwarder = Forwarder::start(&mut config).await;
    let mut client = Client::ready(&config, &["a"]).await;
    client.broker.subscribe(Subscription::below("b.")).unwrap();
    client.until_ready().await;
    // One frame; three; a topic that is no UTF-8, and one with a zero byte inside.
    let bad = b"\0\x02a\0\x01\x02a\0\x01\0\0\0\x01\x05b.\xff\xfe\0\0\x01x\x01\x05b.\0x\0\0\0";
    let mut peer = raw(&config.pub_addr, b"PUB", bad).await;
    until("four are counted", || client.broker.counters().malformed == 4).await;
    // The same connection, and then all others, work on.
    peer.write_all(b"\x01\x02a\0\0\x02ok").await.unwrap();
    assert_eq!(client.message().await, ("a".to_owned(), b"ok".to_vec()));
    client.publish("b.c", b"too").unwrap();
    assert_eq!(client.message().await, ("b.c".to_owned(), b"too".to_vec()));
    assert_eq!(client.broker.counters().ended, 0);
}

#[tokio::test]
async fn a_peer_that_subscribes_without_end_loses_only_its_own_connection() {
    let mut config = config();
    config.proxy.subscription_bytes = 10_000;
    let forwarder = Forwarder::start(&mut config).await;
    let mut client = Client::ready(&config, &["a"]).await;
    let mut many = Vec::new();
    for number in 0..200 {
        many.extend(b"\x04\x0e\x09SUBSCRIBE");
        many.extend(format!("{number:04}").as_bytes());
    }
    let mut peer = raw(&config.sub_addr, b"SUB", &many).await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap_or_default();
    until("it is counted", || forwarder.proxy.counters().faulty == 1).await;
    client.publish("a", b"on").unwrap();
    assert_eq!(client.message().await.1, b"on");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_others_stay() {
    let mut config = config();
    config.proxy.peers = 2;
    let forwarder = Forwarder::start(&mut config).await;
    let mut client = Client::ready(&config, &["a"]).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(raw(&config.sub_addr, b"SUB", b"").await);
    }
    until("some are too many", || forwarder.proxy.counters().too_many >= 2).await;
    client.publish("a", b"on").unwrap();
    assert_eq!(client.message().await.1, b"on");
}

#[tokio::test]
async fn the_places_of_those_who_left_are_free() {
    let mut config = config();
    config.proxy.peers = 2;
    let forwarder = Forwarder::start(&mut config).await;
    let mut client = Client::ready(&config, &["a"]).await;
    for gone in 0..6 {
        let subscribe = b"\x04\x0b\x09SUBSCRIBEa";
        let peer = raw(&config.sub_addr, b"SUB", subscribe).await;
        until("it is there", || forwarder.proxy.counters().opened == 3 + gone).await;
        drop(peer);
        until("it is gone", || forwarder.proxy.counters().ended == 1 + gone).await;
    }
    assert_eq!(forwarder.proxy.counters().too_many, 0);
    let before = forwarder.proxy.tally().queued;
    client.publish("a", b"on").unwrap();
    assert_eq!(client.message().await.1, b"on");
    assert_eq!(forwarder.proxy.tally().queued, before + 1, "no copy for those who left");
}

/// Asks and asks, and never reads an answer: it is not read any more, and holds nothing up.
#[tokio::test]
async fn a_peer_that_only_asks_is_not_answered_without_end() {
    let mut config = config();
    let _forwarder = Forwarder::start(&mut config).await;
    let mut client = Client::ready(&config, &["a"]).await;
    let pings = b"\x04\x17\x04PING\0\0sixteen bytes...".repeat(2000);
    let mut peer = raw(&config.sub_addr, b"SUB", b"").await;
    let flood = async {
        let mut written = 0_u64;
        // Until the kernel takes no more either.
        while let Ok(Ok(())) =
            tokio::time::timeout(std::time::Duration::from_millis(300), peer.write_all(&pings))
                .await
        {
            written += 1;
            assert!(written < 1000, "fifty megabytes were taken");
        }
    };
    flood.await;
    client.publish("a", b"on").unwrap();
    assert_eq!(client.message().await.1, b"on");
}

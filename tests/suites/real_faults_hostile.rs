//! Hostile peers over real sockets, at both brokers: garbage, frames without end, forged and
//! replayed envelopes, keys and clocks that are wrong, names that are none. What they send is
//! refused and counted, and two honest nodes talk on, without one question that fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the figures are of interest, too")]

#[path = "real_faults/book.rs"]
mod book;
#[path = "real_faults/cluster.rs"]
mod cluster;
mod folder;
mod ports;
#[path = "real_faults/process.rs"]
mod process;
#[path = "real_faults/proxy.rs"]
mod proxy;
#[path = "nats_server.rs"]
mod server;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{BOTH, Forwarder, Kind, PATIENCE, free_ports};
use lictor::broker::{Broker, BrokerEvent, BrokerInbox, Mesh, MeshConfig, Subscription};
use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::transport::Frame;
use lictor::wire::system::System;
use lictor::wire::{
    Ambient, Keyring, Opener, SealCounters, SealedTransport, Sealer, SecretKey, UnixTime, Window,
    frame_limits, node_name,
};
use lictor::{Executor, RuntimeConfig, TokioExecutor, Transport};
use lictor_civitas::{Civitas, CivitasConfig, CivitasCounters, Signing};
use lictor_nats::{Nats, NatsConfig};
use lictor_wire::{Fresh, Limits, Map, Policy, SigningKeys, Uuid};
use lictor_zmq::{Endpoint, ZmqBroker, ZmqConfig};
use serde_json::json;
use server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A broker that strangers can reach.
struct Place {
    kind: Kind,
    ports: [u16; 2],
    server: Option<Server>,
    forwarder: Option<Forwarder>,
}

impl Place {
    async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Zmq => {
                let ports = free_ports();
                let forwarder = Some(Forwarder::at(ports).await);
                Self { kind, ports, server: None, forwarder }
            }
            Kind::Nats => {
                let server = Server::new();
                let ports = [server.port, server.port];
                Self { kind, ports, server: Some(server), forwarder: None }
            }
        }
    }

    fn broker(&self) -> Arc<dyn Broker> {
        if let Some(server) = &self.server {
            return Nats::new(NatsConfig::of([server.url()])).unwrap();
        }
        let [pub_addr, sub_addr] =
            self.ports.map(|port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port });
        ZmqBroker::new(ZmqConfig { pub_addr, sub_addr, ..ZmqConfig::new() }).unwrap()
    }
}

/// The system's clock, off by so much.
#[derive(Debug)]
struct Skewed {
    ahead: Duration,
    behind: Duration,
}

impl Ambient for Skewed {
    fn unix_time(&self) -> UnixTime {
        let now = System.unix_time().saturating_add(self.ahead).as_millis();
        UnixTime::from_millis(now - u64::try_from(self.behind.as_millis()).unwrap())
    }

    fn nonce(&self) -> Option<[u8; 16]> {
        System.nonce()
    }
}

const RIGHT: Skewed = Skewed { ahead: Duration::ZERO, behind: Duration::ZERO };

fn key(of: u64) -> SecretKey {
    SecretKey::from_seed(&[u8::try_from(of).unwrap(); 32])
}

struct Node {
    runtime: Runtime,
    wire: Arc<SealedTransport>,
}

struct Echo;

impl Agent for Echo {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, _: &mut Context<Self>) -> Handled {
        let payload = message.payload().clone();
        if let Some(reply_to) = message.take_reply_to() {
            let _ = reply_to.send(payload);
        }
        Ok(())
    }
}

fn executor() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::current().unwrap())
}

/// Node `number` of three that are trusted, with an echo, `e1` on node 1.
async fn boot(place: &Place, number: u64, signs_with: u64, clock: Skewed) -> Node {
    let mut keyring = Keyring::new();
    for known in 1..=3 {
        keyring.trust(node_name(NodeId(known)), key(known).public()).unwrap();
    }
    let ambient: Arc<dyn Ambient> = Arc::new(clock);
    let (name, now) = (node_name(NodeId(number)), ambient.unix_time());
    let sealer = Sealer::new(name.clone(), key(signs_with), now.as_millis(), secs(30)).unwrap();
    let opener = Opener::new(name, keyring, Window::default(), frame_limits(), now).unwrap();
    let peers = (1..=3).map(NodeId).filter(|node| node.0 != number).collect();
    let config = MeshConfig { peers, ..MeshConfig::new(NodeId(number)) };
    let mesh = Mesh::new(executor(), place.broker(), config).unwrap();
    let wire = Arc::new(SealedTransport::new(mesh, sealer, opener, ambient));
    let config = RuntimeConfig {
        transport: Some(Arc::<SealedTransport>::clone(&wire) as Arc<dyn Transport>),
        membership: membership::Config {
            node: NodeId(number),
            epoch: now.as_millis(),
            ..membership::Config::default()
        },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(executor(), config);
    let echo = agent(format!("e{number}"), || Echo);
    let sink = agent(format!("s{number}"), || Echo);
    let root = Supervisor::one_for_one(format!("r{number}")).agent(echo).agent(sink);
    runtime.start(root).await.unwrap();
    Node { runtime, wire }
}

async fn ask(from: &Runtime, to: &str) -> Result<Value, AskError> {
    from.ask(to, Message::new("echo", json!(7)), secs(5)).await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(ms(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never {what}");
}

/// Two honest nodes that ask each other all the time.
struct Honest {
    one: Node,
    two: Node,
    goes_on: Arc<AtomicBool>,
    asks: tokio::task::JoinHandle<(u64, Vec<AskError>)>,
}

impl Honest {
    async fn at(place: &Place) -> Self {
        let (one, two) = (boot(place, 1, 1, RIGHT).await, boot(place, 2, 2, RIGHT).await);
        let goes_on = Arc::new(AtomicBool::new(true));
        while ask(&one.runtime, "e2").await.is_err() || ask(&two.runtime, "e1").await.is_err() {
            tokio::time::sleep(ms(50)).await;
        }
        let (there, back) = (one.runtime.clone(), two.runtime.clone());
        let flag = Arc::clone(&goes_on);
        let asks = tokio::spawn(async move {
            let (mut answers, mut errors) = (0, Vec::new());
            while flag.load(Ordering::Relaxed) {
                for (from, to) in [(&there, "e2"), (&back, "e1")] {
                    match ask(from, to).await {
                        Ok(_) => answers += 1,
                        Err(error) => errors.push(error),
                    }
                }
                tokio::time::sleep(ms(5)).await;
            }
            (answers, errors)
        });
        Self { one, two, goes_on, asks }
    }

    fn counters(&self) -> SealCounters {
        self.one.wire.counters()
    }

    async fn end(self, kind: Kind) {
        // sleeps: a little longer, for what comes late
        tokio::time::sleep(ms(500)).await;
        self.goes_on.store(false, Ordering::Relaxed);
        let (answers, errors) = self.asks.await.unwrap();
        println!("{kind:?}: {answers} answers, {:?}", self.one.wire.counters());
        assert!(answers > 20 && errors.is_empty(), "{kind:?}: {answers} answers, {errors:?}");
        self.one.runtime.stop().await;
        self.two.runtime.stop().await;
    }
}

/// Somebody who can publish and listen at the broker.
struct Evil {
    broker: Arc<dyn Broker>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    run: tokio::task::JoinHandle<()>,
}

impl Evil {
    async fn at(place: &Place, listen: &[String]) -> Self {
        let broker = place.broker();
        for address in listen {
            broker.subscribe(Subscription::address(address.as_str())).unwrap();
        }
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let ready = Arc::new(AtomicBool::new(false));
        let (keeps, is_ready) = (Arc::clone(&heard), Arc::clone(&ready));
        let inbox = BrokerInbox::new(move |event| {
            match event {
                BrokerEvent::Message { frame, .. } => {
                    keeps.lock().unwrap().push(frame.as_bytes().to_vec());
                }
                BrokerEvent::Ready => is_ready.store(true, Ordering::Relaxed),
                BrokerEvent::Lost(_) | BrokerEvent::Dropped(_) => {}
            }
            true
        });
        let run = tokio::spawn(Arc::clone(&broker).run(inbox));
        until("is it ready", || ready.load(Ordering::Relaxed)).await;
        Self { broker, heard, run }
    }

    fn put(&self, address: &str, bytes: &[u8]) {
        self.broker.publish(address, Frame::new(bytes)).unwrap();
    }
}

impl Drop for Evil {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Where a node listens.
fn of_node(node: u64) -> String {
    format!("_lictor.default.node.{node:016x}")
}

fn real(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// Bytes that are no frame: random, cut short, nested deep, and long.
fn garbage() -> Vec<Vec<u8>> {
    let mut mix = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |length: usize| {
        let byte = |_| {
            mix = mix.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            mix.to_be_bytes()[0]
        };
        (0..length).map(byte).collect::<Vec<u8>>()
    };
    let mut all: Vec<Vec<u8>> = (0..200).map(|n| random(n * 7)).collect();
    all.push(vec![0x91; 200_000]);
    all.push([[0x81, 0xa1, b'v'].repeat(50_000), vec![0xc0]].concat());
    // Lengths that are not there: a map, an array, a text and bytes of four gigabytes.
    all.extend([0xdf, 0xdd, 0xdb, 0xc6].map(|kind| vec![kind, 0xff, 0xff, 0xff, 0xff, 0x01]));
    all.push(vec![0xc1; 900_000]);
    all
}

// Defects: Z23a, Z23b, Z23c, Z52
#[test]
fn frames_that_are_forged_replayed_or_garbage_are_refused_and_counted() {
    real(async {
        for kind in BOTH {
            let place = Place::new(kind).await;
            let honest = Honest::at(&place).await;
            let evil = Evil::at(&place, &[of_node(1)]).await;
            until("does it hear", || evil.heard.lock().unwrap().len() > 20).await;
            let heard: Vec<Vec<u8>> = evil.heard.lock().unwrap()[..20].to_vec();
            for bytes in &heard {
                // The same again, as it was and as if from another node, which is whose number is
                // before it, and to another one.
                evil.put(&of_node(1), bytes);
                let mut by_other = bytes.clone();
                by_other[7] = 3;
                evil.put(&of_node(1), &by_other);
                evil.put(&of_node(2), &by_other);
                // Cut short anywhere, and changed anywhere.
                for at in (0..bytes.len()).step_by(11) {
                    evil.put(&of_node(1), &bytes[..at]);
                    let mut changed = bytes.clone();
                    changed[at] ^= 0x20;
                    evil.put(&of_node(1), &changed);
                }
            }
            for bytes in garbage() {
                evil.put(&of_node(1), &bytes);
                let as_two = [&2_u64.to_be_bytes()[..], &bytes].concat();
                evil.put(&of_node(1), &as_two[..as_two.len().min(900_000)]);
            }
            let is_all = || {
                let c = honest.counters();
                c.replayed > 10 && c.forged > 100 && c.malformed > 100 && c.unsigned > 10
            };
            until("is all of it counted", is_all).await;
            until("are those for others", || honest.two.wire.counters().misdirected >= 20).await;
            honest.end(kind).await;
        }
    });
}

#[test]
fn nodes_with_wrong_keys_or_clocks_are_not_heard_and_those_who_are_many_do_no_harm() {
    real(async {
        for kind in BOTH {
            let place = Place::new(kind).await;
            let honest = Honest::at(&place).await;
            let hour = Duration::from_secs(3600);
            // Trusted by its name but with another key; then with the right one, in another time.
            let wrong_key = boot(&place, 3, 9, RIGHT).await;
            until("is it counted", || honest.counters().forged > 5).await;
            wrong_key.runtime.stop().await;
            let ahead = boot(&place, 3, 3, Skewed { ahead: hour, ..RIGHT }).await;
            until("is it counted", || honest.counters().expired > 5).await;
            ahead.runtime.stop().await;
            let before = honest.counters().expired;
            let behind = boot(&place, 3, 3, Skewed { behind: hour, ..RIGHT }).await;
            until("is it counted", || honest.counters().expired > before + 5).await;
            behind.runtime.stop().await;
            let stranger = boot(&place, 4, 4, RIGHT).await;
            until("is it counted", || honest.counters().unknown_signer > 5).await;
            stranger.runtime.stop().await;
            assert!(ask(&honest.one.runtime, "e3").await.is_err());
            // More strangers than a mesh remembers say that they are there.
            let evil = Evil::at(&place, &[]).await;
            for number in 0..6000_u64 {
                evil.put("_lictor.default.all", &(number + 100).to_be_bytes());
                if number % 500 == 0 {
                    Arc::clone(&evil.broker).flush().await;
                }
            }
            Arc::clone(&evil.broker).flush().await;
            let good = boot(&place, 3, 3, RIGHT).await;
            let began = std::time::Instant::now();
            while let Err(error) = ask(&honest.one.runtime, "e3").await {
                assert!(began.elapsed() < PATIENCE, "{kind:?}: {error}");
                tokio::time::sleep(ms(50)).await;
            }
            good.runtime.stop().await;
            honest.end(kind).await;
        }
    });
}

/// Writes until the other end has had enough of it; how much that was.
async fn flood(stream: &mut TcpStream, most: usize) -> usize {
    let block = vec![b'x'; 1 << 16];
    let mut written = 0;
    while written < most {
        match tokio::time::timeout(secs(10), stream.write_all(&block)).await {
            Ok(Ok(())) => written += block.len(),
            Ok(Err(_)) => break,
            Err(_) => panic!("neither taken nor refused after {written} bytes"),
        }
    }
    written
}

/// The greeting of a peer by hand.
fn greeting(socket: &[u8; 3]) -> Vec<u8> {
    let mut hello = vec![0; 64];
    hello[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01");
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03");
    hello.extend(socket);
    hello
}

// Defect: Z19
#[test]
fn streams_that_speak_another_language_or_without_end_end_and_nothing_else_does() {
    const GREAT: usize = 100 << 20;
    real(async {
        for kind in BOTH {
            let place = Place::new(kind).await;
            let honest = Honest::at(&place).await;
            let great_length = u64::try_from(GREAT).unwrap().to_be_bytes();
            for port in place.ports {
                for bytes in garbage().into_iter().step_by(20) {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
                    let _ = stream.shutdown().await;
                    let mut rest = Vec::new();
                    let end = stream.read_to_end(&mut rest);
                    assert!(tokio::time::timeout(secs(20), end).await.is_ok(), "it is not closed");
                }
                // One message of a hundred megabytes.
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let head = match kind {
                    Kind::Zmq => {
                        [&greeting(b"PUB")[..], b"\x01\x02a\0\x02", &great_length].concat()
                    }
                    Kind::Nats => {
                        format!("CONNECT {{}}\r\nPUB civitas.agent.e1 {GREAT}\r\n").into_bytes()
                    }
                };
                // At the side of subscribers a publisher is refused at once.
                let _ = stream.write_all(&head).await;
                let taken = flood(&mut stream, GREAT).await;
                assert!(taken < GREAT / 2, "{kind:?}: {taken} bytes of it were taken");
            }
            if let Some(forwarder) = &place.forwarder {
                let counters = forwarder.proxy.counters();
                assert!(counters.faulty > 10, "{counters:?}");
            }
            names_that_are_none(&place).await;
            honest.end(kind).await;
        }
    });
}

/// Messages to addresses that no agent can have, by peers that do not check them.
async fn names_that_are_none(place: &Place) {
    let mut stream = TcpStream::connect(("127.0.0.1", place.ports[0])).await.unwrap();
    let mut bytes = Vec::new();
    let names: [&[u8]; 7] =
        [b"", b"a b", b"*", b"e1.>", b"\xff\xfe", b"_lictor.default.node.*", b"..."];
    match place.kind {
        Kind::Zmq => {
            bytes.extend(greeting(b"PUB"));
            for name in names {
                bytes.extend([1, u8::try_from(name.len() + 1).unwrap()]);
                bytes.extend(name);
                bytes.extend(b"\0\0\x01x");
            }
        }
        Kind::Nats => {
            bytes.extend(b"CONNECT {\"verbose\":false}\r\n");
            for name in names {
                bytes.extend(b"PUB civitas.agent.");
                bytes.extend(name);
                bytes.extend(b" 1\r\nx\r\n");
            }
        }
    }
    let _ = stream.write_all(&bytes).await;
    // sleeps: that nothing happens
    tokio::time::sleep(ms(500)).await;
}

/// Our part among civitas processes, with strict signing: `worker` is known, and we are.
fn strict(place: &Place) -> Civitas {
    let mut keys = SigningKeys::new();
    keys.set_node(key(1));
    let mut keyring = Keyring::new();
    keyring.trust("worker", key(2).public()).unwrap();
    keyring.trust_node("worker-node", key(2).public()).unwrap();
    let signing = Signing::new(keys, keyring, Policy::default());
    let config = CivitasConfig::new("lictor");
    Civitas::new(executor(), place.broker(), Arc::new(System), config, Some(signing)).unwrap()
}

fn fresh() -> Fresh {
    let now = System.unix_time();
    Fresh { id: Uuid::v7(now, [7; 10]), timestamp: now.as_seconds() }
}

fn signed(
    sender: &str,
    to: &str,
    with: u64,
    change: impl FnOnce(&mut lictor_wire::Message),
) -> Vec<u8> {
    let mut message = lictor_wire::Message::new(fresh(), "note", Map::new());
    message.sender = sender.to_owned();
    message.recipient = to.to_owned();
    change(&mut message);
    let mut keys = SigningKeys::new();
    keys.set(sender, key(with));
    keys.seal(&message, System.nonce().unwrap(), &Limits::DEFAULT).unwrap()
}

// Defects: Z19, Z23a, Z23b, Z23c, X6, X7
#[test]
fn envelopes_of_civitas_that_are_not_what_they_say_are_refused_and_counted() {
    real(async {
        for kind in BOTH {
            let place = Place::new(kind).await;
            let honest = Honest::at(&place).await;
            let civitas = strict(&place);
            tokio::spawn(civitas.run());
            civitas.serve(&honest.one.runtime);
            let evil = Evil::at(&place, &[]).await;
            let good = || signed("worker", "s1", 2, |_| {});
            let handled = || {
                let agents = honest.one.runtime.agents();
                agents.iter().find(|agent| &*agent.name == "s1").unwrap().accepted
            };
            // It listens when a good one has come.
            let began = std::time::Instant::now();
            while civitas.counters().received == 0 {
                assert!(began.elapsed() < PATIENCE, "{:?}", civitas.counters());
                evil.put("s1", &good());
                tokio::time::sleep(ms(100)).await;
            }
            tokio::time::sleep(ms(500)).await;
            let CivitasCounters { received, unsigned, .. } = civitas.counters();
            assert_eq!(unsigned, 0, "{:?}", civitas.counters());
            let genuine = good();
            let (before, mut bad) = (handled(), 0);
            let mut put = |bytes: &[u8]| {
                evil.put("s1", bytes);
                bad += 1;
            };
            // Another's key; another's name; nobody's name; without a signature; too old.
            put(&signed("worker", "s1", 3, |_| {}));
            put(&signed("mallory", "s1", 2, |_| {}));
            put(&signed("worker", "s2", 2, |_| {}));
            let old = UnixTime::from_millis(System.unix_time().as_millis() - 3_600_000);
            put(&signed("worker", "s1", 2, |message| message.timestamp = old.as_seconds()));
            let young = System.unix_time().saturating_add(Duration::from_secs(3600));
            put(&signed("worker", "s1", 2, |message| message.timestamp = young.as_seconds()));
            let mut plain = lictor_wire::Message::new(fresh(), "note", Map::new());
            plain.sender = "worker".to_owned();
            plain.recipient = "s1".to_owned();
            put(&plain.to_msgpack(&Limits::DEFAULT).unwrap());
            for at in (0..genuine.len()).step_by(3) {
                put(&genuine[..at]);
                let mut changed = genuine.clone();
                changed[at] ^= 0x11;
                put(&changed);
            }
            for bytes in garbage() {
                put(&bytes);
            }
            // A forged one with its nonce has not used it up: it is taken, once.
            evil.put("s1", &genuine);
            put(&genuine);
            put(&genuine);
            let done = || {
                let c = civitas.counters();
                c.unsigned + c.malformed >= bad
            };
            until("is all of it counted", done).await;
            let counters = civitas.counters();
            assert_eq!(counters.unsigned + counters.malformed, bad, "{counters:?}");
            until("has it come", || handled() == before + 1).await;
            let counters = civitas.counters();
            assert_eq!(counters.received, received + 1, "{counters:?}");
            println!("{kind:?}: {bad} bad ones: {counters:?}");
            honest.end(kind).await;
        }
    });
}

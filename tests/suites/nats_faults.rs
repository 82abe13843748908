//! NATS under faults: servers that are killed, clients that are slow, who may not come in.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "nats_credentials.rs"]
mod credentials;
mod ports;
#[path = "nats_server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use credentials::Operator;
use lictor::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor::transport::{Frame, SendError};
use lictor_nats::{Nats, NatsAuth, NatsConfig, NatsTls};
use server::Server;
use tokio::sync::mpsc;

/// A client that runs, and what it says.
struct Client {
    nats: Arc<Nats>,
    events: mpsc::UnboundedReceiver<BrokerEvent>,
    run: tokio::task::JoinHandle<()>,
}

impl Client {
    fn new(config: NatsConfig, listen: &[&str]) -> Self {
        Self::slow(config, listen, Duration::ZERO)
    }

    /// Its inbox takes so long for each message.
    fn slow(config: NatsConfig, listen: &[&str], each: Duration) -> Self {
        let nats = Nats::new(config).unwrap();
        for address in listen {
            nats.subscribe(Subscription::address(*address)).unwrap();
        }
        let (say, events) = mpsc::unbounded_channel();
        let inbox = BrokerInbox::new(move |event| {
            if !each.is_zero() {
                // sleeps: the inbox is to be slower than what comes
                std::thread::sleep(each);
            }
            say.send(event).is_ok()
        });
        let run = tokio::spawn(Arc::clone(&nats).run(inbox));
        Self { nats, events, run }
    }

    async fn event(&mut self) -> BrokerEvent {
        let event = tokio::time::timeout(Duration::from_secs(30), self.events.recv());
        event.await.expect("nothing is said for half a minute").unwrap()
    }

    async fn ready(&mut self) {
        while self.event().await != BrokerEvent::Ready {}
    }

    async fn lost(&mut self) -> Arc<str> {
        loop {
            if let BrokerEvent::Lost(reason) = self.event().await {
                return reason;
            }
        }
    }

    async fn number(&mut self) -> u32 {
        loop {
            if let BrokerEvent::Message { frame, .. } = self.event().await {
                return u32::from_be_bytes(frame.as_bytes().try_into().unwrap());
            }
        }
    }

    fn put(&self, address: &str, number: u32) -> Result<(), SendError> {
        self.nats.publish(address, Frame::new(number.to_be_bytes()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.run.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_over_a_kill_comes_once_in_order_and_readiness_comes_again() {
    let mut server = Server::new();
    let mut one = Client::new(NatsConfig::of([server.url()]), &[]);
    let mut two = Client::new(NatsConfig::of([server.url()]), &["numbers"]);
    one.ready().await;
    two.ready().await;
    let mut last = None;
    for number in 0..100 {
        one.put("numbers", number).unwrap();
        assert_eq!(two.number().await, number);
        last = Some(number);
    }
    server.kill();
    assert!(!one.lost().await.is_empty());
    two.lost().await;
    for number in 100..200 {
        assert_eq!(one.put("numbers", number), Ok(()), "it is kept");
    }
    server.start();
    // Who listens is there first: what is published before it is there, NATS does not keep.
    let both = async { tokio::join!(two.ready(), one.ready()) };
    both.await;
    for number in 200..300 {
        one.put("numbers", number).unwrap();
    }
    let mut seen = 0;
    while last != Some(299) {
        let number = two.number().await;
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
        seen += 1;
    }
    assert!(seen >= 100, "all since both were ready: {seen}");
    let counters = one.nats.counters();
    assert_eq!((counters.published, counters.given_up, counters.connections), (300, 0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_too_long_is_given_up_counted_and_refused() {
    let mut server = Server::new();
    let keep_for = Duration::from_millis(300);
    let config = NatsConfig { keep_for, ..NatsConfig::of([server.url()]) };
    let mut one = Client::new(config, &["numbers"]);
    one.ready().await;
    server.kill();
    one.lost().await;
    for number in 0..10 {
        assert_eq!(one.put("numbers", number), Ok(()));
    }
    let flush = Arc::clone(&one.nats).flush();
    let dropped = loop {
        if let BrokerEvent::Dropped(dropped) = one.event().await {
            break dropped;
        }
    };
    assert_eq!(dropped, 10);
    flush.await;
    assert_eq!(one.put("numbers", 10), Err(SendError::Unreachable));
    server.start();
    one.ready().await;
    one.put("numbers", 11).unwrap();
    assert_eq!(one.number().await, 11, "and none of the ten");
    assert_eq!(one.nats.counters().given_up, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_its_first_server_and_says_why() {
    let mut server = Server::new();
    server.kill();
    let mut one = Client::new(NatsConfig::of([server.url()]), &["numbers"]);
    let reason = one.lost().await;
    assert!(reason.contains("refused"), "{reason}");
    one.put("numbers", 1).unwrap();
    server.start();
    one.ready().await;
    one.put("numbers", 2).unwrap();
    let first = one.number().await;
    assert!(first == 1 || first == 2, "{first}");
    Arc::clone(&one.nats).flush().await;
    let run = std::mem::replace(&mut one.run, tokio::spawn(async {}));
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(one.put("numbers", 3), Err(SendError::Closed), "what has ended takes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_takes_over() {
    let (mut one, two) = (Server::new(), Server::new());
    let mut client = Client::new(NatsConfig::of([one.url(), two.url()]), &["numbers"]);
    client.ready().await;
    client.put("numbers", 1).unwrap();
    assert_eq!(client.number().await, 1);
    one.kill();
    // It was at either of the two: then it is told nothing.
    let lost = tokio::time::timeout(Duration::from_secs(2), client.lost()).await.is_ok();
    if lost {
        client.ready().await;
    }
    client.put("numbers", 2).unwrap();
    assert_eq!(client.number().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_a_slow_listener_misses_is_counted_and_the_sum_is_what_was_sent() {
    const SENT: u32 = 5_000;
    let server = Server::new();
    let mut config = NatsConfig::of([server.url()]);
    config.inbox_messages = 100;
    let mut one = Client::new(NatsConfig::of([server.url()]), &[]);
    let mut two = Client::slow(config, &["numbers"], Duration::from_micros(200));
    one.ready().await;
    two.ready().await;
    for number in 0..SENT {
        one.put("numbers", number).unwrap();
    }
    let (mut handled, mut dropped) = (0, 0);
    while handled + dropped < u64::from(SENT) {
        match two.event().await {
            BrokerEvent::Message { .. } => handled += 1,
            BrokerEvent::Dropped(more) => dropped += more,
            BrokerEvent::Ready => {}
            BrokerEvent::Lost(reason) => panic!("{reason}"),
        }
    }
    assert_eq!(handled + dropped, u64::from(SENT), "{handled} and {dropped}");
    assert!(handled >= 100 && dropped > 0, "{handled} and {dropped}");
    let counters = two.nats.counters();
    assert_eq!((counters.received, counters.overrun), (handled, dropped));
}

fn tls(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/tls").join(file)
}

fn encrypted(verify: bool) -> Server {
    Server::with(|_| {
        let (cert, key, ca) = (tls("server.pem"), tls("server.key"), tls("ca.pem"));
        format!(
            "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: {verify} }}\n"
        )
    })
}

/// It gets in, or says why not.
async fn enters(server: &Server, change: impl FnOnce(&mut NatsConfig)) -> Result<(), Arc<str>> {
    let mut config = NatsConfig::of([server.url()]);
    change(&mut config);
    let mut client = Client::new(config, &["numbers"]);
    loop {
        match client.event().await {
            BrokerEvent::Ready => break,
            BrokerEvent::Lost(reason) => return Err(reason),
            BrokerEvent::Message { .. } | BrokerEvent::Dropped(_) => {}
        }
    }
    client.put("numbers", 1).unwrap();
    assert_eq!(client.number().await, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_the_right_roots_and_certificates_only() {
    let server = encrypted(false);
    let trusted = NatsTls::new().ca(tls("ca.pem"));
    assert_eq!(enters(&server, |c| c.tls = Some(trusted.clone())).await, Ok(()));
    let refused = enters(&server, |c| c.tls = Some(NatsTls::new().ca(tls("client.pem")))).await;
    let reason = refused.unwrap_err();
    assert!(reason.contains("certificate"), "{reason}");
    let server = encrypted(true);
    let known = trusted.clone().client(tls("client.pem"), tls("client.key"));
    assert_eq!(enters(&server, |c| c.tls = Some(known)).await, Ok(()));
    assert!(enters(&server, |c| c.tls = Some(trusted)).await.is_err(), "it shows no certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_users_and_tokens_let_in_who_has_them() {
    // The pair of the NATS documentation.
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let user = |name: &str, password: &str| NatsAuth::User {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    let cases = [
        (format!("users: [ {{ nkey: {public} }} ]"), NatsAuth::Nkey(seed.to_owned())),
        ("users: [ { user: u, password: p } ]".to_owned(), user("u", "p")),
        ("token: t".to_owned(), NatsAuth::Token("t".to_owned())),
    ];
    for (authorization, auth) in cases {
        let server = Server::with(|_| format!("authorization {{ {authorization} }}\n"));
        assert_eq!(enters(&server, |c| c.auth = auth).await, Ok(()), "{authorization}");
        for wrong in [NatsAuth::Nobody, user("u", "q"), NatsAuth::Token("x".to_owned())] {
            let refused = enters(&server, |c| c.auth = wrong).await.unwrap_err();
            assert!(refused.contains("authorization"), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_credentials_lets_in_who_is_in_it() {
    let operator = Operator::new();
    let server = Server::configured(|_| operator.configuration());
    let written = |text: &str, file: &str| {
        let path = server.folder.join(file);
        std::fs::write(&path, text).unwrap();
        NatsAuth::Credentials(path)
    };
    let good = written(&operator.credentials(), "good.creds");
    assert_eq!(enters(&server, |c| c.auth = good).await, Ok(()));
    let bad = written(&Operator::new().credentials(), "bad.creds");
    let refused = enters(&server, |c| c.auth = bad).await.unwrap_err();
    assert!(refused.contains("authorization"), "{refused}");
    let mut config = NatsConfig::of([server.url()]);
    config.auth = written("no credentials", "spoilt.creds");
    let refused = Nats::new(config).unwrap_err().to_string();
    assert!(refused.contains("spoilt.creds: not a file of credentials"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_does_not_allow_is_told_and_is_not_readiness() {
    let server = Server::with(|_| {
        let allowed = "[ \"_INBOX.>\", \"civitas.agent.open\" ]";
        let permissions = format!("{{ publish: {allowed}, subscribe: {allowed} }}");
        format!(
            "authorization {{ users: [ {{ user: u, password: p, permissions: {permissions} }} ] }}\n"
        )
    });
    let mut config = NatsConfig::of([server.url()]);
    config.auth = NatsAuth::User { name: "u".to_owned(), password: "p".to_owned() };
    let mut client = Client::new(config, &["open"]);
    client.ready().await;
    client.put("closed", 1).unwrap();
    client.put("closed", 2).unwrap();
    let mut dropped = 0;
    while dropped < 2 {
        if let BrokerEvent::Dropped(more) = client.event().await {
            dropped += more;
        }
    }
    assert_eq!((dropped, client.nats.counters().refused), (2, 2));
    client.nats.subscribe(Subscription::address("closed")).unwrap();
    let reason = client.lost().await;
    assert!(reason.contains("civitas.agent.closed"), "{reason}");
    client.put("open", 3).unwrap();
    assert_eq!(client.number().await, 3, "and the rest goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_run_again_and_again_is_ready_each_time() {
    let server = Server::new();
    let mut one = Client::new(NatsConfig::of([server.url()]), &["numbers"]);
    one.ready().await;
    for number in 0..40 {
        let (say, events) = mpsc::unbounded_channel();
        let inbox = BrokerInbox::new(move |event| say.send(event).is_ok());
        one.run.abort();
        let run = tokio::spawn(Arc::clone(&one.nats).run(inbox));
        assert!(std::mem::replace(&mut one.run, run).await.unwrap_err().is_cancelled());
        one.events = events;
        one.ready().await;
        one.put("numbers", number).unwrap();
        assert_eq!(one.number().await, number);
    }
}

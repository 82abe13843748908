//! At-least-once delivery on `JetStream`, against a real nats-server.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod ports;
#[path = "jetstream_returned.rs"]
mod returned;
#[path = "nats_server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use lictor::broker::{Mesh, MeshConfig};
use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{AgentSpec, Executor, Message, RuntimeConfig, SendError, TokioExecutor, agent};
use lictor_nats::{JetStream, Nats, NatsConfig, StreamConfig, StreamCounters};
use serde_json::json;
use server::Server;

messages! { pub enum LedgerMessage { Add(u64), Get -> u64 } }

/// What agents have done, over all incarnations and runtimes of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Log {
    /// Notes that a number was tried; how often it was.
    fn try_one(&self, number: u64) -> u32 {
        let mut log = self.0.lock().unwrap();
        let tries = log.entry(number).or_insert(0);
        *tries += 1;
        *tries
    }

    fn tries(&self, number: u64) -> u32 {
        self.0.lock().unwrap().get(&number).copied().unwrap_or(0)
    }

    fn distinct(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn all(&self) -> u64 {
        self.0.lock().unwrap().values().map(|tries| u64::from(*tries)).sum()
    }
}

/// Fails on a number so often before it handles it, and takes so long.
#[derive(Clone, Default)]
struct Ledger {
    log: Log,
    fails: BTreeMap<u64, u32>,
    takes: Duration,
    sum: u64,
}

impl Agent for Ledger {
    type Message = LedgerMessage;

    async fn handle(&mut self, message: LedgerMessage, cx: &mut Context<Self>) -> Handled {
        match message {
            LedgerMessage::Add(Add(number)) => {
                let tries = self.log.try_one(number);
                if tries <= self.fails.get(&number).copied().unwrap_or(0) {
                    return Err(AgentError::new("as the test wants"));
                }
                if !self.takes.is_zero() {
                    cx.sleep(self.takes).await;
                }
                self.sum += number;
            }
            LedgerMessage::Get(Get, reply) => drop(reply.send(self.sum)),
        }
        Ok(())
    }
}

impl Ledger {
    fn spec(&self, name: &str) -> AgentSpec {
        let made = self.clone();
        agent(name, move || made.clone())
    }
}

fn executor() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::current().unwrap())
}

fn quick() -> StreamConfig {
    StreamConfig {
        ack_wait: secs(2),
        ack_timeout: ms(500),
        retry_first: ms(20),
        ..StreamConfig::default()
    }
}

fn streams(server: &Server, config: StreamConfig) -> Arc<JetStream> {
    JetStream::new(NatsConfig::of([server.url()]), config).unwrap()
}

/// A node with a wire and a stream.
async fn node(
    server: &Server,
    number: u64,
    durable: &Arc<JetStream>,
    agents: Vec<AgentSpec>,
) -> Runtime {
    let nats = Nats::new(NatsConfig::of([server.url()])).unwrap();
    let mesh = Mesh::new(executor(), nats, MeshConfig::new(NodeId(number))).unwrap();
    let config = RuntimeConfig {
        transport: Some(mesh),
        durable: Some(Arc::<JetStream>::clone(durable)),
        membership: membership::Config { node: NodeId(number), epoch: 1, ..Default::default() },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(executor(), config);
    let mut root = Supervisor::one_for_one("root")
        .max_restarts(1000, secs(1))
        .backoff(Backoff::constant(Duration::ZERO));
    for agent in agents {
        root = root.agent(agent);
    }
    runtime.start(root).await.unwrap();
    runtime
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("{what}: not in a minute");
}

async fn counted(stream: &JetStream, is_so: impl Fn(StreamCounters) -> bool) -> StreamCounters {
    until("the counters", || is_so(stream.counters())).await;
    stream.counters()
}

fn add(number: u64) -> Message {
    Message::new("Add", json!(number))
}

async fn context(server: &Server) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// The state of a stream.
async fn state(server: &Server, name: &str) -> jetstream::stream::State {
    let mut stream = context(server).await.get_stream(name).await.unwrap();
    stream.info().await.unwrap().state.clone()
}

/// Nothing waits to be handled.
async fn is_empty(server: &Server) {
    for _ in 0..500 {
        if state(server, "LICTOR").await.messages == 0 {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("the stream does not empty: {:?}", state(server, "LICTOR").await);
}

// Defects: N7, N2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acknowledged_after_it_was_handled_and_comes_again_after_a_crash() {
    let server = Server::new();
    let streams = streams(&server, quick());
    let log = Log::default();
    let ledger = Ledger { log: log.clone(), fails: [(3, 2)].into(), takes: ms(100), sum: 0 };
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    for number in 1..=10 {
        runtime.send("ledger", add(number)).await.unwrap();
    }
    // Ten are stored, and at most a few handled: all others are still there.
    let stored = state(&server, "LICTOR").await.messages;
    assert!(stored >= 5, "{stored} of 10 are kept");
    let counters = counted(&streams, |counters| counters.handled == 10).await;
    is_empty(&server).await;
    assert_eq!((log.tries(3), log.tries(4)), (3, 1), "a crash, and a crash, and it is handled");
    assert_eq!((counters.stored, counters.failed, counters.dead), (10, 2, 0));
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_too_often_is_a_dead_letter_with_its_reason() {
    let server = Server::new();
    let streams = streams(&server, quick());
    let log = Log::default();
    let ledger = Ledger { log: log.clone(), fails: [(7, 1000)].into(), ..Ledger::default() };
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    for number in [7, 8] {
        runtime.send("ledger", add(number)).await.unwrap();
    }
    counted(&streams, |counters| counters.dead == 1 && counters.handled == 1).await;
    assert_eq!(log.tries(7), 5);
    is_empty(&server).await;
    // Somebody else may have written what the agent cannot read.
    let strangers = context(&server).await;
    let strange = strangers.publish("lictor.stored.ledger", "strange".into()).await;
    strange.unwrap().await.unwrap();
    counted(&streams, |counters| counters.dead == 2).await;
    let dead = context(&server).await.get_stream("LICTOR_DEAD").await.unwrap();
    let letter = dead.get_raw_message(1).await.unwrap();
    assert_eq!(letter.subject.as_str(), "lictor.dead.ledger");
    let reason = letter.headers.get("Lictor-Reason").unwrap().to_string();
    assert!(reason.contains("crashed") && reason.contains("5 times"), "{reason}");
    assert!(String::from_utf8_lossy(&letter.payload).contains('7'));
    let letter = dead.get_raw_message(2).await.unwrap();
    let reason = letter.headers.get("Lictor-Reason").unwrap().to_string();
    assert!(reason.contains("does not understand"), "{reason}");
    runtime.stop().await;
}

// Defect: N5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_runtimes_share_a_stream_and_a_name_moves_with_its_messages() {
    let server = Server::new();
    let log = Log::default();
    let ledger = Ledger { log: log.clone(), takes: ms(5), ..Ledger::default() };
    let (one, two) = (streams(&server, quick()), streams(&server, quick()));
    let first = node(&server, 1, &one, vec![ledger.spec("moving")]).await;
    let second = node(&server, 2, &two, vec![ledger.spec("other")]).await;
    for number in 0..100 {
        second.send("moving", add(number)).await.unwrap();
    }
    assert_eq!(
        second.send("nobody", add(1)).await,
        Err(SendError::Unknown { name: "nobody".into() })
    );
    first.stop().await;
    // Nobody has the name now: it is kept.
    for number in 100..200 {
        second.send("moving", add(number)).await.unwrap();
    }
    let handled = one.counters().handled;
    assert!(handled < 200, "{handled} of 200 before the stop");
    let three = streams(&server, quick());
    let third = node(&server, 3, &three, vec![ledger.spec("moving")]).await;
    until("all are handled", || log.distinct() == 200).await;
    is_empty(&server).await;
    assert_eq!(log.all(), 200, "each once: all nodes ended in good order");
    assert_eq!(one.counters().handled + three.counters().handled, 200);
    third.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_do_not_fail_are_handled_in_the_order_of_their_sends() {
    let server = Server::new();
    let (one, two) = (streams(&server, quick()), streams(&server, quick()));
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&numbers);
    let agent = agent("ledger", move || Noting(Arc::clone(&noted))).mailbox_size(10);
    let first = node(&server, 1, &one, vec![agent]).await;
    let second = node(&server, 2, &two, vec![]).await;
    for number in 0..1000_u64 {
        second.send("ledger", add(number)).await.unwrap();
    }
    counted(&one, |counters| counters.handled == 1000).await;
    assert_eq!(*numbers.lock().unwrap(), (0..1000).collect::<Vec<u64>>());
    first.stop().await;
    second.stop().await;
}

/// Notes the numbers in the order in which they come.
struct Noting(Arc<Mutex<Vec<u64>>>);

impl Agent for Noting {
    type Message = LedgerMessage;

    async fn handle(&mut self, message: LedgerMessage, _: &mut Context<Self>) -> Handled {
        if let LedgerMessage::Add(Add(number)) = message {
            self.0.lock().unwrap().push(number);
        }
        Ok(())
    }
}

// Defect: N6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_look_alike_get_their_own_messages() {
    let server = Server::new();
    let streams = streams(&server, quick());
    let names = ["a.b", "a-b", "a_b", "a_-b", "a.b.c"];
    let ledgers: Vec<_> = names.iter().map(|name| (*name, Ledger::default())).collect();
    let agents = ledgers.iter().map(|(name, ledger)| ledger.spec(name)).collect();
    let runtime = node(&server, 1, &streams, agents).await;
    for (number, name) in (1..).zip(names) {
        runtime.send(name, add(number)).await.unwrap();
    }
    counted(&streams, |counters| counters.handled == 5).await;
    for (number, (name, ledger)) in (1..).zip(&ledgers) {
        assert_eq!((ledger.log.tries(number), ledger.log.distinct()), (1, 1), "{name}");
    }
    runtime.stop().await;
}

// Defect: JS
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_holds_agents_messages_only_within_limits_and_refuses_beyond_them() {
    let server = Server::new();
    let config = StreamConfig { max_messages: 20, ..quick() };
    let (one, two) = (streams(&server, config.clone()), streams(&server, config));
    let ledger = Ledger { takes: secs(3600), ..Ledger::default() };
    let (fast, slow) = (Ledger::default(), ledger);
    let first = node(&server, 1, &one, vec![slow.spec("slow"), fast.spec("fast")]).await;
    let second = node(&server, 2, &two, vec![]).await;
    until("the names are known", || second.remote_names().len() >= 2).await;
    for _ in 0..10 {
        assert_eq!(
            second.ask("fast", Message::new("Get", json!(null)), secs(5)).await,
            Ok(json!(0))
        );
    }
    let state = state(&server, "LICTOR").await;
    assert_eq!(
        (state.messages, state.last_sequence),
        (0, 0),
        "questions, answers and probes are elsewhere"
    );
    for number in 0..20 {
        second.send("slow", add(number)).await.unwrap();
    }
    let full = second.send("slow", add(20)).await;
    assert_eq!(full, Err(SendError::StreamFull { name: "slow".into() }));
    assert_eq!(two.counters().not_stored, 1);
    let mut stream = context(&server).await.get_stream("LICTOR").await.unwrap();
    let info = stream.info().await.unwrap().config.clone();
    assert!(info.max_age > Duration::ZERO && info.max_bytes > 0 && info.max_messages == 20);
    assert_eq!(info.subjects, ["lictor.stored.>"]);
    let consumers: Vec<_> = stream.consumer_names().collect().await;
    assert_eq!(consumers.len(), 2, "one for each agent, and none for what is ours: {consumers:?}");
    first.stop_within(ms(100)).await;
    second.stop().await;
}

// Defect: N-pub
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_is_stored_once_or_is_an_error_whatever_the_server_does() {
    let mut server = Server::new();
    let streams = streams(&server, quick());
    let ledger = Ledger::default();
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    runtime.send("ledger", add(0)).await.unwrap();
    counted(&streams, |counters| counters.handled == 1).await;
    server.kill();
    // Nobody is there, and nobody comes.
    let options = lictor::SendOptions::new().timeout(ms(700));
    let lost = runtime.raw("ledger").unwrap().send_with(add(1), options).await;
    assert!(
        matches!(lost, Err(SendError::Unconfirmed { .. } | SendError::NotStored { .. })),
        "{lost:?}"
    );
    let sending = {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.send("ledger", add(2)).await })
    };
    tokio::time::sleep(ms(1200)).await;
    server.start();
    assert_eq!(sending.await.unwrap(), Ok(()), "it was tried again under its id");
    counted(&streams, |counters| counters.handled >= 2).await;
    is_empty(&server).await;
    assert_eq!(ledger.log.tries(2), 1, "and stored once");
    assert!(ledger.log.tries(1) <= 1, "what is unconfirmed may come, once");
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_with_its_store_costs_nothing_and_doubles_nothing() {
    const SENT: u64 = 400;
    let mut server = Server::new();
    let (one, two) = (streams(&server, quick()), streams(&server, quick()));
    let log = Log::default();
    let ledger = Ledger { log: log.clone(), takes: ms(1), ..Ledger::default() };
    let first = node(&server, 1, &one, vec![ledger.spec("ledger")]).await;
    let second = node(&server, 2, &two, vec![]).await;
    second.send("ledger", add(0)).await.unwrap();
    let sending = {
        let second = second.clone();
        tokio::spawn(async move {
            let options = lictor::SendOptions::new().timeout(secs(60));
            let to = second.raw("ledger").unwrap();
            for number in 1..SENT {
                while let Err(error) = to.send_with(add(number), options).await {
                    // What is unconfirmed may come; whoever must not lose it sends it again.
                    assert!(
                        matches!(
                            error,
                            SendError::Unconfirmed { .. } | SendError::NotStored { .. }
                        ),
                        "{error}"
                    );
                }
            }
        })
    };
    for _ in 0..2 {
        let before = one.counters().handled;
        until("some are handled", || one.counters().handled >= before + 50).await;
        server.kill();
        tokio::time::sleep(ms(300)).await;
        server.start();
    }
    sending.await.unwrap();
    until("all are handled", || log.distinct() == usize::try_from(SENT).unwrap()).await;
    is_empty(&server).await;
    let again = two.counters().not_stored;
    assert!(log.all() <= SENT + again, "{} handled, {again} sent again by us", log.all());
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_lost_its_store_is_used_again_and_numbers_that_come_again_are_new() {
    let mut server = Server::new();
    let streams = streams(&server, quick());
    let ledger = Ledger::default();
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    for number in 0..5 {
        runtime.send("ledger", add(number)).await.unwrap();
    }
    counted(&streams, |counters| counters.handled == 5).await;
    server.kill();
    server.forget();
    server.start();
    for number in 5..10 {
        runtime.send("ledger", add(number)).await.unwrap();
    }
    // They have the numbers of the first five in the new stream.
    let counters = counted(&streams, |counters| counters.handled == 10).await;
    assert_eq!((ledger.log.distinct(), counters.repeated), (10, 0));
    is_empty(&server).await;
    runtime.stop().await;
}

/// How often the server has handed something out again, of what is not settled.
async fn redelivered(server: &Server, durable: &str) -> usize {
    let stream = context(server).await.get_stream("LICTOR").await.unwrap();
    stream.consumer_info(durable).await.unwrap().num_redelivered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_handling_is_not_taken_for_a_death() {
    let server = Server::new();
    let streams = streams(&server, StreamConfig { ack_wait: ms(600), ..quick() });
    let ledger = Ledger { takes: secs(2), ..Ledger::default() };
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    for number in [1, 2] {
        runtime.send("ledger", add(number)).await.unwrap();
    }
    // Also the second one, which waits in the mailbox meanwhile.
    for _ in 0..35 {
        assert_eq!(redelivered(&server, "ledger").await, 0);
        tokio::time::sleep(ms(100)).await;
    }
    counted(&streams, |counters| counters.handled == 2).await;
    assert_eq!((ledger.log.all(), streams.counters().delivered), (2, 2));
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_while_a_message_is_handled_hands_it_out_again_and_it_is_not_handled_again()
 {
    let mut server = Server::new();
    let streams = streams(&server, quick());
    let ledger = Ledger { takes: secs(6), ..Ledger::default() };
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    runtime.send("ledger", add(1)).await.unwrap();
    until("it is in hand", || ledger.log.tries(1) == 1).await;
    server.kill();
    // Its time at the server passes, and it is still in hand when the server is back.
    tokio::time::sleep(ms(2500)).await;
    server.start();
    is_empty(&server).await;
    let counters = counted(&streams, |counters| counters.handled == 1).await;
    assert_eq!((ledger.log.tries(1), counters.delivered), (1, 1));
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_what_it_was_told_is_told_again() {
    let mut server = Server::new();
    let streams = streams(&server, quick());
    let ledger = Ledger { takes: secs(1), ..Ledger::default() };
    let runtime = node(&server, 1, &streams, vec![ledger.spec("ledger")]).await;
    runtime.send("ledger", add(1)).await.unwrap();
    until("it is in hand", || ledger.log.tries(1) == 1).await;
    server.remember("before");
    is_empty(&server).await;
    server.recall("before");
    counted(&streams, |counters| counters.repeated >= 1).await;
    is_empty(&server).await;
    assert_eq!((ledger.log.tries(1), streams.counters().handled), (1, 1));
    runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_streams_or_with_another_of_the_name_is_an_error_that_says_so() {
    let bare = Server::configured(|_| String::new());
    let streams_of_bare = streams(&bare, quick());
    let runtime = node(&bare, 1, &streams_of_bare, vec![]).await;
    let refused = runtime.send("ledger", add(1)).await.unwrap_err();
    let SendError::NotStored { detail, .. } = &refused else { panic!("{refused:?}") };
    assert!(detail.contains("LICTOR") && detail.to_lowercase().contains("jetstream"), "{detail}");
    runtime.stop().await;
    let server = Server::new();
    let other = jetstream::stream::Config {
        name: "LICTOR".to_owned(),
        subjects: vec!["else.>".to_owned()],
        ..jetstream::stream::Config::default()
    };
    context(&server).await.create_stream(other).await.unwrap();
    let streams = streams(&server, quick());
    let runtime = node(&server, 1, &streams, vec![]).await;
    let refused = runtime.send("ledger", add(1)).await.unwrap_err();
    let SendError::NotStored { detail, .. } = &refused else { panic!("{refused:?}") };
    assert!(detail.contains("else.>") && detail.contains("name another"), "{detail}");
    runtime.stop().await;
}

#[test]
fn a_stream_that_cannot_be_meant_is_refused() {
    type Change = fn(&mut StreamConfig);
    let refused = |change: Change| {
        let mut config = StreamConfig::default();
        change(&mut config);
        JetStream::new(NatsConfig::default(), config).unwrap_err().to_string()
    };
    let cases: [(Change, &str); 6] = [
        (
            |c| c.prefix = "civitas.agent.x.".to_owned(),
            "\"civitas.agent.x.\" and \"civitas.agent.\" overlap",
        ),
        (|c| c.dead_prefix = "lictor.stored.dead.".to_owned(), "overlap"),
        (|c| c.prefix = "no dot".to_owned(), "the subject prefix \"no dot\""),
        (|c| c.name = "a.b".to_owned(), "the stream \"a.b\""),
        (|c| c.credit = 0, "credit must be greater than zero"),
        (|c| c.store_attempts = 60, "remember_ids must be longer"),
    ];
    for (change, text) in cases {
        let refused = refused(change);
        assert!(refused.contains(text), "{refused}");
    }
}

/// How many messages the great run has.
fn many() -> u64 {
    std::env::var("LICTOR_MESSAGES").map_or(5_000, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_messages_all_arrive_while_the_agent_crashes() {
    let sent = many();
    let server = Server::new();
    let (one, two) = (streams(&server, quick()), streams(&server, quick()));
    let log = Log::default();
    let fails = (0..sent).step_by(997).map(|number| (number, 1)).collect();
    let ledger = Ledger { log: log.clone(), fails, ..Ledger::default() };
    let first = node(&server, 1, &one, vec![ledger.spec("ledger")]).await;
    let second = node(&server, 2, &two, vec![]).await;
    let sends = futures_util::stream::iter(0..sent).map(|number| {
        let second = second.clone();
        async move { second.send("ledger", add(number)).await.unwrap() }
    });
    sends.buffer_unordered(256).for_each(|()| std::future::ready(())).await;
    assert_eq!(two.counters().stored, sent);
    let handled = counted(&one, |counters| counters.handled >= sent).await;
    assert_eq!(log.distinct() as u64, sent, "each of them");
    assert_eq!(log.all(), sent + handled.failed, "and none twice but those that failed");
    assert!(handled.failed >= sent / 1000, "{handled:?}");
    is_empty(&server).await;
    first.stop().await;
    second.stop().await;
}

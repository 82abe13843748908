//! Real civitas 0.12 processes: a worker under a Lictor supervisor, and a runtime that calls Lictor
//! agents, over both brokers, unsigned and signed.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod folder;
mod ports;
#[path = "civitas_process.rs"]
mod process;
#[path = "nats_server.rs"]
mod server;

use std::future::Future;
use std::sync::Arc;

use folder::Folder;
use lictor::broker::Broker;
use lictor::prelude::*;
use lictor::{AskError, Executor, Message, ReplyFailure, RuntimeConfig, TokioExecutor, agent};
use lictor_civitas::{Civitas, CivitasConfig, FleetConfig, Format, Signing, StreamLimits};
use lictor_nats::{Nats, NatsConfig};
use lictor_wire::system::System;
use lictor_wire::{Keyring, Policy, PublicKey, SecretKey, SigningKeys};
use lictor_zmq::{ZmqBroker, ZmqConfig};
use process::Process;
use serde_json::{Value, json};
use server::Server;

fn executor() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::current().unwrap())
}

/// A broker, and how a civitas process reaches it.
trait Place {
    fn new() -> Self;
    fn broker(&self) -> Arc<dyn Broker>;
    fn arguments(&self) -> Vec<String>;
    /// The `transport:` block of a topology of civitas.
    fn transport(&self) -> Value;
}

struct OnNats(Server);

impl Place for OnNats {
    fn new() -> Self {
        Self(Server::new())
    }

    fn broker(&self) -> Arc<dyn Broker> {
        Nats::new(NatsConfig::of([self.0.url()])).unwrap()
    }

    fn arguments(&self) -> Vec<String> {
        vec!["nats".to_owned(), self.0.url()]
    }

    fn transport(&self) -> Value {
        json!({ "type": "nats", "servers": self.0.url() })
    }
}

/// ZeroMQ with our own forwarder, which runs in our process.
struct OnZmq(String, String);

impl Place for OnZmq {
    fn new() -> Self {
        let free = || format!("tcp://127.0.0.1:{}", ports::free_port());
        Self(free(), free())
    }

    fn broker(&self) -> Arc<dyn Broker> {
        ZmqBroker::new(ZmqConfig {
            pub_addr: self.0.parse().unwrap(),
            sub_addr: self.1.parse().unwrap(),
            start_proxy: true,
            ..ZmqConfig::new()
        })
        .unwrap()
    }

    fn arguments(&self) -> Vec<String> {
        vec!["zmq".to_owned(), self.0.clone(), self.1.clone()]
    }

    fn transport(&self) -> Value {
        let Self(pub_addr, sub_addr) = self;
        let (kind, start_proxy) = ("zmq", false);
        json!({ "type": kind, "pub_addr": pub_addr, "sub_addr": sub_addr, "start_proxy": start_proxy })
    }
}

/// Each test over each broker.
macro_rules! over_brokers {
    ($($test:ident)*) => {
        mod on_nats {
            $(#[test]
            fn $test() {
                super::on_tokio(super::$test(<super::OnNats as super::Place>::new()));
            })*
        }

        mod on_zmq {
            $(#[test]
            fn $test() {
                super::on_tokio(super::$test(<super::OnZmq as super::Place>::new()));
            })*
        }
    };
}

over_brokers! {
    a_worker_is_supervised
    a_worker_is_killed_and_replaced
    a_worker_is_stopped_for_longer_than_it_may
    a_runtime_calls_our_agents
    a_runtime_that_writes_json_calls_our_agents
    a_runtime_watches_our_agents
    a_runtime_has_our_agent_started_anew
    a_runtime_that_signs_and_ours_trust_each_other
}

fn on_tokio(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(ms(10)).await;
    }
    panic!("{what}: not in half a minute");
}

fn part(place: &impl Place, config: impl FnOnce(&mut CivitasConfig)) -> Civitas {
    signed_part(place, config, None)
}

fn signed_part(
    place: &impl Place,
    config: impl FnOnce(&mut CivitasConfig),
    signing: Option<Signing>,
) -> Civitas {
    let mut all = CivitasConfig::new("lictor");
    all.fleet = FleetConfig { interval: ms(200), timeout: ms(500), ..FleetConfig::default() };
    all.announce_every = secs(1);
    config(&mut all);
    let broker = place.broker();
    let civitas = Civitas::new(executor(), broker, Arc::new(System), all, signing).unwrap();
    tokio::spawn(civitas.run());
    civitas
}

async fn tree(civitas: &Civitas, names: &[&str]) -> Runtime {
    let runtime = Runtime::with_config(executor(), RuntimeConfig::default());
    let mut root = Supervisor::one_for_one("root")
        .max_restarts(20, secs(60))
        .backoff(Backoff::constant(ms(20)));
    for name in names {
        root = root.agent(civitas.remote(name));
    }
    runtime.start(root).await.unwrap();
    runtime
}

fn worker(place: &impl Place, names: &[&str]) -> Process {
    let mut arguments = place.arguments();
    arguments.extend(names.iter().map(|name| (*name).to_owned()));
    Process::start("civitas_worker.py", &arguments)
}

fn starts(runtime: &Runtime, name: &str) -> u64 {
    let agents = runtime.agents();
    agents.iter().find(|agent| *agent.name == *name).unwrap().starts
}

fn note(n: u64) -> Message {
    Message::new("note", json!({ "n": n }))
}

/// Crash, restart, order of messages, streams: supervised like one of ours.
async fn a_worker_is_supervised(place: impl Place) {
    let civitas = part(&place, |_| {});
    // The supervisor first.
    let trees = tokio::spawn({
        let civitas = civitas.clone();
        async move { tree(&civitas, &["py1", "py2"]).await }
    });
    let mut worker = worker(&place, &["py1", "py2"]);
    worker.event("ready").await;
    let runtime = trees.await.unwrap();
    let asked = runtime.ask("py1", Message::new("hello", json!({ "a": 1 })), secs(5)).await;
    assert_eq!(asked.unwrap(), json!({ "echo": { "a": 1 }, "from": "lictor" }));
    for n in 0..100 {
        runtime.send("py1", note(n)).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(worker.event("note").await["n"], n, "in order");
    }
    let mut chunks =
        civitas.stream("py1", "stream", json!({ "chunks": 3 }), StreamLimits::default()).unwrap();
    let mut got = Vec::new();
    while let Some(chunk) = chunks.next().await {
        got.push(chunk.unwrap());
    }
    assert_eq!(got, [json!({ "n": 0 }), json!({ "n": 1 }), json!({ "n": 2 })]);
    // A crash there is one crash here.
    let crash = runtime.ask("py1", Message::new("crash", json!({})), secs(30)).await;
    let failure = ReplyFailure::Crashed;
    assert_eq!(crash, Err(AskError::Failed { name: "py1".into(), failure }));
    runtime.send("py1", note(7)).await.unwrap();
    assert_eq!(worker.event("note").await["n"], 7, "what was queued is handled by the next life");
    let counted = runtime.ask("py1", Message::new("count", json!({})), secs(5)).await.unwrap();
    // The note and this. On NATS a civitas worker subscribes anew at each restart and keeps the old
    // subscription, so that its agent handles everything twice.
    let twice = place.arguments()[0] == "nats" && counted["count"] == 3;
    assert!(counted["count"] == 2 || twice, "a fresh one: {counted}");
    tokio::time::sleep(secs(2)).await;
    assert_eq!((starts(&runtime, "py1"), starts(&runtime, "py2")), (2, 1), "Z15");
    worker.signal("-TERM");
    worker.event("stopped").await;
    until("its end is seen", || civitas.foreign().is_empty()).await;
    runtime.stop().await;
}

/// kill -9 and a replacement; then a rolling one, which says goodbye (Z34, Z34b, X4).
async fn a_worker_is_killed_and_replaced(place: impl Place) {
    let civitas = part(&place, |_| {});
    let mut first = worker(&place, &["py1"]);
    first.event("ready").await;
    let runtime = tree(&civitas, &["py1"]).await;
    let slow = tokio::spawn({
        let runtime = runtime.clone();
        let message = Message::new("slow", json!({ "seconds": 60 }));
        async move { runtime.ask("py1", message, secs(60)).await }
    });
    tokio::time::sleep(ms(300)).await;
    first.signal("-KILL");
    let failure = ReplyFailure::NoConnection;
    let asked = slow.await.unwrap();
    assert_eq!(asked, Err(AskError::Failed { name: "py1".into(), failure }), "told, not timed out");
    let mut second = worker(&place, &["py1"]);
    let ready = second.event("ready").await;
    let count = || Message::new("count", json!({}));
    let counted = runtime.ask("py1", count(), secs(20)).await.unwrap();
    assert_eq!(counted["pid"], ready["pid"]);
    let mut third = worker(&place, &["py1"]);
    let ready = third.event("ready").await;
    second.signal("-TERM");
    second.event("stopped").await;
    let mut pid = Value::Null;
    for _ in 0..100 {
        pid = runtime.ask("py1", count(), secs(20)).await.unwrap()["pid"].clone();
        if pid == ready["pid"] {
            break;
        }
        tokio::time::sleep(ms(50)).await;
    }
    assert_eq!(pid, ready["pid"], "without a lost route");
    tokio::time::sleep(secs(2)).await;
    assert_eq!(runtime.ask("py1", count(), secs(5)).await.unwrap()["pid"], ready["pid"]);
    assert!(starts(&runtime, "py1") <= 3, "each replacement is at most one crash");
    runtime.stop().await;
}

/// SIGSTOP for longer than the misses allow, then SIGCONT.
async fn a_worker_is_stopped_for_longer_than_it_may(place: impl Place) {
    let civitas = part(&place, |_| {});
    let mut worker = worker(&place, &["py1"]);
    worker.event("ready").await;
    let runtime = tree(&civitas, &["py1"]).await;
    worker.event("started").await;
    worker.signal("-STOP");
    until("it is given up", || civitas.foreign().iter().all(|(_, lives)| !lives)).await;
    assert!(runtime.ask("py1", Message::new("hello", json!({})), ms(300)).await.is_err());
    worker.signal("-CONT");
    worker.event("started").await;
    let hello = Message::new("hello", json!({ "b": 2 }));
    let asked = runtime.ask("py1", hello, secs(10)).await.unwrap();
    assert_eq!(asked["echo"], json!({ "b": 2 }), "it was started anew before it is used");
    assert_eq!(starts(&runtime, "py1"), 2);
    runtime.stop().await;
}

#[derive(Default)]
struct Ours(u64);

impl Agent for Ours {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, _: &mut Context<Self>) -> Handled {
        self.0 += 1;
        match message.kind() {
            "crash" => return Err(AgentError::new("on purpose")),
            "list" => message.reply(json!([{ "n": 1 }, { "n": 2 }])),
            _ => {
                let payload = message.take_payload();
                message.reply(json!({ "got": payload, "count": self.0 }));
            }
        }
        Ok(())
    }
}

async fn serving(civitas: &Civitas) -> Runtime {
    let runtime = Runtime::with_config(executor(), RuntimeConfig::default());
    let root = Supervisor::one_for_one("top")
        .max_restarts(20, secs(60))
        .backoff(Backoff::constant(ms(20)))
        .agent(agent("ours.a", Ours::default).capabilities(["text.sum"]))
        .agent(agent("ours.b", Ours::default));
    runtime.start(root).await.unwrap();
    civitas.serve(&runtime);
    runtime
}

async fn foreign_runtime(place: &impl Place) -> Process {
    let mut foreign = Process::start("civitas_runtime.py", &place.arguments());
    foreign.event("ready").await;
    foreign
}

async fn learn(foreign: &mut Process) {
    for _ in 0..200 {
        let found = foreign.act(json!({ "op": "glob", "pattern": "ours.*" })).await;
        if found["names"] == json!(["ours.a", "ours.b"]) {
            return;
        }
        tokio::time::sleep(ms(50)).await;
    }
    panic!("the runtime has not learned our names in ten seconds");
}

/// By name, by pattern, by capability, from outside and from inside of an agent; streams; crashes.
async fn a_runtime_calls_our_agents(place: impl Place) {
    let civitas = part(&place, |_| {});
    let runtime = serving(&civitas).await;
    // It starts after us, and learns of us all the same (Z18).
    let mut foreign = foreign_runtime(&place).await;
    learn(&mut foreign).await;
    let ask = json!({ "op": "ask", "to": "ours.a", "payload": { "x": [1, 2.5, null, "\u{e9}"] } });
    let answer = foreign.act(ask).await;
    assert_eq!(answer["answer"]["got"], json!({ "x": [1, 2.5, null, "\u{e9}"] }), "{answer}");
    assert_eq!(answer["sender"], "ours.a");
    let ask = json!({ "op": "ask", "to": "ours.b", "payload": { "from": "an agent" } });
    let answer = foreign.inside(ask).await;
    assert_eq!(answer["answer"]["got"], json!({ "from": "an agent" }), "{answer}");
    let count = || async {
        let count = Message::new("count", json!({}));
        runtime.ask("ours.a", count, secs(5)).await.unwrap()["count"].as_u64().unwrap()
    };
    let before = count().await;
    let capable = json!({ "op": "send_capable", "tag": "text.sum", "type": "m", "payload": {} });
    assert_eq!(foreign.inside(capable).await, json!({}));
    let pattern = json!({ "op": "broadcast", "pattern": "ours.*", "payload": {} });
    assert_eq!(foreign.inside(pattern).await, json!({}));
    let mut seen = before;
    for _ in 0..100 {
        seen = count().await;
        if seen > before + 4 {
            break;
        }
        tokio::time::sleep(ms(20)).await;
    }
    assert!(seen > before + 2, "the one by capability and the one by pattern have come");
    let stream = json!({ "op": "stream", "to": "ours.a", "type": "list", "payload": {} });
    let chunks = foreign.inside(stream).await;
    assert_eq!(chunks, json!({ "chunks": [{ "n": 1 }, { "n": 2 }] }));
    // A crash is told at once, and the next message is handled.
    let crash = json!({ "op": "ask", "to": "ours.a", "type": "crash", "payload": {} });
    let crashed = foreign.act(crash).await;
    assert_eq!(crashed["answer"]["status"], "error", "{crashed}");
    let ask = json!({ "op": "ask", "to": "ours.a", "payload": {} });
    assert_eq!(foreign.act(ask).await["sender"], "ours.a");
    civitas.withdraw().await;
    let mut names = json!(null);
    for _ in 0..100 {
        names = foreign.act(json!({ "op": "glob", "pattern": "ours.*" })).await["names"].clone();
        if names == json!([]) {
            break;
        }
        tokio::time::sleep(ms(50)).await;
    }
    assert_eq!(names, json!([]), "a goodbye is heard");
    assert_eq!(civitas.counters().malformed, 0);
    foreign.ended().await;
    runtime.stop().await;
}

/// The same messages as JSON, both ways.
async fn a_runtime_that_writes_json_calls_our_agents(place: impl Place) {
    let civitas = part(&place, |config| config.format = Format::Json);
    let runtime = serving(&civitas).await;
    let json = [("AGENCY_SERIALIZER", "json")];
    let mut foreign = Process::start_in("civitas_runtime.py", &place.arguments(), &json);
    foreign.event("ready").await;
    learn(&mut foreign).await;
    let ask = json!({ "op": "ask", "to": "ours.a", "payload": { "x": [1, 2.5, null, "\u{e9}"] } });
    let answer = foreign.act(ask).await;
    assert_eq!(answer["answer"]["got"], json!({ "x": [1, 2.5, null, "\u{e9}"] }), "{answer}");
    assert_eq!(civitas.counters().malformed, 0);
    foreign.ended().await;
    runtime.stop().await;
}

/// A civitas supervisor probes our agents, and has one started anew; only who may gives orders.
async fn a_runtime_watches_our_agents(place: impl Place) {
    let civitas = part(&place, |config| config.obey = vec!["somebody".into()]);
    let runtime = serving(&civitas).await;
    let mut arguments = place.arguments();
    arguments.extend(["--supervise", "ours.a"].map(str::to_owned));
    let mut foreign = Process::start("civitas_runtime.py", &arguments);
    foreign.event("ready").await;
    learn(&mut foreign).await;
    let before = civitas.counters().received;
    until("it is probed", || civitas.counters().received > before + 10).await;
    assert_eq!(starts(&runtime, "ours.a"), 1, "it answers, and nobody thinks that it is dead");
    for kind in ["_agency.shutdown", "civitas.eval.halt", "_agency.force_restart"] {
        let order = json!({ "op": "send", "to": "ours.b", "type": kind, "payload": {} });
        foreign.act(order).await;
    }
    until("orders are refused", || civitas.counters().disobeyed >= 3).await;
    assert_eq!(starts(&runtime, "ours.b"), 1, "`_runtime` may not");
    foreign.ended().await;
    runtime.stop().await;
}

/// The restart command, from who may give it.
async fn a_runtime_has_our_agent_started_anew(place: impl Place) {
    let civitas = part(&place, |config| config.obey = vec!["_runtime".into()]);
    let runtime = serving(&civitas).await;
    let mut foreign = foreign_runtime(&place).await;
    learn(&mut foreign).await;
    // As a supervisor of civitas sends it; its registry must know the well-known name.
    let order = json!({
        "op": "restart", "agent_name": "ours.b",
    });
    assert_eq!(foreign.act(order).await, json!({}));
    until("it is obeyed", || starts(&runtime, "ours.b") == 2).await;
    assert_eq!(starts(&runtime, "ours.a"), 1);
    foreign.ended().await;
    runtime.stop().await;
}

/// Signed envelopes (v=2) both ways: the agent of a civitas runtime asks ours; who is not known, or
/// has another key, is not heard.
async fn a_runtime_that_signs_and_ours_trust_each_other(place: impl Place) {
    let folder = Folder::new();
    let key_dir = folder.0.join("keys");
    std::fs::create_dir_all(&key_dir).unwrap();
    let topology = json!({
        "transport": place.transport(),
        "supervision": { "name": "root", "children": [{ "agent": { "name": "caller", "type": "Caller" } }] },
        "security": { "identity": { "mode": "auto", "key_dir": key_dir }, "signing": { "enabled": true } },
    });
    let file = folder.0.join("topology.yaml");
    std::fs::write(&file, topology.to_string()).unwrap();
    let secret = |byte: u8| SecretKey::from_seed(&[byte; 32]);
    let keys = || {
        let mut keys = SigningKeys::new();
        for (name, byte) in [("lictor", 1), ("ours.a", 2), ("ours.b", 3)] {
            keys.set(name, secret(byte));
        }
        keys
    };
    // The broker runs here, so the foreign runtime starts after it.
    let keyring = Keyring::default();
    let stranger =
        signed_part(&place, |_| {}, Some(Signing::new(keys(), keyring, Policy::default())));
    let arguments = ["topology".to_owned(), file.display().to_string()];
    let mut foreign = Process::start("civitas_runtime.py", &arguments);
    foreign.event("ready").await;
    let public = std::fs::read(key_dir.join("caller/id_ed25519.pub")).unwrap();
    let mut keyring = Keyring::default();
    keyring.trust("caller", PublicKey::from_base64(public.trim_ascii()).unwrap()).unwrap();
    let signing = Signing::new(keys(), keyring, Policy::default());
    let civitas = signed_part(&place, |_| {}, Some(signing));
    let runtime = serving(&civitas).await;
    tokio::time::sleep(secs(2)).await;
    let ask = json!({ "op": "direct", "to": "ours.a", "payload": { "n": 1 } });
    let unknown = foreign.act(ask.clone()).await;
    assert!(unknown["error"].is_string(), "our announcements are not trusted yet: {unknown}");
    let trust = json!({ "op": "trust", "name": "lictor", "key": secret(1).public().to_base64() });
    assert_eq!(foreign.act(trust).await, json!({}));
    learn(&mut foreign).await;
    // The keys of our agents came with the announcements.
    let answer = foreign.act(ask).await;
    assert_eq!(answer["answer"]["got"], json!({ "n": 1 }), "{answer}");
    // Somebody who does not sign, and somebody whose key is another, are not heard.
    let heard = civitas.counters().received;
    let unsigned = part(&place, |config| config.node = "mallory".into());
    let mut forged = SigningKeys::new();
    forged.set("caller", secret(9));
    let forged = Signing::new(forged, Keyring::default(), Policy::default());
    let forger = signed_part(&place, |config| config.node = "caller".into(), Some(forged));
    until("both are refused", || {
        for evil in [&unsigned, &forger] {
            evil.send("ours.a", Message::new("crash", json!({})));
        }
        civitas.counters().unsigned >= 4
    })
    .await;
    assert_eq!(civitas.counters().received, heard, "nothing of it was taken");
    assert_eq!(starts(&runtime, "ours.a"), 1);
    drop(stranger);
    foreign.ended().await;
    runtime.stop().await;
}

//! Foreign agents under our supervisors.

use std::sync::Arc;

use lictor::prelude::*;
use lictor::{AskError, EventKind, Message, ReplyFailure, RuntimeConfig};
use lictor_civitas::{Civitas, StreamError, StreamLimits};
use lictor_runtime::conformance::Hub;
use serde_json::json;

use crate::played::{Played, Worker, executor, on_paused, ours, until};

fn echo(n: u64) -> Message {
    Message::new("echo", json!({ "n": n }))
}

async fn tree(civitas: &Civitas) -> Runtime {
    let runtime = Runtime::with_config(executor(), RuntimeConfig::default());
    let root = Supervisor::one_for_one("root")
        .max_restarts(10, secs(600))
        .backoff(Backoff::constant(ms(10)))
        .agent(civitas.remote("w"));
    runtime.start(root).await.unwrap();
    runtime
}

fn crashes(runtime: &Runtime) -> u64 {
    runtime.agents().iter().map(|agent| agent.starts - 1).sum()
}

#[test]
fn a_foreign_agent_is_reached_as_one_of_ours() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let worker = Worker::start(&hub, 1);
        let runtime = tree(&civitas).await;
        assert_eq!(runtime.ask("w", echo(7), secs(1)).await.unwrap(), json!({ "n": 7 }));
        // A payload that is no map is one there, with one entry.
        let bare = Message::new("echo", json!(5));
        assert_eq!(runtime.ask("w", bare, secs(1)).await.unwrap(), json!({ "value": 5 }));
        runtime.send("w", echo(1)).await.unwrap();
        until("it is handled", || worker.handled() == 3).await;
        assert_eq!(civitas.capable("sum"), [Arc::from("w")]);
        assert_eq!((civitas.open_calls(), civitas.counters().unsent), (0, 0));
        runtime.stop().await;
    });
}

#[test]
fn the_supervisor_may_start_before_the_worker() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let tree = tokio::spawn({
            let civitas = civitas.clone();
            async move { tree(&civitas).await }
        });
        tokio::time::sleep(secs(10)).await;
        assert!(!tree.is_finished());
        let _worker = Worker::start(&hub, 1);
        let runtime = tree.await.unwrap();
        assert_eq!(crashes(&runtime), 0, "waiting costs no budget");
        assert_eq!(runtime.ask("w", echo(7), secs(1)).await.unwrap(), json!({ "n": 7 }));
    });
}

// Defects: Z15, Z16
#[test]
fn a_crash_there_is_one_crash_here_and_what_was_queued_is_handled_after_it() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let worker = Worker::start(&hub, 1);
        let runtime = tree(&civitas).await;
        let crash = runtime.ask("w", Message::new("Crash", json!({})), secs(60)).await;
        let failed = AskError::Failed { name: "w".into(), failure: ReplyFailure::Crashed };
        assert_eq!(crash, Err(failed), "whoever asked is told at once");
        runtime.send("w", echo(1)).await.unwrap();
        until("it is handled by the next life", || worker.handled() == 1).await;
        tokio::time::sleep(secs(10)).await;
        assert_eq!(crashes(&runtime), 1);
        assert_eq!(worker.state.lock().unwrap().restarts, 1, "ordered once");
        runtime.stop().await;
    });
}

// Defect: Z16
#[test]
fn a_worker_that_starts_nobody_anew_any_more_is_found_out() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let worker = Worker::start(&hub, 1);
        worker.state.lock().unwrap().max_restarts = 0;
        let runtime = Runtime::with_config(executor(), RuntimeConfig::default());
        let root = Supervisor::one_for_one("root")
            .max_restarts(2, secs(600))
            .backoff(Backoff::constant(ms(10)))
            .agent(civitas.remote("w").start_timeout(secs(5)));
        runtime.start(root).await.unwrap();
        runtime.send("w", Message::new("Crash", json!({}))).await.unwrap();
        let terminated = runtime.terminated().await;
        assert!(!terminated.asked, "the budget is ours, and it is used up");
        let ordered = worker.state.lock().unwrap().seen["_agency.restart"];
        assert_eq!(ordered, 2, "one order for each start");
    });
}

// Defects: X4, Z34b
#[test]
fn a_process_that_is_killed_ends_its_questions_and_a_replacement_takes_over() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let worker = Worker::start(&hub, 1);
        let runtime = tree(&civitas).await;
        worker.state.lock().unwrap().silent = true;
        let asked = runtime.ask("w", echo(1), secs(60)).await;
        let failure = ReplyFailure::NoConnection;
        assert_eq!(asked, Err(AskError::Failed { name: "w".into(), failure }));
        worker.kill();
        let second = Worker::start(&hub, 2);
        until("the replacement answers", || !second.state.lock().unwrap().seen.is_empty()).await;
        assert_eq!(runtime.ask("w", echo(2), secs(30)).await.unwrap(), json!({ "n": 2 }));
        tokio::time::sleep(secs(30)).await;
        assert_eq!(crashes(&runtime), 1);
        assert_eq!(second.state.lock().unwrap().restarts, 0, "it was fresh");
        runtime.stop().await;
    });
}

// Defect: X1
#[test]
fn one_for_all_starts_a_foreign_sibling_anew_and_once() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let worker = Worker::start(&hub, 1);
        let runtime = Runtime::with_config(executor(), RuntimeConfig::default());
        let root = Supervisor::one_for_all("root")
            .max_restarts(10, secs(600))
            .agent(civitas.remote("w"))
            .child("c", || Local);
        runtime.start(root).await.unwrap();
        runtime.send("c", Message::new("crash", json!(null))).await.unwrap();
        until("both are new", || runtime.agents().iter().all(|agent| agent.starts == 2)).await;
        tokio::time::sleep(secs(10)).await;
        assert_eq!(worker.state.lock().unwrap().restarts, 1);
        assert!(runtime.agents().iter().all(|agent| agent.starts == 2), "and the innocent one too");
        assert_eq!(runtime.ask("w", echo(2), secs(1)).await.unwrap(), json!({ "n": 2 }));
        runtime.stop().await;
    });
}

struct Local;

impl Agent for Local {
    type Message = Message;

    async fn handle(&mut self, _: Message, _: &mut Context<Self>) -> Handled {
        Err(AgentError::new("on purpose"))
    }
}

#[test]
fn streams_are_consumed_whole_or_with_an_error() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let worker = Worker::start(&hub, 1);
        let _runtime = tree(&civitas).await;
        let limits = StreamLimits { first: secs(5), idle: secs(5) };
        let mut chunks = civitas.stream("w", "stream", json!({}), limits).unwrap();
        let mut got = Vec::new();
        while let Some(chunk) = chunks.next().await {
            got.push(chunk.unwrap());
        }
        assert_eq!(got, [json!({ "n": 0 }), json!({ "n": 1 })]);
        drop(chunks);
        // An agent that answers instead of streaming gives one chunk.
        let mut chunks = civitas.stream("w", "echo", json!({ "n": 9 }), limits).unwrap();
        assert_eq!(chunks.next().await, Some(Ok(json!({ "n": 9 }))));
        assert_eq!(chunks.next().await, None);
        drop(chunks);
        worker.state.lock().unwrap().silent = true;
        let mut chunks = civitas.stream("w", "stream", json!({}), limits).unwrap();
        let ended = chunks.next().await;
        assert!(
            matches!(ended, Some(Err(StreamError::Failed(_)))),
            "its process is lost: {ended:?}"
        );
        drop(chunks);
        assert_eq!(civitas.open_calls(), 0);
        let cancelled = || worker.state.lock().unwrap().seen.get("civitas.stream.cancel").copied();
        until("the one that did not end well is cancelled", || cancelled() == Some(1)).await;
    });
}

// Defects: Z19, X6, X7
#[test]
fn hostile_messages_are_counted_and_change_nothing() {
    on_paused(async {
        let hub = Hub::new();
        let civitas = ours(&hub, |_| {});
        let _worker = Worker::start(&hub, 1);
        let runtime = tree(&civitas).await;
        let mut events = runtime.events();
        let evil = Played::new(&hub, &[]);
        tokio::task::yield_now().await;
        for bytes in [vec![], vec![0xc1; 40], b"{}".to_vec(), vec![0x93; 100_000]] {
            for address in ["_agency.register", "_agency.deregister", "_agency.worker.restart"] {
                let frame = lictor::transport::Frame::new(bytes.clone());
                evil.broker.publish(address, frame).unwrap();
            }
        }
        evil.announce("w", "_agency.worker.000bcfe5-6801-7000-8000-000000000001.health");
        for name in ["", "a b", "x.*", "_runtime", "\u{e4}"] {
            evil.announce(name, "_agency.worker.x.health");
        }
        evil.say("_agency.register", "_agency.register", |message| {
            message.payload = lictor_wire::Map::from([
                ("name", lictor_wire::Value::from("w")),
                ("epoch", lictor_wire::Value::from("many")),
            ]);
        });
        tokio::time::sleep(secs(5)).await;
        let counters = civitas.counters();
        assert_eq!(counters.malformed, 12, "{counters:?}");
        assert_eq!(counters.unannounced, 1, "the older process");
        assert_eq!(civitas.foreign(), [(Arc::from("w"), true)]);
        assert_eq!(runtime.ask("w", echo(2), secs(1)).await.unwrap(), json!({ "n": 2 }));
        while let Some(event) = events.try_next() {
            assert!(!matches!(event.kind, EventKind::Crashed { .. }), "{event:?}");
        }
        runtime.stop().await;
    });
}

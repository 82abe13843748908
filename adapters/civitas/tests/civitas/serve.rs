//! Our agents for civitas processes.

use lictor::prelude::*;
use lictor::{Message, RuntimeConfig, agent};
use lictor_civitas::{Civitas, CivitasConfig, Signing};
use lictor_runtime::conformance::Hub;
use lictor_wire::{Float, Keyring, Map, Policy, SecretKey, SigningKeys, Unsigned, Value};
use serde_json::json;

use crate::played::{Played, executor, on_paused, ours_with, until};

/// Answers with what it was asked, counts, or crashes.
#[derive(Default)]
struct Echo(u64);

impl Agent for Echo {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, _: &mut Context<Self>) -> Handled {
        self.0 += 1;
        let sender = message.sender().unwrap_or_default().to_owned();
        match message.kind() {
            "crash" => return Err(AgentError::new("on purpose")),
            "count" => message.reply(json!({ "count": self.0, "sender": sender })),
            "list" => message.reply(json!([{ "n": 1 }, { "n": 2 }])),
            "huge" => message.reply(json!({ "text": huge() })),
            "huge list" => message.reply(json!([{ "n": 1 }, { "text": huge() }, { "n": 3 }])),
            _ => {
                let payload = message.take_payload();
                message.reply(payload);
            }
        }
        Ok(())
    }
}

/// More than fits a message.
fn huge() -> String {
    "x".repeat(2 << 20)
}

async fn serving(hub: &std::sync::Arc<Hub>, obey: &[&str]) -> (Civitas, Runtime) {
    serving_with(hub, obey, None).await
}

async fn serving_with(
    hub: &std::sync::Arc<Hub>,
    obey: &[&str],
    signing: Option<Signing>,
) -> (Civitas, Runtime) {
    let config = |config: &mut CivitasConfig| {
        config.obey = obey.iter().map(|name| (*name).into()).collect();
        config.announce_every = secs(10);
    };
    started(ours_with(hub, config, signing)).await
}

/// A runtime with the agent `e`, offered.
async fn started(civitas: Civitas) -> (Civitas, Runtime) {
    let runtime = Runtime::with_config(executor(), RuntimeConfig::default());
    let echo = agent("e", Echo::default).capabilities(["echo"]).mailbox_size(4);
    let root = Supervisor::one_for_one("root").max_restarts(10, secs(60)).agent(echo);
    runtime.start(root).await.unwrap();
    civitas.serve(&runtime);
    (civitas, runtime)
}

fn ask(played: &Played, to: &str, kind: &str, reply_to: &str) {
    played.say(to, kind, |message| {
        message.sender = "_runtime".to_owned();
        message.reply_to = Some(reply_to.to_owned());
        message.correlation_id = Some("c7".to_owned());
        message.payload = Map::from([("x", Value::from(true))]);
    });
}

#[test]
fn our_agents_are_announced_again_and_again_and_answer() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_agency.register", "_agency.deregister", "_reply.1.2"]);
        let (civitas, runtime) = serving(&hub, &[]).await;
        for _ in 0..3 {
            let mut heard = played.next("_agency.register").await;
            // The plumbing is announced as a civitas worker announces its own.
            while matches!(heard.payload.get("name"), Some(Value::Text(name)) if name.starts_with('_'))
            {
                heard = played.next("_agency.register").await;
            }
            assert_eq!(heard.payload.get("name"), Some(&Value::from("e")));
            let capabilities = Value::List(vec![Value::from("echo")]);
            assert_eq!(heard.payload.get("capabilities"), Some(&capabilities));
            assert_eq!((&*heard.sender, &*heard.recipient), ("lictor", "_agency.register"));
        }
        ask(&played, "e", "hello", "_reply.1.2");
        let answer = played.next("reply").await;
        assert_eq!(answer.payload, Map::from([("x", Value::from(true))]));
        assert_eq!((&*answer.sender, answer.correlation_id.as_deref()), ("e", Some("c7")));
        ask(&played, "e", "count", "_reply.1.2");
        let answer = played.next("reply").await;
        assert_eq!(answer.payload.get("sender"), Some(&Value::from("_runtime")));
        // A crash is told at once, in civitas' words.
        ask(&played, "e", "crash", "_reply.1.2");
        let answer = played.next("reply").await;
        assert_eq!(answer.payload.get("status"), Some(&Value::from("error")));
        civitas.withdraw().await;
        let gone = played.next("_agency.deregister").await;
        assert_eq!(gone.payload.get("name"), Some(&Value::from("e")));
        runtime.stop().await;
    });
}

#[test]
fn health_is_answered_and_orders_only_of_those_who_may() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_agency.register", "_reply.1.2", "watcher"]);
        let (civitas, runtime) = serving(&hub, &["boss"]).await;
        let heard = played.next("_agency.register").await;
        let Some(Value::Text(channel)) = heard.payload.get("health_channel") else { panic!() };
        ask(&played, channel, "_agency.health_probe", "_reply.1.2");
        let ack = played.next("_agency.health_ack").await;
        let Some(Value::Map(agents)) = ack.payload.get("agents") else { panic!("{ack:?}") };
        let Some(Value::Map(state)) = agents.get("e") else { panic!("{ack:?}") };
        assert_eq!(state.get("status"), Some(&Value::from("RUNNING")));
        assert_eq!(state.get("task_alive"), Some(&Value::from(true)));
        ask(&played, "e", "_agency.heartbeat", "_reply.1.2");
        assert_eq!(played.next("_agency.heartbeat_ack").await.sender, "e");
        let starts = || runtime.agents()[0].starts;
        for (kind, to, sender) in [
            ("_agency.shutdown", "e", "boss"),
            ("civitas.eval.halt", "e", "boss"),
            ("_agency.force_restart", "e", "mallory"),
            ("_agency.suspend", "e", "mallory"),
            ("_agency.restart", "_agency.worker.restart", "mallory"),
        ] {
            played.say(to, kind, |message| {
                message.sender = sender.to_owned();
                message.payload = Map::from([("agent_name", "e")]);
            });
        }
        tokio::time::sleep(secs(1)).await;
        assert_eq!((civitas.counters().disobeyed, starts()), (5, 1), "D51");
        played.say("_agency.worker.restart", "_agency.restart", |message| {
            message.sender = "boss".to_owned();
            message.payload = Map::from([("agent_name", "e")]);
        });
        until("it is obeyed", || starts() == 2).await;
        runtime.stop().await;
    });
}

// The policy takes messages of those who have no key; what they say they are is not known.
#[test]
fn an_unsigned_order_is_not_obeyed_where_signing_is_on() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_agency.register"]);
        let mut keys = SigningKeys::new();
        keys.set_node(SecretKey::from_seed(&[1; 32]));
        for name in ["lictor", "e"] {
            keys.set(name, SecretKey::from_seed(&[1; 32]));
        }
        let policy = Policy { unsigned: Unsigned::FromUnknown, ..Policy::default() };
        let signing = Signing::new(keys, Keyring::new(), policy);
        let (civitas, runtime) = serving_with(&hub, &["boss"], Some(signing)).await;
        tokio::time::sleep(secs(1)).await;
        for (kind, to) in [
            ("_agency.force_restart", "e"),
            ("_agency.suspend", "e"),
            ("_agency.restart", "_agency.worker.restart"),
        ] {
            played.say(to, kind, |message| {
                message.sender = "boss".to_owned();
                message.payload = Map::from([("agent_name", "e")]);
            });
        }
        tokio::time::sleep(secs(1)).await;
        assert_eq!((civitas.counters().disobeyed, runtime.agents()[0].starts), (3, 1));
        runtime.stop().await;
    });
}

#[test]
fn another_runtime_is_followed_from_when_it_is_served() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_agency.register"]);
        let (civitas, first) = serving(&hub, &[]).await;
        tokio::time::sleep(secs(1)).await;
        let second = Runtime::with_config(executor(), RuntimeConfig::default());
        civitas.serve(&second);
        tokio::time::sleep(secs(1)).await;
        let root = Supervisor::one_for_one("root").agent(agent("f", Echo::default));
        second.start(root).await.unwrap();
        let is_announced = async {
            while played.next("_agency.register").await.payload.get("name")
                != Some(&Value::from("f"))
            {}
        };
        tokio::time::timeout(secs(60), is_announced).await.expect("though the first one runs on");
        first.stop().await;
        second.stop().await;
    });
}

// Defects: Z20, D66
#[test]
fn a_full_mailbox_stops_nobody_else_and_a_message_may_be_too_old() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_reply.1.2"]);
        let (civitas, runtime) = serving(&hub, &[]).await;
        until("it is offered", || !civitas.counters().sent == 0 || civitas.counters().sent > 0)
            .await;
        for _ in 0..500 {
            played.say("e", "work", |_| {});
        }
        played.say("e", "work", |message| {
            message.ttl = Float::new(5.0);
            message.timestamp = Float::new(message.timestamp.get() - 6.0).unwrap();
        });
        ask(&played, "e", "count", "_reply.1.2");
        let answer = played.next("reply").await;
        assert_eq!(
            answer.payload.get("count"),
            Some(&Value::from(501_u64)),
            "in order, all of them"
        );
        let counters = civitas.counters();
        assert_eq!((counters.expired, counters.undelivered), (1, 0));
        runtime.stop().await;
    });
}

#[test]
fn a_list_is_a_stream_to_a_streaming_consumer() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["consumer"]);
        let (_civitas, runtime) = serving(&hub, &[]).await;
        tokio::time::sleep(secs(1)).await;
        ask(&played, "e", "list", "consumer");
        for n in 0..2 {
            let chunk = played.next("civitas.stream.chunk").await;
            assert_eq!((chunk.seq, &*chunk.sender), (Some(n), "e"));
            assert_eq!(chunk.payload.get("n"), Some(&Value::from(n.unsigned_abs() + 1)));
        }
        assert_eq!(played.next("civitas.stream.end").await.seq, Some(2));
        runtime.stop().await;
    });
}

// Whoever asks across a broker has nothing but its timeout otherwise.
#[test]
fn a_question_that_cannot_be_served_is_answered_at_once_and_says_why() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_reply.1.2", "consumer"]);
        let (civitas, runtime) = serving(&hub, &[]).await;
        tokio::time::sleep(secs(1)).await;
        let error = async |what: &str| {
            let answer = tokio::time::timeout(secs(1), played.next("reply")).await.expect(what);
            assert_eq!(answer.payload.get("status"), Some(&Value::from("error")), "{what}");
            assert_eq!((&*answer.sender, answer.correlation_id.as_deref()), ("e", Some("c7")));
            let Some(Value::Text(why)) = answer.payload.get("error") else { panic!("{answer:?}") };
            why.clone()
        };
        played.say("e", "hello", |message| {
            message.sender = "_runtime".to_owned();
            message.reply_to = Some("_reply.1.2".to_owned());
            message.correlation_id = Some("c7".to_owned());
            message.payload = Map::from([("raw", Value::Bytes(vec![0xff]))]);
        });
        let why = error("bytes are no JSON").await;
        assert!(why.contains("bytes"), "{why}");
        ask(&played, "e", "huge", "_reply.1.2");
        let why = error("an answer that no message can carry").await;
        assert!(why.contains("cannot be sent"), "{why}");
        ask(&played, "e", "huge list", "consumer");
        assert_eq!(played.next("civitas.stream.chunk").await.seq, Some(0));
        let ended = tokio::time::timeout(secs(1), played.next("civitas.stream.error")).await;
        assert_eq!(ended.expect("the stream ends").seq, Some(1));
        assert_eq!(civitas.counters().undelivered, 1, "two were handled");
        runtime.stop().await;
    });
}

#[test]
fn a_question_for_which_there_is_no_room_is_answered_at_once() {
    on_paused(async {
        let hub = Hub::new();
        let played = Played::new(&hub, &["_reply.1.2"]);
        let config = |config: &mut CivitasConfig| config.waiting = 0;
        let (civitas, runtime) = started(ours_with(&hub, config, None)).await;
        tokio::time::sleep(secs(1)).await;
        ask(&played, "e", "hello", "_reply.1.2");
        let answer = tokio::time::timeout(secs(1), played.next("reply")).await;
        let answer = answer.expect("it is told so");
        assert_eq!(answer.payload.get("status"), Some(&Value::from("error")));
        assert_eq!(civitas.counters().undelivered, 1);
        runtime.stop().await;
    });
}

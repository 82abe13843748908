//! Rows of the table on data and configuration, and what concerns messages in the others.

use std::collections::BTreeMap;

use lictor::prelude::*;
use lictor::{
    AgentTypes, EventKind, MemoryStore, Protocol as _, ReplyFailure, SendOptions, StateStore,
};
use serde_json::json;

use crate::dynamic::{Owner, Shout, owner};
use crate::support::*;

struct Selfish;

impl Agent for Selfish {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
        let mut refused = 0;
        for _ in 0..4 {
            refused += u32::from(cx.send(cx.name(), Message::new("note", 0)).await.is_err());
        }
        let asked = cx.ask(cx.name(), Message::new("note", 0), secs(9)).await;
        message.reply(json!([refused, asked.unwrap_err().to_string()]));
        Ok(())
    }
}

// Defect: D22
#[tokio::test(start_paused = true)]
async fn d22_an_agent_never_waits_for_itself() {
    let spec = root().agent(agent("selfish", || Selfish).mailbox_size(2));
    let tree = spec.start(&runtime()).await.unwrap();
    let (answer, took) =
        timed(tree.runtime().ask("selfish", Message::new("go", 0), secs(60))).await;
    let refused = answer.unwrap();
    assert_eq!((refused[0].as_u64(), took), (Some(2), 0));
    assert!(refused[1].as_str().unwrap().contains("its own answer"), "{refused}");
    tree.runtime().stop_within(ms(1)).await;
}

struct Ping;

impl Agent for Ping {
    type Message = Message;

    async fn handle(&mut self, message: Message, cx: &mut Context<Self>) -> Handled {
        if message.kind() == "go" {
            let to = if cx.name() == "a" { "b" } else { "a" };
            for _ in 0..4 {
                // Both wait for each other, until one gives up.
                let _ = cx.send(to, Message::new("ping", 0)).await;
            }
        }
        Ok(())
    }
}

// Defect: D22
#[tokio::test(start_paused = true)]
async fn d22_two_agents_that_fill_each_other_come_apart_again() {
    let runtime = runtime();
    let ping = |name: &str| agent(name, || Ping).mailbox_size(2);
    let tree = root().agent(ping("a")).agent(ping("b")).start(&runtime).await.unwrap();
    for name in ["a", "b"] {
        runtime.send(name, Message::new("go", 0)).await.unwrap();
    }
    settle().await;
    let (answer, took) = timed(runtime.ask("a", Message::new("ping", 0), secs(60))).await;
    assert!(matches!(answer, Err(AskError::Failed { failure: ReplyFailure::Unanswered, .. })));
    assert!(took <= 10_000, "two sends at most wait for 5 s each: {took}");
    tree.stop().await;
}

// Defect: D42
#[tokio::test(start_paused = true)]
async fn d42_the_store_keeps_copies() {
    let store = MemoryStore::default();
    store.set("a", json!({"n": 1, "list": []})).await.unwrap();
    let mut state = store.get("a").await.unwrap().unwrap();
    state["n"] = json!(99);
    state["list"].as_array_mut().unwrap().push(json!(1));
    assert_eq!(store.get("a").await.unwrap().unwrap(), json!({"n": 1, "list": []}));
}

#[derive(Default)]
struct Diary {
    state: Value,
}

impl Agent for Diary {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.state = cx.restore().await?.unwrap_or_else(|| json!({"n": 0, "list": []}));
        Ok(())
    }

    async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
        match message.kind() {
            "keep" => {
                self.state["n"] = json!(1);
                cx.checkpoint(&self.state).await?;
            }
            "scribble" => {
                self.state["n"] = json!(99);
                self.state["list"].as_array_mut().unwrap().push(json!("not kept"));
            }
            "infinite" => {
                let kept = cx.checkpoint(&f64::INFINITY).await;
                message.reply(kept.unwrap_err().to_string());
            }
            "crash" => panic!("as asked"),
            _ => message.reply(self.state.clone()),
        }
        Ok(())
    }
}

// Defect: D42
#[tokio::test(start_paused = true)]
async fn d42_what_was_not_checkpointed_does_not_survive() {
    let runtime = runtime();
    let tree = root().child("diary", Diary::default).start(&runtime).await.unwrap();
    for kind in ["keep", "scribble", "crash"] {
        runtime.send("diary", Message::new(kind, Value::Null)).await.unwrap();
    }
    let state = runtime.ask("diary", Message::new("get", Value::Null), secs(1)).await;
    assert_eq!(state, Ok(json!({"n": 1, "list": []})));
    tree.stop().await;
}

// Defect: D64
// Guards: a number that JSON does not have was kept as null, and the next start could not read it.
#[tokio::test(start_paused = true)]
async fn d64_a_checkpoint_that_could_not_be_read_again_is_refused() {
    let runtime = runtime();
    let tree = root().child("diary", Diary::default).start(&runtime).await.unwrap();
    let refused = runtime.ask("diary", Message::new("infinite", Value::Null), secs(1)).await;
    assert_eq!(refused, Ok(json!("a number is not finite")));
    runtime.send("diary", Message::new("crash", Value::Null)).await.unwrap();
    let state = runtime.ask("diary", Message::new("get", Value::Null), secs(1)).await;
    assert_eq!(state, Ok(json!({"n": 0, "list": []})));
    tree.stop().await;
}

messages! {
    enum Odd {
        Number(f64),
        Map(BTreeMap<u8, u8>),
        Nested(BTreeMap<(u8, u8), u8>),
        Huge(u128),
        Pair((u8, String)),
        AskNumber -> f64,
    }
}

// Defect: D64
#[test]
fn d64_a_payload_is_one_validated_value() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        // Guards: it became null in silence, and was not understood on the other side.
        let error = Odd::from(Number(number)).encode().unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
    let refused = [Odd::from(Huge(1 << 64)), Odd::from(Nested([((1, 2), 3)].into()))];
    assert!(refused.into_iter().all(|odd| odd.encode().is_err()));
    let pair = (7, "\u{fffd} \0 \u{1f600}".to_owned());
    for (message, payload) in [
        (Odd::from(Number(0.5)), json!(0.5)),
        (Odd::from(Map([(1, 2)].into())), json!({"1": 2})),
        (Odd::from(Huge(u128::from(u64::MAX))), json!(u64::MAX)),
        (Odd::from(Pair(pair.clone())), json!([7, pair.1])),
    ] {
        let encoded = message.encode().unwrap();
        assert_eq!(encoded.payload(), &payload);
        let again = Odd::decode(encoded).unwrap().encode().unwrap();
        assert_eq!(again.payload(), &payload, "what was sent is what arrives");
    }
}

struct Calculator;

impl Agent for Calculator {
    type Message = Odd;

    async fn handle(&mut self, odd: Odd, _: &mut Context<Self>) -> Handled {
        if let Odd::AskNumber(AskNumber, reply) = odd {
            reply.send(f64::NAN);
        }
        Ok(())
    }
}

// Defect: D64
#[tokio::test(start_paused = true)]
async fn d64_what_no_wire_can_carry_is_refused_where_it_is_sent() {
    let config = RuntimeConfig { encode_messages: true, ..RuntimeConfig::default() };
    let runtime = runtime_with(config);
    let tree = root().child("calculator", || Calculator).start(&runtime).await.unwrap();
    let calculator = tree.agent::<Calculator>("calculator").unwrap();
    let sent = calculator.send(Number(f64::NAN)).await;
    assert!(matches!(sent, Err(SendError::NotUnderstood { .. })), "{sent:?}");
    let (answer, took) = timed(calculator.ask(AskNumber, secs(9))).await;
    let unencodable = ReplyFailure::Unencodable;
    assert!(
        matches!(answer, Err(AskError::Failed { failure, .. }) if failure == unencodable),
        "{answer:?}"
    );
    assert_eq!((took, info(&runtime, "calculator").accepted), (0, 1));
    tree.stop().await;
}

// Defect: D63
#[tokio::test(start_paused = true)]
async fn d63_a_broadcast_reaches_agents_and_nobody_else() {
    let log = Log::default();
    let tree = root()
        .agent(Script::new(&log).agent("a.one"))
        .agent(Script::new(&log).agent("a.two"))
        .supervisor(Supervisor::one_for_one("a.sup").agent(Script::new(&log).agent("b")))
        .start(&runtime())
        .await
        .unwrap();
    assert_eq!(tree.runtime().broadcast("a.*", "Add", json!(1)).await, Ok(2));
    assert_eq!(tree.runtime().broadcast("*", "Add", json!(2)).await, Ok(3));
    tree.stop().await;
}

// Defect: D63
#[tokio::test(start_paused = true)]
async fn d63_a_broadcast_does_not_come_back_to_its_sender() {
    let log = Log::default();
    let tree = root()
        .agent(owner(&log, "a"))
        .agent(owner(&log, "b"))
        .supervisor(Supervisor::one_for_one("sup").agent(owner(&log, "c")))
        .dynamic(DynamicSupervisor::new("pool"))
        .start(&runtime())
        .await
        .unwrap();
    let a = tree.agent::<Owner>("a").unwrap();
    assert_eq!(a.ask(Shout, secs(1)).await, Ok(2));
    settle().await;
    assert_eq!(log.of("note"), ["note b 7", "note c 7"]);
    tree.stop().await;
}

// Defect: D66
#[tokio::test(start_paused = true)]
async fn d66_priority_can_be_used() {
    let spec = root().agent(Script::new(&Log::default()).agent("a"));
    let tree = spec.start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(10)).await.unwrap();
    settle().await;
    a.send(Add(1)).await.unwrap();
    a.send_priority(Add(2)).await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [2, 1]);
    tree.stop().await;
}

// Defect: D66
#[tokio::test(start_paused = true)]
async fn d66_a_message_can_have_a_time_to_live() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(100)).await.unwrap();
    settle().await;
    let ttl = |time| SendOptions::new().ttl(ms(time));
    a.send_with(Add(1), ttl(50)).await.unwrap();
    a.send_with(Add(2), ttl(500)).await.unwrap();
    a.send_with(Add(3), ttl(500).priority()).await.unwrap();
    runtime.raw("a").unwrap().send_with(Message::new("Add", 4), ttl(50)).await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [3, 2]);
    let expired = |kind: &EventKind| {
        matches!(kind, EventKind::DeadLetters { count: 1, reason: "expired", .. })
    };
    assert_eq!(drain(&mut events).iter().filter(|kind| expired(kind)).count(), 2);
    assert_conserved(&runtime);
    tree.stop().await;
}

// Defect: D51
#[tokio::test(start_paused = true)]
async fn d51_control_messages_cannot_be_sent() {
    let runtime = runtime();
    let victim = agent("raw", || Selfish).capabilities(["work"]);
    let tree = root().agent(victim).start(&runtime).await.unwrap();
    let (raw, typed) = (runtime.raw("raw").unwrap(), tree.agent::<Selfish>("raw").unwrap());
    for kind in [
        "civitas.eval.halt",
        "_agency.shutdown",
        "civitas.dynamic.spawn",
        "civitas.supervision.status",
        "civitas.stream.end",
    ] {
        let message = || Message::new(kind, Value::Null);
        let options = SendOptions::new().priority();
        let refused = [
            runtime.send("raw", message()).await,
            runtime.send_to_capable("work", message()).await,
            runtime.broadcast("*", kind, Value::Null).await.map(drop),
            raw.send(message()).await,
            raw.send_priority(message()).await,
            raw.send_with(message(), options).await,
            raw.try_send(message()),
            typed.raw().try_send(message()),
            // Guards: an agent of raw messages took them from a reference that knows its type.
            typed.send(message()).await,
            typed.send_priority(message()).await,
            typed.send_with(message(), options).await,
            typed.try_send(message()),
        ];
        for (door, sent) in refused.into_iter().enumerate() {
            let reserved = matches!(sent, Err(SendError::Reserved { .. }));
            assert!(reserved, "door {door}, {kind}: {sent:?}");
        }
        for asked in
            [runtime.ask("raw", message(), secs(1)).await, raw.ask(message(), secs(1)).await]
        {
            let reserved = matches!(asked, Err(AskError::NotSent(SendError::Reserved { .. })));
            assert!(reserved, "{kind}: {asked:?}");
        }
    }
    let victim = info(&runtime, "raw");
    assert_eq!((victim.status, victim.accepted), (lictor::Status::Running, 0));
    tree.runtime().stop_within(ms(1)).await;
}

// Defect: D51
#[tokio::test(start_paused = true)]
async fn d51_no_agent_can_send_another_one_control_messages() {
    struct Mallory;
    impl Agent for Mallory {
        type Message = Message;
        async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
            let halt = || Message::new("civitas.eval.halt", Value::Null);
            let sent = cx.send("victim", halt()).await.unwrap_err();
            let asked = cx.ask("victim", halt(), secs(1)).await.unwrap_err();
            let by_tag = cx.send_to_capable("work", halt()).await.unwrap_err();
            let to_all = cx.broadcast("*", "_agency.shutdown", Value::Null).await.unwrap_err();
            let tried = cx.runtime().raw("victim").unwrap().try_send(halt()).unwrap_err();
            let reserved = |text: String| text.contains("belong to the system");
            let refused = [sent, by_tag, to_all, tried].map(|error| error.to_string());
            let all = refused.into_iter().chain([asked.to_string()]).all(reserved);
            message.reply(all);
            Ok(())
        }
    }
    let log = Log::default();
    let runtime = runtime();
    let victim = Script::new(&log).agent("victim").capabilities(["work"]);
    let tree = root().child("mallory", || Mallory).agent(victim).start(&runtime).await.unwrap();
    let refused = runtime.ask("mallory", Message::new("go", 0), secs(1)).await;
    assert_eq!(refused, Ok(json!(true)));
    assert_eq!(info(&runtime, "victim").accepted, 0);
    tree.stop().await;
}

// Defect: D30
#[test]
fn d30_all_faults_of_a_file_are_told_with_their_places() {
    let yaml = b"
supervision:
  strategey: one_for_one
  max_restarts: three
  restart_window: 0
  children:
    - agent: { name: a, type: worker, mailbox_size: -1 }
transport: { type: zqm }
";
    let options = lictor::topology::Options::default();
    let faults = lictor::topology::parse("test.yaml", yaml, &options).unwrap_err().to_string();
    for place in
        ["test.yaml:3:3", "test.yaml:4:17", "test.yaml:5:19", "test.yaml:7:", "test.yaml:8:20"]
    {
        assert!(faults.contains(place), "{place} in {faults}");
    }
}

// Defect: "-" of table 4.1
#[tokio::test(start_paused = true)]
async fn d_every_option_can_be_set_in_a_file_and_every_crash_is_seen() {
    let yaml = b"
supervision:
  strategy: one_for_one
  backoff: none
  children:
    - supervisor:
        name: deep
        children:
          - agent:
              name: a
              type: worker
              mailbox_size: 2
              max_retries: 0
              shutdown_timeout: 50ms
              restart: temporary
          - agent: { name: b, type: worker, restart: permanent }
";
    let log = Log::default();
    let script = Script::new(&log).on_error(ErrorAction::Retry).stop_takes(secs(9));
    let types = AgentTypes::new().with("worker", move |_| Ok(script.worker()));
    let options = lictor::topology::Options::default();
    let topology = lictor::topology::parse("test.yaml", yaml, &options).unwrap();
    let spec = lictor::root_from_topology("test.yaml", &topology, &types).unwrap();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = spec.start(&runtime).await.unwrap();
    let (a, b) = (tree.agent::<Worker>("a").unwrap(), tree.agent::<Worker>("b").unwrap());
    a.send(Sleep(100)).await.unwrap();
    settle().await;
    a.send(Add(1)).await.unwrap();
    a.send(FailOn(2)).await.unwrap();
    assert!(matches!(a.try_send(Add(3)), Err(SendError::Full { .. })), "mailbox_size");
    let of_a = |kind: &EventKind| matches!(kind, EventKind::Crashed { name, .. } if &**name == "a");
    until(&mut events, of_a).await;
    assert_eq!(log.of("try").len(), 1, "max_retries: 0");
    settle().await;
    assert!(matches!(a.try_send(Add(4)), Err(SendError::Down { .. })), "restart: temporary");
    b.send(Finish).await.unwrap();
    started(&mut events, "b", 2).await;
    tree.stop().await;
}

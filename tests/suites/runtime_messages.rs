//! What becomes of messages: every one ends as handled, answered, refused with a typed error, or a
//! counted dead letter.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use lictor::prelude::*;
use lictor::{EventKind, InHandPolicy, Overflow, Protocol, ReplyFailure, SendOptions};
use proptest::prelude::*;
use serde_json::json;
use support::*;

async fn one(agent: AgentSpec) -> (Runtime, AgentRef<Worker>) {
    let runtime = runtime();
    let tree = root().agent(agent).start(&runtime).await.unwrap();
    let worker = tree.agent::<Worker>("a").unwrap();
    (runtime, worker)
}

/// One step of a random program.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add,
    Panic,
    Fail,
    Sleep,
    Ask,
    AskPanic,
    AskNothing,
    Let,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Add),
        1 => Just(Step::Panic),
        1 => Just(Step::Fail),
        1 => Just(Step::Sleep),
        1 => Just(Step::Ask),
        1 => Just(Step::AskPanic),
        1 => Just(Step::AskNothing),
        2 => Just(Step::Let),
    ]
}

async fn run_program(steps: Vec<Step>, size: u32, overflow: Overflow, policy: InHandPolicy) {
    let log = Log::default();
    let spec = Script::new(&log).agent("a").mailbox_size(size).overflow(overflow).in_hand(policy);
    let (runtime, a) = one(spec).await;
    for (at, step) in steps.into_iter().enumerate() {
        // Whether a message is taken does not matter here, only that it is accounted for.
        match step {
            Step::Add => drop(a.try_send(Add(at as u64))),
            Step::Panic => drop(a.try_send(Panic)),
            Step::Fail => drop(a.try_send(Fail)),
            Step::Sleep => drop(a.try_send(Sleep(5))),
            Step::Ask => drop(a.ask(Seen, ms(3)).await),
            Step::AskPanic => drop(a.ask(AskPanic, ms(3)).await),
            Step::AskNothing => drop(a.ask(AskNothing, ms(3)).await),
            Step::Let => settle().await,
        }
    }
    // With all messages handled, nothing is in hand.
    while info(&runtime, "a").queued > 0 {
        // sleeps: paused time moves on to the end of the message in hand
        tokio::time::sleep(ms(10)).await;
    }
    // sleeps: the last message in hand ends
    tokio::time::sleep(ms(10)).await;
    assert_conserved(&runtime);
    runtime.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    // Invariant: S12 (conservation of messages)
    #[test]
    fn every_message_is_accounted_for(
        steps in proptest::collection::vec(step(), 1..40),
        size in 1_u32..6,
        overflow in prop_oneof![
            Just(Overflow::Wait), Just(Overflow::Reject), Just(Overflow::DropOldest)],
        policy in prop_oneof![
            Just(InHandPolicy::Drop), Just(InHandPolicy::Redeliver), Just(InHandPolicy::DeadLetter)],
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time()
            .start_paused(true).build().unwrap();
        tokio.block_on(run_program(steps, size, overflow, policy));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_covers_the_wait_for_room_and_the_answer() {
    let (runtime, a) = one(Script::new(&Log::default()).agent("a").mailbox_size(1)).await;
    a.send(Sleep(10_000)).await.unwrap();
    settle().await;
    a.send(Add(1)).await.unwrap();
    let (answer, took) = timed(a.ask(Seen, ms(300))).await;
    assert!(matches!(answer, Err(AskError::Timeout { .. })), "{answer:?}");
    assert_eq!(took, 300, "no room");
    let (answer, took) = timed(a.ask(AskSleep(60_000), secs(30))).await;
    assert!(matches!(answer, Err(AskError::Timeout { .. })), "{answer:?}");
    assert_eq!(took, 30_000, "room after 10 s, and no answer in the 20 s that were left");
    runtime.stop_within(ms(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_not_delivered() {
    let log = Log::default();
    let (runtime, a) = one(Script::new(&log).agent("a")).await;
    assert!(matches!(a.ask(AskSleep(50), ms(10)).await, Err(AskError::Timeout { .. })));
    assert_eq!(a.ask(AskSleep(1), secs(1)).await, Ok(1), "not the late answer");
    assert_eq!(log.of("late"), ["late a#1"]);
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_fails_at_once() {
    let (runtime, a) = one(Script::new(&Log::default()).agent("a")).await;
    let (answer, took) = timed(a.ask(AskNothing, secs(30))).await;
    let unanswered = ReplyFailure::Unanswered;
    assert!(matches!(answer, Err(AskError::Failed { failure, .. }) if failure == unanswered));
    assert_eq!(took, 0);
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_does_what_its_policy_says() {
    let log = Log::default();
    let (runtime, a) = one(Script::new(&log).agent("a").mailbox_size(2)).await;
    a.send(Sleep(1_000)).await.unwrap();
    settle().await;
    a.send(Add(1)).await.unwrap();
    a.send(Add(2)).await.unwrap();
    assert!(matches!(a.try_send(Add(3)), Err(SendError::Full { .. })));
    let (sent, took) = timed(a.send(Add(4))).await;
    assert_eq!((sent, took), (Ok(()), 1_000), "it waited for room");
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [1, 2, 4]);
    runtime.stop().await;

    let spec = Script::new(&log).agent("a").mailbox_size(2).overflow(Overflow::DropOldest);
    let (runtime, a) = one(spec).await;
    let mut events = runtime.events();
    a.send(Sleep(1_000)).await.unwrap();
    settle().await;
    for number in 0..4 {
        a.send(Add(number)).await.unwrap();
    }
    let evicted = |kind: &EventKind| {
        matches!(kind, EventKind::DeadLetters { count: 1, reason: "evicted", .. })
    };
    assert_eq!(drain(&mut events).iter().filter(|kind| evicted(kind)).count(), 2);
    // sleeps: until the agent has room, so that the question evicts nothing
    tokio::time::sleep(secs(2)).await;
    assert_eq!(a.ask(Seen, secs(3)).await.unwrap(), [2, 3]);
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn errors_lead_to_what_the_agent_says() {
    let log = Log::default();
    let spec = Script::new(&log).on_error(ErrorAction::Retry).agent("a").max_retries(2);
    let (runtime, a) = one(spec).await;
    a.send(FailOn(7)).await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await, Ok(vec![]));
    assert_eq!(log.of("try"), ["try a#1 7"; 3], "once, and two retries");
    assert_eq!(log.of("start").len(), 2, "then it crashed");
    runtime.stop().await;

    log.take();
    let (runtime, a) = one(Script::new(&log).on_error(ErrorAction::Skip).agent("a")).await;
    a.send(FailOn(7)).await.unwrap();
    a.send(Add(1)).await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [1], "the same incarnation goes on");
    assert_eq!(info(&runtime, "a").dead_letters, 1);
    runtime.stop().await;

    log.take();
    let (runtime, a) = one(Script::new(&log).on_error(ErrorAction::Stop).agent("a")).await;
    let mut events = runtime.events();
    a.send(FailOn(7)).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::Stopped { .. })).await;
    settle().await;
    assert!(matches!(a.try_send(Add(1)), Err(SendError::Down { .. })), "transient: it stays down");
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_message_in_hand_at_a_crash_goes_where_the_policy_says() {
    for (policy, tries, dead) in [
        (InHandPolicy::Drop, 1, 1),
        (InHandPolicy::DeadLetter, 1, 1),
        (InHandPolicy::Redeliver, 3, 1),
    ] {
        let log = Log::default();
        let spec = Script::new(&log).agent("a").in_hand(policy).max_retries(2);
        let (runtime, a) = one(spec).await;
        a.send(FailOn(7)).await.unwrap();
        a.send(Add(1)).await.unwrap();
        while a.ask(Seen, secs(1)).await != Ok(vec![1]) {}
        assert_eq!(log.of("try").len(), tries, "{policy:?}");
        assert_eq!(info(&runtime, "a").dead_letters, dead, "{policy:?}");
        assert_conserved(&runtime);
        runtime.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_delivery_may_take_only_so_long() {
    let log = Log::default();
    let (runtime, a) = one(Script::new(&log).agent("a").handle_timeout(ms(100))).await;
    let mut events = runtime.events();
    let begin = tokio::time::Instant::now();
    a.send(Sleep(60_000)).await.unwrap();
    let crash = until(&mut events, |kind| matches!(kind, EventKind::Crashed { .. })).await;
    assert_eq!(begin.elapsed(), ms(100));
    let EventKind::Crashed { detail, .. } = crash else { unreachable!("it was looked for") };
    assert!(detail.contains("100ms"), "{detail}");
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_raw_message_is_understood_or_refused_at_the_sender() {
    let (runtime, a) = one(Script::new(&Log::default()).agent("a")).await;
    runtime.send("a", Message::new("Add", 5)).await.unwrap();
    let seen = runtime.ask("a", Message::new("Seen", Value::Null), secs(1)).await;
    assert_eq!(seen, Ok(json!([5])));
    let unknown = runtime.send("a", Message::new("Ad", 5)).await.unwrap_err();
    assert!(unknown.to_string().contains("known are Add, Seen"), "{unknown}");
    let misfit = runtime.send("a", Message::new("Add", "five")).await.unwrap_err();
    assert!(matches!(misfit, SendError::NotUnderstood { .. }), "{misfit}");
    let sent_question = runtime.send("a", Message::new("Seen", Value::Null)).await.unwrap_err();
    assert!(sent_question.to_string().contains("ask it"), "{sent_question}");
    assert!(matches!(runtime.raw("b"), Err(SendError::Unknown { .. })));
    assert!(matches!(runtime.raw("root"), Err(SendError::Unknown { .. })));
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [5]);
    runtime.stop().await;
}

#[tokio::test(start_paused = true)]
async fn encoding_every_message_changes_nothing() {
    for encode_messages in [false, true] {
        let config = RuntimeConfig { encode_messages, ..RuntimeConfig::default() };
        let log = Log::default();
        let runtime = runtime_with(config);
        let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
        let a = tree.agent::<Worker>("a").unwrap();
        a.send(Add(1)).await.unwrap();
        assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [1]);
        let failed = a.ask(AskPanic, secs(1)).await;
        let crashed = ReplyFailure::Crashed;
        assert!(matches!(failed, Err(AskError::Failed { failure, .. }) if failure == crashed));
        assert_eq!(a.ask(AskSleep(3), secs(1)).await, Ok(3));
        assert!(matches!(a.ask(AskNothing, secs(1)).await, Err(AskError::Failed { .. })));
        tree.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn capabilities_go_to_agents_that_run() {
    let log = Log::default();
    let runtime = runtime_with(RuntimeConfig {
        choice: lictor::Choice::RoundRobin,
        ..RuntimeConfig::default()
    });
    let mut spec = root();
    for name in ["a", "b", "c"] {
        spec = spec.agent(Script::new(&log).agent(name).capabilities(["text.count"]));
    }
    let tree = spec.start(&runtime).await.unwrap();
    let mut events = runtime.events();
    tree.agent::<Worker>("b").unwrap().send(Finish).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::Stopped { .. })).await;
    for number in 0..4 {
        runtime.send_to_capable("text.count", Message::new("Add", number)).await.unwrap();
    }
    settle().await;
    let mut added = log.of("add");
    added.sort();
    assert_eq!(added, ["add a#1 0", "add a#1 2", "add c#1 1", "add c#1 3"], "in turn, not to b");
    let none = runtime.send_to_capable("text.sing", Message::new("Add", 1)).await;
    assert!(matches!(none, Err(SendError::NoCapability { .. })));
    tree.stop().await;
}

struct Cache(u64);

impl Server for Cache {
    async fn handle_call(&mut self, request: Value, cx: &mut ServerContext<Self>) -> Answer {
        if request == json!("later") {
            cx.send_after(ms(10), lictor::ServerMessage::Info(json!({"add": 10})));
        }
        Ok(json!(self.0))
    }

    async fn handle_cast(&mut self, request: Value, _: &mut ServerContext<Self>) -> Handled {
        self.0 += request["n"].as_u64().ok_or("no n")?;
        Ok(())
    }

    async fn handle_info(&mut self, info: Value, _: &mut ServerContext<Self>) -> Handled {
        self.0 += info["add"].as_u64().unwrap_or(0);
        Ok(())
    }
}

type Answer = Result<Value, AgentError>;

#[tokio::test(start_paused = true)]
async fn a_generic_server_has_calls_casts_and_information() {
    let runtime = runtime();
    let tree = root().agent(Cache::spec("cache", || Cache(1))).start(&runtime).await.unwrap();
    runtime.cast("cache", json!({"n": 2})).await.unwrap();
    assert_eq!(runtime.call("cache", json!("get"), secs(1)).await, Ok(json!(3)));
    assert_eq!(runtime.call("cache", json!("later"), secs(1)).await, Ok(json!(3)));
    // sleeps: the server's own timer fires meanwhile
    tokio::time::sleep(ms(11)).await;
    assert_eq!(runtime.call("cache", json!("get"), secs(1)).await, Ok(json!(13)));
    assert!(tree.print().contains("[srv] cache (RUNNING)"), "{}", tree.print());
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_outlives_its_time_is_not_handled() {
    let log = Log::default();
    let (runtime, a) = one(Script::new(&log).agent("a")).await;
    a.send(Sleep(100)).await.unwrap();
    a.send_with(Add(1), SendOptions::new().ttl(ms(50))).await.unwrap();
    a.send_with(Add(2), SendOptions::new().ttl(ms(150))).await.unwrap();
    assert_eq!(a.ask(Seen, ms(500)).await.unwrap(), vec![2]);
    assert_eq!(info(&runtime, "a").dead_letters, 1);
    assert_conserved(&runtime);
}

#[tokio::test]
async fn a_typed_broadcast_reaches_those_that_understand_it() {
    struct Deaf;
    messages! { enum DeafMessage { Nothing } }
    impl Agent for Deaf {
        type Message = DeafMessage;
        async fn handle(
            &mut self,
            DeafMessage::Nothing(Nothing): DeafMessage,
            _: &mut Context<Self>,
        ) -> Handled {
            Ok(())
        }
    }
    let (runtime, log) = (runtime(), Log::default());
    let small = Script::new(&log).agent("a-2").mailbox_size(1);
    let tree = root().agent(Script::new(&log).agent("a-1")).agent(small).child("a-3", || Deaf);
    let tree = tree.agent(Script::new(&log).agent("b")).start(&runtime).await.unwrap();
    assert_eq!(runtime.broadcast_to::<Worker, _>("a-*", &Add(1)), Ok(2), "not the deaf, not b");
    // Nobody has run meanwhile, so the small mailbox is full; it keeps nobody from theirs.
    assert_eq!(runtime.broadcast_to::<Worker, _>("a-*", &Add(2)), Ok(1));
    assert!(matches!(
        runtime.broadcast_to::<Worker, _>(&"*".repeat(9_999), &Add(3)),
        Err(SendError::BadPattern { .. })
    ));
    tree.stop().await;
    assert_eq!(runtime.broadcast_to::<Worker, _>("a-*", &Add(4)), Ok(0), "their names are gone");
}

messages! {
    enum ParcelMessage {
        Parcel { to: String, weight: Option<u64> },
        Postage { weight: u64, } -> u64,
        Lost,
    }
}

#[test]
fn fields_with_names_are_a_map_on_the_way_and_come_back() {
    let parcel = Parcel { to: "shop".into(), weight: Some(3) };
    let raw = ParcelMessage::from(parcel.clone()).encode().unwrap();
    assert_eq!(raw.kind(), "Parcel");
    assert_eq!(raw.payload(), &json!({ "to": "shop", "weight": 3 }));
    let copy = ParcelMessage::decode(raw).unwrap().duplicate().unwrap();
    assert!(matches!(copy, ParcelMessage::Parcel(same) if same == parcel));
    // A payload without a field that must be there is refused, with the name of the field.
    let lacking = Message::new("Parcel", json!({ "weight": 3 }));
    let error = ParcelMessage::decode(lacking).unwrap_err();
    assert_eq!(error.to_string(), "Parcel: missing field `to`");
    assert!(matches!(
        ParcelMessage::decode(Message::new("Lost", 1)),
        Ok(ParcelMessage::Lost(Lost))
    ));
}

struct Post;

impl Agent for Post {
    type Message = ParcelMessage;

    async fn handle(&mut self, message: ParcelMessage, _: &mut Context<Self>) -> Handled {
        if let ParcelMessage::Postage(Postage { weight }, reply) = message {
            reply.send(weight * 2);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_with_named_fields_is_answered_typed_and_raw() {
    let runtime = Runtime::current().unwrap();
    let tree =
        Supervisor::one_for_one("root").child("post", || Post).start(&runtime).await.unwrap();
    let post = tree.agent::<Post>("post").unwrap();
    assert_eq!(post.ask(Postage { weight: 4 }, secs(1)).await, Ok(8));
    let raw = Message::new("Postage", json!({ "weight": 5 }));
    assert_eq!(runtime.raw("post").unwrap().ask(raw, secs(1)).await, Ok(10.into()));
    tree.stop().await;
}

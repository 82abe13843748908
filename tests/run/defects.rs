//! The proven defects of civitas 0.12, each by its id, the right way round. Those of the topology
//! parser (D30) are in its own tests; streaming (D28) does not exist here yet.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use lictor::prelude::*;
use lictor::{EventKind, ExitReason, MemoryStore, ReplyFailure, StateStore, Strategy};
use serde_json::json;
use support::*;

fn waits(backoff: Backoff) -> Supervisor {
    Supervisor::one_for_one("root").max_restarts(10, secs(60)).backoff(backoff)
}

// Defect: D01, D67
#[tokio::test(start_paused = true)]
async fn d01_a_crash_answers_the_asker_at_once() {
    let tree = waits(Backoff::constant(secs(9)))
        .agent(Script::new(&Log::default()).agent("a"))
        .start(&runtime())
        .await
        .unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    let (answer, took) = timed(a.ask(AskPanic, secs(30))).await;
    let crashed = ReplyFailure::Crashed;
    assert!(matches!(answer, Err(AskError::Failed { failure, .. }) if failure == crashed));
    assert_eq!(took, 0);
    tree.stop().await;
}

// Defect: D02
#[tokio::test(start_paused = true)]
async fn d02_backoff_never_blocks_the_supervisor() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let mut spec = waits(Backoff::constant(ms(500)));
    for at in 0..5 {
        spec = spec.agent(Script::new(&log).agent(&format!("a{at}")));
    }
    let tree = spec.dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    for at in 0..5 {
        tree.agent::<Worker>(&format!("a{at}")).unwrap().send(Panic).await.unwrap();
    }
    let ((), took) = timed(async {
        for at in 0..5 {
            started(&mut events, &format!("a{at}"), 2).await;
        }
    })
    .await;
    assert_eq!(took, 500, "all five wait side by side");
    tree.stop().await;
}

// Defect: D09
#[tokio::test(start_paused = true)]
async fn d09_a_stop_cancels_pending_restarts() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let spec = waits(Backoff::constant(secs(3))).agent(Script::new(&log).agent("a"));
    let tree = spec.start(&runtime).await.unwrap();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::RestartScheduled { .. })).await;
    let ((), took) = timed(tree.stop()).await;
    assert_eq!((took, log.of("start").len()), (0, 1), "at once, and nothing was resurrected");
}

// Defect: D13
#[tokio::test(start_paused = true)]
async fn d13_a_failed_start_is_retried_within_the_budget() {
    let log = Log::default();
    let script = Script::new(&log);
    let spec = waits(Backoff::constant(secs(1))).agent(script.agent("a"));
    let tree = spec.start(&runtime()).await.unwrap();
    script.fail_starts(3);
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Panic).await.unwrap();
    let (seen, took) = timed(a.ask(Seen, secs(30))).await;
    assert_eq!((seen, took), (Ok(vec![]), 4_000), "three failures and four waits");
    tree.stop().await;
}

// Defect: D08
#[tokio::test(start_paused = true)]
async fn d08_a_group_restart_is_in_order_and_never_half() {
    let log = Log::default();
    let (a, b, c) = (Script::new(&log), Script::new(&log), Script::new(&log));
    let tree = patient(Strategy::OneForAll)
        .agent(a.agent("a"))
        .agent(b.agent("b"))
        .agent(c.agent("c"))
        .start(&runtime())
        .await
        .unwrap();
    b.fail_starts(1);
    tree.agent::<Worker>("a").unwrap().send(Fail).await.unwrap();
    assert_eq!(tree.agent::<Worker>("c").unwrap().ask(Seen, secs(1)).await, Ok(vec![]));
    assert_eq!(log.of("stop")[..3], ["stop a#1", "stop c#1", "stop b#1"]);
    assert!(tree.runtime().agents().iter().all(|agent| agent.status == lictor::Status::Running));
    tree.stop().await;
}

// Defect: D04
#[tokio::test(start_paused = true)]
async fn d04_a_name_that_is_down_fails_fast() {
    let runtime = runtime();
    let mut events = runtime.events();
    let inner = Supervisor::one_for_one("inner").max_restarts(0, secs(1));
    let inner = inner.restart(Restart::Temporary);
    let tree = root()
        .supervisor(inner.agent(Script::new(&Log::default()).agent("a").mailbox_size(1)))
        .start(&runtime)
        .await
        .unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Panic).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::RestartsExhausted { .. })).await;
    settle().await;
    let (sent, took) = timed(a.send(Add(1))).await;
    assert!(matches!(sent, Err(SendError::Down { .. })), "{sent:?}");
    let (asked, took_too) = timed(a.ask(Seen, secs(30))).await;
    assert!(matches!(asked, Err(AskError::NotSent(SendError::Down { .. }))), "{asked:?}");
    assert_eq!((took, took_too), (0, 0));
    tree.stop().await;
}

// Defect: D68
#[tokio::test(start_paused = true)]
async fn d68_a_restarted_subtree_is_made_afresh() {
    let log = Log::default();
    let inner = Supervisor::one_for_one("inner").max_restarts(0, secs(1));
    let inner = inner.agent(Script::new(&log).agent("a")).agent(Script::new(&log).agent("b"));
    let tree = root().supervisor(inner).start(&runtime()).await.unwrap();
    let b = tree.agent::<Worker>("b").unwrap();
    b.send(Add(1)).await.unwrap();
    assert_eq!(b.ask(Seen, secs(1)).await.unwrap(), [1]);
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    settle().await;
    assert_eq!(
        b.ask(Seen, secs(1)).await,
        Ok(vec![]),
        "b did not crash, and is fresh all the same"
    );
    assert_eq!(log.count("start b#2"), 1);
    tree.stop().await;
}

// Defect: D11, D12
#[tokio::test(start_paused = true)]
async fn d12_exponential_backoff_saturates_on_a_monotonic_clock() {
    let policy = Backoff::exponential(secs(1), secs(60)).jitter(Jitter::Quarter);
    assert_eq!(policy.curve_delay(u32::MAX), secs(60));
    let mut prng = lictor::kernel::Prng::new(1);
    let mut state = lictor::kernel::BackoffState::default();
    let now = lictor::Instant::ZERO;
    let mut delays: Vec<_> =
        (0..50).map(|_| state.next_delay(&policy, 5_000, None, now, &mut prng)).collect();
    delays.sort();
    delays.dedup();
    assert!(delays.len() > 40 && delays.iter().all(|delay| (secs(45)..=secs(60)).contains(delay)));
    let (before, _) = (runtime().now(), tokio::time::advance(secs(5)).await);
    assert!(runtime().now() >= before, "the runtime's clock is the executor's, not the wall's");
}

// Defect: D10, D33
#[tokio::test(start_paused = true)]
async fn d10_one_deadline_bounds_the_whole_stop() {
    let log = Log::default();
    let mut spec = root();
    for at in 0..6 {
        spec = spec.agent(Script::new(&log).stop_takes(secs(4)).agent(&format!("a{at}")));
    }
    let tree = spec.start(&runtime()).await.unwrap();
    let ((), took) = timed(tree.runtime().stop_within(ms(500))).await;
    assert_eq!((took, log.of("gone").len()), (500, 6));
}

// Defect: D26
#[tokio::test(start_paused = true)]
async fn d26_senders_that_wait_for_room_survive_a_crash() {
    let spec = root().agent(Script::new(&Log::default()).agent("a").mailbox_size(2));
    let tree = spec.start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Panic).await.unwrap();
    let sends = (0..8).map(|number| {
        let a = a.clone();
        tokio::spawn(async move { a.send(Add(number)).await })
    });
    for send in sends.collect::<Vec<_>>() {
        assert_eq!(send.await.unwrap(), Ok(()));
    }
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), (0..8).collect::<Vec<_>>());
    tree.stop().await;
}

// Defect: D31
#[tokio::test(start_paused = true)]
async fn d31_a_failed_start_leaves_nothing() {
    let log = Log::default();
    let bad = Script::new(&log);
    bad.fail_starts(1);
    let runtime = runtime();
    let spec = || root().agent(Script::new(&log).agent("a")).agent(bad.agent("b"));
    assert!(spec().start(&runtime).await.is_err());
    assert_eq!(log.of("stop").len(), 2);
    assert!(runtime.raw("a").is_err());
    spec().start(&runtime).await.unwrap().stop().await;
}

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

// Defect: D58, D65
#[tokio::test(start_paused = true)]
async fn d58_the_end_of_the_root_is_an_event() {
    let runtime = runtime();
    let mut events = runtime.events();
    let spec = Supervisor::one_for_one("root").max_restarts(0, secs(1));
    let spec = spec.agent(Script::new(&Log::default()).agent("a"));
    let tree = spec.start(&runtime).await.unwrap();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::Crashed { .. })).await;
    let end = until(&mut events, |kind| matches!(kind, EventKind::Terminated { .. })).await;
    assert_eq!(end, EventKind::Terminated { reason: "restarts_exhausted", failed: false });
    assert_eq!(runtime.terminated().await.reason, ExitReason::RestartsExhausted);
}

async fn pool(script: &Script, pool: DynamicSupervisor) -> (Runtime, Tree) {
    let runtime = runtime_with(with_types(script));
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    (runtime, tree)
}

// Defect: D05a, D05b
#[tokio::test(start_paused = true)]
async fn d05_every_end_frees_the_name_and_the_budget() {
    let once = DynamicSupervisor::new("pool").max_restarts(1, secs(600)).backoff(NONE);
    let (runtime, tree) = pool(&Script::new(&Log::default()), once).await;
    for end in ["finish", "exhaust", "despawn"] {
        let mut events = runtime.events();
        runtime.spawn("pool", "worker", "q", Value::Null).await.expect(end);
        let q = tree.agent::<Worker>("q").unwrap();
        q.send(Panic).await.unwrap();
        assert_eq!(q.ask(Seen, secs(1)).await, Ok(vec![]), "a budget of its own, each time");
        match end {
            "finish" => q.send(Finish).await.unwrap(),
            "exhaust" => q.send(Panic).await.unwrap(),
            _ => runtime.despawn("q").await.unwrap(),
        }
        until(&mut events, |kind| matches!(kind, EventKind::Removed { .. })).await;
        settle().await;
        assert!(runtime.raw("q").is_err());
    }
    tree.stop().await;
}

// Defect: D05c
#[tokio::test(start_paused = true)]
async fn d05c_nothing_is_kept_of_children_that_are_gone() {
    let log = Log::default();
    let (runtime, tree) = pool(&Script::new(&log), DynamicSupervisor::new("pool")).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // The first of them also brings the one task that serves all timers.
    runtime.spawn("pool", "worker", "first", Value::Null).await.unwrap();
    runtime.despawn("first").await.unwrap();
    settle().await;
    let before = tasks();
    for at in 1..500 {
        let name = format!("w{at}");
        runtime.spawn("pool", "worker", &name, Value::Null).await.unwrap();
        runtime.despawn(&name).await.unwrap();
    }
    settle().await;
    assert_eq!((runtime.agents().len(), tasks()), (0, before));
    assert_eq!(log.of("gone").len(), 500);
    tree.stop().await;
}

// Defect: D05d
#[tokio::test(start_paused = true)]
async fn d05d_despawn_fails_pending_questions_at_once() {
    let (runtime, tree) = pool(&Script::new(&Log::default()), DynamicSupervisor::new("pool")).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let w = tree.agent::<Worker>("w").unwrap();
    let first = tokio::spawn({
        let w = w.clone();
        async move { timed(w.ask(AskSleep(90_000), secs(60))).await }
    });
    settle().await;
    let second = tokio::spawn(async move { timed(w.ask(Seen, secs(60))).await });
    settle().await;
    runtime.despawn("w").await.unwrap();
    let ((one, took), (two, took_too)) = (first.await.unwrap(), second.await.unwrap());
    assert!(one.is_err() && two.is_err() && took == 0 && took_too == 0);
    tree.stop().await;
}

// Defect: D06, D06b
#[tokio::test(start_paused = true)]
async fn d06_the_end_of_a_dynamic_supervisor_leaves_no_names_and_bad_requests_no_mark() {
    let runtime = runtime_with(with_types(&Script::new(&Log::default())));
    let tree = patient(Strategy::OneForAll)
        .dynamic(DynamicSupervisor::new("pool"))
        .agent(Script::new(&Log::default()).agent("a"))
        .start(&runtime)
        .await
        .unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    assert!(runtime.spawn("pool", "collections.OrderedDict", "x", Value::Null).await.is_err());
    assert!(runtime.raw("w").is_ok(), "the healthy child is untouched");
    let mut events = runtime.events();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    started(&mut events, "a", 2).await;
    assert!(runtime.raw("w").is_err());
    runtime.spawn("pool", "worker", "w", Value::Null).await.expect("the name is free");
    tree.stop().await;
}

// Defect: D62, D61
#[tokio::test(start_paused = true)]
async fn d62_dynamic_children_have_backoff_and_are_seen() {
    let log = Log::default();
    let (runtime, tree) = pool(&Script::new(&log), DynamicSupervisor::new("pool")).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    assert!(tree.print().contains("[agent] w (RUNNING)"));
    assert_eq!(runtime.agents().len(), 1);
    let w = tree.agent::<Worker>("w").unwrap();
    w.send(Panic).await.unwrap();
    let (_, took) = timed(w.ask(Seen, secs(9))).await;
    assert_eq!(took, 1_000, "civitas restarts 500 times in half a second");
    tree.stop().await;
}

messages! {
    enum Odd {
        Number(f64),
        Map(std::collections::BTreeMap<u8, u8>),
    }
}

// Defect: D64
#[test]
fn d64_a_payload_is_one_validated_value() {
    use lictor::Protocol as _;
    assert!(Odd::from(Number(f64::NAN)).encode().unwrap().payload().is_null());
    assert!(Odd::decode(Message::new("Number", Value::Null)).is_err(), "NaN does not come back");
    let map = Odd::from(Map([(1, 2)].into())).encode().unwrap();
    assert_eq!(map.payload(), &json!({"1": 2}), "keys are text");
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

// Defect: D51
#[tokio::test(start_paused = true)]
async fn d51_control_messages_cannot_be_sent() {
    let runtime = runtime();
    let tree = root().child("raw", || Selfish).start(&runtime).await.unwrap();
    for kind in ["civitas.eval.halt", "_agency.shutdown", "civitas.dynamic.spawn"] {
        let sent = runtime.send("raw", Message::new(kind, Value::Null)).await;
        assert!(matches!(sent, Err(SendError::Reserved { .. })), "{kind}: {sent:?}");
        assert!(runtime.ask("raw", Message::new(kind, Value::Null), secs(1)).await.is_err());
        assert!(runtime.broadcast("*", kind, Value::Null).await.is_err());
    }
    assert_eq!(info(&runtime, "raw").status, lictor::Status::Running);
    tree.runtime().stop_within(ms(1)).await;
}

//! What the actor crates of today get wrong, by their users' reports and by our probes: each here
//! the right way round.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use lictor::prelude::*;
use lictor::{EventKind, ReplyFailure, Strategy};
use support::*;

// Peer: a restart counter that resets after a gap gives up on every slow, steady crasher.
// Rule: W3
#[tokio::test(start_paused = true)]
async fn a_slow_steady_crasher_is_never_given_up() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = Supervisor::one_for_one("root")
        .max_restarts(2, secs(1))
        .backoff(NONE)
        .agent(Script::new(&log).agent("a"))
        .start(&runtime)
        .await
        .unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    for crash in 2..40 {
        // sleeps: the crashes are to be 0.7 s apart, so never more than two in a second
        tokio::time::sleep(ms(700)).await;
        a.send(Panic).await.unwrap();
        started(&mut events, "a", crash).await;
    }
    tree.stop().await;
}

// Peer: supervision events wait behind user messages in one mailbox.
#[tokio::test(start_paused = true)]
async fn a_restart_does_not_wait_for_anybodys_messages() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = root()
        .agent(Script::new(&log).agent("busy"))
        .agent(Script::new(&log).agent("a"))
        .start(&runtime)
        .await
        .unwrap();
    let busy = tree.agent::<Worker>("busy").unwrap();
    for _ in 0..50 {
        busy.send(Sleep(10)).await.unwrap();
    }
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Panic).await.unwrap();
    let ((), took) = timed(started(&mut events, "a", 2)).await;
    assert_eq!(took, 0, "50 messages of 10 ms wait elsewhere");
    tree.stop().await;
}

// Peer: siblings restart in the order of a hash map.
// Rules: V2, V8
#[tokio::test(start_paused = true)]
async fn siblings_start_in_order_in_every_tree() {
    for _ in 0..40 {
        let log = Log::default();
        let runtime = runtime();
        let mut events = runtime.events();
        let mut spec = patient(Strategy::OneForAll);
        for name in ["d", "b", "a", "c"] {
            spec = spec.agent(Script::new(&log).agent(name));
        }
        let tree = spec.start(&runtime).await.unwrap();
        tree.agent::<Worker>("b").unwrap().send(Panic).await.unwrap();
        started(&mut events, "c", 2).await;
        let starts = ["d#1", "b#1", "a#1", "c#1", "d#2", "b#2", "a#2", "c#2"];
        assert_eq!(log.of("start"), starts.map(|at| format!("start {at}")));
        assert_eq!(log.of("stop"), ["stop c#1", "stop a#1", "stop d#1"]);
        tree.stop().await;
    }
}

// Peer: the new incarnation starts before the old one's stop hook has ended.
// Rule: V26
#[tokio::test(start_paused = true)]
async fn incarnations_never_overlap() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let script = Script::new(&log).stop_takes(ms(50));
    let tree = root().agent(script.agent("a")).start(&runtime).await.unwrap();
    tree.agent::<Worker>("a").unwrap().send(Fail).await.unwrap();
    started(&mut events, "a", 2).await;
    assert_eq!(log.lines(), ["start a#1", "stop a#1", "gone a#1", "start a#2"]);
    tree.stop().await;
}

// Peer: messages that reach a child that is still starting are lost when it crashes.
#[tokio::test(start_paused = true)]
async fn what_came_during_the_start_survives_a_crash() {
    let log = Log::default();
    let runtime = runtime();
    let script = Script::new(&log).start_takes(ms(20));
    let tree = root().agent(script.agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Panic).await.unwrap();
    settle().await;
    assert_eq!(log.of("start").len(), 1, "the second incarnation is still starting");
    a.send(Panic).await.unwrap();
    for number in 0..10 {
        a.send(Add(number)).await.unwrap();
    }
    let seen = a.ask(Seen, secs(1)).await.unwrap();
    assert_eq!(seen, (0..10).collect::<Vec<_>>(), "by the third incarnation, all ten");
    tree.stop().await;
}

// Peer: a child that is never to be restarted is restarted by its sibling's strategy.
// Rule: V8
#[tokio::test(start_paused = true)]
async fn a_temporary_sibling_stays_down() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = patient(Strategy::OneForAll)
        .agent(Script::new(&log).agent("a"))
        .agent(Script::new(&log).agent("t").temporary())
        .agent(Script::new(&log).agent("z"))
        .start(&runtime)
        .await
        .unwrap();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    started(&mut events, "z", 2).await;
    assert_eq!((log.count("start t#1"), log.count("stop t#1")), (1, 1));
    assert_eq!(log.count("start t#2"), 0);
    let t = tree.agent::<Worker>("t").unwrap();
    assert!(matches!(t.try_send(Add(1)), Err(SendError::Down { .. })));
    tree.stop().await;
}

// Peer: what is queued behind a crash is lost, and the senders were told Ok.
#[tokio::test(start_paused = true)]
async fn what_is_queued_behind_a_crash_is_handled() {
    let log = Log::default();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.try_send(Panic).unwrap();
    for number in 0..10 {
        a.try_send(Add(number)).unwrap();
    }
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(log.of("add")[0], "add a#2 0");
    tree.stop().await;
}

// Peer: an ask that meets a crash waits for its whole time-out, or does not say whether the
// question was seen.
#[tokio::test(start_paused = true)]
async fn an_ask_that_meets_a_crash_is_told_at_once_that_it_was_seen() {
    let log = Log::default();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    let (answer, took) = timed(a.ask(AskPanic, secs(30))).await;
    let crashed = matches!(answer, Err(AskError::Failed { failure: ReplyFailure::Crashed, .. }));
    assert!(crashed && took == 0, "{answer:?} after {took} ms");
    assert_eq!(a.ask(Seen, secs(1)).await, Ok(vec![]), "the reference was kept");
    tree.stop().await;
}

// Peer: one crash under one-for-all takes the supervisor down when a sibling is busy.
#[tokio::test(start_paused = true)]
async fn one_crash_with_a_busy_sibling_is_one_restart() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = Supervisor::one_for_all("root")
        .max_restarts(1, secs(10))
        .backoff(NONE)
        .agent(Script::new(&log).agent("a"))
        .agent(Script::new(&log).agent("busy"))
        .start(&runtime)
        .await
        .unwrap();
    tree.agent::<Worker>("busy").unwrap().send(Sleep(60)).await.unwrap();
    settle().await;
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    started(&mut events, "busy", 2).await;
    assert_eq!(log.count("stop busy#1"), 1, "it finished its message and was stopped, not killed");
    tree.stop().await;
}

// Peer: on several threads a later send overtakes earlier ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_send_never_overtakes_an_earlier_one() {
    let log = Log::default();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    for number in 0..5_000 {
        a.send(Add(number)).await.unwrap();
    }
    assert_eq!(a.ask(Seen, secs(30)).await.unwrap(), (0..5_000).collect::<Vec<_>>());
    tree.stop().await;
}

// Peer: a restart with no backoff still goes through the timer wheel.
#[tokio::test(start_paused = true)]
async fn a_restart_without_backoff_takes_no_time() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    let ((), took) = timed(async {
        for crash in 2..100 {
            a.send(Panic).await.unwrap();
            started(&mut events, "a", crash).await;
        }
    })
    .await;
    assert_eq!(took, 0);
    let scheduled = drain(&mut events);
    let waits = |kind: &EventKind| matches!(kind, EventKind::RestartScheduled { .. });
    assert!(!scheduled.iter().any(waits));
    tree.stop().await;
}

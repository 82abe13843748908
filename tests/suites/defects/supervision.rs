//! Rows of the table on supervision.

use std::collections::BTreeSet;

use lictor::prelude::*;
use lictor::{EventKind, ExitReason, OnRootExit, ReplyFailure, RuntimeStatus, Status, Strategy};

use crate::support::*;

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

// Defect: D67
#[tokio::test(start_paused = true)]
async fn d67_a_flaky_agent_leaves_no_asker_waiting() {
    let tree =
        root().agent(Script::new(&Log::default()).agent("a")).start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    let (answers, took) = timed(async {
        let mut answers = Vec::new();
        for turn in 0..10 {
            answers.push(if turn % 3 == 0 {
                a.ask(AskPanic, secs(1)).await.is_ok()
            } else {
                a.ask(Seen, secs(1)).await.is_ok()
            });
        }
        answers
    })
    .await;
    assert_eq!(took, 0, "none ran into its time-out; civitas had 7 of 10 that did");
    assert_eq!(answers.iter().filter(|answered| **answered).count(), 6);
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

// Defect: D02
#[tokio::test(start_paused = true)]
async fn d02_the_supervisor_answers_while_a_child_waits() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let mut events = runtime.events();
    let tree = Supervisor::one_for_one("root")
        .backoff(Backoff::constant(secs(9)))
        .agent(Script::new(&log).agent("a"))
        .agent(Script::new(&log).agent("b"))
        .dynamic(DynamicSupervisor::new("pool"))
        .start(&runtime)
        .await
        .unwrap();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::RestartScheduled { .. })).await;
    let ((), took) = timed(async {
        runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
        runtime.suspend("b", "now").await.unwrap();
        assert!(runtime.suspend("a", "now").await.is_err(), "a has no process");
        tree.agent::<Worker>("w").unwrap().ask(Seen, secs(1)).await.unwrap();
    })
    .await;
    assert_eq!((took, info(&runtime, "a").starts), (0, 1));
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
    tokio::time::advance(secs(10)).await;
    settle().await;
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

// Defect: D13
#[tokio::test(start_paused = true)]
async fn d13_starts_that_keep_failing_use_the_budget_up() {
    let log = Log::default();
    let script = Script::new(&log);
    let runtime = runtime();
    let spec = Supervisor::one_for_one("root").max_restarts(3, secs(60)).agent(script.agent("a"));
    let tree = spec.start(&runtime).await.unwrap();
    script.fail_starts(u32::MAX);
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    let (_, took) = timed(runtime.terminated()).await;
    assert_eq!(log.of("fail").len(), 3, "three restarts, each tried");
    assert_eq!(took, 3_000, "each after its backoff");
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
    let mut lines = log.take();
    lines.retain(|line| !line.starts_with("gone"));
    assert_eq!(lines[..3], ["start a#1", "start b#1", "start c#1"]);
    assert_eq!(lines[3..6], ["stop a#1", "stop c#1", "stop b#1"], "in reverse; a had crashed");
    assert_eq!(lines[6..9], ["start a#2", "fail b#2", "stop b#2"], "the group comes half up");
    assert_eq!(lines[9..], ["stop a#2", "start a#3", "start b#3", "start c#2"], "and is redone");
    assert!(tree.runtime().agents().iter().all(|agent| agent.status == Status::Running));
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

// Defect: D04
#[tokio::test(start_paused = true)]
async fn d04_nothing_is_taken_for_an_agent_that_is_gone() {
    let runtime = runtime();
    let mut events = runtime.events();
    let gone = Script::new(&Log::default()).agent("a").temporary();
    let tree = root().agent(gone).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(10)).await.unwrap();
    settle().await;
    a.send(Panic).await.unwrap();
    let queued = tokio::spawn({
        let a = a.clone();
        async move { timed(a.ask(Seen, secs(60))).await }
    });
    until(&mut events, |kind| matches!(kind, EventKind::Crashed { .. })).await;
    let (answer, took) = queued.await.unwrap();
    assert_eq!((answer.unwrap_err().was_seen(), took), (Some(false), 10), "told at once");
    let ((), took) = timed(async {
        for number in 0..2_000 {
            assert!(matches!(a.send(Add(number)).await, Err(SendError::Down { .. })));
        }
    })
    .await;
    assert_eq!((took, info(&runtime, "a").queued), (0, 0));
    tree.stop().await;
}

// Defect: D04
#[tokio::test(start_paused = true)]
async fn d04_one_deadline_covers_the_wait_for_room_and_for_the_answer() {
    let spec = root().agent(Script::new(&Log::default()).agent("a").mailbox_size(1));
    let tree = spec.start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(200)).await.unwrap();
    settle().await;
    a.send(Sleep(50)).await.unwrap();
    let (no_room, took) = timed(a.ask(Seen, ms(100))).await;
    assert!(matches!(no_room, Err(AskError::Timeout { .. })), "{no_room:?}");
    assert_eq!(took, 100, "civitas did not count the wait for room");
    // There is room after 100 ms and a hand for it after 150 ms: 350 ms are left for the answer.
    let (too_late, took) = timed(a.ask(AskSleep(400), ms(500))).await;
    assert!(matches!(too_late, Err(AskError::Timeout { .. })), "{too_late:?}");
    assert_eq!(took, 500, "one deadline, not one for each wait");
    assert_eq!(a.ask(Seen, secs(1)).await, Ok(vec![]), "who gave up left nothing in the way");
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

// Defect: D68
#[tokio::test(start_paused = true)]
async fn d68_a_restart_of_any_level_makes_every_child_anew() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let leaf = |name: &str| Script::new(&log).agent(name);
    let low = Supervisor::one_for_one("low").agent(leaf("x")).agent(leaf("y"));
    let tree = patient(Strategy::OneForAll).agent(leaf("a")).supervisor(low).start(&runtime).await;
    let tree = tree.unwrap();
    for name in ["x", "y"] {
        let worker = tree.agent::<Worker>(name).unwrap();
        worker.send(Add(9)).await.unwrap();
        assert_eq!(worker.ask(Seen, secs(1)).await.unwrap(), [9]);
    }
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    started(&mut events, "y", 2).await;
    for name in ["x", "y"] {
        assert_eq!(tree.agent::<Worker>(name).unwrap().ask(Seen, secs(1)).await, Ok(vec![]));
    }
    tree.stop().await;
}

// Defect: D11
#[tokio::test(start_paused = true)]
async fn d11_the_restart_window_is_on_the_executors_clock() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let spec = Supervisor::one_for_one("root").max_restarts(2, secs(3_600)).backoff(NONE);
    let tree = spec.agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    let mut incarnation = 1;
    for _ in 0..5 {
        for _ in 0..2 {
            incarnation += 1;
            a.send(Panic).await.unwrap();
            started(&mut events, "a", incarnation).await;
        }
        // Hours pass, of which the wall clock knows nothing.
        tokio::time::advance(secs(3_600)).await;
    }
    for _ in 0..3 {
        a.send(Panic).await.unwrap();
        settle().await;
    }
    assert_eq!(runtime.status(), RuntimeStatus::Stopped, "three in one hour are too many");
}

// Defect: D12
#[test]
fn d12_exponential_backoff_saturates_and_spreads_at_the_cap() {
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
}

// Defect: D12
// Invariant: S6 (backoff within its bounds)
#[tokio::test(start_paused = true)]
async fn d12_restarts_at_the_cap_still_spread() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let policy = Backoff::exponential(secs(1), secs(8)).jitter(Jitter::Quarter);
    let mut spec = Supervisor::one_for_one("root").max_restarts(9_999, secs(9_999));
    for at in 0..20 {
        spec = spec.agent(Script::new(&log).agent(&format!("a{at}")));
    }
    let tree = spec.backoff(policy).start(&runtime).await.unwrap();
    for _ in 0..2 {
        drain(&mut events);
        for at in 0..20 {
            tree.agent::<Worker>(&format!("a{at}")).unwrap().try_send(Panic).unwrap();
        }
        let mut waits = BTreeSet::new();
        let mut back = 0;
        while back < 20 {
            match events.next().await.unwrap().kind {
                EventKind::RestartScheduled { delay, .. } => drop(waits.insert(delay)),
                EventKind::Started { .. } => back += 1,
                _ => {}
            }
        }
        assert!(waits.len() >= 15, "they do not all come back in one instant: {waits:?}");
        let in_bounds = |wait: &String| {
            let in_seconds = wait.strip_suffix('s').and_then(|n| n.parse::<f64>().ok());
            in_seconds.is_some_and(|n| (1.0..=8.0).contains(&n))
        };
        assert!(waits.iter().all(in_bounds), "{waits:?}");
    }
    tree.stop().await;
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

// Defect: D10, D33
#[tokio::test(start_paused = true)]
async fn d10_dynamic_children_stop_side_by_side() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log).stop_takes(ms(400))));
    let tree = root().dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    for at in 0..6 {
        runtime.spawn("pool", "worker", &format!("w{at}"), Value::Null).await.unwrap();
    }
    let ((), took) = timed(tree.stop()).await;
    assert_eq!((took, log.of("stop").len()), (400, 6), "not six times 400 ms");
}

// Defect: D26
#[tokio::test(start_paused = true)]
async fn d26_senders_that_wait_for_room_survive_a_crash() {
    let log = Log::default();
    let runtime = runtime();
    let spec =
        waits(Backoff::constant(secs(1))).agent(Script::new(&log).agent("a").mailbox_size(2));
    let tree = spec.start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(10)).await.unwrap();
    settle().await;
    a.send(Panic).await.unwrap();
    let sends = (0..8).map(|number| {
        let a = a.clone();
        tokio::spawn(async move { a.send(Add(number)).await })
    });
    let sends: Vec<_> = sends.collect();
    settle().await;
    let waiting = sends.iter().filter(|send| !send.is_finished()).count();
    assert_eq!((waiting, info(&runtime, "a").queued), (7, 2), "they wait when it crashes");
    for send in sends {
        assert_eq!(send.await.unwrap(), Ok(()));
    }
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), (0..8).collect::<Vec<_>>());
    assert_eq!(log.of("add").iter().filter(|line| line.starts_with("add a#2 ")).count(), 8);
    assert_conserved(&runtime);
    tree.stop().await;
}

struct Clumsy;

impl Agent for Clumsy {
    type Message = Order;

    async fn handle(&mut self, _: Order, _: &mut Context<Self>) -> Handled {
        Err("an error".into())
    }

    fn on_error(&mut self, _: &AgentError, _: u32) -> ErrorAction {
        panic!("and another one")
    }
}

// Defect: D65
#[tokio::test(start_paused = true)]
async fn d65_an_on_error_that_fails_is_a_crash() {
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = root().agent(agent("a", || Clumsy).temporary()).start(&runtime).await.unwrap();
    let a = tree.agent::<Clumsy>("a").unwrap();
    let asked = a.ask(Seen, secs(9)).await.unwrap_err();
    assert_eq!(asked.was_seen(), Some(true));
    // Guards: the panic passed by the loop, and the message counted as killed.
    assert!(asked.to_string().contains("crashed"), "{asked}");
    let crash = until(&mut events, |kind| matches!(kind, EventKind::Crashed { .. })).await;
    let EventKind::Crashed { detail, .. } = crash else { unreachable!("it was looked for") };
    assert_eq!(&*detail, "and another one");
    assert_eq!(info(&runtime, "a").status, Status::Crashed);
    assert_conserved(&runtime);
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

// Defect: D30b
#[tokio::test(start_paused = true)]
async fn d30b_a_name_used_twice_is_found_before_anything_starts() {
    let log = Log::default();
    let runtime = runtime();
    let twice = root()
        .agent(Script::new(&log).agent("a"))
        .supervisor(Supervisor::one_for_one("b").agent(Script::new(&log).agent("c")))
        .dynamic(DynamicSupervisor::new("c"));
    let error = twice.start(&runtime).await.unwrap_err();
    assert_eq!(error, StartError::DuplicateName { name: "c".into() });
    assert_eq!((log.lines().len(), runtime.status()), (0, RuntimeStatus::New));
    assert!(runtime.raw("a").is_err());
    // A fault that is found only when the names are taken already: they are given back.
    let significant = Script::new(&log).agent("b").permanent().significant();
    let impossible = root().agent(Script::new(&log).agent("a")).agent(significant);
    let error = impossible.start(&runtime).await.unwrap_err();
    assert!(matches!(error, StartError::BadSupervisor { .. }), "{error}");
    assert!(log.lines().is_empty() && runtime.raw("a").is_err());
    let good = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    assert_eq!(log.lines(), ["start a#1"]);
    good.stop().await;
}

// Defect: D58
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
    assert_eq!(runtime.status(), RuntimeStatus::Stopped, "by default it does not stay");
    assert!(runtime.raw("a").is_err());
}

// Defect: D58
// Invariant: S3 (the restarts of a window are bounded, the next one escalates once)
#[tokio::test(start_paused = true)]
async fn d58_escalation_reaches_the_root_and_an_explicit_end() {
    let log = Log::default();
    let config = RuntimeConfig { on_root_exit: OnRootExit::Stay, ..RuntimeConfig::default() };
    let runtime = runtime_with(config);
    let mut events = runtime.events();
    let inner = Supervisor::one_for_one("inner").max_restarts(3, secs(60)).backoff(NONE);
    let inner = inner.agent(Script::new(&log).agent("leaf"));
    let spec = Supervisor::one_for_one("root").max_restarts(2, secs(60)).backoff(NONE);
    let tree = spec.supervisor(inner).start(&runtime).await.unwrap();
    let leaf = tree.agent::<Worker>("leaf").unwrap();
    while runtime.status() == RuntimeStatus::Running {
        let _ = leaf.try_send(Panic);
        settle().await;
    }
    assert_eq!(log.of("start").len(), (3 + 1) * (2 + 1), "as civitas counts, too");
    assert_eq!(runtime.status(), RuntimeStatus::Failed);
    let told = drain(&mut events);
    let exhausted = |who: &str| {
        let named = |kind: &&EventKind| {
            matches!(kind, EventKind::RestartsExhausted { name, .. }
            if &**name == who)
        };
        told.iter().filter(named).count()
    };
    // Guards: a supervisor that ended in the step in which it gave up was named as the root.
    assert_eq!((exhausted("inner"), exhausted("root")), (3, 1));
    assert!(matches!(told.last(), Some(EventKind::Terminated { failed: true, .. })));
    assert_eq!(info(&runtime, "leaf").status, Status::Crashed);
    runtime.stop().await;
}

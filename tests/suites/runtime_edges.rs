//! Corners of the running runtime in which something once went wrong, or easily could.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lictor::prelude::*;
use lictor::{
    EventKind, OnRootExit, Overflow, RuntimeStatus, SendOptions, Shutdown, Status, Strategy,
};
use serde_json::json;
use support::*;

fn temp(log: &Log, name: &str) -> AgentSpec {
    Script::new(log).agent(name).temporary()
}

// Guards: a temporary child that had ended was forgotten by name, and the restart of its
// supervisor, whose plan still has it, waited for ever for a child that nobody could launch.
#[tokio::test(start_paused = true)]
async fn a_temporary_child_comes_again_with_its_whole_supervisor() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let inner = Supervisor::one_for_one("inner").max_restarts(0, secs(1));
    let inner = inner.agent(temp(&log, "t")).agent(Script::new(&log).agent("a"));
    let tree = root().supervisor(inner).start(&runtime).await.unwrap();
    let t = tree.agent::<Worker>("t").unwrap();
    t.send(Finish).await.unwrap();
    until(&mut events, |kind| matches!(kind, EventKind::Stopped { .. })).await;
    assert!(matches!(t.send(Add(1)).await, Err(SendError::Down { .. })));
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    started(&mut events, "a", 2).await;
    assert_eq!(t.ask(Seen, secs(1)).await, Ok(vec![]), "the same reference, a new incarnation");
    assert_eq!(runtime.broadcast("t", "Add", json!(1)).await, Ok(1), "known by name, too");
    runtime.suspend("t", "test").await.unwrap();
    tree.stop().await;
}

// Guards: a name that was given back and taken again within one step of the driver got lost: the
// new agent ran and nobody could reach it.
#[tokio::test(start_paused = true)]
async fn a_name_taken_in_the_step_in_which_it_was_given_back_is_reachable() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let pool = DynamicSupervisor::new("pool");
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    for _ in 0..20 {
        let w = runtime.agent::<Worker>("w").unwrap();
        w.try_send(Finish).unwrap();
        // The end of the old one and the spawns of the new one wait for the driver side by side.
        let spawns = (0..8).map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let spawned = runtime.spawn("pool", "worker", "w", Value::Null).await;
                    if spawned.is_ok() {
                        let w = runtime.agent::<Worker>("w").expect("it is up, so it is known");
                        return w.ask(Seen, secs(1)).await.is_ok();
                    }
                    tokio::task::yield_now().await;
                }
                false
            })
        });
        let mut reached = 0;
        for spawn in spawns.collect::<Vec<_>>() {
            reached += usize::from(spawn.await.unwrap());
        }
        assert_eq!(reached, 1, "exactly one spawn got the name, and it answers");
    }
    tree.stop().await;
}

// Guards: a suspension that the agent had not come to yet was not known, so a resume was refused
// and the agent slept for ever after; and a restart ended a suspension that nobody had lifted.
#[tokio::test(start_paused = true)]
async fn a_suspension_counts_at_once_and_outlives_a_restart() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let spec = Script::new(&log).agent("a").capabilities(["work"]);
    let tree = root().agent(spec).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(50)).await.unwrap();
    settle().await;
    runtime.suspend("a", "first").await.unwrap();
    runtime.resume("a", "me").await.expect("though the agent has not come to the suspension");
    assert_eq!(a.ask(Seen, secs(1)).await, Ok(vec![]));

    runtime.suspend("a", "second").await.unwrap();
    assert!(runtime.capable("work").is_err(), "it does not run, so it is not chosen");
    runtime.restart_agent("a", "me").await.unwrap();
    started(&mut events, "a", 2).await;
    a.send(Add(1)).await.unwrap();
    settle().await;
    assert_eq!(info(&runtime, "a").status, Status::Suspended);
    assert!(runtime.capable("work").is_err());
    assert_eq!(log.of("add"), [""; 0]);
    runtime.resume("a", "me").await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [1]);
    assert_eq!(&*runtime.capable("work").unwrap(), "a");
    tree.stop().await;
}

// Guards: an agent that was suspended and then crashed could not be resumed before it was back, and
// nobody heard of it afterwards.
#[tokio::test(start_paused = true)]
async fn a_suspension_can_be_lifted_while_the_agent_waits_for_its_restart() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let spec = Supervisor::one_for_one("root").backoff(Backoff::constant(secs(1)));
    let script = Script::new(&log).start_takes(secs(1));
    let tree = spec.agent(script.agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    for wait in [ms(500), ms(1_500)] {
        runtime.suspend("a", "a look").await.unwrap();
        runtime.restart_agent("a", "me").await.unwrap();
        until(&mut events, |kind| matches!(kind, EventKind::RestartScheduled { .. })).await;
        assert!(runtime.suspend("a", "once more").await.is_err());
        // sleeps: into the wait for the restart, then into the start itself
        tokio::time::sleep(wait).await;
        runtime.resume("a", "me").await.expect("whatever its process is doing");
        assert!(runtime.resume("a", "me").await.is_err(), "that was it");
        assert_eq!(a.ask(Seen, secs(5)).await, Ok(vec![]));
        assert_eq!(info(&runtime, "a").status, Status::Running);
    }
    tree.stop().await;
}

// Guards: the second of two requests to restart the same incarnation crashed the next one, too.
#[tokio::test(start_paused = true)]
async fn a_restart_asked_for_twice_is_one_restart() {
    let log = Log::default();
    let runtime = runtime();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(50)).await.unwrap();
    settle().await;
    runtime.restart_agent("a", "one").await.unwrap();
    runtime.restart_agent("a", "two").await.unwrap();
    a.ask(Seen, secs(1)).await.unwrap();
    settle().await;
    assert_eq!(log.of("start"), ["start a#1", "start a#2"]);
    tree.stop().await;
}

/// A message that is hard to drop.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a message that is hard to drop");
    }
}

impl lictor::Protocol for Bomb {
    fn decode(_: Message) -> Result<Self, lictor::DecodeError> {
        Err(lictor::DecodeError("not from outside".to_owned()))
    }

    fn encode(self) -> Result<Message, lictor::DecodeError> {
        Ok(Message::new("bomb", Value::Null))
    }
}

#[derive(Default)]
struct Store;

impl Agent for Store {
    type Message = Bomb;

    async fn handle(&mut self, bomb: Bomb, _: &mut Context<Self>) -> Handled {
        std::mem::forget(bomb);
        std::future::pending().await
    }
}

// Guards: the driver dropped what was queued, and died of a message whose `Drop` panics; from then
// on nothing in the runtime was supervised and no stop ended.
#[tokio::test(start_paused = true)]
async fn messages_that_panic_when_dropped_do_not_harm_the_driver() {
    let runtime = runtime();
    let store = agent("store", Store::default).shutdown(Shutdown::BrutalKill);
    let tree = root().agent(store.temporary()).start(&runtime).await.unwrap();
    let store = tree.agent::<Store>("store").unwrap();
    for _ in 0..3 {
        store.try_send(Bomb).unwrap();
    }
    settle().await;
    let ((), took) = timed(runtime.stop()).await;
    assert_eq!((took, runtime.status()), (0, RuntimeStatus::Stopped));
    assert!(matches!(store.try_send(Bomb), Err(SendError::Down { .. })));
}

// Guards: whoever waited for the end of a runtime that was stopped before it had started, or asked
// for its events after its end, waited for ever.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_runtime_that_is_over_is_told() {
    let log = Log::default();
    let never = runtime();
    assert_eq!(never.status(), RuntimeStatus::New);
    never.stop().await;
    assert!(never.terminated().await.asked);
    assert!(never.events().next().await.is_none());
    let spec = root().agent(Script::new(&log).agent("a"));
    assert!(matches!(spec.start(&never).await, Err(StartError::AlreadyStarted)));
    assert!(never.spawn("pool", "worker", "w", Value::Null).await.is_err());
    assert_eq!(log.lines(), [""; 0]);

    let ran = runtime();
    let tree = root().agent(Script::new(&log).agent("a")).start(&ran).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    tree.stop().await;
    let mut late = ran.events();
    assert!(late.next().await.is_none());
    assert!(matches!(a.ask(Seen, secs(9)).await, Err(AskError::NotSent(_))));
    assert!(ran.suspend("a", "").await.is_err());
}

// Guards: a host that goes away takes the driver with it; a stop from elsewhere then never ended.
#[test]
fn a_host_that_goes_away_leaves_nobody_waiting() {
    let host = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let log = Log::default();
    let (runtime, a) = host.block_on(async {
        let runtime = runtime();
        let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
        (runtime.clone(), tree.agent::<Worker>("a").unwrap())
    });
    drop(host);
    assert_eq!(log.of("gone"), ["gone a#1"]);
    let other = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    other.block_on(async {
        assert!(!runtime.terminated().await.asked);
        runtime.stop().await;
        assert_eq!(runtime.status(), RuntimeStatus::Stopped);
        assert!(matches!(a.try_send(Add(1)), Err(SendError::Down { .. })));
    });
}

// Guards: a start that missed its deadline was reported as "killed".
#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_says_so() {
    let log = Log::default();
    let slow = Script::new(&log).start_takes(secs(60)).agent("slow").start_timeout(ms(100));
    let spec = root().agent(Script::new(&log).agent("a")).agent(slow);
    let (started, took) = timed(spec.start(&runtime())).await;
    let Err(StartError::AgentFailed { name, detail }) = started.map(drop) else {
        panic!("it cannot have started")
    };
    assert_eq!((&*name, took), ("slow", 100));
    assert!(detail.contains("start_timeout"), "{detail}");
    assert_eq!(log.of("stop"), ["stop a#1"], "rolled back");
}

// Guards: the error of a failed start named the first agent that had ever failed during the start,
// though that one had been restarted since.
#[tokio::test(start_paused = true)]
async fn the_error_of_a_failed_start_names_the_agent_that_failed_it() {
    let log = Log::default();
    let runtime = runtime();
    let inner = Supervisor::one_for_one("inner").backoff(NONE);
    let inner = inner.agent(Script::new(&log).agent("recovers"));
    let last = Script::new(&log).start_takes(secs(1));
    last.fail_starts(1);
    let starting = tokio::spawn({
        let runtime = runtime.clone();
        let spec = root().supervisor(inner).agent(last.agent("last"));
        async move { spec.start(&runtime).await.map(drop) }
    });
    settle().await;
    assert_eq!(runtime.status(), RuntimeStatus::Starting);
    runtime.agent::<Worker>("recovers").unwrap().send(Panic).await.unwrap();
    let detail = "the start was to fail".to_owned();
    let failed = StartError::AgentFailed { name: "last".into(), detail };
    assert_eq!(starting.await.unwrap(), Err(failed));
    assert_eq!(log.of("start"), ["start recovers#1", "start recovers#2"]);
    assert_eq!(runtime.status(), RuntimeStatus::New);
}

// Guards: an agent found to block its thread while the runtime ran was never given up, so that the
// stop that came later did not end.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_agent_that_was_stuck_before_the_stop_does_not_keep_it() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let mut events = runtime.events();
    let tree = root().dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    runtime.agent::<Worker>("w").unwrap().send(Block(5_000)).await.unwrap();
    while log.of("block").is_empty() {
        tokio::task::yield_now().await;
    }
    let despawn = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.despawn("w").await }
    });
    until(&mut events, |kind| matches!(kind, EventKind::Unresponsive { .. })).await;
    let begin = std::time::Instant::now();
    tree.runtime().stop_within(secs(1)).await;
    assert!(begin.elapsed() < secs(3), "{:?}", begin.elapsed());
    assert!(despawn.await.is_ok(), "its asker was answered");
}

// Guards: a root that gave up by itself waited for ever for a child that blocks its thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_root_that_gives_up_does_not_wait_for_a_stuck_child() {
    let log = Log::default();
    let runtime = runtime();
    let tree = Supervisor::one_for_one("root")
        .max_restarts(0, secs(1))
        .agent(Script::new(&log).agent("stuck").shutdown(Shutdown::BrutalKill))
        .agent(Script::new(&log).agent("a"))
        .start(&runtime)
        .await
        .unwrap();
    tree.agent::<Worker>("stuck").unwrap().send(Block(6_000)).await.unwrap();
    while log.of("block").is_empty() {
        tokio::task::yield_now().await;
    }
    let begin = std::time::Instant::now();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    assert!(!runtime.terminated().await.asked);
    assert!(begin.elapsed() < secs(4), "{:?}", begin.elapsed());
}

// Guards: a despawn of a child that was being stopped with patience waited as long as that stop.
#[tokio::test(start_paused = true)]
async fn a_despawn_ends_a_child_that_is_already_stopping() {
    let log = Log::default();
    let script = Script::new(&log).stop_takes(secs(60));
    let runtime = runtime_with(with_types(&script));
    let tree = root().dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let stop = tokio::spawn({
        let runtime = runtime.clone();
        async move { timed(runtime.stop_agent("w", Drain::Current, secs(90))).await }
    });
    settle().await;
    let (ended, took) = timed(runtime.despawn("w")).await;
    assert_eq!((ended, took), (Ok(()), 0));
    assert_eq!(stop.await.unwrap(), (Ok(()), 0), "and whoever waited for the stop is told");
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_root_that_fails_and_stays_can_be_looked_at_and_stopped() {
    let log = Log::default();
    let config = RuntimeConfig { on_root_exit: OnRootExit::Stay, ..with_types(&Script::new(&log)) };
    let runtime = runtime_with(config);
    let mut events = runtime.events();
    let spec = Supervisor::one_for_one("root").max_restarts(0, secs(1));
    let spec = spec.agent(Script::new(&log).agent("a")).dynamic(DynamicSupervisor::new("pool"));
    let tree = spec.start(&runtime).await.unwrap();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    let end = until(&mut events, |kind| matches!(kind, EventKind::Terminated { .. })).await;
    assert_eq!(end, EventKind::Terminated { reason: "restarts_exhausted", failed: true });
    runtime.terminated().await;
    assert_eq!(runtime.status(), RuntimeStatus::Failed);
    assert!(matches!(runtime.send("a", Message::new("Add", 1)).await, Err(SendError::Down { .. })));
    assert!(runtime.spawn("pool", "worker", "w", Value::Null).await.is_err());
    assert!(tree.print().contains("[dyn] pool (STOPPED)"), "{}", tree.print());
    let ((), took) = timed(runtime.stop()).await;
    assert_eq!((took, runtime.status()), (0, RuntimeStatus::Stopped));
    assert_eq!(events.next().await, None);
}

// Guards: a failed start closed the intake of the start that followed it at once, which then hung.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_right_behind_a_failed_one_comes_up() {
    let log = Log::default();
    for _ in 0..200 {
        let runtime = runtime();
        let script = Script::new(&log);
        script.fail_starts(1);
        assert!(root().agent(script.agent("a")).start(&runtime).await.is_err());
        let again = root().agent(script.agent("a")).start(&runtime);
        let tree = tokio::time::timeout(secs(10), again).await.expect("it hangs").unwrap();
        tree.stop().await;
    }
}

// Invariant: S4 (start in order, stop in reverse)
#[tokio::test(start_paused = true)]
async fn what_happens_is_told_in_order() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let inner = Supervisor::one_for_one("inner").agent(Script::new(&log).agent("b"));
    let tree = patient(Strategy::RestForOne)
        .agent(Script::new(&log).agent("a"))
        .supervisor(inner)
        .start(&runtime)
        .await
        .unwrap();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    tree.agent::<Worker>("a").unwrap().ask(Seen, secs(1)).await.unwrap();
    settle().await;
    tree.stop().await;
    let told: Vec<String> = drain(&mut events)
        .into_iter()
        .map(|kind| {
            let json = serde_json::to_value(&kind).unwrap();
            format!("{} {}", json["event"].as_str().unwrap(), json["name"].as_str().unwrap())
        })
        .collect();
    let start = ["supervisor_starting inner", "started b", "supervisor_started inner"];
    let stop = ["stopped b", "supervisor_stopped inner"];
    let mut expected = vec!["supervisor_starting root", "started a"];
    expected.extend(start);
    expected.extend(["supervisor_started root", "crashed a"]);
    expected.extend(stop);
    expected.push("started a");
    expected.extend(start);
    expected.extend(stop);
    expected.extend(["stopped a", "supervisor_stopped root"]);
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_start_is_no_failure() {
    struct Idle;
    impl Agent for Idle {
        type Message = Order;
        async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
            cx.ignore_start();
            Ok(())
        }
        async fn handle(&mut self, _: Order, _: &mut Context<Self>) -> Handled {
            unreachable!("it never runs")
        }
    }
    let log = Log::default();
    let runtime = runtime();
    let spec = root().child("idle", || Idle).agent(Script::new(&log).agent("a"));
    let tree = spec.start(&runtime).await.unwrap();
    let idle = tree.agent::<Idle>("idle").unwrap();
    assert!(matches!(idle.try_send(Add(1)), Err(SendError::Down { .. })));
    assert_eq!(info(&runtime, "a").status, Status::Running);
    assert!(matches!(tree.agent::<Store>("a"), Err(SendError::WrongType { .. })));
    tree.stop().await;
}

#[derive(Default)]
struct Clocked(Option<lictor::TimerHandle>, Arc<AtomicUsize>);

impl Agent for Clocked {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
        match message.kind() {
            "set" => {
                let after = ms(message.payload().as_u64().unwrap());
                self.0 = Some(cx.send_after(after, Message::new("tick", cx.incarnation())));
            }
            "cancel" => self.0.take().unwrap().cancel(),
            "tick" => {
                self.1.fetch_add(1, Ordering::SeqCst);
                assert_eq!(message.payload(), &json!(cx.incarnation()), "a timer of its own");
            }
            "crash" => {
                // sleeps: what is due meanwhile is queued behind this message
                tokio::time::sleep(ms(message.payload().as_u64().unwrap())).await;
                panic!("as asked");
            }
            _ => message.reply(self.1.load(Ordering::SeqCst)),
        }
        Ok(())
    }
}

// Invariant: S8 (no deadline of a dead incarnation acts)
#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_unless_it_is_cancelled_or_its_incarnation_has_ended() {
    let ticks = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ticks);
    let make = move || Clocked(None, Arc::clone(&counter));
    let runtime = runtime();
    let tree = root().child("a", make).start(&runtime).await.unwrap();
    let send = |kind: &'static str, n: u64| runtime.send("a", Message::new(kind, n));
    let wait = |time| tokio::time::sleep(ms(time));
    send("set", 10).await.unwrap();
    // sleeps: the timer's own time
    wait(9).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 0);
    // sleeps: the timer's own time
    wait(20).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 1);
    send("set", 10).await.unwrap();
    send("cancel", 0).await.unwrap();
    // sleeps: the timer's own time
    wait(20).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 1, "cancelled");
    send("set", 10).await.unwrap();
    send("crash", 0).await.unwrap();
    // sleeps: the timer's own time
    wait(20).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 1, "gone with its incarnation");
    assert_eq!(info(&runtime, "a").starts, 2);
    send("set", 10).await.unwrap();
    send("crash", 20).await.unwrap();
    // sleeps: the timer's own time
    wait(100).await;
    assert_eq!(ticks.load(Ordering::SeqCst), 1, "also what was queued already");
    assert_eq!(info(&runtime, "a").starts, 3);
    tree.stop().await;
}

// Guards: a timer whose message pushed an older one out of a full mailbox lost that one in silence.
#[tokio::test(start_paused = true)]
async fn what_a_timer_pushes_out_is_a_dead_letter() {
    struct Ticker;
    impl Agent for Ticker {
        type Message = Message;
        async fn handle(&mut self, message: Message, cx: &mut Context<Self>) -> Handled {
            if message.kind() == "go" {
                cx.send_after(ms(5), Message::new("tick", 0));
                tokio::time::sleep(ms(50)).await;
            }
            Ok(())
        }
    }
    let runtime = runtime();
    let spec = agent("a", || Ticker).mailbox_size(1).overflow(Overflow::DropOldest);
    let tree = root().agent(spec).start(&runtime).await.unwrap();
    runtime.send("a", Message::new("go", 0)).await.unwrap();
    settle().await;
    runtime.send("a", Message::new("old", 0)).await.unwrap();
    // sleeps: until the message in hand has ended
    tokio::time::sleep(ms(60)).await;
    let a = info(&runtime, "a");
    assert_eq!((a.accepted, a.handled, a.dead_letters), (3, 2, 1));
    assert_conserved(&runtime);
    tree.stop().await;
}

// Guards: one full mailbox kept a broadcast from everybody behind it for the whole send time-out.
#[tokio::test(start_paused = true)]
async fn a_broadcast_passes_by_a_full_mailbox() {
    let log = Log::default();
    let runtime = runtime();
    let full = Script::new(&log).agent("a").mailbox_size(1);
    let tree = root().agent(full).agent(Script::new(&log).agent("b")).start(&runtime).await;
    let tree = tree.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(60_000)).await.unwrap();
    settle().await;
    a.send(Add(0)).await.unwrap();
    let (taken, took) = timed(runtime.broadcast("*", "Add", json!(1))).await;
    assert_eq!((taken, took), (Ok(1), 0));
    let endless = runtime.broadcast(&"*".repeat(9_999), "Add", json!(1)).await;
    assert!(matches!(endless, Err(SendError::BadPattern { .. })));
    assert_eq!(info(&runtime, "a").rejected, 1);
    tree.runtime().stop_within(ms(1)).await;
}

// Guards: a message that waited for room and was taken was counted as rejected as well.
#[tokio::test(start_paused = true)]
async fn only_what_was_refused_counts_as_rejected() {
    let log = Log::default();
    let runtime = runtime();
    let spec = root().agent(Script::new(&log).agent("a").mailbox_size(1));
    let tree = spec.start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(100)).await.unwrap();
    settle().await;
    a.send(Add(1)).await.unwrap();
    a.send(Add(2)).await.unwrap();
    assert_eq!(info(&runtime, "a").rejected, 0, "it waited, and was taken");
    a.send(Sleep(60_000)).await.unwrap();
    settle().await;
    a.send(Add(3)).await.unwrap();
    let sent = a.send_with(Add(4), SendOptions::new().timeout(ms(10))).await;
    assert!(matches!(sent, Err(SendError::Timeout { .. })));
    assert!(matches!(a.try_send(Add(5)), Err(SendError::Full { .. })));
    assert_eq!(info(&runtime, "a").rejected, 2);
    tree.runtime().stop_within(ms(1)).await;
}

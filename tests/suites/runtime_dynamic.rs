//! Children that come and go: spawn, despawn, stop, limits, and what their spawners are told.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use lictor::prelude::*;
use lictor::{AgentTypes, ControlError, EventKind, ReplyFailure};
use support::*;

async fn pool(script: &Script, pool: DynamicSupervisor) -> (Runtime, Tree) {
    let runtime = runtime_with(with_types(script));
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    (runtime, tree)
}

fn refusal(result: Result<(), ControlError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_spawned_agent_is_an_agent_like_any_other() {
    let log = Log::default();
    let (runtime, tree) = pool(&Script::new(&log), DynamicSupervisor::new("pool")).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let w = tree.agent::<Worker>("w").unwrap();
    w.send(Panic).await.unwrap();
    w.send(Add(1)).await.unwrap();
    assert_eq!(w.ask(Seen, secs(5)).await.unwrap(), [1], "restarted, mailbox kept");
    assert_eq!(info(&runtime, "w").supervisor.as_ref(), "pool");
    runtime.despawn("w").await.unwrap();
    assert!(runtime.raw("w").is_err());
    assert!(matches!(w.try_send(Add(1)), Err(SendError::Down { .. })));
    runtime.spawn("pool", "worker", "w", Value::Null).await.expect("the name is free");
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_spawned_is_refused_and_leaves_nothing() {
    let log = Log::default();
    let script = Script::new(&log);
    let limited = DynamicSupervisor::new("pool").max_children(Some(1)).max_total_spawns(Some(2));
    let (runtime, tree) = pool(&script, limited).await;
    let spawn = |name: &'static str| runtime.spawn("pool", "worker", name, Value::Null);
    assert!(refusal(runtime.spawn("pool", "os.system", "x", Value::Null).await).contains("type"));
    assert!(refusal(runtime.spawn("root", "worker", "x", Value::Null).await).contains("dynamic"));
    assert!(refusal(runtime.spawn("none", "worker", "x", Value::Null).await).contains("none"));
    assert!(refusal(spawn("not a name").await).contains("cannot be a name"));
    assert!(refusal(spawn("root").await).contains("in use"));
    script.fail_starts(1);
    assert!(refusal(spawn("x").await).contains("was to fail"));
    assert!(runtime.raw("x").is_err());
    spawn("x").await.expect("the failed spawn holds no place, though it was counted");
    assert!(refusal(spawn("y").await).contains("max_children"));
    runtime.despawn("x").await.unwrap();
    assert!(refusal(spawn("y").await).contains("max_total_spawns"));
    assert!(refusal(runtime.despawn("x").await).contains("x"));
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_configuration_is_refused_before_anything_starts() {
    #[derive(serde::Deserialize)]
    struct Config {
        _n: u64,
    }
    let log = Log::default();
    let script = Script::new(&log);
    let types = AgentTypes::new().with("worker", move |setup| {
        setup.config::<Config>()?;
        Ok(script.worker())
    });
    let runtime = runtime_with(RuntimeConfig { types, ..RuntimeConfig::default() });
    let tree = root().dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    let bad = runtime.spawn("pool", "worker", "w", serde_json::json!({"_n": "x"})).await;
    assert!(refusal(bad).contains("bad config"));
    runtime.spawn("pool", "worker", "w", serde_json::json!({"_n": 1})).await.unwrap();
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_what_it_was_told_to() {
    for (drain, handled) in [(Drain::Current, 0), (Drain::All, 3)] {
        let log = Log::default();
        let (runtime, tree) = pool(&Script::new(&log), DynamicSupervisor::new("pool")).await;
        runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
        let w = tree.agent::<Worker>("w").unwrap();
        w.send(Sleep(100)).await.unwrap();
        settle().await;
        for number in 0..3 {
            w.send(Add(number)).await.unwrap();
        }
        let (stopped, took) = timed(runtime.stop_agent("w", drain, secs(5))).await;
        assert_eq!((stopped, took), (Ok(()), 100), "the message in hand is finished");
        assert_eq!(log.of("add").len(), handled, "{drain:?}");
        assert_eq!(log.of("stop"), ["stop w#1"]);
        tree.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_takes_too_long_is_a_kill_and_askers_are_told() {
    let log = Log::default();
    let (runtime, tree) = pool(&Script::new(&log), DynamicSupervisor::new("pool")).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let w = tree.agent::<Worker>("w").unwrap();
    let in_hand = tokio::spawn({
        let w = w.clone();
        async move { w.ask(AskSleep(60_000), secs(90)).await }
    });
    settle().await;
    let queued = tokio::spawn(async move { w.ask(Seen, secs(90)).await });
    settle().await;
    let (stopped, took) = timed(runtime.stop_agent("w", Drain::Current, secs(2))).await;
    assert_eq!((stopped, took), (Ok(()), 2_000));
    let failure = |answer| match answer {
        Err(AskError::Failed { failure, .. }) => Some(failure),
        _ => None,
    };
    assert_eq!(failure(in_hand.await.unwrap().map(drop)), Some(ReplyFailure::Killed));
    assert_eq!(failure(queued.await.unwrap().map(drop)), Some(ReplyFailure::Down));
    tree.stop().await;
}

struct Boss(Log);

messages! {
    enum Task {
        Hire(String) -> String,
    }
}

impl Agent for Boss {
    type Message = Task;

    async fn handle(&mut self, message: Task, cx: &mut Context<Self>) -> Handled {
        let Task::Hire(Hire(name), reply) = message;
        let hired = cx.spawn("worker", &name, Value::Null).await;
        reply.send(hired.map_or_else(|error| error.to_string(), |()| "hired".into()));
        Ok(())
    }

    fn on_child_terminated(&mut self, child: &str, reason: &str) {
        self.0.say(format!("told {child} {reason}"));
    }
}

// Rule: Y6
#[tokio::test(start_paused = true)]
async fn a_spawner_is_told_of_every_end_and_spawns_under_the_nearest_supervisor() {
    let log = Log::default();
    let boss_log = log.clone();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let inner = Supervisor::one_for_one("inner")
        .dynamic(DynamicSupervisor::new("near").max_restarts(0, secs(1)))
        .child("boss", move || Boss(boss_log.clone()));
    let tree = root()
        .dynamic(DynamicSupervisor::new("far"))
        .supervisor(inner)
        .start(&runtime)
        .await
        .unwrap();
    let mut events = runtime.events();
    let boss = tree.agent::<Boss>("boss").unwrap();
    for name in ["done", "lost", "fired"] {
        assert_eq!(boss.ask(Hire(name.into()), secs(1)).await.unwrap(), "hired");
        assert_eq!(info(&runtime, name).supervisor.as_ref(), "near");
    }
    tree.agent::<Worker>("done").unwrap().send(Finish).await.unwrap();
    tree.agent::<Worker>("lost").unwrap().send(Panic).await.unwrap();
    runtime.despawn("fired").await.unwrap();
    for _ in 0..2 {
        let removed = |kind: &EventKind| matches!(kind, EventKind::Removed { .. });
        until(&mut events, removed).await;
    }
    settle().await;
    let mut told = log.of("told");
    told.sort();
    let expected =
        ["told done clean_exit", "told fired terminated", "told lost restarts_exhausted"];
    assert_eq!(told, expected);
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_spawner_cannot_use_up_what_belongs_to_all() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let pool = DynamicSupervisor::new("pool")
        .max_children_per_spawner(Some(1))
        .max_total_spawns_per_spawner(Some(2));
    let boss = |name: &str| {
        let log = log.clone();
        agent(name, move || Boss(log.clone()))
    };
    let tree = root().dynamic(pool).agent(boss("one")).agent(boss("two")).start(&runtime).await;
    let tree = tree.unwrap();
    let hire = async |who: &str, name: &str| {
        let boss = tree.agent::<Boss>(who).unwrap();
        boss.ask(Hire(name.into()), secs(1)).await.unwrap()
    };
    assert_eq!(hire("one", "w1").await, "hired");
    assert!(hire("one", "w2").await.contains("max_children_per_spawner"));
    assert_eq!(hire("two", "w2").await, "hired", "another one's share");
    runtime.despawn("w1").await.unwrap();
    assert_eq!(hire("one", "w3").await, "hired");
    runtime.despawn("w3").await.unwrap();
    assert!(hire("one", "w4").await.contains("max_total_spawns_per_spawner"));
    runtime.restart_agent("one", "test").await.unwrap();
    assert!(hire("one", "w4").await.contains("max_total"), "the spawner is the name");
    runtime.spawn("pool", "worker", "w4", Value::Null).await.expect("nobody's share");
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_static_child_is_stopped_and_started_by_its_supervisor() {
    let log = Log::default();
    let script = Script::new(&log);
    let runtime = runtime_with(with_types(&script));
    let tree = root().agent(script.agent("a")).dynamic(DynamicSupervisor::new("pool"));
    let tree = tree.start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    assert!(refusal(runtime.restart_child("a").await).contains("\"a\""), "it is up");
    runtime.terminate_child("a").await.unwrap();
    runtime.terminate_child("pool").await.expect("supervisors are children, too");
    tokio::time::sleep(secs(1)).await;
    assert!(matches!(a.try_send(Add(1)), Err(SendError::Down { .. })), "it is not restarted");
    assert_eq!(log.of("stop"), ["stop a#1"]);
    runtime.restart_child("a").await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [0; 0]);
    runtime.restart_child("pool").await.unwrap();
    tokio::time::sleep(secs(1)).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    assert!(refusal(runtime.terminate_child("w").await).contains("static"));
    assert!(refusal(runtime.restart_child("nobody").await).contains("nobody"));
    tree.stop().await;
    assert!(matches!(runtime.terminate_child("a").await, Err(ControlError::NotRunning)));
}

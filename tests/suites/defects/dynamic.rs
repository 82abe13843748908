//! Rows of the table on dynamic supervisors.

use lictor::prelude::*;
use lictor::{ControlError, EventKind, ReplyFailure, Strategy};
use lictor_runtime::conformance::remembered_spawners;
use serde_json::json;

use crate::support::*;

/// Holds a dynamic supervisor's children, and writes down what it is told of them.
pub(crate) struct Owner(Log);

messages! {
    pub(crate) enum Wish {
        Spawn(String) -> bool,
        Shout -> usize,
        Note(u64),
    }
}

impl Agent for Owner {
    type Message = Wish;

    async fn handle(&mut self, wish: Wish, cx: &mut Context<Self>) -> Handled {
        match wish {
            Wish::Spawn(Spawn(name), reply) => {
                reply.send(cx.spawn("worker", &name, Value::Null).await.is_ok());
            }
            Wish::Shout(Shout, reply) => {
                reply.send(cx.broadcast("*", "Note", json!(7)).await?);
            }
            Wish::Note(Note(number)) => self.0.say(format!("note {} {number}", cx.name())),
        }
        Ok(())
    }

    fn on_child_terminated(&mut self, child: &str, reason: &str) {
        self.0.say(format!("told {child} {reason}"));
    }
}

pub(crate) fn owner(log: &Log, name: &str) -> AgentSpec {
    let log = log.clone();
    agent(name, move || Owner(log.clone()))
}

async fn pool(script: &Script, pool: DynamicSupervisor) -> (Runtime, Tree) {
    let runtime = runtime_with(with_types(script));
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    (runtime, tree)
}

// Defect: D05a, D05b
#[tokio::test(start_paused = true)]
async fn d05_every_end_frees_the_name_and_the_budget() {
    let script = Script::new(&Log::default());
    let twice = DynamicSupervisor::new("pool").max_restarts(2, secs(600)).backoff(NONE);
    let (runtime, tree) = pool(&script, twice).await;
    for end in ["finish", "exhaust", "fail", "despawn", "stop"] {
        let mut events = runtime.events();
        runtime.spawn("pool", "worker", "q", Value::Null).await.expect(end);
        let q = tree.agent::<Worker>("q").unwrap();
        q.send(Panic).await.unwrap();
        assert_eq!(q.ask(Seen, secs(1)).await, Ok(vec![]), "a budget of its own, each time");
        match end {
            "finish" => q.send(Finish).await.unwrap(),
            "exhaust" => {
                q.send(Panic).await.unwrap();
                q.send(Panic).await.unwrap();
            }
            "fail" => {
                script.fail_starts(1);
                q.send(Panic).await.unwrap();
            }
            "stop" => runtime.stop_agent("q", Drain::All, secs(1)).await.unwrap(),
            _ => runtime.despawn("q").await.unwrap(),
        }
        until(&mut events, |kind| matches!(kind, EventKind::Removed { .. })).await;
        settle().await;
        assert!(runtime.raw("q").is_err());
    }
    tree.stop().await;
}

// Defect: D05b
#[tokio::test(start_paused = true)]
async fn d05b_a_budget_dies_with_its_child() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let pool = DynamicSupervisor::new("pool").max_restarts(2, secs(600)).backoff(NONE);
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    for _ in 0..5 {
        runtime.spawn("pool", "worker", "z", Value::Null).await.unwrap();
        let z = runtime.agent::<Worker>("z").unwrap();
        for _ in 0..2 {
            z.send(Panic).await.unwrap();
        }
        assert_eq!(z.ask(Seen, secs(1)).await, Ok(vec![]), "two crashes are within a new budget");
        runtime.despawn("z").await.unwrap();
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

// Defect: D05c
// Guards: the totals of a spawner were kept when it had gone, each under an id that never returns.
#[tokio::test(start_paused = true)]
async fn d05c_nothing_is_kept_of_spawners_that_are_gone() {
    let log = Log::default();
    let mut config = with_types(&Script::new(&log));
    config.types = config.types.with_spec("owner", move |setup| Ok(owner(&log, &setup.name)));
    let runtime = runtime_with(config);
    let pool = DynamicSupervisor::new("pool").max_total_spawns_per_spawner(Some(1));
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    for (at, order) in [["owner", "child"], ["child", "owner"]].into_iter().enumerate() {
        runtime.spawn("pool", "owner", "owner", Value::Null).await.unwrap();
        let owner = tree.agent::<Owner>("owner").unwrap();
        for (name, granted) in [("child", true), ("more", false)] {
            assert_eq!(owner.ask(Spawn(name.into()), secs(1)).await, Ok(granted), "{at} {name}");
        }
        assert_eq!(remembered_spawners(&runtime), 1);
        for name in order {
            runtime.despawn(name).await.unwrap();
        }
        assert_eq!(remembered_spawners(&runtime), 0, "the last to go was {}", order[1]);
    }
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
    let failure = |answer: &AskError| match answer {
        AskError::Failed { failure, .. } => Some(*failure),
        _ => None,
    };
    assert_eq!(failure(&one.unwrap_err()), Some(ReplyFailure::Killed), "it was in hand");
    assert_eq!(failure(&two.unwrap_err()), Some(ReplyFailure::Down), "it was queued");
    assert_eq!((took, took_too), (0, 0));
    tree.stop().await;
}

// Defect: D06
#[tokio::test(start_paused = true)]
async fn d06_the_end_of_a_dynamic_supervisor_leaves_no_names() {
    let runtime = runtime_with(with_types(&Script::new(&Log::default())));
    let tree = patient(Strategy::OneForAll)
        .dynamic(DynamicSupervisor::new("pool"))
        .agent(Script::new(&Log::default()).agent("a"))
        .start(&runtime)
        .await
        .unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let mut events = runtime.events();
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    started(&mut events, "a", 2).await;
    assert!(runtime.raw("w").is_err());
    runtime.spawn("pool", "worker", "w", Value::Null).await.expect("the name is free");
    assert_eq!(info(&runtime, "w").starts, 1, "another agent of the same name");
    tree.stop().await;
}

// Defect: D06
// Invariant: S9 (a name has one live owner, and is given back before it is taken again)
#[tokio::test(start_paused = true)]
async fn d06_spawners_are_told_when_a_dynamic_supervisor_is_restarted() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let mut events = runtime.events();
    let tree = patient(Strategy::RestForOne)
        .agent(owner(&log, "owner"))
        .agent(Script::new(&log).agent("a"))
        .dynamic(DynamicSupervisor::new("pool"))
        .start(&runtime)
        .await
        .unwrap();
    let owner = tree.agent::<Owner>("owner").unwrap();
    for name in ["w1", "w2"] {
        assert_eq!(owner.ask(Spawn(name.into()), secs(1)).await, Ok(true));
    }
    let old = runtime.agent::<Worker>("w1").unwrap();
    let asked = tokio::spawn({
        let old = old.clone();
        async move { timed(old.ask(AskSleep(60_000), secs(90))).await }
    });
    settle().await;
    tree.agent::<Worker>("a").unwrap().send(Panic).await.unwrap();
    let pool_is_up = |kind: &EventKind| match kind {
        EventKind::SupervisorStarted { name } => &**name == "pool",
        _ => false,
    };
    for _ in 0..2 {
        until(&mut events, pool_is_up).await;
    }
    assert_eq!(owner.ask(Spawn("w1".into()), secs(1)).await, Ok(true), "the name is free");
    let mut told = log.of("told");
    told.sort();
    assert_eq!(told, ["told w1 supervisor_stopped", "told w2 supervisor_stopped"]);
    let (answer, _) = asked.await.unwrap();
    assert!(matches!(answer, Err(AskError::Failed { failure: ReplyFailure::Killed, .. })));
    assert!(old.try_send(Add(1)).is_err(), "a reference means the agent that it was made for");
    tree.stop().await;
}

// Defect: D06b
#[tokio::test(start_paused = true)]
async fn d06b_a_bad_request_is_an_error_and_leaves_no_mark() {
    let script = Script::new(&Log::default());
    let mut config = with_types(&script);
    config.types = config.types.with("panics", |_| Ok(|| -> Worker { panic!("no worker") }));
    let runtime = runtime_with(config);
    let pool = DynamicSupervisor::new("pool").max_children(Some(2));
    let tree = root().agent(script.agent("a")).dynamic(pool).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let before = runtime.agents();
    for (supervisor, kind, name, error) in [
        ("pool", "collections.OrderedDict", "x", "no agent type"),
        ("pool", "panics", "x", "no worker"),
        ("pool", "worker", "w", "in use"),
        ("pool", "worker", "a", "in use"),
        ("pool", "worker", "pool", "in use"),
        ("pool", "worker", "", "name"),
        ("pool", "worker", "_agency.x", "name"),
        ("nobody", "worker", "x", "nothing has the name"),
        ("a", "worker", "x", "not running"),
        ("root", "worker", "x", "not a dynamic one"),
    ] {
        let refused = runtime.spawn(supervisor, kind, name, Value::Null).await.unwrap_err();
        assert!(refused.to_string().contains(error), "{supervisor} {kind} {name}: {refused}");
        assert_eq!(runtime.agents(), before, "the healthy children are untouched: {refused}");
    }
    script.fail_starts(1);
    let failed = runtime.spawn("pool", "worker", "x", Value::Null).await;
    assert!(matches!(failed, Err(ControlError::StartFailed { .. })), "{failed:?}");
    runtime.spawn("pool", "worker", "x", Value::Null).await.expect("no refusal used a place up");
    tree.stop().await;
}

// Defect: D62
#[tokio::test(start_paused = true)]
async fn d62_dynamic_children_have_backoff() {
    let (runtime, tree) = pool(&Script::new(&Log::default()), DynamicSupervisor::new("pool")).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let w = tree.agent::<Worker>("w").unwrap();
    w.send(Panic).await.unwrap();
    let (_, took) = timed(w.ask(Seen, secs(9))).await;
    assert_eq!(took, 1_000, "civitas restarts 500 times in half a second");
    tree.stop().await;
}

// Defect: D62
#[tokio::test(start_paused = true)]
async fn d62_a_dynamic_child_cannot_restart_in_a_tight_loop() {
    let log = Log::default();
    let script = Script::new(&log);
    let runtime = runtime_with(with_types(&script));
    let pool = DynamicSupervisor::new("pool").max_restarts(500, secs(3_600));
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    script.fail_starts(u32::MAX);
    runtime.agent::<Worker>("w").unwrap().send(Panic).await.unwrap();
    // sleeps: to see how many restarts fit into this time
    tokio::time::sleep(ms(10_500)).await;
    assert_eq!(log.of("fail").len(), 10, "one a second by default");
    tree.stop().await;
}

// Defect: D61
#[tokio::test(start_paused = true)]
async fn d61_dynamic_children_are_seen_like_all_others() {
    let (runtime, tree) = pool(&Script::new(&Log::default()), DynamicSupervisor::new("pool")).await;
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    assert!(tree.print().contains("[agent] w (RUNNING)"), "{}", tree.print());
    assert_eq!(&*info(&runtime, "w").supervisor, "pool");
    assert_eq!(runtime.agent::<Worker>("w").unwrap().ask(Seen, secs(1)).await, Ok(vec![]));
    runtime.despawn("w").await.unwrap();
    assert!(!tree.print().contains("[agent] w"), "{}", tree.print());
    tree.stop().await;
}

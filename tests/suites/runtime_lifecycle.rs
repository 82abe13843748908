//! Starts, stops, and everything that can go wrong in between.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use std::sync::Arc;

use lictor::prelude::*;
use lictor::{EventKind, ExitReason, OnRootExit, SqliteStore, StateStore, Status, Strategy};
use support::*;

#[tokio::test(start_paused = true)]
async fn everything_is_checked_before_anything_starts() {
    let log = Log::default();
    let runtime = runtime();
    let a = || Script::new(&log).agent("a");
    let twice = root().agent(a()).supervisor(Supervisor::one_for_one("inner").agent(a()));
    let error = twice.start(&runtime).await.unwrap_err();
    assert_eq!(error, StartError::DuplicateName { name: "a".into() });
    let bad = root().agent(a()).agent(Script::new(&log).agent("no spaces"));
    assert!(matches!(bad.start(&runtime).await, Err(StartError::BadName { .. })));
    let zero = root().agent(a()).max_restarts(1, secs(0));
    assert!(matches!(zero.start(&runtime).await, Err(StartError::BadSupervisor { .. })));
    let error = root().agent(a().significant()).start(&runtime).await.unwrap_err();
    assert!(error.to_string().contains("child \"a\" is significant"), "{error}");
    assert_eq!(log.lines(), [""; 0], "nothing was started");
    assert_eq!(runtime.print_tree(), "(no supervision tree)");
    root().agent(a()).start(&runtime).await.unwrap().stop().await;
    assert_eq!(log.of("start"), ["start a#1"], "the runtime is as it was before");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_rolled_back() {
    let log = Log::default();
    let runtime = runtime();
    let bad = Script::new(&log);
    bad.fail_starts(1);
    let tree = || root().agent(Script::new(&log).agent("a")).agent(bad.agent("b"));
    let error = tree().start(&runtime).await.unwrap_err();
    let detail = "the start was to fail".to_owned();
    assert_eq!(error, StartError::AgentFailed { name: "b".into(), detail });
    assert_eq!(log.of("stop"), ["stop b#1", "stop a#1"]);
    assert!(runtime.raw("a").is_err() && runtime.agents().is_empty());
    let tree = tree().start(&runtime).await.expect("the same runtime, once more");
    assert!(matches!(root().start(&runtime).await, Err(StartError::AlreadyStarted)));
    tree.stop().await;
}

// Rule: V15
#[tokio::test(start_paused = true)]
async fn a_stop_is_in_reverse_bounded_and_may_be_repeated() {
    let log = Log::default();
    let runtime = runtime();
    let slow = Script::new(&log).stop_takes(secs(2));
    let mut spec = root();
    for name in ["a", "b", "c"] {
        spec = spec.agent(slow.agent(name));
    }
    spec.start(&runtime).await.unwrap();
    let (_, took) = timed(async {
        tokio::join!(runtime.stop_within(secs(3)), runtime.stop_within(secs(9)), runtime.stop())
    })
    .await;
    assert_eq!(took, 3_000, "c after 2 s; b and a are killed when the bound is reached");
    assert_eq!(log.of("stop"), ["stop c#1"]);
    assert_eq!(log.of("gone").len(), 3);
    let ((), took) = timed(runtime.stop()).await;
    assert_eq!(took, 0);
    assert_eq!(runtime.terminated().await.reason, ExitReason::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_start_and_a_runtime_that_never_started() {
    let log = Log::default();
    let runtime = runtime();
    let slow = Script::new(&log).start_takes(secs(60));
    let starting = tokio::spawn({
        let (runtime, spec) = (runtime.clone(), root().agent(slow.agent("a")));
        async move { spec.start(&runtime).await.map(drop) }
    });
    settle().await;
    let ((), took) = timed(runtime.stop_within(ms(10))).await;
    assert!(took <= 10, "{took}");
    assert_eq!(starting.await.unwrap(), Err(StartError::Stopped));
    support::runtime().stop().await;
}

#[tokio::test(start_paused = true)]
async fn agents_are_suspended_resumed_and_restarted() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    assert!(runtime.resume("a", "me").await.is_err(), "it is not suspended");
    runtime.suspend("a", "a look inside").await.unwrap();
    assert!(runtime.suspend("a", "again").await.is_err());
    a.send(Add(1)).await.unwrap();
    settle().await;
    assert_eq!(info(&runtime, "a").status, Status::Suspended);
    assert_eq!(log.of("add"), [""; 0]);
    assert!(runtime.resume("a", "").await.is_err(), "somebody must approve");
    runtime.resume("a", "me").await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await.unwrap(), [1]);
    runtime.restart_agent("a", "me").await.unwrap();
    started(&mut events, "a", 2).await;
    assert_eq!(a.ask(Seen, secs(1)).await, Ok(vec![]));
    assert!(runtime.suspend("nobody", "").await.is_err());
    assert!(runtime.suspend("root", "").await.is_err());
    tree.stop().await;
}

struct Awkward(&'static str, Arc<std::sync::atomic::AtomicBool>);

impl Awkward {
    fn fails(&self, place: &str) -> bool {
        self.0 == place && self.1.swap(false, std::sync::atomic::Ordering::SeqCst)
    }
}

impl Agent for Awkward {
    type Message = Order;

    async fn start(&mut self, _: &mut Context<Self>) -> Handled {
        assert!(!self.fails("start"), "in start");
        Ok(())
    }

    async fn handle(&mut self, message: Order, _: &mut Context<Self>) -> Handled {
        match message {
            Order::Seen(Seen, reply) => drop(reply.send(vec![])),
            _ if self.0 == "on_error" => return Err("an error".into()),
            _ => assert!(!self.fails("handle"), "in handle"),
        }
        Ok(())
    }

    fn on_error(&mut self, _: &AgentError, _: u32) -> ErrorAction {
        assert!(!self.fails("on_error"), "in on_error");
        ErrorAction::Skip
    }
}

// Whatever panics, it is a crash of this agent and of nothing else.
#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_is_a_crash_and_is_survived() {
    for place in ["factory", "start", "handle", "on_error"] {
        let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = Arc::clone(&armed);
        let make = move || {
            let agent = Awkward(place, Arc::clone(&flag));
            assert!(!agent.fails("factory"), "in the factory");
            agent
        };
        let runtime = runtime();
        let mut events = runtime.events();
        let tree = root().child("a", make).start(&runtime).await.unwrap();
        let a = tree.agent::<Awkward>("a").unwrap();
        let arm = || armed.store(true, std::sync::atomic::Ordering::SeqCst);
        arm();
        if matches!(place, "factory" | "start") {
            runtime.restart_agent("a", "test").await.unwrap();
        } else {
            a.send(Add(1)).await.unwrap();
        }
        let failure = |kind: &EventKind| {
            matches!(kind, EventKind::Crashed { detail, .. } | EventKind::StartFailed { detail, .. }
                if detail.contains("in "))
        };
        until(&mut events, failure).await;
        assert_eq!(a.ask(Seen, secs(5)).await, Ok(vec![]), "{place}");
        tree.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_panics_when_dropped_is_survived() {
    let log = Log::default();
    let script = Script::new(&log).bad_drop();
    let tree = root().agent(script.agent("a")).start(&runtime()).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Fail).await.unwrap();
    assert_eq!(a.ask(Seen, secs(1)).await, Ok(vec![]));
    tree.stop().await;
}

// Real threads and real time: an agent that blocks its thread cannot be killed, only given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_agent_that_blocks_its_thread_is_named_and_does_not_keep_the_stop() {
    let log = Log::default();
    let runtime = runtime();
    let mut events = runtime.events();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    tree.agent::<Worker>("a").unwrap().send(Block(6_000)).await.unwrap();
    while log.of("block").is_empty() {
        tokio::task::yield_now().await;
    }
    let begin = std::time::Instant::now();
    runtime.stop_within(ms(50)).await;
    assert!(begin.elapsed() < secs(4), "{:?}", begin.elapsed());
    let named =
        |kind: &EventKind| matches!(kind, EventKind::Unresponsive { name } if &**name == "a");
    assert!(drain(&mut events).iter().any(named));
}

// Rules: V14, E4
#[tokio::test(start_paused = true)]
async fn an_exhausted_root_ends_the_runtime_or_stays_as_failed() {
    for on_root_exit in [OnRootExit::Stop, OnRootExit::Stay] {
        let log = Log::default();
        let config = RuntimeConfig { on_root_exit, ..RuntimeConfig::default() };
        let runtime = runtime_with(config);
        let tree = Supervisor::one_for_one("root")
            .max_restarts(0, secs(1))
            .agent(Script::new(&log).agent("a"))
            .start(&runtime)
            .await
            .unwrap();
        let a = tree.agent::<Worker>("a").unwrap();
        a.send(Panic).await.unwrap();
        let end = runtime.terminated().await;
        assert_eq!((end.reason, end.asked), (ExitReason::RestartsExhausted, false));
        assert!(matches!(a.try_send(Add(1)), Err(SendError::Down { .. })));
        let stays = on_root_exit == OnRootExit::Stay;
        assert_eq!(runtime.print_tree().contains("[agent] a (CRASHED)"), stays);
        runtime.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tree_prints_as_it_hangs() {
    let log = Log::default();
    let a = |name: &str| Script::new(&log).agent(name);
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let tree = root()
        .supervisor(Supervisor::rest_for_one("inner").agent(a("x")).agent(a("y")))
        .dynamic(DynamicSupervisor::new("pool"))
        .agent(a("last"))
        .start(&runtime)
        .await
        .unwrap();
    runtime.spawn("pool", "worker", "w1", Value::Null).await.unwrap();
    let expected = "\
[sup] root (ONE_FOR_ONE)
├── [sup] inner (REST_FOR_ONE)
│   ├── [agent] x (RUNNING)
│   └── [agent] y (RUNNING)
├── [dyn] pool (RUNNING)
│   └── [agent] w1 (RUNNING)
└── [agent] last (RUNNING)";
    assert_eq!(tree.print(), expected);
    tree.stop().await;
    assert_eq!(tree.print(), "(no supervision tree)");
}

#[derive(Default)]
struct Keeper(u64);

impl Agent for Keeper {
    type Message = Order;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.0 = cx.restore().await?.unwrap_or(0);
        Ok(())
    }

    async fn handle(&mut self, message: Order, cx: &mut Context<Self>) -> Handled {
        match message {
            Order::Add(Add(n)) => {
                self.0 += n;
                cx.checkpoint(&self.0).await?;
            }
            Order::Seen(Seen, reply) => drop(reply.send(vec![self.0])),
            _ => panic!("as asked"),
        }
        Ok(())
    }
}

/// A file of a database and what SQLite puts beside it: they go when this is dropped.
struct Database(std::path::PathBuf);

impl Drop for Database {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn checkpoints_survive_restarts_and_with_sqlite_the_runtime() {
    let file = format!("lictor-keeper-{}.db", std::process::id());
    let file = Database(std::env::temp_dir().join(file));
    let sqlite = || -> Arc<dyn StateStore> { Arc::new(SqliteStore::open(&file.0).unwrap()) };
    let memory: Arc<dyn StateStore> = Arc::new(lictor::MemoryStore::default());
    for (store, expected) in [(memory, 3), (sqlite(), 3), (sqlite(), 6)] {
        let runtime = runtime_with(RuntimeConfig { store, ..RuntimeConfig::default() });
        let tree = root().child("keeper", Keeper::default).start(&runtime).await.unwrap();
        let keeper = tree.agent::<Keeper>("keeper").unwrap();
        keeper.send(Add(3)).await.unwrap();
        keeper.send(Panic).await.unwrap();
        assert_eq!(keeper.ask(Seen, secs(1)).await.unwrap(), [expected]);
        tree.stop().await;
    }
}

// Invariant: S7 (nothing is left after a stop)
#[tokio::test(start_paused = true)]
async fn nothing_is_left_after_a_stop() {
    let log = Log::default();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..3 {
        let runtime = runtime();
        let mut spec = patient(Strategy::OneForAll);
        for at in 0..50 {
            spec = spec.agent(Script::new(&log).agent(&format!("a{at}")));
        }
        let tree = spec.start(&runtime).await.unwrap();
        assert!(tasks() >= before + 50);
        tree.agent::<Worker>("a7").unwrap().send(Panic).await.unwrap();
        tree.agent::<Worker>("a7").unwrap().ask(Seen, secs(1)).await.unwrap();
        tree.stop().await;
        drop((tree, runtime));
    }
    settle().await;
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn two_runtimes_share_nothing() {
    let log = Log::default();
    let (one, two) = (runtime(), runtime());
    let first = root().agent(Script::new(&log).agent("a")).start(&one).await.unwrap();
    let second = root().agent(Script::new(&log).agent("a")).start(&two).await.unwrap();
    first.agent::<Worker>("a").unwrap().send(Add(1)).await.unwrap();
    assert_eq!(second.agent::<Worker>("a").unwrap().ask(Seen, secs(1)).await, Ok(vec![]));
    first.stop().await;
    assert_eq!(second.agent::<Worker>("a").unwrap().ask(Seen, secs(1)).await, Ok(vec![]));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_agents_start_and_stop() {
    let log = Log::default();
    let runtime = runtime();
    let mut spec = root();
    for at in 0..10_000 {
        spec = spec.agent(Script::new(&log).agent(&format!("a{at}")));
    }
    let tree = spec.start(&runtime).await.unwrap();
    assert_eq!(runtime.agents().len(), 10_000);
    tree.stop().await;
    assert_eq!((log.of("start").len(), log.of("stop").len()), (10_000, 10_000));
}

//! Everything at once: many tasks on several threads, futures dropped at every await, hosts that go.
//! What is judged is that everything ends, and that every message is accounted for.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use lictor::prelude::*;
use lictor::{
    AgentTypes, EventKind, Events, InHandPolicy, Overflow, RuntimeStatus, SendOptions, StateStore,
    StoreError, StoreFuture, TokioExecutor,
};
use serde_json::json;
use support::*;

async fn ends<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(120), future).await.expect("it hangs")
}

/// What became of the messages of a test.
#[derive(Default, Debug)]
struct Sums {
    taken: AtomicU64,
    handled: AtomicU64,
    answered: AtomicU64,
}

messages! {
    enum Load {
        Unit(u64),
        Query(u64) -> u64,
        Slow(u64),
        Die(u64),
    }
}

/// Counts what it has handled to the end.
struct Loaded(Arc<Sums>);

impl Agent for Loaded {
    type Message = Load;
    async fn handle(&mut self, message: Load, _: &mut Context<Self>) -> Handled {
        match message {
            Load::Unit(_) => {}
            Load::Query(Query(number), reply) => drop(reply.send(number)),
            Load::Slow(_) => tokio::task::yield_now().await,
            Load::Die(Die(number)) => {
                assert!(number % 2 == 0, "as asked");
                return Err("as asked".into());
            }
        }
        // No await from here to the end: what is counted is done.
        self.0.handled.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A deterministic stream of small numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Sends whatever it likes to whoever is there, through fresh and through kept references.
async fn sender(runtime: Runtime, sums: Arc<Sums>, seed: u64) {
    let mut dice = Dice(seed);
    let mut kept: Vec<AgentRef<Loaded>> = Vec::new();
    for step in 0..400 {
        let name = format!("{}{}", ["s", "d"][usize::from(dice.roll(2) == 0)], dice.roll(3));
        if let Ok(agent) = runtime.agent::<Loaded>(&name) {
            kept.push(agent);
        }
        let Some(agent) = kept.get(usize::try_from(dice.roll(8)).unwrap()).or_else(|| kept.last())
        else {
            tokio::task::yield_now().await;
            continue;
        };
        let short = SendOptions::new().timeout(Duration::from_micros(dice.roll(500)));
        let sent = match dice.roll(16) {
            0 => agent.try_send(Die(dice.roll(2))),
            1..=3 => agent.send_with(Slow(step), short).await,
            4 => agent.send_with(Slow(step), short.priority()).await,
            5..=7 => {
                // Counted as taken only if the answer proves it; one that fails may be either.
                match agent.ask(Query(step), Duration::from_micros(dice.roll(2_000))).await {
                    Ok(answer) => {
                        assert_eq!(answer, step, "the answer to another question");
                        sums.answered.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => drop(error),
                }
                continue;
            }
            _ => agent.try_send(Unit(step)),
        };
        if sent.is_ok() {
            sums.taken.fetch_add(1, Ordering::SeqCst);
        }
        if kept.len() > 40 {
            kept.clear();
        }
    }
}

/// Does to agents what can be done to them.
async fn meddler(runtime: Runtime, seed: u64) {
    let mut dice = Dice(seed);
    for _ in 0..80 {
        let of = |kind: &str, number: u64| format!("{kind}{number}");
        let (any, child) =
            (of(["s", "d"][usize::from(dice.roll(2) == 0)], dice.roll(3)), of("d", dice.roll(3)));
        let done = match dice.roll(8) {
            0 | 1 => runtime.spawn("pool", "loaded", &child, Value::Null).await,
            2 => runtime.despawn(&child).await,
            3 => runtime.stop_agent(&child, Drain::All, ms(20)).await,
            4 => runtime.stop_agent(&child, Drain::Current, ms(20)).await,
            5 => runtime.suspend(&any, "test").await,
            6 => runtime.resume(&any, "test").await,
            _ => runtime.restart_agent(&any, "test").await,
        };
        // Refused or done: both are fine, as long as it is said.
        drop(done);
        let (_, _) = (runtime.agents(), runtime.print_tree());
        tokio::task::yield_now().await;
    }
}

/// How many dead letters a runtime tells of until its end.
async fn dead_letters(mut events: Events) -> u64 {
    let mut dead = 0;
    while let Some(event) = events.next().await {
        if let EventKind::DeadLetters { count, .. } = event.kind {
            dead += count;
        }
    }
    assert_eq!(events.missed(), 0);
    dead
}

fn loaded(sums: &Arc<Sums>, name: &str) -> AgentSpec {
    let sums = Arc::clone(sums);
    agent(name, move || Loaded(Arc::clone(&sums))).in_hand(InHandPolicy::DeadLetter).mailbox_size(8)
}

// Invariant: S12 (conservation of messages), with everybody at it on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_storm_loses_and_doubles_nothing() {
    for round in 0..6 {
        let sums = Arc::new(Sums::default());
        let make = Arc::clone(&sums);
        let types = AgentTypes::new().with_spec("loaded", move |_| Ok(loaded(&make, "")));
        let runtime = runtime_with(RuntimeConfig { types, ..RuntimeConfig::default() });
        let counting = tokio::spawn(dead_letters(runtime.events()));
        let mut spec = root()
            .dynamic(DynamicSupervisor::new("pool").max_restarts(u32::MAX, secs(1)).backoff(NONE));
        for (name, overflow) in
            [("s0", Overflow::Wait), ("s1", Overflow::Reject), ("s2", Overflow::DropOldest)]
        {
            spec = spec.agent(loaded(&sums, name).overflow(overflow));
        }
        let tree = spec.start(&runtime).await.unwrap();
        let mut tasks = Vec::new();
        for seed in 0..6 {
            tasks.push(tokio::spawn(sender(runtime.clone(), Arc::clone(&sums), seed * 77 + round)));
            if seed % 2 == 0 {
                tasks.push(tokio::spawn(meddler(runtime.clone(), seed * 1_001 + round)));
            }
        }
        let asks = tokio::spawn({
            let runtime = runtime.clone();
            async move {
                // The stop comes in the middle of it in every second round.
                if round % 2 == 1 {
                    settle().await;
                    runtime.stop().await;
                }
            }
        });
        for task in tasks {
            ends(task).await.unwrap();
        }
        ends(asks).await.unwrap();
        ends(tree.stop()).await;
        assert_eq!(runtime.status(), RuntimeStatus::Stopped);
        let dead = ends(counting).await.unwrap();
        let all = |sum: &AtomicU64| sum.load(Ordering::SeqCst);
        let (taken, handled, answered) =
            (all(&sums.taken), all(&sums.handled), all(&sums.answered));
        // Questions that failed may have been handled, dead, or never taken: they are the slack.
        let ended = handled + dead;
        assert!(ended >= taken + answered, "lost: {sums:?} and {dead} dead");
        assert!(taken > 10, "a storm: {sums:?}");
    }
}

// The same without questions: then the sums are exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_taken_under_kills_and_crashes_is_handled_or_dead_to_the_last_one() {
    let sums = Arc::new(Sums::default());
    let make = Arc::clone(&sums);
    let types = AgentTypes::new().with_spec("loaded", move |_| Ok(loaded(&make, "")));
    let runtime = runtime_with(RuntimeConfig { types, ..RuntimeConfig::default() });
    let counting = tokio::spawn(dead_letters(runtime.events()));
    let tree =
        root().dynamic(DynamicSupervisor::new("pool").backoff(NONE)).start(&runtime).await.unwrap();
    let mut senders = Vec::new();
    for seed in 0..4 {
        let (runtime, sums) = (runtime.clone(), Arc::clone(&sums));
        senders.push(tokio::spawn(async move {
            for step in 0..600 {
                if let Ok(agent) = runtime.agent::<Loaded>("d") {
                    let sent = match (step + seed) % 7 {
                        0 => agent.send_with(Slow(step), SendOptions::new().timeout(ms(1))).await,
                        1 => agent.try_send(Die(step % 2)),
                        _ => agent.try_send(Unit(step)),
                    };
                    sums.taken.fetch_add(u64::from(sent.is_ok()), Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) {
        drop(runtime.spawn("pool", "loaded", "d", Value::Null).await);
        tokio::task::yield_now().await;
        drop(runtime.despawn("d").await);
    }
    ends(tree.stop()).await;
    let dead = ends(counting).await.unwrap();
    let handled = sums.handled.load(Ordering::SeqCst);
    assert_eq!(sums.taken.load(Ordering::SeqCst), handled + dead, "{sums:?}, {dead} dead");
}

/// Polls a future so many times, letting everything else run in between, and drops it.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let std::task::Poll::Ready(output) =
            future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
        {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

// Whoever gives up waiting, and wherever, leaves the runtime as if it had waited or never come.
#[tokio::test(start_paused = true)]
async fn every_future_may_be_dropped_at_every_await() {
    for polls in 0..6 {
        let log = Log::default();
        let runtime = runtime_with(with_types(&Script::new(&log)));
        let mut events = runtime.events();
        let spec = || {
            let slow = Script::new(&log).start_takes(ms(1)).stop_takes(ms(1));
            root().agent(slow.agent("a").mailbox_size(1)).dynamic(DynamicSupervisor::new("pool"))
        };
        drop(drop_after(polls, spec().start(&runtime)).await);
        // A start that was given up goes on: the runtime has it.
        let again = ends(spec().start(&runtime)).await.map(drop);
        assert_eq!(again.is_ok(), polls == 0, "{again:?}");
        while runtime.status() == RuntimeStatus::Starting {
            // sleeps: the start takes its time
            tokio::time::sleep(ms(1)).await;
        }
        let a = runtime.agent::<Worker>("a").unwrap();
        for _ in 0..10 {
            drop(drop_after(polls, a.send(Sleep(1))).await);
            drop(drop_after(polls, a.ask(AskSleep(1), secs(1))).await);
            drop(drop_after(polls, runtime.suspend("a", "test")).await);
            drop(drop_after(polls, runtime.resume("a", "test")).await);
            drop(drop_after(polls, runtime.restart_agent("a", "test")).await);
            drop(drop_after(polls, runtime.spawn("pool", "worker", "w", Value::Null)).await);
            drop(drop_after(polls, runtime.stop_agent("w", Drain::All, ms(1))).await);
            drop(drop_after(polls, runtime.despawn("w")).await);
            let _ = drop_after(polls, runtime.terminated()).await;
            drop(drop_after(polls, events.next()).await);
            drop(drop_after(polls, runtime.broadcast("*", "Add", json!(1))).await);
        }
        drop(ends(runtime.resume("a", "test")).await);
        assert!(ends(a.ask(Seen, secs(60))).await.is_ok(), "after {polls} polls");
        settle().await;
        assert_conserved(&runtime);
        let _ = drop_after(polls, runtime.stop_within(secs(1))).await;
        ends(runtime.stop()).await;
        assert_eq!(runtime.status(), RuntimeStatus::Stopped);
        assert!(ends(runtime.terminated()).await.asked);
        while ends(events.next()).await.is_some() {}
    }
}

// Callers on another host: each of them is told when the host of the agents goes, whatever for.
// Guards: a host that dropped whatever was launched never came to drop the driver, which launched
// it again for ever.
#[test]
fn a_host_that_goes_leaves_no_caller_waiting() {
    for _ in 0..20 {
        let build =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
        let (host, other) = (build().unwrap(), build().unwrap());
        let log = Log::default();
        let config = with_types(&Script::new(&log).start_takes(ms(5)).stop_takes(ms(5)));
        let runtime =
            Runtime::with_config(Arc::new(TokioExecutor::on(host.handle().clone())), config);
        let spec = root().agent(Script::new(&log).agent("a").mailbox_size(1));
        let start = spec.dynamic(DynamicSupervisor::new("pool")).start(&runtime);
        let a = other.block_on(start).unwrap().agent::<Worker>("a").unwrap();
        let mut events = runtime.events();
        let mut callers = Vec::new();
        for at in 0..40 {
            let (a, runtime) = (a.clone(), runtime.clone());
            callers.push(other.spawn(async move {
                match at % 6 {
                    0 => drop(a.ask(AskSleep(1), secs(86_400)).await),
                    1 => {
                        drop(a.send_with(Sleep(1), SendOptions::new().timeout(Duration::MAX)).await)
                    }
                    2 => {
                        drop(runtime.spawn("pool", "worker", &format!("w{at}"), Value::Null).await)
                    }
                    3 => drop(runtime.restart_agent("a", "test").await),
                    4 => drop(runtime.terminated().await),
                    _ => drop(runtime.despawn("w2").await),
                }
            }));
        }
        callers.push(other.spawn(async move { while events.next().await.is_some() {} }));
        while log.of("asked").is_empty() {
            std::thread::yield_now();
        }
        host.shutdown_timeout(secs(20));
        other.block_on(async {
            for (at, caller) in callers.into_iter().enumerate() {
                let ended = tokio::time::timeout(secs(60), caller).await;
                ended.unwrap_or_else(|_| panic!("caller {at} hangs")).unwrap();
            }
            ends(runtime.stop()).await;
        });
        assert_eq!(runtime.status(), RuntimeStatus::Stopped);
        assert!(a.try_send(Add(1)).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn times_at_their_edges_are_times() {
    let log = Log::default();
    let config = RuntimeConfig {
        send_timeout: Duration::MAX,
        stop_timeout: Duration::MAX,
        ..RuntimeConfig::default()
    };
    let runtime = runtime_with(config);
    let a = Script::new(&log).agent("a").mailbox_size(1).handle_timeout(Duration::MAX);
    let a = a.shutdown(Shutdown::Timeout(Duration::MAX)).start_timeout(Duration::MAX);
    let spec = Supervisor::one_for_one("root").max_restarts(u32::MAX, Duration::MAX);
    let tree = ends(spec.backoff(NONE).agent(a).start(&runtime)).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    for edge in
        [Duration::ZERO, Duration::from_nanos(1), Duration::from_nanos(u64::MAX), Duration::MAX]
    {
        let options = SendOptions::new().timeout(edge);
        ends(a.send_with(Add(1), options)).await.unwrap();
        settle().await;
        ends(a.send_with(Add(2), options.ttl(edge))).await.unwrap();
        settle().await;
        let asked = ends(a.ask(Seen, edge)).await;
        assert!(asked.is_ok() || edge < ms(1), "{edge:?}: {asked:?}");
        settle().await;
    }
    assert_eq!(log.of("add").len(), 4 + 3, "no time to live is none, and one nanosecond is some");
    a.send(Panic).await.unwrap();
    assert_eq!(ends(a.ask(Seen, Duration::MAX)).await, Ok(vec![]));
    assert_conserved(&runtime);
    ends(runtime.stop_within(Duration::MAX)).await;
}

// Two agents that ask each other: the deadlines end it, inner one first, and nobody is the worse.
#[tokio::test(start_paused = true)]
async fn a_cycle_of_questions_ends_by_its_deadlines() {
    struct Asker(&'static str);
    impl Agent for Asker {
        type Message = Message;
        async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
            let left = message.payload().as_u64().unwrap_or(0);
            let answer = if left > 0 {
                match cx.ask(self.0, Message::new("ask", left - 1), ms(100 * left)).await {
                    Ok(answer) => answer,
                    Err(error) => json!(error.to_string()),
                }
            } else {
                json!("home")
            };
            message.reply(answer);
            Ok(())
        }
    }
    let runtime = runtime();
    let tree =
        root().child("a", || Asker("b")).child("b", || Asker("a")).start(&runtime).await.unwrap();
    let ask = |left: u64| runtime.ask("a", Message::new("ask", left), secs(10));
    assert_eq!(ends(ask(1)).await, Ok(json!("home")));
    let (answer, took) = timed(ends(ask(5))).await;
    assert_eq!((answer, took), (Ok(json!("agent \"a\" did not answer in time")), 400));
    settle().await;
    assert_eq!(ends(ask(0)).await, Ok(json!("home")), "both are free again");
    assert_conserved(&runtime);
    tree.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_though_somebody_never_stops_sending() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let tree = root().dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let w = runtime.agent::<Worker>("w").unwrap();
    let sender = tokio::spawn(async move {
        for number in 0.. {
            if w.send(Add(number)).await.is_err() {
                return number;
            }
            tokio::task::yield_now().await;
        }
        unreachable!("it never stops by itself")
    });
    settle().await;
    let (ended, took) = timed(ends(runtime.stop_agent("w", Drain::All, secs(60)))).await;
    assert_eq!((ended, took), (Ok(()), 0));
    let taken = ends(sender).await.unwrap();
    assert_eq!(log.of("add").len() as u64, taken, "what was taken was handled");
    tree.stop().await;
}

// Thousands of full mailboxes: each is passed by, and told of; a name as long as can be is fine.
#[tokio::test(start_paused = true)]
async fn a_broadcast_to_thousands_of_full_mailboxes_takes_no_time_and_is_counted() {
    let log = Log::default();
    let runtime = runtime();
    let mut spec = root();
    for at in 0..3_000 {
        let idle = Script::new(&log).agent(&format!("a{at}")).mailbox_size(1);
        spec = spec.agent(idle);
    }
    let tree = spec.start(&runtime).await.unwrap();
    // Nobody gets to run in between.
    assert_eq!(runtime.broadcast("a*", "Add", json!(1)).await, Ok(3_000));
    let (taken, took) = timed(runtime.broadcast("a*", "Add", json!(2))).await;
    assert_eq!((taken, took), (Ok(0), 0));
    settle().await;
    assert!(runtime.agents().iter().all(|agent| (agent.handled, agent.rejected) == (1, 1)));
    let endless = "x".repeat(1 << 20);
    assert!(matches!(
        runtime.send(&endless, Message::new("Add", 1)).await,
        Err(SendError::Unknown { .. })
    ));
    tree.stop().await;
}

/// A store that fails, panics, or never answers.
#[derive(Debug)]
struct BadStore;

impl StateStore for BadStore {
    fn get<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<Value>> {
        Box::pin(async { Err(StoreError("the disk is gone".into())) })
    }
    fn set<'a>(&'a self, _: &'a str, state: Value) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            assert!(state != json!("panic"), "the store panics");
            std::future::pending().await
        })
    }
    fn delete<'a>(&'a self, _: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    fn list(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_fails_only_who_uses_it() {
    struct Saver;
    impl Agent for Saver {
        type Message = Message;
        async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
            match message.kind() {
                "restore" => drop(cx.restore::<u64>().await?),
                "nan" => cx.checkpoint(&f64::NAN).await?,
                _ => cx.checkpoint(message.payload()).await?,
            }
            message.reply(Value::Null);
            Ok(())
        }
    }
    let config = RuntimeConfig { store: Arc::new(BadStore), ..RuntimeConfig::default() };
    let runtime = runtime_with(config);
    let spec = root().agent(agent("a", || Saver).handle_timeout(secs(5)));
    let tree = spec.agent(Script::new(&Log::default()).agent("b")).start(&runtime).await.unwrap();
    let mut events = runtime.events();
    for (kind, payload, said) in [
        ("restore", json!(0), "the disk is gone"),
        ("nan", json!(0), "not finite"),
        ("set", json!("panic"), "the store panics"),
        ("set", json!(1), "longer than 5s"),
    ] {
        let answer = ends(runtime.ask("a", Message::new(kind, payload), secs(60))).await;
        assert!(matches!(answer, Err(AskError::Failed { .. })), "{kind}: {answer:?}");
        let crash = until(&mut events, |kind| matches!(kind, EventKind::Crashed { .. })).await;
        assert!(format!("{crash:?}").contains(said), "{crash:?}");
    }
    assert_eq!((info(&runtime, "a").starts, info(&runtime, "b").starts), (5, 1));
    ends(tree.stop()).await;
}

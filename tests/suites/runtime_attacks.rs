//! Attacks on the running runtime: what a hostile caller, agent or host can do to it. Each of these
//! once hung, lost something, or took down more than itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use lictor::prelude::*;
use lictor::{
    AgentTypes, EventKind, Executor, InHandPolicy, OnRootExit, ReplyFailure, RuntimeStatus, Task,
    TokioExecutor,
};
use support::*;

/// What the future gives, or a panic if it gives nothing.
async fn ends<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(600), future).await.expect("it hangs")
}

// Guards: a stop that waited for the driver side by side with the fact that ended the root put the
// runtime back to stopping, and was never answered.
#[tokio::test(start_paused = true)]
async fn a_stop_in_the_step_in_which_the_root_ends_is_answered() {
    for on_root_exit in [OnRootExit::Stop, OnRootExit::Stay] {
        let runtime = runtime_with(RuntimeConfig { on_root_exit, ..RuntimeConfig::default() });
        let spec = Supervisor::one_for_one("root").max_restarts(0, secs(1));
        let log = Log::default();
        let tree = spec.agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
        settle().await;
        // The agent runs first and wakes the driver, and the stop runs before the driver does.
        tree.agent::<Worker>("a").unwrap().try_send(Panic).unwrap();
        let stop = tokio::spawn({
            let runtime = runtime.clone();
            async move { runtime.stop().await }
        });
        ends(stop).await.unwrap();
        assert_eq!(runtime.status(), RuntimeStatus::Stopped);
        assert!(!ends(runtime.terminated()).await.asked);
    }
}

// Guards: on a host that was gone already nobody ever took up the start, which then hung.
#[test]
fn a_start_on_a_host_that_is_gone_fails() {
    let host = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let runtime = Runtime::on(Arc::new(TokioExecutor::on(host.handle().clone())));
    drop(host);
    let log = Log::default();
    let other = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    other.block_on(async {
        let start = root().agent(Script::new(&log).agent("a")).start(&runtime);
        let started = tokio::time::timeout(secs(10), start).await.expect("it hangs");
        assert_eq!(started.map(drop), Err(StartError::Stopped));
        ends(runtime.stop()).await;
        assert!(!ends(runtime.terminated()).await.asked);
        assert_eq!(log.lines(), [""; 0]);
    });
}

// Guards: a stop that met a start which was just beginning returned, and the tree went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_beside_a_start_leaves_nothing_running() {
    let tokio = tokio::runtime::Handle::current();
    for _ in 0..3_000 {
        let runtime = runtime();
        let spec = root().agent(Script::new(&Log::default()).agent("a"));
        let line = Arc::new(Barrier::new(2));
        // On threads of their own, which begin together.
        let start = std::thread::spawn({
            let (runtime, line, tokio) = (runtime.clone(), Arc::clone(&line), tokio.clone());
            move || {
                let mut start = Box::pin(spec.start(&runtime));
                line.wait();
                tokio.block_on(start.as_mut()).map(drop)
            }
        });
        let stop = std::thread::spawn({
            let (runtime, tokio) = (runtime.clone(), tokio.clone());
            move || {
                let mut stop = Box::pin(runtime.stop());
                line.wait();
                tokio.block_on(stop.as_mut());
            }
        });
        stop.join().unwrap();
        let started = start.join().unwrap();
        assert_eq!(runtime.status(), RuntimeStatus::Stopped, "{started:?}");
    }
}

// Guards: only 1024 ends of children were told to a spawner that was busy; the rest were lost, and
// with them a stop or a resume that came behind.
#[tokio::test(start_paused = true)]
async fn a_busy_spawner_hears_of_every_child_and_of_its_own_stop() {
    const CHILDREN: usize = 1_500;
    struct Gatherer(Log);
    impl Agent for Gatherer {
        type Message = Order;
        async fn handle(&mut self, _: Order, cx: &mut Context<Self>) -> Handled {
            for at in 0..CHILDREN {
                let name = format!("child-{at}");
                cx.spawn("worker", &name, Value::Null).await?;
                cx.agent::<Worker>(&name)?.send(Finish).await?;
            }
            tokio::time::sleep(secs(1)).await;
            Ok(())
        }
        fn on_child_terminated(&mut self, child: &str, reason: &str) {
            self.0.say(format!("told {child} {reason}"));
        }
        fn on_resume(&mut self, _: &str) {
            self.0.say("resumed");
        }
        async fn stop(&mut self, _: &mut Context<Self>) {
            self.0.say("stopped in good order");
        }
    }
    let (log, children) = (Log::default(), Log::default());
    let runtime = runtime_with(with_types(&Script::new(&children)));
    let gatherer = log.clone();
    let tree = root()
        .dynamic(DynamicSupervisor::new("pool"))
        .child("gatherer", move || Gatherer(gatherer.clone()))
        .start(&runtime)
        .await
        .unwrap();
    tree.agent::<Gatherer>("gatherer").unwrap().send(Finish).await.unwrap();
    while children.of("gone").len() < CHILDREN {
        settle().await;
    }
    runtime.suspend("gatherer", "test").await.unwrap();
    runtime.resume("gatherer", "test").await.unwrap();
    tree.stop().await;
    assert_eq!(log.of("told").len(), CHILDREN);
    assert_eq!(log.count("resumed"), 1);
    assert_eq!(log.count("stopped in good order"), 1);
}

// Guards: an agent that was killed while it blocked its thread went on with up to 127 messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_killed_takes_no_further_message() {
    let log = Log::default();
    let runtime = runtime_with(with_types(&Script::new(&log)));
    let tree = root().dynamic(DynamicSupervisor::new("pool")).start(&runtime).await.unwrap();
    runtime.spawn("pool", "worker", "w", Value::Null).await.unwrap();
    let w = runtime.agent::<Worker>("w").unwrap();
    w.send(Block(300)).await.unwrap();
    for number in 0..50 {
        w.send(Add(number)).await.unwrap();
    }
    while log.of("block").is_empty() {
        tokio::task::yield_now().await;
    }
    let mut events = runtime.events();
    ends(runtime.despawn("w")).await.unwrap();
    assert_eq!(log.of("add"), [""; 0]);
    let dead = until(&mut events, |kind| matches!(kind, EventKind::DeadLetters { .. })).await;
    assert!(matches!(dead, EventKind::DeadLetters { count: 50, reason: "down", .. }), "{dead:?}");
    tree.stop().await;
}

/// A payload that cannot be copied without a panic.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Uncopyable(u8);

impl Clone for Uncopyable {
    fn clone(&self) -> Self {
        assert!(self.0 == 0, "not to be copied");
        Self(self.0)
    }
}

messages! {
    enum Fragile {
        Take(Uncopyable),
        Ask(Uncopyable) -> u64,
        Fine -> u64,
    }
}

#[derive(Default)]
struct Careful;

impl Agent for Careful {
    type Message = Fragile;
    async fn handle(&mut self, message: Fragile, _: &mut Context<Self>) -> Handled {
        match message {
            Fragile::Take(_) => {}
            Fragile::Ask(_, reply) | Fragile::Fine(_, reply) => drop(reply.send(7)),
        }
        Ok(())
    }
}

// Guards: a message whose copy for a redelivery panicked was lost, and counted nowhere.
#[tokio::test(start_paused = true)]
async fn a_message_that_panics_when_it_is_copied_is_handled() {
    for policy in [InHandPolicy::Drop, InHandPolicy::Redeliver, InHandPolicy::DeadLetter] {
        let runtime = runtime();
        let spec = agent("a", Careful::default).in_hand(policy);
        let tree = root().agent(spec).start(&runtime).await.unwrap();
        let a = tree.agent::<Careful>("a").unwrap();
        a.send(Take(Uncopyable(1))).await.unwrap();
        assert_eq!(a.ask(Ask(Uncopyable(1)), secs(1)).await, Ok(7));
        assert_eq!(a.ask(Fine, secs(1)).await, Ok(7));
        assert_eq!(info(&runtime, "a").starts, 1, "{policy:?}");
        assert_conserved(&runtime);
        tree.stop().await;
    }
}

messages! { enum AtOnceMessage { Number(u32), Numbers -> Vec<u32> } }

/// Panics for the first number, and that before there is a future.
struct AtOnce(Arc<Mutex<Vec<u32>>>);

impl Agent for AtOnce {
    type Message = AtOnceMessage;

    fn handle(
        &mut self,
        message: AtOnceMessage,
        _: &mut Context<Self>,
    ) -> impl Future<Output = Handled> + Send {
        match message {
            AtOnceMessage::Number(Number(number)) => {
                let mut seen = self.0.lock().unwrap();
                seen.push(number);
                let is_first = seen.len() == 1;
                drop(seen);
                assert!(!is_first, "on purpose");
            }
            AtOnceMessage::Numbers(Numbers, reply) => {
                reply.send(self.0.lock().unwrap().clone());
            }
        }
        async { Ok(()) }
    }
}

// Guards: what was borrowed of the mailbox went back in front of a message that is handled again.
#[tokio::test(start_paused = true)]
async fn a_message_that_panics_before_its_future_is_handled_again_before_the_next() {
    let seen = Arc::default();
    let of = Arc::clone(&seen);
    let spec = agent("a", move || AtOnce(Arc::clone(&of))).in_hand(InHandPolicy::Redeliver);
    let runtime = runtime();
    let tree = root().agent(spec).start(&runtime).await.unwrap();
    let a = tree.agent::<AtOnce>("a").unwrap();
    for number in 0..4 {
        a.try_send(Number(number)).unwrap();
    }
    assert_eq!(a.ask(Numbers, secs(1)).await, Ok(vec![0, 0, 1, 2, 3]));
    tree.stop().await;
}

/// A waker that panics when it wakes.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker that cannot wake");
    }
}

fn poll_with<F: Future>(waker: &Waker, future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(waker))
}

// Guards: a caller whose waker panics took down the agent that answered it, every wait that was due
// with its own, or the driver and with it the whole tree.
#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_nobody_else() {
    let bomb = Waker::from(Arc::new(Bomb));
    let log = Log::default();
    let runtime = runtime();
    let tree = root().agent(Script::new(&log).agent("a").mailbox_size(1)).start(&runtime);
    let tree = tree.await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    // The answer, the room in the mailbox, and the answer of the driver.
    let mut ask = pin!(a.ask(Seen, secs(1)));
    assert!(poll_with(&bomb, ask.as_mut()).is_pending());
    let mut send = pin!(a.send(Add(1)));
    assert!(poll_with(&bomb, send.as_mut()).is_pending());
    let mut suspend = pin!(runtime.suspend("nobody", "test"));
    assert!(poll_with(&bomb, suspend.as_mut()).is_pending());
    let mut events = runtime.events();
    let mut next = pin!(events.next());
    assert!(poll_with(&bomb, next.as_mut()).is_pending());
    let mut terminated = pin!(runtime.terminated());
    assert!(poll_with(&bomb, terminated.as_mut()).is_pending());
    settle().await;
    assert_eq!(ask.await, Ok(vec![]));
    send.await.unwrap();
    assert!(suspend.await.is_err());
    // A deadline: those that come with it and behind it are told as well.
    let mut late = pin!(a.ask(AskSleep(50), ms(10)));
    assert!(poll_with(&bomb, late.as_mut()).is_pending());
    assert!(matches!(ends(a.ask(Seen, ms(10))).await, Err(AskError::Timeout { .. })));
    assert!(matches!(ends(late).await, Err(AskError::Timeout { .. })));
    assert_eq!(ends(a.ask(Seen, secs(1))).await, Ok(vec![1]), "the incarnation that it was");
    a.send(Finish).await.unwrap();
    settle().await;
    assert_eq!(runtime.status(), RuntimeStatus::Running);
    assert_eq!(info(&runtime, "a").starts, 1);
    ends(tree.stop()).await;
    assert!(ends(terminated).await.asked);
}

// Guards: a timer's message that waited in the mailbox when its incarnation crashed was handled by
// the next one: an agent with a tick of its own got one more with every crash.
#[tokio::test(start_paused = true)]
async fn the_tick_of_a_dead_incarnation_is_not_handled_by_the_next_one() {
    struct Clockwork(Log);
    impl Agent for Clockwork {
        type Message = Message;
        async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
            cx.send_after(ms(10), Message::new("tick", cx.incarnation()));
            Ok(())
        }
        async fn handle(&mut self, message: Message, cx: &mut Context<Self>) -> Handled {
            match message.kind() {
                "tick" => {
                    assert_eq!(message.payload(), cx.incarnation());
                    self.0.say("tick here");
                    cx.send_after(ms(10), Message::new("tick", cx.incarnation()));
                }
                _ => {
                    // sleeps: the tick comes meanwhile, and waits
                    tokio::time::sleep(ms(15)).await;
                    panic!("as asked");
                }
            }
            Ok(())
        }
    }
    let log = Log::default();
    let said = log.clone();
    let runtime = runtime();
    let tree = root().child("a", move || Clockwork(said.clone())).start(&runtime).await.unwrap();
    for _ in 0..10 {
        runtime.send("a", Message::new("crash", Value::Null)).await.unwrap();
        // sleeps: the agent crashes
        tokio::time::sleep(ms(18)).await;
    }
    assert_eq!(info(&runtime, "a").starts, 11);
    // sleeps: until the last timer is alone
    tokio::time::sleep(ms(50)).await;
    log.take();
    // sleeps: the timer's own time
    tokio::time::sleep(ms(1_000)).await;
    let ticks = log.of("tick").len();
    assert!((99..=101).contains(&ticks), "one tick each 10 ms, not {ticks} in a second");
    assert_conserved(&runtime);
    tree.stop().await;
}

/// What a factory holds: runs something when it is dropped.
struct OnDrop(Box<dyn Fn() + Send + Sync>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

// Guards: a specification that was refused was dropped by the driver under its lock: a panic there
// was the end of the whole tree, and a look at the runtime a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_refused_specification_holds_is_dropped_where_it_harms_nobody() {
    let log = Log::default();
    let seen: Arc<Mutex<Option<Runtime>>> = Arc::default();
    let (script, slot) = (Script::new(&log), Arc::clone(&seen));
    let types = AgentTypes::new().with("bad", move |_| {
        let (worker, slot) = (script.worker(), Arc::clone(&slot));
        let held = OnDrop(Box::new(move || {
            let runtime = slot.lock().unwrap().clone();
            let _ = runtime.map(|runtime| runtime.status());
            panic!("a factory that is hard to drop");
        }));
        Ok(move || {
            let _ = &held;
            worker()
        })
    });
    let runtime = runtime_with(RuntimeConfig { types, ..RuntimeConfig::default() });
    *seen.lock().unwrap() = Some(runtime.clone());
    let pool = DynamicSupervisor::new("pool").max_children(Some(1));
    let tree = root().dynamic(pool).start(&runtime).await.unwrap();
    ends(runtime.spawn("pool", "bad", "w", Value::Null)).await.unwrap();
    for (name, pool) in
        [("w", "pool"), ("no name", "pool"), ("v", "pool"), ("v", "root"), ("v", "x")]
    {
        let refused = ends(runtime.spawn(pool, "bad", name, Value::Null)).await;
        assert!(refused.is_err(), "{name} under {pool}");
        assert_eq!(runtime.status(), RuntimeStatus::Running, "{refused:?}");
    }
    ends(tree.stop()).await;
    seen.lock().unwrap().take();
}

// Guards: a start that was refused dropped the specification under the runtime's lock: a factory
// that looked at the runtime when it went was a deadlock.
#[test]
fn what_a_refused_tree_holds_may_look_at_the_runtime() {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (said, done) = std::sync::mpsc::channel();
    // On a thread of its own, because a deadlock cannot be waited out otherwise.
    std::thread::spawn(move || {
        tokio.block_on(async {
            let runtime = runtime();
            for names in [["a", "a"], ["a", "no name"], ["a", "b"]] {
                let mut spec = root();
                for name in names {
                    let looks = runtime.clone();
                    let held = OnDrop(Box::new(move || _ = looks.status()));
                    let make = move || {
                        let _ = &held;
                        Careful
                    };
                    // The last tree is refused by its supervisor: nobody may be significant here.
                    spec = spec.agent(agent(name, make).significant());
                }
                assert!(spec.start(&runtime).await.is_err());
            }
        });
        said.send(()).unwrap();
    });
    done.recv_timeout(secs(20)).expect("a deadlock");
}

/// A waker that counts its handles.
struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

// Guards: every wait for the end that was given up left its waker behind.
#[tokio::test(start_paused = true)]
async fn a_wait_for_the_end_that_is_given_up_leaves_nothing_behind() {
    let log = Log::default();
    let runtime = runtime();
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let counted = Arc::new(Counted);
    for _ in 0..100 {
        let waker = Waker::from(Arc::clone(&counted));
        let mut terminated = pin!(runtime.terminated());
        assert!(poll_with(&waker, terminated.as_mut()).is_pending());
    }
    assert_eq!(Arc::strong_count(&counted), 1);
    tree.stop().await;
}

// Guards: a watcher of a runtime that nobody can start any more waited for ever.
#[tokio::test(start_paused = true)]
async fn a_watcher_of_a_runtime_that_is_gone_is_told_so() {
    let runtime = runtime();
    let mut events = runtime.events();
    drop(runtime);
    assert_eq!(ends(events.next()).await, None);
}

/// Tokio, with a hold on each of its tasks.
#[derive(Debug)]
struct Leash(TokioExecutor, Mutex<Vec<tokio::task::JoinHandle<()>>>);

impl Executor for Leash {
    fn now(&self) -> lictor::Instant {
        self.0.now()
    }
    fn sleep_until(&self, deadline: lictor::Instant) -> Task {
        self.0.sleep_until(deadline)
    }
    fn spawn(&self, task: Task) {
        self.1.lock().unwrap().push(tokio::spawn(task));
    }
}

// Guards: agents outlived a driver that was taken from them, busy ones without an end.
#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_driver() {
    let log = Log::default();
    let leash = Arc::new(Leash(TokioExecutor::current().unwrap(), Mutex::default()));
    let runtime = Runtime::on(Arc::<Leash>::clone(&leash));
    let tree = root().agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
    let a = tree.agent::<Worker>("a").unwrap();
    a.send(Sleep(86_400_000)).await.unwrap();
    a.send(Add(1)).await.unwrap();
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { a.ask(Seen, secs(86_400)).await }
    });
    settle().await;
    // The first task is the agent, the second one the driver.
    leash.1.lock().unwrap()[1].abort();
    let ended = ends(runtime.terminated()).await;
    assert!(!ended.asked);
    let answer = ends(waiting).await.unwrap();
    assert!(matches!(answer, Err(AskError::Failed { failure: ReplyFailure::Down, .. })));
    settle().await;
    assert_eq!(log.of("gone"), ["gone a#1"]);
    assert!(matches!(a.try_send(Add(2)), Err(SendError::Down { .. })));
    ends(runtime.stop()).await;
}

// Guards: a question whose asker lives on another host waited for ever when the callee's host went
// while the answer's address was somewhere else.
#[test]
fn a_deadline_on_a_host_that_has_gone_is_over() {
    struct Hoarder(Arc<Mutex<Vec<ReplyTo<u64>>>>);
    impl Agent for Hoarder {
        type Message = Fragile;
        async fn handle(&mut self, message: Fragile, _: &mut Context<Self>) -> Handled {
            if let Fragile::Fine(_, reply) = message {
                self.0.lock().unwrap().push(reply);
            }
            Ok(())
        }
    }
    let build =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let (host, other) = (build().unwrap(), build().unwrap());
    let hoard = Arc::new(Mutex::new(Vec::new()));
    let held = Arc::clone(&hoard);
    let runtime = Runtime::on(Arc::new(TokioExecutor::on(host.handle().clone())));
    let spec = root().child("a", move || Hoarder(Arc::clone(&held)));
    let tree = other.block_on(spec.start(&runtime)).unwrap();
    let a = tree.agent::<Hoarder>("a").unwrap();
    let asked = other.spawn(async move { a.ask(Fine, secs(86_400)).await });
    while hoard.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    host.shutdown_timeout(secs(10));
    let answer = other.block_on(async { tokio::time::timeout(secs(10), asked).await });
    let answer = answer.expect("it hangs").unwrap();
    assert!(matches!(answer, Err(AskError::Timeout { .. })), "{answer:?}");
    drop(hoard);
}

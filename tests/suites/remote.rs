//! Trees over several runtimes: a supervisor here, its agents in worker processes.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{
    AskError, EventKind, Events, Executor, Message, RuntimeConfig, SendError, StartError,
    TokioExecutor, Value, agent, remote_agent,
};
use lictor_runtime::conformance::{Faults, Network};
use serde_json::json;

messages! {
    pub enum WorkMessage {
        Add(u64),
        Get -> u64,
        Crash,
        /// Stops of its own accord.
        Leave,
    }
}

/// Who is alive now, over all runtimes, how often each was started, and what it was told to add.
#[derive(Clone, Default)]
struct Census(Arc<Mutex<BTreeMap<String, Count>>>);

#[derive(Clone, Copy, Default)]
struct Count {
    alive: u32,
    starts: u32,
    added: u64,
}

impl Census {
    fn of(&self, name: &str) -> Count {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn starts(&self, name: &str) -> u32 {
        self.of(name).starts
    }

    fn alive(&self, name: &str) -> u32 {
        self.of(name).alive
    }

    fn added(&self, name: &str) -> u64 {
        self.of(name).added
    }
}

struct Worker {
    name: String,
    census: Census,
    sum: u64,
}

impl Agent for Worker {
    type Message = WorkMessage;

    async fn handle(
        &mut self,
        message: WorkMessage,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        match message {
            WorkMessage::Add(Add(n)) => {
                self.sum += n;
                self.census.0.lock().unwrap().get_mut(&self.name).unwrap().added += n;
            }
            WorkMessage::Get(Get, reply) => drop(reply.send(self.sum).to_string()),
            WorkMessage::Crash(Crash) => return Err(AgentError::new("on purpose")),
            WorkMessage::Leave(Leave) => cx.stop(),
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.census.0.lock().unwrap().get_mut(&self.name).unwrap().alive -= 1;
    }
}

fn worker(name: &str, census: &Census) -> AgentSpec {
    let (name, census) = (name.to_owned(), census.clone());
    agent(name.clone(), move || {
        let mut all = census.0.lock().unwrap();
        let count = all.entry(name.clone()).or_default();
        count.alive += 1;
        count.starts += 1;
        // Rule: H16
        assert_eq!(count.alive, 1, "{name} is alive twice");
        Worker { name: name.clone(), census: census.clone(), sum: 0 }
    })
    .capabilities(["work"])
}

struct World {
    executor: Arc<dyn Executor>,
    network: Arc<Network>,
    names: Vec<&'static str>,
    census: Census,
}

impl World {
    fn new(seed: u64) -> Self {
        let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
        let network = Network::new(Arc::clone(&executor), seed);
        Self { executor, network, names: vec!["s", "w1", "w2"], census: Census::default() }
    }

    fn runtime(&self, process: &str, epoch: u64) -> Runtime {
        let node = NodeId::of_name(process);
        let all = self.names.iter().map(|name| NodeId::of_name(name));
        let peers = all.filter(|peer| *peer != node).collect();
        let mut config = RuntimeConfig {
            transport: Some(self.network.transport(node, peers)),
            membership: membership::Config { node, epoch, ..membership::Config::default() },
            stop_timeout: secs(5),
            ..RuntimeConfig::default()
        };
        config.remote.inherits = epoch > 1;
        Runtime::with_config(Arc::clone(&self.executor), config)
    }

    /// A worker process with agents of these names.
    async fn serve(&self, process: &'static str, epoch: u64, names: &[&str]) -> Runtime {
        let runtime = self.runtime(process, epoch);
        let agents = names.iter().map(|name| worker(name, &self.census));
        runtime.serve(process, agents).await.unwrap();
        runtime
    }

    /// `a` here, `b` on w1, `c` on w2.
    fn tree(&self, root: Supervisor) -> Supervisor {
        root.backoff(Backoff::NONE)
            .agent(worker("a", &self.census))
            .agent(remote_agent("b", "w1"))
            .agent(remote_agent("c", "w2"))
    }

    fn cut(&self, a: &str, b: &str, cut: bool) {
        let (a, b) = (NodeId::of_name(a), NodeId::of_name(b));
        self.network.cut(a, b, cut);
        self.network.cut(b, a, cut);
    }

    fn starts(&self) -> [u32; 3] {
        ["a", "b", "c"].map(|name| self.census.starts(name))
    }
}

fn get() -> Message {
    Message::new("Get", Value::Null)
}

fn add(n: u64) -> Message {
    Message::new("Add", json!(n))
}

fn crash() -> Message {
    Message::new("Crash", Value::Null)
}

fn on_paused<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Waits for an event, and says when it came.
async fn until(events: &mut Events, is: impl Fn(&EventKind) -> bool) -> f64 {
    loop {
        let event = events.next().await.expect("the runtime runs");
        if is(&event.kind) {
            return event.at;
        }
    }
}

fn started(name: &str) -> impl Fn(&EventKind) -> bool {
    let name = name.to_owned();
    move |kind| matches!(kind, EventKind::Started { name: it, .. } if **it == *name)
}

// Rules: H1, H13
// Defect: Z17
#[test]
fn a_tree_over_three_processes_works_as_one() {
    on_paused(async {
        let world = World::new(1);
        let (one, two) = (world.serve("w1", 1, &["b"]).await, world.serve("w2", 1, &["c"]).await);
        let main = world.runtime("s", 1);
        main.start(world.tree(Supervisor::one_for_one("root"))).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        for from in [&main, &one, &two] {
            for to in ["a", "b", "c"] {
                from.send(to, add(1)).await.unwrap();
            }
        }
        tokio::time::sleep(secs(1)).await;
        for to in ["a", "b", "c"] {
            assert_eq!(one.ask(to, get(), secs(1)).await.unwrap(), json!(3));
        }
        let agents = main.agents();
        let on: Vec<Option<&str>> = agents.iter().map(|agent| agent.on.as_deref()).collect();
        assert_eq!(on, [None, Some("w1"), Some("w2")]);
        assert!(main.print_tree().contains("[agent] b (RUNNING) on w1"), "{}", main.print_tree());
        assert_eq!(&*one.agents()[0].name, "b");
        // The end of the tree is the end of all of it; the workers go on.
        main.stop().await;
        assert_eq!(["a", "b", "c"].map(|name| world.census.alive(name)), [0; 3]);
        tokio::time::sleep(secs(1)).await;
        assert!(one.agents().is_empty());
        assert!(matches!(two.send("b", add(1)).await, Err(SendError::Unknown { .. })));
        one.stop().await;
        two.stop().await;
    });
}

// Rule: H1
// Defects: X1, Z16
#[test]
fn a_crash_over_there_is_a_crash_here() {
    on_paused(async {
        for (root, expected) in [
            (Supervisor::one_for_one("root"), [1, 2, 1]),
            (Supervisor::rest_for_one("root"), [1, 2, 2]),
            (Supervisor::one_for_all("root"), [2, 2, 2]),
        ] {
            let world = World::new(2);
            let one = world.serve("w1", 1, &["b"]).await;
            let two = world.serve("w2", 1, &["c"]).await;
            let main = world.runtime("s", 1);
            main.start(world.tree(root.max_restarts(1, secs(60)))).await.unwrap();
            let mut events = main.events();
            tokio::time::sleep(secs(1)).await;
            main.send("b", crash()).await.unwrap();
            let said = |kind: &EventKind| {
                matches!(kind, EventKind::Crashed { name, detail, .. }
                    if &**name == "b" && detail.contains("on purpose"))
            };
            until(&mut events, said).await;
            tokio::time::sleep(secs(1)).await;
            assert_eq!(world.starts(), expected);
            // One more than the budget of the supervisor.
            main.send("b", crash()).await.unwrap();
            let terminated = main.terminated().await;
            assert!(!terminated.asked);
            tokio::time::sleep(secs(1)).await;
            assert_eq!(["a", "b", "c"].map(|name| world.census.alive(name)), [0; 3]);
            one.stop().await;
            two.stop().await;
        }
    });
}

// Rule: H2
// Defect: Z18
#[test]
fn workers_may_come_after_the_supervisor() {
    on_paused(async {
        let world = World::new(3);
        let main = world.runtime("s", 1);
        let mut events = main.events();
        let start =
            main.start(world.tree(Supervisor::one_for_one("root").max_restarts(0, secs(9))));
        let late = async {
            until(&mut events, |kind| matches!(kind, EventKind::Waiting { .. })).await;
            assert!(matches!(main.send("b", add(1)).await, Err(SendError::Unreachable { .. })));
            tokio::time::sleep(secs(100)).await;
            let one = world.serve("w1", 1, &["b"]).await;
            tokio::time::sleep(secs(100)).await;
            (one, world.serve("w2", 1, &["c"]).await)
        };
        let (started, (one, two)) = tokio::join!(start, late);
        started.unwrap();
        assert_eq!(world.starts(), [1, 1, 1]);
        main.stop().await;
        one.stop().await;
        two.stop().await;
    });
}

/// Is never up.
struct Slow;

impl Agent for Slow {
    type Message = WorkMessage;

    async fn start(&mut self, _: &mut Context<Self>) -> Result<(), AgentError> {
        std::future::pending().await
    }

    async fn handle(&mut self, _: WorkMessage, _: &mut Context<Self>) -> Result<(), AgentError> {
        Ok(())
    }
}

// It was said again when the host of a start that had not come up was given up.
#[test]
fn that_a_start_waits_is_said_once() {
    on_paused(async {
        let world = World::new(3);
        let main = world.runtime("s", 1);
        let mut events = main.events();
        let root = Supervisor::one_for_one("root").agent(remote_agent("b", "w1"));
        let starting = main.clone();
        let start = tokio::spawn(async move { starting.start(root).await.map(drop) });
        until(&mut events, |kind| matches!(kind, EventKind::Waiting { .. })).await;
        let one = world.runtime("w1", 1);
        one.serve("w1", [agent("b", || Slow)]).await.unwrap();
        let up = |kind: &EventKind| matches!(kind, EventKind::PeerUp { .. });
        until(&mut events, up).await;
        tokio::time::sleep(secs(30)).await;
        world.cut("s", "w1", true);
        tokio::time::sleep(secs(60)).await;
        world.cut("s", "w1", false);
        tokio::time::sleep(secs(60)).await;
        let mut seen = Vec::new();
        seen.extend(std::iter::from_fn(|| events.try_next()).map(|event| event.kind));
        assert!(seen.iter().any(|kind| matches!(kind, EventKind::PeerDown { .. })), "{seen:?}");
        let again = |kind: &EventKind| matches!(kind, EventKind::Waiting { .. });
        assert!(!seen.iter().any(again), "{seen:?}");
        start.abort();
        one.stop().await;
        main.stop().await;
    });
}

// Rules: H13, H14
// Defect: Z34
#[test]
fn a_rolling_restart_loses_no_route() {
    on_paused(async {
        let world = World::new(4);
        let mut one = world.serve("w1", 1, &["b"]).await;
        let two = world.serve("w2", 1, &["c"]).await;
        let main = world.runtime("s", 1);
        main.start(world.tree(Supervisor::one_for_one("root"))).await.unwrap();
        let mut events = main.events();
        for epoch in 2..=4 {
            one.stop().await;
            assert_eq!(world.census.alive("b"), 0);
            one = world.serve("w1", epoch, &["b"]).await;
            until(&mut events, started("b")).await;
            tokio::time::sleep(secs(1)).await;
            assert_eq!(two.ask("b", get(), secs(1)).await.unwrap(), json!(0));
            assert_eq!(main.ask("b", get(), secs(1)).await.unwrap(), json!(0));
        }
        assert_eq!(world.starts(), [1, 4, 1]);
        main.stop().await;
    });
}

// Rules: H7, H8, H9, H10
#[test]
fn a_partition_ends_what_is_cut_off_before_it_is_started_again() {
    on_paused(async {
        let world = World::new(5);
        let one = world.serve("w1", 1, &["b"]).await;
        let two = world.serve("w2", 1, &["c"]).await;
        let main = world.runtime("s", 1);
        main.start(world.tree(Supervisor::one_for_one("root"))).await.unwrap();
        tokio::time::sleep(secs(2)).await;
        let (mut events, mut theirs) = (main.events(), one.events());
        world.cut("s", "w1", true);
        let lost = |kind: &EventKind| {
            matches!(kind, EventKind::Crashed { name, reason: "no_connection", .. }
                if &**name == "b")
        };
        until(&mut events, lost).await;
        assert_eq!(world.census.alive("b"), 1, "its lease holds yet");
        until(&mut theirs, |kind| {
            matches!(kind, EventKind::Crashed { .. } | EventKind::Stopped { .. })
        })
        .await;
        assert_eq!(world.census.alive("b"), 0);
        tokio::time::sleep(secs(2)).await;
        assert!(matches!(two.send("b", add(1)).await, Err(SendError::Unknown { .. })));
        let unreachable = main.ask("b", get(), secs(1)).await.unwrap_err();
        assert!(matches!(unreachable, AskError::NotSent(SendError::Unreachable { .. })));
        world.cut("s", "w1", false);
        until(&mut events, started("b")).await;
        tokio::time::sleep(secs(1)).await;
        assert_eq!(two.ask("b", get(), secs(1)).await.unwrap(), json!(0));
        assert_eq!(world.starts(), [1, 2, 1]);
        main.stop().await;
    });
}

// Rules: H3, H16, H17
#[test]
fn a_wire_that_loses_repeats_and_reorders_loses_no_child() {
    on_paused(async {
        for seed in 0..8 {
            let world = World::new(seed);
            world.network.set_faults(Faults {
                loss_milli: 200,
                repeat_milli: 200,
                delay_min: ms(1),
                delay_max: ms(300),
            });
            let one = world.serve("w1", 1, &["b"]).await;
            let two = world.serve("w2", 1, &["c"]).await;
            let main = world.runtime("s", 1);
            let root = Supervisor::one_for_all("root").max_restarts(1000, secs(60));
            main.start(world.tree(root)).await.unwrap();
            for round in 0..10 {
                let cut = round % 3 == 0;
                world.cut("s", "w1", cut);
                // What is lost here is lost.
                let _ = main.send(["a", "b", "c"][round % 3], crash()).await;
                tokio::time::sleep(secs(4)).await;
            }
            world.network.set_faults(Faults::default());
            world.cut("s", "w1", false);
            tokio::time::sleep(secs(20)).await;
            for to in ["a", "b", "c"] {
                assert_eq!(world.census.alive(to), 1, "{to} with seed {seed}");
                assert!(two.ask(to, get(), secs(1)).await.is_ok(), "{to} with seed {seed}");
            }
            main.stop().await;
            one.stop().await;
            two.stop().await;
        }
    });
}

// Rule: H5
// Defect: X5
#[test]
fn a_worker_that_was_not_given_the_name_says_so() {
    on_paused(async {
        let world = World::new(6);
        let one = world.serve("w1", 1, &["other"]).await;
        let main = world.runtime("s", 1);
        let root = Supervisor::one_for_one("root").agent(remote_agent("b", "w1"));
        let failed = main.start(root).await.unwrap_err();
        let StartError::AgentFailed { name, detail } = failed else { panic!("{failed}") };
        assert_eq!(name, "b");
        assert!(detail.contains("does not offer it"), "{detail}");
        one.stop().await;
        // Nor may one be placed where there is no wire, or offered without anything to run.
        let lonely = Runtime::on(Arc::clone(&world.executor));
        let root = Supervisor::one_for_one("root").agent(remote_agent("b", "w1"));
        assert!(matches!(lonely.start(root).await, Err(StartError::BadName { .. })));
        let nothing = world.runtime("w2", 1).host([remote_agent("b", "w1")]);
        assert!(matches!(nothing, Err(StartError::BadName { .. })));
    });
}

// Rule: H1
#[test]
fn in_its_own_process_an_agent_is_like_any_other_and_a_clean_stop_stays_stopped() {
    on_paused(async {
        let world = World::new(7);
        let one = world.serve("w1", 1, &["b"]).await;
        let main = world.runtime("s", 1);
        let root = Supervisor::one_for_one("root")
            .agent(worker("a", &world.census).at_process("s"))
            .agent(remote_agent("b", "w1"));
        main.start(root).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!(main.agents()[0].on, None);
        main.send("b", Message::new("Leave", Value::Null)).await.unwrap();
        tokio::time::sleep(secs(2)).await;
        assert_eq!((world.census.alive("b"), world.census.starts("b")), (0, 1));
        assert!(matches!(main.send("b", add(1)).await, Err(SendError::Down { .. })));
        assert!(one.agents().is_empty(), "the worker has given the name back");
        main.restart_child("b").await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!(one.ask("b", get(), secs(1)).await.unwrap(), json!(0));
        main.stop().await;
        one.stop().await;
    });
}

// Rule: H7
#[test]
fn what_sleeps_through_the_end_of_its_lease_handles_nothing_more() {
    on_paused(async {
        let world = World::new(8);
        let one = world.serve("w1", 1, &["b"]).await;
        let main = world.runtime("s", 1);
        main.start(Supervisor::one_for_one("root").agent(remote_agent("b", "w1"))).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        one.send("b", add(1)).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!(world.census.added("b"), 1);
        // The agent has a message, and is polled before its driver finds out what the time is.
        one.send("b", add(10)).await.unwrap();
        tokio::time::advance(secs(60)).await;
        tokio::time::sleep(ms(1)).await;
        assert_eq!(world.census.added("b"), 1, "the lease is over");
        tokio::time::sleep(secs(30)).await;
        main.send("b", add(100)).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!((world.census.starts("b"), world.census.alive("b")), (2, 1));
        main.stop().await;
        one.stop().await;
    });
}

//! Hosts that each run one node, and a hand to hold them with.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::kernel::node::{Action, Event};
use lictor::kernel::{Instant, NameId, NodeId, membership};
use lictor::prelude::*;
use lictor::{Message, Recorder, RuntimeConfig, Value, agent};
use lictor_turmoil::{Config, Counters, TokioExecutor, TurmoilTransport};
use serde_json::json;
use turmoil::Builder;

messages! {
    pub enum CounterMessage {
        Add(u64),
        Get -> u64,
        /// Answers never.
        Sleep -> u64,
    }
}

#[derive(Default)]
struct Counter(u64);

impl Agent for Counter {
    type Message = CounterMessage;

    async fn handle(
        &mut self,
        message: CounterMessage,
        _cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => {
                reply.send(self.0);
            }
            CounterMessage::Sleep(Sleep, reply) => {
                tokio::time::sleep(Duration::from_secs(100_000)).await;
                drop(reply);
            }
        }
        Ok(())
    }
}

/// All that the kernels heard and decided, in one number.
#[derive(Default, Debug)]
pub(crate) struct Trace(Mutex<DefaultHasher>);

impl Recorder for Trace {
    fn name(&self, id: NameId, name: &str) {
        (id, name).hash(&mut *self.0.lock().unwrap());
    }

    fn event(&self, now: Instant, event: &Event) {
        (now, event).hash(&mut *self.0.lock().unwrap());
    }

    fn action(&self, now: Instant, action: &Action) {
        (now, action).hash(&mut *self.0.lock().unwrap());
    }
}

type Job = Box<dyn FnOnce(Runtime) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What the test sees of a node, and has it do.
#[derive(Default)]
struct Hand {
    boots: u64,
    peers: Vec<(NodeId, Option<u64>)>,
    remote: Vec<String>,
    counters: Counters,
    jobs: VecDeque<Job>,
}

pub(crate) struct World {
    pub(crate) sim: turmoil::Sim<'static>,
    hands: BTreeMap<u64, Arc<Mutex<Hand>>>,
    trace: Arc<Trace>,
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn get() -> Message {
    Message::new("Get", Value::Null)
}

pub(crate) fn add(n: u64) -> Message {
    Message::new("Add", json!(n))
}

impl World {
    /// So many hosts `n1`, `n2`, ..., each with its counter `c1`, `c2`, ...
    pub(crate) fn new(count: u64, seed: u64) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .epoch(std::time::UNIX_EPOCH)
            .tick_duration(ms(5))
            .simulation_duration(Duration::from_secs(1_000_000))
            .min_message_latency(ms(1))
            .max_message_latency(ms(20))
            .tcp_capacity(4096);
        let mut world =
            Self { sim: builder.build(), hands: BTreeMap::new(), trace: Arc::default() };
        for number in 1..=count {
            let hand = Arc::new(Mutex::new(Hand::default()));
            world.hands.insert(number, Arc::clone(&hand));
            let trace = Arc::clone(&world.trace);
            world.sim.host(format!("n{number}"), move || {
                run_node(number, count, seed, Arc::clone(&hand), Arc::clone(&trace))
            });
        }
        world
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    /// Runs until it is so, and returns how long it took.
    ///
    /// # Panics
    /// After a minute.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let start = self.sim.elapsed();
        while !is_so(self) {
            self.run(ms(10));
            let took = self.sim.elapsed() - start;
            assert!(took < Duration::from_secs(60), "not in a minute: {what}");
        }
        self.sim.elapsed() - start
    }

    /// The boot of a peer, as a node sees it.
    pub(crate) fn sees(&self, node: u64, peer: u64) -> Option<u64> {
        let hand = self.hands[&node].lock().unwrap();
        hand.peers.iter().find(|(node, _)| node.0 == peer).and_then(|(_, epoch)| *epoch)
    }

    pub(crate) fn remote(&self, node: u64) -> Vec<String> {
        self.hands[&node].lock().unwrap().remote.clone()
    }

    pub(crate) fn counters(&self, node: u64) -> Counters {
        self.hands[&node].lock().unwrap().counters
    }

    pub(crate) fn digest(&self) -> u64 {
        self.trace.0.lock().unwrap().finish()
    }

    /// Everybody sees everybody.
    pub(crate) fn meet(&mut self) {
        let all: Vec<u64> = self.hands.keys().copied().collect();
        self.until("everybody sees everybody", |world| {
            let others = |node| all.iter().filter(move |peer| **peer != node);
            all.iter().all(|node| {
                others(*node).all(|peer| world.sees(*node, *peer).is_some())
                    && world.remote(*node).len() == all.len() - 1
            })
        });
    }

    /// Has a node do something; what it comes to is taken from the slot when it is there.
    pub(crate) fn on<T, F>(
        &self,
        node: u64,
        job: impl FnOnce(Runtime) -> F + Send + 'static,
    ) -> Slot<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let slot = Slot(Arc::new(Mutex::new(None)));
        let into = Arc::clone(&slot.0);
        let job: Job = Box::new(move |runtime| {
            let work = job(runtime);
            Box::pin(async move {
                let result = work.await;
                *into.lock().unwrap() = Some(result);
            })
        });
        self.hands[&node].lock().unwrap().jobs.push_back(job);
        slot
    }

    /// As [`World::on`], and waits for the result.
    pub(crate) fn have<T, F>(
        &mut self,
        node: u64,
        job: impl FnOnce(Runtime) -> F + Send + 'static,
    ) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let slot = self.on(node, job);
        self.until("the job is done", |_| slot.is_there());
        slot.take()
    }
}

pub(crate) struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    pub(crate) fn is_there(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    pub(crate) fn take(&self) -> T {
        self.0.lock().unwrap().take().expect("the job is done")
    }
}

async fn run_node(
    number: u64,
    count: u64,
    seed: u64,
    hand: Arc<Mutex<Hand>>,
    trace: Arc<Trace>,
) -> turmoil::Result {
    let epoch = {
        let mut hand = hand.lock().unwrap();
        hand.boots += 1;
        hand.jobs.clear();
        hand.boots
    };
    let node = NodeId(number);
    let others = (1..=count).filter(|peer| *peer != number);
    let peers = others.map(|peer| (NodeId(peer), format!("n{peer}"))).collect();
    let config = Config { seed, ..Config::new(node, epoch, peers) };
    let transport = TurmoilTransport::new(config);
    let config = RuntimeConfig {
        transport: Some(Arc::<TurmoilTransport>::clone(&transport)),
        membership: membership::Config { node, epoch, ..membership::Config::default() },
        recorder: Some(trace),
        seed,
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(Arc::new(TokioExecutor::current()?), config);
    let counter = agent(format!("c{number}"), Counter::default);
    runtime.start(Supervisor::one_for_one("root").agent(counter)).await?;
    loop {
        let jobs = {
            let mut hand = hand.lock().unwrap();
            hand.peers = runtime.peers();
            let names = runtime.remote_names();
            hand.remote = names.into_iter().map(|(name, _)| name.to_string()).collect();
            hand.counters = transport.counters();
            std::mem::take(&mut hand.jobs)
        };
        for job in jobs {
            tokio::spawn(job(runtime.clone()));
        }
        tokio::time::sleep(ms(10)).await;
    }
}

//! A supervisor on one host, its agents on two others, and hosts that crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{AgentSpec, RuntimeConfig, agent, remote_agent};
use lictor_turmoil::{Config, TokioExecutor, TurmoilTransport};
use turmoil::{Builder, Sim};

const HOSTS: [&str; 3] = ["s", "w1", "w2"];

/// By name: how many are alive, and how often one was started. By host: its boots.
#[derive(Default)]
struct Census {
    agents: BTreeMap<&'static str, (u32, u32)>,
    boots: BTreeMap<&'static str, u64>,
    ended: bool,
}

type Shared = Arc<Mutex<Census>>;

struct Worker(&'static str, Shared);

messages! {
    pub enum WorkerMessage {
        Crash,
    }
}

impl Agent for Worker {
    type Message = WorkerMessage;

    async fn handle(
        &mut self,
        _message: WorkerMessage,
        _cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        Err(AgentError::new("on purpose"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.1.lock().unwrap().agents.get_mut(self.0).unwrap().0 -= 1;
    }
}

fn worker(name: &'static str, census: &Shared) -> AgentSpec {
    let census = Arc::clone(census);
    agent(name, move || {
        let mut all = census.lock().unwrap();
        let (alive, starts) = all.agents.entry(name).or_default();
        *alive += 1;
        *starts += 1;
        // Rule: H16
        assert_eq!(*alive, 1, "{name} is alive twice");
        Worker(name, Arc::clone(&census))
    })
}

async fn run(host: &'static str, census: Shared) -> turmoil::Result {
    let epoch = {
        let mut census = census.lock().unwrap();
        let boots = census.boots.entry(host).or_default();
        *boots += 1;
        *boots
    };
    let node = NodeId::of_name(host);
    let others = HOSTS.iter().filter(|other| **other != host);
    let peers = others.map(|other| (NodeId::of_name(other), (*other).to_owned())).collect();
    let transport = TurmoilTransport::new(Config { seed: 1, ..Config::new(node, epoch, peers) });
    let mut config = RuntimeConfig {
        transport: Some(transport),
        membership: membership::Config { node, epoch, ..membership::Config::default() },
        ..RuntimeConfig::default()
    };
    config.remote.inherits = epoch > 1;
    let runtime = Runtime::with_config(Arc::new(TokioExecutor::current()?), config);
    match host {
        "s" => {
            let root = Supervisor::rest_for_one("root")
                .max_restarts(20, secs(600))
                .backoff(Backoff::NONE)
                .agent(remote_agent("b", "w1"))
                .agent(remote_agent("c", "w2"))
                .agent(worker("a", &census));
            runtime.start(root).await?;
            runtime.terminated().await;
            census.lock().unwrap().ended = true;
        }
        "w1" => drop(runtime.serve(host, [worker("b", &census)]).await?),
        _ => drop(runtime.serve(host, [worker("c", &census)]).await?),
    }
    std::future::pending().await
}

struct World {
    sim: Sim<'static>,
    census: Shared,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .epoch(std::time::UNIX_EPOCH)
            .tick_duration(ms(5))
            .simulation_duration(secs(100_000))
            .min_message_latency(ms(1))
            .max_message_latency(ms(20))
            .tcp_capacity(4096);
        let (mut sim, census) = (builder.build(), Shared::default());
        for host in HOSTS {
            let census = Arc::clone(&census);
            sim.host(host, move || run(host, Arc::clone(&census)));
        }
        Self { sim, census }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    /// Of `a`, `b` and `c`: who is alive, and how often each was started.
    fn now(&self) -> [(u32, u32); 3] {
        let census = self.census.lock().unwrap();
        ["a", "b", "c"].map(|name| census.agents.get(name).copied().unwrap_or_default())
    }
}

// Rules: H1, H8, H9
#[test]
fn a_worker_that_crashes_and_comes_again_gets_its_agent_again() {
    let mut world = World::new(1);
    world.pass(secs(10));
    assert_eq!(world.now(), [(1, 1), (1, 1), (1, 1)]);
    world.sim.crash("w1");
    world.pass(secs(10));
    // Who comes after it has been stopped, and waits for it.
    assert_eq!(world.now(), [(0, 1), (0, 1), (0, 1)]);
    world.sim.bounce("w1");
    world.pass(secs(15));
    assert_eq!(world.now(), [(1, 2), (1, 2), (1, 2)]);
    // At once: the old boot's lease must run out.
    world.sim.bounce("w2");
    world.pass(secs(2));
    assert_eq!(world.now()[2].0, 0);
    world.pass(secs(15));
    assert_eq!(world.now(), [(1, 3), (1, 2), (1, 3)]);
    assert!(!world.census.lock().unwrap().ended);
}

// Rules: H11, H12
#[test]
fn an_owner_that_crashes_leaves_nothing_behind_and_starts_anew() {
    let mut world = World::new(2);
    world.pass(secs(10));
    world.sim.crash("s");
    world.pass(secs(10));
    assert_eq!(world.now(), [(0, 1), (0, 1), (0, 1)], "the leases are over");
    world.sim.bounce("s");
    world.pass(secs(20));
    assert_eq!(world.now(), [(1, 2), (1, 2), (1, 2)]);
    world.sim.bounce("s");
    world.pass(secs(20));
    assert_eq!(world.now(), [(1, 3), (1, 3), (1, 3)]);
}

// Rules: H7, H16, H17
#[test]
fn partitions_and_crashes_in_any_order_never_make_two_of_one() {
    for seed in 0..6 {
        let mut world = World::new(seed);
        world.pass(secs(5));
        for round in 0..8_u64 {
            let host = HOSTS[usize::try_from((seed + round) % 3).unwrap()];
            let other = HOSTS[usize::try_from((seed + round + 1 + round % 2) % 3).unwrap()];
            match (seed * 7 + round * 3) % 4 {
                0 => world.sim.bounce(host),
                1 => world.sim.partition(host, other),
                2 => world.sim.repair(host, other),
                _ => world.sim.bounce(other),
            }
            world.pass(ms(700 + 1300 * (round % 3)));
        }
        for (a, b) in [("s", "w1"), ("s", "w2"), ("w1", "w2")] {
            world.sim.repair(a, b);
        }
        world.pass(secs(40));
        let alive = world.now().map(|(alive, _)| alive);
        assert_eq!(alive, [1, 1, 1], "seed {seed}: {:?}", world.now());
    }
}

//! The same code in turmoil: real bytes of ZMTP over a network that fails, in virtual time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor_kernel::Prng;
use lictor_runtime::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor_runtime::transport::Frame;
use lictor_zmq::{Endpoint, ZmqBroker, ZmqConfig};

use crate::simulated_network::{Simulated, hub};
use crate::support::curve;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config(secure: bool) -> ZmqConfig {
    let hub = |port| Endpoint::Tcp { host: "hub".to_owned(), port };
    let mut config = ZmqConfig { pub_addr: hub(5559), sub_addr: hub(5560), ..ZmqConfig::new() };
    config.curve = secure.then(curve);
    // A stream of turmoil that has lost a segment is silent for ever: it has to be found out.
    config.heartbeat.every = ms(200);
    config.heartbeat.timeout = ms(1000);
    config.heartbeat.ttl = ms(2000);
    config.handshake_timeout = ms(2000);
    config.retry.connect_timeout = ms(1000);
    config.retry.max = ms(500);
    config
}

/// What a node has heard: whether it is ready, and numbers of each sender.
#[derive(Default)]
struct Heard {
    ready: bool,
    times_ready: u32,
    numbers: BTreeMap<u64, Vec<u32>>,
}

struct World {
    sim: turmoil::Sim<'static>,
    heard: BTreeMap<u64, Arc<Mutex<Heard>>>,
    digest: Arc<Mutex<DefaultHasher>>,
}

impl World {
    /// A hub with the forwarder, and nodes that number messages to each other, one each 10 ms.
    fn new(nodes: u64, seed: u64, secure: bool) -> Self {
        let mut sim = hub(seed, ms(5), move || config(secure));
        let digest = Arc::new(Mutex::new(DefaultHasher::new()));
        let mut heard = BTreeMap::new();
        for node in 1..=nodes {
            let own = Arc::new(Mutex::new(Heard::default()));
            heard.insert(node, Arc::clone(&own));
            let digest = Arc::clone(&digest);
            sim.host(format!("n{node}"), move || {
                let (own, digest) = (Arc::clone(&own), Arc::clone(&digest));
                let network = Simulated::new((seed << 40) | (node << 20));
                async move {
                    run_node(node, nodes, network, secure, own, digest).await;
                    Ok(())
                }
            });
        }
        Self { sim, heard, digest }
    }

    fn run(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Heard) -> bool) {
        let start = self.sim.elapsed();
        while !self.heard.values().all(|heard| is_so(&heard.lock().unwrap())) {
            self.run(ms(10));
            assert!(self.sim.elapsed() - start < Duration::from_secs(60), "not in time: {what}");
        }
    }

    /// Everybody hears everybody, from now on.
    fn meet(&mut self) {
        let others = self.heard.len() - 1;
        for heard in self.heard.values() {
            heard.lock().unwrap().numbers.clear();
        }
        self.until("everybody hears everybody", |heard| {
            heard.numbers.values().filter(|numbers| numbers.len() > 20).count() == others
        });
    }
}

async fn run_node(
    node: u64,
    nodes: u64,
    network: Simulated,
    secure: bool,
    own: Arc<Mutex<Heard>>,
    digest: Arc<Mutex<DefaultHasher>>,
) {
    let broker = ZmqBroker::on(network, config(secure)).unwrap();
    broker.subscribe(Subscription::address(format!("n{node}"))).unwrap();
    let inbox = BrokerInbox::new(move |event| {
        let mut heard = own.lock().unwrap();
        let mut digest = digest.lock().unwrap();
        (turmoil::elapsed(), node).hash(&mut *digest);
        match event {
            BrokerEvent::Ready => {
                heard.ready = true;
                heard.times_ready += 1;
            }
            BrokerEvent::Lost(reason) => {
                reason.hash(&mut *digest);
                heard.ready = false;
            }
            BrokerEvent::Message { frame, .. } => {
                frame.as_bytes().hash(&mut *digest);
                let (from, number) = frame.as_bytes().split_at(8);
                let from = u64::from_be_bytes(from.try_into().unwrap());
                let number = u32::from_be_bytes(number.try_into().unwrap());
                heard.numbers.entry(from).or_default().push(number);
            }
            BrokerEvent::Dropped(_) => {}
        }
        true
    });
    let numbering = async {
        for number in 0..u32::MAX {
            for to in (1..=nodes).filter(|to| *to != node) {
                let content = [&node.to_be_bytes()[..], &number.to_be_bytes()].concat();
                let _ = broker.publish(&format!("n{to}"), Frame::new(content));
            }
            tokio::time::sleep(ms(10)).await;
        }
    };
    tokio::join!(Arc::clone(&broker).run(inbox), numbering);
}

/// Faults, and then none: nothing comes twice or out of order, and everybody is back at the end.
fn story(seed: u64, secure: bool, crashes: bool) -> u64 {
    let mut world = World::new(3, seed, secure);
    world.meet();
    let mut faults = Prng::new(seed);
    for _ in 0..6 {
        let node = format!("n{}", 1 + faults.below(3));
        match faults.below(4) {
            0 => world.sim.partition(node, "hub"),
            1 => world.sim.hold(node, "hub"),
            2 if crashes => {
                world.sim.crash("hub");
                world.run(ms(faults.below(2000)));
                world.sim.bounce("hub");
            }
            _ => {
                world.sim.partition_oneway("hub", node);
            }
        }
        world.run(ms(200 + faults.below(4000)));
        for node in 1..=3 {
            let node = format!("n{node}");
            world.sim.release(&*node, "hub");
            world.sim.repair(&*node, "hub");
        }
        world.run(ms(faults.below(1000)));
    }
    for heard in world.heard.values() {
        for (from, numbers) in &heard.lock().unwrap().numbers {
            assert!(numbers.is_sorted_by(|a, b| a < b), "of n{from}, seed {seed}");
        }
    }
    world.until("ready", |heard| heard.ready);
    world.meet();
    world.digest.lock().unwrap().finish()
}

#[test]
fn after_any_faults_everybody_is_back_and_nothing_came_twice() {
    for seed in 0..8 {
        story(seed, seed % 2 == 0, true);
    }
}

/// Without crashes: when a host's runtime is dropped, tokio drops its tasks in an order that depends
/// on how many tasks the process has made before, and so does the order of their last words.
#[test]
fn the_same_seed_gives_the_same_bytes_at_the_same_time() {
    let digests: Vec<_> = [1, 1, 2].into_iter().map(|seed| story(seed, true, false)).collect();
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

/// Waits for nothing but proof: readiness comes with the first probe that is back.
#[test]
fn readiness_costs_a_few_trips_and_no_pause() {
    let mut world = World::new(2, 3, false);
    let start = world.sim.elapsed();
    world.until("ready", |heard| heard.ready);
    let took = world.sim.elapsed() - start;
    // Connections, handshakes and a probe, at up to 20 ms each way; turmoil retries a refused one.
    assert!(took < ms(500), "{took:?}");
    let times: Vec<_> =
        world.heard.values().map(|heard| heard.lock().unwrap().times_ready).collect();
    assert_eq!(times, [1, 1]);
}

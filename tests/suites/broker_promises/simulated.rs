//! Our ZeroMQ in turmoil: real bytes of ZMTP over a network that is simulated, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor_runtime::broker::{Broker, BrokerInbox};
use lictor_sim::broker::Medium;
use lictor_zmq::{Endpoint, ZmqBroker, ZmqConfig};
use tokio::sync::Notify;

use crate::clients::World;
use crate::simulated_network::{Simulated, hub};
use crate::suite::{Going, Who};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config() -> ZmqConfig {
    let hub = |port| Endpoint::Tcp { host: "hub".to_owned(), port };
    let mut config = ZmqConfig { pub_addr: hub(5559), sub_addr: hub(5560), ..ZmqConfig::new() };
    config.heartbeat.every = ms(200);
    config.heartbeat.timeout = ms(1000);
    config.heartbeat.ttl = ms(2000);
    config.retry.connect_timeout = ms(1000);
    config.retry.max = ms(500);
    config
}

/// What the host of a client is to run.
#[derive(Default)]
struct Seat {
    next: Mutex<Option<(Arc<dyn Broker>, BrokerInbox)>>,
    begins: Notify,
    ends: Notify,
}

/// A hub with the forwarder, and three hosts.
pub(crate) struct Turmoil {
    sim: turmoil::Sim<'static>,
    seats: BTreeMap<Who, Arc<Seat>>,
    crashed: BTreeSet<Who>,
    seed: u64,
}

impl Turmoil {
    pub(crate) fn new(seed: u64) -> Self {
        let mut sim = hub(seed, ms(1), config);
        let mut seats = BTreeMap::new();
        for who in Who::ALL {
            let seat = Arc::new(Seat::default());
            seats.insert(who, Arc::clone(&seat));
            sim.host(host(who), move || {
                let seat = Arc::clone(&seat);
                async move {
                    loop {
                        let next = seat.next.lock().unwrap().take();
                        let Some((broker, inbox)) = next else {
                            seat.begins.notified().await;
                            continue;
                        };
                        tokio::select! {
                            () = broker.run(inbox) => {}
                            () = seat.ends.notified() => {}
                        }
                    }
                }
            });
        }
        Self { sim, seats, crashed: BTreeSet::new(), seed }
    }
}

fn host(who: Who) -> String {
    format!("{who:?}").to_lowercase()
}

impl World for Turmoil {
    fn medium(&self) -> Medium {
        Medium::ZeroMq
    }

    /// A full buffer of turmoil's ends the world instead of the sender's turn.
    fn can_stall(&self) -> bool {
        false
    }

    fn starts(&mut self, who: Who, inbox: BrokerInbox) -> Arc<dyn Broker> {
        self.seed += 1;
        let broker = ZmqBroker::on(Simulated::new(self.seed << 40), config()).unwrap();
        let seat = &self.seats[&who];
        *seat.next.lock().unwrap() = Some((Arc::clone(&broker) as Arc<dyn Broker>, inbox));
        seat.begins.notify_one();
        if self.crashed.remove(&who) {
            self.sim.bounce(host(who));
        }
        broker
    }

    fn stops(&mut self, who: Who, how: Going) {
        match how {
            Going::Leaves => self.seats[&who].ends.notify_one(),
            Going::Crashes => {
                self.sim.crash(host(who));
                self.crashed.insert(who);
            }
        }
        self.passes(ms(1));
    }

    fn stalls(&mut self, _: Who, _: bool) {
        unreachable!("it cannot")
    }

    fn passes(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    fn restarts(&mut self) {
        self.sim.crash("hub");
        self.passes(ms(100));
        self.sim.bounce("hub");
    }

    fn largest(&self) -> usize {
        1 << 20
    }

    fn flood(&self) -> (u32, usize) {
        unreachable!("it cannot")
    }
}

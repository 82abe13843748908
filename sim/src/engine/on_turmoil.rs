//! Tier 2: a plan with the real runtime on tokio, over turmoil's simulated TCP.
//!
//! Each node is a host of turmoil, with an executor and a transport of its own. Time goes in steps
//! of a millisecond, so what the plan does is done between two steps. Only what happens inside of a
//! host may ask for the time there: from outside, tokio would give the real one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};
use lictor_runtime::{Executor, Transport};
use lictor_turmoil::{Config, Spoil, TokioExecutor, TurmoilTransport, WireFaults};
use tokio::runtime::Handle;
use turmoil::Sim;

use crate::fault::{Fault, Kind};
use crate::link::{Spoilt, links_of};
use crate::live::{ClockChange, Driver, Found, Ground, LinkChange, Live, Tap, boot};
use crate::outcome::{Options, Outcome};
use crate::plan::{Plan, nanos};
use crate::record::NodeIx;
use crate::stream::Purpose;

/// How far time goes in one step.
const TICK: Duration = Duration::from_millis(1);

/// Runs a plan.
pub(super) fn run(plan: &Plan, options: Options) -> Outcome {
    let plan = Arc::new(plan.clone());
    let stepped = Arc::new(AtomicU64::new(0));
    let outside = Arc::clone(&stepped);
    let clock = Arc::new(move || {
        let inside = turmoil::sim_elapsed().map(nanos);
        Instant::from_nanos(inside.unwrap_or_else(|| outside.load(Ordering::Relaxed)))
    });
    let live = Live::new(&plan, options.trace, clock);
    live.with(|ledger| ledger.recorder.checks.in_steps_of(TICK));
    let (least, most) = plan.knobs.latency;
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(plan.seed)
        .epoch(std::time::UNIX_EPOCH)
        .tick_duration(TICK)
        .simulation_duration(Duration::MAX / 4)
        .min_message_latency(least)
        .max_message_latency(most)
        .tcp_capacity(4096);
    let hosts = plan.scenario.node_ids().map(|_| None).collect();
    let ground = Turmoil {
        sim: builder.build(),
        live: Arc::clone(&live),
        stepped,
        booted: vec![false; plan.scenario.nodes()],
        hosts: Arc::new(Mutex::new(hosts)),
        faults: Arc::default(),
        cuts: BTreeMap::new(),
        jams: BTreeMap::new(),
        steps: 0,
        events_max: options.events_max,
    };
    let outcome = Driver::new(Arc::clone(&live), ground, options.events_max).run(options.until);
    live.forget();
    outcome
}

type Pair = (NodeIx, NodeIx);

struct Turmoil {
    sim: Sim<'static>,
    live: Arc<Live>,
    /// The time between two steps, in nanoseconds.
    stepped: Arc<AtomicU64>,
    booted: Vec<bool>,
    /// The tokio runtimes of the hosts that are up.
    hosts: Arc<Mutex<Vec<Option<Handle>>>>,
    /// Faults of connections.
    faults: Arc<WireFaults>,
    /// Faults that cut, by direction.
    cuts: BTreeMap<Pair, u32>,
    /// Faults that hold, by pair.
    jams: BTreeMap<Pair, u32>,
    steps: u64,
    events_max: u64,
}

const fn id(node: NodeIx) -> NodeId {
    NodeId(node.0 as u64)
}

fn host(node: NodeIx) -> String {
    format!("n{}", node.0)
}

/// Runs one boot of a node, in its host.
async fn node(
    live: Arc<Live>,
    at: NodeIx,
    hosts: Arc<Mutex<Vec<Option<Handle>>>>,
    faults: Arc<WireFaults>,
) {
    let Ok(executor) = TokioExecutor::current() else { return };
    let executor: Arc<dyn Executor> = Arc::new(executor);
    hosts.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(at.0)] =
        Handle::try_current().ok();
    let number = live.with(|ledger| ledger.node(at).boot);
    let others = live.plan.scenario.node_ids().filter(|other| *other != at);
    let peers: Vec<_> = others.map(|other| (NodeId(u64::from(other.0)), host(other))).collect();
    let transport: Option<Arc<dyn Transport>> = if peers.is_empty() {
        None
    } else {
        let config = Config {
            seed: live.plan.seed,
            ..Config::new(NodeId(u64::from(at.0)), u64::from(number), peers)
        };
        let inner = TurmoilTransport::with_faults(config, faults);
        let live = Arc::clone(&live);
        Some(Arc::new(Tap { inner, live, node: at, boot: number }))
    };
    boot(&live, (at, number), &executor, transport).await;
    drop((live, executor));
    std::future::pending::<()>().await;
}

impl Turmoil {
    fn step(&mut self) -> Result<(), Found> {
        self.steps += 1;
        let stepped = self.sim.step();
        self.stepped.store(nanos(self.sim.elapsed()), Ordering::Relaxed);
        // A task that panicked ends the simulation, under `tokio_unstable`.
        stepped.map(drop).map_err(|error| ("L7", error.to_string()))
    }

    /// Puts one direction into the state that the faults want.
    fn direct(&mut self, from: NodeIx, to: NodeIx) {
        let pair = (from.min(to), from.max(to));
        let (a, b) = (host(from), host(to));
        if self.cuts.get(&(from, to)).is_some_and(|cuts| *cuts > 0) {
            self.sim.partition_oneway(a, b);
        } else if self.jams.get(&pair).is_some_and(|jams| *jams > 0) {
            self.sim.hold(a, b);
        } else {
            self.sim.repair_oneway(a, b);
        }
    }

    fn cut(&mut self, from: NodeIx, to: NodeIx, begins: bool) {
        let cuts = self.cuts.entry((from, to)).or_default();
        let was = *cuts > 0;
        *cuts = if begins { *cuts + 1 } else { cuts.saturating_sub(1) };
        if was != (*cuts > 0) {
            self.direct(from, to);
        }
    }
}

impl Ground for Turmoil {
    fn now(&self) -> Instant {
        Instant::from_nanos(nanos(self.sim.elapsed()))
    }

    fn run_until(&mut self, at: Instant) -> Result<(), Found> {
        while self.now() < at && self.steps < self.events_max && !self.live.wants() {
            self.step()?;
        }
        Ok(())
    }

    /// Time passes with every step: what was begun goes on with the next one, and only commands are
    /// waited for.
    fn settle(&mut self, commanded: bool) -> Result<(), Found> {
        if commanded { self.step() } else { Ok(()) }
    }

    fn boot(&mut self, at: NodeIx, _: u32) {
        if std::mem::replace(&mut self.booted[usize::from(at.0)], true) {
            return self.sim.bounce(host(at));
        }
        let (live, hosts) = (Arc::clone(&self.live), Arc::clone(&self.hosts));
        let faults = Arc::clone(&self.faults);
        self.sim.host(host(at), move || {
            let (live, hosts) = (Arc::clone(&live), Arc::clone(&hosts));
            let faults = Arc::clone(&faults);
            async move {
                node(live, at, hosts, faults).await;
                Ok(())
            }
        });
    }

    fn halt(&mut self, at: NodeIx, seen: bool) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(at.0)] = None;
        // Peers see nothing of a host whose last segments are lost.
        let plan = Arc::clone(&self.live.plan);
        let others: Vec<NodeIx> =
            plan.scenario.node_ids().filter(|other| !seen && *other != at).collect();
        for other in &others {
            self.cut(at, *other, true);
        }
        self.sim.crash(host(at));
        for other in others {
            self.cut(at, other, false);
        }
    }

    fn link(&mut self, change: LinkChange) {
        match change {
            LinkChange::Cut(target, kind, begins) => {
                let nodes = u8::try_from(self.live.plan.scenario.nodes()).unwrap_or(u8::MAX);
                for (from, to) in links_of(nodes, target, kind) {
                    self.cut(from, to, begins);
                }
            }
            LinkChange::Jam(a, b, begins) => {
                let pair = (a.min(b), a.max(b));
                let jams = self.jams.entry(pair).or_default();
                *jams = if begins { *jams + 1 } else { jams.saturating_sub(1) };
                match (begins, *jams) {
                    (true, 1) => self.sim.hold(host(a), host(b)),
                    (false, 0) => {
                        self.sim.release(host(a), host(b));
                        self.direct(a, b);
                        self.direct(b, a);
                    }
                    _ => {}
                }
            }
            LinkChange::Tune(a, b, Kind::Latency, more) => {
                let (_, most) = self.live.plan.knobs.latency;
                let more = Duration::from_nanos(more.unwrap_or(0));
                self.sim.set_link_latency(host(a), host(b), most.saturating_add(more));
            }
            // What is under way is lost; the silence that follows ends the connection.
            LinkChange::Reset(a, b) => {
                for (from, to) in [(a, b), (b, a)] {
                    self.cut(from, to, true);
                    self.cut(from, to, false);
                }
            }
            LinkChange::Refuse(a, b, begins) => self.faults.refuse(id(a), id(b), begins),
            LinkChange::HalfOpen(a, b, begins) => self.faults.half_open(id(a), id(b), begins),
            LinkChange::Spoil(a, b, Spoilt::Partial) => {
                self.faults.spoil(id(a), id(b), Spoil::Partial);
            }
            LinkChange::Spoil(a, b, Spoilt::Garbage(bytes)) => {
                let seed = self.live.streams.draw(Purpose::Loss, u64::from(a.0), u64::from(b.0));
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                self.faults.spoil(id(a), id(b), Spoil::Garbage { bytes, seed });
            }
            LinkChange::Heal => self.faults.heal(),
            // An engine is not given what it cannot do.
            LinkChange::Tune(..) | LinkChange::Slow(..) => {}
        }
    }

    fn task(&mut self, _: &Fault, _: bool) -> Option<u64> {
        None
    }

    fn clock(&mut self, _: NodeIx, _: ClockChange) {}

    fn left(&mut self) -> Result<(), Found> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |handle: &Handle| handle.metrics().num_alive_tasks();
        let left: usize = hosts.iter().flatten().map(alive).sum();
        let text = || format!("{left} tasks live on the hosts after the last stop");
        if left == 0 { Ok(()) } else { Err(("S7", text())) }
    }

    fn steps(&self) -> u64 {
        self.steps
    }
}

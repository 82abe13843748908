//! A plan from a seed.
//!
//! Uniform chance would never crash two children in one instant, nor one exactly on the edge of a
//! restart window. So a seed does three things: it switches whole groups and kinds of faults off
//! (a swarm: what is left is dense), it turns most of what is left on a few agents, and it tells
//! *stories*: short sequences of faults that together reach what a single one never does.

mod faults;
mod operations;
mod parity;
mod sends;
mod stories;

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{Curve, Instant, Shutdown};

use super::dice::{Dice, Of};
use super::{
    CALM_MAX, FAULTS_MAX, HORIZON_MAX, Knobs, Mix, OPERATIONS_MAX, Operation, Plan, Profile, Short,
    nanos, placed_on,
};
use crate::broker::Medium;
use crate::fault::{Fault, Group, Kind};
use crate::record::{NodeIx, Who};
use crate::scenario::{Role, Scenario};
use crate::stream::Streams;

/// The longest restart window for whose edge a plan waits.
const WINDOW_MAX: Duration = Duration::from_secs(120);

impl Plan {
    /// The plan of a seed.
    ///
    /// The same scenario, seed and profile give the same plan, on every machine. What is drawn for
    /// one operation or fault does not depend on how many others there are.
    #[must_use]
    pub fn generate(scenario: &Arc<Scenario>, seed: u64, profile: &Profile) -> Self {
        let streams = Streams::new(seed);
        let mut dice = Dice::new(streams, Of::Plan);
        let from = (*profile.horizon.start()).clamp(Duration::from_millis(1), HORIZON_MAX);
        let horizon = dice.time(from, (*profile.horizon.end()).clamp(from, HORIZON_MAX));
        let [operations, faults] = [&profile.operations, &profile.faults]
            .map(|range| dice.small(*range.start(), *range.end()));
        let operations = operations.min(at_most(OPERATIONS_MAX));
        let faults = faults.min(at_most(FAULTS_MAX));
        let mut maker = Maker {
            scenario,
            profile,
            streams,
            stock: Stock::of(scenario),
            horizon,
            grid: dice.pick(&[1, 1, 1_000, 1_000_000, 10_000_000]).unwrap_or(1),
            knobs: Knobs::default(),
            operations: Vec::with_capacity(operations as usize + 16),
            faults: Vec::with_capacity(faults as usize + 16),
        };
        if profile.mix == Mix::Parity {
            maker.parity(operations, faults);
        } else {
            let dice = &mut Dice::new(streams, Of::Knobs);
            maker.knobs = knobs(dice, scenario);
            maker.medium(dice);
            maker.knobs.buggify = dice.one_in(2);
            maker.place();
            maker.swarm(faults);
            maker.operate(operations);
            maker.send(operations);
        }
        maker.finish(seed)
    }
}

fn at_most(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A plan in the making.
struct Maker<'a> {
    scenario: &'a Arc<Scenario>,
    profile: &'a Profile,
    streams: Streams,
    stock: Stock,
    horizon: Duration,
    /// Instants are multiples of so many nanoseconds: with a coarse one, things coincide.
    grid: u64,
    knobs: Knobs,
    operations: Vec<Operation>,
    faults: Vec<Fault>,
}

/// What there is to do something with.
struct Stock {
    nodes: u8,
    /// Those that are there from the start.
    agents: Vec<Who>,
    /// Those that can be spawned.
    pool: Vec<Who>,
    /// Supervisors with agents below, roots included.
    supervisors: Vec<Who>,
    /// What a static supervisor has started.
    children: Vec<Who>,
    /// What agents offer, as far as an operation can name it.
    tags: Vec<Short>,
}

impl Stock {
    fn of(scenario: &Scenario) -> Self {
        let nodes = u8::try_from(scenario.nodes()).unwrap_or(u8::MAX);
        let [mut agents, mut pool, mut supervisors, mut children] =
            [const { Vec::<Who>::new() }; 4];
        for (who, entity) in scenario.all() {
            match &entity.role {
                Role::Agent(agent) if agent.pool => pool.push(who),
                Role::Agent(_) => agents.push(who),
                Role::Supervisor(_, below) | Role::Dynamic(_, below) if !below.is_empty() => {
                    supervisors.push(who);
                }
                Role::Supervisor(..) | Role::Dynamic(..) => {}
            }
            let of_static =
                |parent: Who| matches!(scenario.entity(parent).role, Role::Supervisor(..));
            if entity.parent.is_some_and(of_static) {
                children.push(who);
            }
        }
        let offered = agents.iter().filter_map(|who| scenario.agent(*who));
        let mut tags: Vec<Short> =
            offered.flat_map(|agent| &agent.capabilities).filter_map(|t| Short::new(t)).collect();
        tags.sort_unstable();
        tags.dedup();
        Self { nodes, agents, pool, supervisors, children, tags }
    }
}

impl Maker<'_> {
    /// An instant from the beginning to the horizon, on the grid.
    fn instant(&self, dice: &mut Dice) -> Instant {
        self.on_grid(dice.below(nanos(self.horizon).saturating_add(1)))
    }

    fn on_grid(&self, at: u64) -> Instant {
        Instant::from_nanos(at - at % self.grid)
    }

    fn node(&self, dice: &mut Dice) -> NodeIx {
        NodeIx(u8::try_from(dice.below(u64::from(self.stock.nodes))).unwrap_or(0))
    }

    /// Adds a fault, unless it begins after the horizon; it ends at the horizon at the latest.
    fn fault(&mut self, fault: Fault) {
        let heals = Instant::from_nanos(nanos(self.horizon));
        if fault.at > heals || self.faults.len() >= FAULTS_MAX {
            return;
        }
        let lasts = fault.lasts.min(heals.saturating_since(fault.at));
        self.faults.push(Fault { lasts, ..fault });
    }

    /// Whether the plan may have this kind of fault, and something comes of it.
    fn allows(&self, kind: Kind) -> bool {
        let medium = self.knobs.medium;
        self.profile.allows(kind, self.scenario.nodes())
            && (kind != Kind::Outlive || self.knobs.child_lease.is_some())
            && (kind.facts().group != Group::Broker || medium != Medium::Direct)
            && (kind != Kind::Redeliver || medium == Medium::JetStream)
            && (kind != Kind::HighWater || medium == Medium::ZeroMq)
    }

    /// Whether and how agents run on other nodes than their supervisors. Drawn apart: what else a
    /// seed means must not change with it.
    fn place(&mut self) {
        let placed = self.scenario.all().any(|(_, entity)| entity.host.is_some());
        let may = self.scenario.nodes() > 1 && self.profile.engine.places();
        if !may || !(placed || self.profile.place) {
            return;
        }
        let dice = &mut Dice::new(self.streams, Of::Place);
        let usual = Duration::from_secs(1);
        let lease = dice.time(Duration::from_millis(50), Duration::from_secs(5));
        // Several questions and answers, each by way of a broker, must fit into it.
        let least = self.knobs.latency.1.saturating_mul(40);
        self.knobs.child_lease = Some(if dice.one_in(3) { usual } else { lease }.max(least));
        if self.profile.place {
            self.knobs.placed = dice.small(200_000, 1_000_000);
        }
    }

    fn host_of(&self, who: Who) -> Option<NodeIx> {
        placed_on(self.scenario, &self.knobs, self.streams, who)
    }

    /// What stands between the nodes. With a broker each frame goes two ways, and heartbeats must
    /// leave time for that.
    fn medium(&mut self, dice: &mut Dice) {
        let must = self.profile.mix == Mix::Only(Group::Broker);
        let may = self.stock.nodes > 1 && self.profile.engine.is_modelled();
        if !may || !(must || dice.one_in(2)) {
            return;
        }
        let brokers = [Medium::NatsCore, Medium::JetStream, Medium::ZeroMq];
        self.knobs.medium = dice.pick(&brokers).unwrap_or_default();
        let there_and_back = self.knobs.latency.1.saturating_mul(5);
        self.knobs.heartbeat_timeout = self.knobs.heartbeat_timeout.max(there_and_back);
    }

    fn finish(mut self, seed: u64) -> Plan {
        // Both are nearly in order; equal instants keep the order in which they were made.
        self.operations.sort_by_key(|operation| operation.at);
        self.operations.truncate(OPERATIONS_MAX);
        self.faults.sort_by_key(|fault| fault.at);
        Plan {
            seed,
            scenario: Arc::clone(self.scenario),
            horizon: self.horizon,
            calm: calm(self.scenario, &self.knobs),
            operations: self.operations,
            faults: self.faults,
            knobs: self.knobs,
        }
    }
}

/// How long the world needs to heal: every restart that is put off, every stop and start on the
/// way, every question that is open, every view of a peer.
pub(super) fn calm(scenario: &Scenario, knobs: &Knobs) -> Duration {
    let mut backoff = Duration::ZERO;
    let mut start = knobs.start.1;
    for (_, entity) in scenario.all() {
        let wait = match &entity.role {
            Role::Supervisor(config, _) => config.backoff,
            Role::Dynamic(config, _) => config.backoff,
            Role::Agent(_) => continue,
        };
        // Jitter adds a quarter at most.
        let longest = match wait.curve {
            Curve::None => Duration::ZERO,
            Curve::Constant => wait.base.min(wait.max),
            Curve::Linear | Curve::Exponential => wait.max,
        };
        backoff = backoff.max(longest.saturating_add(longest / 4));
    }
    let mut stop = knobs.stop.1;
    for (_, entity) in scenario.all() {
        start = start.max(entity.spec.start_timeout.unwrap_or_default());
        if let Shutdown::Timeout(timeout) = entity.spec.shutdown {
            stop = stop.max(timeout);
        }
    }
    let peers = knobs
        .heartbeat
        .saturating_add(knobs.heartbeat_timeout)
        .saturating_mul(knobs.heartbeat_threshold.saturating_add(1))
        .saturating_add(knobs.lease.saturating_mul(2));
    // Clients connect anew, and what was not acknowledged comes again.
    let broker = Duration::from_secs(if knobs.medium == Medium::Direct { 0 } else { 10 });
    // Children start one after the other, and stop so: of many, that is most of it.
    let one = knobs.start.1.saturating_add(knobs.stop.1);
    let all = one.saturating_mul(at_most(scenario.len())).saturating_mul(2);
    // What may be left of an older boot of either side is waited for, and what was lost said again.
    let placed = knobs.child_lease.unwrap_or_default().saturating_mul(6);
    [backoff.saturating_mul(2), start, stop, peers, broker, placed, all.max(Duration::from_secs(6))]
        .into_iter()
        .fold(Duration::ZERO, Duration::saturating_add)
        .min(CALM_MAX)
}

/// The nature of a world: often the usual one, often an extreme one.
fn knobs(dice: &mut Dice, scenario: &Scenario) -> Knobs {
    let nodes = scenario.nodes();
    let us = Duration::from_micros;
    let ms = Duration::from_millis;
    let usual = Knobs::default();
    if dice.one_in(4) {
        return usual;
    }
    let mut span = |from: Duration, to: Duration| {
        let from = dice.time(from, to);
        // A world without chance is a world in which things coincide.
        if dice.one_in(4) { (from, from) } else { (from, dice.time(from, to)) }
    };
    let start = span(us(10), ms(50));
    let stop = span(us(10), ms(50));
    let handle = span(us(1), ms(2));
    let latency = span(us(50), ms(20));
    // Many nodes that look after each other all the time leave no room for anything else.
    let beat = dice.time(ms(if nodes > 3 { 400 } else { 150 }), Duration::from_secs(2));
    let mut knobs = Knobs {
        start,
        stop,
        handle,
        latency,
        send_timeout: dice.time(ms(1), Duration::from_secs(5)),
        heartbeat: beat,
        heartbeat_timeout: dice.time(ms(50), beat.max(ms(51))),
        heartbeat_threshold: dice.small(1, 5),
        lease: beat.saturating_mul(dice.small(3, 10)),
        link_capacity: dice.pick(&[8, 64, 1_000, usual.link_capacity]).unwrap_or(64),
        medium: usual.medium,
        ..usual
    };
    knobs.lease = knobs.lease.max(list(scenario, &knobs).saturating_mul(8));
    knobs
}

/// How long a link takes for the names of all nodes: what a lease has not room for a few times is
/// never known all at once.
fn list(scenario: &Scenario, knobs: &Knobs) -> Duration {
    let rounds = scenario.len().div_ceil(knobs.link_capacity.max(1) as usize);
    knobs.latency.1.saturating_mul(at_most(rounds))
}

#[cfg(test)]
mod tests;

//! A plan: what happens in a run that is not the system's own doing.
//!
//! A seed makes a plan, but the plan is what counts: it lists every operation and every fault with
//! its instant. So it can be read, edited, shrunk, committed, and run on every engine. What is not
//! in the plan (how long a frame is under way, whether a flaky agent fails at a message) is drawn
//! from the plan's seed by identity, and stays as it is when a fault is taken out.

mod dice;
mod generate;
mod profile;
mod read;
mod short;
mod write;

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};

use crate::broker::Medium;
use crate::fault::Fault;
use crate::record::{NodeIx, Who};
use crate::scenario::Scenario;
use crate::stream::{Purpose, Streams, mix};

pub use self::profile::{Mix, Profile};
pub use self::read::Reading;
pub use self::short::{SHORT_MAX, Short};
pub use self::write::{duration_text, share_text};

/// Operations of one plan.
pub const OPERATIONS_MAX: usize = 100_000;

/// Faults of one plan.
pub const FAULTS_MAX: usize = 10_000;

/// The longest run, on the world's clock.
pub const HORIZON_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The longest time to heal: a horizon before it and a last stop after it fit the world's clock.
pub const CALM_MAX: Duration = Duration::from_nanos(u64::MAX / 2);

/// Everything that makes a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Seed of everything that is drawn during the run.
    pub seed: u64,
    /// Who takes part.
    pub scenario: Arc<Scenario>,
    /// How long operations and faults come. At the end of it all faults end.
    pub horizon: Duration,
    /// How long the world then has to heal.
    pub calm: Duration,
    /// In the order of their instants.
    pub operations: Vec<Operation>,
    /// In the order of their beginnings.
    pub faults: Vec<Fault>,
    /// The nature of the world.
    pub knobs: Knobs,
}

/// Something that somebody does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operation {
    /// When, on the world's clock.
    pub at: Instant,
    /// On which node it is done.
    pub node: NodeIx,
    /// What.
    pub act: Act,
}

/// What somebody does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Act {
    /// Sends a message.
    Tell(Who),
    /// Asks, and waits for the answer at most this long.
    Ask(Who, Duration),
    /// Sends a message to every agent of this world that can be reached.
    Broadcast,
    /// Spawns the child under its dynamic supervisor.
    Spawn(Who),
    /// Ends a spawned child at once.
    Despawn(Who),
    /// Stops a child and keeps its specification (OTP `terminate_child`).
    Terminate(Who),
    /// Starts a child that is down (OTP `restart_child`).
    Restart(Who),
    /// Suspends an agent.
    Suspend(Who),
    /// Resumes it.
    Resume(Who),
    /// Makes an agent end by itself for this reason.
    End(Who, ExitReason),
    /// Stops the node's tree within this time.
    Stop(Duration),
    /// A node says that it has a name, which is that of an agent of another node.
    Claim(Who),
    /// It does not say so any more.
    Unclaim(Who),
    /// Sends a message that is not handled any more when this time has passed.
    TellWithin(Who, Duration),
    /// An agent sends a message to every agent whose name matches a pattern, itself excepted.
    Publish(Who, Short),
    /// Sends a message to one of those that offer a capability, by turns.
    TellCapable(Short),
    /// An agent sends itself a message after this time, unless its incarnation has ended by then.
    SendAfter(Who, Duration),
    /// Asks a supervisor for its children.
    Look(Who),
}

/// The nature of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Knobs {
    /// How long a process takes to start: from, to.
    pub start: (Duration, Duration),
    /// How long a process takes to stop when told: from, to.
    pub stop: (Duration, Duration),
    /// How long a process takes over a message: from, to.
    pub handle: (Duration, Duration),
    /// How long a frame is under way: from, to.
    pub latency: (Duration, Duration),
    /// How long a sender waits for room in a mailbox.
    pub send_timeout: Duration,
    /// How often peers look after each other.
    pub heartbeat: Duration,
    /// How long an answer to a heartbeat may take.
    pub heartbeat_timeout: Duration,
    /// How many missing answers in a row mean that the peer is gone.
    pub heartbeat_threshold: u32,
    /// How long what a node says of its names holds.
    pub lease: Duration,
    /// Frames under way from one node to another, at most.
    pub link_capacity: u32,
    /// What carries them.
    pub medium: Medium,
    /// Whether what is simulated misbehaves now and then, within what it may do: see
    /// [`buggify`](crate::buggify).
    pub buggify: bool,
    /// How long what a node runs for another one goes on without an answer of that one. `None`: no
    /// agent is placed on another node than its supervisor's, whatever the topology says.
    pub child_lease: Option<Duration>,
    /// The share of the agents, in a million, that are placed somewhere though the topology does
    /// not say so; which and where is drawn.
    pub placed: u32,
}

impl Default for Knobs {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let us = Duration::from_micros;
        Self {
            start: (us(100), ms(5)),
            stop: (us(100), ms(5)),
            handle: (us(10), us(500)),
            latency: (us(200), ms(2)),
            send_timeout: Duration::from_secs(5),
            heartbeat: ms(500),
            heartbeat_timeout: ms(250),
            heartbeat_threshold: 3,
            lease: Duration::from_secs(5),
            link_capacity: 10_000,
            medium: Medium::Direct,
            buggify: false,
            child_lease: None,
            placed: 0,
        }
    }
}

impl Act {
    /// Whether only an engine can do it on which all but the kernel is a model: elsewhere no node
    /// can say that it has a name behind which there is nobody, no operation can make an agent
    /// publish, and no supervisor can be asked between two steps.
    #[must_use]
    pub const fn needs_model(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Unclaim(_) | Self::Publish(..) | Self::Look(_))
    }
}

impl Plan {
    /// When operations and faults are over.
    #[must_use]
    pub const fn heals(&self) -> Instant {
        Instant::from_nanos(nanos(self.horizon))
    }

    /// When the run is over.
    #[must_use]
    pub fn ends(&self) -> Instant {
        self.heals().saturating_add(self.calm)
    }

    /// How long the world needs to heal, whatever the faults were: every restart that is put off,
    /// every stop and start on the way, every question that is open, every view of a peer.
    #[must_use]
    pub fn calm_needed(&self) -> Duration {
        generate::calm(&self.scenario, &self.knobs)
    }

    /// The node on which the processes of an agent run, if that is not where its supervisor lives.
    #[must_use]
    pub fn host_of(&self, who: Who) -> Option<NodeIx> {
        placed_on(&self.scenario, &self.knobs, Streams::new(self.seed), who)
    }

    /// The node on which the processes of a name run.
    #[must_use]
    pub fn home(&self, who: Who) -> NodeIx {
        self.host_of(who).unwrap_or_else(|| self.scenario.entity(who).node)
    }

    /// Where an operation is done, and where it is carried out.
    pub(crate) fn places_of(&self, operation: Operation) -> [NodeIx; 2] {
        let there = match operation.act {
            Act::Spawn(who) | Act::Despawn(who) | Act::Terminate(who) | Act::Restart(who) => {
                self.scenario.entity(who).node
            }
            Act::Suspend(who) | Act::Resume(who) | Act::End(who, _) => self.home(who),
            Act::SendAfter(who, _) | Act::Publish(who, _) => self.home(who),
            Act::Tell(_) | Act::Ask(..) | Act::TellWithin(..) | Act::TellCapable(_) => {
                operation.node
            }
            Act::Broadcast | Act::Stop(_) | Act::Claim(_) | Act::Unclaim(_) | Act::Look(_) => {
                operation.node
            }
        };
        [operation.node, there]
    }

    /// Whether any agent runs on another node than its supervisor.
    #[must_use]
    pub fn places(&self) -> bool {
        self.knobs.child_lease.is_some()
            && self.scenario.all().any(|(who, _)| self.host_of(who).is_some())
    }

    /// How much there is to a plan: faults, operations, nodes.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        (self.faults.len(), self.operations.len(), self.scenario.nodes())
    }
}

/// The node on which the processes of an agent run, if that is not where its supervisor lives.
fn placed_on(scenario: &Scenario, knobs: &Knobs, streams: Streams, who: Who) -> Option<NodeIx> {
    knobs.child_lease?;
    let entity = scenario.entity(who);
    if entity.host.is_some() || knobs.placed == 0 {
        return entity.host;
    }
    scenario.agent(who).filter(|agent| !agent.pool)?;
    let nodes = u64::try_from(scenario.nodes()).unwrap_or(1);
    let whose = of_name(&entity.name);
    let is_placed = nodes > 1 && streams.chance(Purpose::Place, whose, 0, knobs.placed);
    let on = 1 + streams.below(Purpose::Place, whose, 1, nodes.saturating_sub(1));
    let to = (u64::from(entity.node.0) + on) % nodes;
    is_placed.then_some(NodeIx(u8::try_from(to).unwrap_or(0)))
}

/// A number of a name, which stays when others come and go.
fn of_name(name: &str) -> u64 {
    name.bytes().fold(0, |number, byte| mix(number ^ u64::from(byte)))
}

/// A duration in nanoseconds; the longest there are if it has more.
#[must_use]
pub(crate) const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 {
        return u64::MAX;
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared above")]
    let nanos = nanos as u64;
    nanos
}

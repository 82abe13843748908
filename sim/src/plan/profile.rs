//! What kind of plans a campaign makes.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::engine::Engine;
use crate::fault::{Group, Kind};

/// What kind of plans a campaign makes of its seeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Which faults.
    pub mix: Mix,
    /// The engine that runs the plans: faults that it does not have are left out.
    pub engine: Engine,
    /// How many operations; at most [`OPERATIONS_MAX`](crate::plan::OPERATIONS_MAX). What belongs
    /// to a fault (a stop while a stop is ignored) comes on top, a few at most.
    pub operations: RangeInclusive<u32>,
    /// How many faults; at most [`FAULTS_MAX`](crate::plan::FAULTS_MAX).
    pub faults: RangeInclusive<u32>,
    /// How long they come; at most [`HORIZON_MAX`](crate::plan::HORIZON_MAX), at least a
    /// millisecond. A seed that wants a crash at the edge of a restart window goes beyond, to twice
    /// that window, if the window is at most two minutes.
    pub horizon: RangeInclusive<Duration>,
    /// Whether some agents are placed on other nodes than their supervisors, though the topology
    /// does not say so; what it says is done in any case. Not on turmoil.
    pub place: bool,
}

/// Which faults the plans of a campaign have.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mix {
    /// All kinds; each seed switches whole groups and kinds off.
    #[default]
    Swarm,
    /// The kinds of one group; each seed switches some of them off.
    Only(Group),
    /// None.
    Calm,
    /// For comparing engines: kinds that all engines have, in whole milliseconds, no two things
    /// within 20 ms of each other, and a world without chance.
    Parity,
}

impl Mix {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Swarm, Self::Calm, Self::Parity]
            .into_iter()
            .chain(Group::ALL.iter().map(|group| Self::Only(*group)))
    }

    /// Its word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Only(group) => group.word(),
            Self::Calm => "calm",
            Self::Parity => "parity",
        }
    }

    /// The mix of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::all().find(|mix| mix.word() == word)
    }
}

impl Profile {
    /// With the numbers that suit a mix: 100 to 1,000 operations and up to 30 faults in 1 to 32
    /// seconds; parity 20 to 120 operations and up to 10 faults.
    #[must_use]
    pub fn new(mix: Mix) -> Self {
        let seconds = Duration::from_secs;
        let (operations, faults) = match mix {
            Mix::Swarm | Mix::Only(_) => (100..=1_000, 0..=30),
            Mix::Calm => (100..=1_000, 0..=0),
            Mix::Parity => (20..=120, 0..=10),
        };
        let horizon = seconds(1)..=seconds(32);
        Self { mix, engine: Engine::Kernel, operations, faults, horizon, place: false }
    }

    /// Whether plans may have this kind of fault; `nodes` is how many the world has.
    #[must_use]
    pub fn allows(&self, kind: Kind, nodes: usize) -> bool {
        let facts = kind.facts();
        let of_network = matches!(facts.group, Group::Network | Group::Connection | Group::Broker);
        let wanted = match self.mix {
            Mix::Swarm => true,
            Mix::Only(group) => facts.group == group,
            Mix::Calm => false,
            Mix::Parity => {
                Engine::ALL.iter().all(|engine| facts.engines.has(*engine)) && is_comparable(kind)
            }
        };
        wanted && facts.engines.has(self.engine) && (nodes > 1 || !of_network)
    }
}

/// Whether a kind comes to the same on every engine: what breaks within a frame, and what a disk
/// has synced by now, depends on times that only one of them has.
fn is_comparable(kind: Kind) -> bool {
    let group = kind.facts().group;
    group != Group::Storage && (group != Group::Connection || kind == Kind::Reset)
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(Mix::Swarm)
    }
}

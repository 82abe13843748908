//! Where a message goes: a decision from the registry alone.
//!
//! A local name is preferred to a remote one, which the registry already sees to. A name that is
//! starting, restarting or suspended is still a destination, since its mailbox outlives its
//! processes; a name that is down is not, and says so at once (civitas D04 accepts and loses).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::{
    ChildKind, Glob, Instant, Match, NameId, Names, NodeId, Owner, Prng, ProcessId, Registry,
    Status,
};

/// How many capability queries, of either [`Match`], keep their place in a round robin. Beyond it
/// the lowest query starts over.
pub const ROUND_ROBINS_MAX: usize = 1024;

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Route {
    /// Into the mailbox of a name on this node.
    Local {
        /// Whose mailbox.
        name: NameId,
        /// The process behind it, if there is one at present.
        process: Option<ProcessId>,
    },
    /// To another node.
    Remote {
        /// To whom there.
        name: NameId,
        /// Which node.
        node: NodeId,
        /// Which boot of it.
        epoch: u64,
        /// Which incarnation of the agent.
        incarnation: u64,
    },
    /// Nowhere: tell the sender.
    Undeliverable(Undeliverable),
}

/// Why a message goes nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Undeliverable {
    /// There is no such name.
    NoSuchName,
    /// The name is down for good, until somebody starts it.
    Down,
    /// The node that claims the name has not renewed it in time.
    LeaseExpired,
    /// No name has the capabilities.
    NoCapability,
    /// Names have the capabilities, but none of them is up.
    NoneUp,
}

impl fmt::Display for Undeliverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "no agent has this name",
            Self::Down => "the agent is down",
            Self::LeaseExpired => "the agent's node has not been heard of in time",
            Self::NoCapability => "no agent has the capability",
            Self::NoneUp => "no agent with the capability is up",
        })
    }
}

impl core::error::Error for Undeliverable {}

/// How one of several is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Choice {
    /// Each with the same chance.
    Random,
    /// The one after the last chosen for the same query, by id.
    RoundRobin,
}

/// Chooses destinations. Its only state is what choosing among equals needs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Router {
    prng: Prng,
    last_any: BTreeMap<Box<[NameId]>, NameId>,
    last_all: BTreeMap<Box<[NameId]>, NameId>,
}

impl Router {
    /// A router whose random choices follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { prng: Prng::new(seed), last_any: BTreeMap::new(), last_all: BTreeMap::new() }
    }

    /// Where a message to `name` goes at `now`. `O(log n)`. (T1, T2)
    #[must_use]
    pub fn route(now: Instant, registry: &Registry, name: NameId) -> Route {
        match registry.owner(name) {
            Some((owner, status)) => route_to(now, name, owner, status),
            None => Route::Undeliverable(Undeliverable::NoSuchName),
        }
    }

    /// Pushes the routes of a broadcast, in the byte order of names: all agents that match and can
    /// be reached, except the sender, supervisors, and names that start with `_`, whatever the
    /// glob. `O(names with the glob's prefix)`. (T3)
    pub fn broadcast(
        now: Instant,
        registry: &Registry,
        names: &Names,
        glob: &Glob,
        sender: Option<NameId>,
        routes: &mut Vec<Route>,
    ) {
        let is_system = |name| names.resolve(name).is_none_or(|text| text.starts_with('_'));
        let mut matching = Vec::new();
        registry.matching(names, glob, &mut matching);
        for name in matching {
            let Some(entry) = registry.lookup(name) else { continue };
            if Some(name) == sender || entry.kind == ChildKind::Supervisor || is_system(name) {
                continue;
            }
            match route_to(now, name, entry.owner, entry.status) {
                Route::Undeliverable(_) => {}
                route @ (Route::Local { .. } | Route::Remote { .. }) => routes.push(route),
            }
        }
    }

    /// Chooses one name with any or all of the capabilities, among those that are up and whose
    /// lease holds at `now`. `O(names with any of them)`. (T4, T5)
    ///
    /// [`Choice::RoundRobin`] remembers its place per `mode` and list of capabilities as given.
    pub fn choose(
        &mut self,
        now: Instant,
        registry: &Registry,
        mode: Match,
        capabilities: &[NameId],
        choice: Choice,
    ) -> Route {
        let mut found = Vec::new();
        registry.find(mode, capabilities, &mut found);
        if found.is_empty() {
            return Route::Undeliverable(Undeliverable::NoCapability);
        }
        let is_up = |name: &NameId| {
            registry.lookup(*name).is_some_and(|entry| {
                entry.status == Status::Up
                    && !matches!(
                        route_to(now, *name, entry.owner, entry.status),
                        Route::Undeliverable(_)
                    )
            })
        };
        found.retain(is_up);
        let chosen = match choice {
            Choice::Random if found.is_empty() => None,
            Choice::Random => {
                let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
                usize::try_from(self.prng.below(count)).ok().and_then(|at| found.get(at)).copied()
            }
            Choice::RoundRobin => self.next_after_last(mode, capabilities, &found),
        };
        chosen.map_or(Route::Undeliverable(Undeliverable::NoneUp), |name| {
            Self::route(now, registry, name)
        })
    }

    fn next_after_last(
        &mut self,
        mode: Match,
        capabilities: &[NameId],
        found: &[NameId],
    ) -> Option<NameId> {
        let places = match mode {
            Match::Any => &mut self.last_any,
            Match::All => &mut self.last_all,
        };
        let last = places.get(capabilities).copied();
        let after = found.iter().find(|name| last.is_none_or(|last| **name > last));
        let chosen = *after.or_else(|| found.first())?;
        if let Some(place) = places.get_mut(capabilities) {
            *place = chosen;
            return Some(chosen);
        }
        if places.len() >= ROUND_ROBINS_MAX {
            places.pop_first();
        }
        places.insert(capabilities.into(), chosen);
        Some(chosen)
    }
}

fn route_to(now: Instant, name: NameId, owner: Owner, status: Status) -> Route {
    match (owner, status) {
        // A lease that ends at just this instant may still be renewed in it.
        (Owner::Remote { lease_until, .. }, _) if lease_until < now => {
            Route::Undeliverable(Undeliverable::LeaseExpired)
        }
        (_, Status::Down) => Route::Undeliverable(Undeliverable::Down),
        (Owner::Local(process), _) => Route::Local { name, process },
        (Owner::Remote { node, epoch, incarnation, .. }, _) => {
            Route::Remote { name, node, epoch, incarnation }
        }
    }
}

//! What the built-in agents count beyond what the runtime counts for every agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counts of all agents by name. Cheap to clone: every clone is the same ledger.
#[derive(Clone, Default, Debug)]
pub struct Ledger(Arc<Mutex<BTreeMap<String, Counts>>>);

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts of an agent. They go on over its incarnations.
    #[must_use]
    pub fn counts(&self, agent: &str) -> Counts {
        lock(&self.0).entry(agent.to_owned()).or_default().clone()
    }

    /// The counts of all agents that have counted something.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, BTreeMap<&'static str, u64>> {
        let ledger = lock(&self.0);
        let all = ledger.iter().map(|(agent, counts)| (agent.clone(), counts.all()));
        all.filter(|(_, counts)| !counts.is_empty()).collect()
    }

    /// The sum of one count over all agents.
    #[must_use]
    pub fn total(&self, what: &str) -> u64 {
        lock(&self.0).values().map(|counts| counts.of(what)).sum()
    }
}

/// The counts of one agent. Cheap to clone: every clone counts in the same place.
#[derive(Clone, Default, Debug)]
pub struct Counts(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counts {
    /// Counts one more, and says how many there are now.
    pub fn one(&self, what: &'static str) -> u64 {
        let mut counts = lock(&self.0);
        let count = counts.entry(what).or_default();
        *count += 1;
        *count
    }

    /// How many there are.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        lock(&self.0).get(what).copied().unwrap_or(0)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

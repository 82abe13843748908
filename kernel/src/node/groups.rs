//! Names by what they belong to: those below a supervisor, those that wait for one.
//!
//! There are few of the former and many of the latter, so a tree holds the sets and each set is a
//! [`Table`]. One tree of pairs would say the same, and pay for each name as if it could be
//! anywhere.

use alloc::collections::BTreeMap;
use core::ops::Bound;

use crate::{NameId, Table};

/// Sets of names. One that is empty is not there, so equal sets are equal however they came to be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Groups<K: Ord>(BTreeMap<K, Table<NameId, ()>>);

impl<K: Ord + Copy> Groups<K> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn insert(&mut self, of: K, name: NameId) {
        self.0.entry(of).or_default().insert(name, ());
    }

    /// Takes one name out, and says whether it was there.
    pub(super) fn remove(&mut self, of: K, name: NameId) -> bool {
        let Some(names) = self.0.get_mut(&of) else { return false };
        let was_there = names.remove(name).is_some();
        if names.is_empty() {
            self.0.remove(&of);
        }
        was_there
    }

    /// The names of one, in their order.
    pub(super) fn of(&self, of: K) -> impl Iterator<Item = NameId> {
        self.0.get(&of).into_iter().flat_map(Table::keys)
    }

    /// Takes the names of one.
    pub(super) fn take(&mut self, of: K) -> Option<Table<NameId, ()>> {
        self.0.remove(&of)
    }

    /// The first that has names, after `last` if that is given.
    pub(super) fn next(&self, last: Option<K>) -> Option<K> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range((from, Bound::Unbounded)).next().map(|(of, _)| *of)
    }

    /// How many names there are in all.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Table::len).sum()
    }
}

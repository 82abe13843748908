//! The names of a node: a concurrent map that is read far more often than written.
//!
//! Sharded, so that readers on several threads seldom touch the same lock word. The hasher is
//! fixed: with a random one, anything that leaked the order of a map would differ from run to run.
//! Nothing here does leak it, a snapshot is in name order. The price: whoever may register names
//! at will can choose colliding ones; bound the number of names where peers are not trusted.

mod table;

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lictor_kernel::{Glob, GlobError};

use self::table::{Entry, Table};
use crate::sync::{Mutex, RwLock};

/// Enough that two threads rarely meet, few enough that an empty directory is small. Loom pays
/// for each lock in every execution.
const SHARDS: usize = if cfg!(loom) { 2 } else { 64 };

/// Names and what they stand for.
pub struct Directory<T: ?Sized> {
    shards: Box<[RwLock<Table<T>>]>,
    /// How often a name has come or gone.
    changes: AtomicU64,
    /// Whether anything is remembered.
    remembers: AtomicBool,
    /// Lists by pattern, the newest last: who sends to many at once does so again and again.
    remembered: Mutex<VecDeque<(Box<str>, Matching<T>)>>,
}

/// The values whose names match a pattern, in name order.
pub type Matching<T> = Arc<[Arc<T>]>;

/// So many patterns are remembered at once.
const PATTERNS: usize = 16;

impl<T: ?Sized> Directory<T> {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(Table::new())).collect(),
            changes: AtomicU64::new(0),
            remembers: AtomicBool::new(false),
            remembered: Mutex::new(VecDeque::new()),
        }
    }

    /// What `name` stands for. `O(1)`; takes one read lock.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        let hash = hash_of(name.as_bytes());
        self.shard(hash).read().get(hash, name).cloned()
    }

    /// Takes a name that is free.
    ///
    /// # Errors
    /// Who has the name.
    pub fn insert(&self, name: Arc<str>, value: Arc<T>) -> Result<(), Arc<T>> {
        let hash = hash_of(name.as_bytes());
        self.shard(hash).write().insert(hash, name, value)?;
        self.changed();
        Ok(())
    }

    /// Frees a name and returns what it stood for.
    pub fn remove(&self, name: &str) -> Option<Arc<T>> {
        let hash = hash_of(name.as_bytes());
        let removed = self.shard(hash).write().remove(hash, name);
        self.changed();
        removed
    }

    /// The values whose names match, in name order. `O(n log n)`; `O(1)` if the same pattern was
    /// asked for since a name came or went the last time, and not many others meanwhile.
    ///
    /// # Errors
    /// The pattern is none.
    pub fn matching(&self, pattern: &str) -> Result<Matching<T>, GlobError> {
        let before = self.changes.load(Ordering::SeqCst);
        let known = |remembered: &VecDeque<(Box<str>, Matching<T>)>| {
            let found = remembered.iter().find(|(text, _)| **text == *pattern);
            found.map(|(_, list)| Arc::clone(list))
        };
        if let Some(list) = known(&self.remembered.lock()) {
            return Ok(list);
        }
        let glob = Glob::new(pattern)?;
        let all = self.in_order().into_iter();
        let list: Matching<T> =
            all.filter(|(key, _)| glob.matches(key.name())).map(|(_, value)| value).collect();
        let mut remembered = self.remembered.lock();
        self.remembers.store(true, Ordering::SeqCst);
        // A name that came or went meanwhile has seen the flag, or is seen here.
        if self.changes.load(Ordering::SeqCst) == before {
            remembered.push_back((pattern.into(), Arc::clone(&list)));
        }
        let forgotten = (remembered.len() > PATTERNS).then(|| remembered.pop_front());
        drop(remembered);
        drop(forgotten);
        Ok(list)
    }

    /// A name has come or gone: what is remembered holds no longer, and must keep nobody alive.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        if self.remembers.load(Ordering::SeqCst) {
            let mut remembered = self.remembered.lock();
            self.remembers.store(false, Ordering::SeqCst);
            let forgotten = std::mem::take(&mut *remembered);
            drop(remembered);
            drop(forgotten);
        }
    }

    /// Frees a name if it still stands for this very `value`, and says whether it did.
    ///
    /// For a late clean-up, which must not free a name that somebody else has taken meanwhile.
    pub fn remove_if(&self, name: &str, value: &Arc<T>) -> bool {
        let hash = hash_of(name.as_bytes());
        let mut shard = self.shard(hash).write();
        if !shard.get(hash, name).is_some_and(|holder| Arc::ptr_eq(holder, value)) {
            return false;
        }
        let removed = shard.remove(hash, name);
        // What is dropped may be the last handle, and its `Drop` is not ours.
        drop(shard);
        self.changed();
        removed.is_some()
    }

    /// All names and what they stand for, in name order. `O(n log n)`.
    ///
    /// Each shard is read at one moment, the shards one after the other: a name that comes or
    /// goes meanwhile may be in or not.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Arc<str>, Arc<T>)> {
        self.in_order().into_iter().map(|(key, value)| (key.to_arc(), value)).collect()
    }

    fn in_order(&self) -> Vec<Entry<T>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(shard.read().iter().cloned());
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.bytes().cmp(b.bytes()));
        all
    }

    /// How many names are taken. `O(shards)`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Whether no name is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn shard(&self, hash: u64) -> &RwLock<Table<T>> {
        // The table inside uses the lower half of the same hash.
        let index = (hash >> 32) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }
}

impl<T: ?Sized> Default for Directory<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> Debug for Directory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A fixed hash of a name: eight bytes at a time, each folded in by a wide multiplication.
#[inline]
fn hash_of(name: &[u8]) -> u64 {
    const START: u64 = 0x4093_8222_99F3_1D01;
    let mut words = name.chunks_exact(8);
    let mut hash = START;
    for word in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        hash = fold(hash, u64::from_le_bytes(eight));
    }
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    fold(hash, u64::from_le_bytes(last) ^ (name.len() as u64) << 56)
}

fn fold(hash: u64, word: u64) -> u64 {
    // Two odd constants without structure: digits of pi.
    const KEY: u64 = 0x2436_A885_A308_D313;
    const MULTIPLIER: u64 = 0x1319_8A2E_0370_7345;
    let product = u128::from(hash ^ word ^ KEY) * u128::from(MULTIPLIER);
    let (high, low) = (product >> 64, product & u128::from(u64::MAX));
    u64::try_from(high ^ low).unwrap_or(0)
}

/// A hasher for names in tables of the standard library, on the same hash.
#[derive(Clone, Copy, Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = fold(self.0, hash_of(bytes));
    }

    fn write_u8(&mut self, byte: u8) {
        // The end mark of `str`; the length is in already.
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

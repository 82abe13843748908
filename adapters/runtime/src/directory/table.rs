//! Names in a hash table of which a look-up touches one place.
//!
//! Among a hundred thousand names nothing that a look-up needs is in a fast cache, and each place
//! that it has to go to costs more than all its instructions. So a short name lies in its slot,
//! beside what it stands for, and the slots in one array: one place, or two that follow each other.
//! The map of the standard library goes to its control bytes, to the entry, and to the name.
//!
//! Collisions go to the next free slot, and what goes away makes its successors move up, so there
//! are no tombstones. At most three quarters of the slots are taken.

use std::sync::Arc;

use super::hash_of;

/// So long a name lies in its slot; with its length and the kind of the key it fills three words.
const SHORT: usize = 22;

/// A name as a key.
#[derive(Clone)]
pub(super) enum Key {
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

impl Key {
    fn of(name: Arc<str>) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(name.as_bytes());
                Self::Short(length, bytes)
            }
            _ => Self::Long(name),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(name) => name.as_bytes(),
        }
    }

    /// The name. `O(length)`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Short(..) => std::str::from_utf8(self.bytes()).unwrap_or_default(),
            Self::Long(name) => name,
        }
    }

    pub(super) fn to_arc(&self) -> Arc<str> {
        match self {
            Self::Short(..) => Arc::from(self.name()),
            Self::Long(name) => Arc::clone(name),
        }
    }
}

/// A name, and what it stands for.
pub(super) type Entry<T> = (Key, Arc<T>);

/// Names and what they stand for.
pub(super) struct Table<T: ?Sized> {
    /// Some of them are free, if there are any.
    slots: Box<[Option<Entry<T>>]>,
    len: usize,
}

impl<T: ?Sized> Table<T> {
    pub(super) fn new() -> Self {
        Self { slots: Box::default(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.slots.iter().flatten()
    }

    /// Where the search for a name begins.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        // Of the hash's lower half the part that the slots are of all numbers; the shard is chosen
        // by the other half.
        let home = ((hash & u64::from(u32::MAX)) * self.slots.len() as u64) >> 32;
        usize::try_from(home).unwrap_or(0)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    /// How many steps it is from one slot to another.
    fn steps(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// The slot of a name, or the free one that the search for it has come to.
    #[inline]
    fn find(&self, hash: u64, name: &[u8]) -> Result<usize, usize> {
        let mut at = self.home(hash);
        while let Some(Some((key, _))) = self.slots.get(at) {
            if key.bytes() == name {
                return Ok(at);
            }
            at = self.after(at);
        }
        Err(at)
    }

    #[inline]
    pub(super) fn get(&self, hash: u64, name: &str) -> Option<&Arc<T>> {
        let at = self.find(hash, name.as_bytes()).ok()?;
        self.slots[at].as_ref().map(|(_, value)| value)
    }

    /// # Errors
    /// Who has the name.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        name: Arc<str>,
        value: Arc<T>,
    ) -> Result<(), Arc<T>> {
        if let Some(holder) = self.get(hash, &name) {
            return Err(Arc::clone(holder));
        }
        if 4 * (self.len + 1) > 3 * self.slots.len() {
            self.grow();
        }
        self.put(hash, (Key::of(name), value));
        self.len += 1;
        Ok(())
    }

    fn put(&mut self, hash: u64, entry: Entry<T>) {
        if let Err(at) = self.find(hash, entry.0.bytes()) {
            self.slots[at] = Some(entry);
        }
    }

    #[cold]
    fn grow(&mut self) {
        // By a half only: the more of the table a cache can hold, the better.
        const FIRST: usize = 4;
        let more = (self.slots.len() * 3 / 2).max(FIRST);
        let slots = std::mem::replace(&mut self.slots, (0..more).map(|_| None).collect());
        for entry in slots.into_iter().flatten() {
            self.put(hash_of(entry.0.bytes()), entry);
        }
    }

    pub(super) fn remove(&mut self, hash: u64, name: &str) -> Option<Arc<T>> {
        let mut gap = self.find(hash, name.as_bytes()).ok()?;
        let (_, removed) = self.slots[gap].take()?;
        self.len -= 1;
        // Those behind it move up, unless they would come before where their search begins.
        let mut at = gap;
        loop {
            at = self.after(at);
            let Some((key, _)) = &self.slots[at] else { return Some(removed) };
            let home = self.home(hash_of(key.bytes()));
            if self.steps(home, at) >= self.steps(gap, at) {
                self.slots.swap(gap, at);
                gap = at;
            }
        }
    }
}

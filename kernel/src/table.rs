//! A map whose keys are numbers that are given out one after the other.
//!
//! Names, and the children that have their numbers, come in the order of their numbers, are looked
//! up many times in each step, and are walked in order. A tree pays for each look-up with a descent
//! and for ascending inserts with nodes that stay half full. Here an entry stands at its number: in
//! a chunk of sixteen places, which stands in a line of chunks. A look-up is two loads.
//!
//! The hard case is a number far from all others, and what lives on long after its neighbours have
//! gone. A line that is mostly gaps is given up: its chunks go into a tree, and a new line begins
//! where the next number is. So the line has at most twice [`SPARSE`] places for each chunk in it,
//! and a chunk at least one entry.
//!
//! Two tables are equal when they hold the same, however they came to it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::fmt::{self, Debug};
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

use crate::{ChildId, NameId};

/// What can be a key: a number in disguise.
pub trait Number: Copy {
    /// The number.
    fn number(self) -> u64;
    /// The key of a number that [`Number::number`] has returned.
    fn of(number: u64) -> Self;
}

impl Number for u64 {
    fn number(self) -> u64 {
        self
    }

    fn of(number: u64) -> Self {
        number
    }
}

macro_rules! number {
    ($($key:ident),*) => {$(
        impl Number for $key {
            fn number(self) -> u64 {
                u64::from(self.0)
            }

            fn of(number: u64) -> Self {
                Self(u32::try_from(number).unwrap_or(u32::MAX))
            }
        }
    )*};
}

number!(ChildId, NameId);

/// Places in a chunk.
const PLACES: usize = 16;
const SHIFT: u32 = PLACES.trailing_zeros();
/// What of a number says which place.
const MASK: u64 = 15;

/// The line has at most twice so many places for each chunk that is there, and [`FEW`] on top.
const SPARSE: usize = 4;
const FEW: usize = 8;

#[derive(Clone)]
struct Chunk<V> {
    places: [Option<V>; PLACES],
    used: usize,
}

impl<V> Chunk<V> {
    fn new() -> Box<Self> {
        Box::new(Self { places: core::array::from_fn(|_| None), used: 0 })
    }

    fn get(&self, place: usize) -> Option<&V> {
        self.places.get(place)?.as_ref()
    }
}

/// A map from numbers that are given out one after the other. Get, insert and remove are `O(1)`
/// for those, amortized, and `O(log n)` for any other.
///
/// ```
/// use lictor_kernel::{ChildId, Table};
///
/// let mut table = Table::default();
/// table.insert(ChildId(7), "seven");
/// table.insert(ChildId(u32::MAX), "last");
/// assert_eq!(table.get(ChildId(7)), Some(&"seven"));
/// assert_eq!(table.first_from(ChildId(8)).map(|(id, _)| id), Some(ChildId(u32::MAX)));
/// assert_eq!(table.remove(ChildId(7)), Some("seven"));
/// assert_eq!(table.len(), 1);
/// ```
#[derive(Clone)]
pub struct Table<K, V> {
    /// The number of the first chunk of the line.
    base: u64,
    /// The line. Neither end is a gap.
    line: VecDeque<Option<Box<Chunk<V>>>>,
    /// How many chunks are in the line.
    chunks: usize,
    /// The chunks that are not in the line. None of them has a place there.
    far: BTreeMap<u64, Box<Chunk<V>>>,
    len: usize,
    keys: PhantomData<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

const fn split(number: u64) -> (u64, usize) {
    (number >> SHIFT, place_of(number))
}

const fn place_of(number: u64) -> usize {
    (number & MASK) as usize
}

fn number_of(chunk: u64, place: usize) -> u64 {
    (chunk << SHIFT) | u64::try_from(place).unwrap_or(0)
}

impl<K, V> Table<K, V> {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            base: 0,
            line: VecDeque::new(),
            chunks: 0,
            far: BTreeMap::new(),
            len: 0,
            keys: PhantomData,
        }
    }
}

impl<K: Number, V> Table<K, V> {
    /// The place of a chunk in the line, if it has one.
    fn at(&self, chunk: u64) -> Option<usize> {
        let at = usize::try_from(chunk.checked_sub(self.base)?).ok()?;
        (at < self.line.len()).then_some(at)
    }

    /// The number after that of the last chunk of the line.
    fn end(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.line.len()).unwrap_or(u64::MAX))
    }

    fn chunk(&self, chunk: u64) -> Option<&Chunk<V>> {
        match self.at(chunk) {
            Some(at) => self.line.get(at)?.as_deref(),
            None if self.far.is_empty() => None,
            None => self.far.get(&chunk).map(|chunk| &**chunk),
        }
    }

    /// What stands at this number.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        let (chunk, place) = split(key.number());
        self.chunk(chunk)?.get(place)
    }

    /// What stands at this number, to be changed.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (chunk, place) = split(key.number());
        let chunk = match self.at(chunk) {
            Some(at) => self.line.get_mut(at)?.as_mut()?,
            None => self.far.get_mut(&chunk)?,
        };
        chunk.places.get_mut(place)?.as_mut()
    }

    /// Whether anything stands at this number.
    #[must_use]
    pub fn contains_key(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// Puts something at a number and returns what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (number, place) = split(key.number());
        let at = self.at(number).or_else(|| self.lengthen(number));
        let chunk = match at {
            Some(at) => {
                let slot = self.line.get_mut(at)?;
                if slot.is_none() {
                    self.chunks = self.chunks.saturating_add(1);
                }
                slot.get_or_insert_with(Chunk::new)
            }
            None => self.far.entry(number).or_insert_with(Chunk::new),
        };
        let old = chunk.places.get_mut(place)?.replace(value);
        if old.is_none() {
            chunk.used = chunk.used.saturating_add(1);
            self.len = self.len.saturating_add(1);
        }
        old
    }

    /// Makes the line long enough for a chunk behind its end, if that is not too far; its place.
    fn lengthen(&mut self, number: u64) -> Option<usize> {
        if self.far.contains_key(&number) {
            return None;
        }
        if self.line.is_empty() {
            self.base = number;
        }
        let at = usize::try_from(number.checked_sub(self.base)?).ok()?;
        if at > self.chunks.saturating_mul(SPARSE).saturating_add(FEW) {
            return None;
        }
        let end = self.end();
        self.line.resize_with(at.saturating_add(1), || None);
        // What the line reaches now stands in it.
        while let Some((near, _)) = self.far.range(end..number).next() {
            let near = *near;
            let chunk = self.far.remove(&near);
            if let Some(slot) = self.at(near).and_then(|at| self.line.get_mut(at)) {
                *slot = chunk;
                self.chunks = self.chunks.saturating_add(1);
            }
        }
        Some(at)
    }

    /// Takes away what stands at a number.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let (number, place) = split(key.number());
        let at = self.at(number);
        let chunk = match at {
            Some(at) => self.line.get_mut(at)?.as_mut()?,
            None => self.far.get_mut(&number)?,
        };
        let old = chunk.places.get_mut(place)?.take()?;
        chunk.used = chunk.used.saturating_sub(1);
        self.len = self.len.saturating_sub(1);
        if chunk.used == 0 {
            match at {
                Some(at) => self.shorten(at),
                None => drop(self.far.remove(&number)),
            }
        }
        Some(old)
    }

    /// A chunk of the line is empty: it goes, and gaps at the ends with it.
    fn shorten(&mut self, at: usize) {
        if let Some(slot) = self.line.get_mut(at) {
            *slot = None;
            self.chunks = self.chunks.saturating_sub(1);
        }
        while let Some(None) = self.line.front() {
            self.line.pop_front();
            self.base = self.base.saturating_add(1);
        }
        while let Some(None) = self.line.back() {
            self.line.pop_back();
        }
        let most = self.chunks.saturating_mul(SPARSE).saturating_add(FEW);
        if self.line.is_empty() {
            self.line = VecDeque::new();
        } else if self.line.len() > most.saturating_add(most) {
            // What was inserted since the last time pays for it.
            let line = core::mem::take(&mut self.line);
            let numbered = (self.base..).zip(line);
            self.far.extend(numbered.filter_map(|(number, chunk)| Some((number, chunk?))));
            self.chunks = 0;
        }
    }

    /// The first entry at or after this number.
    #[must_use]
    pub fn first_from(&self, key: K) -> Option<(K, &V)> {
        let (number, place) = split(key.number());
        let found = self.chunk(number).and_then(|chunk| {
            let rest = chunk.places.iter().enumerate().skip(place);
            rest.filter_map(|(at, value)| Some((at, value.as_ref()?))).next()
        });
        if let Some((at, value)) = found {
            return Some((K::of(number_of(number, at)), value));
        }
        let next = number.checked_add(1)?;
        let mut far = self.far.range(next..).map(|(number, chunk)| (*number, &**chunk));
        let (number, chunk) = match (self.in_line_from(next), far.next()) {
            (Some(a), Some(b)) if b.0 < a.0 => b,
            (a, b) => a.or(b)?,
        };
        let mut entries = chunk.places.iter().enumerate();
        let (at, value) = entries.find_map(|(at, value)| Some((at, value.as_ref()?)))?;
        Some((K::of(number_of(number, at)), value))
    }

    fn in_line_from(&self, number: u64) -> Option<(u64, &Chunk<V>)> {
        let first = number.max(self.base);
        let skip = usize::try_from(first.checked_sub(self.base)?).ok()?;
        let chunks = (first..).zip(self.line.iter().skip(skip));
        chunks.filter_map(|(number, chunk)| Some((number, chunk.as_deref()?))).next()
    }

    /// The last entry before this number.
    #[must_use]
    pub fn last_before(&self, key: K) -> Option<(K, &V)> {
        let (number, place) = split(key.number());
        let found = self.chunk(number).and_then(|chunk| {
            let rest = chunk.places.iter().enumerate().take(place).rev();
            rest.filter_map(|(at, value)| Some((at, value.as_ref()?))).next()
        });
        if let Some((at, value)) = found {
            return Some((K::of(number_of(number, at)), value));
        }
        let mut far = self.far.range(..number).rev().map(|(number, chunk)| (*number, &**chunk));
        let (number, chunk) = match (self.in_line_before(number), far.next()) {
            (Some(a), Some(b)) if b.0 > a.0 => b,
            (a, b) => a.or(b)?,
        };
        let mut entries = chunk.places.iter().enumerate().rev();
        let (at, value) = entries.find_map(|(at, value)| Some((at, value.as_ref()?)))?;
        Some((K::of(number_of(number, at)), value))
    }

    fn in_line_before(&self, number: u64) -> Option<(u64, &Chunk<V>)> {
        let end = number.min(self.end());
        let count = usize::try_from(end.checked_sub(self.base)?).ok()?;
        let chunks = (self.base..end).rev().zip(self.line.iter().take(count).rev());
        chunks.filter_map(|(number, chunk)| Some((number, chunk.as_deref()?))).next()
    }

    /// All entries in the order of their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        let line = self.line.iter().enumerate().filter_map(|(at, chunk)| {
            let number = self.base.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
            Some((number, &**chunk.as_ref()?))
        });
        let before = self.far.range(..self.base).map(|(number, chunk)| (*number, &**chunk));
        let after = self.far.range(self.end()..).map(|(number, chunk)| (*number, &**chunk));
        before.chain(line).chain(after).flat_map(|(number, chunk): (u64, &Chunk<V>)| {
            let places = chunk.places.iter().enumerate();
            places.filter_map(move |(at, value)| {
                Some((K::of(number_of(number, at)), value.as_ref()?))
            })
        })
    }

    /// All keys in the order of their numbers.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values in the order of their numbers.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the entry of the smallest number.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let (key, _) = self.first_from(K::of(0))?;
        Some((key, self.remove(key)?))
    }
}

impl<K: Number, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        for (key, value) in entries {
            table.insert(key, value);
        }
        table
    }
}

impl<K: Number, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let numbered = |(key, value): (K, _)| (key.number(), value);
        self.len == other.len && self.iter().map(numbered).eq(other.iter().map(numbered))
    }
}

impl<K: Number, V: Eq> Eq for Table<K, V> {}

impl<K: Number, V: Hash> Hash for Table<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        for (key, value) in self.iter() {
            key.number().hash(state);
            value.hash(state);
        }
    }
}

impl<K: Number, V: Debug> Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key.number(), value))).finish()
    }
}

//! Names, interned once at the edge, and the grammar that makes them safe everywhere.
//!
//! A name becomes a ZeroMQ topic, a NATS subject, a durable consumer and a file, so the grammar is
//! the intersection of what those take. Inside the kernel a name is a [`NameId`]: small, `Copy`,
//! ordered. An id is never given to a second name, not even after its name was removed; a stale
//! id then resolves to nothing rather than to a stranger (Erlang's atoms are never freed at all).

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Bound;

use crate::{NameId, Table};

/// The greatest length of a name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Why a text is not a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// The byte at this offset is no ASCII letter, digit, `_`, `-` or `.`.
    Character {
        /// Offset in bytes from the start.
        at: usize,
    },
    /// There is no text before, between or after dots at this offset.
    EmptyToken {
        /// Offset in bytes of the place where a token should start.
        at: usize,
    },
    /// It starts with `_`: only the system may make such names.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name cannot be empty"),
            Self::TooLong => write!(f, "a name has at most {NAME_BYTES_MAX} bytes"),
            Self::Character { at } => write!(
                f,
                "byte {at} is not allowed in a name: use ASCII letters, digits, '_', '-' and '.'"
            ),
            Self::EmptyToken { at } => write!(f, "nothing between the dots at byte {at}"),
            Self::Reserved => f.write_str("names that start with '_' are reserved to the system"),
        }
    }
}

impl core::error::Error for NameError {}

/// Why a name was not interned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum InternError {
    /// The text is not a name.
    Name(NameError),
    /// The table holds as many names as it may.
    TooManyNames,
    /// All 2^32 ids have been given out; ids are never reused.
    IdsExhausted,
}

impl fmt::Display for InternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::TooManyNames => f.write_str("the table of names is full"),
            Self::IdsExhausted => f.write_str("all ids for names have been used"),
        }
    }
}

impl core::error::Error for InternError {}

impl From<NameError> for InternError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

/// A bounded table of names and their ids.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Names {
    limit: usize,
    next: Option<u32>,
    ids: BTreeMap<Arc<str>, NameId>,
    texts: Table<NameId, Arc<str>>,
}

impl Names {
    /// An empty table that holds at most `limit` names at once.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self::starting_at(NameId(0), limit)
    }

    /// An empty table whose first id is `first`, holding at most `limit` names at once.
    #[must_use]
    pub const fn starting_at(first: NameId, limit: usize) -> Self {
        Self { limit, next: Some(first.0), ids: BTreeMap::new(), texts: Table::new() }
    }

    /// Says whether a user may give `name` to an agent, a group or a capability. (N1, N2)
    ///
    /// # Errors
    /// As [`Names::check_system`], and [`NameError::Reserved`] for a leading `_`.
    pub fn check(name: &str) -> Result<(), NameError> {
        Self::check_system(name)?;
        if name.starts_with('_') { Err(NameError::Reserved) } else { Ok(()) }
    }

    /// Says whether `name` follows the grammar, reserved names included. (N1)
    ///
    /// # Errors
    /// [`NameError::Empty`], [`NameError::TooLong`], or the first offending byte as
    /// [`NameError::Character`] or [`NameError::EmptyToken`].
    pub fn check_system(name: &str) -> Result<(), NameError> {
        Self::check_within(NAME_BYTES_MAX, name)
    }

    /// As [`Names::check_system`], for what is made of names and may be longer: up to `most` bytes.
    ///
    /// # Errors
    /// As there; [`NameError::TooLong`] is of the bound that was given.
    pub fn check_within(most: usize, name: &str) -> Result<(), NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > most {
            return Err(NameError::TooLong);
        }
        let mut token_is_empty = true;
        for (at, byte) in name.bytes().enumerate() {
            match byte {
                b'.' if token_is_empty => return Err(NameError::EmptyToken { at }),
                b'.' => token_is_empty = true,
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => token_is_empty = false,
                _ => return Err(NameError::Character { at }),
            }
        }
        if token_is_empty { Err(NameError::EmptyToken { at: name.len() }) } else { Ok(()) }
    }

    /// Returns the id of `name`, giving it one if it has none. `O(log n)`. (N3)
    ///
    /// # Errors
    /// [`InternError::Name`] as [`Names::check`]; [`InternError::TooManyNames`] at the limit;
    /// [`InternError::IdsExhausted`]. A name that is already there is always found.
    pub fn intern(&mut self, name: &str) -> Result<NameId, InternError> {
        Self::check(name)?;
        self.insert(name)
    }

    /// As [`Names::intern`], and allows names that are reserved to the system.
    ///
    /// # Errors
    /// As [`Names::intern`], without [`NameError::Reserved`].
    pub fn intern_system(&mut self, name: &str) -> Result<NameId, InternError> {
        Self::check_system(name)?;
        self.insert(name)
    }

    /// As [`Names::intern`], for a capability tag: any text of 1 to 255 bytes without control
    /// characters. Tags travel in payloads only, never as an address. Keep them in a table of their
    /// own: a tag and a name may have the same text, and end at different times. (N5)
    ///
    /// # Errors
    /// As [`Names::intern`], without [`NameError::EmptyToken`] and [`NameError::Reserved`].
    pub fn intern_tag(&mut self, tag: &str) -> Result<NameId, InternError> {
        if tag.is_empty() {
            return Err(NameError::Empty.into());
        }
        if tag.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong.into());
        }
        if let Some((at, _)) = tag.char_indices().find(|(_, letter)| letter.is_control()) {
            return Err(NameError::Character { at }.into());
        }
        self.insert(tag)
    }

    /// As [`Names::intern`], for a name that is likely to be new: its text is copied first, so that
    /// one walk through the table finds its place and puts it there.
    ///
    /// # Errors
    /// As [`Names::intern`].
    pub(crate) fn intern_new(&mut self, name: &str) -> Result<NameId, InternError> {
        Self::check(name)?;
        if self.ids.len() >= self.limit {
            return self.insert(name);
        }
        self.enter(Arc::from(name))
    }

    fn insert(&mut self, name: &str) -> Result<NameId, InternError> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        if self.ids.len() >= self.limit {
            return Err(InternError::TooManyNames);
        }
        self.enter(Arc::from(name))
    }

    fn enter(&mut self, text: Arc<str>) -> Result<NameId, InternError> {
        let free = match self.ids.entry(text) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(free) => free,
        };
        let id = NameId(self.next.ok_or(InternError::IdsExhausted)?);
        self.next = id.0.checked_add(1);
        self.texts.insert(id, Arc::clone(free.key()));
        free.insert(id);
        assert!(self.ids.len() == self.texts.len());
        Ok(id)
    }

    /// The id of `name`, if it has one. `O(log n)`.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// The name that `id` stands for, unless it was removed.
    #[must_use]
    pub fn resolve(&self, id: NameId) -> Option<&str> {
        self.texts.get(id).map(|text| &**text)
    }

    /// As [`Names::resolve`], to be kept: whoever keeps it has the same text, and no copy of it.
    #[must_use]
    pub fn shared(&self, id: NameId) -> Option<Arc<str>> {
        self.texts.get(id).cloned()
    }

    /// Forgets a name and says whether it was there. Its id is never used again: the same text
    /// interned later has a new one. The caller removes an id only when nothing refers to it.
    /// `O(log n)`. (N4)
    pub fn remove(&mut self, id: NameId) -> bool {
        let Some(text) = self.texts.remove(id) else { return false };
        self.ids.remove(&text);
        assert!(self.ids.len() == self.texts.len());
        true
    }

    /// The names that start with `prefix`, in byte order. `O(log n)`, then `O(1)` each.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, NameId)> {
        self.ids
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(text, id)| (&**text, *id))
            .take_while(move |(text, _)| text.starts_with(prefix))
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

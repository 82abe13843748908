//! Whose signature counts for which name.
//!
//! A name has one key, or several while keys are being changed: the old one may still be accepted
//! until a stated time, for what was under way. Who is in here must always sign; it is never enough
//! that a message has no signature.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;

use crate::key::PublicKey;
use crate::time::UnixTime;

/// Keys that one name may have at once.
pub const KEYS_PER_NAME_MAX: usize = 4;

/// Nodes whose keys count for system names. Each is tried for a message from such a name, so this
/// bounds what a forged one costs.
pub const NODES_MAX: usize = 16;

/// Names with keys.
pub const SIGNERS_MAX: usize = 1 << 16;

/// Names and their public keys. Empty at first: it trusts nobody.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Keyring {
    names: BTreeMap<String, Vec<Accepted>>,
    nodes: Vec<Accepted>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Accepted {
    key: PublicKey,
    until: Option<UnixTime>,
}

/// There is no room for one more key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyringFull {
    /// The name has [`KEYS_PER_NAME_MAX`] keys.
    Keys,
    /// There are [`NODES_MAX`] nodes.
    Nodes,
    /// There are [`SIGNERS_MAX`] names.
    Names,
}

impl fmt::Display for KeyringFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys => write!(f, "a name has at most {KEYS_PER_NAME_MAX} keys at once"),
            Self::Nodes => write!(f, "at most {NODES_MAX} nodes sign for system names"),
            Self::Names => write!(f, "a keyring has at most {SIGNERS_MAX} names"),
        }
    }
}

impl Error for KeyringFull {}

impl Keyring {
    /// Trusts nobody.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: BTreeMap::new(), nodes: Vec::new() }
    }

    /// From now on this key signs for `name`, beside those that already do.
    ///
    /// # Errors
    /// [`KeyringFull`].
    pub fn trust(&mut self, name: impl Into<String>, key: PublicKey) -> Result<(), KeyringFull> {
        self.add(name.into(), Accepted { key, until: None })
    }

    /// As [`Keyring::trust`], for a key that has been replaced: it counts up to and at `until`.
    ///
    /// # Errors
    /// [`KeyringFull`].
    pub fn trust_until(
        &mut self,
        name: impl Into<String>,
        key: PublicKey,
        until: UnixTime,
    ) -> Result<(), KeyringFull> {
        self.add(name.into(), Accepted { key, until: Some(until) })
    }

    /// As [`Keyring::trust`], for a node: its key counts for its name, and for every system name
    /// (those that start with `_`, such as `_runtime`) that has no key of its own. Without this the
    /// runtime itself could not send anything where signatures are required. (Z52)
    ///
    /// # Errors
    /// [`KeyringFull`].
    pub fn trust_node(
        &mut self,
        name: impl Into<String>,
        key: PublicKey,
    ) -> Result<(), KeyringFull> {
        let accepted = Accepted { key, until: None };
        if self.nodes.len() >= NODES_MAX && !self.nodes.iter().any(|held| held.key == key) {
            return Err(KeyringFull::Nodes);
        }
        self.add(name.into(), accepted)?;
        put(&mut self.nodes, accepted);
        Ok(())
    }

    /// Trusts no key for this name any more, not even as a node.
    pub fn forget(&mut self, name: &str) {
        for gone in self.names.remove(name).unwrap_or_default() {
            self.nodes.retain(|held| held.key != gone.key);
        }
    }

    /// Whether a message from this name must be signed.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name) || (is_system(name) && !self.nodes.is_empty())
    }

    /// Whether this very name has a key, and not only as a system name of some node.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The bytes of all keys, whether they count at present or not.
    pub(crate) fn all_keys(&self) -> BTreeSet<[u8; 32]> {
        self.names.values().flatten().map(|held| *held.key.as_bytes()).collect()
    }

    /// The keys that count for a name at a time.
    pub(crate) fn keys(&self, name: &str, now: UnixTime) -> impl Iterator<Item = PublicKey> {
        let of_nodes = if is_system(name) { self.nodes.as_slice() } else { &[] };
        let accepted = self.names.get(name).map_or(of_nodes, Vec::as_slice);
        let counts = move |held: &&Accepted| held.until.is_none_or(|until| now <= until);
        accepted.iter().filter(counts).map(|held| held.key)
    }

    fn add(&mut self, name: String, accepted: Accepted) -> Result<(), KeyringFull> {
        if self.names.len() >= SIGNERS_MAX && !self.names.contains_key(&name) {
            return Err(KeyringFull::Names);
        }
        let held = self.names.entry(name).or_default();
        if held.len() >= KEYS_PER_NAME_MAX && !held.iter().any(|held| held.key == accepted.key) {
            return Err(KeyringFull::Keys);
        }
        put(held, accepted);
        Ok(())
    }
}

/// The same key again has the new end of its time.
fn put(held: &mut Vec<Accepted>, accepted: Accepted) {
    match held.iter_mut().find(|held| held.key == accepted.key) {
        Some(held) => *held = accepted,
        None => held.push(accepted),
    }
}

fn is_system(name: &str) -> bool {
    name.starts_with('_')
}

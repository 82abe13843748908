//! The list of keys that a name had before: what is in `id_ed25519.pub.old`.
//!
//! One line for each: the key in base64, a space, and until when it counts, in seconds since 1970.
//! civitas knows no such file and passes it over; there a change of keys is a moment in which
//! everything that is under way is lost.

use std::error::Error;
use std::fmt::{self, Write as _};

use crate::key::{KeyError, PublicKey};
use crate::keyring::KEYS_PER_NAME_MAX;
use crate::time::UnixTime;

/// A key that was replaced, and until when it still counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OldKey {
    /// The key.
    pub key: PublicKey,
    /// Up to and at this time; whole seconds.
    pub until: UnixTime,
}

/// What is wrong with a list of old keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OldKeysError {
    /// A line holds something else than a key, a space and a time.
    Line {
        /// Which; the first is 1.
        line: usize,
    },
    /// A line holds no key.
    Key {
        /// Which; the first is 1.
        line: usize,
        /// Why.
        error: KeyError,
    },
    /// There are more keys than a name can have beside its present one.
    TooMany,
}

impl fmt::Display for OldKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line } => write!(
                f,
                "line {line}: expected a key in base64, a space, and a time in seconds since 1970"
            ),
            Self::Key { line, error } => write!(f, "line {line}: {error}"),
            Self::TooMany => write!(f, "more than {} old keys", KEYS_PER_NAME_MAX - 1),
        }
    }
}

impl Error for OldKeysError {}

/// Reads a list. Empty lines are passed over.
///
/// # Errors
/// [`OldKeysError`], of the first line that has a fault.
pub fn read_old_keys(text: &[u8]) -> Result<Vec<OldKey>, OldKeysError> {
    let mut keys = Vec::new();
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let wrong = OldKeysError::Line { line };
        let Some(space) = text.iter().position(|byte| *byte == b' ') else { return Err(wrong) };
        let (key, until) = text.split_at(space);
        let key = PublicKey::from_base64(key);
        let key = key.map_err(|error| OldKeysError::Key { line, error })?;
        let until = std::str::from_utf8(until.trim_ascii()).ok();
        // Whole seconds whose milliseconds fit; `parse` takes a sign, which nobody writes.
        let until = until.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let millis = until.and_then(|text| text.parse::<u64>().ok()?.checked_mul(1000));
        let until = UnixTime::from_millis(millis.ok_or(wrong)?);
        if keys.len() + 1 >= KEYS_PER_NAME_MAX {
            return Err(OldKeysError::TooMany);
        }
        keys.push(OldKey { key, until });
    }
    Ok(keys)
}

/// The text of a list.
#[must_use]
pub fn write_old_keys(keys: &[OldKey]) -> String {
    let mut text = String::new();
    for OldKey { key, until } in keys {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{} {}", key.to_base64(), until.as_millis() / 1000);
    }
    text
}

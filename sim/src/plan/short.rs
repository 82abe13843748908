//! A short text inside an operation: a pattern or a capability. Operations are small and copied by
//! the thousand, so it has its bytes in itself; a longer one is refused where plans are read.

use std::fmt;

/// The longest, in bytes.
pub const SHORT_MAX: usize = 30;

/// A text of at most [`SHORT_MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Short {
    bytes: [u8; SHORT_MAX],
    length: u8,
}

impl Short {
    /// The text; `None` if it is longer.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let length = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; SHORT_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length })
    }

    /// It as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_and_nothing_else() {
        for text in ["", "a", "übung", &"x".repeat(SHORT_MAX)] {
            assert_eq!(Short::new(text).unwrap().as_str(), text);
        }
        assert_eq!(Short::new(&"x".repeat(SHORT_MAX + 1)), None);
        assert_eq!(Short::new(&"x".repeat(300)), None);
    }
}

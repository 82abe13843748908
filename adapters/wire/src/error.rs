//! Why bytes are no message, and why a message does not become bytes.

use std::error::Error;
use std::fmt;

/// What is wrong with bytes, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DecodeError {
    /// Offset in bytes from the start of what was given.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// There are more bytes than [`Limits::bytes`](crate::Limits::bytes).
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Lists and maps are deeper than [`Limits::depth`](crate::Limits::depth).
    TooDeep {
        /// The limit.
        limit: u8,
    },
    /// There are more values than [`Limits::items`](crate::Limits::items).
    TooManyItems {
        /// The limit.
        limit: usize,
    },
    /// A text is longer than [`Limits::text`](crate::Limits::text).
    TextTooLong {
        /// The limit.
        limit: usize,
    },
    /// The bytes end in the middle of something.
    Ends,
    /// Something follows the end of the message.
    Trailing,
    /// Something else stands here.
    Expected {
        /// What should.
        expected: &'static str,
        /// As what: a field, or a part of the format.
        of: &'static str,
    },
    /// A text is not UTF-8, or has half of a surrogate pair.
    NotText,
    /// A key appears twice in one map. Which of the two counts would be a matter of taste, and two
    /// readers that differ in it see two messages.
    DuplicateKey,
    /// A number is not finite, or is an integer outside of -2^63 to 2^64 - 1.
    Number,
}

impl DecodeError {
    pub(crate) const fn new(at: usize, fault: Fault) -> Self {
        Self { at, fault }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "more than {limit} bytes"),
            Self::TooDeep { limit } => write!(f, "lists and maps deeper than {limit}"),
            Self::TooManyItems { limit } => write!(f, "more than {limit} values"),
            Self::TextTooLong { limit } => write!(f, "a text of more than {limit} bytes"),
            Self::Ends => f.write_str("the message ends too early"),
            Self::Trailing => f.write_str("something follows the message"),
            Self::Expected { expected, of } => write!(f, "expected {expected} as {of}"),
            Self::NotText => f.write_str("a text that is not Unicode"),
            Self::DuplicateKey => f.write_str("a key that appears twice"),
            Self::Number => f.write_str("a number that no message can carry"),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.fault)
    }
}

impl Error for DecodeError {}

/// Why a message cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// It has more bytes than [`Limits::bytes`](crate::Limits::bytes).
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The payload is deeper than [`Limits::depth`](crate::Limits::depth).
    TooDeep {
        /// The limit.
        limit: u8,
    },
    /// It has more values than [`Limits::items`](crate::Limits::items).
    TooManyItems {
        /// The limit.
        limit: usize,
    },
    /// A text is longer than [`Limits::text`](crate::Limits::text).
    TextTooLong {
        /// The limit.
        limit: usize,
    },
    /// JSON has no bytes: send MessagePack, or a text that stands for them.
    BytesInJson,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "the message has more than {limit} bytes"),
            Self::TooDeep { limit } => write!(f, "the payload is deeper than {limit}"),
            Self::TooManyItems { limit } => write!(f, "the message has more than {limit} values"),
            Self::TextTooLong { limit } => write!(f, "a text has more than {limit} bytes"),
            Self::BytesInJson => f.write_str("the payload has bytes, and JSON has none"),
        }
    }
}

impl Error for EncodeError {}

//! Why an envelope is not opened.

use std::error::Error;
use std::fmt;

use crate::error::DecodeError;

/// Why an envelope is not opened. What is said of its content, from [`Refusal::WrongSender`] on, is
/// said only once the signature has been checked, so a stranger cannot make it appear.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are no envelope.
    Malformed(DecodeError),
    /// There is no signature where there must be one.
    Unsigned,
    /// There is no key for whom it says it is by.
    UnknownSigner,
    /// It was not signed by whom it says it is by, or was changed since.
    Forged,
    /// It was signed by somebody who is not its sender.
    WrongSender,
    /// It was signed for another recipient.
    WrongRecipient,
    /// Its time is over.
    Expired,
    /// It comes from the future: a clock is wrong.
    NotYet,
    /// It was here before.
    Replayed,
    /// It is older than all that is remembered of its signer, so it may have been here before.
    Stale,
    /// Another frame of its signer had the same place: two nodes sign with one key.
    KeyShared,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(error) => return error.fmt(f),
            Self::Unsigned => "it is not signed",
            Self::UnknownSigner => "there is no key for its signer",
            Self::Forged => "the signature is not by its signer",
            Self::WrongSender => "it is signed by another than its sender",
            Self::WrongRecipient => "it is signed for another recipient",
            Self::Expired => "its time is over",
            Self::NotYet => "it comes from the future; a clock is wrong",
            Self::Replayed => "it was here before",
            Self::Stale => "it is older than what is remembered of its signer",
            Self::KeyShared => "two nodes sign with the key of its signer",
        })
    }
}

impl Error for Refusal {}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

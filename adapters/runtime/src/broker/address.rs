//! Addresses: the grammar that every broker understands.

use std::error::Error;
use std::fmt::{self, Display};
use std::sync::Arc;

use lictor_kernel::{NameError, Names};

/// The greatest length of an address, in bytes: room for two names and a little of ours.
pub const ADDRESS_BYTES_MAX: usize = 640;

/// Why something cannot be subscribed to, or is no address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// It has no characters.
    Empty,
    /// It has more than [`ADDRESS_BYTES_MAX`] bytes.
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
    /// A prefix does not end with a dot.
    NoPrefix,
    /// As many subscriptions as may be are there.
    TooMany,
}

impl Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an address cannot be empty"),
            Self::TooLong => write!(f, "an address has at most {ADDRESS_BYTES_MAX} bytes"),
            Self::Character { at } => write!(
                f,
                "byte {at} is not allowed in an address: use ASCII letters, digits, '_', '-', '.'"
            ),
            Self::EmptyToken { at } => write!(f, "nothing between the dots at byte {at}"),
            Self::NoPrefix => f.write_str("a prefix of addresses ends with a dot"),
            Self::TooMany => f.write_str("too many subscriptions at one broker"),
        }
    }
}

impl Error for AddressError {}

/// Checks that a text is an address: the grammar of names, but longer, and `_` may come first. It
/// needs no escaping in a ZeroMQ topic or a NATS subject, and holds no wildcard.
///
/// # Errors
/// [`AddressError`], with the place.
pub fn check_address(text: &str) -> Result<(), AddressError> {
    Names::check_within(ADDRESS_BYTES_MAX, text).map_err(|error| match error {
        NameError::Empty => AddressError::Empty,
        NameError::TooLong => AddressError::TooLong,
        NameError::Character { at } => AddressError::Character { at },
        NameError::EmptyToken { at } => AddressError::EmptyToken { at },
        NameError::Reserved | _ => unreachable!("`_` may come first"),
    })
}

/// What a broker is asked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subscription {
    /// This address.
    Address(Arc<str>),
    /// Every address that begins so and goes on; it ends with a dot.
    Below(Arc<str>),
}

impl Subscription {
    /// One address.
    #[must_use]
    pub fn address(address: impl Into<Arc<str>>) -> Self {
        Self::Address(address.into())
    }

    /// Everything that begins with this prefix, which ends with a dot.
    #[must_use]
    pub fn below(prefix: impl Into<Arc<str>>) -> Self {
        Self::Below(prefix.into())
    }

    /// Whether it can be asked for.
    ///
    /// # Errors
    /// [`AddressError`], with the place.
    pub fn check(&self) -> Result<(), AddressError> {
        match self {
            Self::Address(address) => check_address(address),
            Self::Below(prefix) => {
                check_address(prefix.strip_suffix('.').ok_or(AddressError::NoPrefix)?)
            }
        }
    }

    /// Whether what is published at an address belongs to it.
    #[must_use]
    pub fn matches(&self, address: &str) -> bool {
        match self {
            Self::Address(own) => **own == *address,
            Self::Below(prefix) => address.len() > prefix.len() && address.starts_with(&**prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_safe_for_every_broker() {
        for good in ["a", "_reply.x-1.y", "civitas.agent.w_1", &"a".repeat(ADDRESS_BYTES_MAX)] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        let bad = [
            ("", AddressError::Empty),
            ("a b", AddressError::Character { at: 1 }),
            ("a.*", AddressError::Character { at: 2 }),
            ("a.>", AddressError::Character { at: 2 }),
            ("a\0", AddressError::Character { at: 1 }),
            ("ä", AddressError::Character { at: 0 }),
            (".a", AddressError::EmptyToken { at: 0 }),
            ("a..b", AddressError::EmptyToken { at: 2 }),
            ("a.", AddressError::EmptyToken { at: 2 }),
            (&"a".repeat(ADDRESS_BYTES_MAX + 1), AddressError::TooLong),
        ];
        for (text, error) in bad {
            assert_eq!(check_address(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_takes_what_is_below_it_and_nothing_else() {
        let below = Subscription::below("_reply.1.");
        assert_eq!(below.check(), Ok(()));
        assert!(below.matches("_reply.1.2"));
        assert!(!below.matches("_reply.1."), "nothing is below");
        assert!(!below.matches("_reply.12"));
        assert_eq!(Subscription::below("_reply").check(), Err(AddressError::NoPrefix));
        assert_eq!(Subscription::below(".").check(), Err(AddressError::Empty));
    }
}

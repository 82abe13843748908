//! Long-term keys: 32 bytes each, written as 40 characters of Z85.

use alloc::string::String;
use core::error::Error;
use core::fmt::{self, Debug, Display};
use core::str::FromStr;

use subtle::ConstantTimeEq;
use x25519_dalek::{StaticSecret, x25519};
use zeroize::{Zeroize, Zeroizing};

use super::z85;

/// A public key. Its text is 40 characters of Z85.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&z85::encode(&self.0)).unwrap_or_default())
    }
}

impl Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads 40 characters of Z85.
    ///
    /// # Errors
    /// [`KeyError`], with the place of the fault.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self)
    }
}

/// A secret key. It is wiped when it is dropped, and never shown: only [`SecretKey::to_z85`] writes
/// it.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The key of these bytes, which must be unforeseeable.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let secret = StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    /// The 40 characters that [`FromStr`] reads: for a file that nobody else can read. The text is
    /// wiped when it is dropped.
    #[must_use]
    pub fn to_z85(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(z85::encode(&self.0));
        Zeroizing::new(String::from_utf8_lossy(&*text).into_owned())
    }

    /// The raw secret that both ends of a pair of keys come to.
    pub(super) fn agree(&self, public: &PublicKey) -> [u8; 32] {
        x25519(self.0, public.0)
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretKey {}

impl Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    /// Reads 40 characters of Z85.
    ///
    /// # Errors
    /// [`KeyError`], with the place of the fault.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse(text).map(Self)
    }
}

fn parse(text: &str) -> Result<[u8; 32], KeyError> {
    let text = text.as_bytes();
    let forty = text.try_into().map_err(|_| KeyError::Length { length: text.len() })?;
    z85::decode(forty).map_err(|at| KeyError::Character { at })
}

/// Why a text is no key. It never repeats the text, which may be secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// It does not have 40 bytes.
    Length {
        /// How many it has.
        length: usize,
    },
    /// A character is not of Z85, or its group of five is above four bytes.
    Character {
        /// Where, from 0.
        at: usize,
    },
}

impl Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { length } => {
                write!(f, "a key has 40 characters of Z85, and this has {length}")
            }
            Self::Character { at } => {
                write!(f, "the character at {at} (from 0) is not of Z85")
            }
        }
    }
}

impl Error for KeyError {}

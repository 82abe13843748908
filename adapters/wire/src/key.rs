//! Keys, and the text in which files hold them.
//!
//! Only Ed25519, and only its strict check: under a key of small order a signature can be made up
//! that fits every message, so such keys are refused, and with them every signature that other
//! libraries would take and this one would not.

use std::error::Error;
use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// A key that signs. It is wiped from memory when it is dropped, and never shown.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// A key that tells whether a signature is by whom it should be.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

/// Why bytes or a text are no key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not 44 characters of base64, which 32 bytes are.
    NotBase64,
    /// No point of the curve has these bytes.
    NotAKey,
    /// Anybody could sign for this key.
    Weak,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBase64 => "a key is 32 bytes in base64, 44 characters with one '=' at the end",
            Self::NotAKey => "these 32 bytes are no public key",
            Self::Weak => "anybody could sign for this key",
        })
    }
}

impl Error for KeyError {}

impl SecretKey {
    /// The key of a seed, which must be random and secret.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads what a key file holds: the seed in base64, white space around it left out.
    ///
    /// # Errors
    /// [`KeyError::NotBase64`]; the text is not part of the error.
    pub fn from_base64(text: &[u8]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(decode(text)?);
        Ok(Self::from_seed(&seed))
    }

    /// What a key file holds. The text is wiped when it is dropped.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(encode(&Zeroizing::new(self.0.to_bytes())))
    }

    /// The key that others check with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.public())
    }
}

impl PublicKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`], [`KeyError::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAKey)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }

    /// Reads what a file or a topology holds: the key in base64, white space around it left out.
    ///
    /// # Errors
    /// As [`PublicKey::from_bytes`], and [`KeyError::NotBase64`].
    pub fn from_base64(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_bytes(&decode(text)?)
    }

    /// The key as a text of 44 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        encode(self.0.as_bytes())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether the holder of this key has signed exactly these bytes.
    pub(crate) fn has_signed(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_base64())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// 32 bytes in base64: three bytes are four characters, and two are left over.
fn encode(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(44);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(group);
        for place in 0..=chunk.len() {
            let digit = group >> (18 - 6 * place) & 0x3f;
            let digit = usize::try_from(digit).unwrap_or_default();
            text.push(char::from(ALPHABET[digit]));
        }
    }
    text.push('=');
    text
}

/// Only the one text that [`encode`] makes of 32 bytes, with white space around it.
fn decode(text: &[u8]) -> Result<[u8; 32], KeyError> {
    let text = text.trim_ascii();
    let [digits @ .., b'='] = text else { return Err(KeyError::NotBase64) };
    if digits.len() != 43 {
        return Err(KeyError::NotBase64);
    }
    let mut bytes = [0; 32];
    for (chunk, group) in bytes.chunks_mut(3).zip(digits.chunks(4)) {
        let mut value = 0_u32;
        for place in 0..4 {
            let digit = match group.get(place) {
                Some(digit) => ALPHABET.iter().position(|known| known == digit),
                None => Some(0),
            };
            let digit = digit.and_then(|digit| u32::try_from(digit).ok());
            value = value << 6 | digit.ok_or(KeyError::NotBase64)?;
        }
        let [_, value @ ..] = value.to_be_bytes();
        chunk.copy_from_slice(&value[..chunk.len()]);
        if value[chunk.len()..].iter().any(|byte| *byte != 0) {
            return Err(KeyError::NotBase64);
        }
    }
    Ok(bytes)
}

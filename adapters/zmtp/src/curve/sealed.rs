//! `NaCl`'s box: a shared key of two pairs, and bytes that are sealed with it.

use core::fmt;

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::cipher::consts::U10;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use salsa20::{XSalsa20, hsalsa};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{PublicKey, SecretKey};
use crate::ConnectionError;

/// What sealing adds, in front.
pub(crate) const TAG: usize = 16;

/// The key that two pairs share. Wiped when it is dropped, never shown.
#[derive(Clone)]
pub(crate) struct SharedKey([u8; 32]);

impl SharedKey {
    /// Of our secret and their public key.
    pub(crate) fn new(secret: &SecretKey, public: &PublicKey) -> Result<Self, ConnectionError> {
        let mut raw = secret.agree(public);
        // All zero if, and only if, the public key is of low order: then it is no secret at all.
        if bool::from(raw.ct_eq(&[0; 32])) {
            return Err(ConnectionError::WeakKey);
        }
        let key = hsalsa::<U10>(&raw.into(), &[0; 16].into());
        raw.zeroize();
        Ok(Self(key.into()))
    }

    /// Seals in place: [`TAG`] bytes of room, then the plain bytes. A nonce must never be used
    /// again with the same key.
    pub(crate) fn seal(&self, nonce: &[u8; 24], sealed: &mut [u8]) {
        let Some((tag, bytes)) = sealed.split_first_chunk_mut::<TAG>() else { return };
        let (mut cipher, poly) = self.start(nonce);
        cipher.apply_keystream(bytes);
        *tag = poly.compute_unpadded(bytes).into();
    }

    /// Opens in place and gives the plain bytes.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; 24],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], ConnectionError> {
        let Some((tag, bytes)) = sealed.split_first_chunk_mut::<TAG>() else {
            return Err(ConnectionError::BadCommand);
        };
        let (mut cipher, poly) = self.start(nonce);
        let found: [u8; TAG] = poly.compute_unpadded(bytes).into();
        if !bool::from(found.ct_eq(tag)) {
            return Err(ConnectionError::BadBox);
        }
        cipher.apply_keystream(bytes);
        Ok(bytes)
    }

    /// The first 32 bytes of the stream are the key of the tag; the rest is for the bytes.
    fn start(&self, nonce: &[u8; 24]) -> (XSalsa20, Poly1305) {
        let mut cipher = XSalsa20::new(&self.0.into(), &(*nonce).into());
        let mut key = [0; 32];
        cipher.apply_keystream(&mut key);
        let poly = Poly1305::new(&key.into());
        key.zeroize();
        (cipher, poly)
    }
}

impl Drop for SharedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for SharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SharedKey {}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey")
    }
}

/// Fills `bytes` from a seed: the stream of `XSalsa20` under it.
pub(crate) fn expand(seed: &[u8; 32], bytes: &mut [u8]) {
    bytes.fill(0);
    XSalsa20::new(&(*seed).into(), &[0; 24].into()).apply_keystream(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    // "Cryptography in NaCl" (Bernstein, 2009), sections 2 to 10: Alice's and Bob's keys, the first
    // shared key, and the box.
    #[test]
    fn the_box_of_the_paper() {
        let alice = SecretKey::from_bytes([
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        let bob = SecretKey::from_bytes([
            0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80,
            0x0e, 0xe6, 0x6f, 0x3b, 0xb1, 0x29, 0x26, 0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27,
            0xff, 0x88, 0xe0, 0xeb,
        ]);
        let shared = SharedKey::new(&alice, &bob.public()).unwrap();
        assert_eq!(shared, SharedKey::new(&bob, &alice.public()).unwrap());
        assert_eq!(shared.0[..4], [0x1b, 0x27, 0x55, 0x64]);
        let nonce = [
            0x69, 0x69, 0x6e, 0xe9, 0x55, 0xb6, 0x2b, 0x73, 0xcd, 0x62, 0xbd, 0xa8, 0x75, 0xfc,
            0x73, 0xd6, 0x82, 0x19, 0xe0, 0x03, 0x6b, 0x7a, 0x0b, 0x37,
        ];
        let plain = [0xbe, 0x07, 0x5f, 0xc5, 0x3c, 0x81, 0xf2, 0xd5];
        let mut sealed = [0; TAG + 8];
        sealed[TAG..].copy_from_slice(&plain);
        shared.seal(&nonce, &mut sealed);
        // The stream is the paper's; the tag is of eight bytes only, so it is not the paper's.
        assert_eq!(sealed[TAG..], [0x8e, 0x99, 0x3b, 0x9f, 0x48, 0x68, 0x12, 0x73]);
        assert_eq!(*shared.open(&nonce, &mut sealed).unwrap(), plain);
    }

    #[test]
    fn a_key_of_low_order_is_refused() {
        let ours = SecretKey::from_bytes([7; 32]);
        let zero = PublicKey::from_bytes([0; 32]);
        assert_eq!(SharedKey::new(&ours, &zero), Err(ConnectionError::WeakKey));
    }
}

//! The four steps of CURVE: HELLO, WELCOME, INITIATE, READY.
//!
//! The client sends a fresh key, and a box that only somebody who knows the server could have made.
//! The server answers with a fresh key of its own. With the third step the client names its
//! long-term key and proves it: the box of the vouch opens with that key alone, and holds the fresh
//! key and the server's. From there all is sealed between the two fresh keys, which nobody keeps.

use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::sealed::{SharedKey, TAG, expand};
use super::session::{Session, nonce};
use super::{PublicKey, SecretKey};
use crate::{Allow, ConnectionError, command};

const COOKIE: usize = 96;
const VOUCH: usize = 16 + TAG + 64;

const HELLO: &[u8; 16] = b"CurveZMQHELLO---";
const INITIATE: &[u8; 16] = b"CurveZMQINITIATE";
const READY: &[u8; 16] = b"CurveZMQREADY---";

/// What one connection draws from its seed.
struct Drawn {
    secret: SecretKey,
    long_nonce: [u8; 16],
    cookie: [u8; COOKIE],
}

fn draw(seed: &[u8; 32]) -> Drawn {
    let mut bytes = [0; 32 + 16 + COOKIE];
    expand(seed, &mut bytes);
    let mut drawn =
        Drawn { secret: SecretKey::from_bytes([0; 32]), long_nonce: [0; 16], cookie: [0; COOKIE] };
    let mut secret = [0; 32];
    secret.copy_from_slice(&bytes[..32]);
    drawn.secret = SecretKey::from_bytes(secret);
    drawn.long_nonce.copy_from_slice(&bytes[32..48]);
    drawn.cookie.copy_from_slice(&bytes[48..]);
    secret.zeroize();
    bytes.zeroize();
    drawn
}

/// The nonce of what is sealed once: a name of eight bytes and sixteen random ones.
fn long(name: &[u8; 8], random: &[u8; 16]) -> [u8; 24] {
    let mut nonce = [0; 24];
    let (front, back) = nonce.split_at_mut(8);
    front.copy_from_slice(name);
    back.copy_from_slice(random);
    nonce
}

/// A box with all pieces in it.
fn sealed(key: &SharedKey, nonce: &[u8; 24], pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; TAG];
    for piece in pieces {
        bytes.extend_from_slice(piece);
    }
    key.seal(nonce, &mut bytes);
    bytes
}

/// Takes a field of fixed length from the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], ConnectionError> {
    let (field, rest) = bytes.split_first_chunk().ok_or(ConnectionError::BadCommand)?;
    *bytes = rest;
    Ok(*field)
}

/// The end that connects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Client {
    server: PublicKey,
    public: PublicKey,
    secret: SecretKey,
    fresh: SecretKey,
    long_nonce: [u8; 16],
    /// Of the two fresh keys, once both are known.
    key: Option<SharedKey>,
}

impl Client {
    pub(crate) fn new(
        server: PublicKey,
        public: PublicKey,
        secret: SecretKey,
        seed: &[u8; 32],
    ) -> Self {
        let Drawn { secret: fresh, long_nonce, .. } = draw(seed);
        Self { server, public, secret, fresh, long_nonce, key: None }
    }

    pub(crate) fn hello(&self, wire: &mut Vec<u8>) -> Result<(), ConnectionError> {
        let key = SharedKey::new(&self.fresh, &self.server)?;
        let signature = sealed(&key, &nonce(HELLO, 1), &[&[0; 64]]);
        let fresh = self.fresh.public();
        let count = 1_u64.to_be_bytes();
        command::put("HELLO", &[&[1, 0], &[0; 72], fresh.as_bytes(), &count, &signature], wire);
        Ok(())
    }

    pub(crate) fn welcome(
        &mut self,
        mut content: &[u8],
        metadata: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), ConnectionError> {
        let random = take(&mut content)?;
        let mut boxed: [u8; TAG + 32 + COOKIE] = take(&mut content)?;
        if !content.is_empty() {
            return Err(ConnectionError::BadCommand);
        }
        let key = SharedKey::new(&self.fresh, &self.server)?;
        let mut plain: &[u8] = key.open(&long(b"WELCOME-", &random), &mut boxed)?;
        let theirs = PublicKey::from_bytes(take(&mut plain)?);
        let cookie: [u8; COOKIE] = take(&mut plain)?;

        let vouching = SharedKey::new(&self.secret, &theirs)?;
        let fresh = self.fresh.public();
        let what: &[&[u8]] = &[fresh.as_bytes(), self.server.as_bytes()];
        let vouch = sealed(&vouching, &long(b"VOUCH---", &self.long_nonce), what);
        let key = SharedKey::new(&self.fresh, &theirs)?;
        let what: &[&[u8]] = &[self.public.as_bytes(), &self.long_nonce, &vouch, metadata];
        let boxed = sealed(&key, &nonce(INITIATE, 2), what);
        command::put("INITIATE", &[&cookie, &2_u64.to_be_bytes(), &boxed], wire);
        self.key = Some(key);
        Ok(())
    }

    /// Gives the server's metadata and the traffic that may begin.
    pub(crate) fn ready(
        &mut self,
        mut content: &[u8],
    ) -> Result<(Vec<u8>, Session), ConnectionError> {
        let key = self.key.take().ok_or(ConnectionError::Unexpected)?;
        let count = u64::from_be_bytes(take(&mut content)?);
        let mut boxed = content.to_vec();
        let metadata = key.open(&nonce(READY, count), &mut boxed)?.to_vec();
        Ok((metadata, Session::new(key, false, 2, count)))
    }
}

/// The end that listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    secret: SecretKey,
    fresh: SecretKey,
    long_nonce: [u8; 16],
    cookie: [u8; COOKIE],
    /// The client's fresh key, once it is known, and what the last nonce of it was.
    client: Option<(PublicKey, u64)>,
}

impl Server {
    pub(crate) fn new(secret: SecretKey, seed: &[u8; 32]) -> Self {
        let Drawn { secret: fresh, long_nonce, cookie } = draw(seed);
        Self { secret, fresh, long_nonce, cookie, client: None }
    }

    pub(crate) fn hello(
        &mut self,
        mut content: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), ConnectionError> {
        let version: [u8; 2] = take(&mut content)?;
        let _padding: [u8; 72] = take(&mut content)?;
        let theirs = PublicKey::from_bytes(take(&mut content)?);
        let count = u64::from_be_bytes(take(&mut content)?);
        let mut boxed: [u8; TAG + 64] = take(&mut content)?;
        if version != [1, 0] || !content.is_empty() {
            return Err(ConnectionError::BadCommand);
        }
        let key = SharedKey::new(&self.secret, &theirs)?;
        key.open(&nonce(HELLO, count), &mut boxed)?;

        let fresh = self.fresh.public();
        let what: &[&[u8]] = &[fresh.as_bytes(), &self.cookie];
        let boxed = sealed(&key, &long(b"WELCOME-", &self.long_nonce), what);
        command::put("WELCOME", &[&self.long_nonce, &boxed], wire);
        self.client = Some((theirs, count));
        Ok(())
    }

    /// Gives the client's metadata, its long-term key and the traffic that may begin. READY is not
    /// sent before the caller has looked at the metadata: see [`Self::ready`].
    pub(crate) fn initiate(
        &self,
        mut content: &[u8],
        allow: &Allow,
    ) -> Result<(Vec<u8>, PublicKey, Session), ConnectionError> {
        let (fresh, last) = self.client.ok_or(ConnectionError::Unexpected)?;
        let cookie: [u8; COOKIE] = take(&mut content)?;
        if !bool::from(cookie.ct_eq(&self.cookie)) {
            return Err(ConnectionError::BadBox);
        }
        let count = u64::from_be_bytes(take(&mut content)?);
        if count <= last {
            return Err(ConnectionError::BadNonce);
        }
        let key = SharedKey::new(&self.fresh, &fresh)?;
        let mut boxed = content.to_vec();
        let mut plain: &[u8] = key.open(&nonce(INITIATE, count), &mut boxed)?;
        let public = PublicKey::from_bytes(take(&mut plain)?);
        let vouch: [u8; VOUCH] = take(&mut plain)?;
        self.check_vouch(&vouch, &public, &fresh)?;
        match allow {
            Allow::Any => {}
            Allow::Keys(keys) if keys.contains(&public) => {}
            Allow::Keys(_) => return Err(ConnectionError::UnknownKey),
        }
        Ok((plain.to_vec(), public, Session::new(key, true, 1, count)))
    }

    fn check_vouch(
        &self,
        mut vouch: &[u8],
        public: &PublicKey,
        fresh: &PublicKey,
    ) -> Result<(), ConnectionError> {
        let random = take(&mut vouch)?;
        let mut boxed: [u8; TAG + 64] = take(&mut vouch)?;
        let key = SharedKey::new(&self.fresh, public)?;
        let mut plain: &[u8] = key.open(&long(b"VOUCH---", &random), &mut boxed)?;
        let vouched: [u8; 32] = take(&mut plain)?;
        let server: [u8; 32] = take(&mut plain)?;
        if vouched == *fresh.as_bytes() && server == *self.secret.public().as_bytes() {
            return Ok(());
        }
        Err(ConnectionError::BadBox)
    }

    pub(crate) fn ready(&self, metadata: &[u8], wire: &mut Vec<u8>) -> Result<(), ConnectionError> {
        let (fresh, _) = self.client.ok_or(ConnectionError::Unexpected)?;
        let key = SharedKey::new(&self.fresh, &fresh)?;
        let boxed = sealed(&key, &nonce(READY, 1), &[metadata]);
        command::put("READY", &[&1_u64.to_be_bytes(), &boxed], wire);
        Ok(())
    }
}

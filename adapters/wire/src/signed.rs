//! The signed envelope of civitas (`v` = 2).
//!
//! It is a map of the message and its signature; what is signed is another map, with the message's
//! bytes in it. civitas makes them anew from what it has decoded. Here the signature is checked
//! over the bytes that came, so that nothing depends on writing them again in the same way.
//!
//! The format has no time, no counter and no recipient of its own, so a copy of an envelope is as
//! good as the envelope. What can be done without changing the format is done here: the signer must
//! be the sender (Z23a); the message's own timestamp, which is signed, must be recent; what was
//! opened is remembered for its signer, after it was verified and not before (Z23b); and whoever
//! has a key must sign (Z23c). After a restart nothing is remembered, and then the timestamp alone
//! bounds how old a copy can be. Between our own nodes `sealed` leaves none of this open.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::error::EncodeError;
use crate::key::{PublicKey, SecretKey};
use crate::keyring::Keyring;
use crate::limits::Limits;
use crate::message::{self, Fresh, Message};
use crate::msgpack::{Reader, Writer, all_or_nothing, expected};
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::value::Float;

const VERSION: u64 = 2;
const ALGORITHM: &str = "ed25519";

/// The keys with which a process signs what its agents send.
#[derive(Clone, Default, Debug)]
pub struct SigningKeys {
    own: BTreeMap<String, SecretKey>,
    node: Option<SecretKey>,
}

/// Why a message is not put into an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SealError {
    /// Nobody here signs for its sender.
    NoKey,
    /// It cannot be written.
    Encode(EncodeError),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("there is no key for the sender of the message"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl Error for SealError {}

impl SigningKeys {
    /// No keys: nothing can be signed.
    #[must_use]
    pub const fn new() -> Self {
        Self { own: BTreeMap::new(), node: None }
    }

    /// From now on `name` signs with this key.
    pub fn set(&mut self, name: impl Into<String>, key: SecretKey) {
        self.own.insert(name.into(), key);
    }

    /// From now on system names (those that start with `_`) sign with this key, unless they have
    /// one of their own. Peers take it by [`Keyring::trust_node`]. (Z52)
    pub fn set_node(&mut self, key: SecretKey) {
        self.node = Some(key);
    }

    /// The public half of the key with which `name` signs.
    #[must_use]
    pub fn public(&self, name: &str) -> Option<PublicKey> {
        self.key(name).map(SecretKey::public)
    }

    fn key(&self, name: &str) -> Option<&SecretKey> {
        self.own.get(name).or_else(|| self.node.as_ref().filter(|_| name.starts_with('_')))
    }

    /// The envelope of a message, signed for its sender. The nonce must be random: it tells two
    /// copies of one envelope from two messages that are alike.
    ///
    /// # Errors
    /// [`SealError::NoKey`]; [`SealError::Encode`] if the envelope is beyond a limit.
    pub fn seal(
        &self,
        message: &Message,
        nonce: [u8; 16],
        limits: &Limits,
    ) -> Result<Vec<u8>, SealError> {
        let key = self.key(&message.sender).ok_or(SealError::NoKey)?;
        wrap(message, nonce, limits, |signed| key.sign(signed).to_vec()).map_err(SealError::Encode)
    }

    /// The envelope of a message that nobody has signed, for peers who accept such.
    ///
    /// # Errors
    /// [`EncodeError`] if the envelope is beyond a limit.
    pub fn wrap_unsigned(
        message: &Message,
        nonce: [u8; 16],
        limits: &Limits,
    ) -> Result<Vec<u8>, EncodeError> {
        wrap(message, nonce, limits, |_| Vec::new())
    }
}

fn wrap(
    message: &Message,
    nonce: [u8; 16],
    limits: &Limits,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<Vec<u8>, EncodeError> {
    let mut packed = Vec::with_capacity(384);
    message.write_msgpack(limits, &mut packed)?;
    let signature = sign(&to_sign(&packed, &message.sender, &nonce, limits)?);
    let mut out = Vec::with_capacity(packed.len() + message.sender.len() + 160);
    all_or_nothing(&mut out, limits, |out| {
        let mut writer = Writer::new(out, limits);
        writer.map_len(3)?;
        writer.text("v")?;
        writer.int(VERSION.into());
        writer.text("msg")?;
        writer.out.extend_from_slice(&packed);
        writer.text("sig")?;
        writer.map_len(4)?;
        writer.text("signer")?;
        writer.text(&message.sender)?;
        writer.text("alg")?;
        writer.text(ALGORITHM)?;
        writer.text("value")?;
        writer.bytes(&signature)?;
        writer.text("nonce")?;
        writer.bytes(&nonce)
    })?;
    Ok(out)
}

/// The bytes that are signed, around a message's own.
fn to_sign(
    packed: &[u8],
    signer: &str,
    nonce: &[u8; 16],
    limits: &Limits,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(packed.len() + signer.len() + 48);
    let mut writer = Writer::new(&mut out, limits);
    writer.map_len(4)?;
    writer.text("v")?;
    writer.int(VERSION.into());
    writer.text("msg")?;
    writer.out.extend_from_slice(packed);
    writer.text("signer")?;
    writer.text(signer)?;
    writer.text("nonce")?;
    writer.bytes(nonce)?;
    Ok(out)
}

/// What is done with a message that nobody has signed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Unsigned {
    /// It is refused.
    #[default]
    Refuse,
    /// It is taken if no key is known for its sender, and marked as not verified. Whoever has a key
    /// must sign all the same.
    FromUnknown,
}

impl Unsigned {
    /// What the flags `require_verification` and `allow_unsigned` of a `security:` block mean.
    #[must_use]
    pub const fn from_flags(require_verification: bool, allow_unsigned: bool) -> Self {
        if require_verification && !allow_unsigned { Self::Refuse } else { Self::FromUnknown }
    }
}

/// How envelopes are judged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Policy {
    /// What becomes of messages without a signature. By default they are refused.
    pub unsigned: Unsigned,
    /// How old a message may be by its timestamp. By default five minutes; `None` is civitas's own
    /// behaviour, in which a copy is good for ever once the receiver has restarted.
    pub max_age: Option<Duration>,
    /// By how much a timestamp may be ahead of the clock here. By default half a minute.
    pub skew: Duration,
    /// Envelopes that are remembered for each key, of 24 bytes each. By default 10,000. When there
    /// are more, the oldest is forgotten, and from then on no older one is taken.
    pub remembered: usize,
    /// What a message may hold.
    pub limits: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unsigned: Unsigned::Refuse,
            max_age: Some(Duration::from_secs(300)),
            skew: Duration::from_secs(30),
            remembered: 10_000,
            limits: Limits::DEFAULT,
        }
    }
}

/// A message out of its envelope.
#[derive(Clone, PartialEq, Debug)]
pub struct Opened {
    /// The message.
    pub message: Message,
    /// Whether its sender has signed it.
    pub is_verified: bool,
}

/// Opens envelopes, and remembers which it has opened.
#[derive(Clone, Debug)]
pub struct Verifier {
    keyring: Keyring,
    policy: Policy,
    seen: BTreeMap<[u8; 32], Seen>,
    /// When there are so many, those of keys that do not count any more are forgotten.
    sweep_at: usize,
}

/// How few keys are not worth a sweep.
const SWEEP_MIN: usize = 64;

/// What one key has signed lately: timestamps and nonces, and the timestamp below which everything
/// is forgotten.
#[derive(Clone, Default, Debug)]
struct Seen {
    recent: BTreeSet<(u64, [u8; 16])>,
    horizon: Option<u64>,
}

struct Envelope<'a> {
    message: Message,
    packed: &'a [u8],
    signature: Option<SignatureBlock<'a>>,
}

struct SignatureBlock<'a> {
    signer: &'a str,
    value: &'a [u8],
    nonce: &'a [u8; 16],
}

impl Verifier {
    /// Knows these keys, and has opened nothing yet. The memory is at most
    /// [`Policy::remembered`] envelopes for each key; what keys have left that were removed goes
    /// when there are twice as many as there were, or 64.
    #[must_use]
    pub const fn new(keyring: Keyring, policy: Policy) -> Self {
        Self { keyring, policy, seen: BTreeMap::new(), sweep_at: 0 }
    }

    /// The keys, to add and remove some.
    pub const fn keyring_mut(&mut self) -> &mut Keyring {
        &mut self.keyring
    }

    /// Opens an envelope, or takes a message without one if the policy allows it.
    ///
    /// `arrived_at` is the address at which it came in, if that is known: a message to somebody
    /// else is refused then. (Announcements have no recipient, and pass.)
    ///
    /// # Errors
    /// [`Refusal`]. Nothing is remembered then.
    pub fn open(
        &mut self,
        bytes: &[u8],
        arrived_at: Option<&str>,
        now: UnixTime,
        fresh: impl FnOnce() -> Fresh,
    ) -> Result<Opened, Refusal> {
        let Envelope { message, packed, signature } = self.parse(bytes, fresh)?;
        let SignatureBlock { signer, value, nonce } = match signature {
            Some(block) if !block.value.is_empty() && self.keyring.knows(block.signer) => block,
            block => return self.unverified(message, block.as_ref(), arrived_at),
        };
        let value = <&[u8; 64]>::try_from(value).map_err(|_| Refusal::Forged)?;
        let signed = to_sign(packed, signer, nonce, &self.policy.limits);
        let signed = signed.map_err(|_| Refusal::Forged)?;
        let mut keys = self.keyring.keys(signer, now);
        let key = keys.find(|key| key.has_signed(&signed, value)).ok_or(Refusal::Forged)?;
        drop(keys);
        addressed(&message, signer, arrived_at)?;
        self.judge_time(message.timestamp, now)?;
        self.remember(*key.as_bytes(), message.timestamp, *nonce, now)?;
        Ok(Opened { message, is_verified: true })
    }

    /// A message whose signature is missing or cannot be checked, which comes to the same.
    fn unverified(
        &self,
        message: Message,
        block: Option<&SignatureBlock<'_>>,
        arrived_at: Option<&str>,
    ) -> Result<Opened, Refusal> {
        let signer = block.map_or(message.sender.as_str(), |block| block.signer);
        let is_known = self.keyring.knows(signer) || self.keyring.knows(&message.sender);
        if is_known || self.policy.unsigned == Unsigned::Refuse {
            let has_one = block.is_some_and(|block| !block.value.is_empty());
            return Err(if has_one { Refusal::UnknownSigner } else { Refusal::Unsigned });
        }
        addressed(&message, signer, arrived_at)?;
        Ok(Opened { message, is_verified: false })
    }

    fn judge_time(&self, timestamp: Float, now: UnixTime) -> Result<(), Refusal> {
        let Some(max_age) = self.policy.max_age else { return Ok(()) };
        if timestamp > now.saturating_add(self.policy.skew).as_seconds() {
            return Err(Refusal::NotYet);
        }
        if timestamp < now.saturating_sub(max_age).as_seconds() {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn remember(
        &mut self,
        key: [u8; 32],
        timestamp: Float,
        nonce: [u8; 16],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        // Keys are those of the keyring, which is bounded; those that were removed go here.
        if self.seen.len() >= self.sweep_at.max(SWEEP_MIN) && !self.seen.contains_key(&key) {
            let held = self.keyring.all_keys();
            self.seen.retain(|key, _| held.contains(key));
            self.sweep_at = self.seen.len().saturating_mul(2);
        }
        let seen = self.seen.entry(key).or_default();
        let place = order(timestamp);
        if seen.horizon.is_some_and(|horizon| place <= horizon) {
            return Err(Refusal::Stale);
        }
        if !seen.recent.insert((place, nonce)) {
            return Err(Refusal::Replayed);
        }
        let end = self.policy.max_age.map(|age| order(now.saturating_sub(age).as_seconds()));
        while let Some((oldest, _)) = seen.recent.first().copied() {
            let is_over = end.is_some_and(|end| oldest < end);
            if !is_over && seen.recent.len() <= self.policy.remembered.max(1) {
                break;
            }
            seen.recent.pop_first();
            seen.horizon = seen.horizon.max(Some(oldest));
        }
        Ok(())
    }

    fn parse<'a>(
        &self,
        bytes: &'a [u8],
        fresh: impl FnOnce() -> Fresh,
    ) -> Result<Envelope<'a>, Refusal> {
        let mut reader = Reader::new(bytes, &self.policy.limits)?;
        if !reader.is_map_with_first_key(&["v", "msg", "sig"]) {
            let message = message::read(&mut reader, fresh)?;
            reader.end()?;
            return Ok(Envelope { message, packed: bytes, signature: None });
        }
        let (mut version, mut content, mut signature) = (None, None, None);
        let mut fresh = Some(fresh);
        for _ in 0..reader.map_len("the envelope")? {
            let at = reader.position();
            match reader.string("a key of the envelope")? {
                "v" if version.is_none() => version = Some(reader.natural("v")?),
                "msg" if content.is_none() => {
                    let fresh = fresh.take().ok_or_else(|| expected(at, "one msg", "an envelope"));
                    let start = reader.position();
                    let message = message::read(&mut reader, fresh?)?;
                    content = Some((message, &bytes[start..reader.position()]));
                }
                "sig" if signature.is_none() => signature = Some(block(&mut reader)?),
                // Nothing that is not signed may ride along.
                _ => return Err(expected(at, "v, msg or sig, once each", "an envelope").into()),
            }
        }
        reader.end()?;
        if version != Some(VERSION) {
            return Err(expected(0, "version 2", "an envelope").into());
        }
        let (message, packed) = content.ok_or_else(|| expected(0, "msg", "an envelope"))?;
        Ok(Envelope { message, packed, signature })
    }
}

/// What is in `sig`: all four, in any order.
fn block<'a>(reader: &mut Reader<'a>) -> Result<SignatureBlock<'a>, Refusal> {
    let start = reader.position();
    let (mut signer, mut algorithm, mut value, mut nonce) = (None, None, None, None);
    for _ in 0..reader.map_len("sig")? {
        let at = reader.position();
        match reader.string("a key of sig")? {
            "signer" if signer.is_none() => signer = Some(reader.string("signer")?),
            "alg" if algorithm.is_none() => algorithm = Some(reader.string("alg")?),
            "value" if value.is_none() => value = Some(reader.binary("value")?),
            "nonce" if nonce.is_none() => {
                let bytes = reader.binary("nonce")?;
                let bytes = <&[u8; 16]>::try_from(bytes);
                nonce = Some(bytes.map_err(|_| expected(at, "16 bytes", "nonce"))?);
            }
            _ => {
                return Err(expected(at, "signer, alg, value or nonce, once each", "sig").into());
            }
        }
    }
    let (Some(signer), Some(ALGORITHM), Some(value), Some(nonce)) =
        (signer, algorithm, value, nonce)
    else {
        return Err(expected(start, "signer, alg ed25519, value and nonce", "sig").into());
    };
    if !matches!(value.len(), 0 | 64) {
        return Err(expected(start, "64 bytes, or none", "value").into());
    }
    Ok(SignatureBlock { signer, value, nonce })
}

fn addressed(message: &Message, signer: &str, arrived_at: Option<&str>) -> Result<(), Refusal> {
    if signer != message.sender {
        return Err(Refusal::WrongSender);
    }
    let elsewhere = arrived_at.is_some_and(|at| at != message.recipient);
    if elsewhere && !message.recipient.is_empty() {
        return Err(Refusal::WrongRecipient);
    }
    Ok(())
}

/// A number in the order of the timestamps.
const fn order(timestamp: Float) -> u64 {
    let bits = timestamp.get().to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;
    use crate::value::Map;
    use crate::{Fresh, Uuid};

    #[test]
    fn what_was_seen_of_a_key_goes_with_it() {
        let now = UnixTime::from_millis(1_700_000_000_000);
        let fresh = || Fresh { id: Uuid::v7(now, [7; 10]), timestamp: now.as_seconds() };
        let mut verifier = Verifier::new(Keyring::new(), Policy::default());
        for seed in 0..=u8::MAX {
            let key = SecretKey::from_seed(&[seed; 32]);
            verifier.keyring_mut().forget("a");
            verifier.keyring_mut().trust("a", key.public()).unwrap();
            let mut keys = SigningKeys::new();
            keys.set("a", key);
            let message = Message::new(fresh(), "message", Map::new()).between("a", "b");
            let sealed = keys.seal(&message, [seed; 16], &Limits::DEFAULT).unwrap();
            assert!(verifier.open(&sealed, Some("b"), now, fresh).is_ok());
            assert_eq!(
                verifier.open(&sealed, Some("b"), now, fresh),
                Err(Refusal::Replayed),
                "of a key that counts it stays"
            );
            assert!(verifier.seen.len() <= SWEEP_MIN);
        }
    }
}

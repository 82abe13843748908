//! The bodies of the fuzz targets, so that an ordinary test can play their corpora.
//!
//! Each takes bytes that anybody may have sent. None may panic, and what was taken must mean the
//! same when it is written and read again.

use crate::key::{PublicKey, SecretKey};
use crate::keyfile::{read_old_keys, write_old_keys};
use crate::keyring::Keyring;
use crate::limits::Limits;
use crate::message::{Fresh, Message};
use crate::sealed::{Opener, Window};
use crate::signed::{Policy, Unsigned, Verifier};
use crate::time::UnixTime;
use crate::uuid::Uuid;
use crate::value::Float;
use crate::{EncodeError, Refusal, Spacing};

/// A second after the timestamps of the corpora.
const NOW: UnixTime = UnixTime::from_millis(1_700_000_001_250);

/// Whatever was read can be written in these: numbers grow, and what was missing is there now.
const ROOMY: Limits = Limits { bytes: 1 << 24, depth: 64, items: 1 << 20, text: 1 << 24 };

fn fresh() -> Fresh {
    Fresh { id: Uuid::v7(NOW, [7; 10]), timestamp: Float::ZERO }
}

/// A message in MessagePack.
///
/// # Panics
/// If a fault was found.
pub fn msgpack(bytes: &[u8]) {
    if let Ok(message) = Message::from_msgpack(bytes, &Limits::DEFAULT, fresh) {
        same_again(&message);
    }
}

/// A message in JSON.
///
/// # Panics
/// If a fault was found.
pub fn json(bytes: &[u8]) {
    if let Ok(message) = Message::from_json(bytes, &Limits::DEFAULT, fresh) {
        same_again(&message);
    }
}

fn same_again(message: &Message) {
    let packed = message.to_msgpack(&ROOMY).expect("what was read can be written");
    let read = Message::from_msgpack(&packed, &ROOMY, fresh);
    assert_eq!(read.as_ref(), Ok(message), "by MessagePack");
    assert_eq!(read.map(|read| read.to_msgpack(&ROOMY)), Ok(Ok(packed)), "byte for byte");
    for spacing in [Spacing::Wide, Spacing::Compact] {
        match message.to_json(spacing, &ROOMY) {
            Ok(text) => {
                let read = Message::from_json(&text, &ROOMY, fresh);
                assert_eq!(read.as_ref(), Ok(message), "by JSON, {spacing:?}");
            }
            Err(error) => assert_eq!(error, EncodeError::BytesInJson),
        }
    }
}

/// The keys 0 to 31 and, for the name `node-1`, the same.
fn keyring() -> Keyring {
    let mut seed = [0; 32];
    for (byte, number) in seed.iter_mut().zip(0..) {
        *byte = number;
    }
    let mut keyring = Keyring::new();
    for name in ["a", "node-1"] {
        keyring.trust(name, SecretKey::from_seed(&seed).public()).expect("there is room");
    }
    keyring
}

/// An envelope of civitas.
///
/// # Panics
/// If a fault was found.
pub fn signed(bytes: &[u8]) {
    for unsigned in [Unsigned::Refuse, Unsigned::FromUnknown] {
        let policy = Policy { unsigned, ..Policy::default() };
        let mut verifier = Verifier::new(keyring(), policy);
        let Ok(opened) = verifier.open(bytes, None, NOW, fresh) else { continue };
        assert_eq!(opened.is_verified, opened.message.sender == "a", "who has a key must sign");
        let again = verifier.open(bytes, None, NOW, fresh);
        if opened.is_verified {
            assert_eq!(again, Err(Refusal::Replayed));
        } else {
            assert_eq!(unsigned, Unsigned::FromUnknown);
            assert_eq!(again, Ok(opened));
        }
    }
}

/// A frame between our own nodes.
///
/// # Panics
/// If a fault was found.
pub fn sealed(bytes: &[u8]) {
    let opener = Opener::new("node-2", keyring(), Window::default(), Limits::DEFAULT, NOW);
    let mut opener = opener.expect("a name");
    if let Ok(sealed) = opener.open(bytes, NOW) {
        assert_eq!((sealed.signer, sealed.recipient), ("node-1", "node-2"));
        assert_eq!(opener.open(bytes, NOW), Err(Refusal::Replayed));
    }
}

/// What key files hold.
///
/// # Panics
/// If a fault was found.
pub fn keys(bytes: &[u8]) {
    if let Ok(keys) = read_old_keys(bytes) {
        assert_eq!(read_old_keys(write_old_keys(&keys).as_bytes()), Ok(keys));
    }
    if let Ok(key) = PublicKey::from_base64(bytes) {
        assert_eq!(key.to_base64().as_bytes(), bytes.trim_ascii());
    }
    if let Ok(key) = SecretKey::from_base64(bytes) {
        assert_eq!(key.to_base64().as_bytes(), bytes.trim_ascii());
    }
}

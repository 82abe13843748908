//! The envelope of civitas: who may say what, and how often.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use lictor_wire::{
    Fault, Float, Keyring, KeyringFull, Limits, Map, Message, Opened, Policy, PublicKey, Refusal,
    SealError, SigningKeys, UnixTime, Unsigned, Verifier,
};
use support::{NOW, a_key, bytes, fresh, keyring, keys, lax, message, never, other_key, vectors};

fn from_a(nonce: u8) -> Vec<u8> {
    keys().seal(&a_message(), [nonce; 16], &Limits::DEFAULT).unwrap()
}

fn a_message() -> Message {
    Message::new(fresh(), "t", [("n", 1_i64)]).between("a", "b")
}

fn open(verifier: &mut Verifier, envelope: &[u8]) -> Result<Opened, Refusal> {
    verifier.open(envelope, None, NOW, never)
}

fn strict() -> Verifier {
    Verifier::new(keyring(), Policy::default())
}

/// A message at so many milliseconds after the vectors'.
fn at(millis: u64) -> Message {
    let time = UnixTime::from_millis(1_700_000_000_250 + millis);
    Message { timestamp: time.as_seconds(), ..a_message() }
}

// Defect: Z23a
#[test]
fn z23a_a_valid_key_does_not_speak_for_another() {
    let mut keyring = keyring();
    keyring.trust("mallory", other_key(1).public()).unwrap();
    keyring.trust("bank", other_key(2).public()).unwrap();
    let message = Message::new(fresh(), "t", Map::new()).between("bank", "b");
    // Mallory signs as herself what says that it is from the bank: the signer is replaced by hand,
    // at equal length, in what is signed as in what is sent.
    let limits = Limits::DEFAULT;
    let mut hers = SigningKeys::new();
    hers.set("bank", other_key(1));
    let forged = hers.seal(&message, [1; 16], &limits).unwrap();
    for policy in [Policy::default(), lax()] {
        let mut verifier = Verifier::new(keyring.clone(), policy);
        assert_eq!(open(&mut verifier, &forged), Err(Refusal::Forged), "her key as the bank's");
    }
    let signed = resigned(&message, "mallory", 1);
    for policy in [Policy::default(), lax()] {
        let mut verifier = Verifier::new(keyring.clone(), policy);
        assert_eq!(open(&mut verifier, &signed), Err(Refusal::WrongSender), "her name and key");
    }
    // Nor somebody unknown, where unknown ones are taken.
    let signed = resigned(&message, "nobody", 9);
    let mut verifier = Verifier::new(keyring, lax());
    assert_eq!(open(&mut verifier, &signed), Err(Refusal::UnknownSigner));
}

/// An envelope whose signer is not the sender, built from the description and not by `seal`.
fn resigned(message: &Message, signer: &str, key: u8) -> Vec<u8> {
    let packed = message.to_msgpack(&Limits::DEFAULT).unwrap();
    let text = |text: &str| [&[0xa0 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let nonce = [&[0xc4, 16][..], &[5; 16]].concat();
    let head = [&[0xa1, b'v', 2][..], &text("msg"), &packed].concat();
    let signed =
        [&[0x84][..], &head, &text("signer"), &text(signer), &text("nonce"), &nonce].concat();
    let signature = support::sign(key, &signed);
    [
        &[0x83][..],
        &head,
        &text("sig"),
        &[0x84],
        &text("signer"),
        &text(signer),
        &text("alg"),
        &text("ed25519"),
        &text("value"),
        &[0xc4, 64],
        &signature,
        &text("nonce"),
        &nonce,
    ]
    .concat()
}

// Defect: Z23b
#[test]
fn z23b_a_copy_is_refused_however_much_came_between() {
    let policy = Policy { remembered: 100, max_age: None, ..Policy::default() };
    let mut verifier = Verifier::new(keyring(), policy);
    let first = keys().seal(&at(0), [0; 16], &Limits::DEFAULT).unwrap();
    assert!(open(&mut verifier, &first).unwrap().is_verified);
    assert_eq!(open(&mut verifier, &first), Err(Refusal::Replayed));
    for n in 1..=150 {
        let nonce = [u8::try_from(n).unwrap(); 16];
        let next = keys().seal(&at(n), nonce, &Limits::DEFAULT).unwrap();
        assert!(open(&mut verifier, &next).is_ok());
    }
    // Its nonce is long forgotten, and what is older than all that is remembered is not taken.
    assert_eq!(open(&mut verifier, &first), Err(Refusal::Stale));
}

// Defect: Z23b
#[test]
fn z23b_what_strangers_send_evicts_nothing() {
    let policy = Policy { remembered: 10, ..lax() };
    let mut verifier = Verifier::new(keyring(), policy);
    let genuine = from_a(1);
    assert!(open(&mut verifier, &genuine).is_ok());
    for n in 0..100 {
        let stranger = Message::new(fresh(), "t", Map::new()).between("zed", "b");
        let frame = SigningKeys::wrap_unsigned(&stranger, [n; 16], &Limits::DEFAULT).unwrap();
        assert!(!open(&mut verifier, &frame).unwrap().is_verified);
        let mut forged = from_a(100 + n);
        let last = forged.len() - 40;
        forged[last] ^= 1;
        assert_eq!(open(&mut verifier, &forged), Err(Refusal::Forged));
    }
    assert_eq!(open(&mut verifier, &genuine), Err(Refusal::Replayed));
}

// Defect: Z23b
#[test]
fn z23b_a_forged_copy_of_a_nonce_does_not_stop_the_genuine_message() {
    let genuine = from_a(7);
    let mut forged = genuine.clone();
    let place = forged.len() - 30;
    forged[place] ^= 1;
    let mut verifier = strict();
    assert_eq!(open(&mut verifier, &forged), Err(Refusal::Forged));
    assert!(open(&mut verifier, &genuine).unwrap().is_verified);
}

// Defect: Z23b
#[test]
fn z23b_a_message_has_its_time_and_its_recipient() {
    let open_at = |millis: u64| {
        let now = UnixTime::from_millis(1_700_000_000_250 + millis);
        strict().open(&from_a(1), None, now, never).map(|opened| opened.is_verified)
    };
    assert_eq!(open_at(300_000), Ok(true), "exactly five minutes");
    assert_eq!(open_at(300_001), Err(Refusal::Expired));
    let early = UnixTime::from_millis(1_700_000_000_250 - 30_000);
    assert!(strict().open(&from_a(1), None, early, never).is_ok());
    let early = UnixTime::from_millis(1_700_000_000_249 - 30_000);
    assert_eq!(strict().open(&from_a(1), None, early, never), Err(Refusal::NotYet));
    let for_ever = Policy { max_age: None, ..Policy::default() };
    let late = NOW.saturating_add(Duration::from_secs(1 << 30));
    assert!(Verifier::new(keyring(), for_ever).open(&from_a(1), None, late, never).is_ok());

    let arrived = |at| strict().open(&from_a(1), Some(at), NOW, never).map(|_| ());
    assert_eq!(arrived("b"), Ok(()));
    assert_eq!(arrived("c"), Err(Refusal::WrongRecipient));
    // An announcement has no recipient.
    let announcement = Message::new(fresh(), "t", Map::new()).between("a", "");
    let envelope = keys().seal(&announcement, [1; 16], &Limits::DEFAULT).unwrap();
    assert!(strict().open(&envelope, Some("_agency.register"), NOW, never).is_ok());
}

// Defect: Z23c
#[test]
fn z23c_whoever_has_a_key_must_sign() {
    let limits = Limits::DEFAULT;
    let stripped = SigningKeys::wrap_unsigned(&a_message(), [1; 16], &limits).unwrap();
    let plain = a_message().to_msgpack(&limits).unwrap();
    // An envelope without `sig`: a map of two.
    let bare = [&[0x82, 0xa1, b'v', 2, 0xa3][..], b"msg", &plain].concat();
    for policy in [Policy::default(), lax()] {
        for bytes in [&stripped, &plain, &bare] {
            let mut verifier = Verifier::new(keyring(), policy);
            assert_eq!(open(&mut verifier, bytes), Err(Refusal::Unsigned));
        }
    }
    // Who is unknown is taken, where the policy says so, and marked.
    let zed = Message { sender: "zed".into(), ..a_message() };
    let plain = zed.to_msgpack(&limits).unwrap();
    let bare = [&[0x82, 0xa1, b'v', 2, 0xa3][..], b"msg", &plain].concat();
    let wrapped = SigningKeys::wrap_unsigned(&zed, [1; 16], &limits).unwrap();
    for bytes in [&wrapped, &plain, &bare] {
        let opened = open(&mut Verifier::new(keyring(), lax()), bytes).unwrap();
        assert_eq!((opened.message, opened.is_verified), (zed.clone(), false));
        assert_eq!(open(&mut strict(), bytes), Err(Refusal::Unsigned));
    }
    let signed = resigned(&zed, "zed", 3);
    assert_eq!(open(&mut strict(), &signed), Err(Refusal::UnknownSigner));
    assert!(!open(&mut Verifier::new(keyring(), lax()), &signed).unwrap().is_verified);
    assert_eq!(Unsigned::from_flags(true, false), Unsigned::Refuse);
    assert_eq!(Unsigned::from_flags(true, true), Unsigned::FromUnknown);
    assert_eq!(Unsigned::from_flags(false, false), Unsigned::FromUnknown);
}

// Defect: Z52
#[test]
fn z52_the_runtime_supervisors_and_workers_can_sign() {
    let mut keys = SigningKeys::new();
    keys.set_node(other_key(1));
    keys.set("root", other_key(2));
    let mut keyring = Keyring::new();
    keyring.trust_node("node-1", other_key(1).public()).unwrap();
    keyring.trust("root", other_key(2).public()).unwrap();
    let mut verifier = Verifier::new(keyring.clone(), Policy::default());
    for (n, sender) in
        ["_runtime", "root", "_agency.worker.w1.health", "_agency"].iter().enumerate()
    {
        let message = Message::new(fresh(), "t", Map::new()).between(*sender, "b");
        let nonce = [u8::try_from(n).unwrap(); 16];
        let envelope = keys.seal(&message, nonce, &Limits::DEFAULT).unwrap();
        assert!(open(&mut verifier, &envelope).unwrap().is_verified, "{sender}");
    }
    // The key of a node is no key for agents.
    let agent = Message::new(fresh(), "t", Map::new()).between("agent", "b");
    assert_eq!(keys.seal(&agent, [1; 16], &Limits::DEFAULT), Err(SealError::NoKey));
    let signed = resigned(&agent, "agent", 1);
    assert_eq!(open(&mut verifier, &signed), Err(Refusal::UnknownSigner));
    let signed = resigned(&agent, "_runtime", 1);
    assert_eq!(open(&mut verifier, &signed), Err(Refusal::WrongSender));
    keyring.forget("node-1");
    assert!(!keyring.knows("_runtime") && !keyring.knows("node-1"));
}

#[test]
fn every_byte_of_an_envelope_counts() {
    let envelope = from_a(1);
    assert!(open(&mut strict(), &envelope).is_ok());
    let mut lax_verifier = Verifier::new(keyring(), lax());
    for place in 0..envelope.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = envelope.clone();
            changed[place] ^= flip;
            assert!(
                strict().open(&changed, None, NOW, fresh).is_err(),
                "byte {place} with {flip:02x}"
            );
            // Where unsigned messages are taken, a changed one may pass as a stranger's at most.
            if let Ok(opened) = lax_verifier.open(&changed, None, NOW, fresh) {
                assert!(!opened.is_verified && opened.message.sender != "a", "byte {place}");
            }
        }
    }
}

#[test]
fn an_envelope_has_its_keys_and_no_others() {
    let vectors = vectors();
    let vector = &vectors["signed"][0];
    let good = bytes(&vector["envelope_hex"]);
    let plain = message("signed", vector).to_msgpack(&Limits::DEFAULT).unwrap();
    let sig = good[good.len() - (394 - 8 - plain.len())..].to_vec();
    let with = |entries: &[&[u8]]| {
        [&[0x80 | u8::try_from(entries.len()).unwrap()][..], &entries.concat()].concat()
    };
    let (v, msg) = (&[0xa1, b'v', 2][..], [&[0xa3][..], b"msg", &plain].concat());
    assert_eq!(with(&[v, &msg, &sig]), good);
    // In any order, as any reader of maps takes it.
    assert!(open(&mut strict(), &with(&[&sig, &msg, v])).unwrap().is_verified);
    let malformed = |bytes: Vec<u8>| {
        let refusal = open(&mut strict(), &bytes).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal:?}");
    };
    malformed(with(&[v, &msg, &sig, &[0xa1, b'x', 1]]));
    malformed(with(&[v, &msg, &msg, &sig]));
    malformed(with(&[v, v, &msg, &sig]));
    malformed(with(&[v, &sig]));
    malformed(with(&[&msg, &sig]));
    malformed(with(&[&[0xa1, b'v', 3], &msg, &sig]));
    malformed([&good[..], &[0xc0]].concat());
    let refusal = open(&mut strict(), &[&good[..], &[0xc0]].concat()).unwrap_err();
    let Refusal::Malformed(error) = refusal else { panic!("{refusal:?}") };
    assert_eq!((error.at, error.fault), (good.len(), Fault::Trailing));
    // The algorithm is not signed, so it is checked.
    let place = good.windows(7).position(|window| window == b"ed25519").unwrap();
    let mut changed = good.clone();
    changed[place + 6] = b'8';
    malformed(changed);
}

#[test]
fn an_old_key_counts_until_its_time_is_over() {
    let mut keyring = Keyring::new();
    keyring.trust("a", other_key(1).public()).unwrap();
    keyring.trust_until("a", a_key().public(), NOW).unwrap();
    let later = NOW.saturating_add(Duration::from_millis(1));
    let open =
        |now| Verifier::new(keyring.clone(), Policy::default()).open(&from_a(1), None, now, never);
    assert!(open(NOW).is_ok());
    assert_eq!(open(later), Err(Refusal::Forged));
    // And it must still sign: it is known for good.
    let plain = a_message().to_msgpack(&Limits::DEFAULT).unwrap();
    let mut verifier = Verifier::new(keyring.clone(), lax());
    assert_eq!(verifier.open(&plain, None, later, never), Err(Refusal::Unsigned));
}

#[test]
fn keyrings_are_bounded() {
    let mut keyring = Keyring::new();
    for number in 0..4 {
        keyring.trust("a", other_key(number).public()).unwrap();
    }
    assert_eq!(keyring.trust("a", other_key(4).public()), Err(KeyringFull::Keys));
    assert_eq!(keyring.trust("a", other_key(1).public()), Ok(()), "one that is there");
    for number in 0..16 {
        keyring.trust_node(format!("node-{number}"), other_key(100 + number).public()).unwrap();
    }
    let more = keyring.trust_node("node-16", other_key(200).public());
    assert_eq!(more, Err(KeyringFull::Nodes));
    assert!(!keyring.knows("node-16"), "nothing was done by half");
}

#[test]
fn weak_keys_and_other_texts_are_no_keys() {
    use lictor_wire::KeyError;
    // The neutral element, and a point of order eight.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(PublicKey::from_bytes(&neutral), Err(KeyError::Weak));
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::Weak));
    assert_eq!(PublicKey::from_bytes(&[2; 32]), Err(KeyError::NotAKey));
    let vectors = vectors();
    let text = support::text(&vectors["signed"][0]["public_key_b64"]);
    let key = PublicKey::from_base64(text.as_bytes()).unwrap();
    assert_eq!(key, a_key().public());
    assert_eq!((key.to_base64().as_str(), key.as_bytes().len()), (text, 32));
    assert_eq!(PublicKey::from_base64(format!(" {text}\n").as_bytes()), Ok(key));
    for bad in
        [&text[..43], &text.replace('=', ""), &text.replace('/', "_"), &format!("{text}="), "", "="]
    {
        assert_eq!(PublicKey::from_base64(bad.as_bytes()), Err(KeyError::NotBase64), "{bad}");
    }
    // Bits behind the last byte: a second text for the same key.
    let other = text.replace("bg=", "bh=");
    assert_eq!(PublicKey::from_base64(other.as_bytes()), Err(KeyError::NotBase64));
    let seed = a_key().to_base64();
    assert_eq!(seed.as_str(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let shown = format!("{:?}", a_key());
    assert!(!shown.contains(seed.as_str()) && shown.contains(text), "{shown}");
}

#[test]
fn timestamps_before_1970_are_in_order_too() {
    let policy = Policy { remembered: 2, max_age: None, ..Policy::default() };
    let mut verifier = Verifier::new(keyring(), policy);
    let mut send = |seconds: f64, nonce: u8| {
        let timestamp = Float::new(seconds).unwrap();
        let message = Message { timestamp, ..a_message() };
        let envelope = keys().seal(&message, [nonce; 16], &Limits::DEFAULT).unwrap();
        open(&mut verifier, &envelope).map(|_| ())
    };
    assert_eq!(send(-2.0, 1), Ok(()));
    assert_eq!(send(-1.0, 2), Ok(()));
    assert_eq!(send(1.0, 3), Ok(()));
    assert_eq!(send(-2.0, 4), Err(Refusal::Stale));
    assert_eq!(send(-3.0, 5), Err(Refusal::Stale));
    assert_eq!(send(-1.5, 6), Ok(()), "more than what was forgotten");
}

//! The frame between our own nodes: each opened once, by whom it is for, in its time.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use lictor_wire::{
    EncodeError, Keyring, Limits, OVERHEAD_MAX, Opener, REORDER_MAX, Refusal, Sealed, Sealer,
    UnixTime, Window, node_name,
};
use support::{NOW, a_key, hex, other_key, unhex};

const EPOCH: u64 = 1_700_000_000_000;
const LIMITS: Limits = Limits::DEFAULT;

fn sealer(epoch: u64) -> Sealer {
    Sealer::new("node-1", a_key(), epoch, Duration::from_secs(30)).unwrap()
}

fn seal(sealer: &Sealer, nonce: u8) -> Vec<u8> {
    sealer.seal("node-2", b"body", NOW, [nonce; 16], &LIMITS).unwrap()
}

fn keyring() -> Keyring {
    let mut keyring = Keyring::new();
    keyring.trust("node-1", a_key().public()).unwrap();
    keyring
}

fn opener() -> Opener {
    named("node-2")
}

fn named(name: &str) -> Opener {
    Opener::new(name, keyring(), Window::default(), LIMITS, NOW).unwrap()
}

fn plus(millis: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_millis(millis))
}

/// Our own golden bytes: a change of them is a change of the format.
const GOLDEN: &str = include_str!("data/sealed_v3.hex");

#[test]
fn the_bytes_of_a_frame_do_not_change() {
    let frame = seal(&sealer(EPOCH), 0x11);
    assert_eq!(hex(&frame), GOLDEN.trim());
    let golden = unhex(GOLDEN.trim());
    let opened = opener().open(&golden, NOW).unwrap();
    let expected = Sealed {
        signer: "node-1",
        recipient: "node-2",
        epoch: EPOCH,
        counter: 1,
        sent_at: NOW,
        valid_for: Duration::from_secs(30),
        body: b"body",
    };
    assert_eq!(opened, expected);
}

#[test]
fn every_byte_counts_and_every_shorter_frame_is_refused() {
    let frame = seal(&sealer(EPOCH), 1);
    for place in 0..frame.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = frame.clone();
            changed[place] ^= flip;
            assert!(opener().open(&changed, NOW).is_err(), "byte {place} with {flip:02x}");
        }
        assert!(opener().open(&frame[..place], NOW).is_err(), "{place} bytes");
    }
    let longer = [&frame[..], &[0xc0]].concat();
    assert!(matches!(opener().open(&longer, NOW), Err(Refusal::Malformed(_))));
}

// Defect: Z23b
#[test]
fn z23b_a_frame_is_opened_once_and_a_forged_one_spoils_nothing() {
    let (sealer, mut opener) = (sealer(EPOCH), opener());
    let frame = seal(&sealer, 1);
    let mut forged = frame.clone();
    let place = forged.windows(4).position(|window| window == b"body").unwrap() + 6;
    forged[place] ^= 1;
    assert_eq!(opener.open(&forged, NOW).map(|_| ()), Err(Refusal::Forged));
    assert!(opener.open(&frame, NOW).is_ok());
    assert_eq!(opener.open(&frame, NOW), Err(Refusal::Replayed));
    for nonce in 0..=255 {
        assert!(opener.open(&seal(&sealer, nonce), NOW).is_ok());
    }
    assert_eq!(opener.open(&frame, NOW), Err(Refusal::Replayed));
    for nonce in 0..REORDER_MAX {
        assert!(opener.open(&seal(&sealer, nonce.to_le_bytes()[0]), NOW).is_ok());
    }
    assert_eq!(opener.open(&frame, NOW), Err(Refusal::Stale), "too far behind to tell");
}

#[test]
fn frames_may_overtake_each_other_within_the_window() {
    let sealer = sealer(EPOCH);
    let max = usize::try_from(REORDER_MAX).unwrap();
    let frames: Vec<_> = (0..=max).map(|n| seal(&sealer, n.to_le_bytes()[0])).collect();
    let mut opener = opener();
    for frame in frames[1..].iter().rev() {
        assert!(opener.open(frame, NOW).is_ok());
    }
    assert_eq!(opener.open(&frames[0], NOW), Err(Refusal::Stale), "one beyond");
    // A gap wider than the window empties all of it.
    for _ in 0..3 * max {
        let _ = seal(&sealer, 0);
    }
    assert!(opener.open(&seal(&sealer, 1), NOW).is_ok());
    assert_eq!(opener.open(&frames[max], NOW), Err(Refusal::Stale));
    assert!(opener.open(&seal(&sealer, 2), NOW).is_ok());
}

// A thread that is held up between sealing and sending: of 100,000 frames that eight threads sent
// over two busy processors fifty were lost for that.
#[test]
fn a_frame_is_late_by_thousands_that_went_to_the_same_node_only() {
    let (sealer, mut opener) = (sealer(EPOCH), opener());
    let held_up = seal(&sealer, 1);
    for number in 0..2 * REORDER_MAX {
        let other = node_name(lictor_kernel::NodeId(3 + number % 5));
        sealer.seal(&other, b"body", NOW, [2; 16], &LIMITS).unwrap();
    }
    // Some fifth of a second at the rate of one processor.
    for _ in 0..5000 {
        let _ = seal(&sealer, 2);
    }
    assert!(opener.open(&seal(&sealer, 3), NOW).is_ok());
    assert!(opener.open(&held_up, NOW).is_ok());
    assert_eq!(opener.open(&held_up, NOW), Err(Refusal::Replayed));
}

#[test]
fn a_gap_of_a_whole_window_leaves_nothing_behind() {
    let (sealer, mut opener) = (sealer(EPOCH), opener());
    assert!(opener.open(&seal(&sealer, 1), NOW).is_ok());
    for _ in 1..REORDER_MAX {
        let _ = seal(&sealer, 0);
    }
    // It has the place of the first in memory, and another nonce.
    let opened = opener.open(&seal(&sealer, 2), NOW).map(|sealed| sealed.counter).unwrap();
    assert_eq!(opened, 1 + REORDER_MAX);
}

// Defects: Z23a, Z23b
#[test]
fn z23a_z23b_signer_and_recipient_are_bound() {
    let frame = seal(&sealer(EPOCH), 1);
    assert_eq!(named("node-3").open(&frame, NOW), Err(Refusal::WrongRecipient));
    let stranger = Sealer::new("node-9", other_key(9), EPOCH, Duration::from_secs(30)).unwrap();
    assert_eq!(opener().open(&seal(&stranger, 1), NOW), Err(Refusal::UnknownSigner));
    let liar = Sealer::new("node-1", other_key(9), EPOCH, Duration::from_secs(30)).unwrap();
    assert_eq!(opener().open(&seal(&liar, 1), NOW), Err(Refusal::Forged));
}

// Defect: Z23c
#[test]
fn z23c_nothing_is_taken_without_a_signature() {
    let frame = seal(&sealer(EPOCH), 1);
    let stripped = [&frame[..frame.len() - 66], &[0xc4, 0]].concat();
    for bytes in [&stripped[..], b"", b"\x01{}", &[0x80], &frame[1..]] {
        assert_eq!(opener().open(bytes, NOW), Err(Refusal::Unsigned), "{}", hex(bytes));
    }
}

#[test]
fn a_frame_is_good_for_its_time() {
    let frame = seal(&sealer(EPOCH), 1);
    let open = |now| opener().open(&frame, now).map(|_| ());
    assert_eq!(open(plus(35_000)), Ok(()), "its time, and by how much clocks may differ");
    assert_eq!(open(plus(35_001)), Err(Refusal::Expired));
    assert_eq!(open(UnixTime::from_millis(NOW.as_millis() - 5000)), Ok(()));
    assert_eq!(open(UnixTime::from_millis(NOW.as_millis() - 5001)), Err(Refusal::NotYet));
    // A signer does not make its frames good for ever.
    let for_ever = Sealer::new("node-1", a_key(), EPOCH, Duration::MAX).unwrap();
    let frame = seal(&for_ever, 1);
    assert!(opener().open(&frame, plus(65_000)).is_ok());
    assert_eq!(opener().open(&frame, plus(65_001)), Err(Refusal::Expired));
}

#[test]
fn what_was_sent_before_the_receiver_began_is_stale() {
    let frame = seal(&sealer(EPOCH), 1);
    let since = |millis| {
        let window = Window::default();
        Opener::new("node-2", keyring(), window, LIMITS, plus(millis)).unwrap()
    };
    assert!(since(5000).open(&frame, plus(5000)).is_ok());
    assert_eq!(since(5001).open(&frame, plus(5001)), Err(Refusal::Stale));
}

#[test]
fn a_node_that_starts_again_is_told_from_its_past() {
    let (old, new) = (sealer(EPOCH), sealer(EPOCH + 1));
    let mut opener = opener();
    for nonce in 0..=2 * REORDER_MAX {
        assert!(opener.open(&seal(&old, nonce.to_le_bytes()[0]), NOW).is_ok());
    }
    assert!(opener.open(&seal(&new, 2), NOW).is_ok(), "its counter begins again");
    assert_eq!(opener.open(&seal(&old, 3), NOW), Err(Refusal::Stale));
    assert!(opener.open(&seal(&new, 4), NOW).is_ok());
}

#[test]
fn two_nodes_with_one_key_are_told_from_a_wire_that_repeats() {
    let (one, other) = (sealer(EPOCH), sealer(EPOCH));
    let mut opener = opener();
    let frame = seal(&one, 1);
    assert!(opener.open(&frame, NOW).is_ok());
    assert_eq!(opener.open(&seal(&other, 2), NOW), Err(Refusal::KeyShared));
    assert_eq!(opener.open(&frame, NOW), Err(Refusal::Replayed), "the first one's place is kept");
}

#[test]
fn keys_can_be_changed_while_frames_come() {
    let mut opener = opener();
    let new = Sealer::new("node-1", other_key(5), EPOCH, Duration::from_secs(30)).unwrap();
    assert_eq!(opener.open(&seal(&new, 1), NOW), Err(Refusal::Forged));
    opener.keyring_mut().trust("node-1", other_key(5).public()).unwrap();
    assert!(opener.open(&seal(&new, 1), NOW).is_ok());
    opener.keyring_mut().forget("node-1");
    assert_eq!(opener.open(&seal(&new, 1), NOW), Err(Refusal::UnknownSigner));
}

#[test]
fn names_and_sizes_are_checked() {
    assert!(Sealer::new("", a_key(), 1, Duration::ZERO).is_err());
    assert!(Opener::new("a b", keyring(), Window::default(), LIMITS, NOW).is_err());
    let longest = "n".repeat(255);
    let sealer = Sealer::new(longest.clone(), a_key(), u64::MAX, Duration::MAX).unwrap();
    let body = vec![0; 70_000];
    let time = UnixTime::from_millis(u64::MAX);
    let frame = sealer.seal(&longest, &body, time, [0; 16], &LIMITS).unwrap();
    assert!(frame.len() - body.len() <= OVERHEAD_MAX, "{}", frame.len() - body.len());
    let limits = Limits { bytes: frame.len() - 1, ..LIMITS };
    let written = sealer.seal(&longest, &body, time, [0; 16], &limits);
    assert_eq!(written, Err(EncodeError::TooLarge { limit: frame.len() - 1 }));
    assert_eq!(node_name(lictor_kernel::NodeId(7)), "node-7");
}

// What is remembered of a signer is bounded by the keyring, so it must be in it.
#[test]
fn a_nodes_key_seals_for_its_own_name_only() {
    let mut keyring = Keyring::new();
    keyring.trust_node("node-1", a_key().public()).unwrap();
    let mut opener = Opener::new("node-2", keyring, Window::default(), LIMITS, NOW).unwrap();
    assert!(opener.open(&seal(&sealer(EPOCH), 1), NOW).is_ok());
    for name in ["_runtime", "_a1", "_a2"] {
        let sealer = Sealer::new(name, a_key(), EPOCH, Duration::from_secs(30)).unwrap();
        assert_eq!(opener.open(&seal(&sealer, 1), NOW), Err(Refusal::UnknownSigner), "{name}");
    }
}

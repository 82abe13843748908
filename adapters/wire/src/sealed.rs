//! The sealed frame between our own nodes (`v` = 3).
//!
//! A frame is opaque bytes with all that the envelope of civitas lacks: for whom it is, since when
//! and how long it is good, and its place in what its signer sends, as a boot epoch and a counter.
//! It is a map of ten keys in one order, the signature last, so that what is signed is simply all
//! that stands before the signature; nothing is copied or written again to check it. Its first byte
//! differs from that of what is signed for civitas, so no signature can be taken for the other.
//!
//! The counter alone would tell two frames apart; the nonce tells a frame that the wire has
//! repeated from one of another node with the same key, which an operator must hear of.
//!
//! What a receiver does not know after a restart is covered by time: it takes nothing that was sent
//! before it began, as far as clocks agree.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_kernel::{NameError, Names};

use crate::error::{DecodeError, EncodeError, Fault};
use crate::key::SecretKey;
use crate::keyring::Keyring;
use crate::limits::Limits;
use crate::msgpack::{Reader, Writer, all_or_nothing, expected};
use crate::refusal::Refusal;
use crate::time::{UnixTime, millis};

/// A map of ten whose first entry is version 3.
const BEGIN: [u8; 4] = [0x8a, 0xa1, b'v', 3];

/// The key of the signature.
const SIG: [u8; 4] = [0xa3, b's', b'i', b'g'];

/// What a frame has beside its body, at most, in bytes.
pub const OVERHEAD_MAX: usize = 768;

/// How far frames of one signer for one recipient may overtake each other. A thread that waits for
/// a processor between sealing and sending is overtaken by all that the others send meanwhile.
pub const REORDER_MAX: u64 = 1 << 13;

/// Counters of a sealer. A recipient has one of them, by its name, so that what goes to others uses
/// up little of the window in which its own frames may overtake each other; and a sealer with any
/// number of recipients has no table of them.
const COUNTERS: usize = 256;

/// Seals frames. It may be shared: each frame for a recipient has a number of its own.
#[derive(Debug)]
pub struct Sealer {
    name: String,
    key: SecretKey,
    epoch: u64,
    valid_for: Duration,
    counters: Box<[AtomicU64; COUNTERS]>,
}

impl Sealer {
    /// A sealer of frames that `name` signs with `key`.
    ///
    /// `epoch` must be greater at each start of the node, as the milliseconds of the clock are.
    /// `valid_for` is how long a frame is good after it was sealed, in whole milliseconds.
    ///
    /// # Errors
    /// [`NameError`] if it is not a name (system names are).
    pub fn new(
        name: impl Into<String>,
        key: SecretKey,
        epoch: u64,
        valid_for: Duration,
    ) -> Result<Self, NameError> {
        let name = name.into();
        Names::check_system(&name)?;
        let counters = Box::new([const { AtomicU64::new(0) }; COUNTERS]);
        Ok(Self { name, key, epoch, valid_for, counters })
    }

    /// The next number for a recipient.
    fn next(&self, recipient: &str) -> u64 {
        let [slot, ..] = spread(recipient.as_bytes()).to_le_bytes();
        self.counters[usize::from(slot)].fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The frame of a body for a recipient. The nonce must be random.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] or [`EncodeError::TextTooLong`].
    pub fn seal(
        &self,
        recipient: &str,
        body: &[u8],
        now: UnixTime,
        nonce: [u8; 16],
        limits: &Limits,
    ) -> Result<Vec<u8>, EncodeError> {
        let counter = self.next(recipient);
        let mut out = Vec::with_capacity(body.len() + OVERHEAD_MAX / 2);
        all_or_nothing(&mut out, limits, |out| {
            out.extend(BEGIN);
            let mut writer = Writer::new(out, limits);
            writer.text("signer")?;
            writer.text(&self.name)?;
            writer.text("recipient")?;
            writer.text(recipient)?;
            for (key, number) in [
                ("epoch", self.epoch),
                ("counter", counter),
                ("sent_at", now.as_millis()),
                ("valid_for", millis(self.valid_for)),
            ] {
                writer.text(key)?;
                writer.int(number.into());
            }
            writer.text("nonce")?;
            writer.bytes(&nonce)?;
            writer.text("body")?;
            writer.bytes(body)?;
            let signature = self.key.sign(writer.out);
            writer.out.extend(SIG);
            writer.bytes(&signature)
        })?;
        Ok(out)
    }
}

/// What an opener goes by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// By how much the clocks of two nodes may differ. By default five seconds.
    pub skew: Duration,
    /// The longest time for which a frame is good, whatever its signer says. By default a minute.
    pub valid_for_max: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { skew: Duration::from_secs(5), valid_for_max: Duration::from_secs(60) }
    }
}

/// A frame that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sealed<'a> {
    /// Who has signed it.
    pub signer: &'a str,
    /// For whom.
    pub recipient: &'a str,
    /// The boot epoch of its signer.
    pub epoch: u64,
    /// Its place in what the signer has sealed for this recipient since then: greater is later, and
    /// none comes twice.
    pub counter: u64,
    /// When it was sealed, by the signer's clock.
    pub sent_at: UnixTime,
    /// How long it is good.
    pub valid_for: Duration,
    /// What it carries.
    pub body: &'a [u8],
}

/// Opens frames for one recipient, each once.
#[derive(Clone, Debug)]
pub struct Opener {
    name: String,
    keyring: Keyring,
    window: Window,
    limits: Limits,
    since: UnixTime,
    /// Only of names that have a key, so it is bounded by the keyring: 32 KiB for each.
    signers: BTreeMap<String, Progress>,
}

/// What was opened of one signer: its last frames by their counters.
#[derive(Clone, Debug)]
struct Progress {
    epoch: u64,
    highest: u64,
    /// A part of the nonce of each, which tells a frame that came again from another of its place.
    /// Both are refused, so that two may have one in four billion times harms nobody.
    marks: Vec<Option<NonZeroU32>>,
}

struct Unopened<'a> {
    sealed: Sealed<'a>,
    nonce: [u8; 16],
    signed: &'a [u8],
    signature: &'a [u8; 64],
}

impl Opener {
    /// An opener of what is for `name`. Frames sealed before `since`, the start of this node, are
    /// stale to it.
    ///
    /// # Errors
    /// [`NameError`] if it is not a name (system names are).
    pub fn new(
        name: impl Into<String>,
        keyring: Keyring,
        window: Window,
        limits: Limits,
        since: UnixTime,
    ) -> Result<Self, NameError> {
        let name = name.into();
        Names::check_system(&name)?;
        Ok(Self { name, keyring, window, limits, since, signers: BTreeMap::new() })
    }

    /// The keys, to add and remove some.
    pub const fn keyring_mut(&mut self) -> &mut Keyring {
        &mut self.keyring
    }

    /// Opens a frame. Nothing is remembered of one that is refused.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn open<'a>(&mut self, bytes: &'a [u8], now: UnixTime) -> Result<Sealed<'a>, Refusal> {
        self.open_of(None, bytes, now)
    }

    /// As [`Opener::open`], of this signer only: where it is known from whom a frame has come.
    ///
    /// # Errors
    /// [`Refusal`], also `WrongSender`.
    pub fn open_from<'a>(
        &mut self,
        signer: &str,
        bytes: &'a [u8],
        now: UnixTime,
    ) -> Result<Sealed<'a>, Refusal> {
        self.open_of(Some(signer), bytes, now)
    }

    fn open_of<'a>(
        &mut self,
        signer: Option<&str>,
        bytes: &'a [u8],
        now: UnixTime,
    ) -> Result<Sealed<'a>, Refusal> {
        let Unopened { sealed, nonce, signed, signature } = parse(bytes, &self.limits)?;
        // Not as a system name of a node: a node has no end of those, and each is remembered.
        if !self.keyring.has(sealed.signer) {
            return Err(Refusal::UnknownSigner);
        }
        let mut keys = self.keyring.keys(sealed.signer, now);
        if !keys.any(|key| key.has_signed(signed, signature)) {
            return Err(Refusal::Forged);
        }
        if signer.is_some_and(|signer| signer != sealed.signer) {
            return Err(Refusal::WrongSender);
        }
        if sealed.recipient != self.name {
            return Err(Refusal::WrongRecipient);
        }
        let Window { skew, valid_for_max } = self.window;
        if sealed.sent_at > now.saturating_add(skew) {
            return Err(Refusal::NotYet);
        }
        let valid_for = sealed.valid_for.min(valid_for_max);
        if now > sealed.sent_at.saturating_add(valid_for).saturating_add(skew) {
            return Err(Refusal::Expired);
        }
        if sealed.sent_at < self.since.saturating_sub(skew) {
            return Err(Refusal::Stale);
        }
        match self.signers.get_mut(sealed.signer) {
            Some(progress) => progress.record(&sealed, nonce)?,
            None => {
                let mut progress = Progress::new(sealed.epoch);
                progress.record(&sealed, nonce)?;
                self.signers.insert(sealed.signer.to_owned(), progress);
            }
        }
        Ok(sealed)
    }
}

impl Progress {
    fn new(epoch: u64) -> Self {
        let len = usize::try_from(REORDER_MAX).unwrap_or_default();
        Self { epoch, highest: 0, marks: vec![None; len] }
    }

    fn record(&mut self, sealed: &Sealed<'_>, nonce: [u8; 16]) -> Result<(), Refusal> {
        if sealed.epoch < self.epoch {
            return Err(Refusal::Stale);
        }
        if sealed.epoch > self.epoch {
            self.epoch = sealed.epoch;
            self.highest = 0;
            self.marks.fill(None);
        }
        let counter = sealed.counter;
        if counter.saturating_add(REORDER_MAX) <= self.highest {
            return Err(Refusal::Stale);
        }
        // Places that come into view are empty.
        let skipped = counter.saturating_sub(self.highest).min(REORDER_MAX);
        for ahead in 1..=skipped {
            let place = place(self.highest.wrapping_add(ahead));
            self.marks[place] = None;
        }
        self.highest = self.highest.max(counter);
        let mark = mark(&nonce);
        match &mut self.marks[place(counter)] {
            Some(held) if *held == mark => Err(Refusal::Replayed),
            Some(_) => Err(Refusal::KeyShared),
            free => {
                *free = Some(mark);
                Ok(())
            }
        }
    }
}

fn mark(nonce: &[u8; 16]) -> NonZeroU32 {
    NonZeroU32::new(spread(nonce)).unwrap_or(NonZeroU32::MIN)
}

/// FNV-1a: all that counts is that it spreads.
fn spread(bytes: &[u8]) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, mix)
}

fn place(counter: u64) -> usize {
    usize::try_from(counter % REORDER_MAX).unwrap_or_default()
}

/// The ten keys in their order, and nothing else.
fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Unopened<'a>, Refusal> {
    if !bytes.starts_with(&BEGIN) {
        return Err(Refusal::Unsigned);
    }
    let mut reader = Reader::new(bytes, limits)?;
    reader.map_len("a frame")?;
    key(&mut reader, "v")?;
    reader.natural("v")?;
    key(&mut reader, "signer")?;
    let signer = reader.string("signer")?;
    key(&mut reader, "recipient")?;
    let recipient = reader.string("recipient")?;
    let mut number = |of| {
        key(&mut reader, of)?;
        reader.natural(of)
    };
    let (epoch, counter) = (number("epoch")?, number("counter")?);
    let (sent_at, valid_for) = (number("sent_at")?, number("valid_for")?);
    key(&mut reader, "nonce")?;
    let at = reader.position();
    let nonce =
        reader.binary("nonce")?.try_into().map_err(|_| expected(at, "16 bytes", "nonce"))?;
    key(&mut reader, "body")?;
    let body = reader.binary("body")?;
    let end = reader.position();
    key(&mut reader, "sig")?;
    let at = reader.position();
    let signature = reader.binary("sig")?;
    reader.end()?;
    if signature.is_empty() {
        return Err(Refusal::Unsigned);
    }
    let signature = signature.try_into().map_err(|_| expected(at, "64 bytes", "sig"))?;
    if counter == 0 {
        return Err(expected(0, "a place from 1 on", "counter").into());
    }
    let sent_at = UnixTime::from_millis(sent_at);
    let valid_for = Duration::from_millis(valid_for);
    let sealed = Sealed { signer, recipient, epoch, counter, sent_at, valid_for, body };
    Ok(Unopened { sealed, nonce, signed: &bytes[..end], signature })
}

fn key(reader: &mut Reader<'_>, name: &'static str) -> Result<(), DecodeError> {
    let at = reader.position();
    if reader.string(name)? == name {
        return Ok(());
    }
    Err(DecodeError::new(at, Fault::Expected { expected: "the next key in order", of: name }))
}

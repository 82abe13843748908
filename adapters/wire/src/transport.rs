//! A transport that seals what it sends and opens what it hears, around any other.
//!
//! Each frame is sealed for the peer to whom it goes, by the name of this node, and taken only if
//! the peer from whom it comes has sealed it for this node. What is refused is counted by its
//! reason and goes no further. A node's name for this is `node-` and its number.
//!
//! A sealed frame is longer than what is in it, and the wire below takes no more than its limit; so
//! a frame near the limit goes as two halves, which are put together again. The alternative, a
//! lower limit above than below, would make the transport one that carries less than a transport
//! must.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_kernel::NodeId;
use lictor_runtime::Task;
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, Inbox, LinkEvent, SendError, Transport};

use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::sealed::{OVERHEAD_MAX, Opener, Sealer};
use crate::time::Ambient;

/// What a body begins with.
const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// The kind of a half, and which pair it is of.
const HALF_HEAD: usize = 1 + 8;

/// Bytes of a frame that goes in one piece.
const WHOLE_MAX: usize = FRAME_BYTES_MAX - OVERHEAD_MAX - 1;

/// Pairs of one peer of which a half is here.
const PAIRS_MAX: usize = 4;

/// Peers without a key of which it is known what was refused last; what comes as more of them is
/// counted only. Those that have one are known anyhow: strangers must not hide what is wrong there.
const REFUSED_MAX: usize = 1024;

/// The limits of frames, which hold no message.
const LIMITS: Limits = Limits { bytes: FRAME_BYTES_MAX, text: FRAME_BYTES_MAX, ..Limits::DEFAULT };

/// The name by which a node signs.
#[must_use]
pub fn node_name(node: NodeId) -> String {
    format!("node-{}", node.0)
}

/// Limits for an [`Opener`] that is given to [`SealedTransport::new`].
#[must_use]
pub const fn frame_limits() -> Limits {
    LIMITS
}

/// Frames since the start, by what became of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct SealCounters {
    /// Sealed and handed to the wire.
    pub sealed: u64,
    /// Opened.
    pub opened: u64,
    /// Refused: no frame of this kind.
    pub malformed: u64,
    /// Refused: without a signature.
    pub unsigned: u64,
    /// Refused: there is no key for the signer.
    pub unknown_signer: u64,
    /// Refused: the signature is not by the signer.
    pub forged: u64,
    /// Refused: by another node than the one from which it came, or for another.
    pub misdirected: u64,
    /// Refused: its time is over, or has not come.
    pub expired: u64,
    /// Refused: it was here before, or may have been.
    pub replayed: u64,
    /// Refused: another node signs with the same key.
    pub key_shared: u64,
    /// Half of a frame whose other half did not come in time.
    pub halves_lost: u64,
}

/// What was refused of the frames that came as those of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// As whose they came. Anybody can say that of himself.
    pub peer: NodeId,
    /// How many.
    pub frames: u64,
    /// Why, the last time.
    pub last: Refusal,
}

/// A [`Transport`] whose frames are signed.
#[derive(Debug)]
pub struct SealedTransport {
    inner: Arc<dyn Transport>,
    ambient: Arc<dyn Ambient>,
    sealer: Sealer,
    pairs: AtomicU64,
    receiving: Mutex<Receiving>,
    sealed: AtomicU64,
}

#[derive(Debug)]
struct Receiving {
    opener: Opener,
    halves: BTreeMap<NodeId, VecDeque<Half>>,
    counters: SealCounters,
    refused: BTreeMap<NodeId, Refused>,
}

#[derive(Debug)]
struct Half {
    /// Which boot of the sender, since each counts its pairs anew.
    epoch: u64,
    pair: u64,
    kind: u8,
    bytes: Vec<u8>,
}

impl SealedTransport {
    /// Seals with `sealer`, whose name is the [`node_name`] of this node, and opens with `opener`,
    /// whose name is the same and whose limits are [`frame_limits`].
    #[must_use]
    pub const fn new(
        inner: Arc<dyn Transport>,
        sealer: Sealer,
        opener: Opener,
        ambient: Arc<dyn Ambient>,
    ) -> Self {
        let counters = SealCounters {
            sealed: 0,
            opened: 0,
            malformed: 0,
            unsigned: 0,
            unknown_signer: 0,
            forged: 0,
            misdirected: 0,
            expired: 0,
            replayed: 0,
            key_shared: 0,
            halves_lost: 0,
        };
        let halves = BTreeMap::new();
        let receiving = Receiving { opener, halves, counters, refused: BTreeMap::new() };
        Self {
            inner,
            ambient,
            sealer,
            pairs: AtomicU64::new(0),
            receiving: Mutex::new(receiving),
            sealed: AtomicU64::new(0),
        }
    }

    /// What became of frames so far.
    #[must_use]
    pub fn counters(&self) -> SealCounters {
        let receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        SealCounters { sealed: self.sealed.load(Ordering::Relaxed), ..receiving.counters }
    }

    /// What was refused so far, by the peer as whose it came, in the order of their numbers; of
    /// those that have a key, and of 1024 more at most.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        let receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        receiving.refused.values().cloned().collect()
    }

    /// Changes the keys that count, while frames come and go.
    pub fn with_keyring(&self, change: impl FnOnce(&mut crate::Keyring)) {
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        change(receiving.opener.keyring_mut());
    }

    fn seal_and_send(&self, peer: NodeId, head: &[u8], content: &[u8]) -> Result<(), SendError> {
        let body = [head, content].concat();
        // A host without entropy sends nothing; its peers see a node that is gone.
        let nonce = self.ambient.nonce().ok_or(SendError::Unreachable)?;
        let now = self.ambient.unix_time();
        let frame = self.sealer.seal(&node_name(peer), &body, now, nonce, &LIMITS);
        let frame = frame.map_err(|_| SendError::TooLarge)?;
        self.inner.send(peer, Frame::new(frame))?;
        self.sealed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The content of a frame, if all of it is here and it may be taken.
    fn receive(&self, peer: NodeId, frame: &Frame) -> Option<Vec<u8>> {
        let now = self.ambient.unix_time();
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let Receiving { opener, halves, counters, refused } = &mut *receiving;
        let opened = opener.open_from(&node_name(peer), frame.as_bytes(), now);
        let (epoch, body) = match opened {
            Ok(sealed) => (sealed.epoch, sealed.body),
            Err(refusal) => {
                counters.count(refusal);
                let has_room = refused.len() < REFUSED_MAX || refused.contains_key(&peer);
                if has_room || opener.keyring_mut().has(&node_name(peer)) {
                    note(refused, peer, refusal);
                }
                return None;
            }
        };
        counters.opened += 1;
        match body {
            [WHOLE, content @ ..] => Some(content.to_vec()),
            [kind @ (FIRST | SECOND), rest @ ..] => {
                let Some((pair, content)) = rest.split_first_chunk() else {
                    counters.malformed += 1;
                    return None;
                };
                let (pair, bytes) = (u64::from_be_bytes(*pair), content.to_vec());
                let half = Half { epoch, pair, kind: *kind, bytes };
                join(halves.entry(peer).or_default(), half, counters)
            }
            _ => {
                counters.malformed += 1;
                None
            }
        }
    }
}

/// Takes note of a refusal.
fn note(refused: &mut BTreeMap<NodeId, Refused>, peer: NodeId, last: Refusal) {
    let refused = refused.entry(peer).or_insert(Refused { peer, frames: 0, last });
    refused.frames = refused.frames.saturating_add(1);
    refused.last = last;
}

/// Both halves in order, if the other one is here; otherwise keeps this one.
fn join(held: &mut VecDeque<Half>, half: Half, counters: &mut SealCounters) -> Option<Vec<u8>> {
    let is_of = |held: &Half| (held.epoch, held.pair) == (half.epoch, half.pair);
    let other = held.iter().position(|held| is_of(held) && held.kind != half.kind);
    let Some(other) = other.and_then(|at| held.remove(at)) else {
        if held.len() >= PAIRS_MAX {
            held.pop_front();
            counters.halves_lost += 1;
        }
        held.push_back(half);
        return None;
    };
    let (first, second) = if half.kind == FIRST { (half, other) } else { (other, half) };
    let mut bytes = first.bytes;
    // What could not have been sent is not taken either.
    if bytes.len() + second.bytes.len() > FRAME_BYTES_MAX {
        counters.malformed += 1;
        return None;
    }
    bytes.extend_from_slice(&second.bytes);
    Some(bytes)
}

impl SealCounters {
    const fn count(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::Malformed(_) => &mut self.malformed,
            Refusal::Unsigned => &mut self.unsigned,
            Refusal::UnknownSigner => &mut self.unknown_signer,
            Refusal::Forged => &mut self.forged,
            Refusal::WrongSender | Refusal::WrongRecipient => &mut self.misdirected,
            Refusal::Expired | Refusal::NotYet => &mut self.expired,
            Refusal::Replayed | Refusal::Stale => &mut self.replayed,
            Refusal::KeyShared => &mut self.key_shared,
        } += 1;
    }
}

impl Transport for SealedTransport {
    fn peers(&self) -> Vec<NodeId> {
        self.inner.peers()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        let bytes = frame.as_bytes();
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        if bytes.len() <= WHOLE_MAX {
            return self.seal_and_send(peer, &[WHOLE], bytes);
        }
        let pair = self.pairs.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for (kind, half) in [(FIRST, first), (SECOND, second)] {
            let mut head = [kind; HALF_HEAD];
            head[1..].copy_from_slice(&pair);
            self.seal_and_send(peer, &head, half)?;
        }
        Ok(())
    }

    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        let inner = Arc::clone(&self.inner);
        inner.run(Inbox::new(move |peer, event| match event {
            LinkEvent::Up => {
                inbox.up(peer);
                true
            }
            LinkEvent::Down => {
                inbox.down(peer);
                true
            }
            // Refusing a frame is no reason to slow the peer down.
            LinkEvent::Frame(frame) => match self.receive(peer, &frame) {
                Some(content) => inbox.frame(peer, Frame::new(content)),
                None => true,
            },
        }))
    }

    fn flush(self: Arc<Self>) -> Task {
        Arc::clone(&self.inner).flush()
    }

    fn linger(&self) -> Duration {
        self.inner.linger()
    }
}

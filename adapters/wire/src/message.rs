//! The message: sixteen fields, in one order, in two formats.
//!
//! What both formats share is here: which fields there are, what stands for a field that is
//! missing, and what each may hold. `msgpack` and `json` only know how their bytes look.

use crate::error::{DecodeError, EncodeError, Fault};
use crate::json::{self, Spacing};
use crate::limits::Limits;
use crate::msgpack;
use crate::uuid::Uuid;
use crate::value::{Float, Map};

/// A message as civitas has it (`schema_version` 1).
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// The version of this layout: 1.
    pub schema_version: i64,
    /// Which message it is; a UUID of version 7 by convention.
    pub id: String,
    /// What kind of message it is (`type` on the wire): `message` if nobody said.
    pub kind: String,
    /// Which agent sent it; empty for some announcements.
    pub sender: String,
    /// To which agent it goes; empty for some announcements.
    pub recipient: String,
    /// What it answers, or belongs to.
    pub correlation_id: Option<String>,
    /// Where an answer goes.
    pub reply_to: Option<String>,
    /// What it says.
    pub payload: Map,
    /// When it was made, in seconds since 1970.
    pub timestamp: Float,
    /// The trace that it is part of; empty if there is none.
    pub trace_id: String,
    /// Its span; empty if there is none.
    pub span_id: String,
    /// The span that caused it.
    pub parent_span_id: Option<String>,
    /// How often it was tried before.
    pub attempt: i64,
    /// 0 is normal; greater goes first.
    pub priority: i64,
    /// For how many seconds it is worth something.
    pub ttl: Option<Float>,
    /// Its place in a stream.
    pub seq: Option<i64>,
}

/// What a message without an id or a timestamp is given. The crate draws no entropy and reads no
/// clock, so whoever reads the message says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fresh {
    /// The id.
    pub id: Uuid,
    /// The timestamp, in seconds since 1970.
    pub timestamp: Float,
}

/// The names of the fields on the wire, in their order.
pub(crate) const KEYS: [&str; 16] = [
    "schema_version",
    "id",
    "type",
    "sender",
    "recipient",
    "correlation_id",
    "reply_to",
    "payload",
    "timestamp",
    "trace_id",
    "span_id",
    "parent_span_id",
    "attempt",
    "priority",
    "ttl",
    "seq",
];

const ID: usize = 1;
const KIND: usize = 2;
const TIMESTAMP: usize = 8;

impl Message {
    /// A message with the defaults in all other fields: no trace, first attempt, normal priority.
    #[must_use]
    pub fn new(fresh: Fresh, kind: impl Into<String>, payload: impl Into<Map>) -> Self {
        Self {
            id: fresh.id.to_string(),
            kind: kind.into(),
            payload: payload.into(),
            timestamp: fresh.timestamp,
            ..Self::empty()
        }
    }

    /// The same message, from and to these agents.
    #[must_use]
    pub fn between(mut self, sender: impl Into<String>, recipient: impl Into<String>) -> Self {
        self.sender = sender.into();
        self.recipient = recipient.into();
        self
    }

    const fn empty() -> Self {
        Self {
            schema_version: 1,
            id: String::new(),
            kind: String::new(),
            sender: String::new(),
            recipient: String::new(),
            correlation_id: None,
            reply_to: None,
            payload: Map::new(),
            timestamp: Float::ZERO,
            trace_id: String::new(),
            span_id: String::new(),
            parent_span_id: None,
            attempt: 0,
            priority: 0,
            ttl: None,
            seq: None,
        }
    }

    /// Appends the message in MessagePack, byte for byte as civitas writes it: all sixteen keys in
    /// their order, the shortest form of every integer and text, every float in eight bytes.
    ///
    /// # Errors
    /// [`EncodeError`] if it is beyond a limit; then nothing is appended.
    pub fn write_msgpack(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        msgpack::write(self, limits, out)
    }

    /// As [`Message::write_msgpack`], into a vector of its own.
    ///
    /// # Errors
    /// As there.
    pub fn to_msgpack(&self, limits: &Limits) -> Result<Vec<u8>, EncodeError> {
        // Most messages fit, so that most allocate once.
        let mut out = Vec::with_capacity(384);
        self.write_msgpack(limits, &mut out)?;
        Ok(out)
    }

    /// Reads a message in MessagePack. Keys that are not known are passed over, keys that are
    /// missing have their defaults (`fresh` is called at most once), the order does not matter, and
    /// integers may be longer than they need be. `O(bytes)` time, but for payloads of many keys,
    /// which are sorted once; at most a kilobyte of memory, and 64 bytes for each byte.
    ///
    /// # Errors
    /// [`DecodeError`]: a wrong type, a key that appears twice, something after the message, or a
    /// limit.
    pub fn from_msgpack(
        bytes: &[u8],
        limits: &Limits,
        fresh: impl FnOnce() -> Fresh,
    ) -> Result<Self, DecodeError> {
        msgpack::read(bytes, limits, fresh)
    }

    /// Appends the message in JSON, byte for byte as civitas writes it with this spacing.
    ///
    /// # Errors
    /// [`EncodeError`] if it is beyond a limit, or if the payload has bytes; then nothing is
    /// appended.
    pub fn write_json(
        &self,
        spacing: Spacing,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        json::write(self, spacing, limits, out)
    }

    /// As [`Message::write_json`], into a vector of its own.
    ///
    /// # Errors
    /// As there.
    pub fn to_json(&self, spacing: Spacing, limits: &Limits) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(512);
        self.write_json(spacing, limits, &mut out)?;
        Ok(out)
    }

    /// Reads a message in JSON of any spacing, with the rules of [`Message::from_msgpack`].
    ///
    /// # Errors
    /// As there; the tokens `NaN` and `Infinity`, and half of a surrogate pair, are refused too.
    pub fn from_json(
        bytes: &[u8],
        limits: &Limits,
        fresh: impl FnOnce() -> Fresh,
    ) -> Result<Self, DecodeError> {
        json::read(bytes, limits, fresh)
    }
}

/// What a format must offer to read a message from. `of` names the field, for errors.
pub(crate) trait Source<'a> {
    /// Where the next byte is.
    fn at(&self) -> usize;
    /// The beginning of the message: how many keys follow, if the format says so.
    fn begin(&mut self) -> Result<(), DecodeError>;
    /// The next key, or the end of the message.
    fn key(&mut self) -> Result<Option<std::borrow::Cow<'a, str>>, DecodeError>;
    /// Passes over a null, if there is one.
    fn null(&mut self) -> Result<bool, DecodeError>;
    fn text(&mut self, of: &'static str) -> Result<String, DecodeError>;
    fn integer(&mut self, of: &'static str) -> Result<i64, DecodeError>;
    fn float(&mut self, of: &'static str) -> Result<Float, DecodeError>;
    fn payload(&mut self) -> Result<Map, DecodeError>;
    /// Passes over a value, which must be one that could be read.
    fn skip(&mut self) -> Result<(), DecodeError>;
}

/// Reads a message, and leaves the source behind it.
pub(crate) fn read<'a, S: Source<'a>>(
    source: &mut S,
    fresh: impl FnOnce() -> Fresh,
) -> Result<Message, DecodeError> {
    let mut message = Message::empty();
    let mut seen = 0_u16;
    let mut expected = 0;
    let mut unknown = std::collections::BTreeSet::new();
    source.begin()?;
    loop {
        let at = source.at();
        let Some(key) = source.key()? else { break };
        // Whoever writes all of them in order is read without a search.
        let index = if KEYS.get(expected).is_some_and(|known| *known == key) {
            Some(expected)
        } else {
            KEYS.iter().position(|known| *known == key)
        };
        let is_new = match index {
            Some(index) => {
                let bit = 1 << index;
                let is_new = seen & bit == 0;
                seen |= bit;
                expected = index + 1;
                is_new
            }
            None => unknown.insert(key),
        };
        if !is_new {
            return Err(DecodeError::new(at, Fault::DuplicateKey));
        }
        match index {
            Some(index) => fill(&mut message, index, source)?,
            None => source.skip()?,
        }
    }
    let missing = |index: usize| seen & (1 << index) == 0;
    if missing(KIND) {
        "message".clone_into(&mut message.kind);
    }
    if missing(ID) || missing(TIMESTAMP) {
        let fresh = fresh();
        if missing(ID) {
            message.id = fresh.id.to_string();
        }
        if missing(TIMESTAMP) {
            message.timestamp = fresh.timestamp;
        }
    }
    Ok(message)
}

fn fill<'a, S: Source<'a>>(
    message: &mut Message,
    index: usize,
    source: &mut S,
) -> Result<(), DecodeError> {
    let of = KEYS[index];
    match index {
        0 => message.schema_version = source.integer(of)?,
        1 => message.id = source.text(of)?,
        2 => message.kind = source.text(of)?,
        3 => message.sender = source.text(of)?,
        4 => message.recipient = source.text(of)?,
        5 => message.correlation_id = if source.null()? { None } else { Some(source.text(of)?) },
        6 => message.reply_to = if source.null()? { None } else { Some(source.text(of)?) },
        7 => message.payload = source.payload()?,
        8 => message.timestamp = source.float(of)?,
        9 => message.trace_id = source.text(of)?,
        10 => message.span_id = source.text(of)?,
        11 => message.parent_span_id = if source.null()? { None } else { Some(source.text(of)?) },
        12 => message.attempt = source.integer(of)?,
        13 => message.priority = source.integer(of)?,
        14 => message.ttl = if source.null()? { None } else { Some(source.float(of)?) },
        _ => message.seq = if source.null()? { None } else { Some(source.integer(of)?) },
    }
    Ok(())
}

/// Whether a key is there twice; a list that is long is sorted first.
pub(crate) fn has_duplicates(entries: &[(String, crate::value::Value)]) -> bool {
    /// Up to here comparing all with all is faster than sorting.
    const FEW: usize = 12;
    if entries.len() <= FEW {
        let earlier = |at: usize| entries[..at].iter().any(|(key, _)| *key == entries[at].0);
        return (1..entries.len()).any(earlier);
    }
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

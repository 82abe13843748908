//! Bytes to messages and back, signed or not, and what a payload is on either side.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use lictor_runtime::Value;
use lictor_runtime::transport::Frame;
use lictor_wire::{Ambient, Fresh, Limits, Map, Message, Spacing, Uuid};

use crate::signing::Signing;

/// In what form messages travel. All processes at one broker use the same, as civitas' do
/// (`AGENCY_SERIALIZER`); signed ones are always MessagePack.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// As civitas by default.
    #[default]
    MessagePack,
    /// As civitas with `AGENCY_SERIALIZER=json`.
    Json,
}

/// Why bytes are no message for us.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Rejected {
    /// They cannot be read.
    Malformed(String),
    /// Their signature does not hold, or is missing.
    Unsigned(String),
}

impl Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "not a message: {why}"),
            Self::Unsigned(why) => write!(f, "not trusted: {why}"),
        }
    }
}

/// A message that was read.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) message: Message,
    /// Its sender is who it says, as far as anything is known of senders: signed where signing is
    /// on, and without it always.
    pub(crate) is_sure: bool,
}

/// Writes and reads the messages of one node.
#[derive(Debug)]
pub(crate) struct Codec {
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) format: Format,
    pub(crate) signing: Option<Signing>,
}

impl Codec {
    /// A new message's id and time; `None` if the host has no random bytes to give.
    pub(crate) fn fresh(&self) -> Option<Fresh> {
        let time = self.ambient.unix_time();
        Some(Fresh { id: self.uuid()?, timestamp: time.as_seconds() })
    }

    /// An id that nobody can guess.
    pub(crate) fn uuid(&self) -> Option<Uuid> {
        let nonce = self.ambient.nonce()?;
        let (random, _) = nonce.split_first_chunk::<10>()?;
        Some(Uuid::v7(self.ambient.unix_time(), *random))
    }

    /// The bytes of a message.
    ///
    /// # Errors
    /// What is wrong with it: too large, too deep, or nobody to sign it.
    pub(crate) fn encode(&self, message: &Message) -> Result<Frame, String> {
        let limits = &Limits::DEFAULT;
        let bytes = match (&self.signing, self.format) {
            (Some(signing), _) => return signing.seal(message, &*self.ambient),
            (None, Format::MessagePack) => message.to_msgpack(limits),
            (None, Format::Json) => message.to_json(Spacing::Compact, limits),
        };
        bytes.map(Frame::new).map_err(|error| error.to_string())
    }

    /// The message in some bytes that came at an address.
    pub(crate) fn decode(&self, address: &str, bytes: &[u8]) -> Result<Heard, Rejected> {
        let no_entropy = || Rejected::Malformed("the host has no random bytes".to_owned());
        let fresh = self.fresh().ok_or_else(no_entropy)?;
        let limits = &Limits::DEFAULT;
        let read = match (&self.signing, self.format) {
            (Some(signing), _) => return signing.open(bytes, address, fresh, &*self.ambient),
            (None, Format::MessagePack) => Message::from_msgpack(bytes, limits, || fresh),
            (None, Format::Json) => Message::from_json(bytes, limits, || fresh),
        };
        read.map(|message| Heard { message, is_sure: true })
            .map_err(|error| Rejected::Malformed(error.to_string()))
    }

    /// How long a message has been on its way, by the clocks of both ends; never negative.
    pub(crate) fn age(&self, message: &Message) -> f64 {
        (self.ambient.unix_time().as_seconds().get() - message.timestamp.get()).max(0.0)
    }
}

/// What is a map there. A payload that is none is its only entry, `value`; nothing is an empty map.
///
/// # Errors
/// A number that no message can carry.
pub(crate) fn to_payload(value: Value) -> Result<Map, String> {
    let value = match value {
        Value::Null => Value::Object(serde_json::Map::new()),
        Value::Object(map) => Value::Object(map),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            serde_json::json!({ "value": other })
        }
    };
    Map::try_from(value).map_err(|error| error.to_string())
}

/// What is JSON here.
///
/// # Errors
/// Bytes, which JSON does not have.
pub(crate) fn from_payload(payload: Map) -> Result<Value, String> {
    Value::try_from(payload).map_err(|error| error.to_string())
}

/// A text of a payload, if it is one.
pub(crate) fn text<'a>(payload: &'a Map, key: &str) -> Option<&'a str> {
    match payload.get(key)? {
        lictor_wire::Value::Text(text) => Some(text),
        lictor_wire::Value::Null
        | lictor_wire::Value::Bool(_)
        | lictor_wire::Value::Int(_)
        | lictor_wire::Value::Float(_)
        | lictor_wire::Value::Bytes(_)
        | lictor_wire::Value::List(_)
        | lictor_wire::Value::Map(_) => None,
    }
}

/// A natural number of a payload: what is missing is 0, what is none is `None`.
pub(crate) fn natural(payload: &Map, key: &str) -> Option<u64> {
    match payload.get(key) {
        None | Some(lictor_wire::Value::Null) => Some(0),
        Some(lictor_wire::Value::Int(number)) => number.as_u64(),
        Some(
            lictor_wire::Value::Bool(_)
            | lictor_wire::Value::Float(_)
            | lictor_wire::Value::Text(_)
            | lictor_wire::Value::Bytes(_)
            | lictor_wire::Value::List(_)
            | lictor_wire::Value::Map(_),
        ) => None,
    }
}

//! What goes over a wire between two runtimes, and its bytes.
//!
//! One byte of version, then MessagePack, structs as arrays: less to write and to read than JSON,
//! which was version 1. Nothing that comes in is trusted: what does not parse to its end is an
//! error, what is too deep or too long is refused before it is sent, and names are checked where
//! they are interned. It is the format between our own runtimes of one version only.
//!
//! What a stream keeps stays JSON: operators read dead letters, and what was stored before an
//! upgrade is handled after it.

mod remote;

use std::sync::Arc;

use lictor_kernel::membership::Summary;
use lictor_kernel::{ChildKind, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use self::remote::Remote;
use crate::error::SendError;
use crate::message::Value;
use crate::peers::{LANES, Place};
use crate::reply::ReplyFailure;
use crate::transport::{FRAME_BYTES_MAX, Frame};

const VERSION: u8 = 2;

/// Of what a stream keeps.
const VERSION_STORED: u8 = 1;

/// The deepest payload.
const DEPTH_MAX: usize = 100;

/// The deepest frame that is read: the envelope takes a few.
const DEPTH_READ: usize = 128;

/// A frame, decoded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Body {
    Hello {
        epoch: u64,
        seq: u64,
    },
    Probe {
        epoch: u64,
        seq: u64,
    },
    Alive {
        epoch: u64,
        seq: u64,
        count: u64,
        digest: u64,
    },
    Claim(Claim),
    Withdraw {
        epoch: u64,
        name: String,
        incarnation: u64,
    },
    Bye {
        epoch: u64,
    },
    Remote(Remote),
    Post(Post),
    Answer(Answer),
    Dead(Dead),
    /// How far the sender of this is with what was sent to it.
    Credit(Credit),
    /// How much the sender of this has sent, and that it waits to hear how far the other is.
    HowFar(Credit),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) epoch: u64,
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    pub(crate) status: WireStatus,
    pub(crate) is_supervisor: bool,
    pub(crate) capabilities: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum WireStatus {
    Starting,
    Up,
    Restarting,
    Suspended,
    Down,
}

/// What carries messages says from which boot to which, and its number, so that it is taken once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) number: u64,
}

/// A message for an agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) stamp: Stamp,
    pub(crate) to: String,
    pub(crate) kind: String,
    pub(crate) payload: Value,
    pub(crate) sender: Option<String>,
    pub(crate) priority: bool,
    /// How long it may wait for room, and for its answer, in nanoseconds; `None` for ever.
    pub(crate) wait: Option<u64>,
    /// How long it may wait to be handled, in nanoseconds.
    pub(crate) ttl: Option<u64>,
    /// The sender's call, if it wants an answer.
    pub(crate) call: Option<u64>,
    /// Its lane, and its number there.
    pub(crate) lane: u8,
    pub(crate) number: u64,
}

/// Numbers of lanes, from one boot to another. Neither numbered nor acknowledged: a later one says
/// all that an earlier one has said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Credit {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) lanes: Vec<(u8, u64)>,
}

impl Credit {
    pub(crate) fn new(from: u64, to: u64, places: &[Place]) -> Self {
        let lanes = places.iter().map(|place| (place.lane, place.number)).collect();
        Self { from, to, lanes }
    }

    /// At most one for each lane.
    pub(crate) fn places(&self) -> Vec<Place> {
        let places = self.lanes.iter().take(LANES);
        places.map(|(lane, number)| Place { lane: *lane, number: *number }).collect()
    }
}

/// What became of a call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) stamp: Stamp,
    pub(crate) call: u64,
    pub(crate) result: Result<Value, Failure>,
}

/// A message without a call was not taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Dead {
    pub(crate) stamp: Stamp,
    pub(crate) to: String,
    pub(crate) why: Failure,
}

/// A [`ReplyFailure`] on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Unanswered,
    Crashed,
    Stopped,
    Down,
    Killed,
    Evicted,
    Skipped,
    Unencodable,
    Expired,
    NoConnection,
    NotUnderstood,
    Refused,
}

macro_rules! same {
    ($from:ty, $to:ty, $($variant:ident)*) => {
        impl From<$from> for $to {
            fn from(from: $from) -> Self {
                match from {
                    $(<$from>::$variant => Self::$variant,)*
                }
            }
        }
    };
}

use same;

same!(Status, WireStatus, Starting Up Restarting Suspended Down);
same!(WireStatus, Status, Starting Up Restarting Suspended Down);
same!(ReplyFailure, Failure, Unanswered Crashed Stopped Down Killed Evicted Skipped Unencodable
    Expired NoConnection NotUnderstood Refused);
same!(Failure, ReplyFailure, Unanswered Crashed Stopped Down Killed Evicted Skipped Unencodable
    Expired NoConnection NotUnderstood Refused);

/// Why a body cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EncodeError {
    TooDeep,
    TooLarge { bytes: usize },
}

impl EncodeError {
    /// What the sender of a message to this name is told.
    pub(crate) fn of(self, name: &Arc<str>) -> SendError {
        let name = Arc::clone(name);
        match self {
            Self::TooDeep => SendError::NotUnderstood {
                name,
                detail: "its payload is nested too deep for a wire".to_owned(),
            },
            Self::TooLarge { bytes } => SendError::TooLarge { name, bytes, most: FRAME_BYTES_MAX },
        }
    }
}

impl Body {
    pub(crate) fn encode(&self) -> Result<Frame, EncodeError> {
        if let Self::Post(Post { payload, .. }) | Self::Answer(Answer { result: Ok(payload), .. }) =
            self
        {
            encodable(payload)?;
        }
        packed(self)
    }

    /// Of what two boots say to each other; `None` for all that is said to whoever is there, and
    /// for what has a stamp of its own kind.
    pub(crate) const fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Post(Post { stamp, .. })
            | Self::Answer(Answer { stamp, .. })
            | Self::Dead(Dead { stamp, .. }) => Some(*stamp),
            Self::Hello { .. }
            | Self::Probe { .. }
            | Self::Alive { .. }
            | Self::Claim(_)
            | Self::Withdraw { .. }
            | Self::Bye { .. }
            | Self::Remote(_)
            | Self::Credit(_)
            | Self::HowFar(_) => None,
        }
    }

    /// `None` for anything that is not a frame of this version.
    pub(crate) fn decode(frame: &Frame) -> Option<Self> {
        unpacked(frame)
    }
}

/// Whether a payload can be read again.
pub(crate) fn encodable(payload: &Value) -> Result<(), EncodeError> {
    if is_shallow(payload) { Ok(()) } else { Err(EncodeError::TooDeep) }
}

/// The version, then MessagePack.
fn packed<T: Serialize>(value: &T) -> Result<Frame, EncodeError> {
    // Most frames fit, and one that does not costs a second allocation.
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VERSION);
    // Writing to memory does not fail, and our types have nothing that cannot be written.
    let written = value.serialize(&mut rmp_serde::Serializer::new(&mut bytes));
    assert!(written.is_ok(), "a frame can be MessagePack");
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: bytes.len() });
    }
    Ok(Frame::new(bytes))
}

/// And back; `None` for anything else, and for anything behind it.
fn unpacked<T: DeserializeOwned>(frame: &Frame) -> Option<T> {
    let (version, mut rest) = frame.as_bytes().split_first()?;
    if *version != VERSION || rest.len() >= FRAME_BYTES_MAX {
        return None;
    }
    let mut reader = rmp_serde::Deserializer::new(&mut rest);
    reader.set_max_depth(DEPTH_READ);
    let value = T::deserialize(&mut reader).ok()?;
    rest.is_empty().then_some(value)
}

/// For a stream: its version, then JSON.
pub(crate) fn stored<T: Serialize>(value: &T) -> Result<Frame, EncodeError> {
    let mut bytes = vec![VERSION_STORED];
    // Writing to memory does not fail, and neither do our types: keys are texts.
    let written = serde_json::to_writer(&mut bytes, value);
    assert!(written.is_ok(), "a frame can be JSON");
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: bytes.len() });
    }
    Ok(Frame::new(bytes))
}

/// And back; `None` for anything else.
pub(crate) fn of_stored<T: DeserializeOwned>(frame: &Frame) -> Option<T> {
    let (version, json) = frame.as_bytes().split_first()?;
    if *version != VERSION_STORED || json.len() >= FRAME_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(json).ok()
}

pub(crate) const fn kind_of(is_supervisor: bool) -> ChildKind {
    if is_supervisor { ChildKind::Supervisor } else { ChildKind::Worker }
}

pub(crate) const fn summary_of(count: u64, digest: u64) -> Summary {
    Summary { count, digest }
}

/// Whether a payload can be read again. Looks no deeper than it must.
fn is_shallow(payload: &Value) -> bool {
    let mut level: Vec<&Value> = vec![payload];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for value in level {
            match value {
                Value::Array(values) => below.extend(values),
                Value::Object(fields) => below.extend(fields.values()),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        if below.is_empty() {
            return true;
        }
        level = below;
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn post(payload: Value) -> Body {
        let stamp = Stamp { from: 1, to: u64::MAX, number: 3 };
        let (to, kind, sender) = ("a".to_owned(), "k".to_owned(), Some("b".to_owned()));
        let (wait, ttl, call, lane, number) = (Some(0), None, Some(u64::MAX), 7, 9);
        let priority = true;
        Body::Post(Post {
            stamp,
            to,
            kind,
            payload,
            sender,
            priority,
            wait,
            ttl,
            call,
            lane,
            number,
        })
    }

    fn nested(depth: usize) -> Value {
        (1..depth).fold(json!([]), |value, _| json!([value]))
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let all = json!({ "a": [null, true, -1, u64::MAX, i64::MIN, 0.5, "\u{1F600}\0"], "": {} });
        let stamp = Stamp { from: 1, to: 2, number: 3 };
        let failed = Answer { stamp, call: 1, result: Err(Failure::Killed) };
        let answered = Answer { stamp, call: 1, result: Ok(all.clone()) };
        let credit = Credit { from: 1, to: 2, lanes: vec![(0, 1), (255, u64::MAX)] };
        for body in [
            post(all),
            post(nested(DEPTH_MAX)),
            Body::Answer(failed),
            Body::Answer(answered),
            Body::Credit(credit),
            Body::Bye { epoch: 0 },
        ] {
            let frame = body.encode().expect("it can be sent");
            assert_eq!(Body::decode(&frame), Some(body));
        }
    }

    #[test]
    fn nothing_shorter_and_nothing_longer_is_read() {
        let frame = post(json!({ "a": [1, 2] })).encode().expect("it can be sent");
        let bytes = frame.as_bytes();
        for end in 0..bytes.len() {
            assert_eq!(Body::decode(&Frame::new(&bytes[..end])), None, "{end}");
        }
        assert_eq!(Body::decode(&Frame::new([bytes, &[0xc0]].concat())), None, "one more");
        let old = [&[1], &bytes[1..]].concat();
        assert_eq!(Body::decode(&Frame::new(old)), None, "another version");
    }

    #[test]
    fn what_is_too_deep_is_neither_sent_nor_read() {
        assert_eq!(post(nested(DEPTH_MAX + 1)).encode(), Err(EncodeError::TooDeep));
        let deep = packed(&post(nested(DEPTH_READ + 1))).expect("it is small");
        assert_eq!(Body::decode(&deep), None);
        // What claims to be long is not set aside before it is there.
        for header in [[0xdd, 0xff, 0xff, 0xff, 0xff], [0xdb, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(unpacked::<Value>(&Frame::new([&[VERSION], &header[..]].concat())), None);
        }
    }
}

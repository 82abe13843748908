//! What goes over a wire between two runtimes, and its bytes.
//!
//! One byte of version, then JSON. Nothing that comes in is trusted: what does not parse is an
//! error, what is too deep or too long is refused before it is sent, and names are checked where
//! they are interned. It is the format between our own runtimes of one version only.

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

const VERSION: u8 = 1;

/// The deepest payload. What reads JSON gives up at 128, of which the envelope takes a few.
const DEPTH_MAX: usize = 100;

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
        json_frame(self)
    }

    /// `None` for anything that is not a frame of this version.
    pub(crate) fn decode(frame: &Frame) -> Option<Self> {
        json_of(frame)
    }
}

/// Whether a payload can be read again.
pub(crate) fn encodable(payload: &Value) -> Result<(), EncodeError> {
    if is_shallow(payload) { Ok(()) } else { Err(EncodeError::TooDeep) }
}

/// The version, then JSON.
pub(crate) fn json_frame<T: Serialize>(value: &T) -> Result<Frame, EncodeError> {
    let mut bytes = vec![VERSION];
    // Writing to memory does not fail, and neither do our types: keys are texts.
    let written = serde_json::to_writer(&mut bytes, value);
    assert!(written.is_ok(), "a frame can be JSON");
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: bytes.len() });
    }
    Ok(Frame::new(bytes))
}

/// And back; `None` for anything else.
pub(crate) fn json_of<T: DeserializeOwned>(frame: &Frame) -> Option<T> {
    let (version, json) = frame.as_bytes().split_first()?;
    if *version != VERSION || json.len() >= FRAME_BYTES_MAX {
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

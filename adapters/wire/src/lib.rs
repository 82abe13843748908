//! Messages as bytes.
//!
//! A [`Message`] is what civitas sends: sixteen fields, in MessagePack or in JSON, and this crate
//! writes it byte for byte as civitas does. Reading is tolerant of what a peer may leave out or
//! add, and strict with everything that a stranger may send: sizes, depth, types, keys that appear
//! twice, bytes after the end.
#![forbid(unsafe_code)]

mod error;
mod json;
mod key;
mod keyring;
mod limits;
mod message;
mod msgpack;
mod refusal;
mod sealed;
mod signed;
mod time;
mod transport;
mod uuid;
mod value;

pub use error::{DecodeError, EncodeError, Fault};
pub use json::Spacing;
pub use key::{KeyError, PublicKey, SecretKey};
pub use keyring::{KEYS_PER_NAME_MAX, Keyring, KeyringFull, NODES_MAX, SIGNERS_MAX};
pub use limits::Limits;
pub use message::{Fresh, Message};
pub use refusal::Refusal;
pub use sealed::{OVERHEAD_MAX, Opener, REORDER_MAX, Sealed, Sealer, Window};
pub use signed::{Opened, Policy, SealError, SigningKeys, Unsigned, Verifier};
pub use time::{Ambient, UnixTime};
pub use transport::{SealCounters, SealedTransport, frame_limits, node_name};
pub use uuid::Uuid;
pub use value::{ConvertError, Float, Int, Map, Value};

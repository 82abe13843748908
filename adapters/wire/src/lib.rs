//! Messages as bytes.
//!
//! A [`Message`] is what civitas sends: sixteen fields, in MessagePack or in JSON, and this crate
//! writes it byte for byte as civitas does. Reading is tolerant of what a peer may leave out or
//! add, and strict with everything that a stranger may send: sizes, depth, types, keys that appear
//! twice, bytes after the end.
//!
//! ```
//! use lictor_wire::{Fresh, Limits, Message, UnixTime, Uuid};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = UnixTime::from_millis(1_700_000_000_123);
//! let fresh = Fresh { id: Uuid::v7(now, [7; 10]), timestamp: now.as_seconds() };
//! let message = Message::new(fresh, "order", [("pieces", 3_i64)]).between("shop", "store");
//! let bytes = message.to_msgpack(&Limits::DEFAULT)?;
//! assert_eq!(Message::from_msgpack(&bytes, &Limits::DEFAULT, || fresh)?, message);
//! # Ok(())
//! # }
//! ```
//!
//! What is signed goes in an envelope: [`SigningKeys`] and [`Verifier`] make and open that of
//! civitas (`v` = 2), [`Sealer`] and [`Opener`] a stricter one between our own nodes (`v` = 3), and
//! [`SealedTransport`] puts the latter around any transport. Whose key counts for whom is in a
//! [`Keyring`].
//!
//! The crate is pure: it is told the time of day and given its randomness ([`Ambient`]), so that
//! all of it runs in a simulation as well. Only `system`, a feature, has a clock, entropy and key
//! files.
#![forbid(unsafe_code)]

mod error;
pub mod fuzz;
mod json;
mod key;
mod keyfile;
mod keyring;
mod limits;
mod message;
mod msgpack;
mod refusal;
mod sealed;
mod signed;
#[cfg(feature = "system")]
pub mod system;
mod time;
mod transport;
mod uuid;
mod value;

pub use error::{DecodeError, EncodeError, Fault};
pub use json::Spacing;
pub use key::{KeyError, PublicKey, SecretKey};
pub use keyfile::{OldKey, OldKeysError, read_old_keys, write_old_keys};
pub use keyring::{KEYS_PER_NAME_MAX, Keyring, KeyringFull, NODES_MAX, SIGNERS_MAX};
pub use limits::Limits;
pub use message::{Fresh, Message};
pub use refusal::Refusal;
pub use sealed::{OVERHEAD_MAX, Opener, REORDER_MAX, Sealed, Sealer, Window};
pub use signed::{Opened, Policy, SealError, SigningKeys, Unsigned, Verifier};
pub use time::{Ambient, UnixTime};
pub use transport::{Refused, SealCounters, SealedTransport, frame_limits, node_name};
pub use uuid::Uuid;
pub use value::{ConvertError, Float, Int, Map, Value};

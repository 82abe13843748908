//! CURVE: both ends prove who they are, and nobody between them reads or changes a byte.
//!
//! RFC 25 and 26 of ZeroMQ: each connection makes a pair of keys of its own, which the long-term
//! keys only vouch for. The boxes are `NaCl`'s (X25519, `XSalsa20`, Poly1305), put together here
//! from their three parts: the crate that has them ready-made brings a second generation of that
//! curve into the tree.
//!
//! The cookie of the server is random bytes, not its sealed state as in the RFC: that is for
//! servers that keep no state between two steps, and a stream has state in any case.

mod handshake;
mod key;
mod sealed;
mod session;
mod z85;

pub(crate) use handshake::{Client, Server};
pub use key::{KeyError, PublicKey, SecretKey};
pub(crate) use session::Session;

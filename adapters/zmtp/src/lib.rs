//! ZeroMQ's wire as pure state machines: ZMTP 3.1, as far as publishing and subscribing goes.
//!
//! ```text
//!   stream  ── handle_input(now, bytes, &mut wire, &mut events) ──▶  Connection
//!           ◀── wire: what must be written, in order                     │
//!           ◀──────────── poll_timeout() ─────────────                   │ events: Open, Message,
//!           ── handle_timeout(now, &mut wire) ──▶                        │ Subscribe, Cancel
//!                                                                        ▼
//!                                                   Fanout: who wants what, a queue for each
//!                                                   Upstream: what is wanted of whom
//!                                                   Proxy: both, back to back
//! ```
//!
//! Nothing here reads a clock, draws entropy or does I/O: time and randomness are arguments, as in
//! the kernel. Hence the same wire runs on tokio, in simulated networks and under a fuzzer.
//!
//! Peers are not trusted. Every length is checked against [`Limits`] before a byte of it is kept,
//! every queue and table has a bound in [`FanoutLimits`], and whatever a peer does wrong ends its
//! own [`Connection`] with a [`ConnectionError`] and nothing else. What is there of ZMTP: greetings
//! of 3.0 and 3.1, NULL and CURVE, PUB, SUB, XPUB and XSUB, subscriptions in both of their forms,
//! heartbeats. What is not: PLAIN and GSSAPI, other sockets, versions below 3.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod command;
mod config;
mod connection;
mod curve;
mod error;
mod fanout;
mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod greeting;
mod message;
mod proxy;
mod subscriptions;
mod upstream;

pub use config::{Allow, Config, ConfigError, Heartbeat, Limits, Security, SocketType};
pub use connection::{Connection, Event, NotOpen, Peer};
pub use curve::{KeyError, PublicKey, SecretKey};
pub use error::ConnectionError;
pub use fanout::{AddPeerError, Fanout, FanoutLimits, PeerId, Published, SubscribeError, Tally};
pub use message::{Message, Parts};
pub use proxy::Proxy;
pub use subscriptions::Wish;
pub use upstream::Upstream;

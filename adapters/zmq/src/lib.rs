//! Lictor over ZeroMQ: messages between processes of one machine or one network.
//!
//! All processes meet at a forwarder with two sides: every one publishes to one side and hears from
//! the other. [`ZmqBroker`] is a process's client of it, [`ZmqProxy`] is the forwarder. Their wire
//! is our own `lictor-zmtp`, so this crate only moves bytes; libzmq, and civitas on it, can be at
//! the other end of any of its connections. What is where on that wire is civitas': two frames, the
//! address with a zero byte after it, and the content; a subscription is an address with that
//! byte, or a prefix without it.
//!
//! - **Nobody is waited for.** A queue that is full refuses, or drops and counts; see [`Counters`].
//! - **Both directions reconnect**, each by itself, after waits that grow and carry jitter. What
//!   waits to be published is kept within its bound meanwhile.
//! - **Readiness is proved** by a message to ourselves that has gone through the forwarder after
//!   all subscriptions, so it proves them too. The alternative, a pause, is what slow joiners are
//!   lost in.
//! - **Publishing is not filtered here**: what the forwarder does not need it drops. A publisher
//!   that filters loses what it sends before it has heard of a subscription.
//! - **A bad frame ends its own connection**, and a bad message is passed over and counted.
//!
//! The code runs wherever tokio does. Which network it runs on is a [`Network`]: the machine's, or
//! a simulated one in tests.
//!
//! ```no_run
//! use lictor_zmq::{ZmqBroker, ZmqConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ZmqConfig { start_proxy: true, ..ZmqConfig::new() };
//! let broker = ZmqBroker::new(config)?;
//! # let _ = broker;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod bell;
mod broker;
mod config;
mod counters;
mod drive;
mod endpoint;
mod network;
mod proxy;

pub use broker::ZmqBroker;
pub use config::{CurveConfig, Engine, RetryConfig, ZmqConfig, ZmqError};
pub use counters::Counters;
pub use endpoint::{Endpoint, EndpointError};
pub use lictor_zmtp::{Allow, FanoutLimits, Heartbeat, KeyError, Limits, PublicKey, SecretKey};
pub use network::{Network, TokioListener, TokioNetwork, TokioStream};
pub use proxy::{ProxyConfig, ZmqProxy};

/// The examples of the manual.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/zeromq.md")]
struct Manual;

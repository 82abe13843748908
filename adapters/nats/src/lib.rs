//! Lictor on NATS: the broker between nodes, and at-least-once delivery on `JetStream`.
//!
//! [`Nats`] is a [`Broker`](lictor_runtime::broker::Broker): at most once, to whoever is there.
//! [`JetStream`] is a [`Durable`](lictor_runtime::durable::Durable): at least once, kept for who is
//! not there. They run on tokio and on nothing else, for so does async-nats.

mod broker;
mod config;
mod jetstream;
mod link;
mod queue;
mod run;

pub use broker::{Nats, NatsCounters};
pub use config::{NatsAuth, NatsConfig, NatsError, NatsTls};
pub use jetstream::{JetStream, StreamConfig, StreamCounters};

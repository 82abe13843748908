//! Lictor on NATS: the broker between nodes, and at-least-once delivery on `JetStream`.
//!
//! [`Nats`] is a [`Broker`](lictor_runtime::broker::Broker): at most once, to whoever is there. It
//! runs on tokio and on nothing else, for so does async-nats.

mod broker;
mod config;
mod link;
mod queue;
mod run;

pub use broker::{Nats, NatsCounters};
pub use config::{NatsAuth, NatsConfig, NatsError, NatsTls};

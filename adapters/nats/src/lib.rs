//! Lictor on NATS: the broker between nodes, and at-least-once delivery on `JetStream`.
//!
//! [`Nats`] is a [`Broker`](lictor_runtime::broker::Broker): at most once, to whoever is there.
//! [`JetStream`] is a [`Durable`](lictor_runtime::durable::Durable): at least once, kept for who is
//! not there. They run on tokio and on nothing else, for so does async-nats.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use lictor_kernel::{NodeId, membership};
//! use lictor_nats::{JetStream, Nats, NatsConfig, StreamConfig};
//! use lictor_runtime::broker::{Mesh, MeshConfig};
//! use lictor_runtime::{Executor, Runtime, RuntimeConfig};
//! use lictor_tokio::TokioExecutor;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current()?);
//! let servers = NatsConfig::of(["nats://one:4222", "nats://two:4222"]);
//! let mesh = MeshConfig::new(NodeId(7));
//! let config = RuntimeConfig {
//!     transport: Some(Mesh::new(Arc::clone(&executor), Nats::new(servers.clone())?, mesh)?),
//!     durable: Some(JetStream::new(servers, StreamConfig::default())?),
//!     // Greater at every start of the node.
//!     membership: membership::Config { node: NodeId(7), epoch: 1, ..Default::default() },
//!     ..RuntimeConfig::default()
//! };
//! let runtime = Runtime::with_config(executor, config);
//! # let _ = runtime;
//! # Ok(())
//! # }
//! ```

mod broker;
mod config;
mod jetstream;
mod link;
mod queue;
mod run;
mod tls;

pub use broker::{Nats, NatsCounters};
pub use config::{NatsAuth, NatsConfig, NatsError, NatsTls};
pub use jetstream::{JetStream, StreamConfig, StreamCounters};

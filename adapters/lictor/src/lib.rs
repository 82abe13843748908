//! Supervised agents: OTP supervision, decided by a pure, deterministic kernel.
//!
//! An **agent** is a value that handles one message at a time. It hangs under a **supervisor**,
//! which starts it, restarts it when it crashes, and gives up when it crashes too often. References
//! and queued messages survive restarts.
//!
//! ```
//! use lictor::prelude::*;
//!
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! messages! { enum CounterMessage { Add(u64), Get -> u64, Crash } }
//!
//! impl Agent for Counter {
//!     type Message = CounterMessage;
//!     async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
//!         match message {
//!             CounterMessage::Add(Add(n)) => self.0 += n,
//!             CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
//!             CounterMessage::Crash(Crash) => panic!("as you wish"),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let tree = Supervisor::one_for_one("root")
//!         .max_restarts(5, secs(10))
//!         .backoff(Backoff::exponential(ms(50), secs(5)))
//!         .child("counter", Counter::default)
//!         .start(&Runtime::current()?)
//!         .await?;
//!     let counter = tree.agent::<Counter>("counter")?;
//!     counter.send(Add(2)).await?;
//!     assert_eq!(counter.ask(Get, secs(1)).await?, 2);
//!     counter.send(Crash).await?;
//!     assert_eq!(counter.ask(Get, secs(1)).await?, 0); // a fresh incarnation answered
//!     tree.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! This crate re-exports what users name and assembles the parts: `lictor-kernel` decides,
//! `lictor-runtime` carries out, `lictor-tokio` is the executor, and `lictor-topology` (feature
//! `topology`, on by default) reads trees from YAML.
//!
//! Further features: `store` (checkpoints in SQLite), `zmq` and `nats` (several processes; the
//! crates are the modules of these names), `wire` (messages as bytes, signatures, keys) and
//! `civitas` (processes of the Python package civitas under our supervisors, and ours for them).
#![forbid(unsafe_code)]

// The macro `messages!` names its helpers through this crate.
extern crate self as lictor;

mod assembly;
#[cfg(feature = "topology")]
mod from_topology;
#[cfg(feature = "topology")]
mod network;
pub mod prelude;

pub use assembly::RuntimeExt;
#[cfg(feature = "topology")]
pub use from_topology::{
    LoadError, check, check_by, load, placed_on, read_bounded, root_from_topology, set_up,
};
#[cfg(feature = "civitas")]
pub use lictor_civitas as civitas;
pub use lictor_kernel as kernel;
pub use lictor_kernel::{
    AutoShutdown, Backoff, Choice, Curve, ExitReason, Instant, Intensity, Jitter, Restart,
    Shutdown, Strategy,
};
#[cfg(feature = "nats")]
pub use lictor_nats as nats;
#[doc(hidden)]
pub use lictor_runtime::{
    __message_build, __message_decode, __message_from, __message_pattern, __message_struct,
};
pub use lictor_runtime::{
    Agent, AgentError, AgentInfo, AgentKind, AgentRef, AgentSpec, AgentTypes, AskError, Context,
    ControlError, DecodeError, Drain, DynamicSupervisor, ErrorAction, EventKind, Events, Executor,
    InHand, InHandPolicy, MemoryStore, Message, OnRootExit, Overflow, Protocol, RawRef, Recorder,
    ReplyFailure, ReplyTo, Request, Runtime, RuntimeConfig, RuntimeEvent, RuntimeStatus, SendError,
    SendOptions, Server, ServerContext, ServerMessage, Setup, StartError, StateStore, Status,
    StoreError, StoreFuture, Supervisor, Task, Terminated, TimerHandle, Transport, Tree, Value,
    WireCounters, agent, broker, durable, message, messages, reason_name, remote_agent, serde,
    strategy_name, transport,
};
#[cfg(feature = "store")]
pub use lictor_store::SqliteStore;
pub use lictor_tokio::{NoRuntime, TokioExecutor};
#[cfg(feature = "topology")]
pub use lictor_topology as topology;
#[cfg(feature = "wire")]
pub use lictor_wire as wire;
#[cfg(feature = "zmq")]
pub use lictor_zmq as zmq;
#[cfg(feature = "topology")]
pub use network::{BrokerWatch, Joined, Network, NetworkError};
/// A [`Value`] written as JSON: `json!({ "limit": 5 })`.
pub use serde_json::json;

// The programs in the README and the tour are compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
#[cfg(doctest)]
#[doc = concat!("```\n", include_str!("../examples/tour.rs"), "```")]
struct Tour;

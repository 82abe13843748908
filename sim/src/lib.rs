//! Break any topology in virtual time, shrink the failure, show it.
//!
//! A seed makes an explicit [`Plan`](plan::Plan): operations and faults at their instants. The plan
//! is what runs, what is shrunk, what is committed and what is replayed. Every engine tells what
//! happened as the same [`Record`](record::Record)s, so one set of invariants judges all of them.
#![forbid(unsafe_code)]
#![warn(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod broker;
pub mod buggify;
pub mod campaign;
mod clock;
pub mod digest;
mod disk;
mod effects;
pub mod engine;
pub mod executor;
pub mod exhaustive;
pub mod fault;
pub mod fuzz;
pub mod invariants;
mod link;
mod live;
pub mod marks;
pub mod model;
pub mod operation;
pub mod outcome;
pub mod parity;
pub mod plan;
pub mod policy;
#[cfg(feature = "proptest")]
pub mod prop;
pub mod queue;
pub mod record;
mod recorder;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod sim;
pub mod stream;
pub mod trace;
pub mod world;

pub use sim::{Failure, Sim, explore};

//! Lictor's decisions, as pure state machines.
//!
//! ```text
//!                 facts: Started, Exited, ...            ordered actions: Start, Signal, ...
//!   driver  ───────────────────────────────▶  machine  ───────────────────────────────▶  driver
//!           ── handle(now, event, &mut actions) ──▶  state  ── pushed to the caller's buffer ──▶
//!           ◀──────────────── poll_timeout() -> Option<Instant> ─────────────────
//!           ── handle_timeout(now, &mut actions) ──▶
//! ```
//!
//! Nothing in this crate reads a clock, draws entropy, does I/O, waits, logs or touches a global.
//! Time is an argument, randomness is a seeded field, reports are actions. Hence the same input
//! gives the same output on every host, and a whole machine can be cloned, compared and explored.
//!
//! Start reading at [`Supervisor`]; [`Node`] composes everything. Every rule is numbered in
//! `SEMANTICS.md` and named by a test.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::alloc_instead_of_core)]

extern crate alloc;

mod backoff;
mod calls;
mod child_spec;
pub mod dynamic_supervisor;
mod exit;
mod failure_detector;
mod glob;
mod id;
mod lifecycle;
pub mod membership;
mod names;
pub mod node;
mod phi;
mod prng;
mod registry;
pub mod remote;
mod restart_window;
mod router;
mod scratch;
pub mod supervisor;
mod table;
mod time;
pub mod tree;

pub use backoff::{Backoff, BackoffState, Curve, Jitter};
pub use calls::{BeginError, CallOutcome, Calls, Ended, ReplyOutcome};
pub use child_spec::{ChildKind, ChildSpec, Restart, Shutdown};
pub use dynamic_supervisor::DynamicSupervisor;
pub use exit::{ExitReason, Signal};
pub use failure_detector::{
    DETECTOR_WINDOW_MAX, Detection, DetectorConfig, DetectorError, FailureDetector, Health, Heard,
    PHI_MILLI_MAX, PhiAccrual,
};
pub use glob::{GLOB_BYTES_MAX, Glob, GlobError};
pub use id::{CallId, ChildId, NameId, NodeId, Pid, ProcessId, SupervisorId};
pub use lifecycle::{
    ErrorAction, ErrorDecision, Lifecycle, LifecycleState, RestartError, ResumeError,
    TransitionError,
};
pub use membership::Membership;
pub use names::{InternError, NAME_BYTES_MAX, NameError, Names};
pub use node::Node;
pub use prng::Prng;
pub use registry::{
    AnnounceError, Announcement, CAPABILITIES_MAX, Change, ChangeKind, Declaration, DeclareError,
    Entry, JoinError, Match, Merge, Owner, Registry, RegistryLimits, Status, UpdateError,
    WatchError, Watched, WatcherId,
};
pub use restart_window::{Intensity, RestartWindow, Verdict};
pub use router::{Choice, ROUND_ROBINS_MAX, Route, Router, Undeliverable};
pub use supervisor::{AutoShutdown, Strategy, Supervisor};
pub use table::{Number, Table};
pub use time::{Deadlines, Instant};
pub use tree::Tree;

//! Runtimes on simulated hosts, over simulated TCP, under faults.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod conformance;
#[allow(dead_code, reason = "what other tests use of it")]
mod harness;
mod remote;
mod scenarios;

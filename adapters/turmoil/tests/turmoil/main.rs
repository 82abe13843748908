//! Runtimes on simulated hosts, over simulated TCP, under faults.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod conformance;
mod harness;
mod remote;
mod scenarios;

//! Civitas processes that are played, byte by byte, over a broker in memory and in virtual time.
//! The real ones are in `tests/suites/civitas_peers.rs`.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod played;
mod remote;
mod serve;

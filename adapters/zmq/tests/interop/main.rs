//! Foreign peers: libzmq, through pyzmq. `LICTOR_PYTHON` names an interpreter that has it:
//! `LICTOR_PYTHON=... cargo test -p lictor-zmq --features foreign-peers --test interop_zmq`
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod peer;
mod scenarios;
#[allow(dead_code, reason = "what other binaries use of it")]
#[path = "../zmq/support.rs"]
mod support;

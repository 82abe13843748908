//! Foreign peers: libzmq, through pyzmq. `LICTOR_PYTHON` names an interpreter that has it:
//! `LICTOR_PYTHON=... cargo test -p lictor-zmq --features foreign-peers --test interop_zmq`
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[cfg(feature = "foreign-peers")]
mod peer;
#[cfg(feature = "foreign-peers")]
mod scenarios;
#[cfg(feature = "foreign-peers")]
#[path = "../zmq/support.rs"]
mod support;

/// Shown in place of what was left out, so that nobody takes it for passed.
#[cfg(not(feature = "foreign-peers"))]
#[test]
fn libzmq_was_left_out_because_the_feature_foreign_peers_is_off() {
    eprintln!("9 scenarios with libzmq were left out: see the head of this file");
}

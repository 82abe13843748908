//! Clients and forwarders of ours, over real sockets and over simulated ones.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod clients;
mod configuration;
mod conformance;
#[cfg(feature = "engine-zeromq")]
mod engine;
mod hostile;
mod simulated;
mod simulated_network;
mod support;

/// Shown in place of what was left out, so that nobody takes it for passed.
#[cfg(not(feature = "engine-zeromq"))]
#[test]
fn the_zeromq_crate_was_left_out_because_the_feature_engine_zeromq_is_off() {
    eprintln!(
        "3 tests of the engine were left out: cargo test -p lictor-zmq --features engine-zeromq"
    );
}

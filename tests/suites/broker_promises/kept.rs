//! The suite of what brokers promise, against the real things: `tests/run --test
//! broker_promises_kept`.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod clients;
mod nats;
mod played;
#[path = "../ports.rs"]
mod ports;
mod real;
#[path = "../nats_server.rs"]
mod server;
mod store;
mod suite;
mod wire;

use clients::Clients;
use played::{plays, stores};
use real::{Broking, Real, Speaking};

#[test]
fn nats_server_keeps_the_promises_of_its_model() {
    assert_eq!(plays("nats-server", nats::Nats::new), 8);
}

#[test]
fn jetstream_keeps_the_promises_of_its_model() {
    stores("JetStream", nats::JetStream::new);
}

fn plays_real(broking: Broking, speaking: Speaking) -> usize {
    let of = format!("{speaking:?} at {broking:?}");
    plays(&of, || Clients::new(Real::new(broking, speaking)))
}

#[test]
fn our_client_of_nats_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Nats, Speaking::Ours), 5);
}

#[test]
fn our_zeromq_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Ours, Speaking::Ours), 6);
}

#[test]
fn our_clients_at_libzmq_keep_the_promises_of_their_model() {
    assert_eq!(plays_real(Broking::Libzmq, Speaking::Ours), 6);
}

#[test]
fn libzmq_at_our_forwarder_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Ours, Speaking::Libzmq), 6);
}

#[test]
fn libzmq_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Libzmq, Speaking::Libzmq), 6);
}

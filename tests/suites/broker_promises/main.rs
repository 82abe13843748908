//! One suite of what brokers promise, against the models of the simulator and our wire in turmoil.
//!
//! The promises are BK1 to BK20 of `lictor_sim::broker`; `suite` and `store` are the cases, and
//! everything else is a stage on which they are played. The real brokers are in `kept.rs`. BK18 and
//! BK19 are about the inside of the model and have no case here.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod clients;
mod model;
mod played;
mod simulated;
#[path = "../../../adapters/zmq/tests/zmq/simulated_network.rs"]
mod simulated_network;
mod store;
mod suite;

use lictor_sim::broker::Medium;

use clients::Clients;
use model::Model;
use played::{plays, stores};
use simulated::Turmoil;

#[test]
fn the_model_of_nats_keeps_its_promises() {
    assert_eq!(plays("model of NATS", || Model::new(Medium::NatsCore)), 8);
}

#[test]
fn the_model_of_jetstream_keeps_its_promises() {
    stores("model of JetStream", || Model::new(Medium::JetStream));
}

#[test]
fn the_model_of_zeromq_keeps_its_promises() {
    assert_eq!(plays("model of ZeroMQ", || Model::new(Medium::ZeroMq)), 6);
}

#[test]
fn our_zeromq_in_turmoil_keeps_the_promises_of_its_model() {
    for seed in 1..=3 {
        assert_eq!(plays("ours in turmoil", || Clients::new(Turmoil::new(seed))), 4);
    }
}

//! One suite of what brokers promise, against the models of the simulator and the real things.
//!
//! The promises are BK1 to BK20 of `lictor_sim::broker`; `suite` and `store` are the cases, and
//! everything else is a stage on which they are played. Foreign programs: `tests/with-peers --test
//! broker_promises`. BK18 and BK19 are about the inside of the model and have no case here.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod clients;
mod model;
#[cfg(feature = "foreign-peers")]
mod nats;
#[cfg(feature = "foreign-peers")]
mod real;
#[cfg(feature = "foreign-peers")]
#[path = "../nats_server.rs"]
mod server;
mod simulated;
#[path = "../../../adapters/zmq/tests/zmq/simulated_network.rs"]
mod simulated_network;
mod store;
mod suite;
#[cfg(feature = "foreign-peers")]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lictor_sim::broker::Medium;

use clients::Clients;
use model::Model;
#[cfg(feature = "foreign-peers")]
use real::{Broking, Real, Speaking};
use simulated::Turmoil;
use store::{STORED, Store};
use suite::{PLAIN, Stage};

/// Plays all cases that belong to the medium, says which were left out, and gives how many not.
fn plays<S: Stage>(of: &str, mut stage: impl FnMut() -> S) -> usize {
    let mut played = 0;
    for case in PLAIN {
        let mut stage = stage();
        let medium = stage.medium();
        let rules: Vec<&str> =
            case.shows.iter().filter(|(of, _)| *of == medium).map(|(_, rule)| *rule).collect();
        if rules.is_empty() {
            continue;
        }
        if !stage.can(case.needs) {
            eprintln!("{of}: left out, for it needs {:?}: {}", case.needs, case.name);
            continue;
        }
        eprintln!("{of}: {}: {}", rules.join(", "), case.name);
        case_of(of, case.name, || (case.run)(&mut stage));
        played += 1;
    }
    played
}

fn stores<S: Store>(of: &str, mut store: impl FnMut() -> S) {
    for case in STORED {
        let mut store = store();
        eprintln!("{of}: {}: {}", case.shows.join(", "), case.name);
        case_of(of, case.name, || (case.run)(&mut store));
    }
}

/// Says which case it is that has failed.
fn case_of(of: &str, name: &str, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        eprintln!("{of} breaks: {name}");
        resume_unwind(panic);
    }
}

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

#[cfg(feature = "foreign-peers")]
#[test]
fn nats_server_keeps_the_promises_of_its_model() {
    assert_eq!(plays("nats-server", nats::Nats::new), 8);
}

#[cfg(feature = "foreign-peers")]
#[test]
fn jetstream_keeps_the_promises_of_its_model() {
    stores("JetStream", nats::JetStream::new);
}

#[test]
fn our_zeromq_in_turmoil_keeps_the_promises_of_its_model() {
    for seed in 1..=3 {
        assert_eq!(plays("ours in turmoil", || Clients::new(Turmoil::new(seed))), 4);
    }
}

#[cfg(feature = "foreign-peers")]
fn plays_real(broking: Broking, speaking: Speaking) -> usize {
    let of = format!("{speaking:?} at {broking:?}");
    plays(&of, || Clients::new(Real::new(broking, speaking)))
}

#[cfg(feature = "foreign-peers")]
#[test]
fn our_client_of_nats_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Nats, Speaking::Ours), 5);
}

#[cfg(feature = "foreign-peers")]
#[test]
fn our_zeromq_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Ours, Speaking::Ours), 6);
}

#[cfg(feature = "foreign-peers")]
#[test]
fn our_clients_at_libzmq_keep_the_promises_of_their_model() {
    assert_eq!(plays_real(Broking::Libzmq, Speaking::Ours), 6);
}

#[cfg(feature = "foreign-peers")]
#[test]
fn libzmq_at_our_forwarder_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Ours, Speaking::Libzmq), 6);
}

#[cfg(feature = "foreign-peers")]
#[test]
fn libzmq_keeps_the_promises_of_its_model() {
    assert_eq!(plays_real(Broking::Libzmq, Speaking::Libzmq), 6);
}

/// Shown in place of what was left out, so that nobody takes it for passed.
#[cfg(not(feature = "foreign-peers"))]
#[test]
fn real_brokers_were_left_out_because_the_feature_foreign_peers_is_off() {
    eprintln!("7 brokers and clients were left out: tests/with-peers --test broker_promises");
}

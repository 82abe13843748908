//! The `zeromq` crate: as an engine, and so as a peer of ours at one forwarder:
//! `cargo test -p lictor-zmq --features engine-zeromq --test engine_zeromq`
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "what other binaries use of it")]
#[path = "../zmq/support.rs"]
mod support;

use lictor_zmq::{Engine, ZmqBroker, ZmqConfig, ZmqError};

use crate::support::{come_back, config, curve, suite};

fn theirs(config: &ZmqConfig) -> ZmqConfig {
    ZmqConfig { engine: Engine::Zeromq, ..config.clone() }
}

#[test]
fn it_passes_the_suite_against_our_engine() {
    suite(config(), theirs);
}

/// Its own publisher does not: both sockets are made anew.
#[tokio::test(flavor = "multi_thread")]
async fn both_directions_come_back_after_the_forwarder_does() {
    come_back(config(), theirs, 2).await;
}

#[test]
fn what_it_cannot_do_is_refused() {
    let secure = ZmqConfig { curve: Some(curve()), ..theirs(&config()) };
    assert_eq!(ZmqBroker::new(secure).unwrap_err(), ZmqError::EngineCurve);
    for far in ["tcp://10.0.0.1:5559", "tcp://*:5559", "ipc:///tmp/x"] {
        let far = ZmqConfig { sub_addr: far.parse().unwrap(), ..theirs(&config()) };
        assert_eq!(ZmqBroker::new(far).unwrap_err(), ZmqError::EngineRemote);
    }
}

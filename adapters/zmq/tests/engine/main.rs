//! The `zeromq` crate: as an engine, and so as a peer of ours at one forwarder:
//! `cargo test -p lictor-zmq --features engine-zeromq --test engine_zeromq`
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "what other binaries use of it")]
#[path = "../zmq/support.rs"]
mod support;

use std::sync::Arc;

use lictor_runtime::conformance::{self, Clients};
use lictor_tokio::TokioExecutor;
use lictor_zmq::{Engine, ZmqBroker, ZmqConfig, ZmqError};

use crate::support::{Client, Forwarder, config, curve};

fn theirs(config: &ZmqConfig) -> ZmqConfig {
    ZmqConfig { engine: Engine::Zeromq, ..config.clone() }
}

#[test]
fn it_passes_the_suite_against_our_engine() {
    conformance::broker(|name, case| {
        eprintln!("{name}");
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        tokio.block_on(async {
            let mut config = config();
            let _forwarder = Forwarder::start(&mut config).await;
            let clients = Clients {
                executor: Arc::new(TokioExecutor::current().unwrap()),
                one: ZmqBroker::new(theirs(&config)).unwrap(),
                two: ZmqBroker::new(config).unwrap(),
                prefix: "suite".into(),
            };
            case(clients).await;
        });
    });
}

/// Its own publisher does not: both sockets are made anew.
#[tokio::test(flavor = "multi_thread")]
async fn both_directions_come_back_after_the_forwarder_does() {
    let mut config = config();
    let mut forwarder = Forwarder::start(&mut config).await;
    let mut one = Client::ready(&theirs(&config), &["one"]).await;
    let mut two = Client::ready(&config, &["two"]).await;
    for _ in 0..2 {
        forwarder.stop().await;
        one.until_lost().await;
        two.until_lost().await;
        forwarder = Forwarder::start(&mut config).await;
        one.until_ready().await;
        two.until_ready().await;
        one.publish("two", b"there").unwrap();
        two.publish("one", b"and back").unwrap();
        assert_eq!(two.message().await.1, b"there");
        assert_eq!(one.message().await.1, b"and back");
    }
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

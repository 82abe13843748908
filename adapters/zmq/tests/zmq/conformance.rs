//! The suite that every broker passes.

use std::sync::Arc;

use lictor_runtime::conformance::{self, Clients};
use lictor_tokio::TokioExecutor;
use lictor_zmq::ZmqBroker;

use crate::support::{Forwarder, config, curve};

fn suite(secure: bool) {
    conformance::broker(|name, case| {
        eprintln!("{name}");
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        tokio.block_on(async {
            let mut config = config();
            config.curve = secure.then(curve);
            let _forwarder = Forwarder::start(&mut config).await;
            let clients = Clients {
                executor: Arc::new(TokioExecutor::current().unwrap()),
                one: ZmqBroker::new(config.clone()).unwrap(),
                two: ZmqBroker::new(config).unwrap(),
                prefix: "suite".into(),
            };
            case(clients).await;
        });
    });
}

#[test]
fn a_client_passes_the_suite() {
    suite(false);
}

#[test]
fn a_client_passes_the_suite_under_curve() {
    suite(true);
}

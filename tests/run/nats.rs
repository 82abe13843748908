//! NATS as a broker, against a real nats-server.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "nats_server.rs"]
mod server;

use std::sync::Arc;

use lictor::broker::{Mesh, MeshConfig};
use lictor::kernel::NodeId;
use lictor::{Executor, TokioExecutor};
use lictor_nats::{Nats, NatsConfig};
use lictor_runtime::conformance::{self, Clients, End};
use server::Server;

fn executor() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::current().unwrap())
}

fn nats(server: &Server) -> Arc<Nats> {
    Nats::new(NatsConfig::of([server.url()])).unwrap()
}

fn on_tokio(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

#[test]
fn nats_passes_the_suite_of_brokers() {
    let server = Server::new();
    let mut number = 0;
    conformance::broker(|name, case| {
        eprintln!("case: {name}");
        number += 1;
        on_tokio(async {
            let (one, two) = (nats(&server), nats(&server));
            let prefix = format!("case{number}").into();
            case(Clients { executor: executor(), one, two, prefix }).await;
        });
    });
}

#[test]
fn the_mesh_over_nats_passes_the_suite_of_transports() {
    let server = Server::new();
    let mut number = 0;
    conformance::transport(|name, case| {
        eprintln!("case: {name}");
        number += 1;
        on_tokio(async {
            let end = |node: u64, peer: u64| {
                let peers = vec![NodeId(peer)];
                let cluster = format!("case{number}").into();
                let config = MeshConfig { peers, cluster, ..MeshConfig::new(NodeId(node)) };
                End {
                    executor: executor(),
                    transport: Mesh::new(executor(), nats(&server), config).unwrap(),
                    peer: NodeId(peer),
                    is_first: node == 1,
                }
            };
            let (one, two) = (case(end(1, 2)), case(end(2, 1)));
            let two = tokio::spawn(two);
            one.await;
            two.await.unwrap();
        });
    });
}

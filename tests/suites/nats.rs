//! NATS as a broker, against a real nats-server.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod ports;
#[path = "nats_server.rs"]
mod server;
#[path = "mesh_support.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lictor::Message;
use lictor::broker::{Broker, BrokerEvent, BrokerInbox, Mesh, MeshConfig, Subscription};
use lictor::kernel::NodeId;
use lictor::prelude::*;
use lictor::transport::Frame;
use lictor_nats::{Nats, NatsConfig};
use lictor_runtime::conformance::{self, Clients, End};
use serde_json::json;
use server::Server;
use support::{executor, get, until};
use tokio::sync::mpsc;

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
            End::both(case, executor(), |node, peer| {
                let (peers, cluster) = (vec![peer], format!("case{number}").into());
                let config = MeshConfig { peers, cluster, ..MeshConfig::new(node) };
                Mesh::new(executor(), nats(&server), config).unwrap()
            })
            .await;
        });
    });
}

async fn boot(server: &Server, node: u64) -> Runtime {
    let mesh = Mesh::new(executor(), nats(server), MeshConfig::new(NodeId(node))).unwrap();
    support::boot(mesh, node).await
}

#[test]
fn nodes_meet_over_nats_lose_each_other_with_the_server_and_meet_again() {
    on_tokio(async {
        let mut server = Server::new();
        let (one, two) = (boot(&server, 1).await, boot(&server, 2).await);
        let both = || !one.remote_names().is_empty() && !two.remote_names().is_empty();
        until("each knows the other's names", both).await;
        for number in 1..=100 {
            two.send("c1", Message::new("Add", json!(number))).await.unwrap();
        }
        assert_eq!(two.ask("c1", get(), secs(5)).await.unwrap(), json!(5050));
        server.kill();
        until("the loss is seen", || {
            one.remote_names().is_empty() && two.remote_names().is_empty()
        })
        .await;
        server.start();
        until("they meet again", both).await;
        assert_eq!(two.ask("c1", get(), secs(5)).await.unwrap(), json!(5050));
        assert_eq!(one.ask("c2", get(), secs(5)).await.unwrap(), json!(0));
        one.stop().await;
        until("a goodbye is heard", || two.remote_names().is_empty()).await;
        two.stop().await;
    });
}

/// A client that runs, and what it hears.
fn listening(
    server: &Server,
    to: Subscription,
) -> (Arc<Nats>, mpsc::UnboundedReceiver<BrokerEvent>) {
    let client = nats(server);
    client.subscribe(to).unwrap();
    let (say, heard) = mpsc::unbounded_channel();
    let inbox = BrokerInbox::new(move |event| say.send(event).is_ok());
    drop(tokio::spawn(Arc::clone(&client).run(inbox)));
    (client, heard)
}

async fn next(heard: &mut mpsc::UnboundedReceiver<BrokerEvent>) -> BrokerEvent {
    let event = tokio::time::timeout(Duration::from_secs(30), heard.recv());
    event.await.expect("nothing is said for half a minute").unwrap()
}

#[test]
fn a_burst_of_small_messages_is_heard_whole_with_the_defaults() {
    const SENT: u32 = 100_000;
    on_tokio(async {
        let server = Server::new();
        let (client, mut heard) = listening(&server, Subscription::address("burst"));
        while next(&mut heard).await != BrokerEvent::Ready {}
        for number in 0..SENT {
            let frame = Frame::new([number.to_be_bytes(); 5].concat());
            while client.publish("burst", frame.clone()) == Err(lictor::transport::SendError::Full)
            {
                tokio::task::yield_now().await;
            }
        }
        for number in 0..SENT {
            let event = next(&mut heard).await;
            let BrokerEvent::Message { frame, .. } = event else { panic!("{event:?}") };
            assert_eq!(frame.as_bytes()[..4], number.to_be_bytes());
        }
        let counters = client.counters();
        assert_eq!((counters.overrun, counters.published), (0, u64::from(SENT)));
    });
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_real_civitas_hears_us_at_its_subjects_and_we_hear_its_answer() {
    on_tokio(async {
        let server = Server::new();
        let python = std::env::var("LICTOR_PYTHON").expect("run tests/run");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/nats_echo.py");
        let mut civitas = Command::new(python)
            .arg(script)
            .arg(server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(civitas.stdout.take().unwrap()).lines();
        let question = from_hex(&lines.next().unwrap().unwrap());
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let (client, mut heard) = listening(&server, Subscription::below("_reply.lictor."));
        while next(&mut heard).await != BrokerEvent::Ready {}
        client.publish("echo", Frame::new(question)).unwrap();
        let event = next(&mut heard).await;
        let BrokerEvent::Message { address, frame } = event else { panic!("{event:?}") };
        assert_eq!(&*address, "_reply.lictor.1");
        let bytes = frame.as_bytes();
        assert!(bytes.starts_with(&[0xde, 0x00, 0x10]), "a plain message of 16 fields");
        let heard = b"\xa5heard\x07";
        assert!(bytes.windows(heard.len()).any(|window| window == heard), "{bytes:?}");
        // It ends with its input.
        drop(civitas.stdin.take());
        assert!(civitas.wait().unwrap().success());
    });
}

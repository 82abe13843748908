//! Brokers and the mesh over them, in memory and in virtual time.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "mesh_support.rs"]
mod support;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::Message;
use lictor::broker::{Broker, BrokerInbox, Mesh, MeshConfig};
use lictor::kernel::NodeId;
use lictor::prelude::*;
use lictor::transport::{Frame, Inbox, LinkEvent, Transport};
use lictor_runtime::conformance::{self, Clients, End, Hub};
use serde_json::json;
use support::{executor, get, until};

fn on_paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
}

fn mesh(broker: Arc<dyn Broker>, node: u64, peers: &[u64]) -> Arc<Mesh> {
    let peers = peers.iter().copied().map(NodeId).collect();
    Mesh::new(executor(), broker, MeshConfig { peers, ..MeshConfig::new(NodeId(node)) }).unwrap()
}

#[test]
fn the_broker_in_memory_passes_the_suite_of_brokers() {
    conformance::broker(|name, case| {
        eprintln!("case: {name}");
        on_paused(async {
            let hub = Hub::new();
            let (one, two) = (hub.client(), hub.client());
            case(Clients { executor: executor(), one, two, prefix: "case".into() }).await;
        });
    });
}

#[test]
fn the_mesh_passes_the_suite_of_transports() {
    conformance::transport(|name, case| {
        eprintln!("case: {name}");
        on_paused(async {
            let hub = Hub::new();
            End::both(case, executor(), |node, peer| mesh(hub.client(), node.0, &[peer.0])).await;
        });
    });
}

/// A wire's frames are for one node: what is said to all only says that somebody is there.
#[test]
fn a_frame_at_the_common_address_is_nobodys() {
    on_paused(async {
        let hub = Hub::new();
        let one = mesh(hub.client(), 1, &[]);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let inbox = Inbox::new(move |node, event| {
            sink.lock().unwrap().push((node, event));
            true
        });
        tokio::spawn(Arc::clone(&one).run(inbox));
        let other = hub.client();
        tokio::spawn(Arc::clone(&other).run(BrokerInbox::new(|_| true)));
        tokio::task::yield_now().await;
        let frame = || Frame::new([0, 0, 0, 0, 0, 0, 0, 2, 42]);
        other.publish("_lictor.default.all", frame()).unwrap();
        other.publish("_lictor.default.node.0000000000000001", frame()).unwrap();
        until("the second is heard", || heard.lock().unwrap().len() >= 2).await;
        tokio::time::sleep(secs(1)).await;
        let heard = heard.lock().unwrap();
        let [(NodeId(2), LinkEvent::Up), (NodeId(2), LinkEvent::Frame(frame))] = &heard[..] else {
            panic!("{heard:?}");
        };
        assert_eq!(frame.as_bytes(), [42]);
    });
}

async fn boot(hub: &Arc<Hub>, node: u64, peers: &[u64]) -> Runtime {
    support::boot(mesh(hub.client(), node, peers), node).await
}

#[test]
fn nodes_that_were_not_told_of_each_other_meet_and_a_cut_heals() {
    on_paused(async {
        let hub = Hub::new();
        let (one, two) = (boot(&hub, 1, &[]).await, boot(&hub, 2, &[]).await);
        until("each knows the other's names", || {
            !one.remote_names().is_empty() && !two.remote_names().is_empty()
        })
        .await;
        two.send("c1", Message::new("Add", json!(3))).await.unwrap();
        assert_eq!(two.ask("c1", get(), secs(1)).await.unwrap(), json!(3));
        assert_eq!(one.ask("c2", get(), secs(1)).await.unwrap(), json!(0));
        hub.cut(1, true);
        until("the cut is seen at once", || two.remote_names().is_empty()).await;
        until("and at the other end by misses", || one.remote_names().is_empty()).await;
        hub.cut(1, false);
        until("it heals", || !one.remote_names().is_empty() && !two.remote_names().is_empty())
            .await;
        assert_eq!(two.ask("c1", get(), secs(1)).await.unwrap(), json!(3));
        one.stop().await;
        until("a goodbye is heard", || two.remote_names().is_empty()).await;
        two.stop().await;
    });
}

/// Nodes that take another number at each start, for years.
#[test]
fn a_mesh_that_is_full_forgets_who_is_silent_and_nobody_else() {
    on_paused(async {
        let hub = Hub::new();
        let one = mesh(hub.client(), 1, &[2]);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let inbox = Inbox::new(move |node, event| {
            sink.lock().unwrap().push((node.0, event));
            true
        });
        tokio::spawn(Arc::clone(&one).run(inbox));
        let others = hub.client();
        tokio::spawn(Arc::clone(&others).run(BrokerInbox::new(|_| true)));
        let say = |node: u64| {
            others.publish("_lictor.default.all", Frame::new(node.to_be_bytes())).unwrap();
        };
        let knows = |node: u64| one.send(NodeId(node), Frame::new([1])).is_ok();
        tokio::time::sleep(secs(1)).await;
        // With the one that it was told of they are as many as may be.
        let last = 1000 + (1 << 12) - 2;
        (1000..=last).for_each(say);
        until("all of them are met", || knows(last)).await;
        for _ in 0..8 {
            say(7);
            tokio::time::sleep(secs(5)).await;
            say(1000);
            say(1001);
        }
        assert!(!knows(7), "the others were heard a moment ago");
        tokio::time::sleep(secs(25)).await;
        say(7);
        until("there is room for it", || knows(7)).await;
        assert!(knows(2) && knows(1000) && knows(1001), "named, or heard");
        assert!(!knows(1002) && !knows(last));
        let heard = heard.lock().unwrap();
        assert!(heard.contains(&(last, LinkEvent::Down)) && heard.contains(&(7, LinkEvent::Up)));
        assert!(!heard.contains(&(1000, LinkEvent::Down)));
    });
}

// Two runs of one file: each took the other's frames, and neither said anything.
#[test]
fn a_second_boot_of_a_node_is_noticed() {
    on_paused(async {
        let hub = Hub::new();
        let of = |boot| {
            let config = MeshConfig { boot: Some(boot), ..MeshConfig::new(NodeId(1)) };
            Mesh::new(executor(), hub.client(), config).unwrap()
        };
        let run = |mesh: &Arc<Mesh>| {
            tokio::spawn(Transport::run(Arc::clone(mesh), Inbox::new(|_, _| true)))
        };
        let minute = || tokio::time::sleep(Duration::from_secs(60));
        let one = of(7);
        let first = run(&one);
        minute().await;
        assert_eq!(one.twin(), None, "what it says itself comes back");
        let two = of(9);
        let second = run(&two);
        minute().await;
        assert_eq!((one.twin(), two.twin()), (Some(9), Some(7)));
        minute().await;
        assert_eq!(one.twin(), Some(9), "it is there still");
        second.abort();
        minute().await;
        assert_eq!(one.twin(), None, "it is gone");
        first.abort();
    });
}

#[test]
fn meshes_at_one_broker_are_apart_and_strangers_frames_do_no_harm() {
    on_paused(async {
        let hub = Hub::new();
        let one = boot(&hub, 1, &[]).await;
        let other = MeshConfig { cluster: "other".into(), ..MeshConfig::new(NodeId(2)) };
        let other = Mesh::new(executor(), hub.client(), other).unwrap();
        let run = Transport::run(other, Inbox::new(|_, _| true));
        let run = tokio::spawn(run);
        let evil = hub.client();
        let evil_run = Arc::clone(&evil).run(BrokerInbox::new(|_| true));
        let evil_run = tokio::spawn(evil_run);
        tokio::task::yield_now().await;
        let own = "_lictor.default.node.0000000000000001";
        let impostor = [1_u64.to_be_bytes().as_slice(), b"\x01{}"].concat();
        for bytes in [Vec::new(), vec![0; 7], vec![9; 8], vec![0xff; 5000], impostor] {
            for address in [own, "_lictor.default.all"] {
                evil.publish(address, Frame::new(bytes.clone())).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(one.peers().iter().all(|(_, boot)| boot.is_none()), "nobody of ours is there");
        assert_eq!(one.ask("c1", get(), secs(1)).await.unwrap(), json!(0));
        run.abort();
        evil_run.abort();
        one.stop().await;
        let cluster = MeshConfig { cluster: "a.b".into(), ..MeshConfig::new(NodeId(1)) };
        let refused = Mesh::new(executor(), hub.client(), cluster).unwrap_err().to_string();
        assert!(refused.contains("\"a.b\"") && refused.contains("byte 1"), "{refused}");
    });
}

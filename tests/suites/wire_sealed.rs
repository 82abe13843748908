//! Whole runtimes whose frames are signed, and one that has no business among them.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::wire::{
    Ambient, Keyring, Opener, SealedTransport, Sealer, SecretKey, UnixTime, Window, frame_limits,
    node_name,
};
use lictor::{Executor, Message, RuntimeConfig, TokioExecutor, Value, agent};
use lictor_runtime::conformance::Network;
use serde_json::json;

messages! { pub enum EchoMessage { Echo(u64) -> u64 } }

#[derive(Default)]
struct Echoing;

impl Agent for Echoing {
    type Message = EchoMessage;

    async fn handle(&mut self, message: EchoMessage, _: &mut Context<Self>) -> Handled {
        let EchoMessage::Echo(Echo(n), reply) = message;
        let _ = reply.send(n);
        Ok(())
    }
}

/// Paused time since an arbitrary day, and nonces by number.
#[derive(Debug)]
struct Paused(Arc<dyn Executor>, AtomicU64);

const DAY: UnixTime = UnixTime::from_millis(1_700_000_000_000);

impl Ambient for Paused {
    fn unix_time(&self) -> UnixTime {
        DAY.saturating_add(self.0.now().saturating_since(lictor::Instant::ZERO))
    }

    fn nonce(&self) -> Option<[u8; 16]> {
        Some(u128::from(self.1.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
    }
}

struct Node {
    runtime: Runtime,
    wire: Arc<SealedTransport>,
}

/// A node with an echo, `e1` on node 1, that signs with this key. Node 1 and 2 know each other's.
async fn boot(network: &Arc<Network>, node: u64, key: u8) -> Node {
    let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
    let mut keyring = Keyring::new();
    for known in [1, 2] {
        let key = SecretKey::from_seed(&[known; 32]);
        keyring.trust(node_name(NodeId(known.into())), key.public()).unwrap();
    }
    let name = node_name(NodeId(node));
    let key = SecretKey::from_seed(&[key; 32]);
    let sealer = Sealer::new(name.clone(), key, 1, Duration::from_secs(30)).unwrap();
    let opener = Opener::new(name, keyring, Window::default(), frame_limits(), DAY).unwrap();
    let ambient = Arc::new(Paused(Arc::clone(&executor), AtomicU64::new(node << 32)));
    let peers = (1..=3).map(NodeId).filter(|peer| peer.0 != node).collect();
    let inner = network.transport(NodeId(node), peers);
    let wire = Arc::new(SealedTransport::new(inner, sealer, opener, ambient));
    let config = RuntimeConfig {
        transport: Some(Arc::<SealedTransport>::clone(&wire)),
        membership: membership::Config {
            node: NodeId(node),
            epoch: 1,
            ..membership::Config::default()
        },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(executor, config);
    let echo = agent(format!("e{node}"), Echoing::default);
    runtime.start(Supervisor::one_for_one("root").agent(echo)).await.unwrap();
    Node { runtime, wire }
}

// Defects: Z23a, Z23c
#[test]
fn nodes_that_know_each_other_talk_and_a_stranger_is_not_heard() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(async {
        let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
        let network = Network::new(executor, 1);
        let (one, two) = (boot(&network, 1, 1).await, boot(&network, 2, 2).await);
        // It says that it is node 3, and signs with a key of its own.
        let stranger = boot(&network, 3, 9).await;
        tokio::time::sleep(secs(3)).await;
        let ask = |name: &'static str| {
            let question = Message::new("Echo", json!(7));
            async { one.runtime.ask(name, question, secs(1)).await }
        };
        assert_eq!(ask("e2").await.unwrap(), Value::from(7));
        assert_eq!(one.runtime.remote_names(), [("e2".into(), NodeId(2))]);
        assert!(ask("e3").await.is_err(), "nobody has heard of it");
        let counters = one.wire.counters();
        assert!(counters.opened > 3 && counters.unknown_signer > 1, "{counters:?}");
        assert_eq!((counters.forged, counters.malformed, counters.replayed), (0, 0, 0));
        assert_eq!(one.runtime.wire().malformed, 0, "nothing of it came through");
        for node in [one, two, stranger] {
            node.runtime.stop().await;
        }
    });
}

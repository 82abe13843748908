//! What a peer can do to a runtime with messages that are frames, and make no sense.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{
    AskError, EventKind, Executor, Message, ReplyFailure, RuntimeConfig, TokioExecutor, agent,
};
use lictor_runtime::conformance::Network;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use tokio::time::Instant;

/// A payload whose reading panics.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Trap;

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

messages! {
    pub enum TrapMessage {
        Sprung(Trap) -> u64,
        Fine(u64) -> u64,
    }
}

struct Careless;

impl Agent for Careless {
    type Message = TrapMessage;

    async fn handle(&mut self, message: TrapMessage, _: &mut Context<Self>) -> Handled {
        match message {
            TrapMessage::Sprung(Sprung(_), reply) => drop(reply.send(0)),
            TrapMessage::Fine(Fine(number), reply) => drop(reply.send(number)),
        }
        Ok(())
    }
}

fn on_paused<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}

async fn pair(executor: &Arc<dyn Executor>) -> (Runtime, Runtime) {
    let network = Network::new(Arc::clone(executor), 1);
    let node = |own: u64, peer: u64| {
        let (node, peers) = (NodeId(own), vec![NodeId(peer)]);
        let config = RuntimeConfig {
            transport: Some(network.transport(node, peers)),
            membership: membership::Config { node, epoch: 1, ..membership::Config::default() },
            ..RuntimeConfig::default()
        };
        Runtime::with_config(Arc::clone(executor), config)
    };
    let (one, two) = (node(1, 2), node(2, 1));
    one.start(Supervisor::one_for_one("one").agent(agent("idle", || Careless))).await.unwrap();
    two.start(Supervisor::one_for_one("two").agent(agent("far", || Careless))).await.unwrap();
    // sleeps: the nodes get to know each other
    tokio::time::sleep(secs(2)).await;
    (one, two)
}

// Whoever asks is told at once, and whoever sends hears of a dead letter, as the counter says.
#[test]
fn a_message_whose_reading_panics_is_not_understood() {
    on_paused(async {
        let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
        let (one, two) = pair(&executor).await;
        let mut events = one.events();
        let (far, began) = (one.raw("far").unwrap(), Instant::now());
        let asked = far.ask(Message::new("Sprung", json!(null)), secs(60)).await;
        let failure = ReplyFailure::NotUnderstood;
        assert_eq!(asked, Err(AskError::Failed { name: "far".into(), failure }));
        assert!(began.elapsed() < secs(1), "{:?}", began.elapsed());
        far.send(Message::new("Sprung", json!(null))).await.unwrap();
        let is_dead = async {
            loop {
                let event = events.next().await.unwrap();
                if matches!(event.kind, EventKind::DeadLetters { .. }) {
                    return;
                }
            }
        };
        tokio::time::timeout(secs(5), is_dead).await.unwrap();
        assert_eq!(two.wire().undelivered, 2);
        let fine = far.ask(Message::new("Fine", json!(7)), secs(1)).await.unwrap();
        assert_eq!(fine.as_u64(), Some(7));
    });
}

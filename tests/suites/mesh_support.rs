//! Nodes of a counter each over some mesh.

use std::sync::Arc;

use lictor::broker::Mesh;
use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{Executor, Message, RuntimeConfig, TokioExecutor, agent};
use serde_json::json;

messages! { pub enum CounterMessage { Add(u64), Get -> u64 } }

#[derive(Default)]
struct Counter(u64);

impl Agent for Counter {
    type Message = CounterMessage;

    async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
        }
        Ok(())
    }
}

pub(crate) fn executor() -> Arc<dyn Executor> {
    Arc::new(TokioExecutor::current().unwrap())
}

/// A node with one counter, `c1` on node 1.
pub(crate) async fn boot(mesh: Arc<Mesh>, node: u64) -> Runtime {
    let config = RuntimeConfig {
        transport: Some(mesh),
        membership: membership::Config { node: NodeId(node), epoch: 1, ..Default::default() },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(executor(), config);
    let counter = agent(format!("c{node}"), Counter::default);
    runtime.start(Supervisor::one_for_one("root").agent(counter)).await.unwrap();
    runtime
}

pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("{what}: not in a minute");
}

pub(crate) fn get() -> Message {
    Message::new("Get", json!(null))
}

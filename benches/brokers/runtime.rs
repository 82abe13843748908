//! Agents on two nodes: everything that a user has, over the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::broker::{Mesh, MeshConfig};
use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{Executor, Message, RuntimeConfig, TokioExecutor, agent};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{BODY, Place, Seen, cpu, input_ends, keep_asking, patient, spoken};

#[derive(Default)]
struct Sink {
    seen: Seen,
    wanted: u64,
    done: Arc<Notify>,
}

impl Agent for Sink {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, _: &mut Context<Self>) -> Handled {
        if message.kind() == "echo" {
            let payload = message.take_payload();
            message.reply(payload);
        } else if self.seen.one(self.wanted) {
            self.seen.say(Instant::now());
            self.done.notify_one();
        }
        Ok(())
    }
}

async fn boot(place: &Place, node: u64, root: Supervisor) -> Runtime {
    let executor = || -> Arc<dyn Executor> { Arc::new(TokioExecutor::current().unwrap()) };
    let mesh = Mesh::new(executor(), place.broker(), MeshConfig::new(NodeId(node))).unwrap();
    // A boot is newer than the one before it, and a bench has many.
    let epoch = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let config = RuntimeConfig {
        transport: Some(mesh),
        membership: membership::Config {
            node: NodeId(node),
            epoch: u64::try_from(epoch).unwrap(),
            ..Default::default()
        },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(executor(), config);
    runtime.start(root).await.unwrap();
    runtime
}

async fn sink(place: &Place, wanted: u64) -> (Runtime, Arc<Notify>) {
    let done = Arc::new(Notify::new());
    let given = Arc::clone(&done);
    let sink = move || Sink { wanted, done: Arc::clone(&given), ..Sink::default() };
    let root = Supervisor::one_for_one("root").agent(agent("sink", sink));
    (boot(place, 1, root).await, done)
}

pub(crate) async fn hear(place: &Place, wanted: u64) {
    let (_runtime, done) = sink(place, wanted).await;
    println!("ready");
    patient(done.notified()).await;
    input_ends().await;
}

pub(crate) async fn echo(place: &Place) {
    let (_runtime, _) = sink(place, 0).await;
    println!("ready");
    input_ends().await;
}

async fn knows(place: &Place) -> Runtime {
    let runtime = boot(place, 2, Supervisor::one_for_one("other")).await;
    while runtime.remote_names().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    runtime
}

fn body() -> Value {
    json!(".".repeat(BODY))
}

pub(crate) async fn speak(place: &Place, count: u64) {
    let runtime = knows(place).await;
    println!("ready");
    let (before, body) = (cpu(), body());
    for _ in 0..count {
        runtime.send("sink", Message::new("note", body.clone())).await.unwrap();
    }
    spoken(before);
    input_ends().await;
}

pub(crate) async fn ask(place: &Place, count: u64, flight: u64) {
    let runtime = knows(place).await;
    println!("ready");
    let body = body();
    let one = || async {
        let start = Instant::now();
        runtime.ask("sink", Message::new("echo", body.clone()), secs(10)).await.unwrap();
        start.elapsed()
    };
    keep_asking(count, flight, one).await;
}

//! Agents of ours for a civitas runtime, and ours as one that asks a civitas worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::prelude::*;
use lictor::{Executor, Message, RuntimeConfig, TokioExecutor, agent};
use lictor_civitas::{Civitas, CivitasConfig};
use lictor_wire::system::System;
use serde_json::json;

use crate::{BODY, Place, asked, cpu, input_ends};

/// The same as `Played` of `civitas_worker.py`.
#[derive(Default)]
struct Played(u64);

impl Agent for Played {
    type Message = Message;

    async fn handle(&mut self, mut message: Message, _: &mut Context<Self>) -> Handled {
        self.0 += 1;
        match message.kind() {
            "tell" => {}
            "count" => message.reply(json!({ "count": self.0 })),
            _ => {
                let payload = message.take_payload();
                message.reply(json!({ "echo": payload }));
            }
        }
        Ok(())
    }
}

fn part(place: &Place) -> (Civitas, Runtime) {
    let executor = || -> Arc<dyn Executor> { Arc::new(TokioExecutor::current().unwrap()) };
    let config = CivitasConfig::new("lictor");
    let system = Arc::new(System);
    let civitas = Civitas::new(executor(), place.broker(), system, config, None).unwrap();
    tokio::spawn(civitas.run());
    (civitas, Runtime::with_config(executor(), RuntimeConfig::default()))
}

pub(crate) async fn serve(place: &Place) {
    let (civitas, runtime) = part(place);
    let root = Supervisor::one_for_one("root").agent(agent("played", Played::default));
    runtime.start(root).await.unwrap();
    civitas.serve(&runtime);
    println!("ready");
    input_ends().await;
}

pub(crate) async fn call(place: &Place, count: u64) {
    let (civitas, runtime) = part(place);
    runtime.start(Supervisor::one_for_one("root").agent(civitas.remote("played"))).await.unwrap();
    println!("ready");
    let payload = json!({ "body": ".".repeat(BODY) });
    let (mut times, mut before, mut start) = (Vec::new(), Duration::ZERO, Instant::now());
    for number in 0..count + 50 {
        if number == 50 {
            (before, start) = (cpu(), Instant::now());
        }
        let one = Instant::now();
        let asked = runtime.ask("played", Message::new("echo", payload.clone()), secs(10)).await;
        assert!(asked.is_ok(), "{asked:?}");
        if number >= 50 {
            times.push(one.elapsed());
        }
    }
    asked(times, start.elapsed(), before);
    input_ends().await;
}

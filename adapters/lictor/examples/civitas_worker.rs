//! A Python worker of civitas under a Lictor supervisor, crashes and `kill -9` included.
//!
//! ```console
//! $ python3 -m venv target/venv
//! $ target/venv/bin/pip install --require-hashes -r tests/peers/requirements.txt
//! $ export LICTOR_PYTHON=$PWD/target/venv/bin/python
//! $ cargo run -p lictor --example civitas_worker --features civitas,zmq
//! ```
//!
//! They meet at a forwarder of ZeroMQ that runs in this program; no server is needed.

#![allow(clippy::print_stdout, reason = "that is what people look at")]

use std::error::Error;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;

use lictor::civitas::{Civitas, CivitasConfig, FleetConfig};
use lictor::prelude::*;
use lictor::wire::system::System;
use lictor::zmq::{ZmqBroker, ZmqConfig};
use lictor::{AskError, EventKind, Events, TokioExecutor};
use tokio::process::{ChildStdin, Command};
use tokio::task::JoinHandle;

/// The worker's process, as an agent: its end is a crash of the agent, and the supervisor decides.
struct Python {
    /// The interpreter, and its arguments.
    command: Vec<String>,
    /// Its input, with which it ends, and who waits for its end.
    life: Option<(ChildStdin, JoinHandle<()>)>,
}

impl Agent for Python {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("it has no input")?;
        let this = cx.this();
        let ended = tokio::spawn(async move {
            let status = child.wait().await;
            let status = status.map_or_else(|error| error.to_string(), |it| it.to_string());
            let _ = this.send(Message::new("ended", json!(status))).await;
        });
        self.life = Some((stdin, ended));
        Ok(())
    }

    async fn handle(&mut self, message: Message, _: &mut Context<Self>) -> Handled {
        Err(AgentError::new(format!("the worker has ended: {}", message.payload())))
    }

    async fn stop(&mut self, _: &mut Context<Self>) {
        if let Some((stdin, ended)) = self.life.take() {
            drop(stdin);
            let _ = ended.await;
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Whatever has ended the agent: a process that is left is killed.
        self.life.iter().for_each(|(_, ended)| ended.abort());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let python = std::env::var("LICTOR_PYTHON").map_err(
        |_| "LICTOR_PYTHON is to name a Python that has civitas: see the head of this example",
    )?;
    let [pub_addr, sub_addr] = [free()?, free()?];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/civitas_worker.py").to_owned();
    let command = vec![python, script, pub_addr.clone(), sub_addr.clone()];

    // Where both meet. For a NATS server: `lictor::nats::Nats::new(NatsConfig::of([url]))`.
    let (pub_addr, sub_addr) = (pub_addr.parse()?, sub_addr.parse()?);
    let zmq = ZmqConfig { pub_addr, sub_addr, start_proxy: true, ..ZmqConfig::new() };
    let broker = ZmqBroker::new(zmq)?;

    // Our part among civitas processes. By default a lost one is noticed after a quarter of a minute.
    let fleet = FleetConfig { interval: ms(200), timeout: ms(500), ..FleetConfig::default() };
    let config = CivitasConfig { fleet, ..CivitasConfig::new("lictor") };
    let executor = Arc::new(TokioExecutor::current()?);
    let civitas = Civitas::new(executor, broker, Arc::new(System), config, None)?;
    tokio::spawn(civitas.run());

    let runtime = Runtime::current()?;
    let mut events = runtime.events();
    let root = Supervisor::one_for_one("root")
        .max_restarts(5, secs(60))
        .backoff(Backoff::constant(ms(100)))
        .agent(agent("python", move || Python { command: command.clone(), life: None }))
        .agent(civitas.remote("summarizer")) // stands for the agent in the worker
        .start(&runtime);
    let tree = root.await?; // the worker has announced its agent by now
    let (words, first) = summary(&runtime, "one two three").await?;
    println!("summarizer: {words} words");

    // A crash there is a crash here, and the supervisor has the agent started anew.
    let crash = Message::new("crash", json!({}));
    let Err(AskError::Failed { failure, .. }) = runtime.ask("summarizer", crash, secs(30)).await
    else {
        return Err("it did not crash".into());
    };
    println!("told to crash: {failure:?}");
    until_started(&mut events, "summarizer", 2).await;
    let (words, same) = summary(&runtime, "and on").await?;
    println!("started anew: {words} words, in the same process: {}", same == first);

    // With its process goes the agent; both are back.
    Command::new("kill").args(["-9", &first.to_string()]).status().await?;
    println!("kill -9 {first}");
    until_started(&mut events, "summarizer", 3).await;
    let (words, second) = summary(&runtime, "and on and on").await?;
    println!("started anew: {words} words, in the same process: {}", second == first);
    tree.stop().await;
    Ok(())
}

/// Asks the agent in the worker for the words of a text, and for its process.
async fn summary(runtime: &Runtime, text: &str) -> Result<(u64, u64), Box<dyn Error>> {
    let message = Message::new("summarize", json!({ "text": text }));
    let answer = runtime.ask("summarizer", message, secs(30)).await?;
    let number = |key: &str| answer[key].as_u64().ok_or_else(|| format!("no {key} in {answer}"));
    Ok((number("words")?, number("pid")?))
}

/// Waits until an agent has been started so often, and says what happens meanwhile.
async fn until_started(events: &mut Events, agent: &str, times: u64) {
    while let Some(event) = events.next().await {
        if let EventKind::Crashed { name, detail, .. } = &event.kind {
            println!("  {name} crashed: {detail}");
        }
        if let EventKind::Started { name, incarnation } = event.kind
            && (&*name, incarnation) == (agent, times)
        {
            return;
        }
    }
}

/// An endpoint of this machine that was free a moment ago.
fn free() -> std::io::Result<String> {
    Ok(format!("tcp://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

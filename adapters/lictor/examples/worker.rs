//! Agents of one's own in two processes: a till in one, the tree that supervises it in the other.
//!
//! ```console
//! $ cargo run -p lictor --example worker --features zmq
//! ```
//!
//! One program is both. Without `LICTOR_PROCESS` in its environment it is the process of the tree,
//! and starts itself once more as the process `vault`. In its own process `lictor run` knows the
//! built-in agents only. The worker alone could be a process of its run, as a `command` of the file
//! or `external`; the tree here is what it takes where that process has others, too.

#![allow(clippy::print_stdout, reason = "that is what people look at")]

use std::error::Error;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;

use lictor::prelude::*;
use lictor::topology::{self, Options, Topology};
use lictor::{AgentTypes, Network, TokioExecutor, placed_on, root_from_topology};
use tokio::io::{AsyncReadExt, stdin};
use tokio::process::Command;

/// Both processes read the same.
const TOPOLOGY: &str = "
transport:
  type: zmq
  zmq: { pub_addr: \"${PUB_ADDR}\", sub_addr: \"${SUB_ADDR}\" }
  membership: { child_lease: 1s }
processes:
  vault: { external: true }
supervision:
  children:
    - agent: { name: till, type: app.till, config: { start: 100 }, process: vault }
";

/// An agent type of one's own.
struct Till(u64);

messages! { enum TillMessage { Add(u64) -> u64 } }

impl Agent for Till {
    type Message = TillMessage;

    async fn handle(&mut self, message: TillMessage, _: &mut Context<Self>) -> Handled {
        let TillMessage::Add(Add(sum), reply) = message;
        self.0 += sum;
        reply.send(self.0);
        Ok(())
    }
}

/// What the file may name, in whatever process it runs.
fn types() -> AgentTypes {
    AgentTypes::new().with("app.till", |setup| {
        let start = setup.config["start"].as_u64().ok_or("`start` is to be a whole number")?;
        Ok(move || Till(start))
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::var("LICTOR_PROCESS") {
        Ok(process) => worker(&process).await,
        Err(_) => tree().await,
    }
}

/// A worker: it offers what the file places on it, and the tree orders what of that runs.
async fn worker(process: &str) -> Result<(), Box<dyn Error>> {
    let topology = read(&[])?;
    let network = Network::of(&topology, process)?;
    let runtime = joined(&network, &topology)?;
    let agents = placed_on("app.yaml", &topology, &types(), network.process())?;
    let _served = runtime.serve(network.process(), agents).await?;
    // Who has started it holds the other end of its input, and lets it go by stopping or by dying.
    let mut input = stdin();
    while input.read(&mut [0; 256]).await.is_ok_and(|read| read > 0) {}
    runtime.stop().await;
    Ok(())
}

/// The process of the tree, which runs the forwarder of ZeroMQ, too.
async fn tree() -> Result<(), Box<dyn Error>> {
    let addresses = [("PUB_ADDR", free()?), ("SUB_ADDR", free()?)];
    let topology = read(&addresses)?;
    let network = Network::of_tree(&topology)?;
    let runtime = joined(&network, &topology)?;

    let mut worker = Command::new(std::env::current_exe()?);
    worker.env("LICTOR_PROCESS", "vault").envs(addresses);
    let mut worker = worker.stdin(Stdio::piped()).spawn()?;
    let input = worker.stdin.take();

    let root = root_from_topology("app.yaml", &topology, &types())?;
    let tree = root.start(&runtime).await?; // the till is up, there
    // A name of another process: messages are raw, a type and JSON.
    let sum = runtime.ask("till", Message::new("Add", 20), secs(5)).await?;
    println!("the till has {sum}");
    let typed = runtime.agent::<Till>("till").err();
    println!("by its type: {}", typed.ok_or("it is here")?);

    tree.stop().await;
    runtime.stop().await;
    drop(input);
    println!("the worker: {}", worker.wait().await?);
    Ok(())
}

/// The topology, with variables from here or from the environment.
fn read(variables: &[(&str, String)]) -> Result<Topology, Box<dyn Error>> {
    let environment = |name: &str| {
        let here = variables.iter().find(|(known, _)| *known == name);
        here.map(|(_, value)| value.clone()).or_else(|| std::env::var(name).ok())
    };
    Ok(topology::parse("app.yaml", TOPOLOGY.as_bytes(), &Options::new(&environment))?)
}

/// The runtime of a process, at the broker that the topology names.
fn joined(network: &Network, topology: &Topology) -> Result<Runtime, Box<dyn Error>> {
    let broker = network.broker(topology)?;
    let executor = Arc::new(TokioExecutor::current()?);
    let config = network.join(topology, RuntimeConfig::default(), executor, broker)?;
    Ok(Runtime::current_with(config)?)
}

/// An endpoint of this machine that was free a moment ago.
fn free() -> std::io::Result<String> {
    Ok(format!("tcp://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

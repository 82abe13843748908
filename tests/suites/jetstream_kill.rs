//! A process that is killed in the middle of its messages, and the one after it.
//!
//! The process is this test binary again, with one test and a word in its environment.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod ports;
#[path = "nats_server.rs"]
mod server;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use lictor::broker::{Mesh, MeshConfig};
use lictor::kernel::{NodeId, membership};
use lictor::prelude::*;
use lictor::{Executor, Message, RuntimeConfig, TokioExecutor, agent};
use lictor_nats::{JetStream, Nats, NatsConfig, StreamConfig};
use serde_json::json;
use server::Server;

messages! { pub enum ScribeMessage { Note(u64) } }

/// Writes each number into a file when it has been handled.
struct Scribe(File);

impl Agent for Scribe {
    type Message = ScribeMessage;

    async fn handle(&mut self, message: ScribeMessage, cx: &mut Context<Self>) -> Handled {
        let ScribeMessage::Note(Note(number)) = message;
        cx.sleep(ms(3)).await;
        writeln!(self.0, "{number}")?;
        Ok(())
    }
}

async fn node(
    url: &str,
    number: u64,
    epoch: u64,
    file: Option<&Path>,
) -> (Runtime, Arc<JetStream>) {
    let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
    // So long the messages of a dead process wait.
    let config = StreamConfig { ack_wait: secs(1), ..StreamConfig::default() };
    let streams = JetStream::new(NatsConfig::of([url]), config).unwrap();
    let nats = Nats::new(NatsConfig::of([url])).unwrap();
    let mesh = Mesh::new(Arc::clone(&executor), nats, MeshConfig::new(NodeId(number))).unwrap();
    let config = RuntimeConfig {
        transport: Some(mesh),
        durable: Some(Arc::<JetStream>::clone(&streams)),
        membership: membership::Config { node: NodeId(number), epoch, ..Default::default() },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_config(executor, config);
    let mut root = Supervisor::one_for_one("root");
    if let Some(file) = file {
        let open = OpenOptions::new().create(true).append(true).open(file).unwrap();
        root = root.agent(agent("scribe", move || Scribe(open.try_clone().unwrap())));
    }
    runtime.start(root).await.unwrap();
    (runtime, streams)
}

/// The process: does nothing unless it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process() {
    let Ok(word) = std::env::var("LICTOR_SCRIBE") else { return };
    let [url, epoch, file] = word.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let (runtime, _streams) = node(url, 1, epoch.parse().unwrap(), Some(Path::new(file))).await;
    runtime.terminated().await;
}

fn process(server: &Server, epoch: u64) -> Child {
    let file = server.folder.join("numbers");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_process", "--exact", "--nocapture"]);
    command.env("LICTOR_SCRIBE", format!("{} {epoch} {}", server.url(), file.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How often each number was handled.
fn handled(server: &Server) -> BTreeMap<u64, u64> {
    let text = std::fs::read_to_string(server.folder.join("numbers")).unwrap_or_default();
    let mut numbers = BTreeMap::new();
    for line in text.lines() {
        *numbers.entry(line.parse().unwrap()).or_insert(0) += 1;
    }
    numbers
}

async fn until(server: &Server, count: usize) {
    for _ in 0..3000 {
        if handled(server).len() >= count {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("{} of {count} handled in a minute", handled(server).len());
}

// Defects: N7, N2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_in_hand_is_handled_by_the_next_one() {
    const SENT: u64 = 600;
    const KILLS: u64 = 3;
    let server = Server::new();
    let mut child = process(&server, 1);
    let (runtime, streams) = node(&server.url(), 2, 1, None).await;
    let scribe = runtime.raw("scribe").unwrap();
    while scribe.send(Message::new("Note", json!(0))).await.is_err() {
        // The first process has not come up, so nobody has ever had the name.
        tokio::time::sleep(ms(50)).await;
    }
    let sending = tokio::spawn(async move {
        for number in 1..SENT {
            scribe.send(Message::new("Note", json!(number))).await.unwrap();
        }
    });
    for kill in 1..=KILLS {
        until(&server, usize::try_from(kill * 100).unwrap()).await;
        child.kill().unwrap();
        child.wait().unwrap();
        child = process(&server, kill + 1);
    }
    sending.await.unwrap();
    until(&server, usize::try_from(SENT).unwrap()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let handled = handled(&server);
    assert_eq!(handled.keys().copied().collect::<Vec<_>>(), (0..SENT).collect::<Vec<_>>());
    let again: u64 = handled.values().map(|times| times - 1).sum();
    // Handled, and killed before the server knew: what takes 3 ms to handle and well below one to
    // acknowledge. On a machine that is busy a few more.
    assert!(again <= KILLS * 10, "{again} of {SENT} were handled again: {handled:?}");
    assert_eq!(streams.counters().not_stored, 0);
    runtime.stop().await;
}

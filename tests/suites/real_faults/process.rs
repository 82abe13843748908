//! A process of a topology, as `lictor run` and `lictor worker` make it, with agents that keep books.
//!
//! The process is the test binary again, with one test and a word in its environment. It ends in
//! order when its standard input ends, so none outlives the test.
#![allow(dead_code, reason = "not every test does everything with it")]

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor::prelude::*;
use lictor::topology::{NoEnvironment, Options, Topology};
use lictor::{
    AgentTypes, EventKind, Events, Executor, Network, RuntimeConfig, TokioExecutor, placed_on,
    root_from_topology,
};
use serde_json::json;

use super::book::Book;

/// Writes into the book of its process what it has handled; asked, answers who it is.
struct Ledger {
    book: Arc<Book>,
    name: String,
    life: u64,
    takes: Duration,
    is_born: bool,
}

impl Agent for Ledger {
    type Message = Message;

    async fn start(&mut self, _: &mut Context<Self>) -> Handled {
        self.is_born = true;
        self.book.write("born", &self.name, self.life, 0);
        Ok(())
    }

    async fn handle(&mut self, mut message: Message, cx: &mut Context<Self>) -> Handled {
        if let Some(reply_to) = message.take_reply_to() {
            let _ = reply_to.send(json!([std::process::id(), self.life]));
            return Ok(());
        }
        if !self.takes.is_zero() {
            cx.sleep(self.takes).await;
        }
        // Nothing that can be interrupted comes after this.
        let number = message.payload().as_u64().unwrap_or(u64::MAX);
        self.book.write("did", &self.name, self.life, number);
        Ok(())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if self.is_born {
            self.book.write("gone", &self.name, self.life, 0);
        }
    }
}

fn types(book: &Arc<Book>) -> AgentTypes {
    let book = Arc::clone(book);
    let lives = Arc::new(AtomicU64::new(1));
    AgentTypes::new().with("ledger", move |setup| {
        let takes = Duration::from_micros(setup.config["micros"].as_u64().unwrap_or(0));
        let (book, lives, name) = (Arc::clone(&book), Arc::clone(&lives), setup.name.clone());
        Ok(move || Ledger {
            book: Arc::clone(&book),
            name: name.clone(),
            life: lives.fetch_add(1, Ordering::Relaxed),
            takes,
            is_born: false,
        })
    })
}

pub(crate) fn topology(file: &Path) -> Topology {
    let text = std::fs::read(file).unwrap();
    let topology = lictor::topology::parse("test", &text, &Options::new(&NoEnvironment));
    topology.unwrap_or_else(|faults| panic!("{faults}"))
}

/// A runtime that is that process of a topology.
pub(crate) fn runtime(topology: &Topology, network: &Network, types: AgentTypes) -> Runtime {
    let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
    let config = RuntimeConfig { types, stop_timeout: secs(5), ..RuntimeConfig::default() };
    let broker = network.broker(topology).unwrap();
    let config = network.join(topology, config, executor, broker).unwrap();
    Runtime::current_with(config).unwrap()
}

/// Writes down what is counted of messages, and what becomes of them. `dropped` and `malformed` are
/// of other frames, or of none.
fn note(book: &Book, runtime: &Runtime, events: &mut Events) {
    while let Some(event) = events.try_next() {
        if let EventKind::DeadLetters { name, count, .. } = event.kind {
            book.write("dead", &name, 0, count);
        }
    }
    let wire = runtime.wire();
    let counters = [
        ("missing", wire.missing),
        ("undelivered", wire.undelivered),
        ("stale", wire.stale),
        ("repeated", wire.repeated),
    ];
    for (what, count) in counters {
        if count > 0 {
            book.write(what, "-", 0, count);
        }
    }
}

/// The process: does nothing unless it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process() {
    let Ok(word) = std::env::var("LICTOR_REAL_FAULTS") else { return };
    let (process, file) = word.split_once(' ').unwrap();
    let file = Path::new(file);
    let book = Arc::new(Book::open(file.parent().unwrap()));
    let (topology, types) = (topology(file), types(&book));
    let network = Network::of(&topology, process).unwrap();
    let runtime = runtime(&topology, &network, types.clone());
    let mut events = runtime.events();
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(end);
    });
    let starting = runtime.clone();
    let start = async move {
        if network.has_tree() {
            let root = root_from_topology("test", &topology, &types).unwrap();
            return starting.start(root).await.map(drop);
        }
        let hosted = placed_on("test", &topology, &types, network.process()).unwrap();
        starting.serve(network.process(), hosted).await.map(drop)
    };
    let start = tokio::spawn(start);
    let mut tick = tokio::time::interval(ms(100));
    loop {
        tokio::select! {
            _ = &mut ended => break,
            _ = tick.tick() => note(&book, &runtime, &mut events),
        }
    }
    start.abort();
    runtime.stop().await;
    note(&book, &runtime, &mut events);
}

/// A process that runs. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// The process of this name in this file.
    pub(crate) fn start(name: &str, file: &Path) -> Self {
        let log = file.with_extension(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["process::the_process", "--exact", "--nocapture"]);
        command.env("LICTOR_REAL_FAULTS", format!("{name} {}", file.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to end, and waits until it has.
    pub(crate) async fn end(mut self) {
        drop(self.child.stdin.take());
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            tokio::time::sleep(ms(10)).await;
        }
        panic!("it does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

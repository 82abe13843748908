//! A tree over real processes at a real broker, and a node of the test among them.
#![allow(dead_code, reason = "not every test does everything with it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lictor::prelude::*;
use lictor::{AgentTypes, Network, SendOptions};
use lictor_zmq::{Endpoint, TokioNetwork, ZmqConfig, ZmqProxy};
use serde_json::json;

use crate::ports::free_port;

use super::book::{self, Line};
use super::folder::Folder;
use super::process::{self, Process};
use super::proxy::{Cable, State};
use super::server::Server;

/// Nothing is waited for longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The lease of what runs on a worker.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// Of every ledger, in messages.
pub(crate) const MAILBOX: u64 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Zmq,
    Nats,
}

pub(crate) const BOTH: [Kind; 2] = [Kind::Zmq, Kind::Nats];

/// A forwarder of ours, in a task of the test.
pub(crate) struct Forwarder {
    pub(crate) proxy: Arc<ZmqProxy>,
    task: tokio::task::JoinHandle<()>,
}

impl Forwarder {
    pub(crate) async fn at(ports: [u16; 2]) -> Self {
        let [pub_addr, sub_addr] =
            ports.map(|port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port });
        let config = ZmqConfig { pub_addr, sub_addr, ..ZmqConfig::new() };
        let config = config.proxy_config().unwrap();
        let proxy = Arc::new(ZmqProxy::bind(TokioNetwork, &config).await.unwrap());
        let running = Arc::clone(&proxy);
        let task = tokio::spawn(async move { running.run().await });
        Self { proxy, task }
    }

    /// Ends it, sockets and all, without a word.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        assert!(Arc::try_unwrap(self.proxy).is_ok(), "nobody else holds it");
    }
}

pub(crate) fn free_ports() -> [u16; 2] {
    [free_port(), free_port()]
}

/// Where a broker is.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) [u16; 2]);

pub(crate) struct Cluster {
    pub(crate) kind: Kind,
    pub(crate) at: At,
    pub(crate) server: Option<Server>,
    pub(crate) forwarder: Option<Forwarder>,
    pub(crate) folder: Folder,
    /// Whether the process of the tree has the forwarder.
    in_tree: bool,
    /// What NATS keeps, as the topology says it.
    jetstream: String,
    /// How long the agents of `w1` take for a message.
    pub(crate) micros: u64,
}

impl Cluster {
    pub(crate) async fn new(kind: Kind) -> Self {
        let folder = Folder::new();
        let (server, forwarder, at) = match kind {
            Kind::Nats => {
                let server = Server::new();
                let at = At([server.port, 1]);
                (Some(server), None, at)
            }
            Kind::Zmq => {
                let ports = free_ports();
                (None, Some(Forwarder::at(ports).await), At(ports))
            }
        };
        let jetstream = "false".to_owned();
        Self { kind, at, server, forwarder, folder, in_tree: false, jetstream, micros: 0 }
    }

    /// One whose forwarder is in the process of the tree.
    pub(crate) fn with_forwarder_in_tree() -> Self {
        let (at, jetstream) = (At(free_ports()), "false".to_owned());
        Self {
            kind: Kind::Zmq,
            at,
            server: None,
            forwarder: None,
            folder: Folder::new(),
            in_tree: true,
            jetstream,
            micros: 0,
        }
    }

    /// One whose messages are kept until they are handled.
    pub(crate) async fn stored() -> Self {
        let jetstream = "{ ack_wait: 2s, max_deliver: 1000 }".to_owned();
        Self { jetstream, ..Self::new(Kind::Nats).await }
    }

    /// The file of the topology, with the broker there.
    pub(crate) fn file(&self, word: &str, at: At) -> PathBuf {
        let At([one, two]) = at;
        let kind = if self.kind == Kind::Zmq { "zmq" } else { "nats" };
        let lease = LEASE.as_millis();
        let (in_tree, jetstream, micros) = (self.in_tree, &self.jetstream, self.micros);
        let ledger = |name: &str, rest: &str| {
            format!(
                "    - agent: {{ name: {name}, type: ledger, mailbox_size: {MAILBOX}, in_hand: dead_letter{rest} }}\n"
            )
        };
        let on_w1 = format!(", process: w1, config: {{ micros: {micros} }}");
        let text = format!(
            "transport:\n  type: {kind}\n  \
             zmq: {{ pub_addr: 'tcp://127.0.0.1:{one}', sub_addr: 'tcp://127.0.0.1:{two}', start_proxy: {in_tree} }}\n  \
             nats: {{ servers: 'nats://127.0.0.1:{one}', jetstream: {jetstream} }}\n  \
             membership: {{ heartbeat_interval: 200ms, heartbeat_timeout: 400ms, ask_every: 200ms, \
             lease: 5s, child_lease: {lease}ms }}\n\
             processes:\n  w1: {{ external: true }}\n  w2: {{ external: true }}\n  watch: {{ external: true }}\n\
             supervision:\n  max_restarts: 1000\n  restart_window: 10s\n  backoff: NONE\n  children:\n{}{}{}{}",
            ledger("home", ""),
            ledger("alpha", &on_w1),
            ledger("beta", ", process: w2"),
            ledger("slow", ", process: w2, config: { micros: 20000 }"),
        );
        let path = self.folder.0.join(format!("{word}.yaml"));
        // Whole at once: a process may be about to read it.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    pub(crate) fn process(&self, name: &str) -> Process {
        Process::start(name, &self.file("all", self.at))
    }

    /// All three, and a node of the test, when all agents are up.
    pub(crate) async fn start(&self) -> All {
        let all = All {
            tree: Some(self.process("main")),
            one: Some(self.process("w1")),
            two: Some(self.process("w2")),
            watch: Watch::new(self),
        };
        for name in ["home", "alpha", "beta", "slow"] {
            all.watch.reach(name).await;
        }
        all
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        book::read(&self.folder.0)
    }

    /// Waits until the books say so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&[Line]) -> bool) {
        let began = std::time::Instant::now();
        while !holds(&self.lines()) {
            assert!(
                began.elapsed() < PATIENCE,
                "{:?}: never {what}: {:?}",
                self.kind,
                self.folder.0
            );
            tokio::time::sleep(ms(50)).await;
        }
    }

    /// Waits for an incarnation of an agent in this process, born after this time.
    pub(crate) async fn born(&self, name: &str, pid: u32, after: u64) {
        let is_it = |line: &Line| {
            line.what == "born" && line.name == name && line.pid == pid && line.at > after
        };
        let what = format!("was {name} born in {pid}");
        self.until(&what, |lines| lines.iter().any(is_it)).await;
    }

    /// Kills the broker and starts it again after a while.
    pub(crate) async fn broker_dies(&mut self, for_so_long: Duration, forget: bool) {
        if let Some(server) = &mut self.server {
            server.kill();
            if forget {
                server.forget();
            }
        }
        if let Some(forwarder) = self.forwarder.take() {
            forwarder.kill().await;
        }
        tokio::time::sleep(for_so_long).await;
        if let Some(server) = &mut self.server {
            server.start();
        }
        if self.kind == Kind::Zmq {
            self.forwarder = Some(Forwarder::at(self.at.0).await);
        }
    }
}

/// The processes of a cluster.
pub(crate) struct All {
    pub(crate) tree: Option<Process>,
    pub(crate) one: Option<Process>,
    pub(crate) two: Option<Process>,
    pub(crate) watch: Watch,
}

impl All {
    /// Ends all of them in order.
    pub(crate) async fn end(self) {
        self.watch.runtime.stop().await;
        for process in [self.tree, self.one, self.two].into_iter().flatten() {
            process.end().await;
        }
    }
}

/// The cables between one process and its broker.
pub(crate) struct Cables(Vec<Cable>);

impl Cables {
    /// Cables to a broker, and where it seems to be behind them.
    pub(crate) async fn to(cluster: &Cluster) -> (Self, At) {
        let At([one, two]) = cluster.at;
        let mut cables = vec![Cable::to(one).await];
        let mut at = At([cables[0].port, 1]);
        if cluster.kind == Kind::Zmq {
            cables.push(Cable::to(two).await);
            at.0[1] = cables[1].port;
        }
        (Self(cables), at)
    }

    pub(crate) fn set(&self, state: State) {
        self.0.iter().for_each(|cable| cable.set(state));
    }
}

/// A node of the test.
pub(crate) struct Watch {
    pub(crate) runtime: Runtime,
}

/// What became of numbered messages at their sender.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) sent: BTreeSet<u64>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Watch {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let topology = process::topology(&cluster.file("all", cluster.at));
        let network = Network::of(&topology, "watch").unwrap();
        let runtime = process::runtime(
            &topology,
            &network,
            AgentTypes::new().with("ledger", |_| Ok(|| Nobody)),
        );
        let starting = runtime.clone();
        tokio::spawn(async move { starting.serve("watch", []).await.map(drop) });
        Self { runtime }
    }

    /// Asks an agent until it answers; who it is.
    pub(crate) async fn reach(&self, name: &str) -> u32 {
        let began = std::time::Instant::now();
        loop {
            match self.ask(name).await {
                Ok(pid) => return pid,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{name}: {error}"),
            }
            tokio::time::sleep(ms(50)).await;
        }
    }

    pub(crate) async fn ask(&self, name: &str) -> Result<u32, AskError> {
        let answer = self.runtime.ask(name, Message::new("who", Value::Null), secs(1)).await?;
        Ok(u32::try_from(answer[0].as_u64().unwrap()).unwrap())
    }

    /// Sends numbers from this one on to an agent, until the flag is down: after each it waits, and
    /// each may wait so long for room.
    pub(crate) fn pump(
        &self,
        to: &str,
        from: u64,
        [each, patience]: [Duration; 2],
        goes_on: &Arc<AtomicBool>,
    ) -> tokio::task::JoinHandle<Sent> {
        let to = Later(self.runtime.clone(), to.to_owned());
        let goes_on = Arc::clone(goes_on);
        tokio::spawn(async move {
            let mut result = Sent::default();
            for number in from.. {
                if !goes_on.load(Ordering::Relaxed) {
                    break;
                }
                let options = SendOptions::new().timeout(patience);
                match to.send(number, options).await {
                    Ok(()) => drop(result.sent.insert(number)),
                    Err(error) => {
                        *result.refused.entry(kind_of(&error)).or_default() += 1;
                        tokio::time::sleep(ms(20)).await;
                    }
                }
                tokio::time::sleep(each).await;
            }
            result
        })
    }
}

/// A name that is looked up at each message.
pub(crate) struct Later(pub(crate) Runtime, pub(crate) String);

impl Later {
    pub(crate) async fn send(&self, number: u64, options: SendOptions) -> Result<(), SendError> {
        self.0.raw(&self.1)?.send_with(Message::new("number", json!(number)), options).await
    }
}

pub(crate) fn kind_of(error: &SendError) -> &'static str {
    match error {
        SendError::Unknown { .. } => "unknown",
        SendError::Down { .. } => "down",
        SendError::Unreachable { .. } => "unreachable",
        SendError::WireFull { .. } => "wire full",
        SendError::Timeout { .. } => "timeout",
        SendError::Unconfirmed { .. } => "unconfirmed",
        SendError::NotStored { .. } => "not stored",
        other => panic!("not to be expected: {other}"),
    }
}

/// The node of the test runs no agents of its own.
struct Nobody;

impl Agent for Nobody {
    type Message = Message;

    async fn handle(&mut self, _: Message, _: &mut Context<Self>) -> Handled {
        Ok(())
    }
}

//! A process of `peer.py`.

use std::process::Stdio;

use lictor_zmq::CurveConfig;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::PATIENCE;

pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts one, and gives the words of its first line after "ready".
    pub(crate) async fn start(arguments: &[&str]) -> (Self, Vec<String>) {
        let python = std::env::var("LICTOR_PYTHON").expect(
            "LICTOR_PYTHON must name a Python that has pyzmq (tested with 27.3.0): \
             python3 -m venv DIR && DIR/bin/pip install pyzmq==27.3.0",
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a Python to run");
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut peer = Self { child, stdin, lines };
        let first = peer.line().await;
        let words = first.strip_prefix("ready").expect("it is ready");
        let words = words.split_whitespace().map(str::to_owned).collect();
        (peer, words)
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time");
        line.unwrap().expect("it runs")
    }

    pub(crate) async fn say(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Has a publisher send, and waits until libzmq has taken it.
    pub(crate) async fn send(&mut self, topic: &str, count: u32, size: u32) {
        self.say(&format!("{topic} {count} {size}")).await;
        assert_eq!(self.line().await, format!("sent {topic} {count}"));
    }

    /// Has a subscriber wish, and waits until libzmq has taken it.
    pub(crate) async fn wish(&mut self, wish: &str) {
        self.say(wish).await;
        while self.line().await != format!("wish {wish}") {}
    }

    /// The next message that a subscriber has: topic, number, size.
    pub(crate) async fn message(&mut self) -> (String, String, usize) {
        let line = self.line().await;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [topic, number, size] = words[..] else { panic!("not a message: {line}") };
        (topic.to_owned(), number.to_owned(), size.parse().unwrap())
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// As `kill -9`, and it is gone when this is over.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The keys of a client as `peer.py` takes them.
pub(crate) fn keys(curve: &CurveConfig) -> String {
    let CurveConfig { server_public_key, client_public_key, client_secret_key, .. } = curve;
    format!("{server_public_key},{client_public_key},{}", client_secret_key.to_z85().as_str())
}

//! Real civitas processes, driven by lines of JSON.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a real process may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    passed_over: VecDeque<Value>,
}

impl Process {
    /// A script of `tests/peers` with these arguments.
    pub(crate) fn start(script: &str, arguments: &[String]) -> Self {
        Self::start_in(script, arguments, &[])
    }

    /// As [`Process::start`], with more in its environment.
    pub(crate) fn start_in(
        script: &str,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        let python = std::env::var("LICTOR_PYTHON").expect("tests/run sets LICTOR_PYTHON");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/").to_owned() + script;
        let mut child = Command::new(python)
            .arg(path)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the Python of tests/run starts");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let output = BufReader::new(output).lines();
        Self { child, input, output, passed_over: VecDeque::new() }
    }

    async fn line(&mut self) -> Value {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
            let line = line.expect("a line in time").unwrap().expect("the process still runs");
            // civitas itself prints a word about tracing.
            if let Ok(value) = serde_json::from_str(&line) {
                return value;
            }
        }
    }

    /// The next event of a name; others are kept for later.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        if let Some(at) = self.passed_over.iter().position(|line| line["event"] == name) {
            return self.passed_over.remove(at).unwrap();
        }
        loop {
            let line = self.line().await;
            if line["event"] == name {
                return line;
            }
            self.passed_over.push_back(line);
        }
    }

    /// Sends a command, and gives its result.
    pub(crate) async fn act(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.line().await
    }

    /// What is done inside of an agent of a runtime.
    pub(crate) async fn inside(&mut self, command: Value) -> Value {
        self.act(json!({ "op": "inside", "do": command })).await
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn ended(mut self) {
        drop(self.input);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").unwrap();
    }
}

//! What the tests share.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lictor::topology::{NoEnvironment, Options};
use lictor::{
    EventKind, Events, LoadError, Message, Runtime, RuntimeConfig, RuntimeExt, Tree, Value,
    root_from_topology,
};
use lictor_cli::builtins::{Ledger, types};

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn lictor(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
    command.current_dir(repository()).args(args).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn output(args: &[&str]) -> Output {
    let output = lictor(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A file that goes away with the value.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lictor-cli-{}-{count}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A `lictor run` that is still running.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// What it says on standard error, if that is read.
    log: Option<mpsc::Receiver<String>>,
    /// Ends it, however silent it is, if the test takes too long.
    _watch: mpsc::Sender<()>,
}

/// Kills a process that outlives every test, unless the test is over before: whoever waits for its
/// next word then reads its end.
fn watch(child: &Child) -> mpsc::Sender<()> {
    let (over, is_over) = mpsc::channel();
    let pid = child.id();
    std::thread::spawn(move || {
        if is_over.recv_timeout(4 * LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
            kill_hard(pid);
        }
    });
    over
}

impl Running {
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::of(lictor(args))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let _watch = watch(&child);
        Self { child, lines, log: None, _watch }
    }

    /// The same, and its log is read.
    pub(crate) fn logging(mut command: Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (tell, log) = mpsc::channel();
        std::thread::spawn(move || {
            errors.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line)));
        });
        let _watch = watch(&child);
        Self { child, lines, log: Some(log), _watch }
    }

    /// The next line of its log with this in it, those of its workers left out.
    pub(crate) fn logged(&mut self, word: &str) -> String {
        let log = self.log.as_ref().expect("its log is read");
        loop {
            let line = log.recv_timeout(LONG).unwrap_or_else(|_| panic!("no {word:?}"));
            if line.contains(word) && !line.contains("lictor::process: [") {
                return line;
            }
        }
    }

    /// The next line that is such an event; panics when there is no more, and when none is such for
    /// long.
    pub(crate) fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + 2 * LONG;
        loop {
            assert!(Instant::now() < until, "no such event");
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended before");
            let event: Value = serde_json::from_str(&line).unwrap();
            if is_it(&event) {
                return event;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Closes its standard output and waits for its end.
    pub(crate) fn close_and_wait(self) -> ExitStatus {
        let Self { mut child, lines, .. } = self;
        drop(lines);
        child.wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn rest(mut self) -> Output {
        let mut stdout = String::new();
        self.lines.read_to_string(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        Output { status, stdout, stderr: String::new() }
    }
}

/// A command that goes on, of which the log is read.
pub(crate) struct Logged {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Logged {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The next line with this in it; panics when it ends before, so give it an end (`--for`).
    pub(crate) fn line(&mut self, word: &str) -> String {
        let mut all = String::new();
        loop {
            let from = all.len();
            assert_ne!(self.log.read_line(&mut all).unwrap(), 0, "no {word:?} in: {all}");
            if all[from..].contains(word) {
                return all[from..].to_owned();
            }
        }
    }

    /// Its exit code after SIGTERM.
    pub(crate) fn end(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.log.read_to_string(&mut String::new()).unwrap();
        self.child.wait().unwrap().code()
    }
}

/// Whether an event is of a kind, and of this agent or process.
pub(crate) fn of<'v>(kind: &'v str, name: &'v str) -> impl Fn(&Value) -> bool + 'v {
    move |event| {
        event["event"] == kind
            && [&event["name"], &event["process"]].contains(&&lictor::json!(name))
    }
}

/// The process that an event is about.
pub(crate) fn pid_of(event: &Value) -> u32 {
    u32::try_from(event["pid"].as_u64().unwrap()).unwrap()
}

/// As kill -9 does.
pub(crate) fn kill_hard(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// How many questions a ticker has had answered, by the last statistics.
pub(crate) fn answered(stats: &Value, ticker: &str) -> u64 {
    stats["counts"][ticker]["answered"].as_u64().unwrap_or(0)
}

/// A tree of built-in agents in this process.
pub(crate) struct Built {
    pub(crate) tree: Tree,
    pub(crate) ledger: Ledger,
    pub(crate) events: Events,
}

impl Built {
    /// Starts a tree whose children are given in YAML.
    pub(crate) async fn start(children: &str) -> Self {
        let ledger = Ledger::new();
        let types = types(&ledger);
        let text = yaml(children);
        let topology =
            lictor::topology::parse("test.yaml", text.as_bytes(), &Options::new(&NoEnvironment));
        let topology = topology.unwrap_or_else(|faults| panic!("{faults}"));
        let root = root_from_topology("test.yaml", &topology, &types).unwrap();
        let config = RuntimeConfig { types, ..RuntimeConfig::default() };
        let runtime = Runtime::current_with(config).unwrap();
        let events = runtime.events();
        let tree = runtime.start(root).await.unwrap();
        Self { tree, ledger, events }
    }

    pub(crate) async fn ask(&self, to: &str, kind: &str, payload: impl Into<Value>) -> Value {
        self.try_ask(to, kind, payload).await.unwrap()
    }

    pub(crate) async fn try_ask(
        &self,
        to: &str,
        kind: &str,
        payload: impl Into<Value>,
    ) -> Result<Value, lictor::AskError> {
        self.tree.runtime().ask(to, Message::new(kind, payload), LONG).await
    }

    pub(crate) async fn send(&self, to: &str, kind: &str, payload: impl Into<Value>) {
        self.tree.runtime().send(to, Message::new(kind, payload)).await.unwrap();
    }

    /// Waits for an event.
    pub(crate) async fn wait_for(&mut self, is_it: impl Fn(&EventKind) -> bool) -> EventKind {
        let found = async {
            loop {
                let event = self.events.next().await.expect("it ended before");
                if is_it(&event.kind) {
                    return event.kind;
                }
            }
        };
        tokio::time::timeout(LONG, found).await.expect("no such event")
    }

    /// Waits for the crash of an agent, and says what its error was.
    pub(crate) async fn crash_of(&mut self, agent: &str) -> String {
        let is_it =
            |kind: &EventKind| matches!(kind, EventKind::Crashed { name, .. } if **name == *agent);
        let EventKind::Crashed { detail, .. } = self.wait_for(is_it).await else { unreachable!() };
        detail.to_string()
    }

    /// Waits until an agent has counted so many.
    pub(crate) async fn counted(&self, agent: &str, what: &str, count: u64) {
        let counts = self.ledger.counts(agent);
        let until = Instant::now() + LONG;
        while counts.of(what) < count {
            assert!(Instant::now() < until, "{what} of {agent}: {:?}", counts.all());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A topology with these children under a patient root.
pub(crate) fn yaml(children: &str) -> String {
    format!(
        "supervision:\n  name: root\n  max_restarts: 100\n  restart_window: 60s\n  \
         backoff: NONE\n  children:\n{}",
        children.lines().map(|line| format!("    {line}\n")).collect::<String>()
    )
}

/// Why an agent of this type and configuration is refused.
pub(crate) fn refusal(kind: &str, config: &str) -> String {
    let text = yaml(&format!("- agent: {{ name: a, type: {kind}, config: {config} }}"));
    let topology =
        lictor::topology::parse("test.yaml", text.as_bytes(), &Options::new(&NoEnvironment));
    let topology = topology.unwrap_or_else(|faults| panic!("{faults}"));
    match root_from_topology("test.yaml", &topology, &types(&Ledger::new())) {
        Err(LoadError::BadAgent { detail, line: 7, .. }) => detail,
        other => panic!("{config}: {other:?}"),
    }
}

//! `lictor.exec`: an operating-system process under supervision, spoken to in lines of JSON.
//!
//! What the process reads, one message a line: `{"type": .., "payload": .., "from": .., "id": 7}`;
//! `from` if an agent sent it, `id` only if an answer is wanted.
//!
//! What it may write, one of these a line:
//! - `{"id": 7, "payload": ..}` answers; `{"id": 7, "error": ".."}` refuses to.
//! - `{"to": "agent", "type": .., "payload": ..}` sends.
//! - `{"spawn": "agent type", "name": .., "under": "dynamic supervisor", "config": {..}}` spawns,
//!   `{"despawn": "agent"}` stops what was spawned.
//!
//! Anything else, and any line that is too long, is counted, logged and left out. What it writes
//! on standard error is logged. Its exit is the agent's: 0 is a normal stop, anything else a crash.
//!
//! The process leads a process group of its own. The group never outlives the incarnation: it is
//! told to terminate and then killed when the agent stops, and killed at once when the process
//! itself ends, when the agent is killed, and when the runtime goes away. Only a descendant that
//! leaves the group (`setsid`) escapes.

pub(crate) mod group;
pub(crate) mod line;
mod output;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lictor::{
    Agent, AgentError, AgentTypes, Context, ErrorAction, Message, ReplyFailure, SendError, Setup,
};
use nix::sys::signal::Signal;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::group::{Group, Slot};
use self::output::{Pending, Reader};
use super::{Counts, Ledger, NotUnderstood, bad, duration};

/// Told to the agent, by itself, when its process has ended.
const EXITED: &str = "lictor.exec.exited";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The program: a path, or a name that is looked up in `PATH`.
    command: String,
    /// Its arguments.
    #[serde(default)]
    args: Vec<String>,
    /// Variables that are added to the environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Whether the environment is inherited.
    #[serde(default = "yes")]
    inherit_env: bool,
    /// Its working directory; by default that of the runtime.
    cwd: Option<PathBuf>,
    /// How long it may take to end when it is told to, before it is killed.
    #[serde(default = "grace", deserialize_with = "duration")]
    stop_grace: Duration,
    /// The longest line that is read, in bytes.
    #[serde(default = "line_bytes")]
    max_line: usize,
    /// Questions that may wait for their answers; one more and the oldest fails.
    #[serde(default = "pending")]
    max_pending: usize,
}

const fn yes() -> bool {
    true
}

const fn grace() -> Duration {
    Duration::from_secs(3)
}

const fn line_bytes() -> usize {
    1024 * 1024
}

const fn pending() -> usize {
    1024
}

impl Config {
    fn of(setup: &Setup) -> Result<Self, AgentError> {
        let config: Self = setup.config()?;
        let texts = config.args.iter().chain(config.env.keys()).chain(config.env.values());
        if texts.chain([&config.command]).any(|text| text.contains('\0')) {
            return Err(bad("a text for the operating system cannot contain NUL"));
        }
        if config.command.is_empty() {
            return Err(bad("`command` is empty"));
        }
        if config.env.keys().any(|key| key.is_empty() || key.contains('=')) {
            return Err(bad("the name of a variable is empty or contains `=`"));
        }
        if !(64..=64 * 1024 * 1024).contains(&config.max_line) {
            return Err(bad("`max_line` must be from 64 to 67108864 bytes"));
        }
        if config.max_pending == 0 {
            return Err(bad("`max_pending` must be at least 1"));
        }
        Ok(config)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command);
        command.args(&self.args).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.inherit_env {
            command.env_clear();
        }
        command.envs(&self.env);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command
    }
}

pub(super) fn offer(types: AgentTypes, ledger: &Ledger) -> AgentTypes {
    let ledger = ledger.clone();
    types.with("lictor.exec", move |setup| {
        let config = Arc::new(Config::of(setup)?);
        let counts = ledger.counts(&setup.name);
        let slot = Arc::new(Slot::default());
        Ok(move || Exec {
            config: Arc::clone(&config),
            counts: counts.clone(),
            slot: Arc::clone(&slot),
            running: None,
        })
    })
}

struct Exec {
    config: Arc<Config>,
    counts: Counts,
    /// Where an incarnation finds what is left of the one before.
    slot: Arc<Slot>,
    running: Option<Running>,
}

/// How a process ended; `None` is a normal stop.
pub(crate) type Exit = Option<Arc<str>>;

struct Running {
    stdin: Option<ChildStdin>,
    group: Arc<Group>,
    exited: watch::Receiver<Option<Exit>>,
    pending: Arc<Pending>,
    /// Its end needs no telling any more.
    stopping: Arc<AtomicBool>,
    output: JoinHandle<()>,
    errors: JoinHandle<()>,
}

impl Running {
    fn exit(&self) -> Option<Exit> {
        self.exited.borrow().clone()
    }

    /// Writes a line, unless the process ends first.
    async fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        let mut exited = self.exited.clone();
        let Some(stdin) = &mut self.stdin else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        let write = async {
            stdin.write_all(line).await?;
            stdin.flush().await
        };
        tokio::select! {
            biased;
            _ = exited.wait_for(Option::is_some) => Err(std::io::ErrorKind::BrokenPipe.into()),
            written = write => written,
        }
    }

    /// Ends the process: its input ends, it is told to terminate, and in the end it is killed.
    async fn stop(&mut self, grace: Duration) {
        self.stopping.store(true, Ordering::Release);
        self.stdin = None;
        if self.exit().is_none() {
            self.group.signal(Signal::SIGTERM);
            let ended = self.exited.wait_for(Option::is_some);
            if tokio::time::timeout(grace, ended).await.is_err() {
                self.group.signal(Signal::SIGKILL);
                let _ = self.exited.wait_for(Option::is_some).await;
            }
        }
        // What it had still written is sent on.
        let _ = (&mut self.output).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.signal(Signal::SIGKILL);
        self.output.abort();
        self.errors.abort();
    }
}

impl Exec {
    fn spawn(&mut self, cx: &Context<Self>) -> Result<Running, AgentError> {
        let name = cx.name().to_owned();
        let program = &self.config.command;
        let (mut child, watched) = group::spawn(&mut self.config.command(), &self.slot)
            .map_err(|error| AgentError::new(format!("cannot run {program:?}: {error}")))?;
        let pending = Arc::new(Pending::new(self.config.max_pending));
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (group, exited) = watched.watch(child);
        let reader = Reader {
            runtime: cx.runtime(),
            name: name.clone(),
            counts: self.counts.clone(),
            pending: Arc::clone(&pending),
            max_line: self.config.max_line,
        };
        let this = cx.this();
        let stopping = Arc::new(AtomicBool::new(false));
        let (mut ended, told) = (exited.clone(), Arc::clone(&stopping));
        let output = tokio::spawn(async move {
            if let Some(stdout) = stdout {
                reader.output(stdout, ended.clone()).await;
            }
            let _ = ended.wait_for(Option::is_some).await;
            // A mailbox that is closed belongs to an agent that has ended already.
            while !told.load(Ordering::Acquire)
                && let Err(SendError::Full { .. } | SendError::Timeout { .. }) =
                    this.send_priority(Message::new(EXITED, ())).await
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (max_line, ended) = (self.config.max_line, exited.clone());
        let errors = tokio::spawn(async move {
            if let Some(stderr) = stderr {
                output::errors(stderr, &name, max_line, ended).await;
            }
        });
        Ok(Running { stdin, group, exited, pending, stopping, output, errors })
    }

    /// The end of the process is the end of the agent.
    fn exited(exit: Exit, running: &Running, cx: &mut Context<Self>) {
        match exit {
            None => {
                running.pending.fail(ReplyFailure::Stopped);
                cx.stop();
            }
            Some(why) => {
                running.pending.fail(ReplyFailure::Crashed);
                cx.fail(why);
            }
        }
    }
}

impl Agent for Exec {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        // The process of an incarnation that was killed may need a moment to be gone.
        self.slot.wait_until_free().await;
        self.running = Some(self.spawn(cx)?);
        Ok(())
    }

    async fn handle(
        &mut self,
        mut message: Message,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        let Some(running) = &mut self.running else {
            return Err(AgentError::new("there is no process"));
        };
        if message.kind() == EXITED {
            // One of an earlier incarnation finds the process alive.
            if let Some(exit) = running.exit() {
                Self::exited(exit, running, cx);
            }
            return Ok(());
        }
        if running.exit().is_none() {
            let id = message.take_reply_to().map(|reply_to| running.pending.add(reply_to));
            let line = line::input(&mut message, id)?;
            if running.write(&line).await.is_ok() {
                self.counts.one("lines_in");
                return Ok(());
            }
            // Its end may be about to be told.
            let ended = running.exited.wait_for(Option::is_some);
            let _ = tokio::time::timeout(Duration::from_millis(200), ended).await;
            running.pending.forget(id);
        }
        // The process has not had this message.
        self.counts.one("unwritten");
        match running.exit() {
            Some(Some(why)) => Err(AgentError::new(&*why)),
            Some(None) => {
                Self::exited(None, running, cx);
                Err(NotUnderstood("the process has ended".into()).into())
            }
            None => Err(NotUnderstood("the process does not read its input".into()).into()),
        }
    }

    /// A message that cannot be written any more is a dead letter, not a crash.
    fn on_error(&mut self, error: &AgentError, _attempt: u32) -> ErrorAction {
        match error.downcast_ref::<NotUnderstood>() {
            Some(_) => ErrorAction::Skip,
            None => ErrorAction::Escalate,
        }
    }

    async fn stop(&mut self, _cx: &mut Context<Self>) {
        if let Some(running) = &mut self.running {
            running.stop(self.config.stop_grace).await;
        }
        self.running = None;
    }
}

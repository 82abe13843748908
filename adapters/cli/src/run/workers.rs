//! The processes of a topology, as children of this one: started, watched and started again.
//!
//! They hang in a tree of their own, in a runtime of its own: the user's tree stays as the file has
//! it, and the same kernel decides about both. Each has a supervisor to itself, since each has its
//! own budget. Whoever uses that up ends the run.
//!
//! A worker lives no longer than this process: its standard input is a pipe from here, which ends
//! when we do, however that happens. (A death signal of Linux would need unsafe code, and follows
//! the thread that started it and not the process.)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lictor::kernel::ChildSpec;
use lictor::topology::{Process, Topology};
use lictor::{
    Agent, AgentError, AgentSpec, Context, Message, Runtime, RuntimeConfig, RuntimeExt, SendError,
    Shutdown, StartError, Supervisor, Tree, Value, agent,
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::BufReader;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::args::WireArgs;
use crate::builtins::exec::group::{self, Group, Slot};
use crate::builtins::exec::{Exit, line};
use crate::log;

/// Told to the agent of a process, by itself, when its process has ended.
const EXITED: &str = "lictor.process.exited";

/// What is said of processes may wait so long to be shown; what is beyond is not.
const NEWS_MAX: usize = 1024;

/// The longest line of a worker that is logged or understood, in bytes.
const LINE_MAX: usize = 1 << 20;

/// The name of a process, for a program that was not started by `lictor worker`.
const NAME: &str = "LICTOR_PROCESS";

/// What happened to a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// It was started.
    Started { process: Arc<str>, pid: u32 },
    /// It has said that it hosts its agents.
    Up { process: Arc<str> },
    /// It has ended, is reaped with its group, and why if that was not as told; and which boot of
    /// the process it was, if it had said so.
    Ended { process: Arc<str>, why: Exit, boot: Option<u64> },
    /// It could not be started.
    Failed { process: Arc<str>, why: Arc<str> },
}

impl News {
    /// As a line for people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Started { process, pid } => format!("process {process} started, pid {pid}"),
            Self::Up { process } => format!("process {process} is up"),
            Self::Ended { process, why: None, .. } => format!("process {process} has ended"),
            Self::Ended { process, why: Some(why), .. } => {
                format!("process {process} crashed: {why}")
            }
            Self::Failed { process, why } => format!("process {process} did not start: {why}"),
        }
    }

    /// As a line of JSON.
    pub(super) fn json(&self, at: f64) -> Value {
        match self {
            Self::Started { process, pid } => {
                json!({ "event": "process_started", "at": at, "process": process, "pid": pid })
            }
            Self::Up { process } => {
                json!({ "event": "process_up", "at": at, "process": process })
            }
            Self::Ended { process, why, .. } => {
                json!({ "event": "process_ended", "at": at, "process": process, "detail": why })
            }
            Self::Failed { process, why } => {
                json!({ "event": "process_failed", "at": at, "process": process, "detail": why })
            }
        }
    }
}

/// The processes that this one has started.
pub(super) struct Workers {
    runtime: Runtime,
    tree: Option<Tree>,
    news: mpsc::Receiver<News>,
}

/// How a process is started.
#[derive(Clone, Debug)]
struct Start {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    grace: Duration,
    /// Whether it is one of ours, which says when it is up.
    is_ours: bool,
}

impl Start {
    fn of(process: &Process, file: &Path, wire: &WireArgs) -> std::io::Result<Self> {
        let own = process.env.iter().map(|(key, text)| (key.to_owned(), text.into()));
        let mut env: BTreeMap<String, OsString> = own.collect();
        env.insert(NAME.to_owned(), (&*process.name).into());
        let grace = process.shutdown;
        if let Some((program, args)) = process.command.split_first() {
            let args = args.iter().map(Into::into).collect();
            return Ok(Self { program: program.into(), args, env, grace, is_ours: false });
        }
        let mut args: Vec<OsString> = ["worker".into(), file.into()].into();
        args.extend(["--process", &process.name, "--with-parent", "--json"].map(OsString::from));
        let (flags, variables) = wire.for_workers();
        args.extend(flags.into_iter().map(OsString::from));
        env.extend(variables.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        let program = std::env::current_exe()?.into();
        Ok(Self { program, args, env, grace, is_ours: true })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(&self.env).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Workers {
    /// Starts the processes that the topology describes, but for those that somebody else starts.
    /// `None` if there is none.
    pub(super) async fn start(
        topology: &Topology,
        file: &Path,
        wire: &WireArgs,
    ) -> Result<Option<Self>, StartError> {
        let ours: Vec<&Process> = topology.processes.iter().filter(|it| !it.external).collect();
        if ours.is_empty() {
            return Ok(None);
        }
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let mut root = Supervisor::one_for_one("processes").max_restarts(0, Duration::from_secs(1));
        for (number, process) in ours.into_iter().enumerate() {
            let start =
                Start::of(process, file, wire).map_err(|error| StartError::AgentFailed {
                    name: process.name.clone(),
                    detail: format!("this program cannot be found: {error}"),
                })?;
            root = root.supervisor(supervised(number, process, start, tell.clone()));
        }
        let config = RuntimeConfig { stop_timeout: longest(topology), ..RuntimeConfig::default() };
        let runtime = Runtime::current_with(config).map_err(|_| StartError::Stopped)?;
        let tree = runtime.start(root).await?;
        Ok(Some(Self { runtime, tree: Some(tree), news }))
    }

    /// What happened next; `None` when they have all ended for good.
    pub(super) async fn next(&mut self) -> Option<News> {
        tokio::select! {
            biased;
            news = self.news.recv() => news,
            _ = self.runtime.terminated() => None,
        }
    }

    /// What has happened and was not taken yet.
    pub(super) fn try_next(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Stops all of them: they are told, and killed if they do not end in time.
    pub(super) async fn stop(&mut self) {
        self.runtime.stop().await;
        self.tree = None;
    }
}

/// How long all of them may take to stop: each in turn, and a little more.
fn longest(topology: &Topology) -> Duration {
    let each = topology.processes.iter().map(|process| process.shutdown);
    each.fold(Duration::from_secs(5), Duration::saturating_add)
}

/// Which boot a worker says that it is, in its line `hosting`.
fn boot_of(line: &[u8]) -> Option<u64> {
    let said: Value = serde_json::from_slice(line).ok()?;
    said.get("boot")?.as_str()?.parse().ok()
}

/// One process under a supervisor of its own. The names are not seen anywhere.
fn supervised(
    number: usize,
    process: &Process,
    start: Start,
    tell: mpsc::Sender<News>,
) -> Supervisor {
    let name: Arc<str> = process.name.as_str().into();
    let (start, slot) = (Arc::new(start), Arc::new(Slot::default()));
    let shutdown = process.shutdown.saturating_add(Duration::from_secs(2));
    let worker = agent(format!("p{number}"), move || Worker {
        name: Arc::clone(&name),
        start: Arc::clone(&start),
        slot: Arc::clone(&slot),
        tell: tell.clone(),
        running: None,
    });
    let spec = ChildSpec { restart: process.restart, ..ChildSpec::worker() };
    let worker: AgentSpec =
        worker.as_child(ChildSpec { shutdown: Shutdown::Timeout(shutdown), ..spec });
    Supervisor::one_for_one(format!("s{number}"))
        .max_restarts(process.intensity.max_restarts, process.intensity.period)
        .backoff(process.backoff)
        .agent(worker)
}

/// A process as an agent: its exit is the agent's.
struct Worker {
    name: Arc<str>,
    start: Arc<Start>,
    slot: Arc<Slot>,
    tell: mpsc::Sender<News>,
    running: Option<Running>,
}

struct Running {
    /// Open as long as we live.
    stdin: Option<tokio::process::ChildStdin>,
    group: Arc<Group>,
    exited: watch::Receiver<Option<Exit>>,
    /// Which boot it is, as it has said itself.
    boot: Arc<OnceLock<u64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.signal(Signal::SIGKILL);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Worker {
    /// What nobody takes in time is not shown.
    fn tell(&self, news: News) {
        let _ = self.tell.try_send(news);
    }

    fn spawn(&self, cx: &Context<Self>) -> std::io::Result<Running> {
        let (mut child, watched) = group::spawn(&mut self.start.command(), &self.slot)?;
        let pid = child.id().unwrap_or_default();
        self.tell(News::Started { process: Arc::clone(&self.name), pid });
        let stdin = child.stdin.take();
        let boot = Arc::new(OnceLock::new());
        let mut tasks = self.read(&mut child, &boot);
        let (group, exited) = watched.watch(child);
        let this = cx.this();
        let mut ended = exited.clone();
        tasks.push(tokio::spawn(async move {
            let _ = ended.wait_for(Option::is_some).await;
            // A mailbox that is closed belongs to an agent that has ended already.
            while let Err(SendError::Full { .. } | SendError::Timeout { .. }) =
                this.send_priority(Message::new(EXITED, ())).await
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        Ok(Running { stdin, group, exited, boot, tasks })
    }

    /// Reads what the process writes: its errors are logged, and of the lines of a worker of ours
    /// one says that it is up, and which boot it is.
    fn read(&self, child: &mut Child, boot: &Arc<OnceLock<u64>>) -> Vec<JoinHandle<()>> {
        let boot = Arc::clone(boot);
        let (process, tell, is_ours) =
            (Arc::clone(&self.name), self.tell.clone(), self.start.is_ours);
        let stdout = child.stdout.take().map(BufReader::new);
        let output = tokio::spawn(async move {
            let Some(mut stdout) = stdout else { return };
            let mut buffer = Vec::new();
            let mut is_up = false;
            while let Ok(line::Read::Line | line::Read::TooLong) =
                line::read(&mut stdout, &mut buffer, LINE_MAX).await
            {
                if !is_ours {
                    let text = String::from_utf8_lossy(&buffer);
                    tracing::info!(target: "lictor::process", "[{process}] {}", text.trim_end());
                } else if !is_up && buffer.starts_with(br#"{"event":"hosting""#) {
                    is_up = true;
                    if let Some(said) = boot_of(&buffer) {
                        let _ = boot.set(said);
                    }
                    let _ = tell.try_send(News::Up { process: Arc::clone(&process) });
                }
            }
        });
        let process = Arc::clone(&self.name);
        let stderr = child.stderr.take().map(BufReader::new);
        let errors = tokio::spawn(async move {
            let Some(mut stderr) = stderr else { return };
            let mut buffer = Vec::new();
            while let Ok(line::Read::Line | line::Read::TooLong) =
                line::read(&mut stderr, &mut buffer, LINE_MAX).await
            {
                let text = String::from_utf8_lossy(&buffer);
                log::hand_on(&process, text.trim_end(), is_ours);
            }
        });
        vec![output, errors]
    }

    /// The process has been reaped. If it is not told in time which boot is gone, what it ran waits
    /// for the end of its lease, as that of a process that somebody else has started.
    fn ended(&self, running: Option<&Running>, why: Exit) {
        let boot = running.and_then(|running| running.boot.get().copied());
        self.tell(News::Ended { process: Arc::clone(&self.name), why, boot });
    }
}

impl Agent for Worker {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        // The process before may need a moment to be gone.
        self.slot.wait_until_free().await;
        match self.spawn(cx) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                let why: Arc<str> =
                    format!("cannot run {}: {error}", self.start.program.display()).into();
                let (process, text) = (Arc::clone(&self.name), Arc::clone(&why));
                self.tell(News::Failed { process, why: text });
                return Err(AgentError::new(format!("process {}: {why}", self.name)));
            }
        }
        Ok(())
    }

    async fn handle(&mut self, _: Message, cx: &mut Context<Self>) -> Result<(), AgentError> {
        // One of an earlier incarnation finds the process alive.
        let exit = self.running.as_ref().and_then(|running| running.exited.borrow().clone());
        match exit {
            Some(None) => {
                self.ended(self.running.as_ref(), None);
                cx.stop();
            }
            Some(Some(why)) => {
                self.ended(self.running.as_ref(), Some(Arc::clone(&why)));
                cx.fail(why);
            }
            None => {}
        }
        Ok(())
    }

    async fn stop(&mut self, _: &mut Context<Self>) {
        let Some(mut running) = self.running.take() else { return };
        if running.exited.borrow().is_some() {
            return;
        }
        running.group.signal(Signal::SIGTERM);
        let ended = running.exited.wait_for(Option::is_some);
        let in_time = tokio::time::timeout(self.start.grace, ended).await.is_ok();
        if !in_time {
            running.group.signal(Signal::SIGKILL);
            let _ = running.exited.wait_for(Option::is_some).await;
        }
        let why = (!in_time).then(|| Arc::from("killed: it did not stop in time"));
        self.ended(Some(&running), why);
        drop(running.stdin.take());
    }
}

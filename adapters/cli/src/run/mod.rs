//! `lictor run`: one tree, from its start to its end.

mod frame;
mod totals;
mod view;
mod workers;
mod writer;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use lictor::kernel::NodeId;
use lictor::topology::Topology;
use lictor::{
    Network, NetworkError, Runtime, RuntimeConfig, RuntimeExt, StartError, Supervisor, Tree,
    reason_name, root_from_topology,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};

pub(crate) use self::frame::describe;
pub(crate) use self::totals::seconds;
use self::totals::{Summary, Totals};
use self::view::View;
pub(crate) use self::view::event_line;
use self::workers::{News, Workers};
use self::writer::Writer;
use crate::Outcome;
use crate::args::RunArgs;
use crate::builtins::{self, Ledger};
use crate::log::{self, Pane};
use crate::output;
use crate::source::Source;
use crate::wire::{Starts, Wire};

/// How often the live view is drawn and a slow reader is looked after.
const TICK: Duration = Duration::from_millis(200);

/// Why a run ends whose process has used up its restarts.
const GIVEN_UP: &str = "process_given_up";

/// Up to so many agents all of them are looked at after each event, and not only now and then.
const SMALL: usize = 200;

pub(crate) fn run(args: &RunArgs) -> Outcome {
    let ledger = Ledger::new();
    let types = builtins::types(&ledger);
    let source = Source::read_to_run(&args.file, &types, &args.wire.overrides(false));
    let faults = source.render(output::style(&std::io::stderr()));
    output::complain(&faults);
    let Some(topology) = &source.topology else { return Outcome::BadInput };
    let refused = |error: &dyn std::fmt::Display| {
        output::complain(&format!("error: {error}\n"));
        Outcome::BadInput
    };
    let network = match topology.is_distributed().then(|| Network::of_tree(topology)).transpose() {
        Ok(network) => network,
        Err(error) => return refused(&error),
    };
    let has_workers = !args.no_workers && topology.processes.iter().any(|it| !it.external);
    if network.is_some() && has_workers && args.file.as_os_str() == "-" {
        return refused(&"the workers must read the file, too: give its path, or --no-workers");
    }
    let root = match root_from_topology(&source.file, topology, &types) {
        Ok(root) => root,
        Err(error) => return refused(&error),
    };
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let pane = (!args.json && stdout().is_terminal() && !dumb).then(Pane::default);
    log::start(args.log, pane.as_ref());
    let tokio = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => {
            output::complain(&format!("error: cannot start threads: {error}\n"));
            return Outcome::Failed;
        }
    };
    let view = View::new(&source.file, topology, pane, ledger.clone(), network.clone());
    let config =
        RuntimeConfig { types, stop_timeout: args.stop_timeout, ..RuntimeConfig::default() };
    let outcome = tokio.block_on(async {
        let prepared = prepare(args, topology, network, config).await;
        let session = prepared.and_then(|(config, wire, workers)| {
            Session::new(config, root, view, ledger, wire, workers)
        });
        match session {
            Ok(session) => session.run(args.time).await,
            Err(error) => not_begun(&*error),
        }
    });
    // Drops every agent that is left, and with it the processes that it supervises.
    tokio.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Says why nothing was begun: what the file says of keys and of the wire is a fault of the file.
pub(crate) fn not_begun(error: &(dyn std::error::Error + 'static)) -> Outcome {
    output::complain(&format!("error: {error}\n"));
    if error.is::<NetworkError>() { Outcome::BadInput } else { Outcome::Failed }
}

type Prepared = (RuntimeConfig, Option<Wire>, Option<Workers>);

/// What must be there before the tree: the wire and the processes of a topology that has some.
async fn prepare(
    args: &RunArgs,
    topology: &Topology,
    network: Option<Network>,
    config: RuntimeConfig,
) -> Result<Prepared, Box<dyn std::error::Error>> {
    let Some(network) = network else { return Ok((config, None, None)) };
    let file = &*args.file.to_string_lossy();
    let starts = Starts { file, workers: !args.no_workers };
    let (wire, config) = Wire::join(&network, topology, config, starts)?;
    let workers = match args.no_workers {
        true => None,
        false => Workers::start(topology, &args.file, &args.wire).await?,
    };
    Ok((config, Some(wire), workers))
}

/// A tree while it runs, and everything that may happen to it.
struct Session {
    runtime: Runtime,
    wire: Option<Wire>,
    workers: Option<Workers>,
    events: lictor::Events,
    signals: Signals,
    writer: Writer,
    view: View,
    totals: Totals,
    ledger: Ledger,
    began: Instant,
    start: Option<JoinHandle<Result<Tree, StartError>>>,
    /// Why and since when the tree is being stopped.
    stop: Option<(&'static str, JoinHandle<()>)>,
    agents: usize,
}

/// The signals that ask for an end.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What the session turns to next.
enum Next {
    Signal,
    Tick,
    TimeIsUp,
    Started(Result<Tree, StartError>),
    Event(lictor::RuntimeEvent),
    Process(News),
    /// A process has used up its restarts.
    ProcessGivenUp,
    /// The tree has ended, and every event was taken.
    Ended,
    OutputClosed,
}

/// How a session ended.
enum End {
    Tree,
    StartFailed(StartError),
    Killed,
}

impl Session {
    fn new(
        config: RuntimeConfig,
        root: Supervisor,
        view: View,
        ledger: Ledger,
        wire: Option<Wire>,
        workers: Option<Workers>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let signals = Signals::listen()?;
        let runtime = Runtime::current_with(config)?;
        let events = runtime.events();
        let starting = runtime.clone();
        let start = tokio::spawn(async move { starting.start(root).await });
        Ok(Self {
            runtime,
            wire,
            workers,
            events,
            signals,
            writer: Writer::start(),
            view,
            totals: Totals::default(),
            ledger,
            began: Instant::now(),
            start: Some(start),
            stop: None,
            agents: 0,
        })
    }

    async fn run(mut self, time: Option<Duration>) -> Outcome {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until = None;
        let end = loop {
            match self.next(&mut tick, until).await {
                Next::Signal if self.stop.is_some() => break End::Killed,
                Next::Signal => self.stop("signal"),
                Next::OutputClosed => self.stop("output_closed"),
                Next::TimeIsUp => {
                    until = None;
                    self.stop("time");
                }
                Next::Process(news) => self.news(&news),
                Next::ProcessGivenUp => {
                    self.workers = None;
                    self.stop(GIVEN_UP);
                }
                Next::Tick => {
                    self.look();
                    let runtime = &self.runtime;
                    let notices = self.wire.as_mut().map(|wire| wire.notices(runtime));
                    for notice in notices.unwrap_or_default() {
                        tracing::warn!(target: "lictor::wire", "{notice}");
                    }
                    if self.writer.is_idle() {
                        let text = self.view.tick(&self.runtime, &self.totals);
                        self.writer.write(text);
                    }
                }
                Next::Started(Ok(_)) => {
                    until = time.and_then(|time| Instant::now().checked_add(time));
                    let text = self.view.running(self.runtime.now());
                    self.writer.write(text);
                }
                // A start that was given up because of a stop ends as a stop does.
                Next::Started(Err(_)) if self.stop.is_some() => break End::Tree,
                Next::Started(Err(error)) => break End::StartFailed(error),
                Next::Event(event) => self.event(&event),
                Next::Ended => break End::Tree,
            }
        };
        self.finish(end).await
    }

    #[expect(clippy::ignored_unit_patterns, reason = "what the macro expands to")]
    async fn next(&mut self, tick: &mut Interval, until: Option<Instant>) -> Next {
        let is_up = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let (starts, ready) = (self.start.is_some(), self.writer.is_ready());
        let start = async {
            match &mut self.start {
                Some(start) => start.await,
                None => std::future::pending().await,
            }
        };
        let news = async {
            match &mut self.workers {
                Some(workers) => workers.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.signals.next() => Next::Signal,
            _ = tick.tick() => Next::Tick,
            news = news, if ready => news.map_or(Next::ProcessGivenUp, Next::Process),
            _ = self.writer.closed(), if self.stop.is_none() => Next::OutputClosed,
            _ = is_up => Next::TimeIsUp,
            started = start, if starts => {
                self.start = None;
                Next::Started(started.unwrap_or(Err(StartError::Stopped)))
            }
            event = self.events.next(), if ready => event.map_or(Next::Ended, Next::Event),
        }
    }

    fn stop(&mut self, why: &'static str) {
        if self.stop.is_none() {
            self.look();
            let runtime = self.runtime.clone();
            self.stop = Some((why, tokio::spawn(async move { runtime.stop().await })));
            self.view.stopping();
        }
    }

    fn event(&mut self, event: &lictor::RuntimeEvent) {
        self.totals.count(event);
        if self.agents <= SMALL {
            self.look();
        }
        let text = self.view.event(event);
        self.writer.write(text);
    }

    fn news(&mut self, news: &News) {
        if let News::Ended { process, boot: Some(boot), .. } = news {
            // What it ran is gone with it, and need not be waited for.
            self.runtime.peer_gone(NodeId::of_name(process), *boot);
        }
        let text = self.view.news(news, self.runtime.now());
        self.writer.write(text);
    }

    /// Takes note of the agents: when the tree has ended nothing can be seen of them any more.
    fn look(&mut self) {
        let agents = self.runtime.agents();
        self.agents = agents.len();
        self.totals.look(agents);
        self.view.look(&self.runtime);
    }

    /// Stops the processes, after the tree; a second signal kills them.
    async fn stop_workers(&mut self) -> Option<Outcome> {
        let mut workers = self.workers.take()?;
        tokio::select! {
            () = workers.stop() => {}
            () = self.signals.next() => return Some(Outcome::Killed),
        }
        while let Some(news) = workers.try_next() {
            self.news(&news);
        }
        None
    }

    async fn finish(mut self, mut end: End) -> Outcome {
        if !matches!(end, End::Killed) && self.stop_workers().await.is_some() {
            end = End::Killed;
        }
        while let Some(event) = self.events.try_next() {
            self.event(&event);
        }
        let (reason, detail, outcome) = match end {
            End::Killed => ("killed", None, Outcome::Killed),
            End::StartFailed(error) => {
                let detail = error.to_string();
                output::complain(&format!("error: {detail}\n"));
                ("start_failed", Some(detail), Outcome::Failed)
            }
            End::Tree => match &self.stop {
                Some((GIVEN_UP, _)) => (GIVEN_UP, None, Outcome::Failed),
                Some((why, _)) => (*why, None, Outcome::Clean),
                None => {
                    let reason = self.runtime.terminated().await.reason;
                    let done = reason.is_clean();
                    let outcome = if done { Outcome::Clean } else { Outcome::Failed };
                    (reason_name(reason), None, outcome)
                }
            },
        };
        self.totals.end();
        let summary = Summary {
            at: self.runtime.now(),
            uptime: self.began.elapsed(),
            reason,
            detail,
            totals: &self.totals,
            missed: self.events.missed(),
            ledger: &self.ledger,
        };
        let text = self.view.finish(&summary);
        self.writer.write(text);
        if outcome == Outcome::Killed {
            return outcome;
        }
        // A reader that takes nothing must not keep us from ending.
        tokio::select! {
            written = self.writer.finish() => match output::excused(written) {
                Ok(()) => outcome,
                Err(error) => {
                    output::unwritten(&error);
                    Outcome::Failed
                }
            },
            () = self.signals.next() => Outcome::Killed,
        }
    }
}

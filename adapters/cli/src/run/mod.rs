//! `lictor run`: one tree, from its start to its end.

mod frame;
mod totals;
mod view;
mod writer;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use lictor::{
    Runtime, RuntimeConfig, RuntimeExt, StartError, Supervisor, Tree, reason_name,
    root_from_topology,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::totals::{Summary, Totals};
use self::view::View;
use self::writer::Writer;
use crate::Outcome;
use crate::args::RunArgs;
use crate::builtins::{self, Ledger};
use crate::log::{self, Pane};
use crate::output;
use crate::source::Source;

/// How often the live view is drawn and a slow reader is looked after.
const TICK: Duration = Duration::from_millis(200);

/// Up to so many agents all of them are looked at after each event, and not only now and then.
const SMALL: usize = 200;

pub(crate) fn run(args: &RunArgs) -> Outcome {
    let ledger = Ledger::new();
    let types = builtins::types(&ledger);
    let source = Source::read(&args.file, &types);
    let faults = source.render(output::style(&std::io::stderr()));
    output::complain(&faults);
    let Some(topology) = &source.topology else { return Outcome::BadInput };
    let root = match root_from_topology(&source.file, topology, &types) {
        Ok(root) => root,
        Err(error) => {
            output::complain(&format!("error: {error}\n"));
            return Outcome::BadInput;
        }
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
    let view = View::new(&source.file, topology, pane, ledger.clone());
    let config =
        RuntimeConfig { types, stop_timeout: args.stop_timeout, ..RuntimeConfig::default() };
    let outcome = tokio.block_on(async {
        let session = Session::new(config, root, view, ledger);
        match session {
            Ok(session) => session.run(args.time).await,
            Err(error) => {
                output::complain(&format!("error: {error}\n"));
                Outcome::Failed
            }
        }
    });
    // Drops every agent that is left, and with it the processes that it supervises.
    tokio.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// A tree while it runs, and everything that may happen to it.
struct Session {
    runtime: Runtime,
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

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    async fn next(&mut self) {
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
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        };
        let runtime = Runtime::current_with(config)?;
        let events = runtime.events();
        let starting = runtime.clone();
        let start = tokio::spawn(async move { starting.start(root).await });
        Ok(Self {
            runtime,
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
                Next::Tick => {
                    self.look();
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
        tokio::select! {
            biased;
            _ = self.signals.next() => Next::Signal,
            _ = tick.tick() => Next::Tick,
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

    /// Takes note of the agents: when the tree has ended nothing can be seen of them any more.
    fn look(&mut self) {
        let agents = self.runtime.agents();
        self.agents = agents.len();
        self.totals.look(agents);
        self.view.look(&self.runtime);
    }

    async fn finish(mut self, end: End) -> Outcome {
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

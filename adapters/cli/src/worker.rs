//! `lictor worker`: one process of a topology, from its start to its end.

use std::io::{IsTerminal, Read, stdin, stdout};
use std::time::Duration;

use lictor::topology::Topology;
use lictor::{Events, Network, Runtime, RuntimeConfig, RuntimeEvent, RuntimeExt, placed_on};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval};

use crate::Outcome;
use crate::args::WorkerArgs;
use crate::builtins::{self, Ledger};
use crate::run::{Signals, describe, event_line, not_begun, seconds};
use crate::source::Source;
use crate::wire::{Starts, Wire};
use crate::{log, output};

/// How often the broker is looked after.
const TICK: Duration = Duration::from_millis(500);

pub(crate) fn worker(args: &WorkerArgs) -> Outcome {
    let types = builtins::types(&Ledger::new());
    let overrides = args.wire.overrides(args.with_parent);
    let source = Source::read_to_host(&args.file, &types, &overrides, &args.process);
    output::complain(&source.render(output::style(&std::io::stderr())));
    let Some(topology) = &source.topology else { return Outcome::BadInput };
    let refused = |error: &dyn std::fmt::Display| {
        output::complain(&format!("error: {error}\n"));
        Outcome::BadInput
    };
    let network = match Network::of(topology, &args.process) {
        Ok(network) => network,
        Err(error) => return refused(&error),
    };
    if network.has_tree() {
        let name = network.process();
        return refused(&format!("{name:?} is the process of the tree: that is `lictor run`"));
    }
    log::start(args.log, None);
    let tokio = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => {
            output::complain(&format!("error: cannot start threads: {error}\n"));
            return Outcome::Failed;
        }
    };
    let config =
        RuntimeConfig { types, stop_timeout: args.stop_timeout, ..RuntimeConfig::default() };
    let outcome = tokio.block_on(async {
        match Host::start(args, &source.file, topology, network, config).await {
            Ok(host) => host.run(args.time).await,
            Err(error) => not_begun(&*error),
        }
    });
    // Drops every agent that is left, and with it the processes that it supervises.
    tokio.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// A process of a topology while it runs.
struct Host {
    runtime: Runtime,
    events: Events,
    network: Network,
    /// Which boot of the process this is, as others know it.
    boot: u64,
    /// What may run here.
    agents: Vec<String>,
    wire: Wire,
    signals: Signals,
    is_lines: bool,
    /// Ends with standard input, if that counts.
    parent: Option<oneshot::Receiver<()>>,
}

/// What it turns to next.
enum Next {
    Stop,
    Tick,
    Event(Option<RuntimeEvent>),
}

impl Host {
    async fn start(
        args: &WorkerArgs,
        file: &str,
        topology: &Topology,
        network: Network,
        config: RuntimeConfig,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        // Before anything runs that must be ended.
        let signals = Signals::listen()?;
        let parent = args.with_parent.then(end_of_input);
        let hosted = placed_on(file, topology, &config.types, network.process())?;
        let own = network.process();
        let placed = topology.all_children().filter(|child| child.process() == Some(own));
        let agents = placed.map(|child| child.name().to_owned()).collect();
        let (wire, config) =
            Wire::join(&network, topology, config, Starts { file, workers: false })?;
        let boot = config.membership.epoch;
        let runtime = Runtime::current_with(config)?;
        let events = runtime.events();
        runtime.serve(network.process(), hosted).await?;
        let is_lines = args.json || !stdout().is_terminal();
        let host = Self { runtime, events, network, boot, agents, wire, signals, is_lines, parent };
        host.say_hosting(file)?;
        Ok(host)
    }

    fn say_hosting(&self, file: &str) -> std::io::Result<()> {
        let process = &**self.network.process();
        if !self.is_lines {
            let agents = self.agents.join(", ");
            return output::print(&format!("process {process} of {file} is up for {agents}\n"));
        }
        // `event` comes first: that is how a `lictor run` knows the line.
        output::print(&output::json_line(&json!({
            "event": "hosting",
            "at": seconds(self.runtime.now()),
            "process": process,
            "file": file,
            "pid": std::process::id(),
            // Nanoseconds since 1970 are more than a number of JSON holds everywhere.
            "boot": self.boot.to_string(),
            "agents": self.agents,
        })))
    }

    async fn run(mut self, time: Option<Duration>) -> Outcome {
        let until = time.and_then(|time| Instant::now().checked_add(time));
        let mut tick = tokio::time::interval(TICK);
        loop {
            match self.next(&mut tick, until).await {
                Next::Stop => break,
                Next::Tick => {
                    for notice in self.wire.notices(&self.runtime) {
                        tracing::warn!(target: "lictor::wire", "{notice}");
                    }
                }
                Next::Event(Some(event)) => {
                    if self.say(&event).is_err() {
                        return Outcome::Failed;
                    }
                }
                Next::Event(None) => {
                    let clean = self.runtime.terminated().await.reason.is_clean();
                    return if clean { Outcome::Clean } else { Outcome::Failed };
                }
            }
        }
        tokio::select! {
            () = self.runtime.stop() => {}
            () = self.signals.next() => return Outcome::Killed,
        }
        while let Some(event) = self.events.try_next() {
            if self.say(&event).is_err() {
                return Outcome::Failed;
            }
        }
        Outcome::Clean
    }

    #[expect(clippy::ignored_unit_patterns, reason = "what the macro expands to")]
    async fn next(&mut self, tick: &mut Interval, until: Option<Instant>) -> Next {
        let is_up = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let orphaned = async {
            match &mut self.parent {
                Some(parent) => drop(parent.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.signals.next() => Next::Stop,
            _ = orphaned => Next::Stop,
            _ = is_up => Next::Stop,
            _ = tick.tick() => Next::Tick,
            event = self.events.next() => Next::Event(event),
        }
    }

    fn say(&self, event: &RuntimeEvent) -> std::io::Result<()> {
        let network = Some(&self.network);
        if self.is_lines {
            return output::print(&event_line(event, network));
        }
        output::print(&format!("{}\n", describe(event, network)))
    }
}

/// Is told when standard input has ended. The thread that reads it may outlive everything else: a
/// read cannot be taken back.
fn end_of_input() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut stdin = stdin().lock();
        while stdin.read(&mut buffer).is_ok_and(|read| read > 0) {}
        drop(tell);
    });
    told
}

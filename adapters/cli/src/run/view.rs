//! What a run shows: a live tree on a terminal, lines of JSON otherwise.

use std::collections::VecDeque;
use std::time::Duration;

use lictor::topology::{Style, Topology};
use lictor::{AgentInfo, Instant, Network, Runtime, RuntimeEvent, Value};
use serde_json::json;

use super::frame::{self, Frame, Size};
use super::totals::{Summary, Totals, seconds};
use super::workers::News;
use crate::builtins::Ledger;
use crate::log::Pane;
use crate::{output, tree};

pub(super) enum View {
    Live(Box<Live>),
    Lines(Box<Lines>),
}

pub(super) struct Live {
    network: Option<Network>,
    file: String,
    tree: String,
    status: &'static str,
    events: VecDeque<String>,
    pane: Pane,
    ledger: Ledger,
    style: Style,
    /// Lines of the last frame, and the size of the terminal that it was drawn for.
    drawn: Option<(usize, Size)>,
}

pub(super) struct Lines {
    network: Option<Network>,
    file: String,
    tree: Value,
    ledger: Ledger,
    /// Events before the tree was up: they come after the line that says so. Of a tree over several
    /// processes they are not held back.
    held: Option<String>,
    last_stats: Option<Instant>,
}

/// Events that the live view remembers.
const EVENTS: usize = 100;

impl View {
    pub(super) fn new(
        file: &str,
        topology: &Topology,
        pane: Option<Pane>,
        ledger: Ledger,
        network: Option<Network>,
    ) -> Self {
        let file = file.to_owned();
        match pane {
            Some(pane) => Self::Live(Box::new(Live {
                network,
                file,
                tree: tree::text(&topology.root),
                status: "starting",
                events: VecDeque::new(),
                pane,
                ledger,
                style: output::style(&std::io::stdout()),
                drawn: None,
            })),
            None => Self::Lines(Box::new(Lines {
                // A tree that waits for other processes may wait long, and what it waits for is to
                // be seen.
                held: network.is_none().then(String::new),
                network,
                file,
                tree: tree::json(&topology.root),
                ledger,
                last_stats: None,
            })),
        }
    }

    /// The tree is up.
    pub(super) fn running(&mut self, at: Instant) -> String {
        match self {
            Self::Live(live) => {
                live.status = "running";
                String::new()
            }
            Self::Lines(lines) => {
                lines.last_stats = Some(at);
                let running = json!({
                    "event": "running",
                    "at": seconds(at),
                    "file": lines.file,
                    "pid": std::process::id(),
                    "tree": lines.tree,
                });
                output::json_line(&running) + &lines.held.take().unwrap_or_default()
            }
        }
    }

    /// The tree is being stopped.
    pub(super) fn stopping(&mut self) {
        if let Self::Live(live) = self {
            live.status = "stopping, Ctrl-C kills";
        }
    }

    pub(super) fn event(&mut self, event: &RuntimeEvent) -> String {
        match self {
            Self::Live(live) => {
                live.remember(frame::describe(event, live.network.as_ref()));
                String::new()
            }
            Self::Lines(lines) => {
                let line = event_line(event, lines.network.as_ref());
                lines.say(line)
            }
        }
    }

    /// What happened to a process.
    pub(super) fn news(&mut self, news: &News, at: Instant) -> String {
        match self {
            Self::Live(live) => {
                live.remember(format!("{:>9.3} {}", seconds(at), news.text()));
                String::new()
            }
            Self::Lines(lines) => lines.say(output::json_line(&news.json(seconds(at)))),
        }
    }

    /// Keeps what can be seen of the tree.
    pub(super) fn look(&mut self, runtime: &Runtime) {
        if let Self::Live(live) = self {
            let tree = runtime.print_tree();
            if tree.starts_with('[') {
                live.tree = tree;
            }
        }
    }

    /// A few times a second.
    pub(super) fn tick(&mut self, runtime: &Runtime, totals: &Totals) -> String {
        match self {
            Self::Live(live) => live.draw(seconds(runtime.now()), totals),
            Self::Lines(lines) => {
                let now = runtime.now();
                let second = |last: Instant| now.saturating_since(last) >= Duration::from_secs(1);
                if !lines.last_stats.is_some_and(second) {
                    return String::new();
                }
                lines.last_stats = Some(now);
                let agents = runtime.agents();
                output::json_line(&json!({
                    "event": "stats",
                    "at": seconds(now),
                    "agents": agents.iter().map(agent_json).collect::<Vec<Value>>(),
                    "counts": counts_json(&lines.ledger, &agents),
                }))
            }
        }
    }

    pub(super) fn finish(&mut self, summary: &Summary<'_>) -> String {
        match self {
            Self::Live(live) => {
                live.status = "ended";
                for status in ["INITIALIZING", "RUNNING", "SUSPENDED", "STOPPING"] {
                    live.tree = live.tree.replace(&format!("({status})"), "(STOPPED)");
                }
                live.draw(seconds(summary.at), summary.totals) + "\n" + &summary.text()
            }
            Self::Lines(lines) => {
                let held = lines.held.take().unwrap_or_default();
                held + &output::json_line(&summary.json())
            }
        }
    }
}

impl Lines {
    /// A line, after that which says that the tree is up.
    fn say(&mut self, line: String) -> String {
        match &mut self.held {
            Some(held) => {
                held.push_str(&line);
                String::new()
            }
            None => line,
        }
    }
}

/// An event as a line of JSON; one of another node has the name of its process, too.
pub(crate) fn event_line(event: &RuntimeEvent, network: Option<&Network>) -> String {
    let mut line = serde_json::to_value(event).unwrap_or_default();
    if let Some(process) = network.and_then(|network| frame::process_of(event, network)) {
        line["process"] = (**process).into();
    }
    output::json_line(&line)
}

/// What is counted of an agent where it runs.
const COUNTED: [&str; 5] = ["queued", "accepted", "handled", "rejected", "dead_letters"];

/// An agent as it is seen from here: null is what only the process knows on which it is placed.
fn agent_json(agent: &AgentInfo) -> Value {
    let mut value = serde_json::to_value(agent).unwrap_or_default();
    if agent.on.is_some() {
        COUNTED.iter().for_each(|key| value[*key] = Value::Null);
    }
    value
}

/// What agents count, null for those that count elsewhere.
pub(super) fn counts_json<'a>(
    ledger: &Ledger,
    agents: impl IntoIterator<Item = &'a AgentInfo>,
) -> Value {
    let mut counts = json!(ledger.all());
    for agent in agents.into_iter().filter(|agent| agent.on.is_some()) {
        counts[&*agent.name] = Value::Null;
    }
    counts
}

impl Live {
    fn remember(&mut self, line: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(line);
    }

    fn draw(&mut self, uptime: f64, totals: &Totals) -> String {
        for line in self.pane.take() {
            self.remember(line);
        }
        let size = terminal_size::terminal_size()
            .map_or_else(Size::default, |(width, height)| Size::new(width.0, height.0));
        self.draw_at(size, uptime, totals)
    }

    fn draw_at(&mut self, size: Size, uptime: f64, totals: &Totals) -> String {
        let lines = frame::render(&Frame {
            file: &self.file,
            status: self.status,
            uptime,
            tree: &self.tree,
            totals,
            ledger: &self.ledger,
            events: &self.events,
            size,
            style: self.style,
        });
        let mut text = match self.drawn {
            None => String::new(),
            Some((drawn, before)) if before == size => format!("\x1b[{drawn}A\r"),
            // A terminal that was made narrower has broken the lines anew, and nobody knows how
            // high the last frame is now.
            Some(_) => "\x1b[2J\x1b[H".to_owned(),
        };
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn = Some((lines.len(), size));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The cursor went up by the lines of the last frame also where they had been broken anew.
    #[test]
    fn a_terminal_of_another_size_is_cleared() {
        let mut live = Live {
            network: None,
            file: "app.yaml".to_owned(),
            tree: "[sup] root (ONE_FOR_ONE)".to_owned(),
            status: "running",
            events: VecDeque::new(),
            pane: Pane::default(),
            ledger: Ledger::new(),
            style: Style::Plain,
            drawn: None,
        };
        let mut draw = |width| live.draw_at(Size::new(width, 24), 1.0, &Totals::default());
        let begins: Vec<bool> =
            [100, 100, 40, 40].map(|width| draw(width).starts_with("\x1b[2J")).to_vec();
        assert_eq!(begins, [false, false, true, false]);
        assert!(draw(40).contains("A\r"));
    }
}

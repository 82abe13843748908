//! What a run shows: a live tree on a terminal, lines of JSON otherwise.

use std::collections::VecDeque;
use std::time::Duration;

use lictor::topology::{Style, Topology};
use lictor::{Instant, Runtime, RuntimeEvent, Value};
use serde_json::json;

use super::frame::{self, Frame, Size};
use super::totals::{Summary, Totals, seconds};
use crate::builtins::Ledger;
use crate::log::Pane;
use crate::{output, tree};

pub(super) enum View {
    Live(Box<Live>),
    Lines(Box<Lines>),
}

pub(super) struct Live {
    file: String,
    tree: String,
    status: &'static str,
    events: VecDeque<String>,
    pane: Pane,
    ledger: Ledger,
    style: Style,
    /// Lines of the last frame.
    drawn: usize,
}

pub(super) struct Lines {
    file: String,
    tree: Value,
    ledger: Ledger,
    /// Events before the tree was up: they come after the line that says so.
    held: Option<String>,
    last_stats: Option<Instant>,
}

/// Events that the live view remembers.
const EVENTS: usize = 100;

impl View {
    pub(super) fn new(file: &str, topology: &Topology, pane: Option<Pane>, ledger: Ledger) -> Self {
        let file = file.to_owned();
        match pane {
            Some(pane) => Self::Live(Box::new(Live {
                file,
                tree: tree::text(&topology.root),
                status: "starting",
                events: VecDeque::new(),
                pane,
                ledger,
                style: output::style(&std::io::stdout()),
                drawn: 0,
            })),
            None => Self::Lines(Box::new(Lines {
                file,
                tree: tree::json(&topology.root),
                ledger,
                held: Some(String::new()),
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
                format!("{running}\n{}", lines.held.take().unwrap_or_default())
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
                live.remember(frame::describe(event));
                String::new()
            }
            Self::Lines(lines) => {
                let line = serde_json::to_string(event).unwrap_or_default() + "\n";
                match &mut lines.held {
                    Some(held) => {
                        held.push_str(&line);
                        String::new()
                    }
                    None => line,
                }
            }
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
                let stats = json!({
                    "event": "stats",
                    "at": seconds(now),
                    "agents": runtime.agents(),
                    "counts": lines.ledger.all(),
                });
                format!("{stats}\n")
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
                format!("{held}{}\n", summary.json())
            }
        }
    }
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
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        text
    }
}

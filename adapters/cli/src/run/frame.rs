//! One picture of a running tree, as lines that fit a terminal.

use std::collections::VecDeque;
use std::sync::Arc;

use lictor::kernel::NodeId;
use lictor::topology::Style;
use lictor::{AgentInfo, EventKind, Network, RuntimeEvent, Status};

use super::totals::Totals;
use crate::builtins::Ledger;

/// The size of a terminal in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    width: usize,
    height: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { width: 80, height: 24 }
    }
}

impl Size {
    /// Some terminals do not know their size, and say 0.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let default = Self::default();
        let known = |size: u16, default| if size == 0 { default } else { usize::from(size) };
        Self { width: known(width, default.width), height: known(height, default.height) }
    }
}

/// What is in the picture.
pub(super) struct Frame<'a> {
    pub(super) file: &'a str,
    pub(super) status: &'a str,
    pub(super) uptime: f64,
    /// The tree as the runtime prints it.
    pub(super) tree: &'a str,
    pub(super) totals: &'a Totals,
    pub(super) ledger: &'a Ledger,
    pub(super) events: &'a VecDeque<String>,
    pub(super) size: Size,
    pub(super) style: Style,
}

/// Lines that are shown of the events, if there is room.
const EVENTS: usize = 12;

/// Fewer lines of events than this are not worth the room of the tree.
const EVENTS_MIN: usize = 3;

/// The columns after the tree.
const COLUMNS: &str = " starts  handled queued dead";

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// The picture: fewer lines than the terminal has, none longer than it is wide.
pub(super) fn render(frame: &Frame<'_>) -> Vec<String> {
    let Size { width, height } = frame.size;
    let room = height.saturating_sub(1).max(1);
    let mut lines = vec![paint(frame.style, BOLD, &cut(&title(frame), width))];
    let tree: Vec<&str> = frame.tree.lines().collect();
    // Headline, column heads, and an empty line with at least some events below the tree.
    let for_events = if room >= 2 + tree.len() + 1 + EVENTS_MIN { 1 + EVENTS_MIN } else { 0 };
    let for_tree = room.saturating_sub(2 + for_events);
    if for_tree > 0 {
        lines.extend(tree_lines(frame, &tree, for_tree, width));
    }
    let left = room.saturating_sub(lines.len() + 1).min(EVENTS);
    if left >= EVENTS_MIN.min(frame.events.len()) && left > 0 {
        lines.push(String::new());
        let skipped = frame.events.len().saturating_sub(left);
        lines.extend(frame.events.iter().skip(skipped).map(|event| {
            let colour = if event.contains(" crashed ") { RED } else { DIM };
            paint(frame.style, colour, &cut(event, width))
        }));
    }
    lines
}

fn title(frame: &Frame<'_>) -> String {
    let totals = frame.totals;
    let mut title = format!(
        "{}  {}  {:.1} s  {} crashes  {} restarts  {} handled",
        frame.file,
        frame.status,
        frame.uptime,
        totals.crashes,
        totals.restarts,
        totals.handled(),
    );
    let (answered, failed) = (frame.ledger.total("answered"), frame.ledger.total("failed"));
    if answered + failed > 0 {
        title.push_str(&format!("  {answered} of {} asks answered", answered + failed));
    }
    title
}

fn tree_lines(frame: &Frame<'_>, tree: &[&str], room: usize, width: usize) -> Vec<String> {
    let longest = tree.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let with_columns = width >= 40;
    let left = if with_columns { longest.min(width - COLUMNS.len()) } else { width };
    let mut lines = Vec::new();
    if with_columns {
        lines.push(paint(frame.style, DIM, &format!("{:left$}{COLUMNS}", "")));
    }
    let shown = if tree.len() > room { room.saturating_sub(1) } else { tree.len() };
    for line in tree.iter().take(shown) {
        let agent = name_in(line).and_then(|name| frame.totals.agent(name));
        let text = cut(line, left);
        let Some(agent) = agent else {
            lines.push(text);
            continue;
        };
        let padding = " ".repeat(left.saturating_sub(text.chars().count()));
        let text = paint(frame.style, colour_of(agent.status), &text) + &padding;
        let columns = if with_columns { columns(agent) } else { String::new() };
        lines.push(text + &columns);
    }
    if tree.len() > shown {
        lines.push(cut(&format!("... and {} more", tree.len() - shown), width));
    }
    lines
}

fn columns(agent: &AgentInfo) -> String {
    let AgentInfo { starts, handled, queued, dead_letters, .. } = agent;
    if agent.on.is_some() {
        // Its counters are kept where it runs.
        return format!(" {starts:>6} {:>8} {:>6} {:>4}", "-", "-", "-");
    }
    format!(" {starts:>6} {handled:>8} {queued:>6} {dead_letters:>4}")
}

/// The name in a line such as `├── [agent] name (RUNNING)`.
fn name_in(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("] ")?;
    rest.split(' ').next()
}

const fn colour_of(status: Status) -> &'static str {
    match status {
        Status::Running => GREEN,
        Status::Crashed => RED,
        Status::Initializing | Status::Suspended | Status::Stopping => YELLOW,
        Status::Stopped => DIM,
    }
}

fn paint(style: Style, colour: &str, text: &str) -> String {
    match style {
        Style::Ansi => format!("\x1b[{colour}m{text}\x1b[0m"),
        Style::Plain | _ => text.to_owned(),
    }
}

/// At most so many characters, none of which commands the terminal.
fn cut(text: &str, width: usize) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    text.chars().take(width.saturating_sub(1)).map(clean).chain(['…']).take(width).collect()
}

/// An event as one line.
pub(crate) fn describe(event: &RuntimeEvent, network: Option<&Network>) -> String {
    let process = network.and_then(|network| process_of(event, network));
    let text = match (&event.kind, process) {
        (EventKind::PeerUp { .. }, Some(process)) => format!("process {process} answers"),
        (EventKind::PeerSuspect { .. }, Some(process)) => format!("process {process} is overdue"),
        (EventKind::PeerDown { .. }, Some(process)) => format!("process {process} is given up"),
        (other, _) => other.to_string(),
    };
    format!("{:>9.3} {text}", event.at)
}

/// The process that an event is about, if it is about another one.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is about this one")]
pub(crate) fn process_of<'n>(event: &RuntimeEvent, network: &'n Network) -> Option<&'n Arc<str>> {
    match &event.kind {
        EventKind::PeerUp { node, .. }
        | EventKind::PeerSuspect { node }
        | EventKind::PeerDown { node } => network.name_of(NodeId(*node)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str =
        "[sup] root (ONE_FOR_ONE)\n├── [agent] one (RUNNING)\n└── [agent] two (CRASHED)";

    fn rendered(width: u16, height: u16, events: usize, style: Style) -> Vec<String> {
        let agent = |name: &str, status| AgentInfo {
            name: name.into(),
            kind: lictor::AgentKind::Agent,
            status,
            capabilities: Vec::new(),
            supervisor: "root".into(),
            on: None,
            starts: 3,
            queued: 4,
            accepted: 12,
            handled: 8,
            rejected: 0,
            dead_letters: 1,
        };
        let mut totals = Totals::default();
        totals.look(vec![agent("one", Status::Running), agent("two", Status::Crashed)]);
        let events = (0..events).map(|n| format!("event \x1b[2J {n}")).collect();
        render(&Frame {
            file: "app.yaml",
            status: "running",
            uptime: 1.5,
            tree: TREE,
            totals: &totals,
            ledger: &Ledger::new(),
            events: &events,
            size: Size::new(width, height),
            style,
        })
    }

    #[test]
    fn a_frame_shows_the_tree_and_the_last_events() {
        let lines = rendered(80, 24, 30, Style::Plain);
        assert_eq!(lines[0], "app.yaml  running  1.5 s  0 crashes  0 restarts  16 handled");
        assert_eq!(lines[1], format!("{:25}{COLUMNS}", ""));
        assert_eq!(lines[2], "[sup] root (ONE_FOR_ONE)");
        assert_eq!(lines[3], "├── [agent] one (RUNNING)      3        8      4    1");
        assert_eq!(lines.last().unwrap(), "event \u{fffd}[2J 29");
        assert_eq!(lines.len(), 1 + 1 + 3 + 1 + EVENTS);
    }

    #[test]
    fn a_frame_fits_every_terminal() {
        for width in 1..120 {
            for height in 1..40 {
                let lines = rendered(width, height, 30, Style::Plain);
                assert!(lines.len() < usize::from(height).max(2), "{width}x{height}: {lines:#?}");
                for line in lines {
                    assert!(line.chars().count() <= usize::from(width), "{width}x{height}: {line}");
                }
            }
        }
        assert_eq!(rendered(0, 0, 0, Style::Plain), rendered(80, 24, 0, Style::Plain));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert!(rendered(80, 24, 3, Style::Ansi)[3].contains("\x1b[32m"));
        assert!(rendered(80, 24, 3, Style::Plain).concat().find('\x1b').is_none());
    }
}

//! Records as lines of JSON, and as plain lines for people.
//!
//! Names stand instead of numbers, so a line can be read without the plan. In JSON every line has
//! `record` (its number from 0), `at` (nanoseconds on the world's clock), `node` and `what`; the
//! other keys depend on `what` and are left out where they say nothing.
#![allow(clippy::wildcard_enum_match_arm, reason = "one match, cut in three for its length")]

use std::fmt::Write as _;
use std::time::Duration;

use lictor_kernel::{ExitReason, Signal, Status};
use serde_json::{Map, Value, json};

use crate::plan::{Plan, duration_text};
use crate::record::{Here, MessageId, Placed, Process, Record, Stage, What, Who};
use crate::scenario::Scenario;

/// How records of a plan are written.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    plan: &'a Plan,
}

impl<'a> Trace<'a> {
    /// For records of a run of this plan.
    #[must_use]
    pub const fn new(plan: &'a Plan) -> Self {
        Self { plan }
    }

    /// A record as one line of JSON, without the end of the line.
    #[must_use]
    pub fn json(&self, number: u64, record: &Record) -> String {
        let mut line = Map::new();
        line.insert("record".to_owned(), number.into());
        line.insert("at".to_owned(), record.at.as_nanos().into());
        line.insert("node".to_owned(), record.node.0.into());
        let (what, facts) = self.facts(&record.what);
        line.insert("what".to_owned(), what.into());
        line.extend(facts);
        Value::Object(line).to_string()
    }

    /// A record as one line for people, without the end of the line: its instant, its node, what
    /// happened.
    #[must_use]
    pub fn text(&self, record: &Record) -> String {
        let at = duration_text(Duration::from_nanos(record.at.as_nanos()));
        let (what, facts) = self.facts(&record.what);
        let mut line = format!("{at:>15}  {:>2}  {what}", record.node.0);
        for (key, value) in facts {
            let _ = match value {
                Value::String(text) => write!(line, "  {key}={text}"),
                value => write!(line, "  {key}={value}"),
            };
        }
        line
    }

    /// As [`names`].
    #[must_use]
    pub fn names(&self, text: &str) -> String {
        names(self.scenario(), text)
    }

    fn scenario(&self) -> &'a Scenario {
        &self.plan.scenario
    }

    fn name(&self, who: Who) -> Value {
        self.scenario().entity(who).name.as_str().into()
    }

    /// The word of what happened, and what else is to be said of it.
    fn facts(&self, what: &What) -> (&'static str, Map<String, Value>) {
        let mut facts = Facts { trace: self, map: Map::new() };
        let word = facts.of(what);
        (word, facts.map)
    }
}

struct Facts<'t, 'a> {
    trace: &'t Trace<'a>,
    map: Map<String, Value>,
}

impl Facts<'_, '_> {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.map.insert(key.to_owned(), value.into());
    }

    fn who(&mut self, who: Who) {
        let name = self.trace.name(who);
        self.put("who", name);
    }

    fn process(&mut self, process: Process) {
        self.who(process.who);
        self.put("supervisor", process.supervisor);
        self.put("incarnation", process.incarnation);
    }

    fn message(&mut self, message: MessageId) {
        let text = message_text(message, self.trace.scenario());
        self.put("message", text);
    }

    fn of(&mut self, what: &What) -> &'static str {
        match *what {
            What::Start(process) => self.with(process, "start"),
            What::Signal(process, signal) => {
                self.process(process);
                self.put("signal", signal_word(signal));
                "signal"
            }
            What::Started(process) => self.with(process, "started"),
            What::StartIgnored(process) => self.with(process, "start_ignored"),
            What::StartFailed(process) => self.with(process, "start_failed"),
            What::Stale(process) => self.with(process, "stale"),
            What::Restored(process, found) => {
                self.put("found", json!(found));
                self.with(process, "restored")
            }
            What::Exited(process, reason) => {
                self.put("reason", reason_word(reason));
                self.with(process, "exited")
            }
            What::ShutdownError(process, reason) => {
                self.put("reason", reason_word(reason));
                self.with(process, "shutdown_error")
            }
            What::Supervisor { who, id, stage, .. } => {
                self.who(who);
                self.put("id", id);
                match stage {
                    Stage::Initializing => "supervisor_initializing",
                    Stage::Ready => "supervisor_ready",
                    Stage::Exited(reason) => {
                        self.put("reason", reason_word(reason));
                        "supervisor_exited"
                    }
                }
            }
            What::RestartScheduled { who, supervisor, delay } => {
                self.who(who);
                self.put("supervisor", supervisor);
                self.put("delay", duration_text(Duration::from_nanos(delay)));
                "restart_scheduled"
            }
            What::RestartsExhausted { supervisor, child } => {
                self.who(child);
                self.put("supervisor", supervisor);
                "restarts_exhausted"
            }
            What::Removed(who) => {
                self.who(who);
                "removed"
            }
            What::Status(who, status) => {
                self.who(who);
                self.put("status", status_word(status));
                "status"
            }
            _ => self.of_messages(what),
        }
    }

    fn with(&mut self, process: Process, word: &'static str) -> &'static str {
        self.process(process);
        word
    }

    fn of_messages(&mut self, what: &What) -> &'static str {
        match *what {
            What::Sent(message, who, asks) => {
                self.message(message);
                self.who(who);
                if asks { "asked" } else { "sent" }
            }
            What::Queued(message, who) => {
                self.message(message);
                self.who(who);
                "queued"
            }
            What::PutBack(message, who) => {
                self.message(message);
                self.who(who);
                "put_back"
            }
            What::Delivered(message, process) => {
                self.message(message);
                self.with(process, "delivered")
            }
            What::Ended(message, fate) => {
                self.message(message);
                self.put("fate", json!(fate));
                "ended"
            }
            What::Answered(message, ending) => {
                self.message(message);
                self.put("ending", json!(ending));
                "answered"
            }
            What::Suppressed(message) => {
                self.message(message);
                "suppressed"
            }
            What::LateAnswer(message) => {
                self.message(message);
                "late_answer"
            }
            _ => self.of_world(what),
        }
    }

    fn of_world(&mut self, what: &What) -> &'static str {
        match *what {
            What::FrameSent(to) => self.peer(to.0, "frame_sent"),
            What::FrameLost(to) => self.peer(to.0, "frame_lost"),
            What::PeerUp(peer) => self.peer(peer.0, "peer_up"),
            What::PeerDown(peer) => self.peer(peer.0, "peer_down"),
            What::Sees(who, owner) => {
                self.who(who);
                self.put("owner", owner.map(|owner| owner.0));
                "sees"
            }
            What::Shows(who, shown) => {
                self.who(who);
                self.put("child", json!(shown));
                "shows"
            }
            What::Booted(boot) => {
                self.put("boot", boot);
                "booted"
            }
            What::Operation(number) => {
                self.put("number", number);
                let operation = self.trace.plan.operations.get(number as usize);
                if let Some(operation) = operation {
                    self.put("operation", operation.act.word());
                }
                "operation"
            }
            What::Refused(number) => {
                self.put("number", number);
                "refused"
            }
            What::Fault(number, begins) => {
                self.put("number", number);
                if let Some(fault) = self.trace.plan.faults.get(number as usize) {
                    self.put("fault", fault.kind.facts().name);
                }
                if begins { "fault_begins" } else { "fault_ends" }
            }
            What::Halted => "halted",
            What::Healed => "healed",
            What::Calm => "calm",
            What::Over => "over",
            _ => self.of_hosts(what),
        }
    }

    fn of_hosts(&mut self, what: &What) -> &'static str {
        match *what {
            What::Here(process, here) => {
                self.process(process);
                match here {
                    Here::Begins(boot) => {
                        self.put("owner_boot", boot);
                        "hosted_start"
                    }
                    Here::Up => "hosted_started",
                    Here::Ignored => "hosted_start_ignored",
                    Here::Failed => "hosted_start_failed",
                    Here::Told(signal) => {
                        self.put("signal", signal_word(signal));
                        "hosted_signal"
                    }
                    Here::Leased(until) => {
                        self.put("until", until.as_nanos());
                        "leased"
                    }
                    Here::Ended(reason) => {
                        self.put("reason", reason_word(reason));
                        "hosted_exited"
                    }
                }
            }
            What::Has(who, here) => {
                self.who(who);
                if here { "name_taken" } else { "name_given_back" }
            }
            What::Placed(process, host, stage) => {
                self.process(process);
                self.put("host", host.0);
                match stage {
                    Placed::Waiting => "placed_waiting",
                    Placed::Ordered(boot) => {
                        self.put("boot", boot);
                        "placed_ordered"
                    }
                }
            }
            What::Outlives(boot, begins) => {
                self.put("boot", boot);
                if begins { "outlives_begins" } else { "outlives_ends" }
            }
            _ => "",
        }
    }

    fn peer(&mut self, peer: u8, word: &'static str) -> &'static str {
        self.put("peer", peer);
        word
    }
}

/// The text of a violation as people read it: names instead of numbers, and times, processes and
/// messages as traces have them.
#[must_use]
pub fn names(scenario: &Scenario, text: &str) -> String {
    let instant = |nanos: &str| {
        let nanos = nanos.parse().ok()?;
        Some(duration_text(Duration::from_nanos(nanos)))
    };
    let name = |number: &str| {
        let who = Who(number.parse().ok()?);
        let (_, entity) = scenario.all().find(|(known, _)| *known == who)?;
        Some(format!("`{}`", entity.name))
    };
    let text = replace(text, "Instant(", ")", &instant);
    let text = replace(&text, "Who(", ")", &name);
    let text = replace(&text, "Process { who: ", " }", &process_words);
    replace(&text, "MessageId { ticker: ", " }", &message_words)
}

/// Replaces what stands between two marks, and the marks, where there is something to say for it.
fn replace(text: &str, begin: &str, end: &str, say: &dyn Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split(begin);
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = part.split_once(end).and_then(|(inside, rest)| Some((say(inside)?, rest)));
        let _ = match known {
            Some((words, rest)) => write!(said, "{words}{rest}"),
            None => write!(said, "{begin}{part}"),
        };
    }
    said
}

/// `` `one`, supervisor: 2, incarnation: 7 `` is `one#2.7`.
fn process_words(inside: &str) -> Option<String> {
    let (who, rest) = inside.split_once(", supervisor: ")?;
    let (supervisor, incarnation) = rest.split_once(", incarnation: ")?;
    let number = |text: &str| text.parse::<u64>().is_ok();
    let named = who.strip_prefix('`').and_then(|name| name.strip_suffix('`'))?;
    (number(supervisor) && number(incarnation))
        .then(|| format!("`{named}#{supervisor}.{incarnation}`"))
}

/// As [`message_text`].
fn message_words(inside: &str) -> Option<String> {
    let (ticker, rest) = inside.split_once(", number: ")?;
    let (number, copy) = rest.split_once(", copy: ")?;
    let named = |text: &str| {
        let name = text.strip_prefix("Some(`")?.strip_suffix("`)")?;
        Some(name.to_owned())
    };
    let from = if ticker == "None" { "op".to_owned() } else { named(ticker)? };
    let to = if copy == "None" { String::new() } else { format!(" to {}", named(copy)?) };
    number.parse::<u32>().ok().map(|number| format!("`{from} {number}{to}`"))
}

/// A message as traces call it: `op 17`, `orders 3` (the ticker's third), `op 17 to parse` (the
/// copy of a broadcast).
#[must_use]
pub fn message_text(message: MessageId, scenario: &Scenario) -> String {
    let name = |who: Who| scenario.entity(who).name.as_str();
    let from = message.ticker.map_or("op", name);
    let mut text = format!("{from} {}", message.number);
    if let Some(copy) = message.copy {
        let _ = write!(text, " to {}", name(copy));
    }
    text
}

pub(crate) const fn reason_word(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Normal => "normal",
        ExitReason::Shutdown => "shutdown",
        ExitReason::ShutdownBecause => "shutdown_because",
        ExitReason::Killed => "killed",
        ExitReason::Crashed => "crashed",
        ExitReason::StartTimeout => "start_timeout",
        ExitReason::NoConnection => "no_connection",
        ExitReason::RestartsExhausted => "restarts_exhausted",
    }
}

const fn signal_word(signal: Signal) -> &'static str {
    match signal {
        Signal::Shutdown => "shutdown",
        Signal::Kill => "kill",
    }
}

pub(crate) const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Starting => "starting",
        Status::Up => "up",
        Status::Restarting => "restarting",
        Status::Suspended => "suspended",
        Status::Down => "down",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::{Mix, Profile};
    use crate::{outcome::Options, world};

    fn plan() -> Plan {
        let text = b"supervision: {children: [{agent: {name: one, type: t}}]}";
        let topology = lictor_topology::parse("t", text, &lictor_topology::Options::default());
        let scenario = Arc::new(Scenario::new(topology.unwrap(), 1).unwrap());
        Plan::generate(&scenario, 3, &Profile::new(Mix::Swarm))
    }

    #[test]
    fn every_record_is_a_line_with_names() {
        let plan = plan();
        let trace = Trace::new(&plan);
        let options = Options { trace: true, ..Options::default() };
        let ran = world::run(&plan, options);
        assert!(!ran.trace.is_empty());
        for (number, record) in (0..).zip(&ran.trace) {
            let line: Value = serde_json::from_str(&trace.json(number, record)).unwrap();
            assert_eq!(line["record"], number);
            assert_eq!(line["at"], record.at.as_nanos());
            assert!(
                line["who"].is_null() || ["one", "root"].contains(&line["who"].as_str().unwrap())
            );
            assert!(trace.text(record).contains(line["what"].as_str().unwrap()));
        }
    }

    #[test]
    fn numbers_become_names() {
        let plan = plan();
        let trace = Trace::new(&plan);
        assert_eq!(trace.names("Process { who: Who(1), n: 2 }"), "Process { who: `one`, n: 2 }");
        assert_eq!(trace.names("Who(0) and Who(77) and Who(x"), "`root` and Who(77) and Who(x");
        assert_eq!(trace.names("nobody"), "nobody");
        let process = Process { who: Who(1), supervisor: 2, incarnation: 7 };
        let message = MessageId { ticker: Some(Who(1)), number: 3, copy: None };
        let copy = MessageId { copy: Some(Who(0)), ..MessageId::of_operation(4) };
        let at = lictor_kernel::Instant::from_millis(1_500);
        assert_eq!(
            trace.names(&format!("{process:?} has {message:?} and {copy:?} since {:?}", Some(at))),
            "`one#2.7` has `one 3` and `op 4 to root` since Some(1.5s)"
        );
        assert_eq!(
            trace.names("Instant(x) MessageId { ticker: y }"),
            "Instant(x) MessageId { ticker: y }"
        );
    }
}

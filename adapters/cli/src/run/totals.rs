//! What happened in a run, in numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lictor::{AgentInfo, EventKind, Instant, RuntimeEvent, Status, Value};
use serde_json::json;

use super::view::counts_json;
use crate::builtins::Ledger;

/// Counted from the events, and from the agents while they can be seen.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) starts: u64,
    pub(super) restarts: u64,
    pub(super) failed_starts: u64,
    pub(super) crashes: u64,
    /// Every agent that was ever seen, as it was last.
    agents: BTreeMap<Arc<str>, AgentInfo>,
    /// Messages that will not be handled, by whose they were: as events have said it. One that was
    /// in hand at a crash has no event of its own, and is only counted by its agent; what was left
    /// when an agent had ended was seen by nobody, and has only an event.
    dead: BTreeMap<Arc<str>, u64>,
}

impl Totals {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not counted")]
    pub(super) fn count(&mut self, event: &RuntimeEvent) {
        match &event.kind {
            EventKind::Started { incarnation, .. } => {
                self.starts += 1;
                self.restarts += u64::from(*incarnation > 1);
            }
            EventKind::StartFailed { .. } => self.failed_starts += 1,
            EventKind::Crashed { .. } => self.crashes += 1,
            EventKind::DeadLetters { name, count, .. } => {
                let dead = self.dead.entry(Arc::clone(name)).or_default();
                *dead = dead.saturating_add(*count);
            }
            _ => {}
        }
    }

    pub(super) fn look(&mut self, agents: Vec<AgentInfo>) {
        for agent in agents {
            self.agents.insert(Arc::clone(&agent.name), agent);
        }
    }

    /// Everything has ended, also what was last seen before.
    pub(super) fn end(&mut self) {
        for agent in self.agents.values_mut().filter(|agent| agent.status != Status::Crashed) {
            agent.status = Status::Stopped;
            agent.queued = 0;
        }
    }

    pub(super) fn agent(&self, name: &str) -> Option<&AgentInfo> {
        self.agents.get(name)
    }

    /// Messages that will not be handled: of each agent what it has counted, or what was said.
    pub(super) fn dead_letters(&self) -> u64 {
        let said = |name: &Arc<str>| self.dead.get(name).copied().unwrap_or(0);
        let seen = self.agents.values().map(|agent| agent.dead_letters.max(said(&agent.name)));
        let others = self.dead.iter().filter(|(name, _)| !self.agents.contains_key(*name));
        seen.chain(others.map(|(_, said)| *said)).fold(0, u64::saturating_add)
    }

    /// Messages handled, by all agents that were ever seen.
    pub(super) fn handled(&self) -> u64 {
        self.agents.values().map(|agent| agent.handled).sum()
    }
}

/// What is said at the end.
pub(super) struct Summary<'a> {
    pub(super) at: Instant,
    pub(super) uptime: Duration,
    pub(super) reason: &'static str,
    pub(super) detail: Option<String>,
    pub(super) totals: &'a Totals,
    /// Events that were not shown, because nobody took them in time.
    pub(super) missed: u64,
    pub(super) ledger: &'a Ledger,
}

/// Seconds since the executor's origin, as events have them.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub(crate) fn seconds(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e9
}

impl Summary<'_> {
    pub(super) fn json(&self) -> Value {
        let totals = self.totals;
        let mut value = json!({
            "event": "summary",
            "at": seconds(self.at),
            "uptime": self.uptime.as_secs_f64(),
            "reason": self.reason,
            "starts": totals.starts,
            "failed_starts": totals.failed_starts,
            "crashes": totals.crashes,
            "restarts": totals.restarts,
            "handled": totals.handled(),
            "dead_letters": totals.dead_letters(),
            "answered": self.ledger.total("answered"),
            "unanswered": self.ledger.total("failed"),
            "missed_events": self.missed,
            "counts": counts_json(self.ledger, totals.agents.values()),
        });
        if let Some(detail) = &self.detail {
            value["detail"] = detail.as_str().into();
        }
        value
    }

    pub(super) fn text(&self) -> String {
        let totals = self.totals;
        let mut text = format!(
            "ran {:.1} s, ended by {}: {} starts, {} crashes, {} restarts, {} messages handled",
            self.uptime.as_secs_f64(),
            self.reason,
            totals.starts,
            totals.crashes,
            totals.restarts,
            totals.handled(),
        );
        let (answered, failed) = (self.ledger.total("answered"), self.ledger.total("failed"));
        if answered + failed > 0 {
            text.push_str(&format!(", {answered} of {} asks answered", answered + failed));
        }
        let dead = totals.dead_letters();
        if dead > 0 {
            text.push_str(&format!(", {dead} dead letters"));
        }
        if self.missed > 0 {
            text.push_str(&format!(", {} events not shown", self.missed));
        }
        text.push('\n');
        text
    }
}

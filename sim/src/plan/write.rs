//! A plan as YAML.

use std::fmt::Write as _;
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};
use lictor_topology::{Child, Credentials, SupervisorNode, Topology};

use super::{Act, Knobs, Operation, Plan};
use crate::fault::{Fault, Target, Unit};
use crate::record::{NodeIx, Who};
use crate::scenario::Scenario;

/// The word of each reason for which an operation can end an agent.
pub(super) const REASONS: &[(&str, ExitReason)] = &[
    ("normal", ExitReason::Normal),
    ("shutdown", ExitReason::Shutdown),
    ("shutdown_because", ExitReason::ShutdownBecause),
    ("killed", ExitReason::Killed),
    ("crashed", ExitReason::Crashed),
    ("start_timeout", ExitReason::StartTimeout),
    ("no_connection", ExitReason::NoConnection),
    ("restarts_exhausted", ExitReason::RestartsExhausted),
];

/// What stands where a name or a node stands elsewhere, for what is everywhere.
pub(super) const EVERYWHERE: &str = "everywhere";

impl Plan {
    /// The plan as YAML in its canonical form: complete in itself, the topology included, and exact
    /// to the nanosecond.
    ///
    /// Reading it gives the same plan, but for the credentials of the topology: a plan is kept and
    /// passed on, and no engine needs them, so they are left out.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::with_capacity(1024 + 64 * self.operations.len());
        text.push_str("topology:\n");
        for line in without_secrets(self.scenario.topology()).to_yaml().lines() {
            let indent = if line.is_empty() { "" } else { "  " };
            let _ = writeln!(text, "{indent}{line}");
        }
        let _ = writeln!(text, "nodes: {}\nseed: {}", self.scenario.nodes(), self.seed);
        let _ = writeln!(text, "horizon: {}", duration_text(self.horizon));
        let _ = writeln!(text, "calm: {}", duration_text(self.calm));
        self.knobs.write(&mut text);
        list(&mut text, "operations", &self.operations, |text, operation| {
            operation.write(&self.scenario, text);
        });
        list(&mut text, "faults", &self.faults, |text, fault| fault.write(&self.scenario, text));
        text
    }
}

fn without_secrets(topology: &Topology) -> Topology {
    fn clear(node: &mut SupervisorNode) {
        for child in &mut node.children {
            match child {
                Child::Supervisor(node) => clear(node),
                Child::Agent(node) | Child::GenServer(node) => {
                    node.credentials = Credentials::default();
                }
                // The others have none.
                Child::DynamicSupervisor(_) | _ => {}
            }
        }
    }
    let mut topology = topology.clone();
    clear(&mut topology.root);
    topology
}

fn list<T>(text: &mut String, key: &str, entries: &[T], write: impl Fn(&mut String, &T)) {
    if entries.is_empty() {
        let _ = writeln!(text, "{key}: []");
        return;
    }
    let _ = writeln!(text, "{key}:");
    for entry in entries {
        text.push_str("  - { ");
        write(text, entry);
        text.push_str(" }\n");
    }
}

impl Knobs {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "knobs:");
        for (key, (from, to)) in [
            ("start", self.start),
            ("stop", self.stop),
            ("handle", self.handle),
            ("latency", self.latency),
        ] {
            let _ = writeln!(text, "  {key}: [{}, {}]", duration_text(from), duration_text(to));
        }
        for (key, time) in [
            ("send_timeout", self.send_timeout),
            ("heartbeat", self.heartbeat),
            ("heartbeat_timeout", self.heartbeat_timeout),
            ("lease", self.lease),
        ] {
            let _ = writeln!(text, "  {key}: {}", duration_text(time));
        }
        let _ = writeln!(text, "  heartbeat_threshold: {}", self.heartbeat_threshold);
        let _ = writeln!(text, "  link_capacity: {}", self.link_capacity);
        let _ = writeln!(text, "  medium: {}", self.medium.word());
        let _ = writeln!(text, "  buggify: {}", self.buggify);
        if let Some(lease) = self.child_lease {
            let _ = writeln!(text, "  child_lease: {}", duration_text(lease));
        }
        if self.placed > 0 {
            let _ = writeln!(text, "  placed: {}", share_text(self.placed.into()));
        }
    }
}

impl Operation {
    /// The operation as a plan has it.
    #[must_use]
    pub fn text(&self, scenario: &Scenario) -> String {
        let mut text = String::new();
        self.write(scenario, &mut text);
        text
    }

    /// What the operation is, without its place: `ask: parse, timeout: 1s`.
    fn write(&self, scenario: &Scenario, text: &mut String) {
        let name = |who: Who| name_text(scenario, who);
        let _ = write!(text, "at: {}, ", instant_text(self.at));
        let word = self.act.word();
        let _ = match self.act {
            Act::Tell(who)
            | Act::Spawn(who)
            | Act::Despawn(who)
            | Act::Terminate(who)
            | Act::Restart(who)
            | Act::Suspend(who)
            | Act::Resume(who)
            | Act::Claim(who)
            | Act::Unclaim(who)
            | Act::Look(who) => write!(text, "{word}: {}", name(who)),
            Act::TellWithin(who, ttl) => {
                write!(text, "{word}: {}, ttl: {}", name(who), duration_text(ttl))
            }
            Act::SendAfter(who, delay) => {
                write!(text, "{word}: {}, delay: {}", name(who), duration_text(delay))
            }
            Act::Publish(who, to) => {
                write!(text, "{word}: {}, to: {}", name(who), quoted(to.as_str()))
            }
            Act::TellCapable(tag) => write!(text, "{word}: {}", quoted(tag.as_str())),
            Act::Ask(who, timeout) => {
                write!(text, "{word}: {}, timeout: {}", name(who), duration_text(timeout))
            }
            Act::End(who, reason) => {
                let found = REASONS.iter().find(|(_, known)| *known == reason);
                let reason = found.map_or("crashed", |(word, _)| *word);
                write!(text, "{word}: {}, reason: {reason}", name(who))
            }
            Act::Broadcast => write!(text, "{word}: {EVERYWHERE}"),
            Act::Stop(within) => write!(text, "{word}: {}", duration_text(within)),
        };
        if self.node != home(scenario, self.act) {
            let _ = write!(text, ", node: {}", self.node.0);
        }
    }
}

impl Act {
    /// Its key in plans.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tell(_) | Self::TellWithin(..) => "tell",
            Self::Ask(..) => "ask",
            Self::Broadcast => "broadcast",
            Self::Spawn(_) => "spawn",
            Self::Despawn(_) => "despawn",
            Self::Terminate(_) => "terminate",
            Self::Restart(_) => "restart",
            Self::Suspend(_) => "suspend",
            Self::Resume(_) => "resume",
            Self::End(..) => "end",
            Self::Stop(_) => "stop",
            Self::Claim(_) => "claim",
            Self::Unclaim(_) => "unclaim",
            Self::Publish(..) => "publish",
            Self::TellCapable(_) => "tell_capable",
            Self::SendAfter(..) => "send_after",
            Self::Look(_) => "look",
        }
    }
}

/// On which node something is done if the plan does not say: where the name lives, for what is done
/// to a name; the first other one, for who says that it has the name; the first one, for what may
/// come from anywhere.
pub(super) fn home(scenario: &Scenario, act: Act) -> NodeIx {
    match act {
        Act::Tell(_)
        | Act::TellWithin(..)
        | Act::TellCapable(_)
        | Act::Ask(..)
        | Act::Broadcast
        | Act::Stop(_) => NodeIx(0),
        Act::Spawn(who)
        | Act::Despawn(who)
        | Act::Terminate(who)
        | Act::Restart(who)
        | Act::Suspend(who)
        | Act::Resume(who)
        | Act::Publish(who, _)
        | Act::SendAfter(who, _)
        | Act::Look(who)
        | Act::End(who, _) => scenario.entity(who).node,
        Act::Claim(who) | Act::Unclaim(who) => {
            let owner = scenario.entity(who).node;
            scenario.node_ids().find(|node| *node != owner).unwrap_or(owner)
        }
    }
}

impl Fault {
    /// The fault as a plan has it.
    #[must_use]
    pub fn text(&self, scenario: &Scenario) -> String {
        let mut text = String::new();
        self.write(scenario, &mut text);
        text
    }

    fn write(&self, scenario: &Scenario, text: &mut String) {
        let facts = self.kind.facts();
        let _ = write!(text, "at: {}, {}: ", instant_text(self.at), facts.name);
        let _ = match self.target {
            Target::World => write!(text, "{EVERYWHERE}"),
            Target::Node(node) => write!(text, "{}", node.0),
            Target::Link(from, to) => write!(text, "[{}, {}]", from.0, to.0),
            Target::Who(who) => write!(text, "{}", name_text(scenario, who)),
        };
        let _ = match facts.amount {
            Unit::None => Ok(()),
            Unit::PerMillion => write!(text, ", amount: {}", share_text(self.amount)),
            Unit::Time => {
                let time = Duration::from_nanos(self.amount);
                write!(text, ", amount: {}", duration_text(time))
            }
            Unit::Count => write!(text, ", amount: {}", self.amount),
        };
        if facts.lasts {
            let _ = write!(text, ", lasts: {}", duration_text(self.lasts));
        }
    }
}

/// A name so that it reads back as text.
fn name_text(scenario: &Scenario, who: Who) -> String {
    let name = scenario.entity(who).name.as_str();
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !["null", "true", "false"].iter().any(|word| name.eq_ignore_ascii_case(word));
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

/// A text of any characters, so that it reads back.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn instant_text(at: Instant) -> String {
    duration_text(Duration::from_nanos(at.as_nanos()))
}

/// A duration as plans write it: exact, in the largest unit of which there is at least one, such as
/// `1.5s` or `250us`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [("s", 9_usize), ("ms", 6), ("us", 3)];
    let of = |places: usize| 10_u128.pow(u32::try_from(places).unwrap_or(0));
    match units.into_iter().find(|(_, places)| nanos >= of(*places)) {
        Some((unit, places)) => {
            let fraction = format!("{:0places$}", nanos % of(places));
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{}{point}{fraction}{unit}", nanos / of(places))
        }
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{nanos}ns"),
    }
}

/// Parts in a million as plans write them: an exact percentage.
#[must_use]
pub fn share_text(per_million: u64) -> String {
    let fraction = format!("{:04}", per_million % 10_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}%", per_million / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_shares_are_exact_and_short() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_500, "1.5us"),
            (1_000_000, "1ms"),
            (1_000_001, "1.000001ms"),
            (2_500_000_000, "2.5s"),
            (60_000_000_000, "60s"),
            (u64::MAX, "18446744073.709551615s"),
        ] {
            assert_eq!(duration_text(Duration::from_nanos(nanos)), text);
        }
        for (parts, text) in
            [(0, "0%"), (1, "0.0001%"), (12_300, "1.23%"), (250_000, "25%"), (1_000_000, "100%")]
        {
            assert_eq!(share_text(parts), text);
        }
    }
}

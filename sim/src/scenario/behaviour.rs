//! How an agent behaves in a world that does not run its code: as its type and its settings say.
//!
//! The built-in types of the command line are understood; an agent of any other type answers each
//! message after its time. Engines that run real code use agents that behave by this very table.

use std::time::Duration;

use lictor_topology::AgentNode;
use serde_json::{Map, Value};

/// How an agent behaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Behaviour {
    /// Each incarnation fails at its n-th message.
    pub crash_every: Option<u64>,
    /// The share of messages at which it fails, in a million.
    pub crash_per_million: u32,
    /// Every n-th start fails.
    pub fail_start_every: Option<u64>,
    /// To whom it passes on what it gets, questions included.
    pub forward_to: Option<String>,
    /// How long it takes over a message, beyond what the plan's knobs say.
    pub delay: Duration,
    /// What it sends by itself.
    pub ticks: Option<Ticks>,
}

/// What a ticker sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticks {
    /// To whom.
    pub to: String,
    /// The time between two.
    pub every: Duration,
    /// It asks, and waits this long.
    pub ask: Option<Duration>,
    /// It stops after this many.
    pub count: Option<u32>,
}

impl Behaviour {
    /// As the type and the settings of an agent say.
    #[must_use]
    pub fn of(node: &AgentNode) -> Self {
        let config = &node.config;
        match node.type_name.as_str() {
            "lictor.flaky" => Self {
                crash_every: whole(config, "crash_every"),
                crash_per_million: per_million(config, "crash_rate"),
                fail_start_every: whole(config, "fail_start_every"),
                forward_to: text(config, "forward_to"),
                delay: time(config, "delay").unwrap_or_default(),
                ticks: None,
            },
            "lictor.ticker" => Self { ticks: ticks(config), ..Self::default() },
            _ => Self::default(),
        }
    }
}

fn ticks(config: &Map<String, Value>) -> Option<Ticks> {
    let rate = config.get("rate").and_then(Value::as_f64).filter(|rate| *rate > 0.0);
    let every = time(config, "every")
        .or_else(|| rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()));
    let asks = config.get("ask").and_then(Value::as_bool).unwrap_or_default();
    let timeout = time(config, "timeout").unwrap_or(Duration::from_secs(1));
    Some(Ticks {
        to: text(config, "to")?,
        every: every.unwrap_or(Duration::from_secs(1)).max(Duration::from_micros(1)),
        ask: asks.then_some(timeout),
        count: whole(config, "count").map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
    })
}

fn text(config: &Map<String, Value>, key: &str) -> Option<String> {
    config.get(key)?.as_str().map(ToOwned::to_owned)
}

fn whole(config: &Map<String, Value>, key: &str) -> Option<u64> {
    config.get(key)?.as_u64().filter(|number| *number > 0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is from 0 to 1"
)]
fn per_million(config: &Map<String, Value>, key: &str) -> u32 {
    let share = config.get(key).and_then(Value::as_f64).unwrap_or_default();
    (share.clamp(0.0, 1.0) * 1e6) as u32
}

/// A duration as topologies write it: `150ms`, `2s`, or a number of seconds.
fn time(config: &Map<String, Value>, key: &str) -> Option<Duration> {
    let value = config.get(key)?;
    if let Some(seconds) = value.as_f64() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let text = value.as_str()?.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().ok()?;
    let unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}

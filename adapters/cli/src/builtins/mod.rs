//! The agent types that the `lictor` command brings along, so that a file alone is a running
//! system.
//!
//! All of them take raw messages: a type and a JSON payload. Their configuration is strict: an
//! unknown key or an impossible value is a fault of the file.

mod counter;
mod echo;
pub(crate) mod exec;
mod flaky;
mod ledger;
mod ticker;

use std::time::Duration;

use lictor::{AgentError, AgentTypes, Message, Setup, Value};
use serde::{Deserialize, Deserializer};

pub use ledger::{Counts, Ledger};

/// All built-in agent types, counting in `ledger`.
#[must_use]
pub fn types(ledger: &Ledger) -> AgentTypes {
    let types = AgentTypes::new();
    let types = counter::offer(types);
    let types = echo::offer(types);
    let types = exec::offer(types, ledger);
    let types = flaky::offer(types, ledger);
    ticker::offer(types, ledger)
}

/// The settings of built-in types that name another agent.
pub(crate) const NAMES_IN: [(&str, &str); 2] =
    [("lictor.ticker", "to"), ("lictor.flaky", "forward_to")];

/// A message that an agent does not understand. It is skipped and not a crash: whoever can send to
/// an agent must not be able to bring it down by a slip.
#[derive(Debug)]
struct NotUnderstood(String);

impl std::fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotUnderstood {}

impl NotUnderstood {
    fn error(message: &Message, known: &str) -> AgentError {
        let kind = message.kind();
        tracing::warn!(target: "lictor::builtin", kind, "not understood; known are {known}");
        Self(format!("unknown message type {kind:?}; known are {known}")).into()
    }
}

/// A duration in a configuration: `100ms`, `1.5s`, or a number of seconds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = match &value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(serde::de::Error::custom("expected a duration, such as 100ms or 1.5"));
        }
    };
    crate::duration::parse(&text).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    // As for every other setting with no default, null is as if it were not there.
    let value = Value::deserialize(deserializer)?;
    if value.is_null() {
        return Ok(None);
    }
    duration(value).map(Some).map_err(serde::de::Error::custom)
}

/// Checks the name of an agent in a setting: a receiver that no agent can be is a slip.
fn a_name(key: &str, name: &str) -> Result<(), AgentError> {
    if lictor::topology::is_valid_name(name) {
        return Ok(());
    }
    Err(bad(&format!("`{key}` must be the name of an agent, not {name:?}")))
}

/// What a type without settings takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoConfig {}

/// Checks that a setting which names an agent names another one.
fn not_itself(setup: &Setup, key: &str, to: &str) -> Result<(), AgentError> {
    if to == setup.name {
        return Err(AgentError::new(format!("bad config: `{key}` is the agent itself")));
    }
    Ok(())
}

fn bad(detail: &str) -> AgentError {
    AgentError::new(format!("bad config: {detail}"))
}

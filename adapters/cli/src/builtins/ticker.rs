//! `lictor.ticker`: sends, or asks, at a steady rate.
//!
//! In the payload, a text that is just `{n}` becomes the number of the message, and `{n}` inside a
//! longer text is replaced by it. A ticker that asks waits for each answer before the next tick.
//! Asked anything, it answers with what it has counted.

use std::time::Duration;

use lictor::{
    Agent, AgentError, AgentTypes, AskError, Context, ErrorAction, Instant, Message, SendError,
    Setup, Value,
};
use serde::Deserialize;

use super::{Counts, Ledger, NotUnderstood, a_name, bad, duration, not_itself, some_duration};

const TICK: &str = "lictor.ticker.tick";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The receiver.
    to: String,
    /// The time between two messages.
    #[serde(default, deserialize_with = "some_duration")]
    every: Option<Duration>,
    /// Messages per second, instead of `every`.
    rate: Option<f64>,
    /// The type of the messages.
    #[serde(default = "tick")]
    kind: String,
    /// Their payload.
    #[serde(default)]
    payload: Value,
    /// Whether to ask and not only to send.
    #[serde(default)]
    ask: bool,
    /// How long to wait for an answer.
    #[serde(default = "second", deserialize_with = "duration")]
    timeout: Duration,
    /// After this many messages it stops normally.
    count: Option<u64>,
}

fn tick() -> String {
    "tick".to_owned()
}

const fn second() -> Duration {
    Duration::from_secs(1)
}

impl Config {
    fn of(setup: &Setup) -> Result<(Self, Duration), AgentError> {
        let config: Self = setup.config()?;
        not_itself(setup, "to", &config.to)?;
        a_name("to", &config.to)?;
        if config.count == Some(0) {
            return Err(bad("`count` must be at least 1"));
        }
        let period = match (config.every, config.rate) {
            (Some(_), Some(_)) => return Err(bad("`every` and `rate` exclude each other")),
            (Some(every), None) => every,
            (None, Some(rate)) if rate > 0.0 && rate.is_finite() => {
                Duration::try_from_secs_f64(1.0 / rate)
                    .map_err(|_| bad("`rate` is too small to ever tick"))?
            }
            (None, Some(_)) => return Err(bad("`rate` must be above 0")),
            (None, None) => return Err(bad("one of `every` and `rate` is required")),
        };
        if period < Duration::from_micros(1) {
            return Err(bad("it cannot tick more than a million times a second"));
        }
        Ok((config, period))
    }
}

pub(super) fn offer(types: AgentTypes, ledger: &Ledger) -> AgentTypes {
    let ledger = ledger.clone();
    types.with("lictor.ticker", move |setup| {
        let (config, period) = Config::of(setup)?;
        let counts = ledger.counts(&setup.name);
        Ok(move || Ticker {
            config: config.clone(),
            period,
            counts: counts.clone(),
            due: Instant::ZERO,
            warned: false,
        })
    })
}

struct Ticker {
    config: Config,
    period: Duration,
    counts: Counts,
    due: Instant,
    /// That there is no receiver is said once an incarnation.
    warned: bool,
}

impl Ticker {
    /// The next tick; one that is overdue is left out and not made up for by a burst.
    fn schedule(&mut self, cx: &Context<Self>) {
        let now = cx.runtime().now();
        self.due = self.due.saturating_add(self.period).max(now);
        let wait = self.due.saturating_since(now);
        let _ = cx.send_after(wait, Message::new(TICK, cx.incarnation()));
    }

    async fn tick(&mut self, cx: &mut Context<Self>) {
        let n = self.counts.one("sent");
        let (to, kind) = (self.config.to.clone(), self.config.kind.clone());
        let message = Message::new(kind, filled(&self.config.payload, n));
        let done = if self.config.ask {
            let answer = cx.ask(&to, message, self.config.timeout).await;
            answer.map(drop)
        } else {
            cx.send(&to, message).await.map_err(AskError::NotSent)
        };
        match done {
            Ok(()) if self.config.ask => drop(self.counts.one("answered")),
            Ok(()) => {}
            Err(error) => {
                self.counts.one("failed");
                let unknown = matches!(error, AskError::NotSent(SendError::Unknown { .. }));
                // Most likely a slip of the file, and one that nobody would see.
                if unknown && !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(target: "lictor::builtin", agent = cx.name(), "{error}");
                } else {
                    tracing::debug!(target: "lictor::builtin", agent = cx.name(), "{error}");
                }
            }
        }
        if self.config.count.is_some_and(|count| n >= count) {
            cx.stop();
        }
    }
}

/// The payload of message `n`.
fn filled(template: &Value, n: u64) -> Value {
    match template {
        Value::String(text) if text == "{n}" => n.into(),
        Value::String(text) => text.replace("{n}", &n.to_string()).into(),
        Value::Array(items) => items.iter().map(|item| filled(item, n)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), filled(value, n))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    }
}

impl Agent for Ticker {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        self.due = cx.runtime().now();
        self.schedule(cx);
        Ok(())
    }

    async fn handle(
        &mut self,
        mut message: Message,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        if message.wants_reply() {
            let counts = self.counts.all().into_iter().map(|(key, n)| (key.to_owned(), n.into()));
            message.reply(Value::Object(counts.collect()));
            return Ok(());
        }
        if message.kind() != TICK {
            return Err(NotUnderstood::error(&message, "none: it only answers questions"));
        }
        // A tick that an earlier incarnation had still queued would double the rate.
        if message.payload().as_u64() == Some(cx.incarnation()) {
            self.tick(cx).await;
            self.schedule(cx);
        }
        Ok(())
    }

    fn on_error(&mut self, _error: &AgentError, _attempt: u32) -> ErrorAction {
        ErrorAction::Skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_message_goes_into_the_payload() {
        let template: Value =
            serde_json::from_str(r#"{"id":"{n}","text":"no {n}","list":["{n}",1,null]}"#).unwrap();
        let expected: Value =
            serde_json::from_str(r#"{"id":7,"text":"no 7","list":[7,1,null]}"#).unwrap();
        assert_eq!(filled(&template, 7), expected);
    }
}

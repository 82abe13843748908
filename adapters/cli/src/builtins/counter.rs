//! `lictor.counter`: counts.
//!
//! `Add` (payload: a whole number, or `{"n": 2}`) adds, `Reset` goes back to the beginning, `Get`
//! only answers, `Crash` crashes. Each of the first three, when asked, answers the number as it is
//! then.

use lictor::{Agent, AgentError, AgentTypes, Context, ErrorAction, Message, Value};
use serde::Deserialize;

use super::NotUnderstood;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The number at the beginning.
    start: i64,
    /// Whether the number outlives a crash, as a checkpoint.
    durable: bool,
}

pub(super) fn offer(types: AgentTypes) -> AgentTypes {
    types.with("lictor.counter", |setup| {
        let config: Config = setup.config()?;
        Ok(move || Counter { count: config.start, config: config.clone() })
    })
}

struct Counter {
    count: i64,
    config: Config,
}

impl Counter {
    fn act(&mut self, message: &Message) -> Result<(), AgentError> {
        match message.kind() {
            "Add" => {
                let n = addend(message.payload()).ok_or_else(|| {
                    NotUnderstood(format!("Add takes a whole number, not {}", message.payload()))
                })?;
                self.count = self.count.saturating_add(n);
            }
            "Get" => {}
            "Reset" => self.count = self.config.start,
            "Crash" => return Err(AgentError::new("asked to crash")),
            _ => return Err(NotUnderstood::error(message, "Add, Get, Reset, Crash")),
        }
        Ok(())
    }
}

fn addend(payload: &Value) -> Option<i64> {
    match payload {
        Value::Number(n) => n.as_i64(),
        Value::Object(map) if map.len() == 1 => map.get("n")?.as_i64(),
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

impl Agent for Counter {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        if self.config.durable
            && let Some(count) = cx.restore().await?
        {
            self.count = count;
        }
        Ok(())
    }

    async fn handle(
        &mut self,
        mut message: Message,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        let before = self.count;
        self.act(&message)?;
        if self.config.durable && self.count != before {
            cx.checkpoint(&self.count).await?;
        }
        message.reply(self.count);
        Ok(())
    }

    fn on_error(&mut self, error: &AgentError, _attempt: u32) -> ErrorAction {
        match error.downcast_ref::<NotUnderstood>() {
            Some(_) => ErrorAction::Skip,
            None => ErrorAction::Escalate,
        }
    }
}

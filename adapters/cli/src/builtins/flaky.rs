//! `lictor.flaky`: a stage of a pipeline that crashes now and then.
//!
//! It passes every message on to `forward_to`, with the address of the answer, so that the last
//! stage answers whoever asked the first one. Without `forward_to` it answers with the payload.

use lictor::kernel::Prng;
use lictor::{
    Agent, AgentError, AgentTypes, Context, ErrorAction, Message, SendError, Setup, Value,
};
use serde::Deserialize;
use std::time::Duration;

use super::{Counts, Ledger, a_name, bad, not_itself, some_duration};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The share of messages that crash it, from 0 to 1.
    crash_rate: f64,
    /// Each incarnation crashes at its n-th message.
    crash_every: Option<u64>,
    /// Every n-th start fails; 1 is every start.
    fail_start_every: Option<u64>,
    /// Crashes by a panic instead of an error.
    panic: bool,
    /// Seed of `crash_rate`.
    seed: u64,
    /// The next stage.
    forward_to: Option<String>,
    /// Appends its name to the list `via` of payloads that are maps.
    stamp: bool,
    /// How long each message takes.
    #[serde(deserialize_with = "some_duration")]
    delay: Option<Duration>,
}

impl Config {
    fn of(setup: &Setup) -> Result<Self, AgentError> {
        let config: Self = setup.config()?;
        if !(0.0..=1.0).contains(&config.crash_rate) {
            return Err(bad("`crash_rate` must be from 0 to 1"));
        }
        for (key, n) in
            [("crash_every", config.crash_every), ("fail_start_every", config.fail_start_every)]
        {
            if n == Some(0) {
                return Err(bad(&format!("`{key}` must be at least 1")));
            }
        }
        if let Some(to) = &config.forward_to {
            not_itself(setup, "forward_to", to)?;
            a_name("forward_to", to)?;
        }
        Ok(config)
    }
}

pub(super) fn offer(types: AgentTypes, ledger: &Ledger) -> AgentTypes {
    let ledger = ledger.clone();
    types.with("lictor.flaky", move |setup| {
        let config = Config::of(setup)?;
        let counts = ledger.counts(&setup.name);
        Ok(move || Flaky {
            config: config.clone(),
            counts: counts.clone(),
            seen: 0,
            prng: Prng::new(config.seed),
        })
    })
}

struct Flaky {
    config: Config,
    counts: Counts,
    seen: u64,
    prng: Prng,
}

impl Flaky {
    fn crashes(&mut self) -> Option<String> {
        self.seen += 1;
        if self.config.crash_every.is_some_and(|n| self.seen >= n) {
            return Some(format!("crashed at its message {}, as configured", self.seen));
        }
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let drawn = (self.prng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let rate = self.config.crash_rate;
        (drawn < rate).then(|| format!("crashed by chance, at a rate of {rate}"))
    }
}

impl Agent for Flaky {
    type Message = Message;

    async fn start(&mut self, cx: &mut Context<Self>) -> Result<(), AgentError> {
        // Each incarnation draws anew, or it would crash at the same message for ever.
        self.prng = Prng::new(self.config.seed ^ cx.incarnation().rotate_left(32));
        match self.config.fail_start_every {
            Some(n) if cx.incarnation().is_multiple_of(n) => {
                let start = cx.incarnation();
                Err(AgentError::new(format!("start {start} failed, as configured")))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn handle(
        &mut self,
        mut message: Message,
        cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        if let Some(delay) = self.config.delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(why) = self.crashes() {
            assert!(!self.config.panic, "{why}");
            return Err(AgentError::new(why));
        }
        let mut payload = message.take_payload();
        if self.config.stamp
            && let Value::Object(fields) = &mut payload
        {
            let via = fields.entry("via").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(via) = via {
                via.push(cx.name().into());
            }
        }
        let Some(next) = &self.config.forward_to else {
            message.reply(payload);
            return Ok(());
        };
        let mut onward = Message::new(message.kind(), payload);
        if let Some(reply_to) = message.take_reply_to() {
            onward = onward.with_reply_to(reply_to);
        }
        cx.send(next, onward).await?;
        self.counts.one("forwarded");
        Ok(())
    }

    /// That the next stage takes nothing is not this one's failure.
    fn on_error(&mut self, error: &AgentError, _attempt: u32) -> ErrorAction {
        match error.downcast_ref::<SendError>() {
            Some(_) => ErrorAction::Skip,
            None => ErrorAction::Escalate,
        }
    }
}

//! `lictor.echo`: answers every question with its own payload.

use lictor::{Agent, AgentError, AgentTypes, Context, Message};

use super::NoConfig;

pub(super) fn offer(types: AgentTypes) -> AgentTypes {
    types.with("lictor.echo", |setup| {
        setup.config::<NoConfig>()?;
        Ok(|| Echo)
    })
}

struct Echo;

impl Agent for Echo {
    type Message = Message;

    async fn handle(
        &mut self,
        mut message: Message,
        _cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        let payload = message.take_payload();
        message.reply(payload);
        Ok(())
    }
}

//! Agents: the user's code.

use std::future::Future;

use lictor_kernel::ErrorAction;

use crate::context::Context;
use crate::error::AgentError;
use crate::message::Protocol;

/// An agent: state that handles one message at a time, under a supervisor.
///
/// The state is the value itself. Each incarnation is made afresh by the factory that was given to
/// the supervisor, so a restart begins with clean state; what must survive is kept by
/// [`Context::checkpoint`]. A panic in any method is a crash of this agent and of nothing else.
pub trait Agent: Sized + Send + 'static {
    /// What it understands.
    type Message: Protocol;

    /// Before the first message. The next sibling starts when this has returned.
    ///
    /// # Errors
    /// The start has failed: the supervisor deals with it as with a crash.
    fn start(
        &mut self,
        _cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), AgentError>> + Send {
        std::future::ready(Ok(()))
    }

    /// One message. The next one is handled when this has returned.
    ///
    /// # Errors
    /// [`Agent::on_error`] decides what becomes of the message and of the agent.
    fn handle(
        &mut self,
        message: Self::Message,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), AgentError>> + Send;

    /// What an error of [`Agent::handle`] leads to. `attempt` counts the deliveries of the message
    /// before this one. By default the agent crashes.
    fn on_error(&mut self, _error: &AgentError, _attempt: u32) -> ErrorAction {
        ErrorAction::Escalate
    }

    /// After the last message, also after a crash in [`Agent::handle`] by an error; not after a
    /// panic or a kill, when the value is no longer to be trusted.
    fn stop(&mut self, _cx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// The agent was suspended: until it is resumed it gets no messages.
    fn on_suspend(&mut self, _reason: &str) {}

    /// The agent was resumed.
    fn on_resume(&mut self, _approver: &str) {}

    /// A child that this agent had spawned is gone for good.
    fn on_child_terminated(&mut self, _child: &str, _reason: &str) {}
}

/// What becomes of the message that an agent had in hand when it crashed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum InHandPolicy {
    /// It is dropped, and counted; one who asked gets the error at once.
    #[default]
    Drop,
    /// The next incarnation gets it first, up to `max_retries` times; then it is a dead letter.
    Redeliver,
    /// It is a dead letter.
    DeadLetter,
}

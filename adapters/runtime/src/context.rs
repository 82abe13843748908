//! What an agent can do from inside its handlers.

use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use lictor_kernel::Instant;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::Agent;
use crate::cell::{Cell, OnlyFor, Patience, Way};
use crate::config::Drain;
use crate::error::{AgentError, AskError, ControlError, SendError};
use crate::executor::Role;
use crate::mailbox::Lane;
use crate::message::{Message, Value, from_value, to_value};
use crate::refs::AgentRef;
use crate::runtime::Runtime;
use crate::token::Token;

/// The agent's view of its runtime while it handles something.
pub struct Context<A: Agent> {
    cell: Arc<Cell<A::Message>>,
    incarnation: u64,
    /// Raised when the incarnation ends: its timers end with it. Made by the first timer.
    ended: OnceLock<Arc<Token>>,
    /// Boxed: each agent has room for it, and few end themselves.
    ending: Option<Box<Ending>>,
}

/// Whether the agent asked for its own end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Stop,
    Ignore,
    Fail(Arc<str>),
}

impl<A: Agent> Context<A> {
    pub(crate) fn new(cell: Arc<Cell<A::Message>>, incarnation: u64) -> Self {
        Self { cell, incarnation, ended: OnceLock::new(), ending: None }
    }

    /// The end that the agent has asked for.
    #[inline]
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_deref()
    }

    /// The agent's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cell.core.name
    }

    /// How often this agent has been started, this time included.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The runtime that the agent lives in.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        Runtime::of(Arc::clone(&self.cell.core.shared))
    }

    /// A reference to this agent. Inside a handler send with [`AgentRef::try_send`]: nobody but
    /// this agent makes room in its mailbox, so waiting for it can only end by the time-out.
    #[must_use]
    pub fn this(&self) -> AgentRef<A> {
        AgentRef::new(Arc::clone(&self.cell))
    }

    /// A reference to another agent of a known type, on this node. An agent that may live on
    /// another one is reached by its name: [`Context::ask`], [`Context::send`], [`Runtime::raw`].
    ///
    /// # Errors
    /// `Unknown`; `WrongType` for an agent with other messages; `Remote` for one of another node.
    pub fn agent<B: Agent>(&self, name: &str) -> Result<AgentRef<B>, SendError> {
        self.runtime().agent(name)
    }

    /// Sends a raw message to the agent of this name.
    ///
    /// # Errors
    /// See [`SendError`]. A message to itself never waits: a full mailbox is `Full`, because nobody
    /// could ever make room.
    pub async fn send(&self, to: &str, message: Message) -> Result<(), SendError> {
        let target = self.runtime().raw(to)?;
        let message = message.sent_by(Arc::clone(&self.cell.core.name));
        if to == self.name() {
            return target.try_send(message);
        }
        target.send(message).await
    }

    /// Asks the agent of this name. `timeout` covers the enqueuing and the answer.
    ///
    /// # Errors
    /// See [`AskError`]. A question to itself is refused: it could never be answered.
    pub async fn ask(
        &self,
        to: &str,
        message: Message,
        timeout: Duration,
    ) -> Result<Value, AskError> {
        if to == self.name() {
            return Err(SendError::ToSelf { name: Arc::clone(&self.cell.core.name) }.into());
        }
        let message = message.sent_by(Arc::clone(&self.cell.core.name));
        self.runtime().raw(to)?.ask(message, timeout).await
    }

    /// Sends a raw message to every agent whose name matches the pattern, this one excepted, and
    /// says how many took it. Supervisors and system names get none.
    ///
    /// # Errors
    /// `BadPattern`. A receiver that is down or full is skipped, not an error.
    pub async fn broadcast(
        &self,
        pattern: &str,
        kind: &str,
        payload: Value,
    ) -> Result<usize, SendError> {
        let sender = Some(Arc::clone(&self.cell.core.name));
        self.runtime().broadcast_from(sender, pattern, kind, payload).await
    }

    /// Sends a raw message to one running agent that has the capability.
    ///
    /// # Errors
    /// `NoCapability`; else as [`Context::send`].
    pub async fn send_to_capable(
        &self,
        capability: &str,
        message: Message,
    ) -> Result<(), SendError> {
        let to = self.runtime().capable(capability)?;
        self.send(&to, message).await
    }

    /// Sends a message to this agent itself after a delay. The timer ends with the incarnation, or
    /// when its handle says so; a message of it that waits in the mailbox by then is a dead letter.
    ///
    /// If the mailbox is full when the time comes, the timer does what the mailbox's policy says:
    /// it waits for room (without a limit), is rejected, or drops the oldest message.
    pub fn send_after<M>(&self, delay: Duration, message: M) -> TimerHandle
    where
        A::Message: From<M>,
    {
        let handle = TimerHandle(Arc::new(Token::new()));
        let cancelled = Arc::clone(&handle.0);
        let ended = Arc::clone(self.ended.get_or_init(|| Arc::new(Token::new())));
        let cell = Arc::clone(&self.cell);
        let message = A::Message::from(message);
        let shared = Arc::clone(&self.cell.core.shared);
        let at = shared.executor.now().saturating_add(delay);
        // One that is in the mailbox when its incarnation ends is not for the next one, which has
        // timers of its own.
        let patience = Patience::Until(Instant::MAX);
        let only_for = Some(OnlyFor::of(self.incarnation));
        let way = Way { only_for, ..Way::new(Lane::Normal, patience) };
        let name = Arc::clone(&cell.core.name);
        let delayed = Box::pin(async move {
            let deliver = async {
                cell.core.shared.timers.wait_until(at).await;
                // A mailbox that has closed meanwhile belongs to an agent that has ended: so has
                // its timer. One that is full and rejects has counted it.
                let _ = cell.start_send(way, message).await;
            };
            let mut deliver = pin!(deliver);
            let (mut cancelled, mut ended) = (pin!(cancelled.raised()), pin!(ended.raised()));
            poll_fn(|cx| {
                if cancelled.as_mut().poll(cx).is_ready() || ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                deliver.as_mut().poll(cx)
            })
            .await;
        });
        shared.executor.spawn_as(Role::Delayed(&name), delayed);
        handle
    }

    /// Waits, on the clock of the runtime's executor: in a simulation, in virtual time.
    pub async fn sleep(&self, time: Duration) {
        let shared = &self.cell.core.shared;
        shared.timers.wait_until(shared.executor.now().saturating_add(time)).await;
    }

    /// Keeps a checkpoint of this state under the agent's name.
    ///
    /// # Errors
    /// The state cannot be JSON, or the store could not write.
    pub async fn checkpoint<T: Serialize + Sync>(&self, state: &T) -> Result<(), AgentError> {
        let state = to_value(state)?;
        Ok(self.cell.core.shared.config.store.set(&self.cell.core.name, state).await?)
    }

    /// The last checkpoint of this agent, of this or an earlier incarnation.
    ///
    /// # Errors
    /// The checkpoint is of another shape, or the store could not read.
    pub async fn restore<T: DeserializeOwned>(&self) -> Result<Option<T>, AgentError> {
        let state = self.cell.core.shared.config.store.get(&self.cell.core.name).await?;
        Ok(state.map(from_value).transpose()?)
    }

    /// Spawns a child of a registered type under the nearest dynamic supervisor: the first among
    /// the siblings in the closest enclosing supervisor that has one.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn spawn(&self, kind: &str, name: &str, config: Value) -> Result<(), ControlError> {
        let own = Arc::clone(&self.cell.core.name);
        self.runtime().spawn_for(Some(own), None, kind, name, config).await
    }

    /// Ends a child at once.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn despawn(&self, name: &str) -> Result<(), ControlError> {
        self.runtime().despawn(name).await
    }

    /// Stops a child.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn stop_agent(
        &self,
        name: &str,
        drain: Drain,
        timeout: Duration,
    ) -> Result<(), ControlError> {
        self.runtime().stop_agent(name, drain, timeout).await
    }

    /// Ends this agent normally when the present method has returned.
    pub fn stop(&mut self) {
        self.ending = Some(Box::new(Ending::Stop));
    }

    /// Ends this agent as crashed when the present method has returned. Unlike with an error, the
    /// message in hand counts as handled: it is not what the agent fails at.
    pub fn fail(&mut self, reason: impl Into<Arc<str>>) {
        self.ending = Some(Box::new(Ending::Fail(reason.into())));
    }

    /// In [`Agent::start`]: there is nothing to do here, and that is no failure (OTP `ignore`).
    pub fn ignore_start(&mut self) {
        self.ending = Some(Box::new(Ending::Ignore));
    }
}

impl<A: Agent> Drop for Context<A> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.get() {
            ended.raise();
        }
    }
}

impl<A: Agent> Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("agent", &self.cell.core.name).finish_non_exhaustive()
    }
}

/// A pending [`Context::send_after`].
#[derive(Clone, Debug)]
pub struct TimerHandle(Arc<Token>);

impl TimerHandle {
    /// The message will not be sent, unless it has been.
    pub fn cancel(&self) {
        self.0.raise();
    }
}

//! References: how agents are reached.

use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use lictor_kernel::Instant;

use crate::agent::Agent;
use crate::cell::{AnyCell, Cell, Patience, Sending, Way};
use crate::error::{AskError, SendError};
use crate::mailbox::Lane;
use crate::message::{Message, ReplyTo, Request, Value};
use crate::peers::Hop;
use crate::reply::{ReplyFailure, awaited_slot, reply_slot};
use crate::runtime::Shared;
use crate::timers::Elapsed;

/// How a message is sent, where the defaults do not fit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub struct SendOptions {
    priority: bool,
    ttl: Option<Duration>,
    timeout: Option<Duration>,
}

impl SendOptions {
    /// The defaults: no priority, no end of its life, the runtime's `send_timeout`.
    pub const fn new() -> Self {
        Self { priority: false, ttl: None, timeout: None }
    }

    /// Served before ordinary messages.
    pub const fn priority(mut self) -> Self {
        self.priority = true;
        self
    }

    /// Once this time has passed since the sending, the message is not handled any more: it is a
    /// dead letter. Measured by this runtime's monotonic clock.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long it may wait for room in the mailbox.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn way(self, shared: &Shared) -> Way {
        let lane = if self.priority { Lane::Priority } else { Lane::Normal };
        let patience = self.timeout.map_or(Patience::Default, Patience::For);
        let from_now = |ttl| shared.executor.now().saturating_add(ttl);
        Way { expires: self.ttl.map_or(Instant::MAX, from_now), ..Way::new(lane, patience) }
    }
}

/// A reference to an agent of a known type. It survives restarts: it means the name, not an
/// incarnation. Cheap to clone.
pub struct AgentRef<A: Agent> {
    cell: Arc<Cell<A::Message>>,
    agent: PhantomData<fn(A)>,
}

impl<A: Agent> AgentRef<A> {
    pub(crate) const fn new(cell: Arc<Cell<A::Message>>) -> Self {
        Self { cell, agent: PhantomData }
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cell.core.name
    }

    /// Sends a message; if the mailbox is full and its policy is to wait, waits for room up to the
    /// runtime's `send_timeout`. Messages of one sender arrive in the order in which it sent them.
    ///
    /// Where the runtime has a stream ([`RuntimeConfig::durable`](crate::RuntimeConfig::durable)),
    /// it returns when the message is stored, and does not ask whether the agent is up.
    ///
    /// # Errors
    /// `Down`, `Full`, `Timeout`; with a stream `StreamFull`, `NotStored`, `TooLarge`. The agent
    /// has not seen the message then. `Unconfirmed`: it may.
    pub async fn send<M>(&self, message: M) -> Result<(), SendError>
    where
        A::Message: From<M>,
    {
        // Not by way of a function of its own: a future around a future costs what a push does.
        match self.cell.start_tell(Way::new(Lane::Normal, Patience::Default), message.into()) {
            Sending::Done(sent) => sent,
            Sending::Waits(waits) => waits.await,
        }
    }

    /// As [`AgentRef::send`], but served before ordinary messages.
    ///
    /// # Errors
    /// As [`AgentRef::send`].
    pub async fn send_priority<M>(&self, message: M) -> Result<(), SendError>
    where
        A::Message: From<M>,
    {
        // Not by way of a function of its own: a future around a future costs what a push does.
        match self.cell.start_tell(Way::new(Lane::Priority, Patience::Default), message.into()) {
            Sending::Done(sent) => sent,
            Sending::Waits(waits) => waits.await,
        }
    }

    /// As [`AgentRef::send`], with a priority, a time to live or another time-out of its own.
    ///
    /// # Errors
    /// As [`AgentRef::send`].
    pub async fn send_with<M>(&self, message: M, options: SendOptions) -> Result<(), SendError>
    where
        A::Message: From<M>,
    {
        // Not by way of a function of its own: a future around a future costs what a push does.
        match self.cell.start_tell(options.way(&self.cell.core.shared), message.into()) {
            Sending::Done(sent) => sent,
            Sending::Waits(waits) => waits.await,
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// `Full` at once when there is no room; else as [`AgentRef::send`].
    pub fn try_send<M>(&self, message: M) -> Result<(), SendError>
    where
        A::Message: From<M>,
    {
        self.cell.try_send(Way::new(Lane::Normal, Patience::Default), message.into())
    }

    /// Asks, and waits for the answer. `timeout` covers both the wait for room in the mailbox and
    /// the wait for the answer.
    ///
    /// # Errors
    /// [`AskError`] says whether the agent has seen the question. A crash of the agent while it has
    /// the question in hand is told at once.
    pub async fn ask<Q>(&self, question: Q, timeout: Duration) -> Result<Q::Reply, AskError>
    where
        Q: Request,
        A::Message: From<(Q, ReplyTo<Q::Reply>)>,
    {
        let shared = &self.cell.core.shared;
        let deadline = shared.executor.now().saturating_add(timeout);
        let slot = |task: &mut TaskContext<'_>| Poll::Ready(awaited_slot(task.waker().clone()));
        let (reply_to, reply) = poll_fn(slot).await;
        let message = A::Message::from((question, ReplyTo::new(reply_to)));
        let way = Way::new(Lane::Normal, Patience::Until(deadline));
        // One that has found room at once is in the poll in which the slot was made.
        let (sent, awaited) = match self.cell.start_send(way, message) {
            Sending::Done(sent) => (sent, true),
            Sending::Waits(waits) => (waits.await, false),
        };
        let name = &self.cell.core.name;
        match sent {
            Ok(()) => answer(name, reply.until(&shared.timers, deadline, awaited).await),
            Err(error) => Err(unsent(error)),
        }
    }

    /// This reference without its type.
    #[must_use]
    pub fn raw(&self) -> RawRef {
        let cell: Arc<dyn AnyCell> = Arc::<Cell<A::Message>>::clone(&self.cell);
        RawRef::local(cell)
    }
}

impl<A: Agent> Clone for AgentRef<A> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.cell))
    }
}

impl<A: Agent> Debug for AgentRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentRef({})", self.name())
    }
}

/// A reference to an agent of any type, on whatever node: takes raw messages. It survives restarts.
#[derive(Clone)]
pub struct RawRef(Target);

#[derive(Clone)]
enum Target {
    Local(Arc<dyn AnyCell>),
    /// Looked up anew for each message.
    Remote(Arc<Shared>, Arc<str>),
}

impl RawRef {
    pub(crate) fn local(cell: Arc<dyn AnyCell>) -> Self {
        Self(Target::Local(cell))
    }

    pub(crate) const fn remote(shared: Arc<Shared>, name: Arc<str>) -> Self {
        Self(Target::Remote(shared, name))
    }

    fn place(&self) -> (&Shared, &Arc<str>) {
        match &self.0 {
            Target::Local(cell) => (&cell.core().shared, &cell.core().name),
            Target::Remote(shared, name) => (shared, name),
        }
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.place().1
    }

    /// As [`AgentRef::send`]. To an agent of another node: the wire has taken the message, which
    /// may still lose it; one that could not be delivered there comes back as a dead letter. While
    /// 256 messages to agents of its lane (a 256th of all names) or 4096 to its node are under way,
    /// which they are until they are in their mailboxes, it waits, up to the time-out.
    ///
    /// # Errors
    /// As [`AgentRef::send`], and `NotUnderstood` or `Reserved` for a message that does not fit;
    /// `Unknown`, `Unreachable`, `WireFull` and `TooLarge` for an agent of another node.
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        self.put(Way::new(Lane::Normal, Patience::Default), message).await
    }

    /// As [`AgentRef::send_priority`].
    ///
    /// # Errors
    /// As [`RawRef::send`].
    pub async fn send_priority(&self, message: Message) -> Result<(), SendError> {
        self.put(Way::new(Lane::Priority, Patience::Default), message).await
    }

    /// As [`AgentRef::send_with`].
    ///
    /// # Errors
    /// As [`RawRef::send`].
    pub async fn send_with(&self, message: Message, options: SendOptions) -> Result<(), SendError> {
        self.put(options.way(self.place().0), message).await
    }

    /// As [`AgentRef::try_send`].
    ///
    /// # Errors
    /// As [`RawRef::send`], without `Timeout`; `WireFull` where that would wait.
    pub fn try_send(&self, message: Message) -> Result<(), SendError> {
        let way = Way::new(Lane::Normal, Patience::Until(Instant::ZERO));
        match &self.0 {
            Target::Local(cell) => cell.try_send_raw(way, message),
            Target::Remote(shared, name) => match shared.hop(name)? {
                Hop::Local(cell) => cell.try_send_raw(way, message),
                Hop::Remote(node, epoch) => shared.try_post(name, (node, epoch), way, message),
            },
        }
    }

    /// As [`AgentRef::ask`]. If the agent's node is given up meanwhile, the question fails at once
    /// with [`ReplyFailure::NoConnection`](crate::ReplyFailure::NoConnection).
    ///
    /// # Errors
    /// As [`AgentRef::ask`].
    pub async fn ask(&self, message: Message, timeout: Duration) -> Result<Value, AskError> {
        let (shared, name) = self.place();
        let deadline = shared.executor.now().saturating_add(timeout);
        let (reply_to, reply) = reply_slot();
        let message = message.with_reply_to(ReplyTo::new(reply_to));
        let way = Way::new(Lane::Normal, Patience::Until(deadline));
        self.put(way, message).await.map_err(unsent)?;
        answer(name, reply.until(&shared.timers, deadline, false).await)
    }

    async fn put(&self, way: Way, message: Message) -> Result<(), SendError> {
        match &self.0 {
            Target::Local(cell) => cell.send_raw(way, message).await,
            Target::Remote(shared, name) => match (shared.hop(name), &shared.streams) {
                (Ok(Hop::Local(cell)), _) => cell.send_raw(way, message).await,
                (_, Some(streams)) if !message.wants_reply() => {
                    shared.store(streams, name, way, message).await
                }
                (Ok(Hop::Remote(node, epoch)), _) => {
                    shared.post(name, (node, epoch), way, message).await
                }
                (Err(error), _) => Err(error),
            },
        }
    }
}

impl Debug for RawRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawRef({})", self.name())
    }
}

fn unsent(error: SendError) -> AskError {
    if let SendError::Timeout { name } = error { AskError::Timeout { name } } else { error.into() }
}

fn answer<R>(
    name: &Arc<str>,
    answered: Result<Result<R, ReplyFailure>, Elapsed>,
) -> Result<R, AskError> {
    match answered {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(failure)) => Err(AskError::Failed { name: Arc::clone(name), failure }),
        Err(Elapsed) => Err(AskError::Timeout { name: Arc::clone(name) }),
    }
}

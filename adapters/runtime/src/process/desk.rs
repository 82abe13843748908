//! What one incarnation works at: its lifecycle, what it has borrowed, the message in hand.
//!
//! A desk lies in one piece in the future of its incarnation, and the step from one message to the
//! next is a plain function that works on it. As locals of an `async fn` the same things would have
//! a place for each state in which they can be, which an idle agent keeps and each message wakes
//! out of the slower caches.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use lictor_kernel::{ErrorDecision, ExitReason, Instant, Lifecycle, LifecycleState};
use pin_project_lite::pin_project;

use super::borrowed::Borrowed;
use super::hand::Hand;
use super::{Handling, Incarnation, panic_text, poll_caught};
use crate::agent::Agent;
use crate::cell::{Cell, Control, Envelope, OnlyFor, Special};
use crate::context::{Context, Ending};
use crate::error::AgentError;
use crate::events::EventKind;
use crate::inbox::{Fact, Outcome};
use crate::mailbox::{Accept, Lane, Popped};
use crate::reply::ReplyFailure;

/// After this many messages in one poll the agent lets others run.
const MESSAGES_PER_POLL: u8 = 128;

/// However the incarnation ends, this gives back what is borrowed and then settles the message in
/// hand, which goes in front of that: also when it is killed and only the destructors run.
pub(super) struct Desk<'a, A: Agent> {
    pub(super) incarnation: &'a Incarnation<A>,
    pub(super) lifecycle: Lifecycle,
    pub(super) hand: Hand<A::Message>,
    mailbox: Borrowed<A::Message>,
    /// How many messages, [`MESSAGES_PER_POLL`] at most.
    in_this_poll: u8,
}

/// Where the loop goes after a message or a control.
pub(super) enum Next<P> {
    /// The handler gets this message.
    Handle(P),
    /// Whatever comes next.
    Go,
    End(End),
}

/// Why the loop has ended.
pub(super) enum End {
    Stop(ExitReason),
    /// The agent has failed, by an error of its own or because somebody said so.
    Crash(Arc<str>),
    /// The state is not to be trusted: no `stop` hook.
    Panicked(Arc<str>),
}

impl<'a, A: Agent> Desk<'a, A> {
    pub(super) fn of(incarnation: &'a Incarnation<A>, number: u64) -> Self {
        let lifecycle = Lifecycle::new(number, incarnation.cell().core.work().max_retries);
        let mailbox = Borrowed::nothing();
        Self { incarnation, lifecycle, hand: Hand::EMPTY, mailbox, in_this_poll: 0 }
    }

    fn cell(&self) -> &'a Cell<A::Message> {
        self.incarnation.cell()
    }

    /// What is borrowed goes back.
    #[inline]
    fn give_back(&mut self) {
        self.mailbox.give_back(self.cell());
    }

    /// Makes the state visible from outside.
    fn show(&self) {
        self.cell().core.set_status(self.lifecycle.state().into());
    }

    /// The agent is up: from here on it works.
    pub(super) fn started(&mut self) {
        // A refusal of the machine is no fault from here on, but says that it is there already.
        let _ = self.lifecycle.started();
        let core = &self.cell().core;
        if core.is_suspended() {
            let _ = self.lifecycle.suspend();
        }
        self.show();
        let outcome = Outcome::Started { incarnation: self.lifecycle.incarnation() };
        core.shared.inbox.fact(Fact { process: self.incarnation.life.process, outcome });
    }

    /// It works no longer: what it has not come to is for the next one.
    pub(super) fn ended(&mut self, end: &End) {
        self.give_back();
        let _ = match end {
            End::Panicked(_) | End::Crash(_) => self.lifecycle.crashed(),
            End::Stop(_) => self.lifecycle.stop(),
        };
        self.show();
    }

    /// Handles controls and messages until something ends the incarnation.
    #[expect(clippy::manual_async_fn, reason = "an async fn would keep each argument twice")]
    pub(super) fn work<'b>(
        &'b mut self,
        agent: &'b mut A,
        cx: &'b mut Context<A>,
    ) -> impl Future<Output = End> + use<'a, 'b, A> {
        async move {
            if let Some(end) = asked_end(cx) {
                return end;
            }
            loop {
                let mut message = match self.claim(cx) {
                    Some(message) => message,
                    None => match poll_fn(|task| self.poll_next(agent, cx, task)).await {
                        Ok(message) => message,
                        Err(end) => return end,
                    },
                };
                loop {
                    // What has failed is boxed: the others pay for no room that they do not need.
                    let failed = if self.incarnation.is_watched() {
                        self.give_back();
                        let handle = self.incarnation.handle_watched(agent, cx, message);
                        failure(Box::pin(handle).await)
                    } else {
                        Delivery { handle: agent.handle(message, cx), desk: self }.await
                    };
                    let Some(failed) = failed else {
                        self.done();
                        break;
                    };
                    match self.failed(agent, *failed) {
                        Next::Handle(again) => message = again,
                        Next::Go => break,
                        Next::End(end) => return end,
                    }
                }
                if let Some(end) = asked_end(cx) {
                    return end;
                }
            }
        }
    }

    /// The next message, if it is one of many that are at hand: then nothing has to be waited for,
    /// and it is moved but once. Whatever else there is, [`Desk::poll_next`] finds.
    #[inline]
    fn claim(&mut self, cx: &Context<A>) -> Option<A::Message> {
        let now = || self.cell().core.shared.executor.now();
        let life = &self.incarnation.life;
        if self.in_this_poll == MESSAGES_PER_POLL
            || self.lifecycle.state() == LifecycleState::Suspended
            || life.is_over(now)
        {
            return None;
        }
        let envelope = self.mailbox.claim(self.cell())?;
        self.in_this_poll += 1;
        if self.is_over(cx, &envelope) {
            self.incarnation.cell().dead_letter(envelope, ReplyFailure::Expired);
            return None;
        }
        Some(self.take(Lane::Normal, envelope))
    }

    /// The next message to handle, or the end.
    fn poll_next(
        &mut self,
        agent: &mut A,
        cx: &Context<A>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Result<A::Message, End>> {
        let incarnation = self.incarnation;
        loop {
            if self.in_this_poll == MESSAGES_PER_POLL {
                self.in_this_poll = 0;
                self.give_back();
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            let now = || incarnation.cell().core.shared.executor.now();
            if incarnation.life.is_over(now) {
                // It may have been while a method blocked the thread. What is queued is not for
                // us any more; the guard ends us as soon as we let it.
                self.give_back();
                return Poll::Pending;
            }
            let accept = accepted(self.lifecycle.state());
            let claimed =
                if accept == Accept::All { self.mailbox.claim(self.cell()) } else { None };
            let popped = match claimed {
                Some(envelope) => Popped::Message(Lane::Normal, envelope),
                None => ready!(self.mailbox.poll_pop(self.cell(), task, accept)),
            };
            self.in_this_poll += 1;
            let next = match popped {
                Popped::Message(_, envelope) if self.is_over(cx, &envelope) => {
                    incarnation.cell().dead_letter(envelope, ReplyFailure::Expired);
                    Next::Go
                }
                Popped::Message(lane, envelope) => Next::Handle(self.take(lane, envelope)),
                Popped::Control(control) => self.control(agent, control),
                Popped::Drained => Next::End(End::Stop(ExitReason::Shutdown)),
            };
            match next {
                Next::Handle(message) => return Poll::Ready(Ok(message)),
                Next::End(end) => return Poll::Ready(Err(end)),
                Next::Go => {}
            }
            if let Some(end) = asked_end(cx) {
                return Poll::Ready(Err(end));
            }
        }
    }

    /// Whether the message's time to live is over, or that of the incarnation whose timer sent it.
    #[inline]
    fn is_over(&self, cx: &Context<A>, envelope: &Envelope<A::Message>) -> bool {
        envelope.special.as_ref().is_some_and(|special| self.is_special_over(cx, special))
    }

    #[cold]
    fn is_special_over(&self, cx: &Context<A>, special: &Special) -> bool {
        let is_for_another = special.only_for.is_some_and(|it| it != OnlyFor::of(cx.incarnation()));
        let now = || self.cell().core.shared.executor.now();
        is_for_another || (special.expires < Instant::MAX && special.expires <= now())
    }

    #[cold]
    fn control(&mut self, agent: &mut A, control: Control) -> Next<A::Message> {
        let process = self.incarnation.life.process;
        let core = &self.cell().core;
        if control.is_wish() {
            core.wish_taken();
        }
        let name = Arc::clone(&core.name);
        let hook = |act: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(act)).err();
        let (panic, next) = match control {
            Control::Shutdown { process: it } if it != process => (None, Next::Go),
            // While it drains, the end of the queue stops it.
            Control::Shutdown { .. } if core.drains() => (None, Next::Go),
            Control::Shutdown { .. } => (None, Next::End(End::Stop(ExitReason::Shutdown))),
            Control::Restart { process: it, .. } if it != process => (None, Next::Go),
            Control::Restart { by, .. } => {
                (None, Next::End(End::Crash(format!("restart asked by {by}").into())))
            }
            Control::Suspend { reason } => {
                // One that began suspended still hears why.
                let _ = self.lifecycle.suspend();
                self.show();
                let panic = hook(&mut || agent.on_suspend(&reason));
                core.shared.emit(EventKind::Suspended { name, reason });
                (panic, Next::Go)
            }
            Control::Resume { approver } => {
                // One that began after the suspension was lifted still hears who did it.
                let _ = self.lifecycle.resume(&approver);
                self.show();
                let panic = hook(&mut || agent.on_resume(&approver));
                core.shared.emit(EventKind::Resumed { name, approver });
                (panic, Next::Go)
            }
            Control::ChildTerminated { child, reason } => {
                (hook(&mut || agent.on_child_terminated(&child, reason)), Next::Go)
            }
        };
        panic.map_or(next, |panic| Next::End(End::Panicked(panic_text(&*panic))))
    }

    /// A delivery that has not gone well: what the agent and the kernel make of it.
    #[cold]
    fn failed(&mut self, agent: &mut A, failure: Failure) -> Next<A::Message> {
        // The message may go back, in front of what was behind it.
        self.give_back();
        let error = match failure {
            Ok(error) => error,
            Err(panic) => {
                self.broken_off(ReplyFailure::Crashed);
                return Next::End(End::Panicked(panic));
            }
        };
        let attempt = self.attempt();
        let action = match catch_unwind(AssertUnwindSafe(|| agent.on_error(&error, attempt))) {
            Ok(action) => action,
            Err(panic) => {
                self.broken_off(ReplyFailure::Crashed);
                return Next::End(End::Panicked(panic_text(&*panic)));
            }
        };
        match self.decide(action) {
            ErrorDecision::Redeliver { .. } => {
                if let Some(again) = self.again() {
                    return Next::Handle(again);
                }
                self.broken_off(ReplyFailure::Crashed);
                Next::End(End::Crash(error.to_string().into()))
            }
            ErrorDecision::Crash => {
                self.broken_off(ReplyFailure::Crashed);
                Next::End(End::Crash(error.to_string().into()))
            }
            ErrorDecision::Discard => {
                self.given_up(ReplyFailure::Skipped);
                Next::Go
            }
            ErrorDecision::Stop => {
                self.given_up(ReplyFailure::Stopped);
                Next::End(End::Stop(ExitReason::Normal))
            }
        }
    }
}

pin_project! {
    /// One delivery of a message that nobody watches. While it waits, nothing is borrowed.
    ///
    /// A type of its own: a future that is pinned as a local, and polled by a closure, takes three
    /// words more in that of each agent.
    struct Delivery<'b, 'a, A: Agent, F> {
        #[pin]
        handle: F,
        desk: &'b mut Desk<'a, A>,
    }
}

impl<A: Agent, F: Future<Output = Result<(), AgentError>>> Future for Delivery<'_, '_, A, F> {
    type Output = Option<Box<Failure>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let handled = poll_caught(this.handle, task);
        if handled.is_pending() {
            this.desk.give_back();
        }
        handled.map(failure)
    }
}

impl<A: Agent> Drop for Desk<'_, A> {
    fn drop(&mut self) {
        self.give_back();
        if self.hand.is_full() {
            self.broken_off(ReplyFailure::Killed);
        }
    }
}

/// How a delivery has not gone well: by the agent's error, or by what its panic said.
type Failure = Result<AgentError, Arc<str>>;

#[inline]
fn failure(handled: Handling) -> Option<Box<Failure>> {
    match handled {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Box::new(Ok(error))),
        Err(panic) => Some(Box::new(Err(panic))),
    }
}

/// The end that the agent has asked for.
#[inline]
fn asked_end<A: Agent>(cx: &Context<A>) -> Option<End> {
    match cx.ending()? {
        Ending::Ignore => None,
        Ending::Stop => Some(End::Stop(ExitReason::Normal)),
        Ending::Fail(reason) => Some(End::Crash(Arc::clone(reason))),
    }
}

/// What a suspended agent takes, and any other.
const fn accepted(state: LifecycleState) -> Accept {
    match state {
        LifecycleState::Suspended => Accept::ControlOnly,
        LifecycleState::Initializing
        | LifecycleState::Running
        | LifecycleState::Stopping
        | LifecycleState::Stopped
        | LifecycleState::Crashed => Accept::All,
    }
}

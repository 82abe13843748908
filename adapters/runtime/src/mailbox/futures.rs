//! The futures of a mailbox: a push that may have to wait for room, and a pop.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::lane::{Claim, Ticket, Waiting};
use super::{Accept, Lane, Mailbox, Overflow, Popped, PushError, wake};

/// Future of [`Mailbox::push`].
///
/// # Panics
/// Polling it after it was ready.
#[must_use = "a push sends nothing until it is polled"]
pub struct Push<'a, C, T> {
    pub(super) mailbox: &'a Mailbox<C, T>,
    pub(super) lane: Lane,
    /// Ours until the mailbox has it.
    pub(super) message: Option<T>,
    /// Our place in the queue of waiting senders.
    pub(super) ticket: Option<Ticket>,
}

/// No field is pinned structurally.
impl<C, T> Unpin for Push<'_, C, T> {}

impl<C, T> Future for Push<'_, C, T> {
    type Output = Result<Option<T>, PushError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.ticket {
            None => this.poll_first(cx),
            Some(ticket) => this.poll_waiting(ticket, cx),
        }
    }
}

impl<C, T> Push<'_, C, T> {
    fn take_message(&mut self) -> T {
        self.message.take().expect("polled after it was ready")
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let message = self.take_message();
        let mut state = self.mailbox.state.lock();
        match state.push(self.lane, message, &self.mailbox.hints) {
            Err(PushError::Full(message)) if state.overflow == Overflow::Wait => {
                self.ticket = Some(state.lane(self.lane).wait(cx.waker().clone()));
                // Of what is lent, each message that is claimed has to make room from here on.
                self.mailbox.hints.recall();
                self.message = Some(message);
                Poll::Pending
            }
            Err(PushError::Full(message)) => {
                state.rare().rejected += 1;
                Poll::Ready(Err(PushError::Full(message)))
            }
            Err(PushError::Closed(message)) => Poll::Ready(Err(PushError::Closed(message))),
            Ok(evicted) => {
                let consumer = self.mailbox.unpark(&mut state, Accept::All);
                drop(state);
                wake(consumer);
                Poll::Ready(Ok(evicted))
            }
        }
    }

    fn poll_waiting(
        &mut self,
        ticket: Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<<Self as Future>::Output> {
        let message = self.take_message();
        let mut state = self.mailbox.state.lock();
        match state.lane(self.lane).claim(ticket, cx.waker()) {
            Claim::Waiting(stale) => {
                self.message = Some(message);
                drop(state);
                drop(stale);
                Poll::Pending
            }
            Claim::Granted => {
                state.lane(self.lane).push_back(message);
                state.pushed += 1;
                let consumer = self.mailbox.unpark(&mut state, Accept::All);
                drop(state);
                wake(consumer);
                Poll::Ready(Ok(None))
            }
            Claim::Dismissed => Poll::Ready(Err(PushError::Closed(message))),
        }
    }
}

impl<C, T> Drop for Push<'_, C, T> {
    fn drop(&mut self) {
        let (Some(_), Some(ticket)) = (&self.message, self.ticket) else {
            return;
        };
        let mut state = self.mailbox.state.lock();
        let Waiting { own, next } = state.lane(self.lane).forget(ticket);
        drop(state);
        drop(own);
        wake(next);
    }
}

impl<C, T> Debug for Push<'_, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// Future of [`Mailbox::pop`].
#[must_use = "a pop takes nothing until it is polled"]
pub struct Pop<'a, C, T> {
    pub(super) mailbox: &'a Mailbox<C, T>,
    pub(super) accept: Accept,
}

impl<C, T> Future for Pop<'_, C, T> {
    type Output = Popped<C, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.mailbox.poll_pop(cx, self.accept)
    }
}

impl<C, T> Debug for Pop<'_, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pop").field("accept", &self.accept).finish_non_exhaustive()
    }
}

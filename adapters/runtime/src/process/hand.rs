//! The message in hand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lictor_kernel::{ErrorAction, ErrorDecision, Instant};

use super::desk::Desk;
use crate::agent::{Agent, InHandPolicy};
use crate::cell::{Envelope, Special};
use crate::mailbox::Lane;
use crate::message::Protocol;
use crate::reply::{InHand, ReplyFailure};

/// The message in hand, as the loop still knows it while the handler has the message itself.
///
/// It is filled and emptied where it lies: to move what has just been written costs more than to
/// write it.
pub(super) struct Hand<P> {
    full: bool,
    lane: Lane,
    hold: InHand,
    /// Its time to live, and what a stream waits for.
    special: Option<Box<Special>>,
    /// A spare, if one may be needed.
    copy: Option<P>,
}

impl<P: Protocol> Hand<P> {
    pub(super) const EMPTY: Self =
        Self { full: false, lane: Lane::Normal, hold: InHand::NONE, special: None, copy: None };

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// A copy, if there can be one. To copy is the user's code: a message that panics there is one
    /// that cannot be copied, and not one that is lost.
    #[inline]
    fn copy(&mut self, message: &P) {
        let copy = &mut self.copy;
        let _ = catch_unwind(AssertUnwindSafe(|| *copy = message.duplicate()));
    }

    /// Takes the hold on the question. Of two the new one is taken before the old one ends, so that
    /// the question stays open.
    #[inline]
    fn hold(&mut self, message: &P) {
        if let Some(hold) = message.in_hand() {
            self.hold = hold;
        }
    }

    fn tell(&mut self, failure: ReplyFailure) {
        self.hold.end(Some(failure));
        if let Some(receipt) = self.special.take().and_then(|special| special.receipt) {
            receipt.failed(failure);
        }
        self.copy = None;
    }
}

impl<A: Agent> Desk<'_, A> {
    /// Takes a message in hand, and hands it to the handler.
    #[inline]
    pub(super) fn take(&mut self, lane: Lane, envelope: Envelope<A::Message>) -> A::Message {
        let Envelope { message, special } = envelope;
        let work = self.incarnation.cell().core.work();
        let hand = &mut self.hand;
        (hand.full, hand.lane) = (true, lane);
        let mut attempt = 0;
        if let Some(special) = special {
            attempt = special.attempt;
            hand.special = Some(special);
        }
        if work.max_retries > 0 || work.in_hand != InHandPolicy::Drop {
            hand.copy(&message);
        }
        hand.hold(&message);
        self.lifecycle.received(attempt);
        message
    }

    /// How often it was handled before.
    pub(super) const fn attempt(&self) -> u32 {
        self.lifecycle.attempt()
    }

    /// What the kernel makes of an error.
    pub(super) fn decide(&mut self, action: ErrorAction) -> ErrorDecision {
        // A message is in hand only while the process runs, so the machine does not refuse.
        self.lifecycle.on_error(action).unwrap_or(ErrorDecision::Crash)
    }

    /// The message once more, for the next attempt.
    pub(super) fn again(&mut self) -> Option<A::Message> {
        let message = self.hand.copy.take()?;
        self.hand.copy(&message);
        self.hand.hold(&message);
        Some(message)
    }

    /// It was handled.
    #[inline]
    pub(super) fn done(&mut self) {
        self.lifecycle.handled();
        self.incarnation.cell().core.count_handled();
        let hand = &mut self.hand;
        hand.full = false;
        hand.hold.end(None);
        hand.copy = None;
        if hand.special.is_some()
            && let Some(receipt) = hand.special.take().and_then(|special| special.receipt)
        {
            receipt.handled();
        }
    }

    /// It is a dead letter, and the agent goes on, or stops of its own will.
    pub(super) fn given_up(&mut self, failure: ReplyFailure) {
        self.hand.full = false;
        self.hand.tell(failure);
        self.incarnation.cell().core.count_dead(1, failure);
    }

    /// The incarnation ends with the message in hand: what becomes of it is the agent's policy.
    pub(super) fn broken_off(&mut self, failure: ReplyFailure) {
        self.hand.full = false;
        let work = self.incarnation.cell().core.work();
        let cell = self.incarnation.cell();
        let redeliver = work.in_hand == InHandPolicy::Redeliver && self.lifecycle.may_retry();
        if redeliver && let Some(message) = self.hand.copy.take() {
            self.hand.hold(&message);
            self.hand.hold.end(None);
            let (expires, receipt) = match self.hand.special.take() {
                Some(special) => (special.expires, special.receipt),
                None => (Instant::MAX, None),
            };
            // Also a timer's: that the next incarnation gets it is what the policy asks for.
            let attempt = self.attempt() + 1;
            let special = Special { attempt, only_for: None, expires, receipt }.boxed();
            let envelope = Envelope { message, special };
            if let Err(envelope) = cell.mailbox.push_front(self.hand.lane, envelope) {
                envelope.refuse(failure);
                cell.core.count_dead(1, failure);
            }
            return;
        }
        self.hand.tell(failure);
        match work.in_hand {
            InHandPolicy::Drop => cell.core.count_dropped(),
            InHandPolicy::Redeliver | InHandPolicy::DeadLetter => cell.core.count_dead(1, failure),
        }
    }
}

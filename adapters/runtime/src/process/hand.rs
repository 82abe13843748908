//! The message in hand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lictor_kernel::{ErrorAction, ErrorDecision, Instant, Lifecycle};

use super::Incarnation;
use crate::agent::{Agent, InHandPolicy};
use crate::cell::Envelope;
use crate::durable::Receipt;
use crate::mailbox::Lane;
use crate::message::Protocol;
use crate::reply::{InHand, ReplyFailure};

/// The message in hand, as the loop still knows it while the handler has the message itself.
///
/// However the incarnation ends, this settles the message: also when it is killed and only the
/// destructors run.
pub(super) struct Hand<'a, A: Agent> {
    incarnation: &'a Incarnation<A>,
    lifecycle: &'a mut Lifecycle,
    lane: Lane,
    expires: Instant,
    hold: Option<InHand>,
    /// What a stream waits for.
    receipt: Option<Receipt>,
    /// A spare, if one may be needed.
    copy: Option<A::Message>,
    /// Until it is handed over. Here, so that the loop need not keep a second place for it.
    message: Option<A::Message>,
    settled: bool,
}

impl<'a, A: Agent> Hand<'a, A> {
    pub(super) fn take(
        incarnation: &'a Incarnation<A>,
        lifecycle: &'a mut Lifecycle,
        lane: Lane,
        envelope: Envelope<A::Message>,
    ) -> Self {
        let Envelope { message, attempt, expires, receipt, .. } = envelope;
        let work = incarnation.launcher.work;
        let wanted = work.max_retries > 0 || work.in_hand != InHandPolicy::Drop;
        let copy = if wanted { copy_of(&message) } else { None };
        let hold = message.in_hand();
        lifecycle.received(attempt);
        let message = Some(message);
        Self { incarnation, lifecycle, lane, expires, hold, receipt, copy, message, settled: false }
    }

    /// The message, for a delivery: once after [`Hand::take`], and once after each
    /// [`Hand::again`] that has found one.
    pub(super) fn message(&mut self) -> A::Message {
        let Some(message) = self.message.take() else { unreachable!("it is handed over once") };
        message
    }

    /// How often it was handled before.
    pub(super) const fn attempt(&self) -> u32 {
        self.lifecycle.attempt()
    }

    /// What the kernel makes of an error.
    pub(super) fn on_error(&mut self, action: ErrorAction) -> ErrorDecision {
        // A message is in hand only while the process runs, so the machine does not refuse.
        self.lifecycle.on_error(action).unwrap_or(ErrorDecision::Crash)
    }

    /// Has the message once more, for the next attempt, if there is a copy.
    pub(super) fn again(&mut self) -> bool {
        let Some(message) = self.copy.take() else { return false };
        self.copy = copy_of(&message);
        // The new hold is taken before the old one ends, so that the question stays open.
        let hold = message.in_hand();
        drop(std::mem::replace(&mut self.hold, hold));
        self.message = Some(message);
        true
    }

    pub(super) fn done(&mut self) {
        self.settled = true;
        self.lifecycle.handled();
        self.incarnation.cell().core.count_handled();
        if let Some(hold) = self.hold.take() {
            hold.release(None);
        }
        if let Some(receipt) = self.receipt.take() {
            receipt.handled();
        }
    }

    pub(super) fn skipped(&mut self) {
        self.settled = true;
        self.tell(ReplyFailure::Skipped);
        self.incarnation.cell().core.count_dead(1, ReplyFailure::Skipped);
    }

    pub(super) fn stopped(&mut self) {
        self.settled = true;
        self.tell(ReplyFailure::Stopped);
        self.incarnation.cell().core.count_dead(1, ReplyFailure::Stopped);
    }

    fn tell(&mut self, failure: ReplyFailure) {
        if let Some(hold) = self.hold.take() {
            hold.release(Some(failure));
        }
        if let Some(receipt) = self.receipt.take() {
            receipt.failed(failure);
        }
    }

    /// The incarnation ends with the message in hand: what becomes of it is the agent's policy.
    pub(super) fn failed(&mut self, failure: ReplyFailure) {
        self.settled = true;
        let work = self.incarnation.launcher.work;
        let cell = self.incarnation.cell();
        let redeliver = work.in_hand == InHandPolicy::Redeliver && self.lifecycle.may_retry();
        if redeliver && let Some(message) = self.copy.take() {
            // Held while the old hold ends, so that the question stays open.
            let hold = message.in_hand();
            drop(self.hold.take());
            drop(hold);
            let (attempt, expires) = (self.attempt() + 1, self.expires);
            // Also a timer's: that the next incarnation gets it is what the policy asks for.
            let receipt = self.receipt.take();
            let envelope = Envelope { message, attempt, only_for: None, expires, receipt };
            if let Err(envelope) = cell.mailbox.push_front(self.lane, envelope) {
                envelope.refuse(failure);
                cell.core.count_dead(1, failure);
            }
            return;
        }
        self.tell(failure);
        match work.in_hand {
            InHandPolicy::Drop => cell.core.count_dropped(),
            InHandPolicy::Redeliver | InHandPolicy::DeadLetter => cell.core.count_dead(1, failure),
        }
    }
}

/// A copy, if there can be one. To copy is the user's code: a message that panics there is one that
/// cannot be copied, and not one that is lost.
fn copy_of<P: Protocol>(message: &P) -> Option<P> {
    catch_unwind(AssertUnwindSafe(|| message.duplicate())).ok().flatten()
}

impl<A: Agent> Drop for Hand<'_, A> {
    fn drop(&mut self) {
        if !self.settled {
            self.failed(ReplyFailure::Killed);
        }
    }
}

//! A message in a mailbox, with what goes with it.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lictor_kernel::Instant;

use crate::durable::Receipt;
use crate::message::Protocol;
use crate::reply::ReplyFailure;

/// A message in a mailbox.
#[derive(Debug)]
pub(crate) struct Envelope<P> {
    pub(crate) message: P,
    /// What few messages have: the others are not moved about with the room for it.
    pub(crate) special: Option<Box<Special>>,
}

/// What goes with a message that is not like most.
#[derive(Debug)]
pub(crate) struct Special {
    /// How often it was delivered before.
    pub(crate) attempt: u32,
    /// Another incarnation does not handle it.
    pub(crate) only_for: Option<OnlyFor>,
    /// It is not handled after this.
    pub(crate) expires: Instant,
    /// Whom to tell what became of it, if a stream waits for that.
    pub(crate) receipt: Option<Receipt>,
}

impl Special {
    /// In a box, unless all of it is as with most messages.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let is_usual = self.attempt == 0
            && self.only_for.is_none()
            && self.expires == Instant::MAX
            && self.receipt.is_none();
        (!is_usual).then(|| Box::new(self))
    }
}

impl<P: Protocol> Envelope<P> {
    /// Drops it, telling its asker and its stream why.
    pub(crate) fn refuse(self, reason: ReplyFailure) {
        refuse(self.message, reason);
        if let Some(receipt) = self.special.and_then(|special| special.receipt) {
            receipt.failed(reason);
        }
    }
}

/// The incarnation that a message is for alone: that of the timer that sent it.
///
/// After four billion restarts it no longer tells one incarnation from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OnlyFor(NonZeroU32);

impl OnlyFor {
    pub(crate) fn of(incarnation: u64) -> Self {
        let number = u32::try_from(incarnation).unwrap_or(u32::MAX);
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
    }
}

/// Drops a message, telling its asker why.
fn refuse<P: Protocol>(message: P, reason: ReplyFailure) {
    // What the message does when it is asked or dropped is not ours, and some of those who drop it
    // must not die of it: the driver does when it closes a mailbox.
    let hold = catch_unwind(AssertUnwindSafe(|| message.in_hand())).ok().flatten();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(message)));
    if let Some(hold) = hold {
        hold.release(Some(reason));
    }
}

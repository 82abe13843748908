//! What the loop has borrowed of the mailbox.

use std::task::{Context, Poll};

use crate::cell::{Cell, Control, Envelope};
use crate::mailbox::{Accept, Loan, Popped};
use crate::message::Protocol;
use crate::reply::ReplyFailure;

/// Takes messages out of the mailbox, several for one lock where several wait. However the loop
/// ends, what it has not handled is back where it was.
pub(super) struct Borrowed<'a, P: Protocol> {
    cell: &'a Cell<P>,
    loan: Loan<Envelope<P>>,
}

impl<'a, P: Protocol> Borrowed<'a, P> {
    pub(super) const fn of(cell: &'a Cell<P>) -> Self {
        Self { cell, loan: Loan::none() }
    }

    /// The next message, if it is at hand and nothing goes before it.
    #[inline]
    pub(super) fn claim(&mut self) -> Option<Envelope<P>> {
        self.cell.mailbox.claim(&mut self.loan)
    }

    pub(super) fn poll_pop(
        &mut self,
        cx: &mut Context<'_>,
        accept: Accept,
    ) -> Poll<Popped<Control, Envelope<P>>> {
        self.cell.mailbox.poll_borrow(cx, accept, &mut self.loan)
    }

    /// To be called before the loop lets its host go on, or puts a message back.
    #[inline]
    pub(super) fn give_back(&mut self) {
        if self.loan.is_out() {
            self.settle();
        }
    }

    #[cold]
    fn settle(&mut self) {
        let dead = self.cell.mailbox.give_back(&mut self.loan);
        let count = dead.len() as u64;
        for envelope in dead {
            envelope.refuse(ReplyFailure::Down);
        }
        if count > 0 {
            self.cell.core.count_dead(count, ReplyFailure::Down);
        }
    }
}

impl<P: Protocol> Drop for Borrowed<'_, P> {
    fn drop(&mut self) {
        self.give_back();
    }
}

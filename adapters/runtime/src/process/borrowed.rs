//! What the loop has borrowed of the mailbox.

use std::task::{Context, Poll};

use crate::cell::{Cell, Control, Envelope};
use crate::mailbox::{Accept, Loan, Popped};
use crate::message::Protocol;
use crate::reply::ReplyFailure;

/// Takes messages out of the mailbox, several for one lock where several wait. Whoever has it gives
/// back what it has not handled, however it ends; the mailbox is always that of the same cell.
pub(super) struct Borrowed<P: Protocol>(Loan<Envelope<P>>);

impl<P: Protocol> Borrowed<P> {
    pub(super) const fn nothing() -> Self {
        Self(Loan::none())
    }

    /// The next message, if it is at hand and nothing goes before it.
    #[inline]
    pub(super) fn claim(&mut self, cell: &Cell<P>) -> Option<Envelope<P>> {
        cell.mailbox.claim(&mut self.0)
    }

    pub(super) fn poll_pop(
        &mut self,
        cell: &Cell<P>,
        cx: &mut Context<'_>,
        accept: Accept,
    ) -> Poll<Popped<Control, Envelope<P>>> {
        cell.mailbox.poll_borrow(cx, accept, &mut self.0)
    }

    /// To be called before the loop lets its host go on, or puts a message back.
    #[inline]
    pub(super) fn give_back(&mut self, cell: &Cell<P>) {
        if self.0.is_out() {
            self.settle(cell);
        }
    }

    #[cold]
    fn settle(&mut self, cell: &Cell<P>) {
        let dead = cell.mailbox.give_back(&mut self.0);
        let count = dead.len() as u64;
        for envelope in dead {
            envelope.refuse(ReplyFailure::Down);
        }
        if count > 0 {
            cell.core.count_dead(count, ReplyFailure::Down);
        }
    }
}

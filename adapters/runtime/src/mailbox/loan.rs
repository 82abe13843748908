//! Several messages for one lock: a loan to the consumer.
//!
//! A consumer that finds more than one message takes a handful along, and for those after the first
//! it needs no lock, which on two threads is most of what a message costs. Nobody must be able to
//! tell, so a loan is not a transfer:
//!
//! - It is out within one poll of the consumer only. Whenever the consumer lets its host go on (a
//!   handler waits, it yields, it ends, it panics), what it has not claimed goes back to the front.
//! - What is lent and not claimed takes room as if it were in its lane, so no bound is exceeded;
//!   what is claimed makes room at once.
//! - Whatever goes before the messages that are lent (control, a priority message, a redelivery,
//!   a closing) or waits for the room of one of them recalls the loan: the next claim fails, and
//!   the consumer comes to the lock.
//! - Where the oldest message may have to be dropped for the newest, nothing is lent.
//!
//! **Why not a second queue for the consumer behind a lock of its own?** A lock that nobody
//! contends for is two atomic read-modify-writes for each message still, and the bound would be
//! theirs in common all the same.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::task::{Context, Poll, Waker};

use super::{Accept, Intake, Lane, Mailbox, Overflow, Popped, State, wake};
use crate::sync::{AtomicBool, AtomicU32, Ordering};

/// What consumer and senders tell each other without the lock. The consumer looks here for each
/// message, while senders write to the lock, which comes next: so that they never share a line of
/// the cache there is room behind it.
#[repr(C)]
pub(super) struct Hints {
    /// The consumer must come to the lock before it goes on.
    recalled: AtomicBool,
    /// How much of the present loan the consumer has claimed.
    claimed: AtomicU32,
    _room: [u64; 7],
}

impl Hints {
    pub(super) fn new() -> Self {
        Self { recalled: AtomicBool::new(false), claimed: AtomicU32::new(0), _room: [0; 7] }
    }

    /// To be called under the lock, by which the consumer lends next.
    #[inline]
    pub(super) fn recall(&self) {
        self.recalled.store(true, Ordering::Release);
    }

    #[inline]
    pub(super) fn claimed(&self) -> u32 {
        self.claimed.load(Ordering::Acquire)
    }

    fn reset(&self) {
        self.claimed.store(0, Ordering::Relaxed);
        self.recalled.store(false, Ordering::Relaxed);
    }
}

/// What a consumer has borrowed of [`Lane::Normal`], oldest first; see [`Mailbox::poll_borrow`].
pub struct Loan<T> {
    messages: VecDeque<T>,
    number: u64,
    claimed: u32,
    /// Whether there is something to be settled: also a loan that is all claimed takes room until
    /// somebody asks.
    is_out: bool,
}

impl<T> Loan<T> {
    /// Nothing is borrowed yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { messages: VecDeque::new(), number: 0, claimed: 0, is_out: false }
    }

    /// Whether there is anything to give back.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        self.is_out
    }

    /// How many messages are taken along at most: what an empty queue may keep of memory.
    const fn most() -> usize {
        let most = 1024 / if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        if most < 8 {
            8
        } else if most > 32 {
            32
        } else {
            most
        }
    }
}

impl<T> Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("left", &self.messages.len()).finish_non_exhaustive()
    }
}

impl<C, T> Mailbox<C, T> {
    /// The next message of the loan, unless something goes before it: then the consumer comes to
    /// [`Mailbox::poll_borrow`]. Takes no lock.
    #[inline]
    pub fn claim(&self, loan: &mut Loan<T>) -> Option<T> {
        if loan.messages.is_empty() || self.hints.recalled.load(Ordering::Acquire) {
            return None;
        }
        loan.claimed += 1;
        self.hints.claimed.store(loan.claimed, Ordering::Release);
        loan.messages.pop_front()
    }

    /// As [`Mailbox::poll_pop`], and lends what comes next: at most 32 messages, which only this
    /// consumer can claim. What is left of an earlier loan is taken back first.
    ///
    /// The loan is to be given back before the consumer lets its host go on: whoever waits for room
    /// waits for its messages, too.
    pub fn poll_borrow(
        &self,
        cx: &mut Context<'_>,
        accept: Accept,
        loan: &mut Loan<T>,
    ) -> Poll<Popped<C, T>> {
        let mut state = self.state.lock();
        let made_room = if loan.is_out { state.take_back(loan) } else { Vec::new() };
        if !loan.is_out {
            // A loan that is void stays recalled: nothing of it is claimed any more.
            self.hints.reset();
        }
        let (popped, sender) = state.pop(accept);
        if matches!(popped, Some(Popped::Message(Lane::Normal, _))) {
            state.lend(loan);
        }
        let stale = state.park(cx, accept, popped.is_some());
        drop(state);
        drop(stale);
        made_room.into_iter().for_each(crate::sync::wake);
        wake(sender);
        popped.map_or(Poll::Pending, Poll::Ready)
    }

    /// Gives back what is left of a loan. What cannot be given back, because the mailbox was closed
    /// meanwhile, is what a closing would have returned: a dead letter.
    #[must_use = "what the mailbox does not take back is lost"]
    pub fn give_back(&self, loan: &mut Loan<T>) -> VecDeque<T> {
        if !loan.is_out {
            return VecDeque::new();
        }
        loan.is_out = false;
        let mut state = self.state.lock();
        let made_room = state.take_back(loan);
        self.hints.reset();
        drop(state);
        made_room.into_iter().for_each(crate::sync::wake);
        std::mem::take(&mut loan.messages)
    }
}

impl<C, T> State<C, T> {
    fn lend(&mut self, loan: &mut Loan<T>) {
        if self.overflow == Overflow::DropOldest || !loan.messages.is_empty() {
            return;
        }
        self.normal.lend(&mut loan.messages, Loan::<T>::most());
        if !loan.messages.is_empty() {
            self.loans += 1;
            (loan.number, loan.claimed, loan.is_out) = (self.loans, 0, true);
        }
    }

    /// Puts what is left of the loan back to the front; whom the room that was made is given to.
    /// Of a loan that is void nothing is taken.
    fn take_back(&mut self, loan: &mut Loan<T>) -> Vec<Waker> {
        if loan.number != self.loans || self.intake == Intake::Closed {
            return Vec::new();
        }
        loan.is_out = false;
        self.normal.settle();
        while let Some(message) = loan.messages.pop_back() {
            self.normal.push_front(message);
        }
        let mut made_room = Vec::new();
        while let Some(sender) = self.normal.grant() {
            made_room.push(sender);
        }
        made_room
    }
}

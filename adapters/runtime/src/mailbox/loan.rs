//! Several messages for one lock: a loan to the consumer.
//!
//! A consumer that finds more than one message takes them all along, and for those after the first
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
//! A consumer that finds single messages, and nothing behind them, **parks ahead**: it registers
//! its waker when it takes a message, under the lock that it has, and is done without another look
//! unless something has come meanwhile. That is half of the locks of an agent that is asked, and
//! answers, and waits for the next question. Before a handler waits, the waker is taken back: what
//! a busy agent has in its mailbox does not wake it.
//!
//! **Why not a second queue for the consumer behind a lock of its own?** A lock that nobody
//! contends for is two atomic read-modify-writes for each message still, and the bound would be
//! theirs in common all the same.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::task::{Context, Poll, RawWakerVTable, Waker};

use super::lane::release_memory;
use super::{Accept, Intake, Lane, Mailbox, Overflow, Popped, State, wake};
use crate::sync::{AtomicBool, AtomicU32, MutexGuard, Ordering};

/// What consumer and senders tell each other without the lock, while something is lent. The
/// consumer looks here for each message, while senders write to the lock and the queue behind it:
/// so that they seldom share a line of the cache there is room before it, and the last of what is
/// behind the lock is what no sender needs who finds room.
#[repr(C)]
pub(super) struct Hints {
    _room: u64,
    /// The consumer must come to the lock before it goes on.
    recalled: AtomicBool,
    /// How much of the present loan the consumer has claimed.
    claimed: AtomicU32,
}

impl Hints {
    pub(super) fn new() -> Self {
        Self { _room: 0, recalled: AtomicBool::new(false), claimed: AtomicU32::new(0) }
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
    /// Boxed, and made by the first loan: many consumers only ever see single messages.
    #[expect(clippy::box_collection, reason = "an empty queue in place is four words")]
    messages: Option<Box<VecDeque<T>>>,
    number: u32,
    claimed: u32,
    /// Whether there is something to be settled: also a loan that is all claimed takes room until
    /// somebody asks.
    is_out: bool,
    /// With which waker the consumer is parked ahead.
    ahead: Option<Identity>,
    /// Whether it was a single message that came the last time.
    single: bool,
    /// Messages since the consumer was parked, as far as they matter: none, one, or more.
    taken: u8,
}

impl<T> Loan<T> {
    /// Nothing is borrowed yet.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            messages: None,
            number: 0,
            claimed: 0,
            is_out: false,
            ahead: None,
            single: false,
            taken: 0,
        }
    }

    /// How much of it is not claimed.
    fn left(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| messages.len())
    }

    /// Gives back the memory of a burst that is over.
    fn release_memory(&mut self) {
        if let Some(messages) = &mut self.messages {
            release_memory(messages);
        }
    }

    /// Whether there is anything to give back.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        self.is_out || self.ahead.is_some()
    }
}

/// Which waker it is, as [`Waker::will_wake`] sees it.
type Identity = (usize, &'static RawWakerVTable);

#[inline]
fn identity(waker: &Waker) -> Identity {
    (waker.data().addr(), waker.vtable())
}

#[inline]
fn is_same(known: Identity, waker: &Waker) -> bool {
    known.0 == waker.data().addr() && std::ptr::eq(known.1, waker.vtable())
}

impl<T> Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("left", &self.left()).finish_non_exhaustive()
    }
}

impl<C, T> Mailbox<C, T> {
    /// The next message of the loan, unless something goes before it: then the consumer comes to
    /// [`Mailbox::poll_borrow`]. Takes no lock.
    #[inline]
    pub fn claim(&self, loan: &mut Loan<T>) -> Option<T> {
        let messages = loan.messages.as_mut()?;
        if messages.is_empty() || self.hints.recalled.load(Ordering::Acquire) {
            return None;
        }
        loan.claimed += 1;
        self.hints.claimed.store(loan.claimed, Ordering::Release);
        messages.pop_front()
    }

    /// As [`Mailbox::poll_pop`], and lends all messages that come next, which only this consumer
    /// can claim. What is left of an earlier loan is taken back first. After a single message the
    /// consumer may be parked already: if nothing has come until it polls again, with the same
    /// waker, it is not looked for.
    ///
    /// The loan is to be given back before the consumer lets its host go on: whoever waits for room
    /// waits for its messages, too.
    pub fn poll_borrow(
        &self,
        cx: &mut Context<'_>,
        accept: Accept,
        loan: &mut Loan<T>,
    ) -> Poll<Popped<C, T>> {
        if let Some(parked) = loan.ahead.take() {
            // While there is no news the waker that was registered is still there, so nothing else
            // can be where it is.
            let is_parked = accept == Accept::All && is_same(parked, cx.waker());
            if is_parked && !self.news.load(Ordering::Acquire) {
                loan.taken = 0;
                return Poll::Pending;
            }
            loan.single = false;
        }
        let mut state = self.state.lock();
        let made_room = if loan.is_out { state.take_back(loan) } else { Vec::new() };
        if accept == Accept::ControlOnly || state.has_urgent() {
            return self.poll_urgent(state, cx, accept, loan, made_room);
        }
        let Some(message) = state.normal.pop() else {
            return self.poll_urgent(state, cx, accept, loan, made_room);
        };
        let sender = state.normal.grant();
        state.lend(loan, &self.hints);
        let ahead = loan.single && !loan.is_out && state.has_nothing();
        if ahead {
            self.news.store(false, Ordering::Relaxed);
            loan.ahead = Some(identity(cx.waker()));
        }
        let stale = state.park(cx, accept, !ahead);
        drop(state);
        loan.taken = if loan.is_out { 2 } else { loan.taken.saturating_add(1) };
        drop(stale);
        made_room.into_iter().for_each(crate::sync::wake);
        wake(sender);
        Poll::Ready(Popped::Message(Lane::Normal, message))
    }

    /// The rest of [`Mailbox::poll_borrow`]: whatever is not the next message of many.
    fn poll_urgent(
        &self,
        mut state: MutexGuard<'_, State<C, T>>,
        cx: &mut Context<'_>,
        accept: Accept,
        loan: &mut Loan<T>,
        made_room: Vec<Waker>,
    ) -> Poll<Popped<C, T>> {
        let (popped, sender) = state.pop(accept);
        let stale = state.park(cx, accept, popped.is_some());
        if popped.is_some() {
            loan.taken = loan.taken.saturating_add(1);
        } else {
            (loan.single, loan.taken) = (loan.taken == 1, 0);
            if !loan.is_out {
                state.normal.release_memory();
                loan.release_memory();
            }
        }
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
        if !loan.is_out() {
            return VecDeque::new();
        }
        let was_out = std::mem::take(&mut loan.is_out);
        let mut state = self.state.lock();
        let parked = loan.ahead.take().and_then(|_| state.parked.take());
        let made_room = if was_out { state.take_back(loan) } else { Vec::new() };
        let is_calm = state.normal.len() == 0;
        drop(state);
        drop(parked);
        made_room.into_iter().for_each(crate::sync::wake);
        if loan.left() == 0 {
            if is_calm {
                loan.release_memory();
            }
            return VecDeque::new();
        }
        loan.messages.take().map_or_else(VecDeque::new, |messages| *messages)
    }
}

impl<C, T> State<C, T> {
    fn lend(&mut self, loan: &mut Loan<T>, hints: &Hints) {
        if self.overflow == Overflow::DropOldest || !self.normal.can_lend() || loan.left() > 0 {
            return;
        }
        self.normal.lend(loan.messages.get_or_insert_default());
        self.loans = self.loans.wrapping_add(1);
        (loan.number, loan.claimed, loan.is_out) = (self.loans, 0, true);
        // Until here nothing could be claimed: a loan that is void, or all claimed, is empty.
        hints.reset();
    }

    /// Whether there is an item that goes before ordinary messages.
    #[inline]
    fn has_urgent(&self) -> bool {
        self.priorities() + self.controls() > 0
    }

    /// Whether there is nothing to tell, neither an item of whatever lane nor the end.
    fn has_nothing(&self) -> bool {
        self.intake == Intake::Open && self.normal.len() == 0 && !self.has_urgent()
    }

    /// Puts what is left of the loan back to the front; whom the room that was made is given to.
    /// Of a loan that is void nothing is taken.
    fn take_back(&mut self, loan: &mut Loan<T>) -> Vec<Waker> {
        if loan.number != self.loans || self.intake == Intake::Closed {
            return Vec::new();
        }
        loan.is_out = false;
        match &mut loan.messages {
            Some(messages) => self.normal.take_back(messages),
            None => self.normal.settle(),
        }
        let mut made_room = Vec::new();
        while let Some(sender) = self.normal.grant() {
            made_room.push(sender);
        }
        made_room
    }
}

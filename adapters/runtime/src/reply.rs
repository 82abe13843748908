//! The single-use reply slot of a call.
//!
//! A call must end exactly once and never in silence: an answer, a typed failure, or the asker's
//! own deadline. The hard case is the crash. When a handler panics, the [`ReplyTo`] that it holds
//! is dropped while the stack unwinds, before the agent's loop knows what happened; failing the
//! call right there would tell the asker less than the loop will know a moment later. So the loop
//! takes an [`InHand`] first: while it exists, a drop only marks the slot, and
//! [`InHand::release`] says what the asker is told. A handler that put its `ReplyTo` away, to
//! answer later, is not disturbed.
//!
//! One allocation per call: the slot, shared by the three handles.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use lictor_kernel::Instant;

use crate::sync::{AtomicBool as Flag, Mutex, wake};
use crate::timers::{Bounded, Elapsed, Timers};

/// Why a call has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ReplyFailure {
    /// The callee finished with the message and did not answer.
    Unanswered,
    /// The callee crashed while it had the message.
    Crashed,
    /// The callee stopped before it answered.
    Stopped,
    /// The name is down for good.
    Down,
    /// The callee was killed while it had the message.
    Killed,
    /// The message was evicted from a full mailbox.
    Evicted,
    /// The callee failed on the message and skipped it.
    Skipped,
    /// The callee answered with what cannot be converted to the answer's type.
    Unencodable,
    /// The message's time to live was over before the callee came to it.
    Expired,
    /// The callee's node was given up, or was started anew. Whether the callee has seen the
    /// message, nobody can know.
    NoConnection,
    /// The callee, on another node, does not understand the message.
    NotUnderstood,
    /// The callee's mailbox, on another node, had no room in time.
    Refused,
}

impl ReplyFailure {
    /// Whether the callee has had the message in hand, or may have had it; if not, asking again
    /// cannot repeat anything.
    #[must_use]
    pub const fn was_seen(self) -> bool {
        match self {
            Self::Down | Self::Evicted | Self::Expired | Self::NotUnderstood | Self::Refused => {
                false
            }
            Self::Unanswered
            | Self::Crashed
            | Self::Stopped
            | Self::Killed
            | Self::Skipped
            | Self::Unencodable
            | Self::NoConnection => true,
        }
    }
}

impl Display for ReplyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unanswered => "the callee did not answer",
            Self::Crashed => "the callee crashed while it had the message",
            Self::Stopped => "the callee stopped before it answered",
            Self::Down => "the callee is down",
            Self::Killed => "the callee was killed while it had the message",
            Self::Evicted => "the message was evicted from a full mailbox",
            Self::Skipped => "the callee failed on the message and skipped it",
            Self::Unencodable => "the answer could not be converted",
            Self::Expired => "the message's time to live was over",
            Self::NoConnection => "the connection to the callee's node is lost",
            Self::NotUnderstood => "the callee does not understand the message",
            Self::Refused => "the callee's mailbox had no room in time",
        })
    }
}

impl Error for ReplyFailure {}

/// Makes a slot for one answer: the callee's end and the asker's.
pub fn reply_slot<R>() -> (ReplyTo<R>, Reply<R>) {
    slot_in(Phase::Open)
}

/// As [`reply_slot`], for an asker that waits already: a task that makes the slot, sends the
/// question and waits, all in one poll, has been looked for when the answer comes, and needs no
/// lock of its own to say so.
pub(crate) fn awaited_slot<R>(asker: Waker) -> (ReplyTo<R>, Reply<R>) {
    slot_in(Phase::Awaited(asker))
}

fn slot_in<R>(phase: Phase<R>) -> (ReplyTo<R>, Reply<R>) {
    let slot = Arc::new(Slot {
        phase: Mutex::new(phase),
        holds: AtomicU64::new(END),
        over: Flag::new(false),
        due: Flag::new(false),
    });
    let reply_to = ReplyTo { slot: Some(Arc::clone(&slot)), spare: AtomicBool::new(false) };
    (reply_to, Reply { slot: Some(slot) })
}

struct Slot<R> {
    phase: Mutex<Phase<R>>,
    /// The asker has what it wanted, or wants it no more: nothing that is not ours is in here.
    over: Flag,
    /// The asker's deadline has passed.
    due: Flag,
    /// Who may still answer or decide: the callee's ends, spares not counted, and the hands. The
    /// call fails when nobody is left. In one word, so that who leaves last knows it without a
    /// lock.
    holds: AtomicU64,
}

/// One callee's end that may still answer, and one [`InHand`] that is out.
const END: u64 = 1;
const HAND: u64 = 1 << 32;

enum Phase<R> {
    /// Neither end has done anything.
    Open,
    /// The asker waits.
    Awaited(Waker),
    /// For the asker to take.
    Answered(Result<R, ReplyFailure>),
    /// The asker has taken the answer or is gone.
    Over,
}

impl<R> Slot<R> {
    /// Ends the call and wakes the asker, or returns the answer that came too late.
    fn complete(&self, answer: Result<R, ReplyFailure>) -> Result<(), Result<R, ReplyFailure>> {
        let mut phase = self.phase.lock();
        let asker = match mem::replace(&mut *phase, Phase::Over) {
            Phase::Open => None,
            Phase::Awaited(asker) => Some(asker),
            settled @ (Phase::Answered(_) | Phase::Over) => {
                *phase = settled;
                return Err(answer);
            }
        };
        *phase = Phase::Answered(answer);
        drop(phase);
        if let Some(asker) = asker {
            wake(asker);
        }
        Ok(())
    }

    /// A callee's end or a hand is gone; `last` tells with what the call fails if it was the last.
    fn leave(&self, hold: u64, last: impl FnOnce() -> ReplyFailure) {
        // Each end and each hand is counted while its owner lives, and whoever makes another owns
        // one; so the last to leave is the last for good.
        if self.holds.fetch_sub(hold, Ordering::AcqRel) == hold {
            // Too late is as good: nobody is there to be told.
            let _ = self.complete(Err(last()));
        }
    }
}

/// The callee's end of a call: answers it once.
///
/// Dropped unanswered, it fails the call at once, with [`ReplyFailure::Crashed`] if the thread is
/// unwinding and [`ReplyFailure::Unanswered`] otherwise; unless an [`InHand`] is out, which then
/// decides.
#[must_use = "dropping it fails the call"]
pub struct ReplyTo<R> {
    /// Taken when the call is answered.
    slot: Option<Arc<Slot<R>>>,
    /// Whether dropping this end means nothing. Only its owner changes it, and whoever drops it
    /// owns it, so it needs no order of its own.
    spare: AtomicBool,
}

impl<R> ReplyTo<R> {
    /// Answers the call.
    ///
    /// # Errors
    /// The answer, if it is late: the asker has given up, or has another answer already.
    pub fn send(mut self, answer: R) -> Result<(), R> {
        let Some(slot) = self.slot.take() else { return Err(answer) };
        match slot.complete(Ok(answer)) {
            Ok(()) | Err(Err(_)) => Ok(()),
            Err(Ok(late)) => Err(late),
        }
    }

    /// Fails the call, and says whether the asker was still there to be told.
    pub fn fail(mut self, failure: ReplyFailure) -> bool {
        self.slot.take().is_some_and(|slot| slot.complete(Err(failure)).is_ok())
    }

    /// Whether an answer would still reach the asker. `false` is final.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let Some(slot) = &self.slot else { return false };
        matches!(*slot.phase.lock(), Phase::Open | Phase::Awaited(_))
    }

    /// A spare end, for a redelivery of the question.
    ///
    /// It can answer, but dropping it means nothing, until [`ReplyTo::in_hand`] makes it count as
    /// an end like any other. So to redeliver: take the spare in hand, then release the first
    /// hand, and the call stays open for the second.
    pub fn duplicate(&self) -> Self {
        Self { slot: self.slot.clone(), spare: AtomicBool::new(true) }
    }
}

impl<R: Send + 'static> ReplyTo<R> {
    /// Takes the message in hand: from here to [`InHand::release`], a drop of this end does not
    /// fail the call.
    pub fn in_hand(&self) -> InHand {
        let Some(slot) = &self.slot else { return InHand { slot: None } };
        // A load first: the swap is dear, and spares are rare.
        let counts =
            self.spare.load(Ordering::Relaxed) && self.spare.swap(false, Ordering::Relaxed);
        slot.holds.fetch_add(if counts { HAND + END } else { HAND }, Ordering::AcqRel);
        let slot: Arc<dyn Release> = Arc::<Slot<R>>::clone(slot);
        InHand { slot: Some(slot) }
    }
}

impl<R> Drop for ReplyTo<R> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        if *self.spare.get_mut() {
            return;
        }
        slot.leave(END, || {
            if std::thread::panicking() { ReplyFailure::Crashed } else { ReplyFailure::Unanswered }
        });
    }
}

impl<R> Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").finish_non_exhaustive()
    }
}

/// What an [`InHand`] needs of a slot, whatever the type of its answer.
trait Release: Send + Sync {
    fn release(&self, outcome: ReplyFailure);
}

impl<R: Send> Release for Slot<R> {
    fn release(&self, outcome: ReplyFailure) {
        self.leave(HAND, || outcome);
    }
}

/// The agent loop's hold on a call while a handler has its message; see the head of this file.
///
/// Dropping it releases it with no outcome.
#[must_use = "dropping it releases the call"]
pub struct InHand {
    slot: Option<Arc<dyn Release>>,
}

impl InHand {
    /// Of what is no question.
    pub(crate) const NONE: Self = Self { slot: None };

    /// Ends the hold. A call whose callee's end was dropped unanswered fails with `outcome`, or
    /// [`ReplyFailure::Unanswered`] if it is `None`; a call that was answered, or whose callee's
    /// end is still alive, is left as it is.
    #[inline]
    pub fn release(mut self, outcome: Option<ReplyFailure>) {
        self.end(outcome);
    }

    /// As [`InHand::release`], and leaves [`InHand::NONE`].
    #[inline]
    pub(crate) fn end(&mut self, outcome: Option<ReplyFailure>) {
        if self.slot.is_some()
            && let Some(slot) = self.slot.take()
        {
            slot.release(outcome.unwrap_or(ReplyFailure::Unanswered));
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl Debug for InHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InHand").finish_non_exhaustive()
    }
}

/// The asker's end of a call: a future of its answer. Dropping it makes later answers late.
///
/// # Panics
/// Polling it after it was ready.
#[must_use = "dropping it makes the answer late"]
pub struct Reply<R> {
    /// Taken when the answer is.
    slot: Option<Arc<Slot<R>>>,
}

impl<R> Future for Reply<R> {
    type Output = Result<R, ReplyFailure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.as_ref().expect("polled after it was ready");
        let mut phase = slot.phase.lock();
        // Wakers are dropped outside the lock: one may be the last handle of a task that owns
        // the callee's end of this very slot.
        let stale = match &mut *phase {
            Phase::Answered(_) => {
                let answered = mem::replace(&mut *phase, Phase::Over);
                drop(phase);
                slot.over.store(true, Ordering::Release);
                self.slot = None;
                let Phase::Answered(answer) = answered else { unreachable!("matched above") };
                return Poll::Ready(answer);
            }
            Phase::Awaited(waker) => {
                if waker.will_wake(cx.waker()) {
                    return Poll::Pending;
                }
                Some(mem::replace(waker, cx.waker().clone()))
            }
            Phase::Open => {
                *phase = Phase::Awaited(cx.waker().clone());
                None
            }
            Phase::Over => unreachable!("only this end closes the slot, and it still has it"),
        };
        drop(phase);
        drop(stale);
        Poll::Pending
    }
}

impl<R: Send + 'static> Reply<R> {
    /// Waits until `deadline`; an answer that is there wins over a deadline that has passed.
    /// `awaited` says that this poll has made the slot by [`awaited_slot`].
    pub(crate) const fn until(
        self,
        timers: &Timers,
        deadline: Instant,
        awaited: bool,
    ) -> Until<'_, R> {
        Until { reply: self, timers, deadline, awaited, registered: false }
    }
}

impl<R: Send> Bounded for Slot<R> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn due(&self) -> Option<Waker> {
        self.due.store(true, Ordering::Release);
        let mut phase = self.phase.lock();
        if !matches!(*phase, Phase::Awaited(_)) {
            return None;
        }
        let awaited = mem::replace(&mut *phase, Phase::Open);
        drop(phase);
        let Phase::Awaited(asker) = awaited else { unreachable!("matched above") };
        Some(asker)
    }
}

/// Future of [`Reply::until`].
#[must_use = "a call is asked for when it is polled"]
pub(crate) struct Until<'a, R> {
    reply: Reply<R>,
    timers: &'a Timers,
    deadline: Instant,
    awaited: bool,
    registered: bool,
}

impl<R: Send + 'static> Future for Until<'_, R> {
    type Output = Result<Result<R, ReplyFailure>, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !mem::take(&mut this.awaited) {
            if let Poll::Ready(answer) = Pin::new(&mut this.reply).poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            let slot = this.reply.slot.as_ref();
            if slot.is_some_and(|slot| slot.due.load(Ordering::Acquire)) {
                return Poll::Ready(Err(Elapsed));
            }
        }
        if !this.registered && this.deadline < Instant::MAX {
            this.registered = true;
            if let Some(slot) = &this.reply.slot {
                this.timers.bound(this.deadline, Arc::<Slot<R>>::clone(slot));
            }
        }
        Poll::Pending
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let mut phase = slot.phase.lock();
            let last = mem::replace(&mut *phase, Phase::Over);
            drop(phase);
            drop(last);
            slot.over.store(true, Ordering::Release);
        }
    }
}

impl<R> Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

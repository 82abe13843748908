//! The mailbox: bounded, with lanes, belonging to a name and not to an incarnation.
//!
//! An agent crashes and comes back; what was queued for it stays here, and so do its senders. So a
//! mailbox is not a channel with a receiving end that dies: it is a place, with one consumer at a
//! time, and consumers come and go. Only [`Mailbox::close`] ends it.
//!
//! **Why one mutex and not a lock-free queue.** Lanes, eviction of the oldest, redelivery at the
//! front and a fair queue of waiting senders must agree on one bound; under one lock they do, a
//! push or a pop takes it once, and nothing of the user's runs under it: wakers are called and
//! dropped, and messages are dropped, only after it has been released.
//!
//! **Why waiting senders get a reserved slot** and not a mere wake-up: a slot that is free for
//! everybody while a woken sender is on its way would go to whoever is faster, and a slow sender
//! could wait for ever. A sender that is dropped while it holds a slot passes it on.

mod futures;
mod lane;
mod loan;
mod rare;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::task::{Context, Poll, Waker};

pub use self::futures::{Pop, Push};
use self::loan::Hints;
pub use self::loan::Loan;
use self::rare::Rare;
use crate::sync::{self, AtomicBool, Mutex, MutexGuard, Ordering};

/// The queue of a mailbox in which a message waits.
///
/// The third lane, control, is not for messages: see [`Mailbox::push_control`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Served before [`Lane::Normal`] and after control.
    Priority,
    /// Served last.
    Normal,
}

/// What happens to a message for a lane that is full.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Overflow {
    /// [`Mailbox::push`] waits for room, first come first served; [`Mailbox::try_push`] refuses.
    #[default]
    Wait,
    /// The message is refused.
    Reject,
    /// The message is taken, and the oldest of its lane is handed to the sender of the new one.
    DropOldest,
}

/// The bounds of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MailboxConfig {
    /// How many messages wait in [`Lane::Normal`]; zero counts as one.
    pub capacity: u32,
    /// How many messages wait in [`Lane::Priority`]; zero counts as one.
    pub priority_capacity: u32,
    /// How many control items wait; further ones are refused whatever `overflow` says.
    pub control_limit: u32,
    /// What happens to a message for a full lane.
    pub overflow: Overflow,
}

impl MailboxConfig {
    const DEFAULT: Self = Self {
        capacity: 1000,
        priority_capacity: 100,
        control_limit: 1024,
        overflow: Overflow::Wait,
    };
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which lanes a consumer wants to be served from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Accept {
    /// Control, then priority, then normal.
    All,
    /// Control alone: messages stay queued and do not wake the consumer.
    ControlOnly,
}

/// What a consumer gets from a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Popped<C, T> {
    /// The oldest control item.
    Control(C),
    /// The oldest message of the most urgent lane that has one, and that lane.
    Message(Lane, T),
    /// Nothing is left and nothing can come: the intake is closed and the lanes are empty.
    Drained,
}

/// Why an item was not taken; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PushError<T> {
    /// The lane is full.
    Full(T),
    /// The mailbox takes no more.
    Closed(T),
}

impl<T> PushError<T> {
    /// The item that was refused.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the mailbox is full",
            Self::Closed(_) => "the mailbox is closed",
        })
    }
}

impl<T: Debug> Error for PushError<T> {}

/// What was still queued when a mailbox was closed, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leftover<C, T> {
    /// Control items.
    pub control: Vec<C>,
    /// Messages: those of [`Lane::Priority`], then those of [`Lane::Normal`].
    pub messages: Vec<T>,
}

/// What a mailbox has seen since it was made. Control items are not counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct MailboxCounters {
    /// Messages taken, those evicted later included; redelivery is not counted again.
    pub pushed: u64,
    /// Messages evicted by [`Overflow::DropOldest`].
    pub dropped: u64,
    /// Messages refused because their lane was full.
    pub rejected: u64,
}

/// Where the messages of one name wait; see the head of this file for the why.
///
/// Order: control before priority before normal; within a lane, first in first out, hence so for
/// each sender. Senders share it freely. There is **one consumer at a time**; the next incarnation
/// simply polls, which replaces the waker of the one before it.
///
/// Each method takes one lock for `O(1)` work, or `O(log waiting senders)` where senders wait.
///
/// The order of the fields is what each message needs, in one piece, then what few need: of many
/// mailboxes hardly any is in a fast cache, and each line that has to be fetched costs as much as
/// all the rest of a push.
#[repr(C)]
pub struct Mailbox<C, T> {
    /// Something has come for the consumer that is parked ahead; see [`loan`].
    news: AtomicBool,
    /// The owner's: next to what each sender reads there is room for it.
    mark: u8,
    state: Mutex<State<C, T>>,
    hints: Hints,
}

#[repr(C)]
struct State<C, T> {
    normal: lane::Queue<T>,
    pushed: u64,
    /// The consumer that found nothing: it is woken, once, by the first item that it accepts.
    parked: Option<Waker>,
    /// Which items that one accepts.
    accepts: Accept,
    overflow: Overflow,
    intake: Intake,
    /// Which loan is out, or was last: an older one is not taken back. A number comes again after
    /// four billion loans, and none is out for so long.
    loans: u32,
    rare: Option<Box<Rare<C, T>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Intake {
    Open,
    /// No new messages; control items still come, so that a draining agent can be killed.
    Draining,
    Closed,
}

impl<C, T> Mailbox<C, T> {
    /// An empty, open mailbox. It allocates nothing until the first item comes.
    #[must_use]
    pub fn new(config: MailboxConfig) -> Self {
        let usual = MailboxConfig::DEFAULT;
        let is_usual = (config.priority_capacity, config.control_limit)
            == (usual.priority_capacity, usual.control_limit);
        Self {
            news: AtomicBool::new(false),
            mark: 0,
            state: Mutex::new(State {
                normal: lane::Queue::new(config.capacity),
                pushed: 0,
                parked: None,
                accepts: Accept::All,
                overflow: config.overflow,
                intake: Intake::Open,
                loans: 0,
                rare: (!is_usual).then(|| Rare::boxed(config)),
            }),
            hints: Hints::new(),
        }
    }

    /// With a mark for its owner, which means nothing to the mailbox.
    pub(crate) fn marked(self, mark: u8) -> Self {
        Self { mark, ..self }
    }

    #[inline(always)]
    pub(crate) const fn mark(&self) -> u8 {
        self.mark
    }

    /// Queues a message without waiting, and returns the message evicted in its favour, if any.
    ///
    /// Room that is reserved for a waiting sender does not count as room.
    ///
    /// # Errors
    /// [`PushError::Full`] unless the policy is [`Overflow::DropOldest`]; [`PushError::Closed`]
    /// after [`Mailbox::close`] or [`Mailbox::close_intake`].
    #[inline]
    pub fn try_push(&self, lane: Lane, message: T) -> Result<Option<T>, PushError<T>> {
        self.push_now(lane, message, true)
    }

    /// As [`Mailbox::try_push`], but a message for a full lane that senders may wait for is no
    /// refusal: whoever offers it waits next.
    #[inline(always)]
    pub(crate) fn offer(&self, lane: Lane, message: T) -> Result<Option<T>, PushError<T>> {
        self.push_now(lane, message, false)
    }

    #[inline(always)]
    fn push_now(
        &self,
        lane: Lane,
        message: T,
        full_is_refusal: bool,
    ) -> Result<Option<T>, PushError<T>> {
        let mut state = self.state.lock();
        // Nearly all messages: they are moved once, to where they wait.
        if lane == Lane::Normal && state.intake == Intake::Open && state.normal.has_room() {
            state.normal.push_back(message);
            state.pushed += 1;
            let consumer = self.unpark(&mut state, Accept::All);
            drop(state);
            wake(consumer);
            return Ok(None);
        }
        self.push_hard(state, lane, message, full_is_refusal)
    }

    #[cold]
    fn push_hard(
        &self,
        mut state: MutexGuard<'_, State<C, T>>,
        lane: Lane,
        message: T,
        full_is_refusal: bool,
    ) -> Result<Option<T>, PushError<T>> {
        let result = state.push(lane, message, &self.hints);
        let consumer = if result.is_ok() { self.unpark(&mut state, Accept::All) } else { None };
        if matches!(result, Err(PushError::Full(_)))
            && (full_is_refusal || state.overflow != Overflow::Wait)
        {
            state.rare().rejected += 1;
        }
        drop(state);
        wake(consumer);
        result
    }

    /// Queues a message, waiting for room if the policy is [`Overflow::Wait`].
    ///
    /// The future is cancel-safe: it owns the message until the mailbox has it, so dropping it
    /// before it is ready sends nothing. Waiting senders of a lane are served in the order of
    /// their first poll. A future that has been given room and is neither polled nor dropped keeps
    /// that room. It resolves as [`Mailbox::try_push`] returns, but never to
    /// [`PushError::Full`] under [`Overflow::Wait`].
    pub fn push(&self, lane: Lane, message: T) -> Push<'_, C, T> {
        Push { mailbox: self, lane, message: Some(message), ticket: None }
    }

    /// Queues a control item.
    ///
    /// # Errors
    /// [`PushError::Full`] beyond the limit of this lane, [`PushError::Closed`] after
    /// [`Mailbox::close`]; a closed intake still takes control items.
    pub fn push_control(&self, item: C) -> Result<(), PushError<C>> {
        let mut state = self.state.lock();
        let limit = state.rare().control_limit as usize;
        if state.intake != Intake::Closed && state.controls() >= limit {
            return Err(PushError::Full(item));
        }
        self.take_control(state, item).map_err(PushError::Closed)
    }

    /// Queues a control item whatever the limit says: for those whose number something else
    /// bounds, and whose loss nobody could make good.
    ///
    /// # Errors
    /// The item, after [`Mailbox::close`].
    pub fn force_control(&self, item: C) -> Result<(), C> {
        self.take_control(self.state.lock(), item)
    }

    fn take_control(&self, mut state: MutexGuard<'_, State<C, T>>, item: C) -> Result<(), C> {
        if state.intake == Intake::Closed {
            return Err(item);
        }
        self.hints.recall();
        state.rare().control.push_back(item);
        let consumer = self.unpark(&mut state, Accept::ControlOnly);
        drop(state);
        wake(consumer);
        Ok(())
    }

    /// Puts the message in hand back at the head of the lane from which it was popped.
    ///
    /// It may exceed the bound of the lane by one: the room that the message left may have been
    /// given away meanwhile. A closed intake takes it, because it had been taken before.
    ///
    /// # Errors
    /// The message, after [`Mailbox::close`].
    pub fn push_front(&self, lane: Lane, message: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.intake == Intake::Closed {
            return Err(message);
        }
        self.hints.recall();
        state.lane(lane).push_front(message);
        let consumer = self.unpark(&mut state, Accept::All);
        drop(state);
        wake(consumer);
        Ok(())
    }

    /// Waits for the next item; see [`Mailbox::poll_pop`].
    pub fn pop(&self, accept: Accept) -> Pop<'_, C, T> {
        Pop { mailbox: self, accept }
    }

    /// Takes the next item, or parks the consumer until there is one that it accepts.
    ///
    /// Cancel-safe: an item is taken in the poll that returns it, never before. The waker of the
    /// last poll is the one that is woken. [`Popped::Drained`] comes when nothing is left and
    /// nothing that `accept` allows can come any more; it repeats.
    pub fn poll_pop(&self, cx: &mut Context<'_>, accept: Accept) -> Poll<Popped<C, T>> {
        let mut state = self.state.lock();
        let (popped, sender) = state.pop(accept);
        let stale = state.park(cx, accept, popped.is_some());
        drop(state);
        drop(stale);
        wake(sender);
        popped.map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes the next item if there is one, and never parks.
    pub fn try_pop(&self, accept: Accept) -> Option<Popped<C, T>> {
        let mut state = self.state.lock();
        let (popped, sender) = state.pop(accept);
        drop(state);
        wake(sender);
        popped
    }

    /// Refuses everything from now on and returns what was queued, for the dead letters.
    ///
    /// Waiting senders resolve to [`PushError::Closed`], the consumer to [`Popped::Drained`].
    pub fn close(&self) -> Leftover<C, T> {
        let mut state = self.state.lock();
        // What is lent is the consumer's to answer for: it finds its loan void.
        state.loans = state.loans.wrapping_add(1);
        state.normal.settle();
        self.hints.recall();
        let waiting = state.stop_intake(Intake::Closed);
        let consumer = self.unpark(&mut state, Accept::ControlOnly);
        let (control, priority) = match &mut state.rare {
            Some(rare) => (std::mem::take(&mut rare.control), rare.priority.take_all()),
            None => (VecDeque::new(), VecDeque::new()),
        };
        let normal = state.normal.take_all();
        drop(state);
        waiting.into_iter().for_each(sync::wake);
        wake(consumer);
        Leftover { control: control.into(), messages: priority.into_iter().chain(normal).collect() }
    }

    /// Refuses new messages and lets the consumer take what is queued, then [`Popped::Drained`].
    ///
    /// Waiting senders resolve to [`PushError::Closed`]. Does nothing to a closed mailbox.
    pub fn close_intake(&self) {
        let mut state = self.state.lock();
        if state.intake == Intake::Closed {
            return;
        }
        let waiting = state.stop_intake(Intake::Draining);
        let consumer = self.unpark(&mut state, Accept::All);
        drop(state);
        waiting.into_iter().for_each(sync::wake);
        wake(consumer);
    }

    /// Takes messages again, after [`Mailbox::close`] or [`Mailbox::close_intake`]: the name has
    /// been started anew. Senders that were waiting at the closing stay refused.
    pub fn reopen(&self) {
        self.state.lock().intake = Intake::Open;
    }

    /// Whether messages are refused because the mailbox or its intake is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.lock().intake != Intake::Open
    }

    /// How many messages are queued, over both lanes; control items are not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        let state = self.state.lock();
        state.priorities() + state.normal.len() + state.normal.lent(self.hints.claimed())
    }

    /// Whether no message is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bound of a lane.
    #[must_use]
    pub fn capacity(&self, lane: Lane) -> usize {
        let state = self.state.lock();
        match (lane, &state.rare) {
            (Lane::Normal, _) => state.normal.capacity(),
            (Lane::Priority, Some(rare)) => rare.priority.capacity(),
            (Lane::Priority, None) => MailboxConfig::DEFAULT.priority_capacity as usize,
        }
    }

    /// What this mailbox has seen.
    #[must_use]
    pub fn counters(&self) -> MailboxCounters {
        let state = self.state.lock();
        let (dropped, rejected) =
            state.rare.as_ref().map_or((0, 0), |rare| (rare.dropped, rare.rejected));
        MailboxCounters { pushed: state.pushed, dropped, rejected }
    }
}

impl<C, T> Debug for Mailbox<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Mailbox")
            .field("control", &state.controls())
            .field("priority", &state.priorities())
            .field("normal", &state.normal.len())
            .field("intake", &state.intake)
            .finish_non_exhaustive()
    }
}

impl<C, T> Mailbox<C, T> {
    /// The waker of a parked consumer, if it accepts what has just come: with `ControlOnly`
    /// every consumer does, with `All` only one that takes messages.
    #[inline]
    fn unpark(&self, state: &mut State<C, T>, needed: Accept) -> Option<Waker> {
        let consumer = state.parked.take()?;
        if needed == Accept::All && state.accepts == Accept::ControlOnly {
            state.parked = Some(consumer);
            return None;
        }
        self.news.store(true, Ordering::Release);
        Some(consumer)
    }
}

impl<C, T> State<C, T> {
    fn controls(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.control.len())
    }

    fn priorities(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.priority.len())
    }

    fn rare(&mut self) -> &mut Rare<C, T> {
        self.rare.get_or_insert_with(|| Rare::boxed(MailboxConfig::DEFAULT))
    }

    fn lane(&mut self, lane: Lane) -> &mut lane::Queue<T> {
        match lane {
            Lane::Priority => &mut self.rare().priority,
            Lane::Normal => &mut self.normal,
        }
    }

    #[inline]
    fn push(&mut self, lane: Lane, message: T, hints: &Hints) -> Result<Option<T>, PushError<T>> {
        if self.intake != Intake::Open {
            return Err(PushError::Closed(message));
        }
        let overflow = self.overflow;
        if lane == Lane::Priority {
            hints.recall();
        }
        let queue = self.lane(lane);
        let evicted = if queue.has_room() || queue.has_room_after(hints.claimed()) {
            None
        } else if overflow == Overflow::DropOldest {
            queue.evict()
        } else {
            return Err(PushError::Full(message));
        };
        queue.push_back(message);
        self.pushed += 1;
        if evicted.is_some() {
            self.rare().dropped += 1;
        }
        Ok(evicted)
    }

    /// The next item, and the waiting sender that the room it left has been given to.
    fn pop(&mut self, accept: Accept) -> (Option<Popped<C, T>>, Option<Waker>) {
        if let Some(rare) = &mut self.rare
            && let Some(item) = rare.control.pop_front()
        {
            lane::release_memory(&mut rare.control);
            return (Some(Popped::Control(item)), None);
        }
        if accept == Accept::ControlOnly {
            let end = (self.intake == Intake::Closed).then_some(Popped::Drained);
            return (end, None);
        }
        if let Some(rare) = &mut self.rare
            && let Some(message) = rare.priority.pop()
        {
            return (Some(Popped::Message(Lane::Priority, message)), rare.priority.grant());
        }
        if let Some(message) = self.normal.pop() {
            return (Some(Popped::Message(Lane::Normal, message)), self.normal.grant());
        }
        ((self.intake != Intake::Open).then_some(Popped::Drained), None)
    }

    /// Parks the consumer that has found nothing; one that has found something is not parked. The
    /// waker that is returned is dropped outside the lock: it may be the last handle of a task that
    /// owns a `Push` into this very mailbox.
    #[inline]
    fn park(&mut self, cx: &Context<'_>, accept: Accept, found: bool) -> Option<Waker> {
        if found {
            return self.parked.take();
        }
        self.accepts = accept;
        match &mut self.parked {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            parked => parked.replace(cx.waker().clone()),
        }
    }

    fn stop_intake(&mut self, intake: Intake) -> Vec<Waker> {
        self.intake = intake;
        let mut waiting = self.rare.as_mut().map_or_else(Vec::new, |rare| rare.priority.dismiss());
        waiting.append(&mut self.normal.dismiss());
        waiting
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        sync::wake(waker);
    }
}

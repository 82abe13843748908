//! The mailbox against a naive model, and its wake-ups by hand.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use lictor_runtime::mailbox::{
    Accept, Lane, Mailbox, MailboxConfig, MailboxCounters, Overflow, Popped, Push, PushError,
};
use proptest::prelude::*;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

fn poll<F: Future + Unpin>(future: &mut F, flag: &Arc<Flag>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(flag));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

fn mailbox(capacity: u32, overflow: Overflow) -> Mailbox<u32, u32> {
    Mailbox::new(MailboxConfig { capacity, priority_capacity: 2, control_limit: 3, overflow })
}

fn normal(message: u32) -> Popped<u32, u32> {
    Popped::Message(Lane::Normal, message)
}

#[derive(Clone, Debug)]
enum Operation {
    TryPush(Lane),
    Push(Lane),
    PollPush(prop::sample::Index),
    DropPush(prop::sample::Index),
    PushControl,
    PollPop(Accept),
    TryPop(Accept),
    /// Puts the last popped message back.
    Redeliver,
    CloseIntake,
    Close,
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let lane = || prop_oneof![1 => Just(Lane::Priority), 3 => Just(Lane::Normal)];
    let accept = || prop_oneof![4 => Just(Accept::All), 1 => Just(Accept::ControlOnly)];
    prop_oneof![
        6 => lane().prop_map(Operation::TryPush),
        6 => lane().prop_map(Operation::Push),
        6 => any::<prop::sample::Index>().prop_map(Operation::PollPush),
        3 => any::<prop::sample::Index>().prop_map(Operation::DropPush),
        2 => Just(Operation::PushControl),
        8 => accept().prop_map(Operation::PollPop),
        4 => accept().prop_map(Operation::TryPop),
        2 => Just(Operation::Redeliver),
        1 => Just(Operation::CloseIntake),
        1 => Just(Operation::Close),
        2 => Just(Operation::Reopen),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Waiting,
    Granted,
    Refused,
}

#[derive(Default)]
struct ModelLane {
    queue: VecDeque<u32>,
    capacity: usize,
    /// Number and standing of each unfinished push, in the order of their first polls.
    pushes: Vec<(u32, Standing)>,
}

impl ModelLane {
    fn has_room(&self) -> bool {
        let granted = self.pushes.iter().filter(|(_, standing)| *standing == Standing::Granted);
        self.queue.len() + granted.count() < self.capacity
    }

    /// Room goes to those that wait, in order.
    fn settle(&mut self) {
        while self.has_room() {
            let waiting = self.pushes.iter_mut().find(|push| push.1 == Standing::Waiting);
            let Some(waiting) = waiting else { return };
            waiting.1 = Standing::Granted;
        }
    }
}

/// The same rules, slow and obvious.
struct Model {
    control: VecDeque<u32>,
    lanes: [ModelLane; 2],
    overflow: Overflow,
    open: bool,
    closed: bool,
    counters: MailboxCounters,
}

impl Model {
    fn lane(&mut self, lane: Lane) -> &mut ModelLane {
        &mut self.lanes[usize::from(lane == Lane::Normal)]
    }

    fn try_push(&mut self, lane: Lane, message: u32) -> Result<Option<u32>, PushError<u32>> {
        if !self.open {
            return Err(PushError::Closed(message));
        }
        let overflow = self.overflow;
        let queue = self.lane(lane);
        let mut evicted = None;
        if !queue.has_room() {
            if overflow != Overflow::DropOldest {
                self.counters.rejected += 1;
                return Err(PushError::Full(message));
            }
            evicted = queue.queue.pop_front();
        }
        queue.queue.push_back(message);
        self.counters.pushed += 1;
        self.counters.dropped += u64::from(evicted.is_some());
        Ok(evicted)
    }

    fn pop(&mut self, accept: Accept) -> Option<Popped<u32, u32>> {
        if let Some(item) = self.control.pop_front() {
            return Some(Popped::Control(item));
        }
        if accept == Accept::All {
            for lane in [Lane::Priority, Lane::Normal] {
                if let Some(message) = self.lane(lane).queue.pop_front() {
                    return Some(Popped::Message(lane, message));
                }
            }
        }
        let ended = if accept == Accept::All { !self.open } else { self.closed };
        ended.then_some(Popped::Drained)
    }

    fn stop_intake(&mut self) {
        self.open = false;
        for lane in &mut self.lanes {
            lane.pushes.iter_mut().for_each(|push| push.1 = Standing::Refused);
        }
    }
}

struct Pending<'a> {
    number: u32,
    lane: Lane,
    push: Push<'a, u32, u32>,
    flag: Arc<Flag>,
    /// Whether its last poll left it waiting.
    slept: bool,
}

/// The mailbox and the model side by side.
struct Pair<'a> {
    ours: &'a Mailbox<u32, u32>,
    model: Model,
    pending: Vec<Pending<'a>>,
    /// What the consumer accepts while it is parked.
    parked: Option<Accept>,
    consumer: Arc<Flag>,
    in_hand: Option<(Lane, u32)>,
    next: u32,
}

impl Pair<'_> {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn poll_push(&mut self, at: usize) {
        let pending = &mut self.pending[at];
        let (lane, number) = (pending.lane, pending.number);
        let result = poll(&mut pending.push, &pending.flag);
        let known = self.model.lane(lane).pushes.iter().position(|(other, _)| *other == number);
        let expected = match known {
            None => match self.model.try_push(lane, number) {
                Err(PushError::Full(_)) if self.model.overflow == Overflow::Wait => {
                    self.model.counters.rejected -= 1;
                    self.model.lane(lane).pushes.push((number, Standing::Waiting));
                    Poll::Pending
                }
                settled => Poll::Ready(settled),
            },
            Some(known) => match self.model.lane(lane).pushes[known].1 {
                Standing::Waiting => Poll::Pending,
                Standing::Granted => {
                    self.model.lane(lane).pushes.remove(known);
                    self.model.lane(lane).queue.push_back(number);
                    self.model.counters.pushed += 1;
                    Poll::Ready(Ok(None))
                }
                Standing::Refused => Poll::Ready(Err(PushError::Closed(number))),
            },
        };
        assert_eq!(result, expected);
        match result {
            Poll::Pending => self.pending[at].slept = true,
            Poll::Ready(_) => self.forget(at),
        }
    }

    fn forget(&mut self, at: usize) {
        let Pending { number, lane, push, .. } = self.pending.remove(at);
        drop(push);
        self.model.lane(lane).pushes.retain(|(other, _)| *other != number);
        self.model.lane(lane).settle();
    }

    fn popped(&mut self, popped: Option<Popped<u32, u32>>) {
        if let Some(Popped::Message(lane, message)) = popped {
            self.model.lane(lane).settle();
            self.in_hand = Some((lane, message));
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::TryPush(lane) => {
                let number = self.number();
                let expected = self.model.try_push(*lane, number);
                assert_eq!(self.ours.try_push(*lane, number), expected);
            }
            Operation::Push(lane) => {
                let number = self.number();
                let push = self.ours.push(*lane, number);
                let flag = Arc::default();
                self.pending.push(Pending { number, lane: *lane, push, flag, slept: false });
                self.poll_push(self.pending.len() - 1);
            }
            Operation::PollPush(index) if !self.pending.is_empty() => {
                self.poll_push(index.index(self.pending.len()));
            }
            Operation::DropPush(index) if !self.pending.is_empty() => {
                self.forget(index.index(self.pending.len()));
            }
            Operation::PollPush(_) | Operation::DropPush(_) => {}
            Operation::PushControl => self.push_control(),
            Operation::PollPop(accept) => {
                self.consumer.take();
                let popped = match poll(&mut self.ours.pop(*accept), &self.consumer) {
                    Poll::Ready(popped) => Some(popped),
                    Poll::Pending => None,
                };
                assert_eq!(popped, self.model.pop(*accept));
                self.parked = popped.is_none().then_some(*accept);
                self.popped(popped);
            }
            Operation::TryPop(accept) => {
                let popped = self.ours.try_pop(*accept);
                assert_eq!(popped, self.model.pop(*accept));
                self.popped(popped);
            }
            Operation::Redeliver => self.redeliver(),
            Operation::CloseIntake => {
                self.ours.close_intake();
                if self.model.open {
                    self.model.stop_intake();
                }
            }
            Operation::Close => self.close(),
            Operation::Reopen => {
                self.ours.reopen();
                (self.model.open, self.model.closed) = (true, false);
            }
        }
    }

    fn push_control(&mut self) {
        let number = self.number();
        let expected = if self.model.closed {
            Err(PushError::Closed(number))
        } else if self.model.control.len() >= 3 {
            Err(PushError::Full(number))
        } else {
            self.model.control.push_back(number);
            Ok(())
        };
        assert_eq!(self.ours.push_control(number), expected);
    }

    fn redeliver(&mut self) {
        let Some((lane, message)) = self.in_hand.take() else { return };
        let result = self.ours.push_front(lane, message);
        assert_eq!(result, if self.model.closed { Err(message) } else { Ok(()) });
        if result.is_ok() {
            self.model.lane(lane).queue.push_front(message);
        }
    }

    fn close(&mut self) {
        let leftover = self.ours.close();
        self.model.stop_intake();
        self.model.closed = true;
        assert_eq!(leftover.control, Vec::from(std::mem::take(&mut self.model.control)));
        let queues = self.model.lanes.iter_mut().flat_map(|lane| lane.queue.drain(..));
        assert_eq!(leftover.messages, queues.collect::<Vec<_>>());
    }

    /// Nobody sleeps who has something to do.
    fn check(&mut self) {
        assert_eq!(
            self.ours.len(),
            self.model.lanes[0].queue.len() + self.model.lanes[1].queue.len()
        );
        assert_eq!(self.ours.counters(), self.model.counters);
        for pending in self.pending.iter().filter(|pending| pending.slept) {
            let pushes = &self.model.lanes[usize::from(pending.lane == Lane::Normal)].pushes;
            let standing = pushes.iter().find(|(other, _)| *other == pending.number);
            let idle = standing.is_some_and(|(_, standing)| *standing == Standing::Waiting);
            let woken = pending.flag.0.load(Ordering::Relaxed);
            assert_eq!(woken, !idle, "push {} of {:?}", pending.number, pending.lane);
        }
        let Some(accept) = self.parked else { return };
        let messages = self.model.lanes.iter().any(|lane| !lane.queue.is_empty());
        let due = !self.model.control.is_empty()
            || self.model.closed
            || (accept == Accept::All && (messages || !self.model.open));
        if due {
            assert!(self.consumer.take(), "the consumer was not woken");
            self.parked = None;
        } else {
            assert!(!self.consumer.take(), "the consumer was woken for nothing");
        }
    }
}

proptest! {
    #[test]
    fn behaves_as_the_model_does(
        capacity in 1_u32..4,
        overflow in prop_oneof![
            4 => Just(Overflow::Wait),
            1 => Just(Overflow::Reject),
            1 => Just(Overflow::DropOldest),
        ],
        operations in prop::collection::vec(operation(), 1..120),
    ) {
        let ours = mailbox(capacity, overflow);
        let lanes = [2, capacity as usize]
            .map(|capacity| ModelLane { capacity, ..ModelLane::default() });
        let mut pair = Pair {
            ours: &ours,
            model: Model {
                control: VecDeque::new(),
                lanes,
                overflow,
                open: true,
                closed: false,
                counters: MailboxCounters::default(),
            },
            pending: Vec::new(),
            parked: None,
            consumer: Arc::default(),
            in_hand: None,
            next: 0,
        };
        for operation in &operations {
            pair.apply(operation);
            pair.check();
        }
    }
}

#[test]
fn control_comes_before_priority_before_normal() {
    let mailbox = mailbox(8, Overflow::Wait);
    mailbox.try_push(Lane::Normal, 1).unwrap();
    mailbox.try_push(Lane::Priority, 2).unwrap();
    mailbox.push_control(3).unwrap();
    mailbox.try_push(Lane::Priority, 4).unwrap();
    let popped: Vec<_> = std::iter::from_fn(|| mailbox.try_pop(Accept::All)).collect();
    let priority = |message| Popped::Message(Lane::Priority, message);
    assert_eq!(popped, [Popped::Control(3), priority(2), priority(4), normal(1)]);
}

#[test]
fn waiting_senders_are_served_first_come_first_served() {
    let mailbox = mailbox(1, Overflow::Wait);
    mailbox.try_push(Lane::Normal, 0).unwrap();
    let flags = [(); 3].map(|()| Arc::<Flag>::default());
    let mut pushes = [1, 2, 3].map(|number| mailbox.push(Lane::Normal, number));
    for (push, flag) in pushes.iter_mut().zip(&flags) {
        assert!(poll(push, flag).is_pending());
    }
    assert_eq!(mailbox.try_pop(Accept::All), Some(normal(0)));
    assert_eq!([true, false, false], [0, 1, 2].map(|at| flags[at].take()));
    // The room is the first one's: neither a newcomer nor the second one gets it.
    assert_eq!(mailbox.try_push(Lane::Normal, 9), Err(PushError::Full(9)));
    assert!(poll(&mut pushes[1], &flags[1]).is_pending());
    // The first gives up, and the room goes to the second, which was last polled just now.
    let [first, mut second, mut third] = pushes;
    drop(first);
    assert!(flags[1].take());
    assert_eq!(poll(&mut second, &flags[1]), Poll::Ready(Ok(None)));
    assert!(poll(&mut third, &flags[2]).is_pending());
    assert_eq!(mailbox.try_pop(Accept::All), Some(normal(2)));
    assert!(flags[2].take());
}

#[test]
fn only_the_waker_of_the_last_poll_is_woken() {
    let mailbox = mailbox(1, Overflow::Wait);
    let (old, new) = (Arc::<Flag>::default(), Arc::<Flag>::default());
    let mut crashed = mailbox.pop(Accept::All);
    assert!(poll(&mut crashed, &old).is_pending());
    assert!(poll(&mut mailbox.pop(Accept::All), &new).is_pending());
    drop(crashed);
    mailbox.try_push(Lane::Normal, 1).unwrap();
    assert!(!old.take());
    assert!(new.take());
}

#[test]
fn dropping_an_unfinished_push_sends_nothing() {
    let mailbox = mailbox(1, Overflow::Wait);
    drop(mailbox.push(Lane::Normal, 1));
    mailbox.try_push(Lane::Normal, 2).unwrap();
    let mut waiting = mailbox.push(Lane::Normal, 3);
    assert!(poll(&mut waiting, &Arc::default()).is_pending());
    assert_eq!(mailbox.try_pop(Accept::All), Some(normal(2)));
    drop(waiting);
    assert_eq!(mailbox.try_pop(Accept::All), None);
    assert_eq!(mailbox.try_push(Lane::Normal, 4), Ok(None), "the room was kept");
}

#[test]
fn a_waiting_sender_may_move_to_another_task() {
    let mailbox = mailbox(1, Overflow::Wait);
    mailbox.try_push(Lane::Normal, 1).unwrap();
    let (old, new) = (Arc::<Flag>::default(), Arc::<Flag>::default());
    let mut push = mailbox.push(Lane::Normal, 2);
    assert!(poll(&mut push, &old).is_pending());
    assert!(poll(&mut push, &new).is_pending());
    assert_eq!(mailbox.try_pop(Accept::All), Some(normal(1)));
    assert!(!old.take());
    assert!(new.take());
}

#[test]
fn a_sender_that_was_sent_away_stays_so_after_a_reopening() {
    let mailbox = mailbox(1, Overflow::Wait);
    mailbox.try_push(Lane::Normal, 1).unwrap();
    let mut refused = mailbox.push(Lane::Normal, 2);
    assert!(poll(&mut refused, &Arc::default()).is_pending());
    assert_eq!(mailbox.close().messages, [1]);
    mailbox.reopen();
    mailbox.try_push(Lane::Normal, 3).unwrap();
    let mut waiting = mailbox.push(Lane::Normal, 4);
    assert!(poll(&mut waiting, &Arc::default()).is_pending());
    assert_eq!(mailbox.try_pop(Accept::All), Some(normal(3)));
    assert_eq!(poll(&mut refused, &Arc::default()), Poll::Ready(Err(PushError::Closed(2))));
    drop(refused);
    assert_eq!(poll(&mut waiting, &Arc::default()), Poll::Ready(Ok(None)));
}

/// A task that is kept alive by its waker alone, as simple executors have them.
struct Owner(std::sync::Mutex<Option<Box<dyn std::any::Any + Send>>>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_that_owns_a_push_is_dropped_outside_the_lock() {
    let mailbox: &'static Mailbox<u32, u32> = Box::leak(Box::new(mailbox(1, Overflow::Wait)));
    mailbox.try_push(Lane::Normal, 1).unwrap();
    for close in [false, true] {
        let mut push = mailbox.push(Lane::Normal, 2);
        let owner = Arc::new(Owner(std::sync::Mutex::new(None)));
        let waker = Waker::from(Arc::clone(&owner));
        assert!(Pin::new(&mut push).poll(&mut Context::from_waker(&waker)).is_pending());
        *owner.0.lock().unwrap() = Some(Box::new(push));
        drop((waker, owner));
        // The last handle of the task is in the mailbox: waking it drops the push, which locks.
        if close {
            mailbox.close();
        } else {
            assert_eq!(mailbox.try_pop(Accept::All), Some(normal(1)));
            mailbox.try_push(Lane::Normal, 1).unwrap();
        }
    }
}

#[test]
fn an_idle_mailbox_is_small() {
    assert!(size_of::<Mailbox<u64, [u64; 8]>>() < 300);
}

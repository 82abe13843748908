//! The timers on a host whose clock and tasks are moved by hand.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use lictor_kernel::Instant;
use lictor_runtime::executor::{Executor, Task};
use lictor_runtime::timers::{Elapsed, Timers, Wait};

/// Holds the one task that the timers spawn, and the deadlines of the sleeps that it made.
#[derive(Default)]
struct Hand {
    now: Arc<AtomicU64>,
    tasks: Mutex<Vec<Task>>,
    sleeps: Mutex<Vec<u64>>,
    woken: Arc<Flag>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hand")
    }
}

impl Executor for Hand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.sleeps.lock().unwrap().push(deadline.as_nanos());
        let now = Arc::clone(&self.now);
        Box::pin(poll_fn(move |_| {
            if now.load(Ordering::Relaxed) >= deadline.as_nanos() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    }

    fn spawn(&self, task: Task) {
        self.tasks.lock().unwrap().push(task);
        self.woken.0.store(true, Ordering::Relaxed);
    }
}

impl Hand {
    /// Polls the background task if it was woken, and says whether it was.
    fn run(&self) -> bool {
        let woken = self.woken.0.swap(false, Ordering::Relaxed);
        if woken {
            self.poll();
        }
        woken
    }

    fn poll(&self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        self.tasks.lock().unwrap().append(&mut tasks);
    }

    /// Sets the clock, which ends the sleeps that are due.
    fn advance(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
        self.poll();
    }

    fn sleeps(&self) -> Vec<u64> {
        std::mem::take(&mut *self.sleeps.lock().unwrap())
    }

    fn tasks(&self) -> usize {
        self.tasks.lock().unwrap().len()
    }
}

/// Notes its number when it is woken.
struct Note(u32, Arc<Mutex<Vec<u32>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

fn timers() -> (Arc<Hand>, Timers) {
    let hand = Arc::<Hand>::default();
    (Arc::clone(&hand), Timers::new(hand))
}

fn poll(wait: &mut Wait<'_>) -> Poll<()> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

#[test]
fn waits_fire_by_deadline_then_by_registration() {
    let (hand, timers) = timers();
    let woken = Arc::default();
    let mut waits: Vec<_> = [20, 10, 20, 10].map(|nanos| timers.wait_until(at(nanos))).into();
    for (number, wait) in (0..).zip(&mut waits) {
        let waker = Waker::from(Arc::new(Note(number, Arc::clone(&woken))));
        assert!(Pin::new(wait).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    hand.run();
    hand.advance(9);
    assert_eq!(*woken.lock().unwrap(), Vec::<u32>::new());
    hand.advance(20);
    assert_eq!(*woken.lock().unwrap(), [1, 3, 0, 2]);
    assert!(waits.iter_mut().all(|wait| poll(wait).is_ready()));
}

#[test]
fn there_is_one_sleep_and_an_earlier_deadline_replaces_it() {
    let (hand, timers) = timers();
    assert_eq!(hand.tasks(), 0, "no task before there is a wait");
    let mut waits = [50, 70, 30].map(|nanos| timers.wait_until(at(nanos)));
    assert!(poll(&mut waits[0]).is_pending());
    assert!(hand.run());
    assert!(poll(&mut waits[1]).is_pending());
    assert!(!hand.run(), "a later deadline disturbs nobody");
    assert!(poll(&mut waits[2]).is_pending());
    assert!(hand.run());
    assert_eq!(hand.sleeps(), [50, 30]);
    hand.advance(30);
    assert_eq!(waits.each_mut().map(|wait| poll(wait).is_ready()), [false, false, true]);
    assert_eq!(hand.sleeps(), [50]);
    assert_eq!(hand.tasks(), 1);
}

#[test]
fn dropped_waits_leave_nothing_behind() {
    let (hand, timers) = timers();
    let mut wait = timers.wait_until(at(50));
    assert!(poll(&mut wait).is_pending());
    hand.run();
    assert_eq!(timers.len(), 1);
    drop(wait);
    assert!(timers.is_empty());
    assert!(!hand.run(), "the hot path wakes nobody");
    hand.sleeps();
    hand.advance(50);
    assert_eq!(hand.sleeps(), Vec::<u64>::new(), "nothing to wait for: parked without a sleep");
    // And it is woken again when there is.
    let mut wait = timers.wait_until(at(90));
    assert!(poll(&mut wait).is_pending());
    assert!(hand.run());
    assert_eq!(hand.sleeps(), [90]);
    drop(wait);
    drop(timers);
    assert!(hand.run());
    assert_eq!(hand.tasks(), 0, "the task ends with the timers");
}

#[test]
fn a_task_that_the_host_dropped_is_spawned_again() {
    let (hand, timers) = timers();
    let mut lost = timers.wait_until(at(50));
    assert!(poll(&mut lost).is_pending());
    hand.run();
    hand.tasks.lock().unwrap().clear();
    let mut wait = timers.wait_until(at(60));
    assert!(poll(&mut wait).is_pending());
    assert!(hand.run());
    hand.advance(60);
    assert!(poll(&mut lost).is_ready());
    assert!(poll(&mut wait).is_ready());
}

#[test]
fn the_past_is_soon_and_the_end_of_time_never() {
    let (hand, timers) = timers();
    hand.advance(100);
    let mut past = timers.wait_until(at(1));
    assert!(poll(&mut past).is_pending());
    assert!(hand.run());
    assert!(poll(&mut past).is_ready());
    let mut never = timers.wait_until(Instant::MAX);
    assert!(poll(&mut never).is_pending());
    assert!(timers.is_empty());
}

#[test]
fn a_ready_future_wins_over_its_deadline() {
    let (hand, timers) = timers();
    hand.advance(100);
    let mut cx = Context::from_waker(Waker::noop());
    let ready = pin!(timers.timeout(at(1), async { 7 }));
    assert_eq!(ready.poll(&mut cx), Poll::Ready(Ok(7)));
    assert_eq!(hand.tasks(), 0, "nothing was registered");
    let mut late = pin!(timers.timeout(at(1), std::future::pending::<()>()));
    assert_eq!(late.as_mut().poll(&mut cx), Poll::Pending);
    hand.run();
    assert_eq!(late.poll(&mut cx), Poll::Ready(Err(Elapsed)));
}

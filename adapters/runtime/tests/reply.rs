//! The reply slot: every way in which a call can end.
#![cfg(not(loom))]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use lictor_runtime::reply::{Reply, ReplyFailure, reply_slot};

fn poll<R>(reply: &mut Reply<R>) -> Poll<Result<R, ReplyFailure>> {
    Pin::new(reply).poll(&mut Context::from_waker(Waker::noop()))
}

fn failed(failure: ReplyFailure) -> Poll<Result<u8, ReplyFailure>> {
    Poll::Ready(Err(failure))
}

#[test]
fn an_answer_arrives_once_and_a_late_one_comes_back() {
    let (reply_to, mut reply) = reply_slot();
    assert!(poll(&mut reply).is_pending());
    assert!(reply_to.is_open());
    assert_eq!(reply_to.send(1), Ok(()));
    assert_eq!(poll(&mut reply), Poll::Ready(Ok(1)));

    let (reply_to, reply) = reply_slot();
    drop(reply);
    assert!(!reply_to.is_open());
    assert_eq!(reply_to.send(2), Err(2));

    let (reply_to, reply) = reply_slot::<u8>();
    drop(reply);
    assert!(!reply_to.fail(ReplyFailure::Down));
}

#[test]
fn a_failure_is_told() {
    let (reply_to, mut reply) = reply_slot::<u8>();
    assert!(reply_to.fail(ReplyFailure::Down));
    assert_eq!(poll(&mut reply), failed(ReplyFailure::Down));
}

#[test]
fn dropped_unanswered_it_fails_at_once() {
    let (reply_to, mut reply) = reply_slot::<u8>();
    drop(reply_to);
    assert_eq!(poll(&mut reply), failed(ReplyFailure::Unanswered));

    let (reply_to, mut reply) = reply_slot::<u8>();
    let crash = catch_unwind(AssertUnwindSafe(move || {
        let _reply_to = reply_to;
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(crash.is_err());
    assert_eq!(poll(&mut reply), failed(ReplyFailure::Crashed));
}

#[test]
fn in_hand_the_loop_decides() {
    for (outcome, told) in
        [(Some(ReplyFailure::Killed), ReplyFailure::Killed), (None, ReplyFailure::Unanswered)]
    {
        let (reply_to, mut reply) = reply_slot::<u8>();
        let in_hand = reply_to.in_hand();
        drop(reply_to);
        assert!(poll(&mut reply).is_pending(), "only marked");
        in_hand.release(outcome);
        assert_eq!(poll(&mut reply), failed(told));
    }
    let (reply_to, mut reply) = reply_slot::<u8>();
    let in_hand = reply_to.in_hand();
    drop(reply_to);
    drop(in_hand);
    assert_eq!(poll(&mut reply), failed(ReplyFailure::Unanswered));
}

#[test]
fn an_answered_call_is_left_as_it_is() {
    let (reply_to, mut reply) = reply_slot();
    let in_hand = reply_to.in_hand();
    assert_eq!(reply_to.send(1), Ok(()));
    in_hand.release(Some(ReplyFailure::Crashed));
    assert_eq!(poll(&mut reply), Poll::Ready(Ok(1)));
}

#[test]
fn a_deferred_reply_stays_open_after_the_release() {
    let (reply_to, mut reply) = reply_slot();
    reply_to.in_hand().release(Some(ReplyFailure::Stopped));
    assert!(poll(&mut reply).is_pending());
    assert_eq!(reply_to.send(1), Ok(()));
    assert_eq!(poll(&mut reply), Poll::Ready(Ok(1)));

    let (reply_to, mut reply) = reply_slot::<u8>();
    reply_to.in_hand().release(None);
    drop(reply_to);
    assert_eq!(poll(&mut reply), failed(ReplyFailure::Unanswered));
}

#[test]
fn a_spare_counts_for_nothing_until_it_is_taken_in_hand() {
    let (reply_to, mut reply) = reply_slot::<u8>();
    let spare = reply_to.duplicate();
    drop(reply_to);
    assert_eq!(poll(&mut reply), failed(ReplyFailure::Unanswered));
    drop(spare);

    let (reply_to, mut reply) = reply_slot::<u8>();
    drop(reply_to.duplicate());
    assert!(poll(&mut reply).is_pending());
    assert_eq!(reply_to.send(1), Ok(()));
}

#[test]
fn a_second_answer_does_not_replace_the_first() {
    let (reply_to, mut reply) = reply_slot();
    let spare = reply_to.duplicate();
    assert_eq!(reply_to.send(1), Ok(()));
    assert_eq!(spare.send(2), Err(2));
    assert_eq!(poll(&mut reply), Poll::Ready(Ok(1)));
}

#[test]
fn a_redelivered_question_stays_open() {
    let (reply_to, mut reply) = reply_slot();
    let spare = reply_to.duplicate();
    let first = reply_to.in_hand();
    drop(reply_to);
    let second = spare.in_hand();
    first.release(Some(ReplyFailure::Crashed));
    second.release(Some(ReplyFailure::Crashed));
    assert!(poll(&mut reply).is_pending(), "the spare can answer it");
    assert_eq!(spare.send(1), Ok(()));
    assert_eq!(poll(&mut reply), Poll::Ready(Ok(1)));
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let (reply_to, mut reply) = reply_slot();
    assert!(poll(&mut reply).is_pending());
    let waker = Waker::from(Arc::clone(&flag));
    assert!(Pin::new(&mut reply).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(reply_to.send(1), Ok(()));
    assert!(flag.0.load(Ordering::Relaxed));
}

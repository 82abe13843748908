//! What a consumer borrows of a mailbox, and how it parks ahead, step by step.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use lictor_runtime::mailbox::{
    Accept, Lane, Loan, Mailbox, MailboxConfig, Overflow, Popped, PushError,
};

/// Three messages, of which the first is in hand and the others are lent.
fn lent(capacity: u32, overflow: Overflow) -> (Mailbox<u8, u8>, Loan<u8>) {
    let config = MailboxConfig { capacity, overflow, ..MailboxConfig::default() };
    let (mailbox, mut loan) = (Mailbox::new(config), Loan::none());
    for message in [1, 2, 3] {
        assert_eq!(mailbox.try_push(Lane::Normal, message), Ok(None));
    }
    assert_eq!(borrow(&mailbox, &mut loan), Some(Popped::Message(Lane::Normal, 1)));
    (mailbox, loan)
}

fn borrow(mailbox: &Mailbox<u8, u8>, loan: &mut Loan<u8>) -> Option<Popped<u8, u8>> {
    let mut cx = Context::from_waker(Waker::noop());
    match mailbox.poll_borrow(&mut cx, Accept::All, loan) {
        Poll::Ready(popped) => Some(popped),
        Poll::Pending => None,
    }
}

#[test]
fn what_is_lent_takes_room_until_it_is_claimed() {
    let (mailbox, mut loan) = lent(3, Overflow::Reject);
    assert_eq!(mailbox.len(), 2);
    assert_eq!(mailbox.try_push(Lane::Normal, 4), Ok(None));
    assert_eq!(mailbox.try_push(Lane::Normal, 5), Err(PushError::Full(5)));
    assert_eq!(mailbox.claim(&mut loan), Some(2));
    assert_eq!(mailbox.len(), 2);
    assert_eq!(mailbox.try_push(Lane::Normal, 5), Ok(None), "the claim has made room");
    assert_eq!(mailbox.try_push(Lane::Normal, 6), Err(PushError::Full(6)));
    assert!(mailbox.give_back(&mut loan).is_empty());
    assert_eq!(mailbox.len(), 3);
    let left = [(); 3].map(|()| mailbox.try_pop(Accept::All));
    assert_eq!(left, [3, 4, 5].map(|at| Some(Popped::Message(Lane::Normal, at))));
}

#[test]
fn whatever_goes_before_what_is_lent_recalls_it() {
    let (mailbox, mut loan) = lent(8, Overflow::Wait);
    mailbox.try_push(Lane::Priority, 7).unwrap();
    mailbox.push_control(9).unwrap();
    assert_eq!(mailbox.claim(&mut loan), None);
    let order: Vec<_> = [(); 4].into_iter().map(|()| borrow(&mailbox, &mut loan)).collect();
    let message = |lane, at| Some(Popped::Message(lane, at));
    let expected = [message(Lane::Priority, 7), message(Lane::Normal, 2)];
    assert_eq!(order[0], Some(Popped::Control(9)));
    assert_eq!(order[1..3], expected);
    // A redelivery comes first, though a loan was out.
    let (mailbox, mut loan) = lent(8, Overflow::Wait);
    mailbox.push_front(Lane::Normal, 1).unwrap();
    assert_eq!(mailbox.claim(&mut loan), None);
}

#[test]
fn a_sender_that_waits_gets_the_room_of_the_next_claim() {
    let config = MailboxConfig { capacity: 3, ..MailboxConfig::default() };
    let (mailbox, mut loan) = (Mailbox::new(config), Loan::none());
    for message in [1, 2, 3] {
        mailbox.try_push(Lane::Normal, message).unwrap();
    }
    assert_eq!(borrow(&mailbox, &mut loan), Some(Popped::Message(Lane::Normal, 1)));
    mailbox.try_push(Lane::Normal, 4).unwrap();
    let mut waits = mailbox.push(Lane::Normal, 5);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut waits).poll(&mut cx).is_pending());
    assert_eq!(mailbox.claim(&mut loan), None, "the loan is recalled");
    assert_eq!(borrow(&mailbox, &mut loan), Some(Popped::Message(Lane::Normal, 2)));
    assert_eq!(Pin::new(&mut waits).poll(&mut cx), Poll::Ready(Ok(None)));
}

#[test]
fn what_a_closed_mailbox_does_not_take_back_is_returned() {
    let (mailbox, mut loan) = lent(8, Overflow::Wait);
    assert!(mailbox.close().messages.is_empty(), "what is lent is not there");
    assert_eq!(mailbox.claim(&mut loan), None);
    assert_eq!(borrow(&mailbox, &mut loan), Some(Popped::Drained));
    assert_eq!(mailbox.give_back(&mut loan), [2, 3]);
    // Nothing is lent where the oldest may have to go.
    let (mailbox, loan) = lent(3, Overflow::DropOldest);
    assert!(!loan.is_out());
    mailbox.try_push(Lane::Normal, 4).unwrap();
    assert_eq!(mailbox.try_push(Lane::Normal, 5), Ok(Some(2)));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A mailbox whose consumer has found one message, and nothing after it, and has another in hand:
/// it is parked ahead.
fn ahead() -> (Mailbox<u8, u8>, Loan<u8>, Arc<Bell>) {
    let (mailbox, mut loan) = (Mailbox::new(MailboxConfig::default()), Loan::none());
    let bell = Arc::new(Bell::default());
    for (message, rung) in [(1, 0), (2, 1)] {
        mailbox.try_push(Lane::Normal, message).unwrap();
        assert_eq!(bell.rung(), rung);
        assert_eq!(ring(&mailbox, &mut loan, &bell), Some(Popped::Message(Lane::Normal, message)));
        if message == 1 {
            assert_eq!(ring(&mailbox, &mut loan, &bell), None);
        }
    }
    assert!(loan.is_out(), "there is a waker to be given back");
    (mailbox, loan, bell)
}

fn ring(
    mailbox: &Mailbox<u8, u8>,
    loan: &mut Loan<u8>,
    bell: &Arc<Bell>,
) -> Option<Popped<u8, u8>> {
    let waker = Waker::from(Arc::clone(bell));
    match mailbox.poll_borrow(&mut Context::from_waker(&waker), Accept::All, loan) {
        Poll::Ready(popped) => Some(popped),
        Poll::Pending => None,
    }
}

#[test]
fn who_is_parked_ahead_is_woken_once_and_misses_nothing() {
    let (mailbox, mut loan, bell) = ahead();
    assert_eq!(ring(&mailbox, &mut loan, &bell), None);
    mailbox.try_push(Lane::Normal, 3).unwrap();
    mailbox.try_push(Lane::Normal, 4).unwrap();
    assert_eq!(bell.rung(), 2);
    assert_eq!(ring(&mailbox, &mut loan, &bell), Some(Popped::Message(Lane::Normal, 3)));
    assert_eq!(mailbox.claim(&mut loan), Some(4));
    // What comes while the message is in hand is found at the next look.
    let (mailbox, mut loan, bell) = ahead();
    mailbox.push_control(9).unwrap();
    assert_eq!(ring(&mailbox, &mut loan, &bell), Some(Popped::Control(9)));
    let (mailbox, mut loan, bell) = ahead();
    mailbox.close_intake();
    assert_eq!(ring(&mailbox, &mut loan, &bell), Some(Popped::Drained));
    // Another waker is registered, whatever was before.
    let (mailbox, mut loan, bell) = ahead();
    let other = Arc::new(Bell::default());
    assert_eq!(ring(&mailbox, &mut loan, &other), None);
    mailbox.try_push(Lane::Normal, 3).unwrap();
    assert_eq!((bell.rung(), other.rung()), (1, 1));
}

#[test]
fn nobody_is_parked_ahead_of_an_end_or_while_a_handler_waits() {
    let (mailbox, mut loan, bell) = ahead();
    assert!(mailbox.give_back(&mut loan).is_empty());
    assert!(!loan.is_out());
    mailbox.try_push(Lane::Normal, 3).unwrap();
    assert_eq!(bell.rung(), 1, "a busy consumer is not woken");
    // The last message of a closed intake is followed by the end at once.
    let (mailbox, mut loan, bell) = ahead();
    assert_eq!(ring(&mailbox, &mut loan, &bell), None);
    mailbox.try_push(Lane::Normal, 3).unwrap();
    mailbox.close_intake();
    assert_eq!(ring(&mailbox, &mut loan, &bell), Some(Popped::Message(Lane::Normal, 3)));
    assert_eq!(ring(&mailbox, &mut loan, &bell), Some(Popped::Drained));
}

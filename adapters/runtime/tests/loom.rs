//! Every interleaving, up to a bound on preemptions, of the locks of the data path.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p lictor-runtime --release --test loom`; loom reports a
//! lost wake-up as a deadlock.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lictor_kernel::Instant;
use lictor_runtime::directory::Directory;
use lictor_runtime::executor::{Executor, Task};
use lictor_runtime::mailbox::{
    Accept, Lane, Loan, Mailbox, MailboxConfig, Overflow, Popped, PushError,
};
use lictor_runtime::reply::{ReplyFailure, reply_slot};
use lictor_runtime::timers::Timers;
use loom::future::block_on;
use loom::thread;

type Box8 = Mailbox<u8, u8>;

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

fn mailbox(capacity: u32) -> Arc<Box8> {
    Arc::new(Mailbox::new(MailboxConfig {
        capacity,
        overflow: Overflow::Wait,
        ..MailboxConfig::default()
    }))
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn pop(mailbox: &Box8) -> Popped<u8, u8> {
    block_on(mailbox.pop(Accept::All))
}

fn pop_normal(mailbox: &Box8) -> u8 {
    match pop(mailbox) {
        Popped::Message(Lane::Normal, message) => message,
        other @ (Popped::Control(_) | Popped::Message(Lane::Priority, _) | Popped::Drained) => {
            panic!("not a normal message: {other:?}")
        }
    }
}

#[test]
fn two_producers_and_a_consumer_lose_nothing() {
    model(|| {
        let mailbox = mailbox(8);
        let producers: Vec<_> = [1, 2]
            .map(|number| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || assert_eq!(mailbox.try_push(Lane::Normal, number), Ok(None)))
            })
            .into();
        let sum = pop_normal(&mailbox) + pop_normal(&mailbox);
        assert_eq!(sum, 3);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn control_wakes_a_consumer_that_takes_nothing_else() {
    model(|| {
        let mailbox = mailbox(8);
        let producers = [0, 1].map(|number| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || match number {
                0 => assert_eq!(mailbox.try_push(Lane::Priority, 7), Ok(None)),
                _ => assert_eq!(mailbox.push_control(9), Ok(())),
            })
        });
        assert_eq!(block_on(mailbox.pop(Accept::ControlOnly)), Popped::Control(9));
        assert_eq!(pop(&mailbox), Popped::Message(Lane::Priority, 7));
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn a_waiting_producer_gets_the_room_that_a_pop_makes() {
    model(|| {
        let mailbox = mailbox(1);
        let producer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for message in [1, 2, 3] {
                    assert_eq!(block_on(mailbox.push(Lane::Normal, message)), Ok(None));
                }
            })
        };
        assert_eq!([(); 3].map(|()| pop_normal(&mailbox)), [1, 2, 3]);
        producer.join().unwrap();
    });
}

#[test]
fn a_cancelled_waiter_passes_its_room_on() {
    model(|| {
        let mailbox = mailbox(1);
        assert_eq!(mailbox.try_push(Lane::Normal, 1), Ok(None));
        let mut cancelled = Box::pin({
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.push(Lane::Normal, 2).await }
        });
        assert!(poll_once(&mut cancelled).is_pending());
        let canceller = thread::spawn(move || drop(cancelled));
        let waiter = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || block_on(mailbox.push(Lane::Normal, 3)))
        };
        assert_eq!(pop_normal(&mailbox), 1);
        assert_eq!(pop_normal(&mailbox), 3);
        canceller.join().unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(None));
    });
}

#[test]
fn closing_races_with_pushes_and_every_message_is_accounted_for() {
    model(|| {
        let mailbox = mailbox(1);
        let tried = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.try_push(Lane::Normal, 1))
        };
        let waited = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || block_on(mailbox.push(Lane::Normal, 2)))
        };
        let mut accounted = mailbox.close().messages;
        match tried.join().unwrap() {
            Ok(evicted) => assert_eq!(evicted, None),
            Err(refused) => accounted.push(refused.into_inner()),
        }
        match waited.join().unwrap() {
            Ok(evicted) => assert_eq!(evicted, None),
            Err(PushError::Closed(message)) => accounted.push(message),
            Err(PushError::Full(_)) => panic!("a waiting push was refused as full"),
        }
        accounted.sort_unstable();
        assert_eq!(accounted, [1, 2]);
        assert_eq!(pop(&mailbox), Popped::Drained);
    });
}

#[test]
fn a_draining_consumer_comes_to_an_end() {
    model(|| {
        let mailbox = mailbox(8);
        let consumer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                let mut taken = 0;
                while let Popped::Message(..) = pop(&mailbox) {
                    taken += 1;
                }
                taken
            })
        };
        let pushed = mailbox.try_push(Lane::Normal, 1).is_ok();
        mailbox.close_intake();
        assert_eq!(consumer.join().unwrap(), u32::from(pushed));
    });
}

#[test]
fn a_new_consumer_is_woken_and_not_the_one_before_it() {
    model(|| {
        let mailbox = mailbox(8);
        let producer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || assert_eq!(mailbox.try_push(Lane::Normal, 1), Ok(None)))
        };
        let mut crashed = mailbox.pop(Accept::All);
        let got = match poll_once(&mut crashed) {
            Poll::Ready(popped) => popped,
            Poll::Pending => {
                // It lives on for a while, as an incarnation that is being killed does.
                let restarted = block_on(mailbox.pop(Accept::All));
                drop(crashed);
                restarted
            }
        };
        assert_eq!(got, Popped::Message(Lane::Normal, 1));
        producer.join().unwrap();
    });
}

/// The next message, of the loan or of the mailbox.
fn borrowed(mailbox: &Box8, loan: &mut Loan<u8>) -> Popped<u8, u8> {
    match mailbox.claim(loan) {
        Some(message) => Popped::Message(Lane::Normal, message),
        None => block_on(std::future::poll_fn(|cx| mailbox.poll_borrow(cx, Accept::All, loan))),
    }
}

#[test]
fn a_producer_waits_for_the_room_of_what_is_lent() {
    model(|| {
        let mailbox = mailbox(2);
        assert_eq!(mailbox.try_push(Lane::Normal, 1), Ok(None));
        assert_eq!(mailbox.try_push(Lane::Normal, 2), Ok(None));
        let producer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                assert_eq!(block_on(mailbox.push(Lane::Normal, 3)), Ok(None));
                assert_eq!(block_on(mailbox.push(Lane::Normal, 4)), Ok(None));
            })
        };
        let mut loan = Loan::none();
        for expected in 1..=4 {
            assert!(mailbox.len() <= 2, "the bound holds with a loan out");
            let popped = borrowed(&mailbox, &mut loan);
            assert_eq!(popped, Popped::Message(Lane::Normal, expected));
        }
        assert!(mailbox.give_back(&mut loan).is_empty());
        producer.join().unwrap();
    });
}

#[test]
fn a_loan_races_with_control_and_with_a_closing() {
    model(|| {
        let mailbox = mailbox(8);
        for message in [1, 2, 3] {
            assert_eq!(mailbox.try_push(Lane::Normal, message), Ok(None));
        }
        let closer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                let told = mailbox.force_control(9).is_ok();
                (told, mailbox.close())
            })
        };
        let (mut loan, mut seen, mut controls) = (Loan::none(), Vec::new(), 0);
        loop {
            match borrowed(&mailbox, &mut loan) {
                Popped::Control(_) => controls += 1,
                Popped::Message(_, message) => seen.push(message),
                Popped::Drained => break,
            }
        }
        seen.extend(mailbox.give_back(&mut loan));
        let (told, leftover) = closer.join().unwrap();
        assert!(told);
        assert_eq!(controls + leftover.control.len(), 1);
        seen.extend(leftover.messages);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3], "each message is handled, or returned, once");
    });
}

/// All that comes until the intake is closed, by a consumer that lets its host go on only when it
/// finds nothing: so it parks ahead.
fn all(mailbox: &Box8) -> Vec<u8> {
    let (mut loan, mut seen) = (Loan::none(), Vec::new());
    block_on(std::future::poll_fn(|cx| {
        loop {
            let popped = match mailbox.claim(&mut loan) {
                Some(message) => Popped::Message(Lane::Normal, message),
                None => std::task::ready!(mailbox.poll_borrow(cx, Accept::All, &mut loan)),
            };
            match popped {
                Popped::Message(_, message) => seen.push(message),
                Popped::Control(control) => seen.push(control),
                Popped::Drained => return Poll::Ready(()),
            }
        }
    }));
    // What was lent when the mailbox was closed.
    seen.extend(mailbox.give_back(&mut loan));
    seen
}

#[test]
fn a_consumer_that_parks_ahead_misses_nothing() {
    model(|| {
        let mailbox = mailbox(8);
        let producer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for message in [1, 2, 3] {
                    assert_eq!(mailbox.try_push(Lane::Normal, message), Ok(None));
                }
                mailbox.close_intake();
            })
        };
        assert_eq!(all(&mailbox), [1, 2, 3]);
        producer.join().unwrap();
    });
}

#[test]
fn a_consumer_that_parks_ahead_hears_of_controls() {
    model(|| {
        let mailbox = mailbox(8);
        let producer = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                assert_eq!(mailbox.try_push(Lane::Normal, 1), Ok(None));
                assert_eq!(mailbox.push_control(9), Ok(()));
                assert_eq!(mailbox.try_push(Lane::Normal, 2), Ok(None));
                mailbox.close()
            })
        };
        let mut seen = all(&mailbox);
        let leftover = producer.join().unwrap();
        seen.extend(leftover.messages);
        seen.extend(leftover.control);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 9], "each is seen once, or returned");
    });
}

#[test]
fn an_answer_reaches_the_asker() {
    model(|| {
        let (reply_to, reply) = reply_slot();
        let callee = thread::spawn(move || assert_eq!(reply_to.send(1), Ok(())));
        assert_eq!(block_on(reply), Ok(1));
        callee.join().unwrap();
    });
}

#[test]
fn an_answer_races_with_a_timeout() {
    model(|| {
        let (reply_to, mut reply) = reply_slot();
        let callee = thread::spawn(move || reply_to.send(1));
        let got = poll_once(&mut reply);
        drop(reply);
        match (got, callee.join().unwrap()) {
            (Poll::Ready(answer), sent) => {
                assert_eq!(answer, Ok(1));
                assert_eq!(sent, Ok(()));
            }
            // Either it came between the poll and the drop, or it is late and comes back.
            (Poll::Pending, Ok(()) | Err(1)) => {}
            (Poll::Pending, Err(other)) => panic!("another answer: {other}"),
        }
    });
}

#[test]
fn a_dropped_callee_fails_the_call() {
    model(|| {
        let (reply_to, reply) = reply_slot::<u8>();
        let callee = thread::spawn(move || drop(reply_to));
        assert_eq!(block_on(reply), Err(ReplyFailure::Unanswered));
        callee.join().unwrap();
    });
}

#[test]
fn a_drop_in_hand_races_with_the_release() {
    model(|| {
        let (reply_to, reply) = reply_slot::<u8>();
        let in_hand = reply_to.in_hand();
        let deferred = thread::spawn(move || drop(reply_to));
        let agent = thread::spawn(move || in_hand.release(Some(ReplyFailure::Stopped)));
        let failure = block_on(reply).unwrap_err();
        // Dropped before the release: the loop decides. After it: a deferred reply given up.
        assert!(matches!(failure, ReplyFailure::Stopped | ReplyFailure::Unanswered));
        deferred.join().unwrap();
        agent.join().unwrap();
    });
}

#[test]
fn an_answer_races_with_the_release() {
    model(|| {
        let (reply_to, reply) = reply_slot::<u8>();
        let in_hand = reply_to.in_hand();
        let deferred = thread::spawn(move || assert_eq!(reply_to.send(1), Ok(())));
        in_hand.release(Some(ReplyFailure::Crashed));
        assert_eq!(block_on(reply), Ok(1));
        deferred.join().unwrap();
    });
}

#[test]
fn one_of_two_gets_a_name_and_a_late_removal_spares_the_next_holder() {
    model(|| {
        let directory = Arc::new(Directory::new());
        let (old, new) = (Arc::new(1), Arc::new(2));
        assert!(directory.insert("name".into(), Arc::clone(&old)).is_ok());
        let remover = {
            let (directory, old) = (Arc::clone(&directory), Arc::clone(&old));
            thread::spawn(move || directory.remove_if("name", &old))
        };
        let taker = {
            let (directory, new) = (Arc::clone(&directory), Arc::clone(&new));
            thread::spawn(move || directory.insert("name".into(), new).is_ok())
        };
        let seen = directory.get("name").map(|value| *value);
        assert!(remover.join().unwrap());
        let taken = taker.join().unwrap();
        assert!(!directory.remove_if("name", &old));
        assert_eq!(directory.get("name").map(|value| *value), taken.then_some(2));
        assert!(seen != Some(2) || taken);
    });
}

/// A host at a fixed time, whose sleeps never end; the test runs its one task.
#[derive(Default)]
struct Frozen(std::sync::Mutex<Vec<Task>>);

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Frozen")
    }
}

impl Executor for Frozen {
    fn now(&self) -> Instant {
        Instant::from_nanos(7)
    }

    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, task: Task) {
        self.0.lock().unwrap().push(task);
    }
}

#[test]
fn a_wait_is_not_missed_while_the_background_task_arms() {
    model(|| {
        let host = Arc::<Frozen>::default();
        let timers = Timers::new(Arc::<Frozen>::clone(&host));
        // Far off, so that the background task goes to sleep unless it is woken.
        let mut far = timers.wait_until(Instant::from_nanos(100));
        assert!(poll_once(&mut far).is_pending());
        let background = host.0.lock().unwrap().pop().unwrap();
        let background = thread::spawn(move || block_on(background));
        block_on(timers.wait_until(Instant::from_nanos(5)));
        drop(far);
        drop(timers);
        background.join().unwrap();
    });
}

//! The suites that every adapter runs: what the layers above rely on, checked against a host.

mod broker;
mod hub;
mod network;
mod transport;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use lictor_kernel::Instant;

use crate::executor::{Executor, Task};
use crate::reply::{ReplyFailure, reply_slot};
use crate::runtime::Runtime;
use crate::timers::Timers;

pub use broker::{BrokerCase, Clients, broker};
pub use hub::Hub;
pub use network::{Faults, Network};
pub use transport::{End, TransportCase, transport};

/// Of how many spawners the dynamic supervisors of a runtime remember something: it must not grow
/// with those that have gone.
#[must_use]
pub fn remembered_spawners(runtime: &Runtime) -> usize {
    runtime.remembered_spawners()
}

/// One check of [`executor`]: makes the task that carries it out on the given host.
pub type ExecutorCase = fn(Arc<dyn Executor>) -> Task;

/// Checks an [`Executor`]. `run` is called once per case with its name; it makes a fresh host,
/// calls the case with it, drives the returned task to its end **on that host**, and lets its
/// panics through: they are the failures.
///
/// # Panics
/// When the host breaks its contract.
pub fn executor(mut run: impl FnMut(&'static str, ExecutorCase)) {
    let cases: [(&'static str, ExecutorCase); 9] = [
        ("now never decreases", now_never_decreases),
        ("a sleep ends at its deadline or later", sleep_ends_late_enough),
        ("sleeps end in the order of their deadlines", sleeps_end_in_order),
        ("a sleep into the past is over soon", sleep_into_the_past),
        ("a dropped sleep does no harm", dropped_sleep),
        ("a spawned task runs detached", spawned_task_runs_detached),
        ("a spawned task may spawn", spawned_task_spawns),
        ("a panic ends one task only", panic_ends_one_task),
        ("timers share one sleep", timers_fire_in_order),
    ];
    for (name, case) in cases {
        run(name, case);
    }
}

/// Well above the timer granularity of any host, so that order is defined.
const STEP: Duration = Duration::from_millis(15);

fn now_never_decreases(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        let mut last = host.now();
        for round in 0..100 {
            if round % 25 == 0 {
                host.sleep_until(last.saturating_add(STEP)).await;
            }
            let now = host.now();
            assert!(now >= last, "{now:?} is before {last:?}");
            last = now;
        }
    })
}

fn sleep_ends_late_enough(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        // An odd number of nanoseconds: a host may round up, never down.
        for wait in [1, 999_999, 1_000_001, 7_654_321] {
            let deadline = host.now().saturating_add(Duration::from_nanos(wait));
            host.sleep_until(deadline).await;
            let now = host.now();
            assert!(now >= deadline, "over at {now:?}, before {deadline:?}");
        }
    })
}

fn sleeps_end_in_order(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let start = host.now();
        let mut replies = Vec::new();
        for position in [3_u32, 1, 4, 0, 2] {
            let (done, reply) = reply_slot();
            let ended = Arc::clone(&ended);
            let sleep = host.sleep_until(start.saturating_add(STEP * (position + 1) * 2));
            host.spawn(Box::pin(async move {
                sleep.await;
                ended.lock().unwrap_or_else(PoisonError::into_inner).push(position);
                assert!(done.send(()).is_ok(), "nobody waits for the sleep");
            }));
            replies.push(reply);
        }
        for reply in replies {
            assert_eq!(reply.await, Ok(()), "a sleeping task was lost");
        }
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*ended, [0, 1, 2, 3, 4], "sleeps ended out of order");
    })
}

fn sleep_into_the_past(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        host.sleep_until(Instant::ZERO).await;
        host.sleep_until(host.now()).await;
        let late = host.now();
        host.sleep_until(late.saturating_add(STEP)).await;
        host.sleep_until(late).await;
    })
}

fn dropped_sleep(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        let start = host.now();
        let mut long = host.sleep_until(start.saturating_add(Duration::from_secs(3600)));
        let mut endless = host.sleep_until(Instant::MAX);
        poll_fn(|cx| {
            assert!(long.as_mut().poll(cx).is_pending(), "an hour has passed");
            assert!(endless.as_mut().poll(cx).is_pending(), "time has ended");
            Poll::Ready(())
        })
        .await;
        drop((long, endless));
        host.sleep_until(start.saturating_add(STEP)).await;
        let passed = host.now().saturating_since(start);
        assert!(passed < Duration::from_secs(3000), "a dropped sleep was waited for");
    })
}

fn spawned_task_runs_detached(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        // The task waits for us: had `spawn` run it to its end, it would never return.
        let (go, gone) = reply_slot();
        let (done, reply) = reply_slot();
        host.spawn(Box::pin(async move {
            let answer = gone.await;
            assert!(done.send(answer).is_ok(), "nobody waits for the task");
        }));
        assert!(go.send(17).is_ok(), "the task is gone");
        assert_eq!(reply.await, Ok(Ok(17)));
    })
}

fn spawned_task_spawns(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        let mut replies = Vec::new();
        for number in 0..100 {
            let (done, reply) = reply_slot();
            let inner_host = Arc::clone(&host);
            host.spawn(Box::pin(async move {
                inner_host.spawn(Box::pin(async move {
                    assert!(done.send(number).is_ok(), "nobody waits for the task");
                }));
            }));
            replies.push(reply);
        }
        for (number, reply) in (0..).zip(replies) {
            assert_eq!(reply.await, Ok(number), "a spawned task was lost");
        }
    })
}

fn panic_ends_one_task(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        let (held, crash) = reply_slot::<()>();
        host.spawn(Box::pin(async move {
            let _held = held;
            // Not `panic!`: the hook of the test harness would print a trace that means nothing.
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert_eq!(crash.await, Err(ReplyFailure::Crashed), "the panic did not unwind");
        let (done, reply) = reply_slot();
        host.spawn(Box::pin(async move {
            assert!(done.send(()).is_ok(), "nobody waits for the task");
        }));
        assert_eq!(reply.await, Ok(()), "the panic stopped a later task");
    })
}

fn timers_fire_in_order(host: Arc<dyn Executor>) -> Task {
    Box::pin(async move {
        let timers = Arc::new(Timers::new(Arc::clone(&host)));
        let ended = Arc::new(Mutex::new(Vec::new()));
        let start = host.now();
        let mut replies = Vec::new();
        for position in [2_u32, 0, 3, 1] {
            let (done, reply) = reply_slot();
            let (timers, ended) = (Arc::clone(&timers), Arc::clone(&ended));
            let deadline = start.saturating_add(STEP * (position + 1) * 2);
            host.spawn(Box::pin(async move {
                timers.wait_until(deadline).await;
                assert!(timers.now() >= deadline, "a wait ended early");
                ended.lock().unwrap_or_else(PoisonError::into_inner).push(position);
                assert!(done.send(()).is_ok(), "nobody waits for the wait");
            }));
            replies.push(reply);
        }
        for reply in replies {
            assert_eq!(reply.await, Ok(()), "a waiting task was lost");
        }
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(ended, [0, 1, 2, 3], "waits ended out of order");
        let never = timers.timeout(host.now().saturating_add(STEP), std::future::pending::<()>());
        assert!(never.await.is_err(), "a future that is never ready was");
        assert!(timers.is_empty(), "a wait stayed registered");
    })
}

//! Task polls of the virtual executor per second of one core.
//!
//! `cargo bench -p lictor-sim --bench executor`
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures real time")]
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::time::Instant as Clock;

use lictor::prelude::*;
use lictor_kernel::Instant;
use lictor_sim::executor::{Config, Schedule, VirtualExecutor};

/// Pending once, with a wake of its own.
async fn step() {
    let mut stepped = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn yields(executor: &VirtualExecutor, tasks: u64, rounds: u64) {
    for _ in 0..tasks {
        executor.spawn_client("yielder", async move {
            for _ in 0..rounds {
                step().await;
            }
        });
    }
    assert_eq!(executor.run_until_idle(), Ok(()));
}

/// Whose turn it is, and who waits for it.
#[derive(Default)]
struct Baton {
    at: u64,
    waiting: Vec<Option<Waker>>,
}

/// Tasks in a ring pass a baton: every poll is a wake of another task.
fn ring(executor: &VirtualExecutor, tasks: u64, rounds: u64) {
    let waiting = (0..tasks).map(|_| None).collect();
    let baton = Arc::new(Mutex::new(Baton { at: 0, waiting }));
    for own in 0..tasks {
        let baton = Arc::clone(&baton);
        executor.spawn_client("runner", async move {
            for _ in 0..rounds {
                poll_fn(|cx| {
                    let mut baton = baton.lock().expect("nobody panics");
                    if baton.at != own {
                        baton.waiting[usize::try_from(own).expect("small")] =
                            Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    baton.at = (own + 1) % tasks;
                    let next = usize::try_from(baton.at).expect("small");
                    let next = baton.waiting[next].take();
                    drop(baton);
                    if let Some(next) = next {
                        next.wake();
                    }
                    Poll::Ready(())
                })
                .await;
            }
        });
    }
    assert_eq!(executor.run_until_idle(), Ok(()));
}

/// Every poll is a sleep that ended.
fn sleeps(executor: &VirtualExecutor, tasks: u64, rounds: u64) {
    for own in 0..tasks {
        let host = executor.host("");
        executor.spawn_client("sleeper", async move {
            for round in 1..=rounds {
                host.sleep_until(Instant::from_nanos(round * 1_000 + own)).await;
            }
        });
    }
    assert_eq!(executor.run_until(Instant::from_nanos(u64::MAX - 1)), Ok(()));
}

struct Echo;

messages! { enum EchoMessage { Say(u64) -> u64 } }

impl Agent for Echo {
    type Message = EchoMessage;

    async fn handle(&mut self, message: EchoMessage, _: &mut Context<Self>) -> Handled {
        let EchoMessage::Say(Say(number), reply) = message;
        reply.send(number);
        Ok(())
    }
}

/// The real runtime: clients that ask agents, one question after the other.
fn asks(executor: &VirtualExecutor, tasks: u64, rounds: u64) {
    let runtime = Runtime::on(executor.host(""));
    let tree = Supervisor::one_for_one("root").child("echo", || Echo);
    let tree = executor.block_on(tree.start(&runtime)).expect("no deadlock").expect("it starts");
    for _ in 0..tasks {
        let echo = tree.agent::<Echo>("echo").expect("it is there");
        executor.spawn_client("asker", async move {
            for round in 0..rounds {
                assert_eq!(echo.ask(Say(round), secs(1)).await, Ok(round));
            }
        });
    }
    assert_eq!(executor.run_until_idle(), Ok(()));
    assert_eq!(executor.tasks_named("asker"), []);
}

/// Time that this thread has had a core, where the system says so; else time that has passed.
fn seconds() -> f64 {
    static ORIGIN: OnceLock<Clock> = OnceLock::new();
    let on_core = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = on_core.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| ORIGIN.get_or_init(Clock::now).elapsed().as_secs_f64(), |n| n / 1e9)
}

type Load = fn(&VirtualExecutor, u64, u64);

fn main() {
    let schedules =
        [("fifo", Schedule::Fifo), ("seeded", Schedule::Seeded(7)), ("pct", Schedule::pct(7, 3))];
    let loads: [(&str, Load, u64, u64); 5] = [
        ("yield, 16 tasks", yields, 16, 200_000),
        ("yield, 1024 tasks", yields, 1_024, 3_000),
        ("ring, 16 tasks", ring, 16, 100_000),
        ("sleep, 16 tasks", sleeps, 16, 50_000),
        ("ask, 16 clients", asks, 16, 20_000),
    ];
    for (load, run, tasks, rounds) in loads {
        for (schedule, kind) in schedules {
            let best = (0..3)
                .map(|_| {
                    let limits = u64::MAX;
                    let config = Config { max_polls_per_instant: limits, ..Config::of(kind) };
                    let executor = VirtualExecutor::with_config(config);
                    let begin = seconds();
                    run(&executor, tasks, rounds);
                    let rate = executor.counters().polls as f64 / (seconds() - begin);
                    rate / 1e6
                })
                .fold(0.0, f64::max);
            println!("{load:20} {schedule:8} {best:6.2} M polls/s");
        }
    }
}

//! The virtual executor keeps the contract of executors, and its own.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::{Future, pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::conformance;
use lictor_runtime::executor::{Executor, Role, Task};
use lictor_sim::executor::{Config, Schedule, Stuck, TaskFault, TaskId, VirtualExecutor};

type Log = Arc<Mutex<Vec<String>>>;

fn say(log: &Log, text: impl Into<String>) {
    log.lock().unwrap().push(text.into());
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

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

fn conforms(make: impl Fn() -> VirtualExecutor) {
    conformance::executor(|name, case| {
        // Shown by the harness when the case fails.
        eprintln!("case: {name}");
        let executor = make();
        executor.block_on(case(executor.host("host"))).unwrap();
        // The executor itself is a host, too, though one that keeps itself alive.
        let executor = Arc::new(make());
        let host: Arc<dyn Executor> = Arc::<VirtualExecutor>::clone(&executor);
        executor.block_on(case(host)).unwrap();
        executor.shut_down();
    });
}

#[test]
fn conforms_first_in_first_out() {
    conforms(|| VirtualExecutor::new(Schedule::Fifo));
}

#[test]
fn conforms_in_random_orders() {
    for seed in 0..50 {
        conforms(|| VirtualExecutor::new(Schedule::Seeded(seed)));
        conforms(|| VirtualExecutor::new(Schedule::pct(seed, 3)));
    }
}

#[test]
fn conforms_on_a_slow_host_with_late_timers_and_spurious_wakes() {
    for seed in 0..50 {
        conforms(|| {
            VirtualExecutor::with_config(Config {
                poll_cost: Duration::from_micros(7),
                // Late by less than the distance between the suite's deadlines.
                late_timers: 500_000,
                late_by: Duration::from_millis(3),
                spurious_wakes: 300_000,
                check_wakes: true,
                ..Config::of(Schedule::Seeded(seed))
            })
        });
    }
}

/// Ten tasks of a few steps each; the order in which they took them.
fn steps(config: Config) -> (Vec<String>, u64) {
    let executor = VirtualExecutor::with_config(config);
    let log = Log::default();
    for task in 0..10 {
        let log = Arc::clone(&log);
        executor.spawn_client(&format!("t{task}"), async move {
            for at in 0..3 {
                say(&log, format!("t{task} {at}"));
                step().await;
            }
        });
    }
    executor.run_until_idle().unwrap();
    assert_eq!(executor.live_tasks(), 0);
    (taken(&log), executor.digest())
}

// Invariant: S14 (same plan, same digest)
#[test]
fn a_schedule_is_a_function_of_its_seed() {
    let (fifo, _) = steps(Config::of(Schedule::Fifo));
    assert_eq!(fifo[..3], ["t0 0", "t1 0", "t2 0"]);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        for schedule in [Schedule::Seeded(seed), Schedule::pct(seed, 2)] {
            let once = steps(Config::of(schedule));
            assert_eq!(once, steps(Config::of(schedule)), "{schedule:?}");
            seen.insert(once.1);
        }
    }
    assert!(seen.len() > 190, "only {} different orders", seen.len());
}

#[test]
fn a_race_that_a_fair_order_never_shows_is_found() {
    // Wrong if the second task takes its five steps before the first has taken one.
    let goes_wrong = |schedule| {
        let executor = VirtualExecutor::new(schedule);
        let log = Log::default();
        for (task, steps) in [("setter", 1), ("getter", 5)] {
            let log = Arc::clone(&log);
            executor.spawn_client(task, async move {
                for _ in 0..steps {
                    step().await;
                }
                say(&log, task);
            });
        }
        executor.run_until_idle().unwrap();
        taken(&log)[0] == "getter"
    };
    assert!(!goes_wrong(Schedule::Fifo));
    assert!((0..500).any(|seed| goes_wrong(Schedule::Seeded(seed))));
    assert!((0..500).any(|seed| goes_wrong(Schedule::pct(seed, 1))));
}

#[test]
fn leaving_a_task_out_does_not_move_the_order_of_the_others() {
    let order = |left_out: Option<u32>| {
        let executor = VirtualExecutor::new(Schedule::Seeded(3));
        let log = Log::default();
        for task in (0..10).filter(|task| Some(*task) != left_out) {
            let log = Arc::clone(&log);
            executor.spawn_client(&format!("t{task}"), async move {
                step().await;
                say(&log, format!("t{task}"));
            });
        }
        executor.run_until_idle().unwrap();
        let mut order = taken(&log);
        order.retain(|line| *line != "t4");
        order
    };
    assert_eq!(order(None), order(Some(4)));
}

#[test]
fn a_starved_task_runs_when_nobody_else_does() {
    let executor = VirtualExecutor::new(Schedule::Fifo);
    let log = Log::default();
    for task in 0..3 {
        let log = Arc::clone(&log);
        executor.spawn_client(&format!("t{task}"), async move {
            for _ in 0..2 {
                step().await;
                say(&log, format!("t{task}"));
            }
        });
    }
    executor.starve(executor.tasks_named("t0")[0], true);
    executor.run_until_idle().unwrap();
    assert_eq!(taken(&log), ["t1", "t2", "t1", "t2", "t0", "t0"]);
}

#[test]
fn time_passes_only_when_nobody_is_ready_and_not_at_all_when_idle() {
    let executor = VirtualExecutor::new(Schedule::Seeded(1));
    let host = executor.host("");
    let log = Log::default();
    let inner = Arc::clone(&log);
    executor.spawn_client("sleeper", async move {
        for at in [5, 5, 9] {
            host.sleep_until(Instant::from_secs(at)).await;
            say(&inner, format!("{:?}", host.now().as_nanos() / 1_000_000_000));
        }
    });
    executor.run_until_idle().unwrap();
    assert_eq!((taken(&log), executor.pending_timers()), (vec![], 1));
    executor.advance(Duration::from_secs(4)).unwrap();
    assert_eq!((executor.now(), taken(&log)), (Instant::from_secs(4), vec![]));
    executor.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(taken(&log), ["5", "5"]);
    executor.run_until(Instant::from_secs(100)).unwrap();
    assert_eq!((executor.now(), taken(&log)), (Instant::from_secs(100), vec!["9".to_owned()]));
}

#[test]
fn a_slow_host_lets_time_pass_while_it_polls_and_a_slow_task_after_its_wakes() {
    let config = Config { poll_cost: Duration::from_millis(1), ..Config::of(Schedule::Fifo) };
    let executor = VirtualExecutor::with_config(config);
    executor
        .block_on(async {
            step().await;
        })
        .unwrap();
    executor.spawn_client("a", async {
        step().await;
        step().await;
    });
    executor.run_until(Instant::from_secs(1)).unwrap();
    assert_eq!(executor.now(), Instant::from_secs(1));

    let executor = VirtualExecutor::new(Schedule::Fifo);
    let host = executor.host("");
    executor.spawn_client("slow", async move {
        step().await;
        step().await;
        assert_eq!(host.now(), Instant::from_secs(4));
    });
    executor.slow(executor.tasks_named("slow")[0], Duration::from_secs(2));
    executor.run_until(Instant::from_secs(3)).unwrap();
    assert_eq!(executor.live_tasks(), 1);
    executor.run_until(Instant::from_secs(4)).unwrap();
    assert_eq!((executor.live_tasks(), executor.panics()), (0, vec![]));
}

/// Says when it goes.
struct Witness(Log, &'static str);

impl Drop for Witness {
    fn drop(&mut self) {
        let how = if std::thread::panicking() { " unwinding" } else { "" };
        say(&self.0, format!("{} gone{how}", self.1));
    }
}

#[test]
fn a_task_is_dropped_at_the_await_that_was_named() {
    for (fault, end) in [
        (TaskFault::Drop, "a gone"),
        (TaskFault::Panic, "a gone unwinding"),
        (TaskFault::PanicInDrop, "a gone"),
    ] {
        let executor = VirtualExecutor::new(Schedule::Fifo);
        let log = Log::default();
        executor.inject_into("a", 1, 3, fault);
        for _ in 0..2 {
            let witness = Witness(Arc::clone(&log), "a");
            executor.spawn_client("a", async move {
                for at in 1..5 {
                    say(&witness.0, format!("a {at}"));
                    step().await;
                }
            });
            executor.run_until_idle().unwrap();
        }
        assert_eq!(taken(&log), ["a 1", "a 2", "a 3", "a 4", "a gone", "a 1", "a 2", end]);
        assert_eq!(executor.counters().dropped, 1);
        assert_eq!(executor.panics().len(), usize::from(fault != TaskFault::Drop));
    }
}

#[test]
fn a_held_task_keeps_its_wakes() {
    let executor = VirtualExecutor::new(Schedule::Fifo);
    let log = Log::default();
    let inner = Arc::clone(&log);
    executor.spawn_client("a", async move {
        step().await;
        say(&inner, "on");
    });
    let task = executor.tasks_named("a")[0];
    executor.hold(task);
    executor.run_until_idle().unwrap();
    assert!(executor.tasks()[0].held && taken(&log).is_empty());
    executor.release(task);
    executor.run_until_idle().unwrap();
    assert_eq!(taken(&log), ["on"]);
}

#[test]
fn everybody_waits_is_a_deadlock_that_names_them() {
    let executor = VirtualExecutor::new(Schedule::Fifo);
    let host = executor.host("node");
    host.spawn_as(Role::Agent("counter"), Box::pin(pending()));
    let forever = host.sleep_until(Instant::MAX);
    let stuck = executor.block_on(forever).unwrap_err();
    let Stuck::Deadlock(report) = &stuck else { unreachable!("{stuck}") };
    assert_eq!(report.tasks.len(), 2, "the agent and the caller: {stuck}");
    assert!(stuck.to_string().contains("task 0 node/counter: 1 polls, never woken"), "{stuck}");
    // The executor goes on.
    assert_eq!(executor.block_on(async { 7 }), Ok(7));
}

#[test]
fn a_task_that_nobody_woke_but_that_could_go_on_has_missed_its_wake() {
    let config = Config { check_wakes: true, ..Config::of(Schedule::Fifo) };
    let flag = Arc::new(Mutex::new(false));
    let waits_for = |flag: &Arc<Mutex<bool>>| {
        let flag = Arc::clone(flag);
        // The mistake: the waker is not registered anywhere.
        poll_fn(move |_| if *flag.lock().unwrap() { Poll::Ready(()) } else { Poll::Pending })
    };
    let executor = VirtualExecutor::with_config(config);
    executor.spawn_client("forgetful", waits_for(&flag));
    executor.run_until_idle().unwrap();
    *flag.lock().unwrap() = true;
    executor.spawn_client("other", async {});
    let stuck = executor.run_until_idle().unwrap_err();
    let Stuck::MissedWake(report) = &stuck else { unreachable!("{stuck}") };
    assert_eq!((&*report.tasks[0].name, report.tasks[0].id), ("forgetful", TaskId(0)), "{stuck}");

    // The same of a future that is blocked on.
    *flag.lock().unwrap() = false;
    let (executor, setter) = (VirtualExecutor::with_config(config), Arc::clone(&flag));
    let host = executor.host("");
    executor.spawn_client("setter", async move {
        host.sleep_until(Instant::from_secs(1)).await;
        *setter.lock().unwrap() = true;
    });
    let stuck = executor.block_on(waits_for(&flag)).unwrap_err();
    assert!(matches!(stuck, Stuck::MissedWake(_)), "{stuck}");
}

#[test]
fn endless_polling_is_a_livelock() {
    let config = Config { max_polls_per_instant: 1_000, ..Config::of(Schedule::Seeded(1)) };
    let executor = VirtualExecutor::with_config(config);
    executor.spawn_client("spinner", async {
        loop {
            step().await;
        }
    });
    let stuck = executor.run_until_idle().unwrap_err();
    assert!(matches!(&stuck, Stuck::Livelock(r) if &*r.tasks[0].name == "spinner"), "{stuck}");
    let config = Config { max_polls: 10, ..Config::of(Schedule::Fifo) };
    let executor = VirtualExecutor::with_config(config);
    let host = executor.host("");
    executor.spawn_client("sleeper", async move {
        for at in 1.. {
            host.sleep_until(Instant::from_secs(at)).await;
        }
    });
    assert!(matches!(executor.run_until(Instant::MAX), Err(Stuck::Livelock(_))));
}

#[test]
fn dropping_the_executor_drops_its_tasks_and_what_is_spawned_later() {
    let log = Log::default();
    let host;
    {
        let executor = VirtualExecutor::new(Schedule::Fifo);
        host = executor.host("");
        let (witness, inner) = (Witness(Arc::clone(&log), "a"), Arc::clone(&host));
        executor.spawn_client("a", async move {
            let _witness = witness;
            inner.sleep_until(Instant::from_secs(1)).await;
        });
        executor.run_until_idle().unwrap();
        assert!(taken(&log).is_empty());
    }
    assert_eq!(taken(&log), ["a gone"]);
    let witness = Witness(Arc::clone(&log), "b");
    let late: Task = Box::pin(async move { drop(witness) });
    host.spawn(late);
    assert_eq!(taken(&log), ["b gone"]);
}

#[test]
fn clients_are_cancelled_and_only_clients() {
    let config = Config { cancel_clients: 1_000_000, ..Config::of(Schedule::Fifo) };
    let executor = VirtualExecutor::with_config(config);
    executor.spawn_client("client", step());
    let host = executor.host("");
    host.spawn_as(Role::Agent("agent"), Box::pin(step()));
    executor.run_until_idle().unwrap();
    let counters = executor.counters();
    assert_eq!((counters.dropped, counters.completed), (1, 1));
}

#[test]
fn a_waker_that_outlives_its_task_does_nothing() {
    let executor = VirtualExecutor::new(Schedule::Fifo);
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let inner = Arc::clone(&kept);
    executor.spawn_client("a", async move {
        poll_fn(|cx| {
            *inner.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
    });
    executor.run_until_idle().unwrap();
    executor.spawn_client("b", pending());
    executor.run_until_idle().unwrap();
    kept.lock().unwrap().take().unwrap().wake();
    executor.run_until_idle().unwrap();
    assert_eq!((executor.counters().stale_wakes, executor.tasks()[0].polls), (1, 1));
}

#[test]
fn a_panic_of_the_future_that_is_blocked_on_comes_through() {
    let executor = VirtualExecutor::new(Schedule::Fifo);
    let blocked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = executor.block_on(async { std::panic::resume_unwind(Box::new("on purpose")) });
    }));
    assert!(blocked.is_err());
    assert_eq!((executor.live_tasks(), executor.block_on(async { 1 })), (0, Ok(1)));
}

#[allow(dead_code, reason = "checked by the compiler")]
fn executors_are_shared(executor: VirtualExecutor) -> impl Send + Sync + Future<Output = ()> {
    let host = executor.host("");
    async move {
        let _ = host.now();
    }
}

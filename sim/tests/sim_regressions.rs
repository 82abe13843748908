//! Faults of the runtime that the simulator has found, each shrunk to the few steps that matter.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, Mutex};

use lictor::prelude::*;
use lictor::{RuntimeStatus, StartError, messages};
use lictor_sim::executor::{Config, Schedule, TaskFault, TaskId};
use lictor_sim::{Failure, Sim};

messages! { enum Order { Nap(u64), Tick(u64) } }

/// Delays a message to itself when it starts.
#[derive(Default)]
struct Ticker {
    ticks: Arc<Mutex<Vec<(u64, u64)>>>,
    alive: Alive,
}

/// How many have been started and are not gone, now and at most.
#[derive(Default)]
struct Alive {
    counts: Arc<Mutex<(u32, u32)>>,
    counted: bool,
}

impl Alive {
    fn enter(&mut self) {
        let mut counts = self.counts.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        self.counted = true;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.counted {
            self.counts.lock().unwrap().0 -= 1;
        }
    }
}

impl Agent for Ticker {
    type Message = Order;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.alive.enter();
        drop(cx.send_after(ms(10), Tick(cx.incarnation())));
        Ok(())
    }

    async fn handle(&mut self, order: Order, cx: &mut Context<Self>) -> Handled {
        match order {
            Order::Nap(Nap(time)) => cx.sleep(ms(time)).await,
            Order::Tick(Tick(of)) => self.ticks.lock().unwrap().push((of, cx.incarnation())),
        }
        Ok(())
    }
}

fn fair() -> Sim {
    Sim::with_config(0, Config::of(Schedule::Fifo))
}

fn driver(sim: &Sim) -> TaskId {
    sim.executor().tasks_named("#driver")[0]
}

// Invariant: S8. Seed 71 of `a_stop_at_any_moment_ends_everything`.
#[test]
fn a_delayed_message_is_not_for_the_next_incarnation() -> Result<(), Failure> {
    let mut sim = fair();
    let ticks = Arc::default();
    let own = Arc::clone(&ticks);
    let ticker = move || Ticker { ticks: Arc::clone(&own), ..Ticker::default() };
    let tree = Supervisor::one_for_one("root").backoff(Backoff::NONE).child("ticker", ticker);
    drop(sim.start(tree)?);
    sim.send::<Ticker, _>("ticker", Nap(100))?.unwrap();
    // The tick is queued behind the nap when the incarnation goes.
    sim.advance(ms(20))?;
    assert!(sim.crash("ticker"));
    sim.advance(ms(100))?;
    assert_eq!(*ticks.lock().unwrap(), [(2, 2)]);
    let ticker = sim.runtime().agents().remove(0);
    assert_eq!((ticker.accepted, ticker.handled, ticker.dead_letters), (3, 1, 2));
    sim.finish()
}

// Invariant: L2. Seed 474 of `a_stop_at_any_moment_ends_everything`.
#[test]
fn a_stop_that_comes_with_the_end_of_the_tree_returns() -> Result<(), Failure> {
    let mut sim = fair();
    let tree = Supervisor::one_for_one("root").max_restarts(0, secs(1));
    drop(sim.start(tree.child("ticker", Ticker::default))?);
    // The driver hears of both at once.
    let driver = driver(&sim);
    sim.executor().hold(driver);
    assert!(sim.crash("ticker"));
    sim.settle()?;
    let runtime = sim.runtime().clone();
    sim.spawn("stopper", async move { runtime.stop().await });
    sim.settle()?;
    sim.executor().release(driver);
    sim.settle()?;
    assert_eq!(sim.executor().tasks_named("stopper"), []);
    assert_eq!(sim.runtime().status(), RuntimeStatus::Stopped);
    sim.finish()
}

// Invariant: L4. Seed 28 of `nobody_waits_for_a_driver_that_is_gone`.
#[test]
fn a_start_on_a_host_that_is_gone_returns() -> Result<(), Failure> {
    let mut sim = fair();
    sim.executor().inject_into("#driver", 0, 1, TaskFault::Drop);
    let runtime = sim.runtime().clone();
    let tree = Supervisor::one_for_one("root").child("ticker", Ticker::default);
    let started = sim.block_on(async move { runtime.start(tree).await })?;
    assert_eq!(started.err(), Some(StartError::Stopped));
    assert_eq!(sim.runtime().status(), RuntimeStatus::Stopped);
    sim.finish()
}

// Invariant: S1. Seed 7291 of `nobody_waits_for_a_driver_that_is_gone`.
#[test]
fn a_stuck_child_is_not_given_up_while_its_supervisor_would_start_it_again() -> Result<(), Failure>
{
    let mut sim = fair();
    let counts = Arc::new(Mutex::new((0, 0)));
    let own = Arc::clone(&counts);
    let counted = move || Ticker {
        alive: Alive { counts: Arc::clone(&own), counted: false },
        ..Ticker::default()
    };
    let brutal = |spec: AgentSpec| spec.shutdown(Shutdown::BrutalKill);
    let inner = Supervisor::one_for_all("inner")
        .backoff(Backoff::NONE)
        .agent(brutal(agent("stuck", counted)))
        .child("other", Ticker::default);
    let last = brutal(agent("last", Ticker::default));
    drop(sim.start(Supervisor::one_for_one("root").supervisor(inner).agent(last))?);
    // `inner` is in the middle of a restart, and waits for one that hangs; the stop of the root
    // waits for another that hangs, and has not come to `inner`.
    assert!(sim.hang("stuck") && sim.hang("last"));
    assert!(sim.crash("other"));
    sim.advance(secs(2))?;
    let (runtime, start) = (sim.runtime().clone(), sim.now());
    sim.block_on(async move { runtime.stop().await })?;
    assert_eq!(*counts.lock().unwrap(), (1, 1), "alive now, and at most");
    assert_eq!(sim.now().saturating_since(start), secs(1), "both are given up");
    assert!(sim.unhang("stuck") && sim.unhang("last"));
    sim.finish()
}

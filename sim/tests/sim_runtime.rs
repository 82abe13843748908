//! The real runtime under thousands of seeds: schedules, cancellations, crashes, commands at bad
//! moments.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sim_support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::prelude::*;
use lictor::{
    Instant, OnRootExit, Overflow, Restart, Runtime, RuntimeStatus, SendOptions, Status, Strategy,
};
use lictor_sim::executor::{Config, Schedule, TaskFault};
use lictor_sim::sim::What;
use lictor_sim::{Failure, Sim, explore};
use sim_support::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const POOL: [&str; 2] = ["x", "y"];
const ALL: [&str; 7] = ["a", "b", "c", "d", "x", "y", "nobody"];

/// A host that is unfair in some of the ways that there are.
fn unfair(seed: u64, dice: &mut Dice) -> Config {
    Config {
        check_wakes: dice.below(2) == 0,
        spurious_wakes: dice.of(&[0, 0, 50_000, 300_000]),
        cancel_clients: dice.of(&[0, 0, 20_000, 100_000]),
        kill_agents: dice.of(&[0, 0, 2_000, 20_000]),
        late_timers: dice.of(&[0, 0, 200_000]),
        late_by: ms(5),
        poll_cost: Duration::from_nanos(dice.of(&[0, 0, 1_000])),
        seed,
        ..Config::of(Schedule::of_seed(seed))
    }
}

struct World {
    sim: Sim,
    ledger: Ledger,
    dice: Dice,
    runtime: Runtime,
    notes: u64,
    /// Kinds of events that have come, by seed and scenario.
    seen: Seen,
}

type Seen = Arc<Mutex<BTreeSet<String>>>;

impl World {
    fn new(seed: u64, budget: u32) -> Result<(Self, Supervisor), Failure> {
        let mut dice = Dice::new(seed);
        let config = unfair(seed, &mut dice);
        let ledger = Ledger::default();
        let runtime = RuntimeConfig {
            seed,
            types: types(&ledger),
            encode_messages: dice.below(4) == 0,
            on_root_exit: dice.of(&[OnRootExit::Stop, OnRootExit::Stay]),
            ..RuntimeConfig::default()
        };
        let mut sim = Sim::empty(seed, config).with_node("", runtime);
        judge(&mut sim, &ledger, ms(20));
        let tree = any_tree(&ledger, &mut dice, budget);
        let runtime = sim.runtime().clone();
        Ok((Self { sim, ledger, dice, runtime, notes: 0, seen: Seen::default() }, tree))
    }

    /// A client that does one thing, which has to end by then.
    fn client<F>(&self, within: Duration, what: String, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let call = self.ledger.call(after(&self.runtime, within), what);
        self.sim.spawn("client", async move {
            let _call = call;
            future.await;
        });
    }

    fn command(&mut self) {
        let runtime = self.runtime.clone();
        let name = self.dice.of(&ALL).to_owned();
        let child = self.dice.of(&POOL).to_owned();
        // Longer than any stop.
        let patience = secs(100);
        match self.dice.below(8) {
            0 => self.client(patience, format!("suspend {name}"), async move {
                drop(runtime.suspend(&name, "test").await);
            }),
            1 => self.client(patience, format!("resume {name}"), async move {
                drop(runtime.resume(&name, "test").await);
            }),
            2 => self.client(patience, format!("restart {name}"), async move {
                drop(runtime.restart_agent(&name, "test").await);
            }),
            3 | 4 => self.client(patience, format!("spawn {child}"), async move {
                drop(runtime.spawn("pool", "worker", &child, Value::Null).await);
            }),
            5 => self.client(patience, format!("despawn {child}"), async move {
                drop(runtime.despawn(&child).await);
            }),
            6 => self.client(patience, format!("stop {child}, all"), async move {
                drop(runtime.stop_agent(&child, Drain::All, ms(30)).await);
            }),
            _ => self.client(patience, format!("stop {child}"), async move {
                drop(runtime.stop_agent(&child, Drain::Current, ms(30)).await);
            }),
        }
    }

    fn message(&mut self) {
        let name = self.dice.of(&ALL);
        let Ok(agent) = self.runtime.agent::<Worker>(name) else { return };
        let (to, number) = (self.dice.of(&ALL).to_owned(), self.dice.below(1_000));
        let patience = secs(6);
        match self.dice.below(12) {
            0 | 1 => self.client(ms(100), format!("echo {name}"), async move {
                if let Ok(answer) = agent.ask(Echo(number), ms(100)).await {
                    assert_eq!(answer, number);
                }
            }),
            2 | 3 => self.client(ms(90), format!("relay {name} {to}"), async move {
                if let Ok(answer) = agent.ask(Relay(to, number), ms(90)).await {
                    assert_eq!(answer, number);
                }
            }),
            4 => self.client(ms(70), format!("keep {name}"), async move {
                drop(agent.ask(Keep, ms(70)).await);
            }),
            5 => {
                let first = self.notes;
                self.notes += 8;
                self.client(secs(50), format!("notes {name}"), async move {
                    for note in first..first + 8 {
                        drop(agent.send(Note(first, note)).await);
                    }
                });
            }
            6 => self.client(patience, format!("nap {name}"), async move {
                drop(agent.send(Nap(number % 40)).await);
            }),
            7 => self.client(patience, format!("panic {name}"), async move {
                drop(agent.send(Panic).await);
            }),
            8 => self.client(patience, format!("fail {name}"), async move {
                drop(agent.send_priority(Fail).await);
            }),
            9 => self.client(patience, format!("spawn by {name}"), async move {
                drop(agent.send(Spawn(to)).await);
            }),
            10 => self.client(ms(15), format!("short-lived {name}"), async move {
                let options = SendOptions::new().ttl(ms(5)).timeout(ms(15));
                drop(agent.send_with(Nap(1), options).await);
            }),
            _ => self.client(patience, format!("finish {name}"), async move {
                drop(agent.send(Finish).await);
            }),
        }
    }

    fn fault(&mut self) {
        let name = self.dice.of(&ALL);
        let _ = match self.dice.below(5) {
            0 => self.sim.crash(name),
            1 => self.sim.panic(name),
            2 => {
                let polls = 1 + self.dice.below(12);
                self.sim.cancel_at(name, polls)
            }
            3 if self.dice.below(3) == 0 => self.sim.hang(name),
            3 => self.sim.slow(name, Duration::from_millis(1)),
            _ => self.sim.starve(name),
        };
    }

    fn step(&mut self) -> Result<(), Failure> {
        match self.dice.below(10) {
            0..=4 => self.message(),
            5 | 6 => self.command(),
            7 => self.fault(),
            _ => {
                let time = self.dice.of(&[0, 0, 1, 1, 3, 3, 10, 10, 60, 1_200]);
                self.sim.advance(ms(time))?;
            }
        }
        Ok(())
    }

    /// Everything that was asked has ended, and what is up is as it should be.
    fn heal(&mut self) -> Result<(), Failure> {
        let held = self.sim.executor().tasks().into_iter().filter(|task| task.held);
        for task in held {
            self.sim.executor().release(task.id);
        }
        // Every command is with the runtime by then.
        self.sim.advance(secs(1))?;
        for name in NAMES.iter().chain(&POOL) {
            let (runtime, name) = (self.runtime.clone(), (*name).to_owned());
            self.sim.block_on(async move {
                drop(runtime.resume(&name, "test").await);
            })?;
        }
        self.sim.advance(secs(120))?;
        let mut seen = self.seen.lock().unwrap();
        for event in self.sim.events() {
            seen.insert(kind(&event.what));
        }
        drop(seen);
        let left = self.ledger.book().calls.values().next().cloned();
        assert_eq!(left, None, "L4: a call has not ended");
        Ok(())
    }
}

fn any_tree(ledger: &Ledger, dice: &mut Dice, budget: u32) -> Supervisor {
    ledger.book().trees += 1;
    let worker = |name: &str, dice: &mut Dice| {
        let mut script = Script::new(name, ledger);
        script.start_nap = dice.of(&[0, 0, 0, 7]);
        script.stop_nap = dice.of(&[0, 0, 0, 11]);
        script.whims = dice.of(&[0, 0, 5, 40]);
        let actions = [ErrorAction::Retry, ErrorAction::Skip, ErrorAction::Stop];
        script.on_error = (dice.below(3) == 0).then(|| dice.of(&actions));
        let policy = dice.of(&[InHand::Drop, InHand::Redeliver, InHand::DeadLetter]);
        let overflow =
            dice.of(&[Overflow::Wait, Overflow::Wait, Overflow::Reject, Overflow::DropOldest]);
        let shutdowns =
            [Shutdown::BrutalKill, Shutdown::Timeout(ms(5)), Shutdown::Timeout(secs(5))];
        let mut spec = script.agent().mailbox_size(dice.of(&[1, 2, 1_000])).in_hand(policy);
        spec = spec.overflow(overflow).shutdown(dice.of(&shutdowns));
        if dice.below(4) == 0 {
            spec = spec.handle_timeout(ms(20));
        }
        if dice.below(4) == 0 {
            spec = spec.start_timeout(ms(5));
        }
        spec
    };
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let backoffs = [Backoff::NONE, Backoff::constant(ms(5)), Backoff::exponential(ms(1), ms(50))];
    let inner = Supervisor::with_strategy("inner", dice.of(&strategies))
        .max_restarts(budget, secs(1))
        .backoff(dice.of(&backoffs))
        .agent(worker("c", dice).restart(Restart::Permanent))
        .agent(worker("d", dice).restart(Restart::Transient));
    Supervisor::with_strategy("root", dice.of(&strategies))
        .max_restarts(budget, secs(1))
        .backoff(dice.of(&backoffs))
        .agent(worker("a", dice).restart(Restart::Permanent))
        .agent(worker("b", dice).restart(Restart::Transient))
        .supervisor(inner)
        .dynamic(
            DynamicSupervisor::new("pool")
                .max_restarts(budget, secs(1))
                .backoff(dice.of(&backoffs)),
        )
}

type InHand = lictor::InHandPolicy;

/// What was accepted is handled, dead or queued; nothing is in hand.
fn assert_conserved(runtime: &Runtime) {
    // Invariant: S12 (conservation of messages)
    for agent in runtime.agents() {
        let ended = agent.handled + agent.dead_letters + agent.queued;
        assert_eq!(agent.accepted, ended, "accepted = handled + dead + queued: {agent:?}");
    }
}

/// Restarts without end: after all that, everything is up again, and then it stops. `false` if it
/// did not even start.
fn heals(seed: u64, seen: &Seen) -> Result<bool, Failure> {
    let (mut world, tree) = World::new(seed, u32::MAX)?;
    world.seen = Arc::clone(seen);
    // Agents that are killed while they start fail the start, as they should.
    let runtime = world.runtime.clone();
    if world.sim.block_on(async move { runtime.start(tree).await })?.is_err() {
        return world.sim.finish().map(|()| false);
    }
    for _ in 0..60 {
        world.step()?;
    }
    world.heal()?;
    assert_eq!(world.runtime.status(), RuntimeStatus::Running);
    // Invariant: L1 (every permanent child is up)
    for name in ["a", "c"] {
        let agents = world.runtime.agents();
        let agent = agents.iter().find(|agent| &*agent.name == name).unwrap();
        assert_eq!((agent.status, agent.queued), (Status::Running, 0), "{agent:?}");
    }
    assert_conserved(&world.runtime);
    world.sim.finish().map(|()| true)
}

// Invariants: S1, S8, S11, S12, S13, L1, L2, L4, S7
#[test]
fn everything_heals_and_everything_ends() {
    let mut up = 0;
    let all = explore(0..seeds(), |seed| {
        up += u64::from(heals(seed, &Seen::default())?);
        Ok(())
    });
    let all = all.unwrap();
    assert!(all == 1 || up > all / 2, "only {up} of {all} trees came up");
}

/// How many seeds: a campaign sets more.
fn seeds() -> u64 {
    std::env::var("LICTOR_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// Small budgets, and stops at bad moments: the tree may end by itself, or be ending, or have never
/// been up, and still every call ends and nothing is left.
fn ends(seed: u64, seen: &Seen) -> Result<(), Failure> {
    let (mut world, tree) = World::new(seed, 2)?;
    world.seen = Arc::clone(seen);
    let mut next = Some(tree);
    // They end with the runtime, and would be left over if they did not.
    let (runtime, mut events) = (world.runtime.clone(), world.runtime.events());
    world.sim.spawn("terminated", async move {
        runtime.terminated().await;
    });
    world.sim.spawn("events", async move { while events.next().await.is_some() {} });
    let stops = world.dice.below(4);
    for _ in 0..stops {
        for _ in 0..world.dice.below(3) {
            // At most one of them does something, unless an earlier one has failed.
            let tree = match next.take() {
                Some(tree) => tree,
                None => any_tree(&world.ledger, &mut world.dice, 2),
            };
            let runtime = world.runtime.clone();
            world.client(secs(100), "start".to_owned(), async move {
                drop(runtime.start(tree).await);
            });
            let steps = world.dice.of(&[0, 3, 10, 60]);
            for _ in 0..steps {
                if world.dice.below(4) == 0 {
                    world.fault();
                }
                world.step()?;
            }
        }
        let runtime = world.runtime.clone();
        let within = ms(world.dice.of(&[0, 5, 100]));
        world.client(secs(100), format!("stop within {within:?}"), async move {
            runtime.stop_within(within).await;
        });
        if world.dice.below(2) == 0 {
            let time = world.dice.of(&[0, 1, 4, 20]);
            world.sim.advance(ms(time))?;
        }
    }
    for _ in 0..10 {
        world.step()?;
    }
    world.heal()?;
    world.sim.finish()
}

// Invariants: L2 (shutdown ends), L4 (every call ends), S7 (nothing is left)
#[test]
fn a_stop_at_any_moment_ends_everything() {
    explore(0..seeds(), |seed| ends(seed, &Seen::default())).unwrap();
}

/// The host drops the driver: nothing is supervised any more, and nobody may wait for ever.
fn abandons(seed: u64) -> Result<(), Failure> {
    let (mut world, tree) = World::new(seed, u32::MAX)?;
    let poll = 1 + world.dice.below(30);
    world.sim.executor().inject_into("#driver", 0, poll, TaskFault::Drop);
    let runtime = world.runtime.clone();
    world.client(secs(100), "start".to_owned(), async move {
        drop(runtime.start(tree).await);
    });
    let runtime = world.runtime.clone();
    world.client(secs(100), "terminated".to_owned(), async move {
        runtime.terminated().await;
    });
    for _ in 0..40 {
        world.step()?;
    }
    let runtime = world.runtime.clone();
    world.sim.block_on(async move { runtime.stop().await })?;
    world.heal()?;
    world.sim.finish()
}

// Invariants: L2, L4, S7
#[test]
fn nobody_waits_for_a_driver_that_is_gone() {
    explore(0..seeds(), abandons).unwrap();
}

/// The name of an event's kind, with its reason if it has one.
fn kind(what: &What) -> String {
    let What::Runtime(kind) = what else { return "fault".to_owned() };
    let text = format!("{kind:?}");
    let name = text.split([' ', '{']).next().unwrap_or_default().to_owned();
    match text.split_once("reason: \"") {
        Some((_, reason)) => format!("{name} {}", reason.split('"').next().unwrap_or_default()),
        None => name,
    }
}

/// A campaign that never reaches what it is for would pass, too.
#[test]
fn what_must_have_happened_has() {
    let seen = Seen::default();
    for seed in 0..150 {
        heals(seed, &seen).unwrap();
        ends(seed, &seen).unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    for wanted in [
        "Crashed crashed",
        "Crashed killed",
        "DeadLetters crashed",
        "DeadLetters down",
        "DeadLetters evicted",
        "DeadLetters expired",
        "DeadLetters killed",
        "DeadLetters skipped",
        "DeadLetters stopped",
        "Removed restarts_exhausted",
        "Removed supervisor_stopped",
        "Removed terminated",
        "RestartScheduled",
        "RestartsExhausted",
        "Resumed",
        "ShutdownError killed",
        "StartFailed",
        "Stopped normal",
        "Stopped shutdown",
        "SupervisorStopped restarts_exhausted",
        "Suspended test",
        "Terminated restarts_exhausted",
        "Unresponsive",
    ] {
        assert!(seen.contains(wanted), "never reached: {wanted}; reached: {seen:#?}");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let digest = |seed| {
        let (mut world, tree) = World::new(seed, u32::MAX)?;
        let runtime = world.runtime.clone();
        drop(world.sim.block_on(async move { runtime.start(tree).await })?);
        for _ in 0..30 {
            world.step()?;
        }
        Ok::<_, Failure>((world.sim.executor().digest(), world.sim.events().to_vec()))
    };
    for seed in 0..20 {
        assert_eq!(digest(seed).unwrap(), digest(seed).unwrap(), "seed {seed}");
    }
    let _ = Instant::ZERO;
}

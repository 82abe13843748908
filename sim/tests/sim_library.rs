//! What `Sim` promises to those who put their own agents into it.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sim_support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lictor::prelude::*;
use lictor::topology::{NoEnvironment, Options, parse};
use lictor::{EventKind, Instant, RuntimeStatus, Status};
use lictor_sim::executor::{Config, Schedule, Stuck};
use lictor_sim::sim::What;
use lictor_sim::{Failure, Sim, explore, sim::FailureKind};
use sim_support::*;

fn worker(name: &str) -> AgentSpec {
    Script::new(name, &Ledger::default()).agent()
}

fn root() -> Supervisor {
    Supervisor::one_for_one("root").max_restarts(100, secs(1)).backoff(Backoff::NONE)
}

fn fair() -> Sim {
    Sim::with_config(3, Config::of(Schedule::Fifo))
}

#[test]
fn a_broken_invariant_stops_the_run_where_it_breaks_and_says_how_to_see_it_again() {
    let mut sim = fair();
    sim.always("a is never restarted", |view| {
        let starts = view.agent("a").map_or(0, |agent| agent.starts);
        if starts < 2 { Ok(()) } else { Err(format!("{starts} starts")) }
    });
    sim.start(root().agent(worker("a"))).unwrap();
    sim.advance(secs(2)).unwrap();
    assert!(sim.crash("a"));
    let failure = sim.advance(secs(5)).unwrap_err();
    assert_eq!((failure.at(), failure.seed()), (Instant::from_secs(2), 3));
    assert_eq!((sim.now(), failure.invariant()), (Instant::from_secs(2), "a is never restarted"));
    let text = failure.to_string();
    for part in ["2 starts", "seed 3, at 2.000s", "* a: crash", "a crashed: killed"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let test = "a_broken_invariant_stops_the_run_where_it_breaks_and_says_how_to_see_it_again";
    let line = format!("replay: LICTOR_SIM_SEED=3 cargo test -p lictor-sim {test}");
    assert!(text.ends_with(&line), "{text}");
}

#[test]
fn a_promise_is_kept_in_time_or_broken_at_its_time() {
    let mut sim = fair();
    sim.start(root().agent(worker("a"))).unwrap();
    sim.eventually("a comes back", secs(1), |view| {
        view.agent("a").is_some_and(|agent| agent.starts == 2)
    });
    sim.crash("a");
    sim.advance(secs(5)).unwrap();
    sim.eventually("a comes back once more", secs(1), |view| {
        view.agent("a").is_some_and(|agent| agent.starts == 3)
    });
    let failure = sim.advance(secs(5)).unwrap_err();
    assert_eq!(failure.invariant(), "a comes back once more");
    // One that is still open at the end is broken, too.
    let mut sim = fair();
    sim.eventually("what never comes", secs(1), |_| false);
    let failure = sim.finish().unwrap_err();
    assert!(matches!(failure.kind(), FailureKind::Eventually { .. }), "{failure}");
}

#[test]
fn waiting_for_what_cannot_come_is_a_failure_that_names_who_waits() {
    let mut sim = fair();
    sim.start(root().agent(worker("a"))).unwrap();
    let failure = sim.block_on(std::future::pending::<()>()).unwrap_err();
    assert!(matches!(failure.kind(), FailureKind::Stuck(Stuck::Deadlock(_))), "{failure}");
    assert!(failure.to_string().contains("#driver"), "{failure}");
}

#[test]
fn what_is_left_after_the_stop_is_a_failure() {
    let mut sim = fair();
    sim.start(root().agent(worker("a"))).unwrap();
    sim.spawn("left over", std::future::pending());
    let failure = sim.finish().unwrap_err();
    assert_eq!(failure.invariant(), "S7 no orphan task");
    assert!(failure.to_string().contains("left over"), "{failure}");
}

#[test]
fn a_tree_that_does_not_start_is_a_failure() {
    let mut sim = fair();
    let failure = sim.start(root().agent(worker("a")).agent(worker("a"))).unwrap_err();
    assert!(matches!(failure.kind(), FailureKind::Start(_)), "{failure}");
}

#[test]
fn an_agent_that_hangs_cannot_be_killed_and_one_that_is_slow_is_late() -> Result<(), Failure> {
    let mut sim = fair();
    sim.start(root().agent(worker("a")).agent(worker("b")))?;
    assert!(sim.slow("b", secs(2)));
    assert_eq!(sim.ask::<Worker, _>("b", Echo(5), secs(3))?, Ok(5));
    assert_eq!(sim.now(), Instant::from_secs(2));
    assert!(sim.hang("a") && !sim.hang("nobody"));
    assert!(sim.ask::<Worker, _>("a", Echo(5), secs(1))?.is_err());
    assert!(sim.crash("a"), "it will be, when it runs again");
    sim.advance(secs(10))?;
    assert_eq!(sim.runtime().agents()[0].starts, 1);
    assert!(sim.unhang("a"));
    sim.advance(secs(1))?;
    assert_eq!(sim.runtime().agents()[0].starts, 2);
    sim.finish()
}

#[test]
fn a_crash_comes_in_the_middle_of_a_handler() -> Result<(), Failure> {
    let mut sim = fair();
    sim.start(root().agent(worker("a")))?;
    sim.send::<Worker, _>("a", Nap(1_000))?.unwrap();
    sim.advance(ms(10))?;
    assert!(sim.panic("a"));
    sim.note("it naps");
    sim.settle()?;
    assert_eq!(sim.now(), Instant::from_millis(10));
    let lines: Vec<_> = sim.events().iter().map(|event| &event.what).collect();
    assert!(lines.contains(&&What::Note("it naps".to_owned())));
    let crashed = |what: &&&What| matches!(what, What::Runtime(EventKind::Crashed { .. }));
    assert_eq!(lines.iter().filter(crashed).count(), 1);
    sim.finish()
}

#[test]
fn several_runtimes_share_the_clock_and_nothing_else() -> Result<(), Failure> {
    let config = Config::of(Schedule::Seeded(1));
    let mut sim = Sim::empty(1, config)
        .with_node("left", RuntimeConfig::default())
        .with_node("right", RuntimeConfig::default());
    sim.start_on("left", root().agent(worker("a")))?;
    sim.start_on("right", root().agent(worker("a")))?;
    assert!(sim.crash("right/a") && !sim.crash("a"));
    sim.advance(secs(1))?;
    let starts = |node: &str| sim.runtime_of(node).agents()[0].starts;
    assert_eq!((starts("left"), starts("right")), (1, 2));
    assert_eq!(sim.ask::<Worker, _>("right/a", Echo(4), secs(1))?, Ok(4));
    sim.always("both run", |view| {
        ["left", "right"].iter().all(|node| view.status(node) != Some(RuntimeStatus::Failed))
            && view.agents().iter().all(|agent| agent.name.contains('/'))
    });
    sim.finish()
}

#[test]
fn a_topology_is_simulated_as_it_is() -> Result<(), Failure> {
    let text = b"supervision:\n  name: root\n  strategy: ONE_FOR_ALL\n  children:\n    \
        - agent: {name: a, type: worker}\n    \
        - agent: {name: b, type: worker}\n";
    let types = types(&Ledger::default());
    let topology = parse("shop.yaml", text, &Options::new(&NoEnvironment).known_types(&["worker"]));
    let tree = lictor::root_from_topology("shop.yaml", &topology.unwrap(), &types).unwrap();
    let mut sim = fair();
    sim.start(tree)?;
    assert!(sim.crash("b"));
    sim.advance(secs(100))?;
    for agent in sim.runtime().agents() {
        assert_eq!((agent.status, agent.starts), (Status::Running, 2), "{agent:?}");
    }
    sim.finish()
}

#[test]
fn a_campaign_ends_at_the_first_seed_that_fails() {
    let ran = AtomicU64::new(0);
    let failure = explore(0..100, |seed| {
        ran.fetch_add(1, Ordering::Relaxed);
        let sim = Sim::new(seed);
        sim.check("seeds are below 7", seed < 7)?;
        sim.finish()
    })
    .unwrap_err();
    assert_eq!((failure.seed(), ran.load(Ordering::Relaxed)), (7, 8));
}

#[test]
fn a_replay_has_the_digest_of_the_failure() {
    let scenario = |seed| {
        let crashes = Arc::new(Mutex::new(0));
        let mut sim = Sim::new(seed);
        sim.start(root().agent(worker("a")).agent(worker("b")))?;
        for _ in 0..5 {
            *crashes.lock().unwrap() += u32::from(sim.crash("a"));
            sim.advance(ms(3))?;
        }
        sim.check("no crashes", *crashes.lock().unwrap() == 0)
    };
    let digest = |seed| scenario(seed).unwrap_err().digest();
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}

//! The kernel's own engine, from outside.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_sim::engine::{Engine, EngineError};
use lictor_sim::marks::{Mark, Marks};
use lictor_sim::outcome::{Options, Queue};
use lictor_sim::plan::{Plan, Profile};
use lictor_sim::scenario::Scenario;
use lictor_sim::world::run;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100)
}

#[test]
fn the_examples_live_through_their_faults() {
    for (file, nodes) in [
        ("examples/pipeline.yaml", 1),
        ("examples/office.yaml", 1),
        ("examples/pipeline.yaml", 3),
        ("examples/office.yaml", 2),
    ] {
        let scenario = scenario(file, nodes);
        let mut bad = BTreeMap::new();
        for seed in 0..seeds() {
            let plan = Plan::generate(&scenario, seed, &Profile::default());
            let outcome = run(&plan, Options::default());
            if let Some(violation) = &outcome.violation {
                let (times, _) =
                    bad.entry(violation.invariant).or_insert_with(|| (0, violation.to_string()));
                *times += 1;
            }
            if seed % 8 == 0 {
                let other = run(&plan, Options { queue: Queue::Calendar, ..Options::default() });
                assert_eq!(outcome.digest, other.digest);
            }
        }
        assert!(bad.is_empty(), "{file} on {nodes}: {bad:#?}");
    }
}

/// A mark that no seed reaches says that plans cannot show what it is about.
#[test]
fn what_can_be_reached_is_reached() {
    for nodes in [1, 3] {
        let scenario = scenario("examples/pipeline.yaml", nodes);
        let mut marks = Marks::default();
        let missing = |marks: Marks| Mark::reachable(&scenario).find(|mark| !marks.has(*mark));
        for seed in 0..2_000 {
            if missing(marks).is_none() {
                break;
            }
            let plan = Plan::generate(&scenario, seed, &Profile::default());
            marks.merge(run(&plan, Options::default()).marks);
        }
        assert_eq!(missing(marks), None, "on {nodes} nodes");
    }
}

/// Children of a dynamic supervisor that have a budget each use them up each for itself.
#[test]
fn two_budgets_can_be_used_up_at_once() {
    let text = b"
topology:
  supervision:
    children:
      - { type: dynamic_supervisor, name: desks, max_restarts: 0 }
horizon: 2s
operations: [{ at: 0s, spawn: desks-0 }, { at: 0s, spawn: desks-1 }]
faults: [{ at: 1s, crash_all: desks }]
";
    let plan = Plan::read("p", text, &lictor_sim::plan::Reading::default()).unwrap();
    let outcome = run(&plan, Options { trace: true, ..Options::default() });
    let gives_up = |what| matches!(what, lictor_sim::record::What::RestartsExhausted { .. });
    assert_eq!(outcome.trace.iter().filter(|record| gives_up(record.what)).count(), 2);
    assert_eq!(outcome.violation, None);
}

/// A run that would never end is ended, and says who keeps it going.
#[test]
fn a_run_has_an_end_whoever_ticks() {
    let text = b"
topology:
  supervision:
    children:
      - agent: { name: sink, type: lictor.echo }
      - agent: { name: tick, type: lictor.ticker, config: { to: sink, every: 1ns } }
horizon: 100s
";
    let plan = Plan::read("p", text, &lictor_sim::plan::Reading::default()).unwrap();
    for engine in Engine::ALL {
        let events_max = if *engine == Engine::Turmoil { 20 } else { 20_000 };
        let options = Options { events_max, ..Options::default() };
        let error = engine.run(&plan, options).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("events by ") && text.contains("`tick` has most to do"), "{text}");
        let EngineError::TooManyEvents { events, .. } = error else { panic!("{text}") };
        // Looking for missed wakes is a poll of everybody, and is not broken off.
        assert!((events_max..3 * events_max).contains(&events), "{engine:?}: {events}");
    }
}

/// The model follows: a run beside it is the same run, and holds.
#[test]
fn the_reference_model_agrees_with_every_kernel() {
    for (file, nodes) in [("examples/pipeline.yaml", 2), ("examples/office.yaml", 1)] {
        let scenario = scenario(file, nodes);
        for seed in 0..40 {
            let plan = Plan::generate(&scenario, seed, &Profile::default());
            let beside = run(&plan, Options { model: true, ..Options::default() });
            let alone = run(&plan, Options::default());
            assert_eq!(beside.violation, None, "{file}, seed {seed}");
            assert_eq!(beside.digest, alone.digest, "{file}, seed {seed}");
        }
    }
}

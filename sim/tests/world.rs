//! The kernel's own engine, from outside.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::sync::Arc;

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
        let mut marks = lictor_sim::marks::Marks::default();
        let mut events = 0;
        let mut bad = std::collections::BTreeMap::new();
        for seed in 0..seeds() {
            let plan = Plan::generate(&scenario, seed, &Profile::default());
            let outcome = run(&plan, Options::default());
            if let Some(violation) = &outcome.violation {
                let entry = bad
                    .entry(violation.invariant)
                    .or_insert_with(|| (0, seed, violation.to_string()));
                entry.0 += 1;
            }
            if seed % 8 == 0 {
                let other = run(&plan, Options { queue: Queue::Calendar, ..Options::default() });
                assert_eq!(outcome.digest, other.digest);
            }
            marks.merge(outcome.marks);
            events += outcome.events;
        }
        println!("{file} {nodes}: {events} events, {marks:?}");
        for (id, (n, seed, text)) in &bad {
            println!("  {id}: {n} times, seed {seed}: {text}");
        }
        assert!(bad.is_empty(), "{bad:#?}");
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

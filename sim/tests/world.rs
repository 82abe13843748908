//! The kernel's own engine, from outside.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

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
                let entry =
                    bad.entry(violation.invariant).or_insert((0, seed, violation.to_string()));
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
        // assert
    }
}

#[test]
fn debug_one() {
    let get = |k: &str| std::env::var(k).unwrap();
    let scenario = scenario(&get("FILE"), get("NODES").parse().unwrap());
    let plan = Plan::generate(&scenario, get("SEED").parse().unwrap(), &Profile::default());
    let outcome = run(&plan, Options { trace: true, ..Options::default() });
    for (who, e) in scenario.all() {
        println!("{who:?} {} {:?}", e.name, e.node);
    }
    println!("{:?}", outcome.violation);
    let mut asked = std::collections::BTreeMap::new();
    for r in &outcome.trace {
        use lictor_sim::record::What as W;
        match r.what {
            W::Sent(m, _, ask) => {
                asked.insert(m, (ask, false, false));
            }
            W::Ended(m, _) => asked.get_mut(&m).unwrap().1 = true,
            W::Answered(m, _) => asked.get_mut(&m).unwrap().2 = true,
            _ => {}
        }
    }
    for (m, (ask, ended, answered)) in asked {
        if !ended || (ask && !answered) {
            println!("--- {m:?} ask {ask} ended {ended} answered {answered}");
            let text = format!("{m:?}");
            let node = plan.operations.get(m.number as usize);
            println!("{node:?}");
            for r in &outcome.trace {
                let t = format!("{:?}", r.what);
                if t.contains(&text)
                    || (matches!(r.what.code(), 23 | 24 | 26 | 27 | 30 | 31 | 32)
                        || (r.what.code() < 13
                            && (t.contains("Who(6)") || t.contains("Who(5)"))
                            && r.at.as_nanos() > 6_200_000_000
                            && r.at.as_nanos() < 7_000_000_000))
                {
                    println!("{:?} n{} {t}", r.at, r.node.0);
                }
            }
        }
    }
}

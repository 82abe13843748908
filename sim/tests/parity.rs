//! One plan, several engines, one abstract trace.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::sync::Arc;

use lictor_sim::engine::Engine;
use lictor_sim::parity::{self, Verdict};
use lictor_sim::plan::{Mix, Plan, Profile};
use lictor_sim::scenario::Scenario;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn agree(file: &str, nodes: usize, seeds: std::ops::Range<u64>, engines: &[Engine]) {
    let scenario = scenario(file, nodes);
    let (mut steps, mut bad) = (0, Vec::new());
    for seed in seeds.clone() {
        let plan = Plan::generate(&scenario, seed, &Profile::new(Mix::Parity));
        let plan = parity::settled(&plan, engines);
        match parity::check(&plan, engines).unwrap() {
            Verdict::Same(n) => steps += n,
            Verdict::Differs(a, b, difference) => {
                bad.push((seed, difference.text(&plan, a.word(), b.word())));
            }
            Verdict::Violates(engine, violation) => {
                let text = lictor_sim::trace::names(&plan.scenario, &violation.to_string());
                bad.push((seed, format!("{}: {text}", engine.word())));
            }
            _ => unreachable!(),
        }
    }
    println!("{file} on {nodes}: {steps} steps, {} of {seeds:?} bad", bad.len());
    for (seed, text) in bad.iter().take(number("SHOW", 8) as usize) {
        println!("seed {seed}: {text}");
    }
    assert!(bad.is_empty());
}

const THREE: [Engine; 3] = [Engine::Kernel, Engine::Virtual, Engine::Turmoil];

#[test]
fn all_three_pipeline() {
    agree("examples/pipeline.yaml", 1, some_seeds(), &THREE);
}

#[test]
fn all_three_office() {
    agree("examples/office.yaml", 1, some_seeds(), &THREE);
}

#[test]
fn all_three_trio() {
    agree("examples/trio.yaml", 3, some_seeds(), &THREE);
}

fn some_seeds() -> std::ops::Range<u64> {
    let from = number("FROM", 0);
    from..from + number("SEEDS", 10)
}

const TWO: [Engine; 2] = [Engine::Kernel, Engine::Virtual];

fn seeds() -> std::ops::Range<u64> {
    let from = number("FROM", 0);
    from..from + number("SEEDS", 200)
}

#[test]
fn pipeline() {
    agree("examples/pipeline.yaml", 1, seeds(), &TWO);
}

#[test]
fn office() {
    agree("examples/office.yaml", 1, seeds(), &TWO);
}

#[test]
fn a_settled_plan_is_settled() {
    let scenario = scenario("examples/office.yaml", 1);
    for seed in 0..200 {
        let plan = Plan::generate(&scenario, seed, &Profile::new(Mix::Parity));
        let once = parity::settled(&plan, &TWO);
        let twice = parity::settled(&once, &TWO);
        assert_eq!(once, twice, "seed {seed}");
    }
}

#[test]
fn trio() {
    agree("examples/trio.yaml", 3, seeds(), &TWO);
}

#[test]
fn show() {
    let seed = number("SEED", u64::MAX);
    if seed == u64::MAX {
        return;
    }
    let file = std::env::var("TOPOLOGY").unwrap();
    let scenario = scenario(&file, number("NODES", 1) as usize);
    let mut plan = parity::settled(
        &Plan::generate(&scenario, seed, &Profile::new(Mix::Parity)),
        if std::env::var_os("WIRE").is_some() { &THREE } else { &TWO },
    );
    if let Ok(mix) = std::env::var("MIX") {
        let profile =
            Profile { engine: Engine::Virtual, ..Profile::new(Mix::named(&mix).unwrap()) };
        plan = Plan::generate(&scenario, seed, &profile);
    }
    println!("{}", plan.to_yaml());
    for engine in THREE {
        let options = lictor_sim::outcome::Options { trace: true, ..Default::default() };
        let Ok(ran) = engine.run(&plan, options) else { continue };
        let trace = lictor_sim::trace::Trace::new(&plan);
        let lines: Vec<String> = ran.trace.iter().map(|record| trace.text(record)).collect();
        std::fs::write(format!("/tmp/x-{}.txt", engine.word()), lines.join("\n")).unwrap();
    }
}

#[test]
fn swarm() {
    for (file, nodes) in
        [("examples/pipeline.yaml", 1), ("examples/office.yaml", 1), ("examples/trio.yaml", 3)]
    {
        let scenario = scenario(file, nodes);
        let mut bad = std::collections::BTreeMap::new();
        let mut marks = lictor_sim::marks::Marks::default();
        for seed in seeds() {
            let mix = Mix::named(&std::env::var("MIX").unwrap_or_default()).unwrap_or(Mix::Swarm);
            let profile = Profile { engine: Engine::Virtual, ..Profile::new(mix) };
            let plan = Plan::generate(&scenario, seed, &profile);
            let ran = Engine::Virtual.run(&plan, Default::default()).unwrap();
            marks.merge(ran.marks);
            if let Some(violation) = &ran.violation {
                let text = lictor_sim::trace::names(&plan.scenario, &violation.to_string());
                let mut kinds: Vec<_> = plan
                    .faults
                    .iter()
                    .filter(|f| f.kind.facts().group as u8 >= 4 || f.at <= violation.at)
                    .map(|f| f.kind.facts().name)
                    .collect();
                kinds.sort_unstable();
                kinds.dedup();
                let text = format!("{text} {kinds:?}");
                bad.entry(violation.invariant).or_insert_with(Vec::new).push((seed, text));
            }
            if seed % 8 == 0 {
                let again = Engine::Virtual.run(&plan, Default::default()).unwrap();
                assert_eq!(ran.digest, again.digest);
            }
        }
        println!("{file} on {nodes}: {marks:?}");
        for (id, all) in &bad {
            println!("  {id}: {} times", all.len());
            for (seed, text) in all.iter().take(4) {
                println!("    seed {seed}: {}", &text[..text.len().min(1200)]);
            }
        }
    }
}

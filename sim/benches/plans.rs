//! How long it takes to make, write, read and run a plan, one core.
//!
//! `cargo bench -p lictor-sim --bench plans`
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures real time")]
#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant as Clock;

use lictor_sim::outcome::Options;
use lictor_sim::plan::{Mix, Plan, Profile, Reading};
use lictor_sim::scenario::Scenario;
use lictor_sim::world;

/// Seeds of one measurement.
const SEEDS: u64 = 500;

/// The best of five rounds, in microseconds for each seed.
fn measure(name: &str, mut each: impl FnMut(u64)) {
    let round = |each: &mut dyn FnMut(u64)| {
        let begun = Clock::now();
        (0..SEEDS).for_each(each);
        begun.elapsed()
    };
    let best = (0..5).map(|_| round(&mut each)).min().unwrap_or_default();
    let micros = best.as_secs_f64() * 1e6 / f64::from(u32::try_from(SEEDS).unwrap_or(u32::MAX));
    println!("{name:<24} {micros:9.1} us each");
}

fn main() {
    for (file, nodes) in [("pipeline", 1), ("office", 3)] {
        let path = format!("{}/../examples/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(&path).expect("the example is there");
        let options = lictor_topology::Options::default();
        let topology = lictor_topology::parse(&path, &text, &options).expect("it is good");
        let scenario = Arc::new(Scenario::new(topology, nodes).expect("it is small"));
        let profile = Profile::new(Mix::Swarm);
        let plan = |seed| Plan::generate(&scenario, seed, &profile);
        let plans: Vec<Plan> = (0..SEEDS).map(plan).collect();
        let texts: Vec<String> = plans.iter().map(Plan::to_yaml).collect();
        let sum = |of: fn(&Plan) -> usize| plans.iter().map(of).sum::<usize>() / plans.len();
        let (operations, faults) = (sum(|p| p.operations.len()), sum(|p| p.faults.len()));
        println!("{file} on {nodes}: {operations} operations, {faults} faults on average");
        measure("  generate", |seed| drop(black_box(plan(seed))));
        let at = |seed: u64| usize::try_from(seed).unwrap_or(0);
        measure("  write", |seed| drop(black_box(plans[at(seed)].to_yaml())));
        measure("  read", |seed| {
            let text = texts[at(seed)].as_bytes();
            drop(black_box(Plan::read("plan", text, &Reading::default())));
        });
        measure("  run", |seed| drop(black_box(world::run(&plans[at(seed)], Options::default()))));
    }
}

//! The rates of the simulator, measured as a campaign is: plans made, run, judged, digested.
//!
//! `cargo bench -p lictor-sim --bench rates` prints a line for each; wall-clock time of this machine,
//! so compare only figures of one run. Every invariant and the digest are on.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]
#![allow(clippy::cast_precision_loss, clippy::disallowed_types, reason = "it measures real time")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_sim::campaign::{Campaign, explore};
use lictor_sim::engine::Engine;
use lictor_sim::outcome::Options;
use lictor_sim::plan::{Mix, Plan, Profile};
use lictor_sim::scenario::Scenario;
use lictor_sim::world;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

/// A campaign of the kernel world, on this many threads.
fn campaign(name: &str, scenario: &Arc<Scenario>, profile: &Profile, seeds: u64, threads: usize) {
    let threads = NonZeroUsize::new(threads).unwrap();
    let campaign =
        Campaign { threads, ..Campaign::new(Arc::clone(scenario), profile.clone(), seeds) };
    let begin = Instant::now();
    let run = |plan: &Plan, options: Options| world::run(plan, options);
    let summary = explore(&campaign, &run, &mut |_| true);
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{name:<44} {:>6.2} M events/s {:>8.0} seeds/s {:>7.0} events a seed  {} violations",
        summary.events as f64 / seconds / 1e6,
        summary.seeds as f64 / seconds,
        summary.events as f64 / summary.seeds as f64,
        summary.violations
    );
}

/// How much longer a run takes when every record is kept.
fn trace(scenario: &Arc<Scenario>, profile: &Profile) {
    let plans: Vec<Plan> = (0..300).map(|seed| Plan::generate(scenario, seed, profile)).collect();
    let time = |trace: bool| {
        let begin = Instant::now();
        let records: u64 = plans
            .iter()
            .map(|plan| world::run(plan, Options { trace, ..Options::default() }).records)
            .sum();
        (begin.elapsed().as_secs_f64(), records)
    };
    // In turn, so that both see the same neighbours; the least of each counts.
    let rounds: Vec<(f64, f64)> = (0..7).map(|_| (time(false).0, time(true).0)).collect();
    let off = rounds.iter().map(|round| round.0).fold(f64::MAX, f64::min);
    let on = rounds.iter().map(|round| round.1).fold(f64::MAX, f64::min);
    println!("{:<44} {:>6.1} % slower", "tier 1, with the trace on", (on / off - 1.0) * 100.0);
}

/// Plans of three hosts and ten simulated seconds.
fn whole_runtime(name: &str, engine: Engine, scenario: &Arc<Scenario>, seeds: u64) {
    let horizon = Duration::from_secs(10);
    let profile = Profile {
        engine,
        operations: 500..=500,
        faults: 0..=0,
        horizon: horizon..=horizon,
        ..Profile::new(Mix::Calm)
    };
    let begin = Instant::now();
    let mut records = 0;
    for seed in 0..seeds {
        let mut plan = Plan::generate(scenario, seed, &profile);
        plan.calm = Duration::ZERO;
        let until = Some(plan.heals());
        let outcome = engine.run(&plan, Options { until, ..Options::default() });
        records += outcome.unwrap().records;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{name:<44} {:>6.1} seeds/s on one core, {} records a seed",
        seeds as f64 / seconds,
        records / seeds
    );
}

fn main() {
    let swarm = Profile::new(Mix::Swarm);
    let dense = Profile { operations: 2_000..=2_000, ..swarm.clone() };
    let (pipeline, five) =
        (scenario("examples/pipeline.yaml", 1), scenario("examples/office.yaml", 5));
    campaign("tier 1, pipeline, 1 node, 1 thread", &pipeline, &swarm, 6_000, 1);
    campaign("tier 1, pipeline, 1 node, 2 threads", &pipeline, &swarm, 6_000, 2);
    campaign("tier 1, office, 5 nodes, dense, 1 thread", &five, &dense, 600, 1);
    campaign("tier 1, office, 5 nodes, dense, 2 threads", &five, &dense, 600, 2);
    trace(&pipeline, &swarm);
    let trio = scenario("examples/trio.yaml", 3);
    whole_runtime("tier 1.5, trio, 3 nodes, 10 s", Engine::Virtual, &trio, 60);
    whole_runtime("tier 2, trio, 3 hosts, 10 s, 1 ms ticks", Engine::Turmoil, &trio, 20);
}

//! Parts of the simulator that misbehave within what they may do: it happens, and harms nobody.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use lictor_sim::buggify::{Fired, Point};
use lictor_sim::engine::Engine;
use lictor_sim::outcome::{Options, Queue};
use lictor_sim::plan::{Plan, Profile, Reading};
use lictor_sim::scenario::Scenario;
use lictor_sim::trace::names;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

/// Runs seeds until every point has fired, and checks all of them.
fn all_fire(engine: Engine, file: &str, nodes: usize, most: u64) {
    let scenario = scenario(file, nodes);
    let profile = Profile { engine, ..Profile::default() };
    let mut fired = Fired::default();
    let missing = |fired: Fired| Point::reachable(engine, nodes).find(|p| fired.of(*p) == 0);
    for seed in 0..most {
        if missing(fired).is_none() {
            break;
        }
        let plan = Plan::generate(&scenario, seed, &profile);
        let ran = engine.run(&plan, Options::default()).unwrap();
        let violation = ran.violation.map(|violation| names(&scenario, &violation.to_string()));
        assert_eq!(violation, None, "{file}, seed {seed}");
        fired.merge(&ran.fired);
    }
    assert_eq!(missing(fired), None, "{engine:?}, {file} on {nodes}");
}

#[test]
fn every_point_fires_in_the_kernel_world() {
    all_fire(Engine::Kernel, "examples/pipeline.yaml", 1, 2_000);
    all_fire(Engine::Kernel, "examples/office.yaml", 3, 1_000);
}

#[test]
fn every_point_fires_on_the_virtual_executor() {
    all_fire(Engine::Virtual, "examples/pipeline.yaml", 1, 200);
    all_fire(Engine::Virtual, "examples/trio.yaml", 3, 200);
}

#[test]
fn every_point_fires_on_turmoil() {
    all_fire(Engine::Turmoil, "examples/trio.yaml", 3, 60);
}

#[test]
fn nothing_fires_in_a_plan_that_does_not_want_it() {
    let scenario = scenario("examples/trio.yaml", 3);
    for seed in 0..20 {
        let with = Plan::generate(&scenario, seed, &Profile::default());
        let mut without = with.clone();
        without.knobs.buggify = false;
        let ran = Engine::Kernel.run(&without, Options::default()).unwrap();
        assert_eq!(ran.fired, Fired::default());
        let ran = Engine::Kernel.run(&with, Options::default()).unwrap();
        assert!(with.knobs.buggify || ran.fired == Fired::default(), "seed {seed}");
    }
}

#[test]
fn it_is_the_plan_that_says_where_and_it_is_written_down() {
    let scenario = scenario("examples/pipeline.yaml", 2);
    let wants = |seed| Plan::generate(&scenario, seed, &Profile::default());
    let plan = (0..).map(wants).find(|plan| {
        let fired = Engine::Kernel.run(plan, Options::default()).unwrap().fired;
        fired.of(Point::LateTimer) > 0 && fired.of(Point::ShortQueue) > 0
    });
    let plan = plan.unwrap();
    let text = plan.to_yaml();
    assert!(text.contains("\n  buggify: true\n"), "{text}");
    let again = Plan::read("plan", text.as_bytes(), &Reading::default()).unwrap();
    let digest = |plan: &Plan, queue| {
        let ran = Engine::Kernel.run(plan, Options { queue, ..Options::default() }).unwrap();
        (ran.digest, ran.fired)
    };
    assert_eq!(digest(&plan, Queue::Heap), digest(&again, Queue::Calendar));
    let mut off = plan.clone();
    off.knobs.buggify = false;
    assert_ne!(digest(&plan, Queue::Heap).0, digest(&off, Queue::Heap).0);
}

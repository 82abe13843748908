//! One plan, several engines, one abstract trace.
//!
//! `SEEDS=1000 cargo test --release -p lictor-sim --test parity` compares more; the command is
//! `lictor sim parity`.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::ops::Range;
use std::sync::Arc;

use lictor_sim::engine::{Engine, EngineError};
use lictor_sim::executor::Schedule;
use lictor_sim::fault::Kind;
use lictor_sim::outcome::Options;
use lictor_sim::parity::{self, Verdict};
use lictor_sim::plan::{Plan, Profile, Reading};
use lictor_sim::scenario::Scenario;
use lictor_sim::trace::names;

const TWO: [Engine; 2] = [Engine::Kernel, Engine::Virtual];
const THREE: [Engine; 3] = [Engine::Kernel, Engine::Virtual, Engine::Turmoil];

const TOPOLOGIES: [(&str, usize); 3] =
    [("examples/pipeline.yaml", 1), ("examples/office.yaml", 1), ("examples/trio.yaml", 3)];

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn seeds(usual: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let from = number("FROM").unwrap_or(0);
    from..from + number("SEEDS").unwrap_or(usual)
}

fn agree((file, nodes): (&str, usize), seeds: Range<u64>, engines: &[Engine]) {
    let scenario = scenario(file, nodes);
    let (mut steps, mut bad) = (0, Vec::new());
    for seed in seeds.clone() {
        let plan = parity::plan(&scenario, seed, engines);
        match parity::check(&plan, engines).unwrap() {
            Verdict::Same(n) => steps += n,
            Verdict::Differs(a, b, difference) => {
                bad.push(format!("seed {seed}: {}", difference.text(&plan, a.word(), b.word())));
            }
            Verdict::Meets => panic!("seed {seed}: things meet"),
            Verdict::Violates(engine, violation) => {
                let text = names(&plan.scenario, &violation.to_string());
                bad.push(format!("seed {seed}: {}: {text}", engine.word()));
            }
            _ => unreachable!(),
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(steps as u64 > 50 * (seeds.end - seeds.start), "something happens");
}

#[test]
fn the_model_and_the_runtime_agree_on_a_pipeline() {
    agree(TOPOLOGIES[0], seeds(200), &TWO);
}

#[test]
fn the_model_and_the_runtime_agree_on_an_office() {
    agree(TOPOLOGIES[1], seeds(200), &TWO);
}

#[test]
fn the_model_and_the_runtime_agree_on_three_nodes() {
    agree(TOPOLOGIES[2], seeds(200), &TWO);
}

#[test]
fn all_engines_agree() {
    for topology in TOPOLOGIES {
        agree(topology, seeds(20), &THREE);
    }
}

#[test]
fn a_settled_plan_is_settled() {
    for (file, nodes) in TOPOLOGIES {
        let scenario = scenario(file, nodes);
        for seed in 0..50 {
            let once = parity::plan(&scenario, seed, &TWO);
            let twice = parity::settled(&once, &TWO);
            assert_eq!(once, twice, "{file}, seed {seed}");
        }
    }
}

#[test]
fn a_difference_is_found_and_told() {
    let scenario = scenario("examples/pipeline.yaml", 1);
    let plan = parity::plan(&scenario, 3, &TWO);
    let mut other = plan.clone();
    let last = other.operations.len() / 2;
    other.operations.remove(last);
    let options = Options { trace: true, ..Options::default() };
    let made = [&plan, &other].map(|plan| {
        let ran = Engine::Virtual.run(plan, options).unwrap();
        parity::Abstract::of(plan, &ran.trace)
    });
    assert!(parity::compare(&made[0], &made[0]).is_none());
    let difference = parity::compare(&made[0], &made[1]).unwrap();
    let text = difference.text(&plan, "one", "other");
    assert!(text.contains("one: ") && text.contains("other: "), "{text}");
}

/// Invariants, the same digest twice, and hostile schedules: with the real runtime.
#[test]
fn the_runtime_lives_through_swarms_the_same_way_every_time() {
    for (file, nodes) in TOPOLOGIES {
        let scenario = scenario(file, nodes);
        for seed in seeds(25) {
            let profile = Profile { engine: Engine::Virtual, ..Profile::default() };
            let plan = Plan::generate(&scenario, seed, &profile);
            for schedule in [Schedule::Fifo, Schedule::Seeded(seed), Schedule::pct(seed, 3)] {
                let options = Options { schedule, ..Options::default() };
                let ran = Engine::Virtual.run(&plan, options).unwrap();
                let violation = ran.violation.map(|v| names(&scenario, &v.to_string()));
                assert_eq!(violation, None, "{file}, seed {seed}, {schedule:?}");
                if seed % 5 == 0 {
                    let again = Engine::Virtual.run(&plan, options).unwrap();
                    assert_eq!(ran.digest, again.digest, "{file}, seed {seed}, {schedule:?}");
                }
            }
        }
    }
}

#[test]
fn turmoil_runs_a_plan_the_same_way_every_time() {
    for (file, nodes) in TOPOLOGIES {
        let scenario = scenario(file, nodes);
        for seed in 0..3 {
            let plan = parity::plan(&scenario, seed, &THREE);
            let digest = || Engine::Turmoil.run(&plan, Options::default()).unwrap().digest;
            assert_eq!(digest(), digest(), "{file}, seed {seed}");
        }
    }
}

#[test]
fn an_engine_says_which_fault_it_cannot_do() {
    let scenario = scenario("examples/pipeline.yaml", 1);
    let profile = Profile { engine: Engine::Virtual, ..Profile::default() };
    let plan = (0..).map(|seed| Plan::generate(&scenario, seed, &profile));
    let kind = |plan: &Plan| {
        let mut kinds = plan.faults.iter().map(|fault| fault.kind);
        kinds.find(|kind| !kind.facts().engines.turmoil)
    };
    let plan = plan.into_iter().find(|plan| kind(plan).is_some()).unwrap();
    let kind: Kind = kind(&plan).unwrap();
    let error = Engine::Turmoil.run(&plan, Options::default()).unwrap_err();
    assert_eq!(error, EngineError::NoFault(Engine::Turmoil, kind));
    assert!(error.to_string().contains(kind.facts().name), "{error}");
}

#[test]
fn an_engine_says_which_operation_it_cannot_do_and_that_it_places_nobody() {
    let topology = "topology: { supervision: { children: [{ agent: { name: a, type: t } }] } }";
    let on = |engine: Engine, what: &str| {
        let text = format!("{topology}\nnodes: 2\nhorizon: 1s\n{what}\n");
        let plan = Plan::read("plan.yaml", text.as_bytes(), &Reading::default()).unwrap();
        assert_eq!(Engine::Kernel.can(&plan), Ok(()), "{what}");
        engine.run(&plan, Options::default()).unwrap_err()
    };
    let on_virtual = |what: &str| on(Engine::Virtual, what);
    for (act, word) in [("claim: a", "claim"), ("unclaim: a", "unclaim")] {
        let error = on_virtual(&format!("operations: [{{ at: 1s, {act}, node: 1 }}]"));
        assert_eq!(error, EngineError::NoClaims(Engine::Virtual, word));
        assert!(error.to_string().ends_with(&format!("`{word}`")), "{error}");
    }
    for (act, word) in [("publish: a, to: b", "publish"), ("look: root", "look")] {
        let error = on_virtual(&format!("operations: [{{ at: 1s, {act} }}]"));
        assert_eq!(error, EngineError::NoClaims(Engine::Virtual, word));
    }
    let error = on(Engine::Turmoil, "knobs: { child_lease: 1s }");
    assert_eq!(error, EngineError::NoPlaces(Engine::Turmoil));
    let text = error.to_string();
    let words = ["`child_lease`", "`kernel`", "`virtual`"];
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

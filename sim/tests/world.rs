//! The kernel's own engine, from outside.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_sim::fault::{Fault, Kind, Target};
use lictor_sim::outcome::{Options, Queue};
use lictor_sim::plan::{Act, Knobs, Operation, Plan};
use lictor_sim::record::{NodeIx, Who};
use lictor_sim::scenario::Scenario;
use lictor_sim::stream::{Purpose, Streams};
use lictor_sim::world::run;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn plan(scenario: &Arc<Scenario>, seed: u64) -> Plan {
    let streams = Streams::new(seed);
    let agents: Vec<Who> = scenario
        .all()
        .filter(|(who, _)| scenario.agent(*who).is_some_and(|agent| !agent.pool))
        .map(|(who, _)| who)
        .collect();
    let mut operations = Vec::new();
    for n in 0..1_000_u64 {
        let to = agents[streams.below(Purpose::Plan, 1, n, agents.len() as u64) as usize];
        let at = Instant::from_nanos(streams.below(Purpose::Plan, 2, n, 20_000_000_000));
        let act = if n % 3 == 0 { Act::Ask(to, Duration::from_millis(50)) } else { Act::Tell(to) };
        operations.push(Operation { at, node: NodeIx(0), act });
    }
    operations.sort_by_key(|operation| operation.at);
    let mut faults = Vec::new();
    for n in 0..20_u64 {
        let who = agents[streams.below(Purpose::Plan, 3, n, agents.len() as u64) as usize];
        let at = Instant::from_nanos(streams.below(Purpose::Plan, 4, n, 20_000_000_000));
        let (kind, lasts) = [
            (Kind::Crash, 0),
            (Kind::CrashInStart, 2),
            (Kind::HangInStart, 1),
            (Kind::IgnoreShutdown, 2),
            (Kind::CrashLoop, 3),
            (Kind::CrashAtEdge, 0),
        ][n as usize % 6];
        let amount = if kind == Kind::CrashLoop { 20_000_000 } else { n % 3 };
        let lasts = Duration::from_secs(lasts);
        faults.push(Fault { at, lasts, kind, target: Target::Who(who), amount });
    }
    faults.sort_by_key(|fault| fault.at);
    Plan {
        seed,
        scenario: Arc::clone(scenario),
        horizon: Duration::from_secs(20),
        calm: Duration::from_secs(120),
        operations,
        faults,
        knobs: Knobs::default(),
    }
}

#[test]
fn the_examples_live_through_their_faults() {
    for file in ["examples/pipeline.yaml", "examples/office.yaml"] {
        let scenario = scenario(file, 1);
        for seed in 0..50 {
            let plan = plan(&scenario, seed);
            let outcome = run(&plan, Options::default());
            assert_eq!(outcome.violation, None, "{file}, seed {seed}");
            let other = run(&plan, Options { queue: Queue::Calendar, ..Options::default() });
            assert_eq!(outcome.digest, other.digest);
            println!("{file} {seed}: {} events, {:?}", outcome.events, outcome.marks);
        }
    }
}

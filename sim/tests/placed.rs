//! Agents on other nodes than their supervisors, in the kernel's own engine.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_kernel::ExitReason;
use lictor_sim::marks::{Mark, Marks};
use lictor_sim::outcome::{Options, Outcome, Queue};
use lictor_sim::plan::{Plan, Profile, Reading};
use lictor_sim::record::{Here, NodeIx, What};
use lictor_sim::scenario::Scenario;
use lictor_sim::world::run;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn plan(text: &str) -> Plan {
    Plan::read("p", text.as_bytes(), &Reading::default()).unwrap()
}

fn traced(plan: &Plan) -> Outcome {
    run(plan, Options { trace: true, ..Options::default() })
}

/// Invariants: S9, S10, L1, L3, L5; and those of every supervisor.
#[test]
fn what_is_placed_lives_through_its_faults() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let mut marks = Marks::default();
    for (file, nodes, place) in [
        ("examples/spread.yaml", 2, false),
        ("examples/spread.yaml", 3, false),
        ("examples/cluster.yaml", 3, false),
        ("examples/office.yaml", 3, true),
    ] {
        let scenario = scenario(file, nodes);
        let mut bad = BTreeMap::new();
        for seed in 0..seeds {
            let profile = Profile { place, ..Profile::default() };
            let plan = Plan::generate(&scenario, seed, &profile);
            let again = plan_again(&plan);
            assert!(plan == again, "{file}, seed {seed}: it reads as it was written");
            let outcome = run(&plan, Options::default());
            marks.merge(outcome.marks);
            if let Some(violation) = &outcome.violation {
                bad.entry(violation.invariant).or_insert_with(|| format!("{seed}: {violation}"));
            }
            if seed % 8 == 0 {
                let options = Options { queue: Queue::Calendar, model: true, ..Options::default() };
                let other = run(&plan, options);
                assert_eq!(outcome.violation, other.violation, "{file}, seed {seed}");
                assert_eq!(outcome.digest, other.digest, "{file}, seed {seed}");
            }
        }
        assert!(bad.is_empty(), "{file} on {nodes}: {bad:#?}");
    }
    for mark in [
        Mark::PlacedRestarted,
        Mark::FenceWaited,
        Mark::LeaseRanOut,
        Mark::StaleAnswer,
        Mark::HostRebooted,
    ] {
        assert!(marks.has(mark), "{mark:?}");
    }
}

fn plan_again(plan: &Plan) -> Plan {
    plan_of(&plan.to_yaml())
}

fn plan_of(text: &str) -> Plan {
    Plan::read("again", text.as_bytes(), &Reading::default()).unwrap()
}

const TILL: &str = "
topology:
  transport: { type: zmq, zmq: { pub_addr: tcp://127.0.0.1:5559, sub_addr: tcp://127.0.0.1:5560 } }
  processes: { vault: {} }
  supervision:
    max_restarts: 10
    backoff: NONE
    children: [{ agent: { name: till, type: lictor.echo, process: vault } }]
nodes: 2
";

/// A host that had given a name back kept what was left of its lease, and began the next process
/// under it: it was killed a moment later, and a start by command had failed for good.
#[test]
fn a_start_does_not_begin_under_what_is_left_of_a_lease() {
    let plan = plan(&format!(
        "{TILL}
seed: 1492
horizon: 2.533s
knobs: {{ start: [17.255us, 24.878085ms], latency: 4.38853ms, child_lease: 175.5412ms }}
operations: [{{ at: 2.357s, terminate: till }}, {{ at: 2.533s, restart: till }}]
"
    ));
    let ran = traced(&plan);
    assert_eq!(ran.violation, None);
    let told = |what: What| matches!(what, What::Here(_, Here::Told(_)));
    let ends = ran.trace.iter().filter(|record| told(record.what)).count();
    assert_eq!(ends, 2, "it was told to end by the first operation, and at the last stop");
}

/// A boot that is taken for dead lives on with the timers of its agents, and had a node's number
/// that the world does not have.
#[test]
fn a_timer_of_a_boot_that_is_taken_for_dead_does_no_harm() {
    let plan = plan(&format!(
        "{TILL}
seed: 1
horizon: 2s
knobs: {{ child_lease: 1s }}
operations: [{{ at: 850ms, send_after: till, delay: 100ms }}]
faults: [{{ at: 900ms, outlive: 1, lasts: 200ms }}]
"
    ));
    let ran = traced(&plan);
    assert_eq!(ran.violation, None);
    assert!(ran.trace.iter().any(|record| matches!(record.what, What::Outlives(..))));
}

/// The promise of H16 ends where the clock of the owner runs faster than the margin allows.
#[test]
fn a_clock_beyond_the_margin_is_found() {
    let with = |drift: &str| {
        traced(&plan(&format!(
            "{TILL}
horizon: 8s
knobs: {{ child_lease: 1s, latency: 1ms }}
faults:
  - {{ at: 10ms, drift: 0, amount: {drift}, lasts: 7s }}
  - {{ at: 2s, outlive: 1, lasts: 4s }}
"
        )))
    };
    assert_eq!(with("10%").violation, None);
    let violation = with("60%").violation.unwrap();
    assert_eq!(violation.invariant, "S10", "{violation}");
}

/// What a boot that is taken for dead runs goes on until its lease is over, and no longer; the next
/// process of the name begins after that, on the new boot.
#[test]
fn an_older_boot_keeps_its_lease_and_no_more() {
    let plan = plan(&format!(
        "{TILL}
horizon: 8s
knobs: {{ child_lease: 1s, latency: 1ms }}
faults: [{{ at: 2s, outlive: 1, lasts: 4s }}]
"
    ));
    let ran = traced(&plan);
    assert_eq!(ran.violation, None);
    let of = |node: u8, here: fn(Here) -> bool| {
        let is_it = move |what: What| matches!(what, What::Here(_, it) if here(it));
        let all = ran.trace.iter().filter(move |r| r.node == NodeIx(node) && is_it(r.what));
        all.map(|record| record.at).collect::<Vec<_>>()
    };
    let ended = of(3, |here| matches!(here, Here::Ended(_)));
    let begun = of(1, |here| matches!(here, Here::Begins(_)));
    assert_eq!((ended.len(), begun.len()), (1, 2));
    assert!(ended[0] > plan.faults[0].at && ended[0] < begun[1], "{ended:?} {begun:?}");
    assert!(ran.marks.has(Mark::FenceWaited) && ran.marks.has(Mark::LeaseRanOut));
}

/// An outage within a lease costs a child at most one crash, and one that lasts no longer than
/// nobody is missed costs none: what begins after it has a whole lease before it. (Rule H6)
#[test]
fn an_outage_within_a_lease_costs_one_crash_at_most() {
    let mut lost = [0; 2];
    for seed in 0..40_u64 {
        for lasts in [300, 1_500, 2_500, 3_500, 4_300, 4_900] {
            // At any moment between two questions for a lease.
            let at = 3_000 + 37 * seed;
            let ran = traced(&plan(&format!(
                "{TILL}
seed: {seed}
horizon: 12s
knobs: {{ child_lease: 5s, latency: 1ms }}
faults: [{{ at: {at}ms, partition: [0, 1], lasts: {lasts}ms }}]
"
            )));
            assert_eq!(ran.violation, None, "seed {seed}, {lasts} ms");
            let of_loss = |what: What| matches!(what, What::Exited(_, ExitReason::NoConnection));
            // The last stop comes after it.
            let before = ran.trace.iter().take_while(|record| record.what != What::Calm);
            let crashes = before.filter(|record| of_loss(record.what)).count();
            assert!(crashes <= 1, "{crashes} crashes by one outage of {lasts} ms, seed {seed}");
            lost[crashes] += 1;
        }
    }
    assert!(lost.iter().all(|runs| *runs > 30), "{lost:?}");
}

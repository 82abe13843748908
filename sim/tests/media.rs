//! Worlds with a broker between their nodes.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_sim::broker::Medium;
use lictor_sim::fault::Group;
use lictor_sim::marks::{Mark, Marks};
use lictor_sim::outcome::{Options, Queue};
use lictor_sim::plan::{Mix, Plan, Profile, Reading};
use lictor_sim::record::{Fate, What};
use lictor_sim::scenario::Scenario;
use lictor_sim::world::run;

fn scenario(file: &str, nodes: usize) -> Arc<Scenario> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read(path).unwrap();
    let topology = lictor_topology::parse(file, &text, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(30)
}

#[test]
fn every_medium_lives_through_its_faults() {
    for file in ["examples/pipeline.yaml", "examples/office.yaml"] {
        let scenario = scenario(file, 3);
        let mut plans: BTreeMap<Medium, u64> = BTreeMap::new();
        let mut marks = Marks::default();
        for mix in [Mix::Swarm, Mix::Only(Group::Broker)] {
            for seed in 0..seeds() {
                let plan = Plan::generate(&scenario, seed, &Profile::new(mix));
                *plans.entry(plan.knobs.medium).or_default() += 1;
                let ran = run(&plan, Options::default());
                assert_eq!(ran.violation, None, "{file} seed {seed} {:?}", plan.knobs.medium);
                if seed % 8 == 0 {
                    let queue = Queue::Calendar;
                    let other = run(&plan, Options { queue, ..Options::default() });
                    assert_eq!(ran.digest, other.digest);
                }
                if plan.knobs.medium != Medium::Direct {
                    marks.merge(ran.marks);
                }
            }
        }
        assert_eq!(plans.len(), Medium::ALL.len(), "{plans:?}");
        assert!(marks.has(Mark::Reconnected) && marks.has(Mark::DuplicateSuppressed), "{marks:?}");
    }
}

/// What becomes of messages that are sent while their receiver is cut off: node 0 has `a`, node 1
/// has `b`.
fn fates(medium: Medium, fault: &str) -> BTreeMap<&'static str, u32> {
    let tells: String =
        (0..20).map(|n| format!("  - {{ at: {}ms, tell: b }}\n", 2_000 + 10 * n)).collect();
    let text = format!(
        "topology: {{ supervision: {{ children: [{{ agent: {{ name: a, type: t }} }}, {{ agent: \
         {{ name: b, type: t }} }}] }} }}\nnodes: 2\nhorizon: 6s\nknobs: {{ medium: {} }}\n\
         operations:\n{tells}faults:\n  - {{ {fault} }}\n",
        medium.word()
    );
    let plan = Plan::read("plan", text.as_bytes(), &Reading::default()).unwrap();
    let ran = run(&plan, Options { trace: true, ..Options::default() });
    assert_eq!(ran.violation, None);
    let mut fates = BTreeMap::new();
    for record in &ran.trace {
        if let What::Ended(_, fate) = record.what {
            let word = match fate {
                Fate::Handled => "handled",
                Fate::Lost => "lost",
                _ => "other",
            };
            *fates.entry(word).or_default() += 1;
        }
    }
    fates
}

// Guarantees: BK3, BK8.
#[test]
fn only_a_stream_keeps_what_is_sent_to_a_node_that_is_cut_off() {
    let cut = "at: 1.999s, isolate: 1, lasts: 300ms";
    for medium in [Medium::NatsCore, Medium::ZeroMq] {
        assert_eq!(fates(medium, cut), BTreeMap::from([("lost", 20)]), "{medium:?}");
    }
    assert_eq!(fates(Medium::JetStream, cut), BTreeMap::from([("handled", 20)]));
}

// Guarantees: BK7, BK8, BK13.
#[test]
fn a_restart_loses_what_the_broker_cannot_keep() {
    let without = "at: 2.1s, restart_broker: everywhere, amount: 0";
    let with = "at: 2.1s, restart_broker: everywhere, amount: 1";
    for medium in [Medium::NatsCore, Medium::ZeroMq] {
        let fates = fates(medium, with);
        assert!(fates["lost"] > 0 && fates["handled"] > 0, "{medium:?} {fates:?}");
    }
    assert_eq!(fates(Medium::JetStream, with), BTreeMap::from([("handled", 20)]));
    // Publishers repeat what was not acknowledged, so little is lost: what was stored and not yet
    // handled.
    assert!(fates(Medium::JetStream, without)["handled"] >= 18);
}

// Guarantees: BK8, BK10.
#[test]
fn a_stream_gives_a_crash_back_what_was_not_handled() {
    let crash = "at: 2.1s, power_loss: 1, lasts: 500ms";
    let kept = fates(Medium::JetStream, crash);
    assert_eq!(kept, BTreeMap::from([("handled", 20)]));
    assert!(fates(Medium::NatsCore, crash)["lost"] > 0);
}

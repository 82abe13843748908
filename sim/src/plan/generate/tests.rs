use std::collections::BTreeSet;

use super::*;
use crate::fault::Group;
use crate::plan::Act;

const TREE: &[u8] = b"
supervision:
  max_restarts: 3
  restart_window: 5s
  backoff: NONE
  children:
    - supervisor:
        name: inner
        strategy: ONE_FOR_ALL
        max_restarts: 2
        restart_window: 2s
        children:
          - agent: { name: a, type: t, start_timeout: 100ms, mailbox_size: 4 }
          - agent: { name: b, type: t }
          - agent: { name: c, type: t }
    - { type: dynamic_supervisor, name: pool }
    - agent: { name: d, type: t, capabilities: [speak] }
";

fn scenario(nodes: usize) -> Arc<Scenario> {
    let topology = lictor_topology::parse("t.yaml", TREE, &lictor_topology::Options::default());
    Arc::new(Scenario::new(topology.unwrap(), nodes).unwrap())
}

fn plans(mix: Mix, nodes: usize) -> impl Iterator<Item = Plan> {
    let (scenario, profile) = (scenario(nodes), Profile::new(mix));
    (0..600).map(move |seed| Plan::generate(&scenario, seed, &profile))
}

#[test]
fn a_seed_is_a_plan() {
    let profile = Profile::default();
    let (one, other) = (scenario(2), scenario(2));
    for seed in 0..50 {
        assert_eq!(Plan::generate(&one, seed, &profile), Plan::generate(&other, seed, &profile));
    }
    assert_ne!(
        Plan::generate(&one, 1, &profile).operations,
        Plan::generate(&one, 2, &profile).operations
    );
}

#[test]
fn plans_keep_their_bounds() {
    for (mix, nodes) in [(Mix::Swarm, 1), (Mix::Swarm, 3), (Mix::Parity, 2)] {
        for plan in plans(mix, nodes) {
            let heals = plan.heals();
            assert!(plan.operations.is_sorted_by_key(|operation| operation.at));
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
            assert!(plan.operations.iter().all(|operation| operation.at <= heals));
            assert!(plan.operations.len() <= 1_050 && plan.faults.len() <= 80);
            for fault in &plan.faults {
                let facts = fault.kind.facts();
                assert!(fault.ends() <= heals, "{fault:?}");
                assert!(facts.engines.kernel, "{fault:?}");
                assert!(facts.lasts || fault.lasts.is_zero(), "{fault:?}");
                assert!(fault.kind.amounts().contains(&fault.amount), "{fault:?}");
                let link = matches!(fault.target, crate::fault::Target::Link(a, b) if a == b);
                assert!(!link, "{fault:?}");
            }
        }
    }
}

#[test]
fn every_kind_that_the_kernel_world_has_comes() {
    // Some want a node that runs something for another.
    let (scenario, profile) = (scenario(3), Profile { place: true, ..Profile::new(Mix::Swarm) });
    let placed = (0..600).map(|seed| Plan::generate(&scenario, seed, &profile));
    let all = plans(Mix::Swarm, 3).chain(placed);
    let seen: BTreeSet<Kind> = all.flat_map(|plan| plan.faults).map(|fault| fault.kind).collect();
    for kind in Kind::ALL.iter().filter(|kind| kind.facts().engines.kernel) {
        assert!(seen.contains(kind), "no seed has {kind:?}");
    }
    let of_one_node = plans(Mix::Swarm, 1).flat_map(|plan| plan.faults);
    for fault in of_one_node {
        let group = fault.kind.facts().group;
        assert!(!matches!(group, Group::Network | Group::Connection | Group::Broker));
    }
    assert!(plans(Mix::Calm, 3).all(|plan| plan.faults.is_empty()));
}

#[test]
fn every_act_comes_and_names_are_reused() {
    let mut words = BTreeSet::new();
    let mut reused = 0;
    for plan in plans(Mix::Swarm, 1) {
        let mut gone = BTreeSet::new();
        let mut again = false;
        for operation in &plan.operations {
            words.insert(format!("{:?}", operation.act).split('(').next().unwrap().to_owned());
            if let Act::Despawn(who) = operation.act {
                gone.insert(who);
            }
            again |= matches!(operation.act, Act::Spawn(who) if gone.contains(&who));
        }
        reused += usize::from(again);
    }
    assert_eq!(words.len(), 16, "{words:?}");
    assert!(reused > 100, "names are reused in {reused} of 600 plans");
}

#[test]
fn rare_things_are_not_rare() {
    let mut together = 0;
    let mut edges = 0;
    for plan in plans(Mix::Swarm, 1) {
        let crashes: Vec<_> =
            plan.faults.iter().filter(|fault| fault.kind == Kind::Crash).collect();
        together += usize::from(
            crashes
                .windows(2)
                .any(|pair| pair[0].at == pair[1].at && pair[0].target != pair[1].target),
        );
        let at_edge = |fault: &&Fault| {
            fault.kind == Kind::CrashAtEdge
                || crashes.iter().any(|first| {
                    let since = fault.at.saturating_since(first.at);
                    since == Duration::from_secs(2) || since == Duration::from_secs(5)
                })
        };
        edges += usize::from(plan.faults.iter().any(|fault| at_edge(&fault)));
    }
    assert!(together > 30, "{together} of 600 plans have simultaneous crashes");
    assert!(edges > 60, "{edges} of 600 plans have a crash at an edge");
}

#[test]
fn parity_keeps_everything_apart() {
    for plan in plans(Mix::Parity, 2) {
        let faults = plan.faults.iter().flat_map(|fault| [fault.at, fault.ends()]);
        let operations = plan.operations.iter().map(|operation| operation.at);
        let mut times: Vec<u64> = faults.chain(operations).map(Instant::as_nanos).collect();
        assert!(times.iter().all(|at| at % 1_000_000 == 0));
        times.sort_unstable();
        times.dedup();
        let least = parity::APART * 1_000_000;
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= least), "{times:?}");
        let all = |fault: &Fault| {
            let engines = fault.kind.facts().engines;
            engines.kernel && engines.virtual_executor && engines.turmoil
        };
        assert!(plan.faults.iter().all(all));
    }
}

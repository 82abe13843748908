use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::fault::{Kind, Target};
use crate::plan::{Act, Knobs, Mix, Profile, Reading};
use crate::record::Who;
use crate::scenario::Scenario;

const TREE: &[u8] = b"
supervision:
  children:
    - supervisor:
        name: inner
        children:
          - agent: { name: a, type: t }
          - agent: { name: b, type: lictor.ticker, config: { to: a, rate: 5 } }
          - agent: { name: c, type: t }
    - { type: dynamic_supervisor, name: pool }
    - supervisor:
        name: other
        children:
          - agent: { name: d, type: t }
          - agent: { name: e, type: lictor.flaky, config: { crash_every: 3 } }
";

fn plans() -> impl Iterator<Item = Plan> {
    let topology = lictor_topology::parse("t.yaml", TREE, &lictor_topology::Options::default());
    let scenario = Arc::new(Scenario::new(topology.unwrap(), 3).unwrap());
    (0..200).map(move |seed| Plan::generate(&scenario, seed, &Profile::new(Mix::Swarm)))
}

fn all<'a>(budget: u64, go_on: &'a mut dyn FnMut() -> bool) -> Budget<'a> {
    Budget { runs: budget, go_on }
}

fn is(plan: &Plan, who: Who, name: &str) -> bool {
    plan.scenario.entity(who).name == name
}

/// Fails if `e` crashes at some time and `a` is told something after that.
fn crash_then_tell(plan: &Plan) -> Option<&'static str> {
    let crashes = plan.faults.iter().filter(|fault| {
        matches!(fault.target, Target::Who(who) if is(plan, who, "e")) && fault.kind == Kind::Crash
    });
    let first = crashes.map(|fault| fault.at).min()?;
    let told = |who| is(plan, who, "a");
    let tells = plan
        .operations
        .iter()
        .any(|op| op.at > first && matches!(op.act, Act::Tell(who) if told(who)));
    tells.then_some("S1")
}

#[test]
fn what_is_left_is_what_is_needed() {
    let mut shrunk = 0;
    for plan in plans().filter(|plan| crash_then_tell(plan).is_some()) {
        let mut go_on = || true;
        let result = shrink(&plan, &mut crash_then_tell, "S1", all(5_000, &mut go_on));
        assert!(result.reproduced && result.minimal);
        assert!(result.runs < 300, "{} runs for {:?}", result.runs, plan.size());
        let small = &result.plan;
        assert_eq!(small.size(), (1, 1, 1), "one fault, one operation, one node");
        assert_eq!(crash_then_tell(small), Some("S1"));
        // Two agents, two supervisors and the root: the pool and the others are gone.
        assert_eq!(small.scenario.len(), 5);
        assert_eq!(small.knobs, Knobs::default());
        assert!(small.horizon <= Duration::from_secs(1), "{:?}", small.horizon);
        assert!(small.calm >= small.calm_needed());
        let text = small.to_yaml();
        assert_eq!(&Plan::read("p", text.as_bytes(), &Reading::default()).unwrap(), small);
        assert!(!text.contains("config"), "settings go, too: {text}");
        shrunk += 1;
    }
    assert!(shrunk > 10, "{shrunk} of 200 plans fail");
}

#[test]
fn the_same_plan_shrinks_the_same_way() {
    let plan = plans().find(|plan| crash_then_tell(plan).is_some()).unwrap();
    let (mut go, mut on) = (|| true, || true);
    let one = shrink(&plan, &mut crash_then_tell, "S1", all(5_000, &mut go));
    let other = shrink(&plan, &mut crash_then_tell, "S1", all(5_000, &mut on));
    assert_eq!(one, other);
}

#[test]
fn another_invariant_is_not_this_one() {
    // With many operations the plan fails in one way, with few in another.
    let mut fails = |plan: &Plan| if plan.operations.len() >= 50 { Some("S1") } else { Some("S2") };
    let plan = plans().find(|plan| plan.operations.len() > 200).unwrap();
    let mut go_on = || true;
    let result = shrink(&plan, &mut fails, "S1", all(5_000, &mut go_on));
    assert_eq!(result.plan.operations.len(), 50);
    assert!(result.plan.faults.is_empty());
}

#[test]
fn amounts_and_times_get_small_and_round() {
    let strong = |fault: &crate::fault::Fault| {
        fault.kind == Kind::Slow
            && fault.amount > 3_000_000
            && fault.lasts > Duration::from_millis(7)
            && fault.at > lictor_kernel::Instant::from_millis(300)
    };
    let mut fails = |plan: &Plan| plan.faults.iter().any(strong).then_some("L4");
    let plan = plans().find(|plan| plan.faults.iter().any(strong)).unwrap();
    let mut go_on = || true;
    let result = shrink(&plan, &mut fails, "L4", all(5_000, &mut go_on));
    let fault = result.plan.faults[0];
    assert!(fault.amount < 7_000_000 && fault.lasts < Duration::from_millis(15), "{fault:?}");
    assert_eq!(fault.at, lictor_kernel::Instant::from_secs(1));
    assert!(fault.amount.is_multiple_of(1_000_000), "{fault:?}");
}

#[test]
fn a_budget_is_kept_and_what_does_not_fail_is_left_alone() {
    let plan = plans().find(|plan| crash_then_tell(plan).is_some()).unwrap();
    let mut go_on = || true;
    let result = shrink(&plan, &mut crash_then_tell, "S1", all(7, &mut go_on));
    assert_eq!(result.runs, 7);
    assert!(!result.minimal && crash_then_tell(&result.plan).is_some());
    let mut left = 5;
    let mut go_on = || {
        left -= 1;
        left >= 0
    };
    let result = shrink(&plan, &mut crash_then_tell, "S1", all(1_000, &mut go_on));
    assert_eq!(result.runs, 5);
    let mut go_on = || true;
    let result = shrink(&plan, &mut |_| None, "S1", all(1_000, &mut go_on));
    assert!(!result.reproduced && result.runs == 1 && result.plan == plan);
}

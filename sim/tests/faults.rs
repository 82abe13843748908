//! Every fault that an engine says it has comes to something there, and no invariant to grief.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use lictor_kernel::Instant;
use lictor_sim::engine::Engine;
use lictor_sim::fault::{Facts, Group, Kind, Place, Unit};
use lictor_sim::marks::Mark;
use lictor_sim::outcome::{Options, Outcome};
use lictor_sim::plan::{Plan, Reading, share_text};
use lictor_sim::record::{NodeIx, Record, What};

/// `a`, `b` and `c` under one supervisor on node 0, `d` on node 1, `e` on node 2.
const TOPOLOGY: &str = "topology:
  supervision:
    backoff: NONE
    children:
      - supervisor:
          name: all
          strategy: ONE_FOR_ALL
          backoff: NONE
          max_restarts: 10
          restart_window: 1s
          children:
            - agent: { name: a, type: t, mailbox_size: 50 }
            - agent: { name: b, type: t }
            - agent: { name: c, type: t }
      - agent: { name: d, type: t }
      - agent: { name: e, type: t }
";

/// Traffic all the time, and a crash for which everything is stopped and started.
fn plan(medium: &str, operations: &str, faults: &str) -> Plan {
    let mut text = format!(
        "{TOPOLOGY}nodes: 3\nhorizon: 10s\nknobs: {{ medium: {medium}, latency: [4ms, 20ms] }}\n\
         operations:\n  - {{ at: 2.5s, end: c, reason: crashed }}\n  - {{ at: 4.01s, end: d, reason: \
         crashed }}\n{operations}"
    );
    for number in 0..100 {
        let at = 1_000 + 60 * number;
        text += &format!(
            "  - {{ at: {at}ms, tell: a }}\n  - {{ at: {at}ms, ask: d, timeout: 200ms }}\n  \
             - {{ at: {at}ms, tell: e, node: 1 }}\n"
        );
    }
    for _ in 0..40 {
        text += "  - { at: 4s, tell: d }\n";
    }
    text += &format!("faults:\n{faults}");
    Plan::read("plan", text.as_bytes(), &Reading::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn traced(plan: &Plan) -> Outcome {
    traced_on(Engine::Kernel, plan)
}

fn traced_on(engine: Engine, plan: &Plan) -> Outcome {
    let ran = engine.run(plan, Options { trace: true, ..Options::default() }).unwrap();
    assert_eq!(ran.violation, None, "{engine:?}: {}", plan.to_yaml());
    ran
}

/// Everything but the fault itself, and how much was done for it.
fn effects(engine: Engine, plan: &Plan) -> (Vec<Record>, Option<u64>) {
    let ran = traced_on(engine, plan);
    // A wake for nothing leaves no record: it is a poll more.
    let polls = (engine == Engine::Virtual).then_some(ran.events);
    let mut records = ran.trace;
    records.retain(|record| !matches!(record.what, What::Fault(..)));
    (records, polls)
}

fn medium_of(kind: Kind) -> &'static str {
    match kind {
        Kind::SlowConsumer | Kind::RestartBroker => "nats",
        Kind::Redeliver => "jetstream",
        Kind::HighWater => "zeromq",
        _ => "direct",
    }
}

fn line(kind: Kind) -> String {
    let Facts { name, place, lasts, amount, .. } = kind.facts();
    let place = match place {
        Place::World => "everywhere",
        Place::Node => "1",
        Place::Link => "[0, 1]",
        Place::Agent => "a",
        Place::Supervisor => "all",
    };
    let amount = match amount {
        Unit::None => String::new(),
        Unit::PerMillion => format!(", amount: {}", share_text(500_000)),
        Unit::Time => ", amount: 70ms".to_owned(),
        Unit::Count if kind == Kind::FillMailbox => ", amount: 60".to_owned(),
        Unit::Count => ", amount: 1".to_owned(),
    };
    let (at, lasts) = if lasts { ("2s", ", lasts: 4s") } else { ("4.01s", "") };
    format!("  - {{ at: {at}, {name}: {place}{amount}{lasts} }}\n")
}

/// What comes to something only by records that say so.
fn baseline(kind: Kind) -> String {
    // With a store there are records of what was found in it.
    let fault = "  - { at: 9.9s, corrupt_store: 2, amount: 100%, lasts: 1ms }\n";
    let of_store = kind.facts().group == Group::Storage;
    if of_store { fault.to_owned() } else { "  []\n".to_owned() }
}

fn every_kind_comes_to_something(engine: Engine) {
    let mut idle = Vec::new();
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.facts().engines.has(engine)) {
        let medium = medium_of(kind);
        let with = effects(engine, &plan(medium, "", &line(kind)));
        let without = effects(engine, &plan(medium, "", &baseline(kind)));
        // The order of tasks is nobody's business but theirs: see `a_starved_task_runs_when_nobody_else_does` of the
        // executor.
        if with == without && kind != Kind::Starve {
            idle.push(line(kind));
        }
    }
    assert!(idle.is_empty(), "these change nothing on {engine:?}: {idle:?}");
}

#[test]
fn every_kind_of_the_kernel_world_comes_to_something() {
    every_kind_comes_to_something(Engine::Kernel);
}

#[test]
fn every_kind_of_the_virtual_executor_comes_to_something() {
    every_kind_comes_to_something(Engine::Virtual);
}

#[test]
fn every_kind_of_turmoil_comes_to_something() {
    every_kind_comes_to_something(Engine::Turmoil);
}

#[test]
fn no_kind_is_without_an_engine() {
    for kind in Kind::ALL {
        let engines = kind.facts().engines;
        assert!(Engine::ALL.iter().any(|engine| engines.has(*engine)), "{kind:?}");
    }
}

fn ends(ran: &Outcome, name: u16) -> Vec<Instant> {
    let of = |record: &Record| match record.what {
        What::Exited(process, reason) if process.who.0 == name => {
            (reason == lictor_kernel::ExitReason::Crashed).then_some(record.at)
        }
        _ => None,
    };
    ran.trace.iter().filter_map(of).collect()
}

#[test]
fn while_a_supervisor_stops_a_child_another_one_crashes() {
    let ran = traced(&plan("direct", "", "  - { at: 2s, crash_in_sweep: all, lasts: 1s }\n"));
    assert!(ran.marks.has(Mark::FailureMidSweep));
    // The sweep goes from `c`, which crashed, to `b`: when that is told to stop, `a` crashes.
    let at = Instant::from_millis(2_500);
    assert!(ends(&ran, 2).contains(&at), "{:?}", ends(&ran, 2));
}

#[test]
fn an_end_that_is_told_twice_is_stale() {
    let ran = traced(&plan("direct", "", "  - { at: 5s, repeat_exit: c }\n"));
    assert!(ran.marks.has(Mark::StaleFact));
    let stale = ran.trace.iter().find(|record| matches!(record.what, What::Stale(_)));
    assert_eq!(stale.map(|record| record.at), Some(Instant::from_secs(5)));
}

/// Where each other node sees `d` in the end.
fn seen(plan: &Plan) -> Vec<(u8, Option<NodeIx>)> {
    let ran = traced(plan);
    let of = |record: &Record| match record.what {
        What::Sees(who, sees) if plan.scenario.entity(who).name == "d" => {
            Some((record.node.0, sees))
        }
        _ => None,
    };
    ran.trace.iter().filter_map(of).collect()
}

#[test]
fn when_two_nodes_claim_a_name_the_others_agree_until_one_gives_it_up() {
    let claim = "  - { at: 3s, claim: d, node: 0 }\n";
    let unclaim = "  - { at: 6s, unclaim: d, node: 0 }\n";
    let disputed = seen(&plan("direct", claim, "  []\n"));
    assert_eq!(disputed.len(), 1, "of three nodes, one is neither: {disputed:?}");
    let settled = seen(&plan("direct", &format!("{claim}{unclaim}"), "  []\n"));
    let owner = Some(NodeIx(1));
    assert_eq!(settled, [(0, owner), (2, owner)]);
    // The claimant boots anew, and has the greater epoch when it claims: it wins by the rule.
    let crash = "  - { at: 1s, crash_node: 0, lasts: 500ms }\n";
    assert_eq!(seen(&plan("direct", claim, crash)), [(2, Some(NodeIx(0)))]);
}

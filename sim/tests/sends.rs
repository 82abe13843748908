//! What plans send as users do, on every engine that can: with a time to live, by a timer, to whom
//! a pattern or a capability means.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use lictor_sim::engine::Engine;
use lictor_sim::outcome::{Options, Outcome};
use lictor_sim::plan::{Plan, Reading};
use lictor_sim::record::{Fate, MessageId, Shown, What};

const TREE: &str = "topology:
  supervision:
    name: root
    max_restarts: 9
    backoff: constant
    backoff_base: 50ms
    children:
      - agent: { name: a, type: t, capabilities: [speak] }
      - agent: { name: b, type: t, capabilities: [speak], restart: permanent }
      - agent: { name: c, type: t }
      - agent: { name: d, type: t, capabilities: [speak] }
horizon: 2s
knobs: { handle: 10ms, start: 1ms, stop: 1ms }
operations:
";

fn run(engine: Engine, operations: &str) -> (Plan, Outcome) {
    let text = format!("{TREE}{operations}");
    let plan = Plan::read("p", text.as_bytes(), &Reading::default()).unwrap();
    let options = Options { trace: true, ..Options::default() };
    let outcome = engine.run(&plan, options).unwrap();
    assert_eq!(outcome.violation, None, "{engine:?}");
    (plan, outcome)
}

/// How the message of each operation ended, in the order of operations; `None` if it was not sent.
fn fates(outcome: &Outcome, operations: u32) -> Vec<Option<Fate>> {
    let fate = |number| {
        outcome.trace.iter().find_map(|record| match record.what {
            What::Ended(id, fate) if id == MessageId::of_operation(number) => Some(fate),
            _ => None,
        })
    };
    (0..operations).map(fate).collect()
}

/// To whom messages were sent, in order.
fn receivers(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let name = |who| plan.scenario.entity(who).name.clone();
    let sent = outcome.trace.iter().filter_map(|record| match record.what {
        What::Sent(_, who, _) => Some(name(who)),
        _ => None,
    });
    sent.collect()
}

const REAL: [Engine; 2] = [Engine::Kernel, Engine::Virtual];

#[test]
fn what_is_over_when_its_turn_comes_is_a_dead_letter() {
    for engine in REAL {
        let (_, outcome) = run(
            engine,
            "  - { at: 100ms, tell: a }\n  - { at: 100ms, tell: a, ttl: 5ms }\n  \
               - { at: 100ms, tell: a, ttl: 50ms }\n  - { at: 300ms, tell: a, ttl: 1ns }\n",
        );
        let (handled, expired) = (Some(Fate::Handled), Some(Fate::Expired));
        assert_eq!(fates(&outcome, 4), [handled, expired, handled, handled], "{engine:?}");
    }
}

#[test]
fn a_timer_ends_with_its_incarnation() {
    for engine in REAL {
        // The first two wait behind a message at the crash; the third has yet to come then; the
        // last is set by the next incarnation.
        let (_, outcome) = run(
            engine,
            "  - { at: 100ms, send_after: b, delay: 50ms }\n  \
               - { at: 100ms, send_after: b, delay: 51ms }\n  \
               - { at: 100ms, send_after: b, delay: 200ms }\n  \
               - { at: 149ms, tell: b }\n  - { at: 155ms, end: b, reason: crashed }\n  \
               - { at: 400ms, send_after: b, delay: 1ms }\n",
        );
        let (dead, handled) = (Some(Fate::DeadLetter), Some(Fate::Handled));
        let crashed = Some(Fate::Crashed);
        let expected = [dead, dead, None, crashed, None, handled];
        assert_eq!(fates(&outcome, 6), expected, "{engine:?}");
    }
}

#[test]
fn those_that_offer_something_take_turns() {
    for engine in REAL {
        let (plan, outcome) = run(
            engine,
            "  - { at: 100ms, tell_capable: speak }\n  - { at: 100ms, tell_capable: speak }\n  \
               - { at: 100ms, tell_capable: speak }\n  - { at: 100ms, tell_capable: speak }\n  \
               - { at: 150ms, suspend: b }\n  - { at: 200ms, tell_capable: speak }\n  \
               - { at: 200ms, tell_capable: sing }\n",
        );
        assert_eq!(receivers(&plan, &outcome), ["a", "b", "d", "a", "d"], "{engine:?}");
    }
}

#[test]
fn what_an_agent_publishes_comes_to_all_others_that_match() {
    let operations = "  - { at: 100ms, publish: b, to: \"*\" }\n  \
                      - { at: 200ms, publish: b, to: \"[!d]*\" }\n";
    let (plan, outcome) = run(Engine::Kernel, operations);
    assert_eq!(receivers(&plan, &outcome), ["a", "c", "d", "a", "c"]);
}

#[test]
fn a_supervisor_shows_its_children() {
    let operations = "  - { at: 100ms, end: b, reason: crashed }\n  - { at: 120ms, look: root }\n";
    let (plan, outcome) = run(Engine::Kernel, operations);
    let shown = outcome.trace.iter().filter_map(|record| match record.what {
        What::Shows(who, shown) => Some((plan.scenario.entity(who).name.as_str(), shown)),
        _ => None,
    });
    let expected = [("a", Shown::Up), ("b", Shown::Restarting), ("c", Shown::Up), ("d", Shown::Up)];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

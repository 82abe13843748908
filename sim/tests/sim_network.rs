//! Several nodes on a wire that loses, repeats, reorders and is cut.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sim_support;

use lictor::prelude::*;
use lictor::{EventKind, Instant, Message};
use lictor_sim::executor::{Config, Schedule};
use lictor_sim::sim::{What, Wire};
use lictor_sim::{Failure, Sim, explore};
use serde_json::json;
use sim_support::*;

const NODES: [&str; 3] = ["one", "two", "three"];

/// On each node an agent of the node's own name with an `a` before it.
fn cluster(seed: u64, config: Config, ledger: &Ledger) -> Result<Sim, Failure> {
    let mut sim = Sim::empty(seed, config);
    for node in NODES {
        sim = sim.with_peer(node, RuntimeConfig { seed, ..RuntimeConfig::default() });
    }
    for node in NODES {
        let worker = Script::new(&format!("a-{node}"), ledger).agent();
        let tree = Supervisor::one_for_one("root").max_restarts(u32::MAX, secs(1));
        sim.start_on(node, tree.backoff(Backoff::constant(ms(5))).agent(worker))?;
    }
    Ok(sim)
}

/// What one node gets when it asks the agent of another.
fn echo(sim: &mut Sim, from: &str, to: &str) -> Result<bool, Failure> {
    let (runtime, to) = (sim.runtime_of(from).clone(), format!("a-{to}"));
    let start = sim.now();
    let answer = sim
        .block_on(async move { runtime.ask(&to, Message::new("Echo", json!(7)), secs(1)).await })?;
    let took = sim.now().saturating_since(start);
    // Invariant: L4 (every call ends)
    sim.check("L4 a call ends by its deadline", took <= secs(1) + ms(1))?;
    Ok(answer == Ok(json!(7)))
}

fn everybody_reaches_everybody(sim: &mut Sim) -> Result<bool, Failure> {
    for from in NODES {
        for to in NODES.iter().filter(|to| **to != from) {
            if !echo(sim, from, to)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[test]
fn a_partition_cuts_and_a_heal_mends() -> Result<(), Failure> {
    let ledger = Ledger::default();
    let mut sim = cluster(1, Config::of(Schedule::Fifo), &ledger)?;
    sim.advance(secs(2))?;
    assert!(everybody_reaches_everybody(&mut sim)?);
    sim.isolate("three");
    assert!(!echo(&mut sim, "one", "three")? && !echo(&mut sim, "three", "two")?);
    assert!(echo(&mut sim, "one", "two")?);
    sim.advance(secs(20))?;
    let down = |node: &str| {
        sim.events().iter().any(|event| {
            &*event.node == node && matches!(event.what, What::Runtime(EventKind::PeerDown { .. }))
        })
    };
    assert!(NODES.iter().all(|node| down(node)), "silence is noticed on both sides");
    sim.heal();
    // Invariants: L3 (registries agree), L5 (reconnect)
    sim.advance(secs(20))?;
    assert!(everybody_reaches_everybody(&mut sim)?);
    assert!(sim.now() > Instant::from_secs(40));
    sim.finish()
}

#[test]
fn one_way_is_cut_alone() -> Result<(), Failure> {
    let ledger = Ledger::default();
    let mut sim = cluster(1, Config::of(Schedule::Fifo), &ledger)?;
    sim.advance(secs(2))?;
    sim.partition_one_way("one", "two");
    assert!(!echo(&mut sim, "one", "two")?, "the question is lost");
    assert!(!echo(&mut sim, "two", "one")?, "the answer is lost");
    assert!(echo(&mut sim, "two", "three")?);
    sim.finish()
}

/// Bad wires, cuts, crashes; then all is well, and has to become so.
fn converges(seed: u64) -> Result<(), Failure> {
    let mut dice = Dice::new(seed);
    let config = Config {
        seed,
        check_wakes: dice.below(2) == 0,
        spurious_wakes: dice.of(&[0, 100_000]),
        cancel_clients: dice.of(&[0, 100_000]),
        ..Config::of(Schedule::of_seed(seed))
    };
    let ledger = Ledger::default();
    let mut sim = cluster(seed, config, &ledger)?;
    judge(&mut sim, &ledger, ms(20));
    for _ in 0..20 {
        let (a, b) = (dice.of(&NODES), dice.of(&NODES));
        match dice.below(12) {
            0 => sim.isolate(a),
            1 if a != b => sim.partition(a, b),
            2 if a != b => sim.partition_one_way(a, b),
            3 => sim.heal(),
            4 => sim.wire(Wire {
                loss: dice.of(&[0, 50_000, 500_000]),
                repeat: dice.of(&[0, 200_000]),
                delay_min: ms(1),
                delay_max: ms(dice.of(&[1, 5, 80])),
            }),
            5 => {
                sim.crash(&format!("{a}/a-{a}"));
            }
            6 if a != b => {
                echo(&mut sim, a, b)?;
            }
            7..=10 => {
                let kinds = [("Echo", json!(7)), ("Panic", json!(null)), ("Nap", json!(30))];
                let (kind, payload) = kinds[usize::try_from(dice.below(3)).unwrap()].clone();
                let (runtime, to) = (sim.runtime_of(a).clone(), format!("a-{b}"));
                let call = ledger.call(after(&runtime, ms(400)), format!("{kind} of {a} to {b}"));
                sim.spawn("client", async move {
                    let _call = call;
                    drop(runtime.ask(&to, Message::new(kind, payload), ms(400)).await);
                });
            }
            _ => {
                let time = dice.of(&[1, 20, 700, 5_000]);
                sim.advance(ms(time))?;
            }
        }
    }
    sim.heal();
    sim.wire(Wire::default());
    sim.advance(secs(40))?;
    let all = everybody_reaches_everybody(&mut sim)?;
    // Invariants: L3, L5
    sim.check("L3 L5 after a heal everybody reaches everybody", all)?;
    sim.check("L4 every call has ended", ledger.book().calls.is_empty())?;
    sim.finish()
}

// Invariants: S1, L2, L3, L4, L5, S7
#[test]
fn a_healed_cluster_converges() {
    let seeds = std::env::var("LICTOR_SIM_SEEDS").ok().and_then(|n| n.parse().ok());
    explore(0..seeds.unwrap_or(100), converges).unwrap();
}

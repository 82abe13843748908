//! Topologies that nobody made for a purpose: drawn at random, nested, with every strategy, budget
//! and backoff, lived through by swarms of faults and compared engine by engine.
//!
//! `SEEDS=400 cargo test --release -p lictor-sim --test strange` draws more of them.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::sync::Arc;

use lictor_sim::engine::Engine;
use lictor_sim::outcome::Options;
use lictor_sim::parity::{self, Verdict};
use lictor_sim::plan::{Mix, Plan, Profile};
use lictor_sim::scenario::Scenario;
use lictor_sim::stream::mix;
use lictor_sim::trace::names;

/// A topology in the making.
struct Drawn {
    seed: u64,
    number: u64,
    agents: Vec<String>,
    text: String,
}

impl Drawn {
    fn topology(seed: u64) -> String {
        let mut drawn = Self { seed, number: 0, agents: Vec::new(), text: String::new() };
        drawn.text += "supervision:\n  name: root\n";
        drawn.rules("  ");
        for _ in 0..=drawn.below(4) {
            match drawn.below(10) {
                0..5 => drawn.supervisor("    ", 1),
                5 => drawn.pool("    "),
                _ => drawn.agent("    "),
            }
        }
        drawn.text
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.seed = mix(self.seed);
        self.seed % limit
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        let at = usize::try_from(self.below(words.len() as u64)).unwrap();
        words[at]
    }

    fn name(&mut self, letter: char) -> String {
        self.number += 1;
        format!("{letter}{}", self.number)
    }

    fn agent(&mut self, indent: &str) {
        let name = self.name('a');
        let restart = self.one_of(&["", ", restart: permanent", ", restart: transient"]);
        let in_hand = self.one_of(&["", ", in_hand: redeliver", ", in_hand: dead_letter"]);
        let kind = match self.below(4) {
            0 => "lictor.counter".to_owned(),
            1 => {
                let every = 3 + self.below(18);
                let at = usize::try_from(self.below(self.agents.len().max(1) as u64)).unwrap();
                let to = self.agents.get(at).map(|to| format!(", forward_to: {to}"));
                let to = to.unwrap_or_default();
                format!("lictor.flaky, config: {{ crash_every: {every}{to} }}")
            }
            _ => "lictor.echo".to_owned(),
        };
        writeln!(self.text, "{indent}- agent: {{ name: {name}, type: {kind}{restart}{in_hand} }}")
            .unwrap();
        self.agents.push(name);
    }

    fn pool(&mut self, indent: &str) {
        let (name, most) = (self.name('d'), 1 + self.below(5));
        let restart = self.one_of(&["permanent", "transient", "temporary"]);
        writeln!(
            self.text,
            "{indent}- type: dynamic_supervisor\n{indent}  name: {name}\n{indent}  max_children: \
             {most}\n{indent}  restart: {restart}"
        )
        .unwrap();
    }

    fn rules(&mut self, indent: &str) {
        let strategy = self.one_of(&["one_for_one", "one_for_all", "rest_for_one"]);
        let (most, window) = (self.below(7), self.one_of(&["1s", "5s", "10s"]));
        let backoff = self.one_of(&["none", "constant", "linear", "exponential"]);
        let base = self.one_of(&["50ms", "100ms", "400ms"]);
        writeln!(
            self.text,
            "{indent}strategy: {strategy}\n{indent}max_restarts: {most}\n{indent}restart_window: \
             {window}\n{indent}backoff: {backoff}\n{indent}backoff_base: {base}\n{indent}children:"
        )
        .unwrap();
    }

    fn supervisor(&mut self, indent: &str, depth: u64) {
        let name = self.name('s');
        writeln!(self.text, "{indent}- supervisor:\n{indent}    name: {name}").unwrap();
        self.rules(&format!("{indent}    "));
        let below = format!("{indent}      ");
        for _ in 0..=self.below(4) {
            if depth < 3 && self.below(10) < 3 {
                self.supervisor(&below, depth + 1);
            } else {
                self.agent(&below);
            }
        }
    }
}

fn scenario(text: &str, nodes: usize) -> Arc<Scenario> {
    let options = lictor_topology::Options::default();
    let topology = lictor_topology::parse("strange.yaml", text.as_bytes(), &options).unwrap();
    Arc::new(Scenario::new(topology, nodes).unwrap())
}

/// So many topologies, by their seeds.
fn topologies(usual: u64) -> impl Iterator<Item = (u64, String)> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let from = number("FROM").unwrap_or(0);
    (from..from + number("SEEDS").unwrap_or(usual)).map(|seed| (seed, Drawn::topology(mix(seed))))
}

#[test]
fn the_model_and_the_runtime_agree_on_any_topology() {
    const EACH: u64 = 12;
    let engines = [Engine::Kernel, Engine::Virtual];
    let (mut compared, mut met, mut bad) = (0, 0, Vec::new());
    for (number, text) in topologies(25) {
        let scenario = scenario(&text, usize::try_from(1 + number % 3).unwrap());
        for seed in 0..EACH {
            let plan = parity::plan(&scenario, seed, &engines);
            match parity::check(&plan, &engines).unwrap() {
                Verdict::Same(_) => compared += 1,
                Verdict::Meets => met += 1,
                Verdict::Differs(a, b, difference) => bad.push(format!(
                    "topology {number}, seed {seed}: {}\n{text}",
                    difference.text(&plan, a.word(), b.word())
                )),
                Verdict::Violates(engine, violation) => bad.push(format!(
                    "topology {number}, seed {seed}, {}: {}\n{text}",
                    engine.word(),
                    names(&scenario, &violation.to_string())
                )),
                _ => unreachable!(),
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert!(met * 20 < compared, "of {compared} few say nothing: {met}");
}

#[test]
fn every_invariant_holds_on_any_topology() {
    const EACH: u64 = 20;
    let mut bad = Vec::new();
    for (number, text) in topologies(25) {
        let nodes = usize::try_from(1 + number % 3).unwrap();
        let scenario = scenario(&text, nodes);
        for (seed, engine) in (0..EACH).zip([Engine::Virtual, Engine::Kernel].into_iter().cycle()) {
            let profile = Profile { engine, ..Profile::new(Mix::Swarm) };
            let plan = Plan::generate(&scenario, seed, &profile);
            let ran = engine.run(&plan, Options::default()).unwrap();
            if let Some(violation) = ran.violation {
                let violation = names(&scenario, &violation.to_string());
                let engine = engine.word();
                bad.push(format!(
                    "topology {number}, {nodes} nodes, seed {seed}, {engine}: {violation}\n{text}"
                ));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

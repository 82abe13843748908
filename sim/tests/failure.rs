//! A failure that was kept: its test compiles and runs, and is what the reports write.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use lictor_sim::engine::Engine;
use lictor_sim::invariants::Violation;
use lictor_sim::outcome::Options;
use lictor_sim::plan::{Plan, Reading};
use lictor_sim::report::{FORMAT, Failure};
use lictor_sim::shrink::Shrunk;

/// The test to paste. It fails when the bug of the example is planted.
#[path = "../../examples/failures/S6-seed-9/repro.rs"]
mod repro;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/failures/S6-seed-9/");

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}{name}")).unwrap()
}

fn plan(name: &str) -> Plan {
    Plan::read(name, file(name).as_bytes(), &Reading::default()).unwrap()
}

#[test]
fn the_example_is_what_reports_write() {
    let facts: serde_json::Value = serde_json::from_str(&file("failure.json")).unwrap();
    assert_eq!((&facts["format"], &facts["invariant"]), (&FORMAT.into(), &"S6".into()));
    let (original, plan) = (plan("plan.full.yaml"), plan("plan.min.yaml"));
    let ran = Engine::Kernel.run(&plan, Options { trace: true, ..Options::default() }).unwrap();
    assert_eq!(ran.violation, None, "the bug is not planted here");
    let last = &ran.trace[13];
    let found = Violation {
        invariant: "S6",
        at: last.at,
        node: last.node,
        text: facts["found"]["text"].as_str().unwrap().to_owned(),
        record: 13,
    };
    let shrunk = Shrunk { plan, runs: 55, reproduced: true, minimal: true };
    let failure = Failure {
        version: "0.1.0",
        commit: "unknown",
        engine: Engine::Kernel,
        seed: facts["seed"].as_u64().unwrap(),
        found: &found,
        original: &original,
        shrunk: &shrunk,
        ran: &ran,
        again: None,
    };
    let written = failure.files();
    let text = |name: &str| written.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
    for name in ["plan.min.yaml", "plan.full.yaml", "repro.rs"] {
        assert_eq!(text(name), file(name), "{name}");
    }
    for (name, _) in &written {
        assert!(!file(name).is_empty(), "{name}");
    }
    // Up to the bug both programs did the same.
    let lines = |text: &str| -> Vec<String> {
        let records = text.lines().skip_while(|line| !line.starts_with("record "));
        records.skip(1).take(14).map(|line| line.replace('*', " ")).collect()
    };
    assert_eq!(lines(text("timeline.txt")), lines(&file("timeline.txt")));
}

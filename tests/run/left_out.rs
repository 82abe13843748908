//! Says which tests `cargo test --workspace` leaves out: those with foreign programs. With them it
//! fails unless the programs are there. It has no harness, so that its lines are seen.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

/// What the script hands to the tests with foreign programs.
const PROGRAMS: [&str; 2] = ["LICTOR_NATS_SERVER", "LICTOR_PYTHON"];

/// The names of the test binaries that want the feature.
fn left_out(manifest: &str) -> Vec<&str> {
    let tests = manifest.split("[[test]]").skip(1);
    let wanting = tests.filter(|test| test.contains("required-features = [\"foreign-peers\"]"));
    let names = wanting.filter_map(|test| test.split("name = \"").nth(1)?.split('"').next());
    names.collect()
}

fn main() {
    // Who lists tests wants names, and here is none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let names = left_out(&manifest);
    assert!(!names.is_empty(), "the manifest names tests with foreign programs");
    if cfg!(feature = "foreign-peers") {
        for program in PROGRAMS {
            let path = std::env::var(program).unwrap_or_default();
            assert!(Path::new(&path).is_file(), "{program} is {path:?}: run tests/with-peers");
        }
    } else {
        eprintln!(
            "left out, for they need a real nats-server and a real civitas: {}. \
             All tests: tests/with-peers",
            names.join(", ")
        );
    }
}

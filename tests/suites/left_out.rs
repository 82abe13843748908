//! Says which tests `cargo test --workspace` leaves out: those with foreign programs or with features.
//! With them it fails unless the programs are there. It has no harness, so that its lines are seen.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

/// What the script hands to the tests with foreign programs.
const PROGRAMS: [&str; 2] = ["LICTOR_NATS_SERVER", "LICTOR_PYTHON"];

/// Who has such tests.
const CRATES: [&str; 3] =
    ["Cargo.toml", "../adapters/cli/Cargo.toml", "../adapters/zmq/Cargo.toml"];

/// The names of the test binaries that want a feature.
fn left_out(manifest: &str) -> Vec<&str> {
    let tests = manifest.split("[[test]]").skip(1);
    let wanting = tests.filter(|test| test.contains("required-features = "));
    let names = wanting.filter_map(|test| test.split("name = \"").nth(1)?.split('"').next());
    names.collect()
}

fn main() {
    // Who lists tests wants names, and here is none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let manifests = CRATES.map(|manifest| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
        std::fs::read_to_string(path).unwrap()
    });
    let names = manifests.each_ref().map(|manifest| left_out(manifest));
    assert!(names.iter().all(|names| !names.is_empty()), "each has tests with foreign programs");
    let names = names.concat();
    if cfg!(feature = "foreign-peers") {
        for program in PROGRAMS {
            let path = std::env::var(program).unwrap_or_default();
            assert!(Path::new(&path).is_file(), "{program} is {path:?}: run tests/run");
        }
    } else {
        eprintln!(
            "left out, for they need a nats-server, civitas, libzmq or another engine: {}. \
             All tests: tests/run",
            names.join(", ")
        );
    }
}

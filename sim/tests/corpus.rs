//! Every input of the fuzz targets that was worth keeping, played by an ordinary compiler.

use std::path::Path;

use lictor_sim::fuzz;
use lictor_sim::stream::{Purpose, Streams};

/// Plays all files of one target; a panic is a failure, and names its file.
fn replay(target: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "{target} has a corpus worth its name");
    for path in paths {
        // The harness shows it if this one panics.
        eprintln!("{}", path.display());
        play(&std::fs::read(&path).expect("a file that can be read"));
    }
}

#[test]
fn supervisor() {
    replay("supervisor", fuzz::supervisor);
}

#[test]
fn dynamic() {
    replay("dynamic", fuzz::dynamic);
}

#[test]
fn registry_router() {
    replay("registry_router", fuzz::registry_router);
}

#[test]
fn topology() {
    replay("topology", fuzz::topology);
}

#[test]
fn plan() {
    replay("plan", fuzz::plan);
}

/// Bytes that nobody chose: the bodies hold beyond the corpus, too.
#[test]
fn any_bytes_are_some_history() {
    // With more inputs: LICTOR_FUZZ=100000 cargo test -p lictor-sim --test corpus any
    let inputs = std::env::var("LICTOR_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    for seed in 0..inputs {
        let streams = Streams::new(0x5eed + seed);
        let len = streams.below(Purpose::User, 0, 0, 400);
        let byte = |n| streams.draw(Purpose::User, 1, n).to_le_bytes()[0];
        let bytes: Vec<u8> = (0..len).map(byte).collect();
        for (target, play) in [
            ("supervisor", fuzz::supervisor as fn(&[u8])),
            ("dynamic", fuzz::dynamic),
            ("registry_router", fuzz::registry_router),
            ("topology", fuzz::topology),
            ("plan", fuzz::plan),
        ] {
            eprintln!("{target} {seed}");
            play(&bytes);
        }
    }
}

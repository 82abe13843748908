//! Every input of the fuzz targets that was worth keeping, played by an ordinary compiler.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use lictor_kernel::Prng;
use lictor_zmtp::fuzz;

/// Plays all files of one target; a panic is a failure, and names its file.
fn replay(target: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "{target} has a corpus worth its name");
    for path in paths {
        // The harness shows it if this one panics.
        eprintln!("{}", path.display());
        play(&std::fs::read(&path).unwrap());
    }
}

#[test]
fn zmtp_connection() {
    replay("zmtp_connection", fuzz::connection);
}

#[test]
fn zmtp_proxy() {
    replay("zmtp_proxy", fuzz::proxy);
}

/// Bytes that nobody chose: the bodies hold beyond the corpus, too.
#[test]
fn any_bytes_are_some_history() {
    // With more inputs: LICTOR_FUZZ=100000 cargo test -p lictor-zmtp --test corpus any
    let inputs = std::env::var("LICTOR_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    for seed in 0..inputs {
        let mut prng = Prng::new(seed);
        let length = prng.below(400);
        let bytes: Vec<u8> = (0..length).map(|_| prng.next_u64().to_le_bytes()[0]).collect();
        fuzz::connection(&bytes);
        fuzz::proxy(&bytes);
    }
}

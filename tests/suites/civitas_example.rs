//! The example of civitas, started as its head and `docs/civitas.md` say.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_runs_as_documented() {
    let command = "cargo run -p lictor --example civitas_worker --features civitas,zmq";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for manual in ["docs/civitas.md", "adapters/lictor/examples/civitas_worker.rs"] {
        let text = std::fs::read_to_string(root.join(manual)).unwrap();
        assert!(text.contains(command), "{manual}");
    }
    std::env::var("LICTOR_PYTHON").expect("tests/run sets LICTOR_PYTHON");
    let words = command.split(' ').skip(1);
    let ran = Command::new(env!("CARGO"))
        .args(words)
        .args(["--quiet", "--locked"])
        .current_dir(root)
        .output()
        .unwrap();
    let (said, errors) =
        (String::from_utf8(ran.stdout).unwrap(), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}{errors}");
    // Between the lines civitas says a word about tracing, and events come as they come.
    let mut lines = said.lines();
    for expected in [
        "summarizer: 3 words",
        "told to crash: Crashed",
        "  summarizer crashed: the foreign agent has crashed",
        "started anew: 2 words, in the same process: true",
        "kill -9 ",
        "started anew: 4 words, in the same process: false",
    ] {
        assert!(lines.any(|line| line.starts_with(expected)), "{expected}: {said}{errors}");
    }
    assert!(
        said.contains("  python crashed: the worker has ended: \"signal: 9 (SIGKILL)\""),
        "{said}"
    );
}

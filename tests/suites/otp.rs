//! Every recorded trace of OTP is what the kernel does; and the comparison can fail.

use std::fs;
use std::path::{Path, PathBuf};

use lictor_tests::otp::{self, Verdict};
use serde_json::{Value, json};

fn files() -> Vec<PathBuf> {
    files_in("otp")
}

fn files_in(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(directory).expect("the traces are there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    files
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("it can be read");
    text.lines().map(str::to_owned).collect()
}

fn replay(lines: &[String]) -> Verdict {
    otp::replay(lines.join("\n").as_bytes()).expect("it is a trace")
}

/// The line in which a replay differs.
fn differs_at(lines: &[String]) -> Option<usize> {
    replay(lines).difference.map(|difference| difference.line)
}

#[test]
fn the_kernel_does_what_otp_did() {
    let files = files();
    assert_eq!(files.len(), 137);
    for file in files {
        let verdict = replay(&lines(&file));
        if let Some(difference) = verdict.difference {
            panic!("{}\n{difference}", file.display());
        }
    }
}

/// Scenarios that no OTP has run: bursts, failing restarts and slow stops in nested trees. Their
/// traces come from a blocking model of OTP that agrees with all recorded ones.
#[test]
fn the_kernel_does_what_a_model_of_otp_does() {
    let files = files_in("otp_made");
    assert_eq!(files.len(), 15);
    for file in files {
        if let Some(difference) = replay(&lines(&file)).difference {
            panic!("{}\n{difference}", file.display());
        }
    }
}

#[test]
fn a_missing_line_is_a_difference() {
    for file in files() {
        let lines = lines(&file);
        // A line that equals the next one is missed only where they end.
        for at in 1..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(at);
            let line = differs_at(&fewer).expect("a line is missing");
            assert!(line > at, "{}: line {} missed in line {line}", file.display(), at + 1);
        }
    }
}

#[test]
fn an_added_line_is_a_difference() {
    for file in files() {
        let mut lines = lines(&file);
        lines.push(json!({"ev": "start", "id": "a", "n": 1, "sup": "root"}).to_string());
        assert_eq!(differs_at(&lines), Some(lines.len()), "{}", file.display());
    }
}

/// Every value of every line counts.
#[test]
fn a_changed_line_is_a_difference() {
    let mut changes = 0;
    for file in files() {
        let lines = lines(&file);
        for at in 1..lines.len() {
            let line: Value = serde_json::from_str(&lines[at]).expect("a line is JSON");
            for key in line.as_object().expect("a line is an object").keys() {
                let mut changed = line.clone();
                changed[key] = match (line[key].as_u64(), line[key].as_str()) {
                    (Some(n), _) => json!(n + 1),
                    (_, Some(text)) => json!(format!("not {text}")),
                    _ => json!([line[key]]),
                };
                let mut lines = lines.clone();
                lines[at] = changed.to_string();
                assert_eq!(differs_at(&lines), Some(at + 1), "{}: {key}", file.display());
                changes += 1;
            }
        }
    }
    assert!(changes > 10_000, "only {changes} changes tried");
}

#[test]
fn two_lines_exchanged_are_a_difference() {
    for file in files() {
        let lines = lines(&file);
        for at in 1..lines.len() - 1 {
            let mut exchanged = lines.clone();
            exchanged.swap(at, at + 1);
            if exchanged != lines {
                assert_eq!(differs_at(&exchanged), Some(at + 1), "{}", file.display());
            }
        }
    }
}

/// The trace that a scenario gives, and an empty recording of it.
fn scenario(tree: &Value, steps: &Value) -> String {
    json!({"ev": "scenario", "name": "made", "t0": 100, "pre": [], "tree": tree, "steps": steps})
        .to_string()
}

#[test]
fn a_malformed_file_is_refused_with_its_place() {
    let root = json!({"id": "root", "strategy": "one_for_one", "children": []});
    let with = |child: Value| {
        scenario(&json!({"id": "root", "strategy": "one_for_one", "children": [child]}), &json!([]))
    };
    let step = |step: Value| scenario(&root, &json!([["sleep", 1], step]));
    let deep = "[".repeat(10_000);
    let cases: Vec<(String, usize, &str)> = vec![
        (String::new(), 1, "empty"),
        ("nonsense".to_owned(), 1, "column 2"),
        (deep, 1, "recursion limit"),
        ("[1]".to_owned(), 1, "\"ev\""),
        (r#"{"ev":"step"}"#.to_owned(), 1, "must be the scenario"),
        (r#"{"ev":"scenario"}"#.to_owned(), 1, "\"steps\" is missing"),
        (format!("{}\n\n", scenario(&root, &json!([]))), 2, "EOF"),
        (format!("{}\n{{}}", scenario(&root, &json!([]))), 2, "\"ev\""),
        (scenario(&json!({"id": "w"}), &json!([])), 1, "root must be a supervisor"),
        (with(json!({"id": 1})), 1, "tree.children[0].id: expected a text"),
        (with(json!({"id": "a", "restart": "never"})), 1, "tree.children[0].restart"),
        (with(json!({"id": "a", "shutdown": -1})), 1, "tree.children[0].shutdown"),
        (with(json!({"id": "a", "shutdown": "soon"})), 1, "tree.children[0].shutdown"),
        (with(json!({"id": "a", "significant": 1})), 1, "tree.children[0].significant"),
        (with(json!({"id": "a", "stop": "hard"})), 1, "tree.children[0].stop"),
        (with(json!({"id": "a", "strategy": "round"})), 1, "unknown strategy"),
        (with(json!({"id": "a", "strategy": "simple_one_for_one"})), 1, "one template"),
        (step(json!(["jump"])), 1, "steps[1]: unknown step \"jump\""),
        (step(json!([])), 1, "steps[1]: a step begins with its name"),
        (step(json!("sleep")), 1, "steps[1]: expected a list"),
        (step(json!(["exit", "a"])), 1, "steps[1]: exit takes 2 arguments, not 1"),
        (step(json!(["exit", 1, "boom"])), 1, "steps[1][1]: expected an id"),
        (step(json!(["sleep", u64::MAX])), 1, "steps[1]: expected a whole number"),
        (step(json!(["burst", "root", [["sleep", 1]]])), 1, "steps[1][2][0]"),
        (step(json!(["start_child", "root", {"id": "a", "stop": 1}])), 1, "steps[1][2].stop"),
    ];
    for (text, line, message) in cases {
        let shown: String = text.chars().take(200).collect();
        let error = otp::replay(text.as_bytes()).expect_err(&shown);
        assert_eq!(error.line, line, "{shown}: {error}");
        assert!(error.message.contains(message), "{shown}: {error}");
    }
    let error = otp::replay(b"{}\n\xff").expect_err("it is not text");
    assert_eq!(error.to_string(), "line 2: not UTF-8");
}

/// A burst stands for a busy supervisor, and the kernel has none that is busy with nothing: what
/// reaches it from its own child supervisors cannot be held back.
#[test]
fn a_burst_that_takes_a_child_supervisor_along_is_refused() {
    let tree = |intensity: u64| {
        let inner = json!([{"id": "b"}]);
        let sub = json!({"id": "s", "strategy": "one_for_one", "intensity": intensity,
            "period": 60, "children": inner});
        json!({"id": "root", "strategy": "one_for_one", "intensity": 5, "period": 60,
            "children": [{"id": "a"}, sub]})
    };
    let steps = json!([["burst", "root", [["exit", "a", "boom"], ["exit", "b", "boom"]]]]);
    let error = otp::replay(scenario(&tree(0), &steps).as_bytes()).expect_err("s exits");
    assert_eq!(error.message, "steps[0]: a child supervisor of a suspended one exits in a burst");
    // One that restarts its worker goes on beside the suspended root.
    assert!(otp::replay(scenario(&tree(1), &steps).as_bytes()).is_ok());
}

#[test]
fn a_scenario_that_never_rests_is_refused() {
    let stubborn = json!({"id": "a", "shutdown": "infinity", "stop": "stubborn"});
    let tree = json!({"id": "root", "strategy": "one_for_one", "children": [stubborn]});
    let text = scenario(&tree, &json!([["terminate_child", "root", "a"]]));
    let error = otp::replay(text.as_bytes()).expect_err("it never ends");
    assert!(error.message.starts_with("steps[0]: a supervisor waits for ever"), "{error}");
}

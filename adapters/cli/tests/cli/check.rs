//! `check`, `tree`, and bad input to `run`.

use std::io::Write;
use std::process::Stdio;

use lictor::Value;
use serde_json::json;

use crate::support::{File, lictor, output, repository, yaml};

fn files(folder: &str) -> Vec<String> {
    let folder = repository().join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let yaml = entries.filter(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    yaml.map(|path| path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_are_good_and_the_bad_ones_are_not() {
    let good = files("examples");
    assert!(good.len() >= 2);
    for file in &good {
        let checked = output(&["check", file]);
        assert_eq!(checked.status.code(), Some(0), "{file}: {}", checked.stdout);
        assert_eq!(checked.stdout, format!("{file}: ok\n"));
    }
    let bad = files("examples/bad");
    assert!(!bad.is_empty());
    for file in &bad {
        for args in [vec!["check", file], vec!["tree", file], vec!["run", file]] {
            let refused = output(&args);
            assert_eq!(refused.status.code(), Some(2), "{args:?}");
            let text = if args[0] == "check" { &refused.stdout } else { &refused.stderr };
            assert!(text.contains("error["), "{args:?}: {text}");
            assert!(!text.contains('\x1b'), "{args:?}");
        }
    }
}

#[test]
fn check_reports_each_file_as_json() {
    let bad = files("examples/bad").remove(0);
    let checked = output(&["check", "--json", "examples/pipeline.yaml", &bad, "no/such.yaml"]);
    assert_eq!(checked.status.code(), Some(2));
    let lines = checked.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["ok"], true);
    assert_eq!(lines[0]["diagnostics"], serde_json::json!([]));
    assert_eq!(lines[1]["ok"], false);
    assert!(lines[1]["diagnostics"][0]["line"].as_u64().unwrap() > 0);
    assert_eq!(lines[2]["diagnostics"][0]["code"], "unreadable");
}

#[test]
fn check_finds_every_bad_configuration_and_shows_its_place() {
    let file = File::new(&yaml(
        "- agent: { name: a, type: lictor.flaky, config: { crash_rate: 2 } }\n\
         - agent: { name: b, type: lictor.echo, config: { loud: true } }\n\
         - supervisor:\n    name: s\n    children:\n      \
         - agent: { name: c, type: lictor.ticker }",
    ));
    let checked = output(&["check", file.path()]);
    assert_eq!(checked.status.code(), Some(2));
    let path = file.path();
    for expected in [
        "error[bad-config]: agent `a`: bad config: `crash_rate` must be from 0 to 1",
        &format!("--> {path}:7:55"),
        "agent `b`: bad config: unknown field `loud`",
        "agent `c`: bad config: missing field `to`",
        &format!("{path}: 3 errors"),
    ] {
        assert!(checked.stdout.contains(expected), "{expected:?} in {}", checked.stdout);
    }
    let json = output(&["check", "--json", path]).lines().remove(0);
    assert_eq!(json["diagnostics"][2]["code"], "bad-config");
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 3);
    assert_eq!(output(&["run", path]).status.code(), Some(2));
}

// A fault of the text hid those of the configurations.
#[test]
fn check_finds_faults_of_the_text_and_of_configurations_in_one_run() {
    let file = File::new(
        "supervision:\n  strategi: one_for_one\n  children:\n    \
         - agent: { name: a, type: lictor.flaky, config: { crash_rate: 2 } }\n    \
         - agent: { name: b, type: lictor.ticker, config: { too: a, every: 1s } }\n",
    );
    let report = output(&["check", "--json", file.path()]).lines().remove(0);
    let faults = report["diagnostics"].as_array().unwrap();
    let found: Vec<_> =
        faults.iter().map(|fault| (&fault["code"], &fault["line"], &fault["column"])).collect();
    let expected = [json!(["unknown-key", 2, 3]), json!(["bad-config", 4, 55])];
    assert_eq!(json!(found[..2]), json!(expected));
    assert_eq!(faults[2]["help"], "did you mean `to`?");
    // All are of one shape.
    let keys = |fault: &Value| fault.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for fault in faults {
        assert_eq!(keys(fault), keys(&faults[0]), "{fault}");
        assert!(fault["help"].is_string(), "{fault}");
    }
}

// It panicked where the line was longer than the excerpt.
#[test]
fn a_bad_configuration_far_to_the_right_is_shown() {
    let agent = |n| format!("{{agent: {{name: a{n}, type: lictor.flaky, config: {{seed: x}}}}}}");
    let agents: Vec<String> = (0..2000).map(agent).collect();
    let file = File::new(&format!("supervision: {{children: [{}]}}", agents.join(",")));
    let checked = output(&["check", file.path()]);
    assert_eq!(checked.status.code(), Some(2), "{}", checked.stderr);
    assert!(checked.stdout.contains("100 errors, and 1900 more that are not shown"));
}

#[test]
fn standard_input_is_a_file_too() {
    for (text, code, expected) in [
        (yaml("- agent: { name: a, type: lictor.echo }"), 0, "<stdin>: ok"),
        (String::new(), 2, "--> <stdin>:1:1"),
    ] {
        let mut child =
            lictor(&["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let checked = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(checked.status.code(), Some(code), "{stdout}");
        assert!(stdout.contains(expected), "{stdout}");
    }
}

// It read for ever, or to the end of the memory.
#[cfg(target_os = "linux")]
#[test]
fn a_file_without_end_is_too_large() {
    let checked = output(&["check", "/dev/zero"]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(checked.stdout.contains("error[too-large]"), "{}", checked.stdout);
}

// It was as silent as success, and for `run` it was success.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure_that_says_so() {
    let file = "examples/pipeline.yaml";
    for args in [&["check", file][..], &["tree", file], &["run", file, "--for", "100ms"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = lictor(args).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write standard output"), "{args:?}: {stderr}");
    }
}

#[test]
fn an_unknown_agent_type_is_met_with_the_nearest_one() {
    let file = File::new(&yaml("- agent: { name: a, type: lictor.eco }"));
    let checked = output(&["check", file.path()]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(checked.stdout.contains("did you mean `lictor.echo`?"), "{}", checked.stdout);
}

#[test]
fn tree_shows_what_would_run() {
    let shown = output(&["tree", "examples/pipeline.yaml"]);
    assert_eq!(shown.status.code(), Some(0));
    let expected = "\
[sup] shop (ONE_FOR_ONE) 3 restarts in 30s
├── [agent] till: lictor.echo
├── [sup] stages (ONE_FOR_ONE) 30 restarts in 10s
│   ├── [agent] tax: lictor.flaky
│   ├── [agent] price: lictor.flaky
│   └── [agent] parse: lictor.flaky
└── [agent] orders: lictor.ticker
";
    assert_eq!(shown.stdout, expected);
    let json = output(&["tree", "--json", "examples/office.yaml"]).lines().remove(0);
    assert_eq!(json["children"][0]["strategy"], "REST_FOR_ONE");
    assert_eq!(json["children"][1]["kind"], "dynamic_supervisor");
    assert_eq!(json["children"][2]["restart"], "permanent");
}

#[test]
fn bad_flags_are_bad_input() {
    for args in [
        &["run"][..],
        &["run", "examples/pipeline.yaml", "--for", "soon"],
        &["run", "examples/pipeline.yaml", "--for", "-1s"],
        &["run", "examples/pipeline.yaml", "--log", "loud"],
        &["jump"],
        &["check"],
        &[],
    ] {
        assert_eq!(output(args).status.code(), Some(2), "{args:?}");
    }
    let negative = output(&["run", "examples/pipeline.yaml", "--for", "-1s"]).stderr;
    assert!(negative.contains("is a negative duration"), "{negative}");
    assert_eq!(output(&["--version"]).status.code(), Some(0));
    let help = output(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(help.stdout.contains("Exit codes:"), "{}", help.stdout);
}

#[test]
fn the_examples_of_the_manual_are_good() {
    let manual = std::fs::read_to_string(repository().join("docs/cli.md")).unwrap();
    let blocks: Vec<&str> = manual.split("```yaml\n").skip(1).collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
        let (children, _) = block.split_once("```").unwrap();
        let file = File::new(&yaml(children));
        let checked = output(&["check", file.path()]);
        assert_eq!(checked.status.code(), Some(0), "{children}{}", checked.stdout);
    }
    let tree = output(&["tree", "examples/pipeline.yaml"]).stdout;
    assert!(manual.contains(&tree), "{tree}");
}

#[test]
fn the_manual_of_several_processes_is_good() {
    let manual = std::fs::read_to_string(repository().join("docs/distribution.md")).unwrap();
    let (_, rest) = manual.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let file = File::new(text);
    let checked = output(&["check", file.path()]);
    assert_eq!(checked.stdout, format!("{}: ok\n", file.path()));
}

/// The keys that a block takes, by what is said of one that it does not take.
fn keys_of(block: &str) -> Vec<String> {
    let file = File::new(&format!(
        "{block}\nsupervision: {{ children: [{{ type: lictor.echo, name: a }}] }}\n"
    ));
    let json = output(&["check", "--json", file.path()]).lines().remove(0);
    let faults = json["diagnostics"].as_array().unwrap();
    let fault = faults.iter().find(|fault| fault["code"] == "unknown-key");
    let help = fault.unwrap_or_else(|| panic!("{json}"))["help"].as_str().unwrap();
    let (_, keys) = help.split_once(" takes ").unwrap_or_else(|| panic!("{help}"));
    keys.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

// A key that is read and not in the manual would be found by nobody.
#[test]
fn the_manual_has_every_key_of_transport_processes_and_security() {
    let manual = std::fs::read_to_string(repository().join("docs/topology.md")).unwrap();
    let rows: Vec<&str> = manual.lines().filter(|line| line.starts_with("| ")).collect();
    for (place, block) in [
        ("transport", "transport: { zzzzzz: 1 }"),
        ("zmq", "transport: { zmq: { zzzzzz: 1 } }"),
        ("nats", "transport: { nats: { zzzzzz: 1 } }"),
        ("nats", "transport: { nats: { jetstream: { zzzzzz: 1 } } }"),
        ("membership", "transport: { membership: { zzzzzz: 1 } }"),
        ("processes.NAME", "processes: { w: { zzzzzz: 1 } }"),
        ("security", "security: { identity: { zzzzzz: 1 } }"),
        ("security", "security: { signing: { zzzzzz: 1 } }"),
        ("security.transport", "security: { transport: { zmq: { curve: { zzzzzz: 1 } } } }"),
        ("security.transport", "security: { transport: { nats: { zzzzzz: 1 } } }"),
        ("security.transport", "security: { transport: { nats: { tls: { zzzzzz: 1 } } } }"),
    ] {
        let head = format!("| {place} |");
        let text: Vec<&str> = rows.iter().copied().filter(|row| row.starts_with(&head)).collect();
        let text = text.join("\n");
        let keys = keys_of(block);
        assert!(keys.len() > 1, "{block}: {keys:?}");
        for key in keys {
            let word = |c: char| c != '_' && !c.is_ascii_alphanumeric();
            assert!(text.split(word).any(|found| found == key), "`{key}` of {place}");
        }
    }
}

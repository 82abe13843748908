//! `check`, `tree`, and bad input to `run`.

use crate::support::{File, output, repository, yaml};

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
        &format!("--> {path}:7:7"),
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
        &["run", "examples/pipeline.yaml", "--log", "loud"],
        &["jump"],
        &["check"],
        &[],
    ] {
        assert_eq!(output(args).status.code(), Some(2), "{args:?}");
    }
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

//! `lictor sim`.

use crate::support::{File, output};

#[test]
fn check_searches_a_tree_of_any_agents_and_finds_no_fault() {
    let file = File::new(
        "supervision:
  strategy: ONE_FOR_ALL
  children:
    - agent: { name: a, type: somebody.elses }
    - agent: { name: b, type: somebody.elses, restart: permanent }
",
    );
    let checked = output(&["sim", "check", file.path(), "--depth", "4", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stdout);
    let result = &checked.lines()[0];
    assert_eq!((&result["ok"], &result["broken"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!((&result["depth"], &result["cut"]), (&4.into(), &false.into()));
    assert!(result["states"].as_u64() > Some(100), "{result}");
    assert!(result["moves"].as_u64() >= result["states"].as_u64(), "{result}");

    let text = output(&["sim", "check", file.path(), "--depth", "2"]).stdout;
    assert!(text.contains("no rule is broken") && text.contains("everything to depth 2"), "{text}");
}

#[test]
fn check_says_where_it_was_cut_short() {
    let args = ["sim", "check", "examples/office.yaml", "--max-states", "50", "--json"];
    let checked = output(&args);
    assert_eq!(checked.status.code(), Some(0));
    let result = &checked.lines()[0];
    assert_eq!((&result["cut"], &result["states"]), (&true.into(), &50.into()));
}

#[test]
fn check_refuses_bad_files_and_flags() {
    for args in [
        &["sim", "check", "no/such.yaml"][..],
        &["sim", "check", "examples/bad/typos.yaml"],
        &["sim", "check", "examples/office.yaml", "--max-states", "0"],
        &["sim", "check"],
        &["sim"],
    ] {
        let refused = output(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(!refused.stderr.is_empty() && refused.stdout.is_empty(), "{args:?}");
    }
}

//! `lictor policy compare`.

use crate::support::{File, output};

const POLICIES: &str = "examples/policies/policies.yaml";
const CRASHES: &str = "examples/policies/crashes.yaml";

fn compare(more: &[&str]) -> crate::support::Output {
    let base = ["policy", "compare", POLICIES, "--crashes", CRASHES, "--seeds", "2"];
    output(&[&base[..], &["--for", "20m"], more].concat())
}

#[test]
fn a_table_for_each_model_and_a_line_for_each_policy() {
    let compared = compare(&[]);
    assert_eq!(compared.status.code(), Some(0), "{}", compared.stderr);
    assert_eq!(compared.stderr, "", "no progress where there is no terminal");
    let heads = compared.stdout.lines().filter(|line| line.starts_with("policy ")).count();
    assert_eq!(heads, 5);
    let lines = compared.stdout.lines().filter(|line| line.starts_with("full-jitter ")).count();
    assert_eq!(lines, 5);
    assert!(compared.stdout.contains("2 runs of 20 min for each line"), "{}", compared.stdout);
    assert_eq!(compared.stdout, compare(&[]).stdout, "the same again");
}

#[test]
fn json_and_a_report() {
    let page = File::new("");
    let compared = compare(&["--json", "--html", page.path()]);
    assert_eq!(compared.status.code(), Some(0), "{}", compared.stderr);
    let [summary] = &compared.lines()[..] else { panic!("one object") };
    assert_eq!(summary["figures"].as_array().unwrap().len(), 30);
    assert_eq!(summary["seeds"], 2);
    let up = summary["figures"][0]["availability"].as_f64().unwrap();
    assert!((0.9..1.0).contains(&up), "{up}");
    let html = std::fs::read_to_string(&page.0).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert!(html.contains("full-jitter"));
}

#[test]
fn every_fault_of_both_files_is_said_at_once() {
    let policies = File::new("policies:\n  - name: a\n    jiter: full\n  - {}\n");
    let crashes = File::new("crashes:\n  - {name: r, model: recorded, file: no.log}\n");
    let args = ["policy", "compare", policies.path(), "--crashes", crashes.path()];
    let refused = output(&args);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(refused.stdout, "");
    for text in ["did you mean `jitter`?", "needs `name`", "the crash log `no.log` cannot be read"]
    {
        assert!(refused.stderr.contains(text), "{text}: {}", refused.stderr);
    }
    let refused = output(&[&args[..], &["--json"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    let lines = refused.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["diagnostics"][0]["code"], "unknown-key");
}

#[test]
fn flags_and_files_that_cannot_be() {
    for args in [
        vec!["policy"],
        vec!["policy", "compare", POLICIES],
        vec!["policy", "compare", POLICIES, "--crashes", CRASHES, "--seeds", "0"],
        vec!["policy", "compare", POLICIES, "--crashes", CRASHES, "--seeds", "9999999"],
        vec!["policy", "compare", POLICIES, "--crashes", CRASHES, "--for", "soon"],
        vec!["policy", "compare", POLICIES, "--crashes", CRASHES, "--for", "0s"],
        vec!["policy", "compare", POLICIES, "--crashes", "no/such.yaml"],
        vec!["policy", "compare", POLICIES, "--crashes", POLICIES],
        vec![
            "policy",
            "compare",
            POLICIES,
            "--crashes",
            CRASHES,
            "--html",
            "no/such/folder/a.html",
        ],
    ] {
        let refused = output(&args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", refused.stderr);
        assert!(!refused.stderr.is_empty(), "{args:?}");
    }
}

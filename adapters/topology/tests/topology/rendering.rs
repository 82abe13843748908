//! How faults look.

use lictor_topology::{Options, Style, parse};

fn faults(text: &str) -> lictor_topology::Diagnostics {
    parse("app.yaml", text.as_bytes(), &Options::default()).expect_err("faults")
}

#[test]
fn text() {
    let text = "supervision:\n  children:\n    - agent: {name: a, type: t.A}\n    \
                - agent: {name: a, type: t.A}\n  max_restart: 3\n";
    let expected = "\
error[duplicate-name]: the name `a` is already taken
 --> app.yaml:4:21
  |
4 |     - agent: {name: a, type: t.A}
  |                     ^
  = help: agents, supervisors and processes share one namespace; give each a name of its own
  = path: supervision.children[1].agent.name
note: first used here
 --> app.yaml:3:21
  |
3 |     - agent: {name: a, type: t.A}
  |                     ^

error[unknown-key]: unknown key `max_restart` in a supervisor
 --> app.yaml:5:3
  |
5 |   max_restart: 3
  |   ^^^^^^^^^^^
  = help: did you mean `max_restarts`?
  = path: supervision.max_restart

app.yaml: 2 errors
";
    assert_eq!(faults(text).to_string(), expected);
    assert!(faults(text).render(Style::Ansi).contains("\x1b[1;31merror[unknown-key]\x1b[0m"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let page = faults("supervision: {\"a\\e[31m\u{202e}\u{9b}b\": 1}").to_string();
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    assert!(!page.contains('\u{202e}'));
}

#[test]
fn long_lines_are_cut() {
    let page =
        faults(&format!("supervision: {{children: [], {}: 1}}", "x".repeat(900))).to_string();
    assert!(page.lines().all(|line| line.chars().count() < 700), "{page}");
    let page = faults(&format!("supervision: \"{}\" x", "y".repeat(100_000))).to_string();
    assert!(page.len() < 1000, "{page}");
}

#[test]
fn json() {
    let json =
        serde_json::to_value(faults("supervision: {chidren: [{agent: {name: a, type: t}}]}"))
            .unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "file": "app.yaml",
            "diagnostics": [{
                "severity": "error",
                "code": "unknown-key",
                "message": "unknown key `chidren` in a supervisor",
                "help": "did you mean `children`?",
                "line": 1,
                "column": 15,
                "end_column": 22,
                "path": "supervision.chidren",
                "related": [],
            }],
            "omitted": 0,
        })
    );
}

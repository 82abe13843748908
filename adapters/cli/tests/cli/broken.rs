//! Files with faults of their own: whatever is wrong with them, the command says where and what, in
//! a moment and with status 2, and breaks nothing.

use std::time::{Duration, Instant};

use crate::support::{File, output};

/// A good topology with this as its one agent.
fn agent(settings: &str) -> String {
    format!("supervision:\n  children:\n    - agent: {{ name: one, {settings} }}\n")
}

/// A good topology with this setting of its root.
fn root(setting: &str) -> String {
    format!("supervision:\n  {setting}\n  children:\n    - agent: {{ name: one, type: t }}\n")
}

/// A good plan with this besides.
fn plan(more: &str) -> String {
    let topology = "topology: {supervision: {children: [{agent: {name: one, type: t}}]}}";
    format!("{topology}\nhorizon: 5s\n{more}\n")
}

fn fault(fault: &str) -> String {
    plan(&format!("faults: [{{ {fault} }}]"))
}

fn operation(operation: &str) -> String {
    plan(&format!("operations: [{{ {operation} }}]"))
}

/// What is wrong with any file, whatever it is to hold, and a word of what is said of it.
fn of_any_file() -> Vec<(String, &'static str)> {
    let nine = "[x, x, x, x, x, x, x, x, x]";
    let mut bomb = format!("a0: &a0 {nine}\n");
    for n in 1..10 {
        let again = format!("*a{}, ", n - 1).repeat(9);
        bomb += &format!("a{n}: &a{n} [{again}]\n");
    }
    let deeper = |n: usize| format!("{}k{n}:\n", " ".repeat(n));
    let mut files: Vec<(String, &str)> = [
        ("", "1:1"),
        ("\n\n  \n", "1:1"),
        ("# nothing\n", "1:1"),
        ("~\n", ":1:1"),
        ("hello\n", ":1:1"),
        ("- 1\n- 2\n", ":1:1"),
        ("a: [1, 2\n", ":1:4"),
        ("a: \"x\n", ":1:4"),
        ("a: 1\n\tb: 2\n", "error[tab]"),
        ("a: 1\n---\na: 2\n", "document"),
        ("a: &a [*a]\n", ":1:"),
        ("a: *x\n", ":1:4"),
        ("? [a, b]\n: c\n", ":1:"),
        ("<<: {a: 1}\n", ":1:1"),
        ("!!python/object:os.system {a: b}\n", ":1:"),
        ("a: \0\n", ":1:"),
        ("a: \u{7}\u{1b}[31mred\n", ":1:"),
        ("sup\u{202e}ervision: 1\n", ":1:1"),
        ("nonsense: 1\r\nnonsense: 2\r\n", ":2:1"),
        ("\u{feff}nonsense: 1\n", ":1:"),
    ]
    .map(|(text, said)| (text.to_owned(), said))
    .to_vec();
    files.push((bomb, "error[too-much]"));
    files.push(("[".repeat(5_000), "nest"));
    files.push(((0..300).map(deeper).collect(), "nest"));
    files.push((format!("{}: 1\n", "k".repeat(100_000)), ":1:1"));
    files
}

fn topologies() -> Vec<(String, &'static str)> {
    let two = "supervision:\n  children:\n    - agent: { name: one, type: lictor.flaky, config: { \
               forward_to: two } }\n    - agent: { name: two, type: lictor.flaky, config: { \
               forward_to: one } }\n";
    let flaky = |config: &str| agent(&format!("type: lictor.flaky, config: {{ {config} }}"));
    let ticker = |config: &str| agent(&format!("type: lictor.ticker, config: {{ {config} }}"));
    vec![
        (root("max_restarts: .nan"), ":2:17"),
        (root("max_restarts: -1"), ":2:17"),
        (root("max_restarts: 99999999999999999999999999"), ":2:17"),
        (root("restart_window: .inf"), ":2:19"),
        (root("restart_window: -5s"), ":2:19"),
        (root("restart_window: 99999999999999999999s"), ":2:19"),
        (root("restart_window: 5 parsecs"), ":2:19"),
        (root("startegy: one_for_all"), "did you mean `strategy`?"),
        (root("strategy: all_for_one"), ":2:13"),
        (root("name: a\n  name: b"), ":3:3"),
        (agent("name: one, type: t"), ":3:"),
        (agent("type: t, mailbox_size: 0"), ":3:"),
        (agent("type: t, process: nowhere"), ":3:"),
        (agent("type: t, restart: transient, significant: true"), ":3:"),
        (flaky("crash_rate: 1.5"), "`crash_rate`"),
        (flaky("crash_rate: .nan"), ":3:"),
        (flaky("crash_evry: 3"), "did you mean `crash_every`?"),
        (flaky("forward_to: one"), "`forward_to` is the agent itself"),
        (ticker("to: two, every: 0s"), "a million times a second"),
        (ticker("to: two, rate: -1"), "`rate` must be above 0"),
        (ticker("to: two, rate: 1, every: 1s"), "exclude each other"),
        (ticker("every: 1s"), "add `to:`"),
        (two.to_owned(), "passes them on to itself by way of two"),
    ]
}

fn plans() -> Vec<(String, &'static str)> {
    let flaky = "topology:\n  supervision:\n    children:\n      - agent: { name: one, type: \
                 lictor.flaky, config: { crash_rate: 7 } }\nhorizon: 5s\n";
    vec![
        ("horizon: 5s\n".to_owned(), "`topology`"),
        ("topology: no/such.yaml\nhorizon: 5s\n".to_owned(), ":1:11"),
        (plan("").replace("horizon: 5s", "horizon: 999999999999999999999s"), ":2:10"),
        (plan("nodes: 65"), ":3:8"),
        (plan("seed: 18446744073709551616"), ":3:7"),
        (plan("calm: -1s"), ":3:7"),
        (plan("knobs: { start: [5ms, 1ms] }"), ":3:"),
        (plan("knobs: { medium: pigeon }"), ":3:18"),
        (plan("knobs: { placed: 50% }"), "nothing is placed without"),
        (plan("faults: 7"), ":3:9"),
        (plan("horizon: 6s"), ":3:1"),
        (fault("at: 1s, crash: nobody"), ":3:"),
        (fault("at: -1s, crash: one"), ":3:16"),
        (fault("at: 6s, crash: one"), "beyond the horizon"),
        (fault("at: .nan, crash: one"), ":3:16"),
        (fault("at: 1s, crash: one, exit: one"), ":3:"),
        (fault("at: 1s, partition: [0, 1], lasts: 1s"), ":3:"),
        (fault("at: 1s, crash_node: 99999999999999999999, lasts: 1s"), ":3:"),
        (fault("at: 1s, fill_mailbox: one, amount: 10000000"), ":3:"),
        (fault("at: 1s, slow: one, amount: 1ms, lasts: -1s"), ":3:"),
        (operation("at: 1s, ask: one"), ":3:"),
        (operation("at: 1s, tell: nobody"), ":3:"),
        (operation("at: 1s, end: one, reason: bored"), ":3:"),
        (operation("at: 1s, tell: one, node: 3"), ":3:"),
        (flaky.to_owned(), "4:"),
    ]
}

/// Runs the command on a file, which it must refuse.
fn refused(text: &str, said: &str, command: &dyn Fn(&str) -> Vec<String>) {
    let file = File::new(text);
    let arguments = command(file.path());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let begun = Instant::now();
    let ran = output(&arguments);
    let shown: String = text.chars().take(200).collect();
    let all = format!("{arguments:?} of {shown:?}: {}", ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{all}");
    assert!(ran.stderr.contains(said), "{said:?}: {all}");
    assert!(ran.stderr.contains(file.path()), "{all}");
    assert!(!ran.stderr.contains("panicked"), "{all}");
    assert!(!ran.stderr.contains(['\u{7}', '\u{1b}', '\u{202e}']), "{all}");
    assert!(ran.stdout.is_empty(), "{all}");
    // Much more than it takes, and much less than a run.
    assert!(begun.elapsed() < Duration::from_secs(20), "{all}");
}

fn words(command: &str, path: &str) -> Vec<String> {
    command.split(' ').map(|word| if word == "FILE" { path } else { word }.to_owned()).collect()
}

const POLICIES: &str = "policy compare FILE --crashes examples/policies/crashes.yaml";
const CRASHES: &str = "policy compare examples/policies/policies.yaml --crashes FILE";

#[test]
fn what_no_file_may_be_is_refused_with_its_place() {
    for (text, said) in of_any_file() {
        for command in ["sim explore FILE", "sim run FILE", POLICIES, CRASHES] {
            refused(&text, said, &|path| words(command, path));
        }
    }
}

#[test]
fn what_no_topology_may_say_is_refused_with_its_place() {
    for (text, said) in topologies() {
        for command in ["sim explore FILE", "sim parity FILE --engines kernel,virtual"] {
            refused(&text, said, &|path| words(command, path));
        }
    }
}

#[test]
fn what_no_plan_may_say_is_refused_with_its_place() {
    for (text, said) in plans() {
        for command in ["sim run FILE", "sim replay FILE"] {
            refused(&text, said, &|path| words(command, path));
        }
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for command in ["sim explore FILE", "sim parity FILE", "sim check FILE", "sim run FILE"] {
        for path in ["no/such.yaml", "examples", "/dev/null", "", "README.md/x"] {
            let arguments = words(command, path);
            let ran = output(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.starts_with("error"), "{arguments:?}: {}", ran.stderr);
        }
    }
}

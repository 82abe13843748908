//! Processes of a topology, as `lictor run` starts them, and `lictor worker`.

use std::io::Read;
use std::process::Stdio;

use lictor::Value;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::processes::{descendants, exists, is_alive, wait_until};
use crate::support::{File, LONG, Logged, Running, kill_hard, lictor, output, pid_of};

/// A topology with an agent here and none on the process `w1`, for which nobody need wait. Nobody
/// listens at its broker.
fn file(process: &str) -> File {
    with_agents(process, "")
}

/// The same with an agent on it.
fn spread() -> File {
    with_agents("{}", "- agent: { name: there, type: lictor.echo, process: w1 }")
}

fn with_agents(process: &str, there: &str) -> File {
    File::new(&format!(
        "transport: {{type: nats, nats: {{servers: 'nats://127.0.0.1:1'}}}}\n\
         processes:\n  w1: {process}\n\
         supervision:\n  children:\n    \
         - agent: {{ name: here, type: lictor.echo }}\n    {there}\n"
    ))
}

/// A script that says its name and ends with its input.
const READS: &str = "echo I am $LICTOR_PROCESS $WHO >&2; cat > /dev/null";

fn script(text: &str, rest: &str) -> String {
    format!("{{ command: [sh, -c, '{text}'], backoff_base: 10ms{rest} }}")
}

fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind && event["process"] == "w1"
}

#[test]
fn a_process_that_dies_is_started_again_and_none_is_left_behind() {
    let file = file(&script(READS, ", env: { WHO: again }"));
    let mut run = Running::new(&["run", file.path(), "--json"]);
    let first = pid_of(&run.wait_for(|event| is(event, "process_started")));
    assert!(is_alive(first));
    kill_hard(first);
    let ended = run.wait_for(|event| is(event, "process_ended"));
    assert_eq!(ended["detail"], "killed by signal SIGKILL");
    let second = pid_of(&run.wait_for(|event| is(event, "process_started")));
    assert!(second != first && is_alive(second) && !exists(first));
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    assert!(rest.lines().iter().any(|event| is(event, "process_ended")));
    wait_until(|| !exists(second));
}

#[test]
fn a_process_that_does_not_stop_is_killed_in_time() {
    let deaf = std::env::temp_dir().join(format!("lictor-deaf-{}", std::process::id()));
    let text = format!("trap \"\" TERM; : >{}; while :; do sleep 1; done", deaf.display());
    let file = file(&script(&text, ", shutdown: 300ms"));
    let mut run = Running::new(&["run", file.path(), "--json"]);
    let pid = pid_of(&run.wait_for(|event| is(event, "process_started")));
    // Before the shell has come so far, the signal would end it.
    wait_until(|| deaf.exists());
    std::fs::remove_file(&deaf).unwrap();
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    let ended = rest.lines().into_iter().find(|event| is(event, "process_ended")).unwrap();
    assert_eq!(ended["detail"], "killed: it did not stop in time");
    wait_until(|| !exists(pid));
}

#[test]
fn a_process_that_cannot_live_ends_the_run() {
    let file = file(&script("exit 3", ", max_restarts: 2"));
    let ended = output(&["run", file.path(), "--json"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let lines = ended.lines();
    let starts = lines.iter().filter(|event| is(event, "process_started")).count();
    assert_eq!(starts, 3);
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["reason"]),
        (&json!("summary"), &json!("process_given_up"))
    );
    let file = self::file("{ command: [/no/such/program] }");
    let refused = output(&["run", file.path(), "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("cannot run /no/such/program"), "{}", refused.stderr);
}

#[test]
fn a_process_ends_with_the_one_that_started_it() {
    let file = file(&script(READS, ""));
    let mut run = Running::new(&["run", file.path(), "--json"]);
    let pid = pid_of(&run.wait_for(|event| is(event, "process_started")));
    let all = descendants(run.pid());
    assert!(all.contains(&pid));
    run.signal(Signal::SIGKILL);
    let _ = run.rest();
    for pid in all {
        wait_until(|| !is_alive(pid));
    }
}

#[test]
fn processes_that_somebody_else_starts_are_left_alone() {
    for (process, flags) in [("{ external: true }", vec![]), ("{}", vec!["--no-workers"])] {
        let file = file(process);
        let args = [vec!["run", file.path(), "--for", "200ms", "--json"], flags].concat();
        let ended = output(&args);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stdout.contains("process_started"), "{}", ended.stdout);
    }
}

#[test]
fn what_a_worker_writes_and_that_the_broker_is_away_is_logged() {
    let file = file(&script(READS, ", env: { WHO: secret }"));
    let ended = output(&["run", file.path(), "--for", "4s", "--json"]);
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.contains("[w1] I am w1 secret"), "{}", ended.stderr);
    assert!(ended.stderr.contains("no connection to the NATS server"), "{}", ended.stderr);
}

// It was at INFO, whatever it was, with two times.
#[test]
fn what_a_worker_logs_keeps_its_level_and_has_one_time() {
    let file = spread();
    let mut run = Logged::of(lictor(&["run", file.path(), "--json", "--for", "60s"]));
    let said = run.line("[w1] lictor::wire: no connection to the NATS server");
    assert!(said.contains(" WARN lictor::process: [w1]"), "{said}");
    assert_eq!(said.matches("Z ").count(), 1, "{said}");
    assert_eq!(run.end(), Some(0));
}

#[test]
fn a_worker_says_what_it_cannot_be() {
    let spread = spread();
    let single = File::new("supervision: { children: [{ type: lictor.echo, name: a }] }\n");
    for (args, expected) in [
        (
            vec!["worker", spread.path(), "--process", "w9"],
            "has no process \"w9\"; it has \"main\", \"w1\"",
        ),
        (vec!["worker", spread.path(), "--process", "main"], "is the process of the tree"),
        (vec!["worker", single.path(), "--process", "w1"], "the topology is of one process"),
        (vec!["worker", "/no/such.yaml", "--process", "w1"], "cannot read"),
        (vec!["worker", spread.path()], "--process"),
        (vec!["run", spread.path(), "--transport", "zqm"], "zqm"),
        (vec!["run", spread.path(), "--zmq-pub", "5559"], "tcp://HOST:PORT"),
        (vec!["run", spread.path(), "--nats-url", "http://x"], "nats://HOST:PORT"),
    ] {
        let refused = output(&args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{args:?}: {}", refused.stderr);
    }
    let mut piped =
        lictor(&["run", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = piped.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &std::fs::read(spread.path()).unwrap()).unwrap();
    drop(stdin);
    assert_eq!(piped.wait().unwrap().code(), Some(2));
}

// Defect: X3 (flags for the transport were ignored, and workers did not put variables in).
#[test]
fn flags_and_variables_hold_in_a_worker_as_in_a_run() {
    let text = "transport: {type: \"${KIND}\"}\nsupervision:\n  children:\n    \
                - agent: { name: \"${NAME}\", type: lictor.echo, process: w1 }\n";
    let file = File::new(text);
    let worker = |flags: &[&str]| {
        let args = [&["worker", file.path(), "--process", "w1", "--json", "--with-parent"], flags]
            .concat();
        let mut command = lictor(&args);
        command.env("KIND", "in_process").env("NAME", "there").stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let refused = worker(&[]).wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let mut taken = worker(&["--transport", "nats", "--nats-url", "nats://127.0.0.1:1"]);
    let mut stdout = taken.stdout.take().unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    let line: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((&line["event"], &line["process"]), (&json!("hosting"), &json!("w1")));
    assert_eq!(line["agents"], json!(["there"]));
    // Whoever started it has gone.
    let began = std::time::Instant::now();
    drop(taken.stdin.take());
    assert_eq!(taken.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < LONG);
}

#[test]
fn tree_shows_where_an_agent_runs() {
    let file = spread();
    let shown = output(&["tree", file.path()]).stdout;
    assert!(shown.contains("[agent] there @w1: lictor.echo"), "{shown}");
    assert!(shown.contains("[agent] here: lictor.echo"), "{shown}");
    let json = output(&["tree", "--json", file.path()]).lines().remove(0);
    assert_eq!(json["children"][1]["process"], "w1");
    assert_eq!(json["children"][0]["process"], Value::Null);
}

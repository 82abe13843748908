//! A tree over real processes that talk over ZeroMQ, with a forwarder of ours.

use std::process::Command;

use lictor::Value;
use nix::sys::signal::Signal;

use crate::keys::Folder;
use crate::ports::free_port;
use crate::processes::{descendants, exists, is_alive, wait_until};
use crate::support::{File, Running, answered, kill_hard, lictor, of, pid_of};

pub(crate) fn ports() -> [u16; 2] {
    [free_port(), free_port()]
}

pub(crate) fn with_ports(command: &mut Command, [out, into]: [u16; 2]) {
    command.env("PUB_PORT", out.to_string()).env("SUB_PORT", into.to_string());
}

fn run(file: &str, ports: [u16; 2], flags: &[&str]) -> Running {
    let args = [&["run", file, "--json"], flags].concat();
    let mut command = lictor(&args);
    with_ports(&mut command, ports);
    Running::of(command)
}

#[test]
fn a_worker_that_is_killed_comes_back_and_its_agents_are_supervised() {
    let mut run = run("examples/cluster.yaml", ports(), &[]);
    let first = pid_of(&run.wait_for(of("process_started", "stages")));
    let running = run.wait_for(|event| event["event"] == "running");
    assert_eq!(running["tree"]["children"][0]["process"], "vault");
    // Its agents run there and crash as configured; the tree here restarts them there.
    let crash = run.wait_for(of("crashed", "price"));
    assert_eq!(crash["detail"], "crashed at its message 40, as configured");
    let again = run.wait_for(of("started", "price"));
    assert_eq!(again["incarnation"], 2);
    kill_hard(first);
    assert_eq!(run.wait_for(of("process_ended", "stages"))["detail"], "killed by signal SIGKILL");
    let lost = run.wait_for(of("crashed", "tax"));
    assert_eq!(lost["reason"], "no_connection");
    let second = pid_of(&run.wait_for(of("process_started", "stages")));
    assert!(second != first && !exists(first));
    let back = run.wait_for(of("started", "tax"));
    assert_eq!(back["incarnation"], 2);
    run.wait_for(of("started", "price"));
    // And is of use again.
    let before = run.wait_for(|event| event["event"] == "stats");
    // What is counted elsewhere is not known here.
    let agents = before["agents"].as_array().unwrap();
    let counts = |name: &str| {
        let agent = agents.iter().find(|agent| agent["name"] == name).unwrap();
        let counts = before["counts"].as_object().unwrap();
        (agent["accepted"].clone(), agent["handled"].clone(), counts.get(name).cloned())
    };
    assert_eq!(counts("price"), (Value::Null, Value::Null, Some(Value::Null)));
    assert!(counts("orders").0.is_u64() && counts("orders").2.is_some_and(|it| it.is_object()));
    let more = |event: &Value| {
        event["event"] == "stats" && answered(event, "orders") > answered(&before, "orders") + 10
    };
    run.wait_for(more);
    let all = descendants(run.pid());
    assert!(all.contains(&second));
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    let lines = rest.lines();
    assert!(lines.iter().any(of("stopped", "till")), "{lines:?}");
    assert!(lines.iter().any(of("process_ended", "vault")), "{lines:?}");
    assert_eq!(lines.last().unwrap()["reason"], "signal");
    for pid in all {
        wait_until(|| !is_alive(pid));
    }
}

#[test]
fn workers_end_with_the_process_of_the_tree_however_it_ends() {
    let mut run = run("examples/cluster.yaml", ports(), &[]);
    run.wait_for(of("started", "till"));
    let all = descendants(run.pid());
    assert_eq!(all.len(), 2, "{all:?}");
    run.signal(Signal::SIGKILL);
    let _ = run.rest();
    for pid in all {
        wait_until(|| !is_alive(pid));
    }
}

#[test]
fn a_worker_that_somebody_else_starts_may_come_before_and_after() {
    let file = File::new(
        "transport:\n  type: zmq\n  zmq:\n    pub_addr: tcp://127.0.0.1:${PUB_PORT}\n    \
         sub_addr: tcp://127.0.0.1:${SUB_PORT}\n  \
         membership: { heartbeat_interval: 100ms, heartbeat_timeout: 200ms, ask_every: 100ms, \
         child_lease: 500ms }\n\
         processes:\n  far: { external: true }\n\
         supervision:\n  max_restarts: 10\n  backoff: NONE\n  children:\n    \
         - agent: { name: sum, type: lictor.counter, process: far }\n    \
         - agent: { name: clock, type: lictor.ticker, \
         config: { to: sum, kind: Add, payload: { n: 1 }, every: 50ms, ask: true } }\n",
    );
    let ports = ports();
    let worker = || {
        let mut command = lictor(&["worker", file.path(), "--process", "far", "--json"]);
        with_ports(&mut command, ports);
        Running::of(command)
    };
    let mut before = worker();
    before.wait_for(of("hosting", "far"));
    let mut run = run(file.path(), ports, &[]);
    run.wait_for(of("started", "sum"));
    run.wait_for(|event| event["event"] == "stats" && answered(event, "clock") > 2);
    before.signal(Signal::SIGTERM);
    assert_eq!(before.rest().status.code(), Some(0));
    run.wait_for(of("crashed", "sum"));
    let mut after = worker();
    after.wait_for(of("hosting", "far"));
    assert_eq!(run.wait_for(of("started", "sum"))["incarnation"], 2);
    run.signal(Signal::SIGTERM);
    assert_eq!(run.rest().status.code(), Some(0));
    assert!(is_alive(after.pid()), "somebody else ends it");
    after.signal(Signal::SIGTERM);
    assert_eq!(after.rest().status.code(), Some(0));
}

// Not after a lease and an eighth: that it is gone was seen.
#[test]
fn what_a_killed_worker_ran_starts_on_the_next_one_at_once() {
    let file = File::new(
        "transport:\n  type: zmq\n  zmq:\n    pub_addr: tcp://127.0.0.1:${PUB_PORT}\n    \
         sub_addr: tcp://127.0.0.1:${SUB_PORT}\n  membership: { child_lease: 8s }\n\
         processes:\n  near: { backoff_base: 10ms }\n\
         supervision:\n  backoff: NONE\n  children:\n    \
         - agent: { name: sum, type: lictor.counter, process: near }\n",
    );
    let mut run = run(file.path(), ports(), &[]);
    let pid = pid_of(&run.wait_for(of("process_started", "near")));
    run.wait_for(of("started", "sum"));
    kill_hard(pid);
    let ended = run.wait_for(of("process_ended", "near"));
    let back = run.wait_for(of("started", "sum"));
    let at = |event: &Value| event["at"].as_f64().unwrap();
    assert!(at(&back) - at(&ended) < 6.0, "{ended} {back}");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.rest().status.code(), Some(0));
}

// The same file, in one process, by a flag.
#[test]
fn one_flag_makes_one_process_of_it() {
    let mut run = run("examples/cluster.yaml", ports(), &["--transport", "in_process"]);
    run.wait_for(|event| event["event"] == "running");
    run.wait_for(of("crashed", "price"));
    assert!(descendants(run.pid()).is_empty());
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    assert!(!rest.stdout.contains("process_"));
}

// Signing is said in the file, and then whoever has no key is not heard.
#[test]
fn processes_sign_where_the_file_says_so() {
    let (keys, others) = (Folder::new("keys"), Folder::new("others"));
    let text = std::fs::read_to_string(crate::support::repository().join("examples/cluster.yaml"));
    let text = text.unwrap()
        + "security:\n  signing: { enabled: true }\n  identity: { key_dir: \"${KEYS}\" }\n";
    let file = File::new(&text);
    let (ports, args) = (ports(), ["run", file.path(), "--json"]);
    let mut command = lictor(&args);
    with_ports(&mut command, ports);
    command.env("KEYS", &keys.0);
    let mut run = Running::of(command);
    run.wait_for(of("started", "price"));
    run.wait_for(|event| event["event"] == "stats" && answered(event, "orders") > 2);
    for process in ["main", "stages", "vault"] {
        assert!(keys.0.join(process).join("id_ed25519").exists(), "{process}");
    }
    // One with other keys hosts nothing here, and disturbs nobody.
    let mut command =
        lictor(&["worker", file.path(), "--process", "vault", "--json", "--for", "1s"]);
    with_ports(&mut command, ports);
    command.env("KEYS", &others.0);
    let stranger = Running::of(command).rest();
    assert_eq!(stranger.status.code(), Some(0));
    assert!(!stranger.stdout.contains("peer_up"), "{}", stranger.stdout);
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    assert!(!rest.lines().iter().any(of("crashed", "till")), "{}", rest.stdout);
}

// Both said nothing, and one of them waited for ever.
#[test]
fn a_second_run_under_the_same_names_is_told_of() {
    let ports = ports();
    let mut first = run("examples/cluster.yaml", ports, &[]);
    first.wait_for(of("started", "till"));
    let mut command = lictor(&["run", "examples/cluster.yaml", "--json", "--no-workers"]);
    with_ports(&mut command, ports);
    let mut second = Running::logging(command);
    let said = second.logged("another process called \"main\" (boot ");
    assert!(said.contains("WARN") && said.contains("stop one of them"), "{said}");
    assert!(said.contains("in the cluster \"default\""), "{said}");
    second.signal(Signal::SIGTERM);
    first.signal(Signal::SIGTERM);
    assert_eq!((second.rest().status.code(), first.rest().status.code()), (Some(0), Some(0)));
}

#[test]
fn a_process_that_is_waited_for_is_named_with_what_to_do() {
    let mut command = lictor(&["run", "examples/cluster.yaml", "--json", "--no-workers"]);
    with_ports(&mut command, ports());
    let mut run = Running::logging(command);
    let said = run.logged("the process \"vault\" has not answered for ");
    assert!(said.contains("lictor worker examples/cluster.yaml --process vault"), "{said}");
    // And again.
    run.logged("the process \"vault\" has not answered for ");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.rest().status.code(), Some(0));
}

// It came twice at one instant.
#[test]
fn that_an_agent_waits_is_said_once() {
    let seen = std::cell::RefCell::new(Vec::new());
    let mut run = run("examples/cluster.yaml", ports(), &[]);
    let until = |event: &Value, is_it: bool| {
        seen.borrow_mut().push(event.clone());
        is_it
    };
    let started = run.wait_for(|event| until(event, of("process_started", "stages")(event)));
    run.wait_for(|event| until(event, of("started", "tax")(event)));
    kill_hard(pid_of(&started));
    run.wait_for(|event| until(event, of("crashed", "tax")(event)));
    run.wait_for(|event| until(event, of("started", "tax")(event)));
    run.signal(Signal::SIGTERM);
    assert_eq!(run.rest().status.code(), Some(0));
    let mut waiting = std::collections::BTreeSet::new();
    let mut waits = 0;
    for event in seen.borrow().iter() {
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        if event["event"] == "waiting" {
            assert!(waiting.insert(name), "{event}");
            waits += 1;
        } else {
            waiting.remove(&name);
        }
    }
    assert!(waits > 0);
}

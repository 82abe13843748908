//! `run`, from outside.

use lictor::Value;
use nix::sys::signal::Signal;

use crate::processes::{self, is_alive};
use crate::support::{File, Running, output, yaml};

fn is(event: &Value, kind: &str, name: &str) -> bool {
    event["event"] == kind && event["name"] == name
}

fn count(lines: &[Value], kind: &str) -> usize {
    lines.iter().filter(|line| line["event"] == kind).count()
}

#[test]
fn the_pipeline_crashes_and_heals_and_keeps_answering() {
    let ran = output(&["run", "examples/pipeline.yaml", "--for", "3s", "--json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let lines = ran.lines();
    assert_eq!(lines[0]["event"], "running");
    assert_eq!(lines[0]["tree"]["name"], "shop");
    let at = |is_it: &dyn Fn(&Value) -> bool| lines.iter().position(is_it).unwrap();
    let crashed = at(&|line| is(line, "crashed", "price"));
    let restarted = at(&|line| is(line, "started", "price") && line["incarnation"] == 2);
    assert!(at(&|line| is(line, "started", "price")) < crashed && crashed < restarted);
    assert!(count(&lines, "stats") >= 1);
    let summary = lines.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["reason"], "time");
    assert!(summary["uptime"].as_f64().unwrap() >= 3.0);
    assert_eq!(summary["crashes"], count(&lines, "crashed"));
    assert_eq!(summary["starts"], count(&lines, "started"));
    assert!(summary["restarts"].as_u64().unwrap() >= 1);
    // Nothing is lost but what was in hand at a crash.
    let (answered, failed) = (&summary["answered"], summary["unanswered"].as_u64().unwrap());
    assert!(answered.as_u64().unwrap() >= 20, "{summary}");
    assert!(failed <= summary["crashes"].as_u64().unwrap(), "{summary}");
    // It stops in reverse start order.
    let stops: Vec<&Value> =
        lines.iter().filter(|line| line["event"] == "stopped").map(|line| &line["name"]).collect();
    assert_eq!(stops.last().unwrap(), &"till");
}

#[test]
fn the_office_spawns_asks_and_dies_with_its_process() {
    let ran = output(&["run", "examples/office.yaml", "--for", "4s", "--json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let lines = ran.lines();
    let any = |is_it: &dyn Fn(&Value) -> bool| assert!(lines.iter().any(is_it), "{}", ran.stdout);
    any(&|line| is(line, "started", "desk-2"));
    any(&|line| is(line, "crashed", "porter") && line["detail"] == "exit status 3");
    any(&|line| is(line, "started", "porter") && line["incarnation"] == 2);
    // REST_FOR_ONE: what stands after the clerk goes with it, what stands before does not.
    any(&|line| is(line, "started", "post") && line["incarnation"] == 2);
    assert_eq!(lines.iter().filter(|line| is(line, "started", "ledger")).count(), 1);
    assert!(lines.last().unwrap()["counts"]["porter"]["answers"].as_u64().unwrap() >= 10);
    assert!(ran.stderr.contains("good morning"), "{}", ran.stderr);
}

#[test]
fn a_tree_that_gives_up_ends_with_1() {
    let file = File::new(
        "supervision:\n  max_restarts: 1\n  backoff: NONE\n  children:\n    \
         - agent: { name: bad, type: lictor.flaky, config: { crash_every: 1 } }\n    \
         - agent: { name: clock, type: lictor.ticker, config: { to: bad, every: 10ms } }\n",
    );
    let ran = output(&["run", file.path()]);
    assert_eq!(ran.status.code(), Some(1));
    let lines = ran.lines();
    assert_eq!(count(&lines, "restarts_exhausted"), 1);
    assert_eq!(count(&lines, "terminated"), 1);
    let summary = lines.last().unwrap();
    assert_eq!(summary["reason"], "restarts_exhausted");
    assert_eq!(summary["crashes"], 2);
    // Those that were in hand have no event of their own; the last one may have gone with its agent.
    assert!(summary["dead_letters"].as_u64().unwrap() >= 1, "{summary}");
}

// Events had one order, what the command adds another.
#[test]
fn the_keys_of_all_lines_are_in_one_order() {
    let ran = output(&["run", "examples/pipeline.yaml", "--for", "2s", "--json"]);
    let kinds: std::collections::BTreeSet<&str> = ran
        .stdout
        .lines()
        .map(|line| {
            let rest = line.strip_prefix("{\"event\":\"").unwrap_or_else(|| panic!("{line}"));
            let (kind, rest) = rest.split_once("\",\"at\":").unwrap_or_else(|| panic!("{line}"));
            let named = rest.split_once(',').is_some_and(|(_, rest)| rest.starts_with("\"name\":"));
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(named, value.get("name").is_some(), "{line}");
            kind
        })
        .collect();
    for kind in ["running", "started", "stats", "summary"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
}

#[test]
fn a_tree_that_does_not_start_ends_with_1() {
    let file = File::new(&yaml(
        "- agent: { name: good, type: lictor.echo }\n\
         - agent: { name: bad, type: lictor.flaky, config: { fail_start_every: 1 } }",
    ));
    let ran = output(&["run", file.path()]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("start 1 failed, as configured"), "{}", ran.stderr);
    let lines = ran.lines();
    assert_eq!(lines.last().unwrap()["reason"], "start_failed");
    assert_eq!(count(&lines, "running"), 0);
}

#[test]
fn a_tree_that_has_done_its_work_ends_with_0() {
    let file = File::new(
        "supervision:\n  auto_shutdown: any_significant\n  children:\n    \
         - agent: { name: to, type: lictor.echo }\n    \
         - agent:\n        name: work\n        type: lictor.ticker\n        \
         significant: true\n        config: { to: to, every: 1ms, count: 5 }\n",
    );
    let ran = output(&["run", file.path()]);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stdout);
    assert_eq!(ran.lines().last().unwrap()["counts"]["work"]["sent"], 5);
}

#[test]
fn interrupt_and_terminate_stop_gracefully() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut running = Running::new(&["run", "examples/pipeline.yaml", "--json"]);
        running.wait_for(|event| event["event"] == "running");
        running.signal(signal);
        let ran = running.rest();
        assert_eq!(ran.status.code(), Some(0));
        let lines = ran.lines();
        assert!(lines.iter().any(|line| is(line, "stopped", "till")), "{}", ran.stdout);
        assert!(lines.iter().any(|line| is(line, "supervisor_stopped", "shop")));
        assert_eq!(lines.last().unwrap()["reason"], "signal");
    }
}

/// A tree with a process that would take an hour to stop.
fn slow_to_stop() -> File {
    File::new(&yaml(&format!(
        "- agent:\n    name: stubborn\n    type: lictor.exec\n    shutdown: infinity\n    \
         config: {{ command: sh, args: [-c, {}], stop_grace: 1h }}\n\
         - agent: {{ name: sink, type: lictor.echo }}",
        processes::quoted(processes::STUBBORN),
    )))
}

/// Waits until the process is set up, and gives all that it consists of.
fn family(running: &mut Running) -> Vec<u32> {
    running.wait_for(|event| event["counts"]["stubborn"]["garbage"] == 1);
    let pids = processes::descendants(running.pid());
    assert!(pids.len() >= 2, "{pids:?}");
    pids
}

#[test]
fn a_second_interrupt_kills_everything_at_once() {
    let file = slow_to_stop();
    let mut running = Running::new(&["run", file.path(), "--json", "--log", "info"]);
    let pids = family(&mut running);
    running.signal(Signal::SIGINT);
    running.wait_for(|event| is(event, "stopped", "sink"));
    running.signal(Signal::SIGINT);
    let ran = running.rest();
    assert_eq!(ran.status.code(), Some(130));
    for pid in pids {
        processes::wait_until(|| !is_alive(pid));
    }
}

#[test]
fn a_stop_that_takes_too_long_is_cut_short() {
    let file = slow_to_stop();
    let mut running = Running::new(&["run", file.path(), "--stop-timeout", "50ms"]);
    let pids = family(&mut running);
    running.signal(Signal::SIGTERM);
    let ran = running.rest();
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stdout);
    assert!(ran.lines().iter().any(|line| is(line, "shutdown_error", "stubborn")));
    for pid in pids {
        processes::wait_until(|| !is_alive(pid));
    }
}

#[test]
fn a_reader_that_goes_away_stops_the_tree() {
    let mut running = Running::new(&["run", "examples/pipeline.yaml", "--json"]);
    running.wait_for(|event| event["event"] == "running");
    assert_eq!(running.close_and_wait().code(), Some(0));
}

// Only a count told that its messages went nowhere.
#[test]
fn a_ticker_says_once_that_its_receiver_does_not_exist() {
    let file = File::new(&yaml(
        "- agent: { name: t, type: lictor.ticker, config: { to: nobody, every: 5ms } }",
    ));
    let ran = output(&["run", file.path(), "--for", "100ms"]);
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(ran.stderr.matches("no agent has the name \"nobody\"").count(), 1, "{}", ran.stderr);
}

#[test]
fn no_time_at_all_is_time_enough_to_start_and_stop() {
    let ran = output(&["run", "examples/pipeline.yaml", "--for", "0s"]);
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(count(&ran.lines(), "running"), 1);
    assert_eq!(ran.lines().last().unwrap()["reason"], "time");
}

// Each line of it was logged: 27 MB a second.
#[test]
fn a_flood_of_garbage_does_not_flood_the_log() {
    let flood =
        processes::quoted("i=0; while [ $i -lt 3000 ]; do echo garbage; i=$((i+1)); done; cat");
    let file = File::new(&yaml(&format!(
        "- agent: {{ name: p, type: lictor.exec, config: {{ command: sh, args: [-c, {flood}] }} }}"
    )));
    let ran = output(&["run", file.path(), "--for", "2s"]);
    let summary = ran.lines().pop().unwrap();
    assert_eq!(summary["counts"]["p"]["garbage"], 3000, "{}", ran.stdout);
    let logged = ran.stderr.lines().count();
    assert!((10..=25).contains(&logged), "{logged}: {}", ran.stderr);
}

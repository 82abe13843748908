//! `lictor sim run`, `explore` and `replay`.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use lictor_sim::engine::Engine;
use lictor_sim::fault::{Facts, Kind, Place, Unit};
use lictor_sim::plan::{Mix, share_text};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::{File, lictor, output, repository};

/// A plan whose last crash has no time to heal.
const HASTY: &str = "
topology: {supervision: {children: [{agent: {name: one, type: t, restart: permanent}}]}}
horizon: 2s
calm: 0s
operations: [{ at: 1s, tell: one }]
faults: [{ at: 2s, crash: one }]
";

const QUIET: &str = "
supervision:
  children:
    - agent: { name: one, type: t }
    - agent: { name: two, type: t }
";

const QUIET_PLAN: &str = "
topology:
  supervision:
    children:
      - agent: { name: one, type: t, restart: permanent }
horizon: 2s
";

#[test]
fn the_example_plans_hold() {
    for name in ["crash_and_heal", "partition"] {
        let file = format!("examples/plans/{name}.yaml");
        let ran = output(&["sim", "run", &file]);
        assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.starts_with(&format!("{file}: every invariant held\n")));
        let once = output(&["sim", "run", &file, "--json"]).lines();
        let twice = output(&["sim", "run", &file, "--json"]).lines();
        assert_eq!(once[0]["digest"], twice[0]["digest"]);
        assert_eq!(once[0]["violation"], serde_json::Value::Null);
        assert!(once[0]["events"].as_u64().unwrap() > 100);
    }
}

#[test]
fn every_engine_runs_the_example_plans_and_they_agree() {
    for engine in ["kernel", "virtual", "turmoil"] {
        let file = "examples/plans/crash_and_heal.yaml";
        let ran = output(&["sim", "run", file, "--engine", engine, "--json"]);
        assert_eq!(ran.status.code(), Some(0), "{engine}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.lines()[0]["engine"], engine);
    }
    let trio = ["examples/trio.yaml", "--nodes", "3", "--seeds", "3"];
    let ran = output(&[&["sim", "parity"], &trio[..]].concat());
    assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("kernel, virtual and turmoil agree"), "{}", ran.stdout);
    let two = ["sim", "parity", "examples/office.yaml", "--seeds", "5", "--json"];
    let ran = output(&[&two[..], &["--engines", "kernel,virtual"]].concat());
    let summary = &ran.lines()[0];
    assert_eq!((&summary["differ"], &summary["seeds"]), (&0.into(), &5.into()));
    assert!(summary["steps"].as_u64().unwrap() > 500, "{summary}");
}

#[test]
fn a_violation_is_status_1_and_comes_with_the_command_that_shows_it() {
    let plan = File::new(HASTY);
    let ran = output(&["sim", "run", plan.path()]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stdout.contains("violates L1 at 2s"), "{}", ran.stdout);
    let last = ran.stdout.lines().last().unwrap();
    assert!(last.starts_with("lictor sim replay "), "{last}");
    let arguments: Vec<&str> = last.split(' ').skip(1).collect();
    let again = output(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.contains("violates L1"), "{}", again.stdout);
    assert!(again.stdout.contains("crash"), "{}", again.stdout);
}

#[test]
fn a_trace_has_a_line_for_each_record() {
    let plan = File::new(HASTY);
    let trace = File::new("");
    let ran = output(&["sim", "run", plan.path(), "--json", "--trace", trace.path()]);
    let lines = fs::read_to_string(trace.path()).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, ran.lines()[0]["records"].as_u64().unwrap());
    assert!(lines.iter().any(|line| line["what"] == "exited" && line["who"] == "one"));
    let until = output(&["sim", "replay", plan.path(), "--until", "2"]);
    let shown = |number: usize| {
        let first = |line: &str| line.split_whitespace().next() == Some(&number.to_string());
        until.stdout.lines().any(first)
    };
    assert!(shown(2) && !shown(3), "{}", until.stdout);
    let page = File::new("");
    output(&["sim", "replay", plan.path(), "--html", page.path()]);
    let page = fs::read_to_string(page.path()).unwrap();
    assert!(page.contains("<html") && page.contains("one"));
}

#[test]
fn a_replay_ends_at_a_record_or_a_time_and_says_what_led_there() {
    let plan = File::new(HASTY);
    let until = |until: &str| {
        let ran = output(&["sim", "replay", plan.path(), "--until", until, "--explain"]);
        assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
        ran.stdout
    };
    let at_once = until("1s");
    assert!(at_once.starts_with("what led to the last record\n"), "{at_once}");
    assert!(at_once.contains("operation 0: at: 1s, tell: one\n"), "{at_once}");
    let end = until("2s");
    assert!(end.starts_with("what led to the violation of L1 at 2s"), "{end}");
    assert!(end.contains("fault 0: at: 2s, crash: one\n") && !end.contains("tell"), "{end}");
    let bad = output(&["sim", "replay", plan.path(), "--until", "soon"]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn every_seed_can_be_run_again() {
    let topology = File::new(QUIET);
    for (flag, reruns) in [(None, 2), (Some("--check-determinism"), 100)] {
        let calm = ["sim", "explore", topology.path(), "--faults", "calm", "--operations", "5"];
        let rest = ["--seeds", "100", "--json"];
        let ran = output(&[&calm[..], &rest, flag.as_slice()].concat());
        assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.lines()[0]["reruns"], reruns);
    }
    let plan = File::new(HASTY);
    let again = output(&["sim", "replay", plan.path(), "--check-determinism"]);
    assert!(again.stdout.ends_with("every run of it is the same\n"), "{}", again.stdout);
}

#[test]
fn bad_plans_and_flags_are_status_2() {
    let bad = File::new("topology: {supervision: {}}\nhorizon: 1s\nfaults: [{at: 2s, crsh: x}]\n");
    let ran = output(&["sim", "run", bad.path()]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stderr.contains("did you mean `crash`?"), "{}", ran.stderr);
    assert!(ran.stderr.contains("beyond the horizon"), "{}", ran.stderr);
    let good = File::new(HASTY);
    let topology = File::new(QUIET);
    let late = File::new(&HASTY.replace("crash: one", "late_timers: 0, amount: 1s, lasts: 1ms"));
    let last = "18446744073709551615";
    for (arguments, said) in [
        (vec!["sim", "run", "no/such.yaml"], "cannot read no/such.yaml"),
        (vec!["sim", "run", good.path(), "--engine", "tokio"], "possible values"),
        (vec!["sim", "run", late.path(), "--engine", "turmoil"], "late_timers"),
        (vec!["sim", "parity", topology.path(), "--engines", "kernel"], "nothing to be compared"),
        (vec!["sim", "run", good.path(), "--trace", "/no/such/folder/x"], "cannot write"),
        (vec!["sim", "explore", "no/such.yaml"], "cannot read no/such.yaml"),
        (vec!["sim", "explore", topology.path(), "--seeds", "0"], "--seeds"),
        (vec!["sim", "explore", topology.path(), "--from", last], "`--seeds 1` is the most"),
        (vec!["sim", "explore", topology.path(), "--nodes", "65"], "1 to 64 nodes"),
        (vec!["sim", "explore", topology.path(), "--faults", "swam"], "known: swarm"),
        (vec!["sim", "explore", topology.path(), "--threads", "0"], "--threads"),
        (vec!["sim", "explore", topology.path(), "--shrink-for", "5x"], "--shrink-for"),
        (vec!["sim", "explore", topology.path(), "--faults", "network"], "add `--nodes 2`"),
        (vec!["sim", "explore", topology.path(), "--faults", "async"], "no faults of `async`"),
        (vec!["sim", "explore", topology.path(), "--place"], "add `--nodes 2`"),
        (
            vec!["sim", "explore", topology.path(), "--place", "--engine", "virtual"],
            "add `--nodes 2`",
        ),
        (vec!["sim", "run", good.path(), "--model", "--engine", "virtual"], "leave out `--model`"),
        (
            vec!["sim", "replay", good.path(), "--model", "--engine", "turmoil"],
            "the reference model",
        ),
        (vec!["sim", "parity", topology.path(), "--threads", "1025"], "1 to 1024 threads"),
    ] {
        let ran = output(&arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_plan_that_is_much_too_long_is_refused_quickly() {
    let many = "  - { at: 1s, crash: one }\n".repeat(1_400_000);
    let plan = File::new(&format!(
        "{}\n{many}",
        HASTY.split("faults").next().unwrap().to_owned() + "faults:"
    ));
    let ran = output(&["sim", "run", plan.path()]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stderr.contains("error[too-large]"), "{}", ran.stderr);
}

#[test]
fn a_campaign_does_not_depend_on_the_threads() {
    let topology = File::new(QUIET);
    let on = |threads| {
        let calm = ["sim", "explore", topology.path(), "--faults", "calm", "--operations", "50"];
        let rest = ["--seeds", "100", "--from", "7", "--json", "--threads", threads];
        let ran = output(&[calm.as_slice(), &rest].concat());
        assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.is_empty(), "no progress where there is no terminal: {}", ran.stderr);
        ran.lines().remove(0)
    };
    let (one, three) = (on("1"), on("3"));
    for key in ["digest", "events", "seeds", "faults_injected", "sometimes_missing", "violations"] {
        assert_eq!(one[key], three[key], "{key}");
        assert!(!one[key].is_null(), "{key}");
    }
    assert_eq!((one["seeds"].as_u64(), one["from"].as_u64()), (Some(100), Some(7)));
    assert!(one["events_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn ctrl_c_stops_a_campaign_and_shows_what_there_is() {
    let topology = File::new(QUIET);
    let mut command = lictor(&[
        "sim",
        "explore",
        topology.path(),
        "--faults",
        "calm",
        "--seeds",
        "1000000000",
        "--json",
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().unwrap();
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // Its handler must be there; a process that is killed instead ends with no output at all.
    let status = format!("/proc/{}/status", child.id());
    let catches = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
    };
    while !catches() {
        std::thread::yield_now();
    }
    killpg(group, Signal::SIGINT).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let summary: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert!(summary["seeds"].as_u64().unwrap() < 1_000_000_000);
}

/// The rows of the manual's table of faults.
fn fault_rows() -> String {
    let mut rows = String::new();
    for kind in Kind::ALL {
        let Facts { name, group, place, lasts, amount, engines, what } = kind.facts();
        let place = match place {
            Place::World => "`everywhere`",
            Place::Node => "node",
            Place::Link => "two nodes",
            Place::Agent => "agent",
            Place::Supervisor => "supervisor",
        };
        let range = kind.amounts();
        let amount = match amount {
            Unit::None => "–".to_owned(),
            Unit::PerMillion => format!("share, to {}", share_text(*range.end())),
            Unit::Time => "time".to_owned(),
            Unit::Count => format!("{} to {}", range.start(), range.end()),
        };
        let lasts = if lasts { "yes" } else { "–" };
        let on: Vec<&str> =
            Engine::ALL.iter().filter(|engine| engines.has(**engine)).map(|e| e.word()).collect();
        let (group, on) = (group.word(), on.join(", "));
        rows += &format!("| `{name}` | {group} | {place} | {amount} | {lasts} | {on} | {what} |\n");
    }
    rows
}

/// A file that cannot be made is a fault of the flag; a disk that is full is not.
#[cfg(target_os = "linux")]
#[test]
fn a_trace_that_cannot_be_written_in_full_is_lost_output() {
    let plan = File::new(QUIET_PLAN);
    for arguments in [
        ["sim", "run", plan.path(), "--trace", "/dev/full"],
        ["sim", "replay", plan.path(), "--trace", "/dev/full"],
        ["sim", "replay", plan.path(), "--html", "/dev/full"],
    ] {
        let ran = output(&arguments);
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("cannot write /dev/full"), "{arguments:?}: {}", ran.stderr);
    }
}

/// It came back a year too late to be up, by a deadline that did not know of its backoff.
#[test]
fn a_topology_has_as_long_to_heal_as_it_waits() {
    let tree = QUIET_PLAN.replace(
        "supervision:",
        "supervision:\n    backoff: CONSTANT\n    backoff_base: 400d\n    backoff_max: 400d",
    );
    let plan = File::new(&format!("{tree}faults: [{{ at: 1s, crash: one }}]\n"));
    let ran = output(&["sim", "run", plan.path()]);
    assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
    let hasty = File::new(&format!("{tree}calm: 1s\nfaults: [{{ at: 1s, crash: one }}]\n"));
    let ran = output(&["sim", "run", hasty.path()]);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
    let said = "`one` is not up after the time to heal; its last end was at 1s: crashed";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

#[test]
fn the_manual_knows_every_fault_and_every_mix() {
    let path = repository().join("docs/simulation.md");
    let manual = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- faults -->\n", "<!-- end of faults -->\n");
    let (head, rest) = manual.split_once(begin).unwrap();
    let (table, tail) = rest.split_once(end).unwrap();
    let title = "| fault | group | where | `amount` | `lasts` | engines | what it does |\n\
                 |---|---|---|---|---|---|---|\n";
    let expected = format!("{title}{}", fault_rows());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{head}{begin}{expected}{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(table, expected, "run this test with UPDATE=1");
    for mix in Mix::all() {
        assert!(manual.contains(&format!("`{}`", mix.word())), "{mix:?}");
    }
}

/// The plans that the manual shows are good.
#[test]
fn the_plans_of_the_manual_are_read() {
    let manual = fs::read_to_string(repository().join("docs/simulation.md")).unwrap();
    let mut plans = 0;
    for block in manual.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if text.starts_with("topology:") {
            let plan = File::new(text);
            let ran = output(&["sim", "run", plan.path()]);
            assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
            plans += 1;
        }
    }
    assert!(plans > 0);
}

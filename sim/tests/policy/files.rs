use std::io;
use std::time::Duration;

use lictor_kernel::supervisor::Strategy;
use lictor_kernel::{Backoff, Jitter};
use lictor_sim::policy::{
    CrashModel, Fails, MAX_SEEDS, ReadCrashes, common_children, read_crashes, read_policies,
};
use lictor_topology::{Diagnostics, NoEnvironment};
use proptest::prelude::*;

use crate::{ms, secs};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies/");

/// Line, column and code of each fault, with the help where there is one.
fn faults(diagnostics: &Diagnostics) -> Vec<String> {
    let line = |d: &lictor_topology::Diagnostic| {
        let help = d.help.as_ref().map_or_else(String::new, |help| format!(": {help}"));
        format!("{}:{} {}{help}", d.line, d.column, d.code)
    };
    diagnostics.iter().map(line).collect()
}

fn policies(text: &str) -> Vec<String> {
    let read = read_policies("p.yaml", text.as_bytes(), &NoEnvironment);
    assert!(read.value.is_none(), "{text}");
    faults(&read.diagnostics)
}

fn log(name: &str) -> io::Result<Vec<u8>> {
    match name {
        "good.log" => Ok(b"1.5 a # first\n\n 2s\n500ms b\n".to_vec()),
        "bad.log" => Ok(b"1s a b\n-1s a\n1s c\nsoon\n".to_vec()),
        "empty.log" => Ok(b"# nothing\n".to_vec()),
        "long.log" => Ok(b"1s a\n".repeat(100_001)),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn read(text: &str) -> ReadCrashes {
    let known = ["a".to_owned(), "b".to_owned()];
    read_crashes("c.yaml", text.as_bytes(), &NoEnvironment, Some(&known), &mut log)
}

fn crashes(text: &str) -> Vec<String> {
    let read = read(text);
    assert!(read.value.is_none(), "{text}");
    read.diagnostics.iter().flat_map(faults).collect()
}

#[test]
fn the_examples_are_good() {
    let text = std::fs::read(format!("{EXAMPLES}policies.yaml")).unwrap();
    let policies = read_policies("policies.yaml", &text, &NoEnvironment).into_result().unwrap();
    assert_eq!(policies.policies.len(), 6);
    let children = common_children(&policies.policies);
    assert_eq!(children, ["child-1", "child-2", "child-3", "child-4"]);
    let text = std::fs::read(format!("{EXAMPLES}crashes.yaml")).unwrap();
    let mut open = |name: &str| std::fs::read(format!("{EXAMPLES}{name}"));
    let read = read_crashes("crashes.yaml", &text, &NoEnvironment, Some(&children), &mut open);
    assert!(read.diagnostics.iter().all(Diagnostics::is_empty), "{:?}", read.diagnostics);
    let file = read.value.unwrap();
    assert_eq!((file.crashes.len(), file.duration), (5, secs(3600)));
}

#[test]
fn a_policy_has_the_defaults_of_its_file_and_of_topologies() {
    let text = "
children: [front, back]
start_time: 1s
repair_after: never
policies:
  - name: plain
  - name: own
    strategy: rest_for_one
    max_restarts: 7
    restart_window: 10s
    backoff: exponential
    backoff_base: 100ms
    stable_after: 1m
    children: 3
    supervisors: 5
    repair_after: 1m
";
    let file = read_policies("p.yaml", text.as_bytes(), &NoEnvironment).into_result().unwrap();
    let [plain, own] = &file.policies[..] else { panic!() };
    assert_eq!(plain.children, ["front", "back"]);
    assert_eq!((plain.start_time, plain.repair_after, plain.supervisors), (secs(1), None, 1));
    assert_eq!((plain.intensity.max_restarts, plain.intensity.period), (3, secs(60)));
    assert_eq!(plain.backoff, Backoff::constant(secs(1)));
    assert_eq!(own.strategy, Strategy::RestForOne);
    assert_eq!((own.children.len(), own.supervisors), (3, 5));
    assert_eq!((own.start_time, own.repair_after), (secs(1), Some(secs(60))));
    let backoff = Backoff::exponential(ms(100), secs(60)).jitter(Jitter::Quarter);
    assert_eq!(own.backoff, backoff.stable_after(secs(60)));
    assert!(common_children(&file.policies).is_empty(), "no child has the same place in both");
}

#[test]
fn every_fault_of_a_file_of_policies_has_its_place_and_a_hint() {
    let text = "
children: 0
start_time: 10us
stop_tme: 1s
policies:
  - name: a
    max_restarts: -1
    restart_window: 0s
    backoff: EXPONENTAL
  - name: a
    backoff_base: 2m
    jitter: ful
  - strategy: ONE_FOR_NONE
    children: [x, x]
  - 7
";
    let expected = [
        "2:11 out-of-range",
        "3:13 out-of-range",
        "4:1 unknown-key: did you mean `stop_time`?",
        "7:19 out-of-range",
        "8:21 out-of-range",
        "9:14 unknown-value: did you mean `EXPONENTIAL`?",
        "10:11 duplicate-name: give each policy a name of its own",
        "11:19 bad-combination: lower the base or raise the maximum",
        "12:13 unknown-value: did you mean `full`?",
        "13:5 missing-key",
        "13:15 unknown-value: did you mean `ONE_FOR_ONE`?",
        "14:19 duplicate-name: give each child a name of its own",
        "15:5 wrong-type: give it keys, such as `name:`",
    ];
    assert_eq!(policies(text), expected);
    assert_eq!(policies("policies: []"), ["1:11 too-few"]);
    assert_eq!(policies(""), ["1:1 empty-file: start with a top-level `policies:` key"]);
    let many: String = (0..33).map(|n| format!("  - name: p{n}\n")).collect();
    assert_eq!(policies(&format!("policies:\n{many}")), ["34:5 too-many"]);
    let crowd = "policies: [{name: a, children: 101, supervisors: 100}]";
    let help = "every supervisor has all the children; lower one of the two";
    assert_eq!(policies(crowd), [format!("1:50 too-many: {help}")]);
}

#[test]
fn crash_models_are_read() {
    let text = "
for: 2h
seeds: 7
crashes:
  - {name: s, model: mtbf, mean: 10m, children: [b]}
  - {name: l, model: crash_loop, at: 1m, fixed_after: 5m}
  - {name: m, model: crash_loop, at: 1m, fixed_after: 5m, crash_after: 0s}
  - {name: p, model: poison_message, every: 1h, expires: 5s}
  - {name: o, model: dependency_outage, at: 1m, lasts: 30s}
  - {name: r, model: recorded, file: good.log}
";
    let file = read(text).value.unwrap();
    assert_eq!((file.duration, file.seeds), (secs(7200), 7));
    let models: Vec<&CrashModel> = file.crashes.iter().map(|crashes| &crashes.model).collect();
    assert_eq!(*models[0], CrashModel::Mtbf { mean: secs(600), children: vec![1] });
    let fails = |index: usize| {
        let CrashModel::CrashLoop { fails, .. } = models[index] else { panic!() };
        *fails
    };
    assert_eq!((fails(1), fails(2)), (Fails::AtStart, Fails::After(Duration::ZERO)));
    let CrashModel::Recorded { crashes } = models[5] else { panic!() };
    let crashes: Vec<_> = crashes.iter().map(|crash| (crash.at, crash.child)).collect();
    assert_eq!(crashes, [(ms(1500), Some(0)), (ms(2000), None), (ms(500), Some(1))]);
}

#[test]
fn every_fault_of_a_file_of_crash_models_has_its_place_and_a_hint() {
    let text = "
for: 10000d
seeds: 0
crashes:
  - {name: a, model: mtbf, mean: -1s, children: [c, a, a]}
  - {name: a, model: mtfb, mean: 1s}
  - {name: b, modle: mtbf}
  - {name: c, at: 1s}
  - {name: d, model: crash_loop, fixd_after: 1s, children: []}
  - {name: e, model: poison_message, every: 0s}
  - {name: f, model: dependency_outage, at: 1s, lasts: 1s, capacity: 5}
  - {name: g, model: recorded, file: none.log}
  - {name: h, model: recorded, file: empty.log}
";
    let expected = [
        "2:6 out-of-range",
        "3:8 out-of-range",
        "5:34 out-of-range",
        "5:50 unknown-name: known: `a` or `b`",
        "5:56 duplicate-name: name each child once",
        "6:22 unknown-name: did you mean `mtbf`?",
        "7:15 missing-key: did you mean `model`?",
        "8:5 missing-key: give it one of `mtbf`, `crash_loop`, `poison_message`, \
         `dependency_outage`, `recorded`",
        "9:5 missing-key",
        "9:34 unknown-key: did you mean `fixed_after`?",
        "9:60 too-few",
        "10:5 missing-key: say after how many `deliveries` it is skipped, or after what time it \
         `expires`",
        "10:45 out-of-range",
        "11:60 missing-key: add `prolongs`, or remove `capacity`",
        "12:38 unreadable: the name is relative to the folder of this file",
        "13:38 too-few",
    ];
    assert_eq!(crashes(text), expected);
    let seeds = format!("seeds: {}\ncrashes: []", u64::from(MAX_SEEDS) + 1);
    assert_eq!(crashes(&seeds), ["1:8 out-of-range", "2:10 too-few"]);
}

#[test]
fn faults_of_a_crash_log_are_those_of_its_lines() {
    let found = crashes("crashes: [{name: r, model: recorded, file: bad.log}]");
    let seconds = "write seconds as a plain number (`1.5`), or a unit: `500ms`, `10s`, `2m`";
    let expected = [
        "1:6 too-many: a comment begins with `#`".to_owned(),
        format!("2:1 out-of-range: {seconds}"),
        "3:4 unknown-name: known: `a` or `b`".to_owned(),
        format!("4:1 wrong-type: {seconds}"),
    ];
    assert_eq!(found, expected);
    let found = crashes("crashes: [{name: r, model: recorded, file: long.log}]");
    assert_eq!(found, ["100001:1 too-much"]);
}

#[test]
fn names_are_not_judged_where_the_policies_are_no_good() {
    let text = "crashes: [{name: a, model: mtbf, mean: 1s, children: [x]}, \
                {name: r, model: recorded, file: good.log}]";
    let read = |known| {
        let read = read_crashes("c.yaml", text.as_bytes(), &NoEnvironment, known, &mut log);
        read.diagnostics.iter().flat_map(faults).collect::<Vec<_>>()
    };
    assert!(read(None).is_empty());
    let help = "leave `children` out, or let all policies begin with the same children";
    let expected = [
        format!("1:55 unknown-name: {help}"),
        "1:5 unknown-name".to_owned(),
        "4:7 unknown-name".to_owned(),
    ];
    assert_eq!(read(Some(&[])), expected);
}

#[test]
fn what_lies_beyond_the_run_is_warned_of() {
    let text = "for: 1m\ncrashes: [{name: a, model: crash_loop, at: 1m, fixed_after: 1s}]";
    let read = read(text);
    assert!(read.value.is_some());
    let help = "give an earlier time, or a longer `for`";
    assert_eq!(faults(&read.diagnostics[0]), [format!("2:44 no-effect: {help}")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is cut out of a good file, the answer is a value or a fault, never a panic.
    #[test]
    fn no_text_is_too_broken(from in 0_usize..2_500, length in 0_usize..60, junk in ".{0,6}") {
        for (name, crash) in [("policies.yaml", false), ("crashes.yaml", true)] {
            let mut text = std::fs::read_to_string(format!("{EXAMPLES}{name}")).unwrap();
            let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            let (from, to) = (boundary(from).unwrap(), boundary(from + length).unwrap());
            text.replace_range(from..to, &junk);
            let (value, faults) = if crash {
                let read = read(&text);
                (read.value.is_some(), read.diagnostics.iter().map(Diagnostics::len).sum())
            } else {
                let read = read_policies(name, text.as_bytes(), &NoEnvironment);
                (read.value.is_some(), read.diagnostics.len())
            };
            prop_assert!(value || faults > 0);
        }
    }
}

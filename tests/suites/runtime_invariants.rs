//! What must hold whatever happens: random programs over a small tree, judged by what the agents
//! wrote down. Every program runs twice, once with all messages encoded, and must go the same way.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "runtime_support.rs"]
mod support;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lictor::prelude::*;
use lictor::{Restart, RuntimeStatus, Status, Strategy as Supervision};
use proptest::prelude::*;
use support::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const SIZE: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(usize),
    Panic(usize),
    Fail(usize),
    Finish(usize),
    Sleep(usize),
    FailStarts(usize, u32),
    Suspend(usize),
    Resume(usize),
    Restart(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    prop_oneof![
        6 => who.clone().prop_map(Step::Add),
        2 => who.clone().prop_map(Step::Panic),
        2 => who.clone().prop_map(Step::Fail),
        1 => who.clone().prop_map(Step::Finish),
        2 => who.clone().prop_map(Step::Sleep),
        1 => (who.clone(), 1..3_u32).prop_map(|(who, count)| Step::FailStarts(who, count)),
        1 => who.clone().prop_map(Step::Suspend),
        1 => who.clone().prop_map(Step::Resume),
        1 => who.prop_map(Step::Restart),
        4 => (0..40_u64).prop_map(Step::Pass),
    ]
}

#[derive(Clone, Debug)]
struct Program {
    strategy: Supervision,
    restarts: Vec<Restart>,
    stop_takes: Vec<u64>,
    start_takes: Vec<u64>,
    steps: Vec<Step>,
}

fn program() -> impl Strategy<Value = Program> {
    let strategy = prop_oneof![
        Just(Supervision::OneForOne),
        Just(Supervision::OneForAll),
        Just(Supervision::RestForOne)
    ];
    let restart =
        prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)];
    let time = || prop_oneof![2 => Just(0_u64), 1 => 1..30_u64];
    (
        strategy,
        proptest::collection::vec(restart, NAMES.len()),
        proptest::collection::vec(time(), NAMES.len()),
        proptest::collection::vec(time(), NAMES.len()),
        proptest::collection::vec(step(), 1..60),
    )
        .prop_map(|(strategy, restarts, stop_takes, start_takes, steps)| Program {
            strategy,
            restarts,
            stop_takes,
            start_takes,
            steps,
        })
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Runs a program and returns what was written down: before the stop, and in it.
async fn run(program: &Program, encode_messages: bool) -> (Vec<String>, Vec<String>) {
    let before = tasks();
    let log = Log::default();
    let runtime = runtime_with(RuntimeConfig { encode_messages, ..RuntimeConfig::default() });
    let mut scripts = Vec::new();
    let mut spec = patient(program.strategy);
    for (at, name) in NAMES.iter().enumerate() {
        let script = Script::new(&log)
            .start_takes(ms(program.start_takes[at]))
            .stop_takes(ms(program.stop_takes[at]));
        spec = spec.agent(script.agent(name).restart(program.restarts[at]).mailbox_size(SIZE));
        scripts.push(script);
    }
    let tree = spec.start(&runtime).await.unwrap();
    let agents: Vec<_> = NAMES.iter().map(|name| tree.agent::<Worker>(name).unwrap()).collect();
    for (at, step) in program.steps.iter().enumerate() {
        // What is refused here is told to the sender; what was taken is judged by the log.
        match *step {
            Step::Add(who) => drop(agents[who].try_send(Add(at as u64))),
            Step::Panic(who) => drop(agents[who].try_send(Panic)),
            Step::Fail(who) => drop(agents[who].try_send(Fail)),
            Step::Finish(who) => drop(agents[who].try_send(Finish)),
            Step::Sleep(who) => drop(agents[who].try_send(Sleep(7))),
            Step::FailStarts(who, count) => scripts[who].fail_starts(count),
            Step::Suspend(who) => drop(runtime.suspend(NAMES[who], "test").await),
            Step::Resume(who) => drop(runtime.resume(NAMES[who], "test").await),
            Step::Restart(who) => drop(runtime.restart_agent(NAMES[who], "test").await),
            // sleeps: a program lets time pass
            Step::Pass(time) => tokio::time::sleep(ms(time)).await,
        }
        for agent in runtime.agents() {
            // Invariant: S13 (bounds on every queue)
            assert!(agent.queued <= u64::from(SIZE), "{agent:?}");
        }
    }
    for name in NAMES {
        let _ = runtime.resume(name, "test").await;
    }
    // sleeps: all restarts and all messages come to their end
    tokio::time::sleep(secs(60)).await;
    judge_the_quiet(program, &runtime, &log);
    let lines = log.take();
    tree.stop().await;
    drop((tree, runtime, agents));
    settle().await;
    // Invariant: S7 (nothing is left after a stop)
    assert_eq!(tasks(), before);
    (lines, log.take())
}

fn judge_the_quiet(program: &Program, runtime: &Runtime, log: &Log) {
    assert_eq!(runtime.status(), RuntimeStatus::Running);
    // Invariant: S12 (conservation of messages)
    assert_conserved(runtime);
    for (at, name) in NAMES.iter().enumerate() {
        let agent = info(runtime, name);
        let starts = log.of("start").iter().filter(|line| named(line) == *name).count();
        // Invariant: S5 (restart types are honoured)
        match program.restarts[at] {
            Restart::Permanent => {
                assert_eq!((agent.status, agent.queued), (Status::Running, 0), "{agent:?}");
            }
            Restart::Transient => assert!(
                matches!(agent.status, Status::Running | Status::Stopped),
                "crashed for good: {agent:?}"
            ),
            Restart::Temporary => assert_eq!(starts, 1, "started again: {agent:?}"),
        }
    }
}

/// The agent in a line such as `add a#2 7`.
fn named(line: &str) -> &str {
    line.split([' ', '#']).nth(1).unwrap_or_default()
}

fn incarnation(line: &str) -> u64 {
    let at = line.split(' ').nth(1).unwrap_or_default();
    at.split_once('#').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

fn judge_the_log(lines: &[String]) {
    let mut live: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut added: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        let (word, name, at) = (line.split(' ').next().unwrap(), named(line), incarnation(line));
        match word {
            // Invariant: S1 (one live incarnation, strictly increasing)
            "start" | "fail" => {
                assert_eq!(live.insert(name, at), None, "two live at {line:?}: {lines:?}");
                assert!(last.insert(name, at) < Some(at), "going back at {line:?}: {lines:?}");
            }
            "gone" => assert_eq!(live.remove(name), Some(at), "{line:?}: {lines:?}"),
            // Invariant: S2 (nothing for an incarnation that is not there)
            _ => assert_eq!(live.get(name), Some(&at), "{line:?}: {lines:?}"),
        }
        if word == "add" {
            let number = line.rsplit(' ').next().unwrap().parse().unwrap();
            // Invariant: S11 (first in, first out for each pair, over restarts too)
            assert!(added.insert(name, number) < Some(number), "overtaken at {line:?}");
        }
    }
    // Invariant: S4 (the first starts are in order)
    let first: Vec<_> = lines.iter().filter(|line| line.starts_with("start")).take(3).collect();
    assert_eq!(first, ["start a#1", "start b#1", "start c#1"]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_tree_keeps_its_promises_whatever_happens(program in program()) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time()
            .start_paused(true).build().unwrap();
        tokio.block_on(async {
            let moved = run(&program, false).await;
            let encoded = run(&program, true).await;
            prop_assert_eq!(&moved, &encoded, "encoding has changed what happens");
            let (lines, stopping) = moved;
            judge_the_log(&lines);
            // Invariant: S4 (stop in reverse order)
            let stops: Vec<_> = stopping.iter().filter(|line| line.starts_with("stop")).collect();
            let mut reversed = stops.clone();
            reversed.sort_by(|one, two| named(two).cmp(named(one)));
            prop_assert_eq!(stops, reversed);
            Ok(())
        })?;
    }

    // Invariant: S3 (restarts in any window are bounded; the next crash escalates)
    #[test]
    fn the_budget_is_a_sliding_window(
        gaps in proptest::collection::vec(0..800_u64, 1..30),
        most in 0..4_u32,
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time()
            .start_paused(true).build().unwrap();
        tokio.block_on(async {
            let window = Duration::from_secs(1);
            let log = Log::default();
            let runtime = runtime();
            let spec = Supervisor::one_for_one("root").max_restarts(most, window).backoff(NONE);
            let tree = spec.agent(Script::new(&log).agent("a")).start(&runtime).await.unwrap();
            let a = tree.agent::<Worker>("a").unwrap();
            let mut crashes = VecDeque::new();
            for gap in gaps {
                // sleeps: crashes come at random times
                tokio::time::sleep(ms(gap)).await;
                let now = tokio::time::Instant::now();
                a.send(Panic).await.unwrap();
                settle().await;
                crashes.push_back(now);
                // A crash exactly as old as the window no longer counts.
                crashes.retain(|crash| now.duration_since(*crash) < window);
                let gives_up = crashes.len() > most as usize;
                let stopped = runtime.status() == RuntimeStatus::Stopped;
                prop_assert_eq!(stopped, gives_up, "after {:?}", crashes);
                if stopped {
                    break;
                }
            }
            tree.stop().await;
            Ok(())
        })?;
    }
}

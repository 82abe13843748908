//! Reports of runs of the kernel world, and of records that are made up.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};

use super::*;
use crate::marks::Marks;
use crate::outcome::Options;
use crate::plan::{Mix, Profile, Reading};
use crate::record::{NodeIx, Process, What, Who};
use crate::scenario::Scenario;
use crate::world;

fn plan(text: &str) -> Plan {
    Plan::read("p", text.as_bytes(), &Reading::default())
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn run(plan: &Plan) -> Outcome {
    world::run(plan, Options { trace: true, ..Options::default() })
}

/// A crash that has no time to heal, behind much that has nothing to do with it.
fn hasty() -> Plan {
    plan(
        "
topology: {supervision: {children: [
  {agent: {name: one, type: t, restart: permanent}}, {agent: {name: two, type: t}}]}}
horizon: 2s
calm: 0s
operations: [{ at: 500ms, tell: two }, { at: 1s, ask: two, timeout: 1s }, { at: 1.5s, tell: one }]
faults: [{ at: 1s, slow: two, amount: 5ms, lasts: 500ms }, { at: 2s, crash: one }]
",
    )
}

/// The words of a slice, without its head.
fn explained(plan: &Plan, ran: &Outcome) -> String {
    Report::new(plan, ran, Engine::Kernel).explain()
}

#[test]
fn a_slice_has_what_led_there_and_nothing_else() {
    let plan = hasty();
    let ran = run(&plan);
    let violation = ran.violation.as_ref().unwrap();
    assert_eq!(violation.invariant, "L1");
    let slice = Report::new(&plan, &ran, Engine::Kernel).slice();
    assert_eq!((slice.faults.as_slice(), slice.operations.as_slice()), (&[1][..], &[][..]));
    let text = explained(&plan, &ran);
    assert!(text.contains("fault 1: at: 2s, crash: one\n"), "{text}");
    for words in
        ["fault 1 begins", "one#0.1 ends: crashed", "one now shows as restarting", "start one#"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("two") && !text.contains("op 2"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.contains("the time to heal is over"), "{text}");
}

/// The plan, first boots, and what nodes say to each other by the clock.
fn comes_from_nowhere(what: &What) -> bool {
    matches!(
        what,
        What::Operation(_)
            | What::Fault(_, true)
            | What::Booted(1)
            | What::FrameSent(_)
            | What::Healed
            | What::Calm
            | What::Over
    )
}

#[test]
fn causes_are_older_than_what_they_led_to() {
    let topology = b"supervision: {strategy: ONE_FOR_ALL, max_restarts: 20, children: [
        {agent: {name: a, type: t}}, {agent: {name: b, type: t}},
        {type: dynamic_supervisor, name: d, restart: permanent}]}";
    let options = lictor_topology::Options::default();
    let topology = lictor_topology::parse("t", topology, &options).unwrap();
    for nodes in [1, 2] {
        let scenario = Arc::new(Scenario::new(topology.clone(), nodes).unwrap());
        for seed in 0..8 {
            let profile = Profile { operations: 1..=60, ..Profile::new(Mix::Swarm) };
            let plan = Plan::generate(&scenario, seed, &profile);
            let ran = run(&plan);
            let causes = causes::Causes::of(&plan, &ran.trace);
            let mut without = Vec::new();
            for (index, record) in ran.trace.iter().enumerate() {
                let found = causes.to(index);
                assert!(found.iter().all(|cause| (*cause as usize) < index), "{record:?}");
                if found.is_empty() && !comes_from_nowhere(&record.what) {
                    without.push(record);
                }
            }
            assert!(without.len() * 50 <= ran.trace.len(), "{without:#?}");
            let report = Report::new(&plan, &ran, Engine::Kernel);
            for shown in [0, 1, ran.trace.len() / 2, ran.trace.len()] {
                let report = report.until(shown);
                assert!(report.slice().records.len() <= SLICE_MAX.min(shown));
                assert!(report.timeline_text().contains("states: "));
                assert!(report.timeline_html().ends_with("</html>\n"));
            }
        }
    }
}

#[test]
fn a_child_that_is_swept_along_leads_back_to_the_crash() {
    let plan = plan(
        "
topology: {supervision: {strategy: ONE_FOR_ALL, children: [
  {agent: {name: one, type: t}}, {agent: {name: two, type: t}}]}}
horizon: 2s
faults: [{ at: 1s, crash: one }]
",
    );
    let ran = run(&plan);
    let again = ran.trace.iter().rposition(|record| match record.what {
        What::Start(it) => plan.scenario.entity(it.who).name == "two",
        _ => false,
    });
    let report = Report::new(&plan, &ran, Engine::Kernel).until(again.unwrap() + 1);
    let text = report.explain();
    for words in ["fault 0 begins", "one#0.1 ends: crashed", "tell two#0.2 to stop"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_start_before_its_time_has_both_the_wait_and_what_cut_it_short() {
    let plan = hasty();
    let process = |incarnation| Process { who: Who(1), supervisor: 0, incarnation };
    let record = |millis, what| Record { at: Instant::from_millis(millis), node: NodeIx(0), what };
    let wait = What::RestartScheduled { who: Who(1), supervisor: 0, delay: 1_000_000_000 };
    for (early, expected) in [(false, &[3][..]), (true, &[3, 4])] {
        let at = if early { 200 } else { 1_100 };
        let trace = [
            record(0, What::Start(process(1))),
            record(1, What::Started(process(1))),
            record(100, What::Exited(process(1), ExitReason::Crashed)),
            record(100, wait),
            record(200, What::Operation(0)),
            record(at, What::Start(process(2))),
        ];
        assert_eq!(causes::Causes::of(&plan, &trace).to(5), expected);
    }
}

#[test]
fn what_has_not_ended_leads_to_the_end_of_a_run() {
    let plan = hasty();
    let it = |who| Process { who: Who(who), supervisor: 0, incarnation: u64::from(who) };
    let id = crate::record::MessageId::of_operation;
    let what = [
        What::Start(it(1)),
        What::Start(it(2)),
        What::Started(it(1)),
        What::Started(it(2)),
        What::Sent(id(0), Who(1), true),
        What::Sent(id(1), Who(2), true),
        What::Ended(id(1), crate::record::Fate::Handled),
        What::Sent(id(2), Who(2), true),
        What::Ended(id(2), crate::record::Fate::Handled),
        What::Answered(id(2), crate::record::Ending::Answered),
        What::Exited(it(2), ExitReason::Normal),
        What::Over,
    ];
    let trace: Vec<Record> = (0..)
        .zip(what)
        .map(|(at, what)| Record { at: Instant::from_nanos(at), node: NodeIx(0), what })
        .collect();
    let mut ran = made_up(trace);
    ran.violation = Some(Violation {
        invariant: "L4",
        at: Instant::from_nanos(11),
        node: NodeIx(0),
        text: "2 questions have not ended".to_owned(),
        record: 11,
    });
    let slice = Report::new(&plan, &ran, Engine::Kernel).slice();
    assert_eq!(slice.records, [0, 2, 4, 5, 6, 11]);
}

#[test]
fn a_message_that_is_lost_leads_back_to_the_partition() {
    let plan = plan(
        "
topology: {supervision: {children: [{agent: {name: one, type: t}}, {agent: {name: two, type: t}}]}}
nodes: 2
horizon: 6s
operations: [{ at: 2.1s, ask: two, timeout: 1s }]
faults: [{ at: 2s, partition: [0, 1], lasts: 2s }, { at: 2s, slow: one, amount: 1s, lasts: 1s }]
",
    );
    let ran = run(&plan);
    let end =
        ran.trace.iter().position(|record| matches!(record.what, What::Answered(..))).unwrap();
    let slice = Report::new(&plan, &ran, Engine::Kernel).until(end + 1).slice();
    assert_eq!((slice.faults.as_slice(), slice.operations.as_slice()), (&[0][..], &[0][..]));
}

#[test]
fn a_line_for_each_record_and_a_character_for_each_name() {
    let plan = hasty();
    let ran = run(&plan);
    let text = Report::new(&plan, &ran, Engine::Kernel).timeline_text();
    let lines: Vec<&str> = text.lines().collect();
    let title = lines.iter().position(|line| line.starts_with("record")).unwrap();
    assert_eq!(lines.len() - title - 1, ran.trace.len() + 1, "{text}");
    assert!(text.contains("node 0: root, one, two\n"), "{text}");
    let at = |words: &str| *lines.iter().find(|line| line.ends_with(words)).unwrap();
    assert!(at("start one#0.1").contains("  ^^.  "), "{text}");
    assert!(at("supervisor root#0 is ready").contains("  OOO  "), "{text}");
    assert!(at("one#0.1 ends: crashed").contains("  OXO   0 * "), "{text}");
    assert!(lines.last().unwrap().contains("==> L1: `one` is not up"), "{text}");
}

/// An outcome of records that are made up.
fn made_up(trace: Vec<Record>) -> Outcome {
    Outcome {
        digest: 0,
        events: 0,
        records: trace.len() as u64,
        faults: 0,
        violation: None,
        marks: Marks::default(),
        fired: crate::buggify::Fired::default(),
        cut_short: None,
        ended: trace.last().map_or(Instant::ZERO, |record| record.at),
        trace,
    }
}

#[test]
fn quiet_stretches_are_left_out_but_not_near_the_end() {
    let plan = hasty();
    let id = crate::record::MessageId::of_operation(0);
    let quiet = |n: u64| Record {
        at: Instant::from_nanos(n),
        node: NodeIx(0),
        what: What::Queued(id, Who(1)),
    };
    let mut trace: Vec<Record> = (0..5_000).map(quiet).collect();
    trace[1_000].what = What::Healed;
    let ran = made_up(trace);
    let text = Report::new(&plan, &ran, Engine::Kernel).timeline_text();
    assert!(text.contains("... 1000 records left out, 0 to 999, 0s to 999ns: "), "{text}");
    assert!(text.contains("... 3799 records left out, 1001 to 4799, "), "{text}");
    assert!(text.contains("all faults are over"), "{text}");
    for record in 4_800..5_000 {
        assert!(text.contains(&format!("\n{record:>6} ")), "{record}");
    }
}

#[test]
fn a_page_is_one_file_and_names_stay_text() {
    let plan = plan(
        "
topology: {supervision: {children: [{agent: {name: one, type: t}}]}}
horizon: 1s
faults: [{ at: 1s, crash: one }]
",
    );
    let mut ran = run(&plan);
    let text = "</script><script>alert(1)</script> & \u{2028} Who(1)".to_owned();
    ran.violation = Some(Violation {
        invariant: "S1",
        at: Instant::ZERO,
        node: NodeIx(0),
        text,
        record: ran.trace.len() as u64 - 1,
    });
    let page = Report::new(&plan, &ran, Engine::Kernel).timeline_html();
    assert!(!page.contains("alert(1)</script>") && page.contains("alert(1)\\u003c/script\\u003e"));
    assert!(!page.contains('\u{2028}') && page.contains("`one`"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
    for left in ["/*style*/", "/*data*/", "/*program*/", "{title}"] {
        assert!(!page.contains(left), "{left}");
    }
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["records"].as_array().unwrap().len(), ran.trace.len());
    assert_eq!(data["names"][1][0], "one");
    assert_eq!(data["faults"][0][3], "fault 0: crash: one");
}

#[test]
fn a_page_of_a_long_run_leaves_early_messages_out() {
    let plan = hasty();
    let process = Process { who: Who(1), supervisor: 0, incarnation: 1 };
    let id = crate::record::MessageId::of_operation(0);
    let record = |n: u64| Record {
        at: Instant::from_nanos(n),
        node: NodeIx(0),
        what: match n {
            0 => What::Start(process),
            50_000 => What::Exited(process, ExitReason::Crashed),
            _ => What::Queued(id, Who(1)),
        },
    };
    let ran = made_up((0..60_000).map(record).collect());
    let page = Report::new(&plan, &ran, Engine::Kernel).timeline_html();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["records"].as_array().unwrap().len(), 40_000);
    assert_eq!((&data["leftOut"], &data["numbers"][0]), (&json!(20_000), &json!(0)));
    assert_eq!(data["numbers"][1], 20_001);
    // The crash stands where its record is on the page.
    assert_eq!(data["spans"][1][1], json!([30_000, 4, "#0.1"]));
    assert_eq!(data["numbers"][30_000], 50_000);
}

#[test]
fn digests_are_kept_on_the_way() {
    let plan = hasty();
    let record =
        |n: u64| Record { at: Instant::from_nanos(n), node: NodeIx(0), what: What::Healed };
    let trace: Vec<Record> = (0..2_500).map(record).collect();
    let found = digests(&trace);
    assert_eq!(found.len(), 2);
    assert_eq!(digests(&trace[..2_000]), found);
    assert_eq!(digests(&trace[..1_999]), found[..1]);
    let _ = plan;
}

#[test]
fn runs_that_differ_are_shown_where_they_part() {
    let plan = hasty();
    let one = run(&plan);
    assert_eq!(divergence::text(&plan, &one, &one), None);
    let mut other = one.clone();
    let at = other.trace.len() - 3;
    other.trace[at].at = other.trace[at].at.saturating_add(Duration::from_nanos(1));
    let text = divergence::text(&plan, &one, &other).unwrap();
    assert!(text.starts_with(&format!("two runs of one plan part at record {at}\n")), "{text}");
    assert!(text.contains(&format!("\n{:>6} ", at - 10)), "{text}");
    assert!(!text.contains(&format!("\n{:>6} ", at - 11)), "{text}");
    assert!(text.contains(&format!("{:?}", other.trace[at])), "{text}");
    other.trace.truncate(at);
    assert_eq!(divergence::first(&one.trace, &other.trace), Some(at));
}

#[test]
fn a_folder_has_every_file_and_the_facts_of_both_plans() {
    let plan = hasty();
    let ran = run(&plan);
    let found = ran.violation.clone().unwrap();
    let shrunk = Shrunk { plan: plan.clone(), runs: 7, reproduced: true, minimal: true };
    let failure = Failure {
        version: "1.2.3",
        commit: "unknown",
        engine: Engine::Kernel,
        seed: 17,
        found: &found,
        original: &plan,
        shrunk: &shrunk,
        ran: &ran,
        again: None,
    };
    let files = failure.files();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "failure.json",
            "plan.min.yaml",
            "plan.full.yaml",
            "timeline.txt",
            "timeline.html",
            "explain.txt",
            "repro.rs"
        ]
    );
    let facts: Value = serde_json::from_str(&files[0].1).unwrap();
    assert_eq!((&facts["format"], &facts["seed"]), (&json!(FORMAT), &json!(17)));
    assert_eq!((&facts["invariant"], &facts["engine"]), (&json!("L1"), &json!("kernel")));
    assert!(facts["text"].as_str().unwrap().contains("`one`"), "{facts}");
    assert_eq!(facts["found"]["text"], facts["text"], "{facts}");
    assert_eq!(facts["original"], json!({ "faults": 2, "operations": 3, "nodes": 1 }));
    assert_eq!(facts["digest"], format!("{:016x}", ran.digest));
    assert!(failure.repro().contains("fn l1_seed_17() {"));
    assert!(failure.repro().contains("Engine::Kernel"));
}

#[test]
fn mailboxes_and_messages_on_their_way_are_followed() {
    let plan = plan(
        "
topology: {supervision: {children: [
  {agent: {name: till, type: lictor.echo}},
  {agent: {name: tax, type: lictor.flaky, config: {forward_to: till}}}]}}
horizon: 3s
operations: [
  { at: 1s, tell: tax }, { at: 1s, tell: tax }, { at: 2s, terminate: till },
  { at: 2.5s, tell: till }]
",
    );
    let ran = run(&plan);
    let lives = lives::Lives::of(&plan, &ran.trace);
    let who = |name: &str| plan.scenario.named(name).unwrap();
    let way = |hop: &lives::Hop| (hop.message.number, hop.from, hop.to, hop.lost);
    let ways: Vec<_> = lives.hops.iter().map(way).collect();
    let (till, tax) = (who("till"), who("tax"));
    let passed_on = [(0, Some(tax), till, false), (1, Some(tax), till, false)];
    assert_eq!(ways[..2], [(0, None, tax, false), (1, None, tax, false)]);
    assert!(passed_on.iter().all(|hop| ways.contains(hop)), "{ways:?}");
    assert_eq!(ways.last(), Some(&(3, None, till, true)), "{ways:?}");
    assert!(lives.hops.iter().all(|hop| hop.left < hop.came));
    let loads = &lives.loads[usize::from(tax.0)];
    let most = loads.iter().map(|load| load.queued).max();
    let in_hand = loads.iter().filter_map(|load| load.in_hand).map(|id| id.number);
    assert_eq!((most, in_hand.max()), (Some(1), Some(1)), "{loads:?}");
    let last = loads.last().unwrap();
    assert_eq!((last.queued, last.in_hand), (0, None));
    let states: Vec<_> = lives.spans[usize::from(till.0)].iter().map(|span| span.state).collect();
    use lives::State::{Starting, Stopped, Stopping, Up};
    assert_eq!(states, [Starting, Up, Stopping, Stopped]);
}

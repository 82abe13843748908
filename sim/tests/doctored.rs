//! Each invariant finds what is wrong with a history that was right before one thing was changed.
//!
//! What exploring finds of planted bugs shows that for many of them; this shows it for all that
//! judge records. (`S14` is shown in `campaign/tests.rs`, `L7` in `engine/on_virtual.rs`.)
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use lictor_kernel::{ExitReason, Signal, Status};
use lictor_sim::invariants::{Checks, Violation};
use lictor_sim::marks::Marks;
use lictor_sim::outcome::Options;
use lictor_sim::plan::{Plan, Reading};
use lictor_sim::record::{Here, NodeIx, Process, Record, Stage, What, Who};
use lictor_sim::world::run;

type Doctor = fn(&mut Story);

/// A history, and who is who in it.
struct Story {
    records: Vec<Record>,
    /// Gets no messages, and crashes once.
    idle: Who,
    /// Is temporary, and crashes.
    once: Who,
    /// On node 1; node 2 claims its name.
    claimed: Who,
}

impl Story {
    fn of(text: &str) -> (Plan, Self) {
        let plan = Plan::read("plan.yaml", text.as_bytes(), &Reading::default());
        let plan = plan.unwrap_or_else(|faults| panic!("{faults}"));
        let ran = run(&plan, Options { trace: true, ..Options::default() });
        assert_eq!(ran.violation, None);
        let who = |name: &str| {
            let is_it = |who: &Who| plan.scenario.entity(*who).name == name;
            plan.scenario.all().map(|(who, _)| who).find(is_it).unwrap()
        };
        let (idle, once, claimed) = (who("idle"), who("once"), who("claimed"));
        let story = Self { records: ran.trace, idle, once, claimed };
        (plan, story)
    }

    fn place(&self, is_it: impl Fn(&What) -> bool) -> usize {
        self.records.iter().position(|record| is_it(&record.what)).unwrap()
    }

    fn last(&self, is_it: impl Fn(&What) -> bool) -> usize {
        self.records.iter().rposition(|record| is_it(&record.what)).unwrap()
    }

    /// Something more happens, right after the record at this place.
    fn then(&mut self, place: usize, what: What) {
        let record = Record { what, ..self.records[place] };
        self.records.insert(place + 1, record);
    }

    fn again(&mut self, place: usize) {
        self.then(place, self.records[place].what);
    }

    /// When this one came up, and as which process.
    fn up(&self, who: Who) -> (usize, Process) {
        let place = self.place(|what| matches!(what, What::Started(it) if it.who == who));
        let What::Started(process) = self.records[place].what else { unreachable!() };
        (place, process)
    }
}

const fn next(process: Process) -> Process {
    Process { incarnation: process.incarnation + 1, ..process }
}

fn judged(plan: &Plan, records: &[Record]) -> Option<Violation> {
    let (mut checks, mut marks) = (Checks::of_kernel_world(plan), Marks::default());
    records.iter().find_map(|record| checks.see(record, &mut marks).err())
}

fn finds(text: &str, doctors: &[(&str, Doctor)]) {
    let (plan, story) = Story::of(text);
    assert_eq!(judged(&plan, &story.records), None, "nothing is wrong yet");
    for (number, (invariant, doctor)) in doctors.iter().enumerate() {
        let Story { idle, once, claimed, .. } = story;
        let mut doctored = Story { records: story.records.clone(), idle, once, claimed };
        doctor(&mut doctored);
        let violation = judged(&plan, &doctored.records);
        let found = violation.as_ref().map(|violation| violation.invariant);
        assert_eq!(found, Some(*invariant), "number {number}: {violation:?}");
    }
}

const TOPOLOGY: &str = "topology:
  supervision:
    backoff: CONSTANT
    backoff_base: 50ms
    children:
      - agent: { name: asked, type: t, mailbox_size: 4 }
      - agent: { name: claimed, type: t }
      - agent: { name: last, type: t }
      - agent: { name: once, type: t, restart: temporary }
      - agent: { name: d, type: t }
      - agent: { name: e, type: t }
      - agent: { name: idle, type: t }
";

/// A message, a question, two crashes, and a name that two nodes have.
fn story() -> String {
    format!(
        "{TOPOLOGY}nodes: 3
horizon: 10s
calm: 40s
operations:
  - {{ at: 1s, tell: asked }}
  - {{ at: 2s, ask: asked, timeout: 1s, node: 1 }}
  - {{ at: 3s, end: once, reason: crashed }}
  - {{ at: 4s, end: idle, reason: crashed }}
  - {{ at: 5s, claim: claimed, node: 2 }}
"
    )
}

#[test]
fn what_supervisors_do_is_judged() {
    let doctors: &[(&str, Doctor)] = &[
        ("S1", |it| {
            let (place, process) = it.up(it.idle);
            it.then(place, What::Start(next(process)));
        }),
        ("S3", |it| {
            let (place, process) = it.up(it.idle);
            let (supervisor, child) = (process.supervisor, it.idle);
            it.then(place, What::RestartsExhausted { supervisor, child });
        }),
        ("S4", |it| {
            let first = it.place(|what| matches!(what, What::Start(_)));
            let node = it.records[first].node;
            let mut others = it.records.iter().enumerate().skip(first + 1);
            let is_start = |record: &Record| matches!(record.what, What::Start(_));
            let other = others.find(|(_, it)| it.node == node && is_start(it)).unwrap().0;
            let other = it.records.remove(other);
            it.records.insert(first + 1, Record { at: it.records[first].at, ..other });
        }),
        ("S5", |it| {
            let who = it.once;
            let end = it.place(|what| matches!(what, What::Exited(it, _) if it.who == who));
            let (_, process) = it.up(who);
            it.then(end, What::Start(next(process)));
        }),
        ("S6", |it| {
            let place = it.place(|what| matches!(what, What::RestartScheduled { .. }));
            if let What::RestartScheduled { delay, .. } = &mut it.records[place].what {
                *delay *= 2;
            }
        }),
        ("S7", |it| {
            let end = it.last(|what| matches!(what, What::Exited(..)));
            let later = it.records.split_off(end + 1);
            it.records.pop();
            let is_status = |record: &Record| matches!(record.what, What::Status(..));
            it.records.extend(later.into_iter().filter(|record| !is_status(record)));
        }),
        ("S8", |it| {
            let place = it.place(|what| matches!(what, What::Signal(_, Signal::Shutdown)));
            it.again(place);
        }),
    ];
    finds(&story(), doctors);
}

#[test]
fn what_becomes_of_messages_and_names_is_judged() {
    let doctors: &[(&str, Doctor)] = &[
        ("S2", |it| {
            let place = it.place(|what| matches!(what, What::Delivered(..)));
            let What::Delivered(message, process) = it.records[place].what else { return };
            it.records[place].what = What::Delivered(message, next(process));
        }),
        ("S9", |it| {
            let (place, _) = it.up(it.idle);
            it.then(place, What::Status(it.idle, Status::Down));
        }),
        ("S10", |it| {
            let who = it.claimed;
            let place = it.place(|what| matches!(what, What::Sees(it, Some(_)) if *it == who));
            it.records[place].what = What::Sees(who, None);
        }),
        ("S11", |it| {
            let place = it.place(|what| matches!(what, What::Answered(..)));
            it.again(place);
        }),
        ("S12", |it| {
            let place = it.place(|what| matches!(what, What::Ended(..)));
            it.again(place);
        }),
        ("S13", |it| {
            let place = it.place(|what| matches!(what, What::Queued(..)));
            (0..4).for_each(|_| it.again(place));
        }),
    ];
    finds(&story(), doctors);
}

#[test]
fn what_must_come_to_pass_is_judged() {
    let doctors: &[(&str, Doctor)] = &[
        ("L1", |it| {
            let who = it.idle;
            let end = it.place(|what| matches!(what, What::Exited(it, _) if it.who == who));
            let is_gone = |what: &What| match what {
                What::Start(it) | What::Started(it) => it.who == who,
                What::Status(it, _) => *it == who,
                _ => false,
            };
            let later = it.records.split_off(end + 1);
            it.records.extend(later.into_iter().filter(|record| !is_gone(&record.what)));
        }),
        ("L2", |it| {
            let is_end = |what: &What| {
                matches!(what, What::Supervisor { process: None, stage: Stage::Exited(_), .. })
            };
            let end = it.last(is_end);
            it.records.remove(end);
        }),
        ("L3", |it| {
            let who = it.idle;
            let place = it.place(|what| matches!(what, What::Sees(it, Some(_)) if *it == who));
            it.records[place].what = What::Sees(who, Some(NodeIx(2)));
        }),
        ("L4", |it| {
            let place = it.place(|what| matches!(what, What::Answered(..)));
            it.records.remove(place);
        }),
        ("L6", |it| {
            let calm = it.place(|what| *what == What::Calm);
            let who = it.idle;
            let up = it.last(|what| matches!(what, What::Started(it) if it.who == who));
            let What::Started(process) = it.records[up].what else { return };
            let what = What::Exited(process, ExitReason::Crashed);
            it.records.insert(calm, Record { what, ..it.records[calm] });
        }),
    ];
    finds(&story(), doctors);
}

#[test]
fn what_runs_on_another_node_is_judged_as_well() {
    let text = format!(
        "{TOPOLOGY}nodes: 2
horizon: 6s
knobs: {{ child_lease: 1s, placed: 100% }}
operations:
  - {{ at: 1s, tell: asked }}
  - {{ at: 1s, tell: claimed }}
  - {{ at: 1s, tell: last }}
"
    );
    let doctors: &[(&str, Doctor)] = &[
        // Its host is told of a message for a name that it has not taken.
        ("S2", |it| {
            let queued = it.place(|what| {
                matches!(what, What::Queued(_, who) if it.records.iter().any(|has| {
                    has.what == What::Has(*who, true)
                }))
            });
            let What::Queued(_, who) = it.records[queued].what else { return };
            let has = it.place(|what| *what == What::Has(who, true));
            it.records.remove(has);
        }),
        ("S9", |it| {
            let has = it.place(|what| matches!(what, What::Has(_, true)));
            it.again(has);
        }),
        ("S10", |it| {
            let up = it.place(|what| matches!(what, What::Here(_, Here::Up)));
            let What::Here(process, _) = it.records[up].what else { return };
            it.then(up, What::Here(next(process), Here::Begins(1)));
        }),
        // It ends, and its supervisor does not hear of it.
        ("L5", |it| {
            let idle = it.idle;
            let up = it.place(|what| matches!(what, What::Here(it, Here::Up) if it.who == idle));
            let What::Here(process, _) = it.records[up].what else { return };
            let calm = it.place(|what| *what == What::Calm);
            let (at, node) = (it.records[calm].at, it.records[up].node);
            let what = What::Here(process, Here::Ended(ExitReason::Crashed));
            it.records.insert(calm, Record { at, node, what });
        }),
    ];
    finds(&text, doctors);
}

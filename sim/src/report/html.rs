//! A run as a page that needs nothing but itself: markup, style, program and data in one file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lives::{Lives, State};
use super::{Report, words};
use crate::fault::Target;
use crate::plan::Plan;
use crate::record::{Record, What, Who};
use crate::scenario::Role;
use crate::trace::{self, message_text};

/// Records on a page, at most. Of more, messages and frames go first, the oldest of them.
const RECORDS_MAX: usize = 40_000;

/// Messages that can be drawn, at most: the last ones.
const HOPS_MAX: usize = 10_000;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const PROGRAM: [&str; 3] =
    [include_str!("page/model.js"), include_str!("page/draw.js"), include_str!("page/panel.js")];

/// The whole page.
pub(super) fn page(report: &Report<'_>) -> String {
    let title = match report.violation() {
        Some(violation) => format!("{} violated", violation.invariant),
        None => "every invariant held".to_owned(),
    };
    let title = escape(&format!("lictor: {title}, seed {}", report.plan.seed));
    let data = data(report).to_string();
    // The data comes last: nothing that stands in it is looked for.
    let (head, rest) = PAGE.split_once("/*style*/").unwrap_or((PAGE, ""));
    let (middle, rest) = rest.split_once("/*data*/").unwrap_or((rest, ""));
    let (between, tail) = rest.split_once("/*program*/").unwrap_or((rest, ""));
    let head = head.replace("{title}", &title);
    let program = PROGRAM.concat();
    [head.as_str(), STYLE, middle, &in_script(&data), between, &program, tail].concat()
}

/// Text of JSON so that it cannot end the element that it stands in.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Text so that it is only text in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The records that the page has, and where each of the others would stand among them.
struct Kept {
    numbers: Vec<u32>,
}

impl Kept {
    fn of(records: &[Record], most: usize) -> Self {
        let all = 0..u32::try_from(records.len()).unwrap_or(u32::MAX);
        let Some(mut excess) = records.len().checked_sub(most) else {
            return Self { numbers: all.collect() };
        };
        let is_message = |index: &u32| is_of_messages(&records[*index as usize].what);
        let mut numbers: Vec<u32> = all
            .filter(|index| {
                let goes = excess > 0 && is_message(index);
                excess -= usize::from(goes);
                !goes
            })
            .collect();
        numbers.drain(..excess);
        Self { numbers }
    }

    /// The place of a record among those that are kept; of the next one, if it is not.
    fn place(&self, number: u32) -> usize {
        self.numbers.partition_point(|kept| *kept < number)
    }
}

const fn is_of_messages(what: &What) -> bool {
    matches!(
        what,
        What::Sent(..)
            | What::Queued(..)
            | What::Delivered(..)
            | What::PutBack(..)
            | What::Ended(..)
            | What::Answered(..)
            | What::Suppressed(_)
            | What::LateAnswer(_)
            | What::FrameSent(_)
            | What::FrameLost(_)
    )
}

fn data(report: &Report<'_>) -> Value {
    let Report { plan, ran, engine, records } = *report;
    let kept = Kept::of(records, RECORDS_MAX);
    let lives = Lives::of(plan, records);
    let (faults, operations, nodes) = plan.size();
    let slice = report.slice();
    let violation = report.violation().map(|violation| {
        json!({
            "invariant": violation.invariant,
            "text": trace::names(&plan.scenario, &violation.text),
            "at": violation.at.as_nanos(),
            "record": kept.place(u32::try_from(violation.record).unwrap_or(u32::MAX)),
            "node": violation.node.0,
        })
    });
    json!({
        "violation": violation,
        "facts": [
            ["seed", plan.seed.to_string()],
            ["engine", engine.word()],
            ["nodes", nodes.to_string()],
            ["operations", operations.to_string()],
            ["faults", faults.to_string()],
            ["records", ran.records.to_string()],
            ["digest", format!("{:016x}", ran.digest)],
        ],
        "nodes": nodes,
        "leftOut": records.len() - kept.numbers.len(),
        "states": State::ALL.map(State::word),
        "names": names(plan),
        "records": kept_records(plan, records, &kept, &lives),
        "numbers": (kept.numbers.len() < records.len()).then_some(&kept.numbers),
        "spans": lives.spans.iter().map(|spans| {
            spans.iter().map(|span| {
                let (supervisor, incarnation) = span.incarnation;
                json!([kept.place(span.from), span.state as u8,
                       format!("#{supervisor}.{incarnation}")])
            }).collect::<Vec<_>>()
        }).collect::<Vec<_>>(),
        "loads": lives.loads.iter().map(|loads| {
            loads.iter().map(|load| {
                let hand = load.in_hand.map(|id| message_text(id, &plan.scenario));
                json!([kept.place(load.from), load.queued, hand])
            }).collect::<Vec<_>>()
        }).collect::<Vec<_>>(),
        "hops": hops(plan, &kept, &lives),
        "faults": faults_of(plan, records, &kept),
        "slice": slice.records.iter().map(|index| kept.place(*index)).collect::<BTreeSet<_>>(),
    })
}

/// Every name: what it is, on which node, under whom, how deep; in the order of the tree.
fn names(plan: &Plan) -> Vec<Value> {
    let mut depths: BTreeMap<Who, u32> = BTreeMap::new();
    let mut names = Vec::with_capacity(plan.scenario.len());
    for (who, entity) in plan.scenario.all() {
        let depth =
            entity.parent.and_then(|parent| depths.get(&parent)).map_or(0, |depth| depth + 1);
        depths.insert(who, depth);
        let kind = match &entity.role {
            Role::Supervisor(..) => "supervisor",
            Role::Dynamic(..) => "dynamic supervisor",
            Role::Agent(agent) if agent.pool => "spawned agent",
            Role::Agent(_) => "agent",
        };
        names.push(json!([entity.name, kind, entity.node.0, depth]));
    }
    names
}

/// Each record: instant, node, the name that it is of, code of its kind, text.
fn kept_records(plan: &Plan, records: &[Record], kept: &Kept, lives: &Lives) -> Vec<Value> {
    let mut supervisors = BTreeMap::new();
    for record in records {
        if let What::Supervisor { who, id, .. } = record.what {
            supervisors.insert((record.node, id), who);
        }
    }
    let holders: BTreeMap<_, Who> = lives.hops.iter().map(|hop| (hop.message, hop.to)).collect();
    let of = |record: &Record| match record.what {
        What::Start(it)
        | What::Signal(it, _)
        | What::Started(it)
        | What::StartIgnored(it)
        | What::StartFailed(it)
        | What::Exited(it, _)
        | What::ShutdownError(it, _)
        | What::Stale(it)
        | What::Restored(it, _)
        | What::Here(it, _)
        | What::Placed(it, ..)
        | What::Delivered(_, it) => Some(it.who),
        What::Supervisor { who, .. }
        | What::RestartScheduled { who, .. }
        | What::Removed(who)
        | What::Status(who, _)
        | What::Sent(_, who, _)
        | What::Queued(_, who)
        | What::PutBack(_, who)
        | What::Has(who, _)
        | What::Shows(who, _)
        | What::Sees(who, _) => Some(who),
        What::RestartsExhausted { supervisor, .. } => {
            supervisors.get(&(record.node, supervisor)).copied()
        }
        What::Ended(id, _) => holders.get(&id).copied(),
        _ => None,
    };
    let value = |number: &u32| {
        let record = &records[*number as usize];
        let who = of(record).map_or(-1, |who| i32::from(who.0));
        let (at, node) = (record.at.as_nanos(), record.node.0);
        json!([at, node, who, record.what.code(), words::sentence(plan, record)])
    };
    kept.numbers.iter().map(value).collect()
}

fn hops(plan: &Plan, kept: &Kept, lives: &Lives) -> Vec<Value> {
    let skipped = lives.hops.len().saturating_sub(HOPS_MAX);
    let value = |hop: &super::lives::Hop| {
        let from = hop.from.map_or(-1, |who| i32::from(who.0));
        let text = message_text(hop.message, &plan.scenario);
        json!([from, hop.to.0, kept.place(hop.left), kept.place(hop.came), text, hop.lost])
    };
    lives.hops.iter().skip(skipped).map(value).collect()
}

/// Each fault that took effect: its records, the end of it, its text, and whom it is at.
fn faults_of(plan: &Plan, records: &[Record], kept: &Kept) -> Vec<Value> {
    let mut spans: BTreeMap<u32, (u32, Option<u32>)> = BTreeMap::new();
    for (index, record) in (0..).zip(records) {
        match record.what {
            What::Fault(number, true) => {
                spans.insert(number, (index, None));
            }
            What::Fault(number, false) => {
                spans.entry(number).and_modify(|(_, end)| *end = Some(index));
            }
            _ => {}
        }
    }
    let value = |(number, (begin, end)): (u32, (u32, Option<u32>))| {
        let fault = plan.faults.get(number as usize)?;
        let (whom, nodes) = match fault.target {
            Target::Who(who) => (vec![who.0], vec![]),
            Target::Node(node) => (vec![], vec![node.0]),
            Target::Link(a, b) => (vec![], vec![a.0, b.0]),
            Target::World => (vec![], plan.scenario.node_ids().map(|node| node.0).collect()),
        };
        let lasts = fault.kind.facts().lasts;
        let end = end.map(|end| kept.place(end));
        let text = fault.text(&plan.scenario);
        // When it begins is to be seen.
        let text = text.split_once(", ").map_or(text.as_str(), |(_, text)| text);
        let text = format!("fault {number}: {text}");
        Some(json!([kept.place(begin), end, lasts, text, whom, nodes, fault.kind.facts().name]))
    };
    spans.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use lictor_kernel::{ExitReason, Signal};

    use super::*;
    use crate::record::{MessageId, NodeIx, Process};

    #[test]
    fn the_page_knows_records_by_their_codes() {
        let it = Process { who: Who(0), supervisor: 0, incarnation: 0 };
        let id = MessageId::of_operation(0);
        let node = NodeIx(0);
        let (_, kinds) = PROGRAM[0].split_once("const KIND = {").unwrap();
        let kinds = format!(" {},", kinds.split_once('}').unwrap().0.trim());
        for (name, what) in [
            ("signal", What::Signal(it, Signal::Kill)),
            ("startFailed", What::StartFailed(it)),
            ("exited", What::Exited(it, ExitReason::Normal)),
            ("scheduled", What::RestartScheduled { who: Who(0), supervisor: 0, delay: 0 }),
            ("exhausted", What::RestartsExhausted { supervisor: 0, child: Who(0) }),
            ("sent", What::Sent(id, Who(0), false)),
            ("frameSent", What::FrameSent(node)),
            ("frameLost", What::FrameLost(node)),
            ("peerUp", What::PeerUp(node)),
            ("peerDown", What::PeerDown(node)),
            ("booted", What::Booted(1)),
            ("halted", What::Halted),
            ("operation", What::Operation(0)),
        ] {
            assert!(kinds.contains(&format!(" {name}: {},", what.code())), "{name} in {kinds}");
        }
        let (_, states) = PROGRAM[0].split_once("const STATE = {").unwrap();
        let states = format!(" {},", states.split_once('}').unwrap().0.trim());
        for state in State::ALL {
            let name = format!("{state:?}").to_lowercase();
            assert!(states.contains(&format!(" {name}: {},", state as u8)), "{name} in {states}");
        }
    }
}

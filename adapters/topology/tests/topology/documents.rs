//! Other documents, read through the same layer.

use std::time::{Duration, Instant};

use lictor_topology::NoEnvironment;
use lictor_topology::document::{
    Format, Item, Limits, Names, Read, Reader, Schema, Words, lines, read,
};

const PLAN: Format = Format { holds: "plan", first_key: "faults", limits: Limits::LARGE };
const FILE: Schema = Schema::new("a plan", &["faults", "nodes", "loss"]);
const FAULT: Schema = Schema::new("a fault", &["at", "kind", "target", "times"]);
const KINDS: Words<u8> = &[("crash", 0), ("partition", 1), ("delay", 2)];

#[derive(PartialEq, Debug)]
struct Fault {
    at: Duration,
    kind: u8,
    target: usize,
    times: u64,
}

struct Plan {
    faults: Vec<Fault>,
    loss: u32,
}

fn plan(reader: &mut Reader<'_>, root: Item) -> Option<Plan> {
    let fields = reader.fields(root, root.span(), &FILE)?;
    let mut names = Names::new("give each node a name of its own");
    let nodes = reader.required(&fields, "nodes", |reader, item| {
        reader.list(item, 1..=10, |reader, item| reader.name_in(&mut names, item, item.span()))
    });
    let nodes = nodes.unwrap_or_default();
    let faults = reader.required(&fields, "faults", |reader, item| {
        reader.list(item, 0..=100_000, |reader, item| fault(reader, item, &nodes))
    });
    let loss = reader.field(&fields, "loss", |reader, item| reader.share(item));
    Some(Plan { faults: faults?, loss: loss.valid_or(0)? })
}

fn fault(reader: &mut Reader<'_>, item: Item, nodes: &[&str]) -> Option<Fault> {
    let fields = reader.fields(item, item.span(), &FAULT)?;
    let at = reader.required(&fields, "at", |reader, item| reader.duration(item, true));
    let kind = reader.required(&fields, "kind", |reader, item| reader.word(item, KINDS));
    let target = reader.required(&fields, "target", |r, item| r.one_of(item, "node", nodes));
    let times = reader.field(&fields, "times", |r, item| r.whole_u64(item, 1, 1 << 40));
    Some(Fault { at: at?, kind: kind?, target: target?, times: times.valid_or(1)? })
}

fn read_plan(text: &str) -> Read<Plan> {
    read("p.yaml", text.as_bytes(), &PLAN, &NoEnvironment, plan)
}

/// Line, column, code and help of each fault.
fn faults_of(text: &str) -> Vec<(u32, u32, &'static str, Option<String>)> {
    let read = read_plan(text);
    assert!(read.value.is_none(), "a document with faults has no value");
    read.diagnostics.iter().map(|d| (d.line, d.column, d.code, d.help.clone())).collect()
}

#[test]
fn a_document_is_read() {
    let text = "
nodes: [a, b]
loss: 2.5%
faults:
  - {at: 500ms, kind: crash, target: b}
  - {at: 1.5, kind: PARTITION, target: a, times: 1099511627776}
";
    let plan = read_plan(text).into_result().unwrap();
    let second =
        Fault { at: Duration::from_millis(1500), kind: 1, target: 0, times: 1_099_511_627_776 };
    assert_eq!(plan.faults[1], second);
    assert_eq!(plan.faults[0].target, 1);
    assert_eq!(plan.loss, 25_000);
}

#[test]
fn all_faults_of_a_document_are_found_in_one_run_with_their_places_and_hints() {
    let text = "
nodes: [a, b, a]
los: 1
loss: 1.5
faults:
  - {at: -1s, kind: crsh, target: c}
  - {at: 1s, at: 2s, kind: delay, taget: a}
  - {at: 1s, kind: delay, target: a, times: 0}
";
    let help = |text: &str| Some(text.to_owned());
    assert_eq!(
        faults_of(text),
        [
            (2, 15, "duplicate-name", help("give each node a name of its own")),
            (3, 1, "unknown-key", help("did you mean `loss`?")),
            (4, 7, "out-of-range", None),
            (6, 10, "out-of-range", None),
            (6, 21, "unknown-value", help("did you mean `crash`?")),
            (6, 35, "unknown-name", help("known: `a`, `b` or `a`")),
            (7, 14, "duplicate-key", None),
            (7, 35, "unknown-key", help("did you mean `target`?")),
            (8, 45, "out-of-range", None),
        ]
    );
    let page = read_plan(text).diagnostics.to_string();
    assert!(page.contains("6 |   - {at: -1s, kind: crsh, target: c}"), "{page}");
    assert!(page.contains("= path: faults[0].at"), "{page}");
}

#[test]
fn an_empty_document_says_what_it_should_hold() {
    let help = Some("start with a top-level `faults:` key".to_owned());
    assert_eq!(faults_of(""), [(1, 1, "empty-file", help)]);
    let help = Some("keep one plan to a file".to_owned());
    assert_eq!(faults_of("nodes: [a]\nfaults: []\n---\nb: 1"), [(3, 1, "several-documents", help)]);
    assert_eq!(faults_of("nodes: []\nfaults: []")[0].2, "too-few");
}

#[test]
fn the_limits_are_the_formats() {
    let entries = |n: usize| "  - {at: 1s, kind: crash, target: a}\n".repeat(n);
    let text = format!("nodes: [a]\nfaults:\n{}", entries(100_000));
    assert_eq!(read_plan(&text).into_result().unwrap().faults.len(), 100_000);
    let text = format!("nodes: [a]\nfaults:\n{}", entries(100_001));
    assert_eq!(faults_of(&text), [(100_003, 5, "too-many", None)]);
}

#[test]
fn ten_million_entries_are_refused_soon_and_with_a_place() {
    // On a machine with much else to do; what is not linear would take hours.
    let patience = Duration::from_secs(if cfg!(debug_assertions) { 600 } else { 60 });
    // The text alone is too long.
    let text = format!("nodes: [a]\nfaults:\n{}", "  - {at: 1s}\n".repeat(10_000_000));
    let start = Instant::now();
    assert_eq!(faults_of(&text)[0].2, "too-large");
    // The text would do, but not what is in it.
    let text = format!("faults: [{}]", "a,".repeat(10_000_000));
    let found = faults_of(&text);
    assert_eq!((found[0].0, found[0].2), (1, "too-much"));
    assert!(start.elapsed() < patience, "{:?}", start.elapsed());
}

#[test]
fn lines_of_words_have_the_same_faults() {
    let text = b"# a crash log\n 1s a # first\n\nxs b\n2s\tc d\n3e99 a\n";
    let read = lines("c.log", text, 1_000, 10, |line| {
        let at = line.duration(0);
        let who = if line.len() > 1 { line.one_of(1, "node", &["a", "b"]) } else { Some(9) };
        Some((at?, who?))
    });
    assert!(read.value.is_none());
    let found: Vec<_> = read.diagnostics.iter().map(|d| (d.line, d.column, d.code)).collect();
    assert_eq!(found, [(4, 1, "wrong-type"), (5, 4, "unknown-name"), (6, 1, "out-of-range")]);
    let read = lines("c.log", b"1 a\n2 b\n3 c", 1_000, 2, |line| line.duration(0));
    let found: Vec<_> = read.diagnostics.iter().map(|d| (d.line, d.column, d.code)).collect();
    assert_eq!(found, [(3, 1, "too-much")]);
    let read = lines("c.log", b"1.5 # a#b\n 2s", 1_000, 2, |line| line.duration(0));
    let seconds: Vec<f64> = read.value.unwrap().iter().map(Duration::as_secs_f64).collect();
    assert_eq!(seconds, [1.5, 2.0]);
}

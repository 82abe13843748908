//! Properties over random files. `serde_yaml` is the second opinion.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lictor_kernel::{
    AutoShutdown, Backoff, ChildSpec, Curve, Intensity, Jitter, Restart, Shutdown, Strategy,
};
use lictor_topology::{
    AgentNode, Budget, Child, DynamicSupervisorNode, InHand, MailboxPolicy, Options, Overflow,
    SpawnLimits, SupervisorNode, Topology, check, parse,
};
use proptest::prelude::{Just, Strategy as Generator, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use serde_json::{Map, Value};

use crate::spread::spread;

fn duration(min: u64) -> impl Generator<Value = Duration> {
    let second = 1_000_000_000_u64;
    prop_oneof![
        (min.max(1)..100_000).prop_map(Duration::from_secs),
        (min.max(1)..100_000).prop_map(Duration::from_millis),
        (min.max(1)..10 * second).prop_map(Duration::from_nanos),
        (min..=100 * 365 * 86_400 * second).prop_map(Duration::from_nanos),
    ]
}

fn text() -> impl Generator<Value = String> {
    prop_oneof![
        "[a-z]{0,8}",
        any::<String>(),
        prop::sample::select(vec![
            "no",
            "yes",
            "on",
            "null",
            "~",
            "true",
            "5",
            "007",
            "1e3",
            ".5",
            "0x1f",
            "0o17",
            "0b1",
            ".inf",
            ".nan",
            "+1",
            "-",
            "- a",
            "a: b",
            "#x",
            "${X}",
            "$${X}",
            "$$${",
            "<<",
            "=",
            "",
            " a",
            "a ",
            "a\nb",
            "a\n",
            "\t",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "!a",
            "&a",
            "*a",
            "1_000",
            "12:30",
            "2001-01-01",
            "'",
            "\"",
            "%",
            "@",
            "`",
            "[",
            "}",
            ",",
            "?",
            "...",
            "---",
        ])
        .prop_map(str::to_owned),
    ]
}

fn json() -> impl Generator<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

fn object(value: impl Generator<Value = Value>) -> impl Generator<Value = Map<String, Value>> {
    prop::collection::btree_map(text(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(
    values: &[T],
) -> impl Generator<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

fn spec(base: ChildSpec) -> impl Generator<Value = ChildSpec> {
    let shutdown = prop_oneof![
        Just(Shutdown::BrutalKill),
        Just(Shutdown::Infinity),
        duration(0).prop_map(Shutdown::Timeout),
    ];
    let restart = one_of(&[Restart::Permanent, Restart::Transient, Restart::Temporary]);
    (restart, shutdown, any::<bool>(), prop::option::of(duration(1))).prop_map(
        move |(restart, shutdown, significant, start_timeout)| {
            let significant = significant && restart != Restart::Permanent;
            ChildSpec { restart, shutdown, significant, start_timeout, ..base }
        },
    )
}

fn intensity() -> impl Generator<Value = Intensity> {
    (any::<u32>(), duration(1))
        .prop_map(|(max_restarts, period)| Intensity { max_restarts, period })
}

fn backoff() -> impl Generator<Value = Backoff> {
    let curve = one_of(&[Curve::Constant, Curve::Linear, Curve::Exponential, Curve::None]);
    let jitter = one_of(&[Jitter::None, Jitter::Quarter, Jitter::Full, Jitter::Decorrelated]);
    (curve, duration(0), duration(0), jitter, prop::option::of(duration(1))).prop_map(
        |(curve, a, b, jitter, stable_after)| match curve {
            Curve::None => Backoff::NONE,
            Curve::Constant | Curve::Linear | Curve::Exponential => {
                Backoff { curve, base: a.min(b), max: a.max(b), jitter, stable_after }
            }
        },
    )
}

fn agent() -> impl Generator<Value = AgentNode> {
    let mailbox =
        (1_u32..=10_000_000, one_of(&[Overflow::Wait, Overflow::Reject, Overflow::DropOldest]))
            .prop_map(|(size, overflow)| MailboxPolicy { size, overflow });
    let in_hand = one_of(&[InHand::Drop, InHand::Redeliver, InHand::DeadLetter]);
    let secrets = prop::collection::btree_map(text(), text(), 0..3);
    let policy = (spec(ChildSpec::worker()), prop::option::of(duration(1)), any::<u32>());
    let free = (object(json()), object(json()), secrets, prop::collection::vec(text(), 0..3));
    ("[a-z]{1,5}\\.[A-Z][a-z]{0,4}", mailbox, in_hand, policy, free).prop_map(
        |(type_name, mailbox, in_hand, (spec, timeout, retries), free)| {
            let mut node = AgentNode::new("", type_name);
            (node.mailbox, node.in_hand, node.spec) = (mailbox, in_hand, spec);
            (node.handle_timeout, node.max_retries) = (timeout, retries);
            let (config, metadata, secrets, capabilities) = free;
            (node.config, node.capability_metadata) = (config, metadata);
            node.credentials = secrets.into_iter().collect();
            node.capabilities = capabilities;
            node
        },
    )
}

fn dynamic() -> impl Generator<Value = DynamicSupervisorNode> {
    let limit = || prop::option::of(any::<u32>());
    let limits = (limit(), limit(), limit(), limit()).prop_map(|(a, b, c, d)| SpawnLimits {
        max_children: a,
        max_total_spawns: b,
        max_children_per_spawner: c,
        max_total_spawns_per_spawner: d,
    });
    let restart = one_of(&[Restart::Permanent, Restart::Transient, Restart::Temporary]);
    let budget = one_of(&[Budget::Child, Budget::Shared]);
    (limits, restart, budget, intensity(), backoff(), spec(ChildSpec::supervisor())).prop_map(
        |(limits, restart, budget, intensity, backoff, spec)| {
            let mut node = DynamicSupervisorNode::new("");
            (node.limits, node.child_restart, node.budget) = (limits, restart, budget);
            (node.intensity, node.backoff) = (intensity, backoff);
            node.spec = ChildSpec { restart: Restart::Transient, ..spec };
            node
        },
    )
}

fn supervisor(children: Vec<Child>) -> impl Generator<Value = SupervisorNode> {
    let strategy = one_of(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
    let auto = one_of(&[AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]);
    (strategy, auto, intensity(), backoff(), spec(ChildSpec::supervisor())).prop_map(
        move |(strategy, auto_shutdown, intensity, backoff, spec)| {
            let mut node = SupervisorNode::new("");
            (node.strategy, node.auto_shutdown) = (strategy, auto_shutdown);
            (node.intensity, node.backoff, node.spec) = (intensity, backoff, spec);
            node.children = children.clone();
            node
        },
    )
}

fn topology() -> impl Generator<Value = Topology> {
    let leaf = prop_oneof![
        agent().prop_map(Child::Agent),
        agent().prop_map(Child::GenServer),
        dynamic().prop_map(Child::DynamicSupervisor),
    ];
    let child = leaf.prop_recursive(3, 10, 3, |inner| {
        prop::collection::vec(inner, 1..4).prop_flat_map(supervisor).prop_map(Child::Supervisor)
    });
    prop::collection::vec(child, 1..4).prop_flat_map(supervisor).prop_map(|mut root| {
        root.spec = ChildSpec::supervisor();
        name_all(&mut root, &mut 0);
        Topology::new(root)
    })
}

fn name_all(node: &mut SupervisorNode, next: &mut u32) {
    *next += 1;
    node.name = format!("n{next}");
    for child in &mut node.children {
        match child {
            Child::Supervisor(node) => name_all(node, next),
            Child::Agent(node) | Child::GenServer(node) => {
                *next += 1;
                node.name = format!("n{next}");
            }
            Child::DynamicSupervisor(node) => {
                *next += 1;
                node.name = format!("n{next}");
            }
            _ => {}
        }
    }
}

/// Ends soon and does not panic, whatever the bytes.
fn survives(bytes: &[u8]) {
    let start = Instant::now();
    let checked = check("t.yaml", bytes, &Options::default());
    let page = checked.diagnostics.to_string();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(checked.diagnostics.is_empty(), page.is_empty());
    assert!(checked.topology.is_some() || !checked.diagnostics.is_empty());
}

const SAMPLE: &str = "supervision:
  name: root
  strategy: ONE_FOR_ONE
  restart_window: 60.0
  children:
    - agent: &a {name: a, type: t.A, config: {x: [1, \"${N:-2}\", 'y']}}
    - {type: dynamic_supervisor, name: pool, max_children: 5}
    - supervisor:
        name: sub
        children: [{agent: {<<: *a, name: b}}]
transport: {type: in_process}
";

proptest! {
    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn random_yaml_is_survived(text in "[-a-c:{}\\[\\], \n\t&*!|>'\"#%?$<~0-9]{0,200}") {
        survives(text.as_bytes());
        survives(format!("supervision:\n  children:\n    - {text}").as_bytes());
    }

    #[test]
    fn mutated_files_are_survived(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)
    ) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, b"-:{}[],&*!|>'\"#%?$< \n\t~"[usize::from(byte) % 23]),
                _ => drop(bytes.remove(at)),
            }
        }
        survives(&bytes);
    }

    #[test]
    fn canonical_yaml_reads_back(topology in prop_oneof![topology().boxed(), spread(topology().boxed()).boxed()]) {
        let yaml = topology.to_yaml();
        match check("t.yaml", yaml.as_bytes(), &Options::default()).topology {
            Some(read) => prop_assert_eq!(read, topology),
            None => {
                let faults = parse("t.yaml", yaml.as_bytes(), &Options::default()).unwrap_err();
                prop_assert!(false, "{}\n{}", yaml, faults);
            }
        }
    }

    /// Both parsers read the same values out of the same text.
    #[test]
    fn serde_yaml_agrees(topology in topology()) {
        let yaml = topology.to_yaml();
        let file: BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(&yaml).unwrap();
        let read = parse("t.yaml", yaml.as_bytes(), &Options::default()).unwrap();
        compare(&read.root, &file["supervision"]);
        // JSON is YAML too: the same file in flow style and double quotes.
        let json = serde_json::to_string(&file).expect("plain values");
        if !json.contains(|c: char| c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')) {
            prop_assert_eq!(parse("t.json", json.as_bytes(), &Options::default()), Ok(topology));
        }
    }
}

fn compare(node: &SupervisorNode, yaml: &serde_yaml::Value) {
    assert_eq!(yaml["name"].as_str(), Some(node.name.as_str()));
    assert_eq!(yaml["max_restarts"].as_u64(), Some(node.intensity.max_restarts.into()));
    let entries = yaml["children"].as_sequence().expect("a list");
    assert_eq!(entries.len(), node.children.len());
    for (child, entry) in node.children.iter().zip(entries) {
        match child {
            Child::Supervisor(node) => compare(node, &entry["supervisor"]),
            Child::Agent(node) => compare_agent(node, &entry["agent"]),
            Child::GenServer(node) => compare_agent(node, entry),
            Child::DynamicSupervisor(node) => {
                assert_eq!(entry["name"].as_str(), Some(node.name.as_str()));
                let max = node.limits.max_children.map(u64::from);
                assert_eq!(entry["max_children"].as_u64(), max);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn compare_agent(node: &AgentNode, yaml: &serde_yaml::Value) {
    assert_eq!(yaml["name"].as_str(), Some(node.name.as_str()));
    assert_eq!(yaml["mailbox_size"].as_u64(), Some(node.mailbox.size.into()));
    let config: Value = yaml
        .get("config")
        .map(|config| serde_json::to_value(config).expect("plain values"))
        .unwrap_or_default();
    let config = if config.is_null() { Value::Object(Map::new()) } else { config };
    assert_eq!(unescape(config), Value::Object(node.config.clone()));
}

/// `serde_yaml` knows no `$${`.
fn unescape(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("$${", "${")),
        Value::Array(values) => values.into_iter().map(unescape).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, unescape(v))).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

#[test]
fn the_sample_is_valid() {
    assert!(parse("t.yaml", SAMPLE.as_bytes(), &Options::default()).is_ok());
}

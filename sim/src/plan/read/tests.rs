use super::*;
use crate::fault::{Kind, Target};
use crate::plan::{Act, Mix, Profile, Short};

const TREE: &str = "
supervision:
  children:
    - agent: { name: a, type: t }
    - agent: { name: \"1.5\", type: t }
    - { type: dynamic_supervisor, name: pool }
    - supervisor:
        name: inner
        children:
          - agent: { name: \"null\", type: t, config: { text: \"${HOME} \\n\\n x\", n: [1, 2.5] } }
";

fn scenario(nodes: usize) -> Arc<Scenario> {
    let options = lictor_topology::Options::default();
    let text = TREE.replace("${", "$${");
    let topology = lictor_topology::parse("t.yaml", text.as_bytes(), &options).unwrap();
    Arc::new(Scenario::new(topology, nodes).unwrap())
}

fn read(text: &str) -> Result<Plan, Diagnostics> {
    Plan::read("p.yaml", text.as_bytes(), &Reading::default())
}

/// The faults of a plan with this after its head, as (line, column, code, help).
fn faults(text: &str) -> Vec<(u32, u32, &'static str, String)> {
    let head = "topology: {supervision: {children: [{agent: {name: one, type: t}},\
                {type: dynamic_supervisor, name: pool}]}}\nnodes: 2\nhorizon: 10s\n";
    let found = read(&format!("{head}{text}")).unwrap_err();
    found.iter().map(|d| (d.line, d.column, d.code, d.help.clone().unwrap_or_default())).collect()
}

fn codes(text: &str) -> Vec<&'static str> {
    faults(text).into_iter().map(|(_, _, code, _)| code).collect()
}

#[test]
fn what_is_written_reads_back_the_same() {
    for mix in [Mix::Swarm, Mix::Parity] {
        for nodes in [1, 3] {
            let (scenario, profile) = (scenario(nodes), Profile::new(mix));
            for seed in 0..25 {
                let plan = Plan::generate(&scenario, seed, &profile);
                let text = plan.to_yaml();
                let again = read(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
                assert_eq!(again, plan);
                assert_eq!(again.to_yaml(), text);
                if seed < 5 {
                    let run = |plan| crate::world::run(plan, crate::outcome::Options::default());
                    assert_eq!(run(&again).digest, run(&plan).digest);
                }
            }
        }
    }
}

#[test]
fn every_kind_of_fault_reads_back() {
    let scenario = scenario(2);
    let agent = scenario.named("1.5").unwrap();
    let supervisor = scenario.named("inner").unwrap();
    let target = |kind: Kind| match kind.facts().place {
        crate::fault::Place::World => Target::World,
        crate::fault::Place::Node => Target::Node(NodeIx(1)),
        crate::fault::Place::Link => Target::Link(NodeIx(1), NodeIx(0)),
        crate::fault::Place::Agent => Target::Who(agent),
        crate::fault::Place::Supervisor => Target::Who(supervisor),
    };
    let mut plan = Plan::generate(&scenario, 1, &Profile::new(Mix::Calm));
    plan.faults = Kind::ALL
        .iter()
        .map(|kind| crate::fault::Fault {
            at: Instant::from_millis(5),
            lasts: if kind.facts().lasts { Duration::from_nanos(77) } else { Duration::ZERO },
            kind: *kind,
            target: target(*kind),
            amount: *kind.amounts().end(),
        })
        .collect();
    assert_eq!(read(&plan.to_yaml()).unwrap(), plan);
}

#[test]
fn the_examples_are_good() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plans");
    let files = |path: &str| std::fs::read(root.join(path)).map_err(|error| error.to_string());
    let options = Reading { engine: Some(Engine::Kernel), files: &files, ..Reading::default() };
    for name in ["crash_and_heal.yaml", "partition.yaml"] {
        let text = files(name).unwrap();
        let plan = Plan::read(name, &text, &options).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!plan.faults.is_empty() && !plan.operations.is_empty());
    }
}

#[test]
fn a_plan_by_hand_needs_little() {
    let plan = read(
        "topology: {supervision: {children: [{agent: {name: one, type: t}}]}}
horizon: 10s
operations:
  - { at: 2s, ask: one, timeout: 1s }
  - { at: 1.5, tell: one }
faults:
  - { at: 500ms, crash: one }
",
    )
    .unwrap();
    let one = plan.scenario.named("one").unwrap();
    assert_eq!(plan.operations[0].act, Act::Tell(one), "in the order of their instants");
    assert_eq!(plan.operations[1].act, Act::Ask(one, Duration::from_secs(1)));
    assert_eq!(plan.faults[0].at, Instant::from_millis(500));
    assert!(plan.calm > Duration::from_secs(5));
    assert_eq!(plan.knobs, Knobs::default());
}

#[test]
fn a_topology_can_be_a_file() {
    let text = "topology: t.yaml\nhorizon: 1s\n";
    let files = |path: &str| match path {
        "t.yaml" => Ok(TREE.replace("${", "$${").into_bytes()),
        _ => Err("no such file".to_owned()),
    };
    let options = Reading { files: &files, ..Reading::default() };
    let plan = Plan::read("p.yaml", text.as_bytes(), &options).unwrap();
    assert!(plan.scenario.named("inner").is_some());
    let gone = "topology: u.yaml\nhorizon: 1s\n";
    let found = Plan::read("p.yaml", gone.as_bytes(), &options).unwrap_err();
    let fault = found.iter().next().unwrap();
    assert_eq!((fault.line, fault.column, fault.code), (1, 11, "unreadable"));
    let bad = |_: &str| Ok(b"supervision: {childern: []}".to_vec());
    let options = Reading { files: &bad, ..Reading::default() };
    let found = Plan::read("p.yaml", text.as_bytes(), &options).unwrap_err();
    assert!(found.to_string().contains("unknown key `childern`"), "{found}");
}

#[test]
fn secrets_do_not_get_into_plans() {
    let text = "supervision: {children: [{agent: {name: a, type: t, credentials: {x: s3cret}}}]}";
    let options = lictor_topology::Options::default();
    let topology = lictor_topology::parse("t.yaml", text.as_bytes(), &options).unwrap();
    let scenario = Arc::new(Scenario::new(topology, 1).unwrap());
    let plan = Plan::generate(&scenario, 1, &Profile::default());
    assert!(!plan.to_yaml().contains("s3cret"));
    assert_eq!(read(&plan.to_yaml()).unwrap().operations, plan.operations);
}

#[test]
fn all_faults_are_found_in_one_run_with_their_places() {
    let found = faults(
        "sed: 1
operations:
  - { at: -1s, tell: one }
  - { at: 1s, tell: onee }
  - { at: 11s, tell: one }
  - { at: 1s, tel: one }
  - { at: 1s, tell: root }
  - { at: 1s, tell: one, at: 2s }
faults:
  - { at: 1s, crsh: one }
  - { at: 1s, crash: one, lasts: 1s }
  - { at: 1s, loss: [0, 1], amount: 150%, lasts: 1s }
  - { at: 1s, loss: [0, 2], amount: 5%, lasts: 1s }
  - { at: 1s, crash: pool }
  - { at: 1s, partition: [0, 0], lasts: 1s }
  - { at: 1s, crash: one, exit: one }
  - { at: 1s }
  - { at: 1s, partition: one, lasts: 1s }
  - { at: 1s, crash_at_edge: one, amount: 3 }
  - { at: 1s, jam: [0, 1] }
",
    );
    let places: Vec<_> =
        found.iter().map(|(line, column, code, _)| (*line, *column, *code)).collect();
    assert_eq!(
        places,
        [
            (4, 1, "unknown-key"),
            (6, 11, "out-of-range"),
            (7, 21, "unknown-name"),
            (8, 11, "beyond-horizon"),
            (9, 15, "unknown-key"),
            (10, 21, "wrong-target"),
            (11, 26, "duplicate-key"),
            (13, 15, "unknown-key"),
            (14, 27, "misplaced-key"),
            (15, 37, "out-of-range"),
            (16, 25, "out-of-range"),
            (17, 22, "wrong-target"),
            (18, 26, "wrong-target"),
            (19, 27, "conflicting-keys"),
            (20, 5, "missing-key"),
            (21, 26, "wrong-target"),
            (22, 43, "out-of-range"),
            (23, 5, "missing-key"),
        ]
    );
    let help = |code: usize| found[code].3.as_str();
    assert_eq!(help(0), "did you mean `seed`?");
    assert_eq!(help(2), "did you mean `one`?");
    assert_eq!(help(4), "did you mean `tell`?");
    assert_eq!(help(7), "did you mean `crash`?");
}

#[test]
fn what_an_engine_does_not_have_is_an_error_there() {
    let text = "topology: {supervision: {children: [{agent: {name: a, type: t}}]}}\n\
                horizon: 1s\nfaults: [{ at: 0s, starve: a, lasts: 1s }]\n";
    assert!(read(text).is_ok());
    let options = Reading { engine: Some(Engine::Kernel), ..Reading::default() };
    let found = Plan::read("p.yaml", text.as_bytes(), &options).unwrap_err();
    let fault = found.iter().next().unwrap();
    assert_eq!((fault.line, fault.column, fault.code), (3, 20, "not-available"));
    assert_eq!(fault.help.as_deref(), Some("it runs on `virtual`"));
}

#[test]
fn bad_topologies_nodes_and_knobs() {
    let of = |text: &str| {
        let found = read(text).unwrap_err();
        found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>()
    };
    let tree = "topology: {supervision: {children: [{agent: {name: a, type: t}}]}}\n";
    assert_eq!(of(&format!("{tree}horizon: 1s\nnodes: 0\n")), [(3, "out-of-range")]);
    assert_eq!(of(&format!("{tree}horizon: 1s\nnodes: 65\n")), [(3, "out-of-range")]);
    assert_eq!(of(tree), [(1, "missing-key")]);
    assert_eq!(of(&format!("{tree}horizon: 367d\n")), [(2, "out-of-range")]);
    assert_eq!(of("horizon: 1s\n"), [(1, "missing-key")]);
    assert_eq!(of("horizon: 1s\ntopology: {supervision: {}}\n"), [(2, "empty-supervisor")]);
    let cyclic = "horizon: 1s\ntopology: &t\n  supervision: { children: [ *t ] }\n";
    assert!(!of(cyclic).is_empty());
    let taken = "horizon: 1s\ntopology:\n  supervision:\n    children:\n      - agent: { name: \
                 root-node-1, type: t }\nnodes: 2\n";
    assert_eq!(of(taken), [(3, "no-scenario")]);
    assert_eq!(
        codes("knobs: { start: [2ms, 1ms], heartbeat: 0s, latncy: 1ms }"),
        ["bad-combination", "out-of-range", "unknown-key"]
    );
}

#[test]
fn too_many_faults_are_refused_before_they_cost_anything() {
    let many = "  - { at: 1s, crash: one }\n".repeat(10_001);
    assert_eq!(faults(&format!("faults:\n{many}")).first().unwrap().2, "too-many");
    let huge = "  - { at: 1s, crash: one }\n".repeat(1_300_000);
    assert_eq!(codes(&format!("faults:\n{huge}")), ["too-large"]);
    let aliased =
        format!("faults:\n  - &f {{ at: 1s, crash: one }}\n{}", "  - *f\n".repeat(1_000_000));
    assert!(!codes(&aliased).is_empty());
}

#[test]
fn what_users_send_reads_back() {
    let head = "topology: {supervision: {children: [{agent: {name: one, type: t}}]}}\n\
                horizon: 10s\noperations:\n";
    let texts = [
        ("tell: one, ttl: 20ms", Act::TellWithin(Who(1), Duration::from_millis(20))),
        ("tell_capable: \"to # speak\"", Act::TellCapable(Short::new("to # speak").unwrap())),
        ("send_after: one, delay: 1us", Act::SendAfter(Who(1), Duration::from_micros(1))),
        ("publish: one, to: \"[!o]*\"", Act::Publish(Who(1), Short::new("[!o]*").unwrap())),
        ("look: supervisor", Act::Look(Who(0))),
    ];
    for (text, act) in texts {
        let root = head.replace("supervision: {", "supervision: {name: supervisor, ");
        let plan = read(&format!("{root}  - {{ at: 1s, {text} }}\n")).unwrap();
        assert_eq!(plan.operations[0].act, act);
        assert!(plan.to_yaml().contains(text), "{}", plan.to_yaml());
        assert_eq!(read(&plan.to_yaml()).unwrap(), plan);
    }
}

#[test]
fn what_users_send_can_be_wrong() {
    let long = "x".repeat(31);
    for (text, code) in [
        ("ask: one, timeout: 1s, ttl: 1s".to_owned(), "misplaced-key"),
        ("tell: one, to: \"*\"".to_owned(), "misplaced-key"),
        ("tell: one, delay: 1s".to_owned(), "misplaced-key"),
        ("publish: one".to_owned(), "missing-key"),
        ("send_after: one".to_owned(), "missing-key"),
        (format!("tell_capable: {long}"), "out-of-range"),
        (format!("publish: one, to: {long}"), "out-of-range"),
        ("send_after: pool, delay: 1s".to_owned(), "wrong-target"),
        ("look: one".to_owned(), "wrong-target"),
    ] {
        let text = format!("operations: [{{at: 1s, {text}}}]");
        assert_eq!(codes(&text), [code], "{text}");
    }
}

#[test]
fn what_needs_a_model_is_refused_elsewhere() {
    let text = "topology: {supervision: {name: root, children: [{agent: {name: one, type: t}}]}}\n\
                horizon: 10s\n\
                operations: [{at: 1s, publish: one, to: \"*\"}, {at: 1s, look: root}]\n";
    let reading = Reading { engine: Some(Engine::Virtual), ..Reading::default() };
    let found = Plan::read("p.yaml", text.as_bytes(), &reading).unwrap_err();
    let codes: Vec<_> = found.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["not-available"; 2]);
    let plan = read(text).unwrap();
    assert!(Engine::Virtual.can(&plan).is_err());
    assert!(Engine::Kernel.can(&plan).is_ok());
}

//! What a valid file means.

use std::time::Duration;

use lictor_kernel::{AutoShutdown, Backoff, Curve, Jitter, Restart, Shutdown, Strategy};
use lictor_topology::{AgentNode, Budget, Child, InHand, Overflow, SupervisorNode, Topology};

use crate::read;

fn first_agent(topology: &Topology) -> &AgentNode {
    match &topology.root.children[0] {
        Child::Agent(agent) | Child::GenServer(agent) => agent,
        Child::Supervisor(_) | Child::DynamicSupervisor(_) | _ => panic!("no agent"),
    }
}

#[test]
fn defaults() {
    let topology = read("supervision: {children: [{agent: {name: a, type: t}}]}").unwrap();
    let mut root = SupervisorNode::new("root");
    root.children.push(Child::Agent(AgentNode::new("a", "t")));
    assert_eq!(topology, Topology::new(root));
    assert_eq!(topology.root.backoff, Backoff::constant(Duration::from_secs(1)));
    assert_eq!(topology.root.intensity.period, Duration::from_secs(60));
}

const EVERY_KEY: &str = r"
supervisor:
  name: top
  strategy: rest_for_one
  max_restarts: 5
  restart_window: 2m
  backoff: exponential
  backoff_base: 250ms
  backoff_max: 30.5
  stable_after: 1h
  auto_shutdown: ALL_SIGNIFICANT
  children:
    - agent:
        name: a
        type: demo.A
        restart: temporary
        shutdown: brutal_kill
        significant: true
        start_timeout: 10
        process: null
        config: {n: 1, f: 1.5, deep: [{x: ~}]}
        mailbox_size: 10
        overflow: drop_oldest
        handle_timeout: 1.5
        max_retries: 0
        in_hand: redeliver
        capabilities: [one, two]
        capability_metadata: {one: {cost: 3}}
        credentials: {openai: secret}
    - {type: gen_server, module: app.counters, class: Counter, name: b, shutdown_timeout: 30}
    - {type: agent, module: app, class: Other, name: c}
    - {type: demo.A, name: d}
    - {type: dynamic_supervisor, name: pool, max_children: 9, restart: never, budget: shared}
    - supervisor: {name: sub, restart: permanent, shutdown: 9, children: [{type: t, name: e}]}
transport: {type: in_process}
";

#[test]
fn every_key_of_supervisors_and_agents() {
    let topology = read(EVERY_KEY).unwrap();
    let root = &topology.root;
    assert_eq!((root.name.as_str(), root.strategy), ("top", Strategy::RestForOne));
    assert_eq!(root.auto_shutdown, AutoShutdown::AllSignificant);
    assert_eq!(root.intensity.max_restarts, 5);
    assert_eq!(root.intensity.period, Duration::from_secs(120));
    let cap = Duration::from_millis(30_500);
    let backoff = Backoff::exponential(Duration::from_millis(250), cap)
        .jitter(Jitter::Quarter)
        .stable_after(Duration::from_secs(3600));
    assert_eq!(root.backoff, backoff);
    let a = first_agent(&topology);
    assert_eq!((a.spec.restart, a.spec.shutdown), (Restart::Temporary, Shutdown::BrutalKill));
    assert!(a.spec.significant);
    assert_eq!(a.spec.start_timeout, Some(Duration::from_secs(10)));
    assert_eq!((a.mailbox.size, a.mailbox.overflow), (10, Overflow::DropOldest));
    assert_eq!((a.max_retries, a.in_hand), (0, InHand::Redeliver));
    assert_eq!(a.handle_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(a.config["deep"], serde_json::json!([{"x": null}]));
    assert_eq!(a.capabilities, ["one", "two"]);
    assert_eq!(a.capability_metadata["one"]["cost"], 3);
    assert_eq!(a.credentials.secret("openai"), Some("secret"));
    assert!(!format!("{a:?}").contains("secret"));
}

#[test]
fn every_form_of_an_entry() {
    let root = read(EVERY_KEY).unwrap().root;
    let types: Vec<_> = root.children[1..4]
        .iter()
        .map(|child| match child {
            Child::GenServer(b) => ("gen_server", b.type_name.as_str()),
            Child::Agent(agent) => ("agent", agent.type_name.as_str()),
            Child::Supervisor(_) | Child::DynamicSupervisor(_) | _ => panic!("no agent"),
        })
        .collect();
    assert_eq!(
        types,
        [("gen_server", "app.counters.Counter"), ("agent", "app.Other"), ("agent", "demo.A")]
    );
    assert_eq!(root.children[1].spec().shutdown, Shutdown::Timeout(Duration::from_secs(30)));
    let Child::DynamicSupervisor(pool) = &root.children[4] else { panic!() };
    assert_eq!((pool.limits.max_children, pool.limits.max_total_spawns), (Some(9), None));
    assert_eq!((pool.child_restart, pool.budget), (Restart::Temporary, Budget::Shared));
    let Child::Supervisor(sub) = &root.children[5] else { panic!() };
    assert_eq!(sub.spec.restart, Restart::Permanent);
    assert_eq!((sub.origin.line, sub.origin.column), (34, 7));
    assert_eq!(sub.children[0].name(), "e");
}

#[test]
fn variables() {
    let text = "
supervision:
  max_restarts: ${N}
  restart_window: ${N}s
  name: ${WORD}-${N}
  strategy: ${UNSET:-one_for_all}
  children:
    - agent:
        name: ${N}
        type: t.A
        config:
          int: ${N}
          text: \"${N}\"
          default: ${EMPTY:-5}
          empty: \"${EMPTY}\"
          null: ~
          literal: $${N}
          dollars: $5 and $N
          ${N}: in a key
        credentials: {k: \"x\"}
";
    let text = text.replace("          null: ~\n", "");
    let topology = read(&text).unwrap();
    assert_eq!(topology.root.intensity.max_restarts, 7);
    assert_eq!(topology.root.intensity.period, Duration::from_secs(7));
    assert_eq!(topology.root.name, "hello-7");
    assert_eq!(topology.root.strategy, Strategy::OneForAll);
    let agent = first_agent(&topology);
    assert_eq!(agent.name, "7");
    let expected = serde_json::json!({
        "int": 7, "text": "7", "default": 5, "empty": "", "literal": "${N}",
        "dollars": "$5 and $N", "${N}": "in a key",
    });
    assert_eq!(serde_json::Value::Object(agent.config.clone()), expected);
}

#[test]
fn a_variable_of_digits_is_a_good_secret() {
    let text = "supervision:\n  children:\n    - agent:\n        name: a\n        type: t\n        \
                credentials:\n          k: ${ZERO}\n";
    assert_eq!(first_agent(&read(text).unwrap()).credentials.secret("k"), Some("007"));
}

#[test]
fn anchors_and_merges() {
    let text = "
supervision:
  children:
    - agent: &base
        name: a
        type: t.A
        config: &config {x: 1, y: 2}
    - agent:
        <<: *base
        name: b
        config: {<<: *config, y: 3}
    - agent:
        <<: [{type: t.B}, *base]
        name: c
";
    let topology = read(text).unwrap();
    let Child::Agent(b) = &topology.root.children[1] else { panic!() };
    assert_eq!(
        (b.type_name.as_str(), &b.config["x"], &b.config["y"]),
        ("t.A", &1.into(), &3.into())
    );
    let Child::Agent(c) = &topology.root.children[2] else { panic!() };
    assert_eq!((c.type_name.as_str(), &c.config["y"]), ("t.B", &2.into()));
}

#[test]
fn words_that_were_booleans_once_are_names() {
    let topology = read("supervision: {name: no, children: [{type: t, name: on}]}").unwrap();
    assert_eq!((topology.root.name.as_str(), topology.root.children[0].name()), ("no", "on"));
}

#[test]
fn no_backoff() {
    let text = "supervision: {backoff: NONE, children: [{type: t, name: a}]}";
    assert_eq!(read(text).unwrap().root.backoff, Backoff::NONE);
    let text = "supervision: {backoff: LINEAR, children: [{type: t, name: a}]}";
    let backoff = read(text).unwrap().root.backoff;
    assert_eq!((backoff.curve, backoff.jitter), (Curve::Linear, Jitter::None));
}

#[test]
fn line_ends_and_byte_order_mark() {
    let text = "\u{feff}supervision:\r\n  children:\r\n    - {type: t, name: a}\r\n";
    let topology = read(text).unwrap();
    let origin = topology.root.children[0].origin();
    assert_eq!((origin.line, origin.column), (3, 7));
    let faults = read("\u{feff}supervison: 1\r\n").unwrap_err();
    let first = faults.iter().next().unwrap();
    assert_eq!((first.line, first.column, first.end_column), (1, 1, 11));
}

//! Transport, processes and security: what they mean, and each fault with its place.

use std::time::Duration;

use lictor_kernel::Restart;
use lictor_topology::{
    Checked, Child, Diagnostic, IdentityMode, NoEnvironment, Options, Overrides, Secret, Severity,
    Topology, TransportKind, check, is_nats_server, is_zmq_address, parse,
};

use crate::read;

const KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN";

/// A tree with an agent in the process `w1`, and then these lines.
fn spread(rest: &str) -> String {
    format!("supervision: {{children: [{{agent: {{name: a, type: t, process: w1}}}}]}}\n{rest}")
}

fn look(text: &str) -> Checked {
    check("t.yaml", text.as_bytes(), &Options::new(&NoEnvironment))
}

/// What is wrong with the line after the first, by its column and code.
fn faults(line: &str) -> Vec<(u32, &'static str)> {
    let checked = look(&spread(line));
    checked.diagnostics.iter().map(|d| (d.column, d.code)).collect()
}

const EVERY_KEY: &str = r"
transport:
  type: NATS
  cluster: blue
  process: boss
  zmq: {pub_addr: 'tcp://127.0.0.1:7001', sub_addr: 'ipc:///run/sub', start_proxy: false}
  nats:
    servers: ['nats://a:4222', 'tls://user:${WORD}@b']
    jetstream: {max_bytes: 1000, max_messages: 10, max_age: 1h, max_deliver: 5, ack_wait: 30}
    stream_name: BLUE
  membership:
    heartbeat_interval: 200ms
    heartbeat_timeout: 100ms
    missed_heartbeats_threshold: 5
    ask_every: 1s
    lease: 4s
    child_lease: 2s
processes:
  w1: {restart: transient, max_restarts: 9, backoff: NONE, env: {A: '${WORD}'}, shutdown: 2s}
  w2: {external: true}
  w3: {command: [python, w.py]}
security:
  identity: {mode: provisioned, key_dir: /keys}
  signing: {enabled: true, algorithm: ED25519, require_verification: false, allow_unsigned: true}
  transport:
    zmq:
      curve:
        enabled: true
        server_public_key: KEY
        server_secret_key: KEY
        client_public_key: KEY
        client_secret_key: KEY
    nats: {tls: {cert: c.pem, key: k.pem, ca: ca.pem}, creds: me.creds}
supervision:
  children:
    - agent: {name: a, type: t, process: w1}
    - {type: gen_server, module: m, class: C, name: b, process: w2}
    - {type: t, name: pool, process: w3}
    - {type: t, name: c, process: w4}
    - supervisor: {name: sub, children: [{type: t, name: d, process: w1}]}
    - {type: t, name: e, process: boss}
";

#[test]
fn every_key_means_something() {
    let text = EVERY_KEY.replace("KEY", KEY);
    let topology = read(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let transport = &topology.transport;
    assert_eq!(transport.kind, TransportKind::Nats);
    assert_eq!((&*transport.cluster, &*transport.process), ("blue", "boss"));
    let zmq = &transport.zmq;
    assert_eq!((&*zmq.pub_addr, &*zmq.sub_addr), ("tcp://127.0.0.1:7001", "ipc:///run/sub"));
    assert!(!zmq.start_proxy);
    let servers: Vec<_> = transport.nats.servers.iter().map(Secret::reveal).collect();
    assert_eq!(servers, ["nats://a:4222", "tls://user:hello@b"]);
    let limits = transport.nats.jetstream.unwrap();
    assert_eq!((limits.max_bytes, limits.max_messages), (Some(1000), Some(10)));
    assert_eq!((limits.max_age, limits.max_deliver), (Some(Duration::from_secs(3600)), Some(5)));
    assert_eq!(limits.ack_wait, Some(Duration::from_secs(30)));
    assert_eq!(transport.nats.stream_name, "BLUE");
    let membership = transport.membership;
    assert_eq!(membership.heartbeat_interval, Duration::from_millis(200));
    assert_eq!(membership.missed_heartbeats_threshold, 5);
    assert_eq!(membership.lease, Duration::from_secs(4));
    assert_eq!(membership.child_lease, Duration::from_secs(2));
    let processes = &topology.processes;
    let names: Vec<_> = processes.iter().map(|process| &*process.name).collect();
    assert_eq!(names, ["w1", "w2", "w3", "w4"]);
    assert_eq!(
        (processes[0].restart, processes[0].intensity.max_restarts),
        (Restart::Transient, 9)
    );
    assert_eq!(processes[0].env.secret("A"), Some("hello"));
    assert_eq!(processes[0].shutdown, Duration::from_secs(2));
    assert!(processes[1].external && !processes[3].external);
    assert_eq!(processes[2].command, ["python", "w.py"]);
    let placed: Vec<_> = topology.all_children().map(|it| (it.name(), it.process())).collect();
    let on = |name, process| (name, Some(process));
    assert_eq!(
        placed,
        [
            on("a", "w1"),
            on("b", "w2"),
            on("pool", "w3"),
            on("c", "w4"),
            ("sub", None),
            on("d", "w1"),
            ("e", None)
        ]
    );
    let security = &topology.security;
    assert_eq!(security.identity.mode, IdentityMode::Provisioned);
    assert_eq!(security.identity.key_dir, "/keys");
    let signing = security.signing;
    assert!(signing.enabled && signing.allow_unsigned && !signing.require_verification);
    let curve = security.curve.as_ref().unwrap();
    assert_eq!(curve.client_secret_key.reveal(), KEY);
    assert_eq!(security.nats.tls.as_ref().unwrap().ca.as_deref(), Some("ca.pem"));
    assert_eq!(security.nats.creds.as_deref(), Some("me.creds"));
    // Nothing that is secret is shown.
    let shown = format!("{topology:?}");
    assert!(!shown.contains("hello") && !shown.contains(&format!("Secret(\"{KEY}")), "{shown}");
    assert_eq!(read(&topology.to_yaml()), Ok(topology));
}

#[test]
fn the_defaults_are_those_of_civitas() {
    let topology = read(&spread("transport: {type: zmq}")).unwrap();
    let transport = &topology.transport;
    assert_eq!(transport.kind, TransportKind::Zmq);
    assert_eq!(transport.zmq.pub_addr, "tcp://127.0.0.1:5559");
    assert_eq!(transport.zmq.sub_addr, "tcp://127.0.0.1:5560");
    assert!(transport.zmq.start_proxy);
    assert_eq!(transport.nats.servers, [Secret::new("nats://localhost:4222")]);
    assert_eq!((transport.nats.jetstream, &*transport.nats.stream_name), (None, "AGENCY"));
    assert_eq!((&*transport.cluster, &*transport.process), ("default", "main"));
    let security = &topology.security;
    assert_eq!(security.identity.key_dir, "./civitas-keys");
    let signing = security.signing;
    assert!(!signing.enabled && signing.require_verification && !signing.allow_unsigned);
    assert_eq!((&security.curve, &security.nats.tls), (&None, &None));
    assert_eq!(topology.processes[0].name, "w1");
    assert!(!topology.processes[0].external);
}

#[test]
fn one_process_or_many_is_a_matter_of_one_block() {
    let said = look(&spread("transport: {type: in_process}"));
    let topology = said.topology.unwrap();
    assert!(!topology.is_distributed());
    let warnings: Vec<_> = said.diagnostics.iter().map(|d| (d.severity, d.code)).collect();
    assert_eq!(warnings, [(Severity::Warning, "no-effect")]);
    for kind in ["zmq", "nats"] {
        let text = spread(&format!("transport: {{type: {kind}}}"));
        assert!(look(&text).topology.unwrap().is_distributed(), "{kind}");
    }
    // Without a word of it, it was forgotten.
    for block in ["", "transport: {zmq: {start_proxy: false}}", "transport: {}"] {
        let checked = look(&spread(block));
        let fault = checked.diagnostics.iter().next().unwrap();
        assert_eq!((fault.line, fault.column, fault.code), (1, 62, "bad-combination"), "{block}");
        assert!(fault.help.as_ref().unwrap().contains("type: zmq"));
    }
}

// Defect: X3 (flags of the command were ignored).
#[test]
fn overrides_hold_instead_of_what_the_file_says() {
    let overrides = Overrides {
        transport: Some(TransportKind::Nats),
        zmq_pub: Some("tcp://h:1".into()),
        zmq_sub: None,
        nats_servers: Some(vec![Secret::new("nats://other")]),
    };
    for block in ["", "transport: {type: zmq, nats: {servers: 'nats://here'}}"] {
        let options = Options::new(&NoEnvironment).overrides(&overrides);
        let topology: Topology = parse("t.yaml", spread(block).as_bytes(), &options).unwrap();
        assert_eq!(topology.transport.kind, TransportKind::Nats);
        assert_eq!(topology.transport.nats.servers, [Secret::new("nats://other")]);
        assert_eq!(topology.transport.zmq.pub_addr, "tcp://h:1");
        assert_eq!(topology.transport.zmq.sub_addr, "tcp://127.0.0.1:5560");
    }
}

// Defect: D30
#[test]
fn the_keys_of_a_broker_may_stand_beside_its_type_as_civitas_writes_them() {
    let zmq =
        "transport: {type: zmq, pub_addr: 'tcp://h:1', sub_addr: 'tcp://h:2', start_proxy: false}";
    let nats = "transport: {type: nats, servers: 'nats://h:1', jetstream: true, stream_name: BLUE}";
    let of = |line: &str| {
        let checked = look(&spread(line));
        assert!(checked.diagnostics.is_empty(), "{line}: {:?}", checked.diagnostics);
        checked.topology.unwrap().transport
    };
    let (zmq, nats) = (of(zmq), of(nats));
    assert_eq!((&*zmq.zmq.pub_addr, &*zmq.zmq.sub_addr), ("tcp://h:1", "tcp://h:2"));
    assert!(!zmq.zmq.start_proxy && nats.nats.jetstream.is_some());
    assert_eq!((nats.nats.servers.len(), &*nats.nats.stream_name), (1, "BLUE"));
}

// Without `type` a flag of the command says which of the two is used.
#[test]
fn the_keys_of_both_brokers_may_stand_beside_each_other() {
    for kind in [TransportKind::Zmq, TransportKind::Nats] {
        let over = Overrides { transport: Some(kind), ..Overrides::default() };
        let options = Options::new(&NoEnvironment).overrides(&over);
        let text = spread(
            "transport: {pub_addr: 'tcp://h:1', sub_addr: 'tcp://h:2', servers: 'nats://h:3'}",
        );
        let said = parse("t.yaml", text.as_bytes(), &options).unwrap().transport;
        assert_eq!((&*said.zmq.pub_addr, &*said.zmq.sub_addr), ("tcp://h:1", "tcp://h:2"));
        assert_eq!((said.kind, said.nats.servers), (kind, vec![Secret::new("nats://h:3")]));
    }
}

// Defect: D30 (an unknown transport and unknown keys were taken in silence).
#[test]
fn faults_of_the_transport() {
    let rows: &[(&str, u32, &str)] = &[
        ("transport: {type: zqm}", 19, "unknown-value"),
        ("transport: {type: 5}", 19, "unknown-value"),
        ("transport: {tpye: zmq}", 13, "unknown-key"),
        ("transport: {type: zmq, url: x}", 24, "unknown-key"),
        ("transport: zmq", 12, "wrong-type"),
        ("transport: {type: zmq, zmq: {port: x}}", 30, "unknown-key"),
        ("transport: {type: zmq, zmq: {pub_addr: 'http://a:1'}}", 40, "bad-address"),
        ("transport: {type: zmq, zmq: {pub_addr: 'tcp://a:0'}}", 40, "bad-address"),
        ("transport: {type: zmq, zmq: {pub_addr: 'tcp://127.0.0.1:5560'}}", 40, "bad-combination"),
        ("transport: {type: zmq, zmq: {start_proxy: 'yes'}}", 43, "wrong-type"),
        ("transport: {type: nats, nats: {servers: []}}", 41, "too-few"),
        ("transport: {type: nats, nats: {servers: 'http://a'}}", 41, "bad-address"),
        ("transport: {type: nats, nats: {servers: ['nats://a', 5]}}", 54, "wrong-type"),
        ("transport: {type: nats, nats: {jetstream: often}}", 43, "wrong-type"),
        ("transport: {type: nats, nats: {jetstream: {max_byte: 5}}}", 44, "unknown-key"),
        ("transport: {type: nats, nats: {jetstream: {max_bytes: 0}}}", 55, "out-of-range"),
        ("transport: {type: nats, nats: {stream_name: 'a.b'}}", 45, "bad-name"),
        ("transport: {type: zmq, servers: 'nats://a'}", 33, "bad-combination"),
        ("transport: {type: nats, start_proxy: true}", 38, "bad-combination"),
        ("transport: {type: zmq, start_proxy: true, zmq: {}}", 37, "bad-combination"),
        ("transport: {type: zmq, pub_addr: 'http://a:1'}", 34, "bad-address"),
        ("transport: {type: zmq, cluster: 'a b'}", 33, "bad-name"),
        ("transport: {type: zmq, process: _x}", 33, "bad-name"),
        ("transport: {type: zmq, membership: {lease: 1s}}", 44, "bad-combination"),
        ("transport: {type: zmq, membership: {heartbeat_interval: 10s}}", 57, "bad-combination"),
        ("transport: {type: zmq, membership: {child_lease: 99ms}}", 50, "out-of-range"),
        ("transport: {type: zmq, membership: {heartbeat_interval: 9ms}}", 57, "out-of-range"),
        ("transport: {type: zmq, membership: {heartbeat_timeout: 9ms}}", 56, "out-of-range"),
        ("transport: {type: zmq, membership: {ask_every: 1us}}", 48, "out-of-range"),
        ("transport: {type: nats, nats: {jetstream: {ack_wait: 99ms}}}", 54, "out-of-range"),
        (
            "transport: {type: zmq, membership: {missed_heartbeats_threshold: 0}}",
            66,
            "out-of-range",
        ),
    ];
    for (line, column, code) in rows {
        assert_eq!(faults(line), [(*column, *code)], "{line}");
    }
    let checked = look(&spread("transport: {type: zqm}"));
    let fault = checked.diagnostics.iter().next().unwrap();
    assert_eq!(fault.help.as_deref(), Some("did you mean `zmq`?"));
}

#[test]
fn faults_of_processes() {
    let with = |rest: &str| format!("{}processes: {rest}", "transport: {type: zmq}\n");
    let rows: &[(&str, u32, &str)] = &[
        ("{w1: {extern: true}}", 18, "unknown-key"),
        ("{w1: {external: 1}}", 28, "wrong-type"),
        ("{w1: {command: run}}", 27, "wrong-type"),
        ("{w1: {command: []}}", 27, "too-few"),
        ("{w1: {command: ['']}}", 27, "bad-command"),
        ("{w1: {command: [1]}}", 28, "wrong-type"),
        ("{w1: {restart: never}}", 27, "unknown-value"),
        ("{w1: {max_restarts: -1}}", 32, "out-of-range"),
        ("{w1: {external: true, shutdown: 5s}}", 34, "no-effect"),
        ("{'a b': {}, w1: {}}", 13, "bad-name"),
        ("{main: {}, w1: {}}", 13, "misplaced-key"),
        ("{w1: {}, w9: {}}", 21, "no-effect"),
        ("{w1: {}, w1: {}}", 21, "duplicate-key"),
        ("[w1]", 12, "wrong-type"),
    ];
    for (rest, column, code) in rows {
        assert_eq!(faults(&with(rest)), [(*column, *code)], "{rest}");
    }
    // A worker has a name among those of agents.
    let text = "transport: {type: zmq}\nsupervision: {name: w1, children: [{type: t, name: w2, \
                process: w1}, {type: t, name: b, process: w2}]}\n";
    let checked = look(text);
    let found: Vec<_> = checked.diagnostics.iter().map(|d| (d.column, d.code)).collect();
    assert_eq!(found, [(65, "duplicate-name"), (98, "duplicate-name")]);
    let text = "transport: {type: zmq}\nsupervision:\n  children:\n    \
                - supervisor: {name: s, process: w1, children: [{type: t, name: a}]}\n    \
                - {type: t, name: b, process: 'w 1'}\n    - {type: t, name: c, process: 5}\n    \
                - {type: dynamic_supervisor, name: d, process: w1}\n";
    let checked = look(text);
    let found: Vec<_> = checked.diagnostics.iter().map(|d| (d.line, d.column, d.code)).collect();
    assert_eq!(
        found,
        [
            (4, 29, "not-available"),
            (5, 35, "bad-name"),
            (6, 35, "wrong-type"),
            (7, 52, "not-available")
        ]
    );
}

#[test]
fn faults_of_security_repeat_nothing() {
    let curve = |rest: &str| format!("security: {{transport: {{zmq: {{curve: {{{rest}}}}}}}}}");
    let nats = |rest: &str| format!("security: {{transport: {{nats: {{{rest}}}}}}}");
    let rows: &[(String, u32, &str)] = &[
        ("security: {signing: {enabled: hunter2}}".into(), 31, "wrong-type"),
        ("security: {signing: {algorithm: hunter2}}".into(), 33, "unknown-value"),
        ("security: {identity: {mode: hunter2}}".into(), 29, "unknown-value"),
        ("security: {identity: {key_dir: ''}}".into(), 32, "bad-path"),
        ("security: {signature: {}}".into(), 12, "unknown-key"),
        (curve("enabled: true"), 30, "missing-key"),
        (curve("server_public_key: hunter2"), 57, "bad-key"),
        (curve("server_secret_key: 5"), 57, "wrong-type"),
        (curve(&format!("server_public_key: {KEY}")), 30, "missing-key"),
        (curve(&format!("enabled: false, server_public_key: {KEY}")), 30, "no-effect"),
        (nats("nkey_seed: hunter2"), 42, "bad-key"),
        (nats("tls: {cert: c.pem}"), 37, "bad-combination"),
        (nats(&format!("nkey_seed: SU{}, creds: x", "A".repeat(56))), 102, "conflicting-keys"),
    ];
    for (line, column, code) in rows {
        let line = format!("{line}\ntransport: {{type: zmq}}");
        let checked = look(&spread(&line));
        let is_it = |d: &Diagnostic| (d.column, d.code) == (*column, *code);
        assert!(checked.diagnostics.iter().any(is_it), "{line}: {}", checked.diagnostics);
        for fault in &checked.diagnostics {
            let help = fault.help.as_deref().unwrap_or_default();
            assert!(!fault.message.contains("hunter2") && !help.contains("hunter2"), "{fault:?}");
        }
    }
}

// A variable may hold a secret, and a log of faults is no place for one.
#[test]
fn what_a_variable_holds_is_not_repeated() {
    let secret = |name: &str| (name == "SECRET").then(|| "hunter2 hunter2".to_owned());
    for line in [
        "transport: {type: nats, nats: {servers: '${SECRET}'}}",
        "transport: {type: zmq, zmq: {pub_addr: '${SECRET}'}}",
        "transport: {type: zmq, cluster: '${SECRET}'}",
        "transport: {type: '${SECRET}'}",
        "security: {transport: {nats: {nkey_seed: '${SECRET}'}}}",
        "security: {signing: {enabled: '${SECRET}'}}",
        "processes: {w1: {shutdown: '${SECRET}', env: {A: {b: '${SECRET}'}}}}",
    ] {
        let text = spread(line);
        let checked = check("t.yaml", text.as_bytes(), &Options::new(&secret));
        assert!(checked.topology.is_none(), "{line}");
        assert_secret_free(&checked);
    }
    // Also by an agent type that repeats its settings.
    let says = |node: &lictor_topology::AgentNode| Err(format!("bad `key`: {:?}", node.config));
    let text =
        "supervision: {children: [{agent: {name: a, type: t, config: {key: ['${SECRET}']}}}]}";
    let options = Options::new(&secret).agents(&says);
    let checked = check("t.yaml", text.as_bytes(), &options);
    assert_secret_free(&checked);
    assert!(checked.diagnostics.to_string().contains("bad `key`"));
}

fn assert_secret_free(checked: &Checked) {
    let page = checked.diagnostics.to_string();
    let json = serde_json::to_string(&checked.diagnostics).expect("plain values");
    assert!(!page.contains("hunter2") && !json.contains("hunter2"), "{page}");
}

#[test]
fn addresses() {
    for good in ["tcp://127.0.0.1:1", "tcp://host:65535", "tcp://[::1]:5", "ipc:///run/a"] {
        assert!(is_zmq_address(good), "{good}");
    }
    for bad in [
        "",
        "tcp://",
        "tcp://:1",
        "tcp://a",
        "tcp://a:0",
        "tcp://a:65536",
        "tcp://a b:1",
        "tcp://::1:5",
        "ipc://",
        "inproc://a",
    ] {
        assert!(!is_zmq_address(bad), "{bad}");
    }
    for good in [
        "nats://a",
        "nats://a:4222",
        "tls://u:p@a:1",
        "a:4222",
        "localhost",
        "nats://[::1]:4222",
        "nats://a:4222/",
    ] {
        assert!(is_nats_server(good), "{good}");
    }
    for bad in ["", "nats://", "http://a", "nats://a:0", "nats://a:x", "nats://u:p@", "a b"] {
        assert!(!is_nats_server(bad), "{bad}");
    }
}

#[test]
fn an_agent_of_the_process_of_the_tree_is_local() {
    let text = spread("transport: {process: w1}");
    let topology = read(&text).unwrap();
    let Child::Agent(agent) = &topology.root.children[0] else { panic!() };
    assert_eq!((agent.process.as_deref(), topology.processes.len()), (None, 0));
}

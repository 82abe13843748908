//! One row for each rule: the text, and the exact place and code of its only fault.

use lictor_topology::{Foreign, Options, Severity, check, parse};

use crate::{read, variables};

/// A root supervisor with these keys and one good child; the keys begin at line 2, column 3.
fn root(keys: &str) -> String {
    format!("supervision:\n  {keys}\n  children: [{{agent: {{name: a, type: t.A}}}}]\n")
}

/// An agent with these keys; they begin at line 6, column 9.
fn agent(keys: &str) -> String {
    format!(
        "supervision:\n  children:\n    - agent:\n        name: a\n        type: t.A\n        \
         {keys}\n"
    )
}

/// A root with this entry, which begins at line 3, column 7.
fn entry(lines: &str) -> String {
    format!("supervision:\n  children:\n    - {lines}\n")
}

fn assert_faults(rows: &[(String, u32, u32, &str)]) {
    let mut wrong = String::new();
    for (text, line, column, code) in rows {
        let found: Vec<_> = match read(text) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(|d| (d.line, d.column, d.code)).collect(),
        };
        if found != [(*line, *column, *code)] {
            wrong.push_str(&format!(
                "{text}\nexpected {:?}, got {found:?}\n\n",
                (line, column, code)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

// Defect: D30 (typos, impossible values and unknown transports were accepted in silence).
#[test]
fn what_civitas_let_pass() {
    assert_faults(&[
        (root("max_restart: 3"), 2, 3, "unknown-key"),
        (root("strategey: ONE_FOR_ONE"), 2, 3, "unknown-key"),
        (root("max_restarts: three"), 2, 17, "wrong-type"),
        (root("max_restarts: -1"), 2, 17, "out-of-range"),
        (root("restart_window: 0"), 2, 19, "out-of-range"),
        (format!("{}transport: {{type: zqm}}\n", root("name: r")), 4, 19, "unknown-value"),
        (format!("{}transport: {{url: x}}\n", root("name: r")), 4, 13, "unknown-key"),
    ]);
}

// Defect: D30 (a documented `config` block was ignored).
#[test]
fn config_reaches_the_agent() {
    let topology = read(&agent("config: {limit: 5}")).unwrap();
    let lictor_topology::Child::Agent(agent) = &topology.root.children[0] else { panic!() };
    assert_eq!(agent.config["limit"], 5);
}

// Defect: D31 (duplicate names surfaced only after partial wiring).
#[test]
fn duplicate_names_show_both_places() {
    let text = "supervision:\n  name: a\n  children:\n    - agent: {name: b, type: t.A}\n    \
                - supervisor: {name: b, children: [{agent: {name: a, type: t.A}}]}\n";
    let faults = read(text).unwrap_err();
    let found: Vec<_> =
        faults.iter().map(|d| (d.line, d.column, d.related[0].line, d.related[0].column)).collect();
    assert_eq!(found, [(5, 26, 4, 21), (5, 55, 2, 9)]);
    assert!(faults.iter().all(|d| d.code == "duplicate-name"));
}

#[test]
fn the_file() {
    let good = root("name: r");
    assert_faults(&[
        (String::new(), 1, 1, "empty-file"),
        ("# nothing\n".into(), 1, 1, "empty-file"),
        ("---\n".into(), 1, 1, "empty-file"),
        ("transport: {type: in_process}".into(), 1, 1, "missing-key"),
        ("just text".into(), 1, 1, "wrong-type"),
        ("- a list".into(), 1, 1, "wrong-type"),
        (format!("{good}---\n{good}"), 4, 1, "several-documents"),
        (format!("{good}supervision: {{}}\n"), 4, 1, "duplicate-key"),
        (format!("{good}plugins:\n"), 4, 1, "not-available"),
        (format!("{good}mcp: 1\n"), 4, 1, "not-available"),
        (format!("{good}audit: {{}}\n"), 4, 1, "not-available"),
        (format!("{good}presidium: {{}}\n"), 4, 1, "not-available"),
        (format!("{good}other: {{}}\n"), 4, 1, "unknown-key"),
        (format!("{good}transport: zmq\n"), 4, 12, "wrong-type"),
        ("supervision:\n\tname: a\n".into(), 2, 1, "tab"),
        ("supervision: [1, 2\n".into(), 1, 14, "syntax"),
        ("supervision: \"open\n".into(), 1, 14, "syntax"),
        ("supervision: a: b\n".into(), 1, 15, "syntax"),
        ("supervision: *nowhere\n".into(), 1, 14, "unknown-alias"),
        ("supervision: &a {children: [*a]}\n".into(), 1, 29, "recursive-alias"),
    ]);
    let both = format!("{good}supervisor:\n  children: [{{agent: {{name: a, type: t.A}}}}]\n");
    assert_faults(&[(both, 4, 1, "conflicting-keys")]);
}

#[test]
fn supervisors() {
    assert_faults(&[
        ("supervision:\n".into(), 1, 1, "wrong-type"),
        ("supervision: {}\n".into(), 1, 1, "empty-supervisor"),
        ("supervision:\n  children: []\n".into(), 2, 13, "empty-supervisor"),
        ("supervision:\n  children:\n".into(), 2, 3, "empty-supervisor"),
        ("supervision:\n  children: {}\n".into(), 2, 13, "wrong-type"),
        (root("strategy: ALL"), 2, 13, "unknown-value"),
        (root("strategy: [a]"), 2, 13, "wrong-type"),
        (root("max_restarts:"), 2, 3, "wrong-type"),
        (root("max_restarts: \"3\""), 2, 17, "wrong-type"),
        (root("max_restarts: 1.5"), 2, 17, "wrong-type"),
        (root("max_restarts: 4294967296"), 2, 17, "out-of-range"),
        (root("restart_window: -1"), 2, 19, "out-of-range"),
        (root("restart_window: .nan"), 2, 19, "wrong-type"),
        (root("restart_window: .inf"), 2, 19, "out-of-range"),
        (root("restart_window: 1e10"), 2, 19, "out-of-range"),
        (root("restart_window: 36501d"), 2, 19, "out-of-range"),
        (root("restart_window: 5 minutes"), 2, 19, "wrong-type"),
        (root("restart_window: true"), 2, 19, "wrong-type"),
        (root("backoff: EXPONENTAL"), 2, 12, "unknown-value"),
        (root("backoff_base: 61"), 2, 17, "bad-combination"),
        (root("backoff_max: 0.5"), 2, 16, "bad-combination"),
        (root("jitter: half"), 2, 11, "unknown-value"),
        (root("stable_after: 0"), 2, 17, "out-of-range"),
        (root("auto_shutdown: always"), 2, 18, "unknown-value"),
        (root("restart: permanent"), 2, 3, "misplaced-key"),
        (root("shutdown: infinity"), 2, 3, "misplaced-key"),
        (root("name: 5"), 2, 9, "wrong-type"),
        (root("name: true"), 2, 9, "wrong-type"),
        (root("name: a b"), 2, 9, "bad-name"),
        (root("name: _a"), 2, 9, "bad-name"),
        (root("name: a..b"), 2, 9, "bad-name"),
        (root("name: \"\""), 2, 9, "bad-name"),
        (root("name: größe"), 2, 9, "bad-name"),
        (root(&format!("name: {}", "x".repeat(256))), 2, 9, "bad-name"),
        (root("? [a, b]\n  : c"), 2, 5, "complex-key"),
        (root("<<: 5"), 2, 7, "bad-merge"),
        (root("name: !thing x"), 2, 16, "unsupported-tag"),
        (root("name: r\n  name: s"), 3, 3, "duplicate-key"),
    ]);
}

#[test]
fn entries() {
    let good = "agent: {name: a, type: t.A}";
    assert_faults(&[
        (entry("text"), 3, 7, "wrong-type"),
        (entry("agnet: {name: a, type: t.A}"), 3, 7, "unknown-key"),
        (entry("dynamic_supervisor: {name: a}"), 3, 7, "unknown-key"),
        (entry("{name: a}"), 3, 7, "bad-child"),
        (entry("agent:\n      name: a\n      type: t.A"), 3, 7, "bad-child"),
        (entry(&format!("{good}\n      restart: permanent")), 4, 7, "unknown-key"),
        (entry(&format!("{good}\n      type: t.A")), 4, 7, "conflicting-keys"),
        (entry("{type: supervisor, name: a}"), 3, 14, "bad-child"),
        (entry("{type: gen_sever, name: a, module: m, class: C}"), 3, 14, "unknown-type"),
        (entry("{type: eval_agent, name: a}"), 3, 14, "not-available"),
        (entry("{type: topology_server}"), 3, 14, "not-available"),
        (entry("{type: http_gateway, name: a}"), 3, 14, "not-available"),
        (entry("{type: gen_server, name: a, module: m}"), 3, 7, "missing-key"),
        (entry("{type: gen_server, name: a, module: m, class: a.b}"), 3, 53, "bad-type"),
        (entry("{type: agent, name: a, module: .m, class: C}"), 3, 38, "bad-type"),
        (entry("agent: {type: t.A}"), 3, 7, "missing-key"),
        (entry("agent: {name: a}"), 3, 7, "missing-key"),
        (entry("agent: {name: a, typ: t.A}"), 3, 24, "unknown-key"),
        (entry("agent: {name: a, type: gen_server}"), 3, 30, "unknown-type"),
        (entry("agent: {name: a, type: \"t A\"}"), 3, 30, "bad-type"),
        (entry("agent: []"), 3, 14, "wrong-type"),
        (entry("supervisor: {children: [{agent: {name: a, type: t}}]}"), 3, 7, "missing-key"),
        (entry("{type: dynamic_supervisor}"), 3, 7, "missing-key"),
        (entry("{type: dynamic_supervisor, name: d, max_children: -1}"), 3, 57, "out-of-range"),
        (entry("{type: dynamic_supervisor, name: d, restart: always}"), 3, 52, "unknown-value"),
        (entry("{type: dynamic_supervisor, name: d, budget: mine}"), 3, 51, "unknown-value"),
        (entry("{type: dynamic_supervisor, name: d, children: []}"), 3, 43, "unknown-key"),
        (entry("{type: dynamic_supervisor, name: d, process: w}"), 3, 52, "bad-combination"),
    ]);
}

#[test]
fn agents() {
    assert_faults(&[
        (agent("process: worker_1"), 6, 18, "bad-combination"),
        (agent("public_key: abc"), 6, 9, "not-available"),
        (agent("capabilities: code"), 6, 23, "wrong-type"),
        (agent("capabilities: [a, 5]"), 6, 27, "wrong-type"),
        (agent("capability_metadata: [a]"), 6, 30, "wrong-type"),
        (agent("credentials: {k: 5}"), 6, 26, "wrong-type"),
        (agent("config: 5"), 6, 17, "wrong-type"),
        (agent("config: {5: a}"), 6, 18, "wrong-type"),
        (agent("config: {a: 007}"), 6, 21, "ambiguous-number"),
        (agent("config: {a: .nan}"), 6, 21, "out-of-range"),
        (agent("config: {a: 18446744073709551616}"), 6, 21, "out-of-range"),
        (agent("config: {a: !!int x}"), 6, 27, "wrong-type"),
        (agent("config: {a: 1, a: 2}"), 6, 24, "duplicate-key"),
        (agent("handle_timeout: 0"), 6, 25, "out-of-range"),
        (agent("mailbox_size: 0"), 6, 23, "out-of-range"),
        (agent("mailbox_size: 10000001"), 6, 23, "out-of-range"),
        (agent("overflow: block"), 6, 19, "unknown-value"),
        (agent("max_retries: -1"), 6, 22, "out-of-range"),
        (agent("in_hand: keep"), 6, 18, "unknown-value"),
        (agent("restart: always"), 6, 18, "unknown-value"),
        (agent("shutdown: brutal"), 6, 19, "unknown-value"),
        (agent("shutdown: -1"), 6, 19, "out-of-range"),
        (agent("shutdown_timeout: infinity"), 6, 27, "wrong-type"),
        (agent("shutdown: 1\n        shutdown_timeout: 1"), 7, 9, "conflicting-keys"),
        (agent("significant: \"yes\""), 6, 22, "wrong-type"),
        (agent("significant: true"), 6, 22, "bad-combination"),
        (agent("start_timeout: 0s"), 6, 24, "out-of-range"),
        (agent("config: {k: \"a ${UNSET} b\"}"), 6, 24, "unset-variable"),
        (agent("config: {k: \"${1A}\"}"), 6, 22, "bad-variable"),
        (agent("config: {k: \"${A\"}"), 6, 22, "bad-variable"),
        (agent("config: {k: \"${A:-${N}}\"}"), 6, 22, "bad-variable"),
        (agent("config: {k: ${N}}"), 6, 22, "syntax"),
    ]);
}

#[test]
fn a_significant_child_must_be_able_to_end() {
    let text = "supervision:\n  auto_shutdown: any_significant\n  children:\n    \
                - agent: {name: a, type: t.A, restart: permanent, significant: true}\n    \
                - agent: {name: b, type: t.A, restart: transient, significant: true}\n";
    assert_faults(&[(text.into(), 4, 68, "bad-combination")]);
}

#[test]
fn bytes_that_are_not_text() {
    for (bytes, line, column) in [
        (&b"supervision:\n  name: \xff\n"[..], 2, 9),
        (&b"\xff\xfes\0u\0"[..], 1, 1),
        (&"größe: \u{0}".as_bytes()[..3], 1, 3),
    ] {
        let faults = parse("t.yaml", bytes, &Options::default()).unwrap_err();
        let found: Vec<_> = faults.iter().map(|d| (d.line, d.column, d.code)).collect();
        assert_eq!(found, [(line, column, "not-utf-8")]);
    }
}

// A program that is somebody else's has types that nobody here knows.
#[test]
fn types_of_other_programs() {
    let text = "transport: {type: zmq}\nprocesses:\n  own: {command: [x]}\n  \
                away: {external: true}\n  ours: {external: false}\nsupervision:\n  children:\n    \
                - {type: x.A, name: a, process: own}\n    \
                - {type: x.A, name: b, process: away}\n    \
                - {type: x.A, name: c, process: ours}\n    - {type: x.A, name: d}\n    \
                - {type: gen_server, module: x, class: A, name: e, process: own}\n";
    let refuse = |_: &lictor_topology::AgentNode| Err("no".to_owned());
    let known = ["lictor.echo", "lictor.counter"];
    let options = Options::default().known_types(&known).agents(&refuse);
    let lines = |options: &Options<'_>, text: &str| -> Vec<(u32, &'static str)> {
        let checked = check("t.yaml", text.as_bytes(), options);
        checked.diagnostics.iter().map(|d| (d.line, d.code)).collect()
    };
    let unknown =
        |lines: &[u32]| lines.iter().map(|line| (*line, "unknown-type")).collect::<Vec<_>>();
    assert_eq!(lines(&options, text), unknown(&[10, 11]));
    assert_eq!(lines(&options.process("own"), text), unknown(&[8, 12]));
    assert_eq!(lines(&options.process("away"), text), unknown(&[9]));
    // In one process they are all here.
    let one = text.replace("zmq", "in_process");
    let faults = lines(&options, &one);
    assert_eq!(faults.iter().filter(|(_, code)| *code == "unknown-type").count(), 5);
    // Where others run the file they are good, but for slips of what is known.
    let slip = text.replace("x.A, name: d", "lictor.coutner, name: d");
    for (foreign, code) in [(Foreign::Warn, Some("foreign-type")), (Foreign::Accept, None)] {
        let options = Options::default().known_types(&known).foreign(foreign);
        let mut expected: Vec<_> = code.map(|code| (10, code)).into_iter().collect();
        assert_eq!(
            lines(&options, &text.replace("x.A, name: d", "lictor.echo, name: d")),
            expected
        );
        expected.push((11, "unknown-type"));
        assert_eq!(lines(&options, &slip), expected);
        let space = text.replace("x.A, name: d", "lictor.sleeper, name: d");
        assert_eq!(lines(&options, &space), expected);
    }
}

#[test]
fn unregistered_types() {
    let options = Options::new(&variables).known_types(&["lictor.echo", "m.Class"]);
    let text = "supervision:\n  children:\n    - agent: {name: a, type: lictor.ecko}\n    \
                - {type: gen_server, name: b, module: m, class: Clas}\n    \
                - {type: lictor.echo, name: c}\n    - {type: far.away, name: d}\n";
    let faults = parse("t.yaml", text.as_bytes(), &options).unwrap_err();
    let found: Vec<_> =
        faults.iter().map(|d| (d.line, d.column, d.code, d.help.as_deref())).collect();
    let unknown = "the application did not register this type";
    assert_eq!(
        found,
        [
            (3, 30, "unknown-type", Some("did you mean `lictor.echo`?")),
            (4, 53, "unknown-type", Some("did you mean `m.Class`?")),
            (6, 14, "unknown-type", Some(unknown)),
        ]
    );
}

#[test]
fn suggestions_and_paths() {
    let text = "supervision:\n  children:\n    - agent: {name: a, type: t.A}\n    \
                - supervisor:\n        name: s\n        children:\n          \
                - agent: {name: b, type: t.A, max_retry: 1, Mailbox-Size: 5, nonsense: 1}\n";
    let faults = read(text).unwrap_err();
    let path = "supervision.children[1].supervisor.children[0].agent";
    let found: Vec<_> = faults.iter().map(|d| (d.path.clone(), d.help.clone().unwrap())).collect();
    assert_eq!(found[0], (format!("{path}.max_retry"), "did you mean `max_retries`?".into()));
    assert_eq!(found[1], (format!("{path}.Mailbox-Size"), "did you mean `mailbox_size`?".into()));
    assert!(found[2].1.starts_with("an agent takes `name`, `type`, `restart`"), "{}", found[2].1);
}

#[test]
fn secrets_stay_out_of_messages() {
    let faults = read(&agent("credentials: {k: 123456}")).unwrap_err();
    assert!(!faults.iter().next().unwrap().message.contains("123456"));
}

#[test]
fn an_alias_used_twice_is_found_where_it_is_used() {
    let text = "supervision:\n  children:\n    - &x\n      agent: {name: a, type: t.A}\n    - *x\n";
    let faults = read(text).unwrap_err();
    let d = faults.iter().next().unwrap();
    assert_eq!((d.line, d.column, d.related[0].line, d.related[0].column), (5, 7, 4, 21));
}

#[test]
fn warnings_do_not_refuse_the_file() {
    let text = root("backoff: NONE\n  backoff_base: 2\n  jitter: full");
    let checked = check("t.yaml", text.as_bytes(), &Options::default());
    assert!(checked.topology.is_some());
    let found: Vec<_> =
        checked.diagnostics.iter().map(|d| (d.severity, d.line, d.column, d.code)).collect();
    let warning = Severity::Warning;
    assert_eq!(found, [(warning, 3, 3, "no-effect"), (warning, 4, 3, "no-effect")]);
    let text = agent("config: {a: no, b: \"no\"}");
    let checked = check("t.yaml", text.as_bytes(), &Options::default());
    let found: Vec<_> = checked.diagnostics.iter().map(|d| (d.line, d.column, d.code)).collect();
    assert_eq!(found, [(6, 21, "old-boolean")]);
}

#[test]
fn all_faults_in_one_run() {
    let text = include_str!("../../../../examples/bad/typos.yaml");
    let faults = parse("typos.yaml", text.as_bytes(), &Options::default()).unwrap_err();
    let found: Vec<_> = faults.iter().map(|d| (d.line, d.column, d.code)).collect();
    assert_eq!(
        found,
        [
            (3, 9, "unknown-value"),
            (7, 3, "unknown-key"),
            (8, 17, "wrong-type"),
            (9, 19, "out-of-range"),
            (10, 12, "unknown-value"),
            (11, 17, "bad-combination"),
            (16, 23, "out-of-range"),
            (18, 16, "ambiguous-number"),
            (19, 20, "unset-variable"),
            (21, 15, "duplicate-name"),
            (24, 22, "bad-combination"),
            (26, 15, "wrong-type"),
            (27, 19, "empty-supervisor"),
            (28, 7, "unknown-key"),
            (28, 7, "missing-key"),
            (30, 7, "bad-child"),
            (33, 14, "not-available"),
            (34, 60, "out-of-range"),
            (36, 13, "unknown-key"),
            (37, 1, "duplicate-key"),
        ]
    );
}

/// The places and codes of all faults.
fn places(text: &str, options: &Options<'_>) -> Vec<(u32, u32, &'static str)> {
    check("t.yaml", text.as_bytes(), options)
        .diagnostics
        .iter()
        .map(|d| (d.line, d.column, d.code))
        .collect()
}

// What stood under a misspelled key was not looked at before the key was mended.
#[test]
fn what_a_misspelled_key_holds_is_read_in_the_same_run() {
    let text = "supervision:\n  childern:\n    - {type: t.A, nam: a, restart: nevr}\n    \
                - supervisr: {name: s, max_restarts: -1, children: [{type: t.A, name: _x}]}\n";
    assert_eq!(
        places(text, &Options::default()),
        [
            (2, 3, "unknown-key"),
            (3, 19, "unknown-key"),
            (3, 36, "unknown-value"),
            (4, 7, "unknown-key"),
            (4, 42, "out-of-range"),
            (4, 75, "bad-name"),
        ]
    );
    // A key that is only a little like another is not read as that.
    let text = entry("{type: dynamic_supervisor, name: d, children: []}");
    assert_eq!(places(&text, &Options::default()), [(3, 43, "unknown-key")]);
    // The right key, where it is there too, is the one that holds.
    let text = root("max_restart: -1\n  max_restarts: 2");
    assert_eq!(places(&text, &Options::default()), [(2, 3, "unknown-key")]);
}

// The keys of the kind that was meant were called unknown.
#[test]
fn a_misspelled_kind_of_node_is_read_as_that_kind() {
    let text = entry("{type: gen_servr, module: m, class: C, name: a, retries: 2}");
    assert_eq!(
        places(&text, &Options::default()),
        [(3, 14, "unknown-type"), (3, 55, "unknown-key")]
    );
    let text = entry("{type: topology_servr, name: a}");
    let checked = check("t.yaml", text.as_bytes(), &Options::default().known_types(&["t.A"]));
    let help = checked.diagnostics.iter().next().unwrap().help.clone();
    let expected = "did you mean `topology_server`? It is not available in this version";
    assert_eq!(help.as_deref(), Some(expected));
}

#[test]
fn a_word_that_is_cut_short_is_understood() {
    for (text, meant) in [
        (root("backoff: expo"), "EXPONENTIAL"),
        (root("auto_shutdown: any"), "any_significant"),
        (agent("shutdown: brutal"), "brutal_kill"),
        (agent("overflow: drop"), "drop_oldest"),
    ] {
        let faults = read(&text).unwrap_err();
        let help = faults.iter().next().unwrap().help.clone();
        assert_eq!(help, Some(format!("did you mean `{meant}`?")), "{text}");
    }
}

/// The faults of one agent for whose `config` the application has this to say.
fn refused(why: &str, config: &str) -> Vec<(u32, u32, String, Option<String>)> {
    let refuse = |_: &lictor_topology::AgentNode| Err(why.to_owned());
    let text = agent(config);
    let checked = check("t.yaml", text.as_bytes(), &Options::default().agents(&refuse));
    assert!(checked.topology.is_none());
    let faults =
        checked.diagnostics.iter().map(|d| (d.line, d.column, d.message.clone(), d.help.clone()));
    faults.collect()
}

#[test]
fn a_config_that_is_refused_is_shown_where_it_stands() {
    let at = |why: &str, config: &str| {
        let faults = refused(why, config);
        let [(line, column, _, help)] = &faults[..] else { panic!("{faults:?}") };
        (*line, *column, help.clone().unwrap())
    };
    let other = "`t.A` does not take this `config`".to_owned();
    assert_eq!(at("bad: `b` must be even", "config: {a: 1, b: 3}"), (6, 24, other.clone()));
    assert_eq!(at("bad", "config: {a: 1}"), (6, 9, other));
    let add = "add `to:` to its `config`".to_owned();
    assert_eq!(at("missing field `to`", "restart: permanent"), (3, 7, add));
    let unknown = "unknown field `rat`, expected one of `rate`, `every`";
    let meant = "did you mean `rate`?".to_owned();
    assert_eq!(at(unknown, "config: {rat: 1}"), (6, 18, meant));
    // What else is wrong with the agent, or elsewhere, hides nothing.
    let both = refused("bad", "config: {a: 1}\n        restart: nevr");
    assert_eq!(both.len(), 2, "{both:?}");
    // A `config` that cannot be read is not asked about.
    let once = refused("bad", "config: {a: 017}");
    assert_eq!(once.len(), 1, "{once:?}");
}

// What a type says repeats what the file says, and reached the terminal as it was.
#[test]
fn a_config_cannot_command_the_terminal() {
    let faults = refused("unknown field `\u{1b}[31m\u{7}\u{202e}`", "config: {a: 1}");
    let message = &faults[0].2;
    assert!(message.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{message:?}");
}

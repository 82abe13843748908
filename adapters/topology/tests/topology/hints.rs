//! What is said of faults beyond that they are there: their own place, what was meant, and all of
//! one `config`.

use lictor_topology::{Options, Severity, check};

use crate::variables;

/// The place, message and help of each fault.
fn told(text: &str, options: &Options<'_>) -> Vec<(u32, u32, String, String)> {
    let checked = check("t.yaml", text.as_bytes(), options);
    let told = checked.diagnostics.iter();
    told.map(|d| (d.line, d.column, d.message.clone(), d.help.clone().unwrap_or_default()))
        .collect()
}

// They were reported where the next line begins.
#[test]
fn brackets_that_are_not_closed() {
    let agents = "supervision:\n  children:\n";
    let next = "\n    - agent: {name: b, type: t}\n    - agent: {name: c, type: t}\n";
    for (open, column, bracket) in [
        ("    - agent: {name: a, type: t", 14, '{'),
        ("    - agent: {name: a, type: t, config: {a: 1}", 14, '{'),
        ("    - agent: {name: a, type: t, capabilities: [a, b", 47, '['),
        ("    - agent: {name: a, type: t, config: {a: 1", 41, '{'),
    ] {
        let found = told(&format!("{agents}{open}{next}"), &Options::default());
        assert_eq!(found.len(), 1, "{found:?}");
        let (line, at, message, help) = &found[0];
        assert_eq!((*line, *at), (3, column), "{open}: {found:?}");
        assert_eq!(*message, format!("this `{bracket}` is not closed"));
        assert!(help.ends_with("before line 4"), "{help}");
    }
    let found = told(&format!("transport: {{type: zmq\n{agents}{next}"), &Options::default());
    assert_eq!((found[0].0, found[0].1), (1, 12), "{found:?}");
    // What is inside may be wrong as well.
    let found = told("supervision: {\n  children: [a: b: c]}\n", &Options::default());
    assert_eq!(found[0].0, 2, "{found:?}");
    let found = told("supervision: {children: [],\n  name: 'a' 'b'}\n", &Options::default());
    assert_eq!(found[0].0, 2, "{found:?}");
    let found = told("{\nsupervision: {children: []} {}\n}\n", &Options::default());
    assert_eq!(found[0].0, 2, "{found:?}");
}

#[test]
fn words_that_people_try() {
    let tree = "supervision: {children: [{type: t, name: a, process: w}]}\n";
    for (line, help) in [
        ("transport: {type: zmq, zmq: {curve: {}}}", "it belongs to `security.transport.zmq`"),
        ("transport: {type: nats, nats: {creds: x}}", "it belongs to `security.transport.nats`"),
        ("transport: {type: nats, tls: {}}", "it belongs to `security.transport.nats`"),
        ("transport: {type: zeromq}", "did you mean `zmq`?"),
        ("transport: {type: nats}\nprocesses: {w: {external: yes}}", "did you mean `true`?"),
        ("transport: {type: nats}\nprocesses: {w: {external: Off}}", "did you mean `false`?"),
    ] {
        let found = told(&format!("{tree}{line}\n"), &Options::default());
        let helps: Vec<&str> = found.iter().map(|(.., help)| help.as_str()).collect();
        assert_eq!(helps, [help], "{line}: {found:?}");
    }
}

/// As a type does that is read with serde, and one thing after another: the first fault only.
fn one_at_a_time(agent: &lictor_topology::AgentNode) -> Result<(), String> {
    let config = &agent.config;
    for (key, value) in config {
        if !["forward_to", "rate", "seed", "every"].contains(&key.as_str()) {
            let known = "`forward_to`, `rate`, `seed`, `every`";
            return Err(format!("unknown field `{key}`, expected one of {known}"));
        }
        if key == "seed" && !value.is_u64() {
            return Err(format!("invalid type: string {value}, expected u64"));
        }
    }
    if !config.contains_key("forward_to") {
        return Err("missing field `forward_to`".to_owned());
    }
    if config["forward_to"] == "self" {
        return Err("`forward_to` is the agent itself".to_owned());
    }
    match config.get("rate").and_then(serde_json::Value::as_u64) {
        Some(0) => Err("`rate` must be above 0".to_owned()),
        Some(_) if config.contains_key("every") => {
            Err("`every` and `rate` exclude each other".to_owned())
        }
        Some(_) => Ok(()),
        None if config.contains_key("every") => Ok(()),
        None => Err("one of `every` and `rate` is required".to_owned()),
    }
}

// Only the first fault of a `config` was shown.
#[test]
fn every_fault_of_one_config() {
    let options = Options::default().agents(&one_at_a_time);
    let faults = |config: &str| -> Vec<(u32, String)> {
        let text =
            format!("supervision:\n  children:\n  - {{type: t, name: a, config: {config}}}\n");
        let told = told(&text, &options).into_iter();
        let strip = |message: String| message.replace("agent `a`: ", "");
        told.map(|(_, column, message, _)| (column, strip(message))).collect()
    };
    let unknown = |key: &str| {
        format!("unknown field `{key}`, expected one of `forward_to`, `rate`, `seed`, `every`")
    };
    let seed = "invalid type: string \"x\", expected u64".to_owned();
    let rate = "`rate` must be above 0".to_owned();
    assert_eq!(faults("{forward_to: t, rate: 1}"), []);
    // What is under a slip of a key is judged as what was meant, and shown where it is written.
    let mut found = faults("{forwrd_to: t, loud: 1, rate: 0, seed: x}");
    found.sort();
    let expected =
        [(33, unknown("forwrd_to")), (47, unknown("loud")), (56, rate.clone()), (65, seed)];
    assert_eq!(found, expected);
    let itself = "`forward_to` is the agent itself".to_owned();
    assert_eq!(faults("{forwrd_to: self}"), [(33, unknown("forwrd_to")), (33, itself)]);
    // What is gone is not missed.
    assert_eq!(faults("{forward_to: t, rate: 0}"), [(48, rate)]);
    assert_eq!(faults("{seed: x, rate: 0, forward_to: t}").len(), 2);
    let both = "`every` and `rate` exclude each other".to_owned();
    assert_eq!(faults("{forward_to: t, rate: 1, every: 1}"), [(57, both)]);
    assert_eq!(faults("{every: 1}"), [(24, "missing field `forward_to`".to_owned())]);
}

#[test]
fn names_that_no_agent_has() {
    let settings = [("l.ticker", "to"), ("l.flaky", "forward_to")];
    let options = Options::new(&variables).names_in(&settings);
    let text = "supervision:\n  children:\n  \
                - {type: l.ticker, name: a, config: {to: tilll}}\n  \
                - {type: l.flaky, name: till, config: {forward_to: nobody_here}}\n  \
                - supervisor: {name: s, children: [{type: l.ticker, name: b, config: {to: s}}]}\n  \
                - {type: l.ticker, name: c, config: {to: b, forward_to: z}}\n  \
                - {type: other, name: d, config: {to: z}}\n  \
                - {type: l.ticker, name: e, config: {to: '${WORD}'}}\n";
    let checked = check("t.yaml", text.as_bytes(), &options);
    assert!(checked.topology.is_some());
    let found: Vec<_> = checked.diagnostics.iter().collect();
    assert!(found.iter().all(|d| d.severity == Severity::Warning && d.code == "no-such-agent"));
    let places: Vec<_> = found.iter().map(|d| (d.line, d.column, d.path.as_str())).collect();
    assert_eq!(
        places,
        [
            (3, 44, "supervision.children[0].config.to"),
            (4, 54, "supervision.children[1].config.forward_to"),
            (5, 77, "supervision.children[2].supervisor.children[0].config.to"),
        ]
    );
    assert_eq!(found[0].message, "agent `a`: `to` names `tilll`, which no agent is");
    assert_eq!(found[0].help.as_deref(), Some("did you mean `till`?"));
    // One that is to come may have the name.
    let open = format!("{text}  - {{type: dynamic_supervisor, name: pool}}\n");
    assert_eq!(check("t.yaml", open.as_bytes(), &options).diagnostics.iter().count(), 0);
}

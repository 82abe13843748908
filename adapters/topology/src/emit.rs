//! A topology as canonical YAML.

mod network;

use std::time::Duration;

use lictor_kernel::{Backoff, ChildSpec, Curve, Intensity, Shutdown};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::model::{AgentNode, Child, DynamicSupervisorNode, SupervisorNode, Topology};
use crate::policy::{
    AUTO_SHUTDOWNS, BUDGETS, CURVES, IN_HANDS, JITTERS, OVERFLOWS, RESTARTS, STRATEGIES, Words,
    word_of,
};

impl Topology {
    /// The topology as YAML in its canonical form: every key of the tree written out, no variables,
    /// no aliases.
    ///
    /// Reading it gives the same topology, provided that this one could have been read from a file.
    /// **Credentials and keys are written in clear text.**
    ///
    /// # Panics
    ///
    /// Never: mappings, lists and scalars always have a YAML form.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut supervision = Mapping::new();
        supervisor(&mut supervision, &self.root, false);
        let mut file = Mapping::new();
        put(&mut file, "supervision", supervision);
        network::network(&mut file, self);
        write(file)
    }
}

/// Writes a mapping as YAML 1.2.
///
/// The writer knows YAML 1.1: it leaves a key `<<` bare, which makes it a merge, and folds at
/// characters that are no longer line breaks. So text of these kinds is written as a word that is
/// nowhere else in the file, and the word is then exchanged for the text in double quotes.
fn write(file: Mapping) -> String {
    let yaml = to_text(&file);
    let mut mark = "text".to_owned();
    while yaml.contains(&mark) {
        mark.push('_');
    }
    let mut marked = Marked { mark, texts: Vec::new() };
    let file = marked.mapping(file);
    if marked.texts.is_empty() {
        return yaml;
    }
    let yaml = to_text(&file);
    let mut parts = yaml.split(&marked.mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (part, text) in parts.zip(&marked.texts) {
        out.push_str(text);
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('.'));
    }
    out
}

fn to_text(file: &Mapping) -> String {
    serde_yaml::to_string(file).expect("plain values have a YAML form")
}

struct Marked {
    mark: String,
    /// What the marks stand for, in the order of the file.
    texts: Vec<String>,
}

impl Marked {
    fn mapping(&mut self, map: Mapping) -> Mapping {
        map.into_iter()
            .map(|(key, value)| (self.value(key, true), self.value(value, false)))
            .collect()
    }

    fn value(&mut self, value: Value, key: bool) -> Value {
        match value {
            Value::Mapping(map) => self.mapping(map).into(),
            Value::Sequence(values) => {
                values.into_iter().map(|value| self.value(value, false)).collect::<Vec<_>>().into()
            }
            Value::String(text)
                if (key && text == "<<") || text.contains(['\u{85}', '\u{2028}', '\u{2029}']) =>
            {
                // The number keeps keys apart; the dot ends it.
                let word = format!("{}{}.", self.mark, self.texts.len());
                self.texts.push(double_quoted(&text));
                word.into()
            }
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Tagged(_)) => other,
        }
    }
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            _ if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() => quoted.push(c),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

fn supervisor(map: &mut Mapping, node: &SupervisorNode, supervised: bool) {
    put(map, "name", text(&node.name));
    word(map, "strategy", STRATEGIES, node.strategy);
    intensity(map, node.intensity);
    backoff(map, node.backoff);
    word(map, "auto_shutdown", AUTO_SHUTDOWNS, node.auto_shutdown);
    if supervised {
        word(map, "restart", RESTARTS, node.spec.restart);
        child_spec(map, node.spec);
    }
    let children: Vec<Value> = node.children.iter().map(child).collect();
    put(map, "children", children);
}

fn child(child: &Child) -> Value {
    let mut keys = Mapping::new();
    let mut entry = Mapping::new();
    match child {
        Child::Supervisor(node) => {
            supervisor(&mut keys, node, true);
            put(&mut entry, "supervisor", keys);
        }
        Child::Agent(node) => {
            put(&mut keys, "name", text(&node.name));
            put(&mut keys, "type", text(&node.type_name));
            agent(&mut keys, node);
            put(&mut entry, "agent", keys);
        }
        Child::GenServer(node) => {
            let (module, class) = node.type_name.rsplit_once('.').unwrap_or(("", &node.type_name));
            put(&mut entry, "type", "gen_server");
            put(&mut entry, "name", text(&node.name));
            put(&mut entry, "module", text(module));
            put(&mut entry, "class", text(class));
            agent(&mut entry, node);
        }
        Child::DynamicSupervisor(node) => dynamic(&mut entry, node),
    }
    entry.into()
}

fn agent(map: &mut Mapping, node: &AgentNode) {
    placed(map, node.process.as_deref());
    word(map, "restart", RESTARTS, node.spec.restart);
    child_spec(map, node.spec);
    put(map, "mailbox_size", node.mailbox.size);
    word(map, "overflow", OVERFLOWS, node.mailbox.overflow);
    if let Some(timeout) = node.handle_timeout {
        put(map, "handle_timeout", duration(timeout));
    }
    put(map, "max_retries", node.max_retries);
    word(map, "in_hand", IN_HANDS, node.in_hand);
    if !node.capabilities.is_empty() {
        let list: Vec<Value> = node.capabilities.iter().map(|c| text(c)).collect();
        put(map, "capabilities", list);
    }
    for (key, free) in
        [("capability_metadata", &node.capability_metadata), ("config", &node.config)]
    {
        if !free.is_empty() {
            put(map, key, json_map(free));
        }
    }
    if !node.credentials.is_empty() {
        let secrets: Mapping =
            node.credentials.iter().map(|(key, value)| (key.into(), text(value))).collect();
        put(map, "credentials", secrets);
    }
}

fn dynamic(map: &mut Mapping, node: &DynamicSupervisorNode) {
    put(map, "type", "dynamic_supervisor");
    put(map, "name", text(&node.name));
    let limits = node.limits;
    for (key, limit) in [
        ("max_children", limits.max_children),
        ("max_total_spawns", limits.max_total_spawns),
        ("max_children_per_spawner", limits.max_children_per_spawner),
        ("max_total_spawns_per_spawner", limits.max_total_spawns_per_spawner),
    ] {
        put(map, key, limit.map_or(Value::Null, Value::from));
    }
    word(map, "restart", RESTARTS, node.child_restart);
    intensity(map, node.intensity);
    word(map, "budget", BUDGETS, node.budget);
    backoff(map, node.backoff);
    child_spec(map, node.spec);
}

fn placed(map: &mut Mapping, process: Option<&str>) {
    if let Some(process) = process {
        put(map, "process", text(process));
    }
}

fn intensity(map: &mut Mapping, intensity: Intensity) {
    put(map, "max_restarts", intensity.max_restarts);
    put(map, "restart_window", duration(intensity.period));
}

fn backoff(map: &mut Mapping, backoff: Backoff) {
    word(map, "backoff", CURVES, backoff.curve);
    if backoff.curve == Curve::None {
        return;
    }
    put(map, "backoff_base", duration(backoff.base));
    put(map, "backoff_max", duration(backoff.max));
    word(map, "jitter", JITTERS, backoff.jitter);
    if let Some(period) = backoff.stable_after {
        put(map, "stable_after", duration(period));
    }
}

/// The keys of every child but `restart`.
fn child_spec(map: &mut Mapping, spec: ChildSpec) {
    let shutdown = match spec.shutdown {
        Shutdown::BrutalKill => "brutal_kill".into(),
        Shutdown::Infinity => "infinity".into(),
        Shutdown::Timeout(timeout) => duration(timeout),
    };
    put(map, "shutdown", shutdown);
    put(map, "significant", spec.significant);
    if let Some(timeout) = spec.start_timeout {
        put(map, "start_timeout", duration(timeout));
    }
}

/// Whole seconds as a number, which civitas reads too; else a number with the largest exact unit.
fn duration(duration: Duration) -> Value {
    let nanos = duration.as_nanos();
    if duration.subsec_nanos() == 0 {
        return duration.as_secs().into();
    }
    let units = [("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
    let exact = |(_, size): &(&str, u128)| nanos.is_multiple_of(*size);
    let (unit, size) = units.into_iter().find(exact).unwrap_or(("ns", 1));
    format!("{}{unit}", nanos / size).into()
}

fn json_map(map: &serde_json::Map<String, Json>) -> Mapping {
    map.iter().map(|(key, value)| (key.as_str().into(), json(value))).collect()
}

fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::String(value) => text(value),
        Json::Array(values) => values.iter().map(json).collect::<Vec<_>>().into(),
        Json::Object(map) => json_map(map).into(),
        Json::Number(number) => {
            let whole = number.as_i64().map(Value::from);
            let whole = whole.or_else(|| number.as_u64().map(Value::from));
            whole.or_else(|| number.as_f64().map(Value::from)).unwrap_or(Value::Null)
        }
    }
}

/// Text that reads back as it is: a `${` in it is not a variable.
fn text(text: &str) -> Value {
    text.replace("${", "$${").into()
}

fn word<T: Copy + PartialEq>(map: &mut Mapping, key: &str, words: Words<T>, value: T) {
    put(map, key, word_of(words, value));
}

fn put(map: &mut Mapping, key: &str, value: impl Into<Value>) {
    map.insert(key.into(), value.into());
}

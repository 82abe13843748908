//! The entries of `children`.

use lictor_kernel::{ChildSpec, Shutdown};

use crate::diagnostic::{Quoted, Remark};
use crate::fields::{Field, Fields, Schema};
use crate::model::{AgentNode, Child, DynamicSupervisorNode, MailboxPolicy, SpawnLimits};
use crate::options::Foreign;
use crate::policy::{BUDGETS, IN_HANDS, OVERFLOWS, RESTARTS, SPAWNED_RESTARTS};
use crate::reader::Reader;
use crate::suggest::{is_slip, nearest};
use crate::topology::{Parent, origin};
use crate::tree::{Entry, Item, Kind, Span};
use crate::trial::{Trial, quoted};

const MAX_MAILBOX: u32 = 10_000_000;

const REFUSED: &[(&str, &str)] =
    &[("public_key", "agents have no identity of their own yet; remove it")];

macro_rules! agent_schema {
    ($owner:literal $(, $key:literal)*) => {
        Schema {
            owner: $owner,
            keys: &[
                "name", "type", $($key,)* "restart", "shutdown", "shutdown_timeout", "significant",
                "start_timeout", "config", "mailbox_size", "overflow", "handle_timeout",
                "max_retries", "in_hand", "capabilities", "capability_metadata", "credentials",
                "process",
            ],
            refused: REFUSED,
        }
    };
}

const AGENT: Schema = agent_schema!("an agent");
const CLASS: Schema = agent_schema!("an agent given by class", "module", "class");

const DYNAMIC: Schema = Schema {
    owner: "a dynamic supervisor",
    keys: &[
        "type",
        "name",
        "max_children",
        "max_total_spawns",
        "max_children_per_spawner",
        "max_total_spawns_per_spawner",
        "restart",
        "max_restarts",
        "restart_window",
        "budget",
        "backoff",
        "backoff_base",
        "backoff_max",
        "jitter",
        "stable_after",
        "shutdown",
        "significant",
        "start_timeout",
        "process",
    ],
    refused: &[],
};

/// The keys of a process.
pub(crate) const POLICY_OF_PROCESSES: &[&str] = &[
    "external",
    "command",
    "env",
    "restart",
    "max_restarts",
    "restart_window",
    "backoff",
    "backoff_base",
    "backoff_max",
    "jitter",
    "stable_after",
    "shutdown",
];

/// Node types of civitas that this version does not have.
const PLANNED: [&str; 3] = ["eval_agent", "topology_server", "http_gateway"];

/// Words that `type` takes besides agent types.
const NODE_TYPES: [&str; 4] = ["agent", "gen_server", "dynamic_supervisor", "supervisor"];

/// How many faults of one `config` are looked for.
const FAULTS_OF_ONE: usize = 16;

const LATER: &str = " It is not available in this version";

const FORMS: &str = "an entry is `- supervisor: {..}`, `- agent: {..}` or `- type: ..`";

impl<'a> Reader<'a> {
    pub(crate) fn children(&mut self, items: &'a [Item], parent: Parent) -> Vec<Child> {
        let read = |(index, item): (usize, &Item)| {
            self.at_index(index, |reader| {
                reader.through_alias(*item, |reader| reader.child(*item, parent))
            })
        };
        items.iter().enumerate().filter_map(read).collect()
    }

    fn child(&mut self, item: Item, parent: Parent) -> Option<Child> {
        let tree = self.tree;
        let Kind::Mapping(entries) = &tree.node(item).kind else {
            if let Some(d) = self.wrong("wrong-type", item, format_args!("a mapping")) {
                d.help(FORMS);
            }
            return None;
        };
        let heads: Vec<&Entry> = entries
            .iter()
            .filter(|entry| matches!(entry.key.as_str(), "supervisor" | "agent" | "type"))
            .collect();
        let hollow = |head: &&&Entry| head.key != "type" && self.is_null(head.value);
        if entries.len() > 1
            && let Some(head) = heads.iter().find(hollow)
        {
            let message = format_args!("`{}:` has no keys of its own", head.key);
            if let Some(d) = self.error("bad-child", head.key_span, message) {
                d.help("indent the lines below it by two more spaces");
            }
            return None;
        }
        match heads.as_slice() {
            [] => self.headless(item, entries, parent),
            [head] if head.key == "type" => self.flat(item, head, parent),
            [head] => self.wrapped(head, &head.key, entries, parent),
            [first, second, ..] => {
                let message =
                    format_args!("`{}` and `{}` exclude each other", first.key, second.key);
                if let Some(d) = self.error("conflicting-keys", second.key_span, message) {
                    d.related(first.key_span, "the other is here");
                    d.help(FORMS);
                }
                None
            }
        }
    }

    /// An entry that does not say what it is. Under a slip of `supervisor` or `agent` is read what
    /// is surely meant.
    fn headless(&mut self, item: Item, entries: &'a [Entry], parent: Parent) -> Option<Child> {
        for entry in entries {
            let meant = nearest(&entry.key, ["supervisor", "agent", "type"]);
            let node_type = NODE_TYPES.contains(&entry.key.as_str());
            if meant.is_none() && !node_type {
                continue;
            }
            self.under_key(&entry.key, |reader| {
                let message = format_args!("unknown key {} in an entry", Quoted(&entry.key));
                if let Some(d) = reader.error("unknown-key", entry.key_span, message) {
                    match meant {
                        Some(meant) => d.help(format!("did you mean `{meant}`?")),
                        None => d.help(format!("write `- type: {}` and its keys below", entry.key)),
                    };
                }
            });
            let is_map = matches!(self.tree.node(entry.value).kind, Kind::Mapping(_));
            return match meant
                .filter(|meant| *meant != "type" && is_map && is_slip(&entry.key, meant))
            {
                Some(meant) => self.wrapped(entry, meant, entries, parent),
                None => None,
            };
        }
        let message = format_args!("this entry does not say what it is");
        if let Some(d) = self.error("bad-child", item.span, message) {
            d.help(FORMS);
        }
        None
    }

    fn wrapped(
        &mut self,
        head: &'a Entry,
        kind: &str,
        entries: &'a [Entry],
        parent: Parent,
    ) -> Option<Child> {
        for entry in entries.iter().filter(|entry| entry.key != head.key) {
            self.under_key(&entry.key, |reader| {
                let key = Quoted(&entry.key);
                let message = format_args!("unknown key {key} beside `{}:`", head.key);
                if let Some(d) = reader.error("unknown-key", entry.key_span, message) {
                    d.help(format!("keys of the node stand below `{}:`, indented", head.key));
                }
            });
        }
        self.under_key(&head.key, |reader| {
            if kind == "supervisor" {
                return reader.supervisor(head, parent).map(Child::Supervisor);
            }
            let fields = reader.fields(head.value, head.key_span, &AGENT)?;
            let ours = reader.is_ours(&fields);
            let found = reader.field(&fields, "type", |r, item| r.agent_type(item, ours));
            if matches!(found, Field::Absent) {
                reader.missing(&fields, "type");
            }
            let entry = head.key_span;
            Some(Child::Agent(reader.agent(
                &fields,
                found.set().unwrap_or_default(),
                entry,
                parent,
            )))
        })
    }

    /// An entry with a `type`.
    fn flat(&mut self, item: Item, head: &'a Entry, parent: Parent) -> Option<Child> {
        let word = self.under_key("type", |reader| reader.text(head.value))?;
        match self.node_type(word, head.value.span) {
            kind @ ("agent" | "gen_server") => {
                let fields = self.fields(item, item.span, &CLASS)?;
                let class = self.class(&fields);
                let node = self.agent(&fields, class, item.span, parent);
                Some(if kind == "agent" { Child::Agent(node) } else { Child::GenServer(node) })
            }
            "dynamic_supervisor" => {
                let fields = self.fields(item, item.span, &DYNAMIC)?;
                Some(Child::DynamicSupervisor(self.dynamic(&fields, item.span, parent)))
            }
            // A slip of it was reported as one.
            "supervisor" if word != "supervisor" => None,
            "supervisor" => {
                let message = format_args!("`supervisor` is not a `type`");
                if let Some(d) = self.error("bad-child", head.value.span, message) {
                    d.help("write `- supervisor:` and its keys below, indented");
                }
                None
            }
            planned if PLANNED.contains(&planned) => {
                if planned == word {
                    self.under_key("type", |r| r.planned(word, head.value.span));
                }
                None
            }
            _ => {
                let fields = self.fields(item, item.span, &AGENT)?;
                let ours = self.is_ours(&fields);
                let found = self.field(&fields, "type", |r, item| r.agent_type(item, ours));
                let found = found.set().unwrap_or_default();
                Some(Child::Agent(self.agent(&fields, found, item.span, parent)))
            }
        }
    }

    /// The kind of node that a `type` names, or surely meant: then the keys beside it are read as
    /// those of that kind.
    fn node_type(&mut self, word: &'a str, span: Span) -> &'a str {
        let known = self.known_types.unwrap_or_default();
        let kinds: Vec<&'static str> = NODE_TYPES.iter().chain(&PLANNED).copied().collect();
        if word.contains('.') || known.contains(&word) || kinds.contains(&word) {
            return word;
        }
        let meant = nearest(word, kinds.iter().chain(known).copied());
        let kind = meant.filter(|meant| kinds.contains(meant) && is_slip(word, meant));
        let Some(meant) = kind else { return word };
        self.under_key("type", |reader| {
            let message = format_args!("unknown type {}", Quoted(word));
            if let Some(d) = reader.error("unknown-type", span, message) {
                let later = if PLANNED.contains(&meant) { LATER } else { "" };
                d.help(format!("did you mean `{meant}`?{later}"));
            }
        });
        meant
    }

    fn planned(&mut self, word: &str, span: Span) {
        self.unavailable(word, span, "remove the entry");
    }

    /// The type of an agent; `ours` says whether it must be a known one.
    fn agent_type(&mut self, item: Item, ours: bool) -> Option<String> {
        let word = self.text(item)?;
        let known = self.known_types;
        if known.is_some_and(|known| known.contains(&word)) {
            return Some(word.to_owned());
        }
        if PLANNED.contains(&word) {
            self.planned(word, item.span);
            return None;
        }
        if NODE_TYPES.contains(&word) {
            let message = format_args!("`{word}` is a kind of node, not an agent type");
            if let Some(d) = self.error("unknown-type", item.span, message) {
                d.help(FORMS);
            }
            return None;
        }
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if word.is_empty() || word.len() > 255 || word.contains(bad) {
            let message = format_args!("{} cannot be a type", Quoted(word));
            if let Some(d) = self.error("bad-type", item.span, message) {
                d.help("types have 1 to 255 bytes and no white space");
            }
            return None;
        }
        (!ours || self.is_registered(word, item.span)).then(|| word.to_owned())
    }

    /// Whether a type may be used, or was reported.
    fn is_registered(&mut self, word: &str, span: Span) -> bool {
        let Some(known) = self.known_types else { return true };
        if known.contains(&word) {
            return true;
        }
        let meant = nearest(word, known.iter().copied());
        let space = |word: &str| word.rsplit_once('.').map(|(space, _)| space.to_owned());
        let is_meant = meant.is_some_and(|meant| is_slip(word, meant))
            || space(word)
                .is_some_and(|own| known.iter().any(|it| space(it).as_ref() == Some(&own)));
        if !is_meant {
            match self.foreign {
                Foreign::Refuse => {}
                Foreign::Accept => return true,
                Foreign::Warn => {
                    let message = format_args!("the agent type {} is not known here", Quoted(word));
                    if let Some(d) = self.warning("foreign-type", span, message) {
                        d.help(
                            "it and its `config` are judged where it is registered: call \
                             `lictor::check` in that program",
                        );
                    }
                    return true;
                }
            }
        }
        let message = format_args!("unknown agent type {}", Quoted(word));
        if let Some(d) = self.error("unknown-type", span, message) {
            match meant {
                Some(meant) => d.help(format!("did you mean `{meant}`?")),
                None => d.help("the application did not register this type"),
            };
        }
        false
    }

    /// `module` and `class` as one agent type.
    fn class(&mut self, fields: &Fields<'a>) -> String {
        let mut parts = [None, None];
        for (part, key) in parts.iter_mut().zip(["module", "class"]) {
            let read = self.field(fields, key, |r, item| r.identifier(item, key == "module"));
            if matches!(read, Field::Absent) {
                self.missing(fields, key);
            }
            *part = read.set();
        }
        let [Some(module), Some(class)] = parts else { return String::new() };
        let name = format!("{module}.{class}");
        let good = !self.is_ours(fields) || self.is_registered(&name, fields.span("class"));
        if good { name } else { String::new() }
    }

    fn identifier(&mut self, item: Item, dots: bool) -> Option<&'a str> {
        let word = self.text(item)?;
        let part =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        let good = if dots { word.split('.').all(part) } else { part(word) };
        if good && word.len() <= 127 {
            return Some(word);
        }
        let message = format_args!("{} cannot be the name of a module or class", Quoted(word));
        self.error("bad-type", item.span, message);
        None
    }

    /// The keys of an agent other than its type.
    fn agent(
        &mut self,
        fields: &Fields<'a>,
        type_name: String,
        entry: Span,
        parent: Parent,
    ) -> AgentNode {
        let name = self.child_name(fields, entry);
        let mut node = AgentNode::new(name, type_name);
        node.process = self.process(fields);
        node.spec = self.agent_spec(fields, parent);
        let size = self.field(fields, "mailbox_size", |r, item| r.whole(item, 1, MAX_MAILBOX));
        let overflow = self.field(fields, "overflow", |r, item| r.word(item, OVERFLOWS));
        let default = MailboxPolicy::default();
        node.mailbox =
            MailboxPolicy { size: size.or(default.size), overflow: overflow.or_default() };
        let timeout = self.nullable(fields, "handle_timeout", |r, item| r.duration(item, false));
        node.handle_timeout = timeout.set();
        let retries = self.field(fields, "max_retries", |r, item| r.whole(item, 0, u32::MAX));
        node.max_retries = retries.or(node.max_retries);
        node.in_hand = self.field(fields, "in_hand", |r, item| r.word(item, IN_HANDS)).or_default();
        node.capabilities =
            self.nullable(fields, "capabilities", |r, item| r.texts(item)).or_default();
        node.capability_metadata =
            self.nullable(fields, "capability_metadata", |r, item| r.json_map(item)).or_default();
        node.origin = origin(entry);
        let errors = self.errors();
        node.config = self.nullable(fields, "config", |r, item| r.json_map(item)).or_default();
        node.credentials =
            self.nullable(fields, "credentials", |r, item| r.text_map(item)).or_default();
        let is_read = self.errors() == errors && !node.type_name.is_empty();
        if !name.is_empty() {
            self.refer(fields, name, &node.type_name);
        }
        if is_read && self.is_ours(fields) {
            self.ask_the_application(fields, &node);
        }
        node
    }

    /// Reports what only the agent's type knows: that it cannot be set up like this. A type finds
    /// one fault at a time, so it is asked again without what it has named, until it has no other.
    fn ask_the_application(&mut self, fields: &Fields<'a>, node: &AgentNode) {
        let Some(agents) = self.agents else { return };
        let Err(mut why) = agents.check(node) else { return };
        let mut trial = Trial { node: node.clone(), gone: Vec::new(), renamed: Vec::new() };
        for _ in 0..FAULTS_OF_ONE {
            let culprit = trial.culprit(agents, &why);
            let meant = culprit.as_deref().and_then(|key| trial.meant(key, &why));
            self.bad_config(fields, &trial, &why, culprit.as_deref(), meant.as_deref());
            let Some(key) = culprit else { return };
            trial.put_aside(&key, meant);
            let Err(next) = agents.check(&trial.node) else { return };
            // What is missing now, or does not agree with what is gone, is no fault of the file.
            if next == why || quoted(&next).any(|word| trial.gone.iter().any(|it| it == word)) {
                return;
            }
            why = next;
        }
    }

    fn bad_config(
        &mut self,
        fields: &Fields<'a>,
        trial: &Trial,
        why: &str,
        culprit: Option<&str>,
        meant: Option<&str>,
    ) {
        let tree = self.tree;
        let config = fields.get("config");
        let settings = match config.map(|config| &tree.node(config.value).kind) {
            Some(Kind::Mapping(settings)) => settings.as_slice(),
            Some(Kind::Scalar(_) | Kind::Sequence(_) | Kind::Invalid) | None => &[],
        };
        let written = culprit.map(|key| trial.written(key));
        let place = written.and_then(|key| settings.iter().find(|entry| entry.key == key));
        let span = place.or(config).map_or(fields.at, |entry| entry.key_span);
        let why = config.map_or_else(|| why.to_owned(), |it| self.censored(why, it.value));
        self.under_key("config", |reader| {
            let message = format_args!("agent {}: {}", Quoted(&trial.node.name), Remark(&why));
            if let Some(d) = reader.error("bad-config", span, message) {
                let missing = quoted(&why).next().filter(|_| why.contains("missing field `"));
                match (meant, missing) {
                    (Some(meant), _) => d.help(format!("did you mean `{meant}`?")),
                    (None, Some(key)) => d.help(format!("add `{key}:` to its `config`")),
                    (None, None) => {
                        d.help(format!("`{}` does not take this `config`", trial.node.type_name))
                    }
                };
            }
        });
    }

    /// A text without what variables have put into a value: that may be secret. What is as short as
    /// a number is no secret, and taking it out would garble the text.
    fn censored(&self, text: &str, item: Item) -> String {
        let mut text = text.to_owned();
        let mut rest = vec![item];
        while let Some(item) = rest.pop() {
            match &self.tree.node(item).kind {
                Kind::Scalar(scalar) if scalar.substituted && scalar.text.len() > 3 => {
                    text = text.replace(&scalar.text, "…");
                }
                Kind::Sequence(items) => rest.extend(items),
                Kind::Mapping(entries) => rest.extend(entries.iter().map(|entry| entry.value)),
                Kind::Scalar(_) | Kind::Invalid => {}
            }
        }
        text
    }

    fn agent_spec(&mut self, fields: &Fields<'a>, parent: Parent) -> ChildSpec {
        let restart = self.field(fields, "restart", |r, item| r.word(item, RESTARTS));
        let worker = ChildSpec::worker();
        let spec = ChildSpec { restart: restart.or(worker.restart), ..worker };
        self.conflict(fields, "shutdown", "shutdown_timeout");
        let timeout = self.field(fields, "shutdown_timeout", |r, item| r.duration(item, true));
        let shutdown = timeout.set().map_or(spec.shutdown, Shutdown::Timeout);
        self.child_spec(fields, ChildSpec { shutdown, ..spec }, parent)
    }

    fn child_name(&mut self, fields: &Fields<'a>, entry: Span) -> &'a str {
        let name = self.field(fields, "name", |reader, item| reader.name(item, entry));
        if matches!(name, Field::Absent) {
            self.missing(fields, "name");
        }
        name.or("")
    }

    fn dynamic(
        &mut self,
        fields: &Fields<'a>,
        entry: Span,
        parent: Parent,
    ) -> DynamicSupervisorNode {
        let name = self.child_name(fields, entry);
        let mut node = DynamicSupervisorNode::new(name);
        self.opens();
        self.unplaced(fields);
        let mut limit =
            |key| self.nullable(fields, key, |r, item| r.whole(item, 0, u32::MAX)).set();
        node.limits = SpawnLimits {
            max_children: limit("max_children"),
            max_total_spawns: limit("max_total_spawns"),
            max_children_per_spawner: limit("max_children_per_spawner"),
            max_total_spawns_per_spawner: limit("max_total_spawns_per_spawner"),
        };
        let restart = self.field(fields, "restart", |r, item| r.word(item, SPAWNED_RESTARTS));
        node.child_restart = restart.or_default();
        node.intensity = self.intensity(fields);
        node.budget = self.field(fields, "budget", |r, item| r.word(item, BUDGETS)).or_default();
        node.backoff = self.backoff(fields);
        node.spec = self.child_spec(fields, ChildSpec::supervisor(), parent);
        node.origin = origin(entry);
        node
    }
}

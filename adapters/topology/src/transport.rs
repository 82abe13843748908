//! The blocks `transport` and `processes`, and the key `process`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use lictor_kernel::Restart;

use crate::child::POLICY_OF_PROCESSES;
use crate::diagnostic::Quoted;
use crate::fields::{Field, Fields, Schema, Words};
use crate::name::fault_of;
use crate::network::{JetStream, Membership, Nats, Process, Secret, Transport, TransportKind, Zmq};
use crate::policy::RESTARTS;
use crate::reader::{Names, Reader};
use crate::scalar::Resolved;
use crate::topology::origin;
use crate::tree::{Entry, Item, Kind, Span};

const TRANSPORT: Schema = Schema {
    owner: "`transport`",
    keys: &[
        "type",
        "zmq",
        "nats",
        "cluster",
        "process",
        "membership",
        "pub_addr",
        "sub_addr",
        "start_proxy",
        "servers",
        "jetstream",
        "stream_name",
    ],
    refused: &[],
};

/// The blocks whose keys civitas writes beside `type`.
const BESIDE: [(&str, Schema, TransportKind); 2] =
    [("zmq", ZMQ, TransportKind::Zmq), ("nats", NATS, TransportKind::Nats)];

const ZMQ: Schema = Schema::new("`zmq`", &["pub_addr", "sub_addr", "start_proxy"]);

const NATS: Schema = Schema::new("`nats`", &["servers", "jetstream", "stream_name"]);

const JETSTREAM: Schema = Schema::new(
    "`jetstream`",
    &["enabled", "max_bytes", "max_messages", "max_age", "max_deliver", "ack_wait"],
);

/// The shortest `child_lease` and `ack_wait`: a few ways over a broker and back, on machines that
/// have other things to do.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// The shortest time between two questions, and for an answer: beyond it processes are busy with
/// each other, and hear of nothing else.
const LEAST_BEAT: Duration = Duration::from_millis(10);

const MEMBERSHIP: Schema = Schema::new(
    "`membership`",
    &[
        "heartbeat_interval",
        "heartbeat_timeout",
        "missed_heartbeats_threshold",
        "ask_every",
        "lease",
        "child_lease",
    ],
);

const PROCESS: Schema = Schema::new("a process", POLICY_OF_PROCESSES);

pub(crate) const KINDS: Words<TransportKind> = &[
    ("in_process", TransportKind::InProcess),
    ("zmq", TransportKind::Zmq),
    ("nats", TransportKind::Nats),
];

/// How many servers may be named.
const SERVERS: RangeInclusive<usize> = 1..=64;

/// How many words a command may have.
const COMMAND_MAX: usize = 1024;

/// How many processes a file may name.
const PROCESSES_MAX: usize = 1024;

/// What was said of processes so far.
#[derive(Debug, Default)]
pub(crate) struct Placing<'a> {
    /// Over what they talk, if that was said and valid.
    kind: Option<TransportKind>,
    /// Whether it was said.
    is_said: bool,
    /// The process of the tree.
    own: String,
    /// The others, in the order in which they were named.
    named: Vec<(&'a str, Span)>,
    /// Those that another program may be: they have a `command`, or somebody else starts them.
    strangers: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    /// Reads `transport`; what is placed is read after it.
    pub(crate) fn transport(&mut self, fields: &Fields<'a>) -> Transport {
        let over = self.overrides;
        let said = over.and_then(|over| over.transport);
        let read = self.field(fields, "transport", |reader, item| reader.transport_block(item));
        let (mut transport, mut kind) = match read {
            Field::Set((transport, kind)) => (transport, kind),
            Field::Absent => (Transport::default(), Field::Absent),
            Field::Bad => (Transport::default(), Field::Bad),
        };
        if let Some(over) = over {
            kind = said.map_or(kind, Field::Set);
            transport.zmq.pub_addr = over.zmq_pub.clone().unwrap_or(transport.zmq.pub_addr);
            transport.zmq.sub_addr = over.zmq_sub.clone().unwrap_or(transport.zmq.sub_addr);
            transport.nats.servers = over.nats_servers.clone().unwrap_or(transport.nats.servers);
        }
        self.placing.kind = kind.valid_or(TransportKind::InProcess);
        self.placing.is_said = !matches!(kind, Field::Absent);
        self.placing.own.clone_from(&transport.process);
        transport.kind = kind.or_default();
        transport
    }

    fn transport_block(&mut self, item: Item) -> Option<(Transport, Field<TransportKind>)> {
        let fields = self.fields(item, item.span, &TRANSPORT)?;
        let default = Transport::default();
        let kind = self.field(&fields, "type", |r, item| r.word(item, KINDS));
        let kind =
            if fields.means("type") && matches!(kind, Field::Absent) { Field::Bad } else { kind };
        self.beside(&fields, if let Field::Set(kind) = kind { Some(kind) } else { None });
        // Both kinds may be there: a flag of the command says which one is used.
        let zmq = if fields.get("zmq").is_none() {
            self.zmq_fields(&fields)
        } else {
            self.field(&fields, "zmq", |r, item| r.zmq(item)).or_default()
        };
        let nats = if fields.get("nats").is_none() {
            self.nats_fields(&fields)
        } else {
            self.field(&fields, "nats", |r, item| r.nats(item)).or_default()
        };
        let cluster = self.field(&fields, "cluster", |r, item| r.cluster(item));
        let process = self.field(&fields, "process", |r, item| r.process_name(item));
        let process = process.set().map_or(default.process, str::to_owned);
        let membership = self.field(&fields, "membership", |r, item| r.membership(item));
        let transport = Transport {
            kind: TransportKind::InProcess,
            zmq,
            nats,
            cluster: cluster.or(default.cluster),
            process,
            membership: membership.or_default(),
        };
        Some((transport, kind))
    }

    /// Reports settings of a broker beside `type`, where civitas writes them, if they are those of
    /// another broker, or stand in both forms.
    fn beside(&mut self, fields: &Fields<'a>, kind: Option<TransportKind>) {
        let all = BESIDE
            .iter()
            .flat_map(|(block, schema, of)| schema.keys.iter().map(move |key| (*key, *block, *of)));
        for (key, block, of) in all.filter(|(key, ..)| fields.get(key).is_some()) {
            let message = if fields.get(block).is_some() {
                format!("`{key}` stands beside `type`, and there is a block `{block}`")
            } else if kind.is_some_and(|kind| kind != of) {
                format!("`{key}` has no meaning for this `type`")
            } else {
                continue;
            };
            let help = format!("write it into the block: `{block}: {{{key}: ...}}`");
            if let Some(d) =
                self.error("bad-combination", fields.span(key), format_args!("{message}"))
            {
                d.help(help);
            }
        }
    }

    fn zmq(&mut self, item: Item) -> Option<Zmq> {
        let fields = self.fields(item, item.span, &ZMQ)?;
        Some(self.zmq_fields(&fields))
    }

    fn zmq_fields(&mut self, fields: &Fields<'a>) -> Zmq {
        let default = Zmq::default();
        let at = self.field(fields, "pub_addr", |r, item| r.zmq_address(item));
        let pub_addr = at.or(default.pub_addr);
        let at = self.field(fields, "sub_addr", |r, item| r.zmq_address(item));
        let sub_addr = at.or(default.sub_addr);
        if pub_addr == sub_addr {
            let key = if fields.get("sub_addr").is_some() { "sub_addr" } else { "pub_addr" };
            let message = format_args!("`pub_addr` and `sub_addr` are the same address");
            if let Some(d) = self.error("bad-combination", fields.span(key), message) {
                d.help("the forwarder listens at two: give each its own port");
            }
        }
        let start_proxy = self.field(fields, "start_proxy", |r, item| r.bool(item));
        Zmq { pub_addr, sub_addr, start_proxy: start_proxy.or(default.start_proxy) }
    }

    fn zmq_address(&mut self, item: Item) -> Option<String> {
        let text = self.text(item)?;
        if is_zmq_address(text) {
            return Some(text.to_owned());
        }
        let must_be = format_args!("`tcp://HOST:PORT` or `ipc://PATH`");
        self.wrong("bad-address", item, must_be);
        None
    }

    fn nats(&mut self, item: Item) -> Option<Nats> {
        let fields = self.fields(item, item.span, &NATS)?;
        Some(self.nats_fields(&fields))
    }

    fn nats_fields(&mut self, fields: &Fields<'a>) -> Nats {
        let default = Nats::default();
        let servers = self.field(fields, "servers", |reader, item| {
            if reader.is_list(item) {
                reader.list(item, SERVERS, |reader, item| reader.nats_server(item))
            } else {
                reader.nats_server(item).map(|server| vec![server])
            }
        });
        let jetstream = self.field(fields, "jetstream", |r, item| r.jetstream(item));
        let stream = self.field(fields, "stream_name", |r, item| r.cluster(item));
        Nats {
            servers: servers.or(default.servers),
            jetstream: jetstream.or_default(),
            stream_name: stream.or(default.stream_name),
        }
    }

    /// It may hold a password, so it is never repeated.
    fn nats_server(&mut self, item: Item) -> Option<Secret> {
        let text = self.text(item)?;
        if is_nats_server(text) {
            return Some(Secret::new(text));
        }
        let message = format_args!("this is not the URL of a NATS server");
        if let Some(d) = self.error("bad-address", item.span, message) {
            d.help("write `nats://HOST:PORT` or `tls://HOST:PORT`");
        }
        None
    }

    /// `true`, `false`, or the limits of the stream.
    fn jetstream(&mut self, item: Item) -> Option<Option<JetStream>> {
        if self.is_scalar(item) {
            return self.bool(item).map(|used| used.then(JetStream::default));
        }
        let fields = self.fields(item, item.span, &JETSTREAM)?;
        let enabled = self.field(&fields, "enabled", |r, item| r.bool(item)).or(true);
        let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
        let mut whole =
            |key| self.nullable(&fields, key, |r, item| r.whole_u64(item, 1, most)).set();
        let (max_bytes, max_messages) = (whole("max_bytes"), whole("max_messages"));
        let mut time = |key| self.nullable(&fields, key, |r, item| r.duration(item, false)).set();
        let max_age = time("max_age");
        let wait = |r: &mut Self, item| r.at_least(item, LEAST_WAIT);
        let ack_wait = self.nullable(&fields, "ack_wait", wait).set();
        let deliver = self.nullable(&fields, "max_deliver", |r, item| r.whole(item, 1, u32::MAX));
        let max_deliver = deliver.set();
        let limits = JetStream { max_bytes, max_messages, max_age, max_deliver, ack_wait };
        Some(enabled.then_some(limits))
    }

    /// A name that becomes a part of addresses: no dots.
    fn cluster(&mut self, item: Item) -> Option<String> {
        let text = self.text(item)?;
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(is_good) {
            return Some(text.to_owned());
        }
        self.wrong("bad-name", item, format_args!("1 to 64 ASCII letters, digits, `_` and `-`"));
        None
    }

    fn membership(&mut self, item: Item) -> Option<Membership> {
        let fields = self.fields(item, item.span, &MEMBERSHIP)?;
        let default = Membership::default();
        let mut time = |key, least, or| {
            self.field(&fields, key, |r: &mut Self, item| r.at_least(item, least)).or(or)
        };
        let membership = Membership {
            heartbeat_interval: time("heartbeat_interval", LEAST_BEAT, default.heartbeat_interval),
            heartbeat_timeout: time("heartbeat_timeout", LEAST_BEAT, default.heartbeat_timeout),
            ask_every: time("ask_every", LEAST_BEAT, default.ask_every),
            lease: time("lease", LEAST_BEAT, default.lease),
            child_lease: time("child_lease", LEAST_WAIT, default.child_lease),
            ..default
        };
        let misses = |r: &mut Self, item| r.whole(item, 1, 1_000_000);
        let misses = self.field(&fields, "missed_heartbeats_threshold", misses);
        let longest = membership.heartbeat_interval.max(membership.ask_every);
        if membership.lease < longest.saturating_mul(3) {
            let key = if fields.get("lease").is_some() { "lease" } else { "heartbeat_interval" };
            let message = format_args!(
                "`lease` ({:?}) is less than three times `heartbeat_interval` or `ask_every` \
                 ({longest:?}): names would be lost with a word",
                membership.lease
            );
            if let Some(d) = self.error("bad-combination", fields.span(key), message) {
                d.help("lengthen the lease, or ask more often");
            }
        }
        Some(Membership {
            missed_heartbeats_threshold: misses.or(default.missed_heartbeats_threshold),
            ..membership
        })
    }

    /// A time within which words must go over a broker and back.
    fn at_least(&mut self, item: Item, least: Duration) -> Option<Duration> {
        let time = self.duration(item, false)?;
        if time >= least {
            return Some(time);
        }
        let message = format_args!(
            "{time:?} is less than {least:?}: no broker brings words and answers as fast"
        );
        if let Some(d) = self.error("out-of-range", item.span, message) {
            d.help(format!("give {least:?} or more; some seconds serve most networks"));
        }
        None
    }

    fn process_name(&mut self, item: Item) -> Option<&'a str> {
        let name = self.text(item)?;
        let Some(fault) = fault_of(name) else { return Some(name) };
        let message = format_args!("{} cannot be the name of a process: {fault}", Quoted(name));
        if let Some(d) = self.error("bad-name", item.span, message) {
            d.help(
                "names have 1 to 255 letters, digits, `_`, `-` and `.`, and do not start with `_`",
            );
        }
        None
    }

    /// `process` of an agent: where it runs. `None` is the process of the tree.
    pub(crate) fn process(&mut self, fields: &Fields<'a>) -> Option<String> {
        let name = self.placed(fields)?;
        self.named(name, fields.span("process"));
        Some(name.to_owned())
    }

    /// `process` of a node that runs in the process of the tree only.
    pub(crate) fn unplaced(&mut self, fields: &Fields<'a>) {
        let away = self.placed(fields).is_some();
        if away && self.placing.kind != Some(TransportKind::InProcess) {
            let span = fields.span("process");
            self.under_key("process", |reader| {
                let message = format_args!("a dynamic supervisor cannot be in another process yet");
                if let Some(d) = reader.error("not-available", span, message) {
                    d.help("remove `process`; its children run in the process of the tree");
                }
            });
        }
    }

    /// What `process` says, if it is not the process of the tree.
    fn placed(&mut self, fields: &Fields<'a>) -> Option<&'a str> {
        let name = self.nullable(fields, "process", |r, item| r.process_name(item)).set()?;
        if name == self.placing.own {
            return None;
        }
        let span = fields.span("process");
        match (self.placing.kind, self.placing.is_said) {
            (Some(TransportKind::InProcess), true) => self.under_key("process", |reader| {
                let message = format_args!(
                    "`process` has no effect: with `type: in_process` all runs in one process"
                );
                reader.warning("no-effect", span, message);
            }),
            (Some(TransportKind::InProcess), false) => self.under_key("process", |reader| {
                let message = format_args!("there is no transport to a process {}", Quoted(name));
                if let Some(d) = reader.error("bad-combination", span, message) {
                    d.help(
                        "add `transport: {type: zmq}` or `nats`; or `type: in_process`, to run \
                         everything in one process",
                    );
                }
            }),
            (Some(TransportKind::Zmq | TransportKind::Nats) | None, _) => {}
        }
        Some(name)
    }

    fn named(&mut self, name: &'a str, span: Span) {
        if self.placing.named.iter().any(|(known, _)| *known == name) {
            return;
        }
        if self.placing.named.len() == PROCESSES_MAX {
            let message = format_args!("more than {PROCESSES_MAX} processes are named");
            self.error("too-many", span, message);
        } else if self.placing.named.len() < PROCESSES_MAX {
            self.placing.named.push((name, span));
        }
    }

    /// Looks ahead which processes another program may be: the agents on them are read first.
    pub(crate) fn strangers(&mut self, fields: &Fields<'a>) {
        let tree = self.tree;
        let Some(block) = fields.get("processes") else { return };
        let Kind::Mapping(processes) = &tree.node(block.value).kind else { return };
        for process in processes {
            let Kind::Mapping(keys) = &tree.node(process.value).kind else { continue };
            let says = |key: &Entry| match key.key.as_str() {
                "command" => !self.is_null(key.value),
                "external" => {
                    let value = self.scalar(key.value).and_then(|scalar| scalar.resolved());
                    value != Some(Resolved::Bool(false))
                }
                _ => false,
            };
            if keys.iter().any(says) {
                self.placing.strangers.insert(&process.key);
            }
        }
    }

    /// Whether the type and the settings of an agent are for this program to judge: those of an
    /// agent in a process that is another program are that one's.
    pub(crate) fn is_ours(&self, fields: &Fields<'a>) -> bool {
        let place = fields.get("process").and_then(|entry| self.scalar(entry.value));
        let place = place.filter(|place| place.resolved() != Some(Resolved::Null));
        let place = place.map_or(self.placing.own.as_str(), |place| &place.text);
        if self.placing.kind == Some(TransportKind::InProcess) {
            return true;
        }
        match self.process {
            Some(here) => place == here,
            None => !self.placing.strangers.contains(place),
        }
    }

    /// Reads `processes`, and adds those that were only named.
    pub(crate) fn processes(&mut self, fields: &Fields<'a>) -> Vec<Process> {
        let mut names = Names::new("describe each process once");
        let read = self.nullable(fields, "processes", |reader, item| {
            let entries = reader.entries(item)?;
            let each = |entry: &'a Entry| {
                reader.under_key(&entry.key, |reader| reader.described(entry, &mut names))
            };
            Some(entries.iter().filter_map(each).collect::<Vec<Process>>())
        });
        let mut processes: Vec<Process> = read.or_default();
        for (name, span) in std::mem::take(&mut self.placing.named) {
            self.claim(name, span, span, "here is an agent or a supervisor of this name");
            if !processes.iter().any(|process| process.name == name) {
                processes.push(Process { origin: origin(span), ..Process::new(name) });
            }
        }
        processes
    }

    /// One process that the file describes.
    fn described(&mut self, entry: &'a Entry, names: &mut Names<'a>) -> Option<Process> {
        let name = self.name_of_key(names, entry)?;
        if name == self.placing.own {
            let message = format_args!("{} is the process of the tree itself", Quoted(name));
            if let Some(d) = self.error("misplaced-key", entry.key_span, message) {
                d.help("describe the others only, or name it with `transport: {process: ..}`");
            }
            return None;
        }
        let is_used = self.placing.named.iter().any(|(named, _)| *named == name);
        if !is_used {
            self.claim(name, entry.key_span, entry.key_span, "here is one of this name");
            let message = format_args!("nothing is placed on the process {}", Quoted(name));
            if let Some(d) = self.warning("no-effect", entry.key_span, message) {
                d.help("place an agent on it with `process`, or remove it");
            }
        }
        let mut process = Process { origin: origin(entry.key_span), ..Process::new(name) };
        if self.is_null(entry.value) {
            return Some(process);
        }
        let fields = self.fields(entry.value, entry.key_span, &PROCESS)?;
        process.external = self.field(&fields, "external", |r, item| r.bool(item)).or(false);
        process.command = self.nullable(&fields, "command", |r, item| r.command(item)).or_default();
        process.env = self.nullable(&fields, "env", |r, item| r.text_map(item)).or_default();
        let restart = self.field(&fields, "restart", |r, item| r.word(item, RESTARTS));
        process.restart = restart.or(Restart::Permanent);
        process.intensity = self.intensity(&fields);
        process.backoff = self.backoff(&fields);
        let shutdown = self.field(&fields, "shutdown", |r, item| r.duration(item, true));
        process.shutdown = shutdown.or(process.shutdown);
        if process.external {
            for key in POLICY_OF_PROCESSES.iter().filter(|key| **key != "external") {
                self.no_effect(&fields, key, "somebody else starts the process");
            }
        }
        Some(process)
    }

    fn name_of_key(&mut self, names: &mut Names<'a>, entry: &'a Entry) -> Option<&'a str> {
        let name = entry.key.as_str();
        if let Some(fault) = fault_of(name) {
            let message = format_args!("{} cannot be the name of a process: {fault}", Quoted(name));
            self.error("bad-name", entry.key_span, message);
            return None;
        }
        self.claim_in(names, name, entry.key_span, entry.key_span, "first described here");
        Some(name)
    }

    /// A program and its arguments.
    fn command(&mut self, item: Item) -> Option<Vec<String>> {
        let words = self.list(item, 1..=COMMAND_MAX, |reader, item| {
            let word = reader.text(item)?;
            if word.contains('\0') {
                reader.error("bad-command", item.span, format_args!("a command has no NUL"));
                return None;
            }
            Some(word.to_owned())
        })?;
        if words[0].is_empty() {
            self.error("bad-command", item.span, format_args!("the program has no name"));
            return None;
        }
        Some(words)
    }
}

/// Whether a text is an address of ZeroMQ as topology files take it: `tcp://HOST:PORT` or
/// `ipc://PATH`.
#[must_use]
pub fn is_zmq_address(text: &str) -> bool {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if let Some(path) = text.strip_prefix("ipc://") {
        return !path.is_empty();
    }
    let Some(at) = text.strip_prefix("tcp://") else { return false };
    let Some((host, port)) = at.rsplit_once(':') else { return false };
    let is_host = !host.is_empty() && (!host.contains(':') || host.starts_with('['));
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether a text is the URL of a NATS server as topology files take it: `nats://` or `tls://`, and
/// a host. It may hold a user and a password.
#[must_use]
pub fn is_nats_server(text: &str) -> bool {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    let rest = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
    let rest = match rest {
        Some(rest) => rest,
        None if text.contains("://") => return false,
        None => text,
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let is_port = |port: &str| port.trim_end_matches('/').parse::<u16>().is_ok_and(|port| port > 0);
    !name.trim_end_matches('/').is_empty() && port.is_none_or(is_port)
}

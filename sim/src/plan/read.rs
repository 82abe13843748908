//! A plan from YAML, or everything that is wrong with it.

mod faults;
mod operations;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_topology::document::{self, Format, Item, Limits, Quoted, Reader, Schema, Span};
use lictor_topology::{
    AgentCheck, Diagnostics, Environment, Foreign, NoEnvironment, Severity, Topology,
};

use super::{CALM_MAX, FAULTS_MAX, HORIZON_MAX, Knobs, OPERATIONS_MAX, Plan};
use crate::broker::Medium;
use crate::engine::Engine;
use crate::record::{NodeIx, Who};
use crate::scenario::{NODES_MAX, Scenario, ScenarioError};

/// Room for as many operations and faults as there may be, each with all its keys, and for the
/// names that a scenario may have.
const VALUES_MAX: usize = 2_000_000;

const FORMAT: Format =
    Format { holds: "plan", first_key: "topology", limits: Limits::LARGE.values(VALUES_MAX) };

const FILE: Schema = Schema::new(
    "a plan",
    &["topology", "nodes", "seed", "horizon", "calm", "knobs", "operations", "faults"],
);

const KNOBS: Schema = Schema::new(
    "`knobs`",
    &[
        "start",
        "stop",
        "handle",
        "latency",
        "send_timeout",
        "heartbeat",
        "heartbeat_timeout",
        "heartbeat_threshold",
        "lease",
        "link_capacity",
        "medium",
        "buggify",
        "child_lease",
        "placed",
    ],
);

/// The word of each medium.
const MEDIA: &[(&str, Medium)] = &{
    let mut words = [("", Medium::Direct); Medium::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = (Medium::ALL[at].word(), Medium::ALL[at]);
        at += 1;
    }
    words
};

/// The longest time of a knob.
const KNOB_MAX: Duration = Duration::from_secs(24 * 3600);

/// The shortest time between two heartbeats: more of them would be all that happens.
const HEARTBEAT_MIN: Duration = Duration::from_millis(1);

/// Names among which what was meant is looked for.
const CANDIDATES: usize = 2_000;

/// What reading a plan depends on besides its text.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Where `${VAR}` finds its value.
    pub environment: &'a dyn Environment,
    /// The engine that is to run the plan; faults that it does not have are errors. `None` accepts
    /// every kind.
    pub engine: Option<Engine>,
    /// Gives the bytes of a topology file, whose path is relative to the plan, or says in a few
    /// words why it cannot.
    pub files: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// Agent types of which a slip in the topology is an error; others are taken as they are.
    /// `None` knows no types.
    pub known_types: Option<&'a [&'a str]>,
    /// What is said to each agent of the topology, whose type may know settings that cannot be.
    /// `None` asks nobody.
    pub agents: Option<&'a dyn AgentCheck>,
}

impl Default for Reading<'_> {
    /// No variables, every engine's faults, no files, any settings of agents.
    fn default() -> Self {
        let files = &|_: &str| Err("files are not read here".to_owned());
        let environment = &NoEnvironment;
        Self { environment, engine: None, files, known_types: None, agents: None }
    }
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Plan {
    /// Reads a plan.
    ///
    /// Only `topology` and `horizon` must be there. `nodes` is 1, `seed` 0 and `calm` long enough
    /// for the topology unless they are given. Operations and faults may come in any order.
    /// `file_name` only appears in diagnostics.
    ///
    /// # Errors
    /// Every fault of the text, each with its place.
    pub fn read(file_name: &str, text: &[u8], options: &Reading<'_>) -> Result<Self, Diagnostics> {
        let of_topology = of_topology(options);
        let read = |reader: &mut Reader<'_>, root| plan(reader, root, options);
        document::read_by(file_name, text, &FORMAT, &of_topology, read).into_result()
    }
}

/// How a topology is read: agents run no code of their own, so their types need not be known.
fn of_topology<'a>(options: &Reading<'a>) -> lictor_topology::Options<'a> {
    let of = lictor_topology::Options::new(options.environment).foreign(Foreign::Accept);
    let of = options.known_types.map_or(of, |types| of.known_types(types));
    options.agents.map_or(of, |agents| of.agents(agents))
}

fn plan(reader: &mut Reader<'_>, root: Item, options: &Reading<'_>) -> Option<Plan> {
    let start = Span { line: 1, column: 1, end: 2 };
    let fields = reader.fields(root, start, &FILE)?;
    let nodes_max = u32::try_from(NODES_MAX).unwrap_or(u32::MAX);
    let nodes = reader.field(&fields, "nodes", |r, item| r.whole(item, 1, nodes_max));
    let nodes = nodes.valid_or(1);
    let seed = reader.field(&fields, "seed", |r, item| r.whole_u64(item, 0, u64::MAX)).or(0);
    let horizon = reader.required(&fields, "horizon", |r, item| up_to(r, item, HORIZON_MAX, false));
    let calm = reader.field(&fields, "calm", |r, item| up_to(r, item, CALM_MAX, true));
    let knobs =
        reader.field(&fields, "knobs", |r, item| knobs(r, item, options.engine)).or_default();
    let topology = reader.required(&fields, "topology", |r, item| topology(r, item, options));
    let scenario = match (topology, nodes) {
        (Some(topology), Some(nodes)) => {
            let nodes = usize::try_from(nodes).unwrap_or(usize::MAX);
            match Scenario::new(topology, nodes) {
                Ok(scenario) => Some(Arc::new(scenario)),
                Err(error) => {
                    no_scenario(reader, &error, fields.span("topology"), fields.span("nodes"));
                    None
                }
            }
        }
        (Some(_) | None, _) => None,
    };
    let known = Known::new(scenario.as_deref(), nodes, horizon, options.engine);
    let operations = reader.field(&fields, "operations", |r, item| {
        r.list(item, 0..=OPERATIONS_MAX, |r, item| operations::operation(r, item, &known))
    });
    let faults = reader.field(&fields, "faults", |r, item| {
        r.list(item, 0..=FAULTS_MAX, |r, item| faults::fault(r, item, &known))
    });
    let scenario = scenario?;
    let mut operations = operations.or_default();
    let mut faults = faults.or_default();
    operations.sort_by_key(|operation| operation.at);
    faults.sort_by_key(|fault| fault.at);
    let calm = calm.set().unwrap_or_else(|| super::generate::calm(&scenario, &knobs));
    Some(Plan { seed, scenario, horizon: horizon?, calm, operations, faults, knobs })
}

fn no_scenario(reader: &mut Reader<'_>, error: &ScenarioError, topology: Span, nodes: Span) {
    let span = if matches!(error, ScenarioError::Nodes(_)) { nodes } else { topology };
    reader.error("no-scenario", span, format_args!("{error}"));
}

/// The topology itself, or the path of its file.
fn topology(reader: &mut Reader<'_>, item: Item, options: &Reading<'_>) -> Option<Topology> {
    if !reader.is_scalar(item) {
        return reader.topology_at(item, item.span());
    }
    let path = reader.text(item)?;
    let bytes = match (options.files)(path) {
        Ok(bytes) => bytes,
        Err(why) => {
            let message = format_args!("cannot read the topology {}: {why}", Quoted(path));
            if let Some(d) = reader.error("unreadable", item.span(), message) {
                d.help("the path is relative to the plan; the topology can also stand here itself");
            }
            return None;
        }
    };
    match lictor_topology::parse(path, &bytes, &of_topology(options)) {
        Ok(topology) => Some(topology),
        Err(faults) => {
            let errors = || faults.iter().filter(|d| d.severity == Severity::Error);
            for fault in errors().take(10) {
                let (line, column) = (fault.line, fault.column);
                let message = format_args!("{}:{line}:{column}: {}", Quoted(path), fault.message);
                if let Some(d) = reader.error("bad-topology", item.span(), message) {
                    d.help("`lictor check` shows the faults of a topology in their place");
                }
            }
            None
        }
    }
}

fn knobs(reader: &mut Reader<'_>, item: Item, engine: Option<Engine>) -> Option<Knobs> {
    let usual = Knobs::default();
    let fields = reader.fields(item, item.span(), &KNOBS)?;
    let mut span = |key, usual| reader.field(&fields, key, from_to).or(usual);
    let start = span("start", usual.start);
    let stop = span("stop", usual.stop);
    let handle = span("handle", usual.handle);
    let latency = span("latency", usual.latency);
    let mut time = |key, least, usual| {
        let read = |r: &mut Reader<'_>, item| at_least(r, item, least);
        reader.field(&fields, key, read).or(usual)
    };
    let nanosecond = Duration::from_nanos(1);
    let send_timeout = time("send_timeout", Duration::ZERO, usual.send_timeout);
    let heartbeat = time("heartbeat", HEARTBEAT_MIN, usual.heartbeat);
    let heartbeat_timeout = time("heartbeat_timeout", nanosecond, usual.heartbeat_timeout);
    let lease = time("lease", HEARTBEAT_MIN, usual.lease);
    let medium = reader.field(&fields, "medium", |r, item| medium(r, item, engine));
    let medium = medium.or(usual.medium);
    let buggify = reader.field(&fields, "buggify", |r, item| r.bool(item)).or(usual.buggify);
    let child_lease = reader.field(&fields, "child_lease", |r, item| child_lease(r, item, engine));
    let child_lease = child_lease.set();
    let placed = reader.field(&fields, "placed", Reader::share).or(0);
    if placed > 0 && fields.get("child_lease").is_none() {
        let message = format_args!("nothing is placed without a `child_lease`");
        if let Some(d) = reader.error("placed-nowhere", fields.span("placed"), message) {
            d.help("add `child_lease: 1s`, or leave `placed` out");
        }
    }
    let mut whole =
        |key, most, usual| reader.field(&fields, key, |r, item| r.whole(item, 1, most)).or(usual);
    Some(Knobs {
        start,
        stop,
        handle,
        latency,
        send_timeout,
        heartbeat,
        heartbeat_timeout,
        heartbeat_threshold: whole("heartbeat_threshold", 1_000_000, usual.heartbeat_threshold),
        lease,
        link_capacity: whole("link_capacity", 10_000_000, usual.link_capacity),
        medium,
        buggify,
        child_lease,
        placed,
    })
}

fn medium(reader: &mut Reader<'_>, item: Item, engine: Option<Engine>) -> Option<Medium> {
    let medium = reader.word(item, MEDIA)?;
    let needs_model = medium != Medium::Direct;
    if let Some(engine) = engine.filter(|engine| needs_model && !engine.is_modelled()) {
        let (engine, medium) = (engine.word(), medium.word());
        let message = format_args!("the engine `{engine}` does not have the medium `{medium}`");
        if let Some(d) = reader.error("not-available", item.span(), message) {
            d.help("it runs on `kernel`");
        }
    }
    Some(medium)
}

fn child_lease(reader: &mut Reader<'_>, item: Item, engine: Option<Engine>) -> Option<Duration> {
    if let Some(engine) = engine.filter(|engine| !engine.places()) {
        let message = format_args!("the engine `{}` places no agents", engine.word());
        if let Some(d) = reader.error("not-available", item.span(), message) {
            d.help(
                "`kernel` and `virtual` do; leave `child_lease` out, and all run with their trees",
            );
        }
    }
    at_least(reader, item, HEARTBEAT_MIN)
}

/// A duration, or a list of the least and the most.
fn from_to(reader: &mut Reader<'_>, item: Item) -> Option<(Duration, Duration)> {
    if reader.is_scalar(item) {
        let just = up_to(reader, item, KNOB_MAX, true)?;
        return Some((just, just));
    }
    let both = reader.list(item, 2..=2, |r, item| up_to(r, item, KNOB_MAX, true))?;
    let (from, to) = (*both.first()?, *both.last()?);
    if from > to {
        let message = format_args!("this is a span from {from:?} to {to:?}, which is backwards");
        if let Some(d) = reader.error("bad-combination", item.span(), message) {
            d.help("write the smaller one first");
        }
        return None;
    }
    Some((from, to))
}

fn at_least(reader: &mut Reader<'_>, item: Item, least: Duration) -> Option<Duration> {
    let time = up_to(reader, item, KNOB_MAX, true)?;
    if time < least {
        reader.wrong("out-of-range", item, format_args!("at least {least:?}"));
        return None;
    }
    Some(time)
}

/// A duration with an upper bound.
fn up_to(reader: &mut Reader<'_>, item: Item, most: Duration, zero: bool) -> Option<Duration> {
    let time = reader.duration(item, zero)?;
    if time > most {
        reader.wrong("out-of-range", item, format_args!("at most {most:?}"));
        return None;
    }
    Some(time)
}

/// What operations and faults can name.
struct Known<'s> {
    /// `None` if the topology or the number of nodes is no good.
    scenario: Option<&'s Scenario>,
    names: BTreeMap<&'s str, Who>,
    /// Some of the names, for who misspells one.
    candidates: Vec<&'s str>,
    nodes: Option<u32>,
    horizon: Option<Duration>,
    engine: Option<Engine>,
}

impl<'s> Known<'s> {
    fn new(
        scenario: Option<&'s Scenario>,
        nodes: Option<u32>,
        horizon: Option<Duration>,
        engine: Option<Engine>,
    ) -> Self {
        let all = || scenario.into_iter().flat_map(Scenario::all);
        Self {
            scenario,
            names: all().map(|(who, entity)| (entity.name.as_str(), who)).collect(),
            candidates: all().take(CANDIDATES).map(|(_, entity)| entity.name.as_str()).collect(),
            nodes,
            horizon,
            engine,
        }
    }

    /// A supervisor or an agent by name.
    fn who(&self, reader: &mut Reader<'_>, item: Item) -> Option<Who> {
        let name = reader.text(item)?;
        if let Some(who) = self.names.get(name) {
            return Some(*who);
        }
        reader.one_of(item, "name", &self.candidates).and(None)
    }

    /// The number of a node.
    fn node(&self, reader: &mut Reader<'_>, item: Item) -> Option<NodeIx> {
        let most = self.nodes.map_or(u32::MAX, |nodes| nodes - 1);
        let node = reader.whole(item, 0, most)?;
        self.nodes?;
        u8::try_from(node).ok().map(NodeIx)
    }

    /// When something happens.
    fn at(&self, reader: &mut Reader<'_>, item: Item) -> Option<Instant> {
        let at = reader.duration(item, true)?;
        if let Some(horizon) = self.horizon.filter(|horizon| at > *horizon) {
            let message = format_args!("this is beyond the horizon, which is {horizon:?}");
            if let Some(d) = reader.error("beyond-horizon", item.span(), message) {
                d.help("let it happen earlier, or raise `horizon`");
            }
            return None;
        }
        Some(Instant::from_nanos(super::nanos(at)))
    }
}

#[cfg(test)]
mod tests;

//! `POLICIES.yaml`, `CRASHES.yaml` and crash logs, with every fault and its place.

use std::io;

use core::time::Duration;

use lictor_kernel::supervisor::Strategy;
use lictor_topology::document::{
    Field, Fields, Format, Item, Limits, Names, Read, Reader, Schema, lines, read,
};
use lictor_topology::{Diagnostics, Environment};

use super::models::{CrashModel, Crashes, Fails, RecordedCrash};
use super::plan::Policy;

/// A file of policies.
pub const POLICIES: Format =
    Format { holds: "list of policies", first_key: "policies", limits: Limits::SMALL };

/// A file of crash models.
pub const CRASHES: Format =
    Format { holds: "list of crash models", first_key: "crashes", limits: Limits::SMALL };

/// The most policies, and the most crash models, of one file.
pub const MAX_ENTRIES: usize = 32;

/// The most children of a policy, those of all supervisors together.
pub const MAX_CHILDREN: u32 = 10_000;

/// The most crashes of a recorded log.
pub const MAX_RECORDED: usize = 100_000;

/// The most runs of each pair.
pub const MAX_SEEDS: u32 = 1_000_000;

/// What `POLICIES.yaml` says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PolicyFile {
    /// The policies, with the defaults of the file put in.
    pub policies: Vec<Policy>,
}

/// What `CRASHES.yaml` says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CrashFile {
    /// The crash models.
    pub crashes: Vec<Crashes>,
    /// How long a run is.
    pub duration: Duration,
    /// How many runs each pair gets.
    pub seeds: u32,
}

/// What [`read_crashes`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadCrashes {
    /// What the file says, unless there was an error.
    pub value: Option<CrashFile>,
    /// Faults of the file, then those of each crash log that it names.
    pub diagnostics: Vec<Diagnostics>,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const LONGEST_RUN: Duration = Duration::from_secs(366 * 86_400);

const POLICY_FILE: Schema = Schema::new(
    "a file of policies",
    &["policies", "children", "supervisors", "start_time", "stop_time", "repair_after"],
);

const POLICY: Schema = Schema::new(
    "a policy",
    &[
        "name",
        "strategy",
        "max_restarts",
        "restart_window",
        "backoff",
        "backoff_base",
        "backoff_max",
        "jitter",
        "stable_after",
        "children",
        "supervisors",
        "start_time",
        "stop_time",
        "repair_after",
    ],
);

/// Reads a file of policies. `file_name` only appears in diagnostics.
#[must_use]
pub fn read_policies(
    file_name: &str,
    text: &[u8],
    environment: &dyn Environment,
) -> Read<PolicyFile> {
    read(file_name, text, &POLICIES, environment, |reader, root| {
        let fields = reader.fields(root, root.span(), &POLICY_FILE)?;
        let defaults = common(reader, &fields, &Policy::new("", 4));
        let mut names = Names::new("give each policy a name of its own");
        let policies = reader.required(&fields, "policies", |reader, item| {
            reader.list(item, 1..=MAX_ENTRIES, |r, item| policy(r, item, &defaults, &mut names))
        });
        Some(PolicyFile { policies: policies? })
    })
}

/// The keys that a file and a policy both take.
fn common<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, default: &Policy) -> Policy {
    let children = reader.field(fields, "children", children);
    let supervisors = reader.field(fields, "supervisors", |r, item| r.whole(item, 1, MAX_CHILDREN));
    let start = reader.field(fields, "start_time", |reader, item| {
        let time = reader.duration(item, false)?;
        if time < MILLISECOND {
            reader.wrong("out-of-range", item, format_args!("at least 1ms"));
            return None;
        }
        Some(time)
    });
    let stop = reader.field(fields, "stop_time", |r, item| r.duration(item, true));
    let repair = reader.field(fields, "repair_after", |reader, item| {
        let never = reader.plain(item).is_some_and(|text| text.eq_ignore_ascii_case("never"));
        if never { Some(None) } else { reader.duration(item, true).map(Some) }
    });
    let children = children.set().unwrap_or_else(|| default.children.clone());
    let supervisors = supervisors.or(default.supervisors);
    let total = u64::from(supervisors) * u64::try_from(children.len()).unwrap_or(u64::MAX);
    if total > u64::from(MAX_CHILDREN) {
        let key = if fields.get("supervisors").is_some() { "supervisors" } else { "children" };
        let message =
            format_args!("{total} children in all are too many; {MAX_CHILDREN} may be here");
        let span = fields.span(key);
        if let Some(d) = reader.error("too-many", span, message) {
            d.help("every supervisor has all the children; lower one of the two");
        }
    }
    Policy {
        children,
        supervisors,
        start_time: start.or(default.start_time),
        stop_time: stop.or(default.stop_time),
        repair_after: repair.or(default.repair_after),
        ..default.clone()
    }
}

/// A number of children, or their names.
fn children(reader: &mut Reader<'_>, item: Item) -> Option<Vec<String>> {
    if !reader.is_list(item) {
        let count = reader.whole(item, 1, MAX_CHILDREN)?;
        return Some(Policy::new("", count).children);
    }
    let mut names = Names::new("give each child a name of its own");
    let most = usize::try_from(MAX_CHILDREN).unwrap_or(usize::MAX);
    reader.list(item, 1..=most, |reader, item| {
        reader.name_in(&mut names, item, item.span()).map(str::to_owned)
    })
}

fn policy<'a>(
    reader: &mut Reader<'a>,
    item: Item,
    defaults: &Policy,
    names: &mut Names<'a>,
) -> Option<Policy> {
    let fields = reader.fields(item, item.span(), &POLICY)?;
    let name = reader.required(&fields, "name", |r, name| r.name_in(names, name, item.span()));
    let strategy: Strategy = reader.strategy(&fields);
    let intensity = reader.intensity(&fields);
    let backoff = reader.backoff(&fields);
    let policy = common(reader, &fields, defaults);
    Some(Policy { name: name?.to_owned(), strategy, intensity, backoff, ..policy })
}

/// The names of the children that every one of the policies has: those that crash models may name.
#[must_use]
pub fn common_children(policies: &[Policy]) -> Vec<String> {
    let Some((first, others)) = policies.split_first() else { return Vec::new() };
    let mut common = first.children.clone();
    for other in others {
        // Only children with the same place are the same for a model.
        let same = common.iter().zip(&other.children).take_while(|(ours, theirs)| ours == theirs);
        let count = same.count();
        common.truncate(count);
    }
    common
}

const CRASH_FILE: Schema = Schema::new("a file of crash models", &["crashes", "for", "seeds"]);

macro_rules! model {
    ($owner:literal $(, $key:literal)*) => {
        Schema::new($owner, &["name", "model" $(, $key)*])
    };
}

const MTBF: Schema = model!("an `mtbf` model", "mean", "children");
const CRASH_LOOP: Schema =
    model!("a `crash_loop` model", "at", "fixed_after", "crash_after", "children");
const POISON: Schema =
    model!("a `poison_message` model", "every", "crash_after", "deliveries", "expires", "children");
const OUTAGE: Schema =
    model!("a `dependency_outage` model", "at", "lasts", "notice", "capacity", "prolongs");
const RECORDED: Schema = model!("a `recorded` model", "file");

const MODELS: &[(&str, &Schema)] = &[
    ("mtbf", &MTBF),
    ("crash_loop", &CRASH_LOOP),
    ("poison_message", &POISON),
    ("dependency_outage", &OUTAGE),
    ("recorded", &RECORDED),
];

/// What reading a crash model needs besides its text.
struct Context<'c> {
    /// The names that models may use; `None` if they are not known.
    children: Option<Vec<&'c str>>,
    duration: Duration,
    open: &'c mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
    logs: Vec<Diagnostics>,
}

/// Reads a file of crash models. `children` are the names that models may use (see
/// [`common_children`]), or `None` if the policies are no good and nothing can be said of names. A
/// model may name a crash log, which `open` reads; it is given the name as
/// the file has it, and should give no more than 16 MiB.
///
/// A crash log has a crash a line: the time since the beginning (seconds, or with a unit) and, if
/// it is known, the child. What comes after `#` is a comment.
pub fn read_crashes(
    file_name: &str,
    text: &[u8],
    environment: &dyn Environment,
    children: Option<&[String]>,
    open: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
) -> ReadCrashes {
    let children = children.map(|names| names.iter().map(String::as_str).collect());
    let mut context = Context { children, duration: Duration::ZERO, open, logs: Vec::new() };
    let read = read(file_name, text, &CRASHES, environment, |reader, root| {
        let fields = reader.fields(root, root.span(), &CRASH_FILE)?;
        let hour = Duration::from_secs(3600);
        let duration = reader.field(&fields, "for", |reader, item| {
            let duration = reader.duration(item, false)?;
            if duration > LONGEST_RUN {
                reader.wrong("out-of-range", item, format_args!("at most a year (366d)"));
                return None;
            }
            Some(duration)
        });
        let seeds = reader.field(&fields, "seeds", |r, item| r.whole(item, 1, MAX_SEEDS));
        context.duration = duration.or(hour);
        let mut names = Names::new("give each crash model a name of its own");
        let crashes = reader.required(&fields, "crashes", |reader, item| {
            reader.list(item, 1..=MAX_ENTRIES, |r, item| crash(r, item, &mut names, &mut context))
        });
        Some(CrashFile { crashes: crashes?, duration: duration.or(hour), seeds: seeds.or(200) })
    });
    let value = read.value.filter(|_| context.logs.iter().all(Diagnostics::is_empty));
    let mut diagnostics = vec![read.diagnostics];
    diagnostics.extend(context.logs);
    ReadCrashes { value, diagnostics }
}

fn crash<'a>(
    reader: &mut Reader<'a>,
    item: Item,
    names: &mut Names<'a>,
    context: &mut Context<'_>,
) -> Option<Crashes> {
    let Some(kind) = reader.peek(item, "model") else {
        headless(reader, item);
        return None;
    };
    let words: Vec<&str> = MODELS.iter().map(|(word, _)| *word).collect();
    let index = reader.under_key("model", |r| r.one_of(kind, "crash model", &words))?;
    let (word, schema) = MODELS.get(index)?;
    let fields = reader.fields(item, item.span(), schema)?;
    let name = reader.required(&fields, "name", |r, name| r.name_in(names, name, item.span()));
    let model = match *word {
        "mtbf" => mtbf(reader, &fields, context),
        "crash_loop" => crash_loop(reader, &fields, context),
        "poison_message" => poison(reader, &fields, context),
        "dependency_outage" => outage(reader, &fields, context),
        _ => recorded(reader, &fields, context),
    };
    Some(Crashes { name: name?.to_owned(), model: model? })
}

/// An entry that does not say what it is: its own keys cannot be judged.
fn headless(reader: &mut Reader<'_>, item: Item) {
    let Some(entries) = reader.entries(item) else { return };
    let slip = entries.iter().find(|entry| is_slip_of(entry.key(), "model"));
    let span = slip.map_or_else(|| item.span(), |entry| entry.key_span());
    let message = format_args!("a crash model needs `model`");
    let words: Vec<String> = MODELS.iter().map(|(word, _)| format!("`{word}`")).collect();
    if let Some(d) = reader.error("missing-key", span, message) {
        match slip {
            Some(_) => d.help("did you mean `model`?"),
            None => d.help(format!("give it one of {}", words.join(", "))),
        };
    }
}

/// Whether a key is `meant` but for a slip of two letters at its place.
fn is_slip_of(key: &str, meant: &str) -> bool {
    let same = key.bytes().zip(meant.bytes()).filter(|(ours, theirs)| ours == theirs).count();
    key.len().abs_diff(meant.len()) <= 1 && same + 2 >= meant.len()
}

/// The children that a model is for; none named is all.
fn targets<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    context: &Context<'_>,
) -> Option<Vec<usize>> {
    let mut seen = Names::new("name each child once");
    let targets = reader.field(fields, "children", |reader, item| {
        let most = usize::try_from(MAX_CHILDREN).unwrap_or(usize::MAX);
        reader.list(item, 1..=most, |reader, item| {
            reader.name_in(&mut seen, item, item.span())?;
            let Some(known) = &context.children else { return Some(0) };
            if known.is_empty() {
                let message = format_args!("no child has the same place in every policy");
                if let Some(d) = reader.error("unknown-name", item.span(), message) {
                    d.help(
                        "leave `children` out, or let all policies begin with the same children",
                    );
                }
                return None;
            }
            reader.one_of(item, "child", known)
        })
    });
    targets.valid_or(Vec::new())
}

/// When something happens. Beyond the end of the run nothing of it would be seen.
fn at<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, context: &Context<'_>) -> Option<Duration> {
    reader.required(fields, "at", |reader, item| {
        let at = reader.duration(item, true)?;
        if at >= context.duration {
            let duration = context.duration;
            let message = format_args!("nothing happens: a run ends after {duration:?}");
            if let Some(d) = reader.warning("no-effect", item.span(), message) {
                d.help("give an earlier time, or a longer `for`");
            }
        }
        Some(at)
    })
}

fn mtbf<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    context: &Context<'_>,
) -> Option<CrashModel> {
    let mean = reader.required(fields, "mean", |reader, item| {
        let mean = reader.duration(item, false)?;
        if mean < MILLISECOND {
            reader.wrong("out-of-range", item, format_args!("at least 1ms"));
            return None;
        }
        Some(mean)
    });
    let children = targets(reader, fields, context);
    Some(CrashModel::Mtbf { mean: mean?, children: children? })
}

fn crash_loop<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    context: &Context<'_>,
) -> Option<CrashModel> {
    let at = at(reader, fields, context);
    let fixed = reader.required(fields, "fixed_after", |r, item| r.duration(item, false));
    let after = reader.nullable(fields, "crash_after", |r, item| r.duration(item, true));
    let children = targets(reader, fields, context);
    let fails = match after {
        Field::Absent => Fails::AtStart,
        Field::Set(after) => Fails::After(after),
        Field::Bad => return None,
    };
    Some(CrashModel::CrashLoop { at: at?, fixed_after: fixed?, fails, children: children? })
}

fn poison<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    context: &Context<'_>,
) -> Option<CrashModel> {
    let every = reader.required(fields, "every", |reader, item| {
        let every = reader.duration(item, false)?;
        if every < MILLISECOND {
            reader.wrong("out-of-range", item, format_args!("at least 1ms"));
            return None;
        }
        Some(every)
    });
    let crash_after = reader.field(fields, "crash_after", |r, item| r.duration(item, true));
    let deliveries = reader.nullable(fields, "deliveries", |r, item| r.whole(item, 1, 1_000_000));
    let expires = reader.nullable(fields, "expires", |r, item| r.duration(item, false));
    let children = targets(reader, fields, context);
    if matches!((deliveries, expires), (Field::Absent, Field::Absent))
        && !fields.means("deliveries")
        && !fields.means("expires")
    {
        let message = format_args!("this message would be delivered again for ever");
        if let Some(d) = reader.error("missing-key", fields.span(""), message) {
            d.help(
                "say after how many `deliveries` it is skipped, or after what time it `expires`",
            );
        }
        return None;
    }
    Some(CrashModel::Poison {
        every: every?,
        crash_after: crash_after.valid_or(Duration::ZERO)?,
        deliveries: deliveries.set(),
        expires: expires.set(),
        children: children?,
    })
}

fn outage<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    context: &Context<'_>,
) -> Option<CrashModel> {
    let at = at(reader, fields, context);
    let lasts = reader.required(fields, "lasts", |r, item| r.duration(item, false));
    let notice = reader.field(fields, "notice", |r, item| r.duration(item, true));
    let capacity = reader.nullable(fields, "capacity", |r, item| r.whole(item, 1, u32::MAX));
    let prolongs = reader.field(fields, "prolongs", |r, item| r.duration(item, true));
    for (key, other, there) in [
        ("capacity", "prolongs", matches!(prolongs, Field::Absent)),
        ("prolongs", "capacity", matches!(capacity, Field::Absent)),
    ] {
        if let Some(entry) = fields.get(key).filter(|_| there && !fields.means(other)) {
            let message = format_args!("`{key}` has no effect without `{other}`");
            if let Some(d) = reader.error("missing-key", entry.key_span(), message) {
                d.help(format!("add `{other}`, or remove `{key}`"));
            }
            return None;
        }
    }
    Some(CrashModel::Outage {
        at: at?,
        lasts: lasts?,
        notice: notice.valid_or(Duration::ZERO)?,
        capacity: capacity.set(),
        prolongs: prolongs.valid_or(Duration::ZERO)?,
    })
}

fn recorded<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    context: &mut Context<'_>,
) -> Option<CrashModel> {
    reader.required(fields, "file", |reader, item| {
        let name = reader.text(item)?;
        let text = match (context.open)(name) {
            Ok(text) => text,
            Err(error) => {
                let message = format_args!("the crash log `{name}` cannot be read: {error}");
                if let Some(d) = reader.error("unreadable", item.span(), message) {
                    d.help("the name is relative to the folder of this file");
                }
                return None;
            }
        };
        let log = crash_log(name, &text, context.children.as_deref());
        if !log.diagnostics.is_empty() {
            context.logs.push(log.diagnostics);
            return None;
        }
        let crashes = log.value?;
        if crashes.is_empty() {
            reader.error("too-few", item.span(), format_args!("the crash log has no crash"));
            return None;
        }
        Some(CrashModel::Recorded { crashes })
    })
}

fn crash_log(name: &str, text: &[u8], children: Option<&[&str]>) -> Read<Vec<RecordedCrash>> {
    lines(name, text, 16 << 20, MAX_RECORDED, |line| {
        if line.len() > 2 {
            let message = format_args!("a crash is a time and, if it is known, a child");
            let span = line.span(2);
            if let Some(d) = line.error("too-many", span, message) {
                d.help("a comment begins with `#`");
            }
            return None;
        }
        let at = line.duration(0);
        let child = match children {
            Some(known) if line.len() == 2 => line.one_of(1, "child", known).map(Some),
            Some(_) | None => Some(None),
        };
        Some(RecordedCrash { at: at?, child: child? })
    })
}

//! The entries of `operations`.

use lictor_kernel::Glob;
use lictor_topology::document::{Entry, Fields, Item, Reader, Schema};

use super::super::write::{EVERYWHERE, REASONS, home};
use super::super::{Act, HORIZON_MAX, Operation, SHORT_MAX, Short};
use super::{Known, up_to};
use crate::record::Who;
use crate::scenario::Role;

/// What can be done, and the rest.
const OPERATION: Schema = Schema::new(
    "an operation",
    &[
        "at",
        "tell",
        "ask",
        "broadcast",
        "spawn",
        "despawn",
        "terminate",
        "restart",
        "suspend",
        "resume",
        "end",
        "stop",
        "claim",
        "unclaim",
        "publish",
        "tell_capable",
        "send_after",
        "look",
        "node",
        "timeout",
        "reason",
        "ttl",
        "to",
        "delay",
    ],
);

/// The keys that say what is done.
const ACTS: &[&str] = &[
    "tell",
    "ask",
    "broadcast",
    "spawn",
    "despawn",
    "terminate",
    "restart",
    "suspend",
    "resume",
    "end",
    "stop",
    "claim",
    "unclaim",
    "publish",
    "tell_capable",
    "send_after",
    "look",
];

pub(super) fn operation(
    reader: &mut Reader<'_>,
    item: Item,
    known: &Known<'_>,
) -> Option<Operation> {
    let fields = reader.fields(item, item.span(), &OPERATION)?;
    let at = reader.required(&fields, "at", |r, item| known.at(r, item));
    let node = reader.field(&fields, "node", |r, item| known.node(r, item));
    let act = only(reader, item, &fields, ACTS, "what is done").and_then(|entry| {
        let word = ACTS.iter().copied().find(|word| *word == entry.key())?;
        misplaced(reader, &fields, "timeout", word == "ask");
        misplaced(reader, &fields, "reason", word == "end");
        misplaced(reader, &fields, "ttl", word == "tell");
        misplaced(reader, &fields, "to", word == "publish");
        misplaced(reader, &fields, "delay", word == "send_after");
        act(reader, &fields, word, known)
    });
    let (at, act) = (at?, act?);
    let needs = act.needs_model();
    if let Some(engine) = known.engine.filter(|engine| needs && !engine.is_modelled()) {
        let message = format_args!("on the engine `{}` nobody can do that", engine.word());
        if let Some(d) = reader.error("not-available", item.span(), message) {
            d.help("it runs on `kernel`");
        }
    }
    let scenario = known.scenario?;
    let node = node.valid_or(home(scenario, act))?;
    if let Act::Claim(who) | Act::Unclaim(who) = act
        && scenario.entity(who).node == node
    {
        let message = format_args!("node {} has this name by right", node.0);
        if let Some(d) = reader.error("wrong-target", item.span(), message) {
            d.help("give another one with `node`; it takes two nodes to disagree about a name");
        }
        return None;
    }
    Some(Operation { at, node, act })
}

fn act<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    word: &'static str,
    known: &Known<'_>,
) -> Option<Act> {
    match word {
        "broadcast" => {
            let words = &[(EVERYWHERE, Act::Broadcast)];
            return reader.field(fields, word, |r, item| r.word(item, words)).set();
        }
        "stop" => {
            let within = |r: &mut Reader<'_>, item| up_to(r, item, HORIZON_MAX, true);
            return reader.field(fields, word, within).set().map(Act::Stop);
        }
        "ask" => {
            let wait = |r: &mut Reader<'_>, item| up_to(r, item, HORIZON_MAX, true);
            let timeout = reader.required(fields, "timeout", wait);
            let who = whom(reader, fields, word, known)?;
            return Some(Act::Ask(who, timeout?));
        }
        "end" => {
            let reason = reader.required(fields, "reason", |r, item| r.word(item, REASONS));
            let who = whom(reader, fields, word, known)?;
            return Some(Act::End(who, reason?));
        }
        "tell_capable" => return reader.field(fields, word, short).set().map(Act::TellCapable),
        "publish" => {
            let to = reader.required(fields, "to", pattern);
            let who = whom(reader, fields, word, known)?;
            return Some(Act::Publish(who, to?));
        }
        "send_after" => {
            let wait = |r: &mut Reader<'_>, item| up_to(r, item, HORIZON_MAX, true);
            let delay = reader.required(fields, "delay", wait);
            let who = whom(reader, fields, word, known)?;
            return Some(Act::SendAfter(who, delay?));
        }
        "tell" if fields.get("ttl").is_some() => {
            let wait = |r: &mut Reader<'_>, item| up_to(r, item, HORIZON_MAX, true);
            let ttl = reader.field(fields, "ttl", wait).set();
            let who = whom(reader, fields, word, known)?;
            return Some(Act::TellWithin(who, ttl?));
        }
        _ => {}
    }
    let who = whom(reader, fields, word, known)?;
    Some(match word {
        "look" => Act::Look(who),
        "spawn" => Act::Spawn(who),
        "despawn" => Act::Despawn(who),
        "terminate" => Act::Terminate(who),
        "restart" => Act::Restart(who),
        "suspend" => Act::Suspend(who),
        "resume" => Act::Resume(who),
        "claim" => Act::Claim(who),
        "unclaim" => Act::Unclaim(who),
        _ => Act::Tell(who),
    })
}

/// A text that fits into an operation.
fn short(reader: &mut Reader<'_>, item: Item) -> Option<Short> {
    let text = reader.text(item)?;
    let short = Short::new(text);
    if short.is_none() {
        reader.wrong("out-of-range", item, format_args!("at most {SHORT_MAX} bytes"));
    }
    short
}

/// A pattern of names.
fn pattern(reader: &mut Reader<'_>, item: Item) -> Option<Short> {
    let short = short(reader, item)?;
    if let Err(error) = Glob::new(short.as_str()) {
        reader.wrong("bad-pattern", item, format_args!("a pattern of names: {error}"));
        return None;
    }
    Some(short)
}

/// The name of somebody to whom this can be done.
fn whom<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    word: &'static str,
    known: &Known<'_>,
) -> Option<Who> {
    reader
        .field(fields, word, |reader, item| {
            let who = known.who(reader, item)?;
            let scenario = known.scenario?;
            let entity = scenario.entity(who);
            let parent = entity.parent.map(|parent| &scenario.entity(parent).role);
            let spawned = matches!(parent, Some(Role::Dynamic(..)));
            let is_agent = matches!(entity.role, Role::Agent(_));
            let (fits, must_be) = match word {
                "spawn" | "despawn" => {
                    (spawned, "a child of a dynamic supervisor: its name and a number from 0 to 5")
                }
                "terminate" | "restart" => {
                    (parent.is_some() && !spawned, "a child of a supervisor with fixed children")
                }
                "look" => (!is_agent, "a supervisor"),
                _ => (is_agent, "an agent"),
            };
            if !fits {
                reader.wrong("wrong-target", item, format_args!("{must_be}"));
                return None;
            }
            Some(who)
        })
        .set()
}

/// The one entry among those that exclude each other.
pub(super) fn only<'a>(
    reader: &mut Reader<'a>,
    item: Item,
    fields: &Fields<'a>,
    keys: &'static [&'static str],
    what: &str,
) -> Option<&'a Entry> {
    let mut given = keys.iter().filter(|key| fields.get(key).is_some());
    if let Some(first) = given.next() {
        let mut alone = true;
        for second in given {
            reader.conflict(fields, first, second);
            alone = false;
        }
        return fields.get(first).filter(|_| alone);
    }
    if !keys.iter().any(|key| fields.means(key)) {
        let message = format_args!("this does not say {what}");
        if let Some(d) = reader.error("missing-key", item.span(), message) {
            let some = keys.get(..12).unwrap_or(keys);
            d.help(format!("give it one of the keys `{}`", some.join("`, `")));
        }
    }
    None
}

/// Reports a key that says nothing here.
pub(super) fn misplaced<'a>(
    reader: &mut Reader<'a>,
    fields: &Fields<'a>,
    key: &'static str,
    fits: bool,
) {
    if let Some(entry) = fields.get(key).filter(|_| !fits) {
        let message = format_args!("`{key}` says nothing here");
        if let Some(d) = reader.error("misplaced-key", entry.key_span(), message) {
            d.help("remove it");
        }
    }
}

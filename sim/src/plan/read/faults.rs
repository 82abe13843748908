//! The entries of `faults`.

use std::time::Duration;

use lictor_topology::document::{Fields, Item, Reader, Schema};

use super::super::write::EVERYWHERE;
use super::super::{HORIZON_MAX, nanos};
use super::operations::{misplaced, only};
use super::{Known, up_to};
use crate::engine::Engine;
use crate::fault::{Fault, Kind, Place, Target, Unit};
use crate::scenario::Role;

const KINDS: usize = Kind::ALL.len();

/// The keys that say which kind of fault it is.
const NAMES: [&str; KINDS] = {
    let mut names = [""; KINDS];
    let mut kind = 0;
    while kind < KINDS {
        names[kind] = Kind::ALL[kind].facts().name;
        kind += 1;
    }
    names
};

const KEYS: [&str; KINDS + 3] = {
    let mut keys = ["at"; KINDS + 3];
    keys[1] = "lasts";
    keys[2] = "amount";
    let mut kind = 0;
    while kind < KINDS {
        keys[kind + 3] = NAMES[kind];
        kind += 1;
    }
    keys
};

const FAULT: Schema = Schema::new("a fault", &KEYS);

pub(super) fn fault(reader: &mut Reader<'_>, item: Item, known: &Known<'_>) -> Option<Fault> {
    let fields = reader.fields(item, item.span(), &FAULT)?;
    let at = reader.required(&fields, "at", |r, item| known.at(r, item));
    let entry = only(reader, item, &fields, &NAMES, "which kind of fault it is")?;
    let kind = Kind::named(entry.key())?;
    let facts = kind.facts();
    if let Some(engine) = known.engine.filter(|engine| !facts.engines.has(*engine)) {
        let name = facts.name;
        let message =
            format_args!("the engine `{}` does not have the fault `{name}`", engine.word());
        if let Some(d) = reader.error("not-available", entry.key_span(), message) {
            let have = Engine::ALL.iter().filter(|engine| facts.engines.has(**engine));
            let have: Vec<&str> = have.map(|engine| engine.word()).collect();
            d.help(format!("it runs on `{}`", have.join("` and `")));
        }
    }
    let target = reader.field(&fields, facts.name, |r, item| target(r, item, kind, known)).set();
    let amount = amount(reader, &fields, kind);
    let lasts = if facts.lasts {
        reader.required(&fields, "lasts", |r, item| up_to(r, item, HORIZON_MAX, true))
    } else {
        misplaced(reader, &fields, "lasts", false);
        Some(Duration::ZERO)
    };
    Some(Fault { at: at?, lasts: lasts?, kind, target: target?, amount: amount? })
}

fn target(reader: &mut Reader<'_>, item: Item, kind: Kind, known: &Known<'_>) -> Option<Target> {
    match kind.facts().place {
        Place::World => reader.word(item, &[(EVERYWHERE, Target::World)]),
        Place::Node => known.node(reader, item).map(Target::Node),
        Place::Link => {
            if reader.is_scalar(item) {
                let must_be = format_args!("a list of two nodes, such as `[0, 1]`");
                reader.wrong("wrong-target", item, must_be);
                return None;
            }
            let ends = reader.list(item, 2..=2, |r, item| known.node(r, item))?;
            let (from, to) = (*ends.first()?, *ends.last()?);
            if from == to {
                reader.error(
                    "wrong-target",
                    item.span(),
                    format_args!("a link is between two nodes, not from one to itself"),
                );
                return None;
            }
            Some(Target::Link(from, to))
        }
        place @ (Place::Agent | Place::Supervisor) => {
            let who = known.who(reader, item)?;
            let is_agent = matches!(known.scenario?.entity(who).role, Role::Agent(_));
            let (fits, must_be) = match place {
                Place::Supervisor => (!is_agent, "a supervisor"),
                Place::World | Place::Node | Place::Link | Place::Agent => (is_agent, "an agent"),
            };
            if !fits {
                reader.wrong("wrong-target", item, format_args!("{must_be}"));
                return None;
            }
            Some(Target::Who(who))
        }
    }
}

fn amount<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, kind: Kind) -> Option<u64> {
    let range = kind.amounts();
    let (least, most) = (*range.start(), *range.end());
    match kind.facts().amount {
        Unit::None => {
            misplaced(reader, fields, "amount", false);
            Some(0)
        }
        Unit::PerMillion => {
            reader.required(fields, "amount", |r, item| r.share(item)).map(u64::from)
        }
        Unit::Time => reader.required(fields, "amount", |reader, item| {
            let time = up_to(reader, item, HORIZON_MAX, false)?;
            Some(nanos(time))
        }),
        Unit::Count => reader.required(fields, "amount", |r, item| r.whole_u64(item, least, most)),
    }
}

//! The keys of one mapping, and the readers of their values.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::diagnostic::Quoted;
use crate::quantity::{self, QuantityFault};
use crate::reader::Reader;
use crate::scalar::Resolved;
use crate::suggest::{is_slip, list, nearest};
use crate::tree::{Entry, Item, Kind, Span};

/// Words and their values; the first word for a value is the canonical one.
pub type Words<T> = &'static [(&'static str, T)];

/// The keys that a kind of mapping may have.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// What the mapping is, with an article.
    pub owner: &'static str,
    /// The keys that are read; at least one.
    pub keys: &'static [&'static str],
    /// Keys that are known and refused, and what to do instead.
    pub refused: &'static [(&'static str, &'static str)],
}

impl Schema {
    /// A kind of mapping whose keys are all read.
    #[must_use]
    pub const fn new(owner: &'static str, keys: &'static [&'static str]) -> Self {
        Self { owner, keys, refused: &[] }
    }
}

/// Keys that people look for in another place: in what, and where they belong.
const ELSEWHERE: [(&str, &str, &str); 8] = [
    ("`zmq`", "curve", "security.transport.zmq"),
    ("`transport`", "curve", "security.transport.zmq"),
    ("`nats`", "tls", "security.transport.nats"),
    ("`nats`", "nkey_seed", "security.transport.nats"),
    ("`nats`", "creds", "security.transport.nats"),
    ("`transport`", "tls", "security.transport.nats"),
    ("`transport`", "nkey_seed", "security.transport.nats"),
    ("`transport`", "creds", "security.transport.nats"),
];

/// What YAML 1.1 took for a boolean, and what it is now.
const BOOLS: [(&[&str], bool); 2] = [(&["yes", "y", "on"], true), (&["no", "n", "off"], false)];

/// Other names of what a file has a word for, too far from it to be a slip.
const OTHER_WORDS: [(&str, &str); 3] = [("zeromq", "zmq"), ("0mq", "zmq"), ("jetstream", "nats")];

/// The entries of a mapping, after unknown keys were reported.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    entries: BTreeMap<&'a str, &'a Entry>,
    /// Where the mapping is announced.
    pub(crate) at: Span,
    owner: &'static str,
    /// Keys that an unknown key perhaps meant; their absence is not reported again.
    meant: Vec<&'static str>,
}

/// The value of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field<T> {
    /// Not there.
    Absent,
    /// There, and reported.
    Bad,
    /// There.
    Set(T),
}

impl<T> Field<T> {
    /// The value, or a default where there is none. After a report the value no longer matters.
    #[must_use]
    pub fn or(self, default: T) -> T {
        match self {
            Self::Set(value) => value,
            Self::Absent | Self::Bad => default,
        }
    }

    /// The value, or the default of its type where there is none.
    #[must_use]
    pub fn or_default(self) -> T
    where
        T: Default,
    {
        match self {
            Self::Set(value) => value,
            Self::Absent | Self::Bad => T::default(),
        }
    }

    /// The value, if it is there and good.
    #[must_use]
    pub fn set(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }

    /// The value that holds, or `None` when it was reported.
    #[must_use]
    pub fn valid_or(self, default: T) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent => Some(default),
            Self::Bad => None,
        }
    }
}

impl<'a> Fields<'a> {
    /// The entry of a key, if it is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a Entry> {
        self.entries.get(key).copied()
    }

    /// Whether an unknown key perhaps meant this one.
    #[must_use]
    pub fn means(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }

    /// Where a key's value is; where the mapping is announced when the key is not there.
    #[must_use]
    pub fn span(&self, key: &str) -> Span {
        self.get(key).map_or(self.at, |entry| entry.value.span)
    }
}

impl<'a> Reader<'a> {
    /// The entries of a mapping that must be one. Unknown and refused keys are reported.
    pub fn fields(&mut self, item: Item, at: Span, schema: &'static Schema) -> Option<Fields<'a>> {
        let tree = self.tree;
        let Kind::Mapping(entries) = &tree.node(item).kind else {
            let owner = schema.owner;
            let added = self.wrong("wrong-type", item, format_args!("a mapping ({owner})"));
            if let Some(d) = added {
                d.help(format!("give it keys, such as `{}:`", schema.keys[0]));
            }
            return None;
        };
        let mut fields =
            Fields { entries: BTreeMap::new(), at, owner: schema.owner, meant: Vec::new() };
        let mut slips = Vec::new();
        for entry in entries {
            let key = entry.key.as_str();
            if let Some((_, why)) = schema.refused.iter().find(|(name, _)| *name == key) {
                self.under_key(key, |reader| reader.unavailable(key, entry.key_span, why));
            } else if schema.keys.contains(&key) {
                fields.entries.insert(key, entry);
            } else if let Some(meant) = self.unknown_key(entry, schema) {
                fields.meant.push(meant);
                if is_slip(key, meant) {
                    slips.push((meant, entry));
                }
            }
        }
        // What a misspelled key holds is read as what it surely meant, so that its faults are found
        // in the same run.
        for (meant, entry) in slips {
            fields.entries.entry(meant).or_insert(entry);
        }
        Some(fields)
    }

    fn unknown_key(&mut self, entry: &'a Entry, schema: &'static Schema) -> Option<&'static str> {
        let key = entry.key.as_str();
        let owner = schema.owner;
        let elsewhere = ELSEWHERE.iter().find(|(of, it, _)| *of == owner && *it == key);
        let known = if self.is_full() || elsewhere.is_some() { &[] } else { schema.keys };
        let meant = nearest(key, known.iter().copied());
        self.under_key(key, |reader| {
            let message = format_args!("unknown key {} in {owner}", Quoted(key));
            if let Some(d) = reader.error("unknown-key", entry.key_span, message) {
                match (meant, elsewhere) {
                    (Some(meant), _) => d.help(format!("did you mean `{meant}`?")),
                    (None, Some((.., place))) => d.help(format!("it belongs to `{place}`")),
                    (None, None) if key.contains("${") => {
                        d.help("variables are put into values only, not into keys")
                    }
                    (None, None) => d.help(format!("{owner} takes {}", list(schema.keys))),
                };
            }
        });
        meant
    }

    pub(crate) fn unavailable(&mut self, what: &str, span: Span, why: &str) {
        let message = format_args!("{} is not available in this version", Quoted(what));
        if let Some(d) = self.error("not-available", span, message) {
            d.help(why);
        }
    }

    /// Reports that a key is not there, unless an unknown key surely meant it.
    pub fn missing(&mut self, fields: &Fields<'a>, key: &'static str) {
        if fields.means(key) {
            return;
        }
        self.error("missing-key", fields.at, format_args!("{} needs `{key}`", fields.owner));
    }

    /// Reports two keys that say the same thing, and says whether both are there.
    pub fn conflict(&mut self, fields: &Fields<'a>, first: &str, second: &str) -> bool {
        let (Some(first), Some(second)) = (fields.get(first), fields.get(second)) else {
            return false;
        };
        let (first, second) =
            if first.key_span <= second.key_span { (first, second) } else { (second, first) };
        let message = format_args!("`{}` and `{}` exclude each other", first.key, second.key);
        if let Some(d) = self.error("conflicting-keys", second.key_span, message) {
            d.related(first.key_span, "the other is here");
            d.help("keep one of them");
        }
        true
    }

    /// Reads the value of a key with `read`, which reports what is wrong.
    pub fn field<T>(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, Item) -> Option<T>,
    ) -> Field<T> {
        let Some(entry) = fields.get(key) else { return Field::Absent };
        match self.under_key(&entry.key, |reader| read(reader, entry.value)) {
            Some(value) => Field::Set(value),
            None => Field::Bad,
        }
    }

    /// As [`Reader::field`], for a key that may be null, which is as if it were not there.
    pub fn nullable<T>(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, Item) -> Option<T>,
    ) -> Field<T> {
        match fields.get(key) {
            Some(entry) if self.is_null(entry.value) => Field::Absent,
            Some(_) | None => self.field(fields, key, read),
        }
    }

    /// `true` or `false`.
    pub fn bool(&mut self, item: Item) -> Option<bool> {
        let scalar = self.scalar(item);
        if let Some(Resolved::Bool(value)) = scalar.and_then(|scalar| scalar.resolved()) {
            return Some(value);
        }
        let word = scalar.map_or("", |scalar| &scalar.text).to_ascii_lowercase();
        let meant = BOOLS.iter().find(|(words, _)| words.contains(&word.as_str()));
        let added = self.wrong("wrong-type", item, format_args!("`true` or `false`"));
        if let (Some(d), Some((_, meant))) = (added, meant) {
            d.help(format!("did you mean `{meant}`?"));
        }
        None
    }

    /// A whole number in a range.
    pub fn whole(&mut self, item: Item, min: u32, max: u32) -> Option<u32> {
        let number = self.whole_u64(item, u64::from(min), u64::from(max))?;
        u32::try_from(number).ok()
    }

    /// As [`Reader::whole`], up to 64 bits.
    pub fn whole_u64(&mut self, item: Item, min: u64, max: u64) -> Option<u64> {
        let must_be = format_args!("a whole number from {min} to {max}");
        match self.scalar(item).and_then(|scalar| scalar.resolved()) {
            Some(Resolved::Int(number)) => {
                let number = number.and_then(|number| u64::try_from(number).ok());
                let number = number.filter(|number| (min..=max).contains(number));
                if number.is_none() {
                    self.wrong("out-of-range", item, must_be);
                }
                number
            }
            Some(_) | None => {
                self.wrong("wrong-type", item, must_be);
                None
            }
        }
    }

    /// A duration of at most 100 years: seconds as a plain number, or a number with a unit (`ns`,
    /// `us`, `ms`, `s`, `m`, `h`, `d`). `zero` says whether it may be zero.
    pub fn duration(&mut self, item: Item, zero: bool) -> Option<Duration> {
        let scalar = self.scalar(item);
        let read = scalar.and_then(|scalar| match scalar.resolved()? {
            Resolved::Int(Some(number)) if number >= 0 => {
                Some(quantity::seconds(&number.to_string()))
            }
            Resolved::Int(Some(_)) => Some(Err(QuantityFault::Negative)),
            Resolved::Int(None) => Some(Err(QuantityFault::TooLong)),
            Resolved::Float(number) if number.is_nan() => Some(Err(QuantityFault::NotANumber)),
            Resolved::Float(f64::INFINITY) => Some(Err(QuantityFault::TooLong)),
            Resolved::Float(f64::NEG_INFINITY) => Some(Err(QuantityFault::Negative)),
            Resolved::Float(_) => Some(quantity::seconds(&scalar.text)),
            Resolved::Text => Some(quantity::with_unit(&scalar.text)),
            Resolved::Null | Resolved::Bool(_) | Resolved::LeadingZero => None,
        });
        match read {
            Some(Ok(duration)) if zero || !duration.is_zero() => return Some(duration),
            Some(Ok(_) | Err(QuantityFault::Negative)) => {
                let sign = if zero { "not negative" } else { "more than 0" };
                self.wrong("out-of-range", item, format_args!("a duration that is {sign}"));
            }
            Some(Err(QuantityFault::TooLong)) => {
                self.wrong("out-of-range", item, format_args!("a duration of at most 100 years"));
            }
            Some(Err(QuantityFault::NotANumber)) | None => {
                let added = self.wrong("wrong-type", item, format_args!("a duration"));
                if let Some(d) = added {
                    d.help(
                        "write seconds as a plain number (`1.5`), or a unit: `500ms`, `10s`, `2m`",
                    );
                }
            }
        }
        None
    }

    /// A share, as parts per million: a number from 0 to 1, or a percentage (`25%`). What is finer
    /// is cut off.
    pub fn share(&mut self, item: Item) -> Option<u32> {
        let read = self.scalar(item).and_then(|scalar| match scalar.resolved()? {
            Resolved::Int(_) | Resolved::Float(_) => Some((quantity::seconds(&scalar.text), 1_000)),
            Resolved::Text => {
                let percent = scalar.text.strip_suffix('%')?;
                Some((quantity::seconds(percent.trim_end()), 100_000))
            }
            Resolved::Null | Resolved::Bool(_) | Resolved::LeadingZero => None,
        });
        let must_be = format_args!("a share from 0 to 1, or a percentage (`25%`)");
        let (code, parts) = match read {
            Some((Ok(share), scale)) => ("out-of-range", share.as_nanos() / scale),
            Some((Err(QuantityFault::NotANumber), _)) | None => ("wrong-type", u128::MAX),
            Some((Err(QuantityFault::Negative | QuantityFault::TooLong), _)) => {
                ("out-of-range", u128::MAX)
            }
        };
        let parts = u32::try_from(parts).ok().filter(|parts| *parts <= 1_000_000);
        if parts.is_none() {
            self.wrong(code, item, must_be);
        }
        parts
    }

    /// One of a few words, in any case.
    pub fn word<T: Copy>(&mut self, item: Item, words: Words<T>) -> Option<T> {
        let scalar = self.scalar(item).filter(|_| !self.is_null(item));
        let found = scalar.and_then(|scalar| {
            words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&scalar.text))
        });
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let meant = scalar.and_then(|scalar| {
            let is_it = |(word, _): &&(&str, &str)| scalar.text.eq_ignore_ascii_case(word);
            let other = OTHER_WORDS.iter().find(is_it).map(|(_, meant)| *meant);
            let other = other.filter(|meant| names.contains(meant));
            other.or_else(|| nearest(&scalar.text, names.iter().copied()))
        });
        let must_be = format_args!("{}", list(&names)).to_string();
        let code = if scalar.is_some() { "unknown-value" } else { "wrong-type" };
        if let Some(d) = self.wrong(code, item, format_args!("{must_be}"))
            && let Some(meant) = meant
        {
            d.help(format!("did you mean `{meant}`?"));
        }
        None
    }

    /// The items of a list that must be one.
    pub fn items(&mut self, item: Item) -> Option<&'a [Item]> {
        let tree = self.tree;
        match &tree.node(item).kind {
            Kind::Sequence(items) => Some(items),
            Kind::Scalar(_) | Kind::Mapping(_) | Kind::Invalid => {
                self.wrong("wrong-type", item, format_args!("a list"));
                None
            }
        }
    }

    /// A list with this many entries, each read with `read`; `None` if one of them is no good.
    pub fn list<T>(
        &mut self,
        item: Item,
        many: RangeInclusive<usize>,
        mut read: impl FnMut(&mut Self, Item) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.items(item)?;
        let (least, most) = (*many.start(), *many.end());
        if items.len() < least {
            let some = format_args!("a list of at least {least}, not of {}", items.len());
            let message = format_args!("this must be {some}");
            self.error("too-few", item.span, message);
            return None;
        }
        if let Some(beyond) = items.get(most) {
            let message = format_args!("{} entries are too many; {most} may be here", items.len());
            self.at_index(most, |reader| {
                if let Some(d) = reader.error("too-many", beyond.span, message) {
                    d.related(item.span, "the list begins here");
                }
            });
            return None;
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            values.extend(self.at_index(index, |reader| {
                reader.through_alias(*item, |reader| read(reader, *item))
            }));
        }
        (values.len() == items.len()).then_some(values)
    }

    /// The value of a key that must be there.
    pub fn required<T>(
        &mut self,
        fields: &Fields<'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, Item) -> Option<T>,
    ) -> Option<T> {
        if fields.get(key).is_none() {
            self.missing(fields, key);
        }
        self.field(fields, key, read).set()
    }

    /// Whether the value is a list.
    #[must_use]
    pub fn is_list(&self, item: Item) -> bool {
        matches!(self.tree.node(item).kind, Kind::Sequence(_))
    }

    /// The text of a scalar, of whatever type; for words beside another type (`10s` or `never`).
    #[must_use]
    pub fn plain(&self, item: Item) -> Option<&'a str> {
        self.scalar(item).map(|scalar| scalar.text.as_str())
    }

    /// The value of a key of a mapping whose keys depend on that value. Reports nothing.
    #[must_use]
    pub fn peek(&self, item: Item, key: &str) -> Option<Item> {
        match &self.tree.node(item).kind {
            Kind::Mapping(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
            }
            Kind::Scalar(_) | Kind::Sequence(_) | Kind::Invalid => None,
        }
    }

    /// The index of a text among those that are known; `what` says what they are. If nothing is
    /// known, nothing is reported: whatever was to be known has been reported.
    pub fn one_of(&mut self, item: Item, what: &str, known: &[&str]) -> Option<usize> {
        let word = self.text(item)?;
        if known.is_empty() {
            return None;
        }
        if let Some(found) = known.iter().position(|name| *name == word) {
            return Some(found);
        }
        let meant = if self.is_full() { None } else { nearest(word, known.iter().copied()) };
        let message = format_args!("unknown {what} {}", Quoted(word));
        if let Some(d) = self.error("unknown-name", item.span, message) {
            match meant {
                Some(meant) => d.help(format!("did you mean `{meant}`?")),
                None => d.help(format!("known: {}", list(&known[..known.len().min(12)]))),
            };
        }
        None
    }

    /// The entries of a mapping whose keys are free.
    pub fn entries(&mut self, item: Item) -> Option<&'a [Entry]> {
        let tree = self.tree;
        match &tree.node(item).kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Scalar(_) | Kind::Sequence(_) | Kind::Invalid => {
                self.wrong("wrong-type", item, format_args!("a mapping"));
                None
            }
        }
    }

    /// A list of strings.
    pub fn texts(&mut self, item: Item) -> Option<Vec<String>> {
        let items = self.items(item)?;
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            texts.extend(self.at_index(index, |reader| reader.text(*item)).map(str::to_owned));
        }
        Some(texts)
    }
}

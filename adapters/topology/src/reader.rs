//! The walk over a tree: where it is, what it has seen, and how it complains.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::diagnostic::{Diagnostic, Faults, Quoted, Severity};
use crate::name::fault_of;
use crate::options::{AgentCheck, Foreign, Options, Overrides};
use crate::references::References;
use crate::scalar::{Resolved, resolve};
use crate::transport::Placing;
use crate::tree::{Form, Item, Kind, Scalar, Span, Tag, Tree};

/// A walk over a document: where it is, what it has seen, and how it complains.
///
/// The methods that read a value report what is wrong with it, and then answer `None`.
pub struct Reader<'a> {
    pub(crate) tree: &'a Tree,
    /// The agent types that a topology may name.
    pub(crate) known_types: Option<&'a [&'a str]>,
    /// What becomes of others.
    pub(crate) foreign: Foreign,
    /// The process for which a topology is read, if that is not the one of the tree.
    pub(crate) process: Option<&'a str>,
    /// What the application says to the agents of a topology.
    pub(crate) agents: Option<&'a dyn AgentCheck>,
    /// What holds instead of what a topology says.
    pub(crate) overrides: Option<&'a Overrides>,
    /// The settings in which agents name others: types and keys.
    pub(crate) names_in: &'a [(&'a str, &'a str)],
    /// What they have named so far.
    pub(crate) references: References<'a>,
    /// What a topology has said of processes so far.
    pub(crate) placing: Placing<'a>,
    sink: &'a mut Faults,
    path: Vec<Segment<'a>>,
    /// The names of a topology.
    names: Names<'a>,
    /// The outermost alias through which the current place was reached.
    alias: Option<Span>,
}

/// The names of one namespace, each with where it was given first.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    taken: BTreeMap<&'a str, Span>,
    help: &'static str,
}

impl<'a> Names<'a> {
    /// An empty namespace; `help` says how to mend a name that is given twice.
    #[must_use]
    pub const fn new(help: &'static str) -> Self {
        Self { taken: BTreeMap::new(), help }
    }

    /// The names so far, in the order of their letters.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.taken.keys().copied()
    }
}

const ONE_NAMESPACE: &str =
    "agents, supervisors and processes share one namespace; give each a name of its own";

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// A place in a document.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a>(Vec<Segment<'a>>);

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("at", &path_text(&self.path)).finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(tree: &'a Tree, sink: &'a mut Faults) -> Self {
        let names = Names::new(ONE_NAMESPACE);
        Self {
            tree,
            known_types: None,
            foreign: Foreign::Refuse,
            process: None,
            agents: None,
            overrides: None,
            names_in: &[],
            references: References::default(),
            placing: Placing::default(),
            sink,
            path: Vec::new(),
            names,
            alias: None,
        }
    }

    /// A reader of topologies by these options.
    pub(crate) fn by(tree: &'a Tree, sink: &'a mut Faults, options: &Options<'a>) -> Self {
        let Options { known_types, foreign, process, names_in, agents, overrides, .. } = *options;
        let plain = Self::new(tree, sink);
        Self { known_types, foreign, process, names_in, agents, overrides, ..plain }
    }

    /// Reads what is under a key, which faults then name in their path.
    pub fn under_key<T>(&mut self, key: &'a str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(Segment::Key(key));
        let value = read(self);
        self.path.pop();
        value
    }

    /// Reads what is at an index of a list, which faults then name in their path.
    pub fn at_index<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(Segment::Index(index));
        let value = read(self);
        self.path.pop();
        value
    }

    /// A place below the current one, to come back to.
    pub(crate) fn place(&self, below: [&'a String; 2]) -> Place<'a> {
        let below = below.map(|key| Segment::Key(key));
        Place(self.path.iter().copied().chain(below).collect())
    }

    /// Comes back to a place.
    pub(crate) fn at_place<T>(&mut self, place: Place<'a>, read: impl FnOnce(&mut Self) -> T) -> T {
        let here = std::mem::replace(&mut self.path, place.0);
        let value = read(self);
        self.path = here;
        value
    }

    /// Errors so far.
    pub(crate) fn errors(&self) -> usize {
        self.sink.errors()
    }

    /// Whether further faults are only counted, so that looking for help is wasted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sink.is_full()
    }

    /// Reads an item, remembering it if it is an alias: names behind it are then shown by the
    /// alias.
    pub fn through_alias<T>(&mut self, item: Item, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.alias;
        if self.tree.node(item).span != item.span {
            self.alias = outer.or(Some(item.span));
        }
        let value = read(self);
        self.alias = outer;
        value
    }

    /// Reports an error, and gives it back for help to be added unless it is only counted. Codes
    /// are words joined by `-` and do not change between versions.
    pub fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: fmt::Arguments<'_>,
    ) -> Option<&mut Diagnostic> {
        let path = &self.path;
        self.sink.report(Severity::Error, code, span, || path_text(path), message)
    }

    /// Reports something that surely is not what was meant, though the document can be used.
    pub fn warning(
        &mut self,
        code: &'static str,
        span: Span,
        message: fmt::Arguments<'_>,
    ) -> Option<&mut Diagnostic> {
        let path = &self.path;
        self.sink.report(Severity::Warning, code, span, || path_text(path), message)
    }

    /// Reports that the value at the current place is not what it must be: `{key} must be
    /// {must_be}, not {what it is}`.
    pub fn wrong(
        &mut self,
        code: &'static str,
        item: Item,
        must_be: fmt::Arguments<'_>,
    ) -> Option<&mut Diagnostic> {
        let tree = self.tree;
        if matches!(tree.node(item).kind, Kind::Invalid) {
            return None;
        }
        let is_secret = |key: &str| matches!(key, "credentials" | "security" | "servers" | "env");
        let secret = self.path.iter().any(|s| matches!(s, Segment::Key(key) if is_secret(key)));
        let found = Found { kind: &tree.node(item).kind, secret };
        let place = Here(self.path.last().copied());
        self.error(code, item.span, format_args!("{place} must be {must_be}, not {found}"))
    }

    pub(crate) fn scalar(&self, item: Item) -> Option<&'a Scalar> {
        match &self.tree.node(item).kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Invalid => None,
        }
    }

    /// Whether this is neither a list nor a mapping.
    #[must_use]
    pub fn is_scalar(&self, item: Item) -> bool {
        self.scalar(item).is_some()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_null(&self, item: Item) -> bool {
        self.scalar(item).is_some_and(|scalar| scalar.resolved() == Some(Resolved::Null))
    }

    /// Text: quoted, or plain and not of another type, or put in from a variable.
    pub fn text(&mut self, item: Item) -> Option<&'a str> {
        if let Some(scalar) = self.scalar(item) {
            if scalar.resolved() == Some(Resolved::Text)
                || (scalar.substituted && scalar.form == Form::Plain)
            {
                return Some(&scalar.text);
            }
            let number = matches!(scalar.form, Form::Plain) && !self.is_null(item);
            let added = self.wrong("wrong-type", item, format_args!("a string"));
            if number && let Some(d) = added {
                d.help("put it in quotes");
            }
            return None;
        }
        self.wrong("wrong-type", item, format_args!("a string"));
        None
    }

    /// A name of the topology: well-formed and not taken.
    pub(crate) fn name(&mut self, item: Item, entry: Span) -> Option<&'a str> {
        self.with_names(|reader, names| reader.name_in(names, item, entry))
    }

    /// Takes a name of the topology, or reports that it is taken.
    pub(crate) fn claim(&mut self, name: &'a str, span: Span, entry: Span, note: &str) {
        self.with_names(|reader, names| reader.claim_in(names, name, span, entry, note));
    }

    fn with_names<T>(&mut self, run: impl FnOnce(&mut Self, &mut Names<'a>) -> T) -> T {
        let mut names = std::mem::replace(&mut self.names, Names::new(ONE_NAMESPACE));
        let value = run(self, &mut names);
        self.names = names;
        value
    }

    /// A name that is well-formed ([`is_valid_name`](crate::is_valid_name)) and not taken in this
    /// namespace. `entry` is where the thing with the name stands.
    pub fn name_in(&mut self, names: &mut Names<'a>, item: Item, entry: Span) -> Option<&'a str> {
        let name = self.text(item)?;
        if let Some(fault) = fault_of(name) {
            let message = format_args!("{} cannot be a name: {fault}", Quoted(name));
            if let Some(d) = self.error("bad-name", item.span, message) {
                d.help(
                    "names have 1 to 255 letters, digits, `_`, `-` and `.`, \
                     and do not start with `_`",
                );
            }
            return None;
        }
        self.claim_in(names, name, item.span, entry, "first used here");
        Some(name)
    }

    /// Takes a name, or reports that it is taken. Behind an alias the name itself stands in one
    /// place only, so the second use is shown by the alias or the entry.
    pub(crate) fn claim_in(
        &mut self,
        names: &mut Names<'a>,
        name: &'a str,
        span: Span,
        entry: Span,
        note: &str,
    ) {
        let Some(first) = names.taken.get(name).copied() else {
            names.taken.insert(name, span);
            return;
        };
        let span = if first == span { self.alias.unwrap_or(entry) } else { span };
        let message = format_args!("the name {} is already taken", Quoted(name));
        if let Some(d) = self.error("duplicate-name", span, message) {
            d.related(first, note);
            d.help(names.help);
        }
    }
}

impl Scalar {
    /// Its type; `None` when a tag asks for one that it does not have.
    pub(crate) fn resolved(&self) -> Option<Resolved> {
        let tag = match self.form {
            Form::Text => return Some(Resolved::Text),
            Form::Plain => return Some(resolve(&self.text)),
            Form::Tagged(tag) => tag,
        };
        let resolved = resolve(&self.text);
        match (tag, resolved) {
            (Tag::Null, Resolved::Null)
            | (Tag::Bool, Resolved::Bool(_))
            | (Tag::Int, Resolved::Int(_))
            | (Tag::Float, Resolved::Float(_)) => Some(resolved),
            (Tag::Float, Resolved::Int(_)) => self.text.parse().ok().map(Resolved::Float),
            (Tag::Null | Tag::Bool | Tag::Int | Tag::Float, _) => None,
        }
    }
}

/// A value as messages call it.
struct Found<'a> {
    kind: &'a Kind,
    secret: bool,
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scalar = match self.kind {
            Kind::Scalar(scalar) => scalar,
            Kind::Sequence(_) => return f.write_str("a list"),
            Kind::Mapping(_) => return f.write_str("a mapping"),
            Kind::Invalid => return f.write_str("this"),
        };
        let word = match scalar.resolved() {
            None => "the wrongly tagged",
            Some(Resolved::Null) => return f.write_str("null (no value)"),
            Some(Resolved::Bool(_)) => "the boolean",
            Some(Resolved::Int(_) | Resolved::Float(_) | Resolved::LeadingZero) => "the number",
            Some(Resolved::Text) => "the string",
        };
        if self.secret {
            return write!(f, "{word} here");
        }
        // It may be one as well.
        if scalar.substituted {
            return write!(f, "{word} that its variable gives");
        }
        write!(f, "{word} {}", Quoted(&scalar.text))
    }
}

/// The current place as messages call it.
struct Here<'a>(Option<Segment<'a>>);

impl fmt::Display for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Segment::Key(key)) => write!(f, "{}", Quoted(key)),
            Some(Segment::Index(_)) => f.write_str("this entry"),
            None => f.write_str("the file"),
        }
    }
}

fn path_text(path: &[Segment<'_>]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&key_in_path(key));
            }
            Segment::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

/// A key as paths show it: as it is where that is unambiguous, else quoted.
pub(crate) fn key_in_path(key: &str) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.len() <= 60 && !key.is_empty() && key.chars().all(simple) {
        return key.to_owned();
    }
    let cut: String = key.chars().take(60).collect();
    format!("{cut:?}")
}

//! Text to tree. The only module that knows the YAML parser.
//!
//! Aliases are not expanded: the tree shares what they name. What an expansion would cost is added
//! up meanwhile, so that a file that would expand to too much is refused before anything walks it.

mod syntax;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag as RawTag};

use crate::MAX_DEPTH;
use crate::decode::narrow;
use crate::diagnostic::{Diagnostic, Faults, Quoted, Severity};
use crate::document::Format;
use crate::options::Environment;
use crate::scalar::{Resolved, resolve};
use crate::substitute::{VariableFault, substitute};
use crate::tree::{Entry, Form, Item, Kind, Node, NodeId, Scalar, Span, Tag, Tree};
use syntax::{is_tab, syntax_help};

/// Text to tree, or `None` when the text has no tree. Faults that leave a tree are reported, and
/// what they touch is [`Kind::Invalid`].
pub(crate) fn parse(
    source: &str,
    environment: &dyn Environment,
    format: &Format,
    sink: &mut Faults,
) -> Option<Tree> {
    let limits = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_unresolved_aliases: true,
        emit_comments: false,
    };
    let mut builder = Builder::new(source, environment, format, sink);
    for next in Parser::new_from_str_with_options(source, limits) {
        let step = match next {
            Ok((event, span)) => builder.event(event, to_span(span)),
            Err(error) => builder.syntax(&error),
        };
        match step {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(End::Document) => break,
            ControlFlow::Break(End::Refused) => return None,
        }
    }
    builder.finish()
}

/// Why parsing ends before the text does.
enum End {
    /// The first document is complete.
    Document,
    /// Nothing after this can be read.
    Refused,
}

type Step = ControlFlow<End>;

/// A collection that is open.
struct Frame {
    state: State,
    span: Span,
    anchor: usize,
    values_before: usize,
    bytes_before: usize,
    /// Levels of nesting inside.
    height: usize,
}

enum State {
    Sequence(Vec<Item>),
    Mapping {
        entries: Vec<Entry>,
        seen: BTreeMap<String, Span>,
        merges: Vec<Item>,
        key: Option<Key>,
    },
}

/// A key whose value is next.
struct Key {
    text: String,
    span: Span,
    is_text: bool,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Keep,
    Merge,
    /// Reported; its value is read and forgotten.
    Forget,
}

/// What an anchor names, and what using it costs.
#[derive(Clone, Copy)]
struct Anchored {
    node: NodeId,
    values: usize,
    bytes: usize,
    height: usize,
}

struct Builder<'a> {
    source: &'a str,
    environment: &'a dyn Environment,
    format: &'a Format,
    sink: &'a mut Faults,
    nodes: Vec<Node>,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Anchored>,
    root: Option<Item>,
    documents: usize,
    values: usize,
    bytes: usize,
}

impl<'a> Builder<'a> {
    fn new(
        source: &'a str,
        environment: &'a dyn Environment,
        format: &'a Format,
        sink: &'a mut Faults,
    ) -> Self {
        Self {
            source,
            environment,
            format,
            sink,
            nodes: Vec::new(),
            frames: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            documents: 0,
            values: 0,
            bytes: 0,
        }
    }

    fn finish(self) -> Option<Tree> {
        let blank = |item: &Item| {
            let kind = &self.nodes[item.node.0].kind;
            matches!(kind, Kind::Scalar(Scalar { text, form: Form::Plain, substituted: false })
                if resolve(text) == Resolved::Null)
        };
        match self.root.filter(|item| !blank(item)) {
            Some(root) => Some(Tree { nodes: self.nodes, root }),
            None => {
                let span = Span { line: 1, column: 1, end: 2 };
                let Format { holds, first_key, .. } = self.format;
                let message = format_args!("the file holds no {holds}");
                let added =
                    self.sink.report(Severity::Error, "empty-file", span, String::new, message);
                if let Some(d) = added {
                    d.help(format!("start with a top-level `{first_key}:` key"));
                }
                None
            }
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Step {
        match event {
            Event::DocumentStart(..) => self.document(span),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", span);
                self.open(State::Sequence(Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", span);
                let state = State::Mapping {
                    entries: Vec::new(),
                    seen: BTreeMap::new(),
                    merges: Vec::new(),
                    key: None,
                };
                self.open(state, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let message = format_args!("no anchor {} stands before this alias", Quoted(&name));
                self.fault("unknown-alias", span, message);
                let node = self.add(span, Kind::Invalid);
                self.place(Item { node, span }, 0);
                ControlFlow::Continue(())
            }
            // Without the first four the lint would ask for them; none carries a value.
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) | _ => {
                ControlFlow::Continue(())
            }
        }
    }

    fn document(&mut self, span: Span) -> Step {
        self.documents += 1;
        if self.documents == 1 {
            return ControlFlow::Continue(());
        }
        let message = format_args!("the file holds more than one document");
        let holds = self.format.holds;
        if let Some(d) = self.fault("several-documents", span, message) {
            d.help(format!("keep one {holds} to a file"));
        }
        ControlFlow::Break(End::Document)
    }

    fn syntax(&mut self, error: &ScanError) -> Step {
        let marker = error.marker();
        let kind = error.kind();
        let code = if is_tab(kind) { "tab" } else { "syntax" };
        // A fault of tabs is found behind them.
        let read = marker.byte_offset().and_then(|at| self.source.get(..at)).unwrap_or("");
        let tabs = if code == "tab" { read.len() - read.trim_end_matches('\t').len() } else { 0 };
        let column = narrow(marker.col().saturating_add(1).saturating_sub(tabs).max(1));
        let span = Span { line: narrow(marker.line()), column, end: column.saturating_add(1) };
        if matches!(kind, ErrorKind::RecursionLimitExceeded) {
            return self.too_deep(span);
        }
        if self.is_unclosed(span) {
            return ControlFlow::Break(End::Refused);
        }
        let message = format_args!("{kind}");
        if let Some(d) = self.fault(code, span, message)
            && let Some(help) = syntax_help(kind)
        {
            d.help(help);
        }
        ControlFlow::Break(End::Refused)
    }

    fn too_deep(&mut self, span: Span) -> Step {
        let message = format_args!("nested more than {MAX_DEPTH} levels deep");
        self.fault("too-deep", span, message);
        ControlFlow::Break(End::Refused)
    }

    /// Adds to what the expanded file costs.
    fn spend(&mut self, values: usize, bytes: usize, span: Span) -> Step {
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes);
        let (values, bytes) = (self.format.limits.values, self.format.limits.expanded_bytes);
        if self.values <= values && self.bytes <= bytes {
            return ControlFlow::Continue(());
        }
        let message = format_args!(
            "with aliases and variables expanded up to here, the file holds more than \
             {values} values or {bytes} bytes"
        );
        self.fault("too-much", span, message);
        ControlFlow::Break(End::Refused)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&RawTag>,
        span: Span,
    ) -> Step {
        let form = self.form(style, tag, span);
        if self.expects_key() {
            self.spend(1, text.len(), span)?;
            let is_text = form == Form::Text || resolve(text) == Resolved::Text;
            let plain = form == Form::Plain;
            let scalar = Scalar { text: text.to_owned(), form, substituted: false };
            if anchor != 0 {
                let node = self.add(span, Kind::Scalar(scalar));
                self.anchors
                    .insert(anchor, Anchored { node, values: 1, bytes: text.len(), height: 0 });
            }
            self.key(text, span, is_text, plain);
            return ControlFlow::Continue(());
        }
        let span = self.visible(span);
        let text = self.substituted(text, style, span);
        let bytes = text.as_ref().map_or(0, |(text, _)| text.len());
        self.spend(1, bytes, span)?;
        let kind = text.map_or(Kind::Invalid, |(text, substituted)| {
            Kind::Scalar(Scalar { text: text.into_owned(), form, substituted })
        });
        let node = self.add(span, kind);
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node, values: 1, bytes, height: 0 });
        }
        self.place(Item { node, span }, 0);
        ControlFlow::Continue(())
    }

    /// An empty value stands nowhere; its key shows where it is missing.
    fn visible(&self, span: Span) -> Span {
        match self.frames.last().map(|frame| &frame.state) {
            Some(State::Mapping { key: Some(key), .. }) if span.end == span.column => key.span,
            Some(State::Mapping { .. } | State::Sequence(_)) | None => span,
        }
    }

    fn form(&mut self, style: ScalarStyle, tag: Option<&RawTag>, span: Span) -> Form {
        let untagged = if style == ScalarStyle::Plain { Form::Plain } else { Form::Text };
        let Some(tag) = tag else { return untagged };
        match tag.core_suffix() {
            Some("str") => Form::Text,
            Some("null") => Form::Tagged(Tag::Null),
            Some("bool") => Form::Tagged(Tag::Bool),
            Some("int") => Form::Tagged(Tag::Int),
            Some("float") => Form::Tagged(Tag::Float),
            _ if tag.original() == "!" => Form::Text,
            _ => {
                self.bad_tag(tag, span);
                untagged
            }
        }
    }

    fn collection_tag(&mut self, tag: Option<&RawTag>, allowed: &str, span: Span) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(allowed)
            && tag.original() != "!"
        {
            self.bad_tag(tag, span);
        }
    }

    fn bad_tag(&mut self, tag: &RawTag, span: Span) {
        let original = tag.original();
        let message = format_args!("the tag {} means nothing here", Quoted(&original));
        if let Some(d) = self.fault("unsupported-tag", span, message) {
            d.help("remove the tag");
        }
    }

    /// The text with its variables put in, and whether there were any.
    fn substituted<'t>(
        &mut self,
        text: &'t str,
        style: ScalarStyle,
        span: Span,
    ) -> Option<(Cow<'t, str>, bool)> {
        if !text.contains("${") {
            return Some((Cow::Borrowed(text), false));
        }
        let mut faults = Vec::new();
        let put_in = substitute(text, self.environment, |at, fault| faults.push((at, fault)));
        for (at, fault) in faults {
            let span = if self.sink.is_full() { span } else { within(span, text, style, at) };
            self.variable_fault(span, &fault);
        }
        put_in.map(|text| (Cow::Owned(text), true))
    }

    fn variable_fault(&mut self, span: Span, fault: &VariableFault<'_>) {
        match fault {
            VariableFault::Unset(name) => {
                let message = format_args!("the variable {} is not set", Quoted(name));
                if let Some(d) = self.fault("unset-variable", span, message) {
                    d.help(format!("set it, or give a default: `${{{name}:-...}}`"));
                }
            }
            VariableFault::Malformed => {
                let message = format_args!("`${{` does not begin a variable");
                if let Some(d) = self.fault("bad-variable", span, message) {
                    d.help("write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`");
                }
            }
        }
    }

    fn expects_key(&self) -> bool {
        let state = self.frames.last().map(|frame| &frame.state);
        matches!(state, Some(State::Mapping { key: None, .. }))
    }

    fn key(&mut self, text: &str, span: Span, is_text: bool, plain: bool) {
        let Some(Frame { state: State::Mapping { seen, key, .. }, .. }) = self.frames.last_mut()
        else {
            return;
        };
        let first = seen.get(text).copied();
        let role = match first {
            Some(_) => Role::Forget,
            None if plain && text == "<<" => Role::Merge,
            None => Role::Keep,
        };
        if first.is_none() {
            seen.insert(text.to_owned(), span);
        }
        *key = Some(Key { text: text.to_owned(), span, is_text, role });
        if let Some(first) = first {
            let message = format_args!("the key {} is given twice", Quoted(text));
            let merge = plain && text == "<<";
            if let Some(d) = self.fault("duplicate-key", span, message) {
                d.related(first, "first given here");
                if merge {
                    d.help("merge several mappings with a list: `<<: [*a, *b]`");
                }
            }
        }
    }

    fn open(&mut self, state: State, anchor: usize, span: Span) -> Step {
        if self.frames.len() >= MAX_DEPTH {
            return self.too_deep(span);
        }
        if self.expects_key() {
            self.complex_key(span);
        }
        let (values_before, bytes_before) = (self.values, self.bytes);
        self.spend(1, 0, span)?;
        self.frames.push(Frame { state, span, anchor, values_before, bytes_before, height: 1 });
        ControlFlow::Continue(())
    }

    fn complex_key(&mut self, span: Span) {
        let message = format_args!("a key must be a string, not a list or a mapping");
        self.fault("complex-key", span, message);
    }

    fn close(&mut self) -> Step {
        let Some(frame) = self.frames.pop() else { return ControlFlow::Continue(()) };
        let kind = match frame.state {
            State::Sequence(items) => Kind::Sequence(items),
            State::Mapping { mut entries, mut seen, merges, .. } => {
                for merge in merges {
                    self.merge(merge, &mut entries, &mut seen, true);
                }
                Kind::Mapping(entries)
            }
        };
        let node = self.add(frame.span, kind);
        if frame.anchor != 0 {
            let values = self.values - frame.values_before;
            let bytes = self.bytes - frame.bytes_before;
            let anchored = Anchored { node, values, bytes, height: frame.height };
            self.anchors.insert(frame.anchor, anchored);
        }
        self.place(Item { node, span: frame.span }, frame.height);
        ControlFlow::Continue(())
    }

    /// Adds the entries of a merged mapping whose keys are not there yet.
    fn merge(
        &mut self,
        item: Item,
        entries: &mut Vec<Entry>,
        seen: &mut BTreeMap<String, Span>,
        list: bool,
    ) {
        match &self.nodes[item.node.0].kind {
            Kind::Mapping(merged) => {
                for entry in merged {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.key_span);
                        entries.push(entry.clone());
                    }
                }
            }
            Kind::Sequence(items) if list => {
                for item in items.clone() {
                    self.merge(item, entries, seen, false);
                }
            }
            Kind::Invalid => {}
            Kind::Scalar(_) | Kind::Sequence(_) => {
                let message = format_args!("`<<` takes a mapping or a list of mappings");
                self.fault("bad-merge", item.span, message);
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Step {
        let Some(anchored) = self.anchors.get(&id).copied() else {
            let message = format_args!("this alias stands inside what it names");
            self.fault("recursive-alias", span, message);
            let node = self.add(span, Kind::Invalid);
            self.place(Item { node, span }, 0);
            return ControlFlow::Continue(());
        };
        self.spend(anchored.values, anchored.bytes, span)?;
        if self.frames.len() + anchored.height > MAX_DEPTH {
            return self.too_deep(span);
        }
        if self.expects_key() {
            let key = match &self.nodes[anchored.node.0].kind {
                Kind::Scalar(scalar) => Some((scalar.text.clone(), scalar.form)),
                Kind::Sequence(_) | Kind::Mapping(_) | Kind::Invalid => None,
            };
            if let Some((text, form)) = key {
                let is_text = form == Form::Text || resolve(&text) == Resolved::Text;
                self.key(&text, span, is_text, false);
                return ControlFlow::Continue(());
            }
            self.complex_key(span);
        }
        self.place(Item { node: anchored.node, span }, anchored.height);
        ControlFlow::Continue(())
    }

    fn add(&mut self, span: Span, kind: Kind) -> NodeId {
        self.nodes.push(Node { span, kind });
        NodeId(self.nodes.len() - 1)
    }

    /// Puts a complete node where it belongs: the file, a list, a value, or a key that cannot be.
    fn place(&mut self, item: Item, height: usize) {
        let Some(frame) = self.frames.last_mut() else {
            self.root.get_or_insert(item);
            return;
        };
        frame.height = frame.height.max(height + 1);
        match &mut frame.state {
            State::Sequence(items) => items.push(item),
            State::Mapping { entries, merges, key, .. } => match key.take() {
                Some(Key { role: Role::Merge, .. }) => merges.push(item),
                Some(Key { role: Role::Forget, .. }) => {}
                Some(Key { text, span, is_text, role: Role::Keep }) => entries.push(Entry {
                    key: text,
                    key_span: span,
                    key_is_text: is_text,
                    value: item,
                }),
                None => {
                    let text = String::new();
                    let (span, role) = (item.span, Role::Forget);
                    *key = Some(Key { text, span, is_text: false, role });
                }
            },
        }
    }

    fn fault(
        &mut self,
        code: &'static str,
        span: Span,
        message: fmt::Arguments<'_>,
    ) -> Option<&mut Diagnostic> {
        let frames = &self.frames;
        self.sink.report(Severity::Error, code, span, || path(frames), message)
    }
}

/// The way to what is being read.
fn path(frames: &[Frame]) -> String {
    let mut path = String::new();
    for frame in frames {
        match &frame.state {
            State::Sequence(items) => path.push_str(&format!("[{}]", items.len())),
            State::Mapping { key: Some(key), .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&crate::reader::key_in_path(&key.text));
            }
            State::Mapping { key: None, .. } => {}
        }
    }
    path
}

/// The place of a byte of a scalar's text; the whole scalar where escapes or folding moved it.
fn within(span: Span, text: &str, style: ScalarStyle, at: usize) -> Span {
    let chars = narrow(text.chars().count());
    let quotes = u32::from(style != ScalarStyle::Plain);
    if span.end.saturating_sub(span.column) != chars.saturating_add(2 * quotes) {
        return span;
    }
    let before = narrow(text[..at].chars().count());
    let length = text[at..].find('}').map_or(2, |end| text[at..=at + end].chars().count());
    let column = span.column.saturating_add(quotes).saturating_add(before);
    Span { line: span.line, column, end: column.saturating_add(narrow(length)) }
}

fn to_span(span: granit_parser::Span) -> Span {
    let column = narrow(span.start.col().saturating_add(1));
    let end = if span.end.line() == span.start.line() {
        narrow(span.end.col().saturating_add(1))
    } else {
        u32::MAX
    };
    Span { line: narrow(span.start.line()), column, end }
}

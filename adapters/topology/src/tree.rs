//! A document in memory. Every value knows its place; what several aliases name is stored once.
//!
//! Nodes live in one vector, children before parents, so that nothing recurses to build or to drop
//! a tree.

/// A place on one line of a document. Columns count characters from 1; `end` is one past the last.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// One past the last column.
    pub end: u32,
}

/// An index into [`Tree::nodes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeId(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Item,
}

impl Tree {
    pub(crate) fn node(&self, item: Item) -> &Node {
        &self.nodes[item.node.0]
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Sequence(Vec<Item>),
    Mapping(Vec<Entry>),
    /// Already reported; whoever meets it says nothing more.
    Invalid,
}

/// The use of a node: where it stands, which for an alias is not where the node is.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub(crate) node: NodeId,
    pub(crate) span: Span,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    /// Whether the key is a string (a plain `5` or `true` is not).
    pub(crate) key_is_text: bool,
    pub(crate) value: Item,
}

impl Item {
    /// Where it stands.
    #[must_use]
    pub const fn span(self) -> Span {
        self.span
    }
}

impl Entry {
    /// The text of the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where the key stands.
    #[must_use]
    pub const fn key_span(&self) -> Span {
        self.key_span
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> Item {
        self.value
    }
}

#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) form: Form,
    /// Whether a variable was put in: then a plain scalar is also good where text is asked for.
    pub(crate) substituted: bool,
}

/// What says of which type a scalar is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Its text.
    Plain,
    /// Quotes, a block or `!!str`: it is text.
    Text,
    /// A tag of that name: its text must agree.
    Tagged(Tag),
}

/// The tags of YAML's core schema that ask something of a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tag {
    Null,
    Bool,
    Int,
    Float,
}

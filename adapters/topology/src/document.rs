//! Reading other YAML documents the way topology files are read.
//!
//! A document is parsed into a tree in which every value knows its place, and is then read by hand
//! with a [`Reader`], which reports what is wrong and where: unknown keys and words with a "did you
//! mean", keys given twice, values of a wrong type or out of range. A reader method that answers
//! `None` has reported why, so that its caller only goes on to the next value: all faults of a
//! document are found in one run. Topology files themselves are read through this module.
//!
//! The work is bounded by the [`Limits`] of the [`Format`]; what goes beyond them is refused with
//! its place as soon as it is reached, and costs no memory.
//!
//! ```
//! use std::time::Duration;
//! use lictor_topology::NoEnvironment;
//! use lictor_topology::document::{Format, Item, Limits, Reader, Schema, read};
//!
//! const ALARMS: Format =
//!     Format { holds: "alarm list", first_key: "alarms", limits: Limits::SMALL };
//! const FILE: Schema = Schema::new("an alarm list", &["alarms"]);
//! const ALARM: Schema = Schema::new("an alarm", &["after", "times"]);
//!
//! fn alarms(reader: &mut Reader<'_>, root: Item) -> Option<Vec<(Duration, u32)>> {
//!     let file = reader.fields(root, root.span(), &FILE)?;
//!     let list = |r: &mut Reader<'_>, item: Item| r.list(item, 1..=1_000, alarm);
//!     reader.required(&file, "alarms", list)
//! }
//!
//! fn alarm(reader: &mut Reader<'_>, item: Item) -> Option<(Duration, u32)> {
//!     let fields = reader.fields(item, item.span(), &ALARM)?;
//!     let after = reader.required(&fields, "after", |r, item| r.duration(item, true));
//!     let times = reader.field(&fields, "times", |r, item| r.whole(item, 1, 9)).or(1);
//!     Some((after?, times))
//! }
//!
//! let good = read("a.yaml", b"alarms: [{after: 10s}]", &ALARMS, &NoEnvironment, alarms);
//! assert_eq!(good.into_result().unwrap(), [(Duration::from_secs(10), 1)]);
//!
//! let bad = read("a.yaml", b"alarms: [{aftr: -1s, times: 0}]", &ALARMS, &NoEnvironment, alarms);
//! let faults = bad.into_result().unwrap_err();
//! let fault = faults.iter().next().unwrap();
//! assert_eq!((fault.line, fault.column, fault.code), (1, 11, "unknown-key"));
//! assert_eq!(fault.help.as_deref(), Some("did you mean `after`?"));
//! assert_eq!(faults.len(), 3, "what `aftr` holds and `times` are out of range, too");
//! ```

use crate::decode::decode;
use crate::diagnostic::{Diagnostics, Faults};
use crate::options::{Environment, Options};
use crate::parse::parse;
use crate::tree::Tree;
use crate::{MAX_BYTES, MAX_EXPANDED_BYTES, MAX_VALUES};

pub use crate::diagnostic::Quoted;
pub use crate::fields::{Field, Fields, Schema, Words};
pub use crate::reader::{Names, Reader};
pub use crate::text::{Line, lines};
pub use crate::tree::{Entry, Item, Span};

/// How much of a document is read before it is refused.
///
/// Nesting is bounded by [`MAX_DEPTH`](crate::MAX_DEPTH) in every document. A value costs about 150
/// bytes of memory while the document is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// How many values, keys included, there may be once aliases are expanded.
    pub values: usize,
    /// How many bytes of text there may be once aliases and variables are expanded.
    pub expanded_bytes: usize,
}

impl Limits {
    /// Those of topology files: 1 MiB, 600,000 values, 4 MiB expanded.
    pub const SMALL: Self =
        Self { bytes: MAX_BYTES, values: MAX_VALUES, expanded_bytes: MAX_EXPANDED_BYTES };

    /// For documents that programs write, such as plans of 100,000 entries: 32 MiB, 4 million
    /// values, 64 MiB expanded.
    pub const LARGE: Self = Self { bytes: 32 << 20, values: 4_000_000, expanded_bytes: 64 << 20 };

    /// The same limits with this many values, keys included.
    #[must_use]
    pub const fn values(self, values: usize) -> Self {
        Self { values, ..self }
    }

    /// The same limits with this many bytes of text, before and after expansion.
    #[must_use]
    pub const fn bytes(self, bytes: usize, expanded: usize) -> Self {
        Self { bytes, expanded_bytes: expanded, ..self }
    }
}

/// A kind of document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Format {
    /// What a file of it holds, without an article: `topology`.
    pub holds: &'static str,
    /// The key to begin with, for who gives an empty file.
    pub first_key: &'static str,
    /// How much is read.
    pub limits: Limits,
}

/// What [`read`] found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Read<T> {
    /// What the document says, unless there was an error.
    pub value: Option<T>,
    /// All errors and warnings, in the order of the document.
    pub diagnostics: Diagnostics,
}

impl<T> Read<T> {
    /// The value alone; warnings are dropped.
    ///
    /// # Errors
    /// Every fault of the document, errors and warnings, when at least one is an error.
    pub fn into_result(self) -> Result<T, Diagnostics> {
        self.value.ok_or(self.diagnostics)
    }
}

/// Reads one document: its text into a tree, and the tree with `read_root`, which is not called if
/// the text has no tree. A value that `read_root` gives after it has reported an error is dropped.
///
/// `file_name` only appears in diagnostics; nothing is opened.
pub fn read<T>(
    file_name: &str,
    text: &[u8],
    format: &Format,
    environment: &dyn Environment,
    read_root: impl for<'a> FnOnce(&mut Reader<'a>, Item) -> Option<T>,
) -> Read<T> {
    read_by(file_name, text, format, &Options::new(environment), read_root)
}

/// As [`read`], for documents that hold topologies: these are read by the options.
pub fn read_by<T>(
    file_name: &str,
    text: &[u8],
    format: &Format,
    options: &Options<'_>,
    read_root: impl for<'a> FnOnce(&mut Reader<'a>, Item) -> Option<T>,
) -> Read<T> {
    read_tree(file_name, text, format, options.environment, |tree, faults| {
        let mut reader = Reader::by(tree, faults, options);
        read_root(&mut reader, tree.root)
    })
}

/// As [`read`], for who makes the reader.
pub(crate) fn read_tree<T>(
    file_name: &str,
    text: &[u8],
    format: &Format,
    environment: &dyn Environment,
    read_root: impl FnOnce(&Tree, &mut Faults) -> Option<T>,
) -> Read<T> {
    let mut faults = Faults::default();
    let source = decode(text, format.limits.bytes, &mut faults);
    let tree = source.and_then(|source| parse(source, environment, format, &mut faults));
    let value = tree.as_ref().and_then(|tree| read_root(tree, &mut faults));
    let value = value.filter(|_| !faults.has_errors());
    let text = source.map_or_else(|| String::from_utf8_lossy(text), Into::into);
    Read { value, diagnostics: faults.finish(file_name, &text) }
}

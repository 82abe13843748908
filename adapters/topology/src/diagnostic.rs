//! Faults, and the list of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::render::{Style, lines_of, render};
use crate::tree::Span;

/// How many faults of one file are reported in full; the rest are counted.
pub const MAX_REPORTED: usize = 100;

/// Whether a fault makes the file useless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used; something in it surely is not what was meant.
    Warning,
}

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// The kind of fault, such as `unknown-key`. Codes do not change between versions.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// One past the last column of the fault on its first line.
    pub end_column: u32,
    /// The way to the value, such as `supervision.children[2].agent.name`; empty for a fault of the
    /// YAML itself.
    pub path: String,
    /// Other places that take part.
    pub related: Vec<Related>,
}

/// A place that takes part in a fault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Related {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// One past the last column.
    pub end_column: u32,
    /// Which part it takes.
    pub message: String,
}

/// All faults of a file, in its order.
///
/// `Display` renders them like rustc does, without colour. As JSON:
/// `{"file": .., "diagnostics": [..], "omitted": n}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostics {
    #[serde(rename = "file")]
    file_name: String,
    #[serde(rename = "diagnostics")]
    list: Vec<Diagnostic>,
    omitted: usize,
    /// The lines that are shown, by number.
    #[serde(skip)]
    lines: BTreeMap<u32, String>,
}

impl Diagnostics {
    /// The name of the file, as it was given.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The reported faults, by line and column; at most [`MAX_REPORTED`].
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many faults are reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no fault.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many more faults were found than are reported.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The faults as text with excerpts of the file. Nothing that the file contains reaches a
    /// terminal as a control character.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        render(self, &self.lines, style)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl std::error::Error for Diagnostics {}

/// Where faults are collected. Beyond the limit nothing is formatted, only counted.
#[derive(Default, Debug)]
pub(crate) struct Faults {
    list: Vec<Diagnostic>,
    errors: usize,
    omitted: usize,
}

impl Faults {
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Errors so far, those included that are only counted.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Whether further faults are only counted, so that looking for help is wasted.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MAX_REPORTED
    }

    /// Adds a fault, and gives it back for help to be added unless it is only counted.
    pub(crate) fn report(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Span,
        path: impl FnOnce() -> String,
        message: fmt::Arguments<'_>,
    ) -> Option<&mut Diagnostic> {
        self.errors += usize::from(severity == Severity::Error);
        if self.is_full() {
            self.omitted += 1;
            // An error is worth more than a warning.
            let warning = self.list.iter().position(|d| d.severity == Severity::Warning)?;
            if severity == Severity::Warning {
                return None;
            }
            self.list.remove(warning);
        }
        let message = message.to_string();
        let same = |d: &Diagnostic| {
            (d.line, d.column, d.code) == (span.line, span.column, code) && d.message == message
        };
        // What is behind an alias is read, and found faulty, once for each use.
        if self.list.iter().any(same) {
            return None;
        }
        self.list.push(Diagnostic {
            severity,
            code,
            message,
            help: None,
            line: span.line,
            column: span.column,
            end_column: span.end,
            path: path(),
            related: Vec::new(),
        });
        self.list.last_mut()
    }

    pub(crate) fn finish(mut self, file_name: &str, text: &str) -> Diagnostics {
        self.list.sort_by_key(|d| (d.line, d.column));
        let shown = |d: &Diagnostic| {
            let related: Vec<u32> = d.related.iter().map(|r| r.line).collect();
            std::iter::once(d.line).chain(related)
        };
        let lines = lines_of(text, self.list.iter().flat_map(shown).collect());
        let clamp = |line: u32, column: u32, end: u32| {
            let chars = lines.get(&line).map_or(0, |line| line.chars().count());
            let last = u32::try_from(chars).unwrap_or(u32::MAX).saturating_add(1);
            end.min(last).max(column.saturating_add(1))
        };
        for d in &mut self.list {
            d.end_column = clamp(d.line, d.column, d.end_column);
            for r in &mut d.related {
                r.end_column = clamp(r.line, r.column, r.end_column);
            }
        }
        let file_name = file_name.to_owned();
        Diagnostics { file_name, list: self.list, omitted: self.omitted, lines }
    }
}

impl Diagnostic {
    /// Adds what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a place that takes part, and which part it takes.
    pub fn related(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.related.push(Related {
            line: span.line,
            column: span.column,
            end_column: span.end,
            message: message.into(),
        });
        self
    }
}

/// Text of the file inside a message: in backquotes, escaped, cut at 60 characters.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'t>(pub &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        escaped(f, self.0, 60)?;
        f.write_str("`")
    }
}

/// What somebody else says of the file, which may repeat any text of it: escaped, cut when long.
pub(crate) struct Remark<'t>(pub(crate) &'t str);

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(f, self.0, 400)
    }
}

fn escaped(f: &mut fmt::Formatter<'_>, text: &str, shown: usize) -> fmt::Result {
    for c in text.chars().take(shown) {
        if matches!(c, '"' | '\'' | '\\') {
            write!(f, "{c}")?;
        } else {
            write!(f, "{}", c.escape_debug())?;
        }
    }
    f.write_str(if text.chars().nth(shown).is_some() { "…" } else { "" })
}

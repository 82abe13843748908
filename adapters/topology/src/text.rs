//! Documents that are lines of words instead of YAML, with the same faults.

use std::fmt;
use std::time::Duration;

use crate::decode::decode;
use crate::diagnostic::{Diagnostic, Faults, Quoted, Severity};
use crate::document::Read;
use crate::quantity::{QuantityFault, seconds, with_unit};
use crate::suggest::{list, nearest};
use crate::tree::Span;

/// One line: its words, split at white space, without a `#` comment. Never without a word.
#[derive(Debug)]
pub struct Line<'t, 'f> {
    words: Vec<(Span, &'t str)>,
    faults: &'f mut Faults,
}

/// Reads a text of lines with `read_line`, which is called for each line that has a word, and gives
/// what it gave. Lines beyond `most` and texts of more than `bytes` are refused.
///
/// ```
/// use lictor_topology::document::lines;
///
/// let text = b"# when it crashed\n1.5s tax\n-2s price\n";
/// let read = lines("crashes.log", text, 1_000, 1_000, |line| {
///     let at = line.duration(0)?;
///     Some((at, line.one_of(1, "agent", &["tax", "price"])?))
/// });
/// let faults = read.into_result().unwrap_err();
/// let fault = faults.iter().next().unwrap();
/// assert_eq!((fault.line, fault.column, fault.code), (3, 1, "out-of-range"));
/// ```
pub fn lines<T>(
    file_name: &str,
    text: &[u8],
    bytes: usize,
    most: usize,
    mut read_line: impl FnMut(&mut Line<'_, '_>) -> Option<T>,
) -> Read<Vec<T>> {
    let mut faults = Faults::default();
    let mut values = Vec::new();
    let source = decode(text, bytes, &mut faults);
    for (number, line) in (1..).zip(source.unwrap_or("").lines()) {
        let words = words_of(line, number);
        let Some((span, _)) = words.first() else { continue };
        if values.len() >= most {
            let message = format_args!("more than {most} entries");
            faults.report(Severity::Error, "too-much", *span, String::new, message);
            break;
        }
        let mut line = Line { words, faults: &mut faults };
        values.extend(read_line(&mut line));
    }
    let value = source.filter(|_| !faults.has_errors()).map(|_| values);
    let text = source.map_or_else(|| String::from_utf8_lossy(text), Into::into);
    Read { value, diagnostics: faults.finish(file_name, &text) }
}

fn words_of(line: &str, number: u32) -> Vec<(Span, &str)> {
    let mut words: Vec<(Span, &str)> = Vec::new();
    let mut begun: Option<(usize, u32)> = None;
    let mut column: u32 = 1;
    for (at, c) in line.char_indices() {
        let ends = c.is_whitespace() || (c == '#' && begun.is_none());
        match (begun, ends) {
            (None, false) => begun = Some((at, column)),
            (Some((from, first)), true) => {
                let span = Span { line: number, column: first, end: column };
                words.push((span, &line[from..at]));
                begun = None;
            }
            (None | Some(_), _) => {}
        }
        if c == '#' && begun.is_none() {
            return words;
        }
        column = column.saturating_add(1);
    }
    if let Some((from, first)) = begun {
        let span = Span { line: number, column: first, end: column };
        words.push((span, &line[from..]));
    }
    words
}

impl Line<'_, '_> {
    /// How many words there are; at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word, which [`lines`] leaves out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A word by its index from 0.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(|(_, word)| *word)
    }

    /// Where a word is; the last one if there are not so many.
    #[must_use]
    pub fn span(&self, index: usize) -> Span {
        self.words
            .get(index)
            .or_else(|| self.words.last())
            .map_or_else(Span::default, |(span, _)| *span)
    }

    /// Reports a fault, and gives it back for help to be added unless it is only counted.
    pub fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: fmt::Arguments<'_>,
    ) -> Option<&mut Diagnostic> {
        self.faults.report(Severity::Error, code, span, String::new, message)
    }

    /// The duration that a word is: seconds, or a number with a unit. At most 100 years.
    pub fn duration(&mut self, index: usize) -> Option<Duration> {
        let word = self.word(index).unwrap_or("").to_owned();
        let read = match seconds(&word) {
            Err(QuantityFault::NotANumber) => with_unit(&word),
            read => read,
        };
        let (code, must_be) = match read {
            Ok(duration) => return Some(duration),
            Err(QuantityFault::Negative) => ("out-of-range", "must not be negative"),
            Err(QuantityFault::TooLong) => ("out-of-range", "must be at most 100 years"),
            Err(QuantityFault::NotANumber) => ("wrong-type", "is not a duration"),
        };
        let message = format_args!("{} {must_be}", Quoted(&word));
        if let Some(d) = self.error(code, self.span(index), message) {
            d.help("write seconds as a plain number (`1.5`), or a unit: `500ms`, `10s`, `2m`");
        }
        None
    }

    /// The index of a word among those that are known; `what` says what they are.
    pub fn one_of(&mut self, index: usize, what: &str, known: &[&str]) -> Option<usize> {
        let word = self.word(index)?;
        if let Some(found) = known.iter().position(|name| *name == word) {
            return Some(found);
        }
        let word = word.to_owned();
        let full = self.faults.is_full();
        let meant = if full { None } else { nearest(&word, known.iter().copied()) };
        let message = format_args!("unknown {what} {}", Quoted(&word));
        if let Some(d) = self.error("unknown-name", self.span(index), message) {
            match meant {
                Some(meant) => d.help(format!("did you mean `{meant}`?")),
                None if known.is_empty() => d,
                None => d.help(format!("known: {}", list(&known[..known.len().min(12)]))),
            };
        }
        None
    }
}

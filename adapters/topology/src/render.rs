//! Faults as text, the way rustc shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};

/// With or without colour.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Style {
    /// Text only.
    #[default]
    Plain,
    /// Text with ANSI colours.
    Ansi,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

impl Style {
    fn paint(self, colour: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("{colour}{text}{RESET}"),
        }
    }
}

/// The lines with the given numbers, without their line breaks.
pub(crate) fn lines_of(text: &str, mut wanted: BTreeSet<u32>) -> BTreeMap<u32, String> {
    let mut lines = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    for number in 1.. {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        if wanted.remove(&number) {
            lines.insert(number, rest[..end].to_owned());
        }
        if wanted.is_empty() || end == rest.len() {
            break;
        }
        let break_length = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + break_length..];
    }
    lines
}

pub(crate) fn render(
    diagnostics: &Diagnostics,
    lines: &BTreeMap<u32, String>,
    style: Style,
) -> String {
    let mut page = Page { file: diagnostics.file_name(), lines, style, out: String::new() };
    for diagnostic in diagnostics {
        page.diagnostic(diagnostic);
    }
    page.summary(diagnostics);
    page.out
}

struct Page<'a> {
    file: &'a str,
    lines: &'a BTreeMap<u32, String>,
    style: Style,
    out: String,
}

impl Page<'_> {
    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        let (colour, word) = match diagnostic.severity {
            Severity::Error => (RED, "error"),
            Severity::Warning => (YELLOW, "warning"),
        };
        let head = self.style.paint(colour, &format!("{word}[{}]", diagnostic.code));
        let message = self.style.paint(BOLD, &format!(": {}", diagnostic.message));
        self.line(&format!("{head}{message}"));
        let deepest = diagnostic.related.iter().map(|r| r.line).max().unwrap_or(0);
        let margin = digits(diagnostic.line.max(deepest));
        let (column, end) = (diagnostic.column, diagnostic.end_column);
        self.excerpt(margin, diagnostic.line, column, end, colour);
        for (word, text) in [("help", diagnostic.help.as_deref()), ("path", Some(&diagnostic.path))]
        {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                let bar = self.style.paint(BLUE, "=");
                let word = self.style.paint(BOLD, &format!("{word}:"));
                self.line(&format!("{:margin$} {bar} {word} {text}", ""));
            }
        }
        for related in &diagnostic.related {
            let word = self.style.paint(BOLD, "note:");
            self.line(&format!("{word} {}", related.message));
            self.excerpt(margin, related.line, related.column, related.end_column, BLUE);
        }
        self.line("");
    }

    fn excerpt(&mut self, margin: usize, line: u32, column: u32, end: u32, colour: &str) {
        let arrow = self.style.paint(BLUE, "-->");
        self.line(&format!("{:margin$}{arrow} {}:{line}:{column}", "", self.file));
        let Some(text) = self.lines.get(&line) else { return };
        let bar = self.style.paint(BLUE, "|");
        let number = self.style.paint(BLUE, &format!("{line:margin$}"));
        let (shown, offset) = window(text, column);
        let room = shown.chars().count().saturating_sub(offset).max(1);
        let width = usize::try_from(end.saturating_sub(column)).unwrap_or(usize::MAX);
        let carets = self.style.paint(colour, &"^".repeat(width.clamp(1, room)));
        self.line(&format!("{:margin$} {bar}", ""));
        self.line(&format!("{number} {bar} {shown}"));
        self.line(&format!("{:margin$} {bar} {:offset$}{carets}", "", ""));
    }

    fn summary(&mut self, diagnostics: &Diagnostics) {
        let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let plural = |n: usize, word: &str| match n {
            1 => format!("1 {word}"),
            _ => format!("{n} {word}s"),
        };
        let mut text = match (errors, warnings) {
            (0, 0) => return,
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => {
                format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"))
            }
        };
        if diagnostics.omitted() > 0 {
            let _ = write!(text, ", and {} more that are not shown", diagnostics.omitted());
        }
        self.line(&format!("{}: {text}", self.file));
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }
}

fn digits(number: u32) -> usize {
    number.to_string().len()
}

/// The part of a line around a column, safe to print, and where the column stands in it.
fn window(line: &str, column: u32) -> (String, usize) {
    const WIDTH: usize = 110;
    const BEFORE: usize = 60;
    let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
    let chars = line.chars().count();
    let start = if chars <= WIDTH { 0 } else { column.min(chars).saturating_sub(BEFORE) };
    let mut shown = String::new();
    if start > 0 {
        shown.push('…');
    }
    shown.extend(line.chars().skip(start).take(WIDTH).map(printable));
    if chars > start + WIDTH {
        shown.push('…');
    }
    let offset = column.saturating_sub(start) + usize::from(start > 0);
    (shown, offset.min(WIDTH + 2))
}

/// Each character takes one column, and none of them commands the terminal.
fn printable(c: char) -> char {
    let reorders = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}');
    match c {
        '\t' => ' ',
        _ if c.is_control() || reorders => '\u{fffd}',
        _ => c,
    }
}

//! Bytes to text.

use std::fmt;

use crate::diagnostic::{Faults, Severity};
use crate::tree::Span;

/// At most `most` bytes to text, without a byte-order mark.
pub(crate) fn decode<'t>(bytes: &'t [u8], most: usize, sink: &mut Faults) -> Option<&'t str> {
    let mut fault = |code, span, message: fmt::Arguments<'_>, help: &str| {
        if let Some(d) = sink.report(Severity::Error, code, span, String::new, message) {
            d.help(help);
        }
    };
    let start = Span { line: 1, column: 1, end: 2 };
    if bytes.len() > most {
        let message = format_args!("the file has more than {most} bytes");
        fault("too-large", start, message, "split the file, or move data out of it");
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let (valid, _) = bytes.split_at(error.valid_up_to());
            let valid = String::from_utf8_lossy(valid);
            let last = valid.rsplit('\n').next().unwrap_or("");
            let line = narrow(valid.matches('\n').count() + 1);
            let column = narrow(last.chars().count() + 1);
            let span = Span { line, column, end: column.saturating_add(1) };
            fault("not-utf-8", span, format_args!("the file is not UTF-8"), "save it as UTF-8");
            None
        }
    }
}

pub(crate) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

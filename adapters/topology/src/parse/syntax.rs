//! Faults of the YAML itself, and what to do about them.

use granit_parser::ErrorKind;

use super::Builder;
use crate::tree::Span;

pub(super) fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::UnexpectedCharacter { character: '\t' }
    )
}

pub(super) fn syntax_help(kind: &ErrorKind) -> Option<&'static str> {
    if is_tab(kind) {
        Some("indent with spaces")
    } else if matches!(kind, ErrorKind::MappingValueNotAllowed) {
        Some("quote a value that contains `: `, and check the indentation")
    } else if matches!(
        kind,
        ErrorKind::InvalidIndentation
            | ErrorKind::ExpectedBlockMappingKey
            | ErrorKind::ExpectedBlockSequenceEntry
            | ErrorKind::SimpleKeyExpected
    ) {
        Some("check the indentation of this line and the one before, and that a `:` ends the key")
    } else if matches!(
        kind,
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator
    ) {
        Some("inside `{}` and `[]`, quote a value with `${VAR}` or with one of `,[]{}`")
    } else if matches!(kind, ErrorKind::UnexpectedCharacter { .. }) {
        Some("quote the value")
    } else {
        None
    }
}

impl Builder<'_> {
    /// Reports the innermost bracket that is open, instead of a fault behind it, where it cannot be
    /// meant to be open still: the line of the fault is no deeper than that of the bracket, so
    /// block structure has gone on there.
    pub(super) fn is_unclosed(&mut self, fault: Span) -> bool {
        let Some((bracket, opened)) = self.innermost(fault.line) else { return false };
        let message = format_args!("this `{bracket}` is not closed");
        if let Some(d) = self.fault("syntax", opened, message) {
            let closing = if bracket == '{' { '}' } else { ']' };
            d.help(format!("close it with `{closing}` before line {}", fault.line));
            d.related(fault, "this is read as if it stood inside");
        }
        true
    }

    fn innermost(&self, line: u32) -> Option<(char, Span)> {
        let source = self.source;
        let at = |line: u32| {
            let text = source.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
            let depth = text.chars().take_while(|c| *c == ' ').count();
            Some((text, depth)).filter(|_| !text.trim().is_empty())
        };
        let span = self.frames.last()?.span;
        let (_, depth) = at(line)?;
        let (text, left) = at(span.line)?;
        let column = usize::try_from(span.column).ok()?.checked_sub(1)?;
        let bracket = text.chars().nth(column).filter(|c| matches!(c, '{' | '['))?;
        // One that begins its line may have lines beside it.
        (span.line < line && depth <= left && column > left).then_some((bracket, span))
    }
}

//! Faults of the YAML itself, and what to do about them.

use granit_parser::ErrorKind;

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

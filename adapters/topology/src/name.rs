//! The grammar of names, safe for topics, subjects and durable names.

use std::fmt;

/// Whether `name` may name a supervisor or an agent: 1 to 255 ASCII letters, digits, `_`, `-` and
/// `.`; not starting with `_` (reserved for the runtime); no empty part between dots.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    fault_of(name).is_none()
}

/// What is wrong with a name.
pub(crate) enum NameFault {
    Empty,
    TooLong(usize),
    Character(char),
    Reserved,
    EmptyPart,
}

pub(crate) fn fault_of(name: &str) -> Option<NameFault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() {
        Some(NameFault::Empty)
    } else if name.len() > 255 {
        Some(NameFault::TooLong(name.len()))
    } else if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        Some(NameFault::Character(c))
    } else if name.starts_with('_') {
        Some(NameFault::Reserved)
    } else if name.split('.').any(str::is_empty) {
        Some(NameFault::EmptyPart)
    } else {
        None
    }
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong(bytes) => write!(f, "it is {bytes} bytes long, and 255 are allowed"),
            Self::Character(c) => write!(f, "it contains {c:?}"),
            Self::Reserved => f.write_str("names that start with `_` belong to the runtime"),
            Self::EmptyPart => f.write_str("there is nothing on one side of a dot"),
        }
    }
}

//! `${VAR}` and `${VAR:-default}` in values; `$${` is a literal `${`.

use crate::options::Environment;

/// What is wrong with one `${`.
pub(crate) enum VariableFault<'t> {
    /// Not set, and there is no default.
    Unset(&'t str),
    /// No name, or no closing brace.
    Malformed,
}

/// Puts the variables in. `fault` is told where (in bytes) and what; then the result is `None`.
pub(crate) fn substitute<'t>(
    text: &'t str,
    environment: &dyn Environment,
    mut fault: impl FnMut(usize, VariableFault<'t>),
) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut whole = true;
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        let before = &rest[..dollar];
        let body = &rest[dollar + 2..];
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = body;
            continue;
        }
        result.push_str(before);
        let at = text.len() - rest.len() + dollar;
        rest = match reference(body) {
            Some((name, default, after)) => {
                // As in a shell, the default also stands in for an empty value.
                let value = environment.variable(name);
                match (value, default) {
                    (Some(value), None) => result.push_str(&value),
                    (Some(value), Some(_)) if !value.is_empty() => result.push_str(&value),
                    (Some(_) | None, Some(default)) => result.push_str(default),
                    (None, None) => {
                        whole = false;
                        fault(at, VariableFault::Unset(name));
                    }
                }
                after
            }
            None => {
                whole = false;
                fault(at, VariableFault::Malformed);
                body
            }
        };
    }
    result.push_str(rest);
    whole.then_some(result)
}

/// `NAME}` or `NAME:-default}`, and what follows.
fn reference(body: &str) -> Option<(&str, Option<&str>, &str)> {
    let name_ends = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, tail) = body.split_at(name_ends);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(after) = tail.strip_prefix('}') {
        return Some((name, None, after));
    }
    let tail = tail.strip_prefix(":-")?;
    // A default ends before the next variable begins. Looking for its end beyond that would read
    // the rest of a file of `${A:-${A:-...` once for each of them.
    let next = tail.find("${").unwrap_or(tail.len());
    let (default, _) = tail[..next].split_once('}')?;
    Some((name, Some(default), &tail[default.len() + 1..]))
}

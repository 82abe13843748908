//! Patterns over names, as Python's `fnmatch` reads them.
//!
//! The pattern is cut into tokens once; a match walks pattern and name with two cursors and
//! remembers only the last `*`, because an earlier `*` never has to take more than it did. So there
//! is no backtracking tree to blow up: `a*a*a*…b` costs at most pattern times name. A translation
//! into a regular expression, which `fnmatch` makes, would bring an engine and its limits along.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The greatest length of a pattern, in bytes.
pub const GLOB_BYTES_MAX: usize = 512;

/// Why a text is not a pattern. Every text within the length limit is one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum GlobError {
    /// It has more than [`GLOB_BYTES_MAX`] bytes.
    TooLong,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a pattern has at most {GLOB_BYTES_MAX} bytes"),
        }
    }
}

impl core::error::Error for GlobError {}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Token {
    /// This character.
    Literal(char),
    /// `?`: any one character.
    One,
    /// `*`: any number of characters; never two in a row.
    Any,
    /// `[…]`: one character within (or, negated, outside) these closed ranges.
    Set { negated: bool, ranges: Box<[(char, char)]> },
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One => true,
            Self::Any => false,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// A pattern over names: `*`, `?`, `[seq]`, `[!seq]`, with ranges as in `[a-z]`. (G1)
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Glob {
    tokens: Box<[Token]>,
    prefix: Box<str>,
    matches_system: bool,
}

impl Glob {
    /// Reads a pattern. `*` also takes dots, letters are case-sensitive, a `[` that is not closed
    /// is itself, a `]` that comes first in a set belongs to it. `O(pattern)`.
    ///
    /// # Errors
    /// [`GlobError::TooLong`] above [`GLOB_BYTES_MAX`] bytes.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        if pattern.len() > GLOB_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        let mut tokens: Vec<Token> = Vec::new();
        let mut rest = pattern;
        // Once one `[` stays open, all later ones do: without this the scan would be quadratic.
        let mut sets_close = true;
        while let Some(c) = rest.chars().next() {
            let mut after = rest.get(c.len_utf8()..).unwrap_or("");
            let token = match c {
                '*' => Token::Any,
                '?' => Token::One,
                '[' if sets_close => match set(after) {
                    Some((token, tail)) => {
                        after = tail;
                        token
                    }
                    None => {
                        sets_close = after.contains(']');
                        Token::Literal(c)
                    }
                },
                _ => Token::Literal(c),
            };
            if token != Token::Any || tokens.last() != Some(&Token::Any) {
                tokens.push(token);
            }
            rest = after;
        }
        let prefix: String = tokens.iter().map_while(literal).collect();
        let matches_system = pattern.starts_with('_');
        Ok(Self { tokens: tokens.into(), prefix: prefix.into(), matches_system })
    }

    /// Says whether the whole of `name` matches. A name that starts with `_` matches only a pattern
    /// that itself starts with `_`. At most `O(pattern * name)`, no allocation. (G2, G3)
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.search(name, || {})
    }

    /// The literal text that every match starts with, possibly empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn search(&self, name: &str, mut step: impl FnMut()) -> bool {
        if name.starts_with('_') && !self.matches_system {
            return false;
        }
        let mut tokens = self.tokens.iter();
        let mut text = name.chars();
        // Where to go on after the last `*` has taken one more character.
        let mut resume: Option<(core::slice::Iter<'_, Token>, core::str::Chars<'_>)> = None;
        loop {
            step();
            let mut ahead = text.clone();
            let mut tokens_ahead = tokens.clone();
            match (tokens_ahead.next(), ahead.next()) {
                (None, None) => return true,
                (Some(Token::Any), _) => {
                    resume = Some((tokens_ahead.clone(), text.clone()));
                    tokens = tokens_ahead;
                    continue;
                }
                (Some(token), Some(c)) if token.accepts(c) => {
                    text = ahead;
                    tokens = tokens_ahead;
                    continue;
                }
                (Some(_) | None, _) => {}
            }
            let Some((after_star, from)) = &mut resume else { return false };
            if from.next().is_none() {
                return false;
            }
            text = from.clone();
            tokens = after_star.clone();
        }
    }
}

fn literal(token: &Token) -> Option<char> {
    match token {
        Token::Literal(c) => Some(*c),
        Token::One | Token::Any | Token::Set { .. } => None,
    }
}

/// Reads a set after its `[`, and returns it with what follows its `]`; `None` if it is not closed.
fn set(body: &str) -> Option<(Token, &str)> {
    let (negated, body) = match body.strip_prefix('!') {
        Some(body) => (true, body),
        None => (false, body),
    };
    // A `]` in the first place is a member.
    let leading = usize::from(body.starts_with(']'));
    let close = body.get(leading..)?.find(']')?.saturating_add(leading);
    let members = body.get(..close)?;
    let tail = body.get(close..)?.strip_prefix(']')?;
    let mut ranges = Vec::new();
    let mut members = members.chars();
    while let Some(low) = members.next() {
        let mut ahead = members.clone();
        let range = (ahead.next() == Some('-')).then(|| ahead.next()).flatten();
        if range.is_some() {
            members = ahead;
        }
        // A range that runs backwards holds nothing, as in `fnmatch`.
        ranges.push((low, range.unwrap_or(low)));
    }
    Some((Token::Set { negated, ranges: ranges.into() }, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule: G3
    #[test]
    fn work_is_bounded_by_pattern_times_name() {
        let pattern = "a*".repeat(GLOB_BYTES_MAX / 2 - 1) + "b";
        let glob = Glob::new(&pattern).unwrap();
        let name = "a".repeat(10_000);
        let mut steps = 0_usize;
        assert!(!glob.search(&name, || steps += 1));
        assert!(steps <= 2 * (glob.tokens.len() + 1) * (name.len() + 1), "{steps}");
        let mut steps = 0_usize;
        let glob = Glob::new(&("*".repeat(GLOB_BYTES_MAX - 1) + "b")).unwrap();
        assert!(!glob.search(&name, || steps += 1));
        assert!(steps <= 4 * (name.len() + 1), "{steps}");
    }

    #[test]
    fn the_prefix_is_what_comes_before_the_first_special() {
        for (pattern, prefix) in [("a.b*", "a.b"), ("*", ""), ("a[b", "a[b"), ("a[b]c", "a")] {
            assert_eq!(Glob::new(pattern).unwrap().prefix(), prefix);
        }
    }
}

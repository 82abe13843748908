//! Globs against a naive recursive matcher over all small patterns and names.

use lictor_kernel::{GLOB_BYTES_MAX, Glob, GlobError};
use proptest::prelude::*;

/// The plainest reading of `fnmatch`, with no thought of cost.
fn naive(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|taken| naive(rest, &name[taken..])),
        '?' => !name.is_empty() && naive(rest, &name[1..]),
        '[' => match close(rest) {
            Some(end) => {
                !name.is_empty()
                    && in_set(&rest[..end], name[0])
                    && naive(&rest[end + 1..], &name[1..])
            }
            None => name.first() == Some(&'[') && naive(rest, &name[1..]),
        },
        c => name.first() == Some(c) && naive(rest, &name[1..]),
    }
}

fn close(body: &[char]) -> Option<usize> {
    let from = usize::from(body.first() == Some(&'!')) + 1;
    (from..body.len()).find(|at| body[*at] == ']')
}

fn in_set(body: &[char], c: char) -> bool {
    if body[0] == '!' {
        return !in_members(&body[1..], c);
    }
    in_members(body, c)
}

fn in_members(members: &[char], c: char) -> bool {
    match members {
        [low, '-', high, rest @ ..] => (*low <= c && c <= *high) || in_members(rest, c),
        [one, rest @ ..] => *one == c || in_members(rest, c),
        [] => false,
    }
}

fn model(pattern: &str, name: &str) -> bool {
    if name.starts_with('_') && !pattern.starts_with('_') {
        return false;
    }
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    naive(&chars(pattern), &chars(name))
}

/// All texts over an alphabet of at most `length` characters.
fn texts(alphabet: &str, length: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..length {
        last = last.iter().flat_map(|t| alphabet.chars().map(move |c| format!("{t}{c}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn agree(patterns: &[String], names: &[String]) {
    for pattern in patterns {
        let glob = Glob::new(pattern).expect("short enough");
        for name in names {
            assert_eq!(glob.matches(name), model(pattern, name), "{pattern:?} on {name:?}");
            assert!(!glob.matches(name) || name.starts_with(glob.prefix()), "{pattern:?}");
        }
    }
}

// Rules: G1, G2
#[test]
fn all_small_wildcards_agree_with_the_naive_matcher() {
    agree(&texts("ab*?_", 5), &texts("ab._", 4));
}

// Rule: G1
#[test]
fn all_small_sets_agree_with_the_naive_matcher() {
    agree(&texts("[]!-ac", 6), &texts("ab[]-!", 2));
    let sets: Vec<_> = texts("]!-ac*", 3).into_iter().map(|t| format!("[{t}]*a")).collect();
    agree(&sets, &texts("ab]-", 4));
}

// Rules: G1, G2
#[test]
fn examples_from_fnmatch() {
    for (pattern, name, expected) in [
        ("*", "a.b.c", true),
        ("*", "_system", false),
        ("_*", "_system", true),
        ("[_]*", "_system", false),
        ("?system", "_system", false),
        ("A*", "a", false),
        ("worker.[0-9]", "worker.7", true),
        ("worker.[!0-9]", "worker.7", false),
        ("[", "[", true),
        ("[]", "[]", true),
        ("[!]", "[!]", true),
        ("[]]", "]", true),
        ("[!]]", "a", true),
        ("[z-a]", "m", false),
        ("[!z-a]", "m", true),
        ("[z-a!x]", "!", true),
        ("[z-a!x]", "b", false),
        ("[a-]", "-", true),
        ("[é-ü]", "ö", true),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(Glob::new(pattern).unwrap().matches(name), expected, "{pattern:?} on {name:?}");
    }
}

// Rule: G3
#[test]
fn a_pattern_that_blows_up_backtracking_ends() {
    let name = "a".repeat(5_000);
    let glob = Glob::new(&("a*".repeat(GLOB_BYTES_MAX / 2 - 1) + "b")).unwrap();
    assert!(!glob.matches(&name));
    assert!(glob.matches(&(name + "b")));
    let open = Glob::new(&"[".repeat(GLOB_BYTES_MAX)).unwrap();
    assert!(open.matches(&"[".repeat(GLOB_BYTES_MAX)));
    assert_eq!(Glob::new(&"*".repeat(GLOB_BYTES_MAX + 1)), Err(GlobError::TooLong));
}

proptest! {
    // Rule: G1
    #[test]
    fn longer_ones_agree_too(pattern in "[a-c*?!é\\[\\]-]{0,10}", name in "[a-cé\\]-]{0,8}") {
        prop_assert_eq!(Glob::new(&pattern).unwrap().matches(&name), model(&pattern, &name));
    }
}

//! Names: the grammar, and the table against a list of pairs.

use lictor_kernel::{InternError, NAME_BYTES_MAX, NameError, NameId, Names};
use proptest::prelude::*;

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-".contains(c)
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.split('.').all(|token| !token.is_empty() && token.chars().all(allowed))
}

proptest! {
    // Rules: N1, N2
    #[test]
    fn the_grammar_is_tokens_between_dots(text in "[aZ9_.*>/ é\u{0}-]{0,12}") {
        prop_assert_eq!(Names::check_system(&text).is_ok(), is_name(&text));
        let reserved = text.starts_with('_');
        prop_assert_eq!(Names::check(&text).is_ok(), is_name(&text) && !reserved);
    }

    // Rule: N1
    #[test]
    fn any_text_is_judged_without_a_panic(text in ".*") {
        prop_assert_eq!(Names::check_system(&text).is_ok(), is_name(&text));
    }

    // Rules: N3, N4
    #[test]
    fn the_table_is_a_list_of_pairs(
        ops in prop::collection::vec((0..5_u8, 0..8_usize), 0..60),
        limit in 0..5_usize,
    ) {
        const TEXTS: [&str; 8] = ["a", "a.b", "a.c", "b", "_a", "_a.b", "", "a..b"];
        let mut names = Names::new(limit);
        let mut model: Vec<(&str, NameId)> = Vec::new();
        let mut given = 0_u32;
        for (op, which) in ops {
            let text = TEXTS[which];
            let known = model.iter().find(|pair| pair.0 == text).map(|pair| pair.1);
            if op == 4 {
                let id = NameId(u32::try_from(which).unwrap());
                let was = model.iter().position(|pair| pair.1 == id);
                prop_assert_eq!(names.remove(id), was.is_some());
                was.map(|at| model.remove(at));
            } else {
                let system = op == 3;
                let result =
                    if system { names.intern_system(text) } else { names.intern(text) };
                let check = if system { Names::check_system(text) } else { Names::check(text) };
                let expected = match (check, known) {
                    (Err(error), _) => Err(InternError::Name(error)),
                    (Ok(()), Some(id)) => Ok(id),
                    (Ok(()), None) if model.len() >= limit => Err(InternError::TooManyNames),
                    (Ok(()), None) => {
                        model.push((text, NameId(given)));
                        given += 1;
                        Ok(NameId(given - 1))
                    }
                };
                prop_assert_eq!(result, expected);
            }
            prop_assert_eq!(names.len(), model.len());
            prop_assert_eq!(names.is_empty(), model.is_empty());
            for (text, id) in &model {
                prop_assert_eq!(names.lookup(text), Some(*id));
                prop_assert_eq!(names.resolve(*id), Some(*text));
            }
            for prefix in ["", "a", "a.", "_", "z"] {
                let mut expected: Vec<_> =
                    model.iter().filter(|pair| pair.0.starts_with(prefix)).copied().collect();
                expected.sort_unstable();
                prop_assert_eq!(names.with_prefix(prefix).collect::<Vec<_>>(), expected);
            }
        }
    }
}

// Rules: N1, N2
#[test]
fn each_fault_is_named_with_its_place() {
    let long = "a".repeat(NAME_BYTES_MAX);
    for (text, expected) in [
        ("", Err(NameError::Empty)),
        (long.as_str(), Ok(())),
        (&(long.clone() + "a"), Err(NameError::TooLong)),
        ("a b", Err(NameError::Character { at: 1 })),
        ("aé", Err(NameError::Character { at: 1 })),
        ("a.*", Err(NameError::Character { at: 2 })),
        ("a/b", Err(NameError::Character { at: 1 })),
        (".", Err(NameError::EmptyToken { at: 0 })),
        ("..", Err(NameError::EmptyToken { at: 0 })),
        (".a", Err(NameError::EmptyToken { at: 0 })),
        ("a.", Err(NameError::EmptyToken { at: 2 })),
        ("a..b", Err(NameError::EmptyToken { at: 2 })),
        ("_a", Err(NameError::Reserved)),
        ("a._b", Ok(())),
    ] {
        assert_eq!(Names::check(text), expected, "{text:?}");
    }
    assert_eq!(Names::check_system("_reply.0190-ab"), Ok(()));
}

// Rule: N4
#[test]
fn an_id_is_never_given_to_a_second_name() {
    let mut names = Names::starting_at(NameId(u32::MAX - 1), 10);
    let first = names.intern("a").unwrap();
    assert!(names.remove(first));
    assert!(!names.remove(first));
    let second = names.intern("b").unwrap();
    assert_eq!((first, second), (NameId(u32::MAX - 1), NameId(u32::MAX)));
    assert_eq!(names.resolve(first), None);
    assert!(names.remove(second));
    assert_eq!(names.intern("c"), Err(InternError::IdsExhausted));
}

// Rule: N3
#[test]
fn a_hundred_thousand_names() {
    let mut names = Names::new(100_000);
    for n in 0..100_000_u32 {
        assert_eq!(names.intern(&format!("agent.{n}")), Ok(NameId(n)));
    }
    assert_eq!(names.intern("more"), Err(InternError::TooManyNames));
    assert_eq!(names.intern("agent.7"), Ok(NameId(7)));
    assert_eq!(names.with_prefix("agent.9999").count(), 11);
}

// Rule: N5
#[test]
fn a_capability_is_free_text_without_control_characters() {
    let mut tags = Names::new(10);
    for tag in ["text.summarize", "a/b c", "_x", "..", "größe"] {
        let id = tags.intern_tag(tag).unwrap();
        assert_eq!(tags.resolve(id), Some(tag));
        assert_eq!(tags.intern_tag(tag), Ok(id));
    }
    assert_eq!(tags.intern_tag(""), Err(InternError::Name(NameError::Empty)));
    assert_eq!(tags.intern_tag("a\u{7}"), Err(InternError::Name(NameError::Character { at: 1 })));
    let long = "x".repeat(256);
    assert_eq!(tags.intern_tag(&long), Err(InternError::Name(NameError::TooLong)));
}

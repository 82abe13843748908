//! The names of durable consumers.
//!
//! A durable's name may hold no dot, and lasts: two agents that share one would take each other's
//! messages. So what stands for a name stands for no other: `_` is written `__` and `.` is `_-`,
//! and whatever else a name may hold stays as it is.

/// The longest name of a durable that a server takes, in bytes.
const DURABLE_BYTES_MAX: usize = 255;

/// The name of the durable of an agent; `None` if it would be too long, or the name is none.
pub(super) fn durable_name(name: &str) -> Option<String> {
    let mut durable = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        match byte {
            b'_' => durable.push_str("__"),
            b'.' => durable.push_str("_-"),
            b'-' => durable.push('-'),
            _ if byte.is_ascii_alphanumeric() => durable.push(char::from(byte)),
            _ => return None,
        }
    }
    (!durable.is_empty() && durable.len() <= DURABLE_BYTES_MAX).then_some(durable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lictor_kernel::Names;
    use proptest::prelude::*;

    use super::*;

    /// The name that a durable stands for.
    fn name_of(durable: &str) -> Option<String> {
        let mut name = String::new();
        let mut rest = durable.chars();
        while let Some(letter) = rest.next() {
            name.push(match letter {
                '_' => match rest.next()? {
                    '_' => '_',
                    '-' => '.',
                    _ => return None,
                },
                letter => letter,
            });
        }
        Some(name)
    }

    proptest! {
        // Defect: N6
        #[test]
        fn a_durable_stands_for_one_name(name in "[a-c._-]{1,12}") {
            prop_assume!(Names::check_system(&name).is_ok());
            let durable = durable_name(&name).expect("it is short");
            prop_assert!(!durable.contains('.'));
            prop_assert_eq!(name_of(&durable), Some(name));
        }
    }

    // Defect: N6
    #[test]
    fn short_names_never_collide() {
        let letters = ['a', '.', '-', '_'];
        let mut seen = BTreeMap::new();
        for number in 0..4_usize.pow(6) {
            let name: String = (0..6).map(|at| letters[number / 4_usize.pow(at) % 4]).collect();
            let durable = durable_name(&name).expect("it is short");
            let other = seen.insert(durable, name.clone());
            assert_eq!(other, None, "for {name}");
        }
        assert_eq!(durable_name("a.b").as_deref(), Some("a_-b"));
        assert_eq!(durable_name("a-b").as_deref(), Some("a-b"));
        assert_eq!(durable_name("a b"), None);
        assert_eq!(durable_name(&"_".repeat(128)), None, "256 bytes");
    }
}

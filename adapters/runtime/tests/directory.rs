//! The directory against an ordered map.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_runtime::directory::Directory;
use proptest::prelude::*;

proptest! {
    #[test]
    fn behaves_as_an_ordered_map_does(
        operations in prop::collection::vec((0_u8..4, "[a-c]{0,2}"), 1..200),
    ) {
        let (ours, mut model) = (Directory::new(), BTreeMap::new());
        for (number, (kind, name)) in operations.into_iter().enumerate() {
            match kind {
                0 => prop_assert_eq!(ours.remove(&name), model.remove(&name)),
                1 => {
                    let stale = Arc::new(number);
                    prop_assert!(!ours.remove_if(&name, &stale));
                    if let Some(holder) = model.remove(&name) {
                        prop_assert!(ours.remove_if(&name, &holder));
                    }
                }
                _ => {
                    let value = Arc::new(number);
                    let expected = match model.get(&name) {
                        Some(holder) => Err(Arc::clone(holder)),
                        None => Ok(()),
                    };
                    let inserted = ours.insert(name.as_str().into(), Arc::clone(&value));
                    prop_assert_eq!(&inserted, &expected);
                    if inserted.is_ok() {
                        model.insert(name.clone(), value);
                    }
                }
            }
            prop_assert_eq!(ours.get(&name), model.get(&name).cloned());
            prop_assert_eq!(ours.len(), model.len());
        }
        let snapshot: Vec<_> =
            ours.snapshot().into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        prop_assert_eq!(snapshot, model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn similar_names_do_not_get_in_each_others_way() {
    let directory = Directory::new();
    let names: Vec<String> = (0..10_000)
        .map(|number| format!("agent-{number}"))
        .chain((0..32).map(|length| "\0".repeat(length)))
        .collect();
    for (number, name) in names.iter().enumerate() {
        assert!(directory.insert(name.as_str().into(), Arc::new(number)).is_ok());
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(directory.get(name).as_deref(), Some(&number));
    }
    // Those that stay are found where those that go have left gaps in front of them.
    for name in names.iter().step_by(3) {
        assert!(directory.remove(name).is_some());
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(directory.get(name).as_deref(), (number % 3 > 0).then_some(&number));
    }
    assert_eq!(directory.len(), names.len() - names.len().div_ceil(3));
}

#[test]
fn a_pattern_finds_what_came_since_and_keeps_nobody_alive() {
    let directory = Directory::new();
    let insert = |name: &str, value: u8| {
        let value = Arc::new(value);
        assert!(directory.insert(name.into(), Arc::clone(&value)).is_ok());
        value
    };
    let found = || directory.matching("a-*").unwrap().iter().map(|it| **it).collect::<Vec<_>>();
    let (first, other) = (insert("a-2", 2), insert("b-1", 9));
    assert_eq!(found(), [2]);
    insert("a-1", 1);
    assert_eq!(found(), [1, 2], "in name order, with what came since");
    assert_eq!(found(), [1, 2], "and again, as remembered");
    assert!(directory.remove("a-2").is_some());
    assert_eq!(Arc::strong_count(&first), 1, "nothing that is remembered holds it");
    assert_eq!(found(), [1]);
    assert!(directory.remove_if("b-1", &other));
    assert!(directory.matching(&"*".repeat(9_999)).is_err());
    // More patterns than are remembered.
    for at in 0..100 {
        assert!(directory.matching(&format!("c-{at}*")).unwrap().is_empty());
    }
    assert_eq!(found(), [1]);
}

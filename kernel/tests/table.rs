//! The table of numbers against a map.

use std::collections::BTreeMap;

use lictor_kernel::{ChildId, Table};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The next number, as names are numbered.
    Next,
    Insert(u64),
    Remove(u64),
    /// Everything in this range but every so many: what lives on long after its neighbours.
    Thin(u64, u64, u64),
    PopFirst,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..40_u64,
        0..4_000_u64,
        Just(u64::MAX),
        Just(u64::MAX - 16),
        any::<u64>(),
        (u64::MAX - 100)..=u64::MAX,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Next),
        2 => number().prop_map(Op::Insert),
        2 => number().prop_map(Op::Remove),
        1 => (0..3_000_u64, 0..3_000_u64, 1..200_u64).prop_map(|(a, n, k)| Op::Thin(a, n, k)),
        1 => Just(Op::PopFirst),
    ]
}

fn same(table: &Table<u64, u64>, model: &BTreeMap<u64, u64>) -> Result<(), TestCaseError> {
    prop_assert_eq!(table.len(), model.len());
    prop_assert!(table.iter().eq(model.iter().map(|(k, v)| (*k, v))));
    prop_assert!(table.iter().rev().eq(model.iter().rev().map(|(k, v)| (*k, v))));
    Ok(())
}

proptest! {
    #[test]
    fn the_table_is_a_map(ops in prop::collection::vec((op(), 1..60_u64, number()), 0..60)) {
        let mut table = Table::new();
        let mut model = BTreeMap::new();
        let mut next = 7_u64;
        for (op, times, near) in ops {
            match op {
                Op::Next => for _ in 0..times {
                    prop_assert_eq!(table.insert(next, times), model.insert(next, times));
                    next += 1;
                },
                Op::Insert(at) => prop_assert_eq!(table.insert(at, times), model.insert(at, times)),
                Op::Remove(at) => prop_assert_eq!(table.remove(at), model.remove(&at)),
                Op::Thin(from, count, every) => for at in (from..from + count).filter(|at| at % every != 0) {
                    prop_assert_eq!(table.remove(at), model.remove(&at));
                },
                Op::PopFirst => prop_assert_eq!(table.pop_first(), model.pop_first()),
            }
            same(&table, &model)?;
            prop_assert_eq!(table.get(near), model.get(&near));
            prop_assert_eq!(table.get_mut(near), model.get_mut(&near));
            let after = model.range(near..).next().map(|(k, v)| (*k, v));
            prop_assert_eq!(table.first_from(near), after);
            let before = model.range(..near).next_back().map(|(k, v)| (*k, v));
            prop_assert_eq!(table.last_before(near), before);
        }
        // Equal is what holds the same, however it came to it.
        let again: Table<u64, u64> = model.iter().rev().map(|(k, v)| (*k, *v)).collect();
        prop_assert_eq!(&table, &again);
        prop_assert_eq!(hash(&table), hash(&again));
        prop_assert_eq!(format!("{table:?}"), format!("{model:?}"));
    }
}

fn hash(table: &Table<u64, u64>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    table.hash(&mut hasher);
    hasher.finish()
}

/// Numbers that come one after the other for ever, of which one in a thousand stays.
#[test]
fn what_stays_behind_costs_one_chunk() {
    let mut table = Table::new();
    for number in 0..300_000_u32 {
        table.insert(ChildId(number), number);
        if number >= 50 && !(number - 50).is_multiple_of(1000) {
            table.remove(ChildId(number - 50));
        }
    }
    assert_eq!(table.len(), 300 + 50);
    assert!(table.keys().map(|id| id.0).is_sorted());
    assert_eq!(table.get(ChildId(299_000)), Some(&299_000));
}

//! Delta debugging: the smallest part of a list that still does it.

/// Leaves out what can be left out, in chunks that get smaller, from the end: what comes after a
/// failure has nothing to do with it. In the end no single entry can be left out.
///
/// `test` says whether a part still does it; the whole list does.
pub(super) fn ddmin<T: Clone>(mut items: Vec<T>, test: &mut dyn FnMut(&[T]) -> bool) -> Vec<T> {
    if items.is_empty() {
        return items;
    }
    let mut size = items.len();
    let mut part = Vec::with_capacity(items.len());
    loop {
        let mut removed = false;
        let mut end = items.len();
        while end > 0 {
            let begin = end.saturating_sub(size);
            part.clear();
            part.extend_from_slice(&items[..begin]);
            part.extend_from_slice(&items[end..]);
            if test(&part) {
                std::mem::swap(&mut items, &mut part);
                removed = true;
            }
            end = begin;
        }
        if items.is_empty() || (size == 1 && !removed) {
            return items;
        }
        // Of single ones until none goes; of larger chunks one pass is enough.
        size = (size / 2).clamp(1, items.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_stays() {
        for needed in [vec![], vec![0], vec![99], vec![3, 50], vec![0, 1, 2, 97, 98, 99]] {
            let mut runs = 0;
            let left = ddmin((0..100).collect(), &mut |part: &[u32]| {
                runs += 1;
                needed.iter().all(|number| part.contains(number))
            });
            assert_eq!(left, needed);
            assert!(runs <= 120, "{runs} runs for {needed:?}");
        }
    }

    #[test]
    fn what_depends_on_others_goes_too() {
        // Three at least, whichever: and never a pair that is apart.
        let left = ddmin((0..64).collect(), &mut |part: &[u32]| {
            let pairs = part.iter().all(|n| part.contains(&(n ^ 1)));
            pairs && part.len() >= 3
        });
        assert_eq!(left.len(), 4);
    }

    #[test]
    fn nothing_stays_of_nothing() {
        assert!(ddmin(Vec::<u8>::new(), &mut |_| true).is_empty());
    }
}

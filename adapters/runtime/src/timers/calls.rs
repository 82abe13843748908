//! The deadlines of calls, and how those that are over go away.
//!
//! Nearly every call is answered long before its deadline, and an asker that came back to take its
//! deadline out would pay as much for that as for putting it in: a lock, and a search for it. So it
//! only says, in its own slot, that it is over. Whoever comes when there are twice as many as
//! were left after the last sweep sweeps again: each call is looked at twice at most, and of those
//! that are over no more are kept than of those that are not, or [`FEW`].
//!
//! Deadlines mostly come in order: those that do stand in a line, the others in a heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::waits::Key;

/// Something that has a deadline, and ends otherwise nearly always.
pub(crate) trait Bounded: Send + Sync {
    /// Whether it has ended otherwise. `true` is final, and then dropping it runs nobody's code.
    fn is_over(&self) -> bool;
    /// Its deadline has come: whom to wake.
    fn due(&self) -> Option<Waker>;
}

/// So many calls are kept without a look at them: not more than an allocator has at hand at once.
const FEW: usize = 8;

#[derive(Default)]
pub(super) struct Calls {
    /// Ascending.
    line: VecDeque<Call>,
    rest: BinaryHeap<Reverse<Call>>,
    /// The next sweep comes when there are so many.
    sweep_at: usize,
}

struct Call(Key, Arc<dyn Bounded>);

impl Calls {
    fn all(&self) -> usize {
        self.line.len() + self.rest.len()
    }

    /// How many are not over. `O(n)`.
    pub(super) fn len(&self) -> usize {
        let rest = self.rest.iter().map(|Reverse(call)| call);
        self.line.iter().chain(rest).filter(|call| !call.1.is_over()).count()
    }

    #[inline]
    pub(super) fn insert(&mut self, key: Key, call: Arc<dyn Bounded>) {
        if self.all() >= self.sweep_at {
            self.sweep();
        }
        if self.line.back().is_some_and(|last| last.0 > key) {
            self.rest.push(Reverse(Call(key, call)));
        } else {
            self.line.push_back(Call(key, call));
        }
    }

    fn sweep(&mut self) {
        self.line.retain(|call| !call.1.is_over());
        self.rest.retain(|Reverse(call)| !call.1.is_over());
        self.sweep_at = FEW.max(2 * self.all());
        if self.line.capacity() > 4 * self.sweep_at {
            self.line.shrink_to(self.sweep_at);
        }
        if self.rest.capacity() > 4 * self.sweep_at {
            self.rest.shrink_to(self.sweep_at);
        }
    }

    /// The earliest that is not over.
    pub(super) fn first(&mut self) -> Option<Key> {
        while self.line.front().is_some_and(|call| call.1.is_over()) {
            self.line.pop_front();
        }
        while self.rest.peek().is_some_and(|Reverse(call)| call.1.is_over()) {
            self.rest.pop();
        }
        let rest = self.rest.peek().map(|Reverse(call)| call.0);
        self.line.front().map(|call| call.0).into_iter().chain(rest).min()
    }

    /// Takes the one that [`Calls::first`] has found.
    pub(super) fn take(&mut self, first: Key) -> Option<Arc<dyn Bounded>> {
        if self.line.front().is_some_and(|call| call.0 == first) {
            return self.line.pop_front().map(|call| call.1);
        }
        self.rest.pop().map(|Reverse(call)| call.1)
    }

    /// Takes all, in no order.
    pub(super) fn take_all(&mut self) -> Vec<(Key, Arc<dyn Bounded>)> {
        let rest = std::mem::take(&mut self.rest).into_iter().map(|Reverse(call)| call);
        std::mem::take(&mut self.line).into_iter().chain(rest).map(|it| (it.0, it.1)).collect()
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Call {}

impl PartialOrd for Call {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Call {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use lictor_kernel::Instant;

    use super::*;

    #[derive(Default)]
    struct Over(AtomicBool);

    impl Bounded for Over {
        fn is_over(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn due(&self) -> Option<Waker> {
            None
        }
    }

    fn insert(calls: &mut Calls, at: u64, number: u64) -> Arc<Over> {
        let call = Arc::new(Over::default());
        calls.insert((Instant::from_nanos(at), number), Arc::<Over>::clone(&call));
        call
    }

    #[test]
    fn they_come_in_order_and_those_that_are_over_do_not() {
        let mut calls = Calls::default();
        let deadlines = [5, 9, 7, 9, 1, 20];
        let held: Vec<_> =
            (0..).zip(deadlines).map(|(at, by)| insert(&mut calls, by, at)).collect();
        for over in [0, 4, 5] {
            held[over].0.store(true, Ordering::Relaxed);
        }
        assert_eq!(calls.len(), 3);
        let mut seen = Vec::new();
        while let Some(first) = calls.first() {
            seen.push((first.0.as_nanos(), first.1));
            assert!(calls.take(first).is_some());
        }
        assert_eq!(seen, [(7, 2), (9, 1), (9, 3)]);
        assert_eq!(calls.all(), 0, "nothing that is over is kept");
    }

    #[test]
    fn of_those_that_are_over_few_are_kept() {
        let mut calls = Calls::default();
        let live = [insert(&mut calls, 1_000_000, 0), insert(&mut calls, 500_000, 1)];
        for number in 2..10_000 {
            // In order, and out of it.
            let at = if number % 2 == 0 { 1_000_000 + number } else { number };
            insert(&mut calls, at, number).0.store(true, Ordering::Relaxed);
            assert!(calls.all() <= FEW.max(2 * live.len()), "{} are kept", calls.all());
        }
        assert_eq!(calls.len(), live.len());
    }
}

//! What holds the events to come: by instant, then in the order in which they were put in.
//!
//! There are two, and a campaign must come to the same digest on both: an order that depends on
//! the queue is a bug that one queue alone would hide. The tie-break is as wide as the counter that
//! it comes from; a packed one once wrapped, and two runs of one seed differed.

mod calendar;
mod heap;

pub use calendar::CalendarQueue;
pub use heap::HeapQueue;

/// An event and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<T> {
    at: u64,
    order: u64,
    item: T,
}

impl<T> Entry<T> {
    const fn key(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

/// Events to come.
pub trait EventQueue<T: Copy> {
    /// Puts an event in, at this number of nanoseconds. It must not lie before the last one that
    /// was taken out.
    fn push(&mut self, at: u64, item: T);

    /// When the next event is.
    fn next_at(&mut self) -> Option<u64>;

    /// Takes the next event out.
    fn pop(&mut self) -> Option<(u64, T)>;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all events and forgets the time, but keeps its memory.
    fn clear(&mut self);
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::stream::{Purpose, Streams};

    /// Holds both queues against a sorted list, with times that tie, cluster and leap.
    #[test]
    fn both_queues_give_events_by_time_and_then_by_order() {
        for seed in 0..50 {
            let streams = Streams::new(seed);
            let draw = |n, bound| streams.below(Purpose::User, seed, n, bound);
            let mut heap = HeapQueue::default();
            let mut calendar = CalendarQueue::default();
            let mut model: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for n in 0..2_000_u64 {
                if draw(4 * n, 3) < 2 {
                    let spans = [0, 10, 100_000, 300_000_000, 10_000_000_000];
                    let span = spans[draw(4 * n + 1, 5) as usize];
                    let at = now + draw(4 * n + 2, span + 1);
                    heap.push(at, n);
                    calendar.push(at, n);
                    model.push((at, n));
                } else {
                    model.sort_unstable();
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    assert_eq!(heap.next_at(), expected.map(|(at, _)| at));
                    assert_eq!(calendar.next_at(), expected.map(|(at, _)| at));
                    assert_eq!(heap.pop(), expected);
                    assert_eq!(calendar.pop(), expected, "seed {seed}, step {n}");
                    now = expected.map_or(now, |(at, _)| at);
                }
                assert_eq!(heap.len(), model.len());
                assert_eq!(calendar.len(), model.len());
            }
            calendar.clear();
            heap.clear();
            assert_eq!((heap.pop(), calendar.pop()), (None, None));
        }
    }
}

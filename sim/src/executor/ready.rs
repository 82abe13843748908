//! Who is ready, and who of them is next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Schedule;
use crate::stream::{Purpose, Streams, mix};

/// A task in a queue; one whose generation has passed is skipped.
pub(super) type Entry = (u32, u32);

/// The tasks that are ready. Both kinds reuse their memory.
pub(super) enum Ready {
    Queue(VecDeque<Entry>),
    /// By key, the lowest first; tasks with one key in the order of their wakes.
    Heap(BinaryHeap<Reverse<(u64, u64, Entry)>>, u64),
}

impl Ready {
    pub(super) fn new(schedule: Schedule) -> Self {
        match schedule {
            Schedule::Fifo => Self::Queue(VecDeque::new()),
            Schedule::Seeded(_) | Schedule::Pct { .. } => Self::Heap(BinaryHeap::new(), 0),
        }
    }

    pub(super) fn push(&mut self, key: u64, entry: Entry) {
        match self {
            Self::Queue(queue) => queue.push_back(entry),
            Self::Heap(heap, pushed) => {
                heap.push(Reverse((key, *pushed, entry)));
                *pushed += 1;
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        match self {
            Self::Queue(queue) => queue.pop_front(),
            Self::Heap(heap, _) => heap.pop().map(|Reverse((_, _, entry))| entry),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Queue(queue) => queue.clear(),
            Self::Heap(heap, _) => heap.clear(),
        }
    }
}

/// The priority of a task for its life, or from a yield on: above all that a change point gives.
pub(super) const fn priority(streams: Streams, identity: u64, n: u64) -> u64 {
    streams.draw(Purpose::Schedule, mix(identity), n) >> 1
}

/// The polls at which the priority of the one that runs changes, in order, each with the number
/// that it falls to: the later the change, the lower.
pub(super) fn change_points(schedule: Schedule) -> VecDeque<(u64, u64)> {
    let Schedule::Pct { seed, depth, horizon } = schedule else { return VecDeque::new() };
    let streams = Streams::new(seed);
    let whose = mix(0x5c4e_d01e);
    let changes = depth.saturating_sub(1);
    let mut points: Vec<u64> = (0..u64::from(changes))
        .map(|n| streams.between(Purpose::Schedule, whose, n, 1, horizon))
        .collect();
    points.sort_unstable();
    // Low numbers run first, and priorities have their highest bit clear.
    points.into_iter().zip((1_u64 << 63)..).collect()
}

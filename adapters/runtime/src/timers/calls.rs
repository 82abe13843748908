//! The deadlines of calls, and how those that are over go away.
//!
//! Nearly every call is answered long before its deadline, and an asker that came back to take its
//! deadline out would pay as much for that as for putting it in: a lock, and a search for it. So it
//! only says, in its own slot, that it is over. Whoever comes when the heap has grown to twice what
//! was left after the last sweep sweeps again: each call is looked at twice at most, and of those
//! that are over no more are kept than of those that are not, or [`FEW`].
//!
//! **Why a heap?** Deadlines mostly come in order, and then an insertion compares twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
    heap: BinaryHeap<Reverse<Call>>,
    /// The next sweep comes when there are so many.
    sweep_at: usize,
}

struct Call(Key, Arc<dyn Bounded>);

impl Calls {
    /// How many are not over. `O(n)`.
    pub(super) fn len(&self) -> usize {
        self.heap.iter().filter(|Reverse(call)| !call.1.is_over()).count()
    }

    #[inline]
    pub(super) fn insert(&mut self, key: Key, call: Arc<dyn Bounded>) {
        if self.heap.len() >= self.sweep_at {
            self.sweep();
        }
        self.heap.push(Reverse(Call(key, call)));
    }

    fn sweep(&mut self) {
        self.heap.retain(|Reverse(call)| !call.1.is_over());
        self.sweep_at = FEW.max(2 * self.heap.len());
        if self.heap.capacity() > 4 * self.sweep_at {
            self.heap.shrink_to(self.sweep_at);
        }
    }

    /// The earliest that is not over.
    pub(super) fn first(&mut self) -> Option<Key> {
        loop {
            let Reverse(Call(key, call)) = self.heap.peek()?;
            if !call.is_over() {
                return Some(*key);
            }
            self.heap.pop();
        }
    }

    /// Takes the earliest.
    pub(super) fn pop(&mut self) -> Option<Arc<dyn Bounded>> {
        self.heap.pop().map(|Reverse(Call(_, call))| call)
    }

    /// Takes all, in no order.
    pub(super) fn take_all(&mut self) -> Vec<(Key, Arc<dyn Bounded>)> {
        let heap = std::mem::take(&mut self.heap);
        heap.into_iter().map(|Reverse(Call(key, call))| (key, call)).collect()
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

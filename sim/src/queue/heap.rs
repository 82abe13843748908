//! A heap whose nodes have four children: half the depth of a binary one, and the four keys that
//! are compared lie side by side.

use super::{Entry, EventQueue};

/// A four-ary heap of events.
#[derive(Clone, Debug)]
pub struct HeapQueue<T> {
    entries: Vec<Entry<T>>,
    pushed: u64,
}

impl<T> Default for HeapQueue<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), pushed: 0 }
    }
}

impl<T: Copy> HeapQueue<T> {
    pub(super) fn put(&mut self, entry: Entry<T>) {
        let mut at = self.entries.len();
        self.entries.push(entry);
        while at > 0 {
            let parent = (at - 1) / 4;
            if self.entries[parent].key() <= entry.key() {
                break;
            }
            self.entries[at] = self.entries[parent];
            at = parent;
        }
        self.entries[at] = entry;
    }

    pub(super) fn first(&self) -> Option<&Entry<T>> {
        self.entries.first()
    }

    pub(super) fn take(&mut self) -> Option<Entry<T>> {
        let last = self.entries.pop()?;
        let Some(first) = self.entries.first().copied() else { return Some(last) };
        let len = self.entries.len();
        let mut at = 0;
        loop {
            let child = 4 * at + 1;
            if child >= len {
                break;
            }
            let mut least = child;
            for other in child + 1..(child + 4).min(len) {
                if self.entries[other].key() < self.entries[least].key() {
                    least = other;
                }
            }
            if last.key() <= self.entries[least].key() {
                break;
            }
            self.entries[at] = self.entries[least];
            at = least;
        }
        self.entries[at] = last;
        Some(first)
    }
}

impl<T: Copy> EventQueue<T> for HeapQueue<T> {
    fn push(&mut self, at: u64, item: T) {
        let order = self.pushed;
        self.pushed += 1;
        self.put(Entry { at, order, item });
    }

    fn next_at(&mut self) -> Option<u64> {
        self.first().map(|entry| entry.at)
    }

    fn pop(&mut self) -> Option<(u64, T)> {
        self.take().map(|entry| (entry.at, entry.item))
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.pushed = 0;
    }
}

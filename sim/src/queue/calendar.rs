//! A calendar: a year of equal days, each an unsorted list, and one small heap for today.
//!
//! Most events lie a short time ahead, so most pushes are an append. The hard case is an event far
//! in the future: it waits in a heap of its own until its day is within the year.

use super::heap::HeapQueue;
use super::{Entry, EventQueue};

/// The length of a day, as a power of two of nanoseconds: 65.5 microseconds.
const DAY_BITS: u32 = 16;

/// Days in a year: a quarter of a second and a bit.
const DAYS: u64 = 4096;

/// A calendar of events.
#[derive(Clone, Debug)]
pub struct CalendarQueue<T> {
    /// The events of the current day, and of no day after it.
    today: HeapQueue<T>,
    day: u64,
    /// The days after it, up to a year ahead, by number modulo the year.
    days: Vec<Vec<Entry<T>>>,
    /// How many events lie in `days`.
    ahead: usize,
    /// Those a year ahead or more.
    far: HeapQueue<T>,
    pushed: u64,
}

impl<T> Default for CalendarQueue<T> {
    fn default() -> Self {
        Self {
            today: HeapQueue::default(),
            day: 0,
            days: std::iter::repeat_with(Vec::new).take(place(DAYS - 1) + 1).collect(),
            ahead: 0,
            far: HeapQueue::default(),
            pushed: 0,
        }
    }
}

const fn day_of(at: u64) -> u64 {
    at >> DAY_BITS
}

const fn place(day: u64) -> usize {
    (day % DAYS) as usize
}

impl<T: Copy> CalendarQueue<T> {
    fn put(&mut self, entry: Entry<T>) {
        let day = day_of(entry.at);
        if day <= self.day {
            self.today.put(entry);
        } else if day - self.day < DAYS {
            self.days[place(day)].push(entry);
            self.ahead += 1;
        } else {
            self.far.put(entry);
        }
    }

    /// Turns to the next day that has an event, if today has none left.
    fn turn(&mut self) {
        if self.today.first().is_some() {
            return;
        }
        if self.ahead == 0 {
            let Some(first) = self.far.first() else { return };
            self.day = day_of(first.at);
        } else {
            while self.days[place(self.day)].is_empty() {
                self.day += 1;
                self.fetch_far();
            }
            let mut list = std::mem::take(&mut self.days[place(self.day)]);
            self.ahead -= list.len();
            list.drain(..).for_each(|entry| self.today.put(entry));
            self.days[place(self.day)] = list;
        }
        self.fetch_far();
    }

    /// What was far ahead and is within the year by now.
    fn fetch_far(&mut self) {
        let year = self.day.saturating_add(DAYS);
        while self.far.first().is_some_and(|entry| day_of(entry.at) < year) {
            let Some(entry) = self.far.take() else { return };
            self.put(entry);
        }
    }
}

impl<T: Copy> EventQueue<T> for CalendarQueue<T> {
    fn push(&mut self, at: u64, item: T) {
        let order = self.pushed;
        self.pushed += 1;
        self.put(Entry { at, order, item });
    }

    fn next_at(&mut self) -> Option<u64> {
        self.turn();
        self.today.first().map(|entry| entry.at)
    }

    fn pop(&mut self) -> Option<(u64, T)> {
        self.turn();
        self.today.take().map(|entry| (entry.at, entry.item))
    }

    fn len(&self) -> usize {
        self.today.len() + self.ahead + self.far.len()
    }

    fn clear(&mut self) {
        self.today.clear();
        self.far.clear();
        self.days.iter_mut().for_each(Vec::clear);
        (self.day, self.ahead, self.pushed) = (0, 0, 0);
    }
}

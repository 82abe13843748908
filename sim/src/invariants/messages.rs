//! Something for each message, by the parts of its name: no hashing, no trees.

use std::collections::BTreeMap;

use crate::record::MessageId;

#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    /// Of operations, by number.
    operations: Vec<T>,
    /// Of tickers, by number of the name, then of the tick.
    ticks: Vec<Vec<T>>,
    /// Copies of broadcasts.
    copies: BTreeMap<MessageId, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { operations: Vec::new(), ticks: Vec::new(), copies: BTreeMap::new() }
    }
}

/// Numbers above this are kept in the map: nobody allocates by a number that came from outside.
const DENSE: usize = 1 << 20;

impl<T: Default + Clone> Table<T> {
    pub(super) fn of(&mut self, message: MessageId) -> &mut T {
        let number = message.number as usize;
        if message.copy.is_some() || number >= DENSE {
            return self.copies.entry(message).or_default();
        }
        let list = match message.ticker {
            None => &mut self.operations,
            Some(who) => {
                let at = usize::from(who.0);
                if self.ticks.len() <= at {
                    self.ticks.resize(at + 1, Vec::new());
                }
                &mut self.ticks[at]
            }
        };
        if list.len() <= number {
            list.resize(number + 1, T::default());
        }
        &mut list[number]
    }
}

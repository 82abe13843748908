//! Which numbered frames of a peer were taken already.

/// How far back a number is still told from one that was taken: as far as a frame on a wire that
/// signs may come late.
const SPAN: u64 = 1 << 13;
const WORDS: usize = 128;

/// What was taken of one boot of a peer: the greatest number, and a bit for each of the last
/// [`SPAN`]. What is older than that counts as taken: to lose a frame is allowed, to take it twice
/// is not.
#[derive(Debug)]
pub(super) struct Window {
    epoch: u64,
    newest: u64,
    bits: Box<[u64; WORDS]>,
}

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    New,
    Repeated,
    Stale,
}

impl Window {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, newest: 0, bits: Box::new([0; WORDS]) }
    }

    /// Takes a number of this boot, if it is new.
    pub(super) fn take(&mut self, epoch: u64, number: u64) -> Seen {
        if epoch < self.epoch {
            return Seen::Stale;
        }
        if epoch > self.epoch {
            *self = Self::new(epoch);
        }
        if number > self.newest {
            if number - self.newest >= SPAN {
                self.bits.fill(0);
            } else {
                (self.newest + 1..number).for_each(|skipped| self.put(skipped, false));
            }
            self.newest = number;
            self.put(number, true);
            return Seen::New;
        }
        if self.newest - number >= SPAN || self.has(number) {
            return Seen::Repeated;
        }
        self.put(number, true);
        Seen::New
    }

    fn place(number: u64) -> (usize, u64) {
        let at = number % SPAN;
        (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.bits[word] & bit != 0
    }

    fn put(&mut self, number: u64, taken: bool) {
        let (word, bit) = Self::place(number);
        if taken {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{SPAN, Seen, Window};

    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![0..20_u64, SPAN - 90..SPAN + 90, 0..5 * SPAN]
    }

    proptest! {
        #[test]
        fn each_number_is_taken_at_most_once_and_near_ones_just_once(
            numbers in prop::collection::vec(any_number(), 0..300),
        ) {
            let mut window = Window::new(1);
            let mut taken = BTreeSet::new();
            for number in numbers {
                let newest = taken.last().copied().unwrap_or(0);
                let is_near = number + SPAN > newest;
                let seen = window.take(1, number);
                match seen {
                    Seen::New => prop_assert!(taken.insert(number), "{number} was taken"),
                    Seen::Repeated => {
                        prop_assert!(!is_near || taken.contains(&number) || number == 0);
                    }
                    Seen::Stale => prop_assert!(false, "there is one boot"),
                }
            }
            prop_assert_eq!(window.take(0, 1), Seen::Stale);
            prop_assert_eq!(window.take(2, 1), Seen::New);
        }
    }
}

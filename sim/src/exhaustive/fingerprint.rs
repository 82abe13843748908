//! Which states were seen, as numbers.

use core::hash::{Hash, Hasher};

use crate::digest::Digest;
use crate::stream::mix;

/// The same number for the same state, in every run and on every host of one byte order.
pub(super) fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = Fingerprint(Digest::default());
    state.hash(&mut hasher);
    // Zero is the empty place of the table.
    mix(hasher.finish()).max(1)
}

struct Fingerprint(Digest);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0.value()
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.0.word(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.0.word(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0.word(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.0.word(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.0.word(n as u64);
    }
}

/// An open table with linear probing, at most half full: 16 to 32 bytes for each state.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    table: Vec<u64>,
    len: usize,
}

impl Fingerprints {
    /// Whether it is new.
    pub(super) fn insert(&mut self, print: u64) -> bool {
        if self.len * 2 >= self.table.len() {
            let bigger = vec![0; (self.table.len() * 2).max(1024)];
            for old in core::mem::replace(&mut self.table, bigger) {
                if old != 0 {
                    self.place(old);
                }
            }
        }
        let new = self.place(print);
        self.len += usize::from(new);
        new
    }

    fn place(&mut self, print: u64) -> bool {
        let mask = self.table.len() - 1;
        // The table is never longer than memory: the lower bits are what is wanted.
        #[expect(clippy::cast_possible_truncation, reason = "it is masked")]
        let mut at = print as usize & mask;
        loop {
            match self.table[at] {
                0 => {
                    self.table[at] = print;
                    return true;
                }
                other if other == print => return false,
                _ => at = (at + 1) & mask,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once() {
        let mut seen = Fingerprints::default();
        assert!((1..10_000).all(|n| seen.insert(mix(n))));
        assert!((1..10_000).all(|n| !seen.insert(mix(n))));
        assert!(seen.insert(mix(10_000)));
    }
}

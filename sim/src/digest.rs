//! A digest of everything that happened, so that two runs can be compared by one number.

/// A running digest. Order matters; platform, build mode and hash seeds do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Takes in one word: two multiplications apart from the word before, so that a swap shows.
    pub const fn word(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Takes in a record of six words, in one step of the chain: the words are mixed beside each
    /// other first, each in its own way, so that each place and each bit shows.
    pub const fn words(&mut self, words: [u64; 6]) {
        const KEYS: [u64; 6] = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
            0xa076_1d64_78bd_642f,
            0xe703_7ed1_a0b4_28db,
        ];
        let mut mixed = 0_u64;
        let mut at = 0;
        while at < words.len() {
            let word = (words[at] ^ KEYS[at]).wrapping_mul(KEYS[words.len() - 1 - at]);
            mixed = mixed.wrapping_add(word ^ (word >> 32));
            at += 1;
        }
        self.word(mixed);
    }

    /// The digest so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl core::fmt::Display for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_every_word_matter() {
        let of = |words: &[u64]| {
            let mut digest = Digest::default();
            words.iter().for_each(|word| digest.word(*word));
            digest.value()
        };
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[0]), of(&[0, 0]));
        assert_ne!(of(&[]), of(&[0]));
        assert_eq!(of(&[5, 9]), of(&[5, 9]));
        let of = |words| {
            let mut digest = Digest::default();
            digest.words(words);
            digest.value()
        };
        let base = [1, 2, 3, 4, 5, 6];
        for at in 0..6 {
            for bit in 0..64 {
                let mut other = base;
                other[at] ^= 1 << bit;
                assert_ne!(of(other), of(base), "bit {bit} of word {at}");
            }
            for with in 0..at {
                let mut other = base;
                other.swap(at, with);
                assert_ne!(of(other), of(base), "words {at} and {with}");
            }
        }
    }
}

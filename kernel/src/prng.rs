//! A small seeded generator, so that jitter and random routing are part of the state.
//!
//! `SplitMix64` (Steele, Lea, Flood 2014): eight bytes of state, full period, good enough to spread
//! restarts. Not for secrets.

/// A seeded pseudo-random generator. The same seed gives the same numbers on every platform.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Prng(u64);

impl Prng {
    /// A generator that starts from `seed`. Any seed is good, zero included.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 uniform bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, or 0 if `bound` is 0. Bias is below `bound / 2^64`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128).wrapping_mul(bound as u128) >> 64) as u64
    }
}

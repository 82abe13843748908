//! Randomness keyed by identity, not by order.
//!
//! One shared generator would be simpler, and useless for shrinking: leave one fault out, and every
//! later draw is another one, so the rest of the run is another run. Here a draw is a pure function
//! of the seed, of what it is for, of whose it is, and of how many there were before. What is left
//! out takes its own draws along and nobody else's.

/// What a draw is for. Two purposes never share a draw. The numbers are part of a plan's meaning:
/// a new purpose goes at the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// Making a plan from a seed.
    Plan,
    /// How long a frame is under way.
    Latency,
    /// Whether a frame is lost.
    Loss,
    /// Whether a frame comes twice.
    Duplicate,
    /// Whether a frame overtakes.
    Reorder,
    /// How long a process takes to start.
    Start,
    /// How long a process takes to stop.
    Stop,
    /// How long a process takes over a message.
    Handle,
    /// Whether a process fails at a message.
    Crash,
    /// Which of the tasks that are ready runs next.
    Schedule,
    /// Where a future is dropped.
    Cancel,
    /// Jitter of supervisors: a seed each.
    Jitter,
    /// Random routing: a seed for each node.
    Routing,
    /// Crash models of the policy laboratory.
    Policy,
    /// Whether a `buggify!` point fires.
    Buggify,
    /// How clocks drift.
    Clock,
    /// What a broker does.
    Broker,
    /// For whoever builds upon this crate.
    User,
    /// What a disk cannot read.
    Storage,
    /// Who runs on another node.
    Place,
    /// Whether an agent answers once more.
    Twice,
    /// What of a node that is gone comes late.
    Late,
    /// In which order things go on after a pause.
    Pause,
}

/// All the draws of one seed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Streams(u64);

/// The mixing of `SplitMix64`: a bijection in which every bit depends on every other.
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Streams {
    /// The draws of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The seed, mixed: equal for equal seeds.
    #[must_use]
    pub const fn id(self) -> u64 {
        self.0
    }

    /// The `n`-th draw for `purpose` of whoever `whose` is: 64 uniform bits.
    #[must_use]
    pub const fn draw(self, purpose: Purpose, whose: u64, n: u64) -> u64 {
        let key = mix(self.0 ^ ((purpose as u64) << 56) ^ whose);
        mix(key ^ n)
    }

    /// As [`Streams::draw`], in `0..bound`; 0 if `bound` is 0. Bias is below `bound / 2^64`.
    #[must_use]
    pub const fn below(self, purpose: Purpose, whose: u64, n: u64, bound: u64) -> u64 {
        ((self.draw(purpose, whose, n) as u128 * bound as u128) >> 64) as u64
    }

    /// Whether something that happens `per_million` times in a million happens now.
    #[must_use]
    pub const fn chance(self, purpose: Purpose, whose: u64, n: u64, per_million: u32) -> bool {
        self.below(purpose, whose, n, 1_000_000) < per_million as u64
    }

    /// A number in `from..=to`, `from` if the range is empty.
    #[must_use]
    pub const fn between(self, purpose: Purpose, whose: u64, n: u64, from: u64, to: u64) -> u64 {
        if to <= from {
            return from;
        }
        match (to - from).checked_add(1) {
            Some(width) => from + self.below(purpose, whose, n, width),
            None => self.draw(purpose, whose, n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_its_identity_and_on_nothing_else() {
        let streams = Streams::new(7);
        let before = streams.draw(Purpose::Loss, 3, 5);
        for whose in 0..100 {
            let _ = streams.draw(Purpose::Loss, whose, whose);
        }
        assert_eq!(streams.draw(Purpose::Loss, 3, 5), before);
        assert_ne!(streams.draw(Purpose::Loss, 3, 6), before);
        assert_ne!(streams.draw(Purpose::Loss, 4, 5), before);
        assert_ne!(streams.draw(Purpose::Latency, 3, 5), before);
        assert_ne!(Streams::new(8).draw(Purpose::Loss, 3, 5), before);
    }

    #[test]
    fn draws_are_in_their_bounds_and_reach_both_ends() {
        let streams = Streams::new(1);
        let drawn: Vec<u64> =
            (0..1_000).map(|n| streams.between(Purpose::Stop, 0, n, 10, 13)).collect();
        assert_eq!(drawn.iter().min(), Some(&10));
        assert_eq!(drawn.iter().max(), Some(&13));
        assert_eq!(streams.between(Purpose::Stop, 0, 0, 5, 4), 5);
        let hits = (0..10_000).filter(|n| streams.chance(Purpose::Loss, 0, *n, 250_000)).count();
        assert!((2_300..2_700).contains(&hits), "a quarter of 10,000, not {hits}");
        assert!(!streams.chance(Purpose::Loss, 0, 0, 0));
        assert!(streams.chance(Purpose::Loss, 0, 0, 1_000_000));
    }
}

//! Exponentially distributed times, the same on every platform: no floating point.

use core::time::Duration;

/// The time until the next of events that are `mean` apart on average, from 64 uniform bits. Off by
/// less than a millionth; at most 44 times the mean.
pub(super) fn exponential(mean: Duration, bits: u64) -> Duration {
    const LN_2: u128 = 2_977_044_472; // times 2^32
    let mean = u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX);
    // -ln(x / 2^64) = (64 - log2(x)) * ln(2)
    let halvings = (64_u64 << 32).saturating_sub(log2(u128::from(bits) + 1));
    let nanos = ((u128::from(mean) * u128::from(halvings)) >> 32) * LN_2;
    Duration::from_nanos(u64::try_from(nanos >> 32).unwrap_or(u64::MAX))
}

/// The binary logarithm of a number from 1 to 2^64, times 2^32, rounded down.
fn log2(x: u128) -> u64 {
    let whole = 127_u32.saturating_sub(x.max(1).leading_zeros());
    // A number in [1, 2), times 2^63.
    let mut rest = if whole <= 63 { x << (63 - whole) } else { x >> (whole - 63) };
    let mut fraction = 0_u64;
    for _ in 0..32 {
        rest = (rest * rest) >> 63;
        fraction <<= 1;
        if rest >= 1 << 64 {
            rest >>= 1;
            fraction |= 1;
        }
    }
    (u64::from(whole) << 32) | fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::mix;

    #[test]
    fn the_logarithm_is_one() {
        for (x, log) in [(1_u128, 0.0), (2, 1.0), (3, 1.584_962_5), (1 << 64, 64.0)] {
            let ours = log2(x) as f64 / 4_294_967_296.0;
            assert!((ours - log).abs() < 1e-7, "{x}: {ours}");
        }
    }

    #[test]
    fn mean_and_quantiles_are_those_of_the_distribution() {
        let mean = Duration::from_secs(600);
        let mut drawn: Vec<f64> =
            (0..100_000).map(|n| exponential(mean, mix(n)).as_secs_f64()).collect();
        let average = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((average - 600.0).abs() < 6.0, "{average}");
        drawn.sort_by(f64::total_cmp);
        let median = drawn[drawn.len() / 2];
        assert!((median - 600.0 * std::f64::consts::LN_2).abs() < 6.0, "{median}");
        let late = drawn[drawn.len() * 99 / 100];
        assert!((late - 600.0 * 100_f64.ln()).abs() < 60.0, "{late}");
        assert_eq!(exponential(mean, u64::MAX), Duration::ZERO);
        assert!(exponential(Duration::MAX, 0) > Duration::from_secs(1 << 33));
    }
}

//! The phi of the accrual failure detector (Hayashibara et al., 2004), in whole numbers.
//!
//! Phi is `-log10` of the chance that a heartbeat comes later than it already is, with arrivals
//! normal about their mean. Akka's logistic approximation of the normal distribution is used:
//! with `y = (elapsed - mean) / deviation` and `x = y (1.5976 + 0.070566 y^2)`,
//! `phi = log10(1 + e^x)`. It only grows with `elapsed`, so the `y` at which it reaches a threshold
//! is computed once, and every deadline follows from it by one multiplication. Floats would tie the
//! decision to the rounding of a platform's `exp`.
//!
//! Formats: `y` has 32 fractional bits and is held within ±32; all else has 60.

use alloc::collections::VecDeque;

/// One, with 60 fractional bits.
const ONE: i128 = 1 << 60;
const LN_2: i128 = 799_144_290_325_165_978;
const LN_10: i128 = 2_654_699_869_899_991_813;
const LINEAR: i128 = 1_841_907_395_759_898_728;
const CUBIC: i128 = 81_357_058_894_086_763;
/// 32, with 32 fractional bits; phi is about 1026 there.
const Y_MAX: i128 = 32 << 32;
/// The greatest interval that is kept apart, in nanoseconds (52 days): squares of 2^10 fit.
const INTERVAL_MAX: u64 = 1 << 52;

const fn product(a: i128, b: i128) -> i128 {
    a.saturating_mul(b) >> 60
}

/// `e^-t` for `t >= 0`: halvings by the whole multiples of `ln 2`, a Taylor series for the rest.
fn exp_of_negative(t: i128) -> i128 {
    let halvings = u32::try_from(t.div_euclid(LN_2)).unwrap_or(u32::MAX);
    let rest = t.rem_euclid(LN_2);
    let mut term = ONE;
    let mut sum = ONE;
    for n in 1..=24 {
        term = product(term, rest).saturating_neg().div_euclid(n);
        sum = sum.saturating_add(term);
    }
    sum.checked_shr(halvings).unwrap_or(0)
}

/// `ln(1 + u)` for `0 <= u <= 1`: twice the series of `artanh(u / (2 + u))`.
fn ln_of_one_plus(u: i128) -> i128 {
    let z = (u << 60).div_euclid(ONE.saturating_mul(2).saturating_add(u));
    let square = product(z, z);
    let mut power = z;
    let mut sum = 0_i128;
    for n in (1..=43).step_by(2) {
        sum = sum.saturating_add(power.div_euclid(n));
        power = product(power, square);
    }
    sum.saturating_mul(2)
}

/// `ln(1 + e^x)` at the `x` that belongs to `y`; strictly increasing in `y`.
fn natural_phi(y: i128) -> i128 {
    let y = y.clamp(Y_MAX.saturating_neg(), Y_MAX);
    let square = y.saturating_mul(y) >> 32;
    let factor = LINEAR.saturating_add(CUBIC.saturating_mul(square) >> 32);
    let x = factor.saturating_mul(y) >> 32;
    x.max(0).saturating_add(ln_of_one_plus(exp_of_negative(x.saturating_abs())))
}

/// The smallest `y` at which phi reaches `threshold` thousandths, or `Y_MAX` if none does.
pub(crate) fn critical_y(threshold_milli: u32) -> i64 {
    let wanted = i128::from(threshold_milli).saturating_mul(LN_10);
    let mut low = Y_MAX.saturating_neg();
    let mut high = Y_MAX;
    while low < high {
        let middle = low.saturating_add(high).div_euclid(2);
        if natural_phi(middle).saturating_mul(1000) >= wanted {
            high = middle;
        } else {
            low = middle.saturating_add(1);
        }
    }
    i64::try_from(high).unwrap_or(i64::MAX)
}

/// The last intervals between heartbeats, with exact sums.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Arrivals {
    limit: usize,
    intervals: VecDeque<u64>,
    sum: u128,
    squares: u128,
}

impl Arrivals {
    /// Starts with two intervals about `estimate` nanoseconds, a quarter of it to either side.
    pub(crate) fn new(limit: usize, estimate: u64) -> Self {
        let mut arrivals = Self { limit, intervals: VecDeque::new(), sum: 0, squares: 0 };
        let estimate = estimate.min(INTERVAL_MAX);
        let quarter = estimate.div_euclid(4);
        arrivals.record(estimate.saturating_sub(quarter));
        arrivals.record(estimate.saturating_add(quarter));
        arrivals
    }

    /// Adds an interval in nanoseconds, and forgets the oldest above the limit.
    pub(crate) fn record(&mut self, interval: u64) {
        if self.intervals.len() >= self.limit {
            let oldest = u128::from(self.intervals.pop_front().unwrap_or(0));
            self.sum = self.sum.saturating_sub(oldest);
            self.squares = self.squares.saturating_sub(oldest.saturating_mul(oldest));
        }
        let interval = interval.min(INTERVAL_MAX);
        self.intervals.push_back(interval);
        let interval = u128::from(interval);
        self.sum = self.sum.saturating_add(interval);
        self.squares = self.squares.saturating_add(interval.saturating_mul(interval));
    }

    /// Mean and standard deviation of the intervals in nanoseconds, each rounded down.
    pub(crate) fn distribution(&self) -> (u64, u64) {
        let count = u128::try_from(self.intervals.len()).unwrap_or(u128::MAX).max(1);
        let mean = self.sum.div_euclid(count);
        let spread = self
            .squares
            .saturating_mul(count)
            .saturating_sub(self.sum.saturating_mul(self.sum))
            .isqrt()
            .div_euclid(count);
        (u64::try_from(mean).unwrap_or(u64::MAX), u64::try_from(spread).unwrap_or(u64::MAX))
    }
}

/// Phi in thousandths, rounded down, after `elapsed` nanoseconds. `deviation` is not zero.
pub(crate) fn phi_milli(elapsed: u64, mean: u64, deviation: u64) -> u32 {
    let late = i128::from(elapsed).saturating_sub(i128::from(mean)) << 32;
    let y = late.div_euclid(i128::from(deviation.max(1)));
    let milli = natural_phi(y).saturating_mul(1000).div_euclid(LN_10);
    u32::try_from(milli).unwrap_or(u32::MAX)
}

/// The least number of nanoseconds, at least 1, after which `y` reaches `critical`.
pub(crate) fn nanos_until(critical: i64, mean: u64, deviation: u64) -> u64 {
    let scaled = i128::from(critical).saturating_mul(i128::from(deviation.max(1)));
    let late = scaled.saturating_neg().div_euclid(1 << 32).saturating_neg();
    let nanos = late.saturating_add(i128::from(mean)).max(1);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule: F7
    #[test]
    fn phi_agrees_with_floating_point_everywhere() {
        for step in -3200..=3200_i32 {
            let y = f64::from(step) / 100.0;
            let x = y * (1.5976 + 0.070_566 * y * y);
            let expected = x.max(0.0) + (-x.abs()).exp().ln_1p();
            #[expect(clippy::cast_possible_truncation, reason = "within 2^37")]
            let fixed = natural_phi((y * f64::from(2_u32).powi(32)) as i128);
            #[expect(clippy::cast_precision_loss, reason = "a float to compare with")]
            let fixed = fixed as f64 / f64::from(2_u32).powi(60);
            assert!((fixed - expected).abs() < 1e-6, "y {y}: {fixed} is not {expected}");
        }
    }
}

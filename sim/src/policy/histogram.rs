//! How often which duration, in little memory.

/// Counts of durations. Buckets are at most 1/256 of their value wide, so a quantile is off by less
/// than a quarter of a per cent; adding two histograms is exact and in any order the same.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Histogram {
    /// Grows to at most 14,592 counts.
    counts: Vec<u64>,
    total: u64,
}

const BITS: u32 = 8;

impl Histogram {
    pub(super) fn record(&mut self, nanos: u64) {
        let index = index_of(nanos);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        self.total += other.total;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The value that `per_mille` of a thousand are not above; `None` if nothing was recorded.
    pub(super) fn quantile(&self, per_mille: u64) -> Option<u64> {
        let rank = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (value, count) in self.iter() {
            seen += u128::from(count);
            if seen >= rank {
                return Some(value);
            }
        }
        None
    }

    /// The middle of each bucket that is not empty, and its count, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let all = self.counts.iter().enumerate();
        all.filter(|(_, count)| **count > 0).map(|(index, count)| (middle_of(index), *count))
    }
}

fn index_of(nanos: u64) -> usize {
    let exponent = (63 - (nanos | 1).leading_zeros()).saturating_sub(BITS);
    let base = u64::from(exponent) << BITS;
    usize::try_from(base + (nanos >> exponent)).unwrap_or(usize::MAX)
}

fn middle_of(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    let exponent = (index >> BITS).saturating_sub(1);
    let mantissa = index - (exponent << BITS);
    (mantissa << exponent) + ((1 << exponent) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_near_the_middle_of_its_bucket_and_buckets_are_in_order() {
        let around =
            |shift: u32| [-1, 0, 1].map(|near| (1_u64 << shift).saturating_add_signed(near));
        let mut values: Vec<u64> = (0..64).flat_map(around).collect();
        values.extend((0..10_000).map(|n| n * 7 + 3));
        values.sort_unstable();
        for pair in values.windows(2) {
            assert!(index_of(pair[0]) <= index_of(pair[1]), "{pair:?}");
        }
        for value in values {
            let middle = middle_of(index_of(value));
            assert!(middle.abs_diff(value) <= value / 400, "{value}: {middle}");
        }
        assert!(index_of(u64::MAX) < 14_592);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), None);
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!(histogram.quantile(500), Some(50));
        assert_eq!(histogram.quantile(990), Some(99));
        assert_eq!(histogram.quantile(1000), Some(100));
        let mut other = Histogram::default();
        other.record(1_000_000);
        other.add(&histogram);
        assert_eq!((other.total(), other.quantile(1)), (101, Some(1)));
    }
}

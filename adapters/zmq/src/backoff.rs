//! The wait before the next attempt.

use std::time::Duration;

use lictor_kernel::Prng;

use crate::RetryConfig;

/// Doubles with each failure, half of it fixed and half jitter, so that many processes that have
/// lost one forwarder do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    config: RetryConfig,
    prng: Prng,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(config: RetryConfig, seed: u64) -> Self {
        Self { config, prng: Prng::new(seed), failures: 0 }
    }

    /// The last attempt has succeeded.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.min(30));
        self.failures = self.failures.saturating_add(1);
        let most = self.config.base.saturating_mul(doubled).min(self.config.max);
        let half = most / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.prng.below(nanos.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_begin_again_after_a_success() {
        let (base, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut backoff = Backoff::new(RetryConfig { base, max, ..RetryConfig::DEFAULT }, 7);
        let mut most = base;
        for _ in 0..40 {
            let wait = backoff.next();
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            most = (most * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.next() <= base);
    }
}

//! Backoff: the curves against plain arithmetic on wide numbers, the jitters by their bounds.

use std::time::Duration;

use lictor_kernel::{Backoff, BackoffState, Curve, Instant, Jitter, Prng};
use proptest::prelude::*;

const CURVES: [Curve; 4] = [Curve::None, Curve::Constant, Curve::Linear, Curve::Exponential];
const JITTERS: [Jitter; 4] = [Jitter::None, Jitter::Quarter, Jitter::Full, Jitter::Decorrelated];

/// Any policy that a supervisor accepts, with lengths from nothing to beyond 584 years.
fn policy(jitters: &'static [Jitter]) -> impl Strategy<Value = Backoff> {
    let length = || {
        prop_oneof![
            (0..100_u64).prop_map(Duration::from_nanos),
            (0..100_u64).prop_map(Duration::from_secs),
            any::<u64>().prop_map(Duration::from_nanos),
            any::<u64>().prop_map(Duration::from_secs),
        ]
    };
    let stable_after = prop_oneof![Just(None), length().prop_map(Some)];
    (
        prop::sample::select(&CURVES[..]),
        length(),
        length(),
        prop::sample::select(jitters),
        stable_after,
    )
        .prop_map(|(curve, a, b, jitter, stable_after)| Backoff {
            curve,
            base: a.min(b),
            max: a.max(b),
            jitter,
            stable_after,
        })
}

fn occupancy() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..12_u32, 1 => 1000..1100_u32, 1 => any::<u32>()]
}

/// The wait by the curve, in numbers that do not overflow for what is tested.
fn plain(backoff: &Backoff, n: u32) -> u128 {
    let base = backoff.base.as_nanos();
    let n = n.max(1);
    let raw = match backoff.curve {
        Curve::None => 0,
        Curve::Constant => base,
        Curve::Linear => base * u128::from(n),
        // 2^64 nanoseconds are beyond every cap.
        Curve::Exponential if n > 64 => base << 64,
        Curve::Exponential => base << (n - 1),
    };
    raw.min(backoff.max.as_nanos()).min(u128::from(u64::MAX))
}

/// One wait of a child that crashed as the n-th.
fn wait(backoff: &Backoff, n: u32, seed: u64) -> u128 {
    let mut prng = Prng::new(seed);
    BackoffState::default().next_delay(backoff, n, None, Instant::ZERO, &mut prng).as_nanos()
}

proptest! {
    // Rules: B1, B2
    #[test]
    fn the_curves_are_what_they_say(
        backoff in policy(&[Jitter::None]), n in occupancy(), seed: u64,
    ) {
        // Beyond 2^64 nanoseconds the shift above would lose bits of the base.
        prop_assume!(backoff.base.as_nanos() < 1 << 62);
        prop_assert_eq!(backoff.curve_delay(n).as_nanos(), plain(&backoff, n));
        prop_assert_eq!(wait(&backoff, n, seed), plain(&backoff, n));
    }

    // Rules: B1, B2, A5
    #[test]
    fn no_wait_is_longer_than_the_cap(
        backoff in policy(&JITTERS),
        crashes in prop::collection::vec((occupancy(), any::<Option<u64>>(), any::<u64>()), 1..20),
        seed: u64,
    ) {
        let (mut state, mut prng) = (BackoffState::default(), Prng::new(seed));
        for (n, since, at) in crashes {
            let (since, at) = (since.map(Instant::from_nanos), Instant::from_nanos(at));
            let delay = state.next_delay(&backoff, n, since, at, &mut prng);
            prop_assert!(delay <= backoff.max);
            if backoff.curve == Curve::None {
                prop_assert!(delay.is_zero());
            }
        }
    }

    // Rule: B3
    #[test]
    fn a_quarter_more_and_within_the_cap(
        backoff in policy(&[Jitter::Quarter]), n in occupancy(), seed: u64,
    ) {
        prop_assume!(backoff.max.as_nanos() < 1 << 62);
        let delay = backoff.curve_delay(n).as_nanos();
        let wait = wait(&backoff, n, seed);
        let (width, max) = (delay / 4, backoff.max.as_nanos());
        if width == 0 {
            prop_assert_eq!(wait, delay);
        } else if delay + width <= max {
            prop_assert!((delay..delay + width).contains(&wait));
        } else {
            prop_assert!((max - width..max).contains(&wait), "{wait} near {max}");
        }
    }

    // Rule: B4
    #[test]
    fn full_is_anything_up_to_it(backoff in policy(&[Jitter::Full]), n in occupancy(), seed: u64) {
        prop_assert!(wait(&backoff, n, seed) <= backoff.curve_delay(n).as_nanos());
    }

    // Rule: B5
    #[test]
    fn decorrelated_follows_the_wait_before(
        backoff in policy(&[Jitter::Decorrelated]),
        crashes in prop::collection::vec(1..4_u32, 1..30),
        seed: u64,
    ) {
        prop_assume!(backoff.curve != Curve::None && backoff.max.as_nanos() < 1 << 62);
        let (mut state, mut prng) = (BackoffState::default(), Prng::new(seed));
        let (base, max) = (backoff.base.as_nanos(), backoff.max.as_nanos());
        let mut previous = 0;
        for n in crashes {
            if n == 1 {
                previous = 0;
            }
            let high = (previous * 3).clamp(base, max);
            let wait = state.next_delay(&backoff, n, None, Instant::ZERO, &mut prng).as_nanos();
            prop_assert!((base..=high).contains(&wait));
            if n == 1 {
                prop_assert_eq!(wait, base);
            }
            previous = wait;
        }
    }

    // Rule: B6
    #[test]
    fn a_stable_child_waits_as_after_its_first_crash(
        backoff in policy(&JITTERS), n in occupancy(), up: u64, since: u64, seed: u64,
    ) {
        let at = Instant::from_nanos(since).saturating_add(Duration::from_nanos(up));
        let was_up = at.saturating_since(Instant::from_nanos(since));
        let stable = backoff.stable_after.is_some_and(|period| was_up >= period);
        let delay = |n, since: Option<u64>| {
            let (mut state, mut prng) = (BackoffState::default(), Prng::new(seed));
            state.next_delay(&backoff, n, since.map(Instant::from_nanos), at, &mut prng)
        };
        prop_assert_eq!(delay(n, Some(since)), delay(if stable { 1 } else { n }, None));
    }

    // Rule: B7
    #[test]
    fn the_same_seed_gives_the_same_waits(
        backoff in policy(&JITTERS), ns in prop::collection::vec(occupancy(), 0..20), seed: u64,
    ) {
        let waits = || {
            let (mut state, mut prng) = (BackoffState::default(), Prng::new(seed));
            let mut delay = |n| state.next_delay(&backoff, n, None, Instant::ZERO, &mut prng);
            ns.iter().map(|n| delay(*n)).collect::<Vec<_>>()
        };
        prop_assert_eq!(waits(), waits());
    }
}

/// How many of 1000 waits fall into each tenth of an interval.
fn tenths(backoff: &Backoff, n: u32, low: u128, high: u128) -> [u32; 10] {
    let mut tenths = [0; 10];
    for seed in 0..1000 {
        let tenth = (wait(backoff, n, seed) - low) * 10 / (high - low);
        tenths[usize::try_from(tenth).unwrap_or(usize::MAX).min(9)] += 1;
    }
    tenths
}

// Rules: B3, B4
#[test]
fn jitter_is_uniform_also_at_the_cap() {
    let second = Duration::from_secs(1);
    let quarter = Backoff::exponential(second, 8 * second).jitter(Jitter::Quarter);
    let full = Backoff::exponential(second, 8 * second).jitter(Jitter::Full);
    let s = second.as_nanos();
    for (backoff, n, low, high) in [
        (quarter, 1, s, s + s / 4),
        // At the cap the interval has moved down: civitas' D12 would give 8 s each time.
        (quarter, 10, 6 * s, 8 * s),
        (full, 3, 0, 4 * s),
        (full, 10, 0, 8 * s),
    ] {
        let tenths = tenths(&backoff, n, low, high);
        // 100 expected, and 9.5 is one standard deviation.
        assert!(tenths.iter().all(|count| (50..150).contains(count)), "{tenths:?}");
    }
}

// Rules: B3, B4, B5
#[test]
fn the_ends_of_an_interval_are_as_stated() {
    let nanos = Duration::from_nanos;
    let waits = |backoff: Backoff, n| -> Vec<u128> {
        let waits = (0..500).map(|seed| {
            let (mut state, mut prng) = (BackoffState::default(), Prng::new(seed));
            let mut delay = |n| state.next_delay(&backoff, n, None, Instant::ZERO, &mut prng);
            delay(1);
            delay(n).as_nanos()
        });
        waits.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(waits(Backoff::constant(nanos(8)).jitter(Jitter::Quarter), 2), [8, 9]);
    assert_eq!(waits(Backoff::constant(nanos(3)).jitter(Jitter::Full), 2), [0, 1, 2, 3]);
    assert_eq!(waits(Backoff::constant(nanos(1)).jitter(Jitter::Decorrelated), 2), [1, 2, 3]);
}

// Rule: B5
#[test]
fn decorrelated_is_uniform_over_three_times_the_wait_before() {
    let second = Duration::from_secs(1);
    let backoff = Backoff::constant(second).jitter(Jitter::Decorrelated);
    let mut tenths = [0_u32; 10];
    for seed in 0..1000 {
        let (mut state, mut prng) = (BackoffState::default(), Prng::new(seed));
        let mut delay = |n| state.next_delay(&backoff, n, None, Instant::ZERO, &mut prng);
        assert_eq!(delay(1), second);
        let beyond = (delay(2) - second).as_nanos() * 10 / (2 * second).as_nanos();
        tenths[usize::try_from(beyond).unwrap_or(usize::MAX).min(9)] += 1;
    }
    assert!(tenths.iter().all(|count| (50..150).contains(count)), "{tenths:?}");
}

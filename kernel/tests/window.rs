//! The restart window against the list of all crashes ever entered.

use std::time::Duration;

use lictor_kernel::{Instant, Intensity, RestartWindow, Verdict};
use proptest::prelude::*;

/// Crashes that lie within the window that ends with the newest one.
fn within(entered: &[u64], period: u64) -> usize {
    let newest = entered.iter().copied().max().unwrap_or(0);
    entered.iter().filter(|crash| newest - **crash < period).count()
}

fn window(max_restarts: u32, period: u64) -> RestartWindow {
    RestartWindow::new(Intensity { max_restarts, period: Duration::from_nanos(period) })
}

/// Instants close together, anywhere in time.
fn instants() -> impl Strategy<Value = Vec<u64>> {
    (
        prop_oneof![Just(0), Just(1_u64 << 40), Just(u64::MAX - 24)],
        prop::collection::vec(0..25_u64, 0..60),
    )
        .prop_map(|(base, offsets)| offsets.into_iter().map(|offset| base + offset).collect())
}

proptest! {
    // Rules: W1, W2, W3, W4
    #[test]
    fn it_counts_what_lies_within(
        crashes in instants(), in_order: bool, max_restarts in 0..6_u32, period in 1..12_u64,
    ) {
        let mut crashes = crashes;
        if in_order {
            crashes.sort_unstable();
        }
        let mut window = window(max_restarts, period);
        let mut entered = Vec::new();
        for crash in crashes {
            entered.push(crash);
            let expected = within(&entered, period);
            let verdict = window.record(Instant::from_nanos(crash));
            if expected > usize::try_from(max_restarts).unwrap() {
                // A used-up budget is no end of the count: later it may be within again.
                prop_assert_eq!(verdict, Verdict::GiveUp);
                continue;
            }
            let occupancy = u32::try_from(expected).unwrap();
            prop_assert_eq!(verdict, Verdict::Restart { occupancy });
            let newest = entered.iter().copied().max().unwrap();
            prop_assert_eq!(window.occupancy(Instant::from_nanos(newest)), occupancy);
        }
    }

    // Rule: W4
    #[test]
    fn an_early_crash_that_is_entered_late_costs_no_later_one(
        crashes in instants(), late in 0..25_u64, period in 1..12_u64,
    ) {
        let mut window = window(1000, period);
        for crash in &crashes {
            window.record(Instant::from_nanos(*crash));
        }
        let Some(newest) = crashes.iter().copied().max() else { return Ok(()) };
        let before = window.occupancy(Instant::from_nanos(newest));
        let early = newest.saturating_sub(late);
        window.record(Instant::from_nanos(early));
        let more = u32::from(newest - early < period);
        prop_assert_eq!(window.occupancy(Instant::from_nanos(newest)), before + more);
    }

    // Rules: W5, A5
    #[test]
    fn it_is_bounded_whatever_comes(
        crashes in prop::collection::vec(any::<u64>(), 0..100),
        max_restarts in 0..5_u32,
        period in 1..=u64::MAX,
    ) {
        let mut window = window(max_restarts, period);
        for crash in crashes {
            window.record(Instant::from_nanos(crash));
            // Seen from before all time every entry counts: `since` saturates to zero.
            prop_assert!(window.occupancy(Instant::ZERO) <= max_restarts + 1);
        }
        window.clear();
        prop_assert_eq!(window.occupancy(Instant::ZERO), 0);
    }
}

// Rule: W1
#[test]
fn n_restarts_are_allowed_and_no_more() {
    for n in 0..10 {
        let mut window = window(n, 1);
        for occupancy in 1..=n {
            assert_eq!(window.record(Instant::ZERO), Verdict::Restart { occupancy });
        }
        assert_eq!(window.record(Instant::ZERO), Verdict::GiveUp);
    }
}

// Rule: W2
#[test]
fn a_crash_exactly_as_old_as_the_window_counts_no_longer() {
    let mut window = window(1, 5);
    assert_eq!(window.record(Instant::from_nanos(10)), Verdict::Restart { occupancy: 1 });
    assert_eq!(window.record(Instant::from_nanos(15)), Verdict::Restart { occupancy: 1 });
    assert_eq!(window.record(Instant::from_nanos(19)), Verdict::GiveUp);
}

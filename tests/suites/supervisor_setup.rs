//! Random configurations of one supervisor, with its children, and how many are tried.

use core::time::Duration;

use lictor_kernel::supervisor::Config;
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, Curve, ExitReason, Instant, Intensity,
    Jitter, Restart, Shutdown, Strategy as Plan,
};
use proptest::prelude::*;

/// All reasons.
const REASONS: [ExitReason; 8] = [
    ExitReason::Normal,
    ExitReason::Shutdown,
    ExitReason::ShutdownBecause,
    ExitReason::Killed,
    ExitReason::Crashed,
    ExitReason::StartTimeout,
    ExitReason::NoConnection,
    ExitReason::RestartsExhausted,
];

fn millis(range: core::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

pub(crate) fn any_reason() -> impl Strategy<Value = ExitReason> {
    prop_oneof![
        4 => Just(ExitReason::Crashed),
        2 => Just(ExitReason::Normal),
        3 => prop::sample::select(&REASONS[..]),
    ]
}

fn any_shutdown() -> impl Strategy<Value = Shutdown> {
    prop_oneof![
        1 => Just(Shutdown::BrutalKill),
        1 => Just(Shutdown::Infinity),
        1 => Just(Shutdown::Timeout(Duration::ZERO)),
        3 => (0..=3_u64).prop_map(|n| Shutdown::Timeout(Duration::from_millis(n * 500))),
        1 => Just(Shutdown::Timeout(Duration::MAX)),
    ]
}

/// Any specification that `auto_shutdown` allows.
pub(crate) fn any_spec(auto: AutoShutdown) -> impl Strategy<Value = ChildSpec> {
    let restart = prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        2 => Just(Restart::Temporary),
    ];
    let timeout = prop_oneof![
        4 => Just(None),
        1 => (0..=4_u64).prop_map(|n| Some(Duration::from_millis(n * 500))),
    ];
    (restart, any_shutdown(), any::<bool>(), any::<bool>(), timeout).prop_map(
        move |(restart, shutdown, significant, boss, start_timeout)| ChildSpec {
            restart,
            shutdown,
            significant: significant
                && auto != AutoShutdown::Never
                && restart != Restart::Permanent,
            kind: if boss { ChildKind::Supervisor } else { ChildKind::Worker },
            start_timeout,
        },
    )
}

fn any_backoff(jitter: Jitter) -> impl Strategy<Value = Backoff> {
    let curve = prop_oneof![
        3 => Just(Curve::None),
        1 => Just(Curve::Constant),
        1 => Just(Curve::Linear),
        1 => Just(Curve::Exponential),
    ];
    let stable = prop_oneof![3 => Just(None), 1 => millis(0..=3000).prop_map(Some)];
    (curve, 0..=4_u64, 0..=8_u64, stable).prop_map(move |(curve, base, more, stable_after)| {
        let base = Duration::from_millis(base * 250);
        let max = base + Duration::from_millis(more * 250);
        Backoff { curve, base, max, jitter, stable_after }
    })
}

/// A configuration, its children, and the instant at which it begins.
pub(crate) type Setup = (Config, Vec<(ChildId, ChildSpec)>, Instant);

pub(crate) fn any_setup(jitter: Jitter) -> impl Strategy<Value = Setup> {
    let plan = prop::sample::select(vec![Plan::OneForOne, Plan::OneForAll, Plan::RestForOne]);
    let auto = prop::sample::select(vec![
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
    ]);
    let begin = prop_oneof![
        4 => Just(Instant::from_secs(100)),
        1 => Just(Instant::ZERO),
        1 => (0..=6_u64).prop_map(|s| Instant::MAX.saturating_sub(Duration::from_secs(s))),
    ];
    let period = prop_oneof![4 => (1..=12_u64).prop_map(|n| n * 500), 1 => Just(60_000)];
    let numbers = (0..=4_u32, period, 0..=2_u32, any::<u64>());
    (plan, auto, any_backoff(jitter), numbers, begin).prop_flat_map(
        |(strategy, auto_shutdown, backoff, (max_restarts, period, room, seed), begin)| {
            let period = Duration::from_millis(period);
            prop::collection::vec(any_spec(auto_shutdown), 2..=5).prop_map(move |specs| {
                let specs: Vec<_> = (0..).map(|id| ChildId(id * 7 % 10)).zip(specs).collect();
                let config = Config {
                    strategy,
                    intensity: Intensity { max_restarts, period },
                    backoff,
                    auto_shutdown,
                    exhausted: [ExitReason::RestartsExhausted, ExitReason::Shutdown]
                        [usize::from(seed % 4 == 0)],
                    max_children: u32::try_from(specs.len()).unwrap_or(0) + room,
                    seed,
                    first_incarnation: seed % 3,
                };
                (config, specs, begin)
            })
        },
    )
}

/// At least this many cases, or `PROPTEST_CASES` if that is more. The model is quadratic in the
/// length of a history, so shrinking has a bound in time.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(cases),
        failure_persistence: None,
        max_shrink_iters: 5_000,
        max_shrink_time: 20_000,
        ..default
    }
}

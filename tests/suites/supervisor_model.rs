//! The kernel's supervisor and the reference model in lock-step over random histories, and the rules
//! S1 to S9 upon every call of them.

use core::time::Duration;

use lictor_kernel::supervisor::Config;
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, Curve, ExitReason, Instant, Intensity,
    Jitter, Restart, Shutdown, Strategy as Plan,
};
use lictor_sim::operation::{Advance, Answer, Command, Operation, Session, Static};
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

fn compare(setup: &Setup, operations: &[Operation], model: bool) -> Result<(), TestCaseError> {
    let (config, specs, begin) = setup;
    let subject = Static::new(config, specs).expect("a valid configuration");
    let subject = if model { subject } else { subject.without_model() };
    let mut session = Session::new(subject, *begin);
    let mut log = String::new();
    for operation in operations {
        // Obeying may go on for ever (a start that is always wanted again); a few rounds suffice.
        let rounds = if *operation == Operation::Obey { 20 } else { 1 };
        for _ in 0..rounds {
            let played = session.play_told(*operation, &mut |now, call, seen| {
                log += &format!("  {now:?} {call:?} -> {:?}\n", seen.actions);
            });
            played.map_err(|fault| TestCaseError::fail(format!("{fault}\nafter\n{log}")))?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn kernel_and_model_agree(setup in any_setup(Jitter::None), ops in any_history()) {
        compare(&setup, &ops, true)?;
    }

    // Waits that are drawn: no model foretells them, the rules bound them.
    #[test]
    fn the_rules_hold_with_jitter(
        setup in prop::sample::select(vec![Jitter::Quarter, Jitter::Full, Jitter::Decorrelated])
            .prop_flat_map(any_setup),
        ops in any_history(),
    ) {
        compare(&setup, &ops, false)?;
    }
}

// ---- random things ------------------------------------------------------------------------------

fn millis(range: core::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn any_reason() -> impl Strategy<Value = ExitReason> {
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
fn any_spec(auto: AutoShutdown) -> impl Strategy<Value = ChildSpec> {
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
type Setup = (Config, Vec<(ChildId, ChildSpec)>, Instant);

fn any_setup(jitter: Jitter) -> impl Strategy<Value = Setup> {
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

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Well),
        1 => Just(Answer::Late),
        1 => Just(Answer::Ignored),
        2 => Just(Answer::Failed),
        2 => any_reason().prop_map(Answer::Exited),
    ]
}

fn any_advance() -> impl Strategy<Value = Advance> {
    prop_oneof![
        6 => Just(Advance::ToDeadline),
        1 => Just(Advance::BeforeDeadline),
        2 => (0..=4_u64).prop_map(|n| Advance::PastDeadline(Duration::from_millis(n * 250))),
        2 => (-1..=1_i8).prop_map(Advance::ToWindowEdge),
        3 => (0..=8_u64).prop_map(|n| Advance::By(Duration::from_millis(n * 250))),
        1 => prop_oneof![Just(Duration::from_nanos(1)), Just(Duration::MAX)].prop_map(Advance::By),
    ]
}

fn any_op() -> impl Strategy<Value = Operation> {
    let command = (0..4_u8, 0..10_u32, any_spec(AutoShutdown::AnySignificant)).prop_map(
        |(what, id, spec)| {
            let id = ChildId(id);
            let command = match what {
                0 => Command::Add { id, spec, spawner: None },
                1 => Command::Terminate { id, how: None },
                2 => Command::Restart(id),
                _ => Command::Delete(id),
            };
            Operation::Command { at: 0, command }
        },
    );
    let within = prop_oneof![
        1 => Just(None),
        2 => (0..=4_u64).prop_map(|n| Some(Duration::from_millis(n * 500))),
    ];
    prop_oneof![
        20 => (any::<u16>(), any_answer()).prop_map(|(which, how)| Operation::Answer { which, how }),
        12 => Just(Operation::Obey),
        16 => (any::<u16>(), any_reason())
            .prop_map(|(which, reason)| Operation::Die { which, reason }),
        2 => (any::<bool>(), any_reason())
            .prop_map(|(reversed, reason)| Operation::AllDie { reversed, reason }),
        8 => command,
        12 => any_advance().prop_map(Operation::Advance),
        3 => Just(Operation::Timeout),
        1 => within.prop_map(|within| Operation::Shutdown { within }),
        1 => prop_oneof![5 => Just(Operation::Begin), 1 => Just(Operation::Kill)],
        3 => (any::<u8>(), any::<u16>(), any_reason())
            .prop_map(|(what, which, reason)| Operation::Nonsense { what, which, reason }),
    ]
}

/// At least this many cases, or `PROPTEST_CASES` if that is more. The model is quadratic in the
/// length of a history, so shrinking has a bound in time.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(cases),
        failure_persistence: None,
        max_shrink_iters: 5_000,
        max_shrink_time: 20_000,
        ..default
    }
}

/// A history: mostly it begins with a proper start.
fn any_history() -> impl Strategy<Value = Vec<Operation>> {
    let prefix = prop_oneof![
        8 => Just(vec![Operation::Begin, Operation::Obey]),
        2 => Just(vec![Operation::Begin]),
        1 => Just(vec![]),
    ];
    (prefix, prop::collection::vec(any_op(), 40..80)).prop_map(|(mut ops, more)| {
        ops.extend(more);
        ops
    })
}

//! The dynamic supervisor against a plain list of children, over random histories.

use std::time::Duration;

use lictor_kernel::dynamic_supervisor::{Budget, Config, SpawnerId};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildSpec, Curve, ExitReason, Instant, Intensity, Jitter,
    Restart, Shutdown,
};
use lictor_sim::operation::{
    Advance, Answer, Call, Command, Dynamic, Fault, Operation, Seen, Session,
};
use proptest::prelude::*;

fn nanos(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_nanos)
}

fn any_reason() -> impl Strategy<Value = ExitReason> {
    use ExitReason as R;
    prop_oneof![
        4 => Just(R::Crashed),
        2 => Just(R::Normal),
        2 => Just(R::Shutdown),
        1 => Just(R::ShutdownBecause),
        2 => Just(R::Killed),
        1 => Just(R::NoConnection),
        1 => Just(R::RestartsExhausted),
    ]
}

fn any_shutdown() -> impl Strategy<Value = Shutdown> {
    prop_oneof![
        Just(Shutdown::BrutalKill),
        nanos(0..5).prop_map(Shutdown::Timeout),
        Just(Shutdown::Infinity),
    ]
}

fn any_spec() -> impl Strategy<Value = ChildSpec> {
    let restart = prop_oneof![
        3 => Just(Restart::Permanent), 2 => Just(Restart::Transient), 1 => Just(Restart::Temporary),
    ];
    let start_timeout = proptest::option::weighted(0.3, nanos(0..4));
    (restart, any_shutdown(), prop::bool::weighted(0.3), start_timeout).prop_map(
        |(restart, shutdown, significant, start_timeout)| ChildSpec {
            restart,
            shutdown,
            significant,
            start_timeout,
            ..ChildSpec::worker()
        },
    )
}

fn any_config() -> impl Strategy<Value = Config> {
    let curve =
        prop::sample::select(vec![Curve::None, Curve::Constant, Curve::Linear, Curve::Exponential]);
    let backoff = (curve, nanos(0..4), nanos(4..12), proptest::option::of(nanos(0..6))).prop_map(
        |(curve, base, max, stable_after)| Backoff {
            curve,
            base,
            max,
            jitter: Jitter::None,
            stable_after,
        },
    );
    let auto_shutdown = prop::sample::select(vec![
        AutoShutdown::Never,
        AutoShutdown::AnySignificant,
        AutoShutdown::AllSignificant,
    ]);
    let budget = prop::sample::select(vec![Budget::Child, Budget::Shared]);
    let few = || proptest::option::weighted(0.3, 1..5_u32);
    let some = || proptest::option::weighted(0.3, 1..12_u64);
    let limits = (few(), some(), few(), some());
    (backoff, auto_shutdown, budget, 0..5_u32, nanos(1..20), limits).prop_map(
        |(backoff, auto_shutdown, budget, max_restarts, period, limits)| Config {
            intensity: Intensity { max_restarts, period },
            budget,
            backoff,
            auto_shutdown,
            max_children: limits.0,
            max_total_spawns: limits.1,
            max_children_per_spawner: limits.2,
            max_total_spawns_per_spawner: limits.3,
            ..Config::default()
        },
    )
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        8 => Just(Answer::Well),
        1 => Just(Answer::Late),
        1 => Just(Answer::Ignored),
        2 => Just(Answer::Failed),
        2 => any_reason().prop_map(Answer::Exited),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let id = || (0..5_u32).prop_map(ChildId);
    let spawner = || (0..3_u64).prop_map(SpawnerId);
    prop_oneof![
        8 => (id(), any_spec(), proptest::option::of(spawner()))
            .prop_map(|(id, spec, spawner)| Command::Add { id, spec, spawner }),
        2 => (id(), proptest::option::of(any_shutdown()))
            .prop_map(|(id, how)| Command::Terminate { id, how }),
        1 => spawner().prop_map(Command::Forget),
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let which = any::<u16>;
    let within = proptest::option::of(nanos(0..10));
    prop_oneof![
        11 => any_command().prop_map(|command| Operation::Command { at: 0, command }),
        14 => (which(), any_answer()).prop_map(|(which, how)| Operation::Answer { which, how }),
        8 => (which(), any_reason()).prop_map(|(which, reason)| Operation::Die { which, reason }),
        4 => nanos(0..4).prop_map(|by| Operation::Advance(Advance::By(by))),
        1 => (0..2_i8).prop_map(|off| Operation::Advance(Advance::ToWindowEdge(off))),
        1 => nanos(1..3).prop_map(|by| Operation::Advance(Advance::PastDeadline(by))),
        6 => Just(Operation::Advance(Advance::ToDeadline)),
        3 => Just(Operation::Timeout),
        1 => within.prop_map(|within| Operation::Shutdown { within }),
        1 => prop::bool::weighted(0.3)
            .prop_map(|kill| if kill { Operation::Kill } else { Operation::Begin }),
        3 => (any::<u8>(), which(), any_reason())
            .prop_map(|(what, which, reason)| Operation::Nonsense { what, which, reason }),
    ]
}

type Log = Vec<(Instant, Call, Seen)>;

fn play(
    session: &mut Session<Dynamic>,
    operation: Operation,
    log: &mut Log,
) -> Result<(), TestCaseError> {
    let mut tell = |now, call, seen: &Seen| log.push((now, call, seen.clone()));
    let played = session.play_told(operation, &mut tell);
    played.map_err(|fault: Fault| {
        let calls = log
            .iter()
            .map(|(now, call, seen)| format!("  {now:?} {call:?} -> {:?}\n", seen.actions));
        TestCaseError::fail(format!("{fault}\nafter\n{}", calls.collect::<String>()))
    })
}

/// A session over all of these, after its start.
fn session(
    config: &Config,
    model: bool,
    operations: &[Operation],
    begin: u64,
) -> Result<(Session<Dynamic>, Log), TestCaseError> {
    let subject = Dynamic::new(config).expect("a valid configuration");
    let subject = if model { subject } else { subject.without_model() };
    let (mut session, mut log) = (Session::new(subject, Instant::from_nanos(begin)), Log::new());
    play(&mut session, Operation::Begin, &mut log)?;
    for operation in operations {
        play(&mut session, *operation, &mut log)?;
    }
    Ok((session, log))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // Rules: Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, V26, V27, A2, A3
    #[test]
    fn it_does_what_the_plain_list_does(
        config in any_config(),
        operations in prop::collection::vec(any_operation(), 0..80),
        begin in prop_oneof![Just(0), 1..100_u64, Just(u64::MAX - 30)],
    ) {
        session(&config, true, &operations, begin)?;
    }

    // Rules: Y6, Y7, Y8, V27
    #[test]
    fn a_stop_ends_when_the_last_has_gone(
        config in any_config(),
        operations in prop::collection::vec(any_operation(), 0..60),
        within in proptest::option::of(nanos(0..10)),
    ) {
        let (mut session, mut log) = session(&config, true, &operations, 0)?;
        play(&mut session, Operation::Shutdown { within }, &mut log)?;
        // The driver does as it is told.
        while session.world.asked().next().is_some() {
            play(&mut session, Operation::Obey, &mut log)?;
        }
        prop_assert!(session.subject.kernel().is_stopped());
        let remembered = session.subject.kernel().spawners();
        prop_assert!(remembered == 0 || config.max_total_spawns_per_spawner.is_some());
        for spawner in 0..3 {
            let command = Command::Forget(SpawnerId(spawner));
            play(&mut session, Operation::Command { at: 0, command }, &mut log)?;
        }
        prop_assert_eq!(session.subject.kernel().spawners(), 0);
    }

    // Rule: A4
    #[test]
    fn the_same_calls_do_the_same(
        config in any_config(),
        operations in prop::collection::vec(any_operation(), 0..60),
        jitter in prop::sample::select(vec![Jitter::Quarter, Jitter::Full, Jitter::Decorrelated]),
        seed: u64,
    ) {
        let backoff = config.backoff.jitter(jitter);
        let config = Config { seed, backoff, ..config };
        let run = || session(&config, false, &operations, 0);
        let ((first, first_log), (second, second_log)) = (run()?, run()?);
        prop_assert_eq!(first.subject.kernel(), second.subject.kernel());
        prop_assert_eq!(first_log, second_log);
    }
}

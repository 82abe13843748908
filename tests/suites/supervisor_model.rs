//! The kernel's supervisor and the reference model in lock-step over random histories, and the rules
//! S1 to S9 upon every call of them.

mod supervisor_setup;

use core::time::Duration;

use lictor_kernel::{AutoShutdown, ChildId, Jitter};
use lictor_sim::operation::{Advance, Answer, Command, Operation, Session, Static};
use proptest::prelude::*;

use supervisor_setup::{Setup, any_reason, any_setup, any_spec, config};

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

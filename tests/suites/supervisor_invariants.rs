//! What must hold of a supervisor whatever happens, checked after every call by an observer that
//! knows no more than a driver does.

mod supervisor_observer;
mod supervisor_setup;
mod supervisor_support;

use core::time::Duration;

use lictor_kernel::{Jitter, Signal};
use lictor_sim::model::Input;
use proptest::prelude::*;

use supervisor_observer::Observer;
use supervisor_setup::{Setup, any_setup, config};
use supervisor_support::{Answer, Op, any_history};

/// Plays a history. Obeying may go on for ever (a start is wanted again and again); a few rounds
/// suffice.
fn play(setup: &Setup, ops: &[Op]) -> Observer {
    let (config, specs, begin) = setup;
    let mut observer = Observer::new(config, specs, *begin);
    for op in ops {
        for _ in 0..20 {
            let inputs = observer.world.inputs(*op);
            let again = matches!(op, Op::Obey) && !inputs.is_empty();
            for input in inputs {
                observer.call(input);
            }
            if !again {
                break;
            }
        }
    }
    observer
}

/// Everyone who is asked does as told; it takes no more answers than there are processes, and as
/// many again that were started on the way.
fn obey_until_over(observer: &mut Observer) {
    for _ in 0..40 {
        for input in observer.world.inputs(Op::Obey) {
            observer.call(input);
        }
    }
    assert!(observer.kernel.is_stopped(), "the shutdown does not end: {:?}", observer.kernel);
}

fn any_jitter() -> impl Strategy<Value = Jitter> {
    prop::sample::select(vec![Jitter::None, Jitter::Quarter, Jitter::Full, Jitter::Decorrelated])
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn a_shutdown_that_is_obeyed_ends(
        setup in any_jitter().prop_flat_map(any_setup),
        ops in any_history(),
    ) {
        let mut observer = play(&setup, &ops);
        observer.call(Input::Shutdown(None));
        obey_until_over(&mut observer);
    }

    #[test]
    fn a_shutdown_that_nobody_obeys_ends_at_its_deadline(
        setup in any_jitter().prop_flat_map(any_setup),
        ops in any_history(),
        within in 0..3_u64,
    ) {
        let mut observer = play(&setup, &ops);
        let deadline = observer.world.now.saturating_add(Duration::from_secs(within));
        observer.call(Input::Shutdown(Some(deadline)));
        observer.world.now = deadline;
        observer.call(Input::Timeout);
        let left = observer.world.processes.clone();
        for process in left {
            prop_assert_eq!(process.told, Some(Signal::Kill), "{:?} is spared", process);
            let event = observer.world.answer(process.pid, Answer::Well);
            observer.call(Input::Event(event));
        }
        prop_assert!(observer.kernel.is_stopped(), "the deadline does not bound the stop");
    }

    #[test]
    fn a_kill_ends_when_the_last_is_gone(
        setup in any_jitter().prop_flat_map(any_setup),
        ops in any_history(),
    ) {
        let mut observer = play(&setup, &ops);
        observer.call(Input::Kill);
        for process in observer.world.processes.clone() {
            prop_assert_eq!(process.told, Some(Signal::Kill), "{:?} is spared", process);
            let event = observer.world.answer(process.pid, Answer::Well);
            observer.call(Input::Event(event));
        }
        prop_assert!(observer.kernel.is_stopped(), "the kill does not end");
    }
}

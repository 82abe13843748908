//! A policy that promises too much, and the smallest history that shows it.
//!
//! The promise: three children with five restarts within ten seconds survive any six crashes in a
//! minute. Proptest looks for a history that breaks it, and shrinks what it finds.
//!
//! ```console
//! $ cargo run -p lictor-sim --features proptest --example property_test_a_restart_policy
//! ```
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use lictor_kernel::supervisor::Config;
use lictor_kernel::{Backoff, Intensity};
use lictor_sim::prop::{Spec, histories};
use proptest::test_runner::{Config as Runs, TestCaseError, TestError, TestRunner};

fn main() {
    let intensity = Intensity { max_restarts: 5, period: Duration::from_secs(10) };
    let backoff = Backoff::constant(Duration::from_millis(100));
    let policy = Spec::new(Config { intensity, backoff, ..Config::default() }, 3);
    // From here on it is what a test would say; ten lines with the ones above.
    let survives = |crashes: usize| {
        let runs = Runs { cases: 20_000, failure_persistence: None, ..Runs::default() };
        let histories = histories(3, 0..=crashes, Duration::from_secs(60));
        TestRunner::new_with_rng(runs, fixed()).run(&histories, |history| {
            let life = policy.live(&history);
            let gave_up = life.gave_up().is_some();
            if gave_up { Err(TestCaseError::fail(life.to_string())) } else { Ok(()) }
        })
    };

    assert!(survives(5).is_ok(), "a budget of five covers five crashes");
    println!("any five crashes: survived\n");

    match survives(6) {
        Err(TestError::Fail(life, history)) => {
            println!("six crashes that it does not survive, shrunk:\n\n{history}");
            println!("what happened:\n\n{life}");
        }
        Err(TestError::Abort(why)) => println!("no answer: {why}"),
        Ok(()) => println!("any six crashes: survived, as far as was looked"),
    }
}

/// The same search each time.
fn fixed() -> proptest::test_runner::TestRng {
    use proptest::test_runner::{RngAlgorithm, TestRng};
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}

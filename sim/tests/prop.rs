//! The strategies for users, used as they would: what the kernel promises holds for all they make.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use lictor_kernel::supervisor::{Config, Strategy as Together};
use lictor_kernel::{Backoff, ChildId, Intensity, Jitter, Restart, Supervisor};
use lictor_sim::policy::{CrashModel, Crashes, Policy, RecordedCrash, Settings, compare};
use lictor_sim::prop::{Crash, History, Reason, Spec, What, backoffs, histories, specs};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestError, TestRng, TestRunner};

const MINUTE: Duration = Duration::from_secs(60);

fn crash(millis: u64, child: u32) -> Crash {
    Crash { at: Duration::from_millis(millis), child: ChildId(child), reason: Reason::Crashed }
}

proptest! {
    #[test]
    fn the_kernel_accepts_every_spec(spec in specs(1..=5)) {
        let children: Vec<_> = (0..).map(ChildId).zip(spec.children.iter().copied()).collect();
        prop_assert!(Supervisor::new(spec.config.clone(), &children).is_ok());
        prop_assert!((1..=5).contains(&spec.children.len()));
    }

    #[test]
    fn a_life_keeps_its_budget_and_its_waits(
        spec in specs(1..=4),
        history in histories(4, 0..30, MINUTE),
    ) {
        let life = spec.live(&history);
        let Intensity { max_restarts, period } = spec.config.intensity;
        let scheduled = |what: &What| matches!(what, What::RestartScheduled(..));
        let counted: Vec<Duration> =
            life.events.iter().filter(|(_, what)| scheduled(what)).map(|(at, _)| *at).collect();
        // A crash within the budget is scheduled at its own instant, or at once.
        for from in &counted {
            let within = counted.iter().filter(|at| *at >= from && at.saturating_sub(*from) < period);
            prop_assert!(within.count() <= max_restarts as usize, "{}", life);
        }
        for (at, what) in &life.events {
            if let What::RestartScheduled(_, then) = what {
                prop_assert!(then.saturating_sub(*at) <= spec.config.backoff.max, "{}", life);
            }
        }
        prop_assert_eq!(life.gave_up().is_some(), life.ended().is_some(), "{}", life);
        if spec.children.iter().all(|child| child.restart == Restart::Permanent) && life.ended().is_none() {
            for child in 0..spec.children.len() {
                prop_assert!(life.is_up(ChildId(u32::try_from(child).unwrap())), "{}", life);
            }
        }
        prop_assert_eq!(&life, &spec.live(&history), "the same history is the same life");
    }

    /// Two drivers, written apart, see the same supervisor do the same.
    #[test]
    fn the_laboratory_and_a_life_agree(
        backoff in backoffs(),
        max_restarts in 0_u32..10,
        history in histories(3, 1..30, MINUTE),
    ) {
        let intensity = Intensity { max_restarts, period: MINUTE };
        let backoff = Backoff { jitter: Jitter::None, ..backoff };
        let times = (Duration::from_millis(7), Duration::from_millis(3));
        let mut spec = Spec::new(Config { intensity, backoff, ..Config::default() }, 3);
        (spec.start_time, spec.stop_time) = times;
        spec.children.iter_mut().for_each(|child| child.restart = Restart::Permanent);
        let policy = Policy {
            intensity,
            backoff,
            start_time: times.0,
            stop_time: times.1,
            repair_after: None,
            ..Policy::new("p", 3)
        };
        let crash = |crash: &Crash| RecordedCrash {
            at: crash.at,
            child: usize::try_from(crash.child.0).ok(),
        };
        let model = CrashModel::Recorded { crashes: history.crashes.iter().map(crash).collect() };
        let crashes = Crashes { name: "c".to_owned(), model };
        let settings = Settings { seeds: 1, duration: 60 * MINUTE, threads: 1 };
        let comparison = compare(&[policy], &[crashes], &settings, &|_| {}).unwrap();
        let figures = &comparison.figures[0];
        let life = spec.live(&history);
        let count = |wanted: fn(&What) -> bool| {
            life.events.iter().filter(|(_, what)| wanted(what)).count() as u64
        };
        prop_assert_eq!(figures.crash_count, count(|what| matches!(what, What::Crashed(..))));
        prop_assert_eq!(figures.missed_crashes, count(|what| matches!(what, What::Missed(_))));
        let restarts = count(|what| matches!(what, What::Starting(_)));
        prop_assert!((figures.restarts_per_hour - restarts as f64).abs() < 1e-6, "{}", life);
        let along = count(|what| matches!(what, What::Stopping(_)));
        prop_assert!((figures.collateral_per_hour - along as f64).abs() < 1e-6, "{}", life);
        let gave_up = figures.gave_up_first_seconds.map(|seconds| (seconds * 1e6).round());
        let ended = life.events.iter().find(|(_, what)| matches!(what, What::Ended(_)));
        let ended = ended.map(|(at, _)| (at.as_secs_f64() * 1e6).round());
        prop_assert_eq!(gave_up, ended, "{}", life);
    }

    #[test]
    fn what_is_generated_is_in_its_bounds(backoff in backoffs(), history in histories(3, 2..=9, MINUTE)) {
        prop_assert!(backoff.base <= backoff.max && backoff.max <= MINUTE);
        prop_assert!((2..=9).contains(&history.crashes.len()));
        prop_assert!(history.crashes.is_sorted());
        prop_assert!(history.crashes.iter().all(|crash| crash.at <= MINUTE && crash.child.0 < 3));
    }
}

#[test]
fn a_failing_history_is_shrunk_to_the_least_that_fails() {
    let intensity = Intensity { max_restarts: 2, period: MINUTE };
    let config = Config { intensity, backoff: Backoff::NONE, ..Config::default() };
    let policy = Spec::new(config, 3);
    let runs = Runs { failure_persistence: None, ..Runs::default() };
    let rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let failed =
        TestRunner::new_with_rng(runs, rng).run(&histories(3, 0..40, 10 * MINUTE), |history| {
            prop_assert!(policy.live(&history).gave_up().is_none());
            Ok(())
        });
    let Err(TestError::Fail(_, history)) = failed else { panic!("{failed:?}") };
    assert_eq!(history.crashes.len(), 3, "two are allowed:\n{history}");
    let first = history.crashes[0];
    assert_eq!(first, crash(0, 0), "{history}");
}

#[test]
fn a_life_can_be_read() {
    let backoff = Backoff::constant(Duration::from_secs(1));
    let config = Config { backoff, strategy: Together::OneForAll, ..Config::default() };
    let history: History = [crash(5_000, 1), crash(5_500, 1)].into_iter().collect();
    let life = Spec::new(config, 2).live(&history);
    let page = life.to_string();
    let expected = "    5.000s  child 1 ends: Crashed
    5.000s  child 1 will be started at 6.000s
    5.500s  child 1 is not up, cannot end
    6.000s  child 0 is told to stop
    6.001s  child 0 has stopped
    6.001s  child 0 is being started
    6.002s  child 0 is up
    6.002s  child 1 is being started
    6.003s  child 1 is up
";
    assert_eq!(page, expected);
    assert_eq!(life.most_restarts_within(Duration::from_millis(2)), 2);
    assert_eq!(life.most_restarts_within(Duration::from_millis(1)), 1);
    assert_eq!(life.longest_down(), Duration::from_millis(1_003));
}

use std::time::Duration;

use lictor_kernel::supervisor::Strategy;
use lictor_kernel::{Backoff, Intensity, Jitter};
use lictor_sim::policy::{
    CrashModel, Fails, Policy, PolicyError, RecordedCrash, Settings, compare,
};

use crate::{compared, crashes, ms, near, one, secs};

/// Never gives up, waits a second, starts within 50 ms.
fn patient(children: u32) -> Policy {
    let intensity = Intensity { max_restarts: u32::MAX, period: secs(60) };
    Policy { intensity, ..Policy::new("patient", children) }
}

fn recorded(list: &[(u64, Option<usize>)]) -> CrashModel {
    let crash =
        |(millis, child): &(u64, Option<usize>)| RecordedCrash { at: ms(*millis), child: *child };
    CrashModel::Recorded { crashes: list.iter().map(crash).collect() }
}

fn outage(lasts: Duration, capacity: Option<u32>, prolongs: Duration) -> CrashModel {
    CrashModel::Outage { at: secs(60), lasts, notice: ms(500), capacity, prolongs }
}

#[test]
fn a_crash_costs_the_wait_and_the_start() {
    let figures = one(&patient(1), recorded(&[(10_000, Some(0)), (20_000, Some(0))]), 1);
    let down = 2.0 * 1.050;
    near(1.0 - figures.availability, down / 3600.0, 1e-6);
    near(figures.recover_p50_seconds.unwrap(), 1.05, 0.003);
    assert_eq!((figures.crash_count, figures.missed_crashes, figures.not_recovered), (2, 0, 0));
    near(figures.restarts_per_hour, 2.0, 1e-9);
    assert_eq!(figures.gave_up_share, 0.0);
}

#[test]
fn a_crash_of_a_child_that_is_down_is_left_out_and_counted() {
    let figures = one(&patient(1), recorded(&[(10_000, Some(0)), (11_049, Some(0))]), 1);
    assert_eq!((figures.crash_count, figures.missed_crashes), (1, 1));
    let figures = one(&patient(1), recorded(&[(10_000, Some(0)), (11_051, Some(0))]), 1);
    assert_eq!((figures.crash_count, figures.missed_crashes), (2, 0));
}

#[test]
fn availability_is_that_of_renewal_theory() {
    // Up for 100 s on average, then down for 1.05 s, again and again.
    let model = CrashModel::Mtbf { mean: secs(100), children: Vec::new() };
    let figures = one(&patient(1), model, 300);
    near(1.0 - figures.availability, 1.05 / 101.05, 0.03);
    near(figures.restarts_per_hour, 3600.0 / 101.05, 0.03);
    // A second child that does not crash has the half of it up all the time.
    let model = CrashModel::Mtbf { mean: secs(100), children: vec![1] };
    let figures = one(&patient(2), model, 300);
    near(1.0 - figures.availability, 1.05 / 101.05 / 2.0, 0.03);
}

#[test]
fn a_budget_is_used_up_at_the_instant_that_can_be_worked_out() {
    // Crash at 60 s; starts that fail at 61.05, 62.10 and 63.15: the fourth of a budget of three.
    let model = CrashModel::CrashLoop {
        at: secs(60),
        fixed_after: secs(600),
        fails: Fails::AtStart,
        children: Vec::new(),
    };
    let never = Policy { repair_after: None, ..Policy::new("never", 1) };
    let figures = one(&never, model.clone(), 3);
    assert_eq!((figures.escalations, figures.gave_up_share), (3, 1.0));
    near(figures.gave_up_first_seconds.unwrap(), 63.15, 1e-9);
    near(figures.availability, 60.0 / 3600.0, 1e-9);
    assert_eq!((figures.not_recovered, figures.failed_repairs), (3, 0));
    // Repaired after five minutes: at 363.15, in vain, and at 663.20, where the fix is in.
    let figures = one(&Policy::new("repaired", 1), model, 1);
    assert_eq!((figures.escalations, figures.failed_repairs, figures.not_recovered), (1, 1, 0));
    near(1.0 - figures.availability, (663.25 - 60.0) / 3600.0, 1e-9);
    near(figures.recover_p99_seconds.unwrap(), 603.25, 0.003);
}

#[test]
fn a_broken_version_that_comes_up_crashes_until_it_is_fixed() {
    // 0.2 s up, 1.05 s down, from 60 s on for 10 s: crashes at 60, 61.25, 62.50, ..., 68.75 and,
    // started at 69.80, at 70.00; the start at 71.05 is good.
    let model = CrashModel::CrashLoop {
        at: secs(60),
        fixed_after: secs(10),
        fails: Fails::After(ms(200)),
        children: vec![0],
    };
    let figures = one(&patient(3), model, 1);
    assert_eq!(figures.crash_count, 9);
    near(figures.restarts_per_hour, 9.0, 1e-9);
}

#[test]
fn a_poison_message_crashes_as_often_as_it_is_delivered_or_until_it_expires() {
    let model = |deliveries, expires| CrashModel::Poison {
        every: secs(100_000),
        crash_after: ms(100),
        deliveries,
        expires,
        children: Vec::new(),
    };
    let figures = one(&patient(1), model(Some(7), None), 1_000);
    // One of 28 runs has a message; every one of them crashes the child seven times.
    assert!(figures.crash_count > 100);
    assert_eq!(figures.crash_count % 7, 0);
    // Delivered at 0, 1.15, 2.30, 3.45 and 4.60 after it came, and gone at 5.
    let figures = one(&patient(1), model(None, Some(secs(5))), 1_000);
    assert!(figures.crash_count > 100);
    assert_eq!(figures.crash_count % 5, 0);
}

#[test]
fn nobody_is_up_during_an_outage_and_everybody_after_it() {
    let figures = one(&patient(4), outage(secs(30), None, Duration::ZERO), 20);
    assert_eq!((figures.crash_count, figures.not_recovered), (80, 0));
    near(figures.outage_seconds.unwrap(), 30.0, 1e-9);
    let least = 29.5 / 3600.0;
    let most = 32.5 / 3600.0;
    let down = 1.0 - figures.availability;
    assert!((least..most).contains(&down), "{down}");
}

#[test]
fn storms_need_several_supervisors_prolong_the_outage_and_yield_to_jitter() {
    let fleet = |name: &str, jitter| Policy {
        name: name.to_owned(),
        supervisors: 50,
        backoff: Backoff::exponential(secs(1), secs(20)).jitter(jitter),
        ..patient(1)
    };
    let model = CrashModel::Outage {
        at: secs(60),
        lasts: secs(30),
        notice: ms(0),
        capacity: Some(30),
        prolongs: secs(9),
    };
    let policies = [fleet("in step", Jitter::None), fleet("spread", Jitter::Full)];
    let comparison = compared(&policies, &[crashes("outage", model)], 20, 1);
    let [step, spread] = &comparison.figures[..] else { panic!() };
    assert_eq!(step.storm_largest, 50, "all at one instant");
    assert!(spread.storm_median < 30, "{}", spread.storm_median);
    // Starts at 1, 3, 7, 15, and at 31, which 15 s + 9 s does not prolong.
    near(step.outage_seconds.unwrap(), 30.0, 1e-9);
    near(spread.outage_seconds.unwrap(), 30.0, 1e-9);
    let model = CrashModel::Outage {
        at: secs(60),
        lasts: secs(30),
        notice: ms(0),
        capacity: Some(30),
        prolongs: secs(20),
    };
    let comparison = compared(&policies, &[crashes("outage", model)], 20, 1);
    // The herd at 15 s keeps it down until 35 s, and finds it down at 31.15 s: until 51.15 s; the
    // next, 20 s and a failed start later, meets it up.
    assert!(comparison.figures[0].outage_seconds.unwrap() > 51.0);
    near(comparison.figures[1].outage_seconds.unwrap(), 30.0, 1e-9);
    assert!(comparison.figures[1].availability > comparison.figures[0].availability);
}

#[test]
fn one_for_all_throws_away_the_work_of_the_healthy() {
    let model = recorded(&[(10_000, Some(1)), (20_000, Some(2))]);
    let alone = patient(4);
    let all = Policy { strategy: Strategy::OneForAll, ..patient(4) };
    let rest = Policy { strategy: Strategy::RestForOne, ..patient(4) };
    let along = |policy: &Policy| one(policy, model.clone(), 1).collateral_per_hour.round();
    assert_eq!((along(&alone), along(&rest), along(&all)), (0.0, 3.0, 6.0));
}

#[test]
fn a_pair_is_judged_alone_and_by_the_same_crashes() {
    let steady = crashes("steady", CrashModel::Mtbf { mean: secs(300), children: Vec::new() });
    let other = crashes("other", CrashModel::Mtbf { mean: secs(300), children: Vec::new() });
    let twin = Policy { name: "twin".to_owned(), ..patient(3) };
    let hasty = Policy { name: "hasty".to_owned(), backoff: Backoff::NONE, ..patient(3) };
    let alone = compared(&[patient(3)], std::slice::from_ref(&steady), 5, 1).figures.remove(0);
    let many = compared(&[hasty, twin, patient(3)], &[other, steady], 5, 1);
    assert_eq!(many.figures[5], alone, "whoever else is compared changes nothing");
    let twin = &many.figures[4];
    assert_eq!(twin.availability, alone.availability, "the name of a policy is no luck");
    assert_ne!(many.figures[2].availability, alone.availability, "the name of a model is a seed");
}

#[test]
fn the_figures_do_not_depend_on_the_number_of_threads() {
    let jitter = Backoff::exponential(secs(1), secs(20)).jitter(Jitter::Decorrelated);
    let policies = [patient(3), Policy { backoff: jitter, supervisors: 3, ..Policy::new("b", 2) }];
    let models = [
        crashes("steady", CrashModel::Mtbf { mean: secs(60), children: Vec::new() }),
        crashes("outage", outage(secs(30), Some(3), secs(1))),
    ];
    let with = |threads| {
        let settings = Settings { seeds: 33, duration: secs(1800), threads };
        compare(&policies, &models, &settings, &|_| {}).unwrap()
    };
    let reference = with(1);
    assert_eq!(with(1), reference);
    assert_eq!(with(3), reference);
    assert_eq!(with(16), reference);
}

#[test]
fn progress_reaches_the_end() {
    let last = std::sync::Mutex::new((0, 0));
    let settings = Settings { seeds: 9, duration: secs(60), threads: 2 };
    let model = CrashModel::Mtbf { mean: secs(60), children: Vec::new() };
    let models = [crashes("a", model.clone()), crashes("b", model)];
    compare(&[patient(1)], &models, &settings, &|progress| {
        let mut last = last.lock().unwrap();
        *last = (*last).max((progress.done, progress.total));
    })
    .unwrap();
    assert_eq!(*last.lock().unwrap(), (18, 18));
}

#[test]
fn a_run_without_end_is_cut_and_said_to_be() {
    let hasty = Policy { backoff: Backoff::NONE, start_time: ms(1), ..patient(1) };
    let model = CrashModel::CrashLoop {
        at: secs(1),
        fixed_after: secs(86_400),
        fails: Fails::AtStart,
        children: Vec::new(),
    };
    let comparison = compared(&[hasty], &[crashes("loop", model)], 1, 24);
    let figures = &comparison.figures[0];
    assert_eq!(figures.cut_runs, 1);
    assert!(figures.availability < 0.01, "measured up to the cut");
    assert!(comparison.to_table().contains("ended early"));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let settings = Settings { seeds: 1, duration: secs(1), threads: 1 };
    let model = crashes("m", CrashModel::Mtbf { mean: secs(60), children: vec![2] });
    let refused = |policy: Policy, settings: Settings| {
        compare(&[policy], std::slice::from_ref(&model), &settings, &|_| {}).unwrap_err()
    };
    let unknown =
        PolicyError::UnknownChild { crashes: "m".to_owned(), policy: "patient".to_owned() };
    assert_eq!(refused(patient(2), settings), unknown);
    let none = Policy { children: Vec::new(), ..patient(2) };
    assert_eq!(refused(none, settings), PolicyError::NoChildren("patient".to_owned()));
    let quick = Policy { start_time: Duration::ZERO, ..patient(3) };
    assert_eq!(refused(quick, settings), PolicyError::StartTime("patient".to_owned()));
    let settings = Settings { seeds: 0, ..settings };
    assert_eq!(refused(patient(3), settings), PolicyError::Nothing);
    let settings = Settings { seeds: 1, ..settings };
    let period = Duration::ZERO;
    let window = Policy { intensity: Intensity { max_restarts: 3, period }, ..patient(3) };
    assert!(matches!(refused(window, settings), PolicyError::Config(name, _) if name == "patient"));
}

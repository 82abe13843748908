//! The failure detector: probes against a plain simulation, phi against floating point.

use core::time::Duration;

use lictor_kernel::{
    DETECTOR_WINDOW_MAX, Detection, DetectorConfig, DetectorError, FailureDetector, Health, Heard,
    Instant, PHI_MILLI_MAX, PhiAccrual,
};
use proptest::prelude::*;

fn heartbeat(interval: u64, timeout: u64, threshold: u32) -> DetectorConfig {
    let [interval, timeout] = [interval, timeout].map(Duration::from_nanos);
    DetectorConfig::Heartbeat { interval, timeout, threshold }
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// Polls at exactly the next deadline and returns what it brought.
fn step(detector: &mut FailureDetector) -> Option<(Instant, Vec<Detection>)> {
    let due = detector.poll_timeout()?;
    let mut detections = Vec::new();
    detector.handle_timeout(due, &mut detections);
    Some((due, detections))
}

proptest! {
    // Rules: F1, F2, F3
    #[test]
    fn so_many_misses_in_a_row_mean_down(
        // The delay of each answer; `None` and more than the timeout are no answer in time.
        answers in prop::collection::vec(prop::option::weighted(0.6, 0..=5_u64), 0..30),
        interval in 1..9_u64,
        threshold in 1..4_u32,
        start in prop_oneof![Just(0_u64), Just(1_000_000)],
    ) {
        const TIMEOUT: u64 = 5;
        let config = heartbeat(interval, TIMEOUT, threshold);
        let mut detector = FailureDetector::new(config, at(start), 1).unwrap();
        // The whole history follows from the answers alone.
        let mut expected = Vec::new();
        let (mut probe_at, mut misses) = (start + interval, 0);
        for answer in &answers {
            let mut open_until = probe_at;
            expected.push((probe_at, Detection::Probe));
            match answer {
                Some(delay) => {
                    misses = 0;
                    open_until += delay;
                }
                None => {
                    misses += 1;
                    open_until += TIMEOUT;
                    if misses == threshold {
                        expected.push((open_until, Detection::Down));
                        break;
                    }
                    if misses == 1 {
                        expected.push((open_until, Detection::Suspect));
                    }
                }
            }
            probe_at = open_until.max(probe_at + interval);
        }
        let mut seen = Vec::new();
        let mut answers = answers.iter();
        let mut open = 0;
        while let Some((now, detections)) = step(&mut detector) {
            for detection in detections {
                seen.push((now.as_nanos(), detection));
                if detection != Detection::Probe {
                    continue;
                }
                match answers.next() {
                    Some(Some(delay)) => {
                        let suspect = detector.health() == Health::Suspect;
                        let heard = if suspect { Heard::Recovered } else { Heard::Alive };
                        let now = at(now.as_nanos() + delay);
                        prop_assert_eq!(detector.heartbeat(now, 1), heard);
                        prop_assert_eq!((detector.health(), detector.misses()), (Health::Alive, 0));
                    }
                    Some(None) => {}
                    None => open = 1,
                }
            }
            if open == 1 {
                seen.pop();
                break;
            }
        }
        prop_assert_eq!(seen, expected);
    }

    // Rules: F4, F6
    #[test]
    fn a_spurious_call_changes_nothing_and_no_deadline_spins(
        steps in prop::collection::vec((0..4_u8, any::<u64>(), 0..3_u64), 0..40),
        accrual in any::<bool>(),
        scale in prop::sample::select(vec![1_u64, 1 << 20, 1 << 40, 1 << 62, u64::MAX]),
    ) {
        let config = if accrual {
            DetectorConfig::PhiAccrual(PhiAccrual {
                min_std_deviation: Duration::from_nanos(1 + scale / 7),
                first_heartbeat_estimate: Duration::from_nanos(scale),
                window: 3,
                ..PhiAccrual::AKKA
            })
        } else {
            heartbeat(scale, scale / 3 + 1, 2)
        };
        let mut now = 0_u64;
        let mut detector = FailureDetector::new(config, at(now), 1).unwrap();
        for (op, by, incarnation) in steps {
            now = now.saturating_add(by % scale);
            let before = detector.clone();
            let mut detections = Vec::new();
            match op {
                0 => {
                    let heard = detector.heartbeat(at(now), incarnation);
                    if heard == Heard::Ignored {
                        prop_assert_eq!(&detector, &before);
                    }
                    if incarnation < before.incarnation() {
                        prop_assert_eq!(heard, Heard::Ignored);
                    }
                    prop_assert_eq!(heard == Heard::Renewed, incarnation > before.incarnation());
                }
                1 => {
                    if let Some(due) = detector.poll_timeout() {
                        now = now.max(due.as_nanos());
                    }
                    detector.handle_timeout(at(now), &mut detections);
                }
                2 => detector.handle_timeout(at(now), &mut detections),
                _ => {
                    let early = detector.poll_timeout().map_or(u64::MAX, Instant::as_nanos);
                    detector.handle_timeout(at(early.saturating_sub(1)), &mut detections);
                    prop_assert!(detections.is_empty());
                    prop_assert_eq!(&detector, &before);
                }
            }
            if op == 1 || op == 2 {
                let due = before.poll_timeout().is_some_and(|due| due <= at(now));
                prop_assert_eq!(due, !detections.is_empty());
                // A second call at the same instant may go one step on, and then rests.
                for _ in 0..2 {
                    detector.handle_timeout(at(now), &mut Vec::new());
                }
                prop_assert!(detector.poll_timeout().is_none_or(|next| next > at(now)));
            }
            prop_assert!(detector.health() != Health::Down || detector.poll_timeout().is_none());
        }
    }

    // Rule: F7
    #[test]
    fn phi_agrees_with_the_formula_and_decides_the_deadlines(
        intervals in prop::collection::vec(1_000_000..5_000_000_000_u64, 0..20),
        threshold_milli in 200..20_000_u32,
        window in 2..12_u32,
        pause in 0..2_000_u64,
        silence in 0..20_000_000_000_u64,
    ) {
        let phi = PhiAccrual {
            threshold_milli,
            window,
            min_std_deviation: Duration::from_millis(50),
            acceptable_pause: Duration::from_millis(pause),
            first_heartbeat_estimate: Duration::from_secs(2),
        };
        let mut detector = FailureDetector::new(DetectorConfig::PhiAccrual(phi), at(0), 0).unwrap();
        let mut samples = vec![1.5e9, 2.5e9];
        let mut now = 0;
        for interval in intervals {
            if detector.heartbeat(at(now + interval), 0) == Heard::Ignored {
                break;
            }
            now += interval;
            samples.push(f64::from(u32::try_from(interval / 1000).unwrap()) * 1e3
                + f64::from(u32::try_from(interval % 1000).unwrap()));
        }
        let kept = &samples[samples.len().saturating_sub(window as usize)..];
        let expected = akka_phi(kept, pause, silence);
        let found = f64::from(detector.phi_milli(at(now + silence)).unwrap()) / 1e3;
        // Phi grows with the cube of the rounded y: its relative error is three times that of y.
        let tolerance = 0.002 + expected * 5e-5;
        // Phi ends at 1026; above 1000 no threshold may lie.
        let difference = found.min(1000.0) - expected.min(1000.0);
        prop_assert!(difference.abs() < tolerance, "{found} is not {expected}");

        let mut wanted = threshold_milli.div_ceil(2);
        for (health, detection) in
            [(Health::Suspect, Detection::Suspect), (Health::Down, Detection::Down)]
        {
            let due = detector.poll_timeout().unwrap();
            let just_before = at(due.as_nanos() - 1);
            prop_assert!(detector.phi_milli(due).unwrap() >= wanted);
            prop_assert!(
                due.as_nanos() == now + 1 || detector.phi_milli(just_before).unwrap() < wanted
            );
            let mut detections = Vec::new();
            detector.handle_timeout(just_before, &mut detections);
            prop_assert!(detections.is_empty());
            detector.handle_timeout(due, &mut detections);
            if detections == [Detection::Down] {
                break;
            }
            prop_assert_eq!((detector.health(), detections), (health, vec![detection]));
            wanted = threshold_milli;
        }
    }
}

/// Akka's phi, in milliseconds and floating point as there.
fn akka_phi(samples: &[f64], pause_ms: u64, silence: u64) -> f64 {
    let count = f64::from(u32::try_from(samples.len()).expect("within 32 bits"));
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / count;
    let deviation = variance.sqrt().max(50e6);
    let mean = mean + f64::from(u32::try_from(pause_ms).expect("within 32 bits")) * 1e6;
    let silence = f64::from(u32::try_from(silence / 10_000).expect("within 32 bits")) * 1e4;
    let y = (silence - mean) / deviation;
    let x = y * (1.5976 + 0.070_566 * y * y);
    (x.max(0.0) + (-x.abs()).exp().ln_1p()) / std::f64::consts::LN_10
}

// Rules: F3, F5
#[test]
fn an_answer_at_its_deadline_is_in_time_and_one_after_the_last_deadline_is_not() {
    let mut detector = FailureDetector::new(heartbeat(10, 5, 1), at(0), 1).unwrap();
    assert_eq!(step(&mut detector), Some((at(10), vec![Detection::Probe])));
    assert_eq!(detector.heartbeat(at(15), 1), Heard::Alive);
    assert_eq!(step(&mut detector), Some((at(20), vec![Detection::Probe])));
    assert_eq!(detector.heartbeat(at(26), 1), Heard::Ignored);
    assert_eq!(step(&mut detector), Some((at(25), vec![Detection::Down])));
    assert_eq!(detector.heartbeat(at(26), 1), Heard::Ignored);
    assert_eq!((detector.health(), detector.poll_timeout()), (Health::Down, None));
    detector.reset(at(30), 2);
    assert_eq!(step(&mut detector), Some((at(40), vec![Detection::Probe])));
}

// Rule: F4
#[test]
fn only_the_incarnation_that_is_watched_counts() {
    let mut detector = FailureDetector::new(heartbeat(10, 5, 1), at(0), 7).unwrap();
    step(&mut detector);
    assert_eq!(detector.heartbeat(at(11), 6), Heard::Ignored);
    assert_eq!(step(&mut detector), Some((at(15), vec![Detection::Down])));
    assert_eq!(detector.heartbeat(at(16), 8), Heard::Renewed);
    assert_eq!((detector.health(), detector.incarnation()), (Health::Alive, 8));
    assert_eq!(detector.poll_timeout(), Some(at(26)));
}

// Rule: F2
#[test]
fn a_long_stall_of_our_own_counts_as_one_miss() {
    let mut detector = FailureDetector::new(heartbeat(10, 5, 3), at(0), 0).unwrap();
    step(&mut detector);
    let mut detections = Vec::new();
    detector.handle_timeout(at(1_000_000), &mut detections);
    assert_eq!(detections, [Detection::Suspect, Detection::Probe]);
    assert_eq!(detector.misses(), 1);
    assert_eq!(detector.poll_timeout(), Some(at(1_000_005)));
}

// Rule: F3
#[test]
fn a_late_answer_clears_the_misses() {
    let mut detector = FailureDetector::new(heartbeat(10, 5, 2), at(0), 0).unwrap();
    for n in 1..100 {
        assert_eq!(step(&mut detector), Some((at(10 * n), vec![Detection::Probe])));
        assert_eq!(step(&mut detector), Some((at(10 * n + 5), vec![Detection::Suspect])));
        assert_eq!(detector.heartbeat(at(10 * n + 6), 0), Heard::Recovered);
    }
}

// Rule: F8
#[test]
fn settings_outside_their_bounds_are_refused() {
    let good = PhiAccrual::AKKA;
    let phi = DetectorConfig::PhiAccrual;
    for (config, error) in [
        (heartbeat(0, 1, 1), DetectorError::ZeroInterval),
        (heartbeat(1, 0, 1), DetectorError::ZeroTimeout),
        (heartbeat(1, 1, 0), DetectorError::Threshold),
        (phi(PhiAccrual { threshold_milli: 0, ..good }), DetectorError::Threshold),
        (phi(PhiAccrual { threshold_milli: PHI_MILLI_MAX + 1, ..good }), DetectorError::Threshold),
        (phi(PhiAccrual { window: 1, ..good }), DetectorError::Window),
        (phi(PhiAccrual { window: DETECTOR_WINDOW_MAX + 1, ..good }), DetectorError::Window),
        (
            phi(PhiAccrual { min_std_deviation: Duration::ZERO, ..good }),
            DetectorError::ZeroDeviation,
        ),
        (
            phi(PhiAccrual { first_heartbeat_estimate: Duration::ZERO, ..good }),
            DetectorError::ZeroInterval,
        ),
    ] {
        assert_eq!(FailureDetector::new(config, at(0), 0), Err(error));
    }
    let high = PhiAccrual { threshold_milli: PHI_MILLI_MAX, ..good };
    let mut detector = FailureDetector::new(phi(high), at(u64::MAX), 0).unwrap();
    assert_eq!((detector.poll_timeout(), step(&mut detector)), (None, None));
}

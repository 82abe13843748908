//! The policy laboratory from outside: figures that can be worked out by hand, and files.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod figures;
mod files;
mod report;

use std::time::Duration;

use lictor_sim::policy::{Comparison, CrashModel, Crashes, Figures, Policy, Settings, compare};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn crashes(name: &str, model: CrashModel) -> Crashes {
    Crashes { name: name.to_owned(), model }
}

fn compared(policies: &[Policy], crashes: &[Crashes], seeds: u32, hours: u64) -> Comparison {
    let settings = Settings { seeds, duration: secs(3600 * hours), threads: 1 };
    compare(policies, crashes, &settings, &|_| {}).unwrap()
}

/// The figures of one policy against one model, for so many seeds of an hour.
fn one(policy: &Policy, model: CrashModel, seeds: u32) -> Figures {
    let policies = std::slice::from_ref(policy);
    compared(policies, &[crashes("model", model)], seeds, 1).figures.remove(0)
}

/// About equal: within this share.
fn near(value: f64, expected: f64, share: f64) {
    assert!((value - expected).abs() <= expected.abs() * share, "{value}, not {expected}");
}

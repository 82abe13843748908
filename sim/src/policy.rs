//! The policy laboratory: which restart policy is better, against which crashes, by how much.
//!
//! A [`Policy`] is what a supervisor is told: budget, backoff, jitter, strategy, and how many
//! children it has. A [`CrashModel`] is what happens to the children: a mean time between failures,
//! a broken deploy, a poison message, an outage of what they all depend on, or a recorded log.
//! [`compare`] lets the kernel's real [`Supervisor`](lictor_kernel::Supervisor) live through each
//! model under each policy, once for each seed, in virtual time, and measures what an operator
//! would: availability, time to recover, restarts, storms, and how often it gave up.
//!
//! The same seed means the same crashes for every policy (draws are keyed by model, child and
//! number, never shared), so policies differ by what they do and not by luck. All sums are of whole
//! numbers: the same input gives the same figures with any number of threads, on every platform.
//!
//! ```
//! use core::time::Duration;
//! use lictor_kernel::{Backoff, Intensity};
//! use lictor_sim::policy::{Crashes, CrashModel, Policy, Settings, compare};
//!
//! let hasty = Policy { backoff: Backoff::NONE, ..Policy::new("hasty", 4) };
//! let patient = Policy {
//!     intensity: Intensity { max_restarts: 100, period: Duration::from_secs(60) },
//!     ..hasty.clone()
//! };
//! let patient = Policy { name: "patient".into(), ..patient };
//! let minute = Duration::from_secs(60);
//! let steady = CrashModel::Mtbf { mean: minute, children: Vec::new() };
//! let crashes = [Crashes { name: "steady".into(), model: steady }];
//! let settings = Settings { seeds: 20, duration: 60 * minute, threads: 1 };
//!
//! let comparison = compare(&[hasty, patient], &crashes, &settings, &|_| {}).unwrap();
//! let [hasty, patient] = &comparison.figures[..] else { panic!("a cell for each pair") };
//! assert!(hasty.gave_up_share > 0.5, "three restarts a minute are too few for four children");
//! assert_eq!(patient.gave_up_share, 0.0);
//! assert!(patient.availability > hasty.availability);
//! ```

mod draw;
mod figures;
mod hazard;
mod histogram;
mod html;
mod lab;
mod measure;
mod models;
mod parallel;
mod plan;
mod read;
mod svg;
mod table;

pub use figures::{Comparison, Figures, Point};
pub use models::{CrashModel, Crashes, Fails, RecordedCrash};
pub use parallel::{Progress, compare};
pub use plan::{Policy, PolicyError, Settings};
pub use read::{
    CRASHES, CrashFile, MAX_CHILDREN, MAX_ENTRIES, MAX_RECORDED, MAX_SEEDS, POLICIES, PolicyFile,
    ReadCrashes, common_children, read_crashes, read_policies,
};

/// Restarts are counted in buckets of this length; the fullest bucket is the largest storm.
pub const STORM_BUCKET: core::time::Duration = core::time::Duration::from_millis(100);

/// A run that takes more steps than this ends early and is reported as cut: a policy that restarts
/// without a wait a thousand times a second would otherwise take hours.
pub const MAX_STEPS: u64 = 2_000_000;

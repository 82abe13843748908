//! What an operator reads.

use core::time::Duration;

use serde::Serialize;

use super::measure::Cell;
use super::models::{CrashModel, Crashes};
use super::plan::{Policy, Settings};
use super::table::human;

/// All figures of a comparison. As JSON it is the summary that `--json` writes.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Names of the policies, in the order of the input.
    pub policies: Vec<String>,
    /// What each policy is, in a line.
    pub policy_lines: Vec<String>,
    /// Names of the crash models, in the order of the input.
    pub crashes: Vec<String>,
    /// What each crash model is, in a line.
    pub crash_lines: Vec<String>,
    /// Runs of each pair.
    pub seeds: u32,
    /// Length of a run, in seconds of virtual time.
    pub run_seconds: f64,
    /// One for each pair: all policies for the first model, then all for the second, ...
    pub figures: Vec<Figures>,
}

/// How one policy did against one crash model, over all runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Name of the policy.
    pub policy: String,
    /// Name of the crash model.
    pub crashes: String,
    /// How many runs.
    pub runs: u64,
    /// Share of the time of all children in which they were up, from 0 to 1.
    pub availability: f64,
    /// The same of the worst run.
    pub availability_worst: f64,
    /// Crashes of children, failed starts not included.
    pub crash_count: u64,
    /// Recorded crashes that were left out because the child was down.
    pub missed_crashes: u64,
    /// Half of the crashed children were up again within this time, in seconds. A child that was
    /// still down at the end counts with its time so far.
    pub recover_p50_seconds: Option<f64>,
    /// As above for 99 of 100.
    pub recover_p99_seconds: Option<f64>,
    /// Children that were down at the end of their run.
    pub not_recovered: u64,
    /// Starts of children an hour, of all supervisors together; failed starts included.
    pub restarts_per_hour: f64,
    /// Starts that failed, an hour.
    pub failed_starts_per_hour: f64,
    /// Healthy children that were stopped because of others, an hour: work that was thrown away.
    pub collateral_per_hour: f64,
    /// The most starts within [`STORM_BUCKET`](super::STORM_BUCKET), in any run.
    pub storm_largest: u64,
    /// The same in the median run.
    pub storm_median: u64,
    /// How often a supervisor gave up, in all runs.
    pub escalations: u64,
    /// Share of the supervisors of all runs that gave up at least once, from 0 to 1.
    pub gave_up_share: f64,
    /// Mean time until a supervisor gave up first, in seconds, of those that did.
    pub gave_up_first_seconds: Option<f64>,
    /// Times that the whole tree was started again in vain.
    pub failed_repairs: u64,
    /// Mean time that the dependency was down, in seconds; `None` if the model has none.
    pub outage_seconds: Option<f64>,
    /// Runs that ended early because they took more than [`MAX_STEPS`](super::MAX_STEPS) steps.
    pub cut_runs: u64,
    /// What share of the crashed children was up again by when, thinned to about a hundred points.
    /// It ends below 1 if some were still down at the end of their run.
    #[serde(skip)]
    pub recover_curve: Vec<Point>,
    /// Starts a second around an outage, in the mean of all runs, by seconds since the outage
    /// began; empty if the model has none. Each point is the beginning of a span of time; all are
    /// equal.
    #[serde(skip)]
    pub storm_curve: Vec<Point>,
}

/// A point of a curve.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Seconds.
    pub seconds: f64,
    /// A share from 0 to 1, or a number of starts a second.
    pub value: f64,
}

impl Comparison {
    pub(super) fn new(
        policies: &[Policy],
        crashes: &[Crashes],
        settings: &Settings,
        cells: &[Cell],
    ) -> Self {
        let pairs = crashes.iter().flat_map(|crash| policies.iter().map(move |p| (p, crash)));
        let figures = pairs.zip(cells).map(|((policy, crash), cell)| {
            let mut figures = Figures::of(cell);
            figures.policy.clone_from(&policy.name);
            figures.crashes.clone_from(&crash.name);
            if let CrashModel::Outage { at, .. } = &crash.model {
                let at = at.as_secs_f64();
                figures.storm_curve.iter_mut().for_each(|point| point.seconds -= at);
            }
            figures
        });
        Self {
            policies: policies.iter().map(|policy| policy.name.clone()).collect(),
            policy_lines: policies.iter().map(describe).collect(),
            crashes: crashes.iter().map(|crash| crash.name.clone()).collect(),
            crash_lines: crashes.iter().map(|crash| crash.model.describe()).collect(),
            seeds: settings.seeds,
            run_seconds: settings.duration.as_secs_f64(),
            figures: figures.collect(),
        }
    }

    /// The figures of one crash model, by its index, in the order of the policies.
    pub fn of_crashes(&self, index: usize) -> &[Figures] {
        let count = self.policies.len();
        let from = index.saturating_mul(count);
        self.figures.get(from..from.saturating_add(count)).unwrap_or(&[])
    }
}

impl Figures {
    fn of(cell: &Cell) -> Self {
        let seconds = |nanos: u128| approximate(nanos) / 1e9;
        let hours = (seconds(cell.measured) / 3600.0).max(f64::MIN_POSITIVE);
        let per_hour = |count: u64| approximate(u128::from(count)) / hours;
        let runs = approximate(u128::from(cell.runs.max(1)));
        let mut down = cell.recoveries.clone();
        down.add(&cell.unrecovered);
        let quantile = |n| down.quantile(n).map(|nanos| seconds(u128::from(nanos)));
        let gave_up = cell.gave_up;
        let supervisors = approximate(u128::from(cell.supervisors.max(1)));
        Self {
            policy: String::new(),
            crashes: String::new(),
            runs: cell.runs,
            availability: approximate(cell.up) / approximate(cell.child_time.max(1)),
            availability_worst: approximate(u128::from(cell.worst.unwrap_or(0))) / 1e9,
            crash_count: cell.crashes,
            missed_crashes: cell.missed_crashes,
            recover_p50_seconds: quantile(500),
            recover_p99_seconds: quantile(990),
            not_recovered: cell.unrecovered.total(),
            restarts_per_hour: per_hour(cell.starts),
            failed_starts_per_hour: per_hour(cell.failed_starts),
            collateral_per_hour: per_hour(cell.collateral),
            storm_largest: cell.storm,
            storm_median: cell.storms.quantile(500).unwrap_or(0),
            escalations: cell.escalations,
            gave_up_share: approximate(u128::from(gave_up)) / supervisors,
            gave_up_first_seconds: cell
                .first_escalations
                .checked_div(u128::from(gave_up))
                .map(seconds),
            failed_repairs: cell.failed_repairs,
            outage_seconds: cell.outages.map(|sum| seconds(sum) / runs),
            cut_runs: cell.cut,
            recover_curve: recover_curve(cell),
            storm_curve: storm_curve(cell),
        }
    }
}

fn recover_curve(cell: &Cell) -> Vec<Point> {
    // Who was still down at the end is in the whole, and in no step of the curve.
    let total = cell.recoveries.total() + cell.unrecovered.total();
    let total = approximate(u128::from(total.max(1)));
    let mut points: Vec<Point> = Vec::new();
    let mut seen = 0_u64;
    for (nanos, count) in cell.recoveries.iter() {
        seen += count;
        let value = approximate(u128::from(seen)) / total;
        let far = points.last().is_none_or(|last| value - last.value >= 0.01);
        if far || seen == cell.recoveries.total() {
            points.push(Point { seconds: approximate(u128::from(nanos)) / 1e9, value });
        }
    }
    points
}

fn storm_curve(cell: &Cell) -> Vec<Point> {
    let Some(timeline) = &cell.timeline else { return Vec::new() };
    let runs = approximate(u128::from(cell.runs.max(1)));
    let width = timeline.width.as_secs_f64();
    let from = timeline.from.as_secs_f64();
    let starts = std::iter::successors(Some(from), |at| Some(at + width));
    let counts = timeline.counts.iter().map(|count| approximate(u128::from(*count)) / runs / width);
    starts.zip(counts).map(|(seconds, value)| Point { seconds, value }).collect()
}

/// When a timeline of this model begins and how long its spans are: a little before the outage, and
/// three times as long as it.
pub(super) fn timeline_of(model: &CrashModel) -> Option<(Duration, Duration)> {
    let CrashModel::Outage { at, lasts, .. } = model else { return None };
    let spans = u32::try_from(super::measure::SPANS).unwrap_or(1);
    let tenths = (lasts.saturating_mul(3) / spans).as_millis().div_ceil(100).max(1);
    let width = Duration::from_millis(u64::try_from(tenths * 100).unwrap_or(u64::MAX));
    Some((at.saturating_sub(width * 8), width))
}

/// A policy in a line.
fn describe(policy: &Policy) -> String {
    use lictor_kernel::supervisor::Strategy;
    use lictor_kernel::{Curve, Jitter};
    let strategy = match policy.strategy {
        Strategy::OneForOne => "one for one",
        Strategy::OneForAll => "one for all",
        Strategy::RestForOne => "rest for one",
    };
    let backoff = &policy.backoff;
    let time = |duration: Duration| human(duration.as_secs_f64());
    let (base, most) = (time(backoff.base), time(backoff.max));
    let wait = match backoff.curve {
        Curve::None => "at once".to_owned(),
        Curve::Constant => format!("after {base}"),
        Curve::Linear => {
            format!("after {base}, then {base} more each, up to {most}")
        }
        Curve::Exponential => format!("after {base}, doubling up to {most}"),
    };
    let jitter = match backoff.jitter {
        _ if backoff.curve == Curve::None => "",
        Jitter::None => ", no jitter",
        Jitter::Quarter => ", quarter jitter",
        Jitter::Full => ", full jitter",
        Jitter::Decorrelated => ", decorrelated jitter",
    };
    let stable = backoff
        .stable_after
        .map_or_else(String::new, |after| format!(", anew after {} up", time(after)));
    let fleet = match policy.supervisors {
        1 => String::new(),
        n => format!(" under each of {n}"),
    };
    let intensity = &policy.intensity;
    format!(
        "{strategy}, {} children{fleet}, {} restarts in {}, {wait}{jitter}{stable}",
        policy.children.len(),
        intensity.max_restarts,
        time(intensity.period),
    )
}

/// The nearest number with a fraction.
#[expect(clippy::cast_precision_loss, reason = "figures are read by people")]
pub(super) fn approximate(number: u128) -> f64 {
    number as f64
}

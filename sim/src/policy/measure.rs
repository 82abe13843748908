//! What is counted, in whole numbers, so that sums do not depend on their order.

use core::time::Duration;

use super::hazard::bucket_of;
use super::histogram::Histogram;

/// Restarts in equal spans of time: where the first span begins and how long each is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Timeline {
    pub(super) from: Duration,
    pub(super) width: Duration,
    pub(super) counts: Vec<u64>,
}

/// Spans of a timeline; what comes after the last is left out.
pub(super) const SPANS: usize = 240;

/// What one run counted.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) crashes: u64,
    pub(super) failed_starts: u64,
    pub(super) missed_crashes: u64,
    pub(super) collateral: u64,
    pub(super) failed_repairs: u64,
    pub(super) outage: Option<Duration>,
    pub(super) cut: bool,
    starts: u64,
    escalations: u64,
    supervisors: u64,
    gave_up: u64,
    first_escalations: u128,
    up: u128,
    /// The current storm bucket and its starts, and the most of any.
    bucket: (u64, u64),
    storm: u64,
    measured: Duration,
    child_time: u128,
    recoveries: Histogram,
    /// The times so far of those that were still down at the end.
    unrecovered: Histogram,
    timeline: Option<Timeline>,
}

impl Run {
    pub(super) fn new(timeline: Option<(Duration, Duration)>) -> Self {
        let timeline =
            timeline.map(|(from, width)| Timeline { from, width, counts: vec![0; SPANS] });
        Self {
            crashes: 0,
            failed_starts: 0,
            missed_crashes: 0,
            collateral: 0,
            failed_repairs: 0,
            outage: None,
            cut: false,
            starts: 0,
            escalations: 0,
            supervisors: 0,
            gave_up: 0,
            first_escalations: 0,
            up: 0,
            bucket: (0, 0),
            storm: 0,
            measured: Duration::ZERO,
            child_time: 0,
            recoveries: Histogram::default(),
            unrecovered: Histogram::default(),
            timeline,
        }
    }

    /// A child is being started again, this long after the origin.
    pub(super) fn started(&mut self, since: Duration) {
        self.starts += 1;
        let bucket = bucket_of(since);
        if self.bucket.0 != bucket {
            self.bucket = (bucket, 0);
        }
        self.bucket.1 += 1;
        self.storm = self.storm.max(self.bucket.1);
        let Some(timeline) = &mut self.timeline else { return };
        let Some(since) = since.checked_sub(timeline.from) else { return };
        let span = since.as_nanos() / timeline.width.as_nanos().max(1);
        let span = usize::try_from(span).unwrap_or(usize::MAX);
        if let Some(count) = timeline.counts.get_mut(span) {
            *count += 1;
        }
    }

    pub(super) fn recovered(&mut self, after: Duration) {
        self.recoveries.record(nanos(after));
    }

    /// A child is still down at the end, after this time.
    pub(super) fn not_recovered(&mut self, so_far: Duration) {
        self.unrecovered.record(nanos(so_far));
    }

    pub(super) fn up(&mut self, time: Duration) {
        self.up += time.as_nanos();
    }

    /// A supervisor gives up, this long after the origin; `first`: it never did before.
    pub(super) fn gave_up(&mut self, since: Duration, first: bool) {
        self.escalations += 1;
        if first {
            self.gave_up += 1;
            self.first_escalations += since.as_nanos();
        }
    }

    pub(super) fn finish(&mut self, measured: Duration, children: usize, supervisors: u32) {
        self.supervisors = u64::from(supervisors);
        self.measured = measured;
        self.child_time = measured.as_nanos() * u128::try_from(children).unwrap_or(u128::MAX);
    }
}

/// What all runs of one policy against one model counted.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    pub(super) runs: u64,
    pub(super) crashes: u64,
    pub(super) failed_starts: u64,
    pub(super) missed_crashes: u64,
    pub(super) collateral: u64,
    pub(super) failed_repairs: u64,
    pub(super) cut: u64,
    pub(super) starts: u64,
    pub(super) escalations: u64,
    pub(super) supervisors: u64,
    pub(super) gave_up: u64,
    pub(super) first_escalations: u128,
    pub(super) up: u128,
    pub(super) child_time: u128,
    pub(super) measured: u128,
    pub(super) outages: Option<u128>,
    pub(super) recoveries: Histogram,
    /// The times so far of those that were still down at the end.
    pub(super) unrecovered: Histogram,
    /// The largest storm of each run, as if it were a duration.
    pub(super) storms: Histogram,
    pub(super) storm: u64,
    /// The least availability of any run, in parts of 10^9.
    pub(super) worst: Option<u64>,
    pub(super) timeline: Option<Timeline>,
}

impl Cell {
    pub(super) fn add_run(&mut self, run: &Run) {
        let worst = availability(run.up, run.child_time);
        let one = Self {
            runs: 1,
            crashes: run.crashes,
            failed_starts: run.failed_starts,
            missed_crashes: run.missed_crashes,
            collateral: run.collateral,
            failed_repairs: run.failed_repairs,
            cut: u64::from(run.cut),
            starts: run.starts,
            escalations: run.escalations,
            supervisors: run.supervisors,
            gave_up: run.gave_up,
            first_escalations: run.first_escalations,
            up: run.up,
            child_time: run.child_time,
            measured: run.measured.as_nanos(),
            outages: run.outage.map(|outage| outage.as_nanos()),
            recoveries: Histogram::default(),
            unrecovered: Histogram::default(),
            storms: Histogram::default(),
            storm: run.storm,
            worst: Some(worst),
            timeline: run.timeline.clone(),
        };
        self.add(&one);
        self.recoveries.add(&run.recoveries);
        self.unrecovered.add(&run.unrecovered);
        self.storms.record(run.storm);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.failed_starts += other.failed_starts;
        self.missed_crashes += other.missed_crashes;
        self.collateral += other.collateral;
        self.failed_repairs += other.failed_repairs;
        self.cut += other.cut;
        self.starts += other.starts;
        self.escalations += other.escalations;
        self.supervisors += other.supervisors;
        self.gave_up += other.gave_up;
        self.first_escalations += other.first_escalations;
        self.up += other.up;
        self.child_time += other.child_time;
        self.measured += other.measured;
        self.outages = match (self.outages, other.outages) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            (ours, theirs) => ours.or(theirs),
        };
        self.recoveries.add(&other.recoveries);
        self.unrecovered.add(&other.unrecovered);
        self.storms.add(&other.storms);
        self.storm = self.storm.max(other.storm);
        self.worst = self.worst.into_iter().chain(other.worst).min();
        match (&mut self.timeline, &other.timeline) {
            (Some(ours), Some(theirs)) => {
                for (sum, count) in ours.counts.iter_mut().zip(&theirs.counts) {
                    *sum += count;
                }
            }
            (ours @ None, theirs) => ours.clone_from(theirs),
            (Some(_), None) => {}
        }
    }
}

/// Parts of 10^9 of the time that children were up.
fn availability(up: u128, child_time: u128) -> u64 {
    let parts = (up * 1_000_000_000).checked_div(child_time).unwrap_or(0);
    u64::try_from(parts).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

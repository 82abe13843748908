//! Many seeds, on all cores.
//!
//! Seeds are dealt out in blocks, and blocks are put together in the order of their seeds, so a
//! summary depends on the seeds and on nothing else: not on the number of threads, not on which of
//! them was faster. A campaign that is stopped early sums up the seeds up to where it was stopped.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use lictor_kernel::Instant;
use serde::Serialize;

use crate::buggify::{Fired, Point};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::invariants::Violation;
use crate::marks::{Mark, Marks};
use crate::outcome::{Options, Outcome, Queue};
use crate::plan::{Plan, Profile};
use crate::record::NodeIx;
use crate::scenario::Scenario;

/// Seeds that one thread takes at a time.
const BLOCK: u64 = 32;

/// Where a plan is run again: what holds the events to come cannot change what happens.
pub const REPEAT_ON: [Queue; 2] = [Queue::Heap, Queue::Calendar];

/// How often the caller hears of the progress, at least.
const TICK: Duration = Duration::from_millis(100);

/// What a campaign explores.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Who takes part.
    pub scenario: Arc<Scenario>,
    /// What kind of plans.
    pub profile: Profile,
    /// The first seed.
    pub from: u64,
    /// How many seeds; they end at the greatest there is.
    pub seeds: u64,
    /// On how many threads.
    pub threads: NonZeroUsize,
    /// Whether the first violation, in the order of the seeds, ends it.
    pub stop_at_first: bool,
    /// Violations that are kept; the others are counted.
    pub keep: usize,
    /// Every so many seeds one is run again, on the same queue and on the other one, and the
    /// digests compared (invariant S14). 0 is never.
    pub repeat_every: u64,
    /// Every so many seeds one is run beside the reference model of supervision. 0 is never.
    pub model_every: u64,
}

impl Campaign {
    /// A campaign over seeds from 0, on all cores, that ends at the first violation.
    #[must_use]
    pub fn new(scenario: Arc<Scenario>, profile: Profile, seeds: u64) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            scenario,
            profile,
            from: 0,
            seeds,
            threads,
            stop_at_first: true,
            keep: 100,
            repeat_every: 64,
            model_every: 16,
        }
    }
}

/// A seed whose plan violates an invariant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// The invariant.
    pub violation: Violation,
}

/// How far a campaign is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Progress {
    /// Seeds that were run.
    pub seeds: u64,
    /// Events that were handled.
    pub events: u64,
    /// Violations that were found.
    pub violations: u64,
}

/// What a campaign came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Seeds that were run, from the first on.
    pub seeds: u64,
    /// Events that were handled.
    pub events: u64,
    /// Records that were made.
    pub records: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Operations of all plans.
    pub operations: u64,
    /// How long the worlds lived, by their own clocks, in nanoseconds; the most there is if it was
    /// longer.
    pub simulated: u64,
    /// The first seeds that violate an invariant, in order.
    pub found: Vec<Found>,
    /// How many seeds violate one.
    pub violations: u64,
    /// What was reached.
    pub marks: Marks,
    /// How often what is simulated has misbehaved at each point.
    pub fired: Fired,
    /// Seeds that were run again to compare their digests.
    pub reruns: u64,
    /// Over the digests of all runs, in the order of the seeds.
    pub digest: u64,
}

impl Summary {
    /// What no seed has reached, of what can be reached in this scenario.
    pub fn missing(&self, scenario: &Scenario) -> impl Iterator<Item = Mark> {
        let marks = self.marks;
        Mark::reachable(scenario).filter(move |mark| !marks.has(*mark))
    }

    /// The points of [`buggify`](crate::buggify) that have never fired, of those that runs of this
    /// scenario pass on this engine. None of a campaign without any.
    pub fn never_fired(&self, engine: Engine, nodes: usize) -> impl Iterator<Item = Point> {
        let fired = self.fired;
        Point::reachable(engine, nodes).filter(move |point| fired.of(*point) == 0)
    }
}

/// A seed that was run.
struct Ran {
    seed: u64,
    operations: u64,
    again: bool,
    outcome: Outcome,
}

/// Runs a campaign.
///
/// `run` runs one plan in such a way; `progress` is called now and then
/// on the thread of the caller, and says whether to go on.
pub fn explore(
    campaign: &Campaign,
    run: &(dyn Fn(&Plan, Options) -> Outcome + Sync),
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Summary {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (done, blocks) = mpsc::channel::<(u64, Vec<Ran>)>();
    let mut sum = Sum::new(campaign);
    let worker = |done: mpsc::Sender<(u64, Vec<Ran>)>| {
        while !stop.load(Ordering::Relaxed) {
            let block = next.fetch_add(1, Ordering::Relaxed);
            let first = block.saturating_mul(BLOCK);
            if first >= campaign.seeds {
                return;
            }
            let last = campaign.seeds.min(first.saturating_add(BLOCK));
            let ran = run_block(campaign, first..last, run, &stop);
            if done.send((block, ran)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..campaign.threads.get() {
            let done = done.clone();
            scope.spawn(|| worker(done));
        }
        drop(done);
        let mut so_far = Progress::default();
        let mut early = BTreeMap::new();
        loop {
            match blocks.recv_timeout(TICK) {
                Ok((block, ran)) => {
                    so_far.take(&ran);
                    early.insert(block, ran);
                    while let Some(ran) = early.remove(&sum.blocks) {
                        sum.block(ran);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !progress(so_far) || sum.over {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    sum.summary
}

/// Runs seeds in their order, until the campaign is stopped or, if it is to be, by a violation.
fn run_block(
    campaign: &Campaign,
    seeds: std::ops::Range<u64>,
    run: &(dyn Fn(&Plan, Options) -> Outcome + Sync),
    stop: &AtomicBool,
) -> Vec<Ran> {
    let mut all = Vec::with_capacity(usize::try_from(seeds.end - seeds.start).unwrap_or(0));
    for number in seeds {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(seed) = campaign.from.checked_add(number) else { break };
        let plan = Plan::generate(&campaign.scenario, seed, &campaign.profile);
        let every = |every: u64| every > 0 && number.is_multiple_of(every);
        let options = Options { model: every(campaign.model_every), ..Options::default() };
        let mut outcome = run(&plan, options);
        let again = every(campaign.repeat_every);
        for queue in REPEAT_ON {
            if again && outcome.violation.is_none() {
                let other = Options { queue, model: false, ..options };
                outcome.violation = differs(&outcome, &run(&plan, other));
            }
        }
        // Traces are nobody's business here, and large.
        outcome.trace = Vec::new();
        let over = campaign.stop_at_first && outcome.violation.is_some();
        all.push(Ran { seed, operations: plan.operations.len() as u64, again, outcome });
        if over {
            break;
        }
    }
    all
}

/// The violation of S14: the same plan, and another digest.
#[must_use]
pub fn differs(one: &Outcome, other: &Outcome) -> Option<Violation> {
    if one.digest == other.digest && one.records == other.records {
        return None;
    }
    let first = one.trace.iter().zip(&other.trace).position(|(one, other)| one != other);
    let text = match first {
        Some(index) => format!(
            "two runs of one plan differ from record {index} on: {:?} and {:?}",
            one.trace[index], other.trace[index],
        ),
        None => format!(
            "two runs of one plan have the digests {:016x} and {:016x}, and {} and {} records",
            one.digest, other.digest, one.records, other.records,
        ),
    };
    Some(Violation {
        invariant: "S14",
        at: one.ended.min(other.ended),
        node: NodeIx(0),
        text,
        record: match first {
            Some(index) => index as u64,
            None => one.records.min(other.records),
        },
    })
}

impl Progress {
    fn take(&mut self, ran: &[Ran]) {
        self.seeds += ran.len() as u64;
        self.events += ran.iter().map(|ran| ran.outcome.events).sum::<u64>();
        self.violations += ran.iter().filter(|ran| ran.outcome.violation.is_some()).count() as u64;
    }
}

/// Blocks, put together in order.
struct Sum<'a> {
    campaign: &'a Campaign,
    summary: Summary,
    digest: Digest,
    /// The next block.
    blocks: u64,
    /// What comes after this does not count.
    over: bool,
}

impl<'a> Sum<'a> {
    fn new(campaign: &'a Campaign) -> Self {
        let digest = Digest::default();
        let summary = Summary { digest: digest.value(), ..Summary::default() };
        Self { campaign, summary, digest, blocks: 0, over: false }
    }

    fn block(&mut self, ran: Vec<Ran>) {
        if self.over {
            return;
        }
        let first = self.blocks.saturating_mul(BLOCK);
        let whole = BLOCK.min(self.campaign.seeds - first);
        // A block that was cut short is the last that can count: there is a gap after it.
        self.over = (ran.len() as u64) < whole;
        self.blocks += 1;
        for ran in ran {
            self.seed(ran);
        }
    }

    fn seed(&mut self, Ran { seed, operations, again, outcome }: Ran) {
        let sum = &mut self.summary;
        self.digest.word(outcome.digest);
        sum.digest = self.digest.value();
        sum.seeds += 1;
        sum.events += outcome.events;
        sum.records += outcome.records;
        sum.faults += outcome.faults;
        sum.operations += operations;
        sum.reruns += u64::from(again);
        let lived = outcome.ended.saturating_since(Instant::ZERO).as_nanos();
        sum.simulated = sum.simulated.saturating_add(u64::try_from(lived).unwrap_or(u64::MAX));
        sum.marks.merge(outcome.marks);
        sum.fired.merge(&outcome.fired);
        if let Some(violation) = outcome.violation {
            sum.violations += 1;
            self.over |= self.campaign.stop_at_first;
            if sum.found.len() < self.campaign.keep {
                sum.found.push(Found { seed, violation });
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Whole runs on several threads: the one place of the laboratory that starts any.
//!
//! A run shares nothing with another. What threads count is added up in whole numbers, which gives
//! the same sums in any order, so the figures do not depend on how many threads there are or on
//! which of them was faster.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::figures::{Comparison, timeline_of};
use super::lab;
use super::measure::Cell;
use super::models::Crashes;
use super::plan::{Policy, PolicyError, Settings, check};

/// How far a comparison has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Runs that are done.
    pub done: u64,
    /// Runs that there will be.
    pub total: u64,
}

/// Runs that a thread takes at a time.
const CHUNK: u32 = 4;

/// Lives through every crash model under every policy, `settings.seeds` times each.
///
/// `progress` is called now and then by the threads that work.
///
/// # Errors
/// If the input is empty, a policy is refused by the kernel, or a model names a child that a policy
/// does not have. See [`PolicyError`].
pub fn compare(
    policies: &[Policy],
    crashes: &[Crashes],
    settings: &Settings,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Comparison, PolicyError> {
    check(policies, crashes, settings)?;
    let work = Work {
        policies,
        crashes,
        settings,
        progress,
        next: AtomicUsize::new(0),
        done: AtomicU64::new(0),
    };
    let threads = settings.threads.max(1);
    let mut cells = vec![Cell::default(); policies.len() * crashes.len()];
    if threads == 1 {
        work.run(&mut cells);
    } else {
        let counted = std::thread::scope(|scope| {
            let work = &work;
            let empty = &cells;
            let run = || {
                let mut cells = empty.clone();
                work.run(&mut cells);
                cells
            };
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let joined = handles.into_iter().map(|handle| handle.join());
            joined
                .map(|cells| cells.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        });
        for (cell, other) in counted.iter().flat_map(|other| (0..).zip(other)) {
            let cell: usize = cell;
            cells[cell].add(other);
        }
    }
    Ok(Comparison::new(policies, crashes, settings, &cells))
}

struct Work<'w> {
    policies: &'w [Policy],
    crashes: &'w [Crashes],
    settings: &'w Settings,
    progress: &'w (dyn Fn(Progress) + Sync),
    next: AtomicUsize,
    done: AtomicU64,
}

impl Work<'_> {
    /// Takes runs until none is left. Cells are by model, then by policy.
    fn run(&self, cells: &mut [Cell]) {
        let chunks = usize::try_from(self.settings.seeds.div_ceil(CHUNK)).unwrap_or(usize::MAX);
        let total = u64::try_from(cells.len()).unwrap_or(u64::MAX) * u64::from(self.settings.seeds);
        loop {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(cell) = cells.get_mut(unit / chunks) else { return };
            let policy = &self.policies[(unit / chunks) % self.policies.len()];
            let crashes = &self.crashes[(unit / chunks) / self.policies.len()];
            let from = u32::try_from(unit % chunks).unwrap_or(u32::MAX) * CHUNK;
            let to = from.saturating_add(CHUNK).min(self.settings.seeds);
            let timeline = timeline_of(&crashes.model);
            for seed in from..to {
                let duration = self.settings.duration;
                let run = lab::run(policy, crashes, u64::from(seed), duration, timeline);
                cell.add_run(&run.expect("the policy was checked"));
            }
            let done = self.done.fetch_add(u64::from(to - from), Ordering::Relaxed);
            (self.progress)(Progress { done: done + u64::from(to - from), total });
        }
    }
}

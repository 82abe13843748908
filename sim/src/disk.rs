//! The disk of a node: the checkpoints of its agents, each written at once and safe a while later.
//!
//! What is read is what was written last, as a file system has it, and not what the platter has. So
//! a checkpoint that was never synced looks well for as long as the power holds, and is another one
//! after that. An agent has at most two here: the newest, and the one that is safe.

use std::collections::BTreeMap;

use lictor_kernel::Instant;

use crate::fault::{Fault, Group, Kind};
use crate::plan::Plan;
use crate::record::Who;
use crate::stream::{Purpose, Streams};

/// How long after the first write since the last sync the next one is, in nanoseconds.
pub(crate) const SYNC_AFTER: u64 = 50_000_000;

/// Why a checkpoint was not read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failed {
    /// It is there, and nobody can make sense of it.
    Corrupt,
    /// There is no room for it.
    Full,
}

impl Failed {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Corrupt => "the checkpoint is corrupt",
            Self::Full => "no space is left on the disk",
        }
    }
}

/// The checkpoints of one agent.
#[derive(Clone, Debug)]
struct Kept<T> {
    written: Option<T>,
    synced: Option<T>,
    /// When what was written is safe, unless it is already.
    due: Option<u64>,
    reads: u64,
}

/// A disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk<T> {
    agents: BTreeMap<Who, Kept<T>>,
    /// Faults by which it takes nothing.
    full: u32,
    /// The share of reads that fail, in a million.
    corrupt: u32,
}

impl<T> Default for Disk<T> {
    fn default() -> Self {
        Self { agents: BTreeMap::new(), full: 0, corrupt: 0 }
    }
}

/// Whether the agents of a plan keep checkpoints: only then can anything become of a disk.
pub(crate) fn has_disks(plan: &Plan) -> bool {
    plan.faults.iter().any(|fault| fault.kind.facts().group == Group::Storage)
}

impl<T: Clone> Kept<T> {
    /// What was to be safe by now is.
    fn settle(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now.as_nanos()) {
            self.synced.clone_from(&self.written);
            self.due = None;
        }
    }
}

impl<T: Clone> Disk<T> {
    fn kept(&mut self, now: Instant, who: Who) -> &mut Kept<T> {
        let none = || Kept { written: None, synced: None, due: None, reads: 0 };
        let kept = self.agents.entry(who).or_insert_with(none);
        kept.settle(now);
        kept
    }

    /// Keeps a checkpoint, or the lack of one.
    pub(crate) fn write(&mut self, now: Instant, who: Who, what: Option<T>) -> Result<(), Failed> {
        if self.full > 0 {
            return Err(Failed::Full);
        }
        let kept = self.kept(now, who);
        kept.written = what;
        let due = now.as_nanos().saturating_add(SYNC_AFTER);
        kept.due = kept.due.or(Some(due));
        Ok(())
    }

    /// The checkpoint that was written last.
    pub(crate) fn read(
        &mut self,
        streams: Streams,
        now: Instant,
        who: Who,
    ) -> Result<Option<T>, Failed> {
        let corrupt = self.corrupt;
        let kept = self.kept(now, who);
        kept.reads += 1;
        if streams.chance(Purpose::Storage, u64::from(who.0), kept.reads, corrupt) {
            return Err(Failed::Corrupt);
        }
        Ok(kept.written.clone())
    }

    /// Whose checkpoints there are.
    pub(crate) fn whose(&self) -> Vec<Who> {
        let kept = self.agents.iter().filter(|(_, kept)| kept.written.is_some());
        kept.map(|(who, _)| *who).collect()
    }

    /// The power fails: what is not safe is what it was before. How many were lost.
    pub(crate) fn lose(&mut self, now: Instant) -> usize {
        let mut lost = 0;
        for kept in self.agents.values_mut() {
            kept.settle(now);
            if kept.due.take().is_some() {
                kept.written.clone_from(&kept.synced);
                lost += 1;
            }
        }
        lost
    }

    /// A fault of this disk begins or ends.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other kind is of disks")]
    pub(crate) fn change(&mut self, now: Instant, fault: &Fault, begins: bool) {
        match fault.kind {
            Kind::LoseUnsynced => {
                self.lose(now);
            }
            Kind::CorruptStore => {
                let share = u32::try_from(fault.amount).unwrap_or(u32::MAX).min(1_000_000);
                self.corrupt = if begins { share } else { 0 };
            }
            Kind::FullStore if begins => self.full += 1,
            Kind::FullStore => self.full = self.full.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who = Who(3);
    const AT: fn(u64) -> Instant = Instant::from_millis;

    fn read(disk: &mut Disk<u64>, at: u64) -> Option<u64> {
        disk.read(Streams::new(1), AT(at), WHO).unwrap()
    }

    #[test]
    fn what_was_not_synced_is_lost_with_the_power_and_only_then() {
        let mut disk = Disk::default();
        disk.write(AT(0), WHO, Some(1)).unwrap();
        disk.write(AT(10), WHO, Some(2)).unwrap();
        // Synced at 50 ms: what was the newest then.
        disk.write(AT(60), WHO, Some(3)).unwrap();
        assert_eq!(read(&mut disk, 70), Some(3));
        assert_eq!(disk.lose(AT(109)), 1);
        assert_eq!(read(&mut disk, 109), Some(2));
        disk.write(AT(110), WHO, Some(4)).unwrap();
        assert_eq!(disk.lose(AT(160)), 0);
        assert_eq!(read(&mut disk, 160), Some(4));
        let mut first = Disk::default();
        first.write(AT(0), WHO, Some(1)).unwrap();
        assert_eq!((first.lose(AT(1)), read(&mut first, 1)), (1, None));
    }

    #[test]
    fn a_full_disk_keeps_what_it_has_and_a_corrupt_one_tells() {
        let fault = |kind, amount| Fault {
            at: AT(0),
            lasts: std::time::Duration::from_secs(1),
            kind,
            target: crate::fault::Target::Node(crate::record::NodeIx(0)),
            amount,
        };
        let mut disk = Disk::default();
        disk.write(AT(0), WHO, Some(1)).unwrap();
        disk.change(AT(1), &fault(Kind::FullStore, 0), true);
        assert_eq!(disk.write(AT(1), WHO, Some(2)), Err(Failed::Full));
        assert_eq!(read(&mut disk, 1), Some(1));
        disk.change(AT(2), &fault(Kind::FullStore, 0), false);
        disk.write(AT(2), WHO, Some(2)).unwrap();
        disk.change(AT(3), &fault(Kind::CorruptStore, 1_000_000), true);
        assert_eq!(disk.read(Streams::new(1), AT(3), WHO), Err(Failed::Corrupt));
        disk.change(AT(4), &fault(Kind::CorruptStore, 1_000_000), false);
        assert_eq!(read(&mut disk, 4), Some(2));
    }
}

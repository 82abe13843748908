//! What one supervisor may do, by what is known of it.

use lictor_kernel::{
    ChildId, ChildSpec, Instant, Jitter, ProcessId, Restart, Shutdown, Signal, Strategy,
};

use super::judge::{Verdict, broken};
use super::world::{End, Past, Process, Watch};

/// Whether a child is to be started again after this.
pub(super) fn comes_back(spec: &ChildSpec, end: End) -> bool {
    match (end, spec.restart) {
        (End::Ignored | End::Told | End::Failed, _) | (_, Restart::Temporary) => false,
        (End::Exited(_), Restart::Permanent) => true,
        (End::Exited(reason), Restart::Transient) => !reason.is_clean(),
    }
}

impl Process {
    const fn is_told(&self) -> bool {
        self.told.is_some()
    }
}

impl Watch {
    pub(super) const fn new(planned: super::Planned) -> Self {
        Self {
            planned,
            ready: false,
            exhausted: false,
            commanded: false,
            newest: None,
            past: std::collections::BTreeMap::new(),
            granted: Vec::new(),
            heard: Vec::new(),
        }
    }

    pub(super) fn spec(&self, child: ChildId) -> Option<ChildSpec> {
        self.planned.children.iter().find(|(id, _)| *id == child).map(|(_, spec)| *spec)
    }

    fn place(&self, child: ChildId) -> usize {
        self.planned.children.iter().position(|(id, _)| *id == child).unwrap_or(usize::MAX)
    }

    /// Order (S4), restart types (S5) and waits (S6).
    pub(super) fn may_start(
        &self,
        process: ProcessId,
        siblings: &[Process],
        now: Instant,
    ) -> Verdict {
        let child = process.pid.child;
        let Some(spec) = self.spec(child) else {
            return broken("S4", format!("{process:?} starts and is no child"));
        };
        let past = self.past.get(&child).copied().unwrap_or_default();
        let place = self.place(child);
        let alone = self.planned.strategy.is_none_or(|strategy| strategy == Strategy::OneForOne);
        if self.planned.strategy.is_some() {
            if let Some(other) = siblings.iter().find(|live| !live.up || live.is_told()) {
                return broken("S4", format!("{process:?} starts before {:?} is", other.process));
            }
            let mut before = self.planned.children.iter().take(place);
            let started = |id| self.past.get(&id).is_some_and(|past: &Past| past.started);
            if !self.ready && before.any(|(id, _)| !started(*id)) {
                return broken("S4", format!("{process:?} starts out of order"));
            }
            let later = |live: &&Process| self.place(live.process.pid.child) > place;
            if !alone
                && !past.commanded
                && let Some(later) = siblings.iter().find(later)
            {
                return broken(
                    "S4",
                    format!("{process:?} starts before {:?} is down", later.process),
                );
            }
        }
        if past.commanded {
            return Ok(());
        }
        if spec.restart == Restart::Temporary && past.started {
            return broken("S5", format!("{process:?} is temporary and starts again"));
        }
        match past.last {
            Some((End::Ignored, _)) if alone => {
                broken("S5", format!("{process:?} starts after it was ignored"))
            }
            Some((end @ End::Exited(_), _)) if alone && !comes_back(&spec, end) => {
                broken("S5", format!("{process:?} starts although it may rest"))
            }
            _ if alone && past.scheduled.is_some_and(|at| now < at) => {
                broken("S6", format!("{process:?} starts before its wait is over"))
            }
            _ => Ok(()),
        }
    }

    /// A deadline kills at its time and no earlier (S8).
    pub(super) fn may_kill(&self, live: &Process, now: Instant) -> Verdict {
        let Some(spec) = self.spec(live.process.pid.child) else { return Ok(()) };
        let due = match (live.told, spec.shutdown) {
            (Some((_, at)), Shutdown::Timeout(timeout)) => Some(at.saturating_add(timeout)),
            (Some(_), Shutdown::Infinity | Shutdown::BrutalKill) => None,
            (None, Shutdown::BrutalKill) => Some(live.since),
            (None, _) if !live.up => spec.start_timeout.map(|t| live.since.saturating_add(t)),
            (None, _) => None,
        };
        if due.is_some_and(|due| due <= now) {
            return Ok(());
        }
        broken("S8", format!("{:?} is killed before its time", live.process))
    }

    /// Each strategy touches its own set, in reverse order (S4).
    pub(super) fn may_stop(
        &self,
        live: &Process,
        signal: Signal,
        ending: bool,
        siblings: &[Process],
    ) -> Verdict {
        let child = live.process.pid.child;
        let Some(strategy) = self.planned.strategy else { return Ok(()) };
        let commanded = self.past.get(&child).is_some_and(|past| past.commanded);
        let place = self.place(child);
        let later = |other: &&Process| self.place(other.process.pid.child) > place;
        if !commanded
            && signal == Signal::Shutdown
            && let Some(later) = siblings.iter().find(later)
        {
            let (first, second) = (live.process, later.process);
            return broken("S4", format!("{first:?} is stopped before {second:?}"));
        }
        if ending || commanded || !live.up || live.is_told() {
            return Ok(());
        }
        let dead = |place: usize| {
            let child = self.planned.children.get(place).map(|(id, _)| *id);
            !siblings.iter().any(|live| Some(live.process.pid.child) == child)
        };
        let mut set = match strategy {
            Strategy::OneForOne => 0..0,
            Strategy::OneForAll => 0..self.planned.children.len(),
            Strategy::RestForOne => 0..place,
        };
        if set.any(dead) {
            return Ok(());
        }
        broken("S4", format!("{:?} is stopped by {strategy:?} for nobody", live.process))
    }

    /// How many of these lie within one window that ends with `newest`.
    fn counted(&self, list: &[(ChildId, Instant)], child: ChildId, newest: Instant) -> usize {
        let period = self.planned.intensity.period;
        let counts = |(id, at): &&(ChildId, Instant)| {
            (self.planned.shared || *id == child)
                && *at <= newest
                && newest.saturating_since(*at) < period
        };
        list.iter().filter(counts).count()
    }

    /// A restart after a crash: the budget must allow it (S3).
    pub(super) fn grants(&mut self, child: ChildId) -> Verdict {
        let Some((_, at)) = self.past.get(&child).and_then(|past| past.last) else {
            return broken("S2", format!("{child:?} ended and nobody said so"));
        };
        self.granted.push((child, at));
        let most = usize::try_from(self.planned.intensity.max_restarts).unwrap_or(usize::MAX);
        // What was heard may have been counted before this, and have made it older.
        let newest = self.heard.iter().chain(&self.granted).map(|(_, at)| *at).max();
        let counted = self.counted(&self.granted, child, newest.unwrap_or(at));
        if counted > most {
            return broken("S3", format!("{counted} restarts within a window of {most}"));
        }
        Ok(())
    }

    /// The budget is used up only if more than it allows were heard of (S3).
    pub(super) fn gives_up(&mut self, child: ChildId) -> Verdict {
        let most = usize::try_from(self.planned.intensity.max_restarts).unwrap_or(usize::MAX);
        let windows = self.heard.iter().map(|(_, at)| self.counted(&self.heard, child, *at));
        let counted = windows.max().unwrap_or(0);
        if counted <= most {
            return broken("S3", format!("gives up at {counted} crashes of {most}"));
        }
        if self.exhausted {
            return broken("S3", "gives up twice");
        }
        self.exhausted = self.planned.shared;
        Ok(())
    }

    /// A wait begins with the crash and lies within its bounds (S6).
    pub(super) fn schedules(&mut self, child: ChildId, until: Instant) -> Verdict {
        let past = self.past.entry(child).or_default();
        past.scheduled = Some(until);
        let failed = core::mem::replace(&mut past.failed, false);
        let Some((_, crash)) = past.last else {
            return broken("S2", format!("{child:?} waits and was never there"));
        };
        if failed {
            self.grants(child)?;
        }
        let backoff = self.planned.backoff;
        let least = match backoff.jitter {
            Jitter::None | Jitter::Decorrelated => backoff.base.min(backoff.max),
            Jitter::Quarter => backoff.base.min(backoff.max - backoff.max / 4),
            Jitter::Full => core::time::Duration::ZERO,
        };
        let wait = until.saturating_since(crash);
        let at_the_end_of_time = until == Instant::MAX;
        if wait > backoff.max || (wait < least && !at_the_end_of_time) {
            return broken("S6", format!("{child:?} waits {wait:?}"));
        }
        Ok(())
    }
}

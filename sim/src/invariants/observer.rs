//! Notes what a run has reached, as far as the records show it.

use std::collections::{BTreeMap, VecDeque};

use lictor_kernel::{ExitReason, Instant};

use super::books::{Books, Life};
use super::is_clean;
use crate::marks::{Mark, Marks};
use crate::plan::Plan;
use crate::record::{MessageId, Process, Record, Stage, What, Who};

/// Ends that are remembered for each supervisor: those that an edge is about, in most plans.
const ENDS: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Observer {
    /// Into which incarnation's time a message was queued; only those of names that were down or
    /// restarting then.
    queued_between: BTreeMap<MessageId, Option<Process>>,
    /// By number of the supervisor's name: the last ends that nobody asked for, and whose.
    ends: Vec<VecDeque<(Instant, Who)>>,
    periods: Vec<Option<std::time::Duration>>,
    /// Peers that were given up.
    lost: Vec<bool>,
}

impl Observer {
    pub(super) fn new(plan: &Plan) -> Self {
        let scenario = &plan.scenario;
        let periods = scenario.all().map(|(who, _)| scenario.intensity_over(who).map(|i| i.period));
        Self {
            queued_between: BTreeMap::new(),
            ends: vec![VecDeque::new(); scenario.len()],
            periods: periods.collect(),
            lost: vec![false; scenario.nodes() * scenario.nodes()],
        }
    }

    pub(super) fn see(&mut self, books: &Books, record: &Record, marks: &mut Marks) {
        match record.what {
            What::Exited(process, reason) => self.exited(books, record.at, process, reason, marks),
            What::StartFailed(process) if books.of(process.who).starts > 1 => {
                marks.reach(Mark::FailedRestart);
            }
            What::Supervisor { who, stage: Stage::Initializing, .. }
                if books.supervisor[usize::from(who.0)].exit
                    == Some(ExitReason::RestartsExhausted) =>
            {
                marks.reach(Mark::SubtreeRestarted);
            }
            What::Stale(_) => marks.reach(Mark::StaleFact),
            What::Queued(message, who) => {
                let book = books.of(who);
                if book.life != Life::Up {
                    self.queued_between.insert(message, book.newest);
                }
            }
            What::Delivered(message, _)
                if !self.queued_between.is_empty()
                    && self.queued_between.remove(&message).is_some() =>
            {
                marks.reach(Mark::QueuedOverRestart);
            }
            What::Operation(_) | What::Calm => {
                let waits = books.child.iter().any(|child| child.waits.is_some());
                if waits && (record.what == What::Calm || books.stopped.iter().any(|s| *s)) {
                    marks.reach(Mark::ShutdownDuringBackoff);
                }
            }
            What::Suppressed(_) => marks.reach(Mark::DuplicateSuppressed),
            What::PeerDown(peer) => self.lost_slot(record, peer, true, marks),
            What::PeerUp(peer) => self.lost_slot(record, peer, false, marks),
            _ => {}
        }
    }

    fn lost_slot(
        &mut self,
        record: &Record,
        peer: crate::record::NodeIx,
        down: bool,
        marks: &mut Marks,
    ) {
        let nodes = self.lost.len().isqrt();
        let at = usize::from(record.node.0) * nodes + usize::from(peer.0);
        if let Some(lost) = self.lost.get_mut(at) {
            if *lost && !down {
                marks.reach(Mark::Reconnected);
            }
            *lost = down;
        }
    }

    fn exited(
        &mut self,
        books: &Books,
        now: Instant,
        process: Process,
        reason: ExitReason,
        marks: &mut Marks,
    ) {
        let book = books.of(process.who);
        let Some(parent) = book.parent.filter(|_| book.told.is_none()) else { return };
        let boss = &books.supervisor[usize::from(parent.0)];
        let sweeps = boss.children.iter().any(|child| {
            let child = books.of(*child);
            child.life != Life::None && child.told.is_some()
        });
        if sweeps || (boss.ready && boss.starting > 0) {
            marks.reach(Mark::FailureMidSweep);
        }
        if is_clean(reason) {
            return;
        }
        let ends = &mut self.ends[usize::from(parent.0)];
        if ends.back().is_some_and(|(at, who)| *at == now && *who != process.who) {
            marks.reach(Mark::SimultaneousDeaths);
        }
        let period = self.periods[usize::from(process.who.0)];
        if ends.iter().any(|(at, _)| period == Some(now.saturating_since(*at))) {
            marks.reach(Mark::WindowEdge);
        }
        if ends.len() == ENDS {
            ends.pop_front();
        }
        ends.push_back((now, process.who));
    }
}

//! S4: children start in order and one at a time, stop in reverse and one at a time, and each
//! strategy touches exactly its set.
//!
//! Source: OTP; kernel rules V2, V7 to V9, V15. Of static supervisors only: the children of a
//! dynamic one live each by itself (Y2).

use lictor_kernel::{Instant, Signal, Strategy};

use super::Verdict;
use super::books::{Books, Life};
use crate::plan::Plan;
use crate::record::{Process, Record, Stage, What, Who};

/// What a supervisor has done last.
#[derive(Clone, Debug, Default)]
struct Walk {
    /// The children told to stop since the last start, in order, with their places.
    stopped: Vec<(Who, usize)>,
    /// The last child started, at which record.
    started: Option<(Who, u64)>,
    /// The last record at which an end that nobody asked for, or a command, came in.
    disturbed: u64,
}

/// By number of the supervisor's name.
#[derive(Clone, Debug)]
pub(super) struct Order {
    walks: Vec<Walk>,
}

impl Order {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { walks: vec![Walk::default(); plan.scenario.len()] }
    }

    pub(super) fn see(&mut self, books: &Books, record: &Record) -> Verdict {
        match record.what {
            What::Start(process) => self.starts(books, record.at, process),
            What::Supervisor { who, process, stage: Stage::Initializing, .. } => {
                if let Some(process) = process {
                    self.starts(books, record.at, process)?;
                }
                self.walks[usize::from(who.0)] = Walk::default();
                Ok(())
            }
            What::Signal(process, signal) => self.stops(books, record.at, process, signal),
            What::Exited(process, _) | What::StartFailed(process) => {
                if books.of(process.who).told.is_none() {
                    self.disturb(books, process.who);
                }
                Ok(())
            }
            What::Supervisor { process: Some(process), stage: Stage::Exited(_), .. } => {
                self.disturb(books, process.who);
                Ok(())
            }
            What::Halted => {
                for (walk, book) in self.walks.iter_mut().zip(&books.child) {
                    if book.node == record.node {
                        *walk = Walk::default();
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn disturb(&mut self, books: &Books, child: Who) {
        if let Some(parent) = books.of(child).parent {
            self.walks[usize::from(parent.0)].disturbed = books.index;
        }
    }

    fn starts(&mut self, books: &Books, now: Instant, process: Process) -> Verdict {
        let (book, boss) = (books.of(process.who), books.boss(process.who));
        let (Some(parent), Some(boss)) = (book.parent, boss) else { return Ok(()) };
        let Some(strategy) = boss.strategy else { return Ok(()) };
        if boss.starting > 0 {
            return Err(format!("{process:?} is started while a sibling is starting"));
        }
        let walk = &mut self.walks[usize::from(parent.0)];
        let commanded = books.is_commanded(now, process.who);
        let verdict = if commanded || !boss.ready {
            Ok(())
        } else {
            touches(books, strategy, process.who, walk)
        };
        if let Some((last, index)) = walk.started
            && !commanded
            && index > walk.disturbed
            && walk.stopped.is_empty()
            && books.of(last).life == Life::Up
            && (strategy != Strategy::OneForOne || !boss.ready)
            && books.of(last).position > book.position
        {
            return Err(format!(
                "{:?} is started after {last:?}, which stands behind it",
                process.who
            ));
        }
        walk.stopped.clear();
        walk.started = Some((process.who, books.index));
        if commanded {
            walk.disturbed = books.index + 1;
        }
        verdict
    }

    fn stops(&mut self, books: &Books, now: Instant, process: Process, signal: Signal) -> Verdict {
        let (book, boss) = (books.of(process.who), books.boss(process.who));
        let (Some(parent), Some(boss)) = (book.parent, boss) else { return Ok(()) };
        if boss.strategy.is_none() {
            return Ok(());
        }
        if !books.lived(now, process) {
            return Err(format!("{process:?} is told to stop, and is not alive"));
        }
        let again = book.told.is_some();
        let overdue = now >= book.up_by || books.has_odd_timers(book.node);
        let late_start = book.life == Life::Starting && signal == Signal::Kill && overdue;
        if books.is_commanded(now, process.who) || again || late_start {
            return Ok(());
        }
        let walk = &mut self.walks[usize::from(parent.0)];
        let place = (process.who, book.position);
        if let Some((last, position)) = walk.stopped.last().copied()
            && signal == Signal::Shutdown
        {
            if books.of(last).life != Life::None {
                return Err(format!(
                    "{:?} is told to stop while {last:?} is stopping",
                    process.who
                ));
            }
            if position <= book.position {
                return Err(format!(
                    "{:?} is told to stop after {last:?}, which stands before it",
                    process.who
                ));
            }
        }
        walk.stopped.push(place);
        Ok(())
    }
}

/// Whether a strategy has stopped what it must and nothing else, when it starts the first again.
fn touches(books: &Books, strategy: Strategy, first: Who, walk: &Walk) -> Verdict {
    let position = books.of(first).position;
    let end = books.of(first).end;
    let untouched = |who: &Who| matches!(books.of(*who).life, Life::Up | Life::Starting);
    let boss = books.boss(first);
    let siblings = boss.map(|boss| boss.children.as_slice()).unwrap_or_default();
    let behind = |who: &&Who| books.of(**who).position > position;
    match strategy {
        Strategy::OneForOne => match walk.stopped.first() {
            Some((other, _)) if *other != first => {
                Err(format!("one_for_one has stopped {other:?} and starts {first:?}"))
            }
            Some(_) | None => Ok(()),
        },
        Strategy::OneForAll | Strategy::RestForOne => {
            if let Some(left) = siblings.iter().filter(behind).find(|who| untouched(who)) {
                return Err(format!("{first:?} is started while {left:?} behind it is up"));
            }
            let before = |who: &&Who| books.of(**who).position < position;
            let restart = books.of(first).restart;
            if strategy == Strategy::OneForAll
                && let Some(end) = end.filter(|end| end.is_crash(restart))
                && let Some(left) = siblings
                    .iter()
                    .filter(before)
                    .find(|who| untouched(who) && books.of(**who).begun < end.index)
            {
                return Err(format!("one_for_all starts {first:?} and has left {left:?} up"));
            }
            if strategy != Strategy::RestForOne {
                return Ok(());
            }
            if let Some((other, _)) = walk.stopped.iter().find(|(_, place)| *place < position) {
                return Err(format!(
                    "rest_for_one starts {first:?} and has stopped {other:?}, before it"
                ));
            }
            // The first that is started again is the one that failed.
            if !walk.stopped.is_empty() && end.is_some_and(|end| end.told) {
                return Err(format!("rest_for_one has stopped {first:?}, which had not failed"));
            }
            Ok(())
        }
    }
}

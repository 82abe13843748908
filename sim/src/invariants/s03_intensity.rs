//! S3: within any restart window at most `max_restarts` restarts, and the next crash escalates,
//! once.
//!
//! Source: OTP; kernel rules W1 to W3, V6, V14. The window is half-open: a crash exactly one window
//! old no longer counts. Seen from outside, one application of a strategy restarts many and counts
//! once, and which of several ends of one instant was counted is not known. So each counted crash
//! has a span of time in which it lies, and only what is wrong wherever in it the crash lay is an
//! error. With one_for_one the span is a point, and the judgement is exact.

use std::collections::VecDeque;
use std::time::Duration;

use lictor_kernel::{Instant, Intensity, Strategy};

use super::Verdict;
use super::books::{Books, ChildBook, End, Life, SupervisorBook};
use crate::plan::Plan;
use crate::record::{Process, Record, Stage, What, Who};
use crate::scenario::Role;

#[derive(Clone, Debug, Default)]
struct Budget {
    intensity: Option<Intensity>,
    /// One for each child, and not one for all.
    per_child: bool,
    /// The crashes that were answered by a restart, each from its earliest instant to its latest,
    /// in the order of the earliest.
    counted: VecDeque<(Instant, Instant)>,
    /// The record of the last start that was counted.
    last_counted: u64,
    /// The record of the end that it answered.
    last_answered: u64,
    /// Ends that may have been counted: when, and of whom.
    ends: VecDeque<(Instant, Who)>,
    /// How many children there are whose crashes it counts.
    children: usize,
}

impl Budget {
    /// Counts the crash that lies in this span. Whether it is one of more than `most` that lie in
    /// one window, wherever in their spans they are.
    ///
    /// A restart that waits for longer than those of other children is seen after theirs, though
    /// its crash was before.
    fn counts(&mut self, span: (Instant, Instant), most: usize, period: Duration) -> bool {
        let at = self.counted.partition_point(|other| other.0 <= span.0);
        self.counted.insert(at, span);
        let firsts = at.saturating_sub(most)..self.counted.len().saturating_sub(most);
        let over = firsts.take_while(|first| *first <= at).any(|first| {
            let window = self.counted.range(first..=first + most);
            let latest = window.map(|span| span.1).max();
            latest.is_some_and(|latest| latest.saturating_since(self.counted[first].0) < period)
        });
        // As many as one that waited can come before.
        let kept = most.saturating_add(1).saturating_mul(2).saturating_add(self.children);
        while self.counted.len() > kept {
            self.counted.pop_front();
        }
        over
    }
}

/// The books of this invariant, by number of the name: of a supervisor, or of a child that has a
/// budget of its own.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    budgets: Vec<Budget>,
}

impl Windows {
    pub(super) fn new(plan: &Plan) -> Self {
        use lictor_kernel::dynamic_supervisor::Budget as Share;
        let scenario = &plan.scenario;
        let mut budgets = vec![Budget::default(); scenario.len()];
        for (who, entity) in scenario.all() {
            let at = usize::from(who.0);
            match &entity.role {
                Role::Supervisor(config, children) => {
                    budgets[at].intensity = Some(config.intensity);
                    budgets[at].children = children.len();
                }
                Role::Dynamic(config, children) => {
                    budgets[at].intensity = Some(config.intensity);
                    budgets[at].per_child = config.budget == Share::Child;
                    budgets[at].children = children.len();
                    for child in children {
                        budgets[usize::from(child.0)].intensity = Some(config.intensity);
                    }
                }
                Role::Agent(_) => {}
            }
        }
        Self { budgets }
    }

    /// Whose budget a crash of this child goes to.
    fn budget_of(&mut self, books: &Books, child: Who) -> Option<&mut Budget> {
        let parent = books.of(child).parent?;
        let per_child = self.budgets[usize::from(parent.0)].per_child;
        let at = if per_child { child } else { parent };
        Some(&mut self.budgets[usize::from(at.0)])
    }

    pub(super) fn see(&mut self, books: &Books, record: &Record) -> Verdict {
        match record.what {
            What::Start(process) => self.starts(books, record.at, process),
            What::Supervisor { who, process, stage: Stage::Initializing, .. } => {
                if let Some(process) = process {
                    self.starts(books, record.at, process)?;
                }
                self.forget(who);
                Ok(())
            }
            What::Supervisor { process: Some(process), stage: Stage::Exited(_), .. }
            | What::StartFailed(process)
            | What::Exited(process, _) => {
                self.ended(books, record.at, process);
                Ok(())
            }
            What::Removed(who) => {
                self.forget(who);
                Ok(())
            }
            What::RestartsExhausted { child, .. } => self.exhausted(books, record.at, child),
            _ => Ok(()),
        }
    }

    fn forget(&mut self, who: Who) {
        let budget = &mut self.budgets[usize::from(who.0)];
        budget.counted.clear();
        budget.ends.clear();
        (budget.last_counted, budget.last_answered) = (0, 0);
    }

    /// An end that nobody asked for may be counted.
    fn ended(&mut self, books: &Books, now: Instant, process: Process) {
        let book = books.of(process.who);
        if book.newest != Some(process) || (book.told.is_some() && !book.late) {
            return;
        }
        if is_swept(books, process) {
            return;
        }
        if let Some(budget) = self.budget_of(books, process.who) {
            let Some(Intensity { max_restarts, .. }) = budget.intensity else { return };
            budget.ends.push_back((now, process.who));
            // As many as can matter, and some for those that are not counted; one of each child may
            // be held up, and come after those that matter. A run has no more than its events.
            let most = (max_restarts as usize).saturating_mul(2).saturating_add(64);
            while budget.ends.len() > most.saturating_add(budget.children) {
                budget.ends.pop_front();
            }
        }
    }

    /// A start that answers a crash: one more in the window.
    fn starts(&mut self, books: &Books, now: Instant, process: Process) -> Verdict {
        let book = books.of(process.who);
        let boss = books.boss(process.who);
        if boss.is_some_and(|boss| boss.exhausted && boss.id == Some(process.supervisor)) {
            let per_child =
                book.parent.is_some_and(|parent| self.budgets[usize::from(parent.0)].per_child);
            if !per_child {
                return Err(format!("{process:?} is started after its supervisor has given up"));
            }
        }
        let Some(end) = book.end.filter(|end| end.supervisor == process.supervisor) else {
            return Ok(());
        };
        let exact =
            boss.is_none_or(|boss| matches!(boss.strategy, None | Some(Strategy::OneForOne)));
        if book.starts == 0
            || end.told
            || book.terminated
            || books.is_commanded(now, process.who)
            || (exact && !end.is_crash(book.restart))
        {
            return Ok(());
        }
        let odd = books.clock_is_odd[usize::from(book.node.0)];
        let index = books.index;
        let Some(budget) = self.budget_of(books, process.who) else { return Ok(()) };
        if !exact && end.index < budget.last_counted {
            return Ok(());
        }
        let counted = if exact { (end.at, end.at) } else { span(books, process, &end, budget) };
        (budget.last_counted, budget.last_answered) = (index, end.index);
        let Some(Intensity { max_restarts, period }) = budget.intensity else { return Ok(()) };
        let most = max_restarts as usize;
        if budget.counts(counted, most, period) && !odd {
            return Err(format!(
                "{process:?} is started: that makes {} restarts within {period:?}, and {most} are \
                 allowed",
                most + 1
            ));
        }
        Ok(())
    }

    /// A budget is used up: there must have been crashes enough.
    fn exhausted(&mut self, books: &Books, now: Instant, child: Who) -> Verdict {
        let boss = books.boss(child);
        let odd = books.clock_is_odd[usize::from(books.of(child).node.0)];
        let parent = books.of(child).parent;
        let per_child = parent.is_some_and(|parent| self.budgets[usize::from(parent.0)].per_child);
        let Some(budget) = self.budget_of(books, child) else { return Ok(()) };
        if !per_child && boss.is_some_and(|boss| boss.exhausted) {
            return Err(format!("the supervisor of {child:?} gives up twice"));
        }
        let Some(Intensity { max_restarts, period }) = budget.intensity else { return Ok(()) };
        let before = |last: Instant| {
            let within = |at: Instant| at <= last && last.saturating_since(at) < period;
            budget.ends.iter().filter(|(at, _)| within(*at)).count()
        };
        // Its crash may have been held up, and crashes that came meanwhile may have been counted
        // before it or not.
        let own = budget.ends.iter().rev().find(|(_, who)| *who == child).map_or(now, |end| end.0);
        let since = budget.ends.iter().filter(|(at, _)| *at >= own);
        let crashes = since.map(|(at, _)| before(*at)).max().unwrap_or_default();
        let needed = max_restarts as usize + 1;
        if !odd && crashes < needed {
            return Err(format!(
                "{child:?} uses up its budget with {crashes} crashes within {period:?}, and \
                 {needed} are needed"
            ));
        }
        Ok(())
    }
}

/// Whether a child ends while one_for_all stops those behind it, and waits for one of them: its end
/// is taken for the stop that it was about to be told, and never counted (V13).
fn is_swept(books: &Books, process: Process) -> bool {
    let book = books.of(process.who);
    let all = |boss: &&SupervisorBook| boss.strategy == Some(Strategy::OneForAll);
    // One that somebody has taken down is stopped alone.
    let is_stopped = |other: &ChildBook| {
        let by_strategy = other.told.is_some() && !other.terminated;
        other.position > book.position && other.life == Life::Up && by_strategy
    };
    let boss = books.boss(process.who).filter(all);
    book.life == Life::Up
        && boss.is_some_and(|boss| boss.children.iter().any(|who| is_stopped(books.of(*who))))
}

/// The span in which the crash lies that a sweep answers: from the first to the last end, of the
/// children of this supervisor, that is a crash and is newer than the one that the last sweep
/// answered: one that came during that sweep was held up behind it. A child that this sweep has
/// started again, since the last one began, may have ended once more meanwhile: then it is its end
/// before that counts.
fn span(books: &Books, process: Process, own: &End, budget: &Budget) -> (Instant, Instant) {
    let Some(boss) = books.boss(process.who) else { return (own.at, own.at) };
    let mut span = (own.at, own.at);
    for child in &boss.children {
        let book = books.of(*child);
        let answered = book.end_before.filter(|_| book.begun > budget.last_counted);
        for end in [book.end, answered].into_iter().flatten() {
            let is_new = end.index > budget.last_answered;
            if is_new && end.supervisor == process.supervisor && end.is_crash(book.restart) {
                span = (span.0.min(end.at), span.1.max(end.at));
            }
        }
    }
    span
}

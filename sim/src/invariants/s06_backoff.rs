//! S6: a restart is put off by what the policy says, and does not come before. (That it comes at
//! all is judged with L1; that it comes at once when its time is over, by the reference model: what
//! a supervisor is busy with until then does not always show.)
//!
//! Source: civitas, design.md section 5; kernel rules B1 to B6, V11, V12.

use std::time::Duration;

use lictor_kernel::{Backoff, Curve, Instant, Jitter, Strategy};

use super::Verdict;
use super::books::Books;
use crate::plan::Plan;
use crate::record::{Process, Record, What, Who};
use crate::scenario::Role;

/// By number of the supervisor's name: its backoff, and the greatest occupancy of its window.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    policies: Vec<Option<(Backoff, u32)>>,
}

impl Waits {
    pub(super) fn new(plan: &Plan) -> Self {
        let policy = |role: &Role| match role {
            Role::Supervisor(config, _) => Some((config.backoff, config.intensity.max_restarts)),
            Role::Dynamic(config, _) => Some((config.backoff, config.intensity.max_restarts)),
            Role::Agent(_) => None,
        };
        let policies = plan.scenario.all().map(|(_, entity)| policy(&entity.role)).collect();
        Self { policies }
    }

    pub(super) fn see(&self, books: &Books, record: &Record) -> Verdict {
        match record.what {
            What::RestartScheduled { who, delay, .. } => {
                self.is_within(books, record.at, who, Duration::from_nanos(delay))
            }
            What::Start(process) => comes_in_time(books, record.at, process),
            _ => Ok(()),
        }
    }

    fn is_within(&self, books: &Books, now: Instant, who: Who, delay: Duration) -> Verdict {
        let parent = books.of(who).parent;
        let Some((backoff, most)) = parent.and_then(|parent| self.policies[usize::from(parent.0)])
        else {
            return Ok(());
        };
        if books.clock_is_odd[usize::from(books.of(who).node.0)] {
            return Ok(());
        }
        // The wait counts from the crash, also when its handling was held up (W4).
        let crash = books.of(who).end.map_or(now, |end| end.at);
        let wait = now.saturating_add(delay).saturating_since(crash);
        // One that was held up beyond its wait is made at once.
        let overdue = delay.is_zero() && shortest(&backoff) <= wait;
        // What fell due before a fact came is done at the last instant before it.
        let late = books.has_odd_timers(books.of(who).node);
        let moment = Duration::from_nanos(u64::from(late));
        let since_before = wait.saturating_add(moment);
        if overdue || allows(&backoff, most, wait) || allows(&backoff, most, since_before) {
            return Ok(());
        }
        let policy = words(&backoff);
        Err(format!("{who:?} is to wait {wait:?}, which a backoff that is {policy} never says"))
    }
}

/// A backoff in the words of a topology file. (`stable_after` makes no wait that the curve lacks.)
fn words(backoff: &Backoff) -> String {
    let Backoff { curve, base, max, jitter, stable_after: _ } = backoff;
    let curve = match curve {
        Curve::None => return "none".to_owned(),
        Curve::Constant => "constant",
        Curve::Linear => "linear",
        Curve::Exponential => "exponential",
    };
    let jitter = match jitter {
        Jitter::None => "none",
        Jitter::Quarter => "quarter",
        Jitter::Full => "full",
        Jitter::Decorrelated => "decorrelated",
    };
    format!("{curve} from {base:?} to {max:?}, with jitter {jitter},")
}

/// Whether some occupancy of the window gives this wait.
fn allows(backoff: &Backoff, most: u32, delay: Duration) -> bool {
    if delay > backoff.max {
        return false;
    }
    match backoff.jitter {
        Jitter::Decorrelated => delay >= backoff.base,
        Jitter::Full => true,
        Jitter::None => curve(backoff, most).any(|wait| wait == delay),
        Jitter::Quarter => curve(backoff, most).any(|wait| {
            let longest = wait.saturating_add(wait / 4);
            let moved = longest.min(backoff.max).saturating_sub(wait / 4).min(wait);
            delay >= moved && delay <= longest
        }),
    }
}

/// The shortest wait that there can be.
fn shortest(backoff: &Backoff) -> Duration {
    match backoff.jitter {
        Jitter::Full => Duration::ZERO,
        Jitter::Decorrelated => backoff.base,
        Jitter::None => wait_of(backoff, 1),
        Jitter::Quarter => wait_of(backoff, 1) / 4 * 3,
    }
}

/// The waits of a curve, until it does not rise any more.
fn curve(backoff: &Backoff, most: u32) -> impl Iterator<Item = Duration> {
    let mut last = None;
    (1..=most.max(1)).map(|n| wait_of(backoff, n)).take_while(move |wait| {
        let more = last != Some(*wait);
        last = Some(*wait);
        more
    })
}

/// The wait at the n-th crash in the window, without jitter (B1). Worked out here: the kernel's own
/// word for it is what is judged.
fn wait_of(backoff: &Backoff, n: u32) -> Duration {
    let times = match backoff.curve {
        Curve::None => 0,
        Curve::Constant => 1,
        Curve::Linear => n,
        Curve::Exponential => 1_u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX),
    };
    backoff.base.saturating_mul(times).min(backoff.max)
}

/// A child that waits alone is started when its wait is over.
fn comes_in_time(books: &Books, now: Instant, process: Process) -> Verdict {
    let book = books.of(process.who);
    let alone = books
        .boss(process.who)
        .is_none_or(|boss| matches!(boss.strategy, None | Some(Strategy::OneForOne)));
    let Some((since, delay)) = book.waits.filter(|_| alone) else { return Ok(()) };
    if books.clock_is_odd[usize::from(book.node.0)] || books.is_commanded(now, process.who) {
        return Ok(());
    }
    let until = since.saturating_add(Duration::from_nanos(delay));
    if now < until {
        return Err(format!("{process:?} is started at {now:?}, and was to wait until {until:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_said_in_the_words_of_a_topology_file() {
        let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(5))
            .jitter(Jitter::Quarter);
        assert_eq!(words(&backoff), "exponential from 50ms to 5s, with jitter quarter,");
        assert_eq!(words(&Backoff::NONE), "none");
    }
}

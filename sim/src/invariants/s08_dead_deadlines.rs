//! S8: no deadline of an incarnation that is gone has an effect: nobody is told to stop who is not
//! alive, and nobody is told the same twice. The deadlines of the living have theirs: who is not up
//! in time, or does not stop in time, is killed and not waited for.
//!
//! Source: design.md (deadlines are polled, and belong to a process); kernel rules V15, V18, V24,
//! V25, V27.

use std::time::Duration;

use lictor_kernel::{Instant, Signal};

use super::Verdict;
use super::books::{Books, Life};
use crate::record::{Process, Record, What};

/// What the coarsest clock of an engine makes of a deadline.
const TICKS: Duration = Duration::from_millis(5);

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    match record.what {
        What::Signal(process, signal) => is_due(books, record.at, process, signal),
        What::Started(process)
        | What::StartIgnored(process)
        | What::StartFailed(process)
        | What::Exited(process, _) => is_in_time(books, record.at, process),
        _ => Ok(()),
    }
}

/// Whether a child that comes up is to be stopped after one behind it, which has been told. One
/// that was started by a command can be in the middle; in a stop it is the next one's turn (V15),
/// and its own comes whether it is up or not.
fn waits_its_turn(books: &Books, process: Process) -> bool {
    let own = books.of(process.who).position;
    books.boss(process.who).is_some_and(|boss| {
        boss.children.iter().any(|other| {
            let other = books.of(*other);
            other.position > own && other.life != Life::None && other.told.is_some()
        })
    })
}

/// Whoever ends of its own accord, or comes up, does so while it may.
fn is_in_time(books: &Books, now: Instant, process: Process) -> Verdict {
    let book = books.of(process.who);
    if book.newest != Some(process) || books.has_odd_timers(book.node) {
        return Ok(());
    }
    let (until, what) = match book.told {
        Some(Signal::Kill) => return Ok(()),
        Some(Signal::Shutdown) => (book.gone_by, "gone"),
        None if book.life == Life::Starting && !waits_its_turn(books, process) => {
            (book.up_by, "up")
        }
        None => return Ok(()),
    };
    if now <= until.saturating_add(TICKS) {
        return Ok(());
    }
    Err(format!("{process:?} was to be {what} by {until:?}, and is waited for until {now:?}"))
}

fn is_due(books: &Books, now: Instant, process: Process, signal: Signal) -> Verdict {
    let book = books.of(process.who);
    if !books.lived(now, process) {
        return Err(format!("{signal:?} is sent to {process:?}, which is not alive"));
    }
    match (book.told, signal) {
        (Some(Signal::Kill), _) => {
            Err(format!("{signal:?} is sent to {process:?}, which was killed"))
        }
        (Some(Signal::Shutdown), Signal::Shutdown) => {
            Err(format!("{process:?} is told to stop for the second time"))
        }
        (Some(Signal::Shutdown), Signal::Kill) | (None, _) => Ok(()),
    }
}

//! S5: temporary children never come back, transient ones not after a good end, and none that was
//! taken down by a command comes back by itself. The end of a significant child is the end of its
//! supervisor.
//!
//! Source: OTP; kernel rules V5, V8, V13, V19, V21, H2. Where a strategy restarts siblings, it also
//! starts those that were down (V8), so what is said of transient children and commands holds for
//! one_for_one and dynamic supervisors.

use lictor_kernel::{Restart, Strategy};

use super::books::{Books, How};
use super::liveness::lacks_a_host;
use super::{Verdict, is_clean};
use crate::record::{Record, Stage, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let process = match record.what {
        What::Start(process) => process,
        What::Supervisor { process: Some(process), stage: Stage::Initializing, .. } => process,
        What::Calm => return significant_ends(books),
        _ => return Ok(()),
    };
    let book = books.of(process.who);
    let Some(end) = book.end.filter(|end| end.supervisor == process.supervisor) else {
        return Ok(());
    };
    if book.starts == 0 || books.is_commanded(record.at, process.who) {
        return Ok(());
    }
    if book.restart == Restart::Temporary {
        return Err(format!("{process:?} is temporary, and comes back"));
    }
    let alone = books
        .boss(process.who)
        .is_none_or(|boss| matches!(boss.strategy, None | Some(Strategy::OneForOne)));
    if !alone {
        return Ok(());
    }
    if book.terminated {
        return Err(format!("{process:?} comes back, and somebody had taken it down"));
    }
    match (end.how, book.restart) {
        (How::Exited(reason), Restart::Transient) if is_clean(reason) && !end.told => {
            Err(format!("{process:?} is transient and comes back after {reason:?}"))
        }
        (How::StartIgnored, _) => {
            Err(format!("{process:?} comes back after a start that was ignored"))
        }
        _ => Ok(()),
    }
}

/// After the time to heal, no supervisor has outlived a child whose end is its own.
fn significant_ends(books: &Books) -> Verdict {
    for boss in books.supervisor.iter().filter(|boss| boss.id.is_some()) {
        let Some(who) = boss.ended_by else { continue };
        // It hears of the end when its phase is over (V13), and a start waits for its host as long
        // as that is not there (H2).
        if boss.is_busy() && lacks_a_host(books, books.of(who).node) {
            continue;
        }
        return Err(format!("{who:?} is significant and has ended, and its supervisor has not"));
    }
    Ok(())
}

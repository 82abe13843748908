//! L1, L2, L3, L6: after healing and a bounded time everything that must be up is up and stays up,
//! and the last stop ends.
//!
//! Source: simulation.md section 3. What must be up: every child of a node that runs, but for those
//! that ended well, found nothing to start, were taken down by somebody, or hang below a
//! supervisor that did. (L4, that every question ends, is judged with S11.)

use std::time::Duration;

use super::books::{Books, How, Life, SupervisorBook};
use super::{Verdict, is_clean};
use crate::plan::duration_text;
use crate::record::{NodeIx, Record, What, Who};
use crate::trace::reason_word;

pub(super) fn all_up(books: &Books, record: &Record) -> Verdict {
    if record.what != What::Calm {
        return Ok(());
    }
    for number in 0..books.child.len() {
        let who = Who(u16::try_from(number).unwrap_or(u16::MAX));
        let book = books.of(who);
        // A root is no process.
        if book.parent.is_none() || !must_be_up(books, who) || book.life == Life::Up {
            continue;
        }
        if waits_for_a_host(books, who) {
            continue;
        }
        let last = match book.end {
            None => "it has never ended".to_owned(),
            Some(end) => {
                let at = duration_text(Duration::from_nanos(end.at.as_nanos()));
                let how = match end.how {
                    How::StartFailed => "its start failed",
                    How::StartIgnored => "it found nothing to start",
                    How::Exited(reason) => reason_word(reason),
                };
                format!("its last end was at {at}: {how}")
            }
        };
        return Err(format!("{who:?} is not up after the time to heal; {last}"));
    }
    Ok(())
}

/// Whether a name waits for a host that nobody has mended: its own, or that of a sibling, or of one
/// above it, behind whose start it has its turn.
fn waits_for_a_host(books: &Books, who: Who) -> bool {
    let is_behind = || {
        let above = std::iter::successors(books.of(who).parent, |at| books.of(*at).parent);
        above.map(|boss| &books.supervisor[usize::from(boss.0)]).any(SupervisorBook::is_busy)
    };
    lacks_a_host(books, books.of(who).node) && is_behind()
}

/// Whether a host of something of this node is away, and nobody has mended it.
pub(super) fn lacks_a_host(books: &Books, node: NodeIx) -> bool {
    let is_away = |host: NodeIx| {
        let host = usize::from(host.0);
        !books.on[host] || books.stopped[host]
    };
    books.child.iter().any(|child| child.node == node && child.host.is_some_and(is_away))
}

fn must_be_up(books: &Books, who: Who) -> bool {
    let mut at = Some(who);
    while let Some(who) = at {
        let book = books.of(who);
        let node = usize::from(book.node.0);
        if book.rests || !books.on[node] || books.stopped[node] {
            return false;
        }
        let boss = &books.supervisor[usize::from(who.0)];
        let closed = boss.id.is_none() && boss.exit.is_some_and(is_clean);
        if book.parent.is_none() && closed {
            return false;
        }
        at = book.parent;
    }
    true
}

/// Nobody fails any more when everything has long healed.
pub(super) fn no_livelock(books: &Books, record: &Record) -> Verdict {
    let What::Exited(process, reason) = record.what else { return Ok(()) };
    let Some(healed) = books.healed.filter(|_| !books.calm) else { return Ok(()) };
    let since = record.at.saturating_since(healed);
    if books.of(process.who).told.is_none() && !is_clean(reason) && since > SETTLED {
        return Err(format!("{process:?} fails {since:?} after all faults were over"));
    }
    Ok(())
}

/// Longer than any wait of the topologies that campaigns run: what fails later than that fails for
/// a reason of its own.
const SETTLED: Duration = Duration::from_secs(30);

/// L3: after healing, all nodes see every agent that is up where it is, and nobody where it is not.
pub(super) fn registries_agree(books: &Books, record: &Record) -> Verdict {
    let What::Sees(who, sees) = record.what else { return Ok(()) };
    let book = books.of(who);
    let here = book.home();
    match sees {
        Some(at) if at != here || !books.on[usize::from(at.0)] => {
            let (node, at) = (record.node.0, at.0);
            Err(format!("node {node} sees {who:?} at node {at}, and it is not there"))
        }
        None if book.life == Life::Up && books.on[usize::from(here.0)] => {
            let (node, here) = (record.node.0, here.0);
            Err(format!("node {node} does not see {who:?}, which is up at node {here}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The last stop has ended everywhere.
pub(super) fn stop_ends(books: &Books, record: &Record) -> Verdict {
    if record.what != What::Over {
        return Ok(());
    }
    let left = (0..books.child.len())
        .find(|at| books.child[*at].parent.is_none() && books.supervisor[*at].id.is_some());
    left.map_or(Ok(()), |at| Err(format!("the tree of root {at} has not ended")))
}

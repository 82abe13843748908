//! S4: what a supervisor says of its children when it is asked is so: one that is up is up, one
//! that is being started or stopped is, and one that is to be restarted waits for that, or for its
//! turn after a start that failed, unless its supervisor has begun to stop: then nothing is coming
//! any more.
//!
//! Source: OTP `which_children`; kernel rules V17, V28.

use super::Verdict;
use super::books::{Books, How, Life, SupervisorBook};
use crate::record::{Record, Shown, What, Who};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let What::Shows(who, shown) = record.what else { return Ok(()) };
    let book = books.of(who);
    let node = usize::from(book.node.0);
    let stops = book.parent.is_some_and(|parent| {
        let parent = books.of(parent);
        parent.told.is_some() || (parent.parent.is_none() && books.stopped[node])
    }) || books.boss(who).is_some_and(|boss| boss.exhausted && boss.id.is_some());
    // Then it waits for its turn behind a sibling, of which nobody hears.
    let failed = book.end.is_some_and(|end| end.how == How::StartFailed);
    // One that has ended may wait for its end to be handled: behind a start or a stop.
    let is_stopping = |who: &Who| {
        let other = books.of(*who);
        other.life != Life::None && (other.told.is_some() || !other.agent)
    };
    let walks = |boss: &SupervisorBook| boss.is_busy() || boss.children.iter().any(is_stopping);
    let is_held = book.end.is_some_and(|end| end.at == record.at)
        || (book.end.is_some() && books.boss(who).is_some_and(walks));
    // Nobody but the kernel hears that a supervisor is told to stop: any that is there may be.
    let is_so = match shown {
        Shown::Down => book.life == Life::None,
        Shown::Starting => book.life == Life::Starting,
        Shown::Up => book.life == Life::Up || (book.life == Life::None && is_held),
        Shown::Stopping => is_stopping(&who),
        Shown::Restarting => book.life == Life::None && (book.waits.is_some() || failed) && !stops,
    };
    if is_so {
        return Ok(());
    }
    let (life, told, waits) = (book.life, book.told, book.waits.is_some());
    let stops = if stops { ", and its supervisor stops" } else { "" };
    Err(format!(
        "{who:?} is shown as {shown:?}, and is {life:?}, told {told:?}, waiting: {waits}{stops}"
    ))
}

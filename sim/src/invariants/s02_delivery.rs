//! S2: nothing is delivered to an incarnation that is not up, that was told to stop, or for which
//! it was not queued.
//!
//! Source: design.md section 4 (mailbox and control lane); OTP, where a process that is gone gets
//! nothing. A process that was told to stop finishes what it has in hand and takes nothing more.

use super::Verdict;
use super::books::{Books, Life};
use crate::record::{Record, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let What::Delivered(message, process) = record.what else { return Ok(()) };
    let book = books.of(process.who);
    if book.newest != Some(process) || book.life != Life::Up {
        return Err(format!("{message:?} is delivered to {process:?}, which is not up"));
    }
    if book.told.is_some() && book.told_at < record.at {
        return Err(format!("{message:?} is delivered to {process:?}, which was told to stop"));
    }
    Ok(())
}

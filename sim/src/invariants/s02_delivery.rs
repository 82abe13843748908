//! S2: nothing is delivered to an incarnation that is not up, that was told to stop, that is
//! suspended, or for which it was not queued; and nothing is queued for a name that is down for
//! good.
//!
//! Source: design.md section 4 (mailbox and control lane); OTP, where a process that is gone gets
//! nothing. A process that was told to stop finishes what it has in hand and takes nothing more.

use lictor_kernel::Status;

use super::Verdict;
use super::books::{Books, Life};
use crate::record::{Record, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let (message, process) = match record.what {
        What::Delivered(message, process) => (message, process),
        What::Queued(message, who) if books.of(who).status == Some(Status::Down) => {
            return Err(format!("{message:?} is queued for {who:?}, which is down for good"));
        }
        What::Queued(message, who)
            if books.of(who).pool
                && books.of(who).status.is_none()
                && books.of(who).life == Life::None =>
        {
            return Err(format!("{message:?} is queued for {who:?}, which is not there"));
        }
        _ => return Ok(()),
    };
    let book = books.of(process.who);
    if book.suspended {
        return Err(format!("{message:?} is delivered to {process:?}, which is suspended"));
    }
    if book.newest != Some(process) || book.life != Life::Up {
        return Err(format!("{message:?} is delivered to {process:?}, which is not up"));
    }
    if book.told.is_some() && book.told_at < record.at {
        return Err(format!("{message:?} is delivered to {process:?}, which was told to stop"));
    }
    Ok(())
}

//! S8: no deadline of an incarnation that is gone has an effect: nobody is told to stop who is not
//! alive, and nobody is told the same twice.
//!
//! Source: design.md (deadlines are polled, and belong to a process); kernel rules V25, V27.

use lictor_kernel::Signal;

use super::Verdict;
use super::books::Books;
use crate::record::{Record, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let What::Signal(process, signal) = record.what else { return Ok(()) };
    let book = books.of(process.who);
    if !books.lived(record.at, process) {
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

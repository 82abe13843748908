//! S1: of each child at most one incarnation is alive, and incarnations only grow.
//!
//! Source: design.md (stale facts; at most one live incarnation); kernel rule V26. A process lives
//! from the kernel's wish to start it until the kernel is told of its end.

use super::Verdict;
use super::books::{Books, Life};
use crate::record::{Record, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let process = match record.what {
        What::Start(process) => process,
        What::Supervisor {
            process: Some(process),
            stage: crate::record::Stage::Initializing,
            ..
        } => process,
        _ => return Ok(()),
    };
    let book = books.of(process.who);
    match book.newest {
        Some(newest) if book.life != Life::None => {
            Err(format!("{process:?} is started while {newest:?} is alive"))
        }
        Some(newest) if process <= newest => {
            Err(format!("{process:?} is started after {newest:?}, and is not newer"))
        }
        Some(_) | None => Ok(()),
    }
}

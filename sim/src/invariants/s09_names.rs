//! S9: what a node says of a name is true: up only with a process that is up, down only without
//! one; and a name is given up before its next owner is seen.
//!
//! Source: OTP `register/2`; kernel rules K1, R1 to R3.

use lictor_kernel::Status;

use super::Verdict;
use super::books::{Books, Life};
use crate::record::{Record, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    let What::Status(who, status) = record.what else { return Ok(()) };
    let book = books.of(who);
    if book.node != record.node {
        // Its host's word: judged with what runs there.
        return Ok(());
    }
    let wrong = match status {
        Status::Up | Status::Suspended => book.life != Life::Up,
        Status::Starting | Status::Restarting => book.life == Life::Up,
        Status::Down => book.life != Life::None,
    };
    if wrong {
        return Err(format!(
            "{who:?} is said to be {status:?}, and its process is {:?}",
            book.life
        ));
    }
    Ok(())
}

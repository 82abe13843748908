//! S7: nothing outlives its supervisor, and nothing is left after the last stop. A supervisor that
//! is killed kills what is below it.
//!
//! Source: OTP; kernel rules E3, E6, V27.

use lictor_kernel::Signal;

use super::Verdict;
use super::books::{Books, Life, SupervisorBook};
use crate::record::{Record, Stage, What};

pub(super) fn see(books: &Books, record: &Record) -> Verdict {
    match record.what {
        What::Supervisor { who, id, stage: Stage::Exited(_), .. } => {
            let book = &books.supervisor[usize::from(who.0)];
            let orphan = book.children.iter().find(|child| {
                let child = books.of(**child);
                let is_its_own = child.newest.is_some_and(|newest| newest.supervisor == id);
                child.life != Life::None && is_its_own
            });
            orphan.map_or(Ok(()), |orphan| Err(format!("{who:?} is gone, and {orphan:?} is alive")))
        }
        What::Start(process) => {
            let boss = books.boss(process.who);
            let runs = boss.is_some_and(|boss| boss.id == Some(process.supervisor));
            if runs { Ok(()) } else { Err(format!("{process:?} is started by nobody")) }
        }
        What::Signal(process, Signal::Shutdown) => {
            let killed = |boss: &&SupervisorBook| {
                boss.is_killed && boss.id == Some(process.supervisor) && boss.ready
            };
            let boss = books.boss(process.who).filter(killed);
            if boss.is_none_or(|boss| boss.exhausted) || books.is_commanded(record.at, process.who)
            {
                return Ok(());
            }
            Err(format!("{process:?} is told to stop, and its supervisor can only be killed"))
        }
        What::Over => {
            let left = books.child.iter().find(|child| child.life != Life::None);
            left.map_or(Ok(()), |left| {
                Err(format!("{:?} is alive after the last stop", left.newest))
            })
        }
        _ => Ok(()),
    }
}

//! What is told of a run: its numbers, its tasks, and why it cannot go on.

use std::fmt::{self, Display};
use std::sync::Arc;

use lictor_kernel::Instant;

use super::faults::TaskId;

/// A run in numbers, since the executor was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Counters {
    /// Polls of tasks and of the futures that were blocked on.
    pub polls: u64,
    /// Wakes, those of tasks that were ready already included.
    pub wakes: u64,
    /// Wakes of tasks that were gone.
    pub stale_wakes: u64,
    /// Wakes that the configuration or a fault has made up.
    pub spurious_wakes: u64,
    /// Tasks spawned.
    pub spawned: u64,
    /// Tasks that came to their end.
    pub completed: u64,
    /// Tasks that ended by a panic.
    pub panicked: u64,
    /// Tasks that a fault has dropped.
    pub dropped: u64,
    /// Sleeps that ended.
    pub timers_fired: u64,
    /// Sleeps that the configuration has made longer.
    pub late_timers: u64,
}

/// A task, as it is now.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TaskInfo {
    /// Its number: tasks are numbered as they are spawned, from 0.
    pub id: TaskId,
    /// Its name; empty if it has none.
    pub name: Arc<str>,
    /// How often it was polled.
    pub polls: u64,
    /// When it was last woken.
    pub last_wake: Option<Instant>,
    /// In whose poll that was; `None` for a timer, and from outside.
    pub woken_by: Option<TaskId>,
    /// Whether it is ready to run.
    pub ready: bool,
    /// Whether it is held ([`VirtualExecutor::hold`](super::VirtualExecutor::hold)).
    pub held: bool,
}

impl Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(no name)" } else { &*self.name };
        write!(f, "task {} {name}: {} polls", self.id.0, self.polls)?;
        if self.held {
            f.write_str(", held")?;
        }
        match (self.last_wake, self.woken_by) {
            (None, _) => f.write_str(", never woken"),
            (Some(at), None) => write!(f, ", last woken at {} from outside", seconds(at)),
            (Some(at), Some(by)) => {
                write!(f, ", last woken at {} by task {}", seconds(at), by.0)
            }
        }
    }
}

/// An instant for people: seconds with as many digits as it has.
pub(crate) fn seconds(at: Instant) -> String {
    let (whole, rest) = (at.as_nanos() / 1_000_000_000, at.as_nanos() % 1_000_000_000);
    if rest.is_multiple_of(1_000_000) {
        format!("{whole}.{:03}s", rest / 1_000_000)
    } else {
        format!("{whole}.{rest:09}s")
    }
}

/// Where a run came to its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Report {
    /// The virtual time.
    pub at: Instant,
    /// All polls so far.
    pub polls: u64,
    /// The tasks that it is about: those that wait, those that run, or the one whose wake was
    /// missed.
    pub tasks: Vec<TaskInfo>,
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} after {} polls", seconds(self.at), self.polls)?;
        for task in self.tasks.iter().take(SHOWN) {
            write!(f, "\n  {task}")?;
        }
        if self.tasks.len() > SHOWN {
            write!(f, "\n  and {} more", self.tasks.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// How many tasks a report shows as text.
const SHOWN: usize = 40;

/// A run cannot go on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Stuck {
    /// The future that is blocked on waits, nothing is ready, and no sleep will end. The report has
    /// every task that waits.
    Deadlock(Report),
    /// A limit of polls was reached. The report has the tasks that are ready.
    Livelock(Report),
    /// A task that nobody had woken was polled, and got somewhere: its wake was lost. Found only
    /// with [`Config::check_wakes`](super::Config::check_wakes).
    MissedWake(Report),
    /// The executor was shut down.
    ShutDown,
}

impl Stuck {
    /// Where; `None` after a shut-down.
    #[must_use]
    pub const fn report(&self) -> Option<&Report> {
        match self {
            Self::Deadlock(report) | Self::Livelock(report) | Self::MissedWake(report) => {
                Some(report)
            }
            Self::ShutDown => None,
        }
    }
}

impl Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(report) => write!(f, "deadlock: everybody waits, {report}"),
            Self::Livelock(report) => write!(f, "livelock: too many polls, {report}"),
            Self::MissedWake(report) => {
                write!(f, "missed wake: it could go on and nobody had woken it, {report}")
            }
            Self::ShutDown => f.write_str("the executor was shut down"),
        }
    }
}

impl std::error::Error for Stuck {}

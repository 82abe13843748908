//! What went wrong, when, what came before, and the line that makes it go wrong again.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use lictor_kernel::Instant;
use lictor_runtime::StartError;

use super::history::History;
use super::{SimEvent, explore};
use crate::executor::{Stuck, TaskInfo, VirtualExecutor, seconds};

/// What went wrong.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// An invariant was broken after some step.
    Always {
        /// Its name.
        name: Arc<str>,
        /// What is wrong; may be empty.
        detail: String,
    },
    /// What was to come did not come in time.
    Eventually {
        /// Its name.
        name: Arc<str>,
    },
    /// The run cannot go on: a deadlock, a livelock, a missed wake.
    Stuck(Stuck),
    /// Tasks are left after everything has stopped.
    Orphans(Vec<TaskInfo>),
    /// The tree did not start.
    Start(StartError),
}

impl Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always { name, detail } if detail.is_empty() => {
                write!(f, "invariant broken: {name}")
            }
            Self::Always { name, detail } => write!(f, "invariant broken: {name}: {detail}"),
            Self::Eventually { name } => write!(f, "did not come in time: {name}"),
            Self::Stuck(stuck) => Display::fmt(stuck, f),
            Self::Orphans(tasks) => {
                f.write_str("S7 tasks are left after the stop:")?;
                tasks.iter().try_for_each(|task| write!(f, "\n  {task}"))
            }
            Self::Start(error) => write!(f, "the tree did not start: {error}"),
        }
    }
}

/// A simulation has failed. Shown, as text or by `{:?}`, it says everything that is needed to see
/// it again; the last line is a command.
#[derive(Clone)]
pub struct Failure(Box<Inner>);

#[derive(Clone)]
struct Inner {
    seed: u64,
    at: Instant,
    polls: u64,
    digest: u64,
    kind: FailureKind,
    events: Vec<SimEvent>,
}

/// How many events are kept.
const EVENTS: usize = 30;

impl Failure {
    pub(super) fn new(
        seed: u64,
        executor: &VirtualExecutor,
        history: &History,
        kind: FailureKind,
    ) -> Self {
        let all = history.all();
        let events = all[all.len().saturating_sub(EVENTS)..].to_vec();
        let (at, polls, digest) = (executor.now(), executor.counters().polls, executor.digest());
        Self(Box::new(Inner { seed, at, polls, digest, kind, events }))
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The virtual time.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.0.at
    }

    /// How many polls had been made.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.0.polls
    }

    /// The digest of the run up to here: a replay that is one has the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.digest
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &FailureKind {
        &self.0.kind
    }

    /// The name of the invariant.
    #[must_use]
    pub fn invariant(&self) -> &str {
        match &self.0.kind {
            FailureKind::Always { name, .. } | FailureKind::Eventually { name } => name,
            FailureKind::Stuck(Stuck::Deadlock(_)) => "deadlock",
            FailureKind::Stuck(Stuck::Livelock(_)) => "livelock",
            FailureKind::Stuck(Stuck::MissedWake(_)) => "missed wake",
            FailureKind::Stuck(_) => "shut down",
            FailureKind::Orphans(_) => "S7 no orphan task",
            FailureKind::Start(_) => "start",
        }
    }

    /// The last events before it, oldest first.
    #[must_use]
    pub fn events(&self) -> &[SimEvent] {
        &self.0.events
    }

    /// The command that replays it.
    #[must_use]
    pub fn replay(&self) -> String {
        explore::replay_line(self.0.seed)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { seed, at, polls, digest, kind, events } = &*self.0;
        writeln!(f, "{kind}")?;
        writeln!(f, "seed {seed}, at {}, after {polls} polls, digest {digest:016x}", seconds(*at))?;
        for event in events {
            writeln!(f, "{event}")?;
        }
        write!(f, "replay: {}", self.replay())
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

//! A static supervisor: an ordered list of children, one restart budget, one strategy.
//!
//! The intuition: a supervisor is a shepherd with a list. It starts the children in order, waits
//! for each, and when one ends it looks at the list and decides who else must go and who comes
//! back. Erlang's supervisor does this by *blocking*: while it waits for a child to stop it serves
//! nothing else. Here each such wait is a [`Phase`], and what arrives meanwhile is kept in order of
//! arrival; the observable order is therefore Erlang's, but the machine itself never waits.
//!
//! The hard case is a death that arrives while the machine is stopping the very child that died: it
//! belongs to that stop and must not be counted as a crash. Deaths are therefore queued, and a stop
//! takes its child's death out of the queue.
//!
//! Rejected: starting siblings in parallel (a child may rely on the ones before it), and stopping
//! siblings before the backoff has passed (they would be down for the whole wait; rule V11).
//!
//! Files: this one holds the interface, `deaths` decides about exits, `sweep` walks the list to
//! stop and start, `commands` serves requests from outside, `child` is what is known of one child.

mod child;
mod commands;
mod config;
mod deaths;
mod sweep;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::child::ChildState;
use self::child::{Child, Process};
pub use self::commands::{
    DeleteChildError, RestartChildError, StartChildError, TerminateChildError, Terminated,
};
pub use self::config::{AutoShutdown, Config, ConfigError, Strategy};
pub(crate) use self::config::{allows, check_policy};
pub(crate) use self::sweep::is_expected;
use crate::{
    ChildId, ChildKind, ChildSpec, Deadlines, ExitReason, Instant, Pid, Prng, Restart,
    RestartWindow, Signal, Table,
};

/// What happened outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The process that an [`Action::Start`] asked for is up.
    Started {
        /// Which.
        pid: Pid,
    },
    /// The start had nothing to start and is content (OTP `ignore`).
    StartIgnored {
        /// Which.
        pid: Pid,
    },
    /// The process could not be started.
    StartFailed {
        /// Which.
        pid: Pid,
    },
    /// A process ended.
    Exited {
        /// Which.
        pid: Pid,
        /// Why.
        reason: ExitReason,
    },
}

/// What the driver must do, in the order in which it is pushed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Start this process; answer with one of the three start events.
    Start {
        /// Which.
        pid: Pid,
    },
    /// Tell this process to end; answer with [`Event::Exited`] when it has.
    Signal {
        /// Which.
        pid: Pid,
        /// How.
        signal: Signal,
    },
    /// The first start is complete: every child is up, or content not to be.
    Ready,
    /// The specification is forgotten; its id is free.
    Removed {
        /// Which.
        child: ChildId,
    },
    /// Something an operator wants to read.
    Report(Report),
    /// The supervisor has ended, and no child of it is left. The last action of its life. Without a
    /// [`Action::Ready`] before, its first start failed.
    Exit {
        /// Why.
        reason: ExitReason,
    },
}

/// What OTP's supervisor logs. Reports change nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Report {
    /// A child ended by itself in a way that is not quiet (OTP `child_terminated`).
    ChildTerminated {
        /// Which.
        pid: Pid,
        /// Why.
        reason: ExitReason,
    },
    /// A child could not be started, and nobody asked for it (OTP `start_error`). A start that a
    /// command asked for and that fails is the caller's to know.
    StartFailed {
        /// Which.
        pid: Pid,
        /// Why: `Crashed`, the reason it exited with, or `StartTimeout`.
        reason: ExitReason,
    },
    /// A child that was told to stop ended otherwise (OTP `shutdown_error`).
    ShutdownError {
        /// Which.
        pid: Pid,
        /// How it ended.
        reason: ExitReason,
    },
    /// A restart will be made at this instant.
    RestartScheduled {
        /// Which.
        child: ChildId,
        /// When.
        at: Instant,
    },
    /// The restart budget is used up (OTP `reached_max_restart_intensity`).
    RestartsExhausted {
        /// The child whose crash went over.
        child: ChildId,
    },
    /// An event about a process that is already gone. Normal; counted by the driver.
    StaleEvent {
        /// Which.
        pid: Pid,
    },
}

/// Numbers of children, as OTP's `count_children` gives them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Counts {
    /// Specifications.
    pub specs: u32,
    /// Processes that are alive.
    pub active: u32,
    /// Specifications of supervisors, alive or not.
    pub supervisors: u32,
    /// Specifications of workers, alive or not.
    pub workers: u32,
}

/// What the machine is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Not started yet.
    New,
    /// Making its first start, child by child.
    Starting,
    /// Nothing under way: commands are served, deaths are handled at once.
    Running,
    /// Carrying out a restart: stopping down to a child, then starting from it.
    Restarting,
    /// Carrying out a command on this child.
    Command {
        /// Which.
        child: ChildId,
    },
    /// Stopping all children.
    Stopping {
        /// The reason that the supervisor will exit with.
        reason: ExitReason,
    },
    /// Ended.
    Stopped {
        /// Why.
        reason: ExitReason,
    },
}

/// A death that waits until the phase in progress is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Death {
    pid: Pid,
    reason: ExitReason,
    at: Instant,
}

/// A static supervisor. See the [module](self) for how it thinks and `SEMANTICS.md` for the rules.
///
/// ```
/// use lictor_kernel::supervisor::{Action, Config, Event, Report};
/// use lictor_kernel::{Backoff, ChildId, ChildSpec, ExitReason, Instant, Supervisor};
///
/// let config = Config { backoff: Backoff::NONE, ..Config::default() };
/// let mut supervisor = Supervisor::new(config, &[(ChildId(0), ChildSpec::worker())])?;
/// let mut actions = Vec::new();
/// supervisor.start(Instant::ZERO, &mut actions);
/// let [Action::Start { pid }] = actions[..] else { panic!("one child to start") };
///
/// actions.clear();
/// supervisor.handle(Instant::ZERO, Event::Started { pid }, &mut actions);
/// assert_eq!(actions, [Action::Ready]);
///
/// actions.clear();
/// let reason = ExitReason::Crashed;
/// supervisor.handle(Instant::from_secs(1), Event::Exited { pid, reason }, &mut actions);
/// let [Action::Report(report), Action::Start { pid: next }] = actions[..] else { panic!() };
/// assert_eq!(report, Report::ChildTerminated { pid, reason });
/// assert!(next.incarnation > pid.incarnation);
/// # Ok::<(), lictor_kernel::supervisor::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Supervisor {
    config: Config,
    children: Table<ChildId, Child>,
    /// Start order: place -> child. Places only grow, so a late child is always last.
    order: Table<u64, ChildId>,
    next_place: u64,
    next_incarnation: u64,
    window: RestartWindow,
    prng: Prng,
    phase: Phase,
    sweep: sweep::Sweep,
    /// Deaths not handled yet, in order of arrival; at most one for each child.
    deaths: VecDeque<Death>,
    /// Pending restarts; those of one instant in the order in which they came to be.
    retries: Deadlines<(u64, ChildId)>,
}

impl Supervisor {
    /// A supervisor that has not started anything yet.
    ///
    /// # Errors
    /// Any [`ConfigError`]; all specifications are checked before anything can be started.
    pub fn new(config: Config, specs: &[(ChildId, ChildSpec)]) -> Result<Self, ConfigError> {
        Self::check(&config, specs.iter().copied())?;
        let placed = || (0_u64..).zip(specs);
        let mut last: Option<Arc<ChildSpec>> = None;
        let mut shared = |spec: &ChildSpec| match &last {
            Some(last) if **last == *spec => Arc::clone(last),
            _ => Arc::clone(last.insert(Arc::new(*spec))),
        };
        Ok(Self {
            children: placed()
                .map(|(at, (id, spec))| (*id, Child::new(shared(spec), at)))
                .collect(),
            order: placed().map(|(at, (id, _))| (at, *id)).collect(),
            next_place: u64::try_from(specs.len()).unwrap_or(u64::MAX),
            next_incarnation: config.first_incarnation,
            window: RestartWindow::new(config.intensity),
            prng: Prng::new(config.seed),
            phase: Phase::New,
            sweep: sweep::Sweep::default(),
            deaths: VecDeque::new(),
            retries: Deadlines::default(),
            config,
        })
    }

    /// Whether [`Supervisor::new`] would take these, without making anything. `O(n)` where the ids
    /// ascend, else `O(n log n)`.
    pub(crate) fn check(
        config: &Config,
        specs: impl ExactSizeIterator<Item = (ChildId, ChildSpec)> + Clone,
    ) -> Result<(), ConfigError> {
        check_policy(config.intensity, &config.backoff)?;
        if specs.len() > usize::try_from(config.max_children).unwrap_or(usize::MAX) {
            return Err(ConfigError::TooManyChildren);
        }
        // Names are numbered as they come, so the ids ascend and none can be there twice.
        let ascends = specs.clone().is_sorted_by(|(a, _), (b, _)| a < b);
        let mut seen = BTreeSet::new();
        for (id, spec) in specs {
            if !ascends && !seen.insert(id) {
                return Err(ConfigError::DuplicateChild(id));
            }
            if !allows(config.auto_shutdown, &spec) {
                return Err(ConfigError::BadCombination(id));
            }
        }
        Ok(())
    }

    /// Begins the first start. Pushes the first [`Action::Start`], or [`Action::Ready`] if there is
    /// nothing to start. Does nothing unless the machine is new.
    pub fn start(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.phase == Phase::New {
            self.phase = Phase::Starting;
            self.sweep.start_from(0);
            self.walk(now, actions);
            self.settle(now, actions);
        }
    }

    /// Takes in a fact. Deadlines earlier than `now` fire first, one equal to `now` does not fire
    /// here. Facts about processes that are gone are reported as stale and change nothing.
    ///
    /// `O(log children)` plus the children that it stops or starts.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        match event {
            Event::Started { pid } => self.started(now, pid, actions),
            Event::StartIgnored { pid } => self.start_ignored(now, pid, actions),
            Event::StartFailed { pid } => self.start_failed(now, pid, actions),
            Event::Exited { pid, reason } => self.exited(now, pid, reason, actions),
        }
        self.settle(now, actions);
    }

    /// When [`Supervisor::handle_timeout`] must be called, if ever. Any other call may change it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => self.retries.next(),
            Phase::New | Phase::Stopped { .. } => None,
            Phase::Starting
            | Phase::Restarting
            | Phase::Command { .. }
            | Phase::Stopping { .. } => self.sweep.deadline(),
        }
    }

    /// Fires every deadline up to and including `now`. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        self.fire(now, now, actions);
    }

    /// Tells the supervisor to stop: it stops its children in reverse start order, each with its
    /// own
    /// timeout, then exits with `Shutdown`. Pending restarts are cancelled at once.
    ///
    /// `deadline` bounds the whole stop: what is left then is killed all at once. A second call can
    /// only make the deadline earlier.
    pub fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        match self.phase {
            Phase::New => self.exit(ExitReason::Shutdown, actions),
            Phase::Stopped { .. } => {}
            Phase::Stopping { .. } => self.sweep.bound(deadline),
            Phase::Starting | Phase::Running | Phase::Restarting | Phase::Command { .. } => {
                self.sweep.bound(deadline);
                self.stop_all(now, ExitReason::Shutdown, actions);
            }
        }
    }

    /// Tells the supervisor to end at once: every child is killed, in reverse start order but
    /// without waiting in between; it exits with `Killed` when the last is gone.
    pub fn kill(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        match self.phase {
            Phase::New => self.exit(ExitReason::Killed, actions),
            Phase::Stopped { .. } => {}
            Phase::Starting
            | Phase::Running
            | Phase::Restarting
            | Phase::Command { .. }
            | Phase::Stopping { .. } => {
                self.phase = Phase::Stopping { reason: ExitReason::Killed };
                self.kill_all(actions);
                self.walk(now, actions);
            }
        }
    }

    /// What the machine is in the middle of.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a phase is under way, so that commands answer `Busy`.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting | Phase::Restarting | Phase::Command { .. } | Phase::Stopping { .. }
        )
    }

    /// Whether the supervisor has ended.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped { .. })
    }

    /// The incarnation that the next start will have.
    #[must_use]
    pub const fn next_incarnation(&self) -> u64 {
        self.next_incarnation
    }

    /// All children in start order. (OTP's `which_children` is this in reverse.)
    pub fn which_children(&self) -> impl DoubleEndedIterator<Item = (ChildId, ChildState)> {
        self.order
            .values()
            .filter_map(|id| self.children.get(*id).map(|child| (*id, child.process.state())))
    }

    /// The state of one child, `None` if it is unknown.
    #[must_use]
    pub fn child(&self, id: ChildId) -> Option<ChildState> {
        self.children.get(id).map(|child| child.process.state())
    }

    /// The specification of one child, `None` if it is unknown.
    #[must_use]
    pub fn child_spec(&self, id: ChildId) -> Option<&ChildSpec> {
        self.children.get(id).map(|child| &*child.spec)
    }

    /// Numbers of children. `O(children)`.
    #[must_use]
    pub fn count_children(&self) -> Counts {
        let mut counts = Counts::default();
        for child in self.children.values() {
            counts.specs = counts.specs.saturating_add(1);
            counts.active = counts.active.saturating_add(u32::from(child.process.is_alive()));
            match child.spec.kind {
                ChildKind::Supervisor => counts.supervisors = counts.supervisors.saturating_add(1),
                ChildKind::Worker => counts.workers = counts.workers.saturating_add(1),
            }
        }
        counts
    }

    /// Crashes that count at `now`.
    #[must_use]
    pub fn occupancy(&self, now: Instant) -> u32 {
        self.window.occupancy(now)
    }

    /// How it works.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Fires what fell due strictly before `now`: facts of an instant come before its deadlines.
    fn catch_up(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if now > Instant::ZERO {
            self.fire(now, now.saturating_sub(Duration::from_nanos(1)), actions);
        }
        self.settle(now, actions);
    }

    /// Fires everything that is due by `limit`, what the firing itself makes due included.
    fn fire(&mut self, now: Instant, limit: Instant, actions: &mut Vec<Action>) {
        loop {
            self.settle(now, actions);
            if self.waited(now, limit, actions) {
                continue;
            }
            if self.phase != Phase::Running {
                return;
            }
            let Some((at, (_, child))) = self.retries.pop_due(limit) else { return };
            self.retry(now, at, child, actions);
        }
    }

    /// Handles deaths and overdue retries, oldest first, until a phase begins or nothing is left.
    fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.phase == Phase::Running {
            let before = self.deaths.front().map_or(now, |death| death.at);
            if let Some((at, (_, child))) = self.retries.pop_before(before) {
                self.retry(now, at, child, actions);
            } else if let Some(death) = self.deaths.pop_front() {
                self.died(now, death, actions);
            } else {
                break;
            }
        }
    }

    fn add(&mut self, id: ChildId, spec: ChildSpec) {
        let place = self.next_place;
        self.next_place = self.next_place.saturating_add(1);
        self.order.insert(place, id);
        self.children.insert(id, Child::new(Arc::new(spec), place));
    }

    fn remove(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        if let Some(child) = self.children.remove(id) {
            self.order.remove(child.place);
            actions.push(Action::Removed { child: id });
        }
    }

    /// A child that has no process any more: temporary ones are forgotten, others stay as down.
    fn put_down(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        let Some(child) = self.children.get_mut(id) else { return };
        child.process = Process::Down;
        if child.spec.restart == Restart::Temporary {
            self.remove(id, actions);
        }
    }

    /// The end of the supervisor's life.
    fn exit(&mut self, reason: ExitReason, actions: &mut Vec<Action>) {
        self.phase = Phase::Stopped { reason };
        self.sweep = sweep::Sweep::default();
        self.retries = Deadlines::default();
        assert!(self.deaths.is_empty(), "every death was consumed by a stop");
        actions.push(Action::Exit { reason });
    }
}

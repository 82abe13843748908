//! A dynamic supervisor: starts empty, children come and go on request, each by itself.
//!
//! One-for-one only, and no order: children start, crash, wait and stop independently, and the
//! supervisor's stop tells all of them at once. Nothing here blocks: while one child takes its time
//! to stop, others are started and restarted. (Erlang's simple_one_for_one and Elixir's
//! DynamicSupervisor serve one request at a time. A driver that wants their order holds back its
//! next message while [`DynamicSupervisor::is_terminating`].)
//!
//! Every way in which a child can end for good goes through one place that gives back its slot, its
//! budget and its id, and tells the spawner why ([`Action::Removed`]).
//!
//! Files: this one holds the interface, `decide` holds what events lead to.

mod decide;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::backoff::BackoffState;
use crate::supervisor::{ChildState, ConfigError, Counts, Event, Report, allows, check_policy};
use crate::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, Deadlines, ExitReason, Instant,
    Intensity, Pid, Prng, RestartWindow, Shutdown, Signal,
};

/// Who asked for a child. The caller's own numbering.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpawnerId(pub u64);

/// Whose restarts one budget covers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Budget {
    /// Each child has its own; a child that uses it up is removed, the others go on (civitas).
    #[default]
    Child,
    /// One for all; using it up ends the supervisor (OTP).
    Shared,
}

/// How a dynamic supervisor works. Limits are `None` for unlimited.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// The restart budget.
    pub intensity: Intensity,
    /// Whose it is.
    pub budget: Budget,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// Whether significant children end the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// The reason that the supervisor exits with when a shared budget is used up. The default,
    /// `RestartsExhausted`, is not clean, so a transient subtree comes back; OTP's is `Shutdown`.
    pub exhausted: ExitReason,
    /// Children at one time; one that waits for its restart still holds its place.
    pub max_children: Option<u32>,
    /// Spawns over the supervisor's life; counted when admitted, never given back.
    pub max_total_spawns: Option<u64>,
    /// Children of one spawner at one time.
    pub max_children_per_spawner: Option<u32>,
    /// Spawns of one spawner over the supervisor's life.
    pub max_total_spawns_per_spawner: Option<u64>,
    /// Seed of the jitter.
    pub seed: u64,
    /// The first start has this incarnation; each later one a greater.
    pub first_incarnation: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            intensity: Intensity::default(),
            budget: Budget::Child,
            backoff: Backoff::default(),
            auto_shutdown: AutoShutdown::Never,
            exhausted: ExitReason::RestartsExhausted,
            max_children: None,
            max_total_spawns: None,
            max_children_per_spawner: None,
            max_total_spawns_per_spawner: None,
            seed: 0,
            first_incarnation: 1,
        }
    }
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
    /// The supervisor is up. Pushed by [`DynamicSupervisor::start`].
    Ready,
    /// The child is gone for good; its id is free.
    Removed {
        /// Which.
        child: ChildId,
        /// Who had asked for it.
        spawner: Option<SpawnerId>,
        /// Why.
        why: Removal,
    },
    /// Something an operator wants to read.
    Report(Report),
    /// The supervisor has ended, and no child of it is left.
    Exit {
        /// Why.
        reason: ExitReason,
    },
}

/// Why a child is gone for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Removal {
    /// It ended and its restart type lets it rest.
    Exited(ExitReason),
    /// It crashed more often than its budget allows.
    RestartsExhausted,
    /// Its first start failed.
    StartFailed,
    /// Its start was ignored.
    StartIgnored,
    /// [`DynamicSupervisor::terminate_child`].
    Terminated,
    /// The supervisor stopped.
    SupervisorStopped,
}

/// Why a child was not spawned. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The id is in use.
    AlreadyStarted(Pid),
    /// The id is in use by a child that waits for its restart.
    AlreadyPresent,
    /// [`Config::max_children`].
    MaxChildren,
    /// [`Config::max_total_spawns`].
    MaxTotalSpawns,
    /// [`Config::max_children_per_spawner`].
    MaxChildrenPerSpawner,
    /// [`Config::max_total_spawns_per_spawner`].
    MaxTotalSpawnsPerSpawner,
    /// The supervisor has not started, is stopping, or has ended.
    NotRunning,
    /// The child is significant, but permanent or under `auto_shutdown` never.
    BadCombination,
}

impl core::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::AlreadyStarted(_) => "the child is already started",
            Self::AlreadyPresent => "the child is waiting for its restart",
            Self::MaxChildren => "max_children is reached",
            Self::MaxTotalSpawns => "max_total_spawns is reached",
            Self::MaxChildrenPerSpawner => "max_children_per_spawner is reached",
            Self::MaxTotalSpawnsPerSpawner => "max_total_spawns_per_spawner is reached",
            Self::NotRunning => "the supervisor is not running",
            Self::BadCombination => "a significant child must not be permanent or under never",
        })
    }
}

impl core::error::Error for SpawnError {}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Child {
    spec: ChildSpec,
    spawner: Option<SpawnerId>,
    process: Process,
    /// When the present process must have got on, and its place among the deadlines of that
    /// instant; also in `deadlines`.
    deadline: Option<(Instant, u64)>,
    window: RestartWindow,
    backoff: BackoffState,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Process {
    /// `first`: its spawn, not a restart. `late`: it missed its start deadline and was killed.
    /// `was_up`: it came up all the same, and can no longer fail to start.
    Starting {
        pid: Pid,
        first: bool,
        late: bool,
        was_up: bool,
    },
    Up {
        pid: Pid,
        since: Instant,
    },
    /// `killed`: it has been told for the last time. `was_up`: it can no longer fail to start.
    Stopping {
        pid: Pid,
        killed: bool,
        was_up: bool,
    },
    /// `counted`: the crash that it waits for is in the window already.
    Restarting {
        counted: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    New,
    Running,
    Stopping { reason: ExitReason, bound: Option<Instant> },
    Stopped,
}

/// What is remembered of a spawner. Kept while it has children, or while its total is limited.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Spawns {
    live: u32,
    total: u64,
}

/// A dynamic supervisor. See the [module](self) for how it thinks and `SEMANTICS.md` for the rules.
///
/// ```
/// use lictor_kernel::dynamic_supervisor::{Action, Config, SpawnError};
/// use lictor_kernel::{ChildId, ChildSpec, DynamicSupervisor, Instant};
///
/// let config = Config { max_children: Some(1), ..Config::default() };
/// let mut pool = DynamicSupervisor::new(config)?;
/// let mut actions = Vec::new();
/// pool.start(&mut actions);
/// assert_eq!(actions, [Action::Ready]);
/// let spec = ChildSpec::worker();
/// let pid = pool.spawn(Instant::ZERO, ChildId(1), spec, None, &mut actions)?;
/// assert_eq!(actions.last(), Some(&Action::Start { pid }));
/// let second = pool.spawn(Instant::ZERO, ChildId(2), spec, None, &mut actions);
/// assert_eq!(second, Err(SpawnError::MaxChildren));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DynamicSupervisor {
    config: Config,
    children: BTreeMap<ChildId, Child>,
    /// Those of one instant in the order in which they were set.
    deadlines: Deadlines<(u64, ChildId)>,
    spawners: BTreeMap<SpawnerId, Spawns>,
    total_spawns: u64,
    next_incarnation: u64,
    /// The shared budget.
    window: RestartWindow,
    prng: Prng,
    phase: Phase,
}

impl DynamicSupervisor {
    /// A supervisor without children.
    ///
    /// # Errors
    /// [`ConfigError::ZeroPeriod`] and [`ConfigError::BackoffBaseAboveMax`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        check_policy(config.intensity, &config.backoff)?;
        Ok(Self {
            children: BTreeMap::new(),
            deadlines: Deadlines::default(),
            spawners: BTreeMap::new(),
            total_spawns: 0,
            next_incarnation: config.first_incarnation,
            window: RestartWindow::new(config.intensity),
            prng: Prng::new(config.seed),
            phase: Phase::New,
            config,
        })
    }

    /// Opens for spawns; pushes [`Action::Ready`]. Does nothing unless the machine is new.
    pub fn start(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            actions.push(Action::Ready);
        }
    }

    /// Admits a child and begins its start. The spawn is over when the child is no longer
    /// [`ChildState::Starting`]; a first start that fails or is ignored removes it.
    ///
    /// # Errors
    /// See [`SpawnError`]. Limits are checked in the order children, total, children of the
    /// spawner, total of the spawner.
    pub fn spawn(
        &mut self,
        now: Instant,
        id: ChildId,
        spec: ChildSpec,
        spawner: Option<SpawnerId>,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, SpawnError> {
        self.catch_up(now, actions);
        self.admit(id, &spec, spawner)?;
        self.total_spawns = self.total_spawns.saturating_add(1);
        if let Some(spawner) = spawner {
            let spawns = self.spawners.entry(spawner).or_default();
            spawns.live = spawns.live.saturating_add(1);
            spawns.total = spawns.total.saturating_add(1);
        }
        let child = Child {
            spec,
            spawner,
            process: Process::Restarting { counted: true },
            deadline: None,
            window: RestartWindow::new(self.config.intensity),
            backoff: BackoffState::default(),
        };
        self.children.insert(id, child);
        let pid = Pid { child: id, incarnation: self.next_incarnation };
        self.start_process(now, id, true, actions);
        Ok(pid)
    }

    /// Stops a child for good. Answers whether the id was known; a child that waits for its
    /// restart,
    /// or is being stopped already, is fine. It is gone when [`Action::Removed`] says so.
    /// `how` replaces the child's own shutdown, unless it is being stopped already.
    pub fn terminate_child(
        &mut self,
        now: Instant,
        id: ChildId,
        how: Option<Shutdown>,
        actions: &mut Vec<Action>,
    ) -> bool {
        self.catch_up(now, actions);
        let Some(child) = self.children.get_mut(&id) else { return false };
        match child.process {
            Process::Starting { .. } | Process::Up { .. } => {
                child.spec.shutdown = how.unwrap_or(child.spec.shutdown);
                self.tell(now, id, None, actions);
            }
            Process::Stopping { .. } => {}
            Process::Restarting { .. } => self.remove(id, Removal::Terminated, actions),
        }
        true
    }

    /// Takes in a fact. Deadlines earlier than `now` fire first. Facts about processes that are
    /// gone are reported as stale and change nothing. `O(log children)`.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        match event {
            Event::Started { pid } => self.started(now, pid, actions),
            Event::StartIgnored { pid } => self.start_ignored(pid, actions),
            Event::StartFailed { pid } => self.start_failed(now, pid, actions),
            Event::Exited { pid, reason } => self.exited(now, pid, reason, actions),
        }
    }

    /// When [`DynamicSupervisor::handle_timeout`] must be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let bound = match self.phase {
            Phase::Stopping { bound, .. } => bound,
            Phase::New | Phase::Running | Phase::Stopped => None,
        };
        match (self.deadlines.next(), bound) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Fires every deadline up to and including `now`. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        while let Some((at, (_, id))) = self.deadlines.pop_due(now) {
            self.due(now, at, id, actions);
        }
        self.check_bound(|bound| bound <= now, actions);
    }

    /// Tells the supervisor to stop: all children are told at once, each has its own timeout; it
    /// exits with `Shutdown` when the last is gone. `deadline` bounds the whole stop. A second call
    /// can only make the deadline earlier.
    pub fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        match &mut self.phase {
            Phase::New | Phase::Running => {
                self.stop_all(now, ExitReason::Shutdown, deadline, actions);
            }
            Phase::Stopping { bound, .. } => {
                *bound = match (*bound, deadline) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            Phase::Stopped => {}
        }
    }

    /// Tells the supervisor to end at once: every child is killed; it exits with `Killed` when the
    /// last is gone.
    pub fn kill(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.catch_up(now, actions);
        if self.phase != Phase::Stopped {
            self.phase = Phase::Stopping { reason: ExitReason::Killed, bound: None };
            self.kill_all(actions);
        }
    }

    /// Forgets the totals of a spawner that is gone for good.
    pub fn forget_spawner(&mut self, spawner: SpawnerId) {
        if self.spawners.get(&spawner).is_some_and(|spawns| spawns.live == 0) {
            self.spawners.remove(&spawner);
        }
    }

    /// Whether some child was told to stop and is not gone yet.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.children.values().any(|child| matches!(child.process, Process::Stopping { .. }))
    }

    /// Whether it takes spawns.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the supervisor has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// The incarnation that the next start will have.
    #[must_use]
    pub const fn next_incarnation(&self) -> u64 {
        self.next_incarnation
    }

    /// All children by id.
    pub fn which_children(&self) -> impl DoubleEndedIterator<Item = (ChildId, ChildState)> {
        self.children.iter().map(|(id, child)| (*id, child.state()))
    }

    /// The state of one child, `None` if it is unknown.
    #[must_use]
    pub fn child(&self, id: ChildId) -> Option<ChildState> {
        self.children.get(&id).map(Child::state)
    }

    /// Numbers of children: `specs` is how many there are. `O(children)`.
    #[must_use]
    pub fn count_children(&self) -> Counts {
        let mut counts = Counts::default();
        for child in self.children.values() {
            let alive = !matches!(child.process, Process::Restarting { .. });
            counts.specs = counts.specs.saturating_add(1);
            counts.active = counts.active.saturating_add(u32::from(alive));
            match child.spec.kind {
                ChildKind::Supervisor => counts.supervisors = counts.supervisors.saturating_add(1),
                ChildKind::Worker => counts.workers = counts.workers.saturating_add(1),
            }
        }
        counts
    }

    /// Spawners that something is remembered of. Bounded by the children, unless totals of spawners
    /// are limited: then by [`DynamicSupervisor::forget_spawner`].
    #[must_use]
    pub fn spawners(&self) -> usize {
        self.spawners.len()
    }

    /// How it works.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    fn admit(
        &self,
        id: ChildId,
        spec: &ChildSpec,
        spawner: Option<SpawnerId>,
    ) -> Result<(), SpawnError> {
        let config = &self.config;
        if self.phase != Phase::Running {
            return Err(SpawnError::NotRunning);
        }
        if !allows(config.auto_shutdown, spec) {
            return Err(SpawnError::BadCombination);
        }
        if let Some(child) = self.children.get(&id) {
            return Err(child.pid().map_or(SpawnError::AlreadyPresent, SpawnError::AlreadyStarted));
        }
        let children = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        if config.max_children.is_some_and(|max| children >= max) {
            return Err(SpawnError::MaxChildren);
        }
        if config.max_total_spawns.is_some_and(|max| self.total_spawns >= max) {
            return Err(SpawnError::MaxTotalSpawns);
        }
        let Some(spawner) = spawner else { return Ok(()) };
        let spawns = self.spawners.get(&spawner).copied().unwrap_or_default();
        if config.max_children_per_spawner.is_some_and(|max| spawns.live >= max) {
            return Err(SpawnError::MaxChildrenPerSpawner);
        }
        if config.max_total_spawns_per_spawner.is_some_and(|max| spawns.total >= max) {
            return Err(SpawnError::MaxTotalSpawnsPerSpawner);
        }
        Ok(())
    }
}

impl Child {
    fn pid(&self) -> Option<Pid> {
        match self.process {
            Process::Starting { pid, .. }
            | Process::Up { pid, .. }
            | Process::Stopping { pid, .. } => Some(pid),
            Process::Restarting { .. } => None,
        }
    }

    fn state(&self) -> ChildState {
        match self.process {
            Process::Starting { pid, .. } => ChildState::Starting(pid),
            Process::Up { pid, .. } => ChildState::Up(pid),
            Process::Stopping { pid, .. } => ChildState::Stopping(pid),
            Process::Restarting { .. } => {
                ChildState::Restarting { at: self.deadline.map_or(Instant::ZERO, |(at, _)| at) }
            }
        }
    }
}

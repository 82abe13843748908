//! A dynamic supervisor as a plain list: every question is answered by looking through all of it.

use core::time::Duration;
use std::collections::BTreeMap;

use lictor_kernel::dynamic_supervisor::{Action, Budget, Config, Removal, SpawnError, SpawnerId};
use lictor_kernel::supervisor::{ChildState, Event, Report};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildSpec, Curve, ExitReason, Instant, Pid, Restart, Shutdown,
    Signal,
};

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Starting { first: bool },
    Up { since: Instant },
    Stopping,
    Waiting { counted: bool },
}

#[derive(Clone, Debug)]
struct Row {
    id: ChildId,
    spec: ChildSpec,
    spawner: Option<SpawnerId>,
    pid: Pid,
    state: State,
    killed: bool,
    /// It has said that it is up, be it too late: from then on only an exit ends it.
    came_up: bool,
    /// When something must happen, and how many starts had been made when that was set.
    due: Option<(Instant, u64)>,
    crashes: Vec<Instant>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    New,
    Running,
    Stopping(ExitReason, Option<Instant>),
    Stopped,
}

/// The rules, read aloud.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    phase: Phase,
    /// By id.
    rows: Vec<Row>,
    next_incarnation: u64,
    spawns: u64,
    /// Spawns of each spawner that is remembered.
    spawners: BTreeMap<SpawnerId, u64>,
    /// The shared budget.
    crashes: Vec<Instant>,
    /// What was pushed since somebody last took it, in order.
    pub actions: Vec<Action>,
}

impl Model {
    /// A model that has been told nothing. The configuration must be one that the kernel accepts.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            phase: Phase::New,
            rows: Vec::new(),
            next_incarnation: config.first_incarnation,
            spawns: 0,
            spawners: BTreeMap::new(),
            crashes: Vec::new(),
            actions: Vec::new(),
            config,
        }
    }

    /// As `DynamicSupervisor::start`.
    pub fn start(&mut self) {
        if self.phase == Phase::New {
            self.phase = Phase::Running;
            self.actions.push(Action::Ready);
        }
    }

    /// As `DynamicSupervisor::spawn`.
    ///
    /// # Errors
    /// [`SpawnError`], as the rules of admission say.
    pub fn spawn(
        &mut self,
        now: Instant,
        id: ChildId,
        spec: ChildSpec,
        spawner: Option<SpawnerId>,
    ) -> Result<Pid, SpawnError> {
        self.fire_before(now);
        if self.phase != Phase::Running {
            return Err(SpawnError::NotRunning);
        }
        if spec.significant
            && (spec.restart == Restart::Permanent
                || self.config.auto_shutdown == AutoShutdown::Never)
        {
            return Err(SpawnError::BadCombination);
        }
        if let Some(row) = self.rows.iter().find(|row| row.id == id) {
            return Err(match row.state {
                State::Waiting { .. } => SpawnError::AlreadyPresent,
                State::Starting { .. } | State::Up { .. } | State::Stopping => {
                    SpawnError::AlreadyStarted(row.pid)
                }
            });
        }
        let full = |limit: Option<u32>, now: usize| limit.is_some_and(|max| now >= max as usize);
        let used_up = |limit: Option<u64>, now: u64| limit.is_some_and(|max| now >= max);
        if full(self.config.max_children, self.rows.len()) {
            return Err(SpawnError::MaxChildren);
        }
        if used_up(self.config.max_total_spawns, self.spawns) {
            return Err(SpawnError::MaxTotalSpawns);
        }
        if let Some(spawner) = spawner {
            let live = self.rows.iter().filter(|row| row.spawner == Some(spawner)).count();
            let total = self.spawners.get(&spawner).copied().unwrap_or(0);
            if full(self.config.max_children_per_spawner, live) {
                return Err(SpawnError::MaxChildrenPerSpawner);
            }
            if used_up(self.config.max_total_spawns_per_spawner, total) {
                return Err(SpawnError::MaxTotalSpawnsPerSpawner);
            }
            self.spawners.insert(spawner, total + 1);
        }
        self.spawns += 1;
        let row = Row {
            id,
            spec,
            spawner,
            pid: Pid { child: id, incarnation: 0 },
            state: State::Waiting { counted: true },
            killed: false,
            came_up: false,
            due: None,
            crashes: Vec::new(),
        };
        let at = self.rows.iter().position(|row| row.id > id).unwrap_or(self.rows.len());
        self.rows.insert(at, row);
        self.start_row(now, at, true);
        Ok(self.rows[at].pid)
    }

    /// As `DynamicSupervisor::terminate_child`.
    pub fn terminate(&mut self, now: Instant, id: ChildId, how: Option<Shutdown>) -> bool {
        self.fire_before(now);
        let Some(at) = self.rows.iter().position(|row| row.id == id) else { return false };
        match self.rows[at].state {
            State::Waiting { .. } => self.remove(at, Removal::Terminated),
            State::Stopping => {}
            State::Starting { .. } | State::Up { .. } => {
                let row = &mut self.rows[at];
                row.spec.shutdown = how.unwrap_or(row.spec.shutdown);
                self.tell(now, at, None);
            }
        }
        true
    }

    /// As `DynamicSupervisor::handle`.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.fire_before(now);
        let (Event::Started { pid }
        | Event::StartIgnored { pid }
        | Event::StartFailed { pid }
        | Event::Exited { pid, .. }) = event;
        let alive = |row: &Row| row.pid == pid && !matches!(row.state, State::Waiting { .. });
        let Some(at) = self.rows.iter().position(alive) else {
            self.report(Report::StaleEvent { pid });
            return;
        };
        let row = &mut self.rows[at];
        let came_up = row.came_up;
        row.came_up |= matches!(event, Event::Started { .. });
        match (event, row.state) {
            (Event::StartIgnored { .. } | Event::StartFailed { .. }, _) if came_up => {}
            (Event::Started { .. }, State::Starting { .. }) if !row.killed => {
                row.state = State::Up { since: now };
                row.due = None;
            }
            (Event::StartIgnored { .. }, State::Starting { .. }) => {
                self.remove(at, Removal::StartIgnored);
            }
            (Event::StartFailed { .. }, State::Starting { first }) => {
                self.start_failed(now, at, first, ExitReason::Crashed);
            }
            (Event::Exited { reason, .. }, State::Starting { first }) => {
                self.start_failed(now, at, first, reason);
            }
            (Event::StartIgnored { .. } | Event::StartFailed { .. }, State::Stopping) => {
                self.gone(at);
            }
            (Event::Exited { reason, .. }, State::Stopping) => {
                if !expected(row.spec, reason) {
                    self.report(Report::ShutdownError { pid, reason });
                }
                self.gone(at);
            }
            (Event::Exited { reason, .. }, State::Up { since }) => {
                self.ended(now, at, since, reason);
            }
            (Event::Started { .. } | Event::StartIgnored { .. } | Event::StartFailed { .. }, _)
            | (Event::Exited { .. }, State::Waiting { .. }) => {}
        }
    }

    /// As `DynamicSupervisor::handle_timeout`.
    pub fn timeout(&mut self, now: Instant) {
        self.fire_before(now);
        self.fire(now, |at| at <= now);
    }

    /// As `DynamicSupervisor::shutdown`.
    pub fn shutdown(&mut self, now: Instant, by: Option<Instant>) {
        self.fire_before(now);
        match self.phase {
            Phase::New | Phase::Running => self.stop(now, ExitReason::Shutdown, by),
            Phase::Stopping(reason, old) => {
                let earlier = [old, by].into_iter().flatten().min();
                self.phase = Phase::Stopping(reason, earlier);
            }
            Phase::Stopped => {}
        }
    }

    /// As `DynamicSupervisor::kill`.
    pub fn kill(&mut self, now: Instant) {
        self.fire_before(now);
        if self.phase != Phase::Stopped {
            self.phase = Phase::Stopping(ExitReason::Killed, None);
            self.kill_all();
        }
    }

    /// As `DynamicSupervisor::forget_spawner`.
    pub fn forget(&mut self, spawner: SpawnerId) {
        if self.rows.iter().all(|row| row.spawner != Some(spawner)) {
            self.spawners.remove(&spawner);
        }
    }

    /// As `DynamicSupervisor::poll_timeout`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let bound = match self.phase {
            Phase::Stopping(_, bound) => bound,
            Phase::New | Phase::Running | Phase::Stopped => None,
        };
        self.rows.iter().filter_map(|row| row.due).map(|(at, _)| at).chain(bound).min()
    }

    /// As `DynamicSupervisor::which_children`.
    #[must_use]
    pub fn children(&self) -> Vec<(ChildId, ChildState)> {
        let state = |row: &Row| match row.state {
            State::Starting { .. } => ChildState::Starting(row.pid),
            State::Up { .. } => ChildState::Up(row.pid),
            State::Stopping => ChildState::Stopping(row.pid),
            State::Waiting { .. } => {
                ChildState::Restarting { at: row.due.map_or(Instant::ZERO, |(at, _)| at) }
            }
        };
        self.rows.iter().map(|row| (row.id, state(row))).collect()
    }

    /// Whether it takes spawns, and whether it has ended.
    #[must_use]
    pub fn phase(&self) -> (bool, bool) {
        (self.phase == Phase::Running, self.phase == Phase::Stopped)
    }

    /// As `DynamicSupervisor::spawners`.
    #[must_use]
    pub fn spawners(&self) -> usize {
        self.spawners.len()
    }

    fn report(&mut self, report: Report) {
        self.actions.push(Action::Report(report));
    }

    fn fire_before(&mut self, now: Instant) {
        self.fire(now, |at| at < now);
    }

    fn fire(&mut self, now: Instant, due: impl Fn(Instant) -> bool) {
        loop {
            let next = self.rows.iter().enumerate().filter_map(|(at, row)| Some((row.due?, at)));
            let Some(((instant, _), at)) = next.filter(|((instant, _), _)| due(*instant)).min()
            else {
                break;
            };
            self.rows[at].due = None;
            match self.rows[at].state {
                State::Waiting { counted: true } => self.start_row(now, at, false),
                State::Waiting { counted: false } => self.crashed(now, at, instant, None),
                State::Starting { .. } | State::Stopping => self.kill_row(at),
                State::Up { .. } => unreachable!("a child that is up waits for nothing"),
            }
        }
        if let Phase::Stopping(reason, Some(bound)) = self.phase
            && due(bound)
        {
            self.phase = Phase::Stopping(reason, None);
            self.kill_all();
        }
    }

    fn start_row(&mut self, now: Instant, at: usize, first: bool) {
        let incarnation = self.next_incarnation;
        self.next_incarnation += 1;
        let row = &mut self.rows[at];
        row.pid.incarnation = incarnation;
        row.state = State::Starting { first };
        row.killed = false;
        row.came_up = false;
        row.due = row.spec.start_timeout.map(|t| (now.saturating_add(t), self.next_incarnation));
        let pid = row.pid;
        self.actions.push(Action::Start { pid });
    }

    fn start_failed(&mut self, now: Instant, at: usize, first: bool, reason: ExitReason) {
        if first {
            self.remove(at, Removal::StartFailed);
            return;
        }
        let row = &mut self.rows[at];
        let reason = if row.killed { ExitReason::StartTimeout } else { reason };
        row.state = State::Waiting { counted: false };
        row.due = Some((now, self.next_incarnation));
        let pid = row.pid;
        self.report(Report::StartFailed { pid, reason });
    }

    fn ended(&mut self, now: Instant, at: usize, since: Instant, reason: ExitReason) {
        let Row { spec, pid, .. } = self.rows[at];
        let comes_back = match spec.restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_clean(),
            Restart::Temporary => false,
        };
        if comes_back || !reason.is_clean() {
            self.report(Report::ChildTerminated { pid, reason });
        }
        if comes_back {
            self.crashed(now, at, now, Some(since));
            return;
        }
        self.remove(at, Removal::Exited(reason));
        let ends = match self.config.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => spec.significant,
            AutoShutdown::AllSignificant => {
                spec.significant && self.rows.iter().all(|row| !row.spec.significant)
            }
        };
        if ends {
            self.stop(now, ExitReason::Shutdown, None);
        }
    }

    fn crashed(&mut self, now: Instant, at: usize, when: Instant, since: Option<Instant>) {
        let intensity = self.config.intensity;
        let shared = self.config.budget == Budget::Shared;
        let crashes = if shared { &mut self.crashes } else { &mut self.rows[at].crashes };
        crashes.push(when);
        let newest = crashes.iter().copied().max().unwrap_or(when);
        let within =
            crashes.iter().filter(|crash| newest.saturating_since(**crash) < intensity.period);
        let n = u32::try_from(within.count()).unwrap_or(u32::MAX);
        let id = self.rows[at].id;
        if n > intensity.max_restarts {
            self.report(Report::RestartsExhausted { child: id });
            self.remove(at, Removal::RestartsExhausted);
            if shared {
                self.stop(now, self.config.exhausted, None);
            }
            return;
        }
        let wait = wait(&self.config.backoff, n, since.map(|since| when.saturating_since(since)));
        if wait.is_zero() {
            self.start_row(now, at, false);
            return;
        }
        let until = when.saturating_add(wait);
        self.rows[at].state = State::Waiting { counted: true };
        self.rows[at].due = Some((until, self.next_incarnation));
        self.report(Report::RestartScheduled { child: id, at: until });
    }

    fn kill_row(&mut self, at: usize) {
        let row = &mut self.rows[at];
        if !row.killed {
            row.killed = true;
            let pid = row.pid;
            self.actions.push(Action::Signal { pid, signal: Signal::Kill });
        }
    }

    fn tell(&mut self, now: Instant, at: usize, bound: Option<Instant>) {
        let row = &mut self.rows[at];
        row.state = State::Stopping;
        row.due = None;
        if row.killed {
            return;
        }
        let pid = row.pid;
        let set = self.next_incarnation;
        match row.spec.shutdown {
            Shutdown::BrutalKill => return self.kill_row(at),
            Shutdown::Timeout(timeout) => {
                // What the bound will end has no deadline of its own.
                let until = now.saturating_add(timeout);
                row.due = bound.is_none_or(|bound| until < bound).then_some((until, set));
            }
            Shutdown::Infinity => {}
        }
        self.actions.push(Action::Signal { pid, signal: Signal::Shutdown });
    }

    fn stop(&mut self, now: Instant, reason: ExitReason, bound: Option<Instant>) {
        self.phase = Phase::Stopping(reason, bound);
        self.each(|model, at| match model.rows[at].state {
            State::Starting { .. } | State::Up { .. } => model.tell(now, at, bound),
            State::Stopping => {}
            State::Waiting { .. } => model.remove(at, Removal::SupervisorStopped),
        });
    }

    fn kill_all(&mut self) {
        self.each(|model, at| {
            let row = &mut model.rows[at];
            row.due = None;
            match row.state {
                State::Waiting { .. } => return model.remove(at, Removal::SupervisorStopped),
                State::Starting { .. } | State::Up { .. } => row.state = State::Stopping,
                State::Stopping => {}
            }
            model.kill_row(at);
        });
    }

    fn each(&mut self, act: impl Fn(&mut Self, usize)) {
        let ids: Vec<ChildId> = self.rows.iter().map(|row| row.id).collect();
        for id in ids {
            if let Some(at) = self.rows.iter().position(|row| row.id == id) {
                act(self, at);
            }
        }
        self.exit_if_empty();
    }

    fn gone(&mut self, at: usize) {
        let stopping = matches!(self.phase, Phase::Stopping(..));
        self.remove(at, if stopping { Removal::SupervisorStopped } else { Removal::Terminated });
        self.exit_if_empty();
    }

    fn remove(&mut self, at: usize, why: Removal) {
        let row = self.rows.remove(at);
        if let Some(spawner) = row.spawner
            && self.config.max_total_spawns_per_spawner.is_none()
        {
            self.forget(spawner);
        }
        self.actions.push(Action::Removed { child: row.id, spawner: row.spawner, why });
    }

    fn exit_if_empty(&mut self) {
        if let Phase::Stopping(reason, _) = self.phase
            && self.rows.is_empty()
        {
            self.phase = Phase::Stopped;
            self.actions.push(Action::Exit { reason });
        }
    }
}

fn expected(spec: ChildSpec, reason: ExitReason) -> bool {
    let quiet = reason.is_clean() && spec.restart != Restart::Permanent;
    match spec.shutdown {
        Shutdown::BrutalKill => reason == ExitReason::Killed || quiet,
        Shutdown::Timeout(_) | Shutdown::Infinity => reason == ExitReason::Shutdown || quiet,
    }
}

/// The wait before a restart, without jitter.
fn wait(backoff: &Backoff, n: u32, was_up: Option<Duration>) -> Duration {
    let stable = backoff.stable_after.is_some_and(|after| was_up.is_some_and(|up| up >= after));
    let n = if stable { 1 } else { n };
    let wait = match backoff.curve {
        Curve::None => Duration::ZERO,
        Curve::Constant => backoff.base,
        Curve::Linear => backoff.base.saturating_mul(n),
        Curve::Exponential => (1..n).fold(backoff.base, |wait, _| wait.saturating_mul(2)),
    };
    wait.min(backoff.max)
}

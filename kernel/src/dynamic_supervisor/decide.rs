//! What events and deadlines lead to.

use alloc::vec::Vec;

use super::{Action, Budget, Child, DynamicSupervisor, Phase, Process, Removal};
use crate::restart_window::Verdict;
use crate::supervisor::{Report, is_expected};
use crate::{
    AutoShutdown, ChildId, Deadlines, ExitReason, Instant, Pid, Restart, Shutdown, Signal,
};

impl DynamicSupervisor {
    /// Fires what fell due strictly before `now`: facts of an instant come before its deadlines.
    pub(super) fn catch_up(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((at, (_, id))) = self.deadlines.pop_before(now) {
            self.due(now, at, id, actions);
        }
        self.check_bound(|bound| bound < now, actions);
    }

    /// A child's deadline `at` is reached: start it, count its failed start, or kill it.
    pub(super) fn due(
        &mut self,
        now: Instant,
        at: Instant,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.children.get_mut(&id) else { return };
        child.deadline = None;
        match &mut child.process {
            Process::Restarting { counted: true } => self.start_process(now, id, false, actions),
            Process::Restarting { counted: false } => self.crashed(now, id, at, None, actions),
            Process::Starting { pid, late, .. } => {
                *late = true;
                actions.push(Action::Signal { pid: *pid, signal: Signal::Kill });
            }
            Process::Stopping { pid, killed, .. } => {
                *killed = true;
                actions.push(Action::Signal { pid: *pid, signal: Signal::Kill });
            }
            Process::Up { .. } => {}
        }
    }

    pub(super) fn start_process(
        &mut self,
        now: Instant,
        id: ChildId,
        first: bool,
        actions: &mut Vec<Action>,
    ) {
        let pid = Pid { child: id, incarnation: self.next_incarnation };
        let Some(child) = self.children.get_mut(&id) else { return };
        self.next_incarnation = self.next_incarnation.saturating_add(1);
        child.process = Process::Starting { pid, first, late: false, was_up: false };
        let deadline = child.spec.start_timeout.map(|timeout| now.saturating_add(timeout));
        self.set_deadline(id, deadline);
        actions.push(Action::Start { pid });
    }

    pub(super) fn started(&mut self, now: Instant, pid: Pid, actions: &mut Vec<Action>) {
        let Some(child) = self.known(pid, actions) else { return };
        match &mut child.process {
            starting @ Process::Starting { late: false, .. } => {
                *starting = Process::Up { pid, since: now };
                self.set_deadline(pid.child, None);
            }
            // One that was told to stop, or was too late, is still waited for: it will exit, and
            // nothing else ends it any more.
            Process::Starting { was_up, .. } | Process::Stopping { was_up, .. } => *was_up = true,
            Process::Up { .. } | Process::Restarting { .. } => {}
        }
    }

    pub(super) fn start_ignored(&mut self, pid: Pid, actions: &mut Vec<Action>) {
        let Some(child) = self.known(pid, actions) else { return };
        match child.process {
            Process::Starting { was_up: false, .. } => {
                self.remove(pid.child, Removal::StartIgnored, actions);
            }
            Process::Stopping { was_up: false, .. } => self.gone(pid.child, actions),
            Process::Starting { .. }
            | Process::Stopping { .. }
            | Process::Up { .. }
            | Process::Restarting { .. } => {}
        }
    }

    pub(super) fn start_failed(&mut self, now: Instant, pid: Pid, actions: &mut Vec<Action>) {
        let Some(child) = self.known(pid, actions) else { return };
        match child.process {
            Process::Starting { was_up: false, .. } => {
                self.not_started(now, pid, ExitReason::Crashed, actions);
            }
            Process::Stopping { was_up: false, .. } => self.gone(pid.child, actions),
            Process::Starting { .. }
            | Process::Stopping { .. }
            | Process::Up { .. }
            | Process::Restarting { .. } => {}
        }
    }

    /// A first start, or a restart, has failed.
    fn not_started(
        &mut self,
        now: Instant,
        pid: Pid,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.children.get_mut(&pid.child) else { return };
        let Process::Starting { first, late, .. } = child.process else { return };
        let reason = if late { ExitReason::StartTimeout } else { reason };
        if first {
            // No report: it is the answer to who asked for the child.
            self.remove(pid.child, Removal::StartFailed, actions);
        } else {
            actions.push(Action::Report(Report::StartFailed { pid, reason }));
            // Behind what is already in at this instant, and only then counted.
            child.process = Process::Restarting { counted: false };
            self.set_deadline(pid.child, Some(now));
        }
    }

    pub(super) fn exited(
        &mut self,
        now: Instant,
        pid: Pid,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.known(pid, actions) else { return };
        match child.process {
            Process::Starting { .. } => self.not_started(now, pid, reason, actions),
            Process::Up { since, .. } => self.died(now, pid, since, reason, actions),
            Process::Stopping { .. } => {
                if !is_expected(&child.spec, reason) {
                    actions.push(Action::Report(Report::ShutdownError { pid, reason }));
                }
                self.gone(pid.child, actions);
            }
            Process::Restarting { .. } => {}
        }
    }

    /// A child ended by itself.
    fn died(
        &mut self,
        now: Instant,
        pid: Pid,
        since: Instant,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let id = pid.child;
        let Some(child) = self.children.get(&id) else { return };
        let comes_back = match child.spec.restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_clean(),
            Restart::Temporary => false,
        };
        if comes_back || !reason.is_clean() {
            actions.push(Action::Report(Report::ChildTerminated { pid, reason }));
        }
        if comes_back {
            self.crashed(now, id, now, Some(since), actions);
        } else {
            let significant = child.spec.significant;
            self.remove(id, Removal::Exited(reason), actions);
            self.maybe_auto_shutdown(now, significant, actions);
        }
    }

    /// Counts a crash that happened at `at`, and restarts the child now, later, or gives up.
    fn crashed(
        &mut self,
        now: Instant,
        id: ChildId,
        at: Instant,
        up_since: Option<Instant>,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let window = match self.config.budget {
            Budget::Child => &mut child.window,
            Budget::Shared => &mut self.window,
        };
        let Verdict::Restart { occupancy } = window.record(at) else {
            actions.push(Action::Report(Report::RestartsExhausted { child: id }));
            self.remove(id, Removal::RestartsExhausted, actions);
            if self.config.budget == Budget::Shared {
                self.stop_all(now, self.config.exhausted, None, actions);
            }
            return;
        };
        let backoff = &self.config.backoff;
        let delay = child.backoff.next_delay(backoff, occupancy, up_since, at, &mut self.prng);
        if delay.is_zero() {
            self.start_process(now, id, false, actions);
            return;
        }
        let at = at.saturating_add(delay);
        child.process = Process::Restarting { counted: true };
        self.set_deadline(id, Some(at));
        actions.push(Action::Report(Report::RestartScheduled { child: id, at }));
    }

    fn maybe_auto_shutdown(&mut self, now: Instant, significant: bool, actions: &mut Vec<Action>) {
        let due = significant
            && match self.config.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => {
                    !self.children.values().any(|other| other.spec.significant)
                }
            };
        if due {
            self.stop_all(now, ExitReason::Shutdown, None, actions);
        }
    }

    /// Tells one child to stop, and sets when it will be killed.
    pub(super) fn tell(
        &mut self,
        now: Instant,
        id: ChildId,
        bound: Option<Instant>,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let Some(pid) = child.pid() else { return };
        if let Process::Starting { late: true, was_up, .. } = child.process {
            // It was killed when it missed its start deadline: nothing is left but to wait.
            child.process = Process::Stopping { pid, killed: true, was_up };
            return;
        }
        let (signal, until) = match child.spec.shutdown {
            Shutdown::BrutalKill => (Signal::Kill, None),
            Shutdown::Timeout(timeout) => (Signal::Shutdown, Some(now.saturating_add(timeout))),
            Shutdown::Infinity => (Signal::Shutdown, None),
        };
        let was_up = matches!(child.process, Process::Up { .. });
        let killed = signal == Signal::Kill;
        child.process = Process::Stopping { pid, killed, was_up };
        self.set_deadline(id, until.filter(|until| bound.is_none_or(|bound| *until < bound)));
        actions.push(Action::Signal { pid, signal });
    }

    /// Tells every child to stop, all at once.
    pub(super) fn stop_all(
        &mut self,
        now: Instant,
        reason: ExitReason,
        bound: Option<Instant>,
        actions: &mut Vec<Action>,
    ) {
        self.phase = Phase::Stopping { reason, bound };
        let ids: Vec<ChildId> = self.children.keys().copied().collect();
        for id in ids {
            match self.children.get(&id).map(|child| child.process) {
                Some(Process::Starting { .. } | Process::Up { .. }) => {
                    self.tell(now, id, bound, actions);
                }
                Some(Process::Restarting { .. }) => {
                    self.remove(id, Removal::SupervisorStopped, actions);
                }
                Some(Process::Stopping { .. }) | None => {}
            }
        }
        self.maybe_exit(actions);
    }

    /// Kills every child that is alive and forgets every one that waits.
    pub(super) fn kill_all(&mut self, actions: &mut Vec<Action>) {
        self.deadlines = Deadlines::default();
        let ids: Vec<ChildId> = self.children.keys().copied().collect();
        for id in ids {
            let Some(child) = self.children.get_mut(&id) else { continue };
            child.deadline = None;
            let (pid, killed, was_up) = match child.process {
                Process::Starting { pid, late, was_up, .. } => (pid, late, was_up),
                Process::Up { pid, .. } => (pid, false, true),
                Process::Stopping { pid, killed, was_up } => (pid, killed, was_up),
                Process::Restarting { .. } => {
                    self.remove(id, Removal::SupervisorStopped, actions);
                    continue;
                }
            };
            child.process = Process::Stopping { pid, killed: true, was_up };
            if !killed {
                actions.push(Action::Signal { pid, signal: Signal::Kill });
            }
        }
        self.maybe_exit(actions);
    }

    pub(super) fn check_bound(
        &mut self,
        reached: impl Fn(Instant) -> bool,
        actions: &mut Vec<Action>,
    ) {
        if let Phase::Stopping { bound: Some(at), reason } = self.phase
            && reached(at)
        {
            self.phase = Phase::Stopping { bound: None, reason };
            self.kill_all(actions);
        }
    }

    /// A child that was told to stop is gone.
    fn gone(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        let why = match self.phase {
            Phase::Stopping { .. } => Removal::SupervisorStopped,
            Phase::New | Phase::Running | Phase::Stopped => Removal::Terminated,
        };
        self.remove(id, why, actions);
        self.maybe_exit(actions);
    }

    /// The one way out for a child: gives back its place, its budget and its id.
    pub(super) fn remove(&mut self, id: ChildId, why: Removal, actions: &mut Vec<Action>) {
        self.set_deadline(id, None);
        let Some(child) = self.children.remove(&id) else { return };
        if let Some(spawner) = child.spawner
            && let Some(spawns) = self.spawners.get_mut(&spawner)
        {
            spawns.live = spawns.live.saturating_sub(1);
            if spawns.live == 0 && self.config.max_total_spawns_per_spawner.is_none() {
                self.spawners.remove(&spawner);
            }
        }
        actions.push(Action::Removed { child: id, spawner: child.spawner, why });
    }

    fn maybe_exit(&mut self, actions: &mut Vec<Action>) {
        if let Phase::Stopping { reason, .. } = self.phase
            && self.children.is_empty()
        {
            self.phase = Phase::Stopped;
            assert!(self.deadlines.is_empty(), "a stopped supervisor waits for nothing");
            actions.push(Action::Exit { reason });
        }
    }

    fn set_deadline(&mut self, id: ChildId, deadline: Option<Instant>) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if let Some((old, order)) = child.deadline.take() {
            self.deadlines.clear(old, (order, id));
        }
        if let Some(at) = deadline {
            let order = self.next_incarnation;
            child.deadline = Some((at, order));
            self.deadlines.set(at, (order, id));
        }
    }

    fn known(&mut self, pid: Pid, actions: &mut Vec<Action>) -> Option<&mut Child> {
        let child = self.children.get_mut(&pid.child);
        let live = child.filter(|child| child.pid() == Some(pid));
        if live.is_none() {
            actions.push(Action::Report(Report::StaleEvent { pid }));
        }
        live
    }
}

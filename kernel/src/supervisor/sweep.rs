//! Walking the list of children: stopping in reverse order, starting in order, one at a time.

use alloc::vec::Vec;

use super::child::{Child, Process, Retry};
use super::{Action, Phase, Report, Supervisor};
use crate::{ChildId, ChildSpec, ExitReason, Instant, Pid, Restart, Shutdown, Signal};

/// How far the walk in progress has come, and until when it waits for the child it is at.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Sweep {
    step: Step,
    /// The places that are to be started once the stopping is done: `start.0 ..= start.1`.
    start: (u64, u64),
    /// The child that is waited for, the one that is awaited before anything else.
    at: Option<ChildId>,
    /// When the wait for that child ends.
    until: Option<Instant>,
    /// When the whole stop ends.
    bound: Option<Instant>,
    /// The command in progress added the child: a failed start drops it again.
    pub(super) adding: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
enum Step {
    #[default]
    Idle,
    /// Stop children in `from .. below`, highest first.
    Stop { from: u64, below: u64 },
    /// Start children in `next ..= last`, lowest first.
    Start { next: u64, last: u64 },
    /// Everything was killed; wait for the last to go.
    Killed,
}

impl Sweep {
    /// Start everything from `place` on.
    pub(super) fn start_from(&mut self, place: u64) {
        self.step = Step::Start { next: place, last: u64::MAX };
    }

    /// Start the child at `place` alone.
    pub(super) fn start_only(&mut self, place: u64) {
        self.step = Step::Start { next: place, last: place };
    }

    /// Stop everything from `place` on, then start it again.
    pub(super) fn restart_from(&mut self, place: u64) {
        self.step = Step::Stop { from: place, below: u64::MAX };
        self.start = (place, u64::MAX);
    }

    /// Stop the child at `place` alone.
    pub(super) fn stop_only(&mut self, place: u64) {
        self.step = Step::Stop { from: place, below: place.saturating_add(1) };
        self.start = (1, 0);
    }

    /// The whole stop must be over by then; never later than said before.
    pub(super) fn bound(&mut self, deadline: Option<Instant>) {
        self.bound = match (self.bound, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// The earlier of the wait for the child and, while stopping, of the bound.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.until, self.bound) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn wait_for(&mut self, id: ChildId, until: Option<Instant>) {
        self.at = Some(id);
        self.until = until;
    }

    pub(super) fn wait_is_over(&mut self) {
        self.at = None;
        self.until = None;
    }
}

impl Supervisor {
    /// Goes on with the walk until it must wait for a child or is done.
    pub(super) fn walk(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.is_busy() && self.sweep.at.is_none() {
            match self.sweep.step {
                Step::Stop { from, below } => self.walk_down(now, from, below, actions),
                Step::Start { next, last } => self.walk_up(now, next, last, actions),
                Step::Killed if self.children.values().any(|c| c.process.is_alive()) => return,
                Step::Killed | Step::Idle => self.walked(actions),
            }
        }
    }

    /// Stops the highest child in `from .. below`, or turns to starting when there is none.
    fn walk_down(&mut self, now: Instant, from: u64, below: u64, actions: &mut Vec<Action>) {
        let last = if from < below { self.order.last_before(below) } else { None };
        let last = last.filter(|(place, _)| *place >= from);
        let Some((place, id)) = last.map(|(place, id)| (place, *id)) else {
            let (next, last) = self.sweep.start;
            let starts = self.phase == Phase::Restarting && next <= last;
            self.sweep.step = if starts { Step::Start { next, last } } else { Step::Idle };
            return;
        };
        self.sweep.step = Step::Stop { from, below: place };
        self.stop(now, id, actions);
    }

    /// Starts the lowest child in `next ..= last`, or ends the walk when there is none.
    fn walk_up(&mut self, now: Instant, next: u64, last: u64, actions: &mut Vec<Action>) {
        let found = if next <= last { self.order.first_from(next) } else { None };
        let found = found.filter(|(place, _)| *place <= last);
        let Some((place, id)) = found.map(|(place, id)| (place, *id)) else {
            self.sweep.step = Step::Idle;
            return;
        };
        self.sweep.step = Step::Start { next: place.saturating_add(1), last };
        let incarnation = self.next_incarnation;
        let Some(child) = self.children.get_mut(id) else { return };
        if child.process != Process::Down {
            return;
        }
        self.next_incarnation = incarnation.saturating_add(1);
        let pid = Pid { child: id, incarnation };
        child.process = Process::Starting { pid, late: false, was_up: false };
        let until = child.spec.start_timeout.map(|timeout| now.saturating_add(timeout));
        self.sweep.wait_for(id, until);
        actions.push(Action::Start { pid });
    }

    /// The walk has nothing left to do.
    fn walked(&mut self, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Starting => {
                self.phase = Phase::Running;
                actions.push(Action::Ready);
            }
            Phase::Restarting | Phase::Command { .. } => self.phase = Phase::Running,
            Phase::Stopping { reason } => self.exit(reason, actions),
            Phase::New | Phase::Running | Phase::Stopped { .. } => {}
        }
    }

    /// Brings one child down: asks it, or takes its death out of the queue, or cancels its restart.
    fn stop(&mut self, now: Instant, id: ChildId, actions: &mut Vec<Action>) {
        let Some(child) = self.children.get_mut(id) else { return };
        match child.process {
            // It was killed when it missed its start deadline: nothing is left but to wait.
            Process::Starting { pid, late: true, was_up } => {
                child.process = Process::Stopping { pid, killed: true, was_up };
                self.sweep.wait_for(id, None);
            }
            Process::Up { pid, .. } | Process::Starting { pid, late: false, .. } => {
                let (signal, until) = match child.spec.shutdown {
                    Shutdown::BrutalKill => (Signal::Kill, None),
                    Shutdown::Timeout(t) => (Signal::Shutdown, Some(now.saturating_add(t))),
                    Shutdown::Infinity => (Signal::Shutdown, None),
                };
                let was_up = matches!(child.process, Process::Up { .. });
                let killed = signal == Signal::Kill;
                child.process = Process::Stopping { pid, killed, was_up };
                self.sweep.wait_for(id, until);
                actions.push(Action::Signal { pid, signal });
            }
            Process::Dead { pid, .. } => {
                let death = self.deaths.iter().position(|death| death.pid == pid);
                if let Some(death) = death.and_then(|at| self.deaths.remove(at)) {
                    self.report_stop(pid, death.reason, actions);
                }
                self.brought_down(id, actions);
            }
            Process::Restarting { at, order, .. } => {
                self.retries.clear(at, (order, id));
                self.brought_down(id, actions);
            }
            Process::Stopping { .. } => self.sweep.wait_for(id, self.sweep.until),
            Process::Down => {}
        }
    }

    /// A child that was told to stop is gone.
    pub(super) fn stopped(
        &mut self,
        now: Instant,
        pid: Pid,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        self.report_stop(pid, reason, actions);
        self.brought_down(pid.child, actions);
        self.wait_ends(pid.child);
        self.walk(now, actions);
    }

    /// A child whose start is ignored, or that was told to stop meanwhile, has not come up at all.
    fn never_was(&mut self, now: Instant, pid: Pid, actions: &mut Vec<Action>) {
        self.brought_down(pid.child, actions);
        self.wait_ends(pid.child);
        self.walk(now, actions);
    }

    /// A child is without a process because the supervisor wanted it so.
    fn brought_down(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            // The whole supervisor goes: its specifications go with it, without a word each.
            if let Some(child) = self.children.get_mut(id) {
                child.process = Process::Down;
            }
        } else {
            self.put_down(id, actions);
        }
    }

    fn report_stop(&self, pid: Pid, reason: ExitReason, actions: &mut Vec<Action>) {
        let Some(child) = self.children.get(pid.child) else { return };
        if !is_expected(&child.spec, reason) {
            actions.push(Action::Report(Report::ShutdownError { pid, reason }));
        }
    }

    /// Begins to stop everything; a stop in progress comes first.
    pub(super) fn stop_all(&mut self, now: Instant, reason: ExitReason, actions: &mut Vec<Action>) {
        self.phase = Phase::Stopping { reason };
        // A restart that will never be made must not be seen as coming.
        while let Some((_, (_, id))) = self.retries.pop_due(Instant::MAX) {
            if let Some(child) = self.children.get_mut(id) {
                child.process = Process::Down;
            }
        }
        self.sweep.step = Step::Stop { from: 0, below: u64::MAX };
        let in_progress = self.sweep.at.and_then(|id| self.children.get(id));
        if in_progress.is_none_or(|child| matches!(child.process, Process::Starting { .. })) {
            // One that is being started has its turn in the walk; one that is being stopped is
            // waited for first.
            self.sweep.wait_is_over();
        }
        self.walk(now, actions);
    }

    /// Kills everything that is alive and forgets everything that waits.
    pub(super) fn kill_all(&mut self, actions: &mut Vec<Action>) {
        self.sweep = Sweep { step: Step::Killed, ..Sweep::default() };
        self.retries = crate::Deadlines::default();
        for id in self.order.values().rev() {
            let Some(child) = self.children.get_mut(*id) else { continue };
            match child.process {
                Process::Up { pid, .. } => {
                    child.process = Process::Stopping { pid, killed: true, was_up: true };
                    actions.push(Action::Signal { pid, signal: Signal::Kill });
                }
                Process::Starting { pid, late, was_up } => {
                    child.process = Process::Stopping { pid, killed: true, was_up };
                    if !late {
                        actions.push(Action::Signal { pid, signal: Signal::Kill });
                    }
                }
                Process::Stopping { pid, killed: false, was_up } => {
                    child.process = Process::Stopping { pid, killed: true, was_up };
                    actions.push(Action::Signal { pid, signal: Signal::Kill });
                }
                Process::Stopping { killed: true, .. } => {}
                Process::Dead { pid, .. } => {
                    child.process = Process::Down;
                    let death = self.deaths.iter().find(|death| death.pid == pid);
                    if let Some(reason) = death.map(|death| death.reason)
                        && !is_expected(&child.spec, reason)
                    {
                        actions.push(Action::Report(Report::ShutdownError { pid, reason }));
                    }
                }
                Process::Restarting { .. } | Process::Down => child.process = Process::Down,
            }
        }
        self.deaths.clear();
    }

    /// If the wait of the walk is over by `limit`: kill the child, or everything if it is the
    /// bound.
    /// Says whether it was.
    pub(super) fn waited(
        &mut self,
        now: Instant,
        limit: Instant,
        actions: &mut Vec<Action>,
    ) -> bool {
        if self.sweep.deadline().is_none_or(|at| at > limit) || !self.is_busy() {
            return false;
        }
        // Of two deadlines that are both overdue, the earlier one is first (A2).
        let comes_first = |at| self.sweep.until.is_none_or(|until| at <= until);
        if self.sweep.bound.is_some_and(|at| at <= limit && comes_first(at)) {
            self.kill_all(actions);
            self.walk(now, actions);
            return true;
        }
        self.sweep.until = None;
        if let Some(child) = self.sweep.at.and_then(|id| self.children.get_mut(id))
            && let Process::Starting { pid, late: told, .. }
            | Process::Stopping { pid, killed: told, .. } = &mut child.process
            && !*told
        {
            *told = true;
            actions.push(Action::Signal { pid: *pid, signal: Signal::Kill });
        }
        true
    }

    pub(super) fn started(&mut self, now: Instant, pid: Pid, actions: &mut Vec<Action>) {
        let Some(child) = self.known(pid, actions) else { return };
        match &mut child.process {
            starting @ Process::Starting { late: false, .. } => {
                *starting = Process::Up { pid, since: now };
                self.wait_ends(pid.child);
                self.walk(now, actions);
            }
            // One that was told to stop, or was too late, is still waited for: it will exit, and
            // nothing else ends it any more.
            Process::Starting { was_up, .. } | Process::Stopping { was_up, .. } => *was_up = true,
            Process::Up { .. }
            | Process::Down
            | Process::Dead { .. }
            | Process::Restarting { .. } => {}
        }
    }

    /// If the walk waits for this child, it does no longer.
    fn wait_ends(&mut self, id: ChildId) {
        if self.sweep.at == Some(id) {
            self.sweep.wait_is_over();
        }
    }

    pub(super) fn start_ignored(&mut self, now: Instant, pid: Pid, actions: &mut Vec<Action>) {
        let Some(child) = self.known(pid, actions) else { return };
        match child.process {
            Process::Starting { was_up: false, .. } | Process::Stopping { was_up: false, .. } => {
                self.never_was(now, pid, actions);
            }
            Process::Starting { .. }
            | Process::Stopping { .. }
            | Process::Up { .. }
            | Process::Down
            | Process::Dead { .. }
            | Process::Restarting { .. } => {}
        }
    }

    pub(super) fn start_failed(&mut self, now: Instant, pid: Pid, actions: &mut Vec<Action>) {
        let Some(child) = self.known(pid, actions) else { return };
        match child.process {
            Process::Starting { late, was_up: false, .. } => {
                self.not_started(now, pid, late, ExitReason::Crashed, actions);
            }
            Process::Stopping { was_up: false, .. } => self.never_was(now, pid, actions),
            Process::Starting { .. }
            | Process::Stopping { .. }
            | Process::Up { .. }
            | Process::Down
            | Process::Dead { .. }
            | Process::Restarting { .. } => {}
        }
    }

    /// A start failed: the supervisor's own first start, a restart, or a command's.
    pub(super) fn not_started(
        &mut self,
        now: Instant,
        pid: Pid,
        late: bool,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.children.get_mut(pid.child) else { return };
        child.process = Process::Down;
        self.wait_ends(pid.child);
        let reason = if late { ExitReason::StartTimeout } else { reason };
        let report = Action::Report(Report::StartFailed { pid, reason });
        match self.phase {
            Phase::Starting => {
                actions.push(report);
                self.stop_all(now, ExitReason::Crashed, actions);
            }
            Phase::Restarting => {
                actions.push(report);
                self.retry_failed_start(now, pid.child);
                self.phase = Phase::Running;
            }
            Phase::Command { .. } => self.command_start_failed(pid.child, actions),
            Phase::Stopping { .. } => {
                actions.push(report);
                self.walk(now, actions);
            }
            Phase::New | Phase::Running | Phase::Stopped { .. } => {}
        }
    }

    /// The retry goes behind what is already in at this instant (OTP sends it to itself).
    fn retry_failed_start(&mut self, now: Instant, id: ChildId) {
        let Some(child) = self.children.get_mut(id) else { return };
        let order = self.next_incarnation;
        child.process = Process::Restarting { at: now, order, retry: Retry::FailedStart };
        self.retries.set(now, (order, id));
        self.sweep = Sweep::default();
    }

    /// The child whose live process `pid` is; anything else is a stale event.
    pub(super) fn known(&mut self, pid: Pid, actions: &mut Vec<Action>) -> Option<&mut Child> {
        let child = self.children.get_mut(pid.child);
        let live = child.filter(|child| child.process.pid() == Some(pid));
        if live.is_none() {
            actions.push(Action::Report(Report::StaleEvent { pid }));
        }
        live
    }
}

/// Whether a child that was told to stop ended in a way that needs no report.
pub(crate) fn is_expected(spec: &ChildSpec, reason: ExitReason) -> bool {
    let quiet = match reason {
        ExitReason::Shutdown => true,
        ExitReason::Normal | ExitReason::ShutdownBecause => spec.restart != Restart::Permanent,
        ExitReason::Killed
        | ExitReason::Crashed
        | ExitReason::StartTimeout
        | ExitReason::NoConnection
        | ExitReason::RestartsExhausted => false,
    };
    match spec.shutdown {
        Shutdown::BrutalKill => {
            reason == ExitReason::Killed || (quiet && spec.restart != Restart::Permanent)
        }
        Shutdown::Timeout(_) | Shutdown::Infinity => quiet,
    }
}

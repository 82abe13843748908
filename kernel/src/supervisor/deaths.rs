//! What a supervisor decides when a child ends, and when a retry falls due.

use alloc::vec::Vec;

use super::child::{Process, Retry};
use super::{Action, AutoShutdown, Death, Phase, Report, Strategy, Supervisor};
use crate::restart_window::Verdict;
use crate::{ChildId, ExitReason, Instant, Pid, Restart};

impl Supervisor {
    /// A process ended. What that means depends on what the machine was doing with it.
    pub(super) fn exited(
        &mut self,
        now: Instant,
        pid: Pid,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.known(pid, actions) else { return };
        match child.process {
            Process::Up { pid, since } => {
                child.process = Process::Dead { pid, since };
                self.deaths.push_back(Death { pid, reason, at: now });
            }
            Process::Starting { late, .. } => self.not_started(now, pid, late, reason, actions),
            Process::Stopping { .. } => self.stopped(now, pid, reason, actions),
            Process::Down | Process::Dead { .. } | Process::Restarting { .. } => {}
        }
    }

    /// Handles a death by the child's restart type (OTP `do_restart`).
    pub(super) fn died(&mut self, now: Instant, death: Death, actions: &mut Vec<Action>) {
        let Death { pid, reason, at } = death;
        let id = pid.child;
        let Some(child) = self.children.get_mut(id) else { return };
        let since = match child.process {
            Process::Dead { since, .. } => Some(since),
            Process::Down
            | Process::Starting { .. }
            | Process::Up { .. }
            | Process::Stopping { .. }
            | Process::Restarting { .. } => None,
        };
        child.process = Process::Down;
        let restart = child.spec.restart;
        let comes_back = match restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_clean(),
            Restart::Temporary => false,
        };
        if comes_back || !reason.is_clean() {
            actions.push(Action::Report(Report::ChildTerminated { pid, reason }));
        }
        if comes_back {
            self.crashed(now, id, at, since, actions);
        } else {
            let significant = child.spec.significant;
            self.put_down(id, actions);
            self.maybe_auto_shutdown(now, significant, actions);
        }
    }

    /// A pending restart falls due at `at`.
    pub(super) fn retry(
        &mut self,
        now: Instant,
        at: Instant,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) {
        let Some(child) = self.children.get_mut(id) else { return };
        let Process::Restarting { retry, .. } = child.process else { return };
        child.process = Process::Down;
        match retry {
            Retry::Backoff => self.restart(now, id, actions),
            Retry::FailedStart => self.crashed(now, id, at, None, actions),
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
        let Verdict::Restart { occupancy } = self.window.record(at) else {
            actions.push(Action::Report(Report::RestartsExhausted { child: id }));
            self.stop_all(now, self.config.exhausted, actions);
            return;
        };
        let Some(child) = self.children.get_mut(id) else { return };
        let backoff = &self.config.backoff;
        let delay = child.backoff.next_delay(backoff, occupancy, up_since, at, &mut self.prng);
        if delay.is_zero() {
            self.restart(now, id, actions);
            return;
        }
        let at = at.saturating_add(delay);
        let order = self.next_incarnation;
        child.process = Process::Restarting { at, order, retry: Retry::Backoff };
        self.retries.set(at, (order, id));
        actions.push(Action::Report(Report::RestartScheduled { child: id, at }));
    }

    /// Carries out the strategy for a child that is down.
    fn restart(&mut self, now: Instant, id: ChildId, actions: &mut Vec<Action>) {
        let Some(place) = self.children.get(id).map(|child| child.place) else { return };
        self.phase = Phase::Restarting;
        match self.config.strategy {
            Strategy::OneForOne => self.sweep.start_only(place),
            Strategy::OneForAll => self.sweep.restart_from(0),
            Strategy::RestForOne => self.sweep.restart_from(place),
        }
        self.walk(now, actions);
    }

    /// Ends the supervisor if the end of a child that is not restarted asks for it.
    fn maybe_auto_shutdown(&mut self, now: Instant, significant: bool, actions: &mut Vec<Action>) {
        if !significant {
            return;
        }
        let due = match self.config.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self
                .children
                .values()
                .any(|other| other.spec.significant && other.process.is_present()),
        };
        if due {
            self.stop_all(now, ExitReason::Shutdown, actions);
        }
    }
}

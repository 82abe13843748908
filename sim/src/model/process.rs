//! Starting one process and stopping one, each waited for.

use lictor_kernel::supervisor::{Action, ChildState, Event, Report};
use lictor_kernel::{ChildId, ExitReason, Pid, Restart, Shutdown, Signal};

use super::{Blocking, Heard, Program, Start, pid_of};

impl Program<'_> {
    /// Starts a process and waits until it is up, or is not.
    pub(super) fn start_process(&mut self, id: ChildId) -> Blocking<Start> {
        let pid = Pid { child: id, incarnation: self.incarnation };
        self.incarnation += 1;
        let spec = self.child(id).spec;
        let mut deadline = spec.start_timeout.map(|timeout| self.now.saturating_add(timeout));
        let mut killed = false;
        self.child_mut(id).set_down();
        self.child_mut(id).state = ChildState::Starting(pid);
        self.emit(Action::Start { pid });
        loop {
            let event = match self.wait(deadline)? {
                Heard::Deadline => {
                    killed = true;
                    deadline = None;
                    self.tell(id, Signal::Kill, None);
                    continue;
                }
                Heard::Event(event) => event,
            };
            if pid_of(event) != pid {
                self.heard_elsewhere(event);
                continue;
            }
            let reason = match event {
                // The start deadline was faster. It is up all the same: now it can only exit.
                Event::Started { .. } if killed => {
                    let now = self.now;
                    self.child_mut(id).up_since = Some(now);
                    continue;
                }
                Event::StartIgnored { .. } | Event::StartFailed { .. }
                    if self.child(id).up_since.is_some() =>
                {
                    continue;
                }
                Event::Started { .. } => {
                    let now = self.now;
                    let child = self.child_mut(id);
                    child.state = ChildState::Up(pid);
                    child.up_since = Some(now);
                    return Ok(Start::Up);
                }
                // (5) ignore: spec kept without a process; a temporary one is forgotten.
                Event::StartIgnored { .. } => {
                    self.child_mut(id).set_down();
                    if spec.restart == Restart::Temporary {
                        self.remove(id);
                    }
                    return Ok(Start::Ignored);
                }
                Event::StartFailed { .. } => ExitReason::Crashed,
                Event::Exited { reason, .. } => reason,
            };
            self.child_mut(id).set_down();
            let reason = if killed { ExitReason::StartTimeout } else { reason };
            return Ok(Start::Failed(pid, reason));
        }
    }

    /// (7) Stops a process and waits until it is gone. Its death may be in the mailbox already (6).
    pub(super) fn stop_process(&mut self, id: ChildId) -> Blocking<()> {
        let child = self.child(id);
        let Some(pid) = child.pid() else {
            self.child_mut(id).cancel_restart();
            return Ok(());
        };
        if let Some(reason) = self.take_death(pid) {
            self.stopped(id, reason);
            return Ok(());
        }
        if child.told.is_none() {
            match child.spec.shutdown {
                Shutdown::BrutalKill => self.tell(id, Signal::Kill, None),
                Shutdown::Infinity => self.tell(id, Signal::Shutdown, None),
                Shutdown::Timeout(timeout) => {
                    let deadline = self.now.saturating_add(timeout);
                    self.tell(id, Signal::Shutdown, Some(deadline));
                }
            }
        }
        self.child_mut(id).state = ChildState::Stopping(pid);
        loop {
            let Some(child) = self.find(id) else { return Ok(()) };
            let Some(pid) = child.pid() else { return Ok(()) };
            let deadline = child.told.and_then(|(_, deadline)| deadline);
            match self.wait(deadline)? {
                Heard::Deadline => self.tell(id, Signal::Kill, None),
                Heard::Event(event) if pid_of(event) == pid => self.heard_while_stopping(event),
                Heard::Event(event) => self.heard_elsewhere(event),
            }
        }
    }

    /// An event about a process that is being stopped.
    pub(super) fn heard_while_stopping(&mut self, event: Event) {
        let pid = pid_of(event);
        let child = self.find(pid.child).filter(|child| child.pid() == Some(pid));
        let Some(child) = child else { return self.stale(event) };
        match event {
            Event::Exited { reason, .. } => self.stopped(pid.child, reason),
            Event::Started { .. } => {
                let now = self.now;
                self.child_mut(pid.child).up_since = Some(now);
            }
            // It was told while it was still starting, and never came up: nothing went wrong.
            Event::StartFailed { .. } | Event::StartIgnored { .. } => {
                if child.up_since.is_none() {
                    self.gone_in_stop(pid.child);
                }
            }
        }
    }

    /// (7) A process that was to stop has ended; odd reasons are reported, and nothing else.
    pub(super) fn stopped(&mut self, id: ChildId, reason: ExitReason) {
        let child = self.child(id);
        let permanent = child.spec.restart == Restart::Permanent;
        let brutal = child.spec.shutdown == Shutdown::BrutalKill;
        let expected = match reason {
            ExitReason::Killed => brutal,
            ExitReason::Shutdown => !brutal || !permanent,
            ExitReason::Normal | ExitReason::ShutdownBecause => !permanent,
            ExitReason::Crashed
            | ExitReason::StartTimeout
            | ExitReason::NoConnection
            | ExitReason::RestartsExhausted => false,
        };
        if let Some(pid) = child.pid()
            && !expected
        {
            self.report(Report::ShutdownError { pid, reason });
        }
        self.gone_in_stop(id);
    }

    pub(super) fn gone_in_stop(&mut self, id: ChildId) {
        let child = self.child_mut(id);
        child.set_down();
        // When the supervisor itself ends there is nobody left to whom a freed id would matter.
        if child.spec.restart == Restart::Temporary && self.exiting.is_none() {
            self.remove(id);
        }
    }

    /// An event about another process than the one that the program waits for.
    pub(super) fn heard_elsewhere(&mut self, event: Event) {
        let pid = pid_of(event);
        let state = self.find(pid.child).filter(|child| child.pid() == Some(pid));
        let state = state.map_or(ChildState::Down, |child| child.state);
        let dead = self.mailbox.iter().any(|(dead, _, _)| *dead == pid);
        match (state, event) {
            (ChildState::Down | ChildState::Restarting { .. }, _) => self.stale(event),
            (ChildState::Stopping(_), _) => self.heard_while_stopping(event),
            _ if dead => self.stale(event),
            (ChildState::Up(_), Event::Exited { reason, .. }) => {
                self.mailbox.push((pid, reason, self.now));
            }
            // A start that the end of the supervisor has overtaken; its turn to stop will come.
            (ChildState::Starting(_), Event::Started { .. }) => {
                let now = self.now;
                let child = self.child_mut(pid.child);
                child.up_since = Some(now);
                // One that was too late does not count as up any more.
                if child.told.is_none() {
                    child.state = ChildState::Up(pid);
                }
            }
            // It has said that it is up: this makes no sense.
            (ChildState::Starting(_), Event::StartIgnored { .. } | Event::StartFailed { .. })
                if self.child(pid.child).up_since.is_some() => {}
            (ChildState::Starting(_), Event::StartIgnored { .. }) => self.gone_in_stop(pid.child),
            (ChildState::Starting(_), Event::StartFailed { .. }) => {
                self.failed_in_stop(pid, ExitReason::Crashed);
            }
            (ChildState::Starting(_), Event::Exited { reason, .. }) => {
                self.failed_in_stop(pid, reason);
            }
            // Of a process that is there, but it makes no sense.
            (ChildState::Up(_), _) => {}
        }
    }

    fn failed_in_stop(&mut self, pid: Pid, reason: ExitReason) {
        let killed = self.child(pid.child).told.is_some();
        let reason = if killed { ExitReason::StartTimeout } else { reason };
        self.report(Report::StartFailed { pid, reason });
        self.gone_in_stop(pid.child);
    }
}

//! Requests from outside, with OTP's answers. Each is served only between phases.

use alloc::vec::Vec;

use super::child::Process;
use super::{Action, Phase, Supervisor, allows};
use crate::{ChildId, ChildSpec, Instant, Pid};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident $(($inner:ty))? => $text:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant $(($inner))?,)* }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$variant { .. } => $text,)* })
            }
        }

        impl core::error::Error for $name {}
    )*};
}

errors! {
    /// Why a child was not started under its id.
    StartChildError {
        /// The id has a process.
        AlreadyStarted(Pid) => "the child is already started",
        /// The id is known but without a process; `restart_child` starts it.
        AlreadyPresent => "the child is already present, but not running",
        /// A phase is under way; ask again when it is over.
        Busy => "the supervisor is busy",
        /// The supervisor has as many children as it may.
        LimitReached => "the supervisor has as many children as it may",
        /// The supervisor has not started, is stopping, or has ended.
        NotRunning => "the supervisor is not running",
        /// The child is significant, but permanent or under `auto_shutdown` never.
        BadCombination => "a significant child must not be permanent or under auto_shutdown never",
    }
    /// Why a child was not stopped.
    TerminateChildError {
        /// No such id.
        NotFound => "no such child",
        /// A phase is under way; ask again when it is over.
        Busy => "the supervisor is busy",
        /// The supervisor has not started, is stopping, or has ended.
        NotRunning => "the supervisor is not running",
    }
    /// Why a child was not started again.
    RestartChildError {
        /// No such id.
        NotFound => "no such child",
        /// It has a process.
        Running => "the child is running",
        /// It waits for its automatic restart.
        Restarting => "the child is waiting for its restart",
        /// A phase is under way; ask again when it is over.
        Busy => "the supervisor is busy",
        /// The supervisor has not started, is stopping, or has ended.
        NotRunning => "the supervisor is not running",
    }
    /// Why a specification was not forgotten.
    DeleteChildError {
        /// No such id.
        NotFound => "no such child",
        /// It has a process.
        Running => "the child is running",
        /// It waits for its automatic restart.
        Restarting => "the child is waiting for its restart",
        /// A phase is under way; ask again when it is over.
        Busy => "the supervisor is busy",
        /// The supervisor has not started, is stopping, or has ended.
        NotRunning => "the supervisor is not running",
    }
}

/// How far a `terminate_child` has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Terminated {
    /// There was no process (any more); done.
    AtOnce,
    /// The process was told; the command is done when [`Supervisor::is_busy`] ends.
    WhenExited(Pid),
}

enum NotServed {
    Busy,
    NotRunning,
}

impl Supervisor {
    /// Adds a child at the end of the start order and starts it. The command is over when
    /// [`Supervisor::is_busy`] ends: then the child is up, or down (its start was ignored), or
    /// unknown (its start failed, and the specification was dropped; or it was ignored and
    /// temporary).
    ///
    /// # Errors
    /// See [`StartChildError`]; nothing has changed then.
    pub fn start_child(
        &mut self,
        now: Instant,
        id: ChildId,
        spec: ChildSpec,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, StartChildError> {
        self.serving(now, actions).map_err(|not| match not {
            NotServed::Busy => StartChildError::Busy,
            NotServed::NotRunning => StartChildError::NotRunning,
        })?;
        if !allows(self.config.auto_shutdown, &spec) {
            return Err(StartChildError::BadCombination);
        }
        if let Some(child) = self.children.get(id) {
            return Err(match child.process {
                Process::Up { pid, .. }
                | Process::Dead { pid, .. }
                | Process::Starting { pid, .. }
                | Process::Stopping { pid, .. } => StartChildError::AlreadyStarted(pid),
                Process::Down | Process::Restarting { .. } => StartChildError::AlreadyPresent,
            });
        }
        if self.children.len() >= usize::try_from(self.config.max_children).unwrap_or(usize::MAX) {
            return Err(StartChildError::LimitReached);
        }
        self.add(id, spec);
        Ok(self.command_start(now, id, true, actions))
    }

    /// Stops a child and leaves its siblings alone. Its specification is kept, unless temporary. A
    /// child that waits for its restart is taken off the wait.
    ///
    /// # Errors
    /// See [`TerminateChildError`]; nothing has changed then.
    pub fn terminate_child(
        &mut self,
        now: Instant,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<Terminated, TerminateChildError> {
        self.serving(now, actions).map_err(|not| match not {
            NotServed::Busy => TerminateChildError::Busy,
            NotServed::NotRunning => TerminateChildError::NotRunning,
        })?;
        let child = self.children.get(id).ok_or(TerminateChildError::NotFound)?;
        let pid = child.process.pid();
        self.sweep.stop_only(child.place);
        self.phase = Phase::Command { child: id };
        self.walk(now, actions);
        self.settle(now, actions);
        Ok(pid.map_or(Terminated::AtOnce, Terminated::WhenExited))
    }

    /// Starts a child that is down, at its old place. The command is over when
    /// [`Supervisor::is_busy`] ends; a failed start leaves the child down, without a retry.
    ///
    /// # Errors
    /// See [`RestartChildError`]; nothing has changed then.
    pub fn restart_child(
        &mut self,
        now: Instant,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, RestartChildError> {
        self.serving(now, actions).map_err(|not| match not {
            NotServed::Busy => RestartChildError::Busy,
            NotServed::NotRunning => RestartChildError::NotRunning,
        })?;
        let child = self.children.get(id).ok_or(RestartChildError::NotFound)?;
        match child.process {
            Process::Down => Ok(self.command_start(now, id, false, actions)),
            Process::Restarting { .. } => Err(RestartChildError::Restarting),
            Process::Up { .. }
            | Process::Dead { .. }
            | Process::Starting { .. }
            | Process::Stopping { .. } => Err(RestartChildError::Running),
        }
    }

    /// Forgets a child that is down.
    ///
    /// # Errors
    /// See [`DeleteChildError`]; nothing has changed then.
    pub fn delete_child(
        &mut self,
        now: Instant,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<(), DeleteChildError> {
        self.serving(now, actions).map_err(|not| match not {
            NotServed::Busy => DeleteChildError::Busy,
            NotServed::NotRunning => DeleteChildError::NotRunning,
        })?;
        let child = self.children.get(id).ok_or(DeleteChildError::NotFound)?;
        match child.process {
            Process::Down => self.remove(id, actions),
            Process::Restarting { .. } => return Err(DeleteChildError::Restarting),
            Process::Up { .. }
            | Process::Dead { .. }
            | Process::Starting { .. }
            | Process::Stopping { .. } => return Err(DeleteChildError::Running),
        }
        Ok(())
    }

    /// Catches up with time and says whether a command can be served.
    fn serving(&mut self, now: Instant, actions: &mut Vec<Action>) -> Result<(), NotServed> {
        self.catch_up(now, actions);
        match self.phase {
            Phase::Running => Ok(()),
            Phase::Starting | Phase::Restarting | Phase::Command { .. } => Err(NotServed::Busy),
            Phase::New | Phase::Stopping { .. } | Phase::Stopped { .. } => {
                Err(NotServed::NotRunning)
            }
        }
    }

    fn command_start(
        &mut self,
        now: Instant,
        id: ChildId,
        added: bool,
        actions: &mut Vec<Action>,
    ) -> Pid {
        let place = self.children.get(id).map_or(0, |child| child.place);
        let pid = Pid { child: id, incarnation: self.next_incarnation };
        self.phase = Phase::Command { child: id };
        self.sweep.start_only(place);
        self.sweep.adding = added;
        self.walk(now, actions);
        pid
    }

    /// A command's start failed: what the command added is dropped, what was there stays down. No
    /// report: it is the answer to the caller.
    pub(super) fn command_start_failed(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        if self.sweep.adding {
            self.remove(id, actions);
        }
        self.phase = Phase::Running;
    }
}

//! The life of one process, and what an error in its handler leads to.
//!
//! ```text
//!                started           suspend, resume
//! Initializing ──────────▶ Running ◀──────────────▶ Suspended
//!      │                   │     │                      │
//!      │ stop         stop │     │ finished             │ stop
//!      └───────▶ Stopping ◀┘     ▼                      └────────▶ Stopping
//!                   └─────────▶ Stopped
//!                    finished            any of the four live states ── crashed ──▶ Crashed
//! ```
//! `Stopped` and `Crashed` end an incarnation; only [`Lifecycle::restart`], with a greater
//! incarnation, leaves them.

use core::fmt;

/// Where a process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LifecycleState {
    /// It is starting and takes no messages yet.
    Initializing,
    /// It handles messages.
    Running,
    /// It lives, and its messages wait.
    Suspended,
    /// It was asked to stop, and finishes what it has in hand.
    Stopping,
    /// It ended cleanly.
    Stopped,
    /// It ended by an error.
    Crashed,
}

impl LifecycleState {
    /// Whether the process still exists.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Stopped | Self::Crashed)
    }
}

/// What an error in a handler leads to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorAction {
    /// The same message is delivered again, at once, up to `max_retries` times; then as
    /// [`ErrorAction::Escalate`]. A message that cannot be copied escalates at once.
    Retry,
    /// The message is dropped as a dead letter; the agent goes on.
    Skip,
    /// The agent crashes; its supervisor decides.
    Escalate,
    /// The agent stops normally.
    Stop,
}

/// What the runtime does about a handler's error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorDecision {
    /// Give the same message to the handler again.
    Redeliver {
        /// Which retry this is: 1 is the first.
        attempt: u32,
    },
    /// The message is dropped, as a dead letter; the next one follows.
    Discard,
    /// The process crashed.
    Crash,
    /// The process stops.
    Stop,
}

/// A transition that the present state does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct TransitionError {
    /// The state that the process is in, and stays in.
    pub state: LifecycleState,
}

impl fmt::Display for TransitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not possible in state {:?}", self.state)
    }
}

impl core::error::Error for TransitionError {}

/// Why a process was not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ResumeError {
    /// It is in this state, not suspended.
    NotSuspended(LifecycleState),
    /// Nobody approved.
    NoApprover,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSuspended(state) => write!(f, "not suspended but {state:?}"),
            Self::NoApprover => f.write_str("a resume needs an approver"),
        }
    }
}

impl core::error::Error for ResumeError {}

/// Why a new incarnation was not begun.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RestartError {
    /// The present incarnation has not ended; it is in this state.
    StillLive(LifecycleState),
    /// The incarnation is not greater than this one, the present.
    StaleIncarnation(u64),
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StillLive(state) => write!(f, "still live: {state:?}"),
            Self::StaleIncarnation(present) => write!(f, "not newer than incarnation {present}"),
        }
    }
}

impl core::error::Error for RestartError {}

/// The life of one process. All methods are `O(1)`; a refused one changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lifecycle {
    state: LifecycleState,
    incarnation: u64,
    max_retries: u32,
    attempt: u32,
}

impl Lifecycle {
    /// A process that is initializing. A message is retried at most `max_retries` times, so it runs
    /// at most `max_retries + 1` times.
    #[must_use]
    pub const fn new(incarnation: u64, max_retries: u32) -> Self {
        Self { state: LifecycleState::Initializing, incarnation, max_retries, attempt: 0 }
    }

    /// The present state.
    #[must_use]
    pub const fn state(&self) -> LifecycleState {
        self.state
    }

    /// The present incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How often the message in hand was retried.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// It came up: initializing becomes running. (P1)
    ///
    /// # Errors
    /// [`TransitionError`] in every other state.
    pub const fn started(&mut self) -> Result<(), TransitionError> {
        match self.state {
            LifecycleState::Initializing => self.enter(LifecycleState::Running),
            LifecycleState::Running
            | LifecycleState::Suspended
            | LifecycleState::Stopping
            | LifecycleState::Stopped
            | LifecycleState::Crashed => self.refuse(),
        }
    }

    /// Holds its messages back: running becomes suspended. (P2)
    ///
    /// # Errors
    /// [`TransitionError`] in every other state.
    pub const fn suspend(&mut self) -> Result<(), TransitionError> {
        match self.state {
            LifecycleState::Running => self.enter(LifecycleState::Suspended),
            LifecycleState::Initializing
            | LifecycleState::Suspended
            | LifecycleState::Stopping
            | LifecycleState::Stopped
            | LifecycleState::Crashed => self.refuse(),
        }
    }

    /// Lets its messages through again: suspended becomes running. (P3)
    ///
    /// # Errors
    /// [`ResumeError::NotSuspended`] in every other state; [`ResumeError::NoApprover`] for an
    /// approver without a name.
    pub fn resume(&mut self, approver: &str) -> Result<(), ResumeError> {
        if self.state != LifecycleState::Suspended {
            return Err(ResumeError::NotSuspended(self.state));
        }
        if approver.is_empty() {
            return Err(ResumeError::NoApprover);
        }
        self.state = LifecycleState::Running;
        Ok(())
    }

    /// It is asked to stop: initializing, running or suspended becomes stopping. (P4)
    ///
    /// # Errors
    /// [`TransitionError`] if it is stopping already or has ended.
    pub const fn stop(&mut self) -> Result<(), TransitionError> {
        match self.state {
            LifecycleState::Initializing | LifecycleState::Running | LifecycleState::Suspended => {
                self.enter(LifecycleState::Stopping)
            }
            LifecycleState::Stopping | LifecycleState::Stopped | LifecycleState::Crashed => {
                self.refuse()
            }
        }
    }

    /// It ended cleanly, asked (stopping) or of its own accord (running): it is stopped. (P4)
    ///
    /// # Errors
    /// [`TransitionError`] in every other state.
    pub const fn finished(&mut self) -> Result<(), TransitionError> {
        match self.state {
            LifecycleState::Running | LifecycleState::Stopping => {
                self.enter(LifecycleState::Stopped)
            }
            LifecycleState::Initializing
            | LifecycleState::Suspended
            | LifecycleState::Stopped
            | LifecycleState::Crashed => self.refuse(),
        }
    }

    /// It ended by an error, or was killed, in any live state. (P5)
    ///
    /// # Errors
    /// [`TransitionError`] if it has ended before.
    pub const fn crashed(&mut self) -> Result<(), TransitionError> {
        if self.state.is_live() { self.enter(LifecycleState::Crashed) } else { self.refuse() }
    }

    /// Begins a new incarnation after the end of the present one, with fresh attempts. (P6)
    ///
    /// # Errors
    /// [`RestartError::StillLive`] before that end; [`RestartError::StaleIncarnation`] unless
    /// `incarnation` is greater than the present one.
    pub const fn restart(&mut self, incarnation: u64) -> Result<(), RestartError> {
        if self.state.is_live() {
            return Err(RestartError::StillLive(self.state));
        }
        if incarnation <= self.incarnation {
            return Err(RestartError::StaleIncarnation(self.incarnation));
        }
        *self = Self::new(incarnation, self.max_retries);
        Ok(())
    }

    /// A message is in hand that was handled `attempts` times before, by this incarnation or by one
    /// that it survived. (P7)
    pub const fn received(&mut self, attempts: u32) {
        self.attempt = attempts;
    }

    /// Whether the message in hand may be handled once more, should this time fail: by a retry, or
    /// by the next incarnation. (P7)
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        self.attempt < self.max_retries
    }

    /// The message in hand is done: the next one starts with fresh attempts. (P7)
    pub const fn handled(&mut self) {
        self.attempt = 0;
    }

    /// Decides about an error of the handler, and makes the transition that the decision implies:
    /// [`ErrorDecision::Crash`] leaves it crashed, [`ErrorDecision::Stop`] stopping. A retry runs
    /// the message again until `max_retries` is passed, and then crashes. (P7, P8)
    ///
    /// # Errors
    /// [`TransitionError`] unless it is running or stopping: only then is a message in hand.
    pub const fn on_error(
        &mut self,
        action: ErrorAction,
    ) -> Result<ErrorDecision, TransitionError> {
        if !matches!(self.state, LifecycleState::Running | LifecycleState::Stopping) {
            return Err(TransitionError { state: self.state });
        }
        Ok(match action {
            ErrorAction::Retry if self.may_retry() => {
                self.attempt = self.attempt.saturating_add(1);
                ErrorDecision::Redeliver { attempt: self.attempt }
            }
            ErrorAction::Retry | ErrorAction::Escalate => {
                self.state = LifecycleState::Crashed;
                ErrorDecision::Crash
            }
            ErrorAction::Skip => {
                self.attempt = 0;
                ErrorDecision::Discard
            }
            ErrorAction::Stop => {
                self.state = LifecycleState::Stopping;
                ErrorDecision::Stop
            }
        })
    }

    const fn enter(&mut self, state: LifecycleState) -> Result<(), TransitionError> {
        self.state = state;
        Ok(())
    }

    const fn refuse(&self) -> Result<(), TransitionError> {
        Err(TransitionError { state: self.state })
    }
}

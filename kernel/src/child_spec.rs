//! What a supervisor knows of a child before it runs.

use core::time::Duration;

/// When a child that ended is started again.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Restart {
    /// Always.
    Permanent,
    /// Only when it ended other than cleanly
    /// ([`ExitReason::is_clean`](crate::ExitReason::is_clean)).
    #[default]
    Transient,
    /// Never; its specification is forgotten when it ends.
    Temporary,
}

/// How a child is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shutdown {
    /// Killed at once.
    BrutalKill,
    /// Asked; killed if it is still there after this long. Zero is legal: ask and kill.
    Timeout(Duration),
    /// Asked, and waited for without limit.
    Infinity,
}

/// Whether a child is itself a supervisor. Only counting and the default shutdown depend on it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum ChildKind {
    /// A worker.
    #[default]
    Worker,
    /// A supervisor.
    Supervisor,
}

/// The specification of one child.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChildSpec {
    /// When it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Whether its own end may end the supervisor ([`AutoShutdown`](crate::AutoShutdown)).
    pub significant: bool,
    /// Worker or supervisor.
    pub kind: ChildKind,
    /// How long a start may take before the child is killed and the start counts as failed.
    /// `None`, the default, waits without limit.
    pub start_timeout: Option<Duration>,
}

impl ChildSpec {
    /// A transient worker that is given 5 seconds to stop (OTP's worker shutdown).
    #[must_use]
    pub const fn worker() -> Self {
        Self {
            restart: Restart::Transient,
            shutdown: Shutdown::Timeout(Duration::from_secs(5)),
            significant: false,
            kind: ChildKind::Worker,
            start_timeout: None,
        }
    }

    /// A transient supervisor that is waited for without limit (OTP's supervisor shutdown).
    #[must_use]
    pub const fn supervisor() -> Self {
        Self { shutdown: Shutdown::Infinity, kind: ChildKind::Supervisor, ..Self::worker() }
    }
}

impl Default for ChildSpec {
    fn default() -> Self {
        Self::worker()
    }
}

//! Why a process ended, and how one is asked to end.

/// Why a process ended. Text (panic messages, error values) stays with the driver, keyed by
/// process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitReason {
    /// It finished its work (OTP `normal`).
    Normal,
    /// It was asked to stop and did (OTP `shutdown`).
    Shutdown,
    /// It stopped of its own accord with an explanation (OTP `{shutdown, Term}`): clean.
    ShutdownBecause,
    /// It was killed (OTP `killed`).
    Killed,
    /// It failed: a panic, an escalated error, a non-zero exit code.
    Crashed,
    /// It did not come up within its start deadline and was killed.
    StartTimeout,
    /// The node that it lived on is unreachable (OTP `noconnection`).
    NoConnection,
    /// It is a supervisor whose restart budget was used up. OTP says `shutdown` here, and thereby
    /// loses transient subtrees in silence; ours is not clean, so the parent restarts it.
    RestartsExhausted,
}

impl ExitReason {
    /// Whether a transient child stays down after this exit (OTP: normal, shutdown, {shutdown, _}).
    #[must_use]
    pub const fn is_clean(self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownBecause)
    }
}

/// How a process is told to end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// Finish what is in hand, then stop.
    Shutdown,
    /// End now, without being asked.
    Kill,
}

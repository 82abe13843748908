//! What a campaign must have reached at least once. A campaign that never escalated to a root has
//! shown nothing about escalation, however green it is.

use std::fmt;

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident $name:literal,)*) => {
        /// Something that must be reached once.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Mark { $($(#[$doc])* $mark,)* }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$mark,)*];

            /// Its name in summaries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }
        }
    };
}

marks! {
    /// A root's restart budget was used up.
    EscalatedToRoot "escalated_to_root",
    /// A supervisor below a root used up its budget, and its parent restarted it.
    SubtreeRestarted "subtree_restarted",
    /// A child failed while its supervisor was stopping or starting others.
    FailureMidSweep "failure_mid_sweep",
    /// A crash came exactly when an earlier one left the restart window.
    WindowEdge "window_edge",
    /// A start failed during a restart.
    FailedRestart "failed_restart",
    /// A process was killed since it did not stop in time.
    KilledAtDeadline "killed_at_deadline",
    /// A shutdown came while a restart was waiting.
    ShutdownDuringBackoff "shutdown_during_backoff",
    /// A message waited in a mailbox over a restart, and was handled by the next incarnation.
    QueuedOverRestart "queued_over_restart",
    /// A fact about a process that was gone already came in.
    StaleFact "stale_fact",
    /// A message found its receiver down for good.
    SentToDown "sent_to_down",
    /// A mailbox was full.
    MailboxFull "mailbox_full",
    /// A question ended since its callee crashed.
    AskedCrashed "asked_crashed",
    /// A question ran into its deadline.
    AskTimedOut "ask_timed_out",
    /// An answer came after its question had ended.
    LateAnswer "late_answer",
    /// Two children of one supervisor ended in one instant.
    SimultaneousDeaths "simultaneous_deaths",
    /// A spawned child was removed for good and its name spawned again.
    NameReused "name_reused",
    /// A second copy of a frame was suppressed.
    DuplicateSuppressed "duplicate_suppressed",
    /// A peer was given up and heard of again.
    Reconnected "reconnected",
    /// A node came back from a crash, and others saw its new boot.
    Rebooted "rebooted",
    /// A name was claimed by two nodes, and all came to see one owner.
    ConflictResolved "conflict_resolved",
    /// A link was full.
    LinkOverflow "link_overflow",
}

/// Which marks were reached. A set: merging runs is a union.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Marks(u64);

impl Marks {
    /// Reaches a mark.
    pub const fn reach(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u8;
    }

    /// Whether a mark was reached.
    #[must_use]
    pub const fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u8) != 0
    }

    /// Adds what another run has reached.
    pub const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Those that were reached.
    pub fn reached(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.iter().copied().filter(move |mark| self.has(*mark))
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.reached().map(Mark::name)).finish()
    }
}

//! What a campaign must have reached at least once. A campaign that never escalated to a root has
//! shown nothing about escalation, however green it is.

use std::fmt;

use lictor_kernel::dynamic_supervisor::Budget;
use lictor_kernel::{Curve, Restart, Shutdown};
use lictor_topology::InHand;

use crate::record::Who;
use crate::scenario::{Role, Scenario};

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
    /// An agent on another node was restarted since that node could not be reached.
    PlacedRestarted "placed_restarted",
    /// A start on another node waited, with the node in sight, for the end of an older lease.
    FenceWaited "fence_waited",
    /// What a node ran for another one was killed since its lease was over.
    LeaseRanOut "lease_ran_out",
    /// A node ignored what another one said of remote children, since it was old.
    StaleAnswer "stale_answer",
    /// What a node ran for another one was started again on a new boot of it.
    HostRebooted "host_rebooted",
    /// A node stood still for longer than the lease of something that it ran for another one.
    LeaseSleptThrough "lease_slept_through",
}

impl Mark {
    /// Those that a run of this scenario can reach, whatever its plan: a world of one node has no
    /// peer to lose, and without a dynamic supervisor no name comes and goes.
    pub fn reachable(scenario: &Scenario) -> impl Iterator<Item = Self> {
        let has = Has::of(scenario);
        Self::ALL.iter().copied().filter(move |mark| has.can_reach(*mark))
    }
}

/// What a scenario has, as far as it matters to what can be reached.
struct Has {
    nodes: usize,
    agents: bool,
    /// A child whose crash is followed by a restart, of a supervisor that counts them.
    restarts: bool,
    /// The same of a supervisor that is itself a child.
    subtree: bool,
    siblings: bool,
    backoff: bool,
    shutdown_deadline: bool,
    small_mailbox: bool,
    drops_in_hand: bool,
    dynamic: bool,
    /// An agent that runs on another node than its supervisor.
    placed: bool,
}

impl Has {
    fn of(scenario: &Scenario) -> Self {
        let restarts = |who: Who| scenario.entity(who).spec.restart != Restart::Temporary;
        let agents = || scenario.all().filter_map(|(who, _)| Some((who, scenario.agent(who)?)));
        let below = |role: &Role| match role {
            Role::Supervisor(_, below) => below.clone(),
            Role::Dynamic(config, below) if config.budget == Budget::Shared => below.clone(),
            Role::Dynamic(..) | Role::Agent(_) => Vec::new(),
        };
        let counting = |root: bool| {
            let all = scenario.all().filter(move |(_, entity)| entity.parent.is_none() == root);
            let all = all.filter(move |(who, _)| root || restarts(*who));
            all.flat_map(move |(_, entity)| below(&entity.role)).any(restarts)
        };
        let (mut siblings, mut backoff, mut dynamic) = (false, false, false);
        for (_, entity) in scenario.all() {
            let (wait, children) = match &entity.role {
                Role::Supervisor(config, children) => (config.backoff, children),
                Role::Dynamic(config, children) => (config.backoff, children),
                Role::Agent(_) => continue,
            };
            dynamic |= matches!(entity.role, Role::Dynamic(..));
            siblings |= children.iter().filter(|who| scenario.agent(**who).is_some()).count() > 1;
            backoff |= wait.curve != Curve::None && children.iter().any(|who| restarts(*who));
        }
        let mut shutdowns = agents().map(|(who, _)| scenario.entity(who).spec.shutdown);
        Self {
            nodes: scenario.nodes(),
            agents: agents().next().is_some(),
            restarts: counting(true) || counting(false),
            subtree: counting(false),
            siblings,
            backoff,
            shutdown_deadline: shutdowns.any(|how| matches!(how, Shutdown::Timeout(_))),
            small_mailbox: agents().any(|(_, agent)| agent.mailbox.size <= FILLED),
            drops_in_hand: agents().any(|(_, agent)| agent.in_hand == InHand::Drop),
            dynamic,
            placed: scenario.all().any(|(_, entity)| entity.host.is_some()),
        }
    }

    const fn can_reach(&self, mark: Mark) -> bool {
        match mark {
            Mark::Rebooted => true,
            Mark::EscalatedToRoot | Mark::WindowEdge | Mark::FailedRestart => self.restarts,
            Mark::SubtreeRestarted => self.subtree,
            Mark::FailureMidSweep | Mark::SimultaneousDeaths => self.siblings,
            Mark::KilledAtDeadline => self.shutdown_deadline,
            Mark::ShutdownDuringBackoff => self.backoff,
            Mark::MailboxFull => self.small_mailbox,
            Mark::AskedCrashed => self.drops_in_hand,
            Mark::QueuedOverRestart
            | Mark::StaleFact
            | Mark::SentToDown
            | Mark::AskTimedOut
            | Mark::LateAnswer => self.agents,
            Mark::NameReused => self.dynamic,
            Mark::DuplicateSuppressed | Mark::Reconnected | Mark::LinkOverflow => self.nodes > 1,
            Mark::ConflictResolved => self.nodes > 2,
            Mark::PlacedRestarted
            | Mark::FenceWaited
            | Mark::LeaseRanOut
            | Mark::StaleAnswer
            | Mark::HostRebooted
            | Mark::LeaseSleptThrough => self.placed,
        }
    }
}

/// The largest mailbox that plans fill.
const FILLED: u32 = 1_000;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn missing(children: &str, nodes: usize) -> BTreeSet<&'static str> {
        let text = format!("supervision: {{backoff: NONE, children: [{children}]}}");
        let options = lictor_topology::Options::default();
        let topology = lictor_topology::parse("t", text.as_bytes(), &options).unwrap();
        let scenario = Scenario::new(topology, nodes).unwrap();
        let can: BTreeSet<Mark> = Mark::reachable(&scenario).collect();
        Mark::ALL.iter().filter(|mark| !can.contains(mark)).map(|mark| mark.name()).collect()
    }

    #[test]
    fn a_scenario_reaches_what_it_has_the_means_for() {
        const NETWORK: [&str; 3] = ["duplicate_suppressed", "link_overflow", "reconnected"];
        let one = "{agent: {name: a, type: t}}";
        let mut alone = missing(one, 1);
        for mark in NETWORK {
            assert!(alone.remove(mark), "{mark}");
        }
        let pairs = ["failure_mid_sweep", "simultaneous_deaths"];
        let others =
            ["conflict_resolved", "name_reused", "shutdown_during_backoff", "subtree_restarted"];
        const PLACED: [&str; 6] = [
            "fence_waited",
            "host_rebooted",
            "lease_ran_out",
            "lease_slept_through",
            "placed_restarted",
            "stale_answer",
        ];
        assert_eq!(alone, pairs.into_iter().chain(others).chain(PLACED).collect());
        let all = "{agent: {name: a, type: t}}, {agent: {name: b, type: t}}, \
                   {type: dynamic_supervisor, name: d}, {supervisor: {name: s, children: \
                   [{agent: {name: c, type: t}}]}}";
        assert_eq!(missing(all, 3), BTreeSet::from(PLACED), "nothing is placed");
        let two = PLACED.into_iter().chain(["conflict_resolved"]).collect();
        assert_eq!(missing(all, 2), two);
        let temporary = missing("{agent: {name: a, type: t, restart: temporary}}", 1);
        let restarts = ["escalated_to_root", "failed_restart", "window_edge"];
        assert!(restarts.iter().all(|mark| temporary.contains(mark)), "{temporary:?}");
    }
}

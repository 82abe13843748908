//! The faults that a plan can have: what each does, where, by how much, and on which engines.
//!
//! One flat list of kinds with one amount each, and not a struct for each kind: a plan's reader,
//! writer, generator and shrinker then need no code for a single kind.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::plan::{HORIZON_MAX, nanos};
use crate::record::{NodeIx, Who};
use lictor_kernel::Instant;

/// A fault of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// When it begins, on the world's clock.
    pub at: Instant,
    /// How long it holds; zero for one that happens in an instant.
    pub lasts: Duration,
    /// What.
    pub kind: Kind,
    /// Where.
    pub target: Target,
    /// By how much, in the unit of the kind ([`Facts::amount`]); 0 for kinds without.
    pub amount: u64,
}

/// Where a fault is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// Everywhere.
    World,
    /// At one node.
    Node(NodeIx),
    /// Between two nodes; from the first to the second, for kinds with a direction.
    Link(NodeIx, NodeIx),
    /// At an agent, or at a supervisor and what is below it.
    Who(Who),
}

/// Where a kind of fault can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// [`Target::World`].
    World,
    /// [`Target::Node`].
    Node,
    /// [`Target::Link`].
    Link,
    /// [`Target::Who`], an agent.
    Agent,
    /// [`Target::Who`], a supervisor.
    Supervisor,
}

/// The unit of a kind's amount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unit {
    /// It has no amount.
    None,
    /// Parts in a million, at most 1,000,000.
    PerMillion,
    /// Nanoseconds.
    Time,
    /// A number of things.
    Count,
}

/// Which engines can do a kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Engines {
    /// The kernel world (tier 1).
    pub kernel: bool,
    /// The virtual executor (tier 1.5).
    pub virtual_executor: bool,
    /// Turmoil (tier 2).
    pub turmoil: bool,
}

/// What is to be known of a kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Facts {
    /// Its name in plans.
    pub name: &'static str,
    /// The group by which swarms switch it.
    pub group: Group,
    /// Where it can be.
    pub place: Place,
    /// Whether it holds for a time.
    pub lasts: bool,
    /// The unit of its amount.
    pub amount: Unit,
    /// On which engines.
    pub engines: Engines,
    /// What it does, in a sentence.
    pub what: &'static str,
}

macro_rules! words {
    ($(#[$of:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$of])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its word in files and on the command line.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// A group of faults, the unit in which a swarm switches them off.
    Group {
        /// Between nodes.
        Network "network",
        /// On the connection that carries the frames.
        Connection "connection",
        /// Of agents and nodes.
        Process "process",
        /// Of several children at once, or at the worst moment.
        Supervision "supervision",
        /// Of clocks and timers.
        Clock "clock",
        /// Of the order in which tasks run.
        Scheduling "scheduling",
        /// Of futures.
        Async "async",
        /// Of a message broker.
        Broker "broker",
        /// Of checkpoint stores.
        Storage "storage",
        /// Of limits.
        Resources "resources",
    }
}

macro_rules! kinds {
    ($($variant:ident $name:literal $group:ident $place:ident $lasts:literal
       $unit:ident [$k:literal $v:literal $t:literal] $what:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind { $(#[doc = $what] $variant,)* }

        impl Kind {
            /// All of them, in the order of their groups.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What is to be known of it.
            #[must_use]
            pub const fn facts(self) -> Facts {
                match self { $(Self::$variant => Facts {
                    name: $name,
                    group: Group::$group,
                    place: Place::$place,
                    lasts: $lasts,
                    amount: Unit::$unit,
                    engines: Engines {
                        kernel: $k == 1, virtual_executor: $v == 1, turmoil: $t == 1,
                    },
                    what: $what,
                },)* }
            }
        }
    };
}

// Columns: name, group, place, whether it lasts, unit of the amount, engines (1, 1.5, 2). A plan
// with a kind that an engine does not have is refused there, and made without it.
kinds! {
    Partition "partition" Network Link true None [1 1 1]
        "Nothing passes between two nodes, in either direction.",
    OneWay "one_way" Network Link true None [1 1 1]
        "Nothing passes from the first node to the second.",
    Isolate "isolate" Network Node true None [1 1 1]
        "Nothing passes between the node and any other.",
    Bridge "bridge" Network Node true None [1 1 1]
        "All others are cut from each other, and each reaches the node.",
    Flap "flap" Network Link true Time [1 1 1]
        "The link is cut and mended in turn, each for this long.",
    Loss "loss" Network Link true PerMillion [1 1 0]
        "Frames from the first node to the second are lost with this chance.",
    Duplicate "duplicate" Network Link true PerMillion [1 1 0]
        "Frames from the first node to the second come twice with this chance.",
    Reorder "reorder" Network Link true PerMillion [1 1 0]
        "Frames from the first node to the second are overtaken with this chance.",
    Latency "latency" Network Link true Time [1 1 1]
        "Frames from the first node to the second take this much longer.",
    Jam "jam" Network Link true None [1 1 1]
        "Frames between two nodes are held, and come in a burst at the end.",
    Overflow "overflow" Network Link true Count [1 1 0]
        "No more frames than this are under way from the first node to the second.",
    SlowReceiver "slow_receiver" Network Node true Time [1 1 0]
        "The node takes one frame in this time, until it is two seconds behind.",
    Refuse "refuse" Connection Link true None [1 1 1]
        "The connection between two nodes breaks, and new ones are refused.",
    Reset "reset" Connection Link false None [1 1 1]
        "The connection breaks, and what is under way on it is lost.",
    HalfOpen "half_open" Connection Link true None [1 1 1]
        "The first node's connection to the second stays open, and nothing comes.",
    PartialFrame "partial_frame" Connection Link false None [1 1 1]
        "The connection breaks in the middle of the next frame from the first node to the second.",
    Garbage "garbage" Connection Link false Count [1 1 1]
        "This many bytes of garbage come instead of the next frame from the first node to the \
         second.",
    Crash "crash" Process Agent false None [1 1 1]
        "The agent crashes.",
    CrashLoop "crash_loop" Process Agent true Time [1 1 1]
        "Each incarnation of the agent crashes this long after it is up.",
    CrashInStart "crash_in_start" Process Agent true None [1 1 1]
        "Starts of the agent fail.",
    IgnoreStart "ignore_start" Process Agent true None [1 1 1]
        "Starts of the agent find nothing to start.",
    HangInStart "hang_in_start" Process Agent true None [1 1 1]
        "Starts of the agent do not return while this holds.",
    CrashInStop "crash_in_stop" Process Agent true None [1 1 1]
        "The agent crashes when it is told to stop.",
    IgnoreShutdown "ignore_shutdown" Process Agent true None [1 1 1]
        "The agent does not stop when it is told to, while this holds; it can be killed.",
    SlowStop "slow_stop" Process Agent true Time [1 1 1]
        "The agent takes this much longer to stop.",
    SlowStart "slow_start" Process Agent true Time [1 1 1]
        "The agent takes this much longer to start.",
    Slow "slow" Process Agent true Time [1 1 1]
        "The agent takes this much longer over each message.",
    CrashNode "crash_node" Process Node true None [1 1 1]
        "The node ends at once with all that it holds, its peers see their connections end, and it \
         boots again at the end of the time.",
    PowerLoss "power_loss" Process Node true None [1 1 1]
        "As crash_node, but its peers see nothing.",
    Exit "exit" Supervision Agent false None [1 1 1]
        "The agent ends by itself, cleanly.",
    CrashAll "crash_all" Supervision Supervisor false None [1 1 1]
        "All agents below the supervisor crash in one instant.",
    CrashAtEdge "crash_at_edge" Supervision Agent false Count [1 1 0]
        "The agent crashes a nanosecond before (0), exactly when (1), or a nanosecond after (2) \
         its last crash leaves the restart window.",
    CrashInSweep "crash_in_sweep" Supervision Supervisor true None [1 1 0]
        "While this holds, whenever the supervisor stops a child, another one that is up crashes.",
    RepeatExit "repeat_exit" Supervision Agent false None [1 0 0]
        "The supervisor is told once more of the agent's last end, which it knows already.",
    Skew "skew" Clock Node true Time [1 1 0]
        "The node's clock is ahead by this much.",
    Drift "drift" Clock Node true PerMillion [1 1 0]
        "The node's clock runs fast by this share.",
    LateTimers "late_timers" Clock Node true Time [1 1 0]
        "Timers of the node fire this much late.",
    Starve "starve" Scheduling Agent true None [0 1 0]
        "The agent's task runs only when no other can.",
    SlowHost "slow_host" Scheduling Node true Count [0 1 0]
        "Agents of the node run this many microseconds after they were woken.",
    DropFuture "drop_future" Async Agent false Count [0 1 0]
        "The agent's task is dropped at this poll of it, counted from now.",
    SpuriousWake "spurious_wake" Async Agent true Time [0 1 0]
        "The agent's task is woken every so often for nothing.",
    PanicInPoll "panic_in_poll" Async Agent false Count [0 1 0]
        "The agent's task panics at this poll of it, counted from now.",
    SlowConsumer "slow_consumer" Broker Node true None [1 0 0]
        "The node takes nothing from the broker: NATS cuts it off when too much is pending, \
         JetStream delivers again, ZeroMQ drops.",
    RestartBroker "restart_broker" Broker World false Count [1 0 0]
        "The broker restarts, without its state (0) or with it (1).",
    Redeliver "redeliver" Broker Node false Count [1 0 0]
        "JetStream delivers the last messages to the node once more, this many, 64 at most.",
    HighWater "high_water" Broker Node true Count [1 0 0]
        "The ZeroMQ proxy drops what is above this mark of what is pending for the node.",
    LoseUnsynced "lose_unsynced" Storage Node false None [1 1 1]
        "Checkpoints of the node that were not synced are lost; they are 50 ms after the write.",
    CorruptStore "corrupt_store" Storage Node true PerMillion [1 1 1]
        "Checkpoints of the node cannot be read with this chance, and starts fail for it.",
    FullStore "full_store" Storage Node true None [1 1 1]
        "Checkpoints of the node cannot be written, and agents crash for it.",
    FillMailbox "fill_mailbox" Resources Agent false Count [1 1 1]
        "This many messages come to the agent at once.",
    Outlive "outlive" Process Node true None [1 0 0]
        "The node is taken for dead and boots anew, while what its older boot runs for other nodes \
         lives on, cut off from all.",
    Pause "pause" Process Node true None [1 1 0]
        "Nothing of the node runs: no timer fires and what comes to it waits, while its clock goes \
         on. At the end all that has waited comes at once, in any order.",
}

impl Kind {
    /// What its amount may be, in its unit; `0..=0` for kinds without. Counts end where a larger
    /// one would only cost memory.
    #[must_use]
    pub const fn amounts(self) -> RangeInclusive<u64> {
        match (self, self.facts().amount) {
            (_, Unit::None) => 0..=0,
            (_, Unit::PerMillion) => 0..=1_000_000,
            (_, Unit::Time) => 1..=nanos(HORIZON_MAX),
            (Self::CrashAtEdge, Unit::Count) => 0..=2,
            (Self::RestartBroker, Unit::Count) => 0..=1,
            (_, Unit::Count) => 1..=100_000,
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.facts().name == name)
    }
}

impl Fault {
    /// When it is over.
    #[must_use]
    pub fn ends(&self) -> Instant {
        self.at.saturating_add(self.lasts)
    }
}

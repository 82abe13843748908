//! How a runtime works, and what it says of itself.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{Choice, ExitReason, membership, remote};

use crate::durable::Durable;
use crate::recorder::Recorder;
#[expect(unused_imports, reason = "named in the documentation")]
use crate::runtime::Runtime;
use crate::store::{MemoryStore, StateStore};
use crate::transport::Transport;
use crate::types::AgentTypes;

/// How a runtime works.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// How long a send waits for room in a full mailbox. Default 5 seconds.
    pub send_timeout: Duration,
    /// How long [`Runtime::stop`] lets agents stop before it kills them. Default 30 seconds.
    pub stop_timeout: Duration,
    /// What happens when the root supervisor ends by itself.
    pub on_root_exit: OnRootExit,
    /// How one of several agents with a capability is chosen.
    pub choice: Choice,
    /// Seed of random choices.
    pub seed: u64,
    /// Where checkpoints are kept.
    pub store: Arc<dyn StateStore>,
    /// The agent types that may be spawned by name.
    pub types: AgentTypes,
    /// For tests: every message is encoded and decoded, as if it crossed a wire.
    pub encode_messages: bool,
    /// The wire to other nodes; by default there are none.
    pub transport: Option<Arc<dyn Transport>>,
    /// The stream through which messages go that are to be handled at least once: all that want no
    /// answer, but those of `try_send`, broadcasts and timers. By default there is none.
    pub durable: Option<Arc<dyn Durable>>,
    /// How this node takes part among others: its number, its boot epoch (greater at every start
    /// of the same node), how peers are watched, and how long their names hold.
    pub membership: membership::Config,
    /// How agents of this runtime on other nodes are treated, and those of others here: leases,
    /// and whether an older boot of this node may have left some.
    pub remote: remote::Config,
    /// A witness of what the kernel is told and decides.
    pub recorder: Option<Arc<dyn Recorder>>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            send_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(30),
            on_root_exit: OnRootExit::Stop,
            choice: Choice::Random,
            seed: 0,
            store: Arc::new(MemoryStore::default()),
            types: AgentTypes::new(),
            encode_messages: false,
            transport: None,
            durable: None,
            membership: membership::Config::default(),
            remote: remote::Config::default(),
            recorder: None,
        }
    }
}

/// What happens when the root supervisor ends by itself: its budget is used up, or a significant
/// child ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum OnRootExit {
    /// The runtime stops; [`Runtime::terminated`] says why.
    #[default]
    Stop,
    /// The runtime stays, reporting FAILED: its tree can be looked at, its names answer `Down`.
    Stay,
}

/// How [`Runtime::stop_agent`] treats what is queued.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Drain {
    /// The message in hand is finished; the rest become dead letters.
    #[default]
    Current,
    /// Everything that is queued is handled; nothing new is taken.
    All,
}

/// How a runtime ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Terminated {
    /// Why the root supervisor ended.
    pub reason: ExitReason,
    /// Whether somebody had asked for it.
    pub asked: bool,
}

/// Where a runtime is in its life, for those who watch it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuntimeStatus {
    /// Nothing was started in it, or the start has failed.
    New,
    /// Its tree is being started.
    Starting,
    /// Every child has been up.
    Running,
    /// Somebody has asked for its end.
    Stopping,
    /// It has ended.
    Stopped,
    /// Its root supervisor has ended by itself, and it stays ([`OnRootExit::Stay`]).
    Failed,
}

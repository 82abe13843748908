//! What a tree is made of, before it runs.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::dynamic_supervisor::{self, Budget};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildSpec, Intensity, NodeId, Restart, Shutdown, Strategy, supervisor,
};

use crate::agent::{Agent, InHandPolicy};
use crate::cell::{Cell, Launch};
use crate::error::StartError;
use crate::mailbox::{MailboxConfig, Overflow};
use crate::process::{Launcher, Work};
use crate::runtime::{Runtime, Shared};
use crate::started::Tree;
use crate::view::AgentKind;

/// Makes the cell, under the name that is shared with all who know it, and what launches into it.
type Build = Box<dyn FnOnce(&AgentSpec, Arc<str>, Arc<Shared>) -> Arc<dyn Launch> + Send>;

/// An agent, before it runs: a name, a factory, and how it is supervised.
///
/// By default it is transient, is given 5 seconds to stop, and has a mailbox of 1000 messages whose
/// senders wait for room.
#[must_use]
pub struct AgentSpec {
    pub(crate) name: String,
    pub(crate) kind: AgentKind,
    pub(crate) child: ChildSpec,
    pub(crate) mailbox: MailboxConfig,
    pub(crate) work: Work,
    pub(crate) capabilities: Vec<String>,
    /// The node that it runs on, and what that is called.
    pub(crate) on: Option<(NodeId, Arc<str>)>,
    pub(crate) build: Option<Build>,
}

/// An agent of this name; the factory makes each incarnation.
pub fn agent<A: Agent>(
    name: impl Into<String>,
    factory: impl Fn() -> A + Send + Sync + 'static,
) -> AgentSpec {
    let build = move |spec: &AgentSpec, name: Arc<str>, shared: Arc<Shared>| -> Arc<dyn Launch> {
        let tags = &spec.capabilities;
        let cell = Cell::<A::Message>::new(name, spec.kind, tags, spec.work, spec.mailbox, shared);
        Arc::new(Launcher { cell: Arc::new(cell), factory })
    };
    AgentSpec {
        name: name.into(),
        kind: AgentKind::Agent,
        child: ChildSpec::worker(),
        mailbox: MailboxConfig::default(),
        work: Work::DEFAULT,
        capabilities: Vec::new(),
        on: None,
        build: Some(Box::new(build)),
    }
}

/// An agent that runs in another process, which offers it by this name ([`Runtime::host`]); here is
/// only said how it is supervised.
pub fn remote_agent(name: impl Into<String>, process: &str) -> AgentSpec {
    AgentSpec {
        name: name.into(),
        kind: AgentKind::Agent,
        child: ChildSpec::worker(),
        mailbox: MailboxConfig::default(),
        work: Work::DEFAULT,
        capabilities: Vec::new(),
        on: None,
        build: None,
    }
    .at_process(process)
}

impl AgentSpec {
    pub(crate) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    pub(crate) const fn of_kind(mut self, kind: AgentKind) -> Self {
        self.kind = kind;
        self
    }

    /// Everything about how it is supervised at once.
    pub const fn as_child(mut self, child: ChildSpec) -> Self {
        self.child = child;
        self
    }

    /// When it is started again after its end.
    pub const fn restart(mut self, restart: Restart) -> Self {
        self.child.restart = restart;
        self
    }

    /// Always started again.
    pub const fn permanent(self) -> Self {
        self.restart(Restart::Permanent)
    }

    /// Started again after a failure only (the default).
    pub const fn transient(self) -> Self {
        self.restart(Restart::Transient)
    }

    /// Never started again.
    pub const fn temporary(self) -> Self {
        self.restart(Restart::Temporary)
    }

    /// How it is stopped.
    pub const fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.child.shutdown = shutdown;
        self
    }

    /// Its own end may end its supervisor; see [`AutoShutdown`].
    pub const fn significant(mut self) -> Self {
        self.child.significant = true;
        self
    }

    /// How long its start may take.
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.child.start_timeout = Some(timeout);
        self
    }

    /// How many messages its mailbox holds (the priority lane: a hundred).
    pub const fn mailbox_size(mut self, messages: u32) -> Self {
        self.mailbox.capacity = messages;
        self
    }

    /// What a full mailbox does.
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.mailbox.overflow = overflow;
        self
    }

    /// How often a message is redelivered at most (default 3). With 0, messages need not be copied.
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.work.max_retries = retries;
        self
    }

    /// How long one delivery of a message may take before it is an error.
    pub const fn handle_timeout(mut self, timeout: Duration) -> Self {
        // Where that saturates it is `NO_LIMIT`, which nobody could meet.
        let seconds = timeout.as_secs().saturating_mul(1_000_000_000);
        self.work.handle_timeout = seconds.saturating_add(timeout.subsec_nanos() as u64);
        self
    }

    /// What becomes of the message in hand at a crash.
    pub const fn in_hand(mut self, policy: InHandPolicy) -> Self {
        self.work.in_hand = policy;
        self
    }

    /// It runs in the process of this name, whose runtime has the node number
    /// [`NodeId::of_name`] and offers it ([`Runtime::host`]). In the runtime of that number itself
    /// it runs as if nothing had been said.
    ///
    /// Its start waits until that process is there, and, unless `remote.inherits` of the
    /// configuration is off, until leases that an older boot of this process may have given are
    /// over: 5.6 seconds by default. A process that is lost counts as one crash of each of its
    /// agents, so the budget of their supervisor must allow for as many.
    pub fn at_process(self, process: &str) -> Self {
        self.placed_on(NodeId::of_name(process), process)
    }

    /// As [`AgentSpec::at_process`], for a node of any number; `called` is for people.
    pub fn placed_on(mut self, node: NodeId, called: &str) -> Self {
        self.on = Some((node, Arc::from(called)));
        self
    }

    /// What it can do, for [`Runtime::send_to_capable`].
    pub fn capabilities<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.capabilities = tags.into_iter().map(Into::into).collect();
        self
    }
}

impl Debug for AgentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSpec").field("name", &self.name).field("child", &self.child).finish()
    }
}

/// A static supervisor, before it runs: its children in start order, and how it restarts them.
///
/// By default 3 restarts within 60 seconds, each after a second; as a child itself it is transient
/// and is waited for without limit when it stops.
#[derive(Debug)]
#[must_use]
pub struct Supervisor {
    pub(crate) name: String,
    pub(crate) config: supervisor::Config,
    pub(crate) child: ChildSpec,
    pub(crate) children: Vec<Child>,
}

#[derive(Debug)]
pub(crate) enum Child {
    Agent(AgentSpec),
    Supervisor(Supervisor),
    Dynamic(DynamicSupervisor),
}

macro_rules! as_a_child {
    () => {
        /// As a child: when it is started again.
        pub const fn restart(mut self, restart: Restart) -> Self {
            self.child.restart = restart;
            self
        }

        /// As a child: how it is stopped.
        pub const fn shutdown(mut self, shutdown: Shutdown) -> Self {
            self.child.shutdown = shutdown;
            self
        }

        /// As a child: its own end may end its supervisor.
        pub const fn significant(mut self) -> Self {
            self.child.significant = true;
            self
        }

        /// As a child: how long its start may take.
        pub const fn start_timeout(mut self, timeout: Duration) -> Self {
            self.child.start_timeout = Some(timeout);
            self
        }

        /// As a child: everything at once.
        pub const fn as_child(mut self, child: ChildSpec) -> Self {
            self.child = child;
            self
        }

        /// How many restarts are allowed within which time.
        pub const fn max_restarts(mut self, restarts: u32, within: Duration) -> Self {
            self.config.intensity = Intensity { max_restarts: restarts, period: within };
            self
        }

        /// The wait before a restart.
        pub const fn backoff(mut self, backoff: Backoff) -> Self {
            self.config.backoff = backoff;
            self
        }

        /// Whether the end of significant children ends the supervisor.
        pub const fn auto_shutdown(mut self, rule: AutoShutdown) -> Self {
            self.config.auto_shutdown = rule;
            self
        }

        /// Seed of the jitter (default 0); mixed with the incarnation of the supervisor.
        pub const fn seed(mut self, seed: u64) -> Self {
            self.config.seed = seed;
            self
        }
    };
}

impl Supervisor {
    fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        Self {
            name: name.into(),
            config: supervisor::Config { strategy, ..supervisor::Config::default() },
            child: ChildSpec::supervisor(),
            children: Vec::new(),
        }
    }

    /// Restarts only the child that failed.
    pub fn one_for_one(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::OneForOne)
    }

    /// Restarts all children when one failed.
    pub fn one_for_all(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::OneForAll)
    }

    /// Restarts the child that failed and all after it.
    pub fn rest_for_one(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::RestForOne)
    }

    /// With a strategy that is known only at run time.
    pub fn with_strategy(name: impl Into<String>, strategy: Strategy) -> Self {
        Self::new(name, strategy)
    }

    as_a_child!();

    /// Adds an agent with all defaults.
    pub fn child<A: Agent>(
        self,
        name: impl Into<String>,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        self.agent(agent(name, factory))
    }

    /// Adds an agent.
    pub fn agent(mut self, agent: AgentSpec) -> Self {
        self.children.push(Child::Agent(agent));
        self
    }

    /// Adds a supervisor.
    pub fn supervisor(mut self, supervisor: Self) -> Self {
        self.children.push(Child::Supervisor(supervisor));
        self
    }

    /// Adds a dynamic supervisor.
    pub fn dynamic(mut self, supervisor: DynamicSupervisor) -> Self {
        self.children.push(Child::Dynamic(supervisor));
        self
    }

    /// Starts this tree; returns when every child is up.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the tree runs then.
    pub async fn start(self, runtime: &Runtime) -> Result<Tree, StartError> {
        runtime.start(self).await
    }
}

/// A dynamic supervisor, before it runs: children are spawned under it by name of a registered
/// type.
///
/// By default each child has a budget of 3 restarts within 60 seconds, each after a second; using
/// it up removes that child and no other.
#[derive(Debug)]
#[must_use]
pub struct DynamicSupervisor {
    pub(crate) name: String,
    pub(crate) config: dynamic_supervisor::Config,
    pub(crate) child: ChildSpec,
    /// How its children are supervised.
    pub(crate) template: ChildSpec,
}

impl DynamicSupervisor {
    /// A dynamic supervisor without limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            config: dynamic_supervisor::Config::default(),
            child: ChildSpec::supervisor(),
            template: ChildSpec::worker(),
        }
    }

    as_a_child!();

    /// When its children are started again (default transient).
    pub const fn children_restart(mut self, restart: Restart) -> Self {
        self.template.restart = restart;
        self
    }

    /// How its children are stopped (default: 5 seconds).
    pub const fn children_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.template.shutdown = shutdown;
        self
    }

    /// Whose restarts one budget covers. [`Budget::Shared`] is OTP's: using it up ends the
    /// supervisor.
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.config.budget = budget;
        self
    }

    /// Children at one time.
    pub const fn max_children(mut self, limit: Option<u32>) -> Self {
        self.config.max_children = limit;
        self
    }

    /// Spawns over its life.
    pub const fn max_total_spawns(mut self, limit: Option<u64>) -> Self {
        self.config.max_total_spawns = limit;
        self
    }

    /// Children of one spawner at one time.
    pub const fn max_children_per_spawner(mut self, limit: Option<u32>) -> Self {
        self.config.max_children_per_spawner = limit;
        self
    }

    /// Spawns of one spawner over its life.
    pub const fn max_total_spawns_per_spawner(mut self, limit: Option<u64>) -> Self {
        self.config.max_total_spawns_per_spawner = limit;
        self
    }
}

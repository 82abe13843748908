//! One's own agents under crashes, cancellations and hostile schedules, in a test of a few lines.
//!
//! A [`Sim`] is a virtual executor with one or more runtimes on it, a history, and invariants that
//! are looked at after every single poll. Nothing of an agent is changed for it: faults come from
//! below, at the tasks.
//!
//! The hard case is a crash that is as good as a real one. An error that a wrapper returns, or a
//! message that says "crash", ends an agent only between two messages; most bugs are where it
//! waits in the middle of one. So a crash here takes the incarnation away from under the runtime at
//! whatever await it is.
//!
//! An agent that is to be simulated waits by [`Context::sleep`](lictor_runtime::Context::sleep) and
//! by [`Context::send_after`](lictor_runtime::Context::send_after): the timers of a real host would
//! not know of this one's time.
//!
//! Rejected: invariants that are looked at only when all is quiet. What is broken for a moment and
//! mends itself is what users see.
//!
//! ```
//! use lictor::prelude::*;
//! use lictor_sim::Sim;
//!
//! #[derive(Default)]
//! struct Counter(u64);
//! messages! { enum CounterMessage { Add(u64), Get -> u64 } }
//! impl Agent for Counter {
//!     type Message = CounterMessage;
//!     async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
//!         match message {
//!             CounterMessage::Add(Add(n)) => self.0 += n,
//!             CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut sim = Sim::new(7);
//! sim.always("the mailbox is never full", |view| {
//!     view.agents().iter().all(|agent| agent.queued < 1000)
//! });
//! sim.start(Supervisor::one_for_one("root").child("counter", Counter::default))?;
//! sim.send::<Counter, _>("counter", Add(2))??;
//! assert_eq!(sim.ask::<Counter, _>("counter", Get, secs(1))??, 2);
//! sim.crash("counter");
//! sim.advance(secs(10))?;
//! assert_eq!(sim.ask::<Counter, _>("counter", Get, secs(1))??, 0); // a fresh incarnation
//! sim.finish()?;
//! # Ok(())
//! # }
//! ```

mod checks;
mod explore;
mod failure;
mod faults;
mod history;
mod network;
mod nodes;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};
use lictor_runtime::{
    Agent, AskError, ReplyTo, Request, Runtime, RuntimeConfig, SendError, Supervisor, Tree,
};

use self::checks::Checks;
pub use self::checks::{Verdict, View};
pub use self::explore::explore;
pub use self::failure::{Failure, FailureKind};
use self::history::History;
pub use self::history::{SimEvent, What};
use self::network::Network;
pub use self::network::Wire;
use crate::executor::{Config, Schedule, Stuck, TaskId, VirtualExecutor, Watch};

/// Agents in virtual time. See the [module](self).
///
/// Every method that runs anything checks all invariants after every poll and returns the first
/// [`Failure`]. A simulation that has failed stays where it is, to be looked at.
pub struct Sim {
    seed: u64,
    /// Before the executor, so that no task is dropped while its runtime is thought to run.
    checks: Checks,
    history: History,
    nodes: Vec<Node>,
    /// Older boots of nodes, which may still be alive.
    former: Vec<Runtime>,
    /// Those that are on the wire, by name.
    peers: BTreeMap<Arc<str>, NodeId>,
    /// The tasks of nodes that are paused.
    paused: BTreeMap<Arc<str>, Vec<TaskId>>,
    network: Arc<Network>,
    executor: VirtualExecutor,
}

/// One runtime.
pub(crate) struct Node {
    name: Arc<str>,
    runtime: Runtime,
    /// Which boot it is, from 1.
    epoch: u64,
}

impl Sim {
    /// One runtime without a name, under the schedule of [`Schedule::of_seed`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, Config { seed, ..Config::of(Schedule::of_seed(seed)) })
    }

    /// As [`Sim::new`], on a host of this configuration.
    #[must_use]
    pub fn with_config(seed: u64, config: Config) -> Self {
        let runtime = RuntimeConfig { seed, ..RuntimeConfig::default() };
        Self::empty(seed, config).with_node("", runtime)
    }

    /// No runtime yet; see [`Sim::with_node`].
    #[must_use]
    pub fn empty(seed: u64, config: Config) -> Self {
        let executor = VirtualExecutor::with_config(config);
        Self {
            seed,
            checks: Checks::default(),
            history: History::default(),
            nodes: Vec::new(),
            former: Vec::new(),
            peers: BTreeMap::new(),
            paused: BTreeMap::new(),
            network: Network::new(executor.host("wire"), seed),
            executor,
        }
    }

    /// With one more runtime. Its agents are called `name/agent` here, or just `agent` if `name`
    /// is empty.
    ///
    /// # Panics
    /// When there is a runtime of this name.
    #[must_use]
    pub fn with_node(mut self, name: &str, config: RuntimeConfig) -> Self {
        assert!(!self.nodes.iter().any(|node| &*node.name == name), "two nodes named {name:?}");
        let runtime = Runtime::with_config(self.executor.host(name), config);
        let name = Arc::from(name);
        self.history.watch(Arc::clone(&name), &runtime);
        self.nodes.push(Node { name, runtime, epoch: 1 });
        self
    }

    /// Starts a tree in the first runtime; returns when every child is up. A topology file is
    /// started as `sim.start(lictor::load(path, &types)?)`.
    ///
    /// # Errors
    /// [`FailureKind::Start`], and whatever happens meanwhile.
    pub fn start(&mut self, tree: Supervisor) -> Result<Tree, Failure> {
        let node = self.nodes.first().map(|node| Arc::clone(&node.name));
        self.start_on(&node.unwrap_or_else(|| Arc::from("")), tree)
    }

    /// As [`Sim::start`], in the runtime of this name.
    ///
    /// # Errors
    /// As [`Sim::start`].
    ///
    /// # Panics
    /// When there is no such runtime.
    pub fn start_on(&mut self, node: &str, tree: Supervisor) -> Result<Tree, Failure> {
        let runtime = self.runtime_of(node).clone();
        let started = self.block_on(async move { runtime.start(tree).await })?;
        started.map_err(|error| self.fail(FailureKind::Start(error)))
    }

    /// Runs a future, and everything else meanwhile, until it is ready. Time passes as needed.
    ///
    /// # Errors
    /// [`FailureKind::Stuck`], if nobody will ever wake it; whatever happens meanwhile.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        self.drive(|executor, watch| executor.block_on_watched(future, watch))
    }

    /// Runs everything for so long.
    ///
    /// # Errors
    /// Whatever happens meanwhile.
    pub fn advance(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.executor.now().saturating_add(time);
        self.drive(|executor, watch| executor.run_until_watched(until, watch))
    }

    /// Runs everything that can run without time passing.
    ///
    /// # Errors
    /// Whatever happens meanwhile.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.drive(|executor, watch| executor.run_until_idle_watched(watch))
    }

    /// Spawns a client: a task that is not an agent, such as one that sends requests.
    pub fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn_client(name, future);
    }

    /// Sends a message and waits until it is taken.
    ///
    /// # Errors
    /// Whatever happens meanwhile; inside, what the sender is told.
    pub fn send<A: Agent, M>(
        &mut self,
        agent: &str,
        message: M,
    ) -> Result<Result<(), SendError>, Failure>
    where
        A::Message: From<M>,
    {
        let (node, name) = self.find(agent);
        let agent = match self.runtime_of(&node).agent::<A>(&name) {
            Ok(agent) => agent,
            Err(error) => return Ok(Err(error)),
        };
        self.block_on(async move { agent.send(message).await })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Whatever happens meanwhile; inside, what the asker is told.
    pub fn ask<A: Agent, Q>(
        &mut self,
        agent: &str,
        question: Q,
        timeout: Duration,
    ) -> Result<Result<Q::Reply, AskError>, Failure>
    where
        Q: Request,
        A::Message: From<(Q, ReplyTo<Q::Reply>)>,
    {
        let (node, name) = self.find(agent);
        let agent = match self.runtime_of(&node).agent::<A>(&name) {
            Ok(agent) => agent,
            Err(error) => return Ok(Err(error.into())),
        };
        self.block_on(async move { agent.ask(question, timeout).await })
    }

    /// Stops every runtime, the last one first, and checks that nothing is left: no task but
    /// those sleeps of a runtime that somebody still has in hand, and no promise of
    /// [`Sim::eventually`].
    ///
    /// # Errors
    /// [`FailureKind::Orphans`], [`FailureKind::Eventually`]; whatever happens meanwhile.
    pub fn finish(mut self) -> Result<(), Failure> {
        while let Some(runtime) = self.nodes.last().map(|node| node.runtime.clone()) {
            self.block_on(async move { runtime.stop().await })?;
            self.nodes.pop();
        }
        while let Some(runtime) = self.former.pop() {
            self.block_on(async move { runtime.stop().await })?;
        }
        // A wire stays for its goodbyes.
        self.advance(Duration::from_secs(1))?;
        let mut left = self.executor.tasks();
        left.retain(|task| !task.name.ends_with("#timers"));
        if !left.is_empty() {
            return Err(self.fail(FailureKind::Orphans(left)));
        }
        match self.checks.unkept() {
            Some(name) => Err(self.fail(FailureKind::Eventually { name })),
            None => Ok(()),
        }
    }

    /// The first runtime.
    ///
    /// # Panics
    /// When there is none ([`Sim::empty`]).
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.nodes.first().expect("a simulation without a runtime").runtime
    }

    /// The runtime of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn runtime_of(&self, node: &str) -> &Runtime {
        let found = self.nodes.iter().find(|found| &*found.name == node);
        &found.unwrap_or_else(|| panic!("no node named {node:?}")).runtime
    }

    /// What runs it all: tasks, counters, finer faults.
    #[must_use]
    pub const fn executor(&self) -> &VirtualExecutor {
        &self.executor
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.executor.now()
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// What has happened, oldest first: the last 4096.
    #[must_use]
    pub fn events(&self) -> &[SimEvent] {
        self.history.all()
    }

    /// The node and the agent in `node/agent`.
    fn find(&self, agent: &str) -> (Arc<str>, String) {
        let (node, agent) = agent.split_once('/').unwrap_or(("", agent));
        let first = self.nodes.first().map(|node| Arc::clone(&node.name));
        let named = self.nodes.iter().find(|found| &*found.name == node);
        let node = named.map(|node| Arc::clone(&node.name)).or(first);
        (node.unwrap_or_else(|| Arc::from("")), agent.to_owned())
    }

    /// Runs something, looking at everything after every step.
    fn drive<T>(
        &mut self,
        run: impl FnOnce(&VirtualExecutor, Watch<'_>) -> Result<T, Stuck>,
    ) -> Result<T, Failure> {
        let Self { executor, checks, nodes, history, .. } = self;
        let mut broken = None;
        let mut step = || {
            let Some(kind) = checks.look(executor, nodes, history) else {
                return ControlFlow::Continue(());
            };
            broken = Some(kind);
            ControlFlow::Break(())
        };
        let mut result = run(executor, &mut step);
        if result.is_ok() && step().is_break() {
            result = Err(Stuck::ShutDown);
        }
        match (broken, result) {
            (Some(kind), _) => Err(self.fail(kind)),
            (None, Ok(output)) => Ok(output),
            (None, Err(stuck)) => Err(self.fail(FailureKind::Stuck(stuck))),
        }
    }

    fn fail(&self, kind: FailureKind) -> Failure {
        Failure::new(self.seed, &self.executor, &self.history, kind)
    }
}

impl Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

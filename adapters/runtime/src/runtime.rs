//! A runtime: one tree of agents in one process, and the handle that reaches it.

mod look;

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor_kernel::node::{self, Node};
use lictor_kernel::{ExitReason, Glob, GlobError, Match, Names, Router};

use crate::agent::Agent;
use crate::cell::{AnyCell, Cell, Patience, Way};
use crate::config::{Drain, RuntimeConfig, Terminated};
use crate::directory::Directory;
use crate::driver::{Command, Dynamic, StopHow, Wish, World, carry_out, drive, run_wire};
use crate::durable::Streams;
use crate::error::{AskError, ControlError, SendError, StartError};
use crate::events::{EventHub, EventKind};
use crate::executor::{Executor, Role};
use crate::inbox::Inbox;
use crate::mailbox::Lane;
use crate::message::{Message, Value, is_reserved};
use crate::peers::Peers;
use crate::refs::{AgentRef, RawRef};
use crate::reply::{ReplyTo, reply_slot};
use crate::spec::Supervisor;
use crate::started::Tree;
use crate::timers::Timers;
use crate::token::Token;
use crate::types::Setup;

/// Where a runtime is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    New,
    Starting,
    Running,
    Stopping,
    Stopped,
    /// The root ended by itself.
    Failed,
}

/// What a name stands for.
pub(crate) type Entry = dyn AnyCell;

pub(crate) struct Shared {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) timers: Timers,
    directory: Arc<Directory<Entry>>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) config: RuntimeConfig,
    events: EventHub,
    world: Mutex<World>,
    terminated: Mutex<Option<Terminated>>,
    /// Raised when that is known.
    over: Token,
    /// The wire, if there is one.
    pub(crate) peers: Option<Arc<Peers>>,
    /// The stream, if there is one.
    pub(crate) streams: Option<Arc<Streams>>,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terminated(&self) -> MutexGuard<'_, Option<Terminated>> {
        self.terminated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox of a name of this node.
    pub(crate) fn local(&self, name: &str) -> Option<Arc<dyn AnyCell>> {
        self.directory.get(name)
    }

    pub(crate) fn emit(&self, kind: EventKind) {
        self.events.emit(|| self.executor.now(), kind);
    }

    /// The tree has ended; called by the driver as its last act.
    pub(crate) fn ended(&self, terminated: Option<Terminated>, phase: Phase) {
        if terminated.is_none() {
            return;
        }
        *self.terminated() = terminated;
        if phase == Phase::Stopped {
            self.events.close();
        }
        self.over.raise();
    }
}

/// A runtime. Cheap to clone: every clone is the same runtime.
///
/// A process may have as many runtimes as it likes; they share nothing.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
}

impl Runtime {
    /// A runtime on this executor, with defaults. Nothing runs until a tree is started in it.
    #[must_use]
    pub fn on(executor: Arc<dyn Executor>) -> Self {
        Self::with_config(executor, RuntimeConfig::default())
    }

    /// A runtime on this executor.
    #[must_use]
    pub fn with_config(executor: Arc<dyn Executor>, config: RuntimeConfig) -> Self {
        let (seed, membership, remote) = (config.seed, config.membership, config.remote);
        let node = Node::new(node::Config { seed, membership, remote, ..node::Config::default() });
        let inbox = Arc::new(Inbox::new());
        drop(inbox.set_closed(true));
        let directory = Arc::new(Directory::new());
        let mut world = World::new(
            node,
            config.on_root_exit,
            Arc::clone(&directory),
            Arc::clone(&inbox),
            config.recorder.clone(),
        );
        world.hosting.patience = config.stop_timeout;
        let peers = config.transport.clone();
        let peers = peers.map(|wire| Arc::new(Peers::new(wire, config.membership.epoch)));
        let streams = config.durable.clone().map(|it| Streams::new(it, membership));
        let shared = Shared {
            timers: Timers::new(Arc::clone(&executor)),
            executor,
            directory,
            inbox,
            config,
            events: EventHub::default(),
            world: Mutex::new(world),
            terminated: Mutex::new(None),
            over: Token::new(),
            peers,
            streams,
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) const fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Starts a tree; returns when every child is up. Everything is checked before anything is
    /// started, and a start that fails is rolled back: the runtime is then as it was before.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the tree runs then.
    pub async fn start(&self, mut root: Supervisor) -> Result<Tree, StartError> {
        let (answer, started) = reply_slot();
        let effects = {
            let mut world = self.shared.world();
            if world.phase != Phase::New {
                return Err(StartError::AlreadyStarted);
            }
            let plan = match world.assemble(&self.shared, &mut root) {
                Ok(plan) => plan,
                Err(error) => {
                    world.tear_down();
                    let effects = world.take_effects();
                    drop(world);
                    carry_out(&self.shared, effects);
                    return Err(error);
                }
            };
            drop(self.shared.inbox.set_closed(false));
            world.start(&self.shared, &plan, answer);
            world.take_effects()
        };
        let over = self.shared.world().new_wire();
        // What is left of it is the user's, and was not to be dropped under the lock.
        drop(root);
        // A tree without workers may be up, and a tree may even be over, already.
        if !carry_out(&self.shared, effects) {
            run_wire(&self.shared, &over);
            let driver = drive(Arc::clone(&self.shared));
            self.shared.executor.spawn_as(Role::Driver, driver);
        }
        match started.await {
            Ok(Ok(())) => Ok(Tree { runtime: self.clone() }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Stopped),
        }
    }

    /// Stops the tree within [`RuntimeConfig::stop_timeout`]: children in reverse start order, each
    /// with its own timeout; what is left then is killed. Returns when nothing of it is left.
    /// Calling it again, or before a start, is fine.
    pub async fn stop(&self) {
        self.stop_within(self.shared.config.stop_timeout).await;
    }

    /// As [`Runtime::stop`], with another bound. A later call can only shorten the bound.
    pub async fn stop_within(&self, timeout: Duration) {
        self.stop_tree(timeout).await;
        self.shared.settle().await;
    }

    async fn stop_tree(&self, timeout: Duration) {
        let deadline = Some(self.shared.executor.now().saturating_add(timeout));
        loop {
            let (answer, stopped) = reply_slot();
            if self.shared.inbox.command(Command::Stop { deadline, answer }) {
                // A driver that has just ended drops the answer: then it has stopped, too.
                let _ = stopped.await;
            }
            let mut world = self.shared.world();
            match world.phase {
                Phase::Stopped => return,
                // A start came between the command and this look: it has a driver to be told.
                Phase::Starting | Phase::Running | Phase::Stopping => continue,
                Phase::New | Phase::Failed => {}
            }
            let never_ran = world.phase == Phase::New;
            world.phase = Phase::Stopped;
            world.tear_down();
            let effects = world.take_effects();
            drop(world);
            carry_out(&self.shared, effects);
            self.shared.events.close();
            if never_ran {
                let terminated = Terminated { reason: ExitReason::Shutdown, asked: true };
                self.shared.ended(Some(terminated), Phase::Stopped);
            }
            return;
        }
    }

    /// Waits until the tree has ended, by itself or because somebody asked. Cancel-safe.
    pub async fn terminated(&self) -> Terminated {
        self.shared.over.raised().await;
        let terminated = *self.shared.terminated();
        terminated.unwrap_or_else(|| unreachable!("it is known before the token is raised"))
    }

    /// A reference to an agent of a known type, on this node. It survives restarts. What lives on
    /// another node is reached by [`Runtime::raw`] or by name: its type cannot be checked here.
    ///
    /// # Errors
    /// `Unknown`; `WrongType` for an agent with other messages; `Remote` for one of another node.
    pub fn agent<A: Agent>(&self, name: &str) -> Result<AgentRef<A>, SendError> {
        let Some(cell) = self.shared.local(name) else {
            let raw = self.known(name)?;
            return Err(SendError::Remote { name: Arc::from(raw.name()) });
        };
        match cell.into_any().downcast::<Cell<A::Message>>() {
            Ok(cell) => Ok(AgentRef::new(cell)),
            Err(_) => Err(SendError::WrongType { name: Arc::from(name) }),
        }
    }

    /// A reference to an agent of any type, on whatever node. It survives restarts, and one to an
    /// agent of another node also that it moves.
    ///
    /// With a stream also to a name that nobody has now: the stream knows who has had it.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn raw(&self, name: &str) -> Result<RawRef, SendError> {
        match self.known(name) {
            Err(SendError::Unknown { name })
                if self.shared.streams.is_some() && Names::check(&name).is_ok() =>
            {
                Ok(RawRef::remote(Arc::clone(&self.shared), name))
            }
            known => known,
        }
    }

    fn known(&self, name: &str) -> Result<RawRef, SendError> {
        if let Some(cell) = self.shared.local(name) {
            return Ok(RawRef::local(cell));
        }
        let name = Arc::from(name);
        if self.shared.peers.is_none() {
            return Err(SendError::Unknown { name });
        }
        match self.shared.hop(&name) {
            // It is there, though it cannot be reached now.
            Ok(_) | Err(SendError::Down { .. } | SendError::Unreachable { .. }) => {
                Ok(RawRef::remote(Arc::clone(&self.shared), name))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a raw message to the agent of this name.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, to: &str, message: Message) -> Result<(), SendError> {
        self.raw(to)?.send(message).await
    }

    /// Asks the agent of this name; `timeout` covers the enqueuing and the answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(
        &self,
        to: &str,
        message: Message,
        timeout: Duration,
    ) -> Result<Value, AskError> {
        self.raw(to)?.ask(message, timeout).await
    }

    /// Sends a raw message to every agent whose name matches the pattern (`*`, `?`, `[a-z]`,
    /// `[!a-z]`), in name order, and says how many took it.
    ///
    /// # Errors
    /// `BadPattern`, `Reserved`. A receiver that is down, full or does not understand is skipped.
    pub async fn broadcast(
        &self,
        pattern: &str,
        kind: &str,
        payload: Value,
    ) -> Result<usize, SendError> {
        self.broadcast_from(None, pattern, kind, payload).await
    }

    #[expect(clippy::unused_async, reason = "agents of other nodes will have to be waited for")]
    pub(crate) async fn broadcast_from(
        &self,
        sender: Option<Arc<str>>,
        pattern: &str,
        kind: &str,
        payload: Value,
    ) -> Result<usize, SendError> {
        let bad = |error: &dyn fmt::Display| SendError::BadPattern { detail: error.to_string() };
        let glob = Glob::new(pattern).map_err(|error| bad(&error))?;
        if is_reserved(kind) {
            return Err(SendError::Reserved { kind: kind.to_owned() });
        }
        let mut routes = Vec::new();
        let targets: Vec<RawRef> = {
            let mut world = self.shared.world();
            let now = self.shared.executor.now();
            let own = sender.as_deref().and_then(|name| world.node.names().lookup(name));
            let (names, registry, _, _) = world.node.parts();
            Router::broadcast(now, registry, names, &glob, own, &mut routes);
            routes.iter().filter_map(|route| world.target_of(&self.shared, route)).collect()
        };
        let mut taken = 0;
        // Without waiting: one full mailbox must not keep the message from all the others.
        for target in targets {
            let mut message = Message::new(kind, payload.clone());
            if let Some(sender) = &sender {
                message = message.sent_by(Arc::clone(sender));
            }
            if target.try_send(message).is_ok() {
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Sends a message to every agent of this node that understands it and whose name matches the
    /// pattern (as for [`Runtime::broadcast`]), in name order, and says how many took it. The
    /// message is copied and not encoded, so this is the faster way where the type is known.
    ///
    /// # Errors
    /// `BadPattern`. A receiver that is down or full is skipped, and so is one with other messages.
    pub fn broadcast_to<A, M>(&self, pattern: &str, message: &M) -> Result<usize, SendError>
    where
        A: Agent,
        M: Clone,
        A::Message: From<M>,
    {
        let bad = |error: GlobError| SendError::BadPattern { detail: error.to_string() };
        let targets = self.shared.directory.matching(pattern).map_err(bad)?;
        let way = Way::new(Lane::Normal, Patience::Default);
        let cells = targets.iter().filter_map(|cell| cell.as_any().downcast_ref());
        let sent = cells.map(|cell: &Cell<A::Message>| cell.try_send(way, message.clone().into()));
        Ok(sent.filter(Result::is_ok).count())
    }

    /// Sends a raw message to one running agent that has the capability, chosen as
    /// [`RuntimeConfig::choice`] says.
    ///
    /// # Errors
    /// `NoCapability`; else see [`SendError`].
    pub async fn send_to_capable(
        &self,
        capability: &str,
        message: Message,
    ) -> Result<(), SendError> {
        let to = self.capable(capability)?;
        self.send(&to, message).await
    }

    /// The name of one running agent that has the capability.
    ///
    /// # Errors
    /// `NoCapability`.
    pub fn capable(&self, capability: &str) -> Result<Arc<str>, SendError> {
        let mut world = self.shared.world();
        let now = self.shared.executor.now();
        let none = || SendError::NoCapability { capability: capability.to_owned() };
        let tag = world.node.tags().lookup(capability).ok_or_else(none)?;
        let (_, registry, router, _) = world.node.parts();
        let route = router.choose(now, registry, Match::Any, &[tag], self.shared.config.choice);
        world.target_of(&self.shared, &route).map(|to| Arc::from(to.name())).ok_or_else(none)
    }

    /// A call to a generic server.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn call(
        &self,
        to: &str,
        request: Value,
        timeout: Duration,
    ) -> Result<Value, AskError> {
        self.ask(to, Message::new("message", request), timeout).await
    }

    /// A cast to a generic server.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn cast(&self, to: &str, request: Value) -> Result<(), SendError> {
        self.send(to, crate::server::ServerMessage::raw_cast(request)).await
    }

    /// Spawns an agent of a registered type under a dynamic supervisor; returns when it is up.
    ///
    /// # Errors
    /// See [`ControlError`]. Nothing is left of a spawn that failed.
    pub async fn spawn(
        &self,
        supervisor: &str,
        kind: &str,
        name: &str,
        config: Value,
    ) -> Result<(), ControlError> {
        self.spawn_for(None, Some(supervisor), kind, name, config).await
    }

    pub(crate) async fn spawn_for(
        &self,
        spawner: Option<Arc<str>>,
        supervisor: Option<&str>,
        kind: &str,
        name: &str,
        config: Value,
    ) -> Result<(), ControlError> {
        let setup = Setup { name: name.to_owned(), config, credentials: Default::default() };
        let made = self.shared.config.types.make(kind, &setup);
        let made = made.ok_or_else(|| ControlError::UnknownType { kind: kind.to_owned() })?;
        let agent = made.map_err(|error| ControlError::StartFailed {
            name: name.to_owned(),
            detail: error.to_string(),
        })?;
        let supervisor = match (supervisor, &spawner) {
            (Some(name), _) => Dynamic::Named(name.to_owned()),
            (None, Some(spawner)) => Dynamic::NearestTo(Arc::clone(spawner)),
            (None, None) => return Err(ControlError::Unknown { name: String::new() }),
        };
        self.command(|answer| Command::Spawn { supervisor, spawner, agent, answer }).await
    }

    /// Ends a child of a dynamic supervisor at once; whoever waits for an answer of it is told.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn despawn(&self, name: &str) -> Result<(), ControlError> {
        self.stop_child(name, StopHow::Kill).await
    }

    /// Stops a child of a dynamic supervisor and waits until it is gone; after `timeout` it is
    /// killed.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn stop_agent(
        &self,
        name: &str,
        drain: Drain,
        timeout: Duration,
    ) -> Result<(), ControlError> {
        let how = match drain {
            Drain::Current => StopHow::Current(timeout),
            Drain::All => StopHow::All(timeout),
        };
        self.stop_child(name, how).await
    }

    async fn stop_child(&self, name: &str, how: StopHow) -> Result<(), ControlError> {
        let name = name.to_owned();
        self.command(|answer| Command::StopChild { name, how, answer }).await
    }

    /// Lets an agent take only control messages until it is resumed. The message in hand is
    /// finished first. A suspension outlives a restart: only a resume ends it.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn suspend(&self, name: &str, reason: &str) -> Result<(), ControlError> {
        self.control(name, Wish::Suspend { reason: Arc::from(reason) }).await
    }

    /// Lets a suspended agent work again. `approver` says who allows it, and must not be empty.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn resume(&self, name: &str, approver: &str) -> Result<(), ControlError> {
        if approver.is_empty() {
            let detail = "a resume needs an approver".to_owned();
            return Err(ControlError::Refused { name: name.to_owned(), detail });
        }
        self.control(name, Wish::Resume { approver: Arc::from(approver) }).await
    }

    /// Makes an agent crash after the message in hand, so that its supervisor restarts it. It
    /// counts as any other crash.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn restart_agent(&self, name: &str, by: &str) -> Result<(), ControlError> {
        self.control(name, Wish::Restart { by: Arc::from(by) }).await
    }

    /// Stops a child of a static supervisor, agent or supervisor, and keeps its specification: it
    /// is not started again until [`Runtime::restart_child`], or until its supervisor is (OTP's
    /// `terminate_child`). Returns when the supervisor has begun to stop it.
    ///
    /// # Errors
    /// See [`ControlError`]; a supervisor in the middle of something refuses.
    pub async fn terminate_child(&self, name: &str) -> Result<(), ControlError> {
        self.fixed_child(name, false).await
    }

    /// Starts a child of a static supervisor that is down (OTP's `restart_child`). Returns when the
    /// supervisor has begun to start it.
    ///
    /// # Errors
    /// See [`ControlError`]; a child that is up, or waits for its restart, is refused.
    pub async fn restart_child(&self, name: &str) -> Result<(), ControlError> {
        self.fixed_child(name, true).await
    }

    async fn fixed_child(&self, name: &str, start: bool) -> Result<(), ControlError> {
        let name = name.to_owned();
        self.command(|answer| Command::FixedChild { name, start, answer }).await
    }

    async fn control(&self, name: &str, wish: Wish) -> Result<(), ControlError> {
        let name = name.to_owned();
        self.command(|answer| Command::Control { name, wish, answer }).await
    }

    async fn command(
        &self,
        command: impl FnOnce(ReplyTo<Result<(), ControlError>>) -> Command,
    ) -> Result<(), ControlError> {
        let (answer, answered) = reply_slot();
        self.shared.inbox.command(command(answer));
        answered.await.unwrap_or(Err(ControlError::NotRunning))
    }
}

impl Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.shared.world().phase;
        f.debug_struct("Runtime").field("phase", &phase).finish_non_exhaustive()
    }
}

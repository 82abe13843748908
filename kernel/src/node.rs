//! Everything of one runtime behind one `handle` and one `poll_timeout`.
//!
//! The node composes: the supervision [`Tree`], the [`Names`] and [`Registry`] that say who is
//! there, the [`Router`], the [`Calls`] over a wire, and the [`Membership`] of nodes. Its
//! own work is small: what one part decides is a fact to the others. A process that started or
//! ended changes its name's status; a peer that is given up takes its names and the calls to it
//! along.
//!
//! One convention ties the parts: the [`ChildId`] of a child *is* the number of its [`NameId`].
//!
//! The hard case is knowing that a name is down for good. In the middle of a sweep a child is down
//! and will be back in a moment; after it, the same state means that nobody will start it. So a
//! name whose process ended is in limbo until the supervisor concerned has settled.

mod groups;
mod peers;
mod remote;
mod settle;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dynamic_supervisor::{SpawnError, SpawnerId};
use crate::membership::{self, Frame, PeerChange, TagSets};
use crate::remote::{Frame as Said, HOSTED, Host, Placement, Stage};
use crate::scratch::Scratch;
use crate::supervisor::{
    self, ConfigError, DeleteChildError, RestartChildError, StartChildError, TerminateChildError,
};
use crate::tree::{self, Body, Machine, Plan, PlannedChild, Tree};
use crate::{
    Calls, Change, ChildId, ChildKind, Declaration, DeclareError, Detection, Ended, Instant,
    InternError, Membership, NameId, Names, NodeId, Pid, ProcessId, Registry, RegistryLimits,
    Router, Shutdown, Status, SupervisorId, Table, UpdateError,
};
use groups::Groups;

/// How a node works.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Seed of random routing.
    pub seed: u64,
    /// Limits of the registry; there are at most as many different capabilities as names.
    pub limits: RegistryLimits,
    /// Calls in flight at one time.
    pub max_calls: usize,
    /// How this node takes part among others.
    pub membership: membership::Config,
    /// How children of this node on other nodes are treated, and those of others here.
    pub remote: crate::remote::Config,
}

impl Default for Config {
    /// Seed 0, [`RegistryLimits::DEFAULT`], 2^20 calls, membership and remote children by default.
    fn default() -> Self {
        Self {
            seed: 0,
            limits: RegistryLimits::DEFAULT,
            max_calls: 1 << 20,
            membership: membership::Config::default(),
            remote: crate::remote::Config::default(),
        }
    }
}

/// What happened outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// To a worker; the supervisor whose it is, and the fact. Those that run here for others have
    /// the supervisor [`HOSTED`].
    Supervision(SupervisorId, supervisor::Event),
    /// A peer has said this. Its names are those of [`Node::intern_remote`].
    Peer(NodeId, Frame),
    /// A peer has said this about remote children. Its name is that of [`Node::intern_remote`].
    Remote(NodeId, crate::remote::Frame),
    /// The link to a peer is there: it is worth asking.
    PeerReachable(NodeId),
    /// The link to a peer is gone.
    PeerDown(NodeId),
    /// The process that was this boot of a peer has ended, for certain: whoever started it has seen
    /// so. It counts as its goodbye. (H9)
    PeerGone(NodeId, u64),
}

/// What the driver must do or may want to know, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// From the supervision tree.
    Supervision(tree::Action),
    /// A name of this node is doing differently.
    Status {
        /// Which.
        name: NameId,
        /// How.
        status: Status,
    },
    /// A call over a wire has ended without a reply.
    CallEnded(Ended),
    /// Say this to a peer. Names in it resolve until the next call of the node.
    Send(NodeId, Frame),
    /// What was found out about a peer.
    Peer(NodeId, PeerChange),
    /// For a watcher of names. The name resolves until the next call of the node.
    Watch(Change),
    /// Say this to a peer. The name in it resolves until the next call of the node.
    Remote(NodeId, crate::remote::Frame),
    /// From the supervision tree, about a child on another node: this node sees to it by itself.
    /// For whoever watches; it stands where the tree said it.
    Diverted(tree::Action),
    /// What becomes of a process of this node's on another node.
    Placed {
        /// Which.
        process: ProcessId,
        /// Where.
        node: NodeId,
        /// What.
        stage: Stage,
    },
    /// A name that is run here for others is had here from now on, or no longer.
    Hosted {
        /// Which.
        name: NameId,
        /// Whether it is.
        here: bool,
    },
    /// A process that runs here for others must not handle anything from this instant on, told or
    /// not. It may be told of a later one.
    Leased {
        /// Which.
        process: ProcessId,
        /// From when on.
        until: Instant,
    },
}

/// To whom a call goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Callee {
    /// A process of this node.
    Process(ProcessId),
    /// Some process of another node.
    Node(NodeId),
}

/// Why a name was not declared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DeclareNameError {
    /// It cannot be a name, or there are too many.
    Name(InternError),
    /// A capability cannot be one, or there are too many.
    Capability(InternError),
    /// The registry refuses it.
    Registry(DeclareError),
    /// It cannot be placed.
    Place(crate::remote::PlaceError),
    /// As many names as may be are offered to others.
    TooManyOffers,
}

impl core::fmt::Display for DeclareNameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Capability(error) => write!(f, "a capability: {error}"),
            Self::Registry(error) => error.fmt(f),
            Self::Place(error) => error.fmt(f),
            Self::TooManyOffers => f.write_str("too many names are offered to other nodes"),
        }
    }
}

impl core::error::Error for DeclareNameError {}

/// One runtime's decisions.
///
/// ```
/// use std::sync::Arc;
/// use lictor_kernel::node::{Action, Config, Node};
/// use lictor_kernel::tree::{self, Body, Plan, PlannedChild};
/// use lictor_kernel::{ChildId, ChildKind, ChildSpec, Instant, supervisor};
///
/// let mut node = Node::new(Config::default());
/// let mut actions = Vec::new();
/// let name = node.declare("worker", ChildKind::Worker, &["text.summarize"], &mut actions)?;
/// let child = PlannedChild {
///     id: ChildId(name.0), // the convention that ties names and children
///     spec: ChildSpec::worker(),
///     body: Body::Worker,
/// };
/// let config = supervisor::Config::default();
/// let plan = Arc::new(Plan::Static { config, children: vec![child] });
/// node.start(Instant::ZERO, &plan, &mut actions)?;
/// let starts = actions.iter().filter(|action| {
///     matches!(action, Action::Supervision(tree::Action::Start { .. }))
/// });
/// assert_eq!(starts.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    tree: Tree,
    names: Names,
    /// Capability tags: a table of their own, since they outlive the names that have them.
    tags: Names,
    registry: Registry,
    router: Router,
    calls: Calls<Callee>,
    membership: Membership,
    /// Children of this node on others.
    placement: Placement,
    /// Children of others on this node.
    host: Host,
    /// Sets of the tags above.
    sets: TagSets,
    /// Names that nothing refers to any more. They go with the next call: the actions of the last
    /// one may still name them.
    released: BTreeSet<NameId>,
    /// Names whose process ended and whose fate is not known yet, by the supervisor concerned: one
    /// that is busy is looked at once, however many names wait for it.
    limbo: Groups<SupervisorId>,
    /// The names of the children, by that of their supervisor, for all that is in a plan or was
    /// ever started, and still has its name; `None` is the root.
    below: Groups<Option<NameId>>,
    /// What each supervisor that runs is called, `None` for the root. The tree would say so too,
    /// but within one step of it a supervisor may end, and what it did before is carried on after
    /// that.
    called: BTreeMap<SupervisorId, Option<NameId>>,
    /// Names that are in a plan: they start with their supervisor, again and again.
    planned: Table<NameId, ()>,
    tree_actions: Scratch<Vec<tree::Action>>,
    changes: Scratch<Vec<Change>>,
    ended: Scratch<Vec<Ended>>,
    detections: Scratch<Vec<Detection>>,
    outputs: Scratch<Vec<membership::Output>>,
    work: Scratch<remote::Work>,
}

impl Node {
    /// A node without names.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            tree: Tree::default(),
            // Remote names have room of their own.
            names: Names::new(config.limits.names.saturating_add(config.limits.claims)),
            tags: Names::new(config.limits.names),
            registry: Registry::new(config.limits),
            router: Router::new(config.seed),
            calls: Calls::new(crate::CallId(0), config.max_calls),
            membership: Membership::new(config.membership),
            placement: Placement::new(config.remote, config.membership.epoch),
            host: Host::new(config.remote, config.membership.epoch),
            sets: TagSets::new(config.limits.names),
            released: BTreeSet::new(),
            limbo: Groups::new(),
            below: Groups::new(),
            called: BTreeMap::new(),
            planned: Table::new(),
            tree_actions: Scratch::default(),
            changes: Scratch::default(),
            ended: Scratch::default(),
            detections: Scratch::default(),
            outputs: Scratch::default(),
            work: Scratch::default(),
        }
    }

    /// Declares a name of this node before its first start; its child has the same number.
    ///
    /// # Errors
    /// [`DeclareNameError`]: a bad name, one that is taken, or a limit. Nothing has changed then.
    pub fn declare(
        &mut self,
        name: &str,
        kind: ChildKind,
        capabilities: &[&str],
        actions: &mut Vec<Action>,
    ) -> Result<NameId, DeclareNameError> {
        self.forget_released();
        let mut tags = Vec::with_capacity(capabilities.len());
        for capability in capabilities {
            tags.push(self.tags.intern_tag(capability).map_err(DeclareNameError::Capability)?);
        }
        let id = self.names.intern_new(name).map_err(DeclareNameError::Name)?;
        if self.placement.node_of(id).is_some() {
            return Err(DeclareNameError::Registry(DeclareError::Taken));
        }
        let declaration =
            Declaration { process: None, status: Status::Starting, kind, capabilities: &tags };
        let changes = &mut self.changes.0;
        let declared = self.registry.declare(id, declaration, changes);
        actions.extend(changes.drain(..).map(Action::Watch));
        if !self.uses(id) {
            self.names.remove(id);
        }
        self.publish(actions);
        declared.map(|_| id).map_err(DeclareNameError::Registry)
    }

    /// Gives a name back that was declared and never started, or whose child is gone.
    pub fn retract(&mut self, name: NameId, actions: &mut Vec<Action>) {
        self.placement.retire(name);
        let was_there = self.registry.unregister(name, &mut self.changes.0);
        actions.extend(self.changes.0.drain(..).map(Action::Watch));
        self.publish(actions);
        if was_there {
            self.release_name(name);
        }
    }

    /// Sets how a local name is doing, whatever its process; see [`Registry::set_status`].
    ///
    /// # Errors
    /// See [`Registry::set_status`].
    pub fn set_status(
        &mut self,
        name: NameId,
        status: Status,
        actions: &mut Vec<Action>,
    ) -> Result<(), UpdateError> {
        let set = self.registry.set_status(name, status, &mut self.changes.0);
        actions.extend(self.changes.0.drain(..).map(Action::Watch));
        self.publish(actions);
        set
    }

    /// Starts the tree; every child's name must be declared.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing was started then.
    pub fn start(
        &mut self,
        now: Instant,
        plan: &Arc<Plan>,
        actions: &mut Vec<Action>,
    ) -> Result<SupervisorId, ConfigError> {
        plan.check()?;
        self.note_plan(None, plan);
        let started = self.with_tree(actions, |tree, out| tree.start(now, plan, out));
        self.carry_remote(now, actions);
        started
    }

    /// Stops the tree; `deadline` bounds the whole stop.
    pub fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, actions: &mut Vec<Action>) {
        self.with_tree(actions, |tree, out| tree.shutdown(now, deadline, out));
        self.carry_remote(now, actions);
    }

    /// Takes in a fact. Deadlines earlier than `now` fire first.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        self.forget_released();
        if now > Instant::ZERO {
            let before = now.saturating_sub(core::time::Duration::from_nanos(1));
            self.fire_all_but_tree(before, actions);
            self.carry_remote(before, actions);
        }
        match event {
            Event::Supervision(HOSTED, fact) => self.hosted_fact(now, fact, actions),
            Event::Supervision(supervisor, fact) => {
                self.note_fact(supervisor, fact, actions);
                self.with_tree(actions, |tree, out| tree.handle(now, supervisor, fact, out));
            }
            Event::Peer(node, frame) => self.hear(now, node, frame, actions),
            Event::PeerReachable(node) => self.peer_reachable(now, node, actions),
            Event::PeerDown(node) => self.peer_down(now, node, actions),
            Event::PeerGone(node, epoch) => self.hear(now, node, Frame::Bye { epoch }, actions),
            Event::Remote(node, frame) => self.hear_remote(now, node, frame),
        }
        self.carry_remote(now, actions);
        if let Event::Remote(_, Said::Order { name, .. } | Said::Report { name, .. }) = event {
            self.release_name(name);
        }
    }

    /// When [`Node::handle_timeout`] must be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tree.poll_timeout().into_iter().chain(self.timeout_but_tree()).min()
    }

    /// The earliest deadline of all parts but the tree.
    fn timeout_but_tree(&self) -> Option<Instant> {
        let earlier = |a: Option<Instant>, b: Option<Instant>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let names = earlier(self.registry.poll_timeout(), self.calls.poll_timeout());
        let remote = earlier(self.placement.poll_timeout(), self.host.poll_timeout());
        earlier(earlier(names, remote), self.membership.poll_timeout())
    }

    /// Fires every deadline up to and including `now`. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.forget_released();
        self.with_tree(actions, |tree, out| tree.handle_timeout(now, out));
        self.fire_all_but_tree(now, actions);
        self.carry_remote(now, actions);
    }

    /// See [`Tree::start_child`].
    ///
    /// # Errors
    /// See [`Tree::start_child`].
    pub fn start_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        child: PlannedChild,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, StartChildError> {
        let (name, body) = (NameId(child.id.0), child.body.clone());
        let added =
            self.with_tree(actions, |tree, out| tree.start_child(now, supervisor, child, out));
        self.carry_remote(now, actions);
        if let (Ok(_), Body::Supervisor(plan)) = (&added, body) {
            self.note_plan(Some(name), &plan);
        }
        added
    }

    /// See [`Tree::spawn`].
    ///
    /// # Errors
    /// See [`Tree::spawn`].
    pub fn spawn(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        child: PlannedChild,
        spawner: Option<SpawnerId>,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, SpawnError> {
        let (name, body) = (NameId(child.id.0), child.body.clone());
        let added =
            self.with_tree(actions, |tree, out| tree.spawn(now, supervisor, child, spawner, out));
        self.carry_remote(now, actions);
        if let (Ok(_), Body::Supervisor(plan)) = (&added, body) {
            self.note_plan(Some(name), &plan);
        }
        added
    }

    /// See [`Tree::forget_spawner`].
    pub fn forget_spawner(&mut self, spawner: SpawnerId) {
        self.tree.forget_spawner(spawner);
    }

    /// See [`Tree::terminate_child`].
    ///
    /// # Errors
    /// See [`Tree::terminate_child`].
    pub fn terminate_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        id: ChildId,
        how: Option<Shutdown>,
        actions: &mut Vec<Action>,
    ) -> Result<(), TerminateChildError> {
        self.limbo.insert(supervisor, NameId(id.0));
        if let Some(Machine::Static(machine)) = self.tree.supervisor(supervisor) {
            // Its siblings may be down only because they wait for its restart.
            for (id, _) in machine.which_children() {
                self.limbo.insert(supervisor, NameId(id.0));
            }
        }
        let act = |tree: &mut Tree, out: &mut Vec<tree::Action>| {
            tree.terminate_child(now, supervisor, id, how, out)
        };
        let terminated = self.with_tree(actions, act);
        self.carry_remote(now, actions);
        terminated
    }

    /// See [`Tree::restart_child`].
    ///
    /// # Errors
    /// See [`Tree::restart_child`].
    pub fn restart_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<Pid, RestartChildError> {
        let restarted =
            self.with_tree(actions, |tree, out| tree.restart_child(now, supervisor, id, out));
        self.carry_remote(now, actions);
        restarted
    }

    /// See [`Tree::delete_child`].
    ///
    /// # Errors
    /// See [`Tree::delete_child`].
    pub fn delete_child(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        id: ChildId,
        actions: &mut Vec<Action>,
    ) -> Result<(), DeleteChildError> {
        let deleted =
            self.with_tree(actions, |tree, out| tree.delete_child(now, supervisor, id, out));
        self.carry_remote(now, actions);
        let name = NameId(id.0);
        // What is in the plan of a supervisor comes back with it; only the root never does.
        let stays = self.planned.contains_key(name) && self.tree.name_of(supervisor).is_some();
        if deleted.is_ok() && !stays {
            self.give_back(supervisor, name, actions);
        }
        deleted
    }

    /// The supervision tree.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The interned names.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The interned capabilities.
    #[must_use]
    pub const fn tags(&self) -> &Names {
        &self.tags
    }

    /// Who is there.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The parts that a caller may change by their own rules: names, registry, router, calls.
    pub const fn parts(&mut self) -> (&mut Names, &mut Registry, &mut Router, &mut Calls<Callee>) {
        (&mut self.names, &mut self.registry, &mut self.router, &mut self.calls)
    }

    /// How many names wait for their fate. Zero when every supervisor has settled.
    #[must_use]
    pub fn in_limbo(&self) -> usize {
        self.limbo.len()
    }
}

//! Our own nodes over a broker: each has an address, and all listen to one more.
//!
//! A frame carries who sends it and goes to the address of its receiver, so the broker sees one
//! subscription per node, however many agents and calls there are. Nodes that are not told of each
//! other meet at the common address, where each says from time to time that it is there. Nothing
//! here says whether a peer *answers*: that is found out by the membership of the kernel.
//!
//! Whoever can publish at the broker can claim to be any node. Where that matters, frames are
//! sealed on their way in ([`Transport`] decorators), not here.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};

use super::{AddressError, Broker, BrokerEvent, BrokerInbox, Subscription};
use crate::executor::{Executor, Task};
use crate::token::first;
use crate::transport::{FRAME_BYTES_MAX, Frame, Inbox, SendError, Transport};

/// Nodes of one mesh that are remembered; as many as the membership takes.
const NODES_MAX: usize = 1 << 12;

/// When as many are known, those are forgotten that nobody has named and that have been silent for
/// so long, or for three of our own hellos: nodes that take a new number at each start would leave
/// no room for their successors.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// And that is looked for as often at most: who sends as ever other nodes costs a look each time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes before the frame: who sends it.
const HEADER: usize = 8;

/// How a node takes part in a mesh.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MeshConfig {
    /// This node.
    pub node: NodeId,
    /// The mesh: nodes of another one at the same broker are not seen. ASCII letters, digits, `_`
    /// and `-`.
    pub cluster: Arc<str>,
    /// The nodes that are known from the start.
    pub peers: Vec<NodeId>,
    /// Which boot of the node this is. With it, one of the same number that is there at the same
    /// time is noticed ([`Mesh::twin`]).
    pub boot: Option<u64>,
    /// How often it says that it is there; never if `None`, but for the start of a connection.
    pub hello_every: Option<Duration>,
}

impl MeshConfig {
    /// A node of the cluster `default` that knows nobody and says every 5 s that it is there.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        let cluster = Arc::from("default");
        let hello_every = Some(Duration::from_secs(5));
        Self { node, cluster, peers: Vec::new(), boot: None, hello_every }
    }
}

/// Why there is no mesh.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MeshError {
    /// The name of the cluster cannot be part of an address.
    Cluster(Arc<str>, AddressError),
}

impl Display for MeshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name, error) => write!(f, "the cluster {name:?}: {error}"),
        }
    }
}

impl Error for MeshError {}

/// A [`Transport`] between our nodes over a [`Broker`].
pub struct Mesh {
    executor: Arc<dyn Executor>,
    broker: Arc<dyn Broker>,
    config: MeshConfig,
    common: Arc<str>,
    own: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    ready: bool,
    /// And when each was heard last.
    known: BTreeMap<NodeId, Instant>,
    /// When it is looked again whether some of them can be forgotten.
    look_at: Instant,
    /// Which of them have been said to be reachable over this connection.
    told: BTreeSet<NodeId>,
    /// Another boot that says it is this node, and how often it has said so since it was asked for.
    twin: Option<(u64, u32)>,
}

/// So often must a twin have been heard: the last word of an earlier boot is none.
const HEARD: u32 = 2;

impl Mesh {
    /// A node's end of a mesh. Nothing is moved before it runs.
    ///
    /// # Errors
    /// [`MeshError`].
    pub fn new(
        executor: Arc<dyn Executor>,
        broker: Arc<dyn Broker>,
        config: MeshConfig,
    ) -> Result<Arc<Self>, MeshError> {
        let cluster = &config.cluster;
        let wrong = |error| MeshError::Cluster(Arc::clone(cluster), error);
        if let Some(at) = cluster.find('.') {
            return Err(wrong(AddressError::Character { at }));
        }
        let common: Arc<str> = format!("_lictor.{cluster}.all").into();
        let own = address(cluster, config.node);
        for address in [&common, &own] {
            let listen = Subscription::Address(Arc::clone(address));
            broker.subscribe(listen).map_err(wrong)?;
        }
        let now = executor.now();
        let known = config.peers.iter().map(|node| (*node, now)).collect();
        let state = Mutex::new(State { known, ..State::default() });
        Ok(Arc::new(Self { executor, broker, config, common, own, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says at the common address that it is there. If it is lost, the next one is not.
    fn hello(&self) {
        let boot = self.config.boot.map(u64::to_be_bytes);
        let _ = self.broker.publish(&self.common, self.framed(boot.as_ref().map_or(&[], |b| b)));
    }

    /// The boot of another process that takes part as this node, if one was heard since the last
    /// time that this was asked. Two of one number take each other's frames, and neither works.
    #[must_use]
    pub fn twin(&self) -> Option<u64> {
        let mut state = self.state();
        let (boot, _) = state.twin.filter(|(_, heard)| *heard >= HEARD)?;
        state.twin = None;
        Some(boot)
    }

    /// A word of our own comes back to us; one of another boot does not come from us.
    fn hear_oneself(&self, address: &str, boot: &[u8]) {
        let Ok(boot) = boot.try_into().map(u64::from_be_bytes) else { return };
        if *address == *self.common && self.config.boot.is_some_and(|own| own != boot) {
            let mut state = self.state();
            let heard = state.twin.map_or(0, |(_, heard)| heard);
            state.twin = Some((boot, heard.saturating_add(1)));
        }
    }

    fn framed(&self, bytes: &[u8]) -> Frame {
        let mut framed = Vec::with_capacity(HEADER + bytes.len());
        framed.extend(self.config.node.0.to_be_bytes());
        framed.extend(bytes);
        Frame::new(framed)
    }

    fn hear(&self, inbox: &Inbox, event: BrokerEvent) -> bool {
        match event {
            BrokerEvent::Ready => {
                let known = {
                    let mut state = self.state();
                    state.ready = true;
                    state.told = state.known.keys().copied().collect();
                    state.told.clone()
                };
                known.into_iter().for_each(|node| inbox.up(node));
                self.hello();
                true
            }
            BrokerEvent::Lost(_) => {
                let told = {
                    let mut state = self.state();
                    state.ready = false;
                    std::mem::take(&mut state.told)
                };
                told.into_iter().for_each(|node| inbox.down(node));
                true
            }
            BrokerEvent::Message { address, frame } => self.message(inbox, &address, &frame),
            BrokerEvent::Dropped(_) => true,
        }
    }

    fn message(&self, inbox: &Inbox, address: &str, frame: &Frame) -> bool {
        let bytes = frame.as_bytes();
        let Some((sender, rest)) = bytes.split_first_chunk::<HEADER>() else { return true };
        let node = NodeId(u64::from_be_bytes(*sender));
        if node == self.config.node {
            self.hear_oneself(address, rest);
            return true;
        }
        if !self.meet(inbox, node) {
            return true;
        }
        if *address != *self.own {
            return true;
        }
        inbox.frame(node, frame.after(HEADER))
    }

    /// A node has been heard. A new one is told that we are there, too.
    fn meet(&self, inbox: &Inbox, node: NodeId) -> bool {
        let now = self.executor.now();
        let (met, forgotten) = {
            let mut state = self.state();
            let is_full = state.known.len() >= NODES_MAX && !state.known.contains_key(&node);
            let forgotten = if is_full { self.forget(&mut state, now) } else { Vec::new() };
            let has_room = !is_full || !forgotten.is_empty();
            // It can be heard before our own readiness is known.
            let met = has_room
                .then(|| (state.told.insert(node), state.known.insert(node, now).is_none()));
            (met, forgotten)
        };
        forgotten.into_iter().for_each(|node| inbox.down(node));
        let Some((is_new, is_stranger)) = met else { return false };
        if is_new {
            inbox.up(node);
        }
        if is_stranger {
            self.hello();
        }
        true
    }

    /// Forgets those that have been silent for long, and says which they were.
    fn forget(&self, state: &mut State, now: Instant) -> Vec<NodeId> {
        if now < state.look_at {
            return Vec::new();
        }
        state.look_at = now.saturating_add(LOOK_EVERY);
        let own = self.config.hello_every.unwrap_or_default().saturating_mul(3);
        let patience = own.max(FORGET_AFTER);
        let is_silent = |since: Instant| now.saturating_since(since) >= patience;
        let silent = state.known.iter().filter(|(_, since)| is_silent(**since));
        let named = |node: &NodeId| self.config.peers.contains(node);
        let silent: Vec<NodeId> = silent.map(|(node, _)| *node).filter(|it| !named(it)).collect();
        for node in &silent {
            state.known.remove(node);
            state.told.remove(node);
        }
        silent
    }
}

/// Where a node listens.
fn address(cluster: &str, node: NodeId) -> Arc<str> {
    format!("_lictor.{cluster}.node.{:016x}", node.0).into()
}

impl Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("config", &self.config)
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}

impl Transport for Mesh {
    fn peers(&self) -> Vec<NodeId> {
        self.config.peers.clone()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        {
            let state = self.state();
            if !state.running {
                return Err(SendError::Closed);
            }
            if frame.as_bytes().len() > FRAME_BYTES_MAX {
                return Err(SendError::TooLarge);
            }
            if !state.known.contains_key(&peer) {
                return Err(SendError::UnknownPeer);
            }
            if !state.ready {
                return Err(SendError::Unreachable);
            }
        }
        let framed = self.framed(frame.as_bytes());
        self.broker.publish(&address(&self.config.cluster, peer), framed)
    }

    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        let running = Running(Arc::clone(&self));
        self.state().running = true;
        let (mesh, listener) = (Arc::clone(&self), inbox);
        let sink = BrokerInbox::new(move |event| mesh.hear(&listener, event));
        let moves = Arc::clone(&self.broker).run(sink);
        Box::pin(async move {
            let mesh = running;
            first(moves, mesh.0.say_hello()).await;
        })
    }

    fn flush(self: Arc<Self>) -> Task {
        Arc::clone(&self.broker).flush()
    }

    fn linger(&self) -> Duration {
        self.broker.linger()
    }
}

impl Mesh {
    async fn say_hello(&self) {
        let Some(every) = self.config.hello_every else { return std::future::pending().await };
        loop {
            self.executor.sleep_until(self.executor.now().saturating_add(every)).await;
            if self.state().ready {
                self.hello();
            }
        }
    }
}

/// The time in which a mesh runs.
struct Running(Arc<Mesh>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running = false;
        state.ready = false;
        state.told.clear();
    }
}

//! Messages to agents of other nodes, and from them.
//!
//! A name stands for an agent wherever it lives: who sends to it asks the registry each time, so a
//! reference survives that the agent moves. What goes over the wire is numbered per pair of boots,
//! so that a transport may repeat what it likes; what it loses ends by the asker's deadline, or at
//! once when the peer is given up. The data path does not pass through the driver: what comes in
//! goes straight into the mailbox, in the order in which it came.

mod asks;
mod credit;
mod flow;
mod receive;
mod view;
mod window;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor_kernel::{CallId, Instant, NodeId, Route, Router, Status, Undeliverable};

use self::asks::{Asks, TooMany};
pub(crate) use self::credit::{LANES, Place};
use self::flow::Flow;
pub(crate) use self::receive::failure_of;
use self::window::Window;
use crate::cell::{AnyCell, Way};
use crate::error::SendError;
use crate::frame::{Body, Post, Stamp};
use crate::mailbox::Lane;
use crate::message::{Message, ReplyTo, Value, is_reserved};
use crate::runtime::Shared;
use crate::transport::{self, FRAME_BYTES_MAX, Transport};

/// What a runtime has seen of its wire since it was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct WireCounters {
    /// Messages and answers handed to the transport.
    pub sent: u64,
    /// Messages and answers taken from it.
    pub received: u64,
    /// Frames that the transport refused.
    pub refused: u64,
    /// Messages and answers that came again, or too late to tell whether they did.
    pub repeated: u64,
    /// Messages and answers of an older boot, or for an older boot of this node.
    pub stale: u64,
    /// Frames that cannot be understood.
    pub malformed: u64,
    /// Answers to calls that had ended, or never were.
    pub late: u64,
    /// Messages that this node could not give to their agents; their senders were told.
    pub undelivered: u64,
    /// Frames that were dropped because too much was waiting, or nobody listened.
    pub dropped: u64,
    /// Messages to agents here that a peer has sent and that have not come, as far as later ones
    /// of their lane, or the question of a sender that is held up, show. One that the peer's own
    /// transport has refused may be among them, though its sender was told.
    pub missing: u64,
    /// Messages that were under way to a boot of a peer in whose place there is another one: it may
    /// have had them in its mailboxes, and as many as a quarter of a lane it surely had.
    pub unsettled: u64,
}

#[derive(Default, Debug)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    repeated: AtomicU64,
    stale: AtomicU64,
    malformed: AtomicU64,
    undelivered: AtomicU64,
    dropped: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The wire of a runtime.
pub(crate) struct Peers {
    pub(crate) transport: Arc<dyn Transport>,
    epoch: u64,
    state: Mutex<State>,
    flow: Flow,
    counters: Counters,
}

#[derive(Default)]
struct State {
    /// The number of the last message to each peer.
    sent: BTreeMap<NodeId, u64>,
    /// The greatest number of a peer that was forgotten: nobody begins below it, so that one that
    /// is spoken to again is not taken to hear copies.
    sent_most: u64,
    /// What was taken from each peer, of its newest boot.
    taken: BTreeMap<NodeId, Window>,
    /// Who waits for the answers to the calls over the wire.
    asks: Asks,
    /// Messages from peers that wait for room or for an answer here.
    waiting: usize,
}

/// Peers of which something is remembered; beyond it the lowest is forgotten.
const PEERS_MAX: usize = 1 << 12;

/// Messages of peers that may wait for room or for their answers at one time.
const WAITING_MAX: usize = 1 << 16;

/// Where a message to a name goes.
pub(crate) enum Hop {
    Local(Arc<dyn AnyCell>),
    Remote(NodeId, u64),
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn Transport>, epoch: u64) -> Self {
        let state = Mutex::new(State::default());
        Self { transport, epoch, state, flow: Flow::default(), counters: Counters::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counters(&self, late: u64) -> WireCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let (missing, unsettled) = self.flow.losses();
        WireCounters {
            sent: read(&counters.sent),
            received: read(&counters.received),
            refused: read(&counters.refused),
            repeated: read(&counters.repeated),
            stale: read(&counters.stale),
            malformed: read(&counters.malformed),
            late,
            undelivered: read(&counters.undelivered),
            dropped: read(&counters.dropped),
            missing,
            unsettled,
        }
    }

    /// Sends what needs no number.
    pub(crate) fn say(&self, node: NodeId, body: &Body) {
        // Too large or too deep: no membership frame is.
        let Ok(frame) = body.encode() else { return };
        if self.transport.send(node, frame).is_err() {
            count(&self.counters.refused);
        }
    }

    fn stamp(&self, node: NodeId, to: u64) -> Stamp {
        let mut state = self.state();
        let State { sent, sent_most, .. } = &mut *state;
        if sent.len() >= PEERS_MAX && !sent.contains_key(&node) {
            let forgotten = sent.pop_first().map_or(0, |(_, number)| number);
            *sent_most = forgotten.max(*sent_most);
        }
        let number = sent.entry(node).or_insert(*sent_most);
        *number += 1;
        Stamp { from: self.epoch, to, number: *number }
    }

    fn send(&self, name: &Arc<str>, node: NodeId, body: &Body) -> Result<(), SendError> {
        let to = || Arc::clone(name);
        let frame = body.encode().map_err(|error| error.of(name))?;
        let sent = self.transport.send(node, frame).map_err(|error| match error {
            transport::SendError::Full => SendError::WireFull { name: to() },
            transport::SendError::TooLarge => {
                SendError::TooLarge { name: to(), bytes: 0, most: FRAME_BYTES_MAX }
            }
            transport::SendError::Unreachable
            | transport::SendError::UnknownPeer
            | transport::SendError::Closed => SendError::Unreachable { name: to() },
        });
        count(if sent.is_ok() { &self.counters.sent } else { &self.counters.refused });
        sent
    }

    /// Takes the asker of a call that has ended.
    pub(crate) fn take_ask(&self, call: CallId) -> Option<ReplyTo<Value>> {
        self.state().asks.take(call)
    }
}

impl Shared {
    /// Where a message to this name goes now.
    pub(crate) fn hop(&self, name: &Arc<str>) -> Result<Hop, SendError> {
        if let Some(cell) = self.local(name) {
            return Ok(Hop::Local(cell));
        }
        let unknown = || SendError::Unknown { name: Arc::clone(name) };
        let world = self.world();
        let id = world.node.names().lookup(name).ok_or_else(unknown)?;
        match Router::route(self.executor.now(), world.node.registry(), id) {
            Route::Remote { node, epoch, .. } => Ok(Hop::Remote(node, epoch)),
            Route::Undeliverable(Undeliverable::Down) => {
                Err(SendError::Down { name: Arc::clone(name) })
            }
            Route::Undeliverable(Undeliverable::LeaseExpired) => {
                Err(SendError::Unreachable { name: Arc::clone(name) })
            }
            // A supervisor of this node, one on a node that is not there, or nothing.
            Route::Local { .. } | Route::Undeliverable(_) => {
                match world.node.placement().status(id) {
                    Some(Status::Down) => Err(SendError::Down { name: Arc::clone(name) }),
                    Some(_) => Err(SendError::Unreachable { name: Arc::clone(name) }),
                    None => Err(unknown()),
                }
            }
        }
    }

    /// Sends a message to an agent of another node, when there is credit for it: it is taken by the
    /// transport or refused.
    pub(crate) async fn post(
        &self,
        name: &Arc<str>,
        to: (NodeId, u64),
        way: Way,
        message: Message,
    ) -> Result<(), SendError> {
        let place = self.place(name, to, &way).await?;
        self.post_at(name, to, way, message, place)
    }

    /// As [`Shared::post`], at once or not at all.
    pub(crate) fn try_post(
        &self,
        name: &Arc<str>,
        to: (NodeId, u64),
        way: Way,
        message: Message,
    ) -> Result<(), SendError> {
        let place = self.try_place(name, to, &way)?;
        self.post_at(name, to, way, message, place)
    }

    fn post_at(
        &self,
        name: &Arc<str>,
        to: (NodeId, u64),
        way: Way,
        message: Message,
        place: Place,
    ) -> Result<(), SendError> {
        let unreachable = || SendError::Unreachable { name: Arc::clone(name) };
        let peers = self.peers.as_ref().ok_or_else(unreachable)?;
        let posted = self.post_with(name, to, way, message, place, peers);
        if posted.is_err() {
            peers.give_back(to, place);
        }
        posted
    }

    fn post_with(
        &self,
        name: &Arc<str>,
        (node, epoch): (NodeId, u64),
        way: Way,
        message: Message,
        place: Place,
        peers: &Peers,
    ) -> Result<(), SendError> {
        let (kind, payload, sender, reply_to) = message.into_parts();
        if is_reserved(&kind) {
            return Err(SendError::Reserved { kind });
        }
        let now = self.executor.now();
        let left =
            |until: Instant| (until < Instant::MAX).then(|| nanos(until.saturating_since(now)));
        let call = match reply_to {
            Some(reply_to) => Some(self.begin(name, peers, node, reply_to)?),
            None => None,
        };
        let post = Post {
            stamp: peers.stamp(node, epoch),
            to: name.to_string(),
            kind,
            payload,
            sender: sender.map(|sender| sender.to_string()),
            priority: way.lane == Lane::Priority,
            wait: left(way.patience.deadline(self)),
            ttl: left(way.expires),
            call: call.map(|call| call.0),
            lane: place.lane,
            number: place.number,
        };
        let sent = peers.send(name, node, &Body::Post(post));
        if let (Err(_), Some(call)) = (&sent, call) {
            self.cancel_call(call);
        }
        sent
    }

    /// Begins a call over the wire. Its deadline is the asker's affair; the kernel ends it when the
    /// node is given up.
    fn begin(
        &self,
        name: &Arc<str>,
        peers: &Peers,
        node: NodeId,
        reply_to: ReplyTo<Value>,
    ) -> Result<CallId, SendError> {
        let mut world = self.world();
        let mut state = peers.state();
        let (_, _, _, calls) = world.node.parts();
        let call = state.asks.begin(calls, node, reply_to);
        call.map_err(|TooMany| SendError::WireFull { name: Arc::clone(name) })
    }

    fn cancel_call(&self, call: CallId) {
        let Some(peers) = &self.peers else { return };
        let asker = peers.take_ask(call);
        self.world().node.parts().3.cancel(call);
        drop(asker);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! The wire between the nodes of a simulation: what a transport may do to frames, and partitions.
//!
//! The fate of a frame is drawn by the link it is on and its number on that link, so that a frame
//! more or a fault less on one link changes nothing on another. A cut link loses in silence, what
//! is under way included: nobody is told, as when a cable is cut.
//!
//! Rejected: telling both ends of a cut. Who is told reconnects at once; what is hard about a
//! partition is that only silence tells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};
use lictor_runtime::RuntimeConfig;
use lictor_runtime::executor::{Executor, Task};
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, Inbox, SendError, Transport};

use super::Sim;
use super::history::What;
use crate::stream::{Purpose, Streams, mix};

/// How many frames may be under way on one link.
const UNDER_WAY_MAX: u64 = 1 << 14;

/// What a wire does to frames. By default it takes a millisecond and is faultless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wire {
    /// Frames lost, per million.
    pub loss: u32,
    /// Frames that come twice, per million.
    pub repeat: u32,
    /// The shortest way.
    pub delay_min: Duration,
    /// The longest way; if it is not the shortest, frames overtake each other.
    pub delay_max: Duration,
}

impl Default for Wire {
    fn default() -> Self {
        let delay = Duration::from_millis(1);
        Self { loss: 0, repeat: 0, delay_min: delay, delay_max: delay }
    }
}

/// All wires of a simulation.
pub(super) struct Network {
    executor: Arc<dyn Executor>,
    streams: Streams,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wire: Wire,
    nodes: BTreeSet<NodeId>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    ends: BTreeMap<NodeId, End>,
    /// The place of the next frame among all that are due at one instant.
    taken: u64,
}

#[derive(Default)]
struct Link {
    sent: u64,
    under_way: u64,
}

#[derive(Default)]
struct End {
    runs: u64,
    running: bool,
    due: BTreeMap<(Instant, u64), (NodeId, Frame)>,
    waker: Option<Waker>,
}

impl Network {
    pub(super) fn new(executor: Arc<dyn Executor>, seed: u64) -> Arc<Self> {
        let streams = Streams::new(seed);
        Arc::new(Self { executor, streams, state: Mutex::default() })
    }

    /// The end of one more node.
    pub(super) fn join(self: &Arc<Self>, node: NodeId) -> Arc<dyn Transport> {
        self.state().nodes.insert(node);
        Arc::new(Plug { network: Arc::clone(self), node })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the frame, and its repetition, arrives; nothing if it is lost.
    fn fate(&self, wire: Wire, link: (NodeId, NodeId), number: u64) -> Vec<Instant> {
        let whose = mix(link.0.0) ^ link.1.0;
        if self.streams.chance(Purpose::Loss, whose, number, wire.loss) {
            return Vec::new();
        }
        let twice = self.streams.chance(Purpose::Duplicate, whose, number, wire.repeat);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (from, to) = (nanos(wire.delay_min), nanos(wire.delay_max));
        (0..1 + u64::from(twice))
            .map(|copy| {
                let whose = mix(whose ^ copy);
                let delay = self.streams.between(Purpose::Latency, whose, number, from, to);
                self.executor.now().saturating_add(Duration::from_nanos(delay))
            })
            .collect()
    }
}

impl Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// One node's end.
#[derive(Debug)]
struct Plug {
    network: Arc<Network>,
    node: NodeId,
}

impl Transport for Plug {
    fn peers(&self) -> Vec<NodeId> {
        let state = self.network.state();
        state.nodes.iter().copied().filter(|node| *node != self.node).collect()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        let mut state = self.network.state();
        if !state.ends.get(&self.node).is_some_and(|end| end.running) {
            return Err(SendError::Closed);
        }
        if frame.as_bytes().len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        if !state.nodes.contains(&peer) {
            return Err(SendError::UnknownPeer);
        }
        let link = (self.node, peer);
        let State { wire, cuts, links, ends, taken, .. } = &mut *state;
        let counts = links.entry(link).or_default();
        if counts.under_way >= UNDER_WAY_MAX {
            return Err(SendError::Full);
        }
        counts.sent += 1;
        let end = ends.entry(peer).or_default();
        if cuts.contains(&link) || !end.running {
            return Ok(());
        }
        for at in self.network.fate(*wire, link, counts.sent) {
            counts.under_way += 1;
            *taken += 1;
            end.due.insert((at, *taken), (self.node, frame.clone()));
        }
        let waker = end.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        Box::pin(async move {
            let running = Running::begin(&self);
            let run = running.2;
            self.peers().into_iter().for_each(|peer| inbox.up(peer));
            loop {
                while let Some((peer, frame)) = self.take(run) {
                    inbox.frame(peer, frame);
                }
                self.wait(run).await;
            }
        })
    }
}

impl Plug {
    /// The next frame that is due and was not cut off on its way; none for an older boot of the
    /// node, whose address another one has.
    fn take(&self, run: u64) -> Option<(NodeId, Frame)> {
        let now = self.network.executor.now();
        let mut state = self.network.state();
        loop {
            let end = state.ends.get_mut(&self.node).filter(|end| end.runs == run)?;
            let first = end.due.first_entry().filter(|first| first.key().0 <= now)?;
            let (peer, frame) = first.remove();
            let link = (peer, self.node);
            state.links.entry(link).or_default().under_way -= 1;
            if !state.cuts.contains(&link) {
                return Some((peer, frame));
            }
        }
    }

    fn next(&self, run: u64) -> Option<Instant> {
        let state = self.network.state();
        state
            .ends
            .get(&self.node)
            .filter(|end| end.runs == run)?
            .due
            .first_key_value()
            .map(|(key, _)| key.0)
    }

    /// Until the first frame is due, or another has become the first.
    async fn wait(&self, run: u64) {
        let first = self.next(run);
        let mut sleep = first.map(|at| self.network.executor.sleep_until(at));
        poll_fn(|cx| {
            if self.next(run) != first {
                return Poll::Ready(());
            }
            let mut state = self.network.state();
            let end = state.ends.entry(self.node).or_default();
            if end.runs != run {
                return Poll::Pending;
            }
            end.waker = Some(cx.waker().clone());
            drop(state);
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

/// Marks a node as running until it is dropped; what was under way to it is lost then.
struct Running(Arc<Network>, NodeId, u64);

impl Running {
    fn begin(plug: &Plug) -> Self {
        let mut state = plug.network.state();
        let end = state.ends.entry(plug.node).or_default();
        end.runs += 1;
        end.running = true;
        Self(Arc::clone(&plug.network), plug.node, end.runs)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let Some(end) = state.ends.get_mut(&self.1).filter(|end| end.runs == self.2) else {
            return;
        };
        end.running = false;
        let (due, waker) = (std::mem::take(&mut end.due), end.waker.take());
        for (peer, _) in due.values() {
            state.links.entry((*peer, self.1)).or_default().under_way -= 1;
        }
        drop(state);
        drop(waker);
    }
}

impl Sim {
    /// With one more runtime, on the wire to all others that were made so. It is known to them by a
    /// number, from 1, in the order of these calls; its name is that of [`Sim::with_node`].
    ///
    /// # Panics
    /// When there is a runtime of this name.
    #[must_use]
    pub fn with_peer(mut self, name: &str, mut config: RuntimeConfig) -> Self {
        let node = NodeId(self.peers.len() as u64 + 1);
        config.transport = Some(self.network.join(node));
        config.membership.node = node;
        config.membership.epoch = 1;
        self.peers.insert(Arc::from(name), node);
        self.with_node(name, config)
    }

    /// From now on all wires do this to what is sent.
    pub fn wire(&mut self, wire: Wire) {
        self.network.state().wire = wire;
        self.happens(format!("all wires: {wire:?}"));
    }

    /// Cuts both ways between two nodes: what is sent, and what is under way, is lost in silence.
    ///
    /// # Panics
    /// When one of them is no [peer](Sim::with_peer).
    pub fn partition(&mut self, a: &str, b: &str) {
        self.partition_one_way(a, b);
        self.partition_one_way(b, a);
    }

    /// Cuts the way from one node to another.
    ///
    /// # Panics
    /// As [`Sim::partition`].
    pub fn partition_one_way(&mut self, from: &str, to: &str) {
        let link = (self.peer(from), self.peer(to));
        self.network.state().cuts.insert(link);
        self.happens(format!("cut from {from} to {to}"));
    }

    /// Cuts a node off from all others.
    ///
    /// # Panics
    /// As [`Sim::partition`].
    pub fn isolate(&mut self, node: &str) {
        let others: Vec<Arc<str>> = self.peers.keys().cloned().collect();
        for other in others.iter().filter(|other| &***other != node) {
            self.partition(node, other);
        }
    }

    /// Mends every cut. What was lost stays lost.
    pub fn heal(&mut self) {
        self.network.state().cuts.clear();
        self.happens("all cuts are mended".to_owned());
    }

    pub(super) fn peer(&self, name: &str) -> NodeId {
        let found = self.peers.get(name).copied();
        found.unwrap_or_else(|| panic!("{name:?} is not on the wire"))
    }

    fn happens(&mut self, fault: String) {
        self.history.push(self.executor.now(), Arc::from(""), What::Fault(fault));
    }
}

#[cfg(test)]
mod tests {
    use lictor_runtime::conformance::{self, End};

    use super::*;
    use crate::executor::{Schedule, VirtualExecutor};

    #[test]
    fn the_wire_is_a_transport() {
        for seed in 0..2 {
            conformance::transport(|name, case| {
                // Shown by the harness when the case fails.
                eprintln!("case: {name}, seed {seed}");
                let executor = VirtualExecutor::new(Schedule::of_seed(seed));
                let network = Network::new(executor.host(""), seed);
                network.state().wire = Wire {
                    loss: 0,
                    repeat: 100_000,
                    delay_min: Duration::from_millis(1),
                    delay_max: Duration::from_millis(4),
                };
                let nodes = [NodeId(1), NodeId(2)];
                let transports = nodes.map(|node| network.join(node));
                let mut ends: Vec<Option<Task>> = (0..2)
                    .map(|at| {
                        Some(case(End {
                            executor: executor.host(""),
                            transport: Arc::clone(&transports[at]),
                            peer: nodes[1 - at],
                            is_first: at == 0,
                        }))
                    })
                    .collect();
                let both = poll_fn(|cx| {
                    for end in &mut ends {
                        if end.as_mut().is_some_and(|task| task.as_mut().poll(cx).is_ready()) {
                            *end = None;
                        }
                    }
                    if ends.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
                });
                assert_eq!(executor.block_on(both), Ok(()));
            });
        }
    }
}

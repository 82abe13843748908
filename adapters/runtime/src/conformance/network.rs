//! A wire in memory that does everything a transport may do, for tests of what lies above it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId, Prng};

use crate::executor::{Executor, Task};
use crate::transport::{FRAME_BYTES_MAX, Frame, Inbox, LinkEvent, SendError, Transport};

/// Frames that wait for one node from one other.
const QUEUE_MAX: usize = 1 << 14;

/// What the wire does to frames.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Faults {
    /// Frames lost, in thousandths.
    pub loss_milli: u64,
    /// Frames repeated, in thousandths.
    pub repeat_milli: u64,
    /// The shortest way.
    pub delay_min: Duration,
    /// The longest way; if it is not the shortest, frames overtake each other.
    pub delay_max: Duration,
}

/// Nodes in one process, and the wire between them. What is random follows from a seed.
pub struct Network {
    executor: Arc<dyn Executor>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    prng: Prng,
    cuts: BTreeSet<(NodeId, NodeId)>,
    nodes: BTreeMap<NodeId, Place>,
    sent: u64,
}

#[derive(Default)]
struct Place {
    /// It runs; each run has a number.
    running: Option<u64>,
    runs: u64,
    now: VecDeque<(NodeId, LinkEvent)>,
    due: BTreeMap<(Instant, u64), (NodeId, Frame)>,
    waiting: BTreeMap<NodeId, usize>,
    waker: Option<Waker>,
}

impl Network {
    /// A wire without faults and without nodes.
    #[must_use]
    pub fn new(executor: Arc<dyn Executor>, seed: u64) -> Arc<Self> {
        let state = State {
            faults: Faults::default(),
            prng: Prng::new(seed),
            cuts: BTreeSet::new(),
            nodes: BTreeMap::new(),
            sent: 0,
        };
        Arc::new(Self { executor, state: Mutex::new(state) })
    }

    /// The end of a node, which knows these peers.
    #[must_use]
    pub fn transport(self: &Arc<Self>, node: NodeId, peers: Vec<NodeId>) -> Arc<dyn Transport> {
        Arc::new(Wire { network: Arc::clone(self), node, peers })
    }

    /// From now on the wire does this.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Loses everything from one node to another from now on, in silence, or no longer.
    pub fn cut(&self, from: NodeId, to: NodeId, cut: bool) {
        let mut state = self.state();
        if cut {
            state.cuts.insert((from, to));
        } else {
            state.cuts.remove(&(from, to));
        }
    }

    /// Tells a node that its link to a peer is there, or gone.
    pub fn tell(&self, node: NodeId, peer: NodeId, is_up: bool) {
        let event = if is_up { LinkEvent::Up } else { LinkEvent::Down };
        let mut state = self.state();
        let waker = state.nodes.get_mut(&node).and_then(|place| place.put(peer, event));
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Place {
    fn put(&mut self, peer: NodeId, event: LinkEvent) -> Option<Waker> {
        self.running?;
        self.now.push_back((peer, event));
        self.waker.take()
    }
}

#[derive(Debug)]
struct Wire {
    network: Arc<Network>,
    node: NodeId,
    peers: Vec<NodeId>,
}

impl Transport for Wire {
    fn peers(&self) -> Vec<NodeId> {
        self.peers.clone()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        let now = self.network.executor.now();
        let mut state = self.network.state();
        let State { faults, prng, cuts, nodes, sent } = &mut *state;
        if nodes.get(&self.node).is_none_or(|place| place.running.is_none()) {
            return Err(SendError::Closed);
        }
        if frame.as_bytes().len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        if !self.peers.contains(&peer) && !nodes.contains_key(&peer) {
            return Err(SendError::UnknownPeer);
        }
        let place = nodes.entry(peer).or_default();
        let waiting = place.waiting.entry(self.node).or_insert(0);
        if *waiting >= QUEUE_MAX {
            return Err(SendError::Full);
        }
        let lost = cuts.contains(&(self.node, peer)) || prng.below(1000) < faults.loss_milli;
        let copies = match (lost || place.running.is_none(), prng.below(1000) < faults.repeat_milli)
        {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        let spread = faults.delay_max.saturating_sub(faults.delay_min).as_nanos();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX);
        for _ in 0..copies {
            let more = Duration::from_nanos(prng.below(spread.saturating_add(1)));
            let at = now.saturating_add(faults.delay_min).saturating_add(more);
            *sent += 1;
            *waiting += 1;
            place.due.insert((at, *sent), (self.node, frame.clone()));
        }
        let waker = place.waker.take();
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
            for peer in &self.peers {
                inbox.up(*peer);
            }
            loop {
                let next = {
                    let mut state = self.network.state();
                    let place = state.nodes.entry(self.node).or_default();
                    // What is due is for the newest run of the node.
                    let due = place.due.keys().next().map(|(at, _)| *at);
                    due.filter(|_| place.running == Some(run))
                };
                let now = self.network.executor.now();
                if next.is_none_or(|at| at > now) {
                    self.wait(next, run).await;
                }
                while let Some((peer, event)) = self.take(run) {
                    match event {
                        LinkEvent::Up => inbox.up(peer),
                        LinkEvent::Down => inbox.down(peer),
                        LinkEvent::Frame(frame) => drop(inbox.frame(peer, frame)),
                    }
                }
            }
        })
    }
}

impl Wire {
    /// The next thing for this run of the node; an older one, which is about to end, gets nothing.
    fn take(&self, run: u64) -> Option<(NodeId, LinkEvent)> {
        let now = self.network.executor.now();
        let mut state = self.network.state();
        let place = state.nodes.entry(self.node).or_default();
        if place.running != Some(run) {
            return None;
        }
        if let Some(told) = place.now.pop_front() {
            return Some(told);
        }
        if place.due.first_key_value().is_none_or(|((at, _), _)| *at > now) {
            return None;
        }
        let (_, (peer, frame)) = place.due.pop_first()?;
        if let Some(waiting) = place.waiting.get_mut(&peer) {
            *waiting -= 1;
        }
        Some((peer, LinkEvent::Frame(frame)))
    }

    /// Until something new is due.
    async fn wait(&self, next: Option<Instant>, run: u64) {
        let mut sleep = next.map(|at| self.network.executor.sleep_until(at));
        poll_fn(|cx| {
            {
                let mut state = self.network.state();
                let place = state.nodes.entry(self.node).or_default();
                if place.running != Some(run) {
                    // It ends when it is dropped.
                    return Poll::Pending;
                }
                let earliest = place.due.keys().next().map(|(at, _)| *at);
                if !place.now.is_empty() || earliest != next {
                    return Poll::Ready(());
                }
                place.waker = Some(cx.waker().clone());
            }
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

/// Marks the node as running until it is dropped.
struct Running(Arc<Network>, NodeId, u64);

impl Running {
    fn begin(wire: &Wire) -> Self {
        let mut state = wire.network.state();
        let place = state.nodes.entry(wire.node).or_default();
        place.runs += 1;
        place.running = Some(place.runs);
        place.now.clear();
        place.due.clear();
        place.waiting.clear();
        Self(Arc::clone(&wire.network), wire.node, place.runs)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(place) = self.0.state().nodes.get_mut(&self.1)
            && place.running == Some(self.2)
        {
            place.running = None;
        }
    }
}

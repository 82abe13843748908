//! The links of a node: who is connected, and what waits for whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lictor_kernel::NodeId;
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, SendError};
use tokio::sync::Notify;

use crate::{Counters, WireFaults};

/// The links of one transport.
pub(crate) struct Links {
    known: BTreeSet<NodeId>,
    queue_max: usize,
    pub(crate) faults: Arc<WireFaults>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often it was run, and whether it runs now.
    runs: u64,
    running: bool,
    /// The number of the next link.
    next: u64,
    links: BTreeMap<NodeId, Link>,
    counters: Counters,
}

struct Link {
    number: u64,
    epoch: u64,
    queue: VecDeque<Frame>,
    /// Something to write, or the end of the link.
    stir: Arc<Notify>,
}

/// One connection's hold on its place. Dropping it frees the place, if it is still its own.
pub(crate) struct Held {
    links: Arc<Links>,
    pub(crate) peer: NodeId,
    number: u64,
    pub(crate) stir: Arc<Notify>,
}

impl Links {
    pub(crate) fn new(known: BTreeSet<NodeId>, queue_max: usize, faults: Arc<WireFaults>) -> Self {
        Self { known, queue_max, faults, state: Mutex::new(State::default()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counters(&self) -> Counters {
        self.state().counters
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Counters) -> &mut u64) {
        *count(&mut self.state().counters) += 1;
    }

    pub(crate) fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        let mut state = self.state();
        if !state.running {
            return Err(SendError::Closed);
        }
        if frame.as_bytes().len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        let Some(link) = state.links.get_mut(&peer) else {
            let is_known = self.known.contains(&peer);
            return Err(if is_known { SendError::Unreachable } else { SendError::UnknownPeer });
        };
        if link.queue.len() >= self.queue_max {
            return Err(SendError::Full);
        }
        link.queue.push_back(frame);
        let stir = Arc::clone(&link.stir);
        drop(state);
        stir.notify_one();
        Ok(())
    }

    /// Marks the transport as running until the mark is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        let mut state = self.state();
        state.runs += 1;
        state.running = true;
        Running(Arc::clone(self), state.runs)
    }

    pub(crate) fn count_links(&self) -> usize {
        self.state().links.len()
    }

    /// Whether this peer is connected.
    pub(crate) fn has(&self, peer: NodeId) -> bool {
        self.state().links.contains_key(&peer)
    }

    /// Gives a new connection the place of its peer. `None` if the peer is connected with a newer
    /// boot, or nothing runs.
    pub(crate) fn hold(self: &Arc<Self>, peer: NodeId, epoch: u64) -> Option<Held> {
        let mut state = self.state();
        if !state.running {
            return None;
        }
        let old = state.links.get(&peer).map(|link| (link.epoch, Arc::clone(&link.stir)));
        if old.as_ref().is_some_and(|(present, _)| *present > epoch) {
            return None;
        }
        if let Some((_, stir)) = &old {
            state.counters.replaced += 1;
            stir.notify_one();
        }
        let number = state.next;
        state.next += 1;
        state.counters.up += 1;
        let stir = Arc::new(Notify::new());
        let link = Link { number, epoch, queue: VecDeque::new(), stir: Arc::clone(&stir) };
        if let Some(old) = state.links.insert(peer, link) {
            state.counters.lost += old.queue.len() as u64;
        }
        Some(Held { links: Arc::clone(self), peer, number, stir })
    }
}

impl Held {
    /// The next frame to write; `None` if there is none now. An error when the place is another's.
    pub(crate) fn next(&self) -> Result<Option<Frame>, ()> {
        let mut state = self.links.state();
        match state.links.get_mut(&self.peer) {
            Some(link) if link.number == self.number => Ok(link.queue.pop_front()),
            Some(_) | None => Err(()),
        }
    }

    /// Whether the place is still this connection's.
    pub(crate) fn is_current(&self) -> bool {
        let state = self.links.state();
        state.links.get(&self.peer).is_some_and(|link| link.number == self.number)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.links.state();
        if state.links.get(&self.peer).is_some_and(|link| link.number == self.number)
            && let Some(link) = state.links.remove(&self.peer)
        {
            state.counters.lost += link.queue.len() as u64;
        }
    }
}

/// While it lives the transport runs.
pub(crate) struct Running(Arc<Links>, u64);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        // A later run may have begun already.
        if state.runs == self.1 {
            state.running = false;
            state.links.clear();
        }
    }
}

//! The modelled wire between runtimes on the virtual executor: the links of the kernel world, with
//! the frames of the real runtime on them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use lictor_kernel::{Instant, NodeId};
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, Inbox, SendError, Transport};
use lictor_runtime::{Executor, Task};

use crate::buggify::Point;
use crate::fault::{Kind, Target};
use crate::link::{LATE_FRAME, Links, Offered, Spoilt, Way};
use crate::live::{LinkChange, Live, message_in};
use crate::plan::nanos;
use crate::record::{MessageId, NodeIx, What};
use crate::stream::Purpose;

/// All wires of a run.
pub(super) struct Network {
    live: Arc<Live>,
    executor: Arc<dyn Executor>,
    state: Mutex<State>,
}

struct State {
    links: Links,
    /// How long each node takes over a frame.
    slow: Vec<u64>,
    frames: Vec<Carried>,
    ends: Vec<End>,
    pushed: u64,
}

/// A frame, and the message in it.
struct Carried {
    from: NodeIx,
    to: NodeIx,
    /// In which boot of the sender.
    boot: u32,
    number: u64,
    frame: Frame,
    message: Option<(MessageId, u32)>,
    /// The network has kept it over the end of its sender.
    late: bool,
}

/// What comes to a node.
#[derive(Clone, Copy, Debug)]
enum Comes {
    Frame(u32),
    HangUp(NodeIx),
    /// What follows on this connection is lost, and both ends hang up.
    Break(NodeIx),
}

/// One node's end.
#[derive(Default)]
struct End {
    /// The boot that is plugged in, if one is.
    boot: Option<u32>,
    due: BTreeMap<(u64, u64), Comes>,
    waker: Option<Waker>,
}

impl Network {
    pub(super) fn new(live: &Arc<Live>, executor: Arc<dyn Executor>) -> Arc<Self> {
        let nodes = live.plan.scenario.nodes();
        let state = State {
            links: Links::new(nodes),
            slow: vec![0; nodes],
            frames: Vec::new(),
            ends: (0..nodes).map(|_| End::default()).collect(),
            pushed: 0,
        };
        Arc::new(Self { live: Arc::clone(live), executor, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a boot of a node.
    pub(super) fn plug(self: &Arc<Self>, node: NodeIx, boot: u32) -> Arc<Plug> {
        let mut state = self.state();
        state.end(node).boot = Some(boot);
        let wakers = self.brings_stale(&mut state, node, boot);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Arc::new(Plug { network: Arc::clone(self), node, boot })
    }

    /// A node is gone; whether its peers see it.
    pub(super) fn unplug(&self, node: NodeIx, boot: u32, seen: bool) {
        let mut state = self.state();
        state.end(node).boot = None;
        let others = (0..u8::try_from(state.ends.len()).unwrap_or(u8::MAX)).map(NodeIx);
        let mut wakers = Vec::new();
        for other in others.filter(|other| seen && *other != node) {
            if !state.links.at(node, other).cuts() {
                let (least, most) = self.live.plan.knobs.latency;
                let whose = u64::from(node.0) << 8 | u64::from(other.0) | 1 << 17;
                let (least, most) = (nanos(least), nanos(most));
                let streams = self.live.streams;
                let n = u64::from(boot);
                let takes = streams.between(Purpose::Latency, whose, n, least, most);
                let at = self.executor.now().as_nanos().saturating_add(takes);
                wakers.extend(state.comes(other, at, Comes::HangUp(node)));
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn way(&self, state: &State, from: NodeIx, to: NodeIx, boot: u32) -> Way<'_> {
        Way {
            streams: self.live.streams,
            knobs: &self.live.plan.knobs,
            from,
            to,
            boot,
            now: self.executor.now().as_nanos(),
            slow: state.slow[usize::from(to.0)],
            late: 0,
        }
    }

    pub(super) fn change(&self, change: LinkChange) {
        let mut state = self.state();
        let mut wakers = Vec::new();
        match change {
            LinkChange::Cut(target, kind, begins) => state.links.cut(target, kind, begins),
            LinkChange::Tune(a, b, kind, amount) => state.links.tune((a, b), kind, amount),
            LinkChange::Slow(node, by) => state.slow[usize::from(node.0)] = by,
            LinkChange::Jam(a, b, begins) => {
                for (from, to) in [(a, b), (b, a)] {
                    for index in state.links.jam(from, to, begins) {
                        wakers.extend(self.carry(&mut state, index));
                    }
                }
            }
            LinkChange::Reset(a, b) => wakers.extend(self.breaks(&mut state, a, b)),
            LinkChange::Refuse(a, b, begins) => {
                if begins {
                    wakers.extend(self.breaks(&mut state, a, b));
                }
                state.links.cut(Target::Link(a, b), Kind::Refuse, begins);
            }
            LinkChange::HalfOpen(a, b, begins) => {
                state.links.cut(Target::Link(a, b), Kind::HalfOpen, begins);
            }
            LinkChange::Spoil(a, b, spoilt) => state.links.at(a, b).spoil(spoilt),
            LinkChange::Heal => state.links.heal(),
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Carries a frame that was held.
    fn carry(&self, state: &mut State, index: u32) -> Option<Waker> {
        let Carried { from, to, boot, number, .. } = state.frames[index as usize];
        let way = self.way(state, from, to, boot);
        let at = state.links.at(from, to).arrival(&way, number, 0);
        state.comes(to, at, Comes::Frame(index))
    }

    /// A node is back, and with it comes what the network has kept of its older boots.
    fn brings_stale(&self, state: &mut State, node: NodeIx, boot: u32) -> Vec<Waker> {
        let nodes = u8::try_from(state.ends.len()).unwrap_or(u8::MAX);
        let mut wakers = Vec::new();
        for other in (0..nodes).map(NodeIx).filter(|other| *other != node) {
            for index in state.links.at(node, other).take_stale(boot) {
                wakers.extend(self.carry(state, index));
            }
        }
        wakers
    }

    /// Whether the network keeps a frame whose sender is gone.
    fn is_kept(&self, state: &mut State, index: u32) -> bool {
        let Carried { from, to, boot, number, late, .. } = state.frames[index as usize];
        let newest = state.end(from).boot;
        if late || newest == Some(boot) {
            return false;
        }
        let way = self.way(state, from, to, boot);
        let link = state.links.at(from, to);
        let kept = !link.cuts() && !link.has_lost(number) && link.keeps(&way, number, index);
        state.frames[index as usize].late = kept;
        kept
    }

    /// The connection between two nodes breaks, and both see it end.
    fn breaks(&self, state: &mut State, a: NodeIx, b: NodeIx) -> Vec<Waker> {
        let now = self.executor.now().as_nanos();
        let mut wakers = Vec::new();
        for (from, to) in [(a, b), (b, a)] {
            for index in state.links.at(from, to).reset() {
                self.lose(&state.frames[index as usize]);
            }
            wakers.extend(state.comes(to, now, Comes::HangUp(from)));
        }
        wakers
    }

    fn lose(&self, carried: &Carried) {
        let Carried { from, to, message, .. } = carried;
        self.live.with(|ledger| {
            ledger.put(*from, What::FrameLost(*to));
            if let Some((id, hop)) = message {
                ledger.lost(*from, *id, *hop);
            }
        });
    }

    fn send(&self, (from, boot): (NodeIx, u32), to: NodeIx, frame: Frame) -> Result<(), SendError> {
        let mut state = self.state();
        let Some(number) = state.links.at(from, to).admit(&self.live.plan.knobs) else {
            self.live.put(from, What::FrameLost(to));
            return Err(SendError::Full);
        };
        let index = u32::try_from(state.frames.len()).unwrap_or(u32::MAX);
        let message = message_in(&frame).map(|carried| (carried.id, carried.hop));
        state.frames.push(Carried { from, to, boot, number, frame, message, late: false });
        self.live.put(from, What::FrameSent(to));
        let late = self.live.with(|ledger| {
            let whose = u64::from(from.0) << 8 | u64::from(to.0);
            ledger.buggify.amount(Point::LateFrame, whose, number, LATE_FRAME)
        });
        let way = Way { late, ..self.way(&state, from, to, boot) };
        let offered = state.links.at(from, to).offer(&way, number, index);
        let mut wakers = Vec::new();
        match offered {
            Offered::Lost => self.lose(&state.frames[index as usize]),
            Offered::Held => {}
            Offered::Spoilt(spoilt, at) => {
                self.lose(&state.frames[index as usize]);
                let comes = match spoilt {
                    Spoilt::Partial => {
                        state.links.at(from, to).leaves();
                        Comes::Break(from)
                    }
                    Spoilt::Garbage(bytes) => {
                        let carried = &mut state.frames[index as usize];
                        carried.frame = self.garbage(carried, bytes);
                        carried.message = None;
                        Comes::Frame(index)
                    }
                };
                wakers.extend(state.comes(to, at, comes));
            }
            Offered::Arrives(at, again) => {
                wakers.extend(state.comes(to, at, Comes::Frame(index)));
                if let Some(at) = again {
                    wakers.extend(state.comes(to, at, Comes::Frame(index)));
                }
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Bytes that mean nothing; every other time they begin as a frame does.
    fn garbage(&self, carried: &Carried, bytes: u64) -> Frame {
        let &Carried { from, to, number, .. } = carried;
        let whose = u64::from(from.0) << 8 | u64::from(to.0) | 1 << 18;
        let draw = |n| self.live.streams.draw(Purpose::Loss, whose, number << 20 | n);
        let byte = |n: u64| draw(n / 8).to_le_bytes()[usize::from((n % 8) as u8)];
        let mut garbage: Vec<u8> = (0..bytes.max(1)).map(byte).collect();
        if let (true, Some(first)) = (number % 2 == 0, carried.frame.as_bytes().first()) {
            garbage[0] = *first;
        }
        Frame::new(garbage)
    }

    /// What has come to a node by now.
    fn take(&self, node: NodeIx) -> Option<(NodeIx, Option<Frame>)> {
        let now = self.executor.now().as_nanos();
        let mut state = self.state();
        loop {
            let first = state.end(node).due.first_entry().filter(|first| first.key().0 <= now)?;
            let index = match first.remove() {
                Comes::HangUp(peer) => return Some((peer, None)),
                Comes::Break(peer) => {
                    let wakers = self.breaks(&mut state, peer, node);
                    drop(state);
                    wakers.into_iter().for_each(Waker::wake);
                    state = self.state();
                    continue;
                }
                Comes::Frame(index) => index,
            };
            if self.is_kept(&mut state, index) {
                let from = state.frames[index as usize].from;
                if let Some(boot) = state.end(from).boot {
                    let wakers = self.brings_stale(&mut state, from, boot);
                    drop(state);
                    wakers.into_iter().for_each(Waker::wake);
                    state = self.state();
                }
                continue;
            }
            let Carried { from, to, number, .. } = state.frames[index as usize];
            let link = state.links.at(from, to);
            link.leaves();
            if !link.cuts() && !link.has_lost(number) {
                return Some((from, Some(state.frames[index as usize].frame.clone())));
            }
            self.lose(&state.frames[index as usize]);
        }
    }

    /// While nobody is plugged in, what comes is lost.
    fn drain(&self, node: NodeIx) {
        let now = self.executor.now().as_nanos();
        let mut state = self.state();
        while let Some(first) =
            state.end(node).due.first_entry().filter(|first| first.key().0 <= now)
        {
            if let Comes::Frame(index) = first.remove() {
                let Carried { from, to, .. } = state.frames[index as usize];
                state.links.at(from, to).leaves();
                self.lose(&state.frames[index as usize]);
            }
        }
    }

    fn next(&self, node: NodeIx) -> Option<u64> {
        self.state().end(node).due.first_key_value().map(|(key, _)| key.0)
    }
}

impl State {
    fn end(&mut self, node: NodeIx) -> &mut End {
        &mut self.ends[usize::from(node.0)]
    }

    fn comes(&mut self, to: NodeIx, at: u64, what: Comes) -> Option<Waker> {
        self.pushed += 1;
        let pushed = self.pushed;
        let end = self.end(to);
        end.due.insert((at, pushed), what);
        end.waker.take()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// One boot's end of the wires.
#[derive(Debug)]
pub(super) struct Plug {
    network: Arc<Network>,
    node: NodeIx,
    boot: u32,
}

impl Plug {
    fn is_in(&self) -> bool {
        self.network.state().end(self.node).boot == Some(self.boot)
    }

    /// Until the first is due, or another has become the first.
    async fn wait(&self) {
        let first = self.network.next(self.node);
        let at = first.map(Instant::from_nanos);
        let mut sleep = at.map(|at| self.network.executor.sleep_until(at));
        poll_fn(|cx| {
            if self.network.next(self.node) != first {
                return Poll::Ready(());
            }
            self.network.state().end(self.node).waker = Some(cx.waker().clone());
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

impl Transport for Plug {
    fn peers(&self) -> Vec<NodeId> {
        let nodes = self.network.live.plan.scenario.node_ids();
        nodes.filter(|node| *node != self.node).map(|node| NodeId(u64::from(node.0))).collect()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        if !self.is_in() {
            return Err(SendError::Closed);
        }
        if frame.as_bytes().len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        let nodes = self.network.live.plan.scenario.nodes();
        match u8::try_from(peer.0).ok().filter(|peer| usize::from(*peer) < nodes) {
            Some(peer) => self.network.send((self.node, self.boot), NodeIx(peer), frame),
            None => Err(SendError::UnknownPeer),
        }
    }

    /// Links that are lost in silence are never said to be there: the kernel looks for itself.
    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        Box::pin(async move {
            // What came while nobody was here is not for this boot.
            self.network.drain(self.node);
            while self.is_in() {
                while let Some((peer, frame)) = self.network.take(self.node) {
                    let peer = NodeId(u64::from(peer.0));
                    match frame {
                        Some(frame) => drop(inbox.frame(peer, frame)),
                        None => inbox.down(peer),
                    }
                }
                self.wait().await;
            }
        })
    }
}

//! Who the other nodes are, whether they answer, and what names they have.
//!
//! Every node asks its peers, again and again, and tells each that asks. A peer counts as there
//! only while it answers **questions asked since it was last given up**: a frame that was held up
//! beyond the end of its sender brings nobody back, and a wire that works one way only counts as
//! cut at both ends, since neither gets an answer.
//!
//! Names are leased. A change is announced at once, to whoever is there; an announcement that is
//! lost is found by the summary that comes with each answer: if what we hold of the peer comes to
//! the same, all its leases are renewed, else we ask for everything. So a quiet network carries two
//! small frames per peer and probe, however many names there are. What the peer does not have any
//! more is not announced and ends with its lease, so that no tombstone is needed. The alternative,
//! an acknowledged log of changes, needs memory for each peer and a rule for when it is too long.
//!
//! The hard case is a wire whose queue is shorter than the list of names: the same part would be
//! lost each time. Hence bursts with pauses, smaller ones to a peer that asks again (`list`).

mod frame;
mod list;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub use frame::{Claim, Config, Frame, PeerChange, Summary, TagSet, TagSets};
use list::List;

use crate::{
    Announcement, Change, Deadlines, Detection, DetectorConfig, DetectorError, FailureDetector,
    Heard, Instant, NameId, Names, NodeId, Owner, ProcessId, Registry,
};

/// Why a node did not become a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddPeerError {
    /// It is this node itself.
    Own,
    /// As many peers as may be are known.
    TooManyPeers,
    /// The configuration of the detector makes no sense.
    Detector(DetectorError),
}

impl core::fmt::Display for AddPeerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Own => f.write_str("a node is not its own peer"),
            Self::TooManyPeers => f.write_str("too many peers"),
            Self::Detector(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AddPeerError {}

/// What must be done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Output {
    Send(NodeId, Frame),
    Peer(NodeId, PeerChange),
}

/// What the node keeps, as far as membership needs it.
pub(crate) struct World<'a> {
    pub(crate) registry: &'a mut Registry,
    pub(crate) names: &'a Names,
    pub(crate) sets: &'a mut TagSets,
    pub(crate) changes: &'a mut Vec<Change>,
    pub(crate) out: &'a mut Vec<Output>,
    pub(crate) found: &'a mut Vec<Detection>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Peer {
    /// `None` while the peer does not answer.
    detector: Option<FailureDetector>,
    /// The newest boot that was seen of it.
    epoch: u64,
    /// The last question; the next one is one greater.
    asked: u64,
    /// The last question for all names.
    asked_for_all: u64,
    /// Questions up to this one prove nothing any more: answered, or asked before the last end.
    settled: u64,
    /// When to ask by ourselves, besides what the detector asks.
    ask_at: Instant,
    /// It was asked out of turn since the last question in turn.
    hurried: bool,
    /// The list of all names that is told to it.
    list: List,
    /// A stranger that was let in, and since when it has not answered.
    admitted: Option<Instant>,
    deadline: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Published {
    process: Option<ProcessId>,
    claim: Claim,
}

/// The peers of a node, and what it has told them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Membership {
    config: Config,
    peers: BTreeMap<NodeId, Peer>,
    deadlines: Deadlines<NodeId>,
    published: BTreeMap<NameId, Published>,
    summary: Summary,
    /// Grows with every change of what is published.
    version: u64,
    ignored: u64,
}

impl Membership {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            deadlines: Deadlines::default(),
            published: BTreeMap::new(),
            summary: Summary::default(),
            version: 0,
            ignored: 0,
        }
    }

    /// How this node takes part.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The peers, in the order of ids, and the boot of each that answers at present.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, Option<u64>)> {
        self.peers.iter().map(|(node, peer)| (*node, peer.detector.as_ref().map(|_| peer.epoch)))
    }

    /// The boot of a peer that answers at present.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> Option<u64> {
        let peer = self.peers.get(&node)?;
        peer.detector.as_ref().map(|_| peer.epoch)
    }

    /// Frames that came from strangers, from older boots, or too late, since the start.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// What this node's public names come to.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    pub(crate) fn is_peer(&self, node: NodeId) -> bool {
        self.peers.contains_key(&node)
    }

    pub(crate) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(crate) fn add_peer(
        &mut self,
        now: Instant,
        node: NodeId,
        world: &mut World<'_>,
    ) -> Result<bool, AddPeerError> {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.admitted = None;
            return Ok(false);
        }
        if node == self.config.node {
            return Err(AddPeerError::Own);
        }
        if self.peers.len() >= self.config.peers {
            return Err(AddPeerError::TooManyPeers);
        }
        FailureDetector::new(self.config.detector, now, 0).map_err(AddPeerError::Detector)?;
        self.insert(now, node, None);
        self.ask_for_all(now, node, world.out);
        self.index(node);
        Ok(true)
    }

    fn insert(&mut self, now: Instant, node: NodeId, admitted: Option<Instant>) {
        let peer = Peer {
            detector: None,
            epoch: 0,
            asked: 0,
            asked_for_all: 0,
            settled: 0,
            ask_at: now,
            hurried: false,
            list: List::default(),
            admitted,
            deadline: None,
        };
        self.peers.insert(node, peer);
    }

    /// Forgets a peer and says whether it was one.
    pub(crate) fn remove_peer(&mut self, node: NodeId) -> bool {
        let Some(peer) = self.peers.remove(&node) else { return false };
        if let Some(at) = peer.deadline {
            self.deadlines.clear(at, node);
        }
        true
    }

    /// Nobody is told any more. The version stays, so that what is told later is newer.
    pub(crate) fn forget_published(&mut self) {
        self.published.clear();
        self.summary = Summary::default();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<NodeId> {
        let (_, node) = self.deadlines.pop_due(now)?;
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.deadline = None;
        }
        Some(node)
    }

    /// Does what is due about one peer.
    pub(crate) fn fire(&mut self, now: Instant, node: NodeId, world: &mut World<'_>) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        match &mut peer.detector {
            Some(detector) => {
                detector.handle_timeout(now, world.found);
                while let Some(detection) = world.found.first().copied() {
                    world.found.remove(0);
                    match detection {
                        Detection::Probe => self.probe(now, node, world.out),
                        Detection::Suspect => {
                            world.out.push(Output::Peer(node, PeerChange::Suspect));
                        }
                        Detection::Down => self.peer_down(now, node, world),
                    }
                }
                let asks = matches!(self.config.detector, DetectorConfig::PhiAccrual(_));
                let up = self.peers.get(&node);
                if asks && up.is_some_and(|p| p.detector.is_some() && p.ask_at <= now) {
                    self.probe(now, node, world.out);
                }
            }
            None if peer.ask_at <= now => {
                let since = peer.admitted.map(|since| now.saturating_since(since));
                if since.is_some_and(|since| since >= self.config.lease) {
                    self.remove_peer(node);
                    return;
                }
                peer.hurried = false;
                self.ask_for_all(now, node, world.out);
            }
            None => {}
        }
        // Last: where a burst fills the wire, a question must not be what is lost.
        let list_of = |peer: &Peer| peer.list.burst_at.is_some_and(|at| at <= now);
        if self.peers.get(&node).is_some_and(list_of) {
            self.burst(now, node, world);
        }
        self.index(node);
    }

    /// Takes in what a peer said.
    pub(crate) fn hear(&mut self, now: Instant, node: NodeId, frame: Frame, world: &mut World<'_>) {
        if !self.knows(now, node, frame) {
            self.ignored = self.ignored.saturating_add(1);
            return;
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let is_newer = frame.epoch() > peer.epoch;
        peer.epoch = peer.epoch.max(frame.epoch());
        if is_newer && peer.detector.is_some() {
            // It was started anew, and what the old boot had is gone.
            self.peer_down(now, node, world);
            self.hurry(now, node, world.out);
        }
        match frame {
            Frame::Hello { seq, .. } => {
                self.answer(node, seq, world.out);
                self.hurry(now, node, world.out);
                self.begin_list(now, node, world);
            }
            Frame::Probe { seq, .. } => {
                self.answer(node, seq, world.out);
                self.hurry(now, node, world.out);
            }
            Frame::Alive { epoch, seq, summary } => {
                self.answered(now, node, epoch, seq, summary, world);
            }
            Frame::Claim { epoch, name, claim } => {
                if self.is_up(node) != Some(epoch) {
                    self.ignored = self.ignored.saturating_add(1);
                    return;
                }
                self.claimed(now, node, epoch, name, claim, world);
            }
            Frame::Withdraw { epoch, name, incarnation } => {
                world.registry.unregister_remote(name, node, epoch, incarnation, world.changes);
            }
            Frame::Bye { .. } => self.peer_down(now, node, world),
        }
        self.index(node);
    }

    /// Whether a frame is worth hearing: from a peer, or from a stranger that is let in, and not of
    /// a boot before the newest.
    fn knows(&mut self, now: Instant, node: NodeId, frame: Frame) -> bool {
        if let Some(peer) = self.peers.get(&node) {
            return frame.epoch() >= peer.epoch;
        }
        matches!(frame, Frame::Hello { .. }) && self.admit(now, node)
    }

    /// Lets a stranger in, if strangers are admitted and there is room; says whether it is in.
    fn admit(&mut self, now: Instant, node: NodeId) -> bool {
        let may = self.config.admit
            && node != self.config.node
            && self.peers.len() < self.config.peers
            && FailureDetector::new(self.config.detector, now, 0).is_ok();
        if may {
            self.insert(now, node, Some(now));
        }
        may
    }

    fn answer(&self, node: NodeId, seq: u64, out: &mut Vec<Output>) {
        let (epoch, summary) = (self.config.epoch, self.summary);
        out.push(Output::Send(node, Frame::Alive { epoch, seq, summary }));
    }

    /// The other one can be heard: ask at once whether it hears us, but not again and again.
    fn hurry(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.detector.is_none() && !peer.hurried {
            peer.hurried = true;
            self.ask_for_all(now, node, out);
        }
    }

    fn answered(
        &mut self,
        now: Instant,
        node: NodeId,
        epoch: u64,
        seq: u64,
        summary: Summary,
        world: &mut World<'_>,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if seq <= peer.settled || seq > peer.asked {
            self.ignored = self.ignored.saturating_add(1);
            return;
        }
        peer.settled = seq;
        // While a question for all is open, or its list is on its way, another one would only add
        // to it: the next answer tells.
        match &mut peer.detector {
            Some(detector) => {
                if detector.heartbeat(now, epoch) == Heard::Ignored {
                    return;
                }
            }
            None => {
                let detector = FailureDetector::new(self.config.detector, now, epoch);
                peer.detector = detector.ok();
                peer.hurried = false;
                peer.admitted = peer.admitted.map(|_| now);
                world.out.push(Output::Peer(node, PeerChange::Up(epoch)));
                return;
            }
        }
        if held(world, node, epoch) == summary {
            let until = now.saturating_add(self.config.lease);
            world.registry.renew(node, epoch, until);
        } else if seq > peer.asked_for_all {
            self.ask_for_all(now, node, world.out);
        }
    }

    fn claimed(
        &self,
        now: Instant,
        node: NodeId,
        epoch: u64,
        name: NameId,
        claim: Claim,
        world: &mut World<'_>,
    ) {
        let Claim { incarnation, revision, status, kind, capabilities } = claim;
        let announcement = Announcement {
            node,
            epoch,
            incarnation,
            revision,
            lease_until: now.saturating_add(self.config.lease),
            status,
            kind,
            capabilities: world.sets.resolve(capabilities),
        };
        // What does not fit is not held; the summaries then differ, and it is told again.
        let _ = world.registry.register_remote(name, announcement, world.changes);
    }

    /// Gives a peer up: its names end, and only an answer to a later question brings it back.
    pub(crate) fn peer_down(&mut self, now: Instant, node: NodeId, world: &mut World<'_>) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let was_up = peer.detector.take().is_some();
        peer.settled = peer.asked;
        peer.list.breaks_off(now);
        peer.admitted = peer.admitted.map(|since| if was_up { now } else { since });
        peer.ask_at = now.saturating_add(self.config.ask_every).max(after(now));
        if was_up {
            world.out.push(Output::Peer(node, PeerChange::Down));
        }
        self.index(node);
    }

    /// The link to a peer is there: it is worth asking.
    pub(crate) fn peer_reachable(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        if !self.peers.contains_key(&node) && !self.admit(now, node) {
            return;
        }
        if self.peers.get(&node).is_some_and(|peer| peer.detector.is_none()) {
            self.ask_for_all(now, node, out);
            self.index(node);
        }
    }

    fn probe(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let epoch = self.config.epoch;
        if let Some(seq) = self.ask(now, node) {
            out.push(Output::Send(node, Frame::Probe { epoch, seq }));
        }
    }

    fn ask_for_all(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let epoch = self.config.epoch;
        if let Some(seq) = self.ask(now, node) {
            out.push(Output::Send(node, Frame::Hello { epoch, seq }));
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.asked_for_all = peer.asked;
        }
    }

    fn ask(&mut self, now: Instant, node: NodeId) -> Option<u64> {
        let peer = self.peers.get_mut(&node)?;
        peer.asked = peer.asked.saturating_add(1);
        peer.ask_at = now.saturating_add(self.config.ask_every).max(after(now));
        Some(peer.asked)
    }

    /// Tells every peer that is there how a local name is doing, if that is new.
    pub(crate) fn publish(&mut self, name: NameId, world: &mut World<'_>) {
        let entry = world.registry.lookup(name);
        let local = entry.and_then(|entry| match entry.owner {
            Owner::Local(process) => Some((process, entry)),
            Owner::Remote { .. } => None,
        });
        let Some(text) = world.names.resolve(name) else { return };
        let old = self.published.get(&name).cloned();
        let Some((process, entry)) = local.filter(|_| !text.starts_with('_')) else {
            if let Some(Published { claim, .. }) = old {
                self.published.remove(&name);
                self.summary.remove(text, claim.incarnation, claim.revision);
                self.version = self.version.saturating_add(1);
                let (epoch, incarnation) = (self.config.epoch, self.version);
                self.tell(Frame::Withdraw { epoch, name, incarnation }, world.out);
            }
            return;
        };
        let capabilities = world.sets.intern(&entry.capabilities).unwrap_or_default();
        let (status, kind) = (entry.status, entry.kind);
        if let Some(Published { process: before, claim }) = &old {
            let same = process.is_none() || process == *before;
            if same
                && (claim.status, claim.kind, claim.capabilities) == (status, kind, capabilities)
            {
                return;
            }
            self.summary.remove(text, claim.incarnation, claim.revision);
        }
        self.version = self.version.saturating_add(1);
        let revision = self.version;
        // A name between two processes is still that of the old one.
        let (process, incarnation) = match old {
            Some(Published { process: before, claim })
                if process.is_none() || process == before =>
            {
                (before, claim.incarnation)
            }
            Some(_) | None => (process, revision),
        };
        let claim = Claim { incarnation, revision, status, kind, capabilities };
        self.summary.add(text, incarnation, revision);
        self.published.insert(name, Published { process, claim });
        self.tell(Frame::Claim { epoch: self.config.epoch, name, claim }, world.out);
    }

    /// Says goodbye to every peer that is there.
    pub(crate) fn leave(&self, out: &mut Vec<Output>) {
        self.tell(Frame::Bye { epoch: self.config.epoch }, out);
    }

    fn tell(&self, frame: Frame, out: &mut Vec<Output>) {
        let there = self.peers.iter().filter(|(_, peer)| peer.detector.is_some());
        out.extend(there.map(|(node, _)| Output::Send(*node, frame)));
    }

    fn index(&mut self, node: NodeId) {
        let asking = matches!(self.config.detector, DetectorConfig::Heartbeat { .. });
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Some(old) = peer.deadline.take() {
            self.deadlines.clear(old, node);
        }
        let watched = peer.detector.as_ref().map(FailureDetector::poll_timeout);
        // The detector that asks does so in its own time.
        let ask = (watched.is_none() || !asking).then_some(peer.ask_at);
        peer.deadline = [watched.flatten(), ask, peer.list.burst_at].into_iter().flatten().min();
        if let Some(at) = peer.deadline.filter(|at| *at < Instant::MAX) {
            self.deadlines.set(at, node);
        }
    }
}

fn after(now: Instant) -> Instant {
    now.saturating_add(core::time::Duration::from_nanos(1))
}

/// What we hold of a peer.
fn held(world: &World<'_>, node: NodeId, epoch: u64) -> Summary {
    let mut summary = Summary::default();
    for (name, incarnation, revision) in world.registry.claims_of(node, epoch) {
        summary.add(world.names.resolve(name).unwrap_or_default(), incarnation, revision);
    }
    summary
}

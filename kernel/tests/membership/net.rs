//! A wire between nodes that can do everything a transport may do.

use std::collections::VecDeque;
use std::time::Duration;

use lictor_kernel::membership::{self, Claim, Frame, PeerChange, TagSet};
use lictor_kernel::node::{Action, Config, Event, Node};
use lictor_kernel::{ChildKind, DetectorConfig, Instant, NodeId, Owner, Status};
use proptest::prelude::*;

/// What happens to the nodes and to the wire.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Declare(usize, u8),
    Retract(usize, u8),
    Down(usize, u8),
    /// One way.
    Cut(usize, usize),
    Mend(usize, usize),
    /// The n-th frame in flight is lost.
    Lose(usize),
    /// The n-th frame in flight is there twice.
    Repeat(usize),
    /// The n-th frame in flight comes next.
    Overtake(usize),
    /// An old frame comes once more.
    Again(usize),
    Deliver(usize),
    Advance(u64),
    Boot(usize),
    LinkDown(usize, usize),
}

pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let node = || 0..3_usize;
    let name = || 0..4_u8;
    let frame = || 0..20_usize;
    prop_oneof![
        3 => (node(), name()).prop_map(|(node, name)| Op::Declare(node, name)),
        2 => (node(), name()).prop_map(|(node, name)| Op::Retract(node, name)),
        1 => (node(), name()).prop_map(|(node, name)| Op::Down(node, name)),
        2 => (node(), node()).prop_map(|(from, to)| Op::Cut(from, to)),
        1 => (node(), node()).prop_map(|(from, to)| Op::Mend(from, to)),
        2 => frame().prop_map(Op::Lose),
        2 => frame().prop_map(Op::Repeat),
        2 => frame().prop_map(Op::Overtake),
        2 => (0..1000_usize).prop_map(Op::Again),
        4 => frame().prop_map(Op::Deliver),
        3 => prop_oneof![0..50_u64, 0..3000_u64].prop_map(Op::Advance),
        1 => node().prop_map(Op::Boot),
        1 => (node(), node()).prop_map(|(node, peer)| Op::LinkDown(node, peer)),
    ]
}

pub(crate) fn config(node: u64) -> Config {
    let second = Duration::from_secs(1);
    config_with(membership::Config {
        node: NodeId(node),
        epoch: 1,
        detector: DetectorConfig::Heartbeat { interval: second, timeout: second, threshold: 3 },
        ask_every: second,
        lease: 8 * second,
        burst: 8,
        burst_pause: Duration::from_millis(10),
        peers: 5,
        admit: true,
    })
}

pub(crate) fn config_with(membership: membership::Config) -> Config {
    Config { membership, ..Config::default() }
}

pub(crate) fn node(config: Config) -> Node {
    Node::new(config)
}

pub(crate) fn claim_of(incarnation: u64, revision: u64, status: Status) -> Claim {
    let kind = ChildKind::Worker;
    Claim { incarnation, revision, status, kind, capabilities: TagSet::EMPTY }
}

/// A frame on the wire, where names are text.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Wire {
    pub(crate) frame: Frame,
    name: Option<String>,
    tags: Vec<String>,
}

impl Wire {
    fn encode(node: &Node, frame: Frame) -> Self {
        let (name, tags) = match frame {
            Frame::Claim { name, claim, .. } => {
                let tags = node.tag_sets().resolve(claim.capabilities).iter();
                let texts = tags.map(|tag| node.tags().resolve(*tag).unwrap().to_owned());
                (Some(name), texts.collect())
            }
            Frame::Withdraw { name, .. } => (Some(name), Vec::new()),
            Frame::Hello { .. } | Frame::Probe { .. } | Frame::Alive { .. } | Frame::Bye { .. } => {
                (None, Vec::new())
            }
        };
        let name = name.map(|name| node.names().resolve(name).expect("it resolves").to_owned());
        Self { frame, name, tags }
    }

    fn decode(&self, node: &mut Node) -> Frame {
        let here = self.name.as_ref().map(|name| node.intern_remote(name).unwrap());
        let capabilities = node.intern_tags(self.tags.iter().map(String::as_str)).unwrap();
        match (self.frame, here) {
            (Frame::Claim { epoch, claim, .. }, Some(name)) => {
                Frame::Claim { epoch, name, claim: Claim { capabilities, ..claim } }
            }
            (Frame::Withdraw { epoch, incarnation, .. }, Some(name)) => {
                Frame::Withdraw { epoch, name, incarnation }
            }
            (frame, _) => frame,
        }
    }
}

pub(crate) struct Net {
    pub(crate) nodes: Vec<Node>,
    pub(crate) epochs: Vec<u64>,
    pub(crate) now: Instant,
    /// Everything that was ever sent: from, to, what.
    pub(crate) log: Vec<(usize, usize, Wire)>,
    /// Of the frames of one call, so many come through.
    pub(crate) narrow: Option<usize>,
    /// The greatest number of frames that one call has sent to one peer.
    pub(crate) longest: usize,
    flight: VecDeque<(usize, usize, Wire)>,
    cuts: Vec<(usize, usize)>,
    changes: Vec<(usize, PeerChange)>,
    tweak: fn(&mut membership::Config),
}

impl Net {
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    pub(crate) fn with(count: usize, tweak: fn(&mut membership::Config)) -> Self {
        let mut net = Self {
            nodes: Vec::new(),
            epochs: vec![1; count],
            now: Instant::ZERO,
            log: Vec::new(),
            narrow: None,
            longest: 0,
            flight: VecDeque::new(),
            cuts: Vec::new(),
            changes: Vec::new(),
            tweak,
        };
        for number in 0..count {
            let mut config = config(number as u64);
            tweak(&mut config.membership);
            net.nodes.push(Node::new(config));
        }
        for number in 0..count {
            net.meet(number);
        }
        net
    }

    fn meet(&mut self, number: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != number) {
            let mut out = Vec::new();
            let added = self.nodes[number].add_peer(self.now, NodeId(peer as u64), &mut out);
            assert_eq!(added, Ok(true));
            self.carry(number, out);
        }
    }

    /// Sends what a node wants sent. Its names are encoded here, while they resolve.
    pub(crate) fn carry(&mut self, from: usize, actions: Vec<Action>) {
        let mut sent = 0;
        for action in actions {
            match action {
                Action::Send(to, frame) => {
                    let to = usize::try_from(to.0).unwrap();
                    sent += 1;
                    self.longest = self.longest.max(sent);
                    let dropped = self.narrow.is_some_and(|narrow| sent > narrow + 1);
                    let cut = self.cuts.contains(&(from, to));
                    if to >= self.nodes.len() || from == to {
                        continue;
                    }
                    let wire = Wire::encode(&self.nodes[from], frame);
                    self.log.push((from, to, wire.clone()));
                    if !dropped && !cut {
                        self.flight.push_back((from, to, wire));
                    }
                }
                Action::Peer(_, change) => self.changes.push((from, change)),
                Action::Supervision(_)
                | Action::Status { .. }
                | Action::CallEnded(_)
                | Action::Watch(_)
                | Action::Remote(..)
                | Action::Placed { .. }
                | Action::Hosted { .. }
                | Action::Diverted(_)
                | Action::Leased { .. } => {}
            }
        }
    }

    pub(crate) fn hear(&mut self, at: usize, from: u64, frame: Frame) {
        let mut out = Vec::new();
        self.nodes[at].handle(self.now, Event::Peer(NodeId(from), frame), &mut out);
        self.carry(at, out);
    }

    fn deliver(&mut self, which: usize) {
        let Some((from, to, wire)) = self.flight.remove(which) else { return };
        self.receive(from, to, &wire);
    }

    pub(crate) fn receive(&mut self, from: usize, to: usize, wire: &Wire) {
        let frame = wire.decode(&mut self.nodes[to]);
        self.hear(to, from as u64, frame);
    }

    pub(crate) fn deliver_all(&mut self) {
        let mut steps = 0;
        while !self.flight.is_empty() {
            self.deliver(0);
            steps += 1;
            assert!(steps < 100_000, "they talk without end");
        }
    }

    /// Delivers at once and lets time pass, from deadline to deadline.
    pub(crate) fn settle(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        let mut steps = 0;
        loop {
            self.deliver_all();
            let next = self.nodes.iter().filter_map(Node::poll_timeout).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for number in 0..self.nodes.len() {
                let mut out = Vec::new();
                self.nodes[number].handle_timeout(self.now, &mut out);
                self.carry(number, out);
            }
            steps += 1;
            assert!(steps < 100_000, "a deadline that is due stays due");
        }
        self.now = end;
    }

    fn advance(&mut self, time: Duration) {
        let flight = std::mem::take(&mut self.flight);
        let end = self.now.saturating_add(time);
        while let Some(next) = self.nodes.iter().filter_map(Node::poll_timeout).min() {
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            for number in 0..self.nodes.len() {
                let mut out = Vec::new();
                self.nodes[number].handle_timeout(self.now, &mut out);
                self.carry(number, out);
            }
        }
        self.now = end;
        let late = std::mem::replace(&mut self.flight, flight);
        self.flight.extend(late);
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let in_flight = self.flight.len().max(1);
        match *op {
            Op::Declare(node, name) => self.declare(node, &format!("n{name}-{node}"), &["t"]),
            Op::Retract(node, name) => self.retract(node, &format!("n{name}-{node}")),
            Op::Down(node, name) => self.set_down(node, &format!("n{name}-{node}")),
            Op::Cut(from, to) => self.cut(from, to, true),
            Op::Mend(from, to) => self.cut(from, to, false),
            Op::Lose(which) => drop(self.flight.remove(which % in_flight)),
            Op::Repeat(which) => {
                if let Some(frame) = self.flight.get(which % in_flight).cloned() {
                    self.flight.push_back(frame);
                }
            }
            Op::Overtake(which) => {
                if let Some(frame) = self.flight.remove(which % in_flight) {
                    self.flight.push_front(frame);
                }
            }
            Op::Again(which) => {
                if let Some(old) = self.log.get(which % self.log.len().max(1)) {
                    self.flight.push_back(old.clone());
                }
            }
            Op::Deliver(which) => self.deliver(which % in_flight),
            Op::Advance(millis) => self.advance(Duration::from_millis(millis)),
            Op::Boot(node) => self.boot(node, self.epochs[node] + 1),
            Op::LinkDown(node, peer) => {
                let mut out = Vec::new();
                let down = Event::PeerDown(NodeId(peer as u64));
                self.nodes[node].handle(self.now, down, &mut out);
                self.carry(node, out);
            }
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.cuts.retain(|link| *link != (from, to));
        if cut {
            self.cuts.push((from, to));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The node is started anew: it has nothing, and knows its peers by configuration.
    pub(crate) fn boot(&mut self, number: usize, epoch: u64) {
        let mut config = config(number as u64);
        config.membership.epoch = epoch;
        (self.tweak)(&mut config.membership);
        self.epochs[number] = epoch;
        self.nodes[number] = Node::new(config);
        self.meet(number);
    }

    pub(crate) fn declare(&mut self, node: usize, name: &str, capabilities: &[&str]) {
        let mut out = Vec::new();
        // It may be there already.
        let _ = self.nodes[node].declare(name, ChildKind::Worker, capabilities, &mut out);
        self.carry(node, out);
    }

    pub(crate) fn retract(&mut self, node: usize, name: &str) {
        let mut out = Vec::new();
        if let Some(id) = self.nodes[node].names().lookup(name) {
            self.nodes[node].retract(id, &mut out);
        }
        self.carry(node, out);
    }

    pub(crate) fn set_down(&mut self, node: usize, name: &str) {
        let mut out = Vec::new();
        if let Some(id) = self.nodes[node].names().lookup(name) {
            // It may be a name of another node.
            let _ = self.nodes[node].set_status(id, Status::Down, &mut out);
        }
        self.carry(node, out);
    }

    pub(crate) fn up(&self, node: usize, peer: usize) -> Option<u64> {
        self.nodes[node].membership().is_up(NodeId(peer as u64))
    }

    pub(crate) fn changes(&self, node: usize) -> Vec<PeerChange> {
        self.changes.iter().filter(|(at, _)| *at == node).map(|(_, change)| *change).collect()
    }

    /// What a node shows of others: names, in byte order, and how they do.
    pub(crate) fn remote(&self, node: usize) -> Vec<(String, u64, Status)> {
        self.shown(node).into_iter().filter(|(_, at, _)| *at != node as u64).collect()
    }

    /// What a node shows, whoever has it.
    pub(crate) fn everything(&self, node: usize) -> Vec<(String, u64, Status)> {
        self.shown(node)
    }

    fn shown(&self, at: usize) -> Vec<(String, u64, Status)> {
        let node = &self.nodes[at];
        let entries = node.names().with_prefix("").filter_map(|(text, id)| {
            let entry = node.registry().lookup(id)?;
            let owner = match entry.owner {
                Owner::Local(_) => at as u64,
                Owner::Remote { node, .. } => node.0,
            };
            Some((text.to_owned(), owner, entry.status))
        });
        entries.collect()
    }
}

//! Whole nodes with trees, drivers that obey them, and a wire that can be cut.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::membership;
use lictor_kernel::node::{Action, Config, Event, Node};
use lictor_kernel::remote::{self, Stage};
use lictor_kernel::supervisor::{self, Event as Fact, Report};
use lictor_kernel::tree::{self, Body, Plan, PlannedChild};
use lictor_kernel::{
    Backoff, ChildId, ChildSpec, ExitReason, Instant, Intensity, NameId, NodeId, Owner, ProcessId,
    Signal, Status, Strategy,
};

/// A frame with its name as text.
#[derive(Clone, Debug)]
enum Wire {
    Membership(membership::Frame, Option<String>),
    Remote(remote::Frame, Option<String>),
}

pub(crate) struct Machine {
    pub(crate) node: Node,
    pub(crate) epoch: u64,
    pub(crate) runs: bool,
    /// Processes that are alive, and until when their leases hold.
    pub(crate) alive: BTreeMap<ProcessId, Instant>,
    /// What was started here, by name, in order.
    pub(crate) started: Vec<String>,
    /// What became of children on other nodes, in order.
    pub(crate) stages: Vec<(String, Stage)>,
    pub(crate) ended: Option<ExitReason>,
}

/// Nodes 0, 1, ..., each known to all others.
pub(crate) struct Cluster {
    pub(crate) machines: Vec<Machine>,
    pub(crate) now: Instant,
    flight: VecDeque<(usize, usize, u64, Wire)>,
    cuts: Vec<(usize, usize)>,
}

/// A child of the tree of node 0, and where it runs.
pub(crate) type Placed = (&'static str, Option<usize>);

fn id(number: usize) -> NodeId {
    NodeId(number as u64)
}

fn machine(number: usize, epoch: u64) -> Machine {
    let membership =
        membership::Config { node: id(number), epoch, ..membership::Config::default() };
    let remote = remote::Config { inherits: epoch > 1, ..remote::Config::default() };
    let node = Node::new(Config { membership, remote, ..Config::default() });
    Machine {
        node,
        epoch,
        runs: true,
        alive: BTreeMap::new(),
        started: Vec::new(),
        stages: Vec::new(),
        ended: None,
    }
}

impl Cluster {
    pub(crate) fn new(count: usize) -> Self {
        let machines = (0..count).map(|number| machine(number, 1)).collect();
        let (flight, cuts) = (VecDeque::new(), Vec::new());
        let mut cluster = Self { machines, now: Instant::ZERO, flight, cuts };
        (0..count).for_each(|number| cluster.meet(number));
        cluster
    }

    fn meet(&mut self, number: usize) {
        for peer in (0..self.machines.len()).filter(|peer| *peer != number) {
            self.act(number, |node, now, out| {
                assert_eq!(node.add_peer(now, id(peer), out), Ok(true));
            });
        }
    }

    /// Everything that this node was is gone; it is there again, and knows nothing.
    pub(crate) fn boot(&mut self, number: usize, offers: &[&str]) {
        let epoch = self.machines[number].epoch + 1;
        self.machines[number] = machine(number, epoch);
        self.meet(number);
        self.offer(number, offers);
    }

    pub(crate) fn kill(&mut self, number: usize) {
        self.machines[number].runs = false;
        self.machines[number].alive.clear();
    }

    pub(crate) fn offer(&mut self, number: usize, names: &[&str]) {
        for name in names {
            self.machines[number].node.offer(name, &["work"]).unwrap();
        }
    }

    /// Starts a tree in node 0.
    pub(crate) fn start(&mut self, strategy: Strategy, restarts: u32, children: &[Placed]) {
        let intensity = Intensity { max_restarts: restarts, period: Duration::from_secs(600) };
        let backoff = Backoff::NONE;
        let config =
            supervisor::Config { strategy, intensity, backoff, ..supervisor::Config::default() };
        let children = children.to_vec();
        self.act(0, |node, now, out| {
            let children = children.iter().map(|(name, at)| {
                let name = match at {
                    Some(at) => node.place(name, id(*at)).unwrap(),
                    None => node.declare(name, lictor_kernel::ChildKind::Worker, &[], out).unwrap(),
                };
                let spec = ChildSpec::worker();
                PlannedChild { id: ChildId(name.0), spec, body: Body::Worker }
            });
            let plan = Plan::Static { config, children: children.collect() };
            node.start(now, &Arc::new(plan), out).unwrap();
        });
    }

    pub(crate) fn act(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut Node, Instant, &mut Vec<Action>),
    ) {
        let mut out = Vec::new();
        act(&mut self.machines[number].node, self.now, &mut out);
        self.obey(number, out);
    }

    fn fact(&mut self, number: usize, process: ProcessId, fact: Fact) {
        self.act(number, |node, now, out| {
            node.handle(now, Event::Supervision(process.supervisor, fact), out);
        });
    }

    fn obey(&mut self, number: usize, actions: Vec<Action>) {
        let mut facts = Vec::new();
        for action in actions {
            let here = &mut self.machines[number];
            let text = |name: NameId| here.node.names().resolve(name).map(str::to_owned);
            match action {
                Action::Supervision(tree::Action::Start { process }) => {
                    let name = text(NameId(process.pid.child.0)).expect("it has a name");
                    assert_eq!(here.alive.insert(process, Instant::MAX), None);
                    here.started.push(name);
                    facts.push((process, Fact::Started { pid: process.pid }));
                }
                Action::Supervision(tree::Action::Signal { process, signal }) => {
                    let pid = process.pid;
                    let reason = match signal {
                        Signal::Shutdown => ExitReason::Shutdown,
                        Signal::Kill => ExitReason::Killed,
                    };
                    if here.alive.remove(&process).is_some() {
                        facts.push((process, Fact::Exited { pid, reason }));
                    }
                }
                Action::Supervision(tree::Action::Supervisor {
                    process: None,
                    stage: tree::Stage::Exited(reason),
                    ..
                }) => here.ended = Some(reason),
                Action::Supervision(tree::Action::Report {
                    report: Report::StaleEvent { pid },
                    ..
                }) => panic!("a fact comes once: {pid:?}"),
                Action::Placed { process, stage, .. } => {
                    let name = text(NameId(process.pid.child.0)).expect("it has a name");
                    here.stages.push((name, stage));
                }
                Action::Leased { process, until } => {
                    here.alive.entry(process).and_modify(|lease| *lease = until);
                }
                Action::Send(to, frame) => {
                    let name = match frame {
                        membership::Frame::Claim { name, .. }
                        | membership::Frame::Withdraw { name, .. } => text(name),
                        membership::Frame::Hello { .. }
                        | membership::Frame::Probe { .. }
                        | membership::Frame::Alive { .. }
                        | membership::Frame::Bye { .. } => None,
                    };
                    self.send(number, to, Wire::Membership(frame, name));
                }
                Action::Remote(to, frame) => {
                    let name = match frame {
                        remote::Frame::Order { name, .. } | remote::Frame::Report { name, .. } => {
                            // An answer to what was said of a name that nobody has.
                            let Some(name) = text(name) else { continue };
                            Some(name)
                        }
                        remote::Frame::Renew { .. } | remote::Frame::Renewed { .. } => None,
                    };
                    self.send(number, to, Wire::Remote(frame, name));
                }
                Action::Supervision(_)
                | Action::Status { .. }
                | Action::CallEnded(_)
                | Action::Peer(..)
                | Action::Hosted { .. }
                | Action::Diverted(_)
                | Action::Watch(_) => {}
            }
        }
        for (process, fact) in facts {
            self.fact(number, process, fact);
        }
    }

    fn send(&mut self, from: usize, to: NodeId, wire: Wire) {
        let to = usize::try_from(to.0).unwrap();
        let epoch = self.machines[from].epoch;
        self.flight.push_back((from, to, epoch, wire));
    }

    fn deliver(&mut self, from: usize, to: usize, wire: Wire) {
        self.act(to, |node, now, out| match wire {
            Wire::Membership(frame, name) => {
                let name = name.map(|name| node.intern_remote(&name).unwrap());
                let frame = match (frame, name) {
                    (membership::Frame::Claim { epoch, claim, .. }, Some(name)) => {
                        membership::Frame::Claim { epoch, name, claim }
                    }
                    (membership::Frame::Withdraw { epoch, incarnation, .. }, Some(name)) => {
                        membership::Frame::Withdraw { epoch, name, incarnation }
                    }
                    (frame, _) => frame,
                };
                node.handle(now, Event::Peer(id(from), frame), out);
            }
            Wire::Remote(frame, name) => {
                let name = name.map(|name| node.intern_remote(&name).unwrap());
                let frame = match (frame, name) {
                    (remote::Frame::Order { stamp, ticket, want, .. }, Some(name)) => {
                        remote::Frame::Order { stamp, name, ticket, want }
                    }
                    (remote::Frame::Report { stamp, ticket, state, .. }, Some(name)) => {
                        remote::Frame::Report { stamp, name, ticket, state }
                    }
                    (frame, _) => frame,
                };
                node.handle(now, Event::Remote(id(from), frame), out);
            }
        });
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize, cut: bool) {
        self.cuts.retain(|link| *link != (a, b) && *link != (b, a));
        if cut {
            self.cuts.extend([(a, b), (b, a)]);
        }
    }

    /// Lets time pass from deadline to deadline, and everything arrive at once.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        for steps in 0.. {
            assert!(steps < 100_000, "it never rests");
            if let Some((from, to, epoch, wire)) = self.flight.pop_front() {
                let lives = self.machines[from].epoch == epoch && self.machines[to].runs;
                if lives && !self.cuts.contains(&(from, to)) {
                    self.deliver(from, to, wire);
                }
                continue;
            }
            let running = self.machines.iter().filter(|machine| machine.runs);
            let next = running.filter_map(|machine| machine.node.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for number in 0..self.machines.len() {
                if self.machines[number].runs {
                    self.act(number, Node::handle_timeout);
                }
            }
            self.check();
        }
        self.now = end;
        self.check();
    }

    /// Rule H16, for every name.
    fn check(&self) {
        let mut alive = BTreeMap::new();
        for machine in &self.machines {
            for (process, lease) in &machine.alive {
                let name = machine.node.names().resolve(NameId(process.pid.child.0));
                let name = name.expect("what is alive has a name");
                if *lease > self.now {
                    assert_eq!(alive.insert(name.to_owned(), ()), None, "{name} is alive twice");
                }
            }
        }
    }

    /// A process of this name crashes, where it is.
    pub(crate) fn crash(&mut self, number: usize, name: &str) {
        let machine = &mut self.machines[number];
        let child = machine.node.names().lookup(name).expect("it is known").0;
        let process = machine.alive.keys().find(|process| process.pid.child.0 == child).copied();
        let process = process.expect("it is alive");
        machine.alive.remove(&process);
        let (pid, reason) = (process.pid, ExitReason::Crashed);
        self.fact(number, process, Fact::Exited { pid, reason });
    }

    /// What is alive on a node, by name, in byte order.
    pub(crate) fn alive(&self, number: usize) -> Vec<String> {
        let machine = &self.machines[number];
        let name = |process: &ProcessId| {
            machine.node.names().resolve(NameId(process.pid.child.0)).unwrap().to_owned()
        };
        let mut names: Vec<String> = machine.alive.keys().map(name).collect();
        names.sort();
        names
    }

    /// Which node a name is said to live on, and how it is said to do.
    pub(crate) fn finds(&self, number: usize, name: &str) -> Option<(u64, Status)> {
        let node = &self.machines[number].node;
        let entry = node.registry().lookup(node.names().lookup(name)?)?;
        let at = match entry.owner {
            Owner::Local(_) => number as u64,
            Owner::Remote { node, .. } => node.0,
        };
        Some((at, entry.status))
    }

    pub(crate) fn stages(&self, name: &str) -> Vec<Stage> {
        let all = self.machines[0].stages.iter();
        all.filter(|(of, _)| of == name).map(|(_, stage)| *stage).collect()
    }
}

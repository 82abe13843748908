//! A node under a faithful driver: names do as their processes do, calls end with their callees.

#[path = "node/plan.rs"]
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::membership::{self, Frame, PeerChange, Summary};
use lictor_kernel::node::{Action, Callee, Config, Event, Node};
use lictor_kernel::supervisor::{self, ChildState};
use lictor_kernel::tree::{self, Body, Machine, Plan, PlannedChild};
use lictor_kernel::{
    Announcement, CallId, CallOutcome, ChildId, ChildKind, DetectorConfig, ExitReason, Instant,
    NameId, NodeId, ProcessId, Signal, Status, SupervisorId,
};
use proptest::prelude::*;

use crate::plan::{Command, Op, any_op, any_plan};

/// What the driver knows: its processes, and what each has been told.
struct Driver {
    node: Node,
    now: Instant,
    /// Alive, by the driver's own books; whether it is up.
    alive: BTreeMap<ProcessId, bool>,
    told: BTreeMap<ProcessId, Signal>,
    calls: BTreeMap<CallId, Callee>,
    planned: u32,
    added: Vec<NameId>,
    ended: bool,
}

impl Driver {
    fn new(plan: &Arc<Plan>, names: u32) -> Result<Self, TestCaseError> {
        let mut node = Node::new(Config::default());
        for number in 0..names {
            let name = format!("n{number}");
            let declared = node.declare(&name, ChildKind::Worker, &[], &mut Vec::new());
            prop_assert_eq!(declared, Ok(NameId(number)));
        }
        let mut driver = Self {
            node,
            now: Instant::from_nanos(1),
            alive: BTreeMap::new(),
            told: BTreeMap::new(),
            calls: BTreeMap::new(),
            planned: names,
            added: Vec::new(),
            ended: false,
        };
        let mut out = Vec::new();
        prop_assert!(driver.node.start(driver.now, plan, &mut out).is_ok());
        driver.obey(&out)?;
        Ok(driver)
    }

    fn obey(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        for action in actions {
            match *action {
                Action::Supervision(tree::Action::Start { process }) => {
                    prop_assert_eq!(self.alive.insert(process, false), None);
                }
                Action::Supervision(tree::Action::Signal { process, signal }) => {
                    prop_assert!(self.alive.contains_key(&process));
                    self.told.insert(process, signal);
                }
                Action::Supervision(tree::Action::Supervisor {
                    process: None,
                    stage: tree::Stage::Exited(_),
                    ..
                }) => self.ended = true,
                Action::CallEnded(ended) => {
                    let callee = self.calls.remove(&ended.call);
                    prop_assert!(callee.is_some(), "a call ends once");
                    match (callee, ended.outcome) {
                        (Some(Callee::Process(process)), CallOutcome::CalleeDown(_)) => {
                            prop_assert!(!self.alive.contains_key(&process));
                        }
                        (Some(Callee::Node(_)), CallOutcome::CalleeDown(reason)) => {
                            prop_assert_eq!(reason, ExitReason::NoConnection);
                        }
                        (_, CallOutcome::TimedOut) | (None, CallOutcome::CalleeDown(_)) => {}
                    }
                }
                Action::Supervision(_) | Action::Status { .. } | Action::Watch(_) => {}
                Action::Remote(..)
                | Action::Placed { .. }
                | Action::Hosted { .. }
                | Action::Diverted(_)
                | Action::Leased { .. } => {
                    prop_assert!(false, "nothing is placed here");
                }
                Action::Peer(..) | Action::Send(..) => {
                    return Err(TestCaseError::fail("there are no peers"));
                }
            }
        }
        Ok(())
    }

    /// What is due before `now` fires first, so that facts find what they are about.
    fn fire(&mut self, until: Instant) -> Result<(), TestCaseError> {
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.node.handle_timeout(self.now, &mut out);
            self.obey(&out)?;
        }
        Ok(())
    }

    fn fact(&mut self, process: ProcessId, fact: supervisor::Event) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        let event = Event::Supervision(process.supervisor, fact);
        self.node.handle(self.now, event, &mut out);
        self.obey(&out)
    }

    fn nth(&self, which: usize, up: bool) -> Option<ProcessId> {
        let fits = self.alive.iter().filter(|(_, is_up)| **is_up == up);
        let fits: Vec<ProcessId> = fits.map(|(process, _)| *process).collect();
        fits.get(which.checked_rem(fits.len())?).copied()
    }

    fn end(&mut self, process: ProcessId, reason: ExitReason) -> Result<(), TestCaseError> {
        self.alive.remove(&process);
        self.fact(process, supervisor::Event::Exited { pid: process.pid, reason })
    }

    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        match op {
            Op::Up(which) => {
                if let Some(process) = self.nth(which, false) {
                    // One that is killed while it starts does not come up.
                    if self.told.get(&process) != Some(&Signal::Kill) {
                        self.alive.insert(process, true);
                        self.fact(process, supervisor::Event::Started { pid: process.pid })?;
                    }
                }
            }
            Op::NotUp(which, ignored) => {
                if let Some(process) = self.nth(which, false) {
                    self.alive.remove(&process);
                    let pid = process.pid;
                    let ignore = supervisor::Event::StartIgnored { pid };
                    let fail = supervisor::Event::StartFailed { pid };
                    self.fact(process, if ignored { ignore } else { fail })?;
                }
            }
            Op::End(which, reason) => {
                if let Some(process) = self.nth(which, true) {
                    self.end(process, reason)?;
                }
            }
            Op::Obey => {
                let told = self.told.iter().find(|(process, _)| self.alive.contains_key(process));
                if let Some((process, signal)) = told.map(|(process, signal)| (*process, *signal)) {
                    self.end(
                        process,
                        match signal {
                            Signal::Shutdown => ExitReason::Shutdown,
                            Signal::Kill => ExitReason::Killed,
                        },
                    )?;
                }
            }
            Op::Advance(by) => {
                let until = self.now.saturating_add(Duration::from_nanos(by));
                self.fire(until)?;
                self.now = until;
            }
            Op::Call(which, after) => self.call(which, after),
            Op::PeerDown(peer) => {
                self.node.handle(self.now, Event::PeerDown(NodeId(peer)), &mut out);
                self.obey(&out)?;
            }
            Op::Add(at, spec) => self.add(at, spec)?,
            Op::Command(what, at, which) => {
                let Some(id) = self.nth_child(SupervisorId(at), which) else { return Ok(()) };
                let (node, now, at) = (&mut self.node, self.now, SupervisorId(at));
                let _served = match what {
                    Command::Terminate => node.terminate_child(now, at, id, None, &mut out).is_ok(),
                    Command::Restart => node.restart_child(now, at, id, &mut out).is_ok(),
                    Command::Delete => node.delete_child(now, at, id, &mut out).is_ok(),
                };
                self.obey(&out)?;
            }
            Op::Shutdown => {
                self.node.shutdown(self.now, None, &mut out);
                self.obey(&out)?;
            }
        }
        self.check()
    }

    fn call(&mut self, which: usize, after: u64) {
        let callee = match self.nth(which, true) {
            Some(process) if which.is_multiple_of(2) => Callee::Process(process),
            Some(_) | None => Callee::Node(NodeId(which as u64 % 3)),
        };
        let deadline = self.now.saturating_add(Duration::from_nanos(after));
        let call = self.node.parts().3.begin(callee, deadline).expect("few calls");
        self.calls.insert(call, callee);
    }

    fn nth_child(&self, at: SupervisorId, which: usize) -> Option<ChildId> {
        let children = self.node.tree().supervisor(at)?.which_children();
        children.get(which.checked_rem(children.len())?).map(|(id, _)| *id)
    }

    fn add(&mut self, at: u64, spec: lictor_kernel::ChildSpec) -> Result<(), TestCaseError> {
        let at = SupervisorId(at);
        let dynamic = match self.node.tree().supervisor(at) {
            Some(Machine::Dynamic(_)) => true,
            Some(Machine::Static(_)) => false,
            None => return Ok(()),
        };
        let mut out = Vec::new();
        let name = format!("n{}", self.planned as usize + self.added.len());
        let name = self.node.declare(&name, ChildKind::Worker, &[], &mut out).expect("a free name");
        let child = PlannedChild { id: ChildId(name.0), spec, body: Body::Worker };
        let added = if dynamic {
            self.node.spawn(self.now, at, child, None, &mut out).is_ok()
        } else {
            self.node.start_child(self.now, at, child, &mut out).is_ok()
        };
        self.added.push(name);
        if !added {
            self.node.retract(name, &mut out);
        } else if dynamic {
            self.obey(&out)?;
            return Ok(());
        }
        self.obey(&out)
    }

    fn status(&self, child: ChildId) -> Option<Status> {
        self.node.registry().lookup(NameId(child.0)).map(|entry| entry.status)
    }

    /// What must hold between any two calls.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let tree = self.node.tree();
        prop_assert_eq!(tree.is_empty(), self.ended);
        let mut known = Vec::new();
        let mut rest: Vec<SupervisorId> = tree.root().into_iter().collect();
        let mut idle = true;
        while let Some(at) = rest.pop() {
            let machine = tree.supervisor(at).expect("it runs");
            idle &= !machine.is_busy();
            let children = machine.which_children();
            let waits =
                children.iter().any(|(_, state)| matches!(state, ChildState::Restarting { .. }));
            for (id, state) in children {
                rest.extend(tree.running_as(at, id));
                known.push(id);
                let status = self.status(id).ok_or_else(|| TestCaseError::fail("a lost name"))?;
                let alive = |pid| {
                    let process = ProcessId { supervisor: at, pid };
                    tree.running_as(at, id).is_some() || self.alive.contains_key(&process)
                };
                let fits = match state {
                    ChildState::Starting(_) => status == Status::Starting,
                    ChildState::Up(pid) if alive(pid) => status == Status::Up,
                    ChildState::Up(_) => status == Status::Restarting,
                    ChildState::Stopping(_) => matches!(status, Status::Starting | Status::Up),
                    ChildState::Restarting { .. } => status == Status::Restarting,
                    ChildState::Down if machine.is_busy() => {
                        matches!(status, Status::Down | Status::Restarting | Status::Starting)
                    }
                    // A failed restart is to be tried again, and this one may be started with it.
                    ChildState::Down if status == Status::Restarting => waits,
                    ChildState::Down => status == Status::Down,
                };
                prop_assert!(fits, "{id:?} is {state:?}, its name {status:?}");
            }
        }
        prop_assert!(self.node.in_limbo() == 0 || !idle, "settled, and names in limbo");
        // A spawned child that is gone has given its name back.
        for name in (0..self.planned).map(NameId).chain(self.added.iter().copied()) {
            let status = self.status(ChildId(name.0));
            if self.ended {
                prop_assert!(
                    status.is_none_or(|status| status == Status::Down),
                    "{name:?} {status:?}"
                );
            }
            if status == Some(Status::Up) {
                prop_assert!(known.contains(&ChildId(name.0)), "a name that is up and nobody's");
            }
        }
        for (call, callee) in &self.calls {
            if let Callee::Process(process) = callee {
                prop_assert!(self.alive.contains_key(process), "{call:?} has nobody to answer it");
            }
        }
        let tree = self.node.tree().poll_timeout();
        let registry = self.node.registry().poll_timeout();
        let calls = self.node.parts().3.poll_timeout();
        let earliest = [tree, registry, calls].into_iter().flatten().min();
        prop_assert_eq!(self.node.poll_timeout(), earliest);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // Rules: K1, K2, K3, K4, E3
    #[test]
    fn names_do_as_their_processes_do(
        (plan, names) in any_plan(),
        ops in prop::collection::vec(any_op(), 0..120),
    ) {
        let mut driver = Driver::new(&plan, names)?;
        for op in ops {
            driver.step(op)?;
        }
        driver.step(Op::Shutdown)?;
        // A subtree that is not told yet goes on with what it was doing, but not for long.
        for _ in 0..100 {
            driver.step(Op::Obey)?;
        }
        prop_assert!(driver.ended);
        prop_assert!(driver.calls.values().all(|callee| matches!(callee, Callee::Node(_))));
    }
}

/// A node that knows one name of each of two peers, and has a call to each in flight.
fn with_peers() -> (Node, [NameId; 2]) {
    let mut node = Node::new(Config::default());
    let names = [7, 8].map(|peer| {
        let (names, registry, _, calls) = node.parts();
        let name = names.intern(&format!("far{peer}")).expect("a good name");
        let announcement = Announcement {
            node: NodeId(peer),
            epoch: 1,
            incarnation: 1,
            revision: 0,
            lease_until: Instant::from_secs(60),
            status: Status::Up,
            kind: ChildKind::Worker,
            capabilities: &[],
        };
        assert!(registry.register_remote(name, announcement, &mut Vec::new()).is_ok());
        assert!(calls.begin(Callee::Node(NodeId(peer)), Instant::from_secs(50)).is_ok());
        name
    });
    (node, names)
}

fn ended(call: u64) -> Action {
    let outcome = CallOutcome::CalleeDown(ExitReason::NoConnection);
    Action::CallEnded(lictor_kernel::Ended { call: CallId(call), outcome })
}

// Rule: K3
#[test]
fn a_peer_that_is_given_up_takes_its_names_and_calls_along() {
    let (mut node, [far, other]) = with_peers();
    let mut out = Vec::new();
    node.handle(Instant::from_secs(1), Event::PeerDown(NodeId(7)), &mut out);
    assert_eq!(out, [ended(0)]);
    assert!(!node.registry().contains(far));
    assert!(node.registry().contains(other));
}

// Rules: K3, K4
#[test]
fn a_detector_gives_a_peer_up_at_its_instant() {
    let (mut node, [far, other]) = with_peers();
    let mut said = Vec::new();
    let at = Instant::from_secs;
    for peer in [7, 8] {
        assert_eq!(node.add_peer(at(0), NodeId(peer), &mut said), Ok(true));
        assert_eq!(said.pop(), Some(Action::Send(NodeId(peer), Frame::Hello { epoch: 0, seq: 1 })));
        let summary = Summary { count: 1, digest: 0 };
        let alive = Frame::Alive { epoch: 1, seq: 1, summary };
        node.handle(at(0), Event::Peer(NodeId(peer), alive), &mut said);
        assert_eq!(said.pop(), Some(Action::Peer(NodeId(peer), PeerChange::Up(1))));
    }
    // Each deadline is told exactly, and the answers of one peer come in time.
    for (expected, seq) in [(1, 2), (2, 3), (3, 4)] {
        assert_eq!(node.poll_timeout(), Some(at(expected)));
        node.handle_timeout(at(expected), &mut said);
        let summary = Summary::default();
        let alive = Frame::Alive { epoch: 1, seq, summary };
        node.handle(at(expected), Event::Peer(NodeId(8), alive), &mut said);
        said.retain(|action| !matches!(action, Action::Send(_, Frame::Hello { .. })));
    }
    node.handle_timeout(at(4), &mut said);
    said.retain(|action| !matches!(action, Action::Send(..)));
    let peer = |change| Action::Peer(NodeId(7), change);
    assert_eq!(said, [peer(PeerChange::Suspect), peer(PeerChange::Down), ended(0)]);
    assert!(!node.registry().contains(far));
    assert!(node.registry().contains(other));
}

// Rule: K4
#[test]
fn an_answer_of_a_peer_moves_the_deadline() {
    let second = Duration::from_secs(1);
    let detector =
        DetectorConfig::Heartbeat { interval: 5 * second, timeout: second, threshold: 2 };
    let membership = membership::Config { detector, ..membership::Config::default() };
    let mut node = Node::new(Config { membership, ..Config::default() });
    let (at, mut said) = (Instant::from_secs, Vec::new());
    let alive = |seq| {
        let summary = Summary::default();
        Event::Peer(NodeId(7), Frame::Alive { epoch: 1, seq, summary })
    };
    assert_eq!(node.add_peer(at(0), NodeId(7), &mut said), Ok(true));
    node.handle(at(0), alive(1), &mut said);
    assert_eq!(node.poll_timeout(), Some(at(5)), "the first probe");
    node.handle_timeout(at(5), &mut said);
    assert_eq!(node.poll_timeout(), Some(at(6)), "the probe is open");
    node.handle(at(5), alive(2), &mut said);
    assert_eq!(node.poll_timeout(), Some(at(10)), "the probe is answered");
}

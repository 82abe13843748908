//! What a kernel hears and decides, as records.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lictor_kernel::membership::PeerChange;
use lictor_kernel::node::{Action, Event};
use lictor_kernel::remote::{Frame, HOSTED, Ticket, Want};
use lictor_kernel::supervisor::{self, Report};
use lictor_kernel::tree;
use lictor_kernel::{ChildId, Instant, NameId, ProcessId, Signal, Status, SupervisorId};
use lictor_runtime::Recorder;

use super::Live;
use super::ledger::{Ledger, Phase};
use crate::marks::Mark;
use crate::plan::nanos;
use crate::record::{Fate, NodeIx, Process, Stage, What, Who};
use crate::scenario::Role;

/// The witness of one boot of one node.
pub(super) struct Witness {
    pub(super) live: Arc<Live>,
    pub(super) node: NodeIx,
    pub(super) boot: u32,
    pub(super) orders: Orders,
}

/// By its number for a name: the newest order of another node to run it, of which boot of that.
pub(super) type Orders = Mutex<BTreeMap<NameId, (u64, Ticket)>>;

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({:?}, {})", self.node, self.boot)
    }
}

impl Witness {
    /// What a runtime does after its node is gone is nobody's business.
    pub(super) fn note(&self, act: impl FnOnce(&mut Ledger)) {
        self.live.with(|ledger| {
            let node = ledger.node(self.node);
            if node.on && node.boot == self.boot {
                act(ledger);
            }
        });
    }
}

impl Recorder for Witness {
    fn name(&self, id: NameId, name: &str) {
        self.note(|ledger| {
            let Some(who) = ledger.plan.scenario.named(name) else { return };
            let is_own = ledger.plan.scenario.entity(who).node == self.node;
            let is_here = ledger.node_of(who) == self.node;
            if is_own || is_here {
                ledger.node(self.node).names.insert(id, who);
            }
            // What may run here for others is there when the kernel says so.
            if is_own && is_here {
                let agent = ledger.agent(who);
                (agent.present, agent.declared, agent.dead) = (true, true, 0);
            }
        });
    }

    fn event(&self, _: Instant, event: &Event) {
        if let Event::Remote(_, Frame::Order { stamp, name, ticket, want: Want::Run }) = *event
            && stamp.to == u64::from(self.boot)
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            let order = orders.entry(name).or_insert((stamp.from, ticket));
            *order = (stamp.from, ticket).max(*order);
        }
        let Event::Supervision(supervisor, event) = *event else { return };
        if supervisor == HOSTED {
            return self.hosted_event(&event);
        }
        self.note(|ledger| {
            let (pid, what): (_, fn(Process) -> What) = match event {
                // Its agent has told it.
                supervisor::Event::Started { .. } => return,
                supervisor::Event::StartIgnored { pid } => (pid, What::StartIgnored),
                supervisor::Event::StartFailed { pid } => (pid, What::StartFailed),
                supervisor::Event::Exited { pid, reason } => {
                    let Some(process) = ledger.process(self.node, ProcessId { supervisor, pid })
                    else {
                        return;
                    };
                    ledger.put(self.node, What::Exited(process, reason));
                    return ledger.gone(process);
                }
            };
            if let Some(process) = ledger.process(self.node, ProcessId { supervisor, pid }) {
                ledger.put(self.node, what(process));
                ledger.gone(process);
            }
        });
    }

    fn action(&self, now: Instant, action: &Action) {
        let mut swept = None;
        self.note(|ledger| match *action {
            Action::Supervision(
                tree::Action::Start { process } | tree::Action::Signal { process, .. },
            ) if process.supervisor == HOSTED => self.hosts(ledger, process, action),
            Action::Diverted(tree::Action::Start { process }) => {
                if let Some(process) = ledger.process(self.node, process) {
                    ledger.put(self.node, What::Start(process));
                }
            }
            Action::Diverted(tree::Action::Signal { process, signal }) => {
                if let Some(process) = ledger.process(self.node, process) {
                    ledger.put(self.node, What::Signal(process, signal));
                    swept = in_sweep(ledger, process.who);
                }
            }
            Action::Placed { process, node, stage } => self.placed(ledger, process, node, stage),
            Action::Hosted { name, here } => self.has(ledger, name, here),
            Action::Leased { process, until } => self.leased(ledger, now, process, until),
            Action::Supervision(tree::Action::Signal { process, signal }) => {
                if let Some(process) = ledger.process(self.node, process) {
                    self.signal(ledger, process, signal);
                    swept = in_sweep(ledger, process.who);
                }
            }
            Action::Supervision(action) => self.supervision(ledger, now, action),
            Action::Status { name, status } => self.status(ledger, name, status),
            Action::Peer(peer, PeerChange::Up(_)) => {
                ledger.put(self.node, What::PeerUp(NodeIx::of(peer)));
            }
            Action::Peer(peer, PeerChange::Down) => {
                ledger.put(self.node, What::PeerDown(NodeIx::of(peer)));
            }
            Action::Peer(_, PeerChange::Suspect)
            | Action::Send(..)
            | Action::CallEnded(_)
            | Action::Watch(_)
            | Action::Remote(..)
            | Action::Diverted(_) => {}
        });
        if let Some(process) = swept {
            self.live.crash_later(process, 0);
        }
    }
}

/// Who crashes because this child is told to stop, while a fault wants that.
fn in_sweep(ledger: &mut Ledger, who: Who) -> Option<Process> {
    let plan = Arc::clone(&ledger.plan);
    let parent = plan.scenario.entity(who).parent?;
    if ledger.agent(parent).effects.crash_in_sweep == 0 {
        return None;
    }
    let (Role::Supervisor(_, children) | Role::Dynamic(_, children)) =
        &plan.scenario.entity(parent).role
    else {
        return None;
    };
    let others = children.iter().filter(|child| **child != who);
    others.copied().find_map(|child| {
        let agent = ledger.agent(child);
        agent.process.filter(|_| agent.phase == Phase::Up && !agent.told)
    })
}

impl Witness {
    fn supervision(&self, ledger: &mut Ledger, now: Instant, action: tree::Action) {
        let node = self.node;
        match action {
            tree::Action::Start { process } => {
                if let Some(process) = ledger.process(node, process) {
                    ledger.put(node, What::Start(process));
                    ledger.launched(process);
                }
            }
            // Seen before.
            tree::Action::Signal { .. } => {}
            tree::Action::Supervisor { supervisor, process, stage } => {
                self.stage(ledger, supervisor, process, stage);
            }
            tree::Action::Removed { child, why, .. } => {
                let Some(who) = self.who(ledger, child) else { return };
                ledger.put(node, What::Removed(who));
                if why.is_some() {
                    ledger.agent(who).present = false;
                    ledger.close(node, who, Fate::DeadLetter);
                }
            }
            tree::Action::Report { supervisor, report } => {
                self.report(ledger, now, supervisor, report);
            }
        }
    }

    fn who(&self, ledger: &mut Ledger, child: ChildId) -> Option<Who> {
        ledger.node(self.node).names.get(&NameId(child.0)).copied()
    }

    fn signal(&self, ledger: &mut Ledger, process: Process, signal: Signal) {
        ledger.put(self.node, What::Signal(process, signal));
        if !ledger.is(process) {
            return;
        }
        let agent = ledger.agent(process.who);
        let told = std::mem::replace(&mut agent.told, true);
        ledger.stir(process.who);
        if signal == Signal::Kill && told {
            ledger.reach(Mark::KilledAtDeadline);
        }
    }

    fn stage(
        &self,
        ledger: &mut Ledger,
        supervisor: SupervisorId,
        process: Option<ProcessId>,
        stage: tree::Stage,
    ) {
        let known = process.and_then(|id| ledger.process(self.node, id));
        let root = ledger.plan.scenario.root(self.node);
        let who = known.map_or(root, |process| process.who);
        let stage = match stage {
            tree::Stage::Initializing => Stage::Initializing,
            tree::Stage::Ready => Stage::Ready,
            tree::Stage::Exited(reason) => Stage::Exited(reason),
        };
        let id = supervisor.0;
        ledger.put(self.node, What::Supervisor { who, id, process: known, stage });
        if stage == Stage::Ready && process.is_none() {
            ledger.node(self.node).ready = true;
        }
        if let (Stage::Exited(reason), None) = (stage, process) {
            ledger.tree_ended(self.node, reason);
        }
    }

    fn report(&self, ledger: &mut Ledger, now: Instant, supervisor: SupervisorId, report: Report) {
        let what = match report {
            Report::RestartScheduled { child, at } => self.who(ledger, child).map(|who| {
                let delay = nanos(at.saturating_since(now));
                What::RestartScheduled { who, supervisor: supervisor.0, delay }
            }),
            Report::RestartsExhausted { child } => self
                .who(ledger, child)
                .map(|child| What::RestartsExhausted { supervisor: supervisor.0, child }),
            Report::ShutdownError { pid, reason } => ledger
                .process(self.node, ProcessId { supervisor, pid })
                .map(|process| What::ShutdownError(process, reason)),
            Report::StaleEvent { pid } => {
                ledger.process(self.node, ProcessId { supervisor, pid }).map(What::Stale)
            }
            Report::ChildTerminated { .. } | Report::StartFailed { .. } => None,
        };
        if let Some(what) = what {
            ledger.put(self.node, what);
        }
    }

    fn status(&self, ledger: &mut Ledger, name: NameId, status: Status) {
        let Some(who) = self.who(ledger, ChildId(name.0)) else { return };
        ledger.put(self.node, What::Status(who, status));
        let is_here = ledger.node_of(who) == self.node;
        if is_here && status == Status::Up && ledger.agent(who).suspended {
            // The driver says so to the kernel at once, which tells nobody of what it was told.
            ledger.put(self.node, What::Status(who, Status::Suspended));
        }
        if ledger.is_hosted(who) {
            // What is queued ends with the name, on the node that has it; no more comes in.
            ledger.agent(who).closed |= is_here && status == Status::Down;
            return;
        }
        if status == Status::Down && ledger.plan.scenario.agent(who).is_some() {
            ledger.close(self.node, who, Fate::DeadLetter);
        }
    }
}

//! What a kernel hears and decides of agents that run on other nodes than their supervisors, as
//! records: the same as in the kernel world.

use std::sync::PoisonError;

use lictor_kernel::node::Action;
use lictor_kernel::remote::Stage;
use lictor_kernel::supervisor;
use lictor_kernel::tree;
use lictor_kernel::{Instant, NameId, NodeId, ProcessId};

use super::ledger::Ledger;
use super::witness::Witness;
use crate::fault::{Kind, Target};
use crate::plan::nanos;
use crate::record::{Fate, Here, Process, What};

impl Witness {
    /// What this node's kernel hears of a process that runs here for another node.
    pub(super) fn hosted_event(&self, event: &supervisor::Event) {
        self.note(|ledger| {
            let (pid, here) = match *event {
                // Its agent has told it.
                supervisor::Event::Started { .. } => return,
                supervisor::Event::StartIgnored { pid } => (pid, Here::Ignored),
                supervisor::Event::StartFailed { pid } => (pid, Here::Failed),
                supervisor::Event::Exited { pid, reason } => (pid, Here::Ended(reason)),
            };
            let id = ProcessId { supervisor: lictor_kernel::remote::HOSTED, pid };
            if let Some(process) = ledger.process(self.node, id) {
                if ledger.is(process) {
                    ledger.put(self.node, What::Here(process, here));
                }
                ledger.gone(process);
            }
        });
    }

    /// What this node's kernel wants of a process that runs here for another node.
    pub(super) fn hosts(&self, ledger: &mut Ledger, id: ProcessId, action: &Action) {
        let name = NameId(id.pid.child.0);
        if let Action::Supervision(tree::Action::Signal { signal, .. }) = *action {
            let Some(process) = ledger.process(self.node, id) else { return };
            if ledger.is(process) {
                ledger.put(self.node, What::Here(process, Here::Told(signal)));
                ledger.agent(process.who).told = true;
                ledger.stir(process.who);
            }
            return;
        }
        let who = ledger.node(self.node).names.get(&name).copied();
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(who), Some((boot, ticket))) = (who, orders.get(&name).copied()) else { return };
        let (supervisor, incarnation) = (ticket.supervisor.0, ticket.incarnation);
        let process = Process { who, supervisor, incarnation };
        let boot = u32::try_from(boot).unwrap_or(u32::MAX);
        ledger.hosted.insert((self.node, name), (id.pid.incarnation, process));
        ledger.put(self.node, What::Here(process, Here::Begins(boot)));
        ledger.launched(process);
    }

    /// How far a process of this node's is on another one.
    pub(super) fn placed(&self, ledger: &mut Ledger, id: ProcessId, host: NodeId, stage: Stage) {
        let Some(process) = ledger.process(self.node, id) else { return };
        ledger.put(self.node, What::placed(process, host, stage));
    }

    /// A name that may run here for others is had here, or no longer.
    pub(super) fn has(&self, ledger: &mut Ledger, name: NameId, here: bool) {
        let Some(who) = ledger.node(self.node).names.get(&name).copied() else { return };
        ledger.put(self.node, What::Has(who, here));
        let agent = ledger.agent(who);
        agent.present = here;
        if here {
            (agent.declared, agent.closed, agent.suspended, agent.dead) = (true, false, false, 0);
        } else {
            ledger.close(self.node, who, Fate::DeadLetter);
        }
    }

    pub(super) fn leased(&self, ledger: &mut Ledger, now: Instant, id: ProcessId, until: Instant) {
        let Some(process) = ledger.process(self.node, id) else { return };
        // On the world's clock; while this one may run fast, not later than it will be.
        let left = nanos(until.saturating_since(now));
        let is_drift = |fault: &&crate::fault::Fault| {
            fault.kind == Kind::Drift && fault.target == Target::Node(self.node)
        };
        let fast = ledger.plan.faults.iter().filter(is_drift).map(|fault| fault.amount).max();
        let fast = fast.filter(|_| !ledger.calm).unwrap_or(0);
        let left = u128::from(left) * 1_000_000 / (1_000_000 + u128::from(fast));
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        let world = if until == Instant::MAX {
            until
        } else {
            Instant::from_nanos(ledger.now.as_nanos().saturating_add(left))
        };
        ledger.put(self.node, What::Here(process, Here::Leased(world)));
    }
}

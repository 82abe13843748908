//! Agents that run on other nodes than their supervisors: what the kernels say to each other about
//! them, and what they do on the node that has them.
//!
//! The records of an agent's supervisor stand on its own node, and are those of any child. What its
//! host does stands there, under the name that the supervisor gave the process; the kernel of the
//! host has other numbers.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::node::{self, Action, Node};
use lictor_kernel::remote::{Config, Frame as Said, HOSTED};
use lictor_kernel::{Instant, NameId, NodeId, ProcessId, supervisor, tree};

use super::World;
use super::network::{Load, id};
use super::process::{Proc, Slot};
use crate::marks::Mark;
use crate::plan::Knobs;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, Here, NodeIx, Process, What, Who};

/// How long what runs for others may take to end when a tree has ended by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a node that boots for the n-th time treats remote children.
pub(crate) fn config(boot: u32, knobs: &Knobs) -> Config {
    let Some(lease) = knobs.child_lease else { return Config::default() };
    Config {
        lease,
        margin: lease / 8,
        renew_every: lease / 5,
        repeat_every: lease / 5,
        // The world knows that there was none before the first.
        inherits: boot > 1,
        ..Config::default()
    }
}

impl<Q: EventQueue<super::Event>> World<'_, Q> {
    /// A name that is placed: its supervisor's node says where, and its host that it may.
    pub(super) fn declare_placed(&mut self, node: NodeIx, who: Who) {
        let scenario = Arc::clone(&self.plan.scenario);
        let Some(host) = self.hosts[usize::from(who.0)] else { return };
        let (owner, name) = (self.node_of(who), &scenario.entity(who).name);
        let agent = scenario.agent(who).into_iter();
        let tags: Vec<&str> =
            agent.flat_map(|agent| agent.capabilities.iter().map(String::as_str)).collect();
        let this = self.node(node);
        if owner == node
            && let Ok(name) = this.kernel.place(name, id(host))
        {
            this.own(who, name);
        }
        if host == node
            && let Ok(name) = this.kernel.offer(name, &tags)
        {
            this.knows(who, name);
        }
    }

    /// What the kernel of a node wants with children on other nodes, or of others here.
    pub(super) fn remote_action(&mut self, node: NodeIx, action: Action) {
        match action {
            Action::Remote(to, said) => self.says_of_children(node, to, said),
            Action::Placed { process, node: host, stage } => {
                let Some(known) = self.node(node).process(process) else { return };
                self.put(node, What::placed(known, host, stage));
            }
            Action::Diverted(tree::Action::Start { process }) => {
                let Some(known) = self.node(node).process(process) else { return };
                self.put(node, What::Start(known));
            }
            Action::Diverted(tree::Action::Signal { process, signal }) => {
                let Some(known) = self.node(node).process(process) else { return };
                self.put(node, What::Signal(known, signal));
                self.crash_in_sweep(known.who);
            }
            Action::Hosted { name, here } => {
                let Some(who) = self.node(node).who(name) else { return };
                self.put(node, What::Has(who, here));
                if here {
                    let state = &mut self.agents[usize::from(who.0)];
                    (state.closed, state.suspended) = (false, false);
                } else {
                    self.close(node, who, Fate::DeadLetter, Ending::Failed);
                }
            }
            Action::Leased { process, until } => self.leased(node, process, until),
            Action::Diverted(_)
            | Action::Supervision(_)
            | Action::Status { .. }
            | Action::CallEnded(_)
            | Action::Send(..)
            | Action::Peer(..)
            | Action::Watch(_) => {}
        }
    }

    fn leased(&mut self, node: NodeIx, process: ProcessId, until: Instant) {
        let Some(slot) = self.hosted(node, process) else { return };
        let world = self.clock(node).when(until);
        let Some(proc) = self.live(slot) else { return };
        proc.until = until;
        let known = proc.process;
        self.put(node, What::Here(known, Here::Leased(world)));
    }

    /// What a kernel wants of a process that its node runs for another one.
    pub(super) fn hosts_for_another(&mut self, node: NodeIx, action: tree::Action) {
        match action {
            tree::Action::Start { process } => {
                let name = NameId(process.pid.child.0);
                let (kernel, who) = self.kernel_of(node, name);
                let (Some(who), Some((boot, ticket))) = (who, kernel.host().order_of(name)) else {
                    return;
                };
                let (supervisor, incarnation) = (ticket.supervisor.0, ticket.incarnation);
                let known = Process { who, supervisor, incarnation };
                let boot = u32::try_from(boot).unwrap_or(u32::MAX);
                self.put(node, What::Here(known, Here::Begins(boot)));
                let slot = self.takes_place(node, known, process);
                self.keep_slot(node, who, slot);
                self.begins_to_start(slot);
            }
            tree::Action::Signal { process, signal } => {
                let Some(slot) = self.hosted(node, process) else { return };
                let Some(&mut Proc { process: known, .. }) = self.live(slot) else { return };
                self.put(node, What::Here(known, Here::Told(signal)));
                self.signalled(slot, signal);
            }
            tree::Action::Supervisor { .. }
            | tree::Action::Removed { .. }
            | tree::Action::Report { .. } => {}
        }
    }

    /// The process that a node runs for another one, by its kernel's number for it.
    fn hosted(&self, node: NodeIx, process: ProcessId) -> Option<Slot> {
        let name = NameId(process.pid.child.0);
        let (_, who) = self.kernel_of(node, name);
        let is_it = |slot: &Slot| {
            let proc = self.procs.get(slot.index as usize);
            proc.is_some_and(|proc| proc.id == process && proc.node == node)
        };
        self.slots_of(node, who?).iter().copied().find(is_it)
    }

    /// What happened to a process, as its node tells it: what runs for another node has records of
    /// its own.
    pub(super) fn put_life(&mut self, slot: Slot, what: What) {
        let Some(&mut Proc { node, id, .. }) = self.live(slot) else { return };
        self.put(node, if id.supervisor == HOSTED { here(what) } else { what });
    }

    /// Tells a kernel what a process has done that its node runs for another one.
    pub(super) fn tell_host(&mut self, node: NodeIx, id: ProcessId, event: supervisor::Event) {
        let tell = |kernel: &mut Node, now: Instant, actions: &mut Vec<Action>| {
            kernel.handle(now, node::Event::Supervision(id.supervisor, event), actions);
        };
        if self.is_remnant(node) {
            self.step_remnant(node, tell);
        } else {
            self.step_kernel(node, tell);
        }
    }

    /// Whether a process must not handle anything any more, whether its node knows or not.
    pub(super) fn lease_is_over(&mut self, slot: Slot) -> bool {
        let now = self.now;
        let Some(&mut Proc { node, until, .. }) = self.live(slot) else { return false };
        until < Instant::MAX && self.clock(node).shows(now) >= until
    }

    fn says_of_children(&mut self, node: NodeIx, to: NodeId, said: Said) {
        let who = match said {
            Said::Order { name, .. } | Said::Report { name, .. } => {
                // An answer to what was said of a name that nobody has.
                let Some(who) = self.node(node).who(name) else { return };
                Some(who)
            }
            Said::Renew { .. } | Said::Renewed { .. } => None,
        };
        // What is lost is said again.
        let _ = self.post(node, NodeIx::of(to), Load::Children(said, who));
    }

    /// A kernel hears what another one says of children. Names are text on a wire.
    pub(super) fn hears_of_children(
        &mut self,
        node: NodeIx,
        from: NodeIx,
        said: Said,
        who: Option<Who>,
    ) {
        let this = &mut self.nodes[usize::from(node.0)];
        if this.left {
            // It has said goodbye, and listens no more.
            return;
        }
        let text = who.map(|who| self.plan.scenario.entity(who).name.as_str());
        let Ok(heard) = text.map(|text| this.kernel.intern_remote(text)).transpose() else {
            return;
        };
        let said = match (said, heard) {
            (Said::Order { stamp, ticket, want, .. }, Some(name)) => {
                Said::Order { stamp, name, ticket, want }
            }
            (Said::Report { stamp, ticket, state, .. }, Some(name)) => {
                Said::Report { stamp, name, ticket, state }
            }
            (other, _) => other,
        };
        let old = |kernel: &Node| kernel.placement().stale() + kernel.host().ignored();
        let was_old = self.step_kernel(node, |kernel, now, actions| {
            let before = old(kernel);
            kernel.handle(now, node::Event::Remote(id(from), said), actions);
            old(kernel) > before
        });
        if was_old {
            self.recorder.reach(Mark::StaleAnswer);
        }
    }

    /// What a node runs for others is asked to end.
    pub(super) fn stops_hosting(&mut self, node: NodeIx, within: Duration) {
        if !self.places() {
            return;
        }
        self.step_kernel(node, |kernel, now, actions| {
            kernel.stop_hosting(now, Some(now.saturating_add(within)), actions);
        });
    }

    /// A node without a tree says goodbye when nothing runs there for others either. (H14)
    pub(super) fn goodbye(&mut self, node: NodeIx) {
        if !self.places() {
            return self.parts(node);
        }
        if !self.node(node).kernel.host().is_leaving() {
            self.stops_hosting(node, PATIENCE);
        }
        self.maybe_parts(node);
    }

    /// The last of what it ran for others has ended, perhaps.
    pub(super) fn maybe_parts(&mut self, node: NodeIx) {
        if !self.places() || self.is_remnant(node) {
            return;
        }
        let this = self.node(node);
        if this.on && this.ended && !this.left && this.kernel.host().alive() == 0 {
            self.parts(node);
        }
    }

    /// Whether a supervisor of this node has a child on another one.
    pub(super) fn has_children_elsewhere(&self, node: NodeIx) -> bool {
        let is_one = |(who, entity): (Who, &crate::scenario::Entity)| {
            entity.node == node && self.hosts[usize::from(who.0)].is_some()
        };
        self.plan.scenario.all().any(is_one)
    }

    fn places(&self) -> bool {
        self.hosts.iter().any(Option::is_some)
    }
}

/// A record of a process, as of one that runs for another node.
const fn here(what: What) -> What {
    if let What::Started(it) = what {
        return What::Here(it, Here::Up);
    }
    if let What::StartIgnored(it) = what {
        return What::Here(it, Here::Ignored);
    }
    if let What::StartFailed(it) = what {
        return What::Here(it, Here::Failed);
    }
    if let What::Exited(it, reason) = what {
        return What::Here(it, Here::Ended(reason));
    }
    what
}

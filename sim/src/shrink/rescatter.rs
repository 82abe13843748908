//! Other topologies and other numbers of nodes for a plan.

use std::sync::Arc;

use lictor_topology::{AgentNode, Child, SupervisorNode, Topology};

use crate::fault::{Fault, Target};
use crate::plan::{Act, Operation, Plan};
use crate::record::{NodeIx, Who};
use crate::scenario::{Role, Scenario};

/// The plan with another topology or number of nodes. What names somebody who is gone, or a node
/// that is gone, is left out; the numbers of the others may be new.
pub(super) fn rescatter(plan: &Plan, topology: Topology, nodes: usize) -> Option<Plan> {
    let scenario = Scenario::new(topology, nodes).ok()?;
    let mut mapped = Mapped { old: &plan.scenario, new: &scenario, table: Vec::new() };
    mapped.table = plan.scenario.all().map(|(who, _)| mapped.same(who)).collect();
    let operations = plan.operations.iter().filter_map(|op| mapped.operation(*op)).collect();
    let faults = plan.faults.iter().filter_map(|fault| mapped.fault(*fault)).collect();
    Some(Plan { operations, faults, scenario: Arc::new(scenario), ..plan.clone() })
}

struct Mapped<'a> {
    old: &'a Scenario,
    new: &'a Scenario,
    table: Vec<Option<Who>>,
}

impl Mapped<'_> {
    /// Who has this one's name and is the same kind of thing.
    fn same(&self, who: Who) -> Option<Who> {
        let old = self.old.entity(who);
        let new = self.new.named(&old.name)?;
        let kind = |role: &Role| match role {
            Role::Supervisor(..) => 0,
            Role::Dynamic(..) => 1,
            Role::Agent(agent) => 2 + u8::from(agent.pool),
        };
        (kind(&old.role) == kind(&self.new.entity(new).role)).then_some(new)
    }

    fn who(&self, who: Who) -> Option<Who> {
        self.table.get(usize::from(who.0)).copied().flatten()
    }

    fn node(&self, node: NodeIx) -> Option<NodeIx> {
        (usize::from(node.0) < self.new.nodes()).then_some(node)
    }

    fn operation(&self, operation: Operation) -> Option<Operation> {
        let (act, home) = match operation.act {
            Act::Tell(who) => (Act::Tell(self.who(who)?), None),
            Act::Ask(who, timeout) => (Act::Ask(self.who(who)?, timeout), None),
            Act::Broadcast => (Act::Broadcast, None),
            Act::TellWithin(who, ttl) => (Act::TellWithin(self.who(who)?, ttl), None),
            Act::TellCapable(tag) => (Act::TellCapable(tag), None),
            Act::Publish(who, to) => self.home(who, |who| Act::Publish(who, to))?,
            Act::SendAfter(who, delay) => self.home(who, |who| Act::SendAfter(who, delay))?,
            Act::Look(who) => self.home(who, Act::Look)?,
            Act::Stop(within) => {
                self.node(operation.node)?;
                (Act::Stop(within), None)
            }
            Act::Spawn(who) => self.home(who, Act::Spawn)?,
            Act::Despawn(who) => self.home(who, Act::Despawn)?,
            Act::Terminate(who) => self.home(who, Act::Terminate)?,
            Act::Restart(who) => self.home(who, Act::Restart)?,
            Act::Suspend(who) => self.home(who, Act::Suspend)?,
            Act::Resume(who) => self.home(who, Act::Resume)?,
            Act::End(who, reason) => self.home(who, |who| Act::End(who, reason))?,
            Act::Claim(who) => (Act::Claim(self.elsewhere(who, operation.node)?), None),
            Act::Unclaim(who) => (Act::Unclaim(self.elsewhere(who, operation.node)?), None),
        };
        // Messages come from somewhere else if their node is gone.
        let sender = || self.node(operation.node).unwrap_or(NodeIx(0));
        Some(Operation { at: operation.at, node: home.unwrap_or_else(sender), act })
    }

    /// What is done to a name is done where it lives now.
    fn home(&self, who: Who, act: impl FnOnce(Who) -> Act) -> Option<(Act, Option<NodeIx>)> {
        let who = self.who(who)?;
        Some((act(who), Some(self.new.entity(who).node)))
    }

    /// A name that lives on another node than this one, which is still there.
    fn elsewhere(&self, who: Who, node: NodeIx) -> Option<Who> {
        self.node(node)?;
        self.who(who).filter(|who| self.new.entity(*who).node != node)
    }

    fn fault(&self, fault: Fault) -> Option<Fault> {
        let target = match fault.target {
            Target::World => Target::World,
            Target::Node(node) => Target::Node(self.node(node)?),
            Target::Link(from, to) => Target::Link(self.node(from)?, self.node(to)?),
            Target::Who(who) => Target::Who(self.who(who)?),
        };
        Some(Fault { target, ..fault })
    }
}

/// Without the n-th child, counted from the top: `None` if there is no such child, `Some(None)` if
/// nothing can be done with it. The last child of a supervisor stays: without it there would be no
/// topology, or the supervisor itself can go.
pub(super) fn without(topology: &Topology, number: usize) -> Option<Option<Topology>> {
    let mut topology = topology.clone();
    let done = at(&mut topology.root, &mut { number }, &mut |children, index| {
        if children.len() == 1 {
            return false;
        }
        children.remove(index);
        true
    })?;
    Some(done.then_some(topology))
}

/// With the n-th child as plain as it gets: an agent that sends nothing by itself, never fails by
/// itself, and offers nothing.
pub(super) fn plain(topology: &Topology, number: usize) -> Option<Option<Topology>> {
    let mut topology = topology.clone();
    let done = at(&mut topology.root, &mut { number }, &mut |children, index| {
        let Some(Child::Agent(node) | Child::GenServer(node)) = children.get_mut(index) else {
            return false;
        };
        let mut plain = AgentNode::new(node.name.clone(), "lictor.echo");
        plain.spec = node.spec;
        plain.mailbox = node.mailbox;
        plain.in_hand = node.in_hand;
        plain.max_retries = node.max_retries;
        plain.process.clone_from(&node.process);
        let changed = plain != *node;
        if changed {
            children[index] = Child::Agent(plain);
        }
        changed
    })?;
    Some(done.then_some(topology))
}

/// Does something with the n-th child, parents before their children. `None` if there is none.
fn at(
    node: &mut SupervisorNode,
    left: &mut usize,
    edit: &mut dyn FnMut(&mut Vec<Child>, usize) -> bool,
) -> Option<bool> {
    for index in 0..node.children.len() {
        if *left == 0 {
            return Some(edit(&mut node.children, index));
        }
        *left -= 1;
        if let Child::Supervisor(below) = &mut node.children[index]
            && let Some(done) = at(below, left, edit)
        {
            return Some(done);
        }
    }
    None
}

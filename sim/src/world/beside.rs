//! The reference model of supervision, beside the kernel of a node and in lock-step with it.
//!
//! Whatever the kernel's tree is told a tree of models is told as well; what both say, and how each
//! supervisor in them then looks, must be the same. Not every run has it: a model goes over all
//! that it was ever told, at every call.
//!
//! A node with children on other nodes has none. What becomes of those its kernel tells its tree by
//! itself, in the midst of a call, several times and partly of the instant before; the actions do
//! not say which of them answers what.

use std::sync::Arc;

use lictor_kernel::node::{Action, Node};
use lictor_kernel::remote::HOSTED;
use lictor_kernel::tree::{Action as Said, Machine, Plan};
use lictor_kernel::{Instant, SupervisorId};

use super::{Event, World};
use crate::model::tree::{Call, Look, Tree, foretells};
use crate::outcome::MODEL;
use crate::queue::EventQueue;
use crate::record::NodeIx;

/// The models beside a kernel; `None` once it is followed no longer.
#[derive(Debug, Default)]
pub(super) struct Beside(Option<Box<Tree>>);

impl Beside {
    /// For a kernel that is to start this plan.
    pub(super) fn new(wanted: bool, plan: &Arc<Plan>) -> Self {
        Self((wanted && foretells(plan)).then(Box::default))
    }

    /// Whether anything is beside this kernel.
    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What differs after a call to both.
    fn differs(
        &mut self,
        kernel: &Node,
        now: Instant,
        call: &Call,
        actions: &[Action],
    ) -> Option<String> {
        let tree = self.0.as_mut()?;
        let Some(expected) = tree.call(now, call) else {
            self.0 = None;
            return None;
        };
        let of_tree = |action: &Action| match action {
            // What runs here for others is no supervisor's of this node.
            Action::Supervision(Said::Start { process } | Said::Signal { process, .. })
                if process.supervisor == HOSTED =>
            {
                None
            }
            Action::Supervision(action) => Some(*action),
            Action::Status { .. } | Action::CallEnded(_) => None,
            Action::Send(..) | Action::Peer(..) | Action::Watch(_) => None,
            Action::Remote(..)
            | Action::Placed { .. }
            | Action::Hosted { .. }
            | Action::Diverted(_)
            | Action::Leased { .. } => None,
        };
        let said: Vec<Said> = actions.iter().filter_map(of_tree).collect();
        if said != expected {
            let at = said.iter().zip(&expected).take_while(|(one, other)| one == other).count();
            let text = |all: &[Said]| match all.get(at) {
                Some(action) => format!("{action:?}"),
                None => "nothing more".to_owned(),
            };
            let (kernel, model) = (text(&said), text(&expected));
            return Some(format!("to {call:?} the kernel says {kernel}, and the model {model}"));
        }
        let differs = |(id, look): (SupervisorId, &Look)| {
            let seen = look_at(kernel, id);
            (seen.as_ref() != Some(look)).then(|| {
                let seen = seen.map_or_else(|| "gone".to_owned(), |seen| format!("{seen:?}"));
                format!("after {call:?} {id:?} is {seen} in the kernel, and {look:?} in the model")
            })
        };
        tree.looks().find_map(differs)
    }
}

/// How a supervisor of the kernel looks.
fn look_at(kernel: &Node, id: SupervisorId) -> Option<Look> {
    let machine = kernel.tree().supervisor(id)?;
    let timeout = match machine {
        Machine::Static(machine) => machine.poll_timeout(),
        Machine::Dynamic(machine) => machine.poll_timeout(),
    };
    Some(Look { children: machine.which_children(), timeout })
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// As [`World::step_kernel`], for a call to the supervision tree: the model is called, too.
    pub(super) fn step_tree<R>(
        &mut self,
        node: NodeIx,
        call: impl FnOnce(Instant) -> Call,
        act: impl FnOnce(&mut Node, Instant, &mut Vec<Action>) -> R,
    ) -> R {
        if !self.node(node).beside.is_on() {
            return self.step_kernel(node, act);
        }
        let world = self.now;
        let this = self.node(node);
        let mut actions = std::mem::take(&mut this.actions);
        let now = this.clock.shows(world);
        let result = act(&mut this.kernel, now, &mut actions);
        let differs = this.beside.differs(&this.kernel, now, &call(now), &actions);
        // Before what the kernel wants is done: it may be told something in turn.
        self.perform(node, actions);
        self.reset_due(node);
        if let Some(text) = differs {
            self.recorder.violated(MODEL, self.now, node, text);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use lictor_kernel::node::Config;
    use lictor_kernel::supervisor::{self, Event as Fact};
    use lictor_kernel::tree::{Body, PlannedChild};
    use lictor_kernel::{
        ChildId, ChildKind, ChildSpec, ExitReason, Pid, Restart, SupervisorId, node,
    };

    use super::*;

    fn plan(id: u32, restart: Restart) -> Arc<Plan> {
        let spec = ChildSpec { restart, ..ChildSpec::default() };
        let child = PlannedChild { id: ChildId(id), spec, body: Body::Worker };
        Arc::new(Plan::Static { config: supervisor::Config::default(), children: vec![child] })
    }

    /// What is found when the model is told of a child that comes back like this.
    fn found(restart: Restart) -> Option<String> {
        let mut kernel = Node::new(Config::default());
        let mut out = Vec::new();
        let name = kernel.declare("child", ChildKind::Worker, &[], &mut out).unwrap();
        let now = Instant::from_millis(1);
        let mut beside = Beside::new(true, &plan(name.0, restart));
        out.clear();
        kernel.start(now, &plan(name.0, Restart::Permanent), &mut out).unwrap();
        let mut differs = beside.differs(&kernel, now, &Call::Start(plan(name.0, restart)), &out);
        let root = SupervisorId(0);
        let pid = Pid { child: ChildId(name.0), incarnation: 1 };
        for fact in [Fact::Started { pid }, Fact::Exited { pid, reason: ExitReason::Crashed }] {
            out.clear();
            kernel.handle(now, node::Event::Supervision(root, fact), &mut out);
            let call = Call::Fact(root, fact);
            differs = differs.or_else(|| beside.differs(&kernel, now, &call, &out));
        }
        differs
    }

    #[test]
    fn what_the_model_does_not_say_is_a_difference_with_both_sides() {
        assert_eq!(found(Restart::Permanent), None);
        let text = found(Restart::Temporary).unwrap();
        assert!(text.contains("the kernel says") && text.contains("and the model"), "{text}");
    }
}

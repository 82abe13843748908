//! Links between nodes.

use lictor_kernel::node::Action;
use lictor_kernel::{Route, Router, Undeliverable};

use super::message::Question;
use super::{Event, World};
use crate::fault::{Fault, Kind, Target};
use crate::marks::Mark;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, NodeIx};

/// A link in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {}

/// What goes over a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// Where a message goes from this node, and on its way.
    pub(super) fn route(&mut self, node: NodeIx, index: u32) {
        let to = self.messages[index as usize].to;
        let now = self.now;
        let this = self.node(node);
        let route = match this.name(to) {
            Some(name) if this.on => {
                Router::route(this.clock.shows(now), this.kernel.registry(), name)
            }
            _ => Route::Undeliverable(Undeliverable::NoSuchName),
        };
        match route {
            Route::Local { .. } => self.enqueue(node, index),
            Route::Remote { .. } => {}
            Route::Undeliverable(Undeliverable::Down) => {
                self.recorder.reach(Mark::SentToDown);
                self.message_ends(node, index, Fate::Down, Ending::Failed);
            }
            Route::Undeliverable(_) => {
                self.message_ends(node, index, Fate::Unknown, Ending::Failed);
            }
        }
    }

    /// An answer goes to who asked.
    pub(super) fn answer(&mut self, _node: NodeIx, question: Question, ending: Ending) {
        self.question_ends(question.number, ending);
    }

    pub(super) fn peer_action(&mut self, _node: NodeIx, _action: Action) {}

    pub(super) fn joins(&mut self, _node: NodeIx) {}

    pub(super) fn arrives(&mut self, _frame: u32) {}

    pub(super) fn disconnected(&mut self, _node: NodeIx, _peer: NodeIx) {}

    pub(super) fn hang_up(&mut self, _node: NodeIx) {}

    pub(super) fn at_link(&mut self, _n: u32, _kind: Kind, _at: Target, _amount: u64, _b: bool) {}

    pub(super) fn flap(&mut self, _number: u32, _fault: &Fault) {}
}

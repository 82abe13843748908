//! A node that stands still, as far as the driver of the plan is concerned: what the plan does
//! there waits with all else.

use std::collections::BTreeSet;

use super::{Driver, Ground, Todo};
use crate::fault::Target;
use crate::record::NodeIx;

impl<G: Ground> Driver<G> {
    /// A node begins to stand still.
    pub(super) fn pauses(&mut self, number: u32, node: NodeIx) {
        if self.live.with(|ledger| ledger.node(node).on) {
            let (by, _) = self.still.entry(node).or_default();
            by.insert(number);
            self.ground.pause(node, true);
        }
    }

    /// A fault by which a node stands still ends, and with the last one it goes on.
    pub(super) fn goes_on(&mut self, number: u32, node: NodeIx) {
        let Some((by, _)) = self.still.get_mut(&node) else { return };
        if by.remove(&number) && by.is_empty() {
            for todo in self.wakes_up(node) {
                self.does(todo);
                self.settles(self.is_command(todo));
            }
        }
    }

    /// A node stands still no more, if it did: what is to be done on it.
    pub(super) fn wakes_up(&mut self, node: NodeIx) -> Vec<Todo> {
        let Some((_, waits)) = self.still.remove(&node) else { return Vec::new() };
        self.ground.pause(node, false);
        waits
    }

    /// Whether something has to wait since a node stands still on which it would be done.
    pub(super) fn has_to_wait(&mut self, todo: Todo) -> bool {
        let plan = &self.live.plan;
        let of = |who| BTreeSet::from([plan.scenario.entity(who).node, plan.home(who)]);
        let places = match todo {
            Todo::Operation(number) => plan.places_of(plan.operations[number as usize]).into(),
            Todo::Begins(number) | Todo::Ends(number) | Todo::Turns(number) => {
                match plan.faults[number as usize].target {
                    Target::Who(who) => of(who),
                    Target::World | Target::Node(_) | Target::Link(..) => return false,
                }
            }
            Todo::Crashes(who) => of(who),
            Todo::Heals | Todo::Calm => return false,
        };
        let still = self.still.iter_mut().find(|(node, _)| places.contains(node));
        still.is_some_and(|(_, (_, waits))| {
            waits.push(todo);
            true
        })
    }
}

//! The smallest plan that still violates the same invariant.
//!
//! Faults go first: most have nothing to do with the failure, and each is worth several
//! operations. Then operations, nodes and parts of the topology, then times and amounts become
//! short and round. A candidate is taken only if the *same* invariant fails, so a shrunk plan never
//! shows another bug than the one that was found. All of it is repeated until nothing changes.
//!
//! Taking something out does not move the rest: what is drawn in a run is keyed by identity.

mod ddmin;
mod rescatter;
mod simplify;

use std::fmt;

use lictor_topology::Topology;

use self::ddmin::ddmin;
use crate::plan::Plan;

/// How much may be spent.
pub struct Budget<'a> {
    /// Runs, at most.
    pub runs: u64,
    /// Asked before each run whether to go on: for who has a clock.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("runs", &self.runs).finish_non_exhaustive()
    }
}

/// What shrinking came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Shrunk {
    /// The smallest plan found; the given one if nothing smaller fails.
    pub plan: Plan,
    /// How many runs it took.
    pub runs: u64,
    /// Whether the given plan violated the invariant at all. If not, nothing was tried.
    pub reproduced: bool,
    /// Whether nothing more can be taken out: the budget was not used up.
    pub minimal: bool,
}

/// Makes a plan that violates `invariant` as small as it gets.
///
/// `fails` runs a plan and says which invariant it violates, if any. The same plan must always give
/// the same answer; then the result depends on nothing but the plan and the budget.
pub fn shrink(
    plan: &Plan,
    fails: &mut dyn FnMut(&Plan) -> Option<&'static str>,
    invariant: &str,
    budget: Budget<'_>,
) -> Shrunk {
    let mut search =
        Search { best: plan.clone(), fails, invariant, budget, runs: 0, exhausted: false };
    let reproduced = search.holds(plan);
    let mut minimal = false;
    while reproduced && !minimal && !search.exhausted {
        let before = search.best.clone();
        search.faults();
        search.operations();
        search.nodes();
        search.topology();
        search.simplify();
        minimal = search.best == before && !search.exhausted;
    }
    Shrunk { plan: search.best, runs: search.runs, reproduced, minimal }
}

struct Search<'a, 'b> {
    /// The smallest plan so far.
    best: Plan,
    fails: &'a mut dyn FnMut(&Plan) -> Option<&'static str>,
    invariant: &'a str,
    budget: Budget<'b>,
    runs: u64,
    exhausted: bool,
}

impl Search<'_, '_> {
    /// Whether a plan violates the invariant; no, once the budget is used up.
    fn holds(&mut self, plan: &Plan) -> bool {
        if self.runs >= self.budget.runs || !(self.budget.go_on)() {
            self.exhausted = true;
            return false;
        }
        self.runs += 1;
        (self.fails)(plan) == Some(self.invariant)
    }

    /// Takes a candidate if it differs and violates the invariant.
    fn take(&mut self, candidate: Plan) -> bool {
        let taken = candidate != self.best && self.holds(&candidate);
        if taken {
            self.best = candidate;
        }
        taken
    }

    /// Takes a change of the smallest plan, if it is one.
    fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.take(candidate)
    }

    fn faults(&mut self) {
        let mut candidate = self.best.clone();
        let faults = ddmin(self.best.faults.clone(), &mut |faults| {
            candidate.faults.clear();
            candidate.faults.extend_from_slice(faults);
            self.holds(&candidate)
        });
        self.best.faults = faults;
    }

    fn operations(&mut self) {
        let mut candidate = self.best.clone();
        let operations = ddmin(self.best.operations.clone(), &mut |operations| {
            candidate.operations.clear();
            candidate.operations.extend_from_slice(operations);
            self.holds(&candidate)
        });
        self.best.operations = operations;
    }

    /// Fewer nodes, over which the topology is scattered anew.
    fn nodes(&mut self) {
        for nodes in 1..self.best.scenario.nodes() {
            let topology = self.best.scenario.topology().clone();
            let candidate = rescatter::rescatter(&self.best, topology, nodes);
            if candidate.is_some_and(|candidate| self.take(candidate)) {
                return;
            }
        }
    }

    /// Leaves children out, the largest subtrees first, and then what is set of those that stay.
    fn topology(&mut self) {
        let mut number = 0;
        while let Some(edited) = rescatter::without(self.best.scenario.topology(), number) {
            // The next one has the number of the one that is gone.
            if !self.with_topology(edited) {
                number += 1;
            }
        }
        number = 0;
        while let Some(edited) = rescatter::plain(self.best.scenario.topology(), number) {
            self.with_topology(edited);
            number += 1;
        }
    }

    fn with_topology(&mut self, topology: Option<Topology>) -> bool {
        let nodes = self.best.scenario.nodes();
        let candidate =
            topology.and_then(|topology| rescatter::rescatter(&self.best, topology, nodes));
        candidate.is_some_and(|candidate| self.take(candidate))
    }
}

#[cfg(test)]
mod tests;

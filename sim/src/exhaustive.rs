//! Tier 0: everything that can happen, up to a depth.
//!
//! A breadth-first search over the states of the real kernel machines and of the world around them.
//! From each state it makes every move: each process that was asked answers in each way, each that
//! is up ends in each way, time goes to the next deadline or just past it, a shutdown comes. Each
//! state is visited once, the rules S1 to S9 are checked upon every move, a model runs in lock-step
//! where there is one, and from every sixteenth state a shutdown that everyone obeys must end (L2).
//! Since the search goes breadth first, the history that it shows of a fault is a shortest one.
//!
//! States are told apart by a fingerprint of 64 bits: of a million states, two are taken for one
//! with a chance of about one in 40 million, and then a part of the search is left out unseen.
//!
//! Memory: at most 40 bytes for each state, and [`Limits::held`] whole states of both the present
//! depth and the next; those beyond are played again from their beginning.

mod fingerprint;
mod moves;
mod show;
mod topology;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::fingerprint::{Fingerprints, fingerprint};
pub use self::moves::Moves;
pub use self::topology::{CheckError, check};
use crate::operation::{Fault, Operation, Session, Subject};

/// How far a search goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Moves from the beginning.
    pub depth: u32,
    /// Different states; the search is cut short where there are more.
    pub states: usize,
    /// States of one depth that are kept whole; a node with ten names takes about ten kilobytes.
    pub held: usize,
}

impl Default for Limits {
    /// 8 moves, a million states, 20,000 of them held.
    fn default() -> Self {
        Self { depth: 8, states: 1_000_000, held: 20_000 }
    }
}

/// How far a search has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The depth that is being searched, from 1.
    pub depth: u32,
    /// Different states so far.
    pub states: usize,
    /// Moves made so far.
    pub transitions: u64,
    /// States from which this depth moves on.
    pub frontier: usize,
    /// Those of them that are done.
    pub done: usize,
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// Moves made.
    pub transitions: u64,
    /// The depth to which everything was searched.
    pub depth: u32,
    /// Nothing lies beyond: deeper searches find the same.
    pub complete: bool,
    /// The limit of states cut the search short.
    pub cut: bool,
    /// A shortest history to a fault, if there is one.
    pub counterexample: Option<Counterexample>,
}

/// A shortest history to a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample {
    /// Where it begins.
    pub from: String,
    /// What happens.
    pub operations: Vec<Operation>,
    /// What is wrong at its end.
    pub fault: Fault,
    /// The history in words, a line for each call.
    pub lines: Vec<String>,
}

/// From which state by which of its moves. A root has its own number and no parent.
#[derive(Clone, Copy, Debug)]
struct Step {
    parent: u32,
    by: u16,
}

const NO_PARENT: u32 = u32::MAX;

struct Search<'a, S> {
    roots: &'a [(String, Session<S>)],
    moves: &'a dyn Fn(&Session<S>) -> Vec<Operation>,
    limits: Limits,
    seen: Fingerprints,
    steps: Vec<Step>,
    at: Progress,
}

/// A state to move on from; one that is not held is played again.
type Waiting<S> = (u32, Option<Session<S>>);

/// Searches from all roots at once; each is a state that is fine, and what it is called.
///
/// `progress` is called about every thousand moves.
pub fn explore<S: Subject>(
    roots: &[(String, Session<S>)],
    moves: &dyn Fn(&Session<S>) -> Vec<Operation>,
    limits: Limits,
    progress: &mut dyn FnMut(Progress),
) -> Outcome {
    let seen = Fingerprints::default();
    let mut search =
        Search { roots, moves, limits, seen, steps: Vec::new(), at: Progress::default() };
    let mut frontier: Vec<Waiting<S>> = Vec::new();
    for (number, (_, root)) in roots.iter().enumerate() {
        if search.seen.insert(fingerprint(root)) {
            let by = u16::try_from(number).unwrap_or(u16::MAX);
            frontier.push((search.push(NO_PARENT, by), Some(root.clone())));
        }
    }
    for depth in 1..=limits.depth {
        (search.at.depth, search.at.frontier) = (depth, frontier.len());
        match search.deepen(frontier, progress) {
            Ok(next) => frontier = next,
            Err(stop) => return search.outcome(depth - 1, stop),
        }
        if frontier.is_empty() {
            let outcome = search.outcome(limits.depth, Stop::Cut);
            return Outcome { complete: true, cut: false, ..outcome };
        }
    }
    let outcome = search.outcome(limits.depth, Stop::Cut);
    Outcome { cut: false, ..outcome }
}

enum Stop {
    Cut,
    Found(Box<Counterexample>),
}

impl<S: Subject> Search<'_, S> {
    fn push(&mut self, parent: u32, by: u16) -> u32 {
        let index = u32::try_from(self.steps.len()).unwrap_or(NO_PARENT);
        self.steps.push(Step { parent, by });
        self.at.states = self.steps.len();
        index
    }

    /// Makes every move of every state of this depth.
    fn deepen(
        &mut self,
        frontier: Vec<Waiting<S>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Waiting<S>>, Stop> {
        let last = self.at.depth == self.limits.depth;
        let mut next: Vec<Waiting<S>> = Vec::new();
        for (done, (index, held)) in frontier.into_iter().enumerate() {
            self.at.done = done;
            let session = held.unwrap_or_else(|| self.replay(index));
            for (by, operation) in (self.moves)(&session).into_iter().enumerate() {
                let mut child = session.clone();
                self.at.transitions += 1;
                if self.at.transitions.is_multiple_of(1024) {
                    progress(self.at);
                }
                guarded(|| child.play(operation))
                    .map_err(|fault| self.found(index, &[operation], fault))?;
                let print = fingerprint(&child);
                if !self.seen.insert(print) {
                    continue;
                }
                let at = self.push(index, u16::try_from(by).unwrap_or(u16::MAX));
                if print.is_multiple_of(16) {
                    guarded(|| child.clone().ends()).map_err(|fault| self.found(at, &[], fault))?;
                }
                if self.steps.len() >= self.limits.states {
                    return Err(Stop::Cut);
                }
                let hold = !last && next.len() < self.limits.held;
                next.push((at, hold.then_some(child)));
            }
        }
        Ok(next)
    }

    /// The root and the operations that lead to a state.
    fn path(&self, index: u32) -> (usize, Vec<u16>) {
        let (mut at, mut path) = (index, Vec::new());
        loop {
            let step = self.steps[at as usize];
            if step.parent == NO_PARENT {
                path.reverse();
                return (usize::from(step.by), path);
            }
            path.push(step.by);
            at = step.parent;
        }
    }

    fn operations(&self, index: u32) -> (usize, Vec<Operation>) {
        let (root, path) = self.path(index);
        let mut session = self.roots[root].1.clone();
        let mut operations = Vec::with_capacity(path.len());
        for by in path {
            let operation = (self.moves)(&session)[usize::from(by)];
            operations.push(operation);
            let played = session.play(operation);
            assert!(played.is_ok(), "what was fine once is fine again");
        }
        (root, operations)
    }

    fn replay(&self, index: u32) -> Session<S> {
        let (root, operations) = self.operations(index);
        let mut session = self.roots[root].1.clone();
        for operation in operations {
            let played = session.play(operation);
            assert!(played.is_ok(), "what was fine once is fine again");
        }
        session
    }

    fn found(&self, index: u32, more: &[Operation], fault: Fault) -> Stop {
        let (root, mut operations) = self.operations(index);
        operations.extend(more);
        let (from, root) = &self.roots[root];
        let lines = show::lines(root, &operations);
        Stop::Found(Box::new(Counterexample { from: from.clone(), operations, fault, lines }))
    }

    fn outcome(&self, depth: u32, stop: Stop) -> Outcome {
        let counterexample = match stop {
            Stop::Cut => None,
            Stop::Found(counterexample) => Some(*counterexample),
        };
        Outcome {
            states: self.steps.len(),
            transitions: self.at.transitions,
            depth,
            complete: false,
            cut: counterexample.is_none(),
            counterexample,
        }
    }
}

/// A panic of a machine is a fault like others, and is shown with its history.
fn guarded(play: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let what = format!("the machine panicked: {}", text.unwrap_or("no text"));
        Err(Fault::Broken { rule: "A5", what })
    })
}

//! One run: the kernel's supervisor lives through a crash model.
//!
//! Facts are on a heap by instant and order; the machine's deadlines are polled. What happens next
//! is whichever is earlier, and facts of an instant come before its deadlines, as the kernel asks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use core::time::Duration;

use lictor_kernel::supervisor::{Action, Event};
use lictor_kernel::{ChildId, Deadlines, ExitReason, Instant, Pid, Signal, Supervisor};

use super::MAX_STEPS;
use super::hazard::{Blow, Hazard, Hit};
use super::measure::Run;
use super::models::Crashes;
use super::plan::Policy;
use crate::stream::{Purpose, Streams};

/// A fact that is still to come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fact {
    /// A start is over, one way or the other.
    StartEnds(At),
    /// A child that was told to stop has stopped.
    Stopped(At),
    /// A child crashes by itself.
    Crash(At),
    Blow(Blow),
    /// Somebody starts this supervisor again.
    Repair(usize),
}

/// A process, and which supervisor it is under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct At {
    tree: usize,
    pid: Pid,
}

/// A supervisor and what is known of it.
struct Tree {
    supervisor: Supervisor,
    /// The deadline that is in [`Lab::deadlines`].
    deadline: Option<Instant>,
    /// Whether this life of it has been up.
    was_ready: bool,
    lives: u64,
    gave_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Gone,
    Starting,
    Up { since: Instant },
    Stopping,
}

/// The process of a child.
#[derive(Clone, Copy, Debug)]
struct Process {
    incarnation: u64,
    state: State,
    /// When it crashed, if it has not been up again since.
    crashed: Option<Instant>,
}

struct Lab<'p> {
    policy: &'p Policy,
    hazard: Hazard<'p>,
    streams: Streams,
    trees: Vec<Tree>,
    deadlines: Deadlines<usize>,
    /// Trees that have not been up yet.
    not_ready: usize,
    /// The children of the first tree, then those of the second, ...
    processes: Vec<Process>,
    facts: BinaryHeap<Reverse<(Instant, u64, Fact)>>,
    order: u64,
    now: Instant,
    /// When all children were up for the first time: what is measured begins here.
    origin: Option<Instant>,
    /// Room for actions and blows, kept between steps.
    actions: Vec<Action>,
    blows: Vec<(Instant, Blow)>,
    run: Run,
}

/// Lives through one run of `duration`; `timeline` is where its spans begin and how long each is.
///
/// `None` if the kernel refuses the policy.
pub(super) fn run(
    policy: &Policy,
    crashes: &Crashes,
    seed: u64,
    duration: Duration,
    timeline: Option<(Duration, Duration)>,
) -> Option<Run> {
    let streams = Streams::new(seed);
    let count = usize::try_from(policy.supervisors).unwrap_or(usize::MAX);
    let tree = |tree| {
        let supervisor = policy.supervisor(jitter_seed(streams, tree, 0), 1).ok()?;
        let (deadline, was_ready, lives, gave_up) = (None, false, 1, false);
        Some(Tree { supervisor, deadline, was_ready, lives, gave_up })
    };
    let gone = Process { incarnation: 0, state: State::Gone, crashed: None };
    let mut lab = Lab {
        policy,
        hazard: Hazard::new(crashes, streams, policy),
        streams,
        trees: (0..count).map(tree).collect::<Option<Vec<Tree>>>()?,
        deadlines: Deadlines::default(),
        not_ready: count,
        processes: vec![gone; policy.total_children()],
        facts: BinaryHeap::new(),
        order: 0,
        now: Instant::ZERO,
        origin: None,
        actions: Vec::new(),
        blows: Vec::new(),
        run: Run::new(timeline),
    };
    lab.live(duration);
    Some(lab.finish())
}

fn jitter_seed(streams: Streams, tree: usize, life: u64) -> u64 {
    streams.draw(Purpose::Jitter, u64::try_from(tree).unwrap_or(u64::MAX), life)
}

impl Lab<'_> {
    fn live(&mut self, duration: Duration) {
        for tree in 0..self.trees.len() {
            self.step(tree, |supervisor, now, actions| supervisor.start(now, actions));
        }
        for steps in 0_u64.. {
            let end = self.origin.map_or(Instant::MAX, |origin| origin.saturating_add(duration));
            let fact = self.facts.peek().map(|Reverse((at, _, _))| *at);
            let next = fact.into_iter().chain(self.deadlines.next()).min();
            let Some(next) = next.filter(|next| *next < end) else {
                self.now = end;
                return;
            };
            if steps >= MAX_STEPS {
                self.run.cut = true;
                return;
            }
            self.now = next;
            if fact == Some(next) {
                if let Some(Reverse((_, _, fact))) = self.facts.pop() {
                    self.happen(fact);
                }
            } else if let Some((_, tree)) = self.deadlines.pop_due(next) {
                self.trees[tree].deadline = None;
                self.step(tree, Supervisor::handle_timeout);
            }
        }
    }

    /// Hands something to a supervisor and carries out what it decides.
    fn step(&mut self, tree: usize, call: impl FnOnce(&mut Supervisor, Instant, &mut Vec<Action>)) {
        let mut actions = std::mem::take(&mut self.actions);
        call(&mut self.trees[tree].supervisor, self.now, &mut actions);
        let deadline = self.trees[tree].supervisor.poll_timeout();
        let before = std::mem::replace(&mut self.trees[tree].deadline, deadline);
        if before != deadline {
            before.map(|at| self.deadlines.clear(at, tree));
            deadline.into_iter().for_each(|at| self.deadlines.set(at, tree));
        }
        for action in actions.drain(..) {
            self.carry_out(tree, action);
        }
        self.actions = actions;
    }

    fn happen(&mut self, fact: Fact) {
        match fact {
            Fact::StartEnds(at) if self.is(at, State::Starting) => self.start_ends(at),
            Fact::Stopped(at) if self.is(at, State::Stopping) => {
                self.leave(self.place(at), State::Gone);
                self.tell(at.tree, Event::Exited { pid: at.pid, reason: ExitReason::Shutdown });
            }
            Fact::Crash(at) if self.process(at).incarnation == at.pid.incarnation => {
                self.crash(self.place(at));
            }
            Fact::StartEnds(_) | Fact::Stopped(_) | Fact::Crash(_) => {}
            Fact::Blow(blow) => self.blow(blow),
            Fact::Repair(tree) => self.repair(tree),
        }
    }

    fn blow(&mut self, blow: Blow) {
        let mut blows = std::mem::take(&mut self.blows);
        let hit = self.hazard.blow(self.now, blow, &mut blows);
        for (at, blow) in blows.drain(..) {
            self.later(at, Fact::Blow(blow));
        }
        self.blows = blows;
        match hit {
            Hit::Nothing => {}
            Hit::Now(place) => {
                let missed = !self.crash(place);
                let recorded = matches!(blow, Blow::Recorded { .. });
                self.run.missed_crashes += u64::from(missed && recorded);
            }
            Hit::At(place, at) => self.later(at, Fact::Crash(self.who(place))),
        }
    }

    /// Crashes a child if it is up, and says whether it was.
    fn crash(&mut self, place: usize) -> bool {
        if !matches!(self.processes[place].state, State::Up { .. }) {
            return false;
        }
        self.leave(place, State::Gone);
        self.processes[place].crashed = Some(self.now);
        self.run.crashes += 1;
        let At { tree, pid } = self.who(place);
        self.tell(tree, Event::Exited { pid, reason: ExitReason::Crashed });
        true
    }

    fn start_ends(&mut self, at: At) {
        let place = self.place(at);
        let At { tree, pid } = at;
        if !self.hazard.can_start(self.now, place) {
            self.leave(place, State::Gone);
            self.run.failed_starts += 1;
            self.tell(tree, Event::StartFailed { pid });
            return;
        }
        let process = &mut self.processes[place];
        process.state = State::Up { since: self.now };
        if let Some(crashed) = process.crashed.take() {
            self.run.recovered(self.now.saturating_since(crashed));
        }
        if let Some(crash) = self.hazard.up(self.now, place) {
            self.later(crash, Fact::Crash(at));
        }
        self.tell(tree, Event::Started { pid });
    }

    /// Starts a tree again with a new supervisor, whose budget is unused.
    fn repair(&mut self, tree: usize) {
        let before = &self.trees[tree];
        let seed = jitter_seed(self.streams, tree, before.lives);
        // The incarnations go on, so that no fact of the old life is taken for one of the new.
        let first = before.supervisor.next_incarnation();
        let Ok(supervisor) = self.policy.supervisor(seed, first) else { return };
        let after = &mut self.trees[tree];
        after.supervisor = supervisor;
        after.was_ready = false;
        after.lives += 1;
        self.step(tree, |supervisor, now, actions| supervisor.start(now, actions));
    }

    fn tell(&mut self, tree: usize, event: Event) {
        self.step(tree, |supervisor, now, actions| supervisor.handle(now, event, actions));
    }

    fn carry_out(&mut self, tree: usize, action: Action) {
        match action {
            Action::Start { pid } => {
                let at = At { tree, pid };
                let place = self.place(at);
                self.processes[place].incarnation = pid.incarnation;
                self.processes[place].state = State::Starting;
                if let Some(origin) = self.origin {
                    self.run.started(self.now.saturating_since(origin));
                    self.hazard.starting(self.now);
                }
                let ends = self.now.saturating_add(self.policy.start_time);
                self.later(ends, Fact::StartEnds(at));
            }
            Action::Signal { pid, signal } => self.signal(At { tree, pid }, signal),
            Action::Ready => {
                self.trees[tree].was_ready = true;
                if self.origin.is_none() {
                    self.not_ready = self.not_ready.saturating_sub(1);
                    if self.not_ready == 0 {
                        self.begin();
                    }
                }
            }
            Action::Exit { .. } => self.gave_up(tree),
            Action::Removed { .. } | Action::Report(_) => {}
        }
    }

    fn signal(&mut self, at: At, signal: Signal) {
        let process = self.process(at);
        if process.incarnation != at.pid.incarnation || process.state == State::Gone {
            return;
        }
        if matches!(process.state, State::Up { .. }) {
            self.run.collateral += 1;
        }
        self.leave(self.place(at), State::Stopping);
        let stopped = match signal {
            Signal::Shutdown => self.now.saturating_add(self.policy.stop_time),
            Signal::Kill => self.now,
        };
        self.later(stopped, Fact::Stopped(at));
    }

    /// Everything is up for the first time: the faults begin, and so do the measures.
    fn begin(&mut self) {
        self.origin = Some(self.now);
        let mut blows = std::mem::take(&mut self.blows);
        self.hazard.begin(self.now, &mut blows);
        for (at, blow) in blows.drain(..) {
            self.later(at, Fact::Blow(blow));
        }
        self.blows = blows;
        for place in 0..self.processes.len() {
            self.processes[place].state = State::Up { since: self.now };
            if let Some(crash) = self.hazard.up(self.now, place) {
                self.later(crash, Fact::Crash(self.who(place)));
            }
        }
    }

    fn gave_up(&mut self, tree: usize) {
        let since = self.now.saturating_since(self.origin.unwrap_or(self.now));
        let state = &mut self.trees[tree];
        if state.was_ready {
            let first = !std::mem::replace(&mut state.gave_up, true);
            self.run.gave_up(since, first);
        } else {
            self.run.failed_repairs += 1;
        }
        if let Some(after) = self.policy.repair_after {
            self.later(self.now.saturating_add(after), Fact::Repair(tree));
        }
    }

    /// A child leaves the state that it is in; its time up is added.
    fn leave(&mut self, place: usize, state: State) {
        if let State::Up { since } = self.processes[place].state {
            self.run.up(self.now.saturating_since(since));
            self.hazard.down(place);
        }
        self.processes[place].state = state;
    }

    fn finish(mut self) -> Run {
        let origin = self.origin.unwrap_or(self.now);
        for place in 0..self.processes.len() {
            self.leave(place, State::Gone);
            if let Some(crashed) = self.processes[place].crashed {
                self.run.not_recovered(self.now.saturating_since(crashed));
            }
        }
        self.run.outage = self.hazard.outage(self.now);
        let measured = self.now.saturating_since(origin);
        self.run.finish(measured, self.processes.len(), self.policy.supervisors);
        self.run
    }

    /// The place of a process among all; the ids of children are their places under a supervisor.
    fn place(&self, at: At) -> usize {
        let child = usize::try_from(at.pid.child.0).unwrap_or(usize::MAX);
        at.tree * self.policy.children.len() + child
    }

    /// The current process at a place.
    fn who(&self, place: usize) -> At {
        let each = self.policy.children.len();
        let child = ChildId(u32::try_from(place % each).unwrap_or(u32::MAX));
        let incarnation = self.processes[place].incarnation;
        At { tree: place / each, pid: Pid { child, incarnation } }
    }

    fn process(&self, at: At) -> Process {
        self.processes[self.place(at)]
    }

    fn is(&self, at: At, state: State) -> bool {
        let process = self.process(at);
        process.incarnation == at.pid.incarnation && process.state == state
    }

    fn later(&mut self, at: Instant, fact: Fact) {
        self.facts.push(Reverse((at, self.order, fact)));
        self.order += 1;
    }
}

//! One run: the kernel's supervisor lives through a crash model.
//!
//! Facts are on a heap by instant and order; the machine's deadlines are polled. What happens next
//! is whichever is earlier, and facts of an instant come before its deadlines, as the kernel asks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use core::time::Duration;

use lictor_kernel::supervisor::{Action, Event};
use lictor_kernel::{ChildId, ExitReason, Instant, Pid, Signal, Supervisor};

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
    StartEnds(Pid),
    /// A child that was told to stop has stopped.
    Stopped(Pid),
    /// A child crashes by itself.
    Crash(Pid),
    Blow(Blow),
    /// Somebody starts the tree again.
    Repair,
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
    supervisor: Supervisor,
    /// Whether this life of the supervisor has been up.
    was_ready: bool,
    lives: u64,
    processes: Vec<Process>,
    facts: BinaryHeap<Reverse<(Instant, u64, Fact)>>,
    order: u64,
    now: Instant,
    /// When all children were up for the first time: what is measured begins here.
    origin: Option<Instant>,
    blows: Vec<(Instant, Blow)>,
    run: Run,
}

/// Lives through one run of `duration`; `timeline` is the width of its buckets and where they begin.
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
    let supervisor = policy.supervisor(jitter_seed(streams, 0), 1).ok()?;
    let children = policy.children.len();
    let gone = Process { incarnation: 0, state: State::Gone, crashed: None };
    let mut lab = Lab {
        policy,
        hazard: Hazard::new(crashes, streams, children),
        streams,
        supervisor,
        was_ready: false,
        lives: 1,
        processes: vec![gone; children],
        facts: BinaryHeap::new(),
        order: 0,
        now: Instant::ZERO,
        origin: None,
        blows: Vec::new(),
        run: Run::new(timeline),
    };
    lab.live(duration);
    Some(lab.finish())
}

fn jitter_seed(streams: Streams, life: u64) -> u64 {
    streams.draw(Purpose::Jitter, 0, life)
}

impl Lab<'_> {
    fn live(&mut self, duration: Duration) {
        let mut actions = Vec::new();
        self.supervisor.start(self.now, &mut actions);
        let mut steps = 0_u64;
        loop {
            self.carry_out(&mut actions);
            let end = self.origin.map_or(Instant::MAX, |origin| origin.saturating_add(duration));
            let fact = self.facts.peek().map(|Reverse((at, _, _))| *at);
            let deadline = self.supervisor.poll_timeout();
            let next = [fact, deadline].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next < end) else {
                self.now = end;
                return;
            };
            steps += 1;
            if steps > MAX_STEPS {
                self.run.cut = true;
                return;
            }
            self.now = next;
            if fact == Some(next)
                && let Some(Reverse((_, _, fact))) = self.facts.pop()
            {
                self.happen(fact, &mut actions);
            } else {
                self.supervisor.handle_timeout(next, &mut actions);
            }
        }
    }

    fn happen(&mut self, fact: Fact, actions: &mut Vec<Action>) {
        match fact {
            Fact::StartEnds(pid) if self.is(pid, State::Starting) => self.start_ends(pid, actions),
            Fact::Stopped(pid) if self.is(pid, State::Stopping) => {
                self.leave(index(pid), State::Gone);
                self.tell(Event::Exited { pid, reason: ExitReason::Shutdown }, actions);
            }
            Fact::Crash(pid) if self.process(pid).incarnation == pid.incarnation => {
                self.crash(index(pid), actions);
            }
            Fact::StartEnds(_) | Fact::Stopped(_) | Fact::Crash(_) => {}
            Fact::Blow(blow) => self.blow(blow, actions),
            Fact::Repair => self.repair(actions),
        }
    }

    fn blow(&mut self, blow: Blow, actions: &mut Vec<Action>) {
        let mut blows = std::mem::take(&mut self.blows);
        let hit = self.hazard.blow(self.now, blow, &mut blows);
        for (at, blow) in blows.drain(..) {
            self.later(at, Fact::Blow(blow));
        }
        self.blows = blows;
        match hit {
            Hit::Nothing => {}
            Hit::Now(child) => {
                let missed = !self.crash(child, actions);
                let recorded = matches!(blow, Blow::Recorded { .. });
                self.run.missed_crashes += u64::from(missed && recorded);
            }
            Hit::At(child, at) => {
                if let Some(process) = self.processes.get(child) {
                    let id = id_of(child);
                    self.later(
                        at,
                        Fact::Crash(Pid { child: id, incarnation: process.incarnation }),
                    );
                }
            }
        }
    }

    /// Crashes a child if it is up, and says whether it was.
    fn crash(&mut self, child: usize, actions: &mut Vec<Action>) -> bool {
        let Some(process) = self.processes.get(child).copied() else { return false };
        if !matches!(process.state, State::Up { .. }) {
            return false;
        }
        self.leave(child, State::Gone);
        self.processes[child].crashed = Some(self.now);
        self.run.crashes += 1;
        let id = id_of(child);
        let pid = Pid { child: id, incarnation: process.incarnation };
        self.tell(Event::Exited { pid, reason: ExitReason::Crashed }, actions);
        true
    }

    fn start_ends(&mut self, pid: Pid, actions: &mut Vec<Action>) {
        let child = index(pid);
        if !self.hazard.can_start(self.now, child) {
            self.leave(child, State::Gone);
            self.run.failed_starts += 1;
            self.tell(Event::StartFailed { pid }, actions);
            return;
        }
        let process = &mut self.processes[child];
        process.state = State::Up { since: self.now };
        if let Some(crashed) = process.crashed.take() {
            self.run.recovered(self.now.saturating_since(crashed));
        }
        if let Some(at) = self.hazard.up(self.now, child) {
            self.later(at, Fact::Crash(pid));
        }
        self.tell(Event::Started { pid }, actions);
    }

    /// Starts the tree again with a new supervisor, whose budget is unused.
    fn repair(&mut self, actions: &mut Vec<Action>) {
        let seed = jitter_seed(self.streams, self.lives);
        self.lives += 1;
        // The incarnations go on, so that no fact of the old life is taken for one of the new.
        let first = self.supervisor.next_incarnation();
        let Ok(supervisor) = self.policy.supervisor(seed, first) else { return };
        self.supervisor = supervisor;
        self.was_ready = false;
        self.supervisor.start(self.now, actions);
    }

    fn tell(&mut self, event: Event, actions: &mut Vec<Action>) {
        self.supervisor.handle(self.now, event, actions);
    }

    fn carry_out(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Start { pid } => {
                    let process = &mut self.processes[index(pid)];
                    process.incarnation = pid.incarnation;
                    process.state = State::Starting;
                    if let Some(origin) = self.origin {
                        self.run.started(self.now.saturating_since(origin));
                        self.hazard.starting(self.now);
                    }
                    self.later(
                        self.now.saturating_add(self.policy.start_time),
                        Fact::StartEnds(pid),
                    );
                }
                Action::Signal { pid, signal } => self.signal(pid, signal),
                Action::Ready => {
                    self.was_ready = true;
                    if self.origin.is_none() {
                        self.begin();
                    }
                }
                Action::Exit { .. } => self.gave_up(),
                Action::Removed { .. } | Action::Report(_) => {}
            }
        }
    }

    fn signal(&mut self, pid: Pid, signal: Signal) {
        let process = self.process(pid);
        if process.incarnation != pid.incarnation || process.state == State::Gone {
            return;
        }
        if matches!(process.state, State::Up { .. }) {
            self.run.collateral += 1;
        }
        self.leave(index(pid), State::Stopping);
        let at = match signal {
            Signal::Shutdown => self.now.saturating_add(self.policy.stop_time),
            Signal::Kill => self.now,
        };
        self.later(at, Fact::Stopped(pid));
    }

    /// Everything is up for the first time: the faults begin, and so do the measures.
    fn begin(&mut self) {
        self.origin = Some(self.now);
        self.hazard.begin(self.now, &mut self.blows);
        for (at, blow) in std::mem::take(&mut self.blows) {
            self.later(at, Fact::Blow(blow));
        }
        for child in 0..self.processes.len() {
            let process = &mut self.processes[child];
            process.state = State::Up { since: self.now };
            let incarnation = process.incarnation;
            if let Some(at) = self.hazard.up(self.now, child) {
                let id = id_of(child);
                self.later(at, Fact::Crash(Pid { child: id, incarnation }));
            }
        }
    }

    fn gave_up(&mut self) {
        let since = self.now.saturating_since(self.origin.unwrap_or(self.now));
        if self.was_ready {
            self.run.gave_up(since);
        } else {
            self.run.failed_repairs += 1;
        }
        if let Some(after) = self.policy.repair_after {
            self.later(self.now.saturating_add(after), Fact::Repair);
        }
    }

    /// A child leaves the state that it is in; its time up is added.
    fn leave(&mut self, child: usize, state: State) {
        let process = &mut self.processes[child];
        if let State::Up { since } = process.state {
            self.run.up(self.now.saturating_since(since));
            self.hazard.down(child);
        }
        process.state = state;
    }

    fn finish(mut self) -> Run {
        let origin = self.origin.unwrap_or(self.now);
        for child in 0..self.processes.len() {
            self.leave(child, State::Gone);
            if let Some(crashed) = self.processes[child].crashed {
                self.run.not_recovered(self.now.saturating_since(crashed));
            }
        }
        self.run.outage = self.hazard.outage(self.now);
        let measured = self.now.saturating_since(origin);
        self.run.finish(measured, self.processes.len());
        self.run
    }

    fn process(&self, pid: Pid) -> Process {
        self.processes[index(pid)]
    }

    fn is(&self, pid: Pid, state: State) -> bool {
        let process = self.process(pid);
        process.incarnation == pid.incarnation && process.state == state
    }

    fn later(&mut self, at: Instant, fact: Fact) {
        self.facts.push(Reverse((at, self.order, fact)));
        self.order += 1;
    }
}

fn id_of(child: usize) -> ChildId {
    ChildId(u32::try_from(child).unwrap_or(u32::MAX))
}

/// The place of a child; ids are given in order from 0.
fn index(pid: Pid) -> usize {
    usize::try_from(pid.child.0).unwrap_or(usize::MAX)
}

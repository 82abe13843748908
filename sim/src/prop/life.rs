//! What a supervisor lived through.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use core::fmt;
use core::time::Duration;

use lictor_kernel::supervisor::{Action, Event, Report};
use lictor_kernel::{ChildId, ExitReason, Instant, Pid, Signal, Supervisor};

use super::{Crash, History, Spec};

/// No life has more steps. A history that is finite ends long before.
const MAX_STEPS: u32 = 10_000_000;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum What {
    /// The supervisor starts a child.
    Starting(Pid),
    /// It is up.
    Up(Pid),
    /// It ended by itself, as the history says.
    Crashed(Pid, ExitReason),
    /// The history lets a child end that was not up: nothing happens.
    Missed(ChildId),
    /// The supervisor tells a child to stop.
    Stopping(Pid),
    /// It has stopped.
    Stopped(Pid),
    /// The child will be started again at this time.
    RestartScheduled(ChildId, Duration),
    /// The budget is used up, with this child's crash.
    RestartsExhausted(ChildId),
    /// The supervisor has ended.
    Ended(ExitReason),
}

/// What a supervisor did in a history: every fact, and every decision of the kernel, in order.
///
/// `Display` shows it as a timeline, a line for each event.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Life {
    /// What happened, and when, counted from when all children were up for the first time.
    pub events: Vec<(Duration, What)>,
}

impl Life {
    /// When each child was started again, in order.
    pub fn restarts(&self) -> impl Iterator<Item = (Duration, ChildId)> + '_ {
        self.events.iter().filter_map(|(at, what)| match what {
            What::Starting(pid) => Some((*at, pid.child)),
            What::Up(_)
            | What::Crashed(..)
            | What::Missed(_)
            | What::Stopping(_)
            | What::Stopped(_)
            | What::RestartScheduled(..)
            | What::RestartsExhausted(_)
            | What::Ended(_) => None,
        })
    }

    /// The most restarts within any half-open span of this length.
    #[must_use]
    pub fn most_restarts_within(&self, span: Duration) -> usize {
        let times: Vec<Duration> = self.restarts().map(|(at, _)| at).collect();
        let within = |(first, from): (usize, &Duration)| {
            times.iter().skip(first).take_while(|at| at.saturating_sub(*from) < span).count()
        };
        times.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// When the budget was used up, if it was.
    #[must_use]
    pub fn gave_up(&self) -> Option<Duration> {
        let exhausted = |what: &What| matches!(what, What::RestartsExhausted(_));
        self.events.iter().find(|(_, what)| exhausted(what)).map(|(at, _)| *at)
    }

    /// Why the supervisor ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<ExitReason> {
        self.events.iter().rev().find_map(|(_, what)| match what {
            What::Ended(reason) => Some(*reason),
            What::Starting(_)
            | What::Up(_)
            | What::Crashed(..)
            | What::Missed(_)
            | What::Stopping(_)
            | What::Stopped(_)
            | What::RestartScheduled(..)
            | What::RestartsExhausted(_) => None,
        })
    }

    /// The longest time from a child's end, by itself or on order, until it was up again. Children
    /// that never came back do not count.
    #[must_use]
    pub fn longest_down(&self) -> Duration {
        let mut down: Vec<(ChildId, Duration)> = Vec::new();
        let mut longest = Duration::ZERO;
        for (at, what) in &self.events {
            match what {
                What::Crashed(pid, _) | What::Stopped(pid) => down.push((pid.child, *at)),
                What::Up(pid) => {
                    if let Some(index) = down.iter().position(|(child, _)| *child == pid.child) {
                        let (_, since) = down.swap_remove(index);
                        longest = longest.max(at.saturating_sub(since));
                    }
                }
                What::Starting(_)
                | What::Missed(_)
                | What::Stopping(_)
                | What::RestartScheduled(..)
                | What::RestartsExhausted(_)
                | What::Ended(_) => {}
            }
        }
        longest
    }

    /// Whether a child is up at the end.
    #[must_use]
    pub fn is_up(&self, child: ChildId) -> bool {
        let last = self.events.iter().rev().find_map(|(_, what)| match what {
            What::Up(pid) if pid.child == child => Some(true),
            What::Crashed(pid, _) | What::Stopping(pid) if pid.child == child => Some(false),
            What::Up(_)
            | What::Crashed(..)
            | What::Stopping(_)
            | What::Starting(_)
            | What::Missed(_)
            | What::Stopped(_)
            | What::RestartScheduled(..)
            | What::RestartsExhausted(_)
            | What::Ended(_) => None,
        });
        // All were up when the history began.
        last.unwrap_or(true)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in &self.events {
            write!(f, "{at:>10.3?}  ")?;
            match what {
                What::Starting(pid) => writeln!(f, "child {} is being started", pid.child.0),
                What::Up(pid) => writeln!(f, "child {} is up", pid.child.0),
                What::Crashed(pid, why) => writeln!(f, "child {} ends: {why:?}", pid.child.0),
                What::Missed(child) => writeln!(f, "child {} is not up, cannot end", child.0),
                What::Stopping(pid) => writeln!(f, "child {} is told to stop", pid.child.0),
                What::Stopped(pid) => writeln!(f, "child {} has stopped", pid.child.0),
                What::RestartScheduled(child, at) => {
                    writeln!(f, "child {} will be started at {at:.3?}", child.0)
                }
                What::RestartsExhausted(child) => {
                    writeln!(f, "child {} was one crash too many", child.0)
                }
                What::Ended(reason) => writeln!(f, "the supervisor ends: {reason:?}"),
            }?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    StartEnds(Pid),
    Stopped(Pid),
    Crash(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Gone,
    Starting,
    Up,
    Stopping,
}

struct Run<'r> {
    spec: &'r Spec,
    history: &'r History,
    supervisor: Supervisor,
    /// The incarnation and the state of each child.
    processes: Vec<(u64, State)>,
    facts: BinaryHeap<Reverse<(Instant, u32, Fact)>>,
    order: u32,
    now: Instant,
    origin: Option<Instant>,
    life: Life,
}

pub(super) fn live(spec: &Spec, history: &History) -> Life {
    let children: Vec<_> = (0..).map(ChildId).zip(spec.children.iter().copied()).collect();
    let supervisor = Supervisor::new(spec.config.clone(), &children);
    let mut run = Run {
        spec,
        history,
        supervisor: supervisor.expect("a configuration that the kernel accepts"),
        processes: vec![(0, State::Gone); children.len()],
        facts: BinaryHeap::new(),
        order: 0,
        now: Instant::ZERO,
        origin: None,
        life: Life { events: Vec::new() },
    };
    let mut actions = Vec::new();
    run.supervisor.start(run.now, &mut actions);
    for _ in 0..MAX_STEPS {
        for action in actions.drain(..) {
            run.carry_out(action);
        }
        let fact = run.facts.peek().map(|Reverse((at, _, _))| *at);
        let Some(next) = fact.into_iter().chain(run.supervisor.poll_timeout()).min() else { break };
        run.now = next;
        if fact != Some(next) {
            run.supervisor.handle_timeout(next, &mut actions);
        } else if let Some(Reverse((_, _, fact))) = run.facts.pop() {
            run.happen(fact, &mut actions);
        }
    }
    run.life
}

impl Run<'_> {
    fn happen(&mut self, fact: Fact, actions: &mut Vec<Action>) {
        let event = match fact {
            Fact::StartEnds(pid) if self.is(pid, State::Starting) => {
                self.set(pid, State::Up);
                self.tell(What::Up(pid));
                Event::Started { pid }
            }
            Fact::Stopped(pid) if self.is(pid, State::Stopping) => {
                self.set(pid, State::Gone);
                self.tell(What::Stopped(pid));
                Event::Exited { pid, reason: ExitReason::Shutdown }
            }
            Fact::Crash(index) => {
                let Some(Crash { child, reason, .. }) = self.history.crashes.get(index) else {
                    return;
                };
                let (child, reason) = (*child, ExitReason::from(*reason));
                let process = self.processes.get(place(child)).copied();
                let Some((incarnation, State::Up)) = process else {
                    self.tell(What::Missed(child));
                    return;
                };
                let pid = Pid { child, incarnation };
                self.set(pid, State::Gone);
                self.tell(What::Crashed(pid, reason));
                Event::Exited { pid, reason }
            }
            Fact::StartEnds(_) | Fact::Stopped(_) => return,
        };
        self.supervisor.handle(self.now, event, actions);
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start { pid } => {
                self.set(pid, State::Starting);
                self.tell(What::Starting(pid));
                let time = self.spec.start_time.max(Duration::from_nanos(1));
                self.later(self.now.saturating_add(time), Fact::StartEnds(pid));
            }
            Action::Signal { pid, signal } => {
                let gone = self.is(pid, State::Gone);
                if gone || self.processes[place(pid.child)].0 != pid.incarnation {
                    return;
                }
                self.set(pid, State::Stopping);
                self.tell(What::Stopping(pid));
                let time = match signal {
                    Signal::Shutdown => self.spec.stop_time,
                    Signal::Kill => Duration::ZERO,
                };
                self.later(self.now.saturating_add(time), Fact::Stopped(pid));
            }
            Action::Ready => self.begin(),
            Action::Report(Report::RestartScheduled { child, at }) => {
                let at = at.saturating_since(self.origin.unwrap_or_default());
                self.tell(What::RestartScheduled(child, at));
            }
            Action::Report(Report::RestartsExhausted { child }) => {
                self.tell(What::RestartsExhausted(child));
            }
            Action::Exit { reason } => self.tell(What::Ended(reason)),
            Action::Report(_) | Action::Removed { .. } => {}
        }
    }

    /// All children are up: the history begins.
    fn begin(&mut self) {
        self.origin = Some(self.now);
        for (index, crash) in self.history.crashes.iter().enumerate() {
            self.facts.push(Reverse((
                self.now.saturating_add(crash.at),
                self.order,
                Fact::Crash(index),
            )));
            self.order += 1;
        }
    }

    fn tell(&mut self, what: What) {
        // What it takes until all are up for the first time is no part of the history.
        if let Some(origin) = self.origin {
            self.life.events.push((self.now.saturating_since(origin), what));
        }
    }

    fn is(&self, pid: Pid, state: State) -> bool {
        self.processes[place(pid.child)] == (pid.incarnation, state)
    }

    fn set(&mut self, pid: Pid, state: State) {
        self.processes[place(pid.child)] = (pid.incarnation, state);
    }

    fn later(&mut self, at: Instant, fact: Fact) {
        self.facts.push(Reverse((at, self.order, fact)));
        self.order += 1;
    }
}

fn place(child: ChildId) -> usize {
    usize::try_from(child.0).unwrap_or(usize::MAX)
}

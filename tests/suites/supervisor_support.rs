//! The world around one supervisor, and random histories of it.
//!
//! The world keeps what a driver would keep: which processes were started, which were told to end.
//! An [`Op`] names no process; it picks one of those that exist by a number, so that any history
//! stays meaningful when proptest removes a part of it.

use core::time::Duration;

use lictor_kernel::supervisor::{Action, Event};
use lictor_kernel::{AutoShutdown, ChildId, ChildSpec, ExitReason, Instant, Pid, Signal};
use lictor_sim::model::{Input, Step};
use proptest::prelude::*;

use super::supervisor_setup::{any_reason, any_spec};

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Call `start` (again).
    Begin,
    /// A process that is asked to start or to end answers.
    Answer { which: usize, how: Answer },
    /// Everyone who was asked does as told, until nobody is asked any more.
    Obey,
    /// A process that is up ends by itself.
    Die { which: usize, reason: ExitReason },
    /// Everyone who is up ends, in this direction.
    AllDie { reversed: bool, reason: ExitReason },
    /// A command.
    Command { what: u8, id: u32, spec: ChildSpec },
    /// Time goes on.
    Advance(Advance),
    /// `handle_timeout`, due or not.
    Timeout,
    /// The parent says shutdown.
    Shutdown { within: Option<Duration> },
    /// The parent kills.
    Kill,
    /// A fact that cannot be, or comes too late.
    Nonsense { what: u8, which: usize, reason: ExitReason },
}

/// How a process answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Well,
    /// It says that it is up, although it was told to end meanwhile.
    Late,
    Ignored,
    Failed,
    Exited(ExitReason),
}

/// How far time goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Advance {
    /// To the next deadline, which is then served.
    ToDeadline,
    /// To one nanosecond before the next deadline.
    BeforeDeadline,
    /// Past the next deadline by this much, and what comes next finds it overdue.
    PastDeadline(Duration),
    /// Until the last death is exactly one window old, give or take a nanosecond.
    ToWindowEdge(i8),
    /// By this much.
    By(Duration),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) up: bool,
    pub(crate) told: Option<Signal>,
}

/// What a driver knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) processes: Vec<Process>,
    pub(crate) dead: Vec<Pid>,
    pub(crate) timeout: Option<Instant>,
    pub(crate) last_death: Instant,
    period: Duration,
}

impl World {
    pub(crate) fn new(now: Instant, period: Duration) -> Self {
        Self { now, processes: vec![], dead: vec![], timeout: None, last_death: now, period }
    }

    /// Takes in what a call did.
    pub(crate) fn saw(&mut self, step: &Step) {
        self.timeout = step.timeout;
        for action in &step.actions {
            match action {
                Action::Start { pid } => {
                    self.processes.push(Process { pid: *pid, up: false, told: None });
                }
                Action::Signal { pid, signal } => {
                    if let Some(process) = self.processes.iter_mut().find(|p| p.pid == *pid) {
                        process.told = Some(*signal);
                    }
                }
                Action::Ready | Action::Removed { .. } => {}
                Action::Report(_) | Action::Exit { .. } => {}
            }
        }
    }

    /// A process is no more.
    pub(crate) fn end(&mut self, pid: Pid) {
        self.processes.retain(|process| process.pid != pid);
        self.dead.push(pid);
        self.last_death = self.now;
    }

    /// Those that the supervisor asked something of, and the good answer.
    pub(crate) fn asked(&self) -> Vec<Pid> {
        let asked = |process: &&Process| !process.up || process.told.is_some();
        self.processes.iter().filter(asked).map(|process| process.pid).collect()
    }

    pub(crate) fn answer(&mut self, pid: Pid, how: Answer) -> Event {
        let index = self.processes.iter().position(|process| process.pid == pid).expect("listed");
        let process = &mut self.processes[index];
        let event = match (process.told, how) {
            (None, Answer::Well | Answer::Late) if !process.up => {
                process.up = true;
                return Event::Started { pid };
            }
            (Some(_), Answer::Late) if !process.up => {
                process.up = true;
                return Event::Started { pid };
            }
            (Some(Signal::Kill), Answer::Well | Answer::Late) => {
                Event::Exited { pid, reason: ExitReason::Killed }
            }
            (_, Answer::Well | Answer::Late) => Event::Exited { pid, reason: ExitReason::Shutdown },
            (_, Answer::Ignored) if !process.up => Event::StartIgnored { pid },
            (_, Answer::Failed) if !process.up => Event::StartFailed { pid },
            (_, Answer::Ignored | Answer::Failed) => {
                Event::Exited { pid, reason: ExitReason::Crashed }
            }
            (_, Answer::Exited(reason)) => Event::Exited { pid, reason },
        };
        self.end(pid);
        event
    }

    /// The calls that an op amounts to now. [`Op::Obey`] is asked again until it gives none.
    pub(crate) fn inputs(&mut self, op: Op) -> Vec<Input> {
        let ups = || self.processes.iter().filter(|p| p.up).map(|p| p.pid).collect::<Vec<_>>();
        match op {
            Op::Begin => vec![Input::Start],
            Op::Timeout => vec![Input::Timeout],
            Op::Kill => vec![Input::Kill],
            Op::Shutdown { within } => {
                vec![Input::Shutdown(within.map(|within| self.now.saturating_add(within)))]
            }
            Op::Answer { which, how } => {
                let asked = self.asked();
                let pick = asked.get(which % asked.len().max(1)).copied();
                pick.map(|pid| Input::Event(self.answer(pid, how))).into_iter().collect()
            }
            Op::Obey => {
                let first = self.asked().first().copied();
                first.map(|pid| Input::Event(self.answer(pid, Answer::Well))).into_iter().collect()
            }
            Op::Die { which, reason } => {
                let ups = ups();
                let pid = ups.get(which % ups.len().max(1)).copied();
                pid.map(|pid| self.die(pid, reason)).into_iter().collect()
            }
            Op::AllDie { reversed, reason } => {
                let mut ups = ups();
                if reversed {
                    ups.reverse();
                }
                ups.into_iter().map(|pid| self.die(pid, reason)).collect()
            }
            Op::Command { what, id, spec } => vec![match what % 4 {
                0 => Input::StartChild(ChildId(id), spec),
                1 => Input::TerminateChild(ChildId(id)),
                2 => Input::RestartChild(ChildId(id)),
                _ => Input::DeleteChild(ChildId(id)),
            }],
            Op::Advance(how) => self.advance(how),
            Op::Nonsense { what, which, reason } => vec![self.nonsense(what, which, reason)],
        }
    }

    fn die(&mut self, pid: Pid, reason: ExitReason) -> Input {
        self.end(pid);
        Input::Event(Event::Exited { pid, reason })
    }

    fn advance(&mut self, how: Advance) -> Vec<Input> {
        let next = self.timeout.unwrap_or(self.now).max(self.now);
        let one = Duration::from_nanos(1);
        let edge = self.last_death.saturating_add(self.period);
        let (to, inputs) = match how {
            Advance::ToDeadline => (next, vec![Input::Timeout]),
            Advance::BeforeDeadline => (next.saturating_sub(one), vec![Input::Timeout]),
            Advance::PastDeadline(by) => (next.saturating_add(by), vec![]),
            Advance::ToWindowEdge(off) if off < 0 => (edge.saturating_sub(one), vec![]),
            Advance::ToWindowEdge(off) if off > 0 => (edge.saturating_add(one), vec![]),
            Advance::ToWindowEdge(_) => (edge, vec![]),
            Advance::By(by) => (self.now.saturating_add(by), vec![]),
        };
        self.now = self.now.max(to);
        inputs
    }

    fn nonsense(&self, what: u8, which: usize, reason: ExitReason) -> Input {
        let process = self.processes.get(which % self.processes.len().max(1));
        let somebody = process.map(|process| process.pid);
        let ghost = self.dead.get(which % self.dead.len().max(1)).copied();
        let nobody = Pid { child: ChildId(77), incarnation: 5 };
        let future = |pid: Pid| Pid { incarnation: u64::MAX, ..pid };
        let pid = match what / 4 % 4 {
            0 => somebody.unwrap_or(nobody),
            1 => ghost.unwrap_or(nobody),
            2 => somebody.map_or(nobody, future),
            _ => nobody,
        };
        let alive = (what / 4).is_multiple_of(4) && somebody.is_some();
        let starting = alive && process.is_some_and(|process| !process.up);
        Input::Event(match what % 4 {
            0 if !starting => Event::Started { pid },
            // Some of these would be facts, and the world would have to know of them.
            1 if !starting => Event::StartIgnored { pid },
            2 if !starting => Event::StartFailed { pid },
            3 if !alive => Event::Exited { pid, reason },
            _ if !starting => Event::Started { pid },
            _ => Event::Started { pid: future(pid) },
        })
    }
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Well),
        1 => Just(Answer::Late),
        1 => Just(Answer::Ignored),
        2 => Just(Answer::Failed),
        2 => any_reason().prop_map(Answer::Exited),
    ]
}

fn any_advance() -> impl Strategy<Value = Advance> {
    prop_oneof![
        6 => Just(Advance::ToDeadline),
        1 => Just(Advance::BeforeDeadline),
        2 => (0..=4_u64).prop_map(|n| Advance::PastDeadline(Duration::from_millis(n * 250))),
        2 => (-1..=1_i8).prop_map(Advance::ToWindowEdge),
        3 => (0..=8_u64).prop_map(|n| Advance::By(Duration::from_millis(n * 250))),
        1 => prop_oneof![Just(Duration::from_nanos(1)), Just(Duration::MAX)].prop_map(Advance::By),
    ]
}

pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let command = (any::<u8>(), 0..10_u32, any_spec(AutoShutdown::AnySignificant))
        .prop_map(|(what, id, spec)| Op::Command { what, id, spec });
    let within = prop_oneof![
        1 => Just(None),
        2 => (0..=4_u64).prop_map(|n| Some(Duration::from_millis(n * 500))),
    ];
    prop_oneof![
        20 => (any::<usize>(), any_answer()).prop_map(|(which, how)| Op::Answer { which, how }),
        12 => Just(Op::Obey),
        16 => (any::<usize>(), any_reason())
            .prop_map(|(which, reason)| Op::Die { which, reason }),
        2 => (any::<bool>(), any_reason())
            .prop_map(|(reversed, reason)| Op::AllDie { reversed, reason }),
        8 => command,
        12 => any_advance().prop_map(Op::Advance),
        3 => Just(Op::Timeout),
        1 => within.prop_map(|within| Op::Shutdown { within }),
        1 => prop_oneof![5 => Just(Op::Begin), 1 => Just(Op::Kill)],
        3 => (any::<u8>(), any::<usize>(), any_reason())
            .prop_map(|(what, which, reason)| Op::Nonsense { what, which, reason }),
    ]
}

/// A history: mostly it begins with a proper start.
pub(crate) fn any_history() -> impl Strategy<Value = Vec<Op>> {
    let prefix = prop_oneof![
        8 => Just(vec![Op::Begin, Op::Obey]),
        2 => Just(vec![Op::Begin]),
        1 => Just(vec![]),
    ];
    (prefix, prop::collection::vec(any_op(), 40..80)).prop_map(|(mut ops, more)| {
        ops.extend(more);
        ops
    })
}

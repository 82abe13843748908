//! What a driver knows: who lives, who was asked for what, and what time it is.

use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::BTreeMap;

use lictor_kernel::supervisor::Event;
use lictor_kernel::{
    Backoff, ChildId, ChildSpec, ExitReason, Instant, Intensity, Pid, ProcessId, Signal, Strategy,
    SupervisorId,
};

use super::{Advance, Answer, Call, Operation, Standing, Subject};

/// A process that lives: a worker, or a supervisor below another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    /// Which.
    pub process: ProcessId,
    /// Whether it is a supervisor, which answers by itself.
    pub supervisor: bool,
    /// Whether it has come up.
    pub up: bool,
    /// When it was started.
    pub since: Instant,
    /// It was killed because its start took too long: what comes now is a failed start.
    pub late: bool,
    /// What it was told last, and when.
    pub told: Option<(Signal, Instant)>,
}

/// What a supervisor was planned to be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Planned {
    /// `None`: a dynamic one.
    pub strategy: Option<Strategy>,
    /// Its budget.
    pub intensity: Intensity,
    /// Whether the budget is one for all children.
    pub shared: bool,
    /// Its waits.
    pub backoff: Backoff,
    /// Its children, in start order.
    pub children: Vec<(ChildId, ChildSpec)>,
}

/// What is known of a supervisor that lives.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Watch {
    pub(super) planned: Planned,
    pub(super) ready: bool,
    /// It has given up.
    pub(super) exhausted: bool,
    /// A command was given, which may leave down what a strategy would have brought back.
    pub(super) commanded: bool,
    pub(super) newest: Option<u64>,
    pub(super) past: BTreeMap<ChildId, Past>,
    /// Crashes after which a restart was granted: no more than the budget in any window.
    pub(super) granted: Vec<(ChildId, Instant)>,
    /// Everything that may have been counted: more than the budget when it gives up.
    pub(super) heard: Vec<(ChildId, Instant)>,
}

/// What is known of a child.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Past {
    /// How the last process of it went, and when that was heard.
    pub(super) last: Option<(End, Instant)>,
    /// Its restart failed, and that was not counted yet.
    pub(super) failed: bool,
    /// When it will be restarted.
    pub(super) scheduled: Option<Instant>,
    /// It was started at least once.
    pub(super) started: bool,
    /// A command was given about it: it comes and goes as that says.
    pub(super) commanded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum End {
    Exited(ExitReason),
    Ignored,
    Failed,
    /// It was told to end, and did.
    Told,
}

/// The world around a machine.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub now: Instant,
    /// The machine's next deadline.
    pub timeout: Option<Instant>,
    /// Who lives, in the order of their starts.
    pub live: Vec<Process>,
    pub(super) supervisors: BTreeMap<SupervisorId, Watch>,
    pub(super) root: Option<SupervisorId>,
    pub(super) begun: bool,
    pub(super) ended: bool,
    /// Everything was told to end, and by when.
    pub(super) stopping: Option<Option<Instant>>,
    /// By command, and not by a supervisor.
    pub(super) killed: bool,
    /// Children of dynamic supervisors that were removed in the last call.
    pub(super) removed: Vec<ChildId>,
    /// The last few that died: enough to talk about the dead.
    dead: Vec<ProcessId>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.now, &self.live, &self.supervisors, self.stopping, self.ended).hash(state);
    }
}

impl World {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            now,
            timeout: None,
            live: Vec::new(),
            supervisors: BTreeMap::new(),
            root: None,
            begun: false,
            ended: false,
            stopping: None,
            killed: false,
            removed: Vec::new(),
            dead: Vec::new(),
        }
    }

    /// Whether the machine has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the machine was told to end.
    #[must_use]
    pub const fn is_told_to_end(&self) -> bool {
        self.stopping.is_some()
    }

    /// The supervisors that live.
    pub fn supervisors(&self) -> impl Iterator<Item = SupervisorId> {
        self.supervisors.keys().copied()
    }

    /// Workers that were asked to start or to end and have not answered.
    pub fn asked(&self) -> impl Iterator<Item = ProcessId> {
        let asked = |process: &&Process| !process.supervisor && process.is_asked();
        self.live.iter().filter(asked).map(|process| process.process)
    }

    /// Workers that are up.
    pub fn ups(&self) -> impl Iterator<Item = ProcessId> {
        let up = |process: &&Process| !process.supervisor && process.up;
        self.live.iter().filter(up).map(|process| process.process)
    }

    /// Whether anybody has died.
    #[must_use]
    pub const fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// When the oldest crash that still counts will count no more.
    #[must_use]
    pub fn window_edge(&self) -> Option<Instant> {
        let edges = self.supervisors.values().flat_map(|watch| {
            let period = watch.planned.intensity.period;
            watch.heard.iter().map(move |(_, crash)| crash.saturating_add(period))
        });
        edges.filter(|edge| *edge > self.now).min()
    }

    pub(super) fn find(&self, process: ProcessId) -> Option<&Process> {
        self.live.iter().find(|other| other.process == process)
    }

    pub(super) fn bury(&mut self, process: ProcessId) {
        self.live.retain(|other| other.process != process);
        if self.dead.len() == 8 {
            self.dead.remove(0);
        }
        self.dead.push(process);
    }

    pub(super) fn standings<S: Subject>(&self, subject: &S) -> Vec<(SupervisorId, Standing)> {
        self.supervisors.keys().map(|id| (*id, subject.standing(*id))).collect()
    }

    /// The calls that an operation amounts to now.
    pub(super) fn calls(&mut self, operation: Operation) -> Vec<Call> {
        let pick = |list: Vec<ProcessId>, which: u16| {
            list.get(usize::from(which) % list.len().max(1)).copied()
        };
        match operation {
            Operation::Begin => vec![Call::Start],
            Operation::Timeout => vec![Call::Timeout],
            Operation::Kill => vec![Call::Kill],
            Operation::Shutdown { within } => {
                vec![Call::Shutdown(within.map(|within| self.now.saturating_add(within)))]
            }
            Operation::Answer { which, how } => {
                let process = pick(self.asked().collect(), which);
                process.map(|process| self.answer(process, how)).into_iter().collect()
            }
            Operation::Obey => {
                let first = self.asked().next();
                first.map(|process| self.answer(process, Answer::Well)).into_iter().collect()
            }
            Operation::Die { which, reason } => {
                let process = pick(self.ups().collect(), which);
                process.map(|process| died(process, reason)).into_iter().collect()
            }
            Operation::AllDie { reversed, reason } => {
                let mut ups: Vec<ProcessId> = self.ups().collect();
                if reversed {
                    ups.reverse();
                }
                ups.into_iter().map(|process| died(process, reason)).collect()
            }
            Operation::Command { at, command } => {
                let ids: Vec<SupervisorId> = self.supervisors().collect();
                let id = ids.get(usize::from(at) % ids.len().max(1)).copied();
                vec![Call::Command(id.unwrap_or(SupervisorId(0)), command)]
            }
            Operation::Advance(how) => self.advance(how),
            Operation::Nonsense { what, which, reason } => vec![self.nonsense(what, which, reason)],
        }
    }

    fn answer(&self, process: ProcessId, how: Answer) -> Call {
        let ProcessId { supervisor, pid } = process;
        let (up, told) =
            self.find(process).map_or((false, None), |process| (process.up, process.told));
        let event = match (told, how) {
            (None, Answer::Well | Answer::Late) if !up => Event::Started { pid },
            (Some(_), Answer::Late) if !up => Event::Started { pid },
            (Some((Signal::Kill, _)), Answer::Well | Answer::Late) => {
                Event::Exited { pid, reason: ExitReason::Killed }
            }
            (_, Answer::Well | Answer::Late) => Event::Exited { pid, reason: ExitReason::Shutdown },
            (_, Answer::Ignored) if !up => Event::StartIgnored { pid },
            (_, Answer::Failed) if !up => Event::StartFailed { pid },
            (_, Answer::Ignored | Answer::Failed) => {
                Event::Exited { pid, reason: ExitReason::Crashed }
            }
            (_, Answer::Exited(reason)) => Event::Exited { pid, reason },
        };
        Call::Fact(supervisor, event)
    }

    fn advance(&mut self, how: Advance) -> Vec<Call> {
        let next = self.timeout.unwrap_or(self.now).max(self.now);
        let one = Duration::from_nanos(1);
        let edge = self.window_edge().unwrap_or(self.now);
        let off = Duration::from_nanos(match how {
            Advance::ToWindowEdge(off) => u64::from(off.unsigned_abs()),
            Advance::ToDeadline | Advance::BeforeDeadline => 0,
            Advance::PastDeadline(_) | Advance::By(_) => 0,
        });
        let (to, calls) = match how {
            Advance::ToDeadline => (next, vec![Call::Timeout]),
            Advance::BeforeDeadline => (next.saturating_sub(one), vec![Call::Timeout]),
            Advance::PastDeadline(by) => (next.saturating_add(by), vec![]),
            Advance::ToWindowEdge(by) if by < 0 => (edge.saturating_sub(off), vec![]),
            Advance::ToWindowEdge(_) => (edge.saturating_add(off), vec![]),
            Advance::By(by) => (self.now.saturating_add(by), vec![]),
        };
        self.now = self.now.max(to);
        calls
    }

    fn nonsense(&self, what: u8, which: u16, reason: ExitReason) -> Call {
        let workers: Vec<&Process> = self.live.iter().filter(|live| !live.supervisor).collect();
        let process = workers.get(usize::from(which) % workers.len().max(1)).copied();
        let somebody = process.map(|process| process.process);
        let ghost = self.dead.get(usize::from(which) % self.dead.len().max(1)).copied();
        let nobody = ProcessId {
            supervisor: self.root.unwrap_or(SupervisorId(0)),
            pid: Pid { child: ChildId(77), incarnation: 5 },
        };
        let future = |process: ProcessId| {
            let pid = Pid { incarnation: u64::MAX, ..process.pid };
            ProcessId { pid, ..process }
        };
        let about = match what / 4 % 4 {
            0 => somebody.unwrap_or(nobody),
            1 => ghost.unwrap_or(nobody),
            2 => somebody.map_or(nobody, future),
            _ => nobody,
        };
        let alive = (what / 4).is_multiple_of(4) && somebody.is_some();
        let starting = alive && process.is_some_and(|process| !process.up || process.late);
        // What would be a fact the world would have to know of.
        let about = if starting { future(about) } else { about };
        let pid = about.pid;
        let event = match what % 4 {
            1 => Event::StartIgnored { pid },
            2 => Event::StartFailed { pid },
            3 if !alive || starting => Event::Exited { pid, reason },
            _ => Event::Started { pid },
        };
        Call::Fact(about.supervisor, event)
    }
}

impl Process {
    const fn is_asked(&self) -> bool {
        !self.up || self.told.is_some()
    }
}

const fn died(process: ProcessId, reason: ExitReason) -> Call {
    let ProcessId { supervisor, pid } = process;
    Call::Fact(supervisor, Event::Exited { pid, reason })
}

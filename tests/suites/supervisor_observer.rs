//! Somebody who watches a supervisor from outside, keeps books of its own, and fails as soon as an
//! invariant does not hold. It knows no rule of *how* a supervisor decides; it shares nothing with
//! the reference model. Numbers (S1..S13) are those of the simulation's list of invariants.

use std::collections::BTreeMap;

use lictor_kernel::supervisor::{Action, ChildState, Config, Event, Phase, Report};
use lictor_kernel::{
    AutoShutdown, ChildId, ChildSpec, Curve, ExitReason, Instant, Jitter, Pid, Restart, Shutdown,
    Signal, Strategy, Supervisor,
};
use lictor_sim::model::{Input, Reply, Step, drive};

use super::supervisor_support::World;

/// What is known of one incarnation.
#[derive(Clone, Debug)]
struct Life {
    begun: Instant,
    up: bool,
    /// A caller waits for its start: if that fails it is the answer to the caller (V20, V22).
    awaited: bool,
    /// Told to end: how last, and when first.
    told: Option<(Signal, Instant)>,
    /// When its end was announced, and for what reason.
    ended: Option<(Instant, Option<ExitReason>)>,
    reports: u32,
}

#[derive(Clone, Debug)]
struct Known {
    spec: ChildSpec,
    /// Place in the start order; a new child has a greater one than all before it.
    rank: u64,
    /// The restart that was promised, and for which crash.
    promised: Option<Instant>,
    /// A failed restart that is not yet known to have been counted.
    failed_at: Option<Instant>,
    /// Not to be started but by a command: ended cleanly or was terminated.
    rests: bool,
}

/// What a call does before it comes to what it is about, and what the machine is then doing.
#[derive(Debug)]
struct Overdue {
    actions: Vec<Action>,
    phase: Phase,
}

/// The stops and starts of one application of the strategy.
#[derive(Clone, Default, Debug)]
struct Sweep {
    stopped: Vec<u64>,
    started: Vec<u64>,
    failed: bool,
}

pub(crate) struct Observer {
    config: Config,
    pub(crate) kernel: Supervisor,
    pub(crate) world: World,
    known: BTreeMap<ChildId, Known>,
    lives: BTreeMap<Pid, Life>,
    greatest: Option<u64>,
    next_rank: u64,
    /// Times of crashes that were answered by a restart.
    accepted: Vec<Instant>,
    /// Times of all crashes that may have been counted.
    candidates: Vec<Instant>,
    sweep: Sweep,
    /// A crash that was just reported, and not yet answered.
    pending: Option<Instant>,
    /// The last one stopped for the supervisor's own end.
    last_at_end: Option<u64>,
    stop_deadline: Option<Instant>,
    killed: bool,
    ready: bool,
    exhausted: bool,
    exited: bool,
    history: Vec<(Instant, Input)>,
}

macro_rules! hold {
    ($self:ident, $condition:expr, $($text:tt)+) => {
        assert!($condition, "{}\nafter {:#?}", format!($($text)+), $self.history)
    };
}

impl Observer {
    pub(crate) fn new(config: &Config, specs: &[(ChildId, ChildSpec)], now: Instant) -> Self {
        let mut observer = Self {
            kernel: Supervisor::new(config.clone(), specs).expect("a valid configuration"),
            config: config.clone(),
            world: World::new(now, config.intensity.period),
            known: BTreeMap::new(),
            lives: BTreeMap::new(),
            greatest: None,
            next_rank: 0,
            accepted: vec![],
            candidates: vec![],
            sweep: Sweep::default(),
            pending: None,
            last_at_end: None,
            stop_deadline: None,
            killed: false,
            ready: false,
            exhausted: false,
            exited: false,
            history: vec![],
        };
        for (id, spec) in specs {
            observer.add(*id, *spec);
        }
        observer
    }

    fn add(&mut self, id: ChildId, spec: ChildSpec) {
        let rank = self.next_rank;
        self.next_rank += 1;
        let known = Known { spec, rank, promised: None, failed_at: None, rests: false };
        self.known.insert(id, known);
    }

    /// Makes one call, and checks everything. What was overdue comes before the fact that the call
    /// brings (rule A2), so it is judged by what was known before.
    pub(crate) fn call(&mut self, input: Input) {
        let now = self.world.now;
        self.history.push((now, input));
        let overdue = self.overdue(now, input);
        let step = drive(&mut self.kernel, now, input);
        hold!(self, step.actions.starts_with(&overdue.actions), "S8: {overdue:?} is not first");
        self.world.saw(&step);
        let was_over = self.exited;
        self.actions(now, overdue.phase, None, &overdue.actions);
        let ended = self.learn(now, input, overdue.phase);
        let commanded = self.answered(input, &step);
        let rest = &step.actions[overdue.actions.len()..];
        self.actions(now, self.kernel.phase(), commanded, rest);
        self.settled(now, input, &step);
        if was_over && let Some(reply) = &step.reply {
            hold!(self, format!("{reply:?}").contains("NotRunning"), "S7: {reply:?}");
        }
        if let (Some((pid, spec, reason)), Phase::Running) = (ended, overdue.phase) {
            self.judged(pid, spec, reason, rest, &step.children);
        }
    }

    /// What the machine does at `now` before it hears of anything: a command that is about nobody
    /// brings it about on a copy. (A start brings nothing about but the start.)
    fn overdue(&self, now: Instant, input: Input) -> Overdue {
        let mut kernel = self.kernel.clone();
        let mut actions = vec![];
        if input != Input::Start {
            let nobody = kernel.delete_child(now, ChildId(u32::MAX), &mut actions);
            hold!(self, nobody.is_err(), "nobody is deleted");
        }
        Overdue { phase: kernel.phase(), actions }
    }

    /// Takes in what a command answered. Says which start it is that a caller waits for.
    fn answered(&mut self, input: Input, step: &Step) -> Option<Pid> {
        match (input, &step.reply) {
            (Input::StartChild(id, spec), Some(Reply::StartChild(Ok(pid)))) => {
                self.add(id, spec);
                Some(*pid)
            }
            (_, Some(Reply::RestartChild(Ok(pid)))) => Some(*pid),
            (Input::TerminateChild(id), Some(Reply::TerminateChild(Ok(_)))) => {
                self.rest(id);
                None
            }
            (_, _) => None,
        }
    }

    fn actions(&mut self, now: Instant, phase: Phase, commanded: Option<Pid>, actions: &[Action]) {
        for action in actions {
            self.action(now, phase, commanded, action);
        }
        self.accepted.extend(self.pending.take());
    }

    fn rest(&mut self, id: ChildId) {
        if let Some(known) = self.known.get_mut(&id) {
            (known.rests, known.promised, known.failed_at) = (true, None, None);
        }
    }

    /// The fact that the call is about. Answers with who was up and has now ended by itself.
    fn learn(
        &mut self,
        now: Instant,
        input: Input,
        phase: Phase,
    ) -> Option<(Pid, ChildSpec, ExitReason)> {
        let (pid, reason) = match input {
            Input::Event(Event::Started { pid }) => {
                if let Some(life) = self.lives.get_mut(&pid).filter(|life| life.ended.is_none()) {
                    life.up = true;
                    // One that was told to end before is not in time, and still fails to start.
                    life.awaited &= life.told.is_some();
                }
                return None;
            }
            Input::Event(Event::StartIgnored { pid } | Event::StartFailed { pid }) => (pid, None),
            Input::Event(Event::Exited { pid, reason }) => (pid, Some(reason)),
            Input::Shutdown(deadline) => {
                self.stop_deadline = [self.stop_deadline, deadline].into_iter().flatten().min();
                return None;
            }
            Input::Kill => {
                self.killed = true;
                return None;
            }
            Input::Start | Input::Timeout | Input::StartChild(..) => return None,
            Input::TerminateChild(_) | Input::RestartChild(_) | Input::DeleteChild(_) => {
                return None;
            }
        };
        let life = self.lives.get_mut(&pid)?;
        if life.ended.is_some() || (reason.is_none() && life.up) {
            return None;
        }
        life.ended = Some((now, reason));
        // Once the supervisor ends, nobody waits for it any more.
        life.awaited &= matches!(phase, Phase::Command { .. });
        let by_itself = life.up && life.told.is_none();
        if matches!(input, Input::Event(Event::StartIgnored { .. })) {
            self.rest(pid.child);
        }
        let spec = self.known.get(&pid.child)?.spec;
        reason.filter(|_| by_itself).map(|reason| (pid, spec, reason))
    }

    fn rank(&self, id: ChildId) -> u64 {
        self.known.get(&id).map_or(u64::MAX, |known| known.rank)
    }

    fn lives(&self, child: ChildId) -> bool {
        self.lives.iter().any(|(pid, life)| pid.child == child && life.ended.is_none())
    }

    fn action(&mut self, now: Instant, phase: Phase, commanded: Option<Pid>, action: &Action) {
        let stale = matches!(action, Action::Report(Report::StaleEvent { .. }));
        hold!(self, !self.exited || stale, "S7: {action:?} after the exit");
        if !matches!(action, Action::Report(Report::RestartsExhausted { .. })) {
            let answered = self.pending;
            if !matches!(action, Action::Report(Report::RestartScheduled { .. })) {
                self.pending = None;
                self.accepted.extend(answered);
            }
        }
        match *action {
            Action::Start { pid } => self.started(now, commanded == Some(pid), pid),
            Action::Signal { pid, signal } => self.signalled(now, phase, pid, signal),
            Action::Ready => {
                hold!(self, !self.ready, "ready twice");
                self.sweep_over();
                self.ready = true;
            }
            Action::Removed { child } => {
                hold!(self, !self.lives(child), "{child:?} is removed while it lives");
                let was = self.known.remove(&child);
                hold!(self, was.is_some(), "{child:?} is removed, but it is unknown");
            }
            Action::Report(report) => self.reported(now, report),
            Action::Exit { reason } => self.over(reason),
        }
    }

    fn started(&mut self, now: Instant, by_command: bool, pid: Pid) {
        // Invariant: S1 (one live incarnation, strictly increasing)
        let newer = self.greatest.is_none_or(|greatest| pid.incarnation > greatest);
        hold!(self, newer, "S1: {pid:?} is not newer than all before it");
        self.greatest = Some(pid.incarnation);
        hold!(self, !self.lives(pid.child), "S1, S9: {pid:?} is started beside a living one");
        hold!(self, !self.exhausted, "S3: {pid:?} is started after the escalation");
        let (up, told, ended, reports) = (false, None, None, 0);
        let awaited = by_command;
        self.lives.insert(pid, Life { begun: now, up, awaited, told, ended, reports });
        let alone = self.config.strategy == Strategy::OneForOne;
        let Some(known) = self.known.get_mut(&pid.child) else {
            panic!("{pid:?} is started, but nobody knows it: {:#?}", self.history);
        };
        let was = known.clone();
        (known.rests, known.promised, known.failed_at) = (false, None, None);
        if by_command {
            return;
        }
        if self.ready {
            let temporary = was.spec.restart == Restart::Temporary;
            hold!(self, !temporary, "S5: {pid:?} is temporary and comes back");
            if alone {
                hold!(self, !was.rests, "S5: {pid:?} was to rest and comes back");
                let in_time = was.promised.is_none_or(|at| now >= at);
                hold!(self, in_time, "S6: {pid:?} comes before {:?}", was.promised);
                // Where no sibling can interfere it is known why it is started.
                self.accepted.extend(was.failed_at);
            }
        }
        self.sweep_starts(was.rank);
    }

    // Invariant: S4 (start in order, stop in reverse, each strategy touches its set)
    /// S4: one application of the strategy stops in reverse order, then starts in order.
    fn sweep_starts(&mut self, rank: u64) {
        let last = self.sweep.started.last().copied();
        let later = self.known.values().map(|known| known.rank);
        let next = later.filter(|rank| last.is_some_and(|last| *rank > last)).min();
        let many = self.config.strategy != Strategy::OneForOne || !self.ready;
        if last.is_some() && !(many && next == Some(rank) && !self.sweep.failed) {
            self.sweep_over();
        }
        self.sweep.started.push(rank);
        let sweep = &self.sweep;
        let begins_with = |rank: &u64| sweep.started.first() == Some(rank);
        let first_of_all = self.known.values().map(|known| known.rank).min();
        let in_order = match self.config.strategy {
            _ if !self.ready => sweep.stopped.is_empty(),
            Strategy::OneForOne => sweep.stopped.is_empty(),
            Strategy::RestForOne => sweep.stopped.iter().all(|it| *it > sweep.started[0]),
            Strategy::OneForAll => first_of_all.is_some_and(|rank| begins_with(&rank)),
        };
        hold!(self, in_order, "S4: the strategy does not touch such a set: {sweep:?}");
    }

    /// S4: a sweep that ended well has started everyone from its first one on.
    fn sweep_over(&mut self) {
        let sweep = core::mem::take(&mut self.sweep);
        let single = self.config.strategy == Strategy::OneForOne && self.ready;
        if single || sweep.failed {
            return;
        }
        let Some(first) = sweep.started.first() else { return };
        let wanted = self.known.values().map(|known| known.rank).filter(|rank| rank >= first);
        let missing: Vec<u64> = wanted.filter(|rank| !sweep.started.contains(rank)).collect();
        hold!(self, missing.is_empty(), "S4: {sweep:?} has left out {missing:?}");
    }

    fn sweep_stops(&mut self, rank: u64) {
        if !self.sweep.started.is_empty() {
            self.sweep_over();
        }
        let reverse = self.sweep.stopped.last().is_none_or(|last| rank < *last);
        hold!(self, reverse, "S4: {rank} is stopped after {:?}", self.sweep.stopped);
        self.sweep.stopped.push(rank);
    }

    fn signalled(&mut self, now: Instant, phase: Phase, pid: Pid, signal: Signal) {
        let rank = self.rank(pid.child);
        let Some(spec) = self.known.get(&pid.child).map(|known| known.spec) else {
            panic!("S2: {signal:?} to {pid:?}, who is forgotten: {:#?}", self.history);
        };
        let bounded = self.killed || self.stop_deadline.is_some_and(|at| at <= now);
        let Some(life) = self.lives.get_mut(&pid) else {
            panic!("S2: {signal:?} to {pid:?}, who never was: {:#?}", self.history);
        };
        let Life { begun, up, told, ended, .. } = *life;
        life.told = Some((signal, told.map_or(now, |(_, at)| at)));
        // Invariant: S2 (nothing for an incarnation that is not there)
        hold!(self, ended.is_none(), "S2: {signal:?} to {pid:?}, who has ended");
        if let Some((softer, at)) = told {
            let harder = softer == Signal::Shutdown && signal == Signal::Kill;
            hold!(self, harder, "{signal:?} to {pid:?} after {softer:?}");
            // Invariant: S8 (no deadline of a dead incarnation acts)
            // It is killed for its own deadline, or for that of the whole stop.
            let due = match spec.shutdown {
                Shutdown::Timeout(timeout) => at.saturating_add(timeout) <= now,
                Shutdown::BrutalKill | Shutdown::Infinity => false,
            };
            hold!(self, due || bounded, "S8: {pid:?}, told at {at:?}, is killed too early");
            return;
        }
        let late = spec.start_timeout.is_some_and(|timeout| begun.saturating_add(timeout) <= now);
        if !up && late && signal == Signal::Kill {
            // Its start took too long. Nobody's order is touched.
            return;
        }
        let brutal = spec.shutdown == Shutdown::BrutalKill;
        let right = bounded || brutal == (signal == Signal::Kill);
        hold!(self, right, "S8: {signal:?} to {pid:?}, whose shutdown is {:?}", spec.shutdown);
        if matches!(phase, Phase::Stopping { .. }) {
            let reverse = self.last_at_end.is_none_or(|last| rank < last);
            hold!(self, reverse, "S4: {pid:?} is stopped too late");
            self.last_at_end = Some(rank);
        } else if phase == Phase::Restarting {
            self.sweep_stops(rank);
        }
    }

    fn reported(&mut self, now: Instant, report: Report) {
        let (pid, crash) = match report {
            Report::ChildTerminated { pid, .. } => (pid, true),
            Report::ShutdownError { pid, .. } | Report::StartFailed { pid, .. } => (pid, false),
            Report::RestartScheduled { child, at } => return self.promised(child, at),
            Report::RestartsExhausted { child } => return self.escalated(child),
            Report::StaleEvent { pid } => {
                let alive = self.lives.get(&pid).is_some_and(|life| life.ended.is_none());
                return hold!(self, !alive, "{pid:?} lives and is called stale");
            }
        };
        let Some(life) = self.lives.get_mut(&pid) else {
            panic!("{report:?}, who never was: {:#?}", self.history);
        };
        life.reports += 1;
        let (ended, awaited) = (life.ended, life.awaited);
        let Some((at, _)) = ended else { panic!("{report:?}, who lives: {:#?}", self.history) };
        let Some(known) = self.known.get_mut(&pid.child) else { return };
        if crash && known.spec.restart != Restart::Temporary {
            self.pending = Some(at);
            self.candidates.push(at);
        } else if matches!(report, Report::StartFailed { .. }) {
            if awaited {
                known.rests = true;
            } else {
                self.sweep.failed = true;
                known.failed_at = Some(now);
                self.candidates.push(now);
            }
        }
    }

    // Invariant: S6 (backoff within its bounds)
    /// S6: the wait is within the policy's bounds.
    fn promised(&mut self, child: ChildId, at: Instant) {
        let backoff = self.config.backoff;
        let Some(known) = self.known.get_mut(&child) else {
            panic!("{child:?} is promised a restart, but unknown: {:#?}", self.history);
        };
        let crash = self.pending.take().or_else(|| known.failed_at.take());
        known.promised = Some(at);
        let Some(crash) = crash else {
            panic!("{child:?} is promised a restart for no crash: {:#?}", self.history);
        };
        self.accepted.push(crash);
        let most = backoff.curve_delay(self.config.intensity.max_restarts.max(1));
        let (least, most) = match backoff.jitter {
            Jitter::None => (backoff.base, most),
            Jitter::Quarter => (backoff.base * 3 / 4, (most * 5 / 4).min(backoff.max)),
            Jitter::Full => (core::time::Duration::ZERO, most),
            Jitter::Decorrelated => (backoff.base, backoff.max),
        };
        let (least, most) = (crash.saturating_add(least), crash.saturating_add(most));
        hold!(self, backoff.curve != Curve::None, "S6: a wait without backoff");
        hold!(self, least <= at && at <= most, "S6: {at:?} is not in {least:?}..{most:?}");
    }

    /// S3: the budget was really used up, and this happens once.
    fn escalated(&mut self, child: ChildId) {
        hold!(self, !self.exhausted, "S3: a second escalation");
        self.exhausted = true;
        let failed_at = self.known.get(&child).and_then(|known| known.failed_at);
        let Some(at) = self.pending.take().or(failed_at) else {
            panic!("S3: {child:?} escalates for no crash: {:#?}", self.history);
        };
        let intensity = self.config.intensity;
        let recent = |crash: &&Instant| at.saturating_since(**crash) < intensity.period;
        let recent = self.candidates.iter().filter(recent).count();
        let most = usize::try_from(intensity.max_restarts).unwrap_or(usize::MAX);
        hold!(self, recent > most, "S3: {recent} crashes are within the budget");
    }

    // Invariant: S7 (nothing is left after a stop)
    /// S7: nothing is left, and nothing was lost.
    fn over(&mut self, reason: ExitReason) {
        self.exited = true;
        let expected = match (self.killed, self.exhausted, self.ready) {
            (true, _, _) => vec![ExitReason::Killed],
            (false, true, _) => vec![self.config.exhausted],
            (false, false, true) => vec![ExitReason::Shutdown],
            (false, false, false) => vec![ExitReason::Shutdown, ExitReason::Crashed],
        };
        hold!(self, expected.contains(&reason), "S7: {reason:?} instead of {expected:?}");
        for (pid, life) in &self.lives {
            let Some((_, reason)) = life.ended else {
                panic!("S7: {pid:?} lives on: {:#?}", self.history);
            };
            hold!(self, life.reports <= 1, "{pid:?} is reported more than once");
            let told = life.reports == 1 || life.awaited;
            let seen = reason != Some(ExitReason::Crashed) || told;
            hold!(self, seen, "the crash of {pid:?} was lost in silence");
        }
    }

    /// What must hold between any two calls.
    fn settled(&mut self, now: Instant, input: Input, step: &Step) {
        let mut known: Vec<_> = self.known.iter().map(|(id, known)| (known.rank, *id)).collect();
        known.sort_unstable();
        let listed: Vec<ChildId> = step.children.iter().map(|(id, _)| *id).collect();
        let expected: Vec<ChildId> = known.into_iter().map(|(_, id)| id).collect();
        hold!(self, listed == expected, "S4: {listed:?} instead of {expected:?}");
        let alive = self.lives.values().filter(|life| life.ended.is_none()).count();
        let active = usize::try_from(step.counts.active).unwrap_or(usize::MAX);
        hold!(self, active == alive, "S7: {alive} live, {active} are counted");
        for (id, state) in &step.children {
            let right = match state {
                ChildState::Up(pid) => self.lives.get(pid).is_some_and(|life| life.up),
                ChildState::Starting(pid) => self
                    .lives
                    .get(pid)
                    .is_some_and(|life| life.ended.is_none() && (!life.up || life.told.is_some())),
                ChildState::Stopping(pid) => self
                    .lives
                    .get(pid)
                    .is_some_and(|life| life.ended.is_none() && life.told.is_some()),
                ChildState::Restarting { .. } | ChildState::Down => !self.lives(*id),
            };
            // Invariant: S9 (a name has at most one live owner, and it is the one that is shown)
            hold!(self, right, "S9: {id:?} is said to be {state:?}");
        }
        let most = self.config.intensity.max_restarts + 1;
        hold!(self, self.kernel.occupancy(now) <= most, "S13: the window has grown");
        if matches!(input, Input::Timeout) {
            let later = step.timeout.is_none_or(|at| at > now);
            hold!(self, later, "no spin: {:?} is due after it was served", step.timeout);
        }
        let restart = step.children.iter().filter_map(|(_, state)| match state {
            ChildState::Restarting { at } => Some(*at),
            ChildState::Up(_) | ChildState::Starting(_) => None,
            ChildState::Stopping(_) | ChildState::Down => None,
        });
        match self.kernel.phase() {
            // S8: there is no deadline but those of the restarts to come.
            Phase::Running => {
                hold!(self, step.timeout == restart.min(), "S8: a stray {:?}", step.timeout);
                hold!(self, alive <= step.children.len(), "S1: more processes than children");
            }
            Phase::Stopping { .. } => {
                hold!(self, restart.count() == 0, "S7: a restart is listed during the end");
            }
            Phase::New | Phase::Stopped { .. } => {
                hold!(self, step.timeout.is_none() && alive == 0, "S7: something is left");
            }
            Phase::Starting | Phase::Restarting | Phase::Command { .. } => {}
        }
        hold!(self, step.stopped == self.exited, "S7: stopped without an exit");
        if self.kernel.phase() == Phase::Running {
            self.sweep_over();
        }
        self.within_budget();
    }

    // Invariant: S3 (restarts in any window are bounded; the next crash escalates once)
    /// S3: in any window of the period there are no more restarts than allowed.
    fn within_budget(&self) {
        let intensity = self.config.intensity;
        for end in &self.accepted {
            let inside =
                |at: &&Instant| **at <= *end && end.saturating_since(**at) < intensity.period;
            let inside = self.accepted.iter().filter(inside).count();
            let most = usize::try_from(intensity.max_restarts).unwrap_or(usize::MAX);
            hold!(self, inside <= most, "S3: {inside} restarts in the window before {end:?}");
        }
    }

    // Invariant: S5 (restart types are honoured)
    /// S5: an end that nobody else had a part in, at a time when nothing else was going on.
    fn judged(
        &mut self,
        pid: Pid,
        spec: ChildSpec,
        reason: ExitReason,
        actions: &[Action],
        children: &[(ChildId, ChildState)],
    ) {
        let child = pid.child;
        let has = |wanted: Action| actions.contains(&wanted);
        let reported = has(Action::Report(Report::ChildTerminated { pid, reason }));
        let exhausted = has(Action::Report(Report::RestartsExhausted { child }));
        let starts =
            |action: &Action| matches!(action, Action::Start { pid } if pid.child == child);
        let promises = |action: &Action| {
            matches!(action, Action::Report(Report::RestartScheduled { child: whose, .. })
                if *whose == child)
        };
        let comes_back = actions.iter().any(|action| starts(action) || promises(action));
        let comes_back = comes_back || self.kernel.phase() == Phase::Restarting;
        let restarts = match spec.restart {
            Restart::Permanent => true,
            Restart::Transient => !reason.is_clean(),
            Restart::Temporary => false,
        };
        let removed = has(Action::Removed { child });
        hold!(self, restarts == (comes_back || exhausted), "S5: {pid:?}, {reason:?}, {spec:?}");
        let loud = restarts || !reason.is_clean();
        hold!(self, reported == loud, "S5: {pid:?}, {reason:?}: reported is {reported}");
        let temporary = spec.restart == Restart::Temporary;
        hold!(self, removed == temporary, "S5: {pid:?}: removed is {removed}");
        if restarts {
            return;
        }
        self.rest(child);
        let last = !children.iter().any(|(id, state)| {
            let significant = self.known.get(id).is_some_and(|known| known.spec.significant);
            // The call may have begun to stop others already; whom it stopped was there.
            significant && !matches!(state, ChildState::Down)
        });
        let ends = match self.config.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => spec.significant,
            AutoShutdown::AllSignificant => spec.significant && last,
        };
        let ending = matches!(self.kernel.phase(), Phase::Stopping { .. } | Phase::Stopped { .. });
        hold!(self, ends == ending, "S5: significant children: {pid:?}, {reason:?}");
    }
}

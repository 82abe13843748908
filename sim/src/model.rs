//! A reference model of one supervisor: slow, obvious, and written apart from the kernel.
//!
//! OTP's supervisor is a *blocking* program: while it waits for a child to start or to stop it
//! serves nothing else. The model is that program. Each method below reads like the page of
//! `supervisor.erl` that it stands for and simply waits where OTP waits; where the log of inputs
//! ends, the wait gives up with `Interrupt::NoMoreInput` and everything unwinds. For the next input
//! the whole program runs again from its beginning over the longer log. Quadratic and free of any
//! phase, cursor or saved continuation: nothing here can share a mistake with the kernel's machine.
//!
//! Numbers in comments are the sections of the project's notes on OTP.

//!
//! [`dynamic`] is the same for a dynamic supervisor: a plain list that is looked through.

mod call;
mod commands;
pub mod dynamic;
mod process;
pub(crate) mod tree;
mod waiting;

use core::time::Duration;

use lictor_kernel::supervisor::{Action, ChildState, Config, Counts, Event, Report};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, Curve, ExitReason, Instant, Pid, Restart,
    Signal, Strategy,
};

pub use self::call::{Input, Reply, Step, drive};

/// The model: its configuration and all that it was ever told.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    specs: Vec<(ChildId, ChildSpec)>,
    log: Vec<(Instant, Input)>,
}

impl Model {
    /// A model that has been told nothing. The configuration must be one that the kernel accepts.
    #[must_use]
    pub const fn new(config: Config, specs: Vec<(ChildId, ChildSpec)>) -> Self {
        Self { config, specs, log: Vec::new() }
    }

    /// All that it was told.
    #[must_use]
    pub fn log(&self) -> &[(Instant, Input)] {
        &self.log
    }

    /// Adds one call to the log and runs the program over it from the beginning.
    pub fn step(&mut self, now: Instant, input: Input) -> Step {
        self.log.push((now, input));
        let mut program = Program::new(&self.config, &self.specs, &self.log);
        let Interrupt::NoMoreInput = program.main() else { unreachable!("main handles the rest") };
        program.look()
    }
}

/// Why a wait was left before what it waited for.
#[derive(Clone, Copy, Debug)]
enum Interrupt {
    /// The log ends here.
    NoMoreInput,
    /// The supervisor ends of its own accord, for this reason.
    Exit(ExitReason),
    /// The parent said shutdown.
    Told,
    /// The parent killed us, or its deadline for the stop has passed.
    KillAll,
}

type Blocking<T> = Result<T, Interrupt>;

#[derive(Clone, Copy, Debug)]
struct Child {
    id: ChildId,
    spec: ChildSpec,
    state: ChildState,
    /// When it came up (`Backoff::stable_after`).
    up_since: Option<Instant>,
    /// The restart waits because a start failed: that failure is not in the window yet.
    failed_at: Option<Instant>,
    /// How many starts there were before its wait: waits that end together end in this order.
    waits_since: u64,
    /// What it was told, and when it is killed if it does not obey.
    told: Option<(Signal, Option<Instant>)>,
}

/// How an attempt to start a process ended.
enum Start {
    Up,
    Ignored,
    Failed(Pid, ExitReason),
}

/// What a wait for one process heard.
enum Heard {
    Event(Event),
    Deadline,
}

/// What the main loop takes next.
enum Message {
    Death(Pid, ExitReason, Instant),
    Retry(ChildId),
    Command(Input),
}

/// `supervisor.erl` with a log for a mailbox.
struct Program<'a> {
    config: &'a Config,
    log: &'a [(Instant, Input)],
    /// How much of the log has been taken.
    taken: usize,
    /// How much of it has been looked at.
    peeked: usize,
    now: Instant,
    children: Vec<Child>,
    /// The restart list (2): one for the whole supervisor. Never pruned here.
    crashes: Vec<Instant>,
    /// Deaths that came while the program was waiting for something else, with their times.
    mailbox: Vec<(Pid, ExitReason, Instant)>,
    incarnation: u64,
    begun: bool,
    exiting: Option<ExitReason>,
    stop_deadline: Option<Instant>,
    gone: bool,
    /// The deadline of the wait that the program is in.
    timeout: Option<Instant>,
    /// Whether that wait is not the main loop's.
    busy: bool,
    actions: Vec<Action>,
    reply: Option<Reply>,
}

impl<'a> Program<'a> {
    fn new(
        config: &'a Config,
        specs: &[(ChildId, ChildSpec)],
        log: &'a [(Instant, Input)],
    ) -> Self {
        let children = specs.iter().map(|(id, spec)| Child::down(*id, *spec)).collect();
        Self {
            config,
            log,
            taken: 0,
            peeked: 0,
            now: Instant::ZERO,
            children,
            crashes: Vec::new(),
            mailbox: Vec::new(),
            incarnation: config.first_incarnation,
            begun: false,
            exiting: None,
            stop_deadline: None,
            gone: false,
            timeout: None,
            busy: false,
            actions: Vec::new(),
            reply: None,
        }
    }

    fn look(self) -> Step {
        // (9) active counts processes that are alive: not those whose death waits in the mailbox.
        let dead = |pid: Pid| self.mailbox.iter().any(|(dead, _, _)| *dead == pid);
        let alive = |child: &&Child| child.pid().is_some_and(|pid| !dead(pid));
        let of_kind = |kind| count(self.children.iter().filter(|child| child.spec.kind == kind));
        Step {
            children: self.children.iter().map(|child| (child.id, child.state)).collect(),
            counts: Counts {
                specs: count(self.children.iter()),
                active: count(self.children.iter().filter(alive)),
                supervisors: of_kind(ChildKind::Supervisor),
                workers: of_kind(ChildKind::Worker),
            },
            timeout: self.timeout,
            busy: self.busy,
            stopped: self.gone,
            stopping: self.exiting.is_some() && !self.gone,
            actions: self.actions,
            reply: self.reply,
        }
    }

    // ---- the life of a supervisor -------------------------------------------------------------

    fn main(&mut self) -> Interrupt {
        let reason = match self.init_and_loop() {
            Err(Interrupt::NoMoreInput) => return Interrupt::NoMoreInput,
            Err(Interrupt::Exit(reason)) => reason,
            Err(Interrupt::Told) => ExitReason::Shutdown,
            Err(Interrupt::KillAll) => ExitReason::Killed,
            Ok(never) => match never {},
        };
        let brutally = self.exiting.is_some();
        self.exiting = Some(reason);
        if let Err(interrupt) = self.terminate(brutally) {
            return interrupt;
        }
        let reason = self.exiting.unwrap_or(reason);
        self.emit(Action::Exit { reason });
        self.gone = true;
        self.stop_deadline = None;
        // Whatever comes now comes too late.
        loop {
            match self.wait(None) {
                Ok(Heard::Event(event)) => self.stale(event),
                Ok(Heard::Deadline) | Err(Interrupt::KillAll | Interrupt::Told) => {}
                Err(interrupt) => return interrupt,
            }
        }
    }

    /// `init`, then the loop of `gen_server`.
    fn init_and_loop(&mut self) -> Blocking<Never> {
        while !self.begun {
            if let Heard::Event(event) = self.wait(None)? {
                self.stale(event);
            }
        }
        // (5) First start: in order, one by one, no retry.
        for id in self.ids() {
            if let Start::Failed(pid, reason) = self.start_process(id)? {
                self.report(Report::StartFailed { pid, reason });
                return Err(Interrupt::Exit(ExitReason::Crashed));
            }
        }
        self.emit(Action::Ready);
        loop {
            match self.receive()? {
                Message::Death(pid, reason, at) => self.handle_death(pid, reason, at)?,
                Message::Retry(id) => self.handle_retry(id)?,
                Message::Command(command) => self.handle_command(command)?,
            }
        }
    }

    /// (7) Stops all children in reverse start order, one by one.
    fn terminate(&mut self, mut kill: bool) -> Blocking<()> {
        for child in &mut self.children {
            child.cancel_restart();
        }
        // A stop that was begun is finished first: OTP would not have heard of the end before. (It
        // would not have heard of it during a start either, but a start may take for ever.)
        let begun = |child: &&Child| matches!(child.state, ChildState::Stopping(_));
        let first = self.children.iter().find(begun).map(|child| child.id);
        for id in first.into_iter().chain(self.ids().into_iter().rev()) {
            if kill {
                break;
            }
            match self.stop_process(id) {
                Err(Interrupt::KillAll) => kill = true,
                other => other?,
            }
        }
        if kill { self.kill_all() } else { Ok(()) }
    }

    /// Everything left is killed, in reverse start order, without waiting in between.
    fn kill_all(&mut self) -> Blocking<()> {
        self.stop_deadline = None;
        for id in self.ids().into_iter().rev() {
            let child = self.child(id);
            let Some(pid) = child.pid() else {
                self.child_mut(id).cancel_restart();
                continue;
            };
            if let Some(reason) = self.take_death(pid) {
                self.stopped(id, reason);
                continue;
            }
            self.child_mut(id).state = ChildState::Stopping(pid);
            if !matches!(child.told, Some((Signal::Kill, _))) {
                self.tell(id, Signal::Kill, None);
            }
        }
        while self.children.iter().any(|child| child.pid().is_some()) {
            match self.wait(None) {
                Ok(Heard::Event(event)) => self.heard_while_stopping(event),
                // A later deadline for the stop finds nothing left to do.
                Err(Interrupt::KillAll) => self.stop_deadline = None,
                Ok(Heard::Deadline) | Err(Interrupt::Told) => {}
                Err(interrupt) => return Err(interrupt),
            }
        }
        Ok(())
    }

    // ---- messages -----------------------------------------------------------------------------

    /// (3) What happens when a child has exited by itself.
    fn handle_death(&mut self, pid: Pid, reason: ExitReason, at: Instant) -> Blocking<()> {
        let id = pid.child;
        let child = self.child(id);
        let clean = crate::invariants::is_clean(reason);
        match child.spec.restart {
            Restart::Permanent => {
                self.report(Report::ChildTerminated { pid, reason });
                self.restart(id, at)
            }
            Restart::Transient if !clean => {
                self.report(Report::ChildTerminated { pid, reason });
                self.restart(id, at)
            }
            Restart::Transient => {
                self.child_mut(id).set_down();
                self.auto_shutdown(child.spec)
            }
            Restart::Temporary => {
                if !clean {
                    self.report(Report::ChildTerminated { pid, reason });
                }
                self.remove(id);
                self.auto_shutdown(child.spec)
            }
        }
    }

    /// (8) A child exited by itself and is not restarted.
    fn auto_shutdown(&mut self, gone: ChildSpec) -> Blocking<()> {
        let last = !self.children.iter().any(|child| {
            let counts = child.pid().is_some() || child.restarts_at().is_some();
            child.spec.significant && counts
        });
        let over = match self.config.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => gone.significant,
            AutoShutdown::AllSignificant => gone.significant && last,
        };
        if over { Err(Interrupt::Exit(ExitReason::Shutdown)) } else { Ok(()) }
    }

    /// (4) One crash: recorded first, then judged, then (not in OTP) perhaps delayed.
    fn restart(&mut self, id: ChildId, at: Instant) -> Blocking<()> {
        let up_since = self.child(id).up_since;
        self.child_mut(id).set_down();
        self.crashes.push(at);
        let newest = self.crashes.iter().copied().max().unwrap_or(at);
        let period = self.config.intensity.period;
        let recent = |crash: &&Instant| newest.saturating_since(**crash) < period;
        let in_window = self.crashes.iter().filter(recent).count();
        let in_window = u32::try_from(in_window).unwrap_or(u32::MAX);
        if in_window > self.config.intensity.max_restarts {
            self.report(Report::RestartsExhausted { child: id });
            return Err(Interrupt::Exit(self.config.exhausted));
        }
        let wait = delay(&self.config.backoff, in_window, up_since, at);
        if wait == Duration::ZERO {
            return self.apply_strategy(id);
        }
        let at = at.saturating_add(wait);
        self.child_mut(id).waits_since = self.incarnation;
        self.child_mut(id).state = ChildState::Restarting { at };
        self.report(Report::RestartScheduled { child: id, at });
        Ok(())
    }

    /// (5) `try_again_restart`, or the end of a backoff.
    fn handle_retry(&mut self, id: ChildId) -> Blocking<()> {
        match self.child(id).failed_at {
            Some(at) => self.restart(id, at),
            None => {
                self.child_mut(id).set_down();
                self.apply_strategy(id)
            }
        }
    }

    /// (3) Strategies. They walk the kept specs, not the processes that ran.
    fn apply_strategy(&mut self, dead: ChildId) -> Blocking<()> {
        let all = self.ids();
        let from = all.iter().position(|id| *id == dead).unwrap_or(0);
        let set: Vec<ChildId> = match self.config.strategy {
            Strategy::OneForOne => vec![dead],
            Strategy::RestForOne => all[from..].to_vec(),
            Strategy::OneForAll => all,
        };
        for id in set.iter().rev() {
            self.stop_process(*id)?;
        }
        for id in set {
            // Temporary siblings were forgotten when they stopped.
            if !self.ids().contains(&id) {
                continue;
            }
            if let Start::Failed(pid, reason) = self.start_process(id)? {
                // (5) The rest stays down; the retry is as if this one had died.
                self.report(Report::StartFailed { pid, reason });
                let at = self.now;
                let waits_since = self.incarnation;
                let child = self.child_mut(id);
                child.waits_since = waits_since;
                child.state = ChildState::Restarting { at };
                child.failed_at = Some(at);
                return Ok(());
            }
        }
        Ok(())
    }

    // ---- small things -------------------------------------------------------------------------

    fn ids(&self) -> Vec<ChildId> {
        self.children.iter().map(|child| child.id).collect()
    }

    fn find(&self, id: ChildId) -> Option<Child> {
        self.children.iter().copied().find(|child| child.id == id)
    }

    fn child(&self, id: ChildId) -> Child {
        self.find(id).unwrap_or_else(|| unreachable!("{id:?} is listed"))
    }

    fn child_mut(&mut self, id: ChildId) -> &mut Child {
        let mut children = self.children.iter_mut();
        children.find(|child| child.id == id).unwrap_or_else(|| unreachable!("{id:?} is listed"))
    }

    fn remove(&mut self, id: ChildId) {
        self.children.retain(|child| child.id != id);
        self.emit(Action::Removed { child: id });
    }

    fn take_death(&mut self, pid: Pid) -> Option<ExitReason> {
        let index = self.mailbox.iter().position(|(dead, _, _)| *dead == pid)?;
        Some(self.mailbox.remove(index).1)
    }

    fn tell(&mut self, id: ChildId, signal: Signal, deadline: Option<Instant>) {
        let child = self.child_mut(id);
        child.told = Some((signal, deadline));
        if let Some(pid) = child.pid() {
            self.emit(Action::Signal { pid, signal });
        }
    }

    fn emit(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn report(&mut self, report: Report) {
        self.emit(Action::Report(report));
    }

    fn stale(&mut self, event: Event) {
        self.report(Report::StaleEvent { pid: pid_of(event) });
    }
}

impl Child {
    const fn down(id: ChildId, spec: ChildSpec) -> Self {
        let state = ChildState::Down;
        Self { id, spec, state, up_since: None, failed_at: None, waits_since: 0, told: None }
    }

    const fn pid(&self) -> Option<Pid> {
        match self.state {
            ChildState::Up(pid) | ChildState::Starting(pid) | ChildState::Stopping(pid) => {
                Some(pid)
            }
            ChildState::Restarting { .. } | ChildState::Down => None,
        }
    }

    const fn restarts_at(&self) -> Option<Instant> {
        match self.state {
            ChildState::Restarting { at } => Some(at),
            ChildState::Up(_) | ChildState::Starting(_) => None,
            ChildState::Stopping(_) | ChildState::Down => None,
        }
    }

    const fn set_down(&mut self) {
        *self = Self::down(self.id, self.spec);
    }

    const fn cancel_restart(&mut self) {
        if self.restarts_at().is_some() {
            self.set_down();
        }
    }
}

/// No value.
enum Never {}

/// The wait before a restart, without jitter.
fn delay(backoff: &Backoff, crashes: u32, up_since: Option<Instant>, at: Instant) -> Duration {
    let up_for = up_since.map(|since| at.saturating_since(since));
    let stable = match (backoff.stable_after, up_for) {
        (Some(period), Some(up_for)) => up_for >= period,
        (_, _) => false,
    };
    let n = if stable { 1 } else { crashes };
    let wait = match backoff.curve {
        Curve::None => Duration::ZERO,
        Curve::Constant => backoff.base,
        Curve::Linear => backoff.base.saturating_mul(n),
        Curve::Exponential => (1..n).fold(backoff.base, |wait, _| wait.saturating_mul(2)),
    };
    wait.min(backoff.max)
}

const fn pid_of(event: Event) -> Pid {
    match event {
        Event::Started { pid }
        | Event::StartIgnored { pid }
        | Event::StartFailed { pid }
        | Event::Exited { pid, .. } => pid,
    }
}

fn count<'a>(children: impl Iterator<Item = &'a Child>) -> u32 {
    u32::try_from(children.count()).unwrap_or(u32::MAX)
}

//! What an attentive observer knows: who lives, who was told what, who ended how.
//!
//! Kept once for all invariants. It follows from records alone; it shares nothing with the kernel.
//! Invariants look at it as it was *before* the record that they judge.

use std::time::Duration;

use lictor_kernel::{
    AutoShutdown, ExitReason, Instant, Restart, Shutdown, Signal, Status, Strategy,
};

use super::is_clean;
use crate::plan::{Act, Plan};
use crate::record::{NodeIx, Process, Record, Stage, What, Who};
use crate::scenario::{Entity, Role, Scenario};

/// How far a process is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// There is none.
    #[default]
    None,
    /// It was begun.
    Starting,
    /// It is up.
    Up,
}

/// The end of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    pub(super) at: Instant,
    /// The number of the record.
    pub(super) index: u64,
    pub(super) how: How,
    /// Whether the supervisor had told it to end.
    pub(super) told: bool,
    pub(super) supervisor: u64,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    Exited(ExitReason),
    StartFailed,
    StartIgnored,
}

impl End {
    /// Whether a child of this type comes back after it.
    pub(super) const fn is_crash(&self, restart: Restart) -> bool {
        if self.told {
            return false;
        }
        match (self.how, restart) {
            (How::StartIgnored, _) | (_, Restart::Temporary) => false,
            (How::StartFailed, _) | (How::Exited(_), Restart::Permanent) => true,
            (How::Exited(reason), Restart::Transient) => !is_clean(reason),
        }
    }
}

/// What is known of a name, as the child that it is.
#[derive(Clone, Debug)]
pub(super) struct ChildBook {
    pub(super) parent: Option<Who>,
    /// Its place in the start order; children of one supervisor only.
    pub(super) position: usize,
    pub(super) node: NodeIx,
    /// Where its processes run, if not there.
    pub(super) host: Option<NodeIx>,
    pub(super) restart: Restart,
    pub(super) start_timeout: Option<Duration>,
    pub(super) pool: bool,
    pub(super) agent: bool,
    /// Its end for good is the end of its supervisor, a one_for_one (V19).
    significant: bool,
    /// The newest incarnation.
    pub(super) newest: Option<Process>,
    pub(super) life: Life,
    /// The record at which the newest incarnation was begun.
    pub(super) begun: u64,
    /// When the newest incarnation must be up.
    pub(super) up_by: Instant,
    /// When it last came up.
    up_at: Instant,
    /// When it must be gone, if it was told to stop: it, or the whole node.
    pub(super) gone_by: Instant,
    stop_timeout: Option<Duration>,
    /// It was killed since it was not up by then (V24): a start that failed, and no stop.
    pub(super) late: bool,
    /// Somebody wanted it begun: if that fails, it is not tried again.
    by_command: bool,
    pub(super) told: Option<Signal>,
    pub(super) told_at: Instant,
    pub(super) end: Option<End>,
    /// The end that the newest start has answered.
    pub(super) end_before: Option<End>,
    /// Starts under the supervisor's present incarnation.
    pub(super) starts: u32,
    /// The restart that was promised: at which instant, and by how much put off.
    pub(super) waits: Option<(Instant, u64)>,
    /// It need not be up: it ended well, or somebody wanted it down.
    pub(super) rests: bool,
    /// Somebody has terminated it, and nobody has started it since.
    pub(super) terminated: bool,
    pub(super) status: Option<Status>,
    /// It has been suspended, and nobody has wanted it resumed since.
    pub(super) suspended: bool,
}

impl ChildBook {
    /// Where its processes run.
    pub(super) fn home(&self) -> NodeIx {
        self.host.unwrap_or(self.node)
    }
}

/// What is known of a supervisor.
#[derive(Clone, Debug, Default)]
pub(super) struct SupervisorBook {
    pub(super) strategy: Option<Strategy>,
    /// It is killed, and not told to stop; and it never stops its children by itself but when it
    /// gives up.
    pub(super) is_killed: bool,
    pub(super) children: Vec<Who>,
    /// Its present incarnation.
    pub(super) id: Option<u64>,
    pub(super) ready: bool,
    pub(super) exhausted: bool,
    /// The last end of an incarnation.
    pub(super) exit: Option<ExitReason>,
    /// Children that are being started or stopped.
    pub(super) starting: u32,
    /// A child whose end ends this incarnation.
    pub(super) ended_by: Option<Who>,
}

/// What an operation of this very instant asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Command {
    pub(super) at: Instant,
    pub(super) of: Who,
}

#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) child: Vec<ChildBook>,
    pub(super) supervisor: Vec<SupervisorBook>,
    pub(super) acts: Vec<Act>,
    /// Whose kernel clock is not the world's.
    pub(super) clock_is_odd: Vec<bool>,
    /// Whose timers may be late. What was due before a fact is then decided before it, so the fact
    /// stands before actions that were taken without it.
    late: Vec<bool>,
    pub(super) on: Vec<bool>,
    pub(super) tree_gone: Vec<bool>,
    pub(super) stopped: Vec<bool>,
    /// When the tree of a node that is stopped must be gone.
    stop_by: Vec<Instant>,
    pub(super) command: Option<Command>,
    /// How the child of the last command was before it: whether it rested, was terminated.
    undo: Vec<(Who, bool, bool)>,
    /// The number of the record that is judged.
    pub(super) index: u64,
    pub(super) healed: Option<Instant>,
    pub(super) calm: bool,
}

impl SupervisorBook {
    /// Whether a start or a stop of it is not over.
    pub(super) const fn is_busy(&self) -> bool {
        !self.ready || self.starting > 0
    }

    fn of(entity: &Entity) -> Self {
        match &entity.role {
            Role::Supervisor(config, children) => Self {
                strategy: Some(config.strategy),
                is_killed: entity.parent.is_some()
                    && entity.spec.shutdown == Shutdown::BrutalKill
                    && config.strategy == Strategy::OneForOne
                    && config.auto_shutdown == AutoShutdown::Never,
                children: children.clone(),
                ..Self::default()
            },
            Role::Dynamic(_, children) => Self { children: children.clone(), ..Self::default() },
            Role::Agent(_) => Self::default(),
        }
    }
}

impl Books {
    pub(super) fn new(plan: &Plan) -> Self {
        let scenario = &plan.scenario;
        let mut child: Vec<ChildBook> = Vec::with_capacity(scenario.len());
        let mut supervisor = Vec::with_capacity(scenario.len());
        for (who, entity) in scenario.all() {
            let agent = scenario.agent(who);
            child.push(ChildBook {
                parent: entity.parent,
                position: 0,
                node: entity.node,
                host: plan.host_of(who),
                restart: entity.spec.restart,
                start_timeout: entity.spec.start_timeout,
                pool: agent.is_some_and(|agent| agent.pool),
                agent: agent.is_some(),
                significant: entity.spec.significant && ends_with_any(scenario, entity.parent),
                newest: None,
                life: Life::None,
                begun: 0,
                up_by: Instant::MAX,
                up_at: Instant::ZERO,
                gone_by: Instant::MAX,
                stop_timeout: match entity.spec.shutdown {
                    Shutdown::Timeout(timeout) => Some(timeout),
                    Shutdown::BrutalKill | Shutdown::Infinity => None,
                },
                late: false,
                by_command: false,
                told: None,
                told_at: Instant::ZERO,
                end: None,
                end_before: None,
                starts: 0,
                waits: None,
                rests: agent.is_some_and(|agent| agent.pool),
                terminated: false,
                status: None,
                suspended: false,
            });
            supervisor.push(SupervisorBook::of(entity));
        }
        for book in &supervisor {
            for (position, who) in book.children.iter().enumerate() {
                child[usize::from(who.0)].position = position;
            }
        }
        let (clock_is_odd, late) = odd_clocks(plan);
        Self {
            child,
            supervisor,
            acts: plan.operations.iter().map(|operation| operation.act).collect(),
            clock_is_odd,
            late,
            on: vec![false; scenario.nodes()],
            tree_gone: vec![false; scenario.nodes()],
            stopped: vec![false; scenario.nodes()],
            stop_by: vec![Instant::MAX; scenario.nodes()],
            command: None,
            undo: Vec::new(),
            index: 0,
            healed: None,
            calm: false,
        }
    }

    pub(super) fn of(&self, who: Who) -> &ChildBook {
        &self.child[usize::from(who.0)]
    }

    pub(super) fn boss(&self, who: Who) -> Option<&SupervisorBook> {
        self.of(who).parent.map(|parent| &self.supervisor[usize::from(parent.0)])
    }

    /// Whether the process may have been alive when the action at hand was decided.
    pub(super) fn lived(&self, now: Instant, process: Process) -> bool {
        let book = self.of(process.who);
        let is_newest = book.newest == Some(process);
        let node = usize::from(book.node.0);
        // By a clock that has leapt, too, a deadline may be over before the fact is told.
        let may_be_late = self.late[node] || self.clock_is_odd[node];
        let just_ended = may_be_late && book.end.is_some_and(|end| end.at == now);
        is_newest && (book.life != Life::None || just_ended)
    }

    /// Whether deadlines of this node may come at another time than they should.
    pub(super) fn has_odd_timers(&self, node: NodeIx) -> bool {
        self.clock_is_odd[usize::from(node.0)] || self.late[usize::from(node.0)]
    }

    /// Whether somebody asked, at this very instant, for something about this child.
    pub(super) fn is_commanded(&self, now: Instant, who: Who) -> bool {
        self.command.is_some_and(|command| command.at == now && command.of == who)
    }

    /// Takes a record in.
    pub(super) fn update(&mut self, record: &Record) {
        let (now, index) = (record.at, self.index);
        self.index += 1;
        match record.what {
            What::Start(process) => self.begins(now, index, process),
            What::Signal(process, signal) => {
                // One that says that it is up after its time may be heard, and killed for it.
                let may_be_late = self.late[usize::from(self.of(process.who).node.0)];
                let book = &mut self.child[usize::from(process.who.0)];
                if book.newest == Some(process) && book.life != Life::None {
                    if book.told.is_none() {
                        book.told_at = now;
                        let own = book.stop_timeout;
                        let own = own.map_or(Instant::MAX, |time| now.saturating_add(time));
                        book.gone_by = own.min(self.stop_by[usize::from(book.node.0)].max(now));
                        let odd = self.clock_is_odd[usize::from(book.node.0)];
                        book.late = signal == Signal::Kill
                            && (book.life == Life::Starting
                                || (book.life == Life::Up && may_be_late && book.up_at == now))
                            && book.start_timeout.is_some()
                            && (odd || now >= book.up_by);
                    }
                    book.told = Some(signal);
                }
            }
            What::Started(process) => {
                let parent = self.of(process.who).parent;
                let book = &mut self.child[usize::from(process.who.0)];
                if book.newest == Some(process) && book.life == Life::Starting {
                    (book.life, book.up_at) = (Life::Up, now);
                    if let Some(parent) = parent {
                        let starting = &mut self.supervisor[usize::from(parent.0)].starting;
                        *starting = starting.saturating_sub(1);
                    }
                }
            }
            What::StartIgnored(process) => self.ends(now, index, process, How::StartIgnored),
            What::StartFailed(process) => self.ends(now, index, process, How::StartFailed),
            What::Exited(process, reason) => {
                self.ends(now, index, process, How::Exited(reason));
            }
            What::Supervisor { who, id, process, stage } => {
                self.stage(now, index, (who, id, process), stage);
            }
            What::RestartScheduled { who, delay, .. } => {
                self.child[usize::from(who.0)].waits = Some((now, delay));
            }
            What::RestartsExhausted { child, .. } => {
                if let Some(parent) = self.of(child).parent {
                    self.supervisor[usize::from(parent.0)].exhausted = true;
                }
            }
            What::Removed(who) => {
                let book = &mut self.child[usize::from(who.0)];
                (book.rests, book.starts, book.waits) = (true, 0, None);
            }
            // What the host of a name says of it is not what its supervisor says.
            What::Status(who, _) if self.of(who).node != record.node => {}
            What::Status(who, status) => {
                let book = &mut self.child[usize::from(who.0)];
                (book.status, book.suspended) = (Some(status), status == Status::Suspended);
            }
            What::Outlives(..) | What::Here(..) | What::Has(..) | What::Placed(..) => {}
            What::Booted(_) => self.on[usize::from(record.node.0)] = true,
            What::Halted => self.halted(record.node),
            What::Operation(number) => self.operation(now, record.node, number),
            What::Refused(_) => self.refused(),
            What::Healed => self.healed = Some(now),
            What::Calm => self.calm = true,
            _ => {}
        }
    }

    fn begins(&mut self, now: Instant, index: u64, process: Process) {
        let by_command = self.is_commanded(now, process.who);
        let parent = self.of(process.who).parent;
        let book = &mut self.child[usize::from(process.who.0)];
        book.newest = Some(process);
        book.life = Life::Starting;
        (book.begun, book.end_before) = (index, book.end);
        book.up_by = book.start_timeout.map_or(Instant::MAX, |within| now.saturating_add(within));
        book.late = false;
        book.by_command = by_command;
        book.told = None;
        book.starts += 1;
        book.waits = None;
        book.rests = false;
        book.terminated = false;
        if book.status == Some(Status::Down) {
            book.status = None;
        }
        if let Some(parent) = parent {
            self.supervisor[usize::from(parent.0)].starting += 1;
        }
    }

    fn ends(&mut self, at: Instant, index: u64, process: Process, how: How) {
        let parent = self.of(process.who).parent;
        let book = &mut self.child[usize::from(process.who.0)];
        if book.newest != Some(process) || book.life == Life::None {
            return;
        }
        let was_starting = book.life == Life::Starting;
        if was_starting && let Some(parent) = parent {
            let starting = &mut self.supervisor[usize::from(parent.0)].starting;
            *starting = starting.saturating_sub(1);
        }
        // What ends before it is up, and was not told to, has not started (V25).
        let failed = was_starting && book.told.is_none() && matches!(how, How::Exited(_));
        let how = if book.late || failed { How::StartFailed } else { how };
        let told = book.told.is_some() && !book.late;
        let end = End { at, index, how, told, supervisor: process.supervisor };
        book.end = Some(end);
        book.life = Life::None;
        let ended_well = match (how, book.restart) {
            (How::StartIgnored, _) | (_, Restart::Temporary) => true,
            (How::StartFailed, _) if book.by_command => true,
            (How::Exited(reason), Restart::Transient) => is_clean(reason) && !told,
            (How::Exited(_) | How::StartFailed, _) => false,
        };
        book.rests |= ended_well;
        let for_good = ended_well && matches!(how, How::Exited(_)) && !told;
        if for_good
            && book.significant
            && let Some(parent) = parent
        {
            self.supervisor[usize::from(parent.0)].ended_by = Some(process.who);
        }
    }

    fn stage(
        &mut self,
        now: Instant,
        index: u64,
        (who, id, process): (Who, u64, Option<Process>),
        stage: Stage,
    ) {
        let at = usize::from(who.0);
        match stage {
            Stage::Initializing => {
                if let Some(process) = process {
                    self.begins(now, index, process);
                }
                let book = &mut self.supervisor[at];
                (book.id, book.ready, book.exhausted) = (Some(id), false, false);
                (book.starting, book.ended_by) = (0, None);
                for child in self.supervisor[at].children.clone() {
                    let book = &mut self.child[usize::from(child.0)];
                    (book.starts, book.terminated) = (0, false);
                    book.waits = None;
                    book.rests = book.pool;
                }
            }
            Stage::Ready => {
                self.supervisor[at].ready = true;
                if let Some(process) = process
                    && self.child[at].newest == Some(process)
                {
                    self.child[at].life = Life::Up;
                    self.no_longer_starting(who);
                }
            }
            Stage::Exited(reason) => {
                let was_ready = self.supervisor[at].ready;
                let book = &mut self.supervisor[at];
                book.exit = Some(reason);
                if book.id == Some(id) {
                    (book.id, book.ready) = (None, false);
                }
                if let Some(process) = process {
                    let how = if was_ready { How::Exited(reason) } else { How::StartFailed };
                    self.ends(now, index, process, how);
                } else {
                    self.tree_gone[usize::from(self.child[at].node.0)] = true;
                }
            }
        }
    }

    fn no_longer_starting(&mut self, who: Who) {
        if let Some(parent) = self.of(who).parent {
            let starting = &mut self.supervisor[usize::from(parent.0)].starting;
            *starting = starting.saturating_sub(1);
        }
    }

    fn halted(&mut self, node: NodeIx) {
        let at = usize::from(node.0);
        (self.on[at], self.tree_gone[at], self.stopped[at]) = (false, false, false);
        self.stop_by[at] = Instant::MAX;
        for (child, supervisor) in self.child.iter_mut().zip(&mut self.supervisor) {
            if child.node == node {
                (child.newest, child.life, child.told) = (None, Life::None, None);
                (child.end, child.starts, child.waits) = (None, 0, None);
                child.end_before = None;
                (child.rests, child.terminated, child.status) = (child.pool, false, None);
                child.suspended = false;
                (supervisor.id, supervisor.ready, supervisor.exit) = (None, false, None);
                (supervisor.exhausted, supervisor.starting) = (false, 0);
                supervisor.ended_by = None;
            }
        }
    }

    /// Nothing has come of the last command.
    fn refused(&mut self) {
        self.command = None;
        for (who, rests, terminated) in self.undo.drain(..) {
            let book = &mut self.child[usize::from(who.0)];
            (book.rests, book.terminated) = (rests, terminated);
        }
    }

    /// Children that are down until this one is restarted stay down when somebody takes it down
    /// instead (V10, V21; so in OTP).
    fn rest_behind(&mut self, who: Who) {
        let (parent, position) = (self.of(who).parent, self.of(who).position);
        let Some(parent) = parent.filter(|_| self.of(who).life == Life::None) else { return };
        let boss = &self.supervisor[usize::from(parent.0)];
        if !matches!(boss.strategy, Some(Strategy::OneForAll | Strategy::RestForOne)) {
            return;
        }
        for child in &boss.children {
            let book = &mut self.child[usize::from(child.0)];
            if book.position > position && book.life == Life::None {
                self.undo.push((*child, book.rests, book.terminated));
                book.rests = true;
            }
        }
    }

    fn operation(&mut self, now: Instant, node: NodeIx, number: u32) {
        self.undo.clear();
        let Some(act) = self.acts.get(number as usize) else { return };
        let of = match *act {
            Act::Terminate(who) | Act::Despawn(who) => {
                let book = &mut self.child[usize::from(who.0)];
                self.undo.push((who, book.rests, book.terminated));
                (book.rests, book.terminated) = (true, true);
                self.rest_behind(who);
                who
            }
            Act::Spawn(who) | Act::Restart(who) => who,
            Act::Stop(within) => {
                let at = usize::from(node.0);
                self.stopped[at] = true;
                let by = self.stop_by[at].min(now.saturating_add(within));
                self.stop_by[at] = by;
                for child in self.child.iter_mut().filter(|child| child.node == node) {
                    child.gone_by = child.gone_by.min(by);
                }
                return;
            }
            Act::Resume(who) => {
                self.child[usize::from(who.0)].suspended = false;
                return;
            }
            Act::Tell(_)
            | Act::Ask(..)
            | Act::Broadcast
            | Act::Suspend(_)
            | Act::End(..)
            | Act::Claim(_)
            | Act::Unclaim(_)
            | Act::TellWithin(..)
            | Act::Publish(..)
            | Act::TellCapable(_)
            | Act::SendAfter(..)
            | Act::Look(_) => return,
        };
        self.command = Some(Command { at: now, of });
    }
}

/// Whether this is a one_for_one that ends when any significant child has.
fn ends_with_any(scenario: &Scenario, supervisor: Option<Who>) -> bool {
    supervisor.is_some_and(|who| match &scenario.entity(who).role {
        Role::Supervisor(config, _) => {
            config.auto_shutdown == AutoShutdown::AnySignificant
                && config.strategy == Strategy::OneForOne
        }
        Role::Dynamic(..) | Role::Agent(_) => false,
    })
}

/// The nodes whose clocks are not the world's, and those whose timers may be late.
fn odd_clocks(plan: &Plan) -> (Vec<bool>, Vec<bool>) {
    use crate::fault::{Kind, Target};
    let mut clock_is_odd = vec![false; plan.scenario.nodes()];
    let mut late = vec![plan.knobs.buggify; plan.scenario.nodes()];
    for fault in &plan.faults {
        let Target::Node(node) = fault.target else { continue };
        let odd = match fault.kind {
            Kind::Skew | Kind::Drift => clock_is_odd.get_mut(usize::from(node.0)),
            Kind::LateTimers | Kind::Pause => late.get_mut(usize::from(node.0)),
            _ => None,
        };
        if let Some(odd) = odd {
            *odd = true;
        }
    }
    (clock_is_odd, late)
}

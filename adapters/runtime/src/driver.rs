//! The driver: the one place where the kernel's decisions are carried out.
//!
//! One task per runtime. It takes what processes and callers say from the inbox, hands it to the
//! kernel's [`Node`], and carries out the actions in their order. Decisions are made under the
//! world's lock; what runs foreign code (waking, closing a mailbox full of the user's messages) is
//! an [`Effect`] and happens after the lock is gone, still in order. Messages between agents never
//! pass through here.

mod actions;
mod carry;
mod commands;
mod place;
mod remote;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lictor_kernel::Status::Suspended;
use lictor_kernel::node::{Action, Event};
use lictor_kernel::remote::HOSTED;
use lictor_kernel::supervisor::{self};
use lictor_kernel::tree::{self, Machine};
use lictor_kernel::{
    CallId, ChildId, Deadlines, ExitReason, Instant, NameId, Node, NodeId, ProcessId, SupervisorId,
    Table,
};

use crate::cell::{AnyCell, Control, Launch};
use crate::config::{OnRootExit, Terminated};
use crate::directory::Directory;
use crate::error::{ControlError, StartError};
use crate::events::{EventKind, reason_name};
use crate::executor::Task;
use crate::frame::Body;
use crate::inbox::{Fact, Inbox, Input, Outcome};
use crate::process::{Life, yield_now};
use crate::recorder::Recorder;
use crate::reply::{ReplyFailure, ReplyTo};
use crate::runtime::{Entry, Phase, Shared};
use crate::spec::AgentSpec;
use crate::timers::Wait;
use crate::token::Token;
use crate::view::Status;

pub(crate) use carry::carry_out;
pub(crate) use place::{Place, Role};
pub(crate) use remote::Elsewhere;
pub(crate) use wire::run_wire;

type Answer<E> = ReplyTo<Result<(), E>>;

/// What callers ask of the driver.
pub(crate) enum Command {
    Stop {
        deadline: Option<Instant>,
        answer: ReplyTo<()>,
    },
    Spawn {
        supervisor: Dynamic,
        spawner: Option<Arc<str>>,
        agent: AgentSpec,
        answer: Answer<ControlError>,
    },
    StopChild {
        name: String,
        how: StopHow,
        answer: Answer<ControlError>,
    },
    Control {
        name: String,
        wish: Wish,
        answer: Answer<ControlError>,
    },
    /// OTP's `terminate_child` (`false`) and `restart_child` (`true`).
    FixedChild {
        name: String,
        start: bool,
        answer: Answer<ControlError>,
    },
    /// The process that was this boot of a peer has ended.
    PeerGone {
        peer: NodeId,
        boot: u64,
    },
}

/// What somebody wants an agent to do.
pub(crate) enum Wish {
    Suspend { reason: Arc<str> },
    Resume { approver: Arc<str> },
    Restart { by: Arc<str> },
}

/// Which dynamic supervisor.
pub(crate) enum Dynamic {
    Named(String),
    /// The nearest to this agent.
    NearestTo(Arc<str>),
}

pub(crate) enum StopHow {
    Kill,
    Current(Duration),
    All(Duration),
}

/// Everything the driver knows. Others may look, under the lock.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) places: Table<ChildId, Place>,
    pub(crate) root: Option<ChildId>,
    pub(crate) phase: Phase,
    /// The supervisors that run now, by their place.
    running: BTreeMap<ChildId, SupervisorId>,
    /// The process of each child that has one; there is never a second.
    lives: Table<ChildId, Arc<Life>>,
    killed: Deadlines<ProcessId>,
    /// Killed processes that block their threads.
    stuck: BTreeSet<ProcessId>,
    /// What the last failure of a child said.
    details: BTreeMap<ChildId, Arc<str>>,
    start: Option<Answer<StartError>>,
    first_failure: Option<(Arc<str>, Arc<str>)>,
    stops: Vec<ReplyTo<()>>,
    /// What may run here for other nodes, and whether the own tree waits for its end.
    pub(crate) hosting: remote::Hosting,
    spawns: BTreeMap<ChildId, Answer<ControlError>>,
    removals: BTreeMap<ChildId, Vec<Answer<ControlError>>>,
    pub(crate) actions: Vec<Action>,
    effects: VecDeque<Effect>,
    on_root_exit: OnRootExit,
    /// Changed with the names of the node, under the one lock: a name that is given back and taken
    /// again in one step must not be lost.
    pub(crate) directory: Arc<Directory<Entry>>,
    inbox: Arc<Inbox>,
    /// When the kernel was called last.
    pub(crate) now: Instant,
    /// Whether peers are asked.
    running_wire: bool,
    /// Raised when the transport must end.
    pub(crate) wire_over: Arc<Token>,
    pub(crate) recorder: Option<Arc<dyn Recorder>>,
}

/// What is done after the lock is gone.
pub(crate) enum Effect {
    Launch(Arc<str>, Task),
    Kill(Arc<Life>),
    Control(Arc<dyn AnyCell>, Control),
    Close(Arc<dyn AnyCell>, ReplyFailure),
    Reopen(Arc<dyn AnyCell>),
    /// Refuse what is new, handle what is queued.
    Drain(Arc<dyn AnyCell>),
    /// The name is given back: close its mailbox, and drop what launches into it.
    GiveBack(Arc<dyn Launch>),
    /// All names are given back.
    GiveBackAll(Vec<Arc<dyn Launch>>),
    /// Drop it: what the user's factory holds is none of ours.
    Discard(Arc<dyn Launch>),
    /// As well: a specification, refused or used up.
    Forget(Box<AgentSpec>),
    /// Commands that came too late learn so by their dropped answers.
    TooLate(VecDeque<Input>),
    Event(EventKind),
    Answer(Answer<ControlError>, Result<(), ControlError>),
    Started(Answer<StartError>, Result<(), StartError>),
    Stopped(ReplyTo<()>),
    /// The tree is gone: whoever waits for the end is told. Not after a start that failed: then the
    /// runtime is as it was before.
    Ended(Option<Terminated>, Phase),
    /// To a peer.
    Say(NodeId, Box<Body>),
    /// A call over the wire has nobody to answer it any more.
    CallEnded(CallId),
    /// The transport must end.
    Unplug(Arc<Token>),
}

/// Runs until the tree has ended.
pub(crate) fn drive(shared: Arc<Shared>) -> Task {
    // Armed before the first poll: a host that is gone already drops the task without one.
    let watch = DeadMan { shared, armed: true };
    Box::pin(async move {
        let mut watch = watch;
        run(&watch.shared).await;
        watch.armed = false;
    })
}

/// After this many rounds the driver lets the host have its say. One that is going away drops what
/// is launched at once, which is the next round's input: without a pause that would go on for ever.
const ROUNDS_PER_POLL: u32 = 64;

/// For so many effects the room is kept from one round to the next.
const EFFECTS_KEPT: usize = 1024;

async fn run(shared: &Arc<Shared>) {
    let mut inputs = VecDeque::new();
    let mut effects = VecDeque::new();
    let mut alarm: Option<Alarm<'_>> = None;
    let mut rounds: u32 = 0;
    loop {
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(ROUNDS_PER_POLL) {
            yield_now().await;
        }
        let deadline = shared.world().poll_timeout();
        // One that is set for earlier does as well: it wakes for nothing, once. So a supervisor
        // that stops its children one by one sets none for each.
        alarm = match (alarm, deadline) {
            (Some(alarm), Some(at)) if alarm.0 <= at => Some(alarm),
            (_, Some(at)) => Some(Alarm(at, shared.timers.wait_until(at))),
            (_, None) => None,
        };
        wait(shared, &mut alarm, &mut inputs).await;
        {
            let mut world = shared.world();
            // One look at the clock for all that has come by now.
            let now = shared.executor.now();
            while let Some(input) = inputs.pop_front() {
                world.input(shared, now, input);
                if world.is_over() {
                    // Of those behind it only commands matter; they must not stir what is over.
                    world.effects.push_back(Effect::TooLate(std::mem::take(&mut inputs)));
                }
            }
            world.timeout(now);
            world.give_up_stuck(now);
            std::mem::swap(&mut world.effects, &mut effects);
        }
        let has_ended = carry_out(shared, effects.drain(..));
        if has_ended {
            return;
        }
        // The room is used again, unless it was for something unusual.
        effects.shrink_to(EFFECTS_KEPT);
    }
}

/// Tells everybody when the driver goes without having ended the tree: the host is going away, or
/// the driver has found a fault of its own. Otherwise they would wait for ever.
struct DeadMan {
    shared: Arc<Shared>,
    armed: bool,
}

impl Drop for DeadMan {
    fn drop(&mut self) {
        if self.armed {
            let (effects, undone) = self.shared.world().abandon();
            carry_out(&self.shared, effects);
            drop(undone);
        }
    }
}

/// A wait of the driver, and for when it is set.
struct Alarm<'a>(Instant, Wait<'a>);

/// Waits for input or for the alarm, whichever is first. One that has gone off is taken.
async fn wait(shared: &Shared, alarm: &mut Option<Alarm<'_>>, inputs: &mut VecDeque<Input>) {
    poll_fn(|cx| {
        if shared.inbox.poll_take(cx, inputs).is_ready() {
            return Poll::Ready(());
        }
        let Some(Alarm(_, sleep)) = alarm else { return Poll::Pending };
        if Pin::new(sleep).poll(cx).is_ready() {
            *alarm = None;
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

impl World {
    pub(crate) fn new(
        node: Node,
        on_root_exit: OnRootExit,
        directory: Arc<Directory<Entry>>,
        inbox: Arc<Inbox>,
        recorder: Option<Arc<dyn Recorder>>,
    ) -> Self {
        Self {
            node,
            places: Table::new(),
            root: None,
            phase: Phase::New,
            running: BTreeMap::new(),
            lives: Table::new(),
            killed: Deadlines::default(),
            stuck: BTreeSet::new(),
            details: BTreeMap::new(),
            start: None,
            first_failure: None,
            stops: Vec::new(),
            hosting: remote::Hosting::default(),
            spawns: BTreeMap::new(),
            removals: BTreeMap::new(),
            actions: Vec::new(),
            effects: VecDeque::new(),
            on_root_exit,
            directory,
            inbox,
            now: Instant::ZERO,
            running_wire: false,
            wire_over: Arc::new(Token::new()),
            recorder,
        }
    }

    /// Whether the tree has ended, so that nothing may be done about it any more.
    const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Stopped | Phase::Failed)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match (self.node.poll_timeout(), self.killed.next()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Starts the assembled tree. The answer comes when every child is up or the start has failed.
    pub(crate) fn start(
        &mut self,
        shared: &Arc<Shared>,
        plan: &Arc<tree::Plan>,
        answer: Answer<StartError>,
    ) {
        self.phase = Phase::Starting;
        self.start = Some(answer);
        let now = shared.executor.now();
        let mut actions = std::mem::take(&mut self.actions);
        let started = self.node.start(now, plan, &mut actions);
        assert!(started.is_ok(), "the plan was checked when it was assembled");
        self.perform(now, &mut actions);
        // A tree without workers may be over already.
        if self.phase == Phase::Starting || self.phase == Phase::Running {
            self.join(shared, now);
        }
    }

    pub(crate) fn take_effects(&mut self) -> VecDeque<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn timeout(&mut self, now: Instant) {
        if self.node.poll_timeout().is_some_and(|at| at <= now) {
            let mut actions = std::mem::take(&mut self.actions);
            self.node.handle_timeout(now, &mut actions);
            self.perform(now, &mut actions);
        }
        while let Some((_, process)) = self.killed.pop_due(now) {
            self.unresponsive(process);
        }
    }

    fn input(&mut self, shared: &Arc<Shared>, now: Instant, input: Input) {
        self.now = now;
        match input {
            Input::Fact(fact) => self.fact(now, fact),
            Input::Link(node, is_up) => self.link(now, node, is_up),
            Input::Peer(node, body) => self.hear(now, node, *body),
            Input::Command(command) => self.command(shared, now, *command),
        }
    }

    fn command(&mut self, shared: &Arc<Shared>, now: Instant, command: Command) {
        match command {
            Command::Stop { deadline, answer } => {
                self.stops.push(answer);
                self.phase = Phase::Stopping;
                let mut actions = std::mem::take(&mut self.actions);
                self.node.stop_hosting(now, deadline, &mut actions);
                self.node.shutdown(now, deadline, &mut actions);
                self.perform(now, &mut actions);
            }
            Command::Spawn { supervisor, spawner, agent, answer } => {
                self.spawn(shared, now, &supervisor, spawner.as_deref(), agent, answer);
            }
            Command::StopChild { name, how, answer } => {
                self.stop_child(now, &name, &how, answer);
            }
            Command::Control { name, wish, answer } => {
                let result = self.control(&name, wish);
                self.effects.push_back(Effect::Answer(answer, result));
            }
            Command::FixedChild { name, start, answer } => {
                let result = self.fixed_child(now, &name, start);
                self.effects.push_back(Effect::Answer(answer, result));
            }
            Command::PeerGone { peer, boot } => self.peer_event(now, Event::PeerGone(peer, boot)),
        }
    }

    /// Something a process did: tell the watchers, then the kernel.
    fn fact(&mut self, now: Instant, fact: Fact) {
        let Fact { process, outcome } = fact;
        if self.life(process).is_none() {
            // It was given up because it blocked its thread, and its end has been told. By now
            // another may have its name.
            return;
        }
        let (supervisor, pid) = (process.supervisor, process.pid);
        let Some(place) = self.places.get(pid.child) else { return };
        let name = Arc::clone(place.name());
        let cell = place.cell();
        let event = match outcome {
            Outcome::Started { incarnation } => {
                self.event(EventKind::Started { name, incarnation });
                supervisor::Event::Started { pid }
            }
            Outcome::Ignored => {
                self.ended(process, cell, Status::Stopped);
                self.event(EventKind::Stopped { name, reason: "start_ignored" });
                supervisor::Event::StartIgnored { pid }
            }
            Outcome::StartFailed { detail } => {
                self.ended(process, cell, Status::Crashed);
                self.failed_start(pid.child, name, detail);
                supervisor::Event::StartFailed { pid }
            }
            Outcome::Exited { reason, detail } => {
                let status = if reason.is_clean() { Status::Stopped } else { Status::Crashed };
                self.ended(process, cell, status);
                self.exited(pid.child, name, reason, detail);
                supervisor::Event::Exited { pid, reason }
            }
        };
        let mut actions = std::mem::take(&mut self.actions);
        self.record_event(now, &Event::Supervision(supervisor, event));
        self.node.handle(now, Event::Supervision(supervisor, event), &mut actions);
        self.perform(now, &mut actions);
        if matches!(event, supervisor::Event::Started { .. }) {
            self.stays_suspended(pid.child);
        }
    }

    /// A suspension is the name's: it outlives the incarnation that it was for.
    fn stays_suspended(&mut self, id: ChildId) {
        if self.cell(id).is_some_and(|cell| cell.core().is_suspended()) {
            // One that is ending already cannot be suspended, and need not be.
            let _ = self.node.set_status(NameId(id.0), Suspended, &mut self.actions);
            self.tell_peers();
        }
    }

    /// The hold on a process, while it is alive.
    fn life(&self, process: ProcessId) -> Option<&Arc<Life>> {
        self.lives.get(process.pid.child).filter(|life| life.process == process)
    }

    fn ended(&mut self, process: ProcessId, cell: Option<Arc<dyn AnyCell>>, status: Status) {
        self.lives.remove(process.pid.child);
        self.stuck.remove(&process);
        if let Some(cell) = cell {
            cell.core().set_status(status);
        }
    }

    pub(super) fn failed_start(&mut self, child: ChildId, name: Arc<str>, detail: Arc<str>) {
        self.details.insert(child, Arc::clone(&detail));
        // The last one counts: what failed before it has been restarted meanwhile.
        if self.phase == Phase::Starting {
            self.first_failure = Some((Arc::clone(&name), Arc::clone(&detail)));
        }
        self.event(EventKind::StartFailed { name, detail });
    }

    pub(super) fn exited(
        &mut self,
        child: ChildId,
        name: Arc<str>,
        reason: ExitReason,
        detail: Option<Arc<str>>,
    ) {
        let reason_text = reason_name(reason);
        if reason.is_clean() {
            self.event(EventKind::Stopped { name, reason: reason_text });
            return;
        }
        let detail = detail.unwrap_or_else(|| Arc::from(reason_text));
        self.details.insert(child, Arc::clone(&detail));
        if self.phase == Phase::Starting && self.first_failure.is_none() {
            self.first_failure = Some((Arc::clone(&name), Arc::clone(&detail)));
        }
        self.event(EventKind::Crashed { name, reason: reason_text, detail });
    }

    /// Whether nobody will start the child again: every supervisor above it is ending, or is making
    /// its first start, which a child that fails ends.
    fn is_ending(&self, process: ProcessId) -> bool {
        if process.supervisor == HOSTED {
            return self.node.host().is_leaving();
        }
        use supervisor::Phase as Machines;
        let tree = self.node.tree();
        let mut place = self.places.get(process.pid.child);
        while let Some(parent) = place.and_then(|place| place.parent) {
            let machine = self.running.get(&parent).and_then(|id| tree.supervisor(*id));
            let ending = match machine {
                Some(Machine::Static(machine)) => match machine.phase() {
                    Machines::Running | Machines::Restarting | Machines::Command { .. } => false,
                    Machines::New
                    | Machines::Starting
                    | Machines::Stopping { .. }
                    | Machines::Stopped { .. } => true,
                },
                Some(Machine::Dynamic(machine)) => !machine.is_running(),
                None => true,
            };
            if !ending {
                return false;
            }
            place = self.places.get(parent);
        }
        true
    }

    /// While the tree ends, a process that blocks its thread is given up, or the end would never
    /// come. Until then its supervisor waits: two incarnations must not be alive at once. That the
    /// tree is ending is not enough: a supervisor that has not been told yet, and is in the middle
    /// of a restart, would go on with it.
    fn give_up_stuck(&mut self, now: Instant) {
        while let Some(process) = self.stuck.iter().find(|p| self.is_ending(**p)).copied() {
            self.stuck.remove(&process);
            if self.life(process).is_some() {
                let outcome = Outcome::Exited { reason: ExitReason::Killed, detail: None };
                self.fact(now, Fact { process, outcome });
            }
        }
    }

    #[cfg(feature = "conformance")]
    pub(crate) fn remembered_spawners(&self) -> usize {
        let machines = self.running.values().filter_map(|id| self.node.tree().supervisor(*id));
        machines
            .map(|machine| match machine {
                Machine::Dynamic(machine) => machine.spawners(),
                Machine::Static(_) => 0,
            })
            .sum()
    }

    pub(super) fn event(&mut self, kind: EventKind) {
        self.effects.push_back(Effect::Event(kind));
    }
}

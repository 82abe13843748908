//! The processes around the kernel's tree: workers, start functions, mailboxes, a clock, and the
//! trace of what happens to them.
//!
//! The clock gives the tree whole seconds plus an offset far below one. The offset only orders what
//! happens within a second, and never falls from one step to the next: so a restart window of
//! `period + 1 s` sees exactly OTP's whole seconds.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use lictor_kernel::tree::{Action, Machine};
use lictor_kernel::{ChildId, ExitReason, Instant, Pid, ProcessId, Signal, SupervisorId, Tree};
use lictor_kernel::{supervisor::Event, supervisor::Phase};
use serde_json::{Value, json};

use super::mailbox::Message;
use super::scenario::{Answer, Body, Child, Outcome, Planned, Sup};

/// How far behind the present instant a retry lies: longer than all waits of an instant together.
const BEHIND: Duration = Duration::from_nanos(100_000);

/// The world that a scenario happens in.
#[derive(Debug)]
pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) clock: Clock,
    pub(super) trace: Vec<Value>,
    pub(super) sups: BTreeMap<SupervisorId, Supervisor>,
    pub(super) workers: BTreeMap<ProcessId, Worker>,
    /// The latest process of each id, alive or dead.
    pub(super) latest: BTreeMap<String, ProcessId>,
    /// Why processes ended, and why starts failed.
    pub(super) reasons: BTreeMap<ProcessId, Value>,
    /// The calls that wait for a start, and their place among the results of the step.
    pub(super) callers: BTreeMap<ProcessId, usize>,
    pub(super) results: Vec<Value>,
    /// What the start of the root came to.
    pub(super) root_started: Option<Value>,
    /// Workers that will exit by themselves.
    pub(super) slow: BTreeSet<(Instant, ProcessId)>,
    /// The supervisors that have lost a child supervisor since the world last set out to rest.
    pub(super) bereaved: BTreeSet<SupervisorId>,
    pub(super) actions: VecDeque<Action>,
    pub(super) root: Rc<Child>,
    incarnations: BTreeMap<String, u64>,
    plans: BTreeMap<String, VecDeque<(Outcome, u64)>>,
    ids: BTreeMap<String, ChildId>,
    next_id: u32,
}

/// A supervisor that runs.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) child: Rc<Child>,
    pub(super) n: u64,
    /// The id of its own supervisor.
    pub(super) parent: String,
    pub(super) process: Option<ProcessId>,
    pub(super) children: BTreeMap<ChildId, Rc<Child>>,
    pub(super) mailbox: VecDeque<Message>,
    ready: bool,
    /// Why its own start fails.
    failure: Option<Value>,
    /// What went wrong in its parallel stop.
    pub(super) errors: Vec<(Pid, Value)>,
}

/// A worker, alive or dead.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: String,
    pub(super) n: u64,
    answer: Answer,
    pub(super) alive: bool,
}

/// What the tree is told the time is.
#[derive(Default, Debug)]
pub(super) struct Clock {
    seconds: u64,
    pub(super) now: Instant,
    latest: Instant,
    retry: Instant,
}

impl Clock {
    /// A new step begins: `ms` nominal milliseconds.
    pub(super) fn step(&mut self, ms: u64) {
        let origin = Instant::from_secs(self.seconds);
        let offset = self.latest.max(self.now).saturating_since(origin);
        self.seconds = ms / 1000;
        self.now = Instant::from_secs(self.seconds).saturating_add(offset);
        self.latest = self.now;
    }

    pub(super) fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        self.latest = self.latest.max(to);
    }

    /// When a start that fails now is tried again: behind everything of this instant.
    fn retry(&mut self) -> Instant {
        if self.retry <= self.now {
            self.retry = self.now.saturating_add(BEHIND);
        }
        self.retry
    }

    /// Whether the offset is still small.
    pub(super) fn is_sound(&self) -> bool {
        let offset = self.latest.saturating_since(Instant::from_secs(self.seconds));
        offset < Duration::from_millis(999)
    }
}

impl World {
    pub(super) fn new(root: Rc<Child>, t0: u64) -> Self {
        let mut clock = Clock::default();
        clock.step(t0);
        Self {
            tree: Tree::default(),
            clock,
            trace: Vec::new(),
            sups: BTreeMap::new(),
            workers: BTreeMap::new(),
            latest: BTreeMap::new(),
            reasons: BTreeMap::new(),
            callers: BTreeMap::new(),
            results: Vec::new(),
            root_started: None,
            slow: BTreeSet::new(),
            bereaved: BTreeSet::new(),
            actions: VecDeque::new(),
            root,
            incarnations: BTreeMap::new(),
            plans: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
        }
    }

    pub(super) fn plan(&mut self, plan: &Planned) {
        let plans = self.plans.entry(plan.id.clone()).or_default();
        plans.push_back((plan.outcome, plan.count));
    }

    /// The kernel's id for a name; always the same one.
    pub(super) fn id_of(&mut self, name: &str) -> ChildId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.fresh_id();
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// An id that no other child has: dynamic supervisors know their children by process.
    pub(super) fn fresh_id(&mut self) -> ChildId {
        self.next_id += 1;
        ChildId(self.next_id)
    }

    /// Carries out all that the tree asked for, each with its consequences before the next.
    pub(super) fn carry_out(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        use lictor_kernel::tree::Stage;
        match action {
            Action::Start { process } => self.start_worker(process),
            Action::Signal { process, signal } => self.signal_worker(process, signal),
            Action::Supervisor { supervisor, process, stage } => match stage {
                Stage::Initializing => self.sup_begins(supervisor, process),
                Stage::Ready => self.sup_ready(supervisor),
                Stage::Exited(reason) => self.sup_exited(supervisor, reason),
            },
            Action::Report { supervisor, report } => self.report(supervisor, report),
            Action::Removed { .. } => {}
        }
    }

    /// Hands the tree a fact; what comes of it comes before everything else.
    pub(super) fn feed(&mut self, now: Instant, supervisor: SupervisorId, event: Event) {
        let mut actions = Vec::new();
        self.tree.handle(now, supervisor, event, &mut actions);
        self.put_first(actions);
    }

    pub(super) fn put_first(&mut self, actions: Vec<Action>) {
        for action in actions.into_iter().rev() {
            self.actions.push_front(action);
        }
    }

    fn next_incarnation(&mut self, id: &str) -> u64 {
        let n = self.incarnations.entry(id.to_owned()).or_default();
        *n += 1;
        *n
    }

    fn next_outcome(&mut self, id: &str) -> Outcome {
        let Some(plans) = self.plans.get_mut(id) else { return Outcome::Started };
        while let Some((outcome, left)) = plans.front_mut() {
            if *left > 0 {
                *left -= 1;
                return *outcome;
            }
            plans.pop_front();
        }
        Outcome::Started
    }

    fn start_worker(&mut self, process: ProcessId) {
        let ProcessId { supervisor, pid } = process;
        let Some(sup) = self.sups.get(&supervisor) else { return };
        let Some(child) = sup.children.get(&pid.child).map(Rc::clone) else { return };
        let parent = sup.child.id.clone();
        let id = &child.id;
        let event = match &child.body {
            Body::Sup(sup) => {
                let reason = sup.refusal().unwrap_or(Value::Null);
                self.refused(id, &parent, &reason);
                self.start_over(process, Err(reason));
                Event::StartFailed { pid }
            }
            Body::Worker(answer) => match self.next_outcome(id) {
                Outcome::Started => {
                    let n = self.next_incarnation(id);
                    self.trace.push(json!({"ev": "start", "id": id, "n": n, "sup": parent}));
                    let answer = answer.clone();
                    let worker = Worker { id: id.clone(), n, answer, alive: true };
                    self.workers.insert(process, worker);
                    self.start_over(process, Ok(Outcome::Started));
                    Event::Started { pid }
                }
                Outcome::Ignored => {
                    self.trace.push(json!({"ev": "start_ignored", "id": id, "sup": parent}));
                    self.start_over(process, Ok(Outcome::Ignored));
                    Event::StartIgnored { pid }
                }
                Outcome::Failed => {
                    self.trace.push(json!({"ev": "start_failed", "id": id, "sup": parent}));
                    self.start_over(process, Err(json!("fail")));
                    Event::StartFailed { pid }
                }
            },
        };
        let is_retried = matches!(event, Event::StartFailed { .. })
            && match self.tree.supervisor(supervisor) {
                Some(Machine::Static(machine)) => machine.phase() == Phase::Restarting,
                Some(Machine::Dynamic(machine)) => machine.is_running(),
                None => false,
            };
        let now = if is_retried { self.clock.retry() } else { self.clock.now };
        self.feed(now, supervisor, event);
    }

    /// A supervisor that cannot be, by its specification.
    pub(super) fn refused(&mut self, id: &str, parent: &str, reason: &Value) {
        let n = self.next_incarnation(id);
        let init = json!({"ev": "sup_init", "id": id, "n": n, "sup": parent});
        let failed = json!({"ev": "start_failed", "id": id, "sup": parent, "reason": reason});
        let exit = json!({"ev": "exit", "id": id, "n": n, "sup": parent, "reason": reason});
        self.trace.extend([init, failed, exit]);
    }

    /// A start has come to something: remember it, and answer who asked for it.
    fn start_over(&mut self, process: ProcessId, outcome: Result<Outcome, Value>) {
        let Some(sup) = self.sups.get(&process.supervisor) else { return };
        let Some(child) = sup.children.get(&process.pid.child) else { return };
        let result = match &outcome {
            Ok(Outcome::Started) => {
                self.latest.insert(child.id.clone(), process);
                json!(["ok", child.id])
            }
            Ok(_) if sup.is_dynamic() => json!("ignore"),
            Ok(_) => json!(["ok", "undefined"]),
            Err(reason) => json!(["error", reason]),
        };
        if let Err(reason) = outcome {
            self.reasons.insert(process, reason);
        }
        if let Some(place) = self.callers.remove(&process)
            && let Some(slot) = self.results.get_mut(place)
        {
            *slot = result;
        }
    }

    fn signal_worker(&mut self, process: ProcessId, signal: Signal) {
        let Some(worker) = self.workers.get(&process) else { return };
        if !worker.alive {
            // It is dead already: its exit is taken out of the mailbox.
            let Some(sup) = self.sups.get_mut(&process.supervisor) else { return };
            sup.mailbox
                .retain(|message| !matches!(message, Message::Exit(pid) if *pid == process.pid));
            self.hand_over_exit(process);
            return;
        }
        let reason = match (signal, &worker.answer) {
            (Signal::Kill, _) => json!("killed"),
            (Signal::Shutdown, Answer::Exit(reason)) => reason.clone(),
            (Signal::Shutdown, Answer::Never) => return,
            (Signal::Shutdown, Answer::After(ms)) => {
                let at = self.clock.now.saturating_add(Duration::from_nanos(*ms));
                self.slow.insert((at, process));
                return;
            }
        };
        self.die(process, reason, "sup");
        self.hand_over_exit(process);
    }

    /// A worker ends.
    pub(super) fn die(&mut self, process: ProcessId, reason: Value, cause: &str) {
        let Some(sup) = self.sups.get(&process.supervisor) else { return };
        let Some(worker) = self.workers.get_mut(&process) else { return };
        worker.alive = false;
        let mut line = json!({"ev": "exit", "id": worker.id, "n": worker.n,
            "sup": sup.child.id, "reason": reason, "cause": cause});
        if cause == "sup" && sup.is_parallel() {
            line["par"] = json!(true);
        }
        self.trace.push(line);
        self.slow.retain(|(_, other)| *other != process);
        self.reasons.insert(process, reason);
    }

    /// The exit of a dead worker reaches its supervisor.
    pub(super) fn hand_over_exit(&mut self, process: ProcessId) {
        let ProcessId { supervisor, pid } = process;
        let reason = self.reasons.get(&process).map_or(ExitReason::Crashed, kind_of);
        self.feed(self.clock.now, supervisor, Event::Exited { pid, reason });
    }

    fn sup_begins(&mut self, id: SupervisorId, process: Option<ProcessId>) {
        let (child, parent) = match process {
            None => (Rc::clone(&self.root), "top".to_owned()),
            Some(ProcessId { supervisor, pid }) => {
                let Some(parent) = self.sups.get(&supervisor) else { return };
                let Some(child) = parent.children.get(&pid.child) else { return };
                (Rc::clone(child), parent.child.id.clone())
            }
        };
        let n = self.next_incarnation(&child.id);
        self.trace.push(json!({"ev": "sup_init", "id": child.id, "n": n, "sup": parent}));
        let mut children = BTreeMap::new();
        for child in child.sup().map_or(&[][..], Sup::children) {
            children.insert(self.id_of(&child.id), Rc::clone(child));
        }
        let sup = Supervisor {
            child,
            n,
            parent,
            process,
            children,
            mailbox: VecDeque::new(),
            ready: false,
            failure: None,
            errors: Vec::new(),
        };
        self.sups.insert(id, sup);
    }

    fn sup_ready(&mut self, id: SupervisorId) {
        let Some(sup) = self.sups.get_mut(&id) else { return };
        sup.ready = true;
        let (name, n, parent) = (&sup.child.id, sup.n, &sup.parent);
        self.trace.push(json!({"ev": "start", "id": name, "n": n, "sup": parent}));
        match sup.process {
            None => self.root_started = Some(json!("ok")),
            Some(process) => self.start_over(process, Ok(Outcome::Started)),
        }
    }

    fn sup_exited(&mut self, id: SupervisorId, reason: ExitReason) {
        let Some(mut sup) = self.sups.remove(&id) else { return };
        self.report_errors(&mut sup);
        for message in &sup.mailbox {
            if let Message::Call { place, .. } = message
                && let Some(slot) = self.results.get_mut(*place)
            {
                *slot = json!("not_alive");
            }
        }
        let (name, n, parent) = (&sup.child.id, sup.n, &sup.parent);
        let failure = if sup.ready { None } else { sup.failure };
        let reason = failure.clone().unwrap_or_else(|| plain(reason));
        self.trace.push(json!({"ev": "exit", "id": name, "n": n, "sup": parent, "reason": reason}));
        if let Some(process) = sup.process {
            self.reasons.insert(process, reason.clone());
            self.bereaved.insert(process.supervisor);
        }
        let Some(failure) = failure else { return };
        self.trace
            .push(json!({"ev": "start_failed", "id": name, "sup": parent, "reason": failure}));
        match sup.process {
            None => self.root_started = Some(json!(["error", failure])),
            Some(process) => self.start_over(process, Err(failure)),
        }
    }

    /// The start of a supervisor fails because one of its children does not start.
    pub(super) fn start_fails(&mut self, id: SupervisorId, child: &str, reason: &Value) {
        if let Some(sup) = self.sups.get_mut(&id)
            && !sup.ready
        {
            sup.failure = Some(json!(["shutdown", ["failed_to_start_child", child, reason]]));
        }
    }
}

impl Child {
    /// The supervisor that it is, if it is one.
    pub(super) fn sup(&self) -> Option<&Sup> {
        match &self.body {
            Body::Sup(sup) => Some(sup),
            Body::Worker(_) => None,
        }
    }
}

/// A reason that the kernel knows itself.
fn plain(reason: ExitReason) -> Value {
    match reason {
        ExitReason::Normal => json!("normal"),
        ExitReason::Shutdown => json!("shutdown"),
        ExitReason::Killed => json!("killed"),
        ExitReason::ShutdownBecause
        | ExitReason::Crashed
        | ExitReason::StartTimeout
        | ExitReason::NoConnection
        | ExitReason::RestartsExhausted => json!(format!("{reason:?}")),
    }
}

/// What the kernel is told of a reason.
fn kind_of(reason: &Value) -> ExitReason {
    match (reason.as_str(), reason.as_array().map(Vec::as_slice)) {
        (Some("normal"), _) => ExitReason::Normal,
        (Some("shutdown"), _) => ExitReason::Shutdown,
        (Some("killed"), _) => ExitReason::Killed,
        (_, Some([Value::String(s), _])) if s == "shutdown" => ExitReason::ShutdownBecause,
        _ => ExitReason::Crashed,
    }
}

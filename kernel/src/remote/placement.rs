//! The owner's side: where the children are that are placed on other nodes, and what is owed.
//!
//! A start waits until the host is there and must be free of any older process (rules H2, H9), is
//! then ordered again and again until the host shows that it has it, and ends in exactly one end.
//! What the owner has lost sight of stays behind as a [`Remnant`], one for each name: a fence
//! before the next start elsewhere, and a debt to be collected when that boot is seen again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Config, Frame, Refusal, Stamp, State, Ticket, Want};
use crate::{Deadlines, ExitReason, Instant, NameId, NodeId, ProcessId, Signal, Status};

/// Why a name was not placed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is placed already, or something of it may still be somewhere.
    Taken,
    /// As many as may be are placed.
    TooMany,
}

impl core::fmt::Display for PlaceError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Taken => "the name is placed already, or not given back yet",
            Self::TooMany => "too many children on other nodes",
        })
    }
}

impl core::error::Error for PlaceError {}

/// What becomes of a process on another node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Its host is not there, or must not be used yet.
    Waiting,
    /// This boot of its host was told to run it.
    Ordered(u64),
    /// It is up.
    Started,
    /// It had nothing to start and is content.
    Ignored,
    /// It could not be started, or the host would not.
    Failed(Option<Refusal>),
    /// It has ended.
    Exited(ExitReason),
}

/// What must be done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decision {
    /// Say this to a host.
    Send(NodeId, Frame),
    /// A process has come to this stage; its supervisor must hear of all but the first two.
    Tell(ProcessId, NodeId, Stage),
    /// Nothing of this name is left anywhere, and nobody wants it any more.
    Released(NameId),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Host {
    /// The boot that was up last.
    boot: u64,
    up: bool,
    /// When that boot was last given a lease.
    answered: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    Waiting,
    /// Ordered from this boot, and not up yet.
    Ordered(u64),
    Up(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Job {
    process: ProcessId,
    step: Step,
    want: Want,
    /// When a kill that is not answered counts as done.
    give_up: Option<Instant>,
}

/// What a boot of the host may still have of a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Remnant {
    boot: u64,
    /// Processes up to this one.
    ticket: Ticket,
    /// A process, and not only the name.
    alive: bool,
    /// When its lease must be over; `None` while that boot may be given another.
    until: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Child {
    node: NodeId,
    status: Status,
    job: Option<Job>,
    remnant: Option<Remnant>,
    /// Nobody will start it again.
    retired: bool,
    /// When to say again what is wanted.
    repeat_at: Instant,
    deadline: Option<Instant>,
}

/// The children of this node that are placed on others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Placement {
    config: Config,
    epoch: u64,
    /// The first start of all.
    since: Option<Instant>,
    hosts: BTreeMap<NodeId, Host>,
    children: BTreeMap<NameId, Child>,
    by_node: BTreeSet<(NodeId, NameId)>,
    deadlines: Deadlines<NameId>,
    stale: u64,
}

impl Placement {
    /// No children yet, in this boot of the owner.
    #[must_use]
    pub fn new(config: Config, epoch: u64) -> Self {
        Self {
            config,
            epoch,
            since: None,
            hosts: BTreeMap::new(),
            children: BTreeMap::new(),
            by_node: BTreeSet::new(),
            deadlines: Deadlines::default(),
            stale: 0,
        }
    }

    /// From now on the processes of this name run on that node. (H1)
    ///
    /// # Errors
    /// [`PlaceError`]; nothing has changed then. A name that was given up may be placed on the same
    /// node again at once, on another one when nothing of it is left.
    pub fn place(&mut self, name: NameId, node: NodeId) -> Result<(), PlaceError> {
        if let Some(child) = self.children.get_mut(&name) {
            if !child.retired || child.node != node {
                return Err(PlaceError::Taken);
            }
            (child.retired, child.status) = (false, Status::Starting);
            return Ok(());
        }
        if self.children.len() >= self.config.placed {
            return Err(PlaceError::TooMany);
        }
        let child = Child {
            node,
            status: Status::Starting,
            job: None,
            remnant: None,
            retired: false,
            repeat_at: Instant::ZERO,
            deadline: None,
        };
        self.children.insert(name, child);
        self.by_node.insert((node, name));
        Ok(())
    }

    /// Where the processes of a name run, if not here.
    #[must_use]
    pub fn node_of(&self, name: NameId) -> Option<NodeId> {
        self.children.get(&name).map(|child| child.node)
    }

    /// How a placed name is doing.
    #[must_use]
    pub fn status(&self, name: NameId) -> Option<Status> {
        self.children.get(&name).map(|child| child.status)
    }

    /// Whether a start of this name waits for its host.
    #[must_use]
    pub fn waits(&self, name: NameId) -> bool {
        let job = self.children.get(&name).and_then(|child| child.job);
        job.is_some_and(|job| job.step == Step::Waiting)
    }

    /// Facts that were stale, since the start.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }

    /// Sets how a placed name is doing. One that is down needs its name and mailbox no longer.
    pub fn set_status(&mut self, name: NameId, status: Status) {
        let Some(child) = self.children.get_mut(&name) else { return };
        child.status = status;
        if status == Status::Down {
            child.repeat_at = Instant::ZERO;
            self.index(name);
        }
    }

    /// Nobody will start this name again: it is forgotten as soon as nothing of it is left.
    pub fn retire(&mut self, name: NameId) {
        let Some(child) = self.children.get_mut(&name) else { return };
        child.retired = true;
        child.repeat_at = Instant::ZERO;
        self.index(name);
    }

    /// Its supervisor starts a process.
    pub fn start(&mut self, now: Instant, process: ProcessId, out: &mut Vec<Decision>) {
        let name = NameId(process.pid.child.0);
        self.since.get_or_insert(now);
        let Some(child) = self.children.get_mut(&name) else { return };
        child.job = Some(Job { process, step: Step::Waiting, want: Want::Run, give_up: None });
        out.push(Decision::Tell(process, child.node, Stage::Waiting));
        self.act(now, name, out);
    }

    /// Its supervisor tells a process to end.
    pub fn signal(
        &mut self,
        now: Instant,
        process: ProcessId,
        signal: Signal,
        out: &mut Vec<Decision>,
    ) {
        let name = NameId(process.pid.child.0);
        let patience = self.fence();
        let Some(child) = self.children.get_mut(&name) else { return };
        let node = child.node;
        let Some(job) = child.job.as_mut().filter(|job| job.process == process) else { return };
        if job.step == Step::Waiting {
            child.job = None;
            let reason = ended_by(signal);
            out.push(Decision::Tell(process, node, Stage::Exited(reason)));
        } else if signal == Signal::Kill {
            job.want = Want::Kill;
            let by = now.saturating_add(patience);
            job.give_up.get_or_insert(by);
        } else if job.want == Want::Run {
            job.want = Want::Shutdown;
        }
        child.repeat_at = now;
        self.act(now, name, out);
    }

    /// A node answers, with this boot.
    pub fn peer_up(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Decision>) {
        let before = self.hosts.get(&node).copied();
        if before.is_some_and(|host| host.up && host.boot != boot) {
            self.peer_down(now, node, out);
        }
        let same = before.filter(|host| host.boot == boot);
        let answered = same.and_then(|host| host.answered);
        self.hosts.insert(node, Host { boot, up: true, answered });
        for name in self.names_on(node) {
            if let Some(child) = self.children.get_mut(&name) {
                child.repeat_at = now;
                if let Some(remnant) = child.remnant.as_mut().filter(|it| it.boot == boot) {
                    remnant.until = None;
                }
            }
            self.act(now, name, out);
        }
    }

    /// A node is given up. (H8)
    pub fn peer_down(&mut self, now: Instant, node: NodeId, out: &mut Vec<Decision>) {
        let fence = self.fence();
        let Some(host) = self.hosts.get_mut(&node).filter(|host| host.up) else { return };
        host.up = false;
        let (boot, until) = (host.boot, host.answered.map(|at| at.saturating_add(fence)));
        let names = self.names_on(node);
        if names.is_empty() {
            self.hosts.remove(&node);
        }
        for name in names {
            let Some(child) = self.children.get_mut(&name) else { continue };
            if let Some(job) = child.job.filter(|job| job.step != Step::Waiting) {
                child.leave_behind(boot, Ticket::of(job.process), true);
                if job.want == Want::Run && job.step == Step::Ordered(boot) {
                    child.job = Some(Job { step: Step::Waiting, ..job });
                    out.push(Decision::Tell(job.process, node, Stage::Waiting));
                } else {
                    child.job = None;
                    let stage = Stage::Exited(ExitReason::NoConnection);
                    out.push(Decision::Tell(job.process, node, stage));
                }
            }
            if child.remnant.is_some_and(|it| it.boot == boot) {
                match until {
                    Some(_) => child.remnant.iter_mut().for_each(|it| it.until = until),
                    // Without a lease it has run nothing.
                    None => child.remnant = None,
                }
            }
            self.act(now, name, out);
        }
    }

    /// A boot of a node has said goodbye: it runs nothing any more.
    pub fn left(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Decision>) {
        for name in self.names_on(node) {
            if let Some(child) = self.children.get_mut(&name)
                && child.remnant.is_some_and(|remnant| remnant.boot == boot)
            {
                child.remnant = None;
                self.act(now, name, out);
            }
        }
    }

    /// A host has said something.
    pub fn hear(&mut self, now: Instant, node: NodeId, frame: Frame, out: &mut Vec<Decision>) {
        let stamp = frame.stamp();
        let seen = self.hosts.get(&node).is_some_and(|host| host.up && host.boot == stamp.from);
        let heard = stamp.to == self.epoch
            && match frame {
                Frame::Renew { seq, .. } => seen && self.renew(now, node, stamp, seq, out),
                Frame::Report { name, ticket, state, .. } => {
                    self.report(now, (node, stamp.from), seen, name, ticket, state, out)
                }
                Frame::Order { .. } | Frame::Renewed { .. } => false,
            };
        if !heard {
            self.stale = self.stale.saturating_add(1);
        }
    }

    fn renew(
        &mut self,
        now: Instant,
        node: NodeId,
        stamp: Stamp,
        seq: u64,
        out: &mut Vec<Decision>,
    ) -> bool {
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        host.answered = Some(now);
        let (stamp, lease) = (Stamp { from: stamp.to, to: stamp.from }, self.config.lease);
        out.push(Decision::Send(node, Frame::Renewed { stamp, seq, lease }));
        true
    }

    #[expect(clippy::too_many_arguments, reason = "a frame, where it came from, and the world")]
    fn report(
        &mut self,
        now: Instant,
        (node, boot): (NodeId, u64),
        seen: bool,
        name: NameId,
        ticket: Ticket,
        state: State,
        out: &mut Vec<Decision>,
    ) -> bool {
        let stamp = Stamp { from: self.epoch, to: boot };
        let order = |want| Decision::Send(node, Frame::Order { stamp, name, ticket, want });
        let Some(child) = self.children.get_mut(&name).filter(|it| it.node == node) else {
            if seen && state != State::Gone {
                // Nobody here wants it.
                out.push(order(Want::Gone));
            }
            return false;
        };
        let mut heard = false;
        if let Some(remnant) = child.remnant.as_mut().filter(|it| it.boot == boot)
            && state.is_over()
            && ticket >= remnant.ticket
        {
            heard = remnant.alive || state == State::Gone;
            remnant.alive = false;
            if state == State::Gone {
                child.remnant = None;
            }
        }
        let job = child.job.filter(|job| seen && Ticket::of(job.process) == ticket);
        match job {
            Some(Job { step: Step::Ordered(at) | Step::Up(at), .. }) if at == boot => {
                heard |= child.advance(boot, state, out);
            }
            Some(_) | None => {}
        }
        let is_current = child.job.is_some_and(|job| Ticket::of(job.process) == ticket);
        if seen && state.is_over() && state != State::Gone && !is_current {
            out.push(order(Want::Noted));
        }
        let has_other = child.job.is_some_and(|job| job.step != Step::Waiting);
        if seen && !state.is_over() && !is_current && !has_other && child.remnant.is_none() {
            // An order that was held up was obeyed after it had been taken back.
            child.leave_behind(boot, ticket, true);
        }
        self.act(now, name, out);
        heard
    }

    /// When [`Placement::handle_timeout`] must be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Does what is due. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Decision>) {
        while let Some((_, name)) = self.deadlines.pop_due(now) {
            if let Some(child) = self.children.get_mut(&name) {
                child.deadline = None;
            }
            self.act(now, name, out);
        }
    }

    /// Does about one child what can be done now, and sets when to look again.
    fn act(&mut self, now: Instant, name: NameId, out: &mut Vec<Decision>) {
        let may_start_at = self.may_start_at(name);
        let Some(child) = self.children.get_mut(&name) else { return };
        let node = child.node;
        if child.remnant.is_some_and(|it| it.until.is_some_and(|until| until <= now)) {
            child.remnant = None;
        }
        if let Some(job) = child.job.filter(|job| job.give_up.is_some_and(|at| at <= now)) {
            if let Step::Ordered(boot) | Step::Up(boot) = job.step {
                child.leave_behind(boot, Ticket::of(job.process), true);
            }
            child.job = None;
            let stage = Stage::Exited(ExitReason::Killed);
            out.push(Decision::Tell(job.process, node, stage));
        }
        let host = self.hosts.get(&node).copied().filter(|host| host.up);
        if let (Some(job), Some(host)) = (&mut child.job, host)
            && job.step == Step::Waiting
            && may_start_at.is_some_and(|at| at <= now)
        {
            job.step = Step::Ordered(host.boot);
            // Of the same boot it is the host's to end what was before, and else nothing is left.
            child.remnant = None;
            child.repeat_at = now;
            out.push(Decision::Tell(job.process, node, Stage::Ordered(host.boot)));
        }
        if let Some((boot, ticket, want)) = child.owed(host)
            && child.repeat_at <= now
        {
            let stamp = Stamp { from: self.epoch, to: boot };
            out.push(Decision::Send(node, Frame::Order { stamp, name, ticket, want }));
            child.repeat_at = now.saturating_add(self.config.repeat_every).max(after(now));
        }
        if child.retired && child.job.is_none() && child.remnant.is_none() {
            self.forget(name);
            out.push(Decision::Released(name));
            return;
        }
        self.index(name);
    }

    fn forget(&mut self, name: NameId) {
        let Some(child) = self.children.remove(&name) else { return };
        self.by_node.remove(&(child.node, name));
        if let Some(at) = child.deadline {
            self.deadlines.clear(at, name);
        }
        if self.names_on(child.node).is_empty() {
            self.hosts.retain(|node, host| *node != child.node || host.up);
        }
    }

    /// From when on a start may be ordered; `None` while the host is not there. (H9, H12)
    fn may_start_at(&self, name: NameId) -> Option<Instant> {
        let child = self.children.get(&name)?;
        let host = self.hosts.get(&child.node).filter(|host| host.up)?;
        let first = match (self.config.inherits, self.since) {
            (true, Some(since)) => since.saturating_add(self.fence()),
            (true, None) | (false, _) => Instant::ZERO,
        };
        let fenced = child.remnant.filter(|it| it.alive && it.boot != host.boot);
        let fenced = fenced.map_or(Instant::ZERO, |it| it.until.unwrap_or(Instant::MAX));
        Some(first.max(fenced))
    }

    /// How long after its last lease a host may run something.
    const fn fence(&self) -> Duration {
        self.config.lease.saturating_add(self.config.margin)
    }

    fn names_on(&self, node: NodeId) -> Vec<NameId> {
        let range = (node, NameId(0))..=(node, NameId(u32::MAX));
        self.by_node.range(range).map(|(_, name)| *name).collect()
    }

    fn index(&mut self, name: NameId) {
        let may_start_at = self.may_start_at(name);
        let Some(child) = self.children.get_mut(&name) else { return };
        let host = self.hosts.get(&child.node).copied().filter(|host| host.up);
        let waits = child.job.is_some_and(|job| job.step == Step::Waiting);
        let is_over = child.retired && child.job.is_none() && child.remnant.is_none();
        let next = [
            may_start_at.filter(|_| waits),
            child.job.and_then(|job| job.give_up),
            child.owed(host).map(|_| child.repeat_at),
            child.remnant.and_then(|remnant| remnant.until),
            is_over.then_some(Instant::ZERO),
        ];
        if let Some(old) = child.deadline.take() {
            self.deadlines.clear(old, name);
        }
        child.deadline = next.into_iter().flatten().min().filter(|at| *at < Instant::MAX);
        if let Some(at) = child.deadline {
            self.deadlines.set(at, name);
        }
    }
}

impl Child {
    /// What the host must still be told, and which boot and process it is about.
    fn owed(&self, host: Option<Host>) -> Option<(u64, Ticket, Want)> {
        if let Some(Job { process, step, want, .. }) = self.job {
            return match (step, want) {
                (Step::Waiting, _) | (Step::Up(_), Want::Run) => None,
                (Step::Ordered(boot) | Step::Up(boot), want) => {
                    Some((boot, Ticket::of(process), want))
                }
            };
        }
        let remnant = self.remnant.filter(|it| host.is_some_and(|host| host.boot == it.boot))?;
        let want = match (self.retired || self.status == Status::Down, remnant.alive) {
            (true, _) => Want::Gone,
            (false, true) => Want::Kill,
            (false, false) => return None,
        };
        Some((remnant.boot, remnant.ticket, want))
    }

    fn leave_behind(&mut self, boot: u64, ticket: Ticket, alive: bool) {
        self.remnant = Some(Remnant { boot, ticket, alive, until: None });
        self.repeat_at = Instant::ZERO;
    }

    /// Takes the state of the current process; says whether it was news.
    fn advance(&mut self, boot: u64, state: State, out: &mut Vec<Decision>) -> bool {
        let Some(job) = &mut self.job else { return false };
        let (process, want, was_up) = (job.process, job.want, matches!(job.step, Step::Up(_)));
        let stage = match state {
            State::Starting => return !was_up,
            State::Up if was_up => return true,
            State::Up => {
                job.step = Step::Up(boot);
                out.push(Decision::Tell(process, self.node, Stage::Started));
                return true;
            }
            State::Ignored if !was_up => Stage::Ignored,
            State::Failed if !was_up => Stage::Failed(None),
            State::Refused(why) if !was_up => Stage::Failed(Some(why)),
            // It is not there, whatever it was.
            State::Ignored | State::Failed | State::Refused(_) => {
                Stage::Exited(ExitReason::Crashed)
            }
            State::Exited { reason, came_up } => {
                if came_up && !was_up {
                    out.push(Decision::Tell(process, self.node, Stage::Started));
                }
                Stage::Exited(reason)
            }
            State::Gone => Stage::Exited(match want {
                Want::Shutdown => ExitReason::Shutdown,
                Want::Kill => ExitReason::Killed,
                Want::Run | Want::Noted | Want::Gone => ExitReason::NoConnection,
            }),
        };
        self.job = None;
        if !matches!(state, State::Gone | State::Refused(_)) {
            self.leave_behind(boot, Ticket::of(process), false);
        }
        out.push(Decision::Tell(process, self.node, stage));
        true
    }
}

const fn ended_by(signal: Signal) -> ExitReason {
    match signal {
        Signal::Shutdown => ExitReason::Shutdown,
        Signal::Kill => ExitReason::Killed,
    }
}

fn after(now: Instant) -> Instant {
    now.saturating_add(Duration::from_nanos(1))
}

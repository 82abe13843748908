//! The host's side: what runs here for others, and until when.
//!
//! One process of a name at a time. An order for a newer one ends the older one first; an order
//! that is not newer than what was ordered before is answered and not obeyed, so that no frame that
//! was held up starts anything. What a lease does not cover does not run.

mod lease;
mod orders;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Config, Frame, State, Ticket};
use crate::supervisor::Event;
use crate::{
    Deadlines, ExitReason, Instant, NameId, NodeId, Pid, ProcessId, Signal, Status, SupervisorId,
};

/// The supervisor that processes of other nodes have here. It decides nothing: see [`Host`].
pub const HOSTED: SupervisorId = SupervisorId(u64::MAX);

/// What must be done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hosting {
    /// Say this to an owner.
    Send(NodeId, Frame),
    /// The name is had here from now on.
    Take(NameId),
    /// The name is not had here any more, and no process of it is left.
    GiveBack(NameId),
    /// Start this process; its supervisor is [`HOSTED`].
    Start(ProcessId),
    /// Tell this process to end.
    Signal(ProcessId, Signal),
    /// How a name that is had here is doing, and the process it is about.
    Status(NameId, Option<ProcessId>, Status),
    /// This process must not handle anything at or after this instant.
    Leased(ProcessId, Instant),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Owner {
    boot: u64,
    up: bool,
    /// The last question.
    seq: u64,
    asked: BTreeMap<u64, Instant>,
    lease: Option<Instant>,
    renew_at: Option<Instant>,
    /// The newest order of each name; an older one is not obeyed.
    newest: BTreeMap<NameId, Newest>,
    /// It is no peer any more: it goes with the last that is here of it.
    gone: bool,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Newest {
    ticket: Ticket,
    /// It was dropped before it began, so it may come again; what is older may not.
    dropped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    /// Ordered, and not started for want of a lease.
    Leasing,
    Starting(Pid),
    Up(Pid),
    Ended(State),
}

/// An order that waits until the process before it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Next {
    owner: NodeId,
    boot: u64,
    ticket: Ticket,
    /// It was told to end before it could begin.
    stopped: Option<ExitReason>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Job {
    owner: NodeId,
    boot: u64,
    ticket: Ticket,
    step: Step,
    /// It was killed because the owner, or its lease, is gone.
    lost: bool,
    /// The name is given back with its end.
    gives_back: bool,
    /// The name is had here.
    has_name: bool,
    /// The owner need not be told of the end any more.
    noted: bool,
    /// What it was told last.
    told: Option<Signal>,
    next: Option<Next>,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Due {
    Owner(NodeId),
    Job(NameId),
    End,
}

/// The processes that this node runs for others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Host {
    config: Config,
    epoch: u64,
    /// Names that may be run here, and what each can do.
    offers: BTreeMap<NameId, Vec<NameId>>,
    owners: BTreeMap<NodeId, Owner>,
    jobs: BTreeMap<NameId, Job>,
    next_incarnation: u64,
    leaving: bool,
    deadlines: Deadlines<Due>,
    ignored: u64,
}

impl Host {
    /// Nothing is hosted yet, in this boot of the node.
    #[must_use]
    pub fn new(config: Config, epoch: u64) -> Self {
        Self {
            config,
            epoch,
            offers: BTreeMap::new(),
            owners: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_incarnation: 0,
            leaving: false,
            deadlines: Deadlines::default(),
            ignored: 0,
        }
    }

    /// A name may be run here for others, with these capabilities. `false` if there are too many.
    pub fn offer(&mut self, name: NameId, capabilities: Vec<NameId>) -> bool {
        if self.offers.len() >= self.config.offers && !self.offers.contains_key(&name) {
            return false;
        }
        self.offers.insert(name, capabilities);
        true
    }

    /// What an offered name can do; `None` if it is not offered.
    #[must_use]
    pub fn offered(&self, name: NameId) -> Option<&[NameId]> {
        self.offers.get(&name).map(Vec::as_slice)
    }

    /// For which node a name is had here.
    #[must_use]
    pub fn owner_of(&self, name: NameId) -> Option<NodeId> {
        self.jobs.get(&name).filter(|job| job.has_name).map(|job| job.owner)
    }

    /// The order that the process of a name is run for, and the boot of its owner that gave it.
    #[must_use]
    pub fn order_of(&self, name: NameId) -> Option<(u64, Ticket)> {
        let job = self.jobs.get(&name).filter(|job| job.process().is_some())?;
        Some((job.boot, job.ticket))
    }

    /// How many processes of others are alive here.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.jobs.values().filter(|job| job.process().is_some()).count()
    }

    /// Frames that were old or out of turn, since the start.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether it obeys no start any more.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// It obeys no start any more. (H14)
    pub const fn leave(&mut self) {
        self.leaving = true;
    }

    /// An owner has said something. `is_free` says whether the name that it is about is used by
    /// nobody else on this node.
    pub fn hear(
        &mut self,
        now: Instant,
        node: NodeId,
        frame: Frame,
        is_free: bool,
        out: &mut Vec<Hosting>,
    ) {
        let stamp = frame.stamp();
        let known = self.owners.get(&node).map_or(0, |owner| owner.boot);
        let heard = stamp.to == self.epoch
            && stamp.from >= known
            && match frame {
                Frame::Order { name, ticket, want, .. } => {
                    self.meet(now, node, stamp.from, out);
                    self.order(now, node, (name, ticket, want), is_free, out)
                }
                Frame::Renewed { seq, lease, .. } => {
                    stamp.from == known && self.renewed(now, node, seq, lease, out)
                }
                Frame::Report { .. } | Frame::Renew { .. } => false,
            };
        if !heard {
            self.ignored = self.ignored.saturating_add(1);
        }
    }

    /// A node answers, with this boot.
    pub fn peer_up(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Hosting>) {
        self.meet(now, node, boot, out);
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.up = true;
        }
        // What was asked during a cut has no answer, and what runs here has not long to go.
        if self.needs_lease(node) && !self.has_asked_at(now, node) {
            self.ask(now, node, out);
            self.index_owner(now, node);
        }
        for name in self.names_of(node) {
            self.tell(now, name, out);
        }
    }

    /// A node is given up. What runs for it runs on, until its lease is over.
    pub fn peer_down(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
        let Some(owner) = self.owners.get_mut(&node) else { return };
        owner.up = false;
        for name in self.names_of(node) {
            self.drop_leasing(node, name, out);
            self.index_job(now, name);
        }
        self.index_owner(now, node);
    }

    /// A boot of a node has said goodbye. (H11)
    pub fn left(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Hosting>) {
        if self.owners.get(&node).is_some_and(|owner| owner.boot <= boot) {
            self.end_all_before(now, node, boot.saturating_add(1), out);
        }
    }

    /// A node is no peer any more: what runs for it ends.
    pub fn forget(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
        self.end_all_before(now, node, u64::MAX, out);
        self.forget_silent(node);
    }

    /// A stranger that was let in has been silent for so long that it is no peer any more. What
    /// runs for it runs on, until its lease is over.
    pub fn forget_silent(&mut self, node: NodeId) {
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.gone = true;
        }
        self.drop_owner(node);
    }

    /// Forgets an owner that is gone, if nothing is here of it.
    fn drop_owner(&mut self, node: NodeId) {
        if self.owners.get(&node).is_some_and(|owner| owner.gone)
            && self.names_of(node).is_empty()
            && let Some(Owner { deadline: Some(at), .. }) = self.owners.remove(&node)
        {
            self.deadlines.clear(at, Due::Owner(node));
        }
    }

    /// A process has done something; a fact about one that is gone changes nothing.
    pub fn fact(&mut self, now: Instant, fact: Event, out: &mut Vec<Hosting>) {
        let (Event::Started { pid }
        | Event::StartIgnored { pid }
        | Event::StartFailed { pid }
        | Event::Exited { pid, .. }) = fact;
        let name = NameId(pid.child.0);
        let Some(job) = self.jobs.get_mut(&name).filter(|job| job.process() == Some(pid)) else {
            return;
        };
        let came_up = matches!(job.step, Step::Up(_));
        let state = match fact {
            Event::Started { .. } => {
                job.step = Step::Up(pid);
                if !job.lost {
                    out.push(Hosting::Status(name, Some(hosted(pid)), Status::Up));
                }
                return self.tell(now, name, out);
            }
            // One that has come up can no longer fail to start.
            Event::StartIgnored { .. } | Event::StartFailed { .. } if came_up => return,
            Event::StartIgnored { .. } if !self.leaving && !job.lost => State::Ignored,
            Event::StartFailed { .. } if !self.leaving && !job.lost => State::Failed,
            // Whatever it said: it ends because this node, or its lease, does.
            _ if self.leaving || job.lost => {
                State::Exited { reason: ExitReason::NoConnection, came_up }
            }
            Event::Exited { reason, .. } => State::Exited { reason, came_up },
            Event::StartIgnored { .. } | Event::StartFailed { .. } => State::Failed,
        };
        self.ended(now, name, Some(pid), state, out);
    }

    /// This node stops: its processes are asked to end, and killed at the deadline. (H14)
    pub fn shutdown(&mut self, now: Instant, deadline: Option<Instant>, out: &mut Vec<Hosting>) {
        let first = !core::mem::replace(&mut self.leaving, true);
        if let Some(at) = deadline {
            self.deadlines.set(at.max(after(now)), Due::End);
        }
        let names: Vec<NameId> = self.jobs.keys().copied().collect();
        for name in names.into_iter().filter(|_| first) {
            let Some(job) = self.jobs.get_mut(&name) else { continue };
            job.next = None;
            match job.process() {
                Some(_) => job.signal(Signal::Shutdown, out),
                None => self.drop_job(name, out),
            }
        }
    }

    /// When [`Host::handle_timeout`] must be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Does what is due. A spurious call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Hosting>) {
        while let Some((_, due)) = self.deadlines.pop_due(now) {
            match due {
                Due::Owner(node) => self.owner_due(now, node, out),
                Due::Job(name) => {
                    if let Some(job) = self.jobs.get_mut(&name) {
                        job.deadline = None;
                    }
                    self.tell(now, name, out);
                }
                Due::End => {
                    for job in self.jobs.values_mut() {
                        job.signal(Signal::Kill, out);
                    }
                }
            }
        }
    }

    /// A boot of an owner is seen: what an older one had here ends.
    fn meet(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Hosting>) {
        let owner = self.owners.entry(node).or_insert_with(|| Owner {
            boot,
            up: false,
            seq: 0,
            asked: BTreeMap::new(),
            lease: None,
            renew_at: None,
            newest: BTreeMap::new(),
            gone: false,
            deadline: None,
        });
        owner.gone = false;
        if boot <= owner.boot {
            return;
        }
        owner.boot = boot;
        // Numbers of questions go on, so that an answer of the older boot answers none of these.
        owner.asked.clear();
        owner.newest.clear();
        owner.lease = None;
        self.end_all_before(now, node, boot, out);
    }

    fn end_all_before(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Hosting>) {
        for name in self.names_of(node) {
            let Some(job) = self.jobs.get_mut(&name) else { continue };
            // What waits goes as well: a lease of the newer boot is not for it.
            job.next = job.next.filter(|next| next.owner != node || next.boot >= boot);
            if job.owner == node && job.boot < boot {
                (job.gives_back, job.noted) = (true, true);
                self.lose(now, name, out);
            }
        }
        self.index_owner(now, node);
    }

    fn names_of(&self, node: NodeId) -> Vec<NameId> {
        let of_node =
            |job: &Job| job.owner == node || job.next.is_some_and(|next| next.owner == node);
        self.jobs.iter().filter(|(_, job)| of_node(job)).map(|(name, _)| *name).collect()
    }

    fn index_job(&mut self, now: Instant, name: NameId) {
        let repeat = now.saturating_add(self.config.repeat_every).max(after(now));
        let Some(job) = self.jobs.get_mut(&name) else { return };
        if let Some(old) = job.deadline.take() {
            self.deadlines.clear(old, Due::Job(name));
        }
        let owner = self.owners.get(&job.owner);
        let listens = owner.is_some_and(|owner| owner.up && owner.boot == job.boot);
        if matches!(job.step, Step::Ended(_)) && !job.noted && listens {
            job.deadline = Some(repeat);
            self.deadlines.set(repeat, Due::Job(name));
        }
    }
}

impl Job {
    /// The process, while it is alive.
    const fn process(&self) -> Option<Pid> {
        match self.step {
            Step::Starting(pid) | Step::Up(pid) => Some(pid),
            Step::Leasing | Step::Ended(_) => None,
        }
    }

    /// What the owner is told.
    const fn state(&self) -> State {
        match self.step {
            Step::Leasing | Step::Starting(_) => State::Starting,
            // One that is as good as gone must not be taken for one that works.
            Step::Up(_) if self.lost => State::Starting,
            Step::Up(_) => State::Up,
            Step::Ended(state) => state,
        }
    }

    /// Tells the process to end; once, however often it is wanted.
    fn signal(&mut self, signal: Signal, out: &mut Vec<Hosting>) {
        let Some(pid) = self.process() else { return };
        if self.told == Some(Signal::Kill) || self.told == Some(signal) {
            return;
        }
        self.told = Some(signal);
        out.push(Hosting::Signal(hosted(pid), signal));
    }
}

const fn hosted(pid: Pid) -> ProcessId {
    ProcessId { supervisor: HOSTED, pid }
}

fn after(now: Instant) -> Instant {
    now.saturating_add(Duration::from_nanos(1))
}

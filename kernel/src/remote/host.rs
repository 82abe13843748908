//! The host's side: what runs here for others, and until when.
//!
//! One process of a name at a time. An order for a newer one ends the older one first; an order
//! that is not newer than what was ordered before is answered and not obeyed, so that no frame that
//! was held up starts anything. What a lease does not cover does not run.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Config, Frame, Refusal, Stamp, State, Ticket, Want};
use crate::supervisor::Event;
use crate::{
    ChildId, Deadlines, ExitReason, Instant, NameId, NodeId, Pid, ProcessId, Signal, Status,
    SupervisorId,
};

/// The supervisor that processes of other nodes have here. It decides nothing: see [`Host`].
pub const HOSTED: SupervisorId = SupervisorId(u64::MAX);

/// Questions for a lease of which it is remembered when they were asked.
const ASKED_MAX: usize = 16;

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
    newest: BTreeMap<NameId, Ticket>,
    deadline: Option<Instant>,
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

    /// Whether it has been told to stop: it obeys no start any more.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.leaving
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

    /// What waits for a lease would wait for nobody. Nothing of it has run, so the order may come
    /// again.
    fn drop_leasing(&mut self, node: NodeId, name: NameId, out: &mut Vec<Hosting>) {
        let Some(job) = self.jobs.get(&name) else { return };
        if job.step != Step::Leasing || job.owner != node {
            return;
        }
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.newest.remove(&name);
        }
        self.drop_job(name, out);
    }

    /// A boot of a node has said goodbye. (H11)
    pub fn left(&mut self, now: Instant, node: NodeId, boot: u64, out: &mut Vec<Hosting>) {
        if self.owners.get(&node).is_some_and(|owner| owner.boot <= boot) {
            self.end_all_before(now, node, boot.saturating_add(1), out);
        }
    }

    /// A node is no peer any more.
    pub fn forget(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
        self.end_all_before(now, node, u64::MAX, out);
        if self.names_of(node).is_empty()
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
            deadline: None,
        });
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
            if job.owner == node && job.boot < boot {
                (job.gives_back, job.noted) = (true, true);
                self.lose(now, name, out);
            } else if job.next.is_some_and(|next| next.owner == node && next.boot < boot) {
                job.next = None;
            }
        }
        self.index_owner(now, node);
    }

    /// A process must end now, since nobody answers for it any more.
    fn lose(&mut self, now: Instant, name: NameId, out: &mut Vec<Hosting>) {
        let Some(job) = self.jobs.get_mut(&name) else { return };
        if job.process().is_none() {
            return self.drop_job(name, out);
        }
        if !core::mem::replace(&mut job.lost, true) {
            out.push(Hosting::Status(name, None, Status::Down));
        }
        job.signal(Signal::Kill, out);
        self.index_job(now, name);
    }

    fn order(
        &mut self,
        now: Instant,
        node: NodeId,
        (name, ticket, want): (NameId, Ticket, Want),
        is_free: bool,
        out: &mut Vec<Hosting>,
    ) -> bool {
        let Some(boot) = self.owners.get(&node).map(|owner| owner.boot) else { return false };
        if !self.offers.contains_key(&name) {
            // Nothing of it can be here, whatever is wanted.
            let state = match want {
                Want::Run => State::Refused(Refusal::NotOffered),
                Want::Shutdown | Want::Kill | Want::Noted | Want::Gone => State::Gone,
            };
            self.report(node, name, ticket, state, out);
            return true;
        }
        let newest = self.owners.get(&node).and_then(|owner| owner.newest.get(&name)).copied();
        let is_new = newest.is_none_or(|newest| ticket > newest);
        let job = self.jobs.get(&name).copied();
        let own = job.filter(|job| job.owner == node && job.boot == boot);
        if let Some(job) = own.filter(|job| job.ticket == ticket) {
            self.again(now, name, job, want, out);
            return true;
        }
        let waits = job.and_then(|job| job.next).filter(|it| it.owner == node && it.boot == boot);
        if let Some(next) = waits.filter(|next| next.ticket == ticket) {
            if let (Some(stopped), Some(job)) = (stop_of(want), self.jobs.get_mut(&name)) {
                job.next = Some(Next { stopped: Some(stopped), ..next });
            }
            self.report(node, name, ticket, State::Starting, out);
            return true;
        }
        if want == Want::Noted {
            return false;
        }
        if !is_new {
            // It was obeyed once, and what came of it is gone.
            self.report(node, name, ticket, State::Gone, out);
            return want != Want::Run;
        }
        if self.leaving && want == Want::Run {
            return true;
        }
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.newest.insert(name, ticket);
        }
        if want == Want::Gone {
            // Whatever there is of it goes, and what was to come does not come.
            if let Some(job) = self.jobs.get_mut(&name) {
                job.next = job.next.filter(|next| next.owner != node);
            }
            let Some(mut job) = own else {
                self.report(node, name, ticket, State::Gone, out);
                return true;
            };
            job.ticket = ticket;
            if let Some(job) = self.jobs.get_mut(&name) {
                job.ticket = ticket;
            }
            self.again(now, name, job, want, out);
            return true;
        }
        let next = Next { owner: node, boot, ticket, stopped: stop_of(want) };
        self.begin(now, name, next, is_free, out);
        true
    }

    /// An order for the process that is here.
    fn again(&mut self, now: Instant, name: NameId, job: Job, want: Want, out: &mut Vec<Hosting>) {
        let ends = |reason| State::Exited { reason, came_up: false };
        let Some(here) = self.jobs.get_mut(&name) else { return };
        match (job.step, want) {
            (Step::Ended(_), Want::Noted) => {
                here.noted = true;
                if !here.has_name {
                    return self.drop_job(name, out);
                }
                return self.index_job(now, name);
            }
            (Step::Ended(_) | Step::Leasing, Want::Gone) => {
                self.drop_job(name, out);
                self.index_owner(now, job.owner);
                return self.report(job.owner, name, job.ticket, State::Gone, out);
            }
            (Step::Leasing, Want::Shutdown) => {
                return self.ended(now, name, None, ends(ExitReason::Shutdown), out);
            }
            (Step::Leasing, Want::Kill) => {
                return self.ended(now, name, None, ends(ExitReason::Killed), out);
            }
            (Step::Starting(_) | Step::Up(_), Want::Shutdown) => here.signal(Signal::Shutdown, out),
            (Step::Starting(_) | Step::Up(_), Want::Kill | Want::Gone) => {
                here.gives_back |= want == Want::Gone;
                here.signal(Signal::Kill, out);
            }
            (Step::Starting(_) | Step::Up(_), Want::Run | Want::Noted)
            | (Step::Leasing, Want::Run | Want::Noted)
            | (Step::Ended(_), Want::Run | Want::Shutdown | Want::Kill) => {}
        }
        self.report(job.owner, name, job.ticket, job.state(), out);
    }

    /// An order is accepted: it begins when what is before it has ended.
    fn begin(
        &mut self,
        now: Instant,
        name: NameId,
        next: Next,
        is_free: bool,
        out: &mut Vec<Hosting>,
    ) {
        let Next { owner, boot, ticket, stopped } = next;
        let before = self.jobs.get_mut(&name);
        let has_name = before.as_ref().is_some_and(|job| job.has_name);
        if let Some(job) = before {
            if job.owner != owner && job.has_name && !job.lost {
                return self.report(owner, name, ticket, State::Refused(Refusal::Taken), out);
            }
            if job.process().is_some() {
                job.next = Some(next);
                job.signal(Signal::Kill, out);
                return self.report(owner, name, ticket, State::Starting, out);
            }
        }
        let takes = !has_name && stopped.is_none();
        if takes && !is_free {
            return self.report(owner, name, ticket, State::Refused(Refusal::Taken), out);
        }
        if takes {
            out.push(Hosting::Take(name));
        }
        let job = Job {
            owner,
            boot,
            ticket,
            step: Step::Leasing,
            lost: false,
            gives_back: false,
            has_name: has_name || takes,
            noted: false,
            told: None,
            next: None,
            deadline: self.jobs.get(&name).and_then(|job| job.deadline),
        };
        self.jobs.insert(name, job);
        if let Some(reason) = stopped {
            return self.ended(now, name, None, State::Exited { reason, came_up: false }, out);
        }
        out.push(Hosting::Status(name, None, Status::Starting));
        self.report(owner, name, ticket, State::Starting, out);
        self.index_job(now, name);
        match self.lease_of(now, owner) {
            Some(until) => self.run(name, until, out),
            None => self.ask(now, owner, out),
        }
        self.index_owner(now, owner);
    }

    fn run(&mut self, name: NameId, until: Instant, out: &mut Vec<Hosting>) {
        self.next_incarnation = self.next_incarnation.saturating_add(1);
        let pid = Pid { child: ChildId(name.0), incarnation: self.next_incarnation };
        let Some(job) = self.jobs.get_mut(&name) else { return };
        job.step = Step::Starting(pid);
        out.push(Hosting::Status(name, Some(hosted(pid)), Status::Starting));
        out.push(Hosting::Start(hosted(pid)));
        out.push(Hosting::Leased(hosted(pid), until));
    }

    /// A process has ended, or was told to before it began.
    fn ended(
        &mut self,
        now: Instant,
        name: NameId,
        pid: Option<Pid>,
        state: State,
        out: &mut Vec<Hosting>,
    ) {
        let Some(job) = self.jobs.get_mut(&name) else { return };
        job.step = Step::Ended(state);
        if job.has_name {
            out.push(Hosting::Status(name, pid.map(hosted), Status::Restarting));
        }
        let Job { owner, ticket, lost, gives_back, next, .. } = *job;
        if let Some(next) = next.filter(|_| !self.leaving) {
            job.next = None;
            if gives_back || next.owner != owner {
                // What is queued was for the other one.
                job.has_name = false;
                out.push(Hosting::GiveBack(name));
            }
            return self.begin(now, name, next, true, out);
        }
        if gives_back {
            self.drop_job(name, out);
            self.report(owner, name, ticket, State::Gone, out);
        } else if lost || self.leaving {
            if core::mem::replace(&mut job.has_name, false) {
                out.push(Hosting::GiveBack(name));
            }
            self.tell(now, name, out);
        } else {
            self.tell(now, name, out);
        }
        self.index_owner(now, owner);
    }

    /// Forgets a name that has no process.
    fn drop_job(&mut self, name: NameId, out: &mut Vec<Hosting>) {
        let Some(job) = self.jobs.remove(&name) else { return };
        if let Some(at) = job.deadline {
            self.deadlines.clear(at, Due::Job(name));
        }
        if job.has_name {
            out.push(Hosting::GiveBack(name));
        }
    }

    /// Tells the owner how its process is, and when to tell it again.
    fn tell(&mut self, now: Instant, name: NameId, out: &mut Vec<Hosting>) {
        if let Some(job) = self.jobs.get(&name).copied()
            && !job.noted
            && self.owners.get(&job.owner).is_some_and(|owner| owner.boot == job.boot)
        {
            self.report(job.owner, name, job.ticket, job.state(), out);
        }
        self.index_job(now, name);
    }

    fn report(
        &self,
        node: NodeId,
        name: NameId,
        ticket: Ticket,
        state: State,
        out: &mut Vec<Hosting>,
    ) {
        let Some(owner) = self.owners.get(&node) else { return };
        let stamp = Stamp { from: self.epoch, to: owner.boot };
        out.push(Hosting::Send(node, Frame::Report { stamp, name, ticket, state }));
    }

    fn ask(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
        let Some(owner) = self.owners.get_mut(&node) else { return };
        owner.seq = owner.seq.saturating_add(1);
        owner.asked.insert(owner.seq, now);
        if owner.asked.len() > ASKED_MAX {
            owner.asked.pop_first();
        }
        owner.renew_at = Some(now.saturating_add(self.config.renew_every).max(after(now)));
        let (stamp, seq) = (Stamp { from: self.epoch, to: owner.boot }, owner.seq);
        out.push(Hosting::Send(node, Frame::Renew { stamp, seq }));
    }

    fn renewed(
        &mut self,
        now: Instant,
        node: NodeId,
        seq: u64,
        lease: Duration,
        out: &mut Vec<Hosting>,
    ) -> bool {
        let Some(owner) = self.owners.get_mut(&node) else { return false };
        let Some(asked) = owner.asked.get(&seq).copied() else { return false };
        owner.asked.retain(|other, _| *other > seq);
        let until = asked.saturating_add(lease);
        // One that is over by now covers nothing, nor does one that is no longer than the last.
        if until <= now || owner.lease.is_some_and(|before| before >= until) {
            return true;
        }
        owner.lease = Some(until);
        let boot = owner.boot;
        for name in self.names_of(node) {
            let Some(job) = self.jobs.get(&name) else { continue };
            if job.owner != node || job.boot != boot || job.lost {
                continue;
            }
            match (job.step, job.process()) {
                (Step::Leasing, _) => self.run(name, until, out),
                (_, Some(pid)) => out.push(Hosting::Leased(hosted(pid), until)),
                (_, None) => {}
            }
        }
        self.index_owner(now, node);
        true
    }

    fn owner_due(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
        let Some(owner) = self.owners.get_mut(&node) else { return };
        owner.deadline = None;
        if owner.lease.is_some_and(|until| until <= now) {
            owner.lease = None;
            for name in self.names_of(node) {
                self.lease_over(now, node, name, out);
            }
        }
        if self
            .owners
            .get(&node)
            .is_some_and(|it| it.lease.is_none() && it.asked.len() == ASKED_MAX)
        {
            for name in self.names_of(node) {
                self.drop_leasing(node, name, out);
            }
        }
        let due = self.owners.get(&node).and_then(|owner| owner.renew_at);
        if due.is_some_and(|at| at <= now) && self.needs_lease(node) {
            self.ask(now, node, out);
        }
        self.index_owner(now, node);
    }

    fn lease_over(&mut self, now: Instant, node: NodeId, name: NameId, out: &mut Vec<Hosting>) {
        let Some(job) = self.jobs.get_mut(&name).filter(|job| job.owner == node) else { return };
        match job.step {
            // It waits for its first one.
            Step::Leasing => {}
            Step::Starting(_) | Step::Up(_) => self.lose(now, name, out),
            Step::Ended(_) if job.noted => self.drop_job(name, out),
            Step::Ended(_) => {
                if core::mem::replace(&mut job.has_name, false) {
                    out.push(Hosting::GiveBack(name));
                }
            }
        }
    }

    fn lease_of(&self, now: Instant, node: NodeId) -> Option<Instant> {
        self.owners.get(&node)?.lease.filter(|until| *until > now)
    }

    /// Whether anything is had here of this owner.
    fn needs_lease(&self, node: NodeId) -> bool {
        self.jobs.values().any(|job| job.owner == node && job.has_name && !job.lost)
    }

    fn names_of(&self, node: NodeId) -> Vec<NameId> {
        let of_node =
            |job: &Job| job.owner == node || job.next.is_some_and(|next| next.owner == node);
        self.jobs.iter().filter(|(_, job)| of_node(job)).map(|(name, _)| *name).collect()
    }

    fn index_owner(&mut self, now: Instant, node: NodeId) {
        let needs = self.needs_lease(node);
        let Some(owner) = self.owners.get_mut(&node) else { return };
        if needs && owner.renew_at.is_none() {
            owner.renew_at = Some(now);
        }
        if !needs {
            owner.renew_at = None;
        }
        if let Some(old) = owner.deadline.take() {
            self.deadlines.clear(old, Due::Owner(node));
        }
        owner.deadline = [owner.lease, owner.renew_at].into_iter().flatten().min();
        if let Some(at) = owner.deadline {
            self.deadlines.set(at, Due::Owner(node));
        }
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

const fn stop_of(want: Want) -> Option<ExitReason> {
    match want {
        Want::Shutdown => Some(ExitReason::Shutdown),
        Want::Kill | Want::Gone => Some(ExitReason::Killed),
        Want::Run | Want::Noted => None,
    }
}

fn after(now: Instant) -> Instant {
    now.saturating_add(Duration::from_nanos(1))
}

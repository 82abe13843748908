//! What a host does when it is told to run something, or to end it.

use alloc::vec::Vec;

use super::{Due, Host, Hosting, Job, Newest, Next, Step, hosted};
use crate::remote::{Frame, Refusal, Stamp, State, Ticket, Want};
use crate::{ChildId, ExitReason, Instant, NameId, NodeId, Pid, Signal, Status};

impl Host {
    /// A process must end now, since nobody answers for it any more.
    pub(super) fn lose(&mut self, now: Instant, name: NameId, out: &mut Vec<Hosting>) {
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

    pub(super) fn order(
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
        let is_new = newest.is_none_or(|newest| {
            ticket > newest.ticket || (ticket == newest.ticket && newest.dropped)
        });
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
            owner.newest.insert(name, Newest { ticket, dropped: false });
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
    pub(super) fn again(
        &mut self,
        now: Instant,
        name: NameId,
        job: Job,
        want: Want,
        out: &mut Vec<Hosting>,
    ) {
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
    pub(super) fn begin(
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
        let before = self.jobs.insert(name, job);
        if let Some(before) = before.filter(|before| before.owner != owner) {
            self.drop_owner(before.owner);
        }
        if let Some(reason) = stopped {
            return self.ended(now, name, None, State::Exited { reason, came_up: false }, out);
        }
        out.push(Hosting::Status(name, None, Status::Starting));
        self.report(owner, name, ticket, State::Starting, out);
        self.index_job(now, name);
        match self.lease_to_begin(now, owner) {
            Some(until) => self.run(name, until, out),
            None => self.ask(now, owner, out),
        }
        self.index_owner(now, owner);
    }

    pub(super) fn run(&mut self, name: NameId, until: Instant, out: &mut Vec<Hosting>) {
        self.next_incarnation = self.next_incarnation.saturating_add(1);
        let pid = Pid { child: ChildId(name.0), incarnation: self.next_incarnation };
        let Some(job) = self.jobs.get_mut(&name) else { return };
        job.step = Step::Starting(pid);
        out.push(Hosting::Status(name, Some(hosted(pid)), Status::Starting));
        out.push(Hosting::Start(hosted(pid)));
        out.push(Hosting::Leased(hosted(pid), until));
    }

    /// A process has ended, or was told to before it began.
    pub(super) fn ended(
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
    pub(super) fn drop_job(&mut self, name: NameId, out: &mut Vec<Hosting>) {
        let Some(job) = self.jobs.remove(&name) else { return };
        if let Some(at) = job.deadline {
            self.deadlines.clear(at, Due::Job(name));
        }
        if job.has_name {
            out.push(Hosting::GiveBack(name));
        }
        self.drop_owner(job.owner);
    }

    /// Tells the owner how its process is, and when to tell it again.
    pub(super) fn tell(&mut self, now: Instant, name: NameId, out: &mut Vec<Hosting>) {
        if let Some(job) = self.jobs.get(&name).copied()
            && !job.noted
            && self.owners.get(&job.owner).is_some_and(|owner| owner.boot == job.boot)
        {
            self.report(job.owner, name, job.ticket, job.state(), out);
        }
        self.index_job(now, name);
    }

    pub(super) fn report(
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
}

const fn stop_of(want: Want) -> Option<ExitReason> {
    match want {
        Want::Shutdown => Some(ExitReason::Shutdown),
        Want::Kill | Want::Gone => Some(ExitReason::Killed),
        Want::Run | Want::Noted => None,
    }
}

//! How long what a host runs may go on.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Due, Host, Hosting, Step, after, hosted};
use crate::remote::{Frame, Stamp};
use crate::{Instant, NameId, NodeId};

/// Questions for a lease of which it is remembered when they were asked.
const ASKED_MAX: usize = 16;

impl Host {
    /// What waits for a lease would wait for nobody. Nothing of it has run, so the order may come
    /// again.
    pub(super) fn drop_leasing(&mut self, node: NodeId, name: NameId, out: &mut Vec<Hosting>) {
        let Some(job) = self.jobs.get(&name) else { return };
        if job.step != Step::Leasing || job.owner != node {
            return;
        }
        if let Some(newest) = self.owners.get_mut(&node).and_then(|it| it.newest.get_mut(&name)) {
            newest.dropped = true;
        }
        self.drop_job(name, out);
    }

    pub(super) fn ask(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
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

    pub(super) fn renewed(
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

    pub(super) fn owner_due(&mut self, now: Instant, node: NodeId, out: &mut Vec<Hosting>) {
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

    pub(super) fn lease_over(
        &mut self,
        now: Instant,
        node: NodeId,
        name: NameId,
        out: &mut Vec<Hosting>,
    ) {
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

    /// The lease that a process may begin under. While a later question is open, what is left may
    /// be from before a cut, and would end amid the start: the answer is waited for.
    pub(super) fn lease_to_begin(&self, now: Instant, node: NodeId) -> Option<Instant> {
        let owner = self.owners.get(&node)?;
        owner.lease.filter(|until| *until > now && owner.asked.is_empty())
    }

    /// Whether the last question for a lease is of this instant.
    pub(super) fn has_asked_at(&self, now: Instant, node: NodeId) -> bool {
        let last = self.owners.get(&node).and_then(|owner| owner.asked.last_key_value());
        last.is_some_and(|(_, at)| *at == now)
    }

    /// Whether anything is had here of this owner.
    pub(super) fn needs_lease(&self, node: NodeId) -> bool {
        self.jobs.values().any(|job| job.owner == node && job.has_name && !job.lost)
    }

    pub(super) fn index_owner(&mut self, now: Instant, node: NodeId) {
        let needs = self.needs_lease(node);
        let Some(owner) = self.owners.get_mut(&node) else { return };
        if needs && owner.renew_at.is_none() {
            owner.renew_at = Some(now);
        }
        if !needs {
            // What is left of a lease that nobody keeps up would end amid the next start.
            (owner.renew_at, owner.lease) = (None, None);
        }
        if let Some(old) = owner.deadline.take() {
            self.deadlines.clear(old, Due::Owner(node));
        }
        owner.deadline = [owner.lease, owner.renew_at].into_iter().flatten().min();
        if let Some(at) = owner.deadline {
            self.deadlines.set(at, Due::Owner(node));
        }
    }
}

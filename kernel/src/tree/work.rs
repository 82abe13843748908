//! The machinery: one machine steps, and its actions are carried on until none is left.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::machine::{Machine, Out};
use super::{Action, Body, Plan, Slot, Stage, Step, Tree};
use crate::dynamic_supervisor;
use crate::supervisor::{self, ChildState, Event, Report};
use crate::{ChildId, ExitReason, Instant, Pid, ProcessId, Signal, SupervisorId};

impl Tree {
    pub(super) fn catch_up(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((_, id)) = self.deadlines.pop_before(now) {
            self.fire(now, id, actions);
        }
    }

    pub(super) fn fire(&mut self, now: Instant, id: SupervisorId, actions: &mut Vec<Action>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.deadline = None;
        }
        self.step(id, |machine, out| machine.handle_timeout(now, out));
        self.work_off(now, actions);
    }

    /// Makes a machine and lets it begin.
    pub(super) fn create(
        &mut self,
        now: Instant,
        plan: &Arc<Plan>,
        process: Option<ProcessId>,
        actions: &mut Vec<Action>,
    ) -> SupervisorId {
        let id = SupervisorId(self.next);
        self.next = self.next.saturating_add(1);
        let Ok(machine) = plan.machine(id) else {
            unreachable!("every plan is checked before it is accepted")
        };
        let bodies = match &**plan {
            Plan::Static { children, .. } => children
                .iter()
                .filter_map(|child| match &child.body {
                    Body::Supervisor(plan) => Some((child.id, Arc::clone(plan))),
                    Body::Worker => None,
                })
                .collect(),
            Plan::Dynamic(_) => BTreeMap::new(),
        };
        let running = BTreeMap::new();
        let (ready, deadline, pending) = (false, None, 0);
        let slot = Slot { machine, process, bodies, running, ready, deadline, pending };
        self.slots.insert(id, slot);
        actions.push(Action::Supervisor { supervisor: id, process, stage: Stage::Initializing });
        self.step(id, |machine, out| machine.start(now, out));
        id
    }

    /// Lets one machine act and puts what it wants before the work of others, in its order.
    pub(super) fn step<R>(
        &mut self,
        id: SupervisorId,
        act: impl FnOnce(&mut Machine, &mut Out<'_>) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(&id)?;
        let mut out = Out { fixed: &mut self.out_static.0, dynamic: &mut self.out_dynamic.0 };
        let result = act(&mut slot.machine, &mut out);
        let deadline = slot.machine.poll_timeout();
        if slot.deadline != deadline {
            if let Some(old) = slot.deadline {
                self.deadlines.clear(old, id);
            }
            if let Some(at) = deadline {
                self.deadlines.set(at, id);
            }
            slot.deadline = deadline;
        }
        let work = &mut self.work.0;
        let steps = self.out_static.0.drain(..).map(|action| Step::of_static(id, action));
        let more = self.out_dynamic.0.drain(..).map(|action| Step::of_dynamic(id, action));
        // It may have been told something by its parent before all that it wanted was carried on.
        let mut at = match slot.pending {
            0 => 0,
            _ => work.iter().rposition(|(of, _)| *of == id).map_or(0, |at| at.saturating_add(1)),
        };
        for step in steps.chain(more) {
            work.insert(at, (id, step));
            at = at.saturating_add(1);
            slot.pending = slot.pending.saturating_add(1);
        }
        Some(result)
    }

    pub(super) fn feed(
        &mut self,
        now: Instant,
        id: SupervisorId,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        if self.step(id, |machine, out| machine.handle(now, event, out)).is_none() {
            let (Event::Started { pid }
            | Event::StartIgnored { pid }
            | Event::StartFailed { pid }
            | Event::Exited { pid, .. }) = event;
            let report = Report::StaleEvent { pid };
            actions.push(Action::Report { supervisor: id, report });
        }
    }

    /// Carries machines' actions on until only what leaves the tree is left. Ends because every
    /// step starts, stops or reports something, and each machine waits for an answer after it.
    pub(super) fn work_off(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((id, step)) = self.work.0.pop_front() {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.pending = slot.pending.saturating_sub(1);
            }
            match step {
                Step::Out(action) => {
                    if let Action::Removed { child, .. } = action
                        && let Some(slot) = self.slots.get_mut(&id)
                    {
                        slot.bodies.remove(&child);
                    }
                    actions.push(action);
                }
                Step::Start(pid) => self.start_process(now, id, pid, actions),
                Step::Signal(pid, signal) => self.signal(now, id, pid, signal, actions),
                Step::Ready => self.ready(now, id, actions),
                Step::Exit(reason) => self.exited(now, id, reason, actions),
            }
        }
    }

    fn start_process(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        pid: Pid,
        actions: &mut Vec<Action>,
    ) {
        let process = ProcessId { supervisor, pid };
        let plan = self.slots.get(&supervisor).and_then(|slot| slot.bodies.get(&pid.child));
        let Some(plan) = plan.cloned() else {
            actions.push(Action::Start { process });
            return;
        };
        let id = self.create(now, &plan, Some(process), actions);
        if let Some(slot) = self.slots.get_mut(&supervisor) {
            slot.running.insert(pid.child, id);
        }
    }

    fn signal(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        pid: Pid,
        signal: Signal,
        actions: &mut Vec<Action>,
    ) {
        let process = ProcessId { supervisor, pid };
        let running = self.running_as(supervisor, pid.child);
        let running = running.filter(|id| self.is_process(*id, process));
        let Some(id) = running else {
            // Asked and killed in one step (a timeout of zero), a supervisor may be gone by now,
            // and another in its place. There is nobody to tell, and it was never the driver's.
            if self.slots.get(&supervisor).is_some_and(|slot| slot.has_worker(pid)) {
                actions.push(Action::Signal { process, signal });
            }
            return;
        };
        let bound = self.stop_by;
        self.step(id, |machine, out| match signal {
            Signal::Shutdown => machine.shutdown(now, bound, out),
            Signal::Kill => machine.kill(now, out),
        });
    }

    fn ready(&mut self, now: Instant, id: SupervisorId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.ready = true;
        let process = slot.process;
        actions.push(Action::Supervisor { supervisor: id, process, stage: Stage::Ready });
        if let Some(ProcessId { supervisor, pid }) = process {
            self.feed(now, supervisor, Event::Started { pid }, actions);
        }
    }

    fn exited(
        &mut self,
        now: Instant,
        id: SupervisorId,
        reason: ExitReason,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.remove(&id) else { return };
        if let Some(at) = slot.deadline {
            self.deadlines.clear(at, id);
        }
        let (supervisor, process) = (id, slot.process);
        actions.push(Action::Supervisor { supervisor, process, stage: Stage::Exited(reason) });
        let Some(ProcessId { supervisor, pid }) = process else {
            self.root = None;
            return;
        };
        if let Some(parent) = self.slots.get_mut(&supervisor) {
            parent.running.remove(&pid.child);
        }
        let event = match slot.ready {
            true => Event::Exited { pid, reason },
            false => Event::StartFailed { pid },
        };
        self.feed(now, supervisor, event, actions);
    }

    /// Whether this supervisor is this process to its parent.
    fn is_process(&self, id: SupervisorId, process: ProcessId) -> bool {
        self.slots.get(&id).is_some_and(|slot| slot.process == Some(process))
    }

    pub(super) fn set_body(&mut self, supervisor: SupervisorId, id: ChildId, body: Body) {
        if let (Some(slot), Body::Supervisor(plan)) = (self.slots.get_mut(&supervisor), body) {
            slot.bodies.insert(id, plan);
        }
    }
}

impl Slot {
    /// Whether this process is a worker that is alive.
    fn has_worker(&self, pid: Pid) -> bool {
        match self.machine.child(pid.child) {
            Some(ChildState::Starting(now) | ChildState::Up(now) | ChildState::Stopping(now)) => {
                now == pid && !self.bodies.contains_key(&pid.child)
            }
            Some(ChildState::Restarting { .. } | ChildState::Down) | None => false,
        }
    }
}

impl Step {
    fn of_static(supervisor: SupervisorId, action: supervisor::Action) -> Self {
        use supervisor::Action as A;
        match action {
            A::Start { pid } => Self::Start(pid),
            A::Signal { pid, signal } => Self::Signal(pid, signal),
            A::Ready => Self::Ready,
            A::Exit { reason } => Self::Exit(reason),
            A::Report(report) => Self::Out(Action::Report { supervisor, report }),
            A::Removed { child } => {
                Self::Out(Action::Removed { supervisor, child, spawner: None, why: None })
            }
        }
    }

    fn of_dynamic(supervisor: SupervisorId, action: dynamic_supervisor::Action) -> Self {
        use dynamic_supervisor::Action as A;
        match action {
            A::Start { pid } => Self::Start(pid),
            A::Signal { pid, signal } => Self::Signal(pid, signal),
            A::Ready => Self::Ready,
            A::Exit { reason } => Self::Exit(reason),
            A::Report(report) => Self::Out(Action::Report { supervisor, report }),
            A::Removed { child, spawner, why } => {
                Self::Out(Action::Removed { supervisor, child, spawner, why: Some(why) })
            }
        }
    }
}

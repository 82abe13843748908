//! From the kernel's actions to effects.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::dynamic_supervisor::{Removal, SpawnerId};
use lictor_kernel::node::Action;
use lictor_kernel::supervisor::Report;
use lictor_kernel::tree::{self, Stage};
use lictor_kernel::{
    ChildId, Deadlines, ExitReason, Instant, NameId, ProcessId, Signal, SupervisorId, Table,
};

use super::{Effect, Place, Role, World};
use crate::cell::Control;
use crate::config::{OnRootExit, Terminated};
use crate::error::{ControlError, StartError};
use crate::events::{EventKind, display_delay, reason_name};
use crate::process::Life;
use crate::reply::ReplyFailure;
use crate::runtime::Phase;

/// How long a killed process may stay inside one poll before it is reported.
const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);

impl World {
    /// Turns the kernel's actions into effects, in order.
    pub(super) fn perform(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.now = now;
        for action in actions.drain(..) {
            self.record_action(now, &action);
            match action {
                Action::Supervision(action) => self.supervision(now, action),
                Action::Status { name, status } => self.status(ChildId(name.0), status),
                Action::Send(node, frame) => {
                    if let Some(body) = self.spelled(frame) {
                        self.effects.push_back(Effect::Say(node, Box::new(body)));
                    }
                }
                Action::Peer(node, change) => self.peer_changed(node, change),
                Action::CallEnded(ended) => self.call_ended(ended),
                // Nobody watches yet; the other is the kernel's own affair.
                Action::Watch(_) | Action::Diverted(_) => {}
                Action::Remote(node, frame) => {
                    if let Some(body) = self.spelled_remote(frame) {
                        self.effects.push_back(Effect::Say(node, Box::new(body)));
                    }
                }
                Action::Placed { process, stage, .. } => self.placed(process, stage),
                Action::Hosted { name, here } => self.hosted(ChildId(name.0), here),
                Action::Leased { process, until } => {
                    if let Some(life) = self.life(process) {
                        life.lease_until(until);
                    }
                }
            }
        }
        self.actions = std::mem::take(actions);
        self.finish(now);
    }

    fn supervision(&mut self, now: Instant, action: tree::Action) {
        match action {
            tree::Action::Start { process } => self.launch(process),
            tree::Action::Signal { process, signal } => self.signal(now, process, signal),
            tree::Action::Supervisor { supervisor, process, stage } => {
                self.stage(now, supervisor, process, stage);
            }
            tree::Action::Removed { child, spawner, why, .. } => self.removed(child, spawner, why),
            tree::Action::Report { supervisor, report } => self.report(now, supervisor, report),
        }
    }

    fn launch(&mut self, process: ProcessId) {
        let Some(Place { role: Role::Agent(launch), .. }) = self.places.get(process.pid.child)
        else {
            return;
        };
        let name = Arc::clone(&launch.core().name);
        let life = Arc::new(Life::new(process));
        let task = Arc::clone(launch).launch(Arc::clone(&life));
        self.effects.push_back(Effect::Reopen(launch.cell()));
        self.effects.push_back(Effect::Launch(name, task));
        self.lives.insert(process.pid.child, life);
    }

    pub(super) fn signal(&mut self, now: Instant, process: ProcessId, signal: Signal) {
        match signal {
            Signal::Shutdown => {
                if let Some(cell) = self.cell(process.pid.child) {
                    let control = Control::Shutdown { process };
                    self.effects.push_back(Effect::Control(cell, control));
                }
            }
            Signal::Kill => {
                if let Some(life) = self.life(process) {
                    self.effects.push_back(Effect::Kill(Arc::clone(life)));
                    self.killed.set(now.saturating_add(UNRESPONSIVE_AFTER), process);
                }
            }
        }
    }

    /// A process that was killed has not gone: it blocks its thread.
    pub(super) fn unresponsive(&mut self, process: ProcessId) {
        if self.life(process).is_none() {
            return;
        }
        if let Some(place) = self.places.get(process.pid.child) {
            let name = Arc::clone(place.name());
            self.event(EventKind::Unresponsive { name });
        }
        self.stuck.insert(process);
    }

    fn stage(
        &mut self,
        now: Instant,
        supervisor: SupervisorId,
        process: Option<ProcessId>,
        stage: Stage,
    ) {
        let Some(id) = process.map(|process| process.pid.child).or(self.root) else { return };
        let Some(name) = self.places.get(id).map(|place| Arc::clone(place.name())) else { return };
        match stage {
            Stage::Initializing => {
                self.running.insert(id, supervisor);
                self.event(EventKind::SupervisorStarting { name });
            }
            Stage::Ready => {
                self.event(EventKind::SupervisorStarted { name });
                if process.is_none() && self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                    self.first_failure = None;
                    if let Some(answer) = self.start.take() {
                        self.effects.push_back(Effect::Started(answer, Ok(())));
                    }
                }
            }
            Stage::Exited(reason) => {
                self.running.remove(&id);
                self.event(EventKind::SupervisorStopped { name, reason: reason_name(reason) });
                if process.is_none() {
                    self.root_exited(now, reason);
                }
            }
        }
    }

    /// The end of the tree: asked for, failed at its start, or by itself.
    pub(super) fn root_exited(&mut self, now: Instant, reason: ExitReason) {
        if self.waits_for_hosted(reason) {
            return;
        }
        let mut failure = None;
        let late = self.inbox.set_closed(true);
        self.effects.push_back(Effect::TooLate(late));
        let (phase, terminated) = match self.phase {
            Phase::Starting => {
                let error = match self.first_failure.take() {
                    Some((name, detail)) => StartError::AgentFailed {
                        name: name.to_string(),
                        detail: detail.to_string(),
                    },
                    None => StartError::Stopped,
                };
                failure = Some(error);
                (Phase::New, None)
            }
            Phase::Stopping => (Phase::Stopped, Some(Terminated { reason, asked: true })),
            Phase::New | Phase::Running | Phase::Stopped | Phase::Failed => {
                let phase = match self.on_root_exit {
                    OnRootExit::Stop => Phase::Stopped,
                    OnRootExit::Stay => Phase::Failed,
                };
                let (reason_text, failed) = (reason_name(reason), phase == Phase::Failed);
                self.event(EventKind::Terminated { reason: reason_text, failed });
                (phase, Some(Terminated { reason, asked: false }))
            }
        };
        self.part(now);
        if phase != Phase::Failed {
            self.tear_down();
        }
        self.phase = phase;
        self.effects.push_back(Effect::Ended(terminated, phase));
        self.answer_all(failure.unwrap_or(StartError::Stopped));
    }

    /// The tree has ended: whoever waits for something of it is answered.
    fn answer_all(&mut self, start: StartError) {
        if let Some(answer) = self.start.take() {
            self.effects.push_back(Effect::Started(answer, Err(start)));
        }
        for answer in std::mem::take(&mut self.stops) {
            self.effects.push_back(Effect::Stopped(answer));
        }
        let waiting = std::mem::take(&mut self.spawns).into_values();
        for answer in waiting.chain(std::mem::take(&mut self.removals).into_values().flatten()) {
            self.effects.push_back(Effect::Answer(answer, Err(ControlError::NotRunning)));
        }
    }

    /// There will be no driver any more.
    ///
    /// Returns what is to be carried out, and what was decided and no longer can be: that is to be
    /// dropped without the lock.
    pub(super) fn abandon(&mut self) -> (VecDeque<Effect>, VecDeque<Effect>) {
        let undone = std::mem::take(&mut self.effects);
        while let Some((_, life)) = self.lives.pop_first() {
            self.effects.push_back(Effect::Kill(life));
        }
        let late = self.inbox.set_closed(true);
        self.effects.push_back(Effect::TooLate(late));
        self.tear_down();
        self.phase = Phase::Stopped;
        let terminated = Terminated { reason: ExitReason::Killed, asked: false };
        self.effects.push_back(Effect::Ended(Some(terminated), Phase::Stopped));
        self.answer_all(StartError::Stopped);
        let mut effects = std::mem::take(&mut self.effects);
        let (answers, undone): (VecDeque<_>, _) = undone.into_iter().partition(|effect| {
            matches!(effect, Effect::Answer(..) | Effect::Started(..) | Effect::Stopped(_))
        });
        effects.extend(answers);
        (effects, undone)
    }

    /// Gives every name back. What is still queued becomes dead letters.
    pub(crate) fn tear_down(&mut self) {
        let mut launches = Vec::with_capacity(self.places.len());
        while let Some((id, place)) = self.places.pop_first() {
            if let Role::Agent(launch) = place.role {
                // The name goes now, with the node's; its mailbox may hold what is the user's.
                drop(self.directory.remove(&launch.core().name));
                launches.push(launch);
            }
            self.node.retract(NameId(id.0), &mut Vec::new());
        }
        self.effects.push_back(Effect::GiveBackAll(launches));
        for launch in self.hosting.clear() {
            self.effects.push_back(Effect::Discard(launch));
        }
        self.effects.push_back(Effect::Unplug(Arc::clone(&self.wire_over)));
        self.root = None;
        self.running.clear();
        self.details.clear();
        self.killed = Deadlines::default();
        self.stuck.clear();
        self.lives = Table::new();
        self.first_failure = None;
    }

    fn status(&mut self, id: ChildId, status: lictor_kernel::Status) {
        match status {
            lictor_kernel::Status::Up => {
                if let Some(answer) = self.spawns.remove(&id) {
                    self.effects.push_back(Effect::Answer(answer, Ok(())));
                }
            }
            lictor_kernel::Status::Down => {
                if let Some(cell) = self.cell(id) {
                    self.effects.push_back(Effect::Close(cell, ReplyFailure::Down));
                }
            }
            lictor_kernel::Status::Starting
            | lictor_kernel::Status::Restarting
            | lictor_kernel::Status::Suspended => {}
        }
    }

    /// A child is gone for good: its name is free, its waiters and its spawner are told.
    fn removed(&mut self, id: ChildId, spawner: Option<SpawnerId>, why: Option<Removal>) {
        // A temporary child of a static supervisor keeps its name and its place: it comes again
        // when that supervisor is restarted.
        let Some(why) = why else { return };
        let Some(place) = self.places.remove(id) else { return };
        let name = Arc::clone(place.name());
        let parent = place.parent.and_then(|parent| self.places.get_mut(parent));
        if let Some(Place { role: Role::Dynamic(spawning), .. }) = parent {
            spawning.children.remove(&id);
        }
        let detail = self.details.remove(&id);
        let reason = removal_name(why);
        if let Role::Agent(launch) = place.role {
            drop(self.directory.remove(&name));
            self.effects.push_back(Effect::GiveBack(launch));
        }
        if let Some(answer) = self.spawns.remove(&id) {
            let detail = detail.map_or_else(|| reason.to_owned(), |detail| detail.to_string());
            let name = name.to_string();
            let error = ControlError::StartFailed { name, detail };
            self.effects.push_back(Effect::Answer(answer, Err(error)));
        } else if let Some(SpawnerId(spawner)) = spawner
            && let Some(cell) = u32::try_from(spawner).ok().and_then(|id| self.cell(ChildId(id)))
        {
            let child = Arc::clone(&name);
            self.effects
                .push_back(Effect::Control(cell, Control::ChildTerminated { child, reason }));
        }
        for answer in self.removals.remove(&id).into_iter().flatten() {
            self.effects.push_back(Effect::Answer(answer, Ok(())));
        }
        self.event(EventKind::Removed { name, reason });
        self.forget_spawners(id, spawner);
    }

    /// What is remembered of a spawner goes with it, or with its last child if that is later.
    fn forget_spawners(&mut self, gone: ChildId, spawner: Option<SpawnerId>) {
        self.node.forget_spawner(SpawnerId(u64::from(gone.0)));
        let is_gone = |spawner: &SpawnerId| {
            u32::try_from(spawner.0).is_ok_and(|id| !self.places.contains_key(ChildId(id)))
        };
        if let Some(spawner) = spawner.filter(is_gone) {
            self.node.forget_spawner(spawner);
        }
    }

    fn report(&mut self, now: Instant, supervisor: SupervisorId, report: Report) {
        let name_of = |world: &Self, id: &ChildId| {
            world.places.get(*id).map(|place| Arc::clone(place.name()))
        };
        let kind = match report {
            Report::RestartScheduled { child, at } => name_of(self, &child).map(|name| {
                let delay = display_delay(at.saturating_since(now));
                EventKind::RestartScheduled { name, delay }
            }),
            Report::RestartsExhausted { child } => {
                // The kernel may be a step ahead, and the supervisor gone from it already.
                let running = self.running.iter().find(|(_, running)| **running == supervisor);
                let name = running.and_then(|(id, _)| name_of(self, id));
                let child = name_of(self, &child);
                name.zip(child).map(|(name, child)| EventKind::RestartsExhausted { name, child })
            }
            Report::ShutdownError { pid, reason } => name_of(self, &pid.child)
                .map(|name| EventKind::ShutdownError { name, reason: reason_name(reason) }),
            Report::StartFailed { pid, reason: ExitReason::StartTimeout } => {
                if let Some(name) = name_of(self, &pid.child) {
                    let detail: Arc<str> = Arc::from("did not come up within its start_timeout");
                    self.failed_start(pid.child, name, detail);
                }
                None
            }
            // These were told when the process said so itself.
            Report::ChildTerminated { .. }
            | Report::StartFailed { .. }
            | Report::StaleEvent { .. } => None,
        };
        if let Some(kind) = kind {
            self.event(kind);
        }
    }
}

const fn removal_name(removal: Removal) -> &'static str {
    match removal {
        Removal::Exited(
            ExitReason::Normal | ExitReason::Shutdown | ExitReason::ShutdownBecause,
        ) => "clean_exit",
        Removal::Exited(_) => "crashed",
        Removal::RestartsExhausted => "restarts_exhausted",
        Removal::StartFailed => "start_failed",
        Removal::StartIgnored => "start_ignored",
        Removal::Terminated => "terminated",
        Removal::SupervisorStopped => "supervisor_stopped",
    }
}

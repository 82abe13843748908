//! What callers ask of the driver.

use std::sync::Arc;

use lictor_kernel::dynamic_supervisor::SpawnerId;
use lictor_kernel::supervisor::ChildState;
use lictor_kernel::{ChildId, Instant, NameId, ProcessId, Shutdown, Signal, SupervisorId};

use super::{Answer, Dynamic, Effect, Place, Role, StopHow, Wish, World};
use crate::assemble::spawned;
use crate::cell::AnyCell;
use crate::cell::{Control, WISHES_MAX};
use crate::error::{ControlError, StartError};
use crate::runtime::Shared;
use crate::spec::AgentSpec;
use crate::view::Status;

impl World {
    pub(super) fn spawn(
        &mut self,
        shared: &Arc<Shared>,
        now: Instant,
        supervisor: &Dynamic,
        spawner: Option<&str>,
        mut agent: AgentSpec,
        answer: Answer<ControlError>,
    ) {
        let spawned = self.try_spawn(shared, now, supervisor, spawner, &mut agent);
        self.effects.push_back(Effect::Forget(Box::new(agent)));
        match spawned {
            // The process may have come up or failed within this very step only in virtual
            // executors that run tasks at once; ours never do, so the waiter is in time.
            Ok(id) => drop(self.spawns.insert(id, answer)),
            Err(error) => self.effects.push_back(Effect::Answer(answer, Err(error))),
        }
    }

    fn try_spawn(
        &mut self,
        shared: &Arc<Shared>,
        now: Instant,
        supervisor: &Dynamic,
        spawner: Option<&str>,
        agent: &mut AgentSpec,
    ) -> Result<ChildId, ControlError> {
        let parent = self.dynamic(supervisor)?;
        let name = agent.name.clone();
        let refused = |detail: String| ControlError::Refused { name: name.clone(), detail };
        let Some(running) = self.running.get(&parent).copied() else {
            return Err(refused("its dynamic supervisor is not running".to_owned()));
        };
        let Some(Place { role: Role::Dynamic(spawning), .. }) = self.places.get(parent) else {
            return Err(refused("its supervisor is not a dynamic one".to_owned()));
        };
        let template = spawning.template;
        let spawner = spawner.and_then(|name| self.id_of(name));
        let spawner = spawner.map(|id| SpawnerId(u64::from(id.0)));
        let id = self.add_agent(shared, agent, parent).map_err(|error| {
            let name = name.clone();
            if matches!(error, StartError::DuplicateName { .. }) {
                return ControlError::NameTaken { name };
            }
            ControlError::BadName { name, detail: error.to_string() }
        })?;
        let mut actions = std::mem::take(&mut self.actions);
        let spawned = self.node.spawn(now, running, spawned(template, id), spawner, &mut actions);
        if let Err(error) = spawned {
            if let Some(Place { role: Role::Agent(launch), .. }) = self.places.remove(id) {
                drop(self.directory.remove(&name));
                self.effects.push_back(Effect::Discard(launch));
            }
            self.node.retract(NameId(id.0), &mut actions);
            self.perform(now, &mut actions);
            return Err(ControlError::Refused { name, detail: error.to_string() });
        }
        if let Some(Place { role: Role::Dynamic(spawning), .. }) = self.places.get_mut(parent) {
            spawning.children.insert(id);
        }
        self.perform(now, &mut actions);
        Ok(id)
    }

    fn dynamic(&self, which: &Dynamic) -> Result<ChildId, ControlError> {
        match which {
            Dynamic::Named(name) => {
                self.id_of(name).ok_or_else(|| ControlError::Unknown { name: name.clone() })
            }
            Dynamic::NearestTo(name) => self.nearest_dynamic(name).ok_or_else(|| {
                let detail = "no supervisor above it has a dynamic supervisor".to_owned();
                ControlError::Refused { name: name.to_string(), detail }
            }),
        }
    }

    /// The first dynamic supervisor among the siblings, in the closest supervisor that has one.
    fn nearest_dynamic(&self, name: &str) -> Option<ChildId> {
        let mut at = self.places.get(self.id_of(name)?)?.parent;
        while let Some(id) = at {
            let place = self.places.get(id)?;
            if matches!(place.role, Role::Dynamic(_)) {
                return Some(id);
            }
            let is_dynamic = |id: &ChildId| {
                matches!(self.places.get(*id), Some(Place { role: Role::Dynamic(_), .. }))
            };
            if let Some(found) = place.role.children().find(is_dynamic) {
                return Some(found);
            }
            at = place.parent;
        }
        None
    }

    pub(super) fn stop_child(
        &mut self,
        now: Instant,
        name: &str,
        how: &StopHow,
        answer: Answer<ControlError>,
    ) {
        let (id, supervisor) = match self.dynamic_child(name) {
            Ok(found) => found,
            Err(error) => return self.effects.push_back(Effect::Answer(answer, Err(error))),
        };
        let shutdown = match how {
            StopHow::Kill => Shutdown::BrutalKill,
            StopHow::Current(timeout) => Shutdown::Timeout(*timeout),
            StopHow::All(timeout) => {
                if let Some(cell) = self.cell(id) {
                    self.effects.push_back(Effect::Drain(cell));
                }
                Shutdown::Timeout(*timeout)
            }
        };
        self.removals.entry(id).or_default().push(answer);
        let mut actions = std::mem::take(&mut self.actions);
        // The child is known, or we would not be here; if it is being removed, so much the better.
        let _ = self.node.terminate_child(now, supervisor, id, Some(shutdown), &mut actions);
        self.perform(now, &mut actions);
        // The kernel leaves a child that is stopping already to the patience of that stop.
        if matches!(how, StopHow::Kill)
            && let Some(process) = self.process_of(id)
        {
            self.signal(now, process, Signal::Kill);
        }
    }

    fn dynamic_child(&self, name: &str) -> Result<(ChildId, SupervisorId), ControlError> {
        let unknown = || ControlError::Unknown { name: name.to_owned() };
        let id = self.id_of(name).ok_or_else(unknown)?;
        let parent = self.places.get(id).and_then(|place| place.parent);
        let is_dynamic = parent.and_then(|parent| self.places.get(parent));
        let (Some(parent), Some(Place { role: Role::Dynamic(_), .. })) = (parent, is_dynamic)
        else {
            let detail = "it is not a child of a dynamic supervisor".to_owned();
            return Err(ControlError::Refused { name: name.to_owned(), detail });
        };
        let supervisor = self.running.get(&parent).copied().ok_or_else(unknown)?;
        Ok((id, supervisor))
    }

    /// Stops or starts a child of a static supervisor, which keeps its specification.
    pub(super) fn fixed_child(
        &mut self,
        now: Instant,
        name: &str,
        start: bool,
    ) -> Result<(), ControlError> {
        let unknown = || ControlError::Unknown { name: name.to_owned() };
        let refused = |detail: String| ControlError::Refused { name: name.to_owned(), detail };
        let id = self.id_of(name).ok_or_else(unknown)?;
        let parent = self.places.get(id).and_then(|place| place.parent);
        let role = parent.and_then(|parent| self.places.get(parent)).map(|place| &place.role);
        let (Some(parent), Some(Role::Supervisor(_))) = (parent, role) else {
            return Err(refused("it is not a child of a static supervisor".to_owned()));
        };
        let supervisor = self.running.get(&parent).copied();
        let supervisor =
            supervisor.ok_or_else(|| refused("its supervisor is not running".to_owned()))?;
        let mut actions = std::mem::take(&mut self.actions);
        let done = if start {
            let started = self.node.restart_child(now, supervisor, id, &mut actions);
            started.map(drop).map_err(|error| error.to_string())
        } else {
            let stopped = self.node.terminate_child(now, supervisor, id, None, &mut actions);
            stopped.map_err(|error| error.to_string())
        };
        self.perform(now, &mut actions);
        done.map_err(refused)
    }

    /// Takes a control for an agent. What the node knows of the name decides, not what the agent
    /// has come to: a suspension counts from here, though the message in hand is finished first.
    pub(super) fn control(&mut self, name: &str, wish: Wish) -> Result<(), ControlError> {
        let unknown = || ControlError::Unknown { name: name.to_owned() };
        let id = self.id_of(name).ok_or_else(unknown)?;
        let refused = |detail: &str| ControlError::Refused {
            name: name.to_owned(),
            detail: detail.to_owned(),
        };
        if matches!(self.places.get(id), Some(Place { role: Role::Placed(_), .. })) {
            return Err(refused("it runs on another node, whose runtime takes this"));
        }
        let cell = self.cell(id).ok_or_else(|| refused("it is a supervisor"))?;
        let status = self.node.registry().lookup(NameId(id.0)).map(|entry| entry.status);
        let (running, suspended) = match status {
            Some(lictor_kernel::Status::Up) => (true, false),
            Some(lictor_kernel::Status::Suspended) => (true, true),
            _ => (false, false),
        };
        let control = match wish {
            // A resume always gets through: a suspension that is lifted and not told would last.
            // The name is suspended, whatever its process is doing: the next one would be, too.
            Wish::Resume { approver } if cell.core().is_suspended() => Control::Resume { approver },
            Wish::Resume { .. } => return Err(refused("it is not suspended")),
            _ if cell.core().wishes() >= WISHES_MAX => {
                return Err(refused("it has not come to what it was told before"));
            }
            _ if !running => {
                return Err(refused(&format!("it is {}", cell.core().status().name())));
            }
            Wish::Suspend { .. } if suspended => {
                return Err(refused("it is suspended already"));
            }
            Wish::Suspend { reason } => Control::Suspend { reason },
            Wish::Restart { by } => {
                let process = self.process_of(id).ok_or_else(|| refused("it has no process"))?;
                Control::Restart { process, by }
            }
        };
        let status = match control {
            Control::Suspend { .. } => Some(lictor_kernel::Status::Suspended),
            Control::Resume { .. } => Some(lictor_kernel::Status::Up),
            Control::Restart { .. }
            | Control::Shutdown { .. }
            | Control::ChildTerminated { .. } => None,
        };
        if let Some(status) = status {
            cell.core().suspend(status == lictor_kernel::Status::Suspended);
            if running {
                // It is up, or suspended, so it has a process and can be either.
                let _ = self.node.set_status(NameId(id.0), status, &mut self.actions);
                self.tell_peers();
            }
        }
        self.effects.push_back(Effect::Control(cell, control));
        Ok(())
    }

    /// The live process of a child.
    fn process_of(&self, id: ChildId) -> Option<ProcessId> {
        let parent = self.places.get(id)?.parent?;
        let supervisor = *self.running.get(&parent)?;
        match self.node.tree().supervisor(supervisor)?.child(id)? {
            ChildState::Starting(pid) | ChildState::Up(pid) | ChildState::Stopping(pid) => {
                Some(ProcessId { supervisor, pid })
            }
            ChildState::Restarting { .. } | ChildState::Down => None,
        }
    }

    pub(crate) fn cell(&self, id: ChildId) -> Option<Arc<dyn AnyCell>> {
        self.places.get(id)?.cell()
    }

    pub(super) fn id_of(&self, name: &str) -> Option<ChildId> {
        let id = ChildId(self.node.names().lookup(name)?.0);
        self.places.contains_key(id).then_some(id)
    }

    pub(crate) fn supervisor_status(&self, id: ChildId) -> Status {
        if self.running.contains_key(&id) {
            return Status::Running;
        }
        let entry = self.node.registry().lookup(NameId(id.0));
        match entry.map(|entry| entry.status) {
            Some(lictor_kernel::Status::Down) | None => Status::Stopped,
            Some(_) => Status::Initializing,
        }
    }
}

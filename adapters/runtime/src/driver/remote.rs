//! The driver's part of children on other nodes: what they do is told here, and what runs here for
//! others is launched like any other agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::node::Event;
use lictor_kernel::remote::{Frame, Stage, State};
use lictor_kernel::{ChildId, ExitReason, Instant, NameId, NodeId, ProcessId};

use super::{Effect, Place, Role, World};
use crate::cell::Launch;
use crate::events::EventKind;
use crate::frame::{Body, Remote};

/// A child that runs on another node.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) name: Arc<str>,
    /// The node as its users call it.
    pub(crate) node: Arc<str>,
    /// How often it has come up.
    pub(crate) starts: u64,
    /// The process of which it was said that it waits: once until something has become of it.
    pub(crate) waits: Option<ProcessId>,
}

/// What may run here for other nodes.
#[derive(Default)]
pub(crate) struct Hosting {
    /// By name: what makes the agent.
    pub(crate) offers: BTreeMap<ChildId, Arc<dyn Launch>>,
    /// The own tree has ended, and what runs for others has not yet.
    ending: Option<ExitReason>,
    /// How long that may take.
    pub(crate) patience: Duration,
}

impl Hosting {
    pub(super) fn clear(&mut self) -> Vec<Arc<dyn Launch>> {
        self.ending = None;
        std::mem::take(&mut self.offers).into_values().collect()
    }
}

impl World {
    pub(super) fn hear_remote(&mut self, now: Instant, node: NodeId, said: &Remote) {
        let id = match said.name() {
            Some(name) => match self.intern_remote(name) {
                Some(id) => Some(id),
                None => return,
            },
            None => None,
        };
        let Some(frame) = said.frame(id) else { return };
        if let (Some(id), Some(detail)) = (id, said.detail())
            && matches!(self.places.get(ChildId(id.0)), Some(Place { role: Role::Placed(_), .. }))
        {
            self.details.insert(ChildId(id.0), Arc::from(detail));
        }
        self.peer_event(now, Event::Remote(node, frame));
    }

    /// A frame with its name as text, while it resolves.
    pub(super) fn spelled_remote(&self, frame: Frame) -> Option<Body> {
        let (name, ended) = match frame {
            Frame::Order { name, .. } => (Some(name), false),
            Frame::Report { name, state, .. } => {
                (Some(name), matches!(state, State::Failed | State::Exited { .. }))
            }
            Frame::Renew { .. } | Frame::Renewed { .. } => (None, false),
        };
        let text = name.and_then(|name| self.node.names().resolve(name));
        let detail = name.filter(|_| ended).and_then(|name| self.details.get(&ChildId(name.0)));
        Remote::spelled(frame, text, detail.map(|detail| &**detail)).map(Body::Remote)
    }

    /// A child on another node has come one step further.
    pub(super) fn placed(&mut self, process: ProcessId, stage: Stage) {
        let child = process.pid.child;
        let Some(Place { role: Role::Placed(elsewhere), .. }) = self.places.get_mut(child) else {
            return;
        };
        let name = Arc::clone(&elsewhere.name);
        match stage {
            // The kernel is a step ahead: most starts need not wait.
            Stage::Waiting => {
                let node = Arc::clone(&elsewhere.node);
                let is_said = elsewhere.waits == Some(process);
                if !is_said && self.node.placement().waits(NameId(child.0)) {
                    elsewhere.waits = Some(process);
                    self.event(EventKind::Waiting { name, node });
                }
            }
            Stage::Ordered(_) => {}
            Stage::Started => {
                elsewhere.starts += 1;
                let incarnation = elsewhere.starts;
                self.event(EventKind::Started { name, incarnation });
            }
            Stage::Ignored => {
                self.event(EventKind::Stopped { name, reason: "start_ignored" });
            }
            Stage::Failed(refusal) => {
                let said = self.details.get(&child).cloned();
                let detail = match refusal {
                    Some(refusal) => Arc::from(refusal.to_string()),
                    None => said.unwrap_or_else(|| Arc::from("it did not start")),
                };
                self.failed_start(child, name, detail);
            }
            Stage::Exited(reason) => {
                let said = match reason {
                    ExitReason::Crashed => self.details.get(&child).cloned(),
                    ExitReason::Normal
                    | ExitReason::Shutdown
                    | ExitReason::ShutdownBecause
                    | ExitReason::Killed
                    | ExitReason::StartTimeout
                    | ExitReason::NoConnection
                    | ExitReason::RestartsExhausted => None,
                };
                self.exited(child, name, reason, said);
            }
        }
    }

    /// A name that runs here for others is had here from now on, or no longer.
    pub(super) fn hosted(&mut self, id: ChildId, here: bool) {
        if here {
            let Some(launch) = self.hosting.offers.get(&id).cloned() else { return };
            let cell = launch.cell();
            let name = Arc::clone(&cell.core().name);
            // The kernel has found it free, and the directory follows the kernel.
            let _ = self.directory.insert(name, Arc::clone(&cell));
            // It was closed if the name was had here before and given back. From here on messages
            // are routed to it, also before its process is there.
            self.effects.push_back(Effect::Reopen(cell));
            self.places.insert(id, Place { parent: None, role: Role::Agent(launch) });
        } else if let Some(Place { role: Role::Agent(launch), .. }) = self.places.remove(id) {
            drop(self.directory.remove(&launch.core().name));
            self.effects.push_back(Effect::GiveBack(launch));
            self.details.remove(&id);
        }
    }

    /// The own tree has ended; whether what runs here for others must end first.
    pub(super) fn waits_for_hosted(&mut self, reason: ExitReason) -> bool {
        let waits = self.node.host().alive() > 0;
        self.hosting.ending = waits.then_some(reason);
        waits
    }

    /// Ends what has waited for the end of what runs here for others.
    pub(super) fn finish(&mut self, now: Instant) {
        let Some(reason) = self.hosting.ending else { return };
        if self.node.host().alive() > 0 {
            if !self.node.host().is_leaving() {
                // The tree has ended by itself: nobody has told them yet.
                let deadline = Some(now.saturating_add(self.hosting.patience));
                let mut actions = std::mem::take(&mut self.actions);
                self.node.stop_hosting(now, deadline, &mut actions);
                self.perform(now, &mut actions);
            }
            return;
        }
        self.hosting.ending = None;
        self.root_exited(now, reason);
    }
}

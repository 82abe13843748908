//! What has happened in a simulation, in one order over all its nodes.

use std::fmt::{self, Display};
use std::sync::Arc;

use lictor_kernel::Instant;
use lictor_runtime::{EventKind, Events, Runtime};

use crate::executor::seconds;

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct SimEvent {
    /// When.
    pub at: Instant,
    /// In which runtime; empty if it has no name, or if it was none.
    pub node: Arc<str>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum What {
    /// A runtime has told it.
    Runtime(EventKind),
    /// The simulation has done it.
    Fault(String),
    /// The test has said it, with [`Sim::note`](super::Sim::note).
    Note(String),
}

impl Display for SimEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}  {:8}", seconds(self.at), self.node)?;
        match &self.what {
            What::Runtime(kind) => write!(f, "  {}", line(kind)),
            What::Fault(fault) => write!(f, "* {fault}"),
            What::Note(note) => write!(f, "- {note}"),
        }
    }
}

/// An event of a runtime in one line.
fn line(kind: &EventKind) -> String {
    use EventKind as K;
    match kind {
        K::Started { name, incarnation } => format!("{name} is up (incarnation {incarnation})"),
        K::StartFailed { name, detail } => format!("{name} failed to start: {detail}"),
        K::Stopped { name, reason } => format!("{name} stopped: {reason}"),
        K::Crashed { name, reason, detail } if *reason == &**detail => {
            format!("{name} crashed: {reason}")
        }
        K::Crashed { name, reason, detail } => format!("{name} crashed: {reason}: {detail}"),
        K::RestartScheduled { name, delay } => format!("{name} will be restarted in {delay}"),
        K::RestartsExhausted { name, child } => {
            format!("{name} gives up: {child} crashed too often")
        }
        K::ShutdownError { name, reason } => format!("{name} did not stop as asked: {reason}"),
        K::Unresponsive { name } => format!("{name} blocks its thread"),
        K::Suspended { name, reason } => format!("{name} is suspended: {reason}"),
        K::Resumed { name, approver } => format!("{name} is resumed by {approver}"),
        K::DeadLetters { name, count, reason } => {
            format!("{count} messages to {name} are dead: {reason}")
        }
        K::Removed { name, reason } => format!("{name} is gone for good: {reason}"),
        K::SupervisorStarting { name } => format!("{name} starts its children"),
        K::SupervisorStarted { name } => format!("{name} has started all its children"),
        K::SupervisorStopped { name, reason } => format!("{name} has ended: {reason}"),
        K::Terminated { reason, .. } => format!("the tree has ended by itself: {reason}"),
        K::PeerUp { node, .. } => format!("node {node} answers"),
        K::PeerSuspect { node } => format!("node {node} is overdue"),
        K::PeerDown { node } => format!("node {node} is given up"),
        K::Waiting { name, node } => format!("{name} waits for {node}"),
        other => format!("{other:?}"),
    }
}

/// How many events are kept.
const LIMIT: usize = 4_096;

#[derive(Default)]
pub(super) struct History {
    watched: Vec<(Arc<str>, Events)>,
    events: Vec<SimEvent>,
}

impl History {
    pub(super) fn watch(&mut self, node: Arc<str>, runtime: &Runtime) {
        self.watched.push((node, runtime.events()));
    }

    /// What is watched as this node is watched as another from now on.
    pub(super) fn rename(&mut self, node: &str, to: &Arc<str>) {
        for (watched, _) in self.watched.iter_mut().filter(|(watched, _)| &**watched == node) {
            *watched = Arc::clone(to);
        }
    }

    pub(super) fn all(&self) -> &[SimEvent] {
        &self.events[self.events.len().saturating_sub(LIMIT)..]
    }

    pub(super) fn push(&mut self, at: Instant, node: Arc<str>, what: What) {
        // Half of them at a time, so that each is moved once.
        if self.events.len() == 2 * LIMIT {
            self.events.drain(..LIMIT);
        }
        self.events.push(SimEvent { at, node, what });
    }

    /// Takes what runtimes have told since the last time, and shows it.
    pub(super) fn take(
        &mut self,
        at: Instant,
        mut show: impl FnMut(&Arc<str>, &EventKind) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut watched = std::mem::take(&mut self.watched);
        let mut result = Ok(());
        for (node, events) in &mut watched {
            while let Some(event) = events.try_next() {
                if result.is_ok() {
                    result = show(node, &event.kind);
                }
                self.push(at, Arc::clone(node), What::Runtime(event.kind));
            }
        }
        self.watched = watched;
        result
    }
}

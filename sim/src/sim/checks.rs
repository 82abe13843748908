//! Invariants: the user's, and those that hold for every tree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::{AgentInfo, EventKind, RuntimeStatus};

use super::failure::FailureKind;
use super::history::History;
use super::{Node, Sim, SimEvent};
use crate::executor::VirtualExecutor;

/// What an invariant sees: everything, between two steps.
pub struct View<'a> {
    executor: &'a VirtualExecutor,
    nodes: &'a [Node],
    events: &'a [SimEvent],
}

impl View<'_> {
    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.executor.now()
    }

    /// All agents of all runtimes, each called as [`Sim::crash`] calls it.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentInfo> {
        let mut all = Vec::new();
        for node in self.nodes {
            for mut agent in node.runtime.agents() {
                if !node.name.is_empty() {
                    agent.name = Arc::from(format!("{}/{}", node.name, agent.name));
                }
                all.push(agent);
            }
        }
        all
    }

    /// One of them.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<AgentInfo> {
        self.agents().into_iter().find(|agent| &*agent.name == name)
    }

    /// Where the runtime of this name is in its life; `None` if there is none.
    #[must_use]
    pub fn status(&self, node: &str) -> Option<RuntimeStatus> {
        let node = self.nodes.iter().find(|found| &*found.name == node)?;
        Some(node.runtime.status())
    }

    /// What has happened so far, oldest first.
    #[must_use]
    pub const fn events(&self) -> &[SimEvent] {
        self.events
    }

    /// How many tasks are alive.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        self.executor.live_tasks()
    }
}

/// What an invariant says: that it holds or not, or what is wrong.
pub trait Verdict {
    /// `Err` if it does not hold.
    ///
    /// # Errors
    /// What is wrong; empty if there is nothing to say.
    fn verdict(self) -> Result<(), String>;
}

impl Verdict for bool {
    fn verdict(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl Verdict for Result<(), String> {
    fn verdict(self) -> Self {
        self
    }
}

type Look = Box<dyn FnMut(&View<'_>) -> Result<(), String> + Send>;

struct Promise {
    name: Arc<str>,
    until: Instant,
    look: Look,
}

#[derive(Default)]
pub(super) struct Checks {
    always: Vec<(Arc<str>, Look)>,
    promises: Vec<Promise>,
    lives: Lives,
}

impl Sim {
    /// From now on this must hold after every step.
    pub fn always<V: Verdict>(
        &mut self,
        name: &str,
        mut holds: impl FnMut(&View<'_>) -> V + Send + 'static,
    ) {
        let look: Look = Box::new(move |view| holds(view).verdict());
        self.checks.always.push((Arc::from(name), look));
    }

    /// This must hold now; for what a test has worked out by itself.
    ///
    /// # Errors
    /// [`FailureKind::Always`], if it does not.
    pub fn check(&self, name: &str, holds: impl Verdict) -> Result<(), super::Failure> {
        holds
            .verdict()
            .map_err(|detail| self.fail(FailureKind::Always { name: Arc::from(name), detail }))
    }

    /// This must hold once, after some step between now and `within` from now. Then it is
    /// forgotten.
    pub fn eventually<V: Verdict>(
        &mut self,
        name: &str,
        within: Duration,
        mut holds: impl FnMut(&View<'_>) -> V + Send + 'static,
    ) {
        let look: Look = Box::new(move |view| holds(view).verdict());
        let until = self.now().saturating_add(within);
        self.checks.promises.push(Promise { name: Arc::from(name), until, look });
    }
}

impl Checks {
    /// Takes the news and looks at everything; what is broken.
    pub(super) fn look(
        &mut self,
        executor: &VirtualExecutor,
        nodes: &[Node],
        history: &mut History,
    ) -> Option<FailureKind> {
        let now = executor.now();
        let told = history.take(now, |node, kind| self.lives.told(node, kind));
        if let Err(detail) = told {
            let name = Arc::from("S1 one live incarnation, strictly increasing");
            return Some(FailureKind::Always { name, detail });
        }
        let view = View { executor, nodes, events: history.all() };
        for (name, look) in &mut self.always {
            if let Err(detail) = look(&view) {
                return Some(FailureKind::Always { name: Arc::clone(name), detail });
            }
        }
        let late = self.promises.iter().find(|promise| promise.until < now);
        if let Some(late) = late {
            return Some(FailureKind::Eventually { name: Arc::clone(&late.name) });
        }
        self.promises.retain_mut(|promise| (promise.look)(&view).is_err());
        None
    }

    /// A node begins anew: what was alive there is another's.
    pub(super) fn forget(&mut self, node: &str) {
        self.lives.0.retain(|(of, _), _| &**of != node);
    }

    /// A promise that was not kept.
    pub(super) fn unkept(&self) -> Option<Arc<str>> {
        self.promises.first().map(|promise| Arc::clone(&promise.name))
    }
}

/// The incarnations as events tell them.
#[derive(Default)]
struct Lives(BTreeMap<(Arc<str>, Arc<str>), (u64, bool)>);

impl Lives {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not about incarnations")]
    fn told(&mut self, node: &Arc<str>, kind: &EventKind) -> Result<(), String> {
        let key = |name: &Arc<str>| (Arc::clone(node), Arc::clone(name));
        match kind {
            EventKind::Started { name, incarnation } => {
                let last = self.0.insert(key(name), (*incarnation, true));
                let Some((last, live)) = last else { return Ok(()) };
                // The first of a name that a failed start has given back, and that was taken again.
                let anew = *incarnation == 1;
                if live || (last >= *incarnation && !anew) {
                    let state = if live { "is up" } else { "was there" };
                    return Err(format!("{name}: {last} {state} when {incarnation} came up"));
                }
            }
            EventKind::Stopped { name, .. } | EventKind::Crashed { name, .. } => {
                if let Some((_, live)) = self.0.get_mut(&key(name)) {
                    *live = false;
                }
            }
            // The name is free: whoever takes it begins anew.
            EventKind::Removed { name, .. } => drop(self.0.remove(&key(name))),
            _ => {}
        }
        Ok(())
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("now", &self.now()).finish_non_exhaustive()
    }
}

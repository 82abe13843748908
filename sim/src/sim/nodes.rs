//! What happens to a whole node: it is paused, killed, or booted anew.
//!
//! A node that is booted while an older boot of it is paused is the case that leases are for: the
//! older one wakes up later and has not heard of anything.

use std::sync::Arc;

use lictor_runtime::{Runtime, RuntimeConfig};

use super::history::What;
use super::{Node, Sim};
use crate::executor::{TaskFault, TaskId};

impl Sim {
    /// Stops the present boot of a node where it is, as `SIGSTOP` does: none of its tasks runs,
    /// and time passes. Until [`Sim::resume`].
    pub fn pause(&mut self, node: &str) {
        let tasks = self.tasks_of(node);
        for task in &tasks {
            self.executor.hold(*task);
        }
        self.paused.entry(Arc::from(node)).or_default().extend(tasks);
        self.note_fault(node, "paused");
    }

    /// Lets every boot of a node that was paused go on.
    pub fn resume(&mut self, node: &str) {
        for task in self.paused.remove(node).unwrap_or_default() {
            self.executor.release(task);
        }
        self.note_fault(node, "goes on");
    }

    /// Takes a node away with everything that it holds, and without a goodbye. Boots of it that are
    /// paused are left as they are.
    pub fn kill(&mut self, node: &str) {
        for task in self.tasks_of(node) {
            self.executor.inject_now(task, TaskFault::Drop);
        }
        self.note_fault(node, "killed");
    }

    /// A new boot of a node on the wire, which knows nothing; nothing runs in it until it is
    /// started. It has the address from now on, whatever became of the boot before it.
    ///
    /// # Panics
    /// When there is no [peer](Sim::with_peer) of this name.
    pub fn boot(&mut self, node: &str, mut config: RuntimeConfig) {
        let id = self.peer(node);
        let at = self.nodes.iter().position(|found| &*found.name == node);
        let at = at.unwrap_or_else(|| panic!("no node named {node:?}"));
        let name = Arc::clone(&self.nodes[at].name);
        let epoch = self.nodes[at].epoch + 1;
        config.transport = Some(self.network.join(id));
        (config.membership.node, config.membership.epoch) = (id, epoch);
        let runtime = Runtime::with_config(self.executor.host(node), config);
        let before = Arc::from(format!("{node} before boot {epoch}"));
        self.history.rename(node, &before);
        self.history.watch(Arc::clone(&name), &runtime);
        self.checks.forget(node);
        let before = std::mem::replace(&mut self.nodes[at], Node { name, runtime, epoch });
        self.former.push(before.runtime);
        self.note_fault(node, &format!("boot {epoch}"));
    }

    /// What runs for a node, but for what is paused.
    fn tasks_of(&self, node: &str) -> Vec<TaskId> {
        let of_node =
            |name: &str| name.strip_prefix(node).is_some_and(|rest| rest.starts_with(['/', '#']));
        let tasks = self.executor.tasks().into_iter();
        tasks.filter(|task| !task.held && of_node(&task.name)).map(|task| task.id).collect()
    }

    fn note_fault(&mut self, node: &str, what: &str) {
        let fault = What::Fault(format!("{node}: {what}"));
        self.history.push(self.executor.now(), Arc::from(""), fault);
    }
}

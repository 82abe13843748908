//! The kernel's reports in OTP's words.

use std::collections::BTreeMap;

use lictor_kernel::supervisor::Report;
use lictor_kernel::tree::Machine;
use lictor_kernel::{ChildId, Pid, ProcessId, SupervisorId};
use serde_json::{Value, json};

use super::world::{Supervisor, World};

impl World {
    pub(super) fn report(&mut self, id: SupervisorId, report: Report) {
        let Some(sup) = self.sups.get(&id) else { return };
        let name = |child: ChildId| sup.children.get(&child).map_or("?", |child| &child.id);
        let reason = |pid: Pid| {
            let reason = self.reasons.get(&ProcessId { supervisor: id, pid });
            reason.cloned().unwrap_or(Value::Null)
        };
        let line = |child: ChildId, ctx: &str, reason: Value| {
            let (sup, id) = (&sup.child.id, name(child));
            json!({"ev": "report", "sup": sup, "id": id, "ctx": ctx, "reason": reason})
        };
        let line = match report {
            Report::ChildTerminated { pid, .. } => line(pid.child, "child_terminated", reason(pid)),
            Report::StartFailed { pid, .. } => {
                let (child, why) = (name(pid.child).to_owned(), reason(pid));
                let line = line(pid.child, "start_error", why.clone());
                self.start_fails(id, &child, &why);
                line
            }
            Report::ShutdownError { pid, .. } => {
                let stopping = self.tree.supervisor(id).is_none_or(|machine| match machine {
                    Machine::Static(_) => false,
                    Machine::Dynamic(machine) => !machine.is_running(),
                });
                if stopping && sup.is_parallel() {
                    // Reported together, when all are gone.
                    let why = reason(pid);
                    self.sups.entry(id).and_modify(|sup| sup.errors.push((pid, why)));
                    return;
                }
                line(pid.child, "shutdown_error", reason(pid))
            }
            Report::RestartsExhausted { child } => {
                line(child, "shutdown", json!("reached_max_restart_intensity"))
            }
            // Nothing that OTP says: a difference.
            Report::RestartScheduled { child, .. } => line(child, "scheduled", Value::Null),
            Report::StaleEvent { pid } => line(pid.child, "stale", Value::Null),
        };
        self.trace.push(line);
    }

    /// What went wrong in a parallel stop: by reason under simple_one_for_one, else by child.
    pub(super) fn report_errors(&mut self, sup: &mut Supervisor) {
        let mut errors = core::mem::take(&mut sup.errors);
        errors.sort_by_key(|(pid, _)| pid.incarnation);
        let line = |id: Value, reason: &Value| {
            let sup = &sup.child.id;
            json!({"ev": "report", "sup": sup, "id": id, "ctx": "shutdown_error", "reason": reason})
        };
        if sup.is_simple() {
            let mut by_reason: BTreeMap<(bool, String), (Value, u64)> = BTreeMap::new();
            for (_, reason) in errors {
                // Erlang's order of terms: atoms by name, then tuples.
                let name = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
                by_reason.entry((reason.is_array(), name)).or_insert((reason, 0)).1 += 1;
            }
            let lines = by_reason.values();
            self.trace.extend(lines.map(|(reason, n)| line(json!(["many", n]), reason)));
        } else {
            for (pid, reason) in errors {
                let id = sup.children.get(&pid.child).map_or("?", |child| &child.id);
                self.trace.push(line(json!(id), &reason));
            }
        }
    }
}

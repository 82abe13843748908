//! Requests to supervisors and their results, in OTP's words.

use std::rc::Rc;
use std::sync::Arc;

use core::time::Duration;

use lictor_kernel::dynamic_supervisor::{self, Budget, SpawnError};
use lictor_kernel::supervisor::{
    self, ChildState, DeleteChildError, RestartChildError, StartChildError, TerminateChildError,
};
use lictor_kernel::tree::{self, Machine, Plan, PlannedChild};
use lictor_kernel::{
    AutoShutdown, Backoff, ChildId, ChildKind, ChildSpec, ExitReason, Intensity, ProcessId,
    SupervisorId,
};
use serde_json::{Value, json};

use super::mailbox::Message;
use super::scenario::{Body, Call, Child, Kind, Sup, bad_combination};
use super::world::{Supervisor, World};

impl Sup {
    /// The children that it starts with.
    pub(super) fn children(&self) -> &[Rc<Child>] {
        match &self.kind {
            Kind::Static(_, children) => children,
            Kind::Simple(_) | Kind::Dynamic(_) => &[],
        }
    }
}

impl Supervisor {
    fn kind(&self) -> Option<&Kind> {
        self.child.sup().map(|sup| &sup.kind)
    }

    pub(super) fn is_simple(&self) -> bool {
        matches!(self.kind(), Some(Kind::Simple(_)))
    }

    pub(super) fn is_dynamic(&self) -> bool {
        matches!(self.kind(), Some(Kind::Dynamic(_)))
    }

    pub(super) fn is_parallel(&self) -> bool {
        self.is_simple() || self.is_dynamic()
    }
}

impl World {
    /// A supervisor takes a request out of its mailbox.
    pub(super) fn serve(
        &mut self,
        id: SupervisorId,
        place: usize,
        call: &Call,
        target: Option<ProcessId>,
    ) {
        let result = match call {
            Call::Start(child) => match self.call_start(id, child) {
                Ok(process) => {
                    // The result comes when the start has come to something.
                    self.callers.insert(process, place);
                    return;
                }
                Err(error) => json!(["error", error]),
            },
            Call::Terminate(name) => self.call_terminate(id, name, target),
            Call::Delete(name) => self.call_delete(id, name),
            Call::Restart(name) => match self.call_restart(id, name) {
                Ok(process) => {
                    self.callers.insert(process, place);
                    return;
                }
                Err(error) => json!(["error", error]),
            },
            Call::Which => self.which_children(id),
            Call::Count => self.count_children(id),
        };
        if let Some(slot) = self.results.get_mut(place) {
            *slot = result;
        }
    }

    fn call_start(&mut self, id: SupervisorId, child: &Rc<Child>) -> Result<ProcessId, Value> {
        let Some(sup) = self.sups.get(&id) else { return Err(json!("not_alive")) };
        let Some(Sup { kind, auto_shutdown: rule, .. }) = sup.child.sup() else {
            return Err(json!("not_alive"));
        };
        let rule = *rule;
        let template = match kind {
            Kind::Simple(template) => Some(Rc::clone(template)),
            Kind::Static(..) | Kind::Dynamic(_) => None,
        };
        let is_dynamic = sup.is_dynamic();
        let child_id = match sup.is_parallel() {
            true => self.fresh_id(),
            false => self.id_of(&child.id),
        };
        let mut planned = self.planned(child, child_id);
        if let Some(template) = template {
            planned.spec = spec(&template);
        } else if is_dynamic {
            planned.spec.significant = false;
        }
        let now = self.clock.now;
        let mut actions = Vec::new();
        let started = match self.sups.get(&id).is_some_and(Supervisor::is_parallel) {
            true => self
                .tree
                .spawn(now, id, planned, None, &mut actions)
                .map_err(|error| spawn_error(error, child, rule)),
            false => self
                .tree
                .start_child(now, id, planned, &mut actions)
                .map_err(|error| start_error(error, child, rule)),
        };
        if started.is_ok()
            && let Some(sup) = self.sups.get_mut(&id)
        {
            sup.children.insert(child_id, Rc::clone(child));
        }
        self.put_first(actions);
        started.map(|pid| ProcessId { supervisor: id, pid })
    }

    fn call_terminate(&mut self, id: SupervisorId, name: &str, target: Option<ProcessId>) -> Value {
        let Some(sup) = self.sups.get(&id) else { return json!("not_alive") };
        let is_simple = sup.is_simple();
        let child_id = match (sup.is_parallel(), target) {
            (false, _) => self.id_of(name),
            (true, None) if is_simple => return json!(["error", "simple_one_for_one"]),
            (true, None) => return json!(["error", "not_found"]),
            (true, Some(process)) => {
                let is_gone = is_simple && !self.is_alive(process);
                match self.tree.supervisor(id).and_then(|s| s.child(process.pid.child)) {
                    Some(ChildState::Up(pid)) if pid == process.pid => pid.child,
                    Some(ChildState::Restarting { .. }) => process.pid.child,
                    _ if is_gone => return json!("ok"),
                    _ => return json!(["error", "not_found"]),
                }
            }
        };
        let mut actions = Vec::new();
        let result = self.tree.terminate_child(self.clock.now, id, child_id, None, &mut actions);
        self.put_first(actions);
        match result {
            Ok(()) => json!("ok"),
            Err(TerminateChildError::NotFound) => json!(["error", "not_found"]),
            Err(error) => json!(["error", error.to_string()]),
        }
    }

    fn call_delete(&mut self, id: SupervisorId, name: &str) -> Value {
        if self.sups.get(&id).is_some_and(Supervisor::is_parallel) {
            return json!(["error", "simple_one_for_one"]);
        }
        let child = self.id_of(name);
        let mut actions = Vec::new();
        let result = self.tree.delete_child(self.clock.now, id, child, &mut actions);
        self.put_first(actions);
        match result {
            Ok(()) => json!("ok"),
            Err(DeleteChildError::NotFound) => json!(["error", "not_found"]),
            Err(DeleteChildError::Running) => json!(["error", "running"]),
            Err(DeleteChildError::Restarting) => json!(["error", "restarting"]),
            Err(error) => json!(["error", error.to_string()]),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "any other refusal shows as a difference")]
    fn call_restart(&mut self, id: SupervisorId, name: &str) -> Result<ProcessId, Value> {
        if self.sups.get(&id).is_some_and(Supervisor::is_parallel) {
            return Err(json!("simple_one_for_one"));
        }
        let child = self.id_of(name);
        let mut actions = Vec::new();
        let result = self.tree.restart_child(self.clock.now, id, child, &mut actions);
        self.put_first(actions);
        let pid = result.map_err(|error| match error {
            RestartChildError::NotFound => json!("not_found"),
            RestartChildError::Running => json!("running"),
            RestartChildError::Restarting => json!("restarting"),
            error => json!(error.to_string()),
        })?;
        Ok(ProcessId { supervisor: id, pid })
    }

    /// `which_children`: reverse start order, or sorted where there is no order.
    pub(super) fn which_children(&self, id: SupervisorId) -> Value {
        let Some(sup) = self.sups.get(&id) else { return json!("not_alive") };
        let Some(machine) = self.tree.supervisor(id) else { return json!("not_alive") };
        let mut children: Vec<(&str, &str)> = machine
            .which_children()
            .iter()
            .rev()
            .filter_map(|(id, state)| {
                let state = match state {
                    ChildState::Starting(_) | ChildState::Up(_) | ChildState::Stopping(_) => "up",
                    ChildState::Restarting { .. } => "restarting",
                    ChildState::Down => "down",
                };
                sup.children.get(id).map(|child| (child.id.as_str(), state))
            })
            .collect();
        if sup.is_parallel() {
            children.sort_unstable();
        }
        json!(children)
    }

    /// `count_children`: simple_one_for_one has one specification, its template. A static
    /// supervisor
    /// asks the VM who is alive, and so knows of deaths that it has not heard of yet.
    pub(super) fn count_children(&self, id: SupervisorId) -> Value {
        let Some(sup) = self.sups.get(&id) else { return json!("not_alive") };
        let Some(counts) = self.tree.supervisor(id).map(Machine::count_children) else {
            return json!("not_alive");
        };
        let unheard = sup.mailbox.iter().filter(|message| matches!(message, Message::Exit(_)));
        let unheard = if sup.is_parallel() { 0 } else { unheard.count() };
        let specs = if sup.is_simple() { 1 } else { counts.specs };
        let active = u64::from(counts.active).saturating_sub(unheard as u64);
        json!([specs, active, counts.supervisors, counts.workers])
    }

    fn is_alive(&self, process: ProcessId) -> bool {
        self.workers.get(&process).is_some_and(|worker| worker.alive)
            || self.sups.values().any(|sup| sup.process == Some(process))
    }

    /// The kernel's plan of a child. A supervisor that OTP refuses is planned as a child whose
    /// start fails: the kernel refuses the whole tree at once, OTP when it comes to that child.
    fn planned(&mut self, child: &Child, id: ChildId) -> PlannedChild {
        let body = match child.sup() {
            Some(sup) if sup.refusal().is_none() => {
                tree::Body::Supervisor(Arc::new(self.plan_of(sup)))
            }
            Some(_) | None => tree::Body::Worker,
        };
        PlannedChild { id, spec: spec(child), body }
    }

    /// The kernel's plan of a supervisor, with OTP's rules: no backoff, and `shutdown` when the
    /// budget is used up.
    pub(super) fn plan_of(&mut self, sup: &Sup) -> Plan {
        let intensity = Intensity {
            max_restarts: u32::try_from(sup.intensity).unwrap_or(u32::MAX),
            period: Duration::from_secs(u64::try_from(sup.period).unwrap_or_default() + 1),
        };
        let (auto_shutdown, backoff) = (sup.auto_shutdown, Backoff::NONE);
        let exhausted = ExitReason::Shutdown;
        let dynamic = |max_children| {
            Plan::Dynamic(dynamic_supervisor::Config {
                intensity,
                backoff,
                auto_shutdown,
                max_children,
                exhausted,
                budget: Budget::Shared,
                ..Default::default()
            })
        };
        match &sup.kind {
            Kind::Simple(_) => dynamic(None),
            Kind::Dynamic(max_children) => dynamic(*max_children),
            Kind::Static(strategy, children) => Plan::Static {
                config: supervisor::Config {
                    strategy: *strategy,
                    intensity,
                    backoff,
                    auto_shutdown,
                    exhausted,
                    ..Default::default()
                },
                children: children
                    .iter()
                    .map(|child| {
                        let id = self.id_of(&child.id);
                        self.planned(child, id)
                    })
                    .collect(),
            },
        }
    }
}

fn spec(child: &Child) -> ChildSpec {
    ChildSpec {
        restart: child.restart,
        shutdown: child.shutdown,
        significant: child.significant,
        kind: match child.body {
            Body::Worker(_) => ChildKind::Worker,
            Body::Sup(_) => ChildKind::Supervisor,
        },
        start_timeout: None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other refusal shows as a difference")]
fn start_error(error: StartChildError, child: &Child, rule: AutoShutdown) -> Value {
    match error {
        StartChildError::AlreadyStarted(_) => json!(["already_started", child.id]),
        StartChildError::AlreadyPresent => json!("already_present"),
        StartChildError::BadCombination => bad_combination(child, rule).unwrap_or(Value::Null),
        error => json!(error.to_string()),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other refusal shows as a difference")]
fn spawn_error(error: SpawnError, child: &Child, rule: AutoShutdown) -> Value {
    match error {
        SpawnError::MaxChildren => json!("max_children"),
        SpawnError::BadCombination => bad_combination(child, rule).unwrap_or(Value::Null),
        error => json!(error.to_string()),
    }
}

//! The machinery: what one part of the node does is a fact to the others.

use alloc::vec::Vec;

use super::{Action, Callee, Node};
use crate::supervisor::{self, ChildState};
use crate::tree::{self, Body, Plan, Stage, Tree};
use crate::{ChildId, ExitReason, Instant, NameId, Owner, ProcessId, Status, SupervisorId, Table};

impl Node {
    /// Lets the tree act, and carries what it did into the registry.
    pub(super) fn with_tree<R>(
        &mut self,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Tree, &mut Vec<tree::Action>) -> R,
    ) -> R {
        let mut out = core::mem::take(&mut self.tree_actions.0);
        let result = act(&mut self.tree, &mut out);
        for action in out.drain(..) {
            // What concerns a child on another node is not for the driver of this one.
            let is_for_another = self.is_for_another(action);
            let is = if is_for_another { Action::Diverted } else { Action::Supervision };
            actions.push(is(action));
            self.note_action(action, actions);
        }
        self.tree_actions.0 = out;
        self.settle_names(actions);
        self.publish(actions);
        result
    }

    /// What a fact about a process says about its name.
    pub(super) fn note_fact(
        &mut self,
        supervisor: SupervisorId,
        fact: supervisor::Event,
        actions: &mut Vec<Action>,
    ) {
        use supervisor::Event as E;
        let (E::Started { pid }
        | E::StartIgnored { pid }
        | E::StartFailed { pid }
        | E::Exited { pid, .. }) = fact;
        let known = self.tree.supervisor(supervisor).and_then(|machine| machine.child(pid.child));
        let current = match known {
            Some(ChildState::Starting(now) | ChildState::Up(now) | ChildState::Stopping(now)) => {
                now == pid
            }
            Some(ChildState::Restarting { .. } | ChildState::Down) | None => false,
        };
        if !current {
            return;
        }
        let process = ProcessId { supervisor, pid };
        match fact {
            E::Started { .. } => self.set_process(process, Status::Up, actions),
            // One that has come up can no longer fail to start.
            E::StartIgnored { .. } | E::StartFailed { .. } if self.has_come_up(process) => {}
            E::StartIgnored { .. } | E::StartFailed { .. } => {
                self.ended_process(process, ExitReason::Crashed, actions);
            }
            E::Exited { reason, .. } => self.ended_process(process, reason, actions),
        }
    }

    fn has_come_up(&self, process: ProcessId) -> bool {
        self.registry.lookup(NameId(process.pid.child.0)).is_some_and(|entry| {
            entry.owner == Owner::Local(Some(process)) && entry.status != Status::Starting
        })
    }

    fn ended_process(&mut self, process: ProcessId, reason: ExitReason, actions: &mut Vec<Action>) {
        self.set_process(process, Status::Restarting, actions);
        self.limbo.insert(process.supervisor, NameId(process.pid.child.0));
        self.calls.callee_down(Callee::Process(process), reason, &mut self.ended.0);
        if !self.ended.0.is_empty() {
            actions.extend(self.ended.0.drain(..).map(Action::CallEnded));
        }
    }

    /// What the tree did says about names.
    fn note_action(&mut self, action: tree::Action, actions: &mut Vec<Action>) {
        match action {
            tree::Action::Start { process } => self.starting(process, actions),
            tree::Action::Supervisor { supervisor, process, stage } => {
                self.note_stage(supervisor, process, stage, actions);
            }
            tree::Action::Removed { supervisor, child, .. } => {
                let name = NameId(child.0);
                self.go_down(name, actions);
                // A static supervisor forgets a temporary child, but its plan does not: the child
                // is started again with the whole supervisor, and must have its name then.
                if !self.planned.contains_key(name) {
                    self.give_back(supervisor, name, actions);
                }
            }
            tree::Action::Signal { .. } | tree::Action::Report { .. } => {}
        }
    }

    fn note_stage(
        &mut self,
        supervisor: SupervisorId,
        process: Option<ProcessId>,
        stage: Stage,
        actions: &mut Vec<Action>,
    ) {
        match (stage, process) {
            (Stage::Initializing, process) => {
                let name = process.map(|process| NameId(process.pid.child.0));
                self.called.insert(supervisor, name);
                if let Some(process) = process {
                    self.starting(process, actions);
                }
                self.forget_lost(supervisor, process, actions);
            }
            (Stage::Ready, process) => {
                if let Some(process) = process {
                    self.set_process(process, Status::Up, actions);
                }
            }
            (Stage::Exited(reason), process) => {
                self.called.remove(&supervisor);
                // What becomes of the names below is settled with what becomes of this one.
                drop(self.limbo.take(supervisor));
                match process {
                    Some(process) => self.ended_process(process, reason, actions),
                    None => self.all_below_go_down(None, actions),
                }
            }
        }
    }

    fn starting(&mut self, process: ProcessId, actions: &mut Vec<Action>) {
        if let Some(parent) = self.called.get(&process.supervisor) {
            self.below.insert(*parent, NameId(process.pid.child.0));
        }
        self.set_process(process, Status::Starting, actions);
    }

    /// Everything in a plan lies below its supervisor, also what it never comes to start.
    pub(super) fn note_plan(&mut self, parent: Option<NameId>, plan: &Plan) {
        let mut rest = Vec::from([(parent, plan)]);
        while let Some((parent, plan)) = rest.pop() {
            let Plan::Static { children, .. } = plan else { continue };
            for child in children {
                let name = NameId(child.id.0);
                self.below.insert(parent, name);
                self.planned.insert(name, ());
                if let Body::Supervisor(plan) = &child.body {
                    rest.push((Some(name), plan));
                }
            }
        }
    }

    /// A supervisor that was restarted has its original children; those added since are gone. Asked
    /// while it begins: later a temporary child of the plan may have come and gone again.
    fn forget_lost(
        &mut self,
        supervisor: SupervisorId,
        process: Option<ProcessId>,
        actions: &mut Vec<Action>,
    ) {
        let Some(machine) = self.tree.supervisor(supervisor) else { return };
        let parent = process.map(|process| NameId(process.pid.child.0));
        let lost: Vec<NameId> = self
            .children_of(parent)
            .filter(|name| machine.child(ChildId(name.0)).is_none())
            .collect();
        for name in lost {
            self.go_down(name, actions);
            self.release(parent, name, actions);
        }
    }

    /// A child of this supervisor is gone for good: its name is free, and so are those below it.
    pub(super) fn give_back(
        &mut self,
        supervisor: SupervisorId,
        name: NameId,
        actions: &mut Vec<Action>,
    ) {
        if let Some(parent) = self.called.get(&supervisor) {
            self.release(*parent, name, actions);
        }
    }

    fn release(&mut self, parent: Option<NameId>, name: NameId, actions: &mut Vec<Action>) {
        let mut rest = Vec::from([(parent, name)]);
        while let Some((parent, name)) = rest.pop() {
            rest.extend(self.children_of(Some(name)).map(|child| (Some(name), child)));
            // Once: a number that was used twice could lie below itself.
            if self.below.remove(parent, name) {
                self.planned.remove(name);
                self.retract(name, actions);
            }
        }
    }

    fn children_of(&self, parent: Option<NameId>) -> impl Iterator<Item = NameId> {
        self.below.of(parent)
    }

    /// A name is down for good, and so is everything below it.
    fn go_down(&mut self, name: NameId, actions: &mut Vec<Action>) {
        self.put_status(name, Status::Down, actions);
        self.all_below_go_down(Some(name), actions);
    }

    fn all_below_go_down(&mut self, name: Option<NameId>, actions: &mut Vec<Action>) {
        let mut rest: Vec<NameId> = self.children_of(name).collect();
        // A number that a caller used twice, against the convention, could lie below itself.
        let mut seen = Table::new();
        while let Some(name) = rest.pop() {
            if seen.insert(name, ()).is_none() {
                self.put_status(name, Status::Down, actions);
                rest.extend(self.children_of(Some(name)));
            }
        }
    }

    pub(super) fn set_process(
        &mut self,
        process: ProcessId,
        status: Status,
        actions: &mut Vec<Action>,
    ) {
        let name = NameId(process.pid.child.0);
        if self.set_placed(name, status, actions) {
            return;
        }
        let before = self.registry.owner(name).map(|(_, status)| status);
        if self.registry.set_process(name, process, status, &mut self.changes.0).is_ok()
            && before != Some(status)
        {
            actions.push(Action::Status { name, status });
        }
        self.pass_on_changes(actions);
    }

    /// Mostly nobody watches, and there are none.
    fn pass_on_changes(&mut self, actions: &mut Vec<Action>) {
        if !self.changes.0.is_empty() {
            actions.extend(self.changes.0.drain(..).map(Action::Watch));
        }
    }

    pub(super) fn put_status(&mut self, name: NameId, status: Status, actions: &mut Vec<Action>) {
        if self.set_placed(name, status, actions) {
            return;
        }
        let before = self.registry.owner(name).map(|(_, status)| status);
        if before != Some(status)
            && self.registry.set_status(name, status, &mut self.changes.0).is_ok()
        {
            actions.push(Action::Status { name, status });
        }
        self.pass_on_changes(actions);
    }

    /// Decides about the names in limbo whose supervisor has settled. `O(s log n)` for `s`
    /// supervisors that have such names, and `O(log n)` for each name that is decided.
    fn settle_names(&mut self, actions: &mut Vec<Action>) {
        let mut down = Vec::new();
        let mut next = self.limbo.next(None);
        while let Some(supervisor) = next {
            let machine = self.tree.supervisor(supervisor);
            if machine.is_none_or(|machine| !machine.is_busy())
                && let Some(names) = self.limbo.take(supervisor)
            {
                down.extend(names.keys().filter(|name| {
                    let child = machine.and_then(|machine| machine.child(ChildId(name.0)));
                    matches!(child, Some(ChildState::Down))
                }));
            }
            next = self.limbo.next(Some(supervisor));
        }
        // In the order of the names, whoever supervises them.
        down.sort_unstable();
        for name in down {
            self.go_down(name, actions);
        }
    }

    pub(super) fn fire_all_but_tree(&mut self, now: Instant, actions: &mut Vec<Action>) {
        // Nearly always nothing is due, and without peers nothing waits to be told or forgotten.
        if self.registry.edited().is_none() && self.timeout_but_tree().is_none_or(|at| at > now) {
            return;
        }
        self.registry.handle_timeout(now, &mut self.changes.0);
        actions.extend(self.changes.0.drain(..).map(Action::Watch));
        self.calls.handle_timeout(now, &mut self.ended.0);
        actions.extend(self.ended.0.drain(..).map(Action::CallEnded));
        self.release_unclaimed();
        self.fire_peers(now, actions);
        self.fire_remote(now);
    }
}

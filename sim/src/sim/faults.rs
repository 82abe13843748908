//! What a simulation does to agents, by name.

use std::sync::Arc;
use std::time::Duration;

use super::Sim;
use super::history::What;
use crate::executor::{TaskFault, TaskId};

impl Sim {
    /// Takes the present incarnation of an agent away at the await where it is, when it would run
    /// next: in a handler, in its start or stop, or while it waits for a message. Its supervisor
    /// sees a kill. `false` if it has no incarnation now.
    ///
    /// `agent` is a name, in the runtime of the name before a slash: `"a/counter"`.
    pub fn crash(&mut self, agent: &str) -> bool {
        self.fault(agent, "crash", |sim, task| sim.executor.inject_now(task, TaskFault::Drop))
    }

    /// As [`Sim::crash`], by a panic that unwinds through everything that the incarnation holds.
    pub fn panic(&mut self, agent: &str) -> bool {
        self.fault(agent, "panic", |sim, task| sim.executor.inject_now(task, TaskFault::Panic))
    }

    /// Takes the present incarnation of an agent, or a client of this name, away instead of its
    /// `nth` poll from now on, counted from 1.
    pub fn cancel_at(&mut self, name: &str, nth: u64) -> bool {
        self.fault(name, &format!("cancel in {nth} polls"), |sim, task| {
            let polls = sim.executor.tasks().into_iter().find(|info| info.id == task);
            let poll = polls.map_or(0, |info| info.polls).saturating_add(nth.max(1));
            sim.executor.inject(task, poll, TaskFault::Drop)
        })
    }

    /// Lets the present incarnation of an agent hang inside a poll, as one does that blocks its
    /// thread: it cannot even be killed. Until [`Sim::unhang`].
    pub fn hang(&mut self, agent: &str) -> bool {
        self.fault(agent, "hang", |sim, task| sim.executor.hold(task))
    }

    /// Lets an agent that hangs go on.
    pub fn unhang(&mut self, agent: &str) -> bool {
        self.fault(agent, "hang no longer", |sim, task| sim.executor.release(task))
    }

    /// Lets so much time pass from each wake of the present incarnation until it runs.
    pub fn slow(&mut self, agent: &str, delay: Duration) -> bool {
        let what = format!("slow by {delay:?}");
        self.fault(agent, &what, |sim, task| sim.executor.slow(task, delay))
    }

    /// Lets the present incarnation of an agent run only when nobody else can.
    pub fn starve(&mut self, agent: &str) -> bool {
        self.fault(agent, "starve", |sim, task| sim.executor.starve(task, true))
    }

    /// Writes a line into the history.
    pub fn note(&mut self, text: impl Into<String>) {
        self.history.push(self.executor.now(), Arc::from(""), What::Note(text.into()));
    }

    fn fault(&mut self, name: &str, what: &str, act: impl FnOnce(&Self, TaskId) -> bool) -> bool {
        let Some(task) = self.executor.tasks_named(name).pop() else { return false };
        let done = act(self, task);
        if done {
            let fault = format!("{name}: {what}");
            self.history.push(self.executor.now(), Arc::from(""), What::Fault(fault));
        }
        done
    }
}

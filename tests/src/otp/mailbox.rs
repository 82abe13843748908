//! Mailboxes: what reaches which supervisor when.
//!
//! A supervisor serves one message at a time, in order of arrival. A retry is a message to itself,
//! behind all others; only when no supervisor has anything to do does time pass.

use core::time::Duration;

use lictor_kernel::supervisor::ChildState;
use lictor_kernel::tree::Machine;
use lictor_kernel::{Instant, Pid, ProcessId, SupervisorId};

use super::scenario::Call;
use super::world::World;

/// A message to a supervisor.
#[derive(Debug)]
pub(super) enum Message {
    /// One of its children has ended.
    Exit(Pid),
    /// A request; `target` is the process that its id stood for when it was sent.
    Call {
        /// Where its result goes.
        place: usize,
        /// What is asked.
        call: Call,
        /// For a call by id.
        target: Option<ProcessId>,
    },
}

impl World {
    /// Lets everything happen that happens without the outside, except in a suspended supervisor.
    ///
    /// # Errors
    /// If it never comes to rest, or if a child supervisor of the suspended one exits: OTP's parent
    /// hears of it behind what is in its mailbox, and the kernel's at once (rule E4).
    pub(super) fn come_to_rest(&mut self, suspended: Option<SupervisorId>) -> Result<(), String> {
        self.bereaved.clear();
        loop {
            self.carry_out();
            if suspended.is_some_and(|id| self.bereaved.contains(&id)) {
                return Err("a child supervisor of a suspended one exits in a burst".to_owned());
            }
            if !self.clock.is_sound() {
                return Err("too many waits and retries within one second".to_owned());
            }
            if self.serve_one(suspended) || self.retry(suspended) {
                continue;
            }
            if !self.wait()? {
                return Ok(());
            }
        }
    }

    /// Hands one message to one supervisor that can take it.
    fn serve_one(&mut self, suspended: Option<SupervisorId>) -> bool {
        let next = self.sups.iter().find(|(id, sup)| {
            Some(**id) != suspended
                && sup.mailbox.front().is_some_and(|message| match self.tree.supervisor(**id) {
                    // The machine keeps a death in order itself, behind what it is doing.
                    Some(Machine::Static(machine)) => {
                        matches!(message, Message::Exit(_)) || !machine.is_busy()
                    }
                    Some(Machine::Dynamic(machine)) => !machine.is_terminating(),
                    None => false,
                })
        });
        let Some(id) = next.map(|(id, _)| *id) else { return false };
        let message = self.sups.get_mut(&id).and_then(|sup| sup.mailbox.pop_front());
        match message {
            Some(Message::Exit(pid)) => self.hand_over_exit(ProcessId { supervisor: id, pid }),
            Some(Message::Call { place, call, target }) => self.serve(id, place, &call, target),
            None => return false,
        }
        true
    }

    /// Lets the retries of supervisors happen that have nothing else to do.
    fn retry(&mut self, suspended: Option<SupervisorId>) -> bool {
        let due = self.sups.iter().filter(|(id, sup)| {
            Some(**id) != suspended && sup.mailbox.is_empty() && !self.is_blocked(**id)
        });
        let Some(at) = due.filter_map(|(id, _)| self.retry_of(*id)).min() else { return false };
        self.clock.advance(at);
        self.fire(at);
        true
    }

    /// Lets time pass until a slow worker exits or a patient supervisor loses its patience.
    fn wait(&mut self) -> Result<bool, String> {
        let slow = self.slow.first().copied();
        let timer = self.tree.poll_timeout();
        let at = match (slow, timer) {
            (Some((exit, process)), timer) if timer.is_none_or(|timer| exit <= timer) => {
                self.slow.remove(&(exit, process));
                self.clock.advance(exit);
                self.rewind();
                self.die(process, serde_json::json!("shutdown"), "sup");
                self.hand_over_exit(process);
                return Ok(true);
            }
            (_, Some(timer)) => timer,
            (_, None) if self.sups.keys().any(|id| self.is_blocked(*id)) => {
                return Err("a supervisor waits for ever for a child to stop".to_owned());
            }
            (_, None) => return Ok(false),
        };
        self.clock.advance(at);
        self.fire(at);
        self.rewind();
        Ok(true)
    }

    /// While a retry is due that still has messages before it, its supervisor's waits take no time.
    fn rewind(&mut self) {
        let due = self.sups.keys().filter_map(|id| self.retry_of(*id)).min();
        let Some(due) = due.filter(|due| *due < self.clock.now) else { return };
        let by: Duration = self.clock.now.saturating_since(due);
        self.clock.now = due;
        let slow = core::mem::take(&mut self.slow);
        self.slow = slow.into_iter().map(|(at, p)| (at.saturating_sub(by), p)).collect();
    }

    fn fire(&mut self, at: Instant) {
        let mut actions = Vec::new();
        self.tree.handle_timeout(at, &mut actions);
        self.put_first(actions);
    }

    fn is_blocked(&self, id: SupervisorId) -> bool {
        self.tree.supervisor(id).is_some_and(|machine| match machine {
            Machine::Static(machine) => machine.is_busy(),
            Machine::Dynamic(machine) => machine.is_terminating(),
        })
    }

    /// When a supervisor's next retry is due.
    fn retry_of(&self, id: SupervisorId) -> Option<Instant> {
        let children = self.tree.supervisor(id)?.which_children();
        let retries = children.into_iter().filter_map(|(_, state)| match state {
            ChildState::Restarting { at } => Some(at),
            ChildState::Starting(_)
            | ChildState::Up(_)
            | ChildState::Stopping(_)
            | ChildState::Down => None,
        });
        retries.min()
    }
}

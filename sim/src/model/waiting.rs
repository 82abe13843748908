//! The mailbox: where the program blocks, and what it does with what it was not waiting for.

use lictor_kernel::{ExitReason, Instant};

use super::{Blocking, Heard, Input, Interrupt, Message, Program};

impl Program<'_> {
    /// `receive` in the main loop: the oldest message. A death goes before a retry of its instant,
    /// for the retry was sent behind what was already in (5).
    pub(super) fn receive(&mut self) -> Blocking<Message> {
        loop {
            let retries = self.children.iter().filter_map(|child| {
                let at = child.restarts_at()?;
                Some((at, child.waits_since, child.id))
            });
            let retry = retries.min().map(|(at, _, id)| (at, id));
            if let Some((_, _, died)) = self.mailbox.first() {
                if let Some((at, id)) = retry
                    && at < *died
                {
                    return Ok(Message::Retry(id));
                }
                let (pid, reason, at) = self.mailbox.remove(0);
                return Ok(Message::Death(pid, reason, at));
            }
            // Overdue, because something else held us up.
            if let Some((at, id)) = retry
                && at < self.now
            {
                return Ok(Message::Retry(id));
            }
            self.busy = false;
            let Some(input) = self.next(retry.map(|(at, _)| at))? else {
                if let Some((_, id)) = retry {
                    return Ok(Message::Retry(id));
                }
                continue;
            };
            match input {
                Input::Event(event) => self.heard_elsewhere(event),
                Input::Start | Input::Timeout => {}
                Input::Shutdown(deadline) => {
                    self.stop_deadline = deadline;
                    return Err(Interrupt::Told);
                }
                Input::Kill => {
                    self.exiting = Some(ExitReason::Killed);
                    return Err(Interrupt::KillAll);
                }
                Input::StartChild(..)
                | Input::TerminateChild(_)
                | Input::RestartChild(_)
                | Input::DeleteChild(_) => return Ok(Message::Command(input)),
            }
        }
    }

    /// `receive` anywhere else: OTP serves nothing meanwhile.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Blocking<Heard> {
        loop {
            self.busy = self.begun && !self.gone;
            let until = [deadline, self.stop_deadline].into_iter().flatten().min();
            let Some(input) = self.next(until)? else {
                if self.stop_deadline.is_some() && self.stop_deadline == until {
                    return Err(Interrupt::KillAll);
                }
                return Ok(Heard::Deadline);
            };
            match input {
                Input::Event(event) => return Ok(Heard::Event(event)),
                Input::Start => {
                    if !self.begun {
                        self.begun = true;
                        return Ok(Heard::Deadline);
                    }
                }
                Input::Timeout => {}
                Input::Shutdown(_) | Input::Kill if self.gone => {}
                Input::Shutdown(deadline) => {
                    self.stop_deadline = [deadline, self.stop_deadline].into_iter().flatten().min();
                    if self.exiting.is_none() {
                        return Err(Interrupt::Told);
                    }
                }
                Input::Kill => {
                    self.exiting = Some(ExitReason::Killed);
                    return Err(Interrupt::KillAll);
                }
                Input::StartChild(..)
                | Input::TerminateChild(_)
                | Input::RestartChild(_)
                | Input::DeleteChild(_) => self.refuse(input),
            }
        }
    }

    /// The next input, or `None` when `deadline` passes before it. A deadline that falls on the
    /// instant of an input passes only when the input is the timeout itself.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Blocking<Option<Input>> {
        self.timeout = deadline;
        let Some((at, input)) = self.log.get(self.taken).copied() else {
            return Err(Interrupt::NoMoreInput);
        };
        if self.peeked == self.taken {
            // Only what the last input brings about is wanted.
            self.peeked += 1;
            self.actions.clear();
            self.reply = None;
        }
        if self.begun && input == Input::Start {
            // A second `start` is no event at all, not even a moment of time.
            self.taken += 1;
            return Ok(Some(input));
        }
        self.now = at;
        let due = |deadline| deadline < at || (deadline == at && input == Input::Timeout);
        if deadline.is_some_and(due) {
            return Ok(None);
        }
        self.taken += 1;
        Ok(Some(input))
    }
}

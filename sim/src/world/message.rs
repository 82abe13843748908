//! Messages and mailboxes, as the runtime has them: a mailbox belongs to a name and outlives its
//! incarnations; what waits for room waits in order; each message ends once.

use std::collections::VecDeque;
use std::time::Duration;

use lictor_kernel::{CallId, Instant, ProcessId, supervisor};
use lictor_topology::Overflow;

use super::process::{Proc, Slot, State};
use super::sends::Bounds;
use super::{Event, World};
use crate::buggify::Point;
use crate::effects::Effects;
use crate::marks::Mark;
use crate::plan::nanos;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, MessageId, NodeIx, What, Who};
use crate::scenario::{Behaviour, Forward};
use crate::stream::Purpose;

/// How long a moment is, in nanoseconds.
const YIELD: u64 = 1_000;

/// A message under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) id: MessageId,
    /// Who has it, or will.
    pub(super) to: Who,
    /// The question that it is.
    pub(super) question: Option<Question>,
    /// The last node that passed the question on to another: the answer goes back that way.
    pub(super) via: Option<u32>,
    /// How often it was given before.
    pub(super) attempt: u32,
    /// Who passes it on and is not free until it is in.
    pub(super) holder: Option<Slot>,
    /// The frame by which it came, if a broker keeps that until the message has ended here, and to
    /// whom it was then.
    pub(super) carried: Option<(u32, Who)>,
    pub(super) ended: bool,
    /// What may end it before its turn comes.
    pub(super) bounds: Bounds,
}

/// The asker's side of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question {
    /// Where the asker is.
    pub(super) node: NodeIx,
    /// In which boot of that node.
    pub(super) boot: u32,
    /// Its number among the questions of the world.
    pub(super) number: u32,
}

/// A question that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Where it was asked.
    pub(super) node: NodeIx,
    /// By which message.
    pub(super) id: MessageId,
    pub(super) deadline: Instant,
    /// The kernel's number for it, if it went to another node.
    pub(super) call: Option<CallId>,
}

/// What a world knows of an agent's name.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentState {
    /// What is queued, oldest first.
    pub(super) mailbox: VecDeque<u32>,
    /// What waits for room, oldest first.
    pub(super) waiting: VecDeque<u32>,
    /// Its processes: more than one only if the kernel is wrong.
    pub(super) slots: Vec<Slot>,
    /// Down for good: everything is refused.
    pub(super) closed: bool,
    pub(super) suspended: bool,
    /// Starts so far.
    pub(super) starts: u64,
    /// Messages given so far, to all incarnations.
    pub(super) given: u64,
    /// Ticks so far.
    pub(super) ticks: u32,
    pub(super) last_end: Option<Instant>,
    /// What the kernel was told of the last end, in this boot of the node.
    pub(super) last_fact: Option<(ProcessId, supervisor::Event)>,
    pub(super) effects: Effects,
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    pub(super) fn behaviour(&self, who: Who) -> Option<&Behaviour> {
        self.plan.scenario.agent(who).map(|agent| &agent.behaviour)
    }

    /// A message comes into being on a node.
    pub(super) fn send(&mut self, node: NodeIx, id: MessageId, to: Who, within: Option<Duration>) {
        let question = within.map(|within| self.ask(node, id, within));
        self.put_on_its_way(node, id, to, question, Bounds::NONE);
    }

    /// As [`World::send`], for a message that asks nothing and may be over before its turn.
    pub(super) fn send_bounded(&mut self, node: NodeIx, id: MessageId, to: Who, bounds: Bounds) {
        self.put_on_its_way(node, id, to, None, bounds);
    }

    fn put_on_its_way(
        &mut self,
        node: NodeIx,
        id: MessageId,
        to: Who,
        question: Option<Question>,
        bounds: Bounds,
    ) {
        self.put(node, What::Sent(id, to, question.is_some()));
        let (via, holder, carried) = (None, None, None);
        let (attempt, ended) = (0, false);
        let message = Message { id, to, question, via, attempt, holder, carried, ended, bounds };
        let index = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.messages.push(message);
        self.route(node, index);
    }

    /// Opens a question: it ends by an answer, an error, or its deadline.
    fn ask(&mut self, node: NodeIx, id: MessageId, within: Duration) -> Question {
        let number = u32::try_from(self.questions.len()).unwrap_or(u32::MAX);
        let deadline = self.now.saturating_add(within);
        self.questions.push(Some(Open { node, id, deadline, call: None }));
        self.after(nanos(within), Event::Deadline(number));
        Question { node, boot: self.nodes[usize::from(node.0)].boot, number }
    }

    /// The asker learns how its question has ended, unless it has already.
    pub(super) fn question_ends(&mut self, number: u32, ending: Ending) {
        match self.questions[number as usize].take() {
            Some(Open { node, id, .. }) => {
                if ending == Ending::TimedOut {
                    self.recorder.reach(Mark::AskTimedOut);
                }
                self.put(node, What::Answered(id, ending));
            }
            None if ending == Ending::Answered => self.recorder.reach(Mark::LateAnswer),
            None => {}
        }
    }

    /// Puts a message into a mailbox of this node, or tells its sender why not.
    pub(super) fn enqueue(&mut self, node: NodeIx, index: u32) {
        let to = self.messages[index as usize].to;
        let Some(agent) = self.plan.scenario.agent(to) else { return };
        let state = &mut self.agents[usize::from(to.0)];
        if state.closed {
            let text = format!("a message is routed to {to:?}, which is down for good");
            return self.recorder.violated("S2", self.now, node, text);
        }
        let full = state.mailbox.len() >= agent.mailbox.size as usize || !state.waiting.is_empty();
        if full {
            self.recorder.reach(Mark::MailboxFull);
            match agent.mailbox.overflow {
                Overflow::Reject => {
                    return self.message_ends(node, index, Fate::Full, Ending::Failed);
                }
                Overflow::DropOldest => {
                    if let Some(oldest) = state.mailbox.pop_front() {
                        self.message_ends(node, oldest, Fate::Evicted, Ending::Failed);
                    }
                }
                Overflow::Wait => {
                    state.waiting.push_back(index);
                    let timeout = nanos(self.plan.knobs.send_timeout);
                    return self.after(timeout, Event::NoRoom(index));
                }
            }
        }
        self.admit(node, index);
    }

    /// A message has room.
    fn admit(&mut self, node: NodeIx, index: u32) {
        let message = &mut self.messages[index as usize];
        let (id, to, holder) = (message.id, message.to, message.holder.take());
        self.put(node, What::Queued(id, to));
        self.agents[usize::from(to.0)].mailbox.push_back(index);
        self.next_message(to);
        if let Some(slot) = holder {
            self.passed_on(slot);
        }
    }

    /// Whoever passed a message on is free again.
    pub(super) fn passed_on(&mut self, slot: Slot) {
        if let Some(proc) = self.live(slot) {
            proc.in_hand = None;
            proc.passing = false;
            self.is_free(slot);
        }
    }

    /// A sender gives up waiting for room.
    pub(super) fn no_room(&mut self, index: u32) {
        if self.messages[index as usize].ended || !self.no_longer_waits(index) {
            return;
        }
        let holder = self.messages[index as usize].holder.take();
        let node = self.home_of(self.messages[index as usize].to);
        self.message_ends(node, index, Fate::NoRoom, Ending::Failed);
        if let Some(slot) = holder {
            self.passed_on(slot);
        }
    }

    /// Whether it waited, until now.
    pub(super) fn no_longer_waits(&mut self, index: u32) -> bool {
        let to = self.messages[index as usize].to;
        let waiting = &mut self.agents[usize::from(to.0)].waiting;
        // Who has waited longest gives up first: of many that wait nobody is looked for.
        if waiting.front() == Some(&index) {
            waiting.pop_front();
            return true;
        }
        let before = waiting.len();
        waiting.retain(|other| *other != index);
        waiting.len() != before
    }

    /// Gives an agent its next message, if it is free and there is one.
    pub(super) fn next_message(&mut self, who: Who) {
        if self.agents[usize::from(who.0)].suspended {
            return;
        }
        let Some(slot) = self.up(who) else { return };
        let Some(proc) = self.live(slot) else { return };
        if proc.in_hand.is_some() || proc.told {
            return;
        }
        if self.lease_is_over(slot) {
            // It looks before it takes anything, told or not.
            return;
        }
        let Some(proc) = self.live(slot) else { return };
        let (node, process) = (proc.node, proc.process);
        self.drops_over(node, who, slot);
        // What there was room for then may be in hand already.
        if self.live(slot).is_none_or(|proc| proc.in_hand.is_some()) {
            return;
        }
        let state = &mut self.agents[usize::from(who.0)];
        let Some(index) = state.mailbox.pop_front() else { return };
        state.given += 1;
        let (nth, slow) = (state.given, state.effects.slow);
        let Some(proc) = self.live(slot) else { return };
        proc.in_hand = Some(index);
        proc.given += 1;
        let id = self.messages[index as usize].id;
        self.put(node, What::Delivered(id, process));
        let (from, to) = self.plan.knobs.handle;
        let takes = self.between(Purpose::Handle, who, nth, from, to);
        let delay = self.behaviour(who).map_or(0, |behaviour| nanos(behaviour.delay));
        self.after(takes.saturating_add(slow).saturating_add(delay), Event::Done(slot, index));
        self.room(node, who);
    }

    /// There is room for one that waits.
    pub(super) fn room(&mut self, node: NodeIx, who: Who) {
        let Some(agent) = self.plan.scenario.agent(who) else { return };
        let state = &mut self.agents[usize::from(who.0)];
        if state.mailbox.len() < agent.mailbox.size as usize
            && let Some(index) = state.waiting.pop_front()
        {
            self.admit(node, index);
        }
    }

    /// A process has worked on a message for its time.
    pub(super) fn done(&mut self, slot: Slot, index: u32) {
        let Some(proc) = self.live(slot) else { return };
        if proc.in_hand != Some(index) || proc.passing {
            return;
        }
        let &mut Proc { node, process, given, .. } = proc;
        if self.lease_is_over(slot) {
            return self.dies(slot, lictor_kernel::ExitReason::Killed);
        }
        if self.lets_others_first(process.who) {
            return self.after(YIELD, Event::Done(slot, index));
        }
        if self.fails(process.who, given) || self.checkpoints(slot).is_err() {
            return self.dies(slot, lictor_kernel::ExitReason::Crashed);
        }
        let forward = self.plan.scenario.agent(process.who).map(|agent| agent.forward);
        if let Some(Forward::To(next)) = forward {
            let message = &mut self.messages[index as usize];
            message.to = next;
            message.attempt = 0;
            message.bounds = Bounds::NONE;
            message.holder = Some(slot);
            if let Some(proc) = self.live(slot) {
                proc.passing = true;
            }
            return self.route(node, index);
        }
        if let Some(proc) = self.live(slot) {
            proc.in_hand = None;
        }
        if forward == Some(Forward::Nowhere) {
            self.message_ends(node, index, Fate::Unknown, Ending::Failed);
        } else {
            self.message_ends(node, index, Fate::Handled, Ending::Answered);
        }
        self.wakes_for_nothing(node);
        self.is_free(slot);
    }

    /// Now and then an agent that could go on does a moment later.
    fn lets_others_first(&mut self, who: Who) -> bool {
        let now = self.now.as_nanos();
        self.buggify.fires(Point::ExtraYield, u64::from(who.0), now)
    }

    /// Whether an agent fails at the message that it has in hand.
    fn fails(&self, who: Who, given: u64) -> bool {
        let Some(behaviour) = self.behaviour(who) else { return false };
        if self.calm {
            return false;
        }
        let nth = self.agents[usize::from(who.0)].given;
        behaviour.crash_every.is_some_and(|every| given.is_multiple_of(every))
            || self.streams.chance(
                Purpose::Crash,
                u64::from(who.0),
                nth,
                behaviour.crash_per_million,
            )
    }

    /// A process has nothing in hand: it stops if it was told to, or goes on.
    fn is_free(&mut self, slot: Slot) {
        let Some(proc) = self.live(slot) else { return };
        if proc.told && proc.state == State::Up {
            proc.state = State::Stopping;
            self.begins_to_stop(slot);
        } else {
            let who = proc.process.who;
            self.next_message(who);
        }
    }

    /// A message has ended on this node, and so has the question that it was.
    pub(super) fn message_ends(&mut self, node: NodeIx, index: u32, fate: Fate, ending: Ending) {
        if self.messages[index as usize].ended || (fate == Fate::Gone && self.comes_again(index)) {
            return;
        }
        self.settles(index);
        let message = &mut self.messages[index as usize];
        message.ended = true;
        let (id, question, holder) = (message.id, message.question, message.holder.take());
        let via = message.via;
        self.put(node, What::Ended(id, fate));
        if let Some(question) = question {
            if fate == Fate::Crashed {
                self.recorder.reach(Mark::AskedCrashed);
            }
            self.answer(node, question, via, ending);
        }
        if let Some(slot) = holder {
            self.passed_on(slot);
        }
    }

    /// A message was lost between two nodes: nobody is told.
    pub(super) fn message_lost(&mut self, node: NodeIx, index: u32) {
        let message = &mut self.messages[index as usize];
        if !message.ended {
            message.ended = true;
            let id = message.id;
            self.put(node, What::Ended(id, Fate::Lost));
        }
    }

    /// A question runs into its deadline, unless it is the kernel's to end.
    pub(super) fn deadline(&mut self, number: u32) {
        let open = self.questions[number as usize];
        if open.is_some_and(|open| open.call.is_none()) {
            self.question_ends(number, Ending::TimedOut);
        }
    }

    /// A name is down for good: what is queued are dead letters, and who waits for room is told.
    pub(super) fn close(&mut self, node: NodeIx, who: Who, queued: Fate, ending: Ending) {
        let state = &mut self.agents[usize::from(who.0)];
        state.closed = true;
        let mailbox = std::mem::take(&mut state.mailbox);
        let waiting = std::mem::take(&mut state.waiting);
        for index in mailbox {
            self.message_ends(node, index, queued, ending);
        }
        let refused = if queued == Fate::Gone { Fate::Gone } else { Fate::Down };
        for index in waiting {
            self.message_ends(node, index, refused, ending);
        }
    }

    /// A ticker sends, and will again.
    pub(super) fn tick(&mut self, slot: Slot) {
        // Also one that comes just too late: elsewhere it may be in time.
        self.notes_one_of(Some(slot));
        let Some(&mut Proc { node, process, state: State::Up, told: false, .. }) = self.live(slot)
        else {
            return;
        };
        if self.is_remnant(node) || self.lease_is_over(slot) {
            return;
        }
        let who = process.who;
        let Some(agent) = self.plan.scenario.agent(who) else { return };
        let (Some(ticks), false) = (&agent.behaviour.ticks, self.calm) else { return };
        let state = &mut self.agents[usize::from(who.0)];
        let number = state.ticks;
        state.ticks += 1;
        if ticks.count.is_some_and(|count| number >= count) {
            return self.dies(slot, lictor_kernel::ExitReason::Normal);
        }
        let (every, ask) = (ticks.every, ticks.ask);
        if !state.suspended
            && let Some(to) = agent.ticks_to
        {
            let id = MessageId { ticker: Some(who), number, copy: None };
            self.send(node, id, to, ask);
        }
        self.after(nanos(every), Event::Tick(slot));
    }
}

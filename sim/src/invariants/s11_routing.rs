//! S11: a mailbox gives in the order in which it took, a message that is put back comes first, and
//! a question ends once, with an answer only within its deadline.
//!
//! Source: design.md section 4 (mailbox, calls); kernel rules C2, C3. Since every receiver is fed
//! in the order of its mailbox, so is every pair.
//!
//! S13: a mailbox never holds more than its bound, but for one message that was put back.

use std::collections::VecDeque;
use std::time::Duration;

use lictor_kernel::Instant;

use super::messages::Table;
use super::{Judgement, Verdict, by};
use crate::fault::{Fault, Kind, Target};
use crate::plan::{Act, Plan, nanos};
use crate::record::{Ending, Fate, MessageId, NodeIx, Record, What, Who};

#[derive(Clone, Debug, Default)]
struct Mailbox {
    queue: VecDeque<MessageId>,
    bound: usize,
    /// One that was put back has made it more than its bound.
    over: bool,
    node: NodeIx,
}

#[derive(Clone, Debug)]
pub(super) struct Routing {
    mailboxes: Vec<Mailbox>,
    /// When a question must have ended for an answer to count.
    questions: Table<Question>,
    asked: u64,
    ended: u64,
    /// How long each operation, or each agent's own questions, may take.
    within: Vec<Option<u64>>,
    ticks: Vec<Option<u64>>,
    /// By node: its clock is not the world's.
    odd_clocks: Vec<bool>,
    /// By node: timers may be late there, so that an answer that is late may still be the first.
    late: Vec<bool>,
    /// What is asked over a wire is the kernel's to end, and it looks at the clock.
    by_kernel: bool,
    /// How far time goes in one step, in nanoseconds; 0 where it goes to the next thing.
    pub(super) tick: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Question {
    deadline: Option<Instant>,
    ended: bool,
}

impl Routing {
    pub(super) fn new(plan: &Plan) -> Self {
        let scenario = &plan.scenario;
        let bound = |who| scenario.agent(who).map_or(0, |agent| agent.mailbox.size as usize);
        let mailboxes = scenario.all().map(|(who, _)| Mailbox {
            queue: VecDeque::new(),
            bound: bound(who),
            over: false,
            node: plan.home(who),
        });
        let within = plan.operations.iter().map(|operation| match operation.act {
            Act::Ask(_, within) => Some(nanos(within)),
            _ => None,
        });
        let ticks = scenario.all().map(|(who, _)| {
            let ask = scenario.agent(who)?.behaviour.ticks.as_ref()?.ask?;
            Some(nanos(ask))
        });
        Self {
            mailboxes: mailboxes.collect(),
            questions: Table::default(),
            asked: 0,
            ended: 0,
            within: within.collect(),
            ticks: ticks.collect(),
            late: nodes_with(plan, |kind| matches!(kind, Kind::LateTimers | Kind::Pause)),
            by_kernel: false,
            tick: 0,
            odd_clocks: nodes_with(plan, |kind| matches!(kind, Kind::Skew | Kind::Drift)),
        }
    }

    /// In a world in which the kernel ends what is asked over a wire.
    pub(super) fn by_kernel(self) -> Self {
        Self { by_kernel: true, ..self }
    }

    fn mailbox(&mut self, who: Who) -> &mut Mailbox {
        &mut self.mailboxes[usize::from(who.0)]
    }

    pub(super) fn see(&mut self, record: &Record) -> Judgement {
        match record.what {
            What::Sent(message, to, true) => {
                self.asks(record, message, to);
                Ok(())
            }
            What::Queued(message, who) => {
                let mailbox = self.mailbox(who);
                mailbox.queue.push_back(message);
                by("S13", is_bounded(mailbox, who))
            }
            What::PutBack(message, who) => {
                // It may have had room further on, which who passed it on did not live to take.
                self.forget(message);
                let mailbox = self.mailbox(who);
                mailbox.queue.push_front(message);
                mailbox.over = mailbox.queue.len() > mailbox.bound;
                by("S13", is_bounded(mailbox, who))
            }
            What::Delivered(message, process) => {
                let mailbox = self.mailbox(process.who);
                let first = mailbox.queue.pop_front();
                mailbox.over &= mailbox.queue.len() > mailbox.bound;
                if first == Some(message) {
                    return Ok(());
                }
                Err((
                    "S11",
                    format!("{process:?} is given {message:?}, and {first:?} is before it"),
                ))
            }
            What::Ended(
                message,
                Fate::DeadLetter | Fate::Evicted | Fate::Gone | Fate::Expired | Fate::Crashed,
            ) => {
                self.forget(message);
                Ok(())
            }
            What::Answered(message, ending) => by("S11", self.answered(record.at, message, ending)),
            What::Halted => {
                for mailbox in self.mailboxes.iter_mut().filter(|m| m.node == record.node) {
                    mailbox.queue.clear();
                    mailbox.over = false;
                }
                Ok(())
            }
            What::Over if self.asked != self.ended => {
                Err(("L4", format!("{} questions have not ended", self.asked - self.ended)))
            }
            _ => Ok(()),
        }
    }

    /// A message that ended while it was queued is queued no more.
    fn forget(&mut self, message: MessageId) {
        for mailbox in &mut self.mailboxes {
            if let Some(at) = mailbox.queue.iter().position(|queued| *queued == message) {
                mailbox.queue.remove(at);
                mailbox.over &= mailbox.queue.len() > mailbox.bound;
                return;
            }
        }
    }

    fn asks(&mut self, record: &Record, message: MessageId, to: Who) {
        let now = record.at;
        self.asked += 1;
        let within = match message.ticker {
            Some(who) => self.ticks[usize::from(who.0)],
            None => self.within.get(message.number as usize).copied().flatten(),
        };
        // The kernel keeps the deadlines of questions to other nodes, by its own clock.
        let local = self.mailbox(to).node == record.node;
        let may_be_late = self.late[usize::from(record.node.0)] && (local || !self.by_kernel);
        let odd = self.odd_clocks[usize::from(record.node.0)];
        let within = within.filter(|_| !odd && !may_be_late);
        let deadline =
            within.map(|within| Instant::from_nanos(now.as_nanos().saturating_add(within)));
        *self.questions.of(message) = Question { deadline, ended: false };
    }

    fn answered(&mut self, now: Instant, message: MessageId, ending: Ending) -> Verdict {
        let question = self.questions.of(message);
        if std::mem::replace(&mut question.ended, true) {
            return Err(format!("{message:?} has ended for its asker, and ends again: {ending:?}"));
        }
        let deadline = question.deadline;
        self.ended += 1;
        let tick = Duration::from_nanos(self.tick);
        match (ending, deadline) {
            (Ending::Answered, Some(deadline)) if now > deadline.saturating_add(tick) => {
                Err(format!("{message:?} is answered after its deadline at {deadline:?}"))
            }
            (Ending::TimedOut, Some(deadline)) if now.saturating_add(tick) < deadline => {
                Err(format!("{message:?} times out before its deadline at {deadline:?}"))
            }
            _ => Ok(()),
        }
    }
}

/// Which nodes have a fault of such a kind.
fn nodes_with(plan: &Plan, is_one: fn(Kind) -> bool) -> Vec<bool> {
    let of = |node| {
        let here = |fault: &Fault| fault.target == Target::Node(node);
        plan.faults.iter().any(|fault| is_one(fault.kind) && here(fault))
    };
    plan.scenario.node_ids().map(of).collect()
}

fn is_bounded(mailbox: &Mailbox, who: Who) -> Verdict {
    if mailbox.queue.len() <= mailbox.bound + usize::from(mailbox.over) {
        return Ok(());
    }
    Err(format!(
        "the mailbox of {who:?} holds {}, and its bound is {}",
        mailbox.queue.len(),
        mailbox.bound
    ))
}

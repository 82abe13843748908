//! What becomes of each message: what the kernel world does with its own mailboxes, foretold here
//! of the runtime's.

use lictor_kernel::{ExitReason, Instant};
use lictor_topology::{InHand, Overflow};

use super::ledger::{Ledger, Letter, Phase, Place};
use crate::marks::Mark;
use crate::plan::nanos;
use crate::record::{Ending, Fate, MessageId, NodeIx, Process, What, Who};
use crate::scenario::Forward;
use crate::stream::Purpose;

/// What an agent is to do with a message that it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// How long it takes, in nanoseconds.
    pub(super) takes: u64,
}

/// What an agent does when it has worked on a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// It crashes.
    Fail,
    /// It passes the message on.
    Pass(Who),
    /// It has nobody to pass it on to.
    NoWay,
    /// It answers.
    Answer,
    /// The message is not in hand any more: the node is gone.
    Nothing,
}

impl Ledger {
    /// A message comes into being on a node.
    pub(super) fn sent(&mut self, node: NodeIx, id: MessageId, to: Who, asks: bool) {
        self.put(node, What::Sent(id, to, asks));
        if asks {
            self.questions.insert(id, node);
        }
        let letter = Letter {
            to,
            hop: 0,
            arrived: false,
            place: Place::Away,
            attempt: 0,
            asks,
            refused: None,
            expires: Instant::MAX,
            only_for: None,
        };
        self.letters.insert(id, letter);
    }

    /// It is sent off to its receiver, for the first time or once more; the number of that hop. To
    /// one on the same node it is there at once.
    pub(super) fn leaves(&mut self, node: NodeIx, id: MessageId, to: Who) -> u32 {
        let here = self.node_of(to) == node;
        let Some(letter) = self.letters.get_mut(&id) else { return 0 };
        letter.to = to;
        letter.hop += 1;
        letter.attempt = 0;
        letter.arrived = false;
        letter.refused = None;
        letter.place = Place::Away;
        let hop = letter.hop;
        if hop > 1 {
            // Who passes it on sends a message like any other.
            (letter.expires, letter.only_for) = (Instant::MAX, None);
        }
        if here && self.agent(to).present {
            self.enqueue(node, id, to);
        }
        hop
    }

    /// Whether no frame with it has come yet on this part of its way.
    pub(super) fn is_awaited(&self, id: MessageId, hop: u32) -> bool {
        self.letters.get(&id).is_some_and(|letter| {
            letter.place != Place::Ended && !letter.arrived && letter.hop == hop
        })
    }

    /// A frame with it has come to a node.
    pub(crate) fn arrives(&mut self, node: NodeIx, id: MessageId, hop: u32) {
        let Some(letter) = self.letters.get(&id).copied() else { return };
        if !self.is_awaited(id, hop) {
            return self.put(node, What::Suppressed(id));
        }
        if self.node_of(letter.to) == node && self.agent(letter.to).present {
            self.enqueue(node, id, letter.to);
        } else {
            self.ends(node, id, Fate::Unknown);
        }
    }

    /// A frame with it was lost on its way.
    pub(crate) fn lost(&mut self, node: NodeIx, id: MessageId, hop: u32) {
        let letter = self.letters.get(&id);
        if letter.is_some_and(|letter| letter.hop == hop && !letter.arrived) {
            self.ends(node, id, Fate::Lost);
        }
    }

    fn enqueue(&mut self, node: NodeIx, id: MessageId, to: Who) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.arrived = true;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(facts) = plan.scenario.agent(to) else { return };
        let agent = self.agent(to);
        if agent.closed {
            self.reach(Mark::SentToDown);
            return self.refuses(node, id, Fate::Down);
        }
        let size = facts.mailbox.size.max(1) as usize;
        self.idle_drops_over(to);
        let agent = self.agent(to);
        if agent.mailbox.len() >= size || !agent.waiting.is_empty() {
            self.reach(Mark::MailboxFull);
            match facts.mailbox.overflow {
                Overflow::Reject => return self.refuses(node, id, Fate::Full),
                Overflow::DropOldest => {
                    if let Some(oldest) = self.agent(to).mailbox.pop_front() {
                        self.ends(node, oldest, Fate::Evicted);
                    }
                }
                Overflow::Wait => {
                    self.agent(to).waiting.push_back(id);
                    return self.moves(id, Place::Waiting);
                }
            }
        }
        self.admit(node, id, to);
    }

    fn admit(&mut self, node: NodeIx, id: MessageId, to: Who) {
        self.put(node, What::Queued(id, to));
        self.agent(to).mailbox.push_back(id);
        self.moves(id, Place::Queued);
    }

    fn moves(&mut self, id: MessageId, place: Place) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.place = place;
        }
    }

    fn refuses(&mut self, node: NodeIx, id: MessageId, fate: Fate) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.refused = Some(fate);
        }
        self.ends(node, id, fate);
    }

    /// What the sender of a message was told. It must be what was foretold.
    pub(super) fn told(&mut self, node: NodeIx, id: MessageId, hop: u32, told: Result<(), Fate>) {
        if told.is_ok() && self.still_waits(id, hop) {
            // Its receiver may have dropped what is over, and made room: only this shows it.
            let to = self.letters.get(&id).map(|letter| letter.to);
            to.into_iter().for_each(|to| self.idle_drops_over(to));
        }
        let Some(letter) = self.letters.get(&id).copied() else { return };
        if letter.hop != hop || !self.nodes[usize::from(node.0)].on {
            return;
        }
        let here = self.node_of(letter.to) == node;
        match (told, letter.refused, letter.place) {
            (Ok(()), None, Place::Away) if here => {
                self.violated("S12", node, format!("{id:?} was taken by a mailbox that is not"));
            }
            (Ok(()), None, Place::Waiting) => {
                self.violated("S13", node, format!("{id:?} was taken by a full mailbox"));
            }
            (Ok(()), Some(fate), _) => {
                self.violated("S13", node, format!("{id:?} was taken, and not {fate:?}"));
            }
            (Err(fate), None, Place::Away | Place::Waiting) => {
                self.no_longer_waits(id);
                self.ends(node, id, fate);
            }
            (Err(fate), Some(foretold), _) if fate == foretold => {}
            // It was waiting when the name went down, or its holder ended.
            (Err(_), None, Place::Ended) | (Ok(()), None, _) => {}
            (Err(fate), foretold, place) => {
                let text = format!("{id:?} was refused as {fate:?}, and is {place:?} {foretold:?}");
                self.violated("S13", node, text);
            }
        }
    }

    /// Whether a message on this hop waits for room, or never came to its receiver's node.
    pub(super) fn still_waits(&self, id: MessageId, hop: u32) -> bool {
        let letter = self.letters.get(&id);
        letter.is_some_and(|letter| letter.hop == hop && letter.place == Place::Waiting)
    }

    pub(super) fn no_longer_waits(&mut self, id: MessageId) {
        if let Some(to) = self.letters.get(&id).map(|letter| letter.to) {
            self.agent(to).waiting.retain(|other| *other != id);
        }
    }

    /// A message has ended.
    pub(super) fn ends(&mut self, node: NodeIx, id: MessageId, fate: Fate) {
        let Some(letter) = self.letters.get_mut(&id) else { return };
        if letter.place == Place::Ended {
            return;
        }
        letter.place = Place::Ended;
        let (asks, to) = (letter.asks, letter.to);
        if matches!(fate, Fate::DeadLetter | Fate::Evicted | Fate::Expired | Fate::Crashed) {
            self.agent(to).dead += 1;
        }
        if asks && fate == Fate::Crashed {
            self.reach(Mark::AskedCrashed);
        }
        self.put(node, What::Ended(id, fate));
    }

    /// A name is down for good: what is queued are dead letters, and who waits for room is told.
    pub(super) fn close(&mut self, node: NodeIx, who: Who, queued: Fate) {
        let agent = self.agent(who);
        agent.closed = true;
        let mailbox = std::mem::take(&mut agent.mailbox);
        let waiting = std::mem::take(&mut agent.waiting);
        for id in mailbox {
            self.ends(node, id, queued);
        }
        let refused = if queued == Fate::Gone { Fate::Gone } else { Fate::Down };
        for id in waiting {
            self.ends(node, id, refused);
        }
    }

    /// An incarnation is given a message; `None` if it does not live any more.
    pub(super) fn delivers(&mut self, process: Process, id: MessageId) -> Option<Job> {
        if !self.is(process) {
            return None;
        }
        let who = process.who;
        let node = self.node_of(who);
        self.drops_over(who, process, Some(id));
        self.put(node, What::Delivered(id, process));
        let agent = self.agent(who);
        agent.mailbox.retain(|queued| *queued != id);
        agent.given += 1;
        agent.given_here += 1;
        agent.in_hand = Some(id);
        let (nth, slow) = (agent.given, agent.effects.slow);
        self.moves(id, Place::InHand);
        let plan = std::sync::Arc::clone(&self.plan);
        let facts = plan.scenario.agent(who)?;
        let takes = self.between(Purpose::Handle, who, nth, plan.knobs.handle);
        let takes = takes.saturating_add(slow).saturating_add(nanos(facts.behaviour.delay));
        self.lets_in(node, who);
        Some(Job { takes })
    }

    /// An incarnation has worked on its message for its time.
    pub(super) fn worked(&mut self, process: Process, id: MessageId) -> Then {
        let who = process.who;
        if !self.is(process) || self.agent(who).in_hand != Some(id) {
            return Then::Nothing;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(facts) = plan.scenario.agent(who) else { return Then::Nothing };
        let (given, nth) = (self.agent(who).given_here, self.agent(who).given);
        let behaviour = &facts.behaviour;
        let by_count = behaviour.crash_every.is_some_and(|every| given.is_multiple_of(every));
        let per_million = behaviour.crash_per_million;
        let by_chance = self.streams.chance(Purpose::Crash, u64::from(who.0), nth, per_million);
        if !self.calm && (by_count || by_chance) {
            return Then::Fail;
        }
        match facts.forward {
            Forward::To(next) => Then::Pass(next),
            Forward::Nowhere => Then::NoWay,
            Forward::No => Then::Answer,
        }
    }

    /// An incarnation has nothing in hand any more; what it had has gone on, or ends so.
    pub(super) fn lays_down(&mut self, process: Process, id: MessageId, fate: Option<Fate>) {
        let node = self.node_of(process.who);
        if self.is(process) {
            self.agent(process.who).in_hand = None;
        }
        if let Some(fate) = fate {
            self.ends(node, id, fate);
        }
        self.idle_drops_over(process.who);
    }

    /// An incarnation ends with a message in hand.
    pub(super) fn drops(&mut self, process: Process, id: MessageId, reason: ExitReason) {
        if !self.is(process) || self.agent(process.who).in_hand.take() != Some(id) {
            return;
        }
        let who = process.who;
        let node = self.node_of(who);
        self.no_longer_waits(id);
        let kept = self.room_kept(node, id, who);
        self.falls(node, id, who, reason);
        if let Some(to) = kept {
            self.lets_in(node, to);
        }
    }

    /// A message was being passed on, and there was room that its sender had not taken yet: with
    /// the sender that is given up. The name whose mailbox it is.
    fn room_kept(&mut self, node: NodeIx, id: MessageId, who: Who) -> Option<Who> {
        let letter = self.letters.get(&id)?;
        let (to, place) = (letter.to, letter.place);
        if to == who || place != Place::Queued || self.node_of(to) != node {
            return None;
        }
        self.agent(to).mailbox.retain(|queued| *queued != id);
        Some(to)
    }

    /// Who waits first comes in, if there is room.
    pub(super) fn lets_in(&mut self, node: NodeIx, who: Who) {
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(facts) = plan.scenario.agent(who) else { return };
        let agent = self.agent(who);
        if agent.mailbox.len() < facts.mailbox.size.max(1) as usize
            && let Some(next) = agent.waiting.pop_front()
        {
            self.admit(node, next, who);
        }
    }

    /// What was in hand when its agent ended.
    fn falls(&mut self, node: NodeIx, id: MessageId, who: Who, reason: ExitReason) {
        if reason.is_clean() {
            return self.ends(node, id, Fate::Handled);
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(facts) = plan.scenario.agent(who) else { return };
        let Some(letter) = self.letters.get_mut(&id) else { return };
        // Also one that it was passing on, and that waited for room: it ends with who had it.
        letter.to = who;
        match facts.in_hand {
            InHand::Redeliver if letter.attempt < facts.max_retries => {
                letter.attempt += 1;
                letter.place = Place::Queued;
                letter.only_for = None;
                self.agent(who).mailbox.push_front(id);
                self.put(node, What::PutBack(id, who));
            }
            InHand::Redeliver | InHand::DeadLetter => self.ends(node, id, Fate::DeadLetter),
            InHand::Drop => self.ends(node, id, Fate::Crashed),
        }
    }

    /// How the answer that an asker got ends its question.
    pub(super) fn answered(&mut self, node: NodeIx, id: MessageId, ending: Ending) {
        if self.nodes[usize::from(node.0)].on {
            self.question_ends(id, ending);
        }
    }

    /// Whether this incarnation is up and goes on.
    pub(super) fn works(&self, process: Process) -> bool {
        let agent = &self.agents[usize::from(process.who.0)];
        agent.process == Some(process) && agent.phase == Phase::Up && !agent.told
    }
}

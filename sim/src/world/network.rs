//! What goes over the links between nodes, and what the kernels say to each other. The answer to a
//! question is a frame like any other.

use std::sync::Arc;

use lictor_kernel::membership::{Claim, Frame as Said, PeerChange};
use lictor_kernel::node::{self, Action, Callee};
use lictor_kernel::remote::Frame as Children;
use lictor_kernel::{
    CallId, CallOutcome, Ended, NodeId, Owner, ReplyOutcome, Route, Router, Undeliverable,
};

use super::message::Question;
use super::{Event, World};
use crate::buggify::Point;
use crate::link::{LATE_FRAME, Link, Offered, Way};
use crate::marks::Mark;
use crate::plan::nanos;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, NodeIx, What, Who};
use crate::stream::Purpose;

/// Something on a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) from: NodeIx,
    pub(super) to: NodeIx,
    pub(super) number: u64,
    /// In which boot of the sender.
    pub(super) boot: u32,
    pub(super) load: Load,
    /// On which connection to the broker it is published.
    pub(super) connection: u32,
    /// In how many places it is, of those from which it can still arrive.
    pub(super) copies: u16,
    /// How often it was published again.
    pub(super) published: u8,
    /// It goes by a stream, which keeps it.
    pub(super) stored: bool,
    /// Its sender keeps it, to publish it again.
    pub(super) outbox: bool,
    /// Its receiver has it.
    pub(super) taken: bool,
    /// The network has kept it over the end of its sender.
    pub(super) late: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// What one kernel says to another, and of whom.
    Said(Said, Option<Who>),
    /// What one kernel says to another about children, and of whom.
    Children(Children, Option<Who>),
    /// A message, for this boot of the receiver.
    Message(u32, u64),
    Answer(Question, Option<u32>, Ending),
}

/// What a call over a wire is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Called {
    /// The question of this number.
    Question(u32),
    /// A question that was passed on.
    Relay(u32),
}

/// A node that has passed a question on to another, and gets the answer first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    node: NodeIx,
    boot: u32,
    call: CallId,
    question: Question,
    /// The one before it.
    back: Option<u32>,
}

impl Frame {
    const fn new(from: NodeIx, to: NodeIx, number: u64, boot: u32, load: Load) -> Self {
        let (connection, copies, published) = (0, 1, 0);
        let (stored, outbox, taken, late) = (false, false, false, false);
        Self {
            from,
            to,
            number,
            boot,
            load,
            connection,
            copies,
            published,
            stored,
            outbox,
            taken,
            late,
        }
    }
}

const fn pair(from: NodeIx, to: NodeIx) -> u64 {
    (from.0 as u64) << 8 | to.0 as u64
}

pub(super) const fn id(node: NodeIx) -> NodeId {
    NodeId(node.0 as u64)
}

impl<'p, Q: EventQueue<Event>> World<'p, Q> {
    pub(super) fn link(&mut self, from: NodeIx, to: NodeIx) -> &mut Link {
        self.links.at(from, to)
    }

    /// Where a message goes from this node, and on its way.
    pub(super) fn route(&mut self, node: NodeIx, index: u32) {
        let to = self.messages[index as usize].to;
        match self.route_to(node, to) {
            Route::Local { .. } if self.home_of(to) == node => self.enqueue(node, index),
            // The node only says that it has the name.
            Route::Local { .. } => self.message_ends(node, index, Fate::Unknown, Ending::Failed),
            Route::Remote { node: at, epoch, .. } => {
                self.send_away(node, (NodeIx::of(at), epoch), index)
            }
            Route::Undeliverable(Undeliverable::Down) => {
                self.recorder.reach(Mark::SentToDown);
                self.message_ends(node, index, Fate::Down, Ending::Failed);
            }
            Route::Undeliverable(_) => {
                self.message_ends(node, index, Fate::Unknown, Ending::Failed);
            }
        }
    }

    /// Whether the receiver of a message lives on this node.
    fn receives(&self, node: NodeIx, index: u32) -> bool {
        self.home_of(self.messages[index as usize].to) == node
    }

    fn route_to(&mut self, node: NodeIx, to: Who) -> Route {
        let now = self.now;
        let scenario = Arc::clone(&self.plan.scenario);
        let this = self.node(node);
        let name = if scenario.entity(to).node == node {
            this.name(to)
        } else {
            this.kernel.names().lookup(&scenario.entity(to).name)
        };
        match name {
            Some(name) if this.on => {
                Router::route(this.clock.shows(now), this.kernel.registry(), name)
            }
            _ => Route::Undeliverable(Undeliverable::NoSuchName),
        }
    }

    /// A message leaves for another node.
    fn send_away(&mut self, node: NodeIx, (to, boot): (NodeIx, u64), index: u32) {
        let (question, via) =
            (self.messages[index as usize].question, self.messages[index as usize].via);
        match question {
            Some(question) if question.node == node && via.is_none() => {
                self.begin_call(node, to, question);
            }
            Some(question) => self.relays(node, to, question, index),
            None => {}
        }
        if self.post(node, to, Load::Message(index, boot)).is_err() {
            self.recorder.reach(Mark::LinkOverflow);
            self.message_ends(node, index, Fate::LinkFull, Ending::Failed);
            return;
        }
        self.settles(index);
        if let Some(slot) = self.messages[index as usize].holder.take() {
            self.passed_on(slot);
        }
    }

    /// A question to another node is the kernel's to end.
    fn begin_call(&mut self, node: NodeIx, to: NodeIx, question: Question) {
        let Some(open) = self.questions[question.number as usize] else { return };
        let now = self.now;
        let this = self.node(node);
        let left = open.deadline.saturating_since(now);
        let deadline = this.clock.shows(now).saturating_add(left);
        let (_, _, _, calls) = this.kernel.parts();
        if let Ok(call) = calls.begin(Callee::Node(id(to)), deadline) {
            this.calls.insert(call, Called::Question(question.number));
            self.called.insert(question.number, call);
            if let Some(open) = &mut self.questions[question.number as usize] {
                open.call = Some(call);
            }
        }
        self.reset_due(node);
    }

    /// A question that came from elsewhere is passed on to another node.
    fn relays(&mut self, node: NodeIx, to: NodeIx, question: Question, index: u32) {
        let this = self.node(node);
        let boot = this.boot;
        let (_, _, _, calls) = this.kernel.parts();
        // Its deadline is the asker's affair.
        let Ok(call) = calls.begin(Callee::Node(id(to)), lictor_kernel::Instant::MAX) else {
            return;
        };
        let number = u32::try_from(self.relays.len()).unwrap_or(u32::MAX);
        self.node(node).calls.insert(call, Called::Relay(number));
        let message = &mut self.messages[index as usize];
        let back = message.via.replace(number);
        self.relays.push(Relay { node, boot, call, question, back });
    }

    /// An answer goes to who asked, the way on which the question came.
    pub(super) fn answer(
        &mut self,
        node: NodeIx,
        question: Question,
        via: Option<u32>,
        ending: Ending,
    ) {
        let to = via.map_or(question.node, |relay| self.relays[relay as usize].node);
        if to != node && !self.node(node).on {
            // A node that is gone answers nobody.
            return;
        }
        if let Some(relay) = via.filter(|_| to == node) {
            // It could not be passed on.
            return self.relay_answered(node, relay, ending);
        }
        if to == node {
            self.question_ends(question.number, ending);
        } else if self.post(node, to, Load::Answer(question, via, ending)).is_err() {
            // The one who asked has a deadline.
            self.recorder.reach(Mark::LinkOverflow);
        }
    }

    /// An answer has come to a node that had passed its question on.
    fn relay_answered(&mut self, node: NodeIx, relay: u32, ending: Ending) {
        let now = self.now;
        let Relay { boot, call, .. } = self.relays[relay as usize];
        let this = self.node(node);
        if this.boot != boot {
            return;
        }
        let shown = this.clock.shows(now);
        let (_, _, _, calls) = this.kernel.parts();
        if calls.reply(shown, call) == ReplyOutcome::Delivered {
            this.calls.remove(&call);
            self.relay_ends(relay, ending);
        }
    }

    fn relay_ends(&mut self, relay: u32, ending: Ending) {
        let Relay { node, question, back, .. } = self.relays[relay as usize];
        self.answer(node, question, back, ending);
    }

    /// Puts something on a link, which may lose it.
    pub(super) fn post(&mut self, from: NodeIx, to: NodeIx, load: Load) -> Result<(), ()> {
        let boot = self.node(from).boot;
        let (whose, now) = (pair(from, to), self.now.as_nanos());
        // When all has healed nothing is lost any more: it could be what a peer is given up for.
        let short = !self.calm && self.buggify.fires(Point::ShortQueue, whose, now);
        let admitted = self.links.at(from, to).admit(&self.plan.knobs).filter(|_| !short);
        let Some(number) = admitted else {
            self.put(from, What::FrameLost(to));
            return Err(());
        };
        let index = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        self.frames.push(Frame::new(from, to, number, boot, load));
        self.put(from, What::FrameSent(to));
        if !self.leaves(index) {
            return Ok(());
        }
        let late = self.buggify.amount(Point::LateFrame, whose, number, LATE_FRAME);
        let way = Way { late, ..self.way(from, to, boot) };
        match self.links.at(from, to).offer(&way, number, index) {
            Offered::Lost => self.lose(index),
            Offered::Held => {}
            // Whoever hears nonsense hangs up.
            Offered::Spoilt(_, at) => {
                self.link(from, to).leaves();
                self.lose(index);
                self.queue.push(at, Event::Breaks(from, to));
            }
            Offered::Arrives(at, again) => {
                self.queue.push(at, Event::Arrives(index));
                if let Some(at) = again {
                    self.frames[index as usize].copies += 1;
                    self.queue.push(at, Event::Arrives(index));
                }
            }
        }
        Ok(())
    }

    pub(super) fn way(&self, from: NodeIx, to: NodeIx, boot: u32) -> Way<'p> {
        // With a broker it is the way from there that a slow receiver makes longer.
        let slow = if self.brokered.is_some() { 0 } else { self.nodes[usize::from(to.0)].slow };
        let (knobs, now) = (&self.plan.knobs, self.now.as_nanos());
        Way { streams: self.streams, knobs, from, to, boot, now, slow, late: 0 }
    }

    /// Carries another copy of a frame.
    pub(super) fn carry_again(&mut self, index: u32, copy: u64) {
        let Frame { from, to, number, boot, .. } = self.frames[index as usize];
        let way = self.way(from, to, boot);
        let at = self.links.at(from, to).again(&way, number, copy);
        self.queue.push(at, Event::Arrives(index));
    }

    /// Carries a frame to its end of the link.
    pub(super) fn carry(&mut self, index: u32) {
        let Frame { from, to, number, boot, .. } = self.frames[index as usize];
        let way = self.way(from, to, boot);
        let at = self.links.at(from, to).arrival(&way, number, 0);
        self.queue.push(at, Event::Arrives(index));
    }

    /// A frame is lost, and with it the message that it carried, unless there is another copy.
    pub(super) fn lose(&mut self, index: u32) {
        let Frame { from, to, load, .. } = self.frames[index as usize];
        self.put(from, What::FrameLost(to));
        if self.brokered.is_some() {
            return self.one_copy_less(index);
        }
        if let Load::Message(message, _) = load {
            self.message_lost(from, message);
        }
    }

    pub(super) fn arrives(&mut self, index: u32) {
        if self.is_kept(index) {
            return;
        }
        let frame = self.frames[index as usize];
        let Frame { from, to, number, load, .. } = frame;
        self.link(from, to).leaves();
        if self.brokered.is_some() {
            return self.at_broker(index);
        }
        let link = self.link(from, to);
        if link.cuts() || link.has_lost(number) || !self.node(to).on {
            let first = !self.link(from, to).seen.contains(&number);
            if first {
                self.lose(index);
            }
            return;
        }
        if self.is_of_old(&frame) {
            return self.lose(index);
        }
        if let Load::Message(message, _) = load {
            let first = self.link(from, to).is_first(number);
            if !first || self.messages[message as usize].ended {
                let id = self.messages[message as usize].id;
                return self.put(to, What::Suppressed(id));
            }
        }
        self.received(frame);
    }

    /// Whether a message or an answer is for an earlier boot of its receiver (whoever sent it did
    /// not know yet that the node has booted again), or of an earlier boot of its sender than one
    /// that was taken. What a stream keeps outlives that, and is for any boot.
    pub(super) fn is_of_old(&mut self, frame: &Frame) -> bool {
        let &Frame { from, to, boot, .. } = frame;
        let meant = match frame.load {
            Load::Message(_, meant) if !frame.stored => meant,
            Load::Answer(_, Some(relay), _) => u64::from(self.relays[relay as usize].boot),
            Load::Answer(question, None, _) => u64::from(question.boot),
            Load::Message(..) | Load::Said(..) | Load::Children(..) => return false,
        };
        let here = self.node(to).boot;
        if meant != u64::from(here) {
            return true;
        }
        let taken = &mut self.taken[usize::from(to.0) * self.nodes.len() + usize::from(from.0)];
        let newest = if taken.0 == here { taken.1.max(boot) } else { boot };
        *taken = (here, newest);
        boot < newest
    }

    /// A frame has come to its receiver, which has not had it before.
    pub(super) fn received(&mut self, Frame { from, to, load, .. }: Frame) {
        match load {
            Load::Said(said, who) => self.hears(to, from, said, who),
            Load::Children(said, who) => self.hears_of_children(to, from, said, who),
            Load::Message(message, _) => self.accept(to, message),
            Load::Answer(_, Some(relay), ending) => self.relay_answered(to, relay, ending),
            Load::Answer(question, None, ending) => self.answered(to, question, ending),
        }
    }

    /// A message has come to a node.
    pub(super) fn accept(&mut self, node: NodeIx, message: u32) {
        match self.route_to(node, self.messages[message as usize].to) {
            Route::Local { .. } if self.receives(node, message) => {
                self.lives_on(message);
                self.enqueue(node, message);
            }
            // Whoever sent it here knew old news, or this node only says that it has the name. It
            // is not sent on: two nodes with old news of each other would send it for ever.
            Route::Local { .. } | Route::Remote { .. } | Route::Undeliverable(_) => {
                self.message_ends(node, message, Fate::Unknown, Ending::Failed);
            }
        }
    }

    /// An answer has come to the node of who asked.
    fn answered(&mut self, node: NodeIx, question: Question, ending: Ending) {
        let now = self.now;
        let this = self.node(node);
        if question.boot != this.boot {
            return;
        }
        let open = self.questions[question.number as usize];
        // Also of a question that has ended the kernel knows that there was one.
        let call = open.and_then(|open| open.call);
        let Some(call) = call.or_else(|| self.called.get(&question.number).copied()) else {
            return self.question_ends(question.number, ending);
        };
        let this = self.node(node);
        let shown = this.clock.shows(now);
        let (_, _, _, calls) = this.kernel.parts();
        let outcome = calls.reply(shown, call);
        if outcome == ReplyOutcome::Delivered {
            this.calls.remove(&call);
        }
        self.reset_due(node);
        match outcome {
            ReplyOutcome::Delivered => self.question_ends(question.number, ending),
            // If its deadline is late, it will end the call yet.
            ReplyOutcome::Late => self.recorder.reach(Mark::LateAnswer),
            ReplyOutcome::Unknown => {
                let text = format!("the answer to {question:?} is taken for one to no question");
                self.recorder.violated("S11", now, node, text);
            }
        }
    }

    /// A kernel hears what another has said. Names are text on a wire.
    fn hears(&mut self, node: NodeIx, from: NodeIx, said: Said, who: Option<Who>) {
        if self.node(node).left {
            // It has said goodbye, and listens no more.
            return;
        }
        let scenario = Arc::clone(&self.plan.scenario);
        let this = self.node(node);
        let name = who.map(|who| this.kernel.intern_remote(&scenario.entity(who).name));
        let tags = who.and_then(|who| scenario.agent(who)).map(|agent| &agent.capabilities);
        let said = match (said, name) {
            (Said::Claim { epoch, claim, .. }, Some(Ok(name))) => {
                let tags = tags.into_iter().flatten().map(String::as_str);
                let Ok(capabilities) = this.kernel.intern_tags(tags) else { return };
                Said::Claim { epoch, name, claim: Claim { capabilities, ..claim } }
            }
            (Said::Withdraw { epoch, incarnation, .. }, Some(Ok(name))) => {
                Said::Withdraw { epoch, name, incarnation }
            }
            (Said::Claim { .. } | Said::Withdraw { .. }, _) => return,
            (other, _) => other,
        };
        self.step_kernel(node, |kernel, now, actions| {
            kernel.handle(now, node::Event::Peer(id(from), said), actions);
        });
        self.is_of_newest(node, from, said);
    }

    /// S10: what an older boot of a node claims does not count once its peer knows the newer one.
    fn is_of_newest(&mut self, node: NodeIx, from: NodeIx, said: Said) {
        let heard = &mut self.heard[usize::from(node.0) * self.nodes.len() + usize::from(from.0)];
        let (boot, claimed) = (self.nodes[usize::from(node.0)].boot, said.epoch());
        // A node that has booted knows nothing of what it heard before.
        *heard = if heard.0 == boot { (boot, heard.1.max(claimed)) } else { (boot, claimed) };
        let newest = heard.1;
        let Said::Claim { name, .. } = said else { return };
        if claimed == newest {
            return;
        }
        let entry = self.node(node).kernel.registry().lookup(name);
        if let Some(Owner::Remote { node: owner, epoch, .. }) = entry.map(|entry| entry.owner)
            && (owner, epoch) == (id(from), claimed)
        {
            let text = format!(
                "a claim of boot {claimed} of node {} counts, and boot {newest} was \
                                heard",
                from.0
            );
            self.recorder.violated("S10", self.now, node, text);
        }
    }

    /// What a kernel wants with its peers.
    pub(super) fn peer_action(&mut self, node: NodeIx, action: Action) {
        match action {
            Action::Send(to, said) => {
                let who = match said {
                    Said::Claim { name, .. } | Said::Withdraw { name, .. } => {
                        self.node(node).who(name)
                    }
                    Said::Hello { .. }
                    | Said::Probe { .. }
                    | Said::Alive { .. }
                    | Said::Bye { .. } => None,
                };
                // What is lost is asked for again.
                let _ = self.post(node, NodeIx::of(to), Load::Said(said, who));
            }
            Action::Peer(peer, PeerChange::Up(_)) => self.put(node, What::PeerUp(NodeIx::of(peer))),
            Action::Peer(peer, PeerChange::Down) => {
                self.put(node, What::PeerDown(NodeIx::of(peer)))
            }
            Action::CallEnded(Ended { call, outcome }) => {
                let Some(called) = self.node(node).calls.remove(&call) else { return };
                let ending = match outcome {
                    CallOutcome::TimedOut => Ending::TimedOut,
                    CallOutcome::CalleeDown(_) => Ending::Failed,
                };
                match called {
                    Called::Question(number) => self.question_ends(number, ending),
                    Called::Relay(relay) => self.relay_ends(relay, ending),
                }
            }
            Action::Remote(..)
            | Action::Placed { .. }
            | Action::Hosted { .. }
            | Action::Diverted(_)
            | Action::Leased { .. } => self.remote_action(node, action),
            Action::Peer(_, PeerChange::Suspect)
            | Action::Watch(_)
            | Action::Supervision(_)
            | Action::Status { .. } => {}
        }
    }

    /// A node that has booted looks for the others.
    pub(super) fn joins(&mut self, node: NodeIx) {
        let scenario = Arc::clone(&self.plan.scenario);
        self.joins_broker(node);
        for other in scenario.node_ids().filter(|other| *other != node) {
            self.link(other, node).seen.clear();
            self.step_kernel(node, |kernel, now, actions| {
                let _ = kernel.add_peer(now, id(other), actions);
            });
        }
        if self.brokered.is_none() {
            self.brings_stale(node);
        }
    }

    /// The peers of a node see their connections to it end.
    pub(super) fn hang_up(&mut self, node: NodeIx) {
        if self.brokered.is_some() {
            return self.hangs_up_broker(node);
        }
        let scenario = Arc::clone(&self.plan.scenario);
        for other in scenario.node_ids().filter(|other| *other != node) {
            let (least, most) = self.plan.knobs.latency;
            let whose = u64::from(node.0) << 8 | u64::from(other.0) | 1 << 17;
            let n = self.node(node).boot.into();
            let takes = self.streams.between(Purpose::Latency, whose, n, nanos(least), nanos(most));
            if !self.link(node, other).cuts() {
                self.after(takes, Event::Disconnected(other, node));
            }
        }
    }

    pub(super) fn disconnected(&mut self, node: NodeIx, peer: NodeIx) {
        let waits = !self.still.is_empty() && self.has_to_wait(Event::Disconnected(node, peer));
        if !waits && self.node(node).on && !self.node(node).left {
            self.step_kernel(node, |kernel, now, actions| {
                kernel.handle(now, node::Event::PeerDown(id(peer)), actions);
            });
        }
    }
}

#[cfg(test)]
mod tests;

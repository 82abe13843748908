//! A broker between the nodes: what is sent goes to it, and from it to who has subscribed.
//!
//! Each node has one connection to it and one subject, its own. The links of the world are the way
//! to the broker, so that what is broken between two nodes is broken for what one publishes to the
//! other; a node that is isolated is cut from the broker itself. What is under way on a connection
//! is lost with it, and a client connects anew after a while.
//!
//! With `JetStream`, messages go by the stream and everything else as on NATS. A publisher repeats
//! what was not acknowledged; a node acknowledges what has ended on it. So a message may be in
//! several places at once, and is lost when it is in none: each frame counts its copies.

use std::collections::VecDeque;
use std::time::Duration;

use lictor_kernel::{Instant, NodeId, node};

use super::network::Load;
use super::{Event, World};
use crate::broker::{self, Action, Broker, Client, Config, Medium, Mode, Parcel, Subject};
use crate::fault::{Fault, Kind, Target};
use crate::link::behind;
use crate::plan::nanos;
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, NodeIx, What};
use crate::stream::Purpose;

/// How long a consumer may take before it is given a message again.
const ACK_WAIT: Duration = Duration::from_secs(1);

/// How long a publisher waits for an acknowledgement, and how often it publishes, at most.
const PUBLISH_WAIT: Duration = Duration::from_millis(300);
const PUBLISHES: u8 = 20;

/// How long a client takes to connect anew, in nanoseconds.
const RECONNECT: (u64, u64) = (10_000_000, 250_000_000);

/// What is pending for a slow consumer, at most, while it takes nothing.
const SLOW: usize = 4;

/// The end of a connection that is a node's.
#[derive(Clone, Debug, Default)]
struct Leg {
    /// Which connection: they are counted, so that what belongs to an old one is known.
    connection: u32,
    up: bool,
    /// Faults that cut the node from the broker.
    cuts: u32,
    /// Faults by which it takes nothing.
    slow: u32,
    /// What it does not take.
    stalled: VecDeque<u32>,
    last_arrival: u64,
}

/// A broker and the connections to it.
#[derive(Debug)]
pub(super) struct Brokered {
    broker: Broker,
    medium: Medium,
    legs: Vec<Leg>,
    actions: Vec<Action>,
    /// When it is woken.
    due: Option<Instant>,
}

/// What goes over a connection besides frames from node to node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    /// A client connects.
    Connects(NodeIx, u32),
    /// The broker sees that a connection has ended.
    HungUp(NodeIx, u32),
    /// A publisher learns of a subscription.
    Learns(NodeIx, u32, Subject),
    /// Something comes to who has subscribed to it.
    Delivers(u32, u32),
    /// A publisher learns that it is stored.
    Stored(u32, u32),
    /// A publisher learns that nobody is there.
    NobodyThere(u32, u32),
    /// The broker learns that it was handled.
    Handled(u32, u32),
    /// A publisher publishes again, unless it knows that it need not.
    Again(u32),
    /// The broker wants to be woken.
    Due,
}

/// What draws a time: the numbers are part of what a seed means.
const DOWN: u64 = 1 << 18;
const BACK: u64 = 1 << 19;
const DONE: u64 = 1 << 20;
const JOIN: u64 = 1 << 21;
const LEARN: u64 = 1 << 22;

const fn client(node: NodeIx) -> Client {
    Client(node.0)
}

impl Brokered {
    pub(super) fn new(medium: Medium, nodes: usize) -> Option<Self> {
        let config = Config {
            clients: u8::try_from(nodes).unwrap_or(u8::MAX),
            window: 16,
            ack_wait: ACK_WAIT,
            ..Config::default()
        };
        Some(Self {
            broker: Broker::new(medium, config).filter(|_| nodes > 1)?,
            medium,
            legs: vec![Leg::default(); nodes],
            actions: Vec::new(),
            due: None,
        })
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    fn leg(&mut self, node: NodeIx) -> Option<&mut Leg> {
        self.brokered.as_mut()?.legs.get_mut(usize::from(node.0))
    }

    /// Whether this connection of a node is there at both ends, and nothing cuts it.
    fn holds(&mut self, node: NodeIx, connection: u32) -> bool {
        let on = self.node(node).on;
        let leg = self.leg(node);
        leg.is_some_and(|leg| on && leg.up && leg.cuts == 0 && leg.connection == connection)
    }

    /// Whether a node has its connection to the broker, or needs none.
    pub(super) fn is_connected(&mut self, node: NodeIx) -> bool {
        self.leg(node).is_none_or(|leg| leg.up)
    }

    pub(super) fn connection(&mut self, node: NodeIx) -> u32 {
        self.leg(node).map_or(0, |leg| leg.connection)
    }

    fn wire(&mut self, takes: u64, wire: Wire) {
        self.after(takes, Event::Wire(wire));
    }

    fn latency(&self, whose: u64, n: u64) -> u64 {
        let (least, most) = self.plan.knobs.latency;
        self.streams.between(Purpose::Broker, whose, n, nanos(least), nanos(most))
    }

    pub(super) fn over_wire(&mut self, wire: Wire) {
        match wire {
            Wire::Connects(node, connection) => self.connects(node, connection),
            Wire::HungUp(node, connection) => {
                if self.leg(node).is_some_and(|leg| !leg.up && leg.connection == connection) {
                    self.tell_broker(broker::Event::Disconnected(client(node)));
                }
            }
            Wire::Learns(node, connection, subject) => {
                if self.holds(node, connection) {
                    self.tell_broker(broker::Event::Learned(client(node), subject));
                }
            }
            Wire::Delivers(frame, connection) => self.delivers(frame, connection),
            Wire::Stored(frame, connection) => {
                if self.holds(self.frames[frame as usize].from, connection) {
                    self.leaves_outbox(frame);
                }
            }
            Wire::NobodyThere(frame, connection) => self.nobody_there(frame, connection),
            Wire::Handled(frame, connection) => {
                let node = self.frames[frame as usize].to;
                if self.holds(node, connection) {
                    self.tell_broker(broker::Event::Handled(client(node), Parcel(frame)));
                }
            }
            Wire::Again(frame) => self.publishes_again(frame),
            Wire::Due => {
                let now = self.now;
                let Some(brokered) = &mut self.brokered else { return };
                brokered.due = None;
                let mut actions = std::mem::take(&mut brokered.actions);
                brokered.broker.handle_timeout(now, &mut actions);
                self.carry_out(actions);
            }
        }
    }

    fn tell_broker(&mut self, event: broker::Event) {
        let now = self.now;
        let Some(brokered) = &mut self.brokered else { return };
        let mut actions = std::mem::take(&mut brokered.actions);
        brokered.broker.handle(now, event, &mut actions);
        self.carry_out(actions);
    }

    /// Does what the broker wants, and gives the buffer back.
    fn carry_out(&mut self, mut actions: Vec<Action>) {
        for action in actions.drain(..) {
            self.broker_action(action);
        }
        let Some(brokered) = &mut self.brokered else { return };
        brokered.actions = actions;
        let next = brokered.broker.poll_timeout();
        if let Some(at) = next.filter(|at| brokered.due.is_none_or(|due| *at < due)) {
            brokered.due = Some(at);
            self.queue.push(at.as_nanos(), Event::Wire(Wire::Due));
        }
    }

    fn broker_action(&mut self, action: Action) {
        match action {
            // Whoever offered it looks for it.
            Action::Carry(_) => {}
            Action::Deliver { parcel, .. } => self.goes_down(parcel.0),
            Action::Dropped(Parcel(frame), _) => self.lose(frame),
            Action::Stored { parcel: Parcel(frame), known, .. } => {
                if known {
                    self.one_copy_less(frame);
                }
                let (from, takes) = (self.frames[frame as usize].from, self.back(frame, BACK));
                let connection = self.connection(from);
                self.wire(takes, Wire::Stored(frame, connection));
            }
            Action::Settled(Parcel(frame)) => self.one_copy_less(frame),
            Action::NoResponders(_, Parcel(frame)) => {
                let (from, takes) = (self.frames[frame as usize].from, self.back(frame, BACK));
                let connection = self.connection(from);
                self.wire(takes, Wire::NobodyThere(frame, connection));
            }
            Action::CutOff(Client(node)) => self.loses_connection(NodeIx(node)),
            Action::Forward(Client(node), subject) => {
                let connection = self.connection(NodeIx(node));
                let whose = LEARN | u64::from(node) << 8 | u64::from(subject.0);
                let takes = self.latency(whose, u64::from(connection));
                self.wire(takes, Wire::Learns(NodeIx(node), connection, subject));
            }
        }
    }

    fn back(&self, frame: u32, what: u64) -> u64 {
        let frame = &self.frames[frame as usize];
        let whose = what | u64::from(frame.from.0) << 8 | u64::from(frame.to.0);
        self.latency(whose, frame.number)
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// Whether a frame leaves its node: always, unless there is a broker. If not, it is lost, or
    /// kept for another try.
    pub(super) fn leaves(&mut self, index: u32) -> bool {
        let Some(brokered) = &mut self.brokered else { return true };
        let jetstream = brokered.medium == Medium::JetStream;
        let frame = &mut self.frames[index as usize];
        let (from, to, parcel) = (frame.from, frame.to, Parcel(index));
        frame.connection = brokered.legs[usize::from(from.0)].connection;
        if jetstream && matches!(frame.load, Load::Message(..)) {
            (frame.stored, frame.outbox, frame.copies) = (true, true, 2);
            self.wire(nanos(PUBLISH_WAIT), Wire::Again(index));
        }
        let now = self.now;
        let Some(brokered) = &mut self.brokered else { return true };
        let mut actions = std::mem::take(&mut brokered.actions);
        let offered = broker::Event::Offered(client(from), Subject(to.0), parcel);
        brokered.broker.handle(now, offered, &mut actions);
        let leaves = actions.contains(&Action::Carry(parcel));
        self.carry_out(actions);
        leaves
    }

    /// A frame has come to the broker.
    pub(super) fn at_broker(&mut self, index: u32) {
        let frame = self.frames[index as usize];
        if self.link(frame.from, frame.to).cuts() || !self.holds(frame.from, frame.connection) {
            return self.lose(index);
        }
        let mode = match frame.load {
            Load::Message(..) if frame.stored => Mode::Stored,
            Load::Message(message, _) if self.messages[message as usize].question.is_some() => {
                Mode::Request
            }
            Load::Message(..) | Load::Said(..) | Load::Children(..) | Load::Answer(..) => {
                Mode::Plain
            }
        };
        self.tell_broker(broker::Event::Published {
            from: client(frame.from),
            to: Subject(frame.to.0),
            parcel: Parcel(index),
            size: 0,
            mode,
        });
    }

    /// A frame goes from the broker to its receiver, behind all others.
    fn goes_down(&mut self, index: u32) {
        let takes = self.back(index, DOWN);
        let to = self.frames[index as usize].to;
        let slow = self.node(to).slow;
        let now = self.now.as_nanos();
        let Some(leg) = self.leg(to) else { return };
        let at = now.saturating_add(takes).max(behind(leg.last_arrival, slow, now));
        leg.last_arrival = at;
        let connection = leg.connection;
        self.queue.push(at, Event::Wire(Wire::Delivers(index, connection)));
    }

    fn delivers(&mut self, index: u32, connection: u32) {
        let frame = self.frames[index as usize];
        if !self.holds(frame.to, connection) {
            if !frame.stored {
                self.lose(index);
            }
            return;
        }
        match self.leg(frame.to) {
            Some(leg) if leg.slow > 0 => leg.stalled.push_back(index),
            _ => self.takes(index),
        }
    }

    /// A node takes a frame off its connection.
    fn takes(&mut self, index: u32) {
        let frame = self.frames[index as usize];
        if !frame.stored {
            self.tell_broker(broker::Event::Taken(client(frame.to)));
        }
        let Load::Message(number, _) = frame.load else {
            return if self.is_of_old(&frame) { self.lose(index) } else { self.received(frame) };
        };
        let message = &mut self.messages[number as usize];
        if frame.taken || message.ended {
            let held = message.carried.is_some_and(|(by, _)| by == index);
            let id = message.id;
            if frame.stored && !held {
                self.acknowledges(index);
            }
            return self.put(frame.to, What::Suppressed(id));
        }
        if self.is_of_old(&frame) {
            return self.lose(index);
        }
        let message = &mut self.messages[number as usize];
        message.carried = frame.stored.then_some((index, message.to));
        self.frames[index as usize].taken = true;
        self.accept(frame.to, number);
    }

    fn acknowledges(&mut self, index: u32) {
        let to = self.frames[index as usize].to;
        let (takes, connection) = (self.back(index, DONE), self.connection(to));
        self.wire(takes, Wire::Handled(index, connection));
    }

    /// A message needs nothing more of the frame by which it came.
    pub(super) fn settles(&mut self, message: u32) {
        if let Some((index, _)) = self.messages[message as usize].carried.take() {
            self.acknowledges(index);
        }
    }

    /// A node ends with a message that the broker still has: whether it will come again.
    pub(super) fn comes_again(&mut self, message: u32) -> bool {
        let Some((index, to)) = self.messages[message as usize].carried.take() else {
            return false;
        };
        let frame = &mut self.frames[index as usize];
        if frame.copies == 0 {
            return false;
        }
        frame.taken = false;
        let message = &mut self.messages[message as usize];
        (message.to, message.attempt, message.holder) = (to, 0, None);
        true
    }

    fn nobody_there(&mut self, index: u32, connection: u32) {
        let frame = self.frames[index as usize];
        if !self.holds(frame.from, connection) || self.node(frame.from).boot != frame.boot {
            return self.lose(index);
        }
        if let Load::Message(message, _) = frame.load {
            self.message_ends(frame.from, message, Fate::Unknown, Ending::Failed);
        }
    }

    /// A publisher that was not told in time publishes once more.
    fn publishes_again(&mut self, index: u32) {
        let frame = self.frames[index as usize];
        let Load::Message(message, _) = frame.load else { return };
        if !frame.outbox {
            return;
        }
        let this = self.node(frame.from);
        let is_over = !this.on || this.boot != frame.boot || frame.published >= PUBLISHES;
        if is_over || self.messages[message as usize].ended {
            return self.leaves_outbox(index);
        }
        let connection = self.connection(frame.from);
        let up = self.holds(frame.from, connection);
        let known = &mut self.frames[index as usize];
        known.published += 1;
        self.wire(nanos(PUBLISH_WAIT), Wire::Again(index));
        if up && !self.link(frame.from, frame.to).jammed() {
            let known = &mut self.frames[index as usize];
            known.copies += 1;
            known.connection = connection;
            self.carry_again(index, u64::from(frame.published) + 1);
        }
    }

    fn leaves_outbox(&mut self, index: u32) {
        if std::mem::take(&mut self.frames[index as usize].outbox) {
            self.one_copy_less(index);
        }
    }

    /// One copy of a frame is gone; with the last one its message is.
    pub(super) fn one_copy_less(&mut self, index: u32) {
        let frame = &mut self.frames[index as usize];
        frame.copies = frame.copies.saturating_sub(1);
        let &mut super::network::Frame { from, load, copies, taken, .. } = frame;
        if let Load::Message(message, _) = load
            && copies == 0
            && !taken
        {
            self.message_lost(from, message);
        }
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// A node that has booted looks for the broker.
    pub(super) fn joins_broker(&mut self, node: NodeIx) {
        let connection = self.connection(node);
        let takes = self.latency(JOIN | u64::from(node.0), u64::from(connection));
        if self.brokered.is_some() {
            self.wire(takes, Wire::Connects(node, connection));
        }
    }

    fn connects(&mut self, node: NodeIx, connection: u32) {
        let on = self.node(node).on;
        let Some(leg) = self.leg(node) else { return };
        if !on || leg.up || leg.cuts > 0 || leg.connection != connection {
            return;
        }
        leg.up = true;
        self.tell_broker(broker::Event::Connected(client(node)));
        self.tell_broker(broker::Event::Subscribed(client(node), Subject(node.0)));
        self.brings_stale(node);
        if connection == 0 {
            return;
        }
        for peer in self.plan.scenario.node_ids().filter(|peer| *peer != node) {
            self.step_kernel(node, |kernel, now, actions| {
                let peer = NodeId(u64::from(peer.0));
                kernel.handle(now, node::Event::PeerReachable(peer), actions);
            });
        }
    }

    /// A connection has ended: what is under way on it is lost.
    fn ends_connection(&mut self, node: NodeIx) {
        let Some(leg) = self.leg(node) else { return };
        leg.up = false;
        leg.connection += 1;
        let stalled = std::mem::take(&mut leg.stalled);
        for index in stalled {
            if !self.frames[index as usize].stored {
                self.lose(index);
            }
        }
    }

    /// A connection has ended, and both ends know; the client connects anew.
    pub(super) fn loses_connection(&mut self, node: NodeIx) {
        self.ends_connection(node);
        let Some(leg) = self.leg(node) else { return };
        let connection = leg.connection;
        let (least, most) = RECONNECT;
        let whose = JOIN | u64::from(node.0);
        let n = u64::from(connection);
        let takes = self.streams.between(Purpose::Broker, whose, n, least, most);
        self.wire(takes, Wire::Connects(node, connection));
    }

    /// A connection breaks, and both ends see it.
    pub(super) fn breaks(&mut self, node: NodeIx) {
        if self.leg(node).is_some_and(|leg| leg.up) {
            self.loses_connection(node);
            self.tell_broker(broker::Event::Disconnected(client(node)));
        }
    }

    /// A node is gone. The broker sees that if it is told, or when nobody takes what it sends.
    pub(super) fn leaves_broker(&mut self, node: NodeIx) {
        self.ends_connection(node);
    }

    pub(super) fn hangs_up_broker(&mut self, node: NodeIx) {
        let connection = self.connection(node);
        let takes = self.latency(BACK | u64::from(node.0), u64::from(connection));
        self.wire(takes, Wire::HungUp(node, connection));
    }

    /// A node is cut from the broker, or no longer.
    pub(super) fn cut_from_broker(&mut self, node: NodeIx, begins: bool) {
        let Some(leg) = self.leg(node) else { return };
        leg.cuts = if begins { leg.cuts + 1 } else { leg.cuts.saturating_sub(1) };
        if begins {
            self.breaks(node);
        } else if leg.cuts == 0 && !leg.up {
            self.loses_connection(node);
        }
    }

    /// A fault of the broker begins or ends. Without a broker it is none.
    pub(super) fn at_broker_fault(&mut self, fault: &Fault, begins: bool) {
        let amount = usize::try_from(fault.amount).unwrap_or(usize::MAX);
        match (fault.kind, fault.target) {
            (Kind::RestartBroker, _) => {
                for node in self.plan.scenario.node_ids() {
                    self.loses_connection(node);
                }
                self.tell_broker(broker::Event::Restarted { with_state: amount == 1 });
            }
            (Kind::Redeliver, Target::Node(node)) => {
                self.tell_broker(broker::Event::Repeat(client(node), amount));
            }
            (Kind::HighWater, Target::Node(node)) => {
                let bound = begins.then_some(amount);
                self.tell_broker(broker::Event::Bounded(client(node), bound));
            }
            (Kind::SlowConsumer, Target::Node(node)) => self.slow_consumer(node, begins),
            _ => {}
        }
    }

    fn slow_consumer(&mut self, node: NodeIx, begins: bool) {
        let bound = begins.then_some(SLOW);
        self.tell_broker(broker::Event::Bounded(client(node), bound));
        let Some(leg) = self.leg(node) else { return };
        leg.slow = if begins { leg.slow + 1 } else { leg.slow.saturating_sub(1) };
        if leg.slow == 0 {
            let connection = leg.connection;
            for index in std::mem::take(&mut leg.stalled) {
                self.does(Event::Wire(Wire::Delivers(index, connection)));
            }
        }
    }
}

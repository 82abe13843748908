//! What faults do to the links between nodes, and what the network keeps of a node that is gone.

use super::network::Frame;
use super::{Event, World};
use crate::fault::{Fault, Kind, Target};
use crate::link::Spoilt;
use crate::queue::EventQueue;
use crate::record::NodeIx;

impl<Q: EventQueue<Event>> World<'_, Q> {
    /// A fault of links begins or ends.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the other kinds are not of links")]
    pub(super) fn at_link(&mut self, number: u32, at: Target, fault: &Fault, begins: bool) {
        let amount = fault.amount;
        match (fault.kind, at) {
            (Kind::Flap, _) if begins => {
                self.flapping.insert(number, false);
                self.turns(number);
            }
            (Kind::Flap, target) if self.flapping.remove(&number) == Some(true) => {
                self.cut(target, fault.kind, false);
            }
            (Kind::Partition | Kind::OneWay | Kind::Isolate | Kind::Bridge, target) => {
                self.cut(target, fault.kind, begins);
            }
            (Kind::HalfOpen, target) => self.cut(target, fault.kind, begins),
            (Kind::Refuse, target @ Target::Link(a, b)) => {
                if begins {
                    self.breaks_between(a, b);
                }
                self.cut(target, fault.kind, begins);
            }
            (Kind::PartialFrame, Target::Link(a, b)) => self.link(a, b).spoil(Spoilt::Partial),
            (Kind::Garbage, Target::Link(a, b)) => {
                self.link(a, b).spoil(Spoilt::Garbage(amount));
            }
            (Kind::Jam, Target::Link(a, b)) => {
                self.jam(a, b, begins);
                self.jam(b, a, begins);
            }
            (Kind::Reset, Target::Link(a, b)) => self.breaks_between(a, b),
            (Kind::SlowReceiver, Target::Node(node)) => {
                self.node(node).slow = if begins { amount } else { 0 };
            }
            (kind, Target::Link(a, b)) => {
                self.links.tune((a, b), kind, begins.then_some(amount));
            }
            _ => {}
        }
    }

    fn cut(&mut self, target: Target, kind: Kind, begins: bool) {
        self.links.cut(target, kind, begins);
        if let (Target::Node(node), Kind::Isolate) = (target, kind) {
            self.cut_from_broker(node, begins);
        }
    }

    fn jam(&mut self, from: NodeIx, to: NodeIx, begins: bool) {
        for index in self.links.jam(from, to, begins) {
            self.carry(index);
        }
    }

    /// The connection between two nodes breaks.
    pub(super) fn breaks_between(&mut self, a: NodeIx, b: NodeIx) {
        self.reset(a, b);
        self.reset(b, a);
    }

    /// Everything under way from one node to another is lost, and both see the connection end.
    fn reset(&mut self, from: NodeIx, to: NodeIx) {
        for index in self.link(from, to).reset() {
            self.lose(index);
        }
        if self.brokered.is_some() {
            return self.breaks(from);
        }
        self.disconnected(to, from);
    }

    /// A fault that goes on and off turns.
    pub(super) fn flap(&mut self, number: u32, fault: &Fault) {
        let Some(on) = self.flapping.get_mut(&number) else { return };
        *on = !*on;
        let begins = *on;
        self.cut(fault.target, fault.kind, begins);
    }

    /// Whether the network keeps a frame whose sender is gone. It comes when that is back, or a
    /// little later if it is already.
    pub(super) fn is_kept(&mut self, index: u32) -> bool {
        let Frame { from, to, number, boot, late, stored, .. } = self.frames[index as usize];
        let (on, newest) = (self.node(from).on, self.node(from).boot);
        // What a stream keeps is published again, or not at all.
        if late || stored || (on && newest == boot) || self.link(from, to).has_lost(number) {
            return false;
        }
        let way = self.way(from, to, boot);
        let kept = !self.link(from, to).cuts() && self.link(from, to).keeps(&way, number, index);
        self.frames[index as usize].late = kept;
        if kept && on && self.is_connected(from) {
            self.brings_stale(from);
        }
        kept
    }

    /// A node is back, and with it comes what the network has kept of its older boots.
    pub(super) fn brings_stale(&mut self, node: NodeIx) {
        let (connection, boot) = (self.connection(node), self.node(node).boot);
        let scenario = std::sync::Arc::clone(&self.plan.scenario);
        for other in scenario.node_ids().filter(|other| *other != node) {
            for index in self.link(node, other).take_stale(boot) {
                self.frames[index as usize].connection = connection;
                self.carry(index);
            }
        }
    }
}

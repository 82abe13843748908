//! What users have besides plain messages: a time to live, a message to whoever matches or offers
//! something, a message of an agent to itself later on, and a look at a supervisor's children.
//!
//! Whom a pattern means and whose turn it is decides the kernel's own router.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::supervisor::ChildState;
use lictor_kernel::{Choice, Glob, Instant, Match, NameId, Route, Router};

use super::process::{Slot, State};
use super::{Event, World};
use crate::plan::{Short, nanos};
use crate::queue::EventQueue;
use crate::record::{Ending, Fate, MessageId, NodeIx, Shown, What, Who};

/// What ends a message before its turn comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long it may take from here: what a wire passes on.
    pub(super) ttl: Option<Duration>,
    /// When it is over.
    pub(super) expires: Instant,
    /// The incarnation whose timer sent it: no other one gets it.
    pub(super) only_for: Option<Slot>,
}

impl Bounds {
    /// Of a message that waits for as long as it takes.
    pub(super) const NONE: Self = Self { ttl: None, expires: Instant::MAX, only_for: None };

    fn ttl(now: Instant, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), expires: now.saturating_add(ttl), only_for: None }
    }
}

impl<Q: EventQueue<Event>> World<'_, Q> {
    pub(super) fn tell_within(&mut self, node: NodeIx, id: MessageId, to: Who, ttl: Duration) {
        let bounds = Bounds::ttl(self.now, ttl);
        self.send_bounded(node, id, to, bounds);
    }

    /// On the node that it comes to, a message lives as long as was said where it was sent.
    pub(super) fn lives_on(&mut self, index: u32) {
        let now = self.now;
        let bounds = &mut self.messages[index as usize].bounds;
        if let Some(ttl) = bounds.ttl {
            *bounds = Bounds::ttl(now, ttl);
        }
    }

    /// An agent sends to everybody who matches. One that is not up sends nothing.
    pub(super) fn publish(&mut self, node: NodeIx, number: u32, by: Who, pattern: Short) {
        let (now, scenario) = (self.now, Arc::clone(&self.plan.scenario));
        let is_up = self.up(by).is_some();
        let this = self.node(node);
        let (Some(own), Ok(glob), true) = (this.name(by), Glob::new(pattern.as_str()), is_up)
        else {
            return self.put(node, What::Refused(number));
        };
        let mut routes = Vec::new();
        let (now, registry) = (this.clock.shows(now), this.kernel.registry());
        let names = this.kernel.names();
        Router::broadcast(now, registry, names, &glob, Some(own), &mut routes);
        for route in routes {
            let Some(to) = self.whose(node, route) else { continue };
            if scenario.agent(to).is_some() {
                let id = MessageId { copy: Some(to), ..MessageId::of_operation(number) };
                self.send(node, id, to, None);
            }
        }
    }

    /// A message to the next of those who offer something.
    pub(super) fn tell_capable(&mut self, node: NodeIx, number: u32, tag: Short) {
        let now = self.now;
        let this = self.node(node);
        let now = this.clock.shows(now);
        let route = this.kernel.tags().lookup(tag.as_str()).map(|tag| {
            let (_, registry, router, _) = this.kernel.parts();
            router.choose(now, registry, Match::Any, &[tag], Choice::RoundRobin)
        });
        match route.and_then(|route| self.whose(node, route)) {
            Some(to) => self.send(node, MessageId::of_operation(number), to, None),
            None => self.put(node, What::Refused(number)),
        }
    }

    fn whose(&mut self, node: NodeIx, route: Route) -> Option<Who> {
        match route {
            Route::Local { name, .. } | Route::Remote { name, .. } => self.named(node, name),
            Route::Undeliverable(_) => None,
        }
    }

    /// Whom a node means by a name, whoever has it.
    fn named(&mut self, node: NodeIx, name: NameId) -> Option<Who> {
        let scenario = Arc::clone(&self.plan.scenario);
        let this = self.node(node);
        this.who(name).or_else(|| scenario.named(this.kernel.names().resolve(name)?))
    }

    /// An agent sets a timer. One that is not up sets none.
    pub(super) fn send_after(&mut self, node: NodeIx, number: u32, who: Who, delay: Duration) {
        match self.up(who) {
            Some(slot) => self.after(nanos(delay), Event::Timer(slot, number)),
            None => self.put(node, What::Refused(number)),
        }
    }

    /// A timer has come, if its incarnation is still there.
    pub(super) fn timer(&mut self, slot: Slot, number: u32) {
        let Some(proc) = self.live(slot) else { return };
        if proc.state == State::Killed {
            return;
        }
        let (node, who) = (proc.node, proc.process.who);
        // An older boot is cut off from the mailbox of the name: that is the new boot's.
        if self.is_remnant(node) {
            return;
        }
        let bounds = Bounds { only_for: Some(slot), ..Bounds::NONE };
        self.send_bounded(node, MessageId::of_operation(number), who, bounds);
    }

    /// The messages at the head of a mailbox whose time is over are dead letters, now that their
    /// turn has come.
    pub(super) fn drops_over(&mut self, node: NodeIx, who: Who, slot: Slot) {
        loop {
            let Some(index) = self.agents[usize::from(who.0)].mailbox.front().copied() else {
                return;
            };
            let bounds = self.messages[index as usize].bounds;
            let fate = match bounds.only_for {
                Some(other) if other != slot => Fate::DeadLetter,
                _ if bounds.expires <= self.now => Fate::Expired,
                _ => return,
            };
            self.agents[usize::from(who.0)].mailbox.pop_front();
            self.message_ends(node, index, fate, Ending::Failed);
            self.room(node, who);
        }
    }

    /// Says of each child of a supervisor how it is doing, as the supervisor sees it.
    pub(super) fn look(&mut self, node: NodeIx, number: u32, who: Who) {
        let this = self.node(node);
        let machine =
            this.supervisor(who).and_then(|supervisor| this.kernel.tree().supervisor(supervisor));
        let Some(machine) = machine else { return self.put(node, What::Refused(number)) };
        let seen: Vec<(Who, Shown)> = machine
            .which_children()
            .into_iter()
            .filter_map(|(child, state)| Some((this.who(NameId(child.0))?, shown(state))))
            .collect();
        for (child, state) in seen {
            self.put(node, What::Shows(child, state));
        }
    }
}

const fn shown(state: ChildState) -> Shown {
    match state {
        ChildState::Starting(_) => Shown::Starting,
        ChildState::Up(_) => Shown::Up,
        ChildState::Stopping(_) => Shown::Stopping,
        ChildState::Restarting { .. } => Shown::Restarting,
        ChildState::Down => Shown::Down,
    }
}

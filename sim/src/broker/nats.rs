//! A NATS server, and the stream that it may keep.

use std::collections::BTreeSet;

use lictor_kernel::Instant;

use super::outlet::{Outlet, Overflow};
use super::stream::Stream;
use super::{Action, Client, Config, Event, Mode, Parcel, Subject, Why};

/// A NATS server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Nats {
    config: Config,
    outlets: Vec<Outlet>,
    subscriptions: BTreeSet<(Subject, Client)>,
    /// `JetStream`, if it has it.
    stream: Option<Stream>,
}

impl Nats {
    pub(super) fn new(config: Config, with_stream: bool) -> Self {
        Self {
            config,
            outlets: vec![Outlet::default(); usize::from(config.clients)],
            subscriptions: BTreeSet::new(),
            stream: with_stream.then(|| Stream::new(config)),
        }
    }

    fn outlet(&mut self, client: Client) -> Option<&mut Outlet> {
        self.outlets.get_mut(usize::from(client.0))
    }

    pub(super) fn handle(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Connected(client) => {
                self.gone(client, Why::Disconnected, actions);
                if let Some(outlet) = self.outlet(client) {
                    outlet.connects(actions);
                }
            }
            Event::Disconnected(client) => self.gone(client, Why::Disconnected, actions),
            Event::Subscribed(client, subject) => {
                if self.outlet(client).is_some_and(|outlet| outlet.on) {
                    self.subscriptions.insert((subject, client));
                    if let Some(stream) = &mut self.stream {
                        stream.attach(now, subject, client, actions);
                    }
                }
            }
            Event::Offered(client, _, parcel) => {
                let on = self.outlet(client).is_some_and(|outlet| outlet.on);
                let not = Action::Dropped(parcel, Why::NotConnected);
                actions.push(if on { Action::Carry(parcel) } else { not });
            }
            Event::Published { from, to, parcel, size, mode } => {
                self.published(now, (from, to), parcel, size, mode, actions);
            }
            Event::Taken(client) => {
                if let Some(outlet) = self.outlet(client) {
                    outlet.taken(client, actions);
                }
            }
            Event::Handled(client, parcel) => {
                if let Some(stream) = &mut self.stream {
                    stream.handled(now, client, parcel, actions);
                }
            }
            Event::Refused(client, parcel) => {
                if let Some(stream) = &mut self.stream {
                    stream.refused(now, client, parcel, actions);
                }
            }
            Event::Ended(client, parcel) => {
                if let Some(stream) = &mut self.stream {
                    stream.ended(now, client, parcel, actions);
                }
            }
            Event::Bounded(client, bound) => {
                if let Some(outlet) = self.outlet(client) {
                    outlet.bound(bound);
                }
            }
            Event::Repeat(client, count) => {
                if let Some(stream) = &self.stream {
                    stream.repeat(client, count, actions);
                }
            }
            Event::Restarted { with_state } => self.restarted(with_state, actions),
            // A server does not tell publishers who has subscribed.
            Event::Learned(..) => {}
        }
    }

    fn gone(&mut self, client: Client, why: Why, actions: &mut Vec<Action>) {
        if let Some(outlet) = self.outlet(client) {
            outlet.ends(why, actions);
        }
        self.forget(client);
    }

    fn forget(&mut self, client: Client) {
        self.subscriptions.retain(|(_, subscriber)| *subscriber != client);
        if let Some(stream) = &mut self.stream {
            stream.detach(client);
        }
    }

    fn published(
        &mut self,
        now: Instant,
        (from, to): (Client, Subject),
        parcel: Parcel,
        size: u32,
        mode: Mode,
        actions: &mut Vec<Action>,
    ) {
        if !self.outlet(from).is_some_and(|outlet| outlet.on) {
            actions.push(Action::Dropped(parcel, Why::NotConnected));
            return;
        }
        if size > self.config.payload {
            actions.push(Action::Dropped(parcel, Why::TooLarge));
            actions.push(Action::CutOff(from));
            self.gone(from, Why::Disconnected, actions);
            return;
        }
        if let (Mode::Stored, Some(stream)) = (mode, &mut self.stream) {
            return stream.published(now, from, to, parcel, actions);
        }
        let bounds = (self.config.window, self.config.pending);
        let (mut nobody, mut slow) = (true, false);
        for (_, client) in self.subscriptions.range((to, Client(0))..=(to, Client(u8::MAX))) {
            let Some(outlet) = self.outlets.get_mut(usize::from(client.0)) else { continue };
            nobody = false;
            outlet.put(*client, parcel, bounds, Overflow::CutOff, actions);
            slow |= !outlet.on;
        }
        if slow {
            let gone = |client: Client| !self.outlets[usize::from(client.0)].on;
            self.subscriptions.retain(|(_, client)| !gone(*client));
            if let Some(stream) = &mut self.stream {
                stream.detach_all(gone);
            }
        }
        match (nobody, mode) {
            (true, Mode::Request) => actions.push(Action::NoResponders(from, parcel)),
            (true, _) => actions.push(Action::Dropped(parcel, Why::NobodyThere)),
            (false, _) => {}
        }
    }

    fn restarted(&mut self, with_state: bool, actions: &mut Vec<Action>) {
        for outlet in &mut self.outlets {
            outlet.ends(Why::Restarted, actions);
        }
        self.subscriptions.clear();
        if let Some(stream) = &mut self.stream {
            stream.restarted(with_state, actions);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.stream.as_ref()?.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Some(stream) = &mut self.stream {
            stream.handle_timeout(now, actions);
        }
    }

    pub(super) fn held(&self) -> usize {
        let pending: usize = self.outlets.iter().map(Outlet::held).sum();
        pending + self.stream.as_ref().map_or(0, Stream::held)
    }
}

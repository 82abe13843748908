//! A ZeroMQ proxy between PUB and SUB sockets (XSUB and XPUB back to back).
//!
//! A PUB socket sends nothing that nobody has subscribed to, as far as it knows; a subscription
//! travels from the subscriber to the proxy and from there to each publisher.

use std::collections::BTreeSet;

use super::outlet::{Outlet, Overflow};
use super::{Action, Client, Config, Event, Parcel, Subject, Why};

/// A proxy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Proxy {
    config: Config,
    outlets: Vec<Outlet>,
    subscriptions: BTreeSet<(Subject, Client)>,
    /// Which publisher knows of subscribers to which subject.
    known: BTreeSet<(Client, Subject)>,
}

impl Proxy {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            outlets: vec![Outlet::default(); usize::from(config.clients)],
            subscriptions: BTreeSet::new(),
            known: BTreeSet::new(),
        }
    }

    fn outlet(&mut self, client: Client) -> Option<&mut Outlet> {
        self.outlets.get_mut(usize::from(client.0))
    }

    fn is_on(&self, client: Client) -> bool {
        self.outlets.get(usize::from(client.0)).is_some_and(|outlet| outlet.on)
    }

    pub(super) fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Connected(client) => {
                self.gone(client, actions);
                if let Some(outlet) = self.outlet(client) {
                    outlet.connects(actions);
                    let mut last = None;
                    for (subject, _) in &self.subscriptions {
                        if last != Some(*subject) {
                            actions.push(Action::Forward(client, *subject));
                            last = Some(*subject);
                        }
                    }
                }
            }
            Event::Disconnected(client) => self.gone(client, actions),
            Event::Subscribed(client, subject) => {
                if self.is_on(client) && self.subscriptions.insert((subject, client)) {
                    let on = (0..self.config.clients).map(Client).filter(|c| self.is_on(*c));
                    actions.extend(on.map(|publisher| Action::Forward(publisher, subject)));
                }
            }
            Event::Learned(client, subject) => {
                if self.is_on(client) {
                    self.known.insert((client, subject));
                }
            }
            Event::Offered(client, subject, parcel) => {
                actions.push(if !self.is_on(client) {
                    Action::Dropped(parcel, Why::NotConnected)
                } else if self.known.contains(&(client, subject)) {
                    Action::Carry(parcel)
                } else {
                    Action::Dropped(parcel, Why::NobodyThere)
                });
            }
            Event::Published { from, to, parcel, .. } => self.published(from, to, parcel, actions),
            Event::Taken(client) => {
                if let Some(outlet) = self.outlet(client) {
                    outlet.taken(client, actions);
                }
            }
            Event::Bounded(client, bound) => {
                if let Some(outlet) = self.outlet(client) {
                    outlet.bound(bound);
                }
            }
            Event::Restarted { .. } => {
                for outlet in &mut self.outlets {
                    outlet.ends(Why::Restarted, actions);
                }
                self.subscriptions.clear();
                self.known.clear();
            }
            // Nothing is acknowledged here, and nothing is kept.
            Event::Handled(..) | Event::Refused(..) | Event::Ended(..) | Event::Repeat(..) => {}
        }
    }

    fn gone(&mut self, client: Client, actions: &mut Vec<Action>) {
        if let Some(outlet) = self.outlet(client) {
            outlet.ends(Why::Disconnected, actions);
        }
        self.subscriptions.retain(|(_, subscriber)| *subscriber != client);
        self.known.retain(|(publisher, _)| *publisher != client);
    }

    fn published(&mut self, from: Client, to: Subject, parcel: Parcel, actions: &mut Vec<Action>) {
        if !self.is_on(from) {
            actions.push(Action::Dropped(parcel, Why::NotConnected));
            return;
        }
        let bounds = (self.config.window, self.config.pending);
        let mut nobody = true;
        for (_, client) in self.subscriptions.range((to, Client(0))..=(to, Client(u8::MAX))) {
            let Some(outlet) = self.outlets.get_mut(usize::from(client.0)) else { continue };
            nobody = false;
            outlet.put(*client, parcel, bounds, Overflow::DropNewest, actions);
        }
        if nobody {
            actions.push(Action::Dropped(parcel, Why::NobodyThere));
        }
    }

    pub(super) fn held(&self) -> usize {
        self.outlets.iter().map(Outlet::held).sum()
    }
}

//! The forwarder: publishers at one side, subscribers at the other.
//!
//! What subscribers want is wanted of every publisher, each prefix once however many want it, and
//! cancelled when the last one goes, by its word or by its end. Messages go to whoever wants them.
//! No peer can stop it: a subscriber that does not read fills its own queue, a publisher that does
//! not read is told later, and neither is waited for.

use alloc::vec::Vec;

use crate::subscriptions::Wish;
use crate::{
    AddPeerError, Fanout, FanoutLimits, Message, PeerId, Published, SubscribeError, Tally, Upstream,
};

/// A forwarder between publishers (PUB, XPUB) and subscribers (SUB, XSUB).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Proxy {
    down: Fanout,
    up: Upstream,
    /// Scratch: empty between calls.
    changes: Vec<Wish>,
}

impl Proxy {
    /// A forwarder with nobody at either side. [`FanoutLimits::peers`] holds for each side.
    #[must_use]
    pub fn new(limits: FanoutLimits) -> Self {
        let (down, up) = (Fanout::new(limits), Upstream::new(limits.peers));
        Self { down, up, changes: Vec::new() }
    }

    /// Adds a publisher: [`Proxy::next_wish`] gives what it must be told.
    ///
    /// # Errors
    /// [`AddPeerError`]; nothing has changed then.
    pub fn add_publisher(&mut self, peer: PeerId) -> Result<(), AddPeerError> {
        self.up.add(peer)
    }

    /// Adds a subscriber, whose number must not be that of a publisher.
    ///
    /// # Errors
    /// [`AddPeerError`]; nothing has changed then.
    pub fn add_subscriber(&mut self, peer: PeerId) -> Result<(), AddPeerError> {
        self.down.add(peer)
    }

    /// Forgets a publisher or a subscriber, and takes back what only it wanted. Pushes to `woken`
    /// the publishers that have something to be told. Says how many messages were left for it.
    pub fn remove(&mut self, peer: PeerId, woken: &mut Vec<PeerId>) -> usize {
        self.up.remove(peer);
        let left = self.down.remove(peer, &mut self.changes);
        self.pass_on(woken);
        left
    }

    /// Takes in a wish of a subscriber. Pushes to `woken` as [`Proxy::remove`].
    ///
    /// # Errors
    /// [`SubscribeError`]: its connection must be closed; nothing has changed.
    pub fn wish(
        &mut self,
        peer: PeerId,
        wish: Wish,
        woken: &mut Vec<PeerId>,
    ) -> Result<(), SubscribeError> {
        self.down.wish(peer, wish, &mut self.changes)?;
        self.pass_on(woken);
        Ok(())
    }

    fn pass_on(&mut self, woken: &mut Vec<PeerId>) {
        for change in self.changes.drain(..) {
            self.up.wish(change, woken);
        }
    }

    /// Takes in a message of a publisher. Pushes to `woken` the subscribers that have something to
    /// be sent and had nothing before.
    pub fn message(&mut self, message: &Message, woken: &mut Vec<PeerId>) -> Published {
        self.down.publish(message, woken)
    }

    /// Moves messages for a subscriber: see [`Fanout::take`].
    pub fn take(&mut self, peer: PeerId, bytes: usize, messages: &mut Vec<Message>) {
        self.down.take(peer, bytes, messages);
    }

    /// The next wish that a publisher must be told: see [`Upstream::next`].
    pub fn next_wish(&mut self, peer: PeerId) -> Option<Wish> {
        self.up.next(peer)
    }

    /// The side of the subscribers.
    #[must_use]
    pub const fn subscribers(&self) -> &Fanout {
        &self.down
    }

    /// The side of the publishers.
    #[must_use]
    pub const fn publishers(&self) -> &Upstream {
        &self.up
    }

    /// What became of messages, since the start.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.down.tally()
    }
}

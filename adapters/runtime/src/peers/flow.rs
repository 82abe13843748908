//! Credit at work: who sends waits for it within the deadline, who receives grants it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};

use super::credit::{Incoming, Outgoing, Place, lane_of};
use super::{Hop, PEERS_MAX, Peers};
use crate::cell::Way;
use crate::error::SendError;
use crate::frame::{Body, Credit};
use crate::mailbox::Lane;
use crate::runtime::Shared;
use crate::sync::{Mutex, wake};

/// How often a sender that is held up asks how far the peer is, in case a word of it was lost.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// There is a newer boot of the peer.
struct Gone;

/// The books of a node with its peers; of as many as are remembered.
pub(super) struct Flow(Mutex<Books>);

#[derive(Default)]
struct Books {
    out: BTreeMap<NodeId, Outgoing>,
    incoming: BTreeMap<NodeId, Incoming>,
    /// What was under way to boots that are gone.
    unsettled: u64,
    /// What has not come from boots that are gone.
    missing: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self(Mutex::new(Books::default()))
    }
}

impl Books {
    /// What was sent to this boot of a peer; `None` if there is a newer one.
    fn out(&mut self, node: NodeId, epoch: u64) -> Option<&mut Outgoing> {
        if self.out.len() >= PEERS_MAX && !self.out.contains_key(&node) {
            let forgotten = self.out.pop_first();
            self.unsettled += forgotten.map_or(0, |(_, out)| out.unsettled());
        }
        let out = self.out.entry(node).or_insert_with(|| Outgoing::new(epoch));
        if out.epoch < epoch {
            // Who waits for the older one looks again soon, and finds that it is gone.
            self.unsettled += out.unsettled();
            *out = Outgoing::new(epoch);
        }
        (out.epoch == epoch).then_some(out)
    }

    fn take(&mut self, to: (NodeId, u64), lane: u8) -> Result<Option<Place>, Gone> {
        Ok(self.out(to.0, to.1).ok_or(Gone)?.take(lane))
    }

    fn incoming(&mut self, node: NodeId, epoch: u64) -> &mut Incoming {
        if self.incoming.len() >= PEERS_MAX && !self.incoming.contains_key(&node) {
            let forgotten = self.incoming.pop_first();
            let missing = forgotten.map_or(0, |(_, incoming)| incoming.missing());
            self.missing = self.missing.saturating_add(missing);
        }
        let incoming = self.incoming.entry(node).or_insert_with(|| Incoming::new(epoch));
        if incoming.epoch != epoch {
            self.missing = self.missing.saturating_add(incoming.missing());
            *incoming = Incoming::new(epoch);
        }
        incoming
    }
}

impl Flow {
    /// What has not come, and what was under way to boots that are gone.
    pub(super) fn losses(&self) -> (u64, u64) {
        let books = self.0.lock();
        let of_peers = books.incoming.values().map(Incoming::missing);
        (of_peers.fold(books.missing, u64::saturating_add), books.unsettled)
    }
}

impl Shared {
    /// A place for a message to a peer; waits for credit up to the deadline of the message.
    pub(crate) async fn place(
        &self,
        name: &Arc<str>,
        to: (NodeId, u64),
        way: &Way,
    ) -> Result<Place, SendError> {
        let gone = || SendError::Unreachable { name: Arc::clone(name) };
        let peers = self.peers.as_ref().ok_or_else(gone)?;
        let lane = lane_of(name, way.lane == Lane::Priority);
        if let Some(place) = peers.flow.0.lock().take(to, lane).map_err(|Gone| gone())? {
            return Ok(place);
        }
        let deadline = way.patience.deadline(self).min(way.expires);
        let mut waiter = Waiter { peers, to, number: None };
        loop {
            let until = deadline.min(self.executor.now().saturating_add(ASK_EVERY));
            let credit = poll_fn(|cx| waiter.poll(lane, cx));
            if let Ok(place) = self.timers.timeout(until, credit).await {
                return place.map_err(|Gone| gone());
            }
            if self.executor.now() >= deadline {
                return Err(SendError::Timeout { name: Arc::clone(name) });
            }
            // It may have gone meanwhile, and the agent be somewhere else.
            match self.hop(name)? {
                Hop::Remote(node, epoch) if (node, epoch) == to => {
                    peers.ask_how_far(to, self.executor.now());
                }
                Hop::Remote(..) | Hop::Local(_) => return Err(gone()),
            }
        }
    }

    /// As [`Shared::place`], without waiting.
    pub(crate) fn try_place(
        &self,
        name: &Arc<str>,
        to: (NodeId, u64),
        way: &Way,
    ) -> Result<Place, SendError> {
        let gone = || SendError::Unreachable { name: Arc::clone(name) };
        let peers = self.peers.as_ref().ok_or_else(gone)?;
        let lane = lane_of(name, way.lane == Lane::Priority);
        let place = peers.flow.0.lock().take(to, lane).map_err(|Gone| gone())?;
        place.ok_or_else(|| {
            peers.ask_how_far(to, self.executor.now());
            SendError::WireFull { name: Arc::clone(name) }
        })
    }
}

impl Peers {
    /// The message of this place was not sent.
    pub(super) fn give_back(&self, (node, epoch): (NodeId, u64), place: Place) {
        if let Some(out) = self.flow.0.lock().out(node, epoch) {
            out.give_back(place);
        }
    }

    fn ask_how_far(&self, (node, to): (NodeId, u64), now: Instant) {
        let places = {
            let mut books = self.flow.0.lock();
            let Some(out) = books.out(node, to) else { return };
            if !out.may_ask(now, ASK_EVERY) {
                return;
            }
            out.open()
        };
        self.say(node, &Body::HowFar(Credit::new(self.epoch, to, &places)));
    }

    /// A peer asks how far this node is.
    pub(super) fn how_far(&self, node: NodeId, asked: &Credit) {
        if asked.to != self.epoch {
            return;
        }
        let mut books = self.flow.0.lock();
        // A question of an older boot must not spoil the books of the newer one.
        if books.incoming.get(&node).is_some_and(|incoming| asked.from < incoming.epoch) {
            return;
        }
        let told = books.incoming(node, asked.from).tell_again(&asked.places());
        drop(books);
        self.say(node, &Body::Credit(Credit::new(self.epoch, asked.from, &told)));
    }

    /// A peer says how far it is.
    pub(super) fn credited(&self, node: NodeId, credit: &Credit) {
        if credit.to != self.epoch {
            return;
        }
        let woken = {
            let mut books = self.flow.0.lock();
            let Some(out) = books.out.get_mut(&node).filter(|out| out.epoch == credit.from) else {
                return;
            };
            credit.places().into_iter().for_each(|place| out.settle(place));
            out.woken()
        };
        woken.into_values().for_each(wake);
    }

    /// A message of a peer has come; it is under way until the value is dropped.
    pub(super) fn arrive(self: &Arc<Self>, node: NodeId, from: u64, place: Place) -> UnderWay {
        self.flow.0.lock().incoming(node, from).arrive(place);
        UnderWay { peers: Arc::clone(self), node, from, lane: place.lane }
    }
}

/// A message that waits for its mailbox.
pub(super) struct UnderWay {
    peers: Arc<Peers>,
    node: NodeId,
    from: u64,
    lane: u8,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let told = {
            let mut books = self.peers.flow.0.lock();
            let incoming = books.incoming.get_mut(&self.node);
            let Some(incoming) = incoming.filter(|incoming| incoming.epoch == self.from) else {
                return;
            };
            if !incoming.settle(self.lane) {
                return;
            }
            incoming.tell()
        };
        let credit = Credit::new(self.peers.epoch, self.from, &told);
        self.peers.say(self.node, &Body::Credit(credit));
    }
}

/// Who waits for credit.
struct Waiter<'a> {
    peers: &'a Peers,
    to: (NodeId, u64),
    number: Option<u64>,
}

impl Waiter<'_> {
    fn poll(&mut self, lane: u8, cx: &Context<'_>) -> Poll<Result<Place, Gone>> {
        let mut books = self.peers.flow.0.lock();
        let Some(out) = books.out(self.to.0, self.to.1) else { return Poll::Ready(Err(Gone)) };
        if let Some(place) = out.take(lane) {
            return Poll::Ready(Ok(place));
        }
        self.number = Some(out.wait(self.number, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number
            && let Some(out) = self.peers.flow.0.lock().out(self.to.0, self.to.1)
        {
            out.leave(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Task;
    use crate::transport::{self, Frame, Inbox, Transport};

    /// A wire on which nothing may be said.
    #[derive(Debug)]
    struct Silent;

    impl Transport for Silent {
        fn peers(&self) -> Vec<NodeId> {
            Vec::new()
        }

        fn send(&self, _: NodeId, frame: Frame) -> Result<(), transport::SendError> {
            panic!("{:?}", Body::decode(&frame))
        }

        fn run(self: Arc<Self>, _: Inbox) -> Task {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_question_of_an_older_boot_spoils_no_books() {
        let (peers, node) = (Arc::new(Peers::new(Arc::new(Silent), 1)), NodeId(7));
        let place = |number| Place { lane: 3, number };
        let waits = peers.arrive(node, 5, place(2));
        assert_eq!(peers.flow.losses(), (1, 0), "the first has not come");
        // Held up on the way; and for an older boot of this node.
        peers.how_far(node, &Credit::new(4, 1, &[place(90)]));
        peers.how_far(node, &Credit::new(5, 0, &[place(90)]));
        assert_eq!(peers.flow.losses(), (1, 0));
        drop(waits);
        let mut books = peers.flow.0.lock();
        assert_eq!(books.incoming(node, 5).tell(), [place(2)], "what had come is settled");
    }
}

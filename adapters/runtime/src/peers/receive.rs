//! What comes in from other nodes, apart from membership.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lictor_kernel::{CallId, Instant, NodeId, ReplyOutcome};

use super::flow::UnderWay;
use super::window::{Seen, Window};
use super::{PEERS_MAX, Peers, Place, WAITING_MAX, count};
use crate::cell::{AnyCell, Patience, Way, failure_name};
use crate::error::SendError;
use crate::events::EventKind;
use crate::executor::Role;
use crate::frame::{Answer, Body, Dead, Failure, Post, Stamp};
use crate::inbox::Input;
use crate::mailbox::Lane;
use crate::message::{Message, ReplyTo, Value};
use crate::reply::{Reply, ReplyFailure, reply_slot};
use crate::runtime::Shared;
use crate::transport::{Inbox, LinkEvent};

impl Shared {
    /// Where the transport puts what it hears.
    pub(crate) fn wire_inbox(self: &Arc<Self>) -> Inbox {
        let shared = Arc::clone(self);
        Inbox::new(move |node, event| shared.hear(node, event))
    }

    fn hear(self: &Arc<Self>, node: NodeId, event: LinkEvent) -> bool {
        let Some(peers) = &self.peers else { return false };
        let input = match event {
            LinkEvent::Up => Input::Link(node, true),
            LinkEvent::Down => Input::Link(node, false),
            LinkEvent::Frame(frame) => match Body::decode(&frame) {
                Some(body @ (Body::Post(_) | Body::Answer(_) | Body::Dead(_))) => {
                    self.receive(peers, node, body);
                    return true;
                }
                Some(Body::Credit(credit)) => {
                    peers.credited(node, &credit);
                    return true;
                }
                Some(Body::HowFar(asked)) => {
                    peers.how_far(node, &asked);
                    return true;
                }
                Some(body) => Input::Peer(node, Box::new(body)),
                None => {
                    count(&peers.counters.malformed);
                    return true;
                }
            },
        };
        let taken = self.inbox.link(input);
        if !taken {
            count(&peers.counters.dropped);
        }
        taken
    }

    fn receive(self: &Arc<Self>, peers: &Arc<Peers>, node: NodeId, body: Body) {
        let Some(stamp) = body.stamp() else { return };
        if !peers.takes(node, stamp) {
            return;
        }
        count(&peers.counters.received);
        match body {
            Body::Post(post) => self.deliver(peers, node, post),
            Body::Answer(Answer { call, result, .. }) => self.answered(peers, CallId(call), result),
            Body::Dead(Dead { to, why, .. }) => {
                let reason = failure_name(why.into());
                self.emit(EventKind::DeadLetters { name: Arc::from(to), count: 1, reason });
            }
            Body::Hello { .. }
            | Body::Probe { .. }
            | Body::Alive { .. }
            | Body::Claim(_)
            | Body::Withdraw { .. }
            | Body::Bye { .. }
            | Body::Remote(_)
            | Body::Credit(_)
            | Body::HowFar(_) => unreachable!("these have no stamp"),
        }
    }

    fn answered(&self, peers: &Peers, call: CallId, result: Result<Value, Failure>) {
        let now = self.executor.now();
        let outcome = self.world().node.parts().3.reply(now, call);
        if outcome != ReplyOutcome::Delivered {
            return;
        }
        let asker = peers.take_ask(call);
        match (asker, result) {
            // An asker that has given up is no fault.
            (Some(asker), Ok(answer)) => drop(asker.send(answer)),
            (Some(asker), Err(failure)) => drop(asker.fail(failure.into())),
            (None, _) => {}
        }
    }

    /// Gives a message to its agent. The first step is made here, so that messages queue in the
    /// order in which they came, whatever order the executor runs tasks in.
    fn deliver(self: &Arc<Self>, peers: &Arc<Peers>, node: NodeId, post: Post) {
        let Post { stamp, to, kind, payload, sender, priority, wait, ttl, call, lane, number } =
            post;
        let under_way = peers.arrive(node, stamp.from, Place { lane, number });
        let now = self.executor.now();
        let until = |left: Option<u64>| {
            left.map_or(Instant::MAX, |nanos| now.saturating_add(Duration::from_nanos(nanos)))
        };
        let lane = if priority { Lane::Priority } else { Lane::Normal };
        let deadline = until(wait);
        let way = Way { expires: until(ttl), ..Way::new(lane, Patience::Until(deadline)) };
        let mut message = Message::new(kind, payload);
        if let Some(sender) = sender {
            message = message.sent_by(Arc::from(sender));
        }
        let back =
            Back { shared: Arc::clone(self), peers: Arc::clone(peers), node, stamp, to, call };
        let mut reply = None;
        if call.is_some() {
            let (reply_to, answer) = reply_slot();
            message = message.with_reply_to(ReplyTo::new(reply_to));
            reply = Some(answer);
        }
        let Some(cell) = self.local(&back.to) else {
            return back.refuse(ReplyFailure::Down);
        };
        let Some(guard) = Waiting::enter(peers) else {
            return back.refuse(ReplyFailure::Refused);
        };
        let name = back.to.clone();
        let mut task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let _guard = guard;
            back.carry(cell, way, message, deadline, reply, under_way).await;
        });
        let mut context = Context::from_waker(Waker::noop());
        // Whatever panics on this way must not end the wire.
        let poll = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context)));
        match poll {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => self.executor.spawn_as(Role::Remote(&name), task),
            Err(_) => count(&peers.counters.undelivered),
        }
    }
}

impl Peers {
    /// Whether a numbered frame is for this boot, of the newest boot of the peer, and new.
    fn takes(&self, node: NodeId, stamp: Stamp) -> bool {
        if stamp.to != self.epoch {
            count(&self.counters.stale);
            return false;
        }
        let mut state = self.state();
        if state.taken.len() >= PEERS_MAX && !state.taken.contains_key(&node) {
            state.taken.pop_first();
        }
        let window = state.taken.entry(node).or_insert_with(|| Window::new(stamp.from));
        match window.take(stamp.from, stamp.number) {
            Seen::New => return true,
            Seen::Repeated => count(&self.counters.repeated),
            Seen::Stale => count(&self.counters.stale),
        }
        false
    }
}

/// A message of a peer that is being delivered or answered; bounded.
struct Waiting(Arc<Peers>);

impl Waiting {
    fn enter(peers: &Arc<Peers>) -> Option<Self> {
        let mut state = peers.state();
        if state.waiting >= WAITING_MAX {
            return None;
        }
        state.waiting += 1;
        Some(Self(Arc::clone(peers)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Where the outcome of a message goes.
struct Back {
    shared: Arc<Shared>,
    peers: Arc<Peers>,
    node: NodeId,
    stamp: Stamp,
    to: String,
    call: Option<u64>,
}

impl Back {
    async fn carry(
        self,
        cell: Arc<dyn AnyCell>,
        way: Way,
        message: Message,
        deadline: Instant,
        reply: Option<Reply<Value>>,
        under_way: UnderWay,
    ) {
        let sent = cell.put_raw(way, message, None).await;
        drop(under_way);
        if let Err(error) = sent {
            return self.refuse(failure_of(&error));
        }
        let Some(reply) = reply else { return };
        // Beyond its deadline nobody waits for the answer.
        match self.shared.timers.timeout(deadline, reply).await {
            Ok(Ok(answer)) => self.answer(Ok(answer)),
            Ok(Err(failure)) => self.answer(Err(failure.into())),
            Err(_) => {}
        }
    }

    fn refuse(self, why: ReplyFailure) {
        count(&self.peers.counters.undelivered);
        if self.call.is_some() {
            return self.answer(Err(why.into()));
        }
        let stamp = self.peers.stamp(self.node, self.stamp.from);
        let dead = Dead { stamp, to: self.to.clone(), why: why.into() };
        self.send(&Body::Dead(dead));
    }

    fn answer(&self, result: Result<Value, Failure>) {
        let Some(call) = self.call else { return };
        let stamp = self.peers.stamp(self.node, self.stamp.from);
        let answer = Body::Answer(Answer { stamp, call, result });
        if !self.send(&answer) {
            // Too large or too deep: the asker learns at least that.
            let stamp = self.peers.stamp(self.node, self.stamp.from);
            let result = Err(Failure::Unencodable);
            self.send(&Body::Answer(Answer { stamp, call, result }));
        }
    }

    /// `false` if it cannot be a frame; one that the transport refuses is counted there.
    fn send(&self, body: &Body) -> bool {
        let name = Arc::from(self.to.as_str());
        !matches!(
            self.peers.send(&name, self.node, body),
            Err(SendError::TooLarge { .. } | SendError::NotUnderstood { .. })
        )
    }
}

pub(crate) fn failure_of(error: &SendError) -> ReplyFailure {
    match error {
        SendError::NotUnderstood { .. } | SendError::Reserved { .. } => ReplyFailure::NotUnderstood,
        SendError::Full { .. } | SendError::Timeout { .. } => ReplyFailure::Refused,
        SendError::Unknown { .. }
        | SendError::Down { .. }
        | SendError::WrongType { .. }
        | SendError::NoCapability { .. }
        | SendError::ToSelf { .. }
        | SendError::BadPattern { .. }
        | SendError::Unreachable { .. }
        | SendError::WireFull { .. }
        | SendError::TooLarge { .. }
        | SendError::StreamFull { .. }
        | SendError::NotStored { .. }
        | SendError::Unconfirmed { .. }
        | SendError::Remote { .. } => ReplyFailure::Down,
    }
}

impl Shared {
    pub(crate) fn late_replies(&self) -> u64 {
        let mut world = self.world();
        let (_, _, _, calls) = world.node.parts();
        calls.late().saturating_add(calls.unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Task;
    use crate::transport::{self, Frame, Transport};

    /// A wire that nothing goes over.
    #[derive(Debug)]
    struct Nowhere;

    impl Transport for Nowhere {
        fn peers(&self) -> Vec<NodeId> {
            Vec::new()
        }

        fn send(&self, _: NodeId, _: Frame) -> Result<(), transport::SendError> {
            Err(transport::SendError::Closed)
        }

        fn run(self: Arc<Self>, _: Inbox) -> Task {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn what_is_of_another_boot_of_either_node_is_stale_and_a_copy_is_repeated() {
        let (peers, node) = (Peers::new(Arc::new(Nowhere), 7), NodeId(2));
        let takes = |from, to, number| peers.takes(node, Stamp { from, to, number });
        assert!(takes(3, 7, 1));
        assert!(!takes(3, 6, 2), "for an older boot of this node");
        assert!(!takes(3, 8, 2), "for one that is not this");
        assert!(takes(3, 7, 2), "what is stale is not remembered");
        assert!(!takes(3, 7, 2));
        assert!(takes(4, 7, 2), "a newer boot counts anew");
        assert!(!takes(3, 7, 3), "of an older boot of the peer");
        let counters = peers.counters(0);
        assert_eq!((counters.stale, counters.repeated), (3, 1));
    }

    // What is numbered anew is taken for a copy, by a boot that has taken more than that.
    #[test]
    fn a_peer_that_was_forgotten_among_many_is_not_numbered_anew() {
        let peers = Peers::new(Arc::new(Nowhere), 7);
        let number = |node| peers.stamp(NodeId(node), 1).number;
        (0..10_000).for_each(|_| assert!(number(1) > 0));
        let many = u64::try_from(PEERS_MAX).unwrap();
        (2..2 * many).for_each(|node| assert!(number(node) > 0));
        let mut window = Window::new(1);
        for sent in 1..=10_000 {
            window.take(1, sent);
        }
        assert_eq!(window.take(1, number(1)), Seen::New);
        assert!(peers.state().sent.len() <= PEERS_MAX);
    }
}

//! What the parts of a client share.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lictor_runtime::broker::{AddressError, BrokerEvent, BrokerInbox};
use lictor_runtime::transport::SendError;
use lictor_zmtp::{Fanout, FanoutLimits, Message, PeerId, Upstream, Wish};
use tokio::sync::Notify;

use crate::Counters;
use crate::bell::Bell;
use crate::proxy::ProxyView;

/// The forwarder, as the one peer of either direction.
pub(super) const FORWARDER: PeerId = PeerId(0);

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something waits to be published.
    pub(super) publishing: Bell,
    /// A wish waits to be told.
    pub(super) hearing: Bell,
    /// A probe is wanted.
    pub(super) probing: Bell,
    /// Messages have left, or cannot.
    left: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    inbox: Option<BrokerInbox>,
    pub(super) wishes: Upstream,
    subscriptions_max: usize,
    /// What waits to be published: kept while there is no connection.
    pub(super) outbox: Fanout,
    outbox_limits: FanoutLimits,
    /// Messages that were put into the outbox, and those that have left or are lost.
    put: u64,
    done: u64,
    pub(super) publishing_open: bool,
    pub(super) probe: Probe,
    /// Why each way is lost, as it was last told since there was readiness.
    told: [Option<Arc<str>>; 3],
    pub(super) proxy: Option<ProxyView>,
    pub(super) counters: Counters,
}

/// What is known of the way through the forwarder and back.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// What was subscribed to since is not proved.
    pub(super) stale: bool,
    /// What is sent and waited for.
    pub(super) topic: Option<Vec<u8>>,
    /// Those that have come back or are given up: no longer wanted.
    pub(super) over: Vec<Vec<u8>>,
}

/// A way of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// From here to the forwarder.
    Out,
    /// From it to here.
    In,
    /// From here to here. That it is lost says less than a reason of either half.
    Through,
}

impl State {
    /// The probe that must go out, if any.
    pub(super) fn probe_to_send(&self) -> Option<Vec<u8>> {
        self.probe.topic.clone().filter(|_| self.publishing_open)
    }

    /// So many messages are gone, one way or another.
    pub(super) fn done(&mut self, messages: u64) {
        self.done = self.done.saturating_add(messages);
    }

    fn new_outbox(limits: FanoutLimits) -> Fanout {
        let mut outbox = Fanout::new(limits);
        let everything = Wish::Subscribe(Vec::new().into());
        let made = outbox.add(FORWARDER).is_ok()
            && outbox.wish(FORWARDER, everything, &mut Vec::new()).is_ok();
        assert!(made, "there is room for one peer and one wish");
        outbox
    }
}

impl Shared {
    pub(super) fn new(queue_bytes: usize, subscriptions_max: usize) -> Self {
        let limits = FanoutLimits { peers: 1, queue_bytes, subscription_bytes: 64 };
        let state = State {
            inbox: None,
            wishes: Upstream::new(1),
            subscriptions_max,
            outbox: State::new_outbox(limits),
            outbox_limits: limits,
            put: 0,
            done: 0,
            publishing_open: false,
            probe: Probe::default(),
            told: Default::default(),
            proxy: None,
            counters: Counters::default(),
        };
        Self {
            state: Mutex::new(state),
            publishing: Bell::default(),
            hearing: Bell::default(),
            probing: Bell::default(),
            left: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, counter: impl FnOnce(&mut Counters) -> &mut u64) {
        let mut state = self.state();
        let counter = counter(&mut state.counters);
        *counter = counter.saturating_add(1);
    }

    /// Says whether it did not run before.
    pub(super) fn begin(&self, inbox: BrokerInbox) -> bool {
        let mut state = self.state();
        let begins = state.inbox.is_none();
        if begins {
            state.inbox = Some(inbox);
            state.told = Default::default();
        }
        begins
    }

    /// What waits is lost; the subscriptions stay.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.inbox = None;
        state.proxy = None;
        state.publishing_open = false;
        state.wishes.remove(FORWARDER);
        state.probe = Probe::default();
        // What waits, and what was being written.
        let left = state.put.saturating_sub(state.done);
        state.counters.lost = state.counters.lost.saturating_add(left);
        state.outbox = State::new_outbox(state.outbox_limits);
        state.done = state.put;
        drop(state);
        self.left.notify_waiters();
    }

    /// Says something to the inbox, if there is one. Not under the lock: an inbox is foreign code.
    pub(super) fn say(&self, event: BrokerEvent) -> bool {
        let inbox = self.state().inbox.clone();
        inbox.is_some_and(|inbox| inbox.say(event))
    }

    /// A way through the forwarder is gone, for this reason at this place. Told again only if the
    /// reason is another than that of any way: a forwarder that was not there may refuse our key
    /// when it is.
    pub(super) fn lost(&self, way: Way, at: &dyn Display, why: &str) {
        let is_news = {
            let told = &mut self.state().told;
            let mut known = told.iter().flatten();
            let is_news = match way {
                Way::Out | Way::In => !known.any(|known| **known == *why),
                Way::Through => known.next().is_none(),
            };
            told[way as usize] = Some(why.into());
            is_news
        };
        if is_news {
            self.say(BrokerEvent::Lost(format!("{at}: {why}").into()));
        }
    }

    /// A probe has come back, if it is the one that is waited for.
    pub(super) fn returned(&self, state: &mut State, topic: &[u8]) -> bool {
        if state.probe.topic.as_deref() != Some(topic) {
            return false;
        }
        state.probe.over.extend(state.probe.topic.take());
        state.told = Default::default();
        self.hearing.ring();
        true
    }

    pub(super) fn publish(&self, message: &Message) -> Result<(), SendError> {
        let mut state = self.state();
        if state.inbox.is_none() {
            return Err(SendError::Closed);
        }
        if self.put_into(&mut state, message) {
            state.counters.accepted = state.counters.accepted.saturating_add(1);
            return Ok(());
        }
        state.counters.refused_full = state.counters.refused_full.saturating_add(1);
        Err(SendError::Full)
    }

    /// A probe: if there is no room for it, the next one may have.
    pub(super) fn put(&self, message: &Message) {
        self.put_into(&mut self.state(), message);
    }

    fn put_into(&self, state: &mut State, message: &Message) -> bool {
        let mut woken = Vec::new();
        let queued = state.outbox.publish(message, &mut woken).queued > 0;
        if queued {
            state.put = state.put.saturating_add(1);
        }
        if !woken.is_empty() {
            self.publishing.ring();
        }
        queued
    }

    pub(super) fn subscribe(&self, prefix: &[u8]) -> Result<(), AddressError> {
        let mut state = self.state();
        let is_known = state.wishes.is_wanted(prefix);
        if !is_known && state.wishes.wanted().len() >= state.subscriptions_max {
            return Err(AddressError::TooMany);
        }
        self.wish(&mut state, Wish::Subscribe(prefix.to_vec().into()));
        Ok(())
    }

    pub(super) fn unsubscribe(&self, prefix: &[u8]) {
        self.wish(&mut self.state(), Wish::Cancel(prefix.to_vec().into()));
    }

    fn wish(&self, state: &mut State, wish: Wish) {
        let mut woken = Vec::new();
        state.wishes.wish(wish, &mut woken);
        if !woken.is_empty() {
            self.hearing.ring();
        }
    }

    /// So many messages have left.
    pub(super) fn sent(&self, messages: u64) {
        let mut state = self.state();
        state.counters.sent = state.counters.sent.saturating_add(messages);
        state.done(messages);
        drop(state);
        self.left.notify_waiters();
    }

    /// Waits until all that was put into the outbox before has left, or is lost.
    pub(super) async fn flushed(&self) {
        let until = self.state().put;
        loop {
            let left = self.left.notified();
            let mut left = std::pin::pin!(left);
            // Before looking, so that no word of it is missed.
            left.as_mut().enable();
            if self.state().done >= until {
                return;
            }
            left.await;
        }
    }

    /// So many messages were on their way when their connection ended.
    pub(super) fn lost_on_the_way(&self, messages: u64) {
        if messages == 0 {
            return;
        }
        self.state().done(messages);
        self.left.notify_waiters();
        self.say(BrokerEvent::Dropped(messages));
    }
}

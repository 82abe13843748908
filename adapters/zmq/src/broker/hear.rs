//! The connection that hears.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lictor_runtime::broker::BrokerEvent;
use lictor_runtime::transport::Frame;
use lictor_zmtp::{Connection, Event, Message, Wish};

use super::state::{FORWARDER, Probe, Shared, State};
use crate::bell::Bell;
use crate::drive::{BATCH, Ended, Owner, Wire};

pub(super) struct Hearing {
    shared: Arc<Shared>,
    /// Of this run: no other process has probes of the same name.
    run: u64,
    probes: AtomicU64,
}

impl Hearing {
    pub(super) const fn new(shared: Arc<Shared>, run: u64) -> Self {
        Self { shared, run, probes: AtomicU64::new(0) }
    }

    /// A name that nobody else has, in the form that civitas gives it.
    fn new_probe(&self) -> Vec<u8> {
        let (run, count) = (self.run, self.probes.fetch_add(1, Ordering::Relaxed));
        let (high, middle, low) = (run >> 32, (run >> 16) & 0xffff, run & 0xfff);
        let text = format!("_probe.{high:08x}-{middle:04x}-7{low:03x}-8000-{count:012x}\0");
        text.into_bytes()
    }

    /// The next wish that the forwarder must be told: all that is wanted, then the probe that
    /// proves it, then the end of probes that are over.
    pub(super) fn next_wish(&self) -> Option<Wish> {
        let mut state = self.shared.state();
        if let Some(wish) = state.wishes.next(FORWARDER) {
            state.probe.stale |= matches!(wish, Wish::Subscribe(_));
            return Some(wish);
        }
        if std::mem::take(&mut state.probe.stale) {
            let topic = self.new_probe();
            let given_up = state.probe.topic.replace(topic.clone());
            state.probe.over.extend(given_up);
            self.shared.probing.ring();
            return Some(Wish::Subscribe(topic.into()));
        }
        state.probe.over.pop().map(|topic| Wish::Cancel(topic.into()))
    }

    /// There is a connection that knows of nothing yet.
    pub(super) fn opened(&self, state: &mut State) {
        state.counters.opened = state.counters.opened.saturating_add(1);
        let added = state.wishes.add(FORWARDER);
        debug_assert!(added.is_ok(), "there is room for one");
        state.probe = Probe { stale: true, ..Probe::default() };
        self.shared.hearing.ring();
    }

    /// There is none any more.
    pub(super) fn closed(state: &mut State) {
        state.wishes.remove(FORWARDER);
        state.probe.topic = None;
    }

    /// What becomes of one message: a word to the inbox, or a counter.
    fn message(&self, message: &Message, state: &mut State) -> Option<BrokerEvent> {
        let mut parts = message.parts();
        let (topic, content) = (parts.next().unwrap_or_default(), parts.next());
        let address = topic.strip_suffix(b"\0").and_then(|text| std::str::from_utf8(text).ok());
        let address = address.filter(|address| !address.is_empty() && !address.contains('\0'));
        let (Some(address), Some(content), None) = (address, content, parts.next()) else {
            state.counters.malformed = state.counters.malformed.saturating_add(1);
            return None;
        };
        if !state.wishes.wants(topic) || state.wishes.is_wanted(address.as_bytes()) {
            if self.shared.returned(state, topic) {
                return Some(BrokerEvent::Ready);
            }
            // A late probe is nobody's loss.
            if !address.starts_with("_probe.") {
                state.counters.unwanted = state.counters.unwanted.saturating_add(1);
            }
            return None;
        }
        // The bytes stay where they are; the address in front of them costs little.
        let frame = Frame::from(message.wire().slice_ref(content));
        Some(BrokerEvent::Message { address: address.into(), frame })
    }
}

impl Owner for Hearing {
    fn hear(&self, events: &mut Vec<Event>) -> Result<(), Arc<str>> {
        if events.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.state();
        let mut words = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            match event {
                Event::Open(_) => self.opened(&mut state),
                Event::Message(message) => words.extend(self.message(&message, &mut state)),
                // Only publishers hear these.
                Event::Subscribe(_) | Event::Cancel(_) => {}
            }
        }
        drop(state);
        let (mut received, mut full) = (0_u64, 0_u64);
        for word in words {
            let is_message = matches!(word, BrokerEvent::Message { .. });
            let taken = self.shared.say(word);
            received += u64::from(is_message && taken);
            full += u64::from(is_message && !taken);
        }
        let mut state = self.shared.state();
        state.counters.received = state.counters.received.saturating_add(received);
        state.counters.inbox_full = state.counters.inbox_full.saturating_add(full);
        Ok(())
    }

    fn fill(&self, connection: &mut Connection, wire: &mut Wire) {
        while wire.bytes().len() < BATCH {
            let told = match self.next_wish() {
                Some(Wish::Subscribe(prefix)) => connection.subscribe(&prefix, wire.bytes()),
                Some(Wish::Cancel(prefix)) => connection.cancel(&prefix, wire.bytes()),
                None => return,
            };
            debug_assert!(told.is_ok(), "only an open connection is filled");
        }
    }

    fn sent(&self, _messages: u64) {}

    fn bell(&self) -> &Bell {
        &self.shared.hearing
    }

    fn ended(&self, ended: &Ended) {
        let mut state = self.shared.state();
        Self::closed(&mut state);
        state.counters.end(ended);
    }
}

//! The connection that publishes.

use std::sync::Arc;

use lictor_zmtp::{Connection, Event};

use super::state::{FORWARDER, Shared};
use crate::bell::Bell;
use crate::drive::{BATCH, Ended, Owner, Wire};

pub(super) struct Publishing {
    shared: Arc<Shared>,
}

impl Publishing {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Owner for Publishing {
    fn hear(&self, events: &mut Vec<Event>) -> Result<(), Arc<str>> {
        // What the forwarder subscribes to is not looked at: everything goes there.
        let opens = events.iter().any(|event| matches!(event, Event::Open(_)));
        if opens {
            let mut state = self.shared.state();
            state.publishing_open = true;
            state.counters.opened = state.counters.opened.saturating_add(1);
            // What was proved is proved no longer.
            state.probe.stale = true;
            self.shared.hearing.ring();
        }
        Ok(())
    }

    fn fill(&self, connection: &mut Connection, wire: &mut Wire) {
        let mut messages = Vec::new();
        self.shared.state().outbox.take(FORWARDER, BATCH, &mut messages);
        for message in &messages {
            wire.message(connection, message);
        }
    }

    fn sent(&self, messages: u64) {
        self.shared.sent(messages);
    }

    fn bell(&self) -> &Bell {
        &self.shared.publishing
    }

    fn ended(&self, ended: &Ended) {
        let mut state = self.shared.state();
        state.publishing_open = false;
        state.counters.end(ended);
        drop(state);
        self.shared.lost_on_the_way(ended.lost);
    }
}

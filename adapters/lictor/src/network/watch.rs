//! A look at whether a broker is there, for who has to say so to people.

use std::sync::{Arc, Mutex, PoisonError};

use lictor_runtime::Task;
use lictor_runtime::broker::{AddressError, Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor_runtime::transport::{Frame, SendError};

use super::hints::Offered;

/// A broker, and what it last said of its connection.
#[derive(Debug)]
pub struct BrokerWatch {
    inner: Arc<dyn Broker>,
    offered: Option<Offered>,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default, Debug)]
struct State {
    is_ready: bool,
    lost: Option<Arc<str>>,
}

impl BrokerWatch {
    /// A look at this broker, which says what in the topology is to be changed where it can tell by
    /// what that offers.
    pub(super) fn of(inner: Arc<dyn Broker>, offered: Option<Offered>) -> Arc<Self> {
        Arc::new(Self { inner, offered, state: Arc::default() })
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_ready
    }

    /// Why there was none the last time, if the broker has said so; and what in the topology is to
    /// be changed, where that can be told.
    #[must_use]
    pub fn why(&self) -> Option<Arc<str>> {
        let why = self.state.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()?;
        match self.offered.and_then(|offered| offered.hint(&why)) {
            Some(hint) => Some(format!("{why}; {hint}").into()),
            None => Some(why),
        }
    }
}

impl Broker for BrokerWatch {
    fn publish(&self, address: &str, frame: Frame) -> Result<(), SendError> {
        self.inner.publish(address, frame)
    }

    fn subscribe(&self, to: Subscription) -> Result<(), AddressError> {
        self.inner.subscribe(to)
    }

    fn unsubscribe(&self, from: &Subscription) {
        self.inner.unsubscribe(from);
    }

    fn run(self: Arc<Self>, inbox: BrokerInbox) -> Task {
        let state = Arc::clone(&self.state);
        let inbox = BrokerInbox::new(move |event| {
            match &event {
                BrokerEvent::Ready => {
                    *state.lock().unwrap_or_else(PoisonError::into_inner) =
                        State { is_ready: true, lost: None };
                }
                BrokerEvent::Lost(why) => {
                    *state.lock().unwrap_or_else(PoisonError::into_inner) =
                        State { is_ready: false, lost: Some(Arc::clone(why)) };
                }
                BrokerEvent::Message { .. } | BrokerEvent::Dropped(_) => {}
            }
            inbox.say(event)
        });
        Arc::clone(&self.inner).run(inbox)
    }

    fn flush(self: Arc<Self>) -> Task {
        Arc::clone(&self.inner).flush()
    }

    fn linger(&self) -> std::time::Duration {
        self.inner.linger()
    }
}

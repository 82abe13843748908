//! A broker in memory, for tests of what lies above brokers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::broker::{AddressError, Broker, BrokerEvent, BrokerInbox, Subscription, check_address};
use crate::executor::Task;
use crate::transport::{FRAME_BYTES_MAX, Frame, SendError};

/// Bytes that wait for one client, beyond which publishers are refused.
const QUEUE_BYTES_MAX: usize = 1 << 24;

/// What a message costs besides its bytes.
const OVERHEAD: usize = 64;

/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 1 << 16;

/// A broker that all of its clients share. It loses nothing but what is cut off.
#[derive(Default)]
pub struct Hub(Mutex<BTreeMap<u64, Place>>);

#[derive(Default)]
struct Place {
    running: bool,
    cut: bool,
    wanted: BTreeSet<Subscription>,
    events: VecDeque<BrokerEvent>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Place {
    fn say(&mut self, event: BrokerEvent) {
        if let BrokerEvent::Message { address, frame } = &event {
            self.bytes += cost(address, frame);
        }
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    const fn is_connected(&self) -> bool {
        self.running && !self.cut
    }
}

fn cost(address: &str, frame: &Frame) -> usize {
    address.len() + frame.as_bytes().len() + OVERHEAD
}

impl Hub {
    /// A broker without clients.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One more client.
    #[must_use]
    pub fn client(self: &Arc<Self>) -> Arc<dyn Broker> {
        let mut places = self.places();
        let number = u64::try_from(places.len()).unwrap_or(u64::MAX);
        places.insert(number, Place::default());
        Arc::new(Client { hub: Arc::clone(self), number })
    }

    /// Cuts a client off (they are numbered from 0 in the order in which they were made), or
    /// connects it again.
    pub fn cut(&self, client: u64, cut: bool) {
        let mut places = self.places();
        let Some(place) = places.get_mut(&client) else { return };
        if place.cut == cut {
            return;
        }
        place.cut = cut;
        if place.running {
            let lost = BrokerEvent::Lost(Arc::from("it was cut off"));
            place.say(if cut { lost } else { BrokerEvent::Ready });
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hub")
    }
}

#[derive(Debug)]
struct Client {
    hub: Arc<Hub>,
    number: u64,
}

impl Client {
    fn with<R>(&self, act: impl FnOnce(&mut Place) -> R) -> R {
        act(self.hub.places().entry(self.number).or_default())
    }
}

impl Broker for Client {
    fn publish(&self, address: &str, frame: Frame) -> Result<(), SendError> {
        check_address(address).map_err(|_| SendError::UnknownPeer)?;
        if frame.as_bytes().len() > FRAME_BYTES_MAX + (1 << 12) {
            return Err(SendError::TooLarge);
        }
        let mut places = self.hub.places();
        let own = places.entry(self.number).or_default();
        if !own.running {
            return Err(SendError::Closed);
        }
        if own.cut {
            return Err(SendError::Unreachable);
        }
        let hears = |place: &Place| {
            place.is_connected() && place.wanted.iter().any(|wanted| wanted.matches(address))
        };
        let cost = cost(address, &frame);
        if places.values().any(|place| hears(place) && place.bytes + cost > QUEUE_BYTES_MAX) {
            return Err(SendError::Full);
        }
        let address: Arc<str> = Arc::from(address);
        for place in places.values_mut().filter(|place| hears(place)) {
            let (address, frame) = (Arc::clone(&address), frame.clone());
            place.say(BrokerEvent::Message { address, frame });
        }
        Ok(())
    }

    fn subscribe(&self, to: Subscription) -> Result<(), AddressError> {
        to.check()?;
        self.with(|place| {
            if place.wanted.len() >= SUBSCRIPTIONS_MAX && !place.wanted.contains(&to) {
                return Err(AddressError::TooMany);
            }
            if place.wanted.insert(to) && place.is_connected() {
                place.say(BrokerEvent::Ready);
            }
            Ok(())
        })
    }

    fn unsubscribe(&self, from: &Subscription) {
        self.with(|place| place.wanted.remove(from));
    }

    fn run(self: Arc<Self>, inbox: BrokerInbox) -> Task {
        self.with(|place| {
            place.running = true;
            if !place.cut {
                place.say(BrokerEvent::Ready);
            }
        });
        let running = Running(self);
        Box::pin(async move {
            let client = &running.0;
            poll_fn(|cx| {
                while let Some(event) = client.with(|place| {
                    let event = place.events.pop_front();
                    if let Some(BrokerEvent::Message { address, frame }) = &event {
                        place.bytes -= cost(address, frame);
                    }
                    place.waker = event.is_none().then(|| cx.waker().clone());
                    event
                }) {
                    inbox.say(event);
                }
                Poll::Pending
            })
            .await
        })
    }

    fn flush(self: Arc<Self>) -> Task {
        Box::pin(std::future::ready(()))
    }
}

struct Running(Arc<Client>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.with(|place| {
            place.running = false;
            place.events.clear();
            place.bytes = 0;
        });
    }
}

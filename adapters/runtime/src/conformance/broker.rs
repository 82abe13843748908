//! The suite that every broker passes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_kernel::Instant;

use crate::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use crate::executor::{Executor, Task};
use crate::transport::{FRAME_BYTES_MAX, Frame, SendError};

/// What a case of [`broker`] works with: two clients of one broker, neither of which runs.
#[derive(Clone, Debug)]
pub struct Clients {
    /// What both run on.
    pub executor: Arc<dyn Executor>,
    /// One.
    pub one: Arc<dyn Broker>,
    /// Another.
    pub two: Arc<dyn Broker>,
    /// What addresses of this case begin with, so that cases at one broker are apart.
    pub prefix: Arc<str>,
}

/// One check of [`broker`].
pub type BrokerCase = fn(Clients) -> Task;

/// Checks a [`Broker`]. `run` is called once per case with its name; it makes two fresh clients of
/// one broker, calls the case, drives the task to its end, and lets its panics through.
///
/// # Panics
/// When the broker breaks its contract.
pub fn broker(mut run: impl FnMut(&'static str, BrokerCase)) {
    let cases: [(&'static str, BrokerCase); 8] = [
        ("once both are ready, the first message arrives", ready_means_ready),
        ("a subscription below a prefix takes what is below", prefixes),
        ("what was unsubscribed from ceases to come", unsubscribed),
        ("what one publishes to one address comes in order", in_order),
        ("bytes arrive as they are, of any size that is allowed", bytes_are_kept),
        ("what cannot be published is refused by its error", refusals),
        ("a publisher never waits, and is refused at last", bounded),
        ("a client that was dropped runs again, with its subscriptions", runs_again),
    ];
    for (name, case) in cases {
        run(name, case);
    }
}

const STEP: Duration = Duration::from_millis(5);

/// No case waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for what should not come to have come.
const QUIET: Duration = Duration::from_millis(300);

type Heard = Arc<Mutex<VecDeque<BrokerEvent>>>;

struct Client {
    executor: Arc<dyn Executor>,
    broker: Arc<dyn Broker>,
    heard: Heard,
    run: Option<Task>,
}

impl Client {
    fn new(executor: &Arc<dyn Executor>, broker: Arc<dyn Broker>) -> Self {
        let executor = Arc::clone(executor);
        let mut client = Self { executor, broker, heard: Heard::default(), run: None };
        client.begin();
        client
    }

    fn begin(&mut self) {
        let heard = Arc::clone(&self.heard);
        let inbox = BrokerInbox::new(move |event| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
            true
        });
        self.run = Some(Arc::clone(&self.broker).run(inbox));
    }

    fn take(&self) -> Option<BrokerEvent> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The next message, whatever else is said.
    fn message(&self) -> Option<(Arc<str>, Frame)> {
        while let Some(event) = self.take() {
            if let BrokerEvent::Message { address, frame } = event {
                return Some((address, frame));
            }
        }
        None
    }

    fn now(&self) -> Instant {
        self.executor.now()
    }
}

/// Lets both run until something is there.
async fn until<T>(
    one: &mut Client,
    two: &mut Client,
    what: &str,
    mut found: impl FnMut(&Client, &Client) -> Option<T>,
) -> T {
    let end = one.now().saturating_add(PATIENCE);
    loop {
        if let Some(found) = found(one, two) {
            return found;
        }
        assert!(one.now() < end, "{what}: not in {PATIENCE:?}");
        step(one, two).await;
    }
}

async fn step(one: &mut Client, two: &mut Client) {
    let mut sleep = one.executor.sleep_until(one.now().saturating_add(STEP));
    std::future::poll_fn(|cx| {
        for run in [&mut one.run, &mut two.run].into_iter().flatten() {
            assert!(run.as_mut().poll(cx).is_pending(), "the broker's client has ended");
        }
        Pin::new(&mut sleep).poll(cx)
    })
    .await;
}

/// Nothing more comes to the second.
async fn quiet(one: &mut Client, two: &mut Client) {
    let end = one.now().saturating_add(QUIET);
    while one.now() < end {
        step(one, two).await;
        let message = two.message();
        assert!(message.is_none(), "this should not have come: {message:?}");
    }
}

fn is_ready(client: &Client) -> Option<()> {
    while let Some(event) = client.take() {
        if event == BrokerEvent::Ready {
            return Some(());
        }
    }
    None
}

/// Both run, and the second has subscribed.
async fn pair(clients: Clients, wanted: &[Subscription]) -> (Client, Client) {
    for wanted in wanted {
        assert_eq!(clients.two.subscribe(wanted.clone()), Ok(()));
    }
    let mut one = Client::new(&clients.executor, clients.one);
    let mut two = Client::new(&clients.executor, clients.two);
    until(&mut one, &mut two, "readiness of the first", |one, _| is_ready(one)).await;
    until(&mut one, &mut two, "readiness of the second", |_, two| is_ready(two)).await;
    (one, two)
}

fn at(clients: &Clients, tail: &str) -> Arc<str> {
    format!("{}.{tail}", clients.prefix).into()
}

/// Publishes again and again until it comes: for brokers whose publishers learn of each
/// subscription by themselves, readiness of one end says nothing about the other's.
async fn meet(one: &mut Client, two: &mut Client, address: &str) {
    let label = Frame::new(*b"meet");
    until(one, two, "a first message", |one, two| {
        assert_eq!(one.broker.publish(address, label.clone()), Ok(()));
        two.message()
    })
    .await;
    for _ in 0..20 {
        step(one, two).await;
    }
    while two.message().is_some() {}
}

fn ready_means_ready(clients: Clients) -> Task {
    Box::pin(async move {
        let (own, other) = (at(&clients, "own"), at(&clients, "other"));
        let wanted = [Subscription::address(Arc::clone(&own))];
        let (mut one, mut two) = pair(clients, &wanted).await;
        // To itself at once: that is what readiness proves.
        assert_eq!(two.broker.publish(&own, Frame::new(*b"self")), Ok(()));
        let got = until(&mut one, &mut two, "its own message", |_, two| two.message()).await;
        assert_eq!(got, (Arc::clone(&own), Frame::new(*b"self")));
        meet(&mut one, &mut two, &own).await;
        assert_eq!(one.broker.publish(&other, Frame::new(*b"none")), Ok(()));
        assert_eq!(one.broker.publish(&format!("{own}s"), Frame::new(*b"none")), Ok(()));
        quiet(&mut one, &mut two).await;
    })
}

fn prefixes(clients: Clients) -> Task {
    Box::pin(async move {
        let (below, inside) = (at(&clients, "in."), at(&clients, "in.side.x"));
        let beside = at(&clients, "inside.x");
        let (mut one, mut two) = pair(clients, &[Subscription::below(below)]).await;
        meet(&mut one, &mut two, &inside).await;
        assert_eq!(one.broker.publish(&beside, Frame::new(*b"none")), Ok(()));
        assert_eq!(one.broker.publish(&inside, Frame::new(*b"some")), Ok(()));
        let got = until(&mut one, &mut two, "what is below", |_, two| two.message()).await;
        assert_eq!(got, (inside, Frame::new(*b"some")));
        quiet(&mut one, &mut two).await;
    })
}

fn unsubscribed(clients: Clients) -> Task {
    Box::pin(async move {
        let (first, later) = (at(&clients, "first"), at(&clients, "later"));
        let wanted = Subscription::address(Arc::clone(&first));
        let (mut one, mut two) = pair(clients, std::slice::from_ref(&wanted)).await;
        meet(&mut one, &mut two, &first).await;
        let to = Subscription::address(Arc::clone(&later));
        assert_eq!(two.broker.subscribe(to), Ok(()), "while it runs");
        until(&mut one, &mut two, "readiness", |_, two| is_ready(two)).await;
        two.broker.unsubscribe(&wanted);
        meet(&mut one, &mut two, &later).await;
        let end = one.now().saturating_add(PATIENCE);
        let mut silent = 0;
        // The broker may take a moment to learn of it.
        while silent < 20 {
            assert!(one.now() < end, "it still comes");
            assert_eq!(one.broker.publish(&first, Frame::new(*b"no")), Ok(()));
            step(&mut one, &mut two).await;
            silent = if two.message().is_some() { 0 } else { silent + 1 };
        }
    })
}

fn in_order(clients: Clients) -> Task {
    Box::pin(async move {
        let own = at(&clients, "own");
        let wanted = [Subscription::address(Arc::clone(&own))];
        let (mut one, mut two) = pair(clients, &wanted).await;
        meet(&mut one, &mut two, &own).await;
        let mut next: u32 = 0;
        for number in 0..500_u32 {
            assert_eq!(one.broker.publish(&own, Frame::new(number.to_be_bytes())), Ok(()));
        }
        while next < 500 {
            let got = until(&mut one, &mut two, "the next", |_, two| two.message()).await;
            assert_eq!(
                got.1,
                Frame::new(next.to_be_bytes()),
                "of 500 that no queue is too short for"
            );
            next += 1;
        }
    })
}

fn bytes_are_kept(clients: Clients) -> Task {
    Box::pin(async move {
        let own = at(&clients, "own");
        let wanted = [Subscription::address(Arc::clone(&own))];
        let (mut one, mut two) = pair(clients, &wanted).await;
        meet(&mut one, &mut two, &own).await;
        for size in [0, 1, 254, 255, 256, 65_535, 65_536, FRAME_BYTES_MAX] {
            let bytes: Vec<u8> =
                (0..size).map(|at| u8::try_from((at * 7 + size) % 251).unwrap_or(0)).collect();
            let frame = Frame::new(bytes);
            assert_eq!(one.broker.publish(&own, frame.clone()), Ok(()));
            let got = until(&mut one, &mut two, "a frame", |_, two| two.message()).await;
            assert!(got.1 == frame, "{size} bytes were changed");
        }
    })
}

fn refusals(clients: Clients) -> Task {
    Box::pin(async move {
        let own = at(&clients, "own");
        let closed = clients.one.publish(&own, Frame::new(*b"x"));
        assert_eq!(closed, Err(SendError::Closed), "it does not run yet");
        assert!(clients.one.subscribe(Subscription::address("a b")).is_err());
        assert!(clients.one.subscribe(Subscription::below("no.dot")).is_err());
        let (one, _two) = pair(clients, &[]).await;
        for bad in ["", "a b", "a.*", "a..b", ">", "\0"] {
            let refused = one.broker.publish(bad, Frame::new(*b"x"));
            assert_eq!(refused, Err(SendError::UnknownPeer), "{bad:?}");
        }
        let large = Frame::new(vec![0; (1 << 20) + 1]);
        assert_eq!(one.broker.publish(&own, large), Err(SendError::TooLarge));
    })
}

fn bounded(clients: Clients) -> Task {
    Box::pin(async move {
        let own = at(&clients, "own");
        let wanted = [Subscription::address(Arc::clone(&own))];
        let (mut one, mut two) = pair(clients, &wanted).await;
        meet(&mut one, &mut two, &own).await;
        let frame = Frame::new(vec![7; 1 << 16]);
        // A hundred times what any default queue holds; nothing is moved meanwhile.
        let refused = (0..1 << 17).find_map(|_| one.broker.publish(&own, frame.clone()).err());
        assert_eq!(refused, Some(SendError::Full), "eight gigabytes wait");
        until(&mut one, &mut two, "something of it", |_, two| two.message()).await;
    })
}

fn runs_again(clients: Clients) -> Task {
    Box::pin(async move {
        let own = at(&clients, "own");
        let wanted = [Subscription::address(Arc::clone(&own))];
        let (mut one, mut two) = pair(clients, &wanted).await;
        meet(&mut one, &mut two, &own).await;
        two.run = None;
        assert_eq!(two.broker.publish(&own, Frame::new(*b"x")), Err(SendError::Closed));
        while two.take().is_some() {}
        two.begin();
        until(&mut one, &mut two, "readiness", |_, two| is_ready(two)).await;
        meet(&mut one, &mut two, &own).await;
    })
}

//! The forwarder: what civitas calls its proxy, on tokio.
//!
//! Publishers connect to one side, subscribers to the other; what is decided is in
//! [`lictor_zmtp::Proxy`], and here is one task for each connection. No peer can stop it: a bad
//! byte ends the connection that it came on, a peer that does not read fills its own queue.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor_zmtp::{
    Allow, Config, Connection, Event, FanoutLimits, Heartbeat, Limits, PeerId, Proxy, SecretKey,
    Security, SocketType, Tally, Wish,
};
use tokio::task::JoinSet;

use crate::bell::Bell;
use crate::config::checked;
use crate::drive::{BATCH, Clock, Ended, Owner, Wire, drive};
use crate::{Counters, Endpoint, Network, TokioNetwork, ZmqError};

/// After a connection could not be accepted: most often there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a forwarder is and does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyConfig {
    /// Where it hears publishers.
    pub pub_addr: Endpoint,
    /// Where it serves subscribers.
    pub sub_addr: Endpoint,
    /// CURVE: its secret key, and whom it lets in.
    pub curve: Option<(SecretKey, Allow)>,
    /// What one connection may make it hold.
    pub limits: Limits,
    /// How many peers each side has, and what waits for each.
    pub fanout: FanoutLimits,
    /// How a peer that has vanished is noticed.
    pub heartbeat: Heartbeat,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl ProxyConfig {
    /// Finds faults before anything is opened.
    pub(crate) fn check(&self) -> Result<(), ZmqError> {
        self.end(SocketType::XPub).map(drop)
    }

    fn end(&self, socket: SocketType) -> Result<Arc<Config>, ZmqError> {
        let security = self.curve.as_ref().map_or(Security::Null, |(secret, allow)| {
            Security::CurveServer { secret: secret.clone(), allow: allow.clone() }
        });
        let config = Config {
            socket,
            security,
            limits: self.limits,
            handshake_timeout: self.handshake_timeout,
            heartbeat: Some(self.heartbeat),
            identity: Vec::new(),
        };
        checked(config, self.fanout.queue_bytes).map(Arc::new)
    }
}

/// A forwarder that listens. It forwards while [`ZmqProxy::run`] is polled.
pub struct ZmqProxy<N: Network = TokioNetwork> {
    network: N,
    listeners: [N::Listener; 2],
    ends: [Arc<Config>; 2],
    /// Connections at both sides, greeted or not.
    connections_max: usize,
    shared: Arc<Shared>,
}

impl<N: Network> Debug for ZmqProxy<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZmqProxy").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    proxy: Proxy,
    bells: BTreeMap<PeerId, Arc<Bell>>,
    next: u64,
    counters: Counters,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, counter: impl FnOnce(&mut Counters) -> &mut u64) {
        let mut state = self.state();
        let counter = counter(&mut state.counters);
        *counter = counter.saturating_add(1);
    }
}

impl State {
    fn ring(&self, woken: &[PeerId]) {
        woken.iter().filter_map(|peer| self.bells.get(peer)).for_each(|bell| bell.ring());
    }
}

/// The two sides, in the order of a forwarder's listeners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Publishers,
    Subscribers,
}

impl<N: Network> ZmqProxy<N> {
    /// Listens at both sides.
    ///
    /// # Errors
    /// What the network says; or `InvalidInput` with the [`ZmqError`] inside.
    pub async fn bind(network: N, config: &ProxyConfig) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let ends = [
            config.end(SocketType::XSub).map_err(invalid)?,
            config.end(SocketType::XPub).map_err(invalid)?,
        ];
        let listeners =
            [network.bind(&config.pub_addr).await?, network.bind(&config.sub_addr).await?];
        let state = State {
            proxy: Proxy::new(config.fanout),
            bells: BTreeMap::new(),
            next: 0,
            counters: Counters::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let connections_max = config.fanout.peers.saturating_mul(2);
        Ok(Self { network, listeners, ends, connections_max, shared })
    }

    /// Where it listens in fact: for publishers, for subscribers.
    ///
    /// # Errors
    /// What the network says.
    pub fn endpoints(&self) -> io::Result<(Endpoint, Endpoint)> {
        let [publishers, subscribers] = &self.listeners;
        Ok((self.network.local(publishers)?, self.network.local(subscribers)?))
    }

    /// What became of connections and messages.
    #[must_use]
    pub fn counters(&self) -> Counters {
        ProxyView(Arc::clone(&self.shared)).counters()
    }

    /// The same as [`ZmqProxy::counters`], for whoever does not hold it.
    pub(crate) fn view(&self) -> ProxyView {
        ProxyView(Arc::clone(&self.shared))
    }

    /// What became of messages.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.state().proxy.tally()
    }

    /// Forwards until it is dropped, which ends all connections. It never ends by itself.
    pub async fn run(&self) {
        let clock = Clock::start();
        let mut tasks = JoinSet::new();
        let [publishers, subscribers] = &self.listeners;
        loop {
            let (side, accepted) = tokio::select! {
                biased;
                accepted = self.network.accept(publishers) => (Side::Publishers, accepted),
                accepted = self.network.accept(subscribers) => (Side::Subscribers, accepted),
                _ = reap(&mut tasks) => continue,
            };
            let (Ok(stream), Ok(seed)) = (accepted, self.network.seed()) else {
                self.shared.count(|counters| &mut counters.refused);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if tasks.len() >= self.connections_max {
                self.shared.count(|counters| &mut counters.too_many);
                continue;
            }
            let [hearing, publishing] = &self.ends;
            let end = if side == Side::Publishers { hearing } else { publishing };
            let place = Place::new(Arc::clone(&self.shared), side);
            tasks.spawn(serve(stream, Arc::clone(end), seed, clock, place));
        }
    }
}

/// The end of a task. One that has failed has harmed its own connection only.
fn reap(tasks: &mut JoinSet<()>) -> impl Future<Output = ()> {
    std::future::poll_fn(|cx| match tasks.poll_join_next(cx) {
        std::task::Poll::Ready(Some(_)) => std::task::Poll::Ready(()),
        std::task::Poll::Ready(None) | std::task::Poll::Pending => std::task::Poll::Pending,
    })
}

async fn serve<S>(stream: S, end: Arc<Config>, seed: [u8; 32], clock: Clock, place: Place)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
{
    let ended = drive(stream, end, seed, clock, &place).await;
    place.ended(&ended);
}

/// What a forwarder has counted.
#[derive(Clone, Debug)]
pub(crate) struct ProxyView(Arc<Shared>);

impl ProxyView {
    pub(crate) fn counters(&self) -> Counters {
        let state = self.0.state();
        let Tally { messages, unwanted, dropped, left, .. } = state.proxy.tally();
        Counters { accepted: messages, unwanted, dropped, left, ..state.counters }
    }
}

/// The place of one connection in the forwarder. It is given up with it, however that ends.
struct Place {
    shared: Arc<Shared>,
    side: Side,
    peer: PeerId,
    bell: Arc<Bell>,
}

impl Place {
    fn new(shared: Arc<Shared>, side: Side) -> Self {
        let bell = Arc::new(Bell::default());
        let mut state = shared.state();
        let peer = PeerId(state.next);
        state.next += 1;
        drop(state);
        Self { shared, side, peer, bell }
    }

    fn take(&self, event: Event, state: &mut State, woken: &mut Vec<PeerId>) -> Result<(), String> {
        let State { proxy, bells, counters, .. } = state;
        match event {
            Event::Open(_) => {
                let added = match self.side {
                    Side::Publishers => proxy.add_publisher(self.peer),
                    Side::Subscribers => proxy.add_subscriber(self.peer),
                };
                added.map_err(|error| {
                    counters.too_many = counters.too_many.saturating_add(1);
                    error.to_string()
                })?;
                counters.opened = counters.opened.saturating_add(1);
                bells.insert(self.peer, Arc::clone(&self.bell));
                Ok(())
            }
            Event::Message(message) => {
                proxy.message(&message, woken);
                Ok(())
            }
            Event::Subscribe(prefix) => proxy
                .wish(self.peer, Wish::Subscribe(prefix), woken)
                .map_err(|error| error.to_string()),
            Event::Cancel(prefix) => proxy
                .wish(self.peer, Wish::Cancel(prefix), woken)
                .map_err(|error| error.to_string()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut woken = Vec::new();
        let mut state = self.shared.state();
        state.proxy.remove(self.peer, &mut woken);
        state.bells.remove(&self.peer);
        state.ring(&woken);
    }
}

impl Owner for Place {
    fn hear(&self, events: &mut Vec<Event>) -> Result<(), Arc<str>> {
        if events.is_empty() {
            return Ok(());
        }
        let mut woken = Vec::new();
        let mut state = self.shared.state();
        let mut taken = Ok(());
        for event in events.drain(..) {
            taken = self.take(event, &mut state, &mut woken);
            if taken.is_err() {
                break;
            }
        }
        state.ring(&woken);
        taken.map_err(Arc::from)
    }

    fn fill(&self, connection: &mut Connection, wire: &mut Wire) {
        match self.side {
            Side::Subscribers => {
                let mut messages = Vec::new();
                self.shared.state().proxy.take(self.peer, BATCH, &mut messages);
                for message in &messages {
                    wire.message(connection, message);
                }
            }
            Side::Publishers => {
                while wire.bytes().len() < BATCH {
                    let wish = self.shared.state().proxy.next_wish(self.peer);
                    let told = match wish {
                        Some(Wish::Subscribe(prefix)) => {
                            connection.subscribe(&prefix, wire.bytes())
                        }
                        Some(Wish::Cancel(prefix)) => connection.cancel(&prefix, wire.bytes()),
                        None => return,
                    };
                    debug_assert!(told.is_ok(), "only an open connection is filled");
                }
            }
        }
    }

    fn sent(&self, messages: u64) {
        let mut state = self.shared.state();
        state.counters.sent = state.counters.sent.saturating_add(messages);
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    fn ended(&self, ended: &Ended) {
        self.shared.state().counters.end(ended);
    }
}

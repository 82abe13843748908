//! A process's client of the forwarder: one connection to publish, one to hear.
//!
//! Each is sought again by itself. Ready means that a message of our own has come back through
//! both, after all subscriptions had been sent: a forwarder takes what one connection says in its
//! order, so the subscriptions are in force at it. A new subscription makes a new probe.

#[cfg(feature = "engine-zeromq")]
mod engine_zeromq;
mod hear;
mod publish;
mod state;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use lictor_runtime::broker::{
    AddressError, Broker, BrokerEvent, BrokerInbox, Subscription, check_address,
};
use lictor_runtime::executor::Task;
use lictor_runtime::transport::{Frame, SendError};
use lictor_zmtp::{Config, ConnectionError, Message, SocketType};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::drive::{Cause, Clock, Ended, Owner, drive};
use crate::proxy::{ProxyConfig, ProxyView};
use crate::{Counters, Endpoint, Engine, Network, TokioNetwork, ZmqConfig, ZmqError, ZmqProxy};
use hear::Hearing;
use publish::Publishing;
use state::Shared;
use state::Way;

/// The greatest frame that is published: twice what runtimes send is heard.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// How often what a forwarder of our own has dropped is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A client of a forwarder, and the forwarder itself where it is configured to be here.
pub struct ZmqBroker<N: Network = TokioNetwork> {
    network: Arc<N>,
    config: ZmqConfig,
    publishing: Arc<Config>,
    hearing: Arc<Config>,
    proxy: Option<ProxyConfig>,
    shared: Arc<Shared>,
}

impl ZmqBroker {
    /// A client on the machine's network. Nothing is opened yet.
    ///
    /// # Errors
    /// [`ZmqError`] if the configuration makes no sense.
    pub fn new(config: ZmqConfig) -> Result<Arc<Self>, ZmqError> {
        Self::on(TokioNetwork, config)
    }
}

impl<N: Network> ZmqBroker<N> {
    /// A client on this network. Nothing is opened yet.
    ///
    /// # Errors
    /// [`ZmqError`] if the configuration makes no sense.
    pub fn on(network: N, config: ZmqConfig) -> Result<Arc<Self>, ZmqError> {
        #[cfg(feature = "engine-zeromq")]
        config.check_engine()?;
        let publishing = Arc::new(config.client(SocketType::Pub)?);
        let hearing = Arc::new(config.client(SocketType::Sub)?);
        let proxy = config.start_proxy.then(|| config.proxy_config()).transpose()?;
        if let Some(proxy) = &proxy {
            proxy.check()?;
        }
        let shared = Arc::new(Shared::new(config.queue_bytes, config.subscriptions));
        let network = Arc::new(network);
        Ok(Arc::new(Self { network, config, publishing, hearing, proxy, shared }))
    }

    /// What became of its connections and messages, those of a forwarder of its own not included.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.state().counters
    }

    /// What a forwarder of its own has counted; `None` if there is none at present.
    #[must_use]
    pub fn proxy_counters(&self) -> Option<Counters> {
        self.shared.state().proxy.as_ref().map(ProxyView::counters)
    }

    /// Holds one connection, and seeks it again whenever it is gone.
    async fn hold<O: Owner>(
        &self,
        (way, to): (Way, &Endpoint),
        end: &Arc<Config>,
        owner: &O,
        seed: u64,
    ) {
        let clock = Clock::start();
        let mut backoff = Backoff::new(self.config.retry, seed);
        loop {
            let connected = self.network.connect(to);
            let why = match timeout(self.config.retry.connect_timeout, connected).await {
                Ok(Ok(stream)) => match self.network.seed() {
                    Ok(seed) => {
                        let ended = drive(stream, Arc::clone(end), seed, clock, owner).await;
                        if ended.opened {
                            backoff.reset();
                        }
                        owner.ended(&ended);
                        format!("{}{}", ended.cause, self.hint(&ended))
                    }
                    Err(error) => format!("no random bytes: {error}"),
                },
                Ok(Err(error)) => {
                    self.shared.count(|counters| &mut counters.refused);
                    error.to_string()
                }
                Err(_) => {
                    self.shared.count(|counters| &mut counters.refused);
                    format!("no connection in {:?}", self.config.retry.connect_timeout)
                }
            };
            self.shared.lost(way, to, &why);
            sleep(backoff.next()).await;
        }
    }

    /// What a handshake that ended like this may mean. Neither end is told why by the protocol.
    fn hint(&self, ended: &Ended) -> &'static str {
        if ended.opened || self.config.curve.is_none() {
            return "";
        }
        if matches!(ended.cause, Cause::Protocol(ConnectionError::Refused { .. })) {
            return "; it does not let in our client_public_key: that key and client_secret_key in \
                    security.transport.zmq.curve are not the pair which the forwarder was given \
                    there; take a pair that it allows";
        }
        if matches!(ended.cause, Cause::Closed) {
            return " in the handshake; server_public_key is not its key, or it has no CURVE";
        }
        ""
    }

    /// Sends a probe every so often, while one is wanted.
    async fn probe(&self) {
        let shared = &self.shared;
        loop {
            let mut waited = Duration::ZERO;
            loop {
                let wanted = shared.state().probe_to_send();
                let Some(topic) = wanted else { break };
                shared.put(&Message::new(&topic, &[b""]));
                sleep(self.config.probe_every).await;
                waited = waited.saturating_add(self.config.probe_every);
                if waited >= self.config.probe_timeout {
                    waited = Duration::ZERO;
                    let after = self.config.probe_timeout;
                    let why = format!("no probe came back in {after:?}");
                    shared.lost(Way::Through, &"connected", &why);
                }
            }
            shared.probing.rung().await;
        }
    }

    /// Runs the forwarder, if it is to run here, and tries again while another process does.
    async fn forward(&self, seed: u64) {
        let Some(config) = &self.proxy else { return std::future::pending().await };
        let mut backoff = Backoff::new(self.config.retry, seed);
        loop {
            match ZmqProxy::bind(Arc::clone(&self.network), config).await {
                Ok(proxy) => {
                    self.shared.state().proxy = Some(proxy.view());
                    proxy.run().await;
                }
                Err(_) => self.shared.count(|counters| &mut counters.unbound),
            }
            sleep(backoff.next()).await;
        }
    }

    /// Tells what a forwarder of our own has dropped.
    async fn tell_dropped(&self) {
        let mut told = 0;
        loop {
            sleep(TELL_EVERY).await;
            let dropped = self.proxy_counters().map_or(0, |counters| counters.dropped);
            if dropped > told {
                self.shared.say(BrokerEvent::Dropped(dropped - told));
            }
            told = dropped;
        }
    }

    async fn all(&self) {
        let seed = self.network.seed().unwrap_or_default();
        let (numbers, _) = seed.as_chunks::<8>();
        let number = |at: usize| numbers.get(at).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (publishing, hearing) = (
            Publishing::new(Arc::clone(&self.shared)),
            Hearing::new(Arc::clone(&self.shared), number(0)),
        );
        let connections = async {
            match self.config.engine {
                Engine::Own => {
                    let ZmqConfig { pub_addr, sub_addr, .. } = &self.config;
                    tokio::join!(
                        self.hold((Way::Out, pub_addr), &self.publishing, &publishing, number(2)),
                        self.hold((Way::In, sub_addr), &self.hearing, &hearing, number(3)),
                    );
                }
                #[cfg(feature = "engine-zeromq")]
                Engine::Zeromq => {
                    engine_zeromq::hold(&self.config, &self.shared, &hearing, number(2)).await;
                }
            }
        };
        tokio::join!(self.forward(number(1)), connections, self.probe(), self.tell_dropped());
    }
}

impl<N: Network> Debug for ZmqBroker<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ZmqConfig { pub_addr, sub_addr, start_proxy, .. } = &self.config;
        f.debug_struct("ZmqBroker")
            .field("pub_addr", pub_addr)
            .field("sub_addr", sub_addr)
            .field("start_proxy", start_proxy)
            .finish_non_exhaustive()
    }
}

impl<N: Network> Broker for ZmqBroker<N> {
    fn publish(&self, address: &str, frame: Frame) -> Result<(), SendError> {
        check_address(address).map_err(|_| SendError::UnknownPeer)?;
        if frame.as_bytes().len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        self.shared.publish(&Message::new(&topic(address), &[frame.as_bytes()]))
    }

    fn subscribe(&self, to: Subscription) -> Result<(), AddressError> {
        to.check()?;
        self.shared.subscribe(&prefix(&to))
    }

    fn unsubscribe(&self, from: &Subscription) {
        self.shared.unsubscribe(&prefix(from));
    }

    fn run(self: Arc<Self>, inbox: BrokerInbox) -> Task {
        if !self.shared.begin(inbox) {
            // It runs already.
            return Box::pin(std::future::ready(()));
        }
        let running = Running(Arc::clone(&self.shared));
        Box::pin(async move {
            let _running = running;
            self.all().await;
        })
    }

    fn flush(self: Arc<Self>) -> Task {
        Box::pin(async move { self.shared.flushed().await })
    }

    fn linger(&self) -> Duration {
        self.config.linger
    }
}

/// Ends what [`Shared::begin`] began.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// An address on the wire.
fn topic(address: &str) -> Vec<u8> {
    let mut topic = Vec::with_capacity(address.len() + 1);
    topic.extend_from_slice(address.as_bytes());
    topic.push(0);
    topic
}

/// A subscription on the wire.
fn prefix(subscription: &Subscription) -> Vec<u8> {
    match subscription {
        Subscription::Address(address) => topic(address),
        Subscription::Below(prefix) => prefix.as_bytes().to_vec(),
    }
}

//! Forwarders at free ports, and clients whose words are kept.

use std::sync::Arc;
use std::time::Duration;

use lictor_runtime::broker::{Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor_runtime::conformance::{self, Clients};
use lictor_runtime::transport::{Frame, SendError};
use lictor_tokio::TokioExecutor;
use lictor_zmq::{
    CurveConfig, Endpoint, Network, ProxyConfig, SecretKey, TokioNetwork, ZmqBroker, ZmqConfig,
    ZmqProxy,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing is waited for longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn secret(of: u8) -> SecretKey {
    SecretKey::from_bytes([of; 32])
}

/// Server key 1, client key 2.
pub(crate) fn curve() -> CurveConfig {
    let (server, client) = (secret(1), secret(2));
    CurveConfig::from_z85(
        &server.public().to_string(),
        Some(&server.to_z85()),
        &client.public().to_string(),
        &client.to_z85(),
    )
    .unwrap()
}

/// Any free port of this machine, and impatient waits.
pub(crate) fn config() -> ZmqConfig {
    let anywhere = || Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
    let mut config = ZmqConfig { pub_addr: anywhere(), sub_addr: anywhere(), ..ZmqConfig::new() };
    config.retry.base = Duration::from_millis(10);
    config.retry.max = Duration::from_millis(50);
    config.probe_every = Duration::from_millis(5);
    config
}

/// A forwarder of ours that runs in a task.
pub(crate) struct Forwarder {
    pub(crate) proxy: Arc<ZmqProxy>,
    pub(crate) task: JoinHandle<()>,
}

impl Forwarder {
    /// Starts one, and brings the configuration to where it is.
    pub(crate) async fn start(config: &mut ZmqConfig) -> Self {
        Self::with(config, |_| {}).await
    }

    pub(crate) async fn with(config: &mut ZmqConfig, edit: impl FnOnce(&mut ProxyConfig)) -> Self {
        let mut proxy = config.proxy_config().unwrap();
        edit(&mut proxy);
        let proxy = Arc::new(ZmqProxy::bind(TokioNetwork, &proxy).await.unwrap());
        (config.pub_addr, config.sub_addr) = proxy.endpoints().unwrap();
        let running = Arc::clone(&proxy);
        let task = tokio::spawn(async move { running.run().await });
        Self { proxy, task }
    }

    /// Ends it, and its sockets are closed when this is over.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
        let proxy = Arc::try_unwrap(self.proxy);
        assert!(proxy.is_ok(), "nobody else holds it");
    }
}

/// A client that runs in a task.
pub(crate) struct Client<N: Network = TokioNetwork> {
    pub(crate) broker: Arc<ZmqBroker<N>>,
    pub(crate) words: mpsc::UnboundedReceiver<BrokerEvent>,
    pub(crate) task: JoinHandle<()>,
}

impl Client {
    /// Starts one that listens to these addresses, and waits until it is ready.
    pub(crate) async fn ready(config: &ZmqConfig, addresses: &[&str]) -> Self {
        let mut client = Self::start(TokioNetwork, config, addresses);
        client.until_ready().await;
        client
    }
}

impl<N: Network> Client<N> {
    pub(crate) fn start(network: N, config: &ZmqConfig, addresses: &[&str]) -> Self {
        let broker = ZmqBroker::on(network, config.clone()).unwrap();
        for address in addresses {
            broker.subscribe(Subscription::address(*address)).unwrap();
        }
        let (said, words) = mpsc::unbounded_channel();
        let inbox = BrokerInbox::new(move |event| said.send(event).is_ok());
        let task = tokio::spawn(Arc::clone(&broker).run(inbox));
        Self { broker, words, task }
    }

    pub(crate) async fn word(&mut self) -> BrokerEvent {
        timeout(PATIENCE, self.words.recv()).await.expect("a word in time").expect("it runs")
    }

    pub(crate) async fn until_ready(&mut self) {
        while self.word().await != BrokerEvent::Ready {}
    }

    pub(crate) async fn until_lost(&mut self) -> Arc<str> {
        loop {
            if let BrokerEvent::Lost(reason) = self.word().await {
                return reason;
            }
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>) {
        loop {
            if let BrokerEvent::Message { address, frame } = self.word().await {
                return (address.to_string(), frame.as_bytes().to_vec());
            }
        }
    }

    pub(crate) fn publish(&self, address: &str, content: &[u8]) -> Result<(), SendError> {
        self.broker.publish(address, Frame::new(content))
    }
}

/// The suite of brokers at a forwarder of ours, between a client that `one` configures and one of
/// ours.
pub(crate) fn suite(config: ZmqConfig, one: fn(&ZmqConfig) -> ZmqConfig) {
    conformance::broker(|name, case| {
        eprintln!("{name}");
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        tokio.block_on(async {
            let mut config = config.clone();
            let _forwarder = Forwarder::start(&mut config).await;
            let clients = Clients {
                executor: Arc::new(TokioExecutor::current().unwrap()),
                one: ZmqBroker::new(one(&config)).unwrap(),
                two: ZmqBroker::new(config).unwrap(),
                prefix: "suite".into(),
            };
            case(clients).await;
        });
    });
}

/// Stops the forwarder and starts it again, so often; then both clients, the first as `one`
/// configures it, hear each other again. Gives the first one.
pub(crate) async fn come_back(
    mut config: ZmqConfig,
    one: fn(&ZmqConfig) -> ZmqConfig,
    times: u32,
) -> Client {
    let mut forwarder = Forwarder::start(&mut config).await;
    let mut one = Client::ready(&one(&config), &["one"]).await;
    let mut two = Client::ready(&config, &["two"]).await;
    for _ in 0..times {
        forwarder.stop().await;
        one.until_lost().await;
        two.until_lost().await;
        forwarder = Forwarder::start(&mut config).await;
        one.until_ready().await;
        two.until_ready().await;
        one.publish("two", b"there").unwrap();
        two.publish("one", b"and back").unwrap();
        assert_eq!(two.message().await, ("two".to_owned(), b"there".to_vec()));
        assert_eq!(one.message().await, ("one".to_owned(), b"and back".to_vec()));
    }
    one
}

/// Waits until a counter or the like says so. Polled: what is counted has no event of its own.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
}

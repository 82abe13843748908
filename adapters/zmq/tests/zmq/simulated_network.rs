//! Turmoil's network as one that a client and a forwarder can be on.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_kernel::Prng;
use lictor_zmq::{Endpoint, Network, ZmqConfig, ZmqProxy};
use turmoil::net::{TcpListener, TcpStream};

/// A world in which a host `hub` has the forwarder.
pub(crate) fn hub(
    seed: u64,
    tick: Duration,
    config: impl Fn() -> ZmqConfig + 'static,
) -> turmoil::Sim<'static> {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .epoch(std::time::UNIX_EPOCH)
        .tick_duration(tick)
        .simulation_duration(Duration::from_secs(1_000_000))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(4096);
    let mut sim = builder.build();
    let boots = AtomicU64::new(seed << 32);
    sim.host("hub", move || {
        let network = Simulated::new(boots.fetch_add(1 << 16, Ordering::Relaxed));
        let config = config();
        async move {
            let proxy = ZmqProxy::bind(network, &config.proxy_config()?).await?;
            proxy.run().await;
            Ok(())
        }
    });
    sim
}

/// Turmoil's network, with random bytes of a seed.
#[derive(Debug)]
pub(crate) struct Simulated(AtomicU64);

impl Simulated {
    /// What is drawn is a function of the seed; two ends of one world have two seeds.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Network for Simulated {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn connect(&self, to: &Endpoint) -> io::Result<TcpStream> {
        let Endpoint::Tcp { host, port } = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        TcpStream::connect((host.as_str(), *port)).await
    }

    async fn bind(&self, at: &Endpoint) -> io::Result<TcpListener> {
        let Endpoint::Tcp { port, .. } = at else { return Err(io::ErrorKind::Unsupported.into()) };
        TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), *port)).await
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    fn local(&self, listener: &TcpListener) -> io::Result<Endpoint> {
        let at = listener.local_addr()?;
        Ok(Endpoint::Tcp { host: at.ip().to_string(), port: at.port() })
    }

    fn seed(&self) -> io::Result<[u8; 32]> {
        let mut prng = Prng::new(self.0.fetch_add(1, Ordering::Relaxed));
        let mut seed = [0; 32];
        let (numbers, _) = seed.as_chunks_mut::<8>();
        numbers.iter_mut().for_each(|number| *number = prng.next_u64().to_le_bytes());
        Ok(seed)
    }
}

//! Turmoil's network as one that a client and a forwarder can be on.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use lictor_kernel::Prng;
use lictor_zmq::{Endpoint, Network};
use turmoil::net::{TcpListener, TcpStream};

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

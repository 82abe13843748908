//! What bytes travel on: the machine's network, or a simulated one.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::Endpoint;

/// From one look at whether a folder is locked to the next.
const LOCK_AGAIN: std::time::Duration = std::time::Duration::from_millis(5);

/// What gives streams. Everything else here is the same over any of them.
pub trait Network: Debug + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Where connections come in.
    type Listener: Send + Sync + 'static;

    /// Connects. The caller bounds the time.
    fn connect(&self, to: &Endpoint) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Listens.
    fn bind(&self, at: &Endpoint) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// The next connection that comes in.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Where a listener listens in fact.
    ///
    /// # Errors
    /// If the network does not know.
    fn local(&self, listener: &Self::Listener) -> io::Result<Endpoint>;

    /// Unforeseeable bytes; never the same twice. Keys are made of them. A simulated network may
    /// draw them of its seed.
    ///
    /// # Errors
    /// If the machine has none to give.
    fn seed(&self) -> io::Result<[u8; 32]>;
}

impl<N: Network> Network for std::sync::Arc<N> {
    type Stream = N::Stream;
    type Listener = N::Listener;

    fn connect(&self, to: &Endpoint) -> impl Future<Output = io::Result<N::Stream>> + Send {
        (**self).connect(to)
    }

    fn bind(&self, at: &Endpoint) -> impl Future<Output = io::Result<N::Listener>> + Send {
        (**self).bind(at)
    }

    fn accept(&self, listener: &N::Listener) -> impl Future<Output = io::Result<N::Stream>> + Send {
        (**self).accept(listener)
    }

    fn local(&self, listener: &N::Listener) -> io::Result<Endpoint> {
        (**self).local(listener)
    }

    fn seed(&self) -> io::Result<[u8; 32]> {
        (**self).seed()
    }
}

/// The machine's own network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TokioNetwork;

/// A stream of [`TokioNetwork`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TokioStream {
    /// TCP, without delay.
    Tcp(TcpStream),
    /// A socket in the file system.
    Unix(UnixStream),
}

/// A listener of [`TokioNetwork`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TokioListener {
    /// TCP.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl Network for TokioNetwork {
    type Stream = TokioStream;
    type Listener = TokioListener;

    async fn connect(&self, to: &Endpoint) -> io::Result<TokioStream> {
        match to {
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(TokioStream::Tcp(stream))
            }
            Endpoint::Ipc(path) => UnixStream::connect(path).await.map(TokioStream::Unix),
        }
    }

    async fn bind(&self, at: &Endpoint) -> io::Result<TokioListener> {
        match at {
            Endpoint::Tcp { host, port } => {
                let host = if host == "*" { "0.0.0.0" } else { host };
                TcpListener::bind((host, *port)).await.map(TokioListener::Tcp)
            }
            Endpoint::Ipc(path) => bind_path(path).await.map(TokioListener::Unix),
        }
    }

    async fn accept(&self, listener: &TokioListener) -> io::Result<TokioStream> {
        match listener {
            TokioListener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(TokioStream::Tcp(stream))
            }
            TokioListener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| TokioStream::Unix(stream))
            }
        }
    }

    fn local(&self, listener: &TokioListener) -> io::Result<Endpoint> {
        match listener {
            TokioListener::Tcp(listener) => {
                let at = listener.local_addr()?;
                Ok(Endpoint::Tcp { host: at.ip().to_string(), port: at.port() })
            }
            TokioListener::Unix(listener) => {
                let at = listener.local_addr()?;
                let path = at.as_pathname().ok_or(io::ErrorKind::AddrNotAvailable)?;
                Ok(Endpoint::Ipc(path.to_owned()))
            }
        }
    }

    fn seed(&self) -> io::Result<[u8; 32]> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(seed)
    }
}

/// A socket that a process has left behind is in the way of the next one: if nobody answers there,
/// it is taken away. A file that is none is somebody's, and stays, though nobody answers there
/// either.
///
/// Only who has the folder's lock takes anything away or listens: of two that find the same socket
/// dead, the slower one would take away that of the faster, and each would forward for its own half
/// of the clients. The folder, so that no file is left behind for it.
async fn bind_path(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let _lock = locked(folder.unwrap_or_else(|| std::path::Path::new("."))).await?;
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(error);
            }
            match UnixStream::connect(path).await {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)?;
                    UnixListener::bind(path)
                }
                Ok(_) | Err(_) => Err(error),
            }
        }
        bound => bound,
    }
}

/// The lock of a folder. Others have it for moments only, so it is tried again for half a second;
/// to wait for it in place would hold up a thread of everybody.
async fn locked(folder: &std::path::Path) -> io::Result<std::fs::File> {
    let folder = std::fs::File::open(folder)?;
    for _ in 0..100 {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_AGAIN).await,
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

impl AsyncRead for TokioStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

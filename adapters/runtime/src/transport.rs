//! What a wire between nodes must give.
//!
//! A transport moves frames of bytes to peers that it knows by number, and says when a link is
//! there and when it is gone. It promises nothing else: it may lose, repeat and reorder frames, and
//! hold them back for long; nothing above assumes otherwise. It never makes a sender wait: what it
//! has no room for, it refuses. The alternative, a `send` that waits, would let one slow peer stop
//! all that goes to the others.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lictor_kernel::NodeId;

use crate::executor::Task;

/// The greatest frame, in bytes; a transport carries any that is not greater. With the envelopes
/// that are put around it, it stays below the mebibyte that a NATS server takes by default.
pub const FRAME_BYTES_MAX: usize = (1 << 20) - (1 << 12);

/// Bytes on their way to a peer. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Frame(Bytes);

impl Frame {
    /// A frame of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Bytes::from(bytes.into()))
    }

    /// The part of it that begins at a byte, or nothing beyond its end. Copies nothing.
    #[must_use]
    pub fn after(&self, at: usize) -> Self {
        Self(self.0.slice(at.min(self.0.len())..))
    }

    /// The bytes as they are shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

/// Why a transport did not take a frame. The peer will not get it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The queue to the peer is full.
    Full,
    /// There is no link to the peer at present.
    Unreachable,
    /// The transport knows no way to such a peer.
    UnknownPeer,
    /// The frame is greater than [`FRAME_BYTES_MAX`].
    TooLarge,
    /// The transport does not run.
    Closed,
}

impl Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the queue to the peer is full",
            Self::Unreachable => "there is no link to the peer at present",
            Self::UnknownPeer => "no way to the peer is known",
            Self::TooLarge => "the frame is too large",
            Self::Closed => "the transport does not run",
        })
    }
}

impl Error for SendError {}

/// What a transport says of one peer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LinkEvent {
    /// Frames can reach it. Before the first frame of a link; may be repeated.
    Up,
    /// It has sent this.
    Frame(Frame),
    /// Frames cannot reach it any more. May be repeated.
    Down,
}

/// Where a transport puts what it hears. Cheap to clone.
#[derive(Clone)]
pub struct Inbox(Arc<dyn Fn(NodeId, LinkEvent) -> bool + Send + Sync>);

impl Inbox {
    /// An inbox that hands everything to `sink`, which must not block and says whether there was
    /// room. Runtimes make their own; this is for tests of transports.
    #[must_use]
    pub fn new(sink: impl Fn(NodeId, LinkEvent) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// The link to a peer is there.
    pub fn up(&self, peer: NodeId) {
        (self.0)(peer, LinkEvent::Up);
    }

    /// A peer has sent a frame. `false` if it was dropped for want of room, or because the runtime
    /// has ended; the transport may slow the peer down then.
    pub fn frame(&self, peer: NodeId, frame: Frame) -> bool {
        (self.0)(peer, LinkEvent::Frame(frame))
    }

    /// The link to a peer is gone.
    pub fn down(&self, peer: NodeId) {
        (self.0)(peer, LinkEvent::Down);
    }
}

impl Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

/// What a wire must give: frames to peers; frames and link state back into the inbox.
///
/// Every adapter passes `conformance::transport`.
pub trait Transport: Debug + Send + Sync + 'static {
    /// The peers that are known from the start. Others may turn up by themselves.
    fn peers(&self) -> Vec<NodeId>;

    /// Takes a frame for a peer. Never blocks; what was taken is sent in the order in which it was
    /// taken, or lost. Bounded: a queue that nobody empties refuses at last.
    ///
    /// # Errors
    /// [`SendError`]; the frame is not sent then.
    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError>;

    /// Moves frames until the task is dropped, which ends all links at once. The task ends by
    /// itself only if the transport cannot go on. After a drop it may be called again.
    fn run(self: Arc<Self>, inbox: Inbox) -> Task;

    /// Is over when all that was taken before has left this process, or cannot any more. Only makes
    /// progress while it runs. By default never: a wire that cannot tell is waited for in vain.
    fn flush(self: Arc<Self>) -> Task {
        Box::pin(std::future::pending())
    }

    /// How long a runtime that ends waits for its last frames to leave. By default 100 ms.
    fn linger(&self) -> Duration {
        Duration::from_millis(100)
    }
}

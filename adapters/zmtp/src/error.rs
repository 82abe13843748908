//! Why a connection cannot go on.

use alloc::string::String;
use core::error::Error;
use core::fmt::{self, Display};
use core::time::Duration;

/// Why a connection ended. It harms no other: close the stream, and forget the machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// What came first is no greeting of ZMTP.
    NotZmtp,
    /// The peer speaks a version below 3, which has no handshake.
    OldVersion {
        /// Its major version, as its greeting says it.
        major: u8,
    },
    /// The peer wants another security mechanism than ours.
    OtherMechanism {
        /// The name it gave, as far as it is text.
        theirs: String,
    },
    /// Both ends, or none, are the CURVE server.
    RolesClash,
    /// A frame has flags that do not exist.
    BadFlags {
        /// Its first byte.
        flags: u8,
    },
    /// A frame says that it is longer than this end takes.
    FrameTooLong {
        /// Bytes of body, as its header says it.
        length: u64,
        /// The most that is taken here.
        limit: usize,
    },
    /// The parts of a message are longer together than this end takes.
    MessageTooLong {
        /// The most bytes that are taken.
        limit: usize,
    },
    /// A message has more parts than this end takes.
    TooManyParts {
        /// The most parts that are taken.
        limit: usize,
    },
    /// A subscription is longer than this end takes.
    TopicTooLong {
        /// Bytes of the subscription.
        length: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// A command does not have the form that its name demands.
    BadCommand,
    /// Something other than the next step of the handshake came.
    Unexpected,
    /// The metadata of the peer cannot be read, or names no type of socket.
    BadMetadata,
    /// The type of the peer's socket does not go with ours.
    OtherSocket {
        /// What it says it is.
        theirs: String,
    },
    /// The peer has refused us: often a key that it does not know.
    Refused {
        /// Its reason.
        reason: String,
    },
    /// CURVE: a box does not open. A wrong key, or bytes that were changed on the way.
    BadBox,
    /// CURVE: a nonce is not above the last one. A message that is sent again.
    BadNonce,
    /// CURVE: a public key of the peer is one of the few that make no secret.
    WeakKey,
    /// CURVE: the peer's key is not among those that may connect.
    UnknownKey,
    /// The handshake was not over in time.
    HandshakeTimeout {
        /// The time it had.
        after: Duration,
    },
    /// Nothing came after a PING.
    Silent {
        /// The time the peer had.
        after: Duration,
    },
    /// The peer asked to be given up after silence, and was silent.
    PeerExpired,
    /// It had ended before.
    Ended,
}

impl Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZmtp => f.write_str("the peer does not speak ZMTP"),
            Self::OldVersion { major } => {
                write!(f, "the peer speaks ZMTP {major}, and 3 or later is needed")
            }
            Self::OtherMechanism { theirs } => write!(
                f,
                "the peer wants the mechanism {theirs:?}: configure CURVE at both ends or at none"
            ),
            Self::RolesClash => f.write_str("one end must be the CURVE server, and one only"),
            Self::BadFlags { flags } => write!(f, "a frame has the flags {flags:#04x}"),
            Self::FrameTooLong { length, limit } => {
                write!(f, "a frame of {length} bytes, and {limit} are allowed")
            }
            Self::MessageTooLong { limit } => {
                write!(f, "a message of more than {limit} bytes")
            }
            Self::TooManyParts { limit } => write!(f, "a message of more than {limit} parts"),
            Self::TopicTooLong { length, limit } => {
                write!(f, "a subscription of {length} bytes, and {limit} are allowed")
            }
            Self::BadCommand => f.write_str("a command is malformed"),
            Self::Unexpected => f.write_str("not the next step of the handshake"),
            Self::BadMetadata => f.write_str("the metadata of the peer is malformed"),
            Self::OtherSocket { theirs } => {
                write!(f, "a socket of type {theirs:?} does not go with ours")
            }
            Self::Refused { reason } => write!(f, "the peer has refused us: {reason:?}"),
            Self::BadBox => f.write_str("a CURVE box does not open: check the server's public key"),
            Self::BadNonce => f.write_str("a CURVE message came again"),
            Self::WeakKey => f.write_str("a CURVE key of the peer makes no secret"),
            Self::UnknownKey => f.write_str("the CURVE key of the peer is not allowed here"),
            Self::HandshakeTimeout { after } => {
                write!(f, "the handshake was not over after {after:?}")
            }
            Self::Silent { after } => write!(f, "nothing came for {after:?} after a PING"),
            Self::PeerExpired => f.write_str("nothing came within the TTL of the peer's PING"),
            Self::Ended => f.write_str("the connection had ended before"),
        }
    }
}

impl Error for ConnectionError {}

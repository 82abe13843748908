//! What a connection is configured with.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt::{self, Display};
use core::time::Duration;

use crate::curve::{PublicKey, SecretKey};

/// The types of sockets that publish and subscribe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SocketType {
    /// Sends messages, and hears subscriptions.
    Pub,
    /// Hears messages, and sends subscriptions.
    Sub,
    /// As [`SocketType::Pub`]; what its user does with subscriptions differs, not the wire.
    XPub,
    /// As [`SocketType::Sub`].
    XSub,
}

impl SocketType {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::XPub => "XPUB",
            Self::XSub => "XSUB",
        }
    }

    pub(crate) fn of_name(name: &[u8]) -> Option<Self> {
        let all = [Self::Pub, Self::Sub, Self::XPub, Self::XSub];
        all.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// Whether it sends messages; otherwise it hears them.
    #[must_use]
    pub const fn publishes(self) -> bool {
        match self {
            Self::Pub | Self::XPub => true,
            Self::Sub | Self::XSub => false,
        }
    }
}

/// How much of anything a peer may make this end hold. Beyond it, its connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Bytes of one frame.
    pub frame: usize,
    /// Parts of one message.
    pub parts: usize,
    /// Bytes of all parts of one message.
    pub message: usize,
    /// Bytes of one subscription.
    pub topic: usize,
}

impl Limits {
    /// 2 MiB a frame and a message, which is twice what the runtime sends; 16 parts; topics of
    /// 512 bytes.
    pub const DEFAULT: Self = Self { frame: 2 << 20, parts: 16, message: 2 << 20, topic: 512 };
}

/// Whether and how an end finds out that the other one is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Heartbeat {
    /// A PING goes out so often. Peers of version 3.0 do not know it and are not asked.
    pub every: Duration,
    /// If nothing at all comes for so long after a PING, the connection ends.
    pub timeout: Duration,
    /// The peer is asked to end the connection if it hears nothing for so long after a PING: whole
    /// tenths of a second, 6553 s at most; zero asks nothing.
    pub ttl: Duration,
}

/// Who may connect to a CURVE server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allow {
    /// Whoever knows the server's public key.
    Any,
    /// The holders of these keys.
    Keys(BTreeSet<PublicKey>),
}

/// The security mechanism of a connection. Both ends must have the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Security {
    /// None: bytes are read and changed by whoever can reach the wire.
    Null,
    /// The end of CURVE that connects.
    CurveClient {
        /// Of the server, known beforehand.
        server: PublicKey,
        /// Of this end.
        public: PublicKey,
        /// Of this end.
        secret: SecretKey,
    },
    /// The end of CURVE that listens.
    CurveServer {
        /// Of this end.
        secret: SecretKey,
        /// Who may connect.
        allow: Allow,
    },
}

/// What a connection is and does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The type of the socket at this end.
    pub socket: SocketType,
    /// The same as at the other end.
    pub security: Security,
    /// How much a peer may make this end hold.
    pub limits: Limits,
    /// A handshake, greeting included, may take so long.
    pub handshake_timeout: Duration,
    /// Without it, a peer that has vanished is not noticed by this end.
    pub heartbeat: Option<Heartbeat>,
    /// Tells the peer who this is; empty for nobody. 255 bytes at most.
    pub identity: Vec<u8>,
}

impl Config {
    /// No security, [`Limits::DEFAULT`], 10 s for a handshake, and a PING each 5 s, after which
    /// 15 s of silence are the end.
    #[must_use]
    pub const fn new(socket: SocketType) -> Self {
        Self {
            socket,
            security: Security::Null,
            limits: Limits::DEFAULT,
            handshake_timeout: Duration::from_secs(10),
            heartbeat: Some(Heartbeat {
                every: Duration::from_secs(5),
                timeout: Duration::from_secs(15),
                ttl: Duration::from_secs(20),
            }),
            identity: Vec::new(),
        }
    }

    /// Finds what would make no connection.
    ///
    /// # Errors
    /// [`ConfigError`]; [`Connection::new`](crate::Connection::new) gives the same one.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Limits { frame, parts, message, topic } = self.limits;
        if frame == 0 || parts == 0 || message == 0 || topic == 0 {
            return Err(ConfigError::ZeroLimit);
        }
        // With what CURVE and headers add it must still be a number.
        if frame.max(message).max(topic) > usize::MAX / 4 {
            return Err(ConfigError::LimitTooGreat);
        }
        if self.identity.len() > 255 {
            return Err(ConfigError::IdentityTooLong { length: self.identity.len() });
        }
        if let Some(heartbeat) = self.heartbeat
            && (heartbeat.every.is_zero() || heartbeat.timeout.is_zero())
        {
            return Err(ConfigError::ZeroHeartbeat);
        }
        if let Security::CurveClient { public, secret, .. } = &self.security
            && secret.public() != *public
        {
            return Err(ConfigError::KeysDiffer);
        }
        Ok(())
    }
}

/// Why a configuration makes no connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit is zero: nothing would pass.
    ZeroLimit,
    /// A limit is above a quarter of the address space.
    LimitTooGreat,
    /// The identity has more than 255 bytes.
    IdentityTooLong {
        /// How many it has.
        length: usize,
    },
    /// The period or the timeout of the heartbeat is zero.
    ZeroHeartbeat,
    /// The public key of a CURVE client is not that of its secret key.
    KeysDiffer,
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroLimit => f.write_str("a limit is zero, so nothing would pass"),
            Self::LimitTooGreat => f.write_str("a limit is beyond the address space"),
            Self::IdentityTooLong { length } => {
                write!(f, "the identity has {length} bytes, and 255 are allowed")
            }
            Self::ZeroHeartbeat => {
                f.write_str("the period and the timeout of a heartbeat must not be zero")
            }
            Self::KeysDiffer => f.write_str(
                "the client's public key is not that of its secret key: take both of one pair",
            ),
        }
    }
}

impl Error for ConfigError {}

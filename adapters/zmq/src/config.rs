//! How a process takes part.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use lictor_zmtp::{
    Allow, Config, ConfigError, FanoutLimits, Heartbeat, KeyError, Limits, PublicKey, SecretKey,
    Security, SocketType,
};
use zeroize::Zeroizing;

use crate::{Endpoint, EndpointError, ProxyConfig};

/// The keys of CURVE. The forwarder has one pair; its clients know its public key and have a pair
/// of their own, one for all of them or one for each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurveConfig {
    /// Of the forwarder.
    pub server_public_key: PublicKey,
    /// Of the forwarder; needed only where it runs.
    pub server_secret_key: Option<SecretKey>,
    /// Of this process.
    pub client_public_key: PublicKey,
    /// Of this process.
    pub client_secret_key: SecretKey,
    /// Whom a forwarder lets in that this process runs.
    pub allow: Allow,
}

impl CurveConfig {
    /// Keys as 40 characters of Z85 each. A forwarder with them lets in this client key only:
    /// widen [`CurveConfig::allow`] if others have keys of their own.
    ///
    /// # Errors
    /// [`ZmqError::Key`], with the name of the key.
    pub fn from_z85(
        server_public_key: &str,
        server_secret_key: Option<&str>,
        client_public_key: &str,
        client_secret_key: &str,
    ) -> Result<Self, ZmqError> {
        let key = |name, error| ZmqError::Key { name, error };
        let client: PublicKey =
            client_public_key.parse().map_err(|error| key("client_public_key", error))?;
        Ok(Self {
            server_public_key: server_public_key
                .parse()
                .map_err(|error| key("server_public_key", error))?,
            server_secret_key: server_secret_key
                .map(str::parse)
                .transpose()
                .map_err(|error| key("server_secret_key", error))?,
            client_public_key: client,
            client_secret_key: client_secret_key
                .parse()
                .map_err(|error| key("client_secret_key", error))?,
            allow: Allow::Keys(BTreeSet::from([client])),
        })
    }

    /// A new pair: of its secret key the text can be written to a file, and the public one belongs
    /// to it. Neither text has `${` in it, so both can stand in a topology file, in quotes.
    ///
    /// # Errors
    /// [`ZmqError::NoEntropy`].
    pub fn new_secret_key() -> Result<SecretKey, ZmqError> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(&mut *bytes).map_err(|_| ZmqError::NoEntropy)?;
            let secret = SecretKey::from_bytes(*bytes);
            let texts = [secret.to_z85(), secret.public().to_string().into()];
            // A variable, where files have variables. One pair in a hundred has it.
            if !texts.iter().any(|text| text.contains("${")) {
                return Ok(secret);
            }
        }
    }

    fn client(&self) -> Security {
        Security::CurveClient {
            server: self.server_public_key,
            public: self.client_public_key,
            secret: self.client_secret_key.clone(),
        }
    }

    /// The forwarder's end, if its secret key is there and is the right one.
    fn server(&self) -> Result<(SecretKey, Allow), ZmqError> {
        let secret = self.server_secret_key.clone().ok_or(ZmqError::NoServerKey)?;
        if secret.public() != self.server_public_key {
            return Err(ZmqError::ServerKeysDiffer);
        }
        Ok((secret, self.allow.clone()))
    }
}

/// When a connection that failed is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RetryConfig {
    /// The wait after the first failure. Doubled for each further one; half of it is jitter.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How long an attempt to connect may take.
    pub connect_timeout: Duration,
}

impl RetryConfig {
    /// After 50 ms, up to 2 s; 5 s to connect.
    pub const DEFAULT: Self = Self {
        base: Duration::from_millis(50),
        max: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(5),
    };
}

/// What speaks ZeroMQ's protocol. The forwarder is ours in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Engine {
    /// `lictor-zmtp`.
    #[default]
    Own,
    /// The `zeromq` crate. Its limits are in the manual; above all, one header of a hostile peer
    /// aborts the process, so it connects to this machine only. No CURVE.
    #[cfg(feature = "engine-zeromq")]
    Zeromq,
}

/// How a process takes part in ZeroMQ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZmqConfig {
    /// Where the forwarder hears publishers.
    pub pub_addr: Endpoint,
    /// Where the forwarder serves subscribers.
    pub sub_addr: Endpoint,
    /// Whether this process runs the forwarder. Several of one machine may say so: one does, and
    /// another takes over when it ends.
    pub start_proxy: bool,
    /// CURVE; without it, whoever reaches the endpoints reads and writes everything.
    pub curve: Option<CurveConfig>,
    /// What a peer may make this process hold.
    pub limits: Limits,
    /// Bytes that wait to be published; then publishing is refused.
    pub queue_bytes: usize,
    /// Subscriptions at a time.
    pub subscriptions: usize,
    /// Of the forwarder, where this process runs it.
    pub proxy: FanoutLimits,
    /// How a peer that has vanished is noticed.
    pub heartbeat: Heartbeat,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// When a connection is tried again.
    pub retry: RetryConfig,
    /// While it is not ready, a probe goes out so often.
    pub probe_every: Duration,
    /// If no probe has come back for so long, that is told as a loss, and probing goes on.
    pub probe_timeout: Duration,
    /// How long a runtime that ends waits for its last frames to leave.
    pub linger: Duration,
    /// What speaks the protocol.
    pub engine: Engine,
}

impl ZmqConfig {
    /// civitas' endpoints (127.0.0.1, ports 5559 and 5560), no forwarder of our own, no CURVE;
    /// 16 MiB to be published, 65536 subscriptions, a PING each 5 s, a probe each 20 ms.
    #[must_use]
    pub fn new() -> Self {
        let at = |port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
        Self {
            pub_addr: at(5559),
            sub_addr: at(5560),
            start_proxy: false,
            curve: None,
            limits: Limits::DEFAULT,
            queue_bytes: 16 << 20,
            subscriptions: 1 << 16,
            proxy: FanoutLimits::DEFAULT,
            heartbeat: Heartbeat {
                every: Duration::from_secs(5),
                timeout: Duration::from_secs(15),
                ttl: Duration::from_secs(20),
            },
            handshake_timeout: Duration::from_secs(10),
            retry: RetryConfig::DEFAULT,
            probe_every: Duration::from_millis(20),
            probe_timeout: Duration::from_secs(2),
            linger: Duration::from_secs(1),
            engine: Engine::Own,
        }
    }

    /// Whether the engine can do what is asked of it.
    #[cfg(feature = "engine-zeromq")]
    pub(crate) fn check_engine(&self) -> Result<(), ZmqError> {
        match self.engine {
            Engine::Own => Ok(()),
            Engine::Zeromq if self.curve.is_some() => Err(ZmqError::EngineCurve),
            Engine::Zeromq => {
                let is_near = |at: &Endpoint| matches!(at, Endpoint::Tcp { .. }) && at.is_local();
                let near = is_near(&self.pub_addr) && is_near(&self.sub_addr);
                if near { Ok(()) } else { Err(ZmqError::EngineRemote) }
            }
        }
    }

    /// This process's end of a connection.
    pub(crate) fn client(&self, socket: SocketType) -> Result<Config, ZmqError> {
        let config = Config {
            socket,
            security: self.curve.as_ref().map_or(Security::Null, CurveConfig::client),
            limits: self.limits,
            handshake_timeout: self.handshake_timeout,
            heartbeat: Some(self.heartbeat),
            identity: Vec::new(),
        };
        checked(config, self.queue_bytes)
    }

    /// The forwarder that belongs to such a client.
    ///
    /// # Errors
    /// [`ZmqError::NoServerKey`] or [`ZmqError::ServerKeysDiffer`], with CURVE.
    pub fn proxy_config(&self) -> Result<ProxyConfig, ZmqError> {
        Ok(ProxyConfig {
            pub_addr: self.pub_addr.clone(),
            sub_addr: self.sub_addr.clone(),
            curve: self.curve.as_ref().map(CurveConfig::server).transpose()?,
            limits: self.limits,
            fanout: self.proxy,
            heartbeat: self.heartbeat,
            handshake_timeout: self.handshake_timeout,
        })
    }
}

impl Default for ZmqConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds faults now and not at the first connection.
pub(crate) fn checked(config: Config, queue_bytes: usize) -> Result<Config, ZmqError> {
    config.check().map_err(ZmqError::Config)?;
    // Headers of its parts, and what a queue counts for a message.
    let headers = config.limits.parts.saturating_mul(9).saturating_add(64);
    let needed = config.limits.message.saturating_add(headers);
    if queue_bytes < needed {
        return Err(ZmqError::ShortQueue { needed });
    }
    Ok(config)
}

/// Why a configuration makes no client and no forwarder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ZmqError {
    /// A key cannot be read.
    Key {
        /// Which one.
        name: &'static str,
        /// Why.
        error: KeyError,
    },
    /// A forwarder with CURVE needs the secret key of the server.
    NoServerKey,
    /// The server's public key is not that of its secret key.
    ServerKeysDiffer,
    /// What the connections are configured with makes no sense.
    Config(ConfigError),
    /// The queue is too short for the greatest message: it would be refused for ever.
    ShortQueue {
        /// Bytes that it would need.
        needed: usize,
    },
    /// An endpoint cannot be read.
    Endpoint(EndpointError),
    /// The machine has no random bytes to give.
    NoEntropy,
    /// The engine `zeromq` has no CURVE.
    EngineCurve,
    /// The engine `zeromq` connects by TCP and to this machine only: a header of a peer can abort
    /// the process.
    EngineRemote,
}

impl Display for ZmqError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { name, error } => write!(f, "{name}: {error}"),
            Self::NoServerKey => {
                f.write_str("a forwarder with CURVE needs server_secret_key: set it or start none")
            }
            Self::ServerKeysDiffer => f.write_str(
                "server_public_key is not that of server_secret_key: take both of one pair",
            ),
            Self::Config(error) => error.fmt(f),
            Self::ShortQueue { needed } => {
                write!(f, "a queue needs {needed} bytes for the greatest message")
            }
            Self::Endpoint(error) => error.fmt(f),
            Self::NoEntropy => f.write_str("the machine has no random bytes to give"),
            Self::EngineCurve => f.write_str("the engine zeromq has no CURVE: use our own"),
            Self::EngineRemote => f.write_str(
                "the engine zeromq connects by TCP to this machine only: use our own for others",
            ),
        }
    }
}

impl Error for ZmqError {}

impl From<EndpointError> for ZmqError {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}

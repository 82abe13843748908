//! How a NATS server is reached, and how much is kept for it.
//!
//! Everything that can be wrong in it is said when it is made, not when the first connection fails.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use lictor_runtime::broker::{AddressError, Subscription};

use crate::tls;

/// How a NATS server is reached. Secrets are not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NatsConfig {
    /// The servers of one cluster, as `nats://host:port`, `tls://host:port` or `host:port`, with
    /// `user:password@` before the host if need be. One of them is enough to find the others. By
    /// default `nats://localhost:4222`.
    pub servers: Vec<String>,
    /// What subjects begin with, before the address. By default that of civitas, `civitas.agent.`.
    pub prefix: String,
    /// What the server shows of this client.
    pub name: String,
    /// Encryption. A server may ask for it without this; then the system's roots are trusted.
    pub tls: Option<NatsTls>,
    /// Who this client is.
    pub auth: NatsAuth,
    /// Bytes that wait to be sent, beyond which a publisher is refused. By default 16 MiB.
    pub queue_bytes: usize,
    /// Messages of one subscription that may wait to be handed on; what comes beyond is dropped
    /// and counted. By default 262,144: as many small ones as one reading of the socket may bring.
    pub inbox_messages: usize,
    /// How long frames are kept while there is no connection, from its loss; then they are dropped
    /// and counted, and publishers refused, until there is one. By default 10 s.
    pub keep_for: Duration,
    /// How long one attempt to connect to one server may take. By default 5 s.
    pub connect_timeout: Duration,
    /// The longest wait between two attempts; the first is 50 ms, each doubles. By default 2 s.
    pub retry_most: Duration,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec!["nats://localhost:4222".to_owned()],
            prefix: "civitas.agent.".to_owned(),
            name: "lictor".to_owned(),
            tls: None,
            auth: NatsAuth::Nobody,
            queue_bytes: 1 << 24,
            inbox_messages: 1 << 18,
            keep_for: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            retry_most: Duration::from_secs(2),
        }
    }
}

impl NatsConfig {
    /// The defaults, with these servers.
    #[must_use]
    pub fn of<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self { servers: servers.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

impl Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(|server| shown(server)).collect();
        f.debug_struct("NatsConfig")
            .field("servers", &servers)
            .field("prefix", &self.prefix)
            .field("name", &self.name)
            .field("tls", &self.tls)
            .field("auth", &self.auth)
            .field("queue_bytes", &self.queue_bytes)
            .field("inbox_messages", &self.inbox_messages)
            .field("keep_for", &self.keep_for)
            .field("connect_timeout", &self.connect_timeout)
            .field("retry_most", &self.retry_most)
            .finish()
    }
}

/// An address without what may be secret in it: the user, the password, the token.
fn shown(server: &str) -> String {
    let Some((before, host)) = server.rsplit_once('@') else { return server.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://..@{host}"),
        None => format!("..@{host}"),
    }
}

/// How a connection is encrypted.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct NatsTls {
    /// Certificates (PEM) that are trusted in place of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate of this client (PEM), where the server wants one.
    pub cert: Option<PathBuf>,
    /// And its key (PEM).
    pub key: Option<PathBuf>,
    /// Whether TLS comes before the server's first word, as some servers are set up.
    pub first: bool,
}

impl NatsTls {
    /// Encrypted, trusting the system's roots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificates (PEM) in place of the system's.
    #[must_use]
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// Shows this certificate (PEM) with this key (PEM).
    #[must_use]
    pub fn client(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.cert = Some(cert.into());
        self.key = Some(key.into());
        self
    }
}

/// Who a client is. Secrets are not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatsAuth {
    /// Nobody asks.
    #[default]
    Nobody,
    /// An Ed25519 key: its seed, which begins with `SU`.
    Nkey(String),
    /// A file of credentials (JWT and seed). Read again for each new client.
    Credentials(PathBuf),
    /// A user and a password.
    User {
        /// The user.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl Debug for NatsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Nkey(_) => f.write_str("Nkey(..)"),
            Self::Credentials(path) => write!(f, "Credentials({})", path.display()),
            Self::User { name, .. } => write!(f, "User({name:?}, ..)"),
            Self::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NatsError {
    /// There is no server.
    NoServer,
    /// A server's address cannot be read.
    Server {
        /// The address, without a user and a password.
        server: String,
        /// Why.
        detail: String,
    },
    /// The prefix of subjects is not one: it ends with a dot.
    Prefix {
        /// The prefix.
        prefix: String,
        /// Why.
        error: AddressError,
    },
    /// A file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A certificate without its key, or a key without its certificate.
    HalfPair,
    /// A seed is not that of a user: 58 characters that begin with `SU`, of which the last ones
    /// check the others.
    Seed,
    /// Two prefixes of subjects overlap: what belongs to one would be in the other.
    Overlap {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// The name of a stream is none: letters, digits, `_`, `-`.
    Stream {
        /// The name.
        name: String,
    },
    /// Ids are forgotten before the last attempt to store their message.
    ShortMemory,
    /// A bound is zero.
    Zero {
        /// Which.
        what: &'static str,
    },
    /// A time is too short to be kept over a network.
    Short {
        /// Which.
        what: &'static str,
        /// The shortest that may be.
        least: Duration,
    },
}

impl Display for NatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => f.write_str("no NATS server is named: give nats://host:port"),
            Self::Server { server, detail } => {
                write!(f, "the NATS server {server:?}: {detail}; give nats://host:port")
            }
            Self::Prefix { prefix, error } => write!(f, "the subject prefix {prefix:?}: {error}"),
            Self::File { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::HalfPair => f.write_str("a client's certificate and its key come together"),
            Self::Seed => f.write_str(
                "not the seed of a user: that begins with SU and has 58 characters of A-Z and 2-7, \
                 the last of which check the others",
            ),
            Self::Overlap { one, other } => {
                write!(f, "the subject prefixes {one:?} and {other:?} overlap")
            }
            Self::Stream { name } => {
                write!(f, "the stream {name:?}: use ASCII letters, digits, '_', '-'")
            }
            Self::ShortMemory => f.write_str(
                "remember_ids must be longer than ack_timeout and retry_most together, times \
                 store_attempts: a message that is sent again later would be stored twice",
            ),
            Self::Zero { what } => write!(f, "{what} must be greater than zero"),
            Self::Short { what, least } => write!(f, "{what} must be {least:?} or more"),
        }
    }
}

impl Error for NatsError {}

impl NatsConfig {
    /// The servers, if all of it can be meant.
    pub(crate) fn check(&self) -> Result<Vec<ServerAddr>, NatsError> {
        let prefix = Subscription::below(self.prefix.as_str()).check();
        prefix.map_err(|error| NatsError::Prefix { prefix: self.prefix.clone(), error })?;
        let bounds = [("queue_bytes", self.queue_bytes), ("inbox_messages", self.inbox_messages)];
        for (what, bound) in bounds {
            if bound == 0 {
                return Err(NatsError::Zero { what });
            }
        }
        for (what, time) in
            [("connect_timeout", self.connect_timeout), ("retry_most", self.retry_most)]
        {
            if time.is_zero() {
                return Err(NatsError::Zero { what });
            }
        }
        self.tls.as_ref().map_or(Ok(()), tls::check)?;
        match &self.auth {
            NatsAuth::Nkey(seed) => check_seed(seed)?,
            NatsAuth::Credentials(path) => {
                let text = readable(path)?;
                ConnectOptions::with_credentials(&text).map_err(|error| NatsError::File {
                    path: path.clone(),
                    detail: format!("not a file of credentials: {error}"),
                })?;
            }
            NatsAuth::Nobody | NatsAuth::User { .. } | NatsAuth::Token(_) => {}
        }
        self.addresses()
    }

    fn addresses(&self) -> Result<Vec<ServerAddr>, NatsError> {
        if self.servers.is_empty() {
            return Err(NatsError::NoServer);
        }
        let parse = |server: &String| {
            let refused = |detail: String| NatsError::Server { server: shown(server), detail };
            let address: ServerAddr =
                server.parse().map_err(|error: std::io::Error| refused(error.to_string()))?;
            if address.host().is_empty() {
                return Err(refused("it names no host".to_owned()));
            }
            match address.scheme() {
                "nats" | "tls" => Ok(address),
                other => Err(refused(format!("{other:?} is not spoken here"))),
            }
        };
        self.servers.iter().map(parse).collect()
    }

    /// What async-nats is told, but for who hears its events.
    ///
    /// # Errors
    /// The file of credentials has become unreadable.
    pub(crate) fn options(&self) -> Result<ConnectOptions, NatsError> {
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(self.connect_timeout)
            .subscription_capacity(self.inbox_messages);
        if let Some(tls) = &self.tls {
            options = options.require_tls(true);
            if tls.first {
                options = options.tls_first();
            }
            if let Some(ca) = &tls.ca {
                options = options.add_root_certificates(ca.clone());
            }
            if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
                options = options.add_client_certificate(cert.clone(), key.clone());
            }
        }
        Ok(match &self.auth {
            NatsAuth::Nobody => options,
            NatsAuth::Nkey(seed) => options.nkey(seed.clone()),
            NatsAuth::User { name, password } => {
                options.user_and_password(name.clone(), password.clone())
            }
            NatsAuth::Token(token) => options.token(token.clone()),
            NatsAuth::Credentials(path) => {
                let text = readable(path)?;
                let detail = |error| format!("not a file of credentials: {error}");
                let path = path.clone();
                options
                    .credentials(&text)
                    .map_err(|error| NatsError::File { path, detail: detail(error) })?
            }
        })
    }

    /// The wait before an attempt, the first of a row being number 1. The row differs from process
    /// to process, so that those that were cut off together do not come back together.
    pub(crate) fn wait_before(&self, attempt: usize) -> Duration {
        let Some(doublings) = attempt.checked_sub(2) else { return Duration::ZERO };
        let doublings = u32::try_from(doublings.min(16)).unwrap_or(16);
        let most = (FIRST_RETRY * 2_u32.pow(doublings)).min(self.retry_most);
        // Between a half of it and the whole.
        let mixed = (u64::from(std::process::id()) + u64::from(doublings))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        most / 2 + most.mul_f64(f64::from(u8::try_from(mixed >> 56).unwrap_or(0)) / 510.0)
    }
}

/// The wait before the second attempt in a row.
const FIRST_RETRY: Duration = Duration::from_millis(50);

fn readable(path: &Path) -> Result<String, NatsError> {
    String::from_utf8(tls::read(path)?)
        .map_err(|error| NatsError::File { path: path.to_owned(), detail: error.to_string() })
}

fn check_seed(seed: &str) -> Result<(), NatsError> {
    let is_seed = seed.starts_with("SU") && nkeys::KeyPair::from_seed(seed).is_ok();
    if is_seed { Ok(()) } else { Err(NatsError::Seed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut NatsConfig)) -> NatsError {
        let mut config = NatsConfig::default();
        change(&mut config);
        config.check().expect_err("it cannot be meant")
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_and_where() {
        assert!(NatsConfig::default().check().is_ok());
        assert_eq!(refused(|c| c.servers.clear()), NatsError::NoServer);
        assert!(matches!(refused(|c| c.servers = vec!["".into()]), NatsError::Server { .. }));
        let ws = refused(|c| c.servers = vec!["http://a:1".into()]).to_string();
        assert!(ws.contains("http://a:1") && ws.contains("nats://host:port"), "{ws}");
        assert!(matches!(refused(|c| c.prefix = "a".into()), NatsError::Prefix { .. }));
        assert!(matches!(refused(|c| c.prefix = "a.*.".into()), NatsError::Prefix { .. }));
        assert_eq!(refused(|c| c.queue_bytes = 0), NatsError::Zero { what: "queue_bytes" });
        let half = NatsTls { cert: Some("a".into()), ..NatsTls::new() };
        assert_eq!(refused(|c| c.tls = Some(half)), NatsError::HalfPair);
        let missing = refused(|c| c.tls = Some(NatsTls::new().ca("/no/such/file"))).to_string();
        assert!(missing.starts_with("/no/such/file: "), "{missing}");
        // The seed of the NATS documentation, and one with a slip of the pen.
        let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
        assert_eq!(check_seed(seed), Ok(()));
        for wrong in ["SUABC".to_owned(), seed.replace("UAHUD", "UAHUE")] {
            assert_eq!(refused(|c| c.auth = NatsAuth::Nkey(wrong)), NatsError::Seed);
        }
        let creds = NatsAuth::Credentials("/no/such/creds".into());
        assert!(matches!(refused(|c| c.auth = creds), NatsError::File { .. }));
        let endless = refused(|c| c.auth = NatsAuth::Credentials("/dev/zero".into())).to_string();
        assert!(endless.starts_with("/dev/zero: it is longer than "), "{endless}");
    }

    fn why(config: &NatsConfig) -> String {
        config.check().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = "SECRET".to_owned();
        for auth in [
            NatsAuth::Nkey(secret.clone()),
            NatsAuth::Token(secret.clone()),
            NatsAuth::User { name: "u".into(), password: secret },
        ] {
            let shown = format!("{:?}", NatsConfig { auth, ..NatsConfig::default() });
            assert!(!shown.contains("SECRET"), "{shown}");
        }
        // An address may hold a user and a password, or a token.
        for server in ["nats://u:SE@CRET@host:1", "SECRET@host:1", "ws://u:SECRET@host:1"] {
            let config = NatsConfig::of([server]);
            let shown = format!("{config:?} {:?} {}", config.check().err(), why(&config));
            assert!(!shown.contains("CRET") && shown.contains("host:1"), "{shown}");
        }
    }

    #[test]
    fn waits_grow_to_the_bound_and_not_beyond() {
        let config = NatsConfig::default();
        assert_eq!(config.wait_before(1), Duration::ZERO);
        let mut last = Duration::ZERO;
        for attempt in 2..7 {
            let wait = config.wait_before(attempt);
            assert!(wait >= FIRST_RETRY / 2 && wait <= config.retry_most, "{wait:?}");
            assert!(wait + wait >= last, "{wait:?} after {last:?}");
            last = wait;
        }
        assert!(config.wait_before(usize::MAX) <= config.retry_most);
        assert!(config.wait_before(usize::MAX) >= config.retry_most / 2);
    }
}

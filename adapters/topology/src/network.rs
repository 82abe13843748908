//! What a valid file says of processes and of what connects them, as plain data.

use std::fmt;
use std::time::Duration;

use lictor_kernel::{Backoff, Intensity, Restart};

use crate::model::{Credentials, Origin};

/// What must not be shown. `Debug` does not.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for who uses it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How processes talk to each other.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Transport {
    /// Over what.
    pub kind: TransportKind,
    /// The settings that hold if it is ZeroMQ.
    pub zmq: Zmq,
    /// The settings that hold if it is NATS.
    pub nats: Nats,
    /// Processes of another cluster at the same broker are not seen. ASCII letters, digits, `_`
    /// and `-`.
    pub cluster: String,
    /// The process in which the tree is; the others host what it places on them.
    pub process: String,
    /// How the processes watch each other.
    pub membership: Membership,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            kind: TransportKind::InProcess,
            zmq: Zmq::default(),
            nats: Nats::default(),
            cluster: "default".to_owned(),
            process: "main".to_owned(),
            membership: Membership::default(),
        }
    }
}

/// Over what processes talk to each other.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TransportKind {
    /// Not at all: everything runs in one process.
    #[default]
    InProcess,
    /// Over a forwarder of ZeroMQ.
    Zmq,
    /// Over a NATS server.
    Nats,
}

/// Where the forwarder of ZeroMQ is. The defaults are those of civitas.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Zmq {
    /// Where processes publish: `tcp://HOST:PORT` or `ipc://PATH`.
    pub pub_addr: String,
    /// Where they listen.
    pub sub_addr: String,
    /// Whether the process of the tree runs the forwarder itself.
    pub start_proxy: bool,
}

impl Default for Zmq {
    fn default() -> Self {
        Self {
            pub_addr: "tcp://127.0.0.1:5559".to_owned(),
            sub_addr: "tcp://127.0.0.1:5560".to_owned(),
            start_proxy: true,
        }
    }
}

/// Where the NATS servers are. The defaults are those of civitas.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Nats {
    /// Their URLs, at least one. They may hold a password.
    pub servers: Vec<Secret>,
    /// Whether messages to agents are kept in a stream until they are handled.
    pub jetstream: Option<JetStream>,
    /// The stream.
    pub stream_name: String,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            servers: vec![Secret::new("nats://localhost:4222")],
            jetstream: None,
            stream_name: "AGENCY".to_owned(),
        }
    }
}

/// The limits of a stream; what is not given is left to the adapter.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct JetStream {
    /// Bytes that it keeps.
    pub max_bytes: Option<u64>,
    /// Messages that it keeps.
    pub max_messages: Option<u64>,
    /// How long it keeps a message.
    pub max_age: Option<Duration>,
    /// How often a message is delivered before it is a dead letter.
    pub max_deliver: Option<u32>,
    /// How long a message may be in hand before it is delivered again.
    pub ack_wait: Option<Duration>,
}

/// How processes watch each other. The names are those of civitas where it has them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Membership {
    /// From one question to a process that answers to the next.
    pub heartbeat_interval: Duration,
    /// How long it may take to answer one.
    pub heartbeat_timeout: Duration,
    /// After so many misses in a row it is down.
    pub missed_heartbeats_threshold: u32,
    /// From one question to a process that is down to the next.
    pub ask_every: Duration,
    /// How long its names hold unless they are renewed; at least three times what is above.
    pub lease: Duration,
    /// How long a process may run an agent of the tree without an answer of the process that has
    /// the tree. An agent whose process is lost is started elsewhere or anew after that at the
    /// earliest.
    pub child_lease: Duration,
}

impl Default for Membership {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            heartbeat_interval: second,
            heartbeat_timeout: second,
            missed_heartbeats_threshold: 3,
            ask_every: second,
            lease: Duration::from_secs(15),
            child_lease: Duration::from_secs(5),
        }
    }
}

/// A process besides that of the tree.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Whether somebody else starts it.
    pub external: bool,
    /// What starts it; by default the command that runs the tree.
    pub command: Vec<String>,
    /// Variables that are added to its environment. They may be secrets.
    pub env: Credentials,
    /// When it is started again.
    pub restart: Restart,
    /// How often.
    pub intensity: Intensity,
    /// The wait before it is started again.
    pub backoff: Backoff,
    /// How long it may take to stop before it is killed.
    pub shutdown: Duration,
    /// Where it was named first.
    pub origin: Origin,
}

impl Process {
    /// A process with the defaults of the file format: permanent, 3 restarts in 60 s, a second
    /// apart, 10 s to stop.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            external: false,
            command: Vec::new(),
            env: Credentials::default(),
            restart: Restart::Permanent,
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            shutdown: Duration::from_secs(10),
            origin: Origin::default(),
        }
    }
}

/// Keys, and what is signed and enciphered.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Security {
    /// Whose keys.
    pub identity: Identity,
    /// What is signed.
    pub signing: Signing,
    /// The security of ZeroMQ.
    pub curve: Option<Curve>,
    /// The security of NATS.
    pub nats: NatsSecurity,
}

/// Where the keys of processes and agents are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// Whether a key that is not there is made.
    pub mode: IdentityMode,
    /// The directory, relative to the working directory.
    pub key_dir: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self { mode: IdentityMode::Auto, key_dir: "./civitas-keys".to_owned() }
    }
}

/// Whether a key that is not there is made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum IdentityMode {
    /// It is.
    #[default]
    Auto,
    /// It is a fault.
    Provisioned,
}

/// What is signed. The only algorithm is Ed25519.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Signing {
    /// Whether anything is.
    pub enabled: bool,
    /// Whether what is not signed rightly is refused.
    pub require_verification: bool,
    /// Whether senders whose key is not known may leave the signature out.
    pub allow_unsigned: bool,
}

impl Default for Signing {
    fn default() -> Self {
        Self { enabled: false, require_verification: true, allow_unsigned: false }
    }
}

/// The keys of CURVE, in Z85 (40 characters each). The forwarder has the server's, everybody else
/// the server's public one and the client's.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Curve {
    /// The server's public key.
    pub server_public_key: String,
    /// The server's secret key; needed by the process that runs the forwarder.
    pub server_secret_key: Option<Secret>,
    /// The clients' public key.
    pub client_public_key: String,
    /// The clients' secret key.
    pub client_secret_key: Secret,
}

impl Curve {
    /// These keys.
    #[must_use]
    pub fn new(
        server_public_key: String,
        server_secret_key: Option<Secret>,
        client_public_key: String,
        client_secret_key: Secret,
    ) -> Self {
        Self { server_public_key, server_secret_key, client_public_key, client_secret_key }
    }
}

/// The security of NATS.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NatsSecurity {
    /// TLS, if it is used.
    pub tls: Option<Tls>,
    /// The seed of the client's NKey.
    pub nkey_seed: Option<Secret>,
    /// The path of a file of credentials.
    pub creds: Option<String>,
}

/// The files of TLS, by their paths.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Tls {
    /// The client's certificate.
    pub cert: Option<String>,
    /// The key of it.
    pub key: Option<String>,
    /// Who signs the certificate of the server; by default who the system trusts.
    pub ca: Option<String>,
}

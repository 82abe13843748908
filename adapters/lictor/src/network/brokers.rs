//! The brokers that a topology may name, as far as they are built in.

use std::sync::Arc;

use lictor_runtime::broker::Broker;
use lictor_topology::{Topology, TransportKind};

use super::{Network, NetworkError};

/// The broker of a topology.
pub(super) fn broker(
    topology: &Topology,
    network: &Network,
) -> Result<Arc<dyn Broker>, NetworkError> {
    match topology.transport.kind {
        TransportKind::InProcess => Err(NetworkError::OneProcess),
        TransportKind::Zmq => zmq(topology, network),
        TransportKind::Nats => nats(topology, network),
        // The crate of the topology is of our own version: there is no other kind.
        _ => Err(NetworkError::NotBuilt { feature: "?" }),
    }
}

#[cfg(not(feature = "zmq"))]
fn zmq(_: &Topology, _: &Network) -> Result<Arc<dyn Broker>, NetworkError> {
    Err(NetworkError::NotBuilt { feature: "zmq" })
}

#[cfg(not(feature = "nats"))]
fn nats(_: &Topology, _: &Network) -> Result<Arc<dyn Broker>, NetworkError> {
    Err(NetworkError::NotBuilt { feature: "nats" })
}

#[cfg(feature = "nats")]
fn nats(topology: &Topology, network: &Network) -> Result<Arc<dyn Broker>, NetworkError> {
    use lictor_nats::{Nats, NatsAuth, NatsConfig, NatsError, NatsTls};
    let broken = |detail| NetworkError::Broker { detail };
    let (said, security) = (&topology.transport.nats, &topology.security.nats);
    let mut config = NatsConfig::of(said.servers.iter().map(|server| server.reveal()));
    config.name = format!("lictor {}", network.process());
    config.tls = security.tls.as_ref().map(|files| {
        let mut tls = NatsTls::new();
        if let Some(ca) = &files.ca {
            tls = tls.ca(ca);
        }
        match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => tls.client(cert, key),
            (Some(_), None) | (None, _) => tls,
        }
    });
    config.auth = match (&security.nkey_seed, &security.creds) {
        (Some(seed), _) => NatsAuth::Nkey(seed.reveal().to_owned()),
        (None, Some(path)) => NatsAuth::Credentials(path.into()),
        (None, None) => NatsAuth::Nobody,
    };
    let nats = Nats::new(config).map_err(|error| match error {
        // Its address may hold a password.
        NatsError::Server { detail, .. } => {
            broken(format!("the address of a NATS server: {detail}; give nats://host:port"))
        }
        error => broken(error.to_string()),
    })?;
    Ok(nats)
}

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

#[cfg(feature = "zmq")]
fn zmq(topology: &Topology, network: &Network) -> Result<Arc<dyn Broker>, NetworkError> {
    use lictor_zmq::{CurveConfig, ZmqBroker, ZmqConfig, ZmqError};
    let said = &topology.transport.zmq;
    let made = || -> Result<Arc<ZmqBroker>, ZmqError> {
        let curve = topology.security.curve.as_ref().map(|keys| {
            CurveConfig::from_z85(
                &keys.server_public_key,
                keys.server_secret_key.as_ref().map(|key| key.reveal()),
                &keys.client_public_key,
                keys.client_secret_key.reveal(),
            )
        });
        ZmqBroker::new(ZmqConfig {
            pub_addr: said.pub_addr.parse()?,
            sub_addr: said.sub_addr.parse()?,
            // Workers come and go; the process of the tree is there all the time.
            start_proxy: said.start_proxy && network.has_tree(),
            curve: curve.transpose()?,
            ..ZmqConfig::new()
        })
    };
    let broker = made().map_err(|error| NetworkError::Broker { detail: error.to_string() })?;
    Ok(broker)
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
    if said.jetstream.is_some() {
        return Err(broken(
            "JetStream between processes is not available yet; say `jetstream: false`".into(),
        ));
    }
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
    let nats = Nats::new(config).map_err(|error| {
        // Its address may hold a password.
        if let NatsError::Server { detail, .. } = error {
            return broken(format!(
                "the address of a NATS server: {detail}; give nats://host:port"
            ));
        }
        broken(error.to_string())
    })?;
    Ok(nats)
}

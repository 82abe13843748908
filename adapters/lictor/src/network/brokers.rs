//! The brokers that a topology may name, as far as they are built in.

use std::sync::Arc;

use lictor_runtime::broker::Broker;
use lictor_runtime::durable::Durable;
#[cfg(feature = "nats")]
use lictor_topology::NatsSecurity;
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
    let broker = made().map_err(|error| {
        let is_endpoint = matches!(error, ZmqError::Endpoint(_));
        let place = if is_endpoint { "transport.zmq" } else { "security.transport.zmq.curve" };
        NetworkError::Broker { detail: format!("{place}: {error}") }
    })?;
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
    let nats = lictor_nats::Nats::new(nats_config(topology, network));
    Ok(nats.map_err(|error| refused(&topology.security.nats, error))?)
}

/// Where messages are kept until they are handled, if the topology asks for it.
#[cfg(feature = "nats")]
pub(super) fn durable(
    topology: &Topology,
    network: &Network,
) -> Result<Option<Arc<dyn Durable>>, NetworkError> {
    use lictor_nats::{JetStream, StreamConfig};
    let (transport, default) = (&topology.transport, StreamConfig::default());
    let (TransportKind::Nats, Some(limits)) = (transport.kind, &transport.nats.jetstream) else {
        return Ok(None);
    };
    // What civitas has in the stream of this name is of another form, and may stand beside ours.
    let name = format!("{}_LICTOR", transport.nats.stream_name);
    let deliveries = limits.max_deliver.unwrap_or(default.deliveries);
    let config = StreamConfig {
        dead_name: format!("{name}_DEAD"),
        name,
        prefix: format!("lictor.{}.stored.", transport.cluster),
        dead_prefix: format!("lictor.{}.dead.", transport.cluster),
        max_bytes: limits.max_bytes.unwrap_or(default.max_bytes),
        max_messages: limits.max_messages.unwrap_or(default.max_messages),
        max_age: limits.max_age.unwrap_or(default.max_age),
        ack_wait: limits.ack_wait.unwrap_or(default.ack_wait),
        deliveries,
        attempts: default.attempts.min(deliveries),
        ..default
    };
    let streams = JetStream::new(nats_config(topology, network), config);
    Ok(Some(streams.map_err(|error| refused(&topology.security.nats, error))?))
}

#[cfg(not(feature = "nats"))]
pub(super) fn durable(_: &Topology, _: &Network) -> Result<Option<Arc<dyn Durable>>, NetworkError> {
    Ok(None)
}

#[cfg(feature = "nats")]
fn nats_config(topology: &Topology, network: &Network) -> lictor_nats::NatsConfig {
    use lictor_nats::{NatsAuth, NatsConfig, NatsTls};
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
    config
}

/// What is wrong, with its place in the file.
#[cfg(feature = "nats")]
fn refused(security: &NatsSecurity, error: lictor_nats::NatsError) -> NetworkError {
    use std::path::Path;

    use lictor_nats::NatsError;
    let tls = security.tls.as_ref();
    let files = [
        ("tls.ca", tls.and_then(|tls| tls.ca.as_ref())),
        ("tls.cert", tls.and_then(|tls| tls.cert.as_ref())),
        ("tls.key", tls.and_then(|tls| tls.key.as_ref())),
    ];
    let place = if let NatsError::File { path, .. } = &error {
        let is = |said: &String| Path::new(said) == path;
        let file = files.iter().find(|(_, said)| said.is_some_and(is));
        let part = file.map_or("creds", |(part, _)| part);
        format!("security.transport.nats.{part}: ")
    } else if matches!(error, NatsError::Seed) {
        "security.transport.nats.nkey_seed: ".to_owned()
    } else {
        String::new()
    };
    let detail = if let NatsError::Server { detail, .. } = error {
        format!(
            "transport.nats.servers: the address of a NATS server: {detail}; give nats://host:port"
        )
    } else {
        format!("{place}{error}")
    };
    NetworkError::Broker { detail }
}

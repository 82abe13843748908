//! The processes of a topology: who they are, and what one of them has of the wire.
//!
//! All processes read one file, and each makes of it what is its own. So there is one loader for
//! all of them, and nothing that a file says holds in one process and not in another (civitas X3).

mod brokers;
mod hints;
#[cfg(feature = "wire")]
mod seal;
mod watch;

use std::error::Error;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lictor_kernel::{DetectorConfig, NodeId, membership, remote};
use lictor_runtime::broker::{Broker, Mesh, MeshConfig, MeshError};
use lictor_runtime::{Executor, RuntimeConfig, Transport};
use lictor_topology::{Membership, Topology};
#[cfg(feature = "wire")]
use lictor_wire::SealedTransport;

pub use watch::BrokerWatch;

/// Why a process has no part in a topology.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NetworkError {
    /// The topology is of one process.
    OneProcess,
    /// It has no process of this name.
    UnknownProcess {
        /// The name.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// Two names give one node number.
    SameNode {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// What the topology asks for is not part of this program.
    NotBuilt {
        /// The feature of the crate `lictor`.
        feature: &'static str,
    },
    /// A key of a process cannot be had.
    Keys {
        /// The process.
        process: String,
        /// Why.
        detail: String,
    },
    /// The broker cannot be set up.
    Broker {
        /// Why.
        detail: String,
    },
}

impl Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneProcess => f.write_str(
                "the topology is of one process; say `transport: {type: zmq}` or `nats` in it",
            ),
            Self::UnknownProcess { name, known } => {
                write!(f, "the topology has no process {name:?}; it has {}", known.join(", "))
            }
            Self::SameNode { one, other } => write!(
                f,
                "the processes {one:?} and {other:?} would have one number; rename one of them"
            ),
            Self::NotBuilt { feature } => {
                write!(f, "this program was built without the feature `{feature}` of lictor")
            }
            Self::Keys { process, detail } => {
                write!(f, "the key of the process {process:?}: {detail}")
            }
            Self::Broker { detail } => f.write_str(detail),
        }
    }
}

impl Error for NetworkError {}

/// The processes of a topology, seen from one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// All of them; the first is that of the tree.
    names: Vec<(Arc<str>, NodeId)>,
    own: usize,
}

impl Network {
    /// The processes of a topology, seen from the one with this name.
    ///
    /// # Errors
    /// `OneProcess`, `UnknownProcess`, `SameNode`.
    pub fn of(topology: &Topology, process: &str) -> Result<Self, NetworkError> {
        if !topology.is_distributed() {
            return Err(NetworkError::OneProcess);
        }
        let root = std::iter::once(topology.transport.process.as_str());
        let others = topology.processes.iter().map(|process| process.name.as_str());
        let mut names: Vec<(Arc<str>, NodeId)> = Vec::new();
        for name in root.chain(others) {
            let node = NodeId::of_name(name);
            if let Some((one, _)) = names.iter().find(|(_, known)| *known == node) {
                let (one, other) = (one.to_string(), name.to_owned());
                return Err(NetworkError::SameNode { one, other });
            }
            names.push((name.into(), node));
        }
        let own = names.iter().position(|(name, _)| **name == *process);
        let unknown = || NetworkError::UnknownProcess {
            name: process.to_owned(),
            known: names.iter().map(|(name, _)| format!("{name:?}")).collect(),
        };
        Ok(Self { own: own.ok_or_else(unknown)?, names })
    }

    /// The processes of a topology, seen from that of the tree.
    ///
    /// # Errors
    /// As [`Network::of`], without `UnknownProcess`.
    pub fn of_tree(topology: &Topology) -> Result<Self, NetworkError> {
        Self::of(topology, &topology.transport.process)
    }

    /// This process.
    #[must_use]
    pub fn process(&self) -> &Arc<str> {
        &self.names[self.own].0
    }

    /// The number of this process.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.names[self.own].1
    }

    /// Whether this is the process of the tree.
    #[must_use]
    pub const fn has_tree(&self) -> bool {
        self.own == 0
    }

    /// The number of a process.
    #[must_use]
    pub fn node_of(&self, process: &str) -> Option<NodeId> {
        self.names.iter().find(|(name, _)| **name == *process).map(|(_, node)| *node)
    }

    /// The process with a number.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<&Arc<str>> {
        self.names.iter().find(|(_, known)| *known == node).map(|(name, _)| name)
    }

    /// The broker that the topology names, and a look at whether it is there.
    ///
    /// # Errors
    /// `NotBuilt`, `Broker`.
    pub fn broker(&self, topology: &Topology) -> Result<Arc<BrokerWatch>, NetworkError> {
        let broker = brokers::broker(topology, self)?;
        Ok(BrokerWatch::of(broker, hints::Offered::of(topology)))
    }

    /// The configuration of this process: the wire, over this broker, signed if the topology says
    /// so; a stream for messages, if it says so; and how it takes part.
    ///
    /// # Errors
    /// `NotBuilt`, `Keys`, `Broker`.
    pub fn join(
        &self,
        topology: &Topology,
        config: RuntimeConfig,
        executor: Arc<dyn Executor>,
        broker: Arc<dyn Broker>,
    ) -> Result<RuntimeConfig, NetworkError> {
        self.joined(topology, config, executor, broker).map(|it| it.config)
    }

    /// As [`Network::join`], with what can be looked at: who else says to be this process, and the
    /// wire on which frames are signed, if they are: it counts what is refused, and knows of whom.
    ///
    /// # Errors
    /// As [`Network::join`].
    pub fn joined(
        &self,
        topology: &Topology,
        config: RuntimeConfig,
        executor: Arc<dyn Executor>,
        broker: Arc<dyn Broker>,
    ) -> Result<Joined, NetworkError> {
        let transport = &topology.transport;
        let peers = self.names.iter().map(|(_, node)| *node).filter(|node| *node != self.node());
        let boot = epoch();
        let mesh = MeshConfig {
            boot: Some(boot),
            cluster: transport.cluster.as_str().into(),
            peers: peers.collect(),
            hello_every: Some(transport.membership.ask_every.max(Duration::from_secs(1))),
            ..MeshConfig::new(self.node())
        };
        let refused = |error: MeshError| NetworkError::Broker { detail: error.to_string() };
        let mesh = Mesh::new(executor, broker, mesh).map_err(refused)?;
        let membership = membership_of(&transport.membership, self.node(), boot);
        let remote = remote_of(&transport.membership, config.remote);
        let plain: Arc<dyn Transport> = Arc::<Mesh>::clone(&mesh);
        let signed = sealed(self, &topology.security, &plain)?;
        let wire = signed.clone().map_or(plain, |signed| signed);
        let durable = brokers::durable(topology, self)?.or_else(|| config.durable.clone());
        let config = RuntimeConfig { transport: Some(wire), durable, membership, remote, ..config };
        Ok(Joined { config, mesh, signed })
    }
}

/// A process that takes part.
#[derive(Debug)]
#[non_exhaustive]
pub struct Joined {
    /// The configuration of its runtime.
    pub config: RuntimeConfig,
    /// Its end of the wire.
    pub mesh: Arc<Mesh>,
    /// The wire on which frames are signed, if they are; never without the feature `wire`.
    pub signed: Option<Arc<SealedTransport>>,
}

#[cfg(feature = "wire")]
use seal::sealed;

/// There is none.
#[cfg(not(feature = "wire"))]
type SealedTransport = Mesh;

#[cfg(not(feature = "wire"))]
fn sealed(
    _: &Network,
    security: &lictor_topology::Security,
    _: &Arc<dyn Transport>,
) -> Result<Option<Arc<SealedTransport>>, NetworkError> {
    if security.signing.enabled {
        return Err(NetworkError::NotBuilt { feature: "wire" });
    }
    Ok(None)
}

/// The boot of a process: greater at every start, as long as the clock is not set back.
fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn membership_of(said: &Membership, node: NodeId, epoch: u64) -> membership::Config {
    membership::Config {
        node,
        epoch,
        detector: DetectorConfig::Heartbeat {
            interval: said.heartbeat_interval,
            timeout: said.heartbeat_timeout,
            threshold: said.missed_heartbeats_threshold,
        },
        ask_every: said.ask_every,
        lease: said.lease,
        ..membership::Config::default()
    }
}

/// The margin is for clocks whose rates differ by an eighth, as by default.
fn remote_of(said: &Membership, config: remote::Config) -> remote::Config {
    let lease = said.child_lease;
    remote::Config {
        lease,
        margin: lease / 8,
        renew_every: config.renew_every.min(lease / 5),
        repeat_every: config.repeat_every.min(lease / 5),
        ..config
    }
}

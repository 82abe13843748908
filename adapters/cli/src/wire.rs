//! The wire of a process of a topology, and what is to be said of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::topology::{Topology, TransportKind};
use lictor::{BrokerWatch, Network, NetworkError, RuntimeConfig, TokioExecutor};

/// How often it is said that the broker cannot be reached.
const NOTICE_EVERY: Duration = Duration::from_secs(3);

/// A broker that is looked after.
pub(crate) struct Wire {
    watch: Arc<BrokerWatch>,
    /// What people know it by.
    name: String,
    /// When there was a connection last, or something was said.
    quiet_since: Instant,
}

impl Wire {
    /// The wire of a process, and the configuration of its runtime with it. To be called inside a
    /// tokio runtime.
    pub(crate) fn join(
        network: &Network,
        topology: &Topology,
        config: RuntimeConfig,
    ) -> Result<(Self, RuntimeConfig), NetworkError> {
        let executor = TokioExecutor::current()
            .map_err(|error| NetworkError::Broker { detail: error.to_string() })?;
        let watch = network.broker(topology)?;
        let broker = Arc::<BrokerWatch>::clone(&watch);
        let config = network.join(topology, config, Arc::new(executor), broker)?;
        let transport = &topology.transport;
        let name = match transport.kind {
            TransportKind::Zmq => {
                format!(
                    "the forwarder at {} and {}",
                    transport.zmq.pub_addr, transport.zmq.sub_addr
                )
            }
            // Their addresses may hold passwords.
            TransportKind::Nats | TransportKind::InProcess | _ => "the NATS server".to_owned(),
        };
        Ok((Self { watch, name, quiet_since: Instant::now() }, config))
    }

    /// That the broker has not been reached for a while, now and then.
    pub(crate) fn notice(&mut self) -> Option<String> {
        if self.watch.is_ready() {
            self.quiet_since = Instant::now();
            return None;
        }
        if self.quiet_since.elapsed() < NOTICE_EVERY {
            return None;
        }
        self.quiet_since = Instant::now();
        let why = self.watch.why().map_or_else(String::new, |why| format!(": {why}"));
        Some(format!("no connection to {}{why}; trying on", self.name))
    }
}

//! The wire of a process of a topology, and what is to be said of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::kernel::NodeId;
use lictor::topology::{Topology, TransportKind};
use lictor::wire::{Refusal, SealedTransport};
use lictor::{BrokerWatch, Network, NetworkError, RuntimeConfig, TokioExecutor};

/// How often the same is said again, of the broker or of a peer.
const NOTICE_EVERY: Duration = Duration::from_secs(3);

/// A broker that is looked after.
pub(crate) struct Wire {
    watch: Arc<BrokerWatch>,
    /// What people know it by.
    name: String,
    /// When there was a connection last, or something was said.
    quiet_since: Instant,
    /// The wire on which frames are signed, if they are.
    signed: Option<Arc<SealedTransport>>,
    /// The frames of each peer that were refused when it was last said, and when that was.
    refused: BTreeMap<NodeId, (u64, Instant)>,
    network: Network,
    /// Where the keys are.
    keys: String,
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
        let joined = network.join_signed(topology, config, Arc::new(executor), broker)?;
        let (config, signed) = joined;
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
        let wire = Self {
            watch,
            name,
            quiet_since: Instant::now(),
            signed,
            refused: BTreeMap::new(),
            network: network.clone(),
            keys: topology.security.identity.key_dir.clone(),
        };
        Ok((wire, config))
    }

    /// What people should know, now and then.
    pub(crate) fn notices(&mut self) -> Vec<String> {
        let mut notices = self.refusals();
        notices.extend(self.absence());
        notices
    }

    /// That the broker has not been reached for a while.
    fn absence(&mut self) -> Option<String> {
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

    /// That frames are refused, since they are not signed by whom they say.
    fn refusals(&mut self) -> Vec<String> {
        let refused = self.signed.as_ref().map(|signed| signed.refused()).unwrap_or_default();
        let mut notices = Vec::new();
        for refused in refused {
            let said = self.refused.get(&refused.peer);
            let is_due = said.is_none_or(|(frames, at)| {
                *frames < refused.frames && at.elapsed() >= NOTICE_EVERY
            });
            if let Some(remedy) = self.remedy(refused.peer, refused.last).filter(|_| is_due) {
                self.refused.insert(refused.peer, (refused.frames, Instant::now()));
                let name = self.network.name_of(refused.peer).map(|name| format!("{name:?}"));
                let name = name.unwrap_or_else(|| format!("number {}", refused.peer.0));
                let (frames, why) = (refused.frames, refused.last);
                notices.push(format!(
                    "frames that come as those of the process {name} are refused, {frames} so far: \
                     {why}; {remedy}"
                ));
            }
        }
        notices
    }

    /// What to do about a refusal, if it is more than a frame that came late.
    fn remedy(&self, peer: NodeId, refusal: Refusal) -> Option<String> {
        let Some(name) = self.network.name_of(peer) else {
            return Some("the topology has no such process".to_owned());
        };
        let public = Path::new(&self.keys).join(&**name).join("id_ed25519.pub");
        let public = public.display();
        Some(match refusal {
            Refusal::Replayed | Refusal::Stale => return None,
            Refusal::Unsigned => {
                "say `security.signing.enabled: true` in its file as well".to_owned()
            }
            Refusal::NotYet | Refusal::Expired => "set its clock or ours".to_owned(),
            Refusal::KeyShared => {
                "give each process a key of its own, and run each once".to_owned()
            }
            // Its key is not the one that we know, whichever of the two is the wrong one.
            Refusal::Malformed(_)
            | Refusal::UnknownSigner
            | Refusal::Forged
            | Refusal::WrongSender
            | Refusal::WrongRecipient
            | _ => format!("{public} here is to be the public half of its key"),
        })
    }
}

//! The wire of a process of a topology, and what is to be said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::broker::Mesh;
use lictor::kernel::NodeId;
use lictor::topology::{Topology, TransportKind};
use lictor::wire::system::KeyDir;
use lictor::wire::{Refusal, SealedTransport};
use lictor::{BrokerWatch, Network, NetworkError, Runtime, RuntimeConfig, TokioExecutor};

/// How often the same is said again, of the broker or of a peer.
const NOTICE_EVERY: Duration = Duration::from_secs(3);

/// So long a process may be awaited before anything is said of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a command has to do with the other processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts<'a> {
    /// The topology that all of them read.
    pub(crate) file: &'a str,
    /// Whether it starts those that are not `external`.
    pub(crate) workers: bool,
}

/// A process that something here waits for while it does not answer.
struct Awaited {
    node: NodeId,
    /// What to do about it.
    remedy: String,
    /// When it answered last, or could not have.
    since: Instant,
    said: Instant,
}

/// A broker that is looked after.
pub(crate) struct Wire {
    watch: Arc<BrokerWatch>,
    /// What people know it by.
    name: String,
    /// When there was a connection last, or something was said.
    quiet_since: Instant,
    /// The wire on which frames are signed, if they are.
    signed: Option<Arc<SealedTransport>>,
    /// The frames of each peer that were refused when it was last said, and when that was; of all
    /// that the topology does not have, together.
    refused: BTreeMap<Option<NodeId>, (u64, Instant)>,
    network: Network,
    /// Where the keys are.
    keys: KeyDir,
    mesh: Arc<Mesh>,
    cluster: String,
    /// When it was last said that another process has our name.
    twin_said: Option<Instant>,
    awaited: Vec<Awaited>,
}

impl Wire {
    /// The wire of a process, and the configuration of its runtime with it. To be called inside a
    /// tokio runtime.
    pub(crate) fn join(
        network: &Network,
        topology: &Topology,
        config: RuntimeConfig,
        starts: Starts<'_>,
    ) -> Result<(Self, RuntimeConfig), NetworkError> {
        let executor = TokioExecutor::current()
            .map_err(|error| NetworkError::Broker { detail: error.to_string() })?;
        let watch = network.broker(topology)?;
        let broker = Arc::<BrokerWatch>::clone(&watch);
        let joined = network.joined(topology, config, Arc::new(executor), broker)?;
        let (config, signed, mesh) = (joined.config, joined.signed, joined.mesh);
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
            keys: KeyDir::new(&topology.security.identity.key_dir),
            mesh,
            cluster: transport.cluster.clone(),
            twin_said: None,
            awaited: awaited(network, topology, starts),
        };
        Ok((wire, config))
    }

    /// What people should know, now and then.
    pub(crate) fn notices(&mut self, runtime: &Runtime) -> Vec<String> {
        let mut notices = self.refusals();
        notices.extend(self.absence());
        notices.extend(self.twin());
        notices.extend(self.missing(runtime));
        notices
    }

    /// That another process is there under our name: two runs of one file, most likely.
    fn twin(&mut self) -> Option<String> {
        if self.twin_said.is_some_and(|said| said.elapsed() < NOTICE_EVERY) {
            return None;
        }
        let boot = self.mesh.twin()?;
        self.twin_said = Some(Instant::now());
        let (name, cluster) = (self.network.process(), &self.cluster);
        Some(format!(
            "another process called {name:?} (boot {boot}) is at this broker, in the cluster \
             {cluster:?}: the two take each other's messages; stop one of them, or give its file \
             another broker or `transport.cluster`"
        ))
    }

    /// That processes do not answer for which something here waits.
    fn missing(&mut self, runtime: &Runtime) -> Vec<String> {
        if self.awaited.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let up: BTreeMap<NodeId, Option<u64>> = runtime.peers().into_iter().collect();
        let is_ready = self.watch.is_ready();
        let mut notices = Vec::new();
        for awaited in &mut self.awaited {
            if !is_ready || up.get(&awaited.node).is_some_and(Option::is_some) {
                awaited.since = now;
            }
            let long = now.saturating_duration_since(awaited.since);
            let quiet = now.saturating_duration_since(awaited.said);
            if long < PATIENCE || quiet < NOTICE_EVERY {
                continue;
            }
            awaited.said = now;
            let name = self.network.name_of(awaited.node).map_or("", |name| &**name);
            let (seconds, remedy) = (long.as_secs(), &awaited.remedy);
            notices
                .push(format!("the process {name:?} has not answered for {seconds} s; {remedy}"));
        }
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
        let mut strangers = Strangers::default();
        for refused in refused {
            let (peer, frames, why) = (refused.peer, refused.frames, refused.last);
            let Some(name) = self.network.name_of(peer) else {
                strangers.count(peer, frames, why);
                continue;
            };
            let Some(remedy) = self.remedy(name, why) else { continue };
            let text = format!(
                "frames that come as those of the process {name:?} are refused, {frames} so far: \
                 {why}; {remedy}"
            );
            notices.extend(self.is_due(Some(peer), frames).then_some(text));
        }
        // Anybody can say that he is many.
        let text = strangers.notice();
        notices.extend(text.filter(|_| self.is_due(None, strangers.frames)));
        notices
    }

    /// Whether it is time to say that so many frames of a peer, or of all strangers, were refused.
    fn is_due(&mut self, peer: Option<NodeId>, frames: u64) -> bool {
        let said = self.refused.get(&peer);
        let is_due = said.is_none_or(|(said, at)| *said < frames && at.elapsed() >= NOTICE_EVERY);
        if is_due {
            self.refused.insert(peer, (frames, Instant::now()));
        }
        is_due
    }

    /// What to do about a refusal, if it is more than a frame that came late.
    fn remedy(&self, name: &str, refusal: Refusal) -> Option<String> {
        let public = self.keys.public_path(name);
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

/// Those that a process waits for: of the tree, where agents are placed; of a worker, the tree.
fn awaited(network: &Network, topology: &Topology, starts: Starts<'_>) -> Vec<Awaited> {
    let (now, file) = (Instant::now(), starts.file);
    let of = |name: &str, remedy: String| {
        let node = network.node_of(name)?;
        Some(Awaited { node, remedy, since: now, said: now })
    };
    if !network.has_tree() {
        let remedy = format!("nothing runs here until it does: lictor run {file}");
        return of(&topology.transport.process, remedy).into_iter().collect();
    }
    let placed: BTreeSet<&str> = topology.all_children().filter_map(|it| it.process()).collect();
    let processes = topology.processes.iter().filter(|it| placed.contains(&*it.name));
    let each = processes.filter_map(|process| {
        let name = &process.name;
        let remedy = if starts.workers && !process.external {
            format!("its agents wait; it was started here: what it says is logged with [{name}]")
        } else {
            format!(
                "its agents wait; start it where it is to run: \
                     lictor worker {file} --process {name}, or a program of your own"
            )
        };
        of(name, remedy)
    });
    each.collect()
}

/// What is refused of processes that the topology does not have: one line, however many they are.
#[derive(Default)]
struct Strangers {
    peers: u64,
    frames: u64,
    last: Option<(NodeId, Refusal)>,
}

impl Strangers {
    fn count(&mut self, peer: NodeId, frames: u64, why: Refusal) {
        self.peers += 1;
        self.frames = self.frames.saturating_add(frames);
        self.last = Some((peer, why));
    }

    fn notice(&self) -> Option<String> {
        let (NodeId(number), why) = self.last?;
        let Self { peers, frames, .. } = self;
        let others = if *peers > 1 { format!(" and {} others", peers - 1) } else { String::new() };
        Some(format!(
            "frames that come as those of the process number {number}{others} are refused, \
             {frames} so far: {why}; the topology has no such process"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_one_line_however_many_they_are() {
        let mut strangers = Strangers::default();
        assert_eq!(strangers.notice(), None);
        let mut lines = Vec::new();
        for number in 1..=1000 {
            strangers.count(NodeId(number), 2, Refusal::Unsigned);
            lines.extend(strangers.notice());
        }
        assert!(lines[0].contains("number 1 are refused, 2 so far"), "{}", lines[0]);
        let last = lines.last().unwrap();
        assert!(last.contains("number 1000 and 999 others are refused, 2000 so far"), "{last}");
    }
}

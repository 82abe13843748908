//! Running agents for other nodes.

use lictor_kernel::NodeId;

use crate::driver::Command;
use crate::error::StartError;
use crate::runtime::{Phase, Runtime};
use crate::spec::{AgentSpec, Supervisor};
use crate::started::Tree;

impl Runtime {
    /// Offers agents to other nodes: each runs here when a supervisor of another node whose child
    /// of this name is placed on this one ([`AgentSpec::at_process`]) orders it, under a lease of
    /// that node. How it is supervised is said there; mailbox, retries and capabilities here.
    ///
    /// Before the start only. A start that fails takes the offers back; once its wire has said
    /// goodbye, this boot of the node runs nothing for others any more, and another runtime of a
    /// greater epoch is needed.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`]; a name that cannot be one, twice the same, or too many.
    /// Those before the one that fails are offered.
    pub fn host(&self, agents: impl IntoIterator<Item = AgentSpec>) -> Result<(), StartError> {
        // What is left of them is the user's, and must not be dropped under the lock.
        let mut agents: Vec<AgentSpec> = agents.into_iter().collect();
        let mut world = self.shared.world();
        if world.phase != Phase::New || world.node.host().is_leaving() {
            return Err(StartError::AlreadyStarted);
        }
        for agent in &mut agents {
            world.add_offer(&self.shared, agent)?;
        }
        drop(world);
        Ok(())
    }

    /// Starts this runtime as one that only runs agents for others: its tree is a supervisor of
    /// this name without children, so it runs until it is stopped. The name is announced like any
    /// other and must be one of its own in the cluster; that of the process will do.
    ///
    /// # Errors
    /// As [`Runtime::host`] and [`Runtime::start`].
    pub async fn serve(
        &self,
        name: &str,
        agents: impl IntoIterator<Item = AgentSpec>,
    ) -> Result<Tree, StartError> {
        self.host(agents)?;
        self.start(Supervisor::one_for_one(name)).await
    }

    /// Says that the process that was this boot (the epoch of its
    /// [`membership`](crate::RuntimeConfig::membership)) of another node has ended: for whoever
    /// started that process and has reaped it, and for nobody else. It counts as its goodbye: what
    /// it ran for this node is lost at once, and is started on the next boot without waiting for
    /// the end of its lease. Said of a process that is alive, this breaks the promise that one at a
    /// time runs.
    ///
    /// Takes effect soon, in the order of other commands. A boot newer than any that was seen
    /// counts as seen, and older ones as over; of a peer that is not known, or before the start, it
    /// changes nothing. (Kernel rule H9.)
    pub fn peer_gone(&self, peer: NodeId, boot: u64) {
        self.shared.inbox.command(Command::PeerGone { peer, boot });
    }
}

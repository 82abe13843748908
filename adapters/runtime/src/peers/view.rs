//! What a runtime shows of other nodes.

use std::sync::Arc;

use lictor_kernel::{NodeId, Owner, Route, Undeliverable};

use super::WireCounters;
use crate::driver::World;
use crate::refs::RawRef;
use crate::runtime::{Runtime, Shared};
use crate::token::Token;

impl Runtime {
    /// What this runtime has seen of its wire; all zero without one.
    #[must_use]
    pub fn wire(&self) -> WireCounters {
        let peers = self.shared.peers.as_ref();
        peers.map_or_else(WireCounters::default, |p| p.counters(self.shared.late_replies()))
    }

    /// The nodes that this one knows, in the order of their numbers, and the boot of each that
    /// answers at present.
    #[must_use]
    pub fn peers(&self) -> Vec<(NodeId, Option<u64>)> {
        self.shared.world().node.membership().peers().collect()
    }

    /// The names of agents and supervisors of other nodes, in byte order, and whose they are.
    #[must_use]
    pub fn remote_names(&self) -> Vec<(Arc<str>, NodeId)> {
        self.shared.world().remote_names()
    }
}

impl World {
    /// The transport of a new life ends with that life.
    pub(crate) fn new_wire(&mut self) -> Arc<Token> {
        self.wire_over = Arc::new(Token::new());
        Arc::clone(&self.wire_over)
    }

    fn remote_names(&self) -> Vec<(Arc<str>, NodeId)> {
        let (names, registry) = (self.node.names(), self.node.registry());
        let remote =
            names.with_prefix("").filter_map(|(text, id)| match registry.lookup(id)?.owner {
                Owner::Remote { node, .. } => Some((Arc::from(text), node)),
                Owner::Local(_) => None,
            });
        remote.collect()
    }

    pub(crate) fn target_of(&self, shared: &Arc<Shared>, route: &Route) -> Option<RawRef> {
        match route {
            Route::Local { name, .. } => {
                self.cell(lictor_kernel::ChildId(name.0)).map(RawRef::local)
            }
            Route::Remote { name, .. } => {
                let name = Arc::from(self.node.names().resolve(*name)?);
                Some(RawRef::remote(Arc::clone(shared), name))
            }
            Route::Undeliverable(
                Undeliverable::NoSuchName
                | Undeliverable::Down
                | Undeliverable::LeaseExpired
                | Undeliverable::NoCapability
                | Undeliverable::NoneUp
                | _,
            ) => None,
        }
    }
}

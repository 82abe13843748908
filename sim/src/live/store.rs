//! The store of a node: what its runtime keeps checkpoints in, upon the disk of the books.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use lictor_runtime::{StateStore, StoreError, StoreFuture, Value};

use super::{Ledger, Live};
use crate::disk::{Disk, Failed};
use crate::record::{NodeIx, Who};

/// One node's store. It never waits: a slow disk is another fault than one that loses.
pub(super) struct SimStore {
    pub(super) live: Arc<Live>,
    pub(super) node: NodeIx,
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore({:?})", self.node)
    }
}

fn refusal(failed: Failed) -> StoreError {
    StoreError(failed.text().to_owned())
}

impl SimStore {
    /// Does something for an agent on the disk of this node.
    fn on_disk<T>(
        &self,
        agent: &str,
        act: impl FnOnce(&mut Disk<Value>, &Ledger, Who) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        let unknown = || StoreError(format!("nobody here is called `{agent}`"));
        let who = self.live.plan.scenario.named(agent).ok_or_else(unknown)?;
        self.live.with(|ledger| {
            let mut disk = std::mem::take(&mut ledger.node(self.node).disk);
            let done = act(&mut disk, ledger, who);
            ledger.node(self.node).disk = disk;
            done.map_err(refusal)
        })
    }
}

impl StateStore for SimStore {
    fn get<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, Option<Value>> {
        let found =
            self.on_disk(agent, |disk, ledger, who| disk.read(ledger.streams, ledger.now, who));
        Box::pin(ready(found))
    }

    fn set<'a>(&'a self, agent: &'a str, state: Value) -> StoreFuture<'a, ()> {
        let done =
            self.on_disk(agent, |disk, ledger, who| disk.write(ledger.now, who, Some(state)));
        Box::pin(ready(done))
    }

    fn delete<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(ready(self.on_disk(agent, |disk, ledger, who| disk.write(ledger.now, who, None))))
    }

    fn list(&self) -> StoreFuture<'_, Vec<String>> {
        let names = self.live.with(|ledger| ledger.node(self.node).disk.whose());
        let mut names: Vec<String> =
            names.into_iter().map(|who| self.live.text(who).to_owned()).collect();
        names.sort_unstable();
        Box::pin(ready(Ok(names)))
    }
}

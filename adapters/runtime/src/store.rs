//! Checkpoints: what an agent wants to find again after a restart.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use crate::message::Value;

/// A store could not read or write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state store: {}", self.0)
    }
}

impl std::error::Error for StoreError {}

/// The future of a store's operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where checkpoints are kept, by agent name.
///
/// What `get` returns shares nothing with what is stored: a state that is changed and not
/// checkpointed again is as it was at the last checkpoint.
pub trait StateStore: Debug + Send + Sync + 'static {
    /// The last checkpoint of this agent.
    fn get<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, Option<Value>>;

    /// Keeps a checkpoint, in the place of the one before.
    fn set<'a>(&'a self, agent: &'a str, state: Value) -> StoreFuture<'a, ()>;

    /// Forgets the checkpoint of this agent; fine if there is none.
    fn delete<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, ()>;

    /// The agents that have a checkpoint, in name order.
    fn list(&self) -> StoreFuture<'_, Vec<String>>;
}

/// Checkpoints in memory: they survive restarts of agents, not the end of the process.
#[derive(Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Value>>);

impl MemoryStore {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("agents", &self.with(|states| states.len())).finish()
    }
}

impl StateStore for MemoryStore {
    fn get<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, Option<Value>> {
        let state = self.with(|states| states.get(agent).cloned());
        Box::pin(std::future::ready(Ok(state)))
    }

    fn set<'a>(&'a self, agent: &'a str, state: Value) -> StoreFuture<'a, ()> {
        self.with(|states| states.insert(agent.to_owned(), state));
        Box::pin(std::future::ready(Ok(())))
    }

    fn delete<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, ()> {
        self.with(|states| states.remove(agent));
        Box::pin(std::future::ready(Ok(())))
    }

    fn list(&self) -> StoreFuture<'_, Vec<String>> {
        let names = self.with(|states| states.keys().cloned().collect());
        Box::pin(std::future::ready(Ok(names)))
    }
}

//! A runtime on the tokio runtime that the caller is in.

#[cfg(feature = "topology")]
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "topology")]
use lictor_runtime::Tree;
use lictor_runtime::{Runtime, RuntimeConfig};
use lictor_tokio::{NoRuntime, TokioExecutor};

#[cfg(feature = "topology")]
use crate::from_topology::{LoadError, load_all};
#[cfg(feature = "topology")]
use crate::network::Network;

/// How a [`Runtime`] is made on tokio.
pub trait RuntimeExt: Sized {
    /// A runtime with defaults, on the tokio runtime that the caller is in.
    ///
    /// # Errors
    /// [`NoRuntime`] outside of one.
    fn current() -> Result<Self, NoRuntime>;

    /// A runtime on the tokio runtime that the caller is in.
    ///
    /// # Errors
    /// [`NoRuntime`] outside of one.
    fn current_with(config: RuntimeConfig) -> Result<Self, NoRuntime>;

    /// Reads a topology file and starts it on the tokio runtime that the caller is in; the agent
    /// types are those of the configuration. Returns when every agent is up. If the file spreads
    /// the tree over processes, this one has the tree; the others are started by others.
    ///
    /// # Errors
    /// [`LoadError`], with every fault of the file; nothing runs then.
    #[cfg(feature = "topology")]
    fn from_topology(
        path: impl AsRef<Path> + Send,
        config: RuntimeConfig,
    ) -> impl Future<Output = Result<Tree, LoadError>> + Send;
}

impl RuntimeExt for Runtime {
    fn current() -> Result<Self, NoRuntime> {
        Self::current_with(RuntimeConfig::default())
    }

    fn current_with(config: RuntimeConfig) -> Result<Self, NoRuntime> {
        Ok(Self::with_config(Arc::new(TokioExecutor::current()?), config))
    }

    #[cfg(feature = "topology")]
    async fn from_topology(
        path: impl AsRef<Path> + Send,
        config: RuntimeConfig,
    ) -> Result<Tree, LoadError> {
        let (topology, root) = load_all(path.as_ref(), &config.types)?;
        let mut config = config;
        if topology.is_distributed() {
            let executor = Arc::new(TokioExecutor::current().map_err(LoadError::NoRuntime)?);
            let network = Network::of_tree(&topology)?;
            let broker = network.broker(&topology)?;
            config = network.join(&topology, config, executor, broker)?;
        }
        let runtime = Self::current_with(config).map_err(LoadError::NoRuntime)?;
        Ok(runtime.start(root).await?)
    }
}

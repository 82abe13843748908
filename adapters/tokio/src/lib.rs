//! Lictor on tokio: the [`Executor`] that production runs on.
//!
//! ```
//! use lictor_tokio::TokioExecutor;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! let executor = tokio.block_on(async { TokioExecutor::current() })?;
//! # let _ = executor;
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::executor::{Executor, Task};
use tokio::runtime::Handle;

/// There is no tokio runtime to run on: the caller is not inside one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NoRuntime;

impl Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not inside a tokio runtime; enter one, or hand its handle in")
    }
}

impl Error for NoRuntime {}

/// Runs tasks on a tokio runtime, current-thread or multi-thread.
///
/// Its origin is the moment of its making. Its clock is tokio's, so under a paused clock time
/// advances only when all tasks sleep. Tokio's timers tick in whole milliseconds: a sleep may end
/// up to one late.
#[derive(Clone, Debug)]
pub struct TokioExecutor {
    handle: Handle,
    origin: tokio::time::Instant,
}

impl TokioExecutor {
    /// Runs on the runtime that the caller is in.
    ///
    /// # Errors
    /// [`NoRuntime`] outside of one.
    pub fn current() -> Result<Self, NoRuntime> {
        Handle::try_current().map(Self::on).map_err(|_| NoRuntime)
    }

    /// Runs on the runtime that `handle` belongs to. Its time driver has to be enabled: tokio
    /// panics at the first sleep otherwise.
    #[must_use]
    pub fn on(handle: Handle) -> Self {
        let entered = handle.enter();
        let origin = tokio::time::Instant::now();
        drop(entered);
        Self { handle, origin }
    }
}

impl Executor for TokioExecutor {
    fn now(&self) -> Instant {
        let passed = tokio::time::Instant::now().saturating_duration_since(self.origin);
        Instant::ZERO.saturating_add(passed)
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        // Tokio binds a sleep to the runtime in which it is made, so any thread may call this.
        let _entered = self.handle.enter();
        let since_origin = Duration::from_nanos(deadline.as_nanos());
        match self.origin.checked_add(since_origin) {
            Some(deadline) => Box::pin(tokio::time::sleep_until(deadline)),
            // Later than the host's clock can say.
            None => Box::pin(std::future::pending()),
        }
    }

    fn spawn(&self, task: Task) {
        // Dropping the join handle detaches the task.
        drop(self.handle.spawn(task));
    }
}

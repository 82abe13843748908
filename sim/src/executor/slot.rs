//! One task: where it is, what is known of it, and what is done to it.

use std::sync::Arc;
use std::task::{Wake, Waker};

use lictor_kernel::Instant;
use lictor_runtime::executor::Task;

use super::core::Core;
use super::faults::Trouble;

/// What a task is, as far as its treatment depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The runtime's own, or nobody knows.
    Plain,
    Agent,
    Client,
    /// The future of a `block_on`: its body is on the stack of the caller.
    Root,
}

/// A place in the slab. A free one keeps its generation, so that wakers of its last task miss.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) live: bool,
    /// Whether it is in a ready queue, or will be once it is let go.
    pub(super) queued: bool,
    pub(super) kind: Kind,
    /// Gone while the task is being polled.
    pub(super) body: Option<Task>,
    pub(super) waker: Option<Waker>,
    /// The key of everything that is drawn for it.
    pub(super) identity: u64,
    pub(super) polls: u64,
    pub(super) priority: u64,
    /// When it was last woken, and during whose poll.
    pub(super) last_wake: Option<(Instant, Option<u64>)>,
    pub(super) index: u64,
    pub(super) children: u64,
    pub(super) sleeps: u64,
    pub(super) name: Arc<str>,
    /// On which host.
    pub(super) host: Arc<str>,
    /// None for nearly all tasks.
    pub(super) trouble: Option<Box<Trouble>>,
}

/// A task's waker, made once for each task. A wake is a lock and a push.
pub(super) struct TaskWaker {
    pub(super) core: Arc<Core>,
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.core.wake(self.slot, self.generation);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.core.wake(self.slot, self.generation);
    }
}

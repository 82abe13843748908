//! What a runtime tells those who watch it.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Display};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use lictor_kernel::{ExitReason, Instant};
use serde::Serialize;

use crate::sync::wake;

/// Something that happened in a runtime.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RuntimeEvent {
    /// Seconds since the executor's origin.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// Another node answers.
    PeerUp {
        /// Which.
        node: u64,
        /// Which boot of it.
        epoch: u64,
    },
    /// An answer of another node is overdue.
    PeerSuspect {
        /// Which.
        node: u64,
    },
    /// Another node is given up: its names are gone, the calls to it have failed.
    PeerDown {
        /// Which.
        node: u64,
    },
    /// A supervisor begins to start its children.
    SupervisorStarting {
        /// Its name.
        name: Arc<str>,
    },
    /// All children of a supervisor are up.
    SupervisorStarted {
        /// Its name.
        name: Arc<str>,
    },
    /// A supervisor and all its children are gone.
    SupervisorStopped {
        /// Its name.
        name: Arc<str>,
        /// Why.
        reason: &'static str,
    },
    /// An agent that is placed on another node waits for it: it is not there, or must not be used
    /// yet.
    Waiting {
        /// Its name.
        name: Arc<str>,
        /// The node, as it is called.
        node: Arc<str>,
    },
    /// An incarnation of an agent is up.
    Started {
        /// Its name.
        name: Arc<str>,
        /// How often it has been started, this time included.
        incarnation: u64,
    },
    /// An incarnation could not be started.
    StartFailed {
        /// Its name.
        name: Arc<str>,
        /// What it said.
        detail: Arc<str>,
    },
    /// An incarnation ended cleanly.
    Stopped {
        /// Its name.
        name: Arc<str>,
        /// Why.
        reason: &'static str,
    },
    /// An incarnation failed.
    Crashed {
        /// Its name.
        name: Arc<str>,
        /// Why.
        reason: &'static str,
        /// The error or the panic message.
        detail: Arc<str>,
    },
    /// An agent will be started again after a wait.
    RestartScheduled {
        /// Its name.
        name: Arc<str>,
        /// The wait, as text such as `150ms` or `1.25s`.
        delay: String,
    },
    /// A supervisor's restart budget is used up.
    RestartsExhausted {
        /// The supervisor.
        name: Arc<str>,
        /// The child whose crash went over it.
        child: Arc<str>,
    },
    /// An agent told to stop ended otherwise than asked.
    ShutdownError {
        /// Its name.
        name: Arc<str>,
        /// How it ended.
        reason: &'static str,
    },
    /// An agent told to end is still inside one poll: it blocks its thread and cannot be killed.
    Unresponsive {
        /// Its name.
        name: Arc<str>,
    },
    /// An agent takes only control messages until it is resumed.
    Suspended {
        /// Its name.
        name: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// An agent works again.
    Resumed {
        /// Its name.
        name: Arc<str>,
        /// Who said so.
        approver: Arc<str>,
    },
    /// Messages will not be handled.
    DeadLetters {
        /// Whose mailbox they were for.
        name: Arc<str>,
        /// How many.
        count: u64,
        /// Why.
        reason: &'static str,
    },
    /// An agent is gone for good and its name is free.
    Removed {
        /// Its name.
        name: Arc<str>,
        /// Why.
        reason: &'static str,
    },
    /// The root supervisor has ended by itself; `failed` if the runtime stays up without it.
    Terminated {
        /// Why.
        reason: &'static str,
        /// Whether the runtime stays, reporting FAILED.
        failed: bool,
    },
}

/// The name of an exit reason, as events and trees show it.
#[must_use]
pub const fn reason_name(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Normal => "normal",
        ExitReason::Shutdown => "shutdown",
        ExitReason::ShutdownBecause => "shutdown_because",
        ExitReason::Killed => "killed",
        ExitReason::Crashed => "crashed",
        ExitReason::StartTimeout => "start_timeout",
        ExitReason::NoConnection => "no_connection",
        ExitReason::RestartsExhausted => "restarts_exhausted",
    }
}

/// How many events wait for one watcher; more make the oldest go.
const WATCHER_LIMIT: usize = 4096;

#[derive(Default)]
pub(crate) struct EventHub {
    watchers: Mutex<Vec<Weak<Watcher>>>,
    count: AtomicUsize,
    closed: AtomicBool,
}

#[derive(Default)]
struct Watcher(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    events: VecDeque<RuntimeEvent>,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

impl Watcher {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventHub {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Watcher>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self) -> Events {
        let watcher = Arc::new(Watcher::default());
        let mut watchers = self.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(&watcher));
        self.count.store(watchers.len(), Ordering::Relaxed);
        // One that comes after the end must not wait for ever.
        watcher.lock().closed = self.closed.load(Ordering::Relaxed);
        Events(watcher)
    }

    /// The clock is read only if somebody watches.
    pub(crate) fn emit(&self, now: impl FnOnce() -> Instant, kind: EventKind) {
        trace(&kind);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let event = RuntimeEvent { at: now().as_nanos() as f64 / 1e9, kind };
        self.each(|waiting| {
            if waiting.events.len() == WATCHER_LIMIT {
                waiting.events.pop_front();
                waiting.missed += 1;
            }
            waiting.events.push_back(event.clone());
        });
    }

    /// Changes what each watcher waits for, and wakes it, the locks being free again by then.
    fn each(&self, change: impl Fn(&mut Waiting)) {
        let mut wakers = Vec::new();
        let all = self.lock();
        // Held until the lock is free: ours may be the last hold, and of a waker, too.
        let watchers: Vec<Arc<Watcher>> = all.iter().filter_map(Weak::upgrade).collect();
        for watcher in &watchers {
            let mut waiting = watcher.lock();
            change(&mut waiting);
            wakers.extend(waiting.waker.take());
        }
        drop(all);
        wakers.into_iter().for_each(wake);
    }

    pub(crate) fn close(&self) {
        // Under the lock of the watchers, so that one made meanwhile sees it or is seen.
        let watchers = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        drop(watchers);
        self.each(|waiting| waiting.closed = true);
    }
}

impl Drop for EventHub {
    /// Nothing can happen any more: the watchers are told.
    fn drop(&mut self) {
        self.close();
    }
}

/// A watcher's view of what happens in a runtime, from the moment it was made.
///
/// It holds 4096 events; if they are not taken, the oldest go and are counted.
pub struct Events(Arc<Watcher>);

impl Events {
    /// The next event; `None` when the runtime has stopped, or is gone, and every event was taken.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<RuntimeEvent> {
        poll_fn(|cx| {
            let mut waiting = self.0.lock();
            if let Some(event) = waiting.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            if waiting.closed {
                return Poll::Ready(None);
            }
            let stale = waiting.waker.replace(cx.waker().clone());
            drop(waiting);
            drop(stale);
            Poll::Pending
        })
        .await
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<RuntimeEvent> {
        self.0.lock().events.pop_front()
    }

    /// How many events went because they were not taken in time.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.0.lock().missed
    }
}

impl Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.0.lock().events.len()).finish()
    }
}

/// A wait for display: seconds, as Rust writes them.
pub(crate) fn display_delay(delay: Duration) -> String {
    format!("{delay:?}")
}

/// In words.
impl Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SupervisorStarting { name } => write!(f, "starting {name}"),
            Self::SupervisorStarted { name } => write!(f, "up {name}"),
            Self::SupervisorStopped { name, reason } | Self::Stopped { name, reason } => {
                write!(f, "stopped {name}: {reason}")
            }
            Self::Started { name, incarnation: 1 } => write!(f, "started {name}"),
            Self::Started { name, incarnation } => {
                write!(f, "restarted {name}, incarnation {incarnation}")
            }
            Self::StartFailed { name, detail } => write!(f, "failed to start {name}: {detail}"),
            Self::Crashed { name, detail, .. } => write!(f, "crashed {name}: {detail}"),
            Self::RestartScheduled { name, delay } => write!(f, "restarts {name} in {delay}"),
            Self::RestartsExhausted { name, child } => {
                write!(f, "gives up {name}: {child} has crashed too often")
            }
            Self::ShutdownError { name, reason } => {
                write!(f, "did not stop as asked {name}: {reason}")
            }
            Self::Unresponsive { name } => write!(f, "blocks its thread {name}"),
            Self::Suspended { name, reason } => write!(f, "suspended {name}: {reason}"),
            Self::Resumed { name, approver } => write!(f, "resumed {name} by {approver}"),
            Self::DeadLetters { name, count, reason } => {
                write!(f, "dead letters {name}: {count}, {reason}")
            }
            Self::Removed { name, reason } => write!(f, "removed {name}: {reason}"),
            Self::Terminated { reason, .. } => {
                write!(f, "the root supervisor has ended: {reason}")
            }
            Self::PeerUp { node, .. } => write!(f, "node {node} answers"),
            Self::PeerSuspect { node } => write!(f, "node {node} is overdue"),
            Self::PeerDown { node } => write!(f, "node {node} is given up"),
            Self::Waiting { name, node } => write!(f, "{name} waits for {node}"),
        }
    }
}

fn trace(kind: &EventKind) {
    use EventKind as K;
    match kind {
        K::Crashed { name, reason, detail } => {
            let _entered = crate::spans::crash(name, reason).entered();
            tracing::warn!(target: "lictor", agent = &**name, reason, "crashed: {detail}");
        }
        K::StartFailed { name, detail } => {
            tracing::warn!(target: "lictor", agent = &**name, "failed to start: {detail}");
        }
        K::RestartsExhausted { name, child } => {
            tracing::error!(target: "lictor", supervisor = &**name, child = &**child,
                "restart budget used up");
        }
        K::Terminated { reason, failed } => {
            tracing::error!(target: "lictor", reason, failed, "the root supervisor has ended");
        }
        K::DeadLetters { name, count, reason } => {
            tracing::warn!(target: "lictor", agent = &**name, count, reason, "dead letters");
        }
        K::ShutdownError { name, reason } => {
            tracing::warn!(target: "lictor", agent = &**name, reason, "did not stop as asked");
        }
        K::Unresponsive { name } => {
            tracing::error!(target: "lictor", agent = &**name, "blocks its thread");
        }
        K::PeerSuspect { node } => tracing::warn!(target: "lictor", node, "overdue"),
        K::PeerDown { node } => tracing::warn!(target: "lictor", node, "given up"),
        K::PeerUp { .. }
        | K::SupervisorStarting { .. }
        | K::SupervisorStarted { .. }
        | K::SupervisorStopped { .. }
        | K::Waiting { .. }
        | K::Started { .. }
        | K::Stopped { .. }
        | K::RestartScheduled { .. }
        | K::Suspended { .. }
        | K::Resumed { .. }
        | K::Removed { .. } => tracing::info!(target: "lictor", "{kind}"),
    }
}

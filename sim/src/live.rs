//! What the engines with the real runtime share: agents that behave as a scenario says, a witness
//! that turns what kernels hear and decide into records, and the driver of a plan.
//!
//! The kernel world models mailboxes, processes and senders; here they are the runtime's own. What
//! is modelled all the same, in lock-step, is what becomes of each message: a [`Ledger`] foretells
//! whether a mailbox takes it, in which order an agent gets what is queued, and what a crash does
//! to the message in hand. Where the runtime does otherwise, that is a violation and not a
//! difference between engines.
//!
//! The hard case is a witness that stands outside. Nothing of the runtime says that a message was
//! queued, or which one was dropped: only counts leave it. So every message carries its name, both
//! ends of every send are in here, and what goes over a wire is looked into on its way.

mod agent;
mod buggy;
mod client;
mod driver;
mod hosted;
mod ledger;
mod mailbox;
mod store;
mod tap;
mod timer;
mod tree;
mod witness;

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use lictor_kernel::Instant;

pub(crate) use self::driver::{ClockChange, Driver, Found, Ground, LinkChange, boot};
pub(crate) use self::ledger::Ledger;
pub(crate) use self::tap::{Tap, message_in};
use crate::plan::Plan;
use crate::record::{NodeIx, What, Who};
use crate::stream::Streams;

type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// A run of a plan with real runtimes, as all that takes part in it sees it.
pub(crate) struct Live {
    pub(crate) plan: Arc<Plan>,
    pub(crate) streams: Streams,
    clock: Clock,
    ledger: Mutex<Ledger>,
}

impl Live {
    pub(crate) fn new(plan: &Arc<Plan>, trace: bool, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            plan: Arc::clone(plan),
            streams: Streams::new(plan.seed),
            clock,
            ledger: Mutex::new(Ledger::new(plan, trace)),
        })
    }

    /// Looks into the ledger or changes it. Whoever waits for the change is woken after that.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.now = (self.clock)();
        let result = act(&mut ledger);
        let wakers = std::mem::take(&mut ledger.to_wake);
        drop(ledger);
        wakers.into_iter().for_each(std::task::Waker::wake);
        result
    }

    /// Lets go of the runtimes, which hold this.
    pub(crate) fn forget(&self) {
        let held: Vec<_> = self.with(|ledger| {
            let nodes = ledger.nodes.iter_mut();
            nodes.map(|node| (node.runtime.take(), node.executor.take())).collect()
        });
        drop(held);
    }

    pub(crate) fn put(&self, node: NodeIx, what: What) {
        self.with(|ledger| ledger.put(node, what));
    }

    /// Waits until this is so; it is looked at whenever something about the agent changes.
    pub(crate) fn until<T>(
        &self,
        who: Who,
        mut ready: impl FnMut(&mut Ledger) -> Option<T>,
    ) -> impl Future<Output = T> {
        poll_fn(move |cx| {
            self.with(|ledger| match ready(ledger) {
                Some(ready) => Poll::Ready(ready),
                None => {
                    ledger.listen(who, cx.waker());
                    Poll::Pending
                }
            })
        })
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("seed", &self.plan.seed).finish_non_exhaustive()
    }
}

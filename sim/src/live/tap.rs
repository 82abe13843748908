//! What goes over a wire, looked into on its way: a message that comes to a node is put into a
//! mailbox there and then. How long it waits for room there is the runtime's to say: timers may be
//! late, each for itself, so the task that waits is looked into, and no timer of our own beside it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lictor_kernel::{Instant, NodeId};
use lictor_runtime::transport::{Frame, Inbox, LinkEvent, SendError, Transport};
use lictor_runtime::{Passing, Task};

use super::client::name_of;
use super::{Ledger, Live};
use crate::buggify::Point;
use crate::record::{Fate, MessageId, NodeIx, What};

/// The message in a frame between runtimes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub(crate) id: MessageId,
    pub(crate) hop: u32,
    /// For which boot it is.
    boot: u64,
    /// How long it may wait for room.
    wait: Option<Duration>,
    /// How long it lives from here.
    ttl: Option<Duration>,
}

/// The message in a frame between runtimes.
pub(crate) fn message_in(frame: &Frame) -> Option<Carried> {
    let Passing { boot, payload, wait, ttl, .. } = Passing::in_frame(frame)?;
    let (id, hop) = name_of(&payload)?;
    Some(Carried { id, hop, boot, wait, ttl })
}

/// A transport that is looked into.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) live: Arc<Live>,
    pub(crate) node: NodeIx,
    pub(crate) boot: u32,
}

impl Transport for Tap {
    fn peers(&self) -> Vec<NodeId> {
        self.inner.peers()
    }

    fn send(&self, peer: NodeId, frame: Frame) -> Result<(), SendError> {
        let to = NodeIx(u8::try_from(peer.0).unwrap_or(u8::MAX));
        let full = self.live.with(|ledger| {
            let whose = u64::from(self.node.0) << 8 | u64::from(to.0);
            let now = ledger.now.as_nanos();
            let full = !ledger.calm && ledger.buggify.fires(Point::ShortQueue, whose, now);
            if full {
                ledger.put(self.node, What::FrameLost(to));
            }
            full
        });
        if full { Err(SendError::Full) } else { self.inner.send(peer, frame) }
    }

    fn run(self: Arc<Self>, inbox: Inbox) -> Task {
        let (live, node, boot) = (Arc::clone(&self.live), self.node, self.boot);
        let inner = Arc::clone(&self.inner);
        let newest = Mutex::new(BTreeMap::new());
        inner.run(Inbox::new(move |peer, event| {
            match event {
                LinkEvent::Up => inbox.up(peer),
                LinkEvent::Down => inbox.down(peer),
                LinkEvent::Frame(frame) => {
                    let is_old = is_of_old(&newest, peer, &frame, boot);
                    match message_in(&frame) {
                        Some(Carried { id, hop, .. }) if is_old => {
                            live.with(|ledger| ledger.lost(node, id, hop));
                        }
                        Some(carried) => arrives(&live, node, carried, boot),
                        None => {}
                    }
                    let taken = inbox.frame(peer, frame);
                    // Nothing waits for it: it was let in at once.
                    live.with(|ledger| {
                        if let Some(entrant) = ledger.entrant.take() {
                            ledger.waits_no_more(entrant);
                        }
                    });
                    return taken;
                }
            }
            true
        }))
    }
}

/// Whether a frame is of an older boot of its sender than another one that has come: the network
/// may bring it later, and the runtime does not take it then.
fn is_of_old(
    newest: &Mutex<BTreeMap<NodeId, u64>>,
    peer: NodeId,
    frame: &Frame,
    boot: u32,
) -> bool {
    let Some((from, to)) = Passing::boots_in(frame) else { return false };
    if to != u64::from(boot) {
        return false;
    }
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    let known = newest.entry(peer).or_insert(from);
    *known = from.max(*known);
    from < *known
}

fn arrives(live: &Arc<Live>, node: NodeIx, carried: Carried, boot: u32) {
    let Carried { id, hop, boot: meant, wait, ttl } = carried;
    let now = live.executor(node).map(|executor| executor.now());
    live.with(|ledger| {
        if meant != u64::from(boot) {
            return ledger.lost(node, id, hop);
        }
        // Whoever passes a message on gives it no time to live, and a copy of it may come later.
        if let Some((now, ttl)) = now.zip(ttl).filter(|_| ledger.is_awaited(id, hop)) {
            ledger.expires(id, now.saturating_add(ttl));
        }
        // A copy of one that waits has no task.
        let waited = ledger.still_waits(id, hop);
        ledger.arrives(node, id, hop);
        let waits = !waited && ledger.still_waits(id, hop);
        let until = now.zip(wait).map_or(Instant::MAX, |(now, wait)| now.saturating_add(wait));
        ledger.entrant = waits.then_some(Entrant { node, id, hop, until });
    });
}

/// A message from a wire that waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrant {
    node: NodeIx,
    id: MessageId,
    hop: u32,
    /// When its time is over, by the clock of its receiver's node.
    until: Instant,
}

/// The task in which such a message waits, looked into.
pub(super) struct Entering {
    pub(super) task: Task,
    pub(super) live: Arc<Live>,
    pub(super) entrant: Entrant,
}

impl Future for Entering {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { task, live, entrant } = self.get_mut();
        let polled = task.as_mut().poll(cx);
        if polled.is_ready() {
            live.with(|ledger| ledger.waits_no_more(*entrant));
        }
        polled
    }
}

impl Ledger {
    /// Nothing waits for a message from a wire any more: it was let in, or there was no room in
    /// time.
    fn waits_no_more(&mut self, Entrant { node, id, hop, until }: Entrant) {
        if !self.still_waits(id, hop) {
            return;
        }
        // Its receiver may have dropped what is over, and let it in: only this shows it, or, if it
        // has ended since, the next delivery.
        let to = self.letters.get(&id).map(|letter| letter.to);
        to.into_iter().for_each(|to| self.idle_drops_over(to));
        let clock = self.nodes[usize::from(node.0)].executor.as_ref();
        let is_over = clock.is_some_and(|clock| clock.now() >= until);
        if is_over && self.still_waits(id, hop) {
            self.no_longer_waits(id);
            self.ends(node, id, Fate::NoRoom);
        }
    }
}

//! What goes over a wire, looked into on its way: a message that comes to a node is put into a
//! mailbox there and then.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::NodeId;
use lictor_runtime::transport::{Frame, Inbox, LinkEvent, SendError, Transport};
use lictor_runtime::{Passing, Task};

use super::Live;
use super::client::name_of;
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
        inner.run(Inbox::new(move |peer, event| {
            match event {
                LinkEvent::Up => inbox.up(peer),
                LinkEvent::Down => inbox.down(peer),
                LinkEvent::Frame(frame) => {
                    if let Some(carried) = message_in(&frame) {
                        arrives(&live, node, carried, boot);
                    }
                    return inbox.frame(peer, frame);
                }
            }
            true
        }))
    }
}

fn arrives(live: &Arc<Live>, node: NodeIx, carried: Carried, boot: u32) {
    let Carried { id, hop, boot: meant, wait, ttl } = carried;
    let now = live.executor(node).map(|executor| executor.now());
    let waits = live.with(|ledger| {
        if meant == u64::from(boot) {
            if let Some((now, ttl)) = now.zip(ttl) {
                ledger.expires(id, now.saturating_add(ttl));
            }
            ledger.arrives(node, id, hop);
        } else {
            ledger.lost(node, id, hop);
        }
        ledger.still_waits(id, hop)
    });
    let Some((wait, executor)) = wait.zip(live.executor(node)).filter(|_| waits) else { return };
    let until = executor.now().saturating_add(wait);
    let (sleep, live) = (executor.sleep_until(until), Arc::clone(live));
    executor.spawn(Box::pin(async move {
        sleep.await;
        live.with(|ledger| {
            if ledger.still_waits(id, hop) {
                ledger.no_longer_waits(id);
                ledger.ends(node, id, Fate::NoRoom);
            }
        });
    }));
}

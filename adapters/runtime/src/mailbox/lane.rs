//! One lane of a mailbox: its queue, and the senders that wait for room in it.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

/// A sender's place among those that wait; never reused within a lane.
pub(super) type Ticket = u64;

pub(super) struct Queue<T> {
    queue: VecDeque<T>,
    capacity: u32,
    /// Slots given to waiting senders that have not used them yet.
    reserved: u32,
    /// Messages that are lent to the consumer and were not claimed when it was last asked: they
    /// take room as if they were here.
    lent: u32,
    /// Claims of the present loan that `lent` takes into account.
    claimed: u32,
    /// Made by the first sender that has to wait: most lanes never see one.
    waiters: Option<Box<Waiters>>,
}

/// The waiting senders in the order in which they came. Those below `granted_below` hold a
/// reserved slot and have been woken. While one does not, the lane has no room.
#[derive(Default)]
struct Waiters {
    next: Ticket,
    granted_below: Ticket,
    entries: BTreeMap<Ticket, Option<Waker>>,
}

/// What became of a waiting sender.
pub(super) enum Claim {
    /// Still waiting, now with its newest waker; the one before it is to be dropped unlocked.
    Waiting(Option<Waker>),
    /// It had a slot, and has used it up: the caller pushes now.
    Granted,
    /// The lane was closed meanwhile.
    Dismissed,
}

/// What is left of a sender that gave up: both wakers are for after the lock.
pub(super) struct Waiting {
    /// Its own waker, to be dropped.
    pub(super) own: Option<Waker>,
    /// The sender that got its slot, to be woken.
    pub(super) next: Option<Waker>,
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: u32) -> Self {
        let (queue, capacity) = (VecDeque::new(), capacity.max(1));
        Self { queue, capacity, reserved: 0, lent: 0, claimed: 0, waiters: None }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() + (self.reserved as usize) + (self.lent as usize) < self.capacity as usize
    }

    /// Whether there is room now that the consumer has claimed so many of what is lent.
    #[cold]
    pub(super) fn has_room_after(&mut self, claimed: u32) -> bool {
        if self.lent == 0 {
            return false;
        }
        self.lent = self.lent.saturating_sub(claimed.saturating_sub(self.claimed));
        self.claimed = claimed;
        self.has_room()
    }

    /// How much is lent and not claimed.
    pub(super) fn lent(&self, claimed: u32) -> usize {
        self.lent.saturating_sub(claimed.saturating_sub(self.claimed)) as usize
    }

    /// Whether there is something to lend. While senders wait for room nothing is lent: each
    /// message that is taken makes room for one of them at once.
    #[inline]
    pub(super) fn can_lend(&self) -> bool {
        !self.queue.is_empty() && !self.has_waiting()
    }

    /// Lends all messages, by handing the queue over as it is.
    pub(super) fn lend(&mut self, to: &mut VecDeque<T>) {
        std::mem::swap(&mut self.queue, to);
        self.lent = u32::try_from(to.len()).unwrap_or(u32::MAX);
        self.claimed = 0;
    }

    /// Takes what is left of a loan back, in front of what has come since: each message that comes
    /// is moved once at most for it.
    pub(super) fn take_back(&mut self, from: &mut VecDeque<T>) {
        self.settle();
        if !from.is_empty() {
            from.append(&mut self.queue);
            std::mem::swap(from, &mut self.queue);
        }
    }

    /// Nothing is lent any more.
    pub(super) fn settle(&mut self) {
        (self.lent, self.claimed) = (0, 0);
    }

    /// Gives back the memory of a burst that is over.
    pub(super) fn release_memory(&mut self) {
        release_memory(&mut self.queue);
    }

    /// Whether a sender waits that has no slot yet.
    fn has_waiting(&self) -> bool {
        self.waiters.as_ref().is_some_and(|waiters| {
            waiters.entries.last_key_value().is_some_and(|(last, _)| *last >= waiters.granted_below)
        })
    }

    pub(super) fn push_back(&mut self, message: T) {
        self.queue.push_back(message);
    }

    pub(super) fn push_front(&mut self, message: T) {
        self.queue.push_front(message);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let message = self.queue.pop_front()?;
        release_memory(&mut self.queue);
        Some(message)
    }

    /// Removes the oldest message and keeps the memory for the one that takes its place.
    pub(super) fn evict(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// Empties the lane, memory included.
    pub(super) fn take_all(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.queue)
    }

    /// Reserves a free slot, if there is one, for the sender that has waited longest.
    #[must_use = "a sender that is not woken waits for ever"]
    #[inline]
    pub(super) fn grant(&mut self) -> Option<Waker> {
        if self.waiters.is_some() { self.grant_waiting() } else { None }
    }

    fn grant_waiting(&mut self) -> Option<Waker> {
        let waiters = self.waiters.as_mut()?;
        if waiters.entries.is_empty() {
            return None;
        }
        if self.queue.len() + (self.reserved + self.lent) as usize >= self.capacity as usize {
            return None;
        }
        let (ticket, waker) = waiters.entries.range_mut(waiters.granted_below..).next()?;
        waiters.granted_below = ticket + 1;
        self.reserved += 1;
        waker.take()
    }

    pub(super) fn wait(&mut self, waker: Waker) -> Ticket {
        let waiters = self.waiters.get_or_insert_default();
        let ticket = waiters.next;
        waiters.next += 1;
        waiters.entries.insert(ticket, Some(waker));
        ticket
    }

    pub(super) fn claim(&mut self, ticket: Ticket, waker: &Waker) -> Claim {
        let Some(waiters) = self.waiters.as_mut() else {
            return Claim::Dismissed;
        };
        let Some(entry) = waiters.entries.get_mut(&ticket) else {
            return Claim::Dismissed;
        };
        if ticket < waiters.granted_below {
            waiters.entries.remove(&ticket);
            self.reserved -= 1;
            return Claim::Granted;
        }
        let stale = match entry {
            Some(known) if known.will_wake(waker) => None,
            _ => entry.replace(waker.clone()),
        };
        Claim::Waiting(stale)
    }

    /// Removes a sender that gave up, and passes on the slot that it may have held.
    pub(super) fn forget(&mut self, ticket: Ticket) -> Waiting {
        let removed = self.waiters.as_mut().and_then(|waiters| {
            let own = waiters.entries.remove(&ticket)?;
            Some((own, ticket < waiters.granted_below))
        });
        let Some((own, granted)) = removed else {
            return Waiting { own: None, next: None };
        };
        if granted {
            self.reserved -= 1;
        }
        Waiting { own, next: self.grant() }
    }

    /// Sends all waiting senders away, those with a slot included, and returns whom to wake.
    pub(super) fn dismiss(&mut self) -> Vec<Waker> {
        self.reserved = 0;
        let Some(waiters) = self.waiters.as_mut() else {
            return Vec::new();
        };
        // The tickets go on from where they are: a dismissed sender must not find its number
        // among those that wait after a reopening.
        std::mem::take(&mut waiters.entries).into_values().flatten().collect()
    }
}

/// Gives back the memory of a burst once it has been worked off; a little is kept, so that a queue
/// in steady use allocates nothing.
#[inline]
pub(super) fn release_memory<T>(queue: &mut VecDeque<T>) {
    const KEPT_BYTES: usize = 1024;
    let kept = (KEPT_BYTES / size_of::<T>().max(1)).max(8);
    if queue.is_empty() && queue.capacity() > kept {
        *queue = VecDeque::new();
    }
}

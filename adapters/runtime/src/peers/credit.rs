//! How much of what was sent to a peer may be under way at one time: the books of both ends.
//!
//! A mailbox that is full must hold up who sends to it, also over a wire; else what nobody takes is
//! dropped (as ZeroMQ does at its high-water mark), or fills the memory of its receiver. So a
//! message is *under way* until its receiver has put it into a mailbox or refused it, and only so
//! many may be.
//!
//! Messages go in lanes, by name. One count for the whole peer would let a single agent that is
//! stuck hold up all others of its node; one for each name would be a table without a limit. Each
//! lane numbers its messages, and the receiver says from time to time up to which number a lane is
//! settled. That is cumulative: a lost word of it is made good by the next one, and a lost message
//! by a later one of its lane. What is lost last is made good when the sender, held up, says how
//! much it has sent.

use std::collections::BTreeMap;
use std::task::Waker;

use lictor_kernel::Instant;

/// Lanes to a peer.
pub(crate) const LANES: usize = 256;

/// Messages of one lane that may be under way.
pub(super) const LANE_WINDOW: u64 = 256;

/// Messages to one peer that may be under way: so many lanes may be stuck before the others feel
/// it. Sixteen peers that use it up fill what a node holds for all.
pub(super) const PEER_WINDOW: u64 = 16 * LANE_WINDOW;

/// The lane of a name. Urgent messages have lanes of their own, as they have in mailboxes.
pub(super) fn lane_of(name: &str, urgent: bool) -> u8 {
    // FNV-1a: only the sender computes it, and all that counts is that it spreads.
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = name.bytes().fold(0x811c_9dc5, mix);
    let [low, ..] = mix(hash, u8::from(urgent)).to_le_bytes();
    low
}

/// A place in a lane: what a message carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) lane: u8,
    /// From 1.
    pub(crate) number: u64,
}

/// What was sent to one boot of a peer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) epoch: u64,
    lanes: Box<[Sent; LANES]>,
    under_way: u64,
    /// When it was asked for its books last.
    asked: Instant,
    /// Who waits for credit, in the order in which they came.
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Sent {
    sent: u64,
    settled: u64,
}

impl Outgoing {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            lanes: Box::new([Sent::default(); LANES]),
            under_way: 0,
            asked: Instant::ZERO,
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    /// Messages of which the peer has not said that it has settled them.
    pub(super) const fn unsettled(&self) -> u64 {
        self.under_way
    }

    /// A place for one more message, if there is credit for it.
    pub(super) fn take(&mut self, lane: u8) -> Option<Place> {
        let Sent { sent, settled } = &mut self.lanes[usize::from(lane)];
        if *sent - *settled >= LANE_WINDOW || self.under_way >= PEER_WINDOW {
            return None;
        }
        *sent += 1;
        self.under_way += 1;
        Some(Place { lane, number: *sent })
    }

    /// The message was not sent. If others of its lane were sent since, its place counts as lost.
    pub(super) fn give_back(&mut self, place: Place) {
        let Sent { sent, settled } = &mut self.lanes[usize::from(place.lane)];
        if *sent == place.number && *sent > *settled {
            *sent -= 1;
            self.under_way -= 1;
        }
    }

    /// The peer says up to which number a lane is settled.
    pub(super) fn settle(&mut self, place: Place) {
        let Sent { sent, settled } = &mut self.lanes[usize::from(place.lane)];
        let upto = place.number.min(*sent);
        if upto > *settled {
            self.under_way -= upto - *settled;
            *settled = upto;
        }
    }

    /// The last number of each lane with messages under way.
    pub(super) fn open(&self) -> Vec<Place> {
        let lanes = (0..=u8::MAX).zip(self.lanes.iter());
        let open = lanes.filter(|(_, Sent { sent, settled })| sent > settled);
        open.map(|(lane, Sent { sent, .. })| Place { lane, number: *sent }).collect()
    }

    /// Whether it is time to ask the peer how far it is; at most once in a while.
    pub(super) fn may_ask(&mut self, now: Instant, every: std::time::Duration) -> bool {
        let due = now >= self.asked.saturating_add(every);
        if due {
            self.asked = now;
        }
        due
    }

    /// Wakes `waker` when there may be credit, under the number that it had or gets.
    pub(super) fn wait(&mut self, number: Option<u64>, waker: Waker) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.waiting.insert(number, waker);
        number
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// All who wait, in their order. Who finds no credit waits again under its number.
    pub(super) fn woken(&mut self) -> BTreeMap<u64, Waker> {
        std::mem::take(&mut self.waiting)
    }
}

/// What was taken from one boot of a peer.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) epoch: u64,
    lanes: Box<[Taken; LANES]>,
    /// Messages that are settled, of which the peer has not been told.
    untold: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Taken {
    newest: u64,
    waiting: u64,
    told: u64,
    /// Those that have come.
    arrived: u64,
}

impl Taken {
    const fn settled(self) -> u64 {
        self.newest.saturating_sub(self.waiting)
    }

    const fn untold(self) -> u64 {
        self.settled().saturating_sub(self.told)
    }
}

impl Incoming {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, lanes: Box::new([Taken::default(); LANES]), untold: 0 }
    }

    /// A message has come, and waits for its mailbox.
    pub(super) fn arrive(&mut self, place: Place) {
        self.change(place.lane, |lane| {
            lane.newest = lane.newest.max(place.number);
            lane.waiting += 1;
            lane.arrived += 1;
        });
    }

    /// A message waits no longer. `true` if the peer is to be told now.
    pub(super) fn settle(&mut self, lane: u8) -> bool {
        self.change(lane, |lane| lane.waiting = lane.waiting.saturating_sub(1));
        let untold = self.lanes[usize::from(lane)].untold();
        untold >= LANE_WINDOW / 4 || self.untold >= PEER_WINDOW / 4
    }

    /// The peer has sent so much, of which some may be lost.
    pub(super) fn asked(&mut self, place: Place) {
        self.change(place.lane, |lane| lane.newest = lane.newest.max(place.number));
    }

    /// What the peer has not been told; it counts as told then.
    pub(super) fn tell(&mut self) -> Vec<Place> {
        self.untold = 0;
        let lanes = (0..=u8::MAX).zip(self.lanes.iter_mut());
        let news = lanes.filter(|(_, taken)| taken.untold() > 0);
        news.map(|(lane, taken)| {
            taken.told = taken.settled();
            Place { lane, number: taken.told }
        })
        .collect()
    }

    /// How far each of these lanes is, told or not: the last word of it may be lost.
    pub(super) fn tell_again(&mut self, lanes: &[Place]) -> Vec<Place> {
        lanes.iter().for_each(|place| self.asked(*place));
        let told = |place: &Place| {
            let taken = &mut self.lanes[usize::from(place.lane)];
            taken.told = taken.told.max(taken.settled());
            Place { lane: place.lane, number: taken.settled() }
        };
        let told = lanes.iter().map(told).collect();
        self.untold = total(self.lanes.iter().map(|taken| taken.untold()));
        told
    }

    /// Messages that were sent and have not come, as far as is known here.
    pub(super) fn missing(&self) -> u64 {
        total(self.lanes.iter().map(|lane| lane.newest.saturating_sub(lane.arrived)))
    }

    fn change(&mut self, lane: u8, change: impl FnOnce(&mut Taken)) {
        let taken = &mut self.lanes[usize::from(lane)];
        let before = taken.untold();
        change(taken);
        self.untold = self.untold.saturating_sub(before).saturating_add(taken.untold());
    }
}

/// A sum of numbers that a peer has said, and that may be beyond all sense.
fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lane_holds_up_only_itself_until_the_peer_is_full() {
        let mut out = Outgoing::new(1);
        let mut total = 0;
        for lane in 0..16 {
            for number in 1..=LANE_WINDOW {
                assert_eq!(out.take(lane), Some(Place { lane, number }));
                total += 1;
            }
            assert_eq!(out.take(lane), None);
        }
        assert_eq!((total, out.take(16)), (PEER_WINDOW, None));
        out.settle(Place { lane: 3, number: 10 });
        assert_eq!(out.take(16), Some(Place { lane: 16, number: 1 }));
        // What was never sent cannot be settled, and what is settled stays so.
        out.settle(Place { lane: 16, number: 9 });
        out.settle(Place { lane: 16, number: 0 });
        assert_eq!(out.take(16), Some(Place { lane: 16, number: 2 }));
        assert!(out.open().contains(&Place { lane: 16, number: 2 }));
        out.give_back(Place { lane: 16, number: 2 });
        assert!(!out.open().iter().any(|place| place.lane == 16));
    }

    // A peer can say what it likes.
    #[test]
    fn numbers_without_sense_overflow_no_book() {
        let mut incoming = Incoming::new(1);
        let last = |lane| Place { lane, number: u64::MAX };
        for lane in 0..3 {
            incoming.arrive(last(lane));
            incoming.settle(lane);
        }
        assert_eq!(incoming.missing(), u64::MAX);
        assert_eq!(incoming.tell_again(&[last(3)]), [last(3)]);
        assert_eq!(incoming.tell().len(), 3);
        let mut out = Outgoing::new(1);
        assert_eq!(out.take(0), Some(Place { lane: 0, number: 1 }));
        out.settle(last(0));
        assert_eq!((out.unsettled(), out.take(0)), (0, Some(Place { lane: 0, number: 2 })));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send(u8),
        /// The n-th of those on the way arrives, or is lost.
        Arrive(usize),
        Lose(usize),
        Settle(usize),
        /// The sender, held up, says how much it has sent; what is said to it may be lost.
        Ask(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..20_u8).prop_map(Step::Send),
            6 => any::<usize>().prop_map(Step::Arrive),
            1 => any::<usize>().prop_map(Step::Lose),
            5 => any::<usize>().prop_map(Step::Settle),
            1 => any::<bool>().prop_map(Step::Ask),
        ]
    }

    proptest! {
        /// Whatever is lost or reordered: never more waits at the receiver than the windows let,
        /// and when all is settled, one question frees everything.
        #[test]
        fn credit_bounds_what_waits_and_is_never_lost(
            steps in prop::collection::vec(step(), 0..600),
            drop_words in any::<bool>(),
        ) {
            let (mut out, mut incoming) = (Outgoing::new(1), Incoming::new(1));
            let (mut wire, mut waiting) = (Vec::new(), Vec::new());
            let mut lost = 0;
            for step in steps {
                match step {
                    Step::Send(lane) => wire.extend(out.take(lane)),
                    Step::Arrive(at) if !wire.is_empty() => {
                        let place: Place = wire.remove(at % wire.len());
                        incoming.arrive(place);
                        waiting.push(place.lane);
                    }
                    Step::Lose(at) if !wire.is_empty() => {
                        wire.remove(at % wire.len());
                        lost += 1;
                    }
                    Step::Settle(at) if !waiting.is_empty() => {
                        let lane = waiting.remove(at % waiting.len());
                        if incoming.settle(lane) {
                            let told = incoming.tell();
                            if !drop_words {
                                told.into_iter().for_each(|place| out.settle(place));
                            }
                        }
                    }
                    Step::Ask(arrives) => {
                        let told = incoming.tell_again(&out.open());
                        if arrives {
                            told.into_iter().for_each(|place| out.settle(place));
                        }
                    }
                    Step::Arrive(_) | Step::Lose(_) | Step::Settle(_) => {}
                }
                let untold: u64 = incoming.lanes.iter().map(|lane| lane.untold()).sum();
                prop_assert_eq!(incoming.untold, untold);
            }
            for lane in waiting {
                incoming.settle(lane);
            }
            incoming.tell_again(&out.open()).into_iter().for_each(|place| out.settle(place));
            // What is on the wire yet counts as missing, until it comes.
            prop_assert_eq!(incoming.missing(), lost + u64::try_from(wire.len()).unwrap());
            prop_assert_eq!(out.unsettled(), 0);
            prop_assert_eq!(out.open(), []);
        }
    }
}

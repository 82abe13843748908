//! What a link between two nodes does to frames, for every engine that models its own.
//!
//! A link has one direction. It keeps the order of what it carries, unless a fault says otherwise,
//! and never repairs a loss: what a transport may do, this one does. What it carries are numbers;
//! what they stand for is the engine's.
//!
//! Each boot of a sender has a connection of its own. What an older boot has sent may come after
//! what the newer one says: it was held up on its way, or the network kept it meanwhile.

use std::collections::BTreeSet;

use crate::fault::{Kind, Target};
use crate::plan::{Knobs, nanos};
use crate::record::NodeIx;
use crate::stream::{Purpose, Streams};

/// A link in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// Faults that cut it.
    cuts: u32,
    /// Faults that hold what it carries.
    jams: u32,
    held: Vec<u32>,
    loss: u32,
    duplicate: u32,
    reorder: u32,
    latency: u64,
    limit: Option<u32>,
    under_way: u32,
    /// Frames so far: the number of the next.
    sent: u64,
    /// What was sent before this one is lost, if it has not arrived.
    lost_before: u64,
    /// The next frame does not come as it was sent.
    spoils: Option<Spoilt>,
    last_arrival: u64,
    /// The newest boot of its sender that has sent something.
    boot: u32,
    /// When the last frame of an older boot arrives: that was another connection.
    old_arrival: u64,
    /// Frames of a boot of its sender that is gone, which the network still has.
    stale: Vec<u32>,
    /// Numbers of data frames that came, the latest ones.
    pub(crate) seen: BTreeSet<u64>,
}

/// How many numbers of frames a receiver remembers.
const WINDOW: usize = 1024;

/// How much longer a frame is under way at most where what is simulated misbehaves, in nanoseconds.
pub(crate) const LATE_FRAME: u64 = 3_000_000;

/// How often, in a million, the network keeps a frame whose sender is gone until that is back.
const OUTLIVES: u32 = 250_000;

/// How much longer such a frame is under way than another, at most: so many latencies. It is with
/// its receiver after the first that the new boot says, and before most of the rest.
const OUTLIVES_BY: u64 = 4;

/// How far a slow receiver is behind at most, in nanoseconds: what was sent too fast for it would
/// hold it up for minutes after the fault.
const BEHIND_MOST: u64 = 2_000_000_000;

/// When a receiver that takes so long over a frame has the next one, after the one before it.
pub(crate) fn behind(last: u64, slow: u64, now: u64) -> u64 {
    last.saturating_add(slow).min(last.max(now.saturating_add(BEHIND_MOST)))
}

/// Who sends, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) streams: Streams,
    pub(crate) knobs: &'a Knobs,
    pub(crate) from: NodeIx,
    pub(crate) to: NodeIx,
    /// In which boot of the sender.
    pub(crate) boot: u32,
    /// In nanoseconds.
    pub(crate) now: u64,
    /// How long the receiver takes over each frame.
    pub(crate) slow: u64,
    /// How much longer this frame is under way, in nanoseconds.
    pub(crate) late: u64,
}

impl Way<'_> {
    fn whose(&self) -> u64 {
        u64::from(self.from.0) << 8 | u64::from(self.to.0)
    }
}

/// What comes in the place of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spoilt {
    /// A part of it, and the end of the connection.
    Partial,
    /// So many bytes of garbage.
    Garbage(u64),
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offered {
    Lost,
    /// Until the jam is over.
    Held,
    /// It comes as something else, at this instant.
    Spoilt(Spoilt, u64),
    /// It arrives then, and perhaps once more.
    Arrives(u64, Option<u64>),
}

impl Link {
    /// Whether something cuts it.
    pub(crate) const fn cuts(&self) -> bool {
        self.cuts > 0
    }

    /// Whether something holds what it carries.
    pub(crate) const fn jammed(&self) -> bool {
        self.jams > 0
    }

    /// The number of the next frame; `None` if there is no room for one.
    pub(crate) fn admit(&mut self, knobs: &Knobs) -> Option<u64> {
        let most = knobs.link_capacity;
        if self.under_way >= self.limit.unwrap_or(most).min(most) {
            return None;
        }
        let number = self.sent;
        self.sent += 1;
        Some(number)
    }

    /// Takes a frame that was admitted.
    pub(crate) fn offer(&mut self, way: &Way<'_>, number: u64, index: u32) -> Offered {
        let whose = way.whose();
        self.connects(way.boot);
        if way.streams.chance(Purpose::Loss, whose, number, self.loss) {
            return Offered::Lost;
        }
        self.under_way += 1;
        if let Some(spoilt) = self.spoils.take() {
            return Offered::Spoilt(spoilt, self.arrival(way, number, 0));
        }
        if self.jams > 0 {
            self.held.push(index);
            return Offered::Held;
        }
        let first = self.arrival(way, number, 0);
        let twice = way.streams.chance(Purpose::Duplicate, whose, number, self.duplicate);
        Offered::Arrives(first, twice.then(|| self.again(way, number, 1)))
    }

    /// A boot of its sender has a connection of its own: what comes on it does not wait for what
    /// came on the last.
    fn connects(&mut self, boot: u32) {
        if boot > self.boot {
            self.old_arrival = self.old_arrival.max(self.last_arrival);
            (self.boot, self.last_arrival) = (boot, 0);
        }
    }

    /// Carries a frame once more: when it arrives.
    pub(crate) fn again(&mut self, way: &Way<'_>, number: u64, copy: u64) -> u64 {
        self.under_way += 1;
        self.arrival(way, number, copy)
    }

    /// When a frame arrives; `copy` tells a second one from the first.
    pub(crate) fn arrival(&mut self, way: &Way<'_>, number: u64, copy: u64) -> u64 {
        let whose = way.whose() | copy << 16;
        let (least, most) = way.knobs.latency;
        let (least, most) = (nanos(least), nanos(most));
        let takes = way.streams.between(Purpose::Latency, whose, number, least, most);
        let takes = takes.saturating_add(self.latency).saturating_add(way.late);
        let mut at = way.now.saturating_add(takes);
        let old = way.boot < self.boot;
        if old {
            let more = most.saturating_mul(OUTLIVES_BY);
            at = at.saturating_add(way.streams.between(Purpose::Late, whose, number, 0, more));
        }
        let last = if old { &mut self.old_arrival } else { &mut self.last_arrival };
        if way.streams.chance(Purpose::Reorder, whose, number, self.reorder) {
            // It is held back, and others pass it.
            at = at.saturating_add(most.saturating_mul(2));
        } else {
            at = at.max(behind(*last, way.slow, way.now));
            *last = at;
        }
        at
    }

    /// Whether a frame that would arrive, of a boot of its sender that is gone, stays with the
    /// network until that node is back: in the buffer of a connection that nobody has looked at,
    /// say. Then it is kept here.
    pub(crate) fn keeps(&mut self, way: &Way<'_>, number: u64, index: u32) -> bool {
        let whose = way.whose() | 1 << 16;
        let keeps = way.streams.chance(Purpose::Late, whose, number, OUTLIVES);
        if keeps {
            self.stale.push(index);
        }
        keeps
    }

    /// The sender is back in this boot: what the network has kept of its older ones. Each is to be
    /// [carried](Self::arrival).
    pub(crate) fn take_stale(&mut self, boot: u32) -> Vec<u32> {
        self.connects(boot);
        std::mem::take(&mut self.stale)
    }

    /// A frame has come to its end, arrived or lost.
    pub(crate) const fn leaves(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether a numbered frame comes for the first time.
    pub(crate) fn is_first(&mut self, number: u64) -> bool {
        let first = self.seen.insert(number);
        if self.seen.len() > WINDOW {
            self.seen.pop_first();
        }
        first
    }

    /// Whether a frame is one of those that a reset has taken.
    pub(crate) const fn has_lost(&self, number: u64) -> bool {
        number < self.lost_before
    }

    /// The next frame comes as something else.
    pub(crate) const fn spoil(&mut self, spoilt: Spoilt) {
        self.spoils = Some(spoilt);
    }

    /// Everything that is under way is lost: what is held now, the rest when it would arrive.
    pub(crate) fn reset(&mut self) -> Vec<u32> {
        self.lost_before = self.sent;
        let mut held = std::mem::take(&mut self.held);
        held.append(&mut self.stale);
        held.iter().for_each(|_| self.leaves());
        held
    }
}

/// The links of a world.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    nodes: u8,
    links: Vec<Link>,
}

impl Links {
    pub(crate) fn new(nodes: usize) -> Self {
        let nodes = u8::try_from(nodes).unwrap_or(u8::MAX);
        let all = usize::from(nodes) * usize::from(nodes);
        Self { nodes, links: vec![Link::default(); all] }
    }

    pub(crate) fn at(&mut self, from: NodeIx, to: NodeIx) -> &mut Link {
        &mut self.links[usize::from(from.0) * usize::from(self.nodes) + usize::from(to.0)]
    }

    /// Cuts, or mends, the links that a kind of cut is about.
    pub(crate) fn cut(&mut self, target: Target, kind: Kind, begins: bool) {
        for (a, b) in links_of(self.nodes, target, kind) {
            let link = self.at(a, b);
            link.cuts = if begins { link.cuts + 1 } else { link.cuts.saturating_sub(1) };
        }
    }

    /// Frames come as they were sent from now on.
    pub(crate) fn heal(&mut self) {
        self.links.iter_mut().for_each(|link| link.spoils = None);
    }

    /// Holds what a link carries, or lets it go: what was held, if so.
    pub(crate) fn jam(&mut self, from: NodeIx, to: NodeIx, begins: bool) -> Vec<u32> {
        let link = self.at(from, to);
        if begins {
            link.jams += 1;
            return Vec::new();
        }
        link.jams = link.jams.saturating_sub(1);
        if link.jams == 0 { std::mem::take(&mut link.held) } else { Vec::new() }
    }

    /// A fault that changes a number of one link begins or ends.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds change no number")]
    pub(crate) fn tune(&mut self, (a, b): (NodeIx, NodeIx), kind: Kind, amount: Option<u64>) {
        let link = self.at(a, b);
        let share = u32::try_from(amount.unwrap_or(0)).unwrap_or(u32::MAX).min(1_000_000);
        match kind {
            Kind::Loss => link.loss = share,
            Kind::Duplicate => link.duplicate = share,
            Kind::Reorder => link.reorder = share,
            Kind::Latency => link.latency = amount.unwrap_or(0),
            Kind::Overflow => {
                link.limit = amount.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
            }
            _ => {}
        }
    }
}

/// The links that a kind of cut is about.
pub(crate) fn links_of(nodes: u8, target: Target, kind: Kind) -> Vec<(NodeIx, NodeIx)> {
    let all = move || (0..nodes).map(NodeIx);
    let pairs = all().flat_map(|a| all().map(move |b| (a, b))).filter(|(a, b)| a != b);
    match target {
        Target::Link(a, b) if matches!(kind, Kind::OneWay | Kind::HalfOpen) => vec![(a, b)],
        Target::Link(a, b) => vec![(a, b), (b, a)],
        Target::Node(at) if kind == Kind::Bridge => {
            pairs.filter(|(a, b)| *a != at && *b != at).collect()
        }
        Target::Node(at) => pairs.filter(|(a, b)| *a == at || *b == at).collect(),
        Target::World | Target::Who(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(knobs: &Knobs, boot: u32, now: u64) -> Way<'_> {
        let (from, to) = (NodeIx(0), NodeIx(1));
        Way { streams: Streams::new(7), knobs, from, to, boot, now, slow: 0, late: 0 }
    }

    /// When what two boots have sent arrives, in the order in which it was sent.
    fn arrivals(boots: [u32; 2], count: u64) -> Vec<u64> {
        let knobs = Knobs::default();
        let mut link = Link { jams: 1, ..Link::default() };
        let boot = |n: u64| if n < count / 2 { boots[0] } else { boots[1] };
        for n in 0..count {
            assert_eq!(link.offer(&way(&knobs, boot(n), 0), n, 0), Offered::Held);
        }
        (0..count).map(|n| link.arrival(&way(&knobs, boot(n), 1_000), n, 0)).collect()
    }

    #[test]
    fn one_boot_keeps_the_order_and_what_an_older_one_has_sent_may_come_later() {
        let of_one = arrivals([1, 1], 40);
        assert!(of_one.is_sorted(), "{of_one:?}");
        let of_two = arrivals([1, 2], 40);
        let (old, new) = of_two.split_at(20);
        assert!(old.is_sorted() && new.is_sorted(), "{of_two:?}");
        assert!(old.last() > new.first(), "nothing of the older boot comes later: {of_two:?}");
    }

    #[test]
    fn the_network_keeps_some_of_what_its_sender_left_until_that_is_back() {
        let knobs = Knobs::default();
        let mut link = Link::default();
        let kept = (0..1_000).filter(|n| link.keeps(&way(&knobs, 1, 0), *n, 0)).count();
        assert!((200..300).contains(&kept), "{kept} of 1000");
        assert_eq!(link.take_stale(2).len(), kept);
        assert!(link.take_stale(2).is_empty());
    }
}

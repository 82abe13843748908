//! What every broker is asked, whether it is a model or the real one: cases without an inside.
//!
//! A case sees a broker as clients do. [`Stage`] is three clients around a broker that forgets,
//! [`Store`] is one publisher and one consumer of a broker that keeps. The simulator's model, our
//! own wire in turmoil and on sockets, libzmq and nats-server are each behind one of the two, so that
//! no promise is tested of the model in other words than of the real thing. The alternative, tests
//! for each broker, is what lets a model promise more than the broker does.
//!
//! Nothing is waited for longer than [`PATIENCE`]; what shall not come is given [`Stage::quiet`].

use std::collections::BTreeSet;
use std::time::Duration;

use lictor_sim::broker::Medium;

/// No case waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// No numbers.
const NONE: [u32; 0] = [];

/// Who is or was connected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    /// Publishes.
    A,
    /// Listens, and is what things happen to.
    B,
    /// Listens as well, and has peace.
    C,
}

impl Who {
    pub(crate) const ALL: [Self; 3] = [Self::A, Self::B, Self::C];
}

/// How a client goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Going {
    /// It closes its connections.
    Leaves,
    /// It is gone, and has closed nothing if its engine can be made to.
    Crashes,
}

/// What a publisher is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// Nothing.
    Nothing,
    /// It is too large.
    TooLarge,
    /// Nobody is there who could answer.
    NoResponders,
    /// A responder has it.
    Answered,
}

/// What not every stage can do. A case that needs it is left out there, and is named as left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// Nothing special.
    Nothing,
    /// A client that has ceased to read, and reads on later.
    Stall,
    /// Questions that the broker itself answers if nobody is there.
    Request,
    /// A publisher that offers what the broker refuses, and no library that refuses it before.
    Oversize,
}

/// A broker and three clients of it, none of which is connected at first.
///
/// There is one subject, to which B and C may subscribe; what is published has a number.
pub(crate) trait Stage {
    fn medium(&self) -> Medium;
    fn can(&self, what: Needs) -> bool;
    /// It is connected when this is over.
    fn connects(&mut self, who: Who);
    /// The broker has noticed when this is over.
    fn goes(&mut self, who: Who, how: Going);
    /// In force when this is over, at every publisher that is connected.
    fn subscribes(&mut self, who: Who);
    /// In force or not yet: only said when this is over.
    fn publishes(&mut self, from: Who, number: u32, size: usize) -> Said;
    /// A question; its answer is what is said.
    fn asks(&mut self, from: Who, number: u32) -> Said;
    /// Numbers that have come since the last call: waits for so many, or [`PATIENCE`] at most.
    fn hears(&mut self, who: Who, least: usize) -> Vec<u32>;
    /// Numbers that come while it is waited for what shall not come.
    fn quiet(&mut self, who: Who) -> Vec<u32>;
    /// It reads no more, or again.
    fn stalls(&mut self, who: Who, does: bool);
    /// Whether its connection is as it was made; waits until it is not, for [`PATIENCE`] at most, if
    /// it is expected to have ended.
    fn is_connected(&mut self, who: Who, expected: bool) -> bool;
    /// The broker is killed and started again. All clients are without connection then.
    fn restarts(&mut self);
    /// The greatest size that is taken.
    fn largest(&self) -> usize;
    /// So many messages of such a size are more than all that can be pending for one client.
    fn flood(&self) -> (u32, usize);
}

/// A case of [`Stage`]: which promises of which brokers it looks at, and what it needs.
pub(crate) struct Plain {
    pub(crate) name: &'static str,
    pub(crate) shows: &'static [(Medium, &'static str)],
    pub(crate) needs: Needs,
    pub(crate) run: fn(&mut dyn Stage),
}

const CORE: Medium = Medium::NatsCore;
const ZERO: Medium = Medium::ZeroMq;

/// All cases of [`Stage`].
pub(crate) const PLAIN: &[Plain] = &[
    Plain {
        name: "what one publishes comes to each in its order, and once",
        shows: &[(CORE, "BK1"), (CORE, "BK2"), (ZERO, "BK16")],
        needs: Needs::Nothing,
        run: in_order,
    },
    Plain {
        name: "nothing comes again to who comes again",
        shows: &[(CORE, "BK2"), (CORE, "BK3"), (ZERO, "BK17")],
        needs: Needs::Nothing,
        run: comes_again,
    },
    Plain {
        name: "nothing is kept for who is not there",
        shows: &[(CORE, "BK3"), (ZERO, "BK14"), (ZERO, "BK17")],
        needs: Needs::Nothing,
        run: not_kept,
    },
    Plain {
        name: "who does not take what comes is cut off, and nobody else",
        shows: &[(CORE, "BK4"), (CORE, "BK1")],
        needs: Needs::Stall,
        run: slow_is_cut_off,
    },
    Plain {
        name: "above the mark the newest is dropped, and the peer stays",
        shows: &[(ZERO, "BK15"), (ZERO, "BK16")],
        needs: Needs::Stall,
        run: slow_misses_the_newest,
    },
    Plain {
        name: "what is queued for a peer goes with it",
        shows: &[(ZERO, "BK17")],
        needs: Needs::Stall,
        run: queue_goes_with_the_peer,
    },
    Plain {
        name: "the largest is taken",
        shows: &[(CORE, "BK5")],
        needs: Needs::Nothing,
        run: the_largest,
    },
    Plain {
        name: "what is larger is refused, and its publisher told and cut off",
        shows: &[(CORE, "BK5")],
        needs: Needs::Oversize,
        run: too_large,
    },
    Plain {
        name: "a question to nobody is answered at once",
        shows: &[(CORE, "BK6")],
        needs: Needs::Request,
        run: no_responders,
    },
    Plain {
        name: "a restart ends connections and subscriptions",
        shows: &[(CORE, "BK7"), (ZERO, "BK17")],
        needs: Needs::Nothing,
        run: restart,
    },
];

/// All are connected, and these have subscribed.
fn ready(stage: &mut dyn Stage, listeners: &[Who]) {
    Who::ALL.into_iter().for_each(|who| stage.connects(who));
    listeners.iter().for_each(|who| stage.subscribes(*who));
}

fn is_in_order(numbers: &[u32]) -> bool {
    numbers.is_sorted_by(|a, b| a < b)
}

/// A burst that some may be too slow for: what comes is in order, and then all comes.
fn in_order(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    for number in 0..200 {
        assert_eq!(stage.publishes(Who::A, number, 20), Said::Nothing);
    }
    for who in [Who::B, Who::C] {
        let mut heard = stage.hears(who, 1);
        heard.extend(stage.quiet(who));
        assert!(heard[0] == 0 && is_in_order(&heard), "{who:?}: {heard:?}");
    }
    for number in 200..250 {
        stage.publishes(Who::A, number, 20);
        for who in [Who::B, Who::C] {
            assert_eq!(stage.hears(who, 1), [number], "{who:?}");
        }
    }
}

fn comes_again(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    let (mut heard, mut number) = (Vec::new(), 0);
    for how in [Going::Leaves, Going::Crashes, Going::Crashes] {
        for _ in 0..20 {
            stage.publishes(Who::A, number, 20);
            heard.extend(stage.hears(Who::B, 1));
            number += 1;
        }
        stage.publishes(Who::A, number, 20);
        number += 1;
        stage.goes(Who::B, how);
        stage.publishes(Who::A, number, 20);
        number += 1;
        stage.connects(Who::B);
        stage.subscribes(Who::B);
    }
    heard.extend(stage.quiet(Who::B));
    assert!(is_in_order(&heard), "{heard:?}");
    assert!(heard.len() >= 60, "{heard:?}");
    let all: Vec<u32> = (0..number).collect();
    assert_eq!(stage.hears(Who::C, all.len()), all, "C has not been gone");
}

fn not_kept(stage: &mut dyn Stage) {
    ready(stage, &[]);
    stage.publishes(Who::A, 0, 20);
    assert_eq!(stage.quiet(Who::B), NONE, "it is not on its way any more");
    stage.subscribes(Who::B);
    stage.publishes(Who::A, 1, 20);
    assert_eq!(stage.hears(Who::B, 1), [1], "0 was before the subscription");
    stage.goes(Who::B, Going::Leaves);
    stage.publishes(Who::A, 2, 20);
    stage.connects(Who::B);
    stage.publishes(Who::A, 3, 20);
    assert_eq!(stage.quiet(Who::B), NONE, "it has not subscribed again");
    stage.subscribes(Who::B);
    stage.publishes(Who::A, 4, 20);
    assert_eq!(stage.hears(Who::B, 1), [4]);
    assert_eq!(stage.quiet(Who::B), NONE);
}

/// Publishes until B must be behind, at the pace of C, which hears all of it.
fn floods(stage: &mut dyn Stage) -> u32 {
    let (count, size) = stage.flood();
    for number in 0..count {
        stage.publishes(Who::A, number, size);
        assert_eq!(stage.hears(Who::C, 1), [number], "C takes what comes");
    }
    count
}

fn slow_is_cut_off(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    stage.stalls(Who::B, true);
    let count = floods(stage);
    // Only now may it be seen that the connection has ended: what was on it comes first.
    stage.stalls(Who::B, false);
    assert!(!stage.is_connected(Who::B, false), "it is cut off");
    let heard = stage.quiet(Who::B);
    assert!(heard.len() < usize::try_from(count).unwrap(), "what was pending is dropped");
    let first: Vec<u32> = (0..count).take(heard.len()).collect();
    assert_eq!(heard, first, "nothing is left out before");
    assert!(stage.is_connected(Who::C, true) && stage.is_connected(Who::A, true));
    stage.connects(Who::B);
    stage.subscribes(Who::B);
    stage.publishes(Who::A, count, 20);
    assert_eq!(stage.hears(Who::B, 1), [count], "nothing that was missed comes later");
}

fn slow_misses_the_newest(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    stage.stalls(Who::B, true);
    let count = floods(stage);
    stage.stalls(Who::B, false);
    let heard = stage.quiet(Who::B);
    assert!(!heard.is_empty() && heard.len() < usize::try_from(count).unwrap());
    // What lies below the queue may find more room while it is full, as buffers of sockets do: then
    // some are left out before others.
    assert!(is_in_order(&heard), "{heard:?}");
    assert_eq!(heard[0], 0, "the oldest are kept");
    assert!(!heard.ends_with(&[count - 3, count - 2, count - 1]), "not the newest: {heard:?}");
    assert!(stage.is_connected(Who::B, true), "it stays");
    stage.publishes(Who::A, count, 20);
    assert_eq!(stage.hears(Who::B, 1), [count]);
    assert_eq!(stage.hears(Who::C, 1), [count]);
}

fn queue_goes_with_the_peer(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    stage.stalls(Who::B, true);
    let count = floods(stage);
    stage.goes(Who::B, Going::Crashes);
    stage.connects(Who::B);
    stage.publishes(Who::A, count, 20);
    assert_eq!(stage.quiet(Who::B), NONE, "neither its queue nor its subscription is there");
    stage.subscribes(Who::B);
    stage.publishes(Who::A, count + 1, 20);
    assert_eq!(stage.hears(Who::B, 1), [count + 1]);
}

fn the_largest(stage: &mut dyn Stage) {
    ready(stage, &[Who::B]);
    let largest = stage.largest();
    assert_eq!(stage.publishes(Who::A, 0, largest), Said::Nothing);
    assert_eq!(stage.hears(Who::B, 1), [0]);
}

fn too_large(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    let largest = stage.largest();
    assert_eq!(stage.publishes(Who::A, 0, largest + 1), Said::TooLarge);
    assert!(!stage.is_connected(Who::A, false), "its publisher is cut off");
    assert_eq!(stage.quiet(Who::B), NONE);
    assert!(stage.is_connected(Who::B, true), "nobody else is");
    stage.connects(Who::A);
    stage.publishes(Who::A, 1, 20);
    for who in [Who::B, Who::C] {
        assert_eq!(stage.hears(who, 1), [1]);
    }
}

fn no_responders(stage: &mut dyn Stage) {
    ready(stage, &[]);
    assert_eq!(stage.asks(Who::A, 0), Said::NoResponders);
    stage.subscribes(Who::B);
    assert_eq!(stage.asks(Who::A, 1), Said::Answered);
    assert_eq!(stage.hears(Who::B, 1), [1]);
    stage.goes(Who::B, Going::Leaves);
    assert_eq!(stage.asks(Who::A, 2), Said::NoResponders);
}

fn restart(stage: &mut dyn Stage) {
    ready(stage, &[Who::B, Who::C]);
    stage.publishes(Who::A, 0, 20);
    assert_eq!(stage.hears(Who::B, 1), [0]);
    stage.restarts();
    for who in Who::ALL {
        assert!(!stage.is_connected(who, false), "{who:?}");
        stage.connects(who);
        if who == Who::A && stage.can(Needs::Request) {
            assert_eq!(stage.asks(Who::A, 9), Said::NoResponders, "nobody else is back");
        }
    }
    stage.publishes(Who::A, 1, 20);
    assert_eq!(stage.quiet(Who::B), NONE, "its subscription has gone");
    stage.subscribes(Who::B);
    stage.publishes(Who::A, 2, 20);
    assert_eq!(stage.hears(Who::B, 1), [2]);
    let of_c: BTreeSet<u32> = stage.quiet(Who::C).into_iter().collect();
    assert!(of_c.is_subset(&BTreeSet::from([0])), "C has not subscribed again: {of_c:?}");
}

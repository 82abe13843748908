//! What a broker is asked that keeps what is published: JetStream, and its model.
//!
//! One publisher, one durable consumer. Times are those of the broker's configuration, which is the
//! same for the model and the server; what is "not earlier" is counted from before the publisher
//! has published, so that no delay of a busy machine makes it true.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::suite::Going;

/// How long the consumer may take.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(2);

/// How often something is delivered, at most.
pub(crate) const DELIVERIES: u32 = 3;

/// How many are delivered and not acknowledged, at most.
pub(crate) const UNACKNOWLEDGED: usize = 4;

/// How long ids are remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(30);

/// A margin for a machine that is busy.
const LATE: Duration = Duration::from_secs(15);

/// What comes to the consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivery {
    pub(crate) number: u32,
    /// Not for the first time, as far as the broker knows.
    pub(crate) again: bool,
}

/// What a consumer says of what it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// Done.
    Handled,
    /// Not now.
    Refused,
    /// Never again.
    Ended,
}

/// How a broker is restarted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Restart {
    /// It stops by itself, and has all it had.
    Stopped,
    /// It is killed, and has what it had on disk.
    Killed,
    /// It is killed, and its disk is empty.
    WithoutState,
}

/// A broker, a publisher and a consumer.
pub(crate) trait Store {
    fn now(&mut self) -> Duration;
    fn passes(&mut self, time: Duration);
    /// Publishes under an id made of the number, and waits for the word that it is stored. Whether
    /// the id was known.
    fn stores(&mut self, number: u32) -> bool;
    /// The consumer connects.
    fn attaches(&mut self);
    /// The broker has noticed when this is over.
    fn detaches(&mut self, how: Going);
    /// What comes next, within this time.
    fn next(&mut self, within: Duration) -> Option<Delivery>;
    /// The broker has heard it when this is over.
    fn says(&mut self, number: u32, word: Word);
    /// What is a dead letter by now.
    fn dead(&mut self) -> BTreeSet<u32>;
    /// The publisher is connected again when this is over, the consumer is not.
    fn restarts(&mut self, how: Restart);
}

/// A case of [`Store`], and which promises it looks at.
pub(crate) struct Stored {
    pub(crate) name: &'static str,
    pub(crate) shows: &'static [&'static str],
    pub(crate) run: fn(&mut dyn Store),
}

/// All cases of [`Store`].
pub(crate) const STORED: &[Stored] = &[
    Stored {
        name: "what is stored is kept until it is handled",
        shows: &["BK8"],
        run: kept_until_handled,
    },
    Stored {
        name: "an id that is remembered is not stored again",
        shows: &["BK9"],
        run: known_ids,
    },
    Stored {
        name: "what is not acknowledged comes again, and not earlier",
        shows: &["BK8", "BK10"],
        run: comes_again,
    },
    Stored {
        name: "time without a connection counts, deliveries without one do not",
        shows: &["BK10", "BK11"],
        run: time_goes_on,
    },
    Stored {
        name: "an acknowledgement after its time still counts",
        shows: &["BK8", "BK10"],
        run: late_word,
    },
    Stored {
        name: "what was delivered often enough is dead when its time is over",
        shows: &["BK11"],
        run: dead_letters,
    },
    Stored { name: "so many are given, and no more", shows: &["BK12"], run: bounded },
    Stored {
        name: "what is refused comes again at once, what is ended never",
        shows: &["BK20"],
        run: refused_and_ended,
    },
    Stored {
        name: "a restart keeps what is stored, and the ids of it",
        shows: &["BK8", "BK13"],
        run: restart_keeps,
    },
    Stored {
        name: "a stop keeps what the consumer has said",
        shows: &["BK13"],
        run: stop_keeps_words,
    },
    Stored {
        name: "a kill keeps what the consumer has not handled",
        shows: &["BK13"],
        run: kill_keeps_messages,
    },
    Stored { name: "a restart without state loses all", shows: &["BK13"], run: restart_loses },
];

const fn first(number: u32) -> Option<Delivery> {
    Some(Delivery { number, again: false })
}

const fn again(number: u32) -> Option<Delivery> {
    Some(Delivery { number, again: true })
}

/// Longer than anything takes to be delivered again, but not much.
fn in_time() -> Duration {
    ACK_WAIT + LATE
}

fn kept_until_handled(store: &mut dyn Store) {
    for number in 0..3 {
        assert!(!store.stores(number));
    }
    store.attaches();
    for number in 0..3 {
        assert_eq!(store.next(LATE), first(number));
    }
    store.says(0, Word::Handled);
    store.says(2, Word::Handled);
    store.detaches(Going::Crashes);
    store.attaches();
    assert_eq!(store.next(in_time()), again(1));
    store.says(1, Word::Handled);
    assert_eq!(store.next(ACK_WAIT * 2), None, "all is handled");
}

fn known_ids(store: &mut dyn Store) {
    store.attaches();
    assert!(!store.stores(0));
    assert!(store.stores(0));
    assert_eq!(store.next(LATE), first(0));
    store.says(0, Word::Handled);
    assert!(store.stores(0), "it is remembered after it was handled");
    assert!(!store.stores(1));
    assert_eq!(store.next(LATE), first(1), "0 came once");
}

fn comes_again(store: &mut dyn Store) {
    store.attaches();
    let before = store.now();
    store.stores(0);
    assert_eq!(store.next(LATE), first(0));
    assert_eq!(store.next(in_time()), again(0));
    let after = store.now() - before;
    assert!(after >= ACK_WAIT, "{after:?}");
    store.says(0, Word::Handled);
    assert_eq!(store.next(ACK_WAIT * 2), None);
}

fn time_goes_on(store: &mut dyn Store) {
    store.attaches();
    store.stores(0);
    assert_eq!(store.next(LATE), first(0));
    store.detaches(Going::Leaves);
    store.passes(ACK_WAIT * (DELIVERIES + 2));
    assert!(store.dead().is_empty(), "it was delivered once only");
    let before = store.now();
    store.attaches();
    assert_eq!(store.next(LATE), again(0));
    let after = store.now() - before;
    assert!(after < ACK_WAIT, "its time was over: {after:?}");
}

fn late_word(store: &mut dyn Store) {
    store.attaches();
    store.stores(0);
    assert_eq!(store.next(LATE), first(0));
    assert_eq!(store.next(in_time()), again(0));
    store.says(0, Word::Handled);
    assert_eq!(store.next(ACK_WAIT * 2), None);
    assert!(store.dead().is_empty());
}

fn dead_letters(store: &mut dyn Store) {
    store.attaches();
    let before = store.now();
    store.stores(0);
    assert_eq!(store.next(LATE), first(0));
    for _ in 1..DELIVERIES {
        assert!(store.dead().is_empty());
        assert_eq!(store.next(in_time()), again(0));
    }
    assert!(store.dead().is_empty(), "its time is not over");
    let end = store.now() + in_time();
    while store.dead().is_empty() {
        assert!(store.now() < end, "it is never dead");
        assert_eq!(store.next(ACK_WAIT / 10), None);
    }
    assert!(store.now() - before >= ACK_WAIT * DELIVERIES);
    assert_eq!(store.dead(), BTreeSet::from([0]));
    assert_eq!(store.next(ACK_WAIT * 2), None);
}

fn bounded(store: &mut dyn Store) {
    for number in 0..6 {
        store.stores(number);
    }
    store.attaches();
    for number in 0..4 {
        assert_eq!(store.next(LATE), first(number));
    }
    assert_eq!(store.next(ACK_WAIT / 10), None, "as many as may be are given");
    store.says(2, Word::Handled);
    assert_eq!(store.next(LATE), first(4));
    store.says(3, Word::Handled);
    assert_eq!(store.next(LATE), first(5));
}

fn refused_and_ended(store: &mut dyn Store) {
    store.attaches();
    let before = store.now();
    store.stores(0);
    store.stores(1);
    assert_eq!((store.next(LATE), store.next(LATE)), (first(0), first(1)));
    store.says(0, Word::Ended);
    store.says(1, Word::Refused);
    assert_eq!(store.next(LATE), again(1));
    let after = store.now() - before;
    assert!(after < ACK_WAIT, "it was not waited for: {after:?}");
    store.says(1, Word::Handled);
    assert_eq!(store.next(ACK_WAIT * 2), None);
}

/// All that comes, each acknowledged, until nothing comes.
fn drained(store: &mut dyn Store) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    while let Some(Delivery { number, .. }) = store.next(ACK_WAIT * 2) {
        all.insert(number);
        store.says(number, Word::Handled);
    }
    all
}

fn restart_keeps(store: &mut dyn Store) {
    for how in [Restart::Stopped, Restart::Killed] {
        let base = if how == Restart::Stopped { 0 } else { 100 };
        for number in 0..3 {
            assert!(!store.stores(base + number));
        }
        store.attaches();
        assert_eq!(store.next(LATE), first(base));
        store.restarts(how);
        for number in 0..3 {
            assert!(store.stores(base + number), "{number} is remembered, {how:?}");
        }
        store.attaches();
        assert_eq!(drained(store), (base..base + 3).collect(), "{how:?}");
        store.detaches(Going::Leaves);
    }
}

fn stop_keeps_words(store: &mut dyn Store) {
    store.attaches();
    for number in 0..3 {
        store.stores(number);
        assert_eq!(store.next(LATE), first(number));
    }
    store.says(0, Word::Handled);
    store.says(1, Word::Ended);
    store.restarts(Restart::Stopped);
    store.attaches();
    // Whether as for the first time, and how soon, is not promised.
    assert_eq!(drained(store), BTreeSet::from([2]));
}

fn kill_keeps_messages(store: &mut dyn Store) {
    store.attaches();
    for number in 0..4 {
        store.stores(number);
        assert_eq!(store.next(LATE), first(number));
    }
    store.says(0, Word::Handled);
    store.says(1, Word::Ended);
    store.restarts(Restart::Killed);
    store.attaches();
    let heard = drained(store);
    assert!(heard.is_superset(&BTreeSet::from([2, 3])), "{heard:?}");
    // Whether 0 and 1 come again, and what was delivered how often, is not promised.
}

fn restart_loses(store: &mut dyn Store) {
    store.attaches();
    store.stores(0);
    assert_eq!(store.next(LATE), first(0));
    store.restarts(Restart::WithoutState);
    assert!(!store.stores(1), "nothing is remembered");
    store.attaches();
    assert_eq!(store.next(LATE), first(1), "nothing is left");
    store.says(1, Word::Handled);
    assert!(!store.stores(0), "its id was forgotten");
    assert_eq!(store.next(LATE), first(0));
}

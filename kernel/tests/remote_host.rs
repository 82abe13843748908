//! What a host does with what is held up, step by step, with more than one name.
//!
//! The walks in `remote.rs` have one name, so that they reach everything at small scope; here are
//! ways on which a lease that was given for one name meets an order for another.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "what a step is not about")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lictor_kernel::remote::{Config, Frame, Host, Hosting, Stamp, State, Ticket, Want};
use lictor_kernel::supervisor::Event;
use lictor_kernel::{ExitReason, Instant, NameId, NodeId, Pid, Prng, Signal, SupervisorId};

const OWNER: NodeId = NodeId(1);
const ONE: NameId = NameId(1);
const OTHER: NameId = NameId(2);
const LEASE: Duration = Duration::from_secs(5);

struct Setup {
    host: Host,
    now: Instant,
}

impl Setup {
    fn new() -> Self {
        let mut host = Host::new(Config::default(), 7);
        assert!(host.offer(ONE, Vec::new()) && host.offer(OTHER, Vec::new()));
        Self { host, now: Instant::ZERO }
    }

    fn with(&mut self, act: impl FnOnce(&mut Host, Instant, &mut Vec<Hosting>)) -> Vec<Hosting> {
        let mut out = Vec::new();
        self.now = self.now.saturating_add(Duration::from_millis(1));
        act(&mut self.host, self.now, &mut out);
        out
    }

    fn sees(&mut self, boot: u64) -> Vec<Hosting> {
        self.with(|host, now, out| host.peer_up(now, OWNER, boot, out))
    }

    fn loses_owner(&mut self) -> Vec<Hosting> {
        self.with(|host, now, out| host.peer_down(now, OWNER, out))
    }

    fn order(&mut self, boot: u64, name: NameId, ticket: u64, want: Want) -> Vec<Hosting> {
        let ticket = Ticket { supervisor: SupervisorId(1), incarnation: ticket };
        let frame = Frame::Order { stamp: Stamp { from: boot, to: 7 }, name, ticket, want };
        self.with(|host, now, out| host.hear(now, OWNER, frame, true, out))
    }

    /// Answers the question for a lease that is among these.
    fn answer(&mut self, boot: u64, said: &[Hosting]) -> Vec<Hosting> {
        let seq = said.iter().find_map(|it| {
            let Hosting::Send(_, Frame::Renew { seq, .. }) = it else { return None };
            Some(*seq)
        });
        let (stamp, seq) = (Stamp { from: boot, to: 7 }, seq.expect("it asks for a lease"));
        let frame = Frame::Renewed { stamp, seq, lease: LEASE };
        self.with(|host, now, out| host.hear(now, OWNER, frame, true, out))
    }

    fn fact(&mut self, fact: Event) -> Vec<Hosting> {
        self.with(|host, now, out| host.fact(now, fact, out))
    }

    /// Orders a process, answers for it and says that it is up.
    fn runs(&mut self, boot: u64, name: NameId, ticket: u64) -> Pid {
        let said = self.order(boot, name, ticket, Want::Run);
        let done = self.answer(boot, &said);
        let pid = started(&done).expect("it is started");
        self.fact(Event::Started { pid });
        pid
    }
}

fn started(done: &[Hosting]) -> Option<Pid> {
    done.iter().find_map(|it| {
        let Hosting::Start(process) = it else { return None };
        Some(process.pid)
    })
}

fn reported(done: &[Hosting]) -> Vec<(u64, State)> {
    let reported = |it: &Hosting| {
        let Hosting::Send(_, Frame::Report { ticket, state, .. }) = it else { return None };
        Some((ticket.incarnation, *state))
    };
    done.iter().filter_map(reported).collect()
}

// Rules: H11, H16
#[test]
fn what_waits_for_an_end_goes_with_the_boot_that_ordered_it() {
    let mut setup = Setup::new();
    setup.sees(1);
    let pid = setup.runs(1, ONE, 1);
    // It has still something in hand when the next one is ordered, and then its owner dies.
    assert_eq!(started(&setup.order(1, ONE, 2, Want::Run)), None);
    setup.sees(2);
    setup.runs(2, OTHER, 1);
    let done = setup.fact(Event::Exited { pid, reason: ExitReason::Killed });
    assert_eq!(started(&done), None, "the boot that ordered it is gone: {done:?}");
    assert!(done.contains(&Hosting::GiveBack(ONE)));
    assert_eq!(setup.host.owner_of(ONE), None);
    // The newer boot may order it.
    assert_ne!(started(&setup.order(2, ONE, 1, Want::Run)), None);
}

// Rules: H4, H16
#[test]
fn an_order_that_was_dropped_for_want_of_a_lease_lets_no_older_one_in() {
    let mut setup = Setup::new();
    setup.sees(1);
    let pid = setup.runs(1, ONE, 1);
    setup.fact(Event::Exited { pid, reason: ExitReason::Normal });
    setup.order(1, ONE, 1, Want::Noted);
    setup.order(1, ONE, 1, Want::Gone);
    assert_eq!(setup.host.owner_of(ONE), None);
    let said = setup.order(1, ONE, 2, Want::Run);
    assert_eq!(reported(&said), [(2, State::Starting)]);
    setup.loses_owner();
    assert_eq!(setup.host.owner_of(ONE), None, "what waited for a lease is dropped");
    setup.sees(1);
    // A copy of the first order was held up until now.
    let said = setup.order(1, ONE, 1, Want::Run);
    assert_eq!(reported(&said), [(1, State::Gone)], "{said:?}");
    assert_eq!(setup.host.owner_of(ONE), None);
    // The dropped one itself may come again, once.
    setup.runs(1, ONE, 2);
    assert_eq!(reported(&setup.order(1, ONE, 1, Want::Run)), [(1, State::Gone)]);
}

// Rule: H6
#[test]
fn nothing_begins_under_what_is_left_of_an_older_lease() {
    let mut setup = Setup::new();
    setup.sees(1);
    setup.runs(1, ONE, 1);
    let asks = |said: &[Hosting]| {
        said.iter().any(|it| matches!(it, Hosting::Send(_, Frame::Renew { .. })))
    };
    // It is cut off for a while: what it asks meanwhile is lost. The lease holds.
    setup.now = setup.now.saturating_add(Duration::from_secs(3));
    assert!(asks(&setup.with(|host, now, out| host.handle_timeout(now, out))));
    // The owner has lost it, and orders the other name before it is asked again.
    let said = setup.order(1, OTHER, 1, Want::Run);
    assert_eq!((started(&said), reported(&said)), (None, vec![(1, State::Starting)]));
    assert_ne!(started(&setup.answer(1, &said)), None, "under a whole one it begins");
    // Seen again, the owner is asked at once, and not twice in an instant.
    setup.loses_owner();
    assert!(asks(&setup.sees(1)));
    let (mut said, now) = (Vec::new(), setup.now);
    setup.host.peer_up(now, OWNER, 1, &mut said);
    assert!(!asks(&said));
}

/// What a host has been told and has done, as far as its rules speak of it.
#[derive(Default)]
struct Book {
    /// The boot of each owner.
    boots: BTreeMap<NodeId, u64>,
    /// Questions for a lease: to which boot, and when.
    asked: BTreeMap<(NodeId, u64), (u64, Instant)>,
    /// Until when each owner's present boot lets it go on.
    leases: BTreeMap<NodeId, Instant>,
    /// Which orders to run have come, and the last ticket that was started, for each boot.
    ordered: BTreeSet<(NodeId, u64, NameId, u64)>,
    started: BTreeMap<(NodeId, u64, NameId), Ticket>,
    /// What is alive, for whom, and whether it was told to end at once.
    alive: BTreeMap<NameId, (Pid, NodeId, u64, bool)>,
    had: BTreeSet<NameId>,
}

impl Book {
    /// Boots only grow, and what an older one gave is over.
    fn boot(&mut self, node: NodeId, boot: u64) {
        let before = self.boots.entry(node).or_insert(boot);
        if boot > *before {
            *before = boot;
            self.leases.remove(&node);
        }
    }

    fn note(&mut self, host: &Host, now: Instant, done: &[Hosting], way: &[String]) {
        for (at, it) in done.iter().enumerate() {
            match *it {
                Hosting::Send(node, Frame::Renew { stamp, seq }) => {
                    self.asked.insert((node, seq), (stamp.to, now));
                }
                Hosting::Send(..) | Hosting::Status(..) => {}
                Hosting::Take(name) => assert!(self.had.insert(name), "{way:#?}"),
                Hosting::GiveBack(name) => {
                    assert!(self.had.remove(&name), "{way:#?}");
                    assert!(!self.alive.contains_key(&name), "{way:#?}");
                }
                Hosting::Start(process) => {
                    let (pid, name) = (process.pid, NameId(process.pid.child.0));
                    let (boot, ticket) = host.order_of(name).expect("it was ordered");
                    let node = host.owner_of(name).expect("it is had");
                    let lease = self.leases.get(&node).copied();
                    // Rules: H4, H6, H11
                    assert_eq!(Some(&boot), self.boots.get(&node), "by its last boot {way:#?}");
                    let order = (node, boot, name, ticket.incarnation);
                    assert!(self.ordered.contains(&order), "{way:#?}");
                    let before = self.started.insert((node, boot, name), ticket);
                    assert!(before.is_none_or(|before| before < ticket), "once {way:#?}");
                    assert!(lease.is_some_and(|until| until > now), "leased {way:#?}");
                    let next = done.get(at + 1).copied();
                    assert_eq!(next, lease.map(|until| Hosting::Leased(process, until)));
                    let alone = self.alive.insert(name, (pid, node, boot, false));
                    assert_eq!(alone, None, "one at a time {way:#?}");
                }
                Hosting::Signal(process, signal) => {
                    let name = NameId(process.pid.child.0);
                    let alive = self.alive.get_mut(&name).filter(|it| it.0 == process.pid);
                    alive.expect("it is there").3 |= signal == Signal::Kill;
                }
                Hosting::Leased(process, until) => {
                    let name = NameId(process.pid.child.0);
                    let (_, node, boot, _) = self.alive[&name];
                    assert_eq!(self.boots.get(&node), Some(&boot), "{way:#?}");
                    assert_eq!(self.leases.get(&node), Some(&until), "{way:#?}");
                }
            }
        }
        // Rules: H7, H11
        for (_, node, boot, is_killed) in self.alive.values() {
            let is_over = self.leases.get(node).is_none_or(|until| *until <= now);
            let is_old = self.boots.get(node) != Some(boot);
            assert!(*is_killed || !(is_over || is_old), "{way:#?}");
        }
    }
}

/// A host that two owners talk to.
struct Walk {
    prng: Prng,
    host: Host,
    book: Book,
    now: Instant,
    way: Vec<String>,
    starts: u64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let Setup { host, now } = Setup::new();
        let (book, way) = (Book::default(), Vec::new());
        Self { prng: Prng::new(seed), host, book, now, way, starts: 0 }
    }

    fn pick(&mut self, most: u64) -> u64 {
        self.prng.below(most)
    }

    fn step(&mut self) {
        let node = NodeId(1 + self.pick(2));
        let name = if self.pick(2) == 0 { ONE } else { OTHER };
        let newest = self.book.boots.get(&node).copied().unwrap_or(1);
        let boot = newest + u64::from(self.pick(12) == 0);
        let mut out = Vec::new();
        match self.pick(12) {
            0..4 => self.order(node, (newest, boot), name, &mut out),
            4..7 => self.answer(node, newest, &mut out),
            7 => {
                self.way.push(format!("{:?} {node:?} {boot} is up", self.now));
                self.book.boot(node, boot);
                self.host.peer_up(self.now, node, boot, &mut out);
            }
            8 => {
                self.way.push(format!("{:?} {node:?} is down", self.now));
                self.host.peer_down(self.now, node, &mut out);
            }
            9 | 10 => self.fact(name, &mut out),
            _ => {
                self.now = self.now.saturating_add(Duration::from_millis(self.prng.below(3_000)));
                self.way.push(format!("{:?}", self.now));
                self.host.handle_timeout(self.now, &mut out);
            }
        }
        self.starts += u64::from(started(&out).is_some());
        self.book.note(&self.host, self.now, &out, &self.way);
    }

    /// Most are of the present boot, some were held up.
    fn order(
        &mut self,
        node: NodeId,
        (newest, boot): (u64, u64),
        name: NameId,
        out: &mut Vec<Hosting>,
    ) {
        let boot = if self.pick(6) == 0 { boot.saturating_sub(1).max(1) } else { boot };
        let number = 1 + self.pick(4);
        let want = match self.pick(7) {
            0..3 => Want::Run,
            3 => Want::Shutdown,
            4 => Want::Kill,
            5 => Want::Noted,
            _ => Want::Gone,
        };
        self.way.push(format!("{:?} {node:?} {boot} orders {name:?} {number} {want:?}", self.now));
        if boot >= newest {
            self.book.boot(node, boot);
            if want == Want::Run {
                self.book.ordered.insert((node, boot, name, number));
            }
        }
        let ticket = Ticket { supervisor: SupervisorId(1), incarnation: number };
        let frame = Frame::Order { stamp: Stamp { from: boot, to: 7 }, name, ticket, want };
        let is_free = !self.book.had.contains(&name);
        self.host.hear(self.now, node, frame, is_free, out);
    }

    /// Mostly to the last question, sometimes to the one before.
    fn answer(&mut self, node: NodeId, newest: u64, out: &mut Vec<Hosting>) {
        let skipped = usize::from(self.pick(4) == 0);
        let of_node = (node, 0)..=(node, u64::MAX);
        let asked = self.book.asked.range(of_node).rev().nth(skipped);
        let Some(((_, seq), (to, at))) = asked.map(|(key, value)| (*key, *value)) else { return };
        self.way.push(format!("{:?} {node:?} {to} answers {seq}", self.now));
        self.book.asked.remove(&(node, seq));
        let until = at.saturating_add(LEASE);
        let is_longer = self.book.leases.get(&node).is_none_or(|held| *held < until);
        if to == newest && until > self.now && is_longer {
            self.book.leases.insert(node, until);
        }
        let frame = Frame::Renewed { stamp: Stamp { from: to, to: 7 }, seq, lease: LEASE };
        self.host.hear(self.now, node, frame, true, out);
    }

    fn fact(&mut self, name: NameId, out: &mut Vec<Hosting>) {
        let Some((pid, ..)) = self.book.alive.get(&name).copied() else { return };
        let fact = match self.pick(3) {
            0 => Event::Started { pid },
            _ => Event::Exited { pid, reason: ExitReason::Killed },
        };
        self.way.push(format!("{:?} {fact:?}", self.now));
        if matches!(fact, Event::Exited { .. }) {
            self.book.alive.remove(&name);
        }
        self.host.fact(self.now, fact, out);
    }
}

// Rules: H4, H6, H7, H11, H13
#[test]
fn whatever_two_owners_say_about_two_names() {
    let mut starts = 0;
    for seed in 0..2_000 {
        let mut walk = Walk::new(seed);
        (0..60).for_each(|_| walk.step());
        starts += walk.starts;
    }
    assert!(starts > 2_000, "only {starts} starts");
}

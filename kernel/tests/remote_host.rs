//! What a host does with what is held up, step by step, with more than one name.
//!
//! The walks in `remote.rs` have one name, so that they reach everything at small scope; here are
//! ways on which a lease that was given for one name meets an order for another.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "what a step is not about")]

use std::time::Duration;

use lictor_kernel::remote::{Config, Frame, Host, Hosting, Stamp, State, Ticket, Want};
use lictor_kernel::supervisor::Event;
use lictor_kernel::{ExitReason, Instant, NameId, NodeId, Pid, SupervisorId};

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
        let seq = said.iter().find_map(|it| match it {
            Hosting::Send(_, Frame::Renew { seq, .. }) => Some(*seq),
            _ => None,
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
    done.iter().find_map(|it| match it {
        Hosting::Start(process) => Some(process.pid),
        _ => None,
    })
}

fn reported(done: &[Hosting]) -> Vec<(u64, State)> {
    let reported = |it: &Hosting| match it {
        Hosting::Send(_, Frame::Report { ticket, state, .. }) => Some((ticket.incarnation, *state)),
        _ => None,
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

//! Several nodes and a wire that loses, repeats, reorders and holds frames back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "membership/net.rs"]
mod net;

use std::time::Duration;

use lictor_kernel::membership::{AddPeerError, Claim, Config, Frame, PeerChange, Summary, TagSet};
use lictor_kernel::node::{Action, Event};
use lictor_kernel::{ChildKind, DetectorConfig, DetectorError, Instant, NodeId, Owner, Status};
use proptest::prelude::*;

use crate::net::{Net, Op, Wire, any_op, claim_of, config};

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Two nodes that know each other and have exchanged what they have.
fn pair() -> Net {
    let mut net = Net::new(2);
    net.declare(0, "a", &["x", "y"]);
    net.declare(1, "b", &[]);
    net.settle(Duration::from_secs(1));
    net
}

// Rules: M1, M4
#[test]
fn nodes_that_answer_each_other_share_their_public_names() {
    let mut net = Net::new(2);
    net.declare(0, "a", &["y", "x"]);
    net.declare(0, "b", &[]);
    assert_eq!(net.up(0, 1), None);
    net.settle(Duration::ZERO);
    assert_eq!((net.up(0, 1), net.up(1, 0)), (Some(1), Some(1)));
    assert_eq!(
        net.remote(1),
        [("a".into(), 0, Status::Starting), ("b".into(), 0, Status::Starting)]
    );
    let here = &net.nodes[1];
    let entry = here.registry().lookup(here.names().lookup("a").unwrap()).unwrap();
    let tags: Vec<_> = entry.capabilities.iter().map(|tag| here.tags().resolve(*tag)).collect();
    assert_eq!(tags, [Some("y"), Some("x")], "the tags of a, in the order of their ids here");
}

// Rule: M2
#[test]
fn only_an_answer_to_a_question_since_the_last_end_counts() {
    let mut net = pair();
    let stale: Vec<Wire> =
        net.log.iter().filter(|(_, to, _)| *to == 1).map(|sent| sent.2.clone()).collect();
    net.hear(1, 0, Frame::Bye { epoch: 1 });
    assert_eq!(net.up(1, 0), None);
    assert!(net.remote(1).is_empty());
    // Everything that node 0 ever said comes again, and node 0 is gone.
    for wire in stale {
        net.receive(0, 1, &wire);
    }
    assert_eq!(net.up(1, 0), None);
    assert!(net.remote(1).is_empty(), "held-up frames bring nobody back");
    assert!(net.nodes[1].membership().ignored() > 0);
    net.settle(Duration::from_secs(2));
    assert_eq!(net.up(1, 0), Some(1), "an answer to a new question does");
    assert_eq!(net.remote(1).len(), 1);
}

// Rule: M2
#[test]
fn questions_never_asked_or_asked_before_the_end_are_not_answered() {
    let (mut node, mut out) = (net::node(config(0)), Vec::new());
    let up = |node: &lictor_kernel::Node| node.membership().is_up(NodeId(1));
    let alive = |seq| {
        let summary = Summary::default();
        Event::Peer(NodeId(1), Frame::Alive { epoch: 1, seq, summary })
    };
    assert_eq!(node.add_peer(at(0), NodeId(1), &mut out), Ok(true));
    node.handle(at(0), alive(2), &mut out);
    assert_eq!(up(&node), None, "it was not asked yet");
    node.handle(at(0), Event::PeerDown(NodeId(1)), &mut out);
    node.handle(at(1), alive(1), &mut out);
    assert_eq!(up(&node), None, "it was asked before the link went down");
    out.clear();
    // It can be heard: it is asked at once, but not each time.
    for expected in [true, false] {
        let hello = Frame::Hello { epoch: 1, seq: 1 };
        node.handle(at(1), Event::Peer(NodeId(1), hello), &mut out);
        let asked = Action::Send(NodeId(1), Frame::Hello { epoch: 1, seq: 2 });
        assert_eq!(out.contains(&asked), expected);
        out.clear();
    }
    node.handle(at(1), alive(2), &mut out);
    assert_eq!(up(&node), Some(1));
}

// Rules: M2, M3
#[test]
fn a_wire_that_works_one_way_only_is_cut_at_both_ends() {
    let mut net = pair();
    net.cut(0, 1, true);
    net.settle(Duration::from_secs(10));
    assert_eq!((net.up(0, 1), net.up(1, 0)), (None, None));
    assert!(net.remote(0).is_empty() && net.remote(1).is_empty());
    net.cut(0, 1, false);
    net.settle(Duration::from_secs(2));
    assert_eq!((net.up(0, 1), net.up(1, 0)), (Some(1), Some(1)));
    assert_eq!((net.remote(0).len(), net.remote(1).len()), (1, 1));
}

// Rule: M3
#[test]
fn a_peer_that_is_given_up_is_asked_until_it_answers() {
    let mut net = pair();
    net.cut(0, 1, true);
    net.cut(1, 0, true);
    let before = net.now;
    net.settle(Duration::from_secs(60));
    let asked = |net: &Net| {
        let asks = net
            .log
            .iter()
            .filter(|(from, _, wire)| *from == 0 && matches!(wire.frame, Frame::Hello { .. }));
        asks.count()
    };
    let first = asked(&net);
    assert!((50..70).contains(&first), "{first} questions in a minute, {before:?}");
    assert_eq!(net.changes(0).last(), Some(&PeerChange::Down));
    net.now = net.now.saturating_add(Duration::from_millis(10));
    let mut out = Vec::new();
    net.nodes[0].handle(net.now, Event::PeerReachable(NodeId(1)), &mut out);
    assert!(matches!(out[..], [Action::Send(NodeId(1), Frame::Hello { .. })]), "{out:?}");
}

// Rule: M4
#[test]
fn changes_are_told_at_once_and_private_names_never() {
    let mut net = pair();
    net.log.clear();
    net.declare(0, "c", &[]);
    net.set_down(0, "a");
    let told: Vec<_> = net.log.iter().map(|(_, _, wire)| wire.frame).collect();
    assert!(matches!(
        told[..],
        [Frame::Claim { .. }, Frame::Claim { claim: Claim { status: Status::Down, .. }, .. }]
    ));
    net.settle(Duration::ZERO);
    assert_eq!(net.remote(1), [("a".into(), 0, Status::Down), ("c".into(), 0, Status::Starting)]);
    let id = net.nodes[0].parts().0.intern_system("_private").unwrap();
    let declaration = lictor_kernel::Declaration {
        process: None,
        status: Status::Starting,
        kind: ChildKind::Worker,
        capabilities: &[],
    };
    net.nodes[0].parts().1.declare(id, declaration, &mut Vec::new()).unwrap();
    net.settle(Duration::from_secs(3));
    assert_eq!(net.remote(1).len(), 2);
}

// Rule: M5
#[test]
fn a_quiet_network_carries_no_claims() {
    let mut net = pair();
    net.log.clear();
    net.settle(Duration::from_secs(120));
    let claims = net.log.iter().filter(|(_, _, wire)| matches!(wire.frame, Frame::Claim { .. }));
    assert_eq!(claims.count(), 0);
    assert_eq!(net.remote(1).len(), 1, "and no lease has ended");
    assert!(net.log.len() < 500, "{}", net.log.len());
}

// Rule: M5
#[test]
fn a_lost_announcement_is_found_by_the_next_answer() {
    let mut net = pair();
    net.cut(0, 1, true);
    net.declare(0, "c", &[]);
    net.settle(Duration::ZERO);
    net.cut(0, 1, false);
    assert_eq!(net.remote(1).len(), 1);
    net.settle(Duration::from_secs(2));
    assert_eq!(net.remote(1).len(), 2);
}

// Rules: M5, M6
#[test]
fn a_lost_withdrawal_ends_with_the_lease_and_leaves_no_name_behind() {
    let mut net = pair();
    let names = net.nodes[1].names().len();
    net.cut(0, 1, true);
    net.retract(0, "a");
    net.settle(Duration::ZERO);
    net.cut(0, 1, false);
    net.settle(Duration::from_secs(3));
    assert_eq!(net.remote(1).len(), 1, "the lease still holds");
    net.settle(config(0).membership.lease);
    assert!(net.remote(1).is_empty());
    net.settle(Duration::from_secs(2));
    assert_eq!(net.nodes[1].names().len(), names - 1, "its text is forgotten, too");
}

// Rule: M6
#[test]
fn a_withdrawn_name_goes_at_once_and_may_come_again() {
    let mut net = pair();
    net.retract(0, "a");
    net.settle(Duration::ZERO);
    assert!(net.remote(1).is_empty());
    net.declare(0, "a", &[]);
    net.settle(Duration::ZERO);
    assert_eq!(net.remote(1).len(), 1);
    // The old withdrawal again, and late.
    let old = net.log.iter().find(|(_, _, wire)| matches!(wire.frame, Frame::Withdraw { .. }));
    let (from, to, wire) = old.cloned().expect("it was withdrawn");
    net.receive(from, to, &wire);
    assert_eq!(net.remote(1).len(), 1, "it says nothing of the new one");
}

// Rule: M7
#[test]
fn a_goodbye_ends_everything_at_once_and_a_newer_boot_replaces_an_older() {
    let mut net = pair();
    let mut out = Vec::new();
    net.nodes[0].leave(&mut out);
    assert_eq!(out, [Action::Send(NodeId(1), Frame::Bye { epoch: 1 })]);
    net.carry(0, out);
    net.deliver_all();
    assert_eq!((net.up(1, 0), net.remote(1).len()), (None, 0));
    let mut net = pair();
    net.boot(0, 2);
    net.declare(0, "new", &[]);
    net.settle(Duration::from_secs(2));
    assert_eq!(net.up(1, 0), Some(2));
    assert_eq!(net.remote(1), [("new".into(), 0, Status::Starting)]);
    assert!(net.changes(1).ends_with(&[PeerChange::Down, PeerChange::Up(2)]));
    // What the old boot said is of no interest any more.
    let ignored = net.nodes[1].membership().ignored();
    net.hear(1, 0, Frame::Bye { epoch: 1 });
    net.hear(1, 0, Frame::Hello { epoch: 1, seq: 1 });
    assert_eq!(net.nodes[1].membership().ignored(), ignored + 2);
    assert_eq!(net.up(1, 0), Some(2));
}

// Rule: M8
#[test]
fn a_stranger_that_says_hello_is_let_in_and_forgotten_when_it_does_not_answer() {
    let mut net = Net::new(1);
    net.hear(0, 9, Frame::Probe { epoch: 1, seq: 1 });
    assert_eq!(net.nodes[0].membership().peers().count(), 0, "a probe is no introduction");
    net.hear(0, 9, Frame::Hello { epoch: 1, seq: 1 });
    assert_eq!(net.nodes[0].membership().peers().collect::<Vec<_>>(), [(NodeId(9), None)]);
    net.settle(config(0).membership.lease + Duration::from_secs(2));
    assert_eq!(net.nodes[0].membership().peers().count(), 0);
    assert_eq!(net.nodes[0].poll_timeout(), None);
}

// Rule: M8
#[test]
fn a_stranger_that_the_transport_has_found_is_asked_and_forgotten_when_it_does_not_answer() {
    let mut net = Net::new(1);
    let mut out = Vec::new();
    net.nodes[0].handle(at(0), Event::PeerReachable(NodeId(9)), &mut out);
    let asked = |action: &Action| matches!(action, Action::Send(NodeId(9), Frame::Hello { .. }));
    assert_eq!(out.iter().filter(|action| asked(action)).count(), 1, "{out:?}");
    net.nodes[0].handle(at(0), Event::PeerReachable(NodeId(0)), &mut out);
    assert_eq!(net.nodes[0].membership().peers().collect::<Vec<_>>(), [(NodeId(9), None)]);
    net.settle(config(0).membership.lease + Duration::from_secs(2));
    assert_eq!(net.nodes[0].membership().peers().count(), 0);
    let closed = Config { admit: false, ..config(0).membership };
    let mut node = net::node(net::config_with(closed));
    node.handle(at(0), Event::PeerReachable(NodeId(9)), &mut out);
    assert_eq!(node.membership().peers().count(), 0, "strangers are not admitted");
}

// Rules: M8, H15
#[test]
fn nothing_is_left_of_strangers_that_came_up_and_went() {
    let mut net = Net::new(1);
    let before = net.nodes[0].host().clone();
    for stranger in 100..110 {
        let hello = Event::Peer(NodeId(stranger), Frame::Hello { epoch: 1, seq: 1 });
        let mut out = Vec::new();
        net.nodes[0].handle(net.now, hello, &mut out);
        let asked = out.iter().find_map(|action| {
            let Action::Send(_, Frame::Hello { seq, .. }) = action else { return None };
            Some(*seq)
        });
        let alive = Frame::Alive { epoch: 1, seq: asked.unwrap(), summary: Summary::default() };
        net.nodes[0].handle(net.now, Event::Peer(NodeId(stranger), alive), &mut out);
        assert_eq!(net.nodes[0].membership().is_up(NodeId(stranger)), Some(1));
        assert_ne!(*net.nodes[0].host(), before, "it may own something here");
        net.settle(2 * config(0).membership.lease + Duration::from_secs(10));
        assert_eq!(net.nodes[0].membership().peers().count(), 0);
        assert_eq!(*net.nodes[0].host(), before);
    }
}

// Rule: M8
#[test]
fn peers_are_bounded_and_must_make_sense() {
    let mut out = Vec::new();
    let membership = Config { peers: 1, ..config(0).membership };
    let mut node = net::node(net::config_with(membership));
    assert_eq!(node.add_peer(at(0), NodeId(0), &mut out), Err(AddPeerError::Own));
    assert_eq!(node.add_peer(at(0), NodeId(1), &mut out), Ok(true));
    assert_eq!(node.add_peer(at(0), NodeId(1), &mut out), Ok(false));
    assert_eq!(node.add_peer(at(0), NodeId(2), &mut out), Err(AddPeerError::TooManyPeers));
    node.handle(at(0), Event::Peer(NodeId(2), Frame::Hello { epoch: 1, seq: 1 }), &mut out);
    assert_eq!(node.membership().peers().count(), 1);
    assert!(node.remove_peer(at(0), NodeId(1), &mut out));
    assert!(!node.remove_peer(at(0), NodeId(1), &mut out));
    assert_eq!(node.poll_timeout(), None);
    let zero = Duration::ZERO;
    let detector = DetectorConfig::Heartbeat { interval: zero, timeout: zero, threshold: 0 };
    let mut node = net::node(net::config_with(Config { detector, ..membership }));
    let refused = AddPeerError::Detector(DetectorError::ZeroInterval);
    assert_eq!(node.add_peer(at(0), NodeId(1), &mut out), Err(refused));
}

// Rule: M9
#[test]
fn a_long_list_comes_in_bursts_and_through_a_narrow_wire() {
    let mut net = Net::new(2);
    for number in 0..50 {
        net.declare(0, &format!("n{number}"), &[]);
    }
    // Of each burst of eight the wire takes three.
    net.narrow = Some(3);
    net.settle(Duration::from_secs(60));
    assert_eq!(net.remote(1).len(), 50);
    assert!(net.longest <= 8 + 2, "{} frames at once", net.longest);
}

// Rule: M9
#[test]
fn a_narrow_wire_brings_all_names_also_when_leases_are_short() {
    let mut net = Net::with(2, |config| {
        (config.burst, config.lease) = (256, Duration::from_secs(3));
    });
    // What a list brings ends before lists that begin one further on have brought the rest.
    net.narrow = Some(7);
    for number in 0..200 {
        net.declare(0, &format!("n{number}"), &[]);
    }
    net.settle(Duration::from_secs(20));
    for second in 0..20 {
        assert_eq!(net.remote(1).len(), 200, "after {second} more seconds");
        net.settle(Duration::from_secs(1));
    }
    // Nobody asks any more; after a lease, what is lost once costs one list, in greater bursts.
    net.longest = 0;
    net.narrow = None;
    net.settle(Duration::from_secs(4));
    assert!(net.longest <= 2, "{} frames at once", net.longest);
}

// Rule: M9
#[test]
fn a_list_takes_no_longer_than_half_a_lease() {
    let mut net = Net::with(2, |config| {
        (config.burst, config.lease) = (256, Duration::from_secs(4));
    });
    // The wire takes less than what would be needed, so nothing can bring all; bursts of one would
    // bring what is left even later.
    net.narrow = Some(0);
    for number in 0..1000 {
        net.declare(0, &format!("n{number}"), &[]);
    }
    net.settle(Duration::from_secs(60));
    net.longest = 0;
    net.settle(Duration::from_secs(10));
    assert!((5..=8).contains(&net.longest), "{} frames at once", net.longest);
}

// Rule: M10
#[test]
fn an_accrual_detector_lives_on_answers_too() {
    let mut net = Net::with(2, |config| {
        config.detector = DetectorConfig::PhiAccrual(lictor_kernel::PhiAccrual::AKKA);
    });
    net.declare(0, "a", &[]);
    net.settle(Duration::from_secs(30));
    assert_eq!((net.up(0, 1), net.remote(1).len()), (Some(1), 1));
    assert!(!net.changes(0).contains(&PeerChange::Down));
    net.cut(0, 1, true);
    net.settle(Duration::from_secs(30));
    assert_eq!((net.up(0, 1), net.up(1, 0)), (None, None));
}

// Rule: M6
#[test]
fn a_name_of_two_nodes_keeps_its_text_until_both_have_gone() {
    let mut net = pair();
    net.declare(1, "a", &[]);
    net.settle(Duration::ZERO);
    let id = net.nodes[1].names().lookup("a").unwrap();
    assert!(matches!(net.nodes[1].registry().lookup(id).unwrap().owner, Owner::Local(_)));
    net.retract(1, "a");
    net.settle(Duration::ZERO);
    assert_eq!(net.remote(1), [("a".into(), 0, Status::Starting)]);
    assert_eq!(net.nodes[1].names().lookup("a"), Some(id));
}

proptest! {
    // Rules: M5, M6, M11
    #[test]
    fn after_any_faults_and_a_quiet_time_all_registries_agree(
        ops in prop::collection::vec(any_op(), 0..120),
    ) {
        let mut net = Net::new(3);
        for op in ops {
            net.apply(&op);
        }
        net.heal();
        net.settle(config(0).membership.lease * 2 + Duration::from_secs(10));
        let all: Vec<_> = (0..3).map(|node| net.everything(node)).collect();
        prop_assert_eq!(&all[0], &all[1]);
        prop_assert_eq!(&all[1], &all[2]);
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            prop_assert_eq!(net.up(from, to), Some(net.epochs[to]));
        }
        // Nothing is left of what has gone: the names of all nodes, and no others.
        for node in &mut net.nodes {
            node.handle_timeout(net.now, &mut Vec::new());
            let known = node.names().with_prefix("");
            let kept = known.filter(|(_, id)| node.registry().contains(*id));
            prop_assert_eq!(kept.count(), node.names().len());
        }
    }

    // Rule: M11
    #[test]
    fn claims_merge_the_same_in_any_order_and_number(
        claims in prop::collection::vec((0..3_u32, 0..3_u64, 0..3_u64, 0..2_u8), 1..12),
        order in prop::collection::vec(0..12_usize, 0..40),
    ) {
        let run = |order: &mut dyn Iterator<Item = usize>| {
            let mut net = pair();
            for at in order {
                let (name, incarnation, revision, status) = claims[at % claims.len()];
                let status = if status == 0 { Status::Up } else { Status::Restarting };
                let name = net.nodes[1].intern_remote(&format!("m{name}")).unwrap();
                let claim = claim_of(incarnation, revision, status);
                net.hear(1, 0, Frame::Claim { epoch: 1, name, claim });
            }
            net.everything(1)
        };
        let plain = run(&mut (0..claims.len()));
        let mixed = run(&mut order.iter().copied().chain((0..claims.len()).rev()));
        prop_assert_eq!(plain, mixed);
    }

    // Rules: M12, A5
    #[test]
    fn no_frame_does_harm(frames in prop::collection::vec(
        (0..4_u64, 0..6_u8, prop_oneof![0..4_u64, Just(u64::MAX)], 0..9_u64), 0..60,
    )) {
        let mut net = pair();
        for (from, kind, epoch, number) in frames {
            let name = lictor_kernel::NameId(u32::try_from(number).unwrap());
            let summary = Summary { count: number, digest: number };
            let claim = claim_of(number, number, Status::Up);
            let frame = match kind {
                0 => Frame::Hello { epoch, seq: number },
                1 => Frame::Probe { epoch, seq: number },
                2 => Frame::Alive { epoch, seq: number, summary },
                3 => {
                    let claim = Claim { capabilities: TagSet(7), ..claim };
                    Frame::Claim { epoch, name, claim }
                }
                4 => Frame::Withdraw { epoch, name, incarnation: number },
                _ => Frame::Bye { epoch },
            };
            net.hear(1, from, frame);
            net.settle(Duration::from_millis(number * 100));
        }
    }
}

#[test]
fn a_script_of_operations_is_the_same_twice() {
    // Rule: A4
    let run = || {
        let mut net = Net::new(3);
        for op in
            [Op::Declare(0, 1), Op::Advance(700), Op::Boot(1), Op::Cut(0, 2), Op::Advance(9000)]
        {
            net.apply(&op);
        }
        net.settle(Duration::from_secs(5));
        (net.log.clone(), net.nodes.clone())
    };
    assert_eq!(run(), run());
}

//! Trees whose children live on other nodes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "distributed/cluster.rs"]
mod cluster;

use std::time::Duration;

use lictor_kernel::node::{DeclareNameError, Event};
use lictor_kernel::remote::{Frame, PlaceError, Refusal, Stage, Stamp, State, Ticket, Want};
use lictor_kernel::{ExitReason, NameId, NodeId, Status, Strategy, SupervisorId};
use proptest::prelude::*;

use crate::cluster::Cluster;

const SECOND: Duration = Duration::from_secs(1);

/// Node 0 has `a` here, `b` on node 1 and `c` on node 2, in this order.
fn spread(strategy: Strategy, restarts: u32) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.offer(1, &["b"]);
    cluster.offer(2, &["c"]);
    cluster.start(strategy, restarts, &[("a", None), ("b", Some(1)), ("c", Some(2))]);
    cluster.run(3 * SECOND);
    assert_eq!([cluster.alive(0), cluster.alive(1), cluster.alive(2)], [["a"], ["b"], ["c"]]);
    cluster
}

// Rules: H1, H13
// Defect: Z17 (every node finds every name)
#[test]
fn children_on_other_nodes_are_found_from_every_node() {
    let cluster = spread(Strategy::OneForOne, 3);
    for from in 0..3 {
        for (name, at) in [("a", 0), ("b", 1), ("c", 2)] {
            assert_eq!(cluster.finds(from, name), Some((at, Status::Up)), "{name} from {from}");
        }
    }
}

// Rule: H1
// Defect: X1 (every strategy reaches across nodes)
#[test]
fn every_strategy_reaches_across_nodes() {
    for (strategy, a, b, c) in [
        (Strategy::OneForOne, 1, 2, 1),
        (Strategy::RestForOne, 1, 2, 2),
        (Strategy::OneForAll, 2, 2, 2),
    ] {
        let mut cluster = spread(strategy, 3);
        cluster.crash(1, "b");
        cluster.run(SECOND);
        let started: Vec<usize> = cluster.machines.iter().map(|it| it.started.len()).collect();
        assert_eq!(started, [a, b, c], "{strategy:?}");
        assert_eq!([cluster.alive(0), cluster.alive(1), cluster.alive(2)], [["a"], ["b"], ["c"]]);
    }
}

// Rules: H1, H3
// Defects: Z15, Z16 (one crash is one crash; the supervisor has the budget)
#[test]
fn the_supervisor_owns_the_budget() {
    let mut cluster = spread(Strategy::OneForOne, 4);
    for _ in 0..4 {
        cluster.crash(1, "b");
        cluster.run(SECOND);
        assert_eq!(cluster.alive(1), ["b"]);
    }
    let exits = |cluster: &Cluster| {
        cluster.stages("b").iter().filter(|it| matches!(it, Stage::Exited(_))).count()
    };
    assert_eq!((exits(&cluster), cluster.machines[0].ended), (4, None));
    cluster.crash(1, "b");
    cluster.run(SECOND);
    assert_eq!(cluster.machines[0].ended, Some(ExitReason::RestartsExhausted));
    assert!(cluster.alive(0).is_empty() && cluster.alive(2).is_empty());
    cluster.run(10 * SECOND);
    assert_eq!(cluster.finds(0, "c"), None, "its host has given the name back");
}

// Rule: H2
// Defect: Z18 (workers may come before the supervisor, or after)
#[test]
fn hosts_may_come_before_the_owner_or_after() {
    let mut cluster = Cluster::new(2);
    cluster.kill(1);
    cluster.start(Strategy::OneForOne, 0, &[("b", Some(1)), ("a", None)]);
    cluster.run(60 * SECOND);
    assert_eq!(cluster.stages("b"), [Stage::Waiting]);
    assert!(cluster.machines[0].started.is_empty(), "children start in order");
    cluster.boot(1, &["b"]);
    cluster.run(3 * SECOND);
    assert_eq!((cluster.alive(0), cluster.alive(1)), (vec!["a".into()], vec!["b".into()]));
    assert_eq!(cluster.machines[0].ended, None, "no restart was counted");
}

// Rules: H8, H9
// Defects: X4, Z34b
#[test]
fn a_host_that_is_killed_loses_its_children_once_and_gets_them_again() {
    let mut cluster = spread(Strategy::OneForOne, 3);
    cluster.kill(1);
    cluster.run(4 * SECOND);
    let lost = [Stage::Exited(ExitReason::NoConnection), Stage::Waiting];
    assert!(cluster.stages("b").ends_with(&lost), "{:?}", cluster.stages("b"));
    assert_eq!(cluster.finds(2, "b"), None, "nobody sends to it any more");
    cluster.boot(1, &["b"]);
    cluster.run(SECOND / 2);
    assert!(cluster.alive(1).is_empty(), "the lease of the old boot may still run");
    cluster.run(6 * SECOND);
    assert_eq!(cluster.alive(1), ["b"]);
    assert_eq!(cluster.finds(2, "b"), Some((1, Status::Up)));
}

// Rules: H7, H9, H10
#[test]
fn a_host_that_is_cut_off_ends_what_it_runs_by_itself() {
    let mut cluster = spread(Strategy::OneForOne, 3);
    cluster.cut(0, 1, true);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.alive(1), ["b"], "its lease holds");
    cluster.run(4 * SECOND);
    assert!(cluster.alive(1).is_empty(), "its lease is over");
    assert_eq!(cluster.finds(2, "b"), None, "and its name is gone, also where the wire is whole");
    cluster.cut(0, 1, false);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.alive(1), ["b"]);
    // One that comes back within its lease starts the next process at once, and one at a time.
    let before = cluster.machines[1].started.len();
    let link = |cluster: &mut Cluster| {
        cluster.act(0, |node, now, out| {
            node.handle(now, Event::PeerDown(NodeId(1)), out);
        });
    };
    link(&mut cluster);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.alive(1), ["b"]);
    assert_eq!(cluster.machines[1].started.len(), before + 1);
}

// Rule: H9
#[test]
fn what_is_seen_to_be_gone_need_not_be_waited_for() {
    let gone = |cluster: &mut Cluster, boot| {
        cluster.act(0, |node, now, out| {
            node.handle(now, Event::PeerGone(NodeId(1), boot), out);
        });
    };
    // Told before the next boot is seen, and after it.
    for is_late in [false, true] {
        let mut cluster = spread(Strategy::OneForOne, 3);
        let boot = cluster.machines[1].epoch;
        cluster.kill(1);
        if !is_late {
            gone(&mut cluster, boot);
            assert_eq!(cluster.stages("b").last(), Some(&Stage::Waiting), "it is lost at once");
        }
        cluster.boot(1, &["b"]);
        cluster.run(SECOND / 2);
        if is_late {
            assert!(cluster.alive(1).is_empty(), "the lease of the old boot may still run");
            // That of another boot says nothing.
            gone(&mut cluster, boot - 1);
            cluster.run(SECOND / 2);
            assert!(cluster.alive(1).is_empty());
            gone(&mut cluster, boot);
        }
        cluster.run(SECOND * 3 / 2);
        assert_eq!(cluster.alive(1), ["b"], "late: {is_late}");
        let exits = cluster.stages("b").into_iter().filter(|it| matches!(it, Stage::Exited(_)));
        assert_eq!(exits.count(), 1);
        // Told once more it changes nothing.
        gone(&mut cluster, boot);
        cluster.run(SECOND);
        assert_eq!((cluster.alive(1), cluster.machines[1].started.len()), (vec!["b".into()], 1));
    }
}

// Rules: H6, H8
// Once the next process began under what was left of a lease from before the cut, and ended with it.
#[test]
fn an_outage_within_a_lease_costs_a_child_one_crash_at_most() {
    let step = Duration::from_millis(130);
    for (phase, outage) in (0..8).flat_map(|phase| (16..38).map(move |steps| (phase, steps))) {
        let mut cluster = Cluster::new(2);
        cluster.offer(1, &["b"]);
        // Leases and the questions of membership have their own rhythms.
        cluster.run(3 * SECOND + phase * step);
        cluster.start(Strategy::OneForOne, 3, &[("b", Some(1))]);
        cluster.run(3 * SECOND);
        cluster.cut(0, 1, true);
        cluster.run(outage * step);
        cluster.cut(0, 1, false);
        cluster.run(10 * SECOND);
        assert_eq!(cluster.alive(1), ["b"]);
        let stages = cluster.stages("b");
        let lost = stages.iter().filter(|it| matches!(it, Stage::Exited(_))).count();
        assert!(lost <= 1, "cut after {phase}, for {outage} of {step:?}: {stages:?}");
    }
}

// Rules: H13, H14
// Defect: Z34 (a rolling restart)
#[test]
fn a_rolling_restart_of_a_host_loses_no_route() {
    let mut cluster = spread(Strategy::OneForOne, 3);
    for round in 1..=3 {
        cluster.act(1, |node, now, out| {
            node.stop_hosting(now, Some(now.saturating_add(SECOND)), out);
        });
        assert!(cluster.alive(1).is_empty());
        cluster.act(1, |node, _, out| node.leave(out));
        cluster.run(SECOND / 2);
        assert_eq!(cluster.finds(2, "b"), None);
        cluster.boot(1, &["b"]);
        // It said goodbye: nothing need be waited for.
        cluster.run(2 * SECOND);
        assert_eq!(cluster.alive(1), ["b"], "round {round}");
        for from in [0, 2] {
            assert_eq!(cluster.finds(from, "b"), Some((1, Status::Up)));
        }
    }
    let lost = cluster.stages("b").into_iter().filter(|it| matches!(it, Stage::Exited(_)));
    assert_eq!(lost.collect::<Vec<_>>(), [Stage::Exited(ExitReason::NoConnection); 3]);
}

// Rules: H11, H12
#[test]
fn an_owner_that_boots_anew_ends_what_its_older_boot_had() {
    let mut cluster = spread(Strategy::OneForOne, 3);
    cluster.kill(0);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.alive(1), ["b"], "its lease holds");
    cluster.boot(0, &[]);
    cluster.start(Strategy::OneForOne, 3, &[("b", Some(1)), ("c", Some(2))]);
    cluster.run(2 * SECOND);
    assert!(cluster.alive(1).is_empty(), "the newer boot is seen");
    cluster.run(5 * SECOND);
    assert_eq!((cluster.alive(1), cluster.alive(2)), (vec!["b".into()], vec!["c".into()]));
    // And one that never comes again.
    cluster.kill(0);
    cluster.run(6 * SECOND);
    assert!(cluster.alive(1).is_empty() && cluster.alive(2).is_empty());
    cluster.run(20 * SECOND);
    assert!(cluster.finds(1, "c").is_none() && cluster.finds(2, "b").is_none());
}

// Rule: H5
// Defect: X5
#[test]
fn a_host_refuses_what_it_was_not_given_or_what_is_anothers() {
    let mut cluster = Cluster::new(2);
    cluster.offer(1, &["other"]);
    cluster.start(Strategy::OneForOne, 0, &[("b", Some(1))]);
    cluster.run(2 * SECOND);
    assert!(cluster.stages("b").contains(&Stage::Failed(Some(Refusal::NotOffered))));
    assert!(cluster.machines[0].ended.is_some(), "a first start that fails ends the tree");
    let mut cluster = Cluster::new(2);
    cluster.offer(1, &["b"]);
    cluster.act(1, |node, _, out| {
        node.declare("b", lictor_kernel::ChildKind::Worker, &[], out).unwrap();
    });
    cluster.start(Strategy::OneForOne, 0, &[("b", Some(1))]);
    cluster.run(2 * SECOND);
    assert!(cluster.stages("b").contains(&Stage::Failed(Some(Refusal::Taken))));
}

// Rules: H10, H13
#[test]
fn the_stop_of_the_owner_stops_its_children_everywhere() {
    let mut cluster = spread(Strategy::OneForOne, 3);
    cluster.cut(0, 2, true);
    cluster.act(0, |node, now, out| node.shutdown(now, None, out));
    cluster.run(8 * SECOND);
    assert_eq!(cluster.machines[0].ended, Some(ExitReason::Shutdown));
    let stopped = Stage::Exited(ExitReason::Shutdown);
    assert_eq!(cluster.stages("b").last(), Some(&stopped));
    let lost = Stage::Exited(ExitReason::NoConnection);
    assert_eq!(cluster.stages("c").last(), Some(&lost));
    assert!(cluster.alive(1).is_empty() && cluster.alive(2).is_empty());
}

// Rule: H15
#[test]
fn names_are_placed_once_and_bounded() {
    let config = lictor_kernel::remote::Config { placed: 1, offers: 1, ..Default::default() };
    let mut node = lictor_kernel::Node::new(lictor_kernel::node::Config {
        remote: config,
        ..Default::default()
    });
    let a = node.place("a", NodeId(1)).unwrap();
    let again = node.place("a", NodeId(1));
    assert_eq!(again, Err(DeclareNameError::Place(PlaceError::Taken)));
    let more = node.place("b", NodeId(1));
    assert_eq!(more, Err(DeclareNameError::Place(PlaceError::TooMany)));
    assert_eq!(node.names().lookup("b"), None, "nothing is left of it");
    let mut out = Vec::new();
    let kind = lictor_kernel::ChildKind::Worker;
    assert!(node.declare("a", kind, &[], &mut out).is_err(), "it is placed");
    node.retract(a, &mut out);
    node.handle_timeout(lictor_kernel::Instant::ZERO, &mut out);
    assert!(node.declare("a", kind, &[], &mut out).is_ok(), "and is no longer");
    assert!(node.offer("x", &[]).is_ok());
    assert_eq!(node.offer("y", &[]), Err(DeclareNameError::TooManyOffers));
}

// Rule: H6
#[test]
fn nothing_starts_without_a_lease_and_a_quiet_host_asks_for_none() {
    use lictor_kernel::node::Action;
    let mut cluster = spread(Strategy::OneForOne, 3);
    // What was ordered is started only when the answer to a question is there.
    let mut out = Vec::new();
    let (now, host) = (cluster.now, &mut cluster.machines[1].node);
    let later = host.poll_timeout().unwrap();
    host.handle_timeout(later.max(now), &mut out);
    let asks =
        |out: &[Action]| out.iter().any(|it| matches!(it, Action::Remote(_, Frame::Renew { .. })));
    let mut quiet = Cluster::new(2);
    quiet.offer(1, &["b"]);
    quiet.run(30 * SECOND);
    let mut silent = Vec::new();
    let at = quiet.machines[1].node.poll_timeout().unwrap();
    quiet.machines[1].node.handle_timeout(at, &mut silent);
    assert!(!asks(&silent));
    let mut busy = false;
    for _ in 0..10 {
        let at = cluster.machines[1].node.poll_timeout().unwrap();
        out.clear();
        cluster.machines[1].node.handle_timeout(at, &mut out);
        busy |= asks(&out);
    }
    assert!(busy, "one that runs something asks");
}

proptest! {
    // Rules: H3, H5, A5
    #[test]
    fn no_frame_about_children_does_harm(frames in prop::collection::vec(
        (0..3_u64, 0..4_u8, (0..3_u64, 0..3_u64), 0..9_u32, 0..8_u64), 0..40,
    )) {
        let mut cluster = Cluster::new(2);
        cluster.offer(1, &["b"]);
        cluster.start(Strategy::OneForOne, 1000, &[("b", Some(1))]);
        cluster.run(2 * SECOND);
        for (from, kind, (boot, to), name, number) in frames {
            let (stamp, name) = (Stamp { from: boot, to }, NameId(name));
            let ticket = Ticket { supervisor: SupervisorId(number / 4), incarnation: number };
            let wants = [Want::Run, Want::Shutdown, Want::Kill, Want::Noted, Want::Gone];
            let states = [State::Starting, State::Up, State::Ignored, State::Failed, State::Gone];
            let at = usize::try_from(number % 5).unwrap();
            let frame = match kind {
                0 => Frame::Order { stamp, name, ticket, want: wants[at] },
                1 => Frame::Report { stamp, name, ticket, state: states[at] },
                2 => Frame::Renew { stamp, seq: number },
                _ => Frame::Renewed { stamp, seq: number, lease: SECOND },
            };
            for at in 0..2 {
                cluster.act(at, |node, now, out| {
                    node.handle(now, Event::Remote(NodeId(from), frame), out);
                });
            }
            cluster.run(SECOND / 4);
        }
        cluster.run(10 * SECOND);
    }
}

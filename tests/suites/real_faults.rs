//! Real processes under real faults, at both brokers: kill -9, SIGSTOP, cables that are held and
//! cut, brokers that die, workers that are replaced, agents that are slow.
//!
//! Judged from the books that the processes keep (`real_faults/book.rs`): no name has two live
//! incarnations at a time; no message is handled twice, or though its sender was told that it was
//! refused; and what was sent is handled or counted, but for what the dead cannot count.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the figures are of interest, too")]

#[path = "real_faults/book.rs"]
mod book;
#[path = "real_faults/cluster.rs"]
mod cluster;
mod folder;
mod ports;
#[path = "real_faults/process.rs"]
mod process;
#[path = "real_faults/proxy.rs"]
mod proxy;
#[path = "nats_server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use book::{Account, assert_one_at_a_time, lives, now};
use cluster::{All, BOTH, Cables, Cluster, Kind, LEASE, MAILBOX, Sent};
use lictor::prelude::*;
use proxy::State;

const NAMES: [&str; 4] = ["home", "alpha", "beta", "slow"];

/// Numbers that go to `alpha` while something happens.
struct Flow {
    goes_on: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Sent>,
}

impl Flow {
    fn to_alpha(all: &All, each: Duration) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let task = all.watch.pump("alpha", 1, [each, secs(2)], &goes_on);
        Self { goes_on, task }
    }

    /// Waits until a number that is sent from now on is handled, and then ends it.
    async fn end(self, cluster: &Cluster) -> Sent {
        let from = now() + 500_000_000;
        let is_one =
            |line: &book::Line| line.what == "did" && line.name == "alpha" && line.at > from;
        cluster.until("does alpha work again", |lines| lines.iter().any(is_one)).await;
        self.goes_on.store(false, Ordering::Relaxed);
        let mut sent = self.task.await.unwrap();
        // One more shows its receiver what is missing before it.
        tokio::time::sleep(secs(1)).await;
        sent.sent.insert(u64::MAX - 1);
        sent
    }
}

/// Judges the account of `alpha`, without the counters of the process `except`. `lost` is what may
/// have died in mailboxes; its sender counts what was on the way to a boot that is gone.
async fn settle(cluster: &Cluster, all: All, sent: &Sent, except: u32, lost: u64) -> Account {
    let last = cluster::Later(all.watch.runtime.clone(), "alpha".to_owned());
    last.send(u64::MAX - 1, lictor::SendOptions::new().timeout(secs(5))).await.unwrap();
    let is_last = |line: &book::Line| line.what == "did" && line.number == u64::MAX - 1;
    cluster.until("is the last one handled", |lines| lines.iter().any(is_last)).await;
    let lost = lost + all.watch.runtime.wire().unsettled;
    all.end().await;
    let account = Account::of(&cluster.lines(), "alpha", &sent.sent, except);
    let kind = cluster.kind;
    let uncounted = account.uncounted();
    println!("{kind:?}: {account:?}, refused {:?}, uncounted {uncounted} of {lost}", sent.refused);
    assert!(account.handled > 100, "{kind:?}: {account:?}");
    let bounds = 0..=lost.cast_signed();
    assert!(bounds.contains(&uncounted), "{kind:?}: {account:?}, {lost} may be lost");
    account
}

fn real(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

// Defects: Z34, Z34b, X4
#[test]
fn a_worker_that_is_killed_comes_back_and_what_died_with_it_is_bounded() {
    real(async {
        for kind in BOTH {
            let cluster = Cluster::new(kind).await;
            let mut all = cluster.start().await;
            let flow = Flow::to_alpha(&all, ms(2));
            const KILLS: u64 = 3;
            for _ in 0..KILLS {
                tokio::time::sleep(ms(500)).await;
                let at = now();
                all.one.take().unwrap().kill();
                let one = cluster.process("w1");
                cluster.born("alpha", one.pid(), at).await;
                assert_eq!(all.watch.reach("alpha").await, one.pid());
                all.one = Some(one);
            }
            let sent = flow.end(&cluster).await;
            // A dead process counts nothing of what was in its mailbox and in hand.
            settle(&cluster, all, &sent, 0, KILLS * (MAILBOX + 1)).await;
            let lines = cluster.lines();
            assert_one_at_a_time(&lines, &NAMES, &[]);
            assert_eq!(lives(&lines, "alpha").len() as u64, KILLS + 1);
            for name in ["home", "beta", "slow"] {
                assert_eq!(lives(&lines, name).len(), 1, "{kind:?}: {name} is not concerned");
            }
        }
    });
}

#[test]
fn a_tree_that_is_killed_is_followed_by_one_that_finds_nothing_alive() {
    real(async {
        for cluster in [
            Cluster::with_forwarder_in_tree(),
            Cluster::new(Kind::Zmq).await,
            Cluster::new(Kind::Nats).await,
        ] {
            let mut all = cluster.start().await;
            for _ in 0..2 {
                let at = now();
                all.tree.take().unwrap().kill();
                let tree = cluster.process("main");
                let [one, two] =
                    [&all.one, &all.two].map(|process| process.as_ref().unwrap().pid());
                for (name, pid) in
                    [("alpha", one), ("beta", two), ("slow", two), ("home", tree.pid())]
                {
                    cluster.born(name, pid, at).await;
                    assert_eq!(all.watch.reach(name).await, pid);
                }
                all.tree = Some(tree);
            }
            all.end().await;
            let lines = cluster.lines();
            assert_one_at_a_time(&lines, &NAMES, &[]);
            for name in NAMES {
                assert_eq!(lives(&lines, name).len(), 3, "{:?}: {name}", cluster.kind);
            }
        }
    });
}

#[test]
fn a_worker_that_sleeps_longer_than_its_lease_wakes_up_to_nothing() {
    real(async {
        for kind in BOTH {
            let mut cluster = Cluster::new(kind).await;
            // It always has something in hand and something waiting when it is stopped.
            cluster.micros = 2000;
            let all = cluster.start().await;
            let one = all.one.as_ref().unwrap();
            let flow = Flow::to_alpha(&all, ms(1));
            for _ in 0..2 {
                tokio::time::sleep(ms(700)).await;
                one.signal("-STOP");
                // sleeps: that is the fault
                tokio::time::sleep(LEASE * 2).await;
                let at = now();
                one.signal("-CONT");
                cluster.born("alpha", one.pid(), at).await;
            }
            let (pid, sent) = (one.pid(), flow.end(&cluster).await);
            settle(&cluster, all, &sent, 0, 0).await;
            let lines = cluster.lines();
            assert_one_at_a_time(&lines, &NAMES, &[pid]);
            assert_eq!(lives(&lines, "alpha").len(), 3);
        }
    });
}

// Defects: Z34, X5
#[test]
fn a_worker_that_wakes_up_after_it_was_replaced_disturbs_nobody() {
    real(async {
        for kind in BOTH {
            let mut cluster = Cluster::new(kind).await;
            cluster.micros = 2000;
            let mut all = cluster.start().await;
            let old = all.one.take().unwrap();
            let flow = Flow::to_alpha(&all, ms(1));
            tokio::time::sleep(ms(700)).await;
            old.signal("-STOP");
            let at = now();
            let new = cluster.process("w1");
            cluster.born("alpha", new.pid(), at).await;
            assert_eq!(all.watch.reach("alpha").await, new.pid());
            let woken = now();
            old.signal("-CONT");
            // sleeps: nothing is to happen
            tokio::time::sleep(LEASE * 2).await;
            for name in NAMES {
                all.watch.reach(name).await;
            }
            assert_eq!(all.watch.ask("alpha").await.unwrap(), new.pid());
            let sent = flow.end(&cluster).await;
            let lines = cluster.lines();
            let did = |line: &&book::Line| line.pid == old.pid() && line.what == "did";
            assert_eq!(lines.iter().filter(did).filter(|line| line.at > woken).count(), 0);
            let pid = old.pid();
            old.end().await;
            all.one = Some(new);
            settle(&cluster, all, &sent, pid, MAILBOX + 1).await;
            let lines = cluster.lines();
            assert_one_at_a_time(&lines, &NAMES, &[pid]);
            assert_eq!(lives(&lines, "alpha").len(), 2, "the new one was not disturbed");
        }
    });
}

#[test]
fn a_cable_that_is_held_or_cut_is_survived_and_what_it_lost_is_counted() {
    let held = |holds_out, holds_in| State { holds_out, holds_in, is_cut: false };
    let cut = State { is_cut: true, ..State::default() };
    // Longer than the lease. What is held comes late, unless it is cut.
    let faults = [
        vec![held(true, true)],
        vec![held(true, false)],
        vec![held(false, true)],
        vec![held(true, true), cut],
    ];
    real(async {
        for kind in BOTH {
            let cluster = Cluster::new(kind).await;
            let (cables, at) = Cables::to(&cluster).await;
            let behind = cluster.file("behind", at);
            let all = All {
                tree: Some(cluster.process("main")),
                one: Some(process::Process::start("w1", &behind)),
                two: Some(cluster.process("w2")),
                watch: cluster::Watch::new(&cluster),
            };
            for name in NAMES {
                all.watch.reach(name).await;
            }
            let flow = Flow::to_alpha(&all, ms(3));
            let pid = all.one.as_ref().unwrap().pid();
            for fault in &faults {
                for state in fault {
                    cables.set(*state);
                    // sleeps: that is the fault
                    tokio::time::sleep(LEASE * 2).await;
                }
                let at = now();
                for name in ["home", "beta", "slow"] {
                    all.watch.reach(name).await;
                }
                cables.set(State::default());
                cluster.born("alpha", pid, at).await;
                assert_eq!(all.watch.reach("alpha").await, pid);
            }
            let sent = flow.end(&cluster).await;
            settle(&cluster, all, &sent, 0, 0).await;
            assert_one_at_a_time(&cluster.lines(), &NAMES, &[]);
        }
    });
}

// Defects: Z34, X5
#[test]
fn a_worker_that_is_cut_off_is_gone_before_its_replacement_has_its_names() {
    let held = State { holds_out: true, holds_in: true, is_cut: false };
    real(async {
        for kind in BOTH {
            let cluster = Cluster::new(kind).await;
            let (cables, at) = Cables::to(&cluster).await;
            let behind = cluster.file("behind", at);
            let mut all = All {
                tree: Some(cluster.process("main")),
                one: None,
                two: Some(cluster.process("w2")),
                watch: cluster::Watch::new(&cluster),
            };
            let old = process::Process::start("w1", &behind);
            for name in NAMES {
                all.watch.reach(name).await;
            }
            let flow = Flow::to_alpha(&all, ms(2));
            tokio::time::sleep(ms(500)).await;
            let (at, pid) = (now(), old.pid());
            cables.set(held);
            // It runs on for its lease, and nobody can tell it otherwise.
            let new = cluster.process("w1");
            cluster.born("alpha", new.pid(), at).await;
            assert_eq!(all.watch.reach("alpha").await, new.pid());
            assert_one_at_a_time(&cluster.lines(), &NAMES, &[]);
            let lives = lives(&cluster.lines(), "alpha");
            assert!(lives[0].gone.unwrap() > at, "it lived on for a while: {lives:?}");
            // And what it still has to say comes late.
            cables.set(State::default());
            // sleeps: nothing is to happen
            tokio::time::sleep(LEASE * 2).await;
            assert_eq!(all.watch.ask("alpha").await.unwrap(), new.pid());
            let sent = flow.end(&cluster).await;
            old.end().await;
            all.one = Some(new);
            settle(&cluster, all, &sent, pid, MAILBOX + 1).await;
            let lines = cluster.lines();
            assert_one_at_a_time(&lines, &NAMES, &[]);
            assert_eq!(book::lives(&lines, "alpha").len(), 2, "the new one was not disturbed");
        }
    });
}

// Defects: Z34, Z34b
#[test]
fn workers_are_replaced_one_after_the_other_and_every_name_stays() {
    real(async {
        for kind in BOTH {
            let cluster = Cluster::new(kind).await;
            let mut all = cluster.start().await;
            let flow = Flow::to_alpha(&all, ms(2));
            for _ in 0..3 {
                let at = now();
                all.one.take().unwrap().end().await;
                let one = cluster.process("w1");
                cluster.born("alpha", one.pid(), at).await;
                assert_eq!(all.watch.reach("alpha").await, one.pid());
                all.one = Some(one);
                all.two.take().unwrap().end().await;
                let two = cluster.process("w2");
                for name in ["beta", "slow"] {
                    cluster.born(name, two.pid(), at).await;
                    assert_eq!(all.watch.reach(name).await, two.pid());
                }
                all.two = Some(two);
            }
            let sent = flow.end(&cluster).await;
            // Nothing dies in mailboxes: who ends in order counts what it has not handled.
            settle(&cluster, all, &sent, 0, 0).await;
            let lines = cluster.lines();
            assert_one_at_a_time(&lines, &NAMES, &[]);
            for (name, expected) in [("home", 1), ("alpha", 4), ("beta", 4), ("slow", 4)] {
                assert_eq!(lives(&lines, name).len(), expected, "{kind:?}: {name}");
            }
        }
    });
}

#[test]
fn a_broker_that_dies_costs_no_more_than_what_was_in_it() {
    real(async {
        for kind in BOTH {
            let mut cluster = Cluster::new(kind).await;
            let all = cluster.start().await;
            let flow = Flow::to_alpha(&all, ms(2));
            for (length, forget) in [(ms(100), false), (LEASE * 2, true), (ms(100), true)] {
                tokio::time::sleep(ms(700)).await;
                let forget = forget && kind == Kind::Nats;
                cluster.broker_dies(length, forget).await;
                // A question to alpha that comes too early would count as undelivered.
                for name in ["home", "beta", "slow"] {
                    all.watch.reach(name).await;
                }
            }
            let sent = flow.end(&cluster).await;
            settle(&cluster, all, &sent, 0, 0).await;
            assert_one_at_a_time(&cluster.lines(), &NAMES, &[]);
        }
    });
}

// Defects: Z20, Z54
#[test]
fn a_slow_agent_slows_down_its_senders_and_nobody_else() {
    real(async {
        for kind in BOTH {
            let cluster = Cluster::new(kind).await;
            let all = cluster.start().await;
            let goes_on = Arc::new(AtomicBool::new(true));
            // 20 ms each, and three send as fast as they can: it is at its limit within a second.
            // Two of them are patient; of the third some are refused, here or over there.
            let pumps = [(1, secs(60)), (1_000_000, secs(60)), (2_000_000, ms(300))].map(
                |(from, patience)| {
                    all.watch.pump("slow", from, [Duration::ZERO, patience], &goes_on)
                },
            );
            // Its neighbour in the same process.
            let mut slowest = Duration::ZERO;
            let began = Instant::now();
            while began.elapsed() < secs(6) {
                let asked = Instant::now();
                all.watch.ask("beta").await.unwrap();
                slowest = slowest.max(asked.elapsed());
                tokio::time::sleep(ms(20)).await;
            }
            goes_on.store(false, Ordering::Relaxed);
            let mut sent = Sent::default();
            for pump in pumps {
                let one = pump.await.unwrap();
                sent.sent.extend(one.sent);
                for (kind, count) in one.refused {
                    *sent.refused.entry(kind).or_default() += count;
                }
            }
            assert!(slowest < secs(1), "{kind:?}: {slowest:?}");
            assert!(!sent.sent.is_empty());
            let account = |lines: &[book::Line]| Account::of(lines, "slow", &sent.sent, 0);
            let done = |lines: &[book::Line]| account(lines).uncounted() == 0;
            cluster.until("is everything handled or counted", done).await;
            all.end().await;
            let lines = cluster.lines();
            let account = account(&lines);
            println!("{kind:?}: {account:?}, refused {:?}, slowest {slowest:?}", sent.refused);
            assert_eq!(account.uncounted(), 0, "{kind:?}");
            assert!(account.counted > 0, "{kind:?}: {account:?}");
            // Whoever was patient enough was not disappointed.
            let handled = book::handled(&lines, "slow");
            let patient = sent.sent.iter().filter(|number| **number < 2_000_000);
            let unheard: Vec<_> = patient.filter(|number| !handled.contains_key(number)).collect();
            assert!(unheard.is_empty(), "{kind:?}: {unheard:?}");
        }
    });
}

/// What the books can say is what they are judged by: a judge that finds no fault is no judge.
#[test]
fn the_judge_finds_two_at_a_time_and_a_message_twice() {
    let folder = folder::Folder::new();
    let line = |at: u64, pid: u32, what: &str, life: u64, number: u64| {
        format!("{at} {pid} {what} alpha {life} {number}\n")
    };
    let judged = |lines: &[String], stopped: &[u32]| {
        std::fs::write(folder.0.join("1.book"), lines.concat()).unwrap();
        let lines = book::read(&folder.0);
        std::panic::catch_unwind(|| {
            assert_one_at_a_time(&lines, &["alpha"], stopped);
            let sent = [1, 2, 3].into_iter().collect();
            Account::of(&lines, "alpha", &sent, 0).uncounted()
        })
    };
    let good = [line(1, 1, "born", 1, 0), line(2, 1, "did", 1, 1), line(3, 1, "gone", 1, 0)];
    let next = [line(4, 2, "born", 1, 0), line(5, 2, "did", 1, 2)];
    assert_eq!(judged(&[&good[..], &next[..]].concat(), &[]).unwrap(), 1);
    let again = line(6, 2, "did", 1, 1);
    assert!(judged(&[&good[..], &next[..], &[again]].concat(), &[]).is_err());
    let early = [line(2, 2, "born", 1, 0)];
    assert!(judged(&[&good[..], &early[..]].concat(), &[]).is_err());
    assert!(judged(&[&good[..1], &next[..], &good[2..]].concat(), &[1]).is_ok());
    let late = line(9, 1, "did", 1, 3);
    assert!(judged(&[&good[..2], &next[..], &[late]].concat(), &[1]).is_err());
    let refused = line(6, 2, "did", 1, 9);
    assert!(judged(&[&good[..], &next[..], &[refused]].concat(), &[]).is_err());
}

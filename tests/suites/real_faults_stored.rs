//! At least once, over real processes: numbered messages through a stream, while workers, the tree
//! and the server are killed, and a worker sleeps longer than its lease.
//!
//! All arrive. Twice comes only what may: what its sender could not have confirmed and sent again,
//! and what was handled by an incarnation that ended before the server knew, at a fault.
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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use book::{Line, assert_one_at_a_time, now};
use cluster::{All, Cluster, LEASE, Later, kind_of};
use lictor::SendOptions;
use lictor::prelude::*;

/// Who gets messages: one on each process.
const NAMES: [&str; 3] = ["home", "alpha", "beta"];

/// Tasks that send to one name.
const SENDERS: u64 = 16;

/// How long an acknowledgement may be on its way, on a busy machine.
const ON_THE_WAY: u64 = 3_000_000_000;

fn messages() -> u64 {
    std::env::var("LICTOR_MESSAGES").map_or(20_000, |text| text.parse().unwrap())
}

/// What the senders know.
#[derive(Default)]
struct Senders {
    /// Messages that are stored.
    sent: AtomicU64,
    /// Those that were sent again, since nobody had said whether they are stored.
    doubtful: std::sync::Mutex<BTreeSet<u64>>,
    refused: std::sync::Mutex<BTreeMap<&'static str, u64>>,
}

/// Sends each of these numbers until it is stored.
async fn send(to: Later, numbers: Vec<u64>, senders: Arc<Senders>) {
    for number in numbers {
        while let Err(error) = to.send(number, SendOptions::new().timeout(secs(10))).await {
            let kind = kind_of(&error);
            *senders.refused.lock().unwrap().entry(kind).or_default() += 1;
            if kind == "unconfirmed" {
                senders.doubtful.lock().unwrap().insert(number);
            }
            tokio::time::sleep(ms(50)).await;
        }
        senders.sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// The slow one gets a tenth of all.
fn to_whom(number: u64) -> &'static str {
    match number % 10 {
        0 => "alpha",
        1..5 => "home",
        _ => "beta",
    }
}

/// Waits until so many are stored.
async fn until_sent(senders: &Senders, count: u64) {
    let began = Instant::now();
    while senders.sent.load(Ordering::Relaxed) < count {
        assert!(
            began.elapsed() < secs(600),
            "{} of {count} stored",
            senders.sent.load(Ordering::Relaxed)
        );
        tokio::time::sleep(ms(20)).await;
    }
}

/// One of the faults; the process that slept in it.
async fn strike(fault: u64, cluster: &mut Cluster, all: &mut All) -> Option<u32> {
    match fault {
        0 | 5 => {
            all.one.take().unwrap().kill();
            all.one = Some(cluster.process("w1"));
        }
        2 => {
            all.two.take().unwrap().kill();
            all.two = Some(cluster.process("w2"));
        }
        4 => {
            all.tree.take().unwrap().kill();
            all.tree = Some(cluster.process("main"));
        }
        6 => {
            let one = all.one.as_ref().unwrap();
            one.signal("-STOP");
            // sleeps: that is the fault
            tokio::time::sleep(LEASE * 2).await;
            one.signal("-CONT");
            return Some(one.pid());
        }
        _ => cluster.broker_dies(ms(300) * u32::try_from(fault).unwrap(), false).await,
    }
    None
}

// Defects: N7, N2, N-pub
#[test]
fn everything_arrives_through_all_faults_and_twice_only_what_may() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(async {
        let (count, began) = (messages(), Instant::now());
        let mut cluster = Cluster::stored().await;
        // It falls behind, so that whatever kills it finds its mailbox full.
        cluster.micros = 3000;
        let mut all = cluster.start().await;
        let senders = Arc::new(Senders::default());
        let mut tasks = Vec::new();
        for name in NAMES {
            for sender in 0..SENDERS {
                let is_mine = |n: &u64| to_whom(*n) == name && n / 10 % SENDERS == sender;
                let mine = (0..count).filter(is_mine);
                let to = Later(all.watch.runtime.clone(), name.to_owned());
                tasks.push(tokio::spawn(send(to, mine.collect(), Arc::clone(&senders))));
            }
        }
        let mut faults = Vec::new();
        let mut stopped = Vec::new();
        for fault in 0..8 {
            until_sent(&senders, count * (fault + 1) / 10).await;
            let from = now();
            stopped.extend(strike(fault, &mut cluster, &mut all).await);
            faults.push((from, now()));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let stored = began.elapsed();
        let all_handled = |lines: &[Line]| {
            let did = lines.iter().filter(|line| line.what == "did");
            did.map(|line| line.number).collect::<BTreeSet<_>>().len() as u64 == count
        };
        let waiting = Instant::now();
        while !all_handled(&cluster.lines()) {
            assert!(waiting.elapsed() < secs(300), "not all arrive: {:?}", cluster.folder.0);
            tokio::time::sleep(ms(500)).await;
        }
        let handled = began.elapsed();
        // Whatever else is to come again has come after so long.
        tokio::time::sleep(secs(5)).await;
        all.end().await;
        let lines = cluster.lines();
        let refused = senders.refused.lock().unwrap().clone();
        let doubtful = senders.doubtful.lock().unwrap().clone();
        let again = judge(&lines, &doubtful, &faults);
        println!(
            "{count} messages stored in {stored:?}, handled in {handled:?}; {again} came again, \
             {} of them in doubt; refused {refused:?}",
            doubtful.len()
        );
        assert_one_at_a_time(&lines, &NAMES, &stopped);
        let dead = lines.iter().filter(|line| line.what == "dead").count();
        println!("{dead} lines of dead letters: what was given back to the stream");
    });
}

/// How many came again; each for a reason.
fn judge(lines: &[Line], doubtful: &BTreeSet<u64>, faults: &[(u64, u64)]) -> u64 {
    let mut first: BTreeMap<u64, &Line> = BTreeMap::new();
    let mut again = 0;
    for line in lines.iter().filter(|line| line.what == "did") {
        let Some(before) = first.get(&line.number).copied() else {
            first.insert(line.number, line);
            continue;
        };
        again += 1;
        if doubtful.contains(&line.number) {
            continue;
        }
        assert_eq!(before.name, line.name);
        assert_ne!(
            (before.pid, before.life),
            (line.pid, line.life),
            "{} came twice to one incarnation: {before:?}, {line:?}",
            line.number
        );
        let near = |(from, to): &(u64, u64)| {
            before.at + ON_THE_WAY > *from && before.at < *to + ON_THE_WAY
        };
        assert!(faults.iter().any(near), "{before:?} came again without a fault: {line:?}");
    }
    // Of each fault what was handled and not yet known to be: a few, and never a mailbox full.
    let most = u64::try_from(faults.len()).unwrap() * 100 + u64::try_from(doubtful.len()).unwrap();
    assert!(again <= most, "{again} came again");
    again
}

// A store that is lost is made again: what was in it is lost, and service goes on.
#[test]
fn a_store_that_is_lost_is_made_again_and_service_goes_on() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(async {
        let mut cluster = Cluster::stored().await;
        let all = cluster.start().await;
        let senders = Arc::new(Senders::default());
        let to = || Later(all.watch.runtime.clone(), "alpha".to_owned());
        send(to(), (0..500).collect(), Arc::clone(&senders)).await;
        cluster.broker_dies(Duration::from_millis(500), true).await;
        send(to(), (1000..1500).collect(), Arc::clone(&senders)).await;
        let after = |lines: &[Line]| {
            let handled = book::handled(lines, "alpha");
            (1000..1500).all(|number| handled.contains_key(&number))
        };
        cluster.until("is all handled that was sent since", after).await;
        all.end().await;
        assert_one_at_a_time(&cluster.lines(), &NAMES, &[]);
    });
}

//! How our own costs grow: one process for each size, 1k to 1 M, one plot of all.
//!
//! `children` is one supervisor with N agents: start, crash of one in a hundred, stop. `names` are
//! look-ups among N names. `calls` are questions while N others wait for their answers. `agents` is
//! a message to each of N agents in turn. Each is microseconds of the processor for one operation;
//! a line that stays level is a cost that does not grow.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor::prelude::*;
use tokio::runtime::Builder;

use crate::measure::{Took, Watch, peak};
use crate::peer::{Peer, name};
use crate::peers::lictor::{Counter, Lictor};
use crate::plot;

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const SUBJECTS: [&str; 4] = ["children", "names", "calls", "agents"];

/// Measures one point in this process and prints its rows: what, size, microseconds, peak bytes.
pub fn point(subject: &str, size: &str) -> Result<(), String> {
    let size: usize = size.parse().map_err(|error| format!("{size}: {error}"))?;
    std::panic::set_hook(Box::new(|_| {}));
    let tokio = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.map_err(|error| error.to_string())?;
    let rows = match subject {
        "children" => tokio.block_on(tokio.spawn(children(size))),
        "names" => tokio.block_on(tokio.spawn(names(size))),
        "calls" => tokio.block_on(tokio.spawn(calls(size))),
        "agents" => tokio.block_on(tokio.spawn(agents(size))),
        _ => return Err(format!("no such subject: {subject}")),
    };
    for (what, took, count) in rows.map_err(|error| error.to_string())? {
        println!("{what},{size},{:.3},{}", took.cpu / count as f64 / 1e3, peak());
    }
    Ok(())
}

type Rows = Vec<(&'static str, Took, usize)>;

async fn children(size: usize) -> Rows {
    let watch = Watch::start();
    let (tree, counters) = Lictor::start(size, true).await;
    let started = watch.took();
    let crashes: Vec<_> = counters.iter().step_by(100).collect();
    let watch = Watch::start();
    for counter in &crashes {
        Lictor::panic(counter).await;
    }
    for counter in &crashes {
        assert_eq!(Lictor::get(counter).await, 0, "the next incarnation answers");
    }
    let crashed = watch.took();
    let count = crashes.len();
    let watch = Watch::start();
    Lictor::stop(tree, counters).await;
    let stopped = watch.took();
    vec![("start", started, size), ("crash", crashed, count), ("stop", stopped, size)]
}

/// How many operations are measured where the size is not their number.
const OPERATIONS: usize = 200_000;

async fn names(size: usize) -> Rows {
    let (tree, counters) = Lictor::start(size, true).await;
    let names: Vec<String> = (0..size).map(name).collect();
    let watch = Watch::start();
    let mut at = 0;
    for _ in 0..OPERATIONS {
        at = (at + 61_803) % size;
        assert!(Lictor::lookup(&tree, &names[at]).is_some());
    }
    let took = watch.took();
    Lictor::stop(tree, counters).await;
    vec![("look-up", took, OPERATIONS)]
}

/// An agent that keeps questions and never answers them.
#[derive(Default)]
struct Keeper(Vec<ReplyTo<u64>>);

messages! { enum KeeperMessage { Keep -> u64 } }

impl Agent for Keeper {
    type Message = KeeperMessage;

    async fn handle(&mut self, message: KeeperMessage, _: &mut Context<Self>) -> Handled {
        let KeeperMessage::Keep(Keep, reply) = message;
        self.0.push(reply);
        Ok(())
    }
}

async fn calls(size: usize) -> Rows {
    let runtime = Runtime::current().expect("inside tokio");
    let root = Supervisor::one_for_one("root")
        .child("keeper", Keeper::default)
        .child("counter", Counter::default);
    let tree = root.start(&runtime).await.expect("a good tree");
    let keeper: AgentRef<Keeper> = tree.agent("keeper").expect("it is there");
    let counter: AgentRef<Counter> = tree.agent("counter").expect("it is there");
    let mut pending = Vec::with_capacity(size);
    let asked = Arc::new(tokio::sync::Semaphore::new(0));
    let watch = Watch::start();
    for at in 0..size {
        let (keeper, asked) = (keeper.clone(), Arc::clone(&asked));
        pending.push(tokio::spawn(async move {
            asked.add_permits(1);
            // Time-outs of many lengths: the deadlines are in no order.
            let timeout = Duration::from_secs(600 + at as u64 * 7919 % 1000);
            keeper.ask(Keep, timeout).await
        }));
    }
    let all = u32::try_from(size).expect("no more than a million");
    drop(asked.acquire_many(all).await.expect("it is open"));
    let waiting = watch.took();
    let watch = Watch::start();
    for _ in 0..OPERATIONS {
        Lictor::get(&counter).await;
    }
    let took = watch.took();
    tree.stop().await;
    for call in pending {
        assert!(call.await.expect("it does not panic").is_err(), "the keeper has stopped");
    }
    vec![("ask, kept waiting", waiting, size), ("ask beside them", took, OPERATIONS)]
}

async fn agents(size: usize) -> Rows {
    let (tree, counters) = Lictor::start(size, true).await;
    let rounds = (OPERATIONS / size).max(1);
    let watch = Watch::start();
    for _ in 0..rounds {
        for counter in &counters {
            Lictor::tell(counter, 1).await;
        }
    }
    for counter in &counters {
        assert_eq!(Lictor::get(counter).await, rounds as u64);
    }
    let took = watch.took();
    Lictor::stop(tree, counters).await;
    vec![("tell and ask in turn", took, (rounds + 1) * size)]
}

/// All points: a table, the raw rows as CSV, and a plot.
pub fn all(words: &[&str]) -> Result<(), String> {
    let [folder, rest @ ..] = words else { return Err(crate::USAGE.to_owned()) };
    let sizes = if rest == ["--quick"] { &SIZES[..3] } else { &SIZES[..] };
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut csv = "operation,size,cpu_us,peak_bytes\n".to_owned();
    for subject in SUBJECTS {
        for size in sizes {
            let begin = Instant::now();
            let mut command = Command::new(&this);
            command.args(["scale-point", subject, &size.to_string()]);
            let output = command.output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{subject} {size}: {error}"));
            }
            csv.push_str(&String::from_utf8_lossy(&output.stdout));
            eprintln!("{subject} {size}: {:.1} s", begin.elapsed().as_secs_f64());
        }
    }
    let write = |name: &str, text: &str| {
        let path = format!("{folder}/{name}");
        std::fs::write(&path, text).map_err(|error| format!("{path}: {error}"))
    };
    write("scale.csv", &csv)?;
    write("scale.svg", &plot::svg(&csv)?)?;
    print!("{csv}");
    Ok(())
}

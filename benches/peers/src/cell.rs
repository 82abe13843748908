//! One cell of the table: one crate, one workload, one host, in this process alone.
//!
//! Every crate runs the same loops; they are written once, against [`Peer`], and compiled for each.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::measure::{Took, Watch, own_peak, peak, percentiles, resident};
use crate::peer::{Crash, Peer, name};
use crate::peers;

/// What a cell has found out.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub struct Row {
    pub peer: String,
    pub workload: String,
    pub host: String,
    /// How many operations the figures are means of.
    pub count: u64,
    /// Operations in a second of the wall.
    pub rate: Option<f64>,
    /// Nanoseconds of the processor, all threads, for each operation.
    pub cpu_ns: Option<f64>,
    /// Microseconds: the median and the 99th percentile.
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Bytes of resident memory for each agent.
    pub bytes: Option<f64>,
    /// The most memory that was ever resident, in bytes.
    pub peak: u64,
    /// Of that, what is not of a file.
    #[serde(default)]
    pub own: Option<u64>,
}

impl Row {
    fn rated(self, count: usize, took: Took) -> Self {
        let operations = count as f64;
        Self {
            count: count as u64,
            rate: Some(operations / took.wall * 1e9),
            cpu_ns: Some(took.cpu / operations),
            ..self
        }
    }
}

pub const PEERS: [&str; 7] = ["lictor", "raw", "raw64", "ractor", "kameo", "actix", "coerce"];

/// A workload, and how many operations make a cell of it (a full one, a quick one).
pub const WORKLOADS: [(&str, usize, usize); 13] = [
    ("tell", 2_000_000, 2_000_000),
    ("many", 2_000_000, 500_000),
    ("ask", 500_000, 100_000),
    ("ask64", 1_000_000, 200_000),
    ("named", 1_000_000, 200_000),
    ("start", 100_000, 20_000),
    ("stop", 100_000, 20_000),
    ("stopnamed", 100_000, 20_000),
    ("idle", 100_000, 20_000),
    ("panic", 5_000, 1_000),
    ("error", 5_000, 1_000),
    ("busy", 1, 1),
    ("broadcast", 100, 20),
];

/// Prints one row, or nothing where the crate cannot do the workload.
pub fn main(peer: &str, workload: &str, host: &str, count: &str) -> Result<(), String> {
    let count: usize = count.parse().map_err(|error| format!("{count}: {error}"))?;
    // Cells that crash by the thousand would only measure the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    let mut row = match peer {
        "lictor" => on_tokio::<peers::lictor::Lictor>(workload, host, count),
        "raw" => on_tokio::<peers::raw::Raw>(workload, host, count),
        "raw64" => on_tokio::<peers::raw::Raw64>(workload, host, count),
        "ractor" => on_tokio::<peers::ractor::Ractor>(workload, host, count),
        "kameo" => on_tokio::<peers::kameo::Kameo>(workload, host, count),
        "coerce" => on_tokio::<peers::coerce::Coerce>(workload, host, count),
        "actix" => {
            let cell = measure::<peers::actix::Actix>(workload, count);
            peers::actix::block_on(host == "mt", cell)
        }
        _ => return Err(format!("no such peer: {peer}")),
    };
    row = row.filter(|_| applies(peer, workload));
    if let Some(row) = row {
        let of = |text: &str| text.to_owned();
        let (peer, workload, host) = (of(peer), of(workload), of(host));
        let row = Row { peer, workload, host, peak: peak(), own: Some(own_peak()), ..row };
        println!("{}", serde_json::to_string(&row).map_err(|error| error.to_string())?);
    }
    Ok(())
}

/// Whether the crate has what the row is about; otherwise it would be compared with nothing.
fn applies(peer: &str, workload: &str) -> bool {
    match workload {
        "named" => !matches!(peer, "actix" | "coerce"),
        "stopnamed" => peer != "actix",
        _ => true,
    }
}

fn on_tokio<P: Peer>(workload: &str, host: &str, count: usize) -> Option<Row> {
    let mut builder = match host {
        "mt" => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(2);
            builder
        }
        _ => Builder::new_current_thread(),
    };
    let tokio = builder.enable_all().build().expect("a runtime");
    // The driver loop is a task as any other: tokio wakes what it blocks on by a system call.
    let workload = workload.to_owned();
    let cell = tokio.spawn(async move { boxed::<P>(workload, count).await });
    tokio.block_on(cell).expect("it does not panic")
}

fn boxed<P: Peer>(
    workload: String,
    count: usize,
) -> std::pin::Pin<Box<dyn Future<Output = Option<Row>> + Send>> {
    Box::pin(async move { measure::<P>(&workload, count).await })
}

async fn measure<P: Peer>(workload: &str, count: usize) -> Option<Row> {
    match workload {
        "tell" => Some(tell::<P>(count).await),
        "many" => Some(many::<P>(count).await),
        "ask" => Some(ask::<P>(count).await),
        "ask64" => Some(ask64::<P>(count).await),
        "named" => named::<P>(count).await,
        "start" => Some(start_stop::<P>(count, false).await.0),
        "stop" => Some(start_stop::<P>(count, false).await.1),
        "stopnamed" => Some(start_stop::<P>(count, true).await.1),
        "idle" => Some(idle::<P>(count).await),
        "panic" => restart::<P>(count, Crash::Panic).await,
        "error" => restart::<P>(count, Crash::Error).await,
        "busy" => busy::<P>().await,
        "broadcast" => Some(broadcast::<P>(count).await),
        _ => None,
    }
}

/// One producer, one counter: until the last message was handled.
async fn tell<P: Peer>(count: usize) -> Row {
    let (world, counters) = P::start(1, false).await;
    let counter = &counters[0];
    for _ in 0..count / 100 {
        P::tell(counter, 0).await;
    }
    P::get(counter).await;
    let watch = Watch::start();
    for _ in 0..count {
        P::tell(counter, 1).await;
    }
    assert_eq!(P::get(counter).await, count as u64);
    let row = Row::default().rated(count, watch.took());
    P::stop(world, counters).await;
    row
}

/// Two producers, eight counters in turn.
async fn many<P: Peer>(count: usize) -> Row {
    const COUNTERS: usize = 8;
    let each = count / 2 / COUNTERS;
    let (world, counters) = P::start(COUNTERS, false).await;
    let watch = Watch::start();
    let producers = [(); 2].map(|()| {
        let counters = counters.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                for counter in &counters {
                    P::tell(counter, 1).await;
                }
            }
        })
    });
    for producer in producers {
        producer.await.expect("it does not panic");
    }
    for counter in &counters {
        assert_eq!(P::get(counter).await, 2 * each as u64);
    }
    let row = Row::default().rated(2 * each * COUNTERS, watch.took());
    P::stop(world, counters).await;
    row
}

async fn ask<P: Peer>(count: usize) -> Row {
    let (world, counters) = P::start(1, false).await;
    for _ in 0..count / 100 {
        P::get(&counters[0]).await;
    }
    let watch = Watch::start();
    for _ in 0..count {
        P::get(&counters[0]).await;
    }
    let row = Row::default().rated(count, watch.took());
    P::stop(world, counters).await;
    row
}

/// 64 askers, each with one question in flight.
async fn ask64<P: Peer>(count: usize) -> Row {
    const ASKERS: usize = 64;
    let (world, counters) = P::start(1, false).await;
    let watch = Watch::start();
    let askers: Vec<_> = (0..ASKERS)
        .map(|_| {
            let counter = counters[0].clone();
            tokio::spawn(async move {
                for _ in 0..count / ASKERS {
                    P::get(&counter).await;
                }
            })
        })
        .collect();
    for asker in askers {
        asker.await.expect("it does not panic");
    }
    let row = Row::default().rated(count / ASKERS * ASKERS, watch.took());
    P::stop(world, counters).await;
    row
}

/// The look-up of a name among 100,000, and the message to whom it stands for.
///
/// The names come in an order that no cache foresees. The wall is that of the sender, since that is
/// what a look-up holds up; the processor's time has all that the messages cause.
async fn named<P: Peer>(count: usize) -> Option<Row> {
    const NAMES: usize = 100_000;
    let (world, counters) = P::start(NAMES, true).await;
    P::lookup(&world, &name(0))?;
    let names: Vec<String> = (0..NAMES).map(name).collect();
    let watch = Watch::start();
    let mut at = 0;
    for _ in 0..count {
        // Coprime to their number, so that all come in turn.
        at = (at + 61_803) % NAMES;
        let counter = P::lookup(&world, &names[at]).expect("it is there");
        P::tell(&counter, 1).await;
    }
    let sent = watch.took();
    for counter in &counters {
        P::get(counter).await;
    }
    let mut row = Row::default().rated(count, watch.took());
    row.rate = Some(count as f64 / sent.wall * 1e9);
    P::stop(world, counters).await;
    Some(row)
}

/// Supervised counters up, and down again.
async fn start_stop<P: Peer>(count: usize, named: bool) -> (Row, Row) {
    let (world, counters) = P::start(100, false).await;
    P::stop(world, counters).await;
    let watch = Watch::start();
    let (world, counters) = P::start(count, named).await;
    let started = Row::default().rated(count, watch.took());
    let watch = Watch::start();
    P::stop(world, counters).await;
    (started, Row::default().rated(count, watch.took()))
}

/// What one supervised counter that has nothing to do keeps of memory.
async fn idle<P: Peer>(count: usize) -> Row {
    let warm = P::start(1, false).await;
    let before = resident();
    let (world, counters) = P::start(count, false).await;
    let grown = resident().saturating_sub(before);
    let bytes = Some(grown as f64 / count as f64);
    P::stop(world, counters).await;
    P::stop(warm.0, warm.1).await;
    Row { bytes, count: count as u64, ..Row::default() }
}

/// From the message that fails to the answer of the next incarnation.
async fn restart<P: Peer>(count: usize, how: Crash) -> Option<Row> {
    let (mut world, mut counters) = P::start(1, false).await;
    let mut samples = Vec::with_capacity(count);
    for _ in 0..100 {
        P::crash(&mut world, &mut counters[0], how).await?;
    }
    let watch = Watch::start();
    for _ in 0..count {
        let begin = Instant::now();
        P::crash(&mut world, &mut counters[0], how).await?;
        samples.push(micros(begin.elapsed()));
    }
    let row = Row::default().rated(count, watch.took());
    let (p50, p99) = percentiles(samples);
    P::stop(world, counters).await;
    Some(Row { p50_us: Some(p50), p99_us: Some(p99), ..row })
}

async fn busy<P: Peer>() -> Option<Row> {
    let (mut world, mut counters) = P::start(1, false).await;
    P::crash(&mut world, &mut counters[0], Crash::Panic).await?;
    let took = P::crash_under_load(&mut world, &mut counters[0]).await?;
    Some(Row { p50_us: Some(micros(took)), count: 1, ..Row::default() })
}

/// Rounds of one message to each of 10,000, until all were handled.
async fn broadcast<P: Peer>(rounds: usize) -> Row {
    const COUNTERS: usize = 10_000;
    let (world, counters) = P::start(COUNTERS, true).await;
    P::broadcast(&world, &counters).await;
    let watch = Watch::start();
    let mut sent = 0;
    for _ in 0..rounds {
        sent += P::broadcast(&world, &counters).await;
        // What was sent is handled before the next round: no mailbox is ever full.
        let last = counters.last().expect("there are some");
        P::get(last).await;
    }
    for counter in &counters {
        assert_eq!(P::get(counter).await, rounds as u64 + 1);
    }
    assert_eq!(sent, rounds * COUNTERS);
    let row = Row::default().rated(sent, watch.took());
    P::stop(world, counters).await;
    row
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

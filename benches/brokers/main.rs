//! One role of one measurement with brokers, in a process of its own. `run` beside this file drives
//! it, and the same roles of the foreign clients; nobody else needs to.
//!
//! ```text
//! brokers forward PUB SUB               our forwarder
//! brokers hear LEVEL PLACE... COUNT     takes COUNT messages, says when the first and last came
//! brokers speak LEVEL PLACE... COUNT    sends them
//! brokers echo LEVEL PLACE...           answers
//! brokers ask LEVEL PLACE... COUNT FLIGHT   asks, so many at a time
//! brokers serve PLACE...                an agent for civitas runtimes
//! brokers call PLACE... COUNT           asks an agent of a civitas worker
//! ```
//! LEVEL is `raw` (async-nats alone), `broker` (our client alone) or `runtime` (agents on two
//! nodes); PLACE is `nats URL` or `zmq PUB SUB`. Each role prints "ready", then one line of JSON,
//! and ends with its input. CPU time is of the process between its first and its last message.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

mod broker;
mod civitas;
mod raw;
mod runtime;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lictor::broker::Broker;
use lictor_nats::{Nats, NatsConfig};
use lictor_zmq::{TokioNetwork, ZmqBroker, ZmqConfig, ZmqProxy};
use tokio::io::AsyncReadExt;

/// Bytes of a body.
const BODY: usize = 200;

/// Where the broker is.
#[derive(Clone, Debug)]
enum Place {
    Nats(String),
    Zmq(String, String),
}

impl Place {
    /// Takes itself off the arguments.
    fn of(arguments: &mut Vec<String>) -> Self {
        match arguments.remove(0).as_str() {
            "nats" => Self::Nats(arguments.remove(0)),
            "zmq" => Self::Zmq(arguments.remove(0), arguments.remove(0)),
            other => panic!("not a broker: {other}"),
        }
    }

    fn broker(&self) -> Arc<dyn Broker> {
        match self {
            Self::Nats(url) => Nats::new(NatsConfig::of([url.clone()])).unwrap(),
            Self::Zmq(..) => ZmqBroker::new(self.zmq()).unwrap(),
        }
    }

    fn zmq(&self) -> ZmqConfig {
        let Self::Zmq(pub_addr, sub_addr) = self else { panic!("not ZeroMQ") };
        let (pub_addr, sub_addr) = (pub_addr.parse().unwrap(), sub_addr.parse().unwrap());
        ZmqConfig { pub_addr, sub_addr, ..ZmqConfig::new() }
    }

    fn url(&self) -> &str {
        let Self::Nats(url) = self else { panic!("raw is NATS here") };
        url
    }
}

/// CPU time of this process, to 10 ms: user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// What a hearing role has seen.
#[derive(Default)]
struct Seen {
    first: Option<(Instant, Duration)>,
    count: u64,
}

impl Seen {
    /// One more; whether it was the last one.
    fn one(&mut self, wanted: u64) -> bool {
        if self.first.is_none() {
            self.first = Some((Instant::now(), cpu()));
        }
        self.count += 1;
        self.count == wanted
    }

    fn say(&self, last: Instant) {
        let (first, before) = self.first.unwrap();
        let (seconds, used) = ((last - first).as_secs_f64(), (cpu() - before).as_secs_f64());
        println!(r#"{{"count":{},"seconds":{seconds},"cpu":{used}}}"#, self.count);
    }
}

/// What comes, within two minutes: what a broker dropped never does.
async fn patient<T>(comes: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(120);
    tokio::time::timeout(limit, comes).await.expect("not all of them have come")
}

/// What a speaking role says of itself.
fn spoken(before: Duration) {
    println!(r#"{{"cpu":{}}}"#, (cpu() - before).as_secs_f64());
}

/// What an asking role says of itself.
fn asked(mut times: Vec<Duration>, took: Duration, before: Duration) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_nanos() as f64 / 1e3;
    println!(
        r#"{{"count":{},"seconds":{},"cpu":{},"p50":{},"p99":{}}}"#,
        times.len(),
        took.as_secs_f64(),
        (cpu() - before).as_secs_f64(),
        at(50),
        at(99),
    );
}

/// Asks so many times, so many at a time, after a few to warm up; each gives its time.
async fn keep_asking<F: Future<Output = Duration>>(count: u64, flight: u64, one: impl Fn() -> F) {
    for _ in 0..200 {
        one().await;
    }
    let (before, start) = (cpu(), Instant::now());
    let mut flying: FuturesUnordered<_> = (0..flight).map(|_| one()).collect();
    let (mut times, mut left) = (Vec::new(), count - flight);
    while let Some(time) = flying.next().await {
        times.push(time);
        if left > 0 {
            left -= 1;
            flying.push(one());
        }
    }
    asked(times, start.elapsed(), before);
    input_ends().await;
}

/// Until the one who drives has had enough.
async fn input_ends() {
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let role = arguments.remove(0);
    match role.as_str() {
        "forward" => {
            arguments.insert(0, "zmq".to_owned());
            let mut config = Place::of(&mut arguments).zmq().proxy_config().unwrap();
            // As libzmq's has no mark here: what is measured is how much comes, not what is lost.
            config.fanout.queue_bytes = 1 << 30;
            let proxy = ZmqProxy::bind(TokioNetwork, &config).await.unwrap();
            println!("ready");
            tokio::select! { () = proxy.run() => {} () = input_ends() => {} }
        }
        "serve" => civitas::serve(&Place::of(&mut arguments)).await,
        "call" => {
            let place = Place::of(&mut arguments);
            civitas::call(&place, arguments.remove(0).parse().unwrap()).await;
        }
        _ => {
            let level = arguments.remove(0);
            let place = Place::of(&mut arguments);
            let numbers: Vec<u64> = arguments.iter().map(|text| text.parse().unwrap()).collect();
            match (role.as_str(), level.as_str()) {
                ("hear", "raw") => raw::hear(&place, numbers[0]).await,
                ("speak", "raw") => raw::speak(&place, numbers[0]).await,
                ("echo", "raw") => raw::echo(&place).await,
                ("ask", "raw") => raw::ask(&place, numbers[0], numbers[1]).await,
                ("hear", "broker") => broker::hear(&place, numbers[0]).await,
                ("speak", "broker") => broker::speak(&place, numbers[0]).await,
                ("echo", "broker") => broker::echo(&place).await,
                ("ask", "broker") => broker::ask(&place, numbers[0], numbers[1]).await,
                ("hear", "runtime") => runtime::hear(&place, numbers[0]).await,
                ("speak", "runtime") => runtime::speak(&place, numbers[0]).await,
                ("echo", "runtime") => runtime::echo(&place).await,
                ("ask", "runtime") => runtime::ask(&place, numbers[0], numbers[1]).await,
                _ => panic!("no such role: {role} {level}"),
            }
        }
    }
}

//! Whole agents on tokio, beside the floor: a bare task behind a bounded channel, in the same run.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor::AgentTypes;
use lictor::prelude::*;
use tokio::runtime::{Builder, Runtime as Tokio};
use tokio::sync::{mpsc, oneshot};

#[derive(Default)]
struct Counter(u64);

messages! { enum CounterMessage { Add(u64), Get -> u64, Crash } }

impl Agent for Counter {
    type Message = CounterMessage;

    async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
            CounterMessage::Crash(Crash) => return Err("as you wish".into()),
        }
        Ok(())
    }
}

enum Raw {
    Add(u64),
    Get(oneshot::Sender<u64>),
}

fn hosts() -> [(&'static str, Tokio); 2] {
    let ct = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mt = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    [("ct", ct), ("mt", mt)]
}

async fn counter() -> (Tree, AgentRef<Counter>) {
    let config = RuntimeConfig {
        types: AgentTypes::new().with("counter", |_| Ok(Counter::default)),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::current_with(config).expect("inside tokio");
    let tree = Supervisor::one_for_one("root")
        .max_restarts(u32::MAX, secs(1))
        .backoff(Backoff::NONE)
        .agent(agent("counter", Counter::default).max_retries(0))
        .dynamic(DynamicSupervisor::new("pool"))
        .start(&runtime)
        .await
        .expect("a good tree");
    let counter = tree.agent("counter").expect("it is there");
    (tree, counter)
}

fn raw_counter() -> mpsc::Sender<Raw> {
    let (sender, mut receiver) = mpsc::channel(1000);
    tokio::spawn(async move {
        let mut count = 0;
        while let Some(message) = receiver.recv().await {
            match message {
                Raw::Add(n) => count += n,
                Raw::Get(reply) => drop(reply.send(count)),
            }
        }
    });
    sender
}

fn tell(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tell");
    group.throughput(Throughput::Elements(1));
    for (host, tokio) in hosts() {
        group.bench_function(format!("lictor_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let (tree, counter) = counter().await;
                    let begin = Instant::now();
                    for _ in 0..count {
                        counter.send(Add(1)).await.expect("it is up");
                    }
                    assert_eq!(counter.ask(Get, secs(60)).await, Ok(count));
                    let took = begin.elapsed();
                    tree.stop().await;
                    took
                })
            });
        });
        group.bench_function(format!("raw_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let counter = raw_counter();
                    let begin = Instant::now();
                    for _ in 0..count {
                        assert!(counter.send(Raw::Add(1)).await.is_ok());
                    }
                    let (reply, answer) = oneshot::channel();
                    assert!(counter.send(Raw::Get(reply)).await.is_ok());
                    assert_eq!(answer.await, Ok(count));
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();
}

fn ask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ask");
    group.throughput(Throughput::Elements(1));
    for (host, tokio) in hosts() {
        group.bench_function(format!("lictor_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let (tree, counter) = counter().await;
                    let begin = Instant::now();
                    for _ in 0..count {
                        assert!(counter.ask(Get, secs(60)).await.is_ok());
                    }
                    let took = begin.elapsed();
                    tree.stop().await;
                    took
                })
            });
        });
        group.bench_function(format!("raw_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let counter = raw_counter();
                    let begin = Instant::now();
                    for _ in 0..count {
                        let (reply, answer) = oneshot::channel();
                        assert!(counter.send(Raw::Get(reply)).await.is_ok());
                        assert!(answer.await.is_ok());
                    }
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();
}

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn");
    group.throughput(Throughput::Elements(1));
    group.measurement_time(Duration::from_secs(2));
    for (host, tokio) in hosts() {
        group.bench_function(format!("spawn_despawn_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let (tree, _) = counter().await;
                    let begin = Instant::now();
                    for at in 0..count {
                        let name = format!("child-{at}");
                        let runtime = tree.runtime();
                        let spawned = runtime.spawn("pool", "counter", &name, Value::Null).await;
                        assert_eq!(spawned, Ok(()));
                        assert_eq!(runtime.despawn(&name).await, Ok(()));
                    }
                    let took = begin.elapsed();
                    tree.stop().await;
                    took
                })
            });
        });
        group.bench_function(format!("static_start_stop_per_agent_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let mut took = Duration::ZERO;
                    let mut left = count;
                    while left > 0 {
                        let size = left.min(10_000);
                        left -= size;
                        let mut root = Supervisor::one_for_one("root");
                        for at in 0..size {
                            root = root.child(format!("child-{at}"), Counter::default);
                        }
                        let runtime = Runtime::current().expect("inside tokio");
                        let begin = Instant::now();
                        let tree = root.start(&runtime).await.expect("a good tree");
                        tree.stop().await;
                        took += begin.elapsed();
                    }
                    took
                })
            });
        });
    }
    group.finish();
}

/// From a crash by an error to the next message handled.
fn restart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("restart_to_next_answer");
    for (host, tokio) in hosts() {
        group.bench_function(format!("error_{host}"), |bencher| {
            bencher.iter_custom(|count| {
                tokio.block_on(async {
                    let (tree, counter) = counter().await;
                    let begin = Instant::now();
                    for _ in 0..count {
                        counter.send(Crash).await.expect("it is up, or coming");
                        assert_eq!(counter.ask(Get, secs(60)).await, Ok(0));
                    }
                    let took = begin.elapsed();
                    tree.stop().await;
                    took
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tell, ask, spawn, restart);
criterion_main!(benches);

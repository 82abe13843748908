//! The mailbox beside a bare tokio channel: alone, and between two tasks.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor_runtime::mailbox::{Accept, Lane, Mailbox, MailboxConfig, Popped};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// About the size of a small typed message with its reply slot.
type Message = [u64; 4];

fn mailbox(capacity: u32) -> Arc<Mailbox<u64, Message>> {
    Arc::new(Mailbox::new(MailboxConfig { capacity, ..MailboxConfig::default() }))
}

fn alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push_pop_alone");
    group.throughput(Throughput::Elements(1));
    let ours = mailbox(1000);
    group.bench_function("lictor", |bencher| {
        bencher.iter(|| {
            let pushed = ours.try_push(Lane::Normal, black_box([1; 4]));
            black_box((pushed.is_ok(), ours.try_pop(Accept::All)))
        });
    });
    let (sender, mut receiver) = mpsc::channel::<Message>(1000);
    group.bench_function("tokio_mpsc", |bencher| {
        bencher.iter(|| {
            let pushed = sender.try_send(black_box([1; 4]));
            black_box((pushed.is_ok(), receiver.try_recv()))
        });
    });
    group.finish();
}

/// The time that a producer task and a consumer task take for all messages.
fn between_tasks<P, C>(tokio: &Runtime, producer: P, consumer: C) -> Duration
where
    P: Future<Output = ()> + Send + 'static,
    C: Future<Output = u64> + Send + 'static,
{
    tokio.block_on(async {
        let start = Instant::now();
        let consumer = tokio::spawn(consumer);
        let producer = tokio::spawn(producer);
        producer.await.expect("the producer ends");
        black_box(consumer.await.expect("the consumer ends"));
        start.elapsed()
    })
}

fn through_ours(tokio: &Runtime, capacity: u32, messages: u64) -> Duration {
    let mailbox = mailbox(capacity);
    let ours = Arc::clone(&mailbox);
    let producer = async move {
        for number in 0..messages {
            if let Err(full) = ours.try_push(Lane::Normal, [number; 4]) {
                let pushed = ours.push(Lane::Normal, full.into_inner()).await;
                assert!(pushed.is_ok(), "nobody closes the mailbox");
            }
        }
        ours.close_intake();
    };
    let consumer = async move {
        let mut sum = 0_u64;
        let mut served = 0_u32;
        while let Popped::Message(_, message) = mailbox.pop(Accept::All).await {
            sum = sum.wrapping_add(message[0]);
            // An agent's loop gives others a turn, as tokio's own channels force it to.
            served += 1;
            if served.is_multiple_of(128) {
                tokio::task::yield_now().await;
            }
        }
        sum
    };
    between_tasks(tokio, producer, consumer)
}

fn through_tokio(tokio: &Runtime, capacity: usize, messages: u64) -> Duration {
    let (sender, mut receiver) = mpsc::channel::<Message>(capacity);
    let producer = async move {
        for number in 0..messages {
            let sent = sender.send([number; 4]).await;
            assert!(sent.is_ok(), "the receiver lives");
        }
    };
    let consumer = async move {
        let mut sum = 0_u64;
        while let Some(message) = receiver.recv().await {
            sum = sum.wrapping_add(message[0]);
        }
        sum
    };
    between_tasks(tokio, producer, consumer)
}

fn two_tasks(criterion: &mut Criterion) {
    let current_thread = Builder::new_current_thread().build().expect("a runtime");
    let multi_thread = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    for (name, tokio) in [("ct", current_thread), ("mt", multi_thread)] {
        let mut group = criterion.benchmark_group(format!("tell_{name}"));
        group.throughput(Throughput::Elements(1));
        for capacity in [64, 1000] {
            group.bench_function(format!("lictor/{capacity}"), |bencher| {
                bencher.iter_custom(|messages| through_ours(&tokio, capacity, messages));
            });
            group.bench_function(format!("tokio_mpsc/{capacity}"), |bencher| {
                bencher.iter_custom(|messages| through_tokio(&tokio, capacity as usize, messages));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, alone, two_tasks);
criterion_main!(benches);

//! The reply slot beside tokio's oneshot: alone, and as a call between two tasks.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lictor_runtime::executor::Executor;
use lictor_runtime::mailbox::{Accept, Lane, Mailbox, MailboxConfig, Popped};
use lictor_runtime::reply::{ReplyTo, reply_slot};
use lictor_runtime::timers::Timers;
use lictor_tokio::TokioExecutor;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

fn alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply_alone");
    group.throughput(Throughput::Elements(1));
    let mut cx = Context::from_waker(Waker::noop());
    group.bench_function("lictor", |bencher| {
        bencher.iter(|| {
            let (reply_to, mut reply) = reply_slot::<u64>();
            assert!(Pin::new(&mut reply).poll(&mut cx).is_pending());
            assert!(reply_to.send(black_box(1)).is_ok());
            black_box(Pin::new(&mut reply).poll(&mut cx))
        });
    });
    group.bench_function("lictor_in_hand", |bencher| {
        bencher.iter(|| {
            let (reply_to, mut reply) = reply_slot::<u64>();
            assert!(Pin::new(&mut reply).poll(&mut cx).is_pending());
            let in_hand = reply_to.in_hand();
            assert!(reply_to.send(black_box(1)).is_ok());
            in_hand.release(None);
            black_box(Pin::new(&mut reply).poll(&mut cx))
        });
    });
    group.bench_function("tokio_oneshot", |bencher| {
        bencher.iter(|| {
            let (sender, mut receiver) = oneshot::channel::<u64>();
            assert!(Pin::new(&mut receiver).poll(&mut cx).is_pending());
            assert!(sender.send(black_box(1)).is_ok());
            black_box(Pin::new(&mut receiver).poll(&mut cx))
        });
    });
    group.finish();
}

/// Asks one after the other; with `timed`, each under a deadline that never comes.
fn ask_ours(tokio: &Runtime, calls: u64, timed: bool) -> Duration {
    let mailbox = Arc::new(Mailbox::<u64, ReplyTo<u64>>::new(MailboxConfig::default()));
    let callee = Arc::clone(&mailbox);
    tokio.block_on(async {
        let executor = Arc::new(TokioExecutor::current().expect("inside a runtime"));
        let timers = Timers::new(Arc::<TokioExecutor>::clone(&executor));
        let agent = tokio::spawn(async move {
            let mut count = 0;
            while let Popped::Message(_, reply_to) = callee.pop(Accept::All).await {
                count += 1;
                let in_hand = reply_to.in_hand();
                assert!(reply_to.send(count).is_ok(), "the asker waits");
                in_hand.release(None);
            }
        });
        let asker = tokio::spawn(async move {
            let start = Instant::now();
            for _ in 0..calls {
                let (reply_to, reply) = reply_slot();
                assert!(mailbox.try_push(Lane::Normal, reply_to).is_ok(), "it is never full");
                let answer = if timed {
                    let deadline = executor.now().saturating_add(Duration::from_secs(60));
                    timers.timeout(deadline, reply).await.expect("it is fast")
                } else {
                    reply.await
                };
                black_box(answer.expect("it is answered"));
            }
            mailbox.close_intake();
            start.elapsed()
        });
        let elapsed = asker.await.expect("the asker ends");
        agent.await.expect("the agent ends");
        elapsed
    })
}

fn ask_tokio(tokio: &Runtime, calls: u64) -> Duration {
    let (sender, mut receiver) = mpsc::channel::<oneshot::Sender<u64>>(1000);
    tokio.block_on(async {
        let agent = tokio::spawn(async move {
            let mut count = 0;
            while let Some(reply_to) = receiver.recv().await {
                count += 1;
                assert!(reply_to.send(count).is_ok(), "the asker waits");
            }
        });
        let asker = tokio::spawn(async move {
            let start = Instant::now();
            for _ in 0..calls {
                let (reply_to, reply) = oneshot::channel();
                assert!(sender.send(reply_to).await.is_ok(), "the receiver lives");
                black_box(reply.await.expect("it is answered"));
            }
            start.elapsed()
        });
        let elapsed = asker.await.expect("the asker ends");
        agent.await.expect("the agent ends");
        elapsed
    })
}

fn two_tasks(criterion: &mut Criterion) {
    let current_thread = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let multi_thread =
        Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    for (name, tokio) in [("ct", current_thread), ("mt", multi_thread)] {
        let mut group = criterion.benchmark_group(format!("ask_{name}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("lictor", |bencher| {
            bencher.iter_custom(|calls| ask_ours(&tokio, calls, false));
        });
        group.bench_function("lictor_deadline", |bencher| {
            bencher.iter_custom(|calls| ask_ours(&tokio, calls, true));
        });
        group.bench_function("tokio_mpsc_oneshot", |bencher| {
            bencher.iter_custom(|calls| ask_tokio(&tokio, calls));
        });
        group.finish();
    }
}

criterion_group!(benches, alone, two_tasks);
criterion_main!(benches);

//! actix 0.13: its own system, single-threaded (ct), or the counters on a second thread (mt).
//!
//! `do_send` ignores the bound of the mailbox. A panic ends an actor for good, so the rows of
//! restarts are empty.

use std::sync::OnceLock;

use actix::prelude::*;

use crate::peer::Peer;

#[derive(Message)]
#[rtype(result = "()")]
struct Add(u64);

#[derive(Message)]
#[rtype(result = "u64")]
struct Get;

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

#[derive(Default)]
pub struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Supervised for Counter {}

impl Handler<Add> for Counter {
    type Result = ();

    fn handle(&mut self, Add(n): Add, _: &mut Self::Context) {
        self.0 += n;
    }
}

impl Handler<Get> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Get, _: &mut Self::Context) -> u64 {
        self.0
    }
}

impl Handler<Stop> for Counter {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.terminate();
    }
}

/// The thread of the counters: the system's own, or a second one.
static ARBITER: OnceLock<ArbiterHandle> = OnceLock::new();

/// Runs a cell on actix's own host.
pub fn block_on<T>(second_thread: bool, cell: impl Future<Output = T>) -> T {
    let system = System::new();
    system.block_on(async {
        let handle = if second_thread { Arbiter::new().handle() } else { Arbiter::current() };
        let _ = ARBITER.set(handle);
        cell.await
    })
}

pub struct Actix;

impl Peer for Actix {
    type Ref = Addr<Counter>;
    type World = ();

    async fn start(count: usize, _: bool) -> ((), Vec<Self::Ref>) {
        let arbiter = ARBITER.get().expect("inside of block_on");
        let start = |_| Supervisor::start_in_arbiter(arbiter, |_| Counter::default());
        let counters: Vec<_> = (0..count).map(start).collect();
        if let Some(last) = counters.last() {
            // They come up in their order.
            last.send(Get).await.expect("it is up");
        }
        ((), counters)
    }

    async fn tell(to: &Self::Ref, add: u64) {
        to.do_send(Add(add));
    }

    async fn get(to: &Self::Ref) -> u64 {
        to.send(Get).await.expect("it is up")
    }

    /// A supervised actor starts again when it stops, until nobody has its address.
    async fn stop((): (), counters: Vec<Self::Ref>) {
        let weak: Vec<_> = counters.iter().map(Addr::downgrade).collect();
        drop(counters);
        while weak.last().is_some_and(|weak| weak.upgrade().is_some()) {
            tokio::task::yield_now().await;
        }
    }
}

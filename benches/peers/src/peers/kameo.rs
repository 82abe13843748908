//! kameo 0.22 with default features and its default mailbox, bounded at 64; supervised natively.

use std::time::{Duration, Instant};

use kameo::prelude::*;

use crate::peer::{Crash as How, LOAD, LOAD_EACH, Peer, name};

#[derive(Clone)]
pub struct Counter(u64);

impl Actor for Counter {
    type Args = Self;
    type Error = kameo::error::Infallible;

    async fn on_start(counter: Self, _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(counter)
    }
}

pub struct Add(u64);
pub struct Get;
pub struct Crash(How);
pub struct Slow;

impl Message<Add> for Counter {
    type Reply = ();

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self, ()>) {
        self.0 += n;
    }
}

impl Message<Get> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _: Get, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

impl Message<Crash> for Counter {
    type Reply = Result<(), &'static str>;

    async fn handle(
        &mut self,
        Crash(how): Crash,
        _: &mut Context<Self, Self::Reply>,
    ) -> Self::Reply {
        match how {
            How::Panic => panic!("as you wish"),
            How::Error => Err("as you wish"),
        }
    }
}

pub struct Supervisor;

impl Actor for Supervisor {
    type Args = ();
    type Error = kameo::error::Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

impl Message<Slow> for Supervisor {
    type Reply = ();

    async fn handle(&mut self, _: Slow, _: &mut Context<Self, ()>) {
        tokio::time::sleep(LOAD_EACH).await;
    }
}

pub struct Kameo;

impl Peer for Kameo {
    type Ref = ActorRef<Counter>;
    type World = ActorRef<Supervisor>;

    async fn start(count: usize, named: bool) -> (Self::World, Vec<Self::Ref>) {
        let supervisor = Supervisor::spawn(());
        let mut counters = Vec::with_capacity(count);
        for at in 0..count {
            let counter = Counter::supervise(&supervisor, Counter(0))
                .restart_limit(u32::MAX, Duration::from_secs(1))
                .spawn()
                .await;
            if named {
                counter.register(name(at)).expect("the name is free");
            }
            counters.push(counter);
        }
        for counter in &counters {
            counter.wait_for_startup().await;
        }
        (supervisor, counters)
    }

    async fn tell(to: &Self::Ref, add: u64) {
        to.tell(Add(add)).await.expect("it is up");
    }

    async fn get(to: &Self::Ref) -> u64 {
        to.ask(Get).reply_timeout(Duration::from_secs(60)).await.expect("it answers")
    }

    async fn stop(supervisor: Self::World, counters: Vec<Self::Ref>) {
        supervisor.stop_gracefully().await.expect("it is up");
        supervisor.wait_for_shutdown().await;
        for counter in &counters {
            counter.wait_for_shutdown().await;
        }
    }

    fn lookup(_: &Self::World, name: &str) -> Option<Self::Ref> {
        ActorRef::lookup(name).expect("the right type")
    }

    async fn crash(_: &mut Self::World, counter: &mut Self::Ref, how: How) -> Option<()> {
        counter.tell(Crash(how)).await.expect("it is up");
        // An ask that meets the restart fails; it has to be repeated.
        loop {
            if let Ok(count) = counter.ask(Get).await {
                assert_eq!(count, 0);
                return Some(());
            }
            tokio::task::yield_now().await;
        }
    }

    async fn crash_under_load(
        supervisor: &mut Self::World,
        counter: &mut Self::Ref,
    ) -> Option<Duration> {
        for _ in 0..LOAD {
            supervisor.tell(Slow).await.expect("it is up");
        }
        let begin = Instant::now();
        Self::crash(supervisor, counter, How::Panic).await?;
        Some(begin.elapsed())
    }
}

//! coerce 0.8 without its optional features (no metrics, no remoting): unbounded mailbox.
//!
//! A child that panics is removed, not restarted, so the rows of restarts are empty.

use async_trait::async_trait;
use coerce::actor::context::ActorContext;
use coerce::actor::message::{Handler, Message};
use coerce::actor::system::ActorSystem;
use coerce::actor::{Actor, IntoActorId, LocalActorRef};

use crate::peer::{Peer, name};

pub struct Counter(u64);

#[async_trait]
impl Actor for Counter {}

struct Add(u64);
struct Get;

impl Message for Add {
    type Result = ();
}

impl Message for Get {
    type Result = u64;
}

#[async_trait]
impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, _: &mut ActorContext) {
        self.0 += n;
    }
}

#[async_trait]
impl Handler<Get> for Counter {
    async fn handle(&mut self, _: Get, _: &mut ActorContext) -> u64 {
        self.0
    }
}

pub struct Supervisor;

#[async_trait]
impl Actor for Supervisor {}

struct SpawnAll(usize);

impl Message for SpawnAll {
    type Result = Vec<LocalActorRef<Counter>>;
}

#[async_trait]
impl Handler<SpawnAll> for Supervisor {
    async fn handle(
        &mut self,
        SpawnAll(count): SpawnAll,
        context: &mut ActorContext,
    ) -> Vec<LocalActorRef<Counter>> {
        let mut counters = Vec::with_capacity(count);
        for at in 0..count {
            let counter = context.spawn(name(at).into_actor_id(), Counter(0)).await;
            counters.push(counter.expect("it starts"));
        }
        counters
    }
}

pub struct World {
    system: ActorSystem,
    supervisor: LocalActorRef<Supervisor>,
}

pub struct Coerce;

impl Peer for Coerce {
    type Ref = LocalActorRef<Counter>;
    type World = World;

    async fn start(count: usize, _: bool) -> (World, Vec<Self::Ref>) {
        let system = ActorSystem::new();
        let supervisor = system.new_anon_actor(Supervisor).await.expect("it starts");
        let counters = supervisor.send(SpawnAll(count)).await.expect("it is up");
        (World { system, supervisor }, counters)
    }

    async fn tell(to: &Self::Ref, add: u64) {
        to.notify(Add(add)).expect("it is up");
    }

    async fn get(to: &Self::Ref) -> u64 {
        to.send(Get).await.expect("it is up")
    }

    async fn stop(world: World, counters: Vec<Self::Ref>) {
        // Stops its children, all at once, and returns before they have ended.
        world.supervisor.stop().await.expect("it is up");
        while counters.iter().any(LocalActorRef::is_valid) {
            tokio::task::yield_now().await;
        }
        world.system.shutdown().await;
    }
}

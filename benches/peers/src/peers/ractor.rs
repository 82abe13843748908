//! ractor 0.16 with default features: unbounded mailbox, native async functions in traits.
//!
//! It restarts nothing by itself; the supervisor here does it as its documentation shows, and hands
//! the new reference out.

use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc;

use crate::peer::{Crash, LOAD, LOAD_EACH, Peer, name};

pub enum Message {
    Add(u64),
    Get(RpcReplyPort<u64>),
    Panic,
    Fail,
}

pub struct Counter;

impl Actor for Counter {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(n) => *count += n,
            Message::Get(reply) => reply.send(*count)?,
            Message::Panic => panic!("as you wish"),
            Message::Fail => return Err("as you wish".into()),
        }
        Ok(())
    }
}

pub struct Slow;

pub struct Supervisor;

impl Actor for Supervisor {
    type Msg = Slow;
    type State = mpsc::UnboundedSender<ActorRef<Message>>;
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        _: ActorRef<Slow>,
        news: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(news)
    }

    async fn handle(
        &self,
        _: ActorRef<Slow>,
        _: Slow,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        tokio::time::sleep(LOAD_EACH).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        this: ActorRef<Slow>,
        event: SupervisionEvent,
        news: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            let (counter, _) = Actor::spawn_linked(None, Counter, (), this.get_cell()).await?;
            news.send(counter)?;
        }
        Ok(())
    }
}

pub struct World {
    supervisor: ActorRef<Slow>,
    news: mpsc::UnboundedReceiver<ActorRef<Message>>,
}

pub struct Ractor;

impl Peer for Ractor {
    type Ref = ActorRef<Message>;
    type World = World;

    async fn start(count: usize, named: bool) -> (World, Vec<Self::Ref>) {
        let (sender, news) = mpsc::unbounded_channel();
        let started = Actor::spawn(None, Supervisor, sender).await;
        let (supervisor, _) = started.expect("it starts");
        let mut counters = Vec::with_capacity(count);
        for at in 0..count {
            let name = named.then(|| name(at));
            let cell = supervisor.get_cell();
            let started = Actor::spawn_linked(name, Counter, (), cell).await;
            counters.push(started.expect("it starts").0);
        }
        (World { supervisor, news }, counters)
    }

    async fn tell(to: &Self::Ref, add: u64) {
        to.cast(Message::Add(add)).expect("it is up");
    }

    async fn get(to: &Self::Ref) -> u64 {
        let timeout = Some(Duration::from_secs(60));
        to.call(Message::Get, timeout).await.expect("it is up").expect("it answers")
    }

    async fn stop(world: World, _: Vec<Self::Ref>) {
        world.supervisor.stop_children_and_wait(None, None).await;
        let _ = world.supervisor.stop_and_wait(None, None).await;
    }

    fn lookup(_: &World, name: &str) -> Option<Self::Ref> {
        ractor::registry::where_is(name).map(ActorRef::from)
    }

    async fn crash(world: &mut World, counter: &mut Self::Ref, how: Crash) -> Option<()> {
        let message = if how == Crash::Panic { Message::Panic } else { Message::Fail };
        counter.cast(message).expect("it is up");
        *counter = world.news.recv().await.expect("it is restarted");
        assert_eq!(Self::get(counter).await, 0);
        Some(())
    }

    async fn crash_under_load(world: &mut World, counter: &mut Self::Ref) -> Option<Duration> {
        for _ in 0..LOAD {
            world.supervisor.cast(Slow).expect("it is up");
        }
        let begin = Instant::now();
        Self::crash(world, counter, Crash::Panic).await?;
        Some(begin.elapsed())
    }
}

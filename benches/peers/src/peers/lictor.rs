//! Ours, with every default: bounded mailbox of 1000, three redeliveries, tracing compiled in.
//!
//! Only the restart budget and the backoff are set, because a benchmark crashes more often than any
//! agent should, and what is measured is the restart and not the wait before it.

use std::time::{Duration, Instant};

use lictor::prelude::*;

use crate::peer::{Crash as How, LOAD, LOAD_EACH, Peer, name};

#[derive(Default)]
pub struct Counter(u64);

messages! {
    pub enum CounterMessage { Add(u64), Get -> u64, Fail, Panic }
}

impl Agent for Counter {
    type Message = CounterMessage;

    async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
            CounterMessage::Fail(Fail) => return Err("as you wish".into()),
            CounterMessage::Panic(Panic) => panic!("as you wish"),
        }
        Ok(())
    }
}

/// What is busy while a counter crashes. A type of its own: what a handler awaits, an idle agent
/// keeps the room for.
struct Busy;

messages! { enum BusyMessage { Slow } }

impl Agent for Busy {
    type Message = BusyMessage;

    async fn handle(
        &mut self,
        BusyMessage::Slow(Slow): BusyMessage,
        _: &mut Context<Self>,
    ) -> Handled {
        tokio::time::sleep(LOAD_EACH).await;
        Ok(())
    }
}

pub struct Lictor;

impl Lictor {
    /// Makes a counter panic, and does not wait for what follows.
    pub async fn panic(counter: &AgentRef<Counter>) {
        counter.send(Panic).await.expect("it is up");
    }
}

impl Peer for Lictor {
    type Ref = AgentRef<Counter>;
    type World = Tree;

    async fn start(count: usize, _: bool) -> (Tree, Vec<AgentRef<Counter>>) {
        let runtime = Runtime::current().expect("inside tokio");
        let mut root = Supervisor::one_for_one("root")
            .max_restarts(u32::MAX, secs(1))
            .backoff(Backoff::NONE)
            .child("busy", || Busy);
        for at in 0..count {
            root = root.child(name(at), Counter::default);
        }
        let tree = root.start(&runtime).await.expect("a good tree");
        let counters = (0..count).map(|at| tree.agent(&name(at)).expect("it is there")).collect();
        (tree, counters)
    }

    async fn tell(to: &AgentRef<Counter>, add: u64) {
        to.send(Add(add)).await.expect("it is up");
    }

    async fn get(to: &AgentRef<Counter>) -> u64 {
        to.ask(Get, secs(60)).await.expect("it is up")
    }

    async fn stop(tree: Tree, _: Vec<AgentRef<Counter>>) {
        tree.stop().await;
    }

    fn lookup(tree: &Tree, name: &str) -> Option<AgentRef<Counter>> {
        tree.agent(name).ok()
    }

    async fn crash(_: &mut Tree, counter: &mut AgentRef<Counter>, how: How) -> Option<()> {
        match how {
            How::Panic => counter.send(Panic).await.expect("it is up"),
            How::Error => counter.send(Fail).await.expect("it is up"),
        }
        assert_eq!(Self::get(counter).await, 0);
        Some(())
    }

    /// Our supervisors are no agents and have no mailbox; the messages wait at a sibling.
    async fn crash_under_load(
        tree: &mut Tree,
        counter: &mut AgentRef<Counter>,
    ) -> Option<Duration> {
        let busy: AgentRef<Busy> = tree.agent("busy").expect("it is there");
        for _ in 0..LOAD {
            busy.send(Slow).await.expect("it is up");
        }
        let begin = Instant::now();
        Self::crash(tree, counter, How::Panic).await?;
        Some(begin.elapsed())
    }

    /// By a pattern over the names, as nobody else can.
    async fn broadcast(tree: &Tree, counters: &[AgentRef<Counter>]) -> usize {
        let sent = tree.runtime().broadcast_to::<Counter, _>("agent-*", &Add(1));
        assert_eq!(sent, Ok(counters.len()));
        counters.len()
    }
}

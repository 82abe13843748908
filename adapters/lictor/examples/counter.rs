//! The program of the README: a counter under a supervisor crashes, and is asked again.

use lictor::prelude::*;

#[derive(Default)]
struct Counter(u64);

messages! { enum CounterMessage { Add(u64), Get -> u64, Crash } }

impl Agent for Counter {
    type Message = CounterMessage;
    async fn handle(&mut self, message: CounterMessage, _: &mut Context<Self>) -> Handled {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
            CounterMessage::Crash(Crash) => panic!("as you wish"),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tree = Supervisor::one_for_one("root")
        .max_restarts(5, secs(10))
        .backoff(Backoff::exponential(ms(50), secs(5)))
        .child("counter", Counter::default)
        .start(&Runtime::current()?)
        .await?; // returns when every child is up
    let counter = tree.agent::<Counter>("counter")?; // survives restarts
    counter.send(Add(2)).await?; // waits for room; try_send says Full
    assert_eq!(counter.ask(Get, secs(1)).await?, 2); // the deadline is an argument
    counter.send(Crash).await?;
    assert_eq!(counter.ask(Get, secs(1)).await?, 0); // queued, and answered by a fresh incarnation
    tree.stop().await;
    Ok(())
}

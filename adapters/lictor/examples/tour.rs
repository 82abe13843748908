//! A tour: agents that talk, deadlines, checkpoints, spawned agents, generic servers, topology files.

use lictor::prelude::*;

/// Counts, and remembers the count over crashes.
#[derive(Default)]
struct Counter(u64);

messages! { enum CounterMessage { Add(u64), Get -> u64, Nap(u64), Crash } }

impl Agent for Counter {
    type Message = CounterMessage;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.0 = cx.restore().await?.unwrap_or_default();
        Ok(())
    }

    async fn handle(&mut self, message: CounterMessage, cx: &mut Context<Self>) -> Handled {
        match message {
            CounterMessage::Add(Add(n)) => {
                self.0 += n;
                cx.checkpoint(&self.0).await?;
            }
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0)),
            CounterMessage::Nap(Nap(millis)) => tokio::time::sleep(ms(millis)).await,
            CounterMessage::Crash(Crash) => return Err("as you wish".into()),
        }
        Ok(())
    }
}

/// Talks to the counter, by its name.
struct Friend {
    counter: String,
}

messages! { enum FriendMessage { AddAndGet(u64) -> u64 } }

impl Agent for Friend {
    type Message = FriendMessage;

    async fn handle(&mut self, message: FriendMessage, cx: &mut Context<Self>) -> Handled {
        let FriendMessage::AddAndGet(AddAndGet(n), reply) = message;
        let counter = cx.agent::<Counter>(&self.counter)?;
        counter.send(Add(n)).await?;
        reply.send(counter.ask(Get, secs(1)).await?);
        Ok(())
    }
}

/// A generic server: JSON in, JSON out, and no message type of its own.
struct Doubler;

impl Server for Doubler {
    async fn handle_call(
        &mut self,
        request: Value,
        _: &mut ServerContext<Self>,
    ) -> Result<Value, AgentError> {
        let n = request["n"].as_u64().ok_or("`n` must be a whole number")?;
        Ok(json!({ "twice": 2 * n }))
    }
}

/// The types that a topology file and `spawn` may name.
fn types() -> AgentTypes {
    AgentTypes::new()
        .with("app.Counter", |_setup| Ok(Counter::default))
        .with("app.Friend", |setup| {
            // A `config` that does not fit is a fault of the file, with its place.
            let config: std::collections::BTreeMap<String, String> = setup.config()?;
            let counter = config.get("counter").ok_or("missing field `counter`")?.clone();
            Ok(move || Friend { counter: counter.clone() })
        })
        .with_spec("app.Doubler", |setup| Ok(Doubler::spec(&setup.name, || Doubler)))
}

const FILE: &str = "
supervision:
  backoff_base: 10ms
  children:
    - agent: { name: counter, type: app.Counter }
    - agent: { name: friend, type: app.Friend, config: { counter: counter } }
    - { type: gen_server, module: app, class: Doubler, name: doubler }
    - { type: dynamic_supervisor, name: pool, max_children: 10 }
";

/// What runs then, spawned agents included.
const TREE: &str = "\
[sup] root (ONE_FOR_ONE)
├── [agent] counter (RUNNING)
├── [agent] friend (RUNNING)
├── [srv] doubler (RUNNING)
└── [dyn] pool (RUNNING)
    └── [agent] extra (RUNNING)";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("lictor-tour-{}.yaml", std::process::id()));
    std::fs::write(&path, FILE)?;
    let config = RuntimeConfig { types: types(), ..RuntimeConfig::default() };
    let started = Runtime::from_topology(&path, config).await;
    std::fs::remove_file(&path)?;
    let tree = started?;

    // Agents talk to each other.
    let friend = tree.agent::<Friend>("friend")?;
    assert_eq!(friend.ask(AddAndGet(2), secs(1)).await?, 2);

    // A deadline covers the queue and the answer.
    let counter = tree.agent::<Counter>("counter")?;
    counter.send(Nap(200)).await?;
    let late = counter.ask(Get, ms(20)).await;
    assert!(matches!(late, Err(AskError::Timeout { .. })), "{late:?}");

    // What is queued behind a crash is handled by the next incarnation, from the checkpoint on.
    counter.send(Crash).await?;
    for _ in 0..10 {
        counter.send(Add(1)).await?;
    }
    assert_eq!(counter.ask(Get, secs(5)).await?, 12);

    // Agents are spawned by the name of their type, under a dynamic supervisor.
    let runtime = tree.runtime();
    runtime.spawn("pool", "app.Counter", "extra", Value::Null).await?;
    tree.agent::<Counter>("extra")?.send(Add(5)).await?;

    // A generic server is called by its name.
    let answer = runtime.call("doubler", json!({ "n": 21 }), secs(1)).await?;
    assert_eq!(answer, json!({ "twice": 42 }));

    let tree_now = runtime.print_tree();
    assert_eq!(tree_now, TREE);
    println!("{tree_now}");
    tree.stop().await;
    Ok(())
}

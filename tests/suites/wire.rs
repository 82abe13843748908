//! Several runtimes over a wire that loses, repeats and reorders, in virtual time.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lictor::kernel::node::{Action, Event};
use lictor::kernel::{Instant as At, NameId, NodeId, membership};
use lictor::prelude::*;
use lictor::{
    AskError, Executor, Message, Recorder, ReplyFailure, RuntimeConfig, SendError, TokioExecutor,
    Value, agent,
};
use lictor_runtime::conformance::{self, End, Faults, Network};
use serde_json::json;

messages! {
    pub enum CounterMessage {
        Add(u64),
        Get -> u64,
        /// Answers never.
        Sleep -> u64,
        Crash -> u64,
        /// Answers with more than a wire takes.
        Huge -> String,
    }
}

#[derive(Default)]
struct Counter(u64);

impl Agent for Counter {
    type Message = CounterMessage;

    async fn handle(
        &mut self,
        message: CounterMessage,
        _cx: &mut Context<Self>,
    ) -> Result<(), AgentError> {
        match message {
            CounterMessage::Add(Add(n)) => self.0 += n,
            CounterMessage::Get(Get, reply) => drop(reply.send(self.0).to_string()),
            CounterMessage::Sleep(Sleep, reply) => {
                tokio::time::sleep(secs(3600)).await;
                drop(reply);
            }
            CounterMessage::Crash(Crash, _reply) => return Err(AgentError::new("on purpose")),
            CounterMessage::Huge(Huge, reply) => drop(reply.send("x".repeat(2 << 20)).to_string()),
        }
        Ok(())
    }
}

/// What the kernel of a node heard and decided, as one number and as text.
#[derive(Default, Debug)]
struct Trace(Mutex<(DefaultHasher, Vec<String>)>);

impl Trace {
    fn digest(&self) -> u64 {
        self.0.lock().unwrap().0.finish()
    }
}

impl Recorder for Trace {
    fn name(&self, id: NameId, name: &str) {
        self.0.lock().unwrap().1.push(format!("{} is {name}", id.0));
    }

    fn event(&self, now: At, event: &Event) {
        (now, event).hash(&mut self.0.lock().unwrap().0);
    }

    fn action(&self, now: At, action: &Action) {
        (now, action).hash(&mut self.0.lock().unwrap().0);
    }
}

struct Node {
    runtime: Runtime,
    trace: Arc<Trace>,
}

struct World {
    executor: Arc<dyn Executor>,
    network: Arc<Network>,
    all: Vec<NodeId>,
}

impl World {
    fn new(count: u64, seed: u64) -> Self {
        let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
        let network = Network::new(Arc::clone(&executor), seed);
        Self { executor, network, all: (1..=count).map(NodeId).collect() }
    }

    /// A node with one counter, `c1` on node 1, that can count.
    async fn boot(&self, node: u64, epoch: u64) -> Node {
        let runtime = self.runtime(node, epoch);
        let counter = agent(format!("c{node}"), Counter::default).capabilities(["count"]);
        let counter = counter.mailbox_size(4);
        runtime.runtime.start(Supervisor::one_for_one("root").agent(counter)).await.unwrap();
        runtime
    }

    fn runtime(&self, node: u64, epoch: u64) -> Node {
        let trace = Arc::new(Trace::default());
        let own = NodeId(node);
        let peers = self.all.iter().copied().filter(|peer| *peer != own).collect();
        let config = RuntimeConfig {
            transport: Some(self.network.transport(own, peers)),
            membership: membership::Config { node: own, epoch, ..membership::Config::default() },
            recorder: Some(Arc::<Trace>::clone(&trace)),
            ..RuntimeConfig::default()
        };
        Node { runtime: Runtime::with_config(Arc::clone(&self.executor), config), trace }
    }
}

fn counted(n: u64) -> Message {
    Message::new("Add", json!(n))
}

fn get() -> Message {
    Message::new("Get", Value::Null)
}

fn on_paused<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}

#[test]
fn agents_of_other_nodes_are_told_and_asked_by_name() {
    on_paused(async {
        let world = World::new(2, 1);
        let (one, two) = (world.boot(1, 1).await, world.boot(2, 1).await);
        assert_eq!(one.runtime.raw("c3").map(|_| ()).unwrap_err(), unknown("c3"));
        tokio::time::sleep(secs(2)).await;
        assert_eq!(one.runtime.peers(), [(NodeId(2), Some(1))]);
        assert_eq!(one.runtime.remote_names(), [("c2".into(), NodeId(2))]);
        let far = one.runtime.raw("c2").unwrap();
        far.send(counted(2)).await.unwrap();
        far.send_priority(counted(3)).await.unwrap();
        assert_eq!(far.ask(get(), secs(1)).await.unwrap(), json!(5));
        assert_eq!(two.runtime.ask("c1", get(), secs(1)).await.unwrap(), json!(0));
        let typed = one.runtime.agent::<Counter>("c2").unwrap_err();
        assert_eq!(typed, SendError::Remote { name: "c2".into() });
        // A capability, and a pattern, reach over the wire as well.
        one.runtime.raw("c1").unwrap();
        assert_eq!(one.runtime.broadcast("c*", "Add", json!(10)).await.unwrap(), 2);
        tokio::time::sleep(ms(1)).await;
        assert_eq!(one.runtime.ask("c2", get(), secs(1)).await.unwrap(), json!(15));
        assert_eq!(one.runtime.ask("c1", get(), secs(1)).await.unwrap(), json!(10));
        for _ in 0..50 {
            one.runtime.send_to_capable("count", counted(0)).await.unwrap();
            tokio::time::sleep(ms(1)).await;
        }
        let handled: Vec<u64> =
            [&one, &two].iter().map(|node| node.runtime.agents()[0].handled).collect();
        assert!(handled.iter().all(|handled| *handled > 10), "both are chosen: {handled:?}");
        one.runtime.stop().await;
        tokio::time::sleep(ms(50)).await;
        assert_eq!(two.runtime.peers(), [(NodeId(1), None)], "it said goodbye");
        assert!(two.runtime.remote_names().is_empty());
        two.runtime.stop().await;
    });
}

fn unknown(name: &str) -> SendError {
    SendError::Unknown { name: name.into() }
}

#[test]
fn what_cannot_be_answered_is_told_with_its_reason() {
    on_paused(async {
        let world = World::new(2, 1);
        let (one, two) = (world.boot(1, 1).await, world.boot(2, 1).await);
        tokio::time::sleep(secs(2)).await;
        let far = one.runtime.raw("c2").unwrap();
        let failed = |failure| AskError::Failed { name: "c2".into(), failure };
        let ask = async |kind: &str, payload: Value| {
            far.ask(Message::new(kind, payload), secs(1)).await.unwrap_err()
        };
        assert_eq!(ask("Nonsense", Value::Null).await, failed(ReplyFailure::NotUnderstood));
        assert_eq!(ask("Crash", Value::Null).await, failed(ReplyFailure::Crashed));
        tokio::time::sleep(secs(2)).await;
        assert_eq!(ask("Huge", Value::Null).await, failed(ReplyFailure::Unencodable));
        let reserved = ask("_agency.shutdown", Value::Null).await;
        assert!(matches!(reserved, AskError::NotSent(SendError::Reserved { .. })));
        let large = ask("Add", json!(["x".repeat(2 << 20)])).await;
        assert!(matches!(large, AskError::NotSent(SendError::TooLarge { .. })), "{large}");
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        let deep = ask("Add", deep).await;
        assert!(matches!(deep, AskError::NotSent(SendError::NotUnderstood { .. })), "{deep}");
        // One is in hand, four wait, and the others find no room within their second.
        let asks: Vec<_> = (0..7)
            .map(|_| {
                let far = far.clone();
                tokio::spawn(
                    async move { far.ask(Message::new("Sleep", Value::Null), secs(1)).await },
                )
            })
            .collect();
        for ask in asks {
            let error = ask.await.unwrap().unwrap_err();
            let timeout = AskError::Timeout { name: "c2".into() };
            assert!([timeout, failed(ReplyFailure::Refused)].contains(&error), "{error}");
        }
        let mut events = one.runtime.events();
        far.send(Message::new("Nonsense", Value::Null)).await.unwrap();
        let dead = events.next().await.unwrap().kind;
        let (name, reason) = ("c2".into(), "not_understood");
        assert_eq!(dead, lictor::EventKind::DeadLetters { name, count: 1, reason });
        let _ = two;
    });
}

#[test]
fn a_node_that_is_given_up_ends_the_calls_to_it_at_once() {
    on_paused(async {
        let world = World::new(2, 1);
        let (one, two) = (world.boot(1, 1).await, world.boot(2, 1).await);
        tokio::time::sleep(secs(2)).await;
        let far = one.runtime.raw("c2").unwrap();
        let asked = far.clone();
        let ask = async move { asked.ask(Message::new("Sleep", Value::Null), secs(3000)).await };
        let ask = tokio::spawn(ask);
        tokio::time::sleep(ms(10)).await;
        let before = tokio::time::Instant::now();
        for (from, to) in [(1, 2), (2, 1)] {
            world.network.cut(NodeId(from), NodeId(to), true);
        }
        let error = ask.await.unwrap().unwrap_err();
        let lost = AskError::Failed { name: "c2".into(), failure: ReplyFailure::NoConnection };
        assert_eq!(error, lost);
        assert_eq!(error.was_seen(), None, "nobody can know");
        assert!(before.elapsed() < secs(5), "{:?}", before.elapsed());
        assert_eq!(far.send(counted(1)).await, Err(unknown("c2")));
        for (from, to) in [(1, 2), (2, 1)] {
            world.network.cut(NodeId(from), NodeId(to), false);
        }
        tokio::time::sleep(secs(3)).await;
        assert_eq!(far.send(counted(1)).await, Ok(()), "the reference outlives the cut");
        // The link goes down by the transport's word.
        let asked = far.clone();
        let ask = tokio::spawn(async move { asked.ask(get(), secs(3000)).await });
        world.network.tell(NodeId(1), NodeId(2), false);
        assert_eq!(ask.await.unwrap().unwrap_err(), lost);
        let _ = two;
    });
}

#[test]
fn a_new_boot_takes_over_and_hears_nothing_that_was_meant_for_the_old_one() {
    on_paused(async {
        let world = World::new(2, 1);
        let one = world.boot(1, 1).await;
        let two = world.boot(2, 1).await;
        tokio::time::sleep(secs(2)).await;
        let far = one.runtime.raw("c2").unwrap();
        far.send(counted(1)).await.unwrap();
        tokio::time::sleep(ms(10)).await;
        let delay = secs(2);
        world.network.set_faults(Faults {
            delay_min: delay,
            delay_max: delay,
            ..Faults::default()
        });
        far.send(counted(1)).await.unwrap();
        two.runtime.stop_within(ms(1)).await;
        tokio::time::sleep(ms(200)).await;
        let two = world.boot(2, 2).await;
        world.network.set_faults(Faults::default());
        tokio::time::sleep(secs(4)).await;
        assert_eq!(one.runtime.peers(), [(NodeId(2), Some(2))]);
        assert_eq!(one.runtime.wire().unsettled, 0, "nothing was said to the new boot yet");
        assert_eq!(far.ask(get(), secs(1)).await.unwrap(), json!(0));
        assert_eq!(two.runtime.ask("c2", get(), secs(1)).await.unwrap(), json!(0));
        // The first one was handled, but its place had not been settled; the second one was lost.
        assert_eq!(one.runtime.wire().unsettled, 2);
    });
}

/// Adds from both sides over a bad wire, and what each side got through.
async fn bad_wire(seed: u64) -> (u64, u64, [u64; 2]) {
    let world = World::new(2, seed);
    let (one, two) = (world.boot(1, 1).await, world.boot(2, 1).await);
    let faults = Faults { loss_milli: 200, repeat_milli: 400, delay_min: ms(1), delay_max: ms(30) };
    tokio::time::sleep(secs(2)).await;
    world.network.set_faults(faults);
    let (mut sent, mut answered, mut ended) = (0, 0, 0);
    for _ in 0..200 {
        let Ok(far) = one.runtime.raw("c2") else {
            tokio::time::sleep(ms(500)).await;
            continue;
        };
        if far.send(counted(1)).await.is_ok() {
            sent += 1;
        }
        match far.ask(get(), ms(100)).await {
            Ok(count) => {
                let count = count.as_u64().unwrap();
                assert!(count <= sent, "{count} of {sent}: one was taken twice");
                answered += 1;
            }
            Err(_) => ended += 1,
        }
    }
    assert!(answered > 50 && ended > 5, "{answered} answered, {ended} not");
    world.network.set_faults(Faults::default());
    tokio::time::sleep(secs(40)).await;
    let count = one.runtime.ask("c2", get(), secs(1)).await.unwrap().as_u64().unwrap();
    assert!(count <= sent && count > sent / 2, "{count} of {sent}");
    assert_eq!(two.runtime.remote_names(), [("c1".into(), NodeId(1))]);
    let wire = two.runtime.wire();
    assert!(wire.repeated > 20, "{wire:?}");
    (count, sent, [one.trace.digest(), two.trace.digest()])
}

#[test]
fn repeated_frames_are_taken_once_and_everything_is_the_same_twice() {
    let first = on_paused(bad_wire(7));
    assert_eq!(first, on_paused(bad_wire(7)), "one seed, one history");
    assert_ne!(first.2, on_paused(bad_wire(8)).2);
}

#[test]
fn messages_of_one_sender_arrive_in_order_even_when_they_wait_for_room() {
    on_paused(async {
        #[derive(Default)]
        struct Order(Vec<u64>);
        impl Agent for Order {
            type Message = Message;
            async fn handle(
                &mut self,
                mut message: Message,
                _cx: &mut Context<Self>,
            ) -> Result<(), AgentError> {
                if message.wants_reply() {
                    message.reply(json!(self.0));
                    return Ok(());
                }
                tokio::time::sleep(ms(1)).await;
                self.0.push(message.payload().as_u64().unwrap());
                Ok(())
            }
        }
        let world = World::new(2, 1);
        let one = world.boot(1, 1).await;
        let two = world.runtime(2, 1);
        let order = agent("order", Order::default).mailbox_size(2);
        two.runtime.start(Supervisor::one_for_one("root").agent(order)).await.unwrap();
        tokio::time::sleep(secs(2)).await;
        let far = one.runtime.raw("order").unwrap();
        for n in 0..200_u64 {
            far.send(Message::new("n", json!(n))).await.unwrap();
        }
        tokio::time::sleep(secs(1)).await;
        let seen = far.ask(Message::new("seen", Value::Null), secs(1)).await.unwrap();
        assert_eq!(seen, json!((0..200).collect::<Vec<u64>>()));
    });
}

#[test]
fn garbage_does_no_harm_and_is_counted() {
    on_paused(async {
        let world = World::new(2, 1);
        let one = world.boot(1, 1).await;
        let evil = world.network.transport(NodeId(2), vec![NodeId(1)]);
        let run = Arc::clone(&evil).run(lictor::transport::Inbox::new(|_, _| true));
        tokio::spawn(run);
        tokio::task::yield_now().await;
        let packed = |value: &serde_json::Value| rmp_serde::to_vec(value).unwrap();
        let version = |bytes: &[u8]| [&[2], bytes].concat();
        let bye = packed(&json!({"Bye": [1]}));
        let claim = packed(&json!({"Claim": [1, "../..", 1, 1, "Up", false, []]}));
        let garbage: Vec<Vec<u8>> = vec![
            vec![],
            vec![0],
            vec![2],
            version(b"\x80"),
            b"\x01{\"Bye\":{\"epoch\":1}}".to_vec(),
            [&[3], &bye[..]].concat(),
            // Something behind it, less than all of it, and a number too many.
            version(&[&bye[..], &[0xc0]].concat()),
            version(&claim[..claim.len() - 1]),
            version(&packed(&json!({"Bye": [1, 2]}))),
            // Deeper than anything may be, and longer than it is.
            version(&[0x91; 10_000]),
            version(&[0xdd, 0xff, 0xff, 0xff, 0xff]),
            version(&claim),
            vec![0xff; 1000],
        ];
        let count = garbage.len() as u64;
        for bytes in garbage {
            evil.send(NodeId(1), lictor::transport::Frame::new(bytes)).unwrap();
        }
        tokio::time::sleep(secs(1)).await;
        // The claim can be read, and is refused by its name.
        assert_eq!(one.runtime.wire().malformed, count - 1);
        assert!(one.runtime.remote_names().is_empty());
        assert_eq!(one.runtime.ask("c1", get(), secs(1)).await.unwrap(), json!(0));
    });
}

#[test]
fn the_wire_in_memory_passes_the_suite_of_transports() {
    conformance::transport(|name, case| {
        eprintln!("case: {name}");
        on_paused(async {
            let executor: Arc<dyn Executor> = Arc::new(TokioExecutor::current().unwrap());
            let network = Network::new(Arc::clone(&executor), 3);
            End::both(case, executor, |node, peer| network.transport(node, vec![peer])).await;
        });
    });
}

#[test]
fn a_runtime_without_a_wire_shows_nothing_of_one() {
    on_paused(async {
        let runtime = Runtime::on(Arc::new(TokioExecutor::current().unwrap()));
        let counter = agent("c", Counter::default);
        runtime.start(Supervisor::one_for_one("root").agent(counter)).await.unwrap();
        assert_eq!(runtime.raw("far").map(|_| ()), Err(unknown("far")));
        assert!(runtime.peers().is_empty() && runtime.remote_names().is_empty());
        assert_eq!(runtime.wire(), lictor::WireCounters::default());
        let metrics = tokio::runtime::Handle::current().metrics();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(metrics.num_alive_tasks() <= 3, "the driver, the agent, the timers");
        runtime.stop().await;
    });
}
